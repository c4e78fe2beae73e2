"""The growth-curve method against the growth-curve model: clusters so exact that their coefficients are known."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.df import df_method
from crosslevel.inference.growth_curve import available, component_reliabilities, inflation, remaining, spent

SLOPES = "x1 + x2 + x3"


@dataclass(frozen=True)
class Exact:
    """Rows with almost no residual variance, the clusters' own coefficients (G, 4), and their context variable."""

    frame: pd.DataFrame
    own: np.ndarray
    z: np.ndarray


def exact(*, n_clusters: int = 15, seed: int = 1, noise: float = 1e-5, target: int = 0) -> Exact:
    """Clusters in which z explains coefficient number `target`, and all four coefficients vary together."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((4, 4)) / 2.0
    own = 1.0 + rng.standard_normal((n_clusters, 4)) @ root.T
    z = rng.standard_normal(n_clusters)
    own[:, target] += z
    codes = np.repeat(np.arange(n_clusters), 12)
    x = rng.standard_normal((len(codes), 3))
    y = np.sum(np.column_stack([np.ones(len(codes)), x]) * own[codes], axis=1)
    frame = pd.DataFrame(x, columns=["x1", "x2", "x3"])
    frame = frame.assign(y=y + noise * rng.standard_normal(len(codes)), z=z[codes], g=codes)
    return Exact(frame=frame, own=own, z=z)


@pytest.fixture(scope="module")
def data() -> Exact:
    return exact()


@pytest.fixture(scope="module")
def fit(data: Exact) -> MixedFit:
    return cl.mixed(f"y ~ {SLOPES} + z + ({SLOPES} | g)", data.frame)


def row(fit: MixedFit, **weights: float) -> np.ndarray:
    """A combination of coefficients by name."""
    names = [name.replace(":", "_") for name in fit.params.index]
    out = np.zeros((1, len(names)))
    for name, weight in weights.items():
        out[0, names.index(name)] = weight
    return out


def test_the_limit_is_the_growth_curve_model(data: Exact, fit: MixedFit) -> None:
    # ordinary regression of the clusters' intercepts on z and their slopes: J - r - s degrees of freedom
    own, r, s = data.own, 2, 3
    both = np.column_stack([np.ones(15), data.z, own[:, 1:]])
    coefficients, rss, _, _ = np.linalg.lstsq(both, own[:, 0], rcond=None)
    found = fit.tests("growth-curve").loc["z"]
    m = 15 - r
    assert found["df"] == pytest.approx(m - s, abs=1e-4)
    assert found["estimate"] == pytest.approx(coefficients[1], abs=1e-4)
    reml = rss[0] / m * np.linalg.inv(both[:, :r].T @ both[:, :r])[1, 1]
    assert fit.bse["z"] ** 2 == pytest.approx(reml, rel=1e-4)
    assert found["std_error"] ** 2 == pytest.approx(reml * m / (m - s) * (m - 1) / (m - s - 1), rel=1e-4)


def test_the_inflation_is_right_on_average() -> None:
    # over clusters' effects drawn anew, the mean of the growth-curve variance is that of the regression's on [W B]
    rng, m, s = np.random.default_rng(7), 13, 3
    ratios = []
    for _ in range(20_000):
        both = np.column_stack([np.ones(15), rng.standard_normal((15, 1 + s))])
        whole, part = both.T @ both, both[:, :2].T @ both[:, :2]
        ratios.append(np.linalg.inv(whole)[1, 1] / np.linalg.inv(part)[1, 1])
    expected = float(inflation(np.array([float(m)]), np.array([float(s)]))[0]) * (m - s) / m
    assert abs(np.mean(ratios) - expected) < 3.0 * np.std(ratios) / np.sqrt(len(ratios))


def test_a_cross_level_interaction_is_charged_for_the_other_coefficients() -> None:
    both = exact(target=1)
    fit = cl.mixed(f"y ~ {SLOPES} + z + x1:z + ({SLOPES} | g)", both.frame)
    # the intercept's equation has z too: two slopes are left to adjust for
    assert fit.tests("growth-curve").loc["x1:z", "df"] == pytest.approx(15 - 2 - 2, abs=1e-3)
    alone = cl.mixed(f"y ~ {SLOPES} + x1:z + ({SLOPES} | g)", both.frame)
    assert alone.tests("growth-curve").loc["x1:z", "df"] == pytest.approx(15 - 2 - 3, abs=1e-3)


def test_nothing_is_charged_at_the_mean_of_the_context(data: Exact, fit: MixedFit) -> None:
    at_mean = row(fit, Intercept=1.0, z=data.z.mean())
    far = row(fit, Intercept=1.0, z=100.0)
    m = np.array([13.0])
    assert spent(fit.estimates, at_mean, m)[0] == pytest.approx(0.0, abs=1e-6)
    assert spent(fit.estimates, far, m)[0] == pytest.approx(3.0, abs=0.01)


def test_uncorrelated_effects_are_not_charged(data: Exact) -> None:
    fit = cl.mixed(f"y ~ {SLOPES} + z + ({SLOPES} || g)", data.frame)
    pd.testing.assert_frame_equal(fit.tests("growth-curve"), fit.tests("m-l-1"))


def test_without_anything_to_adjust_for_it_is_m_l_1_of_any_fit() -> None:
    hsb = cl.datasets.load("hsb")
    for formula in (
        "mathach ~ ses + meanses + (1 | school)",
        "mathach ~ ses * sector + ses * meanses + (ses | school)",
    ):
        fit = cl.mixed(formula, hsb, method="ml")
        pd.testing.assert_frame_equal(fit.tests("growth-curve"), fit.tests("m-l-1"))


def test_what_hardly_varies_is_hardly_charged() -> None:
    # slopes that do not vary, measured with noise: their reliabilities, and so the charge, are small
    rng = np.random.default_rng(4)
    codes = np.repeat(np.arange(20), 200)
    x, z = rng.standard_normal((len(codes), 3)), rng.standard_normal(20)
    y = z[codes] + rng.standard_normal(20)[codes] + x.sum(axis=1) + rng.standard_normal(len(codes))
    frame = pd.DataFrame(x, columns=["x1", "x2", "x3"]).assign(y=y, z=z[codes], g=codes)
    fit = cl.mixed(f"y ~ {SLOPES} + z + ({SLOPES} | g)", frame)
    rho = component_reliabilities(fit.estimates, 0, np.array([1, 2, 3]))
    own = fit.cov_re["g"].to_numpy()[1:, 1:]
    assert np.trace(own) < 0.02
    # without correlation between target and slopes, noise of the slopes is nearly sigma^2 / n: a rough twin
    assert rho.sum() == pytest.approx(np.trace(own @ np.linalg.inv(own + np.eye(3) * fit.sigma**2 / 200)), rel=0.1)
    charged = 18.0 - fit.tests("growth-curve").loc["z", "df"]
    assert charged == pytest.approx(np.sum(rho / (rho + (1 - rho) / 18.0)), rel=1e-6)
    assert 0.0 < charged < 2.5


def test_units_and_the_writing_of_a_hypothesis_do_not_matter(data: Exact, fit: MixedFit) -> None:
    other = cl.mixed(
        f"y ~ {SLOPES} + z + ({SLOPES} | g)",
        data.frame.assign(x1=data.frame["x1"] * 1e3, z=5.0 - 1e-2 * data.frame["z"], y=data.frame["y"] * 1e4),
    )
    before, after = (each.tests("growth-curve").loc["z"] for each in (fit, other))
    assert after["df"] == pytest.approx(before["df"], rel=1e-5)
    assert after["statistic"] == pytest.approx(-before["statistic"], rel=1e-5)

    method, some = df_method("growth-curve"), np.vstack([row(fit, Intercept=1.0), row(fit, z=1.0)])
    joint, same = (method.joint(fit.estimates, rows) for rows in (some, np.array([[1.0, 2.0], [3.0, -1.0]]) @ some))
    assert (joint.statistic, joint.df_den) == pytest.approx((same.statistic, same.df_den), rel=1e-8)
    single = method.joint(fit.estimates, some[1:])
    assert single.statistic == pytest.approx(before["statistic"] ** 2, rel=1e-9)
    assert single.p_value == pytest.approx(before["p_value"], rel=1e-6)


def test_no_degrees_of_freedom_are_left() -> None:
    few = exact(n_clusters=5, seed=3, noise=0.1)
    found = cl.mixed(f"y ~ {SLOPES} + z + ({SLOPES} | g)", few.frame).tests("growth-curve")
    assert found.loc["z", ["df", "std_error", "p_value", "conf_low"]].isna().all()
    assert np.isfinite(found.loc["x1", "df"])


def test_f_and_the_degrees_of_freedom_left() -> None:
    m, s = np.array([13.0, 13.0, 4.0, 5.0]), np.array([0.0, 5.0, 3.0, 3.0])
    np.testing.assert_allclose(inflation(m, s), [1.0, 13 / 8 * 12 / 7, np.nan, 5 / 2 * 4 / 1])
    np.testing.assert_array_equal(remaining(m, s), [13.0, 8.0, np.nan, 2.0])


def test_several_factors_and_levels(data: Exact) -> None:
    rng = np.random.default_rng(6)
    frame = data.frame.assign(
        h=rng.integers(0, 12, len(data.frame)), y=data.frame["y"] + rng.standard_normal(len(data.frame))
    )
    frame["y"] += rng.standard_normal(12)[frame["h"]]
    crossed = cl.mixed(f"y ~ {SLOPES} + z + ({SLOPES} | g) + (1 | h)", frame)
    alone = cl.mixed(f"y ~ {SLOPES} + z + ({SLOPES} | g)", frame.assign(y=frame["y"]))
    for fit in (crossed, alone):
        m = 13.0
        df = fit.tests("growth-curve").loc["z", "df"]
        assert m - 3.0 <= df < m - 1.0
        room = available(fit.estimates, row(fit, z=1.0), np.array([m]))[0]
        assert m - df == pytest.approx(room, rel=0.15)


@pytest.mark.parametrize("change", ["ml", "residual", "weights"])
def test_models_for_which_it_is_not_defined(change: str) -> None:
    rows = exact(noise=1.0).frame
    rows["w"], rows["one"] = 1.0 + rows["g"] % 3, 1.0
    formula = f"y ~ {SLOPES} + z + ({SLOPES} | g)"
    fit = {
        "ml": lambda: cl.mixed(formula, rows, method="ml"),
        "residual": lambda: cl.mixed(formula, rows.assign(s=rows.index % 2), residual=cl.residual.By("s")),
        "weights": lambda: cl.mixed(
            formula, rows, method="ml", weights=cl.Sampling("one", clusters={"g": "w"}, scaling="none")
        ),
    }[change]
    with pytest.raises(CrosslevelError, match=r'growth-curve needs .* Write ddf="m-l-1"'):
        fit().tests("growth-curve")


def test_precision_weights_and_known_residuals() -> None:
    rows = exact(noise=0.05).frame
    formula = f"y ~ {SLOPES} + z + ({SLOPES} | g)"
    plain = cl.mixed(formula, rows).tests("growth-curve").loc["z"]
    weighted = cl.mixed(formula, rows.assign(w=2.0), weights=cl.Precision("w")).tests("growth-curve").loc["z"]
    np.testing.assert_allclose(weighted.astype(float), plain.astype(float), rtol=1e-6)
    known = cl.mixed(formula, rows.assign(se=0.05), residual=cl.residual.Known("se")).tests("growth-curve").loc["z"]
    np.testing.assert_allclose(
        known[["df", "std_error"]].astype(float), plain[["df", "std_error"]].astype(float), rtol=1e-2
    )


def test_it_is_the_default_where_something_is_charged(data: Exact, fit: MixedFit) -> None:
    assert fit.ddf == "growth-curve"
    pd.testing.assert_frame_equal(fit.tidy(), fit.tests("growth-curve"))
    pd.testing.assert_series_equal(fit.bse, fit.tests("m-l-1")["std_error"], check_names=False)  # the model's own
    assert "growth-curve: m-l-1 less one" in " ".join(str(fit.summary()).split())

    uncorrelated = cl.mixed(f"y ~ {SLOPES} + z + ({SLOPES} || g)", data.frame)
    assert uncorrelated.ddf == "m-l-1"
    assert "nothing is charged" not in str(uncorrelated.summary())
    assert cl.mixed(f"y ~ {SLOPES} + z + ({SLOPES} | g)", data.frame, ddf="normal").ddf == "normal"


def test_where_it_is_not_defined_the_summary_says_so() -> None:
    rows = exact(noise=1.0).frame
    fit = cl.mixed(f"y ~ {SLOPES} + z + ({SLOPES} | g)", rows, method="ml")
    assert fit.ddf == "m-l-1"
    words = " ".join(str(fit.summary()).split())
    assert "nothing is charged for adjusting to the other varying coefficients" in words
    assert "growth-curve, which charges for it, is not defined for this fit" in words
    asked = cl.mixed(f"y ~ {SLOPES} + z + ({SLOPES} | g)", rows, method="ml", ddf="m-l-1")
    assert "nothing is charged" not in str(asked.summary())


def test_one_way_of_testing_at_a_time(fit: MixedFit) -> None:
    with pytest.raises(CrosslevelError, match=r"`ddf` is 'normal' and `vcov` is 'CR2'.*Leave one of them out"):
        fit.tests("normal", vcov="CR2")
    with pytest.raises(CrosslevelError, match=r"`ddf` is 'auto' or one of 'm-l-1', 'growth-curve'.*got 'kr'"):
        fit.tests("kr")


@pytest.mark.slow
def test_intervals_hold_with_15_clusters() -> None:
    replications, inside = 400, 0
    for seed in range(replications):
        drawn = exact(seed=1000 + seed, noise=1e-2)
        found = cl.mixed(f"y ~ {SLOPES} + z + ({SLOPES} | g)", drawn.frame).tests("growth-curve").loc["z"]
        inside += bool(found["conf_low"] <= 1.0 <= found["conf_high"])
    assert abs(inside / replications - 0.95) < 3.0 * np.sqrt(0.95 * 0.05 / replications)
