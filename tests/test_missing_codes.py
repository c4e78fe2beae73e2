"""Codes of missing answers: taken away on reading, and found where they look like codes."""

import numpy as np
import pandas as pd
import pyreadstat
import pytest

import crosslevel as cl
from crosslevel.table.missing_codes import likely_codes, without_codes


@pytest.fixture
def frame():
    return pd.DataFrame(
        {"trust": [3, 99, 7, 98], "age": [99, 30, 999, 41], "answer": ["yes", "no", "refused", "no"], "g": [1, 1, 2, 2]}
    )


def test_codes_by_column_spare_other_columns(frame):
    found = without_codes(frame, {"trust": [98, 99], "answer": "refused"})
    assert found.isna().to_numpy().tolist() == [
        [False, False, False, False], [True, False, False, False],
        [False, False, True, False], [True, False, False, False],
    ]  # fmt: skip
    assert frame["trust"].tolist() == [3, 99, 7, 98]


def test_codes_of_all_columns(frame):
    assert without_codes(frame, [99, "999"]).isna().sum().to_dict() == {"trust": 1, "age": 2, "answer": 0, "g": 0}


def test_csv_file_without_codes(tmp_path, frame):
    path = tmp_path / "survey.csv"
    frame.to_csv(path, index=False)
    assert cl.read(path, missing_codes={"age": 999})["age"].tolist()[:2] == [99, 30]
    assert cl.read(path, columns=["trust"], missing_codes=99)["trust"].isna().tolist() == [False, True, False, False]


def test_codes_of_labelled_files_are_gone_before_labels_replace_them(tmp_path):
    path = tmp_path / "survey.sav"
    labels = {"vote": {0: "no", 1: "yes", 9: "refused"}}
    pyreadstat.write_sav(pd.DataFrame({"vote": [0.0, 1.0, 9.0, 1.0]}), str(path), variable_value_labels=labels)
    assert list(cl.read(path)["vote"].cat.categories) == ["no", "yes", "refused"]
    found = cl.read(path, missing_codes={"vote": 9})["vote"]
    assert list(found.cat.categories) == ["no", "yes"]
    assert found.isna().tolist() == [False, False, True, False]


def test_wrong_codes_say_what_to_do(frame):
    with pytest.raises(cl.ColumnNotFoundError, match="Did you mean 'trust' for 'trsut'"):
        without_codes(frame, {"trsut": 99})
    with pytest.raises(cl.DataError, match="dict of these by column"):
        without_codes(frame, {"trust": None})
    with pytest.warns(cl.DataWarning, match="no row of trust has the codes"):
        without_codes(frame, {"trust": -9})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 1, 9], {9: 1}),
        ([1, 5, 3, 8, 9, 9], {}),
        ([1, 2, 3, 8, 9, 9], {8: 1, 9: 2}),
        ([0, 10, 4, 77, 88, 99, np.nan], {77: 1, 88: 1, 99: 1}),
        ([1, 4, -9, -8], {-9: 1, -8: 1}),
        ([15, 60, 94, 999], {999: 1}),
        ([15, 60, 97, 98, 99], {}),
        ([0.5, 1.5, 99], {}),
        ([1, 99], {}),
        ([7, 8, 9], {}),
    ],
)
def test_likely_codes(values, expected):
    assert likely_codes(np.array(values, dtype=np.float64)) == expected


def test_describe_and_check_coding_find_codes():
    data = cl.datasets.load("hsb")
    assert cl.describe(data, "school").codes == {}
    data["trust"] = np.where(np.arange(len(data)) % 100 == 0, 99, np.arange(len(data)) % 11)
    found = cl.describe(data, "school", ["trust", "ses"])
    assert found.codes == {"trust": {99: 72}}
    assert "cl.read(file, missing_codes={'trust': 99})" in " ".join(str(found).split())
    report = cl.check_coding("mathach ~ trust + (1 | school)", data)
    first = report.warnings[0]
    assert (first.kind, first.variable) == ("codes of missing answers", "trust")
    assert "--missing-codes trust=99" in first.words


def test_check_of_a_fit_finds_codes():
    data = cl.datasets.load("hsb")
    data["trust"] = np.where(np.arange(len(data)) % 100 == 0, 99, np.arange(len(data)) % 11)
    found = cl.check(cl.mixed("mathach ~ trust + (1 | school)", data)).frame.set_index("check")
    assert found.loc["Codes of missing answers", "concern"] == "act"
    assert found.loc["Codes of missing answers", "advice"].startswith("If they are codes, read the file without them")
