"""Figures: the frames behind them, and what is drawn."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import crosslevel as cl
from crosslevel.report import figures
from crosslevel.report.figures import theme

DRAWN = ["cluster_sizes", "raw", "fitted_lines", "caterpillar", "shrinkage", "residual_qq", "residual_fitted"]
SINGLE = [name for name in DRAWN if name != "raw"]


def simulated(clusters: int, size: int, *, long_names: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(clusters)
    sizes = rng.integers(max(1, size // 2), 2 * size, clusters)
    group = np.repeat(np.arange(clusters), sizes)
    x = rng.normal(size=len(group)) + rng.normal(0, 0.5, clusters)[group]
    effects = rng.normal(size=(clusters, 2)) @ np.array([[2.0, 0.5], [0.0, 0.8]])
    y = 50 + 3 * x + effects[group, 0] + effects[group, 1] * x + rng.normal(0, 4, len(group))
    start = "Region of a very long administrative name " if long_names else "c"
    frame = pd.DataFrame({"y": y, "x": x, "g": [f"{start}{k}" for k in group]})
    frame.attrs["labels"] = {"y": "Trust in political institutions (0 to 100)"} if long_names else {}
    return frame


@pytest.fixture(scope="module")
def sleep():
    return cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))


@pytest.fixture(scope="module")
def parallel():
    return cl.mixed("Reaction ~ Days + (1 | Subject)", cl.datasets.load("sleepstudy"))


@pytest.fixture(scope="module")
def hsb():
    formula = "mathach ~ within(ses, school) * sector + meanses + (within(ses, school) | school)"
    return cl.mixed(formula, cl.datasets.load("hsb"))


@pytest.fixture(scope="module", params=[(5, 30, True), (28, 40, True), (160, 10, False), (2000, 3, False)])
def many(request):
    clusters, size, long_names = request.param
    return cl.mixed("y ~ x + (x | g)", simulated(clusters, size, long_names=long_names))


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_can_be_drawn_and_has_words(many, name):
    figure = getattr(cl.plot, name)(many)
    assert isinstance(figure, Figure)
    assert theme.png(figure).startswith(b"\x89PNG")
    title, subtitle = (text.get_text() for text in figure.texts[:2])
    assert title
    assert subtitle
    assert all(panel.get_xlabel() or figure.get_supxlabel() or panel.get_xticklabels() for panel in figure.axes)


@pytest.mark.parametrize("name", SINGLE)
def test_figures_draw_into_given_axes(sleep, name):
    figure = Figure()
    panel = figure.subplots()
    assert getattr(cl.plot, name)(sleep, ax=panel) is figure
    assert panel.has_data()
    assert len(figure.axes) == 1


def test_axes_carry_labels_of_variables(hsb):
    panel = cl.plot.raw(hsb).axes[0]
    assert panel.get_xlabel() == "Socio-economic status (standardised score) (ses)"
    assert panel.get_ylabel().replace("\n", " ") == "Mathematics achievement (score) (mathach)"


def test_drawing_leaves_no_trace_in_global_state():
    code = """
import sys, matplotlib, crosslevel as cl
settings = lambda: {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
before = settings()
data = cl.datasets.load("sleepstudy")
cl.plot.raw(data[data["Subject"].isin(["308", "309"])], "Reaction", "Days", "Subject")._repr_png_()
cl.plot.caterpillar(cl.mixed("Reaction ~ Days + (1 | Subject)", data))._repr_png_()
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_figures_does_not_import_matplotlib():
    code = "import sys, crosslevel as cl; cl.plot.caterpillar; cl.report; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_drawings_are_the_same_every_time(sleep):
    assert theme.svg(cl.plot.caterpillar(sleep)) == theme.svg(cl.plot.caterpillar(sleep))


def test_cluster_sizes_of_a_fit_a_description_and_a_series_agree(hsb):
    data = cl.datasets.load("hsb")
    counts = data["school"].value_counts()
    for subject in (hsb, cl.describe(data, "school"), counts.rename_axis("school")):
        sizes = figures.cluster_sizes_data(subject)["rows"]
        assert sizes.is_monotonic_decreasing
        assert sizes.sort_index().to_dict() == counts.sort_index().to_dict()


def test_cluster_sizes_refuses_what_has_none():
    with pytest.raises(cl.CrosslevelError, match=r"`cluster_sizes` draws a fitted model.*got list"):
        cl.plot.cluster_sizes([1, 2])


def test_histogram_bins_hold_whole_numbers():
    figure = cl.plot.cluster_sizes(pd.Series(np.repeat([1, 2, 3, 4, 5], 20)))
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [20.0] * 5


def test_raw_data_of_a_fit_and_of_its_frame_agree(sleep):
    from_fit = figures.raw_data(sleep)
    from_frame = figures.raw_data(cl.datasets.load("sleepstudy"), "Reaction", "Days", "Subject")
    pd.testing.assert_frame_equal(from_fit.astype({"cluster": str}), from_frame.astype({"cluster": str}))


def test_raw_lines_are_least_squares(sleep):
    points = figures.raw_data(sleep)
    lines = figures.raw_lines(points)
    for cluster, own in points.groupby("cluster"):
        slope, intercept = np.polyfit(own["x"], own["y"], 1)
        assert lines.loc[cluster, "slope"] == pytest.approx(slope, rel=1e-10)
        assert lines.loc[cluster, "intercept"] == pytest.approx(intercept, rel=1e-10)


def test_raw_data_leaves_out_rows_with_missing_values():
    frame = pd.DataFrame({"y": [1.0, np.nan, 3.0, 4.0], "x": [1.0, 2.0, np.nan, 4.0], "g": ["a", "a", "b", None]})
    assert figures.raw_data(frame, "y", "x", "g").to_dict("list") == {"cluster": ["a"], "x": [1.0], "y": [1.0]}


def test_raw_refuses_text_and_missing_names():
    frame = pd.DataFrame({"y": [1.0, 2.0], "x": ["a", "b"], "g": ["a", "a"]})
    with pytest.raises(cl.CrosslevelError, match="`raw` draws numbers; 'x' holds"):
        cl.plot.raw(frame, "y", "x", "g")
    with pytest.raises(cl.CrosslevelError, match="needs the names of the columns"):
        cl.plot.raw(frame)
    with pytest.raises(cl.ColumnNotFoundError, match="xx"):
        cl.plot.raw(frame, "y", "xx", "g")


def test_raw_of_a_model_without_predictors_says_what_to_do():
    fit = cl.mixed("Reaction ~ 1 + (1 | Subject)", cl.datasets.load("sleepstudy"))
    with pytest.raises(cl.CrosslevelError, match="no numeric predictor to draw against: name a column as `x`"):
        cl.plot.raw(fit)
    assert len(cl.plot.raw(fit, x="Days").axes) == 18


def test_a_panel_per_cluster_up_to_thirty():
    frame = simulated(30, 5)
    assert len([panel for panel in cl.plot.raw(frame, "y", "x", "g").axes if panel.get_title(loc="left")]) == 30
    assert len(cl.plot.raw(simulated(31, 5), "y", "x", "g").axes) == 1


def test_fitted_lines_are_the_clusters_coefficients(sleep):
    lines = figures.fitted_lines_data(sleep)
    coefficients = sleep.coef()[sleep.group].loc[lines["cluster"]]
    expected = coefficients["Intercept"].to_numpy() + coefficients["Days"].to_numpy() * lines["x"].to_numpy()
    np.testing.assert_allclose(lines["fitted"], expected, rtol=1e-10)


def test_fitted_lines_cover_each_clusters_own_range(hsb):
    lines = figures.fitted_lines_data(hsb, "ses").groupby("cluster")["x"].agg(["min", "max"])
    own = cl.datasets.load("hsb").groupby("school")["ses"].agg(["min", "max"])
    np.testing.assert_allclose(lines.to_numpy(), own.loc[lines.index].to_numpy())


def test_fitted_lines_of_a_centred_predictor_have_the_models_slopes(hsb):
    lines = figures.fitted_lines_data(hsb)
    ends = lines.groupby("cluster").agg(["first", "last"])
    slopes = (ends["fitted"]["last"] - ends["fitted"]["first"]) / (ends["x"]["last"] - ends["x"]["first"])
    coefficients = hsb.coef()[hsb.group]
    catholic = cl.datasets.load("hsb").groupby("school")["sector"].first().loc[slopes.index] == "Catholic"
    expected = coefficients["within(ses, school)"] + catholic * hsb.params["within(ses, school):sector[Catholic]"]
    np.testing.assert_allclose(slopes, expected.loc[slopes.index], rtol=1e-8)


def test_fitted_lines_say_whether_they_are_parallel(sleep, parallel):
    assert "The lines are parallel" in cl.plot.fitted_lines(parallel).texts[1].get_text().replace("\n", " ")
    assert "Slopes range from" in cl.plot.fitted_lines(sleep).texts[1].get_text().replace("\n", " ")


def test_fitted_lines_need_a_number(hsb):
    with pytest.raises(cl.CrosslevelError, match="'sector' is not numeric"):
        cl.plot.fitted_lines(hsb, "sector")


def test_caterpillar_holds_the_random_effects_in_order(sleep):
    data = figures.caterpillar_data(sleep, "Days")
    effects = sleep.ranef()[sleep.group]
    assert data["estimate"].is_monotonic_increasing
    assert data["rank"].tolist() == list(range(1, 19))
    np.testing.assert_array_equal(data["estimate"], effects.loc[data.index, "Days"])
    np.testing.assert_allclose((data["conf_high"] - data["conf_low"]) / data["std_error"], 2 * 1.959964, rtol=1e-6)


def test_comparison_intervals_just_touch_at_the_five_percent_level(sleep):
    data = figures.caterpillar_data(sleep, comparison=True)
    half = (data["conf_high"] - data["estimate"]) / data["std_error"]
    # two intervals of equal length touch when the difference is 2 half se = 1.96 sqrt(2) se
    np.testing.assert_allclose(2 * half, 1.959964 * np.sqrt(2), rtol=1e-6)


def test_caterpillar_refuses_an_unknown_term(sleep):
    with pytest.raises(cl.CrosslevelError, match="`term` must be one of 'Intercept', 'Days'; got 'days'"):
        cl.plot.caterpillar(sleep, "days")


@pytest.mark.parametrize(
    "formula",
    ["Reaction ~ Days + (Days | Subject)", "Reaction ~ Days + (0 + Days | Subject)", "Reaction ~ 1 + (1 | Subject)"],
)
def test_no_pooling_is_least_squares_of_what_the_fixed_effects_leave(formula):
    data = cl.datasets.load("sleepstudy")
    fit = cl.mixed(formula, data)
    shrunk = figures.shrinkage_data(fit).set_index(["cluster", "term"])["no_pooling"]
    left = data["Reaction"] - fit.augment()["fixed"]
    for cluster, rows in data.groupby("Subject").groups.items():
        days = data.loc[rows, "Days"].to_numpy(dtype=float)
        columns = {"Intercept": np.ones(len(days)), "Days": days}
        Z = np.column_stack([columns[name] for name in fit.design.random_names])
        expected = np.linalg.lstsq(Z, left[rows].to_numpy(), rcond=None)[0]
        np.testing.assert_allclose([shrunk[cluster, name] for name in fit.design.random_names], expected, rtol=1e-7)


def test_partial_pooling_is_the_models(sleep):
    shrunk = figures.shrinkage_data(sleep).pivot(index="cluster", columns="term", values="partial_pooling")
    effects = sleep.ranef(se=False)[sleep.group]
    np.testing.assert_array_equal(shrunk.loc[effects.index, effects.columns], effects)


def test_clusters_that_cannot_stand_alone_have_no_estimate_of_their_own():
    fit = cl.mixed("y ~ x + (x | g)", simulated(2000, 3))
    shrunk = figures.shrinkage_data(fit)
    assert shrunk.loc[shrunk["rows"] < 2, "no_pooling"].isna().all()
    assert shrunk.loc[shrunk["rows"] > 2, "no_pooling"].notna().all()


def test_residual_quantiles(sleep):
    data = figures.residual_qq_data(sleep)
    np.testing.assert_allclose(data["sample"], np.sort(sleep.resid) / sleep.sigma)
    assert data["theoretical"].sum() == pytest.approx(0, abs=1e-9)
    assert ((data["low"] < data["theoretical"]) & (data["theoretical"] < data["high"])).all()


def test_the_smooth_follows_a_line_and_shows_a_bend():
    from crosslevel.report.figures.residuals import smooth

    x = np.random.default_rng(1).normal(size=5000)
    inside = (x > -2) & (x < 2)
    np.testing.assert_allclose(smooth(x, 3 + 2 * x)[inside], (3 + 2 * x)[inside], atol=0.02)
    bent = smooth(x, np.abs(x))
    assert bent[np.abs(x) < 0.1].max() < bent[np.abs(x) > 1.5].min()
    np.testing.assert_array_equal(smooth(np.ones(3), np.array([1.0, 2.0, 3.0])), [2.0, 2.0, 2.0])


SHORTENED = {
    ("abc", "abd"): ["abc", "abd"],
    ("Region of France", "Region of Poland"): ["…France", "…Poland"],
    ("abcdefghijklmnop", "abcdefghijkxmnop"): ["abcd… #1", "abcd… #2"],
}


@pytest.mark.parametrize(("names", "shown"), SHORTENED.items())
def test_names_stay_different_when_shortened(names, shown):
    short = theme.shortened(names, 8)
    assert len(set(short)) == len(names)
    assert max(map(len, short)) <= 8
    if names[0] != "abcdefghijklmnop":
        assert short == shown
