"""Rows that are read some at a time, as often as they are needed: files, folders, database queries, Dask frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import pandas as pd
from pandas.api.types import union_categoricals

from crosslevel.table.columns import Columns, refuse_duplicates
from crosslevel.table.progress import Progress
from crosslevel.types import Frame

BATCH_BYTES, MOST_ROWS = 1 << 25, 1 << 20
"""Size of a batch, and the largest number of rows in one."""

ARGUMENT = "data"

READERS = ("to_arrow_reader", "fetch_record_batch", "fetch_arrow_reader")
"""Methods of a DuckDB relation that read it in batches, the one of the newest version first."""

T = TypeVar("T")


class RowSource(Protocol):
    """Data whose rows are read in batches, any number of times."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Variable labels, for the columns that have one."""

    @property
    def n_rows(self) -> int | None:
        """Number of rows, where it is known without reading them."""

    @property
    def has_index(self) -> bool:
        """Whether rows have labels of their own."""

    def batches(self, names: Sequence[str]) -> Iterator[Columns]:
        """All rows of some columns, in order, some at a time; no batch is empty.

        Raises
        ------
        FileError : what is read is damaged, or changes its type on the way.
        """

    def reduce(
        self,
        names: Sequence[str],
        task: Callable[[Iterable[Columns]], T],
        merge: Callable[[T, T], T],
        progress: Progress,
    ) -> T:
        """Work through all batches of some columns.

        Parameters
        ----------
        names : the columns.
        task : what to make of batches. It must depend on them alone, because it may run anywhere, and twice.
        merge : makes one result of two, the rows of the first being those that come first.
        progress : told of the rows read.
        """


def open_source(data: Frame) -> RowSource | None:
    """The rows of a path, a pyarrow dataset, a DuckDB relation or a Dask frame; None for a frame in memory.

    Raises
    ------
    FileError : there is no such file, or it is of a type that cannot be read in batches.
    """
    if isinstance(data, pd.DataFrame):
        return None
    if isinstance(data, str | os.PathLike):
        from crosslevel.table.scan import scan_path

        return scan_path(data)
    if all(hasattr(data, name) for name in ("scanner", "get_fragments", "schema")):
        from crosslevel.table.scan import DatasetRows

        return DatasetRows.of(data, title="the dataset")
    if all(hasattr(data, name) for name in ("to_delayed", "npartitions", "map_partitions")):
        from crosslevel.table.partitions import PartitionedRows

        return PartitionedRows.of(data)
    if hasattr(data, "project") and any(hasattr(data, name) for name in READERS):
        return QueryRows.of(data)
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryRows:
    """Rows of a DuckDB relation: the query runs anew for each pass.

    Examples
    --------
    >>> import duckdb
    >>> rows = QueryRows.of(duckdb.sql("select range as x, 1 as g from range(5)"))
    >>> [batch.numeric("x").tolist() for batch in rows.batches(["x"])]
    [[0.0, 1.0, 2.0, 3.0, 4.0]]
    """

    relation: Any
    names: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    n_rows: int | None = None
    has_index: bool = False

    @classmethod
    def of(cls, relation: Any) -> QueryRows:
        """Rows of a relation, whose columns must have different names."""
        refuse_duplicates(relation.columns, ARGUMENT)
        return cls(relation=relation, names=tuple(relation.columns))

    def batches(self, names: Sequence[str]) -> Iterator[Columns]:
        """All rows of some columns; see `RowSource`."""
        quoted = ['"' + name.replace('"', '""') + '"' for name in names]
        relation = self.relation.project(", ".join(quoted))
        read = next(getattr(relation, name) for name in READERS if hasattr(relation, name))
        size = rows_per_batch(len(names))
        yield from regrouped(iter(read(size)), size)

    def reduce(
        self,
        names: Sequence[str],
        task: Callable[[Iterable[Columns]], T],
        merge: Callable[[T, T], T],
        progress: Progress,
    ) -> T:
        """Work through all batches; see `RowSource`."""
        return task(progress.counted(self.batches(names), self.n_rows))


def rows_per_batch(n_columns: int) -> int:
    """Rows of a batch of this many columns."""
    return min(BATCH_BYTES // (8 * max(n_columns, 1)), MOST_ROWS)


def regrouped(parts: Iterable[Any], size: int) -> Iterator[Columns]:
    """Arrow's record batches as columns, put together until there are at least `size` rows."""
    import pyarrow as pa

    held: list[Any] = []
    count = 0
    for part in parts:
        if part.num_rows:
            held.append(part)
            count += part.num_rows
        if count >= size:
            yield Columns.from_frame(pa.Table.from_batches(held).unify_dictionaries(), ARGUMENT)
            held, count = [], 0
    if held:
        yield Columns.from_frame(pa.Table.from_batches(held).unify_dictionaries(), ARGUMENT)


def used_rows(source: RowSource, variables: Sequence[str], n_used: int) -> Columns:
    """The rows without a missing value in `variables` as columns, each of which is read when it is asked for."""
    frame: Any = OnRequest(source, variables)
    return Columns(names=source.names, n_rows=n_used, labels=source.labels, argument=ARGUMENT, frame=frame)


def used_index(source: RowSource, variables: Sequence[str]) -> pd.Index:
    """Row labels of a Dask frame, or row numbers of anything else, of the rows without a missing value."""
    found: list[pd.Index] = []
    start = 0
    for batch in source.batches(variables):
        mask, _ = batch.complete(variables)
        index = batch.index(mask)
        found.append(index if source.has_index else index + start)
        start += batch.n_rows
    return found[0].append(found[1:])


class OnRequest:
    """Stands in for a frame: a column is read when it is asked for."""

    def __init__(self, source: RowSource, variables: Sequence[str]) -> None:
        self.source, self.variables = source, tuple(variables)

    def __getitem__(self, name: str) -> Any:
        """The column in the rows that have a value in all of `variables`."""
        parts = []
        for batch in self.source.batches(tuple(dict.fromkeys([*self.variables, name]))):
            mask, _ = batch.complete(self.variables)
            parts.append(batch.to_pandas([name], mask=mask)[name])
        if all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts):
            whole = pd.Series(union_categoricals(parts), name=name)
        else:
            whole = pd.concat(parts, ignore_index=True)
        return whole

    def get_column(self, name: str) -> Any:
        """The same, by the name that frames have for it."""
        return self[name]
