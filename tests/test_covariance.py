"""Covariance structures: each one in the registry keeps what its interface promises."""

import dense
import numpy as np
import pytest
from small_models import structure

from crosslevel.covariance import COVARIANCES

SIZES = [1, 2, 3, 5]
EACH = pytest.mark.parametrize("name", COVARIANCES)
EACH_SIZE = pytest.mark.parametrize("q", SIZES)


@EACH
@EACH_SIZE
def test_shapes_are_as_promised(name, q):
    kind = COVARIANCES[name]
    k = kind.n_theta(q)
    theta = np.random.default_rng(q).normal(size=k)
    assert kind.factor(theta, q).shape == (q, q)
    assert kind.factor_gradient(theta, q).shape == (k, q, q)
    assert kind.factor_hessian(theta, q).shape == (k, k, q, q)
    assert len(kind.natural(theta, q)) == len(kind.names(tuple("abcdef"[:q])))


@EACH
@EACH_SIZE
def test_factor_gradient(name, q):
    kind = COVARIANCES[name]
    theta = np.random.default_rng(q).uniform(0.3, 1.0, kind.n_theta(q))
    differences = dense.gradient(lambda at: kind.factor(at, q), theta)
    np.testing.assert_allclose(kind.factor_gradient(theta, q), differences, rtol=1e-9, atol=1e-10)


@EACH
@EACH_SIZE
def test_factor_hessian(name, q):
    kind = COVARIANCES[name]
    theta = np.random.default_rng(q).uniform(-1.0, 1.0, kind.n_theta(q))
    differences = dense.gradient(lambda at: kind.factor_gradient(at, q), theta, step=1e-3)
    np.testing.assert_allclose(kind.factor_hessian(theta, q), differences, rtol=1e-9, atol=1e-9)
    assert kind.linear == (not kind.factor_hessian(theta, q).any() and name in ("us", "diag", "cs"))


@EACH
@EACH_SIZE
def test_nearest_returns_a_member_itself(name, q):
    kind = COVARIANCES[name]
    rng = np.random.default_rng(q)
    for theta in (rng.normal(size=kind.n_theta(q)), np.zeros(kind.n_theta(q)), 1e-9 * np.ones(kind.n_theta(q))):
        factor = kind.factor(theta, q)
        again = kind.factor(kind.nearest(factor), q)
        np.testing.assert_allclose(again @ again.T, factor @ factor.T, rtol=1e-12, atol=1e-28)
        assert np.all(np.diag(again) >= 0.0)


@EACH
@EACH_SIZE
@pytest.mark.parametrize("columns", [1, 4, 9])
def test_nearest_keeps_the_variances_of_any_covariance(name, q, columns):
    """A factor may have any number of columns: fewer than effects where it is singular, more where it is a sum."""
    kind = COVARIANCES[name]
    factor = np.random.default_rng(q).normal(size=(q, columns))
    own = kind.factor(kind.nearest(factor), q)
    assert np.trace(own @ own.T) == pytest.approx(np.sum(factor**2), rel=1e-12)
    if kind.scalable:
        np.testing.assert_allclose(np.diag(own @ own.T), np.diag(factor @ factor.T), rtol=1e-12)
    if kind.free:
        np.testing.assert_allclose(own @ own.T, factor @ factor.T, rtol=1e-11, atol=1e-13)


@EACH
@EACH_SIZE
def test_a_scalable_structure_holds_in_other_units_and_a_free_one_after_any_map(name, q):
    kind = COVARIANCES[name]
    rng = np.random.default_rng(q)
    factor = kind.factor(rng.uniform(0.2, 1.0, kind.n_theta(q)), q)
    for holds, mapping in ((kind.scalable, np.diag(rng.uniform(0.1, 9.0, q))), (kind.free, rng.normal(size=(q, q)))):
        if holds:
            moved = kind.factor(kind.nearest(mapping @ factor), q)
            wanted = mapping @ factor @ factor.T @ mapping.T
            np.testing.assert_allclose(moved @ moved.T, wanted, rtol=1e-10, atol=1e-12)


@EACH
@EACH_SIZE
def test_members_have_variances_of_one_and_are_in_the_structure(name, q):
    kind = COVARIANCES[name]
    for member in kind.members(q):
        np.testing.assert_allclose(np.diag(member @ member.T), 1.0, rtol=1e-14)
        again = kind.factor(kind.nearest(member), q)
        np.testing.assert_allclose(again @ again.T, member @ member.T, rtol=1e-12, atol=1e-15)


CONES = {"us": (3, True), "diag": (3, False), "cs": (2, False), "ar1": (3, True), "hcs": (3, True), "har1": (3, True)}


@EACH
def test_cones(name):
    assert COVARIANCES[name].cone(3) == CONES[name]
    assert COVARIANCES[name].cone(1)[0] == 1


BLOCKS = (("us", [0, 2]), ("diag", [1, 4]), ("us", [3]))


def test_blocks_are_independent_and_in_place():
    whole = structure(*BLOCKS)
    theta = np.arange(1.0, whole.n_theta + 1)
    assert whole.n_theta == 3 + 2 + 1
    factor = whole.factor(theta)
    expected = np.zeros((5, 5))
    expected[[0, 2, 2], [0, 0, 2]] = 1.0, 2.0, 3.0
    expected[[1, 4, 3], [1, 4, 3]] = 4.0, 5.0, 6.0
    assert np.array_equal(factor, expected)
    assert np.array_equal(whole.mask != 0.0, (factor @ factor.T != 0.0) | np.eye(5, dtype=bool))
    assert np.array_equal(whole.nearest(factor), theta)


def test_gradient_of_blocks():
    whole = structure(*BLOCKS)
    theta = np.random.default_rng(1).normal(size=whole.n_theta)
    differences = dense.gradient(whole.factor, theta)
    np.testing.assert_allclose(whole.factor_gradient(theta), differences, rtol=1e-9, atol=1e-10)


def test_second_derivative_of_blocks():
    whole = structure(("har1", [0, 3, 4]), ("us", [1]), ("ar1", [2, 5]))
    theta = np.random.default_rng(1).normal(size=whole.n_theta)
    differences = dense.gradient(whole.factor_gradient, theta, step=1e-3)
    np.testing.assert_allclose(whole.factor_hessian(theta), differences, rtol=1e-9, atol=1e-9)
    assert not whole.linear
    assert structure(*BLOCKS).linear
