"""The search ends at the minimum: restarts find nothing lower, and the conditions of a boundary minimum hold."""

import numpy as np
import pandas as pd
import pytest
from small_models import Model, random_model, unbalanced

import crosslevel as cl
from crosslevel.errors import ConvergenceWarning, CrosslevelError
from crosslevel.likelihood.profiled import ProfiledDeviance
from crosslevel.optimise import Status
from crosslevel.solve import Solution, solve

LOWER = 1e-6  # a restart that ends this much lower has found another minimum

QUICK, ALL = 200, 1000  # data sets in every run of the tests, and in the slow ones


def hard_model(seed: int) -> Model | None:
    """Few clusters, up to six random effects of which any number do not vary; None where the model is not identified.

    Clusters are small or large or of very different size; in some data sets a slope's variable is constant in part of
    the clusters or describes clusters, two slopes are nearly the same, the scales differ, or an effect is not fixed.
    """
    rng = np.random.default_rng(seed)
    n_clusters, q = int(rng.choice([5, 8, 15, 25])), int(rng.integers(1, 7))
    low, high = [(1, 4), (1, 12), (5, 60), (100, 300)][rng.integers(4)]
    sizes = rng.integers(low, high, n_clusters)
    if rng.random() < 0.2:
        sizes[: n_clusters // 2] = 1
    codes = np.repeat(np.arange(n_clusters), sizes).astype(np.int32)
    n, extra = len(codes), int(rng.integers(0, 3))

    C = rng.normal(size=(n, q + extra)) + rng.choice([0.0, 0.0, 5.0], q + extra)
    C *= 10.0 ** rng.choice([0.0, 0.0, 3.0, -3.0], q + extra)
    C[:, 0] = 1.0
    if extra:
        C[:, q] = rng.normal(size=n_clusters)[codes]
    kind = rng.integers(8)
    if q > 2 and kind == 0:
        C[codes < n_clusters // 2, 1] = 2.0
    if q > 2 and kind == 1:
        C[:, 1] = rng.normal(size=n_clusters)[codes]
    if q > 2 and kind == 2:
        C[:, 2] = C[:, 1] + 1e-2 * C[:, 1].std() * rng.normal(size=n)

    scale = np.sqrt(np.mean(C[:, :q] ** 2, axis=0))
    varying = rng.permutation(q)[: rng.integers(0, q + 1)]
    factor = np.zeros((q, q))
    factor[np.ix_(varying, varying)] = rng.normal(size=(len(varying), len(varying))) * rng.choice([0.05, 0.3, 1.5])
    b = rng.normal(size=(n_clusters, q)) @ factor.T / scale
    y = (C / np.sqrt(np.mean(C**2, axis=0))).sum(axis=1) + (C[:, :q] * b[codes]).sum(axis=1) + rng.normal(size=n)

    blocks = [(("us", list(range(q))),), tuple(("us", [k]) for k in range(q)), (("diag", list(range(q))),)]
    if q > 1:
        blocks += [(("us", list(range(q // 2))), ("us", list(range(q // 2, q))))]
    first = int(rng.random() < 0.15 and q > 1)
    fixed = list(range(first, q + extra)) if rng.random() < 0.85 else [0]
    if n_clusters <= q or q * n_clusters + len(fixed) >= n or np.minimum(sizes, q).sum() + len(fixed) >= n:
        return None
    which = 0 if rng.random() < 0.6 else rng.integers(len(blocks))
    return Model(C=C, y=y, codes=codes, x=fixed, z=list(range(q)), blocks=blocks[which])


def restarts(model: Model, seed: int, n: int) -> list[np.ndarray]:
    """Random factors, of any correlation and size."""
    rng = np.random.default_rng(seed)
    q = model.structure.q
    return [model.structure.nearest(rng.normal(size=(q, q)) * rng.choice([0.01, 0.1, 1.0, 5.0])) for _ in range(n)]


def check_minimum(solution: Solution) -> None:
    """First-order conditions: the gradient is zero, and no variance lowers the deviance in any direction of Psi."""
    criterion, minimum = solution.criterion, solution.minimum
    at, mask = minimum.state, criterion.structure.mask
    derivatives = criterion.derivatives(at, minimum.theta)
    size = np.sqrt(np.maximum(np.diag(derivatives.information), 1e-300))
    assert np.abs(derivatives.gradient / size).max() < 1e-4

    sums = at.psi_derivatives
    scale = np.sqrt(np.maximum(np.diag(sums.p_sum), 1e-300))
    values, vectors = np.linalg.eigh(sums.score * mask / np.outer(scale, scale))
    if values[0] < 0.0:
        v = vectors[:, 0] / scale
        slope = float(v @ (sums.score * mask) @ v)
        curvature = float(sums.information(np.outer(v, v)[None])[0, 0])
        assert slope**2 / (2.0 * max(curvature, 1e-300)) < 1e-8


def search_again(seeds: range, n_restarts: int) -> list[tuple[int, float]]:
    """Data sets in which a restart ended lower, and by how much; all first-order conditions are checked on the way."""
    short = []
    n_singular = 0
    for seed in seeds:
        model = hard_model(seed)
        if model is None:
            continue
        reduced, reml = model.reduced, seed % 2 == 0
        solution = solve(reduced, reml=reml)
        assert solution.status is Status.CONVERGED, seed
        check_minimum(solution)
        n_singular += solution.is_singular
        others = [solve(reduced, reml=reml, start=start).deviance for start in restarts(model, seed, n_restarts)]
        if min(others) < solution.deviance - LOWER:
            short.append((seed, solution.deviance - min(others)))
    assert n_singular > 0.5 * len(seeds) * 0.5  # most of them are meant to be singular
    return short


def test_restarts_find_no_lower_deviance():
    assert search_again(range(QUICK + 60), 3) == []


@pytest.mark.slow
def test_restarts_find_no_lower_deviance_in_a_thousand():
    assert search_again(range(QUICK + 60, QUICK + 60 + ALL + 300), 3) == []


@pytest.mark.parametrize("reml", [True, False])
def test_fifteen_clusters_with_seven_effects_of_which_two_vary(reml: bool):
    rng = np.random.default_rng(12)
    codes = unbalanced(rng, 15, 120)
    C = np.column_stack([np.ones(len(codes)), rng.normal(size=(len(codes), 6))])
    b = rng.normal(size=(15, 2))
    y = C.sum(axis=1) + b[codes, 0] + 0.6 * b[codes, 1] * C[:, 1] + rng.normal(size=len(codes))
    model = Model(C=C, y=y, codes=codes, x=list(range(7)), z=list(range(7)), blocks=(("us", list(range(7))),))
    solution = solve(model.reduced, reml=reml)
    assert solution.status is Status.CONVERGED
    assert solution.is_singular
    check_minimum(solution)
    for start in restarts(model, 5, 10):
        assert solve(model.reduced, reml=reml, start=start).deviance > solution.deviance - LOWER


def test_a_start_without_variance_is_left():
    """The gradient in Lambda is zero there: only the check of the boundary sees that the deviance falls."""
    model = random_model(3, n_clusters=20, largest=12, singles=0)
    best = solve(model.reduced, reml=True)
    again = solve(model.reduced, reml=True, start=np.zeros(model.structure.n_theta))
    assert again.status is Status.CONVERGED
    assert again.deviance == pytest.approx(best.deviance, abs=1e-8)


def test_a_search_cut_short_says_so():
    model = random_model(3, n_clusters=20, largest=12, singles=0)
    short = solve(model.reduced, reml=True, max_steps=1)
    assert short.status is Status.MAX_STEPS
    assert short.deviance > solve(model.reduced, reml=True).deviance + 1e-6
    with pytest.raises(CrosslevelError, match="`max_steps` is a number of steps, at least 1; got 0"):
        solve(model.reduced, reml=True, max_steps=0)


def test_the_warning_is_the_status():
    data = cl.datasets.load("sleepstudy")
    with pytest.warns(ConvergenceWarning) as caught:
        fit = cl.mixed("Reaction ~ Days + (Days | Subject)", data, max_steps=1)
    assert [str(warning.message) for warning in caught] == [fit.status]
    assert not fit.converged


def test_the_last_digits_of_theta():
    """Where the search ends, one more Newton step would not move any element of theta in its tenth digit."""
    model = random_model(3, n_clusters=20, largest=12, singles=0)
    solution = solve(model.reduced, reml=True)
    criterion, minimum = solution.criterion, solution.minimum
    assert isinstance(criterion, ProfiledDeviance)
    step = np.linalg.solve(minimum.derivatives.hessian, minimum.derivatives.gradient)
    assert np.abs(step).max() < 1e-10


@pytest.mark.parametrize("variance", [1.2e-8, 2e-8, 3e-8])
def test_the_last_digits_close_to_the_boundary(variance: float):
    """Balanced groups, whose estimates are known: (F - 1) / n, with J - 1 degrees of freedom of the mean."""
    rng, J, n = np.random.default_rng(1), 16, 1000
    within, between = rng.normal(size=(J, n)), rng.normal(size=J)
    within -= within.mean(axis=1, keepdims=True)
    between -= between.mean()
    square = np.sum(within**2) / (J * (n - 1)) * (1.0 + n * variance)
    between *= np.sqrt(square * (J - 1) / (n * np.sum(between**2)))
    data = pd.DataFrame({"y": (within + between[:, None]).ravel(), "g": np.repeat(np.arange(J), n)})
    fit = cl.mixed("y ~ 1 + (1 | g)", data)
    assert fit.converged
    assert fit.solution.theta[0] == pytest.approx(np.sqrt(variance), rel=1e-6)
    assert fit.tests(ddf="satterthwaite")["df"].iloc[0] == pytest.approx(J - 1, rel=1e-6)


def test_many_clusters_have_one_start():
    """Twenty thousand clusters with a slope that is not fixed: one search, and it converges."""
    rng = np.random.default_rng(2)
    codes = np.repeat(np.arange(20_000), 4).astype(np.int32)
    x = rng.normal(size=len(codes))
    b = rng.normal(size=(20_000, 2)) * [0.7, 0.4]
    y = b[codes, 0] + (0.2 + b[codes, 1]) * x + rng.normal(size=len(codes))
    C = np.column_stack([np.ones(len(codes)), x])
    solution = solve(Model(C=C, y=y, codes=codes, x=[0], z=[0, 1], blocks=(("us", [0, 1]),)).reduced, reml=True)
    assert solution.status is Status.CONVERGED
    assert solution.minimum.evaluations < 25
    spread = np.sqrt(np.diag(solution.factors[0] @ solution.factors[0].T)) * solution.sigma
    np.testing.assert_allclose(spread, [0.7, np.hypot(0.4, 0.2)], rtol=0.05)
