"""Weights of generalized models: frequencies are repeated rows; sampling weights against a grid, and the sandwich."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from generalized_clusters import answers
from grid_likelihood import GridModel

import crosslevel as cl

FORMULA = "y ~ x + z + (1 | school)"


@cache
def data():
    return answers()


def logit(frame, weights=None, nodes=25, formula=FORMULA, **more):
    return cl.mixed(formula, frame, family="binomial", quadrature=nodes, weights=weights, **more)


def sampled(frame, weights, nodes=25):
    """A fit with weights of rows, of which few are in a cluster."""
    with pytest.warns(cl.errors.DataWarning, match="Sampling weights of rows vary"):
        return logit(frame, weights, nodes)


def grid(frame, rows=None, clusters=None):
    x = np.column_stack([np.ones(len(frame)), frame["x"], frame["z"]])
    return GridModel.of(frame["y"], x, frame["school"], rows, clusters)


def parameters_of(fit):
    return np.append(fit.params.to_numpy(), np.sqrt(fit.cov_re["school"].iloc[0, 0]))


def assert_same_fit(one, other, tolerance=1e-6):
    np.testing.assert_allclose(one.params, other.params, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(one.bse, other.bse, rtol=10 * tolerance)
    np.testing.assert_allclose(one.deviance, other.deviance, rtol=1e-9)


@pytest.mark.parametrize("nodes", [1, 9])
def test_frequencies_are_repeated_rows(nodes):
    frame = data()
    repeated = frame.loc[frame.index.repeat(frame["f"])].reset_index(drop=True)
    weighted = logit(frame, cl.Frequency("f"), nodes)
    assert_same_fit(weighted, logit(repeated, nodes=nodes))
    assert weighted.nobs == len(repeated)


def test_frequencies_of_counts_with_a_dispersion_are_repeated_rows():
    rng = np.random.default_rng(3)
    frame = data().assign(n=lambda d: rng.poisson(np.exp(0.5 + 0.4 * d["x"]) * rng.gamma(2.0, 0.5, len(d))))
    repeated = frame.loc[frame.index.repeat(frame["f"])].reset_index(drop=True)
    fits = [
        cl.mixed("n ~ x + (1 | school)", some, family="nbinom2", quadrature=1, weights=weights)
        for some, weights in ((frame, cl.Frequency("f")), (repeated, None))
    ]
    assert_same_fit(*fits, tolerance=1e-5)
    np.testing.assert_allclose(fits[0].shape, fits[1].shape, rtol=1e-5)


def repeated_schools(frame, times):
    """The frame with each school as often as its weight says, each time with a number of its own."""
    parts = []
    for school, part in frame.groupby("school"):
        parts += [part.assign(school=school + 1000 * k) for k in range(int(part[times].iloc[0]))]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("nodes", [1, 9])
def test_whole_weights_of_clusters_are_repeated_clusters(nodes):
    frame = data()
    weighted = logit(frame, cl.Sampling(clusters={"school": "f2"}), nodes)
    repeated = logit(repeated_schools(frame, "f2"), nodes=nodes)
    np.testing.assert_allclose(weighted.params, repeated.params, atol=1e-6)
    np.testing.assert_allclose(weighted.deviance, repeated.deviance, rtol=1e-9)


@pytest.mark.parametrize("scaling", ["size", "effective", "none"])
def test_sampling_weights_maximise_the_pseudo_likelihood(scaling):
    frame = data()
    weights = cl.Sampling("w", clusters={"school": "w2"}, scaling=scaling)
    fit = sampled(frame, weights, nodes=61)
    w, codes = frame["w"].to_numpy(), frame["school"].to_numpy()
    sums, squares, counts = (np.bincount(codes, some) for some in (w, w**2, np.ones_like(w)))
    factor = {"size": counts / sums, "effective": sums / squares, "none": np.ones_like(sums)}[scaling]
    dense = grid(frame, w * factor[codes], frame.groupby("school")["w2"].first())
    ours = parameters_of(fit)
    np.testing.assert_allclose(fit.deviance, dense.deviance(ours), rtol=1e-10)
    found, least = dense.maximum(ours)
    assert fit.deviance <= least + 1e-7
    np.testing.assert_allclose(ours, found, atol=2e-5)


def test_standard_errors_are_the_sandwich_of_numerical_scores():
    frame = data()
    fit = sampled(frame, cl.Sampling("w", clusters={"school": "w2"}))
    w, codes = frame["w"].to_numpy(), frame["school"].to_numpy()
    scaled = w * (np.bincount(codes) / np.bincount(codes, w))[codes]
    dense, at = grid(frame, scaled, frame.groupby("school")["w2"].first()), parameters_of(fit)
    bread, scores = np.linalg.inv(dense.information(at)), dense.scores(at)
    n_clusters = len(scores)
    expected = bread @ scores.T @ scores @ bread * n_clusters / (n_clusters - 1.0)
    np.testing.assert_allclose(fit.vcov, expected[:-1, :-1], rtol=2e-4)
    error = fit.varcomp()["std_error"].iloc[0]  # of the variance, s^2
    np.testing.assert_allclose(error, 2.0 * at[-1] * np.sqrt(expected[-1, -1]), rtol=2e-4)


def test_units_of_cluster_weights_do_not_matter():
    frame = data().assign(many=lambda d: 7.0 * d["w2"])
    one, other = (logit(frame, cl.Sampling(clusters={"school": name}), 5) for name in ("w2", "many"))
    np.testing.assert_allclose(one.params, other.params, atol=1e-6)
    np.testing.assert_allclose(one.bse, other.bse, rtol=1e-5)


def test_three_levels_of_whole_weights_are_repetitions():
    """Weights of schools and of regions, with the Laplace approximation."""
    frame = data().assign(f3=lambda d: 1 + d["region"] % 2)
    formula = "y ~ x + (1 | school) + (1 | region)"
    weighted = logit(frame, cl.Sampling(clusters={"school": "f2", "region": "f3"}), 1, formula=formula)
    schools = repeated_schools(frame, "f2")
    parts = []
    for region, part in schools.groupby("region"):
        for k in range(int(part["f3"].iloc[0])):
            parts.append(part.assign(region=region + 1000 * k, school=part["school"] + 1_000_000 * k))
    repeated = logit(pd.concat(parts, ignore_index=True), nodes=1, formula=formula)
    np.testing.assert_allclose(weighted.params, repeated.params, atol=1e-5)
    np.testing.assert_allclose(weighted.deviance, repeated.deviance, rtol=1e-8)


def test_what_weights_leave_undefined_is_refused():
    fit = sampled(data(), cl.Sampling("w"), 1)
    for call in (fit.test_random, fit.profile, lambda: cl.lrtest(fit, fit), lambda: cl.influence(fit)):
        with pytest.raises(cl.errors.CrosslevelError, match="sampling weights"):
            call()
    with pytest.raises(cl.errors.CrosslevelError, match="not needed"):
        fit.robust()
    with pytest.raises(cl.errors.CrosslevelError, match="kind='cluster'"):
        fit.bootstrap(10, "parametric")
    boot = fit.bootstrap(20, seed=1, progress=False)
    assert boot.counts["used"] == 20
