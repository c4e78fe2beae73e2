"""Data that break lesser engines: each fit converges, is the dense twin's at its estimates, and no restart is lower."""

from collections.abc import Callable

import dense
import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.optimise import Status
from crosslevel.solve import solve


def frame(seed: int = 0, *, clusters: int = 15, largest: int = 14, spread: float = 0.5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(clusters), rng.integers(1, largest + 1, clusters))
    x1, x2, x3 = rng.normal(size=(3, g.size))
    u = rng.normal(size=(clusters, 2)) * spread
    z = rng.normal(size=clusters)[g]
    y = 1.0 + x1 + 0.5 * z + u[g, 0] + u[g, 1] * x1 + rng.normal(size=g.size)
    f = rng.choice(["a", "b", "c"], g.size)
    return pd.DataFrame({"y": y, "x1": x1, "x2": x2, "x3": x3, "z": z, "f": f, "g": g})


def noise(size: float) -> pd.DataFrame:
    """Differences between clusters of which rows within them leave hardly anything unexplained."""
    rng = np.random.default_rng(6)
    data = frame(4)
    u = rng.normal(size=(15, 2))[data.g]
    return data.assign(y=1.0 + data.x1 + u[:, 0] + u[:, 1] * data.x1 + size * rng.normal(size=len(data)))


def singles_and_big_ones() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    g = np.concatenate([np.arange(60), np.repeat([60, 61, 62], 40)])
    x1 = rng.normal(size=g.size)
    return pd.DataFrame({"g": g, "x1": x1, "y": x1 + 2.0 * rng.normal(size=63)[g] + rng.normal(size=g.size)})


def many_slopes(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(15), rng.integers(9, 15, 15))
    X = rng.normal(size=(g.size, 7))
    y = X.sum(axis=1) + (X[:, :3] * rng.normal(size=(15, 3))[g]).sum(axis=1) + rng.normal(size=g.size)
    return pd.DataFrame({"g": g, "y": y} | {f"x{k}": X[:, k] for k in range(7)})


SLOPES = " + ".join(f"x{k}" for k in range(7))

CASES: dict[str, tuple[str, Callable[[], pd.DataFrame]]] = {
    "as it should be": ("y ~ x1 + z + (x1 | g)", frame),
    "clusters of one row beside large ones": ("y ~ x1 + (x1 | g)", singles_and_big_ones),
    "slope constant in most clusters": (
        "y ~ k + (k | g)",
        lambda: frame(8).assign(k=lambda d: np.where(d.g < 11, 0.1 * d.g, d.x1)),
    ),
    "slope constant in all clusters but two": (
        "y ~ k + (k | g)",
        lambda: frame(8).assign(k=lambda d: np.where(d.g < 13, 0.1, d.x1)),
    ),
    "cluster variable as a random slope": ("y ~ x1 + z + (x1 + z | g)", lambda: frame(9)),
    "only cluster variables": ("y ~ z + (z || g)", lambda: frame(9)),
    "seven slopes in fifteen clusters": (f"y ~ {SLOPES} + ({SLOPES} | g)", lambda: many_slopes(1)),
    "seven uncorrelated slopes": (f"y ~ {SLOPES} + ({SLOPES} || g)", lambda: many_slopes(2)),
    "slope without a fixed effect": ("y ~ 1 + (x1 | g)", frame),
    "no fixed effects": ("y ~ 0 + (x1 | g)", frame),
    "slope without an intercept": ("y ~ x1 + z + (0 + x1 | g)", frame),
    "no intercept anywhere": ("y ~ 0 + x1 + z + (0 + x1 | g)", frame),
    "random intercept without a fixed one": ("y ~ 0 + x1 + z + (1 | g)", frame),
    "two blocks": ("y ~ x1 + x2 + blocks(1 + x1, x2 | g)", frame),
    "two terms": ("y ~ x1 + x2 + x3 + (1 + x1 | g) + (0 + x2 + x3 | g)", frame),
    "diagonal": ("y ~ x1 + x2 + diag(1 + x1 + x2 | g)", frame),
    "factor slopes": ("y ~ x1 + f + (f | g)", frame),
    "factor slopes, one per level": ("y ~ x1 + f + (0 + f | g)", frame),
    "independent factor slopes": ("y ~ x1 + f + (f || g)", frame),
    "scales of a million": ("y ~ x1 + x2 + (x1 + x2 | g)", lambda: frame(5).assign(x1=lambda d: 1e6 * d.x1)),
    "scales of a millionth": ("y ~ x1 + x2 + (x1 + x2 | g)", lambda: frame(5).assign(x1=lambda d: 1e-6 * d.x1)),
    "huge outcome": ("y ~ x1 + z + (x1 | g)", lambda: frame(5).assign(y=lambda d: 1e9 * d.y)),
    "nearly collinear predictors": ("y ~ x1 + c + (x1 | g)", lambda: frame(3).assign(c=lambda d: d.x1 + 1e-3 * d.x2)),
    "nearly collinear slopes": ("y ~ x1 + c + (x1 + c | g)", lambda: frame(3).assign(c=lambda d: d.x1 + 1e-2 * d.x2)),
    "R squared of .9999": (
        "y ~ x1 + (x1 | g)",
        lambda: frame(4).assign(y=lambda d: 3.0 * d.x1 + 0.03 * d.x2 + 1.0),
    ),
    "intraclass correlation of .9999": ("y ~ x1 + (x1 | g)", lambda: noise(1e-2)),
    "no difference between clusters": ("y ~ x1 + (x1 | g)", lambda: frame(7, spread=0.0)),
    "three rows in two clusters": (
        "y ~ 1 + (1 | g)",
        lambda: pd.DataFrame({"y": [1.0, 2.5, 2.0], "g": [0, 0, 1]}),
    ),
    "six rows in two clusters, with a slope": (
        "y ~ x1 + (x1 | g)",
        lambda: frame(1).iloc[:6].assign(g=[0, 0, 0, 1, 1, 1]),
    ),
}


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("case", CASES)
def test_fit(case: str, method: str) -> None:
    formula, data = CASES[case]
    fit = cl.mixed(formula, data(), method=method)
    solution, design, reml = fit.solution, fit.design, method == "reml"
    assert fit.status == Status.CONVERGED.value

    columns = np.concatenate([block for block, _, _ in design.blocks()], axis=1)
    rows = dense.Data(y=columns[-1], X=columns[design.x].T, Z=columns[design.z].T, codes=design.codes)
    psi = solution.factors[0] @ solution.factors[0].T
    twin = dense.profile(rows, psi, reml=reml)
    errors = np.sqrt(np.diag(twin.vcov))
    assert fit.deviance == pytest.approx(twin.deviance, abs=1e-7)
    assert fit.sigma == pytest.approx(twin.sigma, rel=1e-9)
    assert np.all(np.abs(fit.params - twin.beta) <= 1e-7 * errors)
    np.testing.assert_allclose(fit.bse, errors, rtol=1e-7)

    means, covariances = dense.modes(rows, psi, reml=reml)
    found = fit.ranef()[fit.group].to_numpy()
    spread = solution.sigma * np.sqrt(np.diag(psi)) + 1e-300
    assert np.all(np.abs(found[:, : len(psi)] - means) <= 1e-7 * spread)
    precise = np.sqrt(np.maximum(np.einsum("gii->gi", covariances), 0.0))
    assert np.all(np.abs(found[:, len(psi) :] - precise) <= 1e-7 * spread)

    rng = np.random.default_rng(1)
    for size in (0.01, 0.1, 1.0, 10.0):
        start = design.structure.nearest(size * rng.normal(size=psi.shape))
        assert solve(design.reduced, reml=reml, start=start).deviance > fit.deviance - 1e-6


@pytest.mark.parametrize("size", [1e-3, 1e-4, 1e-5])
def test_errors_of_modes_when_clusters_differ_much_more_than_rows(size: float) -> None:
    """A mode is nearly its cluster's own estimate, and its variance nearly sigma^2 (Z'Z)^-1."""
    data = noise(size)
    fit = cl.mixed("y ~ x1 + (x1 | g)", data)
    found = fit.ranef()["g"]
    for cluster, rows in data.groupby("g"):
        if len(rows) > 3:
            Z = np.column_stack([np.ones(len(rows)), rows.x1])
            own = fit.sigma * np.sqrt(np.diag(np.linalg.inv(Z.T @ Z)))
            np.testing.assert_allclose(found.loc[cluster, ["Intercept_se", "x1_se"]], own, rtol=20.0 * size**2)


@pytest.mark.parametrize("year", [2e3, 1e6, 1e9])
def test_an_uncentred_slope_far_from_zero_is_not_taken_for_singular(year: float) -> None:
    """(0 + year | g) makes clusters differ by year times the slope, however small the slope."""
    data = frame(6).assign(year=lambda d: d.x2 + year)
    fit = cl.mixed("y ~ x1 + year + (0 + year | g)", data)
    intercepts = cl.mixed("y ~ x1 + year + (1 | g)", data)
    assert fit.converged
    assert not fit.is_singular
    assert fit.cov_re["g"].iloc[0, 0] * year**2 == pytest.approx(intercepts.cov_re["g"].iloc[0, 0], rel=10.0 / year)


@pytest.mark.parametrize("size", [1e-2, 1e-3, 1e-4])
def test_an_r_squared_near_one_leaves_the_deviance_smooth(size: float) -> None:
    """Where predictors explain all but 1e-8 of the outcome, rounding must not look like other minima."""
    data = frame(4).assign(y=lambda d: 3.0 * d.x1 + size * d.x2 + 1.0)
    fit = cl.mixed("y ~ x1 + (x1 | g)", data)
    assert fit.converged
    rng = np.random.default_rng(2)
    for scale in (0.01, 0.1, 1.0, 10.0):
        start = fit.design.structure.nearest(scale * rng.normal(size=(2, 2)))
        assert solve(fit.design.reduced, reml=True, start=start).deviance == pytest.approx(fit.deviance, abs=1e-8)
    # the same rows without the part that X explains
    rest = cl.mixed("y ~ x1 + (x1 | g)", data.assign(y=size * data.x2))
    assert fit.sigma == pytest.approx(rest.sigma, rel=1e-15 / size**2 + 1e-10)
