"""Tables as strings: what both renderings share."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real

from crosslevel.display import numbers
from crosslevel.display.blocks import Cell, Column, Format, Section, Table


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """A table with every cell formatted: `rows` holds strings, or the text of a section alone."""

    headings: tuple[str, ...]
    aligns: tuple[str, ...]
    rows: tuple[tuple[str, ...] | str, ...]


def grid(table: Table) -> Grid:
    """Format a table's cells column by column."""
    columns = [column if isinstance(column, Column) else Column(column) for column in table.columns]
    body = [row for row in table.rows if not isinstance(row, Section)]
    shown = [[shown_cell(row[k], column) for row in body] for k, column in enumerate(resolved(columns, body))]
    lines = iter(zip(*shown, strict=True))
    return Grid(
        headings=tuple(column.name for column in columns),
        aligns=tuple(align_of(column) for column in resolved(columns, body)),
        rows=tuple(row.text if isinstance(row, Section) else next(lines) for row in table.rows),
    )


def resolved(columns: Sequence[Column], body: Sequence[Sequence[Cell]]) -> list[Column]:
    """The columns with "auto" replaced by what their cells are."""
    for row in body:
        if len(row) != len(columns):
            raise ValueError(f"A row has {len(row)} cells where the table has {len(columns)} columns: {list(row)!r}.")
    return [
        column if column.format != "auto" else replace(column, format=format_of([row[k] for row in body]))
        for k, column in enumerate(columns)
    ]


def format_of(cells: Sequence[object]) -> Format:
    """The format that suits the cells of a column: numbers only where no cell but a missing one is text."""
    values = [cell for cell in cells if cell is not None]
    if not values or any(isinstance(value, str) for value in values):
        return "text"
    return "integer" if all(isinstance(value, Integral) for value in values) else "number"


def align_of(column: Column) -> str:
    """Where the cells of a column meet: "left", "right" or "decimal"."""
    if column.align != "auto":
        return column.align
    return "left" if column.format == "text" else "decimal"


def shown_cell(cell: object, column: Column) -> str:
    """One cell as text; numbers of any library are numbers."""
    if cell is None:
        return ""
    if isinstance(cell, bool) or not isinstance(cell, Real):
        return str(cell)
    return FORMATS[column.format](float(cell), column.decimals)


FORMATS: dict[str, Callable[[float, int], str]] = {
    "text": lambda value, decimals: f"{value:g}",
    "number": lambda value, decimals: numbers.number(value, decimals=decimals),
    "fixed": numbers.fixed,
    "integer": lambda value, decimals: numbers.integer(value),
    "count": lambda value, decimals: numbers.counted(value),
    "p": lambda value, decimals: numbers.p_value(value),
    "percent": lambda value, decimals: numbers.percent(value, decimals=decimals),
}


def split_at_point(shown: str) -> tuple[str, str]:
    """The part of a cell before its decimal point, and the rest with the point."""
    found = re.search(r"\.(?=\d)|(?<=\d)(?![\d,.])", shown)
    return (shown[: found.start()], shown[found.start() :]) if found else (shown, "")
