"""How uncertain predictions of panel estimators are.

A prediction of a row of group i is x'b + a_i, whose effect a_i has an error that is a function of that of b:

    fixed effects     a_i = ybar_i - xbar_i'b, of which (x - xbar_i)'b + ybar_i:    variance sigma^2 / n_i beside b's
    random effects    u_i = w_i (ybar_i - xbar_i'b):    (x - w_i xbar_i)'b, and sigma_u^2 (1 - w_i) beside b's

Both are exact given the variances, as b and what is beside it are uncorrelated.

Source: Henderson (1975), Biometrics 31: 423-447; Goldberger (1962), J. Am. Stat. Assoc. 57: 369-375.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.design.factors import codes_among
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.new_rows import Interval
from crosslevel.estimators.target_rows import new_rows
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.distributions import t_quantile
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.wald import check_level
from crosslevel.table import Columns
from crosslevel.types import FloatArray, Frame, IntArray

if TYPE_CHECKING:
    from crosslevel.estimators.panel.fit import PanelFit

ENTRIES = 1 << 22
"""Contributions of groups to predictions that are held at a time, for their degrees of freedom."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Uncertainty:
    """What predictions are uncertain by.

    Attributes
    ----------
    columns : (p,) positions of the columns of x.
    shift : (J + 1, p) what is taken off x before it meets the coefficients, by group; last that of unknown groups. One
        row alone where groups make no difference.
    variance : (J + 1,) variance beside that of the coefficients, or one.
    residual : variance of a new outcome about its expectation; NaN where there is none to be known.
    model_based : whether these variances take errors to be iid, and so does the covariance of the coefficients.
    own : (m, p) rows that were regressed, where these are predicted instead of the rows used.
    """

    columns: IntArray
    shift: FloatArray = field(repr=False)
    variance: FloatArray = field(repr=False)
    residual: float
    model_based: bool = False
    own: FloatArray | None = field(repr=False, default=None)

    @classmethod
    def of_coefficients(cls, columns: IntArray, residual: float, own: FloatArray | None = None) -> "Uncertainty":
        """That of the coefficients alone."""
        return cls(columns=columns, shift=np.zeros((1, len(columns))), variance=np.zeros(1), residual=residual, own=own)

    @property
    def by_group(self) -> bool:
        """Whether it differs between groups."""
        return len(self.variance) > 1


def with_errors(
    fit: "PanelFit", new: Frame | None, *, effects: bool, interval: Interval | None, level: float
) -> pd.DataFrame:
    """Predictions with standard errors and intervals; see `PanelFit.predict`.

    Raises
    ------
    CrosslevelError : a wrong argument, or what is asked for is not known for this estimator.
    """
    if interval not in (None, "confidence", "prediction"):
        raise CrosslevelError(f"`interval` is 'confidence', 'prediction' or None; got {interval!r}.")
    check_level(level)
    estimates = fit.predict(new, effects=effects)
    known = fit.details.uncertainty(effects=effects)
    if known.model_based and fit.covariance.name != "iid":
        raise CrosslevelError(
            f"`se` and `interval` with effects of groups rest on errors that are iid, and this fit has the covariance "
            f"{fit.covariance.name!r}. Fit with vcov='iid' for them."
        )
    if interval == "prediction" and np.isnan(known.residual):
        raise CrosslevelError(
            f"`interval` is 'prediction', but how much outcomes of new rows differ is not known from "
            f"{fit.details.estimator}. Use interval='confidence', or fit cl.mixed."
        )
    errors, df = _errors(fit, known, new)
    wide = np.sqrt(errors**2 + known.residual) if interval == "prediction" else errors
    half, middle = t_quantile(0.5 + level / 2.0, df) * wide, estimates.to_numpy()
    found = {"estimate": middle, "std_error": errors, "conf_low": middle - half, "conf_high": middle + half}
    return pd.DataFrame(found, index=estimates.index)


def _errors(fit: "PanelFit", known: Uncertainty, new: Frame | None) -> tuple[FloatArray, FloatArray]:
    """Standard errors and degrees of freedom of predictions, NaN where predictors are missing."""
    n_groups, covariance = fit.panel.n_groups, fit.covariance
    if new is None:
        x = known.own if known.own is not None else fit.panel.rows(known.columns).T
        codes: IntArray = np.asarray(fit.panel.groups.codes) if known.by_group else np.full(len(x), -1)
        return errors_of(covariance, known, x, codes, n_groups)
    rows = new_rows(fit.panel.design, None, (), new)
    x = np.empty((rows.n_rows, len(known.columns)))
    for block in rows.blocks():
        x[block.place] = block.columns[known.columns].T
    codes = np.full(rows.n_rows, -1)
    if known.by_group:
        every = new_codes(fit.panel.groups, rows.columns)
        codes = every if rows.mask is None else every[rows.mask]
    errors, df = errors_of(covariance, known, x, codes, n_groups)
    return rows.spread(errors), rows.spread(df)


def errors_of(
    covariance: OrdinaryCovariance, known: Uncertainty, x: FloatArray, codes: IntArray, n_groups: int
) -> tuple[FloatArray, FloatArray]:
    """Standard errors and degrees of freedom (n,) of x'b + a.

    Parameters
    ----------
    covariance : of the coefficients.
    known : what is beside it.
    x, codes : (n, p) predictors, and the group of each row, -1 where it is not known.
    n_groups : J.
    """
    errors, df = np.empty(len(x)), np.empty(len(x))
    step = max(1, ENTRIES // (n_groups * x.shape[1]))
    for start in range(0, len(x), step):
        place = slice(start, start + step)
        contrasts = x[place] - known.shift[codes[place]]
        errors[place] = np.sqrt(covariance.std_error(contrasts) ** 2 + known.variance[codes[place]])
        df[place] = covariance.df(contrasts)
    return errors, df


def new_codes(groups: Clustering, columns: Columns) -> IntArray:
    """The groups of new rows, -1 where they are not known."""
    name = groups.name
    names = (name,) if name in columns.names or ":" not in name else tuple(name.split(":"))
    columns.require(names, "new")
    return codes_among(groups.levels, columns, names)
