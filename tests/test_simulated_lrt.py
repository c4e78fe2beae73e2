"""Likelihood-ratio tests by simulation: the finite sample, the bootstrap, and what is so under the null hypothesis."""

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, load_data
from scipy import stats
from test_lrtest import SLEEP, fitted, many

import crosslevel as cl
from crosslevel import CrosslevelError
from crosslevel.design.submodel import part_of_reduced, parts_of
from crosslevel.estimators.comparison import _refitted
from crosslevel.estimators.mixed import solve_design
from crosslevel.estimators.nesting import nesting
from crosslevel.estimators.simulated_tests import Refitted, _spectrum, from_rows, why_not_exact
from crosslevel.inference.exact_lrt import exceedance, simulate_statistics
from crosslevel.inference.lrt import mixture_tail
from crosslevel.inference.null_draws import NullDraws
from crosslevel.solve import solve
from crosslevel.solve.submodel import solve_submodel


@cache
def rlrsim() -> dict[str, Any]:
    return json.loads((FOLDER / "rlrsim.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", rlrsim()["cases"], ids=lambda case: case["formula"])
def test_null_distribution_of_rlrsim(case):
    """Tail probabilities of ours at its quantiles; both are simulated."""
    fit = fitted(case["formula"], case["dataset"])
    kept = ((),) if len(fit.design.factors) == 1 else tuple(
        () if factor.name == "sample" else (0,) for factor in fit.design.factors
    )  # fmt: skip
    spectrum, n = _spectrum(fit.design, kept), 40_000
    for reml, key in ((True, "rlrt"), (False, "lrt")):
        draws = simulate_statistics(
            spectrum, n, np.random.default_rng(7), reml=reml, n_fixed=0 if reml else case["lrt_fixed"]
        )
        for probability, quantile in zip(rlrsim()["probabilities"], case[key], strict=True):
            if quantile < 1e-3:  # within the mass at zero
                continue
            error = np.sqrt(probability * (1.0 - probability) * (1.0 / n + 1.0 / rlrsim()["draws"]))
            assert np.mean(draws <= quantile) == pytest.approx(probability, abs=4.0 * error)
        if reml:
            assert np.mean(draws < 1e-8) == pytest.approx(case["zero"], abs=4.0 * 0.5 * np.sqrt(1.0 / n + 1.0 / 2e5))


def test_balanced_one_way_layout_has_a_closed_form():
    """With equal clusters the statistic is a function of the F ratio, which is positive where F exceeds 1."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"g": np.repeat(np.arange(8), 5), "y": rng.normal(size=40)})
    fit = cl.mixed("y ~ 1 + (1 | g)", frame)
    draws = simulate_statistics(_spectrum(fit.design, ((),)), 100_000, np.random.default_rng(3), reml=True)
    zero = stats.f.cdf(1.0, 7, 32)
    assert np.mean(draws <= 1e-6) == pytest.approx(zero, abs=4.0 * 0.5 / np.sqrt(100_000))

    def statistic(f: float) -> float:
        """At a ratio f > 1, from the deviances of the one-way layout."""
        between, within = 7.0 * f, 32.0
        total = between + within
        return 39.0 * np.log(total / 39.0) - 7.0 * np.log(between / 7.0) - 32.0 * np.log(within / 32.0)

    for f in (1.5, 2.3, 3.3):
        p = stats.f.sf(f, 7, 32)
        assert np.mean(draws >= statistic(f)) == pytest.approx(p, abs=4.0 * np.sqrt(p * (1 - p) / 100_000))


def test_exact_test_of_a_single_variance():
    fit = fitted("Yield ~ 1 + (1 | Batch)", "Dyestuff")
    row = fit.test_random(test="exact", seed=1).loc["(1 | Batch)"]
    again = fit.test_random(test="exact", seed=1).loc["(1 | Batch)"]
    assert row["p_value"] == again["p_value"]
    assert row["reference"] == "finite sample"
    assert row["draws"] == 10_000
    # F(5, 24) = 4.598: the statistic is a monotone function of it
    assert row["p_value"] == pytest.approx(stats.f.sf(4.5983, 5, 24), abs=4.0 * row["p_error"])


def test_exact_tests_of_some_terms_only():
    fit = fitted("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")
    table = fit.test_random(test="exact", n=500, seed=1)
    assert list(table["reference"]) == ["finite sample, other random effects taken as known"] * 2 + [
        "no single variance"
    ]
    assert np.isnan(table.loc["all", "p_value"])
    with pytest.raises(CrosslevelError, match="no random term of this model is such"):
        fitted(SLEEP["rs"], "sleepstudy").test_random(test="exact")


def test_exact_test_with_a_coefficient():
    data = load_data("Dyestuff").assign(x=np.tile(np.arange(5.0), 6))
    small, large = (
        cl.mixed("Yield ~ 1", data, method="ml", residual=cl.residual.By("Batch")),
        cl.mixed("Yield ~ x + (1 | Batch)", data, method="ml"),
    )
    with pytest.raises(CrosslevelError):
        cl.lrtest(small, large)
    fit = cl.mixed("Yield ~ x + (1 | Batch) + (0 + x | Batch)", data, method="ml")
    test = cl.lrtest(cl.mixed("Yield ~ 1 + (1 | Batch)", data, method="ml"), fit, test="exact", n=2000, seed=1)
    assert "other random effects taken as known" in test.reference
    assert test.p_value == pytest.approx(mixture_tail(np.array([0.0, 0.5, 0.5]), test.statistic), abs=0.1)


def test_multiple_membership_has_a_spectrum():
    rng, n = np.random.default_rng(4), 120
    frame = pd.DataFrame({"a": rng.integers(0, 10, n), "b": rng.integers(0, 10, n), "y": rng.normal(size=n)})
    fit = cl.mixed("y ~ 1 + (1 | mm(a, b))", frame)
    Z = np.zeros((n, 10))
    levels = list(fit.design.factors[0].levels)
    for codes, share in fit.design.used_members(fit.design.factors[0]):
        inside = codes >= 0
        np.add.at(Z, (np.flatnonzero(inside), codes[inside]), (np.ones(n) if share is None else share)[inside])
    assert len(levels) == 10
    centred = Z - Z.mean(axis=0)
    mu = np.linalg.eigvalsh(centred.T @ centred)
    spectrum = _spectrum(fit.design, ((),))
    ours = np.sort(np.repeat(spectrum.mu, spectrum.times.astype(int)))
    np.testing.assert_allclose(ours / ours[-1], np.sort(mu[mu > 1e-9 * mu[-1]]) / mu[-1], rtol=1e-8)


def test_why_not_exact():
    fit = fitted("distance ~ age + (1 | Subject)", "Orthodont", "reml", cl.residual.By("Sex"))
    assert "residuals have a structure" in str(why_not_exact(fit.design, ((),)))


def test_exceedance_counts_the_data_too():
    assert exceedance(np.array([0.0, 1.0, 2.0, 3.0]), 2.0)[0] == pytest.approx(3 / 5)


def test_bootstrap_is_the_same_for_the_same_seed():
    small, large = fitted(SLEEP["ri"], "sleepstudy"), fitted(SLEEP["rs"], "sleepstudy")
    tests = [cl.lrtest(small, large, test="bootstrap", n=19, seed=4) for _ in range(2)]
    assert tests[0].p_value == tests[1].p_value == pytest.approx(1 / 20)
    assert tests[0].draws == 19
    assert tests[0].failed == 0
    assert "19 simulations" in str(tests[0])
    table = large.test_random(test="bootstrap", n=19, seed=4)
    assert table.loc["all", "p_value"] == pytest.approx(1 / 20)


def test_bootstrap_is_refused_where_rows_stand_for_several():
    frame = load_data("Penicillin").assign(f=2)
    fit = cl.mixed("diameter ~ 1 + (1 | plate) + (1 | sample)", frame, weights=cl.Frequency("f"))
    with pytest.raises(CrosslevelError, match="frequency weights"):
        fit.test_random(test="bootstrap", n=19)


def test_parts_of_drawn_cross_products_are_those_of_the_rows():
    """A smaller model's cross-products, made of the larger model's alone, give the same likelihood."""
    for kept in (((0,),), ((1,),), ((0, 2),)):
        fit = cl.mixed("y ~ x + (x + z | g)", many().assign(x=many()["x"] + 5.0))
        (part,) = parts_of((fit.design.structure,), kept)
        for reml in (True, False):
            ours = solve(part_of_reduced(fit.design.reduced, part), reml=reml)
            rows = solve_submodel(fit.design, kept, reml=reml).solution
            assert ours.deviance == pytest.approx(rows.deviance, abs=1e-7)
            covariances = [each.factors[0] @ each.factors[0].T for each in (ours, rows)]
            np.testing.assert_allclose(*covariances, rtol=1e-4, atol=1e-6)


def test_drawn_cross_products_have_the_moments_of_drawn_rows():
    """X'V^-1 y-like sums: means of the drawn image and remainder, with a cluster of one row and a known Lambda."""
    frame = many()
    frame = frame[(frame["g"] > 0) | (frame.groupby("g").cumcount() < 1)]
    fit = cl.mixed("y ~ x + h + (x + z | g)", frame)
    reduced, factor = fit.design.reduced, np.array([[0.5, 0.0, 0.0], [0.2, 0.4, 0.0], [0.0, 0.1, 0.0]])
    draws, rng, n = NullDraws.of(reduced, factor), np.random.default_rng(1), 4000
    found = [draws.draw(rng) for _ in range(n)]
    total = np.array([each.remainder[-1, -1] + np.sum(each.image[:, :, -1] ** 2) for each in found])
    expected = len(frame) + np.sum((reduced.root @ factor) ** 2)  # E y'y = tr(I + Z Psi Z')
    assert total.mean() == pytest.approx(expected, abs=4.0 * total.std() / np.sqrt(n))
    # X'y outside of Z has the covariance of X'X there
    outside = np.array([each.remainder[-1, :-1] for each in found])
    expected = reduced.remainder[:-1, :-1]
    assert expected[2, 2] > 100.0
    np.testing.assert_allclose(np.cov(outside.T), expected, atol=0.1 * expected[2, 2])
    assert draws.df == len(frame) - (3 * 29 + 1) - 1  # of the fixed columns one is no random effect's


@pytest.mark.slow
def test_bootstrap_from_cross_products_and_from_rows_agree():
    small, large = (cl.mixed(f"y ~ x + {random}", many()) for random in ("(x | g)", "(x + z | g)"))
    between = nesting(small, large)
    fast = _refitted(small, large, between)
    slow = from_rows(
        small,
        lambda y: Refitted.of(*(solve_design(fit.design.with_response(y), fit.given) for fit in (small, large))),
    )
    rng = np.random.default_rng(2)
    ours, rows = (np.array([one(rng).statistic for _ in range(400)]) for one in (fast, slow))
    assert stats.ks_2samp(ours, rows).pvalue > 0.005


# -- under the null hypothesis -----------------------------------------------------------------------------------------


def rejections(statistics: np.ndarray, p_values: np.ndarray, level: float) -> tuple[float, float]:
    """Share of p-values below a level, and its Monte-Carlo standard error at the level."""
    assert len(statistics) == len(p_values)
    return float(np.mean(p_values < level)), float(np.sqrt(level * (1.0 - level) / len(p_values)))


@pytest.mark.slow
def test_mixture_of_a_slope_under_the_null_hypothesis():
    """100 clusters of 20, a random intercept and no slope."""
    rng, codes = np.random.default_rng(5), np.repeat(np.arange(100), 20)
    frame = pd.DataFrame({"g": codes, "x": rng.normal(size=2000), "y": rng.normal(size=2000)})
    fit = cl.mixed("y ~ x + (x | g)", frame)
    found = []
    for _ in range(600):
        y = 0.7 * rng.normal(size=100)[codes] + rng.normal(size=2000)
        found.append(fit.refit(y).test_random().loc["x in (x | g)", ["statistic", "p_value", "naive_p_value"]])
    table = pd.DataFrame(found).astype(float)
    for level in (0.05, 0.2, 0.5):
        share, error = rejections(table["statistic"].to_numpy(), table["p_value"].to_numpy(), level)
        assert share == pytest.approx(level, abs=3.5 * error + 0.01)  # asymptotic in the number of clusters
    assert np.mean(table["naive_p_value"] < 0.05) < 0.05


@pytest.mark.slow
def test_mixture_of_all_effects_under_the_null_hypothesis():
    """No random effects at all, clusters of unlike size, a variable that is constant in many of them."""
    rng = np.random.default_rng(6)
    codes = np.repeat(np.arange(120), rng.integers(4, 40, 120))
    x = rng.normal(size=len(codes)) * rng.choice([0.1, 3.0], 120)[codes]
    frame = pd.DataFrame({"g": codes, "x": x, "y": rng.normal(size=len(codes))})
    fit = cl.mixed("y ~ x + (x | g)", frame)
    p = np.array([fit.refit(rng.normal(size=len(codes))).test_random().loc["all", "p_value"] for _ in range(600)])
    for level in (0.05, 0.2, 0.4):
        assert np.mean(p < level) == pytest.approx(level, abs=3.5 * np.sqrt(level * (1 - level) / 600) + 0.015)


@pytest.mark.slow
def test_exact_test_by_brute_force():
    """Ten unbalanced clusters: simulated statistics of refitted data against the spectral form."""
    rng = np.random.default_rng(9)
    codes = np.repeat(np.arange(10), rng.integers(2, 15, 10))
    frame = pd.DataFrame({"g": codes, "x": rng.normal(size=len(codes)), "y": rng.normal(size=len(codes))})
    fit = cl.mixed("y ~ x + (1 | g)", frame)
    found = np.array(
        [fit.refit(rng.normal(size=len(codes))).test_random().loc["all", "statistic"] for _ in range(1500)]
    )
    draws = simulate_statistics(_spectrum(fit.design, ((),)), 50_000, rng, reml=True)
    for quantile in (0.3, 1.0, 2.5, 4.0):
        p = np.mean(draws > quantile)
        assert np.mean(found > quantile) == pytest.approx(p, abs=3.5 * np.sqrt(p * (1 - p) / 1500))
