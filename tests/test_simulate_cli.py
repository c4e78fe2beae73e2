"""Studies in TOML files, and the command that runs them."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from simulated_toys import toy

import crosslevel as cl
from crosslevel.cli import app as cli
from crosslevel.errors import CrosslevelError, FileError
from crosslevel.simulation.studies import toml

STUDY = """
title = "Two estimators of a context effect"
terms = ["z"]

[factors]
clusters = [10, 20]
"sd.Intercept" = [0.5]

[process]
formula = "y ~ x + z + (1 | g)"
clusters = 10
size = [30, 60]

[process.effects]
Intercept = 0
x = 1.0
z = 0.5

[process.sd]
Intercept = 0.5

[process.variables]
x = { kind = "Normal", between = 0.15 }
z = { kind = "Context" }

[[estimators]]
kind = "OLS"
name = "OLS"
formula = "y ~ x + z"

[[estimators]]
kind = "TwoStep"
name = "FGLS"
first = "y ~ x"
second = { Intercept = "z" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def in_python() -> cl.lab.Study:
    process = cl.lab.Process(
        formula="y ~ x + z + (1 | g)", effects={"Intercept": 0, "x": 1.0, "z": 0.5}, sd={"Intercept": 0.5}, clusters=10,
        size=(30, 60), variables={"x": cl.lab.Normal(between=0.15), "z": cl.lab.Context()},
    )  # fmt: skip
    return cl.lab.Study(
        title="Two estimators of a context effect", process=process, terms=["z"],
        estimators=[
            cl.lab.OLS(name="OLS", formula="y ~ x + z"),
            cl.lab.TwoStep(name="FGLS", first="y ~ x", second={"Intercept": "z"}),
        ],
        factors={"clusters": [10, 20], "sd.Intercept": [0.5]},
    )  # fmt: skip


@cache
def expected(reps: int = 5, seed: int = 1) -> pd.DataFrame:
    return in_python().run(reps=reps, seed=seed, progress=False)


# -- files -----------------------------------------------------------------------------------------------------------
def test_a_file_is_the_study_in_python(file: Path) -> None:
    assert cl.lab.Study.from_toml(file) == in_python()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"level": 0.9, "where": {"clusters": [20]}},
        {"factors": {"size": [(10, 20), 15, cl.lab.Sizes(mean=30, cv=0.5)]}},
        {"title": 'Größe "α" \\ \n\x7f', "terms": ["x", "z"]},
        {"process": cl.lab.Process(
            formula="y ~ x + w + z + (x | g)", effects={"Intercept": 0, "x": 1, "w": 1, "z": 1},
            sd={"Intercept": 1, "x": 1e-7}, clusters=15, size=[7] * 15, sigma=2.0, variables={"z": cl.lab.Context()},
            correlation=cl.lab.RandomCorrelation(mean_absolute=0.2), predictor_correlation=((1.0, 0.3), (0.3, 1.0)),
        )},
    ],
)  # fmt: skip
def test_files_hold_studies(changes: dict[str, object], tmp_path: Path) -> None:
    given = {name: getattr(in_python(), name) for name in ("title", "process", "estimators", "terms", "factors")}
    study = cl.lab.Study(**{**given, **changes})
    text = study.to_toml(tmp_path / "study.toml")
    assert (tmp_path / "study.toml").read_text(encoding="utf-8") == text
    again = cl.lab.Study.from_toml(tmp_path / "study.toml")
    assert toml.contents(again) == toml.contents(study)
    assert again.to_toml() == text


def test_files_hold_published_studies(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    arguments = '[arguments]\nvariant = "dce"\nclusters = [15, 25]'
    path.write_text(f'published = "heisig2017"\n{arguments}\n[where]\nslopes = 5\nbetween = [0.0, 0.5]\n')
    study = cl.lab.Study.from_toml(path)
    assert [one.number for one in study.conditions] == [
        one.number for one in cl.lab.heisig2017("dce", clusters=[15, 25]).only(slopes=5, between=[0.0, 0.5]).conditions
    ]
    (tmp_path / "again.toml").write_text(study.to_toml())
    assert cl.lab.Study.from_toml(tmp_path / "again.toml") == study
    for old, new, words in (
        ("heisig2017", "heisig2018", "`published` is one of heisig2017; got 'heisig2018'"),
        ("variant", "variants", "`arguments` of heisig2017 has 'variants', .*did you mean 'variant'"),
        ("published =", "terms = []\npublished =", "A published study has 'terms'"),
    ):
        path.write_text(study.to_toml().replace(old, new))
        with pytest.raises(CrosslevelError, match=words):
            cl.lab.Study.from_toml(path)


def test_a_folder_holds_the_file(file: Path, tmp_path: Path) -> None:
    study = cl.lab.Study.from_toml(file)
    study.run(reps=2, folder=tmp_path / "folder", progress=False)
    assert cl.lab.Study.from_toml(tmp_path / "folder" / "study.toml") == study


def test_studies_that_no_file_holds() -> None:
    with pytest.raises(CrosslevelError, match="A study with functions as process, terms cannot be written"):
        toy(process=lambda clusters: clusters, terms=lambda: ["x"]).to_toml()
    with pytest.raises(CrosslevelError, match=r"needs a `kind` among .*OLS.*; got 'ClusterMean'"):
        toy().to_toml()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('terms = ["z"]', "", "A study needs terms, which the file lacks"),
        ("[factors]", "[factor]", "The file has 'factor', which it cannot have .*'factors'"),
        ('kind = "OLS"', 'kind = "OSL"', "`estimators` needs a `kind` among .*; got 'OSL'"),
        ('kind = "OLS"', 'kind = "Context"', "`estimators` needs a `kind` among .*; got 'Context'"),
        ('{ kind = "Context" }', '{ kind = "Context", men = 1 }', "Context in `process.variables.z` has 'men'"),
        ("clusters = 10", "", "Process in `process` needs 'clusters', which the file lacks"),
        ("size = [30, 60]", "size = [60, 30]", "`size`"),
        ("[[estimators]]", "[estimators]", "no TOML file"),
    ],
)
def test_mistakes_in_files(file: Path, old: str, new: str, words: str) -> None:
    file.write_text(STUDY.replace(old, new), encoding="utf-8")
    with pytest.raises(CrosslevelError, match=words):
        len(cl.lab.Study.from_toml(file))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read: No such file"):
        cl.lab.Study.from_toml(tmp_path / "none.toml")


# -- the command -----------------------------------------------------------------------------------------------------
def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit status of `crosslevel simulate`, run in this process."""
    monkeypatch.setattr(sys, "argv", ["crosslevel", "simulate", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command_prints_conditions_as_rows(monkeypatch, capsys, file) -> None:
    assert run(monkeypatch, file, "--reps", 5, "--quiet", "--measures", "rmse,coverage") == 0
    printed = capsys.readouterr()
    assert "Two estimators of a context effect" in printed.out
    assert "5 replications of each condition" in printed.out
    row = expected().query("measure == 'rmse' and clusters == 20 and estimator == 'FGLS'").iloc[0]
    line = next(line for line in printed.out.splitlines() if line.split()[:1] == ["20"])
    assert line.endswith(f"{row['value']:.1f} ({row['mcse']:.1f})")
    assert "How fits ended" in printed.out
    assert "bias" not in printed.out
    assert max(map(len, printed.out.splitlines())) <= 80
    assert printed.err == ""


def test_the_command_as_json(monkeypatch, capsys, file) -> None:
    assert run(monkeypatch, file, "--reps", 5, "--json", "--quiet") == 0
    record = json.loads(capsys.readouterr().out)
    frame = pd.DataFrame(record["results"]).astype({"value": float, "mcse": float, "truth": float})
    pd.testing.assert_frame_equal(frame, expected(), check_exact=True)
    assert (record["seed"], record["reps"], record["study"]["terms"]) == (1, 5, ["z"])
    assert [row["fitted"] for row in record["failures"]] == [10, 10]


@pytest.mark.parametrize("ending", ["csv", "parquet", "txt"])
def test_the_command_writes(monkeypatch, capsys, file, tmp_path, ending: str) -> None:
    out = tmp_path / f"results.{ending}"
    assert run(monkeypatch, file, "--reps", 5, "--out", out, "--quiet") == 0
    printed = capsys.readouterr()
    assert f"Written to {out}" in printed.err
    found = expected()
    if ending == "csv":
        pd.testing.assert_frame_equal(
            pd.read_csv(out, keep_default_na=False, na_values={"value": "", "mcse": "", "truth": ""}), found
        )
    elif ending == "parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(out), found, check_exact=True)
    else:
        assert out.read_text(encoding="utf-8") == printed.out


def test_the_command_resumes(monkeypatch, capsys, file, tmp_path) -> None:
    folder, out = tmp_path / "folder", tmp_path / "results.parquet"
    assert run(monkeypatch, file, "--reps", 2, "--folder", folder, "--quiet") == 0
    assert run(monkeypatch, file, "--reps", 5, "--folder", folder, "--quiet") == 2
    assert "Go on from there with" in capsys.readouterr().err
    assert (
        run(monkeypatch, file, "--reps", 5, "--folder", folder, "--resume", "--batch", 2, "--out", out, "--quiet") == 0
    )
    pd.testing.assert_frame_equal(pd.read_parquet(out), expected(), check_exact=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "results.doc"], "`--output` ends in .csv, .parquet"),
        (["--measures", "rsme"], "`--measures` has 'rsme'. There are: bias, rmse"),
        (["--reps", "0"], "`reps` is a whole number"),
        (["--resume"], "Give `folder`"),
    ],
)
def test_wrong_arguments(monkeypatch, capsys, file, arguments: list[str], words: str) -> None:
    assert run(monkeypatch, file, *arguments) == 2
    assert words in capsys.readouterr().err


def test_an_estimator_without_any_fit_shows_in_the_status(monkeypatch, capsys, file) -> None:
    file.write_text(STUDY.replace("size = [30, 60]", "size = 1"), encoding="utf-8")
    assert run(monkeypatch, file, "--reps", 4, "--measures", "rmse") == 1
    printed = capsys.readouterr()
    assert "fits failed, and are not in the measures: FGLS 8" in printed.err
    assert "Warning: Replications without a fit" in printed.out
    assert "()" not in printed.out


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
def test_an_interrupt_keeps_what_is_finished(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    command = [
        sys.executable,
        "-m",
        "crosslevel",
        "simulate",
        file,
        "--reps",
        "100000",
        "--batch",
        "5",
        "--folder",
        folder,
    ]
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
    while len(list(folder.glob("*/*.parquet"))) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "resume to go on from there" in told
    assert told.endswith("Interrupted.\n")
    found = cl.lab.summarise(folder)
    again = in_python().only(clusters=10).run(reps=int(found["reps"].iloc[0]), progress=False)
    pd.testing.assert_frame_equal(found, again, check_exact=True)
