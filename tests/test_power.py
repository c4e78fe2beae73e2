"""Power of planned studies: closed forms, arguments, simulation, and what is read off the curves."""

import numpy as np
import pytest
from scipy import stats

import crosslevel as cl
from crosslevel.formula import parse
from crosslevel.simulation.power import closed_forms
from crosslevel.simulation.power.predictors import predictor_variables
from crosslevel.simulation.power.variances import Variances


def gls_error(clusters: int, size: int, tau: float, sigma: float, z: np.ndarray, x: np.ndarray, slope: bool) -> float:
    """Standard error of z's effect on the intercept, or on the slope of x, by dense generalised least squares."""
    information = np.zeros((4, 4)) if slope else np.zeros((3, 3))
    for j in range(clusters):
        columns = [np.ones(size), x, np.full(size, z[j])] + ([x * z[j]] if slope else [])
        X = np.column_stack(columns)
        varying = x if slope else np.ones(size)
        V = sigma**2 * np.eye(size) + tau**2 * np.outer(varying, varying)
        information += X.T @ np.linalg.solve(V, X)
    return float(np.sqrt(np.linalg.inv(information)[-1, -1]))


@pytest.mark.parametrize("slope", [False, True])
def test_standard_errors_are_those_of_generalised_least_squares(slope):
    clusters, size, tau, sigma = 12, 9, 0.4, 0.9
    x = np.linspace(-1.5, 1.5, size)
    z = np.repeat([0.0, 1.0], [4, 8])
    expected = gls_error(clusters, size, tau, sigma, z, x, slope)
    found = closed_forms.std_error(
        clusters, size, tau=tau, sigma=sigma, spread=np.sqrt(np.mean(x**2)) if slope else 1.0, context_sd=np.std(z)
    )
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_unequal_sizes_cost_what_the_approximation_says():
    rng = np.random.default_rng(1)
    sizes = rng.gamma(4.0, 25.0, 20_000)  # coefficient of variation .5
    tau, sigma = 0.3, 1.0
    exact = 1.0 / np.sqrt(np.sum(1.0 / (tau**2 + sigma**2 / sizes)))
    found = closed_forms.std_error(len(sizes), sizes.mean(), tau=tau, sigma=sigma, cv=0.5)
    assert float(found) == pytest.approx(exact, rel=0.005)
    assert float(found) > float(closed_forms.std_error(len(sizes), sizes.mean(), tau=tau, sigma=sigma))


def test_power_is_the_tail_of_the_noncentral_t_distribution():
    ncp, df = np.array([0.0, 1.0, 2.5, 6.0]), np.array([3.0, 8.0, 28.0, 1000.0])
    t = stats.t.ppf(0.975, df)
    expected = stats.nct.sf(t, df, ncp) + stats.nct.cdf(-t, df, ncp)
    np.testing.assert_allclose(closed_forms.t_power(ncp, df), expected, rtol=1e-9)
    np.testing.assert_allclose(closed_forms.t_power(-ncp, df), expected, rtol=1e-9)
    assert float(closed_forms.t_power(500.0, 10.0)) == 1.0
    assert np.isnan(closed_forms.t_power(2.0, np.nan))


def test_the_cheapest_size_is_the_best_of_all():
    share, cost_cluster, cost_person = 0.08, 500.0, 12.0
    n = np.arange(1.0, 200.0)
    clusters = closed_forms.clusters_within_budget(1e5, n, cost_cluster, cost_person)
    best = n[np.argmax(clusters * closed_forms.effective_size(n, share))]
    assert best == round(closed_forms.cheapest_size(cost_cluster, cost_person, share))
    assert closed_forms.cheapest_size(1.0, 1.0, 0.0) == np.inf


def test_intraclass_correlation_becomes_variances():
    one = Variances.of(["Intercept"], icc=0.2, sd=None, sigma=None)
    assert (one.sd["Intercept"] ** 2, one.sigma**2) == pytest.approx((0.2, 0.8))
    two = Variances.of(["Intercept"], icc=0.2, sd=None, sigma=3.0)
    assert two.sd["Intercept"] ** 2 / (two.sd["Intercept"] ** 2 + 9.0) == pytest.approx(0.2)
    with pytest.raises(cl.errors.CrosslevelError, match="`sd` lacks the standard deviation of 'x'"):
        Variances.of(["Intercept", "x"], icc=0.2, sd=None, sigma=None)
    with pytest.raises(cl.errors.CrosslevelError, match="both say how much intercepts vary"):
        Variances.of(["Intercept"], icc=0.2, sd={"Intercept": 1.0}, sigma=None)


@pytest.mark.parametrize(
    ("formula", "given", "contexts"),
    [
        ("y ~ x + z + (1 | g)", {}, {"z"}),
        ("y ~ x1 * w2 + (x1 | g)", {}, {"w2"}),
        ("y ~ age + gdp + (1 | g)", {"context": "gdp"}, {"gdp"}),
        ("y ~ z + (z | g)", {}, set()),
        ("y ~ within(z, g) + between(z, g) + (1 | g)", {}, set()),
        ("y ~ x + treated + (1 | g)", {"arms": {"treated": 0.3}}, {"treated"}),
        ("y ~ x + z + (1 | g)", {"context": []}, set()),
    ],
)
def test_where_variables_vary(formula, given, contexts):
    asked = {"context": None, "arms": None, "between": 0.0, "variables": {}, **given}
    found = predictor_variables(parse(formula), **asked)
    assert {name for name, variable in found.items() if variable.is_context} == contexts


@pytest.mark.parametrize(
    ("formula", "given", "message"),
    [
        ("y ~ age + (1 | g)", {}, "`context` has to say whether 'age'"),
        ("y ~ x + (1 | g)", {"context": "z"}, "which `formula` lacks"),
        ("y ~ x + z + (1 | g)", {"between": {"z": 0.2}, "context": "z"}, "all its variance lies between"),
        ("y ~ x + z + (x | g)", {"arms": "x"}, "random slope of 'x'"),
    ],
)
def test_contradictory_variables_are_refused(formula, given, message):
    asked = {"context": None, "arms": None, "between": 0.0, "variables": {}, **given}
    with pytest.raises(cl.errors.CrosslevelError, match=message):
        predictor_variables(parse(formula), **asked)
