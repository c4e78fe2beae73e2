"""Prediction errors of x'beta + sum over factors of z'b, exact given theta, from Henderson's equations.

With M = I + Lambda'Z'Z Lambda over all factors (rows weighted by R^-1) and K = Lambda M^-1 Lambda'Z'X, how the
conditional modes answer to the fixed part, bhat - b = (btilde - b) - K (betahat - beta), where btilde are the modes at
the true beta. The two parts are uncorrelated, so that

    Var(x'betahat + z'bhat - x'beta - z'b) = (x - K'z)' Var(betahat) (x - K'z) + sigma^2 z' Lambda M^-1 Lambda' z,

which is sigma^2 [x z] C^-1 [x z]' with C the matrix of the mixed model equations. A level that was not in the fit has
K = 0 and the covariance sigma^2 Psi.

Source: Henderson (1975), Biometrics 31: 423-447; McLean, Sanders & Stroup (1991), Am. Stat. 45: 54-64.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.design.coordinates import Coordinates
from crosslevel.errors import CrosslevelError
from crosslevel.likelihood.blocked_state import BlockedConditional
from crosslevel.likelihood.profiled import Conditional
from crosslevel.likelihood.residual import ResidualConditional
from crosslevel.solve import Solution
from crosslevel.types import CodeArray, FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.likelihood.iterative import IterativeConditional

MOST_SOLUTIONS, BATCH = 2_000, 8
"""Iterative solutions that are made for one prediction, and how many of them side by side."""

Members = Sequence[tuple[CodeArray, FloatArray | None]]
"""Levels (L,) of rows in one factor, and how much of each, None for all; several where rows belong to several levels.

Negative numbers are levels that were not in the fit, different ones where the number differs.
"""


class LevelSpread(ABC):
    """Covariances of random effects given the data, in working coordinates and relative to sigma^2."""

    @abstractmethod
    def variance(self, z: Sequence[FloatArray], members: Sequence[Members]) -> FloatArray:
        """Variance (L,) of sum z'b over the levels that are known, for z (q, L) of each factor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnSpread(LevelSpread):
    """One factor, of which each row has one level.

    Attributes
    ----------
    covariances : (J, q, q) by level.
    """

    covariances: FloatArray = field(repr=False)

    def variance(self, z: Sequence[FloatArray], members: Sequence[Members]) -> FloatArray:
        """The quadratic form z'C z of the row's level."""
        ((codes, share),), (own,) = members[0], z
        out = np.zeros(len(codes))
        for a in range(len(own)):
            for b in range(a + 1):
                element = np.append(self.covariances[:, a, b], 0.0)[codes]
                out += (1.0 if a == b else 2.0) * element * own[a] * own[b]
        return out if share is None else out * share**2


@dataclass(frozen=True, kw_only=True, eq=False)
class JointSpread(LevelSpread):
    """Several factors, whose levels may be combined as they never were in the fit.

    Attributes
    ----------
    at : state of the engine for several factors.
    chosen : positions of the factors that are predicted with.
    """

    at: BlockedConditional = field(repr=False)
    chosen: tuple[int, ...]

    def variance(self, z: Sequence[FloatArray], members: Sequence[Members]) -> FloatArray:
        """v'M^-1 v with v = Lambda'z at the row's levels."""
        from crosslevel.kernels.prediction import combination_variances

        factorised = self.at.factorised
        plan, n_rows = factorised.plan, len(members[0][0][0])
        node, node_slot, node_value = self._entries(z, members, plan.order, n_rows)
        place, place_slot, place_value = self._entries(z, members, plan.dense, n_rows)
        order = np.lexsort(node.T[::-1]) if node.shape[1] else np.arange(n_rows)
        out = np.empty(n_rows)
        combination_variances(
            *plan.symbolic.arrays, plan.symbolic.owner, factorised.diagonal, factorised.rows, self.at.inverse.dense,
            order, node, node_slot, node_value, place, place_slot, place_value,
            max(node.shape[1] * len(plan.order), 1), out,
        )  # fmt: skip
        return out

    def _entries(
        self, z: Sequence[FloatArray], members: Sequence[Members], factors: Sequence[int], n_rows: int
    ) -> tuple[CodeArray, CodeArray, FloatArray]:
        """Where v has coefficients in some of the plan's factors, (n, S), and these, (n, sum of q) in S slots.

        Of eliminated factors the node is told, of those in the dense part the first column there.
        """
        plan = self.at.factorised.plan
        where: list[FloatArray] = [np.zeros((0, n_rows))]
        values: list[FloatArray] = [np.zeros((0, n_rows))]
        slots, start = [0], 0
        for k in factors:
            step = plan.sizes[k] if k in plan.dense else 1
            base = plan.offset[k] - plan.n_lead if k in plan.dense else start
            start += plan.counts[k]
            if k not in self.chosen:
                continue
            m = self.chosen.index(k)
            scaled = self.at.factors[k].T @ z[m]
            for codes, share in members[m]:
                wide = codes.astype(np.int64)
                where.append(np.where(wide >= 0, base + step * wide, -1)[None, :])
                values.append(scaled if share is None else scaled * share)
                slots.append(slots[-1] + len(scaled))
        nodes = np.ascontiguousarray(np.concatenate(where).T, dtype=np.int64)
        return nodes, np.array(slots), np.ascontiguousarray(np.concatenate(values).T)  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True, eq=False)
class SolvedSpread(LevelSpread):
    """Several factors of a model that is too large for exact elimination: one iterative solution for each combination.

    Attributes
    ----------
    at : state of the engine for large models.
    chosen : positions of the factors that are predicted with.
    """

    at: "IterativeConditional" = field(repr=False)
    chosen: tuple[int, ...]

    def variance(self, z: Sequence[FloatArray], members: Sequence[Members]) -> FloatArray:
        """The quadratic form of z at the row's levels, for every distinct one.

        Raises
        ------
        CrosslevelError : so many that it would take too long.
        """
        rows = [(k, codes, own if share is None else own * share)
                for k, own, levels in zip(self.chosen, z, members, strict=True) for codes, share in levels]  # fmt: skip
        keys = np.column_stack([part for _, codes, own in rows for part in (codes, own.T)])
        _, first, back = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        if len(first) > MOST_SOLUTIONS:
            raise CrosslevelError(
                f"`se` and `interval` take an iterative solution for each of {len(first)} distinct rows where "
                f"`random_effects` are predicted and algebra='iterative'; {MOST_SOLUTIONS} are the most at once. "
                "Predict fewer rows, use random_effects=False, or fit with algebra='exact'."
            )
        found = [self._solved(rows, first[a : a + BATCH]) for a in range(0, len(first), BATCH)]
        return np.asarray(np.concatenate(found)[back.reshape(-1)])

    def _solved(self, rows: Sequence[tuple[int, CodeArray, FloatArray]], chosen: IntArray) -> FloatArray:
        """Quadratic forms of some of the rows."""
        from crosslevel.likelihood.effects import solve_effects

        crossing = self.at.crossing
        image = tuple(np.zeros((*block.shape[:2], len(chosen))) for block in crossing.image)
        for k, codes, own in rows:
            for side, row in enumerate(chosen):
                if codes[row] >= 0:
                    image[k][codes[row], :, side] += own[:, row]
        return np.asarray(np.diag(solve_effects(self.at.schur, image)[2]))


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictionError:
    """Prediction errors with some of the grouping factors.

    Attributes
    ----------
    coordinates, bases : working coordinates of [X y], and for each chosen factor (q, q) T: its effects are T b.
    root : (p, p) C with C C' the covariance of beta, in working coordinates.
    sigma : residual standard deviation.
    psi : for each chosen factor (q, q) Lambda Lambda', in working coordinates.
    gains : for each chosen factor (J, q, p) K, in working coordinates.
    spread : covariances of its levels' effects given the data; None if no factor is chosen.
    """

    coordinates: Coordinates
    bases: tuple[FloatArray, ...]
    root: FloatArray
    sigma: float
    psi: tuple[FloatArray, ...]
    gains: tuple[FloatArray, ...] = field(repr=False)
    spread: LevelSpread | None = field(repr=False)

    @classmethod
    def of(cls, solution: Solution, chosen: Sequence[int], *, joint: bool = False) -> "PredictionError":
        """Prepare the prediction errors of a solution.

        Parameters
        ----------
        solution : the fitted model.
        chosen : positions of the grouping factors that are predicted with.
        joint : whether rows have several levels of one factor.
        """
        criterion = solution.criterion
        return cls(
            coordinates=criterion.coordinates,
            bases=tuple(criterion.bases[k] for k in chosen),
            root=_root(solution),
            sigma=solution.sigma,
            psi=tuple(solution.at.factors[k] @ solution.at.factors[k].T for k in chosen),
            gains=tuple(_gains(solution.at, chosen)),
            spread=_spread(solution.at, tuple(chosen), joint=joint) if chosen else None,
        )

    def variance(self, x: FloatArray, z: Sequence[FloatArray], members: Sequence[Members]) -> FloatArray:
        """Variance (L,) of the prediction errors of rows.

        Parameters
        ----------
        x : (p, L) fixed columns.
        z, members : for each chosen factor (q, L) columns of the random effects, and the levels of the rows.
        """
        working, _, fixed = self.working(x, z, members)
        unknown = np.zeros(x.shape[1])
        for psi, own, levels in zip(self.psi, working, members, strict=True):
            unknown += np.einsum("al,ab,bl->l", own, psi, own) * repeated(levels, unknown=True)
        out: FloatArray = self.sigma**2 * unknown + np.sum((self.root.T @ fixed) ** 2, axis=0)
        if self.spread is not None:
            out = out + self.sigma**2 * self.spread.variance(working, members)
        return np.asarray(np.maximum(out, 0.0))

    def working(
        self, x: FloatArray, z: Sequence[FloatArray], members: Sequence[Members]
    ) -> tuple[list[FloatArray], FloatArray, FloatArray]:
        """Rows in working coordinates: z of each factor (q, L), x (p, L), and x - K'z (p, L); arguments as above."""
        working = [np.linalg.solve(basis.T, own) for basis, own in zip(self.bases, z, strict=True)]
        own_x = (x - self.coordinates.shift[:-1, None]) / self.coordinates.scale[:-1, None]
        rest = own_x.copy()
        for gain, own, levels in zip(self.gains, working, members, strict=True):
            for codes, share in levels:
                part = own if share is None else own * share
                for a in range(len(own)):
                    rest -= with_unknown(gain[:, a])[np.maximum(codes, -1)].T * part[a]
        return working, own_x, rest


def effects_of(solution: Solution, factor: int) -> FloatArray:
    """Conditional modes (J, q) of a factor's levels."""
    back = np.linalg.inv(solution.criterion.bases[factor])
    return np.asarray(solution.at.modes[factor] @ back.T * solution.criterion.coordinates.scale[-1])


def contribution(effects: FloatArray, z: FloatArray, members: Members) -> FloatArray:
    """What random effects (J, q) add to rows (L,) with columns z (q, L); levels that are unknown add nothing."""
    whole, out = with_unknown(effects), np.zeros(z.shape[1])
    for codes, share in members:
        part = np.einsum("lq,ql->l", whole[np.maximum(codes, -1)], z)
        out += part if share is None else part * share
    return out


def new_level_variance(solution: Solution, factor: int, z: FloatArray, members: Members) -> FloatArray:
    """Variance (L,) that levels of a factor, all of them as if they were unknown, add to rows: sigma^2 z'Psi z.

    Parameters
    ----------
    solution, factor : the fitted model, and the position of the factor.
    z : (q, L) columns of the random effects.
    members : levels of the rows.
    """
    half = solution.factors[factor].T @ z
    return np.asarray(solution.sigma**2 * np.einsum("al,al->l", half, half) * repeated(members, unknown=False))


def repeated(members: Members, *, unknown: bool) -> FloatArray:
    """Sum over levels of the square of how much rows (L,) have of each; of the unknown levels only, if so wanted."""
    out = np.zeros(len(members[0][0]))
    for codes, share in members:
        for others, other_share in members:
            same = (codes == others) & (codes < 0) if unknown else codes == others
            part = np.where(same, 1.0 if share is None else share, 0.0)
            out += part if other_share is None else part * other_share
    return out


def with_unknown(table: FloatArray) -> FloatArray:
    """A table by level (J, k) with zeros for an unknown one at its end, where -1 finds them."""
    return np.vstack([table, np.zeros(table.shape[1])])


def _root(solution: Solution) -> FloatArray:
    """C (p, p) with C C' the covariance of beta in working coordinates, times the scale of y."""
    if solution.parameter_vcov is None:
        return np.asarray(np.linalg.inv(solution.at.chol[:-1, :-1]).T * solution.sigma)
    # a sandwich may be singular
    coordinates: Coordinates = solution.criterion.coordinates
    size = np.sqrt(np.diag(solution.vcov))
    values, vectors = np.linalg.eigh(solution.vcov / np.outer(size, size))
    half = size[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(np.linalg.solve(coordinates.beta_map, half) * coordinates.scale[-1])


def _gains(at: object, chosen: Sequence[int]) -> list[FloatArray]:
    """K (J, q, p) of the chosen factors."""
    if not chosen:
        return []
    if isinstance(at, Conditional):
        return [at.factor @ (at.factor.T @ at.cross[:, :, :-1]) for _ in chosen]
    state = _several(at)
    if not isinstance(state, BlockedConditional):
        psi = [factor @ factor.T for factor in state.factors]
        return [psi[k] @ state.cross[k][:, :, :-1] for k in chosen]
    solved = state.factorised.plan.by_factor(state.solved)
    return [state.factors[k] @ solved[k][:, :, :-1] for k in chosen]


def _spread(at: object, chosen: tuple[int, ...], *, joint: bool) -> LevelSpread:
    """Covariances given the data: by level where one level is all that a row has, else jointly."""
    state = at if isinstance(at, Conditional) else _several(at)
    if isinstance(state, Conditional) or (isinstance(state, BlockedConditional) and len(chosen) == 1 and not joint):
        return OwnSpread(covariances=state.conditional_covariances()[chosen[0]])
    if isinstance(state, BlockedConditional):
        return JointSpread(at=state, chosen=chosen)
    return SolvedSpread(at=state, chosen=chosen)


def _several(at: object) -> "BlockedConditional | IterativeConditional":
    """The state of the engine for several factors."""
    from crosslevel.likelihood.iterative import IterativeConditional

    inner = at.inner if isinstance(at, ResidualConditional) else at
    assert isinstance(inner, BlockedConditional | IterativeConditional)
    return inner
