"""Weights of the chi-bar-square distributions that variances on their boundary make.

Under the null hypothesis that d variances are zero, the likelihood-ratio statistic is the squared length of the
projection of a normal vector, with the information matrix M as its metric, on a cone: that of positive semi-definite
matrices where the covariances of the effects are free, the positive orthant where there are none. Its distribution is a
mixture of chi-squares with 0 .. k degrees of freedom, k the dimension of the cone; the weights are the cone's intrinsic
volumes (Self & Liang 1987, JASA 82: 605-610; Shapiro 1988, Int. Stat. Rev. 56: 49-62; Amelunxen & Lotz 2017, J.
Complexity 41: 80-108). In three dimensions, with lengths and areas on the unit sphere,

    w_2 = (length of the cone's boundary) / 4 pi,   w_1 = (length of its polar's boundary) / 4 pi,
    w_0 = 1/2 - w_2,   w_3 = 1/2 - w_1.
"""

from functools import cache, reduce

import numpy as np

from crosslevel.types import FloatArray, IntArray

ROOT_2 = float(np.sqrt(2.0))

POINTS = 400
"""Points of a boundary at which its length is summed: periodic and smooth, so that more add nothing."""

DRAWS, SEED = 20_000, 20_170_824
"""Of simulated weights; the seed is fixed, so that a p-value does not change from call to call."""

SWAP = np.array([[0.0, 1.0], [1.0, 0.0]])

MOST_CORRELATED = 1.0 - 1e-9
"""Correlation of two predictors with which their cone is still brought near the standard one."""

MOST_FACES = 6
"""Half-lines up to which the faces of their cone are gone through."""

HALVES: dict[int, tuple[float, ...]] = {
    4: (0.002456, 0.015122, 0.053006, 0.122255, 0.194543, 0.225236),
    5: (0.00016, 0.001181, 0.005892, 0.020083, 0.04982, 0.095413, 0.146243, 0.181209),
    6: (6e-06, 5.2e-05, 0.000335, 0.001538, 0.005304, 0.014496, 0.032589, 0.061402, 0.097802, 0.132551, 0.153925),
    7: (
        0.0, 1e-06, 1e-05, 6e-05, 0.000269, 0.000965, 0.002896, 0.007432, 0.016484, 0.031843, 0.054018, 0.08107,
        0.108185, 0.128628, 0.136277,
    ),
    8: (
        0.0, 0.0, 0.0, 1e-06, 6e-06, 3e-05, 0.000117, 0.000385, 0.001104, 0.002794, 0.006307, 0.01278, 0.023388,
        0.038805, 0.058511, 0.080311, 0.100512, 0.114892, 0.120108,
    ),
}  # fmt: skip
"""First halves of `simulated_matrix_weights` with a million draws each; the second halves mirror them."""


def convolved(parts: list[FloatArray]) -> FloatArray:
    """Weights of the product of cones between which there is no information: those of each, convolved."""
    return np.asarray(reduce(np.convolve, parts, np.ones(1)))


@cache
def matrix_weights(q: int) -> FloatArray:
    """Weights (k + 1,), k = q (q + 1) / 2, of the cone of covariance matrices (q, q) with the metric of the trace.

    That is the metric of clusters with equal information, whatever their predictors: tr(P H P H) becomes the trace by
    H -> P^1/2 H P^1/2, which leaves the cone as it is. For q <= 3 in closed form, up to 8 from a table with errors
    below 2e-4, beyond by simulation.
    """
    exact = {
        1: [0.5, 0.5],
        2: [0.5 - ROOT_2 / 4.0, ROOT_2 / 4.0],
        3: [0.25 - ROOT_2 / (2.0 * np.pi), ROOT_2 / 4.0 - 0.25, ROOT_2 / (2.0 * np.pi), 1.0 - ROOT_2 / 2.0],
    }
    k = q * (q + 1) // 2
    if q == 1:
        return np.array(exact[1])
    half = exact.get(q) or list(HALVES.get(q, ())) or list(simulated_matrix_weights(q, DRAWS)[: k // 2 + 1])
    out = np.array(half + half[: (k + 1) // 2][::-1])
    return np.asarray(out / out.sum())


def simulated_matrix_weights(q: int, draws: int) -> FloatArray:
    """The same by simulation: weights (k + 1,).

    The eigenvalues of a random symmetric matrix, r of them positive, have a density proportional to a product of their
    differences. Given the directions u of the positive and v of the negative ones, the length of the positive ones is
    chi with r (r + 1) / 2 + a degrees of freedom with probabilities proportional to the coefficients of
    prod (u_i x + v_j) at x^a and to the gamma functions of both lengths' densities.
    """
    rng, k = np.random.default_rng(SEED), q * (q + 1) // 2
    noise = rng.standard_normal((draws, q, q))
    values = np.linalg.eigvalsh((noise + noise.transpose(0, 2, 1)) / 2.0)
    rank, out = np.count_nonzero(values > 0.0, axis=1), np.zeros(k + 1)
    for r in range(q + 1):
        some = values[rank == r]
        if r in (0, q) or not len(some):
            out[0 if r == 0 else k] += len(some) * (r in (0, q))
            continue
        df: IntArray = r * (r + 1) // 2 + np.arange(r * (q - r) + 1)
        share = np.multiply(_coefficients(some[:, q - r :], -some[:, : q - r]), _gamma_factors(df, k))
        out[df] += np.sum(share / share.sum(axis=1, keepdims=True), axis=0)
    out /= draws
    return np.asarray((out + out[::-1]) / 2.0)


def _coefficients(positive: FloatArray, negative: FloatArray) -> FloatArray:
    """Coefficients (m, r s + 1) of prod (u_i x + v_j) with u, v the directions of (m, r) and (m, s)."""
    u = positive / np.linalg.norm(positive, axis=1, keepdims=True)
    v = negative / np.linalg.norm(negative, axis=1, keepdims=True)
    out = np.ones((len(u), 1))
    for i in range(u.shape[1]):
        for j in range(v.shape[1]):
            longer = np.zeros((len(u), out.shape[1] + 1))
            longer[:, :-1] += out * v[:, [j]]
            longer[:, 1:] += out * u[:, [i]]
            out = longer
    return out


def _gamma_factors(df: IntArray, k: int) -> FloatArray:
    """Gamma(df / 2) Gamma((k - df) / 2), up to a constant."""
    from scipy.special import gammaln

    size = gammaln(df / 2.0) + gammaln((k - df) / 2.0)
    return np.asarray(np.exp(size - size.max()))


def pair_weights(metric: FloatArray) -> FloatArray:
    """Weights (4,) of the cone of covariance matrices (2, 2) with a metric (3, 3) in (variance, covariance, variance).

    The boundary are the matrices v v', v = (cos a, sin a); the normals of its tangent planes bound the polar cone. The
    cone stays what it is under H -> L'H L, by which the metric is first brought near that of the trace.
    """
    metric = _near_trace(metric)
    angle = np.arange(POINTS) * (np.pi / POINTS)
    c, s = np.cos(angle), np.sin(angle)
    ray = np.stack([c * c, c * s, s * s], axis=1)
    first = np.stack([-2.0 * c * s, c * c - s * s, 2.0 * c * s], axis=1)
    second = np.stack([2.0 * (s * s - c * c), -4.0 * c * s, 2.0 * (c * c - s * s)], axis=1)
    w_2 = _length(ray, first, metric)
    w_1 = _length(np.cross(ray, first), np.cross(ray, second), np.linalg.inv(metric))
    return np.array([0.5 - w_2, w_1, w_2, 0.5 - w_1])


def _near_trace(metric: FloatArray) -> FloatArray:
    """The metric (3, 3) of L'H L, with L L' = P for the P whose tr(P H P H) is most like it."""
    one, two = np.sqrt(metric[0, 0]), np.sqrt(metric[2, 2])
    correlation = (metric[0, 1] / one + metric[1, 2] / two) / (4.0 * np.sqrt(one * two))
    correlation = float(np.clip(correlation, -MOST_CORRELATED, MOST_CORRELATED))
    root = np.linalg.cholesky(np.array([[one, 0.0], [0.0, two]]) + correlation * np.sqrt(one * two) * SWAP)
    back = np.linalg.inv(root)
    changes = [np.diag([1.0, 0.0]), SWAP, np.diag([0.0, 1.0])]
    columns = [back.T @ change @ back for change in changes]
    turn = np.array([[some[0, 0], some[0, 1], some[1, 1]] for some in columns]).T
    return np.asarray(turn.T @ metric @ turn)


def _length(curve: FloatArray, slope: FloatArray, metric: FloatArray) -> float:
    """Length of a closed curve (m, 3) on the unit sphere of a metric, from equally spaced points, over 4 pi."""
    size = np.einsum("mi,ij,mj->m", curve, metric, curve)
    along = np.einsum("mi,ij,mj->m", curve, metric, slope)
    across = np.einsum("mi,ij,mj->m", slope, metric, slope)
    speed = np.sqrt(np.maximum(size * across - along**2, 0.0)) / size
    return float(speed.mean() * np.pi) / (4.0 * np.pi)


def orthant_weights(metric: FloatArray) -> FloatArray:
    """Weights (m + 1,) of the cone of m variances that are not negative, with a metric (m, m).

    Up to three from the angles between its edges; up to six by simulation, face by face. Without information between
    the variances they are binomial.
    """
    m = len(metric)
    if m == 1:
        return np.array([0.5, 0.5])
    edges, polar = _angles(metric), _angles(np.linalg.inv(metric))
    if m == 2:
        return np.array([0.5 - edges[0] / (2.0 * np.pi), 0.5, edges[0] / (2.0 * np.pi)])
    if m == 3:
        w_2, w_1 = edges.sum() / (4.0 * np.pi), polar.sum() / (4.0 * np.pi)
        return np.array([0.5 - w_2, w_1, w_2, 0.5 - w_1])
    if m > MOST_FACES:
        return convolved([np.array([0.5, 0.5])] * m)
    return _weights_by_faces(metric)


def _angles(metric: FloatArray) -> FloatArray:
    """Angles between the axes, in a metric (m, m): (m (m - 1) / 2,)."""
    size = np.sqrt(np.diag(metric))
    rows, columns = np.tril_indices(len(metric), -1)
    return np.asarray(np.arccos(np.clip(metric[rows, columns] / (size[rows] * size[columns]), -1.0, 1.0)))


def _weights_by_faces(metric: FloatArray) -> FloatArray:
    """How often a random vector is projected on faces of each dimension.

    On the face of the axes I it is, if the solution there is positive and the gradient on the other axes negative:
    h = M_II^-1 s_I > 0 and s_J - M_JI h <= 0, with s = M u.
    """
    m = len(metric)
    noise = np.random.default_rng(SEED).standard_normal((DRAWS, m))
    score, out = noise @ np.linalg.cholesky(metric).T, np.zeros(m + 1)
    for face in range(2**m):
        inside = np.array([bool(face >> i & 1) for i in range(m)])
        found = np.linalg.solve(metric[np.ix_(inside, inside)], score[:, inside].T).T
        rest = score[:, ~inside] - found @ metric[np.ix_(inside, ~inside)]
        out[np.count_nonzero(inside)] += np.count_nonzero(np.all(found > 0.0, axis=1) & np.all(rest <= 0.0, axis=1))
    return np.asarray(out / DRAWS)
