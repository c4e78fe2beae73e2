"""Families of outcomes: their densities against scipy and 60-digit numbers, their laws, their words."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from crosslevel import errors, families
from crosslevel.kernels import responses
from crosslevel.kernels.special import polygammas

NAMES = {
    "binomial logit": families.Binomial(),
    "binomial probit": families.Binomial(link="probit"),
    "binomial cloglog": families.Binomial(link="cloglog"),
    "poisson": families.Poisson(),
    "nbinom2": families.NegativeBinomial(),
    "nbinom1": families.NegativeBinomial("nb1"),
    "gamma": families.Gamma(),
    "beta": families.Beta(),
    "betabinomial": families.BetaBinomial(),
    "ordinal logit": families.Ordinal(),
    "ordinal probit": families.Ordinal(link="probit"),
}
EACH = pytest.mark.parametrize("name", NAMES)


def shape_of(family: families.Family) -> np.ndarray:
    """A shape as it may be."""
    if family.kind == "ordered":
        return np.array([0.7, 2.5])
    return np.full(family.n_shape(), 3.0)


def outcomes_of(family: families.Family) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and sizes as they may be."""
    if family.kind == "binary":
        return np.array([0.0, 1.0, 1.0, 3.0, 0.0, 90.0]), np.array([1.0, 1.0, 2.0, 7.0, 12.0, 100.0])
    y = {
        "count": [0.0, 1.0, 2.0, 9.0, 70.0],
        "positive": [1e-6, 0.4, 1.0, 30.0, 2e5],
        "share": [1e-9, 0.1, 0.5, 0.93, 1.0 - 1e-9],
        "ordered": [0.0, 1.0, 2.0, 3.0],
    }[family.kind]
    return np.array(y), np.ones(len(y))


def scipy_log_density(
    family: families.Family, y: np.ndarray, size: np.ndarray, eta: float, mu: np.ndarray, shape: np.ndarray
) -> np.ndarray:
    if family.kind == "ordered":
        cdf = stats.logistic.cdf if family.link == "logit" else stats.norm.cdf
        return np.log(np.diff(cdf(np.concatenate([[-np.inf, 0.0], shape, [np.inf]]) - eta)))
    k = shape[0] if len(shape) else 0.0
    return {
        "binomial": lambda: stats.binom.logpmf(y, size, mu),
        "poisson": lambda: stats.poisson.logpmf(y, mu),
        "nbinom2": lambda: stats.nbinom.logpmf(y, k, k / (k + mu)),
        "nbinom1": lambda: stats.nbinom.logpmf(y, mu / k, 1.0 / (1.0 + k)),
        "gamma": lambda: stats.gamma.logpdf(y, k, scale=mu / k),
        "beta": lambda: stats.beta.logpdf(y, k * mu, k * (1.0 - mu)),
        "betabinomial": lambda: stats.betabinom.logpmf(y, size, k * mu, k * (1.0 - mu)),
    }[family.name]()


@cache
def reference() -> list[Any]:
    return json.loads((Path(__file__).parent / "reference" / "known" / "log_densities.json").read_text())


@EACH
def test_log_densities_have_all_their_digits(name: str) -> None:
    # absolute where the value is below 1, relative above; derivatives in a shape parameter per relative change of it
    family, worst = NAMES[name], 0.0
    rows = [row for row in reference() if row[0] == name]
    assert len(rows) >= 26
    for _, y, size, eta, shape, values, by_shape in rows:
        natural = np.array(shape, dtype=float)
        found = np.array(responses.third(family.code, float(y), float(size), eta, natural))
        exact = np.array(values, dtype=float)
        worst = max(worst, float(np.max(np.abs(found - exact) / np.maximum(np.abs(exact), 1.0))))
        assert found[:2] == pytest.approx(
            responses.density(family.code, float(y), float(size), eta, natural), rel=1e-15
        )
        assert found[:3] == pytest.approx(
            responses.curvature(family.code, float(y), float(size), eta, natural), rel=1e-15
        )
        if shape:
            out = np.full((3, len(shape)), np.nan)
            responses.by_shape(family.code, float(y), float(size), eta, natural, out)
            exact = np.array(by_shape, dtype=float)
            error = np.abs(out - exact) * np.minimum(natural, 1.0 / np.maximum(np.abs(exact), 1e-300))
            worst = max(worst, float(error.max()))
    assert worst < 2e-12


@EACH
def test_log_densities_are_those_of_scipy(name: str) -> None:
    family = NAMES[name]
    y, size = outcomes_of(family)
    for eta in (-2.0, 0.3, 1.5):
        mu, shape = family.mean(np.full(len(y), eta)), shape_of(family)
        exact = scipy_log_density(family, y, size, eta, mu, shape)
        found = family.terms(y, size, np.full(len(y), eta), shape).log_density
        assert found == pytest.approx(exact, rel=1e-12, abs=1e-12)


@EACH
def test_far_predictors_have_finite_terms(name: str) -> None:
    family = NAMES[name]
    y, size = outcomes_of(family)
    shapes = [np.array([1e-9, 1e8]), np.array([0.7, 2.5])] if family.kind == "ordered" else [
        np.full(family.n_shape(), value) for value in (1e-8, 1.0, 1e10)
    ]  # fmt: skip
    for eta in (-1e6, -750.0, -700.0, -300.0, 300.0, 700.0, 750.0, 1e6):
        for shape in shapes:
            terms = family.terms(y, size, np.full(len(y), eta), shape)
            for values in (terms.log_density, terms.first, terms.second, terms.third, terms.by_shape):
                assert np.all(np.isfinite(values)), (eta, shape)
            if family.log_concave:
                assert np.all(terms.second <= 0.0)


@pytest.mark.parametrize("name", [name for name, family in NAMES.items() if family.log_concave])
def test_curvature_is_never_positive_where_the_density_is_log_concave(name: str) -> None:
    family = NAMES[name]
    y, size = outcomes_of(family)
    for eta in np.linspace(-60.0, 60.0, 601):
        assert np.all(family.terms(y, size, np.full(len(y), eta), shape_of(family)).second <= 0.0)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_success_and_failure_may_be_swapped(link: str) -> None:
    family, none = families.Binomial(link=link), np.zeros(0)
    size, y, eta = np.full(5, 6.0), np.arange(5.0), np.array([-30.0, -2.0, 0.1, 3.0, 50.0])
    here, there = family.terms(y, size, eta, none), family.terms(size - y, size, -eta, none)
    assert here.log_density == pytest.approx(there.log_density, rel=1e-14)
    assert here.first == pytest.approx(-there.first, rel=1e-14)
    assert here.second == pytest.approx(there.second, rel=1e-14)
    assert here.third == pytest.approx(-there.third, rel=1e-14)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_order_of_categories_may_be_turned(link: str) -> None:
    family, one = families.Ordinal(link=link), np.ones(4)
    cuts = np.array([0.4, 1.0, 3.0])
    y, eta = np.array([0.0, 1.0, 2.0, 3.0]), np.array([-8.0, 0.2, 2.0, 11.0])
    here = family.terms(y, one, eta, cuts[1:] - cuts[0])
    there = family.terms(3.0 - y, one, cuts[2] - cuts[0] - eta, cuts[2] - cuts[1::-1])
    assert here.log_density == pytest.approx(there.log_density, rel=1e-13)
    assert here.first == pytest.approx(-there.first, rel=1e-13)
    assert here.third == pytest.approx(-there.third, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_two_categories_are_binary_answers(link: str) -> None:
    y, one, none, eta = np.array([0.0, 1.0, 0.0, 1.0]), np.ones(4), np.zeros(0), np.array([-40.0, -1.0, 0.4, 12.0])
    two = families.Ordinal(link=link).terms(y, one, eta, none)
    binary = families.Binomial(link=link).terms(y, one, eta, none)
    assert two.log_density == pytest.approx(binary.log_density, rel=1e-14)
    assert two.third == pytest.approx(binary.third, rel=1e-13)


def test_overdispersed_families_end_at_those_they_extend() -> None:
    y, size, eta = np.array([0.0, 2.0, 9.0, 80.0]), np.array([1.0, 3.0, 9.0, 200.0]), np.array([-3.0, 0.5, 2.0, 4.4])
    none, one = np.zeros(0), np.ones(4)
    pairs = [
        (families.NegativeBinomial(), 1e18, families.Poisson(), one),
        (families.NegativeBinomial("nb1"), 1e-18, families.Poisson(), one),
        (families.BetaBinomial(), 1e18, families.Binomial(), size),
    ]
    for wide, limit, narrow, trials in pairs:
        found, exact = wide.terms(y, trials, eta, np.array([limit])), narrow.terms(y, trials, eta, none)
        for name in ("log_density", "first", "second", "third"):
            assert getattr(found, name) == pytest.approx(getattr(exact, name), rel=1e-12, abs=1e-12)


def test_polygammas_from_tiny_to_huge() -> None:
    for x in np.concatenate([np.logspace(-90, 90, 61), np.linspace(0.1, 40.0, 100)]):
        exact = tuple(float(value) for value in (special.digamma(x), special.polygamma(1, x), special.polygamma(2, x)))
        assert polygammas(x) == pytest.approx(exact, rel=2e-14, abs=2e-15)


@EACH
def test_shapes_and_their_working_forms(name: str) -> None:
    family = NAMES[name]
    natural = shape_of(family)
    categories = ("a", "b", "c", "d") if family.kind == "ordered" else None
    assert len(family.shape_names(categories)) == len(natural) == family.n_shape(4)
    working = family.working_shape(natural)
    assert family.shape(working) == pytest.approx(natural, rel=1e-14)
    step = 1e-6 * np.eye(len(natural))
    differences = [(family.shape(working + row) - family.shape(working - row)) / 2e-6 for row in step]
    columns = np.array(differences).reshape((natural.size,) * 2)
    assert family.shape_jacobian(working) == pytest.approx(columns.T, rel=1e-8)


@EACH
def test_derivatives_of_the_mean(name: str) -> None:
    family, eta, h = NAMES[name], np.linspace(-4.0, 4.0, 17), 1e-4
    up, down = family.mean(eta + h), family.mean(eta - h)
    assert family.mean_slope(eta) == pytest.approx((up - down) / (2 * h), rel=1e-6)
    far = np.array([-1e5, 1e5])
    assert np.all(np.isfinite([family.mean(far), family.mean_slope(far)]))


@EACH
def test_draws_have_the_mean_the_variance_and_the_distribution(name: str) -> None:
    family, n = NAMES[name], 40_000
    rng = np.random.default_rng(7)
    shape, eta = shape_of(family), np.full(n, 0.6)
    size = np.full(n, 8.0) if family.has_trials else np.ones(n)
    y = family.draw(rng, eta, size, shape)
    mean, variance = family.outcome_mean(eta, size, shape)[0], family.outcome_variance(eta, size, shape)[0]
    assert y.mean() == pytest.approx(mean, abs=4.0 * np.sqrt(variance / n))
    fourth = np.mean((y - mean) ** 4)
    assert np.mean((y - mean) ** 2) == pytest.approx(variance, abs=4.0 * np.sqrt((fourth - variance**2) / n))
    kept = slice(0, 4000)
    below, upto = family.cdf(y[kept], eta[kept], size[kept], shape)
    assert np.all((below <= upto) & (below >= 0.0) & (upto <= 1.0))
    uniform = below + rng.random(4000) * (upto - below)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3


@EACH
def test_draws_and_distributions_at_far_predictors(name: str) -> None:
    # warnings are errors here: nothing may overflow
    family, rng = NAMES[name], np.random.default_rng(1)
    size = np.full(6, 5.0) if family.has_trials else np.ones(6)
    shapes = (
        [shape_of(family)] if family.kind == "ordered" else [np.full(family.n_shape(), s) for s in (1e-6, 1.0, 1e8)]
    )
    for eta in (np.full(6, value) for value in (-1e4, -800.0, -300.0, 300.0, 800.0, 1e4)):
        for shape in shapes:
            y = family.draw(rng, eta, size, shape)
            if family.kind != "ordered":
                family.check_outcome(y, size, name)
            below, upto = family.cdf(y, eta, size, shape)
            assert np.all((below >= 0.0) & (below <= upto) & (upto <= 1.0))
            assert np.all(np.isfinite(family.outcome_mean(eta, size, shape)))
            assert np.all(np.isfinite(family.outcome_variance(eta, size, shape)))
            assert np.all(np.isfinite(family.terms(y, size, eta, shape).log_density))


@pytest.mark.parametrize("name", [name for name, family in NAMES.items() if family.kind not in ("positive", "share")])
def test_distribution_functions_are_sums_of_densities(name: str) -> None:
    family = NAMES[name]
    size = 30.0 if family.has_trials else 1.0
    y = np.arange(4.0 if family.kind == "ordered" else 31.0)
    for eta in (-1.0, 2.0):
        args = np.full(len(y), eta), np.full(len(y), size), shape_of(family)
        mass = np.exp(family.terms(y, args[1], args[0], args[2]).log_density)
        below, upto = family.cdf(y, *args)
        assert upto == pytest.approx(np.cumsum(mass), rel=1e-10)
        assert below == pytest.approx(np.cumsum(mass) - mass, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_probabilities_of_categories(link: str) -> None:
    family, eta, shape = families.Ordinal(link=link), np.array([-3.0, 0.2, 6.0]), np.array([0.7, 2.5])
    found = family.probabilities(eta, shape)
    assert found.sum(axis=1) == pytest.approx(np.ones(3), rel=1e-14)
    numbers = np.arange(4.0)
    mean = found @ numbers
    assert family.outcome_mean(eta, np.ones(3), shape) == pytest.approx(mean, rel=1e-13)
    assert family.outcome_variance(eta, np.ones(3), shape) == pytest.approx(found @ numbers**2 - mean**2, rel=1e-10)


@EACH
def test_starts_are_finite_and_near(name: str) -> None:
    family, n = NAMES[name], 3000
    rng = np.random.default_rng(3)
    size = np.full(n, 8.0) if family.has_trials else np.ones(n)
    shape = shape_of(family)
    y = family.draw(rng, np.full(n, 0.4), size, shape)
    eta, working = family.start(y, size, np.ones(n))
    assert np.all(np.isfinite(eta))
    assert eta.mean() == pytest.approx(0.4, abs=1.0)
    assert family.shape(working) == pytest.approx(shape, rel=1.5)
    same = np.full(n, y[0])
    if family.kind != "ordered":
        assert np.all(np.isfinite(np.concatenate(family.start(same, size, np.ones(n)))))


WRONG = [
    (families.Binomial(), [0.0, 2.0], [1.0, 1.0], "has to be 0 or 1, but 1 of 2 values are not"),
    (families.Binomial(), [0.0, 2.5], [3.0, 3.0], "whole number of successes"),
    (families.Binomial(), [0.0, 0.0], [1.0, 0.0], "at least 1"),
    (families.Poisson(), [1.0, -1.0], [1.0, 1.0], "a count"),
    (families.NegativeBinomial(), [1.0, 0.5], [1.0, 1.0], "exposure"),
    (families.Gamma(), [1.0, 0.0], [1.0, 1.0], "positive amount"),
    (families.Beta(), [0.4, 1.0], [1.0, 1.0], "above 0 and below 1"),
    (families.BetaBinomial(), [0.0, 1.0], [1.0, 1.0], "several trials"),
    (families.BetaBinomial(), [0.0, 9.0], [4.0, 4.0], "successes"),
    (families.Ordinal(), [0.0, 2.0], [1.0, 1.0], "every one of its categories"),
    (families.Ordinal(), [0.0, 0.5], [1.0, 1.0], "ordered category"),
    (families.Poisson(), [0.0, np.nan], [1.0, 1.0], "a count"),
]


@pytest.mark.parametrize(("family", "y", "size", "words"), WRONG, ids=lambda value: getattr(value, "name", ""))
def test_impossible_outcomes_are_refused(
    family: families.Family, y: list[float], size: list[float], words: str
) -> None:
    with pytest.raises(errors.DataError, match=words) as caught:
        family.check_outcome(np.array(y), np.array(size), "answer")
    assert "'answer'" in str(caught.value)


@EACH
def test_possible_outcomes_are_not_refused(name: str) -> None:
    family = NAMES[name]
    family.check_outcome(*outcomes_of(family), "answer")


def test_families_by_name() -> None:
    assert families.family_of("Negative_Binomial".replace("Negative_", "neg")) == families.NegativeBinomial()
    assert families.family_of("beta-binomial") == families.BetaBinomial()
    assert families.family_of(families.Ordinal(link="probit")).link == "probit"
    with pytest.raises(errors.CrosslevelError, match="Did you mean 'poisson'"):
        families.family_of("poison")
    with pytest.raises(errors.CrosslevelError, match="`link` of the binomial family"):
        families.Binomial(link="cauchit")
    with pytest.raises(errors.CrosslevelError, match="`variant`"):
        families.NegativeBinomial("nb3")
    with pytest.raises(errors.CrosslevelError, match="`link` of the ordinal family"):
        families.Ordinal(link="cloglog")


def test_weights_multiply_terms() -> None:
    rng = np.random.default_rng(1)
    y, eta, weight, one, shape = rng.poisson(3.0, 9).astype(float), rng.normal(size=9), rng.random(9), np.ones(9), [2.0]
    out, by_shape = np.empty((4, 9)), np.empty((9, 3, 1))
    code, natural = responses.NEGATIVE_BINOMIAL_2, np.array(shape)
    responses.fill_terms(code, y, one, weight, eta, natural, out)
    responses.fill_by_shape(code, y, one, weight, eta, natural, by_shape)
    terms = families.NegativeBinomial().terms(y, one, eta, natural)
    assert out[1:] == pytest.approx(weight * np.array([terms.first, terms.second, terms.third]), rel=1e-15)
    assert by_shape == pytest.approx(weight[:, None, None] * terms.by_shape, rel=1e-15)
    total = float(out[0].sum() + responses.sum_constants(code, y, one, weight))
    assert total == pytest.approx(float(weight @ terms.log_density), rel=1e-14)
