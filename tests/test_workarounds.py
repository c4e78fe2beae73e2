"""What is done with clustered data instead of a multilevel model: each against the regression it stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl

FORMULA = "y ~ x * z + w + (x | g)"


def small(sizes: tuple[int, ...] = (6, 12, 7, 9, 15, 5, 8, 11, 10, 14)) -> pd.DataFrame:
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(len(sizes)), sizes)
    j, n = len(sizes), len(g)
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=n) + 0.3 * g, "z": rng.normal(size=j)[g] + 4.0})
    frame["w"] = rng.normal(size=n)
    slope = (0.5 + 0.3 * rng.normal(size=j))[g]
    frame["y"] = 10.0 + slope * frame["x"] + 0.4 * frame["z"] + rng.normal(size=n) + rng.normal(size=j)[g]
    return frame.assign(h=rng.integers(0, 4, n))


DATA = small()


@pytest.fixture(scope="module")
def found() -> Any:
    return cl.workarounds(FORMULA, DATA)


def columns_of(found: Any, approach: str) -> pd.DataFrame:
    frame = found.frame
    return frame[frame["approach"] == approach].set_index("term")[["estimate", "std_error"]]


def test_the_multilevel_model(found: Any) -> None:
    fit = cl.mixed(FORMULA, DATA)
    np.testing.assert_allclose(columns_of(found, "multilevel"), fit.tidy()[["estimate", "std_error"]], rtol=1e-10)
    first = found.frame[found.frame["approach"] == "multilevel"]
    np.testing.assert_allclose(first["ratio"], 1.0)
    assert found.roles == {"Intercept": "within", "x": "within", "z": "context", "w": "within", "x:z": "determined"}


def test_all_rows(found: Any) -> None:
    fit = cl.ols("y ~ x * z + w", DATA)
    theirs = fit.tidy().loc[list(found.terms)]
    np.testing.assert_allclose(columns_of(found, "disaggregated"), theirs[["estimate", "std_error"]], rtol=1e-9)
    ours = found.fits["disaggregated"]
    assert ours.loglik == pytest.approx(fit.loglik, rel=1e-10)
    np.testing.assert_allclose(ours.resid, fit.resid, atol=1e-9)
    np.testing.assert_allclose(ours.predict(DATA.head(4)), fit.predict(DATA.head(4)), rtol=1e-9)
    np.testing.assert_allclose(ours.dependence("g").frame, fit.dependence("g").frame.loc[list(found.terms)], rtol=1e-8)


def test_cluster_means(found: Any) -> None:
    means = DATA.assign(xz=DATA["x"] * DATA["z"]).groupby("g").mean()
    theirs = cl.ols("y ~ x + z + w + xz", means).tidy()[["estimate", "std_error"]]
    ours = columns_of(found, "aggregated").loc[["Intercept", "x", "z", "w", "x:z"]]
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    assert found.fits["aggregated"].nobs == 10
    assert found.approach("aggregated").units == 10


def test_dummies(found: Any) -> None:
    fit = cl.ols("y ~ 0 + C(g) + x + w + x:z", DATA)
    ours = columns_of(found, "dummies")
    np.testing.assert_allclose(
        ours.loc[["x", "w", "x:z"]], fit.tidy().loc[["x", "w", "x:z"], ["estimate", "std_error"]], rtol=1e-8
    )
    assert ours.loc[["Intercept", "z"]].isna().all(axis=None)
    assert found.approach("dummies").coefficients == fit.n_params - 1
    assert found.fits["dummies"].sigma == pytest.approx(fit.sigma, rel=1e-9)
    reasons = found.frame.set_index(["approach", "term"])["reason"]
    assert "their dummies take it up" in reasons["dummies", "z"]
    assert reasons["dummies", "x"] == ""


def test_dummies_times_predictors(found: Any) -> None:
    fit = cl.ols("y ~ 0 + C(g) + C(g):x + C(g):w", DATA)
    ours = columns_of(found, "dummies x predictors")
    for name in ("x", "w"):
        terms = [term for term in fit.terms if term.endswith(f":{name}")]
        weights = np.where(np.isin(fit.terms, terms), 0.1, 0.0)
        assert ours.loc[name, "estimate"] == pytest.approx(weights @ fit.params, rel=1e-8)
        assert ours.loc[name, "std_error"] == pytest.approx(np.sqrt(weights @ fit.vcov.to_numpy() @ weights), rel=1e-8)
    assert found.approach("dummies x predictors").coefficients == len(fit.terms)
    assert ours.loc[["z", "x:z"]].isna().all(axis=None)


def test_separate_regressions(found: Any) -> None:
    rows, errors = [], []
    for _, part in DATA.groupby("g"):
        fit = cl.ols("y ~ x + w", part)
        rows.append(fit.params.to_numpy())
        errors.append(fit.bse.to_numpy())
    by_cluster, sampling = np.array(rows), np.array(errors)
    np.testing.assert_allclose(found.by_cluster, by_cluster, rtol=1e-8)
    ours = columns_of(found, "separate").loc[["Intercept", "x", "w"]]
    np.testing.assert_allclose(ours["estimate"], by_cluster.mean(axis=0), rtol=1e-8)
    np.testing.assert_allclose(ours["std_error"], by_cluster.std(axis=0, ddof=1) / np.sqrt(10), rtol=1e-8)
    np.testing.assert_allclose(found.spread["sd"], by_cluster.std(axis=0, ddof=1), rtol=1e-8)
    np.testing.assert_allclose(found.spread["sampling"], np.sqrt((sampling**2).mean(axis=0)), rtol=1e-8)
    model = cl.mixed(FORMULA, DATA).cov_re["g"]
    np.testing.assert_allclose(found.spread["model"], [*np.sqrt(np.diag(model)), np.nan], rtol=1e-8)
    assert len(found.left_out) == 0


def test_clusters_that_cannot_be_fitted() -> None:
    data = DATA[(DATA["g"] != 2) | (DATA.groupby("g").cumcount() < 3)].copy()
    data.loc[data["g"] == 4, "w"] = 1.0
    found = cl.workarounds(FORMULA, data)
    assert list(found.left_out.index) == [2, 4]
    assert list(found.left_out["rows"]) == [3, 15]
    assert "no variation in w" in found.left_out.loc[4, "reason"]
    assert found.approach("separate").clusters == 8
    # three rows are enough for three coefficients where the residual variance is shared
    assert found.approach("dummies x predictors").clusters == 9
    text = " ".join(str(found).split())
    assert "2 clusters could not be fitted (1 of them: " in text
    assert "1 cluster left out (no variation in w)" in text


def test_deviations_from_cluster_means_have_no_means() -> None:
    found = cl.workarounds("y ~ within(x, g) * z + (within(x, g) | g)", DATA)
    reasons = found.frame.set_index(["approach", "term"])["reason"]
    assert reasons["aggregated", "within(x, g)"] == "its mean is the same in every cluster of g"
    assert reasons["aggregated", "within(x, g):z"] == reasons["aggregated", "within(x, g)"]
    means = DATA.groupby("g")[["y", "z"]].mean()
    theirs = cl.ols("y ~ z", means).tidy()[["estimate", "std_error"]]
    np.testing.assert_allclose(columns_of(found, "aggregated").loc[["Intercept", "z"]], theirs, rtol=1e-8)


def test_what_is_not_possible_says_so() -> None:
    context = cl.workarounds("y ~ z + (1 | g)", DATA)
    assert not context.approach("dummies").is_possible
    assert "no predictor varies within clusters of g" in " ".join(str(context).split())
    assert list(context.by_cluster.columns) == ["Intercept"]
    np.testing.assert_allclose(context.by_cluster["Intercept"], DATA.groupby("g")["y"].mean(), rtol=1e-10)
    few = cl.workarounds("y ~ x * z + w + (1 | g)", DATA[DATA["g"] < 5])
    assert not few.approach("aggregated").is_possible
    assert "5 means for 5 coefficients leave no degrees of freedom" in " ".join(str(few).split())
    assert "aggregated" not in few.fits
    pairs = cl.workarounds("y ~ x + w + (1 | g)", DATA[DATA.groupby("g").cumcount() < 2])
    assert not pairs.approach("separate").is_possible
    assert pairs.by_cluster.empty
    assert pairs.spread.empty
    assert "no cluster of g has rows and variation enough" in " ".join(str(pairs).split())


def test_one_cluster_with_a_regression_of_its_own() -> None:
    data = DATA[(DATA["g"] == 4) | (DATA.groupby("g").cumcount() < 3)]
    found = cl.workarounds("y ~ x + w + (1 | g)", data)
    assert list(found.by_cluster.index) == [4]
    text = " ".join(str(found).split())
    assert "1 regressions" not in text
    assert "9 clusters could not be fitted" in text
    assert "nan" not in text


def test_standard_errors_that_are_not_too_small() -> None:
    rng = np.random.default_rng(2)
    same = DATA.assign(y=rng.normal(size=len(DATA)), x=rng.normal(size=len(DATA)))
    text = " ".join(str(cl.workarounds("y ~ x + (1 | g)", same)).split())
    assert "Here its standard errors are no smaller than the multilevel model's" in text


def test_without_an_intercept() -> None:
    found = cl.workarounds("y ~ 0 + x + z + (0 + x | g)", DATA)
    theirs = cl.ols("y ~ 0 + x + z", DATA).tidy()[["estimate", "std_error"]]
    np.testing.assert_allclose(columns_of(found, "disaggregated"), theirs, rtol=1e-8)
    assert found.roles == {"x": "within", "z": "within"}  # without an intercept z stands for one


def test_order_of_rows_and_missing_values(found: Any) -> None:
    again = cl.workarounds(FORMULA, DATA.sample(frac=1.0, random_state=3))
    pd.testing.assert_series_equal(again.frame["reason"], found.frame["reason"])
    numbers = ["estimate", "std_error", "ratio"]
    np.testing.assert_allclose(again.frame[numbers], found.frame[numbers], rtol=1e-6)
    holes = DATA.assign(w=DATA["w"].where(DATA.index > 3))
    dropped, kept = cl.workarounds(FORMULA, holes), cl.workarounds(FORMULA, DATA[DATA.index > 3])
    np.testing.assert_allclose(dropped.frame[numbers], kept.frame[numbers], rtol=1e-8)
    with pytest.raises(cl.CrosslevelError, match="missing values"):
        cl.workarounds(FORMULA, holes, missing="raise")


def test_words(found: Any) -> None:
    text = " ".join(str(found).split())
    for part in (
        "Workarounds for clustered data: y", "All rows as one sample (disaggregation)", "10 means",
        "Slopes compare clusters, not what is in them: x is", "speaks of these alone", "all clusters could be fitted",
        "A cluster of 5 rows counts as much as one of 15", "sampling errors alone",
    ):  # fmt: skip
        assert part in text, part
    assert max(map(len, str(found).splitlines())) <= 80
    assert "<table" in found._repr_html_()
    assert list(found.fits) == ["multilevel", "disaggregated", "aggregated", "dummies"]
    for fit in found.fits.values():
        assert str(fit)


ERRORS = {
    "no random term": ({"formula": "y ~ x"}, "random term"),
    "two factors": ({"formula": "y ~ x + (1 | g) + (1 | h)"}, "needs one grouping factor"),
    "path": ({"data": "rows.csv"}, "read in batches"),
    "no coefficients": ({"formula": "y ~ 0 + (1 | g)"}, "no coefficients to compare"),
    "missing": ({"missing": "ignore"}, "`missing`"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    DATA.to_csv("rows.csv", index=False)
    given, message = ERRORS[case]
    with pytest.raises(cl.CrosslevelError, match=message):
        cl.workarounds(**{"formula": FORMULA, "data": DATA, **given})
