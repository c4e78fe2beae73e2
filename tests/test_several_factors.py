"""Models with several grouping factors as users fit them: against dense twins, and what must not matter."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dense_crossed import Crossed, deviance

import crosslevel as cl
from crosslevel.design import rows as design_rows

METHODS = pytest.mark.parametrize("method", ["reml", "ml"])
CROSSED = "y ~ x + w + (x | a) + (1 | b)"
NESTED = "y ~ x + w + (1 | a/c)"


def simulated(seed: int = 1, *, rows: int = 240, a: int = 12, b: int = 8, size: float = 1.0) -> pd.DataFrame:
    """Rows of a crossed design, with units c inside a, in random order."""
    rng = np.random.default_rng(seed)
    first, second, third = rng.integers(0, a, rows), rng.integers(0, b, rows), rng.integers(0, 4, rows)
    x, w = rng.normal(size=(2, rows))
    effects = size * rng.normal(size=(a, 2)) @ np.array([[0.8, 0.3], [0.0, 0.5]])
    y = 1.0 + 0.5 * x + effects[first, 0] + effects[first, 1] * x + size * rng.normal(0.0, 0.6, b)[second]
    y += size * rng.normal(0.0, 0.7, (a, 4))[first, third] + rng.normal(size=rows)
    return pd.DataFrame({"y": y, "x": x, "w": w, "a": first, "b": second + 100, "c": third})


DATA = simulated()


def dummies(*columns: pd.Series) -> np.ndarray:
    """Membership (n, J) of the combinations of some columns."""
    return pd.get_dummies(pd.MultiIndex.from_arrays(columns).map(str)).to_numpy(dtype=float)


def twin(fit: "cl.estimators.mixed.MixedFit", z: list[np.ndarray], members: list[np.ndarray], reml: bool) -> float:
    """Dense deviance at the fit's covariance of the random effects."""
    X = np.column_stack([np.ones(len(DATA)), DATA.x, DATA.w])
    data = Crossed(y=DATA.y.to_numpy(), X=X, z=tuple(z), members=tuple(members))
    psis = tuple(frame.to_numpy() / fit.sigma**2 for frame in fit.cov_re.values())
    return float(deviance(data.V(psis), X, data.y, reml=reml))


@METHODS
def test_deviance_of_crossed_factors_is_the_dense_one(method: str) -> None:
    fit = cl.mixed(CROSSED, DATA, method=method)
    one = np.ones(len(DATA))
    z = [np.column_stack([one, DATA.x]), one[:, None]]
    dense = twin(fit, z, [dummies(DATA.a), dummies(DATA.b)], method == "reml")
    assert fit.converged
    assert fit.deviance == pytest.approx(dense, rel=1e-10)


@METHODS
def test_deviance_of_nested_factors_is_the_dense_one(method: str) -> None:
    fit = cl.mixed(NESTED, DATA, method=method)
    one = np.ones((len(DATA), 1))
    dense = twin(fit, [one, one], [dummies(DATA.a), dummies(DATA.a, DATA.c)], method == "reml")
    assert fit.deviance == pytest.approx(dense, rel=1e-10)


def test_no_point_nearby_is_lower() -> None:
    fit = cl.mixed(CROSSED, DATA)
    rng = np.random.default_rng(2)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(5):
            assert fit.criterion_at(fit.theta + size * rng.normal(size=fit.theta.size)) >= fit.deviance


def same(one: "cl.estimators.mixed.MixedFit", other: "cl.estimators.mixed.MixedFit") -> None:
    """Two fits of one model agree in all that is reported."""
    assert other.deviance == pytest.approx(one.deviance, abs=1e-8)
    np.testing.assert_allclose(other.params[one.params.index], one.params, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(other.bse[one.bse.index], one.bse, rtol=1e-6)
    for name, frame in one.cov_re.items():
        (match,) = (found for key, found in other.cov_re.items() if sorted(key) == sorted(name) or key == name)
        np.testing.assert_allclose(match, frame, rtol=1e-5, atol=1e-8)


def test_ways_to_write_a_nested_model() -> None:
    named = DATA.assign(unit=DATA.a.astype(str) + "_" + DATA.c.astype(str))
    fits = [
        cl.mixed(formula, named)
        for formula in (NESTED, "y ~ x + w + (1 | a) + (1 | a:c)", "y ~ x + w + (1 | a:c) + (1 | a)")
    ]
    for fit in fits[1:]:
        same(fits[0], fit)
    explicit = cl.mixed("y ~ x + w + (1 | a) + (1 | unit)", named)
    assert explicit.deviance == pytest.approx(fits[0].deviance, abs=1e-8)
    np.testing.assert_allclose(explicit.bse, fits[0].bse, rtol=1e-6)


def test_order_of_rows_and_names_of_levels_do_not_matter() -> None:
    fit = cl.mixed(CROSSED, DATA)
    shuffled = DATA.sample(frac=1.0, random_state=3).assign(a=lambda d: "school " + d.a.astype(str), b=lambda d: -d.b)
    other = cl.mixed(CROSSED, shuffled)
    same(fit, other)
    np.testing.assert_allclose(other.fitted[fit.fitted.index], fit.fitted, rtol=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    fit = cl.mixed(CROSSED, DATA)
    monkeypatch.setattr(design_rows, "CHUNK", chunk)
    same(fit, cl.mixed(CROSSED, DATA))


@pytest.mark.parametrize(("scale", "shift"), [(1e6, 0.0), (1e-6, 0.0), (1.0, 1e4), (1e3, 1e6)])
def test_units_and_origins_of_predictors_do_not_matter(scale: float, shift: float) -> None:
    """The random slope's variance is that of the well-scaled model, divided by the square of the unit."""
    fit = cl.mixed(CROSSED, DATA)
    moved = cl.mixed(CROSSED, DATA.assign(x=DATA.x * scale + shift))
    assert moved.converged
    log_x = 2.0 * np.log(scale)  # REML: the determinant of X'V^-1 X is in the units of x
    assert moved.deviance - log_x == pytest.approx(fit.deviance, abs=1e-6)
    assert moved.params["x"] * scale == pytest.approx(fit.params["x"], rel=1e-5)
    slope, expected = moved.cov_re["a"].loc["x", "x"] * scale**2, fit.cov_re["a"].loc["x", "x"]
    assert slope == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(moved.cov_re["b"], fit.cov_re["b"], rtol=1e-4)
    np.testing.assert_allclose(moved.fitted, fit.fitted, rtol=1e-5, atol=1e-5)


def test_units_of_the_outcome_do_not_matter() -> None:
    fit, moved = cl.mixed(CROSSED, DATA), cl.mixed(CROSSED, DATA.assign(y=DATA.y * 1e6 + 1e9))
    np.testing.assert_allclose(moved.params["x"] / 1e6, fit.params["x"], rtol=1e-6)
    np.testing.assert_allclose(moved.theta, fit.theta, rtol=1e-5)


def test_unbalanced_from_one_to_thousands_of_rows() -> None:
    rng = np.random.default_rng(5)
    sizes = np.round(np.geomspace(1, 10_000, 25)).astype(int)
    a = np.repeat(np.arange(25), sizes)
    b = rng.integers(0, 30, a.size)
    y = rng.normal(0, 0.7, 25)[a] + rng.normal(0, 0.3, 30)[b] + rng.normal(size=a.size)
    fit = cl.mixed("y ~ 1 + (1 | a) + (1 | b)", pd.DataFrame({"y": y, "a": a, "b": b}))
    assert fit.converged
    rng = np.random.default_rng(6)
    for size in (1e-3, 1e-2, 0.3):
        assert fit.criterion_at(fit.theta + size * rng.normal(size=2)) >= fit.deviance


def test_a_factor_without_variance_is_named_and_costs_nothing() -> None:
    """A factor that does not matter has variance zero; the rest is the model without it."""
    rng = np.random.default_rng(8)
    data = simulated(9)
    data["b"] = np.tile(np.arange(8), len(data) // 8)
    # no differences between the levels of b: the residuals' means are taken out
    data["y"] = data["y"] - data.groupby("b")["y"].transform("mean") + 0.01 * rng.normal(size=len(data))
    fit, without = cl.mixed("y ~ x + (1 | a) + (1 | b)", data), cl.mixed("y ~ x + (1 | a)", data)
    assert fit.converged
    assert fit.is_singular
    assert fit.cov_re["b"].iloc[0, 0] == 0.0
    assert fit.deviance == pytest.approx(without.deviance, abs=1e-7)
    np.testing.assert_allclose(fit.params, without.params, rtol=1e-6)
    assert any("variance of Intercept between clusters of b is zero" in note for note in fit.notes)
    assert fit.varcomp().set_index("group").loc["b", "std_error"] != fit.varcomp()["std_error"].iloc[-1]


def test_shares_add_up_and_nested_correlations_cumulate() -> None:
    fit = cl.mixed(NESTED, DATA)
    shares = fit.variance_shares()
    assert shares["share"].sum() == pytest.approx(1.0, abs=1e-12)
    assert shares.loc["a:c", "icc"] == pytest.approx(shares.loc[["a", "a:c"], "share"].sum(), rel=1e-12)
    assert shares.loc["a", "icc"] == shares.loc["a", "share"]
    assert fit.icc().estimate == pytest.approx(1.0 - shares.loc["Residual", "share"], rel=1e-12)
    assert fit.icc("a").estimate == pytest.approx(shares.loc["a", "share"], rel=1e-12)
    crossed = cl.mixed("y ~ 1 + (1 | a) + (1 | b)", DATA).variance_shares()
    assert crossed.loc["b", "icc"] == crossed.loc["b", "share"]


def test_standard_errors_of_shares_are_those_of_the_delta_method() -> None:
    """By differences of the share in (variances), with their sampling covariance from the fit."""
    fit = cl.mixed(NESTED, DATA)
    parts = fit.variance_components
    jacobian = np.array([parts[0].jacobian[0, 0], parts[1].jacobian[0, 0], np.zeros(len(parts[0].vcov))])
    jacobian[2, -1] = 2.0 * fit.sigma**2
    cov = jacobian @ parts[0].vcov @ jacobian.T
    values = np.array([parts[0].covariance[0, 0], parts[1].covariance[0, 0], fit.sigma**2])
    for k, name in enumerate(fit.variance_shares().index):
        gradient = (np.eye(3)[k] - values[k] / values.sum()) / values.sum()
        expected = np.sqrt(gradient @ cov @ gradient)
        assert fit.variance_shares().loc[name, "std_error"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("y ~ 1 + (1 | a) + (1 | b)", {"Intercept": 8 - 1}),
        ("y ~ x + zb + (1 | a) + (1 | b)", {"Intercept": 8 - 1 - 1, "zb": 8 - 1 - 1, "x": 240 - 3}),
        # za explains the intercepts of a, whose own mean belongs to the equation of b, which has fewer levels
        ("y ~ x + za + (1 | a) + (1 | b)", {"Intercept": 8 - 1, "za": 12 - 1 - 1, "x": 240 - 3}),
        ("y ~ x * za + (x | a) + (1 | b)", {"Intercept": 7, "za": 10, "x": 12 - 1 - 1, "x:za": 12 - 1 - 1}),
        ("y ~ x + (1 | a) + (0 + x | b)", {"Intercept": 8 - 1, "x": 8 - 1}),
    ],
)
def test_degrees_of_freedom(formula: str, expected: dict[str, float]) -> None:
    data = DATA.assign(za=np.sin(7.0 * DATA.a), zb=np.cos(5.0 * DATA.b))
    assert cl.mixed(formula, data, ddf="m-l-1").df.to_dict() == expected


def test_results_by_factor() -> None:
    fit = cl.mixed(CROSSED, DATA)
    assert fit.ngroups == {"a": 12, "b": 8}
    assert list(fit.cov_re) == list(fit.ranef()) == list(fit.coef()) == ["a", "b"]
    assert list(fit.ranef()["a"].columns) == ["Intercept", "x", "Intercept_se", "x_se"]
    np.testing.assert_allclose(
        fit.coef()["b"]["Intercept"], fit.params["Intercept"] + fit.ranef()["b"]["Intercept"], rtol=1e-12
    )
    modes = fit.ranef(se=False)
    expected = fit.params["Intercept"] + fit.params["x"] * DATA.x + fit.params["w"] * DATA.w
    expected += modes["a"].loc[DATA.a, "Intercept"].to_numpy() + modes["a"].loc[DATA.a, "x"].to_numpy() * DATA.x
    expected += modes["b"].loc[DATA.b, "Intercept"].to_numpy()
    np.testing.assert_allclose(fit.fitted, expected, rtol=1e-10)
    np.testing.assert_allclose(fit.predict(DATA), expected, rtol=1e-10)
    new = DATA.head(3).assign(a=[999, DATA.a[1], DATA.a[2]], b=[DATA.b[0], 999, DATA.b[2]])
    assert np.isfinite(fit.predict(new)).all()
    assert str(fit.summary()).count("Between clusters (") == 3
    assert fit.refit(DATA.y).deviance == pytest.approx(fit.deviance, abs=1e-9)
    assert list(fit.update("~ . - w").params.index) == ["Intercept", "x"]
    assert len(fit.to_dict()["clusters"]) == 2


@pytest.mark.parametrize(
    ("formula", "residual", "pictures"),
    [
        (CROSSED, None, 8),
        (NESTED, None, 7),
        ("y ~ x + (1 | a)", cl.residual.By("b"), 7),
        ("y ~ x", cl.residual.CompoundSymmetry(within="a"), 2),
    ],
)
def test_a_report_on_every_kind_of_model(tmp_path: Path, formula: str, residual: object, pictures: int) -> None:
    fit = cl.mixed(formula, DATA, residual=residual)
    page = cl.report(fit, tmp_path / "report.html", checks="lights").read_text(encoding="utf-8")
    assert page.count("<figure") == pictures
    for name in fit.ngroups:
        assert f"({name})" in page


def test_factors_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(cl.DesignError, match="group the rows in the same way"):
        cl.mixed("y ~ x + (1 | a) + (1 | twin)", DATA.assign(twin=DATA.a * 2))
    with pytest.raises(cl.DesignError, match="differs in each of the 240 rows"):
        cl.mixed("y ~ x + (1 | a) + (1 | row)", DATA.assign(row=range(240)))
    with pytest.raises(cl.DesignError, match="residual variance is zero"):
        cl.mixed("y ~ x + (1 | a) + (1 | b)", DATA.assign(y=DATA.x * 2.0 + 1.0))


def test_an_outcome_that_is_constant_within_crossed_cells_is_refused() -> None:
    data = DATA.assign(y=np.sin(DATA.a) + np.cos(DATA.b))
    with pytest.raises(cl.DesignError, match="residual variance is zero"):
        cl.mixed("y ~ 1 + (1 | a) + (1 | b)", data)
