"""A table for publication: lines of printed cells, the numbers behind them, and ways out."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import pandas as pd

TableFormat: TypeAlias = Literal["text", "markdown", "html", "latex", "docx", "xlsx"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Printed:
    """What stands in a cell.

    Attributes
    ----------
    number : digits as they are shown, which meet on their decimal point; "" where a cell is words or an interval.
    before, after : what stands around them, such as brackets.
    marks : stars, behind the digits.
    value : the number itself; None where a cell has none, or several.
    """

    number: str = ""
    before: str = ""
    after: str = ""
    marks: str = ""
    value: float | None = None

    @property
    def text(self) -> str:
        """The whole cell."""
        return f"{self.before}{self.number}{self.marks}{self.after}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """A line of a table.

    Attributes
    ----------
    label : its name; "" where it continues the line above.
    cells : one for each column; None where a model has nothing.
    continues : whether it belongs to the line above, as standard errors below their estimates.
    """

    label: str
    cells: tuple[Printed | None, ...]
    continues: bool = False


@dataclass(frozen=True, eq=False)
class Heading:
    """A line that names those below it."""

    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class PublicationTable:
    """A table for publication.

    Printed it is plain text, in a notebook HTML; `to` gives other formats, `save` writes files.

    Attributes
    ----------
    headings : of the columns, that of the labels first.
    lines : of the body.
    notes : below the table, a paragraph each.
    title : above the table; "" for none.
    label : LaTeX's label for cross-references; "" for none.
    frame : the numbers behind the cells, unrounded, a row for each label and column.
    """

    headings: tuple[str, ...]
    lines: tuple[Line | Heading, ...] = field(repr=False)
    notes: tuple[str, ...] = field(repr=False, default=())
    title: str = ""
    label: str = ""
    frame: pd.DataFrame = field(repr=False)

    def to(self, format: TableFormat = "text", *, document: bool = False) -> str | bytes:
        """The table in a format.

        Parameters
        ----------
        format : "text" (of at most 80 columns), "markdown" (pipe table), "html" (a fragment that brings its style),
            "latex" (booktabs and dcolumn; a longtable where it is long), "docx" or "xlsx" (the bytes of the file).
        document : for "html" and "latex", a file of its own rather than what is put into another.

        Returns
        -------
        text, or the bytes of a file.

        Raises
        ------
        CrosslevelError : no such format, or `document` with one that has no fragments.
        """
        from crosslevel.report.tables.formats import rendered

        return rendered(self, format, document=document)

    def save(self, path: str | os.PathLike[str], *, document: bool | None = None) -> Path:
        r"""Write the table to a file, whole or not at all, in the format of its ending.

        Parameters
        ----------
        path : ends in .txt, .md, .html, .tex, .docx or .xlsx.
        document : as in `to`; None writes whole HTML files, and LaTeX for `\input`.

        Returns
        -------
        path : where it was written.

        Raises
        ------
        FileError : another ending, or a folder that is not there.
        """
        from crosslevel.report.tables.formats import saved

        return saved(self, path, document=document)

    def __str__(self) -> str:
        return str(self.to("text"))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        return str(self.to("html"))


def height(table: PublicationTable, place: int) -> int:
    """How many lines a label names: its own, and those that continue it."""
    count = 1
    for line in table.lines[place + 1 :]:
        if not isinstance(line, Line) or not line.continues:
            break
        count += 1
    return count
