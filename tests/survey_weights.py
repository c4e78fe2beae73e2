"""Data with weights of every kind, and what two fits of them have to share."""

import warnings

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl

FORMULA = "y ~ x + z + (x | school)"


def schools(seed: int = 1, n_clusters: int = 30, size: int = 30) -> pd.DataFrame:
    """Schools of 15 to `size` rows with weights of all kinds."""
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(n_clusters), rng.integers(15, size + 1, n_clusters))
    n = len(school)
    x, z, u = rng.normal(size=n), rng.normal(size=n_clusters), rng.normal(size=(n_clusters, 2)) * [0.8, 0.4]
    y = 1.0 + 0.5 * x + 0.3 * z[school] + u[school, 0] + u[school, 1] * x + rng.normal(size=n)
    return pd.DataFrame(
        {
            "y": y,
            "x": x,
            "z": z[school],
            "school": school,
            "w": rng.lognormal(0.0, 0.5, n),
            "f": rng.integers(0, 4, n),
            "w2": rng.lognormal(0.0, 0.5, n_clusters)[school],
        }
    )


def rooms(seed: int = 2) -> pd.DataFrame:
    """Schools with rooms, and weights at three levels."""
    rng = np.random.default_rng(seed)
    data = schools(seed, n_clusters=14, size=40)
    data["room"] = rng.integers(0, 4, len(data))
    room = data["school"] * 10 + data["room"]
    data["y"] += 0.7 * rng.normal(size=200)[room]
    return data.assign(
        whole=rng.integers(1, 4, len(data)).astype(float),
        rooms=rng.integers(1, 3, 200)[room].astype(float),
        some=rng.lognormal(0.0, 0.4, 200)[room],
        pair=rng.integers(1, 4, 14)[data["school"]].astype(float),
    )


def fit(data, formula=FORMULA, **arguments):
    return cl.mixed(formula, data, **arguments)


def assert_same(a, b, rtol=1e-6):
    """All that two fits say of the model, though not of rows."""
    assert a.deviance == pytest.approx(b.deviance, rel=1e-11)
    pd.testing.assert_frame_equal(a.tidy(), b.tidy(), rtol=rtol)
    pd.testing.assert_frame_equal(a.varcomp(), b.varcomp(), rtol=10 * rtol)
    pd.testing.assert_frame_equal(a.glance(), b.glance(), rtol=rtol)
    for name in a.ranef():
        pd.testing.assert_frame_equal(a.ranef()[name], b.ranef()[name], rtol=10 * rtol, atol=1e-8)
    assert a.icc().estimate == pytest.approx(b.icc().estimate, rel=rtol)


def sampled(data, weights, formula=FORMULA):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.DataWarning)
        return fit(data, formula, weights=weights, method="ml")
