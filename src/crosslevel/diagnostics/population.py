"""Weights that turn the shares of groups in a sample into their shares in the population."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError, DataError
from crosslevel.table import Columns
from crosslevel.types import FloatArray, Frame


def population_weight(
    data: Frame, group: str, population: Mapping[object, float] | pd.Series | str, *, design: str | None = None
) -> pd.Series:
    """Weights of groups that were sampled in other proportions than they have in the population.

    A survey of many countries draws about as many people in small ones as in large ones. For statements about all
    people together, each row of group j has to count w_j = c N_j / n_j times, or c N_j / (sum of design weights of j)
    where rows have design weights already; the product of both weights is then to be used. c makes the mean 1 (over
    rows, or over design weights), so that the number of rows stays what it is.

    Parameters
    ----------
    data : any frame.
    group : the column of the groups, such as "country".
    population : N_j by level of the group, in any unit; or the column that holds it, the same in all rows of a group.
        Groups that are not in the data are not used.
    design : the column of design weights, if rows have such.

    Returns
    -------
    Series of weights by row; missing where the group or its design weight is.

    Raises
    ------
    DataError : a group without a population, a population or design weight that is not positive, or a population that
        differs within a group.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = {"country": ["DE", "DE", "MT", "MT"], "y": [1, 2, 3, 4]}
    >>> cl.population_weight(data, "country", population={"DE": 83.0, "MT": 0.5}).round(3).tolist()
    [1.988, 1.988, 0.012, 0.012]
    """
    columns = Columns.from_frame(data)
    named = [population] if isinstance(population, str) else []
    columns.require([group, *named, *([] if design is None else [design])], "population_weight")
    factor = columns.factor(group)
    counts = np.ones(columns.n_rows) if design is None else np.array(columns.numeric(design), dtype=np.float64)
    if np.any(counts < 0.0) or np.any(np.isinf(counts)):
        raise DataError(f"`design` weights, {design!r}, have to be finite and not negative. Correct them.")
    counts[factor.codes < 0] = np.nan
    used = ~np.isnan(counts)
    sizes = (
        _from_column(columns, population, factor.codes, factor.levels)
        if isinstance(population, str)
        else _from_mapping(population, group, factor.levels)
    )
    sampled = np.bincount(factor.codes[used], counts[used], len(sizes))
    ratio = np.divide(sizes, sampled, out=np.zeros(len(sizes)), where=sampled > 0.0)
    ratio *= sampled.sum() / np.sum(ratio * sampled)
    out = np.where(used, ratio[factor.codes], np.nan)
    return pd.Series(out, index=columns.index(None), name="population_weight")


def _from_mapping(population: Mapping[object, float] | pd.Series, group: str, levels: tuple[object, ...]) -> FloatArray:
    """N (J,) of each level; labels are compared as text, so that 1 and "1" are the same."""
    if not isinstance(population, Mapping | pd.Series):
        raise CrosslevelError(
            "`population` is a dict or Series of sizes by group, or the name of a column that holds them; "
            f"got {type(population).__name__}."
        )
    known = {str(level): float(size) for level, size in population.items()}
    absent = [str(level) for level in levels if str(level) not in known]
    if absent:
        raise DataError(
            f"`population` has no size for {len(absent)} groups of {group!r}: {', '.join(absent[:10])}. "
            "Add them, or leave their rows out."
        )
    return _positive(np.array([known[str(level)] for level in levels]), levels)


def _from_column(columns: Columns, name: str, codes: np.ndarray, levels: tuple[object, ...]) -> FloatArray:
    """N (J,) of each level from a column that is the same in all its rows."""
    values = columns.numeric(name)
    there = (codes >= 0) & ~np.isnan(values)
    out = np.full(len(levels), np.nan)
    out[codes[there]] = values[there]
    differs = there & (values != out[codes])
    if np.any(differs):
        raise DataError(
            f"`population` names {name!r}, which differs within {levels[codes[differs][0]]!r}. Give one size per group."
        )
    return _positive(out, levels)


def _positive(sizes: FloatArray, levels: tuple[object, ...]) -> FloatArray:
    """Refuse sizes that are missing, infinite, or not above zero."""
    wrong = [str(level) for level, size in zip(levels, sizes, strict=True) if not 0.0 < size < np.inf]
    if wrong:
        raise DataError(f"`population` has to be above zero and finite; it is not for {', '.join(wrong[:10])}.")
    return sizes
