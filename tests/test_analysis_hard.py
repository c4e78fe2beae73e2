"""The analysis of messy data: what is awkward is analysed all the same, and what cannot be is refused in words."""

import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import crosslevel as cl
from crosslevel.analysis.context_analysis import Skipped
from crosslevel.analysis.folder import check_folder
from crosslevel.analysis.levels import CrossLevelTerm
from crosslevel.analysis.moderation import moderation
from crosslevel.analysis.moderation_words import moderation_sentences
from crosslevel.analysis.question import ask
from crosslevel.cli.app import app
from crosslevel.errors import ColumnNotFoundError, CrosslevelError, DataError, DesignError, FileError

FORMULA = "y ~ x * z + w"


@pytest.fixture(scope="module")
def rows():
    """Sixteen clusters of twelve rows."""
    draw = np.random.default_rng(4)
    g = np.repeat(np.arange(16), 12)
    z, u, slope = draw.normal(size=16), 0.6 * draw.normal(size=16), 0.4 * draw.normal(size=16)
    x, w = draw.normal(size=192), draw.normal(size=192)
    y = 1.0 + (0.5 * z + u)[g] + (0.4 + 0.3 * z + slope)[g] * x + 0.2 * w + draw.normal(size=192)
    names = np.array([f"c{k:02d}" for k in range(16)])
    return pd.DataFrame({"y": y, "x": x, "w": w, "z": z[g], "east": (z > 0)[g], "g": names[g]})


def analyzed(data, formula=FORMULA, context="z", **given):
    return cl.analyze(formula, data, context, **{"group": "g", "n_boot": 100, "progress": False} | given)


# -- what is awkward ----------------------------------------------------------------------------------------------
def test_truth_values_of_clusters_are_context(rows):
    for data in (rows, rows.astype({"east": "boolean"}), rows.astype({"east": object})):
        question = ask("y ~ x * east", data, "east", group="g")
        assert question.context == ("east",)
        assert question.levels.context_columns == {"east"}
        assert question.frame["east"].dtype == bool


def test_names_with_spaces_and_umlauts(rows):
    data = rows.rename(columns={"y": "Vertrauen ü", "x": "mein Einkommen", "z": "Größe", "g": "Land Nr"})
    formula = "`Vertrauen ü` ~ `mein Einkommen` * Größe + w"
    found = analyzed(data, formula, "Größe", group="Land Nr")
    assert found.question.group == "Land Nr"
    assert not [name for name, found in found.interactions.items() if isinstance(found, Skipped)]
    assert "`" not in found.paper.methods + found.paper.results + str(found)
    plain = ask(FORMULA, rows, "z", group="g")
    assert found.effects["estimate"].to_numpy() == pytest.approx(
        cl.mixed(found.selected.formula, data).params[list(found.terms)].to_numpy(), rel=1e-8
    )
    assert len(found.terms) == len(plain.effects(cl.mixed(plain.invariant, rows)))


def test_clusters_may_be_combinations_of_columns(rows):
    data = rows.assign(wave=np.arange(192) % 2)
    assert ask(FORMULA, data, "z", group="g:wave").n_clusters == 32


def test_unused_categories_and_clusters_without_rows_are_left_out_in_silence(rows):
    data = rows.assign(g=pd.Categorical(rows["g"], categories=["none", *rows["g"].unique()]))
    data.loc[data["g"] == "c03", "z"] = np.nan
    frame = ask(FORMULA, data, "z", group="g").frame
    again = ask(FORMULA, frame, "z", group="g")
    assert again.n_clusters == 15
    assert "c03" not in list(again.frame["g"].cat.categories)


def test_a_step_of_the_ladder_that_adds_nothing_has_no_test(rows):
    found = cl.ladder("y ~ x * z", rows.assign(x=rows["x"] + 1e6), group="g")
    last = found.frame.iloc[-1]
    assert np.isnan(last["statistic"])
    assert last["n_params"] == found.frame.iloc[-2]["n_params"]
    assert "x:z" in str(found.final.notes)
    assert found.explained["vs_previous"].min() < -10.0
    assert "< -1000%" in str(found)


def test_one_name_of_keep_stands_for_itself(rows):
    found = analyzed(rows, keep="w")
    assert "w" in found.selected.design.random_names
    assert found.given["keep"] == ["w"]


# -- what is refused ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "context", "message"),
    [
        ({"z": 2.0}, "z", "the effect of z, which `context` asks for, cannot be estimated"),
        ({"x": lambda d: d["x"] + 1e6}, "z", r"the effect of x:z.* centre its variables"),
        ({"w": lambda d: 2 * d["x"] + 1}, "z", "the coefficient of w cannot be estimated, since the terms before it"),
    ],
)
def test_what_other_terms_determine_is_refused(rows, changes, context, message):
    with pytest.raises(DesignError, match=message):
        ask(FORMULA, rows.assign(**changes), context, group="g")


@pytest.mark.parametrize("name", ["x", "z"])
def test_numbers_as_text_are_refused(rows, name):
    data = rows.assign(**{name: [f"{value:.3f}" for value in rows[name]]})
    with pytest.raises(DataError, match=rf"numbers as text in '{name}'.*astype\(float\)"):
        ask(FORMULA, data, "z", group="g")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"group": "land"}, ColumnNotFoundError, "^`group` uses 'land'"),
        ({"group": ["g"]}, CrosslevelError, "`group` is the name of the column"),
        ({"context": None}, CrosslevelError, "`context` is a list of names"),
        ({"context": "x:z"}, CrosslevelError, "is an interaction. Name the cluster-level variable"),
        ({"keep": 3}, CrosslevelError, "`keep` is a list of names"),
    ],
)
def test_wrong_arguments_are_refused_by_name(rows, given, error, message):
    with pytest.raises(error, match=message):
        analyzed(rows, **given)


def test_a_single_cluster_is_refused(rows):
    with pytest.raises(DesignError, match=r"1 cluster of g cannot tell the effect of a cluster-level predictor \(z\)"):
        ask(FORMULA, rows[:12], "z", group="g")


# -- words --------------------------------------------------------------------------------------------------------
def test_the_values_of_a_moderator_can_be_told_apart_in_the_text(rows):
    fit = cl.mixed("y ~ x * z + (x | g)", rows.assign(z=rows["z"] * 1e-6))
    term = CrossLevelTerm(text="x:z", slope="x", moderator="z")
    first, region = moderation_sentences(moderation(fit, term))
    values = re.findall(r"where z is (-?[\d.]+)", first)
    expected = rows.groupby("g")["z"].first().agg(["mean", "std"]) * 1e-6
    assert [float(value) for value in values] == pytest.approx(
        [expected["mean"] + k * expected["std"] for k in (-1, 0, 1)], abs=1e-8
    )
    assert " 0.00 " not in region


def test_names_in_backquotes_have_simple_slopes_too(rows):
    fit = cl.mixed("y ~ `my x` * `my z` + (`my x` | g)", rows.rename(columns={"x": "my x", "z": "my z"}))
    found = moderation(fit, CrossLevelTerm(text="`my x`:`my z`", slope="`my x`", moderator="`my z`"))
    plain = moderation(cl.mixed("y ~ x * z + (x | g)", rows), CrossLevelTerm(text="x:z", slope="x", moderator="z"))
    assert np.array_equal(found.slopes.frame["estimate"], plain.slopes.frame["estimate"])


def test_a_model_without_slopes_tells_of_no_search(rows):
    found = analyzed(rows, "y ~ z")
    assert "Their predictor is z between clusters." in found.paper.methods
    assert "there were no random effects to select" in found.paper.methods
    assert "dropped" not in found.paper.methods


# -- places -------------------------------------------------------------------------------------------------------
def test_a_place_where_nothing_may_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("crosslevel.analysis.folder.os.access", lambda *_: False)
    with pytest.raises(FileError, match=r"^`--output` is to be made in .* where you may not write"):
        check_folder(tmp_path / "new", overwrite=False, argument="--output")


def test_a_folder_with_one_file_holds_one_entry(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileError, match="holds 1 entry already"):
        check_folder(tmp_path, overwrite=False)


def test_a_baseline_beyond_the_estimators_is_refused_as_it_was_counted(rows, tmp_path):
    rows.to_csv(tmp_path / "rows.csv", index=False)
    result = CliRunner().invoke(
        app, ["compare", str(tmp_path / "rows.csv"), "y ~ x + (1 | g)", "--baseline", "9", "-q"]
    )
    assert str(result.exception) == "`--baseline` is the place of an estimator, from 1 to 2 here; got 9."


def test_an_unknown_standard_error_is_called_so():
    columns = {"estimate": 0.6701, "std_error": np.nan, "conf_low": np.nan, "conf_high": np.nan}
    assert "0.670 (unknown)" in str(cl.table(pd.DataFrame(columns, index=["z"]), beside=True))


@pytest.mark.parametrize("argument", ["keep", "context"])
def test_a_search_refuses_what_is_no_list_of_names(rows, argument):
    with pytest.raises(CrosslevelError, match=f"`{argument}` is a list of names; got 3"):
        cl.select("y ~ x * z + (x | g)", rows, progress=False, **{argument: 3})
