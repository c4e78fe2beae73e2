"""One column of any frame: what it holds, its numbers, its missing values, its level codes."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import narwhals as nw
import numpy as np
import pandas as pd

from crosslevel.errors import DataError
from crosslevel.table.factor import (
    Coded,
    category_codes,
    factorized_codes,
    float_codes,
    integer_codes,
    spread,
)
from crosslevel.types import BoolArray, FloatArray, IntArray

Kind: TypeAlias = Literal["integer", "float", "boolean", "categorical", "text", "other"]
Series: TypeAlias = "pd.Series[Any] | nw.Series[Any]"
"""A column of pandas as it is; of any other library as narwhals sees it."""

PLAIN: dict[Any, Kind] = {
    **{np.dtype(f"{sign}int{bits}"): "integer" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{np.dtype(f"float{bits}"): "float" for bits in (32, 64)},
    np.dtype(np.bool_): "boolean",
}
"""What numpy's own types hold, known without asking for narwhals' name of them."""


def settled(series: Series) -> Series:
    """The column with a definite type.

    Numbers and truth values in pandas' `object` columns, sparse columns and columns without any value get theirs.
    """
    if isinstance(series, pd.Series):
        return _settled_pandas(series)
    native = series.to_native()
    if isinstance(native, pd.Series):
        return _settled_pandas(native)
    if series.dtype == nw.Unknown and series.null_count() == len(series):
        return series.cast(nw.Float64)
    return series


def _settled_pandas(native: pd.Series[Any]) -> pd.Series[Any]:
    if isinstance(native.dtype, pd.SparseDtype):
        return pd.Series(np.asarray(native))
    if native.dtype != object:
        return native
    inferred = pd.api.types.infer_dtype(native, skipna=True)
    if inferred == "boolean":
        return native.astype("boolean")
    if inferred == "integer" and not native.isna().any():
        return pd.to_numeric(native)
    if inferred in {"integer", "floating", "mixed-integer-float", "decimal", "empty"}:
        return native.astype(np.float64)
    return native


def kind(series: Series) -> Kind:
    """What a settled column holds."""
    if isinstance(series, pd.Series):
        plain = PLAIN.get(series.dtype) if isinstance(series.dtype, np.dtype) else None
        if plain is not None:
            return plain
        if isinstance(series.dtype, pd.CategoricalDtype):
            return "categorical"
    dtype = by_narwhals(series).dtype
    if dtype.is_integer():
        return "integer"
    if dtype.is_float() or dtype.is_decimal():
        return "float"
    if dtype == nw.Boolean:
        return "boolean"
    if dtype in (nw.Categorical, nw.Enum):
        return "categorical"
    return "text" if dtype == nw.String else "other"


def in_words(series: Series) -> str:
    """What a settled column holds, for messages: the kind and the first values."""
    names = {"boolean": "true/false values", "categorical": "categories", "text": "text"}
    what = names.get(kind(series), f"values of type {series.dtype}")
    present = by_narwhals(series).drop_nulls().head(3).to_list()
    return f"{what} ({', '.join(repr(value) for value in present)}, ...)" if present else what


def by_narwhals(series: Series) -> nw.Series[Any]:
    """The column as narwhals sees it."""
    return nw.from_native(series, series_only=True)


def numbers(series: Series, rows: slice) -> FloatArray:
    """The column as float64, NaN where missing; a view where it is float64 in memory already."""
    if not isinstance(series, pd.Series):
        part = series[rows]
        if series.implementation.is_pyarrow():  # its safe cast refuses integers beyond 2^53
            return np.asarray(part.to_native().cast("float64", safe=False).to_numpy(), dtype=np.float64)
        return np.asarray(part.cast(nw.Float64).to_numpy(), dtype=np.float64)
    if isinstance(series.dtype, np.dtype):
        return series.to_numpy()[rows].astype(np.float64, copy=False)
    return series.array[rows].to_numpy(dtype=np.float64, na_value=np.nan)


def missing_values(series: Series, rows: slice) -> BoolArray | None:
    """Where the column has no value; None when it has one everywhere."""
    what = kind(series)
    if what == "float":
        plain = isinstance(series, pd.Series) and isinstance(series.dtype, np.dtype)
        return _nan(series.to_numpy()[rows] if plain else numbers(series, rows))
    if isinstance(series, pd.Series):
        if what in {"integer", "boolean"} and isinstance(series.dtype, np.dtype):
            return None
        array = series.array
        mask = array.codes[rows] < 0 if isinstance(array, pd.Categorical) else array[rows].isna()
    else:
        part = series[rows]
        mask = part.is_null().to_numpy() if part.null_count() else np.zeros(0, dtype=np.bool_)
    return np.asarray(mask, dtype=np.bool_) if mask.any() else None


def _nan(values: FloatArray) -> BoolArray | None:
    """Where `values` are NaN, or None: a minimum is NaN if any value is, and needs no temporary array."""
    if values.size == 0:
        return None
    with np.errstate(invalid="ignore"):
        found = np.isnan(values.min())
    return np.isnan(values) if found else None


def level_codes(series: Series) -> Coded:
    """Codes (n,) of the column's levels, -1 where missing, and the levels in order."""
    what = kind(series)
    if what == "categorical":
        return _categorical_codes(series)
    if what == "float":
        return float_codes(numbers(series, slice(None)))
    if what == "boolean":
        codes, levels = _whole_number_codes(series if isinstance(series, pd.Series) else series.cast(nw.Int8))
        return codes, [bool(level) for level in levels]
    if what == "integer":
        return _whole_number_codes(series)
    values = series if isinstance(series, pd.Series) else pd.arrays.ArrowExtensionArray(series.to_arrow())
    try:
        return factorized_codes(values)
    except (TypeError, NotImplementedError) as error:  # lists and dicts, or types that pyarrow does not tell apart
        raise DataError(
            f"`data` has {in_words(series)} in column {series.name!r}: these are no categories. Turn them into text or "
            "numbers first."
        ) from error


def _whole_number_codes(series: Series) -> Coded:
    """Codes of integers or truth values, with or without missing values."""
    missing = missing_values(series, slice(None))
    if missing is not None:
        present = series[~missing] if isinstance(series, pd.Series) else series.drop_nulls()
        return spread(_whole_number_codes(present), missing)
    if isinstance(series, pd.Series) and not isinstance(series.dtype, np.dtype):
        values = series.array.to_numpy(dtype=np.uint64 if "uint64" in str(series.dtype).lower() else np.int64)
    else:
        values = series.to_numpy()
    return integer_codes(values.view(np.uint8) if values.dtype == np.bool_ else values)


def _categorical_codes(series: Series) -> Coded:
    """Codes of a categorical column, in the order of its categories where it has one of its own."""
    if _is_pool(series):
        return level_codes(by_narwhals(series).cast(nw.String))
    array = _with_categories(series).array
    return category_codes(np.asarray(array.codes), array.categories.tolist())


def integers(series: Series) -> IntArray | None:
    """A column of whole numbers (int64) in which none is missing; else None."""
    if kind(series) != "integer":
        return None
    known = by_narwhals(series)
    if known.dtype == nw.UInt64 or missing_values(series, slice(None)) is not None:
        return None
    return np.asarray(known.to_numpy()).astype(np.int64, copy=False)


def own_categories(series: Series) -> list[Any]:
    """All categories of a categorical column in their own order; empty for any other column."""
    if kind(series) != "categorical" or _is_pool(series):
        return []
    found: list[Any] = _with_categories(series).cat.categories.tolist()
    return found


def _is_pool(series: Series) -> bool:
    """Whether the categories are one pool for all columns: polars gives only an Enum an order of its own."""
    return not isinstance(series, pd.Series) and series.dtype == nw.Categorical and series.implementation.is_polars()


def _with_categories(series: Series) -> pd.Series[Any]:
    """A categorical column as pandas has it."""
    return series if isinstance(series, pd.Series) else series.to_native().to_pandas()


def as_pandas(series: Series, rows: slice) -> pd.Series[Any]:
    """Rows of the column as a formula can work on them: numbers, categories or text, without extension types."""
    what = kind(series)
    missing = missing_values(series, rows)
    if what == "integer" and missing is None:
        return pd.Series(by_narwhals(series)[rows].cast(nw.Int64).to_numpy())
    if what in {"integer", "float"}:
        return pd.Series(numbers(series, rows))
    if what == "boolean" and missing is None:
        return pd.Series(numbers(series, rows).astype(np.bool_))

    part = series.iloc[rows] if isinstance(series, pd.Series) else series.to_native()[rows].to_pandas()
    if what in {"text", "boolean"} and str(part.dtype) not in {"object", "str"}:
        values = part.astype(object)
        return pd.Series(values.where(~part.isna(), None).to_list())
    return part.reset_index(drop=True)
