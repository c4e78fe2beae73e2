"""Blocks as plain text of a given width."""

import re
from collections.abc import Sequence

from crosslevel.display.blocks import (
    Block,
    Code,
    Equations,
    Facts,
    Fold,
    Heading,
    Items,
    Note,
    Paragraph,
    Picture,
    Table,
)
from crosslevel.display.text_table import table_lines
from crosslevel.display.wrapping import shown_length, wrapped


def render(title: str, blocks: Sequence[Block], width: int) -> str:
    """A document as text: its title and blocks in order, a blank line between them."""
    parts = [lines_of(block, width) for block in blocks]
    if title:
        parts.insert(0, underlined(title, "═", width))
    return "\n\n".join("\n".join(line.rstrip() for line in part) for part in parts if part)


def lines_of(block: Block, width: int) -> list[str]:
    """One block as lines."""
    match block:
        case Heading():
            return underlined(block.text, "─", width) if block.level == 1 else wrapped(block.text, width)
        case Paragraph():
            return wrapped(block.text, width)
        case Items():
            return [line for item in block.texts for line in wrapped(item, width, first="- ", rest="  ")]
        case Note():
            return wrapped(block.text, width, first="Warning: " if block.kind == "warning" else "Note: ", rest="  ")
        case Picture():
            return wrapped(f"[Figure: {block.alt}]", width)
        case Equations():
            lines = wrapped(block.title, width) if block.title else []
            return lines + [line for text in block.lines for line in equation_lines(plain_subscripts(text), width)]
        case Code():
            return [f"    {line}" for line in block.text.splitlines()]
        case Table():
            return table_lines(block, width)
        case Facts():
            return wrapped(" · ".join(f"{name}: {value}" for value, name in block.pairs), width)
        case Fold():
            return [*wrapped(block.title, width), "", *render("", block.blocks, width).splitlines()]


def underlined(text: str, mark: str, width: int) -> list[str]:
    """A heading over a line of its own length."""
    lines = wrapped(text, width)
    return [*lines, mark * max(map(shown_length, lines))]


def plain_subscripts(equation: str) -> str:
    """`β_{0j}` as `β0j`, and `ses_{ij}` as `ses_ij`."""
    joined = re.sub(r"(?<!\w)([^\W\d_])_\{(\d[^}]*)\}", r"\1\2", equation)
    return re.sub(r"_\{([^}]*)\}", r"_\1", joined)


def equation_lines(equation: str, width: int) -> list[str]:
    """An equation in lines, broken before its signs and continued behind the place of its equals sign."""
    found = re.search(r"\s[=~]\s", equation)
    indent = " " * (min(found.end(), 16) if found else 2)
    lines = [""]
    for term in re.split(r"(?=\s[+-]\s)", equation):
        if lines[-1] and shown_length(lines[-1] + term) > width:
            lines.append(indent + term.strip())
        else:
            lines[-1] += term
    return [
        line for term in lines for line in ([term] if shown_length(term) <= width else long_term(term, width, indent))
    ]


def long_term(term: str, width: int, indent: str) -> list[str]:
    """A part of an equation that is too long for a line, broken like any text."""
    content = term.lstrip()
    return wrapped(content, width, first=term[: len(term) - len(content)], rest=indent + "  ")
