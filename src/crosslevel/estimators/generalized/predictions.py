"""Predicted and simulated outcomes of generalized models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.new_rows import Drawn, NewLevels
from crosslevel.estimators.generalized.rows import as_given, expected, in_words, told_predictor
from crosslevel.estimators.predictor import chosen_factors, refuse_new_levels
from crosslevel.estimators.simulation import drawn_effects, refuse_weights
from crosslevel.estimators.target_rows import NewRows, TargetRows, UsedRows, new_rows
from crosslevel.inference.distributions import normal_quantile
from crosslevel.inference.generalized.predictor_error import PredictorError
from crosslevel.inference.prediction import contribution
from crosslevel.inference.wald import check_level
from crosslevel.types import FloatArray, Frame

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit

Scale: TypeAlias = Literal["response", "link"]


def predict(
    fit: "GeneralizedFit",
    new: Frame | None = None,
    *,
    scale: Scale = "response",
    random_effects: "bool | Literal['average'] | Sequence[str]" = True,
    se: bool = False,
    interval: Literal["confidence"] | None = None,
    level: float = 0.95,
    new_levels: NewLevels = "zero",
) -> "pd.Series | pd.DataFrame":
    """Predicted outcomes of the rows used or of new data: probabilities, means, or linear predictors.

    With `random_effects` a prediction is that of the row's own cluster, at its conditional mode. Without, and for
    clusters that were not in the fit, it is that of a cluster whose random effects are zero: the typical cluster, not
    the average over clusters, which random_effects="average" gives for rows of clusters of which nothing is known.

    Standard errors are those of the prediction error: of all parameters, of the modes given these, and the variance
    between clusters where a level is unknown. Intervals are made on the scale of the linear predictor.

    Parameters
    ----------
    fit : the fitted model.
    new : any frame with the predictors and the clusters that are predicted with; the outcome is not needed. None for
        the rows used.
    scale : "response": the mean of one trial; "link": the linear predictor. Both contain offset and exposure.
    random_effects : whether to add conditional modes to the fixed part; or the names of the grouping factors whose
        modes are added; or "average": expected outcomes over all random effects, the population's, whose standard
        errors are those of this average.
    se : whether to give standard errors.
    interval : "confidence" for the linear predictor or the mean. What single outcomes will be is drawn by `simulate`.
    level : confidence level.
    new_levels : "zero", or "raise" to refuse rows whose levels were not in the fit or are missing.

    Returns
    -------
    Series of predictions, NaN in rows with missing predictors; of ordered categories on the response scale a frame of
    probabilities with a column for each category. With `se` or `interval` a frame of estimate, std_error, conf_low and
    conf_high.

    Raises
    ------
    CrosslevelError : a wrong argument; columns that `new` lacks, or categories that the fit does not know.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy")
    >>> fit = cl.mixed("I(Reaction > 300) ~ Days + (1 | Subject)", data, family="binomial")
    >>> fit.predict({"Days": [5, 5], "Subject": ["308", "new"]}, interval="confidence").round(2)
       estimate  std_error  conf_low  conf_high
    0      0.68       0.17      0.32       0.90
    1      0.43       0.45      0.02       0.96
    """
    if scale not in ("response", "link"):
        raise CrosslevelError(f"`scale` is 'response' or 'link'; got {scale!r}.")
    if new_levels not in ("zero", "raise"):
        raise CrosslevelError(f"`new_levels` is 'zero' or 'raise'; got {new_levels!r}.")
    if interval not in (None, "confidence"):
        raise CrosslevelError(
            f"`interval` is 'confidence' or None; got {interval!r}. Single outcomes of a family have a distribution, "
            "not an interval around the mean: draw them by fit.simulate(new=..., n=1000)."
        )
    check_level(level)
    if isinstance(random_effects, str) and random_effects == "average":
        return _averaged(fit, new, scale, errors=se or interval is not None, level=level)
    chosen = chosen_factors(fit.design, random_effects)
    rows = rows_of(fit, new, chosen)
    if new_levels == "raise" and isinstance(rows, NewRows):
        refuse_new_levels(rows, chosen)
    eta = rows.spread(predictors(fit, rows, chosen) + rows.offset)
    if se or interval is not None:
        return _with_errors(fit, rows, chosen, eta, scale, level)
    if scale == "response":
        return expected(fit, eta, rows.index, "prediction")
    return pd.Series(told_predictor(fit, eta), index=rows.index, name="prediction")


def _averaged(
    fit: "GeneralizedFit", new: Frame | None, scale: Scale, *, errors: bool, level: float
) -> "pd.Series | pd.DataFrame":
    """Predictions averaged over the random effects.

    Raises
    ------
    CrosslevelError : on the scale of the linear predictor.
    """
    from crosslevel.estimators.generalized.averaged import averaged_predictions

    if scale == "link":
        raise CrosslevelError(
            "`random_effects` is 'average', which is of outcomes; the average linear predictor is that without random "
            "effects. Use random_effects=False, or scale='response'."
        )
    shared = tuple(k for k, factor in enumerate(fit.design.factors) if factor.membership is not None)
    return averaged_predictions(fit, rows_of(fit, new, shared), errors=errors, level=level)


def _with_errors(
    fit: "GeneralizedFit", rows: TargetRows, chosen: tuple[int, ...], eta: FloatArray, scale: Scale, level: float
) -> pd.DataFrame:
    """Predictions at linear predictors eta (all rows,) with standard errors and intervals.

    Raises
    ------
    CrosslevelError : probabilities of ordered categories.
    """
    design, ordered = fit.design, fit.family.kind == "ordered"
    if ordered and scale == "response":
        raise CrosslevelError(
            "`se` and `interval` of probabilities of ordered categories are given with random_effects='average' and by "
            "cl.margins(fit, ...); here use scale='link'."
        )
    error, variance = PredictorError.of(fit.solution, chosen, fit._modes), np.empty(rows.n_rows)
    for block in rows.blocks():
        x, z = block.columns[design.x], [block.columns[design.factors[k].z] for k in chosen]
        if ordered:  # what is told is without the intercept, which thresholds stand for
            x = x * fit.estimands.slopes[:, None]
        variance[block.place] = error.variance(x, z, block.members)
    spread = rows.spread(np.sqrt(variance))
    half, told = normal_quantile(0.5 + level / 2.0) * spread, told_predictor(fit, eta)
    columns = {"estimate": told, "std_error": spread, "conf_low": told - half, "conf_high": told + half}
    if scale == "response":
        mean = fit.family.mean
        columns = {
            "estimate": mean(eta), "std_error": np.abs(fit.family.mean_slope(eta)) * spread,
            "conf_low": mean(eta - half), "conf_high": mean(eta + half),
        }  # fmt: skip
    return pd.DataFrame(columns, index=rows.index)


def rows_of(fit: "GeneralizedFit", new: Frame | None, wanted: tuple[int, ...]) -> TargetRows:
    """The rows of the fit, or of a new frame, with their levels in the factors at the wanted positions."""
    factors = tuple(fit.design.factors[k] for k in wanted)
    return UsedRows(design=fit.design, factors=factors) if new is None else new_rows(fit.design, None, factors, new)


def predictors(fit: "GeneralizedFit", rows: TargetRows, chosen: tuple[int, ...]) -> FloatArray:
    """Linear predictors (n,) without offset, at the conditional modes of the chosen factors."""
    design, out = fit.design, np.empty(rows.n_rows)
    for block in rows.blocks():
        eta = fit.solution.beta @ block.columns[design.x]
        for k, members in zip(chosen, block.members, strict=True):
            eta = eta + contribution(fit._modes[k][0], block.columns[design.factors[k].z], members)
        out[block.place] = eta
    return out


def simulate(
    fit: "GeneralizedFit",
    seed: int | np.random.Generator | None = None,
    n: int | None = None,
    *,
    random_effects: Drawn = "new",
    new: Frame | None = None,
) -> "pd.Series | pd.DataFrame":
    """Outcomes drawn from the model at the estimates, for the rows used or for new ones.

    Parameters
    ----------
    fit : the fitted model.
    seed : of a generator of its own; or a generator to draw from.
    n : how many simulations; None for one.
    random_effects : "new" draws the effects of all levels anew; "conditional" keeps the conditional modes, and draws
        those of levels only that were not in the fit. A row whose level is missing has one of its own.
    new : any frame with the predictors, the clusters, and the trials and exposures where the fit has them; None for the
        rows used.

    Returns
    -------
    Series; with `n` a frame of columns sim_1 .. sim_n, of which the first is that Series. Labels and categories by
    name; numbers of successes where the outcome has trials.

    Raises
    ------
    CrosslevelError : a wrong argument; weights of rows that stand for several.
    """
    if random_effects not in ("new", "conditional"):
        raise CrosslevelError(f"`random_effects` is 'new' or 'conditional'; got {random_effects!r}.")
    if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1):
        raise CrosslevelError(f"`n` is a number of simulations, at least 1, or None for one Series; got {n!r}.")
    refuse_weights(fit.design)
    known = random_effects == "conditional"
    everything = tuple(range(len(fit.design.factors)))
    rows = rows_of(fit, new, everything)
    size = trials_of(fit, rows)
    effects = [] if known and new is None else drawn_effects(fit.solution, rows, known=known)
    mean = predictors_without(fit, rows) if not known else predictors(fit, rows, everything)
    mean, rng = mean + rows.offset, np.random.default_rng(seed)

    def draw() -> pd.Series:
        eta = mean.copy()
        for part in effects:
            eta += part.draw(rng)
        drawn = fit.family.draw(rng, eta, size, fit.solution.shape)
        return in_words(fit, rows.spread(as_given(fit, drawn, size)), rows.index)

    if n is None:
        return draw()
    return pd.DataFrame({f"sim_{i + 1}": draw() for i in range(n)}, index=rows.index)


def predictors_without(fit: "GeneralizedFit", rows: TargetRows) -> FloatArray:
    """Linear predictors (n,) of the fixed part, without offset."""
    out = np.empty(rows.n_rows)
    for block in rows.blocks():
        out[block.place] = fit.solution.beta @ block.columns[fit.design.x]
    return out


def trials_of(fit: "GeneralizedFit", rows: TargetRows) -> FloatArray:
    """Trials (n,) of rows, or of how many answers their outcomes are means; 1 where the outcome is one answer.

    Raises
    ------
    CrosslevelError : new rows whose trials are not known.
    """
    if not (fit.outcome.has_trials or fit.outcome.is_mean):
        return np.ones(rows.n_rows)
    if not isinstance(rows, NewRows):
        return fit.outcome.size
    asked, learnt, weights = fit.design.asked, fit.outcome.learnt, fit.design.weights
    column = weights.given.columns[0] if fit.outcome.is_mean and weights is not None else asked and asked.trials
    if isinstance(column, str):
        rows.columns.require([column], "new")
        values = rows.columns.numeric(column)
        return values if rows.mask is None else values[rows.mask]
    if learnt.kind == "pair":
        needed = [name for part in learnt.parts for name in part.variables]
        rows.columns.require(needed, "new")
        first, second = learnt.values(rows.columns, rows.mask)
        return first + second
    raise CrosslevelError(
        "`trials` was given as numbers for the rows of the fit, so that it is not known for new rows. "
        "Fit with the name of a column, which `new` has too."
    )
