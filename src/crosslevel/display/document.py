"""A document and its renderings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crosslevel.display import as_html, as_text
from crosslevel.display.blocks import Block, Heading


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


def page(document: Document, *, contents: bool = False, language: str = "en", end: str = "") -> str:
    """A document as an HTML file: nothing is loaded from anywhere, light and dark, and fit for printing.

    Parameters
    ----------
    document : what to show.
    contents : if true, a table of contents links to the headings of level 1.
    language : the language of the text, for screen readers.
    end : HTML for the end of the page, such as the script that live pictures share.

    Examples
    --------
    >>> from crosslevel.display import Document
    >>> page(Document("Schools", []))[:15]
    '<!DOCTYPE html>'
    """
    return as_html.page(document.title, document.blocks, contents=contents, language=language, end=end)


def below(document: Document, *, title: str = "", level: int = 2) -> Iterator[Block]:
    """The blocks of a document as a part of a section: its headings are those of parts.

    Parameters
    ----------
    document : what becomes a part; its own title is left out.
    title : of the part, if it needs one.
    level : of its headings.

    Examples
    --------
    >>> from crosslevel.display import Document, Heading
    >>> [block.level for block in below(Document("Schools", [Heading("Sizes")]))]
    [2]
    """
    if title:
        yield Heading(title, level=level)
    for block in document.blocks:
        yield Heading(block.text, level=min(block.level + level - 1, 3)) if isinstance(block, Heading) else block
