"""Wrong input of the search for the random-effects structure, and how often it finds what is there."""

from __future__ import annotations

import numpy as np
import pytest
from selection_data import simulated
from selection_twin import all_partitions
from test_selection import plain, search

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.selection.structures import bell, partitions


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": ["z"]}, r"`keep` names random slopes of g; got 'z'. The slopes of `formula`: 'x1', 'x2', 'x3'"),
        ({"keep": ["Intercept"]}, "`keep` names random slopes"),
        ({"keep": [3]}, "`keep` is a list of names"),
        ({"context": ["x2"]}, "`context` names 'x2', which varies within the clusters of g"),
        ({"context": "gdp"}, "`context` names 'gdp', which is no coefficient or variable"),
        ({"criterion": "dic"}, "`criterion` is one of 'bic', 'bic-clusters', 'aic'"),
        ({"correlations": "all"}, "`correlations` is one of 'exhaustive', 'stepwise'"),
        ({"components": True}, "`components` is one of 'published', 'curable', 'off'"),
        ({"share": 1.5}, "`share` is a share of the variance"),
        ({"group": "h"}, "`group` is one of 'g'; got 'h'"),
        ({"alpha": 1.0}, "`alpha` is the level of tests"),
        ({"folds": 25}, "`folds` is a number of parts of the clusters, from 2 to 24"),
        ({"seed": -1}, "`seed` is a whole number"),
        ({"method": "wls"}, "`method` is 'reml' or 'ml'"),
    ],
)
def test_wrong_arguments(given, message) -> None:
    with pytest.raises(CrosslevelError, match=message):
        search(simulated(seed=22), **given)


def test_wrong_models() -> None:
    data = simulated(seed=23, clusters=6)
    rng = np.random.default_rng(0)
    for k in range(7):
        data[f"c{k}"] = rng.normal(size=6)[data["g"]]
    for n in (5, 7):
        with pytest.raises(CrosslevelError, match=r"6 fixed coefficients that explain all differences between the 6"):
            search(data, f"y ~ {' + '.join(f'c{k}' for k in range(n))} + (x1 | g)")
    with pytest.raises(CrosslevelError, match="ties the random effects of g"):
        search(data, "y ~ x1 + cs(1 + x1 | g)")
    with pytest.raises(CrosslevelError, match="sampling weights"):
        search(data.assign(w=1.5), method="ml", weights=cl.Sampling("w", clusters={"g": "w"}, scaling="none"))
    data["h"] = np.tile(np.arange(10), 36)
    with pytest.raises(CrosslevelError, match=r"random slopes of several grouping factors, 'g', 'h'"):
        search(data, "y ~ x1 + x2 + (x1 | g) + (x2 | h)")
    with pytest.raises(CrosslevelError, match="random term"):
        search(data, "y ~ x1")
    assert search(data, "y ~ x1 + x2 + (x1 | g) + (x2 | h)", group="h").search.place == 1


def test_too_many_structures() -> None:
    rng = np.random.default_rng(4)
    data = simulated(seed=24, clusters=30, rows=40, sds=(0.5, *(0.5,) * 9))
    fixed = " + ".join(f"x{k}" for k in range(1, 10))
    with pytest.raises(CrosslevelError, match=r"115,975\s+correlation structures.*stepwise"):
        search(data, f"y ~ {fixed} + ({fixed} | g)", keep=[f"x{k}" for k in range(1, 10)])
    del rng


def test_partitions_are_all_and_once() -> None:
    for n in range(1, 7):
        found = list(partitions(n))
        assert len(found) == len(set(found)) == bell(n)
        assert {frozenset(frozenset(b) for b in p) for p in found} == {
            frozenset(frozenset(int(name) for name in b) for b in p)
            for p in all_partitions(tuple(str(k) for k in range(n)))
        }


# -- how well it works -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_known_structure_is_found() -> None:
    """40 clusters, slopes of x1 and x3 vary, the first correlated with the intercept by .8; x2 does not vary.

    By BIC with 1,600 rows: power of the likelihood ratios against log(1600) = 7.4 for each parameter.
    """
    hits = {"bic": 0, "slopes": 0, "aic": 0}
    for seed in range(40):
        data = simulated(seed=1000 + seed, clusters=40, rows=40, sds=(0.5, 0.4, 0.0, 0.4), correlation=0.8)
        by_bic, by_aic = search(data), search(data, criterion="aic")
        truth = {frozenset({"1", "x1"}), frozenset({"x3"})}
        hits["bic"] += plain(by_bic.structure) == truth
        hits["slopes"] += set(by_bic.structure.effects) == {"Intercept", "x1", "x3"}
        hits["aic"] += plain(by_aic.structure) == truth
    assert hits["slopes"] >= 39
    assert hits["bic"] >= 36
    assert 12 <= hits["aic"] < hits["bic"]
