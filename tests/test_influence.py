"""Influence of clusters: against refits from the rows, lme4::influence, closed forms, and what is said of it."""

from __future__ import annotations

import json
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, load_data, our_component

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.batch import values_of

REFERENCE = json.loads((FOLDER / "influence" / "influence.json").read_text(encoding="utf-8"))
CASES = {case["dataset"]: case for case in REFERENCE["cases"]}


@cache
def schools() -> pd.DataFrame:
    """A few schools, one of them the only one of its kind."""
    data = cl.datasets.load("hsb")
    few = data[data["school"].isin(data["school"].unique()[:14])].copy()
    few["school"] = few["school"].astype(str)
    few["lone"] = (few["school"] == few["school"].iloc[0]).astype(float)
    few["region"] = few["school"].map({name: k % 4 for k, name in enumerate(few["school"].unique())})
    few["w"] = 1.0 + (np.arange(len(few)) % 3)
    return few


FORMULAS: dict[str, tuple[str, dict[str, Any]]] = {
    "slopes as outcomes": ("mathach ~ within(ses, school) * sector + meanses + (within(ses, school) | school)", {}),
    "singular": ("mathach ~ ses + minority + female + (ses + minority + female | school)", {"method": "ml"}),
    "intercept": ("mathach ~ ses + (1 | school)", {"ddf": "kenward-roger"}),
    "no correlation": ("mathach ~ ses + meanses + (ses || school)", {"ddf": "satterthwaite"}),
    "precision": ("mathach ~ ses + (ses | school)", {"weights": cl.Precision("w")}),
    "frequency": ("mathach ~ ses + (ses | school)", {"weights": cl.Frequency("w")}),
    "compound symmetry": ("mathach ~ ses + cs(1 + ses | school)", {}),
}


def quiet(fit: Any, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.ConvergenceWarning)
        return fit(*args, **kwargs)


def compare_with_rows(found: Any, refit: Any, level: str, ddf: str | None = None) -> None:
    """Every number without one cluster against a fit to the other rows."""
    terms = list(refit.params.index)
    table = refit.tests(ddf) if ddf else refit.tidy()
    error = np.abs(found.estimates.loc[level, terms] - refit.params) / refit.bse
    assert error.max() < 1e-6
    np.testing.assert_allclose(found.std_errors.loc[level, terms], table["std_error"], rtol=1e-6)
    np.testing.assert_allclose(found.p_values.loc[level, terms], table["p_value"], rtol=1e-4, atol=1e-12)
    k = list(found.estimates.index).index(level)
    places = [found.terms.index(term) for term in terms]
    vcov = found.refits[k].vcov[np.ix_(places, places)]
    scale = np.sqrt(np.outer(np.diag(refit.vcov), np.diag(refit.vcov)))
    np.testing.assert_allclose(vcov / scale, refit.vcov / scale, atol=2e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_mixed_models_against_rows(name: str) -> None:
    formula, given = FORMULAS[name]
    data = schools()
    fit = quiet(cl.mixed, formula, data, **given)
    found = cl.influence(fit)
    for level in found.estimates.index[[0, 9]]:
        refit = quiet(cl.mixed, formula, data[data["school"] != level], **given)
        compare_with_rows(found, refit, level, fit.ddf)
        parameters = values_of(refit.design, refit.solution)[len(refit.params) :]
        np.testing.assert_allclose(found.variances.loc[level], parameters, rtol=1e-4, atol=1e-4)


def test_missing_values_an_offset_and_rows_in_any_order() -> None:
    rng = np.random.default_rng(3)
    data = schools().sample(frac=1.0, random_state=4).assign(off=rng.normal(size=len(schools())))
    data.loc[data.index[rng.random(len(data)) < 0.1], "ses"] = np.nan
    formula = "mathach ~ within(ses, school) * sector + (within(ses, school) | school)"
    found = cl.influence(cl.mixed(formula, data, offset="off"))
    assert found.sizes.sum() == data["ses"].notna().sum()
    for level in found.estimates.index[[1, 9]]:
        compare_with_rows(found, quiet(cl.mixed, formula, data[data["school"] != level], offset="off"), level)


def test_some_of_the_refits_above_are_singular() -> None:
    formula, given = FORMULAS["singular"]
    refit = quiet(cl.mixed, formula, schools()[schools()["school"] != schools()["school"].iloc[0]], **given)
    assert refit.is_singular


@pytest.mark.parametrize("by", ["region", "size"])
def test_leave_out_what_is_no_grouping_factor(by: str) -> None:
    data = schools().assign(size=np.arange(len(schools())) % 3)
    formula = "mathach ~ ses + sector + (ses | school)"
    found = cl.influence(cl.mixed(formula, data), by=by)
    for level in found.estimates.index[:2]:
        refit = cl.mixed(formula, data[data[by].astype(str) != level])
        compare_with_rows(found, refit, level)


NESTED = {
    "nested": ("Pastes", "strength ~ 1 + (1 | batch/cask)", "batch"),
    "crossed": ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", "sample"),
    "inner": ("Pastes", "strength ~ 1 + (1 | batch/cask)", "batch:cask"),
}


@pytest.mark.parametrize("name", NESTED)
def test_several_factors_against_rows(name: str) -> None:
    dataset, formula, by = NESTED[name]
    data = load_data(dataset).iloc[:24]
    found = cl.influence(cl.mixed(formula, data), by=by)
    own = data[by.split(":")].astype(str).agg(":".join, axis=1)
    for level in found.estimates.index[:2]:
        compare_with_rows(found, cl.mixed(formula, data[own != level]), level)


@pytest.mark.parametrize("vcov", ["iid", "HC3", "CR1S", "CR2"])
def test_regressions_against_rows(vcov: str) -> None:
    data = schools()
    cluster = "school" if vcov.startswith("CR") else None
    fit = cl.ols("mathach ~ ses * sector", data, cluster=cluster, vcov=vcov, weights=cl.Precision("w"))
    found = cl.influence(fit, by="school")
    for level in found.estimates.index[[0, 7]]:
        refit = cl.ols(
            "mathach ~ ses * sector", data[data["school"] != level], cluster=cluster, vcov=vcov,
            weights=cl.Precision("w"),
        )  # fmt: skip
        np.testing.assert_allclose(found.estimates.loc[level], refit.params, rtol=1e-10)
        np.testing.assert_allclose(found.std_errors.loc[level], refit.bse, rtol=1e-9)
        np.testing.assert_allclose(found.p_values.loc[level], refit.pvalues, rtol=1e-7, atol=1e-300)
        assert found.variances.loc[level, "sigma"] == pytest.approx(refit.sigma, rel=1e-11)


def test_regression_without_a_row_is_the_textbooks_deletion() -> None:
    """dfbeta_i = (X'X)^-1 x_i e_i / (1 - h_i), and Cook's distance with s^2 of all rows."""
    data = schools().iloc[:60].assign(row=lambda frame: [f"r{k}" for k in range(len(frame))])
    fit = cl.ols("mathach ~ ses", data)
    found = cl.influence(fit, by="row")
    x = np.column_stack([np.ones(len(data)), data["ses"]])
    inverse = np.linalg.inv(x.T @ x)
    residual = data["mathach"].to_numpy() - x @ fit.params.to_numpy()
    leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
    change = -(x @ inverse) * (residual / (1.0 - leverage))[:, None]
    cook = residual**2 * leverage / (2.0 * fit.sigma**2 * (1.0 - leverage) ** 2)
    rows = [f"r{k}" for k in range(len(data))]
    np.testing.assert_allclose(found.changes.loc[rows], change, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.cooks_distance[rows], cook, rtol=1e-8)


# -- lme4 ---------------------------------------------------------------------------------------------------------
def our_term(found: Any, theirs: str, data: pd.DataFrame) -> str:
    """Our name of one of R's coefficients."""
    parts = {our_component(part, data) for part in theirs.split(":")}
    return next(term for term in found.terms if set(term.split(":")) == parts)


@pytest.mark.parametrize("name", CASES)
def test_lme4(name: str) -> None:
    """Its refits end within 1e-4 of a standard error of the optimum: it searches with its default tolerances."""
    case = CASES[name]
    data = load_data(name)
    fit = cl.mixed(case["formula"], data)
    found = cl.influence(fit, by=case["group"])
    terms = [our_term(found, theirs, data) for theirs in np.atleast_1d(case["coef_names"])]
    n, p = len(case["levels"]), len(terms)
    se, estimates = (np.array(case[name]).reshape(n, p) for name in ("se", "estimates"))
    ours = found.estimates.loc[case["levels"], terms].to_numpy()
    assert np.abs((ours - estimates) / se).max() < 1e-3
    log_det = np.linalg.slogdet(np.array(case["whole"]["vcov"]).reshape(p, p))[1]
    np.testing.assert_allclose(found.log_covratio[case["levels"]], np.array(case["log_det"]) - log_det, atol=2e-3)
    theirs = np.array(case["cooks_distance"]) * n / (n - p)  # lme4 takes (n - p) / (n p) for 1 / p
    np.testing.assert_allclose(found.cooks_distance[case["levels"]], theirs, rtol=1e-2, atol=1e-5)
    whole = np.array(case["whole"]["estimates"])
    dfbetas = (estimates - whole) / se
    np.testing.assert_allclose(found.dfbetas.loc[case["levels"], terms], dfbetas, atol=2e-3)
    variances = np.array(case["variances"])[:, 0]
    np.testing.assert_allclose(found.variances.loc[case["levels"], "sigma"] ** 2, variances, rtol=2e-3)


# -- what cannot be estimated -------------------------------------------------------------------------------------
def test_a_context_variable_that_rests_on_one_cluster() -> None:
    data = schools()
    found = cl.influence(cl.mixed("mathach ~ ses + lone + (1 | school)", data))
    first = data["school"].iloc[0]
    assert np.isnan(found.estimates.loc[first, "lone"])
    assert found.frame.loc[first, "problem"] == "Cannot be estimated without it: lone."
    refit = cl.mixed("mathach ~ ses + (1 | school)", data[data["school"] != first])
    np.testing.assert_allclose(found.estimates.loc[first, ["Intercept", "ses"]], refit.params, rtol=1e-8)
    assert np.isnan(found.cooks_distance[first])
    assert found.cooks_distance.drop(first).notna().all()
    assert f"rests on {first}: without it there is no estimate" in " ".join(str(found).split())


def test_a_model_that_cannot_be_fitted_without_a_cluster_is_reported() -> None:
    rng = np.random.default_rng(3)
    group = np.repeat(["a", "b", "c", "d"], [40, 1, 1, 1])
    data = pd.DataFrame({"y": rng.normal(size=len(group)), "x": rng.normal(size=len(group)), "g": group})
    found = cl.influence(cl.mixed("y ~ x + (1 | g)", data))
    assert found.estimates.loc["a"].isna().all()
    assert "clusters" in found.frame.loc["a", "problem"]
    assert found.frame.loc[["b", "c", "d"], "problem"].eq("").all()
    assert "Without a:" in str(found)


# -- words --------------------------------------------------------------------------------------------------------
def test_words_name_the_clusters_that_decide() -> None:
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(12), 30)
    z = np.repeat(np.append(rng.normal(size=11), 6.0), 30)
    shift = np.repeat(np.append(rng.normal(0, 0.1, 11), 4.0), 30)
    data = pd.DataFrame({"g": [f"c{k:02d}" for k in group], "z": z, "y": shift + rng.normal(size=len(z))})
    found = cl.influence(cl.mixed("y ~ z + (1 | g)", data))
    assert found.context == ("z",)
    assert found.significant("z")
    assert found.decided_otherwise("z").tolist() == [False] * 11 + [True]
    text = " ".join(str(found).split())
    assert "A single cluster decides about a context effect." in text
    assert "without c11 (" in text
    assert found.cooks_distance.idxmax() == "c11"


def test_words_where_nothing_depends_on_one_cluster() -> None:
    found = cl.influence(cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy")))
    assert found.context == ()
    assert "No coefficient changes its sign, or the result of its test, without any one cluster." in " ".join(
        str(found).split()
    )
    assert all(len(line) <= 80 for line in str(found).splitlines())
    assert found._repr_html_().count("<table>") == 3


def test_figure_shows_who_decides() -> None:
    data = schools()
    found = cl.influence(cl.mixed(FORMULAS["slopes as outcomes"][0], data))
    figure = cl.plot.influence(found)
    assert [panel.get_title(loc="left") for panel in figure.axes] == list(found.context)
    drawn = cl.plot.influence_data(found, "sector[Catholic]")
    decisive = drawn.loc[drawn["decides"], "cluster"].tolist()
    assert decisive
    assert set(decisive) <= {text.get_text() for text in figure.axes[0].texts}
    with pytest.raises(CrosslevelError, match="`ax` takes one coefficient"):
        cl.plot.influence(found, ax=figure.axes[0])
    with pytest.raises(CrosslevelError, match="`terms` must be one of"):
        cl.plot.influence(found, "nothing")


def test_frame_holds_everything_by_cluster() -> None:
    found = cl.influence(cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy")))
    frame = found.frame
    assert frame.index.name == "Subject"
    assert frame["rows"].eq(10).all()
    np.testing.assert_allclose(frame["Days"] - frame["change Days"], found.table.loc["Days", "estimate"])
    assert {"dfbetas Days", "p Days", "sd(Days|Subject)", "sigma", "cooks_distance", "log_covratio"} <= set(frame)


# -- wrong input --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "by", "words"),
    [
        (lambda d: cl.ols("mathach ~ ses", d), None, "`by` is needed"),
        (lambda d: cl.ols("mathach ~ ses", d), "nothing", "nothing"),
        (lambda d: cl.mixed("mathach ~ ses + (1 | school)", d), "lone", "there are 2"),
        (lambda d: cl.mixed("mathach ~ ses", d, residual=cl.residual.By("sector")), "school", "residual structure"),
        (lambda d: d, None, "is for fits of cl.mixed and cl.ols; got DataFrame"),
    ],
)
def test_wrong_input(make: Any, by: str | None, words: str) -> None:
    data = schools()
    with pytest.raises(CrosslevelError, match=words):
        cl.influence(make(data), by=by)


def test_crossed_factors_need_a_choice() -> None:
    fit = cl.mixed("diameter ~ 1 + (1 | plate) + (1 | sample)", load_data("Penicillin"))
    with pytest.raises(CrosslevelError, match=r"`by` is needed: .* plate, sample"):
        cl.influence(fit)


def test_sampling_weights_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.DataWarning)
        fit = cl.mixed("mathach ~ ses + (1 | school)", schools(), method="ml", weights=cl.Sampling("w"))
    with pytest.raises(CrosslevelError, match="sampling weights"):
        cl.influence(fit)
