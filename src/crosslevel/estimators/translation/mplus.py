"""Models in Mplus: TYPE = TWOLEVEL RANDOM."""

import re
from collections.abc import Iterator

from crosslevel.estimators.translation import steps
from crosslevel.estimators.translation.arithmetic import MPLUS
from crosslevel.estimators.translation.model import Model
from crosslevel.estimators.translation.outcomes import read_outcome, without_offset
from crosslevel.estimators.translation.preparing import Atom, Preparation
from crosslevel.estimators.translation.refusals import no_counterpart
from crosslevel.estimators.translation.tree import level_equations
from crosslevel.estimators.written.levels import Levels
from crosslevel.weights import Sampling

LONGEST = 8
"""Characters of a name."""

SCALINGS = {"size": "CLUSTER", "effective": "ECLUSTER", "none": "UNSCALED"}
LEVELS = 2


def legal(name: str) -> str:
    """A name of Mplus."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    name = name if re.match(r"[A-Za-z]", name) else f"v{name}"
    if len(name) <= LONGEST:
        return name
    end = re.search(r"_(\w{1,4})$", name)
    return f"{name[: LONGEST - len(end[0])]}{end[0]}" if end else name[:LONGEST]


def mplus(model: Model) -> str:
    """An input file."""
    if model.residual is not None:
        raise no_counterpart("Mplus' TYPE = TWOLEVEL", f"the residual structure {model.residual!r}", "Use to='nlme'.")
    levels = level_equations(model, "Mplus (TYPE = TWOLEVEL)", LEVELS)
    if not _has_intercept(levels):
        raise no_counterpart("Mplus", "a model without a fixed intercept", "Keep the intercept.")
    preparation = Preparation(model=model, legal=legal)
    outcome = read_outcome(model, preparation)
    if outcome.failures or outcome.trials:
        raise no_counterpart("Mplus", "numbers of successes", "One row per trial, or use to='stata'.")
    if model.family is None:
        outcome = without_offset(model, preparation, outcome)
    elif model.given.get("offset") is not None or model.given.get("exposure") is not None:
        raise no_counterpart("Mplus", "an offset", "Add its column with a slope fixed at 1, or use to='stata'.")
    body, within, between = _equations(model, levels, preparation, outcome.name)
    cluster = preparation.group(model.groups[0])
    variables = list(_variable(model, preparation, outcome.name, within, between, cluster))
    return "\n".join(
        [
            *_notes(model, preparation), "DATA:", "  FILE = data.dat;", *variables, *_define(preparation),
            *_analysis(model), "MODEL:", *body,
        ]
    )  # fmt: skip


def _has_intercept(levels: Levels) -> bool:
    return levels.fixed((0,) * levels.n_levels) is not None


def _equations(
    model: Model, levels: Levels, preparation: Preparation, y: str
) -> tuple[list[str], list[str], list[str]]:
    """The model, and the variables that are on one level only."""
    within: dict[str, None] = {}
    between: dict[str, None] = {}
    below, above, errors = [], [], []
    ordered_zero = (0,)
    for path in levels.below(()):
        predictors = _named(levels.factors_at(path), preparation)
        moderators = [
            _named(levels.factors_at(own), preparation) for own in levels.below(path) if own[-1] and levels.fixed(own)
        ]
        names = [preparation.product(found).name for found in moderators]
        between.update(dict.fromkeys(names))
        if path == ordered_zero:
            above += [f"  {y} ON {' '.join(names)};"] if names else []
            errors += [y] if levels.has_error(path) else []
            continue
        x = preparation.product(predictors).name
        within[x] = None
        if not levels.has_error(path) and not names:
            below.append(f"  {y} ON {x};")
            continue
        slope = f"s{path[0]}"
        below.append(f"  {slope} | {y} ON {x};")
        above += [f"  {slope} ON {' '.join(names)};"] if names else []
        above += [] if levels.fixed((*path, 0)) else [f"  [{slope}@0];"]
        above += [f"  {slope};"] if levels.has_error(path) else [f"  {slope}@0;"]
        errors += [slope] if levels.has_error(path) else []
    above += [f"  {y};"] if y in errors else [f"  {y}@0;"]
    above += list(_covariances(model, errors, y))
    return ["  %WITHIN%", *below, "  %BETWEEN%", *above], list(within), list(between)


def _covariances(model: Model, errors: list[str], y: str) -> Iterator[str]:
    """Covariances of the random effects: all free in one block, none between blocks of one effect each."""
    blocks = [block for part in model.formula.random for block in part.blocks]
    if len(blocks) > 1 and any(len(block) > 1 for block in blocks):
        raise no_counterpart("this translation to Mplus", "several blocks of random effects", "Use to='lme4'.")
    free = len(blocks) == 1
    for k, name in enumerate(errors):
        others = errors[k + 1 :]
        if others:
            yield f"  {name} WITH {' '.join(other if free else f'{other}@0' for other in others)};"


def _named(factors: tuple[str, ...], preparation: Preparation) -> tuple[Atom, ...]:
    """Variables of the components of a product."""
    return tuple(preparation.component(name) for name in factors)


def _variable(
    model: Model, preparation: Preparation, y: str, within: list[str], between: list[str], cluster: str
) -> Iterator[str]:
    """The command VARIABLE."""
    made = [step.new for step in preparation.steps]
    columns = [name for name in preparation.renamed.values() if name not in made]
    weights = model.weights
    if weights is not None and not isinstance(weights, Sampling):
        raise no_counterpart("Mplus", weights.words, "Use to='lme4' or 'stata'.")
    yield "VARIABLE:"
    yield "  NAMES = ! all columns of the file, in their order"
    yield f"    {' '.join(columns)};"
    used = [
        y,
        *[name for name in [*within, *between] if name not in made],
        *[n for n in made if n in {*within, *between, y}],
    ]
    yield f"  USEVARIABLES = {' '.join(dict.fromkeys(used))};"
    yield "  MISSING = ALL (-999);"
    yield f"  CLUSTER = {cluster};"
    if within:
        yield f"  WITHIN = {' '.join(within)};"
    if between:
        yield f"  BETWEEN = {' '.join(between)};"
    if model.family is not None and model.family.kind in ("binary", "ordered"):
        yield f"  CATEGORICAL = {y};"
    elif model.family is not None and model.family.name in ("poisson", "negbinomial"):
        yield f"  COUNT = {y}{' (nb)' if model.family.name == 'negbinomial' else ''};"
    elif model.family is not None:
        raise no_counterpart("Mplus", f"family={model.family.name!r}", "Use to='glmmtmb'.")
    if isinstance(weights, Sampling):
        if weights.rows:
            yield f"  WEIGHT = {preparation.column(weights.rows)};"
            yield f"  WTSCALE = {SCALINGS[weights.scaling]};"
        for column in weights.clusters.values():
            yield f"  BWEIGHT = {preparation.column(column)};"
            yield "  BWTSCALE = UNSCALED;"


def _define(preparation: Preparation) -> list[str]:
    """The command DEFINE."""
    codes = {
        (preparation.column(coding.variable), level): f"{level:g}" if isinstance(level, int | float) else f"{k}"
        for coding in preparation.model.codings.values()
        for k, level in enumerate(coding.levels, start=1)
    }
    outcome = preparation.model.design.outcome if preparation.model.design else None
    for k, label in enumerate((outcome.labels if outcome else None) or (), start=1):
        codes[preparation.column(preparation.model.formula.response.text), label] = f"{k}"
    lines = [line for step in preparation.steps for line in _made(step, codes)]
    return ["DEFINE:", *(f"  {line}" for line in lines)] if lines else []


def _made(step: steps.Step, codes: dict[tuple[str, object], str]) -> Iterator[str]:
    """Statements that make a variable."""
    match step:
        case steps.ClusterMean(new=new, of=of):
            yield f"{new} = CLUSTER_MEAN({of});"
        case steps.Difference(new=new, of=of, mean=mean):
            yield f"{new} = {of} - {mean};"
        case steps.Centred(new=new, of=of, scaled=scaled):
            yield f"{new} = {of};"
            yield f"STANDARDIZE {new};" if scaled else f"CENTER {new} (GRANDMEAN);"
        case steps.Computed(new=new, tree=tree):
            yield f"{new} = {MPLUS.write(tree)};"
        case steps.Indicator(new=new, variable=variable, level=level):
            yield f"IF ({variable} EQ {codes[variable, level]}) THEN {new} = 1;"
            yield f"IF ({variable} NE {codes[variable, level]}) THEN {new} = 0;"
        case steps.Multiplied(new=new, factors=factors):
            yield f"{new} = {' * '.join(factors)};"
        case _:
            raise no_counterpart("Mplus", f"a way to make {step.new}", "Make it in the data first.")


def _analysis(model: Model) -> Iterator[str]:
    """The command ANALYSIS."""
    yield "ANALYSIS:"
    yield "  TYPE = TWOLEVEL RANDOM;"
    yield f"  ESTIMATOR = {'MLR' if isinstance(model.weights, Sampling) else 'ML'};"
    if model.family is not None:
        if model.family.kind in ("binary", "ordered"):
            if model.family.link not in ("logit", "probit"):
                raise no_counterpart("Mplus", f"the {model.family.link} link", "Use to='stata'.")
            yield f"  LINK = {model.family.link.upper()};"
        points = f"({model.nodes})" if model.nodes and model.nodes > 1 else ""
        yield f"  ALGORITHM = INTEGRATION;{' INTEGRATION = GAUSSHERMITE' + points + ';' if points else ''}"


def _notes(model: Model, preparation: Preparation) -> Iterator[str]:
    """What is good to know."""
    for old, new in preparation.renamed.items():
        if old.lower() != new.lower():
            yield f"! the column {old!r} is called {new} here"
    if model.reml:
        yield "! Mplus has no REML: variances between clusters come out smaller where clusters are few"
    for coding in model.codings.values():
        if any(isinstance(level, str) for level in coding.levels):
            listed = ", ".join(f"{k} {level}" for k, level in enumerate(coding.levels, start=1))
            yield f"! Mplus reads numbers only: {coding.variable} has to be coded ({listed})"
