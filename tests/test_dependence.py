"""Residuals of linear regressions by cluster: against R, closed forms and rows one by one."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, load_data
from scipy import stats

import crosslevel as cl
from crosslevel.inference.anova import OneWayAnova
from crosslevel.inference.dependence import kruskal_wallis
from crosslevel.inference.homogeneity import bartlett

FORMULAS = {"ols_crosslevel": "mAch ~ cses * sector + cses * meanses", "ols_simple": "mAch ~ cses"}


@cache
def hsb_fit(name: str) -> Any:
    return cl.ols(FORMULAS[name], load_data("Hsb82"), cluster="school")


@pytest.mark.parametrize("name", FORMULAS)
def test_anova_of_residuals_in_r(name: str) -> None:
    path = FOLDER / "robust" / f"Hsb82__{name}_residual_anova.json"
    theirs, found = json.loads(path.read_text(encoding="utf-8")), hsb_fit(name).dependence()
    table = found.anova
    for row, source in zip(theirs["anova"], ("school", "Residual"), strict=True):
        columns = zip(("Df", "Sum Sq", "Mean Sq", "F value", "Pr(>F)"), table.columns, strict=True)
        for theirs_key, ours_key in columns:
            if row[theirs_key] is not None:
                assert table.loc[source, ours_key] == pytest.approx(row[theirs_key], rel=1e-9)
    assert found.icc == pytest.approx(theirs["icc_anova"], rel=1e-10)
    assert found.n0 == pytest.approx(theirs["n0"], rel=1e-12)
    for ours, test in ((found.kruskal, theirs["kruskal"]), (found.bartlett, theirs["bartlett"])):
        assert ours.statistic == pytest.approx(next(iter(test["statistic"].values())), rel=1e-9)
        assert ours.df == test["parameter"]["df"]
        assert ours.p_value == pytest.approx(test["p_value"], rel=1e-7)


def test_sandwich_with_and_without_its_cluster_correction() -> None:
    """Every `vcovCL` of the reference: HC0 .. HC3 with J / (J - 1) are CR1, CR1S, CR2, CR3."""
    for name in FORMULAS:
        fit = hsb_fit(name)
        theirs = json.loads((FOLDER / "robust" / f"Hsb82__{name}.json").read_text(encoding="utf-8"))
        j, n, p = 160.0, fit.nobs, len(fit.params)
        order = _order(fit, theirs["coef_names"])
        for key, ours, factor in (
            ("HC0_nocadjust", "CR0", 1.0), ("HC0_cadjust", "CR1", 1.0), ("HC1_cadjust", "CR1S", 1.0),
            ("HC1_nocadjust", "CR0", (n - 1) / (n - p)), ("HC2_cadjust", "CR2", 1.0),
            ("HC2_nocadjust", "CR2", (j - 1) / j), ("HC3_cadjust", "CR3", 1.0), ("HC3_nocadjust", "CR3", (j - 1) / j),
        ):  # fmt: skip
            matrix = fit.covariance_by(ours).matrix[np.ix_(order, order)] * factor
            size = np.sqrt(np.diag(matrix))
            expected = np.array(theirs["vcovCL"][key]) / np.outer(size, size)
            np.testing.assert_allclose(matrix / np.outer(size, size), expected, atol=1e-9)
        for kind, entry in theirs["clubsandwich"].items():
            if kind != "CR1p":
                table = fit.tests(kind)
                np.testing.assert_allclose(table["p_value"].to_numpy()[order], entry["p_satterthwaite"], rtol=1e-5)
                matrix = fit.covariance_by(kind).matrix[np.ix_(order, order)]
                size = np.sqrt(np.diag(matrix))
                expected = np.array(entry["vcov"]) / np.outer(size, size)
                np.testing.assert_allclose(matrix / np.outer(size, size), expected, atol=1e-9)


def _order(fit: Any, r_names: list[str]) -> list[int]:
    ours = [frozenset(term.replace("[", "").replace("]", "").split(":")) for term in fit.params.index]
    return [ours.index(frozenset(name.replace("(Intercept)", "Intercept").split(":"))) for name in r_names]


def small(seed: int = 5, sd: float = 0.8) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sizes = np.array([3, 12, 7, 1, 9, 15, 4, 8, 11, 6])
    g = np.repeat(np.arange(len(sizes)), sizes)
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=len(g)) + 0.5 * g, "z": rng.normal(size=len(sizes))[g] + 40.0})
    frame["y"] = 100.0 + 0.5 * frame["x"] + rng.normal(size=len(g)) + sd * rng.normal(size=len(sizes))[g]
    return frame.assign(f=rng.integers(1, 4, len(g)), one=1, row=np.arange(len(g)), w=rng.uniform(0.5, 2.0, len(g)))


DATA = small()


@pytest.fixture(scope="module")
def found() -> Any:
    return cl.ols("y ~ x * z", DATA, cluster="g").dependence()


def test_rows_one_by_one(found: Any) -> None:
    fit = cl.ols("y ~ x * z", DATA, cluster="g")
    e = fit.resid
    groups = [part.to_numpy() for _, part in e.groupby(DATA["g"])]
    statistic, p = stats.f_oneway(*groups)
    assert found.layout.statistic == pytest.approx(statistic, rel=1e-9)
    assert found.layout.p_value == pytest.approx(p, rel=1e-9)
    assert found.kruskal.statistic == pytest.approx(stats.kruskal(*groups).statistic, rel=1e-10)
    several = [part for part in groups if len(part) > 1]
    assert found.bartlett.statistic == pytest.approx(stats.bartlett(*several).statistic, rel=1e-9)
    assert (found.bartlett.groups, found.bartlett.left_out) == (9, 1)


def test_moulton_factor_is_that_of_equally_correlated_errors(found: Any) -> None:
    """The expected ratio is the exact one, M X'V X M with V block-diagonal, and the regressors' ICC gives it."""
    x = np.column_stack([np.ones(len(DATA)), DATA["x"], DATA["z"], DATA["x"] * DATA["z"]])
    same = DATA["g"].to_numpy()[:, None] == DATA["g"].to_numpy()
    v = np.where(same, found.icc, 0.0) + (1.0 - found.icc) * np.eye(len(DATA))
    bread = np.linalg.inv(x.T @ x)
    factor = np.diag(bread @ x.T @ v @ x @ bread) / np.diag(bread)
    np.testing.assert_allclose(found.frame["expected_ratio"], np.sqrt(factor), rtol=1e-8)
    own = DATA["z"] - DATA["z"].mean()
    simple = cl.ols("y ~ z", DATA, cluster="g").dependence()
    products = sum(np.sum(np.outer(part, part)) - np.sum(part**2) for _, part in own.groupby(DATA["g"]))
    pairs = sum(len(part) * (len(part) - 1) for _, part in own.groupby(DATA["g"]))
    assert simple.frame["icc_regressor"]["z"] == pytest.approx(products / pairs / np.mean(own**2), rel=1e-9)


def test_standard_errors_are_those_of_the_fit(found: Any) -> None:
    fit = cl.ols("y ~ x * z", DATA, cluster="g")
    np.testing.assert_allclose(found.frame["std_error_cluster"], fit.bse, rtol=1e-12)
    np.testing.assert_allclose(found.frame["std_error_iid"], fit.tests("iid")["std_error"], rtol=1e-12)
    np.testing.assert_allclose(found.frame["effective_rows"] * found.frame["ratio"] ** 2, len(DATA), rtol=1e-12)
    np.testing.assert_allclose(found.frame["design_effect"], found.frame["ratio"] ** 2, rtol=1e-12)
    sizes = DATA["g"].value_counts()
    assert found.size.effective == pytest.approx((sizes**2).sum() / sizes.sum())
    assert found.design_effect == pytest.approx(1.0 + (found.size.effective - 1.0) * found.icc)


def test_interval_of_equal_clusters_is_the_closed_form() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(12, 7)) + rng.normal(size=(12, 1))
    layout = OneWayAnova.of(np.full(12, 7.0), values.mean(axis=1), float(np.sum(7 * values.var(axis=1))))
    f = stats.f_oneway(*values).statistic
    assert layout.statistic == pytest.approx(f, rel=1e-10)
    low, high = (f / stats.f.ppf(q, 11, 72) for q in (0.975, 0.025))
    closed = ((low - 1) / (low + 6), (high - 1) / (high + 6))
    np.testing.assert_allclose(layout.icc_interval(0.95), closed, rtol=1e-9)
    flat = OneWayAnova.of(np.full(12, 7.0), np.full(12, 1.0), 50.0)
    assert flat.icc_interval(0.9) == (0.0, 0.0)
    assert flat.icc < 0.0


@pytest.mark.slow
def test_interval_covers_with_unequal_clusters() -> None:
    rng, sizes = np.random.default_rng(8), np.array([2.0, 3.0, 3.0, 5.0, 8.0, 20.0, 40.0, 60.0])
    reps, tau = 2000, 0.5
    covered = 0
    for _ in range(reps):
        means = rng.normal(scale=np.sqrt(tau + 1.0 / sizes))
        low, high = OneWayAnova.of(sizes, means, float(rng.chisquare(sizes.sum() - 8))).icc_interval(0.95)
        covered += low <= tau / (1.0 + tau) <= high
    assert abs(covered / reps - 0.95) < 3.0 * np.sqrt(0.95 * 0.05 / reps)


def test_frequencies_are_equal_rows() -> None:
    repeated = DATA.loc[DATA.index.repeat(DATA["f"])]
    one = cl.ols("y ~ x", DATA, cluster="g", weights=cl.Frequency("f")).dependence()
    two = cl.ols("y ~ x", repeated, cluster="g").dependence()
    np.testing.assert_allclose(one.frame, two.frame, rtol=1e-9)
    np.testing.assert_allclose(one.anova, two.anova, rtol=1e-9)
    assert one.kruskal.statistic == pytest.approx(two.kruskal.statistic, rel=1e-10)
    assert one.bartlett.statistic == pytest.approx(two.bartlett.statistic, rel=1e-9)


def test_offsets_order_and_units_do_not_matter() -> None:
    moved = DATA.sample(frac=1.0, random_state=1).assign(known=lambda d: 3.0 * d["row"])
    moved = moved.assign(y=lambda d: d["y"] + d["known"], x=lambda d: 1e3 * d["x"] - 7e4)
    one = cl.ols("y ~ x", DATA).dependence("g")
    two = cl.ols("y ~ x", moved, offset="known").dependence("g")
    np.testing.assert_allclose(one.frame.loc["x", "ratio":], two.frame.loc["x", "ratio":], rtol=1e-8)
    np.testing.assert_allclose(one.anova, two.anova, rtol=1e-8)
    assert one.kruskal.statistic == pytest.approx(two.kruskal.statistic, rel=1e-12)


def test_equal_values_share_their_rank() -> None:
    values, codes = np.array([1.0, 2.0, 2.0, 3.0, 2.0, 5.0, 5.0]), np.array([0, 0, 1, 1, 2, 2, 2], dtype=np.int32)
    theirs = stats.kruskal(values[:2], values[2:4], values[4:])
    ours = kruskal_wallis(values, codes)
    assert (ours.statistic, ours.p_value) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-12)
    assert np.isnan(kruskal_wallis(np.ones(4), codes[:4]).statistic)
    assert bartlett(np.array([1.0, 0.0]), np.array([3.0, 3.0]), "g") is None


def test_words(found: Any) -> None:
    text = " ".join(str(found).split())
    for part in (
        "residuals of y", "between clusters of g more than chance", "Kruskal-Wallis", "Bartlett", "Moulton 1986",
        "times that of independent rows", "Design effect of a mean",
    ):  # fmt: skip
        assert part in text, part
    assert "<table" in found._repr_html_()
    none = cl.ols("y ~ x", small(1, 0.0)).dependence("g")
    assert "no more between clusters of g than chance" in " ".join(str(none).split())
    assert none.icc_interval[0] == 0.0
    few = cl.ols("y ~ x", DATA[DATA["g"] > 4]).dependence("g")
    assert "Only 5 clusters of g" in str(few)


def test_relations_that_differ_between_clusters_are_named() -> None:
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(40), 30)
    x = rng.normal(size=1200)
    frame = pd.DataFrame({"g": g, "x": x, "y": x * rng.normal(size=40)[g] + rng.normal(size=1200)})
    assert "More than equally correlated errors explain: x." in " ".join(
        str(cl.ols("y ~ x", frame).dependence("g")).split()
    )


def test_cluster_dummies_have_no_ratio() -> None:
    found = cl.ols("y ~ C(g)", DATA, cluster="g").dependence()
    assert found.frame["ratio"].isna().all()
    assert "No standard error of" in str(found)
    assert found.layout.statistic == pytest.approx(0.0, abs=1e-9)
    assert "nan" not in str(found)


ERRORS = {
    "no cluster": ({}, {}, "no clusters were named"),
    "two clusterings": ({"cluster": ["g", "row"]}, {}, "is about one clustering"),
    "column": ({}, {"cluster": "gg"}, "`cluster` uses 'gg'"),
    "one value": ({}, {"cluster": "one"}, "at least two clusters"),
    "each row": ({}, {"cluster": "row"}, "some with several rows"),
    "precision": ({"weights": cl.Precision("w")}, {"cluster": "g"}, "precision weights rows differ"),
    "level": ({}, {"cluster": "g", "level": 95}, "`level`"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str) -> None:
    given, asked, message = ERRORS[case]
    with pytest.raises(cl.CrosslevelError, match=message):
        cl.ols("y ~ x", DATA, **given).dependence(**asked)
