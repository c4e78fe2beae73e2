"""`weights=` of `mixed`: the three readings, what they must and must not change, and wrong weights."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_data
from survey_weights import assert_same, fit, sampled, schools

import crosslevel as cl

REFERENCE = Path(__file__).parent / "reference" / "weights"
METHODS = pytest.mark.parametrize("method", ["reml", "ml"])


@pytest.fixture(scope="module")
def data():
    return schools()


# -- precision --------------------------------------------------------------------------------------------------------


def test_precision_weights_as_in_lme4():
    expected = json.loads((REFERENCE / "sleepstudy__rs_weighted_reml.json").read_text(encoding="utf-8"))
    ours = fit(load_data("sleepstudy"), "Reaction ~ Days + (Days | Subject)", weights=cl.Precision("w"))
    assert ours.deviance == pytest.approx(expected["remlcrit"], rel=1e-11)
    for at in expected["criterion_at"]:
        assert ours.criterion_at(np.array(at["theta"])) == pytest.approx(at["value"], rel=1e-10)
    np.testing.assert_allclose(ours.params, list(expected["fixef"].values()), rtol=1e-7)
    np.testing.assert_allclose(ours.bse, list(expected["se"].values()), rtol=1e-5)
    assert ours.sigma == pytest.approx(expected["sigma"], rel=1e-6)
    assert (ours.nobs, ours.aic) == (expected["nobs"], pytest.approx(expected["aic"], rel=1e-11))
    assert ours.bic == pytest.approx(expected["bic"], rel=1e-11)
    modes = ours.ranef()["Subject"]
    for subject, row in expected["ranef"]["Subject"].items():
        np.testing.assert_allclose(modes.loc[subject, ["Intercept", "Days"]], list(row.values()), atol=2e-4)
    for subject, row in expected["ranef_se"]["Subject"].items():
        np.testing.assert_allclose(modes.loc[subject, ["Intercept_se", "Days_se"]], list(row.values()), rtol=1e-4)
    np.testing.assert_allclose(ours.fitted.head(10), expected["fitted_head"], rtol=1e-6)


@METHODS
def test_constant_precisions_are_none(data, method):
    assert_same(fit(data.assign(c=1.0), weights=cl.Precision("c"), method=method), fit(data, method=method))


@METHODS
def test_the_unit_of_precisions_changes_sigma_only(data, method):
    a = fit(data, weights=cl.Precision("w"), method=method)
    b = fit(data.assign(w=100.0 * data["w"]), weights=cl.Precision("w"), method=method)
    assert b.deviance == pytest.approx(a.deviance, rel=1e-11)
    assert b.sigma == pytest.approx(10.0 * a.sigma, rel=1e-8)
    pd.testing.assert_frame_equal(a.tidy(), b.tidy(), rtol=1e-6)
    pd.testing.assert_frame_equal(a.cov_re["school"], b.cov_re["school"], rtol=1e-5)
    pd.testing.assert_frame_equal(a.ranef()["school"], b.ranef()["school"], rtol=1e-5, atol=1e-8)
    pd.testing.assert_series_equal(a.fitted, b.fitted, rtol=1e-7)


def test_precisions_are_the_rows_of_means():
    """Means of w equal rows each, weighted by w, have the estimates of a model that has no variance between them."""
    data = schools(3)
    a = fit(data.assign(c=2.0), weights=cl.Precision("c"), method="ml")
    b = fit(data, method="ml")
    assert a.sigma**2 == pytest.approx(2.0 * b.sigma**2, rel=1e-8)


# -- frequency --------------------------------------------------------------------------------------------------------


@METHODS
def test_a_frequency_is_a_repeated_row_and_zero_is_none(data, method):
    repeated = data.loc[data.index.repeat(data["f"])].reset_index(drop=True)
    a, b = fit(data, weights=cl.Frequency("f"), method=method), fit(repeated, method=method)
    assert_same(a, b)
    assert a.nobs == len(repeated)
    assert a.ngroups == b.ngroups
    pd.testing.assert_series_equal(a.group_sizes, b.group_sizes)
    pd.testing.assert_frame_equal(a.reliability().clusters, b.reliability().clusters, rtol=1e-6)
    np.testing.assert_allclose(a.test_random()["p_value"], b.test_random()["p_value"], rtol=1e-6)
    assert a.rows.weightless == int((data["f"] == 0).sum())
    assert a.rows.dropped == 0
    pd.testing.assert_series_equal(a.fitted.repeat(data.loc[a.fitted.index, "f"]).reset_index(drop=True), b.fitted)
    assert "left out for a weight of zero" in " ".join(str(a.summary()).split())


def test_a_frequency_of_two_is_the_data_twice(data):
    assert_same(fit(data.assign(two=2), weights=cl.Frequency("two")), fit(pd.concat([data, data])))


def test_formulas_remember_what_the_repeated_rows_would_have():
    data = schools(9)
    data["kind"] = np.array(["a", "b", "c"])[np.arange(len(data)) % 3]
    repeated = data.loc[data.index.repeat(data["f"])].reset_index(drop=True)
    formula = "y ~ within(x, school) + between(x, school) + scale(w) + center(z) + wec(kind) + (1 | school)"
    a, b = fit(data, formula, weights=cl.Frequency("f")), fit(repeated, formula)
    assert_same(a, b)
    with pytest.raises(cl.DataError, match=r"poly\(\), which looks at all rows and knows no frequency weights"):
        fit(data, "y ~ poly(x, 2) + (1 | school)", weights=cl.Frequency("f"))
    assert_same(
        fit(data, "y ~ C(kind, contr.sum) + log(w) + (1 | school)", weights=cl.Frequency("f")),
        fit(repeated, "y ~ C(kind, contr.sum) + log(w) + (1 | school)"),
    )


def test_frequencies_with_two_factors():
    data = schools(4, n_clusters=12, size=20)
    data["item"] = np.arange(len(data)) % 7
    formula = "y ~ x + (1 | school) + (1 | item)"
    repeated = data.loc[data.index.repeat(data["f"])].reset_index(drop=True)
    a, b = fit(data, formula, weights=cl.Frequency("f")), fit(repeated, formula)
    assert a.deviance == pytest.approx(b.deviance, rel=1e-11)
    pd.testing.assert_frame_equal(a.tidy(), b.tidy(), rtol=1e-6)
    assert a.sizes_of("item").tolist() == b.sizes_of("item").tolist()


def test_frequencies_and_precisions_with_several_memberships():
    data, rng = schools(6, n_clusters=12, size=20), np.random.default_rng(1)
    data = data.assign(t1=rng.integers(0, 9, len(data)), t2=rng.integers(0, 9, len(data)), two=2.0)
    formula = "y ~ x + (1 | mm(t1, t2))"
    repeated = data.loc[data.index.repeat(data["f"])].reset_index(drop=True)
    a, b = fit(data, formula, weights=cl.Frequency("f")), fit(repeated, formula)
    assert a.deviance == pytest.approx(b.deviance, rel=1e-11)
    pd.testing.assert_frame_equal(a.tidy(), b.tidy(), rtol=1e-6)
    pd.testing.assert_series_equal(a.group_sizes, b.group_sizes)
    plain, same = fit(data, formula), fit(data, formula, weights=cl.Precision("two"))
    assert same.deviance == pytest.approx(plain.deviance, rel=1e-11)
    assert same.sigma == pytest.approx(np.sqrt(2.0) * plain.sigma, rel=1e-7)


def test_precisions_with_two_factors():
    data = schools(5, n_clusters=12, size=20)
    data["item"] = np.arange(len(data)) % 7
    formula = "y ~ x + (x | school) + (1 | item)"
    a = fit(data, formula, weights=cl.Precision("w"))
    rows = pd.get_dummies(data["school"]).to_numpy(float), pd.get_dummies(data["item"]).to_numpy(float)
    Z = np.hstack([rows[0], rows[0] * data[["x"]].to_numpy(), rows[1]])
    psi = a.cov_re["school"].to_numpy()
    covariance = np.kron(psi, np.eye(12))
    covariance = np.block(
        [[covariance, np.zeros((24, 7))], [np.zeros((7, 24)), a.cov_re["item"].iloc[0, 0] * np.eye(7)]]
    )
    V = np.diag(a.sigma**2 / data["w"]) + Z @ covariance @ Z.T
    X = np.column_stack([np.ones(len(data)), data["x"]])
    precision = np.linalg.inv(V)
    information = X.T @ precision @ X
    beta = np.linalg.solve(information, X.T @ precision @ data["y"])
    resid = data["y"] - X @ beta
    twin = (len(data) - 2) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + np.linalg.slogdet(information)[1]
    assert a.deviance == pytest.approx(twin + resid @ precision @ resid, rel=1e-9)
    np.testing.assert_allclose(a.params, beta, rtol=1e-7)


# -- what comes with weights ------------------------------------------------------------------------------------------


def test_missing_weights_are_missing_values(data):
    some = data.copy()
    some.loc[[3, 40], "w"] = np.nan
    ours = fit(some, weights=cl.Precision("w"))
    assert ours.rows.missing == {"w": 2}
    assert_same(ours, fit(some.dropna(), weights=cl.Precision("w")))
    with pytest.raises(cl.DesignError, match=r"2 rows with missing values: w \(2\)"):
        fit(some, weights=cl.Precision("w"), missing="raise")


def test_update_and_refit_keep_the_weights(data):
    ours = fit(data, weights=cl.Precision("w"))
    assert_same(ours.refit(data["y"].to_numpy()), ours)
    smaller = ours.update("~ . - z")
    assert_same(smaller, fit(data, "y ~ x + (x | school)", weights=cl.Precision("w")))
    assert ours.update(weights=None).deviance == pytest.approx(fit(data).deviance, rel=1e-12)


def test_unsorted_rows_and_other_frames_give_the_same(data):
    polars = pytest.importorskip("polars")
    ours = fit(data, weights=cl.Precision("w"))
    mixed_up = data.sample(frac=1.0, random_state=1)
    assert_same(fit(mixed_up, weights=cl.Precision("w")), ours)
    assert_same(fit(polars.from_pandas(data), weights=cl.Precision("w")), ours)
    weights = cl.Sampling("w", clusters={"school": "w2"})
    assert_same(sampled(mixed_up, weights), sampled(data, weights))


def test_weights_in_words(data):
    record = fit(data, weights=cl.Precision("w")).to_dict()
    assert "N(0, σ² / w)" in str(fit(data, weights=cl.Precision("w")).summary())
    assert record["weights"] == "precision w: residual variance sigma\u00b2 / w"
    assert fit(data).to_dict()["weights"] is None


# -- wrong weights ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["w", np.ones(3), [1.0, 2.0], 3])
def test_weights_without_a_reading_are_refused(data, given):
    with pytest.raises(cl.CrosslevelError, match=r"has to say what they mean.*cl.Precision.*cl.Frequency.*cl.Sampling"):
        fit(data, weights=given)


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ({"w": -1.0}, cl.Precision("w"), r"negative in 1 row of 'w' \(smallest: -1\)"),
        ({"w": 0.0}, cl.Precision("w"), "zero in 1 row of 'w': a precision of zero is an infinite residual variance"),
        ({"w": np.inf}, cl.Precision("w"), "infinite in 1 row of 'w'"),
        ({"w": 1.5}, cl.Frequency("w"), "not whole numbers in .* of 'w'"),
        ({"w": -2.0}, cl.Sampling("w"), "negative in 1 row of 'w'"),
        ({"w2": 99.0}, cl.Sampling(clusters={"school": "w2"}), "'w2', differ within 1 of the 30 clusters"),
        (
            {},
            cl.Sampling(clusters={"town": "w2"}),
            r"clusters of 'town'; the grouping factors of the model are 'school'",
        ),
    ],
)
def test_wrong_weights_are_named(data, values, weights, message):
    wrong = data.copy()
    for name, value in values.items():
        wrong.loc[5, name] = value
    with pytest.raises(cl.CrosslevelError, match=message):
        fit(wrong, weights=weights, method="ml")


def test_weights_that_are_no_column_are_named(data):
    with pytest.raises(cl.ColumnNotFoundError, match="`weights` uses 'weight'"):
        fit(data, weights=cl.Precision("weight"))
    with pytest.raises(cl.DataError, match="where numbers are needed"):
        fit(data.assign(w="a"), weights=cl.Precision("w"))
    with pytest.raises(cl.DataError, match="are zero in all rows"):
        fit(data.assign(f=0), weights=cl.Frequency("f"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cl.Precision(np.ones(3)), "takes the name of a column"),
        (lambda: cl.Frequency(2), "takes the name of a column"),
        (lambda: cl.Sampling(), "row weights, of cluster weights, or both; got neither"),
        (lambda: cl.Sampling("w", clusters="w2"), "names for each grouping factor its column"),
        (lambda: cl.Sampling("w", scaling="sizes"), "'size', 'effective' or 'none'; got 'sizes'"),
    ],
)
def test_wrong_readings_are_refused(make, message):
    with pytest.raises(cl.CrosslevelError, match=message):
        make()


# -- offset -----------------------------------------------------------------------------------------------------------


@METHODS
def test_an_offset_is_subtracted_and_added_again(data, method):
    known = data.assign(known=3.0 * data["x"] + 10.0)
    a = fit(known, offset="known", method=method)
    b = fit(known.assign(y=known["y"] - known["known"]), method=method)
    assert_same(a, b)
    pd.testing.assert_series_equal(a.fitted, b.fitted + known["known"], check_names=False)
    pd.testing.assert_series_equal(a.resid, b.resid, rtol=1e-6)
    np.testing.assert_allclose(a.augment()["y"], data["y"])
    new = known.head(7).drop(columns="y")
    np.testing.assert_allclose(a.predict(new), a.fitted.head(7), rtol=1e-9)
    np.testing.assert_allclose(a.predict(new, random_effects=False), a.predict(random_effects=False).head(7))
    assert_same(fit(known, offset=known["known"].to_numpy(), method=method), a)
    assert "Offset" in str(a.summary())
    assert_same(a.refit(data["y"].to_numpy()), a)


def test_missing_and_wrong_offsets(data):
    known = data.assign(known=data["x"])
    known.loc[4, "known"] = np.nan
    by_name, as_numbers = fit(known, offset="known"), fit(known, offset=known["known"].to_numpy())
    assert_same(by_name, as_numbers)
    assert (by_name.rows.missing, as_numbers.rows.missing) == ({"known": 1}, {"offset": 1})
    with pytest.raises(cl.CrosslevelError, match="given as numbers for the rows of the fit"):
        as_numbers.predict(known.head(3))
    with pytest.raises(cl.FormulaError, match="Give offset='x' beside the formula"):
        fit(data, "y ~ x + offset(z) + (1 | school)")
    with pytest.raises(cl.ColumnNotFoundError, match="`new` uses 'known'"):
        by_name.predict(data.head(3))
    with pytest.raises(cl.ColumnNotFoundError, match=r"`offset` uses 'knwon'.*'known' for 'knwon'"):
        fit(known, offset="knwon")
    with pytest.raises(cl.DesignError, match=r"one number for each of the \d+ rows"):
        fit(known, offset=np.ones(3))
    with pytest.raises(cl.DesignError, match="is infinite in 1 rows"):
        fit(known, offset=np.where(np.arange(len(known)) == 2, np.inf, 0.0))
    with pytest.raises(cl.DesignError, match="name of a column or one number per row"):
        fit(known, offset=["a"] * len(known))
