"""The rows of a model: which are used, and their design columns, some at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from crosslevel.design.products import CrossProducts, Moments
from crosslevel.errors import DesignError
from crosslevel.formula import Spec
from crosslevel.memory import require_memory
from crosslevel.table import Columns
from crosslevel.types import BoolArray, CodeArray, FloatArray, Missing

CHUNK = 1 << 14
"""Rows read at a time when they come cluster by cluster: a block stays in the processor's cache."""

UNSORTED_RUN, UNSORTED_BYTES = 32, 1 << 25
"""When clusters are mixed, a block is made large enough to find this many rows of a cluster in it, up to this size."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RowCount:
    """How many rows came, and why some were not used.

    Attributes
    ----------
    read : rows of the data.
    used : rows without missing values in the model's variables, whose weight is not zero.
    missing : for each variable with missing values, how many.
    weightless : rows left out because their weight is zero.
    """

    read: int
    used: int
    missing: Mapping[str, int]
    weightless: int = 0

    @property
    def dropped(self) -> int:
        """Rows not used for missing values."""
        return self.read - self.used - self.weightless


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldRows:
    """Rows that are few, held as they were evaluated, for who asks for the same again.

    Attributes
    ----------
    spec, columns, mask : what they were evaluated from.
    block : (m + 1, rows used) design columns, and the outcome in the data.
    """

    spec: Spec
    columns: Columns
    mask: BoolArray | None
    block: FloatArray

    @classmethod
    def of(cls, spec: Spec, columns: Columns, mask: BoolArray | None) -> "HeldRows | None":
        """The used rows, if one chunk holds all; else None."""
        if columns.n_rows > CHUNK:
            return None
        evaluator, used = spec.bind(columns, mask), columns.n_rows if mask is None else int(np.count_nonzero(mask))
        block = np.empty((len(spec.columns) + 1, used))
        evaluator.evaluate(out=block[:-1])
        block[-1] = evaluator.response()
        return cls(spec=spec, columns=columns, mask=mask, block=block)

    def are_of(self, spec: Spec, columns: Columns, mask: BoolArray | None) -> bool:
        """Whether they were evaluated from these."""
        return spec is self.spec and columns is self.columns and mask is self.mask


def read_blocks(
    spec: Spec,
    columns: Columns,
    mask: BoolArray | None,
    codes: CodeArray,
    chunk: int,
    response: FloatArray | None = None,
    offset: FloatArray | None = None,
    held: HeldRows | None = None,
) -> Iterator[tuple[FloatArray, CodeArray, slice]]:
    """Evaluate the used rows, `chunk` at a time: design columns with the response last, clusters, place.

    `response` (rows used,) stands in for the outcome in the data; `offset` (rows used,) is subtracted from either.
    Rows that are `held` are copied.
    """
    m, done = len(spec.columns), 0
    if held is not None and held.are_of(spec, columns, mask):
        block = held.block.copy()
        block[m] = block[m] if response is None else response
        block[m] -= 0.0 if offset is None else offset
        yield block, codes if mask is None else codes[mask], slice(0, columns.n_rows)
        return
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
        if offset is not None:
            block[m] -= offset[done : done + length]
        done += length
        yield block, codes[rows] if keep is None else codes[rows][keep], rows


def count_rows(
    columns: Columns, mask: BoolArray | None, counts: Mapping[str, int], missing: Missing, *, weightless: int = 0
) -> RowCount:
    """Count the rows, refusing an empty remainder or, on request, any missing value.

    `mask` leaves out rows with missing values, counted in `counts`, and `weightless` rows that weigh nothing.
    """
    used = columns.n_rows if mask is None else int(np.count_nonzero(mask))
    return count_of(columns.n_rows, used, counts, missing, weightless=weightless)


def check_missing(missing: object) -> None:
    """Raise `DesignError` unless `missing` is a way to treat missing values."""
    if missing not in ("drop", "raise"):
        raise DesignError(f"`missing` is 'drop' or 'raise'; got {missing!r}.")


def count_of(read: int, used: int, counts: Mapping[str, int], missing: Missing, *, weightless: int = 0) -> RowCount:
    """Rows read and used, with missing values counted in `counts`; see `count_rows`."""
    check_missing(missing)
    lacking = {name: count for name, count in counts.items() if count}
    listed = ", ".join(f"{name} ({count})" for name, count in lacking.items())
    if used == 0:
        raise DesignError(f"`data` has no row without missing values among {read}. Missing: {listed}.")
    if missing == "raise" and used + weightless < read:
        raise DesignError(
            f"`data` has {read - used - weightless} rows with missing values: {listed}. "
            "Use missing='drop' to leave them out, or impute them first."
        )
    return RowCount(read=read, used=used, missing=lacking, weightless=weightless)


def sum_products(
    spec: Spec,
    columns: Columns,
    mask: BoolArray | None,
    codes: CodeArray,
    levels: tuple[object, ...],
    response: FloatArray | None = None,
    offset: FloatArray | None = None,
    weights: FloatArray | None = None,
    *,
    precision: bool = False,
    held: HeldRows | None = None,
) -> CrossProducts:
    """Sum the cross-products of the design columns and the response (the data's, or another) over all used rows.

    `offset` (rows used,) is subtracted from the response; `weights` (rows used,) are what rows count, or precisions.
    """
    from crosslevel.kernels.moments import order_by_code

    names = (*(column.name for column in spec.columns), spec.response_name)
    require_memory(
        8.0 * len(levels) * len(names) * (len(names) + 1),
        f"`formula` has {len(names)} columns and {len(levels):,} clusters, whose cross-products",
        "Use fewer predictors or random slopes, or a sample of the clusters.",
    )
    used = codes if mask is None else codes[mask]
    is_sorted = bool(np.all(used[1:] >= used[:-1]))
    chunk = CHUNK if is_sorted else max(CHUNK, min(UNSORTED_RUN * len(levels), UNSORTED_BYTES // (8 * len(names))))
    moments: Moments | None = None
    done = 0
    for block, block_codes, _ in read_blocks(spec, columns, mask, codes, chunk, response, offset, held):
        if moments is None:
            moments = Moments.starting(block, len(levels), precision=precision)
        own = None if weights is None else weights[done : done + len(block_codes)]
        done += len(block_codes)
        if not is_sorted:
            order = np.empty(len(block_codes), dtype=np.int64)
            order_by_code(block_codes, np.zeros(len(levels) + 1, dtype=np.int64), order)
            block, block_codes = np.take(block, order, axis=1), block_codes[order]
            own = None if own is None else own[order]
        moments.add(block, block_codes, own)
    assert moments is not None
    return moments.products(names=names, levels=levels)
