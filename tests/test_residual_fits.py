"""`mixed(residual=)`: invariances, what a fit answers, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
import residual_dense as twin

import crosslevel as cl
from crosslevel.errors import ColumnNotFoundError, CrosslevelError, DesignError, MemoryShortageError


def panel(seed: int = 3, units: int = 40, times: int = 6) -> pd.DataFrame:
    """People measured up to six times at sites: autocorrelated, more variable in one arm, some visits missing."""
    rng = np.random.default_rng(seed)
    error = np.empty((units, times))
    error[:, 0] = rng.normal(size=units)
    for t in range(1, times):
        error[:, t] = 0.5 * error[:, t - 1] + np.sqrt(0.75) * rng.normal(size=units)
    who, when = (part.ravel() for part in np.indices((units, times)))
    arm = np.where(who % 2 == 0, "control", "treated")
    x = rng.normal(size=len(who))
    site = who // 5
    y = 2.0 + 0.5 * x + rng.normal(size=units // 5)[site] + error.ravel() * np.where(arm == "control", 1.0, 2.0)
    frame = pd.DataFrame({"y": y, "x": x, "when": when, "who": who, "arm": arm, "site": site})
    frame["se"] = rng.uniform(0.5, 2.0, len(who))
    return frame[rng.random(len(who)) < 0.85].reset_index(drop=True)


FRAME = panel()
SITES = "y ~ x + (1 | site)"
STRUCTURES = {
    "by": cl.residual.By("arm"),
    "power": cl.residual.Power("se"),
    "ar1": cl.residual.AR1("when", within="who"),
    "ar1_by": cl.residual.AR1("when", within="who", by="arm"),
    "car1": cl.residual.CAR1("when", within="who"),
    "cs": cl.residual.CompoundSymmetry(within="who"),
    "us": cl.residual.Unstructured("when", within="who"),
    "known": cl.residual.Known("se"),
}


@pytest.fixture(params=list(STRUCTURES), ids=str, scope="module")
def fit(request):
    return cl.mixed(SITES, FRAME, residual=STRUCTURES[request.param])


def test_rows_in_another_order_give_the_same_fit(fit):
    other = cl.mixed(SITES, FRAME.sample(frac=1.0, random_state=1), residual=fit.given["residual"])
    assert other.deviance == pytest.approx(fit.deviance, abs=1e-8)
    np.testing.assert_allclose(other.params, fit.params, rtol=1e-7)
    parts = ["estimate", "std_error"]
    np.testing.assert_allclose(other.residual_parameters()[parts], fit.residual_parameters()[parts], rtol=1e-4)


def test_predictors_in_other_units_and_far_from_zero_give_the_same_fit(fit):
    moved = FRAME.assign(x=1e6 * FRAME["x"] + 1e10)
    other = cl.mixed(SITES, moved, method="ml", residual=fit.given["residual"])
    same = cl.mixed(SITES, FRAME, method="ml", residual=fit.given["residual"])
    assert other.deviance == pytest.approx(same.deviance, abs=1e-7)
    assert other.params["x"] == pytest.approx(1e-6 * same.params["x"], rel=1e-6)
    np.testing.assert_allclose(other.theta, same.theta, rtol=1e-5)


def test_a_scaled_outcome_scales_the_fit(fit):
    if fit.solution.criterion.residual.known:
        return
    other = fit.refit(1e3 * FRAME["y"])
    np.testing.assert_allclose(other.params, 1e3 * fit.params, rtol=1e-7)
    assert other.sigma == pytest.approx(1e3 * fit.sigma, rel=1e-6)
    np.testing.assert_allclose(other.solution.phi, fit.solution.phi, rtol=1e-4, atol=1e-5)


def test_the_gradient_at_the_optimum_is_zero(fit):
    criterion, minimum = fit.solution.criterion, fit.solution.minimum
    if len(minimum.theta):
        hessian, _ = criterion.curvature(minimum.state, minimum.theta)
        step = np.linalg.solve(hessian, criterion.gradient(minimum.theta))
        assert np.abs(step).max() < 1e-6


def test_no_restart_finds_a_lower_deviance(fit):
    criterion, rng = fit.solution.criterion, np.random.default_rng(8)
    best = fit.solution.minimum
    for _ in range(30):
        trial = criterion.value(best.theta + rng.normal(size=len(best.theta)) * rng.choice([0.01, 0.1, 0.5]))
        assert trial.deviance >= best.state.deviance - 1e-9


def test_every_answer_has_its_numbers(fit):
    text = str(fit.summary())
    words = fit.design.residual.words
    assert words.split(",")[0][1:] in text.replace("\n", " ").replace("            ", "")
    record = json.loads(json.dumps(fit.to_dict()))
    assert record["residual"] == words
    assert len(record["residual_parameters"]) == len(fit.residual_parameters())
    assert fit.n_params == len(fit.params) + len(fit.theta) + len(fit.solution.phi) + (words[:5] != "known")
    assert fit.glance()["n_params"].item() == fit.n_params
    np.testing.assert_allclose(fit.augment()["fitted"] + fit.augment()["resid"], FRAME["y"], rtol=1e-10)
    assert fit.summary()._repr_html_()
    table = fit.residual_parameters()
    assert np.all((table["conf_low"] < table["estimate"]) & (table["estimate"] < table["conf_high"]))


def test_normalised_residuals_are_whitened_by_the_covariance_of_the_fit(fit):
    residual, phi = fit.solution.criterion.residual, fit.solution.phi
    white = residual.at(phi).whiten(np.eye(len(FRAME)))
    e = fit.resid.to_numpy()[residual.order]
    expected = white.T @ e / fit.sigma
    np.testing.assert_allclose(fit.resid_normalised.to_numpy()[residual.order], expected, rtol=1e-9, atol=1e-11)


def test_normalised_residuals_without_a_structure_are_divided_by_their_standard_deviation():
    fit = cl.mixed(SITES, FRAME, weights=cl.Precision("se"))
    np.testing.assert_allclose(fit.resid_normalised, fit.resid * np.sqrt(FRAME["se"]) / fit.sigma, rtol=1e-12)
    plain = cl.mixed(SITES, FRAME)
    np.testing.assert_allclose(plain.resid_normalised, plain.resid / plain.sigma, rtol=1e-12)


def test_random_effects_are_tested_with_the_structure_fitted_anew(fit):
    test = fit.test_random().loc["all"]
    without = cl.mixed("y ~ x", FRAME, residual=fit.given["residual"])
    assert test["statistic"] == pytest.approx(max(without.deviance - fit.deviance, 0.0), abs=1e-6)


def test_criterion_at_the_estimates_is_the_deviance(fit):
    assert fit.criterion_at(fit.theta) == pytest.approx(fit.deviance, abs=1e-8)


def test_modes_are_those_of_the_dense_model():
    fit = cl.mixed(SITES, FRAME, residual=STRUCTURES["ar1_by"])
    residual, phi = fit.solution.criterion.residual, fit.solution.phi
    order = residual.order
    white = residual.at(phi).whiten(np.eye(len(FRAME)))
    R = np.linalg.inv(white @ white.T) * fit.sigma**2
    Z = pd.get_dummies(FRAME["site"], dtype=float).to_numpy()[order]
    tau = fit.cov_re["site"].to_numpy().item()
    V = R + tau * Z @ Z.T
    resid = FRAME["y"].to_numpy()[order] - fit.augment()["fixed"].to_numpy()[order]
    modes = tau * Z.T @ np.linalg.solve(V, resid)
    spread = tau * np.eye(Z.shape[1]) - tau**2 * Z.T @ np.linalg.solve(V, Z)
    table = fit.ranef()["site"]
    np.testing.assert_allclose(table["Intercept"], modes, rtol=1e-8)
    np.testing.assert_allclose(table["Intercept_se"], np.sqrt(np.diag(spread)), rtol=1e-8)


def test_equal_variances_by_stratum_are_the_plain_model():
    plain = cl.mixed(SITES, FRAME)
    test = plain.test_residual_homogeneity(by="arm")
    richer = cl.mixed(SITES, FRAME, residual=cl.residual.By("arm"))
    engine = richer.solution.criterion
    theta = plain.solution.minimum.theta
    assert engine.value(np.append(0.0, theta)).deviance == pytest.approx(plain.deviance, abs=1e-8)
    assert test.statistic > 10.0


def test_compound_symmetry_is_the_random_intercept_model():
    plain = cl.mixed("y ~ x + (1 | who)", FRAME)
    symmetric = cl.mixed("y ~ x", FRAME, residual=cl.residual.CompoundSymmetry(within="who"))
    assert symmetric.deviance == pytest.approx(plain.deviance, abs=1e-8)
    rho = symmetric.residual_parameters().loc["rho", "estimate"]
    assert rho == pytest.approx(plain.icc().estimate, rel=1e-6)
    np.testing.assert_allclose(symmetric.bse, plain.bse, rtol=1e-6)


def test_compound_symmetry_may_be_negative_where_a_variance_cannot():
    rng = np.random.default_rng(2)
    who = np.repeat(np.arange(60), 3)
    noise = rng.normal(size=(60, 3))
    y = (noise - 0.9 * noise.mean(axis=1, keepdims=True)).ravel()
    frame = pd.DataFrame({"y": y, "who": who})
    symmetric = cl.mixed("y ~ 1", frame, residual=cl.residual.CompoundSymmetry(within="who"))
    assert symmetric.residual_parameters().loc["rho", "conf_high"] < 0.0
    assert cl.mixed("y ~ 1 + (1 | who)", frame).is_singular


def test_integer_times_make_continuous_autoregression_the_discrete_one():
    discrete = cl.mixed(SITES, FRAME, residual=STRUCTURES["ar1"])
    continuous = cl.mixed(SITES, FRAME, residual=STRUCTURES["car1"])
    assert discrete.deviance == pytest.approx(continuous.deviance, abs=1e-8)
    np.testing.assert_allclose(discrete.residual_parameters(), continuous.residual_parameters(), rtol=0.05)
    halved = cl.mixed(SITES, FRAME.assign(when=FRAME["when"] / 2), residual=cl.residual.CAR1("when", within="who"))
    rho = continuous.residual_parameters().loc["rho", "estimate"]
    assert halved.residual_parameters().loc["rho", "estimate"] == pytest.approx(rho**2, rel=1e-6)


def test_known_errors_are_those_of_the_dense_model():
    fit = cl.mixed(SITES, FRAME, residual=cl.residual.Known("se"))
    X = np.column_stack([np.ones(len(FRAME)), FRAME["x"]])
    same = FRAME["site"].to_numpy()[:, None] == FRAME["site"].to_numpy()
    tau = fit.cov_re["site"].to_numpy().item()

    def dense_deviance(variance: float) -> float:
        V = np.diag(FRAME["se"] ** 2) + variance * same
        return twin.deviance(FRAME["y"].to_numpy(), X, V, reml=True, sigma=1.0)[0]

    assert fit.deviance == pytest.approx(dense_deviance(tau), rel=1e-10)
    assert dense_deviance(1.01 * tau) > fit.deviance
    assert dense_deviance(0.99 * tau) > fit.deviance
    assert fit.sigma == 1.0
    assert "Residual" not in set(fit.varcomp()["group"])


def test_each_study_may_have_one_row_where_errors_are_known():
    frame = FRAME.groupby("who").first().reset_index()
    fit = cl.mixed("y ~ x + (1 | who)", frame, residual=cl.residual.Known("se"))
    assert fit.converged
    with pytest.raises(DesignError, match="differs in each"):
        cl.mixed("y ~ x + (1 | who)", frame)


def test_rows_that_miss_what_the_structure_needs_are_dropped_and_counted():
    frame = FRAME.assign(arm=FRAME["arm"].mask(FRAME.index < 4), when=FRAME["when"].astype(float))
    frame.loc[10, "when"] = np.nan
    fit = cl.mixed(SITES, frame, residual=cl.residual.AR1("when", within="who", by="arm"))
    assert dict(fit.rows.missing) == {"when": 1, "arm": 4}
    whole = cl.mixed(SITES, frame.dropna(), residual=cl.residual.AR1("when", within="who", by="arm"))
    assert fit.deviance == pytest.approx(whole.deviance, abs=1e-8)
    with pytest.raises(DesignError, match="arm"):
        cl.mixed(SITES, frame, missing="raise", residual=cl.residual.By("arm"))


def test_strata_may_be_combinations_of_two_columns():
    frame = FRAME.assign(late=FRAME["when"] > 2)
    fit = cl.mixed(SITES, frame, residual=cl.residual.By("arm:late"))
    assert list(fit.residual_parameters().index) == [
        "sigma[control:False]", "sigma[control:True]", "sigma[treated:False]", "sigma[treated:True]"
    ]  # fmt: skip


def test_crossed_factors_can_have_strata_and_powers():
    frame = FRAME.assign(rater=FRAME.index % 4)
    formula = "y ~ x + (1 | site) + (1 | rater)"
    plain = cl.mixed(formula, frame)
    for structure in (cl.residual.By("arm"), cl.residual.Power("se")):
        fit = cl.mixed(formula, frame, residual=structure)
        assert fit.converged
        assert fit.deviance < plain.deviance + 1e-8


def test_shares_of_a_variance_that_differs_are_refused():
    fit = cl.mixed(SITES, FRAME, residual=cl.residual.By("arm"))
    for ask in (fit.icc, fit.variance_shares):
        with pytest.raises(CrosslevelError, match="needs one residual variance"):
            ask()
    assert cl.mixed(SITES, FRAME, residual=STRUCTURES["ar1"]).icc().estimate > 0.0


def test_update_and_refit_keep_the_structure():
    fit = cl.mixed(SITES, FRAME, residual=STRUCTURES["ar1"])
    assert fit.update("~ . - x").given["residual"] == STRUCTURES["ar1"]
    assert fit.refit(FRAME["y"]).deviance == pytest.approx(fit.deviance, abs=1e-9)
    assert fit.update(residual=None).deviance == pytest.approx(cl.mixed(SITES, FRAME).deviance, abs=1e-9)


@pytest.mark.parametrize(
    ("formula", "structure", "error", "message"),
    [
        (SITES, "ar1", CrosslevelError, r"`residual` is a structure such as cl.residual.By\('sector'\).*got 'ar1'"),
        (SITES, cl.residual.By, CrosslevelError, "is a structure such as"),
        (SITES, cl.residual.By("arms"), ColumnNotFoundError, "`residual` uses 'arms'.*'arm' for 'arms'"),
        ("y ~ x", None, DesignError, "no random term"),
        ("y ~ x + (1 | when)", STRUCTURES["ar1"], DesignError, "units of who have rows in different levels of when"),
        ("y ~ x + (1 | who)", STRUCTURES["cs"], DesignError, "the random term of who does so again"),
        ("y ~ x + (1 | who)", STRUCTURES["us"], DesignError, "the random term of who does so again"),
        ("y ~ x + C(few) + (1 | site)", cl.residual.By("few"), DesignError, "reproduced exactly by the fixed"),
        ("y ~ 0 + x", cl.residual.Power(), DesignError, "next to zero in 1 rows.*Power\\('x'\\)"),
        ("y ~ 1", cl.residual.Power(), DesignError, "fitted values, which are the same in all rows"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_words(formula, structure, error, message):
    frame = FRAME.assign(few=np.where(FRAME.index < 2, FRAME.index, 9))
    frame["few"] = frame["few"].replace(1, 0)
    frame.loc[5, "x"] = 0.0
    if structure == cl.residual.By("few"):
        formula = formula.replace("C(few)", "C(few) + C(few):x")
    with pytest.raises(error, match=message):
        cl.mixed(formula, frame, residual=structure)


def test_multiple_membership_beside_a_structure_is_refused():
    frame = FRAME.assign(before=FRAME["site"].to_numpy()[::-1], half=0.5)
    with pytest.raises(DesignError, match="lie in one level of each grouping factor"):
        cl.mixed("y ~ x + (1 | mm(site, before))", frame, residual=STRUCTURES["by"])


def test_rows_that_do_not_fit_into_memory_are_refused_before_the_search(monkeypatch):
    monkeypatch.setattr("crosslevel.memory.available_memory", lambda: 10_000)
    monkeypatch.setattr("crosslevel.memory.SMALL", 0)
    with pytest.raises(MemoryShortageError, match=r"`residual` keeps all rows: .* rows of 4 columns would need"):
        cl.mixed(SITES, FRAME, residual=STRUCTURES["ar1"])


def test_weights_beside_a_structure_are_refused():
    with pytest.raises(CrosslevelError, match="`weights` and `residual` cannot be given together"):
        cl.mixed(SITES, FRAME, weights=cl.Precision("se"), residual=cl.residual.By("arm"))


def test_a_model_without_random_effects_says_so():
    fit = cl.mixed("y ~ x", FRAME, residual=STRUCTURES["ar1"])
    assert str(fit.summary()).startswith("Linear model of y")
    assert fit.ngroups == {} == fit.ranef()
    assert json.loads(json.dumps(fit.to_dict()))["test_random"] is None
    with pytest.raises(CrosslevelError, match="this model has none"):
        fit.test_random()
    assert np.all(fit.df == fit.nobs - 2)


def test_autoregression_of_two_visits_cannot_be_told_from_a_random_intercept():
    frame = FRAME[FRAME["when"] < 2]
    with pytest.raises(DesignError, match="cannot be told apart from the random effects"):
        cl.mixed("y ~ x + (1 | who)", frame, residual=STRUCTURES["ar1"])
    assert cl.mixed("y ~ x", frame, residual=STRUCTURES["ar1"]).converged


def test_a_correlation_at_its_bound_has_no_standard_error_and_is_said():
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(60, 4))
    y = (noise - noise.mean(axis=1, keepdims=True)).ravel()
    frame = pd.DataFrame({"y": y, "who": np.repeat(np.arange(60), 4), "when": np.tile(np.arange(4), 60)})
    fit = cl.mixed("y ~ 1", frame, residual=cl.residual.CAR1("when", within="who"))
    assert fit.residual_parameters().loc["rho", "estimate"] == pytest.approx(0.0, abs=1e-6)
    assert fit.residual_parameters()["std_error"].isna().all()
    assert any("is estimated as zero" in note for note in fit.notes)
    assert fit.deviance == pytest.approx(
        cl.mixed("y ~ 1", frame, residual=cl.residual.AR1("when", within="who"))
        .solution.criterion.value(np.zeros(1))
        .deviance,
        abs=1e-5,
    )


def test_correlations_next_to_one_are_found():
    rng = np.random.default_rng(5)
    who = np.repeat(np.arange(50), 5)
    steps = np.cumsum(rng.normal(size=(50, 5)), axis=1) + 1000.0 * rng.normal(size=(50, 1))
    frame = pd.DataFrame({"y": steps.ravel(), "who": who, "when": np.tile(np.arange(5), 50)})
    symmetric = cl.mixed("y ~ 1", frame, residual=cl.residual.CompoundSymmetry(within="who"))
    plain = cl.mixed("y ~ 1 + (1 | who)", frame)
    assert symmetric.deviance == pytest.approx(plain.deviance, abs=1e-7)
    lagged = cl.mixed("y ~ 1", frame, residual=cl.residual.AR1("when", within="who"))
    assert lagged.converged
    assert lagged.deviance < symmetric.deviance
