"""Adjusted second steps: against least squares on covariates, a plain twin, maximum likelihood, and their promises."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import crosslevel as cl
from crosslevel.inference.adjusted_step import Target, adjusted_step

FIRST, SECOND = "y ~ x1 + x2 + x3", "Intercept ~ z"


@cache
def drawn(n_clusters: int = 30, low: int = 20, high: int = 60, alike: bool = False, seed: int = 5) -> pd.DataFrame:
    """Intercepts and slopes that vary together, x3's aside; `alike` clusters have the same predictors."""
    rng = np.random.default_rng(seed)
    sizes = np.full(n_clusters, low) if alike else rng.integers(low, high + 1, n_clusters)
    g = np.repeat(np.arange(n_clusters), sizes)
    x = rng.standard_normal((3, len(g)))
    x[1] += 0.5 * x[0]
    if alike:
        x = np.tile(x[:, :low], n_clusters)
    spread = np.array([[0.6, 0.0, 0.0], [0.35, 0.4, 0.0], [-0.3, 0.1, 0.3]])
    effects = rng.standard_normal((n_clusters, 3)) @ spread.T
    z, w = rng.standard_normal((2, n_clusters))
    own = np.column_stack(
        [1.0 + effects[:, 0] + 0.5 * z, 1.0 + effects[:, 1], 0.5 + effects[:, 2], np.full(len(z), 0.2)]
    )
    y = own[g, 0] + np.einsum("ni,in->n", own[g, 1:], x) + rng.standard_normal(len(g))
    return pd.DataFrame({"y": y, "x1": x[0], "x2": x[1], "x3": x[2], "z": z[g], "w": w[g], "g": g})


def fitted(method: str, frame: pd.DataFrame | None = None, second: Any = SECOND, **options: Any) -> Any:
    return cl.two_step(FIRST, second, drawn() if frame is None else frame, cluster="g", method=method, **options)


@pytest.mark.parametrize("covariates", ["all", ["x1"], ["x2", "x1"]])
def test_adjusted_is_least_squares_on_covariates(covariates: Any) -> None:
    fit = fitted("adjusted", covariates=covariates, second="Intercept ~ z + w")
    names = ["x1", "x2", "x3"] if covariates == "all" else covariates
    above = fit.first_step.assign(z=drawn().groupby("g")["z"].first(), w=drawn().groupby("g")["w"].first())
    centred = above[names] - above[names].mean()
    plain = cl.ols("Intercept ~ z + w + " + " + ".join(names), above.assign(**centred))
    terms = ["z", "w"]
    for kind in (None, "HC3"):
        ours, theirs = fit.tests(kind), plain.tests(kind)
        pd.testing.assert_frame_equal(ours.loc[terms], theirs.loc[terms], rtol=1e-9)
    np.testing.assert_allclose(fit.params["Intercept"], plain.params["Intercept"], rtol=1e-9)
    table = fit.covariates.loc["Intercept"]
    np.testing.assert_allclose(table["coefficient"], plain.params[names], rtol=1e-9)
    # the intercept is a mean at covariates whose means are estimated
    delta = plain.params[names].to_numpy()
    more = delta @ np.atleast_2d(np.cov(above[names].T)) @ delta / len(above)
    spread = np.sqrt(plain.bse["Intercept"] ** 2 + more)
    np.testing.assert_allclose(fit.bse["Intercept"], spread, rtol=1e-9)
    for name in names:
        test = cl.ols(f"{name} ~ z + w", above).contrast(["z", "w"])
        np.testing.assert_allclose(table.loc[name, ["statistic", "p_value"]], [test.statistic, test.p_value], rtol=1e-9)
        assert table.loc[name, "df_num"] == 2.0
        assert table.loc[name, "df_den"] == len(above) - 3


def test_maximum_likelihood_in_the_balanced_model() -> None:
    """Where clusters are alike, adjusting for all covariates maximises the likelihood of the mixed model."""
    frame = drawn(alike=True)
    model = cl.mixed("y ~ x1 + x2 + z + (x1 + x2 | g)", frame, method="ml")
    assert not model.is_singular
    fit = cl.two_step("y ~ x1 + x2", SECOND, frame, cluster="g", method="adjusted", first_variance="pooled")
    assert fit.outcomes[0].adjustment.n_components == 2
    np.testing.assert_allclose(fit.params["z"], model.params["z"], rtol=1e-6)
    np.testing.assert_allclose(fit.params["Intercept"], model.params["Intercept"], rtol=1e-6)


def test_weights_make_no_difference_where_clusters_are_alike() -> None:
    frame = drawn(alike=True)
    options = {"frame": frame, "first_variance": "pooled"}
    plain, weighted = fitted("adjusted", **options), fitted("adjusted-fgls", **options)
    assert 0 < plain.outcomes[0].adjustment.n_components < 3
    pd.testing.assert_frame_equal(weighted.tidy(), plain.tidy(), rtol=1e-9)


def twin(fit: Any, z: np.ndarray, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and weights of "adjusted-fgls", cluster by cluster, from joint normal distributions."""
    adjustment, n = fit.outcomes[0].adjustment, len(z)
    r, m = adjustment.n_components, len(names)
    places = [0, *(1 + ["x1", "x2", "x3"].index(name) for name in names)]
    omega = fit.separate.sampling[:, places][:, :, places]
    y, c = fit.first_step["Intercept"].to_numpy(), fit.first_step[names].to_numpy()
    values, vectors = np.linalg.eigh(adjustment.psi)
    basis = vectors[:, -r:] * np.sqrt(values[-r:])  # another root of Psi than the program's
    v = [adjustment.psi + omega[j, 1:, 1:] for j in range(n)]
    mu = np.linalg.solve(sum(np.linalg.inv(v[j]) for j in range(n)), sum(np.linalg.solve(v[j], c[j]) for j in range(n)))
    known = np.array([omega[j, 0, 1:] @ np.linalg.solve(v[j], c[j] - mu) for j in range(n)])
    scores = np.array([basis.T @ np.linalg.solve(v[j], c[j] - mu) for j in range(n)])
    d = np.column_stack([np.ones(n), z, scores])
    first = np.linalg.lstsq(d, y - known, rcond=None)[0]
    residuals, hat = y - known - d @ first, d @ np.linalg.pinv(d)
    # a joint distribution with tau^2 = 0, of which the target's conditional variance is kappa
    cov = basis @ first[2:]
    kappa = np.empty(n)
    for j in range(n):
        joint = np.zeros((m + 1, m + 1))
        joint[0, 0], joint[0, 1:], joint[1:, 0], joint[1:, 1:] = first[2:] @ first[2:], cov, cov, adjustment.psi
        kappa[j] = 1.0 / np.linalg.inv(joint + omega[j])[0, 0]
    tau2 = (residuals @ residuals - np.sum((1.0 - np.diag(hat)) * kappa)) / (n - 2 - r)
    assert adjustment.sigma2_raw == pytest.approx(tau2, rel=1e-9)
    weights = 1.0 / (max(tau2, 0.0) + kappa)
    return np.linalg.solve(d.T * weights @ d, d.T * weights @ (y - known)), weights


@pytest.mark.parametrize("covariates", [None, "all", ["x2", "x1"]])
def test_weighted_form_is_the_conditional_distribution(covariates: Any) -> None:
    fit = fitted("adjusted-fgls", covariates=covariates)
    names = list(fit.covariates.loc["Intercept"].index)
    coefficients, weights = twin(fit, drawn().groupby("g")["z"].first().to_numpy(), names)
    np.testing.assert_allclose(fit.params, coefficients[:2], rtol=1e-9)
    np.testing.assert_allclose(fit.augment()["weight"], weights, rtol=1e-9)
    assert fit.df["z"] == 30 - 2 - fit.outcomes[0].adjustment.n_components
    np.testing.assert_allclose(fit.augment()["fitted"] + fit.resid, fit.first_step["Intercept"], rtol=1e-12)


def test_pooled_slopes_where_none_varies() -> None:
    """Without variation beyond sampling, the target is the cluster's mean less what pooled slopes predict."""
    rng = np.random.default_rng(9)
    frame = drawn().assign(y=lambda data: data["x1"] + data["z"] + 0.3 * rng.standard_normal(30)[data["g"]])
    frame["y"] += rng.standard_normal(len(frame))
    fit = fitted("adjusted-fgls", frame)
    assert fit.outcomes[0].adjustment.n_components == 0
    assert "nothing but shared sampling errors" in " ".join(fit.notes)
    assert fit.df["z"] == 28
    means = frame.groupby("g")[["y", "x1", "x2", "x3"]].mean()
    adjusted = means["y"] - means[["x1", "x2", "x3"]] @ fit.covariates.loc["Intercept", "mean"]
    above = pd.DataFrame({"a": adjusted, "z": frame.groupby("g")["z"].first(), "v": fit.augment()["weight"]})
    by_hand = cl.ols("a ~ z", above, weights=cl.Precision("v"))
    np.testing.assert_allclose(fit.params, by_hand.params, rtol=1e-9)
    np.testing.assert_allclose(fit.bse["z"], by_hand.bse["z"], rtol=1e-2)  # ours adds what the slopes' errors do


@pytest.mark.parametrize("method", ["adjusted", "adjusted-fgls"])
def test_invariance(method: str) -> None:
    fit, frame = fitted(method), drawn()
    mixed_up = frame.sample(frac=1.0, random_state=2)
    for other in (mixed_up, pl.from_pandas(mixed_up)):
        pd.testing.assert_frame_equal(fitted(method, other).tidy(), fit.tidy(), rtol=1e-8)
    # shifting, scaling and mixing predictors changes the intercept that is explained, but not the effect on it at 0 ..
    turned = frame.assign(x1=3.0 * frame["x1"] - frame["x2"], x2=0.1 * frame["x2"], y=frame["y"] - 4.0)
    pd.testing.assert_frame_equal(fitted(method, turned).tidy().loc[["z"]], fit.tidy().loc[["z"]], rtol=1e-7)
    # .. and as slopes do not depend on z, nor elsewhere
    moved = frame.assign(x1=frame["x1"] + 5.0, x2=frame["x2"] - 2.0)
    pd.testing.assert_frame_equal(fitted(method, moved).tidy().loc[["z"]], fit.tidy().loc[["z"]], rtol=1e-7)


@pytest.mark.parametrize("weighted", [True, False])
def test_t_statistics_follow_t(weighted: bool) -> None:
    """Large clusters: the p-values of a true null are uniform with 12 clusters and 4 covariates."""
    rng = np.random.default_rng(12)
    n, m, p_values = 12, 4, []
    root = np.linalg.cholesky(np.eye(m + 1) + 0.6 * (1.0 - np.eye(m + 1)))
    sampling = np.broadcast_to(1e-4 * np.eye(m + 1), (n, m + 1, m + 1))
    for _ in range(300):
        b = rng.standard_normal((n, m + 1)) @ root.T
        context = np.column_stack([np.ones(n), rng.standard_normal(n)])
        target = Target(
            y=b[:, 0], context=context, constant=0, covariates=b[:, 1:], names=("a", "b", "c", "d"), sampling=sampling
        )
        step, adjustment = adjusted_step(target, weighted=weighted, chosen=True)
        assert adjustment.n_components == 4
        assert step.df == 6
        error = np.sqrt(step.variance * np.sum(step.influence[1] ** 2 / step.weights))
        p_values.append(two_sided(step.beta[1] / error, 6))
    assert ks_distance(np.array(p_values)) < 1.63 / np.sqrt(300)  # the 1 % point


def two_sided(statistic: float, df: int) -> float:
    from scipy.stats import t

    return float(2.0 * t.sf(abs(statistic), df))


def ks_distance(p: np.ndarray) -> float:
    ordered, steps = np.sort(p), np.arange(1, len(p) + 1) / len(p)
    return float(max(np.max(steps - ordered), np.max(ordered - steps + 1.0 / len(p))))


def test_components_are_chosen_without_the_outcome() -> None:
    fit, frame = fitted("adjusted-fgls"), drawn()
    other = fitted("adjusted-fgls", frame.assign(y=frame["y"] + 10.0 * np.random.default_rng(0).random(30)[frame["g"]]))
    ours, theirs = fit.outcomes[0].adjustment, other.outcomes[0].adjustment
    np.testing.assert_allclose(theirs.eigenvalues, ours.eigenvalues, rtol=1e-9)
    assert ours.n_components == theirs.n_components == 2  # x3 does not vary
    assert ours.edge == pytest.approx((1.0 + np.sqrt(3 / 29)) ** 2)


def test_which_coefficients_are_covariates() -> None:
    def names(second: Any, outcome: str, **options: Any) -> list[str]:
        return list(fitted("adjusted", second=second, **options).covariates.loc[outcome].index)

    assert names("Intercept ~ z", "Intercept") == ["x1", "x2", "x3"]
    assert names("x1 ~ z", "x1") == ["x2", "x3"]  # the main effect of z is in the intercept
    assert names(["x1 ~ z", "Intercept ~ 1"], "x1") == ["Intercept", "x2", "x3"]
    assert names(["x1 ~ z", "x2 ~ w"], "x1") == ["x3"]
    assert names("x1 ~ z", "x1", covariates=["Intercept", "x2"]) == ["Intercept", "x2"]


def test_a_covariate_that_depends_on_the_context_is_told() -> None:
    frame = drawn().assign(y=lambda data: data["y"] + 1.5 * data["z"] * data["x2"])
    fit = fitted("adjusted", frame)
    (note,) = [note for note in fit.notes if "depend on the context variables" in note]
    assert "x2 (p < .001)" in note
    assert not [note for note in fitted("adjusted").notes if "depend on the context variables" in note]
    # what is estimated then is the effect at given slopes
    plain, table = fitted("ols", frame), fit.covariates.loc["Intercept"]
    of_z = np.array([fitted("ols", frame, second=f"{name} ~ z").params["z"] for name in table.index])
    np.testing.assert_allclose(fit.params["z"] + of_z @ table["coefficient"], plain.params["z"], rtol=1e-8)
    without = fitted("adjusted", frame, second=["Intercept ~ z", "x2 ~ z"])
    assert list(without.covariates.loc["Intercept"].index) == ["x1", "x3"]


def test_words() -> None:
    fit = fitted("adjusted-fgls")
    text = " ".join(str(fit.summary()).split())
    assert "2 of 3 principal components are used" in text
    assert "Intercept is adjusted for the coefficients of" in text
    assert "rows for each coefficient of the first step" not in text
    assert "rows for each coefficient of the first step" in " ".join(fitted("adjusted").notes)  # 37 for 4
    assert fit.estimator == "Two-step, adjusted FGLS"
    assert list(fit.sigma2.columns) == ["raw", "used", "adjusted raw", "adjusted"]
    assert fit.sigma2.loc["Intercept", "adjusted"] < fit.sigma2.loc["Intercept", "used"]
    assert fitted("fgls").covariates.empty


@pytest.mark.parametrize(
    ("second", "options", "words"),
    [
        (
            "Intercept ~ z",
            {"covariates": ["x9"]},
            "`covariates` are different coefficients of the first step, Intercept",
        ),
        ("Intercept ~ z", {"covariates": "some"}, "`covariates` is a list of coefficients"),
        ("Intercept ~ z", {"covariates": ["Intercept"]}, "`covariates` has 'Intercept', which `second` explains"),
        (["x1 ~ z", "x2 ~ z"], {"covariates": ["x2"]}, "`covariates` has 'x2', which `second` explains by context"),
        (["x1 ~ z", "x2 ~ z", "x3 ~ w"], {}, "x1 has no other coefficient to be adjusted for"),
        ("Intercept ~ z", {"vcov": "unscaled"}, "takes weights at their word"),
    ],
)
def test_wrong_input(second: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(cl.CrosslevelError, match=words):
        fitted("adjusted", second=second, **options)


def test_too_few_clusters_for_all_covariates() -> None:
    frame = drawn()
    with pytest.raises(
        cl.CrosslevelError, match=r"3 coefficients beside 2 .* at least 7 clusters are needed; there are 6"
    ):
        fitted("adjusted", frame[frame["g"] < 6], covariates="all")
    few = fitted("adjusted", frame[frame["g"] < 6])
    assert few.outcomes[0].adjustment.n_components <= 1
    assert few.df["z"] >= 3


def test_means_are_not_adjusted() -> None:
    second = ["x1 ~ z", "Intercept ~ 1"]
    for method, plain in (("adjusted", "ols"), ("adjusted-fgls", "fgls")):
        fit, other = fitted(method, second=second), fitted(plain, second=second)
        term = "Intercept: Intercept"
        pd.testing.assert_series_equal(fit.tidy().loc[term], other.tidy().loc[term])
        assert fit.outcomes[1].adjustment is None
        assert "Intercept is adjusted" not in str(fit.summary())
