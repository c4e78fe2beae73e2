"""Models in R: lme4, nlme and glmmTMB."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from crosslevel import residual as structures
from crosslevel.estimators.translation import steps
from crosslevel.estimators.translation.arithmetic import R
from crosslevel.estimators.translation.model import Model
from crosslevel.estimators.translation.outcomes import Outcome, read_outcome
from crosslevel.estimators.translation.preparing import Atom, Atoms, Preparation
from crosslevel.estimators.translation.refusals import no_counterpart, refuse_membership
from crosslevel.formula import RandomPart
from crosslevel.formula.terms import Terms
from crosslevel.weights import Frequency, Precision, Sampling

ROWS = "data"
"""Name of the data frame."""

DDF = {"satterthwaite": "Satterthwaite", "kenward-roger": "Kenward-Roger"}
FAMILIES = {"binomial": "binomial", "poisson": "poisson", "gamma": "Gamma"}
TMB_FAMILIES = {
    **FAMILIES, "negbinomial": "nbinom2", "nbinom1": "nbinom1", "beta": "beta_family", "betabinomial": "betabinomial",
}  # fmt: skip
RESERVED = {"if", "else", "repeat", "while", "function", "for", "next", "break", "in", "TRUE", "FALSE", "NULL", "NA"}


def legal(name: str) -> str:
    """A name of R, as `make.names` makes it."""
    name = re.sub(r"[^\w.]", ".", name)
    name = name if re.match(r"[^\W\d_]|\.(?!\d)", name) else f"X{name}"
    return f"{name}." if name in RESERVED else name


def text(value: object) -> str:
    """A category as a value of R."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return f"{value:g}" if float(value).is_integer() else repr(float(value))
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def commands(preparation: Preparation, needed: Sequence[str]) -> Iterator[str]:
    """Commands that prepare the data."""
    for old, new in preparation.renamed.items():
        if old != new:
            yield f'names({ROWS})[names({ROWS}) == {text(old)}] <- "{new}"'
    depends = (steps.ClusterMean, steps.Centred, steps.WeightedEffect)
    if preparation.model.has_dropped and any(isinstance(step, depends) for step in preparation.steps):
        listed = ", ".join(f'"{preparation.column(name)}"' for name in needed)
        yield "# means are those of the rows without missing values"
        yield f"{ROWS} <- {ROWS}[complete.cases({ROWS}[c({listed})]), ]"
    for column, coding in preparation.model.codings.items():
        if column in preparation.renamed and coding.kind == "treatment":
            levels = ", ".join(text(level) for level in coding.levels)
            name = f"{ROWS}${preparation.renamed[column]}"
            yield f"{name} <- factor({name}, levels = c({levels}))"
    for step in preparation.steps:
        yield f"{ROWS}${step.new} <- {_right(step)}"


def _right(step: steps.Step) -> str:
    """What a new variable is."""
    match step:
        case steps.ClusterMean(of=of, group=group):
            return f"ave({ROWS}${of}, {', '.join(f'{ROWS}${name}' for name in group)})"
        case steps.Difference(of=of, mean=mean):
            return f"{ROWS}${of} - {ROWS}${mean}"
        case steps.Centred(of=of, scaled=False):
            return f"{ROWS}${of} - mean({ROWS}${of})"
        case steps.Centred(of=of):
            return f"({ROWS}${of} - mean({ROWS}${of})) / sd({ROWS}${of})"
        case steps.Computed(tree=tree):
            return f"with({ROWS}, {R.write(tree)})"
        case steps.Indicator(variable=variable, level=level):
            return f"as.integer({ROWS}${variable} == {text(level)})"
        case steps.WeightedEffect(variable=variable, level=level, omitted=omitted):
            column = f"{ROWS}${variable}"
            share = f"sum({column} == {text(level)}) / sum({column} == {text(omitted)})"
            return f"({column} == {text(level)}) - ({column} == {text(omitted)}) * {share}"
        case steps.Crossing(columns=columns):
            return f"interaction({', '.join(f'{ROWS}${name}' for name in columns)}, drop = TRUE)"
        case steps.Numbered(variable=variable, levels=levels) if levels:
            return f"factor({ROWS}${variable}, levels = c({', '.join(map(text, levels))}), ordered = TRUE)"
        case steps.Numbered(variable=variable):
            return f"as.integer(factor({ROWS}${variable}))"
        case steps.Multiplied(factors=factors):
            return " * ".join(f"{ROWS}${name}" for name in factors)


def side(terms: Terms, preparation: Preparation) -> str:
    """Some terms, the intercept spelt out where it is missing."""
    found: list[str] = [] if any(not term.expressions for term in terms) else ["0"]
    for term in terms:
        if term.expressions:
            found += [factors(atoms) for atoms in preparation.term(term)]
    return " + ".join(found) or "1"


def factors(atoms: Atoms) -> str:
    """A product."""
    return ":".join(_factor(atom) if atom.text.startswith("C(") else atom.name for atom in atoms)


def _factor(atom: Atom) -> str:
    """Categories made in the formula."""
    if "," not in atom.text:
        return f"factor({atom.name})"
    return f"relevel(factor({atom.name}), ref = {text(str(atom.reference))})"


def random_side(terms: Terms, preparation: Preparation) -> str:
    """The terms of a random part."""
    written = side(terms, preparation)
    has_intercept = any(not term.expressions for term in terms)
    return f"1 + {written}" if has_intercept and written != "1" else written


def left(outcome: Outcome) -> str:
    """The outcome in a formula."""
    if outcome.failures is not None:
        return f"cbind({outcome.name}, {outcome.failures})"
    if outcome.trials is not None:
        return f"cbind({outcome.name}, {outcome.trials} - {outcome.name})"
    return outcome.name


def lme4(model: Model) -> str:
    """Lmer or glmer."""
    family = model.family
    if model.residual is not None:
        raise no_counterpart("lme4", "a residual structure", "Use to='nlme', 'glmmtmb' or 'stata'.")
    preparation = Preparation(model=model, legal=legal, inline=R)
    if model.is_ordinary:
        return "\n".join(_lm(model, preparation))
    if family is not None and family.name not in (*FAMILIES, "negbinomial"):
        raise no_counterpart("lme4", f"family={family.name!r}", "Use to='glmmtmb' or 'stata'.")
    outcome = read_outcome(model, preparation)
    random = [piece for part in model.formula.random for piece in _lme4_part(part, preparation)]
    formula = f"{left(outcome)} ~ {side(model.formula.fixed_terms, preparation)} + {' + '.join(random)}"
    formula, options = formula + _exposed(preparation), list(_options(model, preparation, "lme4"))
    if family is None:
        options.append(f"REML = {'TRUE' if model.reml else 'FALSE'}")
        call, library = "lmer", "lmerTest" if model.ddf in DDF else "lme4"
    else:
        call, library = ("glmer.nb", "lme4") if family.name == "negbinomial" else ("glmer", "lme4")
        options += [] if call == "glmer.nb" else [f'family = {FAMILIES[family.name]}(link = "{family.link}")']
        options += list(_nodes(model))
    lines = [f"library({library})", *commands(preparation, model.formula.required)]
    lines += list(_nodes_remark(model))
    lines.append(called(f"model <- {call}", [formula, f"data = {ROWS}", *options]))
    lines.append(f'summary(model, ddf = "{DDF[model.ddf]}")' if library == "lmerTest" else "summary(model)")
    return "\n".join(lines)


def called(start: str, arguments: Sequence[str]) -> str:
    """A call, in several lines where it is long."""
    line = f"{start}({', '.join(arguments)})"
    if len(line) <= 100:
        return line
    return f"{start}(\n  " + ",\n  ".join(arguments) + "\n)"


def _lm(model: Model, preparation: Preparation) -> Iterator[str]:
    """An ordinary regression."""
    outcome = read_outcome(model, preparation)
    formula = f"{left(outcome)} ~ {side(model.formula.fixed_terms, preparation)}"
    options = list(_options(model, preparation, "lm"))
    yield from commands(preparation, model.formula.required)
    yield called("model <- lm", [formula, f"data = {ROWS}", *options])
    if model.cluster:
        clusters = " + ".join(preparation.column(name) for name in model.cluster)
        yield "library(clubSandwich)" if len(model.cluster) == 1 else "library(sandwich)"
        if len(model.cluster) == 1:
            yield f'coef_test(model, vcov = "CR2", cluster = {ROWS}${clusters})'
        else:
            yield f"lmtest::coeftest(model, vcovCL(model, cluster = ~ {clusters}))"
    else:
        yield "summary(model)"


def _lme4_part(part: RandomPart, preparation: Preparation) -> Iterator[str]:
    """Random terms of lme4."""
    refuse_membership(part, "lme4")
    group = ":".join(preparation.column(name) for name in part.group)
    if part.structure == "us":
        blocks = part.blocks
    elif part.structure == "diag":
        blocks = tuple((term,) for block in part.blocks for term in block)
        if any(
            atom.is_categorical for block in blocks for t in block for atoms in preparation.term(t) for atom in atoms
        ):
            raise no_counterpart("lme4", f"uncorrelated categories ({part.text})", "Use to='glmmtmb'.")
    else:
        raise no_counterpart("lme4", f"the structure {part.structure} ({part.text})", "Use to='glmmtmb' or 'nlme'.")
    for block in blocks:
        yield f"({random_side(block, preparation)} | {group})"


def _options(model: Model, preparation: Preparation, package: str) -> Iterator[str]:
    """Weights and offset."""
    weights = model.weights
    if isinstance(weights, Sampling):
        raise no_counterpart(
            package, "sampling weights of rows and clusters", "Use to='stata' or 'mplus'; in R, WeMix fits such models."
        )
    if isinstance(weights, Precision):
        yield f"weights = {preparation.column(weights.column)}"
    if isinstance(weights, Frequency):
        preparation.column(weights.column)
        raise no_counterpart(
            package, f"frequency weights ({weights.column})",
            f"Repeat the rows first: {ROWS}[rep(seq_len(nrow({ROWS})), {ROWS}${weights.column}), ].",
        )  # fmt: skip
    offset = preparation.argument("offset")
    if offset is not None:
        yield f"offset = {offset}"


def _exposed(preparation: Preparation) -> str:
    """The logarithm of an exposure."""
    exposure = preparation.argument("exposure")
    return f" + offset(log({exposure}))" if exposure else ""


def _has_one_effect(model: Model) -> bool:
    """Whether there is one random effect per cluster."""
    parts = model.formula.random
    return len(parts) == 1 and len(parts[0].blocks) == 1 and len(parts[0].blocks[0]) == 1


def _nodes(model: Model) -> Iterator[str]:
    """Nodes of the quadrature."""
    nodes = model.nodes
    if nodes is not None and nodes > 1 and _has_one_effect(model):
        yield f"nAGQ = {nodes}"


def _nodes_remark(model: Model) -> Iterator[str]:
    if model.family is not None and (model.nodes or 1) > 1 and not _has_one_effect(model):
        yield (f"# glmer uses Laplace's approximation where random effects are several; {model.nodes} nodes were used")


def glmmtmb(model: Model) -> str:
    """GlmmTMB."""
    family = model.family
    preparation = Preparation(model=model, legal=legal, inline=R)
    if family is not None and family.name not in TMB_FAMILIES:
        raise no_counterpart("glmmTMB", f"family={family.name!r}", "Use to='stata' (meologit), or ordinal::clmm in R.")
    outcome = read_outcome(model, preparation)
    random = [piece for part in model.formula.random for piece in _tmb_part(part, preparation)]
    options = list(_options(model, preparation, "glmmTMB"))
    if isinstance(model.weights, Precision) and family is None:
        column = preparation.column(model.weights.column)
        raise no_counterpart(
            "glmmTMB", f"precision weights ({column})", "Its weights multiply the log-likelihood. Use to='lme4'."
        )
    extra, dispersion = _tmb_residual(model, preparation)
    formula = " + ".join([f"{left(outcome)} ~ {side(model.formula.fixed_terms, preparation)}", *random, *extra])
    formula += _exposed(preparation)
    if family is None:
        options.append(f"REML = {'TRUE' if model.reml else 'FALSE'}")
    else:
        options.append(f'family = {TMB_FAMILIES[_named(model)]}(link = "{family.link}")')
    lines = ["library(glmmTMB)", *commands(preparation, model.formula.required)]
    if (model.nodes or 1) > 1:
        lines.append(f"# glmmTMB uses Laplace's approximation; {model.nodes} nodes were used")
    options += dispersion[:1] if dispersion and dispersion[0] else []
    lines.append(called("model <- glmmTMB", [formula, f"data = {ROWS}", *options]))
    return "\n".join([*lines, "summary(model)"])


def _named(model: Model) -> str:
    """The family's name, which tells the variants of the negative binomial."""
    family: Any = model.family
    return "nbinom1" if getattr(family, "variant", "") == "nb1" else str(family.name)


def _tmb_part(part: RandomPart, preparation: Preparation) -> Iterator[str]:
    """Random terms of glmmTMB."""
    refuse_membership(part, "glmmTMB")
    group = ":".join(preparation.column(name) for name in part.group)
    names = {"us": "", "diag": "diag", "cs": "homcs", "hcs": "cs", "har1": "hetar1", "ar1": "ar1"}
    if part.structure not in names or part.structure == "cs":
        raise no_counterpart("glmmTMB", f"the structure {part.structure} ({part.text})", "Use to='nlme'.")
    if part.structure == "har1":
        raise no_counterpart("glmmTMB", f"the structure har1 ({part.text})", "Newer versions have hetar1.")
    for block in part.blocks:
        yield f"{names[part.structure]}({random_side(block, preparation)} | {group})"


def _tmb_residual(model: Model, preparation: Preparation) -> tuple[list[str], list[str]]:
    """Random terms and dispersion formula that make a residual structure."""
    asked = model.residual
    if asked is None:
        return [], []
    if isinstance(asked, structures.By):
        names = ":".join(f"factor({preparation.column(name)})" for name in asked.by.split(":"))
        return [], [f"dispformula = ~ {names}"]
    if isinstance(asked, structures.AR1) and asked.by is None:
        time, unit = preparation.column(asked.time), preparation.column(asked.within)
        return [f"ar1(0 + factor({time}) | {unit})"], ["dispformula = ~ 0"]
    raise no_counterpart("glmmTMB", f"the residual structure {asked!r}", "Use to='nlme' or 'stata'.")
