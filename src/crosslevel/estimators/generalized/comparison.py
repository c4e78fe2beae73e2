"""Likelihood-ratio test of two fitted generalized models."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.generalized.likelihoods import refitter, refuse_sampled, require_likelihood
from crosslevel.estimators.generalized.random_tests import LINEAR, null_metric, refuse_prior
from crosslevel.inference.lrt import BoundaryTest, boundary_test
from crosslevel.inference.removal import Removal, removal

if TYPE_CHECKING:
    from crosslevel.estimators.comparison import LikelihoodRatioTest
    from crosslevel.estimators.nesting import Nesting
    from crosslevel.estimators.simulated_tests import SimulatedTest

WIDER = {"poisson": ("nbinom2", "nbinom1"), "binomial": ("betabinomial",)}
"""Families of which one is the limit of others where a dispersion is at the end of its range."""


def lrtest_of_families(
    small: GeneralizedFit, large: GeneralizedFit, test: str, n: int | None, seed: int | None
) -> "LikelihoodRatioTest":
    """What `lrtest` answers for fits of other families than the normal one; see there."""
    from crosslevel.estimators.comparison import LikelihoodRatioTest, concerns, mixture_in_words
    from crosslevel.estimators.nesting import nesting

    draws = _checked(small, large, test, n)
    between, edges = nesting(small, large), _dispersions(small, large)
    what = removal(tuple(factor.structure for factor in large.design.factors), between.kept)
    df = between.n_fixed + between.free + edges + what.df
    if df == 0:
        raise CrosslevelError("`lrtest` needs a second model with more parameters; these two are the same model.")
    small, large, notes = _by_same_approximation(small, large)
    difference = small.deviance - large.deviance
    mixture = _mixture(small, large, between, what, edges, difference, df)
    simulated = _simulated(small, large, mixture, draws, seed) if test == "bootstrap" else None
    return LikelihoodRatioTest(
        statistic=mixture.statistic, df=df, naive_p_value=mixture.naive_p_value, weights=mixture.weights,
        p_value=mixture.p_value if simulated is None else simulated.p_value,
        reference=mixture_in_words(mixture, what) if simulated is None else simulated.reference,
        method="ml", small=small, large=large, p_error=None if simulated is None else simulated.p_error,
        draws=0 if simulated is None else simulated.draws, failed=0 if simulated is None else simulated.failed,
        unconverged=0 if simulated is None else simulated.unconverged, statistic_error=0.0,
        notes=notes + concerns(small, large, difference),
    )  # fmt: skip


def _checked(small: GeneralizedFit, large: GeneralizedFit, test: str, n: int | None) -> int:
    """Number of simulations; refuses fits without likelihoods, tests of linear models, models in the wrong order."""
    from crosslevel.estimators.comparison import require_order
    from crosslevel.estimators.random_tests import check_draws

    for fit in (small, large):
        require_likelihood(fit, "`lrtest`")
        refuse_sampled(fit, "`lrtest`", "Test coefficients by `fit.tests()`, and judge variances by `fit.varcomp()`.")
        refuse_prior(fit, "`lrtest`")
    if test in LINEAR:
        raise CrosslevelError(
            f"`test` is {test!r}, which rests on {LINEAR[test]}; other families have none. Use 'mixture' or "
            "'bootstrap'."
        )
    if test not in ("mixture", "bootstrap"):
        raise CrosslevelError(f"`test` is 'mixture' or 'bootstrap'; got {test!r}.")
    require_order(small, large)
    return check_draws(test, n)


def _dispersions(small: GeneralizedFit, large: GeneralizedFit) -> int:
    """Dispersions that the smaller model's family fixes at the end of their range.

    Raises
    ------
    CrosslevelError : the families are not nested.
    """
    mine, theirs = small.family, large.family
    if type(mine) is type(theirs) and mine.link == theirs.link and mine.code == theirs.code:
        if small.outcome.categories != large.outcome.categories:
            raise CrosslevelError("`lrtest` compares likelihoods of one outcome; these have different categories.")
        return 0
    if theirs.name in WIDER.get(mine.name, ()) and mine.link == theirs.link:
        return 1
    raise CrosslevelError(
        f"`lrtest` needs a first model that is a special case of the second, and their families are "
        f"{mine.description} and {theirs.description}. Compare them by AIC or BIC (`fit.aic`, `fit.bic`)."
    )


def _by_same_approximation(
    small: GeneralizedFit, large: GeneralizedFit
) -> tuple[GeneralizedFit, GeneralizedFit, tuple[str, ...]]:
    """Both fits by one approximation of the likelihood, and what was done for it.

    Where one of them is by the Laplace approximation because quadrature is not possible, with several grouping factors
    or many random effects, both are; else both have the larger number of nodes. Without random effects there is nothing
    to approximate.
    """
    from crosslevel.solve.generalized.quadrature import MOST_EFFECTS, is_possible

    one, other = small.quadrature.nodes, large.quadrature.nodes
    if one == other:
        return small, large, ()
    possible = all(is_possible(fit.solution.criterion.rows) for fit in (small, large))
    nodes = max(one, other) if possible else 1
    done = [_with_nodes(fit, nodes) for fit in (small, large)]
    note = (
        f"The fits had {one} and {other} quadrature nodes: both were compared with {nodes}."
        if nodes > 1
        else "Both were compared by the Laplace approximation, the only one for several grouping factors or more than "
        f"{MOST_EFFECTS} random effects."
    )
    return done[0], done[1], (note,)


def _with_nodes(fit: GeneralizedFit, nodes: int) -> GeneralizedFit:
    """The same model with another number of quadrature nodes, fitted from the estimates on."""
    from crosslevel.solve.generalized.solve import solve_generalized

    if fit.quadrature.nodes == nodes:
        return fit
    solution = fit.solution
    again = solve_generalized(
        solution.criterion.rows, quadrature=nodes, start=solution.parameters, max_steps=int(fit.given["max_steps"])
    )
    return replace(fit, given={**fit.given, "quadrature": nodes}, solution=again)


def _mixture(
    small: GeneralizedFit, large: GeneralizedFit, between: "Nesting", what: Removal, edges: int, difference: float,
    df: int,
) -> BoundaryTest:  # fmt: skip
    """The test by its asymptotic mixture."""
    metric = None
    if what.needs_metric and not edges:
        factors = between.factors(small.solution.factors, large.solution.factors)
        metric = null_metric(large, between.kept, factors, small.solution)
    return boundary_test(
        difference, what.blocks + ((1, False),) * edges, free=between.n_fixed + between.free + what.free, metric=metric,
        n_parameters=df, bound=what.bound,
    )  # fmt: skip


def _simulated(
    small: GeneralizedFit, large: GeneralizedFit, mixture: BoundaryTest, draws: int, seed: int | None
) -> "SimulatedTest":
    """The test by outcomes drawn from the smaller model."""
    from crosslevel.estimators.generalized.simulated_tests import from_outcomes
    from crosslevel.estimators.simulated_tests import bootstrap_test

    if small.design.weights is not None and small.design.weights.is_frequency:
        raise CrosslevelError(
            "`test` is 'bootstrap', which draws an outcome for each row, and with frequency weights a row stands for "
            "several. Repeat the rows and fit without weights."
        )
    return bootstrap_test(
        from_outcomes(refitter(small), refitter(large)), mixture.statistic, n=draws, rng=np.random.default_rng(seed),
        progress=bool(large.given["progress"]),
    )  # fmt: skip
