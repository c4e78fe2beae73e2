"""Models as the windows of HLM show them."""

import re
from collections.abc import Iterator

from crosslevel import residual as structures
from crosslevel.estimators.translation import steps
from crosslevel.estimators.translation.model import Model
from crosslevel.estimators.translation.outcomes import read_outcome, without_offset
from crosslevel.estimators.translation.preparing import Preparation
from crosslevel.estimators.translation.refusals import no_counterpart
from crosslevel.estimators.translation.spss import commands
from crosslevel.estimators.translation.tree import level_equations
from crosslevel.estimators.written.levels import INDEX, Levels
from crosslevel.estimators.written.records import Sum, Term
from crosslevel.weights import Precision, Sampling

FAMILIES = {"binomial": "Bernoulli", "poisson": "Poisson (constant exposure)", "ordinal": "Ordinal"}
MOST_LEVELS = 3


def legal(name: str) -> str:
    """A name of HLM: capitals."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII).upper()
    return name if re.match(r"[A-Z]", name) else f"V{name}"


def hlm(model: Model) -> str:
    """Level equations, settings, and the data that have to be prepared."""
    levels = level_equations(model, "HLM", MOST_LEVELS)
    _refuse(model)
    preparation = Preparation(model=model, legal=legal)
    outcome = read_outcome(model, preparation)
    if model.family is None:
        outcome = without_offset(model, preparation, outcome)
    centred = _centred(model, preparation, levels)
    index = INDEX[: levels.n_levels]
    left = f"{outcome.name}_{index}" if model.family is None else f"ETA_{index}"
    lines: list[str] = []
    by_level = levels.by_level(left, residual=model.family is None)
    for number, sums in enumerate(by_level, start=1):
        lines.append(f"Level-{number} Model")
        lines += list(_distribution(model, outcome.name, index)) if number == 1 else []
        lines += [f"    {_shown(line, preparation, centred)}" for line in sums]
    made = list(commands(preparation, model.formula.required))
    data = ["* Prepare the data first, for instance in SPSS:", *made, "EXECUTE.", ""] if made else []
    return "\n".join([*data, *lines, *_settings(model, centred)])


def _refuse(model: Model) -> None:
    """Refuse what HLM does not have."""
    blocks = [block for part in model.formula.random for block in part.blocks]
    if len(blocks) > len(model.groups):
        raise no_counterpart("HLM", "uncorrelated random effects of one level", "Write them in one term: (x | g).")
    if model.family is not None and model.family.name not in FAMILIES:
        raise no_counterpart("HLM", f"family={model.family.name!r}", "Use to='stata' or 'glmmtmb'.")
    if model.residual is not None and not isinstance(model.residual, structures.By):
        raise no_counterpart("HLM's two-level models", f"the residual structure {model.residual!r}", "Use to='nlme'.")


def _centred(model: Model, preparation: Preparation, levels: Levels) -> dict[str, tuple[str, str]]:
    """For each component its variable and how HLM centres it: "", "group" or "grand"."""
    found: dict[str, tuple[str, str]] = {}
    design = model.need_data("its columns")
    inner = model.groups[-1]
    for component in design.spec.components:
        for name in component.names:
            match = re.fullmatch(r"within\((\w+), (\w+)\)", name)
            if match and (match[2],) == inner:
                found[name] = (preparation.column(match[1]), "group")
            elif match := re.fullmatch(r"center\((\w+)\)", name):
                found[name] = (preparation.column(match[1]), "grand")
    for name in (name for part in levels.predictors for name in part.factors):
        if name not in found:
            found[name] = (preparation.component(name).name, "")
    return found


def _shown(line: Sum, preparation: Preparation, centred: dict[str, tuple[str, str]]) -> str:
    """An equation as HLM writes it."""
    return f"{_plain(line.left)} = {' + '.join(_term(term, preparation, centred) for term in line.terms) or '0'}"


def _term(term: Term, preparation: Preparation, centred: dict[str, tuple[str, str]]) -> str:
    """A coefficient times its variable."""
    names = [re.fullmatch(r"⟦(.*)⟧_\{(\w+)\}", variable) for variable in term.variables]
    found = [(centred[m[1]], m[2]) for m in names if m is not None]
    if not found:
        return _plain(term.symbol)
    if len(found) == 1:
        (name, how), index = found[0]
        return f"{_plain(term.symbol)}*({_variable(name, how, index)})"
    own = "_X_".join(name for (name, _), _ in found)
    if own not in preparation.made:
        if any(how for (_, how), _ in found):
            raise no_counterpart(
                "HLM", f"a product of centred variables of one level ({own})", "Make the product in the data first."
            )
        factors = tuple(name for (name, _), _ in found)
        preparation.steps.append(steps.Multiplied(new=own, factors=factors))
        preparation.made[own] = ()
    return f"{_plain(term.symbol)}*({own}_{found[0][1]})"


def _variable(name: str, how: str, index: str) -> str:
    """A variable with its centring."""
    if how == "group":
        return f"{name}_{index} - {name}_.{index[1:]}"
    return f"{name}_{index} - {name}_{'.' * len(index)}" if how == "grand" else f"{name}_{index}"


def _plain(text: str) -> str:
    """Greek letters as HLM shows them, without braces."""
    return re.sub(r"_\{(\w+)\}", r"\1", text)


def _distribution(model: Model, outcome: str, index: str) -> Iterator[str]:
    """The link of another family."""
    if model.family is None:
        return
    if model.family.name == "binomial":
        yield f"    Prob({outcome}_{index} = 1) = PHI_{index}"
        yield f"    {model.family.link}[PHI_{index}] = ETA_{index}"
    elif model.family.name == "poisson":
        yield f"    E({outcome}_{index}) = LAMBDA_{index}"
        yield f"    log[LAMBDA_{index}] = ETA_{index}"
    else:
        yield f"    log[P({outcome}_{index} <= c) / P({outcome}_{index} > c)] = ETA_{index} + DELTA_c"


def _settings(model: Model, centred: dict[str, tuple[str, str]]) -> Iterator[str]:
    """Settings in HLM's menus."""
    yield ""
    for how, words in (("group", "the group mean"), ("grand", "the grand mean")):
        names = sorted({name for name, kind in centred.values() if kind == how})
        if names:
            yield f"{', '.join(names)}: centred around {words} (in HLM's window, not in the data)."
    ids = ", ".join(":".join(group).upper() for group in reversed(model.groups))
    yield f"Level IDs, from level 2 up: {ids}."
    if model.family is None:
        yield f"Estimation: {'restricted' if model.reml else 'full'} maximum likelihood."
    else:
        yield f"Distribution of the outcome: {FAMILIES[model.family.name]}. Estimation: Laplace or adaptive quadrature."
        if model.family.kind == "ordered":
            yield "HLM models lower categories: its slopes have the opposite sign."
    if isinstance(model.residual, structures.By):
        yield f"Estimation settings: heterogeneous sigma^2, with an indicator of {model.residual.by.upper()}."
    weights = model.weights
    if isinstance(weights, Sampling):
        listed = [f"level 1 {weights.rows.upper()}"] if weights.rows else []
        listed += [f"{group.upper()} {column.upper()}" for group, column in weights.clusters.items()]
        yield f"Estimation settings, weighting: {', '.join(listed)}."
    elif isinstance(weights, Precision):
        raise no_counterpart("HLM", "precision weights", "Use to='lme4', 'spss' or 'sas'.")
    elif weights is not None:
        raise no_counterpart("HLM", weights.words, "Repeat the rows, or use to='stata'.")
