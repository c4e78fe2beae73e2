"""Documents made of blocks, and their renderings as plain text and as HTML. Knows nothing of models."""

from crosslevel.display.blocks import (
    Block,
    Cell,
    Code,
    Column,
    Equations,
    Heading,
    Items,
    Note,
    Paragraph,
    Picture,
    Row,
    Section,
    Table,
)
from crosslevel.display.document import Document, html, page, text
from crosslevel.display.numbers import counted, decimals_for, fixed, integer, number, p_statement, p_value, percent

__all__ = [
    "Block",
    "Cell",
    "Code",
    "Column",
    "Document",
    "Equations",
    "Heading",
    "Items",
    "Note",
    "Paragraph",
    "Picture",
    "Row",
    "Section",
    "Table",
    "counted",
    "decimals_for",
    "fixed",
    "html",
    "integer",
    "number",
    "p_statement",
    "p_value",
    "page",
    "percent",
    "text",
]
