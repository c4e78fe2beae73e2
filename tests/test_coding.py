"""Checks of coding and centring: what is found, what is not, and that the formulas offered do away with it."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.diagnostics.coding_terms import variance_inflation
from crosslevel.errors import ColumnNotFoundError, CrosslevelError
from crosslevel.formula import parse
from crosslevel.formula.rewriting import add_slope, replace_expressions

HSB = cl.datasets.load("hsb")
SLEEP = cl.datasets.load("sleepstudy")


def survey(n_clusters: int = 30, size: int = 40, seed: int = 3) -> pd.DataFrame:
    """Persons in countries: age far from zero, a predictor with unlike means, a category, context variables."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(n_clusters), size)
    n = len(g)
    z, w = rng.normal(size=n_clusters), rng.normal(size=n_clusters)
    shift = rng.normal(0, 0.8, n_clusters)
    x = shift[g] + rng.normal(size=n)
    age = rng.integers(18, 80, n).astype(float)
    job = rng.choice(["farm", "office", "works"], n, p=[0.2, 0.5, 0.3])
    slope = rng.normal(0, 0.4, n_clusters)
    y = 2 + x * (1 + slope[g]) + 1.5 * shift[g] + 0.02 * age + z[g] + rng.normal(0, 0.5, n_clusters)[g]
    y = y + 0.3 * (job == "office") + rng.normal(size=n)
    country = np.array([f"c{k:02d}" for k in range(n_clusters)])
    return pd.DataFrame(
        {
            "y": y,
            "x": x,
            "age": age,
            "job": job,
            "z": z[g],
            "w": w[g],
            "country": country[g],
            "v": (z + 0.1 * rng.normal(size=n_clusters))[g],
        }
    )


SURVEY = survey()


def kinds(report: Any) -> list[tuple[str, str]]:
    return [(found.kind, found.variable) for found in report.findings]


def found_in(formula: str, data: pd.DataFrame, kind: str, **given: Any) -> Any:
    report = cl.check_coding(formula, data, **given)
    return next(found for found in report.findings if found.kind == kind)


# -- nothing to find ----------------------------------------------------------------------------------------------
WELL_CODED = {
    "slopes as outcomes": (
        "mathach ~ within(ses, school) * sector + within(ses, school) * meanses + (within(ses, school) | school)", HSB,
    ),
    "means as outcomes": ("mathach ~ meanses + sector + (1 | school)", HSB),
    "null": ("mathach ~ 1 + (1 | school)", HSB),
    "growth": ("Reaction ~ Days + (Days | Subject)", SLEEP),
    "balanced panel": (
        "Reaction ~ Days * z + (Days | Subject)", SLEEP.assign(z=SLEEP["Subject"].astype(int) % 7),
    ),
    "within and between": (
        "y ~ within(x, country) * z + between(x, country) + center(age) + (within(x, country) + center(age) | country)",
        SURVEY,
    ),
    "mundlak": ("y ~ x + between(x, country) + z + (x | country)", SURVEY),
    "means under another name": ("mathach ~ ses + meanses + sector + (ses | school)", HSB),
    "effect coding": ("y ~ within(x, country) + wec(job) + z + (1 + wec(job) || country)", SURVEY),
    "correlated dummies": ("y ~ within(x, country) + job + z + (1 + job | country)", SURVEY),
}  # fmt: skip


@pytest.mark.parametrize("name", WELL_CODED)
def test_nothing_is_found_in_well_coded_models(name: str) -> None:
    formula, data = WELL_CODED[name]
    report = cl.check_coding(formula, data)
    assert kinds(report) == []
    assert report.fixed == parse(formula).text
    assert "Nothing was found" in str(report)
    assert report.frame.empty


# -- each finding, and its fix ------------------------------------------------------------------------------------
FOUND = {
    "slope of a variable with unlike means": (
        "y ~ I(x + 10) + z + (1 + I(x + 10) | country)", "uncentred slope", "I(x + 10)",
        "y ~ within(I(x + 10), country) + between(I(x + 10), country) + z + (1 + within(I(x + 10), country) | country)",
    ),
    "slope far from zero": (
        "y ~ age + z + (age | country)", "uncentred slope", "age",
        "y ~ center(age) + z + (1 + center(age) | country)",
    ),
    "uncorrelated slope far from zero": (
        "y ~ age + z + (age || country)", "uncentred slope", "age",
        "y ~ center(age) + z + blocks(1, 0 + center(age) | country)",
    ),
    "mixed effects": (
        "y ~ x + z + (1 | country)", "within and between effects mixed", "x",
        "y ~ within(x, country) + between(x, country) + z + (1 | country)",
    ),
    "no slope": (
        "y ~ within(x, country) * z + (1 | country)", "interaction without random slope", "within(x, country):z",
        "y ~ within(x, country) + z + within(x, country):z + (1 + within(x, country) | country)",
    ),
    "no slope of a category": (
        "y ~ job * z + (1 | country)", "interaction without random slope", "job:z",
        "y ~ job + z + job:z + (1 + job | country)",
    ),
    "no slope beside uncorrelated ones": (
        "y ~ within(x, country) * z + center(age) + (center(age) || country)", "interaction without random slope",
        "within(x, country):z",
        "y ~ within(x, country) + z + center(age) + within(x, country):z + (center(age) || country)"
        " + (0 + within(x, country) | country)",
    ),
    "reference category": (
        "y ~ job + z + (1 + job || country)", "reference category", "job",
        "y ~ wec(job) + z + blocks(1, 0 + wec(job) | country)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_findings_and_their_fixes(name: str) -> None:
    formula, kind, variable, fix = FOUND[name]
    report = cl.check_coding(formula, SURVEY)
    found = next(each for each in report.findings if each.kind == kind)
    assert (found.variable, found.severity) == (variable, "warning")
    assert found.fix == fix
    assert kind not in [each.kind for each in cl.check_coding(fix, SURVEY).findings]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.ConvergenceWarning)
        assert cl.mixed(found.fix, SURVEY).params.notna().all()
    assert kinds(cl.check_coding(report.fixed, SURVEY)) == []
    assert found.fix in re.sub(r"\s+", " ", str(report))


def test_several_fixes_add_up() -> None:
    report = cl.check_coding("y ~ x * z + age + (age | country)", SURVEY)
    assert sorted({found.kind for found in report.findings}) == [
        "interaction without random slope", "uncentred slope", "within and between effects mixed",
    ]  # fmt: skip
    assert report.fixed == (
        "y ~ within(x, country) + between(x, country) + z + center(age) + within(x, country):z + "
        "between(x, country):z + (1 + center(age) + within(x, country) | country)"
    )
    assert len(report.warnings) == 3
    assert f"With all of these: {report.fixed}" in " ".join(str(report).split())


# -- numbers in the words -----------------------------------------------------------------------------------------
def test_words_of_mixed_effects_have_the_numbers() -> None:
    words = found_in("mathach ~ ses + (1 | school)", HSB, "within and between effects mixed").words
    icc = cl.describe(HSB, "school", ["ses"]).frame.loc["ses", "icc"]
    fit = cl.mixed("mathach ~ within(ses, school) + between(ses, school) + (1 | school)", HSB)
    assert f"(intraclass correlation {icc:.2f})" in words
    within, between = fit.params["within(ses, school)"], fit.params["between(ses, school)"]
    assert f"Within it is {within:.3f}, between {between:.3f} (test of equality: p < .001)" in words


def test_equal_effects_are_a_note() -> None:
    rng = np.random.default_rng(5)
    data = SURVEY.assign(y=SURVEY["x"] + rng.normal(size=len(SURVEY)))
    found = found_in("y ~ x + (1 | country)", data, "within and between effects mixed")
    assert found.severity == "note"
    assert "They may be equal" in found.words


def test_words_of_interactions_have_standard_errors_with_and_without_the_slope() -> None:
    formula = "y ~ within(x, country) * z + (1 | country)"
    words = found_in(formula, SURVEY, "interaction without random slope").words
    small = cl.mixed(formula, SURVEY)
    large = cl.mixed("y ~ within(x, country) * z + (within(x, country) | country)", SURVEY)
    name = "within(x, country):z"
    assert f"{name} from {small.bse[name]:.3f} to {large.bse[name]:.3f}" in words
    sd = np.sqrt(large.cov_re["country"].loc["within(x, country)", "within(x, country)"])
    assert f"estimated as {sd:.3f}" in words


def test_words_of_slopes_have_the_range() -> None:
    words = found_in("y ~ age + (age | country)", SURVEY, "uncentred slope").words
    age = SURVEY["age"]
    distance = age.mean() / age.std(ddof=0)
    assert f"runs from {age.min():.3f} to {age.max():.3f} (mean {age.mean():.3f})" in words
    assert f"zero lies {distance:.1f} standard deviations off" in words


def test_words_of_slopes_say_what_centring_does() -> None:
    words = " ".join(
        found_in("Reaction ~ I(Days + 20) + (I(Days + 20) | Subject)", SLEEP, "uncentred slope").words.split()
    )
    here = cl.mixed("Reaction ~ I(Days + 20) + (I(Days + 20) | Subject)", SLEEP)
    there = cl.mixed("Reaction ~ center(Days) + (center(Days) | Subject)", SLEEP)
    told = []
    for fit in (here, there):
        variance = fit.cov_re["Subject"].to_numpy()
        sd = np.sqrt(np.diag(variance))
        told.append(f"{sd[0]:.3f} and {variance[0, 1] / (sd[0] * sd[1]):.2f}")
    assert f"are {told[0]}; at the mean of I(Days + 20) they are {told[1]}." in words


# -- context variables --------------------------------------------------------------------------------------------
def with_errors() -> pd.DataFrame:
    data = SURVEY.copy()
    data.loc[data.index[[3, 4]], "z"] += 1.0
    data.loc[data.index[100], "z"] += 0.5
    return data


@pytest.mark.parametrize("given", [{}, {"context": "z"}])
def test_context_variables_that_vary_within_some_clusters(given: dict[str, Any]) -> None:
    found = found_in(
        "y ~ within(x, country) + z + (1 | country)", with_errors(), "context varies within clusters", **given
    )
    assert found.variable == "z"
    assert "varies within 2 of 30 clusters (c00, c02): 3 rows differ" in found.words
    assert found.fix == "y ~ within(x, country) + within(z, country) + between(z, country) + (1 | country)"
    assert kinds(cl.check_coding(found.fix, with_errors(), **given)) == []


def test_named_context_may_vary_everywhere() -> None:
    report = cl.check_coding("y ~ x + w + (1 | country)", SURVEY, context=["x", "w"])
    assert kinds(report) == [("context varies within clusters", "x")]
    assert "30 of 30 clusters (c00, c01, c02, c03, c04 and 25 more)" in report.findings[0].words


def test_categories_that_should_be_those_of_clusters() -> None:
    region = np.where(SURVEY["country"] < "c10", "north", "south")
    region[5] = "south"
    found = found_in("y ~ region + (1 | country)", SURVEY.assign(region=region), "context varies within clusters")
    assert found.variable == "region"
    assert "1 of 30 clusters (c00): 1 rows differ" in found.words


# -- what no formula mends ----------------------------------------------------------------------------------------
def test_few_clusters() -> None:
    data = survey(12)
    found = found_in("y ~ z + w + (1 | country)", data, "few clusters")
    assert "12 clusters of country for 2 cluster-level predictors (z, w): 6.0 for each, and 9 degrees" in found.words
    assert (found.severity, found.fix) == ("warning", "")
    assert "few clusters" not in [kind for kind, _ in kinds(cl.check_coding("y ~ z + w + (1 | country)", SURVEY))]


def test_clusters_of_one_row() -> None:
    data = SURVEY[~SURVEY["country"].isin(["c01", "c02"]) | ~SURVEY["country"].duplicated()]
    found = found_in("y ~ z + (1 | country)", data, "clusters of one row")
    assert "2 of 30 clusters of country (6.7%) have one row" in found.words


def test_collinear_context() -> None:
    found = found_in("y ~ z + w + v + (1 | country)", SURVEY, "collinear context")
    assert found.variable == "z"
    means = SURVEY.groupby("country")[["z", "w", "v"]].first().to_numpy()
    assert f"most by v (correlation {np.corrcoef(means[:, 0], means[:, 2])[0, 1]:.2f})" in found.words
    target, others = means[:, 0] - means[:, 0].mean(), means[:, 1:] - means[:, 1:].mean(axis=0)
    left = target - others @ np.linalg.lstsq(others, target, rcond=None)[0]
    np.testing.assert_allclose(variance_inflation(means)[0][0], target @ target / (left @ left), rtol=1e-10)


@pytest.mark.parametrize(
    ("cuts", "words"),
    [([0.5], r"has two values \(0 and 1\)"), ([0.2, 0.4, 0.6], r"has 4 values, all whole \(0, 1, 2, 3\)")],
)
def test_outcomes_that_are_no_measurements(cuts: list[float], words: str) -> None:
    y = np.searchsorted(SURVEY["y"].quantile(cuts).to_numpy(), SURVEY["y"].to_numpy()).astype(float)
    found = found_in("y ~ z + (1 | country)", SURVEY.assign(y=y), "outcome")
    assert re.search(words, found.words)
    assert found.severity == "note"


# -- what it is asked ---------------------------------------------------------------------------------------------
def test_groups() -> None:
    """Without random terms the group is named; with several the fewest clusters are meant."""
    report = cl.check_coding("mathach ~ ses * sector", HSB, "school")
    assert report.group == "school"
    assert report.fixed.endswith("+ (1 + within(ses, school) | school)")
    data = SURVEY.assign(room=SURVEY["country"] + (np.arange(len(SURVEY)) % 3).astype(str))
    assert cl.check_coding("y ~ z + (1 | country/room)", data).group == "country"
    assert cl.check_coding("y ~ z + (1 | country/room)", data, "country:room").n_clusters == 90


@pytest.mark.parametrize(
    ("formula", "given", "error", "words"),
    [
        ("y ~ z", {}, CrosslevelError, "`group` is needed"),
        ("y ~ z + (1 | country)", {"context": ["nothing"]}, ColumnNotFoundError, "`context` uses 'nothing'"),
        ("y ~ z", {"group": "land"}, ColumnNotFoundError, "`group` uses 'land'"),
        ("y ~ q + (1 | country)", {}, ColumnNotFoundError, "`formula` uses 'q'"),
        (3, {}, CrosslevelError, "`formula` is text"),
        ("y ~ z", {"group": "one"}, CrosslevelError, "which has 1 cluster"),
    ],
)
def test_wrong_input(formula: Any, given: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        cl.check_coding(formula, SURVEY.assign(one=1), **given)


def test_formulas_keep_their_meaning_when_rewritten() -> None:
    formula = parse("y ~ 0 + `a b` * x + 2:z + (1 | g/h) + blocks(1 + x, `a b` | k)")
    assert (
        replace_expressions(formula, {}) == "y ~ 0 + `a b` + x + 2:z + `a b`:x + (1 | g/h) + blocks(1 + x, `a b` | k)"
    )
    assert add_slope(parse("y ~ x"), ("g", "h"), "x") == "y ~ x + (1 + x | g:h)"
    assert add_slope(parse("y ~ x + (1 | g/h)"), ["g"], "x") == "y ~ x + (1 + x | g) + (1 | g:h)"
