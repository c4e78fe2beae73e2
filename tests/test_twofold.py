"""Twice the digits where random effects dwarf the residual: the arithmetic, the factor, and the deviance."""

from dataclasses import replace
from fractions import Fraction

import dense_crossed
import numpy as np
import pytest
from crossed_models import hard_several
from test_blocked import DESIGNS, FEW, crossing_of, example, psis, random_theta

from crosslevel.kernels import twofold as kernels
from crosslevel.likelihood.blocked import BlockedDeviance
from crosslevel.likelihood.factorised import factorise
from crosslevel.likelihood.twofold import LARGE, MOST_COLUMNS, column_sizes, factorise_twofold, needs_twofold
from crosslevel.optimise import ROUNDING
from crosslevel.solve.several import solve_crossing

COMPILED_AND_PLAIN = pytest.mark.parametrize("plain", [False, True], ids=["compiled", "interpreted"])
UNIT = 2.0**-104  # of numbers with twice 53 digits, give or take two

DWARFED = 399
"""A hard model: slopes of a predictor 10,000 of its SDs from zero, uncorrelated with the intercepts."""


def exactly(number: np.ndarray) -> Fraction:
    """A twofold number."""
    return Fraction(float(number[0])) + Fraction(float(number[1]))


def twofold_numbers(rng: np.random.Generator, n: int) -> np.ndarray:
    """Any numbers (n, 2) of very different sizes."""
    high = rng.normal(size=n) * 10.0 ** rng.uniform(-8, 8, n)
    return np.column_stack([high, high * rng.uniform(-1.0, 1.0, n) * 2.0**-53])


@COMPILED_AND_PLAIN
def test_sums_and_products_of_doubles_are_exact(plain: bool) -> None:
    rng = np.random.default_rng(1)
    add, multiply = kernels.exact_sum, kernels.exact_product
    if plain:
        add, multiply = add.py_func, multiply.py_func
    for a, b in (rng.normal(size=(100, 2)) * 10.0 ** rng.uniform(-10, 10, (100, 2))).tolist():
        assert exactly(add(a, b)) == Fraction(a) + Fraction(b)
        assert exactly(multiply(a, b)) == Fraction(a) * Fraction(b)


@COMPILED_AND_PLAIN
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_twofold_products_and_quotients(share: float, plain: bool) -> None:
    numbers = twofold_numbers(np.random.default_rng(2), 90)
    subtract, divide = kernels.subtract_product, kernels.divide
    if plain:
        subtract, divide = subtract.py_func, divide.py_func
    for a, b, c in numbers.reshape(30, 3, 2):
        values = np.array([a, b, c])
        subtract(values, 0, share, values, 1, values, 2)
        product = Fraction(share) * exactly(b) * exactly(c)
        assert abs(exactly(values[0]) - (exactly(a) - product)) <= UNIT * (abs(exactly(a)) + abs(product))
        values = np.array([a, b])
        divide(values, 0, values, 1)
        assert abs(exactly(values[0]) * exactly(b) - exactly(a)) <= UNIT * abs(exactly(a))


def parts_of(name: str, size: float = 1.0):
    """The plan of a design whose levels do not count the same, and covariance factors.

    None counts more than once, so that M is positive definite although A is that of levels that all count once.
    """
    data, structures = example(name)
    criterion = BlockedDeviance.of(crossing_of(data, structures), reml=True)
    rng, plan = np.random.default_rng(5), criterion.plan
    copies = tuple(
        rng.choice([0.25, 0.5, 1.0], count) if k in plan.order else np.ones(count)
        for k, count in enumerate(plan.counts)
    )
    at = criterion.value(size * random_theta(structures))
    return criterion.crossing, plan, plan.weights(copies), at.factors


@pytest.mark.parametrize("name", DESIGNS)
def test_the_factor_is_the_ordinary_one(name: str) -> None:
    crossing, plan, weights, factors = parts_of(name)
    ours, half, remainder = factorise_twofold(crossing, plan, weights, factors)
    twin = factorise(crossing, plan, weights, factors)
    expected = twin.forward(plan.scaled(crossing.image, factors, crossing.p + 1))
    assert ours.log_det == pytest.approx(twin.log_det, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(half, expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(remainder, crossing.gram - twin.inner(expected, expected), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(ours.rows, twin.rows, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(np.tril(ours.dense), np.tril(twin.dense), rtol=1e-11, atol=1e-12)
    x = np.random.default_rng(6).normal(size=(plan.n_columns, 2))
    np.testing.assert_allclose(ours.backward(x.copy()), twin.backward(x.copy()), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", FEW)
def test_interpreted_kernels_are_the_compiled_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = factorise_twofold(*parts_of(name, 100.0))
    for kernel in ("factorise_block", "solve_block", "scale_blocks", "eliminate_twofold", "subtract_inner"):
        monkeypatch.setattr(kernels, kernel, getattr(kernels, kernel).py_func)
    plain = factorise_twofold(*parts_of(name, 100.0))
    for one, other in zip(plain[1:], compiled[1:], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(plain[0].diagonal, compiled[0].diagonal)
    assert plain[0].log_det == pytest.approx(compiled[0].log_det, rel=1e-15)


def test_no_factor_where_there_is_none() -> None:
    crossing, plan, weights, factors = parts_of("crossed")
    wrong = replace(crossing, diagonal=tuple(-block for block in crossing.diagonal))
    assert np.isnan(factorise_twofold(wrong, plan, weights, tuple(100.0 * f for f in factors))[0].log_det)


# -- large random effects ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reml", "sigma"), [(True, None), (False, None), (False, 0.6)])
@pytest.mark.parametrize("size", [1e2, 1e4])
@pytest.mark.parametrize("name", DESIGNS)
def test_deviance_of_large_random_effects(name: str, size: float, reml: bool, sigma: float | None) -> None:
    """Numbers with few binary digits have exact cross-products, so that nothing is lost before the engine."""
    data, structures = example(name)
    data = replace(
        data, y=np.round(64 * data.y) / 64, X=np.round(64 * data.X) / 64, z=tuple(np.round(64 * z) / 64 for z in data.z)
    )
    criterion = BlockedDeviance.of(crossing_of(data, structures), reml=reml, sigma=sigma)
    at = criterion.value(size * random_theta(structures))
    expected = dense_crossed.deviance(data.V(psis(at)), data.X, data.y, reml=reml, sigma=sigma)
    assert at.deviance == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("name", FEW)
def test_nothing_changes_where_doubles_are_enough(name: str) -> None:
    """On both sides of the threshold the deviance is the same to what the search takes for rounding."""
    data, structures = example(name)
    criterion = BlockedDeviance.of(crossing_of(data, structures), reml=True)
    factors = tuple(np.eye(some.q) for some in structures)
    below, above = 0.0, 1e3
    for _ in range(60):
        middle = 0.5 * (below + above)
        needed = needs_twofold(criterion.plan, criterion.sizes, tuple(middle * factor for factor in factors))
        below, above = (below, middle) if needed else (middle, above)
    assert 0.1 < above / np.sqrt(LARGE) < 10.0
    sides = [criterion.at_factors(tuple(size * factor for factor in factors)).deviance for size in (below, above)]
    assert sides[0] == pytest.approx(sides[1], rel=0.0, abs=10.0 * ROUNDING * abs(sides[1]))


def test_many_random_effects_are_left_to_doubles() -> None:
    crossing, plan, weights, factors = parts_of("crossed")
    large = tuple(1e4 * factor for factor in factors)
    sizes = column_sizes(crossing, weights)
    assert needs_twofold(plan, sizes, large)
    assert not needs_twofold(replace(plan, n_columns=MOST_COLUMNS + 1), sizes, large)


def test_the_deviance_is_smooth_where_random_effects_dwarf_the_residual() -> None:
    """Steps so small that the deviance has to stay the same: rounding would show."""
    model = hard_several(DWARFED)
    assert model is not None
    solution = solve_crossing(model.crossing, reml=False)
    sizes = np.concatenate([np.linalg.svd(factor, compute_uv=False) for factor in solution.at.factors])
    assert sizes.max() > 1e4
    criterion, best = solution.criterion, solution.minimum
    rng = np.random.default_rng(1)
    moved = [best.theta * (1.0 + 1e-9 * rng.normal(size=len(best.theta))) for _ in range(20)]
    assert np.ptp([criterion.value(theta).deviance for theta in moved]) < 1e-10
    assert best.decrement < 1e-10
