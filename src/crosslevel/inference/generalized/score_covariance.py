"""Covariances of generalized estimates from what each cluster contributes: sandwich and cluster jackknife.

With s_j the derivative of the log-likelihood of cluster j in all parameters [theta, beta, shape], weights included, H
minus its second derivative over all clusters, H_j that of one,

    CR0       : V = H^-1 (sum_j s_j s_j') H^-1,
    CR1       : V_CR0 J / (J - 1), as in Stata,
    CR3       : V = (J - 1) / J sum_j d_j d_j',   d_j = (H - H_j)^-1 s_j, one Newton step to the estimate without j,
    jackknife : the same with d_j = estimate - exact estimate without cluster j.

They hold if clusters are independent, whatever the distribution of rows within clusters, for the parameters of the
model that is nearest to the truth: unlike in a linear model, a wrong distribution of the random effects changes what
the coefficients are. Parameters on the boundary are held there.

Source: White (1982), Econometrica 50: 1-25; Liang & Zeger (1986), Biometrika 73: 13-22; MacKinnon, Nielsen & Webb
(2023), J. Appl. Econometrics 38: 671-694, for the jackknife; with sampling weights Rabe-Hesketh & Skrondal (2006),
J. R. Statist. Soc. A 169: 805-827, section 3.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.distributions import f_tail
from crosslevel.inference.estimates import Joint
from crosslevel.inference.generalized.clusters import ClusterScores
from crosslevel.types import FloatArray

KINDS = {
    "CR0": "cluster-robust sandwich without a correction for few clusters (CR0)",
    "CR1": "cluster-robust sandwich times J / (J - 1) (CR1)",
    "CR3": "cluster jackknife by one Newton step for each cluster left out (CR3)",
    "jackknife": "cluster jackknife by refits without each cluster",
}
"""Covariances by name, in words."""

MEANING = (
    "They hold for the coefficients of the model nearest to the truth: where the distribution of the random effects is "
    "wrong, these are others than the ones meant."
)
"""What no robust covariance of a nonlinear model repairs."""

HELD = 1e-12
"""Eigenvalue of the standardised covariance, relative to the largest, of directions that are held on the boundary."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreKind:
    """One of `KINDS`.

    Attributes
    ----------
    name, description : what it is called, and what it is.
    """

    name: str
    description: str


def score_kind(name: object) -> ScoreKind:
    """A covariance by its name.

    Raises
    ------
    CrosslevelError : there is none of this name.
    """
    if not isinstance(name, str) or name not in KINDS:
        more = ""
        if name in ("CR2", "CR1S"):
            more = f" {name} rests on the residuals of a linear model; CR3 and the jackknife correct for few clusters."
        raise CrosslevelError(f"`vcov` is one of {', '.join(map(repr, KINDS))} for this family; got {name!r}.{more}")
    return ScoreKind(name=name, description=KINDS[name])


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreCovariance:
    """A cluster-robust covariance of r coefficients of a generalized model.

    Attributes
    ----------
    kind : how it was made.
    clusters : the number of clusters, by name.
    vcov : (r, r).
    """

    kind: ScoreKind
    clusters: Mapping[str, int]
    vcov: FloatArray = field(repr=False)

    @property
    def usual_test(self) -> str:
        """The joint test that is made unless another is named."""
        return "naive-F"

    @property
    def meaning(self) -> str:
        """What it holds for, in words."""
        return MEANING

    @property
    def rank(self) -> int:
        """Clusters less one: how many combinations the clusters can tell about."""
        return min(self.clusters.values()) - 1

    def df(self, contrasts: FloatArray) -> FloatArray:
        """Degrees of freedom of each row of C (m, r): clusters less one."""
        return np.full(len(contrasts), float(self.rank))

    def std_error(self, contrasts: FloatArray) -> FloatArray:
        """Standard errors (m,) of C beta."""
        return np.asarray(np.sqrt(np.einsum("ma,ab,mb->m", contrasts, self.vcov, contrasts, optimize=True)))

    def joint(self, contrasts: FloatArray, estimate: FloatArray, test: str) -> Joint:
        """Wald's F test that C beta (m,) is zero, on m and J - 1 degrees of freedom.

        Raises
        ------
        CrosslevelError : another test than "naive-F", or more combinations than clusters can tell about.
        """
        if test != "naive-F":
            raise CrosslevelError(
                f"`test` is 'naive-F' for this family (clusters - 1 degrees of freedom); got {test!r}, whose "
                "degrees of freedom are those of a linear model."
            )
        m = len(estimate)
        if m > self.rank:
            raise CrosslevelError(
                f"`contrasts` has {m} combinations, and {self.rank + 1} clusters can tell about {self.rank} at most. "
                "Test fewer at once."
            )
        statistic = float(estimate @ np.linalg.solve(contrasts @ self.vcov @ contrasts.T, estimate) / m)
        return Joint(
            statistic=statistic, df_num=float(m), df_den=float(self.rank), p_value=f_tail(m, self.rank, statistic)
        )


def sandwich(bread: FloatArray, scores: FloatArray) -> FloatArray:
    """H^-1 (sum s s') H^-1 (K, K) from H^-1 (K, K), zero for what is held, and scores (J, K).

    Examples
    --------
    >>> import numpy as np
    >>> sandwich(np.array([[0.5]]), np.array([[1.0], [-1.0], [2.0], [-2.0]])).tolist()
    [[2.5]]
    """
    half = scores @ bread
    return np.asarray(half.T @ half)


def corrected_sandwich(bread: FloatArray, scores: FloatArray) -> FloatArray:
    """J / (J - 1) times `sandwich`, J counting the clusters that have any score."""
    n_clusters = int(np.count_nonzero(np.any(scores != 0.0, axis=1)))
    return sandwich(bread, scores) * (n_clusters / (n_clusters - 1.0))


def one_step(own: ClusterScores, free: FloatArray) -> FloatArray:
    """Estimates without each cluster less those with all, (J, K), by one Newton step: -(H - H_j)^-1 s_j.

    Parameters
    ----------
    own : scores and curvature of the clusters.
    free : (K, r) directions that are not held; see `free_directions`.

    Raises
    ------
    CrosslevelError : without some cluster there is no minimum nearby.
    """
    whole = free.T @ (0.5 * own.hessian) @ free
    others = whole - free.T @ own.hessians @ free
    size = np.sqrt(np.diag(whole))
    lost = np.flatnonzero(np.linalg.eigvalsh(others / np.outer(size, size))[:, 0] <= HELD)
    if len(lost):
        level = own.clusters.clusters.levels[int(lost[0])]
        raise CrosslevelError(
            f"`vcov` is 'CR3', but without cluster {level} of {own.clusters.clusters.name} (one of {len(lost)} such) "
            "the parameters are not determined near their estimates. Use 'CR1', or vcov='jackknife'."
        )
    return np.asarray(-np.linalg.solve(others, (own.scores @ free)[:, :, None])[:, :, 0] @ free.T)


def free_directions(bread: FloatArray) -> FloatArray:
    """Orthonormal directions (K, r) in which parameters (K,) were estimated, from their covariance (K, K)."""
    size = np.sqrt(np.maximum(np.diag(bread), 0.0))
    size[size == 0.0] = 1.0
    values, vectors = np.linalg.eigh(bread / np.outer(size, size))
    kept = values > HELD * values[-1]
    return np.asarray(np.linalg.qr(vectors[:, kept] * size[:, None])[0])


def jackknife(changes: FloatArray) -> FloatArray:
    """(J - 1) / J sum d d' (r, r) from the changes (J, r) that leaving out each cluster brings.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0, 10.0])
    >>> changes = (x.sum() - x) / 3.0 - x.mean()
    >>> bool(np.isclose(jackknife(changes[:, None])[0, 0], x.var(ddof=1) / 4.0))
    True
    """
    n_clusters = len(changes)
    return np.asarray(changes.T @ changes * ((n_clusters - 1.0) / n_clusters))
