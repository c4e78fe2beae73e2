"""Searches for the random-effects structure of binary outcomes and counts."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl


@cache
def answers() -> pd.DataFrame:
    """40 clusters in which the slope of x varies and that of w does not."""
    rng, n_clusters, n = np.random.default_rng(2), 40, 40
    z, g = rng.normal(size=n_clusters), np.repeat(np.arange(n_clusters), n)
    x, w = rng.normal(size=(2, n_clusters * n))
    u = rng.normal(size=(n_clusters, 2)) * [0.8, 0.7]
    eta = 0.2 + u[g, 0] + 0.3 * z[g] + (0.5 + 0.2 * z[g] + u[g, 1]) * x + 0.3 * w + 1.0 * x * (z[g] > 3)
    chance = 1.0 / (1.0 + np.exp(-eta))
    data = pd.DataFrame({"x": x + 2.0, "w": w, "z": z[g], "g": g, "h": np.arange(len(g)) % 7})
    return data.assign(y=(rng.random(len(g)) < chance).astype(int), c=rng.poisson(np.exp(0.5 * eta)))


@cache
def found(criterion: str) -> Any:
    return cl.select(
        "y ~ x * z + w + (x + w | g)", answers(), family="binomial", criterion=criterion, progress=False, quadrature=3
    )


@pytest.mark.parametrize("criterion", ["bic", "bic-clusters", "aic", "lrt"])
def test_the_slope_that_does_not_vary_goes(criterion: str) -> None:
    search = found(criterion)
    assert "w" not in search.structure.effects
    assert set(search.structure.effects) == {"Intercept", "x"}
    assert search.fit.family.name == "binomial"


def test_candidates_are_the_fits_of_their_formulas() -> None:
    """From warm starts and rows that were cut out of the maximal model's, the same optimum as from scratch."""
    search = found("bic")
    formulas = {
        "Intercept, x, w": "y ~ x * z + w + (1 | g) + (0 + x | g) + (0 + w | g)",
        "Intercept, x": "y ~ x * z + w + (1 | g) + (0 + x | g)",
        "Intercept ~ x": "y ~ x * z + w + (x | g)",
    }
    for structure, formula in formulas.items():
        own = cl.mixed(formula, answers(), family="binomial", quadrature=3)
        (candidate,) = [one for one in search.search.fitted.values() if one.structure.words == structure]
        assert candidate.deviance == pytest.approx(own.deviance, abs=1e-6)
        assert candidate.n_params == own.n_params
        np.testing.assert_allclose(candidate.beta, own.params, atol=1e-5)
        np.testing.assert_allclose(np.sqrt(np.diag(candidate.vcov)), own.bse, rtol=1e-4)
        value = own.deviance + np.log(own.nobs) * own.n_params
        assert search.judge.value(candidate, candidate) == pytest.approx(value, abs=1e-5)


def test_a_likelihood_ratio_search_tests_as_test_random_does() -> None:
    search = found("lrt")
    whole = cl.mixed("y ~ x * z + w + (1 | g) + (0 + x | g) + (0 + w | g)", answers(), family="binomial", quadrature=3)
    table = search.candidates
    tested = table[(table["step"] == 1) & (table["dropped"] == "w")].iloc[0]
    tests = whole.test_random()
    (name,) = [term for term in tests.index if "w" in term]
    assert tested["criterion"] == pytest.approx(tests.loc[name, "p_value"], rel=1e-3, abs=1e-6)


def test_the_chosen_model_is_a_fit_like_any_other() -> None:
    search = found("bic")
    own = cl.mixed(search.formula, answers(), family="binomial", quadrature=3)
    np.testing.assert_allclose(search.fit.params, own.params, atol=1e-5)
    assert search.fit.deviance == pytest.approx(own.deviance, abs=1e-6)
    assert "adaptive quadrature with 3 nodes" in search.log
    assert "Laplace" not in search.log
    assert "w was dropped" in search.log


def test_counts_and_several_factors_are_searched_by_laplace() -> None:
    search = cl.select(
        "c ~ x + w + (x + w || g) + (1 | h)",
        answers(),
        family="poisson",
        group="g",
        progress=False,
        correlations="none",
    )
    assert "w" not in search.structure.effects
    assert search.fit.quadrature.nodes == 1
    assert "Laplace approximation" in search.log


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"criterion": "caic"}, "another family"),
        ({"criterion": "cv"}, "another family"),
        ({"criterion": "focus"}, "another family"),
        ({"method": "reml"}, "restricted"),
        ({"quadrature": "pql"}, "likelihood"),
        ({"prior": cl.prior.Weak()}, "prior"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(cl.CrosslevelError, match=words):
        cl.select("y ~ x * z + (x | g)", answers(), family="binomial", progress=False, **changes)
