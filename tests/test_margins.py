"""Slopes, adjusted predictions and contrasts: emmeans, closed forms, averages of predictions row by row."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, load_data
from scipy.stats import norm, studentized_range, t
from survey_weights import rooms, schools

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.inference.differences import differentiate
from crosslevel.inference.multiplicity import adjusted, discoveries, holm, studentised_range_tail

STATISTICS = ["estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high"]


def stored(path: str) -> dict:
    return json.loads((Path(FOLDER) / path).read_text(encoding="utf-8"))


def numbers(rows: list[dict], *names: str) -> np.ndarray:
    """Columns of R's tables, by the first name that they have."""
    found = [[next(row[key] for key in name.split("|") if key in row) for row in rows] for name in names]
    return np.array([[np.inf if value == "Inf" else float(value) for value in column] for column in found])


# -- emmeans ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def crosslevel_fit():
    return cl.mixed("mAch ~ cses * sector + meanses * cses + (cses | school)", load_data("Hsb82"))


LOW, HIGH = "asymp.LCL|lower.CL", "asymp.UCL|upper.CL"


@pytest.mark.parametrize(("ddf", "key"), [("normal", "asymptotic"), ("satterthwaite", "satterthwaite")])
class TestEmmeansOfTheCrossLevelInteraction:
    expected = stored("expected/Hsb82__emmeans_crosslevel.json")

    def check(self, found, rows: list[dict], estimate: str, sign: float = 1.0, order=None) -> None:
        order = np.arange(len(rows)) if order is None else np.asarray(order)
        theirs = numbers(rows, estimate, "SE", "df")[:, order]
        frame = found.frame
        np.testing.assert_allclose(frame["estimate"], sign * theirs[0], rtol=1e-5)
        np.testing.assert_allclose(frame["std_error"], theirs[1], rtol=1e-5)
        np.testing.assert_allclose(frame["df"], theirs[2], rtol=1e-4)
        if LOW.split("|")[0] in rows[0] or "lower.CL" in rows[0]:
            limits = numbers(rows, LOW, HIGH)[:, order]
            np.testing.assert_allclose(frame["conf_low"], limits[0], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(frame["conf_high"], limits[1], rtol=1e-5, atol=1e-5)
        if "p.value" in rows[0]:
            np.testing.assert_allclose(frame["p_value"], numbers(rows, "p.value")[0][order], rtol=1e-3)

    def test_trends(self, crosslevel_fit, ddf: str, key: str) -> None:
        found = cl.slopes(crosslevel_fit, "cses", by="sector", ddf=ddf)
        self.check(found, self.expected[key]["emtrends_cses_by_sector"], "cses.trend")
        self.check(found.contrasts(), self.expected[key]["emtrends_pairs"], "estimate", -1.0)

    def test_trends_at_two_moderators(self, crosslevel_fit, ddf: str, key: str) -> None:
        found = cl.slopes(crosslevel_fit, "cses", by={"meanses": [-0.5, 0, 0.5], "sector": None}, ddf=ddf)
        self.check(found, self.expected[key]["emtrends_sector_meanses"], "cses.trend")
        assert found.frame["sector"].tolist() == [row["sector"] for row in
                                                  self.expected[key]["emtrends_sector_meanses"]]  # fmt: skip

    def test_means_and_their_differences(self, crosslevel_fit, ddf: str, key: str) -> None:
        found = cl.margins(crosslevel_fit, {"cses": [-1, 0, 1], "sector": None}, ddf=ddf)
        self.check(found, self.expected[key]["emmeans_sector_by_cses"], "emmean")
        self.check(found.contrasts(among="sector"), self.expected[key]["emmeans_pairs"], "estimate", -1.0)


@pytest.fixture(scope="module")
def factorial():
    data = load_data("Hsb82")
    data = data[np.arange(1, len(data) + 1) % 6 == 1]
    return cl.mixed("mAch ~ sector * sx * cses + minrty * cses + meanses + I(cses ** 2) + (cses | school)", data)


@pytest.fixture(scope="module")
def cake():
    data = load_data("cake")
    heat = data["temperature"].astype(str)
    keep = ~((data["recipe"] == "B") & (heat == "195")) & (np.arange(1, len(data) + 1) % 7 != 3)
    return cl.mixed("angle ~ recipe * heat + (1 | recipe:replicate)", data.assign(heat=heat)[keep])


class TestEmmeansOfAFactorialModel:
    """emtrends takes a quotient over a thousandth of the range upwards: of a parabola, the slope half of it further."""

    expected = stored("margins/margins.json")
    half = 0.0005 * np.ptp(load_data("Hsb82")["cses"].to_numpy()[np.arange(1, 7186) % 6 == 1])

    @pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
    def test_means(self, factorial, ddf: str) -> None:
        rows = self.expected[ddf]["means"]
        found = cl.margins(factorial, ["sx", "sector"], at="balanced", ddf=ddf).frame
        assert found["sector"].tolist() == [row["sector"] for row in rows]
        theirs = numbers(rows, "emmean", "SE", "df", "lower.CL", "upper.CL")
        for name, values in zip(["estimate", "std_error", "df", "conf_low", "conf_high"], theirs, strict=True):
            np.testing.assert_allclose(found[name], values, rtol=1e-4 if name == "df" else 1e-5)

    @pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
    @pytest.mark.parametrize("adjust", ["tukey", "holm", "bonferroni"])
    def test_adjusted_pairs(self, factorial, ddf: str, adjust: str) -> None:
        rows = self.expected[ddf][adjust]
        found = cl.margins(factorial, ["sx", "sector"], at="balanced", ddf=ddf, contrasts="pairwise",
                           among=["sector", "sx"], adjust=adjust).frame  # fmt: skip
        theirs = {tuple(row["contrast"].replace(" - ", " ").split()): row for row in rows}
        for _, row in found.iterrows():
            second, first = (part.strip("()").split(", ") for part in row["contrast"].split(" - "))
            other = theirs[(*first, *second)]
            assert -row["estimate"] == pytest.approx(other["estimate"], rel=1e-5)
            assert row["std_error"] == pytest.approx(other["SE"], rel=1e-5)
            assert row["p_value"] == pytest.approx(other["p.value"], rel=1e-3)
            assert (-row["conf_high"], -row["conf_low"]) == pytest.approx(
                (other["lower.CL"], other["upper.CL"]), rel=1e-4, abs=1e-4
            )

    @pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
    def test_comparisons_within(self, factorial, ddf: str) -> None:
        rows = self.expected[ddf]["within"]
        found = cl.margins(factorial, ["sector", "sx"], at="balanced", ddf=ddf).contrasts(among="sx").frame
        assert found["sector"].tolist() == [row["sector"] for row in rows]
        np.testing.assert_allclose(-found["estimate"], numbers(rows, "estimate")[0], rtol=1e-5)
        np.testing.assert_allclose(found["df"], numbers(rows, "df")[0], rtol=1e-4)

    @pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
    def test_trends(self, factorial, ddf: str) -> None:
        mean = factorial.design.columns.numeric("cses").mean()
        by = {"cses": [mean + self.half], "sector": None}
        found = cl.slopes(factorial, "cses", by=by, at="balanced", ddf=ddf).frame
        theirs = numbers(self.expected[ddf]["trends"], "cses.trend", "SE", "df")
        for name, values in zip(["estimate", "std_error", "df"], theirs, strict=True):
            np.testing.assert_allclose(found[name], values, rtol=1e-4 if name == "df" else 1e-5)
        average = cl.slopes(factorial, "cses", by="sector", at="balanced", ddf=ddf).frame
        np.testing.assert_allclose(average["estimate"], theirs[0], rtol=5e-3)

    @pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
    def test_trends_where_the_predictor_has_a_value(self, factorial, ddf: str) -> None:
        rows = self.expected[ddf]["trends_at"]
        by = {"minrty": None, "cses": [-1 + self.half, 0.5 + self.half]}
        found = cl.slopes(factorial, "cses", by=by, at="balanced", ddf=ddf).frame
        theirs = numbers(rows, "cses.trend", "SE", "df")
        assert found["minrty"].tolist() == [row["minrty"] for row in rows]
        for name, values in zip(["estimate", "std_error", "df"], theirs, strict=True):
            np.testing.assert_allclose(found[name], values, rtol=1e-4 if name == "df" else 1e-5)

    def test_empty_cells_are_named(self, cake) -> None:
        rows = self.expected["cake"]["means"]
        found = cl.margins(cake, ["heat", "recipe"], ddf="kenward-roger")
        theirs = np.array([[row.get("emmean"), row.get("SE"), row.get("df")] for row in rows], dtype=float).T
        assert np.isnan(theirs[0]).sum() == 1
        np.testing.assert_allclose(found.frame["estimate"], theirs[0], rtol=1e-5)
        np.testing.assert_allclose(found.frame["std_error"], theirs[1], rtol=1e-5)
        np.testing.assert_allclose(found.frame["df"], theirs[2], rtol=1e-4)
        assert "1 of 18 rows are not determined" in " ".join(str(found).split())

    def test_tukey_leaves_empty_cells_out(self, cake) -> None:
        rows = self.expected["cake"]["by_recipe"]
        found = cl.margins(cake, ["heat", "recipe"], ddf="kenward-roger", contrasts="pairwise", adjust="tukey").frame
        theirs = {(row["recipe"], *row["contrast"].replace("heat", "").split(" - ")): row for row in rows}
        assert len(theirs) == len(found) == 45
        for _, row in found.iterrows():
            second, first = row["contrast"].split(" - ")
            other = theirs[(row["recipe"], first, second)]
            if other.get("estimate") is None:
                assert np.isnan(row["estimate"])
                continue
            assert -row["estimate"] == pytest.approx(other["estimate"], rel=1e-5)
            assert row["p_value"] == pytest.approx(other["ptukey"], rel=1e-4)


# -- closed forms -----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    frame = rooms()
    rng = np.random.default_rng(5)
    return frame.assign(
        f=np.array(["a", "b", "c"])[frame.room % 3], v=rng.uniform(0.5, 4.0, len(frame)),
        sector=np.where(frame.school % 3 == 0, "public", "private"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def fit(data):
    return cl.mixed("y ~ x * z + f + (x | school)", data)


def test_a_simple_slope_is_b1_plus_b3_z(fit) -> None:
    values = np.array([-1.5, 0.0, 2.0])
    found = cl.slopes(fit, "x", by={"z": values}, ddf="normal").frame
    b, V = fit.params, fit.vcov
    np.testing.assert_allclose(found["estimate"], b["x"] + b["x:z"] * values, rtol=1e-12)
    variance = V.loc["x", "x"] + 2 * values * V.loc["x", "x:z"] + values**2 * V.loc["x:z", "x:z"]
    np.testing.assert_allclose(found["std_error"], np.sqrt(variance), rtol=1e-12)
    np.testing.assert_allclose(found["p_value"], 2 * norm.sf(np.abs(found["statistic"])), rtol=1e-9)
    assert list(found.columns) == [*STATISTICS, "contrast", "z"]
    assert found.index.name == "term"
    assert set(found["contrast"]) == {"slope"}


def test_the_default_df_are_those_of_the_fit(fit) -> None:
    found = cl.slopes(fit, "x", by={"z": [1.0]}).frame
    theirs = fit.contrast("x + x:z")
    np.testing.assert_allclose(found[STATISTICS].to_numpy(), theirs[STATISTICS].to_numpy(), rtol=1e-12)
    robust = cl.slopes(fit, "x", by={"z": [1.0]}, vcov="CR2").frame
    theirs = fit.robust("CR2").contrast({"x": 1, "x:z": 1}).combinations
    np.testing.assert_allclose(robust[STATISTICS].to_numpy(), theirs[STATISTICS].to_numpy(), rtol=1e-10)


FORMULAS = [
    "y ~ x * z + f * x + (x | school)",
    "y ~ poly(x, 3) * f + z + (1 | school)",
    "y ~ bs(v, df=6) + x * z + f + (1 | school)",
    "y ~ log(v) * x + I(x ** 2) * f + I(x * z * v) + (1 | school)",
    "y ~ scale(x) * center(z) + wec(f) * x + (1 | school)",
    "y ~ x * z + C(f, contr.sum) * x + np.exp(x / 3) + (x | school) + (1 | room)",
    "y ~ x * z * f + v:x + (x | school)",
    "y ~ 0 + f + f:x + z + (1 | school)",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_predictions_are_averages_of_predictions_row_by_row(data: pd.DataFrame, formula: str) -> None:
    fit = cl.mixed(formula, data)
    for by in ({"f": ["a", "c"]}, {"x": [-0.5, 0.7], "f": ["b"]}, {"z": [0.1]}):
        found = cl.margins(fit, by)
        for _, row in found.frame.iterrows():
            new = data.assign(**{name: row[name] for name in by})
            expected = fit.predict(new, random_effects=False).mean()
            assert row["estimate"] == pytest.approx(expected, rel=1e-10)
    average = cl.margins(fit).frame
    assert average["estimate"].item() == pytest.approx(fit.predict(random_effects=False).mean(), rel=1e-10)
    assert average.index.tolist() == ["average"]


def averaged(fit, new: pd.DataFrame) -> np.ndarray:
    """Mean design row (p,) of a new frame."""
    from crosslevel.table import Columns

    return fit.spec.evaluate(Columns.from_frame(new))[fit.design.x].mean(axis=1)


@pytest.mark.parametrize("formula", FORMULAS)
def test_slopes_are_averages_of_differences_row_by_row(data: pd.DataFrame, formula: str) -> None:
    """A symmetric difference quotient with its error of second order removed, well inside the data."""
    fit = cl.mixed(formula, data)
    inside = data[(data.x.abs() < 2.0) & (data.v > 0.6) & (data.v < 3.9)]
    at = {"x": 0.3, "z": 0.2, "f": "b", "v": 2.2}
    for name in ("x", "v", "z"):
        if name not in cl.slopes(fit).frame.index:
            continue
        names = [other for other in at if other in fit.spec.design_variables]
        here = pd.DataFrame({**inside.iloc[:1].to_dict("list"), **{other: [at[other]] for other in names}})
        quotient = [
            (averaged(fit, here.assign(**{name: at[name] + h})) - averaged(fit, here.assign(**{name: at[name] - h})))
            / (2 * h)
            for h in (1e-3, 2e-3)
        ]
        row = (4 * quotient[0] - quotient[1]) / 3
        found = cl.slopes(fit, name, by={other: [at[other]] for other in names}, ddf="normal").frame
        assert found["estimate"].item() == pytest.approx(row @ fit.params.to_numpy(), rel=1e-8)
        assert found["std_error"].item() == pytest.approx(fit.contrast(row, ddf="normal")["std_error"].item(), rel=1e-6)
        together = cl.slopes(fit, name, at={other: at[other] for other in names}, ddf="normal").frame
        np.testing.assert_allclose(together[STATISTICS].to_numpy(), found[STATISTICS].to_numpy(), rtol=1e-10)


def test_average_marginal_effects_of_what_is_not_linear(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ I(x ** 2) * z + x + log(v) + bs(x, df=5):z + (1 | school)", data)
    b = fit.params
    found = cl.margins(fit, effects=["v"]).frame
    assert found["estimate"].item() == pytest.approx(b["log(v)"] * (1 / data.v).mean(), rel=1e-9)
    square = cl.mixed("y ~ I(x ** 2) * z + x + (1 | school)", data)
    b = square.params
    expected = b["x"] + 2 * (b["I(x ** 2)"] * data.x + b["I(x ** 2):z"] * data.x * data.z).mean()
    assert cl.slopes(square, "x").frame["estimate"].item() == pytest.approx(expected, rel=1e-10)
    whole = cl.slopes(fit, "x").frame["estimate"].item()
    h = 1e-4
    clipped = [data.assign(x=data.x.clip(data.x.min() + h, data.x.max() - h) + shift) for shift in (h, -h)]
    up, down = (fit.predict(new, random_effects=False).mean() for new in clipped)
    assert whole == pytest.approx((up - down) / (2 * h), rel=1e-2)  # the ends are moved inwards here


def test_derivatives_hold_nine_digits() -> None:
    x = np.linspace(0.01, 3.0, 400)
    for function, slope in [(np.log, 1 / x), (np.sqrt, 0.5 / np.sqrt(x)), (np.exp, np.exp(x)),
                            (lambda v: np.maximum(v - 1.0, 0.0) ** 3, 3 * np.maximum(x - 1.0, 0.0) ** 2)]:  # fmt: skip
        found, change = differentiate(lambda shift, f=function: f(x + shift), x, 0.01, 3.0, 1.0)
        np.testing.assert_allclose(found, slope, rtol=1e-8, atol=1e-9 * np.abs(slope).max())
        assert np.all(change < 1e-8)


def test_a_step_has_no_slope(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ I(x > 0.25) + z + (1 | school)", data)
    assert cl.slopes(fit, "x", by={"x": [0.1]}).frame["estimate"].item() == 0.0
    with pytest.raises(CrosslevelError, match=r"`x` has no slope at 0\.25, where I\(x > 0\.25\) has a kink or a jump"):
        cl.slopes(fit, "x", by={"x": [0.25]})


# -- cluster means ----------------------------------------------------------------------------------------------------
def test_a_column_moves_its_deviations_and_holds_the_means(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ within(x, school) * sector + between(x, school) + (within(x, school) | school)", data)
    by_column, by_term = cl.slopes(fit, "x", by="sector"), cl.slopes(fit, "within(x,school)", by="sector")
    np.testing.assert_array_equal(by_column.rows, by_term.rows)
    assert "means of clusters are held" in " ".join(by_column.notes)
    assert by_term.notes == ()
    b = fit.params
    assert by_term.frame["estimate"].tolist() == pytest.approx(
        [b["within(x, school)"], b["within(x, school)"] + b["within(x, school):sector[public]"]], rel=1e-12
    )
    context = cl.slopes(fit, "between(x, school)").frame
    assert context["estimate"].item() == b["between(x, school)"]
    raw = cl.mixed("y ~ x + between(x, school) + (x | school)", data)
    assert cl.slopes(raw, "x").frame["estimate"].item() == raw.params["x"]
    both = cl.mixed("y ~ x * z + within(x, school) + (x | school)", data)
    moved = cl.slopes(both, "x", by={"z": [0.0]}).frame["estimate"].item()
    assert moved == pytest.approx(both.params["x"] + both.params["within(x, school)"], rel=1e-12)
    assert cl.slopes(both, "within(x, school)").frame["estimate"].item() == both.params["within(x, school)"]
    with pytest.raises(CrosslevelError, match=r"enters the model as within\(x, school\) and between\(x, school\)"):
        cl.margins(fit, {"x": [1.0]})


def test_powers_of_deviations(data: pd.DataFrame) -> None:
    outside = cl.mixed("y ~ within(x, school) + I(within(x, school) ** 2) + z + (1 | school)", data)
    b = outside.params
    found = cl.slopes(outside, "x", by={"within(x, school)": [-1, 2]}).frame["estimate"]
    expected = b["within(x, school)"] + 2 * b["I(within(x, school) ** 2)"] * np.array([-1, 2])
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    inside = cl.mixed("y ~ within(x, school) + within(I(x ** 2), school) + z + (1 | school)", data)
    with pytest.raises(CrosslevelError, match=r"within\(I\(x \*\* 2\), school\) is made of the same values"):
        cl.slopes(inside, "x")
    means = cl.mixed("y ~ x + between(x, school) + (1 | school)", data)
    with pytest.raises(CrosslevelError, match=r"`by` names 'w', which is not in the fixed part"):
        cl.slopes(means, "x", by="w")


def test_expressions_are_terms_too(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ scale(x) * z + log(v) + (1 | school)", data)
    assert cl.slopes(fit, "log(v)").frame["estimate"].item() == fit.params["log(v)"]
    per_unit = cl.slopes(fit, "x", by={"z": [1.0]}).frame["estimate"].item()
    per_sd = cl.slopes(fit, "scale(x)", by={"z": [1.0]}).frame["estimate"].item()
    assert per_sd == pytest.approx(per_unit * data.x.std(), rel=1e-12)
    shared = cl.mixed("y ~ scale(x) + I(x ** 2) + (1 | school)", data)
    with pytest.raises(CrosslevelError, match=r"'scale\(x\)' cannot be moved or set by itself"):
        cl.slopes(shared, "scale(x)")


# -- representative values, weights -----------------------------------------------------------------------------------
def test_moderators_are_represented_over_the_clusters(data: pd.DataFrame, fit) -> None:
    z = data.groupby("school").z.first()
    by_cluster = cl.slopes(fit, "x", by={"z": "sd"})
    np.testing.assert_allclose(by_cluster.frame["z"], z.mean() + z.std() * np.array([-1, 0, 1]), rtol=1e-12)
    assert "14 clusters of school" in str(by_cluster)
    by_row = cl.slopes(fit, "x", by={"z": "quartiles"}, over="rows").frame["z"]
    np.testing.assert_allclose(by_row, data.z.quantile([0.25, 0.5, 0.75]), rtol=1e-12)
    quartiles = cl.slopes(fit, "x", by={"z": "quartiles"}, over="school").frame["z"]
    np.testing.assert_allclose(quartiles, z.quantile([0.25, 0.5, 0.75]), rtol=1e-12)
    assert len(cl.slopes(fit, "x", by={"z": "unique"}).frame) == 14
    with pytest.raises(CrosslevelError, match="x varies within clusters of school"):
        cl.margins(fit, "x", over="clusters")


def test_few_values_are_taken_as_they_are(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ x * d + (1 | school)", data.assign(d=(data.f == "a").astype(int)))
    assert cl.slopes(fit, "x", by="d").frame["d"].tolist() == [0.0, 1.0]
    assert cl.margins(fit, "d", contrasts="reference").frame["contrast"].tolist() == ["1 - 0"]


def test_values_beyond_the_data_are_named(fit) -> None:
    found = cl.slopes(fit, "x", by={"z": [0.0, 50.0]})
    assert "50 is beyond, where the model is extrapolated" in " ".join(str(found).split())


def test_frequencies_are_repeated_rows(data: pd.DataFrame) -> None:
    frame = data.assign(count=1 + data.room % 3)
    repeated = frame.loc[frame.index.repeat(frame["count"])].reset_index(drop=True)
    formula = "y ~ I(x ** 2) * z + f + (1 | school)"
    weighted, long = cl.mixed(formula, frame, weights=cl.Frequency("count")), cl.mixed(formula, repeated)
    for call in (lambda m: cl.slopes(m, "x", by={"z": "sd"}), lambda m: cl.margins(m, "f"),
                 lambda m: cl.margins(m, "f", at="mean"), lambda m: cl.slopes(m, "f")):  # fmt: skip
        one, two = call(weighted).frame, call(long).frame
        np.testing.assert_allclose(one[STATISTICS].to_numpy(), two[STATISTICS].to_numpy(), rtol=1e-6)


def test_sampling_weights_count_in_averages() -> None:
    frame = schools()
    weights = cl.Sampling("w", clusters={"school": "w2"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.DataWarning)
        fit = cl.mixed("y ~ I(x ** 2) * z + x + (1 | school)", frame, weights=weights, method="ml")
    total = fit.design.weights.total
    slope = fit.params["x"] + 2 * (fit.params["I(x ** 2)"] + fit.params["I(x ** 2):z"] * frame.z) * frame.x
    assert cl.slopes(fit, "x").frame["estimate"].item() == pytest.approx(np.average(slope, weights=total), rel=1e-9)
    clusters = frame.groupby("school").agg(z=("z", "first"), w2=("w2", "first"))
    middle = cl.slopes(fit, "x", by={"z": "sd"}).frame["z"].iloc[1]
    assert middle == pytest.approx(np.average(clusters.z, weights=clusters.w2), rel=1e-10)
    precise = cl.mixed("y ~ I(x ** 2) + x + (1 | school)", frame, weights=cl.Precision("w"))
    assert cl.slopes(precise, "x").frame["estimate"].item() == pytest.approx(
        precise.params["x"] + 2 * precise.params["I(x ** 2)"] * frame.x.mean(), rel=1e-9
    )


def test_an_offset_is_at_its_mean(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ x * z + (1 | school)", data, offset="v")
    found = cl.margins(fit, {"x": [0.5]})
    expected = fit.predict(data.assign(x=0.5), random_effects=False).mean()
    assert found.frame["estimate"].item() == pytest.approx(expected, rel=1e-12)
    assert "offset is at its mean" in str(found)
    with pytest.raises(CrosslevelError, match="which is the offset too"):
        cl.slopes(cl.mixed("y ~ x + v + (1 | school)", data, offset="v"), "v")


# -- every kind of model ----------------------------------------------------------------------------------------------
def kinds(data: pd.DataFrame, folder: Path) -> dict:
    data = data.assign(count=1 + data.room % 3, t=data.groupby("school").cumcount())
    file = folder / "rows.parquet"
    data.to_parquet(file)
    return {
        "three levels": cl.mixed("y ~ x * z + f + (x | school) + (1 | school:room)", data),
        "crossed": cl.mixed("y ~ x * z + f + (x | school) + (1 | room)", data),
        "singular": cl.mixed("y ~ x * z + f + (x + f | school)", data),
        "frequency": cl.mixed("y ~ x * z + f + (x | school)", data, weights=cl.Frequency("count")),
        "residual": cl.mixed("y ~ x * z + f + (1 | school)", data, residual=cl.residual.AR1("t", within="school")),
        "strata": cl.mixed("y ~ x * z + f + (1 | school)", data, residual=cl.residual.By("f")),
        "no random term": cl.mixed("y ~ x * z + f", data, residual=cl.residual.CompoundSymmetry(within="school")),
        "iterative": cl.mixed("y ~ x * z + f + (1 | school) + (1 | room)", data, algebra="iterative"),
        "streamed": cl.mixed("y ~ x * z + f + (x | school)", file, progress=False),
        "regression": cl.ols("y ~ x * z + f", data),
        "clustered regression": cl.ols("y ~ x * z + f", data, cluster="school"),
    }


def test_every_kind_of_model(data: pd.DataFrame, tmp_path: Path) -> None:
    for name, model in kinds(data, tmp_path).items():
        found = cl.slopes(model, "x", by={"z": [-1.0, 0.0, 1.0]}).frame
        weights = [{"x": 1, "x:z": -1}, {"x": 1, "x:z": 0}, {"x": 1, "x:z": 1}]
        each = [model.contrast([some]) for some in weights]
        theirs = pd.concat([one if isinstance(one, pd.DataFrame) else one.combinations for one in each])
        np.testing.assert_allclose(found[STATISTICS].to_numpy(), theirs[STATISTICS].to_numpy(), rtol=1e-9, err_msg=name)
        means = cl.margins(model, "f", contrasts="reference", adjust="holm")
        np.testing.assert_allclose(means.frame["estimate"], model.params[["f[b]", "f[c]"]], rtol=1e-9, err_msg=name)
        regions = cl.johnson_neyman(model, "x", "z").regions
        assert regions["share"].groupby(regions["correction"]).sum().tolist() == pytest.approx([1.0, 1.0]), name


# -- many tests -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("q", "means", "df"), [(3.3, 3, np.inf), (3.7, 4, 12.0), (10, 3, 2.0), (5, 5, 1.0),
                                                (0.5, 3, 7.3), (3.0, 2, 20.0), (6.0, 10, 300.0)])  # fmt: skip
def test_studentised_range(q: float, means: int, df: float) -> None:
    assert studentised_range_tail(q, means, df) == pytest.approx(studentized_range.sf(q, means, df), rel=1e-9)


def test_two_means_need_no_adjustment() -> None:
    statistic, df = np.array([2.1]), np.array([17.0])
    p_value, critical = adjusted(statistic, df, np.zeros(1, int), np.array([2]), "tukey", level=0.95)
    assert p_value.item() == pytest.approx(2 * t.sf(2.1, 17), rel=1e-9)
    assert critical.item() == pytest.approx(t.ppf(0.975, 17), rel=1e-9)


def test_stepwise_procedures_by_hand() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert discoveries(np.array([0.001, 0.012, 0.014, 0.2, np.nan]), 0.05) == (3, pytest.approx(0.0375))
    assert discoveries(np.array([0.5, 0.9]), 0.05) == (0, 0.0)
    p_value, _ = adjusted(np.array([2.0, 2.5, np.nan]), np.full(3, 30.0), np.zeros(3, int), np.zeros(3, int),
                          "bonferroni", level=0.95)  # fmt: skip
    assert p_value[:2].tolist() == pytest.approx((4 * t.sf([2.0, 2.5], 30)).tolist())
    assert np.isnan(p_value[2])


def test_families_and_the_other_column_order(fit) -> None:
    found = cl.slopes(fit, "f", by={"z": [0.0, 1.0]}, contrast="pairwise", adjust="tukey")
    assert found.about.n_families == 2
    assert "2 families, each of 3" in " ".join(str(found).split())
    assert (found.frame["p_value"] >= found.frame["p_unadjusted"]).all()
    plain = found.to_marginaleffects()
    assert plain.columns.tolist() == ["term", "contrast", "estimate", "std_error", "statistic", "p_value", "conf_low",
                                      "conf_high", "df", "z", "p_unadjusted"]  # fmt: skip
    assert cl.margins(fit, "f").to_marginaleffects()["contrast"].tolist() == ["", "", ""]
    assert found._repr_html_().startswith("<")
    differences = found.contrasts("sequential")
    assert differences.frame["contrast"].tolist() == ["(b - a) 1 - 0", "(c - a) 1 - 0", "(c - b) 1 - 0"]
    np.testing.assert_allclose(differences.frame["estimate"], 0.0, atol=1e-12)  # f does not interact with z


def test_contrasts_are_combinations_of_the_rows(fit) -> None:
    found = cl.margins(fit, {"f": None, "x": [0.0, 1.0]})
    pairwise = found.contrasts(among=["f", "x"], adjust="bonferroni", level=0.9)
    assert len(pairwise.frame) == 15
    np.testing.assert_allclose(pairwise.rows[0], found.rows[1] - found.rows[0], rtol=1e-12)
    assert pairwise.frame["contrast"].iloc[0] == "(a, 1) - (a, 0)"
    width = pairwise.frame["conf_high"] - pairwise.frame["estimate"]
    df = pairwise.frame["df"].to_numpy()
    np.testing.assert_allclose(width / pairwise.frame["std_error"], t.ppf(1 - 0.1 / 30, df), rtol=1e-9)


def test_the_result_is_a_frame(fit) -> None:
    found = cl.slopes(fit, "x", by={"z": [0.0, 1.0]})
    assert isinstance(found, pd.DataFrame)
    assert type(found.frame) is type(found.round(2)) is type(found[["estimate"]]) is pd.DataFrame
    pd.testing.assert_frame_equal(found.frame, found.tidy())
    assert found.loc["x", "estimate"].tolist() == found["estimate"].tolist()
    again = pickle.loads(pickle.dumps(found))
    pd.testing.assert_frame_equal(again.contrasts().frame, found.contrasts().frame)


def test_effects_of_margins_are_slopes(fit) -> None:
    by = {"z": [0.0, 1.0]}
    pd.testing.assert_frame_equal(cl.margins(fit, by, effects="x").frame, cl.slopes(fit, "x", by).frame)
    difference = cl.margins(fit, by, effects="x", contrasts="pairwise")
    assert difference["estimate"].item() == pytest.approx(fit.params["x:z"], rel=1e-10)
    assert difference["std_error"].item() == pytest.approx(fit.tidy().loc["x:z", "std_error"], rel=1e-10)


def test_small_weights_of_large_columns_count(data: pd.DataFrame) -> None:
    """A square of numbers of a hundred million: its derivative at a thousand is small beside it, and no rounding."""
    frame = data.assign(big=1e8 * (data.x + 3.0))
    fit = cl.mixed("y ~ I(big ** 2) + big + (1 | school)", frame)
    found = cl.slopes(fit, "big", by={"big": [1000.0]})
    assert found.rows[0].tolist() == pytest.approx([0.0, 2000.0, 1.0], rel=1e-6)


# -- errors -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: cl.slopes(m, "q"), "`x` names 'q', which is not in the fixed part. It has 'x', 'z', 'f'"),
        (lambda m: cl.slopes(m, 3), "`x` names variables by text"),
        (lambda m: cl.slopes(m, "x", by={"f": ["d"]}), "`by` has 'd' for 'f', whose categories are 'a', 'b', 'c'"),
        (lambda m: cl.slopes(m, "x", by={"z": "median"}), "Give values, or one of 'sd', 'quartiles'"),
        (lambda m: cl.slopes(m, "x", by={"z": []}), "needs at least one finite value of 'z'"),
        (lambda m: cl.slopes(m, "x", by={"z": ["a"]}), "for 'z', which needs numbers"),
        (lambda m: cl.slopes(m, "x", by={"x": "unique"}), "has 3[0-9]+ of them|has 2[0-9]+ of them"),
        (lambda m: cl.slopes(m, "x", at="median"), "`at` is one of 'observed', 'mean', 'balanced'"),
        (lambda m: cl.slopes(m, "x", at={"z": [1, 2]}), "`at` needs one value for each variable"),
        (lambda m: cl.slopes(m, "x", over="country"), "`over` is one of 'auto', 'rows', 'clusters', 'school'"),
        (lambda m: cl.slopes(m, "f", by="f"), "whose categories `x` compares"),
        (lambda m: cl.slopes(m, "f", contrast="every"), "`contrast` is 'reference', 'pairwise' or 'sequential'"),
        (lambda m: cl.slopes(m, "x", by="z", adjust="scheffe"), "`adjust` is one of 'none', 'holm'"),
        (lambda m: cl.slopes(m, "x", by="z", adjust="tukey"), "made for all pairs of some means"),
        (lambda m: cl.slopes(m, "x", level=95), "`level` is a probability"),
        (lambda m: cl.slopes(m, "x", ddf="satterthwaite", vcov="CR2"), "Leave one of them out"),
        (lambda m: cl.slopes(m.update("~ . + df", data=m.data.assign(df=m.data["v"])), "x", by="df"), "Rename it"),
        (lambda m: cl.slopes("x", "x"), "`fit` is a model fitted by cl.mixed or cl.ols; got str"),
        (lambda m: cl.margins(m, "f", among="f"), "`among` says what `contrasts` compares"),
        (lambda m: cl.margins(m, "f", contrasts="all"), "`contrasts` is one of 'pairwise'"),
        (lambda m: cl.margins(m, "f", contrasts="pairwise", among="z"), "`among` names \\['z'\\]"),
        (lambda m: cl.margins(m, contrasts="pairwise"), "which names none"),
        (lambda m: cl.margins(m, {"f": "a"}, contrasts="pairwise"), "of which there is one only"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(fit, call, message: str) -> None:
    with pytest.raises(CrosslevelError, match=message):
        call(fit)


def test_errors_of_models(data: pd.DataFrame) -> None:
    with pytest.raises(CrosslevelError, match="`ddf` is 'satterthwaite', but the degrees of freedom of a linear regre"):
        cl.slopes(cl.ols("y ~ x", data), "x", ddf="satterthwaite")
    with pytest.raises(CrosslevelError, match="has no fixed coefficients"):
        cl.margins(cl.mixed("y ~ 0 + (1 | school)", data))
    with pytest.raises(CrosslevelError, match="no predictor that is not in `by`"):
        cl.slopes(cl.mixed("y ~ 1 + (1 | school)", data))
    with pytest.raises(CrosslevelError, match=r"at which log\(v\) is not a finite number"):
        cl.margins(cl.mixed("y ~ log(v) + (1 | school)", data), {"v": [-1.0]})


def test_the_mean_of_a_centred_moderator_is_zero_and_not_rounding() -> None:
    data = cl.datasets.load("sleepstudy")
    rng = np.random.default_rng(4)
    raw = rng.standard_normal(18) * 1e3 + 0.1
    centred = (raw - raw.mean()) / 1e3
    assert centred.mean() != 0.0
    people = data["Subject"].unique()
    data = data.assign(score=data["Subject"].astype(str).map(dict(zip(map(str, people), centred, strict=True))))
    fit = cl.mixed("Reaction ~ Days * score + (Days | Subject)", data)
    low, middle, high = cl.slopes(fit, "Days", by="score")["score"]
    assert middle == 0.0
    assert (low, high) == (-np.std(centred, ddof=1), np.std(centred, ddof=1))
