"""Dask frames: each partition is worked through where Dask puts it, and the results are merged in a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pandas as pd

from crosslevel.errors import DataError
from crosslevel.table.columns import Columns, refuse_duplicates
from crosslevel.table.progress import Progress

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class PartitionedRows:
    """Rows of a Dask DataFrame. Scheduling, retries and lost workers are Dask's business: its tasks are pure."""

    frame: Any
    names: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    n_rows: int | None = None
    has_index: bool = True

    @classmethod
    def of(cls, frame: Any) -> PartitionedRows:
        """Rows of a frame whose columns have different names, all of them text."""
        names = list(frame.columns)
        if not all(isinstance(name, str) for name in names):
            raise DataError("`data` is a Dask frame with column names that are not text. Rename its columns.")
        refuse_duplicates(names, "data")
        return cls(frame=frame, names=tuple(names))

    def batches(self, names: Sequence[str]) -> Iterator[Columns]:
        """All rows, a partition at a time, brought to this process; see `RowSource`."""
        for part in self.frame[list(names)].to_delayed():
            frame = part.compute()
            if len(frame):
                yield Columns.from_frame(frame)

    def reduce(
        self,
        names: Sequence[str],
        task: Callable[[Iterable[Columns]], T],
        merge: Callable[[T, T], T],
        progress: Progress,
    ) -> T:
        """Work through all partitions on Dask's cluster; see `RowSource`."""
        from dask.delayed import delayed

        progress.say(f"{self.frame.npartitions:,} partitions by Dask")
        on_partition, merged = delayed(_on_partition), delayed(_merged)
        shared = delayed(task)
        results = [on_partition(shared, part) for part in self.frame[list(names)].to_delayed()]
        while len(results) > 1:
            pairs = [results[i : i + 2] for i in range(0, len(results), 2)]
            results = [merged(merge, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        found = results[0].compute()
        return task([]) if found is None else found


def _on_partition(task: Callable[[Iterable[Columns]], T], partition: pd.DataFrame) -> T | None:
    """What a task makes of one partition; None of an empty one."""
    return task([Columns.from_frame(partition)]) if len(partition) else None


def _merged(merge: Callable[[T, T], T], first: T | None, second: T | None) -> T | None:
    """One result of two."""
    if first is None or second is None:
        return second if first is None else first
    return merge(first, second)
