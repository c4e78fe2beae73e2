"""The analysis of context effects: its steps against the pieces' own numbers, what it writes, and what it refuses."""

import json
import re
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.analysis.context_analysis import Skipped
from crosslevel.analysis.moderation import Moderation
from crosslevel.analysis.page import document_of
from crosslevel.analysis.phrases import listed, several, what_varies

FORMULA = "mathach ~ within(ses, school) * sector + within(ses, school) * meanses + minority"
DRAWS = 100


def analyzed(formula=FORMULA, data=None, context=("sector", "meanses"), **given):
    data = cl.datasets.load("hsb") if data is None else data
    return cl.analyze(formula, data, list(context), **{"group": "school", "n_boot": DRAWS, "progress": False} | given)


@pytest.fixture(scope="module")
def found():
    return analyzed()


@pytest.fixture(scope="module")
def saved(found, tmp_path_factory):
    return found.save(tmp_path_factory.mktemp("analysis") / "hsb")


@pytest.fixture(scope="module")
def small():
    """Twenty schools, some values missing, and no cross-level interaction."""
    data = cl.datasets.load("hsb")
    data = data[data["school"].isin(data["school"].unique()[:20])].copy()
    data.loc[data.index[::50], "minority"] = np.nan
    return analyzed("mathach ~ ses + minority + meanses", data, ["meanses"])


# -- the steps ----------------------------------------------------------------------------------------------------
def test_each_model_lets_vary_what_it_should(found):
    assert found.null.design.random_names == ("Intercept",)
    assert found.invariant.design.random_names == ("Intercept", "within(ses, school)")
    assert found.maximal.design.random_names == ("Intercept", "within(ses, school)", "minority")
    assert {fit.nobs for fit in (found.null, found.invariant, found.maximal, found.selected)} == {7185}
    assert found.terms == (
        "sector[Catholic]", "meanses", "within(ses, school):sector[Catholic]", "within(ses, school):meanses"
    )  # fmt: skip


def test_the_steps_are_what_a_user_gets_by_calling_them(found):
    rows, terms = found.question.frame, list(found.terms)
    maximal = f"{found.question.fixed} + (1 + within(ses, school) + minority | school)"
    chosen = cl.select(maximal, rows, context=terms, progress=False)
    assert chosen.formula == found.selected.formula
    np.testing.assert_allclose(chosen.fit.params, found.selected.params)
    pooled = cl.ols(found.question.fixed, rows, cluster="school", vcov="CR2")
    pd.testing.assert_frame_equal(found.pooled.tidy(), pooled.tidy())
    own = found.effects
    pd.testing.assert_frame_equal(own.iloc[:, :7], found.selected.tidy().loc[terms])
    corrected = found.selected.tests("kenward-roger").loc[terms]
    np.testing.assert_array_equal(own["kenward_roger_low"], corrected["conf_low"])
    boot = found.selected.bootstrap(DRAWS, seed=1, progress=False).conf_int(terms=terms)
    np.testing.assert_array_equal(own[["bootstrap_low", "bootstrap_high"]], boot[["conf_low", "conf_high"]])


def test_widths_are_relative_to_the_invariant_model(found):
    term = "within(ses, school):meanses"
    tables = [fit.tidy().loc[term] for fit in (found.invariant, found.maximal)]
    base, width = (table["conf_high"] - table["conf_low"] for table in tables)
    assert found.widths.loc[term, ("Maximal", "t")] == pytest.approx(100 * (width / base - 1))
    ends = [found.bootstraps[name].conf_int(terms=[term]).iloc[0] for name in ("Invariant", "Maximal")]
    base, width = (each["conf_high"] - each["conf_low"] for each in ends)
    assert found.widths.loc[term, ("Maximal", "bootstrap")] == pytest.approx(100 * (width / base - 1))


def test_two_step_regressions_explain_intercept_and_slope(found):
    assert found.fgls.second == ("Intercept ~ 1 + sector + meanses", "within(ses, school) ~ 1 + sector + meanses")
    direct = cl.two_step(
        "mathach ~ within(ses, school) + center(minority)",
        {"Intercept": "sector + meanses", "within(ses, school)": "sector + meanses"},
        found.question.frame, cluster="school",
    )  # fmt: skip
    np.testing.assert_allclose(found.fgls.beta, direct.beta)
    frame = found.comparison.frame
    terms = frame.index[frame["estimator"] == "Two-step, FGLS"]
    assert set(terms) == set(found.terms)


def test_interactions_have_slopes_and_regions(found):
    by_sector, by_mean = found.interactions.values()
    expected = cl.slopes(found.selected, "within(ses, school)", by=["sector"])
    np.testing.assert_array_equal(by_sector.slopes["estimate"], expected["estimate"])
    assert by_sector.regions == ()
    assert "has categories" in by_sector.no_regions
    (region,) = by_mean.regions
    regions = cl.johnson_neyman(found.selected, "within(ses, school)", "meanses").regions
    pd.testing.assert_frame_equal(region.regions, regions)


def test_without_interactions_the_report_says_so(small):
    assert small.interactions == {}
    assert small.selected.nobs == small.question.levels.rows_read - small.question.levels.rows_read // 50 - 1
    assert "The model has no cross-level interaction" in str(document_of(small, {}))
    assert "left out for missing values" in small.paper.methods
    assert re.search(r"In the invariant model the intercept varies between clusters;", small.paper.methods)
    assert small.ladder.final.formula == small.selected.formula


def test_a_step_that_cannot_be_done_is_told(found):
    lacking = replace(found, influence=Skipped(reason="No clusters are left."))
    assert "Not done: influence of each cluster. No clusters are left." in " ".join(str(lacking.summary()).split())


def test_factors_within_clusters_have_regions_by_category():
    data = cl.datasets.load("hsb")
    data = data[data["school"].isin(data["school"].unique()[:40])].copy()
    data["level"] = pd.cut(data["ses"], [-5, -0.5, 0.5, 5], labels=["low", "middle", "high"])
    found = analyzed("mathach ~ level * meanses", data, ["meanses"])
    assert found.fgls.second[1:] == ("level[middle] ~ 1 + meanses", "level[high] ~ 1 + meanses")
    (moderation,) = found.interactions.values()
    assert isinstance(moderation, Moderation)
    assert [region.contrast for region in moderation.regions] == ["middle - low", "high - low"]
    assert "where level has its reference category" in found.paper.results


# -- what is written ----------------------------------------------------------------------------------------------
def test_the_folder_holds_everything(found, saved):
    record = json.loads((saved / "analysis.json").read_text(encoding="utf-8"))
    there = sorted(str(path.relative_to(saved)) for path in saved.rglob("*") if path.is_file())
    assert sorted([*record["files"], "analysis.json"]) == there
    assert record["given"]["seed"] == 1
    assert record["formulas"]["selected"] == found.selected.formula
    assert record["versions"]["crosslevel"] == cl.__version__
    effects = pd.read_csv(saved / "tables" / "context_effects.csv", index_col="term")
    np.testing.assert_allclose(effects, found.effects)
    figures = {path.stem for path in (saved / "figures").iterdir()}
    assert {"context_effects", "selection", "heterogeneity", "influence", "regions_2", "slopes_1"} <= figures
    assert {path.suffix for path in (saved / "figures").iterdir()} == {".svg", ".png"}
    assert [path.name for path in saved.parent.iterdir()] == ["hsb"]


def test_the_call_in_the_record_gives_the_same_analysis(found, saved):
    call = json.loads((saved / "analysis.json").read_text(encoding="utf-8"))["call"]
    names = {"data": cl.datasets.load("hsb")}
    exec(call.replace("cl.analyze(", "again = cl.analyze("), names)
    again = names["again"]
    pd.testing.assert_frame_equal(again.effects, found.effects)
    pd.testing.assert_frame_equal(again.selection.candidates, found.selection.candidates)
    assert again.paper.markdown == found.paper.markdown


def test_the_report_needs_nothing_else_and_has_all_sections(saved):
    page = (saved / "report.html").read_text(encoding="utf-8")
    bare = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", page)
    # names of namespaces are no addresses; the one script is inside
    bare = re.sub(r"xmlns(:\w+)?=\"http[^\"]+\"|'http://www.w3.org/2000/svg'", "", bare)
    assert not re.search(r"https?:|<script .*src|<link|@import|url\((?!#)", bare)
    assert bare.count("<script") == 1
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", page) == [
        "In short", "Data", "Models", "Results", "Checks", "What to write", "Appendix",
    ]  # fmt: skip
    for words in (
        "Coding and centring", "Search for the random effects", "Context effects by other estimators",
        "Differences between clusters", "Cross-level interactions", "Influence of single clusters",
    ):  # fmt: skip
        assert re.search(f"<h3[^>]*>{words}</h3>", page)
    assert re.findall(r"<summary>(.*?)</summary>", page) == ["Step by step", "The selected model in full"]
    assert bare.count("<figcaption>") == bare.count("<figure")
    assert len(re.findall(r"\d\.\d{9,}", re.sub(r"<pre.*?</pre>", "", bare, flags=re.DOTALL))) == 0


def test_the_log_is_the_report_as_text(saved):
    log = (saved / "log.txt").read_text(encoding="utf-8")
    for words in ("Search for the random effects", "What to write", "cl.analyze("):
        assert words in log


def test_what_to_write(found):
    paper, row = found.paper, found.effects.loc["within(ses, school):meanses"]
    assert "The data are 7,185 rows in 160 clusters (school; 14 to 67 rows in each, mean 44.9)." in paper.methods
    assert "the intercept and the slopes of within(ses, school) and minority vary between clusters" in paper.methods
    assert f"The coefficient of within(ses, school) rises by {row['estimate']:.2f} with each unit of meanses" in (
        paper.results
    )
    assert f"95% CI [{row['conf_low']:.2f}, {row['conf_high']:.2f}]; Kenward-Roger [" in paper.results
    low, high = found.maximal.tidy().loc["meanses", ["conf_low", "conf_high"]]
    assert f" for meanses [{low:.2f}, {high:.2f}]" in paper.results
    moves = found.selection.sensitivity["moves"].any()
    assert ("No context effect moves by more than half a standard error" in paper.results) == (not moves)
    assert paper.latex == found.selected.equation(format="latex")
    assert r"\beta_{1j} &= \gamma_{10} + \gamma_{11}\,\text{sector[Catholic]}_{j}" in paper.latex
    assert "## Methods" in paper.markdown


def test_an_earlier_analysis_is_replaced_only_on_demand(small, tmp_path, monkeypatch):
    monkeypatch.setattr("crosslevel.analysis.folder.drawings", lambda _: iter(()))
    folder = small.save(tmp_path / "out")
    with pytest.raises(cl.FileError, match=r"holds .* entries already.*overwrite=True"):
        small.save(folder)
    small.save(folder, overwrite=True)
    (folder / "mine.txt").write_text("notes")
    with pytest.raises(cl.FileError, match=r"no analysis wrote, such as 'mine.txt'"):
        small.save(folder, overwrite=True)
    assert (folder / "report.html").exists()


def test_nothing_is_left_when_writing_fails(small, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("crosslevel.analysis.folder.drawings", lambda _: iter(()))
    monkeypatch.setattr("crosslevel.analysis.folder.page_of", full)
    with pytest.raises(cl.FileError, match="No space left"):
        small.save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# -- what is refused ----------------------------------------------------------------------------------------------
WRONG = {
    "varies within": (
        ["ses"],
        {},
        r"`context` names 'ses', which varies within clusters of school: 160 of 160 .*between",
    ),
    "not in the formula": (["female"], {}, "varies within clusters"),
    "unknown": (["secter"], {}, "no cluster-level term of `formula`. Did you mean 'sector'"),
    "none": ([], {}, "`context` names the variables of clusters"),
    "few draws": (["sector"], {"n_boot": 10}, "`n_boot` is a number of replicates, at least 100"),
    "seed": (["sector"], {"seed": None}, "`seed` is a whole number"),
    "no group": (["sector"], {"group": None}, "or give group='country'"),
    "keep": (["sector"], {"keep": ["height"]}, "keep"),
    "folder": (["sector"], {"folder": "/nowhere/at/all"}, "which does not exist"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_explained(case):
    context, given, words = WRONG[case]
    with pytest.raises(cl.CrosslevelError, match=words):
        analyzed(context=context, **given)


def test_more_context_variables_than_clusters_are_refused():
    data = cl.datasets.load("hsb")
    few = data[data["school"].isin(["1224", "1288", "1308"])]
    with pytest.raises(
        cl.DesignError, match="3 clusters of school cannot tell the effects of 2 cluster-level predictors"
    ):
        analyzed(data=few)


def test_slopes_that_the_clusters_do_not_bear_are_left_out_aloud():
    data = cl.datasets.load("hsb")
    few = data[data["school"].isin(data["school"].unique()[[0, 2, 4, 20, 40, 80]])]
    question = cl.analysis.question.ask("mathach ~ ses * sector + minority + female", few, ["sector"], group="school")
    assert question.slopes == ("ses", "minority")
    assert question.too_many == ("female",)


@pytest.mark.parametrize("levels", [["Public", "Catholic"], ["Catholic", "Public"]])
def test_other_frames_keep_the_order_of_their_categories(levels):
    polars = pytest.importorskip("polars")
    frame = polars.from_pandas(cl.datasets.load("hsb").astype({"sector": str}))
    frame = frame.with_columns(polars.col("sector").cast(polars.Enum(levels)))
    question = cl.analysis.question.ask("mathach ~ ses * sector", frame, "sector", group="school")
    fit = cl.mixed("mathach ~ ses * sector + (1 | school)", frame)
    assert question.effects(cl.mixed(question.invariant, question.frame)) == fit.design.fixed_names[2:]


def test_the_random_part_of_the_formula_is_the_maximal_one():
    question = cl.analysis.question.ask(
        "mathach ~ ses * sector + minority + (ses || school)", cl.datasets.load("hsb"), "sector"
    )
    assert question.maximal.endswith("+ (ses || school)")
    assert question.invariant.endswith("+ (1 + ses | school)")


def test_pieces_of_english():
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert several(1, "cluster") == "1 cluster"
    assert what_varies([["Intercept", "a", "b"]]) == (
        "the intercept and the slopes of a and b vary between clusters with all their correlations"
    )


def test_a_bundle_has_everything_and_its_code_runs_on_its_data(found, saved, tmp_path):
    path = cl.report(found, tmp_path / "hsb.zip", title="Schools", data=True)
    with zipfile.ZipFile(path) as archive:
        names = {name.removeprefix("hsb/") for name in archive.namelist()}
        archive.extractall(tmp_path)
    folder = {file.relative_to(saved).as_posix() for file in saved.rglob("*") if file.is_file()}
    assert names - folder == {"analysis.py", "requirements.txt", "data/data.csv", "data/data.parquet"}
    assert folder <= names
    assert "<h1>Schools</h1>" in (tmp_path / "hsb" / "report.html").read_text(encoding="utf-8")
    code = (tmp_path / "hsb" / "analysis.py").read_text(encoding="utf-8").replace("print(found)", "")
    given = {"__file__": str(tmp_path / "hsb" / "analysis.py")}
    exec(code, given)
    pd.testing.assert_frame_equal(given["found"].effects, found.effects)
    with pytest.raises(cl.CrosslevelError, match=r"which holds no data. Name a bundle: hsb\.zip"):
        cl.report(found, tmp_path / "hsb.html", data=True)
