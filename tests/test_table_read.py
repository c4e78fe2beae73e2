import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pyreadstat
import pytest

import crosslevel as cl
from crosslevel.errors import ColumnNotFoundError, CrosslevelError, DataError, FileError
from crosslevel.table.read import READERS

SAS = Path(__file__).parent / "data" / "survey.sas7bdat"  # survey.R beside it made it
NAN = float("nan")


def survey() -> pd.DataFrame:
    """Ids with leading zeros, numbers with missing values, whole numbers, text with missing values."""
    return pd.DataFrame(
        {
            "school": ["01", "02", "02", "10"],
            "score": [1.5, NAN, -3.0, 1e10],
            "pupils": [1, 2, 3, 40],
            "word": ["a b", "é, ü", None, "c"],
        }
    )


def spreadsheet(frame: pd.DataFrame, path: Path) -> None:
    frame.to_excel(path, index=False)


def text_without_missing(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(word=frame["word"].fillna(""))


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "a.csv": lambda frame, path: frame.to_csv(path, index=False),
    "a.CSV": lambda frame, path: frame.to_csv(path, index=False),
    "a.txt": lambda frame, path: frame.to_csv(path, index=False, sep="|"),
    "b.csv": lambda frame, path: frame.to_csv(path, index=False, sep=";", decimal=","),
    "c.csv": lambda frame, path: frame.to_csv(path, index=False, encoding="utf-8-sig", lineterminator="\r\n"),
    "a.csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    "a.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "a.tab": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "a.tsv.gz": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "a.parquet": lambda frame, path: frame.to_parquet(path),
    "a.feather": lambda frame, path: frame.to_feather(path),
    "a.arrow": lambda frame, path: frame.to_feather(path),
    "a.xlsx": spreadsheet,
    "a.dta": lambda frame, path: pyreadstat.write_dta(text_without_missing(frame), path),
    "old.dta": lambda frame, path: text_without_missing(frame).to_stata(path, write_index=False, version=114),
    "a.sav": lambda frame, path: pyreadstat.write_sav(text_without_missing(frame), path),
    "a.zsav": lambda frame, path: pyreadstat.write_sav(text_without_missing(frame), path, compress=True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_frame(name: str, tmp_path: Path) -> None:
    WRITERS[name](survey(), tmp_path / name)
    found = cl.read(tmp_path / name)
    assert list(found) == list(survey())
    assert found["school"].tolist() == ["01", "02", "02", "10"]
    np.testing.assert_array_equal(found["score"], survey()["score"])
    np.testing.assert_array_equal(found["pupils"], survey()["pupils"])
    assert found["word"].isna().tolist() == [False, False, True, False]
    assert found["word"].dropna().tolist() == ["a b", "é, ü", "c"]
    assert found.index.tolist() == [0, 1, 2, 3]
    assert found.attrs["labels"] == {}


def test_sas_files_are_read() -> None:
    found = cl.read(SAS)
    assert found["school"].isna().tolist() == [False, False, False, False, True]
    assert found["school"].dropna().tolist() == ["01", "02", "03", "04"]
    np.testing.assert_array_equal(found["score"], [1.5, NAN, -3.0, 1e10, 0.1])
    np.testing.assert_array_equal(found["pupils"], [1, 2, 3, NAN, 5])
    days = ["2020-01-01", "1999-12-31", None, "1960-01-01", "2026-07-01"]
    assert found["day"].tolist()[3] == pd.Timestamp(days[3])
    pd.testing.assert_series_equal(found["day"], pd.Series(pd.to_datetime(days), name="day"), check_dtype=False)
    assert found.attrs["labels"] == {"school": "School", "score": "Test score (points)"}


def test_sas_files_are_read_as_pandas_reads_them() -> None:
    # pandas has a reader of its own, independent of the library that wrote and reads the file here
    other = pd.read_sas(SAS, encoding="utf-8")
    found = cl.read(SAS)
    assert list(other) == list(found)
    for name in ("score", "pupils"):
        np.testing.assert_array_equal(found[name], other[name])
    assert found["school"].dropna().tolist() == other["school"].dropna().tolist()


def test_the_type_can_be_named(tmp_path: Path) -> None:
    file = tmp_path / "download"
    survey().to_csv(file, index=False)
    assert cl.read(file, format="csv")["school"].tolist() == ["01", "02", "02", "10"]
    assert cl.read(str(file), format=".CSV.gz").shape == (4, 4)  # whether it is compressed is seen in the file


# --- text files ---


def written(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_only_ids_with_leading_zeros_stay_text(tmp_path: Path) -> None:
    text = (
        "id,gap,number,share,date,phone\n01,007,10,0.5,2020-01-02,0\n2,,20,0,2020-01-03,1\n30,8,30,1.25,2020-10-10,2\n"
    )
    found = cl.read(written(tmp_path, text))
    assert found["id"].tolist() == ["01", "2", "30"]
    assert found["gap"].isna().tolist() == [False, True, False]
    assert found["gap"].dropna().tolist() == ["007", "8"]
    for name in ("number", "share", "phone"):
        assert pd.api.types.is_numeric_dtype(found[name])


def test_ids_with_leading_zeros_far_down_stay_text(tmp_path: Path) -> None:
    lines = [f"{i},{i}\n" for i in range(100_000, 300_000)]
    found = cl.read(written(tmp_path, "id,x\n" + "".join(lines) + "000007,1\n"))
    assert found["id"].iloc[-1] == "000007"
    assert found["id"].iloc[0] == "100000"
    assert found["x"].dtype == np.int64


def test_quoted_ids_with_leading_zeros_stay_text(tmp_path: Path) -> None:
    found = cl.read(written(tmp_path, '"id","x"\n"01","5"\n"02","6"\n'))
    assert found["id"].tolist() == ["01", "02"]
    assert found["x"].tolist() == [5, 6]


def test_missing_values_of_other_programs(tmp_path: Path) -> None:
    found = cl.read(written(tmp_path, "x,y\n1,a\n.,NA\n,b\nNaN,.\n4,\n"))
    np.testing.assert_array_equal(found["x"], [1, NAN, NAN, NAN, 4])
    assert found["y"].dropna().tolist() == ["a", "b"]


def test_spaces_after_separators_do_not_count(tmp_path: Path) -> None:
    found = cl.read(written(tmp_path, "x, y\n1, 01\n2, 12\n"))
    assert list(found) == ["x", "y"]
    assert found["y"].tolist() == ["01", "12"]


def test_decimal_points_in_files_with_semicolons(tmp_path: Path) -> None:
    found = cl.read(written(tmp_path, "x;words\n1.5;a,b\n2.5;c\n"))
    assert found["x"].tolist() == [1.5, 2.5]
    assert found["words"].tolist() == ["a,b", "c"]


def test_one_column(tmp_path: Path) -> None:
    assert cl.read(written(tmp_path, "x\n1\n2\n"))["x"].tolist() == [1, 2]


def test_quoted_names_with_separators(tmp_path: Path) -> None:
    assert list(cl.read(written(tmp_path, '"a;b;c;d",x\n1,2\n'))) == ["a;b;c;d", "x"]


def test_row_names_of_r(tmp_path: Path) -> None:
    assert cl.read(written(tmp_path, '"","x"\n"1",5\n"2",6\n'))["x"].tolist() == [5, 6]


def test_encodings(tmp_path: Path) -> None:
    file = written(tmp_path, "stadt,x\nKöln,1\n".encode("cp1252"))
    assert cl.read(file, encoding="cp1252")["stadt"].tolist() == ["Köln"]
    wide = written(tmp_path, "stadt\tx\nKöln\t1\n".encode("utf-16"), "b.txt")
    assert cl.read(wide, encoding="utf-16")["stadt"].tolist() == ["Köln"]
    with pytest.raises(FileError, match=r"`path`: the text in .* is not in the encoding UTF-8. .*encoding= .*'cp1252'"):
        cl.read(file)
    with pytest.raises(FileError, match="`encoding`: 'windoze' is not the name of an encoding"):
        cl.read(file, encoding="windoze")
    late = written(tmp_path, b"x,y\n" + b"1,a\n" * 50_000 + "1,Köln\n".encode("cp1252"), "late.csv")
    with pytest.raises(FileError, match=r"late.csv' cannot be read as csv: 'utf-8' codec can't decode"):
        cl.read(late)


def test_lines_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot be read as csv: .*Expected 2 fields in line 4, saw 3"):
        cl.read(written(tmp_path, "a,b\n1,2\n3,4\n5,6,7\n8,9\n"))
    with pytest.raises(
        FileError, match=r"has 2 names, the next has 3 values. Give every column a name \(in R: write.csv"
    ):
        cl.read(written(tmp_path, "a,b\nr1,1,2\nr2,3,4\n"))


def test_a_short_last_line_is_a_truncated_file(tmp_path: Path) -> None:
    with pytest.raises(
        FileError, match=r"last line of .* has 2 values where the first has 3 names: the file looks trunc"
    ):
        cl.read(written(tmp_path, "a,b,c\n1,2,3\n4,5"))
    assert cl.read(written(tmp_path, "a,b,c\n1,2,3\n4,5,\n\n \n")).shape[1] == 3


def test_no_text(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"'.*a.csv' holds binary data, not text. Name its type with format="):
        cl.read(written(tmp_path, b"PK\x03\x04\x00\x00"))
    with pytest.raises(FileError, match="has no line of text"):
        cl.read(written(tmp_path, "\n  \n\n"))


# --- labels ---

VOTE = {1: "Left", 2: "Right", 3: "None", 8: "Don't know", 9: "Refused"}


def labelled_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "vote": [2.0, 1.0, 8.0, 9.0, NAN],
            "age": [30.0, 99.0, 41.0, 99.0, 20.0],
            "trust": [0.0, 5.0, 10.0, 3.0, NAN],
            "place": ["n", "s", "", "n", "x"],
            "income": [1.5, -2.0, -1.0, 1000.0, NAN],
        }
    )


def write_labelled(path: Path, **keywords: object) -> None:
    write = pyreadstat.write_sav if path.suffix == ".sav" else pyreadstat.write_dta
    text = {"place": {"s": "South", "n": "North", "x": "Unknown"}} if path.suffix == ".sav" else {}
    write(
        labelled_frame(),
        path,
        column_labels={"vote": "Party voted for", "age": "Age (years)"},
        variable_value_labels={
            "vote": VOTE,
            "age": {99: "Refused"},
            "trust": {0: "None at all", **{k: str(k) for k in range(1, 10)}, 10: "Complete"},
            **text,
        },
        **keywords,
    )


MISSING = {
    "vote": [8, 9],
    "age": [{"lo": 90, "hi": 99}],
    "place": ["x"],
    "income": [{"lo": -np.inf, "hi": -1}, 1000],
}


@pytest.fixture
def sav(tmp_path: Path) -> Path:
    write_labelled(tmp_path / "ess.sav", missing_ranges=MISSING)
    return tmp_path / "ess.sav"


def test_declared_missing_values_become_missing(sav: Path) -> None:
    found = cl.read(sav)
    assert found["vote"].isna().tolist() == [False, False, True, True, True]
    np.testing.assert_array_equal(found["age"], [30, NAN, 41, NAN, 20])
    np.testing.assert_array_equal(found["income"], [1.5, NAN, NAN, NAN, NAN])
    assert found["place"].isna().tolist() == [False, False, True, False, True]


def test_declared_missing_values_can_be_kept(sav: Path) -> None:
    found = cl.read(sav, user_missing=False)
    assert found["vote"].tolist()[:4] == ["Right", "Left", "Don't know", "Refused"]
    np.testing.assert_array_equal(found["age"], [30, 99, 41, 99, 20])
    np.testing.assert_array_equal(found["income"], [1.5, -2, -1, 1000, NAN])


def test_value_labels_become_categories_in_the_order_of_the_values(sav: Path) -> None:
    found = cl.read(sav)
    assert found["vote"].tolist()[:2] == ["Right", "Left"]
    assert list(found["vote"].cat.categories) == ["Left", "Right"]
    assert not found["vote"].cat.ordered
    assert list(found["place"].cat.categories) == ["North", "South"]


def test_columns_labelled_in_part_remain_numbers(sav: Path) -> None:
    found = cl.read(sav)
    np.testing.assert_array_equal(found["trust"], [0, 5, 10, 3, NAN])
    assert set(found.attrs["value_labels"]) == {"trust"}  # of age, only a missing value was labelled
    assert found.attrs["value_labels"]["trust"][0] == "None at all"
    assert list(found.attrs["value_labels"]["trust"]) == list(range(11))


def test_variable_labels_are_kept(sav: Path) -> None:
    assert cl.read(sav).attrs["labels"] == {"vote": "Party voted for", "age": "Age (years)"}


def test_value_labels_can_be_left_alone(sav: Path) -> None:
    found = cl.read(sav, value_labels=False)
    np.testing.assert_array_equal(found["vote"], [2, 1, NAN, NAN, NAN])
    assert found.attrs["value_labels"]["vote"] == {1: "Left", 2: "Right", 3: "None"}


def test_value_labels_can_be_wanted_for_some_columns(sav: Path) -> None:
    found = cl.read(sav, value_labels=["trust"])
    assert found["trust"].tolist()[:4] == ["None at all", "5", "Complete", "3"]
    assert list(found["trust"].cat.categories) == ["None at all", "3", "5", "Complete"]
    assert pd.api.types.is_numeric_dtype(found["vote"])
    with pytest.raises(ColumnNotFoundError, match=r"`value_labels` uses 'votes', which .* Did you mean 'vote'"):
        cl.read(sav, value_labels=["votes"])


def test_values_that_share_a_label_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "a.sav"
    labels = {"g": {1: "Other", 2: "One", 3: "Other"}}
    pyreadstat.write_sav(pd.DataFrame({"g": [3.0, 1.0, 2.0]}), file, variable_value_labels=labels)
    assert cl.read(file)["g"].tolist() == ["Other (3)", "Other (1)", "One"]


def test_stata_files_have_labels_too(tmp_path: Path) -> None:
    write_labelled(tmp_path / "a.dta")
    found = cl.read(tmp_path / "a.dta")
    assert found["vote"].tolist()[:4] == ["Right", "Left", "Don't know", "Refused"]
    assert found.attrs["labels"]["age"] == "Age (years)"
    assert found["place"].isna().tolist() == [False, False, True, False, False]


def test_extended_missing_values_of_stata_are_missing(tmp_path: Path) -> None:
    # written by pandas with place-holders, which are then replaced by the bytes of Stata's .a and .z
    file = tmp_path / "a.dta"
    place = [12345.678, 98765.432]
    pd.DataFrame({"x": [1.5, *place, NAN], "y": [1.0, 2.0, 3.0, 4.0]}).to_stata(file, write_index=False, version=118)
    content = file.read_bytes()
    for number, value in enumerate(place):
        code = bytes([0, 0, 0, 0, 0, (1, 26)[number], 0xE0, 0x7F])
        assert content.count(struct.pack("<d", value)) == 1
        content = content.replace(struct.pack("<d", value), code)
    file.write_bytes(content)
    assert pyreadstat.read_dta(file, user_missing=True)[0]["x"].tolist()[1:3] == ["a", "z"]
    np.testing.assert_array_equal(cl.read(file)["x"], [1.5, NAN, NAN, NAN])


def test_labels_of_stata_missing_values_are_left_out(tmp_path: Path) -> None:
    # a label of the value 3, turned into a label of .a by its bytes
    file = tmp_path / "a.dta"
    labels = {"vote": {1: "Left", 2: "Right", 3: "Refused"}}
    frame = pd.DataFrame({"vote": [1.0, 2.0, NAN], "other": [1.0, 2.0, 3.0]})
    frame.to_stata(file, write_index=False, version=118, value_labels=labels)
    content = file.read_bytes()
    assert content.count(struct.pack("<3i", 1, 2, 3)) == 1
    file.write_bytes(content.replace(struct.pack("<3i", 1, 2, 3), struct.pack("<3i", 1, 2, 2_147_483_622)))
    assert pyreadstat.read_dta(file)[1].variable_value_labels["vote"] == {1: "Left", 2: "Right", "a": "Refused"}
    assert cl.read(file)["vote"].tolist()[:2] == ["Left", "Right"]
    assert cl.read(file, value_labels=False).attrs["value_labels"] == {"vote": {1: "Left", 2: "Right"}}


def test_labels_survive_parquet(sav: Path, tmp_path: Path) -> None:
    first = cl.read(sav)
    first.to_parquet(tmp_path / "a.parquet")
    second = cl.read(tmp_path / "a.parquet")
    assert second.attrs["labels"] == first.attrs["labels"]
    assert list(second["vote"].cat.categories) == ["Left", "Right"]


def test_named_index_is_data(tmp_path: Path) -> None:
    survey().set_index("school").to_parquet(tmp_path / "a.parquet")
    assert cl.read(tmp_path / "a.parquet")["school"].tolist() == ["01", "02", "02", "10"]
    survey()[survey()["pupils"] > 1].to_parquet(tmp_path / "b.parquet")
    found = cl.read(tmp_path / "b.parquet")
    assert list(found) == list(survey())
    assert found.index.tolist() == [0, 1, 2]


# --- workbooks ---


def test_sheets(tmp_path: Path) -> None:
    file = tmp_path / "a.xlsx"
    with pd.ExcelWriter(file) as book:
        survey().to_excel(book, sheet_name="pupils", index=False)
        pd.DataFrame({"z": [1, 2]}).to_excel(book, sheet_name="schools", index=False)
        pd.DataFrame().to_excel(book, sheet_name="nothing", index=False)
    assert list(cl.read(file)) == list(survey())
    assert cl.read(file, sheet="schools")["z"].tolist() == [1, 2]
    assert cl.read(file, sheet=1)["z"].tolist() == [1, 2]
    with pytest.raises(
        FileError, match=r"`sheet`: .* has no sheet 'school'. Its sheets: 'pupils', 'schools', 'nothing'"
    ):
        cl.read(file, sheet="school")
    with pytest.raises(FileError, match=r"`sheet`: .* has no sheet 3"):
        cl.read(file, sheet=3)
    with pytest.raises(DataError, match="has 0 rows and 0 columns"):
        cl.read(file, sheet="nothing")


def test_text_that_holds_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["01", "2"], "number": ["1", "2.5"], "word": ["1", "b"], "mixed": [1, "b"]})
    frame.to_excel(tmp_path / "a.xlsx", index=False)
    found = cl.read(tmp_path / "a.xlsx")
    assert found["id"].tolist() == ["01", "2"]
    assert found["number"].tolist() == [1.0, 2.5]
    assert found["word"].tolist() == ["1", "b"]
    assert found["mixed"].tolist() == [1, "b"]


def test_dates_and_truth_in_a_workbook(tmp_path: Path) -> None:
    days = pd.to_datetime(["2020-01-01", "2021-02-03"])
    pd.DataFrame({"day": days, "truth": [True, False]}).to_excel(tmp_path / "a.xlsx", index=False)
    found = cl.read(tmp_path / "a.xlsx")
    assert found["day"].tolist() == days.tolist()
    assert found["truth"].dtype == np.bool_


def test_blank_rows_of_a_workbook_are_left_out(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1, NAN, 3], "y": ["a", None, "b"]}).to_excel(tmp_path / "a.xlsx", index=False)
    assert cl.read(tmp_path / "a.xlsx")["x"].tolist() == [1, 3]


# --- wrong input ---


def test_a_missing_file_is_named_with_the_nearest(tmp_path: Path) -> None:
    survey().to_csv(tmp_path / "survey_2020.csv", index=False)
    with pytest.raises(
        FileError, match=r"`path`: there is no file '.*Survey_202.csv'. Did you mean 'survey_2020.csv'\?"
    ):
        cl.read(tmp_path / "Survey_202.csv")
    with pytest.raises(FileError, match=r"there is no file '.*zzz.sav'. The folder is '.*', with 1 file\."):
        cl.read(tmp_path / "zzz.sav")
    with pytest.raises(FileError, match=r"Its folder does not exist either; the path is right as far as '.*'"):
        cl.read(tmp_path / "no" / "such" / "folder.sav")
    with pytest.raises(FileError, match=r"is a folder\. Give the name of a file in it"):
        cl.read(tmp_path)


def test_a_path_must_be_one() -> None:
    with pytest.raises(DataError, match="`path` must be the name of a file, got DataFrame"):
        cl.read(survey())


@pytest.mark.parametrize(
    "name", ["a.csv", "a.sav", "a.dta", "a.sas7bdat", "a.parquet", "a.feather", "a.xlsx", "a.csv.gz"]
)
def test_an_empty_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"`path`: '.*' is empty \(0 bytes\). Copy or download it again"):
        cl.read(written(tmp_path, b"", name))


def no_rows() -> pd.DataFrame:
    return survey().iloc[:0].astype({"school": str, "word": str})


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.endswith(("dta", "sav"))])
def test_a_file_without_rows(name: str, tmp_path: Path) -> None:
    WRITERS[name](no_rows(), tmp_path / name)
    with pytest.raises(DataError, match=r"`path`: '.*' has 0 rows and 4 columns, so no data"):
        cl.read(tmp_path / name)


@pytest.mark.parametrize("name", ["survey.xls", "survey", "survey.", ".csv", "a.csv.zip", "a.dat"])
def test_an_unknown_type(name: str, tmp_path: Path) -> None:
    file = written(tmp_path, "x\n1\n", name)
    with pytest.raises(FileError) as caught:
        cl.read(file)
    message = str(caught.value)
    assert message.startswith(
        f"`path`: {str(file)!r} is of no known type. Types that can be read, by ending: csv, tsv,"
    )
    assert all(kind in message for kind in READERS)
    assert "format=" in message


def test_an_unknown_type_that_gives_itself_away(tmp_path: Path) -> None:
    WRITERS["a.sav"](survey(), tmp_path / "a.sav")
    (tmp_path / "a.sav").rename(tmp_path / "a.dat")
    with pytest.raises(FileError, match=r"Its first bytes are those of sav. Name the type"):
        cl.read(tmp_path / "a.dat")
    with pytest.raises(FileError, match=r"Its first bytes are those of xls \(an old Excel workbook: save it as xlsx\)"):
        cl.read(written(tmp_path, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "b.xls"))


def test_a_compressed_file_of_another_type(tmp_path: Path) -> None:
    file = written(tmp_path, gzip.compress(b"x"), "a.dta.gz")
    with pytest.raises(FileError, match="is compressed, which only csv and tsv may be; unpack it first"):
        cl.read(file)


def test_an_unknown_format(tmp_path: Path) -> None:
    file = written(tmp_path, "x\n1\n")
    with pytest.raises(
        FileError, match=r"`format` must be one of csv, tsv, .*; got 'parket'. Did you mean 'parquet'\?"
    ):
        cl.read(file, format="parket")


def test_options_for_another_type(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`sheet` is for xlsx files, and this is read as csv\. Leave it out"):
        cl.read(written(tmp_path, "x\n1\n"), sheet="a")
    WRITERS["a.parquet"](survey(), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="`encoding` is not for parquet files, whose text is Unicode"):
        cl.read(tmp_path / "a.parquet", encoding="cp1252")


def test_duplicated_names(tmp_path: Path) -> None:
    expected = "`path` has several columns of the same name: 'x'. Rename or drop all but one of each"
    table = pa.table([[1], [2], [3]], names=["x", "y", "x"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    pyarrow.feather.write_feather(table, str(tmp_path / "a.feather"))
    pd.DataFrame([[1, 2, 3]], columns=["x", "y", "x"]).to_excel(tmp_path / "a.xlsx", index=False)
    written(tmp_path, "x,y, x\n1,2,3\n", "a.csv")
    written(tmp_path, '"x"\ty\tx\n1\t2\t3\n', "a.tsv")
    for name in ("a.parquet", "a.feather", "a.xlsx", "a.csv", "a.tsv"):
        with pytest.raises(DataError, match=expected):
            cl.read(tmp_path / name)


BINARY = ["a.csv.gz", "a.parquet", "a.feather", "a.xlsx", "a.dta", "old.dta", "a.sav", "a.zsav", "a.sas7bdat"]


def content_of(name: str, folder: Path) -> bytes:
    if name == "a.sas7bdat":
        return SAS.read_bytes()
    WRITERS[name](survey(), folder / name)
    return (folder / name).read_bytes()


@pytest.mark.parametrize("name", BINARY)
def test_truncated_files(name: str, tmp_path: Path) -> None:
    content = content_of(name, tmp_path)
    for share in (0.01, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999):
        file = written(tmp_path, content[: max(1, int(share * len(content)))], name)
        with pytest.raises(FileError, match="`path`: "):
            cl.read(file)


def test_a_stata_file_cut_in_its_value_labels(tmp_path: Path) -> None:
    write_labelled(tmp_path / "a.dta")
    content = (tmp_path / "a.dta").read_bytes()
    cut = content[: content.index(b"<value_labels>") + 40]
    assert len(pyreadstat.read_dta(written(tmp_path, cut, "b.dta"))[0]) == 5  # the library takes it for whole
    with pytest.raises(FileError, match=r"b.dta' is truncated: its end is missing. Copy or download it again"):
        cl.read(tmp_path / "b.dta")


@pytest.mark.parametrize("name", BINARY[1:])
def test_files_of_another_kind(name: str, tmp_path: Path) -> None:
    file = written(tmp_path, b"<!DOCTYPE html><html><body>Please log in</body></html>" * 20, name)
    with pytest.raises(FileError, match=r"`path`: '.*' cannot be read as"):
        cl.read(file)


@pytest.mark.parametrize("name", BINARY)
def test_damaged_files_raise_nothing_else(name: str, tmp_path: Path) -> None:
    content = content_of(name, tmp_path)
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(25):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 8):
            damaged[place] = rng.integers(0, 256)
        try:
            cl.read(written(tmp_path, bytes(damaged), name))
        except CrosslevelError:
            refused += 1
    assert refused > 0
