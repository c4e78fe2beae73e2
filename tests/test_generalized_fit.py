"""What fits of other families answer, and what they say."""

import json

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_data
from scipy import stats
from typer.testing import CliRunner

import crosslevel as cl
from crosslevel.cli.app import app
from crosslevel.display import page
from crosslevel.errors import CrosslevelError, DataError
from crosslevel.inference.generalized.given_effects import given_effects
from crosslevel.inference.generalized.predictor_error import PredictorError

FORMULA = "use ~ age + urban + livch + (urban | district)"


@pytest.fixture(scope="module")
def fit():
    return cl.mixed(FORMULA, load_data("Contraception"), family="binomial")


@pytest.fixture(scope="module")
def wine():
    return cl.mixed("rating ~ temp + contact + (1 | judge)", load_data("wine"), family="ordinal")


@pytest.fixture(scope="module")
def herds():
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    return cl.mixed(formula, load_data("cbpp"), family="binomial", ddf="between-within")


@pytest.fixture(scope="module")
def seizures():
    return cl.mixed("y ~ lbase * trt + (1 | subject)", load_data("epil"), family="negbinomial", exposure="base")


# -- coefficients ---------------------------------------------------------------------------------------------------
def test_the_coefficient_table(fit):
    frame = fit.tidy()
    columns = ["estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high"]
    assert list(frame.columns) == columns
    assert frame.index.name == "term"
    np.testing.assert_allclose(frame["p_value"], 2.0 * stats.norm.sf(np.abs(frame["statistic"])), rtol=1e-9)
    np.testing.assert_allclose(frame["conf_high"] - frame["estimate"], stats.norm.ppf(0.975) * frame["std_error"])
    np.testing.assert_allclose(np.sqrt(np.diag(fit.vcov)), fit.bse)
    assert np.isinf(fit.df).all()


def test_degrees_of_freedom_that_count(fit, herds):
    assert herds.ddf == "between-within"
    assert herds.df["Intercept"] == 14
    np.testing.assert_array_equal(fit.tests("residual")["df"], 1934 - 6)
    assert fit.tests("m-l-1").loc["urban[Y]", "df"] == 59
    assert fit.tests("m-l-1").loc["age", "df"] == 1934 - 6


def test_contrasts_and_terms(fit):
    one = fit.contrast("livch[2] - livch[1]")
    assert abs(one["estimate"].iloc[0] - (fit.params["livch[2]"] - fit.params["livch[1]"])) < 1e-12
    joint = fit.contrast(["livch[1]", "livch[2]", "livch[3+]"], joint=True)
    terms = fit.anova()
    assert abs(joint["statistic"].iloc[0] - terms.loc["livch", "statistic"]) < 1e-8
    chosen = ["livch[1]", "livch[2]", "livch[3+]"]
    beta, vcov = fit.params[chosen].to_numpy(), fit.vcov.loc[chosen, chosen].to_numpy()
    assert abs(terms.loc["livch", "statistic"] - beta @ np.linalg.solve(vcov, beta) / 3.0) < 1e-8


def test_intervals_by_other_methods(fit):
    robust = fit.conf_int(method="CR1")
    np.testing.assert_allclose(robust, fit.robust("CR1").tests()[["conf_low", "conf_high"]])
    with pytest.raises(CrosslevelError, match="Leave one of them out"):
        fit.tests("normal", vcov="CR1")


def test_profile_intervals(herds):
    found = herds.conf_int(method="profile")
    assert list(found.index) == list(herds.params.index)
    # lme4's profile intervals, of the Laplace approximation
    laplace = herds.update(quadrature="laplace").conf_int(method="profile")
    np.testing.assert_allclose(laplace.loc["period[2]"], [-1.61678326959875, -0.407763052029924], atol=2e-3)


def test_thresholds_stand_for_the_intercept(wine, fit):
    assert list(wine.params.index) == ["temp[warm]", "contact[yes]"]
    assert list(wine.thresholds().index) == ["1|2", "2|3", "3|4", "4|5"]
    assert np.all(np.diff(wine.thresholds()["estimate"]) > 0.0)
    assert wine.n_params == 7
    assert wine.contrast("temp[warm] - contact[yes]").shape == (1, 7)
    assert list(wine.anova().index) == ["temp", "contact"]
    with pytest.raises(CrosslevelError, match="`thresholds` are those between ordered categories"):
        fit.thresholds()


def test_dispersion(seizures, fit):
    frame = seizures.shape_parameters()
    assert list(frame.index) == list(seizures.shape.index) == ["precision"]
    row = frame.iloc[0]
    assert row["conf_low"] < row["estimate"] < row["conf_high"]
    assert abs(row["conf_low"] * row["conf_high"] - row["estimate"] ** 2) < 1e-6
    assert not len(fit.shape_parameters())


# -- random effects -------------------------------------------------------------------------------------------------
def test_variances(fit):
    frame = fit.varcomp()
    assert list(frame["kind"]) == ["variance", "variance", "covariance"]
    np.testing.assert_allclose(fit.cov_re["district"].to_numpy()[[0, 1, 0], [0, 1, 1]], frame["estimate"])
    assert frame["std_error"].notna().all()


def test_standard_errors_of_variances_by_another_parametrisation(herds):
    # theta is the standard deviation: Var(theta^2) = 4 theta^2 Var(theta), and lme4 gives that of theta
    laplace = herds.update(quadrature="laplace")
    found = laplace.varcomp().iloc[0]
    np.testing.assert_allclose(found["std_error"] / (2.0 * found["std_dev"]), 0.178562030992501, rtol=1e-3)


def test_coefficients_of_clusters(fit):
    modes, coef = fit.ranef(se=False)["district"], fit.coef()["district"]
    np.testing.assert_allclose(coef["urban[Y]"], fit.params["urban[Y]"] + modes["urban[Y]"])
    np.testing.assert_allclose(coef["age"], fit.params["age"])
    assert 0.0 < fit.reliability().average["Intercept"] < 1.0


def test_principal_components(fit):
    found = fit.rank_re()
    expected = np.sqrt(np.linalg.eigvalsh(fit.cov_re["district"].to_numpy())[::-1])
    np.testing.assert_allclose(found.components["sdev"], expected, rtol=1e-9)
    assert "SD: in units of the linear predictor" in str(found)


def test_known_covariances():
    data = load_data("Contraception")
    names = ["urban[N]", "urban[Y]"]
    matrix = pd.DataFrame([[1.0, 0.3], [0.3, 2.0]], index=names, columns=names)
    up_to_a_factor = cl.mixed(
        "use ~ age + propto(0 + urban | district, V)", data, family="binomial", known={"V": matrix}, quadrature=1
    )
    factor = float(up_to_a_factor.theta[0] ** 2)
    np.testing.assert_allclose(up_to_a_factor.cov_re["district"], factor * matrix, rtol=1e-9)
    known = cl.mixed(
        "use ~ age + equalto(0 + urban | district, V)", data, family="binomial", known={"V": factor * matrix},
        quadrature=1,
    )  # fmt: skip
    assert abs(known.deviance - up_to_a_factor.deviance) < 1e-8
    assert known.n_params == up_to_a_factor.n_params - 1
    assert "Covariance of 2 random effects of each district: V, as given" in " ".join(str(known).split())


# -- rows -----------------------------------------------------------------------------------------------------------
def test_fitted_values(fit):
    frame = fit.augment()
    np.testing.assert_allclose(frame["fitted"], 1.0 / (1.0 + np.exp(-frame["linear_predictor"])))
    np.testing.assert_allclose(frame["resid"], (frame["use"] == "Y") - frame["fitted"])
    np.testing.assert_allclose(fit.predict(), fit.fitted)
    np.testing.assert_allclose(fit.predict(scale="link"), frame["linear_predictor"])
    np.testing.assert_allclose(fit.predict(load_data("Contraception")), fit.fitted)
    np.testing.assert_allclose(fit.resid, frame["resid"])


def test_fitted_values_of_trials(herds):
    frame = herds.augment()
    np.testing.assert_allclose(frame["resid"], frame.iloc[:, 0] / frame["trials"] - frame["fitted"])


def test_probabilities_of_categories(wine):
    chances = wine.fitted
    assert list(chances.columns) == ["1", "2", "3", "4", "5"]
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    below = 1.0 / (
        1.0 + np.exp(wine.predict(scale="link").to_numpy()[:, None] - wine.thresholds()["estimate"].to_numpy())
    )
    np.testing.assert_allclose(np.cumsum(chances, axis=1).iloc[:, :-1], below)
    with pytest.raises(CrosslevelError, match="ordered categories are no numbers"):
        _ = wine.resid


def test_prediction_errors_of_known_and_new_clusters(fit):
    error = PredictorError.of(fit.solution, (0,), fit._modes)
    x, z = np.array([[1.0, -3.0, 1.0, 0.0, 1.0, 0.0]]).T, np.array([[1.0], [1.0]])
    known = error.variance(x, [z], [((np.array([7], dtype=np.int32), None),)])
    layout, change = fit.solution.criterion.layout, np.eye(9)  # there theta stays in working coordinates
    change[layout.beta, layout.beta] = fit.solution.criterion.rows.coordinates.beta_map
    joint = given_effects(fit.solution, (0,), (7,)).vcov(change @ fit.solution.working_vcov @ change.T)
    gradient = np.concatenate([np.zeros(3), x[:, 0], z[:, 0]])
    np.testing.assert_allclose(known, gradient @ joint @ gradient, rtol=1e-4)
    new = error.variance(x, [z], [((np.array([-1], dtype=np.int32), None),)])
    psi, vcov = fit.cov_re["district"].to_numpy(), fit.vcov.to_numpy()
    np.testing.assert_allclose(new, x[:, 0] @ vcov @ x[:, 0] + z[:, 0] @ psi @ z[:, 0], rtol=1e-9)


def test_prediction_intervals(fit):
    new = {"age": [0.0], "urban": ["Y"], "livch": ["1"], "district": ["1"]}
    link = fit.predict(new, scale="link", interval="confidence").iloc[0]
    mean = fit.predict(new, interval="confidence").iloc[0]
    np.testing.assert_allclose(mean[["estimate", "conf_low", "conf_high"]],
                               1.0 / (1.0 + np.exp(-link[["estimate", "conf_low", "conf_high"]])))  # fmt: skip
    fixed = fit.predict(new, scale="link", random_effects=False, se=True).iloc[0]
    np.testing.assert_allclose(fixed["std_error"], fit.contrast("Intercept + urban[Y] + livch[1]")["std_error"].iloc[0])
    with pytest.raises(CrosslevelError, match=r"draw them by fit\.simulate"):
        fit.predict(new, interval="prediction")
    with pytest.raises(CrosslevelError, match="`new` has 1 rows whose district"):
        fit.predict({**new, "district": ["none"]}, new_levels="raise")


def test_missing_predictors_have_no_prediction(fit):
    new = {"age": [0.0, np.nan], "urban": ["Y", "N"], "livch": ["1", "2"], "district": ["1", "1"]}
    assert fit.predict(new).isna().tolist() == [False, True]
    assert fit.predict(new, se=True)["std_error"].isna().tolist() == [False, True]


def test_exposures_of_new_rows(seizures):
    new = {"lbase": [0.0, 0.0], "trt": ["placebo"] * 2, "subject": ["1", "1"], "base": [5.0, 20.0]}
    first, second = seizures.predict(new)
    assert abs(second / first - 4.0) < 1e-12
    with pytest.raises(DataError, match="exposures in 'base' that are not positive"):
        seizures.predict({**new, "base": [0.0, 1.0]})
    numbers = seizures.update(exposure=load_data("epil")["base"])
    with pytest.raises(CrosslevelError, match="`exposure` was given as numbers"):
        numbers.predict(new)


def test_simulated_outcomes_can_be_fitted(fit, wine, herds, seizures):
    for model in (fit, wine, herds, seizures):
        drawn = model.simulate(seed=3)
        assert drawn.equals(model.simulate(seed=3, n=2)["sim_1"])
        again = model.refit(drawn)
        assert again.params.index.equals(model.params.index)
        assert abs(again.deviance - model.deviance) > 1e-3
    assert set(fit.simulate(seed=1)) == {"N", "Y"}
    assert np.all(herds.simulate(seed=1).to_numpy() <= herds.outcome.size)
    with pytest.raises(DataError, match="'Z', which the fitted model does not know"):
        fit.refit(["Z"] * 1934)


def test_simulated_outcomes_have_the_means_of_the_model(herds):
    drawn = herds.simulate(seed=5, n=4000, random_effects="conditional").to_numpy(dtype=float)
    expected = herds.fitted.to_numpy() * herds.outcome.size
    error = np.sqrt(expected * (1.0 - herds.fitted.to_numpy()) / 4000)
    assert np.abs(drawn.mean(axis=1) - expected).max() < 4.5 * error.max()
    new = {"period": ["1", "2"], "herd": ["1", "99"], "incidence": [0, 0], "size": [10, 200]}
    assert herds.simulate(seed=1, new=new).le([10, 200]).all()


# -- other models ---------------------------------------------------------------------------------------------------
def test_update(fit):
    smaller = fit.update("~ . - livch")
    assert "livch[1]" not in smaller.params.index
    assert smaller.family.name == "binomial"
    probit = smaller.update(family=cl.families.Binomial(link="probit"), quadrature=1)
    assert probit.family.link == "probit"
    assert probit.quadrature.kind == "laplace"


def test_refitting_the_same_outcome_changes_nothing(herds):
    again = herds.refit(herds.outcome.y)
    assert abs(again.deviance - herds.deviance) < 1e-9
    np.testing.assert_allclose(again.params, herds.params, rtol=1e-8)


def test_a_prior_keeps_a_variance_from_zero():
    data = load_data("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    singular = cl.mixed(formula, data, family="betabinomial")
    assert singular.is_singular
    assert any("prior=cl.prior.Weak()" in note for note in singular.notes)
    held = cl.mixed(formula, data, family="betabinomial", prior=cl.prior.Weak(coefficients=None, intercept=None))
    assert not held.is_singular
    assert held.deviance > singular.deviance
    assert "Prior" in str(held)


def test_warnings_point_at_the_call(herds):
    data, formula = load_data("cbpp"), "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    for ask in (
        lambda: cl.mixed(formula, data, family="binomial", max_steps=1),
        lambda: cl.mixed("size ~ period + (1 | herd)", data, max_steps=1),
    ):
        with pytest.warns(cl.ConvergenceWarning) as found:
            ask()
        assert found[0].filename == __file__


# -- words ----------------------------------------------------------------------------------------------------------
def test_the_summary_says_what_was_done(fit):
    text = " ".join(str(fit).split())
    assert "Multilevel model of use: binomial, logit link" in text
    assert "probability that use is Y, as it is in 759 of 1,934 rows (39.2%); N counts as 0" in text
    assert "adaptive Gauss-Hermite quadrature" in text
    assert "The Laplace approximation's log-likelihood is 0.3" in text
    assert "logit P(use_ij = Y) = β0j" in text
    assert "Coefficients are in log odds, between rows whose random effects are the same" in text
    assert "Intraclass correlation of the latent variable" in text
    assert "Median odds ratio" in text
    assert "Likelihood-ratio test against the model without random effects" in text
    assert max(map(len, str(fit).splitlines())) <= 80


def test_the_summary_of_ordered_categories(wine):
    text = " ".join(str(wine).split())
    assert "5 ordered categories, with their rows: 1 (5), 2 (22), 3 (26), 4 (12), 5 (7)" in text
    assert "logit P(rating_ij ≤ c) = θ_c - η_ij" in text
    assert "Thresholds θ between categories" in text
    assert "log odds of a higher category" in text


def test_the_summary_of_trials_and_of_counts(herds, seizures):
    text = " ".join(str(herds).split())
    assert "probability of success: 99 of 842 trials (11.8%)" in text
    assert "Degrees of freedom between-within" in text
    text = " ".join(str(seizures).split())
    assert "expected y per unit of base" in text
    assert "log E(y_ij / base_ij)" in text
    assert "Precision: the variance is mean + mean^2 / precision" in text
    assert "Exposure base; its logarithm is added" in text


def test_the_summary_says_how_the_random_effects_were_integrated_out(herds):
    found = {name: " ".join(str(herds.update(quadrature=name)).split()) for name in ("laplace", 9, "pql", "mql")}
    assert (
        "Laplace approximation (one node), as asked for; quadrature='auto' tells how far it is off" in found["laplace"]
    )
    assert "adaptive Gauss-Hermite quadrature, 9 nodes. The Laplace" in found[9]
    assert "penalised quasi-likelihood (PQL): no likelihood is maximised" in found["pql"]
    assert "MQL is for comparison" in found["mql"]
    assert "Likelihood-ratio test" not in found["pql"]


def test_few_answers_in_crossed_clusters_are_told():
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"y": rng.integers(0, 2, 300), "a": np.arange(300) // 3, "b": np.arange(300) % 10})
    crossed = cl.mixed("y ~ 1 + (1 | a) + (1 | b)", data, family="binomial")
    assert any("The Laplace approximation may be poor here: levels have 3 answers" in note for note in crossed.notes)


def test_categories_that_do_not_occur_are_told():
    data = load_data("wine")
    rare = data[data["rating"] != "5"]
    assert any("No row has the outcome 5" in note for note in
               cl.mixed("rating ~ temp + (1 | judge)", rare, family="ordinal").notes)  # fmt: skip


def test_what_belongs_to_linear_models_is_refused(fit):
    for ask in (
        lambda: fit.sigma,
        lambda: fit.resid_normalised,
        fit.residual_parameters,
        fit.test_residual_homogeneity,
        fit.heterogeneity,
        fit.design_effect,
        fit.variance_shares,
    ):
        with pytest.raises(CrosslevelError, match="a model with family='binomial' has none"):
            ask()


# -- elsewhere ------------------------------------------------------------------------------------------------------
def test_every_number_fits_into_json(fit, wine, seizures):
    for model in (fit, wine, seizures):
        record = model.to_dict()
        assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert fit.to_dict()["outcome"]["labels"] == ["N", "Y"]
    assert fit.to_dict()["quadrature"]["kind"] == "adaptive"
    assert len(wine.to_dict()["thresholds"]) == 4
    assert fit.glance()["family"].iloc[0] == "binomial"


def test_comparisons_say_what_cannot_be_compared(fit):
    data = load_data("Contraception")
    one = cl.mixed("use ~ age + (1 | district)", data, family="binomial", quadrature=1)
    probit = one.update(family=cl.families.Binomial(link="probit"))
    with pytest.warns(cl.DataWarning, match="different links"):
        found = cl.compare(one, probit)
    assert found.names == ("Mixed model, logit", "Mixed model, probit")
    plain = cl.glm("use ~ age", data, family="binomial", cluster="district")
    with pytest.warns(cl.DataWarning, match="Some coefficients"):
        cl.compare(one, plain)
    assert cl.compare(one, (one, "CR1")).notes == ()


def test_nested_models_are_tested(fit):
    smaller = fit.update("~ . - livch")
    found = cl.lrtest(smaller, fit)
    assert abs(found.statistic - (smaller.deviance - fit.deviance)) < 1e-9
    assert found.df == 3


def test_the_command_line(tmp_path):
    file = tmp_path / "cbpp.csv"
    load_data("cbpp").assign(share=lambda d: d["incidence"] / d["size"]).to_csv(file, index=False)
    asked = ["fit", str(file), "share ~ C(period) + (1 | herd)", "--trials", "size"]
    shown = CliRunner().invoke(app, [*asked, "--family", "binomial:probit", "--quadrature", "5"])
    assert shown.exit_code == 0
    assert "binomial, probit link" in shown.output
    recorded = CliRunner().invoke(app, [*asked, "--family", "binomial", "--json"])
    assert json.loads(recorded.output)["outcome"]["trials"] == 842.0
    with pytest.raises(CrosslevelError, match="poisson has the link log only"):
        CliRunner().invoke(app, [*asked, "--family", "poisson:logit"], catch_exceptions=False)
    with pytest.raises(CrosslevelError, match="Did you mean 'binomial'"):
        CliRunner().invoke(app, [*asked, "--family", "binomal"], catch_exceptions=False)


def test_the_page(fit, wine):
    for model in (fit, wine):
        html = page(model.summary())
        assert "<table" in html
        assert model._repr_html_().startswith("<")


def test_probabilities_of_far_categories_do_not_cancel() -> None:
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.repeat(np.arange(10), 12), "x": rng.standard_normal(120)})
    latent = data["x"] + rng.standard_normal(10)[data["g"]] + rng.logistic(size=120)
    data["rank"] = np.digitize(latent, [-1.0, 1.0])
    far = pd.DataFrame({"g": [-1], "x": [-60.0]})
    mixed = cl.mixed("rank ~ x + (1 | g)", data, family="ordinal", quadrature=1)
    pooled = cl.glm("rank ~ x", data, family="ordinal")
    for fit in (mixed, pooled):
        cut, slope = fit.thresholds(), float(fit.params["x"])
        highest = float(fit.predict(far).iloc[0, -1])
        assert 0.0 < highest == pytest.approx(np.exp(-60.0 * slope - cut["estimate"].iloc[-1]), rel=1e-10)
