"""What generalized models mean: shares of variance, ratios, averages over random effects."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_case, load_data
from scipy.special import expit, polygamma
from scipy.stats import norm

import crosslevel as cl
from crosslevel import families
from crosslevel.errors import CrosslevelError
from crosslevel.inference.generalized.explained import outcome_parts, outcome_sums
from crosslevel.inference.generalized.given_effects import given_effects
from crosslevel.inference.generalized.predictive import predictive
from crosslevel.inference.generalized.ratios import interval_ratios, median_ratio
from crosslevel.inference.generalized.row_variance import latent_variance, quadratic_variance

FAMILIES = {
    "nbinom2": families.NegativeBinomial(),
    "Gamma": families.Gamma(),
    "betabinomial": families.BetaBinomial(),
    "poisson": families.Poisson(),
    "binomial": families.Binomial(),
}


@cache
def fitted(name: str):
    case = load_case(name)
    family = families.Ordinal() if "thresholds" in case.expected else FAMILIES[case.expected["family"]]
    return cl.mixed(case.formula, case.data, family=family, quadrature=case.expected.get("nagq") or 1)


@cache
def moderated():
    """A cross-level interaction and a slope that varies."""
    formula = "use ~ livch + scale(age) * urban + (scale(age) | district)"
    return cl.mixed(formula, load_data("Contraception"), family="binomial", quadrature=1)


# eighty Gauss-Hermite nodes have seven digits only where the standard deviation of the linear predictor is three
NODES = np.linspace(-9.0, 9.0, 181)
WEIGHTS = norm.pdf(NODES) / norm.pdf(NODES).sum()


def moved(fit, shift: np.ndarray):
    """The fit at other working parameters."""
    solution = fit.solution
    rows, layout = solution.criterion.rows, solution.criterion.layout
    parameters = solution.parameters + shift
    halves = zip(rows.structures, layout.parts, rows.bases, strict=True)
    factors = tuple(np.linalg.solve(basis, kind.factor(parameters[part])) for kind, part, basis in halves)
    return replace(fit, solution=replace(
        solution, parameters=parameters, factors=factors, beta=rows.coordinates.coefficients(parameters[layout.beta]),
        shape=rows.family.shape(parameters[layout.shape]),
    ))  # fmt: skip


def delta_error(fit, value) -> np.ndarray:
    """Standard errors by differences in the working parameters."""
    vcov = fit.solution.working_vcov
    free = np.flatnonzero(np.diag(vcov))  # what is held on the boundary does not move
    step, vcov = 1e-3 * np.sqrt(np.diag(vcov)[free]), vcov[np.ix_(free, free)]
    units = np.zeros((len(free), len(fit.solution.parameters)))
    units[np.arange(len(free)), free] = step
    gradient = np.array([np.asarray(value(moved(fit, unit))) - value(moved(fit, -unit)) for unit in units])
    gradient = (gradient.T / (2.0 * step)).reshape(-1, len(step))
    return np.sqrt(np.einsum("ia,ab,ib->i", gradient, vcov, gradient))


# -- shares of variance -----------------------------------------------------------------------------------------------
LATENT = ["cbpp__agq25", "Contraception__ri_agq15", "Contraception__rs_urban_laplace", "VerbAgg__crossed_laplace"]
COUNTS = ["epil__poisson_ri_agq25", "grouseticks__poisson_three_laplace"]


@pytest.mark.parametrize("name", LATENT)
def test_binary_shares_are_those_of_performance(name: str) -> None:
    fit, expected = fitted(name), load_case(name).expected
    found = fit.r2()
    np.testing.assert_allclose(found.marginal, expected["r2"]["marginal"], rtol=2e-5)
    np.testing.assert_allclose(found.conditional, expected["r2"]["conditional"], rtol=2e-5)
    for kind in ("adjusted", "unadjusted"):
        np.testing.assert_allclose(fit.icc(kind=kind).estimate, expected["icc"][kind], rtol=2e-5)


@pytest.mark.parametrize("name", COUNTS)
def test_shares_of_counts_are_those_of_performance_at_its_mean(name: str) -> None:
    """performance 0.10 evaluates log(1 + 1 / lambda) at exp(intercept) of the model without predictors.

    That is the median, not the mean of the counts, which the source has: exp(intercept + variance / 2).
    """
    fit, expected = fitted(name), load_case(name).expected
    outcome, random = fit.formula.split("~")[0], " + ".join(f"(1 | {factor.name})" for factor in fit.design.factors)
    null = cl.mixed(f"{outcome} ~ 1 + {random}", fit.data, family="poisson", quadrature=expected.get("nagq") or 1)
    median = float(np.exp(null.params.iloc[0]))
    found = fit.r2(mean=median)
    np.testing.assert_allclose(found.marginal, expected["r2"]["marginal"], rtol=1e-3)
    np.testing.assert_allclose(found.conditional, expected["r2"]["conditional"], rtol=1e-3)
    for kind in ("adjusted", "unadjusted"):
        np.testing.assert_allclose(fit.icc(kind=kind, mean=median).estimate, expected["icc"][kind], rtol=1e-3)
    # the default has the mean of the counts, over rows and random effects
    mean, alone = cl.margins(fit)["estimate"].iloc[0], fit.cov_re.get("INDEX")
    expected = np.log1p(1.0 / mean) + (0.0 if alone is None else alone.iloc[0, 0])
    np.testing.assert_allclose(fit.r2().residual.value, expected, rtol=1e-9)
    assert mean > 1.3 * median


def test_variance_of_one_answer_on_the_latent_scale() -> None:
    none, one = np.zeros(0), np.array([2.5])
    assert latent_variance(families.Binomial(), none, 0.3).value == np.pi**2 / 3.0
    assert latent_variance(families.Binomial(link="probit"), none, 0.3).value == 1.0
    np.testing.assert_allclose(latent_variance(families.Binomial(), none, 0.3, "delta").value, 1.0 / 0.21)
    poisson, nb2 = families.Poisson(), families.NegativeBinomial()
    np.testing.assert_allclose(latent_variance(poisson, none, 3.0, "trigamma").value, polygamma(1, 3.0))
    np.testing.assert_allclose(latent_variance(nb2, one, 3.0).value, np.log1p(1 / 3.0 + 1 / 2.5))
    # exact for gamma amounts and beta shares: the variances of their logarithm, and of their log odds
    rng = np.random.default_rng(1)
    amounts = np.log(rng.gamma(2.5, size=400_000))
    np.testing.assert_allclose(latent_variance(families.Gamma(), one, 3.0, "trigamma").value, amounts.var(), rtol=0.01)
    shares = rng.beta(0.3 * 2.5, 0.7 * 2.5, size=400_000)
    np.testing.assert_allclose(
        latent_variance(families.Beta(), one, 0.3).value, np.var(np.log(shares / (1 - shares))), rtol=0.02
    )


@pytest.mark.parametrize("family", [families.Poisson(), families.NegativeBinomial(), families.NegativeBinomial("nb1"),
                                    families.Gamma(), families.Beta(), families.BetaBinomial(), families.Binomial()],
                         ids=repr)  # fmt: skip
def test_variances_of_one_answer_and_their_derivatives(family) -> None:
    shape, mean = np.array([1.7])[: family.n_shape()], np.array([0.4])
    found = quadratic_variance(family, shape)
    ours = found.linear * mean + found.square * mean**2
    np.testing.assert_allclose(ours, family.variance(mean, np.ones(1), shape))
    step = 1e-6
    kinds = ("lognormal", "delta", "trigamma") if family.link == "log" else ("theoretical", "delta")
    for kind in kinds:
        at = latent_variance(family, shape, 0.4, kind)
        by_mean = (latent_variance(family, shape, 0.4 + step, kind).value
                   - latent_variance(family, shape, 0.4 - step, kind).value) / (2 * step)  # fmt: skip
        np.testing.assert_allclose(at.by_mean, by_mean, rtol=1e-6, atol=1e-8)
        if len(shape):
            by_shape = (latent_variance(family, shape + step, 0.4, kind).value
                        - latent_variance(family, shape - step, 0.4, kind).value) / (2 * step)  # fmt: skip
            np.testing.assert_allclose(at.by_shape, by_shape, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "name", ["cbpp__agq25", "epil__nbinom2_tmb", "cbpp__betabinomial_tmb", "sleepstudy__gamma_tmb_rs"]
)
@pytest.mark.parametrize("scale", ["latent", "response"])
def test_standard_errors_of_shares_are_those_of_differences(name: str, scale: str) -> None:
    fit = fitted(name)
    expected = delta_error(fit, lambda other: other.r2(scale=scale).frame["r2"].to_numpy())
    np.testing.assert_allclose(fit.r2(scale=scale).frame["std_error"], expected, rtol=1e-4)


def test_standard_errors_with_several_factors_are_those_of_differences() -> None:
    fit = fitted("grouseticks__poisson_three_laplace")
    expected = delta_error(fit, lambda other: other.icc("BROOD", scale="response").estimate)
    np.testing.assert_allclose(fit.icc("BROOD", scale="response").std_error, expected, rtol=1e-4)


def test_shares_of_counts_on_their_own_scale_have_closed_forms() -> None:
    """Poisson: Var(mu) = exp(2m + v)(exp(v) - 1); Stryhn, Sanchez, Morley, Booker & Dohoo (2006)."""
    fit = fitted("epil__poisson_ri_agq25")
    fixed = fit.predict(random_effects=False, scale="link")
    v = fit.cov_re["subject"].iloc[0, 0]
    mean = np.exp(fixed + v / 2)
    random, residual = np.mean(mean**2 * np.expm1(v)), np.mean(mean)
    found = fit.r2(scale="response").shares["variance"]
    np.testing.assert_allclose(found, [np.var(mean), random, residual], rtol=1e-10)
    np.testing.assert_allclose(fit.icc(scale="response").estimate, random / (random + residual), rtol=1e-10)


def test_shares_of_trials_on_their_own_scale_are_those_of_many_nodes() -> None:
    fit = fitted("Contraception__rs_urban_laplace")
    psi, fixed = fit.cov_re["district"].to_numpy(), fit.predict(random_effects=False, scale="link").to_numpy()
    z = np.column_stack([np.ones(len(fixed)), fit.data["urban"] == "Y"])
    chance = expit(fixed[:, None] + np.sqrt(np.einsum("ia,ab,ib->i", z, psi, z))[:, None] * NODES)
    mean, square = chance @ WEIGHTS, chance**2 @ WEIGHTS
    parts = [np.var(mean), np.mean(square - mean**2), np.mean(mean - square)]
    np.testing.assert_allclose(fit.r2(scale="response").shares["variance"], parts, rtol=1e-9)
    # parts of a binary outcome add up to p (1 - p)
    np.testing.assert_allclose(sum(parts), np.mean(mean) * (1.0 - np.mean(mean)), rtol=1e-12)


def test_several_factors_have_parts_of_their_own_and_one_together() -> None:
    """Logarithmic link: E[mu | b_k]^2 has a closed form. Rows that differ one by one are overdispersion."""
    fit = fitted("grouseticks__poisson_three_laplace")
    found = fit.r2(scale="response").shares["variance"]
    v = {name: table.iloc[0, 0] for name, table in fit.cov_re.items()}
    mean = np.exp(fit.predict(random_effects=False, scale="link") + sum(v.values()) / 2)
    alone = v.pop("INDEX")
    for name, own in v.items():
        np.testing.assert_allclose(found[name], np.mean(mean**2 * np.expm1(own)), rtol=1e-9)
    clusters = np.mean(mean**2 * np.expm1(sum(v.values())))
    np.testing.assert_allclose(found[[*v, "Together"]].sum(), clusters, rtol=1e-9)
    whole = np.mean(mean**2 * np.expm1(sum(v.values()) + alone))
    np.testing.assert_allclose(found["Residual"], whole - clusters + np.mean(mean), rtol=1e-9)
    with pytest.raises(CrosslevelError, match="overdispersion"):
        fit.icc("INDEX")


def test_without_random_effects_nothing_is_left_to_them() -> None:
    estimates = predictive(fitted("cbpp__agq25").solution)
    still = replace(estimates, psi=(np.zeros((1, 1)),))
    from crosslevel.estimators.generalized.explained import predicted_rows

    (rows,) = predicted_rows(fitted("cbpp__agq25"))
    means = outcome_sums(still, rows) / rows.weights.sum()
    _, random, _ = outcome_parts(still, quadratic_variance(estimates.family, np.zeros(0)), ["herd"], means)
    assert abs(random["herd"].value) < 1e-12


# -- ratios -----------------------------------------------------------------------------------------------------------
def test_odds_ratios() -> None:
    fit = fitted("Contraception__ri_agq15")
    found, table = fit.odds_ratios(level=0.9), fit.tests(level=0.9)
    names = ["estimate", "conf_low", "conf_high"]
    np.testing.assert_allclose(found[names], np.exp(table[names]))
    np.testing.assert_array_equal(found[["statistic", "p_value"]], table[["statistic", "p_value"]])
    with pytest.raises(CrosslevelError, match="ratios of odds"):
        fit.rate_ratios()
    counts = fitted("epil__poisson_ri_agq25")
    np.testing.assert_allclose(counts.rate_ratios()["estimate"], np.exp(counts.params))
    with pytest.raises(CrosslevelError, match="ratios of rates"):
        counts.median_odds_ratio()


def test_median_odds_ratio_is_a_median() -> None:
    """Half of the pairs of clusters have a larger ratio, the higher over the lower."""
    rng, variance = np.random.default_rng(3), 0.6
    pairs = np.abs(np.diff(np.sqrt(variance) * rng.normal(size=(400_000, 2)), axis=1))
    estimate, error, low, high = median_ratio(variance, 0.2, level=0.95)
    np.testing.assert_allclose(np.median(np.exp(pairs)), estimate, rtol=0.01)
    spread = np.exp(1.959964 * 0.2 / variance)
    z = norm.ppf(0.75)
    np.testing.assert_allclose(
        [low, high], np.exp(np.sqrt(2 * variance * np.array([1 / spread, spread])) * z), rtol=1e-6
    )
    np.testing.assert_allclose(error, 0.2 * estimate * z / np.sqrt(2 * variance))


def test_interval_odds_ratio_holds_its_share_of_pairs() -> None:
    rng, variance, beta = np.random.default_rng(4), 0.6, 0.5
    pairs = np.exp(beta + np.diff(np.sqrt(variance) * rng.normal(size=(400_000, 2)), axis=1)[:, 0])
    low, high, opposite = interval_ratios(np.array([beta, 0.0]), variance, share=0.8)
    np.testing.assert_allclose(np.mean((pairs > low[0]) & (pairs < high[0])), 0.8, atol=0.003)
    np.testing.assert_allclose([np.mean(pairs < 1.0), 0.5], opposite, atol=0.003)


def test_ratios_between_clusters_of_a_fit() -> None:
    fit = fitted("Contraception__rs_urban_laplace")
    psi = fit.cov_re["district"].to_numpy()
    both = fit.median_odds_ratio(at={"urban[Y]": 1.0}).loc["district"]
    variance = np.ones(2) @ psi @ np.ones(2)
    np.testing.assert_allclose(both["estimate"], np.exp(np.sqrt(2 * variance) * norm.ppf(0.75)))
    error = delta_error(fit, lambda other: other.median_odds_ratio(at={"urban[Y]": 1.0})["estimate"].to_numpy())
    np.testing.assert_allclose(both["std_error"], error, rtol=1e-5)
    with pytest.raises(CrosslevelError, match="'urban\\[Y\\]'"):
        fit.median_odds_ratio(at={"age": 1.0})
    with pytest.raises(CrosslevelError, match="constant within district"):
        fit.interval_odds_ratios()


# -- averages ---------------------------------------------------------------------------------------------------------
def population(fit, data: pd.DataFrame) -> np.ndarray:
    """Probabilities averaged over the random effects, row by row, with many nodes."""
    eta = fit.predict(data, random_effects=False, scale="link").to_numpy()
    design, columns = fit.design, None
    columns = fit.spec.evaluate(cl_columns(data))
    z = columns[design.factors[0].z]
    spread = np.sqrt(np.einsum("al,ab,bl->l", z, fit.cov_re["district"].to_numpy(), z))
    return expit(eta[:, None] + spread[:, None] * NODES) @ WEIGHTS


def cl_columns(data: pd.DataFrame):
    from crosslevel.table import Columns

    return Columns.from_frame(data, "data")


def test_population_averages_are_those_of_every_row() -> None:
    fit = moderated()
    data = fit.data
    found = cl.margins(fit, {"urban": None, "age": [-5.0, 10.0]})
    for k, (urban, age) in enumerate([("N", -5.0), ("N", 10.0), ("Y", -5.0), ("Y", 10.0)]):
        brute = population(fit, data.assign(urban=urban, age=age)).mean()
        np.testing.assert_allclose(found["estimate"].iloc[k], brute, rtol=1e-8)
    np.testing.assert_allclose(cl.margins(fit)["estimate"].iloc[0], population(fit, data).mean(), rtol=1e-8)


def test_average_effects_are_differences_of_population_averages() -> None:
    """Age has a slope that varies, which the variance of the linear predictor depends on."""
    fit, data, step = moderated(), moderated().data, 1e-4
    found = cl.slopes(fit, "age", by="urban")
    for k, urban in enumerate("NY"):
        high, low = (population(fit, data.assign(urban=urban, age=data["age"] + move)).mean() for move in (step, -step))
        np.testing.assert_allclose(found["estimate"].iloc[k], (high - low) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("random_effects", ["average", "zero"])
def test_standard_errors_of_averages_are_those_of_differences(random_effects: str) -> None:
    fit = moderated()

    def value(other) -> np.ndarray:
        effects = cl.slopes(other, "age", by="urban", random_effects=random_effects)["estimate"]
        return np.append(cl.margins(other, "urban", random_effects=random_effects)["estimate"], effects)

    parts = [
        cl.margins(fit, "urban", random_effects=random_effects)["std_error"],
        cl.slopes(fit, "age", by="urban", random_effects=random_effects)["std_error"],
    ]
    np.testing.assert_allclose(np.concatenate(parts), delta_error(fit, value), rtol=1e-5)


def test_zero_random_effects_are_predictions_without_them() -> None:
    fit = moderated()
    found = cl.margins(fit, "urban", random_effects="zero")
    for k, urban in enumerate("NY"):
        expected = fit.predict(fit.data.assign(urban=urban), random_effects=False).mean()
        np.testing.assert_allclose(found["estimate"].iloc[k], expected, rtol=1e-10)


def test_a_given_cluster() -> None:
    fit = moderated()
    found = cl.margins(fit, "urban", random_effects={"district": 3})
    for k, urban in enumerate("NY"):
        expected = fit.predict(fit.data.assign(urban=urban, district=3)).mean()
        np.testing.assert_allclose(found["estimate"].iloc[k], expected, rtol=1e-8)
    # what modes owe to the parameters, by the implicit function theorem: db / dbeta = -B Z'WX
    chosen = given_effects(fit.solution, [0], [2])
    rows = fit.design.used_codes(fit.design.factors[0]) == 2
    columns = fit.spec.evaluate(cl_columns(fit.data))[:, rows]
    x, z = columns[fit.design.x], columns[fit.design.factors[0].z]
    chance = fit.fitted.to_numpy()[rows]
    implicit = -chosen.spread @ (z * (chance * (1 - chance))) @ x.T
    np.testing.assert_allclose(chosen.slopes[:, 3 : 3 + len(x)], implicit, rtol=1e-4, atol=1e-7)


def test_differences_of_differences() -> None:
    fit = moderated()
    found = cl.margins(fit, {"urban": None, "age": [-5.0, 10.0]})
    second = found.contrasts(among="urban").contrasts(among="age")
    n5, n10, y5, y10 = found["estimate"]
    np.testing.assert_allclose(second["estimate"].iloc[0], (y10 - n10) - (y5 - n5))
    effects = cl.slopes(fit, "age", by="urban")
    assert any("not coefficients of products" in note for note in effects.notes)
    assert any("not coefficients of products" in note for note in effects.contrasts().notes)
    # on the scale of the linear predictor it is the coefficient
    spread = fit.data["age"].std(ddof=1)
    linear = cl.slopes(fit, "age", by="urban", scale="link").contrasts()
    np.testing.assert_allclose(linear["estimate"].iloc[0] * spread, fit.params["scale(age):urban[Y]"], rtol=1e-6)


def test_intervals_stay_where_probabilities_are() -> None:
    fit = moderated()
    found = cl.margins(fit, "urban", level=0.99999999)
    assert ((found["conf_low"] > 0.0) & (found["conf_high"] < 1.0)).all()
    assert found[["statistic", "p_value"]].isna().all(axis=None)
    plain = cl.margins(fit, "urban")
    log_odds = np.log(plain["estimate"] / (1 - plain["estimate"]))
    half = 1.959964 * plain["std_error"] / (plain["estimate"] * (1 - plain["estimate"]))
    np.testing.assert_allclose(plain["conf_high"], expit(log_odds + half), rtol=1e-6)


def test_swapping_success_and_failure_turns_everything_around() -> None:
    fit = moderated()
    data = fit.data.assign(use=np.where(fit.data["use"] == "Y", 0, 1))
    other = cl.mixed(fit.formula, data, family="binomial", quadrature=1)
    one, two = cl.margins(fit, "urban"), cl.margins(other, "urban")
    np.testing.assert_allclose(one["estimate"], 1.0 - two["estimate"], rtol=1e-5)
    np.testing.assert_allclose(one["std_error"], two["std_error"], rtol=1e-3)
    np.testing.assert_allclose(
        cl.slopes(fit, "age")["estimate"], -cl.slopes(other, "age")["estimate"], rtol=1e-3, atol=1e-8
    )
    np.testing.assert_allclose(fit.r2(scale="response").marginal, other.r2(scale="response").marginal, rtol=1e-4)


def test_probabilities_of_ordered_categories() -> None:
    fit = fitted("wine__clmm_logit_agq10")
    found = cl.margins(fit, "temp")
    np.testing.assert_allclose(found.groupby("temp", observed=True)["estimate"].sum(), 1.0, rtol=1e-12)
    effects = cl.slopes(fit, "temp")
    np.testing.assert_allclose(effects["estimate"].sum(), 0.0, atol=1e-12)
    assert found["category"].nunique() == len(effects) == 5
    # comparisons are within categories
    differences = found.contrasts(among="temp")
    np.testing.assert_allclose(differences["estimate"].to_numpy(), effects["estimate"].to_numpy(), rtol=1e-10)
    np.testing.assert_allclose(differences["std_error"].to_numpy(), effects["std_error"].to_numpy(), rtol=1e-8)
    error = delta_error(fit, lambda other: cl.margins(other, "temp")["estimate"].to_numpy())
    np.testing.assert_allclose(found["std_error"], error, rtol=1e-5)
    zero = cl.margins(fit, "temp", random_effects="zero")
    data = fit.data.assign(temp=fit.data["temp"].iloc[0])
    expected = fit.predict(data, random_effects=False).mean().to_numpy()
    np.testing.assert_allclose(zero[zero["temp"] == data["temp"].iloc[0]]["estimate"], expected, rtol=1e-10)
    with pytest.raises(CrosslevelError, match="ordered categories are no numbers"):
        fit.r2(scale="response")
    assert 0.0 < fit.r2().marginal < fit.r2().conditional < 1.0


def test_means_of_counts_have_a_closed_form() -> None:
    fit = fitted("epil__nbinom2_tmb")
    v = sum(table.iloc[0, 0] for table in fit.cov_re.values())
    found = cl.margins(fit, "trt")
    for k, level in enumerate(found["trt"]):
        fixed = fit.predict(fit.data.assign(trt=level), random_effects=False)
        np.testing.assert_allclose(found["estimate"].iloc[k], np.mean(fixed) * np.exp(v / 2), rtol=1e-10)


def test_trials_count() -> None:
    """Averages are over trials: rows of one trial each have the same."""
    fit = fitted("cbpp__agq25")
    data = load_data("cbpp")
    alone = pd.DataFrame([
        {"herd": row.herd, "period": row.period, "sick": int(k < row.incidence)}
        for row in data.itertuples() for k in range(row.size)
    ])  # fmt: skip
    one = cl.mixed("sick ~ C(period) + (1 | herd)", alone, family="binomial", quadrature=25)
    together = cl.mixed("cbind(incidence, size - incidence) ~ C(period) + (1 | herd)", data, family="binomial",
                        quadrature=25)  # fmt: skip
    np.testing.assert_allclose(cl.margins(together)["estimate"], cl.margins(one)["estimate"], rtol=1e-5)
    np.testing.assert_allclose(cl.margins(together)["std_error"], cl.margins(one)["std_error"], rtol=1e-3)
    np.testing.assert_allclose(together.icc(scale="response").estimate, one.icc(scale="response").estimate, rtol=1e-4)
    assert fit.outcome.has_trials


def test_offsets_are_as_in_the_rows() -> None:
    data = load_data("epil").assign(weeks=2.0)
    fit = cl.mixed("y ~ trt + (1 | subject)", data, family="poisson", exposure="weeks", quadrature=1)
    plain = cl.mixed("y ~ trt + (1 | subject)", data, family="poisson", quadrature=1)
    np.testing.assert_allclose(cl.margins(fit, "trt")["estimate"], cl.margins(plain, "trt")["estimate"], rtol=1e-6)
    np.testing.assert_allclose(
        cl.margins(fit, "trt", at="mean")["estimate"], cl.margins(plain, "trt", at="mean")["estimate"], rtol=1e-6
    )


def test_robust_and_counted_degrees_of_freedom() -> None:
    fit = moderated()
    usual, robust = cl.margins(fit, "urban"), cl.margins(fit, "urban", vcov="CR1")
    np.testing.assert_array_equal(usual["estimate"], robust["estimate"])
    assert np.all(np.abs(robust["std_error"] / usual["std_error"] - 1.0) < 0.5)
    assert np.all(robust["df"] == fit.ngroups["district"] - 1)
    assert np.all(np.isfinite(cl.margins(fit, "urban", ddf="m-l-1")["df"]))
    with pytest.raises(CrosslevelError, match="linear model's residuals"):
        cl.margins(fit, "urban", ddf="satterthwaite")


def test_bootstrap_intervals_are_percentiles_of_the_replicates() -> None:
    """Every replicate's estimates are those that the refit would have: margins of a model with these parameters."""
    fit = fitted("Contraception__rs_urban_laplace")
    boot = fit.bootstrap(40, kind="parametric", seed=2, progress=False)
    found, effects = cl.margins(fit, "urban", bootstrap=boot), cl.slopes(fit, "age", bootstrap=boot)
    np.testing.assert_array_equal(found["estimate"], cl.margins(fit, "urban")["estimate"])
    values = []
    for own in boot.batch.values[boot.used]:
        psi = np.diag(own[-3:-1]) @ np.array([[1.0, own[-1]], [own[-1], 1.0]]) @ np.diag(own[-3:-1])
        factor = np.linalg.cholesky(psi + 1e-15 * np.eye(2))
        other = replace(fit, solution=replace(fit.solution, beta=own[:-3], factors=(factor,)))
        values.append([*cl.margins(other, "urban")["estimate"], cl.slopes(other, "age")["estimate"].iloc[0]])
    low, high = np.quantile(values, [0.025, 0.975], axis=0, method="median_unbiased")
    spread = np.std(values, axis=0, ddof=1)
    np.testing.assert_allclose([*found["std_error"], effects["std_error"].iloc[0]], spread, rtol=1e-6)
    between = (found["conf_high"] < high[:2] + spread[:2]) & (found["conf_low"] > low[:2] - spread[:2])
    assert between.all()
    difference = found.contrasts()
    np.testing.assert_allclose(difference["std_error"].iloc[0], np.std(np.diff(values)[:, 0], ddof=1), rtol=1e-6)
    with pytest.raises(CrosslevelError, match="of this very fit"):
        cl.margins(moderated(), "urban", bootstrap=boot)
    with pytest.raises(CrosslevelError, match="effects of given levels"):
        cl.margins(fit, "urban", bootstrap=boot, random_effects={"district": 1})


def test_bootstrap_intervals_of_linear_models() -> None:
    fit = cl.mixed("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy"))
    boot = fit.bootstrap(50, seed=1, progress=False)
    found = cl.slopes(fit, "Days", bootstrap=boot)
    expected = boot.conf_int(terms=["Days"])
    np.testing.assert_allclose(found[["conf_low", "conf_high"]], expected[["conf_low", "conf_high"]])
    np.testing.assert_allclose(found["std_error"], boot.std_error["Days"])


def test_generalized_linear_models_have_margins_too() -> None:
    fit = cl.glm("use ~ age * urban", load_data("Contraception"), family="binomial", cluster="district")
    found = cl.margins(fit, "urban")
    for k, urban in enumerate("NY"):
        np.testing.assert_allclose(
            found["estimate"].iloc[k], fit.predict(fit.data.assign(urban=urban)).mean(), rtol=1e-10
        )


def test_predictions_of_rows_of_unknown_clusters() -> None:
    fit = moderated()
    new = fit.data.iloc[:7].assign(district="elsewhere")
    found = fit.predict(new, random_effects="average", se=True)
    np.testing.assert_allclose(found["estimate"], population(fit, new), rtol=1e-9)
    np.testing.assert_allclose(fit.predict(new, random_effects="average"), found["estimate"])
    error = delta_error(fit, lambda other: other.predict(new, random_effects="average").to_numpy())
    np.testing.assert_allclose(found["std_error"], error, rtol=1e-5)
    assert ((found["conf_low"] < found["estimate"]) & (found["estimate"] < found["conf_high"])).all()
    # their average is that of cl.margins
    np.testing.assert_allclose(
        fit.predict(random_effects="average").mean(), cl.margins(fit)["estimate"].iloc[0], rtol=1e-12
    )
    with pytest.raises(CrosslevelError, match="is of outcomes"):
        fit.predict(new, random_effects="average", scale="link")


def test_predictions_of_categories_in_unknown_clusters() -> None:
    fit = fitted("wine__clmm_logit_agq10")
    found = fit.predict(random_effects="average", interval="confidence")
    plain = fit.predict(random_effects="average")
    np.testing.assert_allclose(plain.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(found["estimate"].unstack("category").to_numpy(), plain.to_numpy())
    np.testing.assert_allclose(plain.mean().to_numpy(), cl.margins(fit)["estimate"], rtol=1e-12)


def test_rows_in_several_clusters_have_less_variance() -> None:
    """Poisson: the average is exp(m + v sum of squared shares / 2)."""
    rng = np.random.default_rng(8)
    data = pd.DataFrame({
        "a": rng.integers(0, 12, 300), "b": rng.integers(0, 12, 300), "wa": rng.uniform(0.2, 0.8, 300),
        "x": rng.normal(size=300),
    })  # fmt: skip
    data["wb"] = 1.0 - data["wa"]
    effects = rng.normal(size=12)
    data["y"] = rng.poisson(np.exp(0.3 * data["x"] + data["wa"] * effects[data["a"]] + data["wb"] * effects[data["b"]]))
    fit = cl.mixed("y ~ x + (1 | mm(a, b, weights=[wa, wb]))", data, family="poisson")
    (variance,) = (table.iloc[0, 0] for table in fit.cov_re.values())
    same = data["a"] == data["b"]
    squares = np.where(same, 1.0, data["wa"] ** 2 + data["wb"] ** 2)
    expected = np.exp(fit.predict(random_effects=False, scale="link") + variance * squares / 2.0)
    np.testing.assert_allclose(fit.predict(random_effects="average"), expected, rtol=1e-10)
    np.testing.assert_allclose(cl.margins(fit)["estimate"].iloc[0], expected.mean(), rtol=1e-10)
    error = delta_error(fit, lambda other: cl.slopes(other, "x")["estimate"].to_numpy())
    np.testing.assert_allclose(cl.slopes(fit, "x")["std_error"], error, rtol=1e-5)


def test_a_slope_that_is_in_the_random_part_only() -> None:
    """It moves the variance of the linear predictor, and so the average of the probability."""
    rng = np.random.default_rng(9)
    data = pd.DataFrame({"g": np.repeat(np.arange(60), 15), "x": rng.normal(size=900)})
    eta = 1.0 + np.repeat(rng.normal(size=60), 15) + np.repeat(rng.normal(size=60), 15) * data["x"]
    data["y"] = (rng.random(900) < expit(eta)).astype(int)
    fit = cl.mixed("y ~ 1 + (x || g)", data, family="binomial", quadrature=1)
    psi = fit.cov_re["g"].to_numpy()
    found = cl.margins(fit, {"x": [-2.0, 0.0, 1.0]})
    for x, estimate in zip(found["x"], found["estimate"], strict=True):
        eta = fit.params["Intercept"] + np.sqrt(psi[0, 0] + x**2 * psi[1, 1]) * NODES
        np.testing.assert_allclose(estimate, expit(eta) @ WEIGHTS, rtol=1e-8)
    step = 1e-4
    (effect,) = cl.slopes(fit, "x", by={}, at={"x": 1.0})["estimate"]
    low, high = cl.margins(fit, {"x": [1.0 - step, 1.0 + step]})["estimate"]
    np.testing.assert_allclose(effect, (high - low) / (2.0 * step), rtol=1e-6)


def test_without_variance_population_and_typical_cluster_are_the_same() -> None:
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.tile(np.arange(20), 30), "x": rng.normal(size=600)})
    data["y"] = np.where(np.arange(600) // 20 % 2, 1, 0)  # the same share in every cluster
    fit = cl.mixed("y ~ x + (1 | g)", data, family="binomial")
    assert fit.is_singular
    one, two = cl.margins(fit, {"x": [0.0, 1.0]}), cl.margins(fit, {"x": [0.0, 1.0]}, random_effects="zero")
    np.testing.assert_allclose(one[["estimate", "std_error"]], two[["estimate", "std_error"]], rtol=1e-8)
    for scale in ("latent", "response"):
        found = fit.icc(scale=scale)
        assert found.estimate < 1e-10
        assert np.isnan(found.conf_low)
    np.testing.assert_allclose(fit.median_odds_ratio()["estimate"], 1.0, atol=1e-4)
    assert fit.median_odds_ratio()[["conf_low", "conf_high"]].isna().all(axis=None)


def test_regions_of_significance_on_the_scale_of_the_outcome() -> None:
    """Limits are where the interval of the effect has zero as an end; the curve is that of cl.slopes."""
    fit = moderated()
    found = cl.johnson_neyman(fit, "urban", "age")
    at = found.frame.iloc[[0, 57, 200]]
    places = [float(value) for value in at["age"]]
    effects = cl.slopes(fit, "urban", by={"age": places})
    columns = ["estimate", "std_error", "conf_low", "conf_high"]
    np.testing.assert_allclose(at[columns], effects[columns], rtol=1e-8, atol=1e-10)
    limits = found.limits.query("correction == 'none'")["value"]
    assert len(limits)
    ends = cl.slopes(fit, "urban", by={"age": [float(value) for value in limits]})
    np.testing.assert_allclose(np.minimum(abs(ends["conf_low"]), abs(ends["conf_high"])), 0.0, atol=1e-6)
    with pytest.raises(CrosslevelError, match="Every category"):
        cl.johnson_neyman(fitted("wine__clmm_logit_agq10"), "temp", "bottle")


def test_figures_show_expected_outcomes() -> None:
    import matplotlib.pyplot as plt

    figure = cl.plot.margins(moderated(), ["age", "urban"])
    axes = figure.axes[0]
    assert axes.get_ylabel() == "P(use = Y)"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["N", "Y"]
    assert any("population" in text.get_text() for text in figure.texts)
    low, high = axes.get_ylim()
    assert -0.1 < low < high < 1.1
    ordered = cl.plot.margins(fitted("wine__clmm_logit_agq10"), "temp").axes[0]
    assert [text.get_text() for text in ordered.get_legend().get_texts()] == ["1", "2", "3", "4", "5"]
    effect = cl.plot.slopes(moderated(), "age", "urban", scale="link").axes[0]
    assert effect.get_ylabel() == "Effect of age on use"
    plt.close("all")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda fit: cl.margins(fit, "urban", scale="odds"), "`scale` is 'response' or 'link'"),
        (lambda fit: cl.margins(fit, "urban", random_effects="none"), "'average', 'zero', or a level"),
        (lambda fit: cl.margins(fit, "urban", random_effects={"school": 1}), "grouping factors of the model are"),
        (lambda fit: cl.margins(fit, "urban", random_effects={"district": 777}), "was not in the fit"),
        (lambda fit: cl.margins(fit, "urban", scale="link", random_effects={"district": 1}), "those of the fixed part"),
        (lambda fit: fit.r2(scale="probability"), "`scale` is 'latent' or 'response'"),
        (lambda fit: fit.r2(approximation="trigamma"), "'theoretical', 'delta'"),
        (lambda fit: fit.r2(mean=1.5), "between 0 and 1"),
        (lambda fit: fit.r2(scale="response", mean=0.5), "Leave them out"),
        (lambda fit: fit.icc(kind="own"), "`kind` is one of"),
        (lambda fit: fit.icc("school"), "`group` is one of"),
    ],
)
def test_wrong_arguments_are_told(ask, words: str) -> None:
    with pytest.raises(CrosslevelError, match=words):
        ask(moderated())


@pytest.mark.slow
def test_intervals_cover_what_they_promise() -> None:
    """Population probability, average effect, cross-level interaction on the probability scale, ICC of the outcome."""
    replications, clusters, size, psi = 400, 60, 20, np.array([[0.8, 0.2], [0.2, 0.3]])
    beta, hits, rng = np.array([-0.4, 0.7, 0.5, -0.4]), np.zeros(4), np.random.default_rng(12)
    done = 0
    for _ in range(replications):
        g = np.repeat(np.arange(clusters), size)
        data = pd.DataFrame({"g": g, "x": rng.normal(size=len(g)), "z": rng.integers(0, 2, clusters)[g]})
        effects = rng.multivariate_normal(np.zeros(2), psi, clusters)[g]
        x, z = data["x"].to_numpy(), data["z"].to_numpy()
        eta = beta[0] + beta[1] * x + beta[2] * z + beta[3] * x * z + effects[:, 0] + effects[:, 1] * x
        data["y"] = (rng.random(len(g)) < expit(eta)).astype(int)
        fit = cl.mixed("y ~ x * z + (x | g)", data, family="binomial", quadrature=5)
        if fit.is_singular:
            continue
        truth = replace(fit, solution=replace(fit.solution, beta=beta, factors=(np.linalg.cholesky(psi),)))
        done += 1

        def inside(found: pd.DataFrame, exact: float) -> bool:
            return bool(found["conf_low"].iloc[0] < exact < found["conf_high"].iloc[0])

        own = [cl.margins(fit, {"z": [1]}), cl.slopes(fit, "x"), cl.slopes(fit, "x", by={"z": [0, 1]}).contrasts()]
        true = [
            cl.margins(truth, {"z": [1]}),
            cl.slopes(truth, "x"),
            cl.slopes(truth, "x", by={"z": [0, 1]}).contrasts(),
        ]
        hits[:3] += [inside(a, b["estimate"].iloc[0]) for a, b in zip(own, true, strict=True)]
        share, exact = fit.icc(scale="response"), truth.icc(scale="response").estimate
        hits[3] += share.conf_low < exact < share.conf_high
    assert done > 0.95 * replications
    np.testing.assert_allclose(hits / done, 0.95, atol=0.01 + 3.0 * np.sqrt(0.95 * 0.05 / done))
