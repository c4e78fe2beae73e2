"""Predictions of clusters that a model was not fitted to."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

import crosslevel as cl
from crosslevel.diagnostics.sensitivity.transport import transport
from crosslevel.inference.held_out_clusters import ClusterSums, predictive_deviance


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(24), rng.integers(4, 14, 24))
    x = rng.normal(size=24)[g] + rng.normal(size=len(g))
    slope, level = 1 + 0.5 * rng.normal(size=24), rng.normal(size=24)
    y = slope[g] * x + level[g] + rng.normal(size=len(g))
    return pd.DataFrame({"g": [f"c{k}" for k in g], "x": x, "y": y, "h": [f"{k}-{i % 3}" for i, k in enumerate(g)]})


def dense(fit, rows, columns):
    """Mean and covariance matrix of new rows by factor, from the fit's parameters."""
    x = np.column_stack([np.ones(len(rows)), rows["x"]])
    v = fit.sigma**2 * np.eye(len(rows))
    for name, psi in fit.cov_re.items():
        z = x[:, : len(psi)]
        same = rows[columns[name]].to_numpy()[:, None] == rows[columns[name]].to_numpy()[None, :]
        v += same * (z @ psi.to_numpy() @ z.T)
    return x @ fit.params.to_numpy(), v


@pytest.mark.parametrize(
    ("formula", "columns", "how", "names"),
    [
        ("y ~ x + (x | g)", {"g": "g"}, {"leave": "cluster"}, ("c0", "c7", "c23")),
        ("y ~ x + (1 | g) + (1 | h)", {"g": "g", "h": "h"}, {"to": ["c7"]}, ("c7",)),
    ],
)
def test_each_cluster_is_predicted_by_the_fit_to_the_others(data, formula, columns, how, names):
    found = transport(cl.mixed(formula, data), **how, progress=False)
    for name in names:
        rows = data[data["g"] == name]
        fit = cl.mixed(formula, data[data["g"] != name])
        mean, v = dense(fit, rows, columns)
        row = found.frame.loc[name]
        assert row["predicted"] == pytest.approx(mean.mean(), rel=1e-6)
        score = multivariate_normal(mean, v).logpdf(rows["y"])
        assert row["log_score"] * len(rows) == pytest.approx(score, rel=1e-6)
        assert row["mean_sd"] == pytest.approx(np.sqrt(v.mean()), rel=1e-6)
        error = rows["y"] - mean
        assert row["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)
        assert row["rmse_within"] == pytest.approx(error.std(ddof=0), rel=1e-6)


def test_scores_of_folds_are_the_predictive_deviance_from_cross_products(data):
    fit = cl.mixed("y ~ x + (x | g)", data, method="ml")
    found = transport(fit, folds=4, progress=False)
    reduced = fit.design.reduced
    folds = [
        (found.clusters["fold"].loc[[str(v) for v in fit.design.factors[0].levels]] == k).to_numpy() for k in range(4)
    ]
    (factor,) = fit.solution.at.factors
    deviance = predictive_deviance(reduced, ClusterSums.of(fit.design), factor, folds, reml=False)
    assert -2 * found.clusters["log_density"].sum() == pytest.approx(deviance, rel=1e-7)


def test_summary_is_made_of_rows(data):
    found = transport(cl.mixed("y ~ x + (1 | g)", data), folds=6, progress=False)
    rows, frame = found.rows, found.frame
    error = rows["observed"] - rows["predicted"]
    inside = error - error.groupby(rows["cluster"]).transform("mean")
    assert found.summary["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    assert found.summary["rmse_within"] == pytest.approx(np.sqrt((inside**2).mean()))
    spread = rows["observed"] - rows.groupby("cluster")["observed"].transform("mean")
    assert found.summary["r2_within"] == pytest.approx(1 - (inside**2).sum() / (spread**2).sum())
    line = np.polyfit(frame["predicted"], frame["observed"], 1)[0]
    assert found.summary["slope_between"] == pytest.approx(line)
    assert sorted(frame["fold"].unique()) == list(range(6))
    again = transport(cl.mixed("y ~ x + (1 | g)", data), folds=6, progress=False)
    pd.testing.assert_frame_equal(again.frame, frame)


def test_named_clusters_are_predicted_together(data):
    fit = cl.mixed("y ~ x + (1 | g)", data)
    found = transport(fit, to=["c1", "c2"], progress=False)
    other = cl.mixed("y ~ x + (1 | g)", data[~data["g"].isin(["c1", "c2"])])
    rows = data[data["g"].isin(["c1", "c2"])]
    np.testing.assert_allclose(found.rows["predicted"], other.predict(rows), rtol=1e-6)
    assert list(found.frame.index) == ["c1", "c2"]
    assert found.miscalibrated == {}


def test_a_model_that_does_not_carry_over_is_told(data):
    odd = data.assign(y=data["y"] + 30.0 * (data["g"] == "c5"))
    found = transport(cl.mixed("y ~ x + (1 | g)", odd), leave="cluster", progress=False)
    assert found.far == ("c5",)
    assert found.concern != "none"
    assert "does not carry over to cluster c5" in " ".join(found.sentences)
    assert found.document()._repr_html_()


def test_regressions_and_other_families(data):
    pooled = transport(cl.ols("y ~ x", data, cluster="g"), leave="cluster", progress=False)
    fit = cl.ols("y ~ x", data[data["g"] != "c3"])
    rows = data[data["g"] == "c3"]
    error = rows["y"] - fit.predict(rows)
    expected = -0.5 * np.log(2 * np.pi * fit.sigma**2) - 0.5 * (error**2).mean() / fit.sigma**2
    assert pooled.frame.loc["c3", "log_score"] == pytest.approx(expected)

    binary = data.assign(y=(data["y"] > 0).astype(float))
    logit = cl.mixed("y ~ x + (1 | g)", binary, family="binomial", quadrature="laplace")
    found = transport(logit, to=["c4"], progress=False)
    other = logit.update(data=binary[binary["g"] != "c4"])
    chance = other.predict(binary[binary["g"] == "c4"], random_effects="average")
    y = binary.loc[binary["g"] == "c4", "y"]
    assert found.frame["log_score"].iloc[0] == pytest.approx(np.log(np.where(y > 0, chance, 1 - chance)).mean())


def test_levels_that_the_fit_knows_leave_no_joint_density(data):
    crossed = data.assign(t=[f"t{k % 5}" for k in range(len(data))])
    found = transport(cl.mixed("y ~ x + (1 | g) + (1 | t)", crossed), folds=3, group="g", progress=False)
    assert found.frame["log_score"].isna().all()
    assert found.frame["predicted"].notna().all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"folds": 3, "leave": "cluster"}, "three ways"),
        ({"folds": 1}, "from 2 to"),
        ({"leave": "row"}, "`leave` is 'cluster'"),
        ({"to": ["nowhere"]}, "names clusters of g"),
        ({"to": [f"c{k}" for k in range(23)]}, "two others"),
    ],
)
def test_wrong_arguments_are_refused(data, arguments, words):
    with pytest.raises(cl.CrosslevelError, match=words):
        transport(cl.mixed("y ~ x + (1 | g)", data), **arguments)


@pytest.mark.parametrize("clusters", [5, 28, 2000])
def test_figures_have_the_data(clusters):
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(clusters), 4)
    data = pd.DataFrame({"g": [f"A very long name of cluster {k}" for k in g], "x": rng.normal(size=len(g))})
    data["y"] = data["x"] + rng.normal(size=clusters)[g] + rng.normal(size=len(g))
    found = transport(cl.mixed("y ~ x + (1 | g)", data), folds=3, progress=False)
    frame = cl.plot.transport_data(found)
    assert len(frame) == clusters
    np.testing.assert_allclose((frame["high"] - frame["low"]) / 2, 1.959964 * found.frame["mean_sd"], rtol=1e-6)
    assert cl.plot.transport(found).axes


def test_the_curve_of_added_errors_is_drawn(data):
    fit = cl.ols("y ~ x", data)
    found = cl.measurement_error(fit, "x", error_sd=0.5, method="simex", n=10, progress=False)
    frame = cl.plot.simex_data(found)
    assert frame["added"].tolist() == [-1.0, 0.0, 0.5, 1.0, 1.5, 2.0]
    assert frame["estimate"].iloc[0] == pytest.approx(found.table.loc["x", "estimate"])
    assert frame["conf_low"].iloc[1] == pytest.approx(found.naive.loc["x", "conf_low"])
    assert cl.plot.simex(found).axes
    with pytest.raises(cl.CrosslevelError, match="a calibration"):
        cl.plot.simex(cl.measurement_error(fit, "x", error_sd=0.5))
