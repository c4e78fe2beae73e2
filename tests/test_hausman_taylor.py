"""Hausman-Taylor and its relatives: against plm, a row-wise twin, estimators they reduce to, and wrong input."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from instruments_dense import Rows, two_stage
from reference_cases import FOLDER, load_data

import crosslevel as cl
from crosslevel.design.products import CrossProducts
from crosslevel.inference.panel.instruments import GroupMoments, Roles, instrumented, period_values, variance_components

WAGES = "lwage ~ wks + south + smsa + married + exp + expsq + bluecol + ind + union + sex + black + ed"
ENDOGENOUS = ["wks", "married", "union", "exp", "expsq", "ed"]
REFERENCE = {"ht": "hausman_taylor", "am": "amemiya_macurdy", "bms": "breusch_mizon_schmidt"}


def expected(method: str) -> dict[str, Any]:
    text = (FOLDER / "panel" / f"Wages__{REFERENCE[method]}.json").read_text(encoding="utf-8")
    return json.loads(text)


@cache
def wages(method: str) -> Any:
    return cl.hausman_taylor(WAGES, load_data("Wages"), group="id", time="time", endogenous=ENDOGENOUS, method=method)


# -- plm ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", REFERENCE)
def test_plm(method: str) -> None:
    fit, theirs = wages(method), expected(method)
    assert [name.replace("[", "").replace("]", "") for name in fit.params.index] == [
        name.replace("(Intercept)", "Intercept") for name in theirs["coef_names"]
    ]
    np.testing.assert_allclose(fit.params, list(theirs["coef"].values()), rtol=1e-9)
    np.testing.assert_allclose(fit.bse, list(theirs["se"].values()), rtol=1e-9)
    np.testing.assert_allclose(fit.vcov, theirs["vcov"], rtol=1e-8)
    np.testing.assert_allclose(fit.pvalues, list(theirs["p_value"].values()), rtol=1e-7, atol=1e-300)
    assert theirs["stat_type"] == "z-value"
    assert np.all(np.isinf(fit.df))
    assert fit.df_residual == theirs["df_residual"]
    assert fit.nobs == theirs["nobs"]
    assert fit.r_squared == pytest.approx(theirs["r_squared"]["rsq"], rel=1e-10)
    assert fit.adj_r_squared == pytest.approx(theirs["r_squared"]["adjrsq"], rel=1e-10)
    sigma2 = theirs["ercomp"]["sigma2"]
    components = fit.details.error_components()["variance"]
    assert components["idiosyncratic"] == pytest.approx(sigma2["idios"], rel=1e-10)
    assert components["id"] == pytest.approx(sigma2["id"], rel=1e-10)
    np.testing.assert_allclose(fit.details.theta, theirs["ercomp"]["theta"][0], rtol=1e-10)


@pytest.mark.parametrize("method", REFERENCE)
def test_rows_of_plm(method: str) -> None:
    # plm divides the quasi-demeaned rows of these estimators by sigma_e
    fit, theirs = wages(method), expected(method)
    sigma = np.sqrt(theirs["ercomp"]["sigma2"]["idios"])
    assert fit.rss == pytest.approx(theirs["rss"] * sigma**2, rel=1e-10)
    head = fit.augment()["resid_transformed"].to_numpy()[:10]
    np.testing.assert_allclose(head, np.array(theirs["resid_head"]) * sigma, rtol=1e-8)


# -- row-wise twin ------------------------------------------------------------------------------------------------

NAMES = ("Intercept", "a", "b", "c", "d", "e", "z", "w", "v")
VARYING = np.array([False, True, True, True, True, True, False, False, False])
ENDOGENOUS_COLUMNS = np.array([False, False, False, False, True, True, False, True, False])


def panel_rows(*, balanced: bool, seed: int = 5, n_groups: int = 30) -> Rows:
    """A small panel with means far from zero and columns of very different size."""
    rng = np.random.default_rng(seed)
    sizes = np.full(n_groups, 4) if balanced else rng.integers(1, 7, n_groups)
    codes = np.repeat(np.arange(n_groups), sizes)
    period = np.concatenate([np.arange(size) for size in sizes])
    n = len(codes)
    u, shared = rng.normal(size=n_groups), rng.normal(size=(3, n_groups))
    exogenous = shared.T[codes] + rng.normal(size=(n, 3))
    endogenous = u[codes, None] + rng.normal(size=(n, 2)) * [1.0, 2.0]
    z, v = rng.normal(size=(2, n_groups))
    w = shared.sum(axis=0) + u + rng.normal(size=n_groups)
    X = np.column_stack([np.ones(n), exogenous, endogenous, z[codes], w[codes], v[codes]])
    X[:, 1:] = X[:, 1:] * [1.0, 1e3, 1e-2, 1.0, 5.0, 1.0, 1.0, 30.0] + [0.0, 2e3, 0.0, 1.0, 50.0, 0.0, 10.0, 0.0]
    y = X @ np.array([3.0, 1.0, 1e-3, 20.0, 1.0, -0.2, 1.0, 0.5, 0.0]) + u[codes] + rng.normal(size=n)
    return Rows(y=y, X=X, codes=codes, period=period, varying=VARYING, endogenous=ENDOGENOUS_COLUMNS)


def cube(rows: Rows, values: np.ndarray) -> np.ndarray:
    out = np.empty((rows.codes.max() + 1, rows.period.max() + 1, values.shape[1]))
    out[rows.codes, rows.period] = values
    return out


def solve(rows: Rows, method: str) -> Any:
    products = CrossProducts.from_rows(
        np.vstack([rows.X.T, rows.y]), rows.codes, names=(*NAMES, "y"), levels=tuple(range(rows.codes.max() + 1))
    )
    moments = GroupMoments.of(products, np.arange(len(NAMES) + 1), 0)
    roles = Roles(columns=np.arange(len(NAMES)), varying=rows.varying, endogenous=rows.endogenous)
    extra = None
    if method != "ht":
        first = cube(rows, rows.X[:, rows.varying & ~rows.endogenous])
        second = cube(rows, rows.X[:, rows.varying & rows.endogenous])
        extra = period_values(first, second - second.mean(axis=1, keepdims=True) if method == "bms" else None)
    return instrumented(moments, roles, variance_components(moments, roles), extra)


@pytest.mark.parametrize(("method", "balanced"), [("ht", True), ("ht", False), ("am", True), ("bms", True)])
def test_row_wise_twin(method: str, balanced: bool) -> None:
    rows = panel_rows(balanced=balanced)
    ours, twin = solve(rows, method), two_stage(rows, method)
    np.testing.assert_allclose(ours.regression.beta, twin.beta, rtol=1e-9)
    np.testing.assert_allclose(ours.regression.vcov, twin.vcov, rtol=1e-7)
    assert ours.regression.rss == pytest.approx(twin.rss, rel=1e-10)
    assert ours.components.idiosyncratic == pytest.approx(twin.idiosyncratic, rel=1e-10)
    assert ours.components.group == pytest.approx(twin.group, rel=1e-10)
    np.testing.assert_allclose(ours.components.theta[rows.codes], twin.theta, rtol=1e-10)
    assert ours.r_squared == pytest.approx(twin.r_squared, rel=1e-10)
    assert ours.overidentification.df == twin.n_extra
    assert ours.overidentification.statistic == pytest.approx(twin.sargan, rel=1e-8)
    assert ours.components.group > 0.0


def frame_of(rows: Rows) -> pd.DataFrame:
    frame = pd.DataFrame(rows.X[:, 1:], columns=list(NAMES[1:]))
    return frame.assign(y=rows.y, g=[f"g{code:02d}" for code in rows.codes], t=rows.period)


FORMULA = "y ~ a + b + c + d + e + z + w + v"


@pytest.mark.parametrize("balanced", [True, False])
def test_robust_covariances_of_the_twin(balanced: bool) -> None:
    rows = panel_rows(balanced=balanced)
    fit = cl.hausman_taylor(FORMULA, frame_of(rows), group="g", endogenous=["d", "e", "w"])
    twin = two_stage(rows, "ht")
    np.testing.assert_allclose(fit.params, twin.beta, rtol=1e-9)
    errors = np.sqrt(np.diag(twin.clustered))
    for kind in ("CR0", "arellano-HC0"):
        np.testing.assert_allclose(fit.tests(kind)["std_error"], errors, rtol=1e-8)
    n_groups = rows.codes.max() + 1
    np.testing.assert_allclose(fit.tests("CR1")["std_error"], errors * np.sqrt(n_groups / (n_groups - 1)), rtol=1e-8)
    assert np.all(fit.tests("CR2")["df"] < n_groups)


def test_white_by_row_of_the_twin() -> None:
    # one row for each "group" of errors: what `white1` sums over rows, the twin sums over groups of one row
    rows = panel_rows(balanced=False)
    fit = cl.hausman_taylor(FORMULA, frame_of(rows), group="g", endogenous=["d", "e", "w"])
    twin = two_stage(rows, "ht")
    starred = np.eye(len(rows.y)) - twin.theta[:, None] * rows.P
    residual = starred @ (rows.y - rows.X @ twin.beta)
    np.testing.assert_allclose(fit.augment()["resid_transformed"], residual, atol=1e-9 * np.abs(residual).max())
    maker = fit.details.covariance("white1-HC0").matrix
    x = rows_seen(rows, twin.theta)
    bread = np.linalg.inv(x.T @ x)
    np.testing.assert_allclose(maker, bread @ (x * residual[:, None] ** 2).T @ x @ bread, rtol=1e-7)


@pytest.mark.parametrize(("kind", "power"), [("CR2", -0.5), ("CR3", -1.0)])
def test_bias_reduced_covariances_of_the_twin(kind: str, power: float) -> None:
    # residuals of each group times a power of I - H, H the leverage of what the instruments make of X*
    rows = panel_rows(balanced=False)
    fit = cl.hausman_taylor(FORMULA, frame_of(rows), group="g", endogenous=["d", "e", "w"], vcov=kind)
    twin = two_stage(rows, "ht")
    x = rows_seen(rows, twin.theta)
    residual = (np.eye(len(rows.y)) - twin.theta[:, None] * rows.P) @ (rows.y - rows.X @ twin.beta)
    bread, scores = np.linalg.inv(x.T @ x), []
    for group in np.unique(rows.codes):
        own = rows.codes == group
        values, vectors = np.linalg.eigh(np.eye(own.sum()) - x[own] @ bread @ x[own].T)
        scores.append(x[own].T @ (vectors * values**power) @ vectors.T @ residual[own])
    np.testing.assert_allclose(fit.vcov, bread @ np.transpose(scores) @ scores @ bread, rtol=1e-6, atol=1e-12)


def rows_seen(rows: Rows, theta: np.ndarray) -> np.ndarray:
    """What Hausman and Taylor's instruments make of X*."""
    from instruments_dense import project

    Q = np.eye(len(rows.y)) - rows.P
    outer = np.hstack(
        [rows.X[:, ~rows.varying & ~rows.endogenous], rows.P @ rows.X[:, rows.varying & ~rows.endogenous]]
    )
    instruments = np.hstack([Q @ rows.X[:, rows.varying], (1.0 - theta)[:, None] * outer])
    return project(instruments, (np.eye(len(rows.y)) - theta[:, None] * rows.P) @ rows.X)


# -- what it reduces to -------------------------------------------------------------------------------------------


def test_nothing_endogenous_is_the_random_effects_estimate() -> None:
    rows = panel_rows(balanced=False)
    free = Rows(
        y=rows.y, X=rows.X, codes=rows.codes, period=rows.period, varying=rows.varying,
        endogenous=np.zeros(len(NAMES), dtype=bool),
    )  # fmt: skip
    ours = solve(free, "ht")
    V = ours.components.idiosyncratic * np.eye(len(rows.y)) + ours.components.group * rows.same
    weighted = np.linalg.solve(V, rows.X)
    beta = np.linalg.solve(weighted.T @ rows.X, weighted.T @ rows.y)
    np.testing.assert_allclose(ours.regression.beta, beta, rtol=1e-8)


def test_all_varying_endogenous_and_nothing_constant_is_the_within_estimate() -> None:
    data = frame_of(panel_rows(balanced=False))
    fit = cl.hausman_taylor("y ~ a + b + d", data, group="g", endogenous=["a", "b", "d"])
    within = cl.fixed_effects("y ~ a + b + d", data, group="g")
    np.testing.assert_allclose(fit.params.drop("Intercept"), within.params, rtol=1e-9)


@pytest.mark.parametrize("balanced", [True, False])
def test_of_instruments_is_the_hausman_test_against_fixed_effects(balanced: bool) -> None:
    # with the same variance in both; its covariance has as low a rank as there are instruments to test
    data = frame_of(panel_rows(balanced=balanced))
    fit = cl.hausman_taylor(FORMULA, data, group="g", endogenous=["d", "e", "w"])
    within = cl.fixed_effects("y ~ a + b + c + d + e", data, group="g")
    names = list(within.params.index)
    unscaled = within.vcov / within.sigma**2 - fit.vcov.loc[names, names] / fit.sigma**2
    size = np.sqrt(np.diag(within.vcov))
    difference = (within.params - fit.params[names]).to_numpy() / size
    values, vectors = np.linalg.eigh(unscaled.to_numpy() / np.outer(size, size))
    test = fit.details.overidentification
    kept = values > 1e-8 * values.max()
    assert np.count_nonzero(kept) == test["df"] == 2
    statistic = np.sum((vectors[:, kept].T @ difference) ** 2 / values[kept])
    assert test["statistic"] * fit.rss / fit.nobs == pytest.approx(statistic, rel=1e-6)


def test_just_identified_is_the_within_estimate_and_tests_nothing() -> None:
    # as many exogenous varying columns as endogenous constant ones: the varying ones have the within estimates
    data = frame_of(panel_rows(balanced=True))
    fit = cl.hausman_taylor("y ~ a + d + z + w", data, group="g", endogenous=["d", "w"])
    within = cl.fixed_effects("y ~ a + d", data, group="g")
    np.testing.assert_allclose(fit.params[["a", "d"]], within.params, rtol=1e-8)
    assert fit.details.overidentification["df"] == 0.0
    assert np.isnan(fit.details.overidentification["p_value"])
    assert any("just as many instruments" in note for note in fit.notes)


def test_a_recovered_effect() -> None:
    # random effects are biased here, Hausman-Taylor is not: 2,000 groups, true coefficient of w 0.5
    rng = np.random.default_rng(11)
    n_groups = 2000
    codes = np.repeat(np.arange(n_groups), 4)
    u, shared = rng.normal(size=(2, n_groups))
    w = shared + u + rng.normal(size=n_groups)
    x = shared[codes] + rng.normal(size=len(codes))
    y = 1.0 + 0.5 * w[codes] + x + u[codes] + rng.normal(size=len(codes))
    fit = cl.hausman_taylor("y ~ x + w", {"y": y, "x": x, "w": w[codes], "g": codes}, group="g", endogenous=["w"])
    assert abs(fit.params["w"] - 0.5) < 3.0 * fit.bse["w"]
    assert fit.bse["w"] < 0.06
    assert fit.details.error_components().loc["g", "variance"] == pytest.approx(1.0, rel=0.1)


def test_negative_variance_is_floored_and_said() -> None:
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(20), 5)
    noise = rng.normal(size=100)
    noise -= 0.9 * (np.bincount(codes, noise) / 5)[codes]
    shared = rng.normal(size=20)
    x, d = shared[codes] + rng.normal(size=100), rng.normal(size=100)
    frame = {"y": x + d + shared[codes] + noise, "x": x, "d": d, "w": shared[codes], "g": codes}
    fit = cl.hausman_taylor("y ~ x + d + w", frame, group="g", endogenous=["d", "w"])
    assert fit.details.error_components().loc["g", "variance"] == 0.0
    assert np.all(fit.details.theta == 0.0)
    assert any("negative" in note for note in fit.notes)


# -- names, invariances, rows -------------------------------------------------------------------------------------


def test_endogenous_variables_take_all_that_is_made_of_them() -> None:
    data = frame_of(panel_rows(balanced=True)).assign(f=lambda d: pd.cut(d["e"], 3, labels=["low", "mid", "high"]))
    fit = cl.hausman_taylor("y ~ a + b + c + d + I(d ** 2) + d:z + f + z", data, group="g", endogenous=["d", "f"])
    kinds = fit.details.predictors
    assert set(kinds["Varying, endogenous"]) == {"d", "I(d ** 2)", "d:z", "f[mid]", "f[high]"}
    assert kinds["Varying, exogenous"] == ("a", "b", "c")
    assert kinds["Constant, exogenous"] == ("z",)
    one = cl.hausman_taylor("y ~ a + b + c + f + z", data, group="g", endogenous=["f[mid]"])
    assert one.details.predictors["Varying, endogenous"] == ("f[mid]",)


def test_order_of_rows_and_units_do_not_matter() -> None:
    data = frame_of(panel_rows(balanced=True))
    given = {"group": "g", "time": "t", "endogenous": ["d", "e", "w"], "method": "bms"}
    fit = cl.hausman_taylor(FORMULA, data, **given)
    mixed = cl.hausman_taylor(FORMULA, data.sample(frac=1.0, random_state=1), **given)
    np.testing.assert_allclose(mixed.params, fit.params, rtol=1e-9)
    np.testing.assert_allclose(mixed.vcov, fit.vcov, rtol=1e-7)
    scaled = cl.hausman_taylor(FORMULA, data.assign(y=1e6 * data["y"], w=data["w"] / 1e3), **given)
    np.testing.assert_allclose(scaled.params["w"], 1e9 * fit.params["w"], rtol=1e-8)
    np.testing.assert_allclose(scaled.params["a"], 1e6 * fit.params["a"], rtol=1e-8)


def test_rows_with_missing_values_are_dropped_and_counted() -> None:
    data = frame_of(panel_rows(balanced=True))
    data.loc[[3, 17], "a"] = np.nan
    data.loc[40, "g"] = None
    fit = cl.hausman_taylor(FORMULA, data, group="g", endogenous=["d", "e", "w"])
    whole = cl.hausman_taylor(FORMULA, data.dropna(), group="g", endogenous=["d", "e", "w"])
    np.testing.assert_allclose(fit.params, whole.params, rtol=1e-12)
    assert fit.rows.dropped == 3
    with pytest.raises(cl.CrosslevelError, match="3 rows with missing values"):
        cl.hausman_taylor(FORMULA, data, group="g", endogenous=["d"], missing="raise")


def test_without_intercept() -> None:
    rows = panel_rows(balanced=False)
    fit = cl.hausman_taylor("y ~ 0 + a + b + c + d + e + z + w + v", frame_of(rows), group="g", endogenous=["d", "w"])
    twin = two_stage(
        Rows(
            y=rows.y, X=rows.X[:, 1:], codes=rows.codes, period=rows.period, varying=VARYING[1:],
            endogenous=np.array([name in "dw" for name in NAMES[1:]]),
        ),
        "ht",
    )  # fmt: skip
    np.testing.assert_allclose(fit.params, twin.beta, rtol=1e-8)
    assert fit.r_squared == pytest.approx(twin.r_squared, rel=1e-9)


def test_rows_and_predictions() -> None:
    fit, data = wages("ht"), load_data("Wages")
    frame = fit.augment()
    np.testing.assert_allclose(frame["fitted"] + frame["resid"], data["lwage"], rtol=1e-12)
    np.testing.assert_allclose(fit.predict(), frame["fitted"], rtol=1e-12)
    np.testing.assert_allclose(fit.predict(data.head(20)), frame["fitted"].head(20), rtol=1e-12)
    average = fit.predict(effects=False)
    np.testing.assert_allclose(average + frame["effect"], frame["fitted"], rtol=1e-12)
    np.testing.assert_allclose(fit.predict(data.head(20).assign(id=-1)), average.head(20), rtol=1e-12)
    # predicted effects: shares of the group means of what x'beta leaves
    found, left = fit.error_components()["variance"], (data["lwage"] - average).groupby(data["id"]).mean()
    share = 7 * found["id"] / (7 * found["id"] + found["idiosyncratic"])
    effects = fit.group_effects()
    np.testing.assert_allclose(effects["estimate"], share * left, rtol=1e-9)
    np.testing.assert_allclose(effects["std_error"], np.sqrt(found["id"] * (1.0 - share)), rtol=1e-12)


def test_summary_and_the_rest_of_a_result() -> None:
    fit = wages("ht")
    text = str(fit.summary())
    for words in ("Hausman-Taylor regression of lwage", "Constant, endogenous  ed", "Sargan", "standard normal"):
        assert words in text
    assert fit.estimator == "Hausman-Taylor (id)"
    assert fit.contrast(["exp", "expsq"]).df_num == 2
    assert fit.glance().loc[0, "method"] == "hausman-taylor"
    assert fit.converged


# -- wrong input --------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown name": ({"endogenous": ["salary"]}, "'salary', which is no predictor of `formula`. Coefficients: a, b"),
    "the outcome": ({"endogenous": ["y"]}, "'y', which is the outcome"),
    "nothing endogenous": ({"endogenous": []}, "cl.random_effects is the estimator"),
    "no names": ({"endogenous": [1]}, r"as in endogenous=\['education', 'hours'\]; got \[1\]"),
    "a number": ({"endogenous": 2}, "got 2"),
    "method": ({"endogenous": ["d"], "method": "iv"}, r"'am' \(Amemiya-MaCurdy\), .* got 'iv'"),
    "too few": (
        {"endogenous": ["a", "b", "c", "d", "z", "w"]},
        r"2 predictors \(z, w\) that are constant within g, but there is 1 exogenous predictor \(e\) varying within g",
    ),
    "none": ({"endogenous": ["a", "b", "c", "d", "e", "w"]}, "1 predictor .w. that is constant .* are no exogenous"),
    "no time": ({"endogenous": ["d"], "method": "am"}, "`time` is needed"),
    "group": ({"endogenous": ["d"], "group": "firm"}, "`group` uses 'firm', which the data lack"),
    "no group": ({"endogenous": ["d"], "group": None}, "`group` is the column of the groups"),
    "vcov": ({"endogenous": ["d"], "vcov": "CR9"}, "`vcov` is one of 'iid'"),
    "random term": ({"endogenous": ["d"], "formula": "y ~ a + (1 | g)"}, "random term"),
    "constant outcome": ({"endogenous": ["d"], "formula": "v ~ a + d"}, "leaves nothing of 'v' within g"),
    "function of predictors": (
        {"endogenous": ["d"], "formula": "I(a + d + z) ~ a + d"},
        "leaves nothing of .I.a . d . z.. within g",
    ),
    "nothing varies": ({"endogenous": ["w"], "formula": "y ~ z + w"}, "no predictor that varies within g"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(name: str) -> None:
    given, words = WRONG[name]
    arguments = {"formula": FORMULA, "data": frame_of(panel_rows(balanced=True)), "group": "g", **given}
    with pytest.raises(cl.CrosslevelError, match=words):
        cl.hausman_taylor(arguments.pop("formula"), arguments.pop("data"), **arguments)


def test_instruments_by_period_need_whole_panels() -> None:
    data = frame_of(panel_rows(balanced=True))
    given = {"group": "g", "time": "t", "endogenous": ["d", "w"], "method": "am"}
    with pytest.raises(cl.DesignError, match="1 of the 30 groups of g lack some"):
        cl.hausman_taylor(FORMULA, data.drop(index=5), **given)
    with pytest.raises(cl.DesignError, match=r"g 'g01' has 2 rows with t 0"):
        cl.hausman_taylor(FORMULA, data.assign(t=data["t"].where(data.index != 5, 0)), **given)


def test_instruments_that_tell_nothing_apart_are_refused() -> None:
    # the time has the same mean in all groups: enough instruments by number, not by what they hold
    data = frame_of(panel_rows(balanced=True))
    with pytest.raises(cl.DesignError, match="do not identify the coefficients of w"):
        cl.hausman_taylor("y ~ t + w", data, group="g", endogenous=["w"])
