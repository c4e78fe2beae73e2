"""Traffic lights: each data set has what one of them is there for."""

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.diagnostics.checks.predictors import generalized_inflation
from crosslevel.diagnostics.diagnostic import Diagnostic


def rows(n_clusters=40, size=12, seed=1):
    """Clusters with a row-level predictor x and cluster-level predictors z and w."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(n_clusters), size)
    z, w = rng.normal(size=(2, n_clusters))
    x = rng.normal(size=len(g))
    slope = 1.0 + 0.5 * rng.normal(size=n_clusters)
    y = z[g] + slope[g] * x + 0.7 * rng.normal(size=n_clusters)[g] + rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "x": x, "z": z[g], "w": w[g], "g": np.char.add("g", g.astype(str))})


def lights(fit, name):
    """The lights of one check."""
    return [light for light in cl.check(fit).lights if light.name == name]


def concern(fit, name):
    """The colours of one check."""
    return [light.concern for light in lights(fit, name)]


GOOD = "y ~ x * z + (x | g)"


def test_nothing_is_off_where_nothing_is_off():
    found = cl.check(cl.mixed(GOOD, rows()))
    assert found.concern == "none"
    assert found.sentences == (f"All {len(found.lights)} checks are in order.",)
    assert isinstance(found, Diagnostic)
    assert set(found.frame["concern"]) == {"none"}
    assert "0 to act on, 0 to look at" in str(found)
    assert "<table" in found._repr_html_()


@pytest.mark.parametrize(("count", "expected"), {8: "act", 20: "look", 40: "none"}.items())
def test_few_clusters(count, expected):
    assert concern(cl.mixed("y ~ x + (1 | g)", rows(count)), "Number of clusters") == [expected]


def test_few_clusters_for_their_predictors():
    fit = cl.mixed("y ~ x + z + w + (1 | g)", rows(12))
    (light,) = lights(fit, "Predictors of clusters")
    assert light.concern == "act"
    assert "12 clusters of g for 2 cluster-level predictors (z, w): 6.0 for each, 9 degrees of freedom" in light.finding


def test_small_clusters():
    assert concern(cl.mixed("y ~ x + (1 | g)", rows(size=3)), "Size of clusters") == ["look"]
    assert concern(cl.mixed("y ~ x + (1 | g)", rows(size=12)), "Size of clusters") == ["none"]


def test_an_interaction_without_its_slope():
    (light,) = lights(cl.mixed("y ~ x * z + (1 | g)", rows()), "Cross-level interaction")
    assert (light.concern, light.advice) == ("act", "Add a random slope: (x | g).")
    assert concern(cl.mixed("y ~ x * z + (x | g)", rows()), "Cross-level interaction") == ["none"]
    assert concern(cl.mixed("y ~ z * w + x + (1 | g)", rows()), "Cross-level interaction") == []


def test_one_outlying_cluster_and_what_it_does():
    data = rows()
    data.loc[data["g"] == "g3", "z"] = 25.0
    fit = cl.mixed("y ~ x + z + (1 | g)", data)
    (light,) = lights(fit, "Outlying cluster")
    without = cl.mixed("y ~ x + z + (1 | g)", data[data["g"] != "g3"]).params["z"]
    assert light.finding.startswith("g3 has z = 25.000")
    assert f"the coefficient is {fit.params['z']:.3g}, without it {without:.3f}." in light.finding
    assert lights(fit, "Outlying clusters") == []


def test_rows_that_were_dropped():
    data = rows()
    data.loc[:200, "x"] = np.nan
    (light,) = lights(cl.mixed("y ~ x + (1 | g)", data), "Missing values")
    assert light.concern == "act"
    assert light.finding == "201 of 480 rows (41.9 %) were dropped for missing values, most of them in x (201)."


def test_scales_and_zeros():
    data = rows().assign(big=lambda d: 1e6 * d["w"], year=lambda d: 2000 + d["x"])
    assert concern(cl.mixed("y ~ x + big + (1 | g)", data), "Scale of predictors") == ["look"]
    (light,) = lights(cl.mixed("y ~ year + (year | g)", data), "Zero of predictors")
    assert light.advice == "Write center(year), or within(year, g)."
    assert lights(cl.mixed("y ~ year + (1 | g)", data), "Zero of predictors") == []


def test_collinearity_by_level():
    rng = np.random.default_rng(2)
    data = rows()
    data["x2"] = data["x"] + 0.05 * rng.normal(size=len(data))
    data["z2"] = data["z"] + 0.2 * data["w"]
    found = lights(cl.mixed("y ~ x + x2 + z + z2 + (1 | g)", data), "Collinearity")
    told = {light.finding.split(":")[0]: light.concern for light in found}
    assert told["Largest variance inflation within clusters of g"] == "act"
    assert told["Largest variance inflation between clusters of g"] == "look"


def test_inflation_is_that_of_the_regressions_and_of_categories_whatever_their_reference():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4))
    centred = X - X.mean(axis=0)
    found = generalized_inflation(centred.T @ centred, [[0], [1], [2], [3]])
    for k in range(4):
        others = np.delete(centred, k, axis=1)
        left = centred[:, k] - others @ np.linalg.lstsq(others, centred[:, k], rcond=None)[0]
        assert found[k] == pytest.approx(centred[:, k] @ centred[:, k] / (left @ left), rel=1e-10)
    turned = centred.copy()
    turned[:, 1:3] = centred[:, 1:3] @ rng.normal(size=(2, 2))
    one = generalized_inflation(centred.T @ centred, [[0], [1, 2], [3]])
    assert generalized_inflation(turned.T @ turned, [[0], [1, 2], [3]]) == pytest.approx(one, rel=1e-9)


def test_singular_fits_are_named_once():
    fit = cl.mixed("y ~ x + (x + w:x | g)", rows(12))
    assert fit.is_singular
    assert len(lights(fit, "Singular fit")) == 1
    assert lights(fit, "Remark") == []


def test_other_families_ordinary_regression_and_crossed_factors():
    data = rows().assign(able=lambda d: d["y"] > 0, h=np.arange(480) % 15)
    assert cl.check(cl.mixed("able ~ x * z + (x | g)", data, family="binomial")).concern in ("none", "look")
    assert {light.name for light in cl.check(cl.ols("y ~ x + z", data, cluster="g")).lights} >= {"Number of clusters"}
    crossed = cl.mixed("y ~ x + z + (1 | g) + (1 | h)", data)
    assert concern(crossed, "Number of clusters") == ["look", "none"]
    assert len(lights(crossed, "Size of clusters")) == 2
    alone = {light.finding for light in lights(cl.mixed("y ~ x + z + (1 | g)", data), "Collinearity")}
    assert {light.finding for light in lights(crossed, "Collinearity")} == alone


def test_anything_else_is_refused():
    with pytest.raises(cl.CrosslevelError, match=r"`check` is for fits of cl.mixed and cl.ols; got DataFrame"):
        cl.check(rows())


def test_an_uncentred_product_is_to_be_centred_at_every_level():
    data = rows()
    data["x"] = data["x"] + 20.0
    data["z"] = data["z"] + 20.0
    found = [
        light for light in lights(cl.mixed("y ~ x * z + (x | g)", data), "Collinearity") if light.concern != "none"
    ]
    assert {"over all rows", "within clusters of g"} <= {
        light.finding.split(": ")[0].split("inflation ")[1] for light in found
    }
    assert all("Centre the variables of the interaction" in light.advice for light in found)
