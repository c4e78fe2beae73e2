"""A table for publication as HTML: three rules, numbers on their points, stars that take no room."""

from collections.abc import Iterator, Sequence
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

PAGE = """
:root { color-scheme: light dark; }
body { margin: 2rem; font: 15px/1.45 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
"""


def render(table: PublicationTable, *, document: bool) -> str:
    """A fragment with its style, or a page of its own; nothing is loaded from anywhere."""
    label = escape(table.title or "Table")
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    anchor = f' id="{escape(table.label)}"' if table.label else ""
    notes = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
    body = (
        f'<div class="publication"{anchor} role="region" aria-label="{label}" tabindex="0">'
        f"<style>{STYLE}</style>\n<table>{caption}\n{head(table)}\n{''.join(groups(table))}</table>\n{notes}</div>"
    )
    if not document:
        return body
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{label}</title>\n'
        f"<style>{PAGE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def head(table: PublicationTable) -> str:
    """The line of headings."""
    first, *others = table.headings
    cells = [f'<th scope="col">{escape(first)}</th>' if first else "<td></td>"]
    cells += [f'<th scope="col" class="n">{escape(name)}</th>' for name in others]
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def groups(table: PublicationTable) -> Iterator[str]:
    """The lines, those below a heading in a body of their own."""
    lines = [line for line in table.lines if isinstance(line, Line)]
    columns = [digits_of(column) for column in zip(*(line.cells for line in lines), strict=True)]
    rows: list[str] = []
    opened = '<tbody class="plain">'
    for place, line in enumerate(table.lines):
        if isinstance(line, Line):
            rows.append(row(line, columns, height(table, place)))
            continue
        if rows:
            yield f"{opened}{''.join(rows)}</tbody>\n"
        opened = "<tbody>"
        rows = [f'<tr><th scope="rowgroup" colspan="{len(table.headings)}">{escape(line.text)}</th></tr>\n']
    yield f"{opened}{''.join(rows)}</tbody>"


def digits_of(column: Sequence[Printed | None]) -> int:
    """Signs behind the point, which numbers with fewer are filled up to."""
    return max((len(split_at_point(cell.number)[1]) for cell in column if cell is not None and cell.number), default=0)


def row(line: Line, digits: Sequence[int], lines: int) -> str:
    """One line, whose label names some below it, too."""
    cells = "".join(map(cell_html, line.cells, digits))
    if line.continues:
        return f'<tr class="more">{cells}</tr>\n'
    span = f' rowspan="{lines}"' if lines > 1 else ""
    return f'<tr><th scope="row"{span}>{escape(line.label)}</th>{cells}</tr>\n'


def cell_html(cell: Printed | None, digits: int) -> str:
    """One cell: its digits filled up, its stars beyond them."""
    if cell is None:
        return '<td class="n"></td>'
    if not cell.number:
        return f'<td class="w">{escape(cell.text)}</td>'
    short = cell.after in ("", ")")
    blanks = filled(cell.number, digits)[len(cell.number) :] if short else ""
    stars = f'<span class="stars">{cell.marks}</span>' if cell.marks and short else cell.marks
    shut = " shut" if cell.after == ")" else ""
    return f'<td class="n{shut}">{escape(cell.before)}{cell.number}{stars}{escape(cell.after)}{blanks}</td>'
