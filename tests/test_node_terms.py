"""Log densities at quadrature nodes, in their moving and their fixed part, against the functions of one answer."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from crosslevel.kernels import responses
from crosslevel.kernels.node_terms import add_by_shape, add_fixed, moving_terms, read_answers
from crosslevel.kernels.responses import by_shape, density

COUNTS = np.array([0.0, 1.0, 2.0, 3.0, 7.0, 30.0, 64.0, 65.0, 400.0])
SHARES = np.array([1e-9, 0.02, 0.4, 0.5, 0.9, 1.0 - 1e-7])
ANSWERS = {
    responses.NEGATIVE_BINOMIAL_2: (COUNTS, np.ones(9)),
    responses.NEGATIVE_BINOMIAL_1: (COUNTS, np.ones(9)),
    responses.GAMMA: (np.array([1e-8, 0.01, 0.7, 1.0, 30.0, 1e6]), np.array([1.0, 0.5, 2.0, 7.0, 30.0, 1.0])),
    responses.BETA: (SHARES, np.ones(6)),
    responses.BETA_BINOMIAL: (np.array([0.0, 1.0, 4.0, 10.0, 0.0, 90.0]), np.array([1.0, 1.0, 9.0, 10.0, 30.0, 200.0])),
}
ORDERED = (responses.CUMULATIVE_LOGIT, responses.CUMULATIVE_PROBIT)
ETA = np.array([-30.0, -8.0, -3.1, -1.0, -0.2, 0.0, 0.4, 2.0, 5.0, 12.0])

CASES = [(code, np.array([s])) for code in ANSWERS for s in (1e-3, 0.2, 1.0, 2.3, 11.9, 12.1, 300.0, 1e7)]
CASES += [(code, thresholds) for code in ORDERED for thresholds in (np.array([1.3]), np.array([0.1, 2.0, 2.01]))]


def both_parts(code: int, shape: np.ndarray, y: float, size: float, weight: float, eta: np.ndarray) -> tuple:
    """Weighted l, l' and dl/dshape (m, L) of one answer, from both parts."""
    n, m = len(eta), len(shape)
    ones = np.ones(n)
    fixed_change, read_y, read_size = np.zeros(m), np.empty(n), np.empty(n)
    fixed = add_fixed(code, shape, y * ones, size * ones, weight * ones, 3, 4, fixed_change)
    read_answers(code, y * ones, size * ones, 0, 2, n // 2, read_y, read_size)
    value, first, upper, lower = (np.full(n, np.nan) for _ in range(4))
    moving_terms(code, shape, read_y, read_size, weight * ones, eta, value, first, upper, lower)
    changes = np.empty((m, n))
    for i in range(n):
        one = np.zeros(m)
        add_by_shape(code, np.array([y]), upper[i : i + 1], lower[i : i + 1], 1.0, one)
        changes[:, i] = one + fixed_change
    return value + fixed, first, changes


@pytest.mark.parametrize(("code", "shape"), CASES)
def test_both_parts_are_the_log_density(code: int, shape: np.ndarray) -> None:
    y, size = ANSWERS[code] if code in ANSWERS else (np.arange(len(shape) + 2.0), np.ones(len(shape) + 2))
    weight = 0.7
    for one, trials in zip(y, size, strict=True):
        value, first, changes = both_parts(code, shape, float(one), float(trials), weight, ETA)
        expected = np.array([density(code, one, trials, eta, shape) for eta in ETA])
        scale = 1.0 + one * (1.0 if code != responses.GAMMA else 0.0)  # what cancels between the two parts
        tolerance = 2e-14 * scale * (1.0 + abs(np.log(shape[0]))) * (shape[0] if code == responses.GAMMA else 1.0)
        assert_allclose(value, weight * expected[:, 0], rtol=1e-12, atol=tolerance)
        assert_allclose(first, weight * expected[:, 1], rtol=1e-12, atol=tolerance)
        out = np.zeros((3, len(shape)))
        for i, eta in enumerate(ETA):
            by_shape(code, one, trials, eta, shape, out)
            assert_allclose(changes[:, i], weight * out[0], rtol=1e-10, atol=tolerance / min(shape[0], 1.0))


@pytest.mark.parametrize(("code", "shape"), CASES)
def test_far_predictors_leave_everything_finite(code: int, shape: np.ndarray) -> None:
    y, size = ANSWERS[code] if code in ANSWERS else (np.arange(len(shape) + 2.0), np.ones(len(shape) + 2))
    for one, trials in zip(y, size, strict=True):
        for part in both_parts(code, shape, float(one), float(trials), 1.0, np.array([-900.0, -710.0, 710.0, 900.0])):
            assert np.isfinite(part).all()
