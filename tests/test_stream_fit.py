"""Models fitted to data that are read in batches: the same answers as in memory."""

import pickle
from pathlib import Path

import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import pytest
from test_stream import frame

import crosslevel as cl
from crosslevel.errors import ColumnNotFoundError, DataError, DesignError
from crosslevel.table import batches as batching

FORMULAS = ["y ~ x + (x | g)", "y ~ within(x, g) * f + between(x, g) + (within(x, g) | g)", "y ~ scale(x) + (1 | g:k)"]


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "BATCH_BYTES", 8 * 4 * 100)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    frame().to_parquet(tmp_path / "rows.parquet", row_group_size=130)
    return tmp_path / "rows.parquet"


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_all_answers_are_those_in_memory(formula: str, method: str, file: Path) -> None:
    found, expected = cl.mixed(formula, file, method=method), cl.mixed(formula, frame(), method=method)
    assert abs(found.deviance - expected.deviance) <= 1e-10 * abs(expected.deviance)
    start = expected.theta  # the search may stop a little earlier or later; the criterion is the same
    np.testing.assert_allclose(found.criterion_at(start), expected.criterion_at(start), rtol=1e-10)
    pd.testing.assert_frame_equal(found.tidy(), expected.tidy(), rtol=1e-7, atol=1e-9)
    pd.testing.assert_frame_equal(found.varcomp(), expected.varcomp(), rtol=1e-5, atol=1e-7)
    pd.testing.assert_series_equal(found.group_sizes, expected.group_sizes)
    assert vars(found.rows) == vars(expected.rows)
    assert str(found).splitlines()[0] == str(expected).splitlines()[0]
    (one,), (other,) = found.ranef().values(), expected.ranef().values()
    pd.testing.assert_frame_equal(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("formula", FORMULAS)
def test_rows_are_read_again_on_request(formula: str, file: Path) -> None:
    found, expected = cl.mixed(formula, str(file)), cl.mixed(formula, frame())
    pd.testing.assert_frame_equal(found.augment(), expected.augment(), rtol=1e-6, atol=1e-7)
    pd.testing.assert_series_equal(found.resid, expected.resid, rtol=1e-6, atol=1e-7)
    pd.testing.assert_series_equal(found.predict(), expected.predict(), rtol=1e-6, atol=1e-7)
    new = frame(seed=1).head(30)
    pd.testing.assert_series_equal(found.predict(new), expected.predict(new), rtol=1e-6, atol=1e-7)
    assert np.array_equal(found.design.codes, expected.design.used_codes(expected.design.factors[0]))
    for name in ("x", "f"):
        used = expected.design.columns.to_pandas([name], mask=expected.design.mask)
        pd.testing.assert_frame_equal(found.design.columns.to_pandas([name]), used)


def test_another_outcome_or_formula_reads_the_rows_again(file: Path) -> None:
    found, expected = cl.mixed(FORMULAS[0], file), cl.mixed(FORMULAS[0], frame())
    y = np.random.default_rng(5).normal(size=expected.nobs)
    np.testing.assert_allclose(found.refit(y).deviance, expected.refit(y).deviance, rtol=1e-10)
    np.testing.assert_allclose(found.update("~ . + w").deviance, expected.update("~ . + w").deviance, rtol=1e-10)


def test_cross_level_interactions_are_recognised_when_the_rows_are_read_again(file: Path) -> None:
    formula = "y ~ x + x:between(w, g) + (x | g)"  # between(w, g) is no column of its own
    found, expected = cl.mixed(formula, file), cl.mixed(formula, frame())
    assert found.slope_of == expected.slope_of
    pd.testing.assert_series_equal(found.df, expected.df)


def test_a_duckdb_relation_and_a_dask_frame_fit_alike() -> None:
    data, formula = frame().set_index(pd.Index(np.arange(900) + 7)), FORMULAS[1]
    expected = cl.mixed(formula, data)
    with duckdb.connect() as connection:
        connection.register("rows", data)
        found = cl.mixed(formula, connection.sql("from rows"))
        np.testing.assert_allclose(found.deviance, expected.deviance, rtol=1e-10)
        np.testing.assert_allclose(np.sort(found.resid), np.sort(expected.resid), rtol=1e-6, atol=1e-7)
    found = cl.mixed(formula, dd.from_pandas(data, npartitions=5), progress=False)
    np.testing.assert_allclose(found.deviance, expected.deviance, rtol=1e-10)
    pd.testing.assert_frame_equal(found.augment(), expected.augment(), rtol=1e-6, atol=1e-7)


def test_a_report_can_be_made(file: Path, tmp_path: Path) -> None:
    fit = cl.mixed(FORMULAS[1], file)
    cl.report(fit, path=tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_a_fit_to_a_file_can_be_pickled(file: Path) -> None:
    fit = cl.mixed(FORMULAS[1], file)
    again = pickle.loads(pickle.dumps(fit))
    pd.testing.assert_frame_equal(again.augment(), fit.augment())


@pytest.mark.parametrize(
    ("formula", "given", "why"),
    [
        ("y ~ x + (1 | g) + (1 | k)", {}, "the grouping factors g and k"),
        ("y ~ x + (1 | k/g)", {}, "the grouping factors k and k:g"),
        ("y ~ x + (1 | g)", {"weights": cl.Precision("w")}, "`weights` is given"),
        ("y ~ x + (1 | g)", {"offset": "w"}, "`offset` is given"),
        ("y ~ x + (1 | g)", {"residual": cl.residual.AR1("w", within="g")}, "`residual` is given"),
    ],
)
def test_models_that_are_no_sums_over_clusters_say_what_they_need(
    formula: str, given: dict[str, object], why: str, file: Path
) -> None:
    with pytest.raises(DesignError, match=rf"{why}.*kB \(900 rows x \d columns x 8 bytes\).*cl\.read\(path, columns="):
        cl.mixed(formula, file, **given)


def test_wrong_columns_missing_values_and_lone_rows_are_refused(file: Path) -> None:
    with pytest.raises(ColumnNotFoundError, match="Did you mean 'x' for 'X'"):
        cl.mixed("y ~ X + (1 | g)", file)
    with pytest.raises(DesignError, match="rows with missing values"):
        cl.mixed("y ~ x + (1 | g)", file, missing="raise")
    with pytest.raises(DesignError, match="`missing` is 'drop' or 'raise'"):
        cl.mixed("y ~ x + (1 | g)", file, missing="omit")
    with pytest.raises(DesignError, match="no random term"):
        cl.mixed("y ~ x", file)
    with pytest.raises(DesignError, match="looks continuous"):
        cl.mixed("y ~ k + (1 | w)", file)


def test_some_columns_of_a_file_can_be_read(file: Path, tmp_path: Path) -> None:
    data = frame()
    data.to_csv(tmp_path / "rows.csv", index=False)
    data.set_index("g").to_parquet(tmp_path / "indexed.parquet")
    for path in (file, tmp_path / "rows.csv", tmp_path / "indexed.parquet"):
        found = cl.read(path, columns=["x", "g"])
        pd.testing.assert_frame_equal(found, data[["x", "g"]])
        with pytest.raises(ColumnNotFoundError, match=r"Did you mean 'x' for 'X'.*Columns: .*y"):
            cl.read(path, columns=["X", "g"])
    with pytest.raises(DataError, match="`columns` is a list of names"):
        cl.read(file, columns="x")
