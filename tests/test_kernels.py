"""Each kernel against its plain numpy twin, and compiled against interpreted."""

import dense
import numpy as np
import pytest

from crosslevel.kernels.marginal import derivative_sums, whiten_groups
from crosslevel.kernels.moments import RUN, accumulate, mirror, order_by_code
from crosslevel.kernels.reduction import reduce_groups

RTOL = 1e-12  # rounding only

COMPILED_AND_PLAIN = pytest.mark.parametrize("plain", [False, True], ids=["compiled", "interpreted"])


def assert_close(ours: np.ndarray, twin: np.ndarray, size: np.ndarray | None = None, rtol: float = RTOL) -> None:
    """Equal to rounding, relative to `size` (by default the largest element): single elements may cancel."""
    size = np.abs(twin).max(initial=1e-300) if size is None else size
    assert ours.shape == twin.shape
    assert np.all(np.abs(ours - twin) <= rtol * size)


def lengths(matrices: np.ndarray) -> np.ndarray:
    """Products of the lengths of the two columns that each element is the product of."""
    size = np.sqrt(np.einsum("...ii->...i", matrices))
    return size[..., :, None] * size[..., None, :] + 1e-300


# -- moments ----------------------------------------------------------------------------------------------------------


def sum_moments(kernel, rows, codes, n_clusters, chunks):
    m, n = rows.shape
    origin = rows[:, 0].copy()
    sums = np.zeros(n_clusters), np.zeros((n_clusters, m)), np.zeros((n_clusters, m, m))
    for start, stop in zip([0, *chunks], [*chunks, n], strict=True):
        kernel(np.ascontiguousarray(rows[:, start:stop]), codes[start:stop], origin, *sums)
    mirror(sums[2])
    return origin, *sums


def sorted_codes(rng, n_clusters, n):
    return np.sort(rng.integers(0, n_clusters, n)).astype(np.int32)


MOMENT_CASES = {
    "sorted, runs longer than a buffer": lambda rng: np.repeat([0, 1, 2], [RUN - 1, RUN, 2 * RUN + 1]),
    "sorted": lambda rng: sorted_codes(rng, 12, 500),
    "unsorted": lambda rng: rng.integers(0, 6, 400),
    "clusters of one row": lambda rng: np.arange(60),
    "clusters that are absent": lambda rng: np.sort(rng.choice([2, 3, 7], 200)),
    "one row": lambda rng: np.array([4]),
}


@COMPILED_AND_PLAIN
@pytest.mark.parametrize("case", MOMENT_CASES)
def test_moments(case, plain):
    rng = np.random.default_rng(len(case))
    codes = MOMENT_CASES[case](rng).astype(np.int32)
    scale = 10.0 ** rng.uniform(-8, 8, 5)
    rows = (rng.normal(size=(5, len(codes))) + rng.normal(size=(5, 1))) * scale[:, None]
    n_clusters = int(codes.max()) + 3
    chunks = np.unique(rng.integers(0, len(codes) + 1, 4)).tolist()
    kernel = accumulate.py_func if plain else accumulate

    origin, *ours = sum_moments(kernel, rows, codes, n_clusters, chunks)
    count, mean, scatter = dense.moments(rows - origin[:, None].astype(dense.LONG), codes, n_clusters)

    assert np.array_equal(ours[0], count)
    assert_close(ours[1], mean, scale * 10)
    assert_close(ours[2], scatter, scale[:, None] * scale * len(codes))
    assert not ours[2][count == 0].any()


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e12, -1e15])
def test_moments_far_from_zero_keep_all_digits(offset):
    rng = np.random.default_rng(3)
    codes = sorted_codes(rng, 5, 700)
    # values with few binary digits, so that adding the offset rounds nothing
    rows = np.round(rng.normal(size=(3, 700)) * 64) / 8 + np.array([offset, 0.0, -offset])[:, None]
    for order in (np.arange(700), rng.permutation(700)):
        origin, _, mean, scatter = sum_moments(accumulate, rows[:, order], codes[order], 5, [13, 400])
        _, twin_mean, twin_scatter = dense.moments(rows - origin[:, None].astype(dense.LONG), codes, 5)
        assert_close(mean, twin_mean)
        assert_close(scatter, twin_scatter)


@pytest.mark.parametrize("size", [1, 2, 7, RUN - 1, RUN, RUN + 1])
def test_moments_do_not_depend_on_chunks(size):
    rng = np.random.default_rng(size)
    n = 3 * RUN + 5 if size > 7 else 90
    codes = sorted_codes(rng, 4, n)
    rows = rng.normal(size=(3, n)) + 50.0
    _, *whole = sum_moments(accumulate, rows, codes, 4, [])
    _, *parts = sum_moments(accumulate, rows, codes, 4, list(range(size, n, size)))
    for a, b in zip(whole, parts, strict=True):
        assert_close(a, b)


def test_a_constant_column_has_no_scatter():
    rows = np.vstack([np.full(1000, 0.1), np.arange(1000.0)])
    _, _, _, scatter = sum_moments(accumulate, rows, np.repeat(np.arange(4), 250).astype(np.int32), 4, [77, 600])
    assert not scatter[:, 0].any()


def test_the_last_digit_does_not_depend_on_where_arrays_lie():
    """Vector loops that compare addresses can take neighbouring arrays for overlapping ones, and sum in another way."""
    rng = np.random.default_rng(0)
    rows, codes = rng.normal(size=(3, 180)), np.repeat(np.arange(18), 10).astype(np.int32)
    found, held = set(), []
    for _ in range(4000):
        held = [*held[-20:], np.empty(rng.integers(1, 600))]  # moves the next allocations about
        _, _, mean, scatter = sum_moments(accumulate, rows.copy(), codes, 18, [])
        found.add(mean.tobytes() + scatter.tobytes())
    assert len(found) == 1


@COMPILED_AND_PLAIN
@pytest.mark.parametrize("n", [0, 1, 500])
def test_order_by_code_is_a_stable_sort(n, plain):
    codes = np.random.default_rng(n).integers(0, 7, n).astype(np.int32)
    order = np.empty(n, dtype=np.int64)
    (order_by_code.py_func if plain else order_by_code)(codes, np.zeros(10, dtype=np.int64), order)
    assert np.array_equal(order, np.argsort(codes, kind="stable"))


@COMPILED_AND_PLAIN
def test_mirror(plain):
    matrices = np.random.default_rng(0).normal(size=(3, 4, 4))
    lower = np.tril(matrices)
    (mirror.py_func if plain else mirror)(matrices)
    assert np.array_equal(matrices, lower + np.tril(lower, -1).transpose(0, 2, 1))


# -- reduction --------------------------------------------------------------------------------------------------------

CONSTANT_SLOPES = 3  # in the first groups the second column does not vary


def grouped_rows(seed, *, scales=(1.0, 1.0, 1.0, 1.0, 1.0)):
    """Columns (6, n): an intercept, two slopes, two more predictors, the response; some groups tiny or degenerate."""
    rng = np.random.default_rng(seed)
    sizes = np.array([1, 1, 2, 3, 5, 8, 13, 30])
    codes = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    rows = rng.normal(size=(6, len(codes)))
    rows[0] = 1.0
    rows[1, codes < CONSTANT_SLOPES] = 0.1
    rows[2, codes == 6] = 2.0 * rows[1, codes == 6] - 3.0  # two slopes, one direction
    rows[1:] *= np.array(scales)[:, None]
    return rows, codes


REDUCTIONS = {
    # columns of Z, the intercept among them, columns of [X y], shifts
    "intercept and slopes": ([0, 1, 2], 0, [0, 1, 2, 3, 5], 0.0),
    "intercept only": ([0], 0, [0, 1, 5], 0.0),
    "intercept last": ([1, 2, 0], 2, [0, 1, 5], 0.0),
    "slopes only": ([1, 2], -1, [0, 1, 3, 5], 0.0),
    "shifted": ([0, 1, 2], 0, [0, 1, 2, 3, 5], 0.7),
    "slopes outside X": ([0, 4], 0, [0, 1, 5], 0.3),
    "no fixed columns": ([0, 1], 0, [5], 0.0),
}


def reduce(kernel, rows, codes, case, multiplicity):
    z, intercept, x, shift = REDUCTIONS[case]
    z, x = np.array(z), np.array(x)
    n_clusters, q, p = int(codes.max()) + 1, len(z), len(x)
    count, mean, scatter = (a.astype(float) for a in dense.moments(rows, codes, n_clusters))
    z_shift, x_shift = np.where(z == 0, 0.0, shift), np.where(x == 0, 0.0, -shift)
    inside = np.isin(x, z) & (intercept >= 0)
    out = np.zeros((n_clusters, q, q)), np.zeros((n_clusters, q, p)), np.zeros((p, p))
    kernel(count, mean, scatter, multiplicity, z, z_shift, intercept, x, x_shift, inside, *out)
    Z, X = rows[z] - z_shift[:, None], rows[x] - x_shift[:, None]
    return *out, Z, X


@COMPILED_AND_PLAIN
@pytest.mark.parametrize("scales", [(1.0,) * 5, (1e-6, 1e5, 1e8, 1.0, 1e-3)], ids=["even", "wide"])
@pytest.mark.parametrize("case", REDUCTIONS)
def test_reduction(case, scales, plain):
    rows, codes = grouped_rows(5, scales=scales)
    multiplicity = np.array([1.0, 0.0, 2.0, 1.0, 3.0, 1.0, 0.0, 1.0])
    kernel = reduce_groups.py_func if plain else reduce_groups
    root, image, remainder, Z, X = reduce(kernel, rows, codes, case, multiplicity)
    total = np.zeros((len(X), len(X)))
    for g in range(len(multiplicity)):
        mine = codes == g
        z, x = Z[:, mine].astype(dense.LONG), X[:, mine].astype(dense.LONG)
        both = lengths(np.vstack([z, x]) @ np.vstack([z, x]).T)
        assert_close(root[g].T @ root[g], z @ z.T, both[: len(z), : len(z)])
        assert_close(root[g].T @ image[g], z @ x.T, both[: len(z), len(z) :])
        total += multiplicity[g] * (x @ x.T - image[g].T @ image[g])
    weighted = X * multiplicity[codes]
    size = np.sqrt(np.sum(weighted * X, axis=1))
    assert_close(remainder, np.tril(total), np.outer(size, size))


# -- marginal ---------------------------------------------------------------------------------------------------------

FACTORS = {
    "zero": np.zeros((3, 3)),
    "full": np.array([[0.8, 0.0, 0.0], [-0.3, 0.5, 0.0], [0.2, 0.1, 0.4]]),
    "rank one": np.array([[0.8, 0.0, 0.0], [-0.3, 0.0, 0.0], [0.2, 0.0, 0.0]]),
    "near singular": np.array([[0.8, 0.0, 0.0], [-0.3, 1e-7, 0.0], [0.2, 1e-8, 1e-9]]),
    "huge": 1e4 * np.array([[0.8, 0.0, 0.0], [-0.3, 0.5, 0.0], [0.2, 0.1, 0.4]]),
    "wide": np.array([[1e4, 0.0, 0.0], [-0.3, 1e-5, 0.0], [3e2, 1e-6, 1.0]]),
}

WORSE = {"huge": 1e-10, "wide": 1e-10}
"""H has a condition of 1e9 here, which costs digits in groups with fewer rows than effects."""


def whiten(kernel, root, image, factor, multiplicity):
    n_clusters, q, p = image.shape
    out = np.zeros((n_clusters, q, q)), np.zeros((n_clusters, q, p)), np.zeros((p, p))
    return kernel(root, image, factor, multiplicity, *out), *out


@COMPILED_AND_PLAIN
@pytest.mark.parametrize("name", FACTORS)
def test_whitening(name, plain):
    rows, codes = grouped_rows(7)
    multiplicity = np.array([1.0, 0.0, 2.0, 1.0, 3.0, 1.0, 0.0, 1.0])
    root, image, remainder, Z, X = reduce(reduce_groups, rows, codes, "intercept and slopes", multiplicity)
    factor, rtol = FACTORS[name], WORSE.get(name, RTOL)
    log_det, precision, cross, total = whiten(
        whiten_groups.py_func if plain else whiten_groups, root, image, factor, multiplicity
    )

    expected_log_det, expected_total = 0.0, np.zeros((len(X), len(X)), dense.LONG)
    for g in range(len(multiplicity)):
        z, x = Z[:, codes == g].astype(dense.LONG), X[:, codes == g].astype(dense.LONG)
        half = z.T @ factor
        lower = dense.cholesky(np.eye(z.shape[1]) + half @ half.T)
        white_z, white_x = dense.forward(lower, z.T), dense.forward(lower, x.T)
        both = lengths(np.vstack([z, x]) @ np.vstack([z, x]).T)
        # beside Z'Z, of which a large Psi leaves little
        assert_close(precision[g], white_z.T @ white_z, both[: len(z), : len(z)], rtol)
        assert_close(cross[g], white_z.T @ white_x, both[: len(z), len(z) :], rtol)
        expected_log_det += multiplicity[g] * 2.0 * np.log(np.diag(lower)).sum()
        expected_total += multiplicity[g] * white_x.T @ white_x
    assert log_det == pytest.approx(float(expected_log_det), rel=RTOL, abs=1e-13)
    assert_close(remainder + total, np.tril(expected_total), rtol=rtol)


def test_log_determinant_of_many_large_effects_does_not_overflow():
    q = 8
    root, factor = np.eye(q)[None] * 1e15, np.eye(q) * 1e15
    log_det, *_ = whiten(whiten_groups, root, np.zeros((1, q, 1)), factor, np.ones(1))
    assert log_det == pytest.approx(q * np.log(1.0 + 1e60), rel=RTOL)


@COMPILED_AND_PLAIN
@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("p", [0, 3])
def test_derivative_sums(p, restricted, plain):
    rng = np.random.default_rng(p)
    n_clusters, q, scale = 7, 3, 2.5
    precision = rng.normal(size=(n_clusters, q, q))
    precision = precision + precision.transpose(0, 2, 1)
    cross, weight = rng.normal(size=(n_clusters, q, p + 1)), rng.integers(0, 3, n_clusters).astype(float)
    contrast, whitened = np.append(rng.normal(size=p), 1.0), np.triu(rng.normal(size=(p, p)))
    shapes = {"score": (q, q), "p": (q, q), "tt": (q, q), "pp": (q,) * 4, "pq": (q,) * 4}
    shapes |= {"tc": (q, q, p), "cc": (q, q, p, p)}
    out = {name: np.zeros(shape) for name, shape in shapes.items()}
    kernel = derivative_sums.py_func if plain else derivative_sums
    kernel(precision, cross, weight, contrast, whitened, scale, restricted, *out.values())

    t, f = cross @ contrast, cross[:, :, :-1] @ whitened
    tt = scale * np.einsum("gi,gj->gij", t, t)
    big_q = tt + restricted * np.einsum("gik,gjk->gij", f, f)
    twin = {
        "score": np.einsum("g,gij->ij", weight, precision - big_q),
        "p": np.einsum("g,gij->ij", weight, precision),
        "tt": np.einsum("g,gij->ij", weight, tt),
        "pp": np.einsum("g,gij,gkl->ijkl", weight, precision, precision),
        "pq": np.einsum("g,gij,gkl->ijkl", weight, precision, big_q),
        "tc": np.einsum("g,gi,gjk->ijk", weight, t, f),
        "cc": np.einsum("g,gik,gjl->ijkl", weight, f, f),
    }
    lower = np.tril(np.ones((q, q), dtype=bool))
    for name, sums in out.items():
        filled = {2: lower, 4: lower[:, :, None, None] & lower}[twin[name].ndim] if name in {"pp", "pq"} else lower
        if name in {"score", "p", "tt", "pp", "pq"}:
            assert_close(sums[filled], twin[name][filled])
            assert not sums[~filled].any()
        elif name == "cc":
            assert_close(sums[lower], twin[name][lower])
        else:
            assert_close(sums, twin[name])


def test_products_that_nobody_wants_are_left_out():
    rng = np.random.default_rng(1)
    n_clusters, q, p = 4, 2, 2
    empty = np.zeros((0, 0, 0, 0))
    sums = [np.zeros((q, q)) for _ in range(3)] + [np.zeros((q,) * 4) for _ in range(2)] + [np.zeros((q, q, p)), empty]
    derivative_sums(
        rng.normal(size=(n_clusters, q, q)), rng.normal(size=(n_clusters, q, p + 1)), np.ones(n_clusters),
        np.ones(p + 1), np.eye(p), 1.0, True, *sums,
    )  # fmt: skip
    assert sums[-1].size == 0
    assert np.all(sums[-2] != 0.0)
