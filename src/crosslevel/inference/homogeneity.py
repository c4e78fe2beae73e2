"""Tests of equal residual variances: of strata by likelihood ratio, of clusters by the H statistic or Bartlett's."""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design.products import CrossProducts
from crosslevel.errors import CrosslevelError
from crosslevel.inference.distributions import chi_square_tail
from crosslevel.types import FloatArray, IntArray

ENOUGH = 10
"""Degrees of freedom of a cluster's own residual variance from which on its logarithm is nearly normal."""

RANK = 1e-10
"""Variance of a combination of standardised columns in a cluster below which it is none."""

NOTHING = 1e-24
"""Residual variance of a cluster relative to that of the outcome that counts as none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HomogeneityTest:
    """Test that the residual variance is the same in all groups.

    Attributes
    ----------
    statistic, df, p_value : chi-square statistic, its degrees of freedom and tail probability.
    method : "likelihood ratio", "H" or "Bartlett".
    by : what the groups are.
    groups : groups compared.
    left_out : clusters with too few rows for a residual variance of their own.
    log_sd : (groups,) log of each group's residual standard deviation.
    """

    statistic: float
    df: int
    p_value: float
    method: str
    by: str
    groups: int
    left_out: int
    log_sd: FloatArray = field(repr=False)

    def __str__(self) -> str:
        skipped = f" ({self.left_out} with too few rows left out)" if self.left_out else ""
        return (
            f"Equal residual variance in {self.groups} groups of {self.by}{skipped}: "
            f"{self.method}, chi-square {self.statistic:.2f} with {self.df} df, p = {self.p_value:.4g}"
        )


def likelihood_ratio(statistic: float, log_sd: FloatArray, by: str) -> HomogeneityTest:
    """Test strata by the fall of the deviance when each has a variance of its own, chi-square with strata - 1 df."""
    statistic, df = max(float(statistic), 0.0), len(log_sd) - 1
    return HomogeneityTest(
        statistic=statistic, df=df, p_value=float(chi_square_tail(df, statistic)), method="likelihood ratio", by=by,
        groups=len(log_sd), left_out=0, log_sd=log_sd,
    )  # fmt: skip


def h_test(
    products: CrossProducts, columns: IntArray, constant: int, by: str, *, min_df: int = ENOUGH
) -> HomogeneityTest:
    """Test clusters by the H statistic, from each cluster's own regression.

    With s_j^2 the residual variance and f_j its degrees of freedom,

        H = sum d_j^2,  d_j = (log s_j^2 - sum f log s^2 / sum f) / sqrt(2 / f_j),

    which under equal variances is nearly chi-square with J - 1 degrees of freedom.

    Source: Raudenbush & Bryk (2002), Hierarchical Linear Models, 2nd ed., equation 9.4.

    Parameters
    ----------
    products : cross-products by cluster, the outcome last.
    columns : positions of the predictors.
    constant : position of the intercept, -1 if there is none.
    by : name of the clusters.
    min_df : clusters with fewer degrees of freedom are left out (Snijders & Bosker 2012, section 10.4: at least 10).

    Raises
    ------
    CrosslevelError : fewer than two clusters with enough rows, or one without any residual variance.
    """
    rss, df = cluster_residuals(products, columns, constant)
    used = df >= max(min_df, 1)
    if np.count_nonzero(used) < 2:
        raise CrosslevelError(
            f"`test_residual_homogeneity` compares clusters with at least {min_df} degrees of freedom for a residual "
            f"variance of their own; {int(np.count_nonzero(used))} of {len(df)} clusters of {by} have them. "
            "Name a column of strata in `by`, or lower `min_df`."
        )
    s2, f = rss[used] / df[used], df[used]
    total = float(products.total[-1, -1]) / products.n_rows
    n_none = int(np.count_nonzero(s2 <= NOTHING * total))
    if n_none:
        raise CrosslevelError(
            f"`test_residual_homogeneity` cannot compare clusters of {by} of which {n_none} have no residual variance "
            "at all: their outcome is a function of the predictors. Leave them out."
        )
    log_s2 = np.log(s2)
    d = (log_s2 - f @ log_s2 / f.sum()) / np.sqrt(2.0 / f)
    statistic, degrees = float(d @ d), len(f) - 1
    return HomogeneityTest(
        statistic=statistic, df=degrees, p_value=float(chi_square_tail(degrees, statistic)), method="H", by=by,
        groups=len(f), left_out=int(np.count_nonzero(~used)), log_sd=0.5 * log_s2,
    )  # fmt: skip


def bartlett(squares: FloatArray, df: FloatArray, by: str) -> HomogeneityTest | None:
    """Test that values vary alike in all clusters, by Bartlett's statistic.

    With s_j^2 the variance of cluster j, f_j its degrees of freedom, f and s^2 those of all together,

        (f log s^2 - sum f_j log s_j^2) / (1 + (sum 1 / f_j - 1 / f) / (3 (J - 1))),

    for normal values nearly chi-square with J - 1 degrees of freedom.

    Source: Bartlett (1937), Proc. R. Soc. A 160: 268-282.

    Parameters
    ----------
    squares, df : (J,) sums of squares about the clusters' means, and their degrees of freedom.
    by : name of the clusters.

    Returns
    -------
    test : None where fewer than two clusters have two rows, or where a cluster's values are all the same.

    Examples
    --------
    >>> found = bartlett(np.array([2.0, 8.0, 4.0]), np.array([4.0, 4.0, 4.0]), "school")
    >>> round(found.statistic, 4), found.df, round(found.p_value, 4)
    (1.6648, 2, 0.435)
    """
    used = df >= 1
    f, total = df[used], float(squares[used].sum())
    if len(f) < 2 or np.any(squares[used] <= NOTHING * total):
        return None
    s2 = squares[used] / f
    spread = f.sum() * np.log(total / f.sum()) - f @ np.log(s2)
    degrees = len(f) - 1
    statistic = float(spread / (1.0 + (np.sum(1.0 / f) - 1.0 / f.sum()) / (3.0 * degrees)))
    return HomogeneityTest(
        statistic=statistic, df=degrees, p_value=float(chi_square_tail(degrees, statistic)), method="Bartlett", by=by,
        groups=len(f), left_out=int(np.count_nonzero(~used)), log_sd=0.5 * np.log(s2),
    )  # fmt: skip


def cluster_residuals(products: CrossProducts, columns: IntArray, constant: int) -> tuple[FloatArray, FloatArray]:
    """Residual sum of squares and its degrees of freedom (J,) of each cluster's own regression.

    In one cluster a cross-level interaction is a multiple of its level-1 variable; such columns count once.
    """
    slopes = np.array([j for j in columns if j != constant], dtype=np.int64)
    y = len(products.names) - 1
    scatter, spread = products.scatter, np.diag(products.total) / products.n_rows
    if constant < 0 or constant not in columns:
        location = products.mean + products.origin
        scatter = scatter + products.count[:, None, None] * location[:, :, None] * location[:, None, :]
        spread = spread + (products.grand_mean + products.origin) ** 2
    unit = np.sqrt(np.where(spread > 0.0, spread, 1.0))
    scaled = scatter / (products.count[:, None, None] * np.outer(unit, unit))
    values, vectors = np.linalg.eigh(scaled[:, slopes[:, None], slopes])
    able = values > RANK
    image = np.einsum("jab,ja->jb", vectors, scaled[:, slopes, y])
    explained = np.divide(image**2, values, out=np.zeros_like(image), where=able).sum(axis=1)
    rss = np.maximum(scaled[:, y, y] - explained, 0.0) * products.count * unit[y] ** 2
    intercept = 1 if constant >= 0 and constant in columns else 0
    return rss, products.count - able.sum(axis=1) - intercept
