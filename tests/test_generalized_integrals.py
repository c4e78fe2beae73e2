"""Averages of inverse links over normal linear predictors: sums over very many nodes, closed forms, differences."""

import numpy as np
import pytest
from scipy.special import expit, ndtr
from scipy.stats import multivariate_normal

from crosslevel.inference.generalized.curves import CURVES
from crosslevel.inference.generalized.integrals import averaged, shared_moment

LINKS = sorted(CURVES)


def dense(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the trapezoidal rule far beyond need, with the normal density as weights."""
    nodes = np.linspace(-14.0, 14.0, n)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


@pytest.mark.parametrize("link", LINKS)
def test_each_derivative_is_that_of_the_one_before(link: str) -> None:
    x, step = np.linspace(-7.0, 3.0, 41), 1e-5
    curve = CURVES[link]
    above, below = (curve.derivatives(x + shift, 5) for shift in (step, -step))
    np.testing.assert_allclose(curve.derivatives(x, 5)[1:], ((above - below) / (2.0 * step))[:4], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_extremes_are_finite(link: str) -> None:
    x = np.array([-1e6, -750.0, -30.0, 30.0, 750.0, 1e6])
    found = CURVES[link].derivatives(x, 5)
    assert np.all(np.isfinite(found))
    np.testing.assert_array_equal(found[1:, [0, -1]], 0.0)
    np.testing.assert_array_equal(found[0, [0, -1]], [0.0, 1.0])


@pytest.mark.parametrize("variance", [0.0, 0.01, 1.0, 9.0, 15.9, 16.1, 100.0, 1e4, 1e6])
@pytest.mark.parametrize("link", LINKS)
def test_averages_are_those_of_many_nodes(link: str, variance: float) -> None:
    # logarithmic links have a closed form, and sums over so wide a range have no digits
    variance = min(variance, 9.0) if link == "log" else variance
    nodes, weights = dense(1 + 400 * int(1 + max(1.0, np.sqrt(variance))))
    curve = CURVES[link]
    for mean in (-6.0, 0.4):
        brute = curve.derivatives(mean + np.sqrt(variance) * nodes, 5) @ weights
        found = averaged(curve, np.array([mean]), np.array([variance]), 5)[:, 0]
        np.testing.assert_allclose(found, brute, rtol=1e-10, atol=1e-11)


def test_closed_forms() -> None:
    mean, variance = np.array([-2.0, 0.3, 5.0]), np.array([0.0, 4.0, 1e8])
    np.testing.assert_allclose(
        averaged(CURVES["probit"], mean, variance, 1)[0], ndtr(mean / np.sqrt(1.0 + variance)), rtol=1e-14
    )
    np.testing.assert_allclose(averaged(CURVES["log"], mean, variance / 1e7, 3), [np.exp(mean + variance / 2e7)] * 3)
    # without variance there is nothing to average
    np.testing.assert_allclose(averaged(CURVES["logit"], mean, 0 * mean, 1)[0], expit(mean), rtol=1e-13)
    # a variance beyond everything leaves a coin
    np.testing.assert_allclose(averaged(CURVES["logit"], mean, 0 * mean + 1e16, 1)[0], 0.5, atol=1e-7)


@pytest.mark.parametrize("variance", [0.5, 30.0])
@pytest.mark.parametrize("link", LINKS)
def test_heat_equation(link: str, variance: float) -> None:
    mean, v, step = np.linspace(-4.0, 2.0, 7), np.full(7, variance), 1e-4
    low, high = (averaged(CURVES[link], mean, v + shift, 3) for shift in (-step, step))
    exact = 0.5 * averaged(CURVES[link], mean, v, 5)[2:]
    np.testing.assert_allclose((high - low) / (2.0 * step), exact, rtol=1e-6, atol=1e-11)


@pytest.mark.parametrize("rest", [0.0, 1.5, 30.0])
@pytest.mark.parametrize("shared", [0.0, 0.1, 2.0, 300.0])
@pytest.mark.parametrize("link", LINKS)
def test_shared_moment(link: str, shared: float, rest: float) -> None:
    if link == "log":
        shared, rest = min(shared, 2.0), min(rest, 3.0)
    nodes, weights = dense(1 + 600 * int(2 + np.sqrt(shared)))
    one, curve = np.ones(1), CURVES[link]
    for mean in (-3.0, 2.0):
        inner = averaged(curve, mean + np.sqrt(shared) * nodes, np.full(len(nodes), rest), 3)
        brute = [
            inner[0] ** 2 @ weights,
            2.0 * (inner[0] * inner[1]) @ weights,
            (inner[1] ** 2 + inner[0] * inner[2]) @ weights,
            (inner[0] * inner[2]) @ weights,
        ]
        found = shared_moment(curve, mean * one, shared * one, rest * one)
        ours = [found.value[0], found.by_mean[0], found.by_shared[0], found.by_rest[0]]
        np.testing.assert_allclose(ours, brute, rtol=1e-9, atol=1e-10)


def test_shared_moment_of_probit_is_a_bivariate_normal_probability() -> None:
    mean, shared, rest = 0.4, 1.7, 0.8
    total = 1.0 + shared + rest
    joint = multivariate_normal(cov=[[total, shared], [shared, total]])
    found = shared_moment(CURVES["probit"], np.array([mean]), np.array([shared]), np.array([rest]))
    np.testing.assert_allclose(found.value[0], joint.cdf([mean, mean]), rtol=1e-6)
