"""Profile likelihood, against lme4 and against brute force on the dense covariance matrix of all rows."""

import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from profile_dense import IX, TWINS, Block, Twin, small_fit, small_frame, twin_of
from reference_cases import CASES, fit_case, load_case, load_data, our_group

import crosslevel as cl
from crosslevel.covariance.singled_out import FirstCorrelation, FirstDeviation, PolarSymmetry, WithoutFirst
from crosslevel.estimators.asked.profile import profile_intervals
from crosslevel.inference.held import least
from crosslevel.inference.profile import full_minimum, is_increasing, profiles
from crosslevel.inference.profile_effects import random_effects
from crosslevel.inference.profile_lines import coefficients, residual

QUANTILE, NINETY = 1.959963984540054, 1.6448536269514722

PROFILED = [name for name in CASES if "profile_ci_95" in load_case(name).expected]


def our_parameter(case, name):
    """R's name of a parameter in ours: `cor_Days.(Intercept)|Subject` is `cor(Intercept,Days|Subject)`."""
    if name == "sigma":
        return name
    groups = list(fit_case(case.name).ngroups)
    if name.startswith(("sd_", "cor_")):
        kind, rest = name.split("_", 1)
        effects, group = rest.split("|")
        ours = ["Intercept" if effect == "(Intercept)" else effect for effect in reversed(effects.split(".", 1))]
        return f"{kind}({','.join(ours)}|{our_group(group, groups)})"
    (found,) = (t for t in fit_case(case.name).params.index if frozenset(t.split(":")) == case.components(name))
    return found


@cache
def profile_of(name):
    return fit_case(name).profile(progress=False)


@pytest.mark.parametrize("name", PROFILED)
def test_intervals_are_those_of_lme4(name):
    case, found = load_case(name), profile_of(name)
    expected = case.expected["profile_ci_95"]
    ours = found.conf_int()
    assert sorted(our_parameter(case, key) for key in expected) == sorted(ours.index)
    for key, interval in expected.items():
        row = ours.loc[our_parameter(case, key)]
        got = row[["conf_low", "conf_high"]].to_numpy()
        tolerance = 1e-3 * (interval[1] - interval[0]) / (2.0 * QUANTILE)
        if name.startswith("Dyestuff2") and key == "(Intercept)":
            # lme4 interpolates over a kink, where the batches begin to vary: the rise at its ends is not 3.8415
            rises = [dense_rise("Dyestuff2", value) for value in (*interval, *got)]
            assert min(abs(rise - QUANTILE**2) for rise in rises[:2]) > 1e-3
            np.testing.assert_allclose(rises[2:], QUANTILE**2, atol=1e-6)
            tolerance *= 2.0
        np.testing.assert_allclose(got, interval, atol=tolerance)


def dense_rise(dataset, mean):
    """Rise of the deviance of the random-intercept model of the yields of batches when the mean is held."""
    frame = load_data(dataset)
    ones, codes = np.ones((len(frame), 1)), frame["Batch"].cat.codes.to_numpy()
    batch = Block(group="Batch", codes=codes, Z=ones, names=("Intercept",))
    twin = Twin(y=frame["Yield"].to_numpy(), X=ones, names=("Intercept",), blocks=(batch,), residual_start=(3.5,))
    return twin.least("Intercept", mean, twin.starts(1.0)) - twin.least(None, 0.0, twin.starts(1.0))


QUICK = ("one effect", "two effects")
"""Brute force takes half a minute for some of the others."""


@pytest.mark.parametrize("key", [key if key in QUICK else pytest.param(key, marks=pytest.mark.slow) for key in TWINS])
def test_deviance_at_the_ends_is_that_of_brute_force(key):
    twin, found = twin_of(key), small_fit(key).profile(progress=False)
    assert sorted(found.parameters) == sorted(twin.parameters)
    least_of_all = twin.least(None, 0.0, twin.starts(1.0))
    assert found.deviance == pytest.approx(least_of_all, abs=1e-6)
    for k, (name, row) in enumerate(found.conf_int(0.9).iterrows()):
        side = ("conf_low", "conf_high")[k % 2]  # one end of each: brute force is slow
        rise = twin.least(name, row[side], twin.starts(0.7)) - least_of_all
        if row[side] in found.curve(name).line.limits:
            assert rise <= NINETY**2 + 1e-6, name
        else:
            assert rise == pytest.approx(NINETY**2, abs=1e-6), name


def test_restricted_deviance_at_the_ends_is_that_of_brute_force():
    twin = twin_of("two effects", reml=True)
    found = small_fit("two effects").profile(method="reml")
    assert found.parameters == ("sd(Intercept|g)", "sd(x|g)", "cor(Intercept,x|g)", "sigma")
    least_of_all = twin.least(None, 0.0, twin.starts(1.0))
    assert found.deviance == pytest.approx(small_fit("two effects").deviance, abs=1e-9)
    for name, row in found.conf_int(0.9).iterrows():
        rise = twin.least(name, row["conf_high"], twin.starts(0.7)) - least_of_all
        assert rise == pytest.approx(NINETY**2, abs=1e-6), name


def lines_of(key, method="ml"):
    """The minimum of a small model and the lines of all its parameters."""
    fit = small_fit(key, method)
    base = full_minimum(fit.solution, reml=False)
    effects = [fit.design.effects_of(factor) for factor in fit.design.factors]
    named = [
        *coefficients(base, fit.design.fixed_names),
        *random_effects(base, [factor.name for factor in fit.design.factors], effects),
        *residual(base)[0],
    ]
    return base, {name: make() for name, _, make in named}


@pytest.mark.parametrize("key", TWINS)
def test_gradients_are_those_of_differences(key):
    _, lines = lines_of(key)
    rng = np.random.default_rng(5)
    for name, line in lines.items():
        place = line.place + max(0.7 * min(line.error, 1.0), 0.05)
        x = line.x + 0.05 * rng.normal(size=len(line.x))
        problem, step = line.problem(place), 1e-5
        at = problem.value(x)
        got = problem.derivatives(at, x).gradient
        moved = step * np.eye(len(x))
        expected = [(problem.value(x + m).deviance - problem.value(x - m).deviance) / (2.0 * step) for m in moved]
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4, err_msg=name)
        if line.kind != "coefficient":  # whose slope holds at its minimum only where beta is, too
            ends = [line.problem(place + sign * step).value(x).deviance for sign in (1.0, -1.0)]
            assert problem.slope(at, x) == pytest.approx((ends[0] - ends[1]) / (2.0 * step), rel=1e-5, abs=1e-4), name


@pytest.mark.parametrize("key", ["two effects", "unequal", "weighted", "one effect", "known"])
def test_slopes_of_zeta_are_those_of_differences(key):
    _, lines = lines_of(key)
    for name, line in lines.items():
        place, step = line.place + 0.7 * min(line.error, 1.0), 1e-4 * line.error
        here = least(line.problem(place), line.x, tolerance=1e-12)
        ends = [least(line.problem(place + sign * step), here.x, tolerance=1e-12).deviance for sign in (1.0, -1.0)]
        assert here.slope == pytest.approx((ends[0] - ends[1]) / (2.0 * step), rel=1e-4, abs=1e-4 / line.error), name


@pytest.mark.parametrize("name", PROFILED)
def test_zeta_rises(name):
    found = profile_of(name)
    assert all(is_increasing(curve) and curve.converged for curve in found.curves.values())
    frame = found.frame
    assert list(frame.columns) == ["parameter", "value", "zeta", "deviance"]
    np.testing.assert_allclose(frame["zeta"] ** 2, np.maximum(frame["deviance"] - found.deviance, 0.0), atol=1e-12)
    for _, points in frame.groupby("parameter", sort=False):
        assert points["value"].is_monotonic_increasing


def test_smooth_curve_goes_through_the_ends():
    found = profile_of("sleepstudy__rs_ml")
    for name in found.parameters:
        value, zeta = found.smooth(name)
        assert np.all(np.diff(value) > 0.0)
        assert np.all(np.diff(zeta) >= 0.0)
        ends = np.interp([-QUANTILE, QUANTILE], zeta, value)
        np.testing.assert_allclose(ends, found.interval(name), atol=2e-3 * (value[-1] - value[0]))


def test_intervals_of_another_level_than_the_points_reach():
    fit = fit_case("sleepstudy__rs_ml")
    short, long = fit.profile(level=0.8), fit.profile(level=0.999)
    for level in (0.5, 0.95, 0.999):
        np.testing.assert_allclose(short.conf_int(level), long.conf_int(level), rtol=1e-6)


def test_intervals_of_the_coefficients_alone():
    fit = fit_case("sleepstudy__rs_reml")
    expected = profile_of("sleepstudy__rs_reml").conf_int().loc[list(fit.params.index), ["conf_low", "conf_high"]]
    np.testing.assert_allclose(profile_intervals(fit, 0.95), expected, rtol=1e-7)


def test_least_squares_intervals_are_exact():
    """With residual standard deviations s_k alone n_k (log r + 1 / r - 1) = z^2 at r = s^2 / estimate^2."""
    frame = small_frame()
    found = cl.mixed("y ~ 1 + s", frame, residual=cl.residual.By("s")).profile()
    for level, rows in frame.groupby("s"):
        sd = rows["y"].std(ddof=0)
        ratio = (np.array(found.interval(f"sigma[{level}]")) / sd) ** 2
        np.testing.assert_allclose(len(rows) * (np.log(ratio) + 1.0 / ratio - 1.0), QUANTILE**2, rtol=1e-6)
    low, high = found.interval("Intercept")
    first = frame.query("s == 'a'")["y"]
    half = np.sqrt(first.var(ddof=0) * (np.exp(QUANTILE**2 / len(first)) - 1.0))
    np.testing.assert_allclose([low, high], first.mean() + half * np.array([-1.0, 1.0]), rtol=1e-6)


def test_units_and_order_of_rows_do_not_matter():
    frame = small_frame()
    formula = "y ~ x + (x | g)"
    plain = cl.mixed(formula, frame).profile().conf_int()
    shuffled = cl.mixed(formula, frame.sample(frac=1.0, random_state=1)).profile().conf_int()
    np.testing.assert_allclose(shuffled, plain, rtol=1e-6)
    scaled = cl.mixed(formula, frame.assign(y=1000.0 * frame["y"], x=0.01 * frame["x"])).profile().conf_int()
    factors = {"Intercept": 1e3, "x": 1e5, "sd(Intercept|g)": 1e3, "sd(x|g)": 1e5, "sigma": 1e3}
    for name, row in scaled.iterrows():
        np.testing.assert_allclose(row, plain.loc[name] * factors.get(name, 1.0), rtol=1e-6, err_msg=name)


def test_order_of_effects_does_not_matter():
    frame = small_frame()
    one = cl.mixed("y ~ x + (1 + x + z | g)", frame).profile(["sd", "cor"]).conf_int(0.9)
    other = cl.mixed("y ~ x + (0 + z + x + u | g)", frame.assign(u=1.0)).profile(["sd", "cor"]).conf_int(0.9)
    for name, row in other.iterrows():
        kind, (effects, group) = name.split("(")[0], name.split("(")[1].rstrip(")").split("|")
        effects = sorted(effects.replace("u", "Intercept").split(","))
        np.testing.assert_allclose(row, one.loc[f"{kind}({','.join(effects)}|{group})"], rtol=1e-5, atol=1e-6)


def test_variance_that_is_zero():
    found = profile_of("Dyestuff2__ri_reml")
    assert found.interval("sd(Intercept|Batch)")[0] == 0.0
    assert found.curve("sd(Intercept|Batch)").points[0].zeta == 0.0


def test_correlation_that_the_data_do_not_tell():
    found = fit_case("Hsb82__slopes_as_outcomes_reml").profile(["sd(cses|school)", "cor(Intercept,cses|school)"])
    name = "cor(Intercept,cses|school)"
    assert found.interval(name) == (-1.0, 1.0)
    # a model without one of the effects has any correlation: its deviance bounds the profile
    without = cl.mixed(
        load_case("Hsb82__slopes_as_outcomes_reml").formula.replace("(cses | school)", "(1 | school)"),
        load_data("Hsb82"), method="ml",
    )  # fmt: skip
    lowest = found.frame.query("parameter == @name").iloc[0]
    assert lowest["deviance"] == pytest.approx(without.deviance, abs=1e-5)
    zero = found.frame.query("parameter == 'sd(cses|school)'").iloc[0]
    assert zero["value"] == 0.0
    assert zero["deviance"] == pytest.approx(without.deviance, abs=1e-5)


def test_singular_fit():
    rng = np.random.default_rng(2)
    g = np.arange(120) % 15
    x = rng.normal(size=120)
    b = rng.normal(size=15)
    y = b[g] * (1.0 + x) + 1.5 * rng.normal(size=120)
    fit = cl.mixed("y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": g.astype(str)}), method="ml")
    assert fit.is_singular
    found = fit.profile()
    ends = found.conf_int()
    assert ends.loc["cor(Intercept,x|g)", "conf_high"] == 1.0
    assert -1.0 < ends.loc["cor(Intercept,x|g)", "conf_low"] < 1.0
    assert all(is_increasing(curve) for curve in found.curves.values())
    ones = np.column_stack([np.ones(120), x])
    twin = Twin(y=y, X=ones, names=IX, blocks=(Block(group="g", codes=g, Z=ones, names=IX),), residual_start=(1.5,))
    least_of_all = twin.least(None, 0.0, twin.starts(1.0))
    assert found.deviance == pytest.approx(least_of_all, abs=1e-6)
    for name, side in (("cor(Intercept,x|g)", "conf_low"), ("sd(x|g)", "conf_low"), ("sd(Intercept|g)", "conf_high")):
        rise = twin.least(name, ends.loc[name, side], twin.starts(1.0)) - least_of_all
        assert rise == pytest.approx(QUANTILE**2, abs=2e-6), name


def test_lower_minimum_is_found_and_taken():
    base, _ = lines_of("two effects")
    moved = base.theta + 0.3
    state = base.engine.value(moved)
    wrong = replace(base, theta=moved, state=state, deviance=float(state.deviance))
    found, curves = profiles(wrong, lambda base: list(coefficients(base, IX)), 1.96)
    assert found.deviance == pytest.approx(base.deviance, abs=1e-8)
    expected = small_fit("two effects", "ml").profile(["coefficients"], level=0.95)
    for name, curve in curves.items():
        assert curve.end(1.0, QUANTILE) == pytest.approx(expected.interval(name)[1], rel=1e-6)


def test_chosen_parameters():
    fit = small_fit("two effects")
    assert fit.profile("x").parameters == ("x",)
    assert fit.profile(["sd", "sigma"]).parameters == ("sd(Intercept|g)", "sd(x|g)", "sigma")
    assert fit.profile("residual").parameters == ("sigma",)
    with pytest.raises(cl.CrosslevelError, match=r"`which` names parameters .*sd\(x\|g\).* got 'sd\(z\|g\)'"):
        fit.profile("sd(z|g)")
    with pytest.raises(cl.CrosslevelError, match="`parameter` is one of those profiled: x; got 'sigma'"):
        fit.profile("x").interval("sigma")


def test_words():
    found = profile_of("sleepstudy__rs_ml")
    text = str(found)
    assert "cor(Intercept,Days|Subject)" in text
    assert "full likelihood" in text
    assert "<table" in found._repr_html_()


def test_restricted_likelihood_has_no_profile_of_coefficients():
    with pytest.raises(cl.CrosslevelError, match="no profile of coefficients"):
        small_fit("two effects").profile("x", method="reml")
    with pytest.raises(cl.CrosslevelError, match="the fit is by maximum likelihood"):
        small_fit("two effects", "ml").profile(method="reml")
    with pytest.raises(cl.CrosslevelError, match="`method` is 'ml' or 'reml'; got 'mle'"):
        small_fit("two effects").profile(method="mle")


def test_models_without_a_likelihood_to_profile_are_refused():
    frame = small_frame()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.DataWarning)  # that the scaling of the weights matters
        sampled = cl.mixed("y ~ x + (1 | g)", frame.assign(one=1.0), method="ml",
                           weights=cl.Sampling("w", clusters={"g": "one"}))  # fmt: skip
    with pytest.raises(cl.CrosslevelError, match="pseudo-likelihood"):
        sampled.profile()
    iterative = cl.mixed("y ~ x + (1 | g) + (1 | h)", frame, algebra="iterative")
    with pytest.raises(cl.CrosslevelError, match="iterative algebra"):
        iterative.profile()
    fitted = cl.mixed("y ~ x", frame.assign(y=frame["y"] + 20.0), residual=cl.residual.Power())
    with pytest.raises(cl.CrosslevelError, match="depends on the fitted values"):
        profile_intervals(fitted, 0.95)
    known = cl.mixed("y ~ x + equalto(0 + s | h, V) + (1 | g)", frame, known={"V": np.eye(2)})
    with pytest.raises(cl.CrosslevelError, match="equalto"):
        known.profile()


def test_correlations_of_occasions_have_no_profile_of_their_own():
    frame = small_frame().query("t < 3")
    fit = cl.mixed("y ~ x", frame, residual=cl.residual.Unstructured("t", within="g"))
    found = fit.profile()
    assert all("rho" in name for name in found.without)
    assert len(found.without) == 3
    assert "sigma[1]" in found.parameters
    with pytest.raises(cl.CrosslevelError, match="function of several parameters"):
        fit.profile(next(iter(found.without)))


def test_frequencies_are_rows():
    frame = small_frame().assign(f=np.arange(72) % 3 + 1)
    weighted = cl.mixed("y ~ x + (x | g)", frame, weights=cl.Frequency("f")).profile().conf_int()
    repeated = cl.mixed("y ~ x + (x | g)", frame.loc[frame.index.repeat(frame["f"])]).profile().conf_int()
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6)


def test_a_structure_without_its_first_effect():
    rng = np.random.default_rng(4)
    turn, root = rng.normal(size=(3, 3)), np.vstack([np.zeros(3), rng.normal(size=(2, 3))])
    kind = WithoutFirst(turn)
    theta = kind.nearest(turn @ root)
    factor = kind.factor(theta, 3)
    np.testing.assert_allclose(factor @ factor.T, turn @ root @ root.T @ turn.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.tensordot(theta, kind.factor_gradient(theta, 3), axes=1), factor, rtol=1e-12)


@pytest.mark.parametrize("kind", ["deviation", "correlation", "polar"])
def test_structures_with_a_parameter_singled_out(kind):
    rng = np.random.default_rng(6)
    q = 3
    turn, root = rng.normal(size=(q, q)), rng.normal(size=(q, q))
    structure = {
        "deviation": FirstDeviation(turn),
        "correlation": FirstCorrelation(turn),
        "polar": PolarSymmetry(),
    }[kind]
    psi = turn @ root @ root.T @ turn.T
    if kind == "polar":
        psi = 2.0 * (0.3 * np.ones((q, q)) + 0.7 * np.eye(q))
    theta = structure.nearest(np.linalg.cholesky(psi))
    factor = structure.factor(theta, q)
    np.testing.assert_allclose(factor @ factor.T, psi, rtol=1e-10)
    natural = np.linalg.solve(turn, factor) @ np.linalg.solve(turn, factor).T
    if kind == "deviation":
        assert theta[0] == pytest.approx(np.sqrt(natural[0, 0]))
    elif kind == "correlation":
        assert np.sin(theta[-1]) == pytest.approx(natural[0, 1] / np.sqrt(natural[0, 0] * natural[1, 1]))
    else:
        assert theta[0] == pytest.approx(np.sqrt(2.0))
    step = 1e-5
    moved = step * np.eye(len(theta))
    first = [(structure.factor(theta + m, q) - structure.factor(theta - m, q)) / (2.0 * step) for m in moved]
    np.testing.assert_allclose(structure.factor_gradient(theta, q), first, atol=1e-9)
    second = [
        (structure.factor_gradient(theta + m, q) - structure.factor_gradient(theta - m, q)) / (2.0 * step)
        for m in moved
    ]
    np.testing.assert_allclose(structure.factor_hessian(theta, q), second, atol=1e-9)


@pytest.mark.parametrize("absolute", [False, True])
def test_zeta_plot(absolute):
    found = profile_of("sleepstudy__rs_ml")
    figure = cl.plot.zeta(found, absolute=absolute)
    assert len(figure.axes) == len(found.parameters)
    for panel, name in zip(figure.axes, found.parameters, strict=True):
        assert panel.get_title(loc="left") == name
        low, high = found.interval(name)
        bar = next(line for line in panel.lines if line.get_linewidth() == 3.0)
        np.testing.assert_allclose(bar.get_xdata(), [low, high])
    data = cl.plot.zeta_data(found)
    assert list(dict.fromkeys(data["parameter"])) == list(found.parameters)
    assert len(cl.plot.zeta(found, "sigma").axes) == 1


def test_zeta_plot_refuses_what_was_not_profiled():
    found = profile_of("sleepstudy__rs_ml")
    with pytest.raises(cl.CrosslevelError, match="`which` names parameters that were profiled"):
        cl.plot.zeta(found, ["Days", "age"])
    panel = cl.plot.zeta(found, "sigma").axes[0]
    with pytest.raises(cl.CrosslevelError, match="`ax` takes one parameter"):
        cl.plot.zeta(found, ax=panel)
