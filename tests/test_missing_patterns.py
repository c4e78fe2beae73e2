"""Missing values by cluster: counts, patterns, and what they go with."""

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.diagnostics.sensitivity.missing_patterns import missing_patterns


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(12), 50)
    frame = pd.DataFrame({"g": [f"c{k}" for k in g], "y": rng.normal(size=600), "x": rng.normal(size=600)})
    frame["kind"] = rng.choice(["a", "b"], 600)
    frame.loc[frame["y"] > 0.8, "x"] = np.nan
    frame.loc[frame["g"] == "c3", "kind"] = None
    frame.loc[:4, "g"] = None
    return frame


def test_counts_are_those_of_the_frame(data):
    found = missing_patterns(data, "g")
    rest = data[data["g"].notna()]
    gone = rest[["y", "x", "kind"]].isna()
    assert found.n_without_group == 5
    assert found.frame["missing"].to_dict() == gone.sum().to_dict()
    np.testing.assert_allclose(found.clusters["x"], gone["x"].groupby(rest["g"]).mean().loc[found.clusters.index])
    patterns = gone.value_counts()
    for _, row in found.patterns.iterrows():
        assert patterns[tuple(row[["y", "x", "kind"]])] == row["rows"]
    assert found.patterns["rows"].sum() == len(rest)
    assert found.lost == ("c3",)
    assert found.concern == "act"
    assert "lost: c3" in " ".join(found.sentences)


def test_what_goes_with_missing_values_is_a_regression_within_clusters(data):
    found = missing_patterns(data, "g", ["y", "x"])
    rest = data[data["g"].notna()].assign(gone=lambda d: d["x"].isna().astype(float))
    fit = cl.fixed_effects("y ~ gone", rest, group="g", vcov="CR1")
    row = found.related.iloc[0]
    assert (row["variable"], row["other"]) == ("x", "y")
    means = rest["y"] - rest.groupby("g")["y"].transform("mean")
    sd = np.sqrt((means**2).sum() / (len(rest) - 12))
    assert row["within"] == pytest.approx(fit.params["gone"] / sd, rel=1e-10)
    assert row["p_within"] < 1e-6
    assert row["between"] == pytest.approx(
        np.corrcoef(rest.groupby("g")["gone"].mean(), rest.groupby("g")["y"].mean())[0, 1]
    )
    assert "Where x is missing, y is larger" in " ".join(found.sentences)


def test_complete_data_are_no_concern():
    data = cl.datasets.load("hsb")
    found = missing_patterns(data, "school", "ses")
    assert found.concern == "none"
    assert found.lost == ()
    assert len(found.patterns) == 1
    assert found.document()._repr_html_()
    cl.plot.missing(found)


@pytest.mark.parametrize("clusters", [5, 28, 2000])
def test_the_figure_has_each_share(clusters):
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(clusters), 4)
    data = pd.DataFrame({"g": [f"A very long name of cluster {k}" for k in g], "x": rng.normal(size=len(g))})
    data.loc[rng.random(len(g)) < 0.2, "x"] = np.nan
    found = missing_patterns(data, "g")
    frame = cl.plot.missing_data(found)
    shares = data["x"].isna().groupby(data["g"]).mean()
    np.testing.assert_allclose(frame.set_index("cluster")["share"].loc[shares.index], shares)
    assert cl.plot.missing(found).axes


def test_wrong_arguments_are_refused(data):
    with pytest.raises(cl.CrosslevelError, match="nothing"):
        missing_patterns(data, "g", ["nothing"])
    with pytest.raises(cl.CrosslevelError, match="is empty"):
        missing_patterns(data, "g", [])
    with pytest.raises(cl.CrosslevelError, match="is missing in all"):
        missing_patterns(data.assign(g=None), "g")
