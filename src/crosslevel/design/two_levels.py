"""Rows for separate regressions in clusters, and one row for each cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.design.asked import check_random, cluster_columns
from crosslevel.design.outcome import AskedOutcome, Outcome, learn_asked
from crosslevel.design.precision import read_weighted
from crosslevel.design.products import CrossProducts
from crosslevel.design.reduced import independent_columns
from crosslevel.design.rows import RowCount, count_rows, sum_products
from crosslevel.design.weighting import used_rows
from crosslevel.errors import DesignError
from crosslevel.formula import Formula, Repeated, Spec, TwoLevels, learn, parse
from crosslevel.formula.memory import FromRows
from crosslevel.formula.rows import Source
from crosslevel.table import Columns, group_codes
from crosslevel.types import BoolArray, CodeArray, FloatArray, Frame, IntArray, Missing
from crosslevel.weights import Frequency, Precision, Weights, positive_rows, row_weights


@dataclass(frozen=True, kw_only=True, eq=False)
class SeparateDesign:
    """The rows of separate regressions in clusters.

    Attributes
    ----------
    spec : the formula with what it remembers of the data.
    columns, mask : the data, and (rows read,) which rows are used; None if all are.
    rows : rows read and used.
    cluster : name of the clusters.
    group : the data columns that make them.
    levels : all clusters, those without a used row too.
    codes : (rows read,) cluster of each row.
    products : cross-products of the design columns and the outcome by cluster.
    weights : what rows weigh, None if each counts once.
    outcome : the outcome as a family of distributions reads it; None in linear regressions.
    """

    spec: Spec
    columns: Columns = field(repr=False)
    mask: BoolArray | None = field(repr=False)
    rows: RowCount
    cluster: str
    group: tuple[str, ...]
    levels: tuple[object, ...] = field(repr=False)
    codes: CodeArray = field(repr=False)
    products: CrossProducts = field(repr=False)
    weights: Weights | None
    outcome: Outcome | None = field(default=None, repr=False)

    @property
    def constant(self) -> int:
        """Position of the intercept, -1 if there is none."""
        return self.products.names.index("Intercept") if "Intercept" in self.products.names else -1

    @property
    def used_codes(self) -> CodeArray:
        """(rows used,) cluster of each row."""
        return self.codes if self.mask is None else self.codes[self.mask]


def separate_design(
    formula: str,
    data: Frame,
    cluster: str,
    *,
    also: Sequence[str] = (),
    weights: Weights | None = None,
    missing: Missing = "drop",
    outcome: AskedOutcome | None = None,
) -> SeparateDesign:
    """Learn a formula from all rows, and sum its cross-products by cluster.

    Parameters
    ----------
    formula : as in "y ~ x1 + x2", without random terms.
    data : any frame.
    cluster : a column, or "a:b" of two.
    also : columns besides those of the formula in which a row may have no missing value.
    weights : `Frequency` or `Precision`.
    missing : "drop" or "raise".
    outcome : how a family of distributions reads the outcome; None for linear regressions.

    Raises
    ------
    FormulaError, ColumnNotFoundError, DataError, DesignError : see their texts.
    """
    columns = Columns.from_frame(data)
    group = cluster_columns([cluster], columns)
    parsed = parse(formula, [name for name in columns.names if name not in group])
    columns.require(parsed.variables, "first")
    columns.require(also, "second")
    check_random(parsed, alone=False, ordinary=True)
    mask, counts, _ = used_rows(columns, (*parsed.required, *also, *group), weights, None)
    n_zero = 0
    if weights is not None:
        mask, n_zero = positive_rows(weights, columns, mask)
    rows = count_rows(columns, mask, counts, missing, weightless=n_zero)
    memory = None
    if isinstance(weights, Frequency):
        memory = Repeated.of(columns, mask, columns.numeric(weights.column))
    learnt = None if outcome is None else learn_asked(outcome, parsed, columns, mask)
    spec = learn(parsed, columns, mask, memory=memory, response=None if learnt is None else learnt.component)
    clusters = group_codes(columns, group)
    own = None if weights is None else row_weights(weights, columns, mask, np.zeros(0, dtype=np.int32), 0)
    products = sum_products(
        spec, columns, mask, clusters.codes, clusters.levels, weights=own, precision=isinstance(weights, Precision)
    )
    read = None if outcome is None or learnt is None else read_weighted(outcome, learnt, columns, mask, weights)
    return SeparateDesign(
        outcome=None if read is None else replace(read, weight=None if read.is_mean else own),
        spec=spec, columns=columns, mask=mask, rows=rows, cluster=cluster, group=group, levels=clusters.levels,
        codes=clusters.codes, products=products, weights=weights,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterDesign:
    """The columns of a regression with one row for each cluster.

    Attributes
    ----------
    spec : the formula with what it remembers of the clusters.
    x : (J, k) columns that are estimated.
    kept : (k,) their positions in the formula.
    aliased : names of columns left out because earlier ones determine them.
    """

    spec: Spec
    x: FloatArray = field(repr=False)
    kept: IntArray
    aliased: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the k columns."""
        return tuple(self.spec.columns[j].name for j in self.kept)

    @property
    def factors(self) -> tuple[tuple[str, ...], ...]:
        """What each of the k columns is the product of."""
        return tuple(self.spec.columns[j].factors for j in self.kept)

    @property
    def constant(self) -> int:
        """Position of the intercept among the k columns, -1 if there is none."""
        return self.names.index("Intercept") if "Intercept" in self.names else -1


def cluster_design(formula: Formula, clusters: Columns, below: SeparateDesign) -> ClusterDesign:
    """Learn a formula from one row for each cluster, and evaluate it there.

    Raises
    ------
    DesignError : not more clusters than coefficients, or no column.
    """
    source = Source(columns=clusters, mask=None)
    times = below.weights.column if isinstance(below.weights, Frequency) else None
    rows: FromRows | Repeated = FromRows(source=Source(columns=below.columns, mask=below.mask))
    if times is not None:
        rows = Repeated.of(below.columns, below.mask, below.columns.numeric(times))
    memory = TwoLevels(rows=rows, clusters=source)
    spec = learn(formula, clusters, memory=memory)
    columns = spec.evaluate(clusters)
    names = [column.name for column in spec.columns]
    if not names:
        raise DesignError(f"`second` has no coefficients: {formula.text!r}. Add a context variable, or the intercept.")
    n = columns.shape[1]
    if n <= len(names):
        raise DesignError(
            f"`second` has {len(names)} coefficients ({', '.join(names)}) for {n} {'cluster' if n == 1 else 'clusters'}"
            ": it takes more clusters than coefficients. Use fewer context variables."
        )
    products = CrossProducts.from_rows(
        columns, np.zeros(n, dtype=np.int32), names=tuple(names), levels=("all clusters",)
    )  # fmt: skip
    constant = names.index("Intercept") if "Intercept" in names else -1
    kept, dropped = independent_columns(products, np.arange(len(names)), constant)
    return ClusterDesign(
        spec=spec, x=np.ascontiguousarray(columns[kept].T), kept=kept, aliased=tuple(names[j] for j in dropped)
    )
