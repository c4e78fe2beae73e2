"""Batches of simulated pooled and two-step regressions: equal to `cl.ols` and `cl.two_step` on the rows of each."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import crosslevel as cl
from crosslevel.design import reduced
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.two_step_outcomes import METHODS
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.simulation.estimators import stacked
from crosslevel.simulation.estimators.ols import OLS, few_clusters
from crosslevel.simulation.estimators.two_step import TwoStep
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.sampler import sampler_of
from crosslevel.simulation.processes.variables import Arms, Context, Normal

RTOL, DF_TOLERANCE = 1e-9, 1e-7
TERMS = ("Intercept", "x1", "x2", "x3", "z", "x1:z")
POOLED, FIRST = "y ~ x1 + x2 + x3 + z + x1:z", "y ~ x1 + x2 + x3"


def process(**changes: Any) -> Process:
    base = {
        "formula": "y ~ x1 + x2 + x3 + z + x1:z + (1 + x1 + x2 + x3 | g)",
        "effects": dict.fromkeys(TERMS, 1.0),
        "sd": {"Intercept": 0.6, "x1": 0.6, "x2": 0.4, "x3": 0.2},
        "correlation": 0.5,
        "clusters": 12,
        "size": (20, 60),
        "variables": {"x1": Normal(between=0.3), "z": Context(), "w": Context()},
        "rows": True,
    }
    return Process(**{**base, **changes})


CASES = {
    "many rows": process(),
    "fewer rows than coefficients": process(clusters=24, size=(1, 12)),
    "few clusters": process(clusters=7, size=(8, 14)),
    "far from zero, other units": process(
        variables={
            "x1": Normal(mean=3e4, sd=1e4), "x2": Normal(sd=1e-3), "z": Context(mean=30.0), "w": Context(sd=1e4),
        },
        effects={"Intercept": 1e4, "x1": 1e-4, "x2": 1e3, "x3": 1.0, "z": 1.0, "x1:z": 1e-5},
        sd={"Intercept": 0.6, "x1": 1e-5, "x2": 100.0, "x3": 0.2},
    ),
}  # fmt: skip


@cache
def data(case: str, formulas: tuple[str, ...]) -> tuple[Drawn, list[Any]]:
    """Products of three replications, and the very rows."""
    seeds = np.random.SeedSequence(7).spawn(3)
    return sampler_of(CASES[case], formulas).draw(seeds), [CASES[case].frame(seed) for seed in seeds]


def assert_equal(ours: Any, theirs: Any, std_error: Any, rtol: float = RTOL) -> None:
    """Estimates that may be close to zero, to a share of their own size or of their standard errors."""
    assert np.all(np.abs(ours - theirs) <= rtol * np.maximum(np.abs(theirs), std_error))


# -- pooled -----------------------------------------------------------------------------------------------------------

KINDS = ("CR0", "CR1", "CR1S", "CR2", "CR3")


@pytest.mark.parametrize("case", CASES)
def test_pooled_equals_rows(case: str) -> None:
    estimator = OLS(name="OLS", formula=POOLED, intervals=("iid, residual", *(f"{k}, satterthwaite" for k in KINDS)))
    drawn, frames = data(case, estimator.formulas)
    found = estimator.prepare(CASES[case], TERMS, 0.9).regress(drawn)
    assert np.all(found.outcome == Outcome.FITTED)
    for r, frame in enumerate(frames):
        fit = cl.ols(POOLED, frame, cluster="g")
        for i, kind in enumerate(("iid", *KINDS)):
            theirs = fit.tests(kind).loc[list(TERMS)]
            assert_equal(found.estimate[r], theirs["estimate"], theirs["std_error"])
            np.testing.assert_allclose(found.std_error[r, :, i], theirs["std_error"], rtol=RTOL)
            np.testing.assert_allclose(found.df[r, :, i], theirs["df"], rtol=DF_TOLERANCE)


def test_pooled_without_intercept() -> None:
    formula = "y ~ 0 + x1 + z"
    estimator = OLS(name="OLS", formula=formula, intervals=("CR2, satterthwaite",))
    drawn, frames = data("fewer rows than coefficients", estimator.formulas)
    found = estimator.prepare(CASES["fewer rows than coefficients"], ("z", "x1"), 0.95).regress(drawn)
    for r, frame in enumerate(frames):
        theirs = cl.ols(formula, frame, cluster="g").tests().loc[["z", "x1"]]
        np.testing.assert_allclose(found.estimate[r], theirs["estimate"], rtol=RTOL)
        np.testing.assert_allclose(found.std_error[r, :, 0], theirs["std_error"], rtol=RTOL)
        np.testing.assert_allclose(found.df[r, :, 0], theirs["df"], rtol=DF_TOLERANCE)


def test_pooled_where_one_cluster_determines_a_coefficient() -> None:
    alone = process(clusters=10, variables={"z": Arms(share=0.1), "w": Context()})
    estimator = OLS(name="OLS", formula="y ~ x1 + z", intervals=("CR2, satterthwaite", "CR0, m-l-1", "CR3, m-l-1"))
    seed = np.random.SeedSequence(3)
    drawn, frame = sampler_of(alone, estimator.formulas).draw([seed]), alone.frame(seed)
    found = estimator.prepare(alone, ("x1", "z"), 0.95).regress(drawn)
    fit = cl.ols("y ~ x1 + z", frame, cluster="g")
    for i, kind in enumerate(("CR2", "CR0")):
        theirs = fit.tests(kind).loc[["x1", "z"]]
        np.testing.assert_allclose(
            found.std_error[0, :, i], theirs["std_error"], rtol=1e-6
        )  # leverage is 1 to rounding
    assert np.isnan(found.std_error[0, 1, 0]) == np.isnan(fit.tests("CR2").loc["z", "std_error"])
    with pytest.raises(CrosslevelError, match="CR3"):
        fit.tests("CR3")
    assert np.all(np.isnan(found.std_error[0, :, 2]))
    assert found.outcome[0] == Outcome.FITTED


def test_pooled_intervals() -> None:
    names = ("CR1S, m-l-1", "CR0, normal", "CR1, residual", "iid, m-l-1")
    drawn, _ = data("many rows", (POOLED,))
    prepared = OLS(name="OLS", formula=POOLED, intervals=names).prepare(CASES["many rows"], TERMS, 0.9)
    pooled, found = prepared.regress(drawn), prepared.estimate(drawn, ())
    # z explains the intercept and the slope of x1; the slopes of x2 and x3 have equations of their own
    np.testing.assert_array_equal(pooled.df[0, :, 0], [10, 10, 11, 11, 10, 10])
    np.testing.assert_array_equal(pooled.df[0, :, 1], np.inf)
    rows = drawn.count.sum(axis=1)
    np.testing.assert_array_equal(pooled.df[:, 0, 2], rows - 6)
    ratio = pooled.std_error[:, :, 0] ** 2 / pooled.std_error[:, :, 1] ** 2
    np.testing.assert_allclose(ratio, np.tile((12 / 11 * (rows - 1) / (rows - 6))[:, None], 6), rtol=1e-12)
    assert few_clusters("CR1", np.array([12]), np.array([100.0]), 6) == pytest.approx(12 / 11)
    np.testing.assert_array_equal(found.std_error, pooled.std_error[:, :, 0])
    np.testing.assert_allclose(
        found.high[0, 4, 1] - found.low[0, 4, 1], 2 * 1.6448536269514722 * pooled.std_error[0, 4, 1]
    )
    np.testing.assert_allclose(found.high[0, 4, 0] - found.estimate[0, 4], 1.8124611228107335 * found.std_error[0, 4])


def test_pooled_failures_are_counted() -> None:
    drawn, _ = data("many rows", (POOLED,))
    prepared = OLS(name="OLS", formula=POOLED).prepare(CASES["many rows"], ("z",), 0.95)
    count, mean, scatter = drawn.count.copy(), drawn.mean.copy(), drawn.scatter.copy()
    z, y = drawn.names.index("z"), drawn.names.index("y")
    mean[0, :, z] = 2.0  # no variation, as where columns could not be evaluated
    count[1], scatter[1] = 0.0, 0.0
    count[1, 3] = 50.0  # one cluster
    mean[2, :, y], scatter[2, :, y], scatter[2, :, :, y] = 1.0, 0.0, 0.0  # a constant outcome
    found = prepared.estimate(replace(drawn, count=count, mean=mean, scatter=scatter), ())
    np.testing.assert_array_equal(found.outcome, [Outcome.UNIDENTIFIED, Outcome.REFUSED, Outcome.REFUSED])
    for array in (found.estimate, found.std_error, found.low, found.high):
        assert np.all(np.isnan(array))
    # a cluster without rows is none
    count, scatter, mean = drawn.count[:1].copy(), drawn.scatter[:1].copy(), drawn.mean[:1].copy()
    count[0, 0], scatter[0, 0], mean[0, 0] = 0.0, 0.0, 0.0
    less = replace(drawn, count=count, mean=mean, scatter=scatter)
    without = replace(drawn, count=count[:, 1:], mean=mean[:, 1:], scatter=scatter[:, 1:])
    np.testing.assert_allclose(prepared.regress(less).std_error, prepared.regress(without).std_error, rtol=1e-12)


# -- two steps --------------------------------------------------------------------------------------------------------

TARGETS = {"x1:z": "x1: z", "x1": "x1: Intercept", "z": "Intercept: z", "w": "Intercept: w"}
SECOND = {"x1": "z", "Intercept": "w + z"}
STEPS: list[dict[str, Any]] = [
    *({"method": method} for method in METHODS),
    {"method": "fgls", "vcov": "unscaled"},
    *({"method": "wls", "vcov": f"HC{k}"} for k in range(4)),
    {"method": "ols", "first_variance": "pooled"},
    {"method": "adjusted", "covariates": "all"},
    {"method": "adjusted-fgls", "covariates": ["x3", "x2"], "vcov": "HC2"},
]


@cache
def stepped(case: str, r: int, first_variance: str) -> Any:
    frame = data(case, TwoStep(name="two-step", first=FIRST, second=SECOND).formulas)[1][r]
    return cl.two_step(FIRST, SECOND, frame, cluster="g", first_variance=first_variance)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_two_step_equals_rows(case: str, step: dict[str, Any]) -> None:
    estimator = TwoStep(name="two-step", first=FIRST, second=SECOND, **step)
    drawn, _ = data(case, estimator.formulas)
    found = estimator.prepare(CASES[case], tuple(TARGETS), 0.95).regress(drawn)
    assert np.all(found.outcome == Outcome.FITTED)
    others = {name: value for name, value in step.items() if name != "first_variance"}
    for r in range(len(drawn)):
        fit = stepped(case, r, step.get("first_variance", "own")).update(**others)
        theirs = fit.tests().loc[list(TARGETS.values())]
        assert_equal(found.estimate[r], theirs["estimate"], theirs["std_error"], rtol=1e-8)
        np.testing.assert_allclose(found.std_error[r], theirs["std_error"], rtol=1e-8)
        np.testing.assert_array_equal(found.df[r], theirs["df"])
        if step["method"] == "fgls":
            assert found.floored[r] == bool(np.any(fit.sigma2["raw"] <= 0.0))


@pytest.mark.parametrize("first", ["y ~ 0 + x1 + x2", "y ~ within(x1, g) + x2"])
def test_two_step_with_other_first_steps(first: str) -> None:
    slope = "within(x1, g)" if "within" in first else "x1"
    second = [f"{slope} ~ 0 + z + between(x2, g)"]
    estimator = TwoStep(name="two-step", first=first, second=second)
    drawn, frames = data("fewer rows than coefficients", estimator.formulas)
    prepared = estimator.prepare(CASES["fewer rows than coefficients"], (f"z:{slope}",), 0.95)
    found = prepared.regress(drawn)
    for r, frame in enumerate(frames):
        theirs = cl.two_step(first, second, frame, cluster="g").tests().loc["z"]
        assert found.estimate[r, 0] == pytest.approx(theirs["estimate"], rel=1e-8)
        assert found.std_error[r, 0] == pytest.approx(theirs["std_error"], rel=1e-8)


def test_two_step_failures_are_counted() -> None:
    estimator = TwoStep(name="two-step", first=FIRST, second="x1 ~ z", covariates="all", method="adjusted")
    case = CASES["many rows"]
    drawn, _ = data("many rows", estimator.formulas)
    count, mean, scatter = drawn.count.copy(), drawn.mean.copy(), drawn.scatter.copy()
    mean[0, :, drawn.names.index("z")] = 2.0
    count[1, :7] = 4.0  # five clusters are left, and six are needed
    found = estimator.prepare(case, ("x1:z",), 0.95).estimate(
        replace(drawn, count=count, mean=mean, scatter=scatter), ()
    )
    np.testing.assert_array_equal(found.outcome, [Outcome.UNIDENTIFIED, Outcome.REFUSED, Outcome.FITTED])
    np.testing.assert_array_equal(np.isnan(found.low[:, 0, 0]), [True, True, False])
    np.testing.assert_array_equal(np.isnan(found.estimate[:, 0]), [True, True, False])


# -- both -------------------------------------------------------------------------------------------------------------

BOTH = (
    OLS(name="OLS", formula=POOLED, intervals=("CR1S, m-l-1", "CR2, satterthwaite", "iid, residual")),
    TwoStep(name="two-step", first=FIRST, second=SECOND, method="adjusted-fgls"),
)


@pytest.mark.parametrize("estimator", BOTH, ids=lambda one: one.name)
def test_batches_and_the_order_of_clusters_do_not_matter(estimator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{type(estimator).__module__}.AT_A_TIME", 2)
    drawn, _ = data("fewer rows than coefficients", estimator.formulas)
    prepared = pickle.loads(pickle.dumps(estimator)).prepare(CASES["fewer rows than coefficients"], ("z", "x1:z"), 0.95)
    whole = prepared.estimate(drawn, ())
    order = np.random.default_rng(1).permutation(drawn.n_clusters)
    turned = prepared.estimate(
        replace(drawn, count=drawn.count[:, order], mean=drawn.mean[:, order], scatter=drawn.scatter[:, order]), ()
    )
    parts = [
        prepared.estimate(
            replace(drawn, count=drawn.count[r : r + 1], mean=drawn.mean[r : r + 1], scatter=drawn.scatter[r : r + 1]),
            (),
        )
        for r in range(len(drawn))
    ]
    for name in ("outcome", "singular", "estimate", "std_error", "low", "high"):
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))
        np.testing.assert_allclose(getattr(turned, name), getattr(whole, name), rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "terms", "words"),
    [
        (lambda: OLS(name="OLS", formula=POOLED, intervals=("HC3, residual",)), (), "need the rows"),
        (lambda: OLS(name="OLS", formula=POOLED, intervals=("iid, satterthwaite",)), (), "iid, residual"),
        (lambda: OLS(name="OLS", formula=POOLED, intervals="CR2, m-l-1"), (), "`intervals` are names"),
        (lambda: OLS(name="OLS", formula="y ~ z + (1 | g)"), ("z",), "random terms"),
        (lambda: OLS(name="OLS", formula="y ~ z"), ("x1:z",), "does not estimate; its coefficients are Intercept, z"),
        (lambda: TwoStep(name="t", first=FIRST, second="x1 ~ z"), ("z",), "has x1, x1:z, named as"),
        (lambda: TwoStep(name="t", first=FIRST, second="x1 ~ center(z)"), ("x1",), "measured over clusters"),
        (lambda: TwoStep(name="t", first=FIRST, second="x9 ~ z"), ("z",), "no coefficient of the first step"),
        (lambda: TwoStep(name="t", first=FIRST, second="x1 ~ x2"), ("x1",), "varies within"),
        (lambda: TwoStep(name="t", first="y ~ x1 + z", second="x1 ~ z"), ("x1",), "has no cluster"),
        (lambda: TwoStep(name="t", first=FIRST, second=3), ("x1",), "`second` is a formula"),
        (lambda: TwoStep(name="t", first=FIRST, second="x1 ~ z", method="gls"), (), "`method` is one of"),
        (lambda: TwoStep(name="t", first=FIRST, second="x1 ~ z", first_variance="all"), (), "'own' or 'pooled'"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(make: Any, terms: tuple[str, ...], words: str) -> None:
    with pytest.raises(CrosslevelError, match=words):
        make().prepare(CASES["many rows"], terms, 0.95)


def test_limits_are_those_of_the_library() -> None:
    assert stacked.ALIASED == reduced.ALIAS_TOLERANCE
