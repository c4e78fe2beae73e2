"""Finite-sample distribution of the likelihood-ratio statistic for one variance component, by simulation.

For y = X beta + Z b + e, b ~ N(0, lambda sigma^2 V), V = L L', let mu_s be the eigenvalues of L'Z'(I - P_X) Z L and
xi_s those of L'Z'Z L. With independent standard normal w_s and, for the q coefficients that the null hypothesis sets to
zero, u_s, the statistics under lambda = 0 are distributed as

    REML:  sup (n - p) log(T / D(lambda)) - sum log(1 + lambda mu_s),
    ML:    sup n log(T / D(lambda)) - sum log(1 + lambda xi_s) + n log(1 + sum u_s^2 / T),
    D(lambda) = sum w_s^2 / (1 + lambda mu_s) + R,   T = sum w_s^2 + R,   R ~ chi2(n - p - number of mu_s),

the suprema over lambda >= 0. Nothing depends on beta or sigma, and nothing is asymptotic. Among other random effects
the same is an approximation: it takes those as known, as if their predictions had been subtracted from the outcome.

Source: Crainiceanu & Ruppert (2004), JRSS B 66: 165-185, theorem 1 and its restricted form; for other random effects
Greven, Crainiceanu, Kuechenhoff & Peters (2008), J. Comput. Graph. Stat. 17: 870-891.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.design.crossing import Crossing
from crosslevel.design.reduced import Reduced
from crosslevel.errors import CrosslevelError
from crosslevel.types import FloatArray, IntArray

MOST = 4000
"""Random effects up to which the eigenvalues of their cross-products are computed."""

SAME, NONE = 1e-9, 1e-10
"""Relative difference of eigenvalues that count as one, and an eigenvalue that counts as zero."""

GRID, REACH = 240, 14.0
"""Values of log lambda, relative to the largest eigenvalue, that are tried, and how far they reach either way."""

AT_ONCE = 2000
"""Simulations at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """What the distribution depends on.

    Attributes
    ----------
    mu, times : (m,) distinct positive eigenvalues of L'Z'(I - P_X) Z L, and how many there are of each.
    xi, xi_times : (k,) the same of L'Z'Z L.
    n_rows, p : n and the number of fixed coefficients.
    """

    mu: FloatArray
    times: FloatArray
    xi: FloatArray
    xi_times: FloatArray
    n_rows: float
    p: int


def spectrum_of_reduced(reduced: Reduced, effects: IntArray, half: FloatArray) -> Spectrum:
    """Eigenvalues for some effects of one grouping factor; `half` (q, q) is L, all in working coordinates."""
    root = reduced.root[:, :, effects] @ half
    image = root.transpose(0, 2, 1) @ reduced.image[:, :, :-1]
    gram = reduced.remainder + np.einsum("g,gka,gkb->ab", reduced.multiplicity, reduced.image, reduced.image)
    _require_room(image.shape[0] * image.shape[1])
    blocks = root.transpose(0, 2, 1) @ root
    return _spectrum(_block_diagonal(blocks), image, gram[:-1, :-1], reduced.n_rows)


def spectrum_of_crossing(crossing: Crossing, place: int, effects: IntArray, half: FloatArray) -> Spectrum:
    """Eigenvalues for some effects of one of several grouping factors; `half` (q, q) is L, in working coordinates."""
    blocks = half.T @ crossing.diagonal[place][:, effects[:, None], effects] @ half
    image = half.T @ crossing.image[place][:, effects, :-1]
    n_levels, q = image.shape[:2]
    _require_room(n_levels * q)
    matrix = _block_diagonal(blocks)
    some = crossing.pairs.get((place, place))
    if some is not None:  # levels that share rows
        first = np.repeat(np.arange(n_levels), np.diff(some.start))
        between = half.T @ some.block[:, effects[:, None], effects] @ half
        for j, m, block in zip(first, some.level, between, strict=True):
            matrix[j * q : (j + 1) * q, m * q : (m + 1) * q] = block
            matrix[m * q : (m + 1) * q, j * q : (j + 1) * q] = block.T
    return _spectrum(matrix, image, crossing.gram[:-1, :-1], crossing.n_rows)


def _require_room(size: int) -> None:
    """Refuse more random effects than can be decomposed."""
    if size > MOST:
        raise CrosslevelError(
            f"`test` is 'exact', which needs the eigenvalues of a matrix of the {size:,} random effects; this version "
            f"does so up to {MOST:,}. With so many clusters the mixture, test='mixture', is accurate."
        )


def _block_diagonal(blocks: FloatArray) -> FloatArray:
    """Matrix (J q, J q) with these blocks (J, q, q) on its diagonal."""
    n_levels, q = blocks.shape[:2]
    out = np.zeros((n_levels, q, n_levels, q))
    out[np.arange(n_levels), :, np.arange(n_levels)] = blocks
    return out.reshape(n_levels * q, n_levels * q)


def _spectrum(matrix: FloatArray, image: FloatArray, gram: FloatArray, n_rows: float) -> Spectrum:
    """Eigenvalues of L'Z'Z L (K, K), and of it less what X (gram X'X, image L'Z'X by level) explains."""
    p = len(gram)
    cross = image.reshape(len(matrix), p)
    residual = matrix - cross @ np.linalg.solve(gram, cross.T) if p else matrix
    largest = float(np.diag(matrix).max())
    mu, times = _distinct(np.linalg.eigvalsh(residual) / largest)
    diagonal = np.count_nonzero(matrix) == np.count_nonzero(np.diag(matrix))
    xi, xi_times = _distinct((np.diag(matrix) if diagonal else np.linalg.eigvalsh(matrix)) / largest)
    return Spectrum(mu=mu, times=times, xi=xi, xi_times=xi_times, n_rows=n_rows, p=p)


def _distinct(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Positive values (m,) that differ, and how often each occurs."""
    ordered = np.sort(values[values > NONE])
    if not len(ordered):
        return np.zeros(0), np.zeros(0)
    starts = np.flatnonzero(np.append(True, np.diff(ordered) > SAME * ordered[1:]))
    return ordered[starts], np.diff(np.append(starts, len(ordered))).astype(np.float64)


def simulate_statistics(
    spectrum: Spectrum, n: int, rng: np.random.Generator, *, reml: bool, n_fixed: int = 0
) -> FloatArray:
    """Draws (n,) of the statistic under the null hypothesis.

    Parameters
    ----------
    spectrum : of the model.
    n : how many.
    rng : where they come from.
    reml : restricted likelihood.
    n_fixed : coefficients that the null hypothesis sets to zero; none with the restricted likelihood.
    """
    out = [_simulate(spectrum, min(AT_ONCE, n - start), rng, reml, n_fixed) for start in range(0, n, AT_ONCE)]
    return np.concatenate(out)


def _simulate(spectrum: Spectrum, n: int, rng: np.random.Generator, reml: bool, n_fixed: int) -> FloatArray:
    """Some draws, the supremum taken on a grid of log lambda and by a parabola through its best three points."""
    left = spectrum.n_rows - spectrum.p - spectrum.times.sum()
    squares = rng.chisquare(spectrum.times, (n, len(spectrum.times)))
    rest = rng.chisquare(left, n) if left > 0.0 else np.zeros(n)
    fixed = rng.chisquare(n_fixed, n) if n_fixed else np.zeros(n)
    total = squares.sum(axis=1) + rest
    nu = spectrum.n_rows - (spectrum.p if reml else 0)
    values, times = (spectrum.mu, spectrum.times) if reml else (spectrum.xi, spectrum.xi_times)

    grid = np.exp(np.linspace(-REACH, REACH, GRID))
    shrunk = squares @ (1.0 / (1.0 + np.outer(spectrum.mu, grid)))
    height = nu * np.log(total[:, None] / (shrunk + rest[:, None])) - times @ np.log1p(np.outer(values, grid))

    at = np.clip(np.argmax(height, axis=1), 1, GRID - 2)
    low, middle, high = (height[np.arange(n), at + step] for step in (-1, 0, 1))
    bend = low - 2.0 * middle + high
    top = np.where(bend < 0.0, middle - (high - low) ** 2 / (8.0 * np.where(bend < 0.0, bend, -1.0)), middle)
    best = np.maximum(np.maximum(top, height.max(axis=1)), 0.0)
    return np.asarray(best + nu * np.log1p(fixed / total))


def exceedance(draws: FloatArray, statistic: float) -> tuple[float, float]:
    """Tail probability (1 + number of draws that reach the statistic) / (1 + draws), and its Monte-Carlo error."""
    p_value = (1.0 + np.count_nonzero(draws >= statistic)) / (1.0 + len(draws))
    return float(p_value), float(np.sqrt(p_value * (1.0 - p_value) / len(draws)))
