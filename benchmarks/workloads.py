"""What is timed: models, with their data made once by seed and stored where every tool can read them.

A data set is a folder with one raw file per column (float64 or int32, little endian) and `columns.tsv`, which names
the columns, their kinds and the levels of the categorical ones: Python and R read it quickly and without any package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

REFERENCE = Path(__file__).parent.parent / "tests" / "reference" / "data"
COUNTRIES = [first + second for first in "ABCD" for second in "ABCDEFG"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """One model on one data set.

    name : of the folder with the data.
    title : what the results call it.
    response, fixed : the parts of the formula before the random terms.
    terms : for each random term what varies and between which groups.
    method : "reml" or "ml".
    make : makes the data.
    fits : how many fits one process times, after a first one that is not counted; 1 means that the first one counts.
    tools : those that are timed; all if empty.
    write : writes the data to `data.parquet` in a folder, where they are read from files; None for data in memory.
    """

    name: str
    title: str
    response: str
    fixed: str
    terms: tuple[tuple[str, str], ...]
    fits: int
    make: Callable[[], pd.DataFrame] | None = None
    method: str = "reml"
    tools: tuple[str, ...] = ()
    write: Callable[[Path], None] | None = None

    @property
    def formula(self) -> str:
        """The formula as lme4, glmm, mixedlm and crosslevel read it."""
        return f"{self.response} ~ {self.fixed} + " + " + ".join(f"({what} | {group})" for what, group in self.terms)


def sleepstudy() -> pd.DataFrame:
    """Reaction times of 18 people on 10 days."""
    frame = pd.read_csv(REFERENCE / "sleepstudy.csv", usecols=["Reaction", "Days", "Subject"])
    frame["Days"] = frame["Days"].astype(float)
    frame["Subject"] = pd.Categorical(frame["Subject"].astype(str))
    return frame


def hsb() -> pd.DataFrame:
    """High School & Beyond: 7,185 pupils in 160 schools."""
    columns = ["mAch", "cses", "meanses", "sector", "school"]
    frame = pd.read_csv(REFERENCE / "Hsb82.csv", usecols=columns, dtype={"school": str})
    frame["sector"] = pd.Categorical(frame["sector"], categories=["Public", "Catholic"])
    frame["school"] = pd.Categorical(frame["school"])
    return frame


def simulated(
    rows: int, clusters: int, *, predictors: int, slopes: int, slope_sd: float, seed: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows in random order, in clusters of unequal sizes, with correlated random slopes of the first predictors."""
    rng = np.random.default_rng(seed)
    code = rng.choice(clusters, size=rows, p=rng.dirichlet(np.full(clusters, 20.0)))
    factor = np.tril(rng.normal(0.0, 0.3, (slopes + 1, slopes + 1)), -1) + np.eye(slopes + 1)
    scale = np.array([0.5] + slopes * [slope_sd])
    effects = rng.standard_normal((clusters, slopes + 1)) @ factor.T * scale
    y = effects[code, 0] + rng.standard_normal(rows)
    frame = pd.DataFrame(index=range(rows))
    for k in range(predictors):
        x = rng.standard_normal(rows) + rng.normal(0.0, 0.3, clusters)[code]
        y += x * (0.2 + (effects[code, k + 1] if k < slopes else 0.0))
        frame[f"x{k + 1}"] = x
    frame.insert(0, "y", y)
    return frame, code


def ess() -> pd.DataFrame:
    """Simulate a round of a survey of 50,000 people in 28 countries."""
    frame, code = simulated(50_000, 28, predictors=9, slopes=6, slope_sd=0.2, seed=1)
    frame["country"] = pd.Categorical.from_codes(code, COUNTRIES)
    return frame


def medium() -> pd.DataFrame:
    """500,000 rows in 20,000 clusters."""
    frame, code = simulated(500_000, 20_000, predictors=1, slopes=1, slope_sd=0.3, seed=2)
    frame["g"] = code.astype(np.int32)
    return frame


def large() -> pd.DataFrame:
    """5,000,000 rows in 50,000 clusters."""
    frame, code = simulated(5_000_000, 50_000, predictors=5, slopes=1, slope_sd=0.3, seed=3)
    frame["g"] = code.astype(np.int32)
    return frame


def insteval() -> pd.DataFrame:
    """Lecture evaluations at the ETH Zurich: 73,421 ratings by students of lecturers."""
    frame = pd.read_csv(REFERENCE / "InstEval.csv.gz", usecols=["s", "d", "service", "dept", "y"])
    frame["y"] = frame["y"].astype(float)
    frame["cell"] = pd.Categorical(frame["dept"].astype(str) + ":" + frame["service"].astype(str))
    for name in ("s", "d", "service"):
        frame[name] = pd.Categorical(frame[name])
    return frame.drop(columns="dept")


def rated(rows: int, people: int, items: int, *, power: float, seed: int) -> pd.DataFrame:
    """Ratings of items by people, with three covariates; popularity falls with this power of an item's rank."""
    rng = np.random.default_rng(seed)
    popularity = np.arange(1.0, items + 1) ** -power
    person = rng.integers(0, people, rows)
    item = np.searchsorted(np.cumsum(popularity) / popularity.sum(), rng.random(rows)).clip(max=items - 1)
    y = rng.normal(0.0, 0.5, people)[person] + rng.normal(0.0, 0.4, items)[item] + rng.standard_normal(rows)
    frame = pd.DataFrame({"person": person.astype(np.int32), "item": item.astype(np.int32)})
    for k in range(3):
        x = rng.standard_normal(rows)
        y += (0.3 - 0.2 * k) * x
        frame[f"x{k + 1}"] = x
    frame.insert(0, "y", y)
    return frame


def crossed() -> pd.DataFrame:
    """200,000 ratings of 2,000 items by 20,000 people."""
    return rated(200_000, 20_000, 2_000, power=0.0, seed=4)


def crossed_millions() -> pd.DataFrame:
    """2,000,000 ratings of 20,000 items by 100,000 people."""
    return rated(2_000_000, 100_000, 20_000, power=0.0, seed=5)


def crossed_films() -> pd.DataFrame:
    """32,000,000 ratings of 84,000 items by 200,000 people, few items having most: the size of MovieLens-32M."""
    return rated(32_000_000, 200_000, 84_000, power=0.9, seed=6)


def nested() -> pd.DataFrame:
    """1,000,000 rows in 100,000 units in 5,000 clusters."""
    rng = np.random.default_rng(7)
    rows, units, clusters = 1_000_000, 100_000, 5_000
    unit = np.sort(rng.integers(0, units, rows))
    cluster = np.sort(rng.integers(0, clusters, units))[unit]
    x1, x2 = rng.standard_normal((2, rows))
    y = 0.3 * x1 + 0.2 * x2 + rng.normal(0.0, 0.6, units)[unit] + rng.normal(0.0, 0.4, clusters)[cluster]
    y += rng.standard_normal(rows)
    return pd.DataFrame(
        {"y": y, "x1": x1, "x2": x2, "unit": unit.astype(np.int32), "cluster": cluster.astype(np.int32)}
    )


def stream(folder: Path) -> None:
    """50,000,000 rows of 6 columns in 100,000 clusters, mixed, as one parquet file of row groups of 1,000,000."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(8)
    clusters, rows = 100_000, 1_000_000
    intercepts, slopes = rng.normal(0.0, 0.5, clusters), rng.normal(0.0, 0.3, clusters)
    schema = pa.schema([*((name, pa.float64()) for name in ("y", "x1", "x2", "x3", "x4")), ("g", pa.int32())])
    with pq.ParquetWriter(folder / "data.parquet", schema) as file:
        for _ in range(50):
            g, x = rng.integers(0, clusters, rows), rng.standard_normal((4, rows))
            y = intercepts[g] + (0.2 + slopes[g]) * x[0] + 0.1 * x[1] + rng.standard_normal(rows)
            file.write_table(pa.table([y, *x, g.astype(np.int32)], schema=schema))


def numbered(n: int) -> str:
    """Sum of the first n predictors."""
    return " + ".join(f"x{k + 1}" for k in range(n))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="sleepstudy",
            title="sleepstudy: 180 rows, 18 people, random slope",
            response="Reaction",
            fixed="Days",
            terms=(("Days", "Subject"),),
            make=sleepstudy,
            fits=20,
        ),
        Workload(
            name="hsb",
            title="High School & Beyond, slopes as outcomes: 7,185 rows, 160 schools, random slope",
            response="mAch",
            fixed="cses * sector + cses * meanses",
            terms=(("cses", "school"),),
            make=hsb,
            fits=10,
        ),
        Workload(
            name="ess",
            title="Survey of 28 countries: 50,000 rows, 9 predictors, 7 correlated random effects",
            response="y",
            fixed=numbered(9),
            terms=((numbered(6), "country"),),
            make=ess,
            fits=5,
        ),
        Workload(
            name="medium",
            title="500,000 rows, 20,000 clusters, random slope",
            response="y",
            fixed="x1",
            terms=(("x1", "g"),),
            make=medium,
            fits=1,
        ),
        Workload(
            name="large",
            title="5,000,000 rows, 50,000 clusters, 5 predictors, random slope",
            response="y",
            fixed=numbered(5),
            terms=(("x1", "g"),),
            make=large,
            fits=1,
        ),
        Workload(
            name="insteval",
            title="InstEval, crossed: 73,421 ratings, 2,972 students x 1,128 lecturers x 28 departments by service",
            response="y",
            fixed="service",
            terms=(("1", "s"), ("1", "d"), ("1", "cell")),
            make=insteval,
            fits=1,
            tools=("crosslevel", "glmm", "glmm without df", "mixedlm", "lme4"),
        ),
        Workload(
            name="crossed",
            title="Crossed: 200,000 ratings, 20,000 people x 2,000 items, 3 covariates",
            response="y",
            fixed=numbered(3),
            terms=(("1", "person"), ("1", "item")),
            make=crossed,
            fits=1,
            tools=("crosslevel", "glmm", "glmm without df", "mixedlm", "lme4"),
        ),
        Workload(
            name="crossed_ml",
            title="Crossed: 200,000 ratings, 20,000 people x 2,000 items, 3 covariates, maximum likelihood",
            response="y",
            fixed=numbered(3),
            terms=(("1", "person"), ("1", "item")),
            make=crossed,
            fits=1,
            method="ml",
            tools=("crosslevel", "gpboost"),
        ),
        Workload(
            name="nested",
            title="Nested: 1,000,000 rows in 100,000 units in 5,000 clusters",
            response="y",
            fixed=numbered(2),
            terms=(("1", "cluster"), ("1", "unit")),
            make=nested,
            fits=1,
            tools=("crosslevel", "glmm", "glmm without df", "mixedlm", "lme4"),
        ),
        Workload(
            name="crossed_millions",
            title="Crossed: 2,000,000 ratings, 100,000 people x 20,000 items, 3 covariates, maximum likelihood",
            response="y",
            fixed=numbered(3),
            terms=(("1", "person"), ("1", "item")),
            make=crossed_millions,
            fits=1,
            method="ml",
            tools=("crosslevel", "gpboost"),
        ),
        Workload(
            name="crossed_films",
            title="Crossed: 32,000,000 ratings, 200,000 people x 84,000 items, power-law popularity, ML",
            response="y",
            fixed=numbered(3),
            terms=(("1", "person"), ("1", "item")),
            make=crossed_films,
            fits=1,
            method="ml",
            tools=("crosslevel",),
        ),
        Workload(
            name="stream",
            title="From a parquet file: 50,000,000 rows of 6 columns, 100,000 clusters, random slope",
            response="y",
            fixed=numbered(4),
            terms=(("x1", "g"),),
            fits=1,
            tools=("crosslevel",),
            write=stream,
        ),
    )
}


def store(frame: pd.DataFrame, folder: Path) -> None:
    """Write a data set; the list of columns comes last, so that a folder with one is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            column.cat.codes.to_numpy("<i4").tofile(folder / f"{name}.i4")
            lines.append("\t".join([str(name), "factor", *map(str, column.cat.categories)]))
        elif column.dtype.kind == "i":
            column.to_numpy("<i4").tofile(folder / f"{name}.i4")
            lines.append(f"{name}\tinteger")
        else:
            column.to_numpy("<f8").tofile(folder / f"{name}.f8")
            lines.append(f"{name}\tdouble")
    (folder / "columns.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def load(folder: Path) -> pd.DataFrame:
    """Read a data set that `store` has written."""
    columns = {}
    for line in (folder / "columns.tsv").read_text(encoding="utf-8").splitlines():
        name, kind, *levels = line.split("\t")
        if kind == "double":
            columns[name] = np.fromfile(folder / f"{name}.f8", dtype="<f8")
        elif kind == "integer":
            columns[name] = np.fromfile(folder / f"{name}.i4", dtype="<i4").astype(np.int64)
        else:
            columns[name] = pd.Categorical.from_codes(np.fromfile(folder / f"{name}.i4", dtype="<i4"), levels)
    return pd.DataFrame(columns)
