"""What needs a look at the rows of a generalized model: linear predictors, fitted values, residuals."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.design.outcome import WHOLE
from crosslevel.errors import CrosslevelError, DataError
from crosslevel.estimators.rows import row_index
from crosslevel.families.ordinal import Ordinal
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit


def linear_predictor(fit: "GeneralizedFit") -> FloatArray:
    """(n,) linear predictor at the conditional modes, with offset, of the rows used in their order."""
    return fit.solution.criterion.rows.in_data_order(fit.solution.state.eta)


def expected(fit: "GeneralizedFit", eta: FloatArray, index: pd.Index, name: str) -> "pd.Series | pd.DataFrame":
    """Expected outcome of one trial at linear predictors (n,); probabilities by category where they are ordered."""
    if isinstance(fit.family, Ordinal):
        columns = pd.Index(fit.outcome.categories or (), name=fit.spec.response_name)
        return pd.DataFrame(fit.family.probabilities(eta, fit.solution.shape), index=index, columns=columns)
    return pd.Series(fit.family.mean(eta), index=index, name=name)


def fitted(fit: "GeneralizedFit") -> "pd.Series | pd.DataFrame":
    """Expected outcomes of the rows used at the conditional modes."""
    return expected(fit, linear_predictor(fit), row_index(fit.design), "fitted")


def residuals(fit: "GeneralizedFit") -> pd.Series:
    """Outcome of one trial minus its expectation.

    Raises
    ------
    CrosslevelError : ordered categories, which cannot be subtracted.
    """
    if fit.family.kind == "ordered":
        raise CrosslevelError(
            "`resid` is outcome minus expectation, and ordered categories are no numbers. "
            "Use cl.quantile_residuals(fit), or compare `fit.fitted`, the categories' probabilities, with the outcome."
        )
    values = fit.outcome.share - fit.family.mean(linear_predictor(fit))
    return pd.Series(values, index=row_index(fit.design), name="resid")


def augment(fit: "GeneralizedFit") -> pd.DataFrame:
    """The rows used: outcome, clusters, trials, linear predictor, fitted values and residuals.

    The outcome is as the data have it, of cbind(a, b) the successes. The linear predictor of ordered categories is what
    is subtracted from the thresholds.
    """
    design, outcome, index = fit.design, fit.outcome, row_index(fit.design)
    out: dict[str, Any] = {fit.spec.response_name: in_words(fit, as_given(fit, outcome.y, outcome.size), index)}
    for factor in design.factors:
        names = (factor.name,) if factor.membership is None else factor.membership.members
        levels = pd.Index(factor.levels if factor.membership is None else [*factor.levels, None])
        for name, (codes, _) in zip(names, design.used_members(factor), strict=True):
            out[name] = levels.take(codes)
    if outcome.has_trials:
        out["trials"] = outcome.size
    eta = linear_predictor(fit)
    out["linear_predictor"] = told_predictor(fit, eta)
    frame = pd.DataFrame(out, index=index)
    if fit.family.kind == "ordered":
        chances = expected(fit, eta, index, "fitted")
        return pd.concat([frame, chances.set_axis([f"fitted[{name}]" for name in chances.columns], axis=1)], axis=1)
    mean = fit.family.mean(eta)
    return frame.assign(fitted=mean, resid=outcome.share - mean)


def told_predictor(fit: "GeneralizedFit", eta: FloatArray) -> FloatArray:
    """Linear predictor (n,) as it is told: of ordered categories without the intercept, which thresholds stand for."""
    if fit.family.kind != "ordered":
        return eta
    return eta - float(fit.solution.beta[~fit.estimands.slopes][0])


def as_given(fit: "GeneralizedFit", y: FloatArray, size: FloatArray) -> FloatArray:
    """Outcomes (n,) as the data have them: with precisions the means of `size` answers, of which y are totals."""
    return y / size if fit.outcome.is_mean else y


def in_words(fit: "GeneralizedFit", y: FloatArray, index: pd.Index) -> pd.Series:
    """Outcomes (n,) as the data have them: labels and categories by name, else numbers; NaN is missing."""
    name, outcome = fit.spec.response_name, fit.outcome
    levels = outcome.categories if outcome.labels is None else outcome.labels
    if levels is None:
        return pd.Series(y, index=index, name=name)
    codes = np.where(np.isnan(y), -1.0, y).astype(np.int64)
    ordered = fit.family.kind == "ordered"
    return pd.Series(pd.Categorical.from_codes(codes, pd.Index(list(levels)), ordered=ordered), index=index, name=name)


def numbered(fit: "GeneralizedFit", y: object) -> FloatArray:
    """An outcome as the family reads it: numbers (n,) as they are, labels and categories by their number.

    Raises
    ------
    DataError : labels that the fit does not know.
    """
    outcome = fit.outcome
    levels = outcome.categories if outcome.labels is None else outcome.labels
    values = pd.Series(y)
    if outcome.is_mean:
        totals = np.asarray(values, dtype=np.float64) * outcome.size
        whole, is_counted = np.round(totals), fit.family.kind in ("binary", "count")
        return np.where(is_counted & (np.abs(totals - whole) <= WHOLE * np.fmax(1.0, whole)), whole, totals)
    if levels is None or (outcome.labels is not None and pd.api.types.is_numeric_dtype(values)):
        return np.asarray(values, dtype=np.float64)
    place = {_written(level): code for code, level in enumerate(levels)}
    strange = sorted({_written(value) for value in values.unique()} - set(place))
    if strange:
        raise DataError(
            f"`y` has {', '.join(map(repr, strange[:5]))}, which the fitted model does not know. "
            f"It knows {', '.join(map(repr, place))}."
        )
    return np.array([place[_written(value)] for value in values], dtype=np.float64)


def _written(level: object) -> str:
    """A label as text, whole numbers without a decimal point."""
    return str(int(level)) if isinstance(level, float) and level.is_integer() else str(level)
