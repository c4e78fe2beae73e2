"""The Laplace approximation with several grouping factors against a dense twin, differences, and itself repeated."""

import re
from dataclasses import replace

import numpy as np
import pytest
from dense_several import at_parameters, at_psis, rows_of, term
from reference_cases import load_case

from crosslevel.design import build_design
from crosslevel.design.outcome import AskedOutcome
from crosslevel.design.response_rows import ResponseRows, response_rows
from crosslevel.errors import DesignError
from crosslevel.families import FAMILIES, Binomial, Ordinal, Poisson
from crosslevel.families.base import Family
from crosslevel.families.gaussian import GaussianWorking
from crosslevel.kernels import elimination, several_factors
from crosslevel.likelihood.one_factor import OneFactorLikelihood
from crosslevel.likelihood.several_factors import SeveralFactorLaplace

DESIGNS = ("crossed", "nested", "nested and crossed", "memberships", "one row each")

OTHERS = (Binomial(link="probit"), Binomial(link="cloglog"), Ordinal(link="probit"), GaussianWorking())
OBJECTS = {repr(one): one for one in (*(make() for make in FAMILIES.values()), *OTHERS)}
"""Every family and link once."""


def levels(rng: np.random.Generator, n: int, count: int) -> np.ndarray:
    return np.concatenate([np.arange(count), rng.integers(0, count, n - count)]).astype(np.int32)


def design_terms(rng: np.random.Generator, design: str, x: np.ndarray) -> list:
    """Grouping factors of a design, with slopes in some."""
    n, one = len(x), np.ones((len(x), 1))
    slope, three = x[:, :2], x[:, :3]
    first, second = levels(rng, n, 6), levels(rng, n, 5)
    if design == "crossed":
        return [term(first, slope, ("us", [0, 1])), term(second, slope, ("diag", [0, 1]))]
    if design == "nested":
        inner = (first * 3 + rng.integers(0, 3, n)).astype(np.int32)
        inner = np.unique(inner, return_inverse=True)[1].astype(np.int32)
        return [term(first, one, ("us", [0])), term(inner, slope, ("us", [0, 1]))]
    if design == "nested and crossed":
        inner = np.unique(first * 3 + rng.integers(0, 3, n), return_inverse=True)[1].astype(np.int32)
        return [
            term(second, three, ("cs", [0, 1, 2])), term(inner, one, ("us", [0])), term(first, slope, ("us", [0, 1])),
        ]  # fmt: skip
    if design == "memberships":
        other, third = levels(rng, n, 6)[::-1].copy(), rng.integers(-1, 6, n).astype(np.int32)
        shares = [np.full(n, 0.5), rng.uniform(0.1, 0.5, n), np.where(third >= 0, 0.2, 0.0)]
        return [term([first, other, third], slope, ("us", [0, 1]), shares=shares), term(second, one, ("us", [0]))]
    return [term(np.arange(n, dtype=np.int32), one, ("us", [0])), term(second, slope, ("us", [0, 1]))]


def model(design: str, family: Family, *, n: int = 45, seed: int = 1) -> tuple[ResponseRows, np.ndarray]:
    """Rows of a design, and parameters."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    terms = design_terms(rng, design, x)
    m = family.n_shape(5 if family.kind == "ordered" else None)
    working = rng.normal(size=m) * 0.3
    shape = family.shape(working) if m else np.zeros(0)
    theta = np.concatenate([0.6 * some.structure.nearest(np.eye(some.q)) for some in terms])
    theta = theta + 0.2 * rng.normal(size=len(theta))
    beta = np.array([0.3, -0.4, 0.2])
    eta = x @ beta + 0.7 * rng.normal(size=n)
    rows = rows_of(family, x, terms, eta=eta, shape=shape, seed=seed)
    return rows, np.concatenate([theta, beta, working])


def differences(value, parameters: np.ndarray, *, step: float = 2e-4) -> np.ndarray:
    """Gradient by differences of fourth order."""
    out = np.empty(len(parameters))
    for j in range(len(parameters)):
        move = np.zeros(len(parameters))
        move[j] = step
        ends = [value(parameters + m * move) for m in (-2.0, -1.0, 1.0, 2.0)]
        out[j] = (ends[0] - 8.0 * ends[1] + 8.0 * ends[2] - ends[3]) / (12.0 * step)
    return out


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


def free(q: int):
    """An unstructured block of q effects."""
    from small_models import structure

    return structure(("us", list(range(q))))


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


def test_extreme_predictors_are_finite() -> None:
    rows, parameters = model("crossed", Binomial())
    criterion = SeveralFactorLaplace.of(rows)
    for size in (30.0, 700.0):
        moved = parameters.copy()
        moved[-3:] *= size / 0.3
        at = criterion.value(moved)
        assert np.isfinite(at.deviance)
        assert np.all(np.isfinite(criterion.gradient(at)))


def repeated(rows: ResponseRows, times: np.ndarray) -> ResponseRows:
    """Every row as often as `times` (n,) says, one by one."""
    index = np.repeat(np.arange(rows.n), times)
    terms = tuple(replace(some, codes=some.codes[index], z=some.z[index]) for some in rows.terms)
    return replace(
        rows, y=rows.y[index], size=rows.size[index], weight=rows.weight[index], offset=rows.offset[index],
        x=rows.x[index], terms=terms, order=np.arange(len(index)),
    )  # fmt: skip


def test_weights_of_rows_repeat_them() -> None:
    rows, parameters = model("nested and crossed", Binomial())
    times = np.random.default_rng(2).integers(1, 4, rows.n)
    weighted = SeveralFactorLaplace.of(replace(rows, weight=rows.weight * times))
    often = SeveralFactorLaplace.of(repeated(rows, times))
    one, other = weighted.value(parameters), often.value(parameters)
    assert one.deviance == pytest.approx(other.deviance, rel=1e-12)
    np.testing.assert_allclose(weighted.gradient(one), often.gradient(other), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(weighted.information(one), often.information(other), rtol=1e-9, atol=1e-9)


def copied_levels(rows: ResponseRows) -> ResponseRows:
    """A copy of all rows for every copy of their levels, nested factors from the innermost on: new levels each."""
    inner, outer = rows.terms[1], rows.terms[0]
    pieces, codes = [], ([], [])
    next_inner = next_outer = 0
    for top in range(outer.n_levels):
        for _ in range(int(outer.weight[top])):
            mine = np.flatnonzero(outer.codes == top)
            for middle in np.unique(inner.codes[mine]):
                own = mine[inner.codes[mine] == middle]
                for _ in range(int(inner.weight[middle])):
                    pieces.append(own)
                    codes[0].append(np.full(len(own), next_outer))
                    codes[1].append(np.full(len(own), next_inner))
                    next_inner += 1
            next_outer += 1
    index = np.concatenate(pieces)
    terms = [
        replace(some, codes=np.concatenate(new).astype(np.int32), z=some.z[index], n_levels=n, weight=np.ones(n))
        for some, new, n in zip(rows.terms, codes, (next_outer, next_inner), strict=True)
    ]
    return replace(
        rows, y=rows.y[index], size=rows.size[index], weight=rows.weight[index], offset=rows.offset[index],
        x=rows.x[index], terms=tuple(terms), order=np.arange(len(index)),
    )  # fmt: skip


@pytest.mark.parametrize("family", [Binomial(), Poisson()], ids=repr)
def test_weights_of_levels_copy_them(family: Family) -> None:
    """Sampling weights at two levels are copies of clusters within copies of clusters."""
    rows, parameters = model("nested", family, n=40)
    rng = np.random.default_rng(4)
    outer, inner = rows.terms
    weighted_rows = replace(
        rows,
        terms=(
            replace(outer, weight=rng.integers(0, 3, outer.n_levels).astype(float)),
            replace(inner, weight=rng.integers(1, 4, inner.n_levels).astype(float)),
        ),
    )
    weighted = SeveralFactorLaplace.of(rows).with_rows(weighted_rows)
    copied = SeveralFactorLaplace.of(copied_levels(weighted_rows))
    one, other = weighted.value(parameters), copied.value(parameters)
    assert one.deviance == pytest.approx(other.deviance, rel=1e-12)
    np.testing.assert_allclose(weighted.gradient(one), copied.gradient(other), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(weighted.information(one), copied.information(other), rtol=1e-8, atol=1e-8)
    for score, twin in zip(weighted.psi_scores(one), copied.psi_scores(other), strict=True):
        np.testing.assert_allclose(score, twin, rtol=1e-8, atol=1e-8)
    again = SeveralFactorLaplace.of(weighted_rows).value(parameters)
    assert again.deviance == one.deviance


def test_weights_of_crossed_levels_are_refused() -> None:
    rows, _ = model("crossed", Binomial())
    weighted = [replace(some, weight=np.full(some.n_levels, 2.0)) for some in rows.terms]
    with pytest.raises(DesignError, match="crossed"):
        SeveralFactorLaplace.of(replace(rows, terms=tuple(weighted)))


def test_quadrature_is_refused() -> None:
    rows, _ = model("crossed", Binomial())
    criterion = SeveralFactorLaplace.of(rows)
    assert criterion.with_nodes(1) is criterion
    with pytest.raises(DesignError, match="one grouping factor"):
        criterion.with_nodes(5)


@pytest.mark.parametrize("family", [Binomial(), *[f for f in OBJECTS.values() if f.n_shape(5)]], ids=repr)
def test_scores_are_the_gradients_of_each_cluster(family: Family) -> None:
    rows, parameters = model("nested", family)
    criterion = SeveralFactorLaplace.of(rows)
    at = criterion.value(parameters)
    outer = rows.terms[0]
    scores = criterion.scores(at, rows.in_data_order(outer.codes), outer.n_levels)
    np.testing.assert_allclose(scores.sum(axis=0), -0.5 * criterion.gradient(at), rtol=1e-9, atol=1e-9)
    for top in range(outer.n_levels):
        alone = SeveralFactorLaplace.of(repeated(rows, (outer.codes == top).astype(int)))
        gradient = alone.gradient(alone.value(parameters))
        np.testing.assert_allclose(scores[top], -0.5 * gradient, rtol=1e-8, atol=1e-8)


def test_scores_of_crossed_clusters_are_refused() -> None:
    rows, parameters = model("crossed", Binomial())
    criterion = SeveralFactorLaplace.of(rows)
    with pytest.raises(DesignError, match="crossed"):
        criterion.scores(criterion.value(parameters), rows.in_data_order(rows.terms[0].codes), 6)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("family", OBJECTS.values(), ids=OBJECTS)
def test_information_is_that_of_the_linear_model(design: str, family: Family) -> None:
    """In theta and beta, with V^-1 = W - W Z B Z'W as a dense matrix; positive semi-definite with all parameters."""
    rows, parameters = model(design, family)
    criterion = SeveralFactorLaplace.of(rows)
    at, twin = criterion.value(parameters), at_parameters(rows, parameters)
    got = criterion.information(at)
    values = np.linalg.eigvalsh(got)
    assert values[0] >= -1e-9 * values[-1]
    if not family.log_concave or family.n_shape(5):
        return
    terms = twin.terms(at.eta)
    g, A = twin.Z.T @ (rows.weight * terms.first), (twin.Z.T * -(rows.weight * terms.second)) @ twin.Z
    k, inverse = criterion.layout.k, np.linalg.inv(np.diag(-1.0 / (rows.weight * terms.second)) + _zpz(twin))
    columns, done, position = [], 0, 0
    curvature = np.zeros((k, k))
    for some, part, score in zip(rows.terms, criterion.layout.parts, criterion.psi_scores(at), strict=True):
        slopes, factor = some.structure.factor_gradient(parameters[part]), at.factors[position]
        width = some.n_levels * some.q
        for slope in slopes:
            change = np.zeros_like(A)
            own = np.kron(np.eye(some.n_levels), slope @ factor.T + factor @ slope.T)
            change[done : done + width, done : done + width] = own
            columns.append(twin.Z @ change @ g)
        done, position = done + width, position + 1
        values, vectors = np.linalg.eigh(score * some.structure.mask)
        positive = (vectors * np.maximum(values, 0.0)) @ vectors.T
        curvature[part, part] = 2.0 * np.einsum("aij,ik,bkj->ab", slopes, positive, slopes)
    h, X = np.column_stack(columns), rows.x
    hx, xx = h.T @ inverse @ X, X.T @ inverse @ X
    expected = np.block(
        [[h.T @ inverse @ h + hx @ np.linalg.solve(xx, hx.T) + curvature, 2.0 * hx], [2.0 * hx.T, 2.0 * xx]]
    )
    np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-7 * np.abs(expected).max())


def _zpz(twin) -> np.ndarray:
    return twin.Z @ twin.Lambda @ twin.Lambda.T @ twin.Z.T


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
