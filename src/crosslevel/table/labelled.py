"""Stata, SPSS and SAS files, with the labels of their variables and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.errors import ColumnNotFoundError, FileError
from crosslevel.table.missing_codes import without_codes
from crosslevel.table.options import ReadOptions
from crosslevel.types import BoolArray


def read_dta(file: Path, options: ReadOptions) -> pd.DataFrame:
    """A Stata file; its missing values `.` and `.a` to `.z` are missing."""
    import pyreadstat

    _refuse_truncated_dta(file)
    return _read_labelled(pyreadstat.read_dta, file, options)


def read_sav(file: Path, options: ReadOptions) -> pd.DataFrame:
    """An SPSS file (sav or zsav)."""
    import pyreadstat

    return _read_labelled(pyreadstat.read_sav, file, options, user_missing=True)


def read_sas7bdat(file: Path, options: ReadOptions) -> pd.DataFrame:
    """A SAS file; its missing values `.`, `._` and `.A` to `.Z` are missing. Value labels are not in it."""
    import pyreadstat

    return _read_labelled(pyreadstat.read_sas7bdat, file, options)


def _refuse_truncated_dta(file: Path) -> None:
    """Stata 13 and later mark the end; without this check a cut within the value labels would lose them silently."""
    begin, end = b"<stata_dta>", b"</stata_dta>"
    with file.open("rb") as stream:
        marked = stream.read(len(begin)) == begin
        if marked:
            stream.seek(-min(64, file.stat().st_size), 2)
        if marked and end not in stream.read():
            raise FileError(f"`path`: {str(file)!r} is truncated: its end is missing. Copy or download it again.")


def _read_labelled(
    reader: Callable[..., tuple[pd.DataFrame, Any]], file: Path, options: ReadOptions, **keywords: bool
) -> pd.DataFrame:
    """Values, labels and declared missing values of one file."""
    # pyreadstat gives the second of its errors a public name only since 1.3.1
    from pyreadstat._readstat_parser import PyreadstatError, ReadstatError

    try:
        frame, meta = reader(str(file), encoding=options.encoding, dates_as_pandas_datetime=True, **keywords)
    except (ReadstatError, PyreadstatError) as error:
        raise FileError(
            f"`path`: {str(file)!r} cannot be read as {options.kind}: {error}. It is truncated, damaged, "
            "of another type (name it with format=) or in an unusual encoding (name it with encoding=)."
        ) from error
    if options.missing_codes is not None:
        frame = without_codes(frame, options.missing_codes)
    declared: Mapping[str, Any] = meta.missing_ranges if options.user_missing else {}
    values = {name: _present(frame[name], declared.get(name, ())) for name in frame.columns}
    labels = {
        name: _valid_labels(meta.variable_value_labels[name], values[name], declared.get(name, ()))
        for name in frame.columns
        if name in meta.variable_value_labels
    }
    chosen = _columns_to_label(options.value_labels, frame.columns.tolist(), labels, values)
    columns = {name: _categories(column, labels[name]) if name in chosen else column for name, column in values.items()}
    result = pd.DataFrame(columns, index=frame.index)
    result.attrs["labels"] = {name: label for name, label in meta.column_names_to_labels.items() if label}
    result.attrs["value_labels"] = {name: labels[name] for name in labels if labels[name] and name not in chosen}
    return result


def _present(column: pd.Series[Any], ranges: Sequence[Mapping[str, Any]]) -> pd.Series[Any]:
    """The column without the values declared missing and without empty text, which these programs mean as missing."""
    gone = _declared_missing(column, ranges)
    if not pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_datetime64_any_dtype(column):
        gone |= (column == "").to_numpy(dtype=np.bool_)
    return column.where(~gone) if gone.any() else column


def _declared_missing(column: pd.Series[Any], ranges: Sequence[Mapping[str, Any]]) -> BoolArray:
    gone = np.zeros(len(column), dtype=np.bool_)
    for bounds in ranges:
        low, high = bounds["lo"], bounds["hi"]
        inside = column.isin([low]) if low == high else (column >= low) & (column <= high)
        gone |= inside.to_numpy(dtype=np.bool_)
    return gone


def _valid_labels(
    labels: Mapping[Any, str], column: pd.Series[Any], ranges: Sequence[Mapping[str, Any]]
) -> dict[Any, str]:
    """The labels of values that can occur, in the order of the values; whole numbers as integers."""
    numeric = pd.api.types.is_numeric_dtype(column)
    codes = [code for code in labels if numeric != isinstance(code, str)]  # Stata labels `.a` under the text "a"
    gone = _declared_missing(pd.Series(codes, dtype=np.float64 if numeric else object), ranges)
    valid = sorted(code for code, missing in zip(codes, gone, strict=True) if not missing)
    return {_plain(code): labels[code].strip() for code in valid if labels[code].strip()}


def _plain(code: Any) -> Any:
    return int(code) if not isinstance(code, str) and float(code).is_integer() else code


def _columns_to_label(
    wanted: bool | Sequence[str],
    names: list[str],
    labels: Mapping[str, Mapping[Any, str]],
    columns: Mapping[str, pd.Series[Any]],
) -> set[str]:
    """The columns whose values are replaced by their labels."""
    if isinstance(wanted, bool):
        return {name for name in labels if wanted and _names_every_value(labels[name], columns[name])}
    absent = [name for name in wanted if name not in names]
    if absent:
        raise ColumnNotFoundError.in_argument("value_labels", absent, names)
    return {name for name in wanted if labels.get(name)}


def _names_every_value(labels: Mapping[Any, str], column: pd.Series[Any]) -> bool:
    """Whether each value that occurs has a label that says more than its number.

    An age of which only 99 is labelled, or a scale from 0 to 10 of which only the ends are, remains a number.
    """
    occurring = [_plain(value) for value in column.dropna().unique()]
    return bool(occurring) and all(value in labels and labels[value] != str(value) for value in occurring)


def _categories(column: pd.Series[Any], labels: Mapping[Any, str]) -> pd.Series[Any]:
    """The values' labels as categories in the order of the values; only values that occur.

    A value without label is named by itself; values that share a label are told apart by their number.
    """
    occurring = sorted(_plain(value) for value in column.dropna().unique())
    names = [labels.get(value, str(value)) for value in occurring]
    shared = {name for name, count in Counter(names).items() if count > 1}
    names = [f"{name} ({value})" if name in shared else name for name, value in zip(names, occurring, strict=True)]
    codes = pd.Index(occurring).get_indexer(pd.Index(column))
    return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(names)), index=column.index)
