"""What is timed: six models, with their data made once by seed and stored where every tool can read them.

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
    response, fixed, random, group : the parts of the formula `response ~ fixed + (random | group)`.
    make : makes the data.
    fits : how many fits one process times, after a first one that is not counted; 1 means that the first one counts.
    """

    name: str
    title: str
    response: str
    fixed: str
    random: str
    group: str
    make: Callable[[], pd.DataFrame]
    fits: int

    @property
    def formula(self) -> str:
        """The formula as lme4, glmm, mixedlm and crosslevel read it."""
        return f"{self.response} ~ {self.fixed} + ({self.random} | {self.group})"


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
            random="Days",
            group="Subject",
            make=sleepstudy,
            fits=20,
        ),
        Workload(
            name="hsb",
            title="High School & Beyond, slopes as outcomes: 7,185 rows, 160 schools, random slope",
            response="mAch",
            fixed="cses * sector + cses * meanses",
            random="cses",
            group="school",
            make=hsb,
            fits=10,
        ),
        Workload(
            name="ess",
            title="Survey of 28 countries: 50,000 rows, 9 predictors, 7 correlated random effects",
            response="y",
            fixed=numbered(9),
            random=numbered(6),
            group="country",
            make=ess,
            fits=5,
        ),
        Workload(
            name="medium",
            title="500,000 rows, 20,000 clusters, random slope",
            response="y",
            fixed="x1",
            random="x1",
            group="g",
            make=medium,
            fits=1,
        ),
        Workload(
            name="large",
            title="5,000,000 rows, 50,000 clusters, 5 predictors, random slope",
            response="y",
            fixed=numbered(5),
            random="x1",
            group="g",
            make=large,
            fits=1,
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
