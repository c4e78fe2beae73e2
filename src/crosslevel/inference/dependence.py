"""How much the residuals of a linear regression depend on clusters, and what that does to its standard errors."""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design import Design
from crosslevel.inference.anova import OneWayAnova
from crosslevel.inference.design_effect import ClusterSize, cluster_size, regressor_correlations
from crosslevel.inference.distributions import chi_square_tail
from crosslevel.inference.homogeneity import HomogeneityTest, bartlett
from crosslevel.inference.ordinary_clusters import OrdinaryClusters
from crosslevel.solve.least_squares import LeastSquares
from crosslevel.types import CodeArray, FloatArray

TIED = 1e-9
"""Difference of two residuals, in residual standard deviations, up to which they have the same rank."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KruskalWallis:
    """Test by ranks that values are distributed alike in all clusters.

    Attributes
    ----------
    statistic, df, p_value : H, corrected for ties; clusters - 1; chi-square tail probability.
    """

    statistic: float
    df: int
    p_value: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualDependence:
    """Residuals by cluster.

    Attributes
    ----------
    anova : their analysis of variance, in units of the outcome.
    size : representative size of the clusters.
    bartlett : test that they vary alike in all clusters; None where it is not defined.
    regressors : (p,) intraclass correlation of what each regressor has of its own.
    expected : (p,) variance of each coefficient relative to that of independent rows, were the errors of any two rows
        of a cluster correlated by the intraclass correlation (a negative one counts as none).
    """

    anova: OneWayAnova = field(repr=False)
    size: ClusterSize
    bartlett: HomogeneityTest | None
    regressors: FloatArray
    expected: FloatArray


def residual_dependence(clusters: OrdinaryClusters) -> ResidualDependence:
    """Work out what the cross-products of a regression say about its residuals by cluster."""
    squares = clusters.scatter[:, -1, -1] * clusters.unit**2
    anova = OneWayAnova.of(clusters.count, clusters.mean[:, -1] * clusters.unit, float(squares.sum()))
    size = cluster_size(clusters.count, rows=int(clusters.count.sum()))
    sums = clusters.count[:, None] * clusters.mean[:, :-1]
    regressors = regressor_correlations(sums.T @ sums, clusters.bread, clusters.turn, size.effective)
    expected = 1.0 + (size.effective - 1.0) * regressors * max(anova.icc, 0.0)
    return ResidualDependence(
        anova=anova, size=size, bartlett=bartlett(squares, clusters.count - 1.0, clusters.name),
        regressors=regressors, expected=expected,
    )  # fmt: skip


def residuals(design: Design, solved: LeastSquares) -> FloatArray:
    """(rows used,) y - X beta in units of their standard deviation, by a pass over the rows."""
    coordinates = solved.coordinates
    columns = np.append(design.x, len(design.products.names) - 1)
    contrast = np.append(-solved.working_beta - coordinates.removed, 1.0) * coordinates.scale[-1] / solved.sigma
    shift, scale = coordinates.shift[:, None], coordinates.scale[:, None]
    return np.concatenate([contrast @ ((block[columns] - shift) / scale) for block, _, _ in design.blocks()])


def kruskal_wallis(values: FloatArray, codes: CodeArray) -> KruskalWallis:
    """Test that values (n,) are distributed alike in the clusters `codes` (n,), each of which has values.

    With mean ranks R_j, H = 12 / (n (n + 1)) sum n_j (R_j - (n + 1) / 2)^2 / (1 - sum (t^3 - t) / (n^3 - n)), t being
    the numbers of equal values.

    Source: Kruskal & Wallis (1952), J. Am. Stat. Assoc. 47: 583-621.

    Examples
    --------
    >>> found = kruskal_wallis(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 0, 1, 1], dtype=np.int32))
    >>> round(found.statistic, 3), found.df
    (2.4, 1)
    """
    order = np.argsort(values, kind="stable")
    start = np.flatnonzero(np.append(True, np.diff(values[order]) > TIED))
    times = np.diff(np.append(start, len(values)))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(start + 0.5 * (times + 1.0), times)

    n, sizes = float(len(values)), np.bincount(codes)
    centred = np.bincount(codes, ranks) / sizes - 0.5 * (n + 1.0)
    ties = 1.0 - float(np.sum(times**3.0 - times)) / (n**3 - n)
    statistic = float(12.0 / (n * (n + 1.0)) * (sizes @ centred**2) / ties) if ties > 0.0 else np.nan
    df = len(sizes) - 1
    return KruskalWallis(statistic=statistic, df=df, p_value=float(chi_square_tail(df, statistic)))
