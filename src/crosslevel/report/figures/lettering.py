"""Words in figures: lines that fit, names that stay different when they are cut, and names beside points."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from crosslevel.types import BoolArray, FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS_PER_INCH = 72.0

SMALL = 7.5
"""Points of the letters beside points."""

SHARE = (0.86, 0.8)
"""Of a figure with one panel, what is inside its axes, roughly."""

PLACES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""Where a name may stand: right of its point, left, above, below, and at the corners."""


TOGETHER = re.compile(r"(?<=\d) (?=%)|(?<=\bp) (?=[=<>])|(?<=\bp [=<>]) (?=\.)")
"""Spaces at which no line ends: 95 %, p = .05."""

HELD = "\N{WORD JOINER}"


@lru_cache(maxsize=4096)
def width_of(text: str, size: float, weight: str = "normal") -> float:
    """Width of a line in inches, in the font of figures at `size` points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family="sans-serif", size=size, weight=weight)
    return float(TextToPath().get_text_width_height_descent(text, font, ismath=False)[0]) / POINTS_PER_INCH


def wrapped(text: str, inches: float, size: float, weight: str = "normal", *, most: int = 99) -> str:
    """A text in lines no wider than `inches`, and no more than `most`: what is left over ends in an ellipsis.

    Examples
    --------
    >>> wrapped("Trust in political institutions", 1.2, 9.0).splitlines()
    ['Trust in political', 'institutions']
    """
    # letters on a screen are up to a thirtieth wider than those of the font
    inches *= 0.96
    lines: list[str] = []
    for word in TOGETHER.sub(HELD, text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size, weight) <= inches:
            lines[-1] = longer
        else:
            lines.append(word)
    kept = lines[:most]
    if len(lines) > most:
        while kept[-1] and width_of(f"{kept[-1]} …", size, weight) > inches:
            kept[-1] = kept[-1][:-1].rstrip()
        kept[-1] += " …"
    # one word may be wider than the line
    fit = (line if width_of(line, size, weight) <= inches else fitted(line, inches, size) for line in kept)
    return "\n".join(fit).replace(HELD, " ")


def balanced(text: str, inches: float, size: float) -> str:
    """A text in at most three lines that are about equally long.

    Examples
    --------
    >>> balanced("Random slope of x: difference from the fixed part", 2.9, 9.0).splitlines()
    ['Random slope of x: difference', 'from the fixed part']
    """
    best = wrapped(text, inches, size, most=3)
    count = best.count("\n")
    for share in np.linspace(0.95, 0.4, 12) if count else ():
        narrower = wrapped(text, share * inches, size)
        if narrower.count("\n") > count or "…" in best or "…" in narrower:
            break
        best = narrower
    return best


def fitted(name: str, inches: float, size: float) -> str:
    """A name cut in its middle until it is no wider than `inches`."""
    length = len(name)
    while length > 4 and width_of(middle_cut(name, length), size) > inches:
        length -= 1
    return middle_cut(name, length)


def shortened(names: Sequence[object], length: int) -> list[str]:
    """Names no longer than `length`: without the words they all begin with, else cut in the middle.

    Where cutting would make two of them equal, they are numbered.
    """
    full = [str(name) for name in names]
    if len(full) > 1 and max(map(len, full)) > length:
        shared = re.match(r".*\W", common_beginning(full))
        full = [f"…{name[shared.end() :]}" for name in full] if shared and shared.end() > 3 else full
    cut = [middle_cut(name, length) for name in full]
    count = Counter(cut)
    found = [name if count[name] == 1 else f"{middle_cut(name, length - 4)} #{k + 1}" for k, name in enumerate(cut)]
    # two dollars would begin and end a formula
    return [name.replace("$", r"\$") for name in found]


def common_beginning(texts: Sequence[str]) -> str:
    """The characters that all texts begin with."""
    columns = zip(*texts, strict=False)
    return "".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))


def middle_cut(name: str, length: int) -> str:
    """A name of at most `length` characters, its end kept because names often differ there."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def name_points(
    panel: "Axes",
    x: FloatArray,
    y: FloatArray,
    names: Sequence[object],
    *,
    length: int = 18,
    others: FloatArray | None = None,
) -> BoolArray:
    """Write names beside points, each where it covers no point and no other name; those without room stay unnamed.

    Parameters
    ----------
    panel : axes whose limits are set.
    x, y : (n,) places of the points.
    names : of the points.
    length : characters of a name at most.
    others : (m, 2) places of more points that are not to be covered.

    Returns
    -------
    named : (n,) whether a point has its name.
    """
    places = inches_in(panel, x, y)
    shown = shortened(names, length)
    room = inches_in(panel, *(np.array(ends) for ends in (panel.get_xlim(), panel.get_ylim())))
    besides = np.empty((0, 2)) if others is None else inches_in(panel, others[:, 0], others[:, 1])
    everything = np.concatenate([places, besides])
    taken = np.column_stack([everything - 0.035, everything + 0.035])
    named = np.zeros(len(places), dtype=bool)
    # the outermost first: they are what one looks for, and they have room
    middle = np.median(places, axis=0)
    for k in np.argsort(-np.hypot(*(places - middle).T), kind="stable"):
        size = np.array([width_of(shown[k], SMALL), 1.15 * SMALL / POINTS_PER_INCH])
        for side in PLACES:
            box = _box(places[k], size, side)
            if _is_free(box, np.delete(taken, k, axis=0), room):
                _write(panel, (float(x[k]), float(y[k])), shown[k], side)
                taken = np.vstack([taken, box])
                named[k] = True
                break
    return named


def inches_in(panel: "Axes", x: FloatArray, y: FloatArray) -> FloatArray:
    """(n, 2) places of a panel in inches, roughly: its size is settled only when the figure is drawn."""
    size = np.array(panel.get_figure(root=True).get_size_inches()) * SHARE  # type: ignore[union-attr]
    scaled = panel.transScale.transform(np.column_stack([x, y]))
    ends = panel.transScale.transform(np.column_stack([panel.get_xlim(), panel.get_ylim()]))
    return np.asarray((scaled - ends[0]) / (ends[1] - ends[0]) * size)


def _box(place: FloatArray, size: FloatArray, side: tuple[int, int]) -> FloatArray:
    """Left, bottom, right, top of a name at one side of its point."""
    centre = place + np.array(side) * (size / 2.0 + 0.055)
    return np.concatenate([centre - size / 2.0, centre + size / 2.0])


def _is_free(box: FloatArray, taken: FloatArray, room: FloatArray) -> bool:
    """Whether a box covers nothing, and is inside of the panel."""
    inside = bool((box[:2] >= room.min(axis=0)).all() and (box[2:] <= room.max(axis=0)).all())
    over = (box[:2] < taken[:, 2:]).all(axis=1) & (box[2:] > taken[:, :2]).all(axis=1)
    return inside and not over.any()


def _write(panel: "Axes", place: tuple[float, float], name: str, side: tuple[int, int]) -> None:
    """Write a name at one side of its point."""
    look: dict[str, Any] = {
        "ha": {1: "left", 0: "center", -1: "right"}[side[0]],
        "va": {1: "bottom", 0: "center", -1: "top"}[side[1]],
    }
    away = (4 * side[0], 3 * side[1])
    panel.annotate(name, place, away, textcoords="offset points", fontsize=SMALL, color="#4a5260", zorder=5, **look)
