"""Whole fits of generalized linear mixed models against lme4, glmmTMB and ordinal."""

import re
from functools import cache

import numpy as np
import pytest
from reference_cases import GENERALIZED, load_case, our_group
from scipy import stats

import crosslevel as cl
from crosslevel import families

FAMILIES = {
    "nbinom2": families.NegativeBinomial(),
    "nbinom1": families.NegativeBinomial("nb1"),
    "Gamma": families.Gamma(),
    "betabinomial": families.BetaBinomial(),
    "poisson": families.Poisson(),
}

EXPECTED_WEIGHTS = "Contraception__ri_probit_laplace"
"""With another link than the canonical one lme4's Laplace approximation has the expected information in place of the
observed one in its determinant: another criterion, with another optimum."""

SAME_CRITERION = [name for name in GENERALIZED if name != EXPECTED_WEIGHTS]


def family_of(expected):
    if "thresholds" in expected:
        return families.Ordinal(link=expected["link"])
    if expected["family"] == "binomial":
        return families.Binomial(link=expected["link"])
    return FAMILIES[expected["family"]]


@cache
def fitted(name):
    case = load_case(name)
    nodes = case.expected.get("nagq") or 1
    return cl.mixed(case.formula, case.data, family=family_of(case.expected), quadrature=nodes)


def loglik(expected):
    exact = "loglik_exact_at_fit" if (expected.get("nagq") or 1) > 1 else "loglik_laplace_exact_at_fit"
    return expected.get(exact, expected["loglik"])


def by_name(case, values, names):
    """R's values of the coefficients, by our names."""
    found = {case.components(name): value for name, value in values.items() if not re.search(r"\||^ST", name)}
    return np.array([found[frozenset(name.split(":"))] for name in names])


def std_errors(expected):
    return expected.get("se_precise", expected["se"])


def test_there_are_references():
    assert len(GENERALIZED) >= 26


@pytest.mark.parametrize("name", GENERALIZED)
def test_log_likelihood(name):
    fit, expected = fitted(name), load_case(name).expected
    assert fit.converged
    assert fit.n_params == expected["npar"]
    assert fit.loglik >= loglik(expected) - 1e-5


@pytest.mark.parametrize("name", SAME_CRITERION)
def test_coefficients(name):
    fit, case = fitted(name), load_case(name)
    error = by_name(case, std_errors(case.expected), fit.params.index)
    ours, theirs = fit.params.to_numpy(), by_name(case, case.expected["fixef"], fit.params.index)
    np.testing.assert_array_less(np.abs(ours - theirs), 1e-3 * error)


@pytest.mark.parametrize("name", GENERALIZED)
def test_standard_errors(name):
    fit, case = fitted(name), load_case(name)
    np.testing.assert_allclose(fit.bse, by_name(case, std_errors(case.expected), fit.params.index), rtol=5e-3)


@pytest.mark.parametrize("name", SAME_CRITERION)
def test_standard_deviations_of_the_random_effects(name):
    fit, case = fitted(name), load_case(name)
    groups = [factor.name for factor in fit.design.factors]
    for block, expected in case.expected["varcorr"].items():
        ours = np.sqrt(np.diag(fit.cov_re[our_group(block, groups)]))
        np.testing.assert_allclose(ours, expected["sd"], rtol=1e-3, atol=1e-4)


def test_the_probit_reference_has_expected_weights():
    # lme4's own value at its own estimates, from the definition: modes by Newton's method, then the determinant with
    # the expected information, phi(eta)^2 / (Phi (1 - Phi))
    case = load_case(EXPECTED_WEIGHTS)
    fit = fitted(EXPECTED_WEIGHTS)
    beta = by_name(case, case.expected["fixef"], fit.params.index)
    columns = np.concatenate([block[fit.design.x] for block, _, _ in fit.design.blocks()], axis=1)
    fixed, y = beta @ columns, fit.outcome.y
    codes, theta = fit.design.codes, case.expected["theta"][0]
    u = np.zeros(fit.ngroups["district"])
    for _ in range(50):
        eta = fixed + theta * u[codes]
        slope, expected, observed = probit_terms(y, eta)
        step = (theta * np.bincount(codes, slope) - u) / (1.0 + theta**2 * np.bincount(codes, observed))
        u += step
    eta = fixed + theta * u[codes]
    log_density = stats.norm.logcdf(np.where(y == 1.0, eta, -eta)).sum()
    _, expected, observed = probit_terms(y, eta)
    by_expected, by_observed = (
        log_density - 0.5 * u @ u - 0.5 * np.log1p(theta**2 * np.bincount(codes, weights)).sum()
        for weights in (expected, observed)
    )
    assert abs(by_expected - case.expected["loglik"]) < 2e-5  # lme4's inner search ends early
    assert abs(by_observed - case.expected["loglik"]) > 0.01
    assert fit.loglik > by_observed


def probit_terms(y, eta):
    """Derivative of the log density in eta, expected and observed information."""
    sign = np.where(y == 1.0, 1.0, -1.0)
    ratio = np.exp(stats.norm.logpdf(eta) - stats.norm.logcdf(sign * eta))
    other = np.exp(stats.norm.logpdf(eta) - stats.norm.logcdf(-sign * eta))
    return sign * ratio, ratio * other, ratio * (ratio + sign * eta)


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("epil__nbinom1_tmb", lambda shape: shape),
        ("epil__nbinom2_tmb", lambda shape: shape),
        ("grouseticks__nbinom2_tmb", lambda shape: shape),
        ("cbpp__betabinomial_tmb", lambda shape: shape),
        ("sleepstudy__gamma_tmb_ri", lambda shape: shape**-0.5),
        ("sleepstudy__gamma_tmb_rs", lambda shape: shape**-0.5),
    ],
)
def test_dispersion(name, convert):
    fit, expected = fitted(name), load_case(name).expected
    np.testing.assert_allclose(convert(fit.shape.iloc[0]), expected["dispersion_sigma"], rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in GENERALIZED if name.startswith("wine")])
def test_thresholds(name):
    frame, expected = fitted(name).thresholds(), load_case(name).expected
    errors = np.array([expected["se"][key] for key in frame.index])
    theirs = np.array([expected["thresholds"][key] for key in frame.index])
    np.testing.assert_array_less(np.abs(frame["estimate"] - theirs), 1e-3 * errors)
    np.testing.assert_allclose(frame["std_error"], errors, rtol=5e-3)


@pytest.mark.parametrize("name", ["cbpp__laplace", "Contraception__ri_laplace", "Contraception__rs_urban_laplace"])
def test_modes_of_the_random_effects(name):
    fit, case = fitted(name), load_case(name)
    (group,) = case.expected["ngroups"]
    frame = fit.ranef(se=True)[group]
    for key, suffix in (("ranef", ""), ("ranef_se", "_se")):
        levels = case.expected[key][group]
        for effect in levels["1"]:
            theirs = [levels[str(level)][effect] for level in frame.index]
            (column,) = (
                c
                for c in frame
                if case.components(effect) == frozenset([c.removesuffix("_se")]) and c.endswith("_se") == bool(suffix)
            )
            np.testing.assert_allclose(frame[column], theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["cbpp__laplace", "Contraception__ri_laplace"])
def test_predictions(name):
    fit, case = fitted(name), load_case(name)
    expected = case.expected["predict"]
    rows = expected["newdata"]
    new = {key: [row[key] for row in rows] for key in rows[0]}
    for scale, suffix in (("link", ""), ("response", "_response")):
        np.testing.assert_allclose(fit.predict(new, scale=scale), expected[f"with_re{suffix}"], rtol=1e-4)
        fixed = fit.predict(new, scale=scale, random_effects=False)
        np.testing.assert_allclose(fixed, expected[f"without_re{suffix}"], rtol=1e-4)
