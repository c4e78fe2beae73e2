"""The multiverse: its combinations, its fits beside those made one by one, and what it says."""

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.diagnostics.sensitivity.multiverse import multiverse

COLUMNS = ["estimate", "std_error", "df", "p_value", "conf_low", "conf_high"]
BASE = "mathach ~ ses * sector + female + (ses | school)"


@pytest.fixture(scope="module")
def data():
    hsb = pd.DataFrame(cl.datasets.load("hsb"))
    kept = list(dict.fromkeys(hsb["school"]))[::4]
    return hsb[hsb["school"].isin(kept)].reset_index(drop=True)


@pytest.fixture(scope="module")
def found(data):
    alternatives = {
        "controls": ["minority", "female"],
        "ses": ["within(ses, school) + between(ses, school)"],
        "random": ["(1 | school)"],
        "rows": {"poor": "ses < 0.5"},
        "estimator": ["ols", "fixed effects"],
    }
    return multiverse(BASE, data, alternatives=alternatives, progress=False)


def test_each_fit_is_that_of_its_formula_alone(found, data):
    frame = found.frame.set_index("term")
    for k in range(0, len(found.specifications), 5):
        each = found.specifications[k]
        rows = data[data["ses"] < 0.5] if each.chosen["rows"] == "poor" else data
        how = each.chosen["estimator"]
        if how == "reml":
            fit = cl.mixed(each.formula, rows)
        elif how == "ols":
            fit = cl.ols(each.formula, rows, cluster="school")
        else:
            fit = cl.fixed_effects(each.formula, rows, group="school")
        alone = fit.tidy()
        first = "within(ses, school)" if "within" in each.chosen["ses"] else "ses"
        for term, own in {"ses": first, "ses:sector[Catholic]": f"{first}:sector[Catholic]"}.items():
            here = frame[frame["specification"] == k].loc[term]
            np.testing.assert_allclose(here[COLUMNS].astype(float), alone.loc[own, COLUMNS], rtol=2e-5, atol=1e-12)
        assert here["nobs"] == fit.nobs


def test_combinations_are_those_that_differ(found):
    assert found.specifications[0].chosen == {
        "minority": "out", "female": "in", "ses": "ses", "random": "(ses | school)", "rows": "all rows",
        "estimator": "reml",
    }  # fmt: skip
    # regressions have no random part: 2 x 2 controls, 2 forms, 2 sets of rows, and 2 mixed models and 2 regressions
    assert len(found.specifications) == 2**4 * 4
    kinds = {(each.chosen["random"], each.chosen["estimator"]) for each in found.specifications}
    assert kinds == {("(ses | school)", "reml"), ("(1 | school)", "reml"), ("none", "ols"), ("none", "fixed effects")}
    assert len({(each.formula, *each.chosen.values()) for each in found.specifications}) == len(found.specifications)


def test_summary_and_shares_are_those_of_the_frame(found):
    assert found.terms == ("ses", "sector[Catholic]", "ses:sector[Catholic]")
    own = found.frame[found.frame["term"] == "ses"]
    row = found.summary.loc["ses"]
    assert row["median"] == pytest.approx(own["estimate"].median())
    assert row["significant"] == pytest.approx(np.mean(own["p_value"] < 0.05))
    between = own.groupby("minority")["estimate"].transform("mean")
    share = between.var(ddof=0) / own["estimate"].var(ddof=0)
    assert found.influence.loc["ses", "minority"] == pytest.approx(share)
    # a fixed-effects regression has no coefficient of the sector, and is not counted as failed
    assert found.summary.loc["sector[Catholic]", "specifications"] == 2**4 * 3
    assert not any(each.problem for each in found.specifications)


def test_a_result_that_depends_on_a_choice_is_told():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(40), 10)
    w = rng.normal(size=40)[g]
    x = w + rng.normal(size=400)
    data = pd.DataFrame({"g": g, "x": x, "w": w, "y": 2 * w + 0.0 * x + rng.normal(size=400)})
    found = multiverse("y ~ x + (1 | g)", data, alternatives={"controls": ["w"], "estimator": ["ols"]}, progress=False)
    assert found.terms == ("x",)
    assert found.concern in ("look", "act")
    text = " ".join(found.sentences)
    assert "It depends most on" in text
    assert "cl.plot.specification_curve" in text
    assert "Coefficients over specifications" in str(found)
    assert found.document()._repr_html_()


def test_rows_are_the_same_or_own(data):
    holed = data.assign(minority=data["minority"].where(np.arange(len(data)) % 5 > 0))
    alternatives = {"controls": ["minority"], "rows": {"girls": (data["female"] == 1).to_numpy()}}
    fit = cl.mixed("mathach ~ ses + (1 | school)", holed)
    same = multiverse(fit, alternatives=alternatives, progress=False).frame
    own = multiverse(fit, alternatives=alternatives, rows="own", progress=False).frame
    complete = int(holed["minority"].notna().sum())
    assert same.loc[same["rows"] == "all rows", "nobs"].tolist() == [complete] * 2
    assert own.loc[own["rows"] == "all rows", "nobs"].tolist() == [len(data), complete]
    girls = int((holed["minority"].notna() & (data["female"] == 1)).sum())
    assert same.loc[same["rows"] == "girls", "nobs"].tolist() == [girls] * 2


def test_other_families_and_outcomes(data):
    part = data[data["school"].isin(data["school"].unique()[:12])]
    fit = cl.mixed("I(mathach > 12) ~ ses + (1 | school)", part, family="binomial", quadrature="laplace")
    alternatives = {"controls": ["female"], "outcome": ["I(mathach > 15)"], "random": ["none"]}
    found = multiverse(fit, alternatives=alternatives, terms="ses", progress=False)
    assert found.summary.loc["ses", "as_given"] == pytest.approx(fit.params["ses"], rel=1e-6)
    again = cl.mixed(found.specifications[2].formula, part, family="binomial", quadrature="laplace")
    assert found.frame["estimate"][2] == pytest.approx(again.params["ses"], rel=1e-6)


@pytest.mark.parametrize(
    ("alternatives", "words"),
    [
        ({}, "is a dict of what may be chosen"),
        ({"sex": ["male"]}, "nor a predictor of the formula"),
        ({"controls": ["a + b"]}, "a control is one term"),
        ({"random": ["school"]}, "write it as in a formula"),
        ({"rows": {"odd": "nothing > 1"}}, "no condition on the columns"),
        ({"rows": {"odd": np.ones(3, dtype=bool)}}, "truth values"),
        ({"estimator": ["gmm"]}, "there are 'reml', 'ml', 'ols'"),
        ({"ses": ["ses:female"]}, "the first takes the predictor's place"),
        ({"controls": [f"I(ses ** {k})" for k in range(2, 16)]}, "more than `most`"),
    ],
)
def test_impossible_choices_are_refused(data, alternatives, words):
    with pytest.raises(cl.CrosslevelError, match=words):
        multiverse("mathach ~ ses + (1 | school)", data, alternatives=alternatives, progress=False)
