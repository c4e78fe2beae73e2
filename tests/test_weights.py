"""`weights=` of `mixed`: the three readings, what they must and must not change, and wrong weights."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_data

import crosslevel as cl
from crosslevel.inference.sandwich import cluster_scores, joint_information

FORMULA = "y ~ x + z + (x | school)"
REFERENCE = Path(__file__).parent / "reference" / "weights"
METHODS = pytest.mark.parametrize("method", ["reml", "ml"])


def schools(seed: int = 1, n_clusters: int = 30, size: int = 30) -> pd.DataFrame:
    """Schools of 15 to `size` rows with weights of all kinds."""
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(n_clusters), rng.integers(15, size + 1, n_clusters))
    n = len(school)
    x, z, u = rng.normal(size=n), rng.normal(size=n_clusters), rng.normal(size=(n_clusters, 2)) * [0.8, 0.4]
    y = 1.0 + 0.5 * x + 0.3 * z[school] + u[school, 0] + u[school, 1] * x + rng.normal(size=n)
    return pd.DataFrame(
        {
            "y": y,
            "x": x,
            "z": z[school],
            "school": school,
            "w": rng.lognormal(0.0, 0.5, n),
            "f": rng.integers(0, 4, n),
            "w2": rng.lognormal(0.0, 0.5, n_clusters)[school],
        }
    )


@pytest.fixture(scope="module")
def data():
    return schools()


def fit(data, formula=FORMULA, **arguments):
    return cl.mixed(formula, data, **arguments)


def assert_same(a, b, rtol=1e-6):
    """All that two fits say of the model, though not of rows."""
    assert a.deviance == pytest.approx(b.deviance, rel=1e-11)
    pd.testing.assert_frame_equal(a.tidy(), b.tidy(), rtol=rtol)
    pd.testing.assert_frame_equal(a.varcomp(), b.varcomp(), rtol=10 * rtol)
    pd.testing.assert_frame_equal(a.glance(), b.glance(), rtol=rtol)
    for name in a.ranef():
        pd.testing.assert_frame_equal(a.ranef()[name], b.ranef()[name], rtol=10 * rtol, atol=1e-8)
    assert a.icc().estimate == pytest.approx(b.icc().estimate, rel=rtol)


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
    assert a.test_random().p_value == pytest.approx(b.test_random().p_value, rel=1e-6)
    assert a.rows.weightless == int((data["f"] == 0).sum())
    assert a.rows.dropped == 0
    pd.testing.assert_series_equal(a.fitted.repeat(data.loc[a.fitted.index, "f"]).reset_index(drop=True), b.fitted)
    assert "left out for a weight of zero" in " ".join(str(a.summary()).split())


def test_a_frequency_of_two_is_the_data_twice(data):
    assert_same(fit(data.assign(two=2), weights=cl.Frequency("two")), fit(pd.concat([data, data])))


def test_frequencies_with_two_factors():
    data = schools(4, n_clusters=12, size=20)
    data["item"] = np.arange(len(data)) % 7
    formula = "y ~ x + (1 | school) + (1 | item)"
    repeated = data.loc[data.index.repeat(data["f"])].reset_index(drop=True)
    a, b = fit(data, formula, weights=cl.Frequency("f")), fit(repeated, formula)
    assert a.deviance == pytest.approx(b.deviance, rel=1e-11)
    pd.testing.assert_frame_equal(a.tidy(), b.tidy(), rtol=1e-6)
    assert a.sizes_of("item").tolist() == b.sizes_of("item").tolist()


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


# -- sampling ---------------------------------------------------------------------------------------------------------


def sampled(data, weights, formula=FORMULA):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.DataWarning)
        return fit(data, formula, weights=weights, method="ml")


def test_equal_weights_are_no_weights(data):
    plain = fit(data, method="ml")
    both = data.assign(one=3.0, same=7.0)
    for scaling in ("size", "effective"):
        ours = sampled(both, cl.Sampling("one", clusters={"school": "same"}, scaling=scaling))
        pd.testing.assert_series_equal(ours.params, plain.params, rtol=1e-7)
        pd.testing.assert_frame_equal(ours.cov_re["school"], plain.cov_re["school"], rtol=1e-5)
        assert ours.sigma == pytest.approx(plain.sigma, rel=1e-8)
        assert ours.deviance == pytest.approx(7.0 * plain.deviance, rel=1e-11)
    unscaled = sampled(both.assign(one=1.0, same=1.0), cl.Sampling("one", clusters={"school": "same"}, scaling="none"))
    assert unscaled.deviance == pytest.approx(plain.deviance, rel=1e-12)
    assert unscaled.nobs == len(data)


def test_weight_two_on_a_cluster_is_the_cluster_twice(data):
    twice = data["school"] < 10
    weighted = sampled(data.assign(w2=np.where(twice, 2.0, 1.0)), cl.Sampling(clusters={"school": "w2"}))
    again = pd.concat([data, data[twice].assign(school=data["school"] + 1000)], ignore_index=True)
    copied = fit(again, method="ml")
    pd.testing.assert_series_equal(weighted.params, copied.params, rtol=1e-7)
    pd.testing.assert_frame_equal(weighted.cov_re["school"], copied.cov_re["school"], rtol=1e-5)
    assert weighted.deviance == pytest.approx(copied.deviance, rel=1e-12)

    # the sandwich has the cluster's score once, times 4, where two clusters have it twice
    robust = sampled(again.assign(one=1.0), cl.Sampling(clusters={"school": "one"}))
    solution, products = weighted.solution, weighted.design.products
    columns = np.append(weighted.design.x, len(products.names) - 1)
    criterion, minimum = solution.criterion, solution.minimum
    scores = cluster_scores(criterion, minimum.state, minimum.theta, products, columns)
    bread = np.linalg.inv(joint_information(criterion, minimum))
    turn, p = criterion.coordinates.beta_map, len(solution.beta)
    for fitted, times, n_clusters in ((weighted, 4.0, 30), (robust, 2.0, 40)):
        meat = (scores.T * np.where(np.arange(30) < 10, times, 1.0)) @ scores
        expected = (bread @ meat @ bread)[:p, :p] * n_clusters / (n_clusters - 1)
        np.testing.assert_allclose(fitted.vcov, turn @ expected @ turn.T, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("scaling", ["size", "effective"])
def test_the_unit_of_row_weights_does_not_matter(data, scaling):
    """Neither in all clusters nor in each: overall weights, times the cluster's, are as good as conditional ones."""
    a = sampled(data, cl.Sampling("w", clusters={"school": "w2"}, scaling=scaling))
    for unit in (1000.0, data["w2"]):
        b = sampled(data.assign(w=data["w"] * unit), cl.Sampling("w", clusters={"school": "w2"}, scaling=scaling))
        assert_same(a, b)


def test_the_unit_of_cluster_weights_does_not_matter(data):
    a = sampled(data, cl.Sampling("w", clusters={"school": "w2"}))
    b = sampled(data.assign(w2=50.0 * data["w2"]), cl.Sampling("w", clusters={"school": "w2"}))
    pd.testing.assert_frame_equal(a.tidy(), b.tidy(), rtol=1e-6)
    pd.testing.assert_frame_equal(a.varcomp(), b.varcomp(), rtol=1e-5)


def test_published_pseudo_likelihoods():
    """Log-likelihoods of R's lme4 with rows or subjects repeated, as in the tests of the R package WeMix (2-5-2022)."""
    data = cl.datasets.load("sleepstudy")
    data["w"] = np.where(data["Subject"].astype(str).isin(["308", "309", "310"]), 2.0, 1.0)
    formula = "Reaction ~ Days + (1 | Subject)"
    rows = sampled(data, cl.Sampling("w", scaling="none"), formula)
    assert rows.loglik == pytest.approx(-1048.34318418762, rel=1e-12)
    assert fit(data, formula, weights=cl.Frequency("w"), method="ml").loglik == pytest.approx(rows.loglik, rel=1e-12)
    clusters = sampled(data, cl.Sampling(clusters={"Subject": "w"}), formula)
    assert clusters.loglik == pytest.approx(-1055.34690957995, rel=1e-12)


def test_sandwich_of_a_model_without_variance_between_clusters():
    """Then it is that of least squares, by cluster, with the factor J / (J - 1)."""
    rng = np.random.default_rng(8)
    data = pd.DataFrame({"x": rng.normal(size=400), "g": np.repeat(np.arange(20), 20), "w2": 1.0})
    noise = rng.normal(size=(20, 20))
    data["y"] = data["x"] + (noise - noise.mean(axis=1, keepdims=True)).ravel()
    ours = sampled(data, cl.Sampling(clusters={"g": "w2"}), "y ~ x + (1 | g)")
    assert ours.is_singular
    X = np.column_stack([np.ones(400), data["x"]])
    beta = np.linalg.lstsq(X, data["y"], rcond=None)[0]
    scores = np.array([X[part].T @ (data["y"] - X @ beta)[part] for part in data.groupby("g").groups.values()])
    bread = np.linalg.inv(X.T @ X)
    np.testing.assert_allclose(ours.vcov, bread @ scores.T @ scores @ bread * 20.0 / 19.0, rtol=1e-7)
    assert ours.varcomp()["std_error"].notna().tolist() == [False, True]


def test_reml_is_refused_with_the_reason(data):
    with pytest.raises(cl.CrosslevelError, match=r"need method='ml'.*restricted likelihood is no sum"):
        fit(data, weights=cl.Sampling("w"))


def test_likelihood_ratios_are_refused(data):
    ours = sampled(data, cl.Sampling("w"))
    with pytest.raises(cl.CrosslevelError, match="pseudo-likelihoods, whose ratio"):
        ours.test_random()
    assert ours.to_dict()["test_random"] is None
    text = str(ours.summary())
    assert "pseudo-maximum likelihood" in text
    assert "sandwich" in text


def test_small_clusters_and_row_weights_raise_one_warning():
    data = schools(6, n_clusters=40, size=16)
    with pytest.warns(cl.DataWarning, match=r"15\.\d rows on average.*'size', 'effective' and 'none'") as caught:
        ours = fit(data, weights=cl.Sampling("w"), method="ml")
    assert len(caught) == 1
    assert any("rows on average" in note for note in ours.notes)
    fit(data.assign(w=2.0), weights=cl.Sampling("w"), method="ml")  # the same in all rows: nothing to choose
    fit(data, weights=cl.Sampling(clusters={"school": "w2"}), method="ml")  # no weights of rows
    large = schools(7, size=40)
    fit(large, weights=cl.Sampling("w"), method="ml")


def test_informative_weights():
    """Clusters and rows drawn by their random effects: without weights the intercept is biased, with them it is not."""
    truth, tau, sigma, replications, n_schools, size = 2.0, 0.7, 1.0, 40, 1000, 100
    estimates = []
    for seed in range(replications):
        rng = np.random.default_rng(seed)
        u = rng.normal(0.0, tau, n_schools)
        p2 = np.where(u > 0.0, 0.3, 0.15)
        school = np.repeat(np.flatnonzero(rng.random(n_schools) < p2), size)
        e = rng.normal(0.0, sigma, len(school))
        p1 = np.where(e > 0.0, 0.75, 0.35)
        kept = rng.random(len(school)) < p1
        frame = pd.DataFrame({"y": truth + u[school] + e, "school": school, "w": 1 / p1, "w2": 1 / p2[school]})[kept]
        plain = fit(frame, "y ~ 1 + (1 | school)", method="ml")
        ours = fit(frame, "y ~ 1 + (1 | school)", weights=cl.Sampling("w", clusters={"school": "w2"}), method="ml")
        components = ours.varcomp().set_index("kind")["estimate"]
        covered = abs(ours.params.iloc[0] - truth) <= 1.96 * ours.bse.iloc[0]
        estimates.append([plain.params.iloc[0], ours.params.iloc[0], *components[["variance", "residual"]], covered])
    means = np.mean(estimates, axis=0)
    errors = np.std(estimates, axis=0, ddof=1) / np.sqrt(replications)
    assert means[0] - truth > 10.0 * errors[0]
    assert abs(means[1] - truth) <= 3.0 * errors[1]
    assert abs(means[2] - tau**2) <= 3.0 * errors[2]
    assert abs(means[3] - sigma**2) <= 3.0 * errors[3]
    assert means[4] >= 0.85


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
