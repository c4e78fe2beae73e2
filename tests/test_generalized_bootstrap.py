"""Bootstrap of generalized models: refits are fits, draws are the model's, results do not depend on who computes."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from generalized_clusters import answers
from reference_cases import load_data

import crosslevel as cl
from crosslevel.estimators.generalized.likelihoods import refitter
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.generalized.clusters import outermost_clusters
from crosslevel.inference.generalized.replicates import ClusterReplicates, OutcomeReplicates

FORMULA = "y ~ x + z + (1 | school)"


@cache
def fitted(nodes=1, family="binomial", outcome="y"):
    return cl.mixed(f"{outcome} ~ x + z + (1 | school)", frame(), family=family, quadrature=nodes)


@cache
def frame():
    data, rng = answers(), np.random.default_rng(8)
    eta = 0.4 * data["x"] + 0.6 * rng.normal(size=data["school"].max() + 1)[data["school"]]
    data["count"] = rng.poisson(np.exp(eta) * rng.gamma(3.0, 1.0 / 3.0, len(data)))
    data["rank"] = np.digitize(eta + rng.logistic(size=len(data)), [-1.0, 0.5, 2.0])
    return data


MODELS = [("binomial", "y"), ("nbinom2", "count"), ("ordinal", "rank")]


@pytest.mark.parametrize("kind", ["cluster", "parametric"])
@pytest.mark.parametrize("nodes", [1, 5])
def test_threads_do_not_matter(kind, nodes):
    one, two, again = (fitted(nodes).bootstrap(30, kind, seed=4, n_jobs=jobs, progress=False) for jobs in (1, 2, 3))
    for other in (two, again):
        np.testing.assert_array_equal(one.batch.values, other.batch.values)
        np.testing.assert_array_equal(one.batch.deviance, other.batch.deviance)
    longer = fitted(nodes).bootstrap(40, kind, seed=4, n_jobs=2, progress=False)
    np.testing.assert_array_equal(one.batch.values[:25], longer.batch.values[:25])


@pytest.mark.parametrize(("family", "outcome"), MODELS)
def test_drawn_clusters_are_repeated_clusters(family, outcome):
    """A refit with clusters counted is the fit to a frame in which they are repeated."""
    fit, data = fitted(1, family, outcome), frame()
    clusters = outermost_clusters(fit.design)
    replicates = ClusterReplicates(refitter=refitter(fit, exact=True), clusters=clusters)
    times = np.bincount(np.random.default_rng(2).integers(0, 25, 25), minlength=25)
    parts = [
        data[data["school"] == school].assign(school=school + 1000 * copy)
        for school, count in enumerate(times) for copy in range(count)
    ]  # fmt: skip
    drawn = pd.concat(parts, ignore_index=True)
    expected = cl.mixed(f"{outcome} ~ x + z + (1 | school)", drawn, family=family, quadrature=1)
    batch = replicates.counted(times.astype(float))
    np.testing.assert_allclose(
        batch.values[0], expected.estimands.values(expected.solution.parameters), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(batch.deviance[0], expected.deviance, rtol=1e-8)


@pytest.mark.parametrize(("family", "outcome"), MODELS)
def test_drawn_outcomes_are_fitted_as_by_refit(family, outcome):
    fit = fitted(1, family, outcome)
    replicates = OutcomeReplicates.of(refitter(fit, errors=True, exact=True))
    rows = replicates.draws.drawn(np.random.default_rng(5))
    y = rows.in_data_order(rows.y)
    values = y if fit.outcome.categories is None else np.asarray(fit.outcome.categories)[y.astype(int)]
    expected = fit.refit(values)
    batch = replicates.refitter.batch(rows)
    np.testing.assert_allclose(
        batch.values[0], expected.estimands.values(expected.solution.parameters), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(batch.std_errors[0, : len(expected.bse)], expected.bse, rtol=1e-3)


def test_drawn_outcomes_have_the_models_moments():
    """Means and covariances within clusters of drawn outcomes, against integrals over the random effect."""
    fit = fitted(5)
    draws = OutcomeReplicates.of(refitter(fit)).draws
    rng = np.random.default_rng(1)
    drawn = np.array([draws.draw(rng) for _ in range(4000)])
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    sd = np.sqrt(fit.cov_re["school"].iloc[0, 0])
    eta = draws.fixed[:, None] + sd * nodes
    chance = 1.0 / (1.0 + np.exp(-eta))
    mean = chance @ weights
    error = np.sqrt(mean * (1.0 - mean) / len(drawn))
    assert np.abs((drawn.mean(axis=0) - mean) / error).max() < 4.5
    first, second = 0, 1  # of one school
    together = (chance[first] * chance[second]) @ weights
    share = (drawn[:, first] * drawn[:, second]).mean()
    assert abs(share - together) < 4.0 * np.sqrt(together / len(drawn))


def test_intervals_of_every_kind():
    boot = fitted().bootstrap(50, "cluster", seed=3, n_jobs=2, progress=False)
    assert boot.counts[["asked", "done", "used"]].tolist() == [50, 50, 50]
    assert boot.names == ("Intercept", "x", "z", "sd(Intercept|school)")
    for method in ("percentile", "basic", "normal", "bca"):
        table = boot.conf_int(method=method)
        assert np.all(table["conf_low"] < table["conf_high"])
    with pytest.raises(cl.errors.CrosslevelError, match="studentised=True"):
        boot.conf_int(method="studentised")
    errors = fitted().bootstrap(25, "cluster", seed=3, studentised=True, progress=False)
    assert np.all(errors.conf_int(method="studentised")["conf_low"] < fitted().params.to_numpy())
    np.testing.assert_allclose(errors.batch.values, boot.batch.values[:25], atol=2e-4)
    assert "Random effects and shape" in str(boot)


def test_spread_is_that_of_the_sandwich():
    """With many replicates the cluster bootstrap's standard errors are near those of CR1."""
    boot = fitted().bootstrap(200, "cluster", seed=6, n_jobs=2, progress=False)
    ratio = boot.std_error[["x", "z"]] / fitted().robust("CR1").bse[["x", "z"]]
    assert np.all(np.abs(ratio - 1.0) < 0.25)


def test_draws_without_estimates_are_counted():
    """Rare answers: draws in which a predictor separates them, or has one value, are told apart."""
    data = frame().assign(rare=lambda d: (d["school"] < 2).astype(int), no=lambda d: (d["x"] < -1.0).astype(int))
    data["y"] = np.where(data["rare"] == 1, np.arange(len(data)) % 2, data["y"])
    fit = cl.mixed("y ~ rare + x + (1 | school)", data, family="binomial", quadrature=1)
    boot = fit.bootstrap(60, "cluster", seed=1, progress=False)
    counts = boot.counts
    assert counts["failed: coefficients are not identified in the draw"] > 0
    assert counts["used"] + counts["failed"] == 60
    clusters = outermost_clusters(fit.design)
    separated = refitter(fit).fit(
        clusters.counted(fit.solution.criterion.rows, np.ones(25)).with_response((data["x"] > 0.1).to_numpy(float))
    )
    assert separated.outcome is Outcome.SEPARATED


def test_nested_factors_and_crossed_ones():
    nested = cl.mixed("y ~ x + (1 | region) + (1 | school)", frame(), family="binomial", quadrature=1)
    assert "5 clusters of region" in str(nested.bootstrap(25, "cluster", seed=1, progress=False))
    crossed = cl.mixed("y ~ x + (1 | f) + (1 | school)", frame(), family="binomial", quadrature=1)
    with pytest.raises(cl.errors.CrosslevelError, match="kind='parametric'"):
        crossed.bootstrap(10)
    boot = crossed.bootstrap(15, "parametric", seed=1, progress=False)
    assert boot.counts["used"] == 15
    with pytest.raises(cl.errors.CrosslevelError, match="independent clusters"):
        boot.conf_int(method="bca")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "wild"}, "no additive residuals"),
        ({"kind": "rows"}, "'cluster', 'parametric'"),
        ({"n": 0}, "`n`"),
        ({"failed": "stop"}, "`failed`"),
        ({"seed": "a"}, "`seed`"),
    ],
)
def test_what_is_refused(arguments, words):
    with pytest.raises(cl.errors.CrosslevelError, match=words):
        fitted().bootstrap(**arguments)


@pytest.mark.slow
def test_a_thousand_refits_of_contraception_are_used():
    fit = cl.mixed(
        "use ~ age + I(age**2) + livch + urban + (1 | district)", load_data("Contraception"), family="binomial",
        quadrature=1,
    )  # fmt: skip
    boot = fit.bootstrap(1000, seed=1, n_jobs=2, progress=False)
    assert boot.counts["used"] >= 995
