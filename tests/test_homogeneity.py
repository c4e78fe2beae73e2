"""Tests of equal residual variances: H against R and by hand, likelihood ratios against nlme."""

import json

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, load_data

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.inference.homogeneity import cluster_residuals

MORE = json.loads((FOLDER / "residual" / "structures.json").read_text(encoding="utf-8"))


def random_frame(seed: int = 1, largest: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(12), rng.integers(1, largest, 12))
    n = len(group)
    return pd.DataFrame(
        {
            "g": group,
            "other": rng.integers(0, 4, n),
            "x": rng.normal(size=n) + group,
            "w": rng.normal(size=12)[group],
            "half": np.where(group < 6, "a", "b"),
        }
    ).assign(y=lambda d: d["x"] + d["w"] + rng.normal(size=12)[group] + rng.normal(size=n) * np.where(group < 6, 1, 3))


@pytest.mark.parametrize(
    ("formula", "key"),
    [
        ("mAch ~ cses * sector + meanses * cses + (cses | school)", "h_slope"),
        ("mAch ~ cses + (1 | school)", "h_slope"),
        ("mAch ~ sector + (1 | school)", "h_mean"),
    ],
)
def test_h_is_that_of_each_schools_own_regression_in_r(formula, key):
    test = cl.mixed(formula, load_data("Hsb82")).test_residual_homogeneity()
    assert test.statistic == pytest.approx(MORE[key]["statistic"], rel=1e-10)
    assert test.df == MORE[key]["df"]
    assert test.p_value == pytest.approx(MORE[key]["p"], rel=1e-7)
    assert (test.groups, test.left_out, test.method, test.by) == (160, 0, "H", "school")


@pytest.mark.parametrize("formula", ["y ~ x * w + (x | g)", "y ~ 0 + x + (0 + x | g)"])
def test_residuals_of_clusters_are_those_of_least_squares(formula):
    frame = random_frame()
    design = cl.mixed(formula, frame).design
    rss, df = cluster_residuals(design.products, np.union1d(design.x, design.z), design.constant)
    for k, (_, part) in enumerate(frame.groupby("g")):
        X = np.column_stack([np.ones(len(part)), part["x"]]) if "0 +" not in formula else part[["x"]].to_numpy()
        beta, _, rank, _ = np.linalg.lstsq(X, part["y"], rcond=1e-10)
        assert df[k] == len(part) - rank
        assert rss[k] == pytest.approx(np.sum((part["y"] - X @ beta) ** 2), rel=1e-8, abs=1e-9)


def test_clusters_with_few_rows_are_left_out_and_counted():
    fit = cl.mixed("y ~ x + (1 | g)", random_frame())
    sizes = fit.group_sizes - 2
    test = fit.test_residual_homogeneity(min_df=5)
    assert test.groups == np.count_nonzero(sizes >= 5)
    assert test.left_out == np.count_nonzero(sizes < 5) > 0
    assert test.df == test.groups - 1
    assert f"({test.left_out} with too few rows left out)" in str(test)


def test_h_of_one_of_several_factors_is_that_of_its_own_clusters():
    frame = random_frame(largest=60)
    several = cl.mixed("y ~ x + (1 | g) + (1 | other)", frame)
    single = cl.mixed("y ~ x + (1 | other)", frame)
    ours = several.test_residual_homogeneity(group="other")
    assert ours.statistic == pytest.approx(single.test_residual_homogeneity().statistic, rel=1e-9)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_likelihood_ratio_of_strata_is_that_of_nlme(method):
    frame = load_data("Orthodont")
    fit = cl.mixed("distance ~ age * Sex + (1 | Subject)", frame, method=method)
    theirs = json.loads((FOLDER / "residual" / f"Orthodont__tests_nlme_{method}.json").read_text(encoding="utf-8"))
    test = fit.test_residual_homogeneity(by="Sex")
    assert test.statistic == pytest.approx(theirs["ri_vs_varident"][1]["L.Ratio"], abs=1e-6)
    assert test.p_value == pytest.approx(theirs["ri_vs_varident"][1]["p-value"], rel=1e-5)
    assert (test.df, test.groups, test.method) == (1, 2, "likelihood ratio")
    richer = cl.mixed("distance ~ age * Sex + (1 | Subject)", frame, method=method, residual=cl.residual.By("Sex"))
    np.testing.assert_allclose(np.exp(test.log_sd), richer.residual_parameters()["estimate"], rtol=1e-8)


def test_strata_can_be_added_to_autoregression():
    frame = load_data("Orthodont")
    structure = cl.residual.AR1("age", within="Subject")
    fit = cl.mixed("distance ~ age * Sex", frame, residual=structure)
    richer = cl.mixed("distance ~ age * Sex", frame, residual=cl.residual.AR1("age", within="Subject", by="Sex"))
    assert fit.test_residual_homogeneity(by="Sex").statistic == pytest.approx(fit.deviance - richer.deviance, abs=1e-8)


def test_h_follows_chi_square_where_variances_are_equal():
    rng = np.random.default_rng(7)
    group = np.repeat(np.arange(20), 25)
    frame = pd.DataFrame({"g": group, "x": rng.normal(size=500), "y": np.zeros(500)})
    values = []
    for _ in range(60):
        frame["y"] = frame["x"] + rng.normal(size=20)[group] + rng.normal(size=500)
        values.append(cl.mixed("y ~ x + (1 | g)", frame).test_residual_homogeneity().p_value)
    assert 0.35 < np.mean(values) < 0.65


@pytest.mark.parametrize(
    ("formula", "options", "arguments", "message"),
    [
        ("y ~ x + (1 | g)", {}, {"min_df": 1000}, "0 of 12 clusters of g have them"),
        ("y ~ x + (1 | g)", {}, {"by": 3}, "`by` is the name of a column"),
        ("y ~ x + (1 | g)", {}, {"by": "nothing"}, "nothing"),
        ("y ~ x + (1 | g)", {"residual": cl.residual.By("half")}, {"by": "half"}, "starts from one residual variance"),
        ("y ~ x + (1 | g)", {"residual": cl.residual.By("half")}, {}, "needs rows that count alike"),
        ("y ~ x", {"residual": cl.residual.CompoundSymmetry(within="g")}, {}, "this model has none"),
        ("y ~ x + (1 | g)", {}, {"by": "gappy"}, "which is missing in 3 of"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(formula, options, arguments, message):
    frame = random_frame()
    frame["gappy"] = frame["half"].mask(frame.index < 3)
    fit = cl.mixed(formula, frame, **options)
    with pytest.raises(CrosslevelError, match=message):
        fit.test_residual_homogeneity(**arguments)


def test_clusters_without_residual_variance_are_refused():
    frame = random_frame(largest=40)
    frame.loc[frame["g"] == frame["g"].mode()[0], "y"] = 2.0
    with pytest.raises(CrosslevelError, match="1 have no residual variance"):
        cl.mixed("y ~ x + (1 | g)", frame).test_residual_homogeneity(min_df=3)
