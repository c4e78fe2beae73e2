"""Frames of two-step regressions: both steps by cluster, covariances, predictions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.new_rows import Interval
from crosslevel.estimators.two_step_outcomes import OutcomeStep, check_kind
from crosslevel.inference.contrasts import Coefficients
from crosslevel.inference.distributions import f_tail, t_quantile
from crosslevel.inference.estimates import Joint
from crosslevel.inference.robust_tests import wald
from crosslevel.inference.second_step import CLUSTER_ERRORS, covariance_root, joint_covariance
from crosslevel.inference.separate import SeparateRegressions
from crosslevel.inference.wald import check_level
from crosslevel.table import Columns
from crosslevel.types import BoolArray, FloatArray, Frame

if TYPE_CHECKING:
    from crosslevel.estimators.two_step_fit import TwoStepFit


@dataclass(frozen=True, kw_only=True, eq=False)
class StepCovariance:
    """A covariance of the coefficients of the second step, with degrees of freedom.

    Attributes
    ----------
    name, description : one of `CLUSTER_ERRORS`, and what it is.
    matrix : (k, k).
    each : (k,) degrees of freedom of each coefficient: clusters - regressors of its outcome.
    """

    name: str
    description: str
    matrix: FloatArray = field(repr=False)
    each: FloatArray

    def df(self, contrasts: FloatArray) -> FloatArray:
        """Degrees of freedom of each row of C (m, k): of several outcomes the fewest."""
        return np.array([np.min(self.each[row != 0.0], initial=np.inf) for row in contrasts])

    def std_error(self, contrasts: FloatArray) -> FloatArray:
        """Standard errors (m,) of C gamma."""
        return np.asarray(np.sqrt(np.einsum("ma,ab,mb->m", contrasts, self.matrix, contrasts, optimize=True)))

    def joint(self, contrasts: FloatArray, estimate: FloatArray, test: str) -> Joint:
        """F test that C gamma (m,) is zero; `test` is "F"."""
        df = float(np.min(self.df(contrasts)))
        statistic = wald(estimate, contrasts @ self.matrix @ contrasts.T) / len(estimate)
        return Joint(
            statistic=statistic, df_num=float(len(estimate)), df_den=df, p_value=f_tail(len(estimate), df, statistic)
        )


def covariance_of(outcomes: Sequence[OutcomeStep], name: str, method: str) -> StepCovariance:
    """Work out a covariance of `CLUSTER_ERRORS`.

    Raises
    ------
    CrosslevelError : no such covariance, or none of this method.
    """
    check_kind(name, method)
    matrix = joint_covariance([one.step for one in outcomes], name)
    matrix.setflags(write=False)
    each = np.concatenate([np.full(one.step.n_context, float(one.step.df)) for one in outcomes])
    return StepCovariance(name=name, description=CLUSTER_ERRORS[name], matrix=matrix, each=each)


def mixed_terms(outcomes: Sequence[OutcomeStep]) -> tuple[str, ...]:
    """Names that the coefficients of the second steps have in a mixed model with the same variables."""
    return tuple(
        name if one.name == "Intercept" else one.name if name == "Intercept" else f"{one.name}:{name}"
        for one in outcomes
        for name in one.design.names
    )


def coefficients(outcomes: Sequence[OutcomeStep], terms: tuple[str, ...]) -> Coefficients:
    """Names of the coefficients and their spellings; an interaction's parts in any order where there is one outcome."""
    parts: list[Sequence[str]] = [()] * len(terms)
    if len(outcomes) == 1:
        parts = list(outcomes[0].design.factors)
    return Coefficients.of(terms, parts)


def first_step(separate: SeparateRegressions, cluster: str) -> pd.DataFrame:
    """Coefficients, standard errors, rows and residual SD by cluster."""
    errors = separate.std_error
    columns = {name: separate.beta[:, k] for k, name in enumerate(separate.names)}
    columns |= {f"se: {name}": errors[:, k] for k, name in enumerate(separate.names)}
    columns["n"] = np.rint(separate.n_rows).astype(np.int64)
    columns["sigma"] = np.sqrt(separate.variance)
    return pd.DataFrame(columns, index=pd.Index(separate.levels, name=cluster))


def left_out(separate: SeparateRegressions, cluster: str) -> pd.DataFrame:
    """Clusters that are not used."""
    gone = separate.left_out
    index = pd.Index([one.level for one in gone], name=cluster, dtype=None if gone else object)
    return pd.DataFrame(
        {
            "rows": np.array([one.rows for one in gone], dtype=np.int64),
            "reason": np.array([one.reason for one in gone], dtype=object),
        },
        index=index,
    )


def sigma2(outcomes: Sequence[OutcomeStep]) -> pd.DataFrame:
    """Raw and floored variances beyond sampling (and beyond covariates), by outcome."""
    raw = np.array([one.sigma2_raw for one in outcomes])
    index = pd.Index([one.name for one in outcomes], name="outcome")
    columns = {"raw": raw, "used": np.maximum(raw, 0.0)}
    given = [np.nan if one.adjustment is None else one.adjustment.sigma2_raw for one in outcomes]
    if any(one.adjustment is not None for one in outcomes):
        columns |= {"adjusted raw": np.array(given), "adjusted": np.maximum(given, 0.0)}
    return pd.DataFrame(columns, index=index)


def covariates(outcomes: Sequence[OutcomeStep]) -> pd.DataFrame:
    """What outcomes are adjusted for."""
    columns = ["mean", "sd", "coefficient", "statistic", "df_num", "df_den", "p_value"]
    rows: dict[tuple[str, str], list[float]] = {}
    for one in outcomes:
        if one.adjustment is None:
            continue
        spread = np.sqrt(np.diag(one.adjustment.psi))
        for k, name in enumerate(one.adjustment.names):
            test = one.adjustment.dependence[k]
            found = (one.adjustment.mean[k], spread[k], one.adjustment.delta[k])
            rows[one.name, name] = [*found, test.statistic, test.df_num, test.df_den, test.p_value]
    index = pd.MultiIndex.from_tuples(list(rows), names=["outcome", "covariate"]) if rows else None
    return pd.DataFrame(list(rows.values()), columns=columns, index=index, dtype=np.float64)


def r_squared(outcomes: Sequence[OutcomeStep]) -> pd.Series:
    """Weighted share of the outcomes' variation that is explained, about the weighted mean if there is an intercept."""
    out = {}
    for one in outcomes:
        step, weights = one.step, one.step.weights
        centre = np.sum(weights * one.observed) / np.sum(weights) if one.design.constant >= 0 else 0.0
        total = float(np.sum(weights * (one.observed - centre) ** 2))
        out[one.name] = 1.0 - float(np.sum(weights * step.residuals**2)) / total
    return pd.Series(out, name="r_squared")


def glance(fit: "TwoStepFit") -> pd.DataFrame:
    """A row for each outcome."""
    records = [
        {
            "outcome": one.name,
            "nobs": fit.nobs,
            "n_groups": len(fit.separate.levels),
            "n_left_out": len(fit.separate.left_out),
            "group": fit.below.cluster,
            "method": fit.method,
            "vcov": fit.vcov_kind,
            "r_squared": fit.r_squared[one.name],
            "sigma2_raw": one.sigma2_raw,
            "sigma2": max(one.sigma2_raw, 0.0),
            "reliability": reliability(one),
            "df_residual": float(one.step.df),
            "converged": fit.converged,
        }
        for one in fit.outcomes
    ]
    return pd.DataFrame(records)


def reliability(one: OutcomeStep) -> float:
    """Mean over clusters of the share of an outcome's residual variance that is not sampling."""
    used = max(one.sigma2_raw, 0.0)
    return float(np.mean(used / (used + one.sampling)))


def augment(fit: "TwoStepFit") -> pd.DataFrame:
    """Outcome, its standard error, context columns, fitted values, residuals and weights by cluster."""
    frames = {}
    for one in fit.outcomes:
        step = one.step
        columns = {one.name: one.observed, "se": np.sqrt(one.sampling)}
        columns |= {name: step.regressors[:, k] for k, name in enumerate(one.design.names) if name != "Intercept"}
        columns |= {"fitted": one.observed - step.residuals, "resid": step.residuals, "weight": step.weights}
        frames[one.name] = pd.DataFrame(columns, index=fit.first_step.index)
    if len(frames) == 1:
        return next(iter(frames.values()))
    parts = [frame.rename(columns={name: "estimate"}) for name, frame in frames.items()]
    return pd.concat(parts, keys=list(frames), names=["outcome"])


def predicted(
    fit: "TwoStepFit", new: Frame | None, *, se: bool, interval: Interval | None, level: float
) -> pd.Series | pd.DataFrame:
    """What `TwoStepFit.predict` answers; see there."""
    if interval not in (None, "confidence", "prediction"):
        raise CrosslevelError(f"`interval` is 'confidence', 'prediction' or None; got {interval!r}.")
    check_level(level)
    out = {}
    for one in fit.outcomes:
        x, used, index = _context_rows(fit, one, new)
        frame = _with_errors(x, one, covariance_root(one.step, fit.vcov_kind), interval, level)
        spread = pd.DataFrame(np.nan, index=index, columns=frame.columns)
        spread.iloc[np.flatnonzero(used)] = frame.to_numpy()
        out[one.name] = spread
    frame = next(iter(out.values())) if len(out) == 1 else pd.concat(out, names=["outcome"])
    return frame if se or interval is not None else frame["estimate"].rename("prediction")


def _context_rows(fit: "TwoStepFit", one: OutcomeStep, new: Frame | None) -> tuple[FloatArray, BoolArray, pd.Index]:
    """Context columns (rows used, k), which rows have them, and the labels of all rows."""
    if new is None:
        return (
            one.step.regressors[:, : one.step.n_context],
            np.ones(len(one.observed), dtype=np.bool_),
            fit.first_step.index,
        )
    columns = Columns.from_frame(new, "new")
    columns.require(one.design.spec.design_variables, "new")
    mask, _ = columns.complete(one.design.spec.design_variables)
    used = np.ones(columns.n_rows, dtype=np.bool_) if mask is None else mask
    x = one.design.spec.evaluate(columns, mask=mask)[one.design.kept].T
    return x, used, columns.index()


def _with_errors(
    x: FloatArray, one: OutcomeStep, root: FloatArray, interval: Interval | None, level: float
) -> pd.DataFrame:
    """Estimates, standard errors and limits of x'gamma, whose covariance is root root'."""
    estimate = x @ one.step.beta
    errors = np.sqrt(np.sum((x @ root) ** 2, axis=1))
    wide = np.sqrt(errors**2 + max(one.sigma2_raw, 0.0)) if interval == "prediction" else errors
    half = t_quantile(0.5 + level / 2.0, np.full(len(x), float(one.step.df))) * wide
    return pd.DataFrame(
        {"estimate": estimate, "std_error": errors, "conf_low": estimate - half, "conf_high": estimate + half}
    )
