"""Residual structures by themselves: roots against dense R, derivatives against differences, refusals in words."""

import numpy as np
import pytest
import residual_dense as twin

from crosslevel import residual as rs
from crosslevel.errors import DesignError
from crosslevel.residual.structures import RESIDUALS

UNITS, OCCASIONS = 9, 4


def small_data(seed: int = 1) -> dict[str, np.ndarray]:
    """Units of 1 to 4 occasions in mixed order, the first two complete, with strata, times with gaps, a covariate."""
    rng = np.random.default_rng(seed)
    unit, time = np.divmod(np.arange(UNITS * OCCASIONS), OCCASIONS)
    keep = (unit < 2) | (rng.random(len(unit)) < 0.7) | (time == 0)
    unit, time = unit[keep], time[keep]
    order = rng.permutation(len(unit))
    unit, time = unit[order].astype(np.int32), time[order].astype(np.int32)
    moment = np.cumsum(rng.uniform(0.2, 2.0, (UNITS, OCCASIONS)), axis=1)[unit, time]
    return {
        "unit": unit,
        "time": time,
        "moment": moment,
        "size": rng.uniform(-3.0, 3.0, len(unit)),
        "se": rng.uniform(0.5, 3.0, len(unit)),
        "stratum": rng.permutation(np.arange(len(unit)) % 3).astype(np.int32),
    }


def bind(structure: rs.ResidualStructure, data: dict[str, np.ndarray]):
    numbers = {name: data[name].astype(float) for name in structure.numbers}
    factors = {
        name: rs.Levels(codes=data[name], levels=tuple(range(int(data[name].max()) + 1))) for name in structure.factors
    }
    return structure.bind(numbers, factors, len(data["unit"]))


def dense_r(name: str, data: dict[str, np.ndarray], natural: dict[str, float]) -> np.ndarray:
    """R from the natural parameters, relative to sigma = 1, in the order of the data."""
    unit, eye = data["unit"], np.eye(len(data["unit"]))
    strata = np.array([natural.get(f"sigma[{s}]", 1.0) for s in range(OCCASIONS)])
    if name in ("By", "AR1", "CAR1", "CompoundSymmetry"):
        sd = strata[data["stratum"]]
    if name == "By":
        return twin.scaled(eye, sd)
    if name == "Power":
        size = np.abs(data["size"])
        return twin.scaled(eye, (size / np.exp(np.log(size).mean())) ** natural["power"])
    if name == "Known":
        return twin.scaled(eye, data["se"])
    if name == "AR1":
        return twin.scaled(twin.ar1(data["time"], unit, natural["rho"]), sd)
    if name == "CAR1":
        return twin.scaled(twin.ar1(data["moment"], unit, natural["rho"]), sd)
    if name == "CompoundSymmetry":
        return twin.scaled(twin.equal(unit, natural["rho"]), sd)
    matrix = np.eye(OCCASIONS)
    for i in range(OCCASIONS):
        for j in range(i):
            matrix[i, j] = matrix[j, i] = natural[f"rho[{j}, {i}]"]
    return twin.scaled(twin.free(data["time"], unit, matrix), strata[data["time"]])


STRUCTURES = [
    rs.By("stratum"),
    rs.Power("size"),
    rs.AR1("time", within="unit"),
    rs.AR1("time", within="unit", by="stratum"),
    rs.CAR1("moment", within="unit"),
    rs.CAR1("moment", within="unit", by="stratum"),
    rs.CompoundSymmetry(within="unit"),
    rs.CompoundSymmetry(within="unit", by="stratum"),
    rs.Unstructured("time", within="unit"),
    rs.Known("se"),
]


def test_every_registered_structure_is_tested():
    assert {type(structure) for structure in STRUCTURES} == set(RESIDUALS.values())


@pytest.fixture(params=STRUCTURES, ids=repr)
def case(request):
    data = small_data()
    bound = bind(request.param, data)
    phi = np.random.default_rng(4).uniform(-0.6, 0.6, bound.n_phi)
    natural = {part.name: part.estimate for part in bound.natural(phi, 0.0)}
    R = dense_r(type(request.param).__name__, data, natural)[np.ix_(bound.order, bound.order)]
    return bound, phi, R


def test_whitened_rows_have_the_inverse_of_dense_r_as_product(case):
    bound, phi, R = case
    root = bound.at(phi)
    white = root.whiten(np.eye(len(R)))  # rows are B^-1 e_i: the transpose of B^-1
    np.testing.assert_allclose(white @ white.T @ R.astype(float), np.eye(len(R)), atol=1e-11)
    sign, log_det = np.linalg.slogdet(R.astype(float))
    assert sign == 1.0
    assert root.log_det == pytest.approx(log_det, rel=1e-11, abs=1e-11)


def test_colour_undoes_whiten_and_adjoints_are_transposes(case):
    bound, phi, R = case
    correlation = bound.at(phi).correlation
    eye = np.eye(len(R))
    lower, inverse = correlation.colour(eye).T, correlation.whiten(eye).T
    np.testing.assert_allclose(lower @ inverse, eye, atol=1e-12)
    np.testing.assert_allclose(correlation.colour_adjoint(eye).T, lower.T, atol=1e-12)
    np.testing.assert_allclose(correlation.whiten_adjoint(eye).T, inverse.T, atol=1e-12)


def test_derivatives_of_whitened_rows_and_of_the_determinant_are_those_of_differences(case):
    bound, phi, R = case
    rows = np.random.default_rng(5).normal(size=(3, len(R)))
    root = bound.at(phi)
    white = root.whiten(rows)
    if bound.n_phi:
        numeric = twin.jacobian(lambda at: bound.at(at).whiten(rows), phi)
        ours = np.array([root.derivative(a, white) for a in range(bound.n_phi)])
        np.testing.assert_allclose(ours, numeric, rtol=1e-7, atol=1e-9)
        slope = twin.jacobian(lambda at: np.array(bound.at(at).log_det), phi)
        np.testing.assert_allclose(root.log_det_gradient, slope, rtol=1e-8, atol=1e-9)
    assert len(root.log_det_gradient) == bound.n_phi


def test_information_is_that_of_dense_r(case):
    bound, phi, R = case
    if not bound.n_phi:
        return

    def covariance(at: np.ndarray) -> np.ndarray:
        white = bound.at(at).whiten(np.eye(len(R)))
        return np.linalg.inv(white @ white.T)

    relative = np.linalg.solve(covariance(phi), twin.jacobian(covariance, phi))
    k = bound.variance.n_phi
    expected = np.einsum("aij,aji->a", relative, relative)
    root = bound.at(phi)
    np.testing.assert_allclose(root.correlation.information, expected[k:], rtol=1e-7)
    if bound.n_phi == k:  # beside correlations, variances are told of by more than their own share
        profiled = expected - np.einsum("aii->a", relative) ** 2 / len(R)
        np.testing.assert_allclose(root.information, profiled, rtol=1e-7)


def test_adjoint_derivatives_are_transposes(case):
    bound, phi, R = case
    root, eye = bound.at(phi), np.eye(len(R))
    for a in range(bound.n_phi):
        np.testing.assert_allclose(root.derivative_adjoint(a, eye), root.derivative(a, eye).T, atol=1e-12)


def test_natural_parameters_have_the_jacobians_of_differences(case):
    bound, phi, _ = case
    at = np.append(phi, 0.3)
    parts = bound.natural(phi, 0.3)
    if parts:
        numeric = twin.jacobian(lambda v: np.array([part.value for part in bound.natural(v[:-1], v[-1])]), at)
        np.testing.assert_allclose(np.array([part.jacobian for part in parts]), numeric.T, rtol=1e-7, atol=1e-9)
    for part in parts:
        error, low, high = part.interval(0.01, 1.96)
        assert low < part.estimate < high
        assert error == pytest.approx((high - low) / 3.92, rel=0.1)


def test_starts_are_positive_definite(case):
    bound, _, _ = case
    for start in bound.starts():
        assert np.isfinite(bound.at(start).log_det)
        assert len(start) == bound.n_phi


def test_autoregression_with_zero_and_negative_correlation_is_exact():
    data = small_data()
    bound = bind(rs.AR1("time", within="unit"), data)
    for rho in (0.0, -0.7, 0.999):
        R = twin.ar1(data["time"], data["unit"], rho)[np.ix_(bound.order, bound.order)].astype(float)
        root = bound.at(np.arctanh([rho]))
        white = root.whiten(np.eye(len(R)))
        np.testing.assert_allclose(white @ white.T @ R, np.eye(len(R)), atol=1e-9)


def test_common_divisor_of_the_times_is_one_step():
    data = small_data()
    same = bind(rs.AR1("time", within="unit"), data)
    wide = bind(rs.AR1("time", within="unit"), {**data, "time": 2 * data["time"] + 8})
    np.testing.assert_array_equal(same.correlation.lag, wide.correlation.lag)
    assert "one step being 2 of time" in wide.words


def test_unbalanced_compound_symmetry_may_be_negative():
    bound = bind(rs.CompoundSymmetry(within="unit"), small_data())
    low = bound.natural(np.array([-30.0]), 0.0)[0].estimate
    assert low == pytest.approx(-1.0 / (OCCASIONS - 1.0), abs=1e-9)
    assert bound.natural(bound.starts()[0], 0.0)[0].estimate == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("structure", "change", "message"),
    [
        (rs.AR1("time", within="unit"), {"time": 0}, "different values of 'time' within each unit"),
        (rs.AR1("moment", within="unit"), {}, "whole-numbered times.*CAR1"),
        (rs.AR1("time", within="row"), {}, "each of its units has one row"),
        (rs.CAR1("time", within="unit"), {"time": 1}, "two rows with the same"),
        (rs.CompoundSymmetry(within="row"), {}, "each of its units has one row"),
        (rs.Unstructured("time", within="unit"), {"time": 0}, "two rows with the same"),
        (rs.Unstructured("row", within="unit"), {}, "but no unit has both"),
        (rs.By("one"), {}, "which has one value in the rows used"),
        (rs.By("row"), {}, "stratum 0 has one row"),
        (rs.Power("size"), {"size": 0.0}, "which is zero in"),
        (rs.Power("size"), {"size": 2.0}, "whose size is the same in all rows"),
        (rs.Known("se"), {"se": 0.0}, "not positive"),
        (rs.Known("se"), {"se": -1.0}, "not positive"),
    ],
)
def test_what_a_structure_cannot_have_is_refused_in_words(structure, change, message):
    data = small_data()
    n = len(data["unit"])
    data |= {"row": np.arange(n, dtype=np.int32), "one": np.zeros(n, dtype=np.int32)}
    data |= {name: np.full(n, value, dtype=data[name].dtype) for name, value in change.items()}
    with pytest.raises(DesignError, match=message):
        bind(structure, data)
