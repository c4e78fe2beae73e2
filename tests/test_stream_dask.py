"""Dask frames are worked through on their cluster, with the result that the same rows have in memory."""

import os
import signal
from itertools import pairwise
from pathlib import Path

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.distributed import Client, LocalCluster
from test_stream import FORMULAS, assert_same, frame, streamed

CATEGORIES = ["d", "c", "unused", "b", "a"]


def parts(data: pd.DataFrame, n: int) -> list[pd.DataFrame]:
    """Pieces of different lengths, one of them empty."""
    bounds = [0, *np.sort(np.random.default_rng(3).choice(len(data), n - 2)), len(data), len(data)]
    return [data[start:stop] for start, stop in pairwise(bounds)]


@pytest.mark.parametrize("formula", FORMULAS)
def test_partitions_equal_memory(formula: str) -> None:
    data = frame().assign(f=lambda rows: pd.Categorical(rows["f"], categories=CATEGORIES))
    pieces = parts(data, 9)
    given = dd.from_map(lambda i: pieces[i], range(len(pieces)))
    assert_same(streamed(formula, given), formula, data)


def test_a_partition_without_used_rows_changes_nothing() -> None:
    data = frame()
    data.loc[data.index[:300], "y"] = np.nan
    given = dd.from_pandas(data, npartitions=9)
    for formula in (FORMULAS[0], FORMULAS[2]):
        assert_same(streamed(formula, given), formula, data)


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    data = frame()
    pieces = parts(data, 12)

    def load(number: int) -> pd.DataFrame:
        """Return a part of the rows; the process dies when part 5 is read first, and part 8 in the second pass."""
        seen = tmp_path / f"{number}-{len(list(tmp_path.glob(f'{number}-*')))}"
        seen.touch()
        if seen.name in ("5-0", "8-1"):
            os.kill(os.getpid(), signal.SIGKILL)
        return pieces[number]

    formula = FORMULAS[2]
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        first = set(client.scheduler_info()["workers"])
        found = streamed(formula, dd.from_map(load, range(len(pieces)), meta=data.head(0)))
        assert set(client.scheduler_info()["workers"]) != first
    assert (tmp_path / "5-1").exists()
    assert (tmp_path / "8-2").exists()
    assert_same(found, formula, data)
