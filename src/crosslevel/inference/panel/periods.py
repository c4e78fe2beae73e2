"""Values of each group in each period, for instruments that are one column per period."""

import numpy as np

from crosslevel.errors import DesignError
from crosslevel.inference.panel.panel import Panel
from crosslevel.types import FloatArray, IntArray


def values_by_period(panel: Panel, columns: IntArray) -> FloatArray:
    """Values (J, T, k) of some columns of a panel in which every group has a row in every period.

    Raises
    ------
    DesignError : the periods are not known, or a group has none or several rows in one.
    """
    check_periods(panel)
    assert panel.times is not None
    out = np.empty((panel.n_groups, panel.times.n_clusters, len(columns)))
    out[panel.groups.codes, panel.times.codes] = panel.rows(columns).T
    return out


def check_periods(panel: Panel) -> None:
    """Refuse a panel of which not every group has one row in every period.

    Raises
    ------
    DesignError : see `values_by_period`.
    """
    group, times = panel.groups, panel.times
    if times is None:
        raise DesignError(
            "`time` is needed: the instruments of method='am' and 'bms' are values in each period. Name the column of "
            "the periods, as in time='year'; method='ht' does without."
        )
    cells = np.bincount(group.codes.astype(np.int64) * times.n_clusters + times.codes)
    if cells.max() > 1:
        place = int(np.argmax(cells > 1))
        where = f"{group.name} {group.levels[place // times.n_clusters]!r}"
        raise DesignError(
            f"`time` is {times.name!r}, but {where} has {cells[place]} rows with {times.name} "
            f"{times.levels[place % times.n_clusters]!r}. A panel has one row for a group in a period; name the column "
            "of the periods, or aggregate these rows."
        )
    complete = int(np.count_nonzero(panel.sizes == times.n_clusters))
    if complete < panel.n_groups:
        raise DesignError(
            f"`method` 'am' and 'bms' take the values in each of the {times.n_clusters} periods of {times.name} as "
            f"instruments, but {panel.n_groups - complete} of the {panel.n_groups} groups of {group.name} lack some of "
            "them. Use method='ht', which takes unbalanced panels; or keep the groups that are complete."
        )
