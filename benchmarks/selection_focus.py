"""Precision of a context effect by how the random-effects structure was chosen: overall fit, focus, average, none.

    python benchmarks/selection_focus.py [--reps 250] [--bootstrap-reps 60] [--jobs 1] [--only NAME ...] [--table]

Data are those of the Monte Carlo study of Heisig, Schaeffer & Giesecke (2017), see `cl.lab.heisig2017`. Six predictors,
the slopes of five controls vary in the maximal model; the true effect of z is 1. Every method sees the same
replications. Results are kept in selection_focus.json; docs/selection.md has the tables. `lab_open.py` compares more
searches in more conditions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import crosslevel as cl
from crosslevel.simulation.published.heisig2017 import PublishedProcess, formula, target

HERE = Path(__file__).parent
STORE, PAGE = HERE / "selection_focus.json", HERE.parent / "docs" / "selection.md"
BEGIN, END = "<!-- focus: begin -->", "<!-- focus: end -->"
BOOTSTRAP = " bootstrap"
SLOPES, SEED = 5, 1
INTERVALS = ("growth-curve",)


@dataclass(frozen=True)
class Condition:
    """How data are drawn.

    clusters : their number; see `heisig2017` for how large they are.
    target : "dce" (z explains the intercept) or "cli" (z explains the slope of x1).
    varying, sd : slopes of controls that vary, and their standard deviation (that of the target is .6).
    between : share of the predictors' variance that is between clusters.
    """

    clusters: int
    target: str
    varying: int
    sd: float
    between: float

    @property
    def name(self) -> str:
        """A name for tables."""
        return f"{self.clusters}-{self.target}-{self.varying}x{self.sd:g}-{self.between:g}"

    @property
    def process(self) -> cl.lab.Process:
        """Where its data come from."""
        return PublishedProcess()(
            variant=self.target, clusters=self.clusters, slopes=self.varying, slope_sd=self.sd, between=self.between
        )


CONDITIONS = tuple(
    Condition(*each)
    for each in (
        (15, "dce", 0, 0.2, 0.15), (15, "dce", 1, 0.2, 0.15), (15, "dce", 3, 0.2, 0.15), (15, "dce", 5, 0.2, 0.15),
        (15, "dce", 3, 0.2, 0.5), (15, "dce", 3, 1.0, 0.0), (15, "cli", 3, 0.2, 0.15), (25, "dce", 3, 0.2, 0.15),
        (25, "dce", 5, 1.0, 0.5), (25, "cli", 3, 0.2, 0.15), (50, "dce", 3, 0.2, 0.15),
    )
)  # fmt: skip

FIT = {"BIC": "bic", "BIC (clusters)": "bic-clusters", "AIC": "aic"}


def searches(condition: Condition, *, bootstrap: bool) -> list[cl.lab.Estimator]:
    """Chosen by fit or by focus, and averages over the structures that focus compares."""
    model = formula(condition.target, SLOPES)

    def search(name: str, criterion: str, average: str | None = None) -> cl.lab.Estimator:
        return cl.lab.Selected(name=name, formula=model, criterion=criterion, average=average, intervals=INTERVALS)

    known = {"invariant": 0, "correct": condition.varying, "maximal": SLOPES}
    models = [
        cl.lab.Mixed(name=name, formula=formula(condition.target, slopes), intervals=INTERVALS)
        for name, slopes in known.items()
    ]
    by_fit = [search(name, criterion) for name, criterion in FIT.items()]
    by_focus = [search("focus", "focus"), search("average by focus", "focus", "focus")]
    by_focus += [search(f"average by {name}", "focus", criterion) for name, criterion in list(FIT.items())[:2]]
    if not bootstrap:
        return [*models, *by_fit, *by_focus]
    resampled = [
        search("focus-bootstrap", "focus-bootstrap"),
        search("average by focus-bootstrap", "focus-bootstrap", "focus-bootstrap"),
    ]
    return [by_fit[0], *by_focus, *resampled]


def run(condition: Condition, reps: int, jobs: int, *, bootstrap: bool) -> dict[str, dict[str, float]]:
    """Bias, root mean squared error, coverage and mean width of each method."""
    study = cl.lab.Study(
        title=condition.name, process=condition.process, terms=target(variant=condition.target),
        estimators=searches(condition, bootstrap=bootstrap),
    )  # fmt: skip
    found = study.run(reps=reps, seed=SEED, n_jobs=jobs, batch=20, progress=False)
    out = {}
    for name, own in found.groupby("estimator", sort=False):
        values = own.drop_duplicates("measure").set_index("measure")["value"]
        out[str(name)] = {
            "bias": float(values["bias"]) / 100.0,
            "rmse": float(values["rmse"]) / 100.0,
            "coverage": float(values["coverage"]) / 100.0,
            "width": float(values["width"]),
            "reps": reps,
            "failed": int(own["failed"].max()),
        }
    return out


def load() -> dict[str, dict[str, dict[str, float]]]:
    """What was computed before."""
    return json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}


def title(condition: Condition) -> str:
    """A condition in the words of the table."""
    what = "intercept" if condition.target == "dce" else "slope of x1"
    varying = f"{condition.varying} of {SLOPES} slopes vary" + f" (SD {condition.sd:g})" * (condition.varying > 0)
    return f"{condition.clusters}, {what}, {varying}, {100 * condition.between:g} % between"


def tables(store: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: root mean squared errors and coverages with widths relative to BIC, of every method by condition."""
    out = ["Chosen by fit or by focus, or averaged:", "", *table_pair(store, "")]
    if any(name.endswith(BOOTSTRAP) for name in store):
        out += ["With the cluster bootstrap, on fewer replications:", "", *table_pair(store, BOOTSTRAP)]
    return "\n".join(out)


def table_pair(store: dict[str, dict[str, dict[str, float]]], kind: str) -> list[str]:
    """Both tables of one kind of runs."""
    rows = [(condition, store[key]) for condition in CONDITIONS if (key := condition.name + kind) in store]
    names = list(dict.fromkeys(name for _, found in rows for name in found))

    def table(heading: str, cell: Callable[[dict[str, dict[str, float]], str], str]) -> list[str]:
        lines = [f"#### {heading}", "", "| Clusters, effect on, truth | " + " | ".join(names) + " |"]
        lines += ["|---" * (len(names) + 1) + "|"]
        for condition, found in rows:
            cells = [cell(found, name) if name in found else "" for name in names]
            lines.append(f"| {title(condition)} | " + " | ".join(cells) + " |")
        return [*lines, ""]

    out = table("Root mean squared error, per cent of the effect", lambda found, n: f"{100 * found[n]['rmse']:.1f}")
    out += table(
        "Coverage of 95 % intervals in per cent (mean width relative to BIC)",
        lambda found, n: f"{100 * found[n]['coverage']:.1f} ({found[n]['width'] / found['BIC']['width']:.2f})",
    )
    reps = sorted({int(one["reps"]) for _, found in rows for one in found.values()})
    worst = max(abs(one["bias"]) for _, found in rows for one in found.values())
    failed = sum(int(one["failed"]) for _, found in rows for one in found.values())
    out += [
        f"{' to '.join(map(str, {reps[0]: 0, reps[-1]: 0}))} replications each; no method is biased by more than "
        f"{100 * worst:.1f} %; {failed} intervals failed.",
        "",
    ]
    return out


def write_tables() -> None:
    """Put the tables into docs/selection.md."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + tables(load()) + END + rest.split(END)[1], encoding="utf-8")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reps", type=int, default=250)
    parser.add_argument("--bootstrap-reps", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[c.name for c in CONDITIONS], help="names of conditions")
    parser.add_argument("--table", action="store_true", help="only write the tables anew")
    asked = parser.parse_args()
    for condition in () if asked.table else CONDITIONS:
        if condition.name not in asked.only:
            continue
        for kind, reps in (("", asked.reps), (BOOTSTRAP, asked.bootstrap_reps)):
            if reps == 0:
                continue
            found = run(condition, reps, asked.jobs, bootstrap=bool(kind))
            STORE.write_text(json.dumps({**load(), condition.name + kind: found}, indent=1) + "\n")
            print(title(condition) + kind, flush=True)
            print(pd.DataFrame(found).T.round(3).to_string(), flush=True)
    if asked.table:
        write_tables()


if __name__ == "__main__":
    main()
