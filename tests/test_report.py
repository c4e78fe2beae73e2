"""The report page."""

import ast
import dataclasses
import datetime
import json
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_data

import crosslevel as cl
from crosslevel.report.calls import call_of

FORMULAS = {
    "Null model": "Reaction ~ 1 + (1 | Subject)",
    "Growth": "Reaction ~ Days + (Days | Subject)",
}


@pytest.fixture(scope="module")
def models():
    data = cl.datasets.load("sleepstudy")
    return {name: cl.mixed(formula, data) for name, formula in FORMULAS.items()}


@pytest.fixture(scope="module")
def bundle(models, tmp_path_factory):
    day = datetime.date(2017, 8, 24)
    return cl.report(models, tmp_path_factory.mktemp("bundle") / "sleep.zip", date=day, seed=11, checks="lights")


@pytest.fixture(scope="module")
def source(models, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "sleep.html"
    assert cl.report(models, path, date=datetime.date(2017, 8, 24), seed=11) == path
    return path.read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(source):
    bare = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", source)
    # names of namespaces are no addresses; the one script is inside
    bare = re.sub(r"xmlns(:\w+)?=\"http[^\"]+\"|'http://www.w3.org/2000/svg'", "", bare)
    assert not re.search(r"https?:|<script .*src|<link|@import|url\((?!#)|src=\"(?!\")", bare.replace('src=""', ""))
    assert bare.count("<script") == 1


def test_every_picture_is_inside_and_has_words(source):
    still = re.findall(r'<img src="data:image/(svg\+xml|png);base64,[^"]{500,}" alt="([^"]{30,})"', source)
    live = re.findall(r'<figure class="live"><div role="group" aria-label="([^"]{30,})"[^>]*><svg ', source)
    assert len(still) == source.count("<img")
    assert len(live) == source.count("<svg ")
    # sizes, data; growth: lines, two effects, shrinkage; eight checks; null: effects, shrinkage
    assert len(still) + len(live) == source.count("<figure") == 16
    assert any("Random intercept" in words for words in live)


def test_the_page_has_its_parts_in_order(source):
    heads = re.findall(r"<h2[^>]*>(.*?)</h2>", source)
    assert heads == ["In short", "Data", "Models", "Results", "Checks", "Appendix"]
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
    written = cl.report(models["Null model"], str(path), title="Sleep & <days>", checks="lights")
    page = written.read_text(encoding="utf-8")
    assert "<h1>Sleep &amp; &lt;days&gt;</h1>" in page
    assert "side by side" not in page
    assert datetime.date.today().isoformat() in page
    assert os.listdir(tmp_path) == ["a.html"]


def test_cross_level_effects_are_told_in_words(tmp_path):
    formula = "mathach ~ within(ses, school) * sector + within(ses, school) * meanses + (1 | school)"
    fit = cl.mixed(formula, cl.datasets.load("hsb"))
    page = cl.report(fit, tmp_path / "hsb.html", checks="lights").read_text(encoding="utf-8")
    assert "the slope of within(ses, school) is 1.6" in page
    assert "lower for Catholic than for Public" in page
    assert re.search(r"the slope of within\(ses, school\) rises by \d\.\d+ per unit of meanses", page)
    assert "Mean socio-economic status of the school&#x27;s pupils (meanses): one unit more goes with 5." in page
    assert "hold where the other variable is zero, or at its reference category" in page


def test_different_rows_are_a_warning(models, tmp_path):
    data = cl.datasets.load("sleepstudy")
    fewer = cl.mixed("Reaction ~ Days + (1 | Subject)", data.assign(Days=data["Days"].where(data["Days"] != 9)))
    page = cl.report([models["Null model"], fewer], tmp_path / "r.html", checks="lights").read_text(encoding="utf-8")
    assert ">Model 2</h3>" in page
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


def test_lights_alone_are_quicker_and_say_what_is_left_out(models, bundle, tmp_path):
    with zipfile.ZipFile(bundle) as archive:
        page = archive.read("sleep/report.html").decode()
    assert "18 clusters of Subject. Normal theory is too optimistic" in page
    assert "cl.report(cl.diagnose(fit), &quot;checks.html&quot;) does all of them." in page
    with pytest.raises(cl.CrosslevelError, match="`checks` is one of 'all', 'lights'; got 'some'"):
        cl.report(models["Growth"], tmp_path / "r.html", checks="some")


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
    page = cl.report(counts, tmp_path / "epil.html", checks="lights").read_text(encoding="utf-8")
    assert "expected outcome is multiplied by" in page


def test_a_bundle_holds_what_the_page_was_made_of(models, bundle):
    with zipfile.ZipFile(bundle) as archive:
        names = archive.namelist()
        record = json.loads(archive.read("sleep/bundle.json"))
        script = archive.read("sleep/models.py").decode()
        page = archive.read("sleep/report.html").decode()
        coefficients = archive.read("sleep/tables/02_growth_coefficients.csv").decode()
    assert not [name for name in names if name.startswith("sleep/data")]
    assert record["seed"] == 11
    assert record["date"] == "2017-08-24"
    assert record["versions"]["crosslevel"] == cl.__version__
    assert record["models"] == FORMULAS
    assert f'"Growth": cl.mixed("{FORMULAS["Growth"]}", data),' in script
    assert coefficients == models["Growth"].tidy().to_csv()
    assert sum(name.startswith("sleep/figures/") for name in names) == page.count("<figure")
    assert os.listdir(bundle.parent) == ["sleep.zip"]


def test_equal_bundles_are_equal_bytes(models, tmp_path):
    given = {"date": datetime.date(2017, 8, 24), "seed": 11, "checks": "lights"}
    content = cl.report(models["Null model"], tmp_path / "sleep.zip", **given).read_bytes()
    assert cl.report(models["Null model"], tmp_path / "sleep.zip", **given).read_bytes() == content


def test_the_code_of_a_bundle_with_data_gives_the_same_numbers(tmp_path):
    data = cl.datasets.load("hsb")
    data["w"] = 1.0 + (data["ses"] > 0)
    fit = cl.mixed(
        "mathach ~ within(ses, school) * sector + (1 | school)", data, method="ml",
        weights=cl.Precision("w"),
    )  # fmt: skip
    cl.report({"A model": fit}, tmp_path / "b.zip", data=True, checks="lights")
    zipfile.ZipFile(tmp_path / "b.zip").extractall(tmp_path)
    again = pd.read_parquet(tmp_path / "b" / "data" / "data.parquet")
    assert set(again.columns) == {"mathach", "ses", "school", "sector", "w"}
    assert again.attrs["labels"]["mathach"] == data.attrs["labels"]["mathach"]
    printed = subprocess.run(
        [sys.executable, str(tmp_path / "b" / "models.py")], capture_output=True, text=True, check=True
    ).stdout
    assert printed == f"A model\n{fit.tidy()}\n"


def test_data_go_only_where_they_are_asked_for(models, tmp_path):
    with pytest.raises(cl.CrosslevelError, match=r"is a page, which holds no data. Name a bundle: r\.zip"):
        cl.report(models, tmp_path / "r.html", data=True)
    other = cl.mixed(FORMULAS["Growth"], cl.datasets.load("sleepstudy").head(100))
    with pytest.raises(cl.CrosslevelError, match="'A' cannot bring its data: its data are not those of 'B'"):
        cl.report({"A": other, "B": models["Growth"]}, tmp_path / "r.zip", data=True)
    assert os.listdir(tmp_path) == []


CALLS = {
    "a weight": ({"weights": cl.Sampling("w", clusters={"school": "w2"}), "method": "ml"},
                 'method="ml", weights=cl.Sampling(rows="w", clusters={"school": "w2"}, scaling="size")'),
    "a structure": ({"residual": cl.residual.AR1("time", within="id")},
                    'residual=cl.residual.AR1(time="time", within="id")'),
    "a family": ({"family": cl.families.Binomial(link="probit"), "method": "ml", "quadrature": 1},
                 'family=cl.families.Binomial(link="probit"), quadrature=1'),
    "defaults": ({"max_steps": 7, "progress": False}, ""),
}  # fmt: skip


@pytest.mark.parametrize(("given", "written"), CALLS.values(), ids=CALLS)
def test_a_call_is_written_as_it_was_given(models, given, written):
    fit = dataclasses.replace(models["Growth"], given={**models["Growth"].given, **given})
    ending = f", {written})" if written else ")"
    code = f'cl.mixed("{FORMULAS["Growth"]}", data{ending}'
    assert ast.dump(ast.parse(call_of(fit).code)) == ast.dump(ast.parse(code))
    assert max(map(len, call_of(fit).code.splitlines())) <= 88
    names = {"cl": cl, "data": None}
    for argument in re.findall(r"(cl\.\w+\.?\w*\(.*\))$", written):
        assert eval(argument, names) in given.values()


def test_arrays_in_a_call_are_named_and_not_written(models):
    fit = dataclasses.replace(models["Growth"], given={**models["Growth"].given, "offset": np.zeros(180)})
    call = call_of(fit)
    assert call.code.endswith("data, offset=offset)")
    assert call.unwritten == ("offset",)
    assert call.columns == ("Reaction", "Days", "Subject")
