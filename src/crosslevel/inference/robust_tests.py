"""Degrees of freedom and joint tests with a cluster-robust covariance.

Under the working model the contributions of the clusters to C beta are normal with covariances P_gh (m, m), so that
V_CR has the mean Omega = sum_g P_gg and known second moments. Contrasts are taken as Omega^{-1/2} C, and V_CR is
treated as Wishart with nu degrees of freedom of which the total variance is the same:

    nu = m (m + 1) / sum_gh (tr(P_gh)^2 + tr(P_gh P_gh)).

For one contrast that is Satterthwaite's (sum P_gg)^2 / sum P_gh^2. For several, (nu - m + 1) / (nu m) Q is referred to
F(m, nu - m + 1), Q the Wald statistic: Hotelling's T^2, the HTZ test. With P_gh = [g = h] D_g - Y_g Y_h' the sum over
pairs is one of fourth-order products of sum_g Y_g (x) Y_g; only where random effects cross the clusters are all pairs
gone through.

Source: Bell & McCaffrey (2002), Survey Methodology 28: 169-181; Imbens & Kolesar (2016), Rev. Econ. Stat. 98: 701-712;
Pustejovsky & Tipton (2018), J. Bus. Econ. Stat. 36: 672-683, section 3.2 and appendix; Fai & Cornelius (1996), J. Stat.
Comput. Simul. 54: 363-378, for EDF.
"""

from collections.abc import Callable, Sequence

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.cluster_robust import Link, OneWay
from crosslevel.inference.distributions import f_tail
from crosslevel.inference.estimates import Joint
from crosslevel.types import FloatArray

PAIRS = 1 << 22
"""Pairs of contributions whose covariances, or elements of contributions that, are held at a time."""

UNSEEN = 1e-10
"""Mean of V_CR under the working model, relative to the variance there, below which clusters contribute nothing."""

RANK = 1e-10
"""Eigenvalue, as a share of the mean one, below which a robust covariance has no variance in a direction."""


def wishart_df(clusters: OneWay, contrasts: FloatArray) -> float:
    """Degrees of freedom nu of the Wishart distribution that V_CR of C beta is treated as; C is (m, p).

    Raises
    ------
    CrosslevelError : the clusters contribute nothing to some combination.
    """
    m = len(contrasts)
    mean = _mean(clusters, contrasts)
    root = np.linalg.cholesky(contrasts @ clusters.model @ contrasts.T)
    relative = np.linalg.solve(root, np.linalg.solve(root, mean).T)
    if np.linalg.eigvalsh(relative)[0] < UNSEEN:
        raise CrosslevelError(
            f"`contrast` tests combinations of coefficients to which the clusters of {clusters.name} contribute "
            "nothing, as where a predictor tells few clusters apart exactly. Test others, or use other clusters."
        )
    return m * (m + 1.0) / _second_moment(clusters, _inverse_root(mean) @ contrasts)


def satterthwaite(ways: Sequence[OneWay], contrasts: FloatArray) -> FloatArray:
    """Degrees of freedom of each row of C (m, p): the fewest of those by each of several clusterings.

    NaN where the clusters of one of them contribute nothing to the coefficient.
    """
    found = []
    for each in ways:
        parts = max(1, contrasts.shape[0] * each.shared[:, :, 0].size // PAIRS)
        found.append(np.concatenate([_single_df(each, some) for some in np.array_split(contrasts, parts)]))
    return np.asarray(np.min(found, axis=0))


def _single_df(clusters: OneWay, contrasts: FloatArray) -> FloatArray:
    """(sum P_gg)^2 / sum P_gh^2 (m,) of each row of C."""
    own = np.einsum("ma,jab,mb->mj", contrasts, clusters.own, contrasts, optimize=True)
    shared = np.einsum("ma,jab->mjb", contrasts, clusters.shared)
    model = np.einsum("ma,ab,mb->m", contrasts, clusters.model, contrasts)
    if clusters.links:
        mean = np.array([_mean(clusters, row[None])[0, 0] for row in contrasts])
        squares = np.array([0.5 * _second_moment(clusters, row[None]) for row in contrasts])
    else:
        within = np.einsum("mjb,mjb->mj", shared, shared)
        products = shared.transpose(0, 2, 1) @ shared
        mean = np.sum(own - within, axis=1)
        squares = np.sum(products**2, axis=(1, 2)) + np.sum((own - within) ** 2 - within**2, axis=1)
    return np.asarray(np.divide(mean**2, squares, out=np.full(len(mean), np.nan), where=mean > UNSEEN * model))


def _mean(clusters: OneWay, contrasts: FloatArray) -> FloatArray:
    """Omega (m, m), the working model's mean of V_CR of C beta."""
    shared = contrasts @ clusters.shared
    total = contrasts @ clusters.own.sum(axis=0) @ contrasts.T - np.tensordot(shared, shared, axes=([0, 2], [0, 2]))
    for link in clusters.links:
        crossing = contrasts @ link.values
        total += np.tensordot(crossing, crossing, axes=([0, 2], [0, 2]))
    return np.asarray(0.5 * (total + total.T))


def _inverse_root(matrix: FloatArray) -> FloatArray:
    """Symmetric inverse square root."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)


def _second_moment(clusters: OneWay, contrasts: FloatArray) -> float:
    """Sum over all pairs of clusters of tr(P)^2 + tr(P P), P = C P_gh C'."""
    shared, own = contrasts @ clusters.shared, contrasts @ clusters.own @ contrasts.T
    if clusters.links:
        return _over_pairs(shared, own, clusters.links, contrasts)
    m, p = shared.shape[1:]
    flat = shared.reshape(len(shared), -1)
    products = (flat.T @ flat).reshape(m, p, m, p)
    total = float(np.sum(products**2) + np.sum(products * products.transpose(2, 1, 0, 3)))
    within = shared @ shared.transpose(0, 2, 1)
    return total + _traces(own - within) - _traces(within)


def _traces(p: FloatArray) -> float:
    """Sum of tr(P)^2 + tr(P P) over matrices P (J, m, m)."""
    return float(np.sum(np.einsum("jss->j", p) ** 2) + np.einsum("jst,jts->", p, p))


def _over_pairs(shared: FloatArray, own: FloatArray, links: tuple[Link, ...], contrasts: FloatArray) -> float:
    """The same sum where factors cross the clusters, some clusters against all others at a time."""
    from scipy.sparse import csr_array

    n_clusters, m, p = shared.shape
    flat = shared.reshape(-1, p)
    crossing = []
    for link in links:
        values = contrasts @ link.values
        q = values.shape[2]
        row = (link.clusters[:, None] * m + np.arange(m))[:, :, None]
        column = (link.levels[:, None] * q + np.arange(q))[:, None, :]
        row, column = (np.broadcast_to(index, values.shape).ravel() for index in (row, column))
        crossing.append(csr_array((values.ravel(), (row, column)), shape=(n_clusters * m, link.n_levels * q)))
    total, step = 0.0, max(1, PAIRS // (n_clusters * m * m))
    for start in range(0, n_clusters, step):
        stop = min(start + step, n_clusters)
        rows = slice(start * m, stop * m)
        block = -flat[rows] @ flat.T
        for part in crossing:
            block += (part[rows] @ part.T).toarray()
        pairs = block.reshape(stop - start, m, n_clusters, m).transpose(0, 2, 1, 3).copy()
        pairs[np.arange(stop - start), np.arange(start, stop)] += own[start:stop]
        total += _traces(pairs.reshape(-1, m, m))
    return total


def wald(estimate: FloatArray, vcov: FloatArray) -> float:
    """Q = e'V^-1 e of m contrasts.

    Raises
    ------
    CrosslevelError : V is singular.
    """
    scale = np.sqrt(np.diag(vcov))
    if np.all(scale > 0.0):
        values = np.linalg.eigvalsh(vcov / np.outer(scale, scale))
        if values[0] > RANK * values.mean():
            return float(estimate @ np.linalg.solve(vcov, estimate))
    raise CrosslevelError(
        f"`contrast` tests {len(estimate)} combinations of coefficients at once, whose cluster-robust covariance "
        "is singular: there are fewer clusters that tell them apart than combinations, or these depend on each other. "
        "Test fewer."
    )


def hotelling(ways: Sequence[OneWay], contrasts: FloatArray, estimate: FloatArray, vcov: FloatArray) -> Joint:
    """HTZ: Hotelling's T^2 with the nu of this module, the smallest of those by each clustering."""
    m, statistic = len(estimate), wald(estimate, vcov)
    nu = min(wishart_df(each, contrasts) for each in ways)
    df = nu - m + 1.0
    if df <= 0.0:
        raise CrosslevelError(
            f"`test` is 'HTZ', which has no degrees of freedom left for {m} combinations of coefficients at once "
            f"(nu = {nu:.2f}). Test fewer, or use test='EDF'."
        )
    return _f_test(m, df, df / nu * statistic / m)


def naive(ways: Sequence[OneWay], contrasts: FloatArray, estimate: FloatArray, vcov: FloatArray) -> Joint:
    """Q / m on m and J - 1 degrees of freedom."""
    m = len(estimate)
    return _f_test(m, min(each.n_clusters for each in ways) - 1.0, wald(estimate, vcov) / m)


def eigenvalues_df(ways: Sequence[OneWay], contrasts: FloatArray, estimate: FloatArray, vcov: FloatArray) -> Joint:
    """EDF: Q as a sum of squared t statistics along the eigenvectors of V_CR, each with Satterthwaite's df.

    The first two moments of that sum are those of a scaled F (Fai & Cornelius 1996, their second approximation).
    """
    m, statistic = len(estimate), wald(estimate, vcov)
    fewest = np.full(m, np.inf)
    for each in ways:
        root = _inverse_root(_mean(each, contrasts))
        _, axes = np.linalg.eigh(root @ vcov @ root)
        fewest = np.minimum(fewest, satterthwaite([each], axes.T @ root @ contrasts))
    df = np.maximum(fewest, 4.1)
    mean = float(np.sum(df / (df - 2.0)))
    variance = float(2.0 * np.sum(df**2 * (df - 1.0) / ((df - 2.0) ** 2 * (df - 4.0))))
    if m * variance <= 2.0 * mean**2:
        return _f_test(m, np.inf, statistic / mean)
    scale = (mean**2 * (m - 2.0) + 2.0 * m * variance) / (mean * (variance + mean**2))
    return _f_test(m, 4.0 + 2.0 * mean**2 * (m + 2.0) / (m * variance - 2.0 * mean**2), scale * statistic / m)


def _f_test(m: int, df: float, statistic: float) -> Joint:
    """The tail probability of an F statistic."""
    return Joint(statistic=statistic, df_num=float(m), df_den=df, p_value=f_tail(m, df, statistic))


JointTest = Callable[[Sequence[OneWay], FloatArray, FloatArray, FloatArray], Joint]

JOINT_TESTS: dict[str, JointTest] = {"HTZ": hotelling, "EDF": eigenvalues_df, "naive-F": naive}


def joint_test(name: object) -> JointTest:
    """Look up a joint test by its name.

    Raises
    ------
    CrosslevelError : no such test.
    """
    if not isinstance(name, str) or name not in JOINT_TESTS:
        raise CrosslevelError(f"`test` is one of {', '.join(map(repr, JOINT_TESTS))}; got {name!r}.")
    return JOINT_TESTS[name]
