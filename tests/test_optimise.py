"""The minimiser on functions of which everything is known."""

from dataclasses import dataclass

import numpy as np
import pytest

from crosslevel.optimise import Derivatives, Status, minimise


@dataclass(frozen=True)
class Function:
    """A function with its derivatives; the state is the value."""

    of: object
    gradient: object
    hessian: object

    def value(self, theta):
        return float(self.of(theta))

    def derivatives(self, at, theta):
        hessian = np.array(self.hessian(theta), dtype=float)
        values, vectors = np.linalg.eigh(hessian)
        steep = (vectors * np.maximum(np.abs(values), 1e-3)) @ vectors.T
        return Derivatives(gradient=np.array(self.gradient(theta)), hessian=hessian, expected=lambda: steep)


QUADRATIC = Function(
    lambda t: (t[0] - 1.0) ** 2 + 10.0 * (t[1] + 2.0) ** 2,
    lambda t: [2.0 * (t[0] - 1.0), 20.0 * (t[1] + 2.0)],
    lambda t: [[2.0, 0.0], [0.0, 20.0]],
)
ROSENBROCK = Function(
    lambda t: 100.0 * (t[1] - t[0] ** 2) ** 2 + (1.0 - t[0]) ** 2,
    lambda t: [-400.0 * t[0] * (t[1] - t[0] ** 2) - 2.0 * (1.0 - t[0]), 200.0 * (t[1] - t[0] ** 2)],
    lambda t: [[1200.0 * t[0] ** 2 - 400.0 * t[1] + 2.0, -400.0 * t[0]], [-400.0 * t[0], 200.0]],
)
BARRIER = Function(  # infinite below zero; minimum at 1
    lambda t: t[0] - np.log(t[0]) if t[0] > 0.0 else np.inf,
    lambda t: [1.0 - 1.0 / t[0]],
    lambda t: [[1.0 / t[0] ** 2]],
)
DOUBLE_WELL = Function(  # a maximum at 0 between minima at -1 and 1
    lambda t: 0.25 * t[0] ** 4 - 0.5 * t[0] ** 2, lambda t: [t[0] ** 3 - t[0]], lambda t: [[3.0 * t[0] ** 2 - 1.0]]
)
UPHILL = Function(QUADRATIC.of, lambda t: [-g for g in QUADRATIC.gradient(t)], QUADRATIC.hessian)


def stay(theta, at):
    return None


def search(function, start, **options):
    options = {"escape": stay, **options}
    return minimise(function, np.array(start, dtype=float), deviance=lambda at: at, **options)


def test_a_quadratic_takes_one_step():
    end = search(QUADRATIC, [7.0, 7.0])
    assert end.status is Status.CONVERGED
    assert (end.steps, end.evaluations) == (1, 2)
    assert end.theta == pytest.approx([1.0, -2.0], abs=1e-14)
    assert end.decrement <= 1e-10


@pytest.mark.parametrize("start", [[-1.2, 1.0], [5.0, -5.0], [0.0, 20.0], [-30.0, 900.0]])
def test_a_curved_valley(start):
    end = search(ROSENBROCK, start)
    assert end.status is Status.CONVERGED
    assert end.theta == pytest.approx([1.0, 1.0], abs=1e-5)
    assert end.evaluations < 250


@pytest.mark.parametrize("start", [1e-8, 0.5, 30.0])
def test_steps_into_the_infinite_are_taken_back(start):
    end = search(BARRIER, [start])
    assert end.status is Status.CONVERGED
    assert end.theta[0] == pytest.approx(1.0, abs=1e-4)


def test_a_saddle_is_left_if_a_lower_point_is_known():
    assert search(DOUBLE_WELL, [0.0]).state == 0.0

    def escape(theta, at):
        return (np.array([0.3]), DOUBLE_WELL.value(np.array([0.3]))) if theta[0] == 0.0 else None

    end = search(DOUBLE_WELL, [0.0], escape=escape)
    assert end.status is Status.CONVERGED
    assert end.theta[0] == pytest.approx(1.0, abs=1e-5)


def test_a_gradient_that_points_nowhere_is_admitted():
    end = search(UPHILL, [7.0, 7.0])
    assert end.status is Status.STALLED
    assert end.state == QUADRATIC.value([7.0, 7.0])


def test_too_few_steps_are_admitted():
    end = search(ROSENBROCK, [-1.2, 1.0], max_steps=3)
    assert end.status is Status.MAX_STEPS
    assert end.evaluations <= 8
    assert end.state < ROSENBROCK.value([-1.2, 1.0])


def test_no_step_goes_up():
    seen = []
    watched = Function(lambda t: seen.append(ROSENBROCK.of(t)) or seen[-1], ROSENBROCK.gradient, ROSENBROCK.hessian)
    end = search(watched, [-1.2, 1.0])
    assert end.state == min(seen)


def test_an_infinite_start_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="finite at the start"):
        search(BARRIER, [-1.0])


def test_statuses_are_sentences():
    for status in Status:
        assert status.value.endswith(".")
        assert status.value.startswith("Converged" if status is Status.CONVERGED else "Not converged")
    assert "Raise `max_steps`" in Status.MAX_STEPS.value
    assert "Rescale the predictors" in Status.STALLED.value
