"""The Laplace approximation with several grouping factors against a dense twin, differences and reference fits."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dense_several import DESIGNS, OBJECTS, at_parameters, at_psis, differences, free, model, repeated
from reference_cases import load_case

import crosslevel as cl
from crosslevel.design import build_design
from crosslevel.design.outcome import AskedOutcome
from crosslevel.design.response_rows import response_rows
from crosslevel.families import Binomial, Ordinal, Poisson
from crosslevel.families.base import Family
from crosslevel.kernels import elimination, several_factors
from crosslevel.likelihood.one_factor import OneFactorLikelihood
from crosslevel.likelihood.several_factors import SeveralFactorLaplace


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("family", OBJECTS.values(), ids=OBJECTS)
def test_deviance_modes_and_gradient(design: str, family: Family) -> None:
    rows, parameters = model(design, family)
    criterion = SeveralFactorLaplace.of(rows)
    at, twin = criterion.value(parameters), at_parameters(rows, parameters)
    u = twin.modes()
    assert at.deviance == pytest.approx(twin.deviance(), rel=1e-11)
    np.testing.assert_allclose(np.concatenate([part.ravel() for part in at.u]), u, atol=1e-9)
    np.testing.assert_allclose(at.eta, twin.fixed + twin.Z @ twin.Lambda @ u, atol=1e-9)

    covariance = twin.Lambda @ np.linalg.inv(twin.curvature(u)) @ twin.Lambda.T
    done = 0
    for some, blocks in zip(rows.terms, criterion.conditional_covariances(at), strict=True):
        for block in blocks:
            np.testing.assert_allclose(block, covariance[done : done + some.q, done : done + some.q], atol=1e-9)
            done += some.q
    numerical = differences(lambda moved: criterion.value(moved, at).deviance, parameters)
    np.testing.assert_allclose(criterion.gradient(at), numerical, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("design", ["nested and crossed", "memberships"])
def test_interpreted_kernels(design: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, parameters = model(design, Binomial(), n=40)
    criterion = SeveralFactorLaplace.of(rows)
    compiled = criterion.value(parameters)
    gradient, information = criterion.gradient(compiled), criterion.information(compiled)
    for module in (several_factors, elimination):
        for kernel in [some for some in vars(module).values() if hasattr(some, "py_func")]:
            monkeypatch.setattr(module, kernel.py_func.__name__, kernel.py_func)
    plain = criterion.value(parameters)
    assert plain.deviance == pytest.approx(compiled.deviance, rel=1e-13)
    np.testing.assert_allclose(criterion.gradient(plain), gradient, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(criterion.information(plain), information, rtol=1e-10, atol=1e-11)


def directional(twin, psis: tuple[np.ndarray, ...], k: int, direction: np.ndarray) -> float:
    """Derivative of the deviance along Psi_k + t D D' at t = 0, from t > 0 only, by differences of fourth order."""
    step = 2e-5
    values = []
    for m in range(5):
        moved = list(psis)
        moved[k] = psis[k] + m * step * direction @ direction.T
        values.append(at_psis(twin, tuple(moved)).deviance())
    weights = np.array([-25.0, 48.0, -36.0, 16.0, -3.0]) / 12.0
    return float(weights @ values / step)


@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.parametrize("design", ["crossed", "nested and crossed", "memberships"])
def test_derivatives_in_psi(design: str, *, singular: bool) -> None:
    rows, parameters = model(design, Poisson())
    if singular:
        rows = replace(rows, terms=tuple(replace(some, structure=free(some.q)) for some in rows.terms))
        rng = np.random.default_rng(5)
        factors = [0.5 * np.outer(rng.normal(size=some.q), np.ones(some.q)) for some in rows.terms]
        factors[0][:] = 0.0
        theta = np.concatenate([s.structure.nearest(f) for s, f in zip(rows.terms, factors, strict=True)])
        parameters = np.concatenate([theta, parameters[-3:]])
    criterion = SeveralFactorLaplace.of(rows)
    at, twin = criterion.value(parameters), at_parameters(rows, parameters)
    psis = tuple(factor @ factor.T for factor in at.factors)
    rng = np.random.default_rng(8)
    for k, score in enumerate(criterion.psi_scores(at)):
        np.testing.assert_allclose(score, score.T, atol=1e-12)
        for direction in (*np.eye(len(score)), rng.normal(size=len(score))):
            slope = directional(twin, psis, k, direction[:, None])
            assert direction @ score @ direction == pytest.approx(slope, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("design", DESIGNS)
def test_gradient_without_variance(design: str) -> None:
    """At theta = 0 the derivative in theta is zero, and beta's is that of a regression without random effects."""
    rows, parameters = model(design, Binomial())
    parameters[:-3] = 0.0
    criterion = SeveralFactorLaplace.of(rows)
    at = criterion.value(parameters)
    terms = rows.family.terms(rows.y, rows.size, rows.offset + rows.x @ parameters[-3:], np.zeros(0))
    assert at.deviance == pytest.approx(-2.0 * rows.weight @ terms.log_density, rel=1e-13)
    gradient = criterion.gradient(at)
    np.testing.assert_array_equal(gradient[:-3], 0.0)
    np.testing.assert_allclose(gradient[-3:], -2.0 * rows.x.T @ (rows.weight * terms.first), rtol=1e-12)


@pytest.mark.parametrize("design", DESIGNS)
def test_start_nearby_changes_nothing(design: str) -> None:
    rows, parameters = model(design, Poisson())
    criterion = SeveralFactorLaplace.of(rows)
    rng = np.random.default_rng(3)
    near = criterion.value(parameters)
    for size in (1e-6, 0.1, 3.0):
        moved = parameters + size * rng.normal(size=len(parameters))
        alone, led = criterion.value(moved), criterion.value(moved, near)
        assert led.deviance == pytest.approx(alone.deviance, rel=1e-12)
        np.testing.assert_allclose(criterion.gradient(led), criterion.gradient(alone), rtol=1e-8, atol=1e-7)


def test_start_from_a_state_without_modes() -> None:
    rows, parameters = model("crossed", Poisson())
    criterion = SeveralFactorLaplace.of(rows)
    lost = parameters.copy()
    lost[-3:] = 1e5
    near = criterion.value(lost)
    assert near.deviance == np.inf
    assert criterion.value(parameters, near).deviance == pytest.approx(criterion.value(parameters).deviance, rel=1e-13)


def test_extreme_predictors_are_finite() -> None:
    rows, parameters = model("crossed", Binomial())
    criterion = SeveralFactorLaplace.of(rows)
    for size in (30.0, 700.0):
        moved = parameters.copy()
        moved[-3:] *= size / 0.3
        at = criterion.value(moved)
        assert np.isfinite(at.deviance)
        assert np.all(np.isfinite(criterion.gradient(at)))


@pytest.mark.parametrize("name", ["equalto", "propto"])
def test_known_covariances(name: str) -> None:
    """A matrix in the units of the data, beside a crossed factor; with equalto nothing of it is estimated."""
    rng = np.random.default_rng(6)
    n, root = 80, rng.normal(size=(3, 3))
    known = root @ root.T / 3.0
    data = pd.DataFrame(
        {"y": rng.poisson(2.0, n), "x": rng.normal(5.0, 3.0, n), "a": rng.integers(0, 6, n), "b": rng.integers(0, 5, n)}
    )
    data["wave"] = pd.Categorical(rng.integers(0, 3, n))
    family = Poisson()
    design = build_design(
        f"y ~ x + {name}(0 + wave | a, V) + (1 | b)", data, known={"V": known}, outcome=AskedOutcome(family=family)
    )
    criterion = SeveralFactorLaplace.of(response_rows(design, family, design.outcome))
    theta = np.array([0.4] if name == "equalto" else [0.7, 0.4])
    at = criterion.value(np.concatenate([theta, [0.1, 0.2]]))
    back = np.linalg.inv(criterion.rows.bases[0])
    psi = back @ at.factors[0] @ at.factors[0].T @ back.T
    np.testing.assert_allclose(psi, known if name == "equalto" else psi[0, 0] / known[0, 0] * known, rtol=1e-12)
    twin = at_parameters(criterion.rows, at.parameters)
    assert at.deviance == pytest.approx(twin.deviance(), rel=1e-12)
    assert np.linalg.eigvalsh(criterion.information(at))[0] > 0.0
    numerical = differences(lambda moved: criterion.value(moved, at).deviance, at.parameters)
    np.testing.assert_allclose(criterion.gradient(at), numerical, rtol=1e-6, atol=1e-6)


def reference_point(name: str) -> tuple[SeveralFactorLaplace, np.ndarray]:
    """A reference model's criterion, and its parameters in ours."""
    case = load_case(name)
    expected = case.expected
    family = Poisson() if expected.get("family") == "poisson" else Binomial()
    family = Ordinal() if "thresholds" in expected else family
    design = build_design(case.formula, case.data, outcome=AskedOutcome(family=family))
    criterion = SeveralFactorLaplace.of(response_rows(design, family, design.outcome))
    names, bases = [factor.name for factor in design.factors], criterion.rows.bases
    deviations = [expected["varcorr"][name]["sd"][0] for name in names]
    theta = [deviation * basis[0, 0] for deviation, basis in zip(deviations, bases, strict=True)]
    fixed = {case.components(key): value for key, value in expected["fixef"].items()}
    thresholds = np.array(list(expected.get("thresholds", {}).values()))
    if len(thresholds):
        fixed[frozenset({"Intercept"})] = -thresholds[0]
    ours = np.array([fixed[frozenset(name.split(":"))] for name in design.fixed_names])
    beta = np.linalg.solve(criterion.rows.coordinates.beta_map, ours)
    shape = family.working_shape(thresholds[1:] - thresholds[0]) if len(thresholds) else np.zeros(0)
    return criterion, np.concatenate([theta, beta, shape])


@pytest.mark.parametrize(
    ("name", "entry", "digits"),
    [
        ("VerbAgg__crossed_laplace", "loglik_laplace_exact_at_fit", 1e-8),
        ("grouseticks__poisson_three_laplace", "loglik_laplace_exact_at_fit", 1e-8),
        ("grouseticks__poisson_three_tmb", "loglik", 1e-8),
        ("wine__clmm_logit_two_laplace", "loglik", 1e-7),
    ],
)
def test_log_likelihood_of_reference_fits(name: str, entry: str, digits: float) -> None:
    """At the reference's parameters; a row of grouseticks is a level of its own."""
    criterion, parameters = reference_point(name)
    at, expected = criterion.value(parameters), load_case(name).expected
    assert -0.5 * at.deviance == pytest.approx(expected[entry], abs=digits)
    size = np.sqrt(np.diag(criterion.information(at)))
    gradient = criterion.gradient(at) / np.where(size > 0.0, size, 1.0)
    assert np.abs(gradient).max() < 1e-3
    for mode, key in zip(criterion.modes(at), load_names(name), strict=True):
        reference = load_case(name).expected["ranef"].get(key)
        if reference and len(reference) == len(mode):
            theirs = np.sort([value["(Intercept)"] for value in reference.values()])
            np.testing.assert_allclose(np.sort(mode[:, 0]), theirs, atol=2e-4)


def load_names(name: str) -> list[str]:
    """Names of the grouping factors in the order of the formula."""
    return re.findall(r"\| (\w+)\)", load_case(name).expected["formula"])


@pytest.mark.parametrize("family", OBJECTS.values(), ids=OBJECTS)
def test_one_factor_is_the_engine_for_one(family: Family) -> None:
    rows, parameters = model("crossed", family)
    codes = rows.terms[0].codes
    order = np.argsort(codes, kind="stable")
    one = replace(
        repeated(rows, np.ones(rows.n, dtype=int)), y=rows.y[order], size=rows.size[order], weight=rows.weight[order],
        offset=rows.offset[order], x=rows.x[order], order=np.arange(rows.n),
        terms=(replace(rows.terms[0], codes=codes[order], z=rows.terms[0].z[order], weight=np.arange(1.0, 7.0)),),
        start=np.append(0, np.cumsum(np.bincount(codes))),
    )  # fmt: skip
    k = rows.terms[0].structure.n_theta
    parameters = np.concatenate([parameters[:k], parameters[k + rows.terms[1].structure.n_theta :]])
    several, single = SeveralFactorLaplace.of(one), OneFactorLikelihood(rows=one)
    mine, theirs = several.value(parameters), single.value(parameters)
    assert mine.deviance == pytest.approx(theirs.deviance, rel=1e-12)
    np.testing.assert_allclose(several.gradient(mine), single.gradient(theirs), rtol=1e-10, atol=1e-9)
    for get in (SeveralFactorLaplace.modes, SeveralFactorLaplace.conditional_covariances):
        np.testing.assert_allclose(get(several, mine)[0], getattr(single, get.__name__)(theirs)[0], atol=1e-10)
    np.testing.assert_allclose(several.psi_scores(mine)[0], single.psi_scores(theirs)[0], rtol=1e-8, atol=1e-8)
    scores = [engine.scores(at, one.terms[0].codes, 6) for engine, at in ((several, mine), (single, theirs))]
    np.testing.assert_allclose(*scores, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("beside", ["", " + (1 | b)"])
def test_fits_with_known_covariances(beside: str) -> None:
    """Nothing of the known matrix is estimated, with the engine for one factor and with that for several."""
    rng = np.random.default_rng(7)
    n = 200
    data = pd.DataFrame({"x": rng.normal(size=n), "a": rng.integers(0, 12, n), "b": rng.integers(0, 8, n)})
    data["wave"] = pd.Categorical(rng.integers(0, 2, n))
    known = np.array([[0.3, 0.1], [0.1, 0.2]])
    effects = rng.multivariate_normal(np.zeros(2), known, 12)
    eta = 0.5 + 0.3 * data["x"] + effects[data["a"], data["wave"].cat.codes] + 0.4 * rng.normal(size=8)[data["b"]]
    data["y"] = rng.poisson(np.exp(eta))
    fit = cl.mixed(f"y ~ x + equalto(0 + wave | a, V){beside}", data, family="poisson", known={"V": known})
    assert fit.converged
    np.testing.assert_allclose(fit.cov_re["a"], known, rtol=1e-12)
    assert len(fit.theta) == (1 if beside else 0)
