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
Series: TypeAlias = "nw.Series[Any]"


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
    native = series.to_native()
    if isinstance(native, pd.Series):
        plain = _settled_pandas(native)
        return series if plain is native else nw.from_native(plain, series_only=True)
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
    native = series.to_native()
    if isinstance(native, pd.Series):
        plain = PLAIN.get(native.dtype) if isinstance(native.dtype, np.dtype) else None
        if plain is not None:
            return plain
        if isinstance(native.dtype, pd.CategoricalDtype):
            return "categorical"
    dtype = series.dtype
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
    dtype = series.to_native().dtype if _is_pandas(series) else series.dtype
    what = names.get(kind(series), f"values of type {dtype}")
    present = series.drop_nulls().head(3).to_list()
    return f"{what} ({', '.join(repr(value) for value in present)}, ...)" if present else what


def _is_pandas(series: Series) -> bool:
    return isinstance(series.to_native(), pd.Series)


def numbers(series: Series, rows: slice) -> FloatArray:
    """The column as float64, NaN where missing; a view where it is float64 in memory already."""
    native = series.to_native()
    if not isinstance(native, pd.Series):
        part = series[rows]
        if series.implementation.is_pyarrow():  # its safe cast refuses integers beyond 2^53
            return np.asarray(part.to_native().cast("float64", safe=False).to_numpy(), dtype=np.float64)
        return np.asarray(part.cast(nw.Float64).to_numpy(), dtype=np.float64)
    if isinstance(native.dtype, np.dtype):
        return native.to_numpy()[rows].astype(np.float64, copy=False)
    return native.array[rows].to_numpy(dtype=np.float64, na_value=np.nan)


def missing_values(series: Series, rows: slice) -> BoolArray | None:
    """Where the column has no value; None when it has one everywhere."""
    native = series.to_native()
    what = kind(series)
    if what == "float":
        plain = isinstance(native, pd.Series) and isinstance(native.dtype, np.dtype)
        return _nan(native.to_numpy()[rows] if plain else numbers(series, rows))
    if isinstance(native, pd.Series):
        if what in {"integer", "boolean"} and isinstance(native.dtype, np.dtype):
            return None
        mask = native.array[rows].isna()
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
        codes, levels = _whole_number_codes(series.cast(nw.Int8) if not _is_pandas(series) else series)
        return codes, [bool(level) for level in levels]
    if what == "integer":
        return _whole_number_codes(series)
    values = series.to_native() if _is_pandas(series) else pd.arrays.ArrowExtensionArray(series.to_arrow())
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
    native = series.to_native()
    if missing is not None:
        present = nw.from_native(native[~missing], series_only=True) if _is_pandas(series) else series.drop_nulls()
        return spread(_whole_number_codes(present), missing)
    if isinstance(native, pd.Series) and not isinstance(native.dtype, np.dtype):
        values = native.array.to_numpy(dtype=np.uint64 if "uint64" in str(native.dtype).lower() else np.int64)
    else:
        values = series.to_numpy()
    return integer_codes(values.view(np.uint8) if values.dtype == np.bool_ else values)


def _categorical_codes(series: Series) -> Coded:
    """Codes of a categorical column, in the order of its categories where it has one of its own."""
    if _is_pool(series):
        return level_codes(series.cast(nw.String))
    native = _with_categories(series)
    return category_codes(np.asarray(native.array.codes), native.array.categories.tolist())


def integers(series: Series) -> IntArray | None:
    """A column of whole numbers (int64) in which none is missing; else None."""
    if kind(series) != "integer" or series.dtype == nw.UInt64 or missing_values(series, slice(None)) is not None:
        return None
    return np.asarray(series.to_numpy()).astype(np.int64, copy=False)


def own_categories(series: Series) -> list[Any]:
    """All categories of a categorical column in their own order; empty for any other column."""
    if kind(series) != "categorical" or _is_pool(series):
        return []
    found: list[Any] = _with_categories(series[:0] if _is_pandas(series) else series).cat.categories.tolist()
    return found


def _is_pool(series: Series) -> bool:
    """Whether the categories are one pool for all columns: polars gives only an Enum an order of its own."""
    return not _is_pandas(series) and series.dtype == nw.Categorical and series.implementation.is_polars()


def _with_categories(series: Series) -> pd.Series[Any]:
    """A categorical column as pandas has it."""
    native = series.to_native()
    return native if isinstance(native, pd.Series) else native.to_pandas()


def as_pandas(series: Series, rows: slice) -> pd.Series[Any]:
    """Rows of the column as a formula can work on them: numbers, categories or text, without extension types."""
    what = kind(series)
    missing = missing_values(series, rows)
    if what == "integer" and missing is None:
        return pd.Series(series[rows].cast(nw.Int64).to_numpy())
    if what in {"integer", "float"}:
        return pd.Series(numbers(series, rows))
    if what == "boolean" and missing is None:
        return pd.Series(numbers(series, rows).astype(np.bool_))

    native = series.to_native()
    part = native.iloc[rows] if isinstance(native, pd.Series) else native[rows].to_pandas()
    if what in {"text", "boolean"} and str(part.dtype) not in {"object", "str"}:
        values = part.astype(object)
        return pd.Series(values.where(~part.isna(), None).to_list())
    return part.reset_index(drop=True)
