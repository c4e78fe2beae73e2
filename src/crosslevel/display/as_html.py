"""Blocks as HTML: accessible tables and pictures, nothing loaded from anywhere."""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape

from crosslevel.display import style
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
from crosslevel.display.cells import Grid, grid, split_at_point

FIGURE_SPACE = "\u2007"
"""As wide as a digit."""
POINT_SPACE = "\u2008"
"""As wide as a full stop."""


def fragment(title: str, blocks: Sequence[Block]) -> str:
    """A part of a page, with the style it needs."""
    return f"<style>{style.FRAGMENT}</style>\n{section(title, blocks, top=3)}"


def page(title: str, blocks: Sequence[Block], *, contents: bool, language: str, end: str = "") -> str:
    """A page of its own; `end` is HTML that stands at its end."""
    body = section(title, blocks, top=1, contents=contents)
    return (
        f'<!DOCTYPE html>\n<html lang="{escape(language)}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style.FRAGMENT}{style.PAGE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n{end}</body>\n</html>\n"
    )


def section(title: str, blocks: Sequence[Block], *, top: int, contents: bool = False) -> str:
    """Title and blocks; the title is a heading of level `top`."""
    heading = [f"<h{top}>{escape(title)}</h{top}>"] if title else []
    parts = [block_html(block, anchor, top) for block, anchor in zip(blocks, anchors(blocks), strict=True)]
    if not contents:
        return '<section class="crosslevel">' + "\n".join([*heading, *parts]) + "</section>"
    body = '<div class="body">' + "\n".join(parts) + "</div>"
    return '<section class="crosslevel contents">' + "\n".join([*heading, contents_list(blocks), body]) + "</section>"


def anchors(blocks: Sequence[Block]) -> Iterator[str]:
    """A name to link to for every heading, different for each; empty for other blocks."""
    taken: dict[str, int] = {}
    for block in blocks:
        if not isinstance(block, Heading):
            yield ""
            continue
        name = re.sub(r"\W+", "-", block.text.lower()).strip("-") or "part"
        taken[name] = taken.get(name, 0) + 1
        yield name if taken[name] == 1 else f"{name}-{taken[name]}"


def contents_list(blocks: Sequence[Block]) -> str:
    """Links to the headings of level 1."""
    items = "".join(
        f'<li><a href="#{anchor}">{escape(block.text)}</a></li>'
        for block, anchor in zip(blocks, anchors(blocks), strict=True)
        if isinstance(block, Heading) and block.level == 1
    )
    return f'<nav aria-label="Contents"><strong>Contents</strong><ol>{items}</ol></nav>'


def block_html(block: Block, anchor: str, top: int) -> str:
    """One block."""
    match block:
        case Heading():
            level = min(top + block.level, 6)
            return f'<h{level} id="{anchor}">{escape(block.text)}</h{level}>'
        case Paragraph():
            return f"<p>{broken(block.text)}</p>"
        case Items():
            return f"<ul>{''.join(f'<li>{broken(item)}</li>' for item in block.texts)}</ul>"
        case Note():
            word = "Warning" if block.kind == "warning" else "Note"
            return f'<div class="note {block.kind}" role="note"><strong>{word}:</strong> {broken(block.text)}</div>'
        case Equations():
            name = f'<p class="name">{escape(block.title)}</p>' if block.title else ""
            return f'<div class="equations">{name}{"".join(f"<p>{subscripts(line)}</p>" for line in block.lines)}</div>'
        case Code():
            return f'<pre tabindex="0"><code>{escape(block.text, quote=False)}</code></pre>'
        case Picture():
            return figure(block)
        case Table():
            return table_html(block)
        case Facts():
            pairs = "".join(
                f"<div><dt>{broken(name)}</dt><dd>{broken(value)}</dd></div>" for value, name in block.pairs
            )
            return f'<dl class="facts">{pairs}</dl>'
        case Fold():
            return fold(block, top)


def fold(block: Fold, top: int) -> str:
    """Blocks under a title that opens them."""
    prefix = re.sub(r"\W+", "-", block.title.lower()).strip("-")
    names = (f"{prefix}-{anchor}" if anchor else "" for anchor in anchors(block.blocks))
    inside = "\n".join(block_html(part, name, top) for part, name in zip(block.blocks, names, strict=True))
    return f"<details><summary>{escape(block.title)}</summary>{inside}</details>"


def broken(text: str) -> str:
    """Escaped text that keeps its line breaks."""
    return escape(text).replace("\n", "<br>")


def subscripts(equation: str) -> str:
    """`β_{0j}` with a real subscript."""
    return re.sub(r"_\{([^}]*)\}", r"<sub>\1</sub>", escape(equation, quote=False))


def figure(picture: Picture) -> str:
    """A picture inside the page, with its words."""
    caption = f"<figcaption>{broken(picture.caption)}</figcaption>" if picture.caption else ""
    if picture.live:
        drawn = picture.data if isinstance(picture.data, str) else picture.data.decode()
        size = f' style="max-width: {picture.width}px"' if picture.width else ""
        part = f'<div role="group" aria-label="{escape(picture.alt)}"{size}>{drawn}</div>'
        return f'<figure class="live">{part}{caption}</figure>'
    data = picture.data.encode() if isinstance(picture.data, str) else picture.data
    source = f"data:{picture.media};base64,{b64encode(data).decode()}"
    width = f' width="{picture.width}"' if picture.width else ""
    return f'<figure><img src="{source}" alt="{escape(picture.alt)}"{width}>{caption}</figure>'


def table_html(table: Table) -> str:
    """A table with headings for its columns, rows and sections."""
    shown = on_point(grid(table))
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    heads = "".join(
        f'<th scope="col"{css(align)}>{escape(name)}</th>' if name else f"<td{css(align)}></td>"
        for name, align in zip(shown.headings, shown.aligns, strict=True)
    )
    head = f"<thead><tr>{heads}</tr></thead>" if any(shown.headings) else ""
    label = escape(table.title or "Table")
    notes = "".join(f'<p class="below">{broken(note)}</p>' for note in table.notes)
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table>{caption}'
        f"{head}{bodies(shown)}</table></div>{notes}"
    )


def bodies(shown: Grid) -> str:
    """The rows, those of a section in a body of their own."""
    parts = ["<tbody>"]
    for row in shown.rows:
        if isinstance(row, str):
            head = f'<tr><th scope="rowgroup" colspan="{len(shown.headings)}">{escape(row)}</th></tr>'
            parts.append(f'</tbody><tbody class="indent">{head}')
        else:
            parts.append(row_html(row, shown.aligns))
    return "".join([*parts, "</tbody>"]).replace("<tbody></tbody>", "")


def row_html(row: Sequence[str], aligns: Sequence[str]) -> str:
    """One row; its first cell names it."""
    cells = "".join(f"<td{css(align)}>{broken(cell)}</td>" for cell, align in zip(row[1:], aligns[1:], strict=True))
    return f'<tr><th scope="row"{css(aligns[0])}>{broken(row[0])}</th>{cells}</tr>'


def css(align: str) -> str:
    """The class of a cell."""
    return "" if align == "left" else ' class="n"'


def on_point(shown: Grid) -> Grid:
    """Blanks of the widths of digits behind short fractions, so that right-aligned numbers meet on the point."""
    body = [row for row in shown.rows if not isinstance(row, str)]
    longest = [
        max((len(split_at_point(row[k])[1]) for row in body), default=0) if align == "decimal" else 0
        for k, align in enumerate(shown.aligns)
    ]
    rows = tuple(
        row if isinstance(row, str) else tuple(filled(cell, most) for cell, most in zip(row, longest, strict=True))
        for row in shown.rows
    )
    return Grid(headings=shown.headings, aligns=shown.aligns, rows=rows)


def filled(cell: str, longest: int) -> str:
    """A cell with blanks for the digits its fraction lacks."""
    fraction = split_at_point(cell)[1]
    missing = longest - len(fraction)
    if not cell or missing <= 0:
        return cell
    return cell + (FIGURE_SPACE * missing if fraction else POINT_SPACE + FIGURE_SPACE * (missing - 1))
