"""Coverage and width of intervals for a context effect, by the number of clusters and by method.

    python benchmarks/interval_coverage.py [--reps 1000] [--bootstrap-reps 200] [--jobs 2] [--only NAME ...] [--table]

Data are those of the Monte Carlo study of Heisig, Schaeffer & Giesecke (2017), see `cl.lab.heisig2017`: six predictors
with random correlations, 15 % of their variance between clusters, coefficients with random correlations, and a context
variable z that explains the intercept (dce) or the slope of x1 (cli), all effects 1. Every replication is fitted by
`cl.mixed`, and each method gives a 95 % interval for the effect of z. Results are kept in interval_coverage.json,
condition by condition; docs/inference.md has the tables.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import crosslevel as cl
from crosslevel.simulation.published.heisig2017 import PublishedProcess, fixed_part, formula, target

HERE = Path(__file__).parent
STORE, PAGE = HERE / "interval_coverage.json", HERE.parent / "docs" / "inference.md"
BEGIN, END = "<!-- coverage: begin -->", "<!-- coverage: end -->"

BETWEEN, SLOPES, SEED = 0.15, 5, 1
DRAWS = 199
"""Bootstrap refits: (draws + 1) * .025 is a whole number."""


@dataclass(frozen=True)
class Condition:
    """How data are drawn and modelled.

    clusters, low, high : number of clusters, and the range of their sizes.
    target : "dce" (z explains the intercept) or "cli" (z explains the slope of x1).
    varying, sd : slopes of controls that vary, and their standard deviation (that of the target is .6).
    modelled : slopes of controls that the model lets vary; "selected" lets BIC choose among five.
    between : share of the predictors' variance that lies between clusters.
    """

    clusters: int
    low: int
    high: int
    target: str
    varying: int
    sd: float
    modelled: int | str
    between: float = BETWEEN

    @property
    def name(self) -> str:
        """A name for tables."""
        share = "" if self.between == BETWEEN else f"-b{self.between:g}"
        return f"{self.clusters}-{self.target}-{self.varying}x{self.sd:g}-{self.modelled}{share}"

    @property
    def process(self) -> cl.lab.Process:
        """Where its data come from."""
        return PublishedProcess(size=(self.low, self.high))(
            variant=self.target, clusters=self.clusters, slopes=self.varying, slope_sd=self.sd, between=self.between
        )


SIZES = ((15, 600, 2000), (25, 600, 2000), (50, 70, 130))
MODELS = (
    ("dce", 1, 0.2, 1), ("dce", 3, 0.2, 3), ("dce", 5, 0.2, 5), ("dce", 5, 1.0, 5), ("dce", 0, 0.2, 5),
    ("dce", 1, 0.2, 5), ("dce", 3, 0.2, "selected"), ("cli", 1, 0.2, 1), ("cli", 5, 0.2, 5), ("cli", 0, 0.2, 5),
    ("cli", 3, 0.2, "selected"),
)  # fmt: skip
CONDITIONS = tuple(
    Condition(clusters, low, high, target, varying, sd, modelled)
    for clusters, low, high in SIZES
    for target, varying, sd, modelled in MODELS
)
BOOTSTRAPPED = {(target, varying, sd) for target, varying, sd in (("dce", 1, 0.2), ("dce", 5, 0.2), ("cli", 5, 0.2))}
"""Models whose context effects are also bootstrapped, in their correct form."""

DF = ("normal", "m-l-1", "satterthwaite", "kenward-roger", "growth-curve")
LABELS = {
    ("OLS", "CR2, satterthwaite"): "OLS, CR2", ("model", "profile"): "profile (ML)",
    ("cluster", "percentile"): "cluster bootstrap, percentile",
    ("cluster", "studentised"): "cluster bootstrap, studentised",
    ("parametric", "studentised"): "parametric bootstrap, studentised",
    ("wild", "studentised"): "wild bootstrap, studentised",
}  # fmt: skip


def intervals(condition: Condition) -> list[cl.lab.Estimator]:
    """A model with intervals of all kinds, and least squares; slopes chosen by BIC one at a time, if so asked."""
    kinds = (*DF, "CR2", "profile")
    least_squares = cl.lab.OLS(name="OLS", formula=fixed_part(condition.target), intervals=("CR2, satterthwaite",))
    if condition.modelled != "selected":
        model = formula(condition.target, int(condition.modelled))
        return [cl.lab.Mixed(name="model", formula=model, intervals=kinds), least_squares]
    maximal = formula(condition.target, SLOPES)
    chosen = cl.lab.Selected(
        name="model", formula=maximal, criterion="bic", components="off", correlations="full", intervals=kinds
    )
    return [chosen, least_squares]


def bootstraps(condition: Condition) -> list[cl.lab.Estimator]:
    """Bootstraps of three kinds."""
    model = formula(condition.target, int(condition.modelled))
    return [
        cl.lab.Bootstrap(name="cluster", formula=model, n=DRAWS, methods=("percentile", "studentised")),
        cl.lab.Bootstrap(name="parametric", formula=model, resampling="parametric", n=DRAWS, methods=("studentised",)),
        cl.lab.Bootstrap(name="wild", formula=model, resampling="wild", n=DRAWS, methods=("studentised",)),
    ]


def run(condition: Condition, reps: int, jobs: int, *, resampled: bool) -> dict[str, dict[str, float]]:
    """Coverage, median width and failures of each method."""
    study = cl.lab.Study(
        title=condition.name, process=condition.process, terms=target(variant=condition.target),
        estimators=(bootstraps if resampled else intervals)(condition),
    )  # fmt: skip
    found = study.run(reps=reps, seed=SEED, n_jobs=jobs, progress=False)
    out: dict[str, dict[str, float]] = {}
    for (name, interval), own in found[found["interval"] != ""].groupby(["estimator", "interval"], sort=False):
        values = own.set_index("measure")
        out[LABELS.get((name, interval), interval)] = {
            "coverage": float(values.loc["coverage", "value"]) / 100.0,
            "width": float(values.loc["median width", "value"]),
            "reps": reps,
            "failed": int(values.loc["coverage", "failed"]),
        }
    return out


def load() -> dict[str, dict[str, dict[str, float]]]:
    """What was computed before."""
    return json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}


def title(condition: Condition) -> str:
    """A condition in the words of the table."""
    what = "intercept" if condition.target == "dce" else "slope of x1"
    if condition.modelled == "selected":
        return (
            f"{condition.clusters}, {what}, {condition.varying} of 5 slopes vary (SD {condition.sd:g}), chosen by BIC"
        )
    if condition.modelled != condition.varying:
        return f"{condition.clusters}, {what}, {condition.varying} of {condition.modelled} modelled slopes vary"
    plural = "slope" if condition.varying == 1 else "slopes"
    return f"{condition.clusters}, {what}, {condition.varying} varying {plural} (SD {condition.sd:g})"


def tables(store: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: coverage in per cent with the width relative to m-l-1, of every method by condition."""
    out = []
    for heading, own in (("t tests and their kin", False), ("Bootstrap", True)):
        rows = [(c, store[key]) for c in CONDITIONS if (key := c.name + (" bootstrap" if own else "")) in store]
        if not rows:
            continue
        names = list(rows[0][1])
        out += [f"### {heading}", "", "| Clusters, effect on, model | " + " | ".join(names) + " |"]
        out += ["|---" * (len(names) + 1) + "|"]
        for condition, found in rows:
            base = store[condition.name]["m-l-1"]["width"] if condition.name in store else np.nan
            cells = [f"{100 * found[n]['coverage']:.1f} ({found[n]['width'] / base:.2f})" for n in names]
            out.append(f"| {title(condition)} | " + " | ".join(cells) + " |")
        reps = sorted({int(found[n]["reps"]) for _, found in rows for n in names})
        failed = sum(int(found[n]["failed"]) for _, found in rows for n in names)
        out += [
            "",
            f"{' to '.join(map(str, {reps[0]: 0, reps[-1]: 0}))} replications each; {failed} intervals failed.",
            "",
        ]
    return "\n".join(out)


def write_tables() -> None:
    """Put the tables into docs/inference.md."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + tables(load()) + END + rest.split(END)[1], encoding="utf-8")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reps", type=int, default=1000)
    parser.add_argument("--bootstrap-reps", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[c.name for c in CONDITIONS], help="names of conditions")
    parser.add_argument("--table", action="store_true", help="only write the tables anew")
    asked = parser.parse_args()
    for condition in () if asked.table else CONDITIONS:
        if condition.name not in asked.only:
            continue
        kinds = [(False, asked.reps)]
        correct = condition.modelled == condition.varying
        if correct and (condition.target, condition.varying, condition.sd) in BOOTSTRAPPED:
            kinds.append((True, asked.bootstrap_reps))
        for resampled, reps in kinds:
            if reps == 0:
                continue
            found = run(condition, reps, asked.jobs, resampled=resampled)
            STORE.write_text(json.dumps({**load(), condition.name + " bootstrap" * resampled: found}, indent=1) + "\n")
            print(title(condition), flush=True)
            print(pd.DataFrame(found).T.round(3).to_string(), flush=True)
    write_tables()


if __name__ == "__main__":
    main()
