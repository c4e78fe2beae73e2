"""`cl.descriptives`: variables by level as a table for publication."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from crosslevel.diagnostics.by_level import ROWS, LevelSummary, summarise_by_level
from crosslevel.display import counted
from crosslevel.errors import CrosslevelError, DataError
from crosslevel.report.tables.cells import beside, count_cell, finite, fixed_cell, writer
from crosslevel.report.tables.formats import BINARY, check_format, rendered, saved
from crosslevel.report.tables.labels import clean
from crosslevel.report.tables.lines import number_of_digits
from crosslevel.report.tables.record import Heading, Line, Printed, PublicationTable, TableFormat
from crosslevel.table import Columns, group_names
from crosslevel.types import Frame

NUMBERS = ("mean", "sd", "min", "max")


def descriptives(
    data: Frame,
    group: str | Sequence[str] | None = None,
    variables: str | Sequence[str] | Mapping[str, str] | None = None,
    *,
    by: str | None = None,
    digits: int = 2,
    notes: str | Sequence[str] = (),
    title: str = "",
    label: str = "",
    format: TableFormat | None = None,
    path: str | os.PathLike[str] | None = None,
) -> PublicationTable | str | bytes | Path:
    """Variables described at their own level, as a table for publication.

    mean = sum x / n and sd^2 = sum (x - mean)^2 / (n - 1): of variables of rows over rows, of variables that are
    constant within clusters over clusters, each of which counts once. Of categories the share is told.

    Parameters
    ----------
    data : any data frame.
    group : the column of the clusters, or several; a variable belongs to the factor with the fewest clusters that it is
        constant within. None: all variables are those of rows.
    variables : columns, in order, or labels by column; all but the clusters if None.
    by : a column of few categories: a column of the table for each, with means and standard deviations.
    digits : decimals of means, standard deviations, and ranges.
    notes : more notes.
    title, label : title, and LaTeX's label for cross-references.
    format, path : as in `table`.

    Returns
    -------
    PublicationTable : see `table`; `.frame` has the numbers. With `format` or `path` as in `table`.

    Raises
    ------
    ColumnNotFoundError : a name that is no column.
    DataError : no variables, or `by` with too many categories.

    Examples
    --------
    >>> import crosslevel as cl
    >>> print(cl.descriptives(cl.datasets.load("hsb"), "school", ["mathach", "ses", "sector"]))
    ───────────────────────────────────────────────────────────
                            N   Mean    SD    Min    Max    ICC
    ───────────────────────────────────────────────────────────
    Rows (7,185)
      mathach           7,185  12.75  6.88  -2.83  24.99  0.174
      ses               7,185   0.00  0.78  -3.76   2.69  0.267
    Clusters: school (160)
      sector: Public       90  56.2%
      sector: Catholic     70  43.8%
    ───────────────────────────────────────────────────────────
    Categories: their shares.
    Variables of clusters: each cluster counts once.
    ICC: share of the variance that lies between clusters (analysis of variance).
    """
    if format is not None:
        check_format(format)
    if format in BINARY and path is None:
        raise CrosslevelError(f"`path` is needed with format={format!r}: the file to write, such as 'table.{format}'.")
    digits = number_of_digits(digits)
    columns = Columns.from_frame(data)
    groups = [] if group is None else [group] if isinstance(group, str) else list(dict.fromkeys(group))
    columns.require([part for name in groups for part in group_names(columns, name)], "group")
    columns.require([] if by is None else [by], "by")
    chosen = _chosen(columns, variables, [*groups, by])
    found = summarise_by_level(columns, groups, list(chosen), by)
    headings, lines = (_by_subset if found.subsets else _by_statistic)(found, chosen, groups, digits)
    made = PublicationTable(
        headings=headings, lines=tuple(lines), title=clean(title), label=label, frame=found.frame,
        notes=(*_notes(found, groups), *map(clean, [notes] if isinstance(notes, str) else notes)),
    )  # fmt: skip
    if path is not None:
        return saved(made, path, format=format)
    return made if format is None else rendered(made, format, document=False)


def _chosen(
    columns: Columns, variables: str | Sequence[str] | Mapping[str, str] | None, others: Sequence[str | None]
) -> dict[str, str]:
    """Labels by variable, in order."""
    if variables is None:
        names = {name: name for name in columns.names if name not in others}
    elif isinstance(variables, Mapping):
        names = {str(name): str(label) for name, label in variables.items()}
    else:
        names = {name: name for name in ([variables] if isinstance(variables, str) else variables)}
    columns.require(names, "variables")
    if not names:
        raise DataError("`variables` is empty. Name columns to describe, or leave it out for all of them.")
    return {name: clean(label) for name, label in names.items()}


def _sections(found: LevelSummary, groups: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """The variables of each level under its heading."""
    for level in (ROWS, *groups):
        mine = found.frame[found.frame["level"] == level]
        size = counted(found.sizes[level, ""])
        if len(mine):
            yield f"Rows ({size})" if level == ROWS else f"Clusters: {clean(level)} ({size})", mine


def _by_statistic(
    found: LevelSummary, labels: Mapping[str, str], groups: Sequence[str], digits: int
) -> tuple[tuple[str, ...], list[Line | Heading]]:
    """Columns of numbers, means and so on."""
    with_missing = bool((found.frame["missing"] > 0).any())
    shares = [f"icc ({name})" for name in groups if (found.frame["level"] == ROWS).any()]
    names = ["N", *(["Missing"] if with_missing else []), "Mean", "SD", "Min", "Max"]
    names += ["ICC"] if len(shares) == 1 else [f"ICC ({clean(name)})" for name in groups] if shares else []
    lines: list[Line | Heading] = []
    for heading, frame in _sections(found, groups):
        lines.append(Heading(heading))
        for _, row in frame.iterrows():
            cells: list[Printed | None] = [count_cell(row["n"])]
            cells += [count_cell(row["missing"])] if with_missing else []
            cells += [_number(row, name, digits) for name in NUMBERS]
            of_rows = row["level"] == ROWS
            cells += [fixed_cell(row[name], 3) if of_rows and finite(row[name]) else None for name in shares]
            lines.append(Line(label=_label(row, labels), cells=tuple(cells)))
    return ("", *names), lines


def _by_subset(
    found: LevelSummary, labels: Mapping[str, str], groups: Sequence[str], digits: int
) -> tuple[tuple[str, ...], list[Line | Heading]]:
    """A column for each subset, the last for all."""
    subsets = (*found.subsets, "")
    lines: list[Line | Heading] = []
    for heading, frame in _sections(found, groups):
        level = str(frame["level"].iloc[0])
        lines.append(Heading(heading))
        for _, whole in frame[frame["subset"] == ""].iterrows():
            same = frame[(frame["variable"] == whole["variable"]) & (frame["category"] == whole["category"])]
            rows = [same[same["subset"] == subset].iloc[0] for subset in subsets]
            cells = tuple(_mean_and_sd(row, digits) for row in rows)
            lines.append(Line(label=_label(whole, labels), cells=cells))
        lines.append(Line(label="N", cells=tuple(count_cell(found.sizes[level, subset]) for subset in subsets)))
    return ("", *map(clean, found.subsets), "All"), lines


def _label(row: pd.Series, labels: Mapping[str, str]) -> str:
    """The variable, and its category."""
    name = labels[row["variable"]]
    return f"{name}: {clean(row['category'])}" if row["category"] else name


def _number(row: pd.Series, name: str, digits: int) -> Printed | None:
    """A mean and so on; of a category its share in percent, and nothing else."""
    value = float(row[name])
    if math.isnan(value):
        return None
    if row["category"]:
        share = fixed_cell(100.0 * value, 1)
        return Printed(number=share.number, after="%", value=share.value)
    extreme = "e" in (written := writer({"estimate": value}, None)(value))
    return Printed(number=written, value=value) if extreme else fixed_cell(value, digits)


def _mean_and_sd(row: pd.Series, digits: int) -> Printed | None:
    """Mean with standard deviation, or a share."""
    mean, sd = _number(row, "mean", digits), _number(row, "sd", digits)
    if mean is None or sd is None:
        return mean
    return beside(mean, [Printed(before=f"({sd.text})")])


def _notes(found: LevelSummary, groups: Sequence[str]) -> Iterator[str]:
    """What the numbers are."""
    frame = found.frame
    if found.subsets:
        yield "Means with standard deviations in parentheses."
    if (frame["category"] != "").any():
        yield "Categories: their shares."
    if (frame["level"] != ROWS).any():
        yield "Variables of clusters: each cluster counts once."
    if groups and not found.subsets and (frame["level"] == ROWS).any():
        yield "ICC: share of the variance that lies between clusters (analysis of variance)."
