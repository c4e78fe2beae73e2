"""Covariances of the coefficients of a generalized linear model, by name.

Where the score of row i is x_i mu'_i (y_i - mu_i) / V_i (binomial, Poisson, negative binomial with a quadratic
variance, gamma), the model is a weighted regression at its maximum: with W = diag(mu'^2 / V), the Fisher information is
X'WX, and everything that cluster-robust covariances of linear regressions know holds for the rows W^1/2 X with the
residuals W^-1/2 score: leverages, CR2, CR3, degrees of freedom. Other families (beta, beta-binomial, negative binomial
with a linear variance, ordered) have shape parameters that the coefficients depend on: their covariances are

    H^-1 (sum_g s_g s_g') H^-1,

H the observed information of coefficients and shape parameters together and s_g the scores of a cluster (or row).

Source: White (1982), Econometrica 50: 1-25; Liang & Zeger (1986), Biometrika 73: 13-22; McCaffrey & Bell (2006), Stat.
Med. 25: 4081-4098, for CR2 of generalized linear models.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.inference.cluster_robust import ROBUST
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.inference.heteroskedastic import LEVERAGE_ONE, ROW_ROBUST, RowRobust
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.robust import RowSource, robust_covariance
from crosslevel.inference.robust_rows import ModelRows
from crosslevel.memory import require_memory
from crosslevel.solve.response_regression import ResponseRegression
from crosslevel.types import FloatArray, IntArray

TINY = 1e-100
"""Variance of an outcome below which nothing is divided by it."""

LEAST = 1e-15
"""Share of the largest eigenvalue of an information that the others have at least."""

SAME = 1e-7
"""Difference of two scores, relative to the largest, that is rounding: also where 1 - mu has few digits."""

SCORED = ("HC0", "HC1", "CR0", "CR1", "CR1S")
"""Robust covariances that need scores only."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ResponseSource(RowSource):
    """Rows of a generalized linear model as those of a weighted regression, in the order of the data.

    Attributes
    ----------
    design, solved : the model.
    """

    design: Design
    solved: ResponseRegression

    @cached_property
    def working_weights(self) -> FloatArray:
        """(n,) mu'^2 / V of each row, once for each time that its frequency counts it."""
        rows, eta = self.solved.rows, self.solved.eta
        family = rows.family
        mean_slope = rows.size * family.mean_slope(eta)
        variance = family.variance(family.mean(eta), rows.size, self.solved.shape)
        weights = np.divide(mean_slope**2, variance, out=np.zeros_like(eta), where=variance > TINY)
        return np.asarray(weights if self._times is not None else weights * rows.counted)

    @cached_property
    def is_weighted_regression(self) -> bool:
        """Whether the score of each row is mu' (y - mu) / V."""
        rows, eta = self.solved.rows, self.solved.eta
        if rows.family.kind == "ordered":
            return False
        mu, slope = rows.family.mean(eta), rows.size * rows.family.mean_slope(eta)
        variance = rows.family.variance(mu, rows.size, self.solved.shape)
        able = variance > TINY
        score = np.divide(slope * (rows.y - rows.size * mu), variance, out=np.zeros_like(eta), where=able)
        size = np.max(np.abs(self.solved.score))
        return bool(np.all(np.abs(score * rows.counted - self.solved.score)[able] <= SAME * size))

    @property
    def _times(self) -> IntArray | None:
        """(n,) how many rows each row stands for; None if one each."""
        weights = self.design.weights
        if weights is None or not weights.is_frequency:
            return None
        return np.rint(self.solved.rows.counted).astype(np.int64)

    @cached_property
    def unscaled(self) -> FloatArray:
        """(p, p) inverse of the Fisher information, in working coordinates."""
        x, times = self.solved.rows.x, self._times
        weights = self.working_weights if times is None else self.working_weights * times
        return _inverse((x * weights[:, None]).T @ x)

    @cached_property
    def all(self) -> tuple[ModelRows, IntArray]:
        """All rows, each as often as it counts, and which of the rows used they are."""
        solved, times = self.solved, self._times
        root = np.sqrt(self.working_weights)
        score = solved.score if times is None else np.divide(solved.score, times)
        residual = np.divide(score, root, out=np.zeros_like(root), where=root > 0.0)
        x, place = solved.rows.x * root[:, None], np.arange(len(root))
        if times is not None:
            place = np.repeat(place, times)
            x, residual = x[place], residual[place]
        rows = ModelRows(
            x=x, weighted=x, residual=residual, loadings=(), bread=self.unscaled, turn=solved.rows.coordinates.beta_map
        )
        return rows, place

    @property
    def vcov(self) -> FloatArray:
        """(p, p) inverse of the Fisher information, in the units of the data."""
        turn = self.solved.rows.coordinates.beta_map
        return np.asarray(turn @ self.unscaled @ turn.T)

    def named(self, name: str) -> tuple[ModelRows, Clustering]:
        """Clusters by name."""
        return self.rows_for(clustering_named(self.design, name))

    def rows_for(self, clusters: Clustering) -> tuple[ModelRows, Clustering]:
        """All rows: scores are no function of the clusters' cross-products."""
        rows, place = self.all
        return rows, Clustering(name=clusters.name, levels=clusters.levels, codes=clusters.codes[place])


def _inverse(information: FloatArray) -> FloatArray:
    """Inverse of an information; directions that have next to none, as where outcomes are separated, keep a little."""
    values, vectors = np.linalg.eigh(information)
    return np.asarray((vectors / np.maximum(values, LEAST * values[-1])) @ vectors.T)


def response_covariance(
    design: Design, solved: ResponseRegression, name: str, clusters: tuple[str, ...]
) -> OrdinaryCovariance:
    """Work out a covariance of `ordinary.NAMES`.

    Tests are z tests but for cluster-robust ones, whose degrees of freedom are Satterthwaite's where the model is a
    weighted regression, else clusters - 1.

    Raises
    ------
    CrosslevelError : clusters that cannot be used, or a covariance that the family does not have.
    """
    source = ResponseSource(design=design, solved=solved)
    if not source.is_weighted_regression:
        found, p = joint_covariance(design, solved, name, clusters), len(solved.beta)
        return OrdinaryCovariance(
            name=name, description=found.description, matrix=found.matrix[:p, :p], df_residual=found.df
        )
    if name == "iid":
        words = "independent rows, by the Fisher information (iid)"
        return OrdinaryCovariance(name=name, description=words, matrix=source.vcov, df_residual=np.inf)
    if name in ROW_ROBUST:
        kind = ROW_ROBUST[name]
        matrix = _row_robust(source, kind)
        return OrdinaryCovariance(name=name, description=kind.description, matrix=matrix, df_residual=np.inf)
    robust = robust_covariance(source, design, ROBUST[name], clusters, source.vcov)
    return OrdinaryCovariance(
        name=name, description=robust.kind.description, matrix=robust.vcov, df_residual=np.inf, robust=robust
    )


def _row_robust(source: ResponseSource, kind: RowRobust) -> FloatArray:
    """HC0 to HC3 (p, p)."""
    rows, _ = source.all
    n, p = rows.x.shape
    kept = 1.0 - np.einsum("ni,ij,nj->n", rows.x, rows.bread, rows.x, optimize=True)
    able = kept > LEVERAGE_ONE
    if kind.power == 1.0 and not np.all(able):
        raise CrosslevelError(
            f"`vcov` is {kind.name!r}, which leaves out one row at a time, but {np.count_nonzero(~able)} rows alone "
            "determine a coefficient. Use 'HC2', or drop the predictor that is theirs."
        )
    share = np.where(able, np.where(able, kept, 1.0) ** -kind.power, 1.0 if kind.power == 0.0 else 0.0)
    half = rows.turn @ rows.bread @ (rows.x * (share * rows.residual)[:, None]).T
    return np.asarray(half @ half.T * (n / (n - p) if kind.counted else 1.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class JointCovariance:
    """A covariance of coefficients and shape parameters together.

    Attributes
    ----------
    matrix : (p + m, p + m) of the coefficients in the units of the data and the unconstrained shape parameters.
    description, df : what it is, and the degrees of freedom of its tests.
    """

    matrix: FloatArray
    description: str
    df: float


def joint_covariance(
    design: Design, solved: ResponseRegression, name: str, clusters: tuple[str, ...]
) -> JointCovariance:
    """Covariance of coefficients and shape parameters from the observed information and the scores.

    Raises
    ------
    CrosslevelError : a covariance that needs leverages, or clusters that cannot be used.
    """
    p, family = len(solved.beta), solved.rows.family.description
    bread = solved.turn @ _inverse(solved.information)
    if name == "iid":
        words = "independent rows, by the observed information (iid)"
        return JointCovariance(matrix=bread @ solved.turn.T, description=words, df=np.inf)
    if name not in SCORED:
        raise CrosslevelError(
            f"`vcov` is {name!r}, which adjusts residuals by leverages, but a model of the family {family} has shape "
            "parameters that its coefficients depend on, and no leverages. Use one of "
            f"{', '.join(map(repr, ('iid', *SCORED)))}."
        )
    if len(clusters) > 1:
        raise CrosslevelError(
            f"`cluster` names {len(clusters)} clusterings; with the family {family} one can be used at a time. Name "
            "the coarsest."
        )
    scores, n = solved.scores, design.nobs
    if name in ROW_ROBUST:
        kind: RowRobust = ROW_ROBUST[name]
        times = solved.rows.counted if design.weights is not None and design.weights.is_frequency else None
        one = scores if times is None else scores / np.sqrt(times)[:, None]
        factor, df, words = n / (n - p) if kind.counted else 1.0, np.inf, kind.description
    else:
        one, factor, df = _summed(design, scores, clusters[0], name, n, p)
        words = ROBUST[name].description
    left = bread @ one.T
    return JointCovariance(matrix=np.asarray(left @ left.T * factor), description=words, df=df)


def _summed(
    design: Design, scores: FloatArray, cluster: str, name: str, n: int, p: int
) -> tuple[FloatArray, float, float]:
    """Scores (J, K) of the clusters, the factor of CR0, CR1 or CR1S, and J - 1."""
    found = clustering_named(design, cluster)
    n_clusters = found.n_clusters
    if n_clusters < 2:
        raise CrosslevelError(
            f"`cluster` names {cluster!r}, which has one value in the rows used. Cluster-robust standard errors need "
            "at least two clusters, and are good for little with fewer than ten."
        )
    require_memory(
        8.0 * n_clusters * scores.shape[1],
        f"`cluster` names {n_clusters:,} clusters, whose scores",
        "Use fewer predictors, or larger clusters.",
    )
    one = np.zeros((n_clusters, scores.shape[1]))
    np.add.at(one, found.codes, scores)
    factor = 1.0 if name == "CR0" else n_clusters / (n_clusters - 1.0)
    if name == "CR1S":
        factor *= (n - 1.0) / (n - p)
    return one, factor, n_clusters - 1.0
