"""`cl.lrtest`: against lme4 and nlme, nestedness, and tests by simulation."""

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, load_data
from scipy import stats

import crosslevel as cl
from crosslevel import CrosslevelError

SLEEP = {
    "ri": "Reaction ~ Days + (1 | Subject)",
    "uncorr": "Reaction ~ Days + (Days || Subject)",
    "rs": "Reaction ~ Days + (Days | Subject)",
}
HSB = {
    "ancova": "mAch ~ cses + (1 | school)",
    "random_coef": "mAch ~ cses + (cses | school)",
    "slopes_as_outcomes": "mAch ~ cses * sector + meanses * cses + (cses | school)",
    "slopes_as_outcomes_ri": "mAch ~ cses * sector + meanses * cses + (1 | school)",
}
EXAM = {
    "ri": "normexam ~ standLRT + (1 | school)",
    "rs": "normexam ~ standLRT + (standLRT | school)",
    "rs_sex_schgend": "normexam ~ standLRT + sex + schgend + (standLRT | school)",
}
LME4 = [
    ("sleepstudy", SLEEP["ri"], SLEEP["rs"], "ml", "lrt_ml_ri_vs_rs"),
    ("sleepstudy", SLEEP["uncorr"], SLEEP["rs"], "ml", "lrt_ml_uncorr_vs_rs"),
    ("sleepstudy", SLEEP["ri"], SLEEP["rs"], "reml", "lrt_reml_ri_vs_rs"),
    ("sleepstudy", SLEEP["uncorr"], SLEEP["rs"], "reml", "lrt_reml_uncorr_vs_rs"),
    ("Hsb82", HSB["ancova"], HSB["random_coef"], "ml", "lrt_ml_ancova_vs_random_coef"),
    ("Hsb82", HSB["ancova"], HSB["random_coef"], "reml", "lrt_reml_ancova_vs_random_coef"),
    ("Hsb82", HSB["random_coef"], HSB["slopes_as_outcomes"], "reml", "lrt_ml_random_coef_vs_slopes_as_outcomes"),
    ("Hsb82", HSB["slopes_as_outcomes_ri"], HSB["slopes_as_outcomes"], "reml", "lrt_reml_slopes_ri_vs_rs"),
    ("Exam", EXAM["ri"], EXAM["rs"], "ml", "lrt_ml_ri_vs_rs"),
    ("Exam", EXAM["ri"], EXAM["rs"], "reml", "lrt_reml_ri_vs_rs"),
    ("Exam", EXAM["rs"], EXAM["rs_sex_schgend"], "reml", "lrt_ml_rs_vs_rs_sex_schgend"),
]


@cache
def fitted(formula: str, dataset: str, method: str = "reml", residual: Any = None) -> Any:
    frame = load_data(dataset)
    if dataset == "Orthodont":
        frame = visits()
    return cl.mixed(formula, frame, method=method, residual=residual)


@cache
def visits() -> pd.DataFrame:
    frame = load_data("Orthodont")
    return frame.assign(visit=(frame["age"] - 8) // 2)


def expected(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / "expected" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("dataset", "small", "large", "method", "key"), LME4, ids=[f"{c[0]}-{c[4]}" for c in LME4])
def test_lme4(dataset, small, large, method, key):
    """Where fixed parts differ our REML fits are refitted by ML, as the reference was."""
    test = cl.lrtest(fitted(small, dataset, method), fitted(large, dataset, method))
    one, other = expected(f"{dataset}__tests")[key]
    assert test.statistic == pytest.approx(other["Chisq"], abs=5e-7)
    assert test.df == other["Df"]
    assert test.naive_p_value == pytest.approx(other["Pr(>Chisq)"], rel=1e-6)
    for row, ours in ((one, "small"), (other, "large")):
        for r_name, name in (("npar", "n_params"), ("AIC", "aic"), ("BIC", "bic"), ("deviance", "deviance")):
            assert test.frame.loc[ours, name] == pytest.approx(row[r_name], abs=1e-6)
    assert test.method == key.split("_")[1]
    assert bool(test.notes) == (method != test.method)


VARIDENT = cl.residual.By("Sex")
NLME = [
    ("Orthodont", "distance ~ age * Sex + (1 | Subject)", None, VARIDENT, "ri_vs_varident"),
    ("Orthodont", "distance ~ age * Sex + (1 | Subject)", None, cl.residual.AR1("visit", "Subject"), "ri_vs_corar1"),
    ("Hsb82", HSB["slopes_as_outcomes"], None, cl.residual.By("sector"), "hom_vs_varident_sector"),
]


@pytest.mark.parametrize("method", ["ml", "reml"])
@pytest.mark.parametrize(("dataset", "formula", "small", "large", "key"), NLME, ids=[case[4] for case in NLME])
def test_nlme(dataset, formula, small, large, key, method):
    test = cl.lrtest(fitted(formula, dataset, method, small), fitted(formula, dataset, method, large))
    row = expected(f"{dataset}__tests_nlme_{method}")[key][1]
    assert test.statistic == pytest.approx(row["L.Ratio"], abs=5e-6)  # nlme's optimiser stops that early
    assert test.df == 1
    assert test.p_value == test.naive_p_value == pytest.approx(row["p-value"], rel=1e-4)


def test_a_slope_and_a_coefficient_together():
    """Three parameters, of which one is a variance: half and half of two and three degrees of freedom."""
    test = cl.lrtest(fitted("Reaction ~ 1 + (1 | Subject)", "sleepstudy"), fitted(SLEEP["rs"], "sleepstudy"))
    assert test.method == "ml"
    assert "fitted anew by maximum likelihood" in test.notes[0]
    np.testing.assert_allclose(test.weights, [0.0, 0.0, 0.5, 0.5])
    ml = [
        cl.mixed(f, load_data("sleepstudy"), method="ml").deviance
        for f in ("Reaction ~ 1 + (1 | Subject)", SLEEP["rs"])
    ]
    assert test.statistic == pytest.approx(ml[0] - ml[1], abs=1e-8)


def test_restricted_likelihoods_of_one_model_in_two_parametrisations_agree():
    """Columns in other units change the restricted likelihood, but not the model."""
    plain = cl.lrtest(fitted(SLEEP["ri"], "sleepstudy"), fitted(SLEEP["rs"], "sleepstudy"))
    other = fitted("Reaction ~ I(2 * Days + 3) + (1 | Subject)", "sleepstudy")
    assert cl.lrtest(other, fitted(SLEEP["rs"], "sleepstudy")).statistic == pytest.approx(plain.statistic, abs=1e-8)


def test_weighted_rows_in_two_parametrisations():
    frame = load_data("sleepstudy")
    small, other, large = (
        cl.mixed(formula, frame, weights=cl.Precision("w"))
        for formula in (SLEEP["ri"], "Reaction ~ I(Days / 7) + (1 | Subject)", SLEEP["rs"])
    )
    assert cl.lrtest(other, large).statistic == pytest.approx(cl.lrtest(small, large).statistic, abs=1e-8)


def test_one_fit_by_each_likelihood():
    test = cl.lrtest(fitted(SLEEP["ri"], "sleepstudy", "ml"), fitted(SLEEP["rs"], "sleepstudy", "reml"))
    assert test.method == "ml"
    assert "One fit was by REML" in test.notes[0]
    assert test.statistic == pytest.approx(expected("sleepstudy__tests")["lrt_ml_ri_vs_rs"][1]["Chisq"], abs=5e-7)


def test_copies_of_the_data_are_the_same_rows():
    frame = load_data("sleepstudy")
    test = cl.lrtest(cl.mixed(SLEEP["ri"], frame.copy()), cl.mixed(SLEEP["rs"], frame.copy()))
    assert test.statistic == pytest.approx(42.83681343643, abs=5e-7)


def test_crossed_factors():
    data = load_data("Penicillin")
    test = cl.lrtest(
        cl.mixed("diameter ~ 1 + (1 | sample)", data), cl.mixed("diameter ~ 1 + (1 | plate) + (1 | sample)", data)
    )
    assert test.p_value == pytest.approx(0.5 * stats.chi2.sf(test.statistic, 1), rel=1e-12)
    assert test.reference.startswith("0.5 chi-square(0) + 0.5 chi-square(1)")


def test_nested_factors_in_another_order():
    data = load_data("Pastes")
    small = cl.mixed("strength ~ 1 + (1 | cask:batch)", data)
    large = cl.mixed("strength ~ 1 + (1 | batch/cask)", data)
    assert cl.lrtest(small, large).df == 1


@pytest.mark.parametrize(("small", "large", "df", "zero"), [
    ("(1 | g)", "(x + z | g)", 5, (2, "2 effects")),
    ("(x || g)", "(x + z | g)", 4, (3, "1 effect")),
    ("(x | g)", "(x + z || g)", None, None),
    ("(0 + x | g)", "(x | g)", 2, (1, "1 effect")),
    ("cs(0 + k | g)", "hcs(0 + k | g)", 2, (2, "none")),
    ("cs(0 + k | g)", "(0 + k | g)", 4, (4, "none")),
    ("(0 + k || g)", "hcs(0 + k | g)", None, None),
    ("ar1(0 + k | g)", "har1(0 + k | g)", 2, (2, "none")),
    ("hcs(0 + k | g)", "(0 + k | g)", 2, (2, "none")),
    ("(1 | g)", "(1 | g) + (1 | h)", 1, (0, "1 effect")),
    ("(1 | g)", "(1 | h)", None, None),
])  # fmt: skip
def test_structures(small, large, df, zero):
    frame = many()
    fits = [cl.mixed(f"y ~ x + {random}", frame) for random in (small, large)]
    if df is None:
        with pytest.raises(CrosslevelError, match=r"special case of the second|same model|smaller model first"):
            cl.lrtest(*fits)
        return
    test = cl.lrtest(*fits)
    free, cone = zero
    assert test.df == df == fits[1].n_params - fits[0].n_params
    assert np.flatnonzero(test.weights > 0.0)[0] == free
    assert len(test.weights) == free + {"none": 0, "1 effect": 1, "2 effects": 3}[cone] + 1
    assert test.weights.sum() == pytest.approx(1.0, abs=1e-9)
    assert test.p_value <= test.naive_p_value


@cache
def many() -> pd.DataFrame:
    rng, n = np.random.default_rng(8), 900
    frame = pd.DataFrame({"g": rng.integers(0, 30, n), "h": rng.integers(0, 20, n), "x": rng.normal(size=n)})
    frame["z"] = rng.normal(size=n)
    frame["k"] = pd.Categorical.from_codes(rng.integers(0, 3, n), list("uvw"))
    b = rng.normal(size=(30, 3)) * [0.7, 0.5, 0.3]
    frame["y"] = b[frame["g"], 0] + b[frame["g"], 1] * frame["x"] + b[frame["g"], 2] * frame["z"]
    frame["y"] += 0.5 * rng.normal(size=(30, 3))[frame["g"], frame["k"].cat.codes] + rng.normal(size=n)
    return frame


PLAIN, SLOPE = "distance ~ age + Sex", "distance ~ age + Sex + (0 + age | Subject)"
EQUAL = cl.residual.CompoundSymmetry("Subject")
RESIDUALS = [
    (SLOPE, None, EQUAL, 1),
    (SLOPE, None, cl.residual.Power("age"), 1),
    (PLAIN, EQUAL, cl.residual.CompoundSymmetry("Subject", by="Sex"), 1),
    (PLAIN, cl.residual.By("Sex"), cl.residual.CompoundSymmetry("Subject", by="Sex"), 1),
    (PLAIN, EQUAL, cl.residual.Unstructured("age", within="Subject"), 8),
    (PLAIN, cl.residual.By("age"), cl.residual.Unstructured("age", within="Subject"), 6),
    (PLAIN, EQUAL, cl.residual.By("age"), None),
    (PLAIN, cl.residual.AR1("visit", "Subject"), cl.residual.CompoundSymmetry("Subject", by="Sex"), None),
]


@pytest.mark.parametrize(("formula", "small", "large", "df"), RESIDUALS)
def test_residual_structures(formula, small, large, df):
    one, other = (fitted(formula, "Orthodont", "reml", residual) for residual in (small, large))
    if df is None:
        with pytest.raises(CrosslevelError, match=r"no special case of residual|smaller model first"):
            cl.lrtest(one, other)
        return
    test = cl.lrtest(one, other)
    assert test.df == df
    assert test.p_value == pytest.approx(stats.chi2.sf(test.statistic, df), rel=1e-9)


def test_positive_correlations_are_on_their_boundary_when_there_are_none():
    formula = "height ~ age + (1 | Subject)"
    test = cl.lrtest(
        fitted(formula, "Oxboys"), fitted(formula, "Oxboys", "reml", cl.residual.CAR1("age", within="Subject"))
    )
    np.testing.assert_allclose(test.weights, [0.5, 0.5])


REFUSED = [
    (SLEEP["rs"], SLEEP["ri"], {}, "smaller model first; `small` has 6 parameters"),
    (SLEEP["ri"], SLEEP["ri"], {}, "the same model"),
    (SLEEP["ri"], "Reaction ~ I(Days ** 2) + (Days | Subject)", {}, "lacks the fixed effects of Days"),
    (
        "Reaction ~ Days + (0 + Days | Subject)",
        "Reaction ~ Days + I(Days ** 2) + (1 | Subject)",
        {},
        "lacks the random",
    ),
    (SLEEP["ri"], "log(Reaction) ~ Days + (Days | Subject)", {}, "outcomes of these fits differ"),
    (SLEEP["ri"], SLEEP["rs"], {"test": "wald"}, "`test` is 'mixture'"),
    (SLEEP["ri"], SLEEP["rs"], {"test": "exact"}, "2 covariance parameters are tested"),
    (SLEEP["ri"], SLEEP["rs"], {"n": 50}, "for test='exact' or 'bootstrap'"),
]


@pytest.mark.parametrize(("small", "large", "given", "words"), REFUSED)
def test_refusals(small, large, given, words):
    with pytest.raises(CrosslevelError, match=words):
        cl.lrtest(fitted(small, "sleepstudy", "ml"), fitted(large, "sleepstudy", "ml"), **given)


def test_other_rows_are_refused():
    frame = load_data("sleepstudy")
    small = cl.mixed(SLEEP["ri"], frame)
    with pytest.raises(CrosslevelError, match=r"same rows; these fits have 180 and 170"):
        cl.lrtest(small, cl.mixed(SLEEP["rs"], frame.iloc[:170]))
    with pytest.raises(CrosslevelError, match="outcomes of these fits differ"):
        cl.lrtest(small, cl.mixed(SLEEP["rs"], frame.assign(Reaction=frame["Reaction"][::-1].to_numpy())))
    with pytest.raises(CrosslevelError, match="different weights"):
        cl.lrtest(small, cl.mixed(SLEEP["rs"], frame, weights=cl.Precision("w")))
    with pytest.warns(cl.DataWarning, match="Sampling weights"):
        sampled = cl.mixed(SLEEP["rs"], frame, weights=cl.Sampling("w"), method="ml")
    with pytest.raises(CrosslevelError, match="sampling weights"):
        cl.lrtest(small, sampled)
    with pytest.raises(CrosslevelError, match="`large` is a fit"):
        cl.lrtest(small, frame)


def test_it_prints():
    test = cl.lrtest(fitted(SLEEP["ri"], "sleepstudy"), fitted(SLEEP["rs"], "sleepstudy"))
    assert "0.5 chi-square(1) + 0.5 chi-square(2)" in str(test)
    assert "<table" in test._repr_html_()
