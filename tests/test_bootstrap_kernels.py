"""The compiled search of refits: each kernel against numpy or the engine, compiled against interpreted."""

import numpy as np
import pytest
from bootstrap_models import fitted, of_file, setting_of
from bootstrap_twin import Criterion

from crosslevel.inference.bootstrap.draws import counted
from crosslevel.kernels import refit, refit_point, steps
from crosslevel.kernels.small import (
    add_direction,
    cholesky,
    copy,
    descending,
    inverse_transposed,
    product,
    solve_lower,
    solve_upper,
    square,
    symmetric_eigen,
)
from crosslevel.likelihood.profiled import ProfiledDeviance
from crosslevel.optimise import Derivatives

RTOL = 1e-12  # rounding only

BOTH = pytest.mark.parametrize("form", ["compiled", "interpreted"])


def in_form(kernel, form):
    return kernel if form == "compiled" else kernel.py_func


def positive(n: int, seed: int = 1) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=(n, n + 2))
    return a @ a.T


@BOTH
@pytest.mark.parametrize("n", [1, 2, 6])
def test_cholesky_and_its_solutions(form, n):
    a, b = positive(n), np.arange(1.0, n + 3)
    chol = a.copy()
    assert in_form(cholesky, form)(chol)
    lower = np.linalg.cholesky(a)
    assert np.tril(chol) == pytest.approx(lower, rel=RTOL)
    x = b.copy()
    in_form(solve_lower, form)(chol, x, n)
    in_form(solve_upper, form)(chol, x, n)
    assert x[:n] == pytest.approx(np.linalg.solve(a, b[:n]), rel=1e-9)
    assert x[n:].tolist() == b[n:].tolist()
    inverse = np.zeros((n, n))
    in_form(inverse_transposed, form)(chol, n, inverse)
    assert inverse == pytest.approx(np.linalg.inv(lower).T, rel=1e-9, abs=1e-12)


@BOTH
def test_cholesky_of_what_is_not_positive_definite(form):
    for a in (np.array([[1.0, 0.0], [2.0, 1.0]]), np.array([[np.nan]]), np.array([[0.0]]), np.array([[np.inf]])):
        assert not in_form(cholesky, form)(a.copy())


@BOTH
@pytest.mark.parametrize("n", [1, 2, 7])
def test_eigenvectors(form, n):
    a = positive(n) - 2.0 * np.eye(n)
    values, vectors = a.copy(), np.empty((n, n))
    in_form(symmetric_eigen, form)(values, vectors)
    assert np.sort(np.diag(values)) == pytest.approx(np.linalg.eigvalsh(a), rel=1e-12, abs=1e-12)
    assert vectors @ np.diag(np.diag(values)) @ vectors.T == pytest.approx(a, abs=1e-12 * np.abs(a).max())
    assert vectors.T @ vectors == pytest.approx(np.eye(n), abs=1e-12)


@BOTH
def test_eigenvectors_keep_to_blocks(form):
    a = np.zeros((5, 5))
    a[:3, :3], a[3:, 3:] = positive(3), positive(2, seed=2)
    vectors = np.empty((5, 5))
    in_form(symmetric_eigen, form)(a, vectors)
    assert np.all((np.abs(vectors[:3]).max(axis=0) == 0.0) | (np.abs(vectors[3:]).max(axis=0) == 0.0))


@BOTH
@pytest.mark.parametrize("rank", [0, 1, 4])
def test_a_direction_is_added_to_each_block(form, rank):
    block = np.array([0, 1, 0, 1])
    mask = block[:, None] == block
    factor = np.tril(positive(4)) * mask
    factor[:, rank:] = 0.0
    v = np.array([1.0, -2.0, 0.5, 3.0])
    changed = factor.copy()
    in_form(add_direction, form)(changed, block, v.copy())
    assert changed @ changed.T == pytest.approx((factor @ factor.T + np.outer(v, v)) * mask, rel=1e-12, abs=1e-12)
    assert np.all(np.triu(changed, 1) == 0.0)


@BOTH
def test_products_and_order(form):
    a, b, out = positive(3), positive(3, seed=2), np.empty((3, 3))
    in_form(product, form)(a, b, out)
    assert out == pytest.approx(a @ b, rel=RTOL)
    in_form(square, form)(a, out)
    assert out == pytest.approx(a @ a.T, rel=RTOL)
    in_form(copy, form)(b, out)
    assert np.array_equal(out, b)
    order = np.empty(5, dtype=np.int64)
    in_form(descending, form)(np.array([1.0, 5.0, -2.0, 5.0, 3.0]), order)
    assert order.tolist() == [1, 3, 4, 0, 2]


NAMES = ["two effects", "three effects", "ml", "blocks of both kinds", "precisions"]


def at_a_point(name, form):
    """The engine and the compiled functions at one theta, clusters counted unequally."""
    fit = fitted(name)
    setting = setting_of(fit)
    times = np.resize([1.0, 2.0, 0.0, 1.0], setting.n_clusters)
    draw = counted(setting, times)
    structure = setting.reduced.structure
    theta = np.random.default_rng(2).uniform(0.2, 0.9, structure.n_theta)
    criterion = Criterion.of(setting, draw, setting.places)
    engine = ProfiledDeviance(reduced=draw.reduced(setting), reml=setting.reml)
    factor = structure.factor(theta)
    n_clusters, q, p1 = criterion.image.shape
    precision, cross = np.empty((n_clusters, q, q)), np.empty((n_clusters, q, p1))
    chol, contrast = np.zeros((p1, p1)), np.zeros(p1)
    value = in_form(refit_point.evaluate, form)(
        factor, criterion.root, criterion.image, criterion.weight, criterion.remainder, criterion.nu, criterion.reml,
        precision, cross, chol, contrast,
    )  # fmt: skip
    return setting, draw, criterion, engine, theta, factor, (precision, cross, chol, contrast), value


@pytest.mark.parametrize("name", NAMES)
@BOTH
def test_the_deviance_is_that_of_the_engine(name, form):
    setting, draw, criterion, engine, theta, _, (_, _, chol, contrast), value = at_a_point(name, form)
    at = engine.value(theta)
    log_y, log_x = setting.reduced.coordinates.log_scale
    constant = 2.0 * criterion.nu * log_y - draw.log_weight + 2.0 * log_x * setting.reml
    assert value + constant == pytest.approx(at.deviance, rel=1e-12)
    assert -contrast[:-1] == pytest.approx(at.beta, rel=1e-9, abs=1e-12)
    assert np.tril(chol) == pytest.approx(np.tril(at.chol), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
@BOTH
def test_derivatives_and_steps_are_those_of_the_engine(name, form):
    setting, _, criterion, engine, theta, factor, point, _ = at_a_point(name, form)
    places, n, q = setting.places, len(theta), len(factor)
    score, p_sum, pp = np.empty((q, q)), np.empty((q, q)), np.empty((q, q, q, q))
    gradient, hessian, information = np.empty(n), np.empty((n, n)), np.empty((n, n))
    in_form(refit_point.derive, form)(
        factor, places.rows, places.columns, places.block, criterion.weight, *point, criterion.nu, criterion.reml, True,
        score, p_sum, pp, gradient, hessian,
    )  # fmt: skip
    in_form(refit_point.inform, form)(
        factor, places.rows, places.columns, criterion.n_rows, score, p_sum, pp, information
    )
    known = engine.derivatives(engine.value(theta), theta)
    size = np.abs(known.hessian).max()
    assert gradient == pytest.approx(known.gradient, rel=1e-9, abs=1e-9 * np.abs(known.gradient).max())
    assert hessian == pytest.approx(known.hessian, rel=1e-9, abs=1e-10 * size)
    assert information == pytest.approx(known.information, rel=1e-9, abs=1e-10 * size)

    definite = Derivatives(gradient=gradient, hessian=information + np.eye(n), expected=lambda: information)
    step, work = np.empty(n), np.empty((n, n))
    promised = in_form(steps.newton_step, form)(gradient, definite.hessian, work, step)
    newton = definite.newton_step()
    assert newton is not None
    assert step == pytest.approx(newton[0], rel=1e-6, abs=1e-9)
    assert promised == pytest.approx(newton[1], rel=1e-6)
    assert in_form(steps.newton_step, form)(gradient, -definite.hessian, work, step) == -1.0
    promised = in_form(steps.damped_step, form)(gradient, definite.hessian, information, 0.5, work, step)
    damped = definite.hessian + np.diag(0.5 * np.diag(information))
    assert step == pytest.approx(-np.linalg.solve(damped, gradient), rel=1e-6, abs=1e-9)
    assert promised == pytest.approx(-gradient @ step - 0.5 * step @ definite.hessian @ step, rel=1e-6)


@pytest.mark.parametrize("name", ["two effects", "blocks of both kinds"])
@BOTH
def test_a_scoring_step_in_psi(name, form):
    setting, _, criterion, engine, theta, factor, point, _ = at_a_point(name, form)
    places, n, q = setting.places, len(theta), len(factor)
    score, p_sum, pp = np.empty((q, q)), np.empty((q, q)), np.empty((q, q, q, q))
    in_form(refit_point.derive, form)(
        factor, places.rows, places.columns, places.block, criterion.weight, *point, criterion.nu, criterion.reml, True,
        score, p_sum, pp, np.empty(n), np.empty((n, n)),
    )  # fmt: skip
    moved = np.empty((q, q))
    assert in_form(steps.scoring_step, form)(
        factor, places.rows, places.columns, places.block, criterion.n_rows, score, p_sum, pp, moved
    )
    directions = np.zeros((n, q, q))
    for a, (i, j) in enumerate(zip(places.rows, places.columns, strict=True)):
        directions[a, i, j] = directions[a, j, i] = 1.0
    sums = engine.value(theta).psi_derivatives
    information = sums.information(directions)
    information[np.diag_indices(n)] *= 1.0 + steps.RIDGE
    amounts = np.linalg.solve(information, np.tensordot(directions, sums.score, axes=2))
    values, vectors = np.linalg.eigh(factor @ factor.T - np.tensordot(amounts, directions, axes=1))
    psi = (vectors * np.maximum(values, steps.LEAST)) @ vectors.T
    assert moved @ moved.T == pytest.approx(psi, rel=1e-8, abs=1e-10)


@BOTH
def test_a_search_turned_to_principal_axes_is_the_same(form):
    fit = fitted("blocks of both kinds")
    setting = setting_of(fit)
    places, reduced = setting.places, setting.reduced
    factor, root, turn = setting.factor.copy(), reduced.root.copy(), np.eye(len(setting.factor))
    in_form(refit.turn_to_axes, form)(factor, places.block, root, turn)
    assert turn.T @ turn == pytest.approx(np.eye(len(turn)), abs=1e-12)
    assert root == pytest.approx(reduced.root @ turn, rel=1e-10, abs=1e-10)
    assert turn @ factor @ factor.T @ turn.T == pytest.approx(setting.factor @ setting.factor.T, abs=1e-12)
    assert np.all(factor == np.diag(np.diag(factor)))


@BOTH
def test_negligible_variances_are_flattened(form):
    factor = np.diag([0.5, 1e-5])
    factor[1, 0] = 0.2
    out, block = np.empty((2, 2)), np.zeros(2, dtype=np.int64)
    assert in_form(refit.flatten, form)(factor, block, out)
    values = np.linalg.eigvalsh(out @ out.T)
    assert values[0] == pytest.approx(0.0, abs=1e-18)
    assert values[1] == pytest.approx(0.25 + 0.04, rel=1e-6)
    assert not in_form(refit.flatten, form)(np.diag([0.5, 0.2]), block, out)
    assert not in_form(refit.flatten, form)(np.zeros((2, 2)), block, out)


@BOTH
@pytest.mark.parametrize("intercept", [0, 2, -1])
def test_columns_that_others_determine_are_found(form, intercept):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 4))
    if intercept >= 0:
        x[:, intercept] = 1.0
    check = in_form(refit.identified, form)
    image, weight = np.zeros((1, 2, 5)), np.ones(1)

    def gram(columns):
        out = np.zeros((5, 5))
        out[:4, :4] = columns.T @ columns
        return out

    assert check(image, weight, gram(x), intercept)
    x[:, 3] = 2.0 * x[:, 1] - (0.5 * x[:, 0] if intercept == 0 else 0.0)
    assert not check(image, weight, gram(x), intercept)
    x[:, 3] = 7.0
    assert check(image, weight, gram(x), intercept) == (intercept < 0)


def test_the_search_interpreted_ends_where_the_compiled_one_does():
    fit = of_file("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    setting = setting_of(fit)
    draw = counted(setting, np.resize([2.0, 0.0, 1.0], setting.n_clusters))
    criterion = Criterion.of(setting, draw, setting.places)
    ends = []
    for form in ("compiled", "interpreted"):
        factor = 0.3 * np.eye(2)
        places = setting.places
        status, value, evaluations = in_form(refit.minimise, form)(
            factor, places.rows, places.columns, places.block, criterion.root, criterion.image, criterion.weight,
            criterion.remainder, criterion.nu, criterion.n_rows, criterion.reml, True, True, 1e-10,
        )  # fmt: skip
        ends.append((status, value, evaluations, *factor.ravel()))
    assert ends[0] == pytest.approx(ends[1], rel=1e-6, abs=1e-8)
    assert ends[0][0] == refit.CONVERGED


def test_where_variances_are_zero_the_search_stops_only_if_none_helps():
    """From no variance at all, where the gradient vanishes, the search finds the way up."""
    fit = of_file("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    setting = setting_of(fit)
    criterion = Criterion.of(setting, counted(setting, np.ones(setting.n_clusters)), setting.places)
    status, deviance, factor = criterion.descend(np.zeros((2, 2)), 1e-10)
    assert status == refit.CONVERGED
    assert deviance == pytest.approx(criterion.at(setting.factor).deviance, abs=1e-8)
    assert factor == pytest.approx(setting.factor, abs=1e-4)
