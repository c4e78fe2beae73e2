"""Standard errors and intervals of predictions of panel estimators."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtrit

import crosslevel as cl
from crosslevel.errors import CrosslevelError

COLUMNS = ["estimate", "std_error", "conf_low", "conf_high"]


@cache
def uneven() -> pd.DataFrame:
    """Groups of 2 to 9 rows with a predictor that varies, one that does not, and times."""
    rng = np.random.default_rng(3)
    sizes = rng.integers(2, 10, 25)
    g = np.repeat(np.arange(25), sizes)
    x, z = rng.normal(size=len(g)) + 0.1 * g, rng.normal(size=25)[g]
    y = 1 + x + z + rng.normal(size=25)[g] + rng.normal(size=len(g))
    t = np.concatenate([np.arange(size) for size in sizes])
    return pd.DataFrame({"g": [f"g{k}" for k in g], "x": x, "z": z, "y": y, "t": t})


@cache
def new() -> pd.DataFrame:
    """Rows of known groups, of one that is not, and one without x."""
    return pd.DataFrame(
        {"g": ["g3", "g9", "other", "g1"], "x": [0.5, 2.0, 1.0, np.nan], "z": [0.2, -1.0, 0.0, 1.0]}, index=list("abcd")
    )


def within(**options: Any) -> Any:
    return cl.fixed_effects("y ~ x", uneven(), group="g", **options)


def random(**options: Any) -> Any:
    return cl.random_effects("y ~ x + z", uneven(), group="g", **options)


@pytest.mark.parametrize("interval", ["confidence", "prediction"])
def test_fixed_effects_are_dummies(interval: Any) -> None:
    dummies = cl.ols("y ~ 0 + g + x", uneven())
    theirs = dummies.predict(se=True, interval=interval, level=0.9)
    ours = within().predict(se=True, interval=interval, level=0.9)
    assert list(ours.columns) == COLUMNS
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    found = within().predict(new(), interval=interval)
    known = new().iloc[:2]
    np.testing.assert_allclose(found.loc[["a", "b"]], dummies.predict(known, interval=interval), rtol=1e-9)
    assert found.loc[["c", "d"]].isna().all(axis=None)


def test_the_mean_effect_is_one_of_dummies() -> None:
    dummies = cl.ols("y ~ 0 + g + x", uneven())
    found = within().predict(new(), effects=False, se=True)
    shares = uneven()["g"].value_counts(normalize=True)
    for label in "abc":
        weights = np.array(
            [shares[term[2:-1]] if term.startswith("g[") else new()["x"][label] for term in dummies.terms]
        )
        assert found.loc[label, "estimate"] == pytest.approx(weights @ dummies.beta, rel=1e-9)
        assert found.loc[label, "std_error"] ** 2 == pytest.approx(weights @ dummies.beta_vcov @ weights, rel=1e-8)
    assert found.loc["d"].isna().all()


@pytest.mark.parametrize("interval", ["confidence", "prediction"])
@pytest.mark.parametrize("effects", [True, False])
def test_random_effects_are_a_random_intercept(effects: bool, interval: Any) -> None:
    """With a predictor within groups only, and groups of one size, both have the same variances."""
    sleep = cl.datasets.load("sleepstudy")
    ours = cl.random_effects("Reaction ~ Days", sleep, group="Subject")
    mixed = cl.mixed("Reaction ~ Days + (1 | Subject)", sleep)
    more = pd.DataFrame({"Subject": ["308", "999"], "Days": [11.0, 4.5]})
    for rows in (None, more):
        mine = ours.predict(rows, effects=effects, se=True)
        theirs = mixed.predict(rows, random_effects=effects, se=True)
        np.testing.assert_allclose(mine[COLUMNS[:2]], theirs[COLUMNS[:2]], rtol=1e-6)
        wide = ours.predict(rows, effects=effects, interval=interval)
        added = 0.0
        if interval == "prediction":
            added = mixed.sigma**2 + (0.0 if effects else float(mixed.cov_re["Subject"].iloc[0, 0]))
        half = 1.959963984540054 * np.sqrt(theirs["std_error"] ** 2 + added)
        np.testing.assert_allclose(wide["conf_high"] - wide["estimate"], half, rtol=1e-6)


def test_random_effects_of_uneven_groups_by_matrices() -> None:
    """Henderson's equations of all rows."""
    fit, d = random(), uneven()
    variance = fit.error_components()["variance"]
    x = np.column_stack([np.ones(len(d)), d["x"], d["z"]])
    z = pd.get_dummies(d["g"])[list(fit.group_sizes.index)].to_numpy(dtype=float)
    w = np.hstack([x, z])
    ridge = np.diag([0.0] * 3 + [variance["idiosyncratic"] / variance["g"]] * z.shape[1])
    # the covariance of the fit has the variance of its own residuals, Henderson's that of the components
    scale = fit.sigma**2 / variance["idiosyncratic"]
    errors = variance["idiosyncratic"] * np.linalg.inv(w.T @ w + ridge)
    given = fit.beta_vcov / scale
    np.testing.assert_allclose(errors[:3, :3], given, rtol=1e-8)
    total = np.einsum("ia,ab,ib->i", w, errors, w)
    share = fit.details.weights
    means = np.array([x[z[:, k] > 0].mean(axis=0) for k in range(z.shape[1])])
    contrast = x - (z @ share)[:, None] * (z @ means)
    of_beta = np.einsum("ia,ab,ib->i", contrast, given, contrast)
    np.testing.assert_allclose(
        fit.predict(se=True)["std_error"] ** 2, total + (scale - 1.0) * of_beta, rtol=1e-8
    )  # fmt: skip


@pytest.mark.parametrize("vcov", ["iid", "CR2"])
def test_predictions_of_coefficients_alone(vcov: str) -> None:
    fit = random(vcov=vcov)
    rows = np.array([[1.0, 0.5, 0.2], [1.0, 2.0, -1.0], [1.0, 1.0, 0.0]])
    found = fit.predict(new(), effects=False, interval="confidence").iloc[:3]
    np.testing.assert_allclose(found["estimate"], rows @ fit.beta)
    np.testing.assert_allclose(found["std_error"], np.sqrt(np.diag(rows @ fit.beta_vcov @ rows.T)), rtol=1e-9)
    df = fit.covariance.df(rows)
    half = np.array([1.959963984540054] * 3) if vcov == "iid" else stdtrit(df, 0.975)
    np.testing.assert_allclose(found["conf_high"] - found["estimate"], half * found["std_error"], rtol=1e-9)


def test_means_and_differences_are_regressions() -> None:
    d = uneven()
    means = d.groupby("g")[["x", "z", "y"]].mean()
    between = cl.between("y ~ x + z", d, group="g")
    for interval in ("confidence", "prediction"):
        theirs = cl.ols("y ~ x + z", means).predict(interval=interval)
        np.testing.assert_allclose(between.predict(interval=interval), theirs.loc[list(between.group_sizes.index)])
        theirs = cl.ols("y ~ x + z", means).predict(new(), interval=interval)
        np.testing.assert_allclose(between.predict(new(), interval=interval), theirs)
    steps = d[["x", "y"]].diff()[d["g"] == d["g"].shift()]
    changes = cl.first_difference("y ~ x", d, group="g", time="t")
    found = changes.predict(se=True)
    np.testing.assert_allclose(found, cl.ols("y ~ x", steps).predict(se=True).loc[found.index])


def test_instruments_predict_without_effects() -> None:
    d = uneven().assign(v=np.random.default_rng(4).normal(size=len(uneven())))
    fit = cl.hausman_taylor("y ~ x + v + z", d, group="g", endogenous=["z"])
    found = fit.predict(effects=False, interval="prediction")
    x = np.column_stack([np.ones(len(d)), d[["x", "v", "z"]]])
    own = np.einsum("ia,ab,ib->i", x, fit.beta_vcov, x)
    np.testing.assert_allclose(found["std_error"] ** 2, own, rtol=1e-8)
    whole = own + fit.error_components()["variance"].sum()
    np.testing.assert_allclose(found["conf_high"] - found["estimate"], 1.959963984540054 * np.sqrt(whole), rtol=1e-8)
    with pytest.raises(CrosslevelError, match="Use effects=False"):
        fit.predict(se=True)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "robust": (lambda: within(vcov="CR2").predict(se=True), "this fit has the covariance 'CR2'. Fit with vcov='iid'"),
    "two ways": (lambda: within(time="t", effect="twoways").predict(se=True), "not known for two-way effects"),
    "mean effect": (lambda: within().predict(effects=False, interval="prediction"), "how much outcomes of new rows"),
    "weighted": (
        lambda: cl.between("y ~ x", uneven(), group="g", weighted=True).predict(interval="prediction"),
        "is not known from Between",
    ),
    "interval": (lambda: random().predict(interval="both"), "'confidence', 'prediction' or None; got 'both'"),
    "level": (lambda: random().predict(se=True, level=95), "`level`"),
    "no group": (lambda: within().predict(new()[["x"]], se=True), "'g'"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    call, text = REFUSED[what]
    with pytest.raises(CrosslevelError, match=text):
        call()
