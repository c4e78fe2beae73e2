"""Rows of generalized models in working coordinates: the linear predictor is that of the columns as they are."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import crosslevel as cl
from crosslevel.design.build import Design, build_design
from crosslevel.design.outcome import AskedOutcome
from crosslevel.design.response_rows import ResponseRows, response_rows
from crosslevel.families import Poisson


def frame() -> pd.DataFrame:
    """Clusters mixed, a predictor far from zero, one missing value."""
    rng = np.random.default_rng(1)
    n = 90
    x = 1000.0 + 7.0 * rng.normal(size=n)
    x[4] = np.nan
    return pd.DataFrame(
        {
            "y": rng.poisson(3.0, n), "x": x, "w": rng.integers(1, 4, n), "e": rng.normal(size=n),
            "g": rng.integers(0, 9, n), "h": rng.integers(0, 5, n),
        }
    )  # fmt: skip


def held(formula: str, **options: Any) -> tuple[ResponseRows, Design]:
    """Rows of a formula, and the design that they come from."""
    design = build_design(formula, frame(), outcome=AskedOutcome(family=Poisson()), **options)
    assert design.outcome is not None
    return response_rows(design, Poisson(), design.outcome), design


@pytest.mark.parametrize("formula", ["y ~ x + (x | g)", "y ~ x + (0 + x | g)", "y ~ 0 + x + (1 | g) + (x || h)"])
def test_linear_predictor_is_that_of_the_data(formula: str) -> None:
    rows, design = held(formula, offset="e")
    rng = np.random.default_rng(2)
    beta = rng.normal(size=rows.x.shape[1])
    eta = rows.offset + rows.x @ beta
    columns = np.hstack([block for block, _, _ in design.blocks()])
    expected = frame()["e"].drop(4).to_numpy() + rows.coordinates.coefficients(beta) @ columns[design.x]
    for term, factor in zip(rows.terms, design.factors, strict=True):
        effects = rng.normal(size=(term.n_levels, term.q))  # in the units of the data
        eta += np.sum(term.z * (effects @ term.basis.T)[term.codes], axis=1)
        expected += np.sum(columns[factor.z].T * effects[design.used_codes(factor)], axis=1)
    assert_allclose(rows.in_data_order(eta), expected, rtol=1e-10)


def test_one_factor_is_sorted_by_cluster() -> None:
    rows, design = held("y ~ x + (1 | g)")
    assert rows.start is not None
    assert np.all(np.diff(rows.terms[0].codes) >= 0)
    for g, (low, high) in enumerate(zip(rows.start[:-1], rows.start[1:], strict=True)):
        assert_array_equal(rows.terms[0].codes[low:high], g)
    data = frame().drop(index=4)
    assert_array_equal(rows.in_data_order(rows.y), data["y"])
    assert_array_equal(rows.in_row_order(data["y"].to_numpy()), rows.y)
    assert_array_equal(rows.with_response(data["h"].to_numpy()).y, rows.in_row_order(data["h"].to_numpy()))
    assert_array_equal(design.used_codes(design.factors[0])[rows.order], rows.terms[0].codes)


def test_several_factors_keep_the_order_of_the_data() -> None:
    rows, _ = held("y ~ x + (1 | g) + (1 | h)")
    assert rows.start is None
    assert_array_equal(rows.order, np.arange(89))
    assert_array_equal(rows.y, frame().drop(index=4)["y"])


def test_constant_counts_rows_and_levels() -> None:
    rows, _ = held("y ~ x + (1 | g)", weights=cl.Frequency("w"))
    ones = Poisson().terms(rows.y, rows.size, np.zeros(rows.n), np.zeros(0)).log_density + 1.0  # -log y!
    assert rows.constant == pytest.approx(rows.in_row_order(frame().drop(index=4)["w"].to_numpy()) @ ones, rel=1e-12)
    draws = np.arange(9.0)
    drawn = rows.reweighted([draws])
    assert drawn.constant == pytest.approx((rows.weight * draws[rows.terms[0].codes]) @ ones, rel=1e-12)
