"""Estimators side by side: widths relative to a baseline, names matched, whatever the estimators are."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.errors import CrosslevelError, DataWarning
from crosslevel.estimators.compare import Comparison
from crosslevel.estimators.compared import COLUMNS, level_of, term_key

HSB = cl.datasets.load("hsb")
FIXED = "mathach ~ within(ses, school) * sector + meanses"
SLOPE = "within(ses, school)"
INTERACTION = "within(ses, school):sector[Catholic]"


@cache
def fits() -> dict[str, Any]:
    flexible = cl.mixed(f"{FIXED} + (within(ses, school) | school)", HSB)
    return {
        "invariant": cl.mixed(f"{FIXED} + (1 | school)", HSB),
        "flexible": flexible,
        "pooled": cl.ols(FIXED, HSB, cluster="school"),
        "two-step": cl.two_step("mathach ~ within(ses, school)", "within(ses, school) ~ sector", HSB, cluster="school"),
        "fixed": cl.fixed_effects("mathach ~ within(ses, school)", HSB, group="school"),
        "robust": flexible.robust("CR2"),
        "bootstrap": flexible.bootstrap(60, seed=1, progress=False),
    }


@cache
def everything() -> Comparison:
    return cl.compare(fits(), baseline="invariant")


# -- numbers ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["invariant", "flexible", "pooled", "fixed", "robust"])
def test_numbers_are_those_of_the_fits(name: str) -> None:
    frame = everything().frame
    own = frame[frame["estimator"] == name]
    tidy = fits()[name].tidy()
    np.testing.assert_array_equal(own.loc[tidy.index, list(COLUMNS)], tidy[list(COLUMNS)])


def test_widths_are_relative_to_the_baseline() -> None:
    found = everything()
    small, large = (fits()[name].tidy() for name in ("invariant", "flexible"))
    width = (large["conf_high"] - large["conf_low"]) / (small["conf_high"] - small["conf_low"])
    np.testing.assert_allclose(found.wide()["flexible"][small.index], 100.0 * (width - 1.0), rtol=1e-12)
    assert (found.wide()["invariant"].dropna() == 0.0).all()
    # with one degree of freedom for all, widths are as standard errors
    normal = cl.compare({name: fits()[name].tests("normal") for name in ("invariant", "flexible")})
    ratio = large["estimate"] * 0.0 + fits()["flexible"].bse / fits()["invariant"].bse
    np.testing.assert_allclose(normal.wide()["flexible"], 100.0 * (ratio - 1.0), rtol=1e-9)


def test_other_levels() -> None:
    found = cl.compare(fits()["invariant"], fits()["pooled"], level=0.9)
    own = fits()["pooled"].tidy(level=0.9)
    np.testing.assert_array_equal(found.wide("conf_high")["OLS, CR2 by school"][own.index], own["conf_high"])
    assert "90% interval" in str(found)


def test_two_step_coefficients_meet_those_of_the_mixed_model() -> None:
    frame = everything().frame
    two = frame[frame["estimator"] == "two-step"]
    assert list(two.index) == [SLOPE, INTERACTION]
    own = fits()["two-step"].tidy()
    np.testing.assert_array_equal(two["estimate"], own["estimate"])
    assert two["relative_width_percent"].notna().all()


def test_frame_and_wide_agree() -> None:
    found = everything()
    assert list(found.frame.columns) == [*COLUMNS, "estimator", "width", "relative_width_percent"]
    assert found.frame.index.name == "term"
    assert list(found.wide("estimate").columns) == list(fits())
    assert list(found.wide("estimate").index) == list(found.terms)
    for term, row in found.frame.iterrows():
        assert row["width"] == found.wide("width").loc[term, row["estimator"]]
    with pytest.raises(CrosslevelError, match="`column` is one of"):
        found.wide("nothing")


# -- what can be given --------------------------------------------------------------------------------------------
def test_methods_of_one_fit() -> None:
    fit, boot = fits()["flexible"], fits()["bootstrap"]
    found = cl.compare(fit, (fit, "kenward-roger"), (fit, "CR2"), (fit, "profile"), (boot, "normal"), boot)
    assert found.names == (
        "Mixed model, REML", "Mixed model, REML, kenward-roger", "Mixed model, REML, CR2", "Mixed model, REML, profile",
        "Bootstrap (cluster), normal", "Bootstrap (cluster), percentile",
    )  # fmt: skip
    np.testing.assert_array_equal(found.wide("df")[found.names[1]], fit.tests("kenward-roger")["df"])
    np.testing.assert_array_equal(found.wide("std_error")[found.names[2]], fit.robust("CR2").bse)
    np.testing.assert_array_equal(found.wide("conf_low")[found.names[3]], fit.conf_int(method="profile")["conf_low"])
    drawn = boot.conf_int(0.95, "normal", terms=list(found.terms))
    np.testing.assert_array_equal(found.wide("conf_high")[found.names[4]], drawn["conf_high"])
    np.testing.assert_array_equal(found.wide("std_error")[found.names[5]], boot.std_error[list(found.terms)])
    assert found.wide("df")[found.names[4]].isna().all()


def test_other_covariances_of_a_regression() -> None:
    fit = fits()["pooled"]
    found = cl.compare(fit, (fit, "iid"))
    np.testing.assert_array_equal(found.wide("std_error")["OLS, CR2 by school, iid"], fit.tests("iid")["std_error"])


def test_the_result_of_a_search() -> None:
    class Search:
        fit = fits()["flexible"]

    found = cl.compare(fits()["invariant"], Search(), (Search(), "normal"))
    assert found.names[1:] == ("Mixed model, REML, selected", "Mixed model, REML, normal, selected")
    np.testing.assert_array_equal(found.wide("estimate")[found.names[1]], fits()["flexible"].params)


def test_tables_need_only_estimates_and_intervals() -> None:
    table = pd.DataFrame({"estimate": [2.5], "conf_low": [2.0], "conf_high": [3.5]}, index=[SLOPE])
    found = cl.compare(fits()["invariant"], {"published": table})
    assert found.wide("width").loc[SLOPE, "published"] == 1.5
    assert "2.500" in str(found)


def test_the_order_of_an_interaction_does_not_matter() -> None:
    other = cl.ols("mathach ~ sector * within(ses, school) + meanses", HSB, cluster="school")
    assert "sector[Catholic]:within(ses, school)" in other.params.index
    found = cl.compare(fits()["invariant"], other)
    assert found.terms == tuple(fits()["invariant"].params.index)
    assert term_key("f[a:b]:within(x, g:h)") == frozenset({"f[a:b]", "within(x, g:h)"})


def test_rename() -> None:
    plain = cl.ols("mathach ~ ses * sector", HSB, cluster="school")
    names = {"OLS, CR2 by school": {"ses": SLOPE, "ses:sector[Catholic]": INTERACTION}}
    found = cl.compare(fits()["invariant"], plain, rename=names)
    assert found.wide("estimate").loc[SLOPE, "OLS, CR2 by school"] == plain.params["ses"]
    with pytest.raises(CrosslevelError, match="`rename` names the estimator 'OLS'"):
        cl.compare(fits()["invariant"], plain, rename={"OLS": {"ses": SLOPE}})
    with pytest.raises(CrosslevelError, match="`rename` has 'sex' for 'OLS, CR2 by school'"):
        cl.compare(fits()["invariant"], plain, rename={"OLS, CR2 by school": {"sex": SLOPE}})
    with pytest.raises(CrosslevelError, match="several coefficients of 'OLS, CR2 by school' that are called"):
        cl.compare(fits()["invariant"], plain, rename={"OLS, CR2 by school": {"ses": "Intercept"}})


@pytest.mark.parametrize("baseline", ["OLS, CR2 by school", 1, "itself"])
def test_baselines(baseline: Any) -> None:
    fit, pooled = fits()["invariant"], fits()["pooled"]
    found = cl.compare(fit, pooled, baseline=pooled if baseline == "itself" else baseline)
    assert found.baseline == 1
    assert (found.wide()["OLS, CR2 by school"] == 0.0).all()
    back = cl.compare(fit, pooled).wide()["OLS, CR2 by school"]
    np.testing.assert_allclose((1.0 + found.wide()["Mixed model, REML"] / 100.0) * (1.0 + back / 100.0), 1.0)


def test_terms_are_chosen_in_order() -> None:
    found = cl.compare(
        fits()["invariant"], fits()["flexible"], terms=["meanses", "sector[Catholic]:within(ses, school)"]
    )
    assert found.terms == ("meanses", INTERACTION)
    assert list(dict.fromkeys(found.frame.index)) == ["meanses", INTERACTION]


# -- warnings and words -------------------------------------------------------------------------------------------
def test_different_rows_and_clusters_are_said() -> None:
    few = cl.mixed(f"{FIXED} + (1 | school)", HSB[HSB["school"] != HSB["school"].iloc[0]])
    with pytest.warns(DataWarning) as caught:
        found = cl.compare(fits()["invariant"], few, names=["all", "fewer"])
    assert [str(warning.message) for warning in caught] == list(found.notes)
    assert "(all 7,185; fewer 7,138)" in found.notes[0]
    assert "clusters of school (all 160; fewer 159)" in found.notes[1]
    assert "Warning: The estimators have different numbers of rows" in str(found)


def test_document_fits_80_columns_and_names_everything() -> None:
    text = str(everything())
    assert max(map(len, text.splitlines())) <= 80
    assert "Widths of 95% intervals, in % more than invariant" in text
    row = fits()["pooled"].tidy().loc["meanses"]
    assert f"{row['estimate']:.3f} ({row['std_error']:.3f})" in text
    assert f"[{row['conf_low']:.3f}, {row['conf_high']:.3f}]" in text
    assert re.search(r"meanses\s+1\.458\s+\+0\.4\s+-6\.8", text)
    assert "Baseline: invariant." in text
    assert everything()._repr_html_().count("<table>") == 3


# -- wrong input --------------------------------------------------------------------------------------------------
def wrong_table(level: float) -> pd.DataFrame:
    return fits()["invariant"].tidy(level=level)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: cl.compare(f["invariant"]), "needs at least two estimators; got 1"),
        (lambda f: cl.compare(), "needs at least two estimators; got 0"),
        (
            lambda f: cl.compare(f["invariant"], f["pooled"], baseline="OLS"),
            "`baseline` is 'OLS'; the estimators are 0: ",
        ),
        (lambda f: cl.compare(f["invariant"], f["pooled"], baseline=2), "`baseline` is 2; the estimators are"),
        (lambda f: cl.compare(f["invariant"], f["pooled"], baseline=f["fixed"]), "a PanelFit that was not given"),
        (
            lambda f: cl.compare(f["invariant"], f["pooled"], terms="meanse"),
            "`terms` has 'meanse'.* Did you mean 'meanses'",
        ),
        (lambda f: cl.compare(f["invariant"], f["pooled"], terms=[]), "`terms` is empty"),
        (lambda f: cl.compare(f["invariant"], f["pooled"], names=["a", "a"]), "`names` needs 2 different names"),
        (lambda f: cl.compare(f["invariant"], 3), "takes fits, coefficient tables .*; got int"),
        (lambda f: cl.compare(f["invariant"], (f["pooled"],)), r"takes pairs of a fit .*; got \(OLSFit\)"),
        (lambda f: cl.compare(f["invariant"], (f["invariant"], "naive")), "naive"),
        (lambda f: cl.compare(f["invariant"], f["pooled"], level=95), "`level` is a probability"),
        (lambda f: cl.compare(f["invariant"], {"t": wrong_table(0.9)}), "'t', whose intervals have the level 0.9"),
        (
            lambda f: cl.compare(f["invariant"], {"t": wrong_table(0.95)[["estimate"]]}),
            "'t' without conf_low, conf_high",
        ),
        (lambda f: cl.compare(f["invariant"], pd.concat([wrong_table(0.95)] * 2)), "several rows for Intercept"),
    ],
)
def test_wrong_input(make: Any, words: str) -> None:
    with pytest.raises(CrosslevelError, match=words):
        make(fits())


def test_levels_of_tables_are_recognised() -> None:
    fit = fits()["flexible"]
    for ddf in ("m-l-1", "kenward-roger", "normal"):
        assert level_of(fit.tests(ddf, level=0.8)) == pytest.approx(0.8, abs=1e-9)
    profile = fit.tidy().assign(conf_low=fit.conf_int(method="profile")["conf_low"])
    assert np.isnan(level_of(profile))
