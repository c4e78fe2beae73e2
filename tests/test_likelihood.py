"""The deviance at fixed parameters, and its derivatives, against dense multivariate-normal densities.

No optimiser is involved: a wrong formula fails here, a lazy search in test_solve.
"""

from collections.abc import Callable

import dense
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_models import Model, random_model

from crosslevel.covariance import COVARIANCES
from crosslevel.solve import working_factor

DEVIANCE = 1e-10
DERIVATIVE = 1e-6  # what differences of the twin are good for

METHODS = pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])

BLOCKS = {
    "intercept": (("us", [0]),),
    "slopes": (("us", [0, 1, 2]),),
    "uncorrelated": (("diag", [0, 1, 2]),),
    "two blocks": (("us", [0]), ("us", [1, 2])),
    "mixed blocks": (("us", [0, 2]), ("diag", [1])),
    **{name: ((name, [0, 1, 2]),) for name in COVARIANCES},
    "tied beside free": (("us", [0]), ("ar1", [1, 3]), ("hcs", [2, 4])),
}

THETAS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "zero": lambda rng, k: np.zeros(k),
    "ordinary": lambda rng, k: rng.uniform(-0.5, 1.5, k),
    "tiny": lambda rng, k: 1e-6 * rng.normal(size=k),
    "singular": lambda rng, k: rng.normal(size=k) * (rng.random(k) < 0.5),
    "near singular": lambda rng, k: rng.normal(size=k) * np.where(rng.random(k) < 0.5, 1e-7, 1.0),
    "large": lambda rng, k: 50.0 * rng.normal(size=k),
}


def theta_of(kind: str, rng: np.random.Generator, model: Model) -> np.ndarray:
    """Working parameters; large ones have standard deviations as large in all structures."""
    if kind == "large":
        return model.structure.nearest(50.0 * rng.normal(size=(model.structure.q, model.structure.q)))
    return THETAS[kind](rng, model.structure.n_theta)


def data_factor(model: Model, theta: np.ndarray) -> np.ndarray:
    """Lambda in the units of the data of a theta in working coordinates."""
    return np.linalg.solve(model.reduced.basis, model.structure.factor(theta))


def check_deviance(model: Model, theta: np.ndarray, *, reml: bool) -> None:
    """Deviance, coefficients, sigma and covariance at theta, in the units of the data, against the twin."""
    criterion, reduced = model.criterion(reml=reml), model.reduced
    factor = model.structure.factor(theta)
    at = criterion.at_factor(working_factor(model.structure, reduced.basis, theta))
    twin = dense.profile(model.data, factor @ factor.T, reml=reml)
    assert at.deviance == pytest.approx(twin.deviance, rel=DEVIANCE)

    sigma = np.sqrt(at.rss / at.nu)
    assert sigma * reduced.coordinates.scale[-1] == pytest.approx(twin.sigma, rel=1e-9)
    half = reduced.coordinates.beta_map @ np.linalg.inv(at.chol[:-1, :-1]).T * sigma
    errors = np.sqrt(np.diag(twin.vcov))
    assert np.all(np.abs(half @ half.T - twin.vcov) <= 1e-9 * np.outer(errors, errors))
    assert np.all(np.abs(reduced.coordinates.coefficients(at.beta) - twin.beta) <= 1e-9 * errors)


@METHODS
@pytest.mark.parametrize("intercept", ["both", "fixed", "random", "neither"])
@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("kind", THETAS)
def test_deviance(kind, blocks, intercept, reml):
    model = random_model(len(kind) + len(blocks), blocks=BLOCKS[blocks], intercept=intercept)
    theta = theta_of(kind, np.random.default_rng(len(kind)), model)
    check_deviance(model, theta, reml=reml)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_clusters=st.integers(3, 9),
    largest=st.integers(3, 12),
    singles=st.integers(0, 3),
    extra=st.integers(0, 3),
    blocks=st.sampled_from(sorted(BLOCKS)),
    intercept=st.sampled_from(["both", "fixed", "random", "neither"]),
    kind=st.sampled_from(sorted(THETAS)),
    reml=st.booleans(),
)
def test_deviance_of_any_unbalanced_design(seed, n_clusters, largest, singles, extra, blocks, intercept, kind, reml):
    model = random_model(
        seed, n_clusters=n_clusters, largest=largest, singles=singles, extra=extra, blocks=BLOCKS[blocks],
        intercept=intercept,
    )  # fmt: skip
    fixed = model.C[:, model.x] / np.abs(model.C[:, model.x]).max(axis=0)
    # rank-deficient designs have tests of their own; rows have to be left for the residual
    assume(np.linalg.cond(fixed) < 1e2)
    assume(np.minimum(np.bincount(model.codes), len(model.z)).sum() + len(model.x) < len(model.y))
    theta = theta_of(kind, np.random.default_rng(seed), model)
    check_deviance(model, theta, reml=reml)


@METHODS
def test_deviance_with_clusters_of_one_row_beside_large_ones(reml):
    rng = np.random.default_rng(2)
    codes = np.concatenate([np.arange(25), np.repeat([25, 26], 40)]).astype(np.int32)
    C = np.column_stack([np.ones(len(codes)), rng.normal(size=(len(codes), 2))])
    y = C.sum(axis=1) + rng.normal(size=27)[codes] + rng.normal(size=len(codes))
    model = Model(C=C, y=y, codes=codes, x=[0, 1, 2], z=[0, 1], blocks=(("us", [0, 1]),))
    for kind in THETAS:
        check_deviance(model, THETAS[kind](rng, 3), reml=reml)


@METHODS
def test_deviance_where_a_slope_varies_in_some_clusters_only(reml):
    model = random_model(5, blocks=(("us", [0, 1, 2]),))
    model.C[model.codes < 3, 1] = 0.1
    model.C[:, 2] = model.C[:, -1]  # constant within every cluster
    narrowed = Model(
        C=model.C[:, :-1], y=model.y, codes=model.codes, x=[0, 1, 2], z=[0, 1, 2], blocks=(("us", [0, 1, 2]),)
    )
    for kind in THETAS:
        check_deviance(narrowed, THETAS[kind](np.random.default_rng(1), 6), reml=reml)


@METHODS
def test_deviance_without_fixed_effects(reml):
    model = random_model(4, blocks=(("us", [0, 1]),))
    bare = Model(C=model.C, y=model.y, codes=model.codes, x=[], z=[0, 1], blocks=(("us", [0, 1]),))
    check_deviance(bare, np.array([0.4, -0.2, 0.3]), reml=reml)


def test_deviance_is_infinite_where_nothing_is_left_to_explain():
    model = random_model(1, blocks=(("us", [0]),), intercept="both")
    exact = Model(C=model.C, y=np.zeros(len(model.y)), codes=model.codes, x=[0], z=[0], blocks=(("us", [0]),))
    assert exact.criterion(reml=True).value(np.zeros(1)).deviance == np.inf


# -- derivatives ------------------------------------------------------------------------------------------------------


def dense_deviance(model: Model, *, reml: bool) -> Callable[[np.ndarray], float]:
    """The twin's deviance as a function of working theta."""

    def deviance(theta: np.ndarray) -> float:
        factor = data_factor(model, theta)
        return dense.profile(model.data, factor @ factor.T, reml=reml).deviance

    return deviance


@METHODS
@pytest.mark.parametrize("intercept", ["both", "fixed", "random", "neither"])
@pytest.mark.parametrize("blocks", BLOCKS)
def test_gradient(blocks, intercept, reml):
    model = random_model(11, n_clusters=5, largest=6, singles=1, blocks=BLOCKS[blocks], intercept=intercept)
    theta = np.random.default_rng(3).uniform(0.2, 0.9, model.structure.n_theta)
    criterion = model.criterion(reml=reml)
    gradient = criterion.derivatives(criterion.value(theta), theta).gradient
    differences = dense.gradient(dense_deviance(model, reml=reml), theta)
    assert np.abs(gradient - differences).max() <= DERIVATIVE * np.abs(differences).max()


@METHODS
@pytest.mark.parametrize("intercept", ["both", "neither"])
@pytest.mark.parametrize("blocks", BLOCKS)
def test_hessian(blocks, intercept, reml):
    model = random_model(12, n_clusters=5, largest=6, singles=1, blocks=BLOCKS[blocks], intercept=intercept)
    theta = np.random.default_rng(4).uniform(-0.4, 0.9, model.structure.n_theta)
    criterion = model.criterion(reml=reml)

    def gradient(at: np.ndarray) -> np.ndarray:
        return criterion.derivatives(criterion.value(at), at).gradient

    hessian = criterion.derivatives(criterion.value(theta), theta).hessian
    differences = dense.gradient(gradient, theta, step=1e-3)
    assert np.abs(hessian - differences).max() <= DERIVATIVE * np.abs(differences).max()


@METHODS
def test_hessian_against_the_twin(reml):
    model = random_model(13, n_clusters=4, largest=5, singles=1, blocks=(("us", [0, 1]),))
    theta = np.array([0.7, -0.2, 0.4])
    criterion = model.criterion(reml=reml)
    hessian = criterion.derivatives(criterion.value(theta), theta).hessian
    differences = dense.hessian(dense_deviance(model, reml=reml), theta)
    assert np.abs(hessian - differences).max() <= DERIVATIVE * np.abs(hessian).max()


@METHODS
def test_derivative_in_psi(reml):
    """S in any symmetric direction, also off the boundary at Psi = 0, where the gradient in theta says nothing."""
    model = random_model(14, n_clusters=5, largest=6, singles=1, blocks=(("us", [0, 1]),))
    basis = model.reduced.basis
    rng = np.random.default_rng(1)
    for factor in (np.zeros((2, 2)), np.array([[0.6, 0.0], [0.3, 0.5]])):
        at = model.criterion(reml=reml).at_factor(factor)
        half = rng.normal(size=(2, 2))
        direction = half @ half.T

        def deviance(t, start=factor @ factor.T, step=direction):
            back = np.linalg.inv(basis)
            return dense.profile(model.data, back @ (start + t[0] * step) @ back.T, reml=reml).deviance

        slope = float(np.sum(at.psi_derivatives.score * direction))
        assert slope == pytest.approx(dense.gradient(deviance, np.zeros(1))[0], rel=DERIVATIVE)


def test_gradient_vanishes_at_zero():
    for blocks in BLOCKS.values():
        model = random_model(15, blocks=blocks)
        theta = np.zeros(model.structure.n_theta)
        criterion = model.criterion(reml=True)
        assert not criterion.derivatives(criterion.value(theta), theta).gradient.any()


def test_expected_information():
    """tr(V^-1 V_a V^-1 V_b) - tr(V^-1 V_a) tr(V^-1 V_b) / n, with sigma profiled out."""
    model = random_model(16, blocks=(("us", [0, 1, 2]),), n_clusters=5, largest=6)
    basis, n = model.reduced.basis, len(model.y)
    factor = np.array([[0.8, 0.0, 0.0], [-0.3, 0.5, 0.0], [0.2, 0.1, 0.0]])
    sums = model.criterion(reml=True).at_factor(factor).psi_derivatives
    halves = np.random.default_rng(2).normal(size=(3, 3, 3))
    directions = halves + halves.transpose(0, 2, 1)

    back = np.linalg.inv(basis)
    precision = dense.inverse(model.data.V(back @ factor @ factor.T @ back.T))
    Z = model.data.Z
    parts = [precision @ (Z @ back @ E @ back.T @ Z.T * model.data.same) for E in directions]
    twin = [[np.trace(a @ b) - np.trace(a) * np.trace(b) / n for b in parts] for a in parts]
    np.testing.assert_allclose(sums.information(directions), np.array(twin, dtype=float), rtol=1e-10)


def test_information_is_positive_semi_definite_at_the_boundary():
    for seed in range(20):
        model = random_model(seed, blocks=(("us", [0, 1, 2]),))
        theta = THETAS["singular"](np.random.default_rng(seed), 6)
        criterion = model.criterion(reml=True)
        values = np.linalg.eigvalsh(criterion.derivatives(criterion.value(theta), theta).information)
        assert values[0] >= -1e-12 * values[-1]


@METHODS
def test_turning_the_effects_changes_nothing(reml):
    model = random_model(17, blocks=(("us", [0, 1, 2]), ("diag", [3])))
    criterion = model.criterion(reml=reml)
    theta = np.random.default_rng(5).normal(size=model.structure.n_theta)
    at = criterion.value(theta)
    reduced, factor = model.reduced.rotated(at.factor)
    turned = type(criterion)(reduced=reduced, reml=reml)
    assert turned.at_factor(factor).deviance == pytest.approx(at.deviance, rel=1e-13)
    assert turned.value(model.structure.nearest(factor)).deviance == pytest.approx(at.deviance, rel=1e-13)
    free = factor[:3, :3] @ factor[:3, :3].T
    assert np.abs(free - np.diag(np.diag(free))).max() < 1e-14 * np.diag(free).max()
    assert np.all(np.diff(np.diag(free)) <= 0.0)
