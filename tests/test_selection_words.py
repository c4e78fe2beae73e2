"""What a search says: sensitivity, notes, log, tables, figure, command."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
from selection_data import simulated

import crosslevel as cl
from crosslevel.cli import app as cli
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import selection_data

FORMULA = "y ~ x1*z + x2 + (x1 + x2 | g)"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return simulated(seed=41, sds=(0.5, 0.4, 0.4), centre=(3.0, 0.0), correlation=0.9)


@pytest.fixture(scope="module")
def found(data) -> cl.selection.record.Selection:
    return cl.select(FORMULA, data, correlations="none", progress=False)


def test_sensitivity_to_freed_correlations(found, data) -> None:
    table = found.sensitivity
    freed = table[table["check"] == "correlated"]
    assert freed["what"].unique().tolist() == ["Intercept and x1", "Intercept and x2", "x1 and x2"]
    fit = cl.mixed("y ~ x1*z + x2 + (x1 | g) + (0 + x2 | g)", data)
    own = freed[freed["what"] == "Intercept and x1"].set_index("term")
    for term in ("z", "x1:z"):
        np.testing.assert_allclose(own.loc[term, "other_estimate"], fit.params[term], atol=1e-6)
        np.testing.assert_allclose(own.loc[term, "se_ratio"], fit.bse[term] / found.fit.bse[term], rtol=1e-4)
        change = (fit.params[term] - found.fit.params[term]) / found.fit.bse[term]
        np.testing.assert_allclose(own.loc[term, "change_in_se"], change, atol=1e-4)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sensitivity_to_the_origin(found, data, sign) -> None:
    """The random slope of x1 - c beside the same fixed part."""
    sd = data["x1"].std(ddof=0)
    shifted = data.assign(x1c=data["x1"] - sign * sd)
    fit = cl.mixed("y ~ x1*z + x2 + (1 | g) + (0 + x1c | g) + (0 + x2 | g)", shifted)
    table = found.sensitivity
    own = table[table["what"] == f"x1, origin 1 SD {'above' if sign > 0 else 'below'}"].set_index("term")
    np.testing.assert_allclose(own["other_estimate"], fit.params[own.index], atol=1e-6)
    np.testing.assert_allclose(own["se_ratio"], fit.bse[own.index] / found.fit.bse[own.index], rtol=1e-4)


def test_what_moves_is_said_in_words(found) -> None:
    table = found.sensitivity
    moved = table[table["moves"]]
    assert (moved["change_in_se"].abs() > 0.5).all()
    assert (table.loc[~table["moves"], "change_in_se"].abs() <= 0.5).all()
    assert len(moved)
    for term in moved["term"].unique():
        assert any(f"context effect {term} moves by" in note for note in found.notes)
    assert all(note in found.log for note in found.notes)
    assert "Warning: " in str(found)


def test_correlated_slopes_do_not_depend_on_the_origin(data) -> None:
    full = cl.select(FORMULA, data, correlations="full", progress=False)
    assert full.sensitivity.empty
    assert full.sensitivity.columns.tolist()[:3] == ["check", "what", "term"]
    assert full.notes == ()


def test_the_log_reads_as_a_methods_section(data) -> None:
    found = cl.select(FORMULA, data, progress=False)
    log = found.log
    for words in (
        "24 clusters, 1,440 rows", "starting from the maximal model y ~ x1*z + x2 + (x1 + x2 | g)",
        "3 random effects and 3 correlations", "BIC, with the logarithm of the number of rows", "fitted by REML",
        "x1 (part of the cross-level interaction x1:z)", "Step 1", "Step 2", "All 5 correlation structures",
        f"The final model is {found.formula}",
    ):  # fmt: skip
        assert words in log, words
    first = found.candidates.query("step == 1").iloc[0]
    assert f"{first['criterion']:.1f}" in log
    assert found.log == cl.select(FORMULA, data, progress=False).log


def test_context_effects_by_name(data) -> None:
    for context, names in ((None, ("z", "x1:z")), (["z"], ("z", "x1:z")), ("x1:z", ("x1:z",)), (["x1:z", "z"], None)):
        found = cl.select(FORMULA, data, context=context, progress=False)
        assert found.context == (names or ("x1:z", "z"))
        assert f"{found.context[0]} conf_low" in found.candidates


def test_document(found) -> None:
    text = str(found)
    assert max(map(len, text.splitlines())) <= 80
    for words in ("Maximal model", "Chosen model", "Step 1: slopes, round 1", "Context effects along the path"):
        assert words in text
    assert "<table" in found._repr_html_()


def test_figure(found, data) -> None:
    frame = selection_data(found)
    assert frame["change"].min() <= 0.0
    assert frame.loc[frame["chosen"], "change"].iloc[-1] == 0.0
    figure = cl.plot.selection(found)
    titles = [panel.get_title(loc="left") for panel in figure.axes if panel.axison]
    assert titles == ["Step 1: slopes", "z", "x1:z"]
    assert figure._repr_png_()
    for criterion in ("bic", "lrt"):
        other = cl.select(FORMULA, data, criterion=criterion, progress=False)
        figure = cl.plot.selection(other, terms="z")
        assert [p.get_title(loc="left") for p in figure.axes if p.axison][:2] == [
            "Step 1: slopes", "Step 2: correlations",
        ]  # fmt: skip
    with pytest.raises(CrosslevelError, match=r"`terms` names context effects of the search, of 'z', 'x1:z'"):
        cl.plot.selection(found, terms=["x2"])


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit status of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["crosslevel", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_command(monkeypatch, capsys, tmp_path, data) -> None:
    file = tmp_path / "data.csv"
    data.to_csv(file, index=False)
    chosen = cl.select(FORMULA, cl.read(file), keep=["x2"], context=["z"], criterion="aic", progress=False)
    options = ("--keep", "x2", "--context", "z", "--criterion", "aic", "--quiet")
    assert run(monkeypatch, "select", file, FORMULA, *options) == 0
    assert capsys.readouterr().out == str(chosen) + "\n"
    assert run(monkeypatch, "select", file, FORMULA, *options, "--json", "-o", tmp_path / "c.csv") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["formula"] == chosen.formula
    assert record["log"] == chosen.log
    assert len(record["candidates"]) == len(chosen.candidates) == len(pd.read_csv(tmp_path / "c.csv"))
    assert record["fit"]["fit"]["deviance"] == chosen.fit.deviance
    assert run(monkeypatch, "select", file, FORMULA, "--keep", "z") == 2
    assert "`keep` names random slopes" in capsys.readouterr().err
