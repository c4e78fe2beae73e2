"""The rows of a panel: a design whose rows belong to groups, and, where it is known, to times."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.design import CrossProducts, Design, build_design
from crosslevel.design.rows import sum_products
from crosslevel.errors import CrosslevelError
from crosslevel.formula import parse
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.memory import require_memory
from crosslevel.table import Columns, open_source
from crosslevel.types import FloatArray, Frame, IntArray, Missing

COPIES = 4
"""Arrays of all rows, or of the cross-products of all groups, that are held at a time."""

CONSTANT = 1e-20
"""Share of a column's sum of squares that lies within groups, below which it is constant within them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """Rows of n observations in J groups.

    Attributes
    ----------
    design : columns of the model; `design.x` are those that are not linear combinations of earlier ones.
    groups : the groups of the rows used.
    times : their times, in order; None where they were not named.
    products : cross-products of the design's columns and, last, the outcome, by group.
    """

    design: Design = field(repr=False)
    groups: Clustering
    times: Clustering | None
    products: CrossProducts = field(repr=False)

    @property
    def n_rows(self) -> int:
        """n, rows used."""
        return self.design.rows.used

    @property
    def n_groups(self) -> int:
        """J."""
        return self.groups.n_clusters

    @cached_property
    def sizes(self) -> IntArray:
        """(J,) rows of each group."""
        return self.products.count.astype(np.int64)

    @property
    def n_singletons(self) -> int:
        """Groups of one row."""
        return int(np.count_nonzero(self.sizes == 1))

    @property
    def is_balanced(self) -> bool:
        """Whether all groups have the same number of rows."""
        return bool(np.all(self.sizes == self.sizes[0]))

    @property
    def has_intercept(self) -> bool:
        """Whether the formula has an intercept."""
        return bool(self.design.constant >= 0 and self.design.constant in self.design.x)

    @property
    def slopes(self) -> IntArray:
        """Positions of the columns other than the intercept."""
        return np.asarray(self.design.x[self.design.x != self.design.constant])

    @property
    def response(self) -> int:
        """Position of the outcome among the columns of the cross-products."""
        return len(self.products.names) - 1

    def names(self, columns: IntArray) -> tuple[str, ...]:
        """Names of columns by their positions."""
        return tuple(self.products.names[j] for j in columns)

    def rows(self, columns: IntArray) -> FloatArray:
        """Rows used (m, n) of columns by their positions among those of the cross-products; they are read again."""
        require_memory(
            8.0 * len(columns) * self.n_rows * COPIES,
            f"`formula` has {len(columns)} columns, and all {self.n_rows:,} rows of them",
            "Use fewer predictors, or a sample of the groups.",
        )
        out, done = np.empty((len(columns), self.n_rows)), 0
        for block, _, _ in self.design.blocks():
            out[:, done : done + block.shape[1]] = block[columns]
            done += block.shape[1]
        return out

    def overall_level(self, columns: IntArray, beta: FloatArray) -> float:
        """Mean outcome less the means of columns times their coefficients (p,)."""
        mean = self.products.origin + self.products.grand_mean
        return float(mean[self.response] - mean[columns] @ beta)

    def constant_in_groups(self, columns: IntArray) -> tuple[str, ...]:
        """Names of those columns that do not vary within any group."""
        within, total = np.diag(self.products.within), np.diag(self.products.total)
        return self.names(columns[within[columns] <= CONSTANT * total[columns]])


def build_panel(formula: object, data: Frame, *, group: object, time: object, missing: Missing) -> Panel:
    """Read the rows of a panel.

    Parameters
    ----------
    formula : without random terms.
    data : any frame.
    group, time : names of columns; `time` may be None.
    missing : as in `build_design`; rows that miss the group or the time are left out too.

    Raises
    ------
    CrosslevelError : a wrong formula, name or frame, or one group only.
    """
    if not isinstance(formula, str):
        raise CrosslevelError(f"`formula` is text such as 'y ~ x + z'; got {type(formula).__name__}.")
    if open_source(data) is not None:
        raise CrosslevelError(
            "`data` is read in batches, which panel estimators do not do: they look at rows in memory. Read them "
            "first, with cl.read(path) or the library's own reader."
        )
    columns = Columns.from_frame(data)
    keys = tuple(_key(columns, name, key) for name, key in (("group", group), ("time", time)) if key is not None)
    if group is None:
        raise CrosslevelError("`group` is the column of the groups, such as group='id'; got None.")
    if time is not None and time == group:
        raise CrosslevelError(f"`time` and `group` both name {group!r}. Name the column of the times.")
    refuse_random(formula, columns, keys)
    design = build_design(formula, columns, missing=missing, clusters=keys)
    if not len(design.x):
        raise CrosslevelError(f"`formula` has no coefficients: {formula!r}. Add predictors.")
    groups = clustering_named(design, keys[0])
    if groups.n_clusters < 2:
        raise CrosslevelError(
            f"`group` names {keys[0]!r}, which has one value in the rows used: {groups.levels[0]!r}. A panel has at "
            "least two groups, and rows of each; fit an ordinary regression with cl.ols."
        )
    return Panel(
        design=design, groups=groups, times=clustering_named(design, keys[1]) if time is not None else None,
        products=grouped_products(design, groups),
    )  # fmt: skip


def _key(columns: Columns, argument: str, key: object) -> str:
    """The name of a column of groups or times."""
    if not isinstance(key, str):
        raise CrosslevelError(f"`{argument}` is the name of a column; got {type(key).__name__}.")
    columns.require([key] if key in columns.names else key.split(":"), argument)
    return key


def refuse_random(formula: str, columns: Columns, keys: tuple[str, ...]) -> None:
    """Refuse random terms in a formula.

    Raises
    ------
    CrosslevelError : it has one.
    """
    parsed = parse(formula, [name for name in columns.names if name not in keys])
    if parsed.random:
        raise CrosslevelError(
            f"`formula` has the random term {parsed.random[0].text}, which panel estimators do not take: groups come "
            f"in by group={keys[0]!r}. Drop the term, or fit a multilevel model with cl.mixed."
        )


def grouped_products(design: Design, groups: Clustering) -> CrossProducts:
    """Cross-products of a design's columns by group."""
    m = len(design.products.names)
    require_memory(
        8.0 * groups.n_clusters * m * m * COPIES,
        f"`formula` has {m} columns and `group` {groups.n_clusters:,} groups, whose cross-products",
        "Use fewer predictors, or a sample of the groups.",
    )
    codes = np.zeros(design.columns.n_rows, dtype=np.int32)
    codes[slice(None) if design.mask is None else design.mask] = groups.codes
    return sum_products(design.spec, design.columns, design.mask, codes, groups.levels, design.response, design.offset)
