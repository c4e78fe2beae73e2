"""Excel workbooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from crosslevel.errors import FileError
from crosslevel.table import delimited
from crosslevel.table.columns import refuse_duplicates
from crosslevel.table.options import ReadOptions

DAMAGED = (KeyError, IndexError, TypeError, AttributeError, SyntaxError)
"""What openpyxl raises on a damaged workbook, beside its own errors and those of the zip archive."""


def read_xlsx(file: Path, options: ReadOptions) -> pd.DataFrame:
    """One sheet of a workbook, the first unless told otherwise: names in its first row, data below."""
    try:
        with pd.ExcelFile(file, engine="openpyxl") as book:
            sheet = _sheet_name(book, file, options.sheet)
            header = pd.read_excel(book, sheet_name=sheet, header=None, nrows=1)
            if not header.empty:
                refuse_duplicates([str(name) for name in header.iloc[0].dropna()], "path")
            cells = pd.read_excel(book, sheet_name=sheet, dtype=object)
    except DAMAGED as error:
        raise FileError(
            f"`path`: {str(file)!r} is damaged ({type(error).__name__} inside the workbook). "
            "Open it in a spreadsheet program and save it anew, or save the sheet as csv."
        ) from error
    filled = cells.dropna(how="all", ignore_index=True).infer_objects()
    return filled.apply(_without_text_numbers) if len(filled) else filled


def _without_text_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers that the workbook holds as text become numbers, except ids with leading zeros."""
    present = column.dropna()
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.infer_dtype(present) != "string":
        return column
    as_numbers = pd.to_numeric(column, errors="coerce")
    same = as_numbers.isna().equals(column.isna())
    return as_numbers if same and not delimited.are_ids(present) else column


def _sheet_name(book: pd.ExcelFile, file: Path, sheet: str | int | None) -> str:
    names = [str(name) for name in book.sheet_names]
    if isinstance(sheet, str) and sheet in names:
        return sheet
    position = 0 if sheet is None else sheet
    if isinstance(position, int) and 0 <= position < len(names):
        return names[position]
    raise FileError(
        f"`sheet`: {str(file)!r} has no sheet {sheet!r}. Its sheets: {', '.join(map(repr, names))}; "
        "give one of these names, or its position counted from 0."
    )
