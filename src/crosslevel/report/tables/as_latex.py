"""A table for publication as LaTeX: booktabs, numbers on their points by dcolumn, a longtable where it is long."""

import re
from collections.abc import Iterator

from crosslevel.display.cells import split_at_point
from crosslevel.display.wrapping import shown_length, wrapped
from crosslevel.report.tables.latex_text import GLYPH, escaped
from crosslevel.report.tables.record import Heading, Line, Printed, PublicationTable

LONG = 42
"""Lines, those of the notes included, from which a table may break across pages."""

LONG_LABEL = 44
"""Signs of a label from which labels are set in lines of a fixed width."""

HEADING = 14
"""Signs in a line of a heading."""

TEXT, WIDE = 68, 120
"""Digits that fit into the width of a text; from which on a document is turned."""

NEEDED = ("booktabs", "dcolumn")
"""Packages, all parts of every TeX distribution."""


def render(table: PublicationTable, *, document: bool) -> str:
    """A table environment, or a document with nothing else."""
    long = lines_needed(table) > LONG
    body = longtable(table) if long else floating(table)
    packages = [*NEEDED, *(["array"] if has_long_labels(table) else []), *(["longtable"] if long else [])]
    packages += ["graphicx"] if digits_across(table) > TEXT and not long else []
    commands = [GLYPH] if r"\anyglyph" in body else []
    if not document:
        needs = f"% Needs \\usepackage{{{','.join(packages)}}} in the preamble."
        return "\n".join([needs, *commands, body])
    turned = ",landscape" if digits_across(table) > WIDE else ""
    preamble = [
        r"\documentclass[11pt]{article}", r"\ifdefined\Umathchar\usepackage{fontspec}\else\usepackage[T1]{fontenc}\fi",
        rf"\usepackage[a4paper,margin=2.2cm{turned}]{{geometry}}", f"\\usepackage{{{','.join(packages)}}}",
        r"\pagestyle{empty}", *commands, r"\begin{document}",
    ]  # fmt: skip
    return "\n".join([*preamble, body, r"\end{document}", ""])


def floating(table: PublicationTable) -> str:
    """The table on one page, made smaller where it is wider than the text."""
    fit = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    shrink = digits_across(table) > TEXT
    above = [r"\setlength{\abovecaptionskip}{0pt}\setlength{\belowcaptionskip}{6pt}"] if caption(table) else []
    parts = [r"\begin{table}[htbp]", r"\centering", *above, *caption(table), *([fit] if shrink else [])]
    parts += [f"\\begin{{tabular}}{{{columns(table)}}}", r"\toprule", head(table), r"\midrule", *rows(table)]
    parts += [r"\bottomrule", r"\end{tabular}" + ("}" if shrink else "")]
    return "\n".join([*parts, *notes(table), r"\end{table}"])


def longtable(table: PublicationTable) -> str:
    """The table across pages, with its headings on each."""
    size = r"\scriptsize" if digits_across(table) > TEXT else r"\small"
    tight = [r"\setlength{\tabcolsep}{3pt}"] if digits_across(table) > TEXT else []
    parts = ["{" + size, *tight, f"\\begin{{longtable}}{{{columns(table)}}}"]
    parts += [line + r" \\" for line in caption(table)]
    top = [r"\toprule", head(table), r"\midrule"]
    parts += [*top, r"\endfirsthead", *top, r"\endhead", r"\bottomrule", r"\endfoot", *rows(table)]
    return "\n".join([*parts, r"\end{longtable}", *notes(table), "}"])


def caption(table: PublicationTable) -> list[str]:
    """Title and label."""
    name = re.sub("[^A-Za-z0-9:._-]", "-", table.label)
    label = rf"\label{{{name}}}" if name else ""
    return [rf"\caption{{{escaped(table.title)}}}{label}"] if table.title or label else []


def columns(table: PublicationTable) -> str:
    """Kinds of columns: labels, and numbers with the digits before and behind their points."""
    first = "l"
    if has_long_labels(table):
        room = min(24, max(14, (TEXT - digits_across(table) + LONG_LABEL) // 2))
        first = rf">{{\raggedright\arraybackslash\hangindent=1.5em\hangafter=1}}p{{{room}em}}"
    return "@{}" + " ".join([first, *(f"D{{.}}{{.}}{{{b}.{a}}}" for b, a in places(table))]) + "@{}"


def places(table: PublicationTable) -> list[tuple[int, int]]:
    """Digits before and behind the point of each column of numbers."""
    cells = [line.cells for line in table.lines if isinstance(line, Line)]
    found = []
    for column in zip(*cells, strict=True):
        halves = [
            (
                shown_length(before) + before.count("-"),
                len(after) - 1 + after.count("%") + len(cell.marks) + 4 * ("e" in cell.number),
            )
            for cell in column
            if cell is not None and cell.number
            for before, after in [split_at_point(f"{cell.before}{cell.number}{cell.after}")]
        ]
        found.append((max((b for b, _ in halves), default=1), max((a for _, a in halves), default=0) or 1))
    return found


def head(table: PublicationTable) -> str:
    """The line of headings, long ones broken."""
    cells = [escaped(table.headings[0])]
    for name in table.headings[1:]:
        lines = [escaped(line) for line in wrapped(name, HEADING)]
        stacked = r"\\".join(lines)
        shown = rf"\begin{{tabular}}[b]{{@{{}}c@{{}}}}{stacked}\end{{tabular}}" if len(lines) > 1 else stacked
        cells.append(rf"\multicolumn{{1}}{{c}}{{{shown}}}")
    return " & ".join(cells) + r" \\"


def rows(table: PublicationTable) -> Iterator[str]:
    """The lines; those below a heading a little to the right."""
    indent = ""
    for place, line in enumerate(table.lines):
        if isinstance(line, Heading):
            indent = r"\quad "
            space = r"\addlinespace" + "\n" if place else ""
            yield rf"{space}\multicolumn{{{len(table.headings)}}}{{@{{}}l}}{{\textit{{{escaped(line.text)}}}}} \\"
            continue
        follows = place + 1 < len(table.lines) and _continues(table.lines[place + 1])
        label = f"{indent}{escaped(line.label)}" if line.label else ""
        yield " & ".join([label, *map(cell_latex, line.cells)]).rstrip() + (r" \\*" if follows else r" \\")


def _continues(line: Line | Heading) -> bool:
    """Whether a line belongs to the one above."""
    return isinstance(line, Line) and line.continues


def cell_latex(cell: Printed | None) -> str:
    """One cell: numbers as mathematics, words and intervals in the middle."""
    if cell is None:
        return ""
    if not cell.number:
        words = escaped(cell.text).replace("{[}", "[").replace("{]}", "]")  # no option of \\ inside braces
        return rf"\multicolumn{{1}}{{c}}{{{with_minus(words)}}}"
    number = re.sub(r"e([+-])0*(\d+)$", lambda found: power(found[1], found[2]), cell.number)
    number = re.sub(r",(?=\d{3})", "{,}", number)
    marks = f"^{{{cell.marks}}}" if cell.marks else ""
    if cell.after in ("", ")"):
        return f"{cell.before}{number}{marks}{cell.after}"
    return rf"{cell.before}{number}{marks}\mbox{{{with_minus(escaped(cell.after).replace(' ', '~', 1))}}}"


def power(sign: str, digits: str) -> str:
    """A power of ten."""
    return rf"\times 10^{{{sign.replace('+', '')}{digits}}}"


def with_minus(text: str) -> str:
    """Hyphens before digits as minus signs."""
    return re.sub(r"(?<![\w.])-(?=[.\d])", "$-$", text)


def notes(table: PublicationTable) -> list[str]:
    """The notes, as wide as the text."""
    if not table.notes:
        return []
    text = " ".join(with_minus(escaped(note)) for note in table.notes)
    unbroken = re.sub(r"\bp \\textless{} \.", r"p~\\textless{}~.", text)
    begin = r"\par\medskip\noindent\begin{minipage}{\linewidth}\footnotesize\raggedright"
    return [begin, rf"\textit{{Note.}} {unbroken}\end{{minipage}}"]


def has_long_labels(table: PublicationTable) -> bool:
    """Whether labels need lines."""
    return any(shown_length(line.label) > LONG_LABEL for line in table.lines if isinstance(line, Line))


def digits_across(table: PublicationTable) -> int:
    """Width of the table, in digits."""
    labels = [shown_length(line.label) + 2 for line in table.lines if isinstance(line, Line)]
    numbers = sum(max(before + after + 1, 7) + 3 for before, after in places(table))
    return min(max(labels, default=0), LONG_LABEL) + numbers


def lines_needed(table: PublicationTable) -> int:
    """Lines of a page that the table takes."""
    return len(table.lines) + sum(1 + len(note) // 100 for note in table.notes)
