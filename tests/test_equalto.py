"""equalto(0 + f | g, V): random effects whose covariance is known in the units of the outcome."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dense_crossed
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import crosslevel as cl
from crosslevel.covariance import BlockStructure
from crosslevel.covariance.known import Fixed
from crosslevel.estimators.mixed import MixedFit
from crosslevel.likelihood.fixed_scale import FixedScaleDeviance

MATRIX = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, -0.2], [0.1, -0.2, 0.7]])
BESIDE = {
    "nothing": "",
    "the same factor": " + (1 | g)",
    "an intercept": " + (1 | h)",
    "another": " + (1 + x | h)",
    "two others": " + (1 | h) + diag(0 + f | k)",
    "tied effects": " + cs(0 + f | h)",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Twin:
    """A model as dense matrices: y, X, Z V Z' of the known part, and for each other random term same and z."""

    y: np.ndarray
    X: np.ndarray
    known: np.ndarray
    terms: tuple[tuple[np.ndarray, np.ndarray], ...]

    def covariance(self, sigma: float, factors: tuple[np.ndarray, ...]) -> np.ndarray:
        """sigma^2 (I + sum of Z Lambda Lambda'Z') + Z V Z'."""
        out = np.eye(len(self.y))
        for (same, z), factor in zip(self.terms, factors, strict=True):
            out = out + same * (z @ factor @ factor.T @ z.T)
        return sigma**2 * out + self.known

    def deviance(self, sigma: float, factors: tuple[np.ndarray, ...], *, reml: bool) -> float:
        """In extended precision."""
        covariance = self.covariance(sigma, factors)
        return float(dense_crossed.deviance(covariance, self.X, self.y, reml=reml, sigma=1.0))

    def plain(self, sigma: float, factors: tuple[np.ndarray, ...], *, reml: bool) -> float:
        """In doubles, for searches."""
        half = np.linalg.cholesky(self.covariance(sigma, factors))
        x, y = np.linalg.solve(half, self.X), np.linalg.solve(half, self.y)
        rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        nu = len(y) - (x.shape[1] if reml else 0)
        out = 2.0 * np.log(np.diag(half)).sum() + nu * np.log(2.0 * np.pi) + rest @ rest
        return float(out + (np.linalg.slogdet(x.T @ x)[1] if reml else 0.0))


def frame_of(seed: int, n: int = 48) -> pd.DataFrame:
    """Rows in two crossed factors and one more, with effects of f in the first."""
    rng = np.random.default_rng(seed)
    g, h, k, f = (rng.integers(0, size, n) for size in (9, 7, 6, 3))
    f[:3], x = [0, 1, 2], rng.normal(size=n)
    effects = rng.normal(size=(9, 3)) @ np.linalg.cholesky(MATRIX).T
    y = 1.0 + 0.5 * x + effects[g, f] + 0.7 * rng.normal(size=7)[h] + 0.9 * rng.normal(size=n)
    levels = {name: [f"{name}{code}" for code in codes] for name, codes in (("g", g), ("h", h), ("k", k))}
    return pd.DataFrame({"y": y, "x": x, "f": np.array(list("abc"))[f], **levels})


def twin_of(data: pd.DataFrame, beside: str) -> Twin:
    indicators = np.array(data["f"].to_numpy()[:, None] == list("abc"), dtype=float)
    one = np.ones((len(data), 1))
    with_x = np.column_stack([one, data["x"]])
    same = {name: data[name].to_numpy()[:, None] == data[name].to_numpy() for name in "ghk"}
    terms = {
        "nothing": (),
        "the same factor": ((same["g"], one),),
        "an intercept": ((same["h"], one),),
        "another": ((same["h"], with_x),),
        "two others": ((same["h"], one), (same["k"], indicators)),
        "tied effects": ((same["h"], indicators),),
    }[beside]
    known = same["g"] * (indicators @ MATRIX @ indicators.T)
    return Twin(y=data["y"].to_numpy(), X=with_x, known=known, terms=terms)


def fit_of(data: pd.DataFrame, beside: str, method: str = "reml", **more: object) -> MixedFit:
    return cl.mixed(f"y ~ x + equalto(0 + f | g, V){BESIDE[beside]}", data, method=method, known={"V": MATRIX}, **more)


def free_factors(structures: tuple[BlockStructure, ...], theta: np.ndarray) -> tuple[np.ndarray, ...]:
    """Lambda of the estimated blocks of each factor that has some, from theta in the units of the data."""
    out, start = [], 0
    for structure in structures:
        factor = structure.factor(theta[start : start + structure.n_theta])
        start += structure.n_theta
        if not structure.fixed.all():
            out.append(factor[np.ix_(~structure.fixed, ~structure.fixed)])
    return tuple(out)


def structures_of(fit: MixedFit) -> tuple[BlockStructure, ...]:
    return tuple(factor.structure for factor in fit.design.factors)


def criterion_of(fit: MixedFit) -> FixedScaleDeviance:
    return FixedScaleDeviance.of(fit.design.crossing, reml=fit.method == "reml")


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("beside", BESIDE)
def test_deviance_at_given_parameters_is_that_of_the_dense_twin(beside: str, method: str) -> None:
    data = frame_of(1)
    fit, twin = fit_of(data, beside, method), twin_of(data, beside)
    criterion, structures = criterion_of(fit), structures_of(fit)
    rng = np.random.default_rng(5)
    for _ in range(3):
        theta = np.abs(rng.normal(size=len(fit.theta))) + 0.1
        ends = np.cumsum([0, *(structure.n_theta for structure in structures)])
        at = criterion.at_factors(
            tuple(
                basis @ structure.factor(theta[ends[k] : ends[k + 1]])
                for k, (structure, basis) in enumerate(zip(structures, criterion.bases, strict=True))
            )
        )
        sigma, factors = at.sigma * criterion.coordinates.scale[-1], free_factors(structures, theta)
        assert at.deviance == pytest.approx(twin.deviance(sigma, factors, reml=method == "reml"), rel=1e-10)
        # of all sigma, this one is best
        near = [twin.deviance(sigma * np.exp(s), factors, reml=method == "reml") for s in (-1e-4, 1e-4)]
        assert min(near) > at.deviance
        assert fit.criterion_at(theta) == pytest.approx(at.deviance, rel=1e-10)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("beside", [name for name in BESIDE if name != "nothing"])
def test_derivatives_are_those_of_differences(beside: str, method: str) -> None:
    fit = fit_of(frame_of(2), beside, method)
    criterion = criterion_of(fit)
    rng = np.random.default_rng(6)
    theta = np.abs(rng.normal(size=len(fit.theta))) + 0.2
    at = criterion.value(theta)
    steps = 1e-4 * np.eye(len(theta))

    def deviance(moved: np.ndarray) -> float:
        return criterion.value(moved).deviance

    def slopes(moved: np.ndarray) -> np.ndarray:
        state = criterion.value(moved)
        return np.append(criterion.derivatives(state, moved).gradient, np.log(state.sigma))

    gradient = criterion.derivatives(at, theta).gradient
    by_difference = [
        (8 * (deviance(theta + e) - deviance(theta - e)) - deviance(theta + 2 * e) + deviance(theta - 2 * e)) / 12e-4
        for e in steps
    ]
    np.testing.assert_allclose(gradient, by_difference, rtol=1e-6, atol=1e-6 * np.abs(gradient).max())
    hessian, log_sigma = criterion.curvature(at, theta)
    second = np.array(
        [
            (8 * (slopes(theta + e) - slopes(theta - e)) - slopes(theta + 2 * e) + slopes(theta - 2 * e)) / 12e-4
            for e in steps
        ]
    )
    np.testing.assert_allclose(hessian, second[:, :-1], rtol=1e-6, atol=1e-6 * np.abs(hessian).max())
    np.testing.assert_allclose(log_sigma, second[:, -1], rtol=1e-6, atol=1e-6 * np.abs(log_sigma).max())


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("seed", [3, 4])
def test_optimum_is_that_of_another_search(seed: int, beside: str, method: str) -> None:
    data = frame_of(seed)
    fit, twin = fit_of(data, beside, method), twin_of(data, beside)
    structures = structures_of(fit)
    assert fit.converged

    def deviance(parameters: np.ndarray) -> float:
        factors = free_factors(structures, parameters[1:])
        return twin.plain(float(np.exp(parameters[0])), factors, reml=method == "reml")

    mine = np.append(np.log(fit.sigma), fit.theta)
    assert deviance(mine) == pytest.approx(fit.deviance, rel=1e-10)
    ends = [
        minimize(deviance, np.append(log_sigma, np.full(len(fit.theta), size)), method="BFGS", options={"gtol": 1e-7})
        for log_sigma in (-1.0, 0.3)
        for size in (0.2, 0.9)
    ]
    best = min(end.fun for end in ends)
    assert fit.deviance <= best + 1e-6
    assert best <= fit.deviance + 1e-6


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("beside", ["nothing", "another", "the same factor"])
def test_known_residual_variances_beside_a_known_covariance(beside: str, method: str) -> None:
    """Where sigma is known too, nothing but the other random effects is estimated."""
    data = frame_of(5)
    data["se"] = np.random.default_rng(1).uniform(0.5, 1.5, len(data))
    fit = fit_of(data, beside, method, residual=cl.residual.Known("se"))
    structures, twin = structures_of(fit), twin_of(data, beside)
    rest = np.diag(data["se"].to_numpy() ** 2) - np.eye(len(data))
    twin = Twin(y=twin.y, X=twin.X, known=twin.known + rest, terms=twin.terms)

    def deviance(theta: np.ndarray) -> float:
        return twin.plain(1.0, free_factors(structures, theta), reml=method == "reml")

    assert fit.n_params == 2 + len(fit.theta) == 2 + sum(structure.n_theta for structure in structures)
    assert fit.deviance == pytest.approx(deviance(fit.theta), rel=1e-10)
    assert fit.criterion_at(0.8 * fit.theta) == pytest.approx(deviance(0.8 * fit.theta), rel=1e-10)
    np.testing.assert_allclose(fit.cov_re["g"].iloc[:3, :3], MATRIX, rtol=1e-12)
    if len(fit.theta):
        best = minimize(deviance, np.full(len(fit.theta), 0.5), method="BFGS", options={"gtol": 1e-7}).fun
        assert fit.deviance == pytest.approx(best, abs=1e-6)
        statistic = fit.test_random().loc["all", "statistic"]
        assert statistic == pytest.approx(deviance(0.0 * fit.theta) - fit.deviance, abs=1e-8)


def test_a_known_variance_adds_to_known_errors() -> None:
    """One row per study: the variance V of its effect and the square of its standard error make one variance."""
    rng = np.random.default_rng(6)
    data = pd.DataFrame({"x": rng.normal(size=30), "se": rng.uniform(0.2, 0.9, 30), "study": np.arange(30)})
    data["y"] = 1.0 + data["x"] + rng.normal(size=30)
    data["both"] = np.sqrt(data["se"] ** 2 + 0.3)
    for method in ("reml", "ml"):
        one = cl.mixed(
            "y ~ x + equalto(1 | study, V)", data, method=method, known={"V": [[0.3]]},
            residual=cl.residual.Known("se"),
        )  # fmt: skip
        other = cl.mixed("y ~ x", data, method=method, residual=cl.residual.Known("both"))
        assert one.deviance == pytest.approx(other.deviance, rel=1e-12)
        np.testing.assert_allclose(one.params, other.params, rtol=1e-12)
        np.testing.assert_allclose(one.vcov, other.vcov, rtol=1e-12)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_a_random_effects_meta_analysis_in_two_ways(method: str) -> None:
    """Known errors as residuals and the heterogeneity as random effects, or the other way round."""
    rng = np.random.default_rng(7)
    data = pd.DataFrame({"x": rng.normal(size=25), "se": rng.uniform(0.2, 0.6, 25), "study": np.arange(25)})
    data["y"] = 1.0 + 0.4 * data["x"] + rng.normal(size=25) * np.sqrt(0.25 + data["se"] ** 2)
    data["effect"], data["all"] = [f"e{i:02d}" for i in range(25)], "all"
    usual = cl.mixed("y ~ x + (1 | study)", data, method=method, residual=cl.residual.Known("se"))
    fit = cl.mixed("y ~ x + equalto(0 + effect | all, V)", data, method=method, known={"V": np.diag(data["se"] ** 2)})
    assert fit.deviance == pytest.approx(usual.deviance, abs=1e-8)
    assert fit.sigma**2 == pytest.approx(usual.cov_re["study"].iloc[0, 0], rel=1e-5)
    np.testing.assert_allclose(fit.params, usual.params, rtol=1e-5)
    np.testing.assert_allclose(fit.vcov, usual.vcov, rtol=1e-5)
    assert (fit.n_params, len(fit.theta)) == (3, 0)
    row, own = fit.varcomp().iloc[-1], usual.varcomp().iloc[0]
    assert row["std_error"] == pytest.approx(own["std_error"], rel=1e-4)
    assert list(fit.df) == [23.0, 23.0]


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_sampling_covariances_of_several_outcomes_of_a_study(method: str) -> None:
    """One matrix for all rows, block-diagonal by study, and random effects of studies: against the dense twin."""
    rng = np.random.default_rng(8)
    n, study = 40, np.repeat(np.arange(10), 4)
    se, same = rng.uniform(0.2, 0.6, n), study[:, None] == study
    V = np.outer(se, se) * np.where(np.eye(n) > 0, 1.0, 0.6 * same)
    y = 0.3 + 0.4 * rng.normal(size=10)[study] + np.linalg.cholesky(V) @ rng.normal(size=n) + 0.3 * rng.normal(size=n)
    names = [f"e{i:02d}" for i in range(n)]
    data = pd.DataFrame({"y": y, "effect": names, "all": 1, "study": study})
    known = {"V": pd.DataFrame(V, index=names, columns=names).iloc[::-1, ::-1]}  # in the order of its labels
    fit = cl.mixed("y ~ 1 + equalto(0 + effect | all, V) + (1 | study)", data, method=method, known=known)
    twin = Twin(y=y, X=np.ones((n, 1)), known=V, terms=((same, np.ones((n, 1))),))

    def deviance(parameters: np.ndarray) -> float:
        return twin.plain(float(np.exp(parameters[0])), (parameters[1:, None],), reml=method == "reml")

    best = minimize(deviance, np.array([-1.0, 1.0]), method="BFGS", options={"gtol": 1e-7})
    assert fit.deviance == pytest.approx(best.fun, abs=1e-6)
    assert fit.deviance == pytest.approx(deviance(np.append(np.log(fit.sigma), fit.theta)), rel=1e-10)
    whole = np.linalg.inv(twin.covariance(fit.sigma, (fit.theta[:, None],)))
    assert fit.vcov.iloc[0, 0] == pytest.approx(1.0 / whole.sum(), rel=1e-8)
    effects = V @ whole @ (y - fit.params.iloc[0])
    np.testing.assert_allclose(fit.ranef(se=False)["all"].to_numpy()[0], effects, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(fit.cov_re["all"], V, rtol=1e-10, atol=1e-14)
    inside = V - V @ whole @ V
    errors = fit.ranef()["all"].to_numpy()[0][n:]
    np.testing.assert_allclose(errors, np.sqrt(np.diag(inside)), rtol=1e-6)
    assert "Covariance of 40 random effects of each all: V, as given" in str(fit)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_the_covariance_that_a_proportional_one_comes_to(method: str) -> None:
    data = frame_of(9)
    for beside in ("nothing", "another"):
        formula = f"y ~ x + propto(0 + f | g, V){BESIDE[beside]}"
        free = cl.mixed(formula, data, method=method, known={"V": MATRIX})
        known = {"V": free.cov_re["g"]}
        fit = cl.mixed(formula.replace("propto", "equalto"), data, method=method, known=known)
        assert fit.loglik == pytest.approx(free.loglik, abs=1e-8)
        assert fit.sigma == pytest.approx(free.sigma, rel=1e-5)
        assert fit.n_params == free.n_params - 1
        np.testing.assert_allclose(fit.params, free.params, rtol=1e-5, atol=1e-6)
        other = {"V": 1.5 * free.cov_re["g"]}
        assert fit.update(known=other).deviance > fit.deviance


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("factor", [1e-3, 40.0])
def test_other_units_of_the_outcome(method: str, factor: float) -> None:
    data = frame_of(10)
    fit = fit_of(data, "another", method)
    other = cl.mixed(fit.formula, data.assign(y=factor * data["y"]), method=method, known={"V": factor**2 * MATRIX})
    nu = len(data) - (2 if method == "reml" else 0)
    assert other.deviance == pytest.approx(fit.deviance + 2.0 * nu * np.log(factor), rel=1e-10)
    assert other.sigma == pytest.approx(factor * fit.sigma, rel=1e-6)
    np.testing.assert_allclose(other.theta, fit.theta, rtol=1e-5, atol=1e-9)


def test_a_residual_variance_of_zero_is_said() -> None:
    """The known covariances are too large: the likelihood rises up to a residual variance of zero."""
    rng = np.random.default_rng(11)
    n = 30
    V = np.diag(rng.uniform(0.5, 1.5, n))
    data = pd.DataFrame({"y": 0.7 * rng.normal(size=n) * np.sqrt(np.diag(V)), "x": rng.normal(size=n)})
    data["effect"], data["all"] = [f"e{i:02d}" for i in range(n)], 1
    fit = cl.mixed("y ~ x + equalto(0 + effect | all, V)", data, known={"V": V})
    X = np.column_stack([np.ones(n), data["x"]])
    limit = float(dense_crossed.deviance(V, X, data["y"].to_numpy(), reml=True, sigma=1.0))
    assert fit.deviance == pytest.approx(limit, abs=1e-6)
    assert fit.sigma < 1e-3
    assert fit.converged
    assert any("residual variance is estimated as zero" in note for note in fit.notes)
    row = fit.varcomp().iloc[-1]
    assert np.isnan(row["std_error"])
    assert np.isnan(row["conf_low"])


def test_weights() -> None:
    """Precisions against the dense twin; frequencies against rows that are repeated."""
    data = frame_of(12)
    rng = np.random.default_rng(2)
    data["w"], data["times"] = rng.uniform(0.3, 3.0, len(data)), rng.integers(1, 4, len(data))
    for method in ("reml", "ml"):
        fit = fit_of(data, "nothing", method, weights=cl.Precision("w"))
        twin = twin_of(data, "nothing")
        for factor, name in ((1.0, "at"), (1.001, "above"), (0.999, "below")):
            covariance = np.diag((factor * fit.sigma) ** 2 / data["w"]) + twin.known
            found = float(dense_crossed.deviance(covariance, twin.X, twin.y, reml=method == "reml", sigma=1.0))
            if name == "at":
                assert fit.deviance == pytest.approx(found, rel=1e-10)
            else:
                assert fit.deviance < found
        counted = fit_of(data, "another", method, weights=cl.Frequency("times"))
        repeated = fit_of(data.loc[data.index.repeat(data["times"])].reset_index(drop=True), "another", method)
        assert counted.deviance == pytest.approx(repeated.deviance, rel=1e-9)


def test_standard_errors_are_those_of_the_likelihood() -> None:
    data = frame_of(13, n=150)
    fit, twin = fit_of(data, "an intercept", "ml"), twin_of(data, "an intercept")
    assert not fit.is_singular
    structures, at = structures_of(fit), np.append(fit.theta, np.log(fit.sigma))

    def deviance(parameters: np.ndarray) -> float:
        return twin.plain(float(np.exp(parameters[-1])), free_factors(structures, parameters[:-1]), reml=False)

    step = 1e-3 * np.eye(len(at))
    hessian = np.array(
        [
            [
                (deviance(at + a + b) - deviance(at + a - b) - deviance(at - a + b) + deviance(at - a - b)) / 4e-6
                for b in step
            ]
            for a in step
        ]
    )
    expected = 2.0 * np.linalg.inv(hessian)
    rows = fit.varcomp()
    residual = rows[rows["kind"] == "residual"].iloc[0]
    assert residual["std_error"] == pytest.approx(2.0 * fit.sigma**2 * np.sqrt(expected[-1, -1]), rel=1e-3)
    mine = rows[(rows["group"] == "h") & (rows["term1"] == "Intercept") & (rows["kind"] == "variance")].iloc[0]
    gradient = np.zeros(len(at))
    gradient[0], gradient[-1] = 2.0 * fit.sigma**2 * fit.theta[0], 2.0 * mine["estimate"]
    assert mine["std_error"] == pytest.approx(np.sqrt(gradient @ expected @ gradient), rel=1e-3)


def test_what_a_fit_says_of_its_known_part() -> None:
    data = frame_of(15)
    fit = fit_of(data, "the same factor")
    rows = fit.varcomp()
    known = rows[rows["kind"].str.startswith("known")]
    assert list(known["kind"]) == ["known variance"] * 3 + ["known covariance"] * 3
    np.testing.assert_allclose(known["estimate"], [2.0, 1.0, 0.7, 0.5, 0.1, -0.2], rtol=1e-12)
    assert known[["std_error", "conf_low", "conf_high", "std_dev_low", "std_dev_high"]].isna().all().all()
    assert list(rows[rows["kind"] == "variance"]["term1"]) == ["Intercept"]
    np.testing.assert_allclose(fit.cov_re["g"].loc["f[a]":"f[c]", "f[a]":"f[c]"], MATRIX, rtol=1e-12)
    assert (len(fit.theta), fit.n_params) == (1, 4)
    text = str(fit)
    assert "Covariance of 3 random effects of each g: V, as given" in text
    assert "known variances, not estimated" in text
    assert "(u2j, u3j, u4j) ~ N(0, V)" in text
    test = fit.test_random().loc["all"]
    assert test["df"] == 1
    alone = fit_of(data, "nothing")
    assert test["statistic"] == pytest.approx(max(alone.deviance - fit.deviance, 0.0), abs=1e-7)
    with pytest.raises(cl.CrosslevelError, match="are all known"):
        alone.test_random()
    assert 0.0 < fit.icc().estimate < 1.0
    assert fit.refit(data["y"]).deviance == pytest.approx(fit.deviance, rel=1e-10)
    assert fit.update("~ . - x").n_params == 3
    assert fit.glance()["n_params"].iloc[0] == 4


def test_simulated_outcomes_have_the_known_covariance() -> None:
    n = 3000
    data = pd.DataFrame({"g": np.repeat(np.arange(n), 3), "f": list("abc") * n})
    rng = np.random.default_rng(16)
    effects = rng.normal(size=(n, 3)) @ np.linalg.cholesky(MATRIX).T
    data["y"] = effects.ravel() + 0.5 * rng.normal(size=3 * n)
    fit = cl.mixed("y ~ 1 + equalto(0 + f | g, V)", data, known={"V": MATRIX})
    assert fit.sigma == pytest.approx(0.5, abs=0.05)
    drawn = fit.simulate(seed=1).to_numpy().reshape(n, 3)
    wanted = MATRIX + fit.sigma**2 * np.eye(3)
    spread = np.sqrt((wanted**2 + np.outer(np.diag(wanted), np.diag(wanted))) / n)
    assert np.all(np.abs(np.cov(drawn.T) - wanted) < 4.0 * spread)


def test_predictions_use_the_known_covariance() -> None:
    data = frame_of(17)
    fit, twin = fit_of(data, "nothing"), twin_of(data, "nothing")
    inverse = np.linalg.inv(twin.covariance(fit.sigma, ()))
    rest = twin.y - twin.X @ fit.params.to_numpy()
    np.testing.assert_allclose(fit.fitted, twin.X @ fit.params.to_numpy() + twin.known @ inverse @ rest, rtol=1e-8)


REFUSED = {
    "no matrix": ({}, {}, "gives none. Give it: known"),
    "another size": ({"V": np.eye(2)}, {}, "needs a row and a column for each of the 3 random effects"),
    "no covariance": ({"V": -MATRIX}, {}, "must be a covariance matrix"),
    "not symmetric": ({"V": np.triu(MATRIX)}, {}, "must be symmetric"),
    "sampling weights": ({"V": MATRIX}, {"weights": cl.Sampling("w"), "method": "ml"}, "sampling weights"),
    "iterative": ({"V": MATRIX}, {"algebra": "iterative"}, "algebra='exact'"),
    "residual structure": ({"V": MATRIX}, {"residual": cl.residual.By("f")}, "`residual` is estimated"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_words(case: str) -> None:
    known, more, words = REFUSED[case]
    data = frame_of(18).assign(w=1.0)
    with pytest.raises(cl.CrosslevelError, match=words):
        cl.mixed("y ~ x + equalto(0 + f | g, V)", data, known=known, **more)


def test_the_structure_has_no_parameters() -> None:
    kind = Fixed(MATRIX)
    assert kind.n_theta(3) == 0
    np.testing.assert_allclose(kind.factor(np.zeros(0), 3) @ kind.factor(np.zeros(0), 3).T, MATRIX, rtol=1e-14)
    relative = kind.at_sigma(2.0).factor(np.zeros(0), 3)
    np.testing.assert_allclose(relative @ relative.T, MATRIX / 4.0, rtol=1e-14)
    assert kind.factor_gradient(np.zeros(0), 3).shape == (0, 3, 3)
    assert kind.nearest(np.eye(3)).shape == (0,)
    assert kind.cone(3) == (0, False)
    structure = BlockStructure(kinds=(kind,), columns=(np.arange(3),), q=3)
    assert structure.fixed.all()
    assert structure.mask.all()
    assert list(structure.members())[1:] == []


METAFOR = json.loads((Path(__file__).parent / "reference" / "known" / "sampling_errors.json").read_text("utf-8"))


@pytest.mark.parametrize("case", METAFOR["cases"], ids=lambda case: f"{case['terms']}-{case['method']}")
def test_meta_analyses_of_metafor(case: dict[str, Any]) -> None:
    """rma.mv with V, a variance between effects, which is sigma^2 here, and one between studies."""
    data = pd.DataFrame(METAFOR["data"]).assign(all="all")
    formula = "y ~ x + equalto(0 + effect | all, V)" + (" + (1 | study)" if case["terms"] == 2 else "")
    fit = cl.mixed(formula, data, method=case["method"], known={"V": METAFOR["V"]})
    assert fit.deviance <= case["deviance"] + 1e-6
    assert fit.deviance == pytest.approx(case["deviance"], abs=1e-5)
    assert fit.sigma**2 == pytest.approx(case["sigma2"][-1], rel=1e-4)
    if case["terms"] == 2:
        assert fit.cov_re["study"].iloc[0, 0] == pytest.approx(case["sigma2"][0], rel=1e-4)
    errors = np.sqrt(np.diag(case["vcov"]))
    np.testing.assert_allclose(fit.params, case["beta"], atol=1e-3 * errors.min())
    np.testing.assert_allclose(fit.bse, errors, rtol=1e-4)
