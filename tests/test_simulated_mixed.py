"""Mixed models of simulated data: the same answers as fits of single data sets, whatever the data."""

import functools

import numpy as np
import pytest
from numpy.random import SeedSequence

from crosslevel.design.reduced import reduce_products
from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.likelihood.profiled import ProfiledDeviance
from crosslevel.simulation.estimators.mixed import Mixed, MixedPrepared
from crosslevel.simulation.estimators.mixed_batch import MixedBatch
from crosslevel.simulation.estimators.mixed_coordinates import Columns, reduce_drawn
from crosslevel.simulation.estimators.mixed_ordinary import batch_of, fit_one
from crosslevel.simulation.processes.correlations import RandomCorrelation
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.model import Model
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.sampler import sampler_of
from crosslevel.simulation.processes.variables import Context, Normal
from crosslevel.solve.one_factor import solve, starting_theta
from crosslevel.solve.starts import EQUAL, equal_variances

CLOSE = 1e-6
"""Relative differences of standard errors and degrees of freedom, where both searches have reached the same optimum."""

REACHED = 1e-12
"""Decrease that one more step would bring at an optimum that is known to the digits compared here."""

SIX = " + ".join(f"x{k}" for k in range(1, 7))
REML = ("m-l-1", "satterthwaite", "kenward-roger", "growth-curve", "between-within", "residual", "normal")
ML = ("m-l-1", "satterthwaite")


def many_slopes(
    clusters: int, size: tuple[int, int], sd: float, *, between: float = 0.0, target: float = 0.6
) -> Process:
    """Six predictors, of which five have slopes that vary, with random correlations."""
    return Process(
        formula=f"y ~ {SIX} + z + (x2 + x3 + x4 + x5 + x6 | g)", clusters=clusters, size=size,
        variables={"z": Context(), **{f"x{k}": Normal(between=between) for k in range(1, 7)}},
        effects={"Intercept": 1, "z": 1, **{f"x{k}": 1 for k in range(1, 7)}},
        sd={"Intercept": target, **{f"x{k}": sd for k in range(2, 7)}},
        correlation=RandomCorrelation(), predictor_correlation=RandomCorrelation(),
    )  # fmt: skip


def two_slopes(size: tuple[int, int], clusters: int = 20, sd: float = 0.1) -> Process:
    """Two predictors, the slope of one of which varies a little."""
    return Process(
        formula="y ~ x1 + x2 + z + (x1 + x2 | g)", clusters=clusters, size=size, variables={"z": Context()},
        effects={"Intercept": 1, "x1": 1, "x2": 1, "z": 0.5}, sd={"Intercept": 0.6, "x1": sd, "x2": 0.0},
    )  # fmt: skip


FIVE = f"y ~ {SIX} + z + (x2 + x3 + x4 + x5 + x6 | g)"
SEVEN = f"y ~ {SIX} + z + ({SIX} | g)"
CASES: dict[str, tuple[Process, str]] = {
    "five slopes": (many_slopes(25, (600, 2000), 0.2, between=0.15), FIVE),
    "slopes of SD 1": (many_slopes(15, (600, 2000), 1.0, between=0.5), FIVE),
    "nothing varies": (many_slopes(15, (600, 2000), 0.0, target=0.0), SEVEN),
    "small clusters": (many_slopes(50, (70, 130), 0.2), FIVE),
    "tiny clusters": (two_slopes((1, 5), clusters=30), "y ~ x1 + z + x1:z + (x1 | g)"),
    "few clusters": (two_slopes((20, 40), clusters=6), "y ~ x1 + (x1 | g)"),
    "diagonal": (two_slopes((20, 40)), "y ~ x1 + x2 + z + (x1 + x2 || g)"),
    "blocks": (two_slopes((20, 40)), "y ~ x1 + x2 + z + (x1 | g) + (0 + x2 | g)"),
    "no mean of a slope": (two_slopes((20, 40)), "y ~ x2 + z + (x1 | g)"),
    "no intercept": (two_slopes((20, 40), sd=0.5), "y ~ 0 + x1 + z + (0 + x1 | g)"),
    "intercepts": (two_slopes((20, 40)), "y ~ x1 + x2 + z + (1 | g)"),
}
"""Processes, and the models that are fitted to their data."""


@functools.cache
def ready(case: str, method: str = "reml") -> tuple[Model, MixedPrepared]:
    """The model and the estimator of all its coefficients."""
    process, formula = CASES[case]
    model = Model.of(process, formula, method=method)
    estimator = Mixed(name="mixed", formula=formula, method=method, intervals=REML if method == "reml" else ML)
    return model, estimator.prepare(process, model.fixed_names, 0.95)


def drawn_of(case: str, n: int, seed: int = 1) -> Drawn:
    """Data of n replications."""
    process, formula = CASES[case]
    return sampler_of(process, [formula]).draw(SeedSequence(seed).spawn(n))


def check(case: str, n: int, *, method: str = "reml", seed: int = 1) -> MixedBatch:
    """All numbers of n replications against those of fits one by one."""
    (model, prepared), drawn = ready(case, method), drawn_of(case, n, seed)
    batch = prepared.batch(drawn)
    estimates = prepared.estimate(drawn, ())
    assert np.array_equal(estimates.outcome, batch.outcome)
    for r in range(n):
        outcome, fit = fit_one(model, drawn, r)
        assert batch.outcome[r] == outcome
        if fit is None:
            assert np.all(np.isnan(estimates.low[r]))
            continue
        assert batch.deviance[r] <= fit.deviance + CLOSE
        if batch.deviance[r] < fit.deviance - 1e-9 or fit.solution.minimum.decrement > REACHED:
            continue  # the single fit has not quite got there
        own = batch_of(fit, prepared.wanted)
        assert batch.singular[r] == fit.is_singular
        for name in ("deviance", "std_error", "sigma", "satterthwaite", "kenward_roger"):
            np.testing.assert_allclose(getattr(batch, name)[r], getattr(own, name)[0], rtol=CLOSE, err_msg=name)
        rho = np.sort(batch.reliability[r]), np.sort(own.reliability[0])
        np.testing.assert_allclose(*rho, atol=CLOSE)
        size = np.sqrt(np.diag(own.covariance[0]).max())
        np.testing.assert_allclose(batch.covariance[r], own.covariance[0], atol=1e-6 * size**2)
        np.testing.assert_allclose(batch.excess[r], own.excess[0], rtol=CLOSE, atol=1e-8)
        np.testing.assert_allclose(estimates.estimate[r], fit.solution.beta, atol=CLOSE * float(fit.bse.min()))
        for i, name in enumerate(prepared.intervals):
            frame = fit.conf_int(0.95, method=name).to_numpy()
            ends = np.stack([estimates.low[r, :, i], estimates.high[r, :, i]], axis=1)
            np.testing.assert_allclose(ends, frame, rtol=0, atol=5.0 * CLOSE * float(np.nanmax(np.abs(frame))))
    return batch


@pytest.mark.parametrize("case", CASES)
def test_as_fits_one_by_one(case: str) -> None:
    batch = check(case, 3)
    assert not batch.ordinary.any()


@pytest.mark.parametrize(("seed", "gap"), [(489, 0.4215), (974, 2.6138)])
def test_the_lower_of_two_minima_on_the_boundary(seed: int, gap: float) -> None:
    """Fifteen clusters with six random effects: one search ends at a singular minimum that is not the lowest."""
    (model, prepared), case = ready("slopes of SD 1"), CASES["slopes of SD 1"]
    drawn = sampler_of(case[0], [case[1]]).draw([SeedSequence(2, spawn_key=(seed,))])
    reduced = model.design(drawn, 0).reduced
    criterion, found = ProfiledDeviance(reduced=reduced, reml=True), solve(reduced, reml=True)
    first = solve(reduced, reml=True, start=starting_theta(criterion))
    assert first.is_singular
    assert first.deviance - found.deviance == pytest.approx(gap, abs=1e-3)
    assert prepared.batch(drawn).deviance[0] == pytest.approx(found.deviance, abs=1e-6)
    starts = (equal_variances(criterion.structures, variance) for variance in EQUAL)
    assert all(solve(reduced, reml=True, start=start).deviance > found.deviance - 1e-6 for start in starts)


@pytest.mark.parametrize("case", ["tiny clusters", "diagonal"])
def test_full_likelihood_as_fits_one_by_one(case: str) -> None:
    check(case, 3, method="ml")


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_hard_data_as_fits_one_by_one(case: str) -> None:
    batch = check(case, 150, seed=2)
    assert np.count_nonzero(batch.ordinary) <= 2


def test_reduction_is_that_of_designs() -> None:
    for case in ("five slopes", "no mean of a slope", "no intercept"):
        (model, prepared), drawn = ready(case), drawn_of(case, 2)
        assert prepared.engine is not None
        working = reduce_drawn(drawn, Columns.of(model.template, drawn.names))
        for r in range(2):
            products = model.products(drawn, r)
            own = reduce_products(
                products, x=model.x, y=len(model.names) - 1, z=model.z, structure=model.structure,
                constant=model.constant,
            )  # fmt: skip
            np.testing.assert_allclose(working.root[r], own.root, atol=1e-11)
            np.testing.assert_allclose(working.image[r], own.image, atol=1e-10)
            np.testing.assert_allclose(working.remainder[r], own.remainder, atol=1e-9)
            np.testing.assert_allclose(working.basis[r], own.basis, atol=1e-13)
            np.testing.assert_allclose(working.coefficients(np.zeros((2, own.p)))[r], own.coordinates.coefficients(0.0))


# -- invariances -------------------------------------------------------------------------------------------------------
def moved(drawn: Drawn, name: str, *, times: float, plus: float) -> Drawn:
    """The data with a column x replaced by times x + plus."""
    mean, scatter, place = drawn.mean.copy(), drawn.scatter.copy(), drawn.names.index(name)
    mean[:, :, place] = times * mean[:, :, place] + plus
    scatter[:, :, place] *= times
    scatter[:, :, :, place] *= times
    return Drawn(names=drawn.names, count=drawn.count, mean=mean, scatter=scatter)


def test_units_and_origins_do_not_matter() -> None:
    (_, prepared), drawn = ready("blocks"), drawn_of("blocks", 5)
    there = moved(moved(drawn, "x1", times=1e4, plus=1e6), "y", times=1e-3, plus=50.0)
    one, other, place = prepared.estimate(drawn, ()), prepared.estimate(there, ()), prepared.terms.index("x1")
    for name in ("x1", "x2", "z"):
        place, scale = prepared.terms.index(name), 1e-7 if name == "x1" else 1e-3
        for before, after in ((one.estimate, other.estimate), (one.std_error, other.std_error)):
            np.testing.assert_allclose(after[:, place], scale * before[:, place], rtol=CLOSE)
        np.testing.assert_allclose(other.low[:, place], scale * one.low[:, place], rtol=1e-5)


def test_order_of_clusters_does_not_matter() -> None:
    (_, prepared), drawn = ready("five slopes"), drawn_of("five slopes", 3)
    order = np.random.default_rng(1).permutation(drawn.n_clusters)
    turned = Drawn(
        names=drawn.names, count=drawn.count[:, order].copy(), mean=drawn.mean[:, order].copy(),
        scatter=drawn.scatter[:, order].copy(),
    )  # fmt: skip
    one, other = prepared.estimate(drawn, ()), prepared.estimate(turned, ())
    np.testing.assert_allclose(one.low, other.low, rtol=1e-6)


def test_split_of_batches_does_not_matter() -> None:
    (_, prepared), drawn = ready("diagonal"), drawn_of("diagonal", 6)
    whole = prepared.estimate(drawn, ())
    parts = [
        prepared.estimate(
            Drawn(names=drawn.names, count=drawn.count[s], mean=drawn.mean[s], scatter=drawn.scatter[s]), ()
        )
        for s in (slice(0, 1), slice(1, 6))
    ]
    assert np.array_equal(whole.low, np.concatenate([part.low for part in parts]), equal_nan=True)
    assert np.array_equal(whole.estimate, np.concatenate([part.estimate for part in parts]))


# -- replications that cannot be fitted, and other kinds of intervals --------------------------------------------------
def test_columns_that_others_determine_are_not_identified() -> None:
    (_, prepared), drawn = ready("intercepts"), drawn_of("intercepts", 3)
    mean, scatter = drawn.mean.copy(), drawn.scatter.copy()
    one, two = drawn.names.index("x1"), drawn.names.index("x2")
    mean[1, :, two], scatter[1, :, two], scatter[1, :, :, two] = (
        mean[1, :, one],
        scatter[1, :, one],
        scatter[1, :, :, one],
    )
    scatter[1, :, two, two] = scatter[1, :, one, one]
    found = prepared.estimate(Drawn(names=drawn.names, count=drawn.count, mean=mean, scatter=scatter), ())
    assert found.outcome.tolist() == [Outcome.FITTED, Outcome.UNIDENTIFIED, Outcome.FITTED]
    assert np.all(np.isnan(found.estimate[1]))
    assert np.all(np.isfinite(found.estimate[[0, 2]]))


def test_data_too_few_for_the_variances_are_refused() -> None:
    process = two_slopes((1, 2), clusters=8)
    estimator = Mixed(name="mixed", formula="y ~ x1 + (x1 | g)", intervals=("m-l-1",))
    drawn = sampler_of(process, estimator.formulas).draw(SeedSequence(1).spawn(3))
    batch = estimator.prepare(process, ["x1"], 0.95).batch(drawn)
    assert batch.ordinary.all()
    assert np.all(batch.outcome == Outcome.REFUSED)


def test_slow_intervals_are_those_of_fits() -> None:
    process, names = two_slopes((20, 40), clusters=12), ("kenward-roger-2009", "CR2", "profile")
    estimator = Mixed(name="mixed", formula="y ~ x1 + z + (1 | g)", intervals=("m-l-1", *names))
    drawn = sampler_of(process, estimator.formulas).draw(SeedSequence(1).spawn(2))
    found = estimator.prepare(process, ["z", "x1"], 0.9).estimate(drawn, ())
    for r in range(2):
        fit = Model.of(process, estimator.formula).fit(drawn, r)
        for i, name in enumerate(names):
            frame = fit.conf_int(0.9, method=name).loc[["z", "x1"]]
            np.testing.assert_allclose(found.low[r, :, i + 1], frame["conf_low"], rtol=1e-12)
            np.testing.assert_allclose(found.high[r, :, i + 1], frame["conf_high"], rtol=1e-12)


def test_tied_effects_go_to_the_ordinary_solver() -> None:
    process = two_slopes((20, 40), clusters=12)
    estimator = Mixed(name="mixed", formula="y ~ x1 + z + cs(x1 | g)", intervals=("m-l-1", "satterthwaite"))
    drawn = sampler_of(process, estimator.formulas).draw(SeedSequence(1).spawn(2))
    prepared = estimator.prepare(process, ["z"], 0.95)
    batch, found = prepared.batch(drawn), prepared.estimate(drawn, ())
    assert batch.ordinary.all()
    frame = Model.of(process, estimator.formula).fit(drawn, 1).conf_int(0.95, method="satterthwaite")
    np.testing.assert_allclose(found.low[1, 0, 1], frame.loc["z", "conf_low"], rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"intervals": ()}, "are names such as"),
        ({"intervals": ("wald",)}, "'wald'; there are"),
        ({"method": "mle"}, "'reml' or 'ml'"),
        ({"method": "ml"}, "which is a method for REML"),
        ({"method": "ml", "intervals": ("growth-curve",)}, "which needs REML where"),
        ({"formula": "y ~ x1 + z"}, "no random terms"),
        ({"formula": "y ~ x1 + (x1 | g)"}, "does not estimate"),
    ],
)
def test_impossible_estimators(changes: dict[str, object], words: str) -> None:
    given = {"name": "mixed", "formula": "y ~ x1 + z + (x1 | g)", **changes}
    with pytest.raises(CrosslevelError, match=words):
        Mixed(**given).prepare(two_slopes((20, 40)), ["z"], 0.95)  # type: ignore[arg-type]
