"""Profile likelihood of generalized models: ends of intervals by search on a grid, invariance, what is refused."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from generalized_clusters import answers
from grid_likelihood import GridModel
from reference_cases import load_data
from scipy import optimize, stats

import crosslevel as cl

QUANTILE = float(stats.norm.ppf(0.975))


@cache
def fitted(formula="y ~ x + z + (1 | school)", family="binomial", nodes=25):
    return cl.mixed(formula, answers(), family=family, quadrature=nodes)


@cache
def grid():
    frame = answers()
    return GridModel.of(frame["y"], np.column_stack([np.ones(len(frame)), frame["x"], frame["z"]]), frame["school"])


@pytest.mark.parametrize(("index", "name"), [(1, "x"), (3, "sd(Intercept|school)")])
def test_ends_are_those_of_a_search_on_the_grid(index, name):
    model = grid()
    start = np.append(fitted().params.to_numpy(), np.sqrt(fitted().cov_re["school"].iloc[0, 0]))
    at, least = model.maximum(start)
    for end in fitted().profile(name, progress=False).interval(name):
        _, held = model.maximum(at, held=(index, end))
        np.testing.assert_allclose(held - least, QUANTILE**2, atol=1e-4)  # zeta to 3e-5


def test_all_parameters_of_correlated_effects():
    fit = fitted("y ~ x + (x | school)", nodes=1)
    found = fit.profile(progress=False, level=0.95)
    frame = found.conf_int()
    assert list(frame.index) == list(fit.estimands.names)
    np.testing.assert_allclose(frame["estimate"], fit.estimands.values(fit.solution.parameters), atol=1e-6)
    assert np.all((frame["conf_low"] <= frame["estimate"]) & (frame["estimate"] <= frame["conf_high"]))
    # a correlation that hardly varying slopes cannot determine may be anything
    assert frame.loc["cor(Intercept,x|school)", "conf_low"] >= -1.0
    assert frame.loc["sd(x|school)", "conf_low"] == 0.0


def test_a_variance_of_zero_gives_an_interval_from_zero():
    noisy = answers().assign(rank=lambda d: d["x"] + 2.0 * np.random.default_rng(4).normal(size=len(d)))
    frame = noisy.assign(y=(noisy.groupby("school")["rank"].rank(pct=True) > 0.5).astype(int))
    fit = cl.mixed("y ~ x + (1 | school)", frame, family="binomial", quadrature=1)
    low, high = fit.profile("sd", progress=False).interval("sd(Intercept|school)")
    assert fit.is_singular
    assert low == 0.0
    rise = cl.mixed("y ~ x + (1 | school)", frame, family="binomial", quadrature=1).solution.criterion
    theta = fit.solution.parameters.copy()

    def deviance(rest):
        return float(rise.value(np.append(high, rest)).deviance)

    held = optimize.minimize(deviance, theta[1:], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9}).fun
    np.testing.assert_allclose(held - fit.deviance, QUANTILE**2, atol=1e-4)


def test_swapping_yes_and_no_turns_intervals_round():
    frame = answers().assign(no=lambda d: 1 - d["y"])
    one = fitted(nodes=5).profile("coefficients", progress=False).conf_int()
    other = cl.mixed("no ~ x + z + (1 | school)", frame, family="binomial", quadrature=5)
    turned = other.profile("coefficients", progress=False).conf_int()
    np.testing.assert_allclose(one["conf_low"], -turned["conf_high"], atol=1e-5)


def test_thresholds_by_the_codes_turned_round():
    """With the categories in reverse order thresholds change sign and places."""
    wine = load_data("wine")
    wine["rating"] = pd.Categorical(wine["rating"], ordered=True)
    wine["turned"] = pd.Categorical(6 - wine["rating"].astype(int), ordered=True)
    fits = [cl.mixed(f"{y} ~ temp + (1 | judge)", wine, family="ordinal", quadrature=1) for y in ("rating", "turned")]
    found = [fit.profile("thresholds", progress=False).conf_int() for fit in fits]
    assert list(found[0].index) == ["1|2", "2|3", "3|4", "4|5"]
    np.testing.assert_allclose(found[0]["conf_low"], -found[1]["conf_high"].to_numpy()[::-1], atol=2e-4)
    np.testing.assert_allclose(found[0]["estimate"], fits[0].thresholds()["estimate"], atol=1e-6)


def test_shape_parameters():
    rng = np.random.default_rng(3)
    frame = answers().assign(n=lambda d: rng.poisson(np.exp(0.5 + 0.4 * d["x"]) * rng.gamma(2.0, 0.5, len(d))))
    fit = cl.mixed("n ~ x + (1 | school)", frame, family="nbinom2", quadrature=1)
    found = fit.profile("shape", progress=False)
    (name,) = found.parameters
    low, high = found.interval(name)
    criterion, layout = fit.solution.criterion, fit.solution.criterion.layout
    for end in (low, high):

        def deviance(rest, end=end):
            return float(criterion.value(np.append(rest, np.log(end))).deviance)

        start = fit.solution.parameters[: layout.shape.start]
        held = optimize.minimize(deviance, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9}).fun
        np.testing.assert_allclose(held - fit.deviance, QUANTILE**2, atol=2e-4)


def test_words_and_refusals():
    found = fitted(nodes=5).profile("x", progress=False)
    assert "5 quadrature nodes" in str(found)
    assert found.frame["parameter"].unique().tolist() == ["x"]
    with pytest.raises(cl.errors.CrosslevelError, match="thresholds"):
        fitted(nodes=5).profile("sigma")
    with pytest.raises(cl.errors.CrosslevelError, match="MQL"):
        fitted(nodes="mql").profile()
