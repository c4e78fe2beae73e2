"""A table for publication as HTML: three rules, numbers on their points, stars that take no room."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from crosslevel.display.as_html import filled
from crosslevel.display.cells import split_at_point
from crosslevel.report.tables.record import Line, Printed, PublicationTable, height

STYLE = """
.publication { margin: 1em 0; overflow-x: auto; color: inherit; line-height: 1.35; }
.publication table { border-collapse: collapse; border: 0; border-top: 1.5px solid; border-bottom: 1.5px solid;
  margin: 0; font-variant-numeric: tabular-nums lining-nums; }
.publication caption { caption-side: top; text-align: left; font-weight: 600; padding: 0 0 .45em; color: inherit; }
.publication tr { background: none !important; border: 0; }
.publication th, .publication td { border: 0; padding: .3em .7em 0 .7em; font-weight: 400; text-align: left;
  vertical-align: top; color: inherit; max-width: 24rem; }
.publication thead th, .publication thead td { border-bottom: 1px solid; padding-bottom: .35em; font-weight: 600;
  vertical-align: bottom; }
.publication thead th.n { text-align: center; min-width: 4.5em; }
.publication td.n { text-align: right; white-space: nowrap; padding-right: 1.9em; }
.publication td.n.shut { padding-right: 1.55em; }
.publication td.b { white-space: nowrap; padding-left: 0; }
.publication td.w { text-align: center; white-space: nowrap; }
.publication .stars { display: inline-block; width: 0; overflow: visible; }
.publication tr.more td { padding-top: 0; }
.publication tbody th[scope=rowgroup] { font-weight: 600; padding-top: .7em; }
.publication tbody th[scope=row] { overflow-wrap: break-word; min-width: 8rem; padding-left: 2.3em;
  text-indent: -.8em; }
.publication tbody.plain th[scope=row] { padding-left: 1.5em; }
.publication tbody:last-child tr:last-child > * { padding-bottom: .4em; }
.publication p { font-size: .85em; margin: .3em 0; max-width: 46rem; }
@media print { .publication { overflow: visible; } .publication tr { break-inside: avoid; } }
"""


@dataclass(frozen=True, kw_only=True)
class Digits:
    """What a column of numbers needs.

    Attributes
    ----------
    behind : signs behind the point, which numbers with fewer are filled up to.
    double : whether something stands beside its estimates, in a column of its own.
    """

    behind: int
    double: bool


PAGE = """
:root { color-scheme: light dark; }
body { margin: 2rem; font: 15px/1.45 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
"""


def render(table: PublicationTable, *, document: bool) -> str:
    """A fragment with its style, or a page of its own; nothing is loaded from anywhere."""
    columns = columns_of(table)
    label = escape(table.title or "Table")
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    anchor = f' id="{escape(table.label)}"' if table.label else ""
    notes = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
    body = (
        f'<div class="publication"{anchor} role="region" aria-label="{label}" tabindex="0">'
        f"<style>{STYLE}</style>\n<table>{caption}\n{head(table, columns)}\n"
        f"{''.join(groups(table, columns))}</table>\n{notes}</div>"
    )
    if not document:
        return body
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{label}</title>\n'
        f"<style>{PAGE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def columns_of(table: PublicationTable) -> list[Digits]:
    """What the cells of each column of numbers need."""
    cells = zip(*(line.cells for line in table.lines if isinstance(line, Line)), strict=True)
    return [
        Digits(
            behind=max((len(split_at_point(cell.number)[1]) for cell in column if cell and cell.number), default=0),
            double=any(cell is not None and len(cell.after) > 1 for cell in column),
        )
        for column in cells
    ]


def head(table: PublicationTable, columns: Sequence[Digits]) -> str:
    """The line of headings."""
    first, *others = table.headings
    cells = [f'<th scope="col">{escape(first)}</th>' if first else "<td></td>"]
    for name, column in zip(others, columns, strict=True):
        span = ' colspan="2"' if column.double else ""
        cells.append(f'<th scope="col" class="n"{span}>{escape(name)}</th>')
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def groups(table: PublicationTable, columns: Sequence[Digits]) -> Iterator[str]:
    """The lines, those below a heading in a body of their own."""
    across = len(table.headings) + sum(column.double for column in columns)
    rows: list[str] = []
    opened = '<tbody class="plain">'
    for place, line in enumerate(table.lines):
        if isinstance(line, Line):
            rows.append(row(line, columns, height(table, place)))
            continue
        if rows:
            yield f"{opened}{''.join(rows)}</tbody>\n"
        opened = "<tbody>"
        rows = [f'<tr><th scope="rowgroup" colspan="{across}">{escape(line.text)}</th></tr>\n']
    yield f"{opened}{''.join(rows)}</tbody>"


def row(line: Line, columns: Sequence[Digits], lines: int) -> str:
    """One line, whose label names some below it, too."""
    cells = "".join(map(cell_html, line.cells, columns))
    if line.continues:
        return f'<tr class="more">{cells}</tr>\n'
    span = f' rowspan="{lines}"' if lines > 1 else ""
    return f'<tr><th scope="row"{span}>{escape(line.label)}</th>{cells}</tr>\n'


def cell_html(cell: Printed | None, column: Digits) -> str:
    """One cell: its digits filled up, its stars beyond them; what stands beside it in a cell of its own."""
    span = ' colspan="2"' if column.double else ""
    if cell is None:
        return f'<td class="n"{span}></td>'
    if not cell.number:
        return f'<td class="w"{span}>{escape(cell.text)}</td>'
    blanks = filled(cell.number, column.behind)[len(cell.number) :]
    stars = f'<span class="stars">{cell.marks}</span>' if cell.marks else ""
    number = f"{escape(cell.before)}{cell.number}{stars}"
    if column.double:
        return f'<td class="n">{number}{blanks}</td><td class="b">{escape(cell.after.strip())}</td>'
    shut = " shut" if cell.after else ""
    return f'<td class="n{shut}">{number}{escape(cell.after)}{blanks}</td>'
