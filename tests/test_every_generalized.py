"""Every method on every kind of generalized model: finite numbers, or an error that says why there are none."""

import json
import pickle
import re
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.families import Binomial, Ordinal

RIGHT = " ~ x * z + k + "


@cache
def rows() -> pd.DataFrame:
    """12 clusters c of 2 units s of 8 rows, crossed with 6 levels h; x varies by row, z by cluster."""
    rng = np.random.default_rng(3)
    n, c, s = 192, np.repeat(np.arange(12), 16), np.repeat(np.arange(24), 8)
    h, x, z = rng.integers(0, 6, n), rng.standard_normal(n), rng.standard_normal(12)[c]
    eta = 0.2 + 0.5 * x + 0.4 * z + 0.8 * rng.standard_normal(12)[c] + 0.6 * rng.standard_normal(12)[c] * x
    eta += 0.6 * rng.standard_normal(24)[s] + 0.6 * rng.standard_normal(6)[h]
    noise = rng.logistic(size=n)
    size, hours, p = rng.integers(2, 9, n), rng.uniform(0.5, 3.0, n), 1.0 / (1.0 + np.exp(-eta))
    mean = np.exp(0.5 * eta)
    won, mixed = rng.binomial(size, p), rng.binomial(size, rng.beta(4.0 * p, 4.0 * (1.0 - p)))
    k = rng.choice(["a", "b", "d"], n)
    return pd.DataFrame(
        {
            "y": (eta + noise > 0.0).astype(int), "flat": (x + noise > 0.0).astype(int),
            "always": np.where(k == "b", 1, eta + noise > 0.0).astype(int), "rank": np.digitize(eta + noise, [-1, 0.7]),
            "won": won, "lost": size - won, "mixed": mixed, "unmixed": size - mixed, "hours": hours,
            "count": rng.poisson(hours * mean), "many": rng.poisson(hours * mean * rng.gamma(1.5, 1.0 / 1.5, n)),
            "even": rng.binomial(4, p), "amount": rng.gamma(2.0, mean / 2.0),
            "part": rng.beta(1.0 + 5.0 * p, 6.0 - 5.0 * p), "x": x, "z": z, "k": k, "c": c, "s": s, "h": h,
            "c2": rng.integers(0, 12, n), "first": 0.7, "second": 0.3, "off": 0.3 * rng.standard_normal(n),
            "f": rng.integers(1, 3, n), "w": rng.uniform(0.5, 2.0, n), "wc": 1.0 + c % 3,
        }
    )  # fmt: skip


def model(outcome: str, random: str, family: Any = "binomial", **given: Any) -> Callable[[], GeneralizedFit]:
    return lambda: cl.mixed(outcome + RIGHT + random, rows(), family=family, **{"quadrature": "laplace", **given})


MODELS: dict[str, Callable[[], GeneralizedFit]] = {
    "logit": model("y", "(1 | c)", quadrature=3),
    "slope": model("y", "(x | c)"),
    "uncorrelated": model("cbind(won, lost)", "(x || c)"),
    "probit": model("y", "(1 | c)", Binomial(link="probit")),
    "cloglog": model("y", "(1 | c)", Binomial(link="cloglog")),
    "trials": model("cbind(won, lost)", "(1 | c)"),
    "poisson": model("count", "(1 | c)", "poisson", exposure="hours"),
    "nb2": model("many", "(1 | c)", "negbinomial", exposure="hours"),
    "nb1": model("many", "(1 | c)", "nbinom1", exposure="hours"),
    "nb2 at its limit": model("even", "(1 | c)", "negbinomial"),
    "gamma": model("amount", "(1 | c)", "gamma"),
    "beta": model("part", "(1 | c)", "beta"),
    "beta-binomial": model("cbind(mixed, unmixed)", "(1 | c)", "betabinomial"),
    "ordinal": model("rank", "(1 | c)", "ordinal"),
    "ordinal probit": model("rank", "(1 | c)", Ordinal(link="probit")),
    "crossed": model("y", "(1 | c) + (1 | h)"),
    "nested": model("count", "(x | c) + (1 | c:s)", "poisson"),
    "singular": model("flat", "(x | c)"),
    "separated": model("always", "(1 | c)"),
    "prior": model("always", "(1 | c)", prior=cl.prior.Weak()),
    "frequency": model("y", "(1 | c)", weights=cl.Frequency("f")),
    "sampling": model("y", "(1 | c)", weights=cl.Sampling("w", clusters={"c": "wc"})),
    "pql": model("y", "(1 | c)", quadrature="pql"),
    "offset": model("y", "(1 | c)", offset="off"),
    "membership": model("y", "(1 | mm(c, c2, weights=[first, second]))"),
}


def known(fit: GeneralizedFit) -> pd.DataFrame:
    return rows().head(4)


def strange(fit: GeneralizedFit) -> pd.DataFrame:
    frame = rows().head(4)
    return frame.assign(**{name: frame[name] + 1000 for name in ("c", "s", "h", "c2")})


METHODS: dict[str, Callable[[GeneralizedFit], Any]] = {
    **{f"ddf {d}": lambda fit, d=d: fit.tests(d) for d in ("auto", "between-within", "m-l-1", "residual")},
    **{d: lambda fit, d=d: fit.tests(d) for d in ("satterthwaite", "kenward-roger", "growth-curve")},
    **{d: lambda fit, d=d: fit.tests(vcov=d) for d in ("CR0", "CR1", "CR2", "CR3")},
    "terms": lambda fit: fit.anova(),
    "contrast": lambda fit: fit.contrast({"at z = 1": "x + x:z"}),
    "joint": lambda fit: fit.contrast(["x", "x:z"], joint=True),
    "intervals": lambda fit: fit.conf_int(0.9),
    "profile": lambda fit: fit.profile(["x"], progress=False).conf_int(),
    "ratio test": lambda fit: cl.lrtest(fit.update("~ . - k"), fit).frame[["statistic", "p_value"]].iloc[-1:],
    "random effects": lambda fit: fit.test_random()[["statistic", "p_value"]],
    "rank": lambda fit: fit.rank_re().components,
    "icc": lambda fit: pd.Series(vars(fit.icc(kind="adjusted"))),
    "icc of the outcome": lambda fit: pd.Series(vars(fit.icc(kind="adjusted", scale="response"))),
    "shares": lambda fit: fit.r2().shares["variance"],
    "shares of the outcome": lambda fit: fit.r2(scale="response").shares["variance"],
    "odds ratios": lambda fit: fit.odds_ratios()["estimate"],
    "rate ratios": lambda fit: fit.rate_ratios()["estimate"],
    "median ratio": lambda fit: fit.median_ratio()["estimate"],
    "interval ratios": lambda fit: fit.interval_ratios(),
    "margins": lambda fit: cl.margins(fit, "k").frame[["estimate", "std_error", "conf_low", "conf_high"]],
    "margins at zero": lambda fit: cl.margins(fit, "k", random_effects="zero", ddf="m-l-1").frame["estimate"],
    "slopes": lambda fit: cl.slopes(fit, "x", by={"z": [0.0, 1.0]}).contrasts().frame,
    "slopes of the predictor": lambda fit: cl.slopes(fit, "x", scale="link").frame,
    "regions": lambda fit: cl.johnson_neyman(fit, "x", "z").frame["estimate"],
    "fitted": lambda fit: fit.fitted,
    "residuals": lambda fit: fit.resid,
    "known clusters": lambda fit: fit.predict(known(fit)),
    "new clusters": lambda fit: fit.predict(strange(fit)),
    "averages": lambda fit: fit.predict(strange(fit), random_effects="average"),
    "linear predictors": lambda fit: fit.predict(strange(fit), scale="link", se=True),
    "intervals of predictions": lambda fit: fit.predict(known(fit), interval="confidence"),
    "simulate": lambda fit: fit.simulate(seed=1, n=2).astype(float),
    "refit": lambda fit: fit.refit(fit.simulate(seed=2)).params,
    "update": lambda fit: fit.update("~ . - k").params,
    "influence": lambda fit: cl.influence(fit, "wc", progress=False).frame["cooks_distance"],
    "quantile residuals": lambda fit: cl.quantile_residuals(fit, n=20, seed=1).values,
    "dispersion": lambda fit: str(cl.dispersion(fit, n=20, seed=1)),
    "zeros": lambda fit: str(cl.zero_inflation(fit, n=20, seed=1)),
    "calibration": lambda fit: str(cl.calibration(fit, n=20, seed=1)),
    "observed and expected": lambda fit: str(cl.observed_expected(fit, n=20, seed=1)),
    "compare": lambda fit: str(cl.compare({"one": fit, "other": fit})),
    "record": lambda fit: json.dumps(fit.to_dict(), allow_nan=False),
    "glance": lambda fit: fit.glance(),
    "augment": lambda fit: fit.augment(),
    "reliability": lambda fit: fit.reliability().average,
    "components": lambda fit: fit.varcomp()["estimate"],
    "modes": lambda fit: next(iter(fit.ranef().values())),
    "coefficients of clusters": lambda fit: next(iter(fit.coef().values())),
    "thresholds": lambda fit: fit.thresholds(),
    "shape": lambda fit: fit.shape_parameters()["estimate"],
    "summary": lambda fit: str(fit),
    "html": lambda fit: fit._repr_html_(),
    "pickle": lambda fit: pickle.loads(pickle.dumps(fit)).params,
    "sigma": lambda fit: fit.sigma,
    "heterogeneity": lambda fit: fit.heterogeneity(),
    "design effect": lambda fit: fit.design_effect(),
    "power": lambda fit: cl.power(fit, target="x", reps=2, progress=False),  # type: ignore[arg-type]
    "residual plot": lambda fit: cl.plot.residual_qq(fit),
    "fitted lines": lambda fit: cl.plot.fitted_lines(fit),
    "shrinkage": lambda fit: cl.plot.shrinkage(fit),
    "resampled residuals": lambda fit: fit.bootstrap(20, "residual", progress=False),  # type: ignore[arg-type]
}


@cache
def fitted(name: str) -> GeneralizedFit:
    """Each model once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.DataWarning)
        return MODELS[name]()


EVERYWHERE = {
    "satterthwaite", "kenward-roger", "growth-curve", "CR2", "sigma", "heterogeneity", "design effect", "power",
    "residual plot", "fitted lines", "shrinkage", "resampled residuals",
}  # fmt: skip
"""What is defined for linear models only."""

BINARY = {
    "logit", "slope", "probit", "cloglog", "crossed", "singular", "separated", "prior", "frequency",
    "sampling", "pql", "offset", "membership",
}  # fmt: skip
ORDERED = {"ordinal", "ordinal probit"}
LOGARITHMS = {"poisson", "nb2", "nb1", "nb2 at its limit", "gamma", "nested"}
SANDWICH = ("CR0", "CR1", "CR3")
REFUSED: dict[str, set[str]] = {
    **{key: set(MODELS) for key in EVERYWHERE},
    **{key: {"crossed", "membership", "pql", "sampling"} for key in SANDWICH},
    **{key: {"pql", "sampling"} for key in ("profile", "influence")},
    **{key: {"pql", "prior", "sampling"} for key in ("ratio test", "random effects")},
    **{key: {"frequency", "sampling"} for key in ("simulate", "refit", "quantile residuals", "calibration")},
    **dict.fromkeys(
        ("icc of the outcome", "shares of the outcome", "regions", "residuals", "intervals of predictions"), ORDERED
    ),
    "observed and expected": {"frequency", "sampling", "membership"},
    "ddf between-within": {"crossed", "membership"},
    "odds ratios": LOGARITHMS | {"probit", "ordinal probit", "cloglog"},
    "rate ratios": set(MODELS) - LOGARITHMS,
    "median ratio": {"probit", "ordinal probit"},
    "interval ratios": {"probit", "ordinal probit", "membership"},
    "dispersion": BINARY | ORDERED,
    "zeros": BINARY | ORDERED | {"gamma", "beta"},
    "thresholds": set(MODELS) - ORDERED,
}
"""What is not defined; everything else gives numbers."""

EMPTY = {"shape": BINARY | ORDERED | {"trials", "uncorrelated", "poisson", "nested"}}
INFINITE = {"df", "df_den"}
"""Columns that are infinite where tests are those of the normal distribution."""


def check_numbers(found: Any, name: str) -> None:
    """Finite numbers, or words without numbers that are none."""
    if isinstance(found, str):
        assert found
        assert name in ("html", "record") or not re.search(r"\bnan\b|\binf\b", found, re.IGNORECASE)
        return
    frame = pd.DataFrame(found)
    numbers = frame.select_dtypes("number").drop(columns=INFINITE, errors="ignore")
    assert len(frame)
    assert numbers.size
    assert np.isfinite(numbers.to_numpy(dtype=float)).all()
    for column in frame.columns.intersection(["p_value"]):
        assert frame[column].between(0.0, 1.0).all()
    for column in frame.columns.intersection(["std_error"]):
        assert (frame[column] > 0.0).all()
    if {"conf_low", "estimate", "conf_high"} <= set(frame.columns):
        assert (frame["conf_low"] <= frame["estimate"]).all()
        assert (frame["estimate"] <= frame["conf_high"]).all()


@pytest.mark.parametrize("name", MODELS)
def test_numbers_or_a_reason(name: str) -> None:
    fit = fitted(name)
    for method, ask in METHODS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cl.DataWarning)  # few clusters: the answer says so
            if name in REFUSED.get(method, set()):
                with pytest.raises(CrosslevelError, match=r"\. [A-Z`]|: [a-z]|; "):  # a reason, or what to do instead
                    ask(fit)
                continue
            found = ask(fit)
        if name in EMPTY.get(method, set()):
            assert not len(found)
        elif (name, method) == ("separated", "influence"):
            assert not np.isfinite(found).any()  # separated without any one cluster, as the frame says
        elif (name, method) == ("separated", "ddf auto"):
            assert (found["std_error"] > 0.0).all()
        else:
            check_numbers(found, method)


def test_profile_of_a_coefficient_without_estimate() -> None:
    """The likelihood bounds it on one side only."""
    ends = fitted("separated").profile(["k[b]"], progress=False).conf_int().loc["k[b]"]
    assert 0.0 < ends["conf_low"] < 10.0
    assert ends["conf_high"] == np.inf


@pytest.mark.parametrize(("family", "name"), [("negbinomial", "precision"), ("nbinom1", "dispersion")])
def test_dispersion_at_its_limit(family: str, name: str) -> None:
    """Counts that vary as Poisson ones: the model is theirs, and the profile says what else would do."""
    fit = cl.mixed("even ~ x + z + (1 | c)", rows(), family=family, quadrature="laplace")
    plain = cl.mixed("even ~ x + z + (1 | c)", rows(), family="poisson", quadrature="laplace")
    assert fit.loglik == pytest.approx(plain.loglik, abs=1e-6)
    np.testing.assert_allclose(fit.bse, plain.bse, rtol=1e-4)
    assert any("No overdispersion" in note and "family='poisson'" in note for note in fit.notes)
    assert fit.shape_parameters().loc[name].isna().tolist() == [False, True, True, True]
    ends = fit.profile([name], progress=False).conf_int().loc[name]
    if name == "precision":
        assert 0.5 < ends["conf_low"] < 1e3
        assert ends["conf_high"] == np.inf
    else:
        assert ends["conf_low"] == 0.0
        assert 0.0 < ends["conf_high"] < 2.0


@pytest.mark.parametrize("name", ["nb2", "gamma", "ordinal", "crossed"])
def test_influence_is_that_of_fits_without_the_cluster(name: str) -> None:
    fit = fitted(name)
    found = cl.influence(fit, "c", progress=False).frame
    for place in (0, 7):
        left = fit.update(data=rows().query(f"c != {place}"))
        np.testing.assert_allclose(found.loc[str(place), list(left.params.index)], left.params, atol=2e-4)


def test_categories_may_be_written_as_numbers() -> None:
    fit = fitted("ordinal")
    again = fit.refit(rows()["rank"].astype(float))
    np.testing.assert_allclose(again.params, fit.params, atol=1e-5)


def test_models_without_fixed_effects() -> None:
    fit = cl.mixed("y ~ 0 + (1 | c)", rows(), family="binomial", quadrature="laplace")
    assert len(fit.params) == 0
    assert fit.profile(progress=False).conf_int().index.tolist() == ["sd(Intercept|c)"]
    assert (cl.influence(fit, "wc", progress=False).frame["sd(Intercept|c)"] > 0.0).all()
    assert "nan" not in str(fit)
