"""`missing_patterns`: which variables are missing together, in which clusters, and in which rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from crosslevel.diagnostics.diagnostic import Concern
from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.inference.anova import variance_components
from crosslevel.inference.distributions import two_sided_p
from crosslevel.table import Columns, group_codes, group_names
from crosslevel.types import BoolArray, CodeArray, FloatArray, Frame

COMPLETE = (0.95, 0.8)
"""Shares of complete rows below which missing values are worth a look, and something to act on."""

RELATED = 0.1
"""Difference in standard deviations from which on missing values are told to depend on a variable."""

CLEAR = 0.001
"""p-value below which that difference is taken for one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MissingPatterns:
    """Missing values by variable, by pattern and by cluster.

    Attributes
    ----------
    group : the clusters.
    names : the variables.
    levels : the J clusters.
    n_without_group : rows whose cluster is missing; they are left out of everything else.
    codes : (n,) cluster of each row.
    missing : (n, k) whether a variable is missing.
    values : (n,) values of the numeric variables, by name, for what missing values are related to.
    """

    group: str
    names: tuple[str, ...]
    levels: tuple[object, ...] = field(repr=False)
    n_without_group: int
    codes: CodeArray = field(repr=False)
    missing: BoolArray = field(repr=False)
    values: dict[str, FloatArray] = field(repr=False)

    @property
    def n_rows(self) -> int:
        """Rows that have a cluster."""
        return len(self.codes)

    @cached_property
    def complete(self) -> BoolArray:
        """(n,) rows without missing values."""
        return np.asarray(~self.missing.any(axis=1))

    @cached_property
    def clusters(self) -> pd.DataFrame:
        """By cluster: rows, complete rows, their share, and the share of missing values of each variable."""
        size = np.bincount(self.codes, minlength=len(self.levels))
        complete = np.bincount(self.codes, self.complete, len(self.levels))
        shares = {
            name: np.bincount(self.codes, column, len(self.levels)) / size
            for name, column in zip(self.names, self.missing.T, strict=True)
        }
        frame = pd.DataFrame({"rows": size, "complete": complete.astype(np.int64), "complete_share": complete / size})
        return pd.concat([frame, pd.DataFrame(shares)], axis=1).set_axis(pd.Index(self.levels, name=self.group))

    @cached_property
    def frame(self) -> pd.DataFrame:
        """By variable: missing, share, icc, clusters_without, clusters_whole.

        icc : intraclass correlation of being missing (NaN if none or all are). clusters_without, clusters_whole:
        clusters in which all values are missing, and none.
        """
        shares = self.clusters[list(self.names)]
        rows = []
        for name, column in zip(self.names, self.missing.T, strict=True):
            varies = bool(column.any() and not column.all())
            icc = variance_components(column.astype(np.float64), self.codes).icc if varies else np.nan
            without, whole = int((shares[name] == 1.0).sum()), int((shares[name] == 0.0).sum())
            rows.append([int(column.sum()), float(column.mean()), icc, without, whole])
        names = ["missing", "share", "icc", "clusters_without", "clusters_whole"]
        return pd.DataFrame(rows, columns=names, index=pd.Index(self.names, name="variable"))

    @cached_property
    def patterns(self) -> pd.DataFrame:
        """The patterns, most rows first: whether each variable is missing, rows, share, clusters that have it."""
        found, place, counts = np.unique(self.missing, axis=0, return_inverse=True, return_counts=True)
        place = place.ravel()
        order = np.argsort(-counts, kind="stable")
        clusters = [len(np.unique(self.codes[place == k])) for k in order]
        frame = pd.DataFrame(found[order], columns=list(self.names))
        return frame.assign(rows=counts[order], share=counts[order] / self.n_rows, clusters=clusters)

    @cached_property
    def lost(self) -> tuple[str, ...]:
        """Clusters without a complete row: a model of all variables has nothing of them."""
        gone = self.clusters["complete"] == 0
        return tuple(str(level) for level in self.clusters.index[gone])

    @cached_property
    def related(self) -> pd.DataFrame:
        """What missing values go with: a row for each variable that has some, and each numeric one.

        Columns variable, other; within: mean of the other where the variable is missing less that where it is not,
        within clusters and in its standard deviations there, and its p-value (cluster-robust); between: correlation
        over clusters of the share missing with the other's mean, and its p-value. NaN where there is nothing to tell.
        """
        rows = [
            [name, other, *_within(values, column, self.codes), *_between(values, column, self.codes)]
            for name, column in zip(self.names, self.missing.T, strict=True)
            if column.any() and not column.all()
            for other, values in self.values.items()
            if other != name
        ]
        return pd.DataFrame(rows, columns=["variable", "other", "within", "p_within", "between", "p_between"])

    @property
    def concern(self) -> Concern:
        """The light: "act" where clusters are lost or many rows, "look" where some are, or not at random."""
        share = float(self.complete.mean())
        if self.lost or share < COMPLETE[1]:
            return "act"
        return "look" if share < COMPLETE[0] or len(self.telling) else "none"

    @property
    def telling(self) -> pd.DataFrame:
        """The rows of `related` that show a difference within clusters, the largest first."""
        size = self.related["within"].abs()
        kept = self.related[(size > RELATED) & (self.related["p_within"] < CLEAR)]
        return kept.iloc[np.argsort(-kept["within"].abs().to_numpy(), kind="stable")]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is missing where, in words with numbers, and what to do."""
        from crosslevel.diagnostics.sensitivity.missing_words import sentences

        return tuple(sentences(self))

    def document(self) -> Document:
        """Sentences, and tables by variable, by pattern and of the clusters that lose most."""
        from crosslevel.diagnostics.sensitivity.missing_words import write

        return write(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def missing_patterns(data: Frame, group: str, variables: Sequence[str] | str | None = None) -> MissingPatterns:
    """Find which variables are missing together, in which clusters, and what goes with it.

    A model leaves out rows with a missing value in any of its variables: where a variable was not asked in a country,
    all of the country is lost.

    Parameters
    ----------
    data : any data frame.
    group : the column of the clusters; "a:b" for the combinations of two columns.
    variables : the columns of a model; all others if None.

    Returns
    -------
    MissingPatterns : prints as sentences and tables; `.frame` by variable, `.patterns`, `.clusters`, `.related`; figure
        `cl.plot.missing`.

    Raises
    ------
    CrosslevelError : columns that the data lack, or no row with a cluster.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> data = data.assign(ses=data["ses"].where(data["school"] != "1224"))
    >>> found = cl.missing_patterns(data, "school", ["mathach", "ses"])
    >>> found.frame
              missing     share   icc  clusters_without  clusters_whole
    variable
    mathach         0  0.000000   NaN                 0             160
    ses            47  0.006541   1.0                 1             159
    >>> found.sentences[1]
    '1 of 160 clusters of school has no complete row and is lost: 1224.'
    """
    columns = Columns.from_frame(data)
    parts = group_names(columns, str(group))
    columns.require(parts, "group")
    asked = [variables] if isinstance(variables, str) else variables
    names = tuple(dict.fromkeys(asked if asked is not None else (n for n in columns.names if n not in parts)))
    columns.require(names, "variables")
    if not names:
        raise CrosslevelError("`variables` is empty. Name the columns of a model, or leave it out for all others.")
    factor = group_codes(columns, parts)
    there = factor.codes >= 0
    if not there.any():
        raise CrosslevelError(f"`group`: {group} is missing in all {len(there)} rows.")
    used, codes = np.unique(factor.codes[there], return_inverse=True)
    missing = np.zeros((int(there.sum()), len(names)), dtype=np.bool_)
    values = {}
    for k, name in enumerate(names):
        absent = columns.missing(name)
        if absent is not None:
            missing[:, k] = absent[there]
        if columns.is_numeric(name):
            values[name] = np.where(missing[:, k], np.nan, columns.numeric(name)[there])
    return MissingPatterns(
        group=":".join(parts), names=names, levels=tuple(factor.levels[int(k)] for k in used),
        n_without_group=int(np.count_nonzero(~there)), codes=codes.astype(np.int32), missing=missing, values=values,
    )  # fmt: skip


def _within(values: FloatArray, missing: BoolArray, codes: CodeArray) -> tuple[float, float]:
    """Difference of means within clusters in standard deviations, and its p-value by cluster-robust errors (CR1)."""
    fine = np.isfinite(values)
    y, x = values[fine], missing[fine].astype(np.float64)
    _, own = np.unique(codes[fine], return_inverse=True)
    size = np.bincount(own)
    y, x = (v - (np.bincount(own, v) / size)[own] for v in (y, x))
    spread, n_clusters = float(x @ x), len(size)
    if spread <= 1e-12 * len(x) or n_clusters < 3:
        return np.nan, np.nan
    slope = float(x @ y) / spread
    residual = y - slope * x
    scores = np.bincount(own, x * residual)
    error = np.sqrt(n_clusters / (n_clusters - 1.0) * float(scores @ scores)) / spread
    sd = float(np.sqrt(y @ y / max(len(y) - n_clusters, 1)))
    if not (sd > 0.0 and error > 0.0):
        return np.nan, np.nan
    p = two_sided_p(np.array([slope / error]), np.array([n_clusters - 1.0]))
    return slope / sd, float(p[0])


def _between(values: FloatArray, missing: BoolArray, codes: CodeArray) -> tuple[float, float]:
    """Correlation over clusters of the share missing with the mean of the others' values, and its p-value."""
    fine = np.isfinite(values)
    n = int(codes.max()) + 1
    count = np.bincount(codes[fine], minlength=n)
    has = count > 0
    mean = np.bincount(codes[fine], values[fine], n)[has] / count[has]
    share = (np.bincount(codes, missing, n) / np.bincount(codes, minlength=n))[has]
    if len(mean) < 4 or np.ptp(mean) <= 1e-12 * np.abs(mean).max(initial=0.0) or np.ptp(share) == 0.0:
        return np.nan, np.nan
    r = float(np.clip(np.corrcoef(mean, share)[0, 1], -1.0, 1.0))
    t = r * np.sqrt((len(mean) - 2.0) / max(1.0 - r**2, 1e-15))
    return r, float(two_sided_p(np.array([t]), np.array([len(mean) - 2.0]))[0])
