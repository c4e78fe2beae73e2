"""Models in SPSS: MIXED and GENLINMIXED."""

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from crosslevel import residual as structures
from crosslevel.estimators.translation import steps
from crosslevel.estimators.translation.arithmetic import SPSS
from crosslevel.estimators.translation.columns import fixed_columns, has_intercept, random_columns
from crosslevel.estimators.translation.model import Model
from crosslevel.estimators.translation.outcomes import read_outcome, without_offset
from crosslevel.estimators.translation.preparing import Atoms, Preparation
from crosslevel.estimators.translation.refusals import no_counterpart, refuse_membership
from crosslevel.weights import Frequency, Precision, Sampling

COVARIANCES = {"us": "UN", "diag": "DIAG", "cs": "CS", "hcs": "CSH", "ar1": "AR1", "har1": "ARH1"}
LONG = {"us": "UNSTRUCTURED", "diag": "DIAGONAL", "cs": "COMPOUND_SYMMETRY", "ar1": "AR1"}
DISTRIBUTIONS = {
    "binomial": "BINOMIAL", "poisson": "POISSON", "negbinomial": "NEGATIVE_BINOMIAL", "gamma": "GAMMA",
    "ordinal": "MULTINOMIAL",
}  # fmt: skip
DDF = {"satterthwaite": "SATTERTHWAITE", "kenward-roger": "KENWARDROGER", "residual": "RESIDUAL"}


def legal(name: str) -> str:
    """A name of SPSS."""
    name = re.sub(r"[^\w.]", "_", name)
    name = name if re.match(r"[^\W\d_]", name) else f"v{name}"
    return name[:64].rstrip("._")


def value(level: object) -> str:
    """A category as a value of SPSS."""
    return f"{level:g}" if isinstance(level, int | float) else "'" + str(level).replace("'", "''") + "'"


def spss(model: Model) -> str:
    """The commands of SPSS."""
    if model.is_ordinary and model.family is None:
        raise no_counterpart(
            "SPSS", "an ordinary regression with standard errors by clusters", "Use to='stata' or 'lme4'."
        )
    preparation = Preparation(model=model, legal=legal)
    if isinstance(model.weights, Sampling):
        raise no_counterpart("SPSS", "sampling weights of rows and clusters", "Use to='stata' or 'mplus'.")
    body = list(_mixed(model, preparation) if model.family is None else _genlinmixed(model, preparation))
    made = list(commands(preparation, model.formula.required))
    if isinstance(model.weights, Frequency):
        made.append(f"WEIGHT BY {preparation.column(model.weights.column)}.")
    return "\n".join([*made, *(["EXECUTE."] if made else []), "\n  ".join(body) + "."])


def commands(preparation: Preparation, needed: Sequence[str]) -> Iterator[str]:
    """Commands that prepare the data."""
    for old, new in preparation.renamed.items():
        if old.lower() != new.lower():
            yield f"* The column {old!r} is called {new} here."
    depends = (steps.ClusterMean, steps.Centred, steps.WeightedEffect)
    if preparation.model.has_dropped and any(isinstance(step, depends) for step in preparation.steps):
        yield "* Means are those of the rows without missing values."
        yield f"SELECT IF NOT ({' OR '.join(f'MISSING({preparation.column(name)})' for name in needed)})."
    for step in preparation.steps:
        yield from _made(step)


def _aggregated(group: Sequence[str], new: str, what: str) -> str:
    """A statistic of the rows of each group as a new variable."""
    return f"AGGREGATE /OUTFILE=* MODE=ADDVARIABLES /BREAK={' '.join(group)} /{new}={what}."


def _made(step: steps.Step) -> Iterator[str]:
    """Commands that make a variable."""
    match step:
        case steps.ClusterMean(new=new, of=of, group=group):
            yield _aggregated(group, new, f"MEAN({of})")
        case steps.Difference(new=new, of=of, mean=mean):
            yield f"COMPUTE {new} = {of} - {mean}."
        case steps.Centred(new=new, of=of, scaled=scaled):
            yield _aggregated((), f"{new}_m", f"MEAN({of})")
            if scaled:
                yield _aggregated((), f"{new}_s", f"SD({of})")
            yield f"COMPUTE {new} = " + (f"({of} - {new}_m) / {new}_s." if scaled else f"{of} - {new}_m.")
        case steps.Computed(new=new, tree=tree):
            yield f"COMPUTE {new} = {SPSS.write(tree)}."
        case steps.Indicator(new=new, variable=variable, level=level):
            yield f"COMPUTE {new} = ({variable} = {value(level)})."
        case steps.WeightedEffect(new=new, variable=variable, level=level, omitted=omitted):
            yield f"COMPUTE {new} = ({variable} = {value(level)})."
            yield f"COMPUTE {new}_o = ({variable} = {value(omitted)})."
            yield _aggregated((), f"{new}_a", f"SUM({new})")
            yield _aggregated((), f"{new}_b", f"SUM({new}_o)")
            yield f"COMPUTE {new} = {new} - {new}_o * {new}_a / {new}_b."
        case steps.Numbered(new=new, variable=variable, levels=levels):
            pairs = " ".join(f"({value(level)}={number})" for number, level in enumerate(levels, start=1))
            yield f"RECODE {variable} {pairs} INTO {new}."
        case steps.Multiplied(new=new, factors=factors):
            yield f"COMPUTE {new} = {' * '.join(factors)}."
        case steps.Crossing():
            return


def _products(columns: Sequence[Atoms]) -> str:
    """Effects."""
    return " ".join("*".join(atom.name for atom in atoms) for atoms in columns)


def _mixed(model: Model, preparation: Preparation) -> Iterator[str]:
    """MIXED."""
    outcome = without_offset(model, preparation, read_outcome(model, preparation))
    fixed = fixed_columns(model, preparation)
    random = [_random(part, model, preparation) for part in model.formula.random]
    slopes = [atoms for _, found in random for _, columns in found for atoms in columns]
    covariates = dict.fromkeys(atom.name for atoms in [*fixed, *slopes] for atom in atoms)
    repeated, factors = _repeated(model, preparation)
    by = f" BY {' '.join(factors)}" if factors else ""
    yield f"MIXED {outcome.name}{by}" + (f" WITH {' '.join(covariates)}" if covariates else "")
    if model.ddf in DDF:
        yield f"/CRITERIA=DFMETHOD({DDF[model.ddf]})"
    bar = "| SSTYPE(3)" if has_intercept(model.formula.fixed_terms) else "| NOINT SSTYPE(3)"
    yield " ".join(filter(None, ["/FIXED=" + _products(fixed), bar]))
    yield f"/METHOD={'REML' if model.reml else 'ML'}"
    yield "/PRINT=SOLUTION TESTCOV"
    for subject, blocks in random:
        for structure, columns in blocks:
            has = structure.endswith("+")
            effects = " ".join(filter(None, ["INTERCEPT" if has else "", _products(columns)]))
            kind = "VC" if len(columns) + has == 1 else COVARIANCES[structure.rstrip("+")]
            yield f"/RANDOM={effects} | SUBJECT({subject}) COVTYPE({kind})"
    yield from repeated
    if isinstance(model.weights, Precision):
        yield f"/REGWGT={preparation.column(model.weights.column)}"


def _random(part: Any, model: Model, preparation: Preparation) -> tuple[str, list[tuple[str, list[Atoms]]]]:
    """Subject, and structure (with a + for an intercept) and slopes of each block."""
    refuse_membership(part, "SPSS")
    if part.structure not in COVARIANCES:
        raise no_counterpart("SPSS", f"the structure {part.structure} ({part.text})", "Fit it with cl.mixed.")
    subject = "*".join(preparation.column(name) for name in part.group)
    blocks = [
        (part.structure + ("+" if has_intercept(block) else ""), random_columns(block, model, preparation))
        for block in part.blocks
    ]
    return subject, blocks


def _repeated(model: Model, preparation: Preparation) -> tuple[list[str], list[str]]:
    """The subcommand REPEATED, and the factors it needs."""
    asked = model.residual
    if asked is None:
        return [], []
    if isinstance(asked, structures.By):
        row, strata = preparation.free("case_id"), [preparation.column(name) for name in asked.by.split(":")]
        preparation.steps.append(steps.Computed(new=row, tree=ast.Name(id="$CASENUM"), variables=()))
        return [f"/REPEATED={'*'.join(strata)} | SUBJECT({row}) COVTYPE(DIAG)"], strata
    kinds = {structures.AR1: "AR1", structures.CompoundSymmetry: "CS", structures.Unstructured: "UN"}
    kind = next((name for cls, name in kinds.items() if isinstance(asked, cls)), None)
    if kind is None or getattr(asked, "by", None):
        raise no_counterpart("SPSS", f"the residual structure {asked!r}", "Use to='nlme'.")
    occasion = getattr(asked, "time", None) or getattr(asked, "occasion", None)
    if occasion is None:
        raise no_counterpart(
            "SPSS", f"{asked!r} without a column of occasions", "Use to='nlme', or a random intercept in its place."
        )
    time, within = preparation.column(occasion), preparation.column(str(getattr(asked, "within", "")))
    if any(occasion in component.variables for component in model.need_data("its predictors").spec.components):
        new = preparation.free(f"{time}_occasion")  # a variable cannot be a covariate and a factor
        preparation.steps.append(steps.Computed(new=new, tree=ast.Name(id=time), variables=(time,)))
        time = new
    return [f"/REPEATED={time} | SUBJECT({within}) COVTYPE({kind})"], [time]


def _genlinmixed(model: Model, preparation: Preparation) -> Iterator[str]:
    """GENLINMIXED."""
    family: Any = model.family
    if family.name not in DISTRIBUTIONS:
        raise no_counterpart("SPSS", f"family={family.name!r}", "Use to='glmmtmb'.")
    outcome = read_outcome(model, preparation)
    fixed = fixed_columns(model, preparation)
    trials = outcome.trials
    if outcome.failures is not None:
        trials = preparation.free(f"{outcome.name}_trials")
        tree = ast.parse(f"{outcome.name} + {outcome.failures}", mode="eval").body
        preparation.steps.append(steps.Computed(new=trials, tree=tree, variables=()))
    subjects = "*".join(preparation.column(name) for name in (model.groups[-1] if model.groups else ()))
    yield "* GENLINMIXED maximises a pseudo-likelihood: estimates differ a little from maximum likelihood.\nGENLINMIXED"
    if subjects:
        yield f"/DATA_STRUCTURE SUBJECTS={subjects}"
    shown = f"FIELD({trials})" if trials else "NONE"
    yield f"/FIELDS TARGET={outcome.name} TRIALS={shown} OFFSET={_offset(preparation)}"
    link = {"logit": "LOGIT", "probit": "PROBIT", "cloglog": "CLOGLOG", "log": "LOG"}[family.link]
    yield f"/TARGET_OPTIONS DISTRIBUTION={DISTRIBUTIONS[family.name]} LINK={link}"
    use = "TRUE" if has_intercept(model.formula.fixed_terms) else "FALSE"
    yield " ".join(filter(None, ["/FIXED", f"EFFECTS={_products(fixed)}" if fixed else "", f"USE_INTERCEPT={use}"]))
    for part in model.formula.random:
        subject, blocks = _random(part, model, preparation)
        for structure, columns in blocks:
            has, plain = structure.endswith("+"), structure.rstrip("+")
            if plain not in LONG:
                raise no_counterpart("GENLINMIXED", f"the structure {plain}", "Use to='glmmtmb'.")
            kind = "VARIANCE_COMPONENTS" if len(columns) + has == 1 else LONG[plain]
            effects = f"EFFECTS={_products(columns)} " if columns else ""
            use = f"USE_INTERCEPT={'TRUE' if has else 'FALSE'}"
            yield f"/RANDOM {effects}{use} SUBJECTS={subject} COVARIANCE_TYPE={kind}"


def _offset(preparation: Preparation) -> str:
    """Offset, or the logarithm of an exposure."""
    offset, exposure = preparation.argument("offset"), preparation.argument("exposure")
    if exposure is not None:
        new = preparation.free(f"log_{exposure}")
        text = f"log({exposure})" + (f" + {offset}" if offset else "")
        preparation.steps.append(steps.Computed(new=new, tree=ast.parse(text, mode="eval").body, variables=(exposure,)))
        return f"FIELD({new})"
    return f"FIELD({offset})" if offset else "NONE"
