"""Models in Stata: mixed, the me commands, regress."""

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from crosslevel import residual as structures
from crosslevel.estimators.translation import steps
from crosslevel.estimators.translation.arithmetic import STATA
from crosslevel.estimators.translation.columns import (
    fixed_columns,
    has_categories,
    has_intercept,
    is_marginal,
    random_columns,
)
from crosslevel.estimators.translation.model import Model
from crosslevel.estimators.translation.outcomes import Outcome, read_outcome, without_offset
from crosslevel.estimators.translation.preparing import Atom, Atoms, Preparation
from crosslevel.estimators.translation.refusals import no_counterpart, refuse_membership
from crosslevel.formula import RandomPart
from crosslevel.weights import Frequency, Precision, Sampling

LONGEST = 32
"""Characters of a name."""

COVARIANCES = {"us": "unstructured", "diag": "independent", "cs": "exchangeable"}
DDF = {
    "satterthwaite": "satterthwaite",
    "kenward-roger": "kroger",
    "residual": "residual",
    "between-within": "repeated",
}
COMMANDS = {
    ("binomial", "logit"): "melogit", ("binomial", "probit"): "meprobit", ("binomial", "cloglog"): "mecloglog",
    ("poisson", "log"): "mepoisson", ("negbinomial", "log"): "menbreg", ("ordinal", "logit"): "meologit",
    ("ordinal", "probit"): "meoprobit", ("gamma", "log"): "meglm",
}  # fmt: skip
VCE = {"HC1": "robust", "HC2": "hc2", "HC3": "hc3", "HC0": "robust"}


def legal(name: str) -> str:
    """A name of Stata."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    name = name if re.match(r"[A-Za-z_]", name) else f"_{name}"
    return name[:LONGEST]


def value(level: object) -> str:
    """A category as a value of Stata."""
    return f"{level:g}" if isinstance(level, int | float) else f'"{level}"'


def stata(model: Model) -> str:
    """The commands of Stata."""
    preparation = Preparation(model=model, legal=legal)
    outcome = read_outcome(model, preparation)
    if model.family is None:
        outcome = without_offset(model, preparation, outcome)
    command = _command(model)
    fixed = _fixed(model, preparation)
    random = [] if model.is_ordinary else _random(model, preparation)
    weight, scaling = _weight(model, preparation)
    own = [] if has_intercept(model.formula.fixed_terms) or _is_ordered(model) else ["noconstant"]
    head = " ".join(filter(None, [command, outcome.name, *fixed, weight]))
    head += f", {' '.join(own)}" if own and random else ""
    options = [*([] if random else own), *_options(model, preparation, outcome), *scaling]
    lines = [*commands(preparation, model.formula.required), *_remarks(model)]
    last = random[-1] if random else head
    joint = "" if not options else (" " if "," in last else ", ")
    whole = " ".join([head, *random]) + joint + " ".join(options)
    return "\n".join([*lines, _broken(whole)])


def _broken(command: str) -> str:
    """A long command in several lines."""
    if len(command) <= 90:
        return command
    return " ///\n    ".join(re.split(r" (?=\|\| )", command))


def commands(preparation: Preparation, needed: Sequence[str]) -> Iterator[str]:
    """Commands that prepare the data."""
    for old, new in preparation.renamed.items():
        if old != new:
            yield f"* the column {old!r} is called {new} here"
    depends = (steps.ClusterMean, steps.Centred, steps.WeightedEffect)
    if preparation.model.has_dropped and any(isinstance(step, depends) for step in preparation.steps):
        yield "* means are those of the rows without missing values"
        yield f"keep if !missing({', '.join(preparation.column(name) for name in needed)})"
    for step in preparation.steps:
        yield from _made(step)


def _made(step: steps.Step) -> Iterator[str]:
    """Commands that make a variable."""
    match step:
        case steps.ClusterMean(new=new, of=of, group=group):
            yield f"egen double {new} = mean({of}), by({' '.join(group)})"
        case steps.Difference(new=new, of=of, mean=mean):
            yield f"generate double {new} = {of} - {mean}"
        case steps.Centred(new=new, of=of, scaled=scaled):
            yield f"summarize {of}" if scaled else f"summarize {of}, meanonly"
            yield f"generate double {new} = " + (f"({of} - r(mean)) / r(sd)" if scaled else f"{of} - r(mean)")
        case steps.Computed(new=new, tree=tree, variables=variables):
            yield f"generate double {new} = {STATA.write(tree)} if !missing({', '.join(variables)})"
        case steps.Indicator(new=new, variable=variable, level=level):
            yield f"generate byte {new} = ({variable} == {value(level)}) if !missing({variable})"
        case steps.WeightedEffect(new=new, variable=variable, level=level, omitted=omitted):
            yield f"quietly count if {variable} == {value(level)}"
            yield "local n_level = r(N)"
            yield f"quietly count if {variable} == {value(omitted)}"
            yield (
                f"generate double {new} = ({variable} == {value(level)}) - ({variable} == {value(omitted)}) "
                f"* `n_level' / r(N) if !missing({variable})"
            )
        case steps.Numbered(new=new, variable=variable, levels=levels):
            yield from _numbered(new, variable, levels)
        case steps.Crossing(new=new, columns=columns):
            yield f"egen {new} = group({' '.join(columns)})"
        case steps.Multiplied(new=new, factors=factors):
            yield f"generate double {new} = {' * '.join(factors)}"


def _numbered(new: str, variable: str, levels: tuple[object, ...]) -> Iterator[str]:
    """Number categories in their order."""
    if all(isinstance(level, int | float) for level in levels):
        yield f"egen {new} = group({variable})"
        return
    listed = " ".join(f'{number} "{level}"' for number, level in enumerate(levels, start=1))
    yield f"* {variable} is text; if it is numbers with labels, drop the next two lines and write {variable} for {new}"
    yield f"label define {new} {listed}"
    yield f"encode {variable}, generate({new}) label({new})"


def _command(model: Model) -> str:
    """The name of the command."""
    family: Any = model.family
    if family is None:
        return "regress" if model.is_ordinary else "mixed"
    key = (family.name, family.link)
    named = "negbinomial" if family.name.startswith("n") else family.name
    found = COMMANDS.get((named, family.link))
    if found is None:
        raise no_counterpart(
            "Stata", f"family={key[0]!r} with the {key[1]} link and random effects", "Use to='glmmtmb'."
        )
    return found


def _is_ordered(model: Model) -> bool:
    return model.family is not None and model.family.kind == "ordered"


def _fixed(model: Model, preparation: Preparation) -> list[str]:
    """The fixed part."""
    intercept = has_intercept(model.formula.fixed_terms)
    if has_categories(model) and not (intercept and is_marginal(model)):
        return ["#".join(f"c.{a.name}" for a in atoms) if len(atoms) > 1 else atoms[0].name
                for atoms in fixed_columns(model, preparation)]  # fmt: skip
    found = []
    for term in model.formula.fixed_terms:
        if term.expressions:
            found += [_product(atoms, preparation) for atoms in preparation.term(term)]
    return found


def _product(atoms: Atoms, preparation: Preparation) -> str:
    """A term in factor-variable notation."""
    if len(atoms) == 1 and not atoms[0].is_categorical:
        return atoms[0].name
    return "#".join(_factor(atom, preparation) for atom in atoms)


def _factor(atom: Atom, preparation: Preparation) -> str:
    """A variable in an interaction, or categories."""
    if not atom.is_categorical:
        return f"c.{atom.name}"
    if atom.levels == ("?",):
        return f"{'i' if atom.reference is None else f'ib{atom.reference}'}.{atom.name}"
    if all(isinstance(level, int | float) and level >= 0 and float(level).is_integer() for level in atom.levels):
        first = min(float(str(level)) for level in atom.levels)
        return f"i.{atom.name}" if atom.reference == first else f"ib{value(atom.reference)}.{atom.name}"
    key = f"numbered {atom.text}"
    if key not in preparation.made:
        new = preparation.free(f"{atom.name}_n")
        preparation.steps.append(steps.Numbered(new=new, variable=atom.name, levels=atom.levels))
        preparation.made[key] = (Atom(name=new, text=key),)
    base = atom.levels.index(atom.reference) + 1 if atom.reference in atom.levels else 1
    return f"{'i' if base == 1 else f'ib{base}'}.{preparation.made[key][0].name}"


def _random(model: Model, preparation: Preparation) -> list[str]:
    """The parts behind ||."""
    if not model.is_nested:
        return _crossed(model, preparation)
    weights = model.weights
    clusters = weights.clusters if isinstance(weights, Sampling) else {}
    found = []
    found_groups: list[tuple[str, ...]] = []
    for group, parts in model.parts.items():
        name = _level(group, preparation, found_groups)
        found_groups.append(group)
        pieces = [piece for part in parts for piece in _blocks(part, model, preparation)]
        weight = clusters.get(":".join(group))
        for k, (columns, options) in enumerate(_merged(pieces)):
            options = [*options, *([f"pweight({preparation.column(weight)})"] if weight and k == 0 else [])]
            slopes = f" {' '.join(columns)}" if columns else ""
            found.append(f"|| {name}:{slopes}" + (f", {' '.join(options)}" if options else ""))
    return [*found, *_residual_level(model, preparation)]


def _level(group: tuple[str, ...], preparation: Preparation, outer: list[tuple[str, ...]]) -> str:
    """The variable of a level, which Stata takes as nested in the levels before."""
    before = {name for names in outer for name in names}
    own = [name for name in group if name not in before]
    if outer and len(own) == 1 and before <= set(group):
        return preparation.column(own[0])
    return preparation.group(group)


def _merged(pieces: list[tuple[list[str], bool, str]]) -> list[tuple[list[str], list[str]]]:
    """Blocks of one random effect each as one independent block; others as they are."""
    if len(pieces) > 1 and all(len(columns) + has == 1 for columns, has, _ in pieces):
        columns = [name for own, _, _ in pieces for name in own]
        has = any(own for _, own, _ in pieces)
        return [(columns, ([] if has else ["noconstant"]) + ["covariance(independent)"])]
    found = []
    for columns, has, structure in pieces:
        options = [] if has else ["noconstant"]
        if len(columns) + has > 1:
            options.append(f"covariance({structure})")
        found.append((columns, options))
    return found


def _blocks(part: RandomPart, model: Model, preparation: Preparation) -> Iterator[tuple[list[str], bool, str]]:
    """Slopes, whether there is an intercept, and structure of each block."""
    refuse_membership(part, "Stata")
    if part.structure not in COVARIANCES:
        raise no_counterpart("Stata", f"the structure {part.structure} ({part.text})", "Use to='glmmtmb' or 'sas'.")
    for block in part.blocks:
        columns = [preparation.product(atoms).name for atoms in random_columns(block, model, preparation)]
        yield columns, has_intercept(block), COVARIANCES[part.structure]


def _crossed(model: Model, preparation: Preparation) -> list[str]:
    """Crossed factors: indicators of the levels of all but one vary over all rows."""
    if model.residual is not None:
        raise no_counterpart("Stata", "a residual structure beside crossed factors", "Fit it with cl.mixed.")
    written = {}
    for group, parts in model.parts.items():
        pieces = [piece for part in parts for piece in _blocks(part, model, preparation)]
        written[group] = _merged(pieces)
    sloped = [group for group, own in written.items() if len(own) > 1 or own[0][0]]
    if len(sloped) > 1:
        listed = " and ".join(":".join(group) for group in sloped)
        raise no_counterpart("Stata", f"random slopes of two crossed factors ({listed})", "Use to='lme4'.")
    last = sloped[0] if sloped else model.groups[-1]
    first = [f"|| _all: R.{preparation.group(group)}" for group in model.groups if group != last]
    return [*first, *(
        f"|| {preparation.group(last)}:{' ' + ' '.join(columns) if columns else ''}"
        + (f", {' '.join(options)}" if options else "")
        for columns, options in written[last]
    )]  # fmt: skip


def _residual_level(model: Model, preparation: Preparation) -> list[str]:
    """The level within which residuals are correlated, where it has no random effects."""
    asked = model.residual
    if asked is None:
        return []
    within = getattr(asked, "within", None)
    if within is None:
        return [] if model.groups else ["|| _all:, noconstant"]
    if model.groups and model.groups[-1] == (within,):
        return []
    if (within,) in model.groups:
        raise no_counterpart(
            "Stata", f"residuals correlated within {within}, which is not the innermost level", "Use to='sas'."
        )
    return [f"|| {preparation.column(within)}:, noconstant"]


def _weight(model: Model, preparation: Preparation) -> tuple[str, list[str]]:
    """Weights of rows, and how they are scaled."""
    weights = model.weights
    if weights is None:
        return "", []
    if model.reml:
        raise no_counterpart("Stata", "weights with REML", "Fit with method='ml', or use to='lme4' for precisions.")
    if isinstance(weights, Precision):
        if model.is_ordinary:
            return f"[aweight = {preparation.column(weights.column)}]", []
        raise no_counterpart("Stata", f"precision weights ({weights.column})", "Use to='lme4', 'spss' or 'sas'.")
    if isinstance(weights, Frequency):
        return f"[fweight = {preparation.column(weights.column)}]", []
    assert isinstance(weights, Sampling)
    row = f"[pweight = {preparation.column(weights.rows)}]" if weights.rows else ""
    scale = [f"pwscale({weights.scaling})"] if weights.rows and weights.scaling != "none" else []
    if scale and model.family is not None:
        raise no_counterpart("Stata", f"{scale[0]} in {_command(model)}", "Scale the weights first: scaling='none'.")
    return row, scale


def _options(model: Model, preparation: Preparation, outcome: Outcome) -> Iterator[str]:
    """Options of the model."""
    if model.is_ordinary:
        yield from _vce(model, preparation)
    elif model.family is None:
        yield from ["reml"] if model.reml else ["mle"]
        yield from _residual(model, preparation)
        if model.ddf in DDF:
            if not model.reml and model.ddf in ("satterthwaite", "kenward-roger"):
                raise no_counterpart("Stata", f"ddf={model.ddf!r} with ML", "Fit with method='reml'.")
            yield f"dfmethod({DDF[model.ddf]})"
    else:
        yield from _generalized(model, preparation, outcome)


def _generalized(model: Model, preparation: Preparation, outcome: Outcome) -> Iterator[str]:
    """Options of the me commands."""
    family: Any = model.family
    if family.name == "gamma":
        yield "family(gamma) link(log)"
    if getattr(family, "variant", "nb2") == "nb1":
        yield "dispersion(constant)"
    if outcome.failures is not None:
        total = preparation.free(f"{outcome.name}_trials")
        preparation.steps.append(
            steps.Computed(new=total, tree=_added(outcome), variables=(outcome.name, outcome.failures))
        )
        yield f"binomial({total})"
    elif outcome.trials is not None:
        yield f"binomial({outcome.trials})"
    for name in ("exposure", "offset"):
        column = preparation.argument(name)
        if column is not None:
            yield f"{name}({column})"
    if model.nodes == 1:
        yield "intmethod(laplace)"
    elif model.nodes is not None:
        yield f"intpoints({model.nodes})"


def _added(outcome: Outcome) -> Any:
    """Successes and failures."""
    return ast.parse(f"{outcome.name} + {outcome.failures}", mode="eval").body


def _vce(model: Model, preparation: Preparation) -> Iterator[str]:
    """Standard errors of an ordinary regression."""
    if len(model.cluster) > 1:
        yield f"vce(cluster {' '.join(preparation.column(name) for name in model.cluster)})"
    elif model.cluster:
        name = preparation.group(tuple(model.cluster[0].split(":")))
        kinds = {"CR2": f"vce(hc2 {name}, dfadjust)", "CR3": f"vce(hc3 {name})"}
        yield kinds.get(str(model.vcov), f"vce(cluster {name})")
    elif model.vcov in VCE:
        yield f"vce({VCE[model.vcov]})"


def _residual(model: Model, preparation: Preparation) -> Iterator[str]:
    """The option residuals()."""
    asked = model.residual
    if asked is None:
        return
    by = getattr(asked, "by", None)
    strata = f"by({preparation.group(tuple(by.split(':')))})" if by else ""
    match asked:
        case structures.By():
            kind, inside = "independent", [strata]
        case structures.AR1(time=time):
            kind, inside = "ar 1", [f"t({preparation.column(time)})", strata]
        case structures.CAR1(time=time):
            kind, inside = "exponential", [f"t({preparation.column(time)})", strata]
        case structures.CompoundSymmetry():
            kind, inside = "exchangeable", [strata]
        case structures.Unstructured(occasion=occasion):
            kind, inside = "unstructured", [f"t({preparation.column(occasion)})"]
        case structures.Known():
            raise no_counterpart("Stata's mixed", f"known standard errors ({asked.se})", "Use its meta commands.")
        case _:
            raise no_counterpart("Stata", f"the residual structure {asked!r}", "Use to='nlme'.")
    if by and not isinstance(asked, structures.By):
        raise no_counterpart(
            "Stata", f"own variances with one correlation ({asked!r})",
            "Its by() gives every stratum a correlation of its own, too. Use to='nlme'.",
        )  # fmt: skip
    options = " ".join(filter(None, inside))
    yield f"residuals({kind}{', ' + options if options else ''})"


def _remarks(model: Model) -> Iterator[str]:
    """What is good to know."""
    if model.is_ordinary and model.vcov in ("CR2", "CR3"):
        yield "* Stata 18 or later; before, vce(cluster ...), which is too sure of itself where clusters are few"
    if model.ddf in ("m-l-1", "growth-curve") and model.family is None:
        yield f"* Stata has no degrees of freedom by {model.ddf}; dfmethod(satterthwaite) comes nearest"
