"""Times the search for a random-effects structure; writes selection.json and its section of RESULTS.md.

    python benchmarks/selection.py [--rounds 5]

One process with one thread. Each round searches anew, from the data frame to the record with all candidates; the first,
which may compile, is not counted. Beside it stands what the same candidates would take if each was fitted from the rows
by `cl.mixed`: the time of some of them, scaled to all.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
import warnings
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from results import write_page
from run import HERE, THREADS, machine
from workloads import COUNTRIES, ess, hsb

SOME = 12
"""Candidates that are fitted from the rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One search.

    title, formula : of the model.
    criteria : by which it is searched.
    """

    title: str
    formula: str
    criteria: tuple[str, ...]


PREDICTORS = " + ".join(f"x{k}" for k in range(2, 10))
VARYING = " + ".join(f"x{k}" for k in range(1, 7))
TASKS = {
    "ess": Task(
        title="Survey of 28 countries: 50,000 rows, 11 fixed effects, 7 correlated random effects, 877 structures",
        formula=f"y ~ x1 * z + {PREDICTORS} + ({VARYING} | country)",
        criteria=("bic", "caic", "lrt", "cv", "focus"),
    ),
    "hsb": Task(
        title="High School & Beyond: 7,185 rows, 160 schools, 2 random effects",
        formula="mAch ~ cses * sector + meanses + (cses | school)",
        criteria=("bic",),
    ),
}


def data_of(name: str) -> pd.DataFrame:
    """The data of a task; the survey has a variable of the countries."""
    if name == "hsb":
        return hsb()
    frame = ess()
    of_country = dict(zip(COUNTRIES, np.random.default_rng(1).standard_normal(len(COUNTRIES)), strict=True))
    return frame.assign(z=frame["country"].astype(str).map(of_country).astype(float))


def cpu() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(task: Task, data: pd.DataFrame, criterion: str, rounds: int) -> dict[str, Any]:
    """One search, several times."""
    import crosslevel as cl

    walls, cpus = [], []
    for k in range(rounds + 1):
        wall, used = time.perf_counter(), cpu()
        found = cl.select(task.formula, data, criterion=criterion, progress=False)
        table = found.candidates
        if k:
            walls.append(time.perf_counter() - wall)
            cpus.append(cpu() - used)
    return {
        "criterion": criterion, "wall": walls, "cpu": cpus, "candidates": int(table["structure"].nunique()),
        "chosen": found.structure.words, "rows": from_rows(found, data) if criterion == "bic" else None,
    }  # fmt: skip


def from_rows(found: Any, data: pd.DataFrame) -> dict[str, float]:
    """CPU seconds of all candidates, each fitted from the rows, from some of them; how far their deviances differ."""
    import crosslevel as cl
    from crosslevel.selection.spelling import formula_of

    every = list(found.search.fitted.values())
    some = every[:: max(len(every) // SOME, 1)]
    used, difference = cpu(), 0.0
    for candidate in some:
        fit = cl.mixed(formula_of(found.search, candidate.structure), data)
        difference = max(difference, abs(fit.deviance - candidate.deviance))
    return {"cpu": (cpu() - used) * len(every) / len(some), "fitted": len(some), "difference": difference}


def main() -> None:
    """Run everything, write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    arguments = parser.parse_args()
    one_thread = dict.fromkeys(THREADS, "1")
    if not one_thread.items() <= os.environ.items():  # libraries look at these when they are loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **one_thread})
    warnings.simplefilter("ignore")
    load, reports = [os.getloadavg()[0]], []
    for name, task in TASKS.items():
        data = data_of(name)
        for criterion in task.criteria:
            rounds = arguments.rounds if criterion == "bic" else min(arguments.rounds, 2)
            reports.append({"title": task.title} | timed(task, data, criterion, rounds))
            print(f"{name} {criterion}: {median(reports[-1]['cpu']):.3g} CPU s", flush=True)
            load.append(os.getloadavg()[0])
    about = {**machine(), "load": [min(load), max(load)]}
    written = json.dumps({"about": about, "rows": reports}, indent=1) + "\n"
    (HERE / "selection.json").write_text(written, encoding="utf-8")
    write_page(HERE)


if __name__ == "__main__":
    main()
