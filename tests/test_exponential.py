"""Exponential and logarithm as arithmetic, and the loops that use them, against numpy and the families."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from crosslevel.families import Binomial, Poisson
from crosslevel.kernels import exponential, responses

EPS = np.finfo(float).eps


@pytest.mark.parametrize("compiled", [True, False])
def test_exponential(*, compiled: bool) -> None:
    function = exponential.exponential if compiled else exponential.exponential.py_func
    for x in [*np.linspace(-700.0, 699.0, 1500), *np.geomspace(1e-300, 1.0, 50), 0.0, 0.5 * np.log(2.0)]:
        assert_allclose(function(float(x)), np.exp(x), rtol=2.0 * EPS)


def test_logarithm() -> None:
    for x in [*np.geomspace(1e-300, 1e300, 2001), *np.linspace(0.5, 2.0, 3001)]:
        assert_allclose(exponential.logarithm(float(x)), np.log(x), rtol=3.0 * EPS)


def test_exponential_is_held_where_numbers_end() -> None:
    assert exponential.exponential(1e9) == pytest.approx(np.exp(700.0))
    assert 0.0 < exponential.exponential(-1e9) < 1e-300


@pytest.mark.parametrize("compiled", [True, False])
def test_log_one_plus(*, compiled: bool) -> None:
    function = exponential.log_one_plus if compiled else exponential.log_one_plus.py_func
    for e in [*np.linspace(0.0, 1.0, 1500), *np.geomspace(1e-300, 1.0, 200), np.sqrt(2.0) - 1.0]:
        assert_allclose(function(float(e)), np.log1p(e), rtol=3.0 * EPS)


@pytest.mark.parametrize("family", [Binomial(), Poisson()], ids=repr)
def test_loops_over_rows_are_the_families(family: Binomial | Poisson) -> None:
    rng = np.random.default_rng(2)
    n = 203
    eta = np.concatenate([rng.normal(size=100) * 3.0, np.linspace(-690.0, 690.0, 100), [0.0, -0.0, 1e-9]])
    size = rng.integers(1, 9, n).astype(float) if family.has_trials else np.ones(n)
    y, weight = np.floor(rng.random(n) * (size + 1.0)), rng.uniform(0.5, 2.0, n)
    none = np.zeros(0)
    expected = np.array([responses.third(family.code, y[i], size[i], eta[i], none) for i in range(n)]).T * weight
    value, first, second, third = np.empty((4, n))
    density_value, density_first = np.empty((2, n))
    if family.has_trials:
        exponential.logit_terms(y, size, weight, eta, value, first, second, third)
        exponential.logit_density(y, size, weight, eta, density_value, density_first)
    else:
        exponential.poisson_terms(y, size, weight, eta, value, first, second, third)
        exponential.poisson_density(y, size, weight, eta, density_value, density_first)
    for found, wanted in zip((value, first, second, third), expected, strict=True):
        assert_allclose(found, wanted, rtol=1e-13, atol=1e-300)
    assert_allclose(density_value, value, rtol=1e-15)
    assert_allclose(density_first, first, rtol=1e-15)
    for r in (2, 3, 4):
        filled = np.empty((r, n))
        responses.fill_terms(family.code, y, size, weight, eta, none, filled)
        assert_allclose(filled, expected[:r], rtol=1e-13, atol=1e-300)
