"""The house style of figures: legible in print, safe for the colour-blind, and without a trace in global settings."""

import gc
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crosslevel.report.figures.marks import mark as mark
from crosslevel.report.figures.marks import told as told
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008): distinct with every kind of colour vision, and in grey
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
INK, GREY, PALE, GRID = "#222833", "#6f7886", "#b4bbc6", "#e6e9ee"

WIDTH = 7.2
"""Inches: the text width of a page."""

SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.facecolor": "white",
    "figure.facecolor": "white",
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@contextmanager
def drawing(
    ax: "Axes | None",
    *,
    width: float = WIDTH,
    height: float = 4.4,
    rows: int = 1,
    columns: int = 1,
    share: Literal["both", "y", "none"] = "both",
) -> Iterator["list[Axes]"]:
    """Axes to draw into: those given, or those of a new figure (where there are several, `share` says which scales)."""
    from matplotlib import rc_context

    with rc_context(SETTINGS):
        panels = [ax] if ax is not None else new_panels(width, height, rows, columns, share)
        for panel in panels:
            # ticks are made when the figure is drawn, after this context has ended: what they look like is said now
            panel.tick_params(colors=GREY, labelcolor=INK, labelsize=8.5, width=0.8, length=3)
            panel.grid(visible=True, color=GRID, linewidth=0.8)
        yield panels


def new_panels(
    width: float, height: float, rows: int, columns: int, share: Literal["both", "y", "none"] = "both"
) -> "list[Axes]":
    """Axes of a new figure that no window manager knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    # notebooks ask an object for its picture; without pyplot nobody else would tell them
    figure._repr_png_ = partial(png, figure)  # type: ignore[attr-defined]
    several = rows * columns > 1
    share_x, share_y = several and share == "both", several and share != "none"
    grid = figure.subplots(rows, columns, sharex=share_x, sharey=share_y, squeeze=False)
    return list(grid.ravel())


def png(figure: "Figure", dpi: int = 160) -> bytes:
    """A figure as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer, before, canvas = BytesIO(), figure.dpi, figure.canvas
    try:
        figure.dpi = dpi
        # the canvas itself, because `savefig` draws everything twice
        FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    finally:
        figure.dpi = before
        figure.set_canvas(canvas)
    return buffer.getvalue()


def svg(figure: "Figure") -> bytes:
    """A figure as an SVG file, the same bytes every time; text is drawn as paths, so that it needs no font."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    with rc_context({"svg.hashsalt": "crosslevel", "svg.fonttype": "path"}):
        return printed(figure, FigureCanvasSVG, "print_svg", {"Date": None, "Creator": None})


def pdf(figure: "Figure") -> bytes:
    """A figure as a PDF file, the same bytes every time; its letters stay letters, to be searched and edited."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    with rc_context({"pdf.fonttype": 42}):
        return printed(figure, FigureCanvasPdf, "print_pdf", {"CreationDate": None, "Creator": None})


def printed(figure: "Figure", canvas: Any, method: str, metadata: dict[str, None]) -> bytes:
    """A figure printed by a canvas of matplotlib, and left as it was."""
    buffer, before, dpi = BytesIO(), figure.canvas, figure.dpi
    try:
        getattr(canvas(figure), method)(buffer, metadata=metadata)
    finally:
        figure.set_canvas(before)
        figure.dpi = dpi
    return buffer.getvalue()


@contextmanager
def without_collection() -> Iterator[None]:
    """Many figures drawn without looking for garbage in cycles meanwhile: a fifth of the time goes into that else."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def settled(figure: "Figure") -> "Figure":
    """The figure with its panels put in their places for good; else each drawing of it looks for these again."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    return figure


def points(figure: "Figure") -> int:
    """How many points, and ends of lines, a figure has to draw."""
    count = 0
    for panel in figure.axes:
        count += sum(np.size(line.get_xdata()) for line in panel.lines)
        for item in panel.collections:
            count += len(np.atleast_2d(item.get_offsets()))
            count += sum(np.shape(path.vertices)[0] for path in item.get_paths())
    return count


def entitle(panels: "Sequence[Axes]", title: str, subtitle: str, *, own: bool) -> "Figure":
    """Write title and subtitle over a figure (or over the axes that were given), and return the figure."""
    figure = panels[0].get_figure(root=True)
    assert figure is not None
    if not own:
        panels[0].set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
        return figure
    width, height = figure.get_size_inches()
    names = textwrap.wrap(title, int(width * 10.2))
    notes = textwrap.wrap(subtitle, int(width * 13.5))
    # inches from the top; the figure grows by what the words take
    below_names = 0.14 + 0.2 * len(names)
    head = below_names + 0.17 * len(notes) + 0.08
    height += head
    figure.set_size_inches(width, height)
    figure.text(0.1 / width, 1 - 0.1 / height, "\n".join(names), va="top", fontsize=12, fontweight="bold")
    figure.text(0.1 / width, 1 - below_names / height, "\n".join(notes), va="top", fontsize=9, color=GREY)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0.005, 0.005, 0.99, 0.995 - head / height))  # type: ignore[call-arg]
    return figure


def name_axes(panel: "Axes", x: str, y: str) -> None:
    """Write the names of the axes, in as many lines as they need."""
    width, height = panel.get_figure(root=True).get_size_inches()  # type: ignore[union-attr]
    panel.set_xlabel(textwrap.fill(x, int(width * 11)))
    panel.set_ylabel(textwrap.fill(y, max(16, int(height * 9))))


def name_figure(panel: "Axes", x: str, y: str) -> None:
    """Write the names that all panels of a figure share."""
    figure = panel.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches()
    figure.supxlabel(textwrap.fill(x, int(width * 11)), fontsize=9.5, color=INK)
    figure.supylabel(textwrap.fill(y, max(16, int(height * 9))), fontsize=9.5, color=INK)


def draw_lines(panel: "Axes", segments: Sequence[FloatArray], labels: Sequence[str] = (), **look: Any) -> None:
    """Draw many lines as one object, each (n, 2), marked by their labels, and let the axes grow to hold them."""
    from matplotlib.collections import LineCollection

    if not len(segments):
        return
    lines = panel.add_collection(LineCollection(list(segments), **look), autolim=False)
    if len(labels):
        mark(lines, labels)
    panel.update_datalim(np.concatenate(segments))
    panel.autoscale_view()


def shortened(names: Sequence[object], length: int) -> list[str]:
    """Names no longer than `length`: without the words they all begin with, else cut in the middle.

    Where cutting would make two of them equal, they are numbered.
    """
    full = [str(name) for name in names]
    if len(full) > 1 and max(map(len, full)) > length:
        shared = re.match(r".*\W", common_beginning(full))
        full = [f"…{name[shared.end() :]}" for name in full] if shared and shared.end() > 3 else full
    cut = [middle_cut(name, length) for name in full]
    return [name if cut.count(name) == 1 else f"{middle_cut(name, length - 4)} #{k + 1}" for k, name in enumerate(cut)]


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
