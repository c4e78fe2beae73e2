"""Folders of studies, read back: the replications, and measures of them."""

import os
from pathlib import Path

import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.simulation.studies.description import shown
from crosslevel.simulation.studies.fold import Fold, Outline, spans
from crosslevel.simulation.studies.measures import measured
from crosslevel.simulation.studies.store import Store, frames


def replications(folder: str | os.PathLike[str], condition: int | None = None) -> pd.DataFrame:
    """Every estimate and interval that a study has written into its folder.

    Parameters
    ----------
    folder : of the study.
    condition : number of the only one to read; all if None.

    Returns
    -------
    frame : a row for each condition, replication, estimator, term and interval: `condition` (its number), a column for
        each factor, `replication`, `estimator`, `term`, `outcome` ("fitted", or how the fit failed), `singular`,
        `estimate`, `std_error`, `interval`, `low`, `high`.

    Raises
    ------
    FileError : it is not the folder of a study.

    Examples
    --------
    >>> import crosslevel as cl
    >>> from tempfile import TemporaryDirectory
    >>> study = cl.lab.heisig2017("dce", clusters=15, slopes=1, slope_sd=0.2, between=0.15)
    >>> with TemporaryDirectory() as folder:
    ...     found = study.run(reps=20, seed=1, folder=folder, progress=False)
    ...     rows = cl.lab.replications(folder)
    >>> rows["replication"].nunique()
    20
    """
    store = Store(folder=Path(folder).expanduser())
    parts = []
    for outline, path in frames(store):
        if condition in (None, outline.number):
            frame = store.frame(path)
            for place, (name, level) in enumerate({"condition": outline.number, **outline.levels}.items()):
                frame.insert(place, name, shown(level))
            parts.append(frame)
    if not parts:
        which = "" if condition is None else f" of condition {condition}"
        raise CrosslevelError(
            f"`folder` is {str(store.folder)!r}, which holds no finished batch{which}. Run the study."
        )
    return pd.concat(parts, ignore_index=True)


def summarise(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Measures of what a study has written into its folder so far, also while it runs.

    Of each condition the replications count that follow from the first without a gap; conditions without any are left
    out. The frame is that of `Study.run`, whose `reps` may differ between conditions.

    Parameters
    ----------
    folder : of the study.

    Returns
    -------
    frame : a row for each condition, estimator and measure.

    Raises
    ------
    FileError : it is not the folder of a study.

    Examples
    --------
    >>> import crosslevel as cl
    >>> from tempfile import TemporaryDirectory
    >>> study = cl.lab.heisig2017("dce", clusters=15, slopes=1, slope_sd=0.2, between=0.15)
    >>> with TemporaryDirectory() as folder:
    ...     found = study.run(reps=20, seed=1, folder=folder, progress=False)
    ...     again = cl.lab.summarise(folder)
    >>> int(again["reps"].max())
    20
    """
    store = Store(folder=Path(folder).expanduser())
    parts = [_measured(store, outline) for outline in store.outlines()]
    there = [part for part in parts if part is not None]
    if not there:
        raise CrosslevelError(f"`folder` is {str(store.folder)!r}, which holds no finished batch. Run the study.")
    return pd.concat(there, ignore_index=True)


def _measured(store: Store, outline: Outline) -> pd.DataFrame | None:
    """Measures of one condition; None if nothing is there."""
    files = store.files(outline.number)
    most = max((stop for _, stop, _ in files), default=0)
    lacking, used = spans(most, 1, [(start, stop) for start, stop, _ in files])
    reps = lacking[0][0] if lacking else most
    if reps == 0:
        return None
    fold = Fold(outline, reps)
    for k in used:
        start, _, path = files[k]
        if start < reps:
            fold.add(start, lambda path=path: store.read(path, outline))  # type: ignore[misc]
    return measured(outline, fold.tallies)
