"""The engine for several grouping factors against whole n x n matrices."""

from dataclasses import replace
from itertools import pairwise

import dense
import dense_crossed
import numpy as np
import pytest
from dense_crossed import Crossed

from crosslevel.covariance import COVARIANCES, BlockStructure
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.crossing import Crossing, Pairs
from crosslevel.likelihood.blocked import BlockedConditional, BlockedDeviance
from crosslevel.likelihood.blocked_theta import average_information


def structure(*kinds: str, sizes: tuple[int, ...]) -> BlockStructure:
    """Blocks of these kinds and sizes."""
    ends = np.cumsum([0, *sizes])
    columns = tuple(np.arange(a, b) for a, b in pairwise(ends))
    return BlockStructure(kinds=tuple(COVARIANCES[kind] for kind in kinds), columns=columns, q=int(ends[-1]))


def simple(q: int) -> BlockStructure:
    """One unstructured block."""
    return structure("us", sizes=(q,))


def crossing_of(data: Crossed, structures: tuple[BlockStructure, ...]) -> Crossing:
    """Cross-products of dense matrices, in their own units."""
    border = np.column_stack([data.X, data.y])
    p = data.X.shape[1]
    columns = [data.columns(k) for k in range(len(data.z))]
    return Crossing(
        diagonal=tuple(np.einsum("nja,njb->jab", z, z) for z in columns),
        image=tuple(np.einsum("nja,nb->jab", z, border) for z in columns),
        pairs={
            key: Pairs(start=start, level=level, block=block)
            for key, (start, level, block) in dense_crossed.pairs_of(data).items()
        },
        gram=border.T @ border,
        n_rows=len(data.y),
        structures=structures,
        basis=tuple(np.eye(some.q) for some in structures),
        coordinates=Coordinates(shift=np.zeros(p + 1), scale=np.ones(p + 1), removed=np.zeros(p), intercept=-1),
    )


Codes = list[np.ndarray]


def indicator(codes: np.ndarray, n_levels: int) -> np.ndarray:
    """(n, J) 1 where a row has a level; rows with code -1 have none."""
    return (codes[:, None] == np.arange(n_levels)).astype(float)


def design(name: str, rng: np.random.Generator) -> tuple[tuple[np.ndarray, ...], tuple[int, ...]]:
    """For each factor, its members (n, J) and its number q of random effects."""
    n = 36
    each = np.arange(n)
    a, b, c = (indicator(rng.integers(0, count, n), count) for count in (7, 5, 3))
    nested = [indicator(each // size, -(-n // size)) for size in (2, 6, 12, 18)]
    fourfold = [indicator(each // size, -(-n // size)) for size in (2, 4, 8, 16)]
    return {
        "crossed": ((a, b), (1, 1)),
        "crossed, the larger second": ((b, a), (1, 1)),
        "crossed, a slope on the first": ((a, b), (2, 1)),
        "crossed, a slope on the second": ((a, b), (1, 2)),
        "crossed, slopes on both": ((a, b), (2, 3)),
        "three crossed": ((b, a, c), (1, 1, 1)),
        "three crossed, slopes": ((b, a, c), (2, 1, 2)),
        "nested": ((nested[0], nested[1]), (1, 1)),
        "nested, the larger level more effects": ((nested[2], nested[0]), (3, 1)),
        "three levels, slopes": ((nested[1], nested[0], nested[2]), (2, 1, 2)),
        "four levels": ((fourfold[3], fourfold[0], fourfold[2], fourfold[1]), (1, 1, 2, 1)),
        "nested in two that cross": ((nested[3], nested[0], nested[2], nested[1]), (1, 1, 2, 1)),
        "nested and crossed": ((a, nested[0], nested[1]), (1, 1, 2)),
        "three levels and crossed": ((nested[0], c, nested[1], nested[2]), (2, 1, 1, 2)),
        "partly crossed": ((indicator((each // 4 + (each % 7 == 0)) % 9, 9), indicator(each // 8, 5)), (1, 2)),
        "each with each": ((indicator(each // 4, 9), indicator(each % 4, 4)), (1, 1)),
        "each with each, three factors": (
            (indicator(each // 4, 9), indicator(each % 4, 4), indicator(each % 3, 3)),
            (1, 1, 2),
        ),
        "alone": ((a,), (2,)),
        "none": ((), ()),
        "multiple membership": ((np.clip(a + 0.5 * np.roll(a, 3, axis=0), 0, 1), b), (1, 2)),
        "multiple membership alone": ((a + 0.5 * np.roll(a, 3, axis=0),), (2,)),
        "one level": ((a, np.ones((n, 1))), (1, 2)),
        "apart": (
            (indicator(np.where(each < 18, each // 3, -1), 6), indicator(np.where(each < 18, -1, each // 4 - 4), 5)),
            (2, 1),
        ),
        "apart and crossed": (
            (
                indicator(np.where(each < 18, each // 3, -1), 6),
                indicator(np.where(each < 18, -1, each // 4 - 4), 5),
                c,
            ),
            (1, 2, 1),
        ),
        "rows without a level": ((indicator(rng.integers(-1, 6, n), 7), b), (1, 2)),
    }[name]


DESIGNS = [
    "crossed", "crossed, the larger second", "crossed, a slope on the first", "crossed, a slope on the second",
    "crossed, slopes on both", "three crossed", "three crossed, slopes", "nested",
    "nested, the larger level more effects", "three levels, slopes", "four levels", "nested in two that cross",
    "nested and crossed",
    "three levels and crossed", "partly crossed", "each with each",
    "each with each, three factors", "alone", "none", "multiple membership", "multiple membership alone",
    "one level", "apart", "apart and crossed", "rows without a level",
]  # fmt: skip

FEW = ["crossed, slopes on both", "three levels and crossed", "four levels", "multiple membership", "apart and crossed"]


def example(name: str, seed: int = 1, p: int = 2) -> tuple[Crossed, tuple[BlockStructure, ...]]:
    """Data of a design, with y that depends on all of its effects."""
    rng = np.random.default_rng(seed)
    members, sizes = design(name, rng)
    n = 36
    X = np.column_stack([np.ones(n), rng.normal(size=(n, p))])[:, :p]
    z = tuple(np.column_stack([np.ones(n), rng.normal(size=(n, 3))])[:, :q] for q in sizes)
    data = Crossed(y=rng.normal(size=n), X=X, z=z, members=members)
    y = data.y + (data.Z @ rng.normal(size=data.Z.shape[1])).astype(float)
    return replace(data, y=y), tuple(simple(q) for q in sizes)


def criterion_of(name: str, *, reml: bool = True, sigma: float | None = None) -> tuple[Crossed, BlockedDeviance]:
    """A design's data and criterion."""
    data, structures = example(name)
    return data, BlockedDeviance.of(crossing_of(data, structures), reml=reml, sigma=sigma)


def random_theta(structures: tuple[BlockStructure, ...], seed: int = 2) -> np.ndarray:
    """Any theta."""
    rng = np.random.default_rng(seed)
    return 0.7 * rng.normal(size=sum(some.n_theta for some in structures))


def psis(at: BlockedConditional) -> tuple[np.ndarray, ...]:
    """Psi of each factor."""
    return tuple(factor.astype(dense.LONG) @ factor.T for factor in at.factors)


def full_psi(data: Crossed, at: BlockedConditional) -> np.ndarray:
    """Psi of all random effects, block-diagonal."""
    out = np.zeros((data.Z.shape[1],) * 2, dtype=dense.LONG)
    end = 0
    for k, psi in enumerate(psis(at)):
        for _ in range(data.members[k].shape[1]):
            out[end : end + len(psi), end : end + len(psi)] = psi
            end += len(psi)
    return out


KINDS = [(True, None), (False, None), (True, 1.3), (False, 0.6)]


@pytest.mark.parametrize(("reml", "sigma"), KINDS)
@pytest.mark.parametrize("name", DESIGNS)
def test_deviance_and_gradient(name: str, reml: bool, sigma: float | None) -> None:
    data, structures = example(name)
    criterion = BlockedDeviance.of(crossing_of(data, structures), reml=reml, sigma=sigma)
    theta = random_theta(structures)
    at = criterion.value(theta)

    def long_deviance(theta: np.ndarray) -> np.longdouble:
        some = tuple(s.factor(theta[part]) for s, part in zip(structures, criterion.crossing.parts, strict=True))
        V = data.V(tuple(factor.astype(dense.LONG) @ factor.T for factor in some))
        return dense_crossed.deviance(V, data.X, data.y, reml=reml, sigma=sigma)

    assert at.deviance == pytest.approx(float(long_deviance(theta)), rel=1e-10)
    found = criterion.derivatives(at, theta)
    expected = dense.gradient(long_deviance, theta)
    np.testing.assert_allclose(found.gradient, expected, rtol=1e-6, atol=1e-8)
    assert found.hessian.shape == found.information.shape == (len(theta), len(theta))


@pytest.mark.parametrize("name", DESIGNS)
def test_modes_and_their_covariances(name: str) -> None:
    data, structures = example(name)
    at = BlockedDeviance.of(crossing_of(data, structures), reml=True).value(random_theta(structures))
    V, Z, psi = data.V(psis(at)), data.Z, full_psi(data, at)
    P = dense_crossed.projection(V, data.X)
    modes = psi @ Z.T @ P @ data.y
    covariances = psi - psi @ Z.T @ dense.inverse(V) @ Z @ psi
    end = 0
    for mine, each in zip(at.modes, at.conditional_covariances(), strict=True):
        for j in range(len(mine)):
            part = slice(end, end + mine.shape[1])
            end = part.stop
            np.testing.assert_allclose(mine[j], modes[part].astype(float), rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(each[j], covariances[part, part].astype(float), rtol=1e-10, atol=1e-10)
    assert end == Z.shape[1]


@pytest.mark.parametrize(("reml", "sigma"), [(True, None), (False, 0.6)])
@pytest.mark.parametrize("name", DESIGNS)
def test_average_information(name: str, reml: bool, sigma: float | None) -> None:
    data, structures = example(name)
    at = BlockedDeviance.of(crossing_of(data, structures), reml=reml, sigma=sigma).value(random_theta(structures))
    P = dense_crossed.projection(data.V(psis(at)), data.X)
    rng = np.random.default_rng(3)
    directions = tuple(rng.normal(size=(2, some.q, some.q)) for some in structures)
    directions = tuple(some + some.transpose(0, 2, 1) for some in directions)
    h = []
    for k, some in enumerate(directions):
        for direction in some:
            z = data.z[k].astype(dense.LONG)
            h.append(((data.members[k] @ data.members[k].T) * (z @ direction @ z.T)) @ P @ data.y)
    h = np.array(h, dtype=dense.LONG).reshape(len(h), len(data.y))
    rss = data.y @ P @ data.y
    expected = h @ P @ h.T
    if sigma is None:
        nu = len(data.y) - (data.X.shape[1] if reml else 0)
        expected = nu / rss * (expected - np.outer(h @ P @ data.y, h @ P @ data.y) / rss)
    else:
        expected = expected / sigma**2
    np.testing.assert_allclose(average_information(at, directions), expected.astype(float), rtol=1e-9, atol=1e-10)
