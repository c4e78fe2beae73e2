"""Precision weights of binomial, Poisson and gamma outcomes: means of so many answers."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import crosslevel as cl
from crosslevel import families
from crosslevel.errors import ColumnNotFoundError, CrosslevelError, DataError, DesignError

FOLDER = Path(__file__).parent / "reference"
WEIGHTS = cl.Precision("w")
OUTCOMES = {"binomial": "share", "poisson": "average", "gamma": "amount"}
EACH = pytest.mark.parametrize("family", OUTCOMES)


@cache
def data() -> pd.DataFrame:
    """Means of w answers in 30 clusters g, crossed with 8 places h."""
    rng = np.random.default_rng(11)
    g, n = np.repeat(np.arange(30), 7), 210
    frame = pd.DataFrame({"g": g, "h": rng.integers(0, 8, n), "x": rng.normal(size=n), "w": rng.integers(1, 9, n)})
    eta = 0.2 + 0.5 * frame["x"] + 0.7 * rng.normal(size=30)[g]
    w = frame["w"]
    frame["successes"] = rng.binomial(w, special.expit(eta))
    frame["failures"] = w - frame["successes"]
    frame["total"] = rng.poisson(w * np.exp(0.5 * eta))
    frame["amount"] = rng.gamma(2.5 * w) / (2.5 * w) * np.exp(0.5 * eta)
    return frame.assign(share=frame["successes"] / w, average=frame["total"] / w, one=1.0, third=w / 3.0)


@cache
def fitted(family: str, nodes: int = 9):
    return cl.mixed(f"{OUTCOMES[family]} ~ x + (1 | g)", data(), family=family, weights=WEIGHTS, quadrature=nodes)


@cache
def reference():
    return json.loads((FOLDER / "weights" / "precision.json").read_text())


def assert_same(one, other) -> None:
    # two searches that start from different points, and Hessians by differences
    assert one.loglik == pytest.approx(other.loglik, abs=1e-7)
    np.testing.assert_allclose(one.params, other.params, rtol=0.0, atol=1e-4 * float(other.bse.min()))
    np.testing.assert_allclose(one.bse, other.bse, rtol=1e-4)


# -- families -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("family", [families.Poisson(), families.Gamma()], ids=repr)
def test_totals_of_several_answers_have_the_familys_distribution(family):
    size, shape = np.array([1.0, 3.0, 8.0, 2.5]), np.full(family.n_shape(), 1.7)
    y, eta = np.array([2.0, 1.0, 9.0, 4.0]), np.array([0.3, -0.4, 0.9, 0.1])
    mu = np.exp(eta)
    if family.n_shape():
        law = stats.gamma(1.7 * size, scale=mu / 1.7)
        known = law.logpdf(y) + np.log(size)  # the density of the mean
    else:
        law = stats.poisson(size * mu)
        known = law.logpmf(y)
    np.testing.assert_allclose(family.outcome_mean(eta, size, shape), law.mean(), rtol=1e-13)
    np.testing.assert_allclose(family.outcome_variance(eta, size, shape), law.var(), rtol=1e-13)
    np.testing.assert_allclose(family.cdf(y, eta, size, shape)[1], law.cdf(y), rtol=1e-12)
    terms, step = family.terms(y, size, eta, shape), 1e-5
    np.testing.assert_allclose(terms.log_density, known, rtol=1e-12)
    low, high = (family.terms(y, size, eta + way * step, shape) for way in (-1.0, 1.0))
    np.testing.assert_allclose(terms.first, (high.log_density - low.log_density) / (2 * step), rtol=1e-7)
    np.testing.assert_allclose(terms.second, (high.first - low.first) / (2 * step), rtol=1e-7)
    np.testing.assert_allclose(terms.third, (high.second - low.second) / (2 * step), rtol=1e-7)
    if family.n_shape():
        low, high = (family.terms(y, size, eta, shape + way * step) for way in (-1.0, 1.0))
        for k, name in enumerate(("log_density", "first", "second")):
            slope = (getattr(high, name) - getattr(low, name)) / (2 * step)
            np.testing.assert_allclose(terms.by_shape[:, k, 0], slope, rtol=1e-7)
    drawn = family.draw(np.random.default_rng(1), np.repeat(eta, 20000), np.repeat(size, 20000), shape).reshape(4, -1)
    assert np.all(np.abs(drawn.mean(axis=1) - law.mean()) < 4.0 * law.std() / np.sqrt(20000.0))
    np.testing.assert_allclose(drawn.var(axis=1), law.var(), rtol=0.06)


# -- identities -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("nodes", [1, 9])
def test_shares_with_precisions_are_successes_of_trials(nodes):
    ours = fitted("binomial", nodes)
    assert_same(ours, cl.mixed("cbind(successes, failures) ~ x + (1 | g)", data(), family="binomial", quadrature=nodes))
    assert_same(ours, cl.mixed("share ~ x + (1 | g)", data(), family="binomial", trials="w", quadrature=nodes))
    assert ours.nobs == len(data())


@pytest.mark.parametrize("nodes", [1, 9])
def test_mean_counts_with_precisions_are_totals_with_exposure(nodes):
    ours = fitted("poisson", nodes)
    total = cl.mixed("total ~ x + (1 | g)", data(), family="poisson", exposure="w", quadrature=nodes)
    assert_same(ours, total)
    np.testing.assert_allclose(ours.fitted * data()["w"], total.fitted, rtol=1e-6)
    np.testing.assert_allclose(ours.resid, data()["average"] - ours.fitted, atol=1e-12)


@pytest.mark.parametrize(("family", "link"), [("binomial", "probit"), ("binomial", "cloglog"), ("poisson", None)])
def test_other_links_and_crossed_factors(family, link):
    chosen = families.Binomial(link=link) if link else family
    ours = cl.mixed(f"{OUTCOMES[family]} ~ x + (1 | g) + (1 | h)", data(), family=chosen, weights=WEIGHTS)
    outcome, more = ("cbind(successes, failures)", {}) if link else ("total", {"exposure": "w"})
    assert_same(ours, cl.mixed(f"{outcome} ~ x + (1 | g) + (1 | h)", data(), family=chosen, **more))


@EACH
def test_precisions_of_one_change_nothing(family):
    rng = np.random.default_rng(3)
    y = {"binomial": rng.integers(0, 2, 210), "poisson": data()["total"], "gamma": data()["amount"]}[family]
    frame = data().assign(y=y)
    plain, weighted = (
        cl.mixed("y ~ x + (1 | g)", frame, family=family, quadrature=5, weights=weights)
        for weights in (None, cl.Precision("one"))
    )
    assert weighted.loglik == plain.loglik
    np.testing.assert_array_equal(weighted.params, plain.params)


def test_shares_of_two_trials_each():
    rng = np.random.default_rng(4)
    frame = data().assign(s=rng.binomial(2, 0.4, 210), two=2)
    ours = cl.mixed("I(s / 2) ~ x + (1 | g)", frame, family="binomial", quadrature=5, weights=cl.Precision("two"))
    assert_same(ours, cl.mixed("cbind(s, 2 - s) ~ x + (1 | g)", frame, family="binomial", quadrature=5))


@EACH
def test_ordinary_regressions_read_precisions_alike(family):
    formula = f"{OUTCOMES[family]} ~ x"
    ours = cl.glm(formula, data(), family=family, weights=WEIGHTS, cluster="g")
    if family == "gamma":
        eta, shape = ours.params["Intercept"] + ours.params["x"] * data()["x"], float(ours.shape["shape"])
        law = stats.gamma(shape * data()["w"], scale=np.exp(eta) / (shape * data()["w"]))
        assert ours.loglik == pytest.approx(law.logpdf(data()["amount"]).sum(), abs=1e-8)
        return
    outcome, more = ("cbind(successes, failures) ~ x", {}) if family == "binomial" else ("total ~ x", {"exposure": "w"})
    assert_same(ours, cl.glm(outcome, data(), family=family, cluster="g", **more))


# -- gamma ----------------------------------------------------------------------------------------------------------
def gamma_log_likelihood(parameters: np.ndarray) -> float:
    """By 200 Gauss-Hermite nodes around zero, with scipy's densities; coefficients, log SD and log shape."""
    frame, nodes, weights = data(), *np.polynomial.hermite_e.hermegauss(200)
    shape, sd = np.exp(parameters[3]), np.exp(parameters[2])
    eta = (parameters[0] + parameters[1] * frame["x"]).to_numpy()[:, None] + sd * nodes
    a = shape * frame["w"].to_numpy()[:, None]
    rows = stats.gamma.logpdf(frame["amount"].to_numpy()[:, None], a, scale=np.exp(eta) / a)
    clusters = np.add.reduceat(rows, np.arange(0, 210, 7))
    return float(special.logsumexp(clusters, b=weights / np.sqrt(2.0 * np.pi), axis=1).sum())


def test_gamma_means_against_brute_force():
    fit = fitted("gamma", 25)
    sd, shape = np.sqrt(fit.cov_re["g"].iloc[0, 0]), float(fit.shape_parameters()["estimate"]["shape"])
    at = np.array([*fit.params, np.log(sd), np.log(shape)])
    assert fit.loglik == pytest.approx(gamma_log_likelihood(at), abs=1e-8)
    slopes = [
        (gamma_log_likelihood(at + 1e-5 * step) - gamma_log_likelihood(at - 1e-5 * step)) / 2e-5 for step in np.eye(4)
    ]
    np.testing.assert_allclose(slopes, 0.0, atol=1e-4)
    laplace = fitted("gamma", 1)
    assert abs(laplace.loglik - fit.loglik) < 0.1


# -- other software -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("nodes", "name"), [(1, "laplace"), (9, "nodes_9")])
def test_shares_against_lme4(nodes, name):
    known = reference()["binomial"][name]
    frame = pd.read_csv(FOLDER / "data" / "cbpp.csv").assign(share=lambda d: d["incidence"] / d["size"])
    fit = cl.mixed(
        "share ~ C(period) + (1 | herd)", frame, family="binomial", weights=cl.Precision("size"), quadrature=nodes
    )
    errors = np.array(list(known["std_error"].values()))
    assert np.all(np.abs(fit.params.to_numpy() - list(known["coefficients"].values())) < 1e-3 * errors)
    np.testing.assert_allclose(fit.bse, errors, rtol=0.005)
    assert np.sqrt(fit.cov_re["herd"].iloc[0, 0]) == pytest.approx(known["sd"], rel=1e-4)
    if nodes == 1:  # with more nodes lme4 leaves constants out
        assert fit.loglik == pytest.approx(known["loglik"], abs=1e-6)


def test_mean_counts_against_lme4():
    known = reference()["poisson"]["means"]
    frame = pd.read_csv(FOLDER / "data" / "grouseticks.csv").assign(one=1)
    broods = frame.groupby(["BROOD", "LOCATION", "YEAR"], as_index=False)[["TICKS", "one"]].sum()
    broods["average"] = broods["TICKS"] / broods["one"]
    fit = cl.mixed(
        "average ~ C(YEAR) + (1 | LOCATION)", broods, family="poisson", weights=cl.Precision("one"), quadrature=9
    )
    errors = np.array(list(known["std_error"].values()))
    assert np.all(np.abs(fit.params.to_numpy() - list(known["coefficients"].values())) < 1e-3 * errors)
    np.testing.assert_allclose(fit.bse, errors, rtol=0.005)


def test_mean_amounts_against_gamma_shape_of_mass():
    known = reference()["gamma"]
    sleep = pd.read_csv(FOLDER / "data" / "sleepstudy.csv").assign(one=1, late=lambda d: 1 * (d["Days"] >= 5))
    sleep = sleep.drop(index=[2, 3, 16, 39, 40, 41, 110])
    halves = sleep.groupby(["Subject", "late"], as_index=False)[["Reaction", "one"]].sum()
    halves["average"] = halves["Reaction"] / halves["one"]
    fit = cl.glm("average ~ late", halves, family="gamma", weights=cl.Precision("one"))
    np.testing.assert_allclose(fit.params, list(known["coefficients"].values()), rtol=1e-8)
    shape = float(fit.shape["shape"])
    assert shape == pytest.approx(known["shape"], rel=1e-7)
    np.testing.assert_allclose(
        fit.bse, np.array(list(known["std_error_times_root_shape"].values())) / np.sqrt(shape), rtol=1e-6
    )


# -- what fits answer -----------------------------------------------------------------------------------------------
@EACH
def test_outcomes_are_told_drawn_and_refitted_as_means(family):
    fit, name = fitted(family), OUTCOMES[family]
    frame = fit.augment()
    np.testing.assert_allclose(frame[name], data()[name], rtol=1e-12)
    np.testing.assert_allclose(frame["resid"], data()[name] - frame["fitted"], atol=1e-12)
    assert fit.refit(data()[name]).loglik == pytest.approx(fit.loglik, abs=1e-9)
    drawn = fit.simulate(seed=1)
    totals = (drawn * data()["w"]).to_numpy()
    if family != "gamma":
        np.testing.assert_allclose(totals, np.round(totals), atol=1e-9)
    assert fit.refit(drawn).converged
    new = fit.simulate(new=data().head(5), seed=2)
    assert new.notna().all()
    np.testing.assert_allclose(fit.predict(data()), frame["fitted"], rtol=1e-12)
    with pytest.raises(ColumnNotFoundError, match="'w'"):
        fit.simulate(new=data().drop(columns="w").head(5))
    many = fit.simulate(n=400, seed=3, random_effects="conditional").to_numpy()
    eta = np.log(frame["fitted"]) if family != "binomial" else special.logit(frame["fitted"])
    law, shape = fit.family, fit.solution.shape
    variance = law.variance(law.mean(eta), np.ones(210), shape) / data()["w"]
    ratio = many.var(axis=1) / variance
    assert abs(float(ratio.mean()) - 1.0) < 0.1  # modes are drawn too where they are not known for sure


@EACH
def test_words_and_records_say_what_weights_mean(family):
    fit = fitted(family)
    told = " ".join(str(fit.summary()).split())
    what = "shares of successes in w" if family == "binomial" else "means of w"
    assert f"precision w: outcomes are {what} independent answers, each as the family says" in told
    assert what in fit.to_dict()["weights"]
    assert what in " ".join(str(cl.glm(f"{OUTCOMES[family]} ~ x", data(), family=family, weights=WEIGHTS)).split())


@EACH
def test_inference_knows_of_precisions(family):
    fit = fitted(family)
    assert fit.bootstrap(6, seed=1, progress=False).counts["used"] == 6
    smaller = cl.mixed(f"{OUTCOMES[family]} ~ 1 + (1 | g)", data(), family=family, weights=WEIGHTS, quadrature=9)
    assert cl.lrtest(smaller, fit).p_value < 1e-6
    influence = cl.influence(fit).estimates
    without = cl.mixed(fit.formula, data()[data()["g"] != 0], family=family, weights=WEIGHTS, quadrature=9)
    np.testing.assert_allclose(influence.iloc[0][without.params.index], without.params, rtol=1e-4)
    assert np.all(np.isfinite(fit.robust("CR1").bse))
    calibrated = cl.quantile_residuals(fit, seed=2).values
    assert stats.kstest(calibrated, "uniform").pvalue > 0.01


# -- refusals -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("family", "outcome", "words"),
    [
        ("nbinom2", "total", "model the totals, with the column as `exposure`"),
        ("beta", "I(0.9 * share + 0.05)", "no beta distribution"),
        ("betabinomial", "cbind(successes, failures)", "name the column in `trials`"),
        ("ordinal", "h", "categories have no mean"),
    ],
)
def test_families_whose_means_are_not_theirs(family, outcome, words):
    with pytest.raises(DesignError, match=words):
        cl.mixed(f"{outcome} ~ x + (1 | g)", data(), family=family, weights=WEIGHTS)


@pytest.mark.parametrize(
    ("family", "outcome", "weights", "given", "words"),
    [
        ("binomial", "share", "third", {}, "number of trials 'third' is not a whole number"),
        ("binomial", "I(0.9 * share)", "w", {}, "no counts have this mean"),
        ("binomial", "successes", "w", {}, "a share of successes from 0 to 1"),
        ("binomial", "share", "w", {"trials": "w"}, "`trials` says that as well"),
        ("binomial", "cbind(successes, failures)", "w", {}, "has its trials already"),
        ("binomial", "label", "w", {}, "has labels, one answer in each row"),
        ("poisson", "amount", "w", {}, "no counts have this mean"),
        ("poisson", "I(-average)", "w", {}, "a count"),
        ("gamma", "average", "w", {}, "a positive amount"),
    ],
)
def test_outcomes_that_are_no_means(family, outcome, weights, given, words):
    frame = data().assign(label=np.where(data()["x"] > 0.0, "yes", "no"))
    with pytest.raises((DataError, DesignError), match=words):
        cl.mixed(f"{outcome} ~ x + (1 | g)", frame, family=family, weights=cl.Precision(weights), **given)


def test_refitted_outcomes_have_to_be_means_of_counts():
    with pytest.raises(CrosslevelError, match="a count"):
        fitted("poisson").refit(np.full(210, 0.123456))


def test_regressions_take_weights_that_are_no_counts():
    frame = data().assign(y=(data()["share"] > 0.5).astype(int))
    whole = cl.glm("y ~ x", frame, family="binomial", weights=WEIGHTS, cluster="g")
    ours = cl.glm("y ~ x", frame, family="binomial", weights=cl.Precision("third"), cluster="g")
    np.testing.assert_allclose(ours.params, whole.params, rtol=1e-7)
    np.testing.assert_allclose(ours.bse, whole.bse, rtol=1e-6)
    negative = cl.glm("total ~ x", frame, family="nbinom2", weights=cl.Precision("third"), cluster="g")
    assert negative.converged
