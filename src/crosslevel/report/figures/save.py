"""Figures as files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.interactive import interactive
from crosslevel.table.files import write_atomically

if TYPE_CHECKING:
    import os

    from matplotlib.figure import Figure

RESOLUTION = 300
"""Dots per inch of a picture that is printed."""

PAGE = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title></head>'
    '<body style="margin:1.5rem auto;max-width:{width}pt">{drawing}</body></html>\n'
)


def save(
    figure: "Figure",
    path: "str | os.PathLike[str]",
    formats: Sequence[str] | None = None,
    *,
    resolution: int = RESOLUTION,
) -> tuple[Path, ...]:
    """Write a figure to files, each whole or not at all; the same figure gives the same bytes.

    Parameters
    ----------
    figure : a figure of `crosslevel.plot`, or another of matplotlib.
    path : of the file; its ending says the format. Where `formats` are given, each is appended to it in turn.
    formats : "svg", "pdf" (drawn in lines, for print), "png" (drawn in dots) and "html" (interactive, see
        `interactive`); by the ending of `path` if None, or svg, pdf and png where it has none.
    resolution : of png, dots per inch.

    Returns
    -------
    files : what was written.

    Raises
    ------
    CrosslevelError : another format.
    FileError : a file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [file.name for file in save(cl.plot.caterpillar(fit), f"{folder}/subjects", formats=("svg", "pdf"))]
    ['subjects.svg', 'subjects.pdf']
    """
    makers: dict[str, Callable[[], bytes]] = {
        "svg": lambda: theme.svg(figure),
        "pdf": lambda: theme.pdf(figure),
        "png": lambda: theme.png(figure, resolution),
        "html": lambda: page(figure),
    }
    targets = files_of(Path(path), formats, list(makers))
    drawn = {file: makers[kind]() for file, kind in targets.items()}
    return tuple(write_atomically(file, content) for file, content in drawn.items())


def files_of(path: Path, formats: Sequence[str] | None, known: Sequence[str]) -> dict[Path, str]:
    """The files to write, with the format of each.

    Raises
    ------
    CrosslevelError : a format that figures do not have.
    """
    ending = path.suffix[1:].lower()
    if formats is None and ending in known:
        return {path: ending}
    # a name may have a dot without an ending: "model 1.2"
    if formats is None and ending.isalpha():
        raise CrosslevelError(f"`path` ends in {path.suffix!r}; figures are written as {', '.join(known)}.")
    asked = ["svg", "pdf", "png"] if formats is None else [formats] if isinstance(formats, str) else list(formats)
    wrong = [kind for kind in asked if kind not in known]
    if wrong or not asked:
        raise CrosslevelError(f"`formats` are some of {', '.join(map(repr, known))}; got {wrong or 'none'}.")
    stem = path.with_suffix("") if ending in known else path
    return {stem.with_name(f"{stem.name}.{kind}"): kind for kind in asked}


def page(figure: "Figure") -> bytes:
    """A page with nothing but the interactive drawing."""
    from html import escape

    title = escape(figure.texts[0].get_text().replace("\n", " ")) if figure.texts else "Figure"
    width = round(72.0 * float(figure.get_size_inches()[0]))
    return PAGE.format(title=title, width=width, drawing=interactive(figure)).encode("utf-8")
