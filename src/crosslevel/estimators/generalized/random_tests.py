"""Tests of the random terms of a fitted generalized model, one by one."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.likelihoods import refitter, refuse_sampled, require_likelihood
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.design.submodel import Kept
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.generalized.submodels import GeneralizedSubmodel
    from crosslevel.estimators.simulated_tests import SimulatedTest
    from crosslevel.inference.lrt import BoundaryTest

LINEAR = {
    "exact": "the finite-sample distribution of a linear model's statistic",
    "hlm": "clusters' own least-squares estimates",
}
"""Tests of linear models, and what they rest on."""


def random_effects_test(
    fit: "GeneralizedFit",
    *,
    test: Literal["mixture", "bootstrap"] = "mixture",
    n: int | None = None,
    seed: int | None = None,
) -> pd.DataFrame:
    """Test the random effects: each slope with its covariances, each random term that is one effect, all together.

    Each row is a likelihood-ratio test against the model without these effects, refitted with as many quadrature nodes.
    A slope that is part of an interaction in its term, and an intercept beside slopes, are not tested: their variance
    depends on where the variables have their zero. Structures that tie their effects are tested as a whole, and so is
    everything in the last row, "all".

    Parameters
    ----------
    fit : the fitted model.
    test : "mixture": a variance on its boundary makes the statistic a mixture of chi-squares (Self & Liang 1987; Stram
        & Lee 1994), with few or small clusters an approximation; "bootstrap": outcomes drawn from the model without the
        effects, both models refitted.
    n : number of simulations, by default 1,000.
    seed : of the simulations.

    Returns
    -------
    frame indexed by term: group, statistic, df, p_value, naive_p_value (chi-square with `df` degrees of freedom: too
    large), reference; p_error (Monte-Carlo standard error) and draws if simulated.

    Raises
    ------
    CrosslevelError : there are no random effects to test; sampling weights, PQL or MQL, priors, which make deviances no
        likelihood-ratio statistics; a test of linear models.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.mixed("I(mathach > 13) ~ ses + (1 | school)", data, family="binomial", quadrature=1)
    >>> found = fit.test_random()
    >>> list(found.index), bool(found.loc["all", "p_value"] < 1e-12)
    (['(1 | school)', 'all'], True)
    """
    from crosslevel.estimators.random_tests import ALL, known_only, terms_of

    draws = _checked(fit, test, n)
    asked = _Asked(fit=fit, test=test, draws=draws, rng=np.random.default_rng(seed))
    records = []
    for term in terms_of(fit.design):
        group = fit.design.factors[term.place].name
        records.append({"term": term.name, "group": group, **asked.answer(term.kept(fit.design))})
    records.append({"term": ALL, "group": "", **asked.answer(known_only(fit.design))})
    return pd.DataFrame.from_records(records).set_index("term")


def _checked(fit: "GeneralizedFit", test: str, n: int | None) -> int:
    """Number of simulations; refuses what cannot be tested.

    Raises
    ------
    CrosslevelError : see `random_effects_test`.
    """
    from crosslevel.estimators.random_tests import check_draws

    if test in LINEAR:
        raise CrosslevelError(
            f"`test` is {test!r}, which rests on {LINEAR[test]}; other families have none. Use 'mixture' or "
            "'bootstrap'."
        )
    if test not in ("mixture", "bootstrap"):
        raise CrosslevelError(f"`test` is 'mixture' or 'bootstrap'; got {test!r}.")
    require_likelihood(fit, "`test_random`")
    refuse_sampled(fit, "`test_random`", "Judge the variances by their intervals in `varcomp()`.")
    refuse_prior(fit, "`test_random`")
    if not fit.design.factors or all(factor.structure.fixed.all() for factor in fit.design.factors):
        raise CrosslevelError(
            "`test_random` tests variances of random effects that are estimated; this model has none. Add a term such "
            "as (1 | school)."
        )
    return check_draws(test, n)


def refuse_prior(fit: "GeneralizedFit", what: str) -> None:
    """Refuse a prior where a likelihood ratio is wanted.

    Raises
    ------
    CrosslevelError : there is one.
    """
    if fit.solution.prior is not None:
        raise CrosslevelError(
            f"{what} compares maxima of likelihoods, and with a prior the estimates maximise none. Fit without "
            "`prior`, or judge variances by fit.profile()."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """What is asked of each term: which test, by how many draws of which generator."""

    fit: "GeneralizedFit"
    test: str
    draws: int
    rng: np.random.Generator
    done: dict["Kept", dict[str, Any]] = field(default_factory=dict)

    def answer(self, kept: "Kept") -> dict[str, Any]:
        """The columns of the test against the model in which these effects stay."""
        if kept not in self.done:  # the last row can be the same test as one before
            self.done[kept] = self._answer(kept)
        return self.done[kept]

    def _answer(self, kept: "Kept") -> dict[str, Any]:
        """Fit the smaller model, and test."""
        from crosslevel.estimators.generalized.submodels import submodel

        small = submodel(self.fit, kept)
        found = mixture_test(self.fit, small)
        out = {
            "statistic": found.statistic, "df": found.df, "p_value": found.p_value,
            "naive_p_value": found.naive_p_value, "reference": found.reference,
        }  # fmt: skip
        if self.test == "mixture":
            return out
        simulated = self._simulated(small, found)
        return out | {
            "p_value": simulated.p_value, "reference": simulated.reference, "p_error": simulated.p_error,
            "draws": simulated.draws,
        }  # fmt: skip

    def _simulated(self, small: "GeneralizedSubmodel", found: "BoundaryTest") -> "SimulatedTest":
        """The test by simulation."""
        from crosslevel.estimators.generalized.simulated_tests import from_outcomes
        from crosslevel.estimators.simulated_tests import bootstrap_test

        large = refitter(self.fit)
        return bootstrap_test(
            from_outcomes(small.refitter(large), large), found.statistic, n=self.draws, rng=self.rng,
            progress=bool(self.fit.given["progress"]),
        )  # fmt: skip


def mixture_test(fit: "GeneralizedFit", small: "GeneralizedSubmodel") -> "BoundaryTest":
    """The test of a fit against the model with fewer random effects and the same fixed part."""
    from crosslevel.inference.lrt import boundary_test
    from crosslevel.inference.removal import removal

    what = removal(tuple(factor.structure for factor in fit.design.factors), small.kept)
    metric = null_metric(fit, small.kept, small.factors(fit.solution), small.solution) if what.needs_metric else None
    return boundary_test(
        small.solution.deviance - fit.solution.deviance, what.blocks, free=what.free, metric=metric,
        n_parameters=what.df, bound=what.bound,
    )  # fmt: skip


def null_metric(fit: "GeneralizedFit", kept: "Kept", factors: tuple[FloatArray, ...], small: Any) -> FloatArray | None:
    """Information on what is tested, at the solution of the smaller model; see `generalized.removal`."""
    from crosslevel.inference.generalized.removal import null_information

    rows, mine = fit.solution.criterion.rows, small.criterion.rows
    eta = np.asarray(rows.in_row_order(mine.in_data_order(small.state.eta)), dtype=np.float64)
    return null_information(rows, kept, factors, eta, small.shape)
