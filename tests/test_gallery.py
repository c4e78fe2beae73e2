"""Figures of slopes, context, coefficients and variance: the frames behind them by numbers, each drawn."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats
from test_figures import simulated

import crosslevel as cl
from crosslevel.report import figures
from crosslevel.report.figures import lettering, theme
from crosslevel.report.figures.marks import LABELS
from crosslevel.report.figures.raw import columns_for


@pytest.fixture(scope="module")
def hsb():
    data = cl.datasets.load("hsb")
    data["size"] = data.groupby("school")["school"].transform("size")
    return cl.mixed("mathach ~ ses * meanses + sector + (ses | school)", data)


@pytest.fixture(scope="module")
def sleep():
    return cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))


@pytest.fixture(scope="module")
def binary():
    data = cl.datasets.load("hsb")
    some = data[data["school"].isin(data["school"].unique()[:40])]
    return cl.mixed("minority ~ ses * sector + (ses | school)", some, family="binomial")


@pytest.fixture(scope="module", params=[(5, 30, True), (2000, 4, True)])
def with_context(request):
    clusters, size, long_names = request.param
    frame = simulated(clusters, size, long_names=long_names)
    codes, _ = pd.factorize(frame["g"])
    frame["z"] = np.random.default_rng(1).normal(size=clusters)[codes]
    return cl.mixed("y ~ x * z + (x | g)", frame)


NEW = ["slopes_distribution", "slope_by_context", "variance_partition", "coefficients"]


@pytest.mark.parametrize("name", NEW)
def test_every_figure_is_drawn_with_words(with_context, name):
    figure = getattr(cl.plot, name)(with_context)
    assert theme.png(figure, 80).startswith(b"\x89PNG")
    assert all(text.get_text() for text in figure.texts[:2])
    figure.dpi = 160
    width = 160 * figure.get_size_inches()[0]
    assert all(text.get_window_extent().x1 <= width for text in figure.texts[:2])


@pytest.mark.parametrize("name", NEW)
def test_figures_draw_into_given_axes(hsb, name):
    figure = Figure()
    panel = figure.subplots()
    assert getattr(cl.plot, name)(hsb, ax=panel) is figure
    assert panel.has_data()


# -- the distribution of slopes ---------------------------------------------------------------------------------------
def test_the_curve_is_the_models_normal_density(sleep):
    curves, own = figures.slopes_distribution_data(sleep, ["Intercept", "Days"])
    psi = sleep.cov_re["Subject"]
    for term in ("Intercept", "Days"):
        mine, normal = curves[curves["term"] == term], stats.norm(sleep.params[term], np.sqrt(psi.loc[term, term]))
        np.testing.assert_allclose(mine["density"], normal.pdf(mine["x"]), rtol=1e-10)
        np.testing.assert_allclose(mine["below"], normal.cdf(mine["x"]), rtol=1e-10)
    np.testing.assert_allclose(own, sleep.coef()["Subject"][["Intercept", "Days"]], rtol=1e-12)


def test_a_slope_that_does_not_vary_has_no_curve():
    rng = np.random.default_rng(4)
    group, x = np.repeat(np.arange(12), 20), rng.normal(size=240)
    y = x + rng.normal(size=12)[group] + rng.normal(size=240)
    y -= np.concatenate([np.polyval(np.polyfit(x[group == g], y[group == g] - x[group == g], 1), x[group == g])
                         for g in range(12)])  # fmt: skip
    fit = cl.mixed("y ~ x + (0 + x | g)", pd.DataFrame({"y": y, "x": x, "g": group}))
    assert fit.is_singular
    curves, _ = figures.slopes_distribution_data(fit)
    assert curves["density"].isna().all()
    words = cl.plot.slopes_distribution(fit).texts[1].get_text().replace("\n", " ")
    assert "the model has the same coefficient in all clusters" in words


def test_distribution_refuses_other_families_and_unknown_terms(sleep, binary):
    with pytest.raises(cl.CrosslevelError, match="`terms` must be one of 'Intercept', 'Days'; got 'days'"):
        cl.plot.slopes_distribution(sleep, "days")
    with pytest.raises(cl.CrosslevelError, match=r"Use cl.plot.caterpillar\(fit, term\)"):
        cl.plot.slopes_distribution(binary)
    with pytest.raises(cl.CrosslevelError, match="`ax` takes one coefficient, and these are 2"):
        cl.plot.slopes_distribution(sleep, ["Intercept", "Days"], ax=Figure().subplots())


# -- slopes by context ------------------------------------------------------------------------------------------------
def test_the_line_is_the_cross_level_interaction(hsb):
    line, clusters = figures.slope_by_context_data(hsb)
    slope = hsb.params["ses"] + hsb.params["ses:meanses"] * line["z"]
    np.testing.assert_allclose(line["estimate"], slope, rtol=1e-10)
    C = np.zeros((len(line), len(hsb.params)))
    C[:, list(hsb.params.index).index("ses")] = 1.0
    C[:, list(hsb.params.index).index("ses:meanses")] = line["z"]
    error = np.sqrt(np.einsum("ij,jk,ik->i", C, hsb.vcov.to_numpy(), C))
    reach = (line["conf_high"] - line["estimate"]) / error
    assert reach.between(1.95, 2.0).all()
    means = cl.datasets.load("hsb").groupby("school")["meanses"].first()
    np.testing.assert_array_equal(clusters["z"], means.loc[clusters.index])


def test_partial_residuals_are_line_and_random_effect(hsb):
    _, clusters = figures.slope_by_context_data(hsb, "ses", "meanses")
    expected = hsb.params["ses"] + hsb.params["ses:meanses"] * clusters["z"] + hsb.ranef(se=False)["school"]["ses"]
    np.testing.assert_allclose(clusters["partial"], expected, rtol=1e-10)
    assert clusters["rows"].sum() == hsb.nobs


def test_own_rows_alone_are_least_squares(hsb):
    _, clusters = figures.slope_by_context_data(hsb, "ses", "meanses")
    data = cl.datasets.load("hsb")
    # school by school, the slope of the outcome on ses is that of the fixed part plus the deviation
    for school in clusters.index[[0, 50, 159]]:
        own = data[data["school"] == school]
        assert clusters.loc[school, "alone"] == pytest.approx(np.polyfit(own["ses"], own["mathach"], 1)[0], rel=1e-7)


def test_levels_are_compared_at_the_average_of_the_predictors(hsb):
    line, clusters = figures.slope_by_context_data(hsb, "Intercept", "meanses")
    means = cl.margins(hsb, {"meanses": [float(line["z"].iloc[3])]}).frame["estimate"]
    assert line["estimate"].iloc[3] == pytest.approx(means.iloc[0], rel=1e-10)
    effects, ses = hsb.ranef(se=False)["school"], cl.datasets.load("hsb")["ses"].mean()
    expected = effects["Intercept"] + ses * effects["ses"]
    np.testing.assert_allclose(clusters["partial"] - clusters["line"], expected, rtol=1e-6, atol=1e-9)


def test_a_variable_that_the_model_lacks_has_a_flat_line(hsb):
    line, clusters = figures.slope_by_context_data(hsb, "ses", "size")
    assert line["estimate"].nunique() == 1
    assert clusters["z"].equals(clusters["rows"].astype(clusters["z"].dtype).rename("z"))
    words = cl.plot.slope_by_context(hsb, "ses", "size").texts[1].get_text().replace("\n", " ")
    assert "which does not depend on size" in words


def test_categories_stand_side_by_side(hsb):
    line, clusters = figures.slope_by_context_data(hsb, "Intercept", "sector")
    assert line["z"].tolist() == ["Public", "Catholic"]
    difference = line["estimate"].diff().iloc[1]
    assert difference == pytest.approx(hsb.params["sector[Catholic]"], rel=1e-9)
    assert set(clusters["z"]) == {"Public", "Catholic"}
    ticks = [
        label.get_text() for label in cl.plot.slope_by_context(hsb, "Intercept", "sector").axes[0].get_xticklabels()
    ]
    assert ticks == ["Public", "Catholic"]


def test_slopes_of_other_families_are_of_the_linear_predictor(binary):
    line, clusters = figures.slope_by_context_data(binary, "ses", "sector")
    expected = [binary.params["ses"], binary.params["ses"] + binary.params["ses:sector[Catholic]"]]
    np.testing.assert_allclose(line["estimate"], expected, rtol=1e-8)
    assert clusters["alone"].isna().all()
    assert "linear predictor" in cl.plot.slope_by_context(binary).axes[0].get_ylabel().replace("\n", " ")


def test_slopes_by_context_of_several_factors_stand_on_the_model_alone():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 20, 400), rng.integers(0, 15, 400)
    x = rng.normal(size=400)
    y = x + rng.normal(size=20)[a] * (1 + x) + rng.normal(size=15)[b] + rng.normal(size=400)
    frame = pd.DataFrame({"y": y, "x": x, "a": a, "b": b, "z": rng.normal(size=20)[a]})
    _, clusters = figures.slope_by_context_data(cl.mixed("y ~ x * z + (x | a) + (1 | b)", frame))
    assert len(clusters) == 20
    assert clusters["alone"].isna().all()


def test_context_must_be_constant_within_clusters(hsb, sleep):
    with pytest.raises(cl.CrosslevelError, match=r"'minority' varies within 1[0-9]{2} of 160 clusters"):
        cl.plot.slope_by_context(hsb, "ses", "minority")
    with pytest.raises(
        cl.CrosslevelError, match=r"no context variable that explains 'Days' of Subject\. Name one by `z`"
    ):
        cl.plot.slope_by_context(sleep)
    with pytest.raises(cl.CrosslevelError, match="`x` must be one of 'Intercept', 'ses'"):
        cl.plot.slope_by_context(hsb, "sess", "meanses")


def test_clusters_without_a_value_are_left_out_and_others_still_checked():
    frame = simulated(12, 20)
    codes, _ = pd.factorize(frame["g"])
    frame["z"] = np.arange(12.0)[codes]
    frame.loc[codes == 3, "z"] = np.nan
    _, clusters = figures.slope_by_context_data(cl.mixed("y ~ x + (x | g)", frame), "x", "z")
    assert len(clusters) == 11
    frame.loc[frame.index[codes == 5][0], "z"] = 99.0
    with pytest.raises(cl.CrosslevelError, match="'z' varies within 1 of 12 clusters"):
        figures.slope_by_context_data(cl.mixed("y ~ x + (x | g)", frame), "x", "z")


# -- coefficients -----------------------------------------------------------------------------------------------------
def test_coefficients_are_those_of_the_fits(hsb):
    pooled = cl.ols("mathach ~ ses + sector", cl.datasets.load("hsb"), cluster="school")
    data = figures.coefficients_data({"Mixed": hsb, "OLS": pooled}, level=0.9)
    assert "Intercept" not in set(data["term"])
    for name, fit in (("Mixed", hsb), ("OLS", pooled)):
        mine = data[data["model"] == name].set_index("term")
        np.testing.assert_allclose(mine["estimate"], fit.params[mine.index], rtol=1e-12)
        ends = fit.conf_int(0.9).loc[mine.index]
        np.testing.assert_allclose(mine[["conf_low", "conf_high"]], ends, rtol=1e-10)


def test_coefficients_are_chosen_named_and_turned_into_ratios(binary):
    names = {"sector[Catholic]": "Catholic school", "ses": "SES"}
    data = figures.coefficients_data(binary, names, names=["Logit"], exponentiate=True)
    assert data[["label", "model"]].to_numpy().tolist() == [["Catholic school", "Logit"], ["SES", "Logit"]]
    np.testing.assert_allclose(data["estimate"], np.exp(binary.params[list(names)]))
    figure = cl.plot.coefficients([binary, binary], names, names=["a", "b"], exponentiate=True, panels=True)
    assert [panel.get_title(loc="left") for panel in figure.axes[:2]] == ["Catholic school", "SES"]
    assert figure.axes[0].get_xscale() == "log"
    assert theme.png(figure, 80)


def test_coefficients_refuse_what_they_cannot_draw(hsb):
    with pytest.raises(cl.CrosslevelError, match=r"`terms` has \['x'\]; the coefficients are Intercept, ses"):
        cl.plot.coefficients(hsb, ["x"])
    with pytest.raises(cl.CrosslevelError, match="`names` needs 2 different names"):
        cl.plot.coefficients([hsb, hsb], names=["a", "a"])
    with pytest.raises(cl.CrosslevelError, match="`models` are 9; 8 can be told apart"):
        cl.plot.coefficients([hsb] * 9)
    with pytest.raises(cl.CrosslevelError, match="`models` is empty"):
        cl.plot.coefficients([])


# -- parts of the variance --------------------------------------------------------------------------------------------
def test_variance_by_source_is_that_of_r2(hsb, binary):
    for fit in (hsb, binary):
        data = figures.variance_partition_data([fit, fit], names=["a", "b"])
        shares = fit.r2().shares
        np.testing.assert_allclose(data[data["bar"] == "b"]["value"], shares["share"], rtol=1e-10)
        assert data.groupby("bar")["value"].sum().tolist() == pytest.approx([1.0, 1.0])
        parts = figures.variance_partition_data([fit], by="source", of="variances")
        np.testing.assert_allclose(parts["value"], shares["variance"], rtol=1e-10)


def test_variance_by_level_is_that_of_rights_and_sterba(hsb):
    data = figures.variance_partition_data(hsb)
    assert data.groupby("bar")["value"].sum().tolist() == pytest.approx([1.0, 1.0, 1.0])
    table = hsb.r2().decomposition["r2"]
    mine = data.set_index(["bar", "part"])["value"]
    assert mine["Within clusters", "Fixed effects within clusters"] == table["within", "f1"]
    assert mine["Between clusters", "Clusters' own means"] == table["between", "m"]
    assert mine["Total", "Residual"] == pytest.approx(1.0 - table["total", "fvm"])


def test_variance_partition_refuses_what_has_no_parts(hsb, binary):
    with pytest.raises(cl.CrosslevelError, match=r"draws models fitted by `cl\.mixed`; got OLSFit"):
        cl.plot.variance_partition(cl.ols("mathach ~ ses", cl.datasets.load("hsb")))
    with pytest.raises(cl.CrosslevelError, match='`by="level"` draws shares of one model'):
        cl.plot.variance_partition([hsb, hsb], by="level")
    with pytest.raises(cl.CrosslevelError, match='`by="level"` is defined for linear mixed models'):
        cl.plot.variance_partition(binary, by="level")


# -- the numbers behind other figures ---------------------------------------------------------------------------------
def test_estimators_are_those_of_the_comparison(hsb):
    found = cl.compare(hsb, cl.ols("mathach ~ ses * meanses + sector", cl.datasets.load("hsb"), cluster="school"))
    data = figures.estimators_data(found, terms=["ses", "ses:meanses"])
    table = found.frame.loc[["ses", "ses:meanses"]]
    assert data.groupby("term").size().to_dict() == {"ses": 2, "ses:meanses": 2}
    for column in ("estimate", "conf_low", "conf_high"):
        assert sorted(data[column]) == sorted(table[column])
    with pytest.raises(cl.CrosslevelError, match=r"`terms` has \['x'\]"):
        figures.estimators_data(found, terms=["x"])


def test_residuals_against_fitted_values(sleep):
    data = figures.residual_fitted_data(sleep)
    np.testing.assert_array_equal(data["fitted"], sleep.fitted)
    np.testing.assert_array_equal(data["resid"], sleep.resid)
    assert (data["spread"] > 0).all()
    assert abs(data["smooth"].mean()) < 0.2 * data["resid"].std()


def test_checks_of_other_families_draw_their_frames(binary):
    found = cl.calibration(binary, n=20, seed=1)
    pd.testing.assert_frame_equal(figures.calibration_data(found), found.frame)
    panel = cl.plot.calibration(found).axes[0]
    drawn = np.concatenate([item.get_offsets() for item in panel.collections if hasattr(item, LABELS)])
    order = np.argsort(drawn[:, 0])
    np.testing.assert_allclose(drawn[order], found.frame.sort_values("predicted")[["predicted", "observed"]])
    counts = cl.mixed("Reaction ~ Days + (1 | Subject)", cl.datasets.load("sleepstudy"), family="gamma")
    check = cl.dispersion(counts, n=20, seed=1)
    data = figures.simulated_check_data(check)
    np.testing.assert_allclose(data["ratio"], data["simulated"] / check.expected)


# -- words in figures -------------------------------------------------------------------------------------------------
def test_lines_are_no_wider_than_asked():
    text = "Trust in political institutions and in the people who run them, p = .020, in 95 % of countries"
    lines = lettering.wrapped(text, 1.6, 9.0).split("\n")
    assert " ".join(lines) == text
    assert all(lettering.width_of(line, 9.0) <= 1.6 for line in lines)
    assert not any(line.endswith(("p", "=", "95")) for line in lines)
    assert lettering.wrapped(text, 1.6, 9.0, most=2).split("\n")[1].endswith("…")
    assert lettering.width_of(lettering.wrapped("x" * 100, 1.0, 9.0), 9.0) <= 1.0


def test_names_beside_points_cover_nothing():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 60))
    with theme.drawing(None) as (panel,):
        panel.scatter(x, y, s=10)
        named = theme.name_points(panel, x, y, [f"Country {k}" for k in range(60)])
        figure = theme.settled(theme.entitle([panel], "Names", "", own=True))
    assert 20 < named.sum() < 60
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in panel.texts]
    assert len(boxes) == named.sum()
    pairs = [(a, b) for k, a in enumerate(boxes) for b in boxes[k + 1 :] if a.overlaps(b)]
    assert len(pairs) <= 2  # places are those of a figure whose panels are not laid out yet


def test_dollars_are_no_formulas():
    frame = simulated(5, 20)
    frame["g"] = frame["g"].map(lambda name: f"{name} US$ a$b")
    frame.attrs["labels"] = {"y": "Income (US$), of which saved (US$)"}
    figure = cl.plot.caterpillar(cl.mixed("y ~ x + (x | g)", frame))
    assert theme.png(figure, 80)
    assert all(label.get_text().count(r"\$") == 2 for label in figure.axes[0].get_yticklabels())
    assert theme.png(cl.plot.fitted_lines(cl.mixed("y ~ x + (x | g)", frame)), 80)


def test_grids_of_panels_have_few_empty_places():
    empty = [-count % columns_for(count) for count in range(1, 31)]
    assert max(empty) <= 2
    assert max(columns_for(count) for count in range(1, 31)) <= 7


def grey(colour):
    return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) @ [0.299, 0.587, 0.114]


def test_colours_differ_in_grey_and_looks_differ_in_everything():
    assert abs(grey(theme.BLUE) - grey(theme.ORANGE)) > 50
    assert abs(grey(theme.BLUE) - grey(theme.PALE)) > 100
    for part in range(3):
        assert len({str(look[part]) for look in theme.LOOKS}) == len(theme.LOOKS)
