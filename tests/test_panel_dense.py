"""Panel estimators of an unbalanced panel against dummies and dense matrices; what they are invariant to."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import panel_dense as dense
import pytest

import crosslevel as cl
from crosslevel.inference.panel.components import METHODS, components_of
from crosslevel.inference.panel.panel import grouped_products
from crosslevel.inference.panel.quasi import quasi_regression
from crosslevel.inference.panel.serial import expected_within

FORMULA = "y ~ x + z + x:z"
ROBUST = [f"{meat}-{kind}" for meat in ("arellano", "white1", "white2") for kind in ("HC0", "HC1", "HC2", "HC3")]


@cache
def rows() -> pd.DataFrame:
    """25 groups of 1 to 8 rows at 8 times, in no order, with a predictor of groups and effects of groups and times."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({"g": np.repeat(np.arange(25), 8), "t": np.tile(np.arange(2001, 2009), 25)})
    frame["level"] = rng.normal(size=25)[frame["g"]]
    frame["x"] = rng.normal(size=200) + 0.5 * frame["level"]
    frame["z"] = rng.gamma(2.0, size=200)
    effect = rng.normal(size=25)[frame["g"]] + 0.3 * rng.normal(size=8)[frame["t"] - 2001]
    frame["y"] = 3.0 + frame["x"] - 0.5 * frame["z"] + frame["level"] + effect + rng.normal(size=200)
    kept = frame.sample(n=130, random_state=3)
    alone = kept["g"] == kept["g"].iloc[0]  # a group of one row
    return kept[~alone | (np.cumsum(alone) == 1)].reset_index(drop=True)


def arrays(*, level: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X with the intercept first, y, groups."""
    d = rows()
    columns = [np.ones(len(d)), *([d["level"]] if level else []), d["x"], d["z"], d["x"] * d["z"]]
    return np.column_stack(columns), d["y"].to_numpy(), d["g"].to_numpy()


@cache
def fixed(**options: Any) -> Any:
    return cl.fixed_effects(FORMULA, rows(), group="g", time="t", **options)


@cache
def random(method: str = "swar", formula: str = FORMULA) -> Any:
    return cl.random_effects(formula, rows(), group="g", method=method)


def close(found: Any, wanted: Any, rtol: float = 1e-10) -> None:
    size = np.max(np.abs(wanted))
    np.testing.assert_allclose(np.asarray(found, dtype=float), wanted, rtol=rtol, atol=rtol * size)


def assert_same(fit: Any, twin: dense.Ordinary) -> None:
    close(fit.beta, twin.beta)
    close(fit.beta_vcov, twin.vcov)
    close([fit.rss, fit.df_residual, fit.sigma], [twin.rss, twin.df, np.sqrt(twin.rss / twin.df)])


# -- against dense twins ------------------------------------------------------------------------------------------


def test_within_is_dummies() -> None:
    x, y, g = arrays()
    fit, twin = fixed(), dense.within(x[:, 1:], y, g)
    assert fit.panel.n_singletons == 1
    assert_same(fit, twin)
    whole = dense.Ordinary(x=np.hstack([x[:, 1:], dense.dummies(g)]), y=y)
    close(fit.beta, whole.beta[:3])
    close(fit.beta_vcov, whole.vcov[:3, :3])
    effects = fit.group_effects()
    close(effects["estimate"], whole.beta[3:])
    close(effects["std_error"], np.sqrt(np.diag(whole.vcov)[3:]))
    close(effects["estimate"] - effects["deviation"], np.full(len(effects), fit.details.intercept))
    close(fit.resid, whole.residual)
    close(fit.r_squared, 1.0 - twin.rss / np.sum(twin.y**2))


@pytest.mark.parametrize("name", ROBUST)
def test_robust_covariances(name: str) -> None:
    x, y, g = arrays()
    close(fixed().covariance_by(name).matrix, dense.within(x[:, 1:], y, g).robust(name, g), 1e-9)
    theta = random().details.theta.to_numpy()[g_codes(g)]
    close(random().covariance_by(name).matrix, dense.shares(x, y, g, theta).robust(name, g), 1e-9)


def g_codes(g: np.ndarray) -> np.ndarray:
    return np.unique(g, return_inverse=True)[1]


@pytest.mark.parametrize("name", ["CR0", "CR2", "CR3"])
def test_clustered_is_that_of_dummies(name: str) -> None:
    """CR2 and its degrees of freedom are the same with effects taken out as with dummies, by group."""
    several = rows()[rows().groupby("g")["y"].transform("size") > 1]
    fit = cl.fixed_effects(FORMULA, several, group="g", vcov=name)
    if name == "CR3":  # a group left out leaves no other way to know its dummy
        moves = []
        x, y, g = arrays()
        for level in np.unique(several["g"]):
            other = g != level
            moves.append(dense.within(x[other, 1:], y[other], g[other]).beta - fit.beta)
        close(fit.beta_vcov, np.array(moves).T @ np.array(moves), 1e-9)
        return
    whole = cl.ols(FORMULA + " + C(g)", several, cluster="g", vcov=name)
    close(fit.vcov, whole.vcov.loc[list(fit.terms), list(fit.terms)], 1e-8)
    if name == "CR2":
        close(fit.df, whole.df[list(fit.terms)], 1e-7)
        close(fit.conf_int(), whole.conf_int().loc[list(fit.terms)], 1e-7)


def test_likelihoods() -> None:
    d = rows()
    whole = cl.ols(FORMULA + " + C(g)", d)
    close([fixed().loglik, fixed().aic, fixed().bic], [whole.loglik, whole.aic, whole.bic])
    two = cl.ols(FORMULA + " + C(g) + C(t)", d)
    close([fixed(effect="twoways").deviance, fixed(effect="twoways").n_params], [two.deviance, two.n_params])
    means = d.groupby("g")[["x", "z", "y"]].mean().assign(w=d.groupby("g").size().astype(float))
    for weighted in (False, True):
        between = cl.between("y ~ x + z", d, group="g", weighted=weighted)
        means_fit = cl.ols("y ~ x + z", means, weights=cl.Precision("w") if weighted else None)
        close([between.loglik, between.bic], [means_fit.loglik, means_fit.bic])
    steps = cl.ols("y ~ x + z", dense.differences(d, ["x", "z", "y"], "g", "t"))
    close(cl.first_difference("y ~ x + z", d, group="g", time="t").aic, steps.aic)
    with pytest.raises(cl.CrosslevelError, match="maximises no likelihood"):
        _ = random().loglik


def test_two_ways_are_dummies() -> None:
    d = rows()
    x, y, g = arrays()
    fit = fixed(effect="twoways")
    t = dense.dummies(d["t"].to_numpy())
    whole = dense.Ordinary(x=np.hstack([x[:, 1:], dense.dummies(g), t[:, 1:]]), y=y)
    close(fit.beta, whole.beta[:3])
    close(fit.beta_vcov, whole.vcov[:3, :3])
    close([fit.rss, fit.df_residual], [whole.rss, whole.df])
    close(fit.resid, whole.residual)
    assert fit.details.time_effects.sum() == pytest.approx(0.0, abs=1e-12)
    j = len(np.unique(g))
    close(np.diff(fit.details.time_effects)[0], whole.beta[3 + j])
    close(fit.details.effects + fit.details.time_effects[0], whole.beta[3 : 3 + j])
    m = np.eye(len(y)) - whole.x[:, 3:] @ np.linalg.pinv(whole.x[:, 3:])
    twin = dense.Ordinary(x=m @ x[:, 1:], y=m @ y, absorbed=whole.x.shape[1] - 3)
    for name in ("arellano-HC0", "arellano-HC3", "white2-HC0"):
        close(fit.covariance_by(name).matrix, twin.robust(name, g), 1e-9)


def test_two_ways_of_rows_that_fall_apart() -> None:
    """Two sets of groups at different times: one degree of freedom more, the same slopes as with dummies."""
    d = rows().copy()
    early = d["g"] < 12
    d = d[(early & (d["t"] < 2005)) | (~early & (d["t"] >= 2005))]
    fit = cl.fixed_effects("y ~ x + z", d, group="g", time="t", effect="twoways")
    both = np.hstack([dense.dummies(d["g"].to_numpy()), dense.dummies(d["t"].to_numpy())])
    m = np.eye(len(d)) - both @ np.linalg.pinv(both)
    twin = dense.Ordinary(x=m @ d[["x", "z"]].to_numpy(), y=m @ d["y"].to_numpy())
    rank = np.linalg.matrix_rank(both)
    close(fit.beta, twin.beta)
    assert fit.df_residual == len(d) - 2 - rank
    assert fit.details.n_sets == 2
    assert any("2 sets" in note for note in fit.notes)


@pytest.mark.parametrize("weighted", [False, True])
def test_between_is_a_regression_of_means(weighted: bool) -> None:
    d = rows().assign(xz=lambda d: d["x"] * d["z"])
    means = d.groupby("g")[["x", "z", "xz", "y"]].mean()
    w = np.sqrt(d.groupby("g").size().to_numpy()) if weighted else np.ones(len(means))
    fit = cl.between(FORMULA, d, group="g", weighted=weighted)
    twin = dense.Ordinary(
        x=np.column_stack([np.ones(len(means)), means[["x", "z", "xz"]]]) * w[:, None], y=means["y"].to_numpy() * w
    )
    assert_same(fit, twin)
    for kind in ("HC0", "HC1", "HC2", "HC3"):
        close(fit.covariance_by(kind).matrix, twin.robust(f"white1-{kind}", np.arange(len(means))))
    close(fit.augment()["fitted"], twin.x @ twin.beta / w)


def test_differences_of_neighbouring_times() -> None:
    d = rows().assign(xz=lambda d: d["x"] * d["z"])
    fit = cl.first_difference(FORMULA, d, group="g", time="t")
    steps = dense.differences(d, ["x", "z", "xz", "y"], "g", "t")
    twin = dense.Ordinary(x=np.column_stack([np.ones(len(steps)), steps[["x", "z", "xz"]]]), y=steps["y"].to_numpy())
    assert_same(fit, twin)
    assert fit.nobs == len(steps)
    for name in ("arellano-HC0", "arellano-HC1", "arellano-HC3", "white1-HC0", "white2-HC1"):
        close(fit.covariance_by(name).matrix, twin.robust(name, steps["group"].to_numpy()), 1e-9)
    close(fit.augment()["resid"], twin.residual)
    plain = cl.first_difference("y ~ 0 + x + z + x:z", d, group="g", time="t")
    close(plain.beta, dense.Ordinary(x=twin.x[:, 1:], y=twin.y).beta)


def test_differences_over_gaps() -> None:
    d = rows()
    gaps = cl.first_difference("y ~ x", d, group="g", time="t", over_gaps=True)
    none = cl.first_difference("y ~ x", d, group="g", time="t")
    count = d.groupby("g").size()
    assert gaps.nobs == int((count - 1).sum())
    assert gaps.nobs - none.nobs == none.details.solved.steps.n_gaps > 0
    assert any("over gaps" in note for note in none.notes)
    assert not any("over gaps" in note for note in gaps.notes)
    s = d.sort_values(["g", "t"])
    same = s["g"].diff().to_numpy()[1:] == 0
    x, y = np.diff(s["x"])[same], np.diff(s["y"])[same]
    close(gaps.beta, dense.Ordinary(x=np.column_stack([np.ones(len(x)), x]), y=y).beta)


@pytest.mark.parametrize("method", METHODS)
def test_error_components(method: str) -> None:
    x, y, g = arrays()
    found = random(method).error_components()["variance"]
    close([found["idiosyncratic"], found["g"]], dense.components(x, y, g, method), 1e-9)


@pytest.mark.parametrize("method", ["swar", "walhus"])
def test_components_are_unbiased_with_a_predictor_of_groups(method: str) -> None:
    """The mean of a quadratic form in errors with covariance R R' is the sum of its values at the columns of R."""
    g = arrays(level=True)[2]
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(len(g), len(g))))[0]
    root = np.linalg.cholesky(dense.covariance(g, 2.0, 0.7)) @ turn
    panel = random("swar", "y ~ level + x + z + x:z").panel
    found = np.zeros(2)
    for errors in root.T:
        design = panel.design.with_response(errors)
        found += METHODS[method](replace(panel, design=design, products=grouped_products(design, panel.groups)))
    np.testing.assert_allclose(found, [2.0, 0.7], rtol=1e-9)


@pytest.mark.parametrize("level", [False, True])
def test_random_effects_are_generalised_least_squares(level: bool) -> None:
    x, y, g = arrays(level=level)
    formula = "y ~ level + x + z + x:z" if level else FORMULA
    fit = random("swar", formula)
    found = fit.details.components
    v = dense.covariance(g, found.sigma2_e, found.sigma2_u)
    bread = np.linalg.inv(x.T @ np.linalg.solve(v, x))
    beta = bread @ x.T @ np.linalg.solve(v, y)
    close(fit.beta, beta)
    close(fit.beta_vcov, bread * fit.sigma**2 / found.sigma2_e)
    z = dense.dummies(g)
    u = found.sigma2_u * z.T @ np.linalg.solve(v, y - x @ beta)
    effects = fit.group_effects()
    close(effects["estimate"], u)
    close(fit.fitted, x @ beta + z @ u)
    # the error of prediction, with sigma2 of the regression for that of the coefficients
    gain = found.sigma2_u * z.T @ np.linalg.inv(v)
    given = found.sigma2_u * np.eye(len(u)) - gain @ z * found.sigma2_u
    spread = gain @ x @ fit.beta_vcov @ x.T @ gain.T
    close(effects["std_error"], np.sqrt(np.diag(given + spread)))


def test_no_variance_between_groups_is_pooled_least_squares() -> None:
    x, y, _ = arrays()
    panel = random().panel
    components = components_of(panel, 1.0, -0.1, "swar")
    assert components.sigma2_u == 0.0
    close(quasi_regression(panel, components.theta).beta, dense.Ordinary(x=x, y=y).beta)


def test_random_effects_approach_fixed_effects() -> None:
    panel = random().panel
    close(quasi_regression(panel, components_of(panel, 1.0, 1e12, "swar").theta).beta[1:], fixed().beta, 1e-6)


# -- tests --------------------------------------------------------------------------------------------------------


def test_multiplier_tests_of_unbalanced_panels() -> None:
    x, y, g = arrays()
    e = dense.Ordinary(x=x, y=y).residual
    size, sums = np.bincount(g_codes(g)), np.bincount(g_codes(g), e)
    n = len(y)
    honda = np.sqrt(n**2 / (2 * (np.sum(size**2) - n))) * (np.sum(sums**2) / (e @ e) - 1.0)
    found = fixed().test_effects()["statistic"]
    assert found["Honda"] == pytest.approx(honda, rel=1e-10)
    assert found["Breusch-Pagan"] == pytest.approx(honda**2, rel=1e-10)


def test_f_tests_of_two_ways() -> None:
    d = rows()
    found = fixed(effect="twoways").test_effects()
    whole = cl.ols(FORMULA + " + C(g) + C(t)", d)
    for name, formula in {"F, t given g": FORMULA + " + C(g)", "F, g and t": FORMULA}.items():
        small = cl.ols(formula, d)
        more = small.df_residual - whole.df_residual
        statistic = (small.solved.rss - whole.solved.rss) / more / whole.sigma**2
        assert found.loc[name, "statistic"] == pytest.approx(statistic, rel=1e-9)
        assert tuple(found.loc[name, ["df_num", "df_den"]]) == (more, whole.df_residual)


def test_expected_serial_correlation_of_within_residuals() -> None:
    """The ratio of the expectations of both sums, by matrices."""
    d = rows().sort_values(["g", "t"]).reset_index(drop=True)
    g, t = d["g"].to_numpy(), d["t"].to_numpy()
    m = np.eye(len(d)) - dense.averaging(g)
    pair = np.flatnonzero((g[1:] == g[:-1]) & (np.diff(t) == 1))
    both = np.trace(m[pair + 1] @ m[pair].T) / np.trace(m[pair] @ m[pair].T)
    codes = g_codes(g)
    counts = np.bincount(codes[pair], minlength=codes.max() + 1)
    assert expected_within(np.bincount(codes), counts) == pytest.approx(both, rel=1e-12)
    assert fixed().test_serial().expected == pytest.approx(both, rel=1e-12)
    assert fixed().test_serial().pairs == len(pair)


def test_serial_correlation_of_differences_is_found() -> None:
    rng = np.random.default_rng(5)
    g, t = np.repeat(np.arange(60), 12), np.tile(np.arange(12), 60)
    x = rng.normal(size=720)
    walk = np.cumsum(rng.normal(size=(60, 12)), axis=1).ravel()
    d = pd.DataFrame({"g": g, "t": t, "x": x, "noise": x + rng.normal(size=720), "walk": x + walk})
    independent = cl.first_difference("noise ~ x", d, group="g", time="t").test_serial()
    assert independent.expected == -0.5
    assert independent.p_value > 0.05
    assert cl.first_difference("walk ~ x", d, group="g", time="t").test_serial().p_value < 1e-6
    assert "rho = " in str(independent)


@pytest.mark.parametrize("vcov", ["iid", "CR0", "arellano-HC1", "white2-HC0", "white1-HC3"])
def test_hausman_by_rows(vcov: str) -> None:
    x, y, g = arrays(level=True)
    re = random("swar", "y ~ level + x + z + x:z")
    theta = re.details.theta.to_numpy()[g_codes(g)]
    quasi = dense.shares(x, y, g, theta)
    deviations = dense.within(x[:, 2:], y, g).x
    twin = dense.Ordinary(x=np.hstack([quasi.x, deviations]), y=quasi.y)
    found = cl.hausman(fixed(), re, method="auxiliary", vcov=vcov)
    close(found.frame["estimate"], twin.beta[5:], 1e-9)
    covariance = twin.vcov if vcov == "iid" else twin.robust("arellano-HC0" if vcov == "CR0" else vcov, g)
    close(found.frame["std_error"], np.sqrt(np.diag(covariance)[5:]), 1e-9)
    if vcov == "CR0":
        assert (found.distribution, found.df_num) == ("F", 3.0)
        assert 0.0 < found.df_den < 24.0
        return
    statistic = twin.beta[5:] @ np.linalg.solve(covariance[5:, 5:], twin.beta[5:])
    assert found.statistic == pytest.approx(statistic, rel=1e-8)
    assert found.df_num == 3.0


def test_hausman_of_a_multilevel_model() -> None:
    """A random intercept by likelihood: as a random-effects fit with its variances."""
    d = rows()
    mixed = cl.mixed(FORMULA + " + level + (1 | g)", d)
    found = cl.hausman(fixed(), mixed)
    terms = list(fixed().terms)
    change = fixed().beta - mixed.params[terms].to_numpy()
    spread = fixed().beta_vcov - mixed.vcov.loc[terms, terms].to_numpy()
    assert found.statistic == pytest.approx(change @ np.linalg.solve(spread, change), rel=1e-7)
    x, y, g = arrays(level=True)
    tau2 = float(mixed.cov_re["g"].iloc[0, 0])
    n = np.bincount(g_codes(g))[g_codes(g)]
    quasi = dense.shares(x, y, g, 1.0 - np.sqrt(mixed.sigma**2 / (mixed.sigma**2 + n * tau2)))
    twin = dense.Ordinary(x=np.hstack([quasi.x, dense.within(x[:, 2:], y, g).x]), y=quasi.y)
    other = cl.hausman(fixed(), mixed, method="auxiliary", vcov="arellano-HC3")
    close(other.frame["std_error"], np.sqrt(np.diag(twin.robust("arellano-HC3", g))[5:]), 1e-8)
    assert "Mixed model" in str(other)


# -- predictions --------------------------------------------------------------------------------------------------


def test_predictions_of_new_rows() -> None:
    d = rows()
    new = d.head(4).assign(g=[d["g"].iloc[0], d["g"].iloc[1], 99, d["g"].iloc[3]])
    new.loc[3, "x"] = np.nan
    for fit in (fixed(), random()):
        close(fit.predict(), fit.fitted)
        close(fit.predict(d), fit.fitted)
        found = fit.predict(new)
        close(found.iloc[:2], fit.fitted.iloc[:2])
        assert np.isnan(found.iloc[3])
    assert np.isnan(fixed().predict(new).iloc[2])
    average = random().predict(new, effects=False)
    assert random().predict(new).iloc[2] == pytest.approx(average.iloc[2])
    close(average.iloc[:3], np.column_stack([np.ones(4), new["x"], new["z"], new["x"] * new["z"]])[:3] @ random().beta)
    shifted = fixed().predict(new, effects=False).iloc[2]
    assert shifted == pytest.approx(fixed().details.intercept + arrays()[0][2, 1:] @ fixed().beta)
    two = fixed(effect="twoways")
    close(two.predict(d), two.fitted)
    between = cl.between(FORMULA, d, group="g")
    close(between.predict(d), arrays()[0] @ between.beta)
    steps = cl.first_difference(FORMULA, d, group="g", time="t")
    close(steps.predict(), steps.fitted)


# -- invariance ---------------------------------------------------------------------------------------------------

ESTIMATORS = {
    "within": lambda f, d: cl.fixed_effects(f, d, group="g", vcov="CR2"),
    "twoways": lambda f, d: cl.fixed_effects(f, d, group="g", time="t", effect="twoways", vcov="arellano-HC3"),
    "between": lambda f, d: cl.between(f, d, group="g", vcov="HC3"),
    "difference": lambda f, d: cl.first_difference(f, d, group="g", time="t", vcov="white1-HC2"),
    "random": lambda f, d: cl.random_effects(f, d, group="g", vcov="arellano-HC1"),
    "amemiya": lambda f, d: cl.random_effects(f, d, group="g", method="amemiya", vcov="white2-HC3"),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_order_of_rows_and_blocks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = ESTIMATORS[name]("y ~ x + z", rows())
    other = ESTIMATORS[name]("y ~ x + z", rows().sample(frac=1.0, random_state=2))
    both = ["estimate", "std_error"]
    close(other.tidy()[both], fit.tidy()[both], 1e-9)
    assert other.notes == fit.notes
    monkeypatch.setattr("crosslevel.design.rows.CHUNK", 7)
    monkeypatch.setattr("crosslevel.design.build.CHUNK", 7)
    close(ESTIMATORS[name]("y ~ x + z", rows()).tidy()[both], fit.tidy()[both], 1e-9)
    polars = pytest.importorskip("polars")
    close(ESTIMATORS[name]("y ~ x + z", polars.from_pandas(rows())).tidy()[both], fit.tidy()[both], 1e-9)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_units(name: str) -> None:
    fit = ESTIMATORS[name]("y ~ x + z", rows())
    moved = rows().assign(y=rows()["y"] * 1e-3 + 1e6, x=rows()["x"] * 100.0 - 1e6, g=rows()["g"].astype(str) + "!")
    other = ESTIMATORS[name]("y ~ x + z", moved)
    close(other.params["x"] * 1e5, fit.params["x"], 1e-6)
    close(other.bse[["x", "z"]] * [1e5, 1e3], fit.bse[["x", "z"]], 1e-6)
    close(other.r_squared, fit.r_squared, 1e-6)
    scaled = ESTIMATORS[name]("y ~ x + z", rows().assign(y=rows()["y"] * 1e6, x=rows()["x"] * 1e-6))
    close(scaled.params["x"] * 1e-12, fit.params["x"], 1e-9)
    close(scaled.bse["x"] * 1e-12, fit.bse["x"], 1e-9)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_rows_with_missing_values_are_left_out(name: str) -> None:
    """As if they were not in the data; in a first difference the rows beside them are no neighbours."""
    d = rows().assign(t=rows()["t"].astype(float))
    d.loc[[3, 40], "x"] = np.nan
    d.loc[17, "y"] = np.nan
    kept = d.dropna()
    found, wanted = ESTIMATORS[name]("y ~ x + z", d), ESTIMATORS[name]("y ~ x + z", kept)
    close(found.beta, wanted.beta, 1e-12)
    close(found.beta_vcov, wanted.beta_vcov, 1e-10)
    assert found.rows.dropped == 3
    assert found.augment().index.isin(kept.index if name != "between" else kept["g"]).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_predictors_that_explain_nearly_everything(name: str) -> None:
    """Residuals are those of the noise alone, to which predictors add nothing but their own multiples."""
    noise = np.random.default_rng(8).normal(size=len(rows()))
    d = rows().assign(x=np.round(rows()["x"], 6), y=noise)
    near = ESTIMATORS[name]("y ~ x + z", d)
    far = ESTIMATORS[name]("y ~ x + z", d.assign(y=2.0**17 * d["x"] + noise))
    assert far.r_squared > 1.0 - 1e-9
    close(far.rss, near.rss, 1e-8)
    close(far.bse, near.bse, 1e-8)


def test_a_column_far_from_zero_keeps_its_digits() -> None:
    d = rows().assign(x=np.round(rows()["x"], 3))
    near = cl.fixed_effects("y ~ x + z", d, group="g")
    far = cl.fixed_effects("y ~ x + z", d.assign(x=d["x"] * 1024 + 2.0**30), group="g")  # exact in binary
    close(far.params["x"] * 1024, near.params["x"], 1e-7)
    close(far.bse["z"], near.bse["z"], 1e-8)
