"""Weights of chi-bar-square mixtures: closed forms, and brute-force projections."""

import numpy as np
import pytest
from scipy import stats

from crosslevel.inference.cones import (
    HALVES,
    _weights_by_faces,
    convolved,
    matrix_weights,
    orthant_weights,
    pair_weights,
    simulated_matrix_weights,
)
from crosslevel.inference.lrt import boundary_test, mixture, mixture_tail

DRAWS = 40_000


def random_metric(seed: int, m: int) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(m, m + 2))
    return root @ root.T


def trace_metric(P: np.ndarray) -> np.ndarray:
    """tr(P H P K) in the parameters (h11, h12, h22)."""
    basis = np.array([[[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]], dtype=float)
    return np.array([[np.trace(P @ a @ P @ b) for b in basis] for a in basis])


@pytest.mark.parametrize("q", range(1, 9))
def test_weights_of_matrices_are_intrinsic_volumes_of_a_self_dual_cone(q):
    weights = matrix_weights(q)
    assert len(weights) == q * (q + 1) // 2 + 1
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert weights @ (-1.0) ** np.arange(len(weights)) == pytest.approx(0.0, abs=2e-4)
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-12)
    # the expected squared length of the projection is half the dimension
    assert weights @ np.arange(len(weights)) == pytest.approx(q * (q + 1) / 4, abs=1e-9)


@pytest.mark.parametrize("q", [2, 3, *HALVES])
def test_weights_of_matrices_by_simulation(q):
    np.testing.assert_allclose(simulated_matrix_weights(q, 20_000), matrix_weights(q), atol=3.0 * 0.5 / np.sqrt(20_000))


def test_more_effects_than_the_table_has_are_simulated():
    assert matrix_weights(9).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("P", [np.eye(2), np.array([[2.0, 0.9], [0.9, 1.0]]), np.diag([1e4, 1e-3])])
def test_equal_clusters_have_the_standard_cone_whatever_their_predictors(P):
    np.testing.assert_allclose(pair_weights(trace_metric(P)), matrix_weights(2), rtol=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_effects_by_brute_force(seed):
    """Projections on v v' over a fine grid of directions v; inside the cone the vector is its own projection."""
    metric = random_metric(seed, 3)
    draws = np.random.default_rng(seed + 10).standard_normal((DRAWS, 3)) @ np.linalg.inv(np.linalg.cholesky(metric))
    angle = np.linspace(0.0, np.pi, 1500)
    rays = np.stack([np.cos(angle) ** 2, np.cos(angle) * np.sin(angle), np.sin(angle) ** 2], axis=1)
    along = np.maximum(draws @ metric @ rays.T, 0.0)
    length = np.max(along**2 / np.einsum("mi,ij,mj->m", rays, metric, rays), axis=1)
    inside = (draws[:, 0] * draws[:, 2] > draws[:, 1] ** 2) & (draws[:, 0] > 0)
    length[inside] = np.einsum("mi,ij,mj->m", draws[inside], metric, draws[inside])
    weights = pair_weights(metric)
    shares = [np.mean(inside), np.mean(length == 0.0)]
    np.testing.assert_allclose(shares, [weights[3], weights[0]], atol=3.0 * 0.5 / np.sqrt(DRAWS))
    for statistic in (0.5, 2.0, 5.0):
        p = mixture_tail(weights, statistic)
        assert np.mean(length > statistic) == pytest.approx(p, abs=3.0 * np.sqrt(p * (1 - p) / DRAWS))


@pytest.mark.parametrize("m", [2, 3])
def test_orthants_by_their_angles_and_by_their_faces(m):
    metric = random_metric(m, m)
    np.testing.assert_allclose(orthant_weights(metric), _weights_by_faces(metric), atol=3.0 * 0.5 / np.sqrt(20_000))


def test_orthants_without_information_between_variances_are_binomial():
    for m in range(1, 4):
        np.testing.assert_allclose(
            orthant_weights(np.diag(np.arange(1.0, m + 1))), stats.binom.pmf(range(m + 1), m, 0.5)
        )
    many = orthant_weights(np.eye(5))
    np.testing.assert_allclose(many, stats.binom.pmf(range(6), 5, 0.5), atol=3.0 * 0.5 / np.sqrt(20_000))
    np.testing.assert_allclose(orthant_weights(np.eye(9)), stats.binom.pmf(range(10), 9, 0.5))


def test_one_variance_with_covariances():
    for r in range(4):
        found = boundary_test(3.0, ((1, True),), free=r)
        expected = 0.5 * (stats.chi2.sf(3.0, r) if r else 0.0) + 0.5 * stats.chi2.sf(3.0, r + 1)
        assert found.p_value == pytest.approx(expected, rel=1e-12)
        assert found.df == r + 1
        assert found.reference == "exact"


def test_nothing_on_the_boundary_is_chi_square():
    found = boundary_test(3.0, (), free=4)
    assert found.p_value == found.naive_p_value == pytest.approx(stats.chi2.sf(3.0, 4), rel=1e-12)


def test_independent_blocks_are_convolved():
    weights, reference = mixture(((3, True), (2, False)))
    np.testing.assert_allclose(weights, convolved([matrix_weights(3), np.array([0.25, 0.5, 0.25])]))
    assert reference == "equal information"


def test_a_mixture_lies_between_its_extreme_chi_squares():
    found = boundary_test(8.0, ((2, True),), free=3)
    assert stats.chi2.sf(8.0, 3) < found.p_value < found.naive_p_value
