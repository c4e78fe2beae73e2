"""Figures of Monte Carlo studies: which points they show, how panels and lines are told apart, what is refused."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import crosslevel as cl
from crosslevel.report.figures import theme
from crosslevel.simulation.published.numbers import published

SCALES = {"rmse": "log", "coverage": "linear"}


def results(*, terms: tuple[str, ...] = ("z",)) -> pd.DataFrame:
    rows = []
    levels = itertools.product((15, 25), (0, 5), (0.2, 1.0), ("ME-Correct", "ME-Invariant"), terms)
    for clusters, slopes, sd, estimator, term in levels:
        error = 50.0 / np.sqrt(clusters - 3) * (1.0 + slopes * sd * (estimator == "ME-Invariant"))
        own = {"estimator": estimator, "reps": 4000, "failed": 0, "term": term}
        place = {"variant": "dce", "clusters": clusters, "slopes": slopes, "slope_sd": sd, "between": 0.15}
        rows.append({**place, **own, "measure": "rmse", "interval": "", "value": error, "mcse": error / 90.0})
        for interval, value in (("m-l-1", 95.0 - slopes), ("growth-curve", 95.3)):
            rows.append({**place, **own, "measure": "coverage", "interval": interval, "value": value, "mcse": 0.34})
    first = ["variant", "clusters", "slopes", "slope_sd", "between", "estimator", "measure", "interval"]
    return pd.DataFrame(rows)[[*first, "value", "mcse", "reps", "failed", "term"]]


@pytest.mark.parametrize("measure", SCALES)
def test_factors_have_the_axis_and_the_panels(measure):
    frame = results()
    frame = frame[frame["interval"] != "growth-curve"]
    labels = {"clusters": "{} clusters"}
    figure = cl.plot.study(frame, measure, x="slopes", columns="clusters", rows="slope_sd", labels=labels)
    panels = figure.axes
    assert [panel.get_title(loc="left") for panel in panels] == [
        f"{clusters} clusters, slope sd {sd}" for sd in ("0.2", "1") for clusters in (15, 25)
    ]
    assert {panel.get_yscale() for panel in panels} == {SCALES[measure]}
    assert panels[0].get_ylim() == panels[1].get_ylim()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ME-Correct", "ME-Invariant"]
    assert theme.png(figure).startswith(b"\x89PNG")


def test_without_names_the_last_factors_that_vary_are_taken():
    given = cl.plot.study_data(results(), x="slope_sd", columns="slopes", rows="clusters")
    pd.testing.assert_frame_equal(cl.plot.study_data(results()), given)


def test_lines_are_what_tells_points_apart():
    frame = results()
    both = cl.plot.study_data(frame, "coverage")
    assert set(both["line"]) == {f"{a}: {b}" for a in ("ME-Correct", "ME-Invariant") for b in ("m-l-1", "growth-curve")}
    terms = cl.plot.study_data(results(terms=("z", "x1:z")))
    assert set(terms["line"]) == {f"{a}: {b}" for a in ("ME-Correct", "ME-Invariant") for b in ("z", "x1:z")}
    one = cl.plot.study_data(frame[frame["estimator"] == "ME-Correct"], "coverage")
    assert set(one["line"]) == {"m-l-1", "growth-curve"}


def test_published_points_are_those_of_the_same_conditions():
    shown = cl.plot.study_data(results(), "coverage", published=published())
    theirs = shown[shown["published"]]
    assert theirs["value"].tolist() == [81.8]
    assert (theirs[["x", "column", "row"]].to_numpy() == [0.2, 5, 15]).all()
    nothing = cl.plot.study_data(results().assign(variant="cli"), "coverage", published=published())
    assert not nothing["published"].any()


def test_one_condition_is_a_list():
    frame = results()
    one = frame[(frame["clusters"] == 15) & (frame["slopes"] == 5) & (frame["slope_sd"] == 0.2)]
    figure = cl.plot.study(one, "coverage", published=published(), title="Coverage of one condition")
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == [
        "ME-Invariant: growth-curve", "ME-Invariant: m-l-1", "ME-Correct: growth-curve", "ME-Correct: m-l-1",
    ]  # fmt: skip
    assert panel.get_legend() is not None
    assert isinstance(figure, Figure)


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        (pd.DataFrame({"value": [1.0]}), {}, "lacks the columns"),
        (results(), {"measure": "power"}, "rmse, coverage; got 'power'"),
        (results(), {"x": "size"}, "`x` is a factor of the study"),
        (results(), {"x": "slopes"}, "factors clusters, slopes, slope_sd vary"),
        (results(terms=("z", "x1:z")).replace({"term": {"x1:z": "z"}}), {}, "Several values of 'rmse'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(frame, options, words):
    with pytest.raises(cl.CrosslevelError, match=words):
        cl.plot.study(frame, **options)
