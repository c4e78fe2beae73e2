"""GLM, conditional logit and GEE: against R and statsmodels, brute force, and what they owe their users."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, load_data

import crosslevel as cl
from crosslevel.kernels.conditional import conditional_likelihood, conditional_means

REFERENCE = json.loads((FOLDER / "responses" / "responses.json").read_text(encoding="utf-8"))
LOGIT = "use ~ age + urban + livch"
COUNTS = "y ~ lbase * trt + lage"
ORDER = [0, 1, 3, 2, 4]  # of lbase, trt, lage, lbase:trt in R's order of terms: Intercept lbase trt lage lbase:trt


@cache
def women() -> pd.DataFrame:
    return load_data("Contraception")


@cache
def epileptics() -> pd.DataFrame:
    return load_data("epil")


@cache
def fitted(link: str) -> Any:
    if link == "poisson":
        return cl.glm(COUNTS, epileptics(), family="poisson", cluster="subject")
    return cl.glm(LOGIT, women(), family=cl.families.Binomial(link=link), cluster="district")


# -- GLM ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "poisson"])
def test_glm_of_r(link: str) -> None:
    fit, theirs = fitted(link), REFERENCE[link]
    assert np.all(np.abs(fit.beta - theirs["coef"]) < 1e-6 * np.array(theirs["se"]))
    np.testing.assert_allclose(fit.tests("iid")["std_error"], theirs["se"], rtol=1e-7)
    assert fit.loglik == pytest.approx(theirs["loglik"], abs=1e-9)
    assert -0.5 * fit.null_deviance == pytest.approx(theirs["null"], abs=1e-9)
    assert fit.converged


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "poisson"])
def test_robust_covariances_of_r(link: str) -> None:
    fit, theirs = fitted(link), REFERENCE[link]
    for kind, entry in theirs["clubsandwich"].items():
        table = fit.tests(kind)
        np.testing.assert_allclose(table["std_error"], entry["se"], rtol=1e-7)
        np.testing.assert_allclose(table["df"], entry["df"], rtol=1e-6)
    for kind, errors in theirs["vcovHC"].items():
        np.testing.assert_allclose(fit.tests(kind)["std_error"], errors, rtol=1e-7)


def test_bias_reduced_covariance_is_unbiased_under_the_model() -> None:
    """CR2 of whitened rows by its definition: A_g (I - H_gg) A_g = I."""
    fit = fitted("logit")
    x = np.column_stack([np.ones(len(women())), *(_column(name) for name in fit.terms[1:])])
    mu = fit.fitted.to_numpy()
    root = np.sqrt(mu * (1.0 - mu))
    rows, rest = x * root[:, None], fit.resid.to_numpy() / root
    bread = np.linalg.inv(rows.T @ rows)
    meat = np.zeros_like(bread)
    for _, place in women().groupby("district").indices.items():
        own = rows[place]
        values, vectors = np.linalg.eigh(np.eye(len(own)) - own @ bread @ own.T)
        score = own.T @ (vectors / np.sqrt(values)) @ (vectors.T @ rest[place])
        meat += np.outer(score, score)
    np.testing.assert_allclose(fit.beta_vcov, bread @ meat @ bread, rtol=1e-8, atol=1e-12)


def _column(name: str) -> np.ndarray:
    """A dummy or a predictor of the model LOGIT."""
    variable, _, category = name.rstrip("]").partition("[")
    values = women()[variable]
    return (values.astype(str) == category).to_numpy(float) if category else values.to_numpy(float)


def test_negative_binomial_of_mass() -> None:
    fit, theirs = cl.glm(COUNTS, epileptics(), family="nbinom2"), REFERENCE["nbinom2"]
    assert fit.loglik >= theirs["loglik"] - 1e-6
    assert fit.loglik == pytest.approx(theirs["loglik"], abs=1e-6)
    np.testing.assert_allclose(fit.beta, theirs["coef"], atol=1e-5)


def test_ordered_logit_of_mass() -> None:
    data = women().assign(livch=lambda d: pd.Categorical(d["livch"], ordered=True))
    fit, theirs = cl.glm("livch ~ age + urban", data, family="ordinal"), REFERENCE["ordinal"]
    assert fit.terms == ("age", "urban[Y]")
    errors = np.array(theirs["se"])
    assert fit.loglik == pytest.approx(theirs["loglik"], abs=1e-6)
    assert np.all(np.abs(fit.beta - theirs["coef"]) < 1e-3 * errors[:2])
    assert np.all(np.abs(fit.thresholds()["estimate"] - theirs["thresholds"]) < 1e-3 * errors[2:])
    np.testing.assert_allclose(fit.bse, errors[:2], rtol=1e-4)
    np.testing.assert_allclose(fit.thresholds()["std_error"], errors[2:], rtol=1e-4)
    chances = fit.predict(data.head(5))
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-12)
    assert "Thresholds" in str(fit.summary())
    with pytest.raises(cl.CrosslevelError, match="leverages"):
        fit.tests("CR2", cluster="district")


def test_scores_of_whole_clusters_where_shapes_are_estimated() -> None:
    """CR0 of a joint likelihood by its definition, the derivatives by differences."""
    data = epileptics()
    fit = cl.glm("y ~ lbase", data, family="nbinom1", cluster="subject")
    assert fit.whole.name == "CR1"
    solved = fit.solved
    from crosslevel.solve.response_regression import RegressionCriterion

    criterion = RegressionCriterion(rows=solved.rows)

    def row_values(parameters: np.ndarray) -> np.ndarray:
        return criterion.value(parameters).terms[0]

    step, k = 1e-5, len(solved.joint)
    scores = np.array(
        [(row_values(solved.joint + step * e) - row_values(solved.joint - step * e)) / (2 * step) for e in np.eye(k)]
    ).T
    codes = pd.factorize(data["subject"])[0]
    by_cluster = np.zeros((codes.max() + 1, k))
    np.add.at(by_cluster, codes, scores)
    bread = solved.turn @ np.linalg.inv(solved.information)
    expected = bread @ by_cluster.T @ by_cluster @ bread.T
    np.testing.assert_allclose(fit.covariance_by("CR0").matrix, expected[:2, :2], rtol=1e-6)
    assert (fit.tests("CR0")["df"] == codes.max()).all()


def test_frequency_weights_are_repeated_rows() -> None:
    data = women().head(300).assign(w=lambda d: 1.0 + np.arange(len(d)) % 3)
    once = cl.glm("use ~ age + urban", data, weights=cl.Frequency("w"), cluster="district")
    many = cl.glm("use ~ age + urban", data.loc[data.index.repeat(data["w"].astype(int))], cluster="district")
    assert once.nobs == many.nobs
    assert once.loglik == pytest.approx(many.loglik, rel=1e-12)
    for vcov in ("iid", "HC0", "HC3", "CR0", "CR2", "CR3"):
        np.testing.assert_allclose(once.tests(vcov), many.tests(vcov), rtol=1e-7)


def test_trials_are_rows() -> None:
    data = pd.DataFrame({"a": [3, 1, 4, 2], "n": [5, 4, 6, 7], "x": [0.0, 1.0, 2.0, 3.0]})
    rows = [(x, int(k < a)) for a, n, x in data.itertuples(index=False) for k in range(int(n))]
    single = cl.glm("y ~ x", pd.DataFrame(rows, columns=["x", "y"]))
    both = cl.glm("cbind(a, n - a) ~ x", data)
    np.testing.assert_allclose(both.beta, single.beta, rtol=1e-9)
    np.testing.assert_allclose(both.bse, single.bse, rtol=1e-7)
    np.testing.assert_allclose(both.augment()["cbind(a, n - a)"], data["a"] / data["n"])


def test_offsets_and_exposures() -> None:
    data = epileptics().assign(t=lambda d: 1.0 + d["period"], logt=lambda d: np.log(1.0 + d["period"]))
    by_offset = cl.glm("y ~ trt", data, family="poisson", offset="logt")
    by_exposure = cl.glm("y ~ trt", data, family="poisson", exposure="t")
    np.testing.assert_allclose(by_offset.beta, by_exposure.beta, rtol=1e-12)
    np.testing.assert_allclose(by_exposure.predict(data), by_exposure.fitted, rtol=1e-12)
    assert "Exposure" in str(by_exposure.summary())


def test_predictions_of_a_glm() -> None:
    fit = fitted("logit")
    np.testing.assert_allclose(fit.predict(women()), fit.fitted, rtol=1e-12)
    table = fit.predict(women().head(4), se=True)
    linear = fit.predict(women().head(4), se=True, scale="link")
    np.testing.assert_allclose(table["conf_low"], 1.0 / (1.0 + np.exp(-linear["conf_low"])), rtol=1e-12)
    x = np.array([1.0, *(_column(name)[0] for name in fit.terms[1:])])
    assert linear["std_error"].iloc[0] == pytest.approx(float(np.sqrt(x @ fit.beta_vcov @ x)))
    ratios = fit.ratios()
    assert ratios.loc["age", "estimate"] == pytest.approx(float(np.exp(fit.params["age"])))


def test_swapping_success_and_failure_changes_signs() -> None:
    swapped = cl.glm("I(use == 'N') ~ age + urban + livch", women(), cluster="district")
    np.testing.assert_allclose(swapped.beta, -fitted("logit").beta, rtol=1e-8)
    np.testing.assert_allclose(swapped.bse, fitted("logit").bse, rtol=1e-7)


def test_notes_tell_of_overdispersion() -> None:
    fit = cl.glm(COUNTS, epileptics(), family="poisson")
    assert any("vary" in note and "nbinom2" in note for note in fit.notes)
    assert fit.dispersion == pytest.approx(float(np.sum(fit.augment()["pearson"] ** 2)) / fit.df_residual)


def test_separation_is_named() -> None:
    data = women().assign(old=lambda d: (d["use"] == "Y") & (d["age"] > 15))
    with pytest.warns(cl.ConvergenceWarning, match="Quasi-complete separation: old"):
        fit = cl.glm("use ~ old + livch", data, cluster="district")
    assert not fit.converged
    assert "no finite maximum" in fit.status
    assert any("old" in note for note in fit.notes)
    with pytest.warns(cl.ConvergenceWarning, match="age"):
        cl.conditional_logit("I(age > 0) ~ age + urban", women(), group="district")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vcov": "CR2"}, "needs clusters"),
        ({"vcov": "robust"}, "'iid'"),
        ({"family": "binomail"}, "Did you mean"),
        ({"cluster": "districts"}, "district"),
        ({"weights": "w"}, "weights"),
    ],
)
def test_wrong_arguments_of_a_glm(change: dict[str, Any], words: str) -> None:
    with pytest.raises(cl.CrosslevelError, match=words):
        cl.glm("use ~ age", women(), **change)


# -- conditional logit ----------------------------------------------------------------------------------------------
def brute(y: np.ndarray, x: np.ndarray, eta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Likelihood, score and information of one group over all choices of its ones."""
    ones = int(y.sum())
    choices = [list(some) for some in combinations(range(len(y)), ones)]
    weight = np.array([np.exp(eta[some].sum()) for some in choices])
    sums = np.array([x[some].sum(axis=0) for some in choices])
    share = weight / weight.sum()
    mean = share @ sums
    information = (sums - mean).T @ (share[:, None] * (sums - mean))
    return float(eta[y == 1].sum() - np.log(weight.sum())), x[y == 1].sum(axis=0) - mean, information


@pytest.mark.parametrize("compiled", [True, False])
def test_conditional_likelihood_is_that_of_all_choices(compiled: bool) -> None:
    rng, sizes, p = np.random.default_rng(4), [1, 2, 3, 5, 8, 9, 9, 4], 3
    start = np.append(0, np.cumsum(sizes))
    n = int(start[-1])
    x, eta, y = rng.normal(size=(n, p)), 2.0 * rng.normal(size=n), (rng.random(n) < 0.5).astype(float)
    y[start[5] : start[6]] = [1, 1, 1, 1, 0, 1, 1, 0, 1]
    scores, information = np.zeros((len(sizes), p)), np.zeros((p, p))
    kernel = conditional_likelihood if compiled else conditional_likelihood.py_func
    value = kernel(y, x, eta, start, scores, information)
    each = [brute(y[a:b], x[a:b], eta[a:b]) for a, b in pairwise(start)]
    assert value == pytest.approx(sum(part[0] for part in each), rel=1e-12)
    np.testing.assert_allclose(scores, [part[1] for part in each], rtol=1e-11, atol=1e-13)
    lower = np.tril(sum(part[2] for part in each))
    np.testing.assert_allclose(information, lower, rtol=1e-11, atol=1e-13)


def test_conditional_means_are_slopes_of_the_likelihood() -> None:
    rng, start = np.random.default_rng(5), np.array([0, 4, 11])
    eta, y, means = rng.normal(size=11), np.array([1.0, 0, 0, 1, 1, 1, 1, 1, 0, 1, 0]), np.empty(11)
    conditional_means(y, eta, start, means)
    scores, information = np.zeros((2, 11)), np.zeros((11, 11))
    conditional_likelihood(y, np.eye(11), eta, start, scores, information)
    np.testing.assert_allclose(y - means, scores.sum(axis=0), rtol=1e-12, atol=1e-14)


def test_conditional_logit_of_survival() -> None:
    fit, theirs = cl.conditional_logit(LOGIT, women(), group="district"), REFERENCE["clogit"]
    np.testing.assert_allclose(fit.beta, theirs["coef"], rtol=1e-8)
    np.testing.assert_allclose(fit.bse, theirs["se"], rtol=1e-8)
    assert fit.loglik == pytest.approx(theirs["loglik"][1], abs=1e-9)
    assert fit.solved.loglik_null == pytest.approx(theirs["loglik"][0], abs=1e-9)
    assert fit.converged
    assert fit.ngroups == {"district": 57}
    frame = fit.augment()
    np.testing.assert_allclose(frame.groupby("district")[["fitted", "resid"]].sum()["resid"], 0.0, atol=1e-9)


def test_groups_of_two_are_a_logit_of_differences() -> None:
    rng, n = np.random.default_rng(6), 150
    x = rng.normal(size=(n, 2, 2))
    chance = 1.0 / (1.0 + np.exp(-(x[:, 1] - x[:, 0]) @ [0.7, -0.4]))
    second = rng.random(n) < chance
    data = pd.DataFrame(x.reshape(-1, 2), columns=["a", "b"]).assign(
        g=np.repeat(np.arange(n), 2), y=np.column_stack([~second, second]).ravel().astype(int)
    )
    pairs = pd.DataFrame(x[:, 1] - x[:, 0], columns=["a", "b"]).assign(y=second.astype(int))
    conditional, logit = cl.conditional_logit("y ~ a + b", data, group="g"), cl.glm("y ~ 0 + a + b", pairs)
    np.testing.assert_allclose(conditional.beta, logit.beta, rtol=1e-8)
    np.testing.assert_allclose(conditional.bse, logit.bse, rtol=1e-7)
    assert conditional.loglik == pytest.approx(logit.loglik, rel=1e-10)
    np.testing.assert_allclose(conditional.tests("CR0")["std_error"], logit.tests("HC0")["std_error"], rtol=1e-7)


def test_large_groups_do_not_overflow() -> None:
    """With two groups of a thousand rows the conditional estimate is nearly that with dummies."""
    conditional = cl.conditional_logit("use ~ age + livch", women(), group="urban")
    dummies = cl.glm("use ~ age + livch + urban", women())
    assert np.all(np.abs(conditional.beta - dummies.params[list(conditional.terms)]) < 0.01 * conditional.bse)
    assert conditional.converged


def test_what_is_constant_in_groups_is_told() -> None:
    data = women().assign(size=lambda d: d.groupby("district")["age"].transform("size"))
    fit = cl.conditional_logit("use ~ age + size", data, group="district")
    assert fit.absorbed == ("size",)
    assert fit.terms == ("age",)
    assert any("constant within district" in note for note in fit.notes)
    assert any("3 of 60 groups" in note and "27 rows" in note for note in fit.notes)
    assert "27 in groups without variation" in str(fit.summary())
    with pytest.raises(cl.CrosslevelError, match="varies within groups"):
        cl.conditional_logit("use ~ size", data, group="district")
    with pytest.raises(cl.CrosslevelError, match="unions of groups"):
        cl.conditional_logit("use ~ age", data, group="district", cluster="urban")
    with pytest.raises(cl.CrosslevelError, match="none of its"):
        cl.conditional_logit("use ~ age", data.assign(row=np.arange(len(data))), group="row")


def test_conditional_logit_ignores_effects_of_groups() -> None:
    """Offsets that are constant in groups cancel, and so does a predictor's group mean."""
    data = women().assign(shift=lambda d: 0.1 * d["district"].astype(int))
    plain = cl.conditional_logit("use ~ age", data, group="district")
    moved = cl.conditional_logit("use ~ within(age, district)", data, group="district", offset="shift")
    np.testing.assert_allclose(moved.beta, plain.beta, rtol=1e-8)
    assert moved.loglik == pytest.approx(plain.loglik, rel=1e-12)


# -- GEE ------------------------------------------------------------------------------------------------------------
GEE = {
    "Contraception__gee_exchangeable": (LOGIT, women, "binomial", "district"),
    "epil__gee_exchangeable": ("y ~ lbase * trt + lage + V4", epileptics, "poisson", "subject"),
    "epil__gee_ar1": ("y ~ lbase * trt + lage + V4", epileptics, "poisson", "subject"),
}


def solved_gee(name: str, **changes: Any) -> Any:
    formula, data, family, group = GEE[name]
    working = name.rpartition("_")[2]
    time = {"time": "period"} if working == "ar1" else {}
    return cl.gee(formula, data(), family=family, group=group, correlation=working, **time, **changes)


def geepack(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / "responses" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [name for name in GEE if "exchangeable" in name])
def test_exchangeable_gee_of_geepack(name: str) -> None:
    """geepack estimates the working correlation by n, statsmodels by n - p; coefficients are hardly touched."""
    fit, theirs = solved_gee(name), geepack(name)
    errors = np.array(list(theirs["se_robust"].values()))
    assert np.all(np.abs(fit.beta - list(theirs["fixef"].values())) < 1e-3 * errors)
    np.testing.assert_allclose(fit.bse, errors, rtol=5e-3)
    assert fit.correlation == pytest.approx(theirs["alpha"][0], rel=0.02)


@pytest.mark.parametrize("name", GEE)
def test_estimating_equations_are_solved(name: str) -> None:
    """At the working correlation of the fit, the dense equations sum_g D'V^-1 (y - mu) vanish; so do geepack's."""
    fit, theirs = solved_gee(name), geepack(name)
    own, bread, robust = dense_gee(fit, fit.beta, fit.correlation)
    change = np.linalg.solve(bread, own)
    assert np.all(np.abs(change) < 1e-7 * fit.bse)
    np.testing.assert_allclose(fit.beta_vcov, robust, rtol=1e-6, atol=1e-9 * robust.max())
    beta = np.array(list(theirs["fixef"].values()))
    own, bread, robust = dense_gee(fit, beta, theirs["alpha"][0])
    assert np.all(np.abs(np.linalg.solve(bread, own)) < 1e-5 * fit.bse)
    np.testing.assert_allclose(np.sqrt(np.diag(robust)), list(theirs["se_robust"].values()), rtol=1e-4)


def dense_gee(fit: Any, beta: np.ndarray, correlation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimating equations, their slope and the sandwich (p, p) by matrices of whole groups."""
    data = fit.data
    x = np.vstack([block[:-1].T for block, _, _ in fit.design.blocks()])[:, fit.design.x]
    y, mu = fit.outcome.y, fit.family.mean(x @ beta)
    slope, variance = fit.family.mean_slope(x @ beta), fit.family.variance(mu, np.ones(len(y)), np.zeros(0))
    p = len(beta)
    own, bread, meat = np.zeros(p), np.zeros((p, p)), np.zeros((p, p))
    for place in data.groupby(fit.groups.name).indices.values():
        gap = np.abs(np.subtract.outer(np.arange(len(place)), np.arange(len(place))))
        working = correlation**gap if fit.given["correlation"] == "ar1" else np.where(gap == 0, 1.0, correlation)
        root = np.sqrt(variance[place])
        d = x[place] * slope[place][:, None]
        solved = np.linalg.solve(working * np.outer(root, root), np.column_stack([d, y[place] - mu[place]]))
        score = d.T @ solved[:, -1]
        own, bread, meat = own + score, bread + d.T @ solved[:, :-1], meat + np.outer(score, score)
    inverse = np.linalg.inv(bread)
    return own, bread, inverse @ meat @ inverse


def test_independence_gee_is_a_glm_with_clusters() -> None:
    gee = cl.gee(LOGIT, women(), group="district", correlation="independence")
    glm = fitted("logit")
    np.testing.assert_allclose(gee.beta, glm.beta, rtol=1e-7)
    np.testing.assert_allclose(gee.bse, glm.tests("CR0")["std_error"], rtol=1e-6)
    np.testing.assert_allclose(gee.tests("bias-reduced")["std_error"], glm.tests("CR3")["std_error"], rtol=1e-6)
    assert gee.dispersion == pytest.approx(glm.dispersion, rel=1e-6)


def test_what_gee_owes_its_users() -> None:
    fit = solved_gee("epil__gee_exchangeable")
    text = str(fit.summary())
    assert "statsmodels" in text
    assert "ratios of means" in text
    np.testing.assert_allclose(fit.predict(epileptics()), fit.fitted, rtol=1e-12)
    assert fit.glance()["n_groups"][0] == 59
    with pytest.raises(cl.CrosslevelError, match="no likelihood"):
        _ = fit.aic
    with pytest.raises(cl.CrosslevelError, match="does not have"):
        cl.gee(COUNTS, epileptics(), group="subject", family="nbinom2")
    with pytest.raises(cl.CrosslevelError, match="`correlation`"):
        cl.gee(COUNTS, epileptics(), group="subject", family="poisson", correlation="toeplitz")
    with pytest.raises(cl.CrosslevelError, match="time of its own"):
        cl.gee(COUNTS, epileptics(), group="subject", family="poisson", correlation="ar1", time="V4")


def test_gee_without_statsmodels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crosslevel.estimators.responses.gee_solve.find_spec", lambda _name: None)
    with pytest.raises(cl.CrosslevelError, match=r"crosslevel\[gee\]"):
        solved_gee("epil__gee_exchangeable")


# -- two steps ------------------------------------------------------------------------------------------------------
@cache
def answers() -> pd.DataFrame:
    rng, n_clusters, n = np.random.default_rng(2), 40, 60
    z, g, x = rng.normal(size=n_clusters), np.repeat(np.arange(n_clusters), n), rng.normal(size=n_clusters * n)
    u = rng.normal(size=(n_clusters, 2)) * [0.6, 0.3]
    eta = 0.2 + u[g, 0] + 0.3 * z[g] + (0.5 + 0.2 * z[g] + u[g, 1]) * x
    chance = 1.0 / (1.0 + np.exp(-eta))
    data = pd.DataFrame({"x": x, "z": z[g], "g": g, "y": (rng.random(len(g)) < chance).astype(int)})
    return data.assign(c=rng.poisson(np.exp(0.3 * eta)), trials=rng.integers(1, 5, len(g))).assign(
        hits=lambda d: rng.binomial(d["trials"], chance)
    )


@pytest.mark.parametrize(
    ("outcome", "family"),
    [("y", "binomial"), ("y", "probit"), ("c", "poisson"), ("cbind(hits, trials - hits)", "binomial")],
)
def test_first_steps_are_glms_of_single_clusters(outcome: str, family: str) -> None:
    law = cl.families.Binomial(link="probit") if family == "probit" else family
    fit = cl.two_step(f"{outcome} ~ x", ["x ~ z", "Intercept ~ z"], answers(), cluster="g", family=law)
    for level in (0, 7, 31):
        own = cl.glm(f"{outcome} ~ x", answers()[lambda d, level=level: d["g"] == level], family=law)
        np.testing.assert_allclose(fit.first_step.loc[level, ["Intercept", "x"]], own.beta, rtol=1e-8)
        matrix = fit.separate.sampling[fit.first_step.index.get_loc(level)]
        np.testing.assert_allclose(matrix, np.linalg.inv(observed(own)), rtol=1e-8, atol=1e-12)


def observed(fit: Any) -> np.ndarray:
    """Observed information of the coefficients in the units of the data."""
    back = np.linalg.inv(fit.solved.turn)
    return back.T @ fit.solved.information @ back


def test_two_step_logit_leaves_out_what_has_no_estimates() -> None:
    data = answers()[lambda d: d.groupby("g").cumcount() < 8]
    fit = cl.two_step("y ~ x", "x ~ z", data, cluster="g", family="binomial")
    reasons = set(fit.left_out["reason"])
    assert reasons <= {"y is separated by x", "no variation in y"}
    assert "y is separated by x" in reasons
    assert any("too far from zero" in note for note in fit.notes)
    assert "binomial" in str(fit.summary())
    assert "sigma" not in fit.first_step
    with pytest.raises(cl.CrosslevelError, match="beside the coefficients"):
        cl.two_step("c ~ x", "x ~ z", data, cluster="g", family="nbinom2")
    with pytest.raises(cl.CrosslevelError, match="residual variance"):
        cl.two_step("y ~ x", "x ~ z", data, cluster="g", family="binomial", first_variance="pooled")


def test_two_steps_have_frequencies() -> None:
    data = answers()[lambda d: d["g"] < 12].assign(w=lambda d: 1 + np.arange(len(d)) % 2)
    once = cl.two_step("y ~ x", "x ~ z", data, cluster="g", family="binomial", weights=cl.Frequency("w"))
    many = cl.two_step("y ~ x", "x ~ z", data.loc[data.index.repeat(data["w"])], cluster="g", family="binomial")
    np.testing.assert_allclose(once.tidy(), many.tidy(), rtol=1e-7)


# -- side by side ---------------------------------------------------------------------------------------------------
def test_estimators_of_answers_stand_side_by_side() -> None:
    data = answers()
    fits = {
        "Mixed": cl.mixed("y ~ x * z + (1 | g)", data, family="binomial", quadrature=1),
        "Conditional": cl.conditional_logit("y ~ x * z", data, group="g"),
        "GLM": cl.glm("y ~ x * z", data, cluster="g"),
        "GEE": cl.gee("y ~ x * z", data, group="g"),
        "Two-step": cl.two_step("y ~ x", {"Intercept": "z", "x": "z"}, data, cluster="g", family="binomial"),
    }
    with pytest.warns(
        cl.DataWarning, match=r"Mixed; Conditional; Two-step\) compare rows with the same random effects"
    ):
        found = cl.compare(fits)
    assert len(found.notes) == 1
    wide = found.wide("estimate")
    assert wide.loc["x:z"].notna().all()
    assert np.isnan(wide.loc["z", "Conditional"])
    assert "∞" in str(found)
    assert " inf" not in str(found)
