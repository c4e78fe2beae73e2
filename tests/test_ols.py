"""Linear regressions: against lm, sandwich and clubSandwich, closed forms, and what they owe their users."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, load_data
from robust_dense import Dense, several

import crosslevel as cl
from crosslevel.inference.ordinary import NAMES

REFERENCE = json.loads((FOLDER / "robust" / "cluster_robust.json").read_text(encoding="utf-8"))
CLUSTERED = [name for name in NAMES if name.startswith("CR")]


def expected(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / "robust" / f"Hsb82__{name}.json").read_text(encoding="utf-8"))


@cache
def hsb() -> pd.DataFrame:
    data = load_data("Hsb82")
    weight = 1.0 + (np.arange(1, len(data) + 1) % 4) / 2.0
    return data.assign(public=1.0 * (data["sector"] == "Public"), w=weight)


FORMULAS = {
    "ols_crosslevel": "mAch ~ cses * sector + cses * meanses",
    "ols_simple": "mAch ~ cses",
}


@cache
def hsb_fit(name: str) -> Any:
    return cl.ols(FORMULAS[name], hsb(), cluster="school")


def order_of(fit: Any, r_names: list[str]) -> list[int]:
    """Where R's coefficients stand among ours."""
    ours = [frozenset(term.replace("[", "").replace("]", "").split(":")) for term in fit.params.index]
    return [ours.index(frozenset(name.replace("(Intercept)", "Intercept").split(":"))) for name in r_names]


@pytest.mark.parametrize("name", FORMULAS)
def test_lm(name: str) -> None:
    fit, theirs = hsb_fit(name), expected(name)
    order = order_of(fit, theirs["coef_names"])
    np.testing.assert_allclose(fit.params.to_numpy()[order], list(theirs["fixef"].values()), rtol=1e-10)
    np.testing.assert_allclose(fit.tests("iid")["std_error"].to_numpy()[order], list(theirs["se"].values()), rtol=1e-10)
    for ours, key in ((fit.loglik, "loglik"), (fit.aic, "aic"), (fit.bic, "bic"), (fit.r_squared, "r_squared")):
        assert ours == pytest.approx(theirs[key], rel=1e-10)
    assert fit.sigma == pytest.approx(theirs["sigma"], rel=1e-10)
    assert fit.nobs == theirs["nobs"]
    assert fit.ngroups == theirs["ngroups"]
    assert fit.n_params == theirs["npar"]


@pytest.mark.parametrize("name", FORMULAS)
def test_clubsandwich_and_sandwich(name: str) -> None:
    fit, theirs = hsb_fit(name), expected(name)
    order = order_of(fit, theirs["coef_names"])
    for kind, entry in theirs["clubsandwich"].items():
        if kind in CLUSTERED:
            table = fit.tests(kind)
            np.testing.assert_allclose(table["std_error"].to_numpy()[order], entry["se"], rtol=1e-9)
            np.testing.assert_allclose(table["df"].to_numpy()[order], entry["df_satterthwaite"], rtol=1e-7)
    for kind, matrix in theirs["vcovHC"].items():
        if kind in NAMES:
            errors = np.sqrt(np.diag(np.array(matrix, dtype=np.float64)))
            np.testing.assert_allclose(fit.tests(kind)["std_error"].to_numpy()[order], errors, rtol=1e-9)


def test_joint_tests_of_clubsandwich() -> None:
    fit = cl.ols("mAch ~ cses + public + meanses + cses:public + cses:meanses", hsb(), cluster="school")
    weighted = cl.ols("mAch ~ cses + public + cses:public", hsb(), cluster="school", weights=cl.Precision("w"))
    for name, one, tested in (("hsb_lm", fit, 3), ("hsb_weighted", weighted, 1)):
        for kind, theirs in REFERENCE[name]["kinds"].items():
            found = one.update(vcov=kind)
            np.testing.assert_allclose(found.bse, theirs["se"], rtol=1e-9)
            np.testing.assert_allclose(found.df, theirs["df"], rtol=1e-9)
            for test, entry in theirs["wald"].items():
                joint = found.contrast(list(found.params.index[tested:]), test.replace("Naive", "naive"))
                assert joint.statistic == pytest.approx(entry["F"], rel=1e-9)
                assert joint.df_den == pytest.approx(entry["df_den"], rel=1e-9)


def test_two_clusterings_of_sandwich() -> None:
    fit = cl.ols("inv ~ value + capital", load_data("Grunfeld"), cluster=["firm", "year"])
    assert fit.ngroups == {"firm": 10, "year": 20}
    for kind in CLUSTERED:
        np.testing.assert_allclose(fit.tests(kind)["std_error"], REFERENCE["grunfeld_two_ways"][kind], rtol=1e-9)


def test_clusters_of_fixed_effects() -> None:
    """Dummies of the clusters, or everything minus its cluster mean: the same slope, standard error and df."""
    dummies = cl.ols("mAch ~ cses + C(school)", hsb(), cluster="school")
    theirs = REFERENCE["hsb_dummies"]
    assert dummies.bse["cses"] == pytest.approx(theirs["se"], rel=1e-9)
    assert dummies.df["cses"] == pytest.approx(theirs["df"], rel=1e-9)
    assert "No standard error of Intercept, C(school)" in dummies.notes[-1]
    assert "157 more" in dummies.notes[-1]
    absorbed = hsb().assign(y=lambda d: d["mAch"] - d.groupby("school", observed=True)["mAch"].transform("mean"))
    within = cl.ols("y ~ 0 + cses", absorbed, cluster="school")
    assert within.params["cses"] == pytest.approx(dummies.params["cses"], rel=1e-9)
    for kind in ("CR0", "CR2"):
        one, two = dummies.tests(kind).loc["cses"], within.tests(kind).loc["cses"]
        assert two["std_error"] == pytest.approx(one["std_error"], rel=1e-9)


def small() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 90
    frame = pd.DataFrame({"x": rng.normal(size=n) + 3.0, "z": rng.normal(size=n), "g": rng.integers(0, 11, n)})
    frame["y"] = 1.0 + 0.5 * frame["x"] + rng.normal(size=n) + rng.normal(size=11)[frame["g"]]
    return frame.assign(t=rng.integers(0, 6, n), w=rng.uniform(0.3, 3.0, n), f=rng.integers(0, 4, n), row=np.arange(n))


DATA = small()


def design_rows(fit: Any, data: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """X and residuals of y ~ x + z."""
    x = np.column_stack([np.ones(len(data)), data["x"], data["z"]])
    return x, data["y"].to_numpy() - x @ fit.params.to_numpy()


@pytest.mark.parametrize("kind", CLUSTERED)
def test_dense_twin(kind: str) -> None:
    fit = cl.ols("y ~ x + z", DATA, cluster="g", vcov=kind)
    x, e = design_rows(fit, DATA)
    dense = Dense(x, e, np.eye(len(x)), DATA["g"].to_numpy(), kind)
    np.testing.assert_allclose(fit.vcov, dense.vcov, rtol=1e-9)
    np.testing.assert_allclose(fit.df, [dense.df(c) for c in np.eye(3)], rtol=1e-9)
    two = cl.ols("y ~ x + z", DATA, cluster=["g", "t"], vcov=kind)
    summed = several(x, e, np.eye(len(x)), [DATA["g"], DATA["t"]], kind, np.linalg.inv(x.T @ x))
    size = np.sqrt(np.diag(summed))
    np.testing.assert_allclose(two.vcov / np.outer(size, size), summed / np.outer(size, size), atol=1e-9)

    weighted = cl.ols("y ~ x + z", DATA, cluster="g", vcov=kind, weights=cl.Precision("w"))
    root = np.sqrt(DATA["w"].to_numpy())
    x, e = design_rows(weighted, DATA)
    dense = Dense(root[:, None] * x, root * e, np.eye(len(x)), DATA["g"].to_numpy(), kind)
    np.testing.assert_allclose(weighted.vcov, dense.vcov, rtol=1e-9)


@pytest.mark.parametrize(("clustered", "by_row"), [("CR0", "HC0"), ("CR2", "HC2"), ("CR3", "HC3"), ("CR1S", "HC1")])
def test_each_row_a_cluster(clustered: str, by_row: str) -> None:
    for weights in (None, cl.Precision("w")):
        one = cl.ols("y ~ x + z", DATA, cluster="row", vcov=clustered, weights=weights)
        two = cl.ols("y ~ x + z", DATA, vcov=by_row, weights=weights)
        np.testing.assert_allclose(one.vcov, two.vcov, rtol=1e-9)


@pytest.mark.parametrize("kind", NAMES)
def test_frequencies_are_equal_rows(kind: str) -> None:
    repeated = DATA.loc[DATA.index.repeat(DATA["f"])]
    cluster = "g" if kind.startswith("CR") else None
    one = cl.ols("y ~ x + z", DATA, cluster=cluster, vcov=kind, weights=cl.Frequency("f"))
    two = cl.ols("y ~ x + z", repeated, cluster=cluster, vcov=kind)
    np.testing.assert_allclose(one.vcov, two.vcov, rtol=1e-9)
    np.testing.assert_allclose(one.df, two.df, rtol=1e-9)
    for name in ("nobs", "loglik", "aic", "bic", "sigma", "r_squared", "adj_r_squared"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-10)


@pytest.mark.parametrize("kind", NAMES)
def test_units_and_order_do_not_matter(kind: str) -> None:
    moved = DATA.sample(frac=1.0, random_state=2).assign(x=lambda d: 1e4 * d["x"] + 5e4, y=lambda d: 0.1 * d["y"])
    one = cl.ols("y ~ x + z", DATA, cluster="g", vcov=kind).tidy()
    two = cl.ols("y ~ x + z", moved, cluster="g", vcov=kind).tidy()
    np.testing.assert_allclose(two.loc[["x", "z"], "statistic"], one.loc[["x", "z"], "statistic"], rtol=1e-8)
    np.testing.assert_allclose(two.loc[["x", "z"], "df"], one.loc[["x", "z"], "df"], rtol=1e-8)


def test_weights_are_those_of_lm() -> None:
    """The likelihood of weighted rows, and scale of the weights that does not matter to the coefficients' errors."""
    fit = cl.ols("y ~ x + z", DATA, weights=cl.Precision("w"))
    w, (x, e) = DATA["w"].to_numpy(), design_rows(fit, DATA)
    n, rss = len(w), float(np.sum(w * e**2))
    assert fit.loglik == pytest.approx(0.5 * (np.sum(np.log(w)) - n * (np.log(2 * np.pi * rss / n) + 1)), rel=1e-10)
    np.testing.assert_allclose(fit.vcov, np.linalg.inv(x.T @ (w[:, None] * x)) * rss / (n - 3), rtol=1e-9)
    larger = cl.ols("y ~ x + z", DATA.assign(w=100.0 * w), weights=cl.Precision("w"), cluster="g")
    np.testing.assert_allclose(larger.bse, fit.tests("CR2", cluster="g")["std_error"], rtol=1e-9)
    np.testing.assert_allclose(larger.df, fit.tests("CR2", cluster="g")["df"], rtol=1e-9)


def test_offset_is_part_of_fitted_values() -> None:
    shifted = DATA.assign(y=DATA["y"] + 2.0 * DATA["t"], known=2.0 * DATA["t"])
    one, two = cl.ols("y ~ x", shifted, offset="known", cluster="g"), cl.ols("y ~ x", DATA, cluster="g")
    np.testing.assert_allclose(one.bse, two.bse, rtol=1e-9)
    np.testing.assert_allclose(one.fitted, two.fitted + shifted["known"], rtol=1e-10)
    np.testing.assert_allclose(one.predict(shifted.head(3)), one.fitted.head(3), rtol=1e-10)


def test_rows() -> None:
    fit = cl.ols("y ~ x", DATA, cluster=["g", "t"])
    frame = fit.augment()
    assert list(frame.columns) == ["y", "g", "t", "fitted", "resid"]
    np.testing.assert_array_equal(frame["g"], DATA["g"])
    np.testing.assert_allclose(frame["fitted"] + frame["resid"], DATA["y"], rtol=1e-12)
    np.testing.assert_allclose(frame["fitted"], fit.predict(), rtol=1e-12)
    pd.testing.assert_series_equal(fit.resid, frame["resid"])


@pytest.mark.parametrize("kind", ["iid", "HC3", "CR2"])
def test_predictions(kind: str) -> None:
    fit = cl.ols("y ~ x", DATA, cluster="g", vcov=kind)
    new = {"x": [0.0, 2.0, np.nan]}
    found = fit.predict(new, se=True)
    row = np.array([1.0, 2.0])
    assert found.loc[1, "std_error"] == pytest.approx(np.sqrt(row @ fit.vcov.to_numpy() @ row), rel=1e-10)
    intercept = fit.tidy().loc["Intercept"]
    np.testing.assert_allclose(
        found.loc[0, ["conf_low", "conf_high"]].to_numpy(float), intercept[["conf_low", "conf_high"]], rtol=1e-9
    )
    assert found.loc[2].isna().all()
    wide = fit.predict(new, interval="prediction")
    half, wide_half = (0.5 * (frame["conf_high"] - frame["conf_low"]) for frame in (found, wide))
    t = half[1] / found.loc[1, "std_error"]
    assert wide_half[1] == pytest.approx(t * np.sqrt(found.loc[1, "std_error"] ** 2 + fit.sigma**2), rel=1e-9)
    pd.testing.assert_series_equal(fit.predict(new), found["estimate"].rename("prediction"))


def test_other_fits() -> None:
    fit = cl.ols("y ~ x", DATA, cluster="g")
    again = fit.refit(2.0 * DATA["y"])
    np.testing.assert_allclose(again.bse, 2.0 * fit.bse, rtol=1e-10)
    np.testing.assert_allclose(again.df, fit.df, rtol=1e-10)
    larger = fit.update("~ . + z", vcov="CR3")
    assert list(larger.params.index) == ["Intercept", "x", "z"]
    np.testing.assert_allclose(larger.bse, cl.ols("y ~ x + z", DATA, cluster="g", vcov="CR3").bse, rtol=1e-12)
    np.testing.assert_allclose(fit.robust("CR3", "t").bse, fit.tests("CR3", cluster="t")["std_error"], rtol=1e-12)


def test_record() -> None:
    fit = cl.ols("y ~ x + z", DATA, cluster="g")
    pd.testing.assert_frame_equal(fit.tests(), fit.tidy())
    pd.testing.assert_frame_equal(fit.conf_int(method="HC2"), fit.tests("HC2")[["conf_low", "conf_high"]])
    pd.testing.assert_series_equal(fit.tvalues, fit.tidy()["statistic"])
    pd.testing.assert_series_equal(fit.pvalues, fit.tidy()["p_value"])
    np.testing.assert_allclose(np.sqrt(np.diag(fit.vcov)), fit.bse, rtol=1e-12)
    glance = fit.glance().iloc[0]
    assert (glance["n_groups"], glance["group"], glance["vcov"], glance["converged"]) == (11, "g", "CR2", True)
    assert fit.converged
    assert fit.status.startswith("Solved")
    assert fit.deviance == -2.0 * fit.loglik
    assert cl.ols("y ~ x", DATA).ngroups == {}


def test_joint_test_without_clusters() -> None:
    fit, small_fit = cl.ols("y ~ x + z", DATA), cl.ols("y ~ 1", DATA)
    found = fit.contrast(["x", "z"])
    rss, all_of_it = (each.sigma**2 * each.df_residual for each in (fit, small_fit))
    assert found.statistic == pytest.approx((all_of_it - rss) / 2 / fit.sigma**2, rel=1e-9)
    assert (found.test, found.df_num, found.df_den) == ("F", 2.0, 87.0)
    with pytest.raises(cl.CrosslevelError, match="needs a cluster-robust covariance"):
        fit.contrast("x", "HTZ")


def test_summary() -> None:
    text = " ".join(str(cl.ols("y ~ x", DATA, cluster="g", weights=cl.Precision("w"))).split())
    for part in ("Linear regression of y", "weighted least squares", "11 (g)", "(CR2)", "Satterthwaite", "R²"):
        assert part in text
    plain = str(cl.ols("y ~ x", DATA))
    assert "independent rows of equal variance (iid)" in plain
    assert "clusters are in" not in plain
    assert "(HC3)" in str(cl.ols("y ~ x", DATA, vcov="HC3"))
    assert "Only 6 clusters of t" in str(cl.ols("y ~ x", DATA, cluster="t"))
    assert "<table" in cl.ols("y ~ x", DATA)._repr_html_()


def test_missing_values_are_counted_those_of_clusters_too() -> None:
    holes = DATA.assign(g=DATA["g"].where(DATA["row"] > 2), x=DATA["x"].where(DATA["row"] < 88))
    fit = cl.ols("y ~ x", holes, cluster="g")
    assert dict(fit.rows.missing) == {"x": 2, "g": 3}
    assert fit.nobs == 85
    assert "5 of 90 rows" in fit.notes[0]
    kept = DATA[(DATA["row"] > 2) & (DATA["row"] < 88)]
    np.testing.assert_allclose(fit.bse, cl.ols("y ~ x", kept, cluster="g").bse, rtol=1e-12)
    with pytest.raises(cl.CrosslevelError, match="5 rows with missing values"):
        cl.ols("y ~ x", holes, cluster="g", missing="raise")


def test_columns_that_others_determine_are_left_out() -> None:
    fit = cl.ols("y ~ x + I(2 * x)", DATA, cluster="g")
    assert list(fit.params.index) == ["Intercept", "x"]
    assert "I(2 * x)" in fit.notes[0]


def test_a_dot_leaves_the_clusters_out() -> None:
    fit = cl.ols("y ~ .", DATA[["y", "x", "z", "g"]], cluster="g")
    assert list(fit.params.index) == ["Intercept", "x", "z"]


def test_a_row_that_alone_determines_a_coefficient() -> None:
    data = DATA.assign(first=1.0 * (DATA["row"] == 0))
    fit = cl.ols("y ~ x + first", data, cluster="row", vcov="CR2")
    np.testing.assert_allclose(
        fit.vcov, fit.tests("HC2").pipe(lambda _: cl.ols("y ~ x + first", data, vcov="HC2").vcov)
    )
    for kind in ("HC3", "CR3"):
        with pytest.raises(cl.CrosslevelError, match="leaves out one"):
            fit.tests(kind)


ERRORS = {
    "random term": ({"formula": "y ~ x + (1 | g)"}, "has a random term over g"),
    "formula": ({"formula": 3}, "`formula` is text"),
    "no coefficients": ({"formula": "y ~ 0"}, "has no coefficients"),
    "no such column": ({"cluster": "gg"}, "`cluster` uses 'gg'"),
    "no such covariance": ({"vcov": "CR9"}, "`vcov` is one of"),
    "no clusters": ({"vcov": "CR2"}, "needs clusters"),
    "no names": ({"cluster": []}, "`cluster` is the name"),
    "same names": ({"cluster": ["g", "g"]}, "different names"),
    "one cluster": ({"cluster": "one"}, "has one value"),
    "sampling weights": ({"weights": cl.Sampling("w")}, "sampling weights"),
    "bare weights": ({"weights": "w"}, "has to say what they mean"),
    "path": ({"data": "rows.csv"}, "read in batches"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = DATA.assign(one=1)
    data.to_csv("rows.csv")
    given, message = ERRORS[case]
    arguments = {"formula": "y ~ x", "data": data, **given}
    with pytest.raises(cl.CrosslevelError, match=message):
        cl.ols(**arguments)


def test_predictions_refuse_an_unknown_interval() -> None:
    with pytest.raises(cl.CrosslevelError, match="`interval`"):
        cl.ols("y ~ x", DATA).predict(interval="both")
