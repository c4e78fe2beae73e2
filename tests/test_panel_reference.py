"""Panel estimators against plm (tests/reference/panel): every number of every file."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from reference_cases import FOLDER, load_data

import crosslevel as cl
from crosslevel.inference.panel.covariance import panel_covariance
from crosslevel.inference.panel.quasi import QuasiRows, pooled_regression

KEYS = {"Grunfeld": ("firm", "year"), "Crime": ("county", "year"), "Wages": ("id", "time")}
RANDOM = ("swar", "amemiya", "walhus", "nerlove")
MODELS = ("within", "within_twoways", "between", "first_difference", *(f"random_{method}" for method in RANDOM))
CASES = [(name, model) for name in KEYS for model in MODELS]
CASES += [(name, "mundlak_random") for name in ("Grunfeld", "Wages")]
RTOL = 1e-9


@cache
def expected(name: str, model: str) -> dict[str, Any]:
    return json.loads((FOLDER / "panel" / f"{name}__{model}.json").read_text(encoding="utf-8"))


@cache
def fitted(name: str, model: str) -> Any:
    formula, data, (group, time) = expected(name, model)["formula"], load_data(name), KEYS[name]
    if model == "between":
        return cl.between(formula, data, group=group)
    if model == "first_difference":
        return cl.first_difference(formula, data, group=group, time=time)
    if model == "within":
        return cl.fixed_effects(formula, data, group=group, time=time)
    if model == "within_twoways":
        return cl.fixed_effects(formula, data, group=group, time=time, effect="twoways")
    method = model.removeprefix("random_")
    return cl.random_effects(formula, data, group=group, method="swar" if method == "mundlak_random" else method)


def ours(r_name: str) -> str:
    """`unionyes` is `union[yes]`."""
    if r_name == "(Intercept)":
        return "Intercept"
    return r_name.replace("yes", "[yes]") if r_name.endswith("yes") else r_name


def assert_same_matrix(found: np.ndarray, theirs: list[list[float]], rtol: float = 1e-8) -> None:
    """Elements relative to the standard errors, as covariances may be zero."""
    other = np.array(theirs)
    size = np.sqrt(np.diag(other))
    np.testing.assert_allclose(found / np.outer(size, size), other / np.outer(size, size), rtol=0.0, atol=rtol)


@pytest.mark.parametrize(("name", "model"), CASES)
def test_coefficients(name: str, model: str) -> None:
    fit, theirs = fitted(name, model), expected(name, model)
    assert list(fit.terms) == [ours(term) for term in theirs["coef_names"]]
    np.testing.assert_allclose(fit.params, list(theirs["coef"].values()), rtol=RTOL)
    np.testing.assert_allclose(fit.bse, list(theirs["se"].values()), rtol=RTOL)
    assert_same_matrix(fit.vcov.to_numpy(), theirs["vcov"], 1e-9)
    np.testing.assert_allclose(fit.pvalues, list(theirs["p_value"].values()), rtol=1e-7, atol=1e-300)
    assert np.all(np.isinf(fit.df)) == (theirs["stat_type"] == "z-value")


@pytest.mark.parametrize(("name", "model"), CASES)
def test_fit(name: str, model: str) -> None:
    fit, theirs = fitted(name, model), expected(name, model)
    assert (fit.nobs, fit.df_residual) == (theirs["nobs"], theirs["df_residual"])
    assert fit.rss == pytest.approx(theirs["rss"], rel=RTOL)
    assert fit.r_squared == pytest.approx(theirs["r_squared"]["rsq"], rel=RTOL)
    assert fit.adj_r_squared == pytest.approx(theirs["r_squared"]["adjrsq"], rel=RTOL)
    frame = fit.augment()
    found = frame["resid_transformed" if "random" in model else "resid"]
    np.testing.assert_allclose(found[:10], theirs["resid_head"], rtol=1e-8, atol=1e-9 * fit.sigma)


ROBUST = [(name, model) for name, model in CASES if model != "between"]


@pytest.mark.parametrize(("name", "model"), ROBUST)
def test_arellano(name: str, model: str) -> None:
    fit, theirs = fitted(name, model), expected(name, model)
    for kind in ("HC0", "HC1", "HC3"):
        factor = 1.0
        if kind == "HC1" and model == "first_difference":  # plm counts the rows before they are differenced
            p, rows = len(fit.terms), fit.rows.used
            factor = (rows - p) / (fit.nobs - p)
        found = fit.covariance_by(f"arellano-{kind}").matrix
        assert_same_matrix(found / factor, theirs[f"vcovHC_arellano_{kind}"])
    np.testing.assert_allclose(
        fit.covariance_by("CR0").matrix, fit.covariance_by("arellano-HC0").matrix, rtol=1e-8,
        atol=1e-12 * np.max(fit.covariance_by("CR0").matrix),
    )  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_effects_of_groups(name: str) -> None:
    one, two = expected(name, "within"), expected(name, "within_twoways")
    assert fitted(name, "within").details.intercept == pytest.approx(one["intercept_overall"], rel=RTOL)
    assert fitted(name, "within_twoways").details.intercept == pytest.approx(two["intercept_overall"], rel=RTOL)
    if "fixed_effects" not in one:
        assert name == "Wages"
        return
    effects = fitted(name, "within").group_effects()
    np.testing.assert_allclose(effects["estimate"], list(one["fixed_effects"].values()), rtol=RTOL)
    assert [str(level) for level in effects.index] == list(one["fixed_effects"])
    # plm's levels of a two-way model are those at the first time
    details = fitted(name, "within_twoways").details
    found = details.effects + details.time_effects[0]
    np.testing.assert_allclose(found, list(two["fixed_effects"].values()), rtol=RTOL)


RANDOM_CASES = [(name, model) for name, model in CASES if "random" in model]


@pytest.mark.parametrize(("name", "model"), RANDOM_CASES)
def test_error_components(name: str, model: str) -> None:
    fit, theirs = fitted(name, model), expected(name, model)["ercomp"]
    found = fit.error_components()["variance"]
    assert found["idiosyncratic"] == pytest.approx(theirs["sigma2"]["idios"], rel=RTOL)
    assert found[KEYS[name][0]] == pytest.approx(theirs["sigma2"]["id"], rel=RTOL)
    np.testing.assert_allclose(fit.details.theta, theirs["theta"][0], rtol=RTOL)


@pytest.mark.parametrize("name", KEYS)
def test_pooling_is_ordinary_regression(name: str) -> None:
    theirs, group = expected(name, "pooling"), KEYS[name][0]
    fit = cl.ols(theirs["formula"], load_data(name), cluster=group, vcov="iid")
    np.testing.assert_allclose(fit.params, list(theirs["coef"].values()), rtol=RTOL)
    assert_same_matrix(fit.vcov.to_numpy(), theirs["vcov"], 1e-9)
    np.testing.assert_allclose(fit.pvalues, list(theirs["p_value"].values()), rtol=1e-7, atol=1e-300)
    assert fit.solved.rss == pytest.approx(theirs["rss"], rel=RTOL)
    assert fit.r_squared == pytest.approx(theirs["r_squared"]["rsq"], rel=RTOL)
    assert fit.adj_r_squared == pytest.approx(theirs["r_squared"]["adjrsq"], rel=RTOL)
    assert (fit.nobs, fit.df_residual) == (theirs["nobs"], theirs["df_residual"])
    np.testing.assert_allclose(fit.resid[:10], theirs["resid_head"], rtol=1e-8, atol=1e-9 * fit.sigma)
    # Arellano's covariance is CR0, its HC1 that times n / (n - p)
    cr0 = fit.covariance_by("CR0").matrix
    assert_same_matrix(cr0, theirs["vcovHC_arellano_HC0"])
    assert_same_matrix(cr0 * fit.nobs / (fit.nobs - len(fit.terms)), theirs["vcovHC_arellano_HC1"])


@pytest.mark.parametrize(("name", "model"), [*((n, "pooling") for n in KEYS), ("Grunfeld", "mundlak_pooling")])
def test_arellano_of_pooled_rows(name: str, model: str) -> None:
    theirs = expected(name, model)
    panel = cl.random_effects(theirs["formula"], load_data(name), group=KEYS[name][0], method="walhus").panel
    pooled = pooled_regression(panel)
    maker = QuasiRows(panel=panel, columns=pooled.products.columns, theta=np.zeros(panel.n_groups))
    for kind in ("HC0", "HC1", "HC3"):
        found = panel_covariance(pooled, panel.groups, maker, f"arellano-{kind}").matrix
        assert_same_matrix(found, theirs[f"vcovHC_arellano_{kind}"])


@pytest.mark.parametrize("name", ["Grunfeld", "Wages"])
def test_mundlak_by_ordinary_regression(name: str) -> None:
    theirs = expected(name, "mundlak_pooling")
    fit = cl.ols(theirs["formula"], load_data(name))
    np.testing.assert_allclose(fit.params, list(theirs["coef"].values()), rtol=RTOL)
    np.testing.assert_allclose(fit.bse, list(theirs["se"].values()), rtol=RTOL)


@pytest.mark.parametrize("name", KEYS)
def test_tests_of_effects(name: str) -> None:
    theirs = expected(name, "panel_tests")
    found = fitted(name, "within").test_effects()
    keys = {"f_test_individual_effects": "F", "lm_breusch_pagan": "chisq", "lm_honda": "normal"}
    for (_, row), (key, statistic) in zip(found.iterrows(), keys.items(), strict=True):
        assert row["statistic"] == pytest.approx(theirs[key]["statistic"][statistic], rel=RTOL)
        assert row["p_value"] == pytest.approx(theirs[key]["p_value"], rel=1e-7, abs=1e-300)
    assert found.iloc[0]["df_num"] == theirs["f_test_individual_effects"]["parameter"]["df1"]
    assert found.iloc[0]["df_den"] == theirs["f_test_individual_effects"]["parameter"]["df2"]


@pytest.mark.parametrize("name", KEYS)
def test_wooldridge(name: str) -> None:
    theirs = expected(name, "panel_tests")["wooldridge_serial"]
    found = fitted(name, "within").test_serial()
    assert found.statistic == pytest.approx(theirs["statistic"]["F"], rel=RTOL)
    assert (found.df_num, found.df_den) == tuple(theirs["parameter"].values())
    assert found.p_value == pytest.approx(theirs["p_value"], rel=1e-7)


HAUSMAN = {
    "hausman_within_random_swar": {},
    "hausman_aux": {"method": "auxiliary"},
    "hausman_aux_hc": {"method": "auxiliary", "vcov": "white2-HC0"},
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("key", HAUSMAN)
def test_hausman(name: str, key: str) -> None:
    theirs = expected(name, "panel_tests")[key]
    found = cl.hausman(fitted(name, "within"), fitted(name, "random_swar"), **HAUSMAN[key])
    assert found.statistic == pytest.approx(theirs["statistic"]["chisq"], rel=RTOL)
    assert found.df_num == theirs["parameter"]["df"]
    assert found.p_value == pytest.approx(theirs["p_value"], rel=1e-7, abs=1e-300)
    # in two of the data sets the difference of the covariances is not positive definite, which plm does not say
    assert bool(found.notes) == (name != "Grunfeld" and found.method == "classic")
