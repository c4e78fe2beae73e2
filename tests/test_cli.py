"""The commands as a user runs them: in a process of their own, or through the app for speed."""

import contextlib
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.cli import app as cli
from crosslevel.inference.df import DF_METHODS

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture
def sleepstudy(tmp_path: Path) -> Path:
    path = tmp_path / "sleepstudy.csv"
    cl.datasets.load("sleepstudy").to_csv(path, index=False)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit status of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["crosslevel", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_fit_in_a_process_of_its_own(sleepstudy: Path) -> None:
    command = [sys.executable, "-m", "crosslevel", "fit", str(sleepstudy), FORMULA]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout == str(cl.mixed(FORMULA, cl.read(sleepstudy)).summary()) + "\n"
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_fit_json_has_every_number(monkeypatch, capsys, sleepstudy) -> None:
    assert run(monkeypatch, "fit", sleepstudy, FORMULA, "--json", "--level", 0.9) == 0
    record = json.loads(capsys.readouterr().out)
    fit = cl.mixed(FORMULA, cl.read(sleepstudy))
    tidy = pd.DataFrame(record["fixed_effects"]).set_index("term")
    pd.testing.assert_frame_equal(tidy, fit.tidy(level=0.9), check_index_type=False, check_column_type=False)
    np.testing.assert_array_equal(record["vcov"]["values"], fit.vcov)
    np.testing.assert_array_equal(record["theta"], fit.theta)
    assert record["fit"]["deviance"] == fit.deviance
    assert record["sigma"] == fit.sigma
    assert record["icc"]["estimate"] == fit.icc().estimate
    assert len(record["clusters"][0]["random_effects"]) == fit.ngroups["Subject"]
    assert [row["estimate"] for row in record["variance_components"]] == fit.varcomp()["estimate"].tolist()


@pytest.mark.parametrize("ending", ["html", "txt", "csv", "json"])
def test_fit_output_file(monkeypatch, capsys, sleepstudy, tmp_path, ending: str) -> None:
    target = tmp_path / f"fit.{ending}"
    assert run(monkeypatch, "fit", sleepstudy, FORMULA, "--output", target) == 0
    printed = capsys.readouterr()
    assert f"Written to {target}" in printed.err
    content = target.read_text(encoding="utf-8")
    fit = cl.mixed(FORMULA, cl.read(sleepstudy))
    expected = {
        "html": "<title>Multilevel model of Reaction</title>",
        "txt": printed.out,
        "csv": fit.tidy().to_csv(),
        "json": json.dumps(fit.to_dict(), indent=1, ensure_ascii=False),
    }[ending]
    assert expected in content


def test_describe(monkeypatch, capsys, sleepstudy) -> None:
    assert run(monkeypatch, "describe", sleepstudy, "--group", "Subject", "--variables", "Reaction, Days") == 0
    assert "180 rows in 18 clusters of Subject." in capsys.readouterr().out
    assert run(monkeypatch, "describe", sleepstudy, "-g", "Subject", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    found = cl.describe(cl.read(sleepstudy), "Subject").frame
    assert [row["icc"] for row in record["variables"]] == pytest.approx(found["icc"].tolist())
    assert {row["rows"] for row in record["sizes"]} == {10}


def test_report(monkeypatch, capsys, sleepstudy, tmp_path) -> None:
    target = tmp_path / "report.html"
    formulas = ["Reaction ~ 1 + (1 | Subject)", FORMULA]
    assert run(monkeypatch, "report", sleepstudy, *formulas, "-o", target, "--title", "Sleep") == 0
    assert str(target) in capsys.readouterr().out
    page = target.read_text(encoding="utf-8")
    assert "<title>Sleep</title>" in page
    assert "http" not in page.replace("http://www.w3.org/", "")  # nothing is loaded from anywhere


def test_demo(monkeypatch, capsys, tmp_path) -> None:
    target = tmp_path / "demo.html"
    monkeypatch.setattr("crosslevel.analysis.script.analyze", partial(cl.analyze, n_boot=100))
    assert run(monkeypatch, "demo", "--output", target, "--quiet") == 0
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("Selected by BIC: the intercept and the slope of within(ses, school)", "meanses t, 157 df 4.052"):
        assert words in printed
    assert "Of the variance of mathach, 18.0% lies between clusters" in printed
    assert printed.endswith(f"The report is in {target.resolve()}")
    assert target.stat().st_size > 100_000
    assert [path.name for path in tmp_path.iterdir()] == ["demo.html"]


@pytest.fixture
def hsb(tmp_path: Path) -> Path:
    path = tmp_path / "hsb.csv"
    data = cl.datasets.load("hsb")
    data[data["school"].isin(data["school"].unique()[::8])].to_csv(path, index=False)
    return path


ANALYZE = ["mathach ~ ses * sector", "--context", "sector", "--group", "school", "--boot", 100, "--quiet"]


def test_analyze_prints_and_writes_a_folder(monkeypatch, capsys, hsb, tmp_path) -> None:
    monkeypatch.setattr("crosslevel.analysis.folder.drawings", lambda _: iter(()))  # figures are tested elsewhere
    folder = tmp_path / "out"
    assert run(monkeypatch, "analyze", hsb, *ANALYZE, "--output", folder) == 0
    printed = capsys.readouterr()
    assert f"The analysis is in {folder.resolve()}" in printed.out
    assert "ses:sector" in printed.out
    assert printed.err == ""
    assert {"report.html", "paper.md", "analysis.json", "log.txt", "tables"} <= {path.name for path in folder.iterdir()}
    assert run(monkeypatch, "analyze", hsb, *ANALYZE, "--output", folder) == 2
    assert "`--output` is" in capsys.readouterr().err
    assert run(monkeypatch, "analyze", hsb, *ANALYZE, "--output", folder, "--overwrite", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    found = cl.analyze(ANALYZE[0], cl.read(hsb), "sector", group="school", n_boot=100, progress=False)
    assert [row["estimate"] for row in record["context_effects"]] == found.effects["estimate"].tolist()


def test_analyze_interrupted_leaves_nothing(monkeypatch, capsys, hsb, tmp_path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crosslevel.analysis.script.drawn", interrupted)
    assert run(monkeypatch, "analyze", hsb, *ANALYZE, "--output", tmp_path / "out") == 130
    assert "Interrupted; nothing was written." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_not_converged_is_status_1(monkeypatch, capsys, sleepstudy) -> None:
    mixed = cl.mixed

    def hurried(*arguments, **options):
        return mixed(*arguments, **options, max_steps=1)

    monkeypatch.setattr("crosslevel.estimators.mixed.mixed", hurried)
    assert run(monkeypatch, "fit", sleepstudy, FORMULA) == 1
    printed = capsys.readouterr()
    assert "Warning: Not converged" in printed.err
    assert "Not converged" in printed.out


WRONG = {
    "unknown column": (["fit", "{file}", "Reaction ~ Dais + (1 | Subject)"], "Did you mean 'Days'"),
    "no parse": (["fit", "{file}", "Reaction ~ Days + (1 | Subject"], "^"),
    "context varies": (
        ["analyze", "{file}", "Reaction ~ Days", "-c", "Days", "-g", "Subject"],
        "varies within clusters",
    ),
    "no file": (["fit", "sleepstduy.csv", FORMULA], "there is no file 'sleepstduy.csv'"),
    "file type": (["fit", "{odd}", FORMULA], "sav"),
    "truncated": (["fit", "{broken}", FORMULA], "{broken}"),
    "method": (["fit", "{file}", FORMULA, "--method", "remel"], "`method` is 'reml' or 'ml'; got 'remel'"),
    "level": (["fit", "{file}", FORMULA, "--level", "95"], "`level` is a probability"),
    "ending": (["fit", "{file}", FORMULA, "-o", "{folder}/fit.doc"], "`--output` ends in .html"),
    "folder": (["fit", "{file}", FORMULA, "-o", "{folder}/none/fit.html"], "cannot write"),
    "group": (["describe", "{file}", "-g", "subject"], "Did you mean 'Subject'"),
    "report folder": (["report", "{file}", FORMULA, "-o", "{folder}/none/report.html"], "none"),
    "report ending": (["report", "{file}", FORMULA, "-o", "{folder}/report.doc"], ".html"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_status_2_and_one_message(monkeypatch, capsys, sleepstudy, tmp_path, case: str) -> None:
    (tmp_path / "data.xyz").write_text("a,b\n1,2\n")
    (tmp_path / "broken.sav").write_bytes(b"$FL2@(#) SPSS DATA FILE")
    places = {
        "file": sleepstudy,
        "odd": tmp_path / "data.xyz",
        "broken": tmp_path / "broken.sav",
        "folder": tmp_path,
    }
    arguments, message = WRONG[case]
    before = sorted(tmp_path.iterdir())
    assert run(monkeypatch, *[argument.format(**places) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("Error: ")
    assert message.format(**places) in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert sorted(tmp_path.iterdir()) == before  # nothing half-written


def test_missing_argument_is_status_2(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "fit") == 2
    assert "file" in capsys.readouterr().err.lower()


@pytest.mark.parametrize("command", ["fit", "report"])
def test_help_names_all_ways_of_counting_degrees_of_freedom(monkeypatch, capsys, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    assert run(monkeypatch, command, "--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("auto", *DF_METHODS))


@pytest.mark.parametrize("given", [(), ("--ddf", "kenward-roger")])
def test_degrees_of_freedom_are_those_asked_for(monkeypatch, capsys, sleepstudy: Path, given: tuple[str, ...]) -> None:
    assert run(monkeypatch, "fit", sleepstudy, FORMULA, "--json", *given) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["ddf"] == cl.mixed(FORMULA, cl.read(sleepstudy), ddf=given[-1] if given else "auto").ddf


@pytest.mark.parametrize("command", ["describe", "fit", "select", "compare", "analyze", "report", "demo"])
def test_help_has_an_example(monkeypatch, capsys, command: str) -> None:
    assert run(monkeypatch, command, "--help") == 0
    assert f"Example: crosslevel {command}" in " ".join(capsys.readouterr().out.split())


def test_a_mixed_model_is_compared_with_the_regression_of_its_fixed_part(monkeypatch, capsys, sleepstudy) -> None:
    status = run(monkeypatch, "compare", sleepstudy, FORMULA, "--ddf", "auto,kenward-roger", "--json", "--baseline", 3)
    assert status == 0
    record = json.loads(capsys.readouterr().out)
    data = cl.read(sleepstudy)
    fit = cl.mixed(FORMULA, data)
    pooled = cl.ols("Reaction ~ Days", data, cluster="Subject")
    found = cl.compare(fit, (fit, "kenward-roger"), pooled, baseline=2)
    assert (record["estimators"], record["baseline"]) == (list(found.names), pooled.estimator)
    assert [row["relative_width_percent"] for row in record["coefficients"]] == list(
        found.frame["relative_width_percent"]
    )


def test_regressions_are_compared_by_their_clusters(monkeypatch, capsys, sleepstudy) -> None:
    texts = ["Reaction ~ 1", "Reaction ~ Days"]
    assert run(monkeypatch, "compare", sleepstudy, *texts, "--cluster", "Subject", "--terms", "Intercept") == 0
    shown = capsys.readouterr().out
    assert "OLS, CR2 by Subject (2)" in " ".join(shown.split())
    assert "Days" not in shown.split("Data and models")[0]


def test_a_single_regression_has_nothing_beside_it(monkeypatch, capsys, sleepstudy) -> None:
    assert run(monkeypatch, "compare", sleepstudy, FORMULA, "--baseline", 0) == 2
    assert "counted from 1" in capsys.readouterr().err
    assert run(monkeypatch, "compare", sleepstudy, "Reaction ~ Days") == 2
    assert "nothing to compare it with" in capsys.readouterr().err


def test_version(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.strip() == cl.__version__


def test_interrupt(monkeypatch, capsys, sleepstudy, tmp_path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crosslevel.estimators.mixed.mixed", interrupted)
    assert run(monkeypatch, "fit", sleepstudy, FORMULA) == 130
    assert "Interrupted" in capsys.readouterr().err


def test_fit_with_weights_of_each_kind(monkeypatch, capsys, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    data = cl.datasets.load("sleepstudy").assign(w=rng.integers(1, 4, 180), v=0.5)
    path = tmp_path / "weighted.csv"
    data.to_csv(path, index=False)
    for text, weights, method in [
        ("precision:w", cl.Precision("w"), "reml"),
        ("frequency:w", cl.Frequency("w"), "reml"),
        ("sampling:w", cl.Sampling("w", clusters={"Subject": "v"}, scaling="effective"), "ml"),
    ]:
        more = ["--cluster-weights", "Subject:v", "--scaling", "effective"] if "sampling" in text else []
        assert run(monkeypatch, "fit", path, FORMULA, "--json", "--method", method, "--weights", text, *more) == 0
        printed = capsys.readouterr()
        record = json.loads(printed.out)
        assert ("Sampling weights of rows vary" in printed.err) == bool(more)
        with pytest.warns(cl.DataWarning) if more else contextlib.nullcontext():
            fit = cl.mixed(FORMULA, cl.read(path), method=method, weights=weights)
        assert record["fit"]["deviance"] == fit.deviance


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weights", "w"], "never guessed"),
        (["--weights", "precision:w", "--scaling", "size"], "belong to sampling weights"),
        (["--weights", "sampling:w", "--cluster-weights", "Subject"], "GROUP:COLUMN"),
    ],
)
def test_weights_that_say_too_little_are_refused(monkeypatch, capsys, sleepstudy, arguments, words: str) -> None:
    assert run(monkeypatch, "fit", sleepstudy, FORMULA, *arguments) == 2
    assert words in capsys.readouterr().err


def test_fit_with_an_offset(monkeypatch, capsys, sleepstudy) -> None:
    assert run(monkeypatch, "fit", sleepstudy, "Reaction ~ 1 + (1 | Subject)", "--json", "--offset", "Days") == 0
    record = json.loads(capsys.readouterr().out)
    fit = cl.mixed("Reaction ~ 1 + (1 | Subject)", cl.read(sleepstudy), offset="Days")
    assert record["fit"]["deviance"] == fit.deviance


def test_fit_in_batches(monkeypatch, capsys, sleepstudy) -> None:
    assert run(monkeypatch, "fit", sleepstudy, FORMULA, "--json", "--in-batches") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["fit"]["deviance"] == pytest.approx(cl.mixed(FORMULA, cl.read(sleepstudy)).deviance, abs=1e-9)


def test_commands_know_families(monkeypatch, capsys, tmp_path):
    path = tmp_path / "herds.csv"
    rng = np.random.default_rng(3)
    herd = np.repeat(np.arange(20), 4)
    size = rng.integers(5, 20, herd.size)
    ill = rng.binomial(size, 1.0 / (1.0 + np.exp(1.0 - rng.normal(size=20)[herd])))
    pd.DataFrame({"herd": herd, "size": size, "ill": ill, "x": rng.normal(size=herd.size)}).to_csv(path, index=False)
    options = ("--family", "binomial", "--trials", "size", "--quiet")
    formula = "ill ~ x + (1 | herd)"
    assert run(monkeypatch, "compare", path, formula, *options, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [name.partition(" (")[0] for name in found["estimators"]] == ["Mixed model, logit", "GLM"]
    fit = cl.mixed(formula, pd.read_csv(path), family="binomial", trials="size")
    ours = [row["estimate"] for row in found["coefficients"] if row["estimator"] == "Mixed model, logit"]
    np.testing.assert_allclose(ours, fit.params, rtol=1e-8)
    page = tmp_path / "herds.html"
    assert run(monkeypatch, "report", path, formula, *options, "--quadrature", "laplace", "--output", page) == 0
    assert "Laplace approximation" in page.read_text(encoding="utf-8")
    assert run(monkeypatch, "compare", path, formula, "--trials", "size", "--quiet") == 2
    assert "family='gaussian' has none" in capsys.readouterr().err


def test_codes_of_missing_answers_are_taken_away(monkeypatch, capsys, sleepstudy) -> None:
    frame = pd.read_csv(sleepstudy)
    frame.loc[[0, 5], "Days"] = 99
    frame.to_csv(sleepstudy, index=False)
    assert run(monkeypatch, "fit", sleepstudy, FORMULA, "--missing-codes", "Days=98,99", "--json") == 0
    assert json.loads(capsys.readouterr().out)["fit"]["nobs"] == len(frame) - 2
    assert run(monkeypatch, "describe", sleepstudy, "-g", "Subject", "--missing-codes", "dayz=99") == 2
    assert "Did you mean 'Days' for 'dayz'" in capsys.readouterr().err
    assert run(monkeypatch, "fit", sleepstudy, FORMULA, "--missing-codes", "Days=99", "--missing-codes", 98) == 2
    assert "each column once" in capsys.readouterr().err
    assert run(monkeypatch, "fit", sleepstudy, FORMULA, "--missing-codes", 99, "--in-batches") == 2
    assert "--in-batches" in capsys.readouterr().err


def test_translate_prints_what_the_library_writes(monkeypatch, capsys, sleepstudy, tmp_path) -> None:
    path = tmp_path / "model.do"
    assert run(monkeypatch, "translate", sleepstudy, FORMULA, "--to", "stata", "-o", path) == 0
    expected = cl.translate(FORMULA, to="stata", data=cl.read(sleepstudy))
    assert capsys.readouterr().out == expected + "\n"
    assert path.read_text() == expected + "\n"
    assert run(monkeypatch, "translate", sleepstudy, FORMULA, "--to", "lme4", "--method", "ml", "--json") == 0
    assert "REML = FALSE" in " ".join(json.loads(capsys.readouterr().out)["commands"])
    assert run(monkeypatch, "translate", sleepstudy, FORMULA, "--to", "stta") == 2
    assert "Did you mean 'stata'" in capsys.readouterr().err
