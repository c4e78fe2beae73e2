"""Read the rows of a model once: Spec and Columns become a Design with its cross-products."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from crosslevel.covariance import COVARIANCES, BlockStructure
from crosslevel.design.products import CrossProducts, Moments
from crosslevel.design.reduced import Reduced, independent_columns, reduce_products
from crosslevel.errors import DesignError
from crosslevel.formula import Block, Formula, Spec, learn, parse
from crosslevel.table import Columns, group_codes
from crosslevel.types import BoolArray, CodeArray, FloatArray, Frame, IntArray, Missing

CHUNK = 1 << 14
"""Rows read at a time when they come cluster by cluster: a block stays in the processor's cache."""

UNSORTED_RUN, UNSORTED_BYTES = 32, 1 << 25
"""When clusters are mixed, a block is made large enough to find this many rows of a cluster in it, up to this size."""

SATURATED = 1.0 - 1e-9
"""Share of a random effect's column, cluster by cluster, that the fixed columns explain when they leave nothing."""

CONSTANT = 1e-20
"""Share of a column's variance within clusters below which it is constant within them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RowCount:
    """How many rows came, and why some were not used.

    Attributes
    ----------
    read : rows of the data.
    used : rows without missing values in the model's variables.
    missing : for each variable with missing values, how many.
    """

    read: int
    used: int
    missing: Mapping[str, int]

    @property
    def dropped(self) -> int:
        """Rows not used."""
        return self.read - self.used


@dataclass(frozen=True, kw_only=True, eq=False)
class Design:
    """A model's columns, clusters and cross-products.

    Attributes
    ----------
    spec : the formula with what it remembers of the data.
    columns : the data, for whoever needs a second look at rows.
    mask : (rows read,) true where a row is used; None if all are.
    rows : rows read and used.
    group : name of the grouping factor.
    codes : (rows read,) cluster of each row.
    products : cross-products of the design columns and, last, the response.
    x : (p,) positions of the fixed columns that are estimated.
    aliased : names of the fixed columns left out because earlier ones determine them.
    z : (q,) positions of the random effects' columns.
    structure : blocks of the random effects.
    constant : position of the intercept, -1 if there is none.
    response : (rows used,) values that stand in for the outcome in the data; None if none do.
    """

    spec: Spec
    columns: Columns = field(repr=False)
    mask: BoolArray | None = field(repr=False)
    rows: RowCount
    group: str
    codes: CodeArray = field(repr=False)
    products: CrossProducts = field(repr=False)
    x: IntArray
    aliased: tuple[str, ...]
    z: IntArray
    structure: BlockStructure
    constant: int
    response: FloatArray | None = field(default=None, repr=False)

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return tuple(self.products.names[j] for j in self.x)

    @property
    def random_names(self) -> tuple[str, ...]:
        """Names of the random effects."""
        return tuple(self.products.names[j] for j in self.z)

    @cached_property
    def cluster_level(self) -> BoolArray:
        """(m,) whether each design column is constant within clusters."""
        within, total = np.diag(self.products.within)[:-1], np.diag(self.products.total)[:-1]
        return np.asarray(within <= CONSTANT * total)

    @cached_property
    def reduced(self) -> Reduced:
        """What the likelihood needs."""
        y = len(self.products.names) - 1
        return reduce_products(self.products, x=self.x, y=y, z=self.z, structure=self.structure, constant=self.constant)

    def blocks(self) -> Iterator[tuple[FloatArray, CodeArray, slice]]:
        """The used rows again, some at a time: design columns with the response last (m + 1, L), clusters, place."""
        return read_blocks(self.spec, self.columns, self.mask, self.codes, CHUNK, self.response)

    def with_response(self, y: FloatArray) -> "Design":
        """The same design for another response (rows used,).

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
        products = _sum_products(self.spec, self.columns, self.mask, self.codes, self.products.levels, y)
        _check_columns(products)
        design = replace(self, products=products, response=y)
        _check_identified(design)
        return design


def read_blocks(
    spec: Spec,
    columns: Columns,
    mask: BoolArray | None,
    codes: CodeArray,
    chunk: int,
    response: FloatArray | None = None,
) -> Iterator[tuple[FloatArray, CodeArray, slice]]:
    """Evaluate the used rows, `chunk` at a time: design columns with the response last, clusters, place.

    `response` (rows used,) stands in for the outcome in the data.
    """
    m, done = len(spec.columns), 0
    evaluator = spec.bind(columns, mask, response=response is None)
    for start in range(0, columns.n_rows, chunk):
        rows = slice(start, min(start + chunk, columns.n_rows))
        keep = None if mask is None else mask[rows]
        length = rows.stop - rows.start if keep is None else int(np.count_nonzero(keep))
        if length == 0:
            continue
        block = np.empty((m + 1, length))
        evaluator.evaluate(rows, out=block[:m])
        block[m] = evaluator.response(rows) if response is None else response[done : done + length]
        done += length
        yield block, codes[rows] if keep is None else codes[rows][keep], rows


def build_design(formula: str, data: Frame, *, missing: Missing = "drop") -> Design:
    """Parse a formula, learn its state from the data, and sum the cross-products in one pass.

    Parameters
    ----------
    formula : as in "y ~ x + (x | school)".
    data : any frame.
    missing : "drop" leaves out rows with a missing value in any variable of the formula; "raise" refuses them.

    Raises
    ------
    FormulaError, ColumnNotFoundError, DataError, DesignError : see their texts.
    """
    columns = Columns.from_frame(data)
    parsed = parse(formula, columns.names)
    columns.require(parsed.variables, "formula")
    group = _one_group(formula, parsed)
    mask, counts = columns.complete(parsed.variables)
    rows = _row_count(columns, mask, counts, missing)
    factor = group_codes(columns, group)
    spec = learn(parsed, columns, mask)
    codes, levels = _used_codes(factor.codes, factor.levels, mask)
    _check_group(":".join(group), levels, rows, columns, group)

    products = _sum_products(spec, columns, mask, codes, levels)
    names = products.names
    constant = names.index("Intercept") if "Intercept" in names else -1
    term = spec.terms[0]
    positions = np.concatenate([np.asarray(block.columns, dtype=np.int64) for block in term.blocks])
    _check_columns(products)
    kept, dropped = independent_columns(products, np.arange(spec.n_fixed), constant)
    design = Design(
        spec=spec,
        columns=columns,
        mask=mask,
        rows=rows,
        group=":".join(group),
        codes=codes,
        products=products,
        x=kept,
        aliased=tuple(names[j] for j in dropped),
        z=positions,
        structure=_structure(term.blocks),
        constant=constant,
    )
    _check_identified(design)
    return design


def _one_group(formula: str, parsed: Formula) -> tuple[str, ...]:
    """The columns of the one grouping factor that a model has so far."""
    groups = list(dict.fromkeys(part.group for part in parsed.random))
    if not groups:
        raise DesignError(
            f"`formula` has no random term, such as (1 | school): {formula!r}. "
            "Add one that names the clusters of your data."
        )
    if len(groups) > 1:
        named = ", ".join(":".join(group) for group in groups)
        raise DesignError(
            f"`formula` has random terms for {len(groups)} grouping factors ({named}); this version fits one. "
            "Keep the one your context variables describe."
        )
    group: tuple[str, ...] = groups[0]
    return group


def _row_count(columns: Columns, mask: BoolArray | None, counts: Mapping[str, int], missing: Missing) -> RowCount:
    """Count the rows, refusing an empty remainder or, on request, any missing value."""
    if missing not in ("drop", "raise"):
        raise DesignError(f"`missing` is 'drop' or 'raise'; got {missing!r}.")
    used = columns.n_rows if mask is None else int(np.count_nonzero(mask))
    lacking = {name: count for name, count in counts.items() if count}
    listed = ", ".join(f"{name} ({count})" for name, count in lacking.items())
    if used == 0:
        raise DesignError(f"`data` has no row without missing values among {columns.n_rows}. Missing: {listed}.")
    if missing == "raise" and used < columns.n_rows:
        raise DesignError(
            f"`data` has {columns.n_rows - used} rows with missing values: {listed}. "
            "Use missing='drop' to leave them out, or impute them first."
        )
    return RowCount(read=columns.n_rows, used=used, missing=lacking)


def _used_codes(
    codes: CodeArray, levels: tuple[object, ...], mask: BoolArray | None
) -> tuple[CodeArray, tuple[object, ...]]:
    """Codes over the clusters that have a used row."""
    if mask is None:
        return codes, levels
    present = np.bincount(codes[mask], minlength=len(levels)) > 0
    if present.all():
        return codes, levels
    place = np.append(np.cumsum(present) - 1, -1).astype(np.int32)
    return place[codes], tuple(level for level, here in zip(levels, present, strict=True) if here)


def _check_group(
    name: str, levels: tuple[object, ...], rows: RowCount, columns: Columns, group: tuple[str, ...]
) -> None:
    """Refuse one cluster, a continuous grouping variable, and clusters of one row only."""
    n_clusters = len(levels)
    if n_clusters < 2:
        raise DesignError(
            f"`formula` groups by {name!r}, which has one value in the {rows.used} rows used. "
            "A multilevel model needs at least two clusters; with one, fit an ordinary regression."
        )
    fractional = any(isinstance(level, float) and not level.is_integer() for level in levels[:1000])
    if len(group) == 1 and fractional and n_clusters > rows.used / 2:
        raise DesignError(
            f"`formula` groups by {name!r}, which looks continuous: {n_clusters} different values in {rows.used} rows. "
            "Name the column that identifies the clusters."
        )
    if n_clusters == rows.used:
        raise DesignError(
            f"`formula` groups by {name!r}, which differs in each of the {rows.used} rows, so that clusters cannot be "
            "told from residuals. Name the column that identifies the clusters."
        )


def _sum_products(
    spec: Spec,
    columns: Columns,
    mask: BoolArray | None,
    codes: CodeArray,
    levels: tuple[object, ...],
    response: FloatArray | None = None,
) -> CrossProducts:
    """Sum the cross-products of the design columns and the response (the data's, or another) over all used rows."""
    from crosslevel.kernels.moments import order_by_code

    names = (*(column.name for column in spec.columns), spec.response_name)
    used = codes if mask is None else codes[mask]
    is_sorted = bool(np.all(used[1:] >= used[:-1]))
    chunk = CHUNK if is_sorted else max(CHUNK, min(UNSORTED_RUN * len(levels), UNSORTED_BYTES // (8 * len(names))))
    moments: Moments | None = None
    for block, block_codes, _ in read_blocks(spec, columns, mask, codes, chunk, response):
        if moments is None:
            moments = Moments.starting(block, len(levels))
        if not is_sorted:
            order = np.empty(len(block_codes), dtype=np.int64)
            order_by_code(block_codes, np.zeros(len(levels) + 1, dtype=np.int64), order)
            block, block_codes = np.take(block, order, axis=1), block_codes[order]
        moments.add(block, block_codes)
    assert moments is not None
    return moments.products(names=names, levels=levels)


def _structure(blocks: tuple[Block, ...]) -> BlockStructure:
    """Covariance structure of a term's blocks; their columns are numbered in order."""
    kinds, places, start = [], [], 0
    for block in blocks:
        name, width = block.structure, len(block.columns)
        if name not in COVARIANCES:
            raise DesignError(
                f"`formula` asks for the covariance structure {name!r}; this version has {', '.join(COVARIANCES)}."
            )
        kinds.append(COVARIANCES[name])
        places.append(np.arange(start, start + width))
        start += width
    return BlockStructure(kinds=tuple(kinds), columns=tuple(places), q=start)


def _check_columns(products: CrossProducts) -> None:
    """Refuse columns whose squares overflow, and an outcome that does not vary."""
    huge = [name for name, size in zip(products.names, np.diag(products.total), strict=True) if not np.isfinite(size)]
    if huge:
        raise DesignError(
            f"`formula` uses {', '.join(huge)}, with values so large that their squares overflow. "
            "Measure them in larger units: divide by a power of ten."
        )
    name, total = products.names[-1], float(products.total[-1, -1])
    size = float((products.grand_mean + products.origin)[-1] ** 2 * products.n_rows)
    if total <= 1e-26 * size or total == 0.0:
        raise DesignError(
            f"`formula` explains {name!r}, which has the same value in all {products.n_rows} rows used. "
            "Choose an outcome that varies."
        )


def _check_identified(design: Design) -> None:
    """Refuse a model whose residual variance cannot be told from its random effects, or is zero."""
    n, p, q = design.rows.used, len(design.x), len(design.z)
    n_clusters = len(design.products.levels)
    if n <= p:
        raise DesignError(f"`formula` has {p} fixed coefficients for {n} rows. Drop predictors or add rows.")
    if np.minimum(design.products.count, q).sum() >= n:
        raise DesignError(
            f"`formula` has {q * n_clusters} random effects ({q} for each of {n_clusters} clusters of {design.group}) "
            f"for {n} rows, so they cannot be told from the residuals. Drop a random slope, or add rows per cluster."
        )
    reduced = design.reduced
    rest = reduced.remainder
    values, vectors = np.linalg.eigh(rest[:-1, :-1])
    able = values > 1e-12 * max(float(values.max(initial=0.0)), 1e-300)
    image = vectors[:, able].T @ rest[:-1, -1]
    left = float(rest[-1, -1] - np.sum(image * image / values[able]))
    if left <= 1e-13 * n:
        raise DesignError(
            f"`formula` reproduces {design.products.names[-1]!r} exactly within the clusters of {design.group}: the "
            "residual variance is zero and the likelihood has no maximum. Check for an outcome that is a function of "
            "the predictors or is constant within clusters."
        )
    _check_random_columns(design)
    _check_variances(design)


def _check_random_columns(design: Design) -> None:
    """Refuse effects that vary freely together although one's column is a linear combination of the others'."""
    for kind, columns in zip(design.structure.kinds, design.structure.columns, strict=True):
        _, dropped = independent_columns(design.products, design.z[columns], design.constant)
        if kind.free and len(dropped):
            names = ", ".join(design.random_names[columns[k]] for k in dropped)
            raise DesignError(
                f"`formula` lets {names} vary between clusters of {design.group} although other columns of the same "
                "random term determine it, so that their variances cannot be told apart. Drop it from the random term."
            )


def _check_variances(design: Design) -> None:
    """Refuse random effects of which the fixed effects explain all differences between clusters.

    Column k of Z, cut down to one cluster, then lies in the span of X, whichever cluster it is: nothing of the effects
    is left to estimate their variance from. That takes at least as many fixed columns as clusters.
    """
    reduced, n_clusters = design.reduced, len(design.products.levels)
    if reduced.p < n_clusters:
        return
    root, image = reduced.root @ reduced.basis, reduced.image[:, :, :-1]
    gram = reduced.remainder[:-1, :-1] + np.einsum("gka,gkb->ab", image, image)
    cross = root.transpose(0, 2, 1) @ image
    solved = np.linalg.solve(gram, cross.transpose(0, 2, 1))
    explained = np.einsum("gka,gak->k", cross, solved)
    size = np.einsum("gik,gik->k", root, root)
    names = [name for name, share in zip(design.random_names, explained / size, strict=True) if not share < SATURATED]
    if names:
        raise DesignError(
            f"`formula` has {reduced.p} fixed coefficients that explain all differences between the {n_clusters} "
            f"clusters of {design.group} in {', '.join(names)}, so that their variance cannot be estimated. "
            "Drop cluster-level predictors, or fit an ordinary regression."
        )
