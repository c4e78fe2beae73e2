"""Cross-products from rows read in batches are those of the same rows in memory."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import crosslevel as cl
from crosslevel.design import CrossProducts, build_design
from crosslevel.design.stream import Streamed, stream_products
from crosslevel.errors import CrosslevelError, DataError, FileError
from crosslevel.formula import parse
from crosslevel.table import Columns, progress, text_scan
from crosslevel.table import batches as batching
from crosslevel.table.batches import open_source
from crosslevel.table.progress import Progress

FORMULAS = [
    "y ~ x + (x | g)",
    "y ~ x * f + (1 | g)",
    "y ~ within(x, g) + between(x, g) + center(w) + (within(x, g) | g)",
    "y ~ scale(x) * f + np.abs(w) + (scale(x) | g)",
    "y ~ wec(f) + I(f == 'c') + log(w + 10) + (1 | g)",
    "y ~ scale(within(x, g)) + scale(between(w, g)) + within(scale(w), g) + (1 | g)",
    "y ~ between(x, k) + C(k) + (x | g)",
    "y ~ C(f, contr.sum) + C(k, contr.helmert) + (1 | g:k)",
    "I(y / 2) ~ within(x * w, g:k) + (1 | g)",
    "y ~ 0 + f + scale(log(between(w, g) + 10)) + (0 + x | g) + (1 | g)",
]


def frame(n: int = 900, seed: int = 0) -> pd.DataFrame:
    """Rows of 20 mixed clusters; category "c" comes late, and values are missing here and there."""
    rng = np.random.default_rng(seed)
    g = rng.integers(0, 20, n)
    data = pd.DataFrame(
        {
            "y": rng.normal(size=n) + rng.normal(size=20)[g],
            "x": rng.normal(5, 2, n),
            "w": rng.normal(size=n) + g,
            "f": np.where(np.arange(n) < n // 2, rng.choice(["d", "a"], n), rng.choice(["b", "c", "a"], n)),
            "k": rng.integers(1, 4, n),
            "g": 1000 - 7 * g,
        }
    )
    data.loc[rng.choice(n, 40, replace=False), "x"] = np.nan
    data.loc[rng.choice(n, 10, replace=False), "f"] = None
    data.loc[data["g"] == 1000, "w"] = np.nan  # a cluster without a used row where w is used
    return data


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "BATCH_BYTES", 8 * 6 * 50)


def streamed(formula: str, data: object) -> Streamed:
    source = open_source(data)
    assert source is not None
    parsed = parse(formula, source.names)
    return stream_products(parsed, parsed.random[0].group, source, progress=False)


def assert_same(found: Streamed, formula: str, data: pd.DataFrame) -> None:
    design = build_design(formula, data)
    assert found.products.names == design.products.names
    assert found.products.levels == design.products.levels
    assert (found.read, found.used) == (design.rows.read, design.rows.used)
    assert found.missing == dict(design.rows.missing)
    assert_same_products(found.products, design.products)


def assert_same_products(found: CrossProducts, expected: CrossProducts) -> None:
    size = np.sqrt(np.diag(expected.total) / expected.n_rows) + np.abs(expected.origin + expected.grand_mean) + 1e-300
    np.testing.assert_array_equal(found.count, expected.count)
    np.testing.assert_allclose(
        (found.origin + found.mean) / size, (expected.origin + expected.mean) / size, rtol=0, atol=1e-12
    )
    count = expected.count[:, None, None]
    np.testing.assert_allclose(
        found.scatter / count / np.outer(size, size),
        expected.scatter / count / np.outer(size, size),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("order", ["mixed", "by cluster"])
def test_parquet_in_many_small_batches_equals_memory(formula: str, order: str, tmp_path: Path) -> None:
    data = frame() if order == "mixed" else frame().sort_values(["g", "k"], kind="stable", ignore_index=True)
    data.to_parquet(tmp_path / "rows.parquet", row_group_size=70)
    assert_same(streamed(formula, tmp_path / "rows.parquet"), formula, data)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("formula", FORMULAS[:3])
def test_csv_equals_memory(formula: str, tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "rows.csv", index=False)
    assert_same(streamed(formula, tmp_path / "rows.csv"), formula, cl.read(tmp_path / "rows.csv"))


def test_csv_with_decimal_commas_and_tabs_equals_memory(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "rows.csv", index=False, sep=";", decimal=",")
    frame().to_csv(tmp_path / "rows.tsv.gz", index=False, sep="\t")
    for name in ("rows.csv", "rows.tsv.gz"):
        assert_same(streamed(FORMULAS[1], tmp_path / name), FORMULAS[1], cl.read(tmp_path / name))


@pytest.mark.parametrize("late", [False, True])
def test_ids_with_leading_zeros_in_csv_stay_text(late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_scan, "LOOK_AHEAD", 100)
    data = frame().astype({"g": str})
    data.loc[data.index >= (800 if late else 0), "g"] = "0" + data["g"]
    data.to_csv(tmp_path / "rows.csv", index=False)
    found = streamed(FORMULAS[0], tmp_path / "rows.csv")
    assert any(level.startswith("0") for level in found.products.levels)
    assert_same(found, FORMULAS[0], cl.read(tmp_path / "rows.csv"))


def test_a_decimal_that_comes_late_in_csv_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_scan, "LOOK_AHEAD", 100)
    data = frame().assign(x=lambda rows: np.where(rows.index < 800, rows.index % 5, rows["x"]))
    data.to_csv(tmp_path / "rows.csv", index=False)
    assert_same(streamed(FORMULAS[0], tmp_path / "rows.csv"), FORMULAS[0], cl.read(tmp_path / "rows.csv"))


def test_text_that_comes_late_in_a_column_of_numbers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_scan, "LOOK_AHEAD", 100)
    data = frame().astype({"x": object})
    data.loc[800, "x"] = "many"
    data.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(FileError, match=r"cannot be read to its end: .*many.*cl\.read"):
        streamed(FORMULAS[0], tmp_path / "rows.csv")


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("ending", ["parquet", "csv", "feather"])
@pytest.mark.parametrize("how", ["folder", "pattern"])
def test_many_files_are_one_table(ending: str, how: str, tmp_path: Path) -> None:
    data = frame()
    for number, part in enumerate((data[:300], data[300:310], data[310:])):
        write = getattr(part.reset_index(drop=True), f"to_{ending}")
        write(tmp_path / f"part{number}.{ending}", **({"index": False} if ending == "csv" else {}))
    (tmp_path / "_notes.txt").write_text("not data")
    given = tmp_path if how == "folder" else str(tmp_path / f"part*.{ending}")
    assert_same(streamed(FORMULAS[2], given), FORMULAS[2], data)


def test_folders_of_partitions_give_a_column(tmp_path: Path) -> None:
    data = frame()
    ds.write_dataset(
        pa.Table.from_pandas(data, preserve_index=False), tmp_path, format="parquet", partitioning=["k"],
        partitioning_flavor="hive",
    )  # fmt: skip
    files = sorted(glob.glob(f"{tmp_path}/**/*.parquet", recursive=True))
    together = pd.concat([pd.read_parquet(file, partitioning=None).assign(k=i + 1) for i, file in enumerate(files)])
    assert_same(streamed("y ~ x * k + (1 | g)", tmp_path), "y ~ x * k + (1 | g)", together)


def test_files_with_whole_and_with_decimal_numbers_fit_together(tmp_path: Path) -> None:
    data = frame().assign(k=lambda rows: rows["k"].where(rows.index < 300, rows["k"] + 0.5))
    data[:300].astype({"k": int}).to_parquet(tmp_path / "1.parquet", index=False)
    data[300:].to_parquet(tmp_path / "2.parquet", index=False)
    assert_same(streamed("y ~ k + (1 | g)", tmp_path), "y ~ k + (1 | g)", data)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("ids", ["text", "category", "float", "fraction", "bool", "date"])
def test_ids_of_any_type_are_sorted_as_in_memory(ids: str, tmp_path: Path) -> None:
    data = frame()
    g = data["g"]
    order = [f"id {value}" for value in np.random.default_rng(1).permutation(g.unique())]
    data["g"] = {
        "text": "id " + g.astype(str),
        "category": pd.Categorical("id " + g.astype(str), categories=["unused", *order]),
        "float": g.astype(float).where(data.index > 100),
        "fraction": g.where(g % 2 == 0, g + 0.5),
        "bool": g > 900,
        "date": pd.Timestamp("2020-01-01") + pd.to_timedelta(g, unit="D"),
    }[ids]
    data.to_parquet(tmp_path / "rows.parquet", row_group_size=70)
    for formula in ("y ~ x + (1 | g)", "y ~ within(x, g) + (1 | g)", "y ~ x + (1 | k:g)"):
        assert_same(streamed(formula, tmp_path / "rows.parquet"), formula, data)


@pytest.mark.usefixtures("small_batches")
def test_categories_keep_their_own_order(tmp_path: Path) -> None:
    data = frame().assign(f=lambda rows: pd.Categorical(rows["f"], categories=["d", "c", "unused", "b", "a"]))
    data.to_parquet(tmp_path / "rows.parquet", row_group_size=70)
    for formula in ("y ~ f + (1 | g)", "y ~ wec(f, ref='b') + (1 | g)", "y ~ C(f, contr.treatment('c')) + (1 | g)"):
        assert_same(streamed(formula, tmp_path / "rows.parquet"), formula, data)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("formula", [FORMULAS[0], FORMULAS[2]])
def test_duckdb_relation_and_pyarrow_dataset_equal_memory(formula: str) -> None:
    data = frame()
    with duckdb.connect() as connection:
        connection.register("rows", data)
        assert_same(streamed(formula, connection.sql("from rows")), formula, data)
    assert_same(streamed(formula, ds.dataset(pa.Table.from_pandas(data))), formula, data)


def test_frames_in_memory_are_no_streams() -> None:
    data = frame()
    for given in (data, pl.DataFrame(data), pa.Table.from_pandas(data), pl.DataFrame(data).lazy(), {"x": [1]}):
        assert open_source(given) is None


def test_labels_come_from_a_parquet_file(tmp_path: Path) -> None:
    data = frame()
    data.attrs["labels"] = {"y": "Outcome"}
    data.to_parquet(tmp_path / "rows.parquet")
    source = open_source(str(tmp_path / "rows.parquet"))
    assert source is not None
    assert dict(source.labels) == {"y": "Outcome"}
    assert source.n_rows == len(data)


def test_parts_of_the_rows_may_be_without_used_rows(small_batches: None, tmp_path: Path) -> None:
    data = frame()
    data.loc[:400, "y"] = np.nan
    data.loc[800:, "y"] = np.nan
    data.to_parquet(tmp_path / "rows.parquet", row_group_size=70)
    for formula in (FORMULAS[0], FORMULAS[2]):
        assert_same(streamed(formula, tmp_path / "rows.parquet"), formula, data)


def test_one_pass_where_nothing_is_remembered_and_two_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    data = frame()
    data.to_parquet(tmp_path / "rows.parquet")
    source = open_source(tmp_path / "rows.parquet")
    assert source is not None
    passes = []
    for formula in FORMULAS:
        parsed = parse(formula, source.names)
        stream_products(parsed, parsed.random[0].group, source)
        lines = capsys.readouterr().err.strip().split("\n")
        assert lines[-1].endswith("crosslevel: cross-products: 900 of 900 (100%) rows")
        passes.append(len(lines))
    assert passes == [1, 2, 2, 2, 2, 2, 2, 2, 2, 3]


@pytest.mark.parametrize("call", ["poly(x, 2)", "bs(x, df=4)", "scale(x, center=False)", "hashed(f, levels=5)"])
def test_functions_that_see_all_rows_are_refused_by_name(call: str, tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=rf"{call.split('(')[0]}\(\).*all rows at once.*cl\.read"):
        streamed(f"y ~ {call} + (1 | g)", tmp_path / "rows.parquet")


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ within(log(x - 5), g) + (1 | g)", "log.*infinite or undefined"),
        ("y ~ log(x - 5) + (1 | g)", r"log.*infinite or undefined in \d+ of \d+ used rows"),
        ("f ~ x + (1 | g)", "outcome `f`, which must be numeric"),
        ("y ~ scale(0 * x) + (1 | g)", "same value"),
        ("y ~ I(f == 'z') + (1 | g)", "no category 'z'"),
        ("y ~ wec(f, ref='z') + (1 | g)", "no category 'z'"),
        ("y ~ sqare(x) + (1 | g)", "no function sqare"),
    ],
)
def test_formulas_that_are_wrong_are_refused_as_in_memory(formula: str, words: str, tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "rows.parquet")
    for run in (lambda: streamed(formula, tmp_path / "rows.parquet"), lambda: build_design(formula, frame())):
        with pytest.raises(CrosslevelError, match=words):
            run()


def test_paths_that_cannot_be_streamed_are_refused(tmp_path: Path) -> None:
    data = frame()
    with pytest.raises(FileError, match="there is no file"):
        open_source(tmp_path / "absent.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="has no files"):
        open_source(tmp_path / "empty")
    with pytest.raises(FileError, match=r"the pattern .* has no files"):
        open_source(str(tmp_path / "*.parquet"))
    (tmp_path / "rows.dta").write_bytes(b"x")
    with pytest.raises(FileError, match=r"cannot be read in batches.*cl\.read"):
        open_source(tmp_path / "rows.dta")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(FileError, match="cannot be read as parquet"):
        open_source(tmp_path / "broken.parquet")
    (tmp_path / "both").mkdir()
    data.to_parquet(tmp_path / "both" / "1.parquet")
    data.to_csv(tmp_path / "both" / "2.csv")
    with pytest.raises(FileError, match="several types"):
        open_source(tmp_path / "both")
    (tmp_path / "texts").mkdir()
    data.to_csv(tmp_path / "texts" / "1.csv")
    data.drop(columns="x").to_csv(tmp_path / "texts" / "2.csv")
    with pytest.raises(FileError, match="same columns in the same order"):
        open_source(tmp_path / "texts")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    frame(60_000).to_csv(tmp_path / "rows.csv.gz", index=False)
    content = (tmp_path / "rows.csv.gz").read_bytes()
    (tmp_path / "rows.csv.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(FileError):
        streamed(FORMULAS[0], tmp_path / "rows.csv.gz")


def test_no_used_row_is_refused(tmp_path: Path) -> None:
    frame().assign(y=np.nan).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="no row is left"):
        streamed(FORMULAS[0], tmp_path / "rows.parquet")


def test_rows_that_change_between_passes_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    frame().to_parquet(file)

    class Changing:
        """A source whose second pass has another cluster."""

        def __init__(self) -> None:
            self.source = open_source(file)
            self.names = self.source.names

        def batches(self, names: object) -> object:
            return self.source.batches(names)

        def reduce(self, names: object, task: object, merge: object, progress: object) -> object:
            found = self.source.reduce(names, task, merge, progress)
            frame().assign(g=lambda rows: rows["g"] + 1).to_parquet(file)
            return found

    parsed = parse("y ~ within(x, g) + (1 | g)")
    with pytest.raises(DataError, match="did not have when it was read before"):
        stream_products(parsed, ("g",), Changing(), progress=False)  # type: ignore[arg-type]


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """A file in one row group of 48 MB is read in pieces: Arrow never holds more than a fraction of it."""
    n = 1_000_000
    rng = np.random.default_rng(0)
    table = pa.table({name: rng.normal(size=n) for name in "yxabc"} | {"g": np.arange(n) % 1000})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=n)
    held = pa.total_allocated_bytes()
    source = open_source(tmp_path / "rows.parquet")
    assert source is not None
    most = 0
    for batch in source.batches(("y", "x", "g")):
        most = max(most, pa.total_allocated_bytes() - held)
        del batch
    assert os.path.getsize(tmp_path / "rows.parquet") > 40e6
    assert most < 40e6


def test_an_interrupt_ends_the_reading_and_the_line_of_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, small_batches: None
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    frame().to_parquet(tmp_path / "rows.parquet")
    source = open_source(tmp_path / "rows.parquet")
    assert source is not None
    seen = []

    def task(batches: Iterable[Columns]) -> None:
        for batch in batches:
            seen.append(batch.n_rows)
            if len(seen) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.reduce(["x"], task, lambda first, _: first, Progress(what="rows"))
    said = capsys.readouterr().err
    assert said.endswith(f"\rcrosslevel: rows: {sum(seen[:2])} of 900 ({sum(seen[:2]) / 900:.0%}) rows\n")
    source.reduce(["x"], list, lambda first, _: first, Progress(what="rows", shown=False))
    assert capsys.readouterr().err == ""
