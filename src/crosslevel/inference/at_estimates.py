"""Residuals and random effects of many outcomes at one theta: the linear map that a fitted model is.

At the estimates of theta (and of the residual structure) everything is linear in the outcome. With rows whitened by
R^-1/2, M = I + Lambda'Z'Z Lambda over all factors and U_v = M^-1 Lambda'Z'v,

    betahat = (X'V^-1 X)^-1 X'V^-1 y,   X'V^-1 v = X'v - (Lambda'Z'X)'U_v,
    bhat = Lambda (U_y - U_X betahat),  e = y - X betahat - Z bhat.

M is factorised once, so that an outcome costs one pass over its rows: an envelope of 200 outcomes takes as long as
looking at the data 200 times, and no search is made.

Source: Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), equations 15-22.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from crosslevel.design import Design
from crosslevel.inference.bootstrap.rows import ModelRows
from crosslevel.inference.prediction import Members
from crosslevel.likelihood.blocked_state import BlockedConditional
from crosslevel.likelihood.profiled import Conditional
from crosslevel.likelihood.residual import ResidualConditional
from crosslevel.solve import Solution
from crosslevel.types import FloatArray, IntArray

Solver = Callable[[tuple[FloatArray, ...]], tuple[FloatArray, ...]]
"""M^-1 Lambda't for t (J, q, s) of each factor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Refitted:
    """What a model at one theta makes of an outcome.

    Attributes
    ----------
    residuals : (n,) of the rows used, in their order, whitened and over sigma; independent N(0, 1) but for estimation.
    modes : for each factor (J, q) conditional modes, in the units of the data.
    """

    residuals: FloatArray
    modes: tuple[FloatArray, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class AtEstimates:
    """A linear mixed model at its estimates of theta.

    Attributes
    ----------
    x : (p, n) whitened fixed columns, in working coordinates and in the order of `order`.
    z : for each factor (q, n) likewise.
    members : for each factor the levels of these rows.
    n_levels : for each factor J.
    whiten : B^-1 of rows (m, n) in the order of `order`.
    order : (n,) which of the rows used stand where.
    factors : for each factor (q, q) Lambda in working coordinates.
    back : for each factor (q, q) from working random effects to those of the data.
    solver : M^-1 Lambda't.
    sigma : residual standard deviation.
    """

    x: FloatArray = field(repr=False)
    z: tuple[FloatArray, ...] = field(repr=False)
    members: tuple[Members, ...] = field(repr=False)
    n_levels: tuple[int, ...]
    whiten: Callable[[FloatArray], FloatArray] = field(repr=False)
    order: IntArray = field(repr=False)
    factors: tuple[FloatArray, ...] = field(repr=False)
    back: tuple[FloatArray, ...] = field(repr=False)
    solver: Solver = field(repr=False)
    sigma: float
    of_x: tuple[FloatArray, ...] = field(repr=False)
    solved_x: tuple[FloatArray, ...] = field(repr=False)
    information: FloatArray = field(repr=False)

    @classmethod
    def of(cls, design: Design, solution: Solution) -> "AtEstimates":
        """Read the rows and factorise M.

        Parameters
        ----------
        design, solution : a linear mixed model that was solved by exact algebra, without sampling weights.
        """
        rows, criterion, at = ModelRows.of(design), solution.criterion, solution.at
        coordinates = criterion.coordinates
        whiten, order = _whitening(design, solution)
        x = whiten(((rows.x - coordinates.shift[:-1, None]) / coordinates.scale[:-1, None])[:, order])
        pairs = zip(criterion.bases, rows.z, strict=True)
        z = tuple(np.ascontiguousarray(whiten(np.linalg.solve(basis.T, own)[:, order])) for basis, own in pairs)
        members = tuple(_ordered(own, order) for own in rows.members)
        n_levels = tuple(factor.n_levels for factor in design.factors)
        of_x = _products(z, members, n_levels, x)
        solver = _solver(at, z, members, n_levels)
        solved_x = solver(of_x)
        scaled = [part @ factor for part, factor in zip(_turned(of_x), at.factors, strict=True)]
        information = x @ x.T - _inner(scaled, solved_x)
        back = tuple(np.linalg.inv(basis) for basis in criterion.bases)
        return cls(
            x=x, z=z, members=members, n_levels=n_levels, whiten=whiten, order=order, factors=tuple(at.factors),
            back=back, solver=solver, sigma=solution.sigma, of_x=tuple(scaled), solved_x=solved_x,
            information=information,
        )  # fmt: skip

    def refitted(self, y: FloatArray) -> Refitted:
        """Residuals and modes of an outcome.

        Parameters
        ----------
        y : (n,) of the rows used, less the offset, in the units of the data.
        """
        own = self.whiten(y[self.order][None, :])
        solved = self.solver(_products(self.z, self.members, self.n_levels, own))
        score = (self.x @ own.T)[:, 0] - _inner(self.of_x, solved)[:, 0]
        beta = np.linalg.solve(self.information, score)
        rest, modes = own[0] - beta @ self.x, []
        for k, factor in enumerate(self.factors):
            effects = (solved[k][:, :, 0] - self.solved_x[k] @ beta) @ factor.T
            rest = rest - _spread(effects, self.z[k], self.members[k])
            modes.append(effects @ self.back[k].T)
        residuals = np.empty(len(rest))
        residuals[self.order] = rest / self.sigma
        return Refitted(residuals=residuals, modes=tuple(modes))


def _whitening(design: Design, solution: Solution) -> tuple[Callable[[FloatArray], FloatArray], IntArray]:
    """B^-1, and the order of rows it wants."""
    order = np.arange(design.rows.used)
    if design.residual is not None:
        residual = solution.criterion.residual
        return residual.at(solution.phi).whiten, residual.order
    weights = design.weights
    if weights is not None and weights.is_precision and weights.rows is not None:
        root = np.sqrt(weights.rows)
        return (lambda rows: rows * root), order
    return (lambda rows: rows), order


def _ordered(members: Members, order: IntArray) -> Members:
    """Levels of rows in another order."""
    return tuple((codes[order], None if share is None else share[order]) for codes, share in members)


def _products(
    z: tuple[FloatArray, ...], members: tuple[Members, ...], n_levels: tuple[int, ...], rows: FloatArray
) -> tuple[FloatArray, ...]:
    """Z'v (J, q, s) of each factor, for columns v (s, n)."""
    out = []
    for own, levels, count in zip(z, members, n_levels, strict=True):
        total = np.zeros((count, len(own), len(rows)))
        for codes, share in levels:
            known = codes >= 0
            whole = bool(np.all(known))
            for a, column in enumerate(own):
                part = column if share is None else column * share
                for s, row in enumerate(rows):
                    values = part * row
                    total[:, a, s] += (
                        np.bincount(codes, values, count) if whole else np.bincount(codes[known], values[known], count)
                    )
        out.append(total)
    return tuple(out)


def _spread(effects: FloatArray, z: FloatArray, members: Members) -> FloatArray:
    """Z b (n,) of one factor."""
    whole, out = np.vstack([effects, np.zeros(effects.shape[1])]), np.zeros(z.shape[1])
    for codes, share in members:
        part = np.einsum("nq,qn->n", whole[np.maximum(codes, -1)], z)
        out += part if share is None else part * share
    return out


def _turned(parts: tuple[FloatArray, ...]) -> list[FloatArray]:
    """(J, q, s) as (J, s, q)."""
    return [part.transpose(0, 2, 1) for part in parts]


def _inner(left: Sequence[FloatArray], right: Sequence[FloatArray]) -> FloatArray:
    """Sum over factors and levels of (J, p, q) times (J, q, s): (p, s); 0 without factors."""
    out: FloatArray = np.zeros((1, 1))
    for one, other in zip(left, right, strict=True):
        out = out + np.einsum("gpq,gqs->ps", one, other)
    return out


def _solver(at: object, z: tuple[FloatArray, ...], members: tuple[Members, ...], n_levels: tuple[int, ...]) -> Solver:
    """M^-1 Lambda't by the factorisation that the engine of the model has."""
    inner = at.inner if isinstance(at, ResidualConditional) else at
    if isinstance(inner, BlockedConditional):
        factorised, factors = inner.factorised, inner.factors

        def several(parts: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
            scaled = factorised.plan.scaled(parts, factors, parts[0].shape[2])
            return factorised.plan.by_factor(factorised.backward(factorised.forward(scaled)))

        return several if factors else (lambda parts: ())
    assert isinstance(inner, Conditional)
    (factor,) = inner.factors
    (gram,) = _grams(z, members, n_levels)
    inverse = np.linalg.inv(np.eye(len(factor)) + factor.T @ gram @ factor) @ factor.T
    return lambda parts: (inverse @ parts[0],)


def _grams(
    z: tuple[FloatArray, ...], members: tuple[Members, ...], n_levels: tuple[int, ...]
) -> tuple[FloatArray, ...]:
    """Z'Z (J, q, q) of each factor."""
    return tuple(
        _products((own,), (levels,), (count,), own)[0] for own, levels, count in zip(z, members, n_levels, strict=True)
    )
