"""Checks of generalized models by simulation: they see what is wrong, and nothing where nothing is."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import crosslevel as cl
from crosslevel.diagnostics.generalized.quantiles import uniform_ranks
from crosslevel.diagnostics.generalized.simulator import Simulator, chance

TOWNS, EACH = 40, 8


@cache
def rows() -> pd.DataFrame:
    """Outcomes of several laws with the same predictors and clusters."""
    rng = np.random.default_rng(5)
    town = np.repeat(np.arange(TOWNS), EACH)
    x, u, n = rng.normal(size=TOWNS * EACH), rng.normal(0.0, 0.6, TOWNS), TOWNS * EACH
    eta = 0.8 + 0.5 * x + u[town]
    mu, trials = np.exp(eta), np.full(n, 12)
    return pd.DataFrame(
        {
            "town": town,
            "x": x,
            "row": np.arange(n),
            "poisson": rng.poisson(mu),
            "overdispersed": rng.poisson(mu * rng.gamma(1.5, 1.0 / 1.5, n)),
            "inflated": rng.poisson(mu) * (rng.random(n) > 0.25),
            "trials": trials,
            "successes": rng.binomial(trials, special.expit(eta - 1.0)),
            "curved": rng.binomial(trials, special.expit(eta - 1.0 - 0.8 * (x**2 - 1.0))),
            "yes": (eta - 1.0 + rng.logistic(size=n) > 0.0).astype(int),
            "grade": pd.cut(eta + rng.logistic(size=n), [-np.inf, 0.0, 1.5, np.inf], labels=["a", "b", "c"]),
            "amount": rng.gamma(3.0, mu / 3.0),
        }
    )


FAMILIES = {
    "poisson": "poisson", "overdispersed": "poisson", "inflated": "poisson",
    "cbind(successes, trials - successes)": "binomial", "cbind(curved, trials - curved)": "binomial",
    "yes": "binomial", "grade": "ordinal", "amount": "gamma",
}  # fmt: skip


def words(found: object) -> str:
    """A summary in one line."""
    return " ".join(str(found).split())


@cache
def fitted(outcome: str, family: str | None = None) -> cl.mixed:
    return cl.mixed(f"{outcome} ~ x + (1 | town)", rows(), family=family or FAMILIES[outcome], quadrature="laplace")


def test_dispersion_sees_overdispersion_and_only_that() -> None:
    # 250 simulations: the least two-sided p-value is 2 / 251
    assert cl.dispersion(fitted("overdispersed"), seed=1).p_value == pytest.approx(2 / 251)
    assert cl.dispersion(fitted("overdispersed"), seed=1).ratio > 1.5
    for outcome in ("poisson", "cbind(successes, trials - successes)", "amount"):
        found = cl.dispersion(fitted(outcome), seed=1)
        assert found.p_value > 0.05
        assert found.ratio == pytest.approx(1.0, abs=0.2)
    assert cl.dispersion(fitted("overdispersed", "nbinom2"), seed=1).p_value > 0.05


def test_dispersion_is_pearsons_sum_at_the_modes() -> None:
    fit = fitted("poisson")
    mu = fit.fitted.to_numpy()
    found = cl.dispersion(fit, n=30, seed=1)
    assert found.observed == pytest.approx(float(np.sum((rows()["poisson"] - mu) ** 2 / mu)), rel=1e-9)
    assert found.frame.loc["Dispersion", "simulations"] == 30
    assert found.expected < fit.nobs  # modes follow the outcome


def test_zeros_are_seen_where_there_are_too_many() -> None:
    found = cl.zero_inflation(fitted("inflated"), seed=1)
    assert found.observed == np.count_nonzero(rows()["inflated"] == 0)
    assert found.p_value == pytest.approx(2 / 251)
    assert found.ratio > 1.3
    assert "Fit family='nbinom2'" in words(found)
    assert cl.zero_inflation(fitted("poisson"), seed=1).p_value > 0.05
    assert cl.zero_inflation(fitted("cbind(successes, trials - successes)"), n=50, seed=1).p_value > 0.05


def test_checks_repeat_with_their_seed() -> None:
    fit = fitted("poisson")
    for check in (cl.dispersion, cl.zero_inflation):
        assert np.array_equal(check(fit, n=25, seed=4).simulated, check(fit, n=25, seed=4).simulated)
    first, second = (cl.quantile_residuals(fit, n=25, seed=4).values for _ in range(2))
    assert first.equals(second)


def test_modes_of_the_data_are_found_again() -> None:
    model = Simulator.of(fitted("poisson"), what="dispersion", n=20)
    assert model.predictor_of(model.y) == pytest.approx(model.state.eta, abs=1e-8)


def test_quantile_residuals_are_uniform_where_the_model_is_true() -> None:
    for outcome in ("poisson", "cbind(successes, trials - successes)", "yes", "grade", "amount"):
        found = cl.quantile_residuals(fitted(outcome), n=200, seed=3)
        assert found.frame["p_value"].min() > 0.02, outcome
        assert np.all((found.values > 0.0) & (found.values < 1.0))
        assert np.all(np.isfinite(found.normal))
        conditional = cl.quantile_residuals(fitted(outcome), n=200, seed=3, random_effects="conditional")
        assert stats.kstest(conditional.values, "uniform").pvalue > 1e-3
    assert "The data are as the model says" in words(found)


def test_quantile_residuals_see_a_missing_curve() -> None:
    found = cl.quantile_residuals(fitted("cbind(curved, trials - curved)"), seed=3)
    assert found.frame.loc["linear predictor", "p_value"] < 0.01
    assert "may act along a curve" in words(found)


def test_quantile_residuals_are_ranks_among_simulations() -> None:
    fit = fitted("amount")
    found = cl.quantile_residuals(fit, n=400, seed=1, random_effects="conditional")
    eta = np.log(fit.fitted.to_numpy())
    shape = np.asarray(fit.shape)
    exact, _ = fit.family.cdf(rows()["amount"].to_numpy(), eta, np.ones(len(eta)), shape)
    assert np.max(np.abs(found.values.to_numpy() - exact)) < 5.0 * np.sqrt(0.25 / 400)
    assert found.values.index.equals(fit.fitted.index)


def test_tied_ranks_are_uniform() -> None:
    rng = np.random.default_rng(2)
    ranks = uniform_ranks(rng.poisson(0.7, (101, 400)).astype(float), rng)
    assert stats.kstest(ranks[0], "uniform").pvalue > 1e-3
    assert ranks.min() > 0.0
    assert ranks.max() < 1.0
    assert np.all(np.sort(np.floor(ranks * 101), axis=0) == np.arange(101.0)[:, None])


def test_p_value_of_an_extreme_statistic() -> None:
    drawn = np.arange(99.0)
    assert chance(1000.0, drawn) == pytest.approx(0.02)
    assert chance(-1.0, drawn) == pytest.approx(0.02)
    assert chance(49.0, drawn) == pytest.approx(1.0)


def test_calibration_of_a_true_model() -> None:
    for outcome in ("cbind(successes, trials - successes)", "yes", "poisson", "grade"):
        for random_effects in ("conditional", "new"):
            found = cl.calibration(fitted(outcome), bins=6, n=60, seed=1, random_effects=random_effects)
            frame = found.frame
            assert found.p_value > 0.01, (outcome, random_effects)
            assert frame["rows"].sum() == len(rows()) * len(found.events)
            assert np.mean((frame["observed"] >= frame["conf_low"]) & (frame["observed"] <= frame["conf_high"])) > 0.6
    assert found.events == ("grade above a", "grade above b")
    assert "grade above b" in words(found)


def test_calibration_means_are_those_of_the_rows() -> None:
    fit = fitted("yes")
    found = cl.calibration(fit, bins=4, n=20, seed=1)
    order = np.argsort(fit.fitted.to_numpy(), kind="stable")
    parts = np.array_split(order, 4)
    assert found.frame["predicted"].to_numpy() == pytest.approx([fit.fitted.to_numpy()[part].mean() for part in parts])
    assert found.frame["observed"].to_numpy() == pytest.approx(
        [rows()["yes"].to_numpy()[part].mean() for part in parts]
    )


def test_calibration_sees_a_missing_curve() -> None:
    found = cl.calibration(fitted("cbind(curved, trials - curved)"), n=200, seed=1, random_effects="new")
    assert found.p_value < 0.02
    assert "link" in words(found)


def test_observed_and_expected_by_cluster() -> None:
    fit = fitted("poisson")
    found = cl.observed_expected(fit, n=400, seed=1)
    frame = found.frame
    sums = rows().groupby("town")["poisson"].sum()
    assert frame["observed"].to_numpy() == pytest.approx(sums.to_numpy())
    # E exp(m + v Z^2 / 2): the mean over clusters of a log link
    variance = float(fit.cov_re["town"].iloc[0, 0])
    mean = np.exp(fit.params["Intercept"] + fit.params["x"] * rows()["x"] + 0.5 * variance)
    assert frame["expected"].to_numpy() == pytest.approx(mean.groupby(rows()["town"]).sum().to_numpy(), rel=1e-6)
    assert frame["at_modes"].to_numpy() == pytest.approx(fit.fitted.groupby(rows()["town"].to_numpy()).sum().to_numpy())
    assert found.p_value > 0.02
    assert frame["outside"].mean() < 0.2
    assert "clusters of town" in words(found)


def test_an_outlying_cluster_is_outside() -> None:
    data = rows().assign(poisson=lambda frame: frame["poisson"] + 60 * (frame["town"] == 7))
    fit = cl.mixed("poisson ~ x + (1 | town)", data, family="poisson", quadrature="laplace")
    found = cl.observed_expected(fit, n=400, seed=1)
    assert found.frame["ratio"].idxmax() == 7
    assert found.frame.loc[7, "outside"]


def test_clusters_of_two_kinds_are_seen() -> None:
    rng = np.random.default_rng(8)
    town = np.repeat(np.arange(60), 12)
    y = rng.poisson(np.exp(1.5 + np.where(rng.random(60) < 0.5, -1.0, 1.0)[town]))
    fit = cl.mixed("y ~ 1 + (1 | town)", pd.DataFrame({"y": y, "town": town}), family="poisson", quadrature="laplace")
    found = cl.observed_expected(fit, n=400, seed=1)
    assert found.p_value < 0.02
    assert "of several kinds" in words(found)


def test_two_factors_and_quadrature() -> None:
    fit = cl.mixed("overdispersed ~ x + (1 | town) + (1 | row)", rows(), family="poisson")
    assert cl.dispersion(fit, n=60, seed=1).p_value > 0.05
    assert cl.observed_expected(fit, n=60, seed=1).group in ("row", "town")
    assert cl.observed_expected(fit, "town", n=60, seed=1).frame.shape[0] == TOWNS
    quadrature = cl.mixed("yes ~ x + (1 | town)", rows(), family="binomial", quadrature=7)
    assert cl.quantile_residuals(quadrature, n=60, seed=1).frame["p_value"].min() > 0.01


REFUSED = [
    (lambda: cl.dispersion(fitted("yes"), seed=1), "nothing to compare"),
    (lambda: cl.dispersion(fitted("grade"), seed=1), "ordered categories"),
    (lambda: cl.zero_inflation(fitted("yes"), seed=1), "counts zeros"),
    (lambda: cl.zero_inflation(fitted("amount"), seed=1), "counts zeros"),
    (lambda: cl.dispersion(fitted("poisson"), n=3), "at least 20"),
    (lambda: cl.dispersion(cl.ols("poisson ~ x", rows())), "fits of cl.mixed with a family"),
    (lambda: cl.quantile_residuals(fitted("poisson"), random_effects="none"), "`random_effects`"),
    (lambda: cl.calibration(fitted("poisson"), random_effects="none"), "`random_effects`"),
    (lambda: cl.calibration(fitted("poisson"), bins=1), "`bins`"),
    (lambda: cl.calibration(fitted("poisson"), level=95), "`level`"),
    (lambda: cl.observed_expected(fitted("poisson"), "city"), "'town'; got 'city'"),
]


@pytest.mark.parametrize(("ask", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_cannot_be_checked_is_refused(ask: object, words: str) -> None:
    with pytest.raises(cl.CrosslevelError, match=words):
        ask()


def test_figures_are_drawn() -> None:
    drawn = [
        cl.plot.simulated_check(cl.dispersion(fitted("poisson"), n=30, seed=1)),
        cl.plot.quantile_residuals(cl.quantile_residuals(fitted("yes"), n=30, seed=1)),
        cl.plot.calibration(cl.calibration(fitted("yes"), n=30, seed=1)),
        cl.plot.calibration(cl.calibration(fitted("grade"), n=30, bins=3, seed=1)),
        cl.plot.observed_expected(cl.observed_expected(fitted("poisson"), n=30, seed=1)),
    ]
    for figure in drawn:
        assert len(figure._repr_png_()) > 5000
    data = cl.plot.quantile_residuals_data(cl.quantile_residuals(fitted("yes"), n=30, seed=1))
    assert set(data["panel"]) == {"distribution", "linear predictor"}
    ordered = cl.plot.observed_expected_data(cl.observed_expected(fitted("poisson"), n=30, seed=1))
    assert ordered["ratio"].is_monotonic_increasing
    with pytest.raises(cl.CrosslevelError, match="one event"):
        cl.plot.calibration(cl.calibration(fitted("grade"), n=30, seed=1), ax=drawn[0].axes[0])
