"""The published Monte Carlo study as a study of ours: its conditions, processes, estimators and numbers."""

import pickle

import numpy as np
import pytest

import crosslevel as cl
from crosslevel.simulation.published.heisig2017 import (
    FACTORS,
    PublishedEstimators,
    PublishedProcess,
    heisig2017,
    target,
)
from crosslevel.simulation.published.numbers import published

CONTROLS = ["x2", "x3", "x4", "x5", "x6"]


def test_the_grid_has_144_conditions():
    study = heisig2017()
    assert len(study) == 144
    assert tuple(study.factors) == FACTORS
    assert len({tuple(one.levels.values()) for one in study.conditions}) == 144


def test_single_levels_are_factors_too():
    study = heisig2017("cli", 25, 3, 1, 0.5)
    assert len(study) == 1
    assert study.factors == {
        "variant": ("cli",), "clusters": (25,), "slopes": (3,), "slope_sd": (1,), "between": (0.5,),
    }  # fmt: skip
    assert len(heisig2017("dce", np.array([15, 50]), range(2), 0.2, between=[0.0, 0.15])) == 8


@pytest.mark.parametrize("variant", ["dce", "cli"])
@pytest.mark.parametrize("slopes", [0, 1, 5])
def test_processes_are_the_published_ones(variant, slopes):
    process = PublishedProcess()(variant, 25, slopes, 0.2, 0.15)
    interaction = variant == "cli"
    names = ["Intercept", "x1", *CONTROLS, "z", *(["x1:z"] if interaction else [])]
    assert process.effects == dict.fromkeys(names, 1.0)
    targets = {"Intercept": 0.6, **({"x1": 0.6} if interaction else {})}
    assert process.sd == targets | dict.fromkeys(CONTROLS[:slopes], 0.2)
    assert process.sigma == 1.0
    assert process.clusters == 25
    assert tuple(process.size) == (600, 2000)
    # 15 percent of the whole variance between clusters, and a standard deviation of 1 within them
    assert {name: process.variables[name] for name in ("x1", *CONTROLS)} == dict.fromkeys(
        ("x1", *CONTROLS), cl.lab.Normal(between=0.15)
    )
    assert process.variables["z"] == cl.lab.Context()
    assert process.correlation == cl.lab.RandomCorrelation(mean_absolute=0.33)
    assert process.predictor_correlation == cl.lab.RandomCorrelation(mean_absolute=0.3)
    assert [process.effect(term) for term in target(variant)] == [1.0]


def test_cities_are_small_and_other_numbers_need_a_size():
    assert tuple(PublishedProcess()("dce", 50, 0, 0.2, 0.0).size) == (70, 130)
    study = heisig2017("dce", 31, 5, 0.2, 0.0, size=(600, 2000), effect_correlation=0.2, sigma=4.0)
    process = study.conditions[0].process
    assert (process.clusters, tuple(process.size), process.sigma) == (31, (600, 2000), 4.0)
    assert process.correlation == cl.lab.RandomCorrelation(mean_absolute=0.2)


def test_estimators_let_those_slopes_vary_that_they_should():
    names = ("ME-Invariant", "ME-Correct", "ME-Maximal", "OLS-Cluster", "two-step-FGLS", "two-step-adjusted")
    cli = PublishedEstimators(names=names)("cli", 1)
    assert tuple(one.name for one in cli) == names
    random = [one.formulas[0].split(" + (")[1] for one in cli[:3]]
    assert random == ["1 + x1 | g)", "1 + x1 + x2 | g)", "1 + x1 + x2 + x3 + x4 + x5 + x6 | g)"]
    dce = PublishedEstimators(names=names)("dce", 3)
    assert tuple(one.name for one in dce) == tuple(name for name in names if name != "two-step-FGLS")
    assert [one.formulas[0].split(" + (")[1] for one in dce[:2]] == ["1 | g)", "1 + x2 + x3 + x4 | g)"]
    everything = PublishedEstimators(names=names)("dce", 5)  # where the maximal model is the correct one
    assert [one.name for one in everything] == ["ME-Invariant", "ME-Correct", "OLS-Cluster", "two-step-adjusted"]
    assert [one.name for one in PublishedEstimators(names=("ME-Maximal",))("dce", 5)] == ["ME-Maximal"]
    assert "x1:z" in cli[3].formulas[0]
    assert "x1:z" not in dce[3].formulas[0]


def test_published_numbers_are_of_conditions_in_the_grid():
    grid = {tuple(one.levels.values()) for one in heisig2017().conditions}
    found = published()
    assert {tuple(row) for row in found[list(FACTORS)].to_numpy().tolist()} <= grid
    assert (found["mcse"] > 0.0).all()
    with pytest.raises(cl.CrosslevelError, match="heisig2017; got 'none'"):
        published("none")


def test_the_study_can_be_sent_to_other_processes():
    study = heisig2017("dce", 15, 1, 0.2, 0.0)
    again = pickle.loads(pickle.dumps(study))
    assert again.conditions[0].described() == study.conditions[0].described()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"variant": "direct"}, "`variant` is .* got 'direct'"),
        ({"clusters": 31}, "`clusters` is 15, 25 or 50; any number with `size"),
        ({"clusters": 31.5, "size": (10, 20)}, "`clusters` is a number of clusters; got 31.5"),
        ({"slopes": [0, 6]}, "`slopes` is a whole number from 0 to 5; got 6"),
        ({"slope_sd": "large"}, "`slope_sd` is a standard deviation of at least 0; got 'large'"),
        ({"between": 1.0}, "`between` is a share from 0 to less than 1; got 1.0"),
        ({"between": [0.0, 0.0]}, "one level or several different ones"),
        ({"estimators": ["ME-Correct", "best"]}, "`estimators` has .*best"),
    ],
)
def test_levels_that_there_are_not_are_refused_in_words(arguments, words):
    with pytest.raises(cl.CrosslevelError, match=words):
        heisig2017(**arguments)


def test_precision_without_varying_slopes_is_that_of_a_regression_of_clusters():
    # known up to sampling error within clusters: var(b_z) = E(1 / sum (z - mean)^2) (.36 + 1 / n) = .3608 / (G - 3)
    study = heisig2017("dce", 15, 0, 0.2, 0.0, estimators=["ME-Invariant"])
    found = study.run(reps=400, seed=5, progress=False)
    one = found.set_index(["measure", "interval"])
    expected = 100.0 * np.sqrt(0.3608 / 12)
    assert abs(one.loc[("rmse", ""), "value"] - expected) < 3.0 * one.loc[("rmse", ""), "mcse"]
    for interval in ("m-l-1", "growth-curve"):
        row = one.loc[("coverage", interval)]
        assert abs(row["value"] - 95.0) < 3.0 * row["mcse"]
