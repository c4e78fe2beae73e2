"""What panel estimators and the summaries they share say to a reader."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_data

import crosslevel as cl
from crosslevel.display import p_statement
from crosslevel.errors import CrosslevelError
from crosslevel.report.findings import effect_sentences


@cache
def grunfeld() -> pd.DataFrame:
    return load_data("Grunfeld")


@cache
def wages() -> pd.DataFrame:
    return load_data("Wages")


def plain(shown: Any) -> str:
    """A document on one line."""
    return " ".join(str(shown).split())


# -- numbers and references ---------------------------------------------------------------------------------------
def test_large_p_values_have_one_sign() -> None:
    assert p_statement(0.99999) == "p > .999"
    assert p_statement(float("nan")) == ""


COMPARED = {
    "inv ~ C(firm) + value": "C(firm): compared with 1.",
    "inv ~ 0 + C(firm) + value": "C(firm): each category has a coefficient of its own.",
    "inv ~ value:C(firm)": "C(firm): each category has a coefficient of its own.",
    "inv ~ 0 + C(firm) * value": "C(firm): compared with 1, but for terms that have a coefficient of each category.",
}


@pytest.mark.parametrize("formula", COMPARED)
def test_references_are_of_those_left_out(formula: str) -> None:
    assert COMPARED[formula] in plain(cl.ols(formula, grunfeld()))


def test_the_reference_of_effects_that_absorb_a_category() -> None:
    """Effects of persons leave one of two dummies, which is then compared with the other."""
    fit = cl.fixed_effects("lwage ~ 0 + bluecol + wks", wages(), group="id")
    assert fit.terms == ("bluecol[no]", "wks")
    assert "bluecol: compared with yes." in plain(fit)


DEGREES = {
    "groups - coefficients": lambda: cl.between("inv ~ value", grunfeld(), group="firm"),
    "differences - coefficients": lambda: cl.first_difference("inv ~ value", grunfeld(), group="firm", time="year"),
    "rows - coefficients - effects of groups": lambda: cl.fixed_effects("inv ~ value", grunfeld(), group="firm"),
    "rows - coefficients - effects of groups and times": lambda: cl.fixed_effects(
        "inv ~ value", grunfeld(), group="firm", time="year", effect="twoways"
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", DEGREES)
def test_degrees_of_freedom_in_words(words: str) -> None:
    assert f"Degrees of freedom: {words}." in plain(DEGREES[words]())


# -- comparisons --------------------------------------------------------------------------------------------------
def test_groups_and_differences_are_of_the_same_rows() -> None:
    """A between fit has as many observations as groups, of the rows that the others have."""
    fits = {
        "within": cl.fixed_effects("inv ~ value", grunfeld(), group="firm"),
        "between": cl.between("inv ~ value", grunfeld(), group="firm"),
        "changes": cl.first_difference("inv ~ value", grunfeld(), group="firm", time="year"),
    }
    assert fits["between"].nobs == 10
    found = cl.compare(fits)
    assert found.notes == ()
    assert [entry.nobs for entry in found.entries] == [200, 200, 200]


# -- group means that are all the same ----------------------------------------------------------------------------
SAME_MEANS = {
    "mathach ~ within(ses, school) + sector": r"has within\(ses, school\), of which every school has the same mean",
    "mathach ~ 0 + within(ses, school) + sector": r"has within\(ses, school\), of which every school",
    "within(mathach, school) ~ ses": r"explains 'within\(mathach, school\)', whose mean is the same in every school",
}


@pytest.mark.parametrize("formula", SAME_MEANS)
def test_means_that_are_rounding_are_refused(formula: str) -> None:
    with pytest.raises(CrosslevelError, match=SAME_MEANS[formula]):
        cl.between(formula, cl.datasets.load("hsb"), group="school")


def test_periods_of_a_balanced_panel_are_refused_between_groups() -> None:
    with pytest.raises(CrosslevelError, match="has year, of which every firm has the same mean"):
        cl.between("inv ~ value + year", grunfeld(), group="firm")
    assert cl.between("inv ~ value + year", grunfeld().iloc[:-3], group="firm").terms == ("Intercept", "value", "year")


def test_deviations_do_not_count_between_groups() -> None:
    """Swamy and Arora's variance between groups is that of the predictors whose means differ."""
    data = cl.datasets.load("hsb")
    both = cl.random_effects("mathach ~ within(ses, school) + sector", data, group="school")
    alone = cl.random_effects("mathach ~ sector", data, group="school")
    between = cl.between("mathach ~ sector", data, group="school", weighted=True)
    sizes, n = between.group_sizes.to_numpy(), 7185
    x = np.column_stack([np.ones(160), between.panel.rows(between.panel.design.x)[1][np.cumsum(sizes) - 1]])
    trace = float(np.trace(np.linalg.inv((x * sizes[:, None]).T @ x) @ ((x * sizes[:, None] ** 2).T @ x)))
    for fit in (both, alone):
        sigma2_e = fit.error_components()["variance"]["idiosyncratic"]
        expected = (between.rss - 158 * sigma2_e) / (n - trace)
        assert fit.error_components()["variance"]["school"] == pytest.approx(expected, rel=1e-10)


# -- Hausman's test -----------------------------------------------------------------------------------------------
CRIME = "lcrmrte ~ lprbarr + lpolpc + lprbconv + lprbpris + lavgsen + ldensity + lwcon"
WAGE = "lwage ~ wks + south + smsa + married + exp + I(exp**2) + bluecol + ind + union"


def pair(formula: str, data: pd.DataFrame, group: str, more: str = "") -> tuple[Any, Any]:
    fe = cl.fixed_effects(formula, data, group=group)
    return fe, cl.random_effects(formula + more, data, group=group)


def test_what_is_not_defined_is_said_first() -> None:
    for found in (
        cl.hausman(*pair(CRIME, load_data("Crime"), "county")),
        cl.hausman(*pair(WAGE, wages(), "id", " + sex + black + ed")),
    ):
        assert not found.is_defined
        text = plain(found)
        assert text.index("not defined for these fits: use method='auxiliary'") < text.index("chi-square =")
        assert "Not to be used chi-square = " in text
    assert "wks 0.00084 0.00103 -0.00020 south" in text
    assert "I(exp ** 2) -0.000418 -0.000808 0.000390 bluecol" in text
    assert cl.hausman(*pair("inv ~ value + capital", grunfeld(), "firm")).is_defined


@pytest.mark.parametrize("method", ["classic", "auxiliary"])
def test_periods_in_both_fits_are_not_tested(method: Any) -> None:
    """In a balanced panel the other slopes are those of outcome and predictors less the means of their periods."""
    formula, names = "inv ~ value + capital + C(year)", ["inv", "value", "capital"]
    fe = cl.fixed_effects(formula, grunfeld(), group="firm")
    re = cl.mixed(formula + " + (1 | firm)", grunfeld())
    found = cl.hausman(fe, re, method=method)
    assert found.df_num == 2.0
    assert "Not tested: C(year)[1936]" in found.notes[0]
    assert "and 14 more" in found.notes[0]
    if method == "classic":
        terms = ["value", "capital"]
        change = fe.params[terms] - re.params[terms]
        spread = fe.vcov.loc[terms, terms] - re.vcov.loc[terms, terms]
        assert found.statistic == pytest.approx(change @ np.linalg.solve(spread, change), rel=1e-8)
        return
    assert found.frame["estimate"].notna().tolist() == [True, True] + [False] * 19
    data = grunfeld()[names] - grunfeld().groupby("year")[names].transform("mean")
    means = data.groupby(grunfeld()["firm"]).transform("mean")
    theta = 1.0 - np.sqrt(re.sigma**2 / (re.sigma**2 + 20.0 * float(re.cov_re["firm"].iloc[0, 0])))
    shares, inside = data - theta * means, (data - means)[names[1:]]
    x = np.hstack([shares[names[1:]], inside])
    beta = np.linalg.lstsq(x, shares["inv"], rcond=None)[0]
    np.testing.assert_allclose(found.frame["estimate"].iloc[:2], beta[2:], rtol=1e-8)


def test_instruments_have_a_test_of_their_own() -> None:
    fe = cl.fixed_effects(WAGE, wages(), group="id")
    instrumented = cl.hausman_taylor(
        WAGE + " + sex + black + ed", wages(), group="id", endogenous=["exp", "wks", "married", "union", "ed"]
    )
    with pytest.raises(CrosslevelError, match=r"re.details.overidentification answers \(chi-square = 5.229 with 3 df"):
        cl.hausman(fe, instrumented)
    exact = cl.hausman_taylor(
        "lwage ~ exp + wks + ed", wages(), group="id", endogenous=["wks", "ed"]
    )  # fmt: skip
    with pytest.raises(CrosslevelError, match="just as many instruments as coefficients, so that nothing can be"):
        cl.hausman(cl.fixed_effects("lwage ~ exp + wks", wages(), group="id"), exact)


# -- correlation over time ----------------------------------------------------------------------------------------
FOLLOW = "that follow each other are correlated"
ASSUMED = "to be independent given its effect; vcov='CR2' allows for dependence."


def noise(kind: str) -> pd.DataFrame:
    """60 groups at 8 times, with errors that are independent, or a random walk."""
    rng = np.random.default_rng(5)
    errors = rng.normal(size=(60, 8))
    errors = errors if kind == "independent" else np.cumsum(errors, axis=1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(60), 8), "t": np.tile(np.arange(8), 60), "x": rng.normal(size=480)})
    return frame.assign(y=frame["x"] + errors.ravel())


def fitted(estimator: Any, kind: str, **options: Any) -> Any:
    return estimator("y ~ x", noise(kind), **{"group": "g", "time": "t", **options})


def test_correlation_over_time_is_said() -> None:
    walk = fitted(cl.fixed_effects, "walk")
    (note,) = walk.notes
    assert note.startswith(f"Residuals of rows {FOLLOW}: {walk.test_serial().rho:.2f}, where -0.14 is expected")
    assert fitted(cl.fixed_effects, "walk", effect="twoways").notes
    assert fitted(cl.fixed_effects, "walk", vcov="white1-HC0").notes
    assert fitted(cl.fixed_effects, "walk", vcov="CR2").notes == ()
    assert fitted(cl.fixed_effects, "independent").notes == ()
    (note,) = fitted(cl.first_difference, "independent").notes
    assert note.startswith(f"Residuals of differences {FOLLOW}: -0.46, where 0.00 is expected")
    assert fitted(cl.first_difference, "walk").notes == ()
    for quiet in (fitted(cl.fixed_effects, "independent"), walk, fitted(cl.fixed_effects, "walk", vcov="CR2")):
        assert ASSUMED not in plain(quiet)


def test_what_is_assumed_without_times() -> None:
    """Nothing follows anything where times are not named, occur twice, or are two."""
    twice = noise("walk").assign(t=noise("walk")["t"] // 2)
    two = noise("walk").query("t < 2")
    for fit in (
        fitted(cl.fixed_effects, "walk", time=None),
        cl.fixed_effects("y ~ x", twice, group="g", time="t"),
        cl.fixed_effects("y ~ x", two, group="g", time="t"),
        fitted(cl.random_effects, "walk"),
    ):
        assert not any(FOLLOW in note for note in fit.notes)
        assert f"They take rows of a g {ASSUMED}" in plain(fit)
    assert ASSUMED not in plain(fitted(cl.random_effects, "walk", vcov="CR1"))
    assert ASSUMED not in plain(cl.between("y ~ x", noise("walk"), group="g"))


def test_sentences_compare_with_what_is_left_out() -> None:
    data = cl.datasets.load("hsb")
    means = list(effect_sentences(cl.mixed("mathach ~ 0 + sector + ses + (1 | school)", data)))
    assert means[0].startswith("sector[Public]: mathach is 11.719 for Public where all other predictors are zero (95%")
    assert means[1].startswith("sector[Catholic]: mathach is 13.820 for Catholic where all")
    fit = cl.mixed("mathach ~ ses:sector + (ses | school)", data)
    slopes = list(effect_sentences(fit))
    for text, sector in zip(slopes, ("Public", "Catholic"), strict=True):
        assert f"the slope of ses is {fit.params[f'ses:sector[{sector}]']:.3f} for {sector} (95%" in text
    compared = list(effect_sentences(cl.mixed("mathach ~ sector + (1 | school)", data)))
    assert "higher for Catholic than for Public" in compared[0]
