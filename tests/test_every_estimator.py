"""Every estimator answers the same questions, with numbers that agree with each other."""

import re
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import crosslevel as cl
from crosslevel.errors import CrosslevelError

COLUMNS = ["estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high"]


@cache
def rows() -> pd.DataFrame:
    """12 groups g of 9 times t; x, x2 and k vary by row, z and z2 by group."""
    rng = np.random.default_rng(11)
    g, t = np.repeat(np.arange(12), 9), np.tile(np.arange(9), 12)
    x, x2 = rng.standard_normal(108), rng.standard_normal(108) + rng.standard_normal(12)[g]
    z, z2 = rng.standard_normal(12)[g], rng.standard_normal(12)[g]
    y = 1.0 + (1.0 + 0.5 * rng.standard_normal(12)[g]) * x + 0.5 * x2 + z + rng.standard_normal(12)[g]
    y += rng.standard_normal(108)
    group = np.array([f"group {j:02d}" for j in range(12)])[g]
    frame = {"y": y, "x": x, "x2": x2, "b": rng.random(108) < 0.5, "z": z, "z2": z2, "g": group, "t": t}
    return pd.DataFrame(frame).sample(frac=1.0, random_state=2)


def two_step(method: str, second: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda data: cl.two_step("y ~ x + x2", second, data, cluster="g", method=method, **options)  # type: ignore[arg-type]


BOTH = ["x ~ z", "Intercept ~ z"]
LONG = "y ~ x + x2 + b + z"
PANEL = "y ~ x + x2 + b"
ENDOGENOUS: dict[str, Any] = {"group": "g", "endogenous": ["z2"]}

ESTIMATORS: dict[str, Callable[[Any], Any]] = {
    "ols": lambda data: cl.ols(LONG, data),
    "ols HC3": lambda data: cl.ols(LONG, data, vcov="HC3"),
    "ols CR2": lambda data: cl.ols(LONG, data, cluster="g", vcov="CR2"),
    "two-step fgls": two_step("fgls", BOTH),
    "two-step wls": two_step("wls", "x ~ z", vcov="unscaled"),
    "two-step ols": two_step("ols", "x ~ z", vcov="HC3"),
    "two-step adjusted": two_step("adjusted", "x ~ z", covariates=["x2"]),
    "two-step adjusted-fgls": two_step("adjusted-fgls", BOTH),
    "within": lambda data: cl.fixed_effects(PANEL, data, group="g"),
    "within CR2": lambda data: cl.fixed_effects(PANEL, data, group="g", vcov="CR2"),
    "two-way": lambda data: cl.fixed_effects(PANEL, data, group="g", time="t", effect="twoways"),
    "between": lambda data: cl.between("y ~ x2 + z", data, group="g"),
    "first difference": lambda data: cl.first_difference(PANEL, data, group="g", time="t"),
    **{
        f"random {method}": partial(cl.random_effects, LONG, group="g", method=method)
        for method in ("swar", "amemiya", "walhus", "nerlove")
    },
    "ht": lambda data: cl.hausman_taylor(LONG + " + z2", data, **ENDOGENOUS),
    "am": lambda data: cl.hausman_taylor(LONG + " + z2", data, **ENDOGENOUS, time="t", method="am"),
    "bms": lambda data: cl.hausman_taylor(LONG + " + z2", data, **ENDOGENOUS, time="t", method="bms"),
    "mixed": lambda data: cl.mixed(LONG + " + (1 | g)", data),
}  # fmt: skip

LIKELIHOOD = {"ols", "ols HC3", "ols CR2", "within", "within CR2", "two-way", "between", "first difference", "mixed"}
"""Estimators that maximise a likelihood, of their own regression at least."""

REFUSED = {
    "within CR2": "rest on errors that are iid.*Fit with vcov='iid'",
    "two-way": "are not known for two-way effects. Fit one-way effects",
    "first difference": "the level of a new row is not known. Use the predictions of cl.fixed_effects",
    **dict.fromkeys(("ht", "am", "bms"), "are not known for predicted effects.*Use effects=False"),
}
"""What is said of predictions with standard errors where there are none."""


@cache
def fit(name: str) -> Any:
    return ESTIMATORS[name](rows())


@pytest.mark.parametrize("name", ESTIMATORS)
def test_coefficients(name: str) -> None:
    found = fit(name)
    tidy = found.tidy()
    assert list(tidy.columns[:7]) == COLUMNS
    assert tidy.index.name == "term"
    for column, values in zip(COLUMNS, (found.params, found.bse, found.df, found.tvalues, found.pvalues), strict=False):
        pd.testing.assert_series_equal(values, tidy[column], check_names=False, rtol=1e-12)
    assert np.isfinite(tidy.drop(columns="df")).all(axis=None)
    assert (tidy["df"] > 0.0).all()
    np.testing.assert_allclose(np.sqrt(np.diag(found.vcov)), found.bse, rtol=1e-10)
    np.testing.assert_allclose(found.vcov, found.vcov.T, rtol=1e-10, atol=1e-14)
    assert list(found.vcov.index) == list(found.vcov.columns) == list(tidy.index)
    np.testing.assert_allclose(tidy["estimate"] / tidy["std_error"], tidy["statistic"], rtol=1e-10)
    pd.testing.assert_frame_equal(found.conf_int(), tidy[["conf_low", "conf_high"]])
    narrow = found.conf_int(level=0.5)
    assert ((narrow["conf_low"] > tidy["conf_low"]) & (narrow["conf_high"] < tidy["conf_high"])).all()
    pd.testing.assert_frame_equal(found.tidy(level=0.5)[["conf_low", "conf_high"]], narrow)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_likelihood_or_why_there_is_none(name: str) -> None:
    found = fit(name)
    if name in LIKELIHOOD:
        assert found.deviance == pytest.approx(-2.0 * found.loglik, rel=1e-12)
        assert found.deviance < found.aic < found.bic
        return
    for what in ("loglik", "deviance", "aic", "bic"):
        with pytest.raises(CrosslevelError, match=r"maximises no likelihood.*cl\.mixed"):
            getattr(found, what)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_rows(name: str) -> None:
    found = fit(name)
    frame = found.augment()
    outcome = frame["fitted"] + frame["resid"]
    assert any(
        np.allclose(outcome, frame[column], rtol=1e-10)
        for column in frame.select_dtypes("number").columns
        if column not in ("fitted", "resid")
    )
    np.testing.assert_allclose(found.fitted, frame["fitted"], rtol=1e-12)
    np.testing.assert_allclose(found.resid, frame["resid"], rtol=1e-12, atol=1e-14)
    assert np.isfinite(found.predict()).all()
    if name in REFUSED:
        with pytest.raises(CrosslevelError, match=REFUSED[name]):
            found.predict(rows(), interval="confidence")
        return
    assert np.isfinite(found.predict(rows())).all()
    bounds = found.predict(rows().head(5), interval="confidence")
    assert list(bounds.columns) == ["estimate", "std_error", "conf_low", "conf_high"]
    wide = found.predict(rows().head(5), interval="confidence", level=0.99)
    assert (wide["conf_high"] - wide["conf_low"] > bounds["conf_high"] - bounds["conf_low"]).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_words(name: str) -> None:
    found = fit(name)
    assert found.formula.startswith("y ~ ")
    assert found.converged is True
    assert found.status.endswith(".")
    assert found.nobs in (108, 96, 12)
    assert all(isinstance(count, int) for count in found.ngroups.values())
    assert {"nobs", "converged"} <= set(found.glance().columns)
    text = str(found.summary())
    assert text == str(found)
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"\bnan\b|\binf\b|\d\.\d{8}|\b1 (rows|groups|clusters)\b", text, re.IGNORECASE)
    assert "<table" in found._repr_html_()
    assert isinstance(found.estimator, str)
    assert all(note.endswith((".", ")")) for note in found.notes)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_order_of_rows_units_and_libraries(name: str) -> None:
    found, wanted = fit(name), fit(name).tidy()
    other = rows().sample(frac=1.0, random_state=7)
    pd.testing.assert_frame_equal(
        ESTIMATORS[name](pl.from_pandas(other)).tidy(), wanted, rtol=1e-6 if name == "mixed" else 1e-9
    )
    far = ESTIMATORS[name](other.assign(y=1e6 * other["y"], x=1e-6 * other["x"], z=other["z"] + 1e6)).tidy()
    for term in [term for term in wanted.index if not term.endswith("Intercept")]:
        about_x = term == "x" or (found.formula == "y ~ x + x2" and not term.startswith("Intercept"))
        scale = 1e12 if about_x else 1e6
        for column, by in {"estimate": scale, "std_error": scale, "df": 1.0, "statistic": 1.0}.items():
            assert far.loc[term, column] == pytest.approx(by * wanted.loc[term, column], rel=1e-6), (term, column)


def test_all_in_one_comparison() -> None:
    fits = {name: fit(name) for name in ESTIMATORS}
    found = cl.compare(fits, baseline="ols CR2")
    assert set(found.frame["estimator"]) == set(ESTIMATORS)
    assert not re.search(r"\bnan\b", str(found), re.IGNORECASE)
