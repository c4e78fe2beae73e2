"""Regions of significance: roots in closed form, the correction by hand and by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t
from survey_weights import rooms

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.inference.johnson_neyman import crossings, divide
from crosslevel.inference.multiplicity import discoveries


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    frame = rooms()
    return frame.assign(f=np.array(["a", "b", "c"])[frame.room % 3], d=np.where(frame.room % 2, "yes", "no"))


@pytest.fixture(scope="module")
def fit(data):
    return cl.mixed("y ~ x * z + f + (x | school)", data)


def roots(b1: float, b3: float, v11: float, v13: float, v33: float, critical: float) -> np.ndarray:
    """Where (b1 + b3 z)^2 = critical^2 (v11 + 2 v13 z + v33 z^2)."""
    a = b3**2 - critical**2 * v33
    b = 2 * (b1 * b3 - critical**2 * v13)
    c = b1**2 - critical**2 * v11
    found = np.roots([a, b, c])
    return np.sort(found[np.abs(found.imag) < 1e-12].real)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("ddf", ["normal", "residual"])
def test_limits_are_the_roots_of_the_quadratic(fit, level: float, ddf: str) -> None:
    b, V = fit.params, fit.vcov
    found = cl.johnson_neyman(fit, "x", "z", ddf=ddf, level=level)
    df = np.inf if ddf == "normal" else fit.nobs - len(b)
    for name, division in (("none", found.uncorrected), ("fdr", found.corrected)):
        critical = norm.isf(division.cut / 2) if np.isinf(df) else t.isf(division.cut / 2, df)
        exact = roots(b["x"], b["x:z"], V.loc["x", "x"], V.loc["x", "x:z"], V.loc["x:z", "x:z"], critical)
        width = found.values.high - found.values.low
        near = exact[(exact > found.values.low - 20 * width) & (exact < found.values.high + 20 * width)]
        mine = found.limits.loc[found.limits["correction"] == name, "value"]
        assert len(near) > 0
        np.testing.assert_allclose(mine, near, rtol=1e-8, atol=1e-10)
        inside = found.limits.loc[found.limits["correction"] == name, "inside"]
        assert inside.tolist() == [bool(found.values.low <= z <= found.values.high) for z in near]


@pytest.mark.parametrize(("b", "V"), [
    ((0.0, 1.0), (0.04, 0.0, 0.01)), ((2.0, 0.1), (0.04, 0.0, 0.01)), ((0.3, 0.0), (0.04, 0.01, 0.02)),
    ((0.0, 0.0), (1.0, 0.0, 1.0)), ((-1.0, 0.7), (0.09, -0.04, 0.05)), ((0.3927, 0.0), (0.04, 0.0, 0.0001)),
])  # fmt: skip
def test_every_shape_of_the_curve(b, V) -> None:
    """One region, two, none; positive and negative; limits so near that a grid misses them."""

    def curve(z):
        return b[0] + b[1] * z, np.sqrt(V[0] + 2 * V[1] * z + V[2] * z**2), np.full(len(z), np.inf)

    found = divide(curve, -3.0, 3.0, 0.05)
    exact = roots(*b, *V, norm.isf(0.025))
    np.testing.assert_allclose(found.limits, exact[(exact > -3) & (exact < 3)], rtol=1e-8, atol=1e-10)
    assert found.regions[0].low == -3.0
    assert found.regions[-1].high == 3.0
    for region in found.regions:
        middle = np.array([(region.low + region.high) / 2])
        estimate, error, _ = curve(middle)
        significant = abs(estimate[0]) > norm.isf(0.025) * error[0]
        assert region.sign == (np.sign(estimate[0]) if significant else 0)


def test_limits_where_degrees_of_freedom_move(fit) -> None:
    """With Satterthwaite's degrees of freedom no quadratic has the limits as roots."""
    found = cl.johnson_neyman(fit, "x", "z", ddf="satterthwaite")
    for value in found.limits.loc[found.limits["correction"] == "none", "value"]:
        row = cl.slopes(fit, "x", by={"z": [value]}, ddf="satterthwaite").frame
        assert row["p_value"].item() == pytest.approx(0.05, abs=1e-9)
    for value in found.limits.loc[found.limits["correction"] == "fdr", "value"]:
        row = cl.slopes(fit, "x", by={"z": [value]}, ddf="satterthwaite").frame
        assert row["p_value"].item() == pytest.approx(found.corrected.cut, abs=1e-9)


def test_effects_that_are_not_linear_in_the_moderator(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ x * z + x:I(z ** 2) + (1 | school)", data)
    found = cl.johnson_neyman(fit, "x", "z", ddf="normal")
    z = found.frame["z"].to_numpy()
    b = fit.params
    np.testing.assert_allclose(found.frame["estimate"], b["x"] + b["x:z"] * z + b["x:I(z ** 2)"] * z**2, rtol=1e-9)
    for value in found.limits["value"]:
        assert found.values.low <= value <= found.values.high
    mixed = cl.mixed("y ~ x + z + I(x * z) + (1 | school)", data)
    product = cl.mixed("y ~ x * z + (1 | school)", data)
    one, two = (cl.johnson_neyman(model, "x", "z", ddf="normal") for model in (mixed, product))
    np.testing.assert_allclose(one.limits["value"], two.limits["value"], rtol=1e-7)


def test_the_frame_is_the_slopes(fit) -> None:
    found = cl.johnson_neyman(fit, "x", "z")
    some = found.frame.iloc[[0, 77, 200]]
    slopes = cl.slopes(fit, "x", by={"z": some["z"].tolist()}).frame
    columns = ["estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high"]
    np.testing.assert_allclose(some[columns].to_numpy(), slopes[columns].to_numpy(), rtol=1e-9)
    assert list(found.frame.columns) == [*columns, "z", "corrected_low", "corrected_high"]
    assert found.frame.index.name == "term"
    half = (found.frame["corrected_high"] - found.frame["estimate"]) / found.frame["std_error"]
    np.testing.assert_allclose(half, t.isf(found.corrected.cut / 2, found.frame["df"]), rtol=1e-9)


def test_the_correction_by_hand(data: pd.DataFrame, fit) -> None:
    values = sorted(data.z.unique())
    p_values = cl.slopes(fit, "x", by={"z": values}).frame["p_value"].to_numpy()
    ordered = np.sort(p_values)
    k = max((i for i in range(1, 15) if ordered[i - 1] <= 0.05 * i / 14), default=0)
    found = cl.johnson_neyman(fit, "x", "z")
    assert (found.tested, found.found) == (14, k)
    assert found.corrected.cut == pytest.approx(0.05 * k / 14)
    significant = [any(r.low <= z <= r.high and r.sign for r in found.corrected.regions) for z in values]
    np.testing.assert_array_equal(significant, p_values <= 0.05 * k / 14)
    share = found.regions[(found.regions["correction"] == "fdr") & (found.regions["effect"] != "none")]["share"].sum()
    assert share == pytest.approx(k / 14)
    few = cl.johnson_neyman(fit, "x", "z", values=[0.0, 1.0])
    assert few.tested == 2


def test_nothing_is_found(data: pd.DataFrame) -> None:
    rng = np.random.default_rng(7)
    fit = cl.mixed("y ~ noise * z + (1 | school)", data.assign(noise=rng.normal(size=len(data))))
    found = cl.johnson_neyman(fit, "noise", "z", level=0.9999)
    assert found.found == 0
    assert found.corrected.cut == 0.0
    assert np.isinf(found.critical[1])
    assert found.regions.loc[found.regions["correction"] == "fdr", "effect"].tolist() == ["none"]
    assert np.isinf(found.frame["corrected_high"]).all()
    assert "no effect at any value" in " ".join(str(found).split())


def test_categories_of_the_predictor(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ d * z + f * z + (1 | school)", data)
    b = fit.params
    found = cl.johnson_neyman(fit, "d", "z")
    assert found.contrast == "yes - no"
    np.testing.assert_allclose(found.frame["estimate"], b["d[yes]"] + b["d[yes]:z"] * found.frame["z"], rtol=1e-10)
    pair = cl.johnson_neyman(fit, "f", "z", levels=("b", "c"))
    expected = b["f[b]"] - b["f[c]"] + (b["z:f[b]"] - b["z:f[c]"]) * pair.frame["z"] if "z:f[b]" in b else (
        b["f[b]"] - b["f[c]"] + (b["f[b]:z"] - b["f[c]:z"]) * pair.frame["z"])  # fmt: skip
    np.testing.assert_allclose(pair.frame["estimate"], expected, rtol=1e-9)
    with pytest.raises(CrosslevelError, match="it has to, because there are more than two"):
        cl.johnson_neyman(fit, "f", "z")
    with pytest.raises(CrosslevelError, match=r"of a, b, c; got \('b', 'b'\)"):
        cl.johnson_neyman(fit, "f", "z", levels=("b", "b"))


def test_degrees_of_freedom_do_not_jump_where_a_weight_is_zero(data: pd.DataFrame) -> None:
    """At z = 0 only the slope itself has a weight, with more degrees of freedom by m-l-1."""
    fit = cl.mixed("y ~ x * z + (1 | school)", data, ddf="m-l-1")
    curve = cl.johnson_neyman(fit, "x", "z", values=[-1.0, 0.0, 1.0]).frame
    assert curve["df"].nunique() == 1


@pytest.mark.parametrize(("call", "message"), [
    (lambda m: cl.johnson_neyman(m, "x", "f"), "which has categories (a, b, c) and so no regions"),
    (lambda m: cl.johnson_neyman(m, "x", "x"), "which is the predictor `x` itself"),
    (lambda m: cl.johnson_neyman(m, "x", "q"), "`z` names 'q', which is not in the fixed part"),
    (lambda m: cl.johnson_neyman(m, "x", "z", levels=("a", "b")), "which is a number"),
    (lambda m: cl.johnson_neyman(m, "x", "z", values=[]), "`values` needs at least one finite value"),
    (lambda m: cl.johnson_neyman(m, "x", "z", level=0), "`level` is a probability"),
])  # fmt: skip
def test_errors_say_what_to_do(fit, call, message: str) -> None:
    import re

    with pytest.raises(CrosslevelError, match=re.escape(message)):
        call(fit)


def test_a_moderator_with_one_value(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ 0 + x + x:one + (1 | school)", data.assign(one=1.0))
    with pytest.raises(CrosslevelError, match="which has the one value 1"):
        cl.johnson_neyman(fit, "x", "one")


def test_crossings_of_a_touching_curve() -> None:
    grid = np.linspace(-1.0, 1.0, 11)
    assert crossings(lambda z: z**2 + 1.0, grid).size == 0
    np.testing.assert_allclose(crossings(lambda z: np.cos(7 * z), grid), np.array([-3, -1, 1, 3]) * np.pi / 14)
    np.testing.assert_allclose(crossings(lambda z: z**2 - 1e-8, np.linspace(-1, 1, 12)), [-1e-4, 1e-4], rtol=1e-6)


@pytest.mark.slow
def test_the_false_discovery_rate_holds() -> None:
    """Of 4,000 replications without any effect, how many report one somewhere: too many without correction.

    The effect is b1 + b3 z at 25 values of z, its estimates normal with a known covariance. Where the true effect is
    zero everywhere, the false discovery rate is the probability of any discovery; where it is zero at ten of the values
    and not at the others, it is the expected share of the discoveries that are false.
    """
    rng = np.random.default_rng(11)
    z = np.linspace(-1.0, 1.0, 25)
    C = np.column_stack([np.ones(25), z])
    V = np.array([[0.04, 0.01], [0.01, 0.06]])
    error = np.sqrt(np.einsum("ij,jk,ik->i", C, V, C))
    n = 4000
    beta = rng.multivariate_normal([0.0, 0.0], V, size=n)
    p_values = 2 * norm.sf(np.abs(beta @ C.T) / error)
    naive = np.mean((p_values <= 0.05).any(axis=1))
    corrected = np.mean([discoveries(row, 0.05)[0] > 0 for row in p_values])
    slack = 3 * np.sqrt(0.05 * 0.95 / n)
    assert naive > 0.08
    assert corrected < 0.05 + slack
    assert corrected < naive

    # an effect that grows with z from zero at z = 0, where ten units are
    z = np.concatenate([np.zeros(10), np.linspace(0.5, 1.0, 15)])
    C = np.column_stack([np.ones(25), z])
    error = np.sqrt(np.einsum("ij,jk,ik->i", C, V, C))
    beta = rng.multivariate_normal([0.0, 1.5], V, size=n)
    p_values = 2 * norm.sf(np.abs(beta @ C.T) / error)
    shares = []
    for row in p_values:
        k, cut = discoveries(row, 0.05)
        shares.append(np.sum(row[:10] <= cut) / k if k else 0.0)
    assert np.mean(shares) < 0.05 + 3 * np.std(shares) / np.sqrt(n)


@pytest.mark.slow
def test_the_false_discovery_rate_of_fitted_models() -> None:
    """Cross-level interactions of 20 clusters without any effect of x: the corrected regions are rarely there."""
    rng = np.random.default_rng(3)
    n_clusters, size, reps = 20, 15, 300
    school = np.repeat(np.arange(n_clusters), size)
    z = rng.normal(size=n_clusters)
    x = rng.normal(size=len(school))
    frame = pd.DataFrame({"school": school, "x": x, "z": z[school], "y": rng.normal(size=len(school))})
    fit = cl.mixed("y ~ x * z + (x | school)", frame)
    naive, corrected = 0, 0
    for _ in range(reps):
        u = rng.normal(size=(n_clusters, 2)) * [0.6, 0.4]
        y = 0.5 * z[school] + u[school, 0] + u[school, 1] * x + rng.normal(size=len(school))
        found = cl.johnson_neyman(fit.refit(y), "x", "z")
        naive += any(region.sign for region in found.uncorrected.regions)
        corrected += any(region.sign for region in found.corrected.regions)
    assert naive / reps > 0.06
    assert corrected / reps < 0.05 + 3 * np.sqrt(0.05 * 0.95 / reps)
    assert corrected <= naive
