"""What a model found, in sentences."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from crosslevel.display import counted, fixed, p_statement, percent
from crosslevel.estimators.codings import own_category
from crosslevel.estimators.equations import coefficients, equation_of
from crosslevel.estimators.summary import cluster_sizes, parts_of, rows_used, shown_decimals
from crosslevel.report.figures.subject import named

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed import MixedFit

CLEAR = 0.05


def data_sentence(fit: "MixedFit | GeneralizedFit") -> str:
    """Rows, clusters, and what was dropped."""
    clusters = " and ".join(
        f"{counted(factor.n_levels)} clusters of {factor.name} ({cluster_sizes(fit, factor.name)})"
        for factor in fit.design.factors
    )
    where = f", in {clusters}" if clusters else ""
    return f"The outcome is {named(fit.spec.response_name, fit.labels)}. Rows: {rows_used(fit)}{where}."


def variation_sentence(fit: "MixedFit") -> str:
    """How much of the variance lies between clusters."""
    icc = fit.icc()
    left = "the variance" if len(fit.params) == 1 else "the variance that its predictors leave"
    effects = [name for factor in fit.design.factors for name in fit.design.effects_of(factor)]
    slopes = [slope for slope in dict.fromkeys(effects) if slope != "Intercept"]
    where = f" (where {' and '.join(slopes)} {'is' if len(slopes) == 1 else 'are'} zero)" if slopes else ""
    if fit.design.is_single:
        return f"{percent(icc.estimate)} of {left} lies between clusters of {fit.group}{where}."
    shares = fit.variance_shares()["share"].drop("Residual")
    listed = " and ".join(f"{percent(share)} between clusters of {group}" for group, share in shares.items())
    return f"Of {left}, {listed}{where}."


def effect_sentences(fit: "MixedFit") -> Iterator[str]:
    """One sentence for each coefficient but the intercept."""
    parts = parts_of(fit)
    places, slopes, table = equation_of(parts), coefficients(parts), fit.tidy().T
    for part in parts:
        if not part.fixed or not part.factors:
            continue
        row = table[part.name]
        place = places[part.name]
        base = " × ".join(slopes[place[0]].factors)
        if len(place) == 1:
            yield f"{named(part.name, fit.labels)}: {level_words(fit, part.factors, row)}"
        elif not base:
            moderators = slopes[0].moderators[place[1] - 1]
            yield f"{named(part.name, fit.labels)}: {level_words(fit, moderators, row)}"
        else:
            moderators = slopes[place[0]].moderators[place[1] - 1]
            yield f"{part.name}: {slope_words(fit, base, part.factors, moderators, row)}"


def level_words(fit: "MixedFit", factors: tuple[str, ...], row: "pd.Series[Any]") -> str:
    """A difference of the expected outcome, in words."""
    outcome = fit.spec.response_name
    if len(factors) > 1:
        return f"an interaction; its coefficient is {signed(row)} {precision(row)}."
    own = own_category(fit, factors, factors[0])
    if own is not None:
        return f"{outcome} is {signed(row)} for {own} where all other predictors are zero {precision(row)}."
    category = category_of(fit, factors[0])
    if category is None:
        return f"one unit more goes with {amount(row)} {direction(row)} {outcome} {precision(row)}."
    return f"{outcome} is {amount(row)} {direction(row)} for {category} {precision(row)}."


def slope_words(
    fit: "MixedFit", base: str, factors: tuple[str, ...], moderators: tuple[str, ...], row: "pd.Series[Any]"
) -> str:
    """A difference of a slope, in words."""
    if len(moderators) > 1:
        return f"an interaction; its coefficient is {signed(row)} {precision(row)}."
    own = own_category(fit, factors, moderators[0])
    if own is not None:
        return f"the slope of {base} is {signed(row)} for {own} {precision(row)}."
    category = category_of(fit, moderators[0])
    if category is None:
        change = "rises" if row["estimate"] > 0 else "falls"
        return f"the slope of {base} {change} by {amount(row)} per unit of {moderators[0]} {precision(row)}."
    return f"the slope of {base} is {amount(row)} {direction(row)} for {category} {precision(row)}."


def category_of(fit: "MixedFit | GeneralizedFit", factor: str) -> str | None:
    """What a dummy compares, as "Catholic than for Public"; None for anything that is not a dummy."""
    for text, coding in fit.spec.codings.items():
        if factor.startswith(f"{text}[") and coding.reference is not None:
            level = factor[len(text) + 1 : -1]
            return f"{level} than {'on average' if coding.kind == 'wec' else f'for {coding.reference}'}"
    return None


def amount(row: "pd.Series[Any]") -> str:
    """The size of a coefficient."""
    return fixed(abs(row["estimate"]), shown_decimals(row["std_error"], row["estimate"]))


def signed(row: "pd.Series[Any]") -> str:
    """A coefficient with its sign."""
    return fixed(row["estimate"], shown_decimals(row["std_error"], row["estimate"]))


def direction(row: "pd.Series[Any]") -> str:
    """Which way a coefficient goes."""
    return "higher" if row["estimate"] > 0 else "lower"


def precision(row: "pd.Series[Any]") -> str:
    """Interval and p value, and a word where zero is not excluded."""
    decimals = shown_decimals(row["std_error"], row["estimate"])
    p = p_statement(row["p_value"])
    doubt = "" if row["p_value"] < CLEAR else "; zero is not excluded"
    return f"(95% interval {fixed(row['conf_low'], decimals)} to {fixed(row['conf_high'], decimals)}, {p}{doubt})"
