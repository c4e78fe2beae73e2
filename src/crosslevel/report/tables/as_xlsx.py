"""A table for publication as a workbook: cells hold the unrounded numbers, shown as in the other formats."""

from io import BytesIO
from typing import Any

from crosslevel.display.wrapping import shown_length
from crosslevel.report.tables.labels import clean
from crosslevel.report.tables.record import Heading, Line, Printed, PublicationTable

WIDEST = 48
"""Signs of the column of labels."""


def render(table: PublicationTable) -> bytes:
    """The bytes of an .xlsx file with the sheets "Table" and "Numbers", all that is behind it."""
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    sheet.title = "Table"
    place = 1
    if table.title:
        put(sheet, place, 1, table.title, bold=True)
        place += 1
    place = body(sheet, table, place)
    for note in table.notes:
        put(sheet, place, 1, note)
        place += 1
    numbers(book.create_sheet("Numbers"), table)
    stream = BytesIO()
    book.save(stream)
    return stream.getvalue()


def body(sheet: Any, table: PublicationTable, place: int) -> int:
    """Headings and lines, from a row on; the row after them."""
    from openpyxl.styles import Alignment, Border, Side

    thick, thin = Side(style="medium"), Side(style="thin")
    width = len(table.headings)
    for k, name in enumerate(table.headings, start=1):
        cell = put(sheet, place, k, name, bold=True)
        cell.border = Border(top=thick, bottom=thin)
        cell.alignment = Alignment(horizontal="left" if k == 1 else "right", vertical="bottom", wrap_text=True)
    sheet.freeze_panes = sheet.cell(place + 1, 2)
    for row, line in enumerate(table.lines, start=place + 1):
        if isinstance(line, Heading):
            put(sheet, row, 1, line.text, bold=True)
            continue
        put(sheet, row, 1, line.label).alignment = Alignment(indent=1, wrap_text=True, vertical="top")
        for k, shown in enumerate(line.cells, start=2):
            number(sheet, row, k, shown)
    last = place + len(table.lines)
    for k in range(1, width + 1):
        cell = sheet.cell(last, k)
        cell.border = Border(top=cell.border.top, bottom=thick)
    fit(sheet, table)
    return last + 1


def number(sheet: Any, row: int, column: int, shown: Printed | None) -> None:
    """A cell: its number with a format that shows it as printed, or words."""
    from openpyxl.styles import Alignment

    if shown is None:
        return
    if shown.value is None:
        cell = put(sheet, row, column, shown.text)
    else:
        cell = sheet.cell(row, column, float(shown.value))
        cell.number_format = number_format(shown)
    cell.alignment = Alignment(horizontal="right", vertical="top")


def number_format(shown: Printed) -> str:
    """Excel's format that shows a number as it is printed.

    Examples
    --------
    >>> number_format(Printed(number="12.128", marks="***", value=12.12793))
    '0.000"***"'
    >>> number_format(Printed(before="(", number=".013", after=")", value=0.0132))
    '"("###.000")"'
    >>> number_format(Printed(before="(< .001)", value=0.0000132))
    '"(< .001)"'
    """
    if "e" in shown.number:
        inside = "0.00E+00"
    elif shown.number:
        whole, _, fraction = shown.number.lstrip("-").partition(".")
        inside = ("#,##0" if "," in whole else "0" if whole else "###") + (
            f".{'0' * len(fraction)}" if fraction else ""
        )
    else:
        inside = ""
    return f"{literal(shown.before)}{inside}{literal(shown.marks + shown.after)}"


def literal(text: str) -> str:
    """A text as it is, within a format of numbers."""
    return f'"{text.replace(chr(34), "")}"' if text else ""


def put(sheet: Any, row: int, column: int, text: str, *, bold: bool = False) -> Any:
    """Words, never a formula."""
    from openpyxl.styles import Font

    cell = sheet.cell(row, column)
    cell.value = text
    cell.data_type = "s"  # what begins with an equals sign is a text, too
    if bold:
        cell.font = Font(name="Calibri", size=11, bold=True)
    return cell


def fit(sheet: Any, table: PublicationTable) -> None:
    """Widths of columns."""
    from openpyxl.utils import get_column_letter

    lines = [line for line in table.lines if isinstance(line, Line)]
    labels = max((shown_length(line.label) for line in lines), default=10)
    sheet.column_dimensions["A"].width = min(WIDEST, max(12, labels + 3))
    for k, name in enumerate(table.headings[1:]):
        cells = [shown_length(line.cells[k].text) for line in lines if line.cells[k] is not None]  # type: ignore[union-attr]
        words = max(map(shown_length, name.split()), default=0)
        sheet.column_dimensions[get_column_letter(k + 2)].width = max(10, words + 2, max(cells, default=0) + 2)


def numbers(sheet: Any, table: PublicationTable) -> None:
    """The frame behind the table."""
    for k, name in enumerate(table.frame.columns, start=1):
        put(sheet, 1, k, clean(name), bold=True)
    for row, record in enumerate(table.frame.itertuples(index=False), start=2):
        for k, value in enumerate(record, start=1):
            if isinstance(value, str):
                put(sheet, row, k, clean(value))
            elif value is not None and value == value and abs(value) != float("inf"):
                sheet.cell(row, k, value)
            elif value is not None and value == value:
                put(sheet, row, k, "inf" if value > 0 else "-inf")
    sheet.freeze_panes = "A2"
