"""Levels that are numbered as batches of rows come, and sorted when all have come."""

import numpy as np
import pandas as pd
import pytest

from crosslevel.table import Columns
from crosslevel.table.book import LevelBook


@pytest.mark.parametrize("far", [0, 2**40, 2**62])
def test_whole_numbers_as_ids_may_lie_far_apart_and_be_missing(far: int) -> None:
    rng = np.random.default_rng(0)
    ids = np.concatenate([rng.integers(0, 50, 300), rng.integers(-30, 20, 300), far + rng.integers(0, 9, 300)])
    parts = [pd.Series(ids[start : start + 60]) for start in range(0, 900, 60)]
    parts[4] = parts[4].astype(float).where(parts[4].index % 7 > 0)  # numbers next to missing values are floats
    batches = [Columns.from_frame({"g": part}) for part in parts]
    book = LevelBook.of(("g",))
    numbers = [book.codes(batch) for batch in batches]
    settled = book.settle()
    assert settled.levels == tuple(sorted({int(value) for part in parts for value in part.dropna()}))
    for part, batch, found in zip(parts, batches, numbers, strict=True):
        codes = settled.factor(batch, part.notna().to_numpy()).codes
        assert np.array_equal(codes, settled.place[found])
        assert [settled.levels[code] for code in codes[codes >= 0]] == part.dropna().astype(int).tolist()
        assert np.array_equal(codes < 0, part.isna())
