"""What a model of another family found, in sentences: ratios of odds and rates, or differences of linear predictors."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.display import fixed, p_statement, percent
from crosslevel.estimators.random import intercepts
from crosslevel.report.figures.subject import named
from crosslevel.report.findings import CLEAR, amount, category_of, direction

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit

BEYOND = 100.0
"""A coefficient or a bound of it that is larger is nothing that data can tell: its predictor separates the outcomes."""

RATIOS = {"logit": ("odds", "are"), "log": ("expected outcome", "is"), "cloglog": ("hazard", "is")}
"""What exponentials of coefficients are ratios of, and its verb, by link."""


def ratio_variation(fit: "GeneralizedFit") -> str:
    """How much the clusters matter: the share of the latent variable's variance, or the median ratio."""
    if not any(place >= 0 for place in intercepts(fit.design)):
        return ""
    if fit.family.latent_variance is not None:
        share = percent(fit.icc().estimate)
        told = f"{share} of the variance of the latent variable that the predictors leave lies between clusters"
        return f"{told}, where random slopes' variables are zero." if _has_slopes(fit) else f"{told}."
    if fit.family.link == "log":
        listed = ", ".join(f"{fixed(row['estimate'], 2)} ({group})" for group, row in fit.median_ratio().iterrows())
        return f"Of two clusters drawn at random the higher expects more by the factor {listed}, as a median."
    return ""


def _has_slopes(fit: "GeneralizedFit") -> bool:
    """Whether anything but intercepts varies."""
    return any(name != "Intercept" for factor in fit.design.factors for name in fit.design.effects_of(factor))


def ratio_sentences(fit: "GeneralizedFit") -> Iterator[str]:
    """One sentence for each coefficient but the intercept."""
    table = fit.tidy()
    factors = {column.name: column.factors for column in fit.spec.columns}
    for name, row in table.iterrows():
        own = factors[str(name)]
        if own:
            yield f"{named(str(name), fit.labels)}: {_words(fit, own, row)}"


def _words(fit: "GeneralizedFit", factors: tuple[str, ...], row: "pd.Series[Any]") -> str:
    """What a coefficient says of rows whose random effects are the same."""
    if not abs(row[["estimate", "conf_low", "conf_high"]].astype(float)).max() < BEYOND:
        return "no estimate that means anything; the warnings of the model say why."
    if fit.family.link not in RATIOS:
        return f"the linear predictor is {amount(row)} {direction(row)} {_compared(fit, factors)}{_precision(row)}."
    what, verb = RATIOS[fit.family.link]
    what = f"{what} of a higher category" if fit.family.kind == "ordered" else what
    ratio, interval = fixed(float(np.exp(row["estimate"])), 2), _precision(row, exponent=True)
    if len(factors) > 1:
        return f"an interaction, by which ratios of the {what} are multiplied by {ratio}{interval}."
    return f"the {what} {verb} multiplied by {ratio} {_compared(fit, factors)}{interval}."


def _compared(fit: "GeneralizedFit", factors: tuple[str, ...]) -> str:
    """Between which rows a coefficient is a difference."""
    category = category_of(fit, factors[0]) if len(factors) == 1 else None
    return "for one unit more" if category is None else f"for {category.replace(' than for ', ' compared with ')}"


def _precision(row: "pd.Series[Any]", *, exponent: bool = False) -> str:
    """Interval and p value, and a word where no difference is not excluded."""
    low, high = (float(np.exp(row[end])) if exponent else float(row[end]) for end in ("conf_low", "conf_high"))
    doubt = "" if row["p_value"] < CLEAR else f"; {'one' if exponent else 'zero'} is not excluded"
    return f" (95% interval {fixed(low, 2)} to {fixed(high, 2)}, {p_statement(row['p_value'])}{doubt})"
