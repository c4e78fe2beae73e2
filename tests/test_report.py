"""The report page."""

import datetime
import os
import re

import pytest
from reference_cases import load_data

import crosslevel as cl

FORMULAS = {
    "Null model": "Reaction ~ 1 + (1 | Subject)",
    "Growth": "Reaction ~ Days + (Days | Subject)",
}


@pytest.fixture(scope="module")
def models():
    data = cl.datasets.load("sleepstudy")
    return {name: cl.mixed(formula, data) for name, formula in FORMULAS.items()}


@pytest.fixture(scope="module")
def source(models, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "sleep.html"
    assert cl.report(models, path, date=datetime.date(2017, 8, 24), seed=11) == path
    return path.read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(source):
    without_pictures = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", source)
    assert not re.search(r"https?:|<script|<link|@import|url\(|src=\"(?!\")", without_pictures.replace('src=""', ""))


def test_every_picture_is_inside_and_has_words(source):
    pictures = re.findall(r'<img src="data:image/(svg\+xml|png);base64,[^"]{500,}" alt="([^"]{30,})"', source)
    # sizes, data; null: effects, shrinkage; growth: lines, two effects, shrinkage; two checks
    assert len(pictures) == source.count("<img") == 10


def test_the_page_has_its_parts_in_order(source):
    heads = re.findall(r"<h2[^>]*>(.*?)</h2>", source)
    assert heads == ["In short", "Data", "Models side by side", "Null model", "Growth", "Checks", "Appendix"]
    assert "<h1>Average reaction time (ms) by Subject</h1>" in source


def test_it_says_what_was_found(source):
    assert "The outcome is Average reaction time (ms) (Reaction). Rows: 180 read, all used" in source
    assert re.search(r"Null model: 39\.\d% of the variance lies between clusters of Subject\.", source)
    assert "one unit more goes with 10.467 higher Reaction (95% interval 7.206 to 13.729, p &lt; .001)." in source


def test_models_stand_side_by_side(source):
    assert "298.508 (9.050)" in source
    assert "251.405 (6.825)" in source
    assert "log-likelihood, AIC and BIC by REML cannot be compared" in source


def test_the_appendix_tells_how_to_do_it_again(source):
    for words in ("2017-08-24", ">11<", cl.__version__, FORMULAS["Growth"], "matplotlib", "Python"):
        assert words in source


def test_a_single_fit_with_a_title_replaces_an_existing_file_and_leaves_nothing_else(models, tmp_path):
    path = tmp_path / "a.html"
    path.write_text("old")
    page = cl.report(models["Null model"], str(path), title="Sleep & <days>").read_text(encoding="utf-8")
    assert "<h1>Sleep &amp; &lt;days&gt;</h1>" in page
    assert "side by side" not in page
    assert datetime.date.today().isoformat() in page
    assert os.listdir(tmp_path) == ["a.html"]


def test_cross_level_effects_are_told_in_words(tmp_path):
    formula = "mathach ~ within(ses, school) * sector + within(ses, school) * meanses + (1 | school)"
    page = cl.report(cl.mixed(formula, cl.datasets.load("hsb")), tmp_path / "hsb.html").read_text(encoding="utf-8")
    assert "the slope of within(ses, school) is 1.6" in page
    assert "lower for Catholic than for Public" in page
    assert re.search(r"the slope of within\(ses, school\) rises by \d\.\d+ per unit of meanses", page)
    assert "Mean socio-economic status of the school&#x27;s pupils (meanses): one unit more goes with 5." in page
    assert "hold where the other variable is zero, or at its reference category" in page


def test_different_rows_are_a_warning(models, tmp_path):
    data = cl.datasets.load("sleepstudy")
    fewer = cl.mixed(FORMULAS["Growth"], data.assign(Days=data["Days"].where(data["Days"] != 9)))
    page = cl.report([models["Null model"], fewer], tmp_path / "r.html").read_text(encoding="utf-8")
    assert ">Model 2</h2>" in page
    assert "The models use different rows" in page
    assert "180 read, 162 used; 18 dropped for missing values in Days (18)" in page


REFUSED = {
    "a frame": (lambda models: cl.datasets.load("sleepstudy"), "got DataFrame"),
    "text": (lambda models: "fit", "got str"),
    "nothing": (lambda models: [], "no model"),
    "a list with something else": (lambda models: [models["Growth"], 3], "'Model 2' is of type int"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_anything_but_fits_is_refused(models, tmp_path, make, words):
    with pytest.raises(cl.CrosslevelError, match=words):
        cl.report(make(models), tmp_path / "r.html")
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_and_a_wrong_ending_are_refused(models, tmp_path):
    with pytest.raises(cl.FileError, match=r"names the folder .* which does not exist"):
        cl.report(models["Growth"], tmp_path / "none" / "r.html")
    with pytest.raises(cl.FileError, match=r"must end in \.html"):
        cl.report(models["Growth"], tmp_path / "r.pdf")
    assert os.listdir(tmp_path) == []


def test_models_of_other_families(tmp_path):
    data = load_data("Contraception")
    models = {
        "Null": cl.mixed("use ~ 1 + (1 | district)", data, family="binomial", quadrature=1),
        "Full": cl.mixed("use ~ age + urban + (1 | district)", data, family="binomial", quadrature=1),
    }
    page = cl.report(models, tmp_path / "use.html").read_text(encoding="utf-8")
    words = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "of the variance of the latent variable that the predictors leave lies between clusters" in words
    assert re.search(r"urban\[Y\]: the odds are multiplied by \d\.\d\d for Y compared with N", words)
    assert "probability that use is Y" in words
    assert "in units of the linear predictor" in words
    assert ">Residual<" not in page
    counts = cl.mixed("y ~ lbase + (1 | subject)", load_data("epil"), family="poisson", quadrature=1)
    page = cl.report(counts, tmp_path / "epil.html").read_text(encoding="utf-8")
    assert "expected outcome is multiplied by" in page
