"""Marks: what a figure says of each thing that it shows, where an interactive drawing can tell it."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crosslevel.display import counted, number
from crosslevel.errors import CrosslevelError
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = "_crosslevel_labels"
"""Attribute of an artist that holds what its marks say; matplotlib copies and pickles it with the artist."""

LONGEST = 56
"""Characters of a line in what a mark says."""

POINTS_PER_INCH = 72.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Mark:
    """One mark of a drawing, in points from its top left corner.

    Attributes
    ----------
    label : what it says: a name, then a line for each number.
    outline : (1, 2) the centre of a dot, or (k, 2) the corners of a line or an area.
    radius : of a dot; 0 for others.
    closed : whether the outline is that of an area.
    frame : left, top, width, height of the panel, outside of which nothing shows.
    """

    label: str
    outline: FloatArray
    radius: float
    closed: bool
    frame: tuple[float, float, float, float]


def told(names: Iterable[object], numbers: Mapping[str, Any]) -> list[str]:
    r"""Say what marks are: in the first line the name, below it each number with its name.

    Parameters
    ----------
    names : of the n marks.
    numbers : name -> (n,) values, or a pair of (n,) values for the two ends of an interval; missing ones are left out.

    Returns
    -------
    labels : n texts of several lines.

    Examples
    --------
    >>> told(["Austria"], {"rows": [812], "estimate": [0.251], "95 % interval": ([0.1], [0.4])})
    ['Austria\nrows 812\nestimate 0.251\n95 % interval 0.100 to 0.400']
    """
    lines = [[str(name)] for name in names]
    for what, values in numbers.items():
        columns = values if isinstance(values, tuple) else (values,)
        for own, row in zip(lines, zip(*columns, strict=True), strict=True):
            shown = [_shown(value) for value in row]
            own.extend([f"{what} {' to '.join(shown)}"] if all(shown) else [])
    return ["\n".join(textwrap.shorten(line, LONGEST, placeholder=" …") or "…" for line in own) for own in lines]


def _shown(value: Any) -> str:
    """A value in a label; empty where it is missing."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return counted(int(value))
    if isinstance(value, float | np.floating):
        return number(float(value))
    return "" if value is None else str(value)


def mark(artist: "Artist | Sequence[Artist]", labels: Sequence[str]) -> None:
    """Say what each mark of an artist is, for interactive drawings; other drawings are as they were.

    Marks with the same first line, which is their name, are highlighted together.

    Parameters
    ----------
    artist : points (of `scatter`, or of `plot` with markers), lines (a collection, or one line), or bars.
    labels : for each mark its text, see `told`; one for a line without markers.

    Raises
    ------
    CrosslevelError : not as many labels as marks.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> panel = Figure().subplots()
    >>> mark(panel.scatter([1, 2], [3, 4]), ["a", "b"])
    """
    artists = list(artist) if isinstance(artist, Sequence) else [artist]
    if len(artists) > 1 or isinstance(artist, Sequence):
        if len(artists) != len(labels):
            raise CrosslevelError(f"`labels` has {len(labels)} texts for {len(artists)} artists; give one for each.")
        for each, label in zip(artists, labels, strict=True):
            mark(each, [label])
        return
    count = _count(artists[0])
    if count != len(labels):
        raise CrosslevelError(f"`labels` has {len(labels)} texts for {count} marks; give one for each.")
    setattr(artists[0], LABELS, tuple(str(label) for label in labels))


def _count(artist: Any) -> int:
    """How many marks an artist has."""
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.lines import Line2D

    if isinstance(artist, PathCollection):
        return len(artist.get_offsets())  # type: ignore[arg-type]
    if isinstance(artist, LineCollection):
        return len(artist.get_paths())
    if isinstance(artist, Line2D) and artist.get_marker() not in (None, "None", "", " "):
        return len(artist.get_xdata())  # type: ignore[arg-type]
    return 1


def marks_of(figure: "Figure") -> list[Mark]:
    """The marks of a figure that was drawn at 72 dots per inch, those outside of their panels left out."""
    height = float(figure.get_size_inches()[1]) * POINTS_PER_INCH
    found: list[Mark] = []
    for panel in figure.axes:
        if not panel.get_visible():
            continue
        for artist in panel.get_children():
            labels = getattr(artist, LABELS, None)
            if labels is not None and artist.get_visible():
                found.extend(_marks(artist, labels, panel, height))
    return found


def _marks(artist: Any, labels: Sequence[str], panel: "Axes", height: float) -> Iterator[Mark]:
    """The marks of one artist that can be seen."""
    box = panel.bbox
    frame = (box.x0, height - box.y1, box.width, box.height)
    for label, (outline, radius, closed) in zip(labels, _outlines(artist), strict=True):
        if not len(outline) or not np.isfinite(outline).all():
            continue
        low, high = outline.min(axis=0), outline.max(axis=0)
        # half a point to spare: marks stand on the edge of a panel where its limits are those of the data
        apart = high[0] < box.x0 - 0.5 or low[0] > box.x1 + 0.5 or high[1] < box.y0 - 0.5 or low[1] > box.y1 + 0.5
        if apart and artist.get_clip_on():
            continue
        flipped = np.column_stack([outline[:, 0], height - outline[:, 1]])
        yield Mark(label=label, outline=flipped, radius=radius, closed=closed, frame=frame)


def _outlines(artist: Any) -> Iterator[tuple[FloatArray, float, bool]]:
    """Outline in points from the bottom left, radius, and whether it is closed, for each mark of an artist."""
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.lines import Line2D

    if isinstance(artist, PathCollection):
        places: FloatArray = np.ma.filled(np.ma.asarray(artist.get_offsets(), dtype=float), np.nan)
        sizes = np.resize(np.sqrt(artist.get_sizes()) / 2.0, len(places))
        for place, radius in zip(_moved(artist.get_offset_transform(), places), sizes, strict=True):
            yield place[None], float(radius), False
    elif isinstance(artist, LineCollection):
        transform = artist.get_transform()
        for path in artist.get_paths():
            yield _moved(transform, path.vertices), 0.0, False
    elif isinstance(artist, Line2D):
        places = _moved(artist.get_transform(), np.asarray(artist.get_xydata(), dtype=float))
        if artist.get_marker() in (None, "None", "", " "):
            yield places[np.isfinite(places).all(axis=1)], 0.0, False
        else:
            for place in places:
                yield place[None], float(artist.get_markersize()) / 2.0, False
    else:
        yield _moved(artist.get_transform(), artist.get_path().to_polygons()[0]), 0.0, True


def _moved(transform: Any, places: Any) -> FloatArray:
    """Places (k, 2) of a panel, in points of the page."""
    # a logarithmic axis has no place for what is not positive: such marks are left out by the caller
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(transform.transform(np.asarray(places, dtype=float).reshape(-1, 2)), dtype=float)
