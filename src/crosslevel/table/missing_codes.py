"""Codes such as 99 for "refused": made missing where the user says so, found where they look like it."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.errors import ColumnNotFoundError, DataError, DataWarning
from crosslevel.types import FloatArray

Code: TypeAlias = str | float
Codes: TypeAlias = Code | Sequence[Code]
MissingCodes: TypeAlias = Codes | Mapping[str, Codes]
"""Codes of all columns, or by column."""

USUAL = frozenset(
    {*range(-9, 0), *range(7, 10), 66, 77, 88, *range(95, 100)}
    | {sign * (10**k - j) for sign in (-1, 1) for k in (2, 3, 4, 5, 6) for j in (1, 2, 3, 4)}
    | {-66, -77, -88, 555, 666, 777, 888, 5555, 6666, 7777, 8888}
)
"""Numbers that questionnaires use for "does not apply", "don't know", "refused" and "no answer"."""


def without_codes(frame: pd.DataFrame, codes: MissingCodes) -> pd.DataFrame:
    """The frame with missing values in place of codes.

    Parameters
    ----------
    frame : its columns may be numbers, text or categories; others have no codes.
    codes : numbers or texts: one or several for all columns, or by column. In numbers a code is compared as a number,
        in text and categories as it is written.

    Warns
    -----
    DataWarning : a column that is named has none of its codes.

    Raises
    ------
    ColumnNotFoundError : codes are given for a column that is not there.
    DataError : codes that are neither numbers nor text.

    Examples
    --------
    >>> frame = pd.DataFrame({"trust": [3, 99, 7], "age": [99, 30, 999]})
    >>> without_codes(frame, {"trust": 99, "age": [998, 999]}).to_numpy().tolist()
    [[3.0, 99.0], [nan, 30.0], [7.0, nan]]
    """
    named = isinstance(codes, Mapping)
    by_column = dict(codes) if isinstance(codes, Mapping) else dict.fromkeys(frame.columns, codes)
    absent = [name for name in by_column if name not in frame.columns]
    if absent:
        raise ColumnNotFoundError.in_argument("missing_codes", absent, [str(name) for name in frame.columns])
    changed = {name: _without(frame[name], _listed(given)) for name, given in by_column.items()}
    idle = [name for name, column in changed.items() if named and column.isna().sum() == frame[name].isna().sum()]
    if idle:
        warnings.warn(
            f"`missing_codes`: no row of {', '.join(idle)} has the codes that are given for it.",
            DataWarning,
            stacklevel=3,
        )
    result = frame.assign(**changed)
    result.attrs = frame.attrs
    return result


def _listed(codes: Codes) -> list[Code]:
    """One or several codes as a list."""
    several = [codes] if isinstance(codes, str | int | float | np.number) else codes
    if not isinstance(several, Sequence) or not all(
        isinstance(code, str | int | float | np.number) for code in several
    ):
        raise DataError(
            f"`missing_codes` is a number or text, several in a list, or a dict of these by column, as "
            f"{{'trust': 99, 'age': [998, 999]}}; got {codes!r}."
        )
    return list(several)


def _without(column: pd.Series[Any], codes: Sequence[Code]) -> pd.Series[Any]:
    """One column without its codes."""
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return column
    if pd.api.types.is_numeric_dtype(column):
        numbers = [number for number in map(_number, codes) if number is not None]
        gone = column.isin(numbers)
    else:
        gone = column.isin([str(code) for code in codes])
    if not gone.any():
        return column
    kept = column.mask(gone)
    return kept.cat.remove_unused_categories() if isinstance(kept.dtype, pd.CategoricalDtype) else kept


def _number(code: Code) -> float | None:
    """A code as a number, if it is one."""
    try:
        return float(code)
    except ValueError:
        return None


def likely_codes(values: FloatArray) -> dict[int, int]:
    """Values that look like codes of missing answers, and the rows of each.

    A usual code (7 to 9, 97 to 99, -9, 999 ...) is likely one where the other values are whole numbers, and it is at
    least as far from them as they are from each other: 9 beside answers of 0 and 1, 99 beside 0 to 10.

    Parameters
    ----------
    values : numbers, (n,); missing ones are left aside.

    Examples
    --------
    >>> likely_codes(np.array([0.0, 3.0, 10.0, 99.0, 99.0, 88.0]))
    {88: 1, 99: 2}
    >>> likely_codes(np.array([18.0, 45.0, 72.0, 99.0]))
    {}
    """
    found, rows = np.unique(values[np.isfinite(values)], return_counts=True)
    usual = np.isin(found, list(USUAL))
    while True:
        rest = found[~usual]
        if rest.size < 2 or np.any(rest != np.round(rest)):
            return {}
        distance = np.maximum(rest[0] - found, found - rest[-1])
        near = usual & (distance < rest[-1] - rest[0])
        if not near.any():
            return {int(code): int(n) for code, n in zip(found[usual], rows[usual], strict=True)}
        usual &= ~near


def codes_in_words(found: Mapping[str, Mapping[int, int]]) -> str:
    """What to say of values that look like codes of missing answers, by column.

    Examples
    --------
    >>> print(codes_in_words({"trust": {99: 12}}))  # doctest: +ELLIPSIS
    Values as far from the others as codes of missing answers are: trust 99 (rows: 12). They count as numbers...
    """
    shown = "; ".join(
        name + " " + ", ".join(f"{code} (rows: {rows:,})" for code, rows in codes.items())
        for name, codes in found.items()
    )
    given = {name: next(iter(codes)) if len(codes) == 1 else list(codes) for name, codes in found.items()}
    options = " ".join(
        f"--missing-codes {shlex.quote(name + '=' + ','.join(map(str, codes)))}" for name, codes in found.items()
    )
    return (
        f"Values as far from the others as codes of missing answers are: {shown}. They count as numbers in every "
        f"result. If they are codes, read the file without them: cl.read(file, missing_codes={given}); on the command "
        f"line {options}."
    )
