"""Text in lines of a given width, as a terminal shows it. Nothing is ever cut off."""

import re
import unicodedata
from collections.abc import Iterator

# inside a word too long for a line: after the punctuation of coefficient names and file names
BREAKS = re.compile(r"(?<=[:,;()\[\]_./*+&-])")


def shown_length(text: str) -> int:
    """Columns a text takes in a terminal: two for wide characters, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def padded(text: str, width: int, *, right: bool = False) -> str:
    """A text filled with blanks to a width; `right` sets it to the right."""
    blanks = " " * (width - shown_length(text))
    return blanks + text if right else text + blanks


def wrapped(text: str, width: int, *, first: str = "", rest: str = "") -> list[str]:
    """A text in lines no wider than `width`: broken at blanks, inside long words after punctuation, else anywhere.

    Parameters
    ----------
    text : its line breaks are kept.
    width : the widest line allowed.
    first, rest : what the first line and the others begin with.
    """
    lines: list[str] = []
    for part in text.split("\n"):
        lines += filled(part, width, first=rest if lines else first, rest=rest)
    return lines


def wrapped_name(name: str, width: int, *, first: str, rest: str) -> list[str]:
    """A name in lines: an interaction is broken after its colons where that is enough, other names like any text."""
    factors = re.split(r"(?<=:)(?=\S)", name)
    room = width - max(shown_length(first), shown_length(rest))
    if shown_length(first + name) <= width or len(factors) == 1 or max(map(shown_length, factors)) > room:
        return wrapped(name, width, first=first, rest=rest)
    lines = [first]
    for factor in factors:
        if lines[-1] not in (first, rest) and shown_length(lines[-1] + factor) > width:
            lines.append(rest)
        lines[-1] += factor
    return lines


def filled(text: str, width: int, *, first: str, rest: str) -> Iterator[str]:
    """The lines of one paragraph."""
    line, empty = first, True
    for piece in pieces(text, width - max(shown_length(first), shown_length(rest))):
        if not empty and shown_length(line) + shown_length(piece.rstrip()) > width:
            yield line.rstrip()
            line, empty = rest, True
        line += piece
        empty = False
    yield line.rstrip()


def pieces(text: str, width: int) -> Iterator[str]:
    """A text cut wherever a line may end."""
    for word in re.findall(r"\S+\s*", text):
        if shown_length(word.rstrip()) <= width:
            yield word
        else:
            for part in filter(None, BREAKS.split(word)):
                yield from [part] if shown_length(part.rstrip()) <= width else chunks(part, width)


def chunks(text: str, width: int) -> list[str]:
    """A text cut into pieces no wider than `width`."""
    cut = [""]
    for character in text:
        if cut[-1] and shown_length(cut[-1] + character) > width:
            cut.append("")
        cut[-1] += character
    return cut
