"""Figures as pictures of a page, and the page that holds them."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from crosslevel.display import Block, Document, Fold, Picture, page
from crosslevel.report.figures import theme
from crosslevel.report.figures.interactive import extras, interactive
from crosslevel.report.figures.marks import marks_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 2500
"""A figure of more points is smaller, and quicker to show, as a PNG than as an SVG."""


def picture(figure: "Figure", caption: str = "") -> Picture:
    """A figure for the page, with its title and subtitle as its words for who cannot see it."""
    theme.settled(figure)
    alt, width = words_of(figure), width_of(figure)
    if marks_of(figure):
        return Picture(interactive(figure, script=False), alt=alt, caption=caption, width=width, live=True)
    if theme.points(figure) <= MOST_POINTS:
        return Picture(theme.svg(figure), alt=alt, caption=caption, media="image/svg+xml", width=width)
    return Picture(theme.png(figure), alt=alt, caption=caption, media="image/png", width=width)


def words_of(figure: "Figure") -> str:
    """Title and subtitle of a figure; without the names of its axes."""
    axes = (figure.get_supxlabel(), figure.get_supylabel())
    texts = (text.get_text() for text in figure.texts)
    return " ".join(re.sub(r"\s+", " ", text).rstrip(".") + "." for text in texts if text and text not in axes)


def width_of(figure: "Figure") -> int:
    """Pixels that a figure takes."""
    return round(96 * float(figure.get_size_inches()[0]))


def pictures_in(blocks: Sequence[Block]) -> Iterator[Picture]:
    """All pictures, those in folds too."""
    for block in blocks:
        if isinstance(block, Picture):
            yield block
        elif isinstance(block, Fold):
            yield from pictures_in(block.blocks)


def page_of(document: Document) -> str:
    """A document as a page, with the script that its live pictures share."""
    live = any(picture.live for picture in pictures_in(document.blocks))
    return page(document, contents=True, end=extras() if live else "")
