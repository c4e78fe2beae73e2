"""With several grouping factors too the search ends at the minimum: restarts find nothing lower."""

from collections.abc import Iterable

import numpy as np
import pytest
from crossed_models import Grouping, SeveralModel, hard_several
from small_models import Model

from crosslevel.design.crossing import Crossing
from crosslevel.errors import CrosslevelError, DesignError
from crosslevel.likelihood.blocked import BlockedDeviance
from crosslevel.likelihood.boundary import ways_down
from crosslevel.optimise import Status
from crosslevel.solve import Solution, solve
from crosslevel.solve.several import solve_crossing

LOWER = 1e-6  # a restart that ends this much lower has found another minimum
SEVERAL_MINIMA = (37, 41, 110, 123, 134)  # data sets where searches from single starts end at different minima
DWARFED = 399  # random effects are 10,000 times as large as the residual, and cancel
TIED = ("cs", "ar1", "hcs", "har1", "us")


def restarts(crossing: Crossing, seed: int, n: int) -> Iterable[np.ndarray]:
    """Random factors, of any correlation and size."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        sizes = rng.choice([0.01, 0.1, 1.0, 5.0], len(crossing.structures))
        yield np.concatenate(
            [s.nearest(size * rng.normal(size=(s.q, s.q))) for s, size in zip(crossing.structures, sizes, strict=True)]
        )


def check_minimum(solution: Solution) -> None:
    """First-order conditions: the gradient is zero, and no variance that may be added lowers the deviance."""
    derivatives = solution.minimum.derivatives
    curvature = np.maximum(np.diag(derivatives.information), np.diag(derivatives.hessian))
    assert np.abs(derivatives.gradient / np.sqrt(np.maximum(curvature, 1e-300))).max() < 1e-4
    assert all(way.gain < 1e-8 for way in ways_down(solution.criterion, solution.minimum.state))


def search_again(seeds: Iterable[int], n_restarts: int, **options: tuple[str, ...]) -> list[tuple[int, float]]:
    """Data sets in which a restart ended lower, and by how much; all first-order conditions are checked on the way."""
    short, tried = [], 0
    for seed in seeds:
        model = hard_several(seed, **options)
        if model is None:
            continue
        tried += 1
        crossing, reml = model.crossing, seed % 2 == 0
        solution = solve_crossing(crossing, reml=reml)
        assert solution.status is Status.CONVERGED, seed
        check_minimum(solution)
        for start in restarts(crossing, seed, n_restarts):
            lower = solution.deviance - solve_crossing(crossing, reml=reml, start=start).deviance
            if lower > LOWER:
                short.append((seed, lower))
    assert tried
    return short


def test_restarts_find_no_lower_deviance() -> None:
    assert search_again((*range(4), *SEVERAL_MINIMA, DWARFED), 1) == []


def test_restarts_find_no_lower_deviance_with_tied_effects() -> None:
    assert search_again(range(4), 1, kinds=TIED) == []


@pytest.mark.slow
def test_restarts_find_no_lower_deviance_in_hundreds() -> None:
    assert search_again(range(4, 400), 3) == []


@pytest.mark.slow
def test_restarts_find_no_lower_deviance_in_a_hundred_with_tied_effects() -> None:
    assert search_again(range(4, 110), 3, kinds=TIED) == []


def crossed(kind: str = "us", *, second: float = 0.5, rows: int = 300) -> SeveralModel:
    """Three effects of 12 levels, and an intercept of 15 others with this standard deviation."""
    rng = np.random.default_rng(1)
    a, b, occasion = (rng.integers(0, count, rows).astype(np.int32) for count in (12, 15, 3))
    C = np.column_stack([np.ones(rows), rng.normal(size=rows), np.eye(3)[occasion]])
    effects = rng.normal(size=(12, 3)) @ np.array([[0.7, 0.4, 0.2], [0.0, 0.6, 0.3], [0.0, 0.0, 0.5]])
    noise = rng.normal(size=rows)
    noise += (second * rng.normal(size=15) - np.bincount(b, noise) / np.bincount(b))[b]
    y = C[:, 1] + effects[a, occasion] + noise
    first = Grouping(codes=(a,), z=[2, 3, 4], blocks=((kind, [0, 1, 2]),))
    return SeveralModel(C=C, y=y, x=[0, 1], groupings=(first, Grouping(codes=(b,), z=[0], blocks=(("us", [0]),))))


def alone(model: SeveralModel) -> Model:
    """The same rows with the first factor only, for the engine for one factor."""
    first = model.groupings[0]
    return Model(C=model.C, y=model.y, codes=first.codes[0], x=model.x, z=first.z, blocks=first.blocks)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("kind", ["us", "diag", "cs", "ar1", "hcs", "har1"])
def test_a_second_factor_without_variance_changes_nothing(kind: str, reml: bool) -> None:
    """Where the residuals have the same mean in all its levels it has no variance, and one factor is left."""
    model = crossed(kind, second=0.0)
    both, one = solve_crossing(model.crossing, reml=reml), solve(alone(model).reduced, reml=reml)
    assert both.status is one.status is Status.CONVERGED
    assert both.singular[1]
    assert both.deviance == pytest.approx(one.deviance, abs=1e-8)
    np.testing.assert_allclose(both.beta, one.beta, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        both.factors[0] @ both.factors[0].T, one.factors[0] @ one.factors[0].T, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("kind", ["us", "cs", "ar1", "hcs", "har1"])
def test_a_start_without_variance_is_left(kind: str) -> None:
    crossing = crossed(kind).crossing
    best = solve_crossing(crossing, reml=True)
    theta = np.concatenate([s.nearest(np.zeros((s.q, 1))) for s in crossing.structures])
    criterion = BlockedDeviance.of(crossing, reml=True)
    found = criterion.escape(theta, criterion.value(theta), tolerance=1e-10)
    assert found is not None
    assert all(np.abs(factor).max() > 0.01 for factor in found[1].factors)  # both factors at once
    again = solve_crossing(crossing, reml=True, start=theta)
    assert again.status is Status.CONVERGED
    check_minimum(again)
    assert best.deviance - 1e-7 <= again.deviance < found[1].deviance + 1e-7
    if kind not in ("hcs", "har1"):  # with variances of their own there are several minima
        assert again.deviance == pytest.approx(best.deviance, abs=1e-7)


@pytest.mark.parametrize("reml", [True, False])
def test_turned_effects_are_the_same_model(reml: bool) -> None:
    """Along principal axes the deviance is the same, the covariance diagonal; tied effects stay as they are."""
    rng = np.random.default_rng(4)
    for seed in (1, 3, 5, 8):
        model = hard_several(seed, kinds=("us", "diag", "ar1"))
        assert model is not None
        criterion = BlockedDeviance.of(model.crossing, reml=reml)
        factors = criterion.value(rng.normal(size=criterion.crossing.parts[-1].stop)).factors
        turned, there = criterion.rotated(factors)
        assert turned.at_factors(there).deviance == pytest.approx(criterion.at_factors(factors).deviance, rel=1e-11)
        for k, structure in enumerate(criterion.structures):
            back, own = np.linalg.solve(turned.bases[k], there[k]), np.linalg.solve(criterion.bases[k], factors[k])
            np.testing.assert_allclose(back @ back.T, own @ own.T, rtol=1e-8, atol=1e-10 * np.abs(own @ own.T).max())
            if all(kind.free for kind in structure.kinds) and len(structure.kinds) == 1:
                psi = there[k] @ there[k].T
                np.testing.assert_allclose(psi, np.diag(np.diag(psi)), atol=1e-12 * psi.max())
            if not any(kind.free for kind in structure.kinds):
                np.testing.assert_array_equal(there[k], factors[k])


def test_tied_effects_that_cannot_be_told_apart_are_refused() -> None:
    """One row per level and occasion: the variance of their differences is that of the residuals."""
    a, occasion = (part.ravel().astype(np.int32) for part in np.meshgrid(np.arange(20), np.arange(3), indexing="ij"))
    rng = np.random.default_rng(1)
    b = rng.integers(0, 8, 60).astype(np.int32)
    C = np.column_stack([np.ones(60), np.eye(3)[occasion]])
    second = Grouping(codes=(b,), z=[0], blocks=(("us", [0]),))
    first = Grouping(codes=(a,), z=[1, 2, 3], blocks=(("cs", [0, 1, 2]),))
    model = SeveralModel(C=C, y=rng.normal(size=60), x=[0], groupings=(first, second))
    with pytest.raises(DesignError, match="cannot be told apart from the residual"):
        solve_crossing(model.crossing, reml=True)


def test_an_outcome_without_variation_between_levels_is_not_refused() -> None:
    """Whether effects can be told apart is a matter of the design, not of the outcome."""
    model = crossed("cs")
    a = model.groupings[0].codes[0]
    within = model.y - (np.bincount(a, model.y) / np.bincount(a))[a]
    same = SeveralModel(C=model.C, y=within, x=model.x, groupings=model.groupings)
    assert solve_crossing(same.crossing, reml=True).status is Status.CONVERGED


def test_many_levels_have_one_start() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 3000, 20_000).astype(np.int32), rng.integers(0, 100, 20_000).astype(np.int32)
    y = 0.6 * rng.normal(size=3000)[a] + 0.4 * rng.normal(size=100)[b] + rng.normal(size=20_000)
    one = (("us", [0]),)
    groupings = tuple(Grouping(codes=(codes,), z=[0], blocks=one) for codes in (a, b))
    solution = solve_crossing(SeveralModel(C=np.ones((20_000, 1)), y=y, x=[0], groupings=groupings).crossing, reml=True)
    assert solution.status is Status.CONVERGED
    assert solution.minimum.evaluations <= 7
    spread = [float(factor[0, 0]) * solution.sigma for factor in solution.factors]
    np.testing.assert_allclose(spread, [0.6, 0.4], rtol=0.15)


def test_a_search_cut_short_says_so() -> None:
    crossing = crossed().crossing
    short = solve_crossing(crossing, reml=True, max_steps=1)
    assert short.status is Status.MAX_STEPS
    assert short.deviance > solve_crossing(crossing, reml=True).deviance + 1e-6
    with pytest.raises(CrosslevelError, match="`max_steps` is a number of steps, at least 1; got 0"):
        solve_crossing(crossing, reml=True, max_steps=0)
