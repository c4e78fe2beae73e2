"""The first-difference regression: rows less the row before in the same group.

    y_it - y_i,t-1 = delta + (x_it - x_i,t-1)' beta + e_it - e_i,t-1

The times are those that occur in the data, in their order; a difference is taken between neighbouring ones. Where a
group misses a time, the difference over the gap spans several times: it is left out unless it is asked for.

Source: Wooldridge (2010), Econometric Analysis of Cross Section and Panel Data, 2nd ed., section 10.6.
"""

import re
from dataclasses import dataclass, field

import numpy as np

from crosslevel.errors import DesignError
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.panel.panel import Panel
from crosslevel.inference.panel.regression import PanelRegression, regress
from crosslevel.inference.panel.row_products import KeptRows, kept_columns, nothing_left, row_products, some_columns
from crosslevel.inference.panel.transformed import TransformedRows
from crosslevel.types import BoolArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps:
    """Which rows are compared with which.

    Attributes
    ----------
    later, earlier : (m,) rows of each difference, sorted by group and time.
    n_gaps : differences over a gap, whether they are among these or not.
    """

    later: IntArray = field(repr=False)
    earlier: IntArray = field(repr=False)
    n_gaps: int


@dataclass(frozen=True, kw_only=True, eq=False)
class FirstDifferences:
    """A first-difference regression.

    Attributes
    ----------
    regression : of the columns whose differences are no linear combinations of earlier ones.
    aliased : names of the others.
    steps : the rows that were compared.
    maker : the differences.
    """

    regression: PanelRegression
    aliased: tuple[str, ...]
    steps: Steps
    maker: KeptRows = field(repr=False)


def steps_between(panel: Panel, times: Clustering, *, over_gaps: bool) -> Steps:
    """Pair each row with the one before it in its group.

    Raises
    ------
    DesignError : a group has two rows at a time, or none has two that follow each other.
    """
    groups = panel.groups
    check_order(panel, times)
    order = np.lexsort((times.codes, groups.codes))
    group, time = groups.codes[order], times.codes[order]
    same = group[1:] == group[:-1]
    twice = np.flatnonzero(same & (time[1:] == time[:-1]))
    if len(twice):
        at = twice[0]
        raise DesignError(
            f"`data` has {len(twice)} {'row' if len(twice) == 1 else 'rows'} at a {times.name} that their "
            f"{groups.name} has a row of already, such as "
            f"{groups.name} {groups.levels[group[at]]!r} at {times.name} {times.levels[time[at]]!r}: which of them "
            "comes first is not known. Keep one row for each, or name the column that tells them apart."
        )
    gap = same & (time[1:] - time[:-1] > 1)
    wanted = np.flatnonzero(same if over_gaps else same & ~gap)
    if not len(wanted):
        raise DesignError(
            f"`data` has no two rows of the same {groups.name} at neighbouring values of {times.name}, so that there "
            "are no differences. Use over_gaps=True to compare rows further apart, or cl.fixed_effects."
        )
    return Steps(later=order[wanted + 1], earlier=order[wanted], n_gaps=int(np.count_nonzero(gap)))


def check_order(panel: Panel, times: Clustering) -> None:
    """Refuse times that are text whose alphabetical order is not that of the numbers in it.

    Raises
    ------
    DesignError : see above.
    """
    columns = panel.design.columns
    if times.name not in columns.names or columns.categories(times.name):
        return
    texts = [level for level in times.levels if isinstance(level, str)]
    if texts != sorted(texts, key=by_number):
        raise DesignError(
            f"`time` names {times.name!r}, which is text in alphabetical order: {', '.join(map(repr, texts[:4]))}, and "
            "the numbers in it are in another. Turn it into numbers, or into a category whose levels are in order."
        )


def by_number(text: str) -> list[tuple[float, str]]:
    """Text with the numbers in it as numbers, to sort by."""
    parts = re.split(r"(\d+)", text)
    return [(float(part), "") if part.isdigit() else (-1.0, part) for part in parts if part]


def difference_regression(panel: Panel, times: Clustering, *, over_gaps: bool = False) -> FirstDifferences:
    """Regress on differences.

    Raises
    ------
    DesignError : repeated times, no differences, or a column that never changes.
    """
    steps = steps_between(panel, times, over_gaps=over_gaps)
    columns = panel.design.x
    before = panel.rows(np.append(columns, panel.response))
    rows = before[:, steps.later] - before[:, steps.earlier]
    found = np.flatnonzero(columns == panel.design.constant)
    intercept = int(found[0]) if len(found) else -1
    if intercept >= 0:
        rows[intercept] = 1.0
    _refuse_unchanging(panel, nothing_left(rows, before), columns, times.name)

    steady = nothing_left(rows - rows.mean(axis=1, keepdims=True), before) & (intercept >= 0)
    usable = np.flatnonzero(~steady[:-1] | (np.arange(len(columns)) == intercept))
    codes = panel.groups.codes[steps.later]
    place = int(np.flatnonzero(usable == intercept)[0]) if intercept >= 0 else -1
    products = row_products(rows[np.append(usable, len(columns))], codes, panel.n_groups, intercept=place)
    kept, _ = kept_columns(products)
    wanted = usable[kept]
    products = some_columns(products, kept, columns[wanted])
    maker = KeptRows(kept=TransformedRows(x=rows[wanted], y=rows[-1], codes=codes))
    return FirstDifferences(
        regression=regress(products, "differences", maker), steps=steps,
        aliased=panel.names(np.setdiff1d(columns, columns[wanted])),
        maker=maker,
    )  # fmt: skip


def _refuse_unchanging(panel: Panel, unchanging: BoolArray, columns: IntArray, time: str) -> None:
    """Refuse columns whose differences are all zero.

    Raises
    ------
    DesignError : one has none.
    """
    names = (*panel.names(columns), panel.products.names[panel.response])
    found = [name for name, zero in zip(names, unchanging, strict=True) if zero]
    if not found:
        return
    raise DesignError(
        f"`formula` has {', '.join(found)}, which never change{'s' if len(found) == 1 else ''} from one {time} to the "
        f"next within {panel.groups.name}: differences say nothing about {'it' if len(found) == 1 else 'them'}. Drop "
        f"{'it' if len(found) == 1 else 'them'}, or use cl.random_effects, cl.hausman_taylor, or cl.mixed, which "
        "compare groups."
    )
