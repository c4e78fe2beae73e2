"""Diagnostics where they are hard: skewed outcomes, models without much in them, words that have to stay true."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed_fit import MixedFit


def skewed(seed: int, spread: float) -> pd.DataFrame:
    """Log-normal outcomes of 600 rows in 30 clusters."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(30), 20)
    x, b = rng.normal(size=600), rng.normal(size=30) * 0.6
    return pd.DataFrame({"g": g, "x": x, "amount": np.exp(1 + 0.5 * x + b[g] + spread * rng.normal(size=600))})


def test_a_power_of_fitted_values_settles_where_plain_rounds_jump_to_and_fro():
    data = skewed(0, 0.3)
    fit = cl.mixed("amount ~ x + (1|g)", data, residual=cl.residual.Power())
    assert fit.status.startswith("Converged")
    # the end is what it has to be: held at these fitted values, the same model has the same parameters
    held = cl.mixed("amount ~ x + (1|g)", data.assign(v=fit.fitted), residual=cl.residual.Power("v"))
    power = fit.residual_parameters()["estimate"]["power"]
    assert held.residual_parameters()["estimate"]["power"] == pytest.approx(power, abs=1e-6)
    np.testing.assert_allclose(held.fitted, fit.fitted, rtol=1e-6)


def test_a_power_of_fitted_values_that_does_not_settle_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("crosslevel.solve.residual.ROUNDS", 3)
    with pytest.warns(cl.ConvergenceWarning, match="the fitted values, on which the residual variance depends"):
        fit = cl.mixed("amount ~ x + (1|g)", skewed(0, 1.0), residual=cl.residual.Power())
    assert np.isfinite(fit.deviance)


def ratings(n_clusters: int = 28, seed: int = 3) -> pd.DataFrame:
    """Rows of clusters of different sizes: x of rows, z of clusters, y normal, answer of four categories."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(7, 30, n_clusters)
    g, n = np.repeat(np.arange(n_clusters), sizes), int(sizes.sum())
    x, z, b = rng.normal(size=n), rng.normal(size=n_clusters)[g], rng.normal(size=n_clusters)[g] * 0.6
    level = 0.5 * x + 0.3 * z + b
    frame = pd.DataFrame({"g": g, "x": x, "z": z, "y": level + rng.normal(size=n), "count": rng.poisson(np.exp(level))})
    cut = pd.cut(level + rng.logistic(size=n), [-np.inf, -1.0, 0.3, 1.5, np.inf], labels=["no", "so", "yes", "all"])
    return frame.assign(answer=cut)


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return ratings()


@pytest.fixture(scope="module")
def ordinal(data: pd.DataFrame) -> GeneralizedFit:
    return cl.mixed("answer ~ x + z + (1|g)", data, family="ordinal")


@pytest.fixture(scope="module")
def linear(data: pd.DataFrame) -> MixedFit:
    return cl.mixed("y ~ x + z + (1|g)", data)


def test_thresholds_take_no_coefficient_s_place_in_contributions(
    ordinal: GeneralizedFit, linear: MixedFit, data: pd.DataFrame
):
    found = cl.contributions(ordinal)
    assert found.frame["rows"].tolist() == data.groupby("g").size().tolist()
    assert found.weight.sum() == pytest.approx(1.0)
    assert len(data.groupby("g")) < found.effective_rows.sum() < len(data)
    # as of the linear model with these predictors: what clusters tell of z is next to that of its spread between them
    plain = cl.contributions(linear)
    for term in ("x", "z"):
        assert np.corrcoef(found.shares[term], plain.shares[term])[0, 1] > 0.95
    leverage = cl.leverage(ordinal)
    assert leverage.rows["fixed"].sum() == pytest.approx(leverage.n_coefficients)


@pytest.mark.parametrize("n_clusters", [2, 3])
def test_one_degree_of_freedom_or_none_in_words(n_clusters: int):
    fit = cl.mixed("y ~ x + z + (1|g)" if n_clusters > 2 else "y ~ x + (1|g)", ratings(n_clusters))
    told = str(cl.check(fit).sentences)
    assert not any(wrong in told for wrong in ("1 degrees", "0 degrees", "-1"))
    assert ("1 degree of freedom" in told) == (n_clusters == 3)


def test_one_coefficient_one_check_and_one_row_in_words(data: pd.DataFrame):
    fit = cl.mixed("y ~ 1 + (1|g)", data)
    assert "1 coefficient, and" in cl.leverage(fit).sentences[0]
    plain = cl.ols("y ~ 1", data)
    assert "1 parameter, the coefficient" in cl.leverage(plain).sentences[0]
    assert cl.check(plain).sentences == ("The only check is in order.",)
    alone = data.assign(x=np.where(data.index == 5, 1000.0, data["x"]))
    assert "1 row has a leverage above 0.5: its fitted value" in cl.leverage(cl.ols("y ~ x", alone)).sentences[-1]


def test_advice_is_what_the_model_can_do(ordinal: GeneralizedFit, data: pd.DataFrame):
    assert "kenward-roger" not in str(cl.check(ordinal))
    by_ml = cl.mixed("y ~ x + z + (1|g)", data, method="ml")
    assert 'fit.update(method="reml").tests(ddf="kenward-roger")' in " ".join(cl.check(by_ml).sentences)
    lumpy = np.where(data["g"] < 14, 12 * (data.index % 3), 12 + data["count"] % 5)
    counts = cl.mixed("count ~ 1 + (1|g)", data.assign(count=lumpy), family="poisson")
    for found in (cl.homogeneity(counts, n=39, seed=1), cl.envelope(counts, n=39, seed=1, progress=False)):
        told = " ".join(found.sentences)
        assert found.concern != "none"
        assert not any(wrong in told for wrong in ("residual=", "unbiased"))
        assert "cl.dispersion(fit)" in told


def test_a_predictor_that_others_determine_is_remarked(data: pd.DataFrame):
    found = cl.check(cl.mixed("y ~ x + twice + (1|g)", data.assign(twice=2 * data["x"])))
    assert any("twice" in light.finding for light in found.lights)


def test_random_effects_are_asked_for_where_least_confounded_has_none(data: pd.DataFrame):
    marginal = cl.mixed("y ~ x", data, residual=cl.residual.CompoundSymmetry("g"))
    with pytest.raises(cl.CrosslevelError, match=r"this model has none\. Add a random term"):
        cl.least_confounded(marginal)


def test_transport_of_a_model_that_does_not_tell_means_apart(data: pd.DataFrame):
    found = cl.transport(cl.mixed("y ~ 1 + (1|g)", data), leave="cluster", progress=False)
    # each mean left out moves the others' the other way: that is no calibration, and no worse than a mean
    assert not found.miscalibrated
    assert found.concern != "act"
    assert np.isnan(found.summary["slope_within"])
    assert any("hardly tell the means" in sentence for sentence in found.sentences)
    centred = data.assign(y=data["y"] - data.groupby("g")["y"].transform("mean"))
    found = cl.transport(cl.mixed("y ~ x + (1|g)", centred), folds=4, progress=False)
    assert np.isnan(found.summary["r2_between"])
    assert "of cluster means nothing of" in found.sentences[1]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda fit: cl.envelope(fit, seed="a"), "`seed` is a whole number"),
        (lambda fit: cl.homogeneity(fit, seed=-1), "`seed` is a whole number"),
        (lambda fit: cl.transport(fit, seed=-1), "`seed` is a whole number"),
        (lambda fit: cl.diagnose(fit, seed=-1), "`seed` is a whole number"),
        (lambda fit: cl.diagnose(fit, n=0), "`n` is the number of simulations"),
        (lambda fit: cl.linearity(fit, x=3), "`x` is the name"),
        (lambda fit: cl.linearity(fit, x=[]), "`x` is the name"),
        (lambda fit: cl.linearity(fit, level=2), "`level` is a probability"),
        (lambda fit: cl.influence(fit, by=3), "`by` is a grouping factor"),
        (lambda fit: cl.contributions(fit, by=3), "`by` is a grouping factor"),
        (lambda fit: cl.contributions(fit).carriers("z", "a"), "`share` is above 0"),
        (lambda fit: cl.transport(fit, to=300), "`to` names clusters"),
        (lambda fit: cl.transport(fit, group=3), "`group` is the name"),
    ],
)
def test_arguments_of_a_wrong_kind_are_named(linear: MixedFit, call: Callable[[MixedFit], object], says: str):
    with pytest.raises(cl.CrosslevelError, match=says):
        call(linear)


def test_regression_is_not_said_to_find_clusters_independent(data: pd.DataFrame):
    told = cl.contributions(cl.ols("y ~ x + z", data, cluster="g")).sentences[0]
    assert told.startswith("The model takes the 458 rows in 28 clusters of g as independent")
