"""Laplace and adaptive quadrature with one grouping factor against dense twins, fine grids, differences and copies."""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
from dense_several import at_parameters, at_psis, rows_of, term
from numpy.testing import assert_allclose, assert_array_equal

from crosslevel.design.response_rows import ResponseRows
from crosslevel.families import FAMILIES, Binomial, GaussianWorking, Poisson
from crosslevel.families.base import Family
from crosslevel.likelihood.generalized import gradients_in_turn
from crosslevel.likelihood.one_factor import OneFactorLikelihood, product_grid

OBJECTS = {repr(one): one for one in (make() for make in FAMILIES.values())}
"""Every family once."""

LINKS = [Binomial(link="probit"), Binomial(link="cloglog"), GaussianWorking()]

SIZES = (1, 2, 7, 1, 4, 12, 3, 2, 1, 5)


def model(
    family: Family, q: int = 1, *, sizes: tuple[int, ...] = SIZES, kind: str = "us", seed: int = 3
) -> tuple[ResponseRows, np.ndarray]:
    """Sorted rows with q random effects, and parameters."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    n = len(codes)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    some = term(codes, x[:, :q].copy(), (kind, list(range(q))))
    m = family.n_shape(5 if family.kind == "ordered" else None)
    working = rng.normal(size=m) * 0.3
    shape = family.shape(working) if m else np.zeros(0)
    theta = 0.7 * some.structure.nearest(np.eye(q)) + 0.2 * rng.normal(size=some.structure.n_theta)
    beta = np.array([0.3, -0.4, 0.2])
    eta = x @ beta + np.sum(0.7 * rng.normal(size=(len(sizes), q))[codes] * some.z, axis=1)
    rows = rows_of(family, x, [some], eta=eta, shape=shape, seed=seed)
    return replace(rows, start=np.append(0, np.cumsum(sizes))), np.concatenate([theta, beta, working])


def repeated(rows: ResponseRows, places: np.ndarray, codes: np.ndarray) -> ResponseRows:
    """Rows at `places`, in clusters with new codes."""
    some = rows.terms[0]
    n_levels = int(codes.max()) + 1
    moved = replace(some, codes=codes.astype(np.int32), z=some.z[places], n_levels=n_levels, weight=np.ones(n_levels))
    return replace(
        rows, y=rows.y[places], size=rows.size[places], weight=rows.weight[places], offset=rows.offset[places],
        x=rows.x[places], terms=(moved,), order=np.arange(len(places)),
        start=np.append(0, np.cumsum(np.bincount(codes))),
    )  # fmt: skip


def differences(value, parameters: np.ndarray, *, step: float = 2e-4) -> np.ndarray:
    """Gradient by differences of fourth order."""
    out = np.empty(len(parameters))
    for j in range(len(parameters)):
        move = np.zeros(len(parameters))
        move[j] = step
        ends = [value(parameters + m * move) for m in (-2.0, -1.0, 1.0, 2.0)]
        out[j] = (ends[0] - 8.0 * ends[1] + 8.0 * ends[2] - ends[3]) / (12.0 * step)
    return out


def integrated(rows: ResponseRows, parameters: np.ndarray, *, points: int, reach: float = 8.0) -> float:
    """Deviance by the trapezoidal rule over an even grid of u, which converges faster than any power of its width."""
    twin, some = at_parameters(rows, parameters), rows.terms[0]
    factor, q = twin.factors[0], rows.terms[0].q
    line = np.linspace(-reach, reach, points)
    grid = np.array(list(product(line, repeat=q)))
    log_prior = -0.5 * np.sum(grid**2, axis=1) - 0.5 * q * np.log(2.0 * np.pi) + q * np.log(line[1] - line[0])
    out = 0.0
    for g in range(some.n_levels):
        logs = log_prior.copy()
        for i in np.flatnonzero(some.codes == g):
            eta = twin.fixed[i] + grid @ (factor.T @ some.z[i])
            one = np.ones(len(grid))
            found = rows.family.terms(rows.y[i] * one, rows.size[i] * one, eta, twin.shape)
            logs += rows.weight[i] * found.log_density
        top = logs.max()
        out -= 2.0 * (top + np.log(np.exp(logs - top).sum()))
    return float(out)


@pytest.mark.parametrize("q", [1, 2, 3])
@pytest.mark.parametrize("family", [*OBJECTS.values(), *LINKS], ids=repr)
def test_laplace_is_that_of_the_dense_twin(family: Family, q: int) -> None:
    rows, parameters = model(family, q)
    criterion = OneFactorLikelihood(rows=rows)
    at, twin = criterion.value(parameters), at_parameters(rows, parameters)
    u = twin.modes()
    assert at.deviance == pytest.approx(twin.deviance(), rel=1e-11)
    assert_allclose(at.u[0].ravel(), u, atol=1e-9)
    assert_allclose(at.eta, twin.fixed + twin.Z @ twin.Lambda @ u, atol=1e-9)
    assert_allclose(criterion.modes(at)[0].ravel(), twin.Lambda @ u, atol=1e-9)
    covariance = twin.Lambda @ np.linalg.inv(twin.curvature(u)) @ twin.Lambda.T
    for g, block in enumerate(criterion.conditional_covariances(at)[0]):
        assert_allclose(block, covariance[g * q : (g + 1) * q, g * q : (g + 1) * q], atol=1e-9)


@pytest.mark.parametrize("nodes", [1, 2, 7])
@pytest.mark.parametrize(("family", "q"), [(one, 2) for one in (*OBJECTS.values(), *LINKS)] + [(Binomial(), 3)])
def test_gradient_is_exact(family: Family, q: int, nodes: int) -> None:
    rows, parameters = model(family, q)
    rows = rows.reweighted([np.random.default_rng(1).integers(0, 3, len(SIZES))])
    criterion = OneFactorLikelihood(rows=rows, nodes=nodes)
    at = criterion.value(parameters)
    numerical = differences(lambda moved: criterion.value(moved, at).deviance, parameters)
    assert_allclose(criterion.gradient(at), numerical, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("family", [*OBJECTS.values(), *LINKS], ids=repr)
def test_quadrature_is_the_integral(family: Family) -> None:
    rows, parameters = model(family)
    fine = integrated(rows, parameters, points=801)
    assert OneFactorLikelihood(rows=rows, nodes=61).value(parameters).deviance == pytest.approx(fine, abs=1e-7)
    assert OneFactorLikelihood(rows=rows, nodes=15).value(parameters).deviance == pytest.approx(fine, abs=2e-3)


@pytest.mark.parametrize(
    ("family", "q", "points", "nodes", "tolerance"),
    [(Binomial(), 2, 61, 31, 1e-7), (Poisson(), 2, 161, 31, 1e-7), (Binomial(), 3, 25, 21, 5e-6)],
)
def test_quadrature_in_several_dimensions(family: Family, q: int, points: int, nodes: int, tolerance: float) -> None:
    rows, parameters = model(family, q, sizes=(1, 3))
    fine = integrated(rows, parameters, points=points, reach=6.5)
    assert OneFactorLikelihood(rows=rows, nodes=nodes).value(parameters).deviance == pytest.approx(fine, abs=tolerance)


def test_one_node_is_laplace() -> None:
    nodes, log_weights = product_grid(1, 3)
    assert_array_equal(nodes, np.zeros((1, 3)))
    assert_array_equal(log_weights, [0.0])


def test_the_rule_is_exact_for_polynomials() -> None:
    nodes, log_weights = product_grid(5, 2)
    weights = np.exp(log_weights - 0.5 * np.sum(nodes**2, axis=1))
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert weights @ (nodes[:, 0] ** 8 * nodes[:, 1] ** 4) == pytest.approx(105.0 * 3.0, rel=1e-12)


@pytest.mark.parametrize("nodes", [1, 4])
def test_gaussian_outcomes_have_the_exact_likelihood(nodes: int) -> None:
    rows, parameters = model(GaussianWorking(), 2)
    at = OneFactorLikelihood(rows=rows, nodes=nodes).value(parameters)
    twin = at_parameters(rows, parameters)
    half = twin.Z @ twin.Lambda
    covariance = half @ half.T + np.diag(1.0 / (rows.size * rows.weight))
    residual = rows.y - twin.fixed
    exact = np.linalg.slogdet(2.0 * np.pi * covariance)[1] + residual @ np.linalg.solve(covariance, residual)
    # a weighted log density also counts the constant so often
    exact += np.sum((1.0 - rows.weight) * np.log(rows.size / (2.0 * np.pi)) + np.log(rows.weight))
    assert at.deviance == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("singular", ["zero", "one direction", "no"])
@pytest.mark.parametrize("family", [Binomial(), Poisson(), *LINKS[:2]], ids=repr)
def test_derivative_in_psi(family: Family, singular: str) -> None:
    rows, parameters = model(family, 2)
    criterion = OneFactorLikelihood(rows=rows)
    if singular != "no":
        factor = np.outer([0.5, -0.3], [1.0, 0.0]) * (singular == "one direction")
        parameters[:3] = criterion.structure.nearest(factor)
    at, twin = criterion.value(parameters), at_parameters(rows, parameters)
    (score,) = criterion.psi_scores(at)
    psi = at.factor @ at.factor.T
    weights, step = np.array([-25.0, 48.0, -36.0, 16.0, -3.0]) / 12.0, 1e-4
    for direction in ([1.0, 0.0], [0.0, 1.0], [0.6, -0.8]):
        added = step * np.outer(direction, direction)
        values = [at_psis(twin, (psi + m * added,)).deviance() for m in range(5)]
        slope = float(weights @ values / step)
        assert np.array(direction) @ score @ direction == pytest.approx(slope, rel=2e-5, abs=2e-5)


@pytest.mark.parametrize("singular", [True, False])
def test_derivative_of_the_integral_in_psi(*, singular: bool) -> None:
    rows, parameters = model(Binomial(), 2)
    criterion = OneFactorLikelihood(rows=rows, nodes=25)
    if singular:
        parameters[:3] = criterion.structure.nearest(np.outer([0.5, -0.3], [1.0, 0.0]))
    at = criterion.value(parameters)
    (score,) = criterion.psi_scores(at)
    by_lambda = np.tensordot(criterion.structure.factor_gradient(parameters[:3]), 2.0 * score @ at.factor, axes=2)
    assert_allclose(criterion.gradient(at)[:3], by_lambda, atol=1e-4)
    direction = np.array([0.6, 0.8])
    values = []
    for m in range(5):
        psi = at.factor @ at.factor.T + m * 1e-3 * np.outer(direction, direction)
        moved = parameters.copy()
        moved[:3] = criterion.structure.nearest(np.linalg.cholesky(psi + 1e-300 * np.eye(2)) if m else at.factor)
        values.append(criterion.value(moved).deviance)
    slope = np.array([-25.0, 48.0, -36.0, 16.0, -3.0]) @ values / 12e-3
    assert direction @ score @ direction == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("nodes", [1, 7])
def test_without_variance_it_is_a_regression(nodes: int) -> None:
    rows, parameters = model(Binomial(), 2)
    parameters[:3] = 0.0
    criterion = OneFactorLikelihood(rows=rows, nodes=nodes)
    at, twin = criterion.value(parameters), at_parameters(rows, parameters)
    plain = twin.terms(twin.fixed)
    assert at.deviance == pytest.approx(-2.0 * rows.weight @ plain.log_density, rel=1e-13)
    assert_allclose(criterion.gradient(at)[3:], -2.0 * rows.x.T @ (rows.weight * plain.first), rtol=1e-10)
    assert_allclose(criterion.gradient(at)[:3], 0.0, atol=1e-12)


@pytest.mark.parametrize("nodes", [1, 5])
@pytest.mark.parametrize("family", OBJECTS.values(), ids=OBJECTS)
def test_weights_repeat_rows_and_clusters(family: Family, nodes: int) -> None:
    rows, parameters = model(family, 2)
    rng = np.random.default_rng(4)
    times, copies = rng.integers(1, 3, rows.n), rng.integers(0, 3, len(SIZES))
    places, codes, next_code = [], [], 0
    for g, count in enumerate(copies):
        own = np.flatnonzero(rows.terms[0].codes == g)
        for _ in range(count):
            each = np.repeat(own, times[own])
            places.append(each)
            codes.append(np.full(len(each), next_code))
            next_code += 1
    longer = repeated(rows, np.concatenate(places), np.concatenate(codes))
    weighted = replace(rows, weight=rows.weight * times).reweighted([copies])
    one, other = OneFactorLikelihood(rows=weighted, nodes=nodes), OneFactorLikelihood(rows=longer, nodes=nodes)
    at, twin = one.value(parameters), other.value(parameters)
    assert at.deviance == pytest.approx(twin.deviance, rel=1e-12)
    assert_allclose(one.gradient(at), other.gradient(twin), rtol=1e-9, atol=1e-9)
    assert_allclose(one.psi_scores(at)[0], other.psi_scores(twin)[0], rtol=1e-9, atol=1e-9)
    assert_allclose(one.information(at)[:6, :6], other.information(twin)[:6, :6], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("nodes", [1, 5])
def test_threads_change_no_bit(nodes: int) -> None:
    rows, parameters = model(Binomial(), 2, sizes=tuple(np.random.default_rng(0).integers(1, 60, 2500)))
    alone = OneFactorLikelihood(rows=rows, nodes=nodes, threads=1)
    both = replace(alone, threads=2)
    assert len(alone.parts) > 4
    at, other = alone.value(parameters), both.value(parameters)
    for name in ("mode", "eta", "by_cluster", "row_gradient", "lambda_gradient"):
        assert_array_equal(getattr(at, name), getattr(other, name))
    assert at.deviance == other.deviance
    assert_array_equal(alone.psi_scores(at)[0], both.psi_scores(other)[0])


@pytest.mark.parametrize("family", OBJECTS.values(), ids=OBJECTS)
def test_start_nearby_changes_nothing(family: Family) -> None:
    rows, parameters = model(family, 2)
    criterion = OneFactorLikelihood(rows=rows, nodes=3)
    fresh = criterion.value(parameters)
    for distance in (1e-3, 0.1, 3.0):
        near = criterion.value(parameters + distance * np.cos(np.arange(len(parameters))))
        at = criterion.value(parameters, near)
        assert at.deviance == pytest.approx(fresh.deviance, rel=1e-12)
        assert_allclose(criterion.gradient(at), criterion.gradient(fresh), rtol=1e-8, atol=1e-9)
    other = criterion.with_rows(replace(rows, y=rows.y[::-1].copy(), size=rows.size[::-1].copy()))
    assert other.value(parameters, fresh).deviance == pytest.approx(other.value(parameters).deviance, rel=1e-12)


@pytest.mark.parametrize("nodes", [1, 5])
@pytest.mark.parametrize(
    ("family", "scales"),
    [(Binomial(), (30.0, 200.0, 700.0)), (Poisson(), (10.0, 30.0)), (Binomial(link="cloglog"), (10.0, 30.0))],
)
def test_extreme_predictors_are_finite(family: Family, scales: tuple[float, ...], nodes: int) -> None:
    rows, parameters = model(family, 2)
    criterion = OneFactorLikelihood(rows=rows, nodes=nodes)
    for scale in scales:
        far = parameters.copy()
        far[3:6] *= scale
        at = criterion.value(far)
        assert np.isfinite(at.deviance)
        assert np.all(np.isfinite(criterion.gradient(at)))
    wide = parameters.copy()
    wide[:3] *= 100.0
    assert np.isfinite(criterion.value(wide).deviance)


def test_what_no_number_can_hold_is_infinite() -> None:
    rows, parameters = model(Poisson(), 2)
    parameters[3:6] *= 1e4
    criterion = OneFactorLikelihood(rows=rows)
    near = criterion.value(parameters * 1e-4)
    assert criterion.value(parameters).deviance == np.inf
    assert criterion.value(parameters, near).deviance == np.inf


@pytest.mark.parametrize("kind", ["us", "ar1"])
@pytest.mark.parametrize("nodes", [1, 4])
@pytest.mark.parametrize("family", OBJECTS.values(), ids=OBJECTS)
def test_gradients_at_several_points_are_those_of_each(family: Family, nodes: int, kind: str) -> None:
    rows, parameters = model(family, 2, kind=kind)
    weight = np.ones(len(SIZES))
    weight[[1, 5]] = 0.0, 2.5
    rows = rows.reweighted([weight])
    likelihood = OneFactorLikelihood(rows=rows, nodes=nodes)
    near = likelihood.value(parameters)
    points = parameters + 1e-3 * np.random.default_rng(4).normal(size=(3, len(parameters)))
    for state in (near, likelihood.with_rows(rows.with_response(rows.in_data_order(rows.y))).value(parameters)):
        expected = np.array([likelihood.gradient(likelihood.value(own, state)) for own in points])
        assert_allclose(likelihood.gradients(points, state), expected, rtol=1e-9, atol=1e-10)
        assert_allclose(gradients_in_turn(likelihood, points, state), expected, rtol=1e-12)


def test_gradients_where_the_deviance_is_infinite_are_none() -> None:
    rows, parameters = model(Poisson(), 1)
    likelihood = OneFactorLikelihood(rows=rows)
    points = np.stack([parameters, parameters, parameters])
    points[1, 1] = 1e6
    assert likelihood.value(points[1]).deviance == np.inf
    for found in (likelihood.gradients, partial(gradients_in_turn, likelihood)):
        gradients = found(points, likelihood.value(parameters))
        assert np.isnan(gradients[1]).all()
        assert_allclose(gradients[[0, 2]], likelihood.gradient(likelihood.value(parameters))[None] * np.ones((2, 1)))


@pytest.mark.parametrize("family", OBJECTS.values(), ids=OBJECTS)
def test_scores_are_the_gradients_of_each_cluster(family: Family) -> None:
    rows, parameters = model(family, 2)
    rows = rows.reweighted([np.arange(len(SIZES)) % 3 + 1.0])
    criterion = OneFactorLikelihood(rows=rows, nodes=3)
    at = criterion.value(parameters)
    groups = np.arange(len(SIZES)) // 2
    codes = rows.in_data_order(groups[rows.terms[0].codes])
    scores = criterion.scores(at, codes, 5)
    assert_allclose(scores.sum(axis=0), -0.5 * criterion.gradient(at), rtol=1e-10, atol=1e-10)
    for group in range(5):
        alone = criterion.with_rows(rows.reweighted([rows.terms[0].weight * (groups == group)]))
        assert_allclose(scores[group], -0.5 * alone.gradient(alone.value(parameters)), rtol=1e-8, atol=1e-10)


def test_information_of_gaussian_outcomes() -> None:
    rows, parameters = model(GaussianWorking(), 2)
    criterion = OneFactorLikelihood(rows=rows)
    twin = at_parameters(rows, parameters)
    half = twin.Z @ twin.Lambda
    precision = np.linalg.inv(half @ half.T + np.diag(1.0 / (rows.size * rows.weight)))
    information = criterion.information(criterion.value(parameters))
    assert_allclose(information[3:, 3:], 2.0 * rows.x.T @ precision @ rows.x, rtol=1e-10)
    changes = []
    for slope in criterion.structure.factor_gradient(parameters[:3]):
        block = np.kron(np.eye(len(SIZES)), slope @ twin.factors[0].T)
        changes.append(precision @ twin.Z @ (block + block.T) @ twin.Z.T)
    expected = np.array([[np.trace(a @ b) for a in changes] for b in changes])
    (score,) = criterion.psi_scores(criterion.value(parameters))
    values, vectors = np.linalg.eigh(score)
    positive = (vectors * np.maximum(values, 0.0)) @ vectors.T
    slopes = criterion.structure.factor_gradient(parameters[:3])
    curved = np.array([[2.0 * np.trace(a.T @ positive @ b) for a in slopes] for b in slopes])
    assert_allclose(information[:3, :3], expected + curved, rtol=1e-9)


@pytest.mark.parametrize("family", OBJECTS.values(), ids=OBJECTS)
def test_information_is_positive_and_near_the_curvature(family: Family) -> None:
    rows, parameters = model(family, 1, sizes=(6,) * 80, seed=9)
    criterion = OneFactorLikelihood(rows=rows, nodes=9)
    information = criterion.information(criterion.value(parameters))
    assert np.linalg.eigvalsh(information)[0] > 0.0
    hessian = np.array(
        [
            differences(lambda moved, j=j: criterion.gradient(criterion.value(moved))[j], parameters)
            for j in range(len(parameters))
        ]
    )
    beta = slice(1, 4)
    ratio = np.linalg.eigvals(np.linalg.solve(hessian[beta, beta], information[beta, beta])).real
    assert 0.5 < ratio.min() <= ratio.max() < 2.0
