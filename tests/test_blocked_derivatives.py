"""The engine for several grouping factors: the boundary, second derivatives, and single kernels."""

from dataclasses import replace

import dense
import dense_crossed
import numpy as np
import pytest
from dense_crossed import Crossed
from test_blocked import DESIGNS, FEW, criterion_of, crossing_of, example, psis, random_theta, simple, structure

from crosslevel.covariance import BlockStructure
from crosslevel.design.reduced import Reduced
from crosslevel.kernels import crossed, elimination, spread
from crosslevel.likelihood import blocked_state, factorised
from crosslevel.likelihood.blocked import BlockedConditional, BlockedDeviance
from crosslevel.likelihood.blocked_theta import average_information, psi_scores
from crosslevel.likelihood.profiled import ProfiledDeviance


def dense_scores(data: Crossed, at: BlockedConditional) -> list[np.ndarray]:
    """S = d deviance / d Psi of each factor."""
    V = data.V(psis(at))
    inverse, P = dense.inverse(V), dense_crossed.projection(V, data.X)
    py = P @ data.y
    scale = at.nu / (data.y @ py) if at.sigma is None else 1.0 / at.sigma**2
    middle = (P if at.reml else inverse) - scale * np.outer(py, py)
    columns = [data.columns(k).astype(dense.LONG) for k in range(len(data.z))]
    return [np.einsum("nja,nm,mjb->ab", z, middle, z).astype(float) for z in columns]


def deviance_at(data: Crossed, criterion: BlockedDeviance, theta: np.ndarray) -> np.longdouble:
    """Deviance by the whole matrix."""
    parts = zip(criterion.structures, criterion.crossing.parts, strict=True)
    factors = [some.factor(theta[part]).astype(dense.LONG) for some, part in parts]
    V = data.V(tuple(factor @ factor.T for factor in factors))
    return dense_crossed.deviance(V, data.X, data.y, reml=criterion.reml, sigma=criterion.sigma)


# -- the boundary -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0.0, 1e-7, 1e-3, 50.0], ids=["zero", "tiny", "small", "large"])
@pytest.mark.parametrize("which", ["all", "first", "last"])
@pytest.mark.parametrize("name", FEW)
def test_extreme_factors(name: str, which: str, size: float) -> None:
    data, criterion = criterion_of(name)
    theta = random_theta(criterion.structures)
    parts = criterion.crossing.parts
    part = {"all": slice(0, len(theta)), "first": parts[0], "last": parts[-1]}[which]
    theta[part] *= size
    at = criterion.value(theta)
    assert at.deviance == pytest.approx(float(deviance_at(data, criterion, theta)), rel=1e-10)
    found = criterion.derivatives(at, theta).gradient
    for k, score in enumerate(dense_scores(data, at)):
        expected = score @ at.factors[k]
        np.testing.assert_allclose(at.scores[k], expected, rtol=1e-7, atol=1e-9 * max(1.0, np.abs(expected).max()))
        slopes = criterion.structures[k].factor_gradient(theta[parts[k]])
        np.testing.assert_allclose(
            found[parts[k]],
            2.0 * np.tensordot(slopes, expected, axes=2),
            rtol=1e-6,
            atol=1e-8 * max(1.0, 1.0 / size if size > 1 else 1.0),
        )


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("singular", ["none", "rank", "zero"])
def test_scores_in_psi(name: str, singular: str) -> None:
    data, criterion = criterion_of(name)
    at = criterion.value(random_theta(criterion.structures))
    if singular != "none":
        factors = [factor.copy() for factor in at.factors]
        for factor in factors[:1] if singular == "zero" else factors:
            factor[:, -1] = 0.0
            if singular == "zero":
                factor[:] = 0.0
        at = criterion.at_factors(tuple(factors))
    for found, expected in zip(psi_scores(at, criterion.at_factors)[0], dense_scores(data, at), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("name", FEW)
def test_both_ways_to_the_cross_products(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, criterion = criterion_of(name)
    theta = random_theta(criterion.structures)
    short = criterion.value(theta).cross
    monkeypatch.setattr(blocked_state, "REGULAR", np.inf)
    for one, other in zip(short, criterion.value(theta).cross, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", [name for name in DESIGNS if name != "none"])
def test_escape_from_zero(name: str, reml: bool) -> None:
    data, structures = example(name)
    criterion = BlockedDeviance.of(crossing_of(data, structures), reml=reml)
    theta = np.zeros(sum(some.n_theta for some in structures))
    at = criterion.value(theta)
    found = criterion.escape(theta, at, tolerance=1e-10)
    lowest = min(float(np.linalg.eigvalsh(score)[0]) for score in dense_scores(data, at))
    assert (found is not None) == (lowest < 0.0)
    if found is not None:
        moved, state = found
        assert state.deviance < at.deviance - 1e-10
        assert state.deviance == criterion.value(moved).deviance


def test_no_escape_from_a_minimum_at_zero() -> None:
    data, structures = example("crossed")
    flat = replace(data, y=np.random.default_rng(8).normal(size=len(data.y)))
    means = np.linalg.lstsq(np.column_stack([flat.Z.astype(float), flat.X]), flat.y, rcond=None)[0]
    flat = replace(flat, y=flat.y - np.column_stack([flat.Z.astype(float), flat.X]) @ means)
    criterion = BlockedDeviance.of(crossing_of(flat, structures), reml=True)
    assert criterion.escape(np.zeros(2), criterion.value(np.zeros(2)), tolerance=1e-10) is None


def test_deviance_is_infinite_where_it_cannot_be_computed() -> None:
    data, structures = example("crossed, slopes on both")
    data = replace(data, X=np.column_stack([data.X, data.X[:, 1]]))
    criterion = BlockedDeviance.of(crossing_of(data, structures), reml=True)
    assert criterion.value(random_theta(structures)).deviance > 0.0
    _, criterion = criterion_of("crossed, slopes on both")
    for size in (np.nan, 1e200):
        assert criterion.value(size * random_theta(structures)).deviance == np.inf


# -- one factor, and none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reml", "sigma"), [(True, None), (False, None), (True, 0.8)])
def test_one_factor_is_the_other_engine(reml: bool, sigma: float | None) -> None:
    data, structures = example("alone")
    crossing = crossing_of(data, structures)
    values, vectors = np.linalg.eigh(crossing.diagonal[0])
    whole = np.sqrt(np.maximum(values, 0.0))[:, :, None] * vectors.transpose(0, 2, 1)
    image = np.linalg.pinv(whole.transpose(0, 2, 1)) @ crossing.image[0]
    reduced = Reduced(
        root=np.ascontiguousarray(whole), image=np.ascontiguousarray(image),
        remainder=crossing.gram - np.einsum("jia,jib->ab", image, image),
        multiplicity=np.ones(len(whole)), n_rows=crossing.n_rows, structure=structures[0], basis=np.eye(2),
        coordinates=crossing.coordinates, anchored=True,
    )  # fmt: skip
    theta = random_theta(structures)
    twin = ProfiledDeviance(reduced=reduced, reml=reml, sigma=sigma)
    criterion = BlockedDeviance.of(crossing, reml=reml, sigma=sigma)
    one, other = criterion.value(theta), twin.value(theta)
    assert one.deviance == pytest.approx(other.deviance, rel=1e-12)
    np.testing.assert_allclose(one.beta, other.beta, rtol=1e-10)
    np.testing.assert_allclose(one.chol, other.chol, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(
        criterion.derivatives(one, theta).gradient, twin.derivatives(other, theta).gradient, rtol=1e-9
    )
    np.testing.assert_allclose(criterion.curvature(one, theta)[0], twin.curvature(other, theta)[0], rtol=1e-6)
    np.testing.assert_allclose(criterion.curvature(one, theta)[1], twin.curvature(other, theta)[1], rtol=1e-9)


def test_no_factor_is_least_squares() -> None:
    data, criterion = criterion_of("none", reml=False)
    at = criterion.value(np.zeros(0))
    beta, rss = np.linalg.lstsq(data.X, data.y, rcond=None)[:2]
    np.testing.assert_allclose(at.beta, beta, rtol=1e-10)
    assert at.rss == pytest.approx(float(rss[0]), rel=1e-10)
    assert at.modes == at.scores == at.conditional_covariances() == ()
    assert criterion.escape(np.zeros(0), at, tolerance=1e-10) is None
    assert criterion.derivatives(at, np.zeros(0)).information.shape == (0, 0)


# -- second derivatives -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [None, 0.9])
@pytest.mark.parametrize("name", ["crossed, slopes on both", "three levels, slopes", "multiple membership"])
def test_curvature(name: str, sigma: float | None) -> None:
    data, criterion = criterion_of(name, sigma=sigma)
    theta = random_theta(criterion.structures)
    hessian, log_sigma = criterion.curvature(criterion.value(theta), theta)
    expected = dense.hessian(lambda theta: deviance_at(data, criterion, theta), theta)
    np.testing.assert_allclose(hessian, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    slopes = dense.gradient(lambda theta: 0.5 * np.log(criterion.value(theta).rss) * (sigma is None), theta)
    np.testing.assert_allclose(log_sigma, slopes, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["us", "diag", "cs", "ar1", "hcs", "har1"])
def test_structures_of_all_kinds(kind: str) -> None:
    data, _ = example("crossed, slopes on both")
    structures = (simple(2), structure(kind, sizes=(3,)))
    criterion = BlockedDeviance.of(crossing_of(data, structures), reml=True)
    theta = 0.3 + 0.2 * np.abs(random_theta(structures))
    at = criterion.value(theta)
    found = criterion.derivatives(at, theta)
    expected = dense.gradient(lambda theta: deviance_at(data, criterion, theta), theta)
    np.testing.assert_allclose(found.gradient, expected, rtol=1e-6, atol=1e-8)

    # the Hessian is the average information and <S, second derivative of Psi>
    curvature, slopes = np.zeros_like(found.hessian), []
    for some, part, score in zip(structures, criterion.crossing.parts, dense_scores(data, at), strict=True):

        def inner(theta: np.ndarray, some: BlockStructure = some, score: np.ndarray = score) -> np.longdouble:
            factor = some.factor(theta).astype(dense.LONG)
            return np.sum(score * (factor @ factor.T))

        curvature[part, part] = dense.hessian(inner, theta[part])
        half = some.factor_gradient(theta[part]) @ some.factor(theta[part]).T
        slopes.append(half + half.transpose(0, 2, 1))
    information = average_information(at, tuple(slopes))
    np.testing.assert_allclose(found.hessian, information + curvature, rtol=1e-6, atol=1e-6 * np.abs(curvature).max())
    assert np.linalg.eigvalsh(information)[0] > -1e-9 * np.abs(information).max()
    assert np.linalg.eigvalsh(found.information - information)[0] > -1e-9 * np.abs(found.information).max()


# -- the plan, and the kernels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "order", "n_dense"),
    [
        ("crossed", (0,), 5), ("crossed, the larger second", (1,), 5), ("nested", (0, 1), 0),
        ("nested, the larger level more effects", (1, 0), 0), ("four levels", (1, 3, 2, 0), 0),
        ("nested in two that cross", (1, 3, 2), 2),
        ("three levels and crossed", (0, 2, 3), 3), ("multiple membership", (1,), 7),
        ("multiple membership alone", (), 14), ("apart", (0, 1), 0), ("none", (), 0), ("one level", (0, 1), 0),
    ],
)  # fmt: skip
def test_nested_factors_leave_no_dense_part(name: str, order: tuple[int, ...], n_dense: int) -> None:
    _, criterion = criterion_of(name)
    assert criterion.plan.order == order
    assert criterion.plan.n_dense == n_dense


@pytest.mark.parametrize("name", FEW)
def test_kernels_interpreted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, criterion = criterion_of(name)
    theta = random_theta(criterion.structures)
    theta[criterion.crossing.parts[-1]] = 0.0
    compiled = criterion.value(theta), criterion.derivatives(criterion.value(theta), theta)
    for module in (elimination, crossed, spread):
        for kernel in [some for some in vars(module).values() if hasattr(some, "py_func")]:
            monkeypatch.setattr(module, kernel.py_func.__name__, kernel.py_func)
    plain = criterion.value(theta), criterion.derivatives(criterion.value(theta), theta)
    assert compiled[0].deviance == pytest.approx(plain[0].deviance, rel=1e-12)
    np.testing.assert_allclose(compiled[1].gradient, plain[1].gradient, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(compiled[1].hessian, plain[1].hessian, rtol=1e-6, atol=1e-8)
    for key, block in compiled[0].product_gradient().pairs.items():
        np.testing.assert_allclose(block, plain[0].product_gradient().pairs[key], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", DESIGNS)
def test_whole_matrices_or_elements(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, criterion = criterion_of(name)
    theta = random_theta(criterion.structures)
    found = []
    for crowded in (-1.0, 2.0):
        monkeypatch.setattr(factorised, "CROWDED", crowded)
        monkeypatch.setattr(factorised, "AT_ONCE", 4)
        at = criterion.value(theta)
        found.append((at.deviance, at.inverse.rows, at.inverse.diagonal, *at.scores))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
