"""Simulated power against closed forms, rows, and refits of a fit's own simulations; what is read off the curves."""

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.cli import app as cli
from crosslevel.errors import CrosslevelError
from crosslevel.simulation.power.cheapest import Costs
from crosslevel.simulation.power.closed_forms import std_error, t_power, width
from crosslevel.simulation.power.components import ComponentTest
from crosslevel.simulation.power.estimated import Estimated
from crosslevel.simulation.power.record import Power
from crosslevel.simulation.power.shape import Shape
from crosslevel.simulation.power.surface import Surface
from crosslevel.simulation.power.tested import PowerTests
from crosslevel.simulation.studies.batches import Ready
from crosslevel.simulation.studies.condition import Condition

TAU, SIGMA = 0.2**0.5, 0.8**0.5
"""Standard deviations for an ICC of .2."""


def planned(formula: str, **given) -> pd.DataFrame:
    """Simulated points."""
    return cl.power(formula, progress=False, **{"icc": 0.2, "seed": 3, **given}).frame


def errors_off(found: pd.Series, expected: np.ndarray, error: pd.Series) -> np.ndarray:
    """Distance in Monte-Carlo errors."""
    return np.abs(found.to_numpy() - expected) / error.to_numpy()


@pytest.fixture(scope="module")
def trial() -> Power:
    return cl.power(
        "y ~ z + (1 | g)", effects={"z": 0.8}, icc=0.2, arms="z", clusters=[8, 16, 24], size=20, reps=1000, seed=3,
        progress=False,
    )  # fmt: skip


def test_balanced_cluster_randomised_trial(trial) -> None:
    # exact while the estimated variance is positive: the regression of the clusters' means
    frame = trial.frame
    error = std_error(frame["clusters"], 20, tau=TAU, sigma=SIGMA, context_sd=0.5)
    df = frame["clusters"] - 2
    assert (frame["singular"] < 30).all()  # of 1,000
    assert (errors_off(frame["power"], t_power(0.8 / error, df), frame["mcse"]) < 3.0).all()
    assert (errors_off(frame["type_i"], np.array(0.05), frame["type_i_mcse"]) < 3.0).all()
    # relative spread of an estimated standard error: 1 / sqrt(2 df)
    off = np.abs(frame["width"] / width(error, df) - 1.0)
    assert (off < 3.5 / np.sqrt(2.0 * df * 1000)).all()


def test_effects_within_clusters_and_cross_level_interactions() -> None:
    # Snijders & Bosker (1993): balanced, effects of rows with constant slopes, and of clusters on varying slopes
    x = planned("y ~ x + (1 | g)", effects={"x": 0.12}, clusters=[10, 20], size=30, reps=800)
    # its cluster means differ by chance, and are compared with the precision of the intercepts' reliability
    chance = np.sqrt(1.0 - (30 * 0.2 / (1.0 + 29 * 0.2)) / 30)
    error = std_error(x["clusters"], 30, tau=0.0, sigma=SIGMA, spread=chance)
    assert (errors_off(x["power"], t_power(0.12 / error, x["clusters"] * 30 - 2), x["mcse"]) < 3.0).all()

    given = {"sd": {"x": 0.3}, "arms": "z", "clusters": [10, 20], "size": 200, "reps": 800, "ddf": "m-l-1"}
    xz = planned("y ~ x * z + (x || g)", effects={"x:z": 0.4}, **given)
    error = std_error(xz["clusters"], 200, tau=0.3, sigma=SIGMA, context_sd=0.5)
    df = xz["clusters"] - 2
    assert (errors_off(xz["power"], t_power(0.4 / error, df), xz["mcse"]) < 3.0).all()
    np.testing.assert_allclose(xz["width"], width(error, df), rtol=0.04)


def test_rows_and_cross_products_have_the_same_power() -> None:
    given = {"effects": {"x:z": 0.3}, "sd": {"x": 0.2}, "clusters": [12], "size": (10, 20), "between": 0.3, "reps": 120}
    exact, rows = (planned("y ~ x * z + (x | g)", rows=each, **given).iloc[0] for each in (False, True))
    assert abs(exact["power"] - rows["power"]) < 3.0 * np.hypot(exact["mcse"], rows["mcse"])
    assert abs(exact["width"] - rows["width"]) < 3.0 * np.hypot(exact["width_mcse"], rows["width_mcse"])
    assert 0.1 < exact["power"] < 0.95


def test_imbalance_and_binary_predictors_are_drawn() -> None:
    even, uneven = (
        planned("y ~ z + (1 | g)", effects={"z": 0.3}, icc=0.05, clusters=[20], size=20, cv=cv, reps=500).iloc[0]
        for cv in (0.0, 1.0)
    )
    assert uneven["width"] > even["width"] * 1.05
    binary = {"variables": {"x": cl.lab.Binary(share=0.3)}, "clusters": [10], "size": 20, "reps": 100}
    found = planned("y ~ x + (1 | g)", effects={"x": 0.5}, **binary).iloc[0]
    error = std_error(10, 20, tau=0.0, sigma=SIGMA, spread=np.sqrt(0.3 * 0.7))
    assert abs(found["power"] - t_power(0.5 / error, 198)) < 3.0 * found["mcse"]


@pytest.fixture(scope="module")
def sleepstudy():
    return cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))


def test_power_of_a_fit_is_that_of_refits_to_its_own_simulations(sleepstudy) -> None:
    effect, reps = 4.5, 100
    found = cl.power(sleepstudy, effects={"Days": effect}, target="Days", reps=reps, progress=False).frame.iloc[0]
    sims = sleepstudy.simulate(seed=1, n=reps)
    shift = (effect - sleepstudy.params["Days"]) * cl.datasets.load("sleepstudy")["Days"].to_numpy()
    refits = [sleepstudy.refit(sims[name].to_numpy() + shift).tidy().loc["Days"] for name in sims]
    p = np.array([one["p_value"] for one in refits])
    widths = np.array([one["conf_high"] - one["conf_low"] for one in refits])
    assert 0.3 < found["power"] < 0.9
    assert abs(found["power"] - np.mean(p < 0.05)) < 3.0 * np.sqrt(2.0) * found["mcse"]
    assert found["width"] == pytest.approx(widths.mean(), abs=3.0 * np.sqrt(2.0 / reps) * widths.std())


def test_drawn_outcomes_have_the_moments_of_simulated_rows(sleepstudy) -> None:
    source = Estimated.of(sleepstudy, effects={}, sd={}, sigma=None)
    drawn = source.planned(18, None, {}).draw(np.random.SeedSequence(2).spawn(2000))
    design = sleepstudy.design
    assert drawn.names == design.products.names
    # mean, and S_xy, S_yy, of each cluster under the model: z'Psi z + sigma^2 / n, and the like
    x = np.stack([np.ones(10), np.arange(10.0)], axis=1)
    psi = sleepstudy.cov_re["Subject"].to_numpy()
    V = x @ psi @ x.T + sleepstudy.sigma**2 * np.eye(10)
    expected = x @ sleepstudy.params.to_numpy()
    centre = np.eye(10) - 0.1
    mean = drawn.mean[:, :, -1].ravel()
    assert abs(mean.mean() - expected.mean()) < 4.0 * mean.std() / np.sqrt(mean.size)
    assert mean.var() == pytest.approx(V.mean(), rel=0.03)
    slope = drawn.scatter[:, :, 1, -1].ravel()
    assert slope.mean() == pytest.approx(x[:, 1] @ centre @ expected, rel=0.02)
    assert slope.var() == pytest.approx(x[:, 1] @ centre @ V @ centre @ x[:, 1], rel=0.03)
    square = drawn.scatter[:, :, -1, -1].ravel()
    assert square.mean() == pytest.approx(np.trace(centre @ V) + expected @ centre @ expected, rel=0.02)
    assert np.all(drawn.scatter[:, :, :2, :2] == drawn.scatter[0, :, :2, :2])


def test_clusters_of_a_fit_are_repeated_and_resized(sleepstudy) -> None:
    source = Estimated.of(sleepstudy, effects={}, sd={"Days": 0.0}, sigma=1.0)
    seeds = np.random.SeedSequence(2).spawn(3)
    drawn = source.planned(40, None, {}).draw(seeds)
    assert drawn.n_clusters == 40
    large = source.planned(18, 91, {}).draw(seeds)
    np.testing.assert_allclose(large.count, 91.0)
    np.testing.assert_allclose(large.scatter[..., 1, 1], 82.5 * 10.0)
    assert source.sd["Days"] == 0.0
    with pytest.raises(CrosslevelError, match="at least 2 rows"):
        source.planned(18, 1, {}).draw(seeds)


def test_variances_are_tested_as_the_library_tests_them(sleepstudy) -> None:
    source = Estimated.of(sleepstudy, effects={}, sd={"Days": 1.5}, sigma=None)
    process = source.planned(18, None, {})
    drawn = process.draw(np.random.SeedSequence(4).spawn(12))
    ready = PowerTests(
        name="t", formula=source.formula, method="reml", interval="growth-curve", components={"sd": "Days"}
    ).prepare(process, ["Days", "sd"], 0.95)
    found = ready.estimate(drawn, ())
    fits = [ready.mixed.model.fit(drawn, r) for r in range(12)]
    rejected = [fit.test_random()["p_value"].iloc[0] < 0.05 for fit in fits]
    assert 0 < sum(rejected) < 12
    np.testing.assert_array_equal(found.low[:, 1, 0] > 0.0, rejected)
    np.testing.assert_allclose(found.estimate[:, 0], [fit.params["Days"] for fit in fits], rtol=1e-6)

    one = cl.mixed("Reaction ~ Days + (1 | Subject)", cl.datasets.load("sleepstudy"))
    model = Estimated.of(one, effects={}, sd={"Intercept": 12.0}, sigma=None).planned(18, None, {}).model("reml")
    test = ComponentTest.of(model, "Intercept", level=0.95)
    assert test.critical == pytest.approx(2.7055, abs=1e-3)  # half of the mixture is chi-square with one
    with pytest.raises(CrosslevelError, match="cannot be tested by itself"):
        cl.power(sleepstudy, target="sd(1 | Subject)", reps=1, progress=False)


def test_results_travel_to_workers_unchanged(sleepstudy) -> None:
    source = Estimated.of(sleepstudy, effects={}, sd={}, sigma=None)
    estimator = PowerTests(name="t", formula=source.formula, method="reml", interval="growth-curve")
    condition = Condition(
        number=5, levels={}, process=source.planned(20, None, {}), estimators=(estimator,), terms=("Days",), level=0.95
    )
    here, there = (Ready.of(each) for each in (condition, pickle.loads(pickle.dumps(condition))))
    (whole,) = here.batch(0, 6, 1).estimates
    (late,) = there.batch(4, 6, 1).estimates
    np.testing.assert_array_equal(whole.estimate[4:], late.estimate)
    np.testing.assert_array_equal(whole.low[4:], late.low)


def exact_surface(shape: Shape, clusters: np.ndarray, size: float, effect: float, reps: float = 1e4) -> Surface:
    """The curve through exact power of a balanced design."""
    n, delta = np.full(clusters.shape, size), np.full(clusters.shape, effect)
    power = t_power(shape.signal(clusters, n, delta), shape.df(clusters, n))
    return Surface.of(shape, clusters, n, delta, power, np.full(clusters.shape, reps))


def test_the_smooth_curve_follows_exact_power() -> None:
    shape = Shape(kind="context", effect=0.3, tau=TAU, sigma=SIGMA, predictors=1, coefficients=2)
    clusters = np.array([8.0, 12.0, 20.0, 30.0, 50.0])
    surface = exact_surface(shape, clusters, 50.0, 0.3)
    every = np.arange(8.0, 60.0)
    exact = t_power(shape.signal(every, 50.0, 0.3), shape.df(every, 50.0))
    found = surface.power(every, np.full(every.shape, 50.0), np.full(every.shape, 0.3))
    assert np.abs(found - exact).max() < 0.012
    assert (np.diff(found) > 0.0).all()
    other = surface.power(every, np.full(every.shape, 10.0), np.full(every.shape, 0.3))
    exact = t_power(shape.signal(every, 10.0, 0.3), shape.df(every, 10.0))
    assert np.abs(other - exact).max() < 0.015


def test_needed_numbers_are_where_exact_power_reaches_the_target(trial) -> None:
    needed = trial.needed(0.8).iloc[0]
    every = np.arange(4, 60)
    exact = t_power(0.8 / std_error(every, 20, tau=TAU, sigma=SIGMA, context_sd=0.5), every - 2)
    truth = every[np.argmax(exact >= 0.8)]
    assert needed["conf_low"] - 1 <= truth <= needed["conf_high"] + 1
    assert needed["conf_low"] <= needed["clusters"] <= needed["conf_high"]
    assert not needed["extrapolated"]

    # with infinitely many rows the clusters' own variance is left: eight clusters never have a power of .8
    by_size = trial.needed(0.8, "size")
    assert by_size["clusters"].tolist() == [8, 16, 24]
    assert np.isinf(by_size["size"].iloc[0])
    assert np.isfinite(by_size["size"].iloc[2])
    effects = trial.needed(0.8, "effect")["effect"].to_numpy()
    assert (np.diff(effects) < 0.0).all()
    with pytest.raises(CrosslevelError, match="`by` is 'clusters'"):
        trial.needed(0.8, "cost")


def test_the_cheapest_design(trial) -> None:
    small = replace(trial, settings=replace(trial.settings, reps=200))
    best = small.optimal(cost_cluster=300, cost_person=10, power=0.8)
    assert best.cost == best.clusters * (300 + 10 * best.size)
    # the best of all by exact power
    n = np.arange(2, 60)
    clusters = np.array([
        next(j for j in range(4, 200)
             if t_power(0.8 / std_error(j, each, tau=TAU, sigma=SIGMA, context_sd=0.5), j - 2) >= 0.8)
        for each in n
    ])  # fmt: skip
    least = np.min(clusters * (300 + 10 * n))
    true_power = t_power(
        0.8 / std_error(best.clusters, best.size, tau=TAU, sigma=SIGMA, context_sd=0.5), best.clusters - 2
    )
    assert abs(true_power - 0.8) < 0.04
    assert best.cost < 1.1 * least
    assert {"clusters", "size", "cost", "power", "mcse"} <= set(best.frame.columns)
    assert "clusters of" in str(best)
    with pytest.raises(CrosslevelError, match="either `budget`"):
        small.optimal(cost_cluster=300, cost_person=10)
    with pytest.raises(CrosslevelError, match="pays for no design"):
        small.optimal(cost_cluster=300, cost_person=10, budget=500)


def test_each_size_has_the_fewest_clusters_that_reach_the_power() -> None:
    shape = Shape(kind="rows", effect=0.2, tau=0.0, sigma=1.0, coefficients=3)
    surface = exact_surface(shape, np.array([4.0, 8.0, 16.0]), 30.0, 0.2)
    size = np.array([10.0, 30.0, 200.0, 5000.0])
    found = Costs(cluster=1.0, person=1.0, budget=None, power=0.8).clusters(surface, size, 0.2)
    delta = np.full(4, 0.2)
    assert (surface.power(found, size, delta) >= 0.8).all()
    assert ((surface.power(found - 1.0, size, delta) < 0.8) | (found == shape.fewest_clusters)).all()
    assert found[-1] == shape.fewest_clusters


def test_without_any_fit_there_is_no_power() -> None:
    found = cl.power(
        "y ~ z + (1 | g)", effects={"z": 1.0}, icc=0.2, clusters=[12], size=[1, 5], reps=30, progress=False
    )
    first, second = found.frame.iloc[0], found.frame.iloc[1]
    assert np.isnan(first["power"])
    assert (first["failed"], first["reps"]) == (30, 30)
    assert second["power"] > 0.0
    assert second["failed"] == 0
    assert any("not 0 %" in note for note in found.notes)
    assert "no replication could be tested" in " ".join(str(found).split())
    with pytest.raises(CrosslevelError, match=r"3 clusters of 5 rows.*explain all differences"):
        planned("y ~ z1 + z2 + z3 + (1 | g)", effects={"z1": 1.0}, clusters=[3], size=5, reps=30)


def test_power_rises_with_effect_and_is_reproducible() -> None:
    given = {"clusters": [15, 30], "size": 30, "reps": 200, "effects": {"z": [0.2, 0.6]}}
    frame = planned("y ~ z + (1 | g)", **given)
    assert frame["effect"].tolist() == [0.2, 0.2, 0.6, 0.6]
    assert frame["power"].iloc[0] < frame["power"].iloc[1] < frame["power"].iloc[3]
    assert frame["power"].iloc[0] < frame["power"].iloc[2]
    pd.testing.assert_frame_equal(frame, planned("y ~ z + (1 | g)", **given))
    none = planned("y ~ z + (1 | g)", **{**given, "effects": {"z": 0.0}})
    assert none["power"].isna().all()
    assert none["type_i"].notna().all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "`clusters` has to be given"),
        ({"clusters": 10}, "`size` has to be given"),
        ({"clusters": [1], "size": 5}, "at least 2"),
        ({"clusters": 10, "size": 0}, "`size` is a number of rows"),
        ({"clusters": 10, "size": 5, "icc": None}, "`sd` lacks the standard deviation of 'Intercept'"),
        ({"clusters": 10, "size": 5, "target": "w"}, "no effect of the model"),
        ({"clusters": 10, "size": 5, "target": "sd(x | g)"}, "does not have"),
        ({"clusters": 10, "size": 5, "effects": {"q": 1.0}}, "which `formula` lacks"),
        ({"clusters": 10, "size": 5, "effects": {"z": [0.1, 0.2], "x": [0.1, 0.2]}}, "vary one effect at a time"),
        ({"clusters": 10, "size": 5, "effects": {}}, "`target` names the effect"),
        ({"clusters": 10, "size": 5, "ddf": "guess"}, "`ddf` is"),
        ({"clusters": 10, "size": (5, 9), "cv": 0.4}, "`cv` goes with one `size`"),
        ({"clusters": 10, "size": 5, "extend": {"g": 5}}, "goes with a fitted model"),
    ],
)
def test_wrong_arguments(given, message) -> None:
    asked = {"effects": {"z": 0.5}, "icc": 0.1, "progress": False, **given}
    with pytest.raises(CrosslevelError, match=message):
        cl.power("y ~ x + z + (1 | g)", **asked)


def test_wrong_arguments_beside_a_fit(sleepstudy) -> None:
    with pytest.raises(CrosslevelError, match="`icc` goes with a formula"):
        cl.power(sleepstudy, icc=0.2)
    with pytest.raises(CrosslevelError, match="`extend` says how many clusters"):
        cl.power(sleepstudy, extend={"school": 5})
    with pytest.raises(CrosslevelError, match="`effects` names 'days'"):
        cl.power(sleepstudy, effects={"days": 1.0})
    with pytest.raises(CrosslevelError, match="it has an offset"):
        cl.power(cl.mixed("Reaction ~ Days + (1 | Subject)", cl.datasets.load("sleepstudy"), offset="Days"))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit status of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["crosslevel", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command_gives_the_same_numbers(monkeypatch, capsys, tmp_path: Path) -> None:
    out, plan = tmp_path / "power.csv", tmp_path / "plan.toml"
    options = ["--clusters", "10,20", "--reps", 60, "--seed", 2, "--quiet", "--json"]
    formula, values = "y ~ z + (1 | g)", ["--effects", "z=.4", "--icc", ".1", "--size", "20-40"]
    assert run(monkeypatch, "power", "--formula", formula, *values, *options, "--out", out) == 0
    record = json.loads(capsys.readouterr().out)
    frame = cl.power(
        formula, effects={"z": 0.4}, icc=0.1, size=(20, 40), clusters=[10, 20], reps=60, seed=2, progress=False
    ).frame
    assert [point["power"] for point in record["points"]] == frame["power"].tolist()
    assert pd.read_csv(out)["power"].tolist() == pytest.approx(frame["power"].tolist())
    plan.write_text('formula = "y ~ z + (1 | g)"\nicc = 0.1\nsize = "20-40"\n[effects]\nz = 0.4\n', encoding="utf-8")
    assert run(monkeypatch, "power", plan, *options) == 0
    assert json.loads(capsys.readouterr().out)["points"] == record["points"]
    assert run(monkeypatch, "power", "--icc", ".1") == 2
    assert "--formula" in capsys.readouterr().err


def test_the_command_from_data(monkeypatch, capsys, tmp_path: Path) -> None:
    data, figure = tmp_path / "sleepstudy.csv", tmp_path / "power.png"
    cl.datasets.load("sleepstudy").to_csv(data, index=False)
    formula = "Reaction ~ Days + (Days | Subject)"
    asked = ["--effects", "Days=4", "--clusters", "10,18,30", "--reps", 50, "--power", ".9", "--figure", figure]
    assert run(monkeypatch, "power", data, "--formula", formula, *asked, "--quiet") == 0
    shown = capsys.readouterr().out
    assert "For a power of 90%" in shown
    assert "18 clusters of Subject" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert figure.stat().st_size > 10_000


def test_the_figure_shows_points_curve_and_what_is_needed(trial) -> None:
    figure = cl.plot.power(trial)
    (panel,) = figure.axes
    data = cl.plot.power_data(trial)
    np.testing.assert_allclose(data["power"], trial.frame["power"])
    curve = max(panel.lines, key=lambda line: len(line.get_xdata()))
    assert len(curve.get_xdata()) == 200
    assert str(int(trial.needed(0.8)["clusters"].iloc[0])) in [text.get_text() for text in panel.texts]
    with pytest.raises(CrosslevelError, match="`by` is one of"):
        cl.plot.power(trial, by="cost")
