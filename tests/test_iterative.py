"""The iterative engine against whole matrices, its own differences, and itself."""

import numpy as np
import pytest
from crossed_rows import CASES, Dense, crossing_of, simulated

from crosslevel.errors import CrosslevelError
from crosslevel.kernels import iterative as kernels
from crosslevel.likelihood import lanczos
from crosslevel.likelihood.effects import solve_effects, whole_product
from crosslevel.likelihood.iterative import IterativeDeviance, average_information, factors_of
from crosslevel.likelihood.lanczos import Lanczos
from crosslevel.likelihood.large import exact_cost, iterative_cost, solve_iterative
from crosslevel.likelihood.schur import Elimination, Schur
from crosslevel.optimise import Status, minimise

EACH_CASE = pytest.mark.parametrize("case", CASES)


def theta_of(crossing):
    return np.concatenate([s.nearest(0.45 * np.eye(s.q) + 0.1 * np.tri(s.q, k=-1)) for s in crossing.structures])


def exact(crossing, *, reml):
    """The criterion with all unit vectors for its directions: nothing stochastic is left."""
    plan = Elimination.of(crossing)
    return IterativeDeviance(plan=plan, reml=reml, vectors=np.eye(plan.n_columns), n_exact=plan.n_columns)


def stochastic(crossing, *, reml=False, probes=8, seed=1, sigma=None):
    factors = factors_of(crossing, theta_of(crossing))
    return IterativeDeviance.of(crossing, factors, reml=reml, probes=probes, seed=seed, sigma=sigma)


def differences(function, theta, step=2e-4):
    """Central differences of fourth order."""
    out = []
    for direction in step * np.eye(len(theta)):
        two_below, below, above, two_above = (function(theta + k * direction) for k in (-2, -1, 1, 2))
        out.append((two_below - 8.0 * below + 8.0 * above - two_above) / (12.0 * step))
    return np.array(out)


# -- at one theta -----------------------------------------------------------------------------------------------------


@EACH_CASE
@pytest.mark.parametrize("reml", [False, True], ids=["ml", "reml"])
def test_with_all_directions_the_deviance_is_exact(case, reml):
    crossing = simulated(case)
    theta = theta_of(crossing)
    expected = Dense(crossing).deviance(factors_of(crossing, theta), reml=reml)
    assert exact(crossing, reml=reml).value(theta).deviance == pytest.approx(expected, rel=1e-10)


@EACH_CASE
def test_the_deviance_lies_within_its_monte_carlo_error(case):
    crossing = simulated(case)
    theta = theta_of(crossing)
    expected = Dense(crossing).deviance(factors_of(crossing, theta), reml=False)
    at = stochastic(crossing, probes=24).value(theta)
    assert 0.0 < at.standard_error < 0.1
    assert abs(at.deviance - expected) < 4.0 * at.standard_error + 1e-6


@EACH_CASE
@pytest.mark.parametrize("reml", [False, True], ids=["ml", "reml"])
def test_gradient(case, reml):
    crossing = simulated(case)
    theta = theta_of(crossing)
    criterion = stochastic(crossing, reml=reml)
    gradient = criterion.derivatives(criterion.value(theta), theta).gradient
    expected = differences(lambda t: criterion.value(t).deviance, theta)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_gradient_where_sigma_is_known():
    crossing = simulated("three")
    theta = theta_of(crossing)
    criterion = stochastic(crossing, sigma=1.3)
    gradient = criterion.derivatives(criterion.value(theta), theta).gradient
    expected = differences(lambda t: criterion.value(t).deviance, theta)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@EACH_CASE
def test_effects_and_images(case):
    crossing = simulated(case)
    factors = factors_of(crossing, theta_of(crossing))
    dense = Dense(crossing)
    effects, images, explained = solve_effects(Schur.at(Elimination.of(crossing), factors), crossing.image)
    expected = dense.middle(factors) @ dense.W
    size = np.abs(expected).max()
    np.testing.assert_allclose(np.concatenate([b.reshape(-1, 4) for b in effects]), expected, atol=1e-8 * size)
    left = dense.W - dense.A @ expected
    np.testing.assert_allclose(
        np.concatenate([t.reshape(-1, 4) for t in images]), left, atol=1e-7 * np.abs(dense.W).max()
    )
    np.testing.assert_allclose(explained, dense.W.T @ expected, rtol=1e-10, atol=1e-10 * np.abs(explained).max())


@EACH_CASE
def test_modes_and_whole_products(case):
    crossing = simulated(case)
    theta = theta_of(crossing)
    dense, at = Dense(crossing), stochastic(crossing).value(theta)
    expected = dense.middle(at.factors) @ dense.W @ np.append(-at.beta, 1.0)
    modes = np.concatenate([b.ravel() for b in at.modes])
    np.testing.assert_allclose(modes, expected, atol=1e-8 * np.abs(expected).max())
    product = whole_product(at.schur.plan, [mode[:, :, None] for mode in at.modes])
    np.testing.assert_allclose(
        np.concatenate([p.ravel() for p in product]), dense.A @ modes, atol=1e-10 * np.abs(dense.A @ modes).max()
    )


@EACH_CASE
@pytest.mark.parametrize("sigma", [None, 1.2], ids=["profiled", "known"])
def test_average_information(case, sigma):
    crossing = simulated(case)
    theta = theta_of(crossing)
    at = stochastic(crossing, sigma=sigma).value(theta)
    dense, rng = Dense(crossing), np.random.default_rng(0)
    middle = dense.middle(at.factors)
    t = (dense.W - dense.A @ middle @ dense.W) @ at.contrast
    fixed = (dense.W - dense.A @ middle @ dense.W)[:, :-1]
    directions, shifts = [], []
    for k, structure in enumerate(crossing.structures):
        direction = rng.normal(size=(structure.q, structure.q))
        directions.append((k, direction + direction.T))
        shift = np.zeros(len(t))
        own = slice(dense.offset[k], dense.offset[k + 1])
        shift[own] = (t[own].reshape(-1, structure.q) @ directions[-1][1]).ravel()
        shifts.append(shift)
    g = np.column_stack(shifts)
    gram = at.chol[:-1, :-1] @ at.chol[:-1, :-1].T
    projected = g.T @ (dense.A - dense.A @ middle @ dense.A) @ g
    projected -= (g.T @ fixed) @ np.linalg.solve(gram, fixed.T @ g)
    if sigma is None:
        projected -= np.outer(g.T @ t, g.T @ t) / at.rss
    scale = at.nu / at.rss if sigma is None else sigma**-2
    expected = scale * projected
    ours = average_information(at, directions)
    np.testing.assert_allclose(ours, expected, rtol=1e-7, atol=1e-7 * np.abs(expected).max())
    assert np.linalg.eigvalsh(ours).min() > 0.0


@EACH_CASE
def test_psi_scores_at_zero_variances(case):
    crossing = simulated(case, n=600, sizes=(60, 25, 4))
    criterion, dense = exact(crossing, reml=False), Dense(crossing)
    zero = tuple(np.zeros((s.q, s.q)) for s in crossing.structures)
    scores, _ = criterion.psi_scores(criterion.at_factors(zero))
    step = 1e-5
    for k, score in enumerate(scores):
        for a in range(len(score)):
            moved = list(zero)
            moved[k] = zero[k].copy()
            values = []
            for amount in (0.0, step, 2.0 * step):
                moved[k][a, a] = np.sqrt(amount)
                values.append(dense.deviance(moved, reml=False))
            slope = (4.0 * values[1] - values[2] - 3.0 * values[0]) / (2.0 * step)
            assert score[a, a] == pytest.approx(slope, rel=1e-3, abs=1e-2)


# -- fits -------------------------------------------------------------------------------------------------------------


@EACH_CASE
def test_the_fit_is_the_exact_one(case):
    crossing = simulated(case)
    fit = solve_iterative(crossing, reml=True)
    assert fit.minimum.status is Status.CONVERGED
    criterion = exact(crossing, reml=True)
    best = minimise(criterion, fit.theta, deviance=lambda at: at.deviance, escape=lambda *_: None, tolerance=1e-8)
    errors = np.sqrt(np.diag(fit.theta_covariance))
    assert np.all(np.abs(fit.theta - best.theta) < 0.02 * errors)
    assert abs(fit.deviance - best.state.deviance) < 4.0 * fit.standard_error + 1e-5
    np.testing.assert_allclose(fit.minimum.state.beta, best.state.beta, atol=1e-4)


def test_a_fit_repeats_to_the_last_digit():
    crossing = simulated("two", n=60_000, sizes=(6000, 900, 3))
    first, second = (solve_iterative(crossing, reml=False, seed=3) for _ in range(2))
    assert len(first.criterion.plan.bounds) > 1
    assert first.deviance == second.deviance
    np.testing.assert_array_equal(first.theta, second.theta)


@pytest.mark.slow
def test_monte_carlo_errors_are_honest():
    crossing = simulated("two", n=3000, sizes=(300, 150, 3))
    fits = [solve_iterative(crossing, reml=False, seed=seed) for seed in range(30)]
    deviances, errors = np.array([f.deviance for f in fits]), np.array([f.standard_error for f in fits])
    thetas, theta_errors = np.array([f.theta for f in fits]), np.array([f.theta_error for f in fits])
    # a standard deviation of 30 draws is known to 13%, one of 11 to 20%
    assert 0.65 < deviances.std(ddof=1) / np.sqrt(np.mean(errors**2)) < 1.5
    spread = thetas.std(axis=0, ddof=1) / np.sqrt(np.mean(theta_errors**2, axis=0))
    assert np.all((spread > 0.5) & (spread < 1.6))
    expected = exact(crossing, reml=False).value(thetas[0]).deviance
    assert abs(deviances.mean() - expected) < 4.0 * deviances.std(ddof=1) / np.sqrt(len(fits)) + 1e-6


def test_a_factor_that_does_not_vary():
    crossing = simulated("two", within=True)
    fit = solve_iterative(crossing, reml=False)
    assert fit.minimum.status is Status.CONVERGED
    assert fit.theta[1] == pytest.approx(0.0, abs=1e-3)
    assert fit.theta[0] > 0.3
    assert np.linalg.eigvalsh(fit.criterion.psi_scores(fit.minimum.state)[0][1]).min() > 0.0


def test_the_search_leaves_a_boundary_that_is_no_minimum():
    crossing = simulated("two")
    free = solve_iterative(crossing, reml=False)
    fit = solve_iterative(crossing, reml=False, start=np.array([0.0, 0.0]))
    np.testing.assert_allclose(fit.theta, free.theta, atol=1e-4)


# -- parts ------------------------------------------------------------------------------------------------------------


def matrix(rng, n=40):
    root = rng.normal(size=(n, n)) / np.sqrt(3.0 * n)
    return np.eye(n) + root @ root.T


def test_lanczos_solutions():
    rng = np.random.default_rng(0)
    H, v = matrix(rng), rng.normal(size=(40, 3))
    v[:, 1] = 0.0
    np.testing.assert_allclose(
        Lanczos.run(lambda x: H @ x, v).solution(), np.linalg.solve(H, v), atol=1e-8 * np.abs(v).max()
    )


def test_quadratic_forms_and_their_derivatives():
    rng = np.random.default_rng(1)
    H, v = matrix(rng), rng.normal(size=(40, 3))
    change = rng.normal(size=(40, 40))
    change = change + change.T

    def forms(amount):
        values, vectors = np.linalg.eigh(H + amount * change)
        return (vectors.T @ v).T ** 2 @ (np.log(values) - values + 1.0)

    ours, w, signs = Lanczos.run(lambda x: H @ x, v).log_forms()
    np.testing.assert_allclose(ours, forms(0.0), rtol=1e-9)
    slope = np.einsum("nsk,nm,msk,sk->s", w, change, w, signs)
    np.testing.assert_allclose(slope, (forms(1e-5) - forms(-1e-5)) / 2e-5, rtol=1e-6, atol=1e-6)


def test_equations_that_iteration_does_not_solve_are_named(monkeypatch):
    monkeypatch.setattr(lanczos, "MAX_STEPS", 2)
    crossing = simulated("two")
    schur = Schur.at(Elimination.of(crossing), factors_of(crossing, theta_of(crossing)))
    with pytest.raises(CrosslevelError, match="weakly connected"):
        solve_effects(schur, crossing.image)


def test_a_step_to_equations_that_are_not_solved_is_refused(monkeypatch):
    crossing = simulated("two")
    theta = theta_of(crossing)
    criterion = stochastic(crossing)
    at = criterion.value(theta)
    monkeypatch.setattr(lanczos, "MAX_STEPS", 2)
    assert criterion.attempt(theta, at).deviance == np.inf
    with pytest.raises(CrosslevelError, match="exact method"):
        criterion.value(theta)
    with pytest.raises(CrosslevelError, match="exact method"):
        solve_iterative(crossing, reml=False)


@pytest.mark.parametrize("q", [1, 2])
@pytest.mark.parametrize("plain", [False, True], ids=["compiled", "interpreted"])
def test_kernels_are_products_with_whole_matrices(q, plain):
    rng = np.random.default_rng(q)
    n_levels, n_columns, s = 9, 8, 8
    dense = rng.normal(size=(n_levels, q, n_columns)) * (rng.random((n_levels, 1, n_columns // 2)) < 0.6).repeat(2, 2)
    lists = [np.flatnonzero(level.any(axis=0)) for level in dense]
    start = np.cumsum([0, *map(len, lists)])
    column = np.concatenate(lists).astype(np.uint32)
    value = np.concatenate([level[:, columns].T for level, columns in zip(dense, lists, strict=True)])
    middle, residual = rng.normal(size=(2, n_levels, q, q))
    x = rng.normal(size=(n_columns, s))

    def call(name, *arguments):
        kernel = getattr(kernels, name)
        (kernel.py_func if plain else kernel)(*arguments)

    out, sums = np.zeros((n_columns, s)), np.zeros((s, q, q))
    call("eliminate", start, column, value, middle, residual, x, 0, n_levels, out, sums)
    expected = np.einsum("iac,iab,ibd,ds->cs", dense, middle, dense, x)
    e = np.einsum("iab,ibd,ds->ias", residual, dense, x)
    np.testing.assert_allclose(out, expected, atol=1e-12)
    np.testing.assert_allclose(sums, np.einsum("ias,ibs->sab", e, e), atol=1e-11)
    if q == 1:
        flat = value[:, 0].copy(), middle[:, 0, 0].copy(), residual[:, 0, 0].copy()
        again, squares = np.zeros((n_columns, s)), np.zeros(s)
        call("eliminate_eight", start, column, *flat, x, 0, n_levels, again, squares)
        np.testing.assert_allclose(again, out, atol=1e-12)
        np.testing.assert_allclose(squares, sums[:, 0, 0], atol=1e-11)

    t = np.zeros((n_levels, q, s))
    call("gather", start, column, value, x, 0, n_levels, t)
    np.testing.assert_allclose(t, dense @ x, atol=1e-12)
    back = np.zeros((n_columns, s))
    call("scatter", start, column, value, t, 0, n_levels, back)
    np.testing.assert_allclose(back, np.einsum("iac,ias->cs", dense, t), atol=1e-12)

    width, cell = np.full(n_columns, 2), 2 * np.arange(n_columns)
    cells = np.zeros(2 * n_columns)
    call("middle_blocks", start, column, value, middle, width, cell, 0, n_levels, cells)
    whole = np.einsum("iac,iab,ibd->cd", dense, middle, dense)
    blocks = [whole[c : c + 2, c : c + 2] for c in range(0, n_columns, 2)]
    np.testing.assert_allclose(cells.reshape(-1, 2, 2), blocks, atol=1e-12)

    inner, found = rng.normal(size=(n_columns // 2, 2, 2, s)), np.zeros((s, q, q))
    call("middle_sums", start, column, value, residual, width, cell, inner.reshape(-1, s), 0, n_levels, found)
    pairs = dense.reshape(n_levels, q, n_columns // 2, 2)
    around = np.einsum("iajc,jcds,ibjd->iabs", pairs, inner, pairs)
    np.testing.assert_allclose(
        found, np.einsum("iab,ibcs,idc->sad", residual, around, residual), atol=1e-10 * np.abs(found).max()
    )
    each = np.zeros((n_levels, q, q))
    call("level_sums", start, column, value, width, cell, inner[..., 0].ravel(), each)
    np.testing.assert_allclose(each, around[..., 0], atol=1e-11)


# -- directions and costs ---------------------------------------------------------------------------------------------


def communities(n=20_000, n_users=2000, n_items=400, groups=20):
    """Users and items in groups that seldom meet those of others: as many eigenvalues of H far from 1."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, n_users, n).astype(np.int32), rng.integers(0, n_items, n).astype(np.int32)
    home = rng.random(n) < 0.97
    item = np.where(home, item // groups * groups + user % groups, item).astype(np.int32)
    y = rng.normal(size=n) + 0.5 * rng.normal(size=n_users)[user] + 0.4 * rng.normal(size=n_items)[item]
    one = np.ones((1, n))
    return crossing_of([[(user, one)], [(item, one)]], np.ones((n, 1)), y)


def test_more_directions_are_taken_exactly_where_that_pays():
    crossing = communities()
    factors = tuple(np.array([[size]]) for size in (0.5, 0.4))
    few = IterativeDeviance.of(crossing, factors, reml=False, probes=11, more=False)
    more = IterativeDeviance.of(crossing, factors, reml=False, probes=11)
    assert few.n_exact == 5
    assert more.n_exact >= 20
    at_few, at_more = few.at_factors(factors), more.at_factors(factors)
    assert at_more.standard_error < 0.2 * at_few.standard_error
    expected = exact(crossing, reml=False).at_factors(factors).deviance
    assert abs(at_few.deviance - expected) < 4.0 * at_few.standard_error
    assert abs(at_more.deviance - expected) < 4.0 * at_more.standard_error

    random = simulated("two", n=6000, sizes=(900, 300, 3))
    assert IterativeDeviance.of(random, factors, reml=False).n_exact == 5


def test_probes_are_added_where_the_monte_carlo_error_is_large():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 400, 900).astype(np.int32), rng.integers(0, 300, 900).astype(np.int32)
    y = rng.normal(size=900) + 2.0 * rng.normal(size=400)[a] + 2.0 * rng.normal(size=300)[b]
    one = np.ones((1, 900))
    crossing = crossing_of([[(a, one)], [(b, one)]], np.ones((900, 1)), y)
    given, free = solve_iterative(crossing, reml=False, probes=11), solve_iterative(crossing, reml=False)
    assert given.standard_error > 0.1
    assert free.criterion.vectors.shape[1] > given.criterion.vectors.shape[1]
    assert free.standard_error < given.standard_error


def test_working_coefficients_of_the_fit():
    fit = solve_iterative(simulated("two"), reml=True)
    state = fit.minimum.state
    gram = state.chol[:-1, :-1] @ state.chol[:-1, :-1].T
    assert fit.sigma == pytest.approx(np.sqrt(state.rss / state.nu))
    np.testing.assert_allclose(fit.vcov, fit.sigma**2 * np.linalg.inv(gram), rtol=1e-10)
    np.testing.assert_array_equal(fit.beta, state.beta)


def test_gradient_of_log_sigma():
    crossing = simulated("slopes")
    theta = theta_of(crossing)
    criterion = stochastic(crossing)
    _, slope = criterion.curvature(criterion.value(theta), theta)
    expected = differences(lambda t: 0.5 * np.log(criterion.value(t).rss), theta)
    np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-8)


def test_costs_grow_as_they_should():
    small, large = simulated("two", n=3000, sizes=(400, 100, 3)), simulated("two", n=3000, sizes=(400, 300, 3))
    assert exact_cost(large).bytes > 7 * exact_cost(small).bytes
    assert exact_cost(large, n_dense=100).seconds < exact_cost(large).seconds
    assert 0.5 < iterative_cost(large).seconds / iterative_cost(small).seconds < 2.0
    assert exact_cost(small).bytes >= 8 * 100**2


@EACH_CASE
def test_conditional_covariances(case):
    crossing = simulated(case)
    factors = factors_of(crossing, theta_of(crossing))
    dense = Dense(crossing)
    middle = dense.middle(factors)
    criterion, all_directions = stochastic(crossing, probes=16), exact(crossing, reml=False)
    estimates = criterion.conditional_covariances(criterion.at_factors(factors))
    exactly = all_directions.conditional_covariances(all_directions.at_factors(factors))
    for k, structure in enumerate(crossing.structures):
        own = np.arange(dense.offset[k], dense.offset[k + 1]).reshape(-1, structure.q)
        expected = middle[own[:, :, None], own[:, None, :]]
        size = np.abs(expected).max(axis=(1, 2))[:, None, None]
        np.testing.assert_allclose(exactly[k] / size, expected / size, atol=1e-7)
        assert np.sqrt(np.mean(((estimates[k] - expected) / size) ** 2)) < 0.02
