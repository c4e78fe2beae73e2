"""Rows of numbers as lines of cells: estimates, what is below or beside them, headings, reference categories."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from crosslevel.errors import CrosslevelError
from crosslevel.report.tables.cells import (
    EXTREME,
    Shown,
    beside,
    estimate_cell,
    largest_of,
    uncertainty_cell,
    words_cell,
)
from crosslevel.report.tables.labels import Labels
from crosslevel.report.tables.models import Model
from crosslevel.report.tables.record import Heading, Line, Printed
from crosslevel.report.tables.rows import Quantity

MOST_DIGITS = 15


@dataclass(frozen=True, kw_only=True, eq=False)
class Manner:
    """How cells are written.

    Attributes
    ----------
    shown : what is said of uncertainty, in order.
    beside : whether behind the estimate rather than below it.
    stars : levels of significance, the largest first.
    digits : decimals; None for as many as suit.
    """

    shown: tuple[Shown, ...]
    beside: bool
    stars: tuple[float, ...]
    digits: int | None


def lines_of(quantity: Quantity, manner: Manner) -> Iterator[Line]:
    """The line of the estimates, and one for each thing that is said below them."""
    cells: list[list[Printed | None]] = [_cells(quantity, k, manner) for k in range(len(quantity.numbers))]
    if manner.beside:
        joined = [None if cell[0] is None else beside(cell[0], cell[1:]) for cell in cells]
        yield Line(label=quantity.label, cells=tuple(joined))
        return
    yield Line(label=quantity.label, cells=tuple(cell[0] for cell in cells))
    for k in range(1, 1 + len(manner.shown)):
        below = tuple(cell[k] for cell in cells)
        if any(cell is not None for cell in below):
            yield Line(label="", cells=below, continues=True)


def _cells(quantity: Quantity, k: int, manner: Manner) -> list[Printed | None]:
    """Estimate and uncertainty of one model."""
    numbers = quantity.numbers[k]
    if numbers is None:
        return [None] * (1 + len(manner.shown))
    stars = manner.stars if quantity.part == "coefficient" else ()
    sizes = [largest_of(one) for one in quantity.numbers if one is not None]
    row = max((size for size in sizes if size < EXTREME), default=0.0)
    below = [uncertainty_cell(numbers, shown, manner.digits, row=row) for shown in manner.shown]
    if quantity.part == "coefficient":  # without a word, one would think that it was forgotten
        below = [words_cell("(unknown)") if cell is None and shown == "se" else cell
                 for cell, shown in zip(below, manner.shown, strict=True)]  # fmt: skip
    return [estimate_cell(numbers, manner.digits, stars, row=row), *below]


def section(
    heading: str, quantities: Sequence[Quantity], manner: Manner, extra: Mapping[str, Line] | None = None
) -> Iterator[Line | Heading]:
    """Rows under a heading, with `extra` lines before those of some terms; nothing where there are none."""
    if quantities:
        yield Heading(heading)
    for quantity in quantities:
        if extra is not None and quantity.term in extra:
            yield extra[quantity.term]
        yield from lines_of(quantity, manner)


def reference_lines(models: Sequence[Model], terms: Sequence[str], labels: Labels) -> dict[str, Line]:
    """Lines of reference categories, by the term that each is put before."""
    found: dict[str, tuple[str, list[Printed | None]]] = {}
    for k, model in enumerate(models):
        for text, coding in getattr(getattr(model.source, "spec", None), "codings", {}).items():
            dummies = [f"{text}[{level}]" for level in coding.levels]
            mine = [term for term in dummies if term in model.coefficients.index]
            absent = f"{text}[{coding.reference}]"
            if coding.kind != "treatment" or not mine or absent in mine:
                continue
            first = min((term for term in mine if term in terms), key=list(terms).index, default=None)
            if first is not None:
                cells = found.setdefault(first, (absent, [None] * len(models)))[1]
                cells[k] = words_cell("reference")
    return {term: Line(label=labels(name), cells=tuple(cells)) for term, (name, cells) in found.items()}


def number_of_digits(digits: int) -> int:
    """A number of decimals as given.

    Raises
    ------
    CrosslevelError : it is none.
    """
    if isinstance(digits, int) and not isinstance(digits, bool) and 0 <= digits <= MOST_DIGITS:
        return digits
    raise CrosslevelError(f"`digits` is a number of decimals from 0 to {MOST_DIGITS}; got {digits!r}.")
