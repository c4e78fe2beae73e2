"""Draws whose distribution is known: balanced one-way data, and outcomes of rows against draws of cross-products."""

import numpy as np
import pandas as pd
import pytest
from bootstrap_models import FORMULAS, fitted, of_file, setting_of
from scipy import stats

import crosslevel as cl
from crosslevel.inference.bootstrap.draws import Clusters, Parametric, Wild
from crosslevel.inference.bootstrap.rows import ModelRows, Reflated, Responses, WildRows
from crosslevel.inference.bootstrap.wild import AUXILIARY, shifts

CLUSTERS, ROWS = 20, 6
REPLICATES = 4000


def one_way() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(CLUSTERS), ROWS)
    y = 10.0 + rng.normal(0.0, 1.2, CLUSTERS)[g] + rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "g": [f"g{k:02}" for k in g]})


@pytest.fixture(scope="module")
def fit():
    return cl.mixed("y ~ 1 + (1 | g)", one_way())


def sums_of_squares(draw, setting):
    """Between and within clusters, in the units of the data."""
    unit = setting.reduced.coordinates.scale[-1] ** 2
    mean = draw.image[:, 0] / np.sqrt(ROWS)
    return ROWS * np.sum((mean - mean.mean()) ** 2) * unit, draw.remainder[-1, -1] * unit


def within(simulated: float, exact: float, error: float) -> bool:
    """Whether a simulated number lies within 3 Monte-Carlo standard errors of the exact one."""
    return abs(simulated - exact) <= 3.0 * error


def variance_within(values: np.ndarray, exact: float) -> bool:
    """The same for a variance, whose Monte-Carlo error follows from the fourth moment."""
    centred = (values - values.mean()) ** 2
    return within(centred.mean(), exact, centred.std() / np.sqrt(len(values)))


def test_parametric_sums_of_squares_are_chi_square_and_their_ratio_is_f(fit):
    setting, rng = setting_of(fit), np.random.default_rng(1)
    make = Parametric.of(setting)
    between, inside = np.array([sums_of_squares(make.draw(rng), setting) for _ in range(REPLICATES)]).T
    sigma2 = fit.sigma**2
    tau2 = float(fit.cov_re["g"].iloc[0, 0])
    df1, df2 = CLUSTERS - 1, CLUSTERS * (ROWS - 1)
    assert stats.kstest(inside / sigma2, stats.chi2(df2).cdf).pvalue > 0.005
    assert stats.kstest(between / (sigma2 + ROWS * tau2), stats.chi2(df1).cdf).pvalue > 0.005
    ratio = between / df1 / (inside / df2) * sigma2 / (sigma2 + ROWS * tau2)
    assert stats.kstest(ratio, stats.f(df1, df2).cdf).pvalue > 0.005


def test_parametric_replicates_have_the_known_distribution_of_the_mean(fit):
    boot = fit.bootstrap(REPLICATES, "parametric", seed=12)
    variance = (fit.sigma**2 + ROWS * float(fit.cov_re["g"].iloc[0, 0])) / (CLUSTERS * ROWS)
    z = (boot.replicates["Intercept"] - fit.params["Intercept"]) / np.sqrt(variance)
    assert stats.kstest(z, stats.norm.cdf).pvalue > 0.005
    low, high = boot.conf_int(terms=["Intercept"]).loc["Intercept", ["conf_low", "conf_high"]]
    half = stats.norm.ppf(0.975) * np.sqrt(variance)
    error = np.sqrt(0.025 * 0.975 / REPLICATES) / stats.norm.pdf(1.96) * np.sqrt(variance)
    assert within(low, fit.params["Intercept"] - half, error)
    assert within(high, fit.params["Intercept"] + half, error)


def test_parametric_variances_are_those_of_the_analysis_of_variance(fit):
    """REML in balanced data: sigma^2 = MSW and tau^2 = (MSB - MSW) / n where that is positive."""
    boot = fit.bootstrap(REPLICATES, "parametric", seed=3)
    df1, df2 = CLUSTERS - 1, CLUSTERS * (ROWS - 1)
    tau2 = float(fit.cov_re["g"].iloc[0, 0])
    inner = ~boot.batch.singular
    assert inner.mean() > 0.99
    msw = boot.replicates["sigma"][inner] ** 2
    assert stats.kstest(msw * df2 / fit.sigma**2, stats.chi2(df2).cdf).pvalue > 0.005
    msb = msw + ROWS * boot.replicates["sd(Intercept|g)"][inner] ** 2
    assert stats.kstest(msb * df1 / (fit.sigma**2 + ROWS * tau2), stats.chi2(df1).cdf).pvalue > 0.005


def test_studentised_intervals_of_the_mean_are_those_of_t(fit):
    """In balanced data (mean - mu) / standard error has t with J - 1 degrees of freedom, singular draws apart."""
    boot = fit.bootstrap(REPLICATES, "parametric", seed=4)
    row = boot.conf_int(method="studentised", terms=["Intercept"]).loc["Intercept"]
    exact = stats.t(CLUSTERS - 1).ppf(0.975) * fit.bse["Intercept"]
    density = stats.t(CLUSTERS - 1).pdf(stats.t(CLUSTERS - 1).ppf(0.975))
    error = np.sqrt(0.025 * 0.975 / REPLICATES) / density * fit.bse["Intercept"]
    assert within(row["conf_high"] - fit.params["Intercept"], exact, error)
    assert within(fit.params["Intercept"] - row["conf_low"], exact, error)


def test_a_cluster_draw_of_balanced_data_resamples_cluster_means(fit):
    """The mean is that of the drawn clusters' means: its variance is sum (mean_g - mean)^2 / J^2."""
    boot = fit.bootstrap(REPLICATES, "cluster", seed=5)
    means = one_way().groupby("g")["y"].mean().to_numpy()
    values = boot.replicates["Intercept"].to_numpy()
    exact = np.mean((means - means.mean()) ** 2) / CLUSTERS
    assert variance_within(values, exact)
    assert within(values.mean(), means.mean(), np.sqrt(exact / REPLICATES))


@pytest.mark.parametrize(("leverage", "power"), [("none", 0.0), ("cr2", 0.5), ("cr3", 1.0)])
@pytest.mark.parametrize("weights", ["webb", "rademacher"])
def test_a_wild_draw_weighs_the_clusters_residuals(fit, leverage, power, weights):
    """Each of J equal clusters has leverage 1 / J, so that "cr2" and "cr3" multiply by powers of J / (J - 1)."""
    boot = fit.bootstrap(REPLICATES, "wild", seed=6, leverage=leverage, weights=weights)
    means = one_way().groupby("g")["y"].mean().to_numpy()
    grown = (means - means.mean()) * (CLUSTERS / (CLUSTERS - 1)) ** power
    if leverage == "cr2":  # the leverage is that of the mean alone
        assert shifts_of(fit, leverage) == pytest.approx(grown - (means - means.mean()))
    assert variance_within(boot.replicates["Intercept"].to_numpy(), np.sum(grown**2) / CLUSTERS**2)


def shifts_of(fit, leverage):
    from crosslevel.inference.bootstrap.wild import leverage_shifts

    setting = setting_of(fit)
    return leverage_shifts(setting, leverage)[:, 0] * setting.reduced.coordinates.scale[-1]


@pytest.mark.parametrize("name", list(AUXILIARY))
def test_wild_weights_have_mean_zero_and_variance_one(name):
    w = AUXILIARY[name](np.random.default_rng(1), 100_000)
    assert within(w.mean(), 0.0, 1.0 / np.sqrt(len(w)))
    assert within(np.mean(w**2), 1.0, np.std(w**2) / np.sqrt(len(w)) + 1e-12)
    assert len(np.unique(w.round(9))) == {"webb": 6, "rademacher": 2}[name]


def test_residual_draws_have_the_estimated_variances(fit):
    boot = fit.bootstrap(REPLICATES, "residual", seed=7)
    tau2 = float(fit.cov_re["g"].iloc[0, 0])
    exact = (fit.sigma**2 + ROWS * tau2) / (CLUSTERS * ROWS)
    assert variance_within(boot.replicates["Intercept"].to_numpy(), exact)
    sigma2 = boot.replicates["sigma"].to_numpy() ** 2
    assert within(sigma2.mean(), fit.sigma**2, sigma2.std() / np.sqrt(REPLICATES) + 1e-3 * fit.sigma**2)


SINGLE = ["two effects", "three effects", "blocks of both kinds", "no intercept", "precisions"]


@pytest.mark.parametrize("name", SINGLE)
def test_rows_become_the_cross_products_of_their_fit(name):
    model = fitted(name)
    setting, rows = setting_of(model), ModelRows.of(model.design)
    draw = Responses(setting=setting, rows=rows, design=model.design).draw(rows.y)
    reduced = setting.reduced
    assert draw.image == pytest.approx(reduced.image[:, :, -1], abs=1e-10)
    assert draw.remainder == pytest.approx(reduced.remainder, abs=1e-9 * np.abs(reduced.remainder).max())


def test_rows_of_clusters_with_fewer_rows_than_effects():
    frame = pd.DataFrame({"g": np.repeat(list("abcdefgh"), [1, 2, 5, 6, 7, 1, 4, 8])})
    rng = np.random.default_rng(3)
    frame["x"] = rng.normal(size=len(frame))
    frame["y"] = frame["x"] + rng.normal(size=8)[np.unique(frame["g"], return_inverse=True)[1]] + rng.normal(size=34)
    model = cl.mixed("y ~ x + (x | g)", frame)
    setting, rows = setting_of(model), ModelRows.of(model.design)
    draw = Responses(setting=setting, rows=rows, design=model.design).draw(rows.y)
    assert draw.image == pytest.approx(setting.reduced.image[:, :, -1], abs=1e-10)
    assert draw.remainder == pytest.approx(setting.reduced.remainder, abs=1e-9)
    assert Parametric.of(setting).df == len(frame) - (2 * 8 - 2) - 0


@pytest.mark.parametrize("name", ["two effects", "no intercept", "precisions"])
def test_parametric_draws_are_those_of_simulated_rows(name):
    """Mean and covariance of all cross-products of the outcome agree with those of outcomes drawn row by row."""
    model = fitted(name)
    setting, rng, n = setting_of(model), np.random.default_rng(5), 3000
    make, turn = (
        Parametric.of(setting),
        Responses(setting=setting, rows=ModelRows.of(model.design), design=model.design),
    )

    def flat(draw):
        return np.concatenate([draw.image.ravel(), draw.remainder[-1]])

    products = np.array([flat(make.draw(rng)) for _ in range(n)])
    rows = np.array([flat(turn.draw(y)) for y in model.simulate(seed=6, n=n).to_numpy().T])
    moving = products.std(axis=0) > 1e-9
    assert np.array_equal(moving, rows.std(axis=0) > 1e-9)
    a, b = products[:, moving], rows[:, moving]
    error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / n)
    assert np.abs((a.mean(axis=0) - b.mean(axis=0)) / error).max() < 4.5
    assert np.abs(np.log(a.var(axis=0) / b.var(axis=0))).max() < 4.5 * np.sqrt(4.0 / n)
    correlations = np.arctanh(np.clip(np.corrcoef(a.T), -0.999, 0.999)) - np.arctanh(
        np.clip(np.corrcoef(b.T), -0.999, 0.999)
    )
    assert np.abs(correlations).max() < 5.5 * np.sqrt(2.0 / n)


def test_reflated_effects_have_exactly_the_estimated_covariance():
    model = of_file("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    source = Reflated.of(ModelRows.of(model.design), model.solution)
    (effects,) = source.effects
    assert effects.mean(axis=0) == pytest.approx(0.0, abs=1e-9)
    assert effects.T @ effects / len(effects) == pytest.approx(model.cov_re["Subject"].to_numpy(), rel=1e-9)
    assert np.mean(source.residuals**2) == pytest.approx(model.sigma**2)
    assert source.residuals.mean() == pytest.approx(0.0, abs=1e-9)


def test_reflated_effects_of_a_singular_fit_stay_where_they_vary():
    model = of_file("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    source = Reflated.of(ModelRows.of(model.design), model.solution)
    assert np.all(source.effects[0] == 0.0)


@pytest.mark.parametrize("leverage", ["none", "cr2", "cr3"])
@pytest.mark.parametrize("name", ["two effects", "precisions", "ml"])
def test_wild_products_are_those_of_the_rows(name, leverage):
    """y_g = X_g beta + w_g (v_g + X_g k_g), made row by row with leverage in the metric of V."""
    model = fitted(name)
    setting, rows = setting_of(model), ModelRows.of(model.design)
    wild = Wild.of(setting, weights="webb", leverage=leverage)
    draw = wild.draw(np.random.default_rng(9))
    w = AUXILIARY["webb"](np.random.default_rng(9), setting.n_clusters)
    codes = rows.members[0][0][0]
    fixed = model.solution.beta @ rows.x
    v = rows.y - fixed
    adjusted = v + dense_shift(model, rows, v, codes, leverage)
    expected = Responses(setting=setting, rows=rows, design=model.design).draw(fixed + w[codes] * adjusted)
    assert draw.image == pytest.approx(expected.image, abs=1e-8 * np.abs(expected.image).max())
    assert draw.remainder == pytest.approx(expected.remainder, abs=1e-8 * np.abs(expected.remainder).max())


def dense_shift(model, rows, v, codes, leverage):
    """X_g k_g row by row, from dense covariance matrices."""
    n_clusters = codes.max() + 1
    covariance = [dense_covariance(model, rows, codes == g) for g in range(n_clusters)]
    x = [rows.x[:, codes == g].T for g in range(n_clusters)]
    inverse = [np.linalg.inv(part) for part in covariance]
    information = np.array([a.T @ b @ a for a, b in zip(x, inverse, strict=True)])
    score = np.array([a.T @ b @ v[codes == g] for g, (a, b) in enumerate(zip(x, inverse, strict=True))])
    out = np.zeros(len(v))
    if leverage == "cr3":
        for g in range(n_clusters):
            out[codes == g] = x[g] @ np.linalg.solve(information.sum(axis=0) - information[g], score[g])
    elif leverage == "cr2":  # V^1/2 (I - H)^-1/2 V^-1/2 v with the symmetric root of I - H
        for g in range(n_clusters):
            low = np.linalg.cholesky(covariance[g])
            white = np.linalg.solve(low, x[g])
            values, vectors = np.linalg.eigh(
                np.eye(len(white)) - white @ np.linalg.solve(information.sum(axis=0), white.T)
            )
            root = (vectors / np.sqrt(values)) @ vectors.T
            own = v[codes == g]
            out[codes == g] = low @ root @ np.linalg.solve(low, own) - own
    return out


def dense_covariance(model, rows, chosen):
    """V of one cluster, relative to sigma^2."""
    z = rows.z[0][:, chosen].T @ model.solution.factors[0]
    weights = np.ones(len(z)) if rows.weights is None else rows.weights[chosen]
    return np.diag(1.0 / weights) + z @ z.T


def test_wild_rows_take_off_the_leverage_of_ordinary_least_squares():
    model = fitted("two effects")
    rows = ModelRows.of(model.design)
    codes = rows.members[0][0][0]
    made = WildRows.of(rows, model.solution, codes, 14, weights="webb", leverage="cr3")
    v = rows.y - model.solution.beta @ rows.x
    for g in (0, 5):
        own = codes == g
        left = np.linalg.solve(rows.x[:, ~own] @ rows.x[:, ~own].T, rows.x[:, own] @ v[own])
        assert made.residuals[own] == pytest.approx(v[own] + left @ rows.x[:, own], rel=1e-9)


def test_a_cluster_that_decides_alone_keeps_its_residuals():
    """A coefficient of one cluster only: its residuals have nothing of it, and are not blown up."""
    information = np.zeros((3, 2, 2))
    information[:, 0, 0] = 1.0
    information[0, 1, 1] = 4.0
    out = shifts(information, np.array([[1.0, 0.0], [-0.5, 0.0], [-0.5, 0.0]]), "cr3")
    assert out == pytest.approx(np.array([[0.5, 0.0], [-0.25, 0.0], [-0.25, 0.0]]))


@pytest.mark.parametrize("name", list(FORMULAS))
def test_a_draw_of_each_cluster_once_is_the_data(name):
    setting = setting_of(fitted(name))

    class Once:
        def integers(self, low, high, n):
            return np.arange(n)

    draw = Clusters(setting=setting).draw(Once())
    assert draw.remainder == pytest.approx(
        setting.reduced.remainder, abs=1e-9 * np.abs(setting.reduced.remainder).max()
    )
    assert draw.n_rows == pytest.approx(setting.reduced.n_rows)
    assert draw.log_weight == pytest.approx(setting.reduced.log_weight)


# -- coverage -----------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "method", "least"),
    [
        ("parametric", "studentised", 0.95),
        ("cluster", "studentised", 0.93),
        ("cluster", "bca", 0.90),
        ("wild", "studentised", 0.93),
        ("residual", "studentised", 0.95),
    ],
)
def test_coverage_of_a_slope_of_clusters(kind, method, least):
    """30 clusters, a predictor of clusters: 95 % intervals hold the truth as often as is known of each method.

    The parametric and the residual bootstrap-t are right; percentile-like intervals and resampled clusters fall a
    little short with few clusters.
    """
    rng, hits, n = np.random.default_rng(20), 0, 250
    g = np.repeat(np.arange(30), rng.integers(4, 12, 30))
    for k in range(n):
        w, x = rng.normal(size=30)[g], rng.normal(size=len(g))
        y = 0.5 * w + 0.2 * x + rng.normal(0.0, 0.6, 30)[g] + rng.normal(0.0, 0.4, 30)[g] * x + rng.normal(size=len(g))
        model = cl.mixed("y ~ x + w + (x | g)", pd.DataFrame({"y": y, "x": x, "w": w, "g": g.astype(str)}))
        boot = model.bootstrap(299, kind, seed=k, n_jobs=1, progress=False)
        low, high = boot.conf_int(method=method, terms=["w"]).loc["w", ["conf_low", "conf_high"]]
        hits += low <= 0.5 <= high
    error = np.sqrt(0.95 * 0.05 / n)
    assert hits / n >= least - 3.0 * error
    assert hits / n <= 0.95 + 3.0 * error
