"""Two-step regressions: against the reference, regressions fitted cluster by cluster from rows, and their promises."""

from __future__ import annotations

import json
import tracemalloc
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from reference_cases import FOLDER, load_data

import crosslevel as cl
from crosslevel.errors import CrosslevelError

REFERENCE = json.loads((FOLDER / "two_step" / "Hsb82__two_step_lewis_linzer.json").read_text(encoding="utf-8"))
METHODS = {"fgls": "fgls", "ols": "ols", "wls": "wls_inverse_sampling_variance"}
OUTCOMES = {"slope": "cses", "intercept": "Intercept"}
TERMS = {"(Intercept)": "Intercept", "sectorCatholic": "sector[Catholic]", "meanses": "meanses"}
SECOND = ["cses ~ sector + meanses", "Intercept ~ sector + meanses"]


@cache
def hsb_fit(method: str = "fgls") -> Any:
    return cl.two_step("mAch ~ cses", SECOND, load_data("Hsb82"), cluster="school", method=method)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("method", METHODS)
def test_reference(method: str, outcome: str) -> None:
    theirs, fit = REFERENCE[outcome][METHODS[method]], hsb_fit(method)
    terms = [f"{OUTCOMES[outcome]}: {TERMS[name]}" for name in theirs["coef"]]
    np.testing.assert_allclose(fit.params[terms], list(theirs["coef"].values()), rtol=1e-11)
    np.testing.assert_allclose(fit.bse[terms], list(theirs["se"].values()), rtol=1e-11)
    np.testing.assert_allclose(fit.vcov.loc[terms, terms], theirs["vcov"], rtol=1e-11)
    for name in ("hc0", "hc2", "hc3"):
        np.testing.assert_allclose(fit.tests(name.upper()).loc[terms, "std_error"], theirs[f"se_{name}"], rtol=1e-11)
    if "vcov_unscaled" in theirs:
        found = fit.tests("unscaled").loc[terms, "std_error"]
        np.testing.assert_allclose(found, list(theirs["se_unscaled"].values()), rtol=1e-11)
        np.testing.assert_allclose(found**2, np.diag(theirs["vcov_unscaled"]), rtol=1e-11)
    rows = fit.augment().loc[OUTCOMES[outcome]]
    sigma = np.sqrt(np.sum(rows["weight"] * rows["resid"] ** 2) / fit.df_residual[OUTCOMES[outcome]])
    assert sigma == pytest.approx(theirs["sigma"], rel=1e-11)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_reference_variances(outcome: str) -> None:
    theirs, plain, name = REFERENCE[outcome], hsb_fit("ols"), OUTCOMES[outcome]
    assert len(plain.first_step) == theirs["N"]
    assert plain.df_residual[name] == theirs["N"] - theirs["k"]
    assert np.sum(plain.augment().loc[name, "resid"] ** 2) == pytest.approx(theirs["sum_e2"], rel=1e-11)
    assert np.sum(plain.omega[name] ** 2) == pytest.approx(theirs["sum_omega2"], rel=1e-11)
    assert plain.sigma2.loc[name, "raw"] == pytest.approx(theirs["sigma2_raw"], rel=1e-9)
    assert plain.sigma2.loc[name, "used"] == pytest.approx(theirs["sigma2_hat"], rel=1e-11)


def test_reference_first_step() -> None:
    ours = hsb_fit().first_step
    theirs = pd.DataFrame(REFERENCE["step1"]).T.loc[ours.index.astype(str)]
    names = {
        "Intercept": "intercept",
        "cses": "slope",
        "se: Intercept": "se_intercept",
        "se: cses": "se_slope",
        "n": "n",
    }
    for mine, other in {**names, "n": "n"}.items():
        np.testing.assert_allclose(ours[mine], theirs[other].astype(float), rtol=1e-11)
    first = pd.DataFrame(REFERENCE["step1_first10"]).set_index("school")
    mine = ours.set_axis(ours.index.astype(str)).loc[first.index]
    np.testing.assert_allclose(mine["sigma"], first["sigma"], rtol=1e-11)


# -- regressions fitted from rows -----------------------------------------------------------------------------------


def drawn(n_clusters: int = 14, seed: int = 3) -> pd.DataFrame:
    """Clusters of 25 to 50 rows, with a context variable that explains the slope of x1."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(25, 51, n_clusters)
    g = np.repeat(np.arange(n_clusters), sizes)
    x1, x2 = rng.standard_normal((2, len(g)))
    f = rng.choice(["a", "b", "c"], len(g))
    z, size = rng.standard_normal(n_clusters), rng.uniform(1.0, 3.0, n_clusters)
    slope = 1.0 + 0.5 * z + 0.4 * rng.standard_normal(n_clusters)
    y = rng.standard_normal(n_clusters)[g] + slope[g] * x1 + 0.3 * x2 + (f == "b") + rng.standard_normal(len(g))
    return pd.DataFrame({"y": y, "x1": x1, "x2": x2, "f": f, "z": z[g], "size": size[g], "g": g, "h": g % 3})


def by_rows(frame: pd.DataFrame, columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and standard errors of each cluster by least squares on its rows."""
    beta, errors = [], []
    for _, place in frame.groupby("g").indices.items():
        x, y = np.column_stack([column[place] for column in columns]), frame["y"].to_numpy()[place]
        b, *_ = np.linalg.lstsq(x, y, rcond=None)
        s2 = np.sum((y - x @ b) ** 2) / (len(y) - x.shape[1])
        beta.append(b)
        errors.append(np.sqrt(s2 * np.diag(np.linalg.inv(x.T @ x))))
    return np.array(beta), np.array(errors)


@pytest.mark.parametrize(
    ("first", "names"),
    [
        ("y ~ x1 + x2", ["Intercept", "x1", "x2"]),
        ("y ~ 0 + x1 + x2", ["x1", "x2"]),
        ("y ~ x1 * f", ["Intercept", "x1", "f[b]", "f[c]", "x1:f[b]", "x1:f[c]"]),
        ("y ~ 1", ["Intercept"]),
    ],
)
def test_first_step_is_least_squares_on_rows(first: str, names: list[str]) -> None:
    frame = drawn()
    atoms = {"Intercept": np.ones(len(frame)), "x1": frame["x1"].to_numpy(), "x2": frame["x2"].to_numpy()}
    atoms |= {f"f[{level}]": (frame["f"] == level).to_numpy(dtype=float) for level in "abc"}
    columns = [np.prod([atoms[part] for part in name.split(":")], axis=0) for name in names]
    beta, errors = by_rows(frame, columns)
    fit = cl.two_step(first, {names[0]: "z"}, frame, cluster="g")
    np.testing.assert_allclose(fit.first_step[names], beta, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(fit.first_step[[f"se: {name}" for name in names]], errors, rtol=1e-9)


def test_pooled_variance_and_small_clusters() -> None:
    frame = drawn()
    small = frame.groupby("g").head(3).query("g < 2")  # three rows for three coefficients
    frame = pd.concat([frame[frame["g"] >= 2], small])
    own = cl.two_step("y ~ x1 + x2", "x1 ~ z", frame, cluster="g")
    assert list(own.left_out.index) == [0, 1]
    assert own.left_out["reason"].tolist() == ["3 rows for 3 coefficients; at least 4 are needed"] * 2
    assert own.left_out["rows"].tolist() == [3, 3]
    assert not [note for note in own.notes if "degrees of freedom" in note]
    pooled = cl.two_step("y ~ x1 + x2", "x1 ~ z", frame, cluster="g", first_variance="pooled")
    assert pooled.left_out.empty
    assert pooled.ngroups == {"g": 14}
    weights = own.first_step["n"] - 3
    sigma2 = np.sum(weights * own.first_step["sigma"] ** 2) / np.sum(weights)
    np.testing.assert_allclose(pooled.first_step["sigma"] ** 2, sigma2, rtol=1e-10)
    np.testing.assert_allclose(pooled.params, by_hand(pooled, "x1", frame), rtol=1e-9)


def by_hand(fit: Any, name: str, frame: pd.DataFrame) -> np.ndarray:
    """FGLS on the first step's frame, as Lewis & Linzer write it."""
    step = fit.first_step
    y, g = step[name].to_numpy(), np.diag(step[f"se: {name}"] ** 2)
    x = np.column_stack([np.ones(len(step)), frame.groupby("g")["z"].first().loc[step.index]])
    hat = x @ np.linalg.inv(x.T @ x) @ x.T
    e = y - hat @ y
    sigma2 = (e @ e - np.trace(g) + np.trace(np.linalg.inv(x.T @ x) @ x.T @ g @ x)) / (len(y) - 2)
    w = np.linalg.inv(g + max(sigma2, 0.0) * np.eye(len(y)))
    assert fit.sigma2.loc[name, "raw"] == pytest.approx(sigma2, rel=1e-9)
    return np.asarray(np.linalg.solve(x.T @ w @ x, x.T @ w @ y))


def test_clusters_left_out_are_listed_with_the_reason() -> None:
    frame = drawn()
    frame.loc[frame["g"] == 0, "x1"] = 4.0
    frame.loc[frame["g"] == 1, "x2"] = 2.0 * frame["x1"] - 1.0
    frame.loc[frame["g"] == 2, "y"] = 7.0
    frame.loc[frame["g"] == 3, "y"] = frame["x1"] + 2.0
    frame.loc[frame["g"] == 4, "z"] = np.nan
    frame.loc[frame["g"] == 5, "y"] = np.nan
    frame = frame.drop(frame[frame["g"] == 6].index[1:])
    fit = cl.two_step("y ~ x1 + x2", "x1 ~ z", frame, cluster="g")
    reasons = fit.left_out["reason"].to_dict()
    assert reasons == {
        0: "no variation in x1",
        1: "x2 is determined by the other predictors",
        2: "no variation in y",
        3: "the predictors reproduce y exactly",
        4: "no value of z",
        5: "0 rows for 3 coefficients; at least 4 are needed",
        6: "1 row for 3 coefficients; at least 4 are needed",
    }
    assert fit.ngroups == {"g": 7}
    assert fit.nobs == fit.first_step["n"].sum() == np.sum(frame["g"] >= 7)
    text = str(fit.summary())
    assert "7 of 14 (g)" in text
    assert "7 of 14 clusters of g are left out (0, 1, 2, 3, 5, ...)" in " ".join(text.split())
    rest = cl.two_step("y ~ x1 + x2", "x1 ~ z", frame[frame["g"] >= 7], cluster="g")
    pd.testing.assert_frame_equal(rest.tidy(), fit.tidy(), rtol=1e-9)


# -- invariance -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fgls", "ols", "wls"])
def test_row_order_units_and_libraries(method: str) -> None:
    frame, second = drawn(), ["x1 ~ z + size", "x2 ~ z"]
    fit = cl.two_step("y ~ x1 + x2", second, frame, cluster="g", method=method)
    mixed_up = frame.sample(frac=1.0, random_state=1)
    for other in (mixed_up, pl.from_pandas(mixed_up)):
        again = cl.two_step("y ~ x1 + x2", second, other, cluster="g", method=method)
        pd.testing.assert_frame_equal(again.tidy(), fit.tidy(), rtol=1e-9)
        pd.testing.assert_frame_equal(again.first_step, fit.first_step, rtol=1e-9)
    moved = frame.assign(x1=100.0 * frame["x1"] + 1e4, y=frame["y"] + 1e5, z=1e6 + frame["z"])
    again = cl.two_step("y ~ x1 + x2", second, moved, cluster="g", method=method)
    np.testing.assert_allclose(again.params["x1: z"] * 100.0, fit.params["x1: z"], rtol=1e-8)
    np.testing.assert_allclose(again.bse["x1: z"] * 100.0, fit.bse["x1: z"], rtol=1e-8)
    np.testing.assert_allclose(again.tvalues["x2: z"], fit.tvalues["x2: z"], rtol=1e-8)


def test_weights_are_repeated_rows_or_precisions() -> None:
    frame = drawn().assign(w=lambda data: 1 + (np.arange(len(data)) % 3))
    repeated = frame.loc[frame.index.repeat(frame["w"])]
    weighted = cl.two_step("y ~ x1", "x1 ~ z", frame, cluster="g", weights=cl.Frequency("w"))
    plain = cl.two_step("y ~ x1", "x1 ~ z", repeated, cluster="g")
    pd.testing.assert_frame_equal(weighted.tidy(), plain.tidy(), rtol=1e-9)
    pd.testing.assert_frame_equal(weighted.first_step, plain.first_step, rtol=1e-9)
    means = weighted.update(second="x1 ~ between(x2 > 0, g)")
    pd.testing.assert_frame_equal(means.tidy(), plain.update(second="x1 ~ between(x2 > 0, g)").tidy(), rtol=1e-9)
    precise = cl.two_step("y ~ x1", "x1 ~ z", frame, cluster="g", weights=cl.Precision("w"))
    one = cl.ols("y ~ x1", frame[frame["g"] == 3], weights=cl.Precision("w"))
    np.testing.assert_allclose(precise.first_step.loc[3, ["Intercept", "x1"]].astype(float), one.params, rtol=1e-9)
    np.testing.assert_allclose(precise.first_step.loc[3, ["se: Intercept", "se: x1"]].astype(float), one.bse, rtol=1e-9)


# -- the formula of the second step ------------------------------------------------------------------------------------


def test_second_step_is_evaluated_on_clusters() -> None:
    frame = drawn()
    fit = cl.two_step("y ~ x1 + f", "f[b] ~ center(z) * C(h) + between(x2, g)", frame, cluster="g", method="ols")
    above = frame.groupby("g").agg(z=("z", "first"), h=("h", "first"), x2=("x2", "mean"))
    above["outcome"] = fit.first_step["f[b]"]
    above["z"] -= above["z"].mean()  # the mean over clusters, not over rows
    other = cl.ols("outcome ~ z * C(h) + x2", above)
    pd.testing.assert_frame_equal(fit.tidy(), other.tidy().set_axis(fit.params.index), rtol=1e-9)
    pd.testing.assert_frame_equal(
        fit.tests("HC3"), other.tests("HC3").set_axis(fit.params.index), rtol=1e-9
    )  # fmt: skip
    assert list(fit.params.index)[-3:] == ["between(x2, g)", "center(z):C(h)[1]", "center(z):C(h)[2]"]


def test_outcomes_are_named_as_coefficients_are_printed() -> None:
    frame = drawn()
    for second in (["f[b]:x1 ~ z"], {"x1:f[b]": "z"}, {"`x1:f[b]`": "~ z"}, "x1:f[b]~z"):
        fit = cl.two_step("y ~ x1 * f", second, frame, cluster="g")
        assert fit.second == ("x1:f[b] ~ 1 + z",)
        assert list(fit.params.index) == ["Intercept", "z"]
    both = cl.two_step("y ~ within(x1, g)", ["within(x1,g) ~ z", "Intercept ~ 0 + z"], frame, cluster="g")
    assert list(both.params.index) == ["within(x1, g): Intercept", "within(x1, g): z", "Intercept: z"]


def test_covariance_across_outcomes() -> None:
    """The sum of two coefficients is itself a coefficient, of y on x1 - x2 and x1 + x2."""
    frame = drawn().assign(a=lambda data: data["x1"] + data["x2"], b=lambda data: data["x1"] - data["x2"])
    both = cl.two_step("y ~ x1 + x2", ["x1 ~ z", "x2 ~ z"], frame, cluster="g", method="ols")
    turned = cl.two_step("y ~ a + b", "a ~ z", frame, cluster="g", method="ols")  # (x1 + x2) / 2
    for kind in ("scaled", "HC0", "HC3"):
        v = both.covariance_by(kind).matrix
        spread = np.sqrt(0.25 * (v[1, 1] + v[3, 3] + 2.0 * v[1, 3]))
        assert spread == pytest.approx(turned.tests(kind).loc["z", "std_error"], rel=1e-9)
    for words in ("0.5 * x1: z + 0.5 * x2: z", {"x1: z": 0.5, "x2: z": 0.5}):
        assert both.contrast(words).p_value == pytest.approx(turned.pvalues["z"], rel=1e-9)


def test_predictions_and_rows() -> None:
    frame = drawn()
    fit = cl.two_step("y ~ x1", "x1 ~ z + between(x2, g)", frame, cluster="g")
    rows = fit.augment()
    np.testing.assert_allclose(rows["fitted"] + rows["resid"], rows["x1"], rtol=1e-12)
    np.testing.assert_allclose(fit.predict(), rows["fitted"], rtol=1e-12)
    one = frame.groupby("g").head(1)
    np.testing.assert_allclose(fit.predict(one), rows["fitted"], rtol=1e-12)
    found = fit.predict(one.assign(z=[np.nan] + [0.0] * 13), interval="prediction")
    assert np.isnan(found.iloc[0]).all()
    plain = fit.predict(one.assign(z=0.0), interval="confidence")
    used = fit.sigma2.loc["x1", "used"]
    assert used > 0.0
    quantile = (plain["conf_high"] - plain["estimate"]) / plain["std_error"]
    half = quantile * np.sqrt(plain["std_error"] ** 2 + used)
    np.testing.assert_allclose(found["conf_high"].iloc[1:], (plain["estimate"] + half).iloc[1:], rtol=1e-12)
    assert fit.glance().loc[0, "n_groups"] == 14


# -- words -------------------------------------------------------------------------------------------------------------


def test_weights_from_few_degrees_of_freedom_are_told() -> None:
    frame = drawn().groupby("g").head(12)
    words = "In 14 of 14 clusters the residual variance of the first step"
    assert words in " ".join(cl.two_step("y ~ x1 + x2", "x1 ~ z", frame, cluster="g").notes)
    for options in ({"method": "ols"}, {"first_variance": "pooled"}):
        assert words not in " ".join(cl.two_step("y ~ x1 + x2", "x1 ~ z", frame, cluster="g", **options).notes)


def test_summary_tells_what_was_floored() -> None:
    fit = hsb_fit()
    text = " ".join(str(fit.summary()).split())
    assert "The variance of cses beyond sampling is estimated as negative (-0.0455) and set to zero" in text
    assert "160 (school), 14 to 67 rows in each" in text
    assert fit.estimator == "Two-step, FGLS"
    assert "<table" in fit._repr_html_()
    assert fit.sigma2.loc["cses", "used"] == 0.0
    wls = hsb_fit("wls")
    np.testing.assert_allclose(fit.params.iloc[:3], wls.params.iloc[:3], rtol=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "options", "words"),
    [
        ("y ~ x1", "x1 ~ x2", {}, "`second` uses 'x2' as a context variable, but it varies within 14 of the 14"),
        ("y ~ x1", "x1 ~ x2", {}, r"Use its mean in each cluster, between\(x2, g\)"),
        ("y ~ x1", "x1 ~ f", {}, r"in 0 it is '.', '.', '.'\. .*between\(I\(f == '.'\), g\)"),
        ("y ~ x1", "x3 ~ z", {}, "`second` explains 'x3', which is no coefficient of the first step"),
        ("y ~ x1", ["x1 ~ z", "x1 ~ size"], {}, "explains 'x1' twice"),
        ("y ~ x1", "x1 ~ nope", {}, "`second` uses 'nope', which the data lack"),
        ("y ~ nope", "x1 ~ z", {}, "`first` uses 'nope', which the data lack"),
        ("y ~ x1", "x1 ~ (1 | h)", {}, "its rows are clusters"),
        ("y ~ x1 + (1 | g)", "x1 ~ z", {}, "`first` has a random term over g"),
        ("y ~ x1 + z", "x1 ~ z", {}, r"no variation in z \(14 clusters\). Predictors have to vary within clusters"),
        ("y ~ x1", "x1 ~ C(g)", {}, "it takes more clusters than coefficients"),
        ("y ~ x1", "x1 ~ z +", {}, "`second` cannot be read"),
        ("y ~ x1", "z", {}, "there is no ~"),
        ("y ~ x1", 3, {}, "`second` is a formula such as 'x1 ~ z'"),
        ("y ~ x1", "x1 ~ z", {"method": "gls"}, "`method` is one of 'fgls', 'ols', 'wls'"),
        ("y ~ x1", "x1 ~ z", {"vcov": "CR2"}, "`vcov` is one of 'scaled', 'unscaled', 'HC0'"),
        ("y ~ x1", "x1 ~ z", {"vcov": "unscaled", "method": "ols"}, "takes weights at their word"),
        ("y ~ x1", "x1 ~ z", {"covariates": ["x1"]}, "`covariates` are those of method='adjusted'"),
        ("y ~ x1", "x1 ~ z", {"first_variance": "none"}, "`first_variance` is 'own' or 'pooled'"),
        ("y ~ x1", "x1 ~ z", {"cluster": ["g"]}, "`cluster` is the name of one column"),
        ("y ~ x1", "x1 ~ z", {"cluster": "country"}, "`cluster` uses 'country', which the data lack"),
        ("y ~ x1", "x1 ~ z", {"weights": "w"}, "`weights` has to say what they mean"),
        ("y ~ x1", "x1 ~ z", {"weights": cl.Sampling("size")}, "`weights` are sampling weights"),
        (4, "x1 ~ z", {}, "`first` is text"),
    ],
)  # fmt: skip
def test_wrong_input(first: Any, second: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(cl.CrosslevelError, match=words):
        cl.two_step(first, second, drawn(), **{"cluster": "g", **options})


def test_missing_is_counted_or_refused() -> None:
    frame = drawn()
    frame.loc[[0, 5, 40], "x2"] = np.nan
    fit = cl.two_step("y ~ x1", "x1 ~ between(x2, g)", frame, cluster="g")
    assert fit.rows.dropped == 3
    assert "3 of" in fit.notes[0]
    with pytest.raises(cl.CrosslevelError, match=r"3 rows with missing values: x2 \(3\)"):
        cl.two_step("y ~ x1 + x2", "x1 ~ z", frame, cluster="g", missing="raise")
    frame.loc[frame["g"] == 4, "z"] = np.nan
    with pytest.raises(cl.CrosslevelError, match="no value of z for 1 clusters, such as 4"):
        cl.two_step("y ~ x1", "x1 ~ z", frame, cluster="g", missing="raise")


def test_a_context_variable_known_in_some_rows_is_known() -> None:
    frame = drawn()
    whole = cl.two_step("y ~ x1", "x1 ~ z", frame, cluster="g")
    frame.loc[frame.index % 3 > 0, "z"] = np.nan
    pd.testing.assert_frame_equal(cl.two_step("y ~ x1", "x1 ~ z", frame, cluster="g").tidy(), whole.tidy())


def test_update_reads_no_rows_where_the_first_step_stays() -> None:
    frame = drawn()
    fit = cl.two_step("y ~ x1 + x2", "x1 ~ z", frame, cluster="g")
    for changes in ({"method": "ols"}, {"vcov": "HC3"}, {"method": "adjusted", "covariates": ["x2"]}):
        again = fit.update(**changes)
        pd.testing.assert_frame_equal(
            again.tidy(), cl.two_step("y ~ x1 + x2", "x1 ~ z", frame, cluster="g", **changes).tidy()
        )
        assert again.first_step is fit.first_step or again.separate is fit.separate
    other = fit.update(second="x2 ~ z", first_variance="pooled")
    assert other.second == ("x2 ~ 1 + z",)
    with pytest.raises(cl.CrosslevelError, match="`method` is one of"):
        fit.update(method="gls")


def test_categories_keep_their_order_in_every_library() -> None:
    frame = drawn()
    frame["c"] = pd.Categorical(np.where(frame["g"] % 2, "u", "v"), categories=["u", "v"])
    frame.loc[frame.index % 4 == 0, "c"] = np.nan
    fit = cl.two_step("y ~ x1", "x1 ~ c", frame, cluster="g")
    again = cl.two_step("y ~ x1", "x1 ~ c", pl.from_pandas(frame), cluster="g")
    pd.testing.assert_frame_equal(again.tidy(), fit.tidy())
    assert fit.params.index[1] == "c[v]"


@pytest.mark.parametrize("method", ["fgls", "wls", "adjusted", "adjusted-fgls"])
def test_standard_errors_of_predictions_far_from_zero(method: str) -> None:
    frame = drawn()
    given = {"cluster": "g", "method": method} | ({"covariates": ["x2"]} if method.startswith("adjusted") else {})
    kinds = ("scaled", "unscaled", "HC2") if method == "fgls" else ("scaled",)
    for kind in kinds:
        near = cl.two_step("y ~ x1 + x2", "x1 ~ z", frame, vcov=kind, **given)
        far = cl.two_step("y ~ x1 + x2", "x1 ~ z", frame.assign(z=frame["z"] + 1e9), vcov=kind, **given)
        x = np.column_stack([np.ones(14), near.augment()["z"]])
        errors = near.predict(se=True)["std_error"]
        np.testing.assert_allclose(errors, np.sqrt(np.sum(x @ near.vcov.to_numpy() * x, axis=1)), rtol=1e-10)
        np.testing.assert_allclose(far.predict(se=True)["std_error"], errors, rtol=1e-5)


def test_predictions_for_many_clusters_take_little_memory() -> None:
    rng, g = np.random.default_rng(2), np.repeat(np.arange(3000), 4)
    frame = pd.DataFrame({"x": rng.standard_normal(12_000), "y": rng.standard_normal(12_000), "z": g % 7, "g": g})
    fit = cl.two_step("y ~ x", "x ~ z", frame, cluster="g")
    tracemalloc.start()
    fit.predict(se=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


def test_no_likelihood_is_said() -> None:
    for name in ("loglik", "deviance", "aic", "bic"):
        with pytest.raises(CrosslevelError, match="Two-step, FGLS maximises no likelihood"):
            getattr(hsb_fit(), name)
