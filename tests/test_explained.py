"""Explained variance, design effects, the ICC at the average of the rows: references, published values, row twins."""

import re

import numpy as np
import pandas as pd
import pytest
from reference_cases import cases_with, fit_case, load_case, load_data
from survey_weights import rooms, schools
from test_multiple_membership import DATA as DYADS
from test_residual_fits import FRAME as PANEL

import crosslevel as cl
from crosslevel.errors import CrosslevelError

SLOPES = "y ~ x * z + (x | school)"
THREE = "y ~ x + z + (x | school) + (1 | school:room)"
CROSSED = "y ~ x * z + (x | school) + (1 | room)"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    frame = rooms().assign(precision=lambda d: rng.uniform(0.5, 2.0, len(d)))
    return frame.assign(f=rng.integers(1, 4, len(frame)), x=frame.x + frame.z)


def row_variances(fit, rows: pd.DataFrame, weight: np.ndarray | None = None) -> tuple[float, dict[str, float]]:
    """Variance of the fixed part over rows, and for each factor the mean of z'Psi z, from the fit's own predictions."""
    w = np.ones(len(rows)) if weight is None else weight
    fitted = fit.predict(random_effects=False).to_numpy()
    average = np.average(fitted, weights=w)
    fixed = np.average((fitted - average) ** 2, weights=w) * fit.nobs / (fit.nobs - 1)
    random = {}
    for name, psi in fit.cov_re.items():
        z = np.column_stack([np.ones(len(rows)) if term == "Intercept" else rows[term] for term in psi.index])
        random[name] = float(np.average(np.einsum("ni,ij,nj->n", z, psi.to_numpy(), z), weights=w))
    return fixed, random


# -- references ---------------------------------------------------------------------------------------------------
MERGED = "uncorr"
"""Models with (x || g), of which the reference leaves out all but the first block."""


@pytest.mark.parametrize("name", cases_with("icc"))
def test_icc_is_the_reference(name: str) -> None:
    expected, fit = load_case(name).expected["icc"], fit_case(name)
    if MERGED in name:
        assert fit.icc().estimate == pytest.approx(expected["adjusted"], abs=1e-6)
        return
    for kind, value in expected.items():
        found = fit.icc(kind=kind)
        assert found.estimate == pytest.approx(value, abs=1e-6)
        assert found.conf_low < found.estimate < found.conf_high


@pytest.mark.parametrize("name", [name for name in cases_with("r2") if MERGED not in name])
def test_marginal_and_conditional_are_the_reference(name: str) -> None:
    expected, found = load_case(name).expected["r2"], fit_case(name).r2(null=None)
    assert found.marginal == pytest.approx(expected["marginal"], abs=1e-6)
    if expected.get("conditional") is None:  # the reference declines to give it where a variance is zero
        assert found.conditional == pytest.approx(found.marginal, abs=1e-9)
    else:
        assert found.conditional == pytest.approx(expected["conditional"], abs=1e-6)


def test_uncorrelated_slopes_count() -> None:
    case, fit = load_case("sleepstudy__uncorr_reml"), fit_case("sleepstudy__uncorr_reml")
    fixed, random = row_variances(fit, case.data)
    total = fixed + random["Subject"] + fit.sigma**2
    assert fit.r2(null=None).conditional == pytest.approx((total - fit.sigma**2) / total, rel=1e-10)
    assert fit.icc(kind="adjusted").estimate == pytest.approx(random["Subject"] / (total - fixed), rel=1e-10)


def test_published_reductions() -> None:
    """High School & Beyond, Raudenbush & Bryk (2002), chapter 4, by the variances of tables 4.2 to 4.5."""
    hsb = load_data("Hsb82")
    means = cl.mixed("mAch ~ meanses + (1 | school)", hsb).r2().reduction["r2"]
    assert round(means["school", "Intercept", "intercept only"], 2) == round((8.61 - 2.64) / 8.61, 2)
    coefficients = cl.mixed("mAch ~ cses + (cses | school)", hsb).r2().reduction["r2"]
    assert round(coefficients["Residual", "", "intercept only"], 3) == round((39.15 - 36.70) / 39.15, 3)
    outcomes = cl.mixed("mAch ~ cses * meanses + cses * sector + (cses | school)", hsb).r2().reduction
    row = outcomes.loc["school", "Intercept", "random coefficients"]
    assert (round(row["null"], 2), round(row["model"], 2)) == (8.68, 2.38)
    assert round(row["r2"], 2) == round((8.68 - 2.38) / 8.68, 2)
    slope = outcomes.loc["school", "cses", "random coefficients"]
    assert (round(slope["null"], 2), round(slope["model"], 2)) == (0.69, 0.10)


# -- twins that look at rows --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "formula", [SLOPES, THREE, CROSSED, "y ~ x + diag(x | school)", "y ~ 0 + x + (0 + x | school)"]
)
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_shares_are_those_of_rows(data: pd.DataFrame, formula: str, method: str) -> None:
    fit = cl.mixed(formula, data, method=method)
    fixed, random = row_variances(fit, data)
    found = fit.r2(null=None)
    expected = pd.Series({"Fixed": fixed, **random, "Residual": fit.sigma**2})
    np.testing.assert_allclose(found.shares["variance"], expected, rtol=1e-10)
    np.testing.assert_allclose(found.shares["share"], expected / expected.sum(), rtol=1e-10)
    assert found.shares["share"].sum() == pytest.approx(1.0, rel=1e-14)
    assert list(found.shares.index) == ["Fixed", *fit.ngroups, "Residual"]
    rest = expected.sum() - fixed
    assert fit.icc(kind="adjusted").estimate == pytest.approx(sum(random.values()) / rest, rel=1e-10)
    assert fit.icc(kind="unadjusted").estimate == pytest.approx(sum(random.values()) / expected.sum(), rel=1e-10)
    for name, variance in random.items():
        assert fit.icc(name, kind="adjusted").estimate == pytest.approx(variance / rest, rel=1e-10)


@pytest.mark.parametrize("formula", [SLOPES, "y ~ within(x, school) * z + (within(x, school) | school)"])
def test_sources_are_those_of_rows(data: pd.DataFrame, formula: str) -> None:
    """Every row's fixed part and random columns, split into cluster means and deviations."""
    fit = cl.mixed(formula, data)
    psi = fit.cov_re["school"].to_numpy()
    x = data.x - data.groupby("school").x.transform("mean") if "within" in formula else data.x
    rows = pd.DataFrame({"one": 1.0, "x": x, "fixed": fit.predict(random_effects=False).to_numpy()})
    means = rows.groupby(data.school).transform("mean")
    inside, n = rows - means, len(data)

    def quadratic(z: np.ndarray) -> float:
        return float(np.mean(np.einsum("ni,ij,nj->n", z, psi, z)))

    expected = {
        "f1": np.sum(inside.fixed**2) / (n - 1),
        "f2": np.sum((means.fixed - rows.fixed.mean()) ** 2) / (n - 1),
        "v": quadratic(inside[["one", "x"]].to_numpy()),
        "m": quadratic(means[["one", "x"]].to_numpy()),
    }
    within, between = expected["f1"] + expected["v"] + fit.sigma**2, expected["f2"] + expected["m"]
    found = fit.r2(null=None)
    table = found.decomposition["r2"]
    for name, value in expected.items():
        assert table["total", name] == pytest.approx(value / (within + between), rel=1e-9)
    assert table["within", "f1"] == pytest.approx(expected["f1"] / within, rel=1e-9)
    assert table["within", "v"] == pytest.approx(expected["v"] / within, rel=1e-9)
    assert table["within", "f1v"] == pytest.approx((expected["f1"] + expected["v"]) / within, rel=1e-9)
    assert table["between", "f2"] == pytest.approx(expected["f2"] / between, rel=1e-9)
    assert table["between", "m"] == pytest.approx(expected["m"] / between, rel=1e-9)
    assert len(table) == 12


@pytest.mark.parametrize("name", ["Hsb82__slopes_as_outcomes_reml", "Exam__rs_reml", "Dyestuff2__ri_reml"])
def test_sources_sum_to_the_other_measures(name: str) -> None:
    found = fit_case(name).r2(null=None)
    table, sources = found.decomposition["r2"], found.sources
    assert table["total", "f"] == pytest.approx(found.marginal, abs=1e-12)
    assert table["total", "fvm"] == pytest.approx(found.conditional, abs=1e-12)
    assert sources.total == pytest.approx(found.total, rel=1e-12)
    assert table["total"][["f1", "f2", "v", "m"]].sum() + sources.residual / sources.total == pytest.approx(1.0)
    assert table["within", "f1v"] + sources.residual / sources.within == pytest.approx(1.0)
    if "between" in table.index.get_level_values("level"):  # there is none where no cluster differs from another
        assert table["between"].sum() == pytest.approx(1.0)


def test_cluster_mean_centred_intercept_model_has_no_slopes_and_nothing_between() -> None:
    fit = fit_case("Hsb82__ancova_reml")
    table = fit.r2(null=None).decomposition["r2"]
    assert table["total", "f2"] == pytest.approx(0.0, abs=1e-10)
    assert table["total", "v"] == 0.0
    assert table["total", "m"] == pytest.approx(fit.icc(kind="unadjusted").estimate, rel=1e-9)


def mean_variances(fit, data: pd.DataFrame, factor: np.ndarray) -> float:
    """Variance of the mean of a level's rows given the fixed part, averaged over the levels, by the whole V."""
    V = np.eye(len(data)) * fit.sigma**2
    for name, psi in fit.cov_re.items():
        codes = pd.factorize(pd.MultiIndex.from_frame(data[name.split(":")]))[0]
        V += psi.iloc[0, 0] * (codes[:, None] == codes)
    picks = [np.flatnonzero(factor == level) for level in np.unique(factor)]
    return float(np.mean([V[np.ix_(pick, pick)].mean() for pick in picks]))


@pytest.mark.parametrize(("formula", "null"), [
    ("y ~ x + z + (1 | school)", "y ~ 1 + (1 | school)"),
    ("y ~ x + z + (1 | school) + (1 | school:room)", "y ~ 1 + (1 | school) + (1 | school:room)"),
    ("y ~ x + z + (1 | school) + (1 | room)", "y ~ 1 + (1 | school) + (1 | room)"),
])  # fmt: skip
def test_prediction_error_is_that_of_rows_and_means(data: pd.DataFrame, formula: str, null: str) -> None:
    model, nothing = cl.mixed(formula, data), cl.mixed(null, data)
    found = model.r2().prediction_error
    totals = [sum(psi.iloc[0, 0] for psi in fit.cov_re.values()) + fit.sigma**2 for fit in (nothing, model)]
    np.testing.assert_allclose(found.loc["rows", ["null", "model"]], totals, rtol=1e-6)
    for name in model.ngroups:
        codes = pd.factorize(pd.MultiIndex.from_frame(data[name.split(":")]))[0]
        expected = [mean_variances(fit, data, codes) for fit in (nothing, model)]
        np.testing.assert_allclose(found.loc[name, ["null", "model"]], expected, rtol=1e-6)
        assert found.loc[name, "cluster_size"] == pytest.approx(1.0 / np.mean(1.0 / np.bincount(codes)))
    np.testing.assert_allclose(found["r2"], 1.0 - found["model"] / found["null"], rtol=1e-12)


def test_prediction_error_of_a_model_with_slopes_is_that_of_its_intercepts(data: pd.DataFrame) -> None:
    slopes, alone = cl.mixed(SLOPES, data).r2(), cl.mixed("y ~ x * z + (1 | school)", data).r2()
    np.testing.assert_allclose(slopes.prediction_error, alone.prediction_error, rtol=1e-6)


@pytest.mark.parametrize("formula", [SLOPES, THREE, CROSSED])
def test_baselines_are_the_models_they_are_called(data: pd.DataFrame, formula: str) -> None:
    table = cl.mixed(formula, data).r2().reduction
    groups = re.findall(r"\| ([\w:]+)\)", formula)
    nothing = cl.mixed("y ~ 1 + " + " + ".join(f"(1 | {name})" for name in groups), data)
    middle = cl.mixed("y ~ x + " + " + ".join(re.findall(r"\([^)]+\)", formula)), data)
    assert table.loc["Residual", "", "intercept only"]["null"] == pytest.approx(nothing.sigma**2, rel=1e-6)
    for name in groups:
        row = table.loc[name, "Intercept", "intercept only"]
        assert row["null"] == pytest.approx(nothing.cov_re[name].iloc[0, 0], rel=1e-4, abs=1e-6)
    for term in ("Intercept", "x"):
        row = table.loc["school", term, "random coefficients"]
        assert row["null"] == pytest.approx(middle.cov_re["school"].loc[term, term], rel=1e-4)
        assert row["r2"] == pytest.approx(1.0 - row["model"] / row["null"])


def test_reduction_can_be_negative_and_says_so() -> None:
    found = fit_case("Hsb82__ancova_reml").r2()
    assert found.reduction["r2"]["school", "Intercept", "intercept only"] < 0.0
    assert "negative" in str(found)
    assert "negative" in found._repr_html_()


def test_a_given_null_model(data: pd.DataFrame) -> None:
    model, null = cl.mixed("y ~ x + z + (1 | school)", data), cl.mixed("y ~ x + (1 | school)", data)
    found = model.r2(null=null)
    assert list(found.reduction.index.get_level_values("baseline").unique()) == ["given"]
    expected = 1.0 - model.sigma**2 / null.sigma**2
    assert found.reduction["r2"]["Residual", "", "given"] == pytest.approx(expected, rel=1e-9)
    auto = model.r2(null=cl.mixed("y ~ 1 + (1 | school)", data))
    np.testing.assert_allclose(auto.prediction_error, model.r2().prediction_error, rtol=1e-6)


def test_null_models_that_are_none(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ x + (1 | school)", data)
    with pytest.raises(CrosslevelError, match="`null` is a fit"):
        fit.r2(null=3)
    with pytest.raises(CrosslevelError, match="method='ml'"):
        fit.r2(null=cl.mixed("y ~ 1 + (1 | school)", data, method="ml"))
    with pytest.raises(CrosslevelError, match="same rows of the same outcome"):
        fit.r2(null=cl.mixed("x ~ 1 + (1 | school)", data))
    with pytest.raises(CrosslevelError, match="same rows of the same outcome"):
        fit.r2(null=cl.mixed("y ~ 1 + (1 | school)", data.iloc[1:]))
    with pytest.raises(CrosslevelError, match="`null` is None"):
        _ = fit.r2(null=None).reduction
    found = fit.r2(null=cl.mixed("y ~ 1 + (x | school)", data))
    with pytest.raises(CrosslevelError, match="intercepts alone vary"):
        _ = found.prediction_error
    assert set(found.undefined) == {"prediction_error"}


# -- models of every kind -----------------------------------------------------------------------------------------
def test_frequency_weights_are_rows_repeated(data: pd.DataFrame) -> None:
    again = data.loc[data.index.repeat(data.f)].reset_index(drop=True)
    for formula in (SLOPES, CROSSED):
        weighted, long = cl.mixed(formula, data, weights=cl.Frequency("f")), cl.mixed(formula, again)
        pd.testing.assert_frame_equal(weighted.r2().frame, long.r2().frame, rtol=1e-4, atol=1e-6)
        pd.testing.assert_frame_equal(weighted.design_effect(), long.design_effect(), rtol=1e-4)


@pytest.mark.parametrize("formula", [SLOPES, CROSSED])
def test_precision_weights(data: pd.DataFrame, formula: str) -> None:
    """The average of rows by their weights; the unit of the weights does not matter, equal ones are none."""
    fit = cl.mixed(formula, data, weights=cl.Precision("precision"))
    w = data.precision.to_numpy()
    fixed, random = row_variances(fit, data, w)
    residual = float(np.average(fit.sigma**2 / w, weights=w))
    found = fit.r2()
    np.testing.assert_allclose(found.shares["variance"], [fixed, *random.values(), residual], rtol=1e-9)
    other = cl.mixed(formula, data.assign(precision=5.0 * w), weights=cl.Precision("precision"))
    pd.testing.assert_frame_equal(other.r2().frame, found.frame, rtol=1e-4, atol=1e-6)
    equal = cl.mixed(formula, data.assign(precision=3.0), weights=cl.Precision("precision"))
    pd.testing.assert_frame_equal(equal.r2().frame, cl.mixed(formula, data).r2().frame, rtol=1e-4, atol=1e-6)
    with pytest.raises(CrosslevelError, match="precision weights"):
        fit.design_effect()


def test_sampling_weights() -> None:
    """Equal ones are none; unequal ones weigh the rows and the clusters."""
    frame = schools().assign(one=1.0)
    plain = cl.mixed(SLOPES, frame, method="ml")
    equal = cl.mixed(SLOPES, frame, method="ml", weights=cl.Sampling("one", clusters={"school": "one"}, scaling="none"))
    pd.testing.assert_frame_equal(equal.r2().frame, plain.r2().frame, rtol=1e-4, atol=1e-6)
    pd.testing.assert_frame_equal(equal.design_effect()[["size"]], plain.design_effect()[["size"]])
    fit = cl.mixed(SLOPES, frame, method="ml", weights=cl.Sampling("w", clusters={"school": "w2"}, scaling="size"))
    scaled = frame.w / frame.groupby("school").w.transform("mean") * frame.w2
    fixed, random = row_variances(fit, frame, scaled.to_numpy())
    found = fit.r2().shares["variance"]
    np.testing.assert_allclose(found, [fixed, random["school"], fit.sigma**2], rtol=1e-9)


RESIDUALS = {
    "by": cl.residual.By("arm"),
    "power": cl.residual.Power("se"),
    "ar1": cl.residual.AR1("when", within="who"),
    "cs": cl.residual.CompoundSymmetry(within="who"),
    "us": cl.residual.Unstructured("when", within="who"),
    "known": cl.residual.Known("se"),
}


@pytest.mark.parametrize("name", list(RESIDUALS))
def test_residual_structures(name: str) -> None:
    """The residual variance is the mean of those of the rows."""
    fit = cl.mixed("y ~ x + (1 | site)", PANEL, residual=RESIDUALS[name])
    variances = {
        "by": lambda: PANEL.arm.map(dict(zip(["control", "treated"], strata(fit), strict=True))),
        "power": lambda: fit.sigma**2 * (PANEL.se / np.exp(np.log(PANEL.se).mean())) ** (2.0 * fit.solution.phi[0]),
        "us": lambda: PANEL.when.map(dict(enumerate(strata(fit)))),
        "known": lambda: PANEL.se**2,
    }.get(name, lambda: np.full(len(PANEL), fit.sigma**2))
    fixed, random = row_variances(fit, PANEL)
    found = fit.r2()
    expected = [fixed, random["site"], float(np.mean(variances()))]
    np.testing.assert_allclose(found.shares["variance"], expected, rtol=1e-9)
    assert set(found.undefined) == {"prediction_error"}
    groups = found.reduction.index.get_level_values("group")
    assert ("Residual" in groups) == (name != "known")  # what is known cannot be reduced
    with pytest.raises(CrosslevelError, match="independent residuals with one variance"):
        fit.design_effect()
    if name not in ("ar1", "cs"):
        with pytest.raises(CrosslevelError, match="one residual variance"):
            fit.icc(kind="adjusted")


def strata(fit) -> np.ndarray:
    """Residual variances of the strata, the first one's parameter being sigma."""
    n = fit.solution.criterion.residual.variance.n_phi
    return fit.sigma**2 * np.exp(2.0 * np.append(0.0, fit.solution.phi[:n]))


def test_no_random_effects() -> None:
    fit = cl.mixed("y ~ x", PANEL, residual=cl.residual.AR1("when", within="who"))
    found = fit.r2()
    assert found.marginal == found.conditional
    assert found.reduction["r2"]["Residual", "", "intercept only"] > 0.0
    for ask in (fit.design_effect, lambda: fit.icc(kind="adjusted"), fit.heterogeneity):
        with pytest.raises(CrosslevelError):
            ask()


def test_multiple_membership() -> None:
    """A row has the effects of all its levels, by their shares."""
    fit = cl.mixed("y ~ x + (x | mm(a, b, weights=[wa, wb]))", DYADS)
    psi = fit.cov_re["mm(a, b)"].to_numpy()
    z = np.column_stack([np.ones(len(DYADS)), DYADS.x])
    together = np.where(DYADS.a == DYADS.b, (DYADS.wa + DYADS.wb) ** 2, DYADS.wa**2 + DYADS.wb**2)
    expected = float(np.mean(together * np.einsum("ni,ij,nj->n", z, psi, z)))
    found = fit.r2()
    assert found.random["mm(a, b)"] == pytest.approx(expected, rel=1e-10)
    assert set(found.undefined) == {"prediction_error", "decomposition"}
    assert fit.icc(kind="adjusted").estimate == pytest.approx(expected / (expected + fit.sigma**2), rel=1e-10)
    with pytest.raises(CrosslevelError, match="several levels"):
        fit.design_effect()


def test_singular_fit() -> None:
    fit = fit_case("Dyestuff2__ri_reml")
    found = fit.r2()
    assert found.marginal == found.conditional == 0.0
    assert np.isnan(found.reduction["r2"]["Batch", "Intercept", "intercept only"])  # zero of zero
    assert fit.design_effect().loc["Batch", "design_effect"] == 1.0
    assert fit.icc(kind="adjusted").estimate == 0.0
    assert np.isnan(fit.icc(kind="adjusted").conf_low)


def test_variances_next_to_zero_are_no_baselines() -> None:
    """The iterative algebra ends next to zero rather than at it."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.integers(0, 12, 300), "b": rng.integers(0, 9, 300), "x": rng.normal(size=300)})
    frame["y"] = rng.normal(size=300) + frame.x
    fits = [cl.mixed("y ~ x + (1 | a) + (1 | b)", frame, algebra=algebra) for algebra in ("exact", "iterative")]
    exact, iterative = (fit.r2().reduction["r2"] for fit in fits)
    assert exact.isna().tolist() == [False, True, False]
    pd.testing.assert_series_equal(exact, iterative, atol=1e-4)


def test_given_covariances_are_no_reductions(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ x + equalto(1 + x | school, V)", data, known={"V": np.diag([0.5, 0.2])})
    table = fit.r2().reduction
    assert list(table.index.get_level_values("group")) == ["Residual"]
    assert fit.r2().random["school"] == pytest.approx(0.5 + 0.2 * np.mean(data.x**2), rel=1e-10)


def test_iterative_and_streamed(data: pd.DataFrame, tmp_path) -> None:
    formula = "y ~ x + (1 | school) + (1 | room)"
    exact, iterative = cl.mixed(formula, data), cl.mixed(formula, data, algebra="iterative")
    np.testing.assert_allclose(iterative.r2().frame, exact.r2().frame, atol=0.02)
    fixed, random = row_variances(iterative, data)
    np.testing.assert_allclose(
        iterative.r2(null=None).shares["variance"], [fixed, *random.values(), iterative.sigma**2], rtol=1e-9
    )
    data.to_parquet(tmp_path / "rows.parquet")
    streamed, plain = cl.mixed(SLOPES, tmp_path / "rows.parquet"), cl.mixed(SLOPES, data)
    pd.testing.assert_frame_equal(streamed.r2().frame, plain.r2().frame, rtol=1e-4, atol=1e-7)
    pd.testing.assert_frame_equal(streamed.design_effect(), plain.design_effect(), rtol=1e-5)


def test_models_without_intercepts(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ 0 + x + (0 + x | school)", data)
    found = fit.r2()
    assert set(found.undefined) == {"prediction_error", "reduction"}
    with pytest.raises(CrosslevelError, match="no intercept"):
        _ = found.reduction
    with pytest.raises(CrosslevelError, match="needs a random intercept"):
        fit.design_effect()
    slope = cl.mixed("y ~ x + (0 + x | school)", data).r2()
    assert list(slope.reduction.index) == [("Residual", "", "intercept only")]


def test_crossed_models_say_why_they_have_no_decomposition(data: pd.DataFrame) -> None:
    found = cl.mixed(CROSSED, data).r2()
    with pytest.raises(CrosslevelError, match=r"one grouping factor.*school, room"):
        _ = found.decomposition
    assert "Without decomposition" in str(found)
    assert set(found.frame.index.get_level_values("method")) == {"nakagawa", "snijders-bosker", "raudenbush-bryk"}


def test_unknown_kind_of_icc(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ x + (1 | school)", data)
    with pytest.raises(CrosslevelError, match="`kind` is one of"):
        fit.icc(kind="marginal")
    for kind in ("intercept", "adjusted"):
        assert vars(fit.icc(kind=kind)) == pytest.approx(vars(fit.icc()), rel=1e-10)


def test_interval_of_the_average_icc_by_differences(data: pd.DataFrame) -> None:
    """The delta method, by differences of the share in (theta, log sigma, beta)."""
    fit = cl.mixed("y ~ x + z + (x | school)", data)
    components = fit.variance_components[0]
    solution, step = fit.solution, 1e-6
    moments = np.einsum("ni,nj->ij", *[np.column_stack([np.ones(len(data)), data.x])] * 2) / len(data)
    columns = np.column_stack([np.ones(len(data)), data.x, data.z])

    def share(change: np.ndarray, beta: np.ndarray) -> float:
        psi = components.covariance + components.jacobian @ change
        fixed = np.var(columns @ beta, ddof=1)
        random = np.sum(moments * psi)
        return float(random / (random + fixed + components.sigma2 * (1.0 + 2.0 * change[-1])))

    k, p = len(components.vcov), len(solution.beta)
    centre = share(np.zeros(k), solution.beta)
    in_theta = [(share(step * np.eye(k)[a], solution.beta) - centre) / step for a in range(k)]
    in_beta = [(share(np.zeros(k), solution.beta + step * np.eye(p)[a]) - centre) / step for a in range(p)]
    variance = in_theta @ components.vcov @ in_theta + in_beta @ solution.vcov @ in_beta
    assert fit.icc(kind="unadjusted").std_error == pytest.approx(np.sqrt(variance), rel=1e-4)


# -- design effects -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("formula", ["y ~ 1 + (1 | school)", "y ~ x + (1 | school) + (1 | school:room)",
                                     "y ~ x + (1 | school) + (1 | room)"])  # fmt: skip
def test_design_effect_is_the_variance_of_the_mean(data: pd.DataFrame, formula: str) -> None:
    fit = cl.mixed(formula, data)
    total = sum(psi.iloc[0, 0] for psi in fit.cov_re.values()) + fit.sigma**2
    variance, n = fit.sigma**2 / len(data), len(data)
    for name, psi in fit.cov_re.items():
        sizes = data.groupby(name.split(":")).size().to_numpy()
        variance += psi.iloc[0, 0] * np.sum(sizes**2) / n**2
    found = fit.design_effect()
    last = found.iloc[-1]
    assert last["design_effect"] == pytest.approx(variance / (total / n), rel=1e-10)
    assert last["effective_rows"] == pytest.approx(total / variance, rel=1e-10)
    assert np.all(found["conf_low"] < found["design_effect"])
    assert np.all(found["conf_high"] > found["design_effect"])
    assert (found.index[-1] == "all") == (len(fit.ngroups) > 1)


def test_design_effect_with_sampling_weights() -> None:
    """Of the weighted mean, by the whole covariance matrix."""
    frame = schools()
    fit = cl.mixed("y ~ 1 + (1 | school)", frame, method="ml", weights=cl.Sampling("w", scaling="size"))
    w = (frame.w / frame.groupby("school").w.transform("mean")).to_numpy()
    codes, tau, n = frame.school.to_numpy(), fit.cov_re["school"].iloc[0, 0], len(frame)
    V = tau * (codes[:, None] == codes) + fit.sigma**2 * np.eye(n)
    expected = (w @ V @ w / w.sum() ** 2) / ((tau + fit.sigma**2) / n)
    found = fit.design_effect().loc["school"]
    assert found["design_effect"] == pytest.approx(expected, rel=1e-10)
    assert found["weighting"] == pytest.approx(1.0 + np.var(w) / np.mean(w) ** 2, rel=1e-10)


def test_interval_of_the_joint_design_effect_by_differences(data: pd.DataFrame) -> None:
    fit = cl.mixed("y ~ x + (1 | school) + (1 | room)", data)
    parts = fit.variance_components
    sizes = fit.design_effect()["size"].to_numpy()[:-1]

    def effect(change: np.ndarray) -> float:
        tau = np.array([(part.covariance + part.jacobian @ change)[0, 0] for part in parts])
        sigma2 = parts[0].sigma2 * (1.0 + 2.0 * change[-1])
        return float((tau @ sizes + sigma2) / (tau.sum() + sigma2))

    k, step = len(parts[0].vcov), 1e-6
    centre = effect(np.zeros(k))
    slope = np.array([(np.log(effect(step * np.eye(k)[a])) - np.log(centre)) / step for a in range(k)])
    half = 1.959963984540054 * np.sqrt(slope @ parts[0].vcov @ slope)
    found = fit.design_effect().loc["all"]
    np.testing.assert_allclose(found[["conf_low", "conf_high"]], centre * np.exp([-half, half]), rtol=1e-4)
