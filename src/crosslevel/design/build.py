"""Read the rows of a model once: Spec and Columns become a Design with its cross-products."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.asked import bound_residual, check_random, cluster_columns, knows_errors, residual_needs
from crosslevel.design.checks import check_columns, check_identified, check_one_row_each
from crosslevel.design.crossing import Crossing
from crosslevel.design.factors import GroupingFactor, grouping_factor
from crosslevel.design.known import KnownMatrices, check_known
from crosslevel.design.members import members_present
from crosslevel.design.outcome import AskedOutcome, Outcome, learn_asked, with_exposure
from crosslevel.design.precision import read_weighted
from crosslevel.design.products import CrossProducts
from crosslevel.design.reduced import Reduced, independent_columns, reduce_products
from crosslevel.design.rows import CHUNK, HeldRows, RowCount, count_rows, read_blocks, sum_products
from crosslevel.design.weighting import RowWeights, offset_column, used_rows, weigh
from crosslevel.errors import DesignError
from crosslevel.formula import Repeated, Spec, learn, parse
from crosslevel.table import Columns
from crosslevel.types import BoolArray, CodeArray, FloatArray, Frame, IntArray, Missing
from crosslevel.weights import Frequency, Weights, positive_rows

if TYPE_CHECKING:
    from crosslevel.design.stream import StreamedRows
    from crosslevel.residual import ResidualStructure
    from crosslevel.residual.bound import BoundResidual

CONSTANT = 1e-20
"""Share of a column's variance within clusters below which it is constant within them."""

ALL_ROWS = ("all rows",)
"""The one level of the cross-products of a model that has no or several grouping factors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Design:
    """A model's columns, grouping factors and cross-products.

    Attributes
    ----------
    spec : the formula with what it remembers of the data.
    columns : the data, for whoever needs a second look at rows. Of data that were read in batches they are the rows
        used, and a column is read when it is asked for.
    mask : (rows read,) true where a row is used; None if all are.
    rows : rows read and used.
    factors : the grouping factors with their random effects, in the order of the formula.
    products : cross-products of the design columns and, last, the response: by level of the one grouping factor, or of
        all rows together where there are none or several.
    x : (p,) positions of the fixed columns that are estimated.
    aliased : names of the fixed columns left out because earlier ones determine them.
    constant : position of the intercept, -1 if there is none.
    response : (rows used,) values that stand in for the outcome in the data; None if none do.
    weights : what rows and levels weigh; None if each counts once.
    offset : (rows used,) what is subtracted from the outcome; None if nothing is.
    offset_column : the column that it comes from, None if it was given as numbers.
    residual : covariance structure of the residuals, bound to the rows used; None if they are independent and alike.
    outcome : the outcome as a family of distributions reads it; None in a linear model. The offset is then one of the
        linear predictor, with the logarithms of exposures.
    asked : how the outcome was asked to be read; None in a linear model.
    stream : reads the rows used again, in batches; None if the data are in memory.
    held : the rows used, if they are few.
    """

    spec: Spec
    columns: Columns = field(repr=False)
    mask: BoolArray | None = field(repr=False)
    rows: RowCount
    factors: tuple[GroupingFactor, ...]
    products: CrossProducts
    x: IntArray
    aliased: tuple[str, ...]
    constant: int
    response: FloatArray | None = field(default=None, repr=False)
    weights: RowWeights | None = field(default=None, repr=False)
    offset: FloatArray | None = field(default=None, repr=False)
    offset_column: str | None = None
    residual: "BoundResidual | None" = field(default=None, repr=False)
    outcome: Outcome | None = field(default=None, repr=False)
    asked: AskedOutcome | None = field(default=None, repr=False)
    stream: "StreamedRows | None" = field(default=None, repr=False)
    held: HeldRows | None = field(default=None, repr=False)

    @property
    def nobs(self) -> int:
        """Rows used, each as often as its frequency says."""
        if self.weights is None or not self.weights.is_frequency or self.weights.rows is None:
            return self.rows.used
        return int(self.weights.rows.sum())

    @property
    def is_sampled(self) -> bool:
        """Whether there are sampling weights, so that the likelihood is a pseudo-likelihood."""
        return self.weights is not None and self.weights.is_sampling

    @property
    def is_single(self) -> bool:
        """Whether the model has one grouping factor, so that it is a sum over clusters."""
        return len(self.factors) == 1 and not self.factors[0].members

    @property
    def group(self) -> str:
        """Name of the first grouping factor, "" where there is none."""
        return self.factors[0].name if self.factors else ""

    @property
    def codes(self) -> CodeArray:
        """(rows read,) level of the first grouping factor."""
        return self.factors[0].codes

    @property
    def z(self) -> IntArray:
        """(q,) positions of the columns of the first grouping factor's random effects."""
        return self.factors[0].z

    @property
    def structure(self) -> BlockStructure:
        """Blocks of the first grouping factor's random effects."""
        return self.factors[0].structure

    @cached_property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return tuple(self.products.names[j] for j in self.x)

    @property
    def random_names(self) -> tuple[str, ...]:
        """Names of the first grouping factor's random effects."""
        return self.effects_of(self.factors[0])

    def effects_of(self, factor: GroupingFactor) -> tuple[str, ...]:
        """Names of a factor's random effects."""
        return tuple(self.products.names[j] for j in factor.z)

    def factor_named(self, name: str | None) -> GroupingFactor:
        """A grouping factor by its name, the first if None.

        Raises
        ------
        DesignError : none of this name.
        """
        for factor in self.factors:
            if name in (None, factor.name):
                return factor
        named = ", ".join(repr(factor.name) for factor in self.factors)
        raise DesignError(f"`group` is one of {named}; got {name!r}.")

    def used_codes(self, factor: GroupingFactor) -> CodeArray:
        """(rows used,) level of each row."""
        return factor.codes if self.mask is None else factor.codes[self.mask]

    def used_members(self, factor: GroupingFactor) -> tuple[tuple[CodeArray, FloatArray | None], ...]:
        """Levels (rows used,) that rows belong to, and how much to each (None: 1); several for multiple membership."""
        if not factor.members:
            return ((self.used_codes(factor), None),)
        if self.mask is None:
            return factor.members
        return tuple((codes[self.mask], share[self.mask]) for codes, share in factor.members)

    @cached_property
    def sizes(self) -> tuple[IntArray, ...]:
        """For each factor, (J,) rows that belong to its levels, each as often as its frequency says."""
        if self.is_single and self.weights is None:
            return (self.products.count.astype(np.int64),)
        times = self.weights.rows if self.weights is not None and self.weights.is_frequency else None
        return tuple(self._level_sizes(factor, times) for factor in self.factors)

    def _level_sizes(self, factor: GroupingFactor, times: FloatArray | None) -> IntArray:
        """(J,) rows that belong to each level, counted `times` (rows used,) each."""
        out = np.zeros(factor.n_levels)
        for codes, _ in self.used_members(factor):
            known = codes >= 0
            out += np.bincount(codes[known], None if times is None else times[known], factor.n_levels)
        return out.astype(np.int64)

    @cached_property
    def constant_within(self) -> BoolArray:
        """(K, m) whether each design column is constant within the levels of each factor."""
        total = np.diag(self.products.total)[:-1]
        if self.is_single:
            within = np.diag(self.products.within)[None, :-1]
        else:
            within = np.array([self._scatter_within(factor) for factor in self.factors]).reshape(-1, len(total))
        return np.asarray(within <= CONSTANT * total)

    @property
    def cluster_level(self) -> BoolArray:
        """(m,) whether each design column is constant within clusters of the first grouping factor."""
        return np.asarray(self.constant_within[0])

    def _scatter_within(self, factor: GroupingFactor) -> FloatArray:
        """(m,) sums of squares of the design columns about their means in each level.

        Rows that belong to several levels are not in clusters, so that no column is constant within those.
        """
        if factor.members:
            return np.diag(self.products.total)[:-1].copy()
        codes = self.used_codes(factor)
        size = np.maximum(np.bincount(codes, minlength=factor.n_levels), 1)
        sums = np.zeros((len(self.products.names) - 1, factor.n_levels))
        shift = (self.products.grand_mean + self.products.origin)[:-1, None]
        for block, block_codes, _ in self.blocks(factor):
            for j, row in enumerate(block[:-1] - shift):
                sums[j] += np.bincount(block_codes, weights=row, minlength=factor.n_levels)
        mean, out = sums / size, np.zeros(len(sums))
        for block, block_codes, _ in self.blocks(factor):
            out += np.sum((block[:-1] - shift - mean[:, block_codes]) ** 2, axis=1)
        return out

    @cached_property
    def reduced(self) -> Reduced:
        """What the likelihood of a model with one grouping factor needs."""
        y = len(self.products.names) - 1
        return reduce_products(self.products, x=self.x, y=y, z=self.z, structure=self.structure, constant=self.constant)

    @cached_property
    def crossing(self) -> Crossing:
        """What the likelihood of a model with any number of grouping factors needs."""
        from crosslevel.design.crossed import cross_factors

        members = [self.used_members(factor) for factor in self.factors]
        rows = (block for block, _, _ in self.blocks())
        return cross_factors(
            rows, self.products, self.factors, members, x=self.x, constant=self.constant, weights=self.weights
        )

    def blocks(self, factor: GroupingFactor | None = None) -> Iterator[tuple[FloatArray, CodeArray, slice]]:
        """The used rows again, some at a time: design columns with the response last (m + 1, L), levels, place.

        The levels are those of `factor`, the first if None; the response is the outcome less the offset.
        """
        if self.stream is not None:
            return self.stream.blocks(self.response)
        codes = self._any_codes if factor is None else factor.codes
        return read_blocks(self.spec, self.columns, self.mask, codes, CHUNK, self.response, self.offset, self.held)

    def component_blocks(self, name: str, factor: GroupingFactor) -> Iterator[tuple[FloatArray, CodeArray]]:
        """A component of the design columns at the used rows, some at a time: values (1, L), levels (L,)."""
        if self.stream is not None:
            yield from self.stream.component_blocks(name)
            return
        for _, codes, rows in self.blocks(factor):
            yield self.spec.component(name, self.columns, rows, self.mask)[None, :], codes

    @property
    def _any_codes(self) -> CodeArray:
        """Levels of the first factor, zeros where there is none."""
        return self.codes if self.factors else np.zeros(self.columns.n_rows, dtype=np.int32)

    def with_response(self, y: FloatArray) -> "Design":
        """The same design for another response (rows used,): of trials the successes, of categories their numbers.

        Raises
        ------
        DesignError : wrong length, values that are not finite, no variation, or no residual variance.
        """
        y = np.array(y, dtype=np.float64)
        if y.shape != (self.rows.used,) or not np.all(np.isfinite(y)):
            raise DesignError(
                f"`y` needs {self.rows.used} finite numbers, one for each row used; got shape {y.shape}"
                f" with {np.count_nonzero(~np.isfinite(y))} that are not finite."
            )
        y.setflags(write=False)
        if self.outcome is not None and self.asked is not None:
            self.asked.family.check_outcome(y, self.outcome.size, self.outcome.name)
            return replace(self, outcome=replace(self.outcome, y=y))
        if self.stream is not None:
            products = self.stream.products(y)
        else:
            spec, columns, mask = self.spec, self.columns, self.mask
            products = _products(spec, columns, mask, self.factors, self.weights, self.offset, y, self.held)
        check_columns(products)
        design = replace(self, products=products, response=y)
        check_identified(design)
        return design


def build_design(
    formula: str,
    data: Frame,
    *,
    missing: Missing = "drop",
    weights: Weights | None = None,
    offset: object = None,
    residual: "ResidualStructure | None" = None,
    known: Mapping[str, object] | None = None,
    clusters: Sequence[str] | None = None,
    outcome: AskedOutcome | None = None,
) -> Design:
    """Parse a formula, learn its state from the data, and sum the cross-products.

    Parameters
    ----------
    formula : as in "y ~ x + (x | school)".
    data : any frame.
    missing : "drop" leaves out rows with a missing value in any variable of the formula, the weights or the offset;
        "raise" refuses them.
    weights : what rows weigh.
    offset : a column, or numbers (rows read,), to subtract from the outcome.
    residual : covariance structure of the residuals; with one, the formula needs no random term.
    known : the matrices that the formula names in random terms such as propto(0 + f | g, V) and equalto(0 + f | g, V).
    clusters : for an ordinary regression, which has no random terms, the columns that its clusters are made of; rows
        that miss one are left out too.
    outcome : how a family of distributions reads the outcome; None for a linear model.

    Raises
    ------
    FormulaError, ColumnNotFoundError, DataError, DesignError : see their texts.
    """
    columns = Columns.from_frame(data)
    parsed = parse(formula, [name for name in columns.names if name not in (clusters or ())])
    columns.require(parsed.variables, "formula")
    check_random(parsed, alone=residual is not None, ordinary=clusters is not None)
    needed = (*parsed.required, *residual_needs(residual, columns), *cluster_columns(clusters, columns))
    needed += () if outcome is None else outcome.columns(columns)
    mask, counts, offset_all = used_rows(columns, needed, weights, offset)
    mask = members_present(parsed, columns, mask, counts, alone=residual is not None)
    n_zero = 0
    if weights is not None:
        mask, n_zero = positive_rows(weights, columns, mask)
    rows = count_rows(columns, mask, counts, missing, weightless=n_zero)
    memory = None
    if isinstance(weights, Frequency):
        memory = Repeated.of(columns, mask, columns.numeric(weights.column))
    learnt = None if outcome is None else learn_asked(outcome, parsed, columns, mask)
    spec = learn(parsed, columns, mask, memory=memory, response=None if learnt is None else learnt.component)
    read = None if outcome is None or learnt is None else read_weighted(outcome, learnt, columns, mask, weights)
    check_known(parsed, known)
    matrices = KnownMatrices(matrices=known or {}, names=tuple(column.name for column in spec.columns))
    known_errors = knows_errors(residual) or outcome is not None
    factors = tuple(
        grouping_factor(term, columns, mask, rows, one_row_each=known_errors, known=matrices) for term in spec.terms
    )
    row_weights = None if weights is None else weigh(weights, columns, mask, factors)
    used_offset = offset_all if offset_all is None or mask is None else offset_all[mask]
    if outcome is not None and read is not None:
        check_one_row_each(factors, rows.used, outcome.family, read)
        used_offset = with_exposure(outcome, used_offset, offset, columns, mask)
        read = read if row_weights is None or read.is_mean else replace(read, weight=row_weights.rows)

    held = HeldRows.of(spec, columns, mask)
    products = _products(spec, columns, mask, factors, row_weights, used_offset, held=held)
    return finish_design(
        Design(
            spec=spec,
            columns=columns,
            mask=mask,
            rows=rows,
            factors=factors,
            products=products,
            x=np.arange(spec.n_fixed),
            aliased=(),
            constant=-1,
            weights=row_weights,
            offset=used_offset,
            offset_column=offset_column(offset, columns),
            residual=bound_residual(residual, columns, mask, rows),
            outcome=read,
            asked=outcome,
            held=held,
        )
    )


def finish_design(design: Design) -> Design:
    """Leave out the fixed columns that earlier ones determine, and refuse what cannot be estimated."""
    names = design.products.names
    constant = names.index("Intercept") if "Intercept" in names else -1
    check_columns(design.products, varies=design.outcome is None)
    kept, dropped = independent_columns(design.products, design.x, constant)
    design = replace(design, x=kept, aliased=tuple(names[j] for j in dropped), constant=constant)
    check_identified(design)
    return design


def _products(
    spec: Spec,
    columns: Columns,
    mask: BoolArray | None,
    factors: tuple[GroupingFactor, ...],
    weights: RowWeights | None,
    offset: FloatArray | None,
    response: FloatArray | None = None,
    held: HeldRows | None = None,
) -> CrossProducts:
    """Cross-products by level of the one factor, or of all rows."""
    single = len(factors) == 1 and not factors[0].members
    codes = factors[0].codes if single else np.zeros(columns.n_rows, dtype=np.int32)
    levels = factors[0].levels if single else ALL_ROWS
    own = None if weights is None else weights.rows if single else weights.total
    precise = weights is not None and weights.is_precision
    products = sum_products(spec, columns, mask, codes, levels, response, offset, own, precision=precise, held=held)
    copies = None if weights is None or not single else weights.copies
    return products if copies is None else products.reweight(copies[0])
