"""The ladder of models: its steps against R's fits, its tests against `lrtest`, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_case, load_data

import crosslevel as cl

FORMULA = "mAch ~ cses * sector + meanses * cses + (cses | school)"
STEPS = {
    "null": "null",
    "means as outcomes": "means_as_outcomes2",
    "level-1 predictors": "ancova",
    "random slope of cses": "random_coef",
    "context on the slopes": "slopes_as_outcomes",
}


@pytest.fixture(scope="module")
def found():
    return cl.ladder(FORMULA, load_data("Hsb82"))


@pytest.fixture(scope="module")
def slopes():
    return cl.ladder(
        "mathach ~ ses * sector + meanses + minority + female + (ses + minority | school)", cl.datasets.load("hsb")
    )


@pytest.mark.parametrize(("step", "case"), STEPS.items())
def test_the_deviances_are_those_of_r(found, step, case):
    by_ml, by_reml = load_case(f"Hsb82__{case}_ml").expected, load_case(f"Hsb82__{case}_reml").expected
    row = found.frame.loc[step]
    assert row["deviance_ml"] <= by_ml["deviance"] + 1e-6
    assert row["deviance_reml"] <= by_reml["remlcrit"] + 1e-6
    np.testing.assert_allclose(row["deviance_ml"], by_ml["deviance"], rtol=1e-9)
    np.testing.assert_allclose(row["deviance_reml"], by_reml["remlcrit"], rtol=1e-9)


def test_each_step_is_tested_against_the_one_it_grew_from(found):
    frame = found.frame
    assert frame["against"].to_dict() == {
        "null": "",
        "means as outcomes": "null",
        "level-1 predictors": "null",
        "random slope of cses": "level-1 predictors",
        "context on the intercept": "random slope of cses",
        "context on the slopes": "context on the intercept",
    }
    assert frame["method"].tolist() == ["", "ml", "ml", "reml", "ml", "ml"]
    for name in frame.index[1:]:
        test = cl.lrtest(found.steps[frame.loc[name, "against"]], found.steps[name])
        by = "deviance_" + test.method
        assert frame.loc[name, "p_value"] == test.p_value
        assert frame.loc[name, "statistic"] == test.statistic
        np.testing.assert_allclose(test.statistic, frame.loc[frame.loc[name, "against"], by] - frame.loc[name, by])


def test_what_is_explained_compares_the_variances_of_the_fits(found):
    steps, explained = found.steps, found.explained
    null, middle, final = steps["null"], steps["random slope of cses"], steps["context on the slopes"]
    row = explained.loc[("context on the slopes", "cses")]
    before = explained.loc[("context on the intercept", "cses"), "variance"]
    assert row["variance"] == final.cov_re["school"].loc["cses", "cses"]
    assert row["vs_previous"] == (before - row["variance"]) / before
    assert np.isnan(row["vs_null"])
    within = explained.loc[("random slope of cses", "Residual")]
    assert within["vs_null"] == (null.sigma**2 - middle.sigma**2) / null.sigma**2
    errors = steps["level-1 predictors"].r2(null=null).prediction_error
    assert explained.loc[("level-1 predictors", "rows"), "vs_null"] == pytest.approx(errors["r2"].iloc[0])
    assert explained.loc[("level-1 predictors", "clusters"), "vs_null"] == pytest.approx(errors["r2"].iloc[1])
    assert "rows" not in explained.loc["context on the slopes"].index


def test_reliabilities_and_shares_are_those_of_the_fits(found):
    final = found.final
    own = final.reliability()
    pd.testing.assert_series_equal(
        found.reliability.loc["context on the slopes", "reliability"], own.average, check_names=False
    )
    assert found.icc["null"] == found.steps["null"].icc().estimate
    pd.testing.assert_frame_equal(found.remaining, final.test_random())


def test_several_slopes_are_tested_alone_and_then_enter_together(slopes):
    frame = slopes.frame
    singles = [name for name in frame.index if name.startswith("random slope of")]
    assert singles == ["random slope of ses", "random slope of minority", "random slope of female"]
    assert set(frame.loc[singles, "against"]) == {"level-1 predictors"}
    assert frame.loc["random slopes", "against"] == "level-1 predictors"
    assert frame.loc["context on the intercept", "against"] == "random slopes"
    assert slopes.equations.to_dict("index") == {
        "Intercept": {"predictors": 2, "rule_of_thumb": 16, "df": 157},
        "ses": {"predictors": 1, "rule_of_thumb": 16, "df": 158},
    }


def test_one_set_of_rows_serves_all_steps():
    data = cl.datasets.load("hsb").iloc[:2000].copy()
    data.loc[data.index[::7], "minority"] = np.nan
    found = cl.ladder("mathach ~ ses + minority", data, group="school")
    assert {fit.nobs for fit in found.steps.values()} == {int(data["minority"].notna().sum())}
    text = " ".join(str(found).split())
    assert "286 of 2,000 left out for missing values" in text
    assert list(found.steps)[-1] == "random slope of minority"


def test_the_words_say_what_was_found(found, slopes):
    text = " ".join(str(found).split())
    assert "Null model: 18.0% of the variance lies between clusters of school (chi-square 986.12, p < .001)." in text
    assert "Context on the slopes improves the model (chi-square 41.71, 2 df, p < .001)." in text
    assert "the slope of cses does not clearly vary any more between clusters (p = .430)." in text
    assert "160 of them bear about 16 predictors in each equation" in text
    assert "A negative reduction is no mistake." in " ".join(str(slopes).split())
    assert max(map(len, str(slopes).splitlines())) <= 80


@pytest.mark.parametrize(
    ("formula", "group", "words"),
    [
        ("mathach ~ ses", None, "or give group='country'"),
        ("mathach ~ ses + (1 | school) + (1 | sector)", None, "2 grouping factors"),
        ("mathach ~ 0 + ses + (1 | school)", None, "no intercept in its fixed part"),
        ("mathach ~ ses + (0 + ses | school)", None, "no intercept in its random part"),
        ("mathach ~ ses + (1 | school)", "sector", "`group` is 'sector', and the random part"),
        ("mathach ~ sess + (1 | school)", None, "Did you mean"),
    ],
)
def test_wrong_input_is_explained(formula, group, words):
    with pytest.raises(cl.CrosslevelError, match=words.replace("(", r"\(").replace("|", r"\|")):
        cl.ladder(formula, cl.datasets.load("hsb"), group=group)
