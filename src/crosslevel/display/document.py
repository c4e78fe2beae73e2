"""A document and its renderings."""

from collections.abc import Sequence
from dataclasses import dataclass

from crosslevel.display import as_html, as_text
from crosslevel.display.blocks import Block


@dataclass(frozen=True, eq=False)
class Document:
    """A title and blocks; printed it is plain text of at most 80 columns, in a notebook it is HTML.

    Parameters
    ----------
    title : the title; may be empty.
    blocks : headings, paragraphs, notes, equations, tables and pictures, in order.

    Examples
    --------
    >>> from crosslevel.display import Column, Document, Table
    >>> print(Document("Two schools", [Table(["School", "Pupils", Column("p", format="p")], [["1224", 47, 0.0004]])]))
    Two schools
    ═══════════
    <BLANKLINE>
    ──────────────────────
    School  Pupils       p
    ──────────────────────
    1224        47  < .001
    ──────────────────────
    """

    title: str
    blocks: Sequence[Block]

    def __str__(self) -> str:
        return text(self)

    __repr__ = __str__  # what a session shows for the value of an expression

    def _repr_html_(self) -> str:
        return html(self)


def text(document: Document, width: int = 80) -> str:
    """A document as plain text.

    Parameters
    ----------
    document : what to show.
    width : the longest line; tables that are wider continue below each other.

    Examples
    --------
    >>> from crosslevel.display import Document, Paragraph
    >>> print(text(Document("", [Paragraph("Pupils are nested in schools.")]), width=20))
    Pupils are nested in
    schools.
    """
    return as_text.render(document.title, document.blocks, width)


def html(document: Document) -> str:
    """A document as an HTML fragment that brings its own small style, for notebooks and for embedding.

    Examples
    --------
    >>> from crosslevel.display import Document, Paragraph
    >>> html(Document("", [Paragraph("p < .05")])).endswith("<p>p &lt; .05</p></section>")
    True
    """
    return as_html.fragment(document.title, document.blocks)


def page(document: Document, *, contents: bool = False, language: str = "en") -> str:
    """A document as an HTML file: nothing is loaded from anywhere, light and dark, and fit for printing.

    Parameters
    ----------
    document : what to show.
    contents : if true, a table of contents links to the headings of level 1.
    language : the language of the text, for screen readers.

    Examples
    --------
    >>> from crosslevel.display import Document
    >>> page(Document("Schools", []))[:15]
    '<!DOCTYPE html>'
    """
    return as_html.page(document.title, document.blocks, contents=contents, language=language)
