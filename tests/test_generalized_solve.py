"""The search for the optimum of generalized models: restarts, boundaries, scales, standard errors, quadrature."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from dense_generalized import DenseLaplace
from generalized_models import rows_of, simulated

from crosslevel.errors import CrosslevelError, DesignError
from crosslevel.families import GaussianWorking
from crosslevel.likelihood.generalized import Layout, gradients_in_turn
from crosslevel.likelihood.one_factor import OneFactorLikelihood, OneFactorState
from crosslevel.optimise import Status
from crosslevel.solve.generalized import Search, criterion_of, solve_criterion, solve_generalized
from crosslevel.solve.generalized.descent import Progress, difference_hessian, sizes
from crosslevel.solve.generalized.objective import Objective
from crosslevel.solve.generalized.quadrature import stable_nodes
from crosslevel.solve.generalized.quasi import working_rows
from crosslevel.solve.generalized.starts import fixed_minimum, starting_parameters
from crosslevel.types import FloatArray

MODELS = {
    "logit": ("y ~ x + z + (1 | g)", "binomial"),
    "logit slope": ("y ~ x + (x | g)", "binomial"),
    "poisson": ("count ~ x + (x || g)", "poisson"),
    "negative binomial": ("count ~ x + (1 | g)", "nbinom2"),
    "ordered": ("rank ~ x + (1 | g)", "ordinal"),
    "crossed": ("y ~ x + (1 | g) + (1 | h)", "binomial"),
}


@pytest.mark.parametrize("name", MODELS)
def test_restarts_find_nothing_lower(name: str) -> None:
    formula, family = MODELS[name]
    _, rows = rows_of(formula, simulated(11, slope_sd=0.7), family)
    criterion = criterion_of(rows)
    solution = solve_criterion(criterion, quadrature="laplace")
    assert solution.status is Status.CONVERGED
    rng = np.random.default_rng(5)
    (first, _), size = starting_parameters(rows, prior=None), Layout.of(rows)
    for _ in range(4):
        start = first.copy()
        start[size.theta] *= rng.uniform(0.2, 4.0, size=size.k)
        start[size.beta] += rng.normal(size=size.p)
        again = solve_criterion(criterion, quadrature="laplace", search=Search(start=start))
        assert again.status is Status.CONVERGED
        assert again.deviance == pytest.approx(solution.deviance, abs=1e-8)


def sparse_counts(seed: int) -> pd.DataFrame:
    """One to seven rows in each of 15 clusters, with counts near zero."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(15), rng.integers(1, 8, 15))
    x, _ = rng.standard_normal((2, len(g)))
    mean = np.exp(-1.5 + 0.4 * x + rng.standard_normal(15)[g] + 0.4 * x * rng.standard_normal(15)[g])
    return pd.DataFrame({"count": rng.poisson(mean), "x": x, "g": g})


def test_few_rows_for_each_random_effect_can_have_several_minima() -> None:
    _, rows = rows_of("count ~ x + (x | g)", sparse_counts(132), "nbinom2")
    criterion = criterion_of(rows)
    first = Search(start=starting_parameters(rows, prior=None)[0])
    alone = solve_criterion(criterion, quadrature="laplace", search=first)
    found = solve_criterion(criterion, quadrature="laplace")
    assert alone.status is found.status is Status.CONVERGED
    assert found.deviance < alone.deviance - 0.05


@pytest.mark.parametrize("seed", [43, 63, 112, 122])
def test_a_negative_binomial_model_is_no_worse_than_its_limit(seed: int) -> None:
    # on the way the information that a shape parameter shares with the others can exceed its own
    data = sparse_counts(seed)
    found, limit = (
        solve_generalized(rows_of("count ~ x + (x | g)", data, family)[1], quadrature="laplace")
        for family in ("nbinom2", "poisson")
    )
    assert found.status is Status.CONVERGED
    assert found.deviance < limit.deviance + 1e-6


def test_the_optimum_is_that_of_a_dense_twin() -> None:
    _, rows = rows_of("y ~ x + (x | g)", simulated(3, clusters=12, slope_sd=0.8), "binomial")
    solution = solve_generalized(rows, quadrature="laplace")
    dense = DenseLaplace(rows=rows)
    at = dense.value(solution.parameters)
    assert at.deviance == pytest.approx(solution.deviance, abs=1e-8)
    spread = np.sqrt(np.diag(solution.working_vcov))
    # in standard errors; the twin's gradient is by differences
    np.testing.assert_allclose(dense.gradient(at) * spread, 0.0, atol=1e-5)


@pytest.mark.parametrize("name", ["logit slope", "ordered", "crossed"])
def test_standard_errors_are_those_of_central_differences(name: str) -> None:
    formula, family = MODELS[name]
    _, rows = rows_of(formula, simulated(11, clusters=60, slope_sd=1.2), family)
    solution = solve_generalized(rows, quadrature="laplace")
    assert not solution.is_singular
    criterion, k = solution.criterion, solution.criterion.layout.size
    hessian = np.empty((k, k))
    for j, length in enumerate(1e-3 * np.sqrt(np.diag(solution.working_vcov))):
        ends = []
        for sign in (1.0, -1.0):
            moved = solution.parameters.copy()
            moved[j] += sign * length
            ends.append(criterion.gradient(criterion.value(moved, solution.state)))
        hessian[j] = (ends[0] - ends[1]) / (2.0 * length)
    covariance = 2.0 * np.linalg.inv(0.5 * (hessian + hessian.T))
    np.testing.assert_allclose(
        np.sqrt(np.diag(solution.working_vcov)), np.sqrt(np.diag(covariance)), rtol=5e-4
    )  # fmt: skip


def test_units_of_the_data_do_not_matter() -> None:
    data = simulated(4, slope_sd=0.6)
    other = data.assign(x=3e8 + 1e6 * data["x"], z=1e-6 * data["z"])
    formula = "y ~ x + z + (x | g)"
    (design, rows), (_, scaled) = rows_of(formula, data, "binomial"), rows_of(formula, other, "binomial")
    one, two = solve_generalized(rows, quadrature="laplace"), solve_generalized(scaled, quadrature="laplace")
    assert two.status is Status.CONVERGED
    assert two.deviance == pytest.approx(one.deviance, abs=1e-8)
    names = list(design.fixed_names)
    back = np.array([1.0, 1e6, 1e-6])[[["Intercept", "x", "z"].index(name) for name in names]]
    slopes = [names.index("x"), names.index("z")]
    np.testing.assert_allclose((two.beta * back)[slopes], one.beta[slopes], rtol=1e-6)
    np.testing.assert_allclose(
        (np.sqrt(np.diag(two.vcov)) * back)[slopes], np.sqrt(np.diag(one.vcov))[slopes], rtol=1e-4
    )
    # the slope's standard deviation and its standard error; theta is (intercept, covariance, slope)
    np.testing.assert_allclose(np.hypot(*two.theta[1:]) * 1e6, np.hypot(*one.theta[1:]), rtol=1e-6)


def test_covariance_of_theta_in_the_units_of_the_data() -> None:
    _, rows = rows_of("y ~ x + (x | g)", simulated(4, slope_sd=0.9).assign(x=lambda d: 2.0 + 3.0 * d["x"]), "binomial")
    solution = solve_generalized(rows, quadrature="laplace")
    structure, basis = rows.structures[0], rows.bases[0]
    steps = np.zeros((3, 3))
    for j in range(3):
        ends = []
        for sign in (1e-5, -1e-5):
            theta = solution.parameters[:3].copy()
            theta[j] += sign
            ends.append(structure.nearest(np.linalg.solve(basis, structure.factor(theta))))
        steps[:, j] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(
        solution.joint_vcov[:3, :3], steps @ solution.working_vcov[:3, :3] @ steps.T, rtol=1e-5, atol=1e-10
    )


class TestBoundary:
    def test_no_variance_is_found_from_a_large_one_and_named(self) -> None:
        data = simulated(21, sd=0.0)
        # every cluster has nearly the same share, less than chance would make
        data["y"] = np.tile([1, 0, 1, 0, 1, 0, 1, 0], 25)
        _, rows = rows_of("y ~ z + (1 | g)", data, "binomial")
        solution = solve_generalized(rows, quadrature="laplace")
        assert solution.status is Status.CONVERGED
        assert solution.is_singular
        assert solution.theta[0] == 0.0
        fixed = fixed_minimum(rows, prior=None, tolerance=1e-12, max_steps=50)
        assert solution.deviance == pytest.approx(fixed.state.deviance, abs=1e-8)
        # the held variance has no standard error, the coefficients have that of the regression
        assert solution.working_vcov[0, 0] == 0.0
        regression = 2.0 * np.linalg.inv(fixed.derivatives.information)
        np.testing.assert_allclose(solution.working_vcov[1:, 1:], regression, rtol=1e-4, atol=1e-8)

    def test_zero_is_left_where_variance_helps(self) -> None:
        _, rows = rows_of("y ~ x + (x | g)", simulated(3, slope_sd=1.0), "binomial")
        criterion = criterion_of(rows)
        solution = solve_criterion(criterion, quadrature="laplace")
        start = solution.parameters.copy()
        start[:3] = 0.0
        again = solve_criterion(criterion, quadrature="laplace", search=Search(start=start))
        assert again.deviance == pytest.approx(solution.deviance, abs=1e-8)
        assert not again.is_singular

    def test_a_perfect_correlation_is_a_minimum(self) -> None:
        rng = np.random.default_rng(8)
        group = np.repeat(np.arange(40), 10)
        x, u = rng.normal(size=400), rng.normal(size=40)[group]
        data = pd.DataFrame({"g": group, "x": x, "count": rng.poisson(np.exp(0.3 * x + 0.7 * u * (1.0 + 0.6 * x)))})
        _, rows = rows_of("count ~ x + (x | g)", data, "poisson")
        solution = solve_generalized(rows, quadrature="laplace")
        assert solution.status is Status.CONVERGED
        slopes = solution.criterion.psi_scores(solution.state)[0]
        # S is positive semi-definite on the null space of Psi, and zero elsewhere
        factor = solution.state.factors[0]
        left, sizes, _ = np.linalg.svd(factor)
        inside, outside = left[:, sizes > 1e-6], left[:, sizes <= 1e-6]
        np.testing.assert_allclose(inside.T @ slopes @ inside, 0.0, atol=1e-3)
        assert np.all(np.linalg.eigvalsh(outside.T @ slopes @ outside) >= -1e-6)

    def test_several_factors_of_which_one_has_no_variance(self) -> None:
        data = simulated(31, clusters=40)
        data["h"] = np.tile(np.arange(8), 40)
        _, rows = rows_of("y ~ x + (1 | g) + (1 | h)", data, "binomial")
        solution = solve_generalized(rows, quadrature="laplace")
        assert solution.status is Status.CONVERGED
        alone = solve_generalized(rows_of("y ~ x + (1 | g)", data, "binomial")[1], quadrature="laplace")
        assert solution.deviance <= alone.deviance + 1e-8


class TestQuadrature:
    def test_auto_is_stable_and_says_how_far_laplace_is(self) -> None:
        _, rows = rows_of("y ~ x + (1 | g)", simulated(2, clusters=40, size=4, sd=1.5), "binomial")
        chosen = solve_generalized(rows)
        many = solve_generalized(rows, quadrature=45)
        assert chosen.quadrature.kind == "adaptive"
        assert chosen.quadrature.chosen
        assert chosen.quadrature.stable
        assert chosen.deviance == pytest.approx(many.deviance, abs=4e-4)
        assert chosen.quadrature.difference == pytest.approx(
            0.5 * (chosen.deviance - chosen.quadrature.laplace_deviance), abs=1e-12
        )
        spread = np.sqrt(np.diag(many.vcov))
        np.testing.assert_allclose((chosen.beta - many.beta) / spread, 0.0, atol=2e-3)
        laplace = solve_generalized(rows, quadrature="laplace")
        assert chosen.quadrature.laplace_shift > 0.01
        assert laplace.quadrature.kind == "laplace"

    def test_nodes_are_enough_with_more_of_them(self) -> None:
        _, rows = rows_of("y ~ x + (1 | g)", simulated(2, sd=2.0), "binomial")
        criterion = criterion_of(rows)
        at = solve_criterion(criterion, quadrature="laplace")
        nodes, change, deviances = stable_nodes(criterion, at.parameters, at.state)
        exact = criterion.with_nodes(101).value(at.parameters).deviance
        assert change < 1e-4
        assert deviances[nodes] == pytest.approx(exact, abs=2e-4)

    def test_refusals_say_what_is_possible(self) -> None:
        _, rows = rows_of("y ~ x + (1 | g) + (1 | h)", simulated(2), "binomial")
        with pytest.raises(DesignError, match="2 grouping factors"):
            solve_generalized(rows, quadrature=5)
        with pytest.raises(CrosslevelError, match="number of nodes per random effect"):
            solve_generalized(rows, quadrature="exact")  # type: ignore[arg-type]
        with pytest.raises(CrosslevelError, match="at least 1"):
            solve_generalized(rows, max_steps=0)
        assert solve_generalized(rows).quadrature.nodes == 1


class TestQuasiLikelihood:
    @pytest.mark.parametrize("kind", ["pql", "mql"])
    def test_the_working_model_reproduces_itself(self, kind: str) -> None:
        _, rows = rows_of("y ~ x + (1 | g)", simulated(6), "binomial")
        solution = solve_generalized(rows, quadrature=kind)  # type: ignore[arg-type]
        assert solution.status is Status.CONVERGED
        layout, parameters = solution.criterion.layout, solution.parameters
        fixed = rows.offset + rows.x @ parameters[layout.beta]
        eta = fixed
        for _ in range(200):  # the modes of the working model, from those of nothing
            working = working_rows(rows, eta)
            at = DenseLaplace(rows=working).value(parameters)
            if kind == "mql" or np.abs(at.eta - eta).max() < 1e-11:
                break
            eta = at.eta
        assert isinstance(working.family, GaussianWorking)
        spread = np.sqrt(np.diag(solution.working_vcov))
        np.testing.assert_allclose(DenseLaplace(rows=working).gradient(at) * spread, 0.0, atol=2e-5)

    def test_it_is_smaller_than_laplace_for_few_answers(self) -> None:
        _, rows = rows_of("y ~ x + (1 | g)", simulated(2, clusters=60, size=3, sd=1.5), "binomial")
        pql, mql, laplace = (solve_generalized(rows, quadrature=kind) for kind in ("pql", "mql", "laplace"))  # type: ignore[arg-type]
        assert mql.theta[0] < laplace.theta[0]
        assert pql.theta[0] < laplace.theta[0]
        assert pql.quadrature.kind == "pql"

    def test_shape_parameters_are_refused(self) -> None:
        _, rows = rows_of("count ~ x + (1 | g)", simulated(2), "nbinom2")
        with pytest.raises(DesignError, match="families without parameters beside the mean"):
            solve_generalized(rows, quadrature="pql")


def test_some_directions_can_be_held() -> None:
    _, rows = rows_of("y ~ x + (1 | g)", simulated(6), "binomial")
    criterion = criterion_of(rows)
    free = solve_criterion(criterion, quadrature="laplace")
    start = free.parameters.copy()
    start[-1] += 0.3
    held = solve_criterion(
        criterion, quadrature="laplace", search=Search(start=start, directions=np.eye(len(start))[:, :-1])
    )
    assert held.status is Status.CONVERGED
    assert held.parameters[-1] == start[-1]
    assert held.deviance > free.deviance
    np.testing.assert_allclose(criterion.gradient(held.state)[:-1], 0.0, atol=1e-3)
    assert held.working_vcov[-1, -1] == pytest.approx(0.0, abs=1e-20)


def test_without_standard_errors_the_minimum_is_the_same() -> None:
    _, rows = rows_of("y ~ x + (x | g)", simulated(6, slope_sd=0.6), "binomial")
    criterion = criterion_of(rows)
    one = solve_criterion(criterion, quadrature="laplace")
    two = solve_criterion(criterion, quadrature="laplace", search=Search(uncertainty=False))
    assert two.deviance == pytest.approx(one.deviance, abs=1e-8)
    assert np.isnan(two.vcov).all()
    assert two.minimum.evaluations < one.minimum.evaluations


def test_models_without_random_effects_are_ordinary_regressions() -> None:
    _, rows = rows_of("count ~ x + z + (1 | g)", simulated(6), "poisson")
    solution = solve_generalized(replace(rows, terms=(), start=None))
    dense = np.column_stack([rows.x])
    mu = np.exp(dense @ solution.parameters)
    np.testing.assert_allclose(dense.T @ (rows.y - mu), 0.0, atol=1e-4)
    np.testing.assert_allclose(
        solution.working_vcov, np.linalg.inv((dense * mu[:, None]).T @ dense), rtol=1e-4, atol=1e-7
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Walled(OneFactorLikelihood):
    """A likelihood that is zero where the intercept is above a wall."""

    wall: float

    def value(self, parameters: FloatArray, near: OneFactorState | None = None) -> OneFactorState:
        state = super().value(parameters, near)
        return replace(state, deviance=np.inf) if parameters[1] > self.wall else state

    def gradients(self, parameters: FloatArray, near: OneFactorState) -> FloatArray:
        return gradients_in_turn(self, parameters, near)


@pytest.mark.parametrize("walled", [False, True])
def test_differences_at_a_point_with_a_wall_beside_it(walled: bool) -> None:
    _, rows = rows_of("y ~ x + (1 | g)", simulated(6), "binomial")
    solution = solve_generalized(rows, quadrature="laplace")
    wall = float(solution.parameters[1]) + (1e-9 if walled else 1.0)
    objective = Objective(criterion=Walled(rows=rows, wall=wall))
    point = objective.at(solution.parameters, solution.state)
    progress = Progress()
    hessian = difference_hessian(
        objective, point, objective.gradient(point), sizes(objective.information(point)), progress
    )
    assert progress.evaluations == (5 if walled else 3)
    np.testing.assert_allclose(hessian, solution.hessian, rtol=2e-3, atol=2e-3 * np.abs(hessian).max())
