"""The deviance with a residual structure: against the dense normal density, derivatives against differences."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import residual_dense as twin
from small_models import structure
from test_residual import OCCASIONS, STRUCTURES, bind, dense_r, small_data

from crosslevel import residual as rs
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.working import WorkingRows, combine, multiply
from crosslevel.likelihood.residual import Outside, ResidualDeviance
from crosslevel.likelihood.whitened import RowProducts, StratumProducts
from crosslevel.residual.bound import BoundResidual

DESIGNS = {
    "none": [],
    "one": [("site", [0, 1])],
    "crossed": [("site", [0, 1]), ("region", [0])],
    "nested": [("unit", [0]), ("site", [0, 1])],
}
"""Grouping factors and which columns vary between their levels; each unit lies in one level of each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Data in the order of the structure, and the criterion on them."""

    residual: BoundResidual
    criterion: ResidualDeviance
    R: np.ndarray
    X: np.ndarray
    y: np.ndarray
    factors: list[tuple[np.ndarray, np.ndarray]]
    phi: np.ndarray
    theta: np.ndarray
    reml: bool

    @property
    def at(self) -> np.ndarray:
        return np.append(self.phi, self.theta)

    @property
    def V(self) -> np.ndarray:  # noqa: N802
        out = self.R.astype(np.longdouble)
        parts = zip(self.factors, self.criterion.structures, self.criterion.engine.crossing.parts, strict=True)
        for (codes, Z), some, part in parts:
            half = some.factor(self.theta[part]).astype(np.longdouble)
            out = out + (Z @ (half @ half.T) @ Z.T) * (codes[:, None] == codes)
        return out


def make_case(chosen: rs.ResidualStructure, design: str, *, reml: bool, by_rows: bool = False) -> Case:
    data = small_data()
    rng = np.random.default_rng(11)
    n = len(data["unit"])
    data["site"] = (data["unit"] % 4).astype(np.int32)
    data["region"] = (data["unit"] // 3).astype(np.int32)
    bound = bind(chosen, data)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    y = X @ [1.0, 0.5, -1.0] + rng.normal(size=n) + rng.normal(size=9)[data["unit"]]
    phi = rng.uniform(-0.5, 0.5, bound.n_phi)
    natural = {part.name: part.estimate for part in bound.natural(phi, 0.0)}
    order = bound.order
    R = dense_r(type(chosen).__name__, data, natural)[np.ix_(order, order)]
    X, y = X[order], y[order]
    factors = [(data[name][order], X[:, columns]) for name, columns in DESIGNS[design]]
    scale = np.array([1.0, 2.0, 0.5, 3.0])
    rows = WorkingRows.of(
        np.vstack([*(Z.T for _, Z in factors), X.T / scale[:-1, None], y / scale[-1]]),
        [codes for codes, _ in factors],
        [int(codes.max()) + 1 for codes, _ in factors],
        structures=tuple(structure(("us", list(range(Z.shape[1])))) for _, Z in factors),
        basis=tuple(np.eye(Z.shape[1]) for _, Z in factors),
        coordinates=Coordinates(shift=np.zeros(4), scale=scale, removed=np.zeros(3), intercept=-1),
    )
    criterion = ResidualDeviance.of(rows, bound, reml=reml)
    if by_rows:
        criterion = replace(criterion, products=RowProducts(rows=rows, residual=bound))
    theta = np.concatenate(
        [np.zeros(0), *(some.nearest(rng.normal(size=(some.q, some.q))) for some in criterion.structures)]
    )
    return Case(
        residual=bound, criterion=criterion, R=R, X=X, y=y, factors=factors, phi=phi, theta=theta, reml=reml
    )  # fmt: skip


@pytest.fixture(params=["none", "one", "crossed", "nested"])
def design(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["reml", "ml"])
def reml(request):
    return request.param


@pytest.fixture(params=STRUCTURES, ids=repr)
def case(request, design, reml):
    return make_case(request.param, design, reml=reml)


def test_deviance_is_the_dense_one(case):
    at = case.criterion.value(case.at)
    known = 1.0 if case.residual.known else None
    expected, beta, vcov, sigma = twin.deviance(case.y, case.X, case.V, reml=case.reml, sigma=known)
    scale = case.criterion.coordinates.scale
    assert at.deviance == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(at.beta / scale[:-1] * scale[-1], beta, rtol=1e-8)
    assert np.sqrt(at.rss / at.nu) * scale[-1] == pytest.approx(sigma, rel=1e-10)
    half = np.linalg.inv(at.chol[:-1, :-1]).T * np.sqrt(at.rss / at.nu)
    np.testing.assert_allclose(half @ half.T / np.outer(scale[:-1], scale[:-1]) * scale[-1] ** 2, vcov, rtol=1e-8)


def test_gradient_is_that_of_differences(case):
    at = case.criterion.value(case.at)
    ours = case.criterion.derivatives(at, case.at).gradient
    numeric = twin.jacobian(lambda v: np.array(case.criterion.value(v).deviance), case.at, step=1e-3)
    np.testing.assert_allclose(ours, numeric, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(case.criterion.gradient(case.at), ours, rtol=1e-12, atol=1e-12)


def dense_average_information(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Average information in (phi, theta), and the gradient of log sigma, from V's derivatives by differences."""
    V = case.V.astype(float)
    inverse = np.linalg.inv(V)
    half = inverse @ case.X
    P = inverse - half @ np.linalg.solve(case.X.T @ half, half.T)

    def covariance(v: np.ndarray) -> np.ndarray:
        phi = v[: len(case.phi)]
        root = case.residual.at(phi)
        white = root.whiten(np.eye(len(case.y)))
        return replace(case, R=np.linalg.inv(white @ white.T), phi=phi, theta=v[len(phi) :]).V.astype(float)

    changes = twin.jacobian(covariance, case.at, step=1e-3)
    h = changes @ P @ case.y
    rss, nu = case.y @ P @ case.y, len(case.y) - (3 if case.reml else 0)
    with_y = h @ P @ case.y
    if case.residual.known:
        return h @ P @ h.T, np.zeros(len(with_y))
    return (h @ P @ h.T - np.outer(with_y, with_y) / rss) * nu / rss, -0.5 * with_y / rss


def test_average_information_is_the_dense_one(case):
    if not len(case.at):
        return
    at = case.criterion.value(case.at)
    average, slope = dense_average_information(case)
    ours = case.criterion.average_information(at, case.theta)
    np.testing.assert_allclose(ours, average, rtol=1e-7, atol=1e-7 * np.abs(average).max())
    k = len(case.phi)
    derivatives = case.criterion.derivatives(at, case.at)
    np.testing.assert_allclose(derivatives.hessian[:k], average[:k], rtol=1e-7, atol=1e-7 * np.abs(average).max())
    assert np.linalg.eigvalsh(derivatives.information).min() > -1e-8 * np.abs(derivatives.information).max()
    np.testing.assert_allclose(case.criterion.curvature(at, case.at)[1], slope, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("chosen", STRUCTURES, ids=repr)
def test_curvature_is_that_of_differences_of_the_gradient(chosen):
    case = make_case(chosen, "one", reml=True)
    at = case.criterion.value(case.at)
    hessian, _ = case.criterion.curvature(at, case.at)
    numeric = twin.jacobian(case.criterion.gradient, case.at, step=2e-3)
    np.testing.assert_allclose(hessian, numeric, rtol=1e-6, atol=1e-6)


def test_strata_by_cross_products_and_by_rows_agree(design, reml):
    fast = make_case(rs.By("stratum"), design, reml=reml)
    slow = make_case(rs.By("stratum"), design, reml=reml, by_rows=True)
    assert isinstance(fast.criterion.products, StratumProducts)
    one, other = (case.criterion.value(case.at) for case in (fast, slow))
    assert one.deviance == pytest.approx(other.deviance, rel=1e-13)
    first, second = (
        case.criterion.derivatives(at, case.at) for case, at in zip((fast, slow), (one, other), strict=True)
    )
    np.testing.assert_allclose(first.gradient, second.gradient, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(first.hessian, second.hessian, rtol=1e-9, atol=1e-9)


def test_products_with_coefficients_are_those_of_rows():
    case = make_case(rs.AR1("time", within="unit"), "crossed", reml=True)
    rows, rng = case.criterion.products.rows, np.random.default_rng(3)
    crossing = rows.products(rows.columns, rows.columns)
    effects = tuple(rng.normal(size=(*block.shape[:2], 2)) for block in crossing.diagonal)
    coefficients = rng.normal(size=(4, 2))
    columns = (rows.columns[rows.xy].T @ coefficients).T
    for part, codes, effect in zip(rows.parts, rows.codes, effects, strict=True):
        columns = columns + np.einsum("qn,nqr->rn", rows.columns[part], effect[codes])
    image, border = rows.against(rows.columns, columns)
    for ours, expected in zip(multiply(crossing, effects, coefficients)[0], image, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(multiply(crossing, effects, coefficients)[1], border, rtol=1e-11)


def test_combined_cross_products_are_weighted_sums():
    case = make_case(rs.By("stratum"), "crossed", reml=True)
    one, other, third = case.criterion.products.crossings
    total = combine((one, other, third), (1.0, 2.0, -0.5))
    np.testing.assert_allclose(total.gram, one.gram + 2.0 * other.gram - 0.5 * third.gram, rtol=1e-14)
    key = (0, 1)
    expected = one.pairs[key].block + 2.0 * other.pairs[key].block - 0.5 * third.pairs[key].block
    np.testing.assert_allclose(total.pairs[key].block, expected, rtol=1e-14)


def test_a_point_where_r_is_singular_has_an_infinite_deviance():
    case = make_case(rs.AR1("time", within="unit"), "one", reml=True)
    outside = case.criterion.value(np.append([40.0], case.theta))
    assert isinstance(outside, Outside)
    assert outside.deviance == np.inf


def test_known_standard_errors_fix_sigma_at_one():
    case = make_case(rs.Known("se"), "one", reml=True)
    at = case.criterion.value(case.at)
    assert np.sqrt(at.rss / at.nu) * case.criterion.coordinates.scale[-1] == pytest.approx(1.0, rel=1e-14)


def test_occasions_are_those_of_the_small_data():
    assert int(small_data()["time"].max()) + 1 == OCCASIONS
