"""What the rows and the levels of a design weigh, and what is subtracted from its outcome."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crosslevel.design.factors import GroupingFactor
from crosslevel.errors import DesignError
from crosslevel.table import Columns
from crosslevel.types import BoolArray, CodeArray, FloatArray
from crosslevel.weights import Frequency, Precision, Sampling, Weights, cluster_weights, row_weights, scaling_concern


@dataclass(frozen=True, kw_only=True, eq=False)
class RowWeights:
    """Weights of the rows and levels that are used.

    Attributes
    ----------
    given : how they are to be read.
    rows : (rows used,) all positive, scaled; None if each counts once.
    copies : for each grouping factor (J,) how often each level counts within the level it lies in; None if all once.
    inside : for each factor (rows used,) what each row counts in one copy of its level: its weight times those of the
        levels of all factors nested in this one.
    total : (rows used,) what each row counts in all.
    outermost : position of the factor whose levels were drawn first, with sampling weights.
    concern : what has to be known of their scaling, in words; None if nothing.
    """

    given: Weights
    rows: FloatArray | None
    copies: tuple[FloatArray, ...] | None
    inside: tuple[FloatArray | None, ...]
    total: FloatArray | None
    outermost: int = 0
    concern: str | None = None

    @property
    def is_precision(self) -> bool:
        """Whether weights divide the residual variance, and rows stay rows."""
        return isinstance(self.given, Precision)

    @property
    def is_frequency(self) -> bool:
        """Whether a row stands for several."""
        return isinstance(self.given, Frequency)

    @property
    def is_sampling(self) -> bool:
        """Whether the likelihood is a pseudo-likelihood."""
        return isinstance(self.given, Sampling)


def weigh(weights: Weights, columns: Columns, mask: BoolArray | None, factors: Sequence[GroupingFactor]) -> RowWeights:
    """Weights of the used rows and of the levels of all factors.

    Raises
    ------
    DesignError : weights of clusters that are no grouping factor of the model, or factors that are not nested.
    DataError : weights that differ within a cluster.
    """
    if isinstance(weights, Sampling):
        return _sampling(weights, columns, mask, factors)
    values = row_weights(weights, columns, mask, np.zeros(0, dtype=np.int32), 0)
    return RowWeights(given=weights, rows=values, copies=None, inside=(values,) * len(factors), total=values)


def _sampling(
    weights: Sampling, columns: Columns, mask: BoolArray | None, factors: Sequence[GroupingFactor]
) -> RowWeights:
    """Sampling weights: scaled within the innermost clusters, and multiplied up level by level."""
    names = [factor.name for factor in factors]
    several = [factor.name for factor in factors if factor.members]
    if several:
        raise DesignError(
            f"`weights` are sampling weights, whose pseudo-likelihood is made of clusters within clusters, but rows "
            f"belong to several levels of {several[0]}. Keep nested factors only, or use no sampling weights."
        )
    unknown = [name for name in weights.clusters if name not in names]
    if unknown:
        raise DesignError(
            f"`weights` has weights for clusters of {', '.join(map(repr, unknown))}; the grouping factors of the model "
            f"are {', '.join(map(repr, names))}. Name one of these."
        )
    used = [factor.codes if mask is None else factor.codes[mask] for factor in factors]
    order = _inner_first(factors, used)
    innermost = factors[order[0]]
    rows = row_weights(weights, columns, mask, used[order[0]], innermost.n_levels)
    total, inside = rows, [rows] * len(factors)
    copies: list[FloatArray] = [np.ones(factor.n_levels) for factor in factors]
    for k in order:
        inside[k], name = total, weights.clusters.get(factors[k].name)
        if name is not None:
            copies[k] = cluster_weights(columns, name, names[k], mask, used[k], factors[k].n_levels)
            total = copies[k][used[k]] if total is None else total * copies[k][used[k]]
    return RowWeights(
        given=weights,
        rows=rows,
        copies=tuple(copies) if weights.clusters else None,
        inside=tuple(inside),
        total=total,
        outermost=order[-1],
        concern=scaling_concern(weights, rows, used[order[0]], innermost.n_levels, innermost.name),
    )


def _inner_first(factors: Sequence[GroupingFactor], used: Sequence[CodeArray]) -> list[int]:
    """The factors from the innermost to the outermost, which all have to be nested in each other."""
    several = [factor.name for factor in factors if factor.members]
    if several:
        raise DesignError(
            "`weights` are sampling weights, whose pseudo-likelihood is made of clusters within clusters, but rows lie "
            f"in several levels of {', '.join(several)}. Keep nested factors only, or use no sampling weights."
        )
    order = sorted(range(len(factors)), key=lambda k: -factors[k].n_levels)
    for inner, outer in pairwise(order):
        parent = np.zeros(factors[inner].n_levels, dtype=np.int32)
        parent[used[inner]] = used[outer]
        if np.any(parent[used[inner]] != used[outer]):
            raise DesignError(
                "`weights` are sampling weights, whose pseudo-likelihood is made of clusters within clusters, but "
                f"{factors[inner].name} and {factors[outer].name} are not nested: levels of the first lie in several "
                "of the second. Keep nested factors only, or use no sampling weights."
            )
    return order


def used_rows(
    columns: Columns, variables: Iterable[str], weights: Weights | None, offset: object
) -> tuple[BoolArray | None, dict[str, int], FloatArray | None]:
    """Rows without missing values (None if all are), missing values by variable, and the offset (rows read,)."""
    names = list(variables)
    if weights is not None:
        columns.require(weights.columns, "weights")
        names += weights.columns
    column = offset_column(offset, columns)
    mask, counts = columns.complete(names if column is None else [*names, column])
    values = offset_values(offset, columns)
    if values is not None and column is None and np.any(np.isnan(values)):
        counts["offset"] = int(np.count_nonzero(np.isnan(values)))
        mask = ~np.isnan(values) if mask is None else mask & ~np.isnan(values)
    return mask, counts, values


def offset_column(offset: object, columns: Columns) -> str | None:
    """The column an offset is named by; None for no offset, and for one that is given as numbers."""
    if isinstance(offset, str):
        columns.require([offset], "offset")
        return offset
    return None


def offset_values(offset: object, columns: Columns) -> FloatArray | None:
    """Offset (rows read,) by name or as numbers, NaN where missing; None for none.

    Raises
    ------
    DesignError : a wrong length, infinite values, or no numbers.
    """
    if offset is None:
        return None
    if isinstance(offset, str):
        values = columns.numeric(offset)
    else:
        try:
            values = np.array(offset, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DesignError(
                f"`offset` is the name of a column or one number per row; got {type(offset).__name__}."
            ) from error
        if values.shape != (columns.n_rows,):
            raise DesignError(
                f"`offset` needs one number for each of the {columns.n_rows} rows of the data; "
                f"got shape {values.shape}."
            )
    if np.any(np.isinf(values)):
        raise DesignError(f"`offset` is infinite in {np.count_nonzero(np.isinf(values))} rows. Correct them.")
    return values
