"""Variables described at their own level: values of rows over rows, values of clusters over clusters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crosslevel.errors import DataError
from crosslevel.inference.anova import variance_components
from crosslevel.table import Columns, Factor, group_codes, group_names
from crosslevel.types import BoolArray, CodeArray, FloatArray, IntArray

ROWS = "rows"
"""The level of the rows."""

EMPTY = "(empty)"
"""Stands for a category that is a text without letters."""

MOST_LEVELS = 12
"""A categorical variable with more categories is described in one line."""

FIELDS = ("variable", "category", "level", "subset", "n", "missing", "mean", "sd", "min", "max")


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelSummary:
    """Variables described at their own level.

    Attributes
    ----------
    frame : a row for each variable (of a categorical one for each category) and subset: `variable`, `category` ("" for
        numbers), `level` ("rows" or a grouping factor), `subset` (a category of `by`; "" for all), `n` values (of a
        category how many have it), `missing`, `mean` (of a category its share), `sd`, `min`, `max`, and for each
        grouping factor "icc (<name>)", the share of the variance between its clusters (of all rows, by analysis of
        variance); NaN where it is not defined.
    sizes : how many there are of each level and subset.
    subsets : categories of `by`, in order; empty without.
    """

    frame: pd.DataFrame
    sizes: dict[tuple[str, str], int]
    subsets: tuple[str, ...]


def summarise_by_level(
    columns: Columns, groups: Sequence[str], variables: Sequence[str], by: str | None = None
) -> LevelSummary:
    """Describe variables at the level they vary at: that of the factor with fewest clusters they are constant within.

    mean = sum x / n, sd^2 = sum (x - mean)^2 / (n - 1), over rows, or over clusters with one value each.

    Parameters
    ----------
    columns : the data.
    groups : grouping factors; "school:room" for combinations of columns.
    variables : what is described.
    by : a categorical column, by whose categories everything is told, too.

    Raises
    ------
    DataError : `by` has too many categories, or a group is called as the rows are.

    Examples
    --------
    >>> from crosslevel import datasets
    >>> data = Columns.from_frame(datasets.load("hsb"))
    >>> summarise_by_level(data, ["school"], ["ses", "meanses"]).frame[["level", "n", "mean", "sd"]].round(3)
        level     n   mean     sd
    0    rows  7185  0.000  0.779
    1  school   160 -0.006  0.414
    """
    if ROWS in groups:
        raise DataError(f"`group` has a column called {ROWS!r}, as the level of the rows is called here. Rename it.")
    factors = {name: group_codes(columns, group_names(columns, name)) for name in groups}
    parts = list(_subsets(columns, by))
    everything = np.ones(columns.n_rows, dtype=np.bool_)
    sizes, records = {}, []
    for subset, rows in [*parts, ("", everything)]:
        sizes[ROWS, subset] = int(np.count_nonzero(rows))
        for name, factor in factors.items():
            sizes[name, subset] = len(np.unique(factor.codes[rows & (factor.codes >= 0)]))
    for variable in variables:
        level, codes = _level_of(columns, variable, factors)
        for subset, rows in [*parts, ("", everything)]:
            for record in _summaries(columns, variable, _places(rows, codes, columns.missing(variable))):
                shares = _shares(columns, variable, str(record["category"]), factors) if not subset else {}
                records.append({**record, "level": level, "subset": subset, **shares})
    names = [*FIELDS, *(f"icc ({name})" for name in factors)]
    return LevelSummary(
        frame=pd.DataFrame.from_records(records, columns=names), sizes=sizes, subsets=tuple(name for name, _ in parts)
    )


def _subsets(columns: Columns, by: str | None) -> Iterator[tuple[str, BoolArray]]:
    """Rows of each category of `by`."""
    if by is None:
        return
    factor = columns.factor(by)
    if factor.n_levels > MOST_LEVELS:
        raise DataError(
            f"`by` is a column of few categories; {by!r} has {factor.n_levels}. Cut it into at most {MOST_LEVELS}."
        )
    for code, level in enumerate(factor.levels):
        yield str(level) or EMPTY, factor.codes == code


def _level_of(columns: Columns, variable: str, factors: dict[str, Factor]) -> tuple[str, CodeArray | None]:
    """The level a variable varies at, and the clusters of the rows if it is not theirs."""
    values, missing = _codes(columns, variable), columns.missing(variable)
    constant = []
    for name, factor in factors.items():
        here = factor.codes >= 0 if missing is None else (factor.codes >= 0) & ~missing
        frame = pd.DataFrame({"cluster": factor.codes[here], "value": values[here]}).drop_duplicates()
        if len(frame) and not frame["cluster"].duplicated().any() and factor.n_levels < columns.n_rows:
            constant.append((factor.n_levels, name))
    if not constant:
        return ROWS, None
    name = min(constant)[1]
    return name, factors[name].codes


def _codes(columns: Columns, variable: str) -> CodeArray:
    """Equal numbers for equal values."""
    if columns.is_numeric(variable):
        return np.asarray(pd.factorize(columns.numeric(variable))[0])
    return columns.factor(variable).codes


def _places(rows: BoolArray, codes: CodeArray | None, missing: BoolArray | None) -> IntArray:
    """Rows that stand for a subset: all of it, or one of each cluster, with a value if it has one."""
    places = np.flatnonzero(rows)
    if codes is None:
        return places
    places = places[codes[places] >= 0]
    absent = np.zeros(len(places), dtype=np.bool_) if missing is None else missing[places]
    order = places[np.lexsort((absent, codes[places]))]
    return order[np.unique(codes[order], return_index=True)[1]]


def _summaries(columns: Columns, variable: str, places: IntArray) -> Iterator[dict[str, object]]:
    """A record of a number, or one of each category."""
    missing = columns.missing(variable)
    absent = np.zeros(len(places), dtype=np.bool_) if missing is None else missing[places]
    record = {"variable": variable, "category": "", "missing": int(np.count_nonzero(absent))}
    if columns.is_numeric(variable):
        yield {**record, **_moments(columns.numeric(variable)[places][~absent])}
        return
    factor = columns.factor(variable)
    codes = factor.codes[places][~absent]
    if factor.n_levels > MOST_LEVELS:
        yield {**record, **_moments(np.empty(0)), "n": len(codes)}
        return
    for code, level in enumerate(factor.levels):
        count = int(np.count_nonzero(codes == code))
        share = count / len(codes) if len(codes) else np.nan
        yield {**record, **_moments(np.empty(0)), "category": str(level) or EMPTY, "n": count, "mean": share}


def _moments(values: FloatArray) -> dict[str, float]:
    """Number, mean, standard deviation, least and greatest value; NaN where there are too few."""
    return {
        "n": len(values),
        "mean": float(values.mean()) if len(values) else np.nan,
        "sd": float(values.std(ddof=1)) if len(values) > 1 and np.all(np.isfinite(values)) else np.nan,
        "min": float(values.min()) if len(values) else np.nan,
        "max": float(values.max()) if len(values) else np.nan,
    }


def _shares(columns: Columns, variable: str, category: str, factors: dict[str, Factor]) -> dict[str, float]:
    """Share of a variable's variance (of a category's indicator) between the clusters of each factor."""
    missing = columns.missing(variable)
    found = {}
    for name, factor in factors.items():
        here = factor.codes >= 0 if missing is None else (factor.codes >= 0) & ~missing
        if columns.is_numeric(variable):
            values = columns.numeric(variable)[here]
        elif category:
            own = columns.factor(variable)
            values = (own.codes[here] == [str(level) or EMPTY for level in own.levels].index(category)).astype(
                np.float64
            )
        else:
            continue
        usable = np.any(here) and bool(np.all(np.isfinite(values)))
        share = variance_components(values, factor.codes[here]).icc if usable else np.nan
        found[f"icc ({name})"] = float(share)
    return found
