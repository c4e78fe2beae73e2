"""Monte Carlo studies: what is measured and how precisely, and that nothing but the seed decides the numbers."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise, product
from math import sqrt
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import gammaln
from simulated_toys import SD, SIGMA, SIZE, TRUTH, ClusterMean, Fallible, intervals_of, process, toy

import crosslevel as cl
from crosslevel.errors import CrosslevelError, DataWarning, FileError
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.simulation.estimators.estimates import Estimates
from crosslevel.simulation.processes.moments import Moments
from crosslevel.simulation.studies.batches import section
from crosslevel.simulation.studies.condition import process_with
from crosslevel.simulation.studies.fold import Fold, Outline, spans
from crosslevel.simulation.studies.measures import COLUMNS, measured, of_estimates, of_intervals
from crosslevel.simulation.studies.seeds import Seeds, stream_of
from crosslevel.simulation.studies.tally import Tally
from crosslevel.simulation.studies.widths import STEP, Widths

same = partial(pd.testing.assert_frame_equal, check_exact=True)


@cache
def plain_results() -> pd.DataFrame:
    """The toy study run in the simplest way."""
    return toy().run(reps=250, seed=1, progress=False)


def measured_of(found: Estimates, truth: float, pieces: int = 1) -> pd.DataFrame:
    """Measures of estimates of one term, folded in so many pieces."""
    outline = Outline(number=0, levels={}, truth={"b": truth}, intervals={"e": found.intervals})
    tally = Tally.none(1, len(found.intervals))
    ends = np.linspace(0, len(found), pieces + 1).astype(int)
    for start, stop in pairwise(ends):
        tally = tally.with_piece(section(found, start, stop), outline.values)
    return measured(outline, [tally]).set_index(["measure", "interval"])


# -- what is measured ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_moments_equal_those_of_the_list(pieces: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.gamma(2.0, 3.0, size=(60, 3)) - 4.0
    counted = rng.random(x.shape) < 0.8
    found = Moments.none((3,))
    for part, mask in zip(np.array_split(x, pieces), np.array_split(counted, pieces), strict=True):
        found = found.merged(Moments.of(part, mask))
    for k in range(3):
        own = x[counted[:, k], k]
        n, m = len(own), [np.mean((own - own.mean()) ** power) for power in range(5)]
        np.testing.assert_allclose(
            [found.n[k], found.mean[k], found.second[k], found.third[k], found.fourth[k]],
            [n, own.mean(), n * m[2], n * m[3], n * m[4]], rtol=1e-12,
        )  # fmt: skip
        np.testing.assert_allclose(found.variance[k], own.var(ddof=1), rtol=1e-12)
        np.testing.assert_allclose(found.mean_square[k], np.mean(own**2), rtol=1e-12)
        np.testing.assert_allclose(found.variance_of_square[k], (own**2).var(ddof=1), rtol=1e-12)
        expected = (m[4] - own.var(ddof=1) ** 2 * (n - 3) / (n - 1)) / n
        np.testing.assert_allclose(found.variance_of_variance[k], expected, rtol=1e-12)


def test_moments_of_nothing_are_missing() -> None:
    found = Moments.none((2,)).merged(Moments.of(np.full((3, 2), np.nan), np.zeros((3, 2), np.bool_)))
    assert np.isnan(found.variance).all()
    assert np.isnan(found.mean_square).all()


def test_quantiles_of_widths() -> None:
    rng = np.random.default_rng(2)
    values = np.exp(rng.normal(size=(501, 2)) * [0.2, 3.0])
    counted = np.ones(values.shape, np.bool_)
    counted[:100, 1] = False
    found, backwards = Widths.none(2), Widths.none(2)
    for part in range(0, 501, 50):
        found = found.with_values(values[part : part + 50], counted[part : part + 50])
    for part in range(500, -1, -1):
        backwards = backwards.with_values(values[part : part + 1], counted[part : part + 1])
    for column, own in enumerate((values[:, 0], values[100:, 1])):
        expected = np.quantile(own, 0.5)
        assert abs(found.quantile(column, 0.5) / expected - 1.0) < STEP
        assert found.quantile(column, 0.5) == backwards.quantile(column, 0.5)
        assert abs(found.quantile(column, 0.3) / np.quantile(own, 0.3, method="hazen") - 1.0) < STEP
    ends = Widths.none(2).with_values(np.array([[0.0, np.inf]]), np.ones((1, 2), np.bool_))
    assert [ends.quantile(0, 0.5), ends.quantile(1, 0.5)] == [0.0, np.inf]
    assert np.isnan(Widths.none(1).quantile(0, 0.5))


def test_measures_by_hand() -> None:
    estimate = np.array([1.0, 3.0, np.nan, 2.5, 1.5, 2.0])
    error = np.array([0.5, 1.0, np.nan, 0.5, 1.0, 0.5])
    low, high = estimate - 2.0 * error, estimate + 2.0 * error
    low[4], high[4] = -np.inf, np.inf
    low[5] = high[5] = np.nan
    outcome = np.array([0, 0, 2, 0, 0, 0])
    singular = np.array([True, False, True, False, False, False])
    found = Estimates(
        outcome=outcome, singular=singular, estimate=estimate[:, None], std_error=error[:, None], intervals=("i",),
        low=low[:, None, None], high=high[:, None, None],
    )  # fmt: skip
    table = measured_of(found, -2.0, pieces=2)
    e, squares = estimate[outcome == 0] + 2.0, error[outcome == 0] ** 2
    n = len(e)
    rmse = sqrt(np.mean(e**2))
    expected = {
        ("bias", ""): (100 * e.mean() / -2.0, 50 * e.std(ddof=1) / sqrt(n), 1, "percent of truth"),
        ("rmse", ""): (50 * rmse, 50 * sqrt((e**2).var(ddof=1) / n) / (2 * rmse), 1, "percent of truth"),
        ("standard error", ""): (
            sqrt(squares.mean()), sqrt(squares.var(ddof=1) / n) / (2 * sqrt(squares.mean())), 1, "effect",
        ),
        ("coverage", "i"): (25.0, 100 * sqrt(0.25 * 0.75 / 4), 2, "percent"),  # of the endless interval alone
        ("power", "i"): (50.0, 25.0, 2, "percent"),
        ("width", "i"): (np.inf, np.nan, 2, "effect"),
        ("convergence", ""): (100 * 5 / 6, 100 * sqrt(5 / 36 / 6), 1, "percent"),
        ("unconverged", ""): (100 / 6, 100 * sqrt(5 / 36 / 6), 1, "percent"),
        ("refused", ""): (0.0, 0.0, 1, "percent"),
        ("singular", ""): (20.0, 100 * sqrt(0.16 / 5), 1, "percent"),
    }  # fmt: skip
    for key, (value, mcse, failed, unit) in expected.items():
        np.testing.assert_allclose(
            table.loc[key, ["value", "mcse"]].astype(float), [value, mcse], rtol=1e-12, err_msg=str(key)
        )
        assert (table.loc[key, "reps"], table.loc[key, "failed"], table.loc[key, "unit"]) == (6, failed, unit)
    assert table.loc[("sd", ""), "value"] == pytest.approx(e.std(ddof=1))
    assert table.loc[("median width", "i"), "value"] == pytest.approx(3.0, rel=STEP)  # of 2, 2, 4 and endless
    assert set(table["failed"]) == {1, 2}


def test_measures_of_a_zero_effect_and_of_nothing() -> None:
    rng = np.random.default_rng(3)
    table = measured_of(intervals_of(rng.normal(size=(50, 5))), 0.0)
    assert "power" not in table.index.get_level_values(0)
    assert table.loc[("type-I error", "t"), "value"] == 100.0 - table.loc[("coverage", "t"), "value"]
    assert set(table.loc[["bias", "rmse"], "unit"]) == {"effect"}
    nothing = measured_of(Estimates.none(4, 1, ("t",)), 1.0)
    assert nothing.loc[("refused", ""), "value"] == 100.0
    assert nothing.loc[["bias", "rmse", "sd", "coverage", "power", "width", "median width"], "value"].isna().all()
    assert set(nothing["failed"]) == {4}


def test_measures_of_known_processes() -> None:
    found = (
        toy().run(reps=1000, seed=5, progress=False).set_index(["clusters", "effects.Intercept", "measure", "interval"])
    )
    assert (found["mcse"].dropna() >= 0.0).all()
    for j, truth in product([8, 12], [TRUTH, 0.0]):
        spread = sqrt((SD**2 + SIGMA**2 / SIZE) / j)
        t = stats.t.ppf(0.975, j - 1)
        power = 100.0 * (stats.nct.sf(t, j - 1, truth / spread) + stats.nct.cdf(-t, j - 1, truth / spread))
        expected_s = spread * sqrt(2.0 / (j - 1)) * np.exp(gammaln(j / 2) - gammaln((j - 1) / 2))
        scale = 100.0 / truth if truth else 1.0
        exact = {
            ("bias", ""): 0.0, ("rmse", ""): scale * spread, ("sd", ""): spread, ("standard error", ""): spread,
            ("coverage", "t"): 95.0, ("coverage", "double"): 100.0 * (1.0 - 2.0 * stats.t.sf(2.0 * t, j - 1)),
            ("power" if truth else "type-I error", "t"): power, ("width", "t"): 2.0 * t * expected_s,
            ("median width", "t"): 2.0 * t * spread * sqrt(stats.chi2.median(j - 1) / (j - 1)),
        }  # fmt: skip
        for key, value in exact.items():
            row = found.loc[(j, truth, *key)]
            least = 0.12 if key[0] == "coverage" else 0.0  # the error of a share of 100 % is not 0
            assert abs(row["value"] - value) < 3.7 * max(row["mcse"], least), (j, truth, key, row["value"], value)


@pytest.mark.parametrize("law", ["normal", "exponential"])
def test_monte_carlo_errors_are_those_of_repeated_studies(law: str) -> None:
    rng = np.random.default_rng(6)
    studies, reps = 500, 80
    draw = rng.normal if law == "normal" else rng.standard_exponential
    found = intervals_of(draw(size=(studies * reps, 6)) + 0.3 - (law == "exponential"))
    values, errors = [], []
    for k in range(studies):
        tally = Tally.none(1, 2).with_piece(section(found, k * reps, (k + 1) * reps), np.array([0.3]))
        rows = [*of_estimates(tally, 0, 0.3), *of_intervals(tally, 0, 0, "t", 0.3)]
        values.append([row[2] for row in rows])
        errors.append([row[3] for row in rows])
    ratio = np.std(values, axis=0, ddof=1) / np.sqrt(np.mean(np.square(errors), axis=0))
    names = [row[0] for row in rows]
    assert names == ["bias", "rmse", "sd", "standard error", "coverage", "power", "width", "median width"]
    # that of a median rests on two order statistics; with heavy tails fourth moments of few replications are small
    np.testing.assert_allclose(ratio[:-1], 1.0, atol=0.1 if law == "normal" else 0.15)
    assert ratio[-1] == pytest.approx(1.0, abs=0.15)


# -- what the frame looks like ---------------------------------------------------------------------------------------
def test_columns_and_attributes() -> None:
    found = plain_results()
    assert tuple(found.columns) == ("clusters", "effects.Intercept", *COLUMNS)
    assert found.columns.tolist()[2:9] == ["estimator", "measure", "interval", "value", "mcse", "reps", "failed"]
    assert found.attrs == {"title": "", "seed": 1, "reps": 250, "level": 0.95}
    assert set(found["measure"]) <= set(cl.lab.MEASURES)
    assert not found["interval"].isna().any()


def test_failures_are_counted_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    study = toy(estimators=[ClusterMean(name="mean"), Fallible(name="fallible")])
    found = study.run(reps=100, seed=1)
    ended = cl.lab.failures(found)
    assert ended.loc["mean"].tolist() == [400, 400, 0, 0, 0, 0]
    row = ended.loc["fallible"]
    assert row["fitted"] + row["unidentified"] + row["unconverged"] + row["refused"] == row["replications"] == 400
    assert row["unconverged"] > row["refused"] > 0 < row["singular"]
    failed = 400 - row["fitted"]
    assert f"fits failed, and are not in the measures: fallible {failed}" in capsys.readouterr().err
    bias = found[(found["estimator"] == "fallible") & (found["measure"] == "bias")]
    assert bias["failed"].sum() == failed
    same(found[found["estimator"] == "mean"].reset_index(drop=True), toy().run(reps=100, seed=1, progress=False))


def test_tables_for_people() -> None:
    shown = str(cl.lab.table(plain_results(), "coverage", interval="t"))
    first = plain_results().query("measure == 'coverage' and interval == 't'").iloc[0]
    assert f"{first['value']:.1f} ({first['mcse']:.1f})" in shown
    assert "coverage of Intercept (percent)" in shown
    both = str(cl.lab.table(plain_results(), "rmse"))
    assert "rmse of Intercept (percent of truth)" in both
    assert "rmse of Intercept (effect)" in both
    with pytest.raises(CrosslevelError, match=r"`measure` is 'rsme'; the results have 'bias'"):
        cl.lab.table(plain_results(), "rsme")
    with pytest.raises(CrosslevelError, match=r"is a frame of `Study\.run`"):
        cl.lab.table(plain_results().drop(columns="unit"))
    study = str(toy(title="Toys"))
    for words in ("Toys", "4 conditions", "clusters           8, 12", "mean: ClusterMean"):
        assert words in study


# -- nothing but the seed decides ------------------------------------------------------------------------------------
@pytest.mark.parametrize("batch", [1, 37, 100, 250])
def test_batches_change_nothing(batch: int) -> None:
    reps = 30 if batch == 1 else 250
    expected = plain_results() if reps == 250 else toy().run(reps=30, seed=1, progress=False)
    same(toy().run(reps=reps, seed=1, batch=batch, progress=False), expected)


def test_the_layout_of_arrays_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    found = [intervals_of(rng.normal(size=(100, 5)))]
    wide = {name: np.repeat(getattr(found[0], name), 3, axis=1) for name in ("estimate", "std_error", "low", "high")}
    three = replace(found[0], **wide)
    turned = replace(three, **{name: np.asfortranarray(array) for name, array in wide.items()})
    outline = Outline(number=0, levels={}, truth={"a": 1.0, "b": 2.0, "c": 3.0}, intervals={"e": three.intervals})
    tables = []
    for estimates in (three, turned):
        fold = Fold(outline, 100)
        fold.add(0, lambda estimates=estimates: (estimates,))
        tables.append(measured(outline, fold.tallies))
    same(*tables)


def test_threads_and_order_change_nothing() -> None:
    with joblib.parallel_config(backend="threading"):
        same(toy().run(reps=250, seed=1, n_jobs=3, batch=17, progress=False), plain_results())


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    found = toy().run(reps=250, seed=1, n_jobs=2, batch=23, folder=tmp_path / "study", progress=False)
    same(found, plain_results())
    same(cl.lab.summarise(tmp_path / "study"), plain_results())


def test_a_part_of_the_grid_has_the_same_numbers(tmp_path: Path) -> None:
    part = toy().only(clusters=12)
    assert [one.number for one in part.conditions] == [2, 3]
    found = part.run(reps=250, seed=1, folder=tmp_path / "study", progress=False)
    same(found, plain_results()[plain_results()["clusters"] == 12].reset_index(drop=True))
    assert len(json.loads((tmp_path / "study" / "study.json").read_text())["conditions"]) == 2
    same(toy().run(reps=250, seed=1, folder=tmp_path / "study", resume=True, progress=False), plain_results())
    assert len(cl.lab.summarise(tmp_path / "study")) == len(plain_results())
    assert len(toy(where=lambda clusters: clusters > 8)) == 2


def test_seeds_belong_to_replications() -> None:
    seeds = Seeds(entropy=5, condition=3, start=10, stop=20)
    expected = np.random.SeedSequence(5, spawn_key=(3, 12))
    for seed in (seeds[2], seeds[1:4][1], list(seeds)[2]):
        np.testing.assert_array_equal(seed.generate_state(4), expected.generate_state(4))
    assert (len(seeds), seeds[-1].spawn_key) == (10, (3, 19))
    own = Seeds(entropy=5, condition=3, start=10, stop=20, stream=stream_of("mean"))
    assert own[2].spawn_key == (3, 12, *stream_of("mean"))
    assert np.any(own[2].generate_state(4) != expected.generate_state(4))


def test_estimators_that_draw_have_numbers_of_their_own() -> None:
    alone = toy(estimators=[Fallible(name="a")]).run(reps=120, seed=1, batch=50, progress=False)
    beside = toy(estimators=[Fallible(name="b"), Fallible(name="a")]).run(reps=120, seed=1, batch=33, progress=False)
    same(beside[beside["estimator"] == "a"].reset_index(drop=True), alone)
    other = beside[beside["estimator"] == "b"].reset_index(drop=True)
    assert not other["value"].equals(alone["value"])


# -- folders ---------------------------------------------------------------------------------------------------------
def test_resumed_studies_change_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    same(
        toy().run(reps=90, seed=1, batch=40, folder=folder, progress=False), toy().run(reps=90, seed=1, progress=False)
    )
    files = {path: path.stat().st_mtime_ns for path in folder.glob("*/*.parquet")}
    next(iter(files)).unlink()
    found = toy().run(reps=250, seed=1, batch=70, folder=folder, resume=True, progress=False)
    same(found, plain_results())
    assert {path for path in list(files)[1:] if path.stat().st_mtime_ns != files[path]} == set()
    same(toy().run(reps=250, seed=1, folder=folder, resume=True, progress=False), plain_results())
    same(
        toy().run(reps=60, seed=1, folder=folder, resume=True, progress=False),
        toy().run(reps=60, seed=1, progress=False),
    )
    rows = cl.lab.replications(folder)
    assert len(rows) == 4 * 250 * 2
    assert rows.groupby("condition")["replication"].nunique().tolist() == [250] * 4
    one = cl.lab.replications(folder, condition=1).query("interval == 't'")
    value = plain_results().query("clusters == 8 and `effects.Intercept` == 0 and measure == 'sd'")["value"].item()
    assert one["estimate"].std() == pytest.approx(value, rel=1e-12)


def test_failed_fits_are_stored_as_such(tmp_path: Path) -> None:
    study = toy(estimators=[Fallible(name="fallible")])
    found = study.run(reps=100, seed=1, folder=tmp_path / "study", progress=False)
    same(cl.lab.summarise(tmp_path / "study"), found)
    rows = cl.lab.replications(tmp_path / "study")
    failed = rows["outcome"] != Outcome.FITTED.name.lower()
    assert failed.any()
    assert rows.loc[failed, "estimate"].isna().all()
    assert rows.loc[~failed, "estimate"].notna().all()


def test_a_summary_of_what_is_there_so_far(tmp_path: Path) -> None:
    toy().run(reps=90, seed=1, batch=30, folder=tmp_path / "study", progress=False)
    sorted((tmp_path / "study" / "condition-0002").iterdir())[1].unlink()
    found = cl.lab.summarise(tmp_path / "study")
    assert found.groupby("clusters")["reps"].agg(["min", "max"]).to_numpy().tolist() == [[90, 90], [30, 90]]


def test_the_folder_says_what_was_studied(tmp_path: Path) -> None:
    toy(title="Toys").run(reps=10, seed=7, folder=tmp_path / "study", progress=False)
    record = json.loads((tmp_path / "study" / "study.json").read_text(encoding="utf-8"))
    assert (record["title"], record["seed"], record["study"]["factors"]["clusters"]) == ("Toys", 7, [8, 12])
    assert record["versions"]["crosslevel"] == cl.__version__
    assert not (tmp_path / "study" / "study.toml").exists()  # the toys are not in `cl.lab`
    assert sorted(path.name for path in (tmp_path / "study").iterdir())[0] == "condition-0000"


def test_other_folders_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    toy().run(reps=10, seed=1, folder=folder, progress=False)
    again = partial(toy().run, reps=20, folder=folder, progress=False)
    for study, seed, words in (
        (toy(), 2, "its seed is 1, not 2"),
        (toy(level=0.9), 1, "they differ in level"),
        (toy(process=process_with(process(), {"sigma": 2.0})), 1, "they differ in process"),
        (toy(estimators=[Fallible(name="mean")]), 1, "they differ in estimators"),
    ):
        with pytest.raises(FileError, match=words):
            study.run(reps=20, seed=seed, folder=folder, resume=True, progress=False)
    with pytest.raises(FileError, match="Go on from there with resume=True"):
        again(seed=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    with pytest.raises(FileError, match="holds something else than a study"):
        toy().run(reps=10, folder=tmp_path / "other", progress=False)
    with pytest.raises(FileError, match="which is a file"):
        toy().run(reps=10, folder=tmp_path / "other" / "thesis.txt", progress=False)
    with pytest.raises(FileError, match=r"no study\.json of a study can be read"):
        cl.lab.summarise(tmp_path / "other")


def test_functions_of_the_levels_are_told_apart(tmp_path: Path) -> None:
    def made(sigma: float, clusters: int) -> cl.lab.Process:
        return process_with(process(), {"clusters": clusters, "sigma": sigma})

    first = toy(process=partial(made, 1.0), factors={"clusters": [8]})
    same(
        first.run(reps=100, seed=1, folder=tmp_path / "study", progress=False),
        first.run(reps=100, seed=1, progress=False),
    )
    same_name = toy(process=lambda clusters: made(1.0, clusters), factors={"clusters": [8]})
    with pytest.raises(FileError, match="another study"):
        same_name.run(reps=100, seed=1, folder=tmp_path / "study", resume=True, progress=False)


def test_a_spoilt_file_is_named(tmp_path: Path) -> None:
    toy().run(reps=10, seed=1, folder=tmp_path / "study", progress=False)
    spoilt = next((tmp_path / "study" / "condition-0001").iterdir())
    spoilt.write_bytes(b"PAR1 not at all")
    with pytest.raises(FileError, match=rf"{spoilt.name}.*Remove it, and resume"):
        toy().run(reps=10, seed=1, folder=tmp_path / "study", resume=True, progress=False)
    spoilt.unlink()
    found = toy().run(reps=10, seed=1, folder=tmp_path / "study", resume=True, progress=False)
    same(found, toy().run(reps=10, seed=1, progress=False))


def test_other_versions_are_told(tmp_path: Path) -> None:
    toy().run(reps=10, seed=1, folder=tmp_path / "study", progress=False)
    file = tmp_path / "study" / "study.json"
    file.write_text(file.read_text().replace(json.dumps(np.__version__), '"1.0"'))
    with pytest.warns(DataWarning, match="begun with other versions of numpy"):
        toy().run(reps=20, seed=1, folder=tmp_path / "study", resume=True, progress=False)


@pytest.mark.parametrize(
    ("there", "lacking", "used"),
    [
        ([], [(0, 4), (4, 8), (8, 10)], []),
        ([(0, 10)], [], [0]),
        ([(2, 5)], [(0, 2), (5, 9), (9, 10)], [0]),
        ([(0, 5), (3, 8), (5, 7)], [(7, 10)], [0, 2]),
        ([(6, 20), (12, 15)], [(0, 4), (4, 6)], [0]),
        ([(10, 20)], [(0, 4), (4, 8), (8, 10)], []),
    ],
)
def test_spans(there: list[tuple[int, int]], lacking: list[tuple[int, int]], used: list[int]) -> None:
    assert spans(10, 4, there) == (lacking, used)


# -- trouble ---------------------------------------------------------------------------------------------------------
def test_an_interrupted_study_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    estimator = ClusterMean(name="mean", trouble="interrupt", at=160, once=str(tmp_path / "once"))
    run = partial(toy(estimators=[estimator]).run, reps=250, seed=1, batch=50, folder=tmp_path / "study")
    with pytest.raises(KeyboardInterrupt):
        run()
    told = capsys.readouterr().err
    assert "stopped after 150 of 1,000 replications. Finished batches are in" in told
    assert len(list((tmp_path / "study").glob("*/*.parquet"))) == 3
    same(run(resume=True, progress=False), plain_results())


def test_an_unexpected_error_names_the_replication() -> None:
    with pytest.raises(
        CrosslevelError,
        match=r"condition 0 \(clusters = 8, .*\), replication 137, estimator 'bad'\. ZeroDivisionError",
    ) as caught:
        toy(estimators=[ClusterMean(name="bad", trouble="error")]).run(reps=200, progress=False)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(
        CrosslevelError, match=r"estimator 'bad'\. `estimate` has shape \(0, 1\) where \(1, 1\) is needed"
    ):
        toy(estimators=[ClusterMean(name="bad", trouble="shape")]).run(reps=20, progress=False)


def test_an_estimator_that_does_not_fit_is_named() -> None:
    wrong = cl.lab.OLS(name="OLS", formula="y ~ 1")
    study = toy(estimators=[wrong], terms=["Intercept"], process=process(), factors={})
    assert study.run(reps=5, progress=False)["failed"].max() == 0
    with pytest.raises(CrosslevelError, match=r"condition 0.*nothing"):
        toy(estimators=[cl.lab.OLS(name="OLS", formula="y ~ nothing")], factors={}).run(reps=5, progress=False)


def test_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("crosslevel.simulation.studies.progress.PATIENCE", 0.0)
    toy().run(reps=10, batch=5)
    told = capsys.readouterr().err
    assert "crosslevel: study: 25 of 40 replications, 0 s left" in told
    assert told.rstrip().endswith("40 of 40 replications in 0 s")
    toy().run(reps=10, batch=5, progress=False)
    assert capsys.readouterr().err == ""


# -- what a study can be ---------------------------------------------------------------------------------------------
def test_factors_change_the_process() -> None:
    base = cl.lab.Process(
        formula="y ~ x + z + (x | g)", effects={"Intercept": 0, "x": 1, "z": 1}, sd={"Intercept": 1, "x": 0.5},
        clusters=9, size=30, variables={"x": cl.lab.Normal(), "z": cl.lab.Context()},
    )  # fmt: skip
    found = process_with(
        base, {"sd.x": 0.2, "variables.x.between": 0.4, "effects.z": 3.0, "size": (10, 20), "sd.Intercept": 0}
    )
    assert (found.sd, found.variables["x"].between, found.effect("z")) == ({"Intercept": 0, "x": 0.2}, 0.4, 3.0)
    assert (found.size, base.sd["x"]) == ((10, 20), 0.5)
    for path, words in (
        ("sd.w", "has no 'w'. It has: Intercept, x"),
        ("cluster", "has no 'cluster'"),
        ("sigma.x", "float has"),
    ):
        with pytest.raises(CrosslevelError, match=words):
            process_with(base, {path: 1.0})


def test_functions_of_the_levels_get_the_arguments_they_name() -> None:
    study = toy(
        process=lambda clusters: process_with(process(), {"clusters": clusters}),
        estimators=lambda **levels: [ClusterMean(name=f"mean of {levels['clusters']}")],
        terms=lambda: ["Intercept"],
        factors={"clusters": [8, 12], "label": ["a", "b"]},
    )
    assert [one.estimators[0].name for one in study.conditions] == ["mean of 8"] * 2 + ["mean of 12"] * 2
    found = study.run(reps=5, progress=False)
    assert found["label"].unique().tolist() == ["a", "b"]


def test_levels_that_are_no_numbers_are_shown_as_text() -> None:
    found = toy(factors={"size": [(10, 20), cl.lab.Sizes(mean=30, cv=0.5)]}).run(reps=5, progress=False)
    assert found["size"].unique().tolist() == ["10, 20", "Sizes(mean=30, cv=0.5)"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"factors": {"measure": [1]}}, "'measure', which is a column of results"),
        ({"factors": {"clusters": 8}}, "give a list of levels"),
        ({"factors": {"clusters": [8, 8]}}, "a level twice"),
        ({"factors": {"cluster": [8]}}, r"Condition 0 \(cluster=8\): `factors` has 'cluster', but Process has no"),
        ({"factors": {"clusters": [1]}}, r"Condition 0 \(clusters=1\): .*`clusters`"),
        ({"estimators": []}, "`estimators` is a list with at least one entry"),
        ({"estimators": [ClusterMean(name="a"), ClusterMean(name="a")]}, "'a' more than once"),
        ({"estimators": ["OLS"]}, "`estimators` needs estimators"),
        ({"terms": "Intercept"}, "`terms` is a list"),
        ({"terms": ["x"]}, "Condition 0"),
        ({"process": "y ~ x"}, "`process` is a Process or a function"),
        ({"process": lambda: 3}, "`process` gave int"),
        ({"level": 95}, "level"),
        ({"where": {"sigma": [1]}}, "'sigma', which is no factor"),
        ({"where": {"clusters": [9]}}, r"whose levels are \(8, 12\)|whose levels are \[8, 12\]"),
        ({"where": lambda clusters: clusters > 99}, "leaves out every combination"),
    ],
)
def test_what_does_not_fit_is_told(changes: dict[str, object], words: str) -> None:
    with pytest.raises(CrosslevelError, match=words):
        toy(**changes).conditions  # noqa: B018


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"reps": 0}, "`reps` is a whole number of at least 1; got 0"),
        ({"n_jobs": 0}, "`n_jobs` is a number of workers"),
        ({"batch": 1.5}, "`batch` is a whole number"),
        ({"seed": -1}, "`seed` is a whole number"),
        ({"resume": True}, "Give `folder`"),
    ],
)
def test_arguments_of_run(given: dict[str, object], words: str) -> None:
    with pytest.raises(CrosslevelError, match=words):
        toy().run(**given)


@pytest.mark.slow
def test_memory_does_not_grow_with_replications(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from simulated_toys import toy\n"
        "study = toy(factors={})\n"
        "for reps in (1_000, 40_000):\n"
        "    study.run(reps=reps, folder=sys.argv[1], resume=True, progress=False)\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "study")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    few, many = map(int, done.stdout.split())  # MB
    assert many < few + 20
    assert many < 500
