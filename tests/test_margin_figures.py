"""Figures of conditional effects and of regions of significance: what they show is what the functions say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from survey_weights import rooms

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    frame = rooms()
    return frame.assign(f=np.array(["a", "b", "c"])[frame.room % 3], d=frame.room % 2)


@pytest.fixture(scope="module")
def fit(data):
    return cl.mixed("y ~ x * z + f * x + d + (x | school)", data)


def lines(panel) -> list[np.ndarray]:
    """Data of the lines with more than two points."""
    return [np.column_stack(line.get_data()) for line in panel.lines if len(line.get_xdata()) > 2]


def test_predictions_along_a_number(data: pd.DataFrame, fit) -> None:
    figure = cl.plot.margins(fit, {"x": None, "f": ["a", "c"]})
    (panel,) = figure.axes
    frame = cl.plot.margins_data(fit, {"x": None, "f": ["a", "c"]})
    drawn = lines(panel)
    assert len(drawn) == 2
    for line, level in zip(drawn, "ac", strict=True):
        mine = frame[frame["f"] == level]
        np.testing.assert_allclose(line, mine[["x", "estimate"]].to_numpy())
    assert (frame["x"].min(), frame["x"].max()) == pytest.approx((data.x.min(), data.x.max()))
    expected = cl.margins(fit, {"x": [frame["x"].iloc[0]], "f": ["a"]}).frame
    assert frame["conf_low"].iloc[0] == pytest.approx(expected["conf_low"].item(), rel=1e-12)
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["a", "c"]


def test_the_rug_has_each_cluster_once(data: pd.DataFrame, fit) -> None:
    figure = cl.plot.slopes(fit, "x", "z")
    (panel,) = figure.axes
    marks = next(item for item in panel.collections if item.get_transform() != panel.transData and
                 len(item.get_paths()) == data.school.nunique())  # fmt: skip
    places = sorted(path.vertices[0, 0] for path in marks.get_paths())
    np.testing.assert_allclose(places, np.sort(data.groupby("school").z.first()))
    assert "14 clusters of school" in " ".join(text.get_text() for text in figure.texts)
    low, high = panel.get_ylim()
    frame = cl.plot.slopes_data(fit, "x", "z")
    assert low > frame["conf_low"].min() - 0.2 * (high - low)


def test_panels_points_and_contrasts(fit) -> None:
    three = cl.plot.margins(fit, {"x": None, "z": [-1, 0, 1], "f": None})
    assert [panel.get_title(loc="left") for panel in three.axes] == ["f: a", "f: b", "f: c"]
    assert len(three.axes[0].lines) == 3
    points = cl.plot.margins(fit, ["f", "d"])
    assert [text.get_text() for text in points.axes[0].get_xticklabels()] == ["a", "b", "c"]
    contrasts = cl.plot.slopes(fit, "f", "x")
    assert [text.get_text() for text in contrasts.axes[0].get_legend().get_texts()] == ["b - a", "c - a"]
    alone = cl.plot.slopes(fit, "d", "f")
    assert alone.axes[0].get_legend() is None


def test_regions_over_the_histogram(data: pd.DataFrame, fit) -> None:
    found = cl.johnson_neyman(fit, "x", "z")
    figure = cl.plot.johnson_neyman(found)
    (panel,) = figure.axes
    curve = max(lines(panel), key=lambda line: np.ptp(line[:, 0]))
    assert len(curve) == len(found.frame)
    verticals = sorted(line.get_xdata()[0] for line in panel.lines if len(set(line.get_xdata())) == 1)
    np.testing.assert_allclose(verticals, np.sort(found.limits.loc[found.limits["inside"], "value"]))
    heights = [bar.get_height() for bar in panel.patches]
    assert max(heights) < 0.24
    counts, _ = np.histogram(data.groupby("school").z.first(), bins=len(heights))
    np.testing.assert_allclose(np.array(heights) / max(heights), counts / counts.max())
    frame, regions = cl.plot.johnson_neyman_data(fit, "x", "z")
    pd.testing.assert_frame_equal(frame, found.frame)
    pd.testing.assert_frame_equal(regions, found.regions)
    assert "false discovery rate of 5%" in " ".join(" ".join(text.get_text() for text in figure.texts).split())


def test_given_axes_are_drawn_into(fit) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for draw in (lambda ax: cl.plot.margins(fit, ["x", "f"], ax=ax), lambda ax: cl.plot.slopes(fit, "x", "z", ax=ax),
                 lambda ax: cl.plot.johnson_neyman(fit, "x", "z", ax=ax)):  # fmt: skip
        figure = Figure()
        FigureCanvasAgg(figure)
        ax = figure.subplots()
        assert draw(ax) is figure
        assert figure.axes == [ax]
        assert len(theme.png(figure)) > 1000


def test_errors_say_what_to_do(fit) -> None:
    with pytest.raises(CrosslevelError, match="`by` names the variable along the horizontal axis"):
        cl.plot.margins(fit, None)
    with pytest.raises(CrosslevelError, match="two can be drawn"):
        cl.plot.margins(fit, ["x", "f", "d", "z"])
    with pytest.raises(CrosslevelError, match="`by` has 14 values of 'z'; a figure has at most 6 lines"):
        cl.plot.margins(fit, {"x": None, "z": "unique"})
    with pytest.raises(CrosslevelError, match="`ax` is one panel, but 'f' needs 3"):
        cl.plot.margins(fit, ["x", "d", "f"], ax=Figure().subplots())
    with pytest.raises(CrosslevelError, match="`x` and `z` name the predictor and the moderator"):
        cl.plot.johnson_neyman(fit)
    with pytest.raises(CrosslevelError, match="here regions are given already"):
        cl.plot.johnson_neyman(cl.johnson_neyman(fit, "x", "z"), "x")
