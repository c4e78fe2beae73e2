"""Cluster-robust covariances of generalized models: numerical scores of a grid, exact refits, what is refused."""

from functools import cache

import numpy as np
import pytest
from generalized_clusters import answers
from grid_likelihood import GridModel

import crosslevel as cl
from crosslevel.inference.generalized.score_covariance import KINDS

FORMULA = "y ~ x + z + (1 | school)"


@cache
def fitted(nodes=25, formula=FORMULA):
    return cl.mixed(formula, answers(), family="binomial", quadrature=nodes)


@cache
def grid():
    frame = answers()
    return GridModel.of(frame["y"], np.column_stack([np.ones(len(frame)), frame["x"], frame["z"]]), frame["school"])


def parameters():
    fit = fitted()
    return np.append(fit.params.to_numpy(), np.sqrt(fit.cov_re["school"].iloc[0, 0]))


@pytest.mark.parametrize("kind", ["CR0", "CR1"])
def test_sandwich_of_numerical_scores(kind):
    dense, at = grid(), parameters()
    bread, scores = np.linalg.inv(dense.information(at)), dense.scores(at)
    n_clusters = len(scores)
    factor = 1.0 if kind == "CR0" else n_clusters / (n_clusters - 1.0)
    expected = factor * (bread @ scores.T @ scores @ bread)[:-1, :-1]
    np.testing.assert_allclose(fitted().robust(kind).vcov, expected, rtol=2e-4)


def test_clusters_may_be_unions_of_levels():
    dense, at = grid(), parameters()
    region = answers().groupby("school")["region"].first().to_numpy()
    scores = np.array([dense.scores(at)[region == some].sum(axis=0) for some in np.unique(region)])
    bread = np.linalg.inv(dense.information(at))
    expected = (bread @ scores.T @ scores @ bread)[:-1, :-1]
    found = fitted().robust("CR0", cluster="region")
    np.testing.assert_allclose(found.vcov, expected, rtol=2e-4)
    assert found.ngroups == {"region": 5}
    assert found.df.tolist() == [4.0, 4.0, 4.0]


def test_one_step_jackknife_by_numerical_derivatives():
    dense, at = grid(), parameters()
    each, scores = dense.informations(at), dense.scores(at)
    n_clusters = len(scores)
    changes = np.linalg.solve(each.sum(axis=0) - each, scores[:, :, None])[:, :-1, 0]
    expected = changes.T @ changes * (n_clusters - 1.0) / n_clusters
    np.testing.assert_allclose(fitted().robust("CR3").vcov, expected, rtol=5e-4)


def test_jackknife_is_that_of_fits_without_each_cluster():
    frame, fit = answers(), fitted(1)
    changes = []
    for school in frame["school"].unique():
        other = cl.mixed(FORMULA, frame[frame["school"] != school], family="binomial", quadrature=1)
        changes.append(other.params.to_numpy() - fit.params.to_numpy())
    changes = np.array(changes)
    expected = changes.T @ changes * (len(changes) - 1.0) / len(changes)
    np.testing.assert_allclose(fit.robust("jackknife").vcov, expected, rtol=1e-3)


def test_thresholds_do_not_disturb_the_coefficients():
    """The coefficients of an ordered outcome with two categories are those of a logit."""
    frame = answers()
    ordered = cl.mixed("y ~ x + z + (1 | school)", frame, family="ordinal", quadrature=9)
    plain = cl.mixed("y ~ x + z + (1 | school)", frame, family="binomial", quadrature=9)
    for kind in ("CR1", "CR3"):
        np.testing.assert_allclose(ordered.robust(kind).vcov, plain.robust(kind).vcov.iloc[1:, 1:], rtol=1e-5)


def test_singular_fits_hold_the_variance():
    """Without differences between schools the sandwich is that of the regression without random effects."""
    noisy = answers().assign(rank=lambda d: d["x"] + 2.0 * np.random.default_rng(4).normal(size=len(d)))
    frame = noisy.assign(y=(noisy.groupby("school")["rank"].rank(pct=True) > 0.5).astype(int))  # half of each school
    fit = cl.mixed(FORMULA, frame, family="binomial", quadrature=1)
    assert fit.is_singular
    x = np.column_stack([np.ones(len(frame)), frame["x"], frame["z"]])
    mean = 1.0 / (1.0 + np.exp(-x @ fit.params.to_numpy()))
    bread = np.linalg.inv((x * (mean * (1.0 - mean))[:, None]).T @ x)
    scores = np.array([(x * (frame["y"] - mean).to_numpy()[:, None])[frame["school"] == j].sum(axis=0)
                       for j in frame["school"].unique()])  # fmt: skip
    np.testing.assert_allclose(fit.robust("CR0").vcov, bread @ scores.T @ scores @ bread, rtol=1e-4)


def test_table_and_joint_test():
    found = fitted().robust()
    assert found.method == "CR1"
    assert "clusters - 1" in str(found)
    joint = found.contrast(["x", "z"])
    beta, vcov = found.params[["x", "z"]].to_numpy(), found.vcov.loc[["x", "z"], ["x", "z"]].to_numpy()
    np.testing.assert_allclose(joint.statistic, beta @ np.linalg.solve(vcov, beta) / 2.0)
    assert (joint.test, joint.df_num, joint.df_den) == ("naive-F", 2.0, 24.0)
    with pytest.raises(cl.errors.CrosslevelError, match="naive-F"):
        found.contrast(["x", "z"], "HTZ")
    with pytest.raises(cl.errors.CrosslevelError, match="can tell about 4"):
        fitted().robust(cluster="region").contrast(np.vstack([np.eye(3), np.eye(3)]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fitted().robust("CR2"), "linear model"),
        (lambda: fitted().robust("HC1"), ", ".join(map(repr, KINDS))),
        (lambda: fitted().robust(cluster=["school", "region"]), "one clustering"),
        (lambda: fitted().robust(cluster="f"), "tie together"),
        (lambda: fitted(1, "y ~ x + (1 | school) + (1 | f)").robust(cluster="school"), "crosswise"),
        (lambda: fitted("pql").robust(), "PQL"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(cl.errors.CrosslevelError, match=words.replace("(", r"\(")):
        call()
