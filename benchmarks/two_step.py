"""Precision and coverage of two-step estimators of a context effect beside mixed models.

    python benchmarks/two_step.py [--reps 400] [--only NAME ...] [--table]

Data are drawn by `interval_coverage.draw`: six predictors, five of whose slopes vary, and a context variable z whose
effect on the intercept or on the slope of x1 is 1. Every replication has a seed of its own. Results are kept in
two_step.json, condition by condition; docs/inference.md has the table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from interval_coverage import Condition, draw, formula

import crosslevel as cl

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


def tables(condition: Condition, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Coefficient table of every estimator."""
    interaction = condition.target == "cli"
    plain = cl.two_step(FIRST, {"x1" if interaction else "Intercept": "z"}, frame, cluster="g", method="ols")
    correct = cl.mixed(formula(condition, range(2, 2 + condition.varying)), frame)
    return {
        "two-step OLS": plain.tidy(),
        "two-step FGLS": plain.update(method="fgls").tidy(),
        "adjusted": plain.update(method="adjusted").tidy(),
        "adjusted, all": plain.update(method="adjusted", covariates="all").tidy(),
        "adjusted-fgls": plain.update(method="adjusted-fgls").tidy(),
        "ME-Correct, m-l-1": correct.tests(ddf="m-l-1"),
        "ME-Correct, growth-curve": correct.tests(ddf="growth-curve"),
        "ME-Invariant, m-l-1": cl.mixed(formula(condition, []), frame).tests(ddf="m-l-1"),
    }


ESTIMATORS = (
    "two-step OLS", "two-step FGLS", "adjusted", "adjusted, all", "adjusted-fgls", "ME-Correct, m-l-1",
    "ME-Correct, growth-curve", "ME-Invariant, m-l-1",
)  # fmt: skip


def replicate(condition: Condition, number: int) -> dict[str, tuple[float, float, float]]:
    """Estimate and limits by estimator."""
    frame = draw(condition, np.random.default_rng([number, *condition.name.encode()]))
    out = {}
    for name, table in tables(condition, frame).items():
        row = table.loc["x1:z" if "x1:z" in table.index else "z"]
        out[name] = (float(row["estimate"]), float(row["conf_low"]), float(row["conf_high"]))
    return out


def summary(results: list[dict[str, tuple[float, float, float]]]) -> dict[str, dict[str, float]]:
    """Bias and root mean squared error in per cent of the true effect, coverage, and median width."""
    out = {}
    for name in ESTIMATORS:
        estimate, low, high = np.array([result[name] for result in results]).T
        out[name] = {
            "bias": float(100.0 * np.mean(estimate - 1.0)),
            "rmse": float(100.0 * np.sqrt(np.mean((estimate - 1.0) ** 2))),
            "coverage": float(100.0 * np.mean((low <= 1.0) & (high >= 1.0))),
            "width": float(np.median(high - low)),
            "reps": len(results),
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
        found = summary([replicate(condition, number) for number in range(asked.reps)])
        STORE.write_text(json.dumps({**load(), name: found}, indent=1) + "\n", encoding="utf-8")
        print(name, flush=True)
        print(pd.DataFrame(found).T.round(3).to_string(), flush=True)
    write_table()


if __name__ == "__main__":
    main()
