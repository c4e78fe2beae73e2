"""Satterthwaite: lmerTest, differences of whole densities, the boundary, closed forms."""

from collections.abc import Callable
from dataclasses import replace

import dense
import dense_crossed
import dense_inference
import numpy as np
import pandas as pd
import pytest
from reference_cases import cases_with, components, fit_case, load_case
from test_kenward_roger import MATRIX, column_of, fixed_columns, indicator, rows

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.inference.satterthwaite import combined_df, uncertainty

DF = "satterthwaite"


@pytest.mark.parametrize("name", cases_with("df_satterthwaite"))
def test_coefficients_are_those_of_lmertest(name: str) -> None:
    """Of lmerTest the Hessian is numerical."""
    case, fit = load_case(name), fit_case(name)
    ours = {components(term): i for i, term in enumerate(fit.design.fixed_names)}
    df = fit.tests(ddf=DF)["df"].iloc[[ours[each] for each in case.coefficients]]
    expected = [case.expected["df_satterthwaite"][name] for name in case.expected["coef_names"]]
    np.testing.assert_allclose(df, expected, rtol=1e-5)
    pd.testing.assert_series_equal(fit.tests(ddf=DF)["std_error"], fit.bse)


# -- differences of whole densities -----------------------------------------------------------------------------------


def check(
    fit: object, data: pd.DataFrame, V: Callable[[np.ndarray], np.ndarray], at: np.ndarray, *, reml: bool = True
) -> None:
    """Degrees of freedom against derivatives by differences in any parameters of V, at the estimates."""
    X, y = fixed_columns(data), data["y"].to_numpy()

    def deviance(t: np.ndarray) -> float:
        return dense_crossed.deviance(V(t), X, y, reml=reml, sigma=1.0)

    def vcov(t: np.ndarray) -> np.ndarray:
        return np.linalg.inv(X.T @ np.linalg.solve(V(t).astype(float), X))

    np.testing.assert_allclose(vcov(at), fit.vcov, rtol=1e-6)
    expected = [
        dense_inference.satterthwaite(deviance, vcov, at, row, dense.hessian, dense.gradient) for row in np.eye(4)
    ]
    np.testing.assert_allclose(fit.tests(ddf=DF)["df"], expected, rtol=1e-4)


def pieces(data: pd.DataFrame, fit: object, group: str, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Columns (n, q) that vary between groups, and which rows share one (n, n)."""
    columns = [np.ones(len(data)) if name == "Intercept" else column_of(data, name) for name in names]
    shared = indicator(data, fit, group)
    return np.column_stack(columns), shared @ shared.T


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_slopes_against_differences(method: str) -> None:
    data = rows()
    fit = cl.mixed("y ~ x + w + z + (x | g)", data, method=method)
    Z, same = pieces(data, fit, "g", ["Intercept", "x"])
    Z = (Z - [0.0, 3.0]) / [1.0, 10.0]  # the twin's parameters are those of a standardised slope
    turn = np.array([[1.0, 3.0], [0.0, 10.0]])
    L = np.linalg.cholesky(turn @ fit.cov_re["g"].to_numpy() @ turn.T)

    def V(t: np.ndarray) -> np.ndarray:  # noqa: N802
        lower = np.array([[t[0], 0.0], [t[1], t[2]]])
        return np.exp(2 * t[3]) * np.eye(len(data)) + (Z @ lower @ lower.T @ Z.T) * same

    check(fit, data, V, np.array([L[0, 0], L[1, 0], L[1, 1], np.log(fit.sigma)]), reml=method == "reml")


def test_crossed_and_nested_factors_against_differences() -> None:
    data = rows()
    fit = cl.mixed("y ~ x + w + z + (1 | g) + (1 | h) + (1 | g:k)", data)
    same = [pieces(data, fit, group, ["Intercept"])[1] for group in fit.cov_re]

    def V(t: np.ndarray) -> np.ndarray:  # noqa: N802
        out = np.exp(2 * t[0]) * np.eye(len(data))
        return out + sum(np.exp(2 * s) * some for s, some in zip(t[1:], same, strict=True))

    sizes = [fit.sigma, *(np.sqrt(fit.cov_re[group].iloc[0, 0]) for group in fit.cov_re)]
    check(fit, data, V, np.log(sizes))


def test_known_covariances_against_differences() -> None:
    """A covariance in the units of the data does not grow with sigma."""
    data = rows()
    fit = cl.mixed("y ~ x + w + z + equalto(0 + occ | h, M) + (1 | g)", data, known={"M": MATRIX})
    Z, same_h = pieces(data, fit, "h", [f"occ[t{k}]" for k in range(4)])
    known = (Z @ MATRIX @ Z.T) * same_h
    _, same = pieces(data, fit, "g", ["Intercept"])

    def V(t: np.ndarray) -> np.ndarray:  # noqa: N802
        return np.exp(2 * t[0]) * np.eye(len(data)) + np.exp(2 * t[1]) * same + known

    check(fit, data, V, np.log([fit.sigma, np.sqrt(fit.cov_re["g"].iloc[0, 0])]))


def test_residual_variances_by_stratum_against_differences() -> None:
    data = rows().assign(kind=lambda d: np.where(d.w > 0.0, "a", "b"))
    fit = cl.mixed("y ~ x + w + z + (1 | g)", data, residual=cl.residual.By("kind"))
    _, same = pieces(data, fit, "g", ["Intercept"])
    second = (data["kind"] == fit.design.residual.variance.levels[1]).to_numpy(float)

    def V(t: np.ndarray) -> np.ndarray:  # noqa: N802
        return np.diag(np.exp(2 * t[0] + 2 * t[1] * second)) + np.exp(2 * t[2]) * same

    at = np.array([np.log(fit.sigma), fit.solution.phi[0], np.log(np.sqrt(fit.cov_re["g"].iloc[0, 0]))])
    check(fit, data, V, at)


def test_autoregressive_residuals_against_differences() -> None:
    data = rows(n=80).assign(time=lambda d: d.groupby("g").cumcount())
    data = data.sort_values(["g", "time"]).reset_index(drop=True)
    rng, e = np.random.default_rng(4), np.zeros(len(data))
    for i in range(len(data)):
        e[i] = rng.normal() + (0.6 * e[i - 1] if i and data.g[i] == data.g[i - 1] else 0.0)
    data["y"] = 1.0 + 0.1 * data.x + e + 2.0 * rng.normal(size=7)[data.g]
    fit = cl.mixed("y ~ x + w + z + (1 | g)", data, residual=cl.residual.AR1("time", within="g"))
    _, same = pieces(data, fit, "g", ["Intercept"])
    unit = np.equal.outer(data.g.to_numpy(), data.g.to_numpy())
    lag = np.abs(np.subtract.outer(data.time.to_numpy(), data.time.to_numpy()))
    rho = float(fit.residual_parameters()["estimate"].iloc[0])

    def V(t: np.ndarray) -> np.ndarray:  # noqa: N802
        return np.exp(2 * t[0]) * np.where(unit, np.tanh(t[1]) ** lag, 0.0) + np.exp(2 * t[2]) * same

    check(fit, data, V, np.array([np.log(fit.sigma), np.arctanh(rho), np.log(np.sqrt(fit.cov_re["g"].iloc[0, 0]))]))


# -- the boundary -----------------------------------------------------------------------------------------------------


def test_a_variance_of_zero_is_left_out() -> None:
    """The degrees of freedom are those of the model without the effect, whose estimates are the same."""
    data = rows(5, slope=0.0)
    fit, smaller = (cl.mixed(f"y ~ x + w + z + {term}", data) for term in ("(x || g)", "(1 | g)"))
    assert fit.is_singular
    assert not smaller.is_singular
    np.testing.assert_allclose(fit.deviance, smaller.deviance, atol=1e-8)
    np.testing.assert_allclose(fit.tests(ddf=DF)["df"], smaller.tests(ddf=DF)["df"], rtol=1e-6)


def test_no_variance_at_all_is_ordinary_regression() -> None:
    fit = fit_case("Dyestuff2__ri_reml")
    np.testing.assert_allclose(fit.tests(ddf=DF)["df"], fit.nobs - 1.0, rtol=1e-10)


def test_a_correlation_of_one_is_held_against_differences() -> None:
    """The covariance matrix is b b': b is estimated, its rank is not."""
    rng = np.random.default_rng(8)
    data = rows(8, slope=0.0)
    u = rng.normal(size=7)[data.g]
    data["y"] = 1.0 + 0.1 * data.x + u * (1.0 + 0.05 * (data.x - 3.0)) + rng.normal(size=len(data))
    fit = cl.mixed("y ~ x + w + z + (x | g)", data)
    values, vectors = np.linalg.eigh(fit.cov_re["g"].to_numpy() * np.outer([1.0, 10.0], [1.0, 10.0]))
    assert fit.is_singular
    assert values[1] > 0.01
    Z, same = pieces(data, fit, "g", ["Intercept", "x"])
    Z = Z / [1.0, 10.0]

    def V(t: np.ndarray) -> np.ndarray:  # noqa: N802
        return np.exp(2 * t[2]) * np.eye(len(data)) + np.outer(Z @ t[:2], Z @ t[:2]) * same

    check(fit, data, V, np.append(vectors[:, 1] * np.sqrt(values[1]), np.log(fit.sigma)))


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_balanced_one_way_is_exact() -> None:
    table = cl.mixed("Reaction ~ 1 + (1 | Subject)", cl.datasets.load("sleepstudy")).tests(ddf=DF)
    np.testing.assert_allclose(table["df"], 17.0, rtol=1e-8)


def test_known_residual_variances_leave_the_others_uncertain() -> None:
    """A meta-analysis without differences between studies: nothing is estimated, and z is exact."""
    data = rows()
    data["y"] = 1.0
    data["y"] += data["se"] * np.random.default_rng(1).normal(size=len(data)) * 0.5
    fit = cl.mixed("y ~ x + w + z + (1 | g)", data, residual=cl.residual.Known("se"))
    assert fit.is_singular
    assert np.all(np.isinf(fit.tests(ddf=DF)["df"]))


def test_joint_tests_do_not_depend_on_how_the_rows_are_ordered_or_scaled_together() -> None:
    fit = cl.mixed("y ~ x + w + z + (x | g)", rows())
    one = fit.contrast(["x", "z", "w"], ddf=DF, joint=True)
    two = fit.contrast(["2 * z", "2 * w", "2 * x"], ddf=DF, joint=True)
    np.testing.assert_allclose(one, two, rtol=1e-8)


@pytest.mark.parametrize(
    ("df", "expected"),
    [
        ([7.0], 7.0),
        ([9.0, 9.0, 9.0], 9.0),
        ([5.0, 5.0 + 1e-9], 5.0),
        ([1.5], 1.5),
        ([1.5, 30.0], 2.0),
        ([np.inf, np.inf], np.inf),
        ([4.0, np.inf], 2 * (4 / 2 + 1) / (4 / 2 + 1 - 2)),
        ([10.0, 20.0], 2 * (10 / 8 + 20 / 18) / (10 / 8 + 20 / 18 - 2)),
    ],
)
def test_degrees_of_freedom_of_several_together(df: list[float], expected: float) -> None:
    assert combined_df(np.array(df)) == pytest.approx(expected, rel=1e-8)


def test_iterative_solutions_are_close_to_exact_ones() -> None:
    data = rows(n=300)
    exact, iterative = (cl.mixed("y ~ x + w + z + (1 | g) + (1 | h)", data, algebra=a) for a in ("exact", "iterative"))
    np.testing.assert_allclose(iterative.tests(ddf=DF)["df"], exact.tests(ddf=DF)["df"], rtol=0.25)


def test_an_end_without_curvature_is_refused() -> None:
    """Far beyond the optimum the deviance is concave."""
    fit = cl.mixed("y ~ x + w + z + (1 | g)", rows())
    minimum, far = fit.solution.minimum, np.array([50.0])
    end = replace(minimum, theta=far, state=fit.solution.criterion.value(far))
    with pytest.raises(CrosslevelError, match="curvature of the deviance"):
        uncertainty(replace(fit.estimates, solution=replace(fit.solution, minimum=end)))
