"""Degrees of freedom, intervals, variance components, ICC, reliability, boundary tests and conditional modes."""

import dense
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import crosslevel as cl
from crosslevel.inference.icc import intraclass_correlation, reliability
from crosslevel.inference.lrt import boundary_test

SIZES = [1829, 1027, 1007, 992, 1091, 992, 2058, 1487, 1274, 1106, 1035, 1568, 1099, 1585, 1221, 1031, 1388]
HSB = "mathach ~ within(ses, school) * sector + within(ses, school) * meanses + {} + (within(ses, school) | school)"


def simulated(seed: int = 1, *, clusters: int = 12, largest: int = 9) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(clusters), rng.integers(3, largest, clusters))
    x, w = rng.normal(size=(2, g.size))
    u = rng.normal(size=(clusters, 2)) @ np.array([[1.0, 0.3], [0.0, 0.8]])
    z = rng.normal(size=clusters)[g]
    y = 2.0 + x + 0.5 * z + 0.3 * x * z + u[g, 0] + u[g, 1] * x + rng.normal(size=g.size)
    return pd.DataFrame({"y": y, "x": x, "w": w, "z": z, "g": g})


def twin(data: pd.DataFrame, fixed: list[str], random: list[str]) -> dense.Data:
    columns = data.assign(one=1.0, xz=data.x * data.z)
    return dense.Data(
        y=data.y.to_numpy(), X=columns[fixed].to_numpy(), Z=columns[random].to_numpy(), codes=data.g.to_numpy()
    )


# -- degrees of freedom: J clusters, Q cluster-level predictors in the coefficient's equation -------------------------


def test_m_l_1_on_slopes_as_outcomes() -> None:
    df = cl.mixed(HSB.format("minority"), cl.datasets.load("hsb")).df
    assert df["Intercept"] == df["sector[Catholic]"] == df["meanses"] == 160 - 2 - 1
    assert df["within(ses, school)"] == df["within(ses, school):meanses"] == 160 - 2 - 1
    assert df["minority"] == 7185 - 7


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("y ~ 1 + (1 | g)", {"Intercept": 11}),
        ("y ~ x + (1 | g)", {"Intercept": 11, "x": "rest"}),
        ("y ~ x + (x | g)", {"Intercept": 11, "x": 11}),
        ("y ~ x + z + (x | g)", {"Intercept": 10, "x": 11, "z": 10}),
        ("y ~ x * z + (x | g)", {"Intercept": 10, "z": 10, "x": 10, "x:z": 10}),
        ("y ~ x * z + w + (1 | g)", {"Intercept": 10, "z": 10, "x": "rest", "x:z": "rest", "w": "rest"}),
        ("y ~ x + x:z + (x | g)", {"Intercept": 11, "x": 10, "x:z": 10}),  # z has no column of its own
        ("y ~ x + z + (z | g)", {"Intercept": 10, "x": "rest", "z": 10}),  # a cluster variable explains the intercept
        ("y ~ x * w + (x | g)", {"Intercept": 11, "x": 11, "w": "rest", "x:w": "rest"}),  # w is no cluster variable
        ("y ~ within(x, g) + between(x, g) + (1 | g)", {"Intercept": 10, "between(x, g)": 10, "within(x, g)": "rest"}),
    ],
)
def test_m_l_1_by_hand(formula: str, expected: dict[str, int | str]) -> None:
    data = simulated()
    df = cl.mixed(formula, data, ddf="m-l-1").df
    rest = len(data) - len(expected)
    assert df.to_dict() == {name: rest if value == "rest" else value for name, value in expected.items()}


def test_no_degrees_of_freedom_are_missing_not_negative() -> None:
    data = simulated(clusters=4).assign(z2=lambda d: d.z**2, z3=lambda d: np.sin(9 * d.z))
    table = cl.mixed("y ~ z + z2 + z3 + (0 + x | g)", data).tidy()
    assert table[["df", "p_value", "conf_low"]].isna().all(axis=None)
    assert table["std_error"].notna().all()


def test_methods_and_intervals_are_those_of_student_and_the_normal() -> None:
    fit = cl.mixed("y ~ x + (x | g)", simulated())
    for name, df in {"m-l-1": 11.0, "residual": fit.nobs - 2.0, "normal": np.inf}.items():
        table = fit.tests(ddf=name, level=0.9)
        reference = stats.norm() if np.isinf(df) else stats.t(df)
        half = reference.ppf(0.95) * fit.bse
        np.testing.assert_array_equal(table["df"], df)
        np.testing.assert_allclose(table["statistic"], fit.params / fit.bse, rtol=1e-14)
        np.testing.assert_allclose(table["p_value"], 2 * reference.sf(abs(fit.params / fit.bse)), rtol=1e-10)
        np.testing.assert_allclose(fit.conf_int(0.9, method=name)["conf_low"], fit.params - half, rtol=1e-12)
        np.testing.assert_allclose(fit.conf_int(0.9, method=name)["conf_high"], fit.params + half, rtol=1e-12)


# -- variance components ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_standard_errors_of_variance_components(method: str) -> None:
    """Against second differences of the dense likelihood in (log sd, log sd, Fisher's z, log sigma)."""
    data = simulated()
    fit = cl.mixed("y ~ x * z + (x | g)", data, method=method)
    rows = twin(data, ["one", "x", "z", "xz"], ["one", "x"])

    def covariance(at: np.ndarray) -> np.ndarray:
        first, second, r = np.exp(at[0]), np.exp(at[1]), np.tanh(at[2])
        return np.array([[first**2, r * first * second], [r * first * second, second**2]])

    def deviance(at: np.ndarray) -> float:
        return dense.joint_deviance(rows, covariance(at), np.exp(at[3]), reml=method == "reml")

    tau = fit.cov_re["g"].to_numpy()
    sd = np.sqrt(np.diag(tau))
    at = np.array([*np.log(sd), np.arctanh(tau[0, 1] / sd.prod()), np.log(fit.sigma)])
    se = np.sqrt(np.diag(np.linalg.inv(dense.hessian(deviance, at) / 2.0)))

    table = fit.varcomp(level=0.9)
    z = stats.norm.ppf(0.95)
    natural = [np.exp, np.exp, np.tanh, np.exp]
    for row, transform, value, error in zip([0, 1, 2, 3], natural, at, se, strict=True):
        np.testing.assert_allclose(table.loc[row, "std_dev"], transform(value), rtol=1e-10)
        np.testing.assert_allclose(table.loc[row, "std_dev_low"], transform(value - z * error), rtol=1e-5)
        np.testing.assert_allclose(table.loc[row, "std_dev_high"], transform(value + z * error), rtol=1e-5)
    variances = table.loc[[0, 1, 3]]
    np.testing.assert_allclose(variances["std_error"], 2 * variances["estimate"] * se[[0, 1, 3]], rtol=1e-5)
    np.testing.assert_allclose(variances["conf_low"], variances["std_dev_low"] ** 2, rtol=1e-12)
    assert table.loc[2, ["kind", "term1", "term2"]].tolist() == ["covariance", "Intercept", "x"]


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_standard_error_of_the_icc(method: str) -> None:
    """Against the delta method on second differences of the dense likelihood in (tau, sigma^2), covariance included."""
    data = simulated()
    fit = cl.mixed("y ~ x + (1 | g)", data, method=method)
    rows = twin(data, ["one", "x"], ["one"])

    def deviance(at: np.ndarray) -> float:
        return dense.joint_deviance(rows, at[:1, None], np.sqrt(at[1]), reml=method == "reml")

    tau, sigma2 = fit.cov_re["g"].iloc[0, 0], fit.sigma**2
    vcov = np.linalg.inv(dense.hessian(deviance, np.array([tau, sigma2])) / 2.0)
    gradient = np.array([sigma2, -tau]) / (tau + sigma2) ** 2
    assert fit.icc().estimate == pytest.approx(tau / (tau + sigma2), rel=1e-14)
    assert fit.icc().std_error == pytest.approx(np.sqrt(gradient @ vcov @ gradient), rel=1e-5)


def test_no_standard_error_on_the_boundary() -> None:
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"y": rng.normal(size=60), "g": np.tile(np.arange(6), 10)})
    data["y"] -= data.groupby("g")["y"].transform("mean")
    fit = cl.mixed("y ~ 1 + (1 | g)", data)
    assert fit.is_singular
    table = fit.varcomp()
    assert table.loc[0, "estimate"] == 0.0
    assert table.loc[0, ["std_error", "conf_low", "conf_high"]].isna().all()
    # with a variance of zero sigma^2 is the residual variance of ordinary regression: Var = 2 sigma^4 / nu
    np.testing.assert_allclose(table.loc[1, "std_error"], table.loc[1, "estimate"] * np.sqrt(2 / 59), rtol=1e-12)
    assert "variance of Intercept between clusters of g is zero" in fit.notes[0]


# -- intraclass correlation and reliability ---------------------------------------------------------------------------


def test_published_example_of_17_countries() -> None:
    icc = intraclass_correlation(0.1390369, 0.8132404, tau_se=0.0479464, sigma2_se=0.0077943)
    assert (round(icc.estimate, 3), round(icc.std_error, 3)) == (0.146, 0.043)
    values = reliability(np.array([0.1390369]), 0.8132404 / np.array(SIZES, dtype=float)[:, None])
    assert round(float(values[0, 0]), 4) == 0.9968
    assert round(float(values[-1, 0]), 4) == 0.9958
    assert round(float(values.sum()), 3) == 16.919
    assert round(float(values.mean()), 3) == 0.995


def test_icc_interval_is_made_on_the_logit_scale() -> None:
    icc = intraclass_correlation(0.3, 0.9, tau_se=0.1, sigma2_se=0.05, covariance=0.001, level=0.9)
    gradient = np.array([0.9, -0.3]) / 1.2**2
    variance = gradient @ np.array([[0.01, 0.001], [0.001, 0.0025]]) @ gradient
    assert icc.std_error == pytest.approx(np.sqrt(variance), rel=1e-12)
    half = stats.norm.ppf(0.95) * icc.std_error / (0.25 * 0.75)
    assert np.log(icc.conf_low / (1 - icc.conf_low)) == pytest.approx(np.log(1 / 3) - half, rel=1e-12)
    assert np.log(icc.conf_high / (1 - icc.conf_high)) == pytest.approx(np.log(1 / 3) + half, rel=1e-12)


def test_reliability_of_each_cluster() -> None:
    data = pd.concat([simulated(), simulated().iloc[:1].assign(g=99)], ignore_index=True)  # one cluster of one row
    fit = cl.mixed("y ~ x + (x | g)", data)
    found = fit.reliability()
    tau = np.diag(fit.cov_re["g"])
    for cluster, rows in data.groupby("g"):
        if len(rows) < 2:
            assert found.clusters.loc[cluster].isna().all()
            continue
        Z = np.column_stack([np.ones(len(rows)), rows.x])
        expected = tau / (tau + fit.sigma**2 * np.diag(np.linalg.inv(Z.T @ Z)))
        np.testing.assert_allclose(found.clusters.loc[cluster], expected, rtol=1e-9)
    assert found.n_clusters.tolist() == [12, 12]
    np.testing.assert_allclose(found.average, found.clusters.iloc[:-1].mean(), rtol=1e-12)


# -- the model without random effects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_statistic_is_the_difference_to_ordinary_regression(method: str) -> None:
    data = simulated()
    fit = cl.mixed("y ~ x + (1 | g)", data, method=method)
    X = np.column_stack([np.ones(len(data)), data.x])
    _, rss, *_ = np.linalg.lstsq(X, data.y.to_numpy(), rcond=None)
    nu = len(data) - (2 if method == "reml" else 0)
    without = nu * (1 + np.log(2 * np.pi * rss[0] / nu))
    without += np.linalg.slogdet(X.T @ X)[1] if method == "reml" else 0.0
    assert fit.test_random().loc["all", "statistic"] == pytest.approx(without - fit.deviance, rel=1e-9)


def test_mixture_of_one_variance() -> None:
    for statistic in (0.0, 0.5, 2.7055, 40.0):
        expected = 1.0 if statistic == 0.0 else 0.5 * stats.chi2.sf(statistic, 1)
        found = boundary_test(statistic, ((1, True),))
        assert found.p_value == pytest.approx(expected, rel=1e-12)
        assert found.naive_p_value == pytest.approx(stats.chi2.sf(statistic, 1), rel=1e-12)
        assert found.df == 1


def test_mixture_of_uncorrelated_variances() -> None:
    for blocks in (((1, True), (1, True)), ((2, False),)):
        found = boundary_test(3.0, blocks)
        assert found.p_value == pytest.approx(0.5 * stats.chi2.sf(3.0, 1) + 0.25 * stats.chi2.sf(3.0, 2), rel=1e-12)


@pytest.mark.parametrize("statistic", [0.5, 2.0, 6.0, 15.0])
def test_mixture_of_an_intercept_and_a_slope(statistic: float) -> None:
    """The cone of 2 x 2 covariance matrices is circular with a half angle of 45 degrees: its weights are known."""
    outer = (1 - np.cos(np.pi / 4)) / 2
    weights = [outer, 0.5 - outer, 0.5 - outer, outer]
    expected = sum(w * stats.chi2.sf(statistic, k) for k, w in enumerate(weights) if k)
    # 20,000 directions leave an error of at most 2 per cent this far out
    assert boundary_test(statistic, ((2, True),)).p_value == pytest.approx(expected, rel=0.02)


def test_mixture_of_two_blocks() -> None:
    """The cone of two independent blocks is the product of their cones: the weights are convolved."""
    outer = (1 - np.cos(np.pi / 4)) / 2
    weights = np.convolve([outer, 0.5 - outer, 0.5 - outer, outer], [0.5, 0.5])
    expected = sum(w * stats.chi2.sf(4.0, k) for k, w in enumerate(weights) if k)
    found = boundary_test(4.0, ((2, True), (1, True)))
    assert found.p_value == pytest.approx(expected, rel=0.02)
    assert found.df == 4
    assert found.p_value < found.naive_p_value


# -- what is said of each cluster and each row ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_modes_against_the_dense_twin(method: str) -> None:
    data = simulated()
    fit = cl.mixed("y ~ x * z + (x | g)", data, method=method)
    rows = twin(data, ["one", "x", "z", "xz"], ["one", "x"])
    means, covariances = dense.modes(rows, fit.solution.factors[0] @ fit.solution.factors[0].T, reml=method == "reml")
    found = fit.ranef()["g"]
    np.testing.assert_allclose(found[["Intercept", "x"]], means, rtol=1e-8, atol=1e-10)
    spread = np.sqrt(np.einsum("gii->gi", covariances))
    np.testing.assert_allclose(found[["Intercept_se", "x_se"]], spread, rtol=1e-8)
    assert list(fit.ranef(se=False)["g"]) == ["Intercept", "x"]
    np.testing.assert_allclose(fit.coef()["g"]["x"], fit.params["x"] + found["x"], rtol=1e-14)
    np.testing.assert_allclose(fit.coef()["g"]["z"], fit.params["z"], rtol=1e-14)


def test_fitted_values_residuals_and_predictions() -> None:
    data = simulated().set_index(np.arange(500, 500 + len(simulated())))
    data.loc[510, "x"] = np.nan
    fit = cl.mixed("y ~ x * z + (x | g)", data)
    used = data.drop(index=510)
    modes = fit.ranef(se=False)["g"].loc[used.g].to_numpy()
    fixed = fit.params["Intercept"] + fit.params["x"] * used.x + fit.params["z"] * used.z
    fixed = fixed + fit.params["x:z"] * used.x * used.z
    with_modes = fixed + modes[:, 0] + modes[:, 1] * used.x
    np.testing.assert_allclose(fit.fitted, with_modes, rtol=1e-12)
    np.testing.assert_allclose(fit.resid, used.y - with_modes, rtol=1e-9, atol=1e-12)
    assert fit.fitted.index.equals(used.index)

    new = data[["x", "z", "g"]].assign(g=lambda d: d.g.where(d.g != 3, 77))  # cluster 3 is replaced by an unknown one
    found, plain = fit.predict(new), fit.predict(new, random_effects=False)
    assert found.index.equals(new.index)
    assert np.isnan(found[510])
    np.testing.assert_allclose(plain[used.index], fixed, rtol=1e-12)
    np.testing.assert_allclose(found[used.index], np.where(used.g == 3, fixed, with_modes), rtol=1e-12)
    assert fit.predict(new.drop(columns="g"), random_effects=False).equals(plain)


def test_aliased_columns_are_named_and_left_out() -> None:
    data = simulated().assign(twice=lambda d: 2 * d.x - d.z, same=lambda d: d.w)
    fit = cl.mixed("y ~ x + z + twice + w + same + (1 | g)", data)
    plain = cl.mixed("y ~ x + z + w + (1 | g)", data)
    assert fit.design.aliased == ("twice", "same")
    assert list(fit.params.index) == ["Intercept", "x", "z", "w"]
    np.testing.assert_allclose(fit.params, plain.params, rtol=1e-10)
    assert fit.deviance == pytest.approx(plain.deviance, rel=1e-12)
    assert fit.notes[0].startswith("Left out because earlier terms determine them: twice, same.")
    assert "twice" in str(fit.summary())


def test_update_changes_the_formula_or_the_method() -> None:
    data = simulated()
    fit = cl.mixed("y ~ x + (x | g)", data)
    assert fit.update("~ . + z").formula == "y ~ x + z + (x | g)"
    assert fit.update(method="ml").deviance == cl.mixed("y ~ x + (x | g)", data, method="ml").deviance
