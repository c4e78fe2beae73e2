"""Likelihood-ratio tests by simulation: in the finite sample for one variance, by refitting for the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.design import Design
from crosslevel.design.submodel import Kept
from crosslevel.errors import CrosslevelError
from crosslevel.inference.exact_lrt import (
    Spectrum,
    exceedance,
    simulate_statistics,
    spectrum_of_crossing,
    spectrum_of_reduced,
)
from crosslevel.inference.removal import removal
from crosslevel.optimise import Status
from crosslevel.solve import Solution
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit

FAILURES = 0.05
"""Share of refits that may fail: with more, the p-value would be of other samples than the model's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedTest:
    """A p-value by simulation.

    Attributes
    ----------
    p_value, p_error : (1 + draws that reach the statistic) / (1 + draws), and its Monte-Carlo standard error.
    draws : simulations that count.
    failed : refits that ended in an error, and are left out.
    unconverged : refits that count but whose search for the optimum did not end at one.
    reference : what was simulated, in words.
    """

    p_value: float
    p_error: float
    draws: int
    failed: int
    unconverged: int
    reference: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Refitted:
    """Statistic of one simulated outcome, and whether both fits converged."""

    statistic: float
    converged: bool

    @classmethod
    def of(cls, small: Solution, large: Solution, *, basis: float = 0.0) -> "Refitted":
        """Difference of the deviances of two fits, less that of log|X'X| where their columns are scaled otherwise."""
        converged = small.status is Status.CONVERGED and large.status is Status.CONVERGED
        return cls(statistic=max(small.deviance - large.deviance - basis, 0.0), converged=converged)


def why_not_exact(design: Design, kept: Kept) -> str | None:
    """Why the finite-sample distribution is not known when these effects stay, in words; None if it is."""
    what = removal(tuple(factor.structure for factor in design.factors), kept)
    if what.df != 1 or what.free:
        return f"{what.df} covariance parameters are tested, and it is for one variance without covariances"
    if design.residual is not None:
        return f"residuals have a structure ({design.residual.words}), and it is for independent ones of one variance"
    if any(factor.structure.fixed.any() for factor in design.factors):
        return "covariances of other random effects are known, and it is for independent residuals of one variance"
    return None


def exact_test(
    design: Design,
    kept: Kept,
    statistic: float,
    *,
    reml: bool,
    n: int,
    rng: np.random.Generator,
    n_fixed: int = 0,
) -> SimulatedTest:
    """Finite-sample test of the one variance that goes when these effects stay; see `inference.exact_lrt`."""
    draws = simulate_statistics(_spectrum(design, kept), n, rng, reml=reml, n_fixed=n_fixed)
    p_value, p_error = exceedance(draws, statistic)
    others = any(kept)
    reference = "finite sample, other random effects taken as known" if others else "finite sample"
    return SimulatedTest(p_value=p_value, p_error=p_error, draws=n, failed=0, unconverged=0, reference=reference)


def _spectrum(design: Design, kept: Kept) -> Spectrum:
    """Eigenvalues for the block of effects that goes."""
    for k, (factor, effects) in enumerate(zip(design.factors, kept, strict=True)):
        for kind, columns in zip(factor.structure.kinds, factor.structure.columns, strict=True):
            if columns[0] in effects:
                continue
            half = kind.factor(np.ones(1), len(columns))
            if design.is_single:
                return spectrum_of_reduced(design.reduced, columns, half)
            return spectrum_of_crossing(design.crossing, k, columns, half)
    raise AssertionError("something goes")


def bootstrap_test(
    small: "MixedFit",
    refitted: Callable[[FloatArray], Refitted],
    statistic: float,
    *,
    n: int,
    rng: np.random.Generator,
) -> SimulatedTest:
    """Parametric bootstrap: outcomes are drawn from the smaller model at its estimates, and both models are refitted.

    Refits that end in an error are counted and left out; those whose search did not converge are counted and kept.

    Parameters
    ----------
    small : the fit under the null hypothesis.
    refitted : statistic of an outcome (rows used,).
    statistic : the one observed.
    n, rng : how many outcomes, and where they come from.

    Raises
    ------
    CrosslevelError : outcomes cannot be drawn (weights), or more than 5 % of the refits failed.
    """
    found: list[Refitted] = []
    failed, last = 0, ""
    for _ in range(n):
        y = np.asarray(small.simulate(seed=rng), dtype=np.float64)
        try:
            found.append(refitted(y))
        except CrosslevelError as error:
            failed, last = failed + 1, str(error)
    if failed > FAILURES * n:
        raise CrosslevelError(
            f"`test` is 'bootstrap', but {failed} of {n} refits failed, the last one with: {last} "
            "Simplify the random effects."
        )
    p_value, p_error = exceedance(np.array([each.statistic for each in found]), statistic)
    return SimulatedTest(
        p_value=p_value, p_error=p_error, draws=len(found), failed=failed,
        unconverged=sum(not each.converged for each in found), reference="parametric bootstrap",
    )  # fmt: skip
