"""Refits to draws of cross-products are the fits that an ordinary fit of the same draw, or of its rows, would be."""

import warnings
from dataclasses import replace

import bootstrap_twin
import numpy as np
import pandas as pd
import pytest
from bootstrap_models import FORMULAS, clustered, fitted, of_file, repeated, setting_of

import crosslevel as cl
from crosslevel.inference.bootstrap.batch import Outcome, names_of, values_of
from crosslevel.inference.bootstrap.draws import Clusters, Parametric, Wild, counted
from crosslevel.inference.bootstrap.nested import NestedClusters, outermost
from crosslevel.inference.bootstrap.refits import FOUND, compiled, refit
from crosslevel.inference.bootstrap.setting import Places, cluster_remainders
from crosslevel.solve.one_factor import solve

EXTRA = {
    "sleepstudy": ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    "singular": ("Yield ~ 1 + (1 | Batch)", "Dyestuff2"),
    "school": ("mAch ~ cses * sector + cses * meanses + (cses | school)", "Hsb82"),
    "quadratic": ("height ~ age + I(age**2) + (age + I(age**2) | Subject)", "Oxboys"),
}


def fit_named(name):
    return of_file(*EXTRA[name]) if name in EXTRA else fitted(name)


@pytest.mark.parametrize("name", [*FORMULAS, *EXTRA])
def test_remainders_of_clusters_sum_to_that_of_all(name):
    design = fit_named(name).design
    total = np.abs(np.einsum("gaa->a", cluster_remainders(design))).max() + 1.0
    assert np.abs(cluster_remainders(design).sum(axis=0) - design.reduced.remainder).max() <= 1e-12 * total


@pytest.mark.parametrize("name", [*FORMULAS, *EXTRA])
@pytest.mark.parametrize("kind", ["cluster", "parametric", "wild"])
def test_a_refit_is_the_ordinary_fit_of_the_draw(name, kind):
    fit = fit_named(name)
    setting = setting_of(fit)
    make = {
        "cluster": lambda: Clusters(setting=setting).draw,
        "parametric": lambda: Parametric.of(setting).draw,
        "wild": lambda: Wild.of(setting, weights="webb", leverage="cr2").draw,
    }[kind]()
    rng = np.random.default_rng(3)
    draws = [make(rng) for _ in range(12)]
    batch = refit(setting, fit.design, draws)
    for k, draw in enumerate(draws):
        if batch.outcome[k] == Outcome.UNIDENTIFIED:
            continue
        plain = solve(draw.reduced(setting), reml=setting.reml)
        assert batch.outcome[k] == Outcome.FITTED
        assert batch.deviance[k] <= plain.deviance + 1e-6
        if batch.deviance[k] < plain.deviance - 1e-6:  # a lower minimum than the ordinary starts find
            continue
        error = np.sqrt(np.diag(plain.vcov))
        p = len(error)
        assert np.abs(batch.values[k, :p] - plain.beta).max() <= 1e-4 * error.max()
        assert batch.std_errors[k] == pytest.approx(error, rel=1e-4)
        assert batch.singular[k] == plain.is_singular or min(map(np.min, plain.eigenvalues)) < 1e-6
        spread = values_of(fit.design, plain)
        far = np.abs(batch.values[k, p:] - spread[p:])
        assert np.nanmax(far[: len(fit.design.random_names)]) <= 2e-4 * plain.sigma + 1e-3 * np.nanmax(spread[p:])


def maximal_fit():
    """Five correlated effects in 15 clusters, of which the intercept alone varies."""
    rng, g = np.random.default_rng(9), np.repeat(np.arange(15), 30)
    x = rng.normal(size=(4, len(g)))
    y = x.sum(axis=0) + rng.normal(0.0, 0.5, 15)[g] + rng.normal(size=len(g))
    frame = pd.DataFrame({"y": y, "g": g.astype(str), **{f"x{k}": column for k, column in enumerate(x)}})
    return cl.mixed("y ~ x0 + x1 + x2 + x3 + (x0 + x1 + x2 + x3 | g)", frame)


@pytest.mark.parametrize("make", [Clusters, Parametric])
def test_refits_of_a_singular_model_reach_the_same_minimum(make):
    fit = maximal_fit()
    setting, rng = setting_of(fit), np.random.default_rng(1)
    source = make(setting=setting) if make is Clusters else make.of(setting)
    draws = [source.draw(rng) for _ in range(20)]
    status, batch = compiled(setting, setting.places, draws)
    assert np.all(status == FOUND)
    plain = [solve(draw.reduced(setting), reml=True) for draw in draws]
    assert np.all(batch.deviance <= np.array([one.deviance for one in plain]) + 1e-6)
    assert batch.singular.tolist() == [one.is_singular for one in plain]
    assert batch.singular.mean() > 0.9


@pytest.mark.parametrize("name", ["two effects", "ml", "precisions", "frequencies", "tied", "no intercept"])
def test_a_cluster_draw_is_the_fit_to_its_rows(name):
    formula, given = FORMULAS[name]
    fit, frame = fitted(name), clustered()
    setting, rng = setting_of(fit), np.random.default_rng(8)
    for _ in range(3):
        times = np.bincount(rng.integers(0, 14, 14), minlength=14).astype(float)
        batch = refit(setting, fit.design, [counted(setting, times)])
        again = cl.mixed(formula, repeated(frame, "g", times, list(fit.group_sizes.index)), **given)
        assert batch.deviance[0] == pytest.approx(again.deviance, abs=1e-6)
        assert batch.values[0, : len(again.params)] == pytest.approx(again.params.to_numpy(), rel=1e-5, abs=1e-6)
        assert batch.std_errors[0] == pytest.approx(again.bse.to_numpy(), rel=1e-4)


def test_sampling_weights_of_clusters_are_drawn_with_them():
    frame = clustered()
    weights = cl.Sampling(None, clusters={"g": "sampled"})
    fit = cl.mixed("y ~ x + w + (1 | g)", frame, method="ml", weights=weights)
    times = np.array([2, 0, 1, 1, 0, 3, 1, 0, 1, 1, 2, 1, 0, 1], dtype=float)
    batch = refit(setting_of(fit), fit.design, [counted(setting_of(fit), times)])
    drawn = repeated(frame, "g", times, list(fit.group_sizes.index))
    again = cl.mixed("y ~ x + w + (1 | g)", drawn, method="ml", weights=weights)
    assert batch.deviance[0] == pytest.approx(again.deviance, abs=1e-6)
    assert batch.values[0, :3] == pytest.approx(again.params.to_numpy(), rel=1e-6)


def test_clusters_of_one_sector_do_not_identify_its_coefficient():
    fit = of_file("mAch ~ cses * sector + (cses | school)", "Hsb82")
    frame = fit.data.groupby("school", observed=True)["sector"].first()
    public = (frame.loc[list(fit.group_sizes.index)] == "Public").to_numpy(dtype=float)
    batch = refit(setting_of(fit), fit.design, [counted(setting_of(fit), public)])
    assert batch.outcome.tolist() == [Outcome.UNIDENTIFIED]
    assert np.all(np.isnan(batch.values))


@pytest.mark.parametrize(("blocks", "known"), [("us", True), ("diag", True), ("cs", False), ("hcs", False)])
def test_places_of_lambda_are_those_of_theta(blocks, known):
    from small_models import structure

    made = structure((blocks, [0, 2]), ("us", [1, 3]))
    places = Places.of(made)
    assert (places is not None) == known
    if places is not None:
        theta = np.arange(1.0, made.n_theta + 1)
        factor = np.zeros((4, 4))
        factor[places.rows, places.columns] = theta
        assert np.array_equal(factor, made.factor(theta))


def test_compiled_search_finishes_nearly_always():
    fit = fit_named("school")
    setting, rng = setting_of(fit), np.random.default_rng(2)
    status, batch = compiled(setting, setting.places, [Clusters(setting=setting).draw(rng) for _ in range(100)])
    assert np.all(status == FOUND)
    assert len(batch) == 100


@pytest.mark.parametrize("name", ["sleepstudy", "singular", "school", "blocks of both kinds", "not anchored"])
def test_the_compiled_loop_is_its_twin(name):
    fit = fit_named(name)
    setting, rng = setting_of(fit), np.random.default_rng(6)
    draws = [Clusters(setting=setting).draw(rng) for _ in range(15)]
    status, batch = compiled(setting, setting.places, draws)
    twins = [bootstrap_twin.compiled(setting, draw) for draw in draws]
    assert np.all(status == FOUND)
    log_y, log_x = setting.reduced.coordinates.log_scale
    for k, (draw, twin) in enumerate(zip(draws, twins, strict=True)):
        assert isinstance(twin, bootstrap_twin.Optimum)
        nu = draw.n_rows - (setting.reduced.p if setting.reml else 0)
        assert batch.deviance[k] == pytest.approx(twin.deviance + 2 * nu * log_y + 2 * log_x * setting.reml, rel=1e-12)
        beta = setting.reduced.coordinates.coefficients(twin.beta)
        assert batch.values[k, : len(beta)] == pytest.approx(beta, rel=1e-8, abs=1e-10)


NESTED = {
    "pastes": ("strength ~ 1 + (1 | batch) + (1 | batch:cask)", "Pastes", "batch", ()),
    "growth": ("math ~ year + female + (year | schoolid) + (1 | childid)", "egsingle", "schoolid", ("childid",)),
}


@pytest.mark.parametrize("name", list(NESTED))
def test_a_draw_of_outer_clusters_is_the_fit_to_its_rows(name):
    formula, data, group, inner = NESTED[name]
    fit = of_file(formula, data)
    factor = outermost(fit.design)
    assert factor is not None
    assert factor.name == group
    nested = NestedClusters.of(fit.design, fit.solution, reml=True, factor=factor)
    rng = np.random.default_rng(4)
    for _ in range(3):
        times = np.bincount(rng.integers(0, nested.n_clusters, nested.n_clusters), minlength=nested.n_clusters)
        batch = nested.refit(times.astype(float))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = cl.mixed(formula, repeated(fit.data, group, times, list(factor.levels), inner))
        assert batch.deviance[0] == pytest.approx(again.deviance, abs=1e-6)
        p = len(again.params)
        assert batch.values[0, :p] == pytest.approx(again.params.to_numpy(), rel=1e-5)
        assert batch.values[0, p:] == pytest.approx(values_of(again.design, again.solution)[p:], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("weights", [cl.Precision("v"), cl.Frequency("times")])
def test_a_draw_of_outer_clusters_with_weights(weights):
    rng, data = np.random.default_rng(6), of_file(*NESTED["pastes"][:2]).data
    data = data.assign(v=rng.uniform(0.5, 2.0, len(data)), times=rng.integers(1, 4, len(data)).astype(float))
    fit = cl.mixed("strength ~ 1 + (1 | batch) + (1 | batch:cask)", data, weights=weights)
    factor = outermost(fit.design)
    assert factor is not None
    nested = NestedClusters.of(fit.design, fit.solution, reml=True, factor=factor)
    times = np.array([2, 0, 1, 1, 3, 0, 1, 0, 1, 1])
    batch = nested.refit(times.astype(float))
    again = cl.mixed(fit.formula, repeated(data, "batch", times, list(factor.levels)), weights=weights)
    assert batch.deviance[0] == pytest.approx(again.deviance, abs=1e-6)
    assert batch.values[0] == pytest.approx(values_of(again.design, again.solution), rel=1e-3, abs=1e-4)


def test_names_and_values_are_those_of_the_fit():
    fit = fitted("two effects")
    names, values = names_of(fit.design, fit.solution), values_of(fit.design, fit.solution)
    assert names[3:] == ("sd(Intercept|g)", "sd(x|g)", "cor(Intercept,x|g)", "sigma")
    covariance = fit.cov_re["g"].to_numpy()
    assert values[3:5] == pytest.approx(np.sqrt(np.diag(covariance)))
    assert values[5] == pytest.approx(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))
    assert values[6] == fit.sigma


def test_turned_searches_come_back_to_the_same_coordinates():
    """A fit whose search ended along principal axes is still where its refits start."""
    fit = fit_named("quadratic")
    setting = setting_of(fit)
    engine = fit.solution.criterion
    turned, factors = engine.rotated(fit.solution.at.factors)
    state = turned.at_factors(factors)
    minimum = replace(fit.solution.minimum, state=state, theta=turned.structure.nearest(factors[0]))
    other = setting_of_solution(fit, replace(fit.solution, minimum=minimum, criterion=turned))
    assert other.factor == pytest.approx(setting.factor, abs=1e-9)


def setting_of_solution(fit, solution):
    from crosslevel.inference.bootstrap.setting import Setting

    return Setting.of(fit.design, solution, reml=True)
