"""The engine for several grouping factors: derivatives in its cross-products, extra columns, and copies of levels."""

from dataclasses import replace

import dense
import dense_crossed
import numpy as np
import pytest
from dense_crossed import Crossed
from test_blocked import DESIGNS, FEW, criterion_of, crossing_of, psis, random_theta, simple

from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.blocked import BlockedDeviance


def moved(crossing: Crossing, change: Crossing, step: float) -> Crossing:
    """The cross-products plus `step` times a change of all of them."""
    return replace(
        crossing,
        diagonal=tuple(a + step * b for a, b in zip(crossing.diagonal, change.diagonal, strict=True)),
        image=tuple(a + step * b for a, b in zip(crossing.image, change.image, strict=True)),
        pairs={
            key: replace(some, block=some.block + step * change.pairs[key].block)
            for key, some in crossing.pairs.items()
        },
        gram=crossing.gram + step * change.gram,
    )


def random_change(crossing: Crossing, seed: int) -> Crossing:
    """Random numbers in the shape of cross-products."""
    rng = np.random.default_rng(seed)
    square = [rng.normal(size=some.shape) for some in (*crossing.diagonal, crossing.gram[None])]
    square = [some + some.transpose(0, 2, 1) for some in square]
    return replace(
        crossing,
        diagonal=tuple(square[:-1]),
        image=tuple(rng.normal(size=some.shape) for some in crossing.image),
        pairs={key: replace(some, block=rng.normal(size=some.block.shape)) for key, some in crossing.pairs.items()},
        gram=square[-1][0],
    )


def check_product_gradient(criterion: BlockedDeviance, theta: np.ndarray) -> None:
    """All kinds of cross-products at once and one by one, in random directions, against differences."""
    found = criterion.value(theta).product_gradient()
    crossing = criterion.crossing
    zero = moved(crossing, crossing, -1.0)
    for seed in range(3):
        change = random_change(crossing, seed)
        parts = [change] + [
            replace(zero, **{name: getattr(change, name)}) for name in ("diagonal", "image", "pairs", "gram")
        ]
        for part in parts:

            def along(t: np.ndarray, part: Crossing = part) -> float:
                return replace(criterion, crossing=moved(crossing, part, float(t[0]))).value(theta).deviance

            expected = dense.gradient(along, np.zeros(1), step=1e-4)[0]
            inner = sum(np.sum(a * b) for a, b in zip(found.diagonal, part.diagonal, strict=True))
            inner += sum(np.sum(a * b) for a, b in zip(found.image, part.image, strict=True))
            inner += sum(np.sum(found.pairs[key] * part.pairs[key].block) for key in found.pairs)
            inner += np.sum(found.gram * part.gram)
            assert inner == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(("reml", "sigma"), [(True, None), (False, None), (True, 0.9)])
@pytest.mark.parametrize("name", [*FEW, "three crossed", "nested", "none", "alone"])
def test_product_gradient(name: str, reml: bool, sigma: float | None) -> None:
    _, criterion = criterion_of(name, reml=reml, sigma=sigma)
    check_product_gradient(criterion, random_theta(criterion.structures))


@pytest.mark.parametrize("name", DESIGNS)
def test_projected(name: str) -> None:
    data, criterion = criterion_of(name)
    at = criterion.value(random_theta(criterion.structures))
    extra = np.random.default_rng(5).normal(size=(len(data.y), 3))
    image = tuple(np.einsum("nja,nb->jab", data.columns(k), extra) for k in range(len(data.z)))
    found = at.projected(image, data.X.T @ extra, extra.T @ extra, extra.T @ data.y)
    P = dense_crossed.projection(data.V(psis(at)), data.X)
    both = np.column_stack([extra, data.y])
    np.testing.assert_allclose(found, (both.T @ P @ both).astype(float), rtol=1e-10, atol=1e-10)


# -- copies -----------------------------------------------------------------------------------------------------------


def weighted(seed: int = 4) -> tuple[Crossing, tuple[np.ndarray, ...], Crossing, list[np.ndarray]]:
    """Three nested factors with copies of levels within their parents, and the same with every copy written out.

    Returns
    -------
    Cross-products; copies; cross-products written out; for each factor, which level each written-out one is a copy of.
    """
    rng = np.random.default_rng(seed)
    structures = (simple(2), simple(1), simple(2))
    parents, counts = (np.array([0, 0, 1, 1, 1, 2, 3]), np.array([0, 0, 1, 1])), (7, 4, 2)
    copies = tuple(rng.integers(1, 4, count).astype(float) for count in counts)
    unit = np.repeat(np.arange(7), 3)
    n = len(unit)
    z, X = np.column_stack([np.ones(n), rng.normal(size=n)]), np.column_stack([np.ones(n), rng.normal(size=n)])
    y = rng.normal(size=n) + rng.normal(size=7)[unit] + rng.normal(size=4)[parents[0][unit]]

    origin: list[list[int]] = [[], [], []]
    rows, codes = [], []
    for top in range(2):
        for _ in range(int(copies[2][top])):
            origin[2].append(top)
            for middle in np.flatnonzero(parents[1] == top):
                for _ in range(int(copies[1][middle])):
                    origin[1].append(int(middle))
                    for low in np.flatnonzero(parents[0] == middle):
                        for _ in range(int(copies[0][low])):
                            origin[0].append(int(low))
                            rows += list(np.flatnonzero(unit == low))
                            codes += [[len(some) - 1 for some in origin]] * 3
    each = [np.array(some) for some in origin]
    members = tuple(np.eye(len(some))[np.array(codes)[:, k]] for k, some in enumerate(each))
    zs = (z, z[:, :1], z)
    out = Crossed(y=y[rows], X=X[rows], z=tuple(some[rows] for some in zs), members=members)
    whole = crossing_of(out, structures)
    first = [
        np.array([np.flatnonzero(some == level)[0] for level in range(count)])
        for some, count in zip(each, counts, strict=True)
    ]

    single = crossing_of(
        Crossed(
            y=y,
            X=X,
            z=zs,
            members=tuple(
                np.eye(count)[code]
                for code, count in zip((unit, parents[0][unit], parents[1][parents[0][unit]]), counts, strict=True)
            ),
        ),
        structures,
    )
    # a pair's block is that of one copy of the inner level, with all copies of the levels inside it
    pairs = {}
    for (k, m), some in single.pairs.items():
        inner = np.repeat(np.arange(counts[k]), np.diff(some.start))
        z_inner, z_outer = out.columns(k)[:, first[k]], out.z[m]
        block = np.array([z_inner[:, j].T @ z_outer for j in inner])
        pairs[k, m] = replace(some, block=block)
    crossing = replace(
        whole,
        diagonal=tuple(some[index] for some, index in zip(whole.diagonal, first, strict=True)),
        image=tuple(some[index] for some, index in zip(whole.image, first, strict=True)),
        pairs=pairs,
    )
    return crossing, copies, whole, each


@pytest.mark.parametrize(("reml", "sigma"), [(True, None), (False, 0.8)])
@pytest.mark.parametrize("singular", [False, True])
def test_copies_are_repeated_units(reml: bool, sigma: float | None, singular: bool) -> None:
    crossing, copies, whole, each = weighted()
    theta = random_theta(crossing.structures)
    if singular:
        theta[crossing.parts[0]] = 0.0
        theta[crossing.parts[2]][-1] = 0.0
    criterion = BlockedDeviance.of(crossing, reml=reml, sigma=sigma, copies=copies)
    twin = BlockedDeviance.of(whole, reml=reml, sigma=sigma)
    at, expected = criterion.value(theta), twin.value(theta)
    assert at.deviance == pytest.approx(expected.deviance, rel=1e-10)
    np.testing.assert_allclose(at.beta, expected.beta, rtol=1e-9)
    for k, level in enumerate(each):
        np.testing.assert_allclose(at.modes[k][level], expected.modes[k], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(
            at.conditional_covariances()[k][level], expected.conditional_covariances()[k], rtol=1e-9, atol=1e-10
        )
        np.testing.assert_allclose(at.scores[k], expected.scores[k], rtol=1e-9, atol=1e-9)
    one, other = criterion.derivatives(at, theta), twin.derivatives(expected, theta)
    np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(one.hessian, other.hessian, rtol=1e-6, atol=1e-6)
    if not singular:
        check_product_gradient(criterion, theta)


def test_copies_of_factors_that_are_not_nested() -> None:
    _, criterion = criterion_of("crossed")
    copies = tuple(np.full(len(block), 2.0) for block in criterion.crossing.diagonal)
    with pytest.raises(ValueError, match="`copies` must be 1"):
        replace(criterion, copies=copies).value(np.ones(2))
