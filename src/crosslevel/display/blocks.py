"""The blocks a document is made of. Frozen records without behaviour; the renderers decide how they look."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, TypeAlias

Cell: TypeAlias = str | int | float | None
"""What a table holds: text stays as it is, numbers are formatted by their column, None leaves the cell empty."""

Format: TypeAlias = Literal["auto", "text", "number", "fixed", "integer", "count", "p", "percent"]
Align: TypeAlias = Literal["auto", "left", "right", "decimal"]


@dataclass(frozen=True, eq=False)
class Heading:
    """A heading inside a document: level 1 is a section, 2 and 3 its parts."""

    text: str
    _: KW_ONLY
    level: int = 1


@dataclass(frozen=True, eq=False)
class Paragraph:
    """Running text, wrapped by the renderer."""

    text: str


@dataclass(frozen=True, eq=False)
class Items:
    """A list of points."""

    texts: Sequence[str]


@dataclass(frozen=True, eq=False)
class Note:
    """A remark that must not be missed: a warning with what to do, or information."""

    text: str
    _: KW_ONLY
    kind: Literal["warning", "info"] = "info"


@dataclass(frozen=True, eq=False)
class Equations:
    """Equations, one per line, in plain letters with `x_{ij}` for subscripts.

    Text shows `β_{0j}` as `β0j`, and `ses_{ij}` as `ses_ij`; HTML shows real subscripts.
    Long lines are broken before a plus or minus sign.
    """

    lines: Sequence[str]
    _: KW_ONLY
    title: str = ""


@dataclass(frozen=True, eq=False)
class Code:
    """Text that is shown as it is, line by line: commands, LaTeX."""

    text: str


@dataclass(frozen=True, eq=False)
class Column:
    """The heading of a table's column, and how its numbers are shown.

    Parameters
    ----------
    name : the heading.
    format : "auto" (text stays text, columns of whole numbers are "integer", others "number"), "text", "number" (3
        decimals, more for small numbers), "fixed" (`decimals` decimals), "integer" (2010), "count" (7,185),
        "p" (< .001), "percent".
    decimals : for "number", "fixed" and "percent".
    align : "auto" is "left" for text and "decimal" for numbers. Text cells can be aligned on their decimal point too.
    """

    name: str
    _: KW_ONLY
    format: Format = "auto"
    decimals: int = 3
    align: Align = "auto"


@dataclass(frozen=True, eq=False)
class Section:
    """A line across a table that names the rows that follow it."""

    text: str


Row: TypeAlias = Sequence[Cell] | Section


@dataclass(frozen=True, eq=False)
class Table:
    """A table whose first column names its rows.

    Parameters
    ----------
    columns : headings; plain text means `Column(text)`. Where all are empty there is no line of headings.
    rows : one sequence of cells per row, as long as `columns`, or a `Section`.
    title : shown above (and the caption of the HTML table).
    notes : shown below, a line each.
    """

    columns: Sequence[str | Column]
    rows: Sequence[Row]
    _: KW_ONLY
    title: str = ""
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture with its words: `alt` says what it shows to who cannot see it, `caption` what to see in it.

    Parameters
    ----------
    data : the bytes of an SVG or PNG file (SVG may be text).
    alt : replaces the picture in plain text and for screen readers.
    caption : shown below the picture.
    media : the media type of `data`.
    width : pixels of the page it takes, where there is room; its own width if None.
    live : an SVG whose marks answer to the pointer: it becomes part of the page instead of a picture in it.
    """

    data: bytes | str
    _: KW_ONLY
    alt: str
    caption: str = ""
    media: Literal["image/svg+xml", "image/png"] = "image/svg+xml"
    width: int | None = None
    live: bool = False


@dataclass(frozen=True, eq=False)
class Facts:
    """A few numbers that say at a glance what a document is about.

    Parameters
    ----------
    pairs : a number, as it is to be shown, and what it counts or measures.
    """

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Fold:
    """Blocks that few readers need: in a page they open under their title, in print and in plain text they stand there.

    Parameters
    ----------
    title : what is inside.
    blocks : of any kind.
    """

    title: str
    blocks: "Sequence[Block]"


Block: TypeAlias = Heading | Paragraph | Items | Note | Equations | Code | Table | Picture | Facts | Fold
