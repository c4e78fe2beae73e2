"""What must not matter does not: order, chunks, names of clusters, units, kinds of frames, copies."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import crosslevel as cl
from crosslevel.design import rows as design_rows

FORMULA = "y ~ x * z + f + (x | g)"


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    g = np.repeat(np.arange(20), rng.integers(2, 15, 20))
    x, z = rng.normal(size=g.size), rng.normal(size=20)[g]
    u = rng.normal(size=(20, 2)) * [1.0, 0.5]
    f = rng.choice(["low", "middle", "high"], g.size)
    y = 3 + x + z + 0.5 * x * z + u[g, 0] + u[g, 1] * x + (f == "low") + rng.normal(size=g.size)
    return pd.DataFrame({"y": y, "x": x, "z": z, "f": f, "g": g})


DATA = frame()
FIT = cl.mixed(FORMULA, DATA)


def assert_same(fit, *, rtol: float = 1e-9) -> None:
    """Equal to the fit of the data as they are, to what rounding and the last Newton step leave."""
    assert fit.deviance == pytest.approx(FIT.deviance, rel=1e-12)
    np.testing.assert_allclose(fit.params, FIT.params, rtol=rtol)
    np.testing.assert_allclose(fit.bse, FIT.bse, rtol=rtol)
    np.testing.assert_allclose(fit.theta, FIT.theta, rtol=rtol * 10)
    assert fit.sigma == pytest.approx(FIT.sigma, rel=rtol)


@pytest.mark.parametrize("seed", range(3))
def test_row_order(seed: int) -> None:
    fit = cl.mixed(FORMULA, DATA.sample(frac=1, random_state=seed))
    assert_same(fit)
    np.testing.assert_allclose(fit.fitted.sort_index(), FIT.fitted, rtol=1e-9)


@pytest.mark.parametrize("chunk", [1, 7, 64])
@pytest.mark.parametrize("mixed_up", [False, True])
def test_chunks(monkeypatch: pytest.MonkeyPatch, chunk: int, mixed_up: bool) -> None:
    monkeypatch.setattr(design_rows, "CHUNK", chunk)
    monkeypatch.setattr(design_rows, "UNSORTED_RUN", 0)
    assert_same(cl.mixed(FORMULA, DATA.sample(frac=1, random_state=0) if mixed_up else DATA))


def test_names_of_clusters() -> None:
    names = {code: f"country {97 * code % 41}" for code in range(20)}
    fit = cl.mixed(FORMULA, DATA.assign(g=DATA.g.map(names)))
    assert_same(fit)
    ours, theirs = fit.ranef()["g"], FIT.ranef()["g"]
    np.testing.assert_allclose(ours.loc[[names[code] for code in theirs.index]], theirs, rtol=1e-8, atol=1e-10)


FRAMES = {
    "polars": lambda: pl.from_pandas(DATA),
    "lazy polars": lambda: pl.from_pandas(DATA).lazy(),
    "pyarrow": lambda: pa.Table.from_pandas(DATA),
    "nullable": lambda: DATA.convert_dtypes(),
    "categories": lambda: DATA.assign(f=DATA.f.astype("category"), g=DATA.g.astype("category")),
    "dict": lambda: DATA.to_dict("list"),
    "single precision ids": lambda: DATA.assign(g=DATA.g.astype("float32")),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_kinds_of_frames(kind: str) -> None:
    fit = cl.mixed(FORMULA, FRAMES[kind]())
    assert fit.deviance == FIT.deviance
    np.testing.assert_array_equal(fit.params, FIT.params)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize(("factor", "shift"), [(1e6, 0.0), (1e-6, 0.0), (1.0, 1e4), (1e3, -1e6)])
def test_units_of_a_predictor(factor: float, shift: float, method: str) -> None:
    """x' = factor x + shift: the same fit in other coordinates, and REML's constant moves by log det."""
    base = cl.mixed("y ~ x + z + (x | g)", DATA, method=method)
    fit = cl.mixed("y ~ x + z + (x | g)", DATA.assign(x=DATA.x * factor + shift), method=method)
    moved = 2 * np.log(factor) if method == "reml" else 0.0
    assert fit.converged
    assert fit.deviance == pytest.approx(base.deviance + moved, abs=1e-7)
    # a shift of 1e4 standard deviations leaves 12 of the 16 digits of the predictor
    assert fit.params["x"] * factor == pytest.approx(base.params["x"], rel=1e-7)
    assert fit.bse["x"] * factor == pytest.approx(base.bse["x"], rel=1e-6)
    assert fit.params["z"] == pytest.approx(base.params["z"], rel=1e-7)
    assert fit.params["Intercept"] + shift * fit.params["x"] == pytest.approx(base.params["Intercept"], rel=1e-6)
    tau, map_back = fit.cov_re["g"].to_numpy(), np.array([[1.0, shift], [0.0, factor]])
    np.testing.assert_allclose(map_back @ tau @ map_back.T, base.cov_re["g"], rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(fit.fitted, base.fitted, rtol=1e-6)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_units_of_the_outcome(factor: float) -> None:
    fit = cl.mixed(FORMULA, DATA.assign(y=factor * (DATA.y + 5.0)))
    nu = FIT.nobs - len(FIT.params)
    assert fit.deviance == pytest.approx(FIT.deviance + 2 * nu * np.log(factor), rel=1e-10)
    np.testing.assert_allclose(fit.theta, FIT.theta, rtol=1e-8)
    np.testing.assert_allclose(fit.bse, factor * FIT.bse, rtol=1e-9)
    moved = FIT.params.add(pd.Series({"Intercept": 5.0}), fill_value=0.0)[fit.params.index]
    np.testing.assert_allclose(fit.params, factor * moved, rtol=1e-9)


def test_uncorrelated_slopes_do_not_depend_on_units_but_on_origin() -> None:
    """(x || g) is no model of its own after a shift: nothing may be centred behind the user's back."""
    base = cl.mixed("y ~ x + (x || g)", DATA)
    scaled = cl.mixed("y ~ x + (x || g)", DATA.assign(x=DATA.x * 1e5))
    shifted = cl.mixed("y ~ x + (x || g)", DATA.assign(x=DATA.x + 3.0))
    assert scaled.deviance - 2 * np.log(1e5) == pytest.approx(base.deviance, abs=1e-8)
    assert abs(shifted.deviance - base.deviance) > 0.1


def test_refit_is_a_fit_to_the_new_outcome() -> None:
    other = DATA.assign(y=np.random.default_rng(1).normal(size=len(DATA)) + DATA.z)
    refitted, fitted = FIT.refit(other.y), cl.mixed(FORMULA, other)
    assert refitted.deviance == pytest.approx(fitted.deviance, rel=1e-12)
    np.testing.assert_allclose(refitted.params, fitted.params, rtol=1e-9)
    np.testing.assert_allclose(refitted.fitted, fitted.fitted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(refitted.resid, fitted.resid, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(refitted.augment()["y"], other.y)
    np.testing.assert_array_equal(refitted.refit(DATA.y).augment(), FIT.augment())
    again = FIT.refit(DATA.y)
    assert again.deviance == FIT.deviance
    np.testing.assert_array_equal(again.params, FIT.params)
    np.testing.assert_array_equal(again.theta, FIT.theta)


def test_missing_rows_are_as_if_they_had_not_come() -> None:
    data = DATA.copy()
    data.loc[[3, 50, 51], "x"] = np.nan
    data.loc[7, "g"] = np.nan
    with_gaps, without = cl.mixed(FORMULA, data), cl.mixed(FORMULA, data.dropna())
    assert with_gaps.deviance == pytest.approx(without.deviance, rel=1e-13)
    np.testing.assert_allclose(with_gaps.params, without.params, rtol=1e-10)
    assert with_gaps.fitted.index.equals(without.fitted.index)


def test_counting_a_cluster_twice_is_repeating_its_rows() -> None:
    from crosslevel.design.reduced import reduce_products
    from crosslevel.solve import solve

    again = DATA[DATA.g == 4].assign(g=99)
    repeated = cl.mixed(FORMULA, pd.concat([DATA, again], ignore_index=True))
    design = FIT.design
    products = design.products.reweight(np.where(np.array(design.products.levels) == 4, 2.0, 1.0))
    reduced = reduce_products(
        products,
        x=design.x,
        y=len(products.names) - 1,
        z=design.z,
        structure=design.structure,
        constant=design.constant,
    )
    solution = solve(reduced, reml=True)
    assert solution.deviance == pytest.approx(repeated.deviance, rel=1e-12)
    np.testing.assert_allclose(solution.beta, repeated.params, rtol=1e-9)
    np.testing.assert_allclose(solution.vcov, repeated.vcov, rtol=1e-8, atol=1e-12)


def test_pickled_fit_says_the_same() -> None:
    copy = pickle.loads(pickle.dumps(FIT))
    assert str(copy.summary()) == str(FIT.summary())
    pd.testing.assert_series_equal(copy.predict(DATA), FIT.predict(DATA))


def test_results_do_not_follow_later_changes_of_the_data() -> None:
    data = frame()
    fit = cl.mixed("y ~ x + (1 | g)", data)
    before = fit.fitted
    data["x"] = 0.0
    data.loc[:, "y"] = 1.0
    pd.testing.assert_series_equal(fit.fitted, before)


def test_results_cannot_be_changed() -> None:
    for array in (FIT.theta, FIT.solution.beta, FIT.design.products.mean):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    with pytest.raises(AttributeError):
        FIT.formula = "y ~ 1"
