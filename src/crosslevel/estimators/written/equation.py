"""The equations of a fitted model as text, unicode or LaTeX."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from crosslevel.design import Design
from crosslevel.design.levels import constant_components
from crosslevel.estimators import known_part
from crosslevel.estimators.written import assumptions
from crosslevel.estimators.written.asked import Form
from crosslevel.estimators.written.levels import INDEX, Levels, Predictor
from crosslevel.estimators.written.records import Line, Statement, Sum, Term, indexed, name
from crosslevel.estimators.written.rendering import Format, Rendering, document

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed_fit import MixedFit
    from crosslevel.estimators.ols_fit import OLSFit

    Written: TypeAlias = MixedFit | GeneralizedFit | OLSFit

MOST_LEVELS = 3
"""Levels up to which each has letters of its own."""


def write_equations(fit: Any, form: Form, format: Format, numbers: bool, digits: int | None) -> str:
    """The equations of a fit; see `equation`."""
    shown = _numbers(fit, digits) if numbers else None
    lines = Rendering(format=format, numbers=shown).lines(list(_lines(fit, form, numbers, digits)))
    return document(lines) if format == "latex" else "\n".join(lines)


def _numbers(fit: "Written", digits: int | None) -> dict[str, str]:
    """Text of each coefficient's estimate."""
    pairs = zip(fit.params.items(), fit.bse, strict=True)
    return {str(term): _estimate(float(value), float(error), digits) for (term, value), error in pairs}


def _estimate(value: float, error: float, digits: int | None) -> str:
    """An estimate with the decimals of its standard error; with a power of ten where it is very small or large."""
    from crosslevel.display import fixed
    from crosslevel.estimators.summary import shown_decimals

    usable = bool(np.isfinite(error)) and error > 0.0
    if digits is None and value and (abs(value) >= 1e9 or (usable and error < 1e-7)):
        ratio = np.log10(abs(value) / error) if usable else 0.0
        return f"{value:.{int(np.clip(np.ceil(ratio) + 1, 2, 8))}e}"
    decimals = digits if digits is not None else shown_decimals(error, value) if usable else 3
    return fixed(value, decimals).replace(",", "").replace("−", "-")


def _lines(fit: "Written", form: Form, numbers: bool, digits: int | None) -> Iterator[Line]:
    """All lines, in order."""
    design: Design = fit.design
    order = nested_order(design)
    if order is None:
        yield from _flat(cast("MixedFit | GeneralizedFit", fit), numbers, digits)
        return
    levels = levels_of(fit, order)
    index = INDEX[: levels.n_levels]
    is_linear = not hasattr(fit, "family")
    left = indexed(design.spec.response_name, index) if is_linear else assumptions.predictor(cast(Any, fit), index)
    if not is_linear:
        yield from assumptions.of_outcome(cast("GeneralizedFit", fit), index, numbers, digits)
    sums = [levels.in_one(left, residual=is_linear)]
    if form == "levels":
        sums = [line for level in levels.by_level(left, residual=is_linear) for line in level]
    first, *rest = sums
    yield Sum(left=first.left, terms=_with_known(fit, first.terms, index))
    yield from rest
    if design.factors:
        yield from _effects(cast("MixedFit | GeneralizedFit", fit), levels, order, numbers, digits)
    if is_linear:
        yield from _residuals(fit, levels.error(()), index, numbers, digits)


def nested_order(design: Design) -> list[int] | None:
    """Grouping factors from the innermost to the outermost; None if they are not nested in each other, or too many."""
    if any(factor.members for factor in design.factors) or len(design.factors) >= MOST_LEVELS:
        return None
    if any(np.count_nonzero(factor.structure.fixed) > known_part.SHOWN for factor in design.factors):
        return None
    order = sorted(range(len(design.factors)), key=lambda k: -design.factors[k].n_levels)
    for inner, outer in pairwise(order):
        below, above = (design.used_codes(design.factors[k]).astype(np.int64) for k in (inner, outer))
        pairs = len(np.unique(below * design.factors[outer].n_levels + above))
        if pairs != len(np.unique(below)):
            return None
    return order


def levels_of(fit: "Written", order: list[int]) -> Levels:
    """The predictors of a model whose factors are nested, with the levels they describe."""
    design: Design = fit.design
    level_of: dict[str, int] = {}
    for level, k in enumerate(order, start=2):
        level_of.update({name: level for name, constant in constant_components(design, k).items() if constant})
    told = {str(term) for term in fit.params.index}
    predictors = [
        Predictor(
            name=column.name,
            factors=column.factors,
            fixed=j in design.x and column.name in told,
            varies=tuple(level for level, k in enumerate(order, start=2) if j in design.factors[k].z),
        )
        for j, column in enumerate(design.spec.columns)
    ]
    used = [part for part in predictors if part.fixed or part.varies]
    return Levels(predictors=used, level_of=level_of, n_levels=len(order) + 1)


def _with_known(fit: "Written", terms: tuple[Term, ...], index: str) -> tuple[Term, ...]:
    """Terms with the parts that are known: an offset, the logarithm of an exposure."""
    design: Design = fit.design
    known = []
    if fit.given.get("offset") is not None:
        known.append(Term(symbol="", variables=(indexed(design.offset_column or "offset", index),)))
    asked = design.asked
    if asked is not None and asked.exposure is not None:
        known.append(Term(symbol=f"log({indexed(asked.exposure_column or 'exposure', index)})"))
    errors = tuple(term for term in terms if term.symbol.startswith(tuple("eru")) and term.coefficient is None)
    return (*(term for term in terms if term not in errors), *known, *errors)


def _effects(
    fit: "MixedFit | GeneralizedFit", levels: Levels, order: list[int], numbers: bool, digits: int | None
) -> Iterator[Statement]:
    """What is assumed of the random effects of nested factors."""
    for level, k in enumerate(order, start=2):
        symbols = {column.name: levels.error_of(column.name, level) for column in _varying(fit, k)}
        yield from _blocks(fit, k, symbols, len(order) > 1, numbers, digits)


def _varying(fit: "MixedFit | GeneralizedFit", k: int) -> list[Any]:
    """Design columns of the random effects of a factor."""
    return [fit.spec.columns[int(j)] for j in fit.design.factors[k].z]


def _blocks(
    fit: "MixedFit | GeneralizedFit", k: int, symbols: dict[str, str], several: bool, numbers: bool, digits: int | None
) -> Iterator[Statement]:
    """What is assumed of the random effects of one factor, block by block."""
    factor, term = fit.design.factors[k], fit.spec.terms[k]
    covariance = fit.cov_re[factor.name].to_numpy() if numbers else None
    start = 0
    for place, block in enumerate(term.blocks):
        own = [symbols[fit.spec.columns[j].name] for j in block.columns]
        where = slice(start, start + len(own))
        part = None if covariance is None else covariance[where, where]
        start += len(own)
        label = name(factor.name) if several else ""
        number = f"{place + 1}" if len(term.blocks) > 1 else ""
        if len(own) == 1:
            digit = "".join(c for c in own[0].partition("{")[2].partition(",")[0] if c.isdigit())
            number = (f"{place}{place}" if len(factor.z) > 1 else "") if several else digit * 2
        index = ",".join(filter(None, [label, number]))
        symbol = f"{'τ' if len(own) == 1 else 'T'}{f'_{{{index}}}' if index else ''}"
        yield assumptions.of_block(own, part, symbol, block, digits)


def _residuals(fit: Any, error: str, index: str, numbers: bool, digits: int | None) -> Iterator[Statement]:
    """What is assumed of the residuals of a linear model."""
    if fit.design.factors or fit.given.get("residual") is not None:
        yield from assumptions.of_residuals(fit, error, index, numbers, digits)
        return
    yield Statement(
        left=error, relation="~", right=f"N(0, {assumptions.shown(fit.sigma**2, digits) if numbers else 'σ^{2}'})"
    )


def _flat(fit: "MixedFit | GeneralizedFit", numbers: bool, digits: int | None) -> Iterator[Line]:
    """One equation for factors that are crossed, or too many to have letters of their own."""
    is_linear = not hasattr(fit, "family")
    response = indexed(fit.spec.response_name, "i")
    left = response if is_linear else assumptions.predictor(fit, "i")
    if not is_linear:
        yield from assumptions.of_outcome(cast("GeneralizedFit", fit), "i", numbers, digits)
    if known_part.has_many_known(fit):
        yield from _in_matrices(fit, left, is_linear)
        return
    columns = {column.name: tuple(indexed(part, "i") for part in column.factors) for column in fit.spec.columns}
    terms = [
        Term(symbol=f"β_{{{k}}}", coefficient=str(term), variables=columns[str(term)])
        for k, term in enumerate(fit.params.index)
    ]
    symbols: list[dict[str, str]] = []
    for k, factor in enumerate(fit.design.factors):
        group = f"{name(factor.name)}[i]"
        symbols.append({column.name: f"u_{{{m},{group}}}" for m, column in enumerate(_varying(fit, k))})
        terms += [Term(symbol=symbol, variables=columns[column]) for column, symbol in symbols[-1].items()]
    error = [Term(symbol="e_{i}")] if is_linear else []
    yield Sum(left=left, terms=_with_known(fit, (*terms, *error), "i"))
    for k in range(len(fit.design.factors)):
        yield from _blocks(fit, k, symbols[k], True, numbers, digits)
    if is_linear:
        yield from _residuals(fit, "e_{i}", "i", numbers, digits)


def _in_matrices(fit: "MixedFit | GeneralizedFit", left: str, is_linear: bool) -> Iterator[Line]:
    """The model in matrices: v are the many random effects of known covariance, u the others."""
    others = known_part.estimates_effects(fit)
    terms = [Term(symbol="X β"), *([Term(symbol="Z u")] if others else []), Term(symbol="W v")]
    yield Sum(left=left, terms=(*terms, *([Term(symbol="e")] if is_linear else [])))
    yield Statement(left="v", relation="~", right="N(0, V)", remark="V known")
    if others:
        yield Statement(left="u", relation="~", right="N(0, T)")
    if is_linear:
        yield from _residuals(fit, "e", "i", False, None)
