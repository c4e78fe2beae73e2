"""Wild cluster bootstrap tests of a linear regression, from each cluster's cross-products alone.

A draw multiplies the residuals of cluster g by a weight v_g: y*_g = X_g b + v_g e_g. With M = (X'X)^-1, A_g = X_g'X_g
and scores s_g = X_g'e_g of the residuals that are multiplied, the refitted coefficients are linear in the weights,

    beta* - b = M sum_g v_g s_g,     X_g'(y*_g - X_g beta*) = v_g s_g - A_g M sum_h v_h s_h,

so that a draw needs J x p numbers, not rows. For the hypothesis c'beta = r, with d = M c and delta = c'betahat - r,

    null imposed:   e_g are the residuals at b = betahat - d delta / (c'd), with scores s_g + delta q_g,
                    q_g = A_g d / (c'd), s_g the scores of least squares;
    not imposed:    e_g are the residuals of least squares, and t* asks for c'betahat instead of r.

    numerator of t*:  N = sum_g v_g d's_g + delta sum_g v_g d'q_g  = n0 + delta n1
    its variance:     Q = sum_g (v_g d's_g - d'A_g M sum_h v_h s_h + delta (...))^2 = q00 + 2 delta q01 + delta^2 q11

Five numbers for each draw thus answer for every r: the test is inverted for an interval without drawing again.

Source: Cameron, Gelbach & Miller (2008), Rev. Econ. Stat. 90: 414-427; Roodman, MacKinnon, Nielsen & Webb (2019), Stata
J. 19: 4-60; Webb (2023), Canad. J. Econ. 56: 839-858, for the six-point weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from crosslevel.inference.ordinary_clusters import OrdinaryClusters
from crosslevel.types import FloatArray

POINTS = {
    "webb": np.sqrt(np.array([0.5, 1.0, 1.5])) * np.array([[-1.0], [1.0]]),
    "rademacher": np.array([-1.0, 1.0]),
}
"""Values of the weights, all of the same probability."""

CHUNK = 1 << 18
"""Weights that are drawn and worked on at a time."""

SAME = 1e-9
"""Difference of two statistics, as a share, up to which they are the same: draws may repeat the data."""

NOTHING = 1e-13
"""Sum of squares relative to its natural size that is rounding."""

WIDEN = 1.1
"""Factor by which an interval is widened until the test rejects."""

FARTHEST = 1e9
"""Standard errors from the estimate beyond which an end of an interval is not looked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WildWeights:
    """How the weights of clusters are made.

    Attributes
    ----------
    kind : "webb" or "rademacher".
    n_clusters : J.
    n : draws; 2^J if all sign vectors are gone through.
    every : whether they are.
    """

    kind: str
    n_clusters: int
    n: int
    every: bool

    @classmethod
    def of(cls, kind: str, n_clusters: int, n: int) -> "WildWeights":
        """At most n draws: all of the 2^J vectors of signs where these are no more."""
        every = kind == "rademacher" and n_clusters < 63 and 2**n_clusters <= n
        return cls(kind=kind, n_clusters=n_clusters, n=2**n_clusters if every else n, every=every)

    def chunks(self, rng: np.random.Generator) -> Iterator[FloatArray]:
        """Weights (B, J), some draws at a time; of all vectors of signs one of each pair v, -v, whose |t*| is equal."""
        step = max(1, CHUNK // self.n_clusters)
        total = self.n // 2 if self.every else self.n
        for start in range(0, total, step):
            stop = min(start + step, total)
            if self.every:
                bits = np.arange(start, stop)[:, None] >> np.arange(self.n_clusters) & 1
                yield 1.0 - 2.0 * bits
            else:
                points = POINTS[self.kind].ravel()
                yield points[rng.integers(0, len(points), (stop - start, self.n_clusters), dtype=np.uint8)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Restriction:
    """What the draws need of the clusters for a hypothesis on c'beta.

    Attributes
    ----------
    squares : sum of (d's_g)^2: the cluster-robust variance of c'betahat but for its factor.
    own, moved : (J,) d's_g and d'q_g; the latter are the clusters' shares in the information on c'beta, and sum to 1.
    scores, shifts : (J, p) s_g and q_g.
    pull : (J, p) M A_g d.
    """

    squares: float
    own: FloatArray = field(repr=False)
    moved: FloatArray = field(repr=False)
    scores: FloatArray = field(repr=False)
    shifts: FloatArray = field(repr=False)
    pull: FloatArray = field(repr=False)

    @classmethod
    def of(cls, clusters: OrdinaryClusters, contrast: FloatArray) -> "Restriction":
        """Of c (p,) in the units of the data."""
        gram, bread = clusters.gram, clusters.bread
        c = clusters.turn.T @ contrast
        d = bread @ c
        own = gram[:, :-1, -1] @ d
        if own @ own <= NOTHING**2 * (c @ d) * float(gram[:, -1, -1].sum()):
            own = np.zeros_like(own)
        pull = gram[:, :-1, :-1] @ d
        shifts = pull / (c @ d)
        return cls(
            squares=float(own @ own), own=own, moved=shifts @ d, scores=gram[:, :-1, -1], shifts=shifts,
            pull=pull @ bread,
        )  # fmt: skip

    @property
    def effective_clusters(self) -> float:
        """Number of equal clusters with as much spread of the information: 1 / sum of squared shares."""
        return float(1.0 / (self.moved @ self.moved))

    @property
    def columns(self) -> FloatArray:
        """(J, 3 p + 2) what the weights are multiplied with."""
        pulled = (self.own[:, None] * self.pull, self.moved[:, None] * self.pull)
        return np.column_stack([self.own, self.moved, self.shifts, *pulled])

    @property
    def square_columns(self) -> FloatArray:
        """(J, 3) what the squared weights are multiplied with."""
        return np.column_stack([self.own**2, self.own * self.moved, self.moved**2])

    def sums(self, scores: FloatArray, products: FloatArray, squares: FloatArray) -> FloatArray:
        """(5, B) n0, n1, q00, q01, q11 of draws.

        The sums of squares over clusters are multiplied out, so that draws meet clusters in one product of matrices.

        Parameters
        ----------
        scores : (B, p) v's of the draws.
        products, squares : (B, 3 p + 2) and (B, 3), weights and squared weights times the columns above.
        """
        p = self.scores.shape[1]
        inner = self.pull.T @ self.pull
        shifts, pulled, moved = (products[:, 2 + k * p : 2 + (k + 1) * p] for k in range(3))
        from_scores = scores @ inner - pulled
        out = np.empty((5, len(scores)))
        out[:2] = products[:, :2].T
        out[2] = squares[:, 0] + _dot(from_scores - pulled, scores)
        out[3] = squares[:, 1] + _dot(from_scores, shifts) - _dot(moved, scores)
        out[4] = squares[:, 2] + _dot(shifts @ inner - 2.0 * moved, shifts)
        out[3:, out[4] <= NOTHING * squares[:, 2]] = 0.0
        return out


def _dot(left: FloatArray, right: FloatArray) -> FloatArray:
    """Sums of products of the rows of two arrays (B, p)."""
    return np.asarray(np.einsum("bp,bp->b", left, right))


@dataclass(frozen=True, kw_only=True, eq=False)
class WildDraws:
    """The draws for one hypothesis, whatever its value.

    Attributes
    ----------
    sums : (5, B); see `Restriction.sums`.
    squares : see `Restriction`.
    every : whether the draws are one half of all there are.
    """

    sums: FloatArray = field(repr=False)
    squares: float
    every: bool

    def p_value(self, delta: float) -> float:
        """Share of draws with |t*| >= |t| where the estimate is delta above the hypothesis, the data counted as one."""
        n0, n1, q00, q01, q11 = self.sums
        numerator = (n0 + delta * n1) ** 2 * self.squares
        variance = q00 + delta * (2.0 * q01 + delta * q11)
        return self._share(numerator >= delta**2 * variance * (1.0 - SAME))

    @property
    def p_value_far_away(self) -> float:
        """Where that goes as delta goes to infinity."""
        _, n1, q00, _, q11 = self.sums
        return self._share((q11 == 0.0) & (n1**2 * self.squares >= q00 * (1.0 - SAME)))

    def _share(self, above: FloatArray) -> float:
        """The p-value, from which draws are at least as far away as the data."""
        count = float(np.count_nonzero(above))
        return count / len(above) if self.every else (count + 1.0) / (len(above) + 1.0)

    def interval(self, level: float) -> tuple[float, float]:
        """Distances from the estimate down and up within which no hypothesis is rejected; infinite if none is."""
        alpha = 1.0 - level + SAME  # rounding of 1 - level must not decide
        return self._reach(1.0, alpha), self._reach(-1.0, alpha)

    def _reach(self, sign: float, alpha: float) -> float:
        """The least distance to one side beyond which p is at most alpha."""
        unit = float(np.sqrt(self.squares))
        if self.p_value_far_away > alpha:
            return np.inf
        outer, inner = 0.5 * unit, 0.0
        while self.p_value(sign * outer) > alpha:
            inner, outer = outer, outer * WIDEN
            if outer > FARTHEST * unit:
                return np.inf
        while outer - inner > SAME * outer:
            middle = 0.5 * (inner + outer)
            inner, outer = (middle, outer) if self.p_value(sign * middle) > alpha else (inner, middle)
        return outer


def wild_draws(
    clusters: OrdinaryClusters, restrictions: list[Restriction], weights: WildWeights, rng: np.random.Generator, *,
    null: bool,
) -> list[WildDraws]:  # fmt: skip
    """Draw once for all hypotheses."""
    p, m = len(clusters.bread), len(restrictions)
    scores = clusters.gram[:, :-1, -1]
    columns = np.ascontiguousarray(np.hstack([scores, *(each.columns for each in restrictions)]))
    square_columns = np.ascontiguousarray(np.hstack([each.square_columns for each in restrictions]))
    parts: list[list[FloatArray]] = [[] for _ in restrictions]
    for drawn in weights.chunks(rng):
        found, squares = drawn @ columns, drawn**2 @ square_columns
        each_found, each_square = np.split(found[:, p:], m, axis=1), np.split(squares, m, axis=1)
        for own, restriction, *some in zip(parts, restrictions, each_found, each_square, strict=True):
            own.append(restriction.sums(found[:, :p], *some))
    out = []
    for own, restriction in zip(parts, restrictions, strict=True):
        sums = np.concatenate(own, axis=1)
        if not null:
            sums[[1, 3, 4]] = 0.0
        out.append(WildDraws(sums=sums, squares=restriction.squares, every=weights.every))
    return out
