"""Tables as plain text: numbers line up on the point, long names go on below, wide tables continue in panels."""

from collections.abc import Sequence
from dataclasses import replace

from crosslevel.display.blocks import Table
from crosslevel.display.cells import Grid, grid, split_at_point
from crosslevel.display.wrapping import padded, shown_length, wrapped, wrapped_name

GAP = 2
INDENT = "  "
NARROW = 20
"""Text columns are wrapped down to this width where a table needs it."""

TIGHT = 13
"""Text columns are wrapped down to this width where that saves a panel."""

UPPER = "high"
"""Heading of the upper end of an interval, which is never parted from the lower end, the column before it."""


def table_lines(table: Table, width: int) -> list[str]:
    """A table as lines; columns that find no place continue below, with the row names repeated."""
    whole = aligned(grid(table))
    lines = wrapped(table.title, width) if table.title else []
    for k, part in enumerate(panels(whole, width)):
        lines += ["", "(continued)"] if k else []
        lines += panel_lines(part, width)
    return lines + [line for note in table.notes for line in wrapped(note, width, rest=INDENT)]


def aligned(shown: Grid) -> Grid:
    """The cells of "decimal" columns padded to one length, with their decimal points in one place."""
    body = [row for row in shown.rows if not isinstance(row, str)]
    columns = [
        on_point([row[k] for row in body]) if align == "decimal" else [row[k] for row in body]
        for k, align in enumerate(shown.aligns)
    ]
    lines = iter(zip(*columns, strict=True))
    return replace(shown, rows=tuple(row if isinstance(row, str) else next(lines) for row in shown.rows))


def on_point(cells: Sequence[str]) -> list[str]:
    """Cells of equal length whose decimal points are below each other."""
    halves = [split_at_point(cell) for cell in cells]
    left = max((shown_length(before) for before, _ in halves), default=0)
    right = max((shown_length(after) for _, after in halves), default=0)
    return [padded(before, left, right=True) + padded(after, right) for before, after in halves]


def natural_widths(shown: Grid) -> list[int]:
    """The width each column needs: its cells, and the longest word of its heading (all of it for text columns)."""
    widths = []
    for k, (heading, align) in enumerate(zip(shown.headings, shown.aligns, strict=True)):
        words = [heading] if align == "left" else heading.split() or [""]
        cells = [indented(row[k], k, shown) for row in shown.rows if not isinstance(row, str)]
        widths.append(max(map(shown_length, [*words, *cells])))
    return widths


def indented(cell: str, column: int, shown: Grid) -> str:
    """Row names of a table with sections stand a little to the right of the sections' names."""
    return INDENT + cell if column == 0 and any(isinstance(row, str) for row in shown.rows) else cell


def least_widths(shown: Grid, narrow: int) -> list[int]:
    """The width each column needs at least: text and headings can be wrapped, numbers cannot."""
    words = [max(map(shown_length, heading.split()), default=0) for heading in shown.headings]
    body = natural_widths(replace(shown, headings=("",) * len(words)))
    return [
        max(word, cells if align != "left" else min(cells, narrow))
        for word, cells, align in zip(words, body, shown.aligns, strict=True)
    ]


def groups(shown: Grid, width: int, narrow: int) -> list[list[int]]:
    """The columns of each panel: the first, which names the rows, and as many of the others as find a place."""
    least = least_widths(shown, narrow)
    units: list[list[int]] = []
    for k in range(1, len(least)):
        if shown.headings[k] == UPPER and units:
            units[-1].append(k)
        else:
            units.append([k])
    found = [[0]]
    for unit in units:
        if len(found[-1]) > 1 and sum(least[k] + GAP for k in [*found[-1], *unit]) - GAP > width:
            found.append([0])
        found[-1] += unit
    return found


def panels(shown: Grid, width: int) -> list[Grid]:
    """The table, cut between columns into as many parts as are needed to fit the width."""
    usual, tight = groups(shown, width, NARROW), groups(shown, width, TIGHT)
    return [
        Grid(
            headings=tuple(shown.headings[k] for k in group),
            aligns=tuple(shown.aligns[k] for k in group),
            rows=tuple(row if isinstance(row, str) else tuple(row[k] for k in group) for row in shown.rows),
        )
        for group in (tight if len(tight) < len(usual) else usual)
    ]


def fitted_widths(shown: Grid, width: int) -> list[int]:
    """Column widths that fit: the widest text columns give way first."""
    widths = natural_widths(shown)
    for narrow in (NARROW, TIGHT):
        least = least_widths(shown, narrow)
        while sum(widths) + GAP * (len(widths) - 1) > width:
            spare = [k for k in range(len(widths)) if widths[k] > least[k]]
            if not spare:
                break
            widths[max(spare, key=lambda k: widths[k])] -= 1
    return widths


def panel_lines(shown: Grid, width: int) -> list[str]:
    """A table that fits the width, as lines between three rules."""
    widths = fitted_widths(shown, width)
    rule = "─" * (sum(widths) + GAP * (len(widths) - 1))
    heads = [*row_lines(shown.headings, shown, widths, bottom=True), rule] if any(shown.headings) else []
    lines = [rule, *heads]
    for row in shown.rows:
        lines += wrapped(row, width) if isinstance(row, str) else row_lines(row, shown, widths)
    return [*lines, rule]


def row_lines(row: Sequence[str], shown: Grid, widths: Sequence[int], *, bottom: bool = False) -> list[str]:
    """One row as lines; `bottom` lets its cells end, rather than begin, on one line."""
    columns = []
    for k, (cell, width) in enumerate(zip(row, widths, strict=True)):
        first = "" if bottom else indented("", k, shown)
        if bottom:
            columns.append(wrapped(cell, width))
        elif shown.aligns[k] == "left":
            columns.append(wrapped_name(cell, width, first=first, rest=first + INDENT))
        else:
            # numbers are padded already, and their blanks must stay
            columns.append([cell])
    height = max(map(len, columns))
    lines = []
    for n in range(height):
        line = []
        for k, column in enumerate(columns):
            at = n - (height - len(column)) if bottom else n
            cell = column[at] if 0 <= at < len(column) else ""
            line.append(padded(cell, widths[k], right=shown.aligns[k] != "left"))
        lines.append((" " * GAP).join(line))
    return lines
