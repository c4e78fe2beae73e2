"""Averages of predictions and effects over random effects: derivatives by differences, rows by brute force."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from crosslevel.inference.generalized.predictive import Predictive, category_answer, mean_answer
from crosslevel.inference.generalized.tangents import Effect, Places, tangent

RNG = np.random.default_rng(5)
P, L, COLUMNS = 3, 6, 4


def estimates_at(parameters: np.ndarray, family, m: int) -> Predictive:
    """Two factors: a free covariance of two effects by its Cholesky factor, and one variance by its root."""
    theta, beta, shape = parameters[:4], parameters[4:7], parameters[7:]
    root = np.array([[theta[0], 0.0], [theta[1], theta[2]]])
    slopes = []
    for place in ((0, 0), (1, 0), (1, 1)):
        unit = np.zeros((2, 2))
        unit[place] = 1.0
        slopes.append(unit @ root.T + root @ unit.T)
    first = np.concatenate([slopes, np.zeros((1, 2, 2))])
    second = np.concatenate([np.zeros((3, 1, 1)), [[[2.0 * theta[3]]]]])
    return Predictive(
        family=family, beta=beta, shape=shape, psi=(root @ root.T, np.array([[theta[3] ** 2]])),
        psi_slopes=(first, second), vcov=np.eye(7 + m),
    )  # fmt: skip


PARAMETERS = np.array([0.9, -0.4, 0.5, 0.7, -0.3, 0.8, 0.4, 0.9, 2.1])
COLUMN_VALUES = np.concatenate([np.ones((P, 1, L)), RNG.normal(size=(P, COLUMNS - 1, L))], axis=1)
SLOPE_VALUES = np.concatenate([np.zeros((P, 1, L)), RNG.normal(size=(P, COLUMNS - 1, L))], axis=1)
SHARES = RNG.uniform(0.4, 1.0, L)
LINK = {name: SimpleNamespace(link=name) for name in ("logit", "probit", "cloglog", "log")}
ANSWERS = {
    "logit": (LINK["logit"], 0, mean_answer),
    "probit": (LINK["probit"], 0, mean_answer),
    "cloglog": (LINK["cloglog"], 0, mean_answer),
    "log": (LINK["log"], 0, mean_answer),
    "first": (LINK["logit"], 2, lambda found: category_answer(found, 0)),
    "middle": (LINK["logit"], 2, lambda found: category_answer(found, 1)),
    "last": (LINK["probit"], 2, lambda found: category_answer(found, 3)),
}


def effects(given: np.ndarray | None) -> list[Effect]:
    return [Effect(z=np.array([0, 2]), given=given), Effect(z=np.array([0]), share=SHARES)]


def places(*, moving: bool) -> Places:
    return Places(
        x=np.array([0, 1, 3]), columns=COLUMN_VALUES, slopes=SLOPE_VALUES if moving else None,
        offset=np.linspace(-0.5, 0.5, L), weights=np.linspace(0.5, 1.5, L) / L,
    )  # fmt: skip


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("given", [None, np.array([0.6, -0.2])])
@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_derivatives_in_all_parameters(name: str, given, moving: bool) -> None:
    family, m, answer = ANSWERS[name]
    parameters, step = PARAMETERS[: 7 + m], 1e-5

    def at(shift: np.ndarray, moved=given):
        found = estimates_at(parameters + shift, family, m)
        return tangent(found, answer(found), effects(moved), places(moving=moving))

    exact = at(np.zeros(7 + m))
    units = step * np.eye(7 + m)
    differences = np.array([(at(unit).value - at(-unit).value) / (2.0 * step) for unit in units]).T
    np.testing.assert_allclose(exact.gradient, differences, rtol=1e-6, atol=1e-9)
    if given is not None:
        units = step * np.eye(2)
        moves = [(at(np.zeros(7 + m), given + unit).value - at(np.zeros(7 + m), given - unit).value) for unit in units]
        np.testing.assert_allclose(exact.by_given[0], np.array(moves).T / (2.0 * step), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(exact.by_given[1], 0.0)


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_slopes_are_derivatives_of_predictions(name: str) -> None:
    """Also through the variance, which a random slope of what moves makes depend on it."""
    family, m, answer = ANSWERS[name]
    found, step = estimates_at(PARAMETERS[: 7 + m], family, m), 1e-5
    here = places(moving=True)

    def value(shift: float) -> np.ndarray:
        there = replace(here, columns=COLUMN_VALUES + shift * SLOPE_VALUES, slopes=None)
        return tangent(found, answer(found), effects(None), there).value

    slopes = tangent(found, answer(found), effects(None), here).value
    np.testing.assert_allclose(slopes, (value(step) - value(-step)) / (2.0 * step), rtol=1e-7, atol=1e-9)


def test_probabilities_of_categories_sum_to_one_and_effects_to_zero() -> None:
    found = estimates_at(PARAMETERS, LINK["logit"], 2)
    for moving, total in ((False, places(moving=False).weights.sum()), (True, 0.0)):
        parts = [tangent(found, category_answer(found, j), effects(None), places(moving=moving)) for j in range(4)]
        np.testing.assert_allclose(sum(part.value for part in parts), total, atol=1e-14)
        np.testing.assert_allclose(sum(part.gradient for part in parts), 0.0, atol=1e-14)


@pytest.mark.parametrize("name", ["logit", "middle"])
def test_averages_are_those_of_drawn_random_effects(name: str) -> None:
    """Brute force: a grid over all three random effects, row by row."""
    family, m, answer = ANSWERS[name]
    found = estimates_at(PARAMETERS[: 7 + m], family, m)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    u = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij")).reshape(3, -1)
    chance = np.einsum("i,j,k->ijk", weights, weights, weights).ravel()
    root, sd = np.linalg.cholesky(found.psi[0]), np.sqrt(found.psi[1][0, 0])
    here, brute = places(moving=False), np.zeros(P)
    for p in range(P):
        for i in range(L):
            columns = COLUMN_VALUES[p, :, i]
            eta = found.beta @ columns[[0, 1, 3]] + here.offset[i]
            eta = eta + columns[[0, 2]] @ root @ u[:2] + np.sqrt(SHARES[i]) * sd * u[2]
            own = answer(found)
            value = own.constant + own.averages(eta, np.zeros_like(eta), 1)[:, 0].sum(axis=0)
            brute[p] += here.weights[i] * float(chance @ value)
    np.testing.assert_allclose(tangent(found, answer(found), effects(None), here).value, brute, rtol=1e-8)
