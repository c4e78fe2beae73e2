"""Rows of crossed designs, their cross-products, and the dense likelihood, for tests of the iterative engine."""

from collections.abc import Sequence

import numpy as np
import scipy.linalg

from crosslevel.covariance import COVARIANCES, BlockStructure
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.crossing import Crossing, Pairs
from crosslevel.kernels.pairs import add_blocks, pair_index

Memberships = Sequence[tuple[np.ndarray, np.ndarray]]
"""A factor: for each membership of a row, level codes (n,) and rows of Z (q, n)."""


def crossing_of(factors: Sequence[Memberships], X: np.ndarray, y: np.ndarray) -> Crossing:
    """Cross-products of rows; no row may have the same level of a factor twice."""
    border = np.ascontiguousarray(np.column_stack([X, y]).T)
    sizes = [1 + max(int(codes.max()) for codes, _ in factor) for factor in factors]
    diagonal, image, pairs = [], [], {}
    for k, factor in enumerate(factors):
        q = len(factor[0][1])
        own, cross = np.zeros((sizes[k], q, q)), np.zeros((sizes[k], q, len(border)))
        for codes, z in factor:
            add_blocks(z, z, codes, own)
            add_blocks(z, border, codes, cross)
        diagonal.append(own)
        image.append(cross)
        for m in range(k, len(factors)):
            found = _pairs(factor, factors[m], sizes[k], sizes[m], same=m == k)
            if found is not None:
                pairs[k, m] = found
    structures = tuple(
        BlockStructure(kinds=(COVARIANCES["us"],), columns=(np.arange(d.shape[1]),), q=d.shape[1]) for d in diagonal
    )
    p = X.shape[1]
    coordinates = Coordinates(shift=np.zeros(p + 1), scale=np.ones(p + 1), removed=np.zeros(p), intercept=0)
    return Crossing(
        diagonal=tuple(diagonal), image=tuple(image), pairs=pairs, gram=border @ border.T, n_rows=len(y),
        structures=structures, basis=tuple(np.eye(s.q) for s in structures), coordinates=coordinates,
    )  # fmt: skip


def _pairs(left: Memberships, right: Memberships, n_left: int, n_right: int, *, same: bool) -> Pairs | None:
    couples = [(a, b) for i, a in enumerate(left) for k, b in enumerate(right) if not same or i < k]
    if not couples:
        return None
    first = np.concatenate([a[0] for a, _ in couples])
    second = np.concatenate([b[0] for _, b in couples])
    if same:
        first, second = np.minimum(first, second), np.maximum(first, second)
    start, level, index = pair_index(first, second, n_left, n_right)
    z_left, z_right = np.hstack([a[1] for a, _ in couples]), np.hstack([b[1] for _, b in couples])
    block = np.zeros((len(level), len(z_left), len(z_right)))
    add_blocks(z_left, z_right, index, block)
    return Pairs(start=start, level=level, block=block)


CASES = ("two", "larger factor second", "slopes", "three", "two memberships", "memberships only")


def simulated(
    case: str, *, n: int = 1500, sizes: tuple[int, int, int] = (120, 40, 5), seed: int = 0, within: bool = False
) -> Crossing:
    """Cross-products of one of the `CASES`; `within` takes the means of the second factor's levels out of y."""
    rng = np.random.default_rng(seed)
    a, b, c = (rng.integers(0, size, n).astype(np.int32) for size in sizes)
    other = ((b + rng.integers(1, sizes[1], n)) % sizes[1]).astype(np.int32)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    one = np.ones((1, n))
    slope, second_slope = np.vstack([one, X[:, 1]]), np.vstack([one, X[:, 2]])
    factors: dict[str, Sequence[Memberships]] = {
        "two": [[(a, one)], [(b, one)]],
        "larger factor second": [[(b, one)], [(a, one)]],
        "slopes": [[(a, slope)], [(b, second_slope)]],
        "three": [[(c, one)], [(a, slope)], [(b, one)]],
        "two memberships": [[(a, one)], [(b, 0.4 * slope), (other, 0.6 * slope)]],
        "memberships only": [[(b, 0.5 * one), (other, 0.5 * one)]],
    }
    y = X @ [1.0, 0.5, -0.3] + rng.normal(size=n)
    for factor in factors[case]:
        u = 0.5 * rng.normal(size=(1 + max(codes.max() for codes, _ in factor), len(factor[0][1])))
        for codes, z in factor:
            y = y + np.einsum("qn,nq->n", z, u[codes])
    if within:
        y = y - (np.bincount(b, y) / np.bincount(b))[b]
    return crossing_of(factors[case], X, y)


class Dense:
    """The likelihood of a crossing from whole matrices."""

    def __init__(self, crossing: Crossing) -> None:
        self.crossing = crossing
        widths = [block.shape[0] * block.shape[1] for block in crossing.diagonal]
        self.offset = np.cumsum([0, *widths])
        self.A = scipy.linalg.block_diag(*(level for block in crossing.diagonal for level in block))
        for (k, m), pairs in crossing.pairs.items():
            q, r = pairs.block.shape[1:]
            for j in range(len(pairs.start) - 1):
                for at in range(pairs.start[j], pairs.start[j + 1]):
                    rows = self.offset[k] + j * q + np.arange(q)
                    columns = self.offset[m] + pairs.level[at] * r + np.arange(r)
                    self.A[np.ix_(rows, columns)] += pairs.block[at]
                    self.A[np.ix_(columns, rows)] += pairs.block[at].T
        self.W = np.concatenate([image.reshape(-1, image.shape[2]) for image in crossing.image])

    def reach(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Lambda of all levels."""
        levels = [len(block) for block in self.crossing.diagonal]
        return scipy.linalg.block_diag(*(np.kron(np.eye(n), f) for n, f in zip(levels, factors, strict=True)))

    def middle(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Lambda M^-1 Lambda'."""
        reach = self.reach(factors)
        return reach @ np.linalg.solve(np.eye(len(reach)) + reach.T @ self.A @ reach, reach.T)

    def deviance(self, factors: Sequence[np.ndarray], *, reml: bool) -> float:
        """-2 (restricted) log-likelihood, beta and sigma profiled out."""
        crossing, reach = self.crossing, self.reach(factors)
        log_det = np.linalg.slogdet(np.eye(len(reach)) + reach.T @ self.A @ reach)[1]
        chol = np.linalg.cholesky(crossing.gram - self.W.T @ self.middle(factors) @ self.W)
        nu = crossing.n_rows - (crossing.p if reml else 0)
        out = log_det + nu * (1.0 + np.log(2.0 * np.pi * chol[-1, -1] ** 2 / nu))
        return float(out + (2.0 * np.log(np.diag(chol)[:-1]).sum() if reml else 0.0))
