"""Tests of whole terms, types II and III: lmerTest and pbkrtest; independence of the coding; by hand."""

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, SEPARATOR, cases_with, fit_case, load_case, load_data, our_formula

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.inference.contrasts import Coefficients, contrast_matrix
from crosslevel.inference.hypotheses import independent_rows, term_contrasts
from crosslevel.inference.term_spaces import term_spaces

FILE = json.loads((FOLDER / "terms" / "terms.json").read_text(encoding="utf-8"))
FITS = {entry["name"]: entry for entry in FILE["fits"]}
METHODS = {"satterthwaite": 1e-5, "kenward-roger": 1e-6}


# -- lmerTest and pbkrtest --------------------------------------------------------------------------------------------


def rows_of(entry: dict[str, Any]) -> pd.DataFrame:
    """The rows that the reference kept; see terms.R."""
    data = load_data(entry["data"])
    number = np.arange(1, len(data) + 1)
    if entry["data"] == "cake":
        data = cake()
        empty = ((data["recipe"] == "B") & (data["heat"] == "195")).to_numpy()
        return data[(number % 7 != 3) & (number % 5 != 1 if entry["keep"] == "uneven" else ~empty)]
    if entry["data"] == "Hsb82":
        return data[number % 6 == 1]
    chosen = data["dept"].astype(str).isin(["5", "10", "12"]) & (data["s"].astype(str).astype(int) % 40 == 7)
    return data[chosen].apply(lambda column: column.cat.remove_unused_categories() if column.name != "y" else column)


def cake() -> pd.DataFrame:
    """Temperature as an unordered factor, too."""
    data = load_data("cake")
    levels = [str(level) for level in data["temperature"].cat.categories]
    return data.assign(heat=pd.Categorical(data["temperature"].astype(str), categories=levels))


@cache
def fit_of(name: str) -> Any:
    return cl.mixed(FITS[name]["formula"], rows_of(FITS[name]))


def compare(table: pd.DataFrame, expected: list[dict[str, Any]], *, df_rtol: float) -> None:
    """Rows by term, whatever the order in an interaction; F to the precision of lme4's optimum."""
    ours = {frozenset(SEPARATOR.split(name)): row for name, row in table.iterrows()}
    assert len(table) == len(expected)
    for row in expected:
        mine = ours[frozenset(our_formula(part) for part in row["term"].split(":"))]
        assert mine["df_num"] == row["df_num"]
        assert mine["statistic"] == pytest.approx(row["statistic"], rel=1e-5)
        assert mine["df_den"] == pytest.approx(row["df_den"], rel=df_rtol)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("ddf", METHODS)
def test_terms_are_those_of_lmertest(name: str, ddf: str) -> None:
    keys = [key for key in FITS[name] if key.startswith(ddf)]
    assert keys
    for key in keys:
        table = fit_of(name).anova(type=int(key[-1]), ddf=ddf)
        compare(table, FITS[name][key], df_rtol=METHODS[ddf])


@pytest.mark.parametrize(
    ("name", "ddf"),
    [(name, "satterthwaite") for name in cases_with("anova_satterthwaite_type3")]
    + [(name, "kenward-roger") for name in cases_with("anova_kr_type3")],
)
def test_type_three_of_the_reference_models(name: str, ddf: str) -> None:
    entries = load_case(name).expected[f"anova_{'kr' if ddf.startswith('k') else ddf}_type3"] or []
    names = {"row": "term", "NumDF": "df_num", "DenDF": "df_den", "F value": "statistic"}
    expected = [{ours: row[theirs] for theirs, ours in names.items()} for row in entries]
    compare(fit_case(name).anova(ddf=ddf), expected, df_rtol=METHODS[ddf])


# -- coding -----------------------------------------------------------------------------------------------------------

CODINGS = ["C({})", "C({}, contr.sum)", "C({}, contr.helmert)", "C({}, contr.poly)", "wec({})"]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("kind", [2, 3])
@pytest.mark.parametrize("keep", ["uneven", "holes"])
def test_tests_of_terms_do_not_depend_on_the_coding(coding: str, kind: int, keep: str) -> None:
    data = rows_of({"data": "cake", "keep": keep})
    plain = cl.mixed("angle ~ recipe * heat + (1 | replicate)", data)
    other = cl.mixed(f"angle ~ {coding.format('recipe')} * {coding.format('heat')} + (1 | replicate)", data)
    for ddf in METHODS:
        one, two = plain.anova(type=kind, ddf=ddf), other.anova(type=kind, ddf=ddf)
        np.testing.assert_allclose(two, one, rtol=1e-6, atol=1e-14)


def test_tests_of_terms_do_not_depend_on_the_order_of_the_formula() -> None:
    data = rows_of({"data": "cake", "keep": "uneven"})
    one = cl.mixed("angle ~ recipe * heat + temp:recipe + (1 | replicate)", data).anova(ddf="kenward-roger")
    two = cl.mixed("angle ~ temp:recipe + heat * recipe + (1 | replicate)", data).anova(ddf="kenward-roger")
    two.index = ["recipe:temp" if name == "temp:recipe" else name for name in two.index]
    two.index = ["recipe:heat" if name == "heat:recipe" else name for name in two.index]
    one.index = ["recipe:temp" if name == "temp:recipe" else name for name in one.index]
    np.testing.assert_allclose(two.loc[one.index, "df_num"], one["df_num"])
    kept = one["df_num"] > 0.0
    np.testing.assert_allclose(two.loc[one.index[kept]], one[kept], rtol=1e-6, atol=1e-14)


def test_without_an_intercept_the_term_is_all_of_its_means() -> None:
    data = rows_of({"data": "cake", "keep": "uneven"})
    fit = cl.mixed("angle ~ 0 + recipe + (1 | replicate)", data)
    table = fit.anova(ddf="kenward-roger")
    joint = fit.contrast(np.eye(3), ddf="kenward-roger", joint=True)
    assert table["df_num"].tolist() == [3.0]
    np.testing.assert_allclose(table, joint, rtol=1e-9)
    np.testing.assert_allclose(fit.anova(type=2, ddf="kenward-roger"), joint, rtol=1e-9)


# -- by hand ----------------------------------------------------------------------------------------------------------


def test_a_single_coefficient_is_tested_by_the_square_of_its_t() -> None:
    fit = fit_case("Hsb82__means_as_outcomes2_reml")
    for ddf in ("m-l-1", "residual", "normal", "satterthwaite", "kenward-roger", "between-within"):
        single, table = fit.tests(ddf=ddf), fit.anova(ddf=ddf)
        np.testing.assert_allclose(table["statistic"], single["statistic"].iloc[1:] ** 2, rtol=1e-9)
        np.testing.assert_allclose(table["df_den"], single["df"].iloc[1:], rtol=1e-9)
        np.testing.assert_allclose(table["p_value"], single["p_value"].iloc[1:], rtol=1e-6, atol=1e-14)


def test_type_three_compares_means_over_cells_of_equal_weight() -> None:
    data = rows_of({"data": "cake", "keep": "uneven"})
    rows = term_contrasts(cl.mixed("angle ~ recipe * heat + (1 | replicate)", data).design, 3)["recipe"]
    np.testing.assert_allclose(rows[:, 1:3], np.eye(2))
    np.testing.assert_array_equal(rows[:, [0, *range(3, 8)]], 0.0)
    np.testing.assert_allclose(rows[0, 8:], np.tile([1 / 6, 0.0], 5), rtol=1e-9)
    np.testing.assert_allclose(rows[1, 8:], np.tile([0.0, 1 / 6], 5), rtol=1e-9)


def test_containment_needs_the_same_numeric_factors() -> None:
    spaces = {term.name: term for term in term_spaces(fit_of("factors and slopes").design)}
    assert spaces["sector:cses"].contains(spaces["cses"])
    assert not spaces["sector:cses"].contains(spaces["sector"])
    assert spaces["sector:sx"].contains(spaces["sector"])
    assert spaces["sector"].contains(spaces["Intercept"])
    assert not spaces["sector"].contains(spaces["sector"])


def test_a_term_that_others_determine_has_no_degrees_of_freedom() -> None:
    data = load_data("Hsb82").iloc[::6].assign(double=lambda d: 2.0 * d.meanses)
    table = cl.mixed("mAch ~ meanses + double + sx + (1 | school)", data).anova(ddf="satterthwaite")
    assert table["df_num"].tolist() == [0.0, 0.0, 1.0]  # each is determined by the other
    assert table.loc["double"].isna().tolist() == [False, True, True, True]


def test_spline_and_polynomial_columns_are_one_term() -> None:
    data = load_data("Hsb82").iloc[::6]
    fit = cl.mixed("mAch ~ bs(ses, df=4) * sx + poly(meanses, 2) + (1 | school)", data)
    table = fit.anova(ddf="satterthwaite")
    assert table["df_num"].to_dict() == {
        "bs(ses, df=4)": 4.0,
        "sx": 1.0,
        "poly(meanses, 2)": 2.0,
        "bs(ses, df=4):sx": 4.0,
    }


def test_a_model_without_predictors_has_no_terms() -> None:
    assert fit_case("Dyestuff__ri_reml").anova().empty


def test_other_types_are_refused() -> None:
    with pytest.raises(CrosslevelError, match="`type` is 2 or 3; got 1"):
        fit_case("Hsb82__means_as_outcomes_reml").anova(type=1)


def test_columns_that_do_not_span_a_term_are_refused() -> None:
    fit = cl.mixed("angle ~ 0 + wec(recipe) + (1 | replicate)", load_data("cake"))
    with pytest.raises(CrosslevelError, match=r"do not span its categories.*joint=True"):
        fit.anova()


def test_categories_of_several_columns_are_refused() -> None:
    data = load_data("Hsb82").iloc[::6]
    fit = cl.mixed("mAch ~ C((ses > 0) * 1 + (cses > 0), contr.sum) + (1 | school)", data)
    with pytest.raises(CrosslevelError, match=r"computed from ses, cses\. Make it a column"):
        fit.anova()


# -- between-within ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", FILE["nlme"], ids=lambda entry: entry["data"])
def test_between_within_is_that_of_nlme_but_for_the_intercept(entry: dict[str, Any]) -> None:
    fit = cl.mixed(entry["formula"], load_data(entry["data"]))
    df = fit.tests(ddf="between-within")["df"]
    outermost = min(fit.ngroups.values())
    assert df.iloc[1:].tolist() == [float(value) for value in entry["df"][1:]]
    own = fit.design.constant_within[int(np.argmin(list(fit.ngroups.values())))][fit.design.x]
    assert df.iloc[0] == outermost - 1 - np.count_nonzero(own[1:])


def test_between_within_by_hand() -> None:
    data = cl.datasets.load("sleepstudy").assign(old=lambda d: d.Subject.astype(str).str[-1].astype(int))
    df = cl.mixed("Reaction ~ Days + old + Days:old + (Days | Subject)", data).tests(ddf="between-within")["df"]
    assert df.to_dict() == {"Intercept": 16.0, "Days": 160.0, "old": 16.0, "Days:old": 160.0}
    df = cl.mixed("Reaction ~ 0 + Days + old + (Days | Subject)", data).tests(ddf="between-within")["df"]
    assert df.to_dict() == {"Days": 161.0, "old": 17.0}


def test_between_within_of_joint_tests_is_the_fewest() -> None:
    fit = fit_of("split plot, uneven")
    table = fit.anova(ddf="between-within")
    n, J = fit.nobs, 45  # 3 coefficients of recipe and the intercept, 15 of columns that vary within
    assert table["df_den"].to_dict() == {"recipe": J - 3.0, "heat": n - J - 15.0, "recipe:heat": n - J - 15.0}


def test_between_within_is_refused_for_crossed_factors_and_without_factors() -> None:
    with pytest.raises(CrosslevelError, match="sample and plate that are not nested"):
        fit_case("Penicillin__crossed_reml").tests(ddf="between-within")
    data = load_data("Orthodont")
    fit = cl.mixed("distance ~ age", data, residual=cl.residual.CompoundSymmetry(within="Subject"))
    with pytest.raises(CrosslevelError, match="no grouping factor"):
        fit.tests(ddf="between-within")
    other = data.assign(other=np.roll(data.Subject.astype(str), 5))
    fit = cl.mixed("distance ~ age + (1 | mm(Subject, other))", other)
    with pytest.raises(CrosslevelError, match="not nested"):
        fit.tests(ddf="between-within")


# -- contrasts --------------------------------------------------------------------------------------------------------

NAMES = [
    "Intercept",
    "ses",
    "sector[Catholic]",
    "ses:sector[Catholic]",
    "I(x ** 2)",
    "within(ses, school)",
    "a-b",
    "x2",
]
PARTS = [[], ["ses"], ["sector[Catholic]"], ["ses", "sector[Catholic]"], *([name] for name in NAMES[4:])]
KNOWN = Coefficients.of(NAMES, PARTS)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("ses", {"ses": 1}),
        ("-ses", {"ses": -1}),
        ("ses:sector[Catholic] - ses", {"ses:sector[Catholic]": 1, "ses": -1}),
        ("sector[Catholic]:ses", {"ses:sector[Catholic]": 1}),
        ("Intercept + 2*ses", {"Intercept": 1, "ses": 2}),
        ("ses * 2 / 4", {"ses": 0.5}),
        ("1.5e1 * ses + .5*sector[Catholic]", {"ses": 15, "sector[Catholic]": 0.5}),
        ("(ses + sector[Catholic]) / 2", {"ses": 0.5, "sector[Catholic]": 0.5}),
        ("2 * (ses - (Intercept - ses))", {"ses": 4, "Intercept": -2}),
        ("I(x ** 2) - within(ses, school)", {"I(x ** 2)": 1, "within(ses, school)": -1}),
        ("a-b - ses", {"a-b": 1, "ses": -1}),
        ("`a-b` + x2", {"a-b": 1, "x2": 1}),
        ("3 * 2 * x2", {"x2": 6}),
        ("ses--x2", {"ses": 1, "x2": 1}),
    ],
)
def test_expressions(text: str, weights: dict[str, float]) -> None:
    (label,), rows = contrast_matrix(text, KNOWN)
    assert label == text
    np.testing.assert_allclose(rows[0], [weights.get(name, 0.0) for name in NAMES])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sess - ses", r"'sess', which is no coefficient. Did you mean 'ses'"),
        ("ses -", "a coefficient or a number is missing"),
        ("", "a coefficient or a number is missing"),
        ("2 * / ses", "a coefficient or a number is missing"),
        ("ses * x2", "cannot be multiplied by each other"),
        ("2 / ses", "only numbers other than zero may divide"),
        ("ses / 0", "only numbers other than zero may divide"),
        ("ses - 1", "a number stands alone"),
        ("(ses + x2", "a bracket is not closed"),
        ("`ses", "a backquote is not closed"),
        ("`sea`", "'sea', which is no coefficient"),
        ("ses x2", "something is left over"),
        ("ses - ses", "every coefficient has the weight zero"),
    ],
)
def test_expressions_that_cannot_be_read(text: str, problem: str) -> None:
    with pytest.raises(CrosslevelError, match=problem):
        contrast_matrix(text, KNOWN)


def test_forms_of_contrasts() -> None:
    difference = np.array([0.0, -1.0, 1.0, 0, 0, 0, 0, 0])
    forms: dict[str, Any] = {
        "weights by coefficient": {"ses": -1, "sector[Catholic]": 1},
        "a series": pd.Series({"ses": -1.0, "sector[Catholic]": 1.0}),
        "numbers": difference,
        "a list of numbers": difference.tolist(),
    }
    for form in forms.values():
        names, rows = contrast_matrix(form, KNOWN)
        assert names == ("-ses + sector[Catholic]",)
        np.testing.assert_array_equal(rows, [difference])
    several: dict[str, Any] = {
        "by name": {"one": "ses", "two": difference},
        "a frame": pd.DataFrame({"ses": [1, -1], "sector[Catholic]": [0, 1]}, index=["one", "two"]),
    }
    for form in several.values():
        names, rows = contrast_matrix(form, KNOWN)
        assert names == ("one", "two")
        np.testing.assert_array_equal(rows, [np.eye(8)[1], difference])
    names, rows = contrast_matrix(["ses", difference, {"x2": 2.0}], KNOWN)
    assert names == ("ses", "-ses + sector[Catholic]", "2 * x2")
    names, rows = contrast_matrix(np.eye(8)[:2], KNOWN)
    assert names == ("Intercept", "ses")


@pytest.mark.parametrize(
    ("contrasts", "problem"),
    [
        ([], "is empty"),
        ({}, "is empty"),
        ([1.0, 2.0], "8 finite weights"),
        ([[np.nan] * 8], "8 finite weights"),
        (object(), "got object"),
        ({"sse": 1.0}, "'sse', which is no coefficient"),
        (["ses", object()], "no expression and no weights"),
        (pd.DataFrame({"sex": [1.0]}), "'sex', which is no coefficient"),
    ],
)
def test_contrasts_that_cannot_be_read(contrasts: object, problem: str) -> None:
    with pytest.raises(CrosslevelError, match=problem):
        contrast_matrix(contrasts, KNOWN)


def test_contrasts_of_a_fit() -> None:
    fit = fit_case("Hsb82__slopes_as_outcomes_reml")
    name = next(term for term in fit.params.index if {"cses", "sector[Catholic]"} == set(term.split(":")))
    table = fit.contrast({"Catholic": f"cses + {name}", "difference": name}, ddf="satterthwaite")
    weights = np.array([(fit.params.index == term).astype(float) for term in ("cses", name)])
    assert table.columns.tolist() == fit.tidy().columns.tolist()
    np.testing.assert_allclose(table["estimate"], [fit.params["cses"] + fit.params[name], fit.params[name]])
    slope = weights.sum(axis=0)
    np.testing.assert_allclose(table.loc["Catholic", "std_error"], np.sqrt(slope @ fit.vcov.to_numpy() @ slope))
    pd.testing.assert_series_equal(
        table.loc["difference"], fit.tests(ddf="satterthwaite").loc[name], check_names=False, rtol=1e-10
    )
    joint = fit.contrast(["cses", name, f"cses + {name}"], ddf="kenward-roger", joint=True)
    again = fit.contrast([name, f"2 * cses - {name}"], ddf="kenward-roger", joint=True)
    assert joint["df_num"].tolist() == [2.0]
    np.testing.assert_allclose(joint, again, rtol=1e-8)


def test_dependent_rows_are_left_out_and_independent_ones_left_alone() -> None:
    rows = np.array([[1.0, 1e-7, 0.0], [0.0, 1.0, -1.0]])
    assert independent_rows(rows) is rows
    dependent = np.vstack([rows, rows.sum(axis=0)])
    found = independent_rows(dependent)
    assert found.shape == (2, 3)
    assert np.linalg.matrix_rank(np.vstack([found, rows])) == 2
