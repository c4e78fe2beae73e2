"""Sampling weights: what they must and must not change, published results, dense twins, informative designs."""

import dense
import numpy as np
import pandas as pd
import pytest
from survey_weights import assert_same, fit, rooms, sampled, schools

import crosslevel as cl
from crosslevel.inference.sandwich import bread_and_meat, cluster_scores, joint_information, nested_scores

NESTED = "y ~ x + z + (x | school) + (1 | school:room)"


@pytest.fixture(scope="module")
def data():
    return schools()


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
    turn, p = criterion.coordinates.beta_map, len(solution.beta)
    chol = minimum.state.chol[:p, :p]
    bread = np.linalg.inv(chol @ chol.T * minimum.state.scale)
    for fitted, times, n_clusters in ((weighted, 4.0, 30), (robust, 2.0, 40)):
        meat = (scores[:, :p].T * np.where(np.arange(30) < 10, times, 1.0)) @ scores[:, :p]
        expected = bread @ meat @ bread * n_clusters / (n_clusters - 1)
        np.testing.assert_allclose(fitted.vcov, turn @ expected @ turn.T, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("scaling", ["size", "effective"])
def test_the_unit_of_row_weights_does_not_matter(data, scaling):
    """Neither in all clusters nor in each: overall weights, times the cluster's, are as good as conditional ones."""
    a = sampled(data, cl.Sampling("w", clusters={"school": "w2"}, scaling=scaling))
    for unit in (1000.0, data["w2"]):
        b = sampled(data.assign(w=data["w"] * unit), cl.Sampling("w", clusters={"school": "w2"}, scaling=scaling))
        assert_same(a, b)


@pytest.mark.parametrize("unit", [50.0, 1e-6, 1e7])
@pytest.mark.parametrize("seed", [1, 4])
def test_the_unit_of_cluster_weights_does_not_matter(seed, unit):
    """Though the deviance grows with it: weights may sum to a population."""
    data = schools(seed)
    a = sampled(data, cl.Sampling("w", clusters={"school": "w2"}))
    b = sampled(data.assign(w2=unit * data["w2"]), cl.Sampling("w", clusters={"school": "w2"}))
    pd.testing.assert_frame_equal(a.tidy(), b.tidy(), rtol=1e-6)
    pd.testing.assert_frame_equal(a.varcomp(), b.varcomp(), rtol=1e-5)
    nested = sampled(rooms(seed).assign(w2=unit), cl.Sampling("w", clusters={"school": "w2"}), NESTED)
    pd.testing.assert_frame_equal(nested.tidy(), sampled(rooms(seed), cl.Sampling("w"), NESTED).tidy(), rtol=1e-6)


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


def test_weights_at_three_levels_are_repeated_rows_rooms_and_schools():
    data = rooms()
    weights = cl.Sampling("whole", clusters={"school": "pair", "school:room": "rooms"}, scaling="none")
    ours = sampled(data, weights, NESTED)
    again = data.loc[data.index.repeat(data["whole"].astype(int))]
    again = pd.concat([again[again["rooms"] > k].assign(room=lambda d, k=k: d["room"] + 10 * k) for k in range(2)])
    again = pd.concat([again[again["pair"] > k].assign(school=lambda d, k=k: d["school"] + 100 * k) for k in range(3)])
    copied = fit(again.reset_index(drop=True), NESTED, method="ml")
    assert ours.deviance == pytest.approx(copied.deviance, rel=1e-11)
    pd.testing.assert_series_equal(ours.params, copied.params, rtol=1e-6)
    pd.testing.assert_series_equal(ours.varcomp()["estimate"], copied.varcomp()["estimate"], rtol=1e-4)


def test_weights_at_three_levels_as_in_stata():
    """Stata's `mixed [pw=], pweight()` as in the tests of R's WeMix (test-1-main.R), which agrees; 4 groups, so that
    the factor J / (J - 1) of the standard errors is 4 / 3."""
    data = cl.datasets.load("sleepstudy")
    subject = data["Subject"].astype(str)
    group = {name: 2 for name in ("310", "309", "349", "335")}
    group |= {name: 3 for name in ("330", "352", "337", "369")} | {name: 4 for name in ("331", "332", "334", "372")}
    data["Subject"], data["Group"] = subject, subject.map(group).fillna(1).astype(int)
    data["c1"] = np.where(np.arange(180) < 4, 2.0, 1.0)
    data["c2"] = np.where(subject == "308", 2.0, 1.0)
    data["c3"] = np.where(data["Group"] == 1, 2.0, 1.0)
    weights = cl.Sampling("c1", clusters={"Subject": "c2", "Group": "c3"}, scaling="none")
    ours = sampled(data, weights, "Reaction ~ Days + (1 | Subject) + (1 | Group)")
    assert ours.loglik == pytest.approx(-1389.0983, abs=1e-4)
    np.testing.assert_allclose(ours.params, [243.6831, 12.67954], rtol=1e-6)
    np.testing.assert_allclose(ours.bse, [11.68881, 2.468474], rtol=1e-5)
    np.testing.assert_allclose(ours.varcomp()["estimate"], [360.97, 756.5857, 1153.704], rtol=1e-4)
    slopes = sampled(data, weights, "Reaction ~ Days + (1 | Subject) + (1 | Group) + (0 + Days | Group)")
    assert slopes.loglik == pytest.approx(-1377.6876, abs=1e-4)
    np.testing.assert_allclose(slopes.params, [247.6234, 11.71211], rtol=1e-6)
    np.testing.assert_allclose(slopes.bse, [9.97378, 2.60348], rtol=1e-5)


def test_equal_weights_at_three_levels_are_no_weights():
    data = rooms().assign(one=1.0)
    weights = cl.Sampling("one", clusters={"school": "one", "school:room": "one"})
    ours, plain = sampled(data, weights, NESTED), fit(data, NESTED, method="ml")
    assert ours.deviance == pytest.approx(plain.deviance, rel=1e-12)
    pd.testing.assert_series_equal(ours.params, plain.params, rtol=1e-8)


@pytest.fixture(scope="module")
def nested():
    """A fit with weights at three levels, and the log-likelihood of each school at (beta, theta, log sigma)."""
    data = rooms(3)
    weights = cl.Sampling("w", clusters={"school": "w2", "school:room": "some"})
    ours = sampled(data, weights, NESTED)
    assert not ours.is_singular
    rows, solution = ours.design.weights.rows, ours.solution
    criterion, p = solution.criterion, len(solution.beta)

    X = np.column_stack([np.ones(len(data)), data["x"], data["z"]])
    grouped = data.groupby(["school", "room"])
    found = [(g, part.index.to_numpy(), part["some"].iloc[0]) for (g, _), part in grouped]
    rooms_of = [[(i, rows[i], times) for school, i, times in found if school == g] for g in range(14)]

    def by_school(at: np.ndarray) -> np.ndarray:
        beta = criterion.coordinates.coefficients(at[:p])
        sigma2, start, psis = np.exp(2.0 * at[-1]) * criterion.coordinates.scale[-1] ** 2, p, []
        for structure, basis in zip(criterion.structures, criterion.bases, strict=True):
            factor = np.linalg.solve(basis, structure.factor(at[start : start + structure.n_theta]))
            start += structure.n_theta
            psis.append(factor @ factor.T)
        e = data["y"].to_numpy() - X @ beta
        return np.array([school_loglik(part, e, X[:, :2], psis, sigma2) for part in rooms_of])

    return ours, by_school


def school_loglik(own_rooms, e, Z, psis, sigma2):
    """Log of the integral over a school's effects of the product of its rooms' integrals to the power of their weights.

    Every integral is Gaussian: a room leaves exp(c + l'b - b'Pb / 2) of the effects b of its school. With weights w,
    V^-1 = (W - w w' / (sigma^2 / tau + 1'w)) / sigma^2 of e given b.
    """
    precision, linear, constant = np.zeros((2, 2)), np.zeros(2), 0.0
    tau = sigma2 * psis[1][0, 0]
    for i, w, times in own_rooms:
        total = w.sum()
        both = np.column_stack([e[i], Z[i]])
        sums = w @ both
        inner = ((both.T * w) @ both - np.outer(sums, sums) / (sigma2 / tau + total)) / sigma2
        log_det = np.log1p(tau * total / sigma2)
        constant -= 0.5 * times * (total * np.log(2 * np.pi * sigma2) + log_det + inner[0, 0])
        linear += times * inner[0, 1:]
        precision += times * inner[1:, 1:]
    covariance = sigma2 * psis[0]
    outer = np.linalg.solve(np.eye(2) + covariance @ precision, covariance)
    return constant + 0.5 * linear @ outer @ linear - 0.5 * np.linalg.slogdet(np.eye(2) + covariance @ precision)[1]


def test_pseudo_likelihood_scores_and_sandwich_at_three_levels(nested):
    ours, by_school = nested
    criterion, minimum = ours.solution.criterion, ours.solution.minimum
    at, theta, p = minimum.state, minimum.theta, len(ours.params)
    outer = ours.design.weights.outermost
    counts = criterion.weights[outer]
    point = np.concatenate([at.beta, theta, [0.5 * np.log(at.rss / at.nu)]])
    assert ours.loglik == pytest.approx(counts @ by_school(point), rel=1e-11)

    scores = nested_scores(criterion, at, theta, ours.design)
    differences = dense.gradient(by_school, point, step=1e-3).T
    assert np.abs(scores - differences).max() <= 1e-6 * np.abs(differences).max()
    twin = -dense.hessian(lambda x: counts @ by_school(x), point, step=4e-3)
    information = joint_information(criterion, at, theta, at.cross, criterion.weights)
    size = np.sqrt(np.diag(twin))
    assert np.abs((information - twin) / np.outer(size, size)).max() <= 1e-6

    twin[:p, p:] = twin[p:, :p] = 0.0
    expected = bread_and_meat(twin, differences, counts, np.ones(len(point), dtype=bool))
    turn = criterion.coordinates.beta_map
    np.testing.assert_allclose(ours.vcov, turn @ expected[:p, :p] @ turn.T, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(ours.solution.parameter_vcov, expected[p:, p:], rtol=1e-4, atol=1e-9)


def test_sampling_weights_of_several_memberships_are_refused(data):
    rng = np.random.default_rng(1)
    some = data.assign(t1=rng.integers(0, 9, len(data)), t2=rng.integers(0, 9, len(data)))
    with pytest.raises(cl.DesignError, match=r"rows belong to several levels of mm\(t1, t2\)"):
        fit(some, "y ~ x + (1 | mm(t1, t2))", weights=cl.Sampling("w"), method="ml")


def test_sampling_weights_of_crossed_factors_are_refused(data):
    crossed = data.assign(item=np.arange(len(data)) % 40)
    with pytest.raises(cl.DesignError, match="item and school are not nested"):
        fit(crossed, "y ~ x + (1 | school) + (1 | item)", weights=cl.Sampling("w"), method="ml")


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


def test_no_coefficient_has_more_degrees_of_freedom_than_the_sandwich_has_clusters() -> None:
    data = cl.datasets.load("sleepstudy").assign(w=1.0, v=np.linspace(1.0, 2.0, 180))
    data["v"] = data.groupby("Subject")["v"].transform("first")
    weights = cl.Sampling("w", clusters={"Subject": "v"})
    df = cl.mixed("Reaction ~ Days + (1 | Subject)", data, method="ml", weights=weights).df
    assert df.to_dict() == {"Intercept": 17.0, "Days": 17.0}
