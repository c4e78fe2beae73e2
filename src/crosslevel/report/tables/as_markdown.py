"""A table for publication as a Markdown pipe table."""

import re
from collections.abc import Iterator

from crosslevel.display.wrapping import padded, shown_length
from crosslevel.report.tables.as_text import aligned
from crosslevel.report.tables.record import Heading, Line, PublicationTable

ALWAYS = re.compile(r"([\\`*~^|$])")
"""Characters that may begin markup wherever they stand."""

SOMETIMES = (
    (re.compile(r"(?<![^\W_])_|_(?![^\W_])"), r"\\_"),  # inside a word it is no emphasis
    (re.compile(r"<(?=[A-Za-z/!?])"), r"\\<"),
    (re.compile(r"&(?=#?\w+;)"), "&amp;"),
    (re.compile(r"\](?=[(\[:])"), r"\\]"),
    (re.compile(r"(?<!\w)@(?=\w)"), r"\\@"),
    (re.compile(r"^(\s*)([#>+-]|\d+[.)])(?=\s)"), r"\1\\\2"),
)
"""And those that do so in some places only."""


def escaped(text: str) -> str:
    r"""A text that Markdown shows as it is.

    Examples
    --------
    >>> print(escaped("a_b * c|d <e> [f](g) $h$ 5%"))
    a_b \* c\|d \<e> [f\](g) \$h\$ 5%
    """
    shown = ALWAYS.sub(r"\\\1", text)
    for pattern, replacement in SOMETIMES:
        shown = pattern.sub(replacement, shown)
    return shown


def render(table: PublicationTable) -> str:
    """Title, table and notes; columns of numbers to the right."""
    rows = list(body(table))
    widths = [max(3, *(shown_length(row[k]) for row in rows)) for k in range(len(table.headings))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        "| " + " | ".join(padded(cell, widths[k], right=k > 0) for k, cell in enumerate(row)) + " |"
        for row in (rows[0], rule, *rows[1:])
    ]
    title = [f"**{escaped(table.title)}**", ""] if table.title else []
    notes = [part for note in table.notes for part in ("", escaped(note))]
    return "\n".join([*title, *lines, *notes])


def body(table: PublicationTable) -> Iterator[list[str]]:
    """Headings, then the cells of each line."""
    yield [escaped(name) for name in table.headings]
    cells = [line.cells for line in table.lines if isinstance(line, Line)]
    shown = iter(zip(*(aligned(column) for column in zip(*cells, strict=True)), strict=True))
    for line in table.lines:
        if isinstance(line, Heading):
            yield [f"**{escaped(line.text)}**", *("" for _ in table.headings[1:])]
        else:
            yield [escaped(line.label), *(escaped(cell) for cell in next(shown))]
