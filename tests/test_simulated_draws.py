"""Cross-products drawn without rows: random numbers, moments, and the same distribution as rows."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import crosslevel as cl
from crosslevel.design import build_design
from crosslevel.kernels import simulated, streams
from crosslevel.simulation.processes.correlations import RandomCorrelation
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.exact import ExactSampler
from crosslevel.simulation.processes.model import Model
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.rows import RowSampler
from crosslevel.simulation.processes.sampler import sampler_of
from crosslevel.simulation.processes.sizes import Sizes
from crosslevel.simulation.processes.variables import Arms, Binary, Context, Normal, StudentT

Array = NDArray[np.float64]

PROCESS = Process(
    formula="y ~ x1 + x2 + z + x1:z + (1 + x1 | g)",
    effects={"Intercept": 1.0, "x1": 0.5, "x2": -1.0, "z": 0.7, "x1:z": 0.4},
    sd={"Intercept": 0.8, "x1": 0.6},
    correlation=0.5,
    sigma=1.5,
    clusters=40,
    size=7,
    variables={"x1": Normal(mean=2.0, sd=1.5, between=0.3), "x2": Normal(sd=0.5), "z": Context(sd=1.2)},
    predictor_correlation=0.6,
)
PLAIN = PROCESS.changed_by({
    "formula": "y ~ z + (1 | g)", "effects": {"Intercept": 1, "z": 1}, "sd": {"Intercept": 1}, "correlation": 0.0,
})  # fmt: skip
WIDE = "y ~ x1 + x2 + z + x1:z + within(x2, g) + between(x1, g) + z:between(x1, g) + (1 + x1 | g)"
LEVEL = 1e-4
"""Of each of a few hundred tests of distributions; seeds are fixed."""


def seeds_of(number: int, seed: int = 1) -> list[np.random.SeedSequence]:
    return np.random.SeedSequence(seed).spawn(number)


def state_of(seed: int) -> NDArray[np.uint64]:
    return np.random.SeedSequence(seed).generate_state(4, np.uint64)


def with_rows(process: Process) -> Process:
    return process.changed("rows", True)


def drawn_of(process: Process, formula: str, number: int, seed: int = 1) -> Drawn:
    return sampler_of(process, [formula]).draw(seeds_of(number, seed))


def near(values: Array, expected: float) -> None:
    """The mean of independent values is within 4.5 standard errors of what it should be."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean() - expected) <= 4.5 * error + 1e-12, (values.mean(), expected, error)


# -- random numbers -----------------------------------------------------------------------------------
def test_bits_are_those_of_the_published_generator() -> None:
    mask, s = 2**64 - 1, [1, 2, 3, 4]

    def turned(x: int, k: int) -> int:
        return ((x << k) | (x >> (64 - k))) & mask

    state = np.array(s, dtype=np.uint64)
    for i in range(50):
        result = (turned((s[0] + s[3]) & mask, 23) + s[0]) & mask
        t = (s[1] << 17) & mask
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = turned(s[3], 45)
        assert int(streams.bits(state)) == result
        assert i > 1 or result == (41943041, 58720359)[i]


def test_numbers_have_their_distributions() -> None:
    state, normals = state_of(1), np.empty(20_001)
    streams.fill_normal(state, normals)
    assert stats.kstest(normals, "norm").pvalue > LEVEL
    assert abs(np.corrcoef(normals[:-1], normals[1:])[0, 1]) < 4 / np.sqrt(20_000)
    for shape in (0.3, 1.0, 2.6, 400.0):
        drawn = np.array([streams.gamma(state, shape) for _ in range(4000)])
        assert stats.kstest(drawn, stats.gamma(shape).cdf).pvalue > LEVEL
    counts = np.bincount([streams.integer(state, 3, 7) for _ in range(5000)], minlength=8)
    assert counts[:3].sum() == 0
    assert len(counts) == 8
    assert stats.chisquare(counts[3:]).pvalue > LEVEL
    firsts = []
    for _ in range(4000):
        values = np.arange(4.0)
        streams.shuffle(state, values)
        assert sorted(values) == [0.0, 1.0, 2.0, 3.0]
        firsts.append(int(values[0]))
    assert stats.chisquare(np.bincount(firsts)).pvalue > LEVEL


@pytest.mark.parametrize("compiled", [True, False])
def test_random_correlations(compiled: bool) -> None:
    law, state, rng = RandomCorrelation(mean_absolute=0.33), state_of(2), np.random.default_rng(2)
    found = np.empty((3000, 5, 5))
    for matrix in found:
        root = np.empty((6, 6))[:5, :5]  # a part of an array, as in the kernel
        if compiled:
            streams.random_root(state, law.b, root)
        else:
            root = law.root(5, rng)
        matrix[:] = root @ root.T
    np.testing.assert_allclose(found[:, range(5), range(5)], 1.0, rtol=1e-12)
    i, k = np.tril_indices(5, -1)
    marginal = stats.beta(law.b, law.b, loc=-1.0, scale=2.0)
    for a, b in zip(i, k, strict=True):
        assert stats.kstest(found[:, a, b], marginal.cdf).pvalue > LEVEL
    near(np.abs(found[:, i, k]).mean(axis=1), 0.33)


def test_plain_streams_are_the_compiled_ones() -> None:
    one, other = state_of(4), state_of(4)
    pairs = [
        (np.empty(5), np.empty(5)),
        (np.empty((4, 4))[:3, :3], np.empty((4, 4))[:3, :3]),
        (np.arange(6.0), np.arange(6.0)),
    ]
    for kernel, arguments, (mine, plain) in zip(
        (streams.fill_normal, streams.random_root, streams.shuffle), ((), (0.7,), ()), pairs, strict=True
    ):
        kernel(one, *arguments, mine)
        kernel.py_func(other, *arguments, plain)
        np.testing.assert_allclose(plain, mine, rtol=1e-13)
    assert streams.gamma.py_func(other, 0.4) == pytest.approx(streams.gamma(one, 0.4), rel=1e-13)
    assert streams.integer.py_func(other, 1, 10**6) == streams.integer(one, 1, 10**6)
    assert streams.uniform.py_func(other) == streams.uniform(one)


# -- identities and moments ---------------------------------------------------------------------------
def test_columns_are_functions_of_each_other() -> None:
    drawn = drawn_of(PROCESS.changed("size", (2, 9)), WIDE, 5)
    mean = {name: drawn.mean[:, :, j] for j, name in enumerate(drawn.names)}
    scatter = {name: drawn.scatter[:, :, j, j] for j, name in enumerate(drawn.names)}
    assert drawn.names[-1] == "y"
    assert np.all(mean["Intercept"] == 1.0)
    for name in ("Intercept", "z", "between(x1, g)", "z:between(x1, g)"):
        assert np.all(scatter[name] == 0.0)
    assert np.all(mean["within(x2, g)"] == 0.0)
    np.testing.assert_array_equal(scatter["within(x2, g)"], scatter["x2"])
    np.testing.assert_array_equal(mean["between(x1, g)"], mean["x1"])
    np.testing.assert_allclose(mean["x1:z"], mean["x1"] * mean["z"], rtol=1e-14)
    np.testing.assert_allclose(scatter["x1:z"], scatter["x1"] * mean["z"] ** 2, rtol=1e-13)
    np.testing.assert_allclose(mean["z:between(x1, g)"], mean["x1"] * mean["z"], rtol=1e-14)
    assert set(np.unique(drawn.count)) == set(range(2, 10))
    np.testing.assert_array_equal(drawn.scatter, drawn.scatter.swapaxes(2, 3))


def test_moments_are_those_of_the_process() -> None:
    n, reps = 7, 600
    drawn = drawn_of(PROCESS, "y ~ x1 + x2 + z + (1 | g)", reps)
    mean, scatter = {}, drawn.scatter / (n - 1)
    for j, name in enumerate(drawn.names):
        mean[name] = drawn.mean[:, :, j]
    place = {name: j for j, name in enumerate(drawn.names)}

    # within clusters: Var(u) = .4^2 1.2^2 + .6^2 is that of the slope of x1
    slope = 0.4**2 * 1.2**2 + 0.6**2
    covariance = np.array([[2.25, 0.45], [0.45, 0.25]])
    beta = np.array([0.5, -1.0])
    within = {
        ("x1", "x1"): 2.25, ("x1", "x2"): 0.45, ("x2", "x2"): 0.25,
        ("x1", "y"): covariance[0] @ beta, ("x2", "y"): covariance[1] @ beta,
        ("y", "y"): beta @ covariance @ beta + slope * 2.25 + 1.5**2,
    }  # fmt: skip
    for (a, b), expected in within.items():
        near(scatter[:, :, place[a], place[b]].mean(axis=1), float(expected))

    # between clusters: of the means of 7 rows
    V = covariance / n + np.diag([2.25 * 0.3 / 0.7, 0.0])
    d1, d2, dz = mean["x1"] - 2.0, mean["x2"], mean["z"]
    dy = mean["y"] - (1.0 + 0.5 * 2.0)
    total = beta @ V @ beta + slope * (4.0 + V[0, 0]) + 0.7**2 * 1.44 + 2 * 0.7 * 2.0 * 0.4 * 1.44 + 0.64
    total += 2 * 2.0 * 0.5 * 0.8 * 0.6 + 2.25 / n
    between = [
        (d1, 0.0), (d2, 0.0), (dz, 0.0), (dy, 0.0), (d1 * d1, V[0, 0]), (d1 * d2, V[0, 1]), (d2 * d2, V[1, 1]),
        (dz * dz, 1.44), (dz * d1, 0.0), (dy * d1, V[0] @ beta), (dy * d2, V[1] @ beta),
        (dy * dz, 1.44 * (0.7 + 2.0 * 0.4)), (dy * dy, total),
    ]  # fmt: skip
    for values, expected in between:
        near(values.mean(axis=1), float(expected))
    # means and scatters are independent
    near((d2 * (scatter[:, :, place["x2"], place["x2"]] - 0.25)).mean(axis=1), 0.0)


def test_sizes_contexts_and_blocks() -> None:
    process = PROCESS.changed_by({
        "formula": "y ~ x1 + x2 + z + x1:z + (1 + x1 || g)", "variables.z": Arms(share=0.3),
        "size": Sizes(mean=50, cv=0.6), "correlation": RandomCorrelation(mean_absolute=0.5),
    })  # fmt: skip
    drawn = drawn_of(process, "y ~ z + (1 | g)", 200)
    np.testing.assert_array_equal(drawn.mean[:, :, 1].sum(axis=1), 12.0)
    near(drawn.mean[:, 0, 1], 0.3)
    near(drawn.count.mean(axis=1), 50.0)
    near(((drawn.count - 50.0) ** 2).mean(axis=1), 900.0)
    counts = [process.size_law.draw(np.random.default_rng(r)) for r in range(50)]
    assert stats.ks_2samp(np.ravel(counts), drawn.count.ravel()).pvalue > LEVEL
    fixed = drawn_of(PROCESS.changed("size", list(range(1, 41))), "y ~ z + (1 | g)", 2)
    np.testing.assert_array_equal(fixed.count, [range(1, 41)] * 2)
    # effects of different blocks are drawn by themselves: each has a correlation matrix (1, 1)
    root = np.empty((3, 3))
    simulated.draw_root(state_of(1), np.eye(3), 2.0, np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1]), root)
    assert root[1, 0] != 0.0
    np.testing.assert_array_equal(root[2], [0.0, 0.0, 3.0])


def test_small_clusters_have_singular_scatters() -> None:
    process = PROCESS.changed_by({"clusters": 60, "size": [1, 2, 3] * 20})
    exact, rows = drawn_of(process, WIDE, 25), drawn_of(with_rows(process), WIDE, 25)
    names = exact.names
    x1, y = names.index("x1"), names.index("y")
    for n in (1, 2, 3):
        mine, other = exact.scatter[:, n - 1 :: 3], rows.scatter[:, n - 1 :: 3]
        if n == 1:
            assert np.all(mine == 0.0)
            continue
        assert np.linalg.matrix_rank(mine.reshape(-1, len(names), len(names)), tol=1e-9).max() == n - 1
        for a, b in ((x1, x1), (x1, y), (y, y)):
            assert stats.ks_2samp(mine[:, :, a, b].ravel(), other[:, :, a, b].ravel()).pvalue > LEVEL


# -- with and without rows ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def both() -> tuple[Drawn, Drawn]:
    process = PROCESS.changed_by({"size": (3, 12)})
    return drawn_of(process, WIDE, 60, seed=2), drawn_of(with_rows(process), WIDE, 60, seed=3)


def test_moments_with_and_without_rows_have_one_distribution(both: tuple[Drawn, Drawn]) -> None:
    exact, rows = both
    assert exact.names == rows.names
    assert stats.ks_2samp(exact.count.ravel(), rows.count.ravel()).pvalue > LEVEL
    varying = [j for j, name in enumerate(exact.names) if name != "Intercept"]
    for j in varying:
        if exact.names[j] != "within(x2, g)":
            assert stats.ks_2samp(exact.mean[:, :, j].ravel(), rows.mean[:, :, j].ravel()).pvalue > LEVEL
        for k in varying:
            one, other = exact.scatter[:, :, j, k].ravel(), rows.scatter[:, :, j, k].ravel()
            if np.any(one != 0.0):
                assert stats.ks_2samp(one, other).pvalue > LEVEL, (exact.names[j], exact.names[k])


def estimates(process: Process, number: int, seed: int) -> Array:
    """Of z, of x1:z, of the SD of the slope and of the standard error of z."""
    model = Model.of(process, PROCESS.formula)
    drawn = sampler_of(process, [model.formula]).draw(seeds_of(number, seed))
    fits = [model.fit(drawn, r) for r in range(number)]
    return np.array([(f.params["z"], f.params["x1:z"], np.sqrt(f.cov_re["g"].iloc[1, 1]), f.bse["z"]) for f in fits])


def same_estimates(number: int) -> None:
    process = PROCESS.changed_by({"clusters": 15, "size": (5, 15)})
    exact, rows = estimates(process, number, 4), estimates(with_rows(process), number, 5)
    for one, other in zip(exact.T, rows.T, strict=True):
        assert stats.ks_2samp(one, other).pvalue > LEVEL
    near(exact[:, 0], 0.7)
    near(rows[:, 1], 0.4)


def test_estimates_with_and_without_rows_have_one_distribution() -> None:
    same_estimates(60)


@pytest.mark.slow
def test_many_estimates_with_and_without_rows_have_one_distribution() -> None:
    same_estimates(1000)


@pytest.mark.slow
def test_many_moments_with_and_without_rows_have_one_distribution() -> None:
    process = PROCESS.changed_by({"size": (1, 6), "correlation": RandomCorrelation(mean_absolute=0.4)})
    exact, rows = drawn_of(process, WIDE, 1000, seed=6), drawn_of(with_rows(process), WIDE, 1000, seed=7)
    test_moments_with_and_without_rows_have_one_distribution((exact, rows))


def test_drawn_rows_are_those_of_the_frame() -> None:
    process = PROCESS.changed_by({"clusters": 12, "size": (4, 30), "variables.x2": Binary(share=0.4, between=0.2)})
    formula = "y ~ x1 * z + C(x2) + center(x1):x2 + (1 + x1 | g)"
    sampler = sampler_of(process, ["y ~ x1 + (1 | g)", formula])
    assert isinstance(sampler, RowSampler)
    assert "center(x1)" in sampler.description
    assert "x2 is Binary" in sampler.description
    seed = np.random.SeedSequence(8)
    drawn = sampler.draw([seed])
    model = Model.of(process, formula)
    frame = process.frame(seed)
    mine, expected = model.products(drawn, 0), build_design(formula, frame).products
    assert mine.names == expected.names
    np.testing.assert_array_equal(mine.count, expected.count)
    np.testing.assert_allclose(mine.mean, expected.origin + expected.mean, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(mine.scatter, expected.scatter, rtol=1e-11, atol=1e-10)
    fit, on_rows = model.fit(drawn, 0), cl.mixed(formula, frame)
    assert fit.deviance == pytest.approx(on_rows.deviance, abs=1e-7)
    assert fit.nobs == on_rows.nobs == len(frame)
    np.testing.assert_allclose(fit.params, on_rows.params, rtol=1e-6)
    test, other = (each.tests(ddf="kenward-roger").loc["z", "df"] for each in (fit, on_rows))
    assert test == pytest.approx(other, rel=1e-5)


def test_a_category_that_does_not_occur_is_not_identified() -> None:
    process = PROCESS.changed_by({"clusters": 3, "size": 2, "variables.x2": Binary(share=0.001)})
    drawn = sampler_of(process, ["y ~ x1 + C(x2) + (1 | g)", "y ~ z + (1 | g)"]).draw(seeds_of(1))
    assert np.all(drawn.mean[:, :, drawn.names.index("C(x2)[1]")] == 0.0)
    assert np.all(drawn.mean[:, :, drawn.names.index("z")] != 0.0)


# -- seeds and choices --------------------------------------------------------------------------------
@pytest.mark.parametrize("rows", [False, True])
def test_a_replication_depends_on_its_seed_alone(rows: bool) -> None:
    process = PROCESS.changed_by({
        "rows": rows, "clusters": 5, "correlation": RandomCorrelation(), "predictor_correlation": RandomCorrelation(),
    })  # fmt: skip
    sampler, seeds = sampler_of(process, [process.formula]), seeds_of(6)
    whole, part = sampler.draw(seeds), sampler.draw(seeds[3:5])
    for name in ("count", "mean", "scatter"):
        np.testing.assert_array_equal(getattr(whole, name)[3:5], getattr(part, name))
    assert len(np.unique(whole.mean[:, 0, -1])) == 6
    # and not on which columns are asked for
    other = sampler_of(process, ["y ~ z + (1 | g)", "y ~ x2"]).draw(seeds)
    np.testing.assert_array_equal(other.mean[:, :, -1], whole.mean[:, :, -1])


def test_compiled_and_plain_loops_agree() -> None:
    sampler = sampler_of(PROCESS.changed_by({"clusters": 4, "size": [1, 3, 6, 50]}), [WIDE])
    assert isinstance(sampler, ExactSampler)
    compiled = sampler.draw(seeds_of(2))
    states = np.array([seed.generate_state(4, np.uint64) for seed in seeds_of(2)])
    recipe, m = sampler.recipe, len(sampler.names)
    count, mean, scatter = np.empty((2, 4)), np.empty((2, 4, m)), np.empty((2, 4, m, m))
    simulated.draw_moments.py_func(states, recipe, count, mean, scatter)
    np.testing.assert_array_equal(count, compiled.count)
    np.testing.assert_allclose(mean, compiled.mean, rtol=1e-12)
    np.testing.assert_allclose(scatter, compiled.scatter, rtol=1e-12, atol=1e-14)

    # one cluster by matrices, from the same random numbers
    rng, root = np.random.default_rng(1), np.tril(np.random.default_rng(2).standard_normal((3, 3)))
    normals, out, state = np.empty(3), np.empty((3, 3)), state_of(3)
    rank = simulated.draw_scatter_root.py_func(state.copy(), root, 8.0, normals, out)
    lower = np.zeros((3, 3))
    for k in range(3):
        below = np.empty(2 - k)
        streams.fill_normal(state, below)
        lower[k + 1 :, k] = below
        lower[k, k] = np.sqrt(2.0 * streams.gamma(state, 0.5 * (7.0 - k)))
    assert rank == 3
    np.testing.assert_allclose(out, root @ lower, rtol=1e-12)
    slope, scatter = rng.standard_normal(3), np.empty((3, 3))
    simulated.turned_scatter.py_func(
        np.array([2, -1]), np.array([4.0, 1.0]), slope, out, rank, np.empty((3, 3)), scatter
    )
    turn = np.array([[0.0, 0.0, 4.0], [0.0, 0.0, 0.0], slope])
    np.testing.assert_allclose(scatter, turn @ out @ out.T @ turn.T, rtol=1e-12)


CHOICES = {
    "y ~ x1 + z + (1 | g)": "",
    "y ~ within(x1, g) * z + between(x1, g) + (within(x1, g) | g)": "",
    "y ~ 2:x1 + z:between(x2, g):x2": "",
    "y ~ x1:x2 + (1 | g)": "x1:x2 is a product of variables that vary between rows",
    "y ~ center(x1) + (1 | g)": "center(x1) is no fixed linear function of the rows",
    "y ~ I(z**2) + (1 | g)": "I(z ** 2) is no fixed linear function of the rows",
    "y ~ between(x1*x2, g) + (1 | g)": "between(x1 * x2, g) is no fixed linear function of the rows",
}


@pytest.mark.parametrize(("formula", "reason"), CHOICES.items())
def test_rows_are_drawn_where_they_must_be(formula: str, reason: str) -> None:
    sampler = sampler_of(PLAIN, [formula])
    assert isinstance(sampler, RowSampler if reason else ExactSampler)
    assert reason in sampler.description
    drawn = sampler.draw(seeds_of(1))
    assert drawn.names == sampler.names
    assert np.all(np.isfinite(drawn.scatter))


def test_samplers_refuse_in_words() -> None:
    with pytest.raises(cl.CrosslevelError, match="has w, which the process lacks; it has x1, x2, z, g"):
        sampler_of(PROCESS, ["y ~ w + (1 | g)"])
    with pytest.raises(cl.CrosslevelError, match="has the outcome 'x1'; the process makes 'y'"):
        sampler_of(PROCESS, ["x1 ~ z + (1 | g)"])
    with pytest.raises(cl.CrosslevelError, match="multiplies x1 by 1, another one by 2"):
        sampler_of(PLAIN, ["y ~ 2:x1", "y ~ x1"])
    with pytest.raises(cl.CrosslevelError, match="has random terms of x1; the clusters of the process are those of"):
        Model.of(PROCESS, "y ~ z + (1 | x1)")
    model = Model.of(PROCESS, "y ~ x1 + z")
    assert not model.is_mixed
    with pytest.raises(cl.CrosslevelError, match="no random terms"):
        model.fit(drawn_of(PROCESS, model.formula, 1), 0)


def test_all_kinds_of_rows_in_one_process() -> None:
    variables = {"x1": StudentT(df=5), "z": Arms()}
    drawn = drawn_of(PROCESS.changed_by({"variables": variables, "clusters": 10, "size": 400}), "y ~ x1 + z", 40)
    near(drawn.scatter[:, :, 1, 1].mean(axis=1) / 399, 1.0)
    assert np.all(drawn.mean[:, :, 2].sum(axis=1) == 5.0)
