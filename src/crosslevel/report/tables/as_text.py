"""A table for publication as plain text."""

from collections.abc import Sequence

from crosslevel.display import Column, Document, Row, Section, Table, text
from crosslevel.display.text_table import on_point
from crosslevel.display.wrapping import padded, shown_length
from crosslevel.report.tables.record import Heading, Line, Printed, PublicationTable

HEADING = 14
"""Signs of a heading up to which it is not broken."""


def block(table: PublicationTable) -> Table:
    """The table as a block of a document."""
    columns: list[str | Column] = [table.headings[0], *(Column(name, align="right") for name in table.headings[1:])]
    lines = [line for line in table.lines if isinstance(line, Line)]
    shown = zip(*(line.cells for line in lines), strict=True)
    made = [aligned(column, least(name)) for column, name in zip(shown, table.headings[1:], strict=True)]
    cells = iter(zip(*made, strict=True))
    body: list[Row] = [
        Section(line.text) if isinstance(line, Heading) else [line.label, *next(cells)] for line in table.lines
    ]
    return Table(columns, body, title=table.title, notes=table.notes)


def plain_block(table: PublicationTable) -> Table:
    """The table as a block of a document that each format sets on its points."""
    columns: list[str | Column] = [table.headings[0], *(Column(name, align="decimal") for name in table.headings[1:])]
    body: list[Row] = [
        Section(line.text)
        if isinstance(line, Heading)
        else [line.label, *(None if cell is None else cell.text for cell in line.cells)]
        for line in table.lines
    ]
    return Table(columns, body, title=table.title, notes=table.notes)


def least(heading: str) -> int:
    """Width that leaves a heading on one line, if it is short."""
    return min(shown_length(heading), HEADING)


def aligned(column: Sequence[Printed | None], least: int = 0) -> list[str]:
    """Cells of one length: numbers meet on their points, words and intervals at the right."""
    numbers = iter(on_point([cell.text for cell in column if cell is not None and cell.number]))
    cells = ["" if cell is None else next(numbers) if cell.number else cell.text for cell in column]
    width = max([least, *map(shown_length, cells)])
    return [padded(cell, width, right=True) for cell in cells]


def render(table: PublicationTable) -> str:
    """The table as text of at most 80 columns; models that find no place continue below."""
    return text(Document("", [block(table)]))
