"""Likelihood-ratio tests by simulation: in the finite sample for one variance, by refitting for the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.design import Design
from crosslevel.design.reduced import Reduced
from crosslevel.design.submodel import Kept, part_of_reduced, parts_of
from crosslevel.errors import CrosslevelError, DesignError
from crosslevel.inference.bootstrap.run import Reporter
from crosslevel.inference.exact_lrt import (
    Spectrum,
    exceedance,
    simulate_statistics,
    spectrum_of_crossing,
    spectrum_of_reduced,
)
from crosslevel.inference.null_draws import NullDraws
from crosslevel.inference.removal import removal
from crosslevel.likelihood.profiled import ProfiledDeviance
from crosslevel.optimise import Status
from crosslevel.solve import Solution, solve
from crosslevel.solve.one_factor import starting_theta
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
    refitted: Callable[[np.random.Generator], Refitted],
    statistic: float,
    *,
    n: int,
    rng: np.random.Generator,
    progress: bool,
) -> SimulatedTest:
    """Parametric bootstrap: outcomes are drawn from the smaller model at its estimates, and both models are refitted.

    Refits that end in an error are counted and left out; those whose search did not converge are counted and kept.

    Parameters
    ----------
    refitted : draws an outcome and gives its statistic; see `from_products` and `from_rows`.
    statistic : the one observed.
    n, rng : how many outcomes, and where they come from.
    progress : whether to report, on the standard error stream, how far it has come.

    Raises
    ------
    CrosslevelError : outcomes cannot be drawn (weights), or more than 5 % of the refits failed.
    """
    found: list[Refitted] = []
    failed, last = 0, ""
    reporter = Reporter(n=n, shown=progress)
    try:
        for _ in range(n):
            try:
                found.append(refitted(rng))
            except DesignError as error:
                failed, last = failed + 1, str(error)
            reporter.add(1)
            reporter.show()
    finally:
        reporter.end()
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


def from_rows(
    small: "MixedFit", refitted: Callable[[FloatArray], Refitted]
) -> Callable[[np.random.Generator], Refitted]:
    """Statistics of outcomes that are drawn row by row from the smaller model."""
    return lambda rng: refitted(np.asarray(small.simulate(seed=rng), dtype=np.float64))


def draws_products(design: Design) -> bool:
    """Whether outcomes can be drawn as cross-products: one grouping factor, independent residuals of one variance."""
    plain = design.is_single and design.residual is None and not design.structure.fixed.any()
    return plain and not design.is_sampled and bool(np.all(design.products.multiplicity == 1.0))


def from_products(
    design: Design, kept: Kept, factor: FloatArray, *, reml: bool, max_steps: int
) -> Callable[[np.random.Generator], Refitted]:
    """Statistics of outcomes that are drawn as cross-products from the model with some of a design's effects.

    Parameters
    ----------
    design : the larger model, with one grouping factor.
    kept : the effects of the smaller model.
    factor : (q, q) Lambda of its fit in the units of the data, zero for effects that it lacks.
    reml, max_steps : as in the fits.
    """
    reduced = design.reduced
    draws = NullDraws.of(reduced, reduced.basis @ factor)
    parts = parts_of((design.structure,), kept)

    def refitted(rng: np.random.Generator) -> Refitted:
        drawn = draws.draw(rng)
        large = _from_one_start(drawn, reml=reml, max_steps=max_steps)
        if parts:
            small = _from_one_start(part_of_reduced(drawn, parts[0]), reml=reml, max_steps=max_steps)
            return Refitted.of(small, large)
        without = ProfiledDeviance(reduced=drawn, reml=reml).at_factor(np.zeros_like(factor)).deviance
        statistic = max(without - large.deviance, 0.0)
        return Refitted(statistic=statistic, converged=large.status is Status.CONVERGED)

    return refitted


def _from_one_start(reduced: Reduced, *, reml: bool, max_steps: int) -> Solution:
    """A fit from the first of the usual starts, unless structures tie the effects, whose minima are often several."""
    start = None
    if reduced.structure.additive.all():
        start = starting_theta(ProfiledDeviance(reduced=reduced, reml=reml))
    return solve(reduced, reml=reml, start=start, max_steps=max_steps)
