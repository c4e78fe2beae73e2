"""What refits leave behind, and what their numbers are called."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design import Design
from crosslevel.optimise import Status
from crosslevel.solve import Solution
from crosslevel.types import BoolArray, FloatArray, IntArray


class Outcome(IntEnum):
    """How a refit ended."""

    FITTED = 0
    UNIDENTIFIED = 1
    UNCONVERGED = 2
    REFUSED = 3
    SEPARATED = 4


REASONS = {
    Outcome.UNIDENTIFIED: "coefficients are not identified in the draw",
    Outcome.UNCONVERGED: "the search did not converge",
    Outcome.REFUSED: "the model cannot be fitted to the draw",
    Outcome.SEPARATED: "coefficients have no finite estimate in the draw",
}
"""Why a refit failed, in words."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Refits.

    Attributes
    ----------
    outcome : (B,) how each ended, an `Outcome`.
    values : (B, m) estimates in the order of `names_of`; NaN if it failed.
    std_errors : (B, p) of the coefficients.
    deviance : (B,) at the optimum.
    singular : (B,) whether some combination of the random effects of a factor has no variance.
    """

    outcome: IntArray
    values: FloatArray
    std_errors: FloatArray
    deviance: FloatArray
    singular: BoolArray

    def __len__(self) -> int:
        return len(self.outcome)

    @classmethod
    def of(cls, design: Design, solution: Solution) -> "Batch":
        """One refit, from its solution."""
        if solution.status is not Status.CONVERGED:
            return failed(Outcome.UNCONVERGED, len(names_of(design, solution)), len(solution.beta))
        return cls(
            outcome=np.array([Outcome.FITTED], dtype=np.int64),
            values=values_of(design, solution)[None],
            std_errors=np.sqrt(np.diag(solution.vcov))[None],
            deviance=np.array([solution.deviance]),
            singular=np.array([solution.is_singular]),
        )

    @classmethod
    def joined(cls, parts: Sequence["Batch"]) -> "Batch":
        """One after another."""
        return cls(
            outcome=np.concatenate([part.outcome for part in parts]),
            values=np.concatenate([part.values for part in parts]),
            std_errors=np.concatenate([part.std_errors for part in parts]),
            deviance=np.concatenate([part.deviance for part in parts]),
            singular=np.concatenate([part.singular for part in parts]),
        )

    def taken(self, order: IntArray) -> "Batch":
        """The refits at these positions, in this order."""
        return Batch(
            outcome=self.outcome[order],
            values=self.values[order],
            std_errors=self.std_errors[order],
            deviance=self.deviance[order],
            singular=self.singular[order],
        )


def failed(outcome: Outcome, m: int, p: int) -> Batch:
    """One refit that failed, of m numbers with p coefficients."""
    return Batch(
        outcome=np.array([outcome], dtype=np.int64),
        values=np.full((1, m), np.nan),
        std_errors=np.full((1, p), np.nan),
        deviance=np.array([np.nan]),
        singular=np.array([False]),
    )


def names_of(design: Design, solution: Solution) -> tuple[str, ...]:
    """Names of all that is estimated: coefficients, standard deviations, correlations, sigma, residual parameters."""
    out = list(design.fixed_names)
    for factor in design.factors:
        effects = design.effects_of(factor)
        out += [f"sd({effects[i]}|{factor.name})" for i in estimated_effects(factor.structure)]
        out += [f"cor({effects[i]},{effects[j]}|{factor.name})" for i, j in estimated_pairs(factor.structure)]
    out += ["sigma"] if solution.criterion.sigma is None else []
    return (*out, *(name for name, _ in _residual(design, solution)))


def values_of(design: Design, solution: Solution) -> FloatArray:
    """The estimates (m,) of a solution, in the order of `names_of`."""
    parts = [solution.beta]
    for factor, own in zip(design.factors, solution.factors, strict=True):
        parts.append(spreads(solution.sigma**2 * (own @ own.T)[None], factor.structure)[0])
    parts += [np.array([solution.sigma])] if solution.criterion.sigma is None else []
    return np.concatenate([*parts, np.array([value for _, value in _residual(design, solution)])])


def spreads(covariance: FloatArray, structure: BlockStructure) -> FloatArray:
    """Standard deviations and correlations (B, m) from covariances (B, q, q); NaN beside a standard deviation of 0."""
    sd = np.sqrt(np.einsum("bii->bi", covariance))
    pairs = estimated_pairs(structure)
    i, j = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    size = sd[:, i] * sd[:, j]
    correlation = np.full(size.shape, np.nan)
    np.divide(covariance[:, i, j], size, out=correlation, where=size > 0.0)
    return np.concatenate([sd[:, estimated_effects(structure)], np.clip(correlation, -1.0, 1.0)], axis=1)


def estimated_effects(structure: BlockStructure) -> list[int]:
    """Positions of the random effects whose variance is not known."""
    return [int(i) for i in np.flatnonzero(~structure.fixed)]


def estimated_pairs(structure: BlockStructure) -> list[tuple[int, int]]:
    """Pairs of random effects that may be correlated, unless their covariance is known."""
    free = ~structure.fixed
    return [(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(structure.mask, 1)), strict=True) if free[i]]


def _residual(design: Design, solution: Solution) -> list[tuple[str, float]]:
    """Names and values of the parameters of a residual structure, in its own terms."""
    if design.residual is None:
        return []
    parts = solution.criterion.residual.natural(solution.phi, float(np.log(solution.sigma)))
    return [(part.name, float(part.estimate)) for part in parts]
