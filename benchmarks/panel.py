"""Times panel estimators beside linearmodels and pyfixest; writes panel.json and its section of RESULTS.md.

    python benchmarks/panel.py [--rounds 3]
    python benchmarks/panel.py --task TASK --tool TOOL    one process of these: prints a line of JSON

Each tool and task is a process of its own with one thread. It makes the data from a seed, then estimates several times
from the data frame to coefficients, standard errors and p values; the first time is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from results import write_page
from run import HERE, THREADS, machine

GROUPS = 100_000
TIMES = 10
FORMULA = "y ~ x1 + x2 + x3"
LIMIT = 120.0
"""Seconds until a process is stopped."""
Estimate = Callable[[pd.DataFrame], tuple[float, float]]
TASKS = {
    "fixed": "Fixed effects, iid errors",
    "fixed_cluster": "Fixed effects, cluster-robust errors (CR1)",
    "random": "Random effects (Swamy and Arora), iid errors",
    "pooled_cluster": "Pooled least squares, cluster-robust errors (CR1)",
}


def panel() -> pd.DataFrame:
    """A balanced panel in order of groups and times; predictors vary between groups and within them."""
    rng = np.random.default_rng(20)
    group, rows = np.repeat(np.arange(GROUPS), TIMES), GROUPS * TIMES
    columns = {"group": group, "time": np.tile(np.arange(TIMES), GROUPS)}
    y = 1.0 + rng.standard_normal(GROUPS)[group] + rng.standard_normal(rows)
    for k, slope in enumerate((0.5, -0.3, 0.2), start=1):
        columns[f"x{k}"] = rng.standard_normal(GROUPS)[group] + rng.standard_normal(rows)
        y += slope * columns[f"x{k}"]
    return pd.DataFrame({**columns, "y": y})


def crosslevel_estimate(task: str) -> Estimate:
    """Coefficient and standard error of x1 by crosslevel."""
    import crosslevel as cl

    def estimate(frame: pd.DataFrame) -> tuple[float, float]:
        fit: Any
        if task == "pooled_cluster":
            fit = cl.ols(FORMULA, frame, cluster="group", vcov="CR1")
        elif task == "random":
            fit = cl.random_effects(FORMULA, frame, group="group", method="swar")
        else:
            fit = cl.fixed_effects(FORMULA, frame, group="group", vcov="CR1" if task == "fixed_cluster" else "iid")
        table = fit.tidy()
        return float(table.loc["x1", "estimate"]), float(table.loc["x1", "std_error"])

    return estimate


def linearmodels_estimate(task: str) -> Estimate:
    """The same by linearmodels; its index of groups and times is part of the work."""
    from linearmodels.panel import PanelOLS, PooledOLS, RandomEffects

    robust = {"cov_type": "clustered", "cluster_entity": True} if task.endswith("cluster") else {}

    def estimate(frame: pd.DataFrame) -> tuple[float, float]:
        data = frame.set_index(["group", "time"])
        if task == "pooled_cluster":
            model = PooledOLS.from_formula("y ~ 1 + x1 + x2 + x3", data)
        elif task == "random":
            model = RandomEffects.from_formula("y ~ 1 + x1 + x2 + x3", data)
        else:
            model = PanelOLS.from_formula(f"{FORMULA} + EntityEffects", data)
        fit = model.fit(**robust)
        assert fit.pvalues.size == fit.params.size
        return float(fit.params["x1"]), float(fit.std_errors["x1"])

    return estimate


def pyfixest_estimate(task: str) -> Estimate:
    """The same by pyfixest, as it comes."""
    import pyfixest

    formula = FORMULA if task == "pooled_cluster" else f"{FORMULA} | group"
    robust = {"CRV1": "group"} if task.endswith("cluster") else "iid"

    def estimate(frame: pd.DataFrame) -> tuple[float, float]:
        table = pyfixest.feols(formula, frame, vcov=robust).tidy()
        return float(table.loc["x1", "Estimate"]), float(table.loc["x1", "Std. Error"])

    return estimate


TOOLS = {"crosslevel": crosslevel_estimate, "linearmodels": linearmodels_estimate, "pyfixest": pyfixest_estimate}


def used() -> tuple[float, float]:
    """CPU seconds and the peak memory in MB of this process until now."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def timed(tool: str, task: str, rounds: int) -> dict[str, Any]:
    """One tool, one task, several times in this process."""
    estimate, frame = TOOLS[tool](task), panel()
    before, walls, cpus = used()[1], [], []
    for k in range(rounds + 1):
        wall, cpu = time.perf_counter(), used()[0]
        coefficient, error = estimate(frame)
        if k:
            walls.append(time.perf_counter() - wall)
            cpus.append(used()[0] - cpu)
    return {
        "wall": walls, "cpu": cpus, "before": before, "peak": used()[1], "coefficient": coefficient, "error": error,
    }  # fmt: skip


def run(tool: str, task: str, rounds: int) -> dict[str, Any]:
    """One process with one thread: its report, or what went wrong."""
    command = [sys.executable, str(Path(__file__)), "--task", task, "--tool", tool, "--rounds", str(rounds)]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}  # libraries look at these when they are loaded
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment)
    except subprocess.TimeoutExpired:
        return {"failed": f"stopped after {LIMIT:.0f} s"}
    if done.returncode != 0:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:200]}
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def main() -> None:
    """Run everything, write the results; or be one of the processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds (default 3)")
    parser.add_argument("--task", choices=TASKS, help="time this task in this process")
    parser.add_argument("--tool", choices=TOOLS, help="with this tool")
    arguments = parser.parse_args()
    if arguments.task and arguments.tool:
        warnings.simplefilter("ignore")
        print(json.dumps(timed(arguments.tool, arguments.task, arguments.rounds)))
        return
    load, rows = [os.getloadavg()[0]], []
    for task, title in TASKS.items():
        for tool in TOOLS:
            if (tool, task) == ("pyfixest", "random"):  # it has no random effects
                continue
            report = run(tool, task, arguments.rounds)
            rows.append({"title": title, "tool": f"{tool} {version(tool)}", **report})
            print(f"{task} {tool}: {report.get('failed') or median(report['cpu'])}", flush=True)
            load.append(os.getloadavg()[0])
    about = {**machine(), "load": [min(load), max(load)], "rounds": arguments.rounds}
    (HERE / "panel.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    write_page(HERE)


if __name__ == "__main__":
    main()
