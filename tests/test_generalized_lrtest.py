"""Likelihood-ratio tests of generalized models: differences of deviances, mixtures on the boundary, bootstrap."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from generalized_clusters import answers
from reference_cases import load_data
from scipy import stats

import crosslevel as cl
from crosslevel.estimators.generalized.random_tests import mixture_test
from crosslevel.estimators.generalized.submodels import submodel
from crosslevel.inference.cones import orthant_weights


@cache
def frame():
    data, rng = answers(5, n_clusters=30), np.random.default_rng(8)
    school = data["school"].to_numpy()
    eta = 0.4 * data["x"] + 0.5 * rng.normal(size=30)[school] + 0.6 * rng.normal(size=30)[school] * data["x"]
    data["passed"] = (rng.random(len(data)) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    data["count"] = rng.poisson(np.exp(0.5 * eta) * rng.gamma(3.0, 1.0 / 3.0, len(data)))
    return data


@cache
def fitted(formula, family="binomial", nodes=1):
    return cl.mixed(formula, frame(), family=family, quadrature=nodes)


def logit_deviance(y, x):
    """-2 log-likelihood of a logistic regression, by Newton's method."""
    beta = np.zeros(x.shape[1])
    for _ in range(30):
        mean = 1.0 / (1.0 + np.exp(-x @ beta))
        beta = beta + np.linalg.solve((x * (mean * (1.0 - mean))[:, None]).T @ x, x.T @ (y - mean))
    eta = x @ beta
    return -2.0 * float(np.sum(y * eta - np.logaddexp(0.0, eta)))


@pytest.mark.parametrize("nodes", [1, 7])
def test_one_variance_against_none(nodes):
    fit = fitted("passed ~ x + (1 | school)", nodes=nodes)
    found = fit.test_random()
    y, x = frame()["passed"].to_numpy(float), np.column_stack([np.ones(len(frame())), frame()["x"]])
    statistic = logit_deviance(y, x) - fit.deviance
    assert list(found.index) == ["(1 | school)", "all"]
    np.testing.assert_allclose(found["statistic"], statistic, atol=1e-6)
    np.testing.assert_allclose(found["p_value"], 0.5 * stats.chi2.sf(statistic, 1))
    np.testing.assert_allclose(found["naive_p_value"], stats.chi2.sf(statistic, 1))


def test_a_slope_with_its_covariance():
    small, large = fitted("passed ~ x + (1 | school)"), fitted("passed ~ x + (x | school)")
    statistic = small.deviance - large.deviance
    test = cl.lrtest(small, large)
    expected = 0.5 * stats.chi2.sf(statistic, 1) + 0.5 * stats.chi2.sf(statistic, 2)
    np.testing.assert_allclose([test.statistic, test.p_value], [statistic, expected], rtol=1e-6)
    assert (test.df, test.weights.tolist()) == (2, [0.0, 0.5, 0.5])
    by_term = large.test_random()
    np.testing.assert_allclose(by_term.loc["x in (x | school)", "statistic"], statistic, atol=1e-5)
    assert by_term.loc["all", "reference"] == "estimated information"
    assert by_term.loc["all", "df"] == 3


def test_weights_of_uncorrelated_variances_follow_from_the_information():
    """At no variance the information between two of them is sum_j (z_1'W z_2)_j^2 / 2."""
    fit = fitted("passed ~ x + (x || school)")
    small = submodel(fit, ((),))
    found = mixture_test(fit, small)
    mean = 1.0 / (1.0 + np.exp(-small.solution.beta[0] - small.solution.beta[1] * frame()["x"].to_numpy()))
    products = np.empty((2, 2))
    columns = (np.ones(len(frame())), frame()["x"].to_numpy())
    for a in range(2):
        for b in range(2):
            sums = np.bincount(frame()["school"], mean * (1.0 - mean) * columns[a] * columns[b])
            products[a, b] = 0.5 * float(np.sum(sums**2))
    np.testing.assert_allclose(found.weights, orthant_weights(products), atol=1e-4)
    assert found.reference == "estimated information"


def test_coefficients_and_order():
    small, large = fitted("passed ~ 1 + (1 | school)"), fitted("passed ~ x + z + (1 | school)")
    test = cl.lrtest(small, large)
    np.testing.assert_allclose(test.p_value, stats.chi2.sf(test.statistic, 2))
    assert test.frame.loc["large", "df"] == 2
    with pytest.raises(cl.errors.CrosslevelError, match="smaller model first"):
        cl.lrtest(large, small)


def test_a_dispersion_on_its_boundary():
    small, large = (fitted("count ~ x + (1 | school)", family) for family in ("poisson", "nbinom2"))
    test = cl.lrtest(small, large)
    np.testing.assert_allclose(test.p_value, 0.5 * stats.chi2.sf(small.deviance - large.deviance, 1), rtol=1e-8)
    assert test.df == 1
    with pytest.raises(cl.errors.CrosslevelError, match="families"):
        cl.lrtest(fitted("count ~ x + (1 | school)", "nbinom1"), large)


def test_fits_with_other_nodes_are_brought_together():
    small, large = fitted("passed ~ 1 + (1 | school)", nodes=3), fitted("passed ~ x + (1 | school)", nodes=9)
    test = cl.lrtest(small, large)
    expected = fitted("passed ~ 1 + (1 | school)", nodes=9).deviance - large.deviance
    np.testing.assert_allclose(test.statistic, expected, atol=1e-6)
    assert "compared with 9" in test.notes[0]
    crossed = fitted("passed ~ x + (1 | school) + (1 | f)")
    test = cl.lrtest(large, crossed)
    expected = fitted("passed ~ x + (1 | school)").deviance - crossed.deviance
    np.testing.assert_allclose(test.statistic, max(expected, 0.0), atol=1e-6)
    assert "Laplace" in test.notes[0]
    many = fitted("passed ~ x + (1 + x + I(x**2) + I(x**3) || school)")  # four effects: too many for quadrature
    test = cl.lrtest(large, many)
    expected = fitted("passed ~ x + (1 | school)").deviance - many.deviance
    np.testing.assert_allclose(test.statistic, max(expected, 0.0), atol=1e-6)
    assert "more than 3 random effects" in test.notes[0]


def test_several_factors_one_by_one():
    fit = fitted("passed ~ x + (1 | school) + (1 | f)")
    found = fit.test_random()
    assert list(found.index) == ["(1 | school)", "(1 | f)", "all"]
    without = fitted("passed ~ x + (1 | school)").deviance
    np.testing.assert_allclose(found.loc["(1 | f)", "statistic"], max(without - fit.deviance, 0.0), atol=1e-5)


def test_ordered_outcomes():
    wine = load_data("wine")
    wine["rating"] = pd.Categorical(wine["rating"], ordered=True)
    large, small = (
        cl.mixed(f"rating ~ {fixed} + (1 | judge)", wine, family="ordinal", quadrature=1)
        for fixed in ("temp + contact", "temp")
    )
    test = cl.lrtest(small, large)
    np.testing.assert_allclose(test.p_value, stats.chi2.sf(small.deviance - large.deviance, 1))
    assert large.test_random().loc["all", "df"] == 1


def test_simulated_tests_count_and_repeat():
    small, large = fitted("passed ~ x + (1 | school)"), fitted("passed ~ x + (x || school)")
    tests = [cl.lrtest(small, large, test="bootstrap", n=19, seed=2) for _ in range(2)]
    assert tests[0].p_value == tests[1].p_value
    assert tests[0].draws + tests[0].failed == 19
    assert tests[0].p_value >= 1.0 / 20.0
    found = fitted("passed ~ x + (1 | school)").test_random(test="bootstrap", n=19, seed=2)
    assert found.loc["all", "reference"] == "parametric bootstrap"
    assert found.loc["all", "p_value"] == found.loc["(1 | school)", "p_value"]


@pytest.mark.slow
def test_mixture_against_simulated_statistics():
    """Without a variance the statistic is zero in a little more than half of the samples, as in finite linear ones.

    Its tail stays below the mixture: 7 % instead of 10 % with 150 clusters of 10 answers.
    """
    rng, n_clusters, size, draws = np.random.default_rng(1), 150, 10, 400
    school = np.repeat(np.arange(n_clusters), size)
    statistics = []
    for _ in range(draws):
        x = rng.normal(size=len(school))
        y = (rng.random(len(school)) < 1.0 / (1.0 + np.exp(-0.5 * x))).astype(int)
        data = pd.DataFrame({"y": y, "x": x, "school": school})
        fit = cl.mixed("y ~ x + (1 | school)", data, family="binomial", quadrature=7)
        statistics.append(fit.test_random().loc["all", "statistic"])
    zero, tail = np.mean(np.array(statistics) < 1e-6), np.mean(np.array(statistics) > stats.chi2.isf(0.2, 1))
    assert 0.5 - 3.0 * np.sqrt(0.25 / draws) < zero < 0.62
    assert 0.04 < tail < 0.1 + 3.0 * np.sqrt(0.09 / draws)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda fit: fit.test_random(test="exact"), "finite-sample"),
        (lambda fit: fit.test_random(test="hlm"), "least-squares"),
        (lambda fit: fit.test_random(n=100), "number of simulations"),
        (lambda fit: cl.lrtest(fit, fit), "same model"),
        (lambda fit: cl.lrtest(fit, fitted("passed ~ x + (1 | school)", nodes="pql")), "PQL"),
        (lambda fit: cl.lrtest(fit, fitted("passed ~ x + z + (1 | school)"), test="exact"), "finite-sample"),
        (lambda fit: cl.lrtest(fit, cl.mixed("passed ~ x + z + (1 | school)", frame())), "another family"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(cl.errors.CrosslevelError, match=words):
        call(fitted("passed ~ x + (1 | school)"))


def test_priors_have_no_likelihood_ratio():
    fit = cl.mixed("passed ~ x + (1 | school)", frame(), family="binomial", quadrature=1, prior=cl.prior.Weak())
    with pytest.raises(cl.errors.CrosslevelError, match="prior"):
        fit.test_random()
