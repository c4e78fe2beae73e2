"""A table for publication as a Word document: three rules, numbers on their points, headings repeated on each page."""

import datetime
import re
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from crosslevel.display.cells import split_at_point
from crosslevel.errors import CrosslevelError
from crosslevel.report.tables.record import Heading, Line, Printed, PublicationTable, height

if TYPE_CHECKING:
    from docx.document import Document

FONT = "Times New Roman"
SIZE = 10.0
"""Points of the letters of a table of up to `MANY` models; smaller for more."""

MANY = 4
WIDTHS = {".": 0.25, ",": 0.25, " ": 0.25, "(": 0.333, ")": 0.333, "[": 0.333, "]": 0.333, "-": 0.564, "−": 0.564,
          "*": 0.5, ":": 0.278, "I": 0.333, "i": 0.278, "l": 0.278, "t": 0.278, "f": 0.333, "r": 0.333, "W": 0.944,
          "M": 0.889, "m": 0.778, "w": 0.722}  # fmt: skip
"""Widths of letters of `FONT` in ems, where they differ from a digit's; fonts of the same metrics stand in for it."""

DIGIT, CAPITAL = 0.5, 0.7
GAP = 0.9
"""Ems between columns."""

PORTRAIT, LANDSCAPE = 451.0, 698.0
"""Points between the margins of a page of A4, upright and turned."""


def render(table: PublicationTable) -> bytes:
    """The bytes of a .docx file."""
    try:
        from docx import Document
    except ImportError as error:
        raise CrosslevelError(
            "Word files are written by python-docx, which is not installed here: pip install python-docx. Or write "
            ".html, which Word opens, too."
        ) from error

    document = Document()
    size = SIZE if len(table.headings) <= MANY + 1 else SIZE - 1.5
    widths = column_widths(table, size)
    prepare(document, table, size, turned=sum(widths) > PORTRAIT)
    if table.title:
        title = document.add_paragraph(style="Caption")
        title.add_run(table.title)
        title.paragraph_format.keep_with_next = True
    fill(document, table, widths, size)
    for k, note in enumerate(table.notes):
        paragraph = document.add_paragraph()
        paragraph.paragraph_format.space_before = points(4.0 if k == 0 else 0.0)
        if k == 0:
            paragraph.add_run("Note. ").italic = True
        paragraph.add_run(with_minus(note))
    stream = BytesIO()
    document.save(stream)
    return stream.getvalue()


def points(value: float) -> Any:
    """A length in points."""
    from docx.shared import Pt

    return Pt(value)


def prepare(document: "Document", table: PublicationTable, size: float, *, turned: bool) -> None:
    """Page, margins and letters."""
    from docx.enum.section import WD_ORIENT
    from docx.shared import Cm, RGBColor

    section = document.sections[0]
    section.page_width, section.page_height = (Cm(29.7), Cm(21.0)) if turned else (Cm(21.0), Cm(29.7))
    section.orientation = WD_ORIENT.LANDSCAPE if turned else WD_ORIENT.PORTRAIT
    section.left_margin = section.right_margin = section.top_margin = section.bottom_margin = Cm(2.5)
    for name in ("Normal", "Caption"):
        style = document.styles[name]
        style.font.name, style.font.size = FONT, points(size)
        style.font.color.rgb = RGBColor(0, 0, 0)
        style.font.bold = name == "Caption"
        style.paragraph_format.space_after = points(4.0 if name == "Caption" else 0.0)
        style.paragraph_format.space_before = points(0.0)
    properties = document.core_properties
    properties.author, properties.comments, properties.title = "", "", table.title
    properties.created = properties.modified = datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)


def fill(document: "Document", table: PublicationTable, widths: Sequence[float], size: float) -> None:
    """The table itself."""
    from docx.enum.table import WD_TABLE_ALIGNMENT

    made = document.add_table(rows=1 + len(table.lines), cols=len(table.headings))
    made.alignment = WD_TABLE_ALIGNMENT.LEFT
    made.autofit = False
    rows = list(made.rows)
    for row in rows:
        row._tr.get_or_add_trPr().append(element("w:cantSplit"))
        for cell, width in zip(row.cells, widths, strict=True):
            cell.width = points(width)
    for column, width in zip(made.columns, widths, strict=True):
        column.width = points(width)
    rows[0]._tr.get_or_add_trPr().append(element("w:tblHeader"))
    for k, (cell, name) in enumerate(zip(rows[0].cells, table.headings, strict=True)):
        paragraph(cell, name, align="left" if k == 0 else "center", bold=True, size=size)
        ruled(cell, top=12, bottom=6)
    tails = tails_of(table)
    for row, line, after in zip(rows[1:], table.lines, [*table.lines[1:], None], strict=True):
        together = isinstance(line, Heading) or (isinstance(after, Line) and after.continues)
        write(row, line, tails, size, together=together)
    for place, line in enumerate(table.lines, start=1):
        if isinstance(line, Line) and not line.continues and height(table, place - 1) > 1:
            label = rows[place].cells[0].merge(rows[place + height(table, place - 1) - 1].cells[0])
            for empty in label.paragraphs[1:]:
                empty._p.getparent().remove(empty._p)
    for cell in rows[-1].cells:
        ruled(cell, bottom=12)


def write(row: Any, line: Line | Heading, tails: Sequence[float], size: float, *, together: bool) -> None:
    """One line."""
    cells = row.cells
    if isinstance(line, Heading):
        whole = cells[0].merge(cells[-1])
        paragraph(whole, line.text, align="left", italic=True, size=size, above=4.0, together=True)
        return
    paragraph(cells[0], line.label, align="left", size=size, inner=1.2, hanging=0.6, together=together)
    for cell, shown, tail in zip(cells[1:], line.cells, tails, strict=True):
        if shown is None or not shown.number:
            paragraph(
                cell, "" if shown is None else with_minus(shown.text), align="center", size=size, together=together
            )
            continue
        room = tail - ems(tail_of(shown))
        paragraph(cell, with_minus(shown.text), align="right", size=size, outer=room + GAP / 2, together=together)


def paragraph(
    cell: Any, text: str, *, align: str, size: float, bold: bool = False, italic: bool = False, inner: float = 0.0,
    hanging: float = 0.0, outer: float = 0.0, above: float = 0.0, together: bool = False,
) -> None:  # fmt: skip
    """The only paragraph of a cell; `inner`, `hanging` and `outer` are indents in ems."""
    from docx.enum.text import WD_ALIGN_PARAGRAPH

    made = cell.paragraphs[0]
    run = made.add_run(text)
    run.bold, run.italic = bold or None, italic or None
    layout = made.paragraph_format
    layout.alignment = getattr(WD_ALIGN_PARAGRAPH, align.upper())
    layout.space_before = points(above)
    layout.keep_with_next = together or None
    if inner:
        layout.left_indent, layout.first_line_indent = points(inner * size), points(-hanging * size)
    if outer:
        layout.right_indent = points(outer * size)


def ruled(cell: Any, **weights: int) -> None:
    """Rules above and below a cell, in eighths of a point."""
    borders = element("w:tcBorders")
    for side in ("top", "bottom"):
        if side in weights:
            borders.append(element(f"w:{side}", val="single", sz=str(weights[side]), space="0", color="000000"))
    cell._tc.get_or_add_tcPr().append(borders)


def element(tag: str, **attributes: str) -> Any:
    """An element of the file's XML."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    made = OxmlElement(tag)
    for name, value in attributes.items():
        made.set(qn(f"w:{name}"), value)
    return made


def column_widths(table: PublicationTable, size: float) -> list[float]:
    """Widths in points: of numbers what they need, of labels what they need or what is left."""
    lines = [line for line in table.lines if isinstance(line, Line)]
    tails = tails_of(table)
    numbers = []
    for k, heading in enumerate(table.headings[1:]):
        cells = [line.cells[k] for line in lines if line.cells[k] is not None]
        needs = [ems(cell.text) + (tails[k] - ems(tail_of(cell)) if cell.number else 0.0) for cell in cells if cell]
        word = max(map(ems, heading.split()), default=0.0) * 1.1
        numbers.append((max([*needs, word, 3.0]) + 2 * GAP) * size)
    label = max((ems(line.label) + 2.4 for line in lines), default=8.0) * size
    page = PORTRAIT if sum(numbers) + min(label, 14.0 * size) <= PORTRAIT else LANDSCAPE
    return [max(min(label, page - sum(numbers)), 10.0 * size), *numbers]


def tails_of(table: PublicationTable) -> list[float]:
    """Of each column of numbers the widest part from the point on, in ems."""
    lines = [line.cells for line in table.lines if isinstance(line, Line)]
    return [
        max((ems(tail_of(cell)) for cell in column if cell is not None and cell.number), default=0.0)
        for column in zip(*lines, strict=True)
    ]


def tail_of(cell: Printed) -> str:
    """What stands from the point on."""
    return split_at_point(cell.number)[1] + cell.marks + cell.after


def ems(text: str) -> float:
    """Width of a text in `FONT`, about."""
    return sum(WIDTHS.get(letter, CAPITAL if letter.isupper() else DIGIT) for letter in text)


def with_minus(text: str) -> str:
    """Hyphens before digits as minus signs."""
    return re.sub(r"(?<![\w.])-(?=[.\d])", "−", text)
