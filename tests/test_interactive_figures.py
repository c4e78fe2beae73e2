"""Interactive drawings and files of figures: every mark says its numbers, in its place; nothing is loaded."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import crosslevel as cl
from crosslevel.report import figures
from crosslevel.report.figures import theme

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def sleep():
    return cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))


def marks_in(drawing):
    """Element and label of every mark."""
    root = ElementTree.fromstring(str(drawing))
    groups = [group for group in root.iter(f"{SVG}g") if group.get("class") == "marks"]
    return [(each, each.find(f"{SVG}title").text) for group in groups for each in group]


def places(panel, x, y):
    """Points (k, 2) of a panel on the page, from the top left, by its ends and its place in the figure alone."""
    width, height = np.array(panel.figure.get_size_inches()) * 72
    box, (left, right), (bottom, top) = panel.get_position(), panel.get_xlim(), panel.get_ylim()
    across = width * (box.x0 + box.width * (np.asarray(x) - left) / (right - left))
    up = height * (box.y0 + box.height * (np.asarray(y) - bottom) / (top - bottom))
    return np.column_stack([across, height - up])


def test_marks_stand_where_the_numbers_are(sleep):
    figure, data = cl.plot.caterpillar(sleep), figures.caterpillar_data(sleep)
    found = marks_in(cl.plot.interactive(figure))
    drawn = np.array([[float(each.get("cx")), float(each.get("cy"))] for each, _ in found])
    np.testing.assert_allclose(drawn, places(figure.axes[0], data["estimate"], data["rank"]), atol=0.06)
    assert [label.split("\n")[0] for _, label in found] == data.index.tolist()


def test_a_mark_says_name_and_numbers(sleep):
    row = figures.caterpillar_data(sleep).loc["308"]
    label = next(label for _, label in marks_in(cl.plot.interactive(cl.plot.caterpillar(sleep))) if "308" in label)
    interval = f"interval {row['conf_low']:.3f} to {row['conf_high']:.3f}"
    assert label.split("\n") == ["308", f"effect {row['estimate']:.3f}", interval, "rank 9"]


@pytest.mark.parametrize("name", ["caterpillar", "shrinkage", "raw", "fitted_lines"])
def test_every_cluster_has_a_mark(sleep, name):
    labels = [label for _, label in marks_in(cl.plot.interactive(getattr(cl.plot, name)(sleep)))]
    assert sorted(label.split("\n")[0] for label in labels) == sorted(sleep.group_sizes.index)
    assert all("\n" in label for label in labels)


def test_lines_are_marked_from_end_to_end(sleep):
    figure, data = cl.plot.fitted_lines(sleep), figures.fitted_lines_data(sleep)
    found = {label.split("\n")[0]: each for each, label in marks_in(cl.plot.interactive(figure))}
    own = data[data["cluster"] == "335"]
    drawn = [[float(value) for value in pair.split(",")] for pair in found["335"].get("points").split()]
    np.testing.assert_allclose(drawn, places(figure.axes[0], own["x"], own["fitted"]), atol=0.06)


def test_bars_and_logarithms_and_what_lies_outside():
    with theme.drawing(None, columns=2, share="none") as (left, right):
        bars = left.bar([1, 2], [3.0, 4.0])
        theme.mark(list(bars), ["a", "b"])
        dots = right.scatter([1.0, 10.0, -1.0, 1e9, np.nan], [1.0, 2.0, 3.0, 4.0, 5.0])
        right.set_xscale("log")
        right.set_xlim(0.5, 100)
        theme.mark(dots, list("vwxyz"))
        figure = theme.entitle([left, right], "Bars & dots", "<none>", own=True)
    found = marks_in(cl.plot.interactive(figure))
    assert [label for _, label in found] == ["a", "b", "v", "w"]
    corners = np.array([pair.split(",") for pair in found[1][0].get("points").split()], dtype=float)
    expected = places(left, [1.6, 2.4], [0.0, 4.0])
    np.testing.assert_allclose(np.ptp(corners, axis=0), np.abs(np.ptp(expected, axis=0)), atol=0.2)


def test_a_drawing_is_one_piece_and_always_the_same(sleep):
    drawing = cl.plot.interactive(cl.plot.caterpillar(sleep))
    assert drawing == cl.plot.interactive(cl.plot.caterpillar(sleep))
    links = set(re.findall(r"(?:https?:|//)[^\s\"'<>]*", drawing))
    assert links <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink", "//<![CDATA[", "//]]", "//"}
    assert drawing._repr_html_() == str(drawing)


def test_names_of_drawings_stay_apart(sleep):
    first, second = (cl.plot.interactive(cl.plot.caterpillar(sleep, term)) for term in ("Intercept", "Days"))
    identifiers = [set(re.findall(r'\bid="([^"]+)"', each)) for each in (first, second)]
    assert not identifiers[0] & identifiers[1]
    for drawing, own in zip((first, second), identifiers, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', drawing)) <= own


def test_points_of_all_kinds_say_what_they_are():
    data = cl.datasets.load("hsb")
    fit = cl.mixed("mathach ~ ses * sector + (ses | school)", data)
    found = cl.compare(fit, cl.ols("mathach ~ ses * sector", data, cluster="school"))
    labels = [label for _, label in marks_in(cl.plot.interactive(cl.plot.estimators(found, terms=["ses"])))]
    table = found.frame.loc["ses"].set_index("estimator")
    assert sorted(label.split("\n")[0] for label in labels) == sorted(table.index)
    assert any(f"estimate {table['estimate'].iloc[0]:.3f}" in label for label in labels)
    results = pd.DataFrame({"clusters": [15, 25], "estimator": "OLS", "measure": "rmse", "interval": "",
                            "value": [17.3, 12.9], "mcse": [0.2, 0.1], "reps": 40, "failed": 0})  # fmt: skip
    labels = [label for _, label in marks_in(cl.plot.interactive(cl.plot.study(results)))]
    assert labels == ["OLS\nvalue 17.300\nMonte-Carlo error 0.200", "OLS\nvalue 12.900\nMonte-Carlo error 0.100"]
    boot = fit.bootstrap(40, seed=1, progress=False)
    labels = [label for _, label in marks_in(cl.plot.interactive(cl.plot.bootstrap(boot, "ses")))]
    assert sum(int(label.split(" ")[-1]) for label in labels) == 40


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

ASKED = """<script>
const svg = document.querySelector('svg.crosslevel'), marks = [...svg.querySelectorAll('.marks > *')], told = [];
const words = () => [...svg.querySelectorAll('.told tspan')].map(part => part.textContent).join(' / ');
for (const mark of [marks[3], marks[17]]) {
  const box = mark.getBoundingClientRect();
  const place = { clientX: box.x + box.width / 2 + 1, clientY: box.y + box.height / 2, bubbles: true };
  svg.dispatchEvent(new PointerEvent('pointermove', place));
  told.push(words());
}
marks[0].focus();
marks[0].dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
told.push(words());
svg.dispatchEvent(new PointerEvent('pointerleave'));
document.title = told.join(' | ') + ' | ' + svg.querySelectorAll('.told').length;
</script>"""


@pytest.mark.slow
def test_a_browser_shows_the_words_under_the_pointer_and_the_arrows(sleep, tmp_path):
    assert BROWSER is not None, "needs a browser: install chromium"
    drawing = cl.plot.interactive(cl.plot.caterpillar(sleep))
    labels = [label.replace("\n", " / ") for _, label in marks_in(drawing)]
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><body>{drawing}{ASKED}</body>", encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    shown = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120)
    title = re.search("<title>([^<]*)</title>", shown.stdout)
    assert title is not None
    assert title[1].split(" | ") == [labels[3], labels[17], labels[1], "0"]


def test_words_of_a_mark_are_safe():
    panel = Figure().subplots()
    theme.mark(panel.scatter([1], [1]), ["<b>A & B</b>\x00"])
    ((_, label),) = marks_in(cl.plot.interactive(panel.figure))
    assert label == "<b>A & B</b>"


def test_labels_leave_out_what_is_missing():
    assert theme.told(["a"], {"slope": [np.nan], "rows": [3], "decides": [True]}) == ["a\nrows 3\ndecides yes"]
    assert max(len(line) for line in theme.told(["long word " * 20], {})[0].split("\n")) <= 56


def test_marks_need_a_label_each():
    panel = Figure().subplots()
    with pytest.raises(cl.CrosslevelError, match="`labels` has 1 texts for 2 marks; give one for each"):
        theme.mark(panel.scatter([1, 2], [3, 4]), ["a"])
    with pytest.raises(cl.CrosslevelError, match="`labels` has 3 texts for 2 artists"):
        theme.mark(list(panel.bar([1, 2], [3, 4])), ["a", "b", "c"])


def test_drawing_a_figure_leaves_it_as_it_was(sleep):
    figure = cl.plot.caterpillar(sleep)
    before = figure.dpi, figure.canvas
    cl.plot.interactive(figure)
    theme.pdf(figure)
    assert (figure.dpi, figure.canvas) == before


def test_figures_are_saved_in_every_format(sleep, tmp_path):
    figure = cl.plot.caterpillar(sleep)
    files = cl.plot.save(figure, tmp_path / "model 1.2")
    assert [file.name for file in files] == ["model 1.2.svg", "model 1.2.pdf", "model 1.2.png"]
    starts = [b"<?xml", b"%PDF", b"\x89PNG"]
    assert [file.read_bytes()[: len(start)] for file, start in zip(files, starts, strict=True)] == starts
    again = cl.plot.save(cl.plot.caterpillar(sleep), tmp_path / "again.pdf")
    assert again[0].read_bytes() == files[1].read_bytes()
    (page,) = cl.plot.save(figure, tmp_path / "subjects.html")
    assert page.read_text().count("<circle") == 18
    assert len(list(tmp_path.iterdir())) == 5


def test_saving_refuses_what_it_cannot_write(sleep, tmp_path):
    figure = cl.plot.caterpillar(sleep)
    with pytest.raises(cl.CrosslevelError, match=r"`path` ends in '.gif'; figures are written as svg, pdf, png, html"):
        cl.plot.save(figure, tmp_path / "a.gif")
    with pytest.raises(cl.CrosslevelError, match=r"`formats` are some of 'svg'.*got \['eps'\]"):
        cl.plot.save(figure, tmp_path / "a", formats=["svg", "eps"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(cl.errors.FileError):
        cl.plot.save(figure, tmp_path / "nowhere" / "a.svg")


def test_marks_survive_a_copy(sleep):
    import pickle

    figure = cl.plot.caterpillar(sleep)
    figure.__dict__.pop("_repr_png_", None)
    assert len(marks_in(cl.plot.interactive(pickle.loads(pickle.dumps(figure))))) == 18


def test_labels_are_text_of_any_kind():
    assert theme.told(pd.Index([1, 2]), {"share": [0.5, 0.25]}) == ["1\nshare 0.500", "2\nshare 0.250"]
