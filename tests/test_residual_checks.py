"""Residual checks: envelopes, spread and straight lines, against other routes to the same numbers and by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import crosslevel as cl
from crosslevel.diagnostics.diagnostic import Diagnostic, concern_of, worst
from crosslevel.diagnostics.residuals.envelope import at_places, holm, order_statistics
from crosslevel.diagnostics.residuals.homogeneity import bands_of, levene, spread_of
from crosslevel.inference.curves import curve_columns, knots_of
from crosslevel.inference.normal_order import anderson_darling, excess_kurtosis, skewness


def drawn(
    seed: int, *, clusters: int = 30, size: int = 8, errors: str = "normal", effects: str = "normal"
) -> pd.DataFrame:
    """Rows of a random-slope model, with normal, heavy-tailed or skewed parts of variance 1."""
    rng = np.random.default_rng(seed)

    def draw(kind: str, n: int) -> np.ndarray:
        if kind == "heavy":
            return rng.standard_t(3, n) / np.sqrt(3.0)
        return rng.exponential(size=n) - 1.0 if kind == "skewed" else rng.normal(size=n)

    g = np.repeat(np.arange(clusters), size)
    x = rng.normal(size=len(g))
    y = 1.0 + x + draw(effects, clusters)[g] + 0.5 * rng.normal(size=clusters)[g] * x + draw(errors, len(g))
    return pd.DataFrame({"g": g, "x": x, "y": y})


@pytest.fixture(scope="module")
def fit() -> cl.mixed:
    return cl.mixed("y ~ x + (x | g)", drawn(1))


# -- numbers ----------------------------------------------------------------------------------------------------------
def test_distance_and_moments_are_scipys() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=57)
    with pytest.warns(FutureWarning):
        theirs = stats.anderson(values).statistic
    assert anderson_darling(values) == pytest.approx(theirs, rel=1e-12)
    assert anderson_darling(3.0 - 2.0 * values) == pytest.approx(theirs, rel=1e-12)
    assert skewness(values) == pytest.approx(stats.skew(values), rel=1e-12)
    assert excess_kurtosis(values) == pytest.approx(stats.kurtosis(values), rel=1e-12)
    assert np.isnan(anderson_darling(np.ones(5)))


def test_levene_is_scipys_of_sizes() -> None:
    rng = np.random.default_rng(2)
    codes, values = rng.integers(0, 4, 60), rng.normal(size=60)
    sizes = [np.abs(values[codes == k]) for k in range(4)]
    assert levene(values, codes, 4) == pytest.approx(stats.f_oneway(*sizes).statistic, rel=1e-12)
    spread = spread_of(values, codes, 5)
    assert spread[1] == pytest.approx(np.sqrt(np.mean(values[codes == 1] ** 2)))
    assert np.isnan(spread[4])


def test_holm() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, np.nan, 0.03])), [0.03, 0.06, np.nan, 0.06])


def test_order_statistics_keep_the_tails() -> None:
    assert order_statistics(500).tolist() == list(range(500))
    places = order_statistics(100_000)
    assert len(places) <= 700
    assert places[:150].tolist() == list(range(150))
    assert places[-1] == 99_999
    np.testing.assert_allclose(at_places(np.arange(10.0), np.array([0, 9]), 10), [0.0, 9.0])
    np.testing.assert_allclose(at_places(np.arange(5.0), np.array([0, 9]), 10), [0.0, 4.0])


def test_bands_hold_equal_values_together() -> None:
    assert bands_of(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [2, 0, 2, 1]
    values = np.random.default_rng(1).normal(size=1000)
    assert np.bincount(bands_of(values)).tolist() == [50] * 20


def test_a_curve_is_a_line_beyond_the_outer_knots_and_smooth_between() -> None:
    x = np.random.default_rng(1).normal(size=400)
    knots = knots_of(x)
    assert knots is not None
    grid = np.linspace(knots[0] - 2.0, knots[-1] + 2.0, 4001)
    columns = curve_columns(grid, knots, 0.0, 1.0)
    step = grid[1] - grid[0]
    second = np.diff(columns, 2, axis=1) / step**2
    outside = (grid[1:-1] < knots[0] - step) | (grid[1:-1] > knots[-1] + step)
    np.testing.assert_allclose(second[:, outside], 0.0, atol=1e-5)
    # a cubic's second derivative has no jumps
    assert np.abs(np.diff(second, axis=1)).max() < 20.0 * step
    assert knots_of(np.array([0.0, 1.0, 2.0, 2.0])) is None


def test_lights() -> None:
    assert worst([]) == "none"
    assert worst(["look", "none"]) == "look"
    assert worst(["none", "act", "look"]) == "act"
    assert [concern_of(p) for p in (0.2, 0.01, 1e-4)] == ["none", "look", "act"]


# -- envelopes --------------------------------------------------------------------------------------------------------
def test_an_envelope_is_of_the_standardised_values(fit: cl.mixed) -> None:
    found, residuals = cl.envelope(fit, seed=1, n=20), cl.residuals(fit)
    (part,) = found.parts
    wanted = residuals.rows["standardized"].sort_values()
    np.testing.assert_allclose(part.quantiles["observed"], wanted, atol=1e-9)
    assert part.quantiles["label"].tolist() == wanted.index.astype(str).tolist()
    effects = cl.envelope(fit, "random effects", seed=1, n=20)
    assert [part.name for part in effects.parts] == ["Intercept of g", "x of g"]
    for part, name in zip(effects.parts, ("Intercept", "x"), strict=True):
        wanted = residuals.clusters["g"][f"{name}_standardized"].sort_values()
        np.testing.assert_allclose(part.quantiles["observed"], wanted, atol=1e-9)


def test_standardised_values_of_outcomes_from_the_model_have_variance_one(fit: cl.mixed) -> None:
    # by row and level over 400 outcomes: the mean of all squares within 3 Monte-Carlo errors of 1
    from crosslevel.diagnostics.residuals.standardised import LinearSource

    for effects in (False, True):
        source = LinearSource(fit=fit, effects=effects, refit=False)
        values = [next(iter(own.values())) for own in source.drawn(np.random.default_rng(1), 400)]
        means = np.mean(np.square(values), axis=1)
        assert abs(means.mean() - 1.0) < 3.0 * means.std() / np.sqrt(400)


def test_heavy_tails_and_skewed_effects_are_found() -> None:
    heavy = cl.envelope(cl.mixed("y ~ x + (x | g)", drawn(3, clusters=60, errors="heavy")), seed=1)
    assert heavy.concern == "act"
    assert "heavier tails" in heavy.sentences[0]
    assert "outlying_rows" in heavy.sentences[-1]
    skewed = cl.mixed("y ~ x + (1 | g)", drawn(4, clusters=150, effects="skewed"))
    found = cl.envelope(skewed, "random effects", seed=1)
    assert found.frame["p_value"].iloc[0] < 0.01
    assert "skewed to the right" in found.sentences[0]
    assert cl.envelope(skewed, "random effects", seed=1, n=20).frame.equals(
        cl.envelope(skewed, "random effects", seed=1, n=20).frame
    )


def test_effects_that_are_perfectly_correlated_are_one(fit: cl.mixed) -> None:
    singular = cl.mixed("mathach ~ ses * sector + (ses | school)", cl.datasets.load("hsb"))
    found = cl.envelope(singular, "random effects", seed=1, n=20)
    assert found.same == {"ses of school": "Intercept of school"}
    assert any("perfectly correlated" in sentence for sentence in found.sentences)
    assert cl.envelope(fit, "random effects", n=20).same == {}


def test_refits_have_their_own_variances(fit: cl.mixed) -> None:
    kept, again = (cl.envelope(fit, seed=1, n=20, refit=refit, progress=False) for refit in (False, True))
    assert again.refitted
    assert kept.frame["distance"].equals(again.frame["distance"])
    assert not np.allclose(kept.parts[0].simulated, again.parts[0].simulated)
    assert np.corrcoef(kept.parts[0].simulated[:, 1], again.parts[0].simulated[:, 1])[0, 1] > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("of", ["residuals", "random effects"])
def test_the_envelope_rejects_one_true_model_in_twenty(of: str) -> None:
    rejected, n = 0, 400
    for seed in range(n):
        data = drawn(1000 + seed, clusters=20, size=5)
        model = cl.mixed("y ~ x + (1 | g)", data.assign(y=data.y))
        rejected += cl.envelope(model, of, n=99, seed=seed).frame["p_value"].iloc[0] <= 0.05
    assert abs(rejected / n - 0.05) < 3.0 * np.sqrt(0.05 * 0.95 / n)


def test_other_families_and_regressions_have_envelopes() -> None:
    rng = np.random.default_rng(5)
    data = drawn(5)
    data["count"] = rng.poisson(np.exp(0.3 * data.y))
    counts = cl.mixed("count ~ x + (1 | g)", data, family="poisson")
    for of in ("residuals", "random effects"):
        found = cl.envelope(counts, of, seed=1, n=30)
        assert found.frame["p_value"].iloc[0] > 0.01
    plain = cl.ols("y ~ x", data, cluster="g")
    (part,) = cl.envelope(plain, seed=1, n=30).parts
    wanted = cl.residuals(plain).rows["standardized"].sort_values()
    np.testing.assert_allclose(part.quantiles["observed"], wanted, atol=1e-9)
    found = cl.homogeneity(counts, seed=1, n=30)
    assert found.frame.index.tolist() == ["clusters of g", "fitted values"]


def test_wrong_questions_are_refused(fit: cl.mixed) -> None:
    data = drawn(1)
    weighted = cl.mixed("y ~ x + (1 | g)", data.assign(w=2), weights=cl.Frequency("w"))
    with pytest.raises(cl.CrosslevelError, match="stands for several"):
        cl.envelope(weighted)
    with pytest.raises(cl.CrosslevelError, match="at least 20"):
        cl.envelope(fit, n=3)
    with pytest.raises(cl.CrosslevelError, match="'residuals' or 'random effects'"):
        cl.envelope(fit, "effects")
    with pytest.raises(cl.CrosslevelError, match="the model has none"):
        cl.envelope(cl.ols("y ~ x", data), "random effects")
    with pytest.raises(cl.CrosslevelError, match="Leave it out"):
        cl.envelope(fit, group="g")
    with pytest.raises(cl.CrosslevelError, match="`residuals` is for fits"):
        cl.residuals(data)
    with pytest.raises(cl.CrosslevelError, match="numeric predictor"):
        cl.linearity(fit, "z")
    sampled = cl.mixed("y ~ x + (1 | g)", data.assign(w=2.0), weights=cl.Sampling("w"), method="ml")
    found = cl.residuals(sampled)
    assert found.rows["standardized"].isna().all()
    assert any("sampling weights" in note for note in found.notes)
    assert str(found)


# -- spread -----------------------------------------------------------------------------------------------------------
def test_unequal_spread_is_found_and_named() -> None:
    data = drawn(6, clusters=40, size=12)
    data["y"] += np.where(data.g < 8, 3.0, 0.0) * np.random.default_rng(99).normal(size=len(data))
    found = cl.homogeneity(cl.mixed("y ~ x + (x | g)", data), seed=1, n=120)
    assert found.frame.loc["clusters of g", "p_value"] == pytest.approx(1.0 / 121.0)
    assert set(found.clusters["g"]["spread"].nlargest(6).index) <= set(range(8))
    assert found.concern == "act"
    assert "residual" in found.sentences[-1]


def test_clusters_of_two_rows_are_no_sign_of_unequal_spread() -> None:
    # both residuals of a pair are nearly of one size, so that the F distribution would reject
    data = drawn(7, clusters=150, size=2)
    found = cl.homogeneity(cl.mixed("y ~ x + (1 | g)", data), seed=1, n=60)
    row = found.frame.loc["clusters of g"]
    assert row["simulated_mean"] > 1.2
    assert row["p_value"] > 0.05


# -- straight lines ---------------------------------------------------------------------------------------------------
def test_the_test_of_a_line_is_that_of_a_refit_with_centred_columns() -> None:
    data = drawn(8)
    data["x"] = np.random.default_rng(8).integers(0, 4, len(data)).astype(float)
    model = cl.mixed("y ~ x + (1 | g)", data)
    square = (data.x - data.x.mean()) ** 2
    data["added"] = square - square.groupby(data.g).transform("mean")
    row = cl.mixed("y ~ x + added + (1 | g)", data).tidy().loc["added"]
    found = cl.linearity(model).frame.loc["x"]
    assert found["within"] == "g"
    assert found["df_num"] == 1
    assert found["statistic"] == pytest.approx(row["statistic"] ** 2, rel=1e-6)
    assert found["p_value"] == pytest.approx(row["p_value"], rel=1e-5)


def test_a_curve_between_clusters_is_none_within_them() -> None:
    rng = np.random.default_rng(9)
    data = drawn(9, clusters=80, size=10)
    context = rng.normal(size=80)
    data["x"] += context[data.g]
    data["z"] = context[data.g]
    data["y"] = data.x + context[data.g] ** 2 + rng.normal(size=len(data))
    found = cl.linearity(cl.mixed("y ~ x + z + (1 | g)", data))
    assert found.frame.loc["x", "p_value"] > 0.05
    assert found.frame.loc["z", "p_value"] < 1e-6
    assert found.frame["within"].tolist() == ["g", ""]
    assert found.concern == "act"
    assert "z" in found.sentences[-1]


def test_the_curve_is_that_of_a_refit_with_a_spline_centred_in_clusters() -> None:
    data = drawn(10, clusters=60)
    data["y"] += 0.5 * data.x**2
    (course,) = cl.linearity(cl.mixed("y ~ x + (x | g)", data), "x").courses
    knots = np.quantile(data.x, [0.05, 0.35, 0.65, 0.95])

    def spline(x: np.ndarray, j: int) -> np.ndarray:
        cubes = [np.clip(x - t, 0.0, None) ** 3 for t in knots]
        shares = (knots[3] - knots[j]) / (knots[3] - knots[2]), (knots[2] - knots[j]) / (knots[3] - knots[2])
        return cubes[j] - shares[0] * cubes[2] + shares[1] * cubes[3]

    for j in (0, 1):
        own = spline(data.x, j)
        data[f"s{j}"] = own - own.groupby(data.g).transform("mean")
    refit = cl.mixed("y ~ x + s0 + s1 + (x | g)", data)
    test = refit.contrast(["s0", "s1"], joint=True).iloc[0]
    assert course.statistic == pytest.approx(test["statistic"], rel=1e-5)
    assert course.p_value < 1e-10
    grid = course.curve["value"].to_numpy()
    height = refit.params["x"] * grid + sum(refit.params[f"s{j}"] * spline(grid, j) for j in (0, 1))
    np.testing.assert_allclose(np.diff(course.curve["curve"]), np.diff(height), atol=1e-6)
    whole = refit.params["x"] * data.x + sum(refit.params[f"s{j}"] * spline(data.x, j) for j in (0, 1))
    partial = refit.resid + whole - whole.mean()
    np.testing.assert_allclose(course.rows["partial"], partial, atol=1e-5)


def test_lines_in_interactions_are_mean_slopes() -> None:
    model = cl.mixed("mathach ~ within(ses, school) * sector + (1 | school)", cl.datasets.load("hsb"))
    (course,) = cl.linearity(model, "ses").courses
    ends = course.curve.iloc[[0, -1]]
    slope = np.diff(ends["line"])[0] / np.diff(ends["value"])[0]
    share = (cl.datasets.load("hsb")["sector"] == "Catholic").mean()
    names = ["within(ses, school)", "within(ses, school):sector[Catholic]"]
    assert slope == pytest.approx(model.params[names] @ [1.0, share], rel=1e-9)


# -- records and figures ----------------------------------------------------------------------------------------------
def test_records_say_whether_something_is_wrong(fit: cl.mixed) -> None:
    found = [
        cl.residuals(fit), cl.envelope(fit, n=20, seed=1), cl.homogeneity(fit, n=20, seed=1), cl.linearity(fit)
    ]  # fmt: skip
    for record in found:
        assert isinstance(record, Diagnostic)
        assert record.concern in ("none", "look")
        assert record.sentences
        assert str(record)
        assert "<table" in record._repr_html_()


def test_outliers_are_named() -> None:
    data = drawn(11)
    data.loc[17, "y"] += 12.0
    found = cl.residuals(cl.mixed("y ~ x + (1 | g)", data))
    assert found.outlying_rows.index[0] == 17
    assert found.concern == "look"
    assert "17 (" in found.sentences[1]
    far = drawn(12)
    far.loc[far.g == 5, "y"] += 15.0
    assert 5 in cl.residuals(cl.mixed("y ~ x + (1 | g)", far)).outlying_clusters["g"].index


def named_fit(clusters: int) -> cl.mixed:
    """A model whose clusters have long names."""
    data = drawn(13, clusters=clusters)
    data["g"] = [f"A long name of a municipality in the north, number {k}" for k in data.g]
    return cl.mixed("y ~ x + (1 | g)", data)


def test_figures_are_drawn_from_their_data() -> None:
    model = named_fit(200)
    effects = cl.envelope(model, "random effects", n=20, seed=1)
    spread, lines = cl.homogeneity(model, n=20, seed=1), cl.linearity(model)
    table = cl.plot.envelope_data(effects)
    assert len(table) == 200
    assert table["outside"].sum() == effects.parts[0].outside
    assert (cl.plot.homogeneity_data(spread)["across"] == "clusters of g").sum() == 200
    assert len(cl.plot.linearity_data(lines)["rows"]) == model.nobs
    for figure in (cl.plot.envelope(effects), cl.plot.homogeneity(spread), cl.plot.linearity(lines)):
        figure.canvas.draw()


def test_few_clusters_are_named_in_figures() -> None:
    figure = cl.plot.homogeneity(cl.homogeneity(named_fit(5), n=20, seed=1))
    figure.canvas.draw()
    assert next(label.get_text() for label in figure.axes[0].get_xticklabels()).startswith("…")
