"""Corrections for measurement error: closed forms, independent twins, and simulations."""

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.diagnostics.sensitivity.latent_mean import latent_mean
from crosslevel.diagnostics.sensitivity.measurement_error import measurement_error
from crosslevel.inference.two_level_normal import (
    ClusterMoments,
    TwoLevelDeviance,
    two_level_normal,
)

WITHIN, BETWEEN = "within(x, g)", "between(x, g)"
TWO_LEVEL = "y ~ within(x, g) + between(x, g) + (1 | g)"


def drawn(rng, *, clusters, n, slope_within=1.0, slope_between=2.0, error=0.0, tau=1.0, balanced=True):
    """x with variance 1 within and tau² between clusters, and y that depends on the latent parts of it."""
    sizes = np.full(clusters, n) if balanced else rng.integers(2, 2 * n - 1, clusters)
    g = np.repeat(np.arange(clusters), sizes)
    latent, inside = tau * rng.normal(size=clusters)[g], rng.normal(size=len(g))
    y = 1.0 + slope_between * latent + slope_within * inside + 0.5 * rng.normal(size=clusters)[g]
    y = y + rng.normal(size=len(g))
    return pd.DataFrame({"g": g, "x": latent + inside + error * rng.normal(size=len(g)), "y": y})


def dense_deviance(y, w, codes, within, between, reml):
    """-2 log-likelihood by the whole covariance matrix, without the constant."""
    (n, m), k = y.shape, w.shape[1]
    same = (codes[:, None] == codes[None, :]).astype(float)
    v = np.kron(np.eye(n), within) + np.kron(same, between)
    x = np.kron(w, np.eye(m))
    inverse = np.linalg.inv(v)
    information = x.T @ inverse @ x
    beta = np.linalg.solve(information, x.T @ inverse @ y.ravel())
    residual = y.ravel() - x @ beta
    deviance = np.linalg.slogdet(v)[1] + residual @ inverse @ residual
    return deviance + (np.linalg.slogdet(information)[1] if reml else 0.0), beta.reshape(k, m), information


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize("between", [[[0.5, 0.1], [0.1, 0.3]], [[0.5, 0.0], [0.0, 0.0]]])
def test_deviance_of_two_levels_is_that_of_the_whole_covariance_matrix(reml, between):
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 7])
    y, w = rng.normal(size=(22, 2)), np.column_stack([np.ones(22), rng.normal(size=(22, 2))])
    criterion = TwoLevelDeviance(moments=ClusterMoments.of(y, w, codes), reml=reml)
    within = np.array([[1.0, 0.3], [0.3, 2.0]])
    between = np.array(between)
    places = np.tril_indices(2)
    root = np.zeros((2, 2))
    root[:, 0] = between[:, 0] / np.sqrt(between[0, 0])
    root[1, 1] = np.sqrt(between[1, 1] - root[1, 0] ** 2)
    theta = np.concatenate([np.linalg.cholesky(within)[places], root[places]])

    at = criterion.value(theta)
    deviance, beta, information = dense_deviance(y, w, codes, within, between, reml)
    assert at.deviance == pytest.approx(deviance, rel=1e-10)
    np.testing.assert_allclose(at.coefficients, beta, rtol=1e-9)
    np.testing.assert_allclose(at.information, information, rtol=1e-9, atol=1e-10)

    gradient, step = criterion.derivatives(at, theta).gradient, 1e-6
    ends = [[criterion.value(theta + sign * step * e).deviance for sign in (1, -1)] for e in np.eye(6)]
    differences = np.array([(up - down) / (2 * step) for up, down in ends])
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["ml", "reml"])
def test_one_outcome_is_a_random_intercept_model(method):
    data = drawn(np.random.default_rng(2), clusters=20, n=6, balanced=False)
    fit = cl.mixed("y ~ x + (1 | g)", data, method=method)
    w = np.column_stack([np.ones(len(data)), data["x"]])
    found = two_level_normal(data[["y"]].to_numpy(), w, data["g"].to_numpy(), reml=method == "reml")
    constant = (len(data) - (2 if method == "reml" else 0)) * np.log(2 * np.pi)
    assert found.deviance + constant == pytest.approx(fit.deviance, abs=1e-7)
    np.testing.assert_allclose(found.coefficients[:, 0], fit.params, rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(np.diag(found.coefficients_vcov)), fit.bse, rtol=1e-5)


def test_two_outcomes_are_a_stacked_model_with_a_free_residual_covariance():
    data = drawn(np.random.default_rng(3), clusters=25, n=4, balanced=False)
    stacked = pd.concat([data.assign(value=data[name], outcome=name, row=np.arange(len(data))) for name in ("x", "y")])
    residual = cl.residual.Unstructured("outcome", within="row")
    fit = cl.mixed("value ~ 0 + outcome + (0 + outcome | g)", stacked, method="ml", residual=residual)
    found = two_level_normal(data[["x", "y"]].to_numpy(), np.ones((len(data), 1)), data["g"].to_numpy())
    assert found.deviance + 2 * len(data) * np.log(2 * np.pi) == pytest.approx(fit.deviance, abs=1e-6)
    np.testing.assert_allclose(found.between, fit.cov_re["g"], rtol=1e-4)
    np.testing.assert_allclose(found.coefficients[0], fit.params, rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(found.coefficients_vcov)), fit.bse, rtol=1e-5)


# -- latent means -------------------------------------------------------------------------------------------------
def test_balanced_observed_means_are_latent_ones_attenuated_as_luedtke_says():
    data = drawn(np.random.default_rng(4), clusters=40, n=5)
    found = latent_mean(TWO_LEVEL, data, variable="x")
    within, between, _ = found.names
    effects, observed = found.table["estimate"], found.manifest["estimate"]
    reliability = float(found.reliability.iloc[0])
    icc = found.between_variance / (found.between_variance + found.within_variance)
    assert reliability == pytest.approx(5 * icc / (1 + 4 * icc), rel=1e-12)
    expected = effects[within] + (effects[between] - effects[within]) * reliability
    assert observed[between] == pytest.approx(expected, rel=1e-6)
    assert observed[within] == pytest.approx(effects[within], rel=1e-6)

    fit = cl.mixed(TWO_LEVEL, data, method="ml")
    np.testing.assert_allclose(observed[[within, between]], fit.params[[WITHIN, BETWEEN]], rtol=1e-6)
    np.testing.assert_allclose(found.manifest["std_error"][[within, between]], fit.bse[[WITHIN, BETWEEN]], rtol=1e-5)


def test_latent_effects_of_other_predictors_are_those_of_a_dense_joint_model():
    rng = np.random.default_rng(5)
    data = drawn(rng, clusters=30, n=5, balanced=False)
    data = data.assign(z=rng.normal(size=30)[data["g"]], v=rng.normal(size=len(data)) + 0.5 * data["x"])
    data["y"] += data["z"] - data["v"]
    found = latent_mean("y ~ x + z + v + (1 | g)", data, variable="x", error_sd=0.3)
    assert list(found.table.index[3:]) == ["Intercept", "z", "within(v, g)", "between(v, g)"]

    # the conditional model of y given x, by numbers alone: with its own optimum the same as the joint one
    codes = data["g"].to_numpy()
    mean = data["v"].groupby(codes).transform("mean")
    w = np.column_stack([np.ones(len(data)), data["z"], data["v"] - mean, mean])
    joint = two_level_normal(data[["x", "y"]].to_numpy(), w, codes)
    slope_b = joint.between[0, 1] / joint.between[0, 0]
    slope_w = joint.within[0, 1] / (joint.within[0, 0] - 0.09)
    direct = joint.coefficients[:, 1] - np.array([slope_b, slope_b, slope_w, slope_b]) * joint.coefficients[:, 0]
    np.testing.assert_allclose(found.table["estimate"].iloc[:2], [slope_w, slope_b], rtol=1e-10)
    np.testing.assert_allclose(found.table["estimate"].iloc[3:], direct, rtol=1e-10)


def test_words_and_light_of_latent_means():
    data = drawn(np.random.default_rng(6), clusters=300, n=3, slope_within=0.0, slope_between=3.0, tau=0.4)
    found = latent_mean(TWO_LEVEL, data, variable="x")
    assert found.concern == "act"
    assert "of latent means" in " ".join(found.sentences)
    assert found.document()._repr_html_()


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ x * z + (1 | g)", "linear in x"),
        ("y ~ x + (x | g)", "other random effects than intercepts"),
        ("y ~ I(x ** 2) + (1 | g)", "method='simex'"),
        ("y ~ z + (1 | g)", "one of z"),
    ],
)
def test_latent_means_refuse_models_they_are_not_for(formula, words):
    rng = np.random.default_rng(7)
    data = drawn(rng, clusters=30, n=5)
    data["z"] = rng.normal(size=30)[data["g"]]
    with pytest.raises(cl.CrosslevelError, match=words):
        latent_mean(formula, data, variable="x")


# -- calibration --------------------------------------------------------------------------------------------------
def test_calibration_of_a_line_divides_by_the_reliability():
    rng = np.random.default_rng(8)
    x = rng.normal(size=200)
    data = pd.DataFrame({"x": x, "y": 2 * x + rng.normal(size=200)})
    found = measurement_error(cl.ols("y ~ x", data), "x", error_sd=0.5)
    reliability = 1 - 0.25 / np.var(x, ddof=1)
    assert found.table.loc["x", "estimate"] == pytest.approx(found.naive.loc["x", "estimate"] / reliability, rel=1e-9)


def test_calibration_in_balanced_clusters_has_a_closed_form():
    data = drawn(np.random.default_rng(9), clusters=40, n=5, error=0.6)
    fit = cl.mixed(TWO_LEVEL, data)
    own = data["x"].groupby(data["g"])
    within = float(own.var(ddof=1).mean())
    means = float(own.mean().var(ddof=1))
    kept = 1 - 0.36 / within
    error = 0.36
    found = {members: measurement_error(fit, "x", error_sd=0.6, members=members) for members in ("all", "sample")}
    slope, mean = fit.params[WITHIN] / kept, fit.params[BETWEEN]
    for members, true in (("all", means - error / 5), ("sample", means - within / 5)):
        table = found[members].table["estimate"]
        reliability = true / means
        assert float(found[members].reliability_means.iloc[0]) == pytest.approx(reliability, rel=1e-6)
        assert table[WITHIN] == pytest.approx(slope, rel=1e-5)
        # what a mean lacks in reliability is taken for a deviation, where rows are a sample
        between = mean / reliability if members == "all" else (mean - slope * kept * (1 - reliability)) / reliability
        assert table[BETWEEN] == pytest.approx(between, rel=1e-5)
    latent = latent_mean(TWO_LEVEL, data, variable="x", error_sd=0.6)
    assert found["sample"].table.loc[WITHIN, "estimate"] == pytest.approx(latent.table["estimate"].iloc[0], rel=1e-5)


def test_calibration_of_a_variable_of_clusters_is_that_of_its_values_by_cluster():
    rng = np.random.default_rng(10)
    data = drawn(rng, clusters=30, n=8)
    z = rng.normal(size=30)
    data["z"] = z[data["g"]]
    fit = cl.mixed("y ~ z + (1 | g)", data)
    found = measurement_error(fit, "z", error_sd=0.4)
    kept = 1 - 0.16 / np.var(z, ddof=1)
    assert found.table.loc["z", "estimate"] == pytest.approx(fit.params["z"] / kept, rel=1e-8)
    assert found.reliability == pytest.approx(1 - 0.16 / np.var(z))


def test_calibration_keeps_rows_with_missing_values_out_and_names_as_they_are():
    data = drawn(np.random.default_rng(11), clusters=20, n=6)
    data.loc[::7, "x"] = np.nan
    data = data.assign(group=data["g"].map(lambda k: "ab"[k % 2]))
    fit = cl.mixed("y ~ within(x, g) * group + between(x, g) + (within(x, g) | g)", data)
    found = measurement_error(fit, "x", reliability=0.9)
    assert list(found.table.index) == list(fit.params.index)
    assert found.calibrated.fit.nobs == fit.nobs
    assert found.involved == (WITHIN, BETWEEN, f"{WITHIN}:group[b]")


def test_other_families_are_calibrated():
    data = drawn(np.random.default_rng(12), clusters=30, n=10, error=0.5)
    data["y"] = (data["y"] > 1.0).astype(float)
    fit = cl.mixed("y ~ x + (1 | g)", data, family="binomial", quadrature="laplace")
    found = measurement_error(fit, "x", error_sd=0.5)
    assert found.table.loc["x", "estimate"] > 1.1 * fit.params["x"]
    assert found.table.loc["x", "std_error"] > fit.bse["x"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "is needed, and not both"),
        ({"reliability": 0.8, "error_sd": 1.0}, "is needed, and not both"),
        ({"reliability": 1.2}, "a share above 0"),
        ({"error_sd": 5.0}, "So much error cannot be"),
        ({"error_sd": 0.1, "method": "magic"}, "'calibration' or 'simex'"),
        ({"error_sd": 0.1, "members": "some"}, "`members`"),
        ({"error_sd": 0.1, "method": "simex", "n": 2}, "at least 10"),
        ({"error_sd": 0.1, "method": "simex", "added": [1.0]}, "at least two"),
    ],
)
def test_impossible_arguments_are_refused(arguments, words):
    fit = cl.mixed(TWO_LEVEL, drawn(np.random.default_rng(13), clusters=20, n=5))
    with pytest.raises(cl.CrosslevelError, match=words):
        measurement_error(fit, "x", **arguments)


def test_rows_that_stand_for_several_are_refused():
    data = drawn(np.random.default_rng(16), clusters=20, n=5).assign(w=2.0)
    fit = cl.mixed(TWO_LEVEL, data, weights=cl.Frequency("w"))
    with pytest.raises(cl.CrosslevelError, match="Repeat the rows"):
        measurement_error(fit, "x", error_sd=0.1)
    fit = cl.mixed(
        TWO_LEVEL,
        data.assign(v=np.where(data["g"] % 2, 1.0, 2.0)),
        method="ml",
        weights=cl.Sampling("w", clusters={"g": "v"}, scaling="size"),
    )
    with pytest.raises(cl.CrosslevelError, match="method='simex'"):
        measurement_error(fit, "x", error_sd=0.1)


# -- simulation and extrapolation ---------------------------------------------------------------------------------
def test_simulated_errors_follow_the_attenuation_formula():
    rng = np.random.default_rng(14)
    x = rng.normal(size=2000)
    data = pd.DataFrame({"x": x + 0.5 * rng.normal(size=2000), "y": 2 * x + rng.normal(size=2000)})
    fit = cl.ols("y ~ x", data)
    found = measurement_error(fit, "x", error_sd=0.5, method="simex", n=10, seed=3, progress=False)
    path, variance = found.path, np.var(data["x"])
    expected = fit.params["x"] * variance / (variance + 0.25 * path.added)
    mcse = np.sqrt(path.noise[:, 1])
    assert np.all(np.abs(path.means[:, 1] - expected) <= 4 * mcse + 2e-3)
    np.testing.assert_allclose(
        np.polyval(np.polyfit(path.added, path.means[:, 1], 2), -1.0), path.extrapolated[1], rtol=1e-10
    )
    np.testing.assert_allclose(path.curve("x", np.array([-1.0])), path.extrapolated[1], rtol=1e-10)
    # Stefanski & Cook's variance at one amount, by hand
    by_hand = path.weights @ (path.model - path.between)[:, 1, 1]
    assert found.table.loc["x", "std_error"] == pytest.approx(np.sqrt(by_hand))
    again = measurement_error(fit, "x", error_sd=0.5, method="simex", n=10, seed=3, progress=False)
    pd.testing.assert_frame_equal(again.frame, found.frame)


def test_simulated_errors_of_a_variable_of_clusters_are_those_of_clusters():
    rng = np.random.default_rng(15)
    data = drawn(rng, clusters=200, n=2)
    z = rng.normal(size=200)
    data = data.assign(z=(z + 0.6 * rng.normal(size=200))[data["g"]], y=data["y"] + 3 * z[data["g"]])
    fit = cl.mixed("y ~ I(z + 0) + (1 | g)", data)
    found = measurement_error(fit, "z", error_sd=0.6, method="simex", n=10, progress=False)
    assert found.table["estimate"].iloc[1] > 1.2 * fit.params.iloc[1]


# -- recovery -----------------------------------------------------------------------------------------------------
def recovered(draw, estimate, truth, reps, seed):
    """Assert that estimates are unbiased within three Monte-Carlo standard errors, and their errors honest."""
    rng = np.random.default_rng(seed)
    values = np.array([estimate(draw(rng)) for _ in range(reps)])  # (reps, 2, terms)
    mean, spread = values[:, 0].mean(axis=0), values[:, 0].std(axis=0, ddof=1)
    assert np.all(np.abs(mean - truth) <= 3 * spread / np.sqrt(reps)), (mean, truth, spread / np.sqrt(reps))
    ratio = np.sqrt((values[:, 1] ** 2).mean(axis=0)) / spread
    assert np.all(np.abs(ratio - 1) < 3 / np.sqrt(2 * reps) + 0.04), ratio


@pytest.mark.slow
@pytest.mark.parametrize("error", [0.0, 0.7])
def test_latent_means_recover_effects(error):
    def estimate(data):
        told = {"error_sd": error} if error else {}
        return latent_mean(TWO_LEVEL, data, variable="x", **told).table[["estimate", "std_error"]].to_numpy()[:3].T

    recovered(
        lambda rng: drawn(rng, clusters=250, n=6, balanced=False, error=error), estimate, [1.0, 2.0, 1.0], 300, 21
    )


@pytest.mark.slow
@pytest.mark.parametrize("members", ["all", "sample"])
def test_calibration_recovers_effects(members):
    def draw(rng):
        g = np.repeat(np.arange(150), rng.integers(3, 12, 150))
        latent, inside = rng.normal(size=150)[g], rng.normal(size=len(g))
        z, v = 0.6 * latent + rng.normal(size=150)[g], 0.5 * inside + rng.normal(size=len(g))
        v = v - pd.Series(v).groupby(g).transform("mean").to_numpy()
        x = latent + inside
        mean = latent if members == "sample" else pd.Series(x).groupby(g).transform("mean").to_numpy()
        slope = 1.0 + 0.5 * z + 0.3 * rng.normal(size=150)[g]
        y = 1.0 + slope * (x - mean) + 2.0 * mean + z - v + 0.5 * rng.normal(size=150)[g] + rng.normal(size=len(g))
        return pd.DataFrame({"g": g, "x": x + 0.7 * rng.normal(size=len(g)), "y": y, "z": z, "v": v})

    formula = "y ~ within(x, g) * z + between(x, g) + v + (within(x, g) | g)"

    def estimate(data):
        found = measurement_error(cl.mixed(formula, data), "x", error_sd=0.7, members=members)
        return found.table[["estimate", "std_error"]].to_numpy().T

    terms = {"Intercept": 1.0, WITHIN: 1.0, "z": 1.0, BETWEEN: 2.0, "v": -1.0, f"{WITHIN}:z": 0.5}
    fit = cl.mixed(formula, draw(np.random.default_rng(0)))
    recovered(draw, estimate, [terms[name] for name in fit.params.index], 120, 22)


@pytest.mark.slow
def test_extrapolation_removes_the_bias_of_a_little_error():
    def draw(rng):
        return drawn(rng, clusters=100, n=8, slope_between=1.0, error=0.4)

    def estimate(data):
        found = measurement_error(
            cl.mixed("y ~ x + (1 | g)", data), "x", error_sd=0.4, method="simex", n=20, progress=False
        )
        return found.table[["estimate", "std_error"]].to_numpy().T

    recovered(draw, estimate, [1.0, 1.0], 40, 23)
