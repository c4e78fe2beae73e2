"""Separation, huge effects and weak priors: what is found, how it is worded, and what helps."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dense_generalized import DenseLaplace
from generalized_models import rows_of, simulated
from scipy.optimize import minimize

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.optimise import Status
from crosslevel.prior import Weak
from crosslevel.solve.generalized import solve_generalized
from crosslevel.solve.generalized.separation import find_separation, is_suspected
from crosslevel.solve.generalized.troubles import troubles


def told(formula: str, data: pd.DataFrame, family: str, prior: Weak | None = None) -> tuple[str, ...]:
    """What the fit has to say."""
    design, rows = rows_of(formula, data, family)
    solution = solve_generalized(rows, quadrature="laplace", prior=prior)
    return troubles(solution, design.fixed_names, [factor.name for factor in design.factors])


@pytest.fixture
def data() -> pd.DataFrame:
    return simulated(1, clusters=30, size=10)


class TestSeparation:
    def test_one_predictor_separates_all(self, data: pd.DataFrame) -> None:
        rng = np.random.default_rng(1)
        data["test"] = 10.0 * data["y"] + rng.uniform(0.0, 3.0, size=len(data))
        (sentence,) = told("y ~ x + test + (1 | g)", data, "binomial")
        assert sentence.startswith("Complete separation: test predicts every one of the 300 outcomes (it is at most 2.")
        assert "prior=cl.prior.Weak()" in sentence
        found = find_separation(rows_of("y ~ x + test + (1 | g)", data, "binomial")[1])
        assert found is not None
        assert found.kind == "complete"
        assert found.columns == (2,)
        # along the direction every row's probability rises
        eta = np.column_stack([np.ones(300), data["x"], data["test"]]) @ found.direction
        assert np.all(np.where(data["y"] == 1, eta, -eta) > 0.0)

    def test_an_empty_cell_is_named(self, data: pd.DataFrame) -> None:
        data["kind"] = np.where((data["y"] == 1) & (data.index % 9 == 0), "rare", "common")
        n_rare = int((data["kind"] == "rare").sum())
        (sentence,) = told("y ~ x + kind + (1 | g)", data, "binomial")
        assert sentence.startswith(f"Quasi-complete separation: kind[rare] predicts {n_rare} of 300 outcomes")
        assert "(all 1), those with kind[rare] = 1" in sentence

    def test_counts_that_are_all_zero(self, data: pd.DataFrame) -> None:
        data["shut"] = np.where((data["count"] == 0) & (data.index % 5 == 0), 1.0, 0.0)
        (sentence,) = told("count ~ x + shut + (1 | g)", data, "poisson")
        assert "shut predicts" in sentence
        assert "(all zero), those with shut = 1" in sentence

    def test_several_predictors_together(self, data: pd.DataFrame) -> None:
        rng = np.random.default_rng(2)
        data["a"] = rng.normal(size=300)
        data["b"] = np.where(data["y"] == 1, 1.0, -1.0) * rng.uniform(0.3, 2.0, size=300) - data["a"]
        (sentence,) = told("y ~ z + a + b + (1 | g)", data, "binomial")
        assert sentence.startswith("Complete separation: a, b together predict every one") or "z, a, b" in sentence
        assert find_separation(rows_of("y ~ z + a + (1 | g)", data, "binomial")[1]) is None

    def test_ordered_outcomes(self, data: pd.DataFrame) -> None:
        data["top"] = np.where((data["rank"] == 3) & (data.index % 3 == 0), 1.0, 0.0)
        _, rows = rows_of("rank ~ x + top + (1 | g)", data, "ordinal")
        found = find_separation(rows)
        assert found is not None
        assert found.kind == "quasi-complete"
        assert [rows.x.shape[1], found.columns] == [3, (2,)]
        assert found.upper is True
        assert found.n_rows == int(data["top"].sum())
        # ordered perfectly, but not at the ends: thresholds and coefficient grow together
        data["score"] = data["rank"] + np.linspace(0.0, 0.5, 300)
        complete = find_separation(rows_of("rank ~ score + (1 | g)", data, "ordinal")[1])
        assert complete is not None
        assert complete.kind == "complete"

    def test_proportions(self) -> None:
        data = pd.DataFrame({
            "g": np.repeat(np.arange(6), 4), "n": 5, "hits": np.tile([0, 2, 3, 5], 6),
            "x": np.tile([0.0, 1.0, 1.0, 2.0], 6),
        })  # fmt: skip
        _, rows = rows_of("cbind(hits, n - hits) ~ x + (1 | g)", data, "binomial")
        found = find_separation(rows)  # 0 of 5 below x = 1, 5 of 5 above, both at 1
        assert found is not None
        assert (found.below, found.above, found.n_rows) == (1.0, 1.0, 12)

    def test_clusters_that_are_alike_are_no_separation(self, data: pd.DataFrame) -> None:
        data.loc[data["g"] < 8, "y"] = 1
        data.loc[(data["g"] >= 8) & (data["g"] < 12), "y"] = 0
        design, rows = rows_of("y ~ x + (1 | g)", data, "binomial")
        assert find_separation(rows) is None
        solution = solve_generalized(rows)
        assert solution.status is Status.CONVERGED
        assert np.sqrt(np.diag(solution.vcov)).max() < 1.0
        assert troubles(solution, design.fixed_names, ["g"]) == ()

    def test_other_families_have_none(self, data: pd.DataFrame) -> None:
        data["amount"] = np.exp(data["x"])
        _, rows = rows_of("amount ~ z + (1 | g)", data, "gamma")
        assert find_separation(rows) is None
        assert not is_suspected(rows, np.array([100.0, 100.0]))

    def test_huge_effects_are_named_without_separation(self, data: pd.DataFrame) -> None:
        rng = np.random.default_rng(4)
        steep = rng.uniform(-1.0, 1.0, size=300)
        data["steep"], data["y"] = steep, (40.0 * steep + rng.logistic(size=300) > 0.0).astype(int)
        sentences = told("y ~ steep + (1 | g)", data, "binomial")
        assert sentences[0].startswith("Huge effects: steep (from end to end")

    def test_huge_variances_are_named(self) -> None:
        rng = np.random.default_rng(4)
        group = np.repeat(np.arange(60), 6)
        latent = (12.0 * rng.normal(size=60))[group] + rng.logistic(size=360)
        data = pd.DataFrame({"g": group, "y": (latent > 0.0).astype(int)})
        design, rows = rows_of("y ~ 1 + (1 | g)", data, "binomial")
        sentences = troubles(solve_generalized(rows, quadrature=15), design.fixed_names, ["g"])
        assert sentences[0].startswith("Huge variance: standardised random effects of g have a standard deviation of")

    @pytest.mark.parametrize("family", ["nbinom2", "nbinom1"])
    def test_counts_without_overdispersion_are_named(self, family: str) -> None:
        rng = np.random.default_rng(3)
        data = pd.DataFrame({"g": np.repeat(np.arange(20), 10), "x": rng.normal(size=200)})
        data["count"] = 3 + (np.arange(200) % 3)  # varies much less than Poisson counts
        design, rows = rows_of("count ~ x + (1 | g)", data, family)
        solution = solve_generalized(rows, quadrature="laplace")
        poisson = solve_generalized(rows_of("count ~ x + (1 | g)", data, "poisson")[1], quadrature="laplace")
        assert solution.status is Status.CONVERGED
        assert solution.deviance == pytest.approx(poisson.deviance, abs=1e-3)
        np.testing.assert_allclose(np.diag(solution.vcov), np.diag(poisson.vcov), rtol=1e-3)
        (sentence,) = troubles(solution, design.fixed_names, ["g"])
        assert sentence.startswith("No overdispersion")
        assert "family='poisson'" in sentence


class TestPriors:
    def test_separation_has_a_finite_mode(self, data: pd.DataFrame) -> None:
        data["kind"] = np.where((data["y"] == 1) & (data.index % 9 == 0), "rare", "common")
        _, rows = rows_of("y ~ x + kind + (1 | g)", data, "binomial")
        solution = solve_generalized(rows, quadrature="laplace", prior=Weak())
        assert solution.status is Status.CONVERGED
        assert 0.0 < solution.beta[2] < 20.0
        assert np.isfinite(solution.vcov).all()

    def test_the_mode_is_that_of_the_dense_posterior(self) -> None:
        _, rows = rows_of("y ~ x + (x | g)", simulated(3, clusters=10, slope_sd=0.2), "binomial")
        prior = Weak(coefficients=1.0, intercept=3.0, covariances=2.5)
        solution = solve_generalized(rows, quadrature="laplace", prior=prior)
        assert not solution.is_singular
        dense = DenseLaplace(rows=rows)
        near = dense.value(solution.parameters)

        def height(parameters: np.ndarray) -> float:
            theta, beta = parameters[:3], parameters[3:]
            log_det = 2.0 * np.log(abs(theta[0] * theta[2]))
            penalty = (beta[0] / 3.0) ** 2 + beta[1] ** 2 - 1.5 * log_det
            return float(dense.value(parameters, near).deviance + penalty)

        found = minimize(height, solution.parameters + 0.05, method="BFGS", options={"gtol": 1e-4})
        np.testing.assert_allclose(solution.parameters, found.x, atol=2e-4)
        assert height(solution.parameters) <= found.fun + 1e-8

    def test_priors_of_linear_models_keep_them_from_singular_fits(self) -> None:
        rng = np.random.default_rng(12)
        group = np.repeat(np.arange(8), 6)
        y = np.tile([1.0, -1.0, 0.5, -0.5, 0.2, -0.2], 8)  # every cluster has the mean zero
        data = pd.DataFrame({"g": group, "x": rng.normal(size=48), "y": y})
        formula = "y ~ x + (1 | g)"
        plain, kept = cl.mixed(formula, data, method="ml"), cl.mixed(formula, data, method="ml", prior=cl.prior.Weak())
        assert plain.is_singular
        assert not kept.is_singular
        # gamma(2, 0) on the relative standard deviation: deviance - 2 log theta, on a fine grid
        from crosslevel.solve import deviance_at

        heights = [deviance_at(kept.solution, np.array([s])) - 2.0 * np.log(s) for s in np.linspace(0.005, 1.5, 3000)]
        best = np.linspace(0.005, 1.5, 3000)[int(np.argmin(heights))]
        assert kept.theta[0] == pytest.approx(best, abs=1e-3)
        assert any("posterior's mode" in note for note in kept.notes)

    @pytest.mark.parametrize("formula", ["y ~ x + (x | g)", "y ~ x + (1 | g) + (1 | h)"])
    def test_gradients_of_penalised_linear_models_are_zero(self, formula: str) -> None:
        data = simulated(5, clusters=12, slope_sd=0.1).assign(y=lambda d: d["x"] + np.sin(np.arange(len(d))))
        fit = cl.mixed(formula, data, prior=Weak(covariances=3.0))
        assert fit.converged
        assert not fit.is_singular
        solution = fit.solution
        theta = solution.minimum.theta
        gradient = solution.criterion.derivatives(solution.at, theta).gradient
        # the logarithm of |Psi| is that of the diagonal of Lambda, whatever lies below it
        pull = np.array([4.0 / theta[0], 0.0, 4.0 / theta[2]]) if len(solution.at.factors) == 1 else 4.0 / theta
        np.testing.assert_allclose(gradient, pull, rtol=1e-4, atol=1e-4)

    def test_wrong_priors_are_refused(self, data: pd.DataFrame) -> None:
        with pytest.raises(CrosslevelError, match="`covariances` of a prior is the shape"):
            Weak(covariances=0.5)
        with pytest.raises(CrosslevelError, match="`coefficients` of a prior is a standard deviation above 0"):
            Weak(coefficients=0.0)
        with pytest.raises(CrosslevelError, match="`prior` is cl"):
            cl.mixed("x ~ z + (1 | g)", data, prior="weak")  # type: ignore[arg-type]
        with pytest.raises(CrosslevelError, match="a residual structure"):
            cl.mixed("x ~ z + (1 | g)", data, prior=Weak(), residual=cl.residual.By("h"))

    def test_methods_that_maximise_likelihoods_refuse_priors(self, data: pd.DataFrame) -> None:
        fit = cl.mixed("x ~ z + (1 | g)", data, prior=Weak())
        for method in (fit.profile, fit.bootstrap, fit.test_random):
            with pytest.raises(CrosslevelError, match="maximises likelihoods"):
                method()
        for function in (lambda: cl.influence(fit), lambda: cl.lrtest(fit, fit)):
            with pytest.raises(CrosslevelError, match="mode of a posterior"):
                function()

    def test_words(self) -> None:
        assert Weak(coefficients=None, covariances=None).words == "no prior"
        assert "gamma(2)" in Weak().words

    def test_weights_of_zero_do_not_count(self, data: pd.DataFrame) -> None:
        data["kind"] = np.where((data["y"] == 1) & (data.index % 9 == 0), 1.0, 0.0)
        _, rows = rows_of("y ~ x + kind + (1 | g)", data, "binomial")
        assert find_separation(rows) is not None
        # the rows that are not separated have no weight: then kind separates nothing
        assert find_separation(replace(rows, weight=np.where(rows.x[:, 2] > 0.0, 0.0, 1.0))) is None


def test_an_outcome_that_is_reproduced_is_told() -> None:
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 3)})
    data["y"] = np.exp(rng.standard_normal(12))[data["g"]]
    (note,) = (note for note in told("y ~ 1 + (1 | g)", data, "gamma") if "reproduces" in note)
    assert "constant within clusters" in note
