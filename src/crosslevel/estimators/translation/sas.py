"""Models in SAS: PROC MIXED and PROC GLIMMIX."""

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from crosslevel import residual as structures
from crosslevel.estimators.translation import steps
from crosslevel.estimators.translation.arithmetic import SAS
from crosslevel.estimators.translation.columns import has_intercept, random_columns
from crosslevel.estimators.translation.model import Model
from crosslevel.estimators.translation.outcomes import Outcome, read_outcome, without_offset
from crosslevel.estimators.translation.preparing import Atom, Preparation
from crosslevel.estimators.translation.refusals import no_counterpart, refuse_membership
from crosslevel.weights import Frequency, Precision, Sampling

TABLE = "work.data"
COVARIANCES = {"us": "un", "diag": "un(1)", "cs": "cs", "hcs": "csh", "ar1": "ar(1)", "har1": "arh(1)"}
DISTRIBUTIONS = {
    "poisson": "poisson",
    "negbinomial": "negbin",
    "gamma": "gamma",
    "beta": "beta",
    "ordinal": "multinomial",
}
LINKS = {"logit": "logit", "probit": "probit", "cloglog": "cloglog", "log": "log"}
DDF = {
    "satterthwaite": "satterthwaite", "kenward-roger": "kenwardroger", "kenward-roger-2009": "kenwardroger2",
    "residual": "residual", "between-within": "betwithin", "normal": "none",
}  # fmt: skip


def legal(name: str) -> str:
    """A name of SAS."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    name = name if re.match(r"[A-Za-z_]", name) else f"_{name}"
    return name[:32]


def value(level: object) -> str:
    """A category as a value of SAS."""
    return f"{level:g}" if isinstance(level, int | float) else '"' + str(level).replace('"', '""') + '"'


def sas(model: Model) -> str:
    """The steps of SAS."""
    preparation = Preparation(model=model, legal=legal)
    if model.is_ordinary:
        raise no_counterpart("PROC MIXED", "an ordinary regression with clusters", "Use to='stata' or 'lme4'.")
    if isinstance(model.weights, Sampling) and model.weights.scaling != "none" and model.weights.rows:
        raise no_counterpart(
            "PROC GLIMMIX", f"scaling={model.weights.scaling!r} of weights", "Scale them first, and use scaling='none'."
        )
    body = list(_procedure(model, preparation))
    return "\n".join([*commands(preparation, model.formula.required), *body, "run;"])


def commands(preparation: Preparation, needed: Sequence[str]) -> Iterator[str]:
    """Steps that prepare the data."""
    for old, new in preparation.renamed.items():
        if old != new:
            yield f"* the column {old!r} is called {new} here;"
    depends = (steps.ClusterMean, steps.Centred, steps.WeightedEffect)
    if preparation.model.has_dropped and any(isinstance(step, depends) for step in preparation.steps):
        yield "* means are those of the rows without missing values;"
        yield f"data {TABLE}; set {TABLE}; if cmiss({', '.join(preparation.column(n) for n in needed)}) = 0; run;"
    for step in preparation.steps:
        yield _made(step)


def _made(step: steps.Step) -> str:
    """A step that makes a variable."""
    match step:
        case steps.ClusterMean(new=new, of=of, group=group):
            return _selected(new, f"mean({of})", group)
        case steps.Centred(new=new, of=of, scaled=scaled):
            return _selected(new, f"({of} - mean({of})) / std({of})" if scaled else f"{of} - mean({of})")
        case steps.WeightedEffect(new=new, variable=v, level=level, omitted=o):
            share = f"sum({v} = {value(level)}) / sum({v} = {value(o)})"
            return _selected(new, f"({v} = {value(level)}) - ({v} = {value(o)}) * {share}")
        case steps.Difference(new=new, of=of, mean=mean):
            return _computed(f"{new} = {of} - {mean};")
        case steps.Computed(new=new, tree=tree, variables=variables):
            missing = f"if cmiss({', '.join(variables)}) = 0 then " if variables else ""
            return _computed(f"{missing}{new} = {SAS.write(tree)};")
        case steps.Indicator(new=new, variable=variable, level=level):
            return _computed(f"if not missing({variable}) then {new} = ({variable} = {value(level)});")
        case steps.Numbered(new=new, variable=variable, levels=levels):
            return _computed(
                " ".join(f"if {variable} = {value(level)} then {new} = {k};" for k, level in enumerate(levels, start=1))
            )
        case steps.Crossing(new=new, columns=columns):
            return _computed(f'{new} = catx(":", {", ".join(columns)});')
        case steps.Multiplied(new=new, factors=factors):
            return _computed(f"{new} = {' * '.join(factors)};")


def _computed(statement: str) -> str:
    return f"data {TABLE}; set {TABLE}; {statement} run;"


def _selected(new: str, what: str, group: Sequence[str] = ()) -> str:
    """A statistic of the rows of each group as a new variable."""
    by = f" group by {', '.join(group)}" if group else ""
    return f"proc sql; create table {TABLE} as select *, {what} as {new} from {TABLE}{by}; quit;"


def _procedure(model: Model, preparation: Preparation) -> Iterator[str]:
    """PROC MIXED, or PROC GLIMMIX for other families and sampling weights."""
    family: Any = model.family
    is_glimmix = family is not None or isinstance(model.weights, Sampling)
    outcome = read_outcome(model, preparation)
    outcome = outcome if is_glimmix else without_offset(model, preparation, outcome)
    classes: dict[str, str] = {}
    effects = _effects(model, preparation, classes)
    random = list(_random(model, preparation, classes))
    repeated = list(_repeated(model, preparation, classes))
    if is_glimmix:
        empirical = " empirical=classical" if isinstance(model.weights, Sampling) else ""
        yield f"proc glimmix data={TABLE} method={_method(model)}{empirical};"
    else:
        yield f"proc mixed data={TABLE} method={'reml' if model.reml else 'ml'} covtest;"
    if classes:
        yield f"  class {' '.join(classes.values())};"
    left, options = _left(model, outcome, preparation, is_glimmix)
    yield f"  model {left} = {' '.join(effects)} / {' '.join(options)};"
    yield from random
    yield from repeated
    if isinstance(model.weights, Precision):
        if family is not None:
            raise no_counterpart("PROC GLIMMIX", "precisions of a family's answers", "Use to='lme4'.")
        yield f"  weight {preparation.column(model.weights.column)};"
    if isinstance(model.weights, Frequency):
        if not is_glimmix:
            raise no_counterpart("PROC MIXED", f"frequency weights ({model.weights.column})", "Repeat the rows first.")
        yield f"  freq {preparation.column(model.weights.column)};"


def _method(model: Model) -> str:
    """How the random effects are integrated out."""
    nodes = model.nodes
    if nodes is None or isinstance(model.weights, Sampling):
        return "quad"
    if not model.is_nested:
        return "laplace"
    return "laplace" if nodes == 1 else f"quad(qpoints={nodes})"


def _effects(model: Model, preparation: Preparation, classes: dict[str, str]) -> list[str]:
    """The fixed part; categories as classes whose reference is the first."""
    found = []
    for term in model.formula.fixed_terms:
        if term.expressions:
            for atoms in preparation.term(term):
                for atom in atoms:
                    _classified(atom, classes)
                found.append("*".join(atom.name for atom in atoms))
    return found


def _classified(atom: Atom, classes: dict[str, str]) -> None:
    """Note a category as a class."""
    if atom.is_categorical:
        reference = str(atom.reference if atom.reference is not None else "").replace('"', '""')
        classes[atom.name] = atom.name if atom.levels == ("?",) else f'{atom.name}(ref="{reference}")'


def _left(model: Model, outcome: Outcome, preparation: Preparation, is_glimmix: bool) -> tuple[str, list[str]]:
    """The outcome and options of the statement MODEL."""
    family: Any = model.family
    options = ["solution"]
    left = outcome.name
    if family is not None and family.name == "binomial":
        trials = outcome.trials
        if outcome.failures is not None:
            trials = preparation.free(f"{outcome.name}_trials")
            tree = ast.parse(f"{outcome.name} + {outcome.failures}", mode="eval").body
            preparation.steps.append(steps.Computed(new=trials, tree=tree, variables=(outcome.name, outcome.failures)))
        left = f"{outcome.name}/{trials}" if trials else f'{outcome.name}(event="1")'
        options += [f"dist={'binomial' if trials else 'binary'}", f"link={LINKS[family.link]}"]
    elif family is not None:
        if family.name not in DISTRIBUTIONS:
            raise no_counterpart("PROC GLIMMIX", f"family={family.name!r}", "Use to='glmmtmb'.")
        link = {"logit": "cumlogit", "probit": "cumprobit", "cloglog": "cumcll"} if family.kind == "ordered" else LINKS
        left += "(descending)" if family.kind == "ordered" else ""
        options += [f"dist={DISTRIBUTIONS[family.name]}", f"link={link[family.link]}"]
    if is_glimmix:
        options += list(_glimmix_options(model, preparation))
    if not has_intercept(model.formula.fixed_terms):
        options.append("noint")
    if model.ddf in DDF:
        options.append(f"ddfm={DDF[model.ddf]}")
    return left, options


def _glimmix_options(model: Model, preparation: Preparation) -> Iterator[str]:
    """Offset, exposure and weights of rows."""
    offset, exposure = preparation.argument("offset"), preparation.argument("exposure")
    if exposure is not None:
        new = preparation.free(f"log_{exposure}")
        text = f"log({exposure})" + (f" + {offset}" if offset else "")
        preparation.steps.append(steps.Computed(new=new, tree=ast.parse(text, mode="eval").body, variables=(exposure,)))
        offset = new
    if offset is not None:
        yield f"offset={offset}"
    if isinstance(model.weights, Sampling) and model.weights.rows:
        yield f"obsweight={preparation.column(model.weights.rows)}"


def _random(model: Model, preparation: Preparation, classes: dict[str, str]) -> Iterator[str]:
    """The statements RANDOM."""
    clusters = model.weights.clusters if isinstance(model.weights, Sampling) else {}
    for part in model.formula.random:
        refuse_membership(part, "SAS")
        if part.structure not in COVARIANCES:
            raise no_counterpart("SAS", f"the structure {part.structure} ({part.text})", "Fit it with cl.mixed.")
        columns = [preparation.column(name) for name in part.group]
        for name in columns:
            classes.setdefault(name, name)
        weight = clusters.get(":".join(part.group))
        for block in part.blocks:
            slopes = ["*".join(a.name for a in atoms) for atoms in random_columns(block, model, preparation)]
            effects = [*(["intercept"] if has_intercept(block) else []), *slopes]
            kind = f" type={COVARIANCES[part.structure]}" if len(effects) > 1 else ""
            weighted = f" weight={preparation.column(weight)}" if weight else ""
            yield f"  random {' '.join(effects)} / subject={'*'.join(columns)}{kind}{weighted};"


def _repeated(model: Model, preparation: Preparation, classes: dict[str, str]) -> Iterator[str]:
    """The statement REPEATED."""
    asked = model.residual
    if asked is None:
        return
    if isinstance(asked, structures.By):
        strata = [preparation.column(name) for name in asked.by.split(":")]
        for name in strata:
            classes.setdefault(name, name)
        yield f"  repeated / group={'*'.join(strata)};"
        return
    if getattr(asked, "by", None) or not hasattr(asked, "within"):
        raise no_counterpart("PROC MIXED", f"the residual structure {asked!r}", "Use to='nlme'.")
    within = preparation.column(str(asked.within))
    classes.setdefault(within, within)
    if isinstance(asked, structures.CAR1):
        yield f"  repeated / subject={within} type=sp(pow)({preparation.column(asked.time)});"
        return
    if isinstance(asked, structures.CompoundSymmetry):
        yield f"  repeated / subject={within} type=cs;"
        return
    given = asked.time if isinstance(asked, structures.AR1) else asked.occasion  # type: ignore[attr-defined]
    occasion = preparation.column(given)
    if occasion in {atom.name for atoms in preparation.made.values() for atom in atoms}:
        new = preparation.free(f"{occasion}_class")
        preparation.steps.append(steps.Computed(new=new, tree=ast.Name(id=occasion), variables=(occasion,)))
        occasion = new
    classes.setdefault(occasion, occasion)
    yield f"  repeated {occasion} / subject={within} type={'ar(1)' if isinstance(asked, structures.AR1) else 'un'};"
