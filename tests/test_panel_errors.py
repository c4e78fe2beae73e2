"""What panel estimators say: refusals with their reasons, notes, and summaries."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_data

import crosslevel as cl
from crosslevel.errors import CrosslevelError


@cache
def hsb() -> pd.DataFrame:
    return cl.datasets.load("hsb")


@cache
def sleep() -> pd.DataFrame:
    """Reaction times with a predictor that changes, one of subjects, and one of days."""
    frame = cl.datasets.load("sleepstudy")
    days = frame["Days"]
    odd = frame["Subject"].astype(int) % 2
    return frame.assign(
        late=(days > 4) * 1.0, odd=odd, mixed=days * odd, wave="w" + (days + 1).astype(str), row=range(180), one="a"
    )


@cache
def subjects() -> tuple[Any, Any]:
    fe = cl.fixed_effects("Reaction ~ late", sleep(), group="Subject", time="Days")
    return fe, cl.random_effects("Reaction ~ late + odd", sleep(), group="Subject")


@cache
def schools() -> tuple[Any, Any]:
    return within("mathach ~ ses"), cl.random_effects("mathach ~ ses + sector", hsb(), group="school")


def within(formula: str, data: pd.DataFrame | None = None, **options: Any) -> Any:
    options = {"group": "school" if data is None else "Subject", **options}
    return cl.fixed_effects(formula, hsb() if data is None else data, **options)


def two_way(formula: str) -> Any:
    return within(formula, sleep(), time="Days", effect="twoways")


def changes(formula: str, data: pd.DataFrame | None = None, **options: Any) -> Any:
    return cl.first_difference(
        formula, sleep() if data is None else data, **{"group": "Subject", "time": "Days", **options}
    )


def apart() -> pd.DataFrame:
    """No subject on two days in a row."""
    return sleep().query("(Days == 0 and odd == 1) or (Days == 5 and odd == 0)")


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "constant": (
        lambda: within("mathach ~ ses + sector + meanses"),
        r"has sector\[Catholic\], meanses, which do not vary within school: the effects of school absorb them.*"
        "cl.random_effects, cl.hausman_taylor, or cl.mixed with the group means",
    ),
    "dummies": (lambda: within("mathach ~ ses + C(school)"), r"C\(school\) \(the groups themselves"),
    "between slope": (lambda: within("mathach ~ ses + between(ses, school)"), r"\(a mean of the group\), which does"),
    "random term": (lambda: within("mathach ~ ses + (1 | school)"), r"random term \(1 \| school\).*group='school'"),
    "no column": (lambda: within("mathach ~ ses", group="shool"), "`group` uses 'shool'.*Did you mean 'school'"),
    "no group": (lambda: within("mathach ~ ses", group=None), "`group` is the column of the groups.*got None"),
    "not a name": (lambda: within("mathach ~ ses", group=3), "`group` is the name of a column; got int"),
    "not a formula": (lambda: within(3), "`formula` is text such as 'y ~ x"),
    "one group": (lambda: within("Reaction ~ late", sleep(), group="one"), "has one value in the rows used: 'a'"),
    "groups of one": (lambda: within("Reaction ~ late", sleep(), group="row"), "each value occurs in one row"),
    "no predictors": (lambda: within("mathach ~ 1"), "has no predictors"),
    "constant outcome": (lambda: within("meanses ~ ses"), "explains 'meanses', which does not vary within school"),
    "open covariance": (lambda: within("mathach ~ ses", vcov="HC1"), "'arellano-HC1'.*'white2-HC1'.*'white1-HC1'"),
    "no covariance": (lambda: within("mathach ~ ses", vcov="CR9"), "`vcov` is one of 'iid', 'CR0'.*got 'CR9'"),
    "no effect": (lambda: within("mathach ~ ses", effect="time"), "'individual' or 'twoways'; got 'time'"),
    "no times": (lambda: within("mathach ~ ses", effect="twoways"), "needs the times.*time='year'"),
    "one column twice": (lambda: within("Reaction ~ late", sleep(), time="Subject"), "both name 'Subject'"),
    "constant in times": (lambda: two_way("Reaction ~ late + mixed"), "has late, the same for all groups at each Days"),
    "sum of both": (lambda: two_way("Reaction ~ I(Days + odd)"), "leave nothing: a sum of a part"),
    "outcome a sum of both": (
        lambda: within("both ~ mixed", sleep().assign(both=sleep()["Days"] ** 2 + sleep()["odd"]), time="Days",
                       effect="twoways", group="Subject"),
        "'both', of which effects of Subject and of Days leave nothing",
    ),
    "no changes": (lambda: changes("Reaction ~ odd"), "has odd, which never changes from one Days to the next"),
    "twice at a time": (
        lambda: changes("Reaction ~ late", pd.concat([sleep(), sleep().head(2)])),
        "2 rows at a Days that their Subject has a row of already, such as Subject '308' at Days 0",
    ),
    "order of text": (lambda: changes("Reaction ~ late", time="wave"), "alphabetical order: 'w1', 'w10', 'w2', 'w3'"),
    "no neighbours": (lambda: changes("Reaction ~ late", apart()), "no two rows of the same Subject at neighbouring"),
    "no time": (lambda: changes("Reaction ~ late", time=None), "`time` is the column of the times"),
    "few groups": (
        lambda: cl.between("Reaction ~ odd", sleep()[sleep()["Subject"].isin(["308", "309"])], group="Subject"),
        "2 coefficients for 2 groups of Subject",
    ),
    "few groups for Swamy-Arora": (
        lambda: cl.random_effects("inv ~ value * capital", load_data("Grunfeld").query("firm < 5"), group="firm"),
        "4 coefficients for 4 groups of firm, whose means are all that is compared.*use method='amemiya' or 'nerlove'",
    ),
    "between by group": (
        lambda: cl.between("Reaction ~ odd", sleep(), group="Subject", vcov="CR2"),
        "one of 'iid', 'HC0', 'HC1', 'HC2', 'HC3', its rows being the groups; got 'CR2'",
    ),
    "no method": (
        lambda: cl.random_effects("Reaction ~ late", sleep(), group="Subject", method="sa"),
        r"'swar' \(Swamy-Arora\), 'walhus'.*got 'sa'",
    ),
    "one row alone": (
        lambda: changes("Reaction ~ I(row == 0)").covariance_by("arellano-HC3"),
        "1 rows alone determine a coefficient. Use HC2",
    ),
    "no serial test": (lambda: subjects()[1].test_serial(), "Test those of cl.fixed_effects or cl.first_difference"),
    "unknown order": (lambda: within("mathach ~ ses").test_serial(), "`time` was not named"),
    "one variance": (lambda: subjects()[0].error_components(), "does not split the variance"),
    "no group effects": (lambda: changes("Reaction ~ late").group_effects(), "has no effects of groups"),
    "levels of changes": (lambda: changes("Reaction ~ late").predict(sleep()), "`new` has levels, and first differ"),
    "without effects": (lambda: changes("Reaction ~ late").predict(effects=False), "without effects of groups anyway"),
    "swapped": (lambda: cl.hausman(*subjects()[::-1]), "`fe` is a fit of cl.fixed_effects, and comes first; got"),
    "not random": (lambda: cl.hausman(subjects()[0], subjects()[0]), "`re` is a fit of cl.random_effects or of cl.mix"),
    "classic with vcov": (lambda: cl.hausman(*subjects(), vcov="CR1"), "Use method='auxiliary', which takes any"),
    "no form": (lambda: cl.hausman(*subjects(), method="x"), "'classic' or 'auxiliary'; got 'x'"),
    "times in one": (lambda: cl.hausman(two_way("Reaction ~ mixed"), subjects()[1]), "effects of times too"),
    "other rows": (
        lambda: cl.hausman(
            subjects()[0], cl.random_effects("Reaction ~ late", sleep().head(100), group="Subject")
        ),
        "fitted to 100 rows of 'Reaction', `fe` to 180",
    ),
    "other predictors": (
        lambda: cl.hausman(subjects()[0], cl.random_effects("Reaction ~ odd", sleep(), group="Subject")),
        "`re` has no late, which `fe` has",
    ),
    "other groups": (
        lambda: cl.hausman(subjects()[0], cl.random_effects("Reaction ~ late", sleep(), group="odd")),
        "random effects of 'odd', and `fe` fixed effects of 'Subject'",
    ),
    "random slopes": (
        lambda: cl.hausman(subjects()[0], cl.mixed("Reaction ~ late + (late | Subject)", sleep())),
        "more than one random intercept",
    ),
    "means already": (
        lambda: cl.hausman(
            within("mathach ~ ses"), cl.random_effects("mathach ~ ses + between(ses, school)", hsb(), group="school"),
            method="auxiliary",
        ),
        "group means of ses do not differ between groups, or predictors of `re` determine them",
    ),
    "means already, classic": (
        lambda: cl.hausman(
            within("mathach ~ ses"), cl.random_effects("mathach ~ ses + between(ses, school)", hsb(), group="school")
        ),
        r"as Mundlak's terms do.*cl.mundlak_test\(re\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    call, text = REFUSED[what]
    with pytest.raises(CrosslevelError, match=text):
        call()


def test_rows_with_missing_values_are_counted() -> None:
    frame = sleep().assign(Subject=sleep()["Subject"].astype(object))
    frame.loc[3, "Subject"] = None
    frame.loc[5, "late"] = np.nan
    frame["Days"] = frame["Days"].astype(float)
    frame.loc[7, "Days"] = np.nan
    fit = within("Reaction ~ late", frame, time="Days")
    assert (fit.nobs, fit.rows.read) == (177, 180)
    assert fit.rows.missing == {"late": 1, "Subject": 1, "Days": 1}
    assert "3 of 180 rows" in fit.notes[0]
    with pytest.raises(CrosslevelError, match="3 rows with missing values"):
        within("Reaction ~ late", frame, time="Days", missing="raise")


def test_notes() -> None:
    one = sleep()[(sleep()["Subject"] != "308") | (sleep()["Days"] == 5)]
    assert "1 of the 18 groups of Subject has one row: it adds nothing" in within("Reaction ~ late", one).notes[0]
    aliased = within("Reaction ~ Days + I(2 * Days + odd)", sleep())
    assert aliased.terms == ("Days",)
    assert "earlier predictors determine them within Subject: I(2 * Days + odd)" in aliased.notes[0]
    months = sleep()["Days"].map(dict(enumerate("abcdefghij")))
    spelt = changes("Reaction ~ late", sleep().assign(month=months), time="month")
    assert "month is text and was put into alphabetical order: a, b, c, d" in spelt.notes[0]
    np.testing.assert_allclose(spelt.beta, changes("Reaction ~ late").beta)
    ordered = sleep().assign(wave=pd.Categorical(sleep()["wave"], [f"w{k}" for k in range(1, 11)], ordered=True))
    in_order = changes("Reaction ~ late", ordered, time="wave")
    np.testing.assert_allclose(in_order.beta, changes("Reaction ~ late").beta)
    assert in_order.notes == changes("Reaction ~ late").notes
    assert len(in_order.notes) == 1  # on the correlation of differences
    uneven = changes("Reaction ~ late", sleep()[sleep()["Days"] != 4])
    assert "Days are not equally spaced" in uneven.notes[0]
    trend = changes("Reaction ~ late + Days")
    assert trend.terms == ("Intercept", "late")
    assert "determine their differences: Days" in trend.notes[0]
    assert changes("Reaction ~ 0 + late + Days").terms == ("late", "Days")


def test_few_groups_are_said() -> None:
    few = load_data("Grunfeld").query("firm < 6")
    fit = cl.fixed_effects("inv ~ value", few, group="firm", vcov="arellano-HC1")
    assert "Only 5 groups: Arellano" in fit.notes[-1]
    assert "Only 5 clusters of firm" in cl.fixed_effects("inv ~ value", few, group="firm", vcov="CR1").notes[0]
    assert fit.df.iloc[0] == 4.0


def test_no_variance_between_groups_is_said() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(30), 5), "x": rng.normal(size=150)})
    noise = rng.normal(size=150)
    frame["y"] = frame["x"] + noise - 0.9 * pd.Series(noise).groupby(frame["g"]).transform("mean")
    fit = cl.random_effects("y ~ x", frame, group="g")
    assert fit.error_components()["variance"]["g"] == 0.0
    assert "and set to zero" in fit.notes[0]
    np.testing.assert_allclose(fit.beta, cl.ols("y ~ x", frame).beta, rtol=1e-9)
    assert np.all(fit.group_effects()["estimate"] == 0.0)


def test_only_an_intercept() -> None:
    """The components are those of the one-way analysis of variance."""
    fit = cl.random_effects("Reaction ~ 1", sleep(), group="Subject")
    groups = sleep().groupby("Subject")["Reaction"]
    inside = float(((sleep()["Reaction"] - groups.transform("mean")) ** 2).sum() / 162)
    outside = 10.0 * float(groups.mean().var(ddof=1))
    found = fit.error_components()["variance"]
    assert found["idiosyncratic"] == pytest.approx(inside, rel=1e-10)
    assert found["Subject"] == pytest.approx((outside - inside) / 10.0, rel=1e-10)
    assert fit.test_effects().loc["F, Subject", "statistic"] == pytest.approx(outside / inside, rel=1e-10)


def test_what_every_regression_answers() -> None:
    fit = within("mathach ~ ses + minority", vcov="CR2")
    assert fit.estimator == "Fixed effects (within school), CR2"
    assert fit.ngroups == {"school": 160}
    assert fit.glance().loc[0, ["nobs", "method", "vcov"]].tolist() == [7185, "within", "CR2"]
    assert fit.group_sizes.sum() == 7185
    np.testing.assert_allclose(fit.conf_int(), fit.tidy()[["conf_low", "conf_high"]])
    assert fit.conf_int(method="iid").loc["ses", "conf_low"] > fit.conf_int().loc["ses", "conf_low"]
    joint = fit.contrast(["ses", "minority"])
    assert (joint.test, joint.df_num) == ("HTZ", 2.0)
    assert fit.converged
    assert fit.status.startswith("Solved")
    two = within("Reaction ~ mixed", sleep(), time="Days", effect="twoways")
    assert two.ngroups == {"Subject": 18, "Days": 10}
    assert list(two.augment().columns) == ["Reaction", "Subject", "Days", "fitted", "resid", "effect"]


SUMMARIES = {
    "within": (lambda: within("mathach ~ ses"), ["Overall intercept", "rows less the means of their groups"]),
    "twoways": (lambda: two_way("Reaction ~ mixed"), ["within Subject and Days", "10 (Days)"]),
    "between": (lambda: cl.between("Reaction ~ odd", sleep(), group="Subject"), ["means of 18 groups, each once"]),
    "difference": (lambda: changes("Reaction ~ late"), ["162 between neighbouring times"]),
    "random": (lambda: subjects()[1], ["Swamy-Arora", "theta = ", "Between Subject", "standard normal"]),
    "arellano": (lambda: within("mathach ~ ses", vcov="arellano-HC1"), ["(Arellano)", "groups - 1"]),
    "hausman": (lambda: cl.hausman(*schools()), ["chi-square = ", "Difference"]),
    "auxiliary": (lambda: cl.hausman(*schools(), method="auxiliary", vcov="CR2"), ["F = ", "CR2"]),
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_summaries(name: str) -> None:
    call, texts = SUMMARIES[name]
    shown = call()
    text = " ".join(str(shown).split())
    for wanted in texts:
        assert wanted in text
    assert max(map(len, str(shown).splitlines())) <= 80
    assert "<table" in shown._repr_html_()


def test_undefined_classic_test_is_said() -> None:
    data = load_data("Crime")
    formula = "lcrmrte ~ lprbarr + lpolpc + lprbconv + lprbpris + lavgsen + ldensity + lwcon"
    test = cl.hausman(
        cl.fixed_effects(formula, data, group="county"), cl.mixed(formula + " + (1 | county)", data)
    )  # fmt: skip
    assert test.statistic < 0.0
    assert np.isnan(test.p_value)
    assert "no p-value" in str(test)
    assert "not positive definite" in str(test)
