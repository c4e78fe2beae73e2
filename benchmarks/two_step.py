"""Precision and coverage of two-step estimators of a context effect beside mixed models.

    python benchmarks/two_step.py [--reps 400] [--only NAME ...] [--table]

Data are those of the Monte Carlo study of Heisig, Schaeffer & Giesecke (2017), see `cl.lab.heisig2017`: six predictors,
and a context variable z whose effect on the intercept or on the slope of x1 is 1. Results are kept in two_step.json,
condition by condition; docs/inference.md has the table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
from interval_coverage import SEED, Condition

import crosslevel as cl
from crosslevel.simulation.published.heisig2017 import formula, target

HERE = Path(__file__).parent
STORE, PAGE = HERE / "two_step.json", HERE.parent / "docs" / "inference.md"
BEGIN, END = "<!-- two-step: begin -->", "<!-- two-step: end -->"

FIRST = "y ~ x1 + x2 + x3 + x4 + x5 + x6"

CONDITIONS = {
    "15 clusters, intercept, five slopes of SD .2": Condition(15, 600, 2000, "dce", 5, 0.2, 5),
    "15 clusters, intercept, no slope varies": Condition(15, 600, 2000, "dce", 0, 0.2, 5),
    "25 clusters, intercept, five slopes of SD 1, half of the predictors' variance between clusters": Condition(
        25, 600, 2000, "dce", 5, 1.0, 5, between=0.5
    ),
    "15 clusters, slope of x1, five other slopes of SD .2": Condition(15, 600, 2000, "cli", 5, 0.2, 5),
    "50 clusters of 70 to 130 rows, intercept, five slopes of SD .2": Condition(50, 70, 130, "dce", 5, 0.2, 5),
    "50 clusters of 15 to 35 rows, intercept, five slopes of SD .2": Condition(50, 15, 35, "dce", 5, 0.2, 5),
}


def estimators(condition: Condition) -> list[cl.lab.Estimator]:
    """Two-step regressions and mixed models."""
    explained = {"x1" if condition.target == "cli" else "Intercept": "z"}
    return [
        *(cl.lab.TwoStep(name=name, first=FIRST, second=explained, **more) for name, more in STEPS.items()),  # type: ignore[arg-type]
        cl.lab.Mixed(
            name="ME-Correct", formula=formula(condition.target, condition.varying), intervals=("m-l-1", "growth-curve")
        ),
        cl.lab.Mixed(name="ME-Invariant", formula=formula(condition.target, 0), intervals=("m-l-1",)),
    ]


STEPS = {
    "two-step OLS": {"method": "ols"}, "two-step FGLS": {"method": "fgls"}, "adjusted": {"method": "adjusted"},
    "adjusted, all": {"method": "adjusted", "covariates": "all"}, "adjusted-fgls": {"method": "adjusted-fgls"},
}  # fmt: skip
ESTIMATORS = (
    "two-step OLS", "two-step FGLS", "adjusted", "adjusted, all", "adjusted-fgls", "ME-Correct, m-l-1",
    "ME-Correct, growth-curve", "ME-Invariant, m-l-1",
)  # fmt: skip


def run(condition: Condition, reps: int) -> dict[str, dict[str, float]]:
    """Bias and root mean squared error in per cent of the true effect, coverage, and median width."""
    study = cl.lab.Study(
        process=condition.process, estimators=estimators(condition), terms=target(variant=condition.target)
    )  # fmt: skip
    found = study.run(reps=reps, seed=SEED, progress=False)
    out = {}
    for (name, interval), own in found[found["interval"] != ""].groupby(["estimator", "interval"], sort=False):
        values = own.set_index("measure")["value"]
        plain = found[found["estimator"] == name].drop_duplicates("measure").set_index("measure")["value"]
        out[name if name in STEPS else f"{name}, {interval}"] = {
            "bias": float(plain["bias"]),
            "rmse": float(plain["rmse"]),
            "coverage": float(values["coverage"]),
            "width": float(values["median width"]),
            "reps": reps,
        }
    return out


def load() -> dict[str, dict[str, dict[str, float]]]:
    """What was computed before."""
    return json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}


def table_of(store: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: root mean squared error in per cent, and coverage in parentheses."""
    lines = ["| Condition | " + " | ".join(ESTIMATORS) + " |", "|---" * (len(ESTIMATORS) + 1) + "|"]
    for name, found in ((name, store[name]) for name in CONDITIONS if name in store):
        cells = [f"{found[key]['rmse']:.1f} ({found[key]['coverage']:.1f})" for key in ESTIMATORS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    reps = sorted({int(found[key]["reps"]) for found in store.values() for key in found})
    biases = [abs(found[key]["bias"]) for found in store.values() for key in found if not key.startswith("ME-Inv")]
    words = f"{' to '.join(map(str, reps))} replications each. Largest bias of an estimate but ME-Invariant's: "
    return "\n".join([*lines, "", f"{words}{max(biases):.1f} %."]) + "\n"


def write_table() -> None:
    """Put the table into docs/inference.md."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + table_of(load()) + END + rest.split(END)[1], encoding="utf-8")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reps", type=int, default=400)
    parser.add_argument("--only", nargs="+", default=list(CONDITIONS), help="names of conditions")
    parser.add_argument("--table", action="store_true", help="only write the table anew")
    asked = parser.parse_args()
    for name, condition in CONDITIONS.items():
        if asked.table or name not in asked.only:
            continue
        found = run(condition, asked.reps)
        STORE.write_text(json.dumps({**load(), name: found}, indent=1) + "\n", encoding="utf-8")
        print(name, flush=True)
        print(pd.DataFrame(found).T.round(3).to_string(), flush=True)
    write_table()


if __name__ == "__main__":
    main()
