"""How coefficients differ between clusters: twins from what the fit says elsewhere, moderators, the figure."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import norm
from survey_weights import rooms, schools
from test_multiple_membership import DATA as DYADS

import crosslevel as cl
from crosslevel.errors import CrosslevelError, DesignError
from crosslevel.report.figures import theme
from crosslevel.report.figures.marks import LABELS

MODERATED = "y ~ x * z + x * sector + (x | school)"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return rooms().assign(sector=lambda d: np.where(d.school % 3 == 0, "public", "private"))


@pytest.fixture(scope="module")
def moderated(data):
    return cl.mixed(MODERATED, data)


@pytest.mark.parametrize("formula", ["y ~ x + z + (x | school)", "y ~ x + (x | school) + (1 | school:room)",
                                     "y ~ x + (x | school) + (x | room)", "y ~ x + diag(x | school)"])  # fmt: skip
def test_the_frame_is_what_the_fit_says_elsewhere(data: pd.DataFrame, formula: str) -> None:
    fit = cl.mixed(formula, data)
    found = fit.heterogeneity()
    assert list(found.frame.index) == [(g, t) for g, psi in fit.cov_re.items() for t in psi.index]
    for (group, term), row in found.frame.iterrows():
        mean, sd = fit.params[term], np.sqrt(fit.cov_re[group].loc[term, term])
        own = fit.coef()[group][term]
        np.testing.assert_allclose(found.own[group][term], own, rtol=1e-12)
        expected = {
            "mean": mean, "sd": sd, "ratio": sd / abs(mean), "low": mean + norm.ppf(0.05) * sd,
            "high": mean + norm.ppf(0.95) * sd, "opposite": norm.cdf(-abs(mean) / sd), "min": own.min(),
            "max": own.max(), "opposite_clusters": np.mean(own * mean < 0), "sd_explained": 0.0,
            "clusters": fit.ngroups[group],
        }  # fmt: skip
        assert row.to_dict() == pytest.approx(expected, rel=1e-10)


def test_moderators_are_held_at_their_mean_over_clusters(data: pd.DataFrame, moderated) -> None:
    clusters = data.groupby("school").agg(z=("z", "first"), sector=("sector", "first"))
    gamma = moderated.params
    public = (clusters.sector == "public").to_numpy(float)
    added = gamma["x:z"] * clusters.z.to_numpy() + gamma["x:sector[public]"] * public
    found = moderated.heterogeneity()
    row = found.frame.loc["school", "x"]
    mean, sd = gamma["x"] + added.mean(), np.sqrt(moderated.cov_re["school"].loc["x", "x"])
    assert row[["mean", "sd", "sd_explained"]].tolist() == pytest.approx([mean, sd, added.std()], rel=1e-10)
    own = mean + moderated.ranef(se=False)["school"]["x"]
    np.testing.assert_allclose(found.own["school"]["x"], own, rtol=1e-12)
    assert (row["min"], row["max"]) == pytest.approx((own.min(), own.max()), rel=1e-12)
    assert found.moderators == {("school", "x"): ("x:z", "x:sector[public]")}
    assert "average in the moderators (x: x:z, x:sector[public])" in " ".join(str(found).split())


def test_moderators_as_the_clusters_are(data: pd.DataFrame, moderated) -> None:
    """A cluster's own coefficient is the slope of its own predictions."""
    found = moderated.heterogeneity(moderators="own")
    one, two = (moderated.predict(data.assign(x=value)).to_numpy() for value in (0.0, 1.0))
    slopes = pd.Series(two - one).groupby(data.school.to_numpy()).first()
    np.testing.assert_allclose(found.own["school"]["x"], slopes, rtol=1e-9)
    row, mean = found.frame.loc["school", "x"], moderated.heterogeneity().frame.loc["school", "x"]
    assert row["mean"] == mean["mean"]
    assert row["sd"] == pytest.approx(np.hypot(mean["sd"], mean["sd_explained"]), rel=1e-12)
    assert "contains what these explain" in " ".join(str(found).split())


def test_a_moderator_of_two_factors(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ x * z * sector + (x | school)", data)
    clusters = data.groupby("school").agg(z=("z", "first"), sector=("sector", "first"))
    public = (clusters.sector == "public").to_numpy(float)
    z, gamma = clusters.z.to_numpy(), {frozenset(name.split(":")): value for name, value in fit.params.items()}
    added = (
        gamma[frozenset(["x", "z"])] * z
        + gamma[frozenset(["x", "sector[public]"])] * public
        + gamma[frozenset(["x", "z", "sector[public]"])] * z * public
    )
    row = fit.heterogeneity().frame.loc["school", "x"]
    assert row["mean"] == pytest.approx(fit.params["x"] + added.mean(), rel=1e-10)
    assert row["sd_explained"] == pytest.approx(added.std(), rel=1e-10)


def test_moderators_do_not_need_their_own_column(data: pd.DataFrame) -> None:
    """The interaction alone, and dummies that are zero in all of a cluster's rows."""
    frame = data.assign(d=(data.x > 0.5).astype(float) * (data.school > 3))
    fit = cl.mixed("y ~ d + d:z + (d | school)", frame)
    z = frame.groupby("school").z.first().to_numpy()
    row = fit.heterogeneity().frame.loc["school", "d"]
    assert row["mean"] == pytest.approx(fit.params["d"] + fit.params["d:z"] * z.mean(), rel=1e-10)


def test_categories_that_the_fixed_part_codes_differently(data: pd.DataFrame) -> None:
    """An intercept and contrasts there, an effect of each category here."""
    frame = data.assign(f=np.array(["a", "b", "c"])[data.room % 3])
    fit = cl.mixed("y ~ f + z + cs(0 + f | school)", frame)
    found = fit.heterogeneity()
    gamma = fit.params
    expected = [gamma["Intercept"], gamma["Intercept"] + gamma["f[b]"], gamma["Intercept"] + gamma["f[c]"]]
    np.testing.assert_allclose(found.frame["mean"], expected, rtol=1e-10)
    for level, term in zip("abc", found.own["school"], strict=True):
        rows = frame.assign(z=0.0)[frame.f == level].groupby("school").head(1)
        np.testing.assert_allclose(found.own["school"].loc[rows.school, term], fit.predict(rows), rtol=1e-9)
    shifted = cl.mixed("y ~ I(1000 + 2 * x) + z + (x | school)", data)
    gamma, row = shifted.params, shifted.heterogeneity().frame.loc["school"]["mean"]
    slope = gamma["I(1000 + 2 * x)"]
    expected = [gamma["Intercept"] + 1000.0 * slope, 2.0 * slope]
    np.testing.assert_allclose(row, expected, rtol=1e-8)
    far = cl.mixed("y ~ x + I(1e6 + z) + (x | school)", data)  # nearly constant, yet not an intercept
    assert far.heterogeneity().frame.loc[("school", "Intercept"), "mean"] == far.params["Intercept"]
    within = cl.mixed("y ~ within(x, school) + between(x, school) + (x | school)", data).heterogeneity().frame
    assert within.loc[("school", "x"), "mean"] == 0.0  # the average of neither of the two


def test_weighted_clusters() -> None:
    """The moderators' mean is over the population's clusters."""
    frame = schools()
    weights = cl.Sampling(clusters={"school": "w2"}, scaling="size")
    fit = cl.mixed("y ~ x * z + (x | school)", frame, method="ml", weights=weights)
    clusters = frame.groupby("school").agg(z=("z", "first"), w=("w2", "first"))
    mean = fit.params["x"] + fit.params["x:z"] * np.average(clusters.z, weights=clusters.w)
    assert fit.heterogeneity().frame.loc[("school", "x"), "mean"] == pytest.approx(mean, rel=1e-10)


def test_streamed_multiple_membership_and_residual_structures(data: pd.DataFrame, tmp_path) -> None:
    data.to_parquet(tmp_path / "rows.parquet")
    streamed, plain = cl.mixed(MODERATED, tmp_path / "rows.parquet"), cl.mixed(MODERATED, data)
    pd.testing.assert_frame_equal(streamed.heterogeneity().frame, plain.heterogeneity().frame, rtol=1e-5, atol=1e-8)
    member = cl.mixed("y ~ x + (x | mm(a, b, weights=[wa, wb]))", DYADS)
    assert member.heterogeneity().frame.loc[("mm(a, b)", "x"), "mean"] == member.params["x"]
    by = cl.mixed(MODERATED, data, residual=cl.residual.By("sector"))
    assert by.heterogeneity().frame.loc[("school", "x"), "sd_explained"] > 0.0


def test_a_coefficient_that_does_not_vary_and_one_without_average() -> None:
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({"g": np.repeat(np.arange(20), 8), "x": rng.normal(size=160)})
    frame["y"] = 1.0 + 0.5 * frame.x + rng.normal(size=160)
    frame["y"] -= frame.groupby("g").y.transform("mean")  # clusters that differ less than chance
    frame["y"] += 3.0
    row = cl.mixed("y ~ x + (1 | g)", frame).heterogeneity().frame.loc["g", "Intercept"]
    assert row[["sd", "ratio", "opposite", "opposite_clusters"]].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert row["low"] == row["high"] == row["mean"]
    row = cl.mixed("y ~ 1 + (1 + x | g)", frame).heterogeneity().frame.loc["g", "x"]
    assert row["mean"] == 0.0
    assert row[["ratio", "opposite", "opposite_clusters"]].isna().all()


def test_opposite_signs_of_a_negative_average() -> None:
    rng = np.random.default_rng(1)
    g, x = np.repeat(np.arange(60), 40), rng.normal(size=2400)
    y = (-0.3 + 0.4 * rng.normal(size=60))[g] * x + 0.5 * rng.normal(size=2400)
    found = cl.mixed("y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": g})).heterogeneity().frame.loc["g", "x"]
    assert found["mean"] < 0.0
    assert found["opposite"] == pytest.approx(norm.cdf(found["mean"] / found["sd"]), rel=1e-12)
    assert abs(found["opposite"] - found["opposite_clusters"]) < 0.1  # 60 clusters, whose slopes are well known


def test_refusals(data: pd.DataFrame, moderated) -> None:
    with pytest.raises(CrosslevelError, match="`moderators` is 'mean' or 'own'"):
        moderated.heterogeneity(moderators="median")
    with pytest.raises(DesignError, match="`group` is one of 'school'"):
        moderated.heterogeneity("room")
    none = cl.mixed("y ~ x", data, residual=cl.residual.By("sector"))
    with pytest.raises(CrosslevelError, match="vary between clusters"):
        none.heterogeneity()


def test_tables(moderated) -> None:
    found = moderated.heterogeneity()
    text = str(found)
    assert "Between 14 clusters of school" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "<table" in found._repr_html_()


# -- the figure ---------------------------------------------------------------------------------------------------
def test_figure_data(moderated) -> None:
    frame, own = cl.plot.heterogeneity_data(moderated)
    assert list(frame.index) == ["x"]
    full = moderated.heterogeneity()
    assert frame.loc["x", "mean"] == full.frame.loc[("school", "x"), "mean"]
    np.testing.assert_array_equal(own["x"], full.own["school"]["x"])
    relative, share = cl.plot.heterogeneity_data(moderated, relative=True)
    assert relative.loc["x", "mean"] == pytest.approx(np.sign(frame.loc["x", "mean"]))
    np.testing.assert_allclose(share["x"] * abs(frame.loc["x", "mean"]), own["x"])
    assert list(cl.plot.heterogeneity_data(moderated, "Intercept")[0].index) == ["Intercept"]


def test_figure_draws_every_cluster_once_in_its_place(moderated) -> None:
    figure = cl.plot.heterogeneity(moderated, moderators="own")
    assert isinstance(figure, Figure)
    assert theme.png(figure).startswith(b"\x89PNG")
    assert "With what moderators explain." in figure.texts[1].get_text().replace("\n", " ")
    own = moderated.heterogeneity(moderators="own").own["school"]["x"].to_numpy()
    labels = [getattr(item, LABELS, ()) for item in figure.axes[0].collections]
    drawn = [item.get_offsets() for item, of in zip(figure.axes[0].collections, labels, strict=True) if len(of)]
    dots = np.concatenate(drawn)
    low, high = figure.axes[0].get_xlim()
    np.testing.assert_allclose(np.sort(dots[:, 0]), np.sort(own), atol=(high - low) / 100)
    assert len(np.unique(np.asarray(dots), axis=0)) == len(own)


def test_figure_of_many_clusters_and_into_given_axes() -> None:
    rng = np.random.default_rng(5)
    g, x = np.repeat(np.arange(1500), 4), rng.normal(size=6000)
    y = (0.5 + rng.normal(size=1500))[g] * x + rng.normal(size=6000)
    fit = cl.mixed("y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": g}))
    figure = Figure()
    panel = figure.subplots()
    assert cl.plot.heterogeneity(fit, ax=panel) is figure
    heights = np.concatenate([np.asarray(item.get_offsets())[:, 1] for item in panel.collections])
    assert heights.max() < panel.get_ylim()[1]


def test_figure_refusals(data: pd.DataFrame, moderated) -> None:
    with pytest.raises(CrosslevelError, match="`terms` must be one of"):
        cl.plot.heterogeneity(moderated, ["w"])
    without = cl.mixed("y ~ z + (x | school)", data)
    with pytest.raises(CrosslevelError, match="`relative` divides by the average"):
        cl.plot.heterogeneity(without, relative=True)
    cl.plot.heterogeneity(without)
    with pytest.raises(CrosslevelError, match="vary between clusters"):
        cl.plot.heterogeneity(cl.mixed("y ~ x", data, residual=cl.residual.By("sector")))
