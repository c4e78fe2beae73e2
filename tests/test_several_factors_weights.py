"""Weights, scores of clusters and information of generalized models with several grouping factors."""

from dataclasses import replace

import numpy as np
import pytest
from dense_several import DESIGNS, OBJECTS, at_parameters, model, repeated

from crosslevel.design.response_rows import ResponseRows
from crosslevel.errors import DesignError
from crosslevel.families import Binomial, Ordinal, Poisson
from crosslevel.families.base import Family
from crosslevel.likelihood import several_factors_psi
from crosslevel.likelihood.several_factors import SeveralFactorLaplace


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
    for got, expected in zip(weighted.conditional_covariances(one), copied.conditional_covariances(other), strict=True):
        assert np.all(np.abs(got[:, None] - expected[None]).max(axis=(2, 3)).min(axis=0) < 1e-9)
    scores = weighted.scores(one, rows.in_data_order(outer.codes), outer.n_levels)
    np.testing.assert_allclose(scores.sum(axis=0), -0.5 * weighted.gradient(one), rtol=1e-9, atol=1e-9)
    assert np.all(np.abs(scores[weighted_rows.terms[0].weight == 0.0]) < 1e-100)
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


def test_information_does_not_depend_on_how_rows_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, parameters = model("memberships", Ordinal())
    criterion = SeveralFactorLaplace.of(rows)
    at = criterion.value(parameters)
    whole = criterion.information(at)
    monkeypatch.setattr(several_factors_psi, "AT_ONCE", 7)
    np.testing.assert_allclose(criterion.information(at), whole, rtol=1e-11, atol=1e-11)


def _zpz(twin) -> np.ndarray:
    return twin.Z @ twin.Lambda @ twin.Lambda.T @ twin.Z.T
