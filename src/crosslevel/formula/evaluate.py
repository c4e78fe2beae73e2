"""Components + data -> arrays: the design columns and the response, for the used rows of any slice."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crosslevel.errors import DataError, DataWarning
from crosslevel.formula.components import ClusterMeans, Component, External, LevelTable, Product, parts, product, values
from crosslevel.formula.finite import refuse_undefined
from crosslevel.formula.rows import Rows, Source
from crosslevel.formula.state import aligned, cluster_means
from crosslevel.table.columns import Columns
from crosslevel.table.factor import Factor
from crosslevel.types import BoolArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluator:
    """A learnt formula bound to data: categories and clusters are matched, slices are evaluated as often as needed.

    components, products : what the design columns are made of, and how.
    outcome : component of the response; None if it is not needed.
    source : the data and the rows of it that are used.
    """

    components: tuple[Component, ...]
    products: tuple[Product, ...]
    outcome: Component | None
    source: Source

    def evaluate(self, rows: slice = slice(None), out: FloatArray | None = None) -> FloatArray:
        """Design columns at the used rows of a slice.

        Parameters
        ----------
        rows : the slice.
        out : (m, L) array to write to; a new one by default.

        Returns
        -------
        design : (m, L), one row per column of the spec, C-contiguous.

        Raises
        ------
        DataError : a value is infinite or undefined.
        """
        used = self.source.rows(rows)
        if out is None:
            out = np.empty((len(self.products), used.size))
        with np.errstate(all="ignore"):
            _fill(self, used, out)
            finite = np.isfinite(out.sum(axis=1))
        for position in np.flatnonzero(~finite):
            if not np.isfinite(out[position]).all():
                numbers = {number for number, _ in self.products[position].atoms}
                refuse_undefined([self.components[number] for number in sorted(numbers)], self.source)
        return out

    def response(self, rows: slice = slice(None)) -> FloatArray:
        """Response at the used rows of a slice, (L,).

        Raises
        ------
        DataError : a value is infinite or undefined.
        """
        if self.outcome is None:
            raise ValueError("this evaluator was bound without the response; bind with response=True.")
        used = self.source.rows(rows)
        with np.errstate(all="ignore"):
            response = np.array(values(self.outcome, (0,), used)[0], dtype=np.float64)
            finite = np.isfinite(response.sum())
        if not finite and not np.isfinite(response).all():
            refuse_undefined([self.outcome], self.source)
        return response

    def component(self, name: str, rows: slice = slice(None)) -> FloatArray:
        """One component column (a name in `DesignColumn.factors`) at the used rows of a slice, (L,).

        Raises
        ------
        KeyError : no design column has a factor of this name.
        """
        for component in self.components:
            if name in component.names:
                used = self.source.rows(rows)
                return np.array(values(component, (component.names.index(name),), used)[0], dtype=np.float64)
        raise KeyError(name)


def bind(
    components: tuple[Component, ...],
    products: tuple[Product, ...],
    outcome: Component | None,
    columns: Columns,
    mask: BoolArray | None,
    factors: Mapping[tuple[str, ...], Factor] | None = None,
) -> Evaluator:
    """Match the categories and clusters of some data with those that are remembered; see `Spec.bind`."""
    source = Source(columns=columns, mask=mask, factors=dict(factors or {}), is_batch=factors is not None)
    whole = [*components, *([outcome] if outcome is not None else [])]
    columns.require((name for each in whole for name in each.variables), "formula")
    new_clusters: dict[tuple[str, ...], int] = {}
    for origin in (part.origin for each in whole for part in parts(each)):
        if isinstance(origin, LevelTable):
            _refuse_new_levels(origin.variable, origin.levels, source)
            source.tables[origin] = aligned(origin, source)
        elif isinstance(origin, ClusterMeans):
            source.tables[origin], new = _completed(origin, source)
            new_clusters[origin.group] = max(new, new_clusters.get(origin.group, 0))
        elif isinstance(origin, External):
            for variable, levels in origin.model.levels.items():
                _refuse_new_levels(variable, levels, source)
    _warn_of_new_clusters(new_clusters, columns.argument)
    return Evaluator(components=components, products=products, outcome=outcome, source=source)


def _fill(evaluator: Evaluator, rows: Rows, out: FloatArray) -> None:
    """Write the design columns: those that are one component column first, then the products of them."""
    wanted: dict[int, dict[int, FloatArray | None]] = {}
    for made in evaluator.products:
        for number, index in made.atoms:
            wanted.setdefault(number, {})[index] = None
    arrays: dict[tuple[int, int], FloatArray] = {}
    for number, indices in wanted.items():
        found = values(evaluator.components[number], tuple(indices), rows)
        arrays.update({(number, index): array for index, array in zip(indices, found, strict=True)})
    for row, made in zip(out, evaluator.products, strict=True):
        if made.atoms:
            product([arrays[atom] for atom in made.atoms], row)
            if made.scale != 1:
                row *= made.scale
        else:
            row.fill(made.scale)


def _refuse_new_levels(variable: str, levels: tuple[object, ...], source: Source) -> None:
    """Raise `DataError` if a category occurs in the used rows that is not among `levels`."""
    factor = source.factor((variable,))
    if factor.levels is levels:
        return
    known = set(levels)
    new = [level not in known for level in factor.levels]
    if not any(new):
        return
    occurring = [
        level for level, is_new, n in zip(factor.levels, new, source.counts((variable,)), strict=True) if is_new and n
    ]
    if occurring:
        shown = ", ".join(repr(level) for level in occurring[:5]) + (", ..." if len(occurring) > 5 else "")
        raise DataError(
            f"`{source.columns.argument}` has {shown} in column {variable!r}, which the fitted model does not know. "
            f"It knows {', '.join(repr(level) for level in levels[:20])}. Leave those rows out, or recode them."
        )


def _completed(origin: ClusterMeans, source: Source) -> tuple[FloatArray, int]:
    """Remembered cluster means by the levels of these data, new ones from these data; the number of these."""
    table = aligned(origin, source)
    unknown = np.isnan(table[0, :-1])
    new = unknown & (source.counts(origin.group) > 0) if unknown.any() else unknown
    if new.any():
        table = np.array(table)
        table[0, :-1][new] = cluster_means(origin.argument, origin.group, source)[new]
    return table, int(np.count_nonzero(new))


def _warn_of_new_clusters(counts: dict[tuple[str, ...], int], argument: str) -> None:
    """Warn, once for all groups, that clusters have no remembered mean."""
    found = [f"{count} of the clusters of {':'.join(group)}" for group, count in counts.items() if count]
    if found:
        warnings.warn(
            f"{' and '.join(found)} were not in the fitted data, so within() and between() use the mean of their rows "
            f"in `{argument}`.",
            DataWarning,
            stacklevel=4,
        )
