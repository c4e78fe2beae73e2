"""The house style of figures: legible in print, safe for the colour-blind, and without a trace in global settings."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crosslevel.report.figures import lettering
from crosslevel.report.figures.marks import mark as mark
from crosslevel.report.figures.marks import told as told
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

common_beginning, fitted, middle_cut = lettering.common_beginning, lettering.fitted, lettering.middle_cut
name_points, shortened = lettering.name_points, lettering.shortened
width_of, wrapped = lettering.width_of, lettering.wrapped

# after Okabe & Ito (2008), distinct with every kind of colour vision; the blue is darker and the orange lighter than
# theirs, so that they differ in grey too (27 and 51 % of white; green 42 %)
BLUE, ORANGE, GREEN = "#00599C", "#E0671B", "#009E73"
RUST = "#A8430A"
"""Letters that belong to what is orange: that itself is too light to be read."""

INK, GREY, PALE, GRID = "#222833", "#6f7886", "#b4bbc6", "#e6e9ee"

LOOKS: tuple[tuple[str, str, Any], ...] = (
    (BLUE, "o", "-"), (ORANGE, "s", (0, (5, 2))), (GREEN, "^", (0, (1, 1.2))), ("#A34E86", "D", (0, (6, 1.5, 1, 1.5))),
    ("#3B9BD6", "v", (0, (3, 1))), ("#C98A00", "P", (0, (8, 2))), (GREY, "X", (0, (2, 2))), (INK, "<", (0, (1, 2.5))),
)  # fmt: skip
"""Colour, marker and dashes of things side by side: each of the three alone tells them apart."""

WIDTH = 7.2
"""Inches: the text width of a page."""

EDGE = 0.1
"""Inches left free at the sides."""

LETTERS = 9.5
"""Points of the letters of axes."""

SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": LETTERS,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.formatter.limits": (-4, 6),
    "axes.formatter.use_mathtext": True,
    "axes.labelcolor": INK,
    "axes.labelsize": LETTERS,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.facecolor": "white",
    "figure.facecolor": "white",
    "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.6,
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
        for panel in figure.axes:
            # the solver of the layout differs by rounding from run to run, and files must not
            panel.set_position(np.round(panel.get_position(original=True).bounds, 7).tolist())
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
        panels[0].set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, parse_math=False)
        return figure
    width, height = (float(value) for value in figure.get_size_inches())
    names = wrapped(title, width - 2 * EDGE, 12, "bold").split("\n")
    notes = wrapped(subtitle, width - 2 * EDGE, 9).split("\n") if subtitle else []
    # inches from the top; the figure grows by what the words take
    below_names = 0.14 + 0.2 * len(names)
    head = below_names + 0.17 * len(notes) + 0.08
    height += head
    figure.set_size_inches(width, height)
    # a formula would begin at a dollar, as in US$
    look: dict[str, Any] = {"va": "top", "parse_math": False}
    figure.text(EDGE / width, 1 - 0.1 / height, "\n".join(names), fontsize=12, fontweight="bold", color=INK, **look)
    figure.text(EDGE / width, 1 - below_names / height, "\n".join(notes), fontsize=9, color=GREY, **look)
    engine = figure.get_layout_engine()
    assert engine is not None
    side = 0.6 * EDGE / width
    engine.set(rect=(side, 0.005, 1.0 - 2.0 * side, 0.995 - head / height))  # type: ignore[call-arg]
    return figure


def name_axes(panel: "Axes", x: str, y: str) -> None:
    """Write the names of the axes, in as many lines as they need."""
    across, up = names_of_axes(panel, x, y)
    panel.set_xlabel(across, parse_math=False)
    panel.set_ylabel(up, parse_math=False)


def name_figure(panel: "Axes", x: str, y: str) -> None:
    """Write the names that all panels of a figure share."""
    figure = panel.get_figure(root=True)
    assert figure is not None
    across, up = names_of_axes(panel, x, y)
    figure.supxlabel(across, fontsize=LETTERS, color=INK, parse_math=False)
    figure.supylabel(up, fontsize=LETTERS, color=INK, parse_math=False)


def names_of_axes(panel: "Axes", x: str, y: str) -> tuple[str, str]:
    """Names of the axes in lines that fit, before title and subtitle are over them; three of them at most."""
    width, height = (float(value) for value in panel.get_figure(root=True).get_size_inches())  # type: ignore[union-attr]
    return lettering.balanced(x, 0.85 * width, LETTERS), lettering.balanced(y, max(0.82 * height, 1.2), LETTERS)


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
