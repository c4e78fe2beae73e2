"""Data that come with the package, as files like a user's own: `list()`, `load(name)`, `path(name)`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from crosslevel.errors import DataError
from crosslevel.table.read import read

__all__ = ["Dataset", "list", "load", "path"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What is known of one data set.

    Parameters
    ----------
    description : what was measured, on whom.
    group : the column of cluster ids.
    rows : number of rows.
    clusters : number of clusters.
    file : name of the file in this package.
    source : where the data are from.

    Examples
    --------
    >>> from crosslevel.datasets import DATASETS
    >>> DATASETS["hsb"].clusters
    160
    """

    description: str
    group: str
    rows: int
    clusters: int
    file: str
    source: str


DATASETS = {
    "hsb": Dataset(
        description="Mathematics achievement of pupils in public and Catholic schools of the United States, 1982",
        group="school",
        rows=7185,
        clusters=160,
        file="hsb.dta",
        source=(
            "High School and Beyond, 1982, National Center for Education Statistics; the extract of Raudenbush, S. W. "
            "& Bryk, A. S. (2002), Hierarchical Linear Models, 2nd ed., Sage, ch. 4, as distributed in the R package "
            "mlmRev (Hsb82). `meanses` is a given column: in this extract the mean of `ses` over the school's sampled "
            "pupils. "
            "The edition that comes with the program HLM has it rounded and about 0.006 higher."
        ),
    ),
    "sleepstudy": Dataset(
        description="Reaction time of subjects on the first ten days of a study with restricted sleep",
        group="Subject",
        rows=180,
        clusters=18,
        file="sleepstudy.dta",
        source=(
            "Belenky, G. et al. (2003), Patterns of performance degradation and restoration during sleep restriction "
            "and subsequent recovery, Journal of Sleep Research 12, 1-12; the group with 3 hours in bed, as "
            "distributed in the R package lme4 (sleepstudy)."
        ),
    ),
}


def list() -> pd.DataFrame:
    """The data sets that come with the package.

    Returns
    -------
    frame : one row per data set, indexed by name: description, group, rows, clusters, file, source.

    Examples
    --------
    >>> from crosslevel import datasets
    >>> datasets.list()[["group", "rows", "clusters"]].reset_index()
             name    group  rows  clusters
    0         hsb   school  7185       160
    1  sleepstudy  Subject   180        18
    """
    return pd.DataFrame([asdict(dataset) for dataset in DATASETS.values()], index=pd.Index(DATASETS, name="name"))


def path(name: str) -> Path:
    """The file of a data set, to be read as a user's own would be.

    Parameters
    ----------
    name : one of the names in `list()`.

    Returns
    -------
    path : of the file within the installed package.

    Raises
    ------
    DataError : no data set of that name.

    Examples
    --------
    >>> path("hsb").name
    'hsb.dta'
    """
    if name not in DATASETS:
        close = get_close_matches(str(name).lower(), DATASETS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise DataError(f"`name` must be one of {', '.join(map(repr, DATASETS))}; got {name!r}.{hint}")
    return Path(__file__).with_name(DATASETS[name].file)


def load(name: str) -> pd.DataFrame:
    """A data set as a pandas frame, its variable labels in ``attrs["labels"]``.

    Parameters
    ----------
    name : one of the names in `list()`.

    Returns
    -------
    data : a frame of its own, that may be changed.

    Raises
    ------
    DataError : no data set of that name.

    Examples
    --------
    >>> data = load("sleepstudy")
    >>> data.head(2)
       Reaction  Days Subject
    0  249.5600     0     308
    1  258.7047     1     308
    >>> data.attrs["labels"]["Reaction"]
    'Average reaction time (ms)'
    """
    return read(path(name))
