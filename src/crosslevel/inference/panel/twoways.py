"""The two-way within regression: rows less the effects of their groups and of their times.

    y_it = alpha_i + lambda_t + x_it' beta + e_it

With D the dummies of times and M = I - B, which takes off group means, every column v of [X y] becomes

    M v - M D (D'M D)^- D'M v,    D'M D = diag(n_t) - N' diag(1 / n_i) N,

N the counts of groups by times. That is exact for unbalanced panels. D'M D has as many zero eigenvalues as there are
sets of groups and times that no row connects; there the effects of times sum to zero within each set.

Source: Baltagi (2021), Econometric Analysis of Panel Data, 6th ed., sections 3.2 and 9.4; Wansbeek & Kapteyn (1989),
J. Econom. 41: 341-361.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.errors import DesignError
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.panel.panel import Panel
from crosslevel.inference.panel.regression import PanelRegression, regress
from crosslevel.inference.panel.row_products import KeptRows, kept_columns, nothing_left, row_products, some_columns
from crosslevel.inference.panel.transformed import TransformedRows
from crosslevel.inference.panel.within import varying_columns
from crosslevel.memory import require_memory
from crosslevel.types import BoolArray, CodeArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoWay:
    """A two-way within regression.

    Attributes
    ----------
    regression : of the columns that vary beyond groups and times.
    aliased : names of columns of which groups, times and earlier columns leave nothing.
    maker : the transformed rows.
    group_effects, time_effects : (J,) alpha_i and (T,) lambda_t, which sum to zero within each set.
    n_sets : sets of groups and times that no row connects.
    """

    regression: PanelRegression
    aliased: tuple[str, ...]
    maker: KeptRows = field(repr=False)
    group_effects: FloatArray = field(repr=False)
    time_effects: FloatArray = field(repr=False)
    n_sets: int


def two_way_regression(panel: Panel, times: Clustering) -> TwoWay:
    """Regress on rows less the effects of groups and times.

    Raises
    ------
    DesignError : a column does not vary within groups, or within times; no degrees of freedom.
    """
    columns = varying_columns(panel)
    own = np.append(columns, panel.response)
    before = panel.rows(own) - (panel.products.origin + panel.products.grand_mean)[own, None]
    _refuse_constant(before, times, panel.names(own))
    taken = take_off(before, panel.groups.codes, panel.n_groups, times.codes, times.n_clusters)
    nothing = nothing_left(taken.rows, before)
    _refuse_sums(panel, times, columns, nothing)

    left = np.flatnonzero(~nothing[:-1])
    products = row_products(taken.rows[np.append(left, len(columns))], panel.groups.codes, panel.n_groups, intercept=-1)
    kept, _ = kept_columns(products)
    absorbed = panel.n_groups + times.n_clusters - taken.n_sets
    products = replace(
        some_columns(products, kept, columns[left[kept]]), absorbed=absorbed, total_df=panel.n_rows - 1.0
    )
    wanted = np.append(left[kept], len(columns))
    rows = TransformedRows(x=taken.rows[wanted[:-1]], y=taken.rows[-1], codes=panel.groups.codes)
    regression = regress(products, "rows less effects of groups and times", KeptRows(kept=rows))

    contrast = np.append(-regression.beta, 1.0)
    time_effects = contrast @ taken.time_effects[wanted]
    rest = contrast @ before[wanted] - time_effects[times.codes]
    level = panel.overall_level(products.columns, regression.beta)
    return TwoWay(
        regression=regression, aliased=panel.names(np.setdiff1d(columns, products.columns)), n_sets=taken.n_sets,
        maker=KeptRows(kept=rows), time_effects=time_effects,
        group_effects=level + np.bincount(panel.groups.codes, rest, panel.n_groups) / panel.sizes,
    )  # fmt: skip


def _refuse_sums(panel: Panel, times: Clustering, columns: IntArray, nothing: BoolArray) -> None:
    """Refuse an outcome, or predictors all of them, of which effects of groups and times leave nothing.

    Raises
    ------
    DesignError : see above.
    """
    if nothing[-1]:
        what = repr(panel.products.names[panel.response])
    elif np.all(nothing[:-1]):
        what = ", ".join(panel.names(columns))
    else:
        return
    raise DesignError(
        f"`formula` has {what}, of which effects of {panel.groups.name} and of {times.name} leave nothing: a sum of a "
        "part that is constant within groups and one that is constant within times. Use effect='individual'."
    )


def _refuse_constant(rows: FloatArray, times: Clustering, names: tuple[str, ...]) -> None:
    """Refuse columns that do not vary within times.

    Raises
    ------
    DesignError : one does not.
    """
    sizes = np.bincount(times.codes, minlength=times.n_clusters)
    means = np.array([np.bincount(times.codes, row, times.n_clusters) / sizes for row in rows])
    found = nothing_left(rows - means[:, times.codes], rows)
    if np.any(found):
        listed = ", ".join(name for name, constant in zip(names, found, strict=True) if constant)
        raise DesignError(
            f"`formula` has {listed}, the same for all groups at each {times.name}: the effects of {times.name} absorb "
            "it. Drop it, or use effect='individual'."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class TakenOff:
    """Rows less effects of groups and times.

    Attributes
    ----------
    rows : (m, n).
    time_effects : (m, T) effects of times in each column.
    n_sets : sets of groups and times that no row connects.
    """

    rows: FloatArray = field(repr=False)
    time_effects: FloatArray = field(repr=False)
    n_sets: int


def take_off(rows: FloatArray, groups: CodeArray, n_groups: int, times: CodeArray, n_times: int) -> TakenOff:
    """Take the effects of groups and of times off every column of rows (m, n)."""
    from scipy.sparse import csr_array, diags_array

    require_memory(
        24.0 * n_times**2, f"`time` has {n_times:,} values, whose effects",
        "Use coarser times, or effect='individual'.",
    )  # fmt: skip
    sizes = np.bincount(groups, minlength=n_groups)
    counts = csr_array((np.ones(len(groups)), (groups, times)), shape=(n_groups, n_times))
    shared = (counts.T @ (diags_array(1.0 / sizes) @ counts)).toarray()
    normal = np.diag(np.bincount(times, minlength=n_times).astype(np.float64)) - shared
    sets = connected(shared)
    # the null space, filled in: effects sum to zero in each set
    normal += (sets[:, None] == sets) * (len(groups) / n_times / np.bincount(sets)[sets])
    demeaned = rows - np.array([np.bincount(groups, row, n_groups) / sizes for row in rows])[:, groups]
    sums = np.array([np.bincount(times, row, n_times) for row in demeaned])
    effects = np.linalg.solve(normal, sums.T).T
    means = (counts @ effects.T / sizes[:, None]).T
    return TakenOff(
        rows=demeaned - effects[:, times] + means[:, groups], time_effects=effects, n_sets=int(sets.max()) + 1
    )


def connected(shared: FloatArray) -> IntArray:
    """(T,) which set each time belongs to; those of a set are linked by groups, shared[s, t] > 0."""
    from scipy.sparse.csgraph import connected_components

    return np.asarray(connected_components((shared > 0.0).astype(np.int8), directed=False)[1])
