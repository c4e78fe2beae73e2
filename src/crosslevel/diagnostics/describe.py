"""`describe`: cluster sizes, and how each variable varies within and between clusters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.display import Column, Document, Note, Paragraph, Table
from crosslevel.display.blocks import Block
from crosslevel.errors import DataError
from crosslevel.inference.anova import VarianceComponents, variance_components
from crosslevel.table import Columns, Factor, group_codes, group_names
from crosslevel.table.missing_codes import codes_in_words, likely_codes
from crosslevel.types import CodeArray, FloatArray, Frame, IntArray

MOST_LEVELS = 12
"""A categorical variable with more levels is described in one line, without its levels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Description:
    """What `describe` found.

    Parameters
    ----------
    group : the grouping variable.
    n_rows : rows of the data.
    n_without_group : rows whose cluster is missing; they are left out of everything below.
    sizes : rows of each cluster, indexed by cluster.
    frame : one row per numeric variable; of a categorical variable one row per level, called ``variable[level]``, or
        for its second level only where it has two. Columns:

        - ``variable``, ``level`` (empty for a number), ``kind`` ("numeric", "binary" or "categorical"), ``label``
        - ``n``, ``missing``, ``mean`` (of a level: its share), ``sd``
        - ``within_variance``, ``between_variance``, ``icc``, ``icc_std_error``: see `variance_components`; of a level
          those of its indicator, 1 where the variable has this level and 0 elsewhere (a linear probability model)
        - ``clusters`` with at least one value
        - ``distinct_min``, ``distinct_median``, ``distinct_max``: different values per cluster
        - ``constant_within``: never more than one value per cluster, so a variable of the clusters
    codes : by numeric variable the values that look like codes of missing answers, and the rows of each.
    """

    group: str
    n_rows: int
    n_without_group: int
    sizes: pd.Series[int]
    frame: pd.DataFrame
    codes: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    @property
    def size_summary(self) -> pd.Series[float]:
        """Number of clusters and rows, and the smallest, quartiles, largest and mean size."""
        q25, median, q75 = np.quantile(self.sizes, [0.25, 0.5, 0.75])
        return pd.Series(
            {
                "clusters": float(len(self.sizes)),
                "rows": float(self.sizes.sum()),
                "min": float(self.sizes.min()),
                "q25": float(q25),
                "median": float(median),
                "q75": float(q75),
                "max": float(self.sizes.max()),
                "mean": float(self.sizes.mean()),
            },
            name="size",
        )

    def document(self) -> Document:
        """The description as a document of tables."""
        return Document(f"Variables by {self.group}", list(_blocks(self)))

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.document()._repr_html_()


def describe(data: Frame, group: str | Sequence[str], variables: str | Sequence[str] | None = None) -> Description:
    """Cluster sizes, and of each variable the variance within and between clusters.

    Parameters
    ----------
    data : any data frame.
    group : the column of cluster ids; ``"school:room"`` for the combinations of two columns.
    variables : the columns to describe; all others by default.

    Returns
    -------
    description : prints as tables; ``description.frame`` and ``description.sizes`` have the numbers.

    Raises
    ------
    ColumnNotFoundError : `group` or one of `variables` is not a column.
    DataError : no row has a cluster; the clusters are measurements rather than ids; a variable has infinite values.

    Examples
    --------
    >>> from crosslevel import datasets
    >>> found = describe(datasets.load("hsb"), "school", ["mathach", "ses", "sector"])
    >>> found.frame[["mean", "within_variance", "between_variance", "icc"]].round(3)
                        mean  within_variance  between_variance    icc
    mathach           12.748           39.142             8.222  0.174
    ses                0.000            0.446             0.162  0.267
    sector[Catholic]   0.493            0.000             0.252  1.000
    >>> found.frame["constant_within"].tolist()
    [False, False, True]
    >>> found.size_summary[["clusters", "min", "median", "max"]].tolist()
    [160.0, 14.0, 47.0, 67.0]
    """
    columns = Columns.from_frame(data)
    names = _group_names(columns, group)
    chosen = [variables] if isinstance(variables, str) else variables
    if chosen is None:
        chosen = [name for name in columns.names if name not in names]
    columns.require(chosen, "variables")
    factor = group_codes(columns, names)
    _refuse_unusable_group(factor)
    rows = [row for name in dict.fromkeys(chosen) for row in _described(columns, name, factor)]
    frame = pd.DataFrame.from_dict(dict(rows), orient="index", columns=FIELDS)
    return Description(
        group=factor.name,
        n_rows=columns.n_rows,
        n_without_group=factor.n_missing,
        sizes=pd.Series(factor.sizes, index=pd.Index(list(factor.levels), name=factor.name), name="rows"),
        frame=frame,
        codes={name: found for name in dict.fromkeys(chosen) if (found := _codes(columns, name, factor))},
    )


FIELDS = [
    *("variable", "level", "kind", "label", "n", "missing", "mean", "sd"),
    *("within_variance", "between_variance", "icc", "icc_std_error", "clusters"),
    *("distinct_min", "distinct_median", "distinct_max", "constant_within"),
]


def _group_names(columns: Columns, group: str | Sequence[str]) -> tuple[str, ...]:
    """The columns that make the clusters."""
    if not isinstance(group, str):
        if len(group) != 1:
            raise DataError(
                f"`group` must be one column, got {len(group)}: {', '.join(map(repr, group))}. Describe one grouping "
                f"at a time; their combinations are written {':'.join(map(str, group)) or 'a:b'!r}."
            )
        group = group[0]
    parts = group_names(columns, group)
    columns.require(parts, "group")
    return parts


def _refuse_unusable_group(factor: Factor) -> None:
    if not factor.n_levels:
        raise DataError(f"`group`: column {factor.name!r} is missing in all {len(factor.codes)} rows.")
    if factor.is_continuous:
        raise DataError(
            f"`group`: column {factor.name!r} looks like a measurement, not like ids of clusters: {factor.n_levels} "
            f"different values, such as {factor.levels[0]!r}, in {len(factor.codes)} rows. Name the column of the ids."
        )


def _described(columns: Columns, name: str, factor: Factor) -> Iterator[tuple[str, list[Any]]]:
    """The rows of the frame for one variable, each with its name."""
    present = factor.codes >= 0
    missing = columns.missing(name)
    if missing is not None:
        present &= ~missing
    absent = int(np.count_nonzero(factor.codes >= 0)) - int(np.count_nonzero(present))
    clusters = factor.codes[present]
    label = columns.labels.get(name, "")

    if columns.is_numeric(name):
        values = columns.numeric(name)[present]
        _refuse_infinite(values, name)
        codes = pd.factorize(values)[0]
        kind = "binary" if codes.max(initial=0) == 1 else "numeric"
        found = variance_components(values, clusters)
        yield name, [name, "", kind, label, *_numbers(found, absent), *_distinct(clusters, codes)]
        return

    variable = columns.factor(name)
    levels = variable.codes[present]
    distinct = _distinct(clusters, levels)
    if variable.n_levels > MOST_LEVELS or not levels.size:
        nothing = VarianceComponents(**{**dict.fromkeys(NUMBERS, np.nan), "n": levels.size, "clusters": distinct[0]})
        yield name, [name, "", "categorical", label, *_numbers(nothing, absent), *distinct]
        return
    kind = "binary" if variable.n_levels == 2 else "categorical"
    for level in range(1 if kind == "binary" else 0, variable.n_levels):
        found = variance_components((levels == level).astype(np.float64), clusters)
        word = str(variable.levels[level])
        yield f"{name}[{word}]", [name, word, kind, label, *_numbers(found, absent), *distinct]


def _codes(columns: Columns, name: str, factor: Factor) -> dict[int, int]:
    """What looks like codes of missing answers in a column."""
    if not columns.is_numeric(name):
        return {}
    return likely_codes(columns.numeric(name)[factor.codes >= 0])


NUMBERS = ("n", "clusters", "n0", "mean", "sd", "within", "between", "icc", "icc_std_error")


def _numbers(found: VarianceComponents, absent: int) -> list[float]:
    """The fields from `n` to `icc_std_error`."""
    return [found.n, absent, found.mean, found.sd, found.within, found.between, found.icc, found.icc_std_error]


def _distinct(clusters: CodeArray, codes: IntArray | CodeArray) -> list[Any]:
    """Clusters with a value; the least, median and most different values per cluster; whether none has two."""
    if not codes.size:
        return [0, np.nan, np.nan, np.nan, False]
    pairs = np.sort(clusters.astype(np.int64) * (int(codes.max()) + 1) + codes)
    firsts = pairs[np.flatnonzero(np.diff(pairs, prepend=-1))] // (int(codes.max()) + 1)
    counts = np.bincount(firsts)
    counts = counts[counts > 0]
    return [counts.size, int(counts.min()), float(np.median(counts)), int(counts.max()), bool(counts.max() == 1)]


def _refuse_infinite(values: FloatArray, name: str) -> None:
    infinite = int(np.count_nonzero(np.isinf(values)))
    if infinite:
        values_are = "value" if infinite == 1 else "values"
        raise DataError(
            f"`variables`: column {name!r} has {infinite} infinite {values_are} (a division by zero, "
            "or the logarithm of zero?). Correct them, or make them missing."
        )


def _blocks(found: Description) -> Iterator[Block]:
    """The parts of the document."""
    summary = found.size_summary
    without = f"; {found.n_without_group:,} without a cluster left out" if found.n_without_group else ""
    yield Paragraph(f"{found.n_rows:,} rows in {len(found.sizes):,} clusters of {found.group}{without}.")
    yield Table(
        [Column(word, format="count") for word in ("Min", "25%", "Median", "75%", "Max")]
        + [Column("Mean", format="fixed", decimals=1)],
        [[summary[name] for name in ("min", "q25", "median", "q75", "max", "mean")]],
        title="Rows per cluster",
    )
    if found.frame.empty:
        return
    labels = {str(row.variable): str(row.label) for row in found.frame.itertuples() if row.label}
    yield _values_table(found.frame, labels)
    yield _variance_table(found.frame)
    if found.codes:
        yield Note(codes_in_words(found.codes), kind="warning")
    yield from _remarks(found.frame)


def _values_table(frame: pd.DataFrame, labels: Mapping[str, str]) -> Table:
    """What each variable is like, clusters aside."""
    rows = [
        [name, row.n, row.missing, row.mean, row.sd, _spread(row), "clusters" if row.constant_within else "rows"]
        for name, row in zip(frame.index, frame.itertuples(), strict=True)
    ]
    heads: list[str | Column] = [
        "Variable",
        Column("n", format="count"),
        Column("Missing", format="count"),
        Column("Mean", format="number"),
        Column("SD", format="number"),
        Column("Distinct", align="right"),
        "Varies between",
    ]
    notes = ["Distinct: different values per cluster (least, median, most). Mean of a category: its share."]
    return Table(heads, rows, title="Variables", notes=notes + [f"{name}: {label}" for name, label in labels.items()])


def _spread(row: Any) -> str:
    """Different values per cluster in few signs."""
    if not row.clusters:
        return ""
    if row.distinct_min == row.distinct_max:
        return f"{row.distinct_min:g}"
    return f"{row.distinct_min:g}, {row.distinct_median:g}, {row.distinct_max:g}"


def _variance_table(frame: pd.DataFrame) -> Table:
    """How each variable varies within and between clusters."""
    rows = [
        [name, row.within_variance, row.between_variance, row.icc, row.icc_std_error]
        for name, row in zip(frame.index, frame.itertuples(), strict=True)
    ]
    heads: list[str | Column] = [
        "Variable",
        *(Column(word, format="number") for word in ("Within", "Between", "ICC", "SE")),
    ]
    return Table(
        heads,
        rows,
        title="Variance within and between clusters",
        notes=[
            "Moment estimates of the analysis of variance; those of a fitted model differ a little.",
            "ICC: share of the variance that lies between clusters. SE: its standard error.",
        ],
    )


def _remarks(frame: pd.DataFrame) -> Iterator[Note]:
    """What a reader of the numbers should know."""
    if (frame["kind"] != "numeric").any():
        yield Note("Variances and ICC of a category or a yes/no variable are those of its indicator, 0 or 1.")
    negative = frame.index[frame["between_variance"] < 0].tolist()
    if negative:
        yield Note(
            f"The between variance of {', '.join(negative)} is below zero: the clusters differ less than chance alone "
            "would make them differ. Read it as zero."
        )
