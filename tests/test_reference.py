"""Every linear model with independent residuals of `tests/reference` against what R made of it.

The likelihood is compared at fixed parameters first (`criterion_at`: no optimiser is involved), then the optimum and
all that follows from it. Tolerances in units of a standard error or of a standard deviation do not depend on scale.
"""

import numpy as np
import pandas as pd
import pytest
from reference_cases import CASES, ReferenceCase, cases_with, components, fit_case, load_case, our_group, our_level

CRITERION = 1e-11  # relative; rounding only
LOGLIK = 1e-6
COEFFICIENT = 1e-5  # in standard errors; this and what follows is as far as lme4's optima are settled
STD_ERROR = 1e-5  # relative
COVARIANCE = 5e-5  # of the product of the two standard deviations
MODE = 5e-5  # in standard deviations of the random effect
PREDICTION = 1e-5  # in residual standard deviations
NLME = 50  # times as far for nlme, whose log-likelihoods end up to 1e-6 short: .001 standard errors of a variance


def within(case: ReferenceCase, tolerance: float) -> float:
    """Loosen a tolerance for models that nlme fitted; lme4 fitted the same ones, and those are compared tightly."""
    return tolerance * (NLME if case.expected["r_function"].startswith("nlme") else 1)


def ordered(values: pd.Series, names: list[frozenset[str]]) -> np.ndarray:
    """Entries of a Series by coefficient name, in R's order."""
    position = {components(str(name)): k for k, name in enumerate(values.index)}
    assert set(position) == set(names)
    return values.to_numpy()[[position[name] for name in names]]


def random_effects(case: ReferenceCase, entry: str, group: str, ours: str) -> pd.DataFrame:
    """R's conditional modes or their standard deviations: a row per cluster, a column per term in R's names."""
    found = {**case.expected.get(f"{entry}_head", {}), **case.expected[entry]}[group]
    return pd.DataFrame.from_dict({our_level(key, group, ours): row for key, row in found.items()}, orient="index")


def our_columns(frame: pd.DataFrame, r_names: pd.Index, case: ReferenceCase, suffix: str = "") -> np.ndarray:
    """Columns of one of our frames in R's order."""
    ours = {components(str(name)): str(name) for name in frame.columns if not str(name).endswith("_se")}
    return frame[[ours[case.components(name)] + suffix for name in r_names]].to_numpy()


@pytest.mark.parametrize("name", cases_with("criterion_at"))
def test_criterion_at_fixed_theta(name: str) -> None:
    case, fit = load_case(name), fit_case(name)
    for point in case.expected["criterion_at"]:
        theta = case.our_theta(point["theta"], list(fit.ngroups))
        assert fit.criterion_at(theta) == pytest.approx(point["value"], rel=CRITERION)


@pytest.mark.parametrize("name", CASES)
def test_loglik(name: str) -> None:
    expected, fit = load_case(name).expected, fit_case(name)
    assert fit.converged
    assert fit.loglik >= expected["loglik"] - LOGLIK
    assert fit.loglik <= expected["loglik"] + 1e-4  # ours may be higher, but not by so much that it is another quantity


@pytest.mark.parametrize("name", CASES)
def test_information_criteria(name: str) -> None:
    expected, fit = load_case(name).expected, fit_case(name)
    assert fit.nobs == expected["nobs"]
    assert fit.ngroups == {our_group(name, list(fit.ngroups)): size for name, size in expected["ngroups"].items()}
    assert int(fit.glance()["n_params"].iloc[0]) == expected["npar"]
    assert fit.aic == pytest.approx(expected["aic"], abs=1e-5)
    # nlme takes log(nobs - p) for REML; the Bayesian criterion here is lme4's, with log(nobs)
    n = expected.get("bic_nobs", expected["nobs"])
    shift = expected["npar"] * (np.log(expected["nobs"]) - np.log(n))
    assert fit.bic == pytest.approx(expected["bic"] + shift, abs=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_coefficients(name: str) -> None:
    case, fit = load_case(name), fit_case(name)
    fixef = np.array(list(case.expected["fixef"].values()))
    se = np.array(list(case.expected["se"].values()))
    assert np.abs((ordered(fit.params, case.coefficients) - fixef) / se).max() < within(case, COEFFICIENT)
    np.testing.assert_allclose(ordered(fit.bse, case.coefficients), se, rtol=within(case, STD_ERROR))


@pytest.mark.parametrize("name", CASES)
def test_covariance_of_coefficients(name: str) -> None:
    case, fit = load_case(name), fit_case(name)
    position = {components(str(name)): k for k, name in enumerate(fit.vcov.index)}
    order = [position[name] for name in case.coefficients]
    vcov, expected = fit.vcov.to_numpy()[np.ix_(order, order)], np.array(case.expected["vcov"])
    scale = np.sqrt(np.diag(expected))
    assert np.abs((vcov - expected) / np.outer(scale, scale)).max() < within(case, 2 * STD_ERROR)


@pytest.mark.parametrize("name", CASES)
def test_variance_components(name: str) -> None:
    case, fit = load_case(name), fit_case(name)
    assert fit.sigma == pytest.approx(case.expected["sigma"], rel=STD_ERROR)
    for group, names, expected in case.blocks():
        ours = fit.cov_re[our_group(group, list(fit.ngroups))]
        position = {components(str(name)): k for k, name in enumerate(ours.index)}
        order = [position[name] for name in names]
        scale = np.sqrt(np.diag(expected))
        # a variance of zero is compared with the residual variance
        scale = np.where(scale > 0, scale, 1e-2 * case.expected["sigma"])
        assert np.abs((ours.to_numpy()[np.ix_(order, order)] - expected) / np.outer(scale, scale)).max() < within(
            case, COVARIANCE
        )


@pytest.mark.parametrize("name", cases_with("theta"))
def test_theta(name: str) -> None:
    case, fit = load_case(name), fit_case(name)
    expected = case.our_theta(case.expected["theta"], list(fit.ngroups))
    assert np.abs(np.asarray(fit.theta) - expected).max() < 1e-4 * max(1.0, *expected)
    assert fit.is_singular == case.expected["singular"]


@pytest.mark.parametrize("name", cases_with("ranef"))
def test_conditional_modes(name: str) -> None:
    case, fit = load_case(name), fit_case(name)
    for group in case.groups:
        name = our_group(group, list(fit.ngroups))
        expected = random_effects(case, "ranef", group, name)
        ours = fit.ranef(se=True)[name]
        ours.index = ours.index.astype(str)
        assert len(ours) == case.expected["ngroups"][group]
        sd = np.concatenate([np.sqrt(np.diag(cov)) for of, _, cov in case.blocks() if of == group])
        sd = np.where(sd > 0, sd, case.expected["sigma"])
        modes = our_columns(ours.loc[expected.index], expected.columns, case)
        assert np.abs((modes - expected.to_numpy()) / sd).max() < within(case, MODE)
        if "ranef_se" in case.expected:
            spread = our_columns(ours.loc[expected.index], expected.columns, case, suffix="_se")
            reference = random_effects(case, "ranef_se", group, name).to_numpy()
            assert np.abs((spread - reference) / sd).max() < within(case, MODE)


@pytest.mark.parametrize("name", CASES)
def test_fitted_values_and_residuals(name: str) -> None:
    case, fit = load_case(name), fit_case(name)
    expected, tolerance = case.expected, within(case, PREDICTION) * case.expected["sigma"]
    fitted, sigma = np.array(expected["fitted_head"]), expected["sigma"]
    resid = expected.get("resid_head") or np.array(expected["resid_normalized_head"]) * sigma
    assert np.abs(fit.fitted.to_numpy()[: len(fitted)] - fitted).max() < tolerance
    assert np.abs(fit.resid.to_numpy()[: len(fitted)] - resid).max() < tolerance


@pytest.mark.parametrize("name", cases_with("predict"))
def test_predictions_on_new_rows(name: str) -> None:
    expected, fit = load_case(name).expected, fit_case(name)
    new = pd.DataFrame(expected["predict"]["newdata"])
    tolerance = PREDICTION * expected["sigma"]
    with_effects, without_effects = fit.predict(new), fit.predict(new, random_effects=False)
    assert np.abs(np.asarray(with_effects) - expected["predict"]["with_re"]).max() < tolerance
    assert np.abs(np.asarray(without_effects) - expected["predict"]["without_re"]).max() < tolerance


def test_every_reference_model_is_covered() -> None:
    assert len(CASES) == 65
