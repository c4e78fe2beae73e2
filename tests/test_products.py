"""Cross-products by cluster: what they hold, how they add up, and what they keep of columns far from zero."""

import dense
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import random_model

from crosslevel.design import CrossProducts, build_design
from crosslevel.design.reduced import reduce_products
from crosslevel.errors import DesignError
from crosslevel.likelihood.profiled import ProfiledDeviance
from crosslevel.solve import solve

RTOL = 1e-12


def products(rows, codes, levels=None, names=None):
    levels = tuple(range(int(codes.max()) + 1)) if levels is None else levels
    names = tuple(f"c{j}" for j in range(len(rows))) if names is None else names
    return CrossProducts.from_rows(rows, codes, names=names, levels=levels)


def relabelled(rows, labels):
    """Cross-products with only those clusters that occur, as a part of a larger file has them."""
    levels, codes = np.unique(labels, return_inverse=True)
    return products(rows, codes, tuple(levels.tolist()))


def assert_same(a, b, rtol=RTOL):
    """The same moments cluster by cluster, in whatever order, relative to each column's spread."""
    place = [b.levels.index(level) for level in a.levels]
    assert a.names == b.names
    assert len(a.levels) == len(b.levels)
    assert np.array_equal(a.count, b.count[place])
    assert np.array_equal(a.multiplicity, b.multiplicity[place])
    size = np.sqrt(np.diag(b.total) / b.n_rows) + np.abs(b.grand_mean) + 1e-300
    shift = (b.origin - a.origin) + b.mean[place] - a.mean
    far = np.abs(a.origin) + np.abs(b.origin)
    assert np.all(np.abs(shift) <= rtol * size + 1e-15 * far)
    scatter = np.abs(a.scatter - b.scatter[place])
    assert np.all(scatter <= rtol * size[:, None] * size * b.count.max())


@pytest.fixture
def rows():
    rng = np.random.default_rng(4)
    out = rng.normal(size=(4, 300)) * np.array([1.0, 1e6, 1e-6, 10.0])[:, None]
    out += np.array([0.0, 1e6, 1.0, 2010.0])[:, None]
    return out


@pytest.fixture
def codes():
    return np.sort(np.random.default_rng(5).integers(0, 9, 300))


# -- what they hold ---------------------------------------------------------------------------------------------------


def test_moments_and_totals(rows, codes):
    ours = products(rows, codes)
    count, mean, scatter = dense.moments(rows, codes, 9)
    assert np.array_equal(ours.count, count)
    np.testing.assert_allclose(ours.origin + ours.mean, mean.astype(float), rtol=1e-13)
    size = np.sqrt(np.einsum("gii->gi", scatter))
    assert np.all(np.abs(ours.scatter - scatter) <= RTOL * size[:, :, None] * size[:, None, :])
    assert (ours.n_rows, ours.n_clusters) == (300, 9)

    centred = rows - rows.astype(dense.LONG).mean(axis=1)[:, None]
    size = np.sqrt(np.sum(centred**2, axis=1))
    assert np.all(np.abs(ours.total - centred @ centred.T) <= RTOL * np.outer(size, size))
    assert np.all(np.abs(ours.within - scatter.sum(axis=0)) <= RTOL * np.outer(size, size))
    np.testing.assert_allclose(ours.origin + ours.grand_mean, rows.mean(axis=1), rtol=1e-13)


def test_they_cannot_be_changed(rows, codes):
    ours = products(rows, codes)
    for array in (ours.origin, ours.count, ours.mean, ours.scatter):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_order_of_rows_does_not_matter(rows, codes):
    order = np.random.default_rng(6).permutation(300)
    assert_same(products(rows[:, order], codes[order]), products(rows, codes))


# -- a + b ------------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000), parts=st.integers(2, 6), is_sorted=st.booleans())
def test_parts_add_up_to_the_whole(seed, parts, is_sorted):
    """Wherever the file is cut: clusters in several parts, in one, or appearing late."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(parts, 120))
    labels = rng.integers(0, 15, n)
    labels = np.sort(labels) if is_sorted else labels
    rows = rng.normal(size=(3, n)) * np.array([1.0, 1e6, 1e-5])[:, None] + np.array([0.0, 1e8, 2010.0])[:, None]
    cuts = np.sort(rng.choice(np.arange(1, n), parts - 1, replace=False)) if n > parts else np.arange(1, parts)
    pieces = [
        relabelled(piece, label)
        for piece, label in zip(np.split(rows, cuts, axis=1), np.split(labels, cuts), strict=True)
    ]
    whole = relabelled(rows, labels)

    forward = pieces[0]
    for piece in pieces[1:]:
        forward = forward + piece
    backward = pieces[-1]
    for piece in pieces[-2::-1]:
        backward = piece + backward
    assert_same(forward, whole)
    assert_same(backward, whole)


def test_sum_keeps_both_parts_as_they_were(rows, codes):
    a, b = relabelled(rows[:, :100], codes[:100]), relabelled(rows[:, 100:], codes[100:])
    before = a.scatter.copy(), b.mean.copy()
    a + b
    assert np.array_equal(a.scatter, before[0])
    assert np.array_equal(b.mean, before[1])


def test_clusters_are_matched_by_label():
    a = products(np.array([[1.0, 2.0, 3.0]]), np.array([0, 0, 1]), ("x", "y"))
    b = products(np.array([[10.0, 20.0, 30.0]]), np.array([0, 1, 1]), ("z", "x"))
    both = a + b
    assert both.levels == ("x", "y", "z")
    assert both.count.tolist() == [4.0, 1.0, 1.0]
    assert (both.origin + both.mean).ravel() == pytest.approx([53.0 / 4.0, 3.0, 10.0], rel=1e-15)


def test_different_columns_or_multiplicities_cannot_be_added(rows, codes):
    a = products(rows, codes)
    with pytest.raises(DesignError, match="cannot be added: the columns differ"):
        a + a.select(["c0"])
    with pytest.raises(DesignError, match=r"different multiplicities of one cluster.*reweight later"):
        a + a.reweight(np.full(9, 2.0))


# -- select -----------------------------------------------------------------------------------------------------------


def test_selection_is_that_of_the_columns_alone(rows, codes):
    whole = products(rows, codes)
    some = whole.select(["c3", "c1"])
    assert some.names == ("c3", "c1")
    assert_same(some, products(rows[[3, 1]], codes, names=("c3", "c1")))
    assert some.multiplicity is whole.multiplicity


def test_unknown_column_in_a_selection(rows, codes):
    with pytest.raises(DesignError, match=r"`names` asks for \['age'\], but these cross-products hold"):
        products(rows, codes).select(["c0", "age"])


def test_a_sub_model_needs_no_second_look_at_the_rows():
    model = random_model(3, blocks=(("us", [0, 1, 2]),), extra=2)
    names = ("c0", "c1", "c3", "y")
    structure = random_model(1, blocks=(("us", [0, 1]),)).structure
    arguments = {"x": np.array([0, 1, 2]), "y": 3, "z": np.array([0, 1]), "structure": structure, "constant": 0}
    selected = solve(reduce_products(model.products.select(names), **arguments), reml=True)
    rows = np.vstack([model.C[:, [0, 1, 3]].T, model.y])
    directly = solve(reduce_products(products(rows, model.codes, names=names), **arguments), reml=True)
    assert selected.deviance == pytest.approx(directly.deviance, rel=1e-13)


# -- multiplicities ---------------------------------------------------------------------------------------------------


def repeated(model, multiplicity):
    """Rows in which each cluster occurs so many times, every time as a new cluster."""
    pieces, codes = [], []
    for g, times in enumerate(multiplicity):
        for _ in range(times):
            pieces.append(np.flatnonzero(model.codes == g))
            codes.append(np.full(len(pieces[-1]), len(codes)))
    rows = np.concatenate(pieces)
    return model.C[rows], model.y[rows], np.concatenate(codes)


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("multiplicity", [(1, 1, 1, 1, 1, 1), (2, 2, 2, 2, 2, 2), (3, 0, 1, 2, 0, 1)])
def test_a_multiplicity_is_a_repeated_cluster(multiplicity, reml):
    model = random_model(8, n_clusters=6, largest=14, singles=1, blocks=(("us", [0, 1]),))
    C, y, codes = repeated(model, multiplicity)
    twin = type(model)(C=C, y=y, codes=codes, x=model.x, z=model.z, blocks=model.blocks)
    weighted = model.products.reweight(np.array(multiplicity, dtype=float))
    assert weighted.n_rows == len(y)
    assert weighted.n_clusters == sum(multiplicity)
    np.testing.assert_allclose(weighted.total, twin.products.total, rtol=1e-11)

    reduced = reduce_products(
        weighted, x=np.array(model.x), y=len(model.x), z=np.array(model.z), structure=model.structure, constant=0
    )
    ours, theirs = ProfiledDeviance(reduced=reduced, reml=reml), twin.criterion(reml=reml)
    theta = np.array([0.7, -0.3, 0.4])
    a, b = ours.value(theta), theirs.value(theta)
    assert a.deviance == pytest.approx(b.deviance, rel=1e-12)
    first, second = ours.derivatives(a, theta), theirs.derivatives(b, theta)
    np.testing.assert_allclose(first.gradient, second.gradient, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(first.hessian, second.hessian, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(first.information, second.information, rtol=1e-9, atol=1e-9)
    left, right = solve(reduced, reml=reml), solve(twin.reduced, reml=reml)
    assert left.deviance == pytest.approx(right.deviance, rel=1e-12)
    np.testing.assert_allclose(left.beta, right.beta, rtol=1e-9)
    np.testing.assert_allclose(left.vcov, right.vcov, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("wrong", [np.ones(8), np.append(np.ones(8), -1.0), np.append(np.ones(8), np.nan)])
def test_wrong_multiplicities_are_refused(rows, codes, wrong):
    with pytest.raises(DesignError, match="`multiplicity` needs one non-negative number for each of the 9 clusters"):
        products(rows, codes).reweight(wrong)


# -- far from zero ----------------------------------------------------------------------------------------------------


def test_one_wild_value_does_not_spoil_the_others():
    rng = np.random.default_rng(0)
    rows, codes = rng.normal(size=(2, 900)) + 5.0, np.repeat(np.arange(9), 100)
    clean = products(rows, codes)
    for row in (0, 450, 899):
        spoilt = rows.copy()
        spoilt[0, row] = 1e12
        ours = products(spoilt, codes)
        others = np.arange(9) != codes[row]
        np.testing.assert_allclose(ours.scatter[others], clean.scatter[others], rtol=1e-9, atol=1e-9)


def survey(n=600, n_clusters=15):
    """Year, income in cents and a rate: columns as surveys have them. The predictors have few binary digits."""
    rng = np.random.default_rng(11)
    country = rng.integers(0, n_clusters, n)
    year = rng.integers(0, 12, n).astype(float)
    income = np.round(rng.lognormal(3.0, 0.6, n) * 64.0) / 64.0
    rate = rng.integers(0, 1024, n_clusters)[country] / 1024.0
    u = rng.normal(size=(n_clusters, 2)) * [0.6, 0.05]
    y = 2.0 + 0.1 * year + 0.02 * income + rate + u[country, 0] + u[country, 1] * year + rng.normal(size=n)
    return pd.DataFrame({"y": y, "year": year, "income": income, "rate": rate, "country": country})


FORMULA = "y ~ year + income + rate + year:income + (year | country)"


def fitted(frame, formula=FORMULA, *, reml=True):
    return solve(build_design(formula, frame).reduced, reml=reml)


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("year", [2010.0, 2.0**20, -(2.0**30)])
def test_a_far_origin_costs_no_digits(year, reml):
    """(year | country) is the same model wherever years are counted from, so the deviance is the same number."""
    near = survey()
    far = near.assign(year=near["year"] + year)
    formula = "y ~ year + income + rate + (year | country)"
    a, b = fitted(near, formula, reml=reml), fitted(far, formula, reml=reml)
    assert b.deviance == pytest.approx(a.deviance, rel=1e-12)
    np.testing.assert_allclose(b.beta[1:], a.beta[1:], rtol=1e-9)
    np.testing.assert_allclose(np.diag(b.vcov)[1:], np.diag(a.vcov)[1:], rtol=1e-9)
    assert b.sigma == pytest.approx(a.sigma, rel=1e-10)
    assert b.factors[0][1] @ b.factors[0][1] == pytest.approx(a.factors[0][1] @ a.factors[0][1], rel=1e-6)


def test_income_in_cents_and_in_millions():
    near = survey()
    a = fitted(near)
    for unit in (100.0, 1e6, 1e-6):
        b = fitted(near.assign(income=near["income"] * unit))
        # the columns income and year:income shrink or grow with the unit
        assert b.deviance - 4.0 * np.log(unit) == pytest.approx(a.deviance, rel=1e-11)
        np.testing.assert_allclose(b.beta * np.array([1.0, 1.0, unit, 1.0, unit]), a.beta, rtol=1e-8)


# -- frames in chunks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [60, 200, 450])
def test_cross_products_of_chunks_of_a_frame_add_up(size):
    frame = survey()
    whole = build_design(FORMULA, frame)
    parts = [build_design(FORMULA, frame.iloc[start : start + size]).products for start in range(0, len(frame), size)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert_same(total, whole.products)
    reduced = reduce_products(
        total, x=whole.x, y=len(total.names) - 1, z=whole.z, structure=whole.structure, constant=whole.constant
    )
    assert solve(reduced, reml=True).deviance == pytest.approx(solve(whole.reduced, reml=True).deviance, rel=1e-12)
