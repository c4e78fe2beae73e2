"""A diagnosis: all checks of a model in one record, and its page."""

import re

import pytest

import crosslevel as cl
from crosslevel.diagnostics.diagnosis import TITLES
from crosslevel.diagnostics.diagnostic import CONCERNS, Diagnostic
from crosslevel.report.sections.diagnosed import DRAWN

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def linear():
    return cl.diagnose(cl.mixed(SLEEP, cl.datasets.load("sleepstudy")), n=60, progress=False)


@pytest.fixture(scope="module")
def binary():
    data = cl.datasets.load("hsb").query("school < '3000'").assign(able=lambda d: d["mathach"] > 13)
    return cl.diagnose(cl.mixed("able ~ ses + (1 | school)", data, family="binomial"), n=60, progress=False)


def test_every_part_is_a_diagnostic_with_a_title_and_a_figure(linear, binary):
    for found in (linear, binary):
        for name, part in found.parts.items():
            assert isinstance(part, Diagnostic)
            assert part.sentences
            assert all(sentence.endswith(".") for sentence in part.sentences)
            assert part.concern in CONCERNS
            assert name in TITLES
            assert name in DRAWN or name == "check"
    assert set(linear.parts) == {
        "check", "residuals", "random_effects", "homogeneity", "linearity", "influence", "leverage", "contributions",
    }  # fmt: skip
    assert {"quantile_residuals", "calibration", "observed_expected"} < set(binary.parts)


def test_the_most_worrying_part_is_told_first(linear):
    order = [CONCERNS.index(part.concern) for _, part in linear.ordered()]
    assert order == sorted(order, reverse=True)
    assert linear.concern == linear.ordered()[0][1].concern
    assert linear.sentences[0] == linear.ordered()[0][1].sentences[0]
    assert linear.frame["check"].tolist() == [name for name, _ in linear.ordered()]


def test_parts_are_those_of_the_functions_of_their_names(linear):
    whole = cl.influence(linear.fit, progress=False)
    assert linear.part("influence").frame.equals(whole.frame)
    assert linear.part("influence") is linear.parts["influence"]
    assert linear.part("check").sentences == cl.check(linear.fit).sentences
    again = cl.diagnose(linear.fit, n=60, progress=False)
    assert again.sentences == linear.sentences


def test_what_a_model_does_not_have_is_told_with_the_reason(binary):
    assert [part.name for part in binary.undone] == ["dispersion"]
    assert "Not done" in str(binary)
    with pytest.raises(cl.CrosslevelError, match="there is nothing to compare"):
        binary.part("dispersion")
    with pytest.raises(cl.CrosslevelError, match="`name` is one of 'check'"):
        binary.part("everything")


def test_ordinary_regression_and_wrong_arguments():
    found = cl.diagnose(cl.ols("Reaction ~ Days", cl.datasets.load("sleepstudy"), cluster="Subject"), progress=False)
    assert "random_effects" not in found.names
    assert "influence" in found.names
    with pytest.raises(cl.CrosslevelError, match=r"`diagnose` is for fits of cl.mixed and cl.ols; got str"):
        cl.diagnose("fit")


def test_the_page_of_a_diagnosis(linear, tmp_path):
    page = cl.report(linear, tmp_path / "d.html").read_text(encoding="utf-8")
    heads = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert heads == ["In short", *(TITLES[name] for name in linear.parts), "Appendix"]
    assert page.count("<figure") == len(linear.parts) - 1
    assert page.count("<summary>The numbers</summary>") == len(linear.parts) - 1
    assert "cl.diagnose(fit)" in page
    with pytest.raises(cl.CrosslevelError, match="`seed` belongs to reports on models"):
        cl.report(linear, tmp_path / "d.html", seed=1)
