"""Pairs of levels that share rows, and sums over them, against brute force."""

import numpy as np
import pytest

from crosslevel.kernels.pairs import add_blocks, add_levels, number_pairs, pair_index, sort_pairs

CASES = {
    "random": lambda rng: (rng.integers(0, 7, 300), rng.integers(0, 5, 300), 7, 5),
    "levels without rows": lambda rng: (rng.choice([1, 4], 50), rng.choice([0, 6], 50), 9, 8),
    "rows not used": lambda rng: (rng.integers(-1, 6, 200), rng.integers(-1, 4, 200), 6, 4),
    "no row used": lambda rng: (np.full(5, -1), rng.integers(0, 3, 5), 2, 3),
    "no rows": lambda rng: (np.empty(0), np.empty(0), 2, 3),
    "every pair once": lambda rng: (np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4), 4, 3),
    "one pair": lambda rng: (np.zeros(9), np.zeros(9), 1, 1),
}


def codes_of(case):
    first, second, n_first, n_second = CASES[case](np.random.default_rng(len(case)))
    return np.asarray(first, dtype=np.int32), np.asarray(second, dtype=np.int32), n_first, n_second


@pytest.mark.parametrize("case", CASES)
def test_pair_index(case):
    first, second, n_first, n_second = codes_of(case)
    start, level, index = pair_index(first, second, n_first, n_second)
    used = (first >= 0) & (second >= 0)
    pairs = sorted(set(zip(first[used].tolist(), second[used].tolist(), strict=True)))
    assert start.dtype == np.int64
    assert level.dtype == index.dtype == np.int32
    assert [(a, b) for a in range(n_first) for b in level[start[a] : start[a + 1]].tolist()] == pairs
    assert start[0] == 0
    assert start[-1] == len(level) == len(pairs)
    number = {pair: k for k, pair in enumerate(pairs)}
    assert index.tolist() == [
        number[a, b] if ok else -1 for a, b, ok in zip(first.tolist(), second.tolist(), used, strict=True)
    ]


@pytest.mark.parametrize("case", CASES)
def test_interpreted_pairs_are_the_compiled_ones(case):
    first, second, n_first, n_second = codes_of(case)
    start, place = np.zeros(n_first + 1, dtype=np.int64), np.zeros(n_second + 1, dtype=np.int64)
    rows, order, level, index = (np.empty(len(first), dtype=np.int32) for _ in range(4))
    n_used = sort_pairs.py_func(first, second, start, place, rows, order)
    n_pairs = number_pairs.py_func(second, order, n_used, start, level, index)
    compiled = pair_index(first, second, n_first, n_second)
    for ours, twin in zip((start, level[:n_pairs], index), compiled, strict=True):
        np.testing.assert_array_equal(ours, twin)


@pytest.mark.parametrize(("q", "r"), [(1, 1), (1, 4), (2, 3), (3, 1)])
@pytest.mark.parametrize("add", [add_blocks, add_levels, add_blocks.py_func], ids=["blocks", "levels", "interpreted"])
def test_sums_of_products(q, r, add):
    rng = np.random.default_rng(q + 10 * r)
    left, right, index = rng.normal(size=(q, 80)), rng.normal(size=(r, 80)), rng.integers(-1, 6, 80).astype(np.int32)
    out = rng.normal(size=(6, q, r))
    expected = out.copy()
    for i in np.flatnonzero(index >= 0):
        expected[index[i]] += np.outer(left[:, i], right[:, i])
    add(left, right, index, out)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-13)


def test_sums_over_pairs_are_the_blocks_of_the_cross_products():
    rng = np.random.default_rng(4)
    first, second = rng.integers(0, 6, 100).astype(np.int32), rng.integers(0, 4, 100).astype(np.int32)
    z_first, z_second = rng.normal(size=(2, 100)), rng.normal(size=(1, 100))
    start, level, index = pair_index(first, second, 6, 4)
    block = np.zeros((len(level), 2, 1))
    add_blocks(z_first, z_second, index, block)
    for a in range(6):
        for k in range(start[a], start[a + 1]):
            rows = (first == a) & (second == level[k])
            np.testing.assert_allclose(block[k], z_first[:, rows] @ z_second[:, rows].T, rtol=1e-12, atol=1e-13)
