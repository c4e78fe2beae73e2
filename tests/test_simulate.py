"""Drawn outcomes: their means and covariances, what is refused, and that seeds repeat."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

import crosslevel as cl
from crosslevel.estimators.mixed_fit import MixedFit

N = 4_000
"""Draws from which means and covariances are estimated."""

SIMULTANEOUS = 5.0
"""Monte-Carlo standard errors beyond which one of 666 covariances lies in one of 2,600 samples (4.0: one of 24)."""


def frame(seed: int = 8, n: int = 36) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = np.repeat(np.arange(6), n // 6), rng.integers(0, 4, n)
    x = rng.normal(2.0, 1.0, n)
    u, v = rng.normal(size=(6, 2)) @ np.array([[1.0, 0.4], [0.0, 0.7]]), rng.normal(0.0, 0.9, 4)
    y = 1.0 + 0.5 * x + u[a, 0] + u[a, 1] * x + v[b] + rng.normal(0.0, 0.8, n)
    return pd.DataFrame(
        {
            "y": y, "x": x, "a": a, "b": b, "s": np.where(rng.random(n) < 0.4, "low", "high"),
            "p": rng.uniform(0.4, 3.0, n), "o": 0.3 * x, "t": np.arange(n) % 6,
        },
        index=np.arange(100, 100 + n),
    )  # fmt: skip


DATA = frame()

FITS = {
    "one factor": {"formula": "y ~ x + (x | a)"},
    "crossed, an offset": {"formula": "y ~ x + (x | a) + (1 | b)", "offset": "o"},
    "precision weights": {"formula": "y ~ x + (1 | a) + (1 | b)", "weights": cl.Precision("p")},
    "strata": {"formula": "y ~ x + (1 | a)", "residual": cl.residual.By("s")},
    "autoregression": {"formula": "y ~ x + (1 | b)", "residual": cl.residual.AR1("t", within="a")},
    "no random effects": {"formula": "y ~ x", "residual": cl.residual.CompoundSymmetry("a", by="s")},
    "known errors": {"formula": "y ~ x + (1 | a)", "residual": cl.residual.Known("p")},
}


def fitted(name: str) -> MixedFit:
    settings = dict(FITS[name])
    data = DATA
    if name == "autoregression":  # units must lie in one level
        data = DATA.assign(b=DATA.a // 2)
    return cl.mixed(settings.pop("formula"), data, **settings)


def residual_covariance(fit: MixedFit, data: pd.DataFrame) -> np.ndarray:
    """Covariance of the residuals by their natural parameters."""
    values = dict(fit.residual_parameters()["estimate"])
    sd = np.full(len(data), fit.sigma)
    if "sigma[low]" in values:
        sd = np.where(data.s == "low", values.pop("sigma[low]"), values.pop("sigma[high]"))
    if isinstance(fit.given["residual"], cl.residual.Known):
        sd = data.p.to_numpy()
    if fit.given["weights"] is not None:
        sd = sd / np.sqrt(data.p.to_numpy())
    correlation = np.eye(len(data))
    if values:
        (rho,) = values.values()
        same = data.a.to_numpy()[:, None] == data.a.to_numpy()
        apart = np.abs(data.t.to_numpy()[:, None] - data.t.to_numpy())
        powers = apart if isinstance(fit.given["residual"], cl.residual.AR1) else np.sign(apart)
        correlation = np.where(same, float(rho) ** powers, 0.0)
    return correlation * sd[:, None] * sd


def covariance(fit: MixedFit, data: pd.DataFrame) -> np.ndarray:
    """V of the rows."""
    out = residual_covariance(fit, data)
    for name, psi in fit.cov_re.items():
        z = data.assign(Intercept=1.0)[list(psi.columns)].to_numpy()
        codes = data[name].to_numpy()
        out += (codes[:, None] == codes) * (z @ psi.to_numpy() @ z.T)
    return out


def assert_moments(draws: pd.DataFrame, mean: np.ndarray, V: np.ndarray) -> None:
    """Means of draws within 4 Monte-Carlo standard errors, all covariances at once within `SIMULTANEOUS` of theirs."""
    rows, n = draws.to_numpy(), draws.shape[1]
    assert np.all(np.abs(rows.mean(axis=1) - mean) < 4.0 * np.sqrt(np.diag(V) / n))
    centred = rows - mean[:, None]
    error = np.sqrt((np.outer(np.diag(V), np.diag(V)) + V**2) / n)
    assert np.all(np.abs(centred @ centred.T / n - V) < SIMULTANEOUS * error)


@pytest.mark.parametrize("name", FITS)
def test_draws_have_the_mean_and_covariance_of_the_model(name: str) -> None:
    fit = fitted(name)
    assert np.all([np.diag(psi).min() > 0.01 for psi in fit.cov_re.values()])
    draws = fit.simulate(seed=4, n=N)
    assert draws.index.equals(DATA.index)
    assert list(draws.columns[:2]) == ["sim_1", "sim_2"]
    assert_moments(draws, fit.predict(random_effects=False).to_numpy(), covariance(fit, fit.data))
    draws = fit.simulate(seed=5, n=N, random_effects="conditional")
    assert_moments(draws, fit.fitted.to_numpy(), residual_covariance(fit, fit.data))


@pytest.mark.parametrize("name", ["one factor", "crossed, an offset", "precision weights", "strata", "known errors"])
def test_new_rows(name: str) -> None:
    fit = fitted(name)
    new = DATA.iloc[::3].assign(a=lambda d: np.where(d.a == 2, 70, d.a), b=lambda d: np.where(d.b == 1, 71, d.b))
    assert_moments(
        fit.simulate(seed=6, n=N, new=new), fit.predict(new, random_effects=False).to_numpy(), covariance(fit, new)
    )
    draws = fit.simulate(seed=7, n=N, new=new, random_effects="conditional")
    V = residual_covariance(fit, new)
    for group, psi in fit.cov_re.items():  # those of new levels are drawn, all the same
        z = new.assign(Intercept=1.0)[list(psi.columns)].to_numpy()
        strange = (new[group].to_numpy() >= 70)[:, None] & (new[group].to_numpy() >= 70)
        V += strange * (z @ psi.to_numpy() @ z.T)
    assert_moments(draws, fit.predict(new).to_numpy(), V)


def test_missing_values_in_new_rows() -> None:
    fit = fitted("one factor")
    new = DATA.head(4).astype({"a": object})
    new.iloc[0, new.columns.get_loc("x")] = np.nan
    new.iloc[1:3, new.columns.get_loc("a")] = None
    draws = fit.simulate(seed=1, n=N, new=new)
    assert draws.iloc[0].isna().all()
    other = DATA.head(4).assign(a=[0, 50, 51, 0]).iloc[1:]  # a row whose cluster is missing has its own
    assert_moments(draws.iloc[1:], fit.predict(other, random_effects=False).to_numpy(), covariance(fit, other))
    frame = fit.simulate(seed=1, new=pl.from_pandas(DATA.reset_index(drop=True)))
    np.testing.assert_array_equal(frame, fit.simulate(seed=1, new=DATA))


def test_rows_with_several_levels() -> None:
    rng = np.random.default_rng(3)
    data = DATA.assign(m1=rng.integers(0, 6, len(DATA)), m2=rng.integers(0, 6, len(DATA)), w1=0.7, w2=rng.random())
    data = data.assign(y=lambda d: d.y + d.w1 * np.sin(3.0 * d.m1) * 2.0 + d.w2 * np.sin(3.0 * d.m2) * 2.0)
    fit = cl.mixed("y ~ x + (1 | mm(m1, m2, weights=[w1, w2])) + (1 | b)", data)
    (psi, own) = (fit.cov_re[name].iloc[0, 0] for name in ("mm(m1, m2)", "b"))
    assert psi > 0.01
    levels = np.arange(9)
    for rows in (data, data.assign(m1=data.m1.where(data.m1 != 2, 8))):
        shares = sum(rows[w].to_numpy()[:, None] * (rows[m].to_numpy()[:, None] == levels) for m, w in MEMBERS)
        V = psi * shares @ shares.T + own * (rows.b.to_numpy()[:, None] == rows.b.to_numpy())
        V += fit.sigma**2 * np.eye(len(rows))
        new = None if rows is data else rows
        draws = fit.simulate(seed=2, n=N, new=new)
        assert_moments(draws, fit.predict(new, random_effects=False).to_numpy(), V)
    draws = fit.simulate(seed=2, n=N, new=rows, random_effects="conditional")
    unknown = shares * (levels == 8)
    V = psi * unknown @ unknown.T + fit.sigma**2 * np.eye(len(rows))
    assert_moments(draws, fit.predict(rows).to_numpy(), V)


MEMBERS = (("m1", "w1"), ("m2", "w2"))


def test_seeds_repeat_and_leave_the_global_generator_alone() -> None:
    fit = fitted("crossed, an offset")
    state = np.random.get_state()[1].copy()
    one = fit.simulate(seed=3)
    assert one.name == "y"
    pd.testing.assert_series_equal(one, fit.simulate(3))
    pd.testing.assert_series_equal(one, fit.simulate(np.random.default_rng(3)))
    many = fit.simulate(3, n=3)
    np.testing.assert_array_equal(many["sim_1"], one)
    rng = np.random.default_rng(3)
    for column in many:
        np.testing.assert_array_equal(fit.simulate(rng), many[column])
    assert not np.allclose(fit.simulate(), fit.simulate())
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_refits_of_draws_recover_the_estimates() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 40, 600), rng.integers(0, 30, 600)
    x = rng.normal(size=600)
    y = 1.0 + x + rng.normal(size=40)[a] + 0.7 * rng.normal(size=30)[b] + rng.normal(size=600)
    fit = cl.mixed("y ~ x + (1 | a) + (1 | b)", pd.DataFrame({"y": y, "x": x, "a": a, "b": b}))
    again = [fit.refit(fit.simulate(seed)) for seed in range(12)]
    beta = np.array([other.params for other in again])
    sigma = np.array([other.sigma for other in again])
    variances = np.array([[psi.iloc[0, 0] for psi in other.cov_re.values()] for other in again])
    expected = [psi.iloc[0, 0] for psi in fit.cov_re.values()]
    for found, value in ((beta, fit.params), (sigma, fit.sigma), (variances, expected)):
        assert np.all(np.abs(found.mean(axis=0) - value) < 4.0 * found.std(axis=0, ddof=1) / np.sqrt(12))


def test_what_cannot_be_drawn_is_refused_in_words() -> None:
    fit = fitted("one factor")
    for arguments, message in (
        ({"n": 0}, "`n` is a number of simulations"),
        ({"n": 2.5}, "`n` is a number of simulations"),
        ({"random_effects": True}, "`random_effects` is 'new' or 'conditional'; got True"),
    ):
        with pytest.raises(cl.CrosslevelError, match=message):
            fit.simulate(1, **arguments)
    counted = cl.mixed("y ~ x + (1 | a)", DATA.assign(f=2.0), weights=cl.Frequency("f"))
    with pytest.raises(cl.CrosslevelError, match=r"`simulate` draws one outcome for each row.*Repeat the rows"):
        counted.simulate(1)
    with pytest.raises(cl.CrosslevelError, match=r"`new` cannot be simulated: residuals are correlated within a"):
        fitted("autoregression").simulate(1, new=DATA)


def test_sampling_weights_are_refused_in_words() -> None:
    data = DATA.assign(wa=1.0 + DATA.a % 2)
    fit = cl.mixed("y ~ x + (1 | a)", data, weights=cl.Sampling(clusters={"a": "wa"}), method="ml")
    with pytest.raises(cl.CrosslevelError, match=r"`simulate` draws rows of a population.*Fit without weights"):
        fit.simulate(1)
