"""Codings side by side: which are one model, and what their coefficients are."""

import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.diagnostics.sensitivity.codings import codings


@pytest.fixture(scope="module")
def data():
    return pd.DataFrame(cl.datasets.load("hsb"))


def test_codings_of_a_random_intercept_model_are_three_models(data):
    found = codings("mathach ~ ses * sector + (1 | school)", data)
    assert found.same == (("as it is", "grand mean"), ("cluster mean",), ("within and between", "Mundlak"))
    assert (found.given, found.mixed, found.concern) == ("as it is", ("ses",), "act")
    apart, context = (found.fits[name].params for name in ("within and between", "Mundlak"))
    assert context["ses"] == pytest.approx(apart["within(ses, school)"], rel=1e-6)
    difference = apart["between(ses, school)"] - apart["within(ses, school)"]
    assert context["between(ses, school)"] == pytest.approx(difference, rel=1e-6)
    for name, formula in found.formulas.items():
        pd.testing.assert_series_equal(cl.mixed(formula, data).params, found.fits[name].params)


def test_random_slopes_about_cluster_means_are_another_model(data):
    found = codings("mathach ~ ses + (ses | school)", data)
    assert ("as it is", "grand mean") in found.same
    assert ("within and between",) in found.same
    wide = found.random.pivot_table(index="coding", columns="effect", values="std_dev")
    assert wide.loc["as it is", "ses"] == pytest.approx(wide.loc["grand mean", "center(ses)"], rel=1e-4)


@pytest.mark.parametrize(
    ("formula", "given", "mixed"),
    [
        ("mathach ~ within(ses, school) + between(ses, school) + (1 | school)", "within and between", ()),
        ("mathach ~ ses + between(ses, school) + sector + (1 | school)", "Mundlak", ()),
        ("mathach ~ center(ses) + (1 | school)", "grand mean", ("ses",)),
        ("mathach ~ within(ses, school) + (1 | school)", "cluster mean", ()),
        ("mathach ~ within(ses, school) + between(ses, school) + minority + (1 | school)", "", ("minority",)),
    ],
)
def test_the_coding_that_was_given_is_found_and_undone(data, formula, given, mixed):
    found = codings(formula, data)
    assert (found.given, found.mixed) == (given, mixed)
    assert set(found.variables) == {"ses", "minority"} if "minority" in formula else {"ses"}
    assert "within(" not in found.formulas["as it is"]
    assert "between(" not in found.formulas["as it is"]
    own = cl.mixed(formula, data, method="ml").deviance
    if given:
        assert found.deviances[given] == pytest.approx(own, abs=1e-6)


def test_meanings_and_words(data):
    found = codings("mathach ~ ses * sector + (1 | school)", data)
    words = found.frame.set_index(["coding", "term"])["meaning"]
    assert words["Mundlak", "between(ses, school)"] == "contextual effect, between less within"
    assert words["within and between", "between(ses, school)"] == "effect of the cluster's mean"
    assert words["as it is", "ses:sector[Catholic]"].startswith("what sector[Catholic] adds to")
    assert "are one model in other words" in found.sentences[0]
    assert found.document()._repr_html_()


def test_other_families_are_coded_and_models_of_clusters_refused(data):
    part = data[data["school"].isin(data["school"].unique()[:15])]
    fit = cl.mixed("I(mathach > 12) ~ ses + (1 | school)", part, family="binomial", quadrature="laplace")
    found = codings(fit)
    assert ("within and between", "Mundlak") in found.same
    with pytest.raises(cl.CrosslevelError, match="nothing to centre"):
        codings("mathach ~ sector + (1 | school)", data)
