"""Influence of clusters on generalized fits: refits without a cluster are fits to the other rows."""

from functools import cache

import numpy as np
import pytest
from generalized_clusters import answers

import crosslevel as cl


@cache
def fitted(family="binomial", nodes=5):
    return cl.mixed("y ~ x + z + (1 | school)", answers(), family=family, quadrature=nodes)


@cache
def found(family="binomial"):
    return cl.influence(fitted(family), progress=False)


@pytest.mark.parametrize("family", ["binomial", "ordinal"])
@pytest.mark.parametrize("place", [0, 7])
def test_refits_are_fits_to_the_other_rows(family, place):
    data = answers()
    other = cl.mixed("y ~ x + z + (1 | school)", data[data["school"] != place], family=family, quadrature=5)
    mine = found(family)
    np.testing.assert_allclose(mine.estimates.iloc[place], other.params, atol=1e-5)
    np.testing.assert_allclose(mine.std_errors.iloc[place], other.bse, rtol=1e-4)
    sd = np.sqrt(other.cov_re["school"].iloc[0, 0])
    np.testing.assert_allclose(mine.variances["sd(Intercept|school)"].iloc[place], sd, atol=1e-5)
    if family == "ordinal":
        np.testing.assert_allclose(mine.variances["0|1"].iloc[place], other.thresholds()["estimate"], atol=1e-5)


def test_measures():
    mine = found()
    assert mine.frame.shape[0] == 25
    assert (mine.frame["problem"] == "").all()
    changes = mine.changes.to_numpy()
    half = np.linalg.solve(np.linalg.cholesky(fitted().vcov.to_numpy()), changes.T)
    np.testing.assert_allclose(mine.cooks_distance, np.sum(half**2, axis=0) / 3.0)
    assert "without" in str(mine)
    p_values = mine.p_values["x"].to_numpy()
    expected = 2.0 * np.abs(mine.estimates["x"] / mine.std_errors["x"])
    assert np.all((p_values > 0.0) & np.isfinite(expected))


def test_clusters_need_not_be_the_models():
    data = answers()
    mine = cl.influence(fitted(), by="f", progress=False)
    kept = data[data["f"] != 2]
    other = cl.mixed("y ~ x + z + (1 | school)", kept, family="binomial", quadrature=5)
    np.testing.assert_allclose(mine.estimates.loc["2"], other.params, atol=1e-5)
    crossed = cl.mixed("y ~ x + (1 | school) + (1 | f)", data, family="binomial", quadrature=1)
    by_school = cl.influence(crossed, by="school", progress=False)
    other = cl.mixed("y ~ x + (1 | school) + (1 | f)", data[data["school"] != 3], family="binomial", quadrature=1)
    np.testing.assert_allclose(by_school.estimates.loc["3"], other.params, atol=1e-5)


def test_what_cannot_be_estimated_is_told():
    data = answers().assign(only=lambda d: (d["school"] == 4) * d["x"])
    fit = cl.mixed("y ~ x + only + (1 | school)", data, family="binomial", quadrature=1)
    mine = cl.influence(fit, progress=False)
    assert "not identified without this cluster" in mine.frame.loc["4", "problem"]
    assert np.isnan(mine.estimates.loc["4", "x"])


def test_what_is_refused():
    with pytest.raises(cl.errors.CrosslevelError, match="MQL"):
        cl.influence(fitted(nodes="mql"))
    with pytest.raises(cl.errors.CrosslevelError, match=r"fits of cl\.mixed"):
        cl.influence("fit")
