"""Which algebra fits a model with several grouping factors, what it says of itself, and what memory it needs."""

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel import memory
from crosslevel.design.build import build_design
from crosslevel.solve import algebra as algebra_module

FORMULA = "y ~ x + (1 | a) + (1 | b)"


def ratings(rows: int = 4000, a: int = 300, b: int = 80, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    first, second, x = rng.integers(0, a, rows), rng.integers(0, b, rows), rng.normal(size=rows)
    y = 0.3 * x + rng.normal(0, 0.6, a)[first] + rng.normal(0, 0.4, b)[second] + rng.normal(size=rows)
    return pd.DataFrame({"y": y, "x": x, "a": first, "b": second})


DATA = ratings()


@pytest.mark.parametrize("method", ["ml", "reml"])
def test_both_ways_agree_within_the_error_that_is_reported(method: str) -> None:
    exact, iterative = (cl.mixed(FORMULA, DATA, method=method, algebra=how) for how in ("exact", "iterative"))
    told = iterative.solution.iterative
    assert exact.solution.iterative is None
    assert abs(iterative.deviance - exact.deviance) < 5.0 * told.deviance_error + 1e-3
    variances, errors = exact.varcomp()["estimate"], exact.varcomp()["std_error"]
    assert np.max(np.abs(iterative.varcomp()["estimate"] - variances) / errors) < max(10.0 * told.theta_error, 1e-2)
    np.testing.assert_allclose(iterative.params, exact.params, atol=1e-3 * exact.bse.max())
    np.testing.assert_allclose(iterative.bse, exact.bse, rtol=1e-3)
    np.testing.assert_allclose(iterative.varcomp()["std_error"], errors, rtol=0.05)
    for name, modes in exact.ranef(se=False).items():
        np.testing.assert_allclose(iterative.ranef(se=False)[name], modes, atol=0.01)
    for name, modes in exact.ranef().items():
        np.testing.assert_allclose(iterative.ranef()[name]["Intercept_se"], modes["Intercept_se"], rtol=0.1)
    np.testing.assert_allclose(iterative.fitted, exact.fitted, atol=0.02)


def test_iterative_fits_repeat_to_the_last_digit_and_say_what_they_are() -> None:
    one, other = (cl.mixed(FORMULA, DATA, algebra="iterative") for _ in range(2))
    assert one.deviance == other.deviance
    np.testing.assert_array_equal(one.theta, other.theta)
    assert "Monte-Carlo error of the deviance" in " ".join(str(one.summary()).split())


def test_weights_mean_the_same_in_both() -> None:
    data = DATA.assign(w=np.random.default_rng(2).uniform(0.5, 2.0, len(DATA)))
    exact, iterative = (
        cl.mixed(FORMULA, data, method="ml", algebra=how, weights=cl.Precision("w")) for how in ("exact", "iterative")
    )
    assert abs(iterative.deviance - exact.deviance) < 5.0 * iterative.solution.iterative.deviance_error + 1e-3


def test_small_models_are_exact_and_large_ones_what_is_cheaper(monkeypatch: pytest.MonkeyPatch) -> None:
    crossing = build_design(FORMULA, DATA).crossing
    assert algebra_module.choose_algebra(crossing, "auto") == "exact"
    monkeypatch.setattr(algebra_module, "ALWAYS_EXACT", 10)
    monkeypatch.setattr(algebra_module, "exact_cost", lambda *_: algebra_module.Cost(seconds=1e9, bytes=0))
    assert algebra_module.choose_algebra(crossing, "auto") == "iterative"
    monkeypatch.setattr(algebra_module, "exact_cost", lambda *_: algebra_module.Cost(seconds=0.0, bytes=0))
    assert algebra_module.choose_algebra(crossing, "auto") == "exact"
    monkeypatch.setattr(algebra_module, "exact_cost", lambda *_: algebra_module.Cost(seconds=0.0, bytes=10**15))
    assert algebra_module.choose_algebra(crossing, "auto") == "iterative"
    with pytest.raises(cl.MemoryShortageError, match=r"Exact elimination.*GiB of memory.*algebra='iterative'"):
        algebra_module.choose_algebra(crossing, "exact")


def test_cross_products_that_do_not_fit_are_refused_before_they_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    monkeypatch.setattr(memory, "SMALL", 0)
    with pytest.raises(cl.MemoryShortageError, match="2 grouping factors, whose cross-products over 4,000 rows"):
        cl.mixed(FORMULA, DATA)
    with pytest.raises(cl.MemoryShortageError, match="300 clusters, whose cross-products would need"):
        cl.mixed("y ~ x + (1 | a)", DATA)


def test_available_memory_is_a_plausible_number() -> None:
    found = memory.available_memory()
    assert found is None or 2**20 < found < 2**50


def test_other_words_are_refused() -> None:
    with pytest.raises(cl.CrosslevelError, match="`algebra` is one of 'auto', 'exact', 'iterative'"):
        cl.mixed(FORMULA, DATA, algebra="fast")
