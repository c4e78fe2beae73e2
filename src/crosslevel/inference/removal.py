"""What is tested when random effects are taken out of a model, and how much the data tell about it."""

from dataclasses import dataclass, replace

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.covariance.base import Covariance
from crosslevel.design import Design
from crosslevel.design.submodel import Kept
from crosslevel.inference.lrt import Blocks, BoundaryTest, boundary_test, needs_metric
from crosslevel.likelihood.profiled import ProfiledDeviance
from crosslevel.solve import Solution
from crosslevel.solve.submodel import Submodel
from crosslevel.types import BoolArray, FloatArray, IntArray

LEAST = 1e-8
"""Least eigenvalue of a standardised information matrix: below, the variances cannot be told apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Removal:
    """Parameters that go when random effects are taken out.

    Attributes
    ----------
    blocks : variances that go, see `lrt.boundary_test`.
    free : covariances with effects that stay.
    df : parameters in all.
    tied : whether a block goes as a whole whose structure ties its effects.
    bound : whether its cone has more parameters than the structure, so that a p-value by the cone is an upper bound.
    """

    blocks: Blocks
    free: int
    df: int
    tied: bool
    bound: bool

    @property
    def needs_metric(self) -> bool:
        """Whether the mixture depends on information that is known."""
        return needs_metric(self.blocks) and not self.tied


def removal(structures: tuple[BlockStructure, ...], kept: Kept) -> Removal:
    """Count what goes when of each grouping factor some effects stay; blocks that tie their effects go as a whole."""
    blocks: list[tuple[int, bool]] = []
    free = df = 0
    tied = bound = False
    for structure, effects in zip(structures, kept, strict=True):
        for kind, columns in zip(structure.kinds, structure.columns, strict=True):
            stay, gone = _split(columns, effects)
            if not len(gone) or kind.fixed:
                continue
            df += kind.n_theta(len(columns)) - (kind.n_theta(len(stay)) if len(stay) else 0)
            if is_separable(kind):
                blocks.append((len(gone), kind.free))
                free += len(stay) * len(gone) if kind.free else 0
            else:
                blocks.append(kind.cone(len(columns)))
                tied = True
                bound |= _exceeds(kind, len(columns))
    return Removal(blocks=tuple(blocks), free=free, df=df, tied=tied, bound=bound)


def is_separable(kind: Covariance) -> bool:
    """Whether effects can be taken out of a block one by one: variances and covariances are free of each other."""
    return kind.additive and kind.scalable


def _exceeds(kind: Covariance, q: int) -> bool:
    """Whether the cone around a structure has more parameters than the structure."""
    size, together = kind.cone(q)
    return (size * (size + 1) // 2 if together else size) > kind.n_theta(q)


def _split(columns: IntArray, effects: tuple[int, ...]) -> tuple[IntArray, IntArray]:
    """The effects of a block that stay, and those that go."""
    inside = np.isin(columns, effects)
    return columns[inside], columns[~inside]


def removal_test(design: Design, solution: Solution, submodel: Submodel, *, reml: bool) -> BoundaryTest:
    """Likelihood-ratio test of a model against one with fewer random effects and the same fixed part."""
    structures = tuple(factor.structure for factor in design.factors)
    what = removal(structures, submodel.kept)
    metric = None
    if what.needs_metric:
        factors = submodel.factors(solution)
        metric = information_of(design, solution, submodel.kept, factors, submodel.solution.phi, reml=reml)
    return boundary_test(
        submodel.solution.deviance - solution.deviance, what.blocks, free=what.free, metric=metric,
        n_parameters=what.df, bound=what.bound,
    )  # fmt: skip


def information_of(
    design: Design,
    solution: Solution,
    kept: Kept,
    factors: tuple[FloatArray, ...],
    phi: FloatArray,
    *,
    reml: bool,
) -> FloatArray | None:
    """Information (k, k) on the variances (and covariances among them) that go, at the fit without them.

    The variances and covariances that stay, the covariances between those that stay and those that go, and sigma are
    profiled out. With one grouping factor it is the expected information in Psi; with several the average information,
    which depends on the outcome; parameters of a residual structure are taken as known. None if it is not positive
    definite, and where other covariances are known, whose size relative to sigma changes with it.

    Parameters
    ----------
    design, solution : the larger model and its fit.
    kept : for each factor the effects that stay.
    factors : for each factor (q, q) Lambda of the fit without the others, in the units of the data.
    phi : (m,) parameters of the residual structure there.
    reml : restricted rather than full likelihood.
    """
    if any(factor.structure.fixed.any() for factor in design.factors):
        return None
    structures = tuple(factor.structure for factor in design.factors)
    both, mine = tested_directions(structures, _bases(design, solution), kept, factors)
    return profiled_information(_information(design, solution, both, factors, phi, reml=reml), mine)


def tested_directions(
    structures: tuple[BlockStructure, ...],
    bases: tuple[FloatArray, ...],
    kept: Kept,
    factors: tuple[FloatArray, ...],
) -> tuple[tuple[FloatArray, ...], BoolArray]:
    """Changes of working Psi that are possible when some effects may come back, and which of them are tested.

    Parameters
    ----------
    structures, bases : for each factor of the larger model its blocks, and (q, q) T.
    kept, factors : see `information_of`.

    Returns
    -------
    changes : for each factor (m_k, q, q).
    tested : (m,) whether each is a variance or covariance of effects that go.
    """
    pairs = [
        _directions(structure, basis, effects, lower)
        for structure, basis, effects, lower in zip(structures, bases, kept, factors, strict=True)
    ]
    mine = np.concatenate([np.arange(len(a) + len(b)) < len(a) for a, b in pairs])
    return tuple(np.concatenate([a, b]) for a, b in pairs), mine


def profiled_information(information: FloatArray, mine: BoolArray) -> FloatArray | None:
    """Information (k, k) on some of m parameters with the others profiled out; None if it is not positive definite.

    Parameters
    ----------
    information : (m, m) on all.
    mine : (m,) which are wanted.
    """
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    information = information / np.outer(scale, scale)
    own, cross, rest = (information[np.ix_(a, b)] for a, b in ((mine, mine), (~mine, mine), (~mine, ~mine)))
    out = own - cross.T @ np.linalg.lstsq(rest, cross, rcond=1e-10)[0]
    if not np.all(np.isfinite(out)) or np.linalg.eigvalsh(out)[0] < LEAST:
        return None
    return np.asarray(0.5 * (out + out.T) * np.outer(scale[mine], scale[mine]))


def _directions(
    structure: BlockStructure, basis: FloatArray, effects: tuple[int, ...], lower: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Changes (m, q, q) of working Psi: those that are tested, and all others that are possible.

    They are unit matrices there where the effects that stay are the same in both coordinates. They are not where slopes
    have lost the intercept that took up their shift: then they are those of the data, carried over.
    """
    q = structure.q
    tested: list[FloatArray] = []
    others: list[FloatArray] = []
    for kind, columns in zip(structure.kinds, structure.columns, strict=True):
        stay, gone = _split(columns, effects)
        if is_separable(kind):
            shifted = bool(np.any(basis[np.ix_(gone, stay)]))
            turn = basis if shifted else np.eye(q)
            tested += [turn @ some @ turn.T for some in _symmetric(q, gone, gone, together=kind.free)]
            others += [turn @ some @ turn.T for some in _symmetric(q, stay, stay, together=kind.free)]
            others += [turn @ _pair(q, i, j) @ turn.T for i in stay for j in gone] if kind.free else []
        elif len(stay):
            own = lower[np.ix_(columns, columns)]
            half = kind.factor_gradient(kind.nearest(own), len(columns)) @ own.T
            whole = np.zeros((len(half), q, q))
            whole[:, columns[:, None], columns] = half + half.transpose(0, 2, 1)
            others += list(basis @ whole @ basis.T)
    return np.array(tested).reshape(-1, q, q), np.array(others).reshape(-1, q, q)


def _symmetric(q: int, rows: IntArray, columns: IntArray, *, together: bool) -> list[FloatArray]:
    """Changes of the variances of some effects, and if they vary together of their covariances, row by row."""
    return [_pair(q, i, j) for i in rows for j in columns if (i <= j if together else i == j)]


def _pair(q: int, i: int, j: int) -> FloatArray:
    """Change (q, q) of one variance or covariance."""
    out = np.zeros((q, q))
    out[i, j] = out[j, i] = 1.0
    return out


def _bases(design: Design, solution: Solution) -> tuple[FloatArray, ...]:
    """For each factor (q, q) T: working effects are T b, before any rotation by the search."""
    if design.residual is not None:
        bases: tuple[FloatArray, ...] = solution.criterion.bases
        return bases
    return (design.reduced.basis,) if design.is_single else design.crossing.basis


def _information(
    design: Design,
    solution: Solution,
    directions: tuple[FloatArray, ...],
    factors: tuple[FloatArray, ...],
    phi: FloatArray,
    *,
    reml: bool,
) -> FloatArray:
    """Information (m, m) in directions (m_k, q, q) of each factor's working Psi, at any Lambda in data units."""
    bases = _bases(design, solution)
    working = tuple(basis @ factor for basis, factor in zip(bases, factors, strict=True))
    if design.is_single and design.residual is None:
        at = ProfiledDeviance(reduced=design.reduced, reml=reml).at_factor(working[0])
        return at.psi_derivatives.information(directions[0])
    from crosslevel.likelihood.blocked import BlockedConditional, BlockedDeviance
    from crosslevel.likelihood.blocked_theta import average_information

    if design.residual is None:
        inner: BlockedConditional = BlockedDeviance.of(design.crossing, reml=reml).at_factors(working)
    else:
        inner = replace(solution.criterion, held=phi).at_factors(working).inner
    return average_information(inner, directions)
