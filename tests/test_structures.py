"""Covariance structures that tie random effects: against R, dense twins, restarts, and what must not matter."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import dense
import numpy as np
import pandas as pd
import pytest
from reference_cases import load_data
from small_models import Model, structure

import crosslevel as cl
from crosslevel.covariance import COVARIANCES, KNOWN, BlockStructure
from crosslevel.covariance.known import Proportional
from crosslevel.errors import DesignError
from crosslevel.optimise import Status
from crosslevel.solve import solve

FOLDER = Path(__file__).parent / "reference" / "structures"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
TIED = [name for name, kind in COVARIANCES.items() if not kind.additive]

LOGLIK = 1e-8  # nlme and glmmTMB end this close to the optimum here
ESTIMATE = 1e-6


@cache
def occasions() -> pd.DataFrame:
    """Persons measured at five occasions, up to twice at each."""
    return pd.read_csv(FOLDER / "occasions.csv", dtype={"occ": str, "person": str})


# -- R ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", EXPECTED["fits"], ids=lambda case: f"{case['formula']} {case['reml']}")
def test_fits_of_r(case: dict[str, Any]) -> None:
    data = occasions() if case["data"] == "occasions" else load_data(case["data"])
    fit = cl.mixed(case["formula"], data, method="reml" if case["reml"] else "ml")
    assert fit.converged
    assert fit.loglik == pytest.approx(case["loglik"], abs=LOGLIK)
    assert fit.sigma == pytest.approx(case["sigma"], rel=ESTIMATE)
    np.testing.assert_allclose(fit.params, case["beta"], atol=ESTIMATE * max(case["se"]))
    if case["fitted_by"] == "nlme":  # glmmTMB's standard errors hold what is not known of the variances too
        np.testing.assert_allclose(fit.bse, case["se"], rtol=ESTIMATE)
    (factor,) = fit.solution.factors
    covariance = fit.sigma**2 * factor @ factor.T
    np.testing.assert_allclose(covariance, np.array(case["cov"]), atol=ESTIMATE * covariance.max())


# -- small models -----------------------------------------------------------------------------------------------------


def repeated(
    kind: str, q: int, seed: int, *, size: float = 1.0, n_clusters: int = 20, reps: int = 2, keep: float = 0.8
) -> Model:
    """Clusters with up to `reps` rows at each of q occasions; a covariance of the structure, `size` times as large."""
    rng = np.random.default_rng(seed)
    own = COVARIANCES[kind]
    theta = rng.uniform(0.3, 1.2, own.n_theta(q))
    if q > 1 and kind != "cs":
        theta[-1] = rng.uniform(0.0 if kind == "hcs" else -1.1, 1.1)
    b = size * rng.normal(size=(n_clusters, q)) @ own.factor(theta, q).T
    codes, occasion = np.repeat(np.arange(n_clusters), q * reps), np.tile(np.repeat(np.arange(q), reps), n_clusters)
    kept = rng.random(len(codes)) < keep
    codes, occasion = np.unique(codes[kept], return_inverse=True)[1], occasion[kept]
    y = 1.0 + b[codes, occasion] + rng.normal(size=len(codes))
    C = np.column_stack([np.ones(len(y)), rng.normal(size=len(y)), np.eye(q)[occasion]])
    blocks = ((kind, list(range(q))),)
    return Model(C=C, y=y, codes=codes.astype(np.int32), x=[0, 1], z=list(range(2, q + 2)), blocks=blocks)


@pytest.mark.parametrize("size", [0.0, 0.3, 1.5])
@pytest.mark.parametrize("q", [2, 4])
@pytest.mark.parametrize("kind", TIED)
def test_no_restart_ends_lower(kind: str, q: int, size: float) -> None:
    for seed in range(2):
        model = repeated(kind, q, seed, size=size, n_clusters=16 + 8 * seed)
        solution = solve(model.reduced, reml=True)
        assert solution.status is Status.CONVERGED
        rng = np.random.default_rng(seed)
        for _ in range(4):
            start = rng.normal(size=model.structure.n_theta) * rng.choice([0.1, 1.0, 3.0])
            other = solve(model.reduced, reml=True, start=start)
            assert other.deviance >= solution.deviance - 1e-7


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("kind", TIED)
def test_optimum_of_the_dense_deviance(kind: str, reml: bool) -> None:
    """The gradient of the twin's deviance in theta, in the units of the data, is zero at our optimum."""
    model = repeated(kind, 3, 4, n_clusters=25, reps=3)
    solution = solve(model.reduced, reml=reml)
    assert not solution.is_singular

    def deviance(theta: np.ndarray) -> float:
        factor = model.structure.factor(theta)
        return dense.profile(model.data, factor @ factor.T, reml=reml).deviance

    assert solution.deviance == pytest.approx(deviance(solution.theta), rel=1e-11)
    assert np.abs(dense.gradient(deviance, solution.theta)).max() < 1e-5


@pytest.mark.parametrize("kind", TIED)
def test_standard_errors(kind: str) -> None:
    """Inverse of the dense information of variances and sigma, carried to the covariances."""
    from crosslevel.inference.varcomp import variance_components

    model = repeated(kind, 3, 4, n_clusters=25, reps=3)
    solution = solve(model.reduced, reml=True)
    (components,) = variance_components(solution)

    def covariance(parameters: np.ndarray) -> np.ndarray:
        factor = model.structure.factor(parameters[:-1])
        return np.exp(2.0 * parameters[-1]) * factor @ factor.T

    def deviance(parameters: np.ndarray) -> np.longdouble:
        return dense.joint_deviance(model.data, covariance(parameters), np.exp(parameters[-1]), reml=True)

    at = np.append(solution.theta, np.log(solution.sigma))
    vcov = 2.0 * np.linalg.inv(dense.hessian(deviance, at))
    jacobian = dense.gradient(covariance, at)
    wanted = np.sqrt(np.einsum("aij,ab,bij->ij", jacobian, vcov, jacobian))
    np.testing.assert_allclose(components.std_error, wanted, rtol=1e-5)


@pytest.mark.parametrize("kind", TIED)
def test_the_boundary_is_left_where_that_pays(kind: str) -> None:
    model = repeated(kind, 3, 1)
    criterion = model.criterion(reml=True)
    nothing = model.structure.nearest(np.zeros((3, 1)))
    at = criterion.value(nothing)
    left = criterion.escape(nothing, at, tolerance=1e-10)
    assert left is not None
    assert left[1].deviance < at.deviance
    solution, best = solve(model.reduced, reml=True, start=nothing), solve(model.reduced, reml=True)
    assert solution.status is Status.CONVERGED
    assert best.deviance - 1e-7 <= solution.deviance < at.deviance
    if not COVARIANCES[kind].scalable:  # with variances of their own there are several minima
        assert solution.deviance == pytest.approx(best.deviance, abs=1e-7)


def test_a_correlation_that_is_not_identified_is_changed_where_that_pays() -> None:
    """Where one effect alone varies the deviance does not depend on the correlation, but its slope does."""
    model = repeated("hcs", 2, 3, size=1.5, n_clusters=40)
    best = solve(model.reduced, reml=True)
    for angle in (0.01, 0.7, 1.5):
        trapped = solve(model.reduced, reml=True, start=np.array([1.0, 1e-6, angle]))
        assert trapped.status is Status.CONVERGED
        assert trapped.deviance == pytest.approx(best.deviance, abs=1e-7)


@pytest.mark.parametrize(("kind", "rho"), [("ar1", 1.0), ("ar1", -1.0), ("cs", 1.0), ("cs", -1.0 / 3.0)])
def test_correlations_at_their_bound(kind: str, rho: float) -> None:
    """Effects without variance in some direction beside enough in the others end on the bound, and say so."""
    rng = np.random.default_rng(3)
    q, n_clusters, reps = 4, 30, 3
    pattern = {"ar1": rho ** np.arange(q), "cs": np.ones(q)}[kind]
    b = rng.normal(size=(n_clusters, 1)) * pattern
    if rho == -1.0 / 3.0:
        b = rng.normal(size=(n_clusters, q))
        b -= b.mean(axis=1, keepdims=True)
    codes, occasion = np.repeat(np.arange(n_clusters), q * reps), np.tile(np.repeat(np.arange(q), reps), n_clusters)
    noise = rng.normal(size=(n_clusters, q, reps))
    noise -= noise.mean(axis=2, keepdims=True)  # of the cells nothing is left but the effects
    y = b[codes, occasion] + noise.ravel()
    names = [f"t{k}" for k in occasion]
    fit = cl.mixed(f"y ~ 1 + {kind}(0 + t | g)", pd.DataFrame({"y": y, "g": codes, "t": names}))
    assert fit.converged
    assert fit.is_singular
    (factor,) = fit.solution.factors
    psi = factor @ factor.T
    assert psi[0, 1] / psi[0, 0] == pytest.approx(rho, abs=1e-6)
    assert any("at its bound" in note for note in fit.notes)


# -- what must not matter ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TIED)
def test_order_of_rows_and_units(kind: str) -> None:
    data = occasions()
    formula = f"y ~ x + {kind}(0 + occ | person)"
    fit = cl.mixed(formula, data)
    for other, unit in ((data.sample(frac=1, random_state=1), 1.0), (data.assign(y=data.y * 1e3), 1e3)):
        again = cl.mixed(formula, other)
        np.testing.assert_allclose(again.theta, fit.theta, rtol=1e-6)
        assert again.sigma == pytest.approx(fit.sigma * unit, rel=1e-8)
        np.testing.assert_allclose(again.params, fit.params * unit, rtol=1e-8)


@pytest.mark.parametrize("kind", ["cs", "ar1"])
def test_units_that_all_slopes_share(kind: str) -> None:
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(30), 12)
    frame = pd.DataFrame({"g": g, **{name: rng.normal(size=g.size) for name in "abc"}})
    u = rng.normal(size=(30, 1)) + rng.normal(size=(30, 3))
    frame["y"] = (frame[["a", "b", "c"]] * u[g]).sum(axis=1) + rng.normal(size=g.size)
    fit = cl.mixed(f"y ~ a + b + c + {kind}(0 + a + b + c | g)", frame)
    for unit in (1e-4, 1e4):
        again = cl.mixed(
            f"y ~ a + b + c + {kind}(0 + a + b + c | g)", frame.assign(**{name: frame[name] * unit for name in "abc"})
        )
        assert again.loglik + 3 * np.log(unit) == pytest.approx(fit.loglik, rel=1e-11)
        (one,), (other,) = fit.solution.factors, again.solution.factors
        np.testing.assert_allclose(other @ other.T * unit**2, one @ one.T, rtol=1e-6)


@pytest.mark.parametrize("kind", ["hcs", "har1"])
def test_units_of_one_slope(kind: str) -> None:
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(30), 12)
    frame = pd.DataFrame({"g": g, **{name: rng.normal(size=g.size) for name in "abc"}})
    u = rng.normal(size=(30, 1)) + rng.normal(size=(30, 3))
    frame["y"] = (frame[["a", "b", "c"]] * u[g]).sum(axis=1) + rng.normal(size=g.size)
    formula = f"y ~ a + b + c + {kind}(0 + a + b + c | g)"
    fit, again = cl.mixed(formula, frame), cl.mixed(formula, frame.assign(b=frame.b * 1e4))
    assert again.loglik + np.log(1e4) == pytest.approx(fit.loglik, rel=1e-11)
    (one,), (other,) = fit.solution.factors, again.solution.factors
    unit = np.array([1.0, 1e-4, 1.0])
    np.testing.assert_allclose(other @ other.T / np.outer(unit, unit), one @ one.T, rtol=1e-6)


def test_two_effects_with_variances_of_their_own_are_unstructured() -> None:
    data = occasions()[occasions().occ.isin(["1", "4"])]
    free = cl.mixed("y ~ x + us(0 + occ | person)", data)
    for kind in ("hcs", "har1"):
        assert cl.mixed(f"y ~ x + {kind}(0 + occ | person)", data).loglik == pytest.approx(free.loglik, abs=1e-9)


def test_structures_that_hold_one_another_are_ordered() -> None:
    fits = {kind: cl.mixed(f"y ~ x + {kind}(0 + occ | person)", occasions()) for kind in ("us", *TIED)}
    assert fits["us"].loglik >= max(fits["hcs"].loglik, fits["har1"].loglik)
    assert fits["hcs"].loglik >= fits["cs"].loglik
    assert fits["har1"].loglik >= fits["ar1"].loglik


# -- as many random effects as rows -----------------------------------------------------------------------------------


def test_variances_that_cannot_be_told_from_the_residual_are_refused() -> None:
    data = load_data("Orthodont")
    with pytest.raises(DesignError, match="cannot be told apart from the residual"):
        cl.mixed("distance ~ age + cs(0 + C(age) | Subject)", data)
    with pytest.raises(DesignError, match="cannot be told from the residuals"):
        cl.mixed("distance ~ age + us(0 + C(age) | Subject)", data)


def test_no_residual_beside_an_autoregression() -> None:
    """A stationary series without noise: sigma goes to zero, and the covariance of the rows to the series' own."""
    rng = np.random.default_rng(2)
    n_clusters, q = 60, 6
    lags = np.abs(np.subtract.outer(np.arange(q), np.arange(q)))
    y = rng.normal(size=(n_clusters, q)) @ np.linalg.cholesky(0.6**lags).T
    frame = pd.DataFrame(
        {
            "y": y.ravel(),
            "g": np.repeat(np.arange(n_clusters), q),
            "t": np.tile([f"t{k}" for k in range(q)], n_clusters),
        }
    )
    fit = cl.mixed("y ~ 1 + ar1(0 + t | g)", frame, method="ml")
    assert fit.converged

    def deviance(parameters: np.ndarray) -> float:
        """-2 log-likelihood of the series alone, mean and variance profiled out."""
        precision = np.linalg.inv(np.tanh(parameters[0]) ** lags)
        mean = np.sum(precision.sum(axis=0) * y) / (n_clusters * precision.sum())
        quadratic = np.einsum("gi,ij,gj->", y - mean, precision, y - mean)
        log_det = -n_clusters * np.linalg.slogdet(precision)[1]
        return float(log_det + y.size * (1.0 + np.log(2.0 * np.pi * quadratic / y.size)))

    assert fit.sigma < 1e-4
    lowest = min(deviance(np.array([at])) for at in np.linspace(0.6, 0.9, 20001))
    assert fit.deviance == pytest.approx(lowest, abs=1e-6)


# -- known matrices ---------------------------------------------------------------------------------------------------


def test_known_matrix() -> None:
    rng = np.random.default_rng(1)
    half = rng.normal(size=(4, 4))
    kind = KNOWN["propto"](half @ half.T)
    factor = kind.factor(np.array([0.7]), 4)
    np.testing.assert_allclose(factor @ factor.T, 0.49 * half @ half.T, rtol=1e-12)
    assert kind.nearest(factor) == pytest.approx([0.7], rel=1e-14)
    assert kind.nearest(np.zeros((4, 2))) == pytest.approx([0.0])
    np.testing.assert_allclose(kind.factor_gradient(np.array([0.7]), 4)[0] * 0.7, factor, rtol=1e-14)
    assert not kind.factor_hessian(np.array([0.7]), 4).any()


@pytest.mark.parametrize("reml", [True, False])
def test_a_known_matrix_in_a_fit(reml: bool) -> None:
    """Effects of which the matrix is known are, in other coordinates, one variance of independent effects."""
    model = repeated("us", 3, 5)
    half = np.random.default_rng(1).normal(size=(3, 3)) + 2.0 * np.eye(3)
    lower = np.linalg.cholesky(half @ half.T)
    known = BlockStructure(kinds=(Proportional(half @ half.T),), columns=(np.arange(3),), q=3)
    fitted = solve(model.reduced_with(known), reml=reml)

    def deviance(theta: np.ndarray) -> float:
        return dense.profile(model.data, theta[0] ** 2 * lower @ lower.T, reml=reml).deviance

    assert fitted.deviance == pytest.approx(deviance(fitted.theta), rel=1e-11)
    assert np.abs(dense.gradient(deviance, fitted.theta)).max() < 1e-5


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.ones((2, 3)), "square"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "finite"),
        (np.array([[1.0, 0.2], [0.3, 1.0]]), "row 1, column 2 holds 0.2, and row 2, column 1 holds 0.3"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "eigenvalues run from -1 to 3"),
        (np.ones((2, 2)), "eigenvalues"),
        (np.zeros((2, 2)), "eigenvalues"),
    ],
)
def test_matrices_that_are_no_covariances_are_refused(matrix: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Proportional(matrix)


def test_blocks_know_their_departures() -> None:
    """From zero, tied blocks offer members of their own; free ones the directions of negative score."""
    whole = structure(("us", [0]), ("cs", [1, 2, 3]))
    score = np.diag([1.0, -1.0, -1.0, -1.0])
    score[1:, 1:] += 0.4
    found = list(whole.departures(np.zeros((4, 4)), score, np.ones(4), negligible=1e-4))
    assert found
    for direction in found:
        change = direction @ direction.T
        assert np.sum(score * change) < 0.0
        own = whole.factor(whole.nearest(direction))
        np.testing.assert_allclose(own @ own.T, change, atol=1e-14)
