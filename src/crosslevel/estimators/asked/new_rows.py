"""New rows and new outcomes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.types import Frame

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit

Interval: TypeAlias = Literal["confidence", "prediction"]
NewLevels: TypeAlias = Literal["zero", "raise"]
Drawn: TypeAlias = Literal["new", "conditional"]


def predict(
    fit: "MixedFit",
    new: Frame | None = None,
    *,
    random_effects: bool | Sequence[str] = True,
    se: bool = False,
    interval: Interval | None = None,
    level: float = 0.95,
    new_levels: NewLevels = "zero",
) -> pd.Series | pd.DataFrame:
    """Predicted outcomes x'beta + z'b of the rows used or of new data, with standard errors and intervals if wanted.

    Standard errors are those of the prediction error, exact given the variances and the residual structure
    (Henderson's mixed model equations), the covariance of betahat and bhat included. Levels that are unknown or missing
    have random effects of zero, and their variance is added. With sampling weights the covariance of beta is the
    sandwich. An offset is added, from the column that the fit had it from.

    Parameters
    ----------
    fit : the fitted model.
    new : any frame with the predictors and the clusters that are predicted with; the outcome is not needed. None for
        the rows used.
    random_effects : whether to add conditional modes to the fixed part; or the names of the grouping factors whose
        modes are added.
    se : whether to give standard errors.
    interval : "confidence" for x'beta + z'b; "prediction" for a new row, with its residual (by its weight, stratum or
        covariate, independent of those of the fit) and, of the factors whose modes are not added, with new levels.
        Both use quantiles of the normal distribution: there are no degrees of freedom of a row.
    level : confidence level.
    new_levels : "zero", or "raise" to refuse rows whose levels were not in the fit or are missing.

    Returns
    -------
    Series of predictions; with `se` or `interval` a frame of estimate, std_error (of x'beta + z'b, whatever the
    interval), conf_low and conf_high (of the confidence interval if none is named). All are NaN in rows with missing
    predictors.

    Raises
    ------
    CrosslevelError : a wrong argument; columns that `new` lacks, or categories that the fit does not know.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> fit.predict({"Days": [0, 10], "Subject": ["308", "new"]}, interval="prediction").round(1)
       estimate  std_error  conf_low  conf_high
    0     253.7       12.3     198.1      309.3
    1     356.1       67.6     214.4      497.7
    """
    from crosslevel.estimators.predictor import predicted

    return predicted(
        fit, new, random_effects=random_effects, se=se, interval=interval, level=level, new_levels=new_levels
    )


def simulate(
    fit: "MixedFit",
    seed: int | np.random.Generator | None = None,
    n: int | None = None,
    *,
    random_effects: Drawn = "new",
    new: Frame | None = None,
) -> pd.Series | pd.DataFrame:
    """Outcomes drawn from the model at the estimates, for the rows used or for new ones.

    Residuals have the covariance of the fit: precision weights, strata, known errors, correlations. A residual variance
    that depends on fitted values is that at the mean about which is drawn.

    Parameters
    ----------
    fit : the fitted model.
    seed : of a generator of its own; or a generator to draw from.
    n : how many simulations; None for one.
    random_effects : "new" draws the effects of all levels anew; "conditional" keeps the conditional modes, and draws
        those of levels only that were not in the fit. A row whose level is missing has one of its own.
    new : any frame with the predictors, the clusters and what residual variances and offsets depend on; None for the
        rows used.

    Returns
    -------
    Series; with `n` a frame of columns sim_1 .. sim_n, of which the first is that Series. NaN in rows with missing
    predictors.

    Raises
    ------
    CrosslevelError : a wrong argument; weights of rows that stand for several; correlated residuals of new rows.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> again = fit.refit(fit.simulate(seed=1))
    """
    from crosslevel.estimators.simulation import simulated

    return simulated(fit, seed, n, random_effects=random_effects, new=new)
