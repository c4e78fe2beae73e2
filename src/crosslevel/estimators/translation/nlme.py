"""Models for nlme in R: lme and gls."""

from collections.abc import Iterator

from crosslevel import residual as structures
from crosslevel.estimators.translation.arithmetic import R
from crosslevel.estimators.translation.model import Model
from crosslevel.estimators.translation.outcomes import read_outcome, without_offset
from crosslevel.estimators.translation.preparing import Preparation
from crosslevel.estimators.translation.r import ROWS, called, commands, legal, random_side, side
from crosslevel.estimators.translation.refusals import no_counterpart, refuse_membership
from crosslevel.estimators.translation.steps import Numbered
from crosslevel.formula import RandomPart
from crosslevel.weights import Precision


def nlme(model: Model) -> str:
    """lme, or gls without random terms."""
    if model.family is not None:
        raise no_counterpart("nlme", f"family={model.family.name!r}", "Use to='lme4' or 'glmmtmb'.")
    preparation = Preparation(model=model, legal=legal, inline=R)
    outcome = without_offset(model, preparation, read_outcome(model, preparation))
    fixed = f"{outcome.name} ~ {side(model.formula.fixed_terms, preparation)}"
    random = _random(model, preparation)
    options = [*random, *_residual(model, preparation), f'method = "{"REML" if model.reml else "ML"}"']
    call = "lme" if random else "gls"
    lines = ["library(nlme)", *commands(preparation, model.formula.required)]
    lines.append(called(f"model <- {call}", [fixed, f"data = {ROWS}", *options]))
    return "\n".join([*lines, "summary(model)"])


def _random(model: Model, preparation: Preparation) -> list[str]:
    """The argument `random`."""
    if not model.formula.random:
        return []
    if not model.is_nested:
        raise no_counterpart("nlme", "crossed random effects", "Use to='lme4'.")
    written: list[tuple[str, str]] = []
    for group, parts in model.parts.items():
        for part in parts:
            refuse_membership(part, "nlme")
        name = preparation.group(group)
        written.append((name, _matrix([piece for part in parts for piece in _blocks(part, preparation)])))
    if len(written) == 1:
        name, matrix = written[0]
        return [f"random = {matrix} | {name}"] if matrix.startswith("~") else [f"random = list({name} = {matrix})"]
    return [f"random = list({', '.join(f'{name} = {matrix}' for name, matrix in written)})"]


def _blocks(part: RandomPart, preparation: Preparation) -> Iterator[tuple[str, str]]:
    """Structure and formula of each block."""
    names = {"us": "pdSymm", "diag": "pdDiag", "cs": "pdCompSymm"}
    if part.structure not in names:
        raise no_counterpart("nlme", f"the structure {part.structure} ({part.text})", "Use to='glmmtmb'.")
    for block in part.blocks:
        written = random_side(block, preparation)
        yield names[part.structure], "~ 1" if written == "1" else f"~ {written.removeprefix('1 + ')}"


def _matrix(blocks: list[tuple[str, str]]) -> str:
    """A formula for one free block, else a positive-definite structure."""
    if len(blocks) == 1:
        kind, formula = blocks[0]
        return formula if kind == "pdSymm" else f"{kind}({formula})"
    shown = [f"{kind}({formula})" for kind, formula in blocks]
    return f"pdBlocked(list({', '.join(shown)}))"


def _residual(model: Model, preparation: Preparation) -> Iterator[str]:
    """The arguments `correlation`, `weights` and `control`."""
    asked, weights = model.residual, model.weights
    if weights is not None:
        if not isinstance(weights, Precision) or asked is not None:
            raise no_counterpart("nlme", weights.words, "Use to='lme4' or 'stata'.")
        yield f"weights = varFixed(~ I(1 / {preparation.column(weights.column)}))"
    if asked is None:
        return
    if isinstance(asked, structures.Known):
        yield f"weights = varFixed(~ I({preparation.column(asked.se)}^2))"
        yield f"control = {'lmeControl' if model.formula.random else 'glsControl'}(sigma = 1)"
        return
    if isinstance(asked, structures.Power):
        covariate = f"~ {preparation.column(asked.covariate)}" if asked.covariate else "~ fitted(.)"
        yield f"weights = varPower(form = {covariate})"
        return
    strata = asked.by if isinstance(asked, structures.By) else getattr(asked, "by", None)
    if isinstance(asked, structures.AR1 | structures.CAR1 | structures.CompoundSymmetry | structures.Unstructured):
        yield from _correlation(model, asked, preparation)
    if isinstance(asked, structures.Unstructured):
        strata = asked.occasion
    if strata:
        names = ":".join(preparation.column(name) for name in strata.split(":"))
        yield f"weights = varIdent(form = ~ 1 | {names.replace(':', ' * ')})"


def _correlation(
    model: Model,
    asked: structures.AR1 | structures.CAR1 | structures.CompoundSymmetry | structures.Unstructured,
    preparation: Preparation,
) -> Iterator[str]:
    """The argument `correlation`."""
    units = "/".join(dict.fromkeys([preparation.group(g) for g in model.groups]))
    unit = preparation.column(asked.within)
    if units and unit not in units.split("/"):
        units = f"{units}/{unit}"
    units = units or unit
    match asked:
        case structures.AR1(time=time):
            yield f"correlation = corAR1(form = ~ {preparation.column(time)} | {units})"
        case structures.CAR1(time=time):
            yield f"correlation = corCAR1(form = ~ {preparation.column(time)} | {units})"
        case structures.CompoundSymmetry():
            yield f"correlation = corCompSymm(form = ~ 1 | {units})"
        case structures.Unstructured(occasion=occasion):
            new = preparation.free(f"{preparation.column(occasion)}_n")
            # corSymm needs the occasions as 1, 2, ...
            preparation.steps.append(Numbered(new=new, variable=preparation.column(occasion), levels=()))
            yield f"correlation = corSymm(form = ~ {new} | {units})"
