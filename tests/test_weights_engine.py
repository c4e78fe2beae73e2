"""Weighted cross-products and their likelihoods: kernel, precision, frequency, sampling, known sigma."""

from dataclasses import replace
from itertools import pairwise

import dense
import numpy as np
import pytest
from small_models import Model, random_model
from weighted_models import (
    cluster_loglik,
    precision_deviance,
    reduced_of,
    weighted_products,
    xy_columns,
)

from crosslevel.design import CrossProducts
from crosslevel.inference.sandwich import bread_and_meat, cluster_scores, joint_information
from crosslevel.inference.varcomp import parameter_covariance, residual_variance, variance_components
from crosslevel.kernels.moments import RUN, accumulate, accumulate_weighted, mirror
from crosslevel.likelihood.profiled import ProfiledDeviance
from crosslevel.optimise import Status
from crosslevel.solve import solve

METHODS = pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
BLOCKS = {"intercept": (("us", [0]),), "slopes": (("us", [0, 1, 2]),), "diagonal": (("us", [0]), ("diag", [1, 2]))}


def some_weights(model: Model, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0.3, 0.7, len(model.y))


# -- the kernel -------------------------------------------------------------------------------------------------------


def sums(kernel, rows, codes, n_clusters, cuts, weights=None):
    """Moments of rows given to a kernel in pieces."""
    origin = rows[:, 0].copy()
    out = np.zeros(n_clusters), np.zeros((n_clusters, len(rows))), np.zeros((n_clusters, len(rows), len(rows)))
    for start, stop in pairwise([0, *cuts, rows.shape[1]]):
        extra = () if weights is None else (weights[start:stop],)
        kernel(np.ascontiguousarray(rows[:, start:stop]), codes[start:stop], *extra, origin, *out)
    mirror(out[2])
    return origin, *out


CODES = {
    "runs longer than a buffer": lambda rng: np.repeat([0, 1, 2], [RUN - 1, RUN, 2 * RUN + 1]),
    "unsorted": lambda rng: rng.integers(0, 6, 400),
    "one row each": lambda rng: np.arange(40),
}


@pytest.mark.parametrize("plain", [False, True], ids=["compiled", "interpreted"])
@pytest.mark.parametrize("case", CODES)
def test_weighted_moments(case, plain):
    rng = np.random.default_rng(1)
    codes = CODES[case](rng).astype(np.int32)
    scale = 10.0 ** rng.uniform(-6, 6, 4)
    rows = (rng.normal(size=(4, len(codes))) + 3.0) * scale[:, None]
    weights = rng.lognormal(0.0, 1.5, len(codes))
    kernel = accumulate_weighted.py_func if plain else accumulate_weighted
    origin, count, mean, scatter = sums(kernel, rows, codes, int(codes.max()) + 2, [7, 30], weights)
    for g in range(len(count)):
        mine, w = (rows[:, codes == g] - origin[:, None]).astype(dense.LONG), weights[codes == g].astype(dense.LONG)
        assert count[g] == pytest.approx(float(w.sum()), rel=1e-13)
        if not len(w):
            assert not scatter[g].any()
            continue
        average = mine @ w / w.sum()
        centred = mine - average[:, None]
        assert np.all(np.abs(mean[g] - average) <= 1e-12 * scale)
        assert np.all(np.abs(scatter[g] - (centred * w) @ centred.T) <= 1e-11 * np.outer(scale, scale) * w.sum())


def test_weights_of_one_are_no_weights():
    rng = np.random.default_rng(2)
    codes, rows = np.sort(rng.integers(0, 9, 700)).astype(np.int32), rng.normal(size=(3, 700)) + 20.0
    plain = sums(accumulate, rows, codes, 9, [13])
    weighted = sums(accumulate_weighted, rows, codes, 9, [13], np.ones(700))
    for a, b in zip(plain, weighted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


# -- frequency --------------------------------------------------------------------------------------------------------


@METHODS
def test_a_frequency_is_a_repeated_row(reml):
    model = random_model(3, blocks=BLOCKS["slopes"], largest=12)
    times = np.random.default_rng(1).integers(1, 4, len(model.y))
    again = np.repeat(np.arange(len(model.y)), times)
    twin = replace(model, C=model.C[again], y=model.y[again], codes=model.codes[again])
    products = weighted_products(model, times.astype(float))
    assert products.n_rows == times.sum()
    np.testing.assert_allclose(products.total, twin.products.total, rtol=1e-11)
    a, b = solve(reduced_of(model, products), reml=reml), solve(twin.reduced, reml=reml)
    assert a.deviance == pytest.approx(b.deviance, rel=1e-12)
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-8)
    np.testing.assert_allclose(a.vcov, b.vcov, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(a.theta, b.theta, rtol=1e-6, atol=1e-8)


# -- precision --------------------------------------------------------------------------------------------------------


@METHODS
@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("unit", [1.0, 1e4, 1e-6])
def test_precision_deviance(blocks, unit, reml):
    model = random_model(5, blocks=BLOCKS[blocks])
    weights = some_weights(model) * unit
    reduced = reduced_of(model, weighted_products(model, weights, precision=True))
    theta = np.random.default_rng(4).uniform(-0.4, 1.0, model.structure.n_theta)
    factor = np.linalg.solve(reduced.basis, model.structure.factor(theta))
    at = ProfiledDeviance(reduced=reduced, reml=reml).value(theta)
    twin = precision_deviance(model, weights, factor @ factor.T, reml=reml)
    assert at.deviance == pytest.approx(twin, rel=1e-10)


@METHODS
@pytest.mark.parametrize("intercept", ["both", "fixed", "random", "neither"])
def test_precision_deviance_wherever_the_intercept_stands(intercept, reml):
    model = random_model(6, blocks=BLOCKS["slopes"], intercept=intercept)
    weights = 30.0 * some_weights(model)
    reduced = reduced_of(model, weighted_products(model, weights, precision=True))
    theta = np.random.default_rng(4).uniform(-0.4, 1.0, model.structure.n_theta)
    factor = np.linalg.solve(reduced.basis, model.structure.factor(theta))
    at = ProfiledDeviance(reduced=reduced, reml=reml).value(theta)
    twin = precision_deviance(model, weights, factor @ factor.T, reml=reml)
    assert at.deviance == pytest.approx(twin, rel=1e-10)


@METHODS
@pytest.mark.parametrize("unit", [1.0, 37.0, 1e6, 1e-8])
def test_the_unit_of_precisions_changes_sigma_only(unit, reml):
    model = random_model(7, n_clusters=12, largest=14, blocks=BLOCKS["slopes"])
    weights = some_weights(model)
    a = solve(reduced_of(model, weighted_products(model, weights, precision=True)), reml=reml)
    b = solve(reduced_of(model, weighted_products(model, unit * weights, precision=True)), reml=reml)
    assert a.status is b.status is Status.CONVERGED
    assert b.deviance == pytest.approx(a.deviance, rel=1e-11)
    assert b.sigma == pytest.approx(a.sigma * np.sqrt(unit), rel=1e-8)
    np.testing.assert_allclose(b.theta * np.sqrt(unit), a.theta, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(b.beta, a.beta, rtol=1e-8)
    np.testing.assert_allclose(b.vcov, a.vcov, rtol=1e-7, atol=1e-12)


@METHODS
def test_constant_precisions_are_none(reml):
    model = random_model(8, n_clusters=10, largest=12, blocks=BLOCKS["slopes"])
    a = solve(model.reduced, reml=reml)
    b = solve(reduced_of(model, weighted_products(model, np.ones(len(model.y)), precision=True)), reml=reml)
    assert b.deviance == pytest.approx(a.deviance, rel=1e-12)
    np.testing.assert_allclose(b.beta, a.beta, rtol=1e-9)


def test_parts_with_precisions_add_up():
    model = random_model(9, n_clusters=7, largest=9)
    weights, rows = some_weights(model), np.vstack([model.C.T, model.y])
    names = tuple(f"c{j}" for j in range(len(rows)))
    whole = weighted_products(model, weights, precision=True)
    parts = []
    for part in np.array_split(np.arange(len(model.y)), 3):
        levels, codes = np.unique(model.codes[part], return_inverse=True)
        parts.append(
            CrossProducts.from_rows(
                rows[:, part], codes, names=names, levels=tuple(levels.tolist()), weights=weights[part], precision=True
            )
        )
    total = parts[0] + parts[1] + parts[2]
    place = [total.levels.index(level) for level in whole.levels]
    assert total.n_rows == whole.n_rows == len(model.y)
    assert total.log_weight == pytest.approx(float(np.log(weights).sum()), rel=1e-12)
    np.testing.assert_allclose(total.precision.rows[place], np.bincount(model.codes))
    np.testing.assert_allclose(total.scatter[place], whole.scatter, rtol=1e-10, atol=1e-10)


# -- known sigma ------------------------------------------------------------------------------------------------------


@METHODS
def test_known_sigma_deviance_and_derivatives(reml):
    model = random_model(11, blocks=BLOCKS["slopes"], largest=7)
    weights, sigma = some_weights(model), 1.3
    reduced = reduced_of(model, weighted_products(model, weights, precision=True))
    criterion = ProfiledDeviance(reduced=reduced, reml=reml, sigma=sigma / reduced.coordinates.scale[-1])
    theta = np.array([0.8, -0.3, 0.2, 0.6, 0.1, 0.5])

    def deviance(at: np.ndarray) -> float:
        factor = np.linalg.solve(reduced.basis, model.structure.factor(at))
        return precision_deviance(model, weights, factor @ factor.T, reml=reml, sigma=sigma)

    at = criterion.value(theta)
    assert at.deviance == pytest.approx(deviance(theta), rel=1e-10)
    derivatives = criterion.derivatives(at, theta)
    slope = dense.gradient(deviance, theta)
    assert np.abs(derivatives.gradient - slope).max() <= 1e-6 * np.abs(slope).max()

    def gradient(at: np.ndarray) -> np.ndarray:
        return criterion.derivatives(criterion.value(at), at).gradient

    curvature = dense.gradient(gradient, theta, step=1e-3)
    assert np.abs(derivatives.hessian - curvature).max() <= 1e-6 * np.abs(curvature).max()


def test_known_sigma_information():
    """tr(V^-1 V_a V^-1 V_b): nothing is profiled out."""
    model = random_model(12, blocks=BLOCKS["slopes"], n_clusters=5, largest=6)
    weights = some_weights(model)
    reduced = reduced_of(model, weighted_products(model, weights, precision=True))
    criterion = ProfiledDeviance(reduced=reduced, reml=False, sigma=1.0 / reduced.coordinates.scale[-1])
    factor = np.array([[0.8, 0.0, 0.0], [-0.3, 0.5, 0.0], [0.2, 0.1, 0.4]])
    halves = np.random.default_rng(2).normal(size=(3, 3, 3))
    directions = halves + halves.transpose(0, 2, 1)
    back, Z = np.linalg.inv(reduced.basis), model.data.Z
    V = np.diag(1 / weights) + (Z @ back @ factor @ factor.T @ back.T @ Z.T) * model.data.same
    precision = dense.inverse(V)
    parts = [precision @ (Z @ back @ E @ back.T @ Z.T * model.data.same) for E in directions]
    twin = np.array([[np.trace(a @ b) for b in parts] for a in parts], dtype=float)
    np.testing.assert_allclose(criterion.at_factor(factor).psi_derivatives.information(directions), twin, rtol=1e-9)


# -- sampling ---------------------------------------------------------------------------------------------------------


def pseudo_loglik(model, weights, clusters):
    """Sum over clusters of w_j l_j, and the l_j, as functions of (beta, theta, log sigma) in working coordinates."""
    reduced = reduced_of(model, weighted_products(model, weights, clusters=clusters))
    parts = [cluster_loglik(model, weights, g) for g in range(len(clusters))]
    p, scale = reduced.p, reduced.coordinates.scale[-1]

    def by_cluster(at: np.ndarray) -> np.ndarray:
        factor = np.linalg.solve(reduced.basis, model.structure.factor(at[p:-1]))
        beta = reduced.coordinates.coefficients(at[:p])
        return np.array([part(beta, factor @ factor.T, at[-1] + np.log(scale)) for part in parts])

    return reduced, by_cluster


@pytest.fixture(scope="module", params=BLOCKS)
def sampled(request):
    """A model with row and cluster weights, its solution, and its dense twin."""
    model = random_model(21, n_clusters=9, largest=12, singles=1, blocks=BLOCKS[request.param])
    rng = np.random.default_rng(5)
    weights, clusters = rng.lognormal(0.0, 0.5, len(model.y)), rng.lognormal(0.0, 0.5, 9)
    reduced, by_cluster = pseudo_loglik(model, weights, clusters)
    solution = solve(reduced, reml=False)
    assert not solution.is_singular
    return model, weights, clusters, solution, by_cluster


def working_point(solution):
    at = solution.minimum.state
    return np.concatenate([at.beta, solution.minimum.theta, [0.5 * np.log(at.rss / at.nu)]])


def test_pseudo_likelihood(sampled):
    _, _, clusters, solution, by_cluster = sampled
    total = float(clusters @ by_cluster(working_point(solution)))
    assert solution.deviance == pytest.approx(-2.0 * total, rel=1e-10)


def test_pseudo_likelihood_is_the_integral_over_the_effects():
    """By quadrature over b, with every row's density to the power of its weight."""
    model = random_model(22, n_clusters=4, largest=6, singles=0, blocks=BLOCKS["intercept"])
    weights = some_weights(model)
    beta, tau, sigma = np.linspace(-0.3, 0.5, len(model.x)), 0.8, 1.3
    nodes, mass = np.polynomial.hermite_e.hermegauss(120)
    for g in range(4):
        mine = model.codes == g
        residual = (model.y - model.data.X @ beta)[mine, None] - tau * nodes
        log_density = -0.5 * np.log(2 * np.pi * sigma**2) - 0.5 * (residual / sigma) ** 2
        integral = np.log(np.exp(weights[mine] @ log_density) @ mass / np.sqrt(2 * np.pi))
        twin = cluster_loglik(model, weights, g)(beta, np.array([[(tau / sigma) ** 2]]), float(np.log(sigma)))
        assert float(twin) == pytest.approx(integral, rel=1e-8)


def test_cluster_scores_against_differences(sampled):
    model, weights, clusters, solution, by_cluster = sampled
    products = weighted_products(model, weights, clusters=clusters)
    criterion, minimum = solution.criterion, solution.minimum
    point = working_point(solution)
    scores = cluster_scores(criterion, minimum.state, minimum.theta, products, xy_columns(model))
    differences = dense.gradient(by_cluster, point, step=1e-3).T
    assert np.abs(scores - differences).max() <= 1e-6 * np.abs(differences).max()
    assert np.abs(clusters @ scores).max() <= 1e-5 * np.abs(scores).max()


def test_information_and_sandwich_against_differences(sampled):
    model, weights, clusters, solution, by_cluster = sampled
    point, p = working_point(solution), len(solution.beta)
    products = weighted_products(model, weights, clusters=clusters)
    twin = -dense.hessian(lambda at: clusters @ by_cluster(at), point)
    criterion, at, theta = solution.criterion, solution.minimum.state, solution.minimum.theta
    information = joint_information(criterion, at, theta, (at.cross,), (clusters,))
    size = np.sqrt(np.diag(twin))
    assert np.abs((information - twin) / np.outer(size, size)).max() <= 1e-6

    differences = dense.gradient(by_cluster, point, step=1e-3).T
    half = np.linalg.solve(twin, (differences * clusters[:, None]).T)
    expected = half @ half.T * 9.0 / 8.0
    scores = cluster_scores(criterion, at, theta, products, xy_columns(model))
    ours = bread_and_meat(information, scores, clusters, np.ones(len(point), dtype=bool))
    errors = np.sqrt(np.diag(expected))
    assert np.abs((ours - expected) / np.outer(errors, errors)).max() <= 1e-5

    some = np.arange(len(point)) < p
    held = bread_and_meat(information, scores, clusters, some)
    assert np.isnan(held[~some]).all()
    bread = np.linalg.inv(twin[:p, :p])
    meat = differences[:, :p].T @ (differences[:, :p] * clusters[:, None] ** 2)
    np.testing.assert_allclose(held[:p, :p], bread @ meat @ bread * 9.0 / 8.0, rtol=1e-4, atol=1e-9)


# -- meta-analysis ----------------------------------------------------------------------------------------------------

TRIALS = np.array(
    [
        [4, 119, 11, 128], [6, 300, 29, 274], [3, 228, 11, 209], [62, 13536, 248, 12619], [33, 5036, 47, 5761],
        [180, 1361, 372, 1079], [8, 2537, 10, 619], [505, 87886, 499, 87892], [29, 7470, 45, 7232],
        [17, 1699, 65, 1600],
        [186, 50448, 141, 27197], [5, 2493, 3, 2338], [27, 16886, 29, 17825],
    ],
    dtype=float,
)  # fmt: skip
"""BCG vaccine against tuberculosis (Colditz et al. 1994, JAMA 271: 698-702): cases and others, treated and control."""


def meta_analysis(*, reml: bool):
    """Log relative risks with known standard errors, each trial a cluster: weights 1 / se^2 and sigma = 1."""
    cases, others, control, rest = TRIALS.T
    y = np.log(cases / (cases + others)) - np.log(control / (control + rest))
    variance = 1 / cases - 1 / (cases + others) + 1 / control - 1 / (control + rest)
    model = Model(C=np.ones((13, 1)), y=y, codes=np.arange(13), x=[0], z=[0], blocks=(("us", [0]),))
    reduced = reduced_of(model, weighted_products(model, 1 / variance, precision=True))
    return y, variance, solve(reduced, reml=reml, sigma=1.0)


@METHODS
def test_meta_analysis(reml):
    """metafor's rma() of dat.bcg: REML tau^2 .3132, ML .2800; mean -.7145 (SE .1798) by REML."""
    y, variance, solution = meta_analysis(reml=reml)
    tau2 = float(solution.theta[0] ** 2)
    assert solution.status is Status.CONVERGED
    assert solution.sigma == pytest.approx(1.0, rel=1e-12)
    assert tau2 == pytest.approx(0.3132 if reml else 0.2800, abs=6e-5)
    weight = 1 / (variance + tau2)
    mean = weight @ y / weight.sum()
    assert solution.beta[0] == pytest.approx(mean, rel=1e-10)
    assert solution.vcov[0, 0] == pytest.approx(1 / weight.sum(), rel=1e-10)
    if reml:
        assert solution.beta[0] == pytest.approx(-0.7145, abs=6e-5)
        assert np.sqrt(solution.vcov[0, 0]) == pytest.approx(0.1798, abs=6e-5)
    deviance = np.sum(np.log(2 * np.pi / weight) + weight * (y - mean) ** 2)
    deviance += np.log(weight.sum()) - np.log(2 * np.pi) if reml else 0.0
    assert solution.deviance == pytest.approx(deviance, rel=1e-11)
    # the score equation of tau^2
    score = np.sum(weight**2 * (y - mean) ** 2 - weight) + (np.sum(weight**2) / weight.sum() if reml else 0.0)
    assert abs(score) <= 1e-6 * weight.sum()


def test_a_known_sigma_is_not_estimated():
    _, variance, solution = meta_analysis(reml=False)
    (part,) = variance_components(solution)
    tau2 = float(part.covariance[0, 0])
    weight = 1 / (variance + tau2)
    y = meta_analysis(reml=False)[0]
    mean = weight @ y / weight.sum()

    def deviance(at: np.ndarray) -> float:
        w = 1 / (variance + at[0])
        center = w @ y / w.sum()
        return float(np.sum(-np.log(w) + w * (y - center) ** 2))

    observed = dense.hessian(deviance, np.array([tau2]), step=1e-3)[0, 0]
    assert part.std_error[0, 0] == pytest.approx(np.sqrt(2.0 / observed), rel=1e-5)
    assert mean == pytest.approx(solution.beta[0], rel=1e-9)
    assert parameter_covariance(solution)[-1, -1] == 0.0
    assert np.isnan(residual_variance(solution, (part,))[1])


# -- without weights --------------------------------------------------------------------------------------------------


def test_rows_without_weights_never_meet_the_weighted_kernel(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("called")

    monkeypatch.setattr("crosslevel.kernels.moments.accumulate_weighted", refuse)
    products = random_model(2).products
    assert products.precision is None
    assert products.weight == products.n_rows == products.count.sum()
    assert products.log_weight == 0.0
