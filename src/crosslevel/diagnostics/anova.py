"""One-way analysis of variance by cluster: within and between variance, and the intraclass correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crosslevel.types import CodeArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class VarianceComponents:
    """Moment estimates of a variable's variance within and between clusters.

    Parameters
    ----------
    n : number of values.
    clusters : number of clusters with a value, J.
    n0 : the cluster size that stands for unequal ones.
    mean, sd : of all values.
    within, between : the two variances; NaN where there are too few values, and `between` may be negative.
    icc, icc_std_error : intraclass correlation and its standard error.
    """

    n: int
    clusters: int
    n0: float
    mean: float
    sd: float
    within: float
    between: float
    icc: float
    icc_std_error: float


def variance_components(values: FloatArray, codes: CodeArray) -> VarianceComponents:
    """Within and between variance by the analysis of variance of unbalanced data.

    ::

        MSW = sum_j sum_i (y_ij - ybar_j)^2 / (n - J)          MSB = sum_j n_j (ybar_j - ybar)^2 / (J - 1)
        n0 = (n - sum_j n_j^2 / n) / (J - 1)                   within = MSW,  between = (MSB - MSW) / n0
        icc = between / (between + within)

    The estimates are unbiased whatever the distribution, and so `between` is negative where clusters differ less than
    chance alone would make them differ.

    Parameters
    ----------
    values : (n,) no missing values.
    codes : (n,) cluster of each value, from 0.

    Source
    ------
    Searle, Casella & McCulloch (1992), Variance Components, sec. 3.6. Standard error: see `icc_std_error`.

    Examples
    --------
    >>> found = variance_components(np.array([1.0, 3.0, 6.0, 8.0]), np.array([0, 0, 1, 1], dtype=np.int32))
    >>> found.within, found.between, round(found.icc, 4)
    (2.0, 11.5, 0.8519)
    """
    all_sizes = np.bincount(codes)
    sizes = all_sizes[all_sizes > 0].astype(np.int64)
    n, clusters = values.size, sizes.size
    mean = float(values.mean()) if n else np.nan

    # sums of squares, both about means that were subtracted before squaring
    centred = values - mean
    means = np.bincount(codes, weights=centred, minlength=all_sizes.size) / np.maximum(all_sizes, 1)
    ss_within = float(np.sum((centred - means[codes]) ** 2))
    ss_between = float(np.sum(all_sizes * means**2))
    rounding = 16 * n * (np.finfo(np.float64).eps * float(np.max(np.abs(values), initial=0.0))) ** 2
    ss_within, ss_between = (0.0 if ss <= rounding else ss for ss in (ss_within, ss_between))

    within = ss_within / (n - clusters) if n > clusters else np.nan
    n0 = (n - float(np.sum(sizes**2)) / n) / (clusters - 1) if clusters > 1 else np.nan
    between = (ss_between / (clusters - 1) - within) / n0 if clusters > 1 else np.nan
    total = within + between
    icc = between / total if total > 0 else np.nan
    return VarianceComponents(
        n=n,
        clusters=clusters,
        n0=n0,
        mean=mean,
        sd=float(np.sqrt((ss_within + ss_between) / (n - 1))) if n > 1 else np.nan,
        within=within,
        between=between,
        icc=icc,
        icc_std_error=icc_std_error(icc, sizes, n0),
    )


def icc_std_error(icc: float, sizes: IntArray, n0: float) -> float:
    """Large-sample standard error of the analysis-of-variance estimate of the intraclass correlation.

    ::

        var = 2 (1 - r)^2 / n0^2 * { (1 + r (n0 - 1))^2 / (n - J)
              + [(J - 1) (1 - r) (1 + r (2 n0 - 1)) + r^2 (S2 - 2 S3 / n + S2^2 / n^2)] / (J - 1)^2 }
        Sk = sum_j n_j^k

    Parameters
    ----------
    icc : the estimate, r.
    sizes : (J,) values per cluster.
    n0 : the cluster size that stands for unequal ones.

    Source
    ------
    Smith (1957), Annals of Human Genetics 21, 363-373; Donner (1986), International Statistical Review 54, 67-82.

    Examples
    --------
    >>> round(icc_std_error(0.2, np.full(50, 20), 20.0), 4)
    0.0398
    """
    n, clusters = float(np.sum(sizes)), sizes.size
    if not np.isfinite(icc) or clusters < 2 or n <= clusters:
        return np.nan
    shares = sizes / n
    # S2 - 2 S3 / n + S2^2 / n^2, in shares so that no cube of a large size is formed
    spread = n**2 * (np.sum(shares**2) - 2 * np.sum(shares**3) + np.sum(shares**2) ** 2)
    by_within = (1 + icc * (n0 - 1)) ** 2 / (n - clusters)
    by_between = ((clusters - 1) * (1 - icc) * (1 + icc * (2 * n0 - 1)) + icc**2 * spread) / (clusters - 1) ** 2
    variance = 2 * (1 - icc) ** 2 / n0**2 * (by_within + by_between)
    return float(np.sqrt(variance)) if variance >= 0 else np.nan
