"""What the predictors of a planned study are: variables of rows or of clusters, and how they are distributed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from crosslevel.errors import CrosslevelError
from crosslevel.formula import Formula
from crosslevel.simulation.processes.amounts import is_number
from crosslevel.simulation.processes.variables import Arms, Context, Normal, Variable

ROWS, CLUSTERS = re.compile(r"[xX]\d*"), re.compile(r"[zZwW]\d*")
"""Names that textbooks give to variables of rows and of clusters."""

HALF = 0.5
"""Share of clusters with a 1, unless another is given."""


def predictor_variables(
    formula: Formula,
    *,
    context: str | Sequence[str] | None,
    arms: str | Sequence[str] | Mapping[str, float] | None,
    between: float | Mapping[str, float],
    variables: Mapping[str, Variable],
) -> dict[str, Variable]:
    """The distribution of every predictor of a formula.

    A variable belongs to the clusters if `context`, `arms` or `variables` say so. Where `context` is not given, it
    belongs to the rows if it has a random slope, stands in within(x, g) or between(x, g), or in `between`; else its
    name decides, if it is one of x, x1, x2, .. (rows) or z, z1, .., w, w1, .. (clusters).

    Parameters
    ----------
    formula : with one grouping factor.
    context, arms, between, variables : as given to `power`.

    Raises
    ------
    CrosslevelError : names that the formula lacks, contradictions, or a variable of which nobody can know where it
        varies.
    """
    names = predictor_names(formula)
    _check_between(between)
    if not isinstance(variables, Mapping):
        raise CrosslevelError(
            f"`variables` maps names to distributions, as in {{'z': cl.lab.Context()}}; got {variables!r}."
        )
    shares = _arms(arms)
    spread = dict(between) if isinstance(between, Mapping) else {}
    above = _listed(context, "context")
    for argument, given in (("context", above), ("arms", shares), ("between", spread), ("variables", variables)):
        _require(given, names, argument)
    out: dict[str, Variable] = {}
    for name in names:
        if name in variables:
            out[name] = variables[name]
        elif name in shares:
            out[name] = Arms(share=shares[name])
        elif _is_context(name, formula, None if context is None else above, spread):
            out[name] = Context()
        else:
            out[name] = Normal(between=spread.get(name, 0.0 if isinstance(between, Mapping) else float(between)))
    _refuse_contradictions(out, spread, above, variables)
    sloped = [name for name in _varying(formula) if out.get(name) is not None and out[name].is_context]
    if sloped:
        raise CrosslevelError(
            f"`formula` has a random slope of {sloped[0]!r}, which is a variable of clusters, so that it has no slope "
            "in any of them. Take the slope out of the random term, or the variable out of `context` and `arms`."
        )
    return out


def predictor_names(formula: Formula) -> list[str]:
    """Variables on the right-hand side, without those that make the clusters."""
    groups = {name for part in formula.random for name in part.group}
    names = [name for term in formula.fixed_terms for each in term.expressions for name in each.variables]
    names += list(_varying(formula))
    return [name for name in dict.fromkeys(names) if name not in groups]


def _varying(formula: Formula) -> list[str]:
    """Variables with random slopes."""
    terms = [term for part in formula.random for block in part.blocks for term in block]
    return [name for term in terms for each in term.expressions for name in each.variables]


def _centred(formula: Formula) -> set[str]:
    """Variables that are split into their cluster means and what is left."""
    out: set[str] = set()
    for term in formula.fixed_terms:
        for each in term.expressions:
            if re.match(r"(within|between)\s*\(", each.text):
                out |= set(each.variables)
    return out


def _is_context(name: str, formula: Formula, above: Sequence[str] | None, spread: Mapping[str, float]) -> bool:
    """Whether a variable without a distribution of its own is one of clusters.

    Raises
    ------
    CrosslevelError : nothing says so.
    """
    if above is not None:
        return name in above
    if name in _varying(formula) or name in _centred(formula) or name in spread:
        return False
    if ROWS.fullmatch(name) or CLUSTERS.fullmatch(name):
        return CLUSTERS.fullmatch(name) is not None
    raise CrosslevelError(
        f"`context` has to say whether {name!r} is a variable of clusters: context=[{name!r}] if each cluster has one "
        f"value of it, context=[] (or the names of those that are) if it varies within clusters. Only x, x1, x2, .. "
        "(within clusters) and z, w, z1, .. (of clusters) are known by their names."
    )


def _refuse_contradictions(
    found: Mapping[str, Variable],
    spread: Mapping[str, float],
    above: Sequence[str],
    variables: Mapping[str, Variable],
) -> None:
    """Refuse what is said twice, and differently."""
    for name, variable in found.items():
        if not isinstance(variable, Variable):
            raise CrosslevelError(
                f"`variables` of {name!r} is {variable!r}; it needs a distribution, such as "
                "cl.lab.Normal(between=.15), cl.lab.Binary(share=.3), cl.lab.Context() or cl.lab.Arms(share=.5)."
            )
        if name in spread and name in variables:
            raise CrosslevelError(
                f"`between` and `variables` both speak of {name!r}. Give its share between clusters with its "
                f"distribution: variables={{{name!r}: cl.lab.Normal(between={spread[name]:g})}}."
            )
        if name in spread and variable.is_context:
            raise CrosslevelError(
                f"`between` gives {name!r} a share of variance between clusters, but it is a variable of clusters: all "
                "its variance lies between them."
            )
        if name in above and not variable.is_context:
            raise CrosslevelError(
                f"`context` says that {name!r} is a variable of clusters, but its distribution, {variable!r}, is one "
                "of rows. Use cl.lab.Context() or cl.lab.Arms()."
            )


def _arms(arms: str | Sequence[str] | Mapping[str, float] | None) -> dict[str, float]:
    """Share of ones by variable."""
    if not isinstance(arms, Mapping):
        return dict.fromkeys(_listed(arms, "arms"), HALF)
    for name, share in arms.items():
        if not is_number(share) or not 0.0 < share < 1.0:
            raise CrosslevelError(
                f"`arms` of {name!r} is the share of clusters with a 1, between 0 and 1; got {share!r}."
            )
    return {name: float(share) for name, share in arms.items()}


def _check_between(between: object) -> None:
    """Refuse what is no share, nor shares by name."""
    shares: Mapping[str, Any] = between if isinstance(between, Mapping) else {"": between}
    for name, share in shares.items():
        if not is_number(share) or not 0.0 <= share < 1.0:
            where = f"`between` of {name!r}" if name else "`between`"
            raise CrosslevelError(
                f"{where} is the share of variance that lies between clusters, a number from 0 to less than 1; got "
                f"{share!r}."
            )


def _listed(names: object, argument: str) -> list[str]:
    """Names as a list."""
    if names is None:
        return []
    several = [names] if isinstance(names, str) else names
    if not isinstance(several, Sequence) or not all(isinstance(name, str) for name in several):
        raise CrosslevelError(f"`{argument}` is the name of a variable, or a list of names; got {names!r}.")
    return list(several)


def _require(given: Sequence[str] | Mapping[str, object], names: Sequence[str], argument: str) -> None:
    """Refuse names that the formula lacks."""
    unknown = [name for name in given if name not in names]
    if unknown:
        raise CrosslevelError(
            f"`{argument}` names {', '.join(map(repr, unknown))}, which `formula` lacks. Its predictors: "
            f"{', '.join(names) or 'none'}."
        )
