"""Variables described at their own level: every number against pandas."""

import json

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.cli import app as cli
from crosslevel.errors import ColumnNotFoundError, CrosslevelError, DataError
from crosslevel.report.tables.record import Heading, Line


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    found = cl.datasets.load("hsb")
    found["ses"] = found["ses"].where(np.arange(len(found)) % 11 > 0)
    found["district"] = found["school"].astype(str).str[:2]
    found["rich"] = found.groupby("district")["meanses"].transform("mean") > 0
    return found


def test_rows_over_rows_and_clusters_over_clusters(data: pd.DataFrame) -> None:
    frame = cl.descriptives(data, ["school", "district"]).frame.set_index(["variable", "category"])
    assert frame.loc[("ses", ""), "level"] == "rows"
    assert frame.loc[("meanses", ""), "level"] == "school"
    assert frame.loc[("rich", "True"), "level"] == "district"
    names = ["n", "mean", "sd", "min", "max"]
    schools = data.drop_duplicates("school")["meanses"]
    for variable, values in (("ses", data["ses"].dropna()), ("mathach", data["mathach"]), ("meanses", schools)):
        expected = [len(values), values.mean(), values.std(), values.min(), values.max()]
        assert frame.loc[(variable, ""), names].tolist() == pytest.approx(expected, rel=1e-12)
    assert frame.loc[("ses", ""), "missing"] == data["ses"].isna().sum()
    shares = data.drop_duplicates("school")["sector"].value_counts()
    assert frame.loc[("sector", "Catholic"), ["n", "mean"]].tolist() == [shares["Catholic"], shares["Catholic"] / 160]
    assert frame.loc[("mathach", ""), "icc (school)"] == cl.describe(data, "school").frame.loc["mathach", "icc"]


def test_a_cluster_whose_first_value_is_missing_has_its_value(data: pd.DataFrame) -> None:
    holes = data.assign(meanses=data["meanses"].where(data.groupby("school").cumcount() > 0))
    frame = cl.descriptives(holes, "school", ["meanses"]).frame
    assert frame.loc[0, ["n", "missing"]].tolist() == [160, 0]
    assert frame.loc[0, "mean"] == pytest.approx(data.drop_duplicates("school")["meanses"].mean(), rel=1e-12)


def test_by_a_category(data: pd.DataFrame) -> None:
    table = cl.descriptives(data, "school", {"ses": "Social status", "meanses": "Mean"}, by="sector", digits=3)
    assert table.headings == ("", "Public", "Catholic", "All")
    lines = {line.label: line for line in table.lines if isinstance(line, Line)}
    for place, name in enumerate(("Public", "Catholic")):
        values = data.loc[data["sector"] == name, "ses"]
        assert lines["Social status"].cells[place].text == f"{values.mean():.3f} ({values.std():.3f})"
        assert lines["N"].cells[place].value == data.loc[data["sector"] == name, "school"].nunique()
    assert [line.text for line in table.lines if isinstance(line, Heading)] == [
        "Rows (7,185)",
        "Clusters: school (160)",
    ]


def test_errors(data: pd.DataFrame) -> None:
    with pytest.raises(ColumnNotFoundError):
        cl.descriptives(data, "scool")
    with pytest.raises(DataError, match="`by` is a column of few categories"):
        cl.descriptives(data, "school", by="district")
    with pytest.raises(DataError, match="`variables` is empty"):
        cl.descriptives(data, "school", [])
    with pytest.raises(CrosslevelError, match="`path` is needed"):
        cl.descriptives(data, "school", format="docx")


def test_other_frames_and_formats(data: pd.DataFrame, tmp_path: object) -> None:
    polars = pytest.importorskip("polars")
    small = data[["school", "ses", "sector"]]
    found, expected = (
        cl.descriptives(given, "school").frame.sort_values(["variable", "category"], ignore_index=True)
        for given in (polars.from_pandas(small), small)
    )
    pd.testing.assert_frame_equal(found, expected)
    written = cl.descriptives(small, "school", path=tmp_path / "table.xlsx")
    assert pd.read_excel(written, sheet_name="Numbers")["n"].tolist()[0] == small["ses"].notna().sum()


def test_the_command_writes_tables(monkeypatch: pytest.MonkeyPatch, capsys: object, tmp_path: object) -> None:
    path = tmp_path / "sleep.csv"
    cl.datasets.load("sleepstudy").to_csv(path, index=False)
    formulas = ["Reaction ~ Days + (1 | Subject)", "Reaction ~ Days"]

    def run(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["crosslevel", "table", str(path), *formulas, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0)

    assert run("--json", "--label", "Days=Day", "--show", "interval", "-o", tmp_path / "out.tex") == 0
    frame = pd.DataFrame(json.loads(capsys.readouterr().out)["table"])
    read = cl.read(path)
    expected = [cl.mixed(formulas[0], read).params["Days"], cl.ols(formulas[1], read, cluster="Subject").params["Days"]]
    assert frame[frame["label"] == "Day"]["estimate"].tolist() == expected
    assert "Day &" in (tmp_path / "out.tex").read_text()
    assert run("--format", "docx") == 2
    assert run("--label", "Days") == 2
    assert run("-o", tmp_path / "out.pdf") == 2
