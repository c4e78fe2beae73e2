"""One-way analysis of variance by cluster: within and between variance, F test, intraclass correlation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from crosslevel.inference.distributions import f_quantile, f_tail
from crosslevel.types import CodeArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class OneWayAnova:
    """Sums of squares within and between clusters, and what follows from them.

    ::

        MSW = SSW / (n - J)     MSB = SSB / (J - 1)     F = MSB / MSW     n0 = (n - sum_j n_j^2 / n) / (J - 1)
        within = MSW     between = (MSB - MSW) / n0     icc = between / (between + within)

    The variances are unbiased whatever the distribution, and so `between` is negative where clusters differ less than
    chance alone would make them differ. All are NaN where there are too few values.

    Attributes
    ----------
    sizes : (J,) values in each cluster.
    means : (J,) their means.
    ss_within, ss_between : sums of squares.

    Source
    ------
    Searle, Casella & McCulloch (1992), Variance Components, sec. 3.6.

    Examples
    --------
    >>> found = OneWayAnova(sizes=np.array([2.0, 2.0]), means=np.array([2.0, 7.0]), ss_within=4.0, ss_between=25.0)
    >>> found.statistic, found.between, round(found.icc, 4)
    (12.5, 11.5, 0.8519)
    """

    sizes: FloatArray = field(repr=False)
    means: FloatArray = field(repr=False)
    ss_within: float
    ss_between: float

    @classmethod
    def of(cls, sizes: FloatArray, means: FloatArray, ss_within: float) -> OneWayAnova:
        """From the values, means and pooled sum of squares of the clusters that have values."""
        centred = means - sizes @ means / sizes.sum()
        return cls(sizes=sizes, means=means, ss_within=ss_within, ss_between=float(sizes @ centred**2))

    @property
    def n(self) -> float:
        """Number of values."""
        return float(self.sizes.sum())

    @property
    def clusters(self) -> int:
        """Number of clusters, J."""
        return len(self.sizes)

    @property
    def df_within(self) -> float:
        """N - J."""
        return self.n - self.clusters

    @property
    def df_between(self) -> float:
        """J - 1."""
        return self.clusters - 1.0

    @property
    def n0(self) -> float:
        """The cluster size that stands for unequal ones."""
        if self.clusters < 2:
            return np.nan
        return (self.n - float(np.sum(self.sizes**2)) / self.n) / self.df_between

    @property
    def within(self) -> float:
        """Variance within clusters."""
        return self.ss_within / self.df_within if self.df_within > 0 else np.nan

    @property
    def between(self) -> float:
        """Variance between clusters; may be negative."""
        return (self.ss_between / self.df_between - self.within) / self.n0 if self.clusters > 1 else np.nan

    @property
    def icc(self) -> float:
        """Intraclass correlation."""
        total = self.within + self.between
        return self.between / total if total > 0 else np.nan

    @property
    def statistic(self) -> float:
        """F; infinite where nothing varies within clusters."""
        if self.clusters < 2 or not self.df_within > 0:
            return np.nan
        between = self.ss_between / self.df_between
        return between / self.within if self.within > 0 else (np.inf if between > 0 else np.nan)

    @property
    def p_value(self) -> float:
        """Tail probability of F with J - 1 and n - J degrees of freedom."""
        return f_tail(self.df_between, self.df_within, self.statistic)

    def icc_interval(self, level: float) -> tuple[float, float]:
        """Interval of the intraclass correlation, exact for normal values whatever the sizes of the clusters.

        With lambda = between / within and weights w_j = n_j / (1 + lambda n_j), at the true lambda

            H(lambda) = sum_j w_j (m_j - m_w)^2 / ((J - 1) MSW),   m_w = sum_j w_j m_j / sum_j w_j,

        has an F distribution with J - 1 and n - J degrees of freedom, and it falls in lambda: the ends are where it
        equals the quantiles, zero where it is below them already at lambda = 0.

        Source: Wald (1940), Ann. Math. Stat. 11: 96-100; Burdick & Graybill (1992), Confidence Intervals on Variance
        Components, sec. 4.3.
        """
        if not np.isfinite(self.statistic) or self.df_within < 1:
            return np.nan, np.nan
        quantiles = f_quantile(self.df_between, self.df_within, np.array([0.5 + level / 2.0, 0.5 - level / 2.0]))
        low, high = (self._ratio_at(float(quantile)) for quantile in quantiles)
        return low / (1.0 + low), high / (1.0 + high)

    def _ratio_at(self, value: float) -> float:
        """The lambda at which H(lambda) is `value`; zero if it is less than that everywhere."""
        upper = 1.0 / self.n
        if self._ratio_statistic(0.0) <= value:
            return 0.0
        while self._ratio_statistic(upper) > value:
            upper *= 2.0
        lower = 0.0
        while upper - lower > 1e-14 * upper:
            middle = 0.5 * (lower + upper)
            if middle in (lower, upper):
                break
            lower, upper = (middle, upper) if self._ratio_statistic(middle) > value else (lower, middle)
        return 0.5 * (lower + upper)

    def _ratio_statistic(self, ratio: float) -> float:
        """H(lambda)."""
        weights = self.sizes / (1.0 + ratio * self.sizes)
        centred = self.means - weights @ self.means / weights.sum()
        return float(weights @ centred**2) / (self.df_between * self.within)


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
    """Within and between variance by the analysis of variance of unbalanced data; see `OneWayAnova`.

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
    # a mean of n_j values is off by some sqrt(n_j) roundings
    unit = np.finfo(np.float64).eps * float(np.max(np.abs(values), initial=0.0))
    rounding = 16 * n * int(sizes.max(initial=1)) * unit**2
    ss_within, ss_between = (0.0 if ss <= rounding else ss for ss in (ss_within, ss_between))

    found = OneWayAnova(
        sizes=sizes.astype(np.float64), means=means[all_sizes > 0], ss_within=ss_within, ss_between=ss_between
    )
    return VarianceComponents(
        n=n,
        clusters=clusters,
        n0=found.n0,
        mean=mean,
        sd=float(np.sqrt((ss_within + ss_between) / (n - 1))) if n > 1 else np.nan,
        within=found.within,
        between=found.between,
        icc=found.icc,
        icc_std_error=icc_std_error(found.icc, sizes, found.n0),
    )


def icc_std_error(icc: float, sizes: FloatArray | IntArray, n0: float) -> float:
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
