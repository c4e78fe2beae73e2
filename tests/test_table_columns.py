import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from crosslevel.errors import ColumnNotFoundError, DataError
from crosslevel.table import Columns, group_codes

NAN = float("nan")


def plain() -> pd.DataFrame:
    """Columns of every kind, with and without missing values, as numpy holds them."""
    return pd.DataFrame(
        {
            "whole": np.array([3, 1, 2, 1, 3, 1], dtype=np.int64),
            "small": np.array([-1, 0, 1, 0, -1, 1], dtype=np.int8),
            "unsigned": np.array([2**63 + 1, 5, 5, 7, 7, 5], dtype=np.uint64),
            "real": [0.5, NAN, -1.5, 0.0, 2.0, 1e300],
            "ids": [11.0, NAN, 13.0, 11.0, 12.0, 13.0],
            "truth": [True, False, True, True, False, False],
            "text": ["b", "a", None, "10", "9", "a"],
            "full_text": ["b", "a", "c", "10", "9", "a"],
            "category": pd.Categorical(["lo", "hi", None, "lo", "hi", "lo"], categories=["unused", "lo", "hi"]),
            "day": pd.to_datetime(["2020-01-02", None, "2020-01-01", "2020-01-02", "2020-01-01", "2021-05-05"]),
        }
    )


def nullable() -> pd.DataFrame:
    return plain().astype(
        {"whole": "Int64", "small": "Int8", "real": "Float64", "ids": "Int64", "truth": "boolean", "text": "string"}
    )


def arrow_backed() -> pd.DataFrame:
    frame = nullable()
    types = {
        "whole": pa.int64(),
        "small": pa.int8(),
        "unsigned": pa.uint64(),
        "real": pa.float64(),
        "ids": pa.int64(),
        "truth": pa.bool_(),
        "text": pa.string(),
        "full_text": pa.string(),
    }
    return frame.astype({name: pd.ArrowDtype(dtype) for name, dtype in types.items()})


def objects() -> pd.DataFrame:
    frame = plain().astype({name: object for name in ("whole", "small", "real", "truth", "text", "full_text")})
    frame["ids"] = pd.Series([11, None, 13, 11, 12, 13], dtype=object)
    return frame


def sparse() -> pd.DataFrame:
    return plain().astype({"small": pd.SparseDtype("int8", 0), "real": pd.SparseDtype("float64", NAN)})


def arrow_table() -> pa.Table:
    return pa.Table.from_pandas(nullable())


def chunked_table() -> pa.Table:
    table = arrow_table()
    return pa.concat_tables([table.slice(0, 2), table.slice(2)])


def polars_frame() -> pl.DataFrame:
    frame = pl.from_pandas(nullable().astype({"category": object}))
    return frame.with_columns(pl.col("category").cast(pl.Enum(["unused", "lo", "hi"])))


def polars_nan() -> pl.DataFrame:
    return polars_frame().with_columns(pl.col("real").fill_null(NAN))


FRAMES = {
    "numpy": plain,
    "dict": lambda: {name: plain()[name].array for name in plain()},
    "pandas nullable": nullable,
    "pandas arrow": arrow_backed,
    "pandas object": objects,
    "pandas sparse": sparse,
    "pyarrow": arrow_table,
    "pyarrow chunks": chunked_table,
    "polars": polars_frame,
    "polars NaN": polars_nan,
    "polars lazy": lambda: polars_frame().lazy(),
}

NUMBERS = {
    "whole": [3, 1, 2, 1, 3, 1],
    "small": [-1, 0, 1, 0, -1, 1],
    "unsigned": [2.0**63, 5, 5, 7, 7, 5],
    "real": [0.5, NAN, -1.5, 0.0, 2.0, 1e300],
    "ids": [11, NAN, 13, 11, 12, 13],
    "truth": [1, 0, 1, 1, 0, 0],
}
CODES = {
    "whole": ([2, 0, 1, 0, 2, 0], (1, 2, 3)),
    "small": ([0, 1, 2, 1, 0, 2], (-1, 0, 1)),
    "unsigned": ([2, 0, 0, 1, 1, 0], (5, 7, 2**63 + 1)),
    "real": ([2, -1, 0, 1, 3, 4], (-1.5, 0.0, 0.5, 2.0, 1e300)),
    "ids": ([0, -1, 2, 0, 1, 2], (11, 12, 13)),
    "truth": ([1, 0, 1, 1, 0, 0], (False, True)),
    "text": ([3, 2, -1, 0, 1, 2], ("10", "9", "a", "b")),
    "full_text": ([3, 2, 4, 0, 1, 2], ("10", "9", "a", "b", "c")),
    "category": ([0, 1, -1, 0, 1, 0], ("lo", "hi")),
}


@pytest.fixture(params=FRAMES, scope="module")
def columns(request: pytest.FixtureRequest) -> Columns:
    return Columns.from_frame(FRAMES[request.param]())


def test_every_frame_has_the_same_shape(columns: Columns) -> None:
    assert columns.names == tuple(plain().columns)
    assert columns.n_rows == 6


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("rows", [slice(None), slice(1, 4), slice(4, 99), slice(2, 2)])
def test_every_frame_gives_the_same_numbers(columns: Columns, name: str, rows: slice) -> None:
    values = columns.numeric(name, rows)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, np.array(NUMBERS[name], dtype=np.float64)[rows])


@pytest.mark.parametrize("name", CODES)
def test_every_frame_gives_the_same_factor(columns: Columns, name: str) -> None:
    factor = columns.factor(name)
    codes, levels = CODES[name]
    assert factor.codes.dtype == np.int32
    assert factor.codes.tolist() == codes
    assert factor.levels == levels
    assert [type(level) for level in factor.levels] == [type(level) for level in levels]
    assert factor.sizes.tolist() == [codes.count(code) for code in range(len(levels))]
    assert columns.factor(name) is factor


def test_every_frame_gives_the_same_dates(columns: Columns) -> None:
    factor = columns.factor("day")
    assert factor.codes.tolist() == [1, -1, 0, 1, 0, 2]
    assert [pd.Timestamp(level).year for level in factor.levels] == [2020, 2020, 2021]


@pytest.mark.parametrize("name", plain().columns)
@pytest.mark.parametrize("rows", [slice(None), slice(0, 3), slice(3, 6), slice(0, 0)])
def test_every_frame_misses_the_same_values(columns: Columns, name: str, rows: slice) -> None:
    expected = plain()[name].isna().to_numpy()[rows]
    missing = columns.missing(name, rows)
    if expected.any():
        assert missing.dtype == np.bool_
        assert missing.tolist() == expected.tolist()
    else:
        assert missing is None


def test_every_frame_has_the_same_complete_rows(columns: Columns) -> None:
    mask, counts = columns.complete(["whole", "real", "text", "real"])
    assert mask.tolist() == [True, False, False, True, True, True]
    assert counts == {"whole": 0, "real": 1, "text": 1}
    assert columns.complete(["whole", "truth"]) == (None, {"whole": 0, "truth": 0})
    # a second question must not see the first one's answer
    assert columns.complete(["real"])[0].tolist() == [True, False, True, True, True, True]


def test_every_frame_tells_numbers_from_the_rest(columns: Columns) -> None:
    assert [name for name in columns.names if columns.is_numeric(name)] == ["whole", "small", "unsigned", "real", "ids"]


def test_every_frame_goes_to_pandas_alike(columns: Columns) -> None:
    names = ["text", "whole", "real", "truth", "category", "ids"]
    frame = columns.to_pandas(names, slice(1, 5), np.array([True, True, False, True, True, True]))
    assert frame.index.tolist() == [0, 1, 2]
    assert list(frame) == names
    assert frame["text"].tolist() == ["a", "10", "9"]
    assert frame["whole"].dtype == np.int64
    assert frame["truth"].dtype == np.bool_
    assert frame["truth"].tolist() == [False, True, False]
    assert frame["category"].tolist() == ["hi", "lo", "hi"]
    assert list(frame["category"].cat.categories) == ["unused", "lo", "hi"]
    np.testing.assert_array_equal(frame["ids"], [NAN, 11, 12])
    np.testing.assert_array_equal(frame["real"], [NAN, 0.0, 2.0])


def test_missing_text_and_truth_go_to_pandas_as_missing() -> None:
    frame = nullable()
    frame["truth"] = pd.array([True, None, False, True, True, True], dtype="boolean")
    for given in (frame, pl.from_pandas(frame.drop(columns="category")), arrow_backed().assign(truth=frame["truth"])):
        part = Columns.from_frame(given).to_pandas(["text", "truth"])
        assert part["text"].isna().tolist() == [False, False, True, False, False, False]
        assert part["truth"].isna().tolist() == [False, True, False, False, False, False]
        assert part["truth"][0] is True


def test_polars_categories_without_order_are_sorted() -> None:
    pl.Series(["z", "zz", "a"], dtype=pl.Categorical)  # fills the pool of strings that all columns share
    frame = pl.DataFrame({"g": pl.Series(["b", "a", None, "b"], dtype=pl.Categorical)})
    factor = Columns.from_frame(frame).factor("g")
    assert factor.codes.tolist() == [1, 0, -1, 1]
    assert factor.levels == ("a", "b")


def test_decimals_are_numbers() -> None:
    values = [Decimal("1.50"), None, Decimal("2.25")]
    for frame in (pd.DataFrame({"x": values}), pl.DataFrame({"x": values}), pa.table({"x": values})):
        columns = Columns.from_frame(frame)
        assert columns.is_numeric("x")
        np.testing.assert_array_equal(columns.numeric("x"), [1.5, NAN, 2.25])


def test_a_column_without_any_value_is_a_number() -> None:
    for frame in (pd.DataFrame({"x": [None, None]}), pl.DataFrame({"x": [None, None]}), pa.table({"x": pa.nulls(2)})):
        columns = Columns.from_frame(frame)
        assert columns.is_numeric("x")
        assert np.isnan(columns.numeric("x")).all()
        assert columns.missing("x").all()
        assert columns.factor("x").levels == ()
        assert columns.factor("x").codes.tolist() == [-1, -1]


def test_numbers_are_a_view_of_float64() -> None:
    values = np.arange(5.0)
    for frame in (pd.DataFrame({"x": values}, copy=False), {"x": values}, pl.DataFrame({"x": values})):
        found = Columns.from_frame(frame).numeric("x", slice(1, 4))
        np.testing.assert_array_equal(found, [1, 2, 3])
        assert not found.flags.owndata
    assert np.shares_memory(Columns.from_frame({"x": values}).numeric("x"), values)


def test_strided_columns_are_read_right() -> None:
    block = np.arange(12.0).reshape(4, 3)
    block[2, 1] = NAN
    columns = Columns.from_frame(pd.DataFrame(block, columns=["a", "b", "c"], copy=False))
    np.testing.assert_array_equal(columns.numeric("b"), [1, 4, NAN, 10])
    assert columns.missing("b").tolist() == [False, False, True, False]
    assert columns.missing("c") is None


# the table of values seen, and the hashing it gives way to: negative, far from zero, wide, and longer than one chunk
@pytest.mark.parametrize("low", [0, 1, -7, 10**9, -(10**12)])
@pytest.mark.parametrize("step", [1, 3, 10**6])
@pytest.mark.parametrize("n", [1, 2, 50, 70_001])
def test_integer_codes_are_those_of_unique(low: int, step: int, n: int) -> None:
    values = low + step * np.random.default_rng(n).integers(0, 40, n)
    levels, codes = np.unique(values, return_inverse=True)
    factor = Columns.from_frame({"g": values}).factor("g")
    assert factor.levels == tuple(levels.tolist())
    np.testing.assert_array_equal(factor.codes, codes)


def test_floats_that_are_no_ids_keep_their_values() -> None:
    for values, levels in [
        ([1.0, 2.5, 1.0, NAN], (1.0, 2.5)),
        ([2.0**53, 1.0, 2.0**60], (1.0, 2.0**53, 2.0**60)),
        ([np.inf, 1.0, -np.inf], (-np.inf, 1.0, np.inf)),
    ]:
        factor = Columns.from_frame({"g": values}).factor("g")
        assert factor.levels == levels
        assert all(isinstance(level, float) for level in factor.levels)
        assert [factor.levels[code] if code >= 0 else NAN for code in factor.codes] == pytest.approx(
            values, nan_ok=True
        )


def test_integer_codes_at_the_ends_of_the_range() -> None:
    ends = np.array([-(2**63), 2**63 - 1, 0], dtype=np.int64)
    assert Columns.from_frame({"g": ends}).factor("g").levels == (-(2**63), 0, 2**63 - 1)
    small = np.array([127, -128, 0], dtype=np.int8)
    assert Columns.from_frame({"g": small}).factor("g").codes.tolist() == [2, 0, 1]
    large = np.array([255, 0, 200], dtype=np.uint8)
    assert Columns.from_frame({"g": large}).factor("g").levels == (0, 200, 255)


def test_levels_of_mixed_types_have_an_order() -> None:
    factor = Columns.from_frame(pd.DataFrame({"g": ["b", 2, "a", 1.5, None]})).factor("g")
    assert factor.levels == (1.5, 2, "a", "b")
    assert factor.codes.tolist() == [3, 1, 2, 0, -1]


def test_categories_of_numbers_keep_their_order() -> None:
    frame = pd.DataFrame({"g": pd.Categorical([3, 1, 3], categories=[3, 2, 1])})
    columns = Columns.from_frame(frame)
    assert not columns.is_numeric("g")
    assert columns.factor("g").levels == (3, 1)
    assert columns.factor("g").codes.tolist() == [0, 1, 0]


def test_a_measurement_is_told_from_ids() -> None:
    rng = np.random.default_rng(1)
    data = {"measure": rng.normal(size=100), "ids": rng.integers(0, 100, 100).astype(float), "few": np.repeat(0.5, 100)}
    columns = Columns.from_frame(data)
    assert columns.factor("measure").is_continuous
    assert not columns.factor("ids").is_continuous
    assert not columns.factor("few").is_continuous


def test_group_codes_of_several_columns() -> None:
    data = {"a": ["y", "x", "x", None, "y", "x"], "b": [2, 1, 2, 1, NAN, 1], "c": [True, True, False, True, True, True]}
    columns = Columns.from_frame(data)
    assert group_codes(columns, ("a",)) is columns.factor("a")
    pair = group_codes(columns, ("a", "b"))
    assert pair.name == "a:b"
    assert pair.levels == ("x:1", "x:2", "y:2")
    assert pair.codes.tolist() == [2, 0, 1, -1, -1, 0]
    assert pair.n_missing == 2
    three = group_codes(columns, ("a", "b", "c"))
    assert three.levels == ("x:1:True", "x:2:False", "y:2:True")
    assert three.sizes.tolist() == [2, 1, 1]


def test_labels_come_with_the_frame() -> None:
    frame = plain()
    frame.attrs["labels"] = {"real": "A measure (cm)", "whole": "", "gone": "Not in the data"}
    assert Columns.from_frame(frame).labels == {"real": "A measure (cm)"}
    assert Columns.from_frame(plain()).labels == {}


def test_names_become_text() -> None:
    assert Columns.from_frame(pd.DataFrame(np.eye(2))).names == ("0", "1")
    columns = Columns.from_frame(pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])))
    assert columns.names == ("a_x", "a_y")
    assert columns.numeric("a_y").tolist() == [2]


def test_columns_pass_through() -> None:
    columns = Columns.from_frame(plain())
    assert Columns.from_frame(columns) is columns


def test_duplicated_names_are_refused() -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=["x", "y", "x"])
    with pytest.raises(DataError, match=r"`data` has several columns of the same name: 'x'. Rename or drop"):
        Columns.from_frame(frame)
    with pytest.raises(DataError, match=r"`new` cannot be used: .*unique column names.*'x' 2 times. Rename"):
        Columns.from_frame(pa.table([[1], [2]], names=["x", "x"]), "new")
    with pytest.raises(DataError, match=r"several columns of the same name: '1'"):
        Columns.from_frame(pd.DataFrame([[1, 2]], columns=[1, "1"]))


@pytest.mark.parametrize("given", [[1, 2], "survey.csv", None, np.eye(2)])
def test_no_frame_is_refused(given: object) -> None:
    with pytest.raises(DataError, match=r"`data` must be a data frame .* got .*crosslevel.read"):
        Columns.from_frame(given)


@pytest.mark.parametrize("given", [pd.DataFrame({"x": []}), pd.DataFrame(), {}, pl.DataFrame({"x": []})])
def test_no_rows_are_refused(given: object) -> None:
    with pytest.raises(DataError, match=r"`data` has 0 rows and \d columns; it needs at least one of each"):
        Columns.from_frame(given)


def test_unequal_arrays_are_refused() -> None:
    with pytest.raises(DataError, match="`data` must hold arrays of one dimension and equal length"):
        Columns.from_frame({"x": [1, 2], "y": [1, 2, 3]})
    with pytest.raises(DataError, match="`data` must hold arrays of one dimension and equal length"):
        Columns.from_frame({"x": np.eye(2)})


def test_an_unknown_column_is_named_with_the_nearest(columns: Columns) -> None:
    with pytest.raises(ColumnNotFoundError, match=r"`formula` uses 'hole', 'zzz', which.*'whole' for 'hole'"):
        columns.require(["real", "hole", "zzz", "hole"], "formula")
    with pytest.raises(ColumnNotFoundError, match=r"`data` uses 'reel', which the data lack. Did you mean 'real'"):
        columns.numeric("reel")


def test_text_where_numbers_are_needed_is_shown(columns: Columns) -> None:
    with pytest.raises(DataError, match=r"`data` has text \('b', 'a', '10', ...\) in column 'text', where numbers"):
        columns.numeric("text")
    with pytest.raises(DataError, match=r"categories \('lo', 'hi', 'lo', ...\) in column 'category'.*as a category"):
        columns.numeric("category")
    with pytest.raises(DataError, match=r"(?i)values of type datetime.* in column 'day'"):
        columns.numeric("day")


def test_importing_table_leaves_heavy_packages_alone() -> None:
    # pandas imports pyarrow by itself, so what counts is what is added to pandas and narwhals
    code = (
        "import sys, pandas, narwhals; before = set(sys.modules); import crosslevel.table, crosslevel.datasets; "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    added = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "crosslevel" in added
    for heavy in ("pyreadstat", "pyarrow", "openpyxl", "numba", "matplotlib", "polars", "formulaic", "scipy"):
        assert f"'{heavy}'" not in added
