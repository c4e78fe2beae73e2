"""The formats of tables, by name and by the ending of a file."""

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslevel.errors import CrosslevelError, FileError
from crosslevel.table import write_atomically

if TYPE_CHECKING:
    from crosslevel.report.tables.record import PublicationTable

FORMATS = ("text", "markdown", "html", "latex", "docx", "xlsx")
BINARY = ("docx", "xlsx")
"""Formats of files rather than of text."""

STANDALONE = ("html", "latex")
"""Formats that are parts of a document, or documents of their own."""

ENDINGS = {
    ".txt": "text", ".md": "markdown", ".html": "html", ".htm": "html", ".tex": "latex", ".docx": "docx",
    ".xlsx": "xlsx",
}  # fmt: skip


def rendered(table: "PublicationTable", format: str, *, document: bool) -> str | bytes:
    """A table in a format; see `PublicationTable.to`."""
    check_format(format)
    renderer: Callable[..., Any] = import_module(f"crosslevel.report.tables.as_{format}").render
    if format in STANDALONE:
        made: str = renderer(table, document=document)
        return made
    if document:
        raise CrosslevelError(f"`document` is for {' and '.join(map(repr, STANDALONE))}; got format={format!r}.")
    whole: str | bytes = renderer(table)
    return whole


def check_format(format: object) -> None:
    """Refuse an unknown format.

    Raises
    ------
    CrosslevelError : it is none of `FORMATS`.
    """
    if format not in FORMATS:
        raise CrosslevelError(f"`format` is one of {', '.join(map(repr, FORMATS))}; got {format!r}.")


def saved(
    table: "PublicationTable",
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    document: bool | None = None,
) -> Path:
    """Write a table; see `PublicationTable.save`. `format` wins over the ending."""
    chosen = format_of(path) if format is None else format
    whole = chosen == "html" if document is None else document
    content = rendered(table, chosen, document=whole)
    end = "" if isinstance(content, bytes) or content.endswith("\n") else "\n"
    return write_atomically(path, content if isinstance(content, bytes) else content + end)


def format_of(path: str | os.PathLike[str]) -> str:
    """The format of a file by its ending.

    Raises
    ------
    FileError : an ending that belongs to none.

    Examples
    --------
    >>> format_of("table.docx"), format_of("out/TABLE.TEX")
    ('docx', 'latex')
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise FileError(f"`path` ends in {', '.join(ENDINGS)}; got {str(path)!r}.")
    return ENDINGS[ending]
