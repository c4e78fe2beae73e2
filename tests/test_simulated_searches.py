"""Estimators of a study that take one replication after another: chosen structures, bootstraps, functions of a fit."""

import pickle
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.errors import ConvergenceWarning, CrosslevelError
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.structure_fits import StructureFit
from crosslevel.selection.criteria import AIC, BIC, Information
from crosslevel.simulation.estimators.bootstraps import Bootstrap, entropy
from crosslevel.simulation.estimators.bounded import Structures, all_groups, best_of, correlation_groups
from crosslevel.simulation.estimators.estimates import Estimates, Estimator
from crosslevel.simulation.estimators.ordinary import Custom
from crosslevel.simulation.estimators.searches import PreparedSearch, Selected
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.sampler import sampler_of
from crosslevel.simulation.processes.variables import Arms, Context, Normal

PROCESS = Process(
    formula="y ~ x1 + x2 + x3 + z + (1 + x1 + x2 | g)",
    effects={"Intercept": 1.0, "x1": 1.0, "x2": 1.0, "x3": 1.0, "z": 1.0},
    sd={"Intercept": 0.6, "x1": 0.4, "x2": 0.1},
    correlation=0.5,
    clusters=16,
    size=(15, 30),
    variables={"x1": Normal(between=0.2), "z": Context()},
    rows=True,
)
MAXIMAL = "y ~ x1 + x2 + x3 + z + (x1 + x2 + x3 | g)"
CORRECT = "y ~ x1 + x2 + x3 + z + (x1 + x2 | g)"
SEEDS = np.random.SeedSequence(3).spawn(3)


@cache
def drawn() -> Drawn:
    """Three replications, from rows."""
    return sampler_of(PROCESS, (MAXIMAL,)).draw(SEEDS)


@cache
def frame(r: int) -> pd.DataFrame:
    """The rows of one."""
    return PROCESS.frame(SEEDS[r])


def fresh(data: Drawn) -> Drawn:
    """The same data, of which no estimator has seen anything."""
    return replace(data, names=data.names)


def estimated(
    estimator: Estimator, data: Drawn, *, terms: tuple[str, ...] = ("z",), process: Process = PROCESS
) -> Estimates:
    """What an estimator makes of data."""
    prepared = pickle.loads(pickle.dumps(estimator)).prepare(process, terms, 0.95)
    return prepared.estimate(data, np.random.SeedSequence(5).spawn(len(data)))


# -- chosen structures ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("criterion", "r"), [("bic", 0), ("bic", 1), ("cv", 0), ("lrt", 1), ("focus", 2)])
def test_selected_is_what_select_chooses_from_the_rows(criterion: str, r: int) -> None:
    kinds = ("m-l-1", "growth-curve", "CR2")
    ours = estimated(Selected(name="s", formula=MAXIMAL, criterion=criterion, intervals=kinds), drawn())
    found = cl.select(MAXIMAL, frame(r), criterion=criterion, context="z", progress=False)
    assert ours.fitted.all()
    assert ours.estimate[r, 0] == pytest.approx(found.fit.params["z"], rel=1e-6)
    assert ours.std_error[r, 0] == pytest.approx(found.fit.bse["z"], rel=1e-5)
    assert ours.singular[r] == found.fit.is_singular
    for k, name in enumerate(ours.intervals):
        row = found.fit.conf_int(method=name).loc["z"]
        assert [ours.low[r, 0, k], ours.high[r, 0, k]] == pytest.approx([row["conf_low"], row["conf_high"]], rel=1e-5)


@pytest.mark.parametrize("criterion", ["aic", "focus"])
def test_averages_are_those_of_select(criterion: str) -> None:
    estimator = Selected(name="s", formula=MAXIMAL, criterion=criterion, average=criterion, intervals=("growth-curve",))
    ours = estimated(estimator, drawn())
    row = cl.select(MAXIMAL, frame(1), criterion=criterion, context="z", progress=False).averaged().loc["z"]
    values = [ours.estimate[1, 0], ours.std_error[1, 0], ours.low[1, 0, 0], ours.high[1, 0, 0]]
    assert values == pytest.approx(row.to_list(), rel=1e-5)


def prepared_search(**changes: object) -> PreparedSearch:
    """A search of all structures."""
    asked = {"name": "s", "formula": MAXIMAL, "exhaustive": True, **changes}
    return Selected(**asked).prepare(PROCESS, ("z",), 0.95)  # type: ignore[arg-type]


@pytest.mark.parametrize(("criterion", "r"), [(BIC, 0), (BIC, 1), (AIC, 2)])
def test_a_bounded_search_chooses_the_best_of_all(criterion: Information, r: int) -> None:
    prepared = prepared_search()
    search = prepared.shared(fresh(drawn()), r).search
    price, structures = criterion.penalty(search), prepared.structures
    assert structures is not None
    found = best_of(search, structures, price=price)
    fitted = len(search.fitted)
    everything = [search.candidate(each) for each in structures.each]
    values = [one.deviance + price * one.n_params for one in everything]
    assert found.structure == everything[int(np.argmin(values))].structure
    assert fitted < len(everything)


def test_a_missed_minimum_is_found_from_a_narrower_structure() -> None:
    prepared = prepared_search()
    search = prepared.shared(fresh(drawn()), 0).search
    assert prepared.structures is not None
    right = best_of(search, prepared.structures, price=0.0)
    full = search.candidate(prepared.structures.each[0])
    deviance = full.deviance
    assert isinstance(full.found, StructureFit)
    search.found[full.structure] = replace(full.found, deviance=deviance + 50.0)
    # without a price the widest structure is the best, once its deviance is known
    assert best_of(search, prepared.structures, price=0.0).structure == right.structure
    assert full.deviance == pytest.approx(deviance, abs=1e-6)


def test_all_structures_are_counted_once() -> None:
    example = prepared_search().shared(drawn(), 0).search
    groups = all_groups(example)
    # of n slopes sum_k C(n, k) Bell(k + 1) = Bell(n + 2) - Bell(n + 1)
    assert len(groups) == len(set(groups)) == 52 - 15
    structures = Structures.of(example, groups)
    inside = np.array([[one.within(other) for one in structures.each] for other in structures.each])
    assert np.array_equal(structures.inside, inside)
    assert len(correlation_groups(example, example.units)) == 15


def test_sharing_a_search_changes_no_answer() -> None:
    first, second = (Selected(name="s", formula=MAXIMAL, criterion=criterion) for criterion in ("bic", "focus"))
    together, alone = fresh(drawn()), fresh(drawn())
    estimated(first, together)
    assert np.array_equal(estimated(second, together).low, estimated(second, alone).low)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"criterion": "cv"}, "exhaustive=False"),
        ({"average": "bic"}, "exhaustive=False"),
        ({"exhaustive": False, "criterion": "focus", "average": "lrt"}, "gives no weights"),
        ({"intervals": ("t",)}, "'m-l-1'"),
        ({"intervals": "m-l-1"}, "`intervals` has some of"),
        (
            {"exhaustive": False, "criterion": "focus", "average": "focus", "intervals": ("CR2",)},
            "`intervals` has some of",
        ),
        ({"criterion": "best"}, "'bic-clusters'"),
        ({"correlations": "all"}, "`correlations` is one of"),
        ({"formula": "y ~ x1 + z"}, "no random effects"),
    ],
)
def test_wrong_searches_are_refused(changes: dict[str, object], match: str) -> None:
    with pytest.raises(CrosslevelError, match=match):
        prepared_search(**changes)


def test_studies_with_them_are_written_to_files(tmp_path: Path) -> None:
    estimators = [
        Selected(name="a", formula=MAXIMAL, criterion="focus", average="focus", intervals=("growth-curve",)),
        Bootstrap(name="b", formula=CORRECT, resampling="wild", n=99, methods=("percentile",)),
    ]
    study = cl.lab.Study(process=PROCESS, estimators=estimators, terms=["z"])
    study.to_toml(tmp_path / "study.toml")
    assert list(cl.lab.Study.from_toml(tmp_path / "study.toml").estimators) == estimators


def test_an_average_is_of_context_effects() -> None:
    asked = Selected(name="s", formula=MAXIMAL, criterion="focus", average="focus")
    with pytest.raises(CrosslevelError, match="`average` is of context effects, z"):
        asked.prepare(PROCESS, ("z", "x1"), 0.95)
    with pytest.raises(CrosslevelError, match="'w'"):
        replace(asked, average=None).prepare(PROCESS, ("w",), 0.95)


# -- bootstraps -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["cluster", "parametric", "wild"])
def test_bootstrap_is_that_of_the_fit(kind: str) -> None:
    asked = Bootstrap(name="b", formula=CORRECT, resampling=kind, n=49)  # type: ignore[arg-type]
    ours = estimated(asked, drawn(), terms=("z", "x1"))
    seed = np.random.SeedSequence(5).spawn(3)[0]
    fit = cl.mixed(CORRECT, frame(0), progress=False)
    boot = fit.bootstrap(49, kind, seed=entropy(seed), n_jobs=1, progress=False)  # type: ignore[arg-type]
    assert ours.estimate[0] == pytest.approx(fit.params[["z", "x1"]].to_numpy(), rel=1e-6)
    for k, name in enumerate(ours.intervals):
        theirs = boot.conf_int(method=name, terms=["z", "x1"])[["conf_low", "conf_high"]].to_numpy()  # type: ignore[arg-type]
        assert np.column_stack([ours.low[0, :, k], ours.high[0, :, k]]) == pytest.approx(theirs, abs=1e-5)


def test_too_many_refits_that_fail_are_a_failure() -> None:
    process = replace(PROCESS, variables={"z": Arms(share=0.1)}, clusters=10)
    data = sampler_of(process, (CORRECT,)).draw(SEEDS[:1])
    asked = Bootstrap(name="b", formula=CORRECT, n=30, methods=("percentile",))
    # a draw of ten clusters lacks the one with z = 1 in .9^10 of cases
    ours = estimated(asked, data, process=process)
    assert ours.outcome.tolist() == [Outcome.REFUSED]
    assert np.isnan(ours.low).all()
    assert estimated(replace(asked, most_failed=1.0), data, process=process).fitted.all()


@pytest.mark.parametrize(
    "changes", [{"resampling": "residual"}, {"methods": ("bcab",)}, {"methods": "bca"}, {"n": 0}, {"most_failed": 2.0}]
)
def test_wrong_bootstraps_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(CrosslevelError, match=f"`{next(iter(changes))}`"):
        Bootstrap(**{"name": "b", "formula": CORRECT, **changes}).prepare(PROCESS, ("z",), 0.95)  # type: ignore[arg-type]


# -- functions of a fit -----------------------------------------------------------------------------------------------
def two_kinds(fit: MixedFit, level: float) -> dict[str, pd.DataFrame]:
    """Cluster-robust and model-based intervals."""
    return {"CR2": fit.tests(vcov="CR2", level=level), "model": fit.tests("m-l-1", level=level)}


def unlucky(fit: MixedFit, level: float) -> pd.DataFrame:
    """Fail in some replications."""
    outcome = round(1e6 * fit.sigma) % 3
    if outcome == 1:
        raise CrosslevelError("not this one")
    if outcome == 2:
        warnings.warn("no optimum", ConvergenceWarning, stacklevel=2)
    return fit.tests("m-l-1", level=level)


def test_a_function_of_the_fit_gives_its_own_estimates() -> None:
    ours = estimated(Custom(name="c", formula=CORRECT, function=two_kinds, intervals=("CR2", "model")), drawn())
    fit = cl.mixed(CORRECT, frame(1), progress=False)
    for k, table in enumerate((fit.tests(vcov="CR2"), fit.tests("m-l-1"))):
        assert ours.low[1, 0, k] == pytest.approx(table.loc["z", "conf_low"], rel=1e-6)
    assert ours.std_error[1, 0] == pytest.approx(fit.tests(vcov="CR2").loc["z", "std_error"], rel=1e-6)


def test_failures_are_counted_by_what_happened() -> None:
    data = sampler_of(replace(PROCESS, rows=False), (CORRECT,)).draw(np.random.SeedSequence(8).spawn(12))
    ours = estimated(Custom(name="c", formula=CORRECT, function=unlucky), data)
    assert set(ours.outcome) == {Outcome.FITTED, Outcome.REFUSED, Outcome.UNCONVERGED}
    assert np.array_equal(np.isnan(ours.estimate[:, 0]), ~ours.fitted)
    assert np.array_equal(np.isnan(ours.high[:, 0, 0]), ~ours.fitted)


def test_a_function_that_gives_something_else_is_no_failed_fit() -> None:
    with pytest.raises(TypeError, match="no frame for the interval 'b'"):
        estimated(Custom(name="c", formula=CORRECT, function=two_kinds, intervals=("b",)), drawn())
