"""Arrays of a fit as data frames."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.covariance import BlockStructure
from crosslevel.design import Design
from crosslevel.inference.distributions import normal_quantile
from crosslevel.inference.varcomp import (
    VarianceComponents,
    correlation_interval,
    parameter_covariance,
    residual_variance,
    variance_interval,
)
from crosslevel.inference.wald import check_level
from crosslevel.solve import Solution
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.mixed import MixedFit

VARIANCE_COLUMNS = (
    "group", "term1", "term2", "kind", "estimate", "std_dev", "std_error", "conf_low", "conf_high",
    "std_dev_low", "std_dev_high",
)  # fmt: skip


def variance_table(
    design: Design, solution: Solution, components: tuple[VarianceComponents, ...], *, level: float
) -> pd.DataFrame:
    """Variances and covariances of each grouping factor's random effects, then the residual variance if estimated.

    `std_dev` is the standard deviation of a variance and the correlation of a covariance; `std_dev_low` and
    `std_dev_high` are its interval. Intervals of variances are made on the log scale, those of correlations on Fisher's
    z scale, those of covariances on their own. What is known was not estimated, and has none: its `kind` begins with
    "known".
    """
    check_level(level)
    records: list[tuple[object, ...]] = []
    for factor, part in zip(design.factors, components, strict=True):
        records += factor_rows(part, factor.name, design.effects_of(factor), factor.structure, level)
    if solution.criterion.sigma is None:  # else it was given, not estimated
        sigma2, error = residual_variance(solution, components)
        records.append(("Residual", None, None, "residual", *_variance(sigma2, error, level)))
    return pd.DataFrame.from_records(records, columns=list(VARIANCE_COLUMNS))


def residual_table(design: Design, solution: Solution, *, level: float) -> pd.DataFrame:
    """Parameters of the residual structure in their own terms."""
    check_level(level)
    columns = ["estimate", "std_error", "conf_low", "conf_high"]
    structure, phi = solution.criterion.residual if design.residual is not None else None, solution.phi
    parts = () if structure is None else structure.natural(phi, float(np.log(solution.sigma)))
    if not parts:
        return pd.DataFrame(columns=columns, index=pd.Index([], name="parameter"), dtype=np.float64)
    vcov = parameter_covariance(solution)
    chosen = np.append(np.arange(len(phi)), len(vcov) - 1)
    vcov, quantile = vcov[np.ix_(chosen, chosen)], normal_quantile(0.5 + level / 2.0)
    values = [(part.estimate, *part.interval(float(part.jacobian @ vcov @ part.jacobian), quantile)) for part in parts]
    return pd.DataFrame(values, columns=columns, index=pd.Index([part.name for part in parts], name="parameter"))


def factor_rows(
    part: VarianceComponents, group: str, names: tuple[str, ...], structure: BlockStructure, level: float
) -> list[tuple[object, ...]]:
    """Rows of one grouping factor: variances, then the covariances that may differ from zero."""
    error, correlation, correlation_error = part.std_error, part.correlation, part.correlation_std_error()
    rows: list[tuple[object, ...]] = []
    for i, name in enumerate(names):
        kind = "known variance" if part.known[i, i] else "variance"
        rows.append((group, name, None, kind, *_variance(float(part.covariance[i, i]), float(error[i, i]), level)))
    for i, j in zip(*np.nonzero(np.triu(structure.mask, 1)), strict=True):
        covariance, r = float(part.covariance[i, j]), float(correlation[i, j])
        half = normal_quantile(0.5 + level / 2.0) * float(error[i, j])
        interval = correlation_interval(r, float(correlation_error[i, j]), level)
        values = (covariance, r, float(error[i, j]), covariance - half, covariance + half, *interval)
        kind = "known covariance" if part.known[i, j] else "covariance"
        rows.append((group, names[i], names[j], kind, *values))
    return rows


def _variance(variance: float, error: float, level: float) -> tuple[float, ...]:
    """Variance, standard deviation, standard error, and the intervals of both."""
    low, high = variance_interval(variance, error, level)
    return variance, float(np.sqrt(variance)), error, low, high, float(np.sqrt(low)), float(np.sqrt(high))


def modes_table(
    modes: tuple[FloatArray, FloatArray], clusters: pd.Index, names: tuple[str, ...], *, se: bool
) -> pd.DataFrame:
    """Conditional modes by cluster; with `se` their conditional standard deviations beside them."""
    frame = pd.DataFrame(modes[0], index=clusters, columns=list(names))
    if not se:
        return frame
    errors = np.sqrt(np.einsum("jkk->jk", modes[1]))
    return pd.concat([frame, pd.DataFrame(errors, index=clusters, columns=[f"{name}_se" for name in names])], axis=1)


def coefficients_table(
    params: pd.Series, modes: FloatArray, clusters: pd.Index, names: tuple[str, ...]
) -> pd.DataFrame:
    """Coefficients of each cluster: fixed effects plus conditional modes."""
    columns = {str(name): np.full(len(clusters), float(value)) for name, value in params.items()}
    for k, name in enumerate(names):
        columns[name] = columns.get(name, 0.0) + modes[:, k]
    return pd.DataFrame(columns, index=clusters)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """Reliability of the clusters' own coefficients.

    Attributes
    ----------
    clusters : a row per cluster, a column per random effect; missing where a cluster cannot tell its coefficient.
    average : mean over the clusters that can.
    n_clusters : how many they are.
    """

    clusters: pd.DataFrame
    average: pd.Series
    n_clusters: pd.Series


def reliability_tables(values: FloatArray, clusters: pd.Index, names: tuple[str, ...]) -> Reliability:
    """Reliabilities (J, q) by cluster and on average."""
    frame = pd.DataFrame(values, index=clusters, columns=list(names))
    return Reliability(clusters=frame, average=frame.mean(), n_clusters=frame.notna().sum())


def glance(fit: "MixedFit") -> pd.DataFrame:
    """A fit in one row."""
    from crosslevel.estimators.random import has_shares

    groups = list(fit.ngroups)
    record = {
        "nobs": fit.nobs,
        "n_groups": fit.ngroups[groups[0]] if len(groups) == 1 else ", ".join(map(str, fit.ngroups.values())),
        "group": ", ".join(groups),
        "method": fit.method,
        "loglik": fit.loglik,
        "deviance": fit.deviance,
        "aic": fit.aic,
        "bic": fit.bic,
        "n_params": fit.n_params,
        "df_residual": fit.nobs - fit.n_params,
        "sigma": fit.sigma,
        "icc": fit.icc().estimate if has_shares(fit.design) else np.nan,
        "converged": fit.converged,
        "singular": fit.is_singular,
    }
    return pd.DataFrame([record])
