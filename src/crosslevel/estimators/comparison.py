"""Likelihood-ratio test of two fitted models."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.display import Block, Column, Document, Note, Row, Table
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed import solve_design
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.nesting import Nesting, nesting
from crosslevel.estimators.priors import refuse_prior
from crosslevel.estimators.random_tests import check_draws
from crosslevel.estimators.simulated_tests import (
    Refitted,
    SimulatedTest,
    bootstrap_test,
    draws_products,
    exact_test,
    from_products,
    from_rows,
    why_not_exact,
)
from crosslevel.inference.lrt import REFERENCES, BoundaryTest, boundary_test
from crosslevel.inference.removal import Removal, information_of, removal
from crosslevel.types import FloatArray, Method

if TYPE_CHECKING:
    from crosslevel.solve import Solution

AnyFit: TypeAlias = MixedFit | GeneralizedFit
"""A fit of `mixed`, whatever its family."""

WORSE = 1e-4
"""By how much the larger model's deviance may be above the smaller's before it is said not to be at its minimum."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LikelihoodRatioTest:
    """Likelihood-ratio test of a smaller model against a larger one.

    Attributes
    ----------
    statistic : difference of the deviances, at least 0.
    df : parameters more.
    p_value : tail probability of the reference distribution.
    naive_p_value : of chi-square with `df` degrees of freedom, too large where variances are tested.
    weights : (m + 1,) of chi-squares with 0 .. m degrees of freedom in the mixture.
    reference : what the p-value is from, in words.
    method : "reml" or "ml", of both fits that were compared.
    small, large : the fits that were compared, which are fits by maximum likelihood if the fixed parts differ.
    p_error : Monte-Carlo standard error of a simulated p-value, else None.
    draws, failed, unconverged : simulations that count, that ended in an error, and that did not converge.
    statistic_error : Monte-Carlo standard error of the statistic, where the algebra is iterative; else 0.
    notes : what has to be known besides.
    """

    statistic: float
    df: int
    p_value: float
    naive_p_value: float
    weights: FloatArray = field(repr=False)
    reference: str
    method: Method
    small: AnyFit = field(repr=False)
    large: AnyFit = field(repr=False)
    p_error: float | None
    draws: int
    failed: int
    unconverged: int
    statistic_error: float
    notes: tuple[str, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """Both models and the test: n_params, deviance, loglik, aic, bic, statistic, df, p_value, naive_p_value."""
        rows = [
            {
                "model": name, "n_params": fit.n_params, "deviance": fit.deviance, "loglik": fit.loglik,
                "aic": fit.aic, "bic": fit.bic,
            }
            for name, fit in (("small", self.small), ("large", self.large))
        ]  # fmt: skip
        out = pd.DataFrame.from_records(rows).set_index("model")
        for name in ("statistic", "df", "p_value", "naive_p_value"):
            out[name] = [np.nan, float(getattr(self, name))]
        return out

    def document(self) -> Document:
        """The comparison, to print or to show in a notebook."""
        rows: list[Row] = [
            [name, fit.n_params, fit.deviance, fit.aic, fit.bic]
            for name, fit in (("Smaller", self.small), ("Larger", self.large))
        ]
        columns: list[str | Column] = [
            "Model",
            Column("Parameters", format="integer"),
            *(Column(name, format="fixed", decimals=2) for name in ("Deviance", "AIC", "BIC")),
        ]
        likelihood = "Restricted likelihood" if self.method == "reml" else "Likelihood"
        formulas = [f"Smaller: {self.small.formula}", f"Larger: {self.large.formula}"]
        test: list[Row] = [[self.statistic, self.df, self.p_value, self.naive_p_value]]
        names: list[str | Column] = [
            Column("Chi-square", format="fixed", decimals=3, align="decimal"),
            Column("Parameters", format="integer"),
            Column("p", format="p"),
            Column("Naive p", format="p"),
        ]
        simulated = f" ({self.draws:,} simulations, error {self.p_error:.2g})" if self.p_error is not None else ""
        blocks: list[Block] = [
            Table(columns, rows, title=f"{likelihood}-ratio test", notes=formulas),
            Table(names, test, notes=[f"p: {self.reference}{simulated}."]),
            *(Note(text) for text in self.notes),
        ]
        return Document("", blocks)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the comparison for a notebook."""
        return self.document()._repr_html_()


def lrtest(
    small: AnyFit,
    large: AnyFit,
    *,
    test: Literal["mixture", "exact", "bootstrap"] = "mixture",
    n: int | None = None,
    seed: int | None = None,
) -> LikelihoodRatioTest:
    """Likelihood-ratio test of a model against a larger one that contains it.

    Fits by REML whose fixed parts are the same are compared by their restricted likelihoods. If the fixed parts differ,
    restricted likelihoods are of different contrasts of the data and cannot be compared: both models are fitted anew by
    maximum likelihood, from the same cross-products, and the result says so. Fits of other families have to be of the
    same approximation of the likelihood: where their numbers of quadrature nodes differ, one is fitted anew.

    Where variances are tested they are on their boundary under the null hypothesis, and the statistic is distributed as
    a mixture of chi-squares (Self & Liang 1987, JASA 82: 605-610; Stram & Lee 1994, Biometrics 50: 1171-1177). For one
    variance with r covariances among m parameters more it is 0.5 chi2(m - 1) + 0.5 chi2(m); for more variances see
    `fit.test_random`. The random effects that both models have are taken to vary: where they do not, the mixture is an
    approximation, and test="bootstrap" is better.

    Parameters
    ----------
    small, large : fits to the same rows. It is checked that the first is a special case of the second: its fixed
        columns in the span of the second's, its random effects (compared by name) and their covariances among the
        second's, its residual structure or its family a special case (Poisson of negative binomial, binomial of
        beta-binomial).
    test : "mixture"; "exact" for one variance without covariances, by simulation of the statistic's finite-sample
        distribution (Crainiceanu & Ruppert 2004, JRSS B 66: 165-185), which takes other random effects as known; or
        "bootstrap", outcomes drawn from the smaller model to which both are refitted.
    n : number of simulations; by default 10,000 for "exact" and 1,000 for "bootstrap".
    seed : of the simulations.

    Raises
    ------
    CrosslevelError : the models are not nested, or are of different rows or outcomes; sampling weights; a test that is
        not defined for them. The message says which.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy")
    >>> small = cl.mixed("Reaction ~ Days + (1 | Subject)", data)
    >>> large = cl.mixed("Reaction ~ Days + (Days | Subject)", data)
    >>> test = cl.lrtest(small, large)
    >>> round(test.statistic, 4), test.df, test.weights.tolist()
    (42.8368, 2, [0.0, 0.5, 0.5])
    """
    if isinstance(small, GeneralizedFit) and isinstance(large, GeneralizedFit):
        from crosslevel.estimators.generalized.comparison import lrtest_of_families

        return lrtest_of_families(small, large, test, n, seed)
    small, large, draws = _check_arguments(small, large, test, n)
    between = nesting(small, large)
    what = removal(tuple(factor.structure for factor in large.design.factors), between.kept)
    df = between.n_fixed + between.free + between.edges + what.df
    if df == 0:
        raise CrosslevelError("`lrtest` needs a second model with more parameters; these two are the same model.")
    small, large, notes = _by_same_method(small, large, between)
    difference = small.deviance - large.deviance - (between.log_basis if large.method == "reml" else 0.0)
    mixture = _mixture(small, large, between, what, difference, df)
    simulated = _simulated(small, large, between, what, mixture, test, draws, seed)
    notes = notes + concerns(small, large, difference)
    error = float(np.hypot(_error(small.solution), _error(large.solution)))
    return LikelihoodRatioTest(
        statistic=mixture.statistic, df=df, naive_p_value=mixture.naive_p_value, weights=mixture.weights,
        p_value=mixture.p_value if simulated is None else simulated.p_value,
        reference=mixture_in_words(mixture, what) if simulated is None else simulated.reference,
        method=large.method, small=small, large=large, p_error=None if simulated is None else simulated.p_error,
        draws=0 if simulated is None else simulated.draws, failed=0 if simulated is None else simulated.failed,
        unconverged=0 if simulated is None else simulated.unconverged, statistic_error=error, notes=notes,
    )  # fmt: skip


def _check_arguments(small: object, large: object, test: str, n: int | None) -> tuple[MixedFit, MixedFit, int]:
    """The fits and the number of simulations; refuses what is no fit, models in the wrong order, sampling weights."""
    if isinstance(small, GeneralizedFit) or isinstance(large, GeneralizedFit):
        raise CrosslevelError(
            "`lrtest` compares likelihoods of one outcome, and one of these fits is of another family than the other. "
            "Fit both with the same `family`."
        )
    for name, fit in (("small", small), ("large", large)):
        if not isinstance(fit, MixedFit):
            raise CrosslevelError(
                f"`{name}` is a fit of cl.mixed(...); got {type(fit).__name__}. A model without any random effects is "
                "compared with by `fit.test_random()` of the larger one."
            )
        if fit.design.is_sampled:
            raise CrosslevelError(
                "`lrtest` compares likelihoods, and with sampling weights these are pseudo-likelihoods, whose ratio "
                "has no chi-square distribution. Test coefficients by `fit.tests()`, and judge variances by their "
                "intervals in `fit.varcomp()`."
            )
        refuse_prior(fit, "lrtest")
    assert isinstance(small, MixedFit)
    assert isinstance(large, MixedFit)
    if test not in ("mixture", "exact", "bootstrap"):
        raise CrosslevelError(f"`test` is 'mixture', 'exact' or 'bootstrap'; got {test!r}.")
    require_order(small, large)
    return small, large, check_draws(test, n)


def require_order(small: AnyFit, large: AnyFit) -> None:
    """Refuse models in the wrong order.

    Raises
    ------
    CrosslevelError : the first has more parameters.
    """
    if small.n_params > large.n_params:
        raise CrosslevelError(
            f"`lrtest` takes the smaller model first; `small` has {small.n_params} parameters and `large` "
            f"{large.n_params}. Write lrtest(large, small) with the names you have now."
        )


def _by_same_method(small: MixedFit, large: MixedFit, between: Nesting) -> tuple[MixedFit, MixedFit, tuple[str, ...]]:
    """Both fits by one likelihood that can be compared, and what was done for it."""
    if small.method == large.method and (between.same_fixed or large.method == "ml"):
        return small, large, ()
    if between.same_fixed:
        note = "One fit was by REML and one by ML: the REML fit was fitted anew by maximum likelihood for this test."
    else:
        note = "The fixed parts differ, so that the models were fitted anew by maximum likelihood for this test."
    return _by_ml(small), _by_ml(large), (note,)


def _by_ml(fit: MixedFit) -> MixedFit:
    """The same model fitted by maximum likelihood, from the same cross-products."""
    if fit.method == "ml":
        return fit
    given = {**fit.given, "method": "ml"}
    return replace(fit, given=given, solution=solve_design(fit.design, given))


def _mixture(
    small: MixedFit, large: MixedFit, between: Nesting, what: Removal, difference: float, df: int
) -> BoundaryTest:
    """The test by its asymptotic mixture."""
    blocks = what.blocks + ((1, False),) * between.edges
    metric = None
    if what.needs_metric and not between.edges and large.solution.iterative is None:
        factors = between.factors(small.solution.factors, large.solution.factors)
        metric = information_of(
            large.design, large.solution, between.kept, factors, large.solution.phi, reml=large.method == "reml"
        )
    return boundary_test(
        difference, blocks, free=between.n_fixed + between.free + what.free, metric=metric, n_parameters=df,
        bound=what.bound,
    )  # fmt: skip


def _simulated(
    small: MixedFit,
    large: MixedFit,
    between: Nesting,
    what: Removal,
    mixture: BoundaryTest,
    test: str,
    draws: int,
    seed: int | None,
) -> SimulatedTest | None:
    """The test by simulation, if one was asked for."""
    rng = np.random.default_rng(seed)
    if test == "mixture":
        return None
    if test == "exact":
        why = why_not_exact(large.design, between.kept)
        if why is None and (between.free or between.edges):
            why = "other parameters than coefficients are tested too"
        if why is not None:
            raise CrosslevelError(f"`test` is 'exact', but {why}. Use test='bootstrap'.")
        return exact_test(
            large.design, between.kept, mixture.statistic, reml=large.method == "reml", n=draws, rng=rng,
            n_fixed=between.n_fixed,
        )  # fmt: skip
    return bootstrap_test(
        _refitted(small, large, between), mixture.statistic, n=draws, rng=rng, progress=large.given["progress"]
    )


def _refitted(small: MixedFit, large: MixedFit, between: Nesting) -> Callable[[np.random.Generator], Refitted]:
    """What draws an outcome from the smaller model and fits both to it."""
    only_effects = between.same_fixed and not (between.free or between.edges)
    if only_effects and draws_products(large.design):
        (factor,) = between.factors(small.solution.factors, large.solution.factors)
        reml, max_steps = large.method == "reml", large.given["max_steps"]
        return from_products(large.design, between.kept, factor, reml=reml, max_steps=max_steps)
    basis = between.log_basis if large.method == "reml" else 0.0

    def refitted(y: FloatArray) -> Refitted:
        solutions = [solve_design(fit.design.with_response(y), fit.given) for fit in (small, large)]
        return Refitted.of(solutions[0], solutions[1], basis=basis)

    return from_rows(small, refitted)


def mixture_in_words(mixture: BoundaryTest, what: Removal) -> str:
    """Where the p-value is from."""
    if not what.blocks and np.count_nonzero(mixture.weights) == 1:
        return f"chi-square with {mixture.df} df"
    if np.count_nonzero(mixture.weights) == 2 and mixture.reference == "exact":
        return f"0.5 chi-square({mixture.df - 1}) + 0.5 chi-square({mixture.df}), for a variance on its boundary"
    return REFERENCES[mixture.reference]


def concerns(small: AnyFit, large: AnyFit, difference: float) -> tuple[str, ...]:
    """What makes the test doubtful."""
    out = []
    for name, fit in (("smaller", small), ("larger", large)):
        if not fit.converged:
            out.append(f"The {name} model: {fit.status}")
    if difference < -WORSE:
        out.append(
            f"The larger model's deviance is {-difference:.4g} above the smaller's, so that its fit is not the maximum "
            "of the likelihood; the statistic is set to zero."
        )
    if small.is_singular:
        out.append(
            "The smaller model is singular: some of its own variances are on the boundary too, which the mixture does "
            "not know of. Use test='bootstrap'."
        )
    return tuple(out)


def _error(solution: "Solution") -> float:
    """Monte-Carlo standard error of a deviance."""
    return 0.0 if solution.iterative is None else solution.iterative.deviance_error
