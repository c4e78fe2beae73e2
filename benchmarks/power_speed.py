"""Time of simulated power: crosslevel beside mixedlm's `powerSim` and simulating and refitting with lme4.

    python benchmarks/power_speed.py [--reps 1000] [--peer-reps 20]

Needs R with lme4, and the tools of the extra "bench". Each tool simulates the power of z, a variable of 30 countries of
1,500 people with an effect of .2, in a process of its own. The peers draw outcomes for the rows of one data set, refit
and test, which is what simr does; crosslevel draws new data sets, predictors too, as cross-products. Writes
power_speed.json and the section of RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import crosslevel as cl

HERE = Path(__file__).parent
TASKS = {"random intercept": "(1 | country)", "random slope": "(1 + x | country)"}
TOOLS = ("crosslevel", "mixedlm", "lme4")
CLUSTERS, SIZE, EFFECT, SLOPE, SEED = 30, 1500, 0.2, 0.15, 1
GIVEN: dict[str, Any] = {"effects": {"z": EFFECT}, "icc": 0.1, "clusters": [CLUSTERS], "size": SIZE, "seed": SEED}
LME4 = """
suppressMessages(library(lme4))
given <- commandArgs(TRUE)
data <- read.csv(given[1]); data$country <- factor(data$country)
reps <- as.integer(given[3])
fit <- suppressMessages(lmer(as.formula(given[2]), data))
set.seed(1)
start <- proc.time()
found <- 0
for (i in 1:reps) {
  again <- suppressMessages(suppressWarnings(refit(fit, simulate(fit)[[1]])))
  t <- coef(summary(again))["z", "t value"]
  found <- found + (2 * pt(-abs(t), %d) < .05)
}
took <- proc.time() - start
cat(as.character(packageVersion("lme4")), sum(took[1:2]), took[3], found / reps)
"""


def model(task: str) -> str:
    """Formula of a task."""
    return f"y ~ x + z + {TASKS[task]}"


def one_data_set(task: str) -> Any:
    """Rows for the peers, from the same process."""
    slope = {"x": SLOPE} if "x" in TASKS[task] else {}
    process = cl.lab.Process(
        formula=model(task), effects={"Intercept": 0.0, "x": 0.0, "z": EFFECT}, sd={"Intercept": 0.1**0.5, **slope},
        sigma=0.9**0.5, clusters=CLUSTERS, size=SIZE, variables={"z": cl.lab.Context()},
    )  # fmt: skip
    return process.frame(SEED)


def by_crosslevel(task: str, reps: int) -> dict[str, Any]:
    """One design, compiled before it is timed."""
    more = {"sd": {"x": SLOPE}} if "x" in TASKS[task] else {}
    cl.power(model(task), **GIVEN, **more, reps=20, progress=False)
    cpu, wall = time.process_time(), time.perf_counter()
    found = cl.power(model(task), **GIVEN, **more, reps=reps, progress=False)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"version": cl.__version__, "cpu": cpu, "wall": wall, "power": float(found.frame["power"].iloc[0])}


def by_mixedlm(task: str, reps: int) -> dict[str, Any]:
    """`powerSim` of a model fitted to one data set."""
    import mixedlm

    fit = mixedlm.lmer(model(task), one_data_set(task))
    cpu, wall = time.process_time(), time.perf_counter()
    found = mixedlm.powerSim(fit, test="z", nsim=reps, seed=SEED)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"version": version("mixedlm"), "cpu": cpu, "wall": wall, "power": float(found.power)}


def by_lme4(task: str, reps: int) -> dict[str, Any]:
    """`simulate` and `refit` of a model fitted to one data set."""
    with tempfile.TemporaryDirectory() as folder:
        data, script = Path(folder) / "data.csv", Path(folder) / "run.R"
        one_data_set(task).to_csv(data, index=False)
        script.write_text(LME4 % (CLUSTERS - 2), encoding="utf-8")
        command = ["Rscript", str(script), str(data), model(task), str(reps)]
        words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {"version": words[0], "cpu": float(words[1]), "wall": float(words[2]), "power": float(words[3])}


BY = {"crosslevel": by_crosslevel, "mixedlm": by_mixedlm, "lme4": by_lme4}


def worker(tool: str, task: str, reps: int) -> None:
    """Time one tool in this process; its memory is that of R where R does the work."""
    found = BY[tool](task, reps)
    who = resource.RUSAGE_CHILDREN if tool == "lme4" else resource.RUSAGE_SELF
    print(json.dumps({**found, "reps": reps, "megabytes": resource.getrusage(who).ru_maxrss / 1024}))


def three_digits(value: float) -> str:
    """A number with three digits, or more if it has more before the point."""
    return f"{value:.3g}" if value < 100.0 else f"{value:,.0f}"


def section(report: dict[str, Any]) -> str:
    """Section of RESULTS.md."""
    from lab_tables import markdown

    about = report["about"]
    rows = [
        [
            row["task"], f"{row['tool']} {row['version']}", f"{row['reps']:,}",
            three_digits(1e3 * row["cpu"] / row["reps"]), three_digits(1e3 * row["wall"] / row["reps"]),
            three_digits(10_000 * row["wall"] / row["reps"]), f"{row['megabytes']:.0f}", f"{row['power']:.2f}",
        ]
        for row in report["rows"]
    ]  # fmt: skip
    head = ["model", "tool", "replications", "CPU ms each", "wall ms each", "10 x 1,000, s", "MB peak", "power"]
    words = f"""# Power of a planned study: {about["date"]}

Made by `python benchmarks/power_speed.py`. {about["processor"]}; {about["system"]}; {about["packages"]}. Threads: 1.
Load average {about["load"][0]:.1f} to {about["load"][1]:.1f}: other work makes times longer than on an idle machine.
Power of z, a variable of 30 countries of 1,500 people, REML. mixedlm and lme4 (`simulate` and `refit`, as simr
does) draw outcomes for one data set, so that their power is that of its z, and from few replications; crosslevel draws
new predictors each time, and is compiled before it is timed. Target: 60 s for 10 designs of 1,000 replications.
"""
    return words + "\n" + markdown(head, rows)


def main() -> None:
    """Time every tool, and write the results."""
    from results import write_page
    from run import machine

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reps", type=int, default=1000)
    parser.add_argument("--peer-reps", type=int, default=20)
    parser.add_argument("--tool", choices=TOOLS, help="time this tool in this process")
    parser.add_argument("--task", choices=TASKS, help="at this task")
    asked = parser.parse_args()
    if asked.tool and asked.task:
        worker(asked.tool, asked.task, asked.reps)
        return
    load, rows = [os.getloadavg()[0]], []
    single = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "NUMBA", "RAYON")}
    for task in TASKS:
        for tool in TOOLS:
            reps = asked.reps if tool == "crosslevel" else asked.peer_reps
            command = [sys.executable, __file__, "--tool", tool, "--task", task, "--reps", str(reps)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **single})
            rows.append({"task": task, "tool": tool, **json.loads(done.stdout.splitlines()[-1])})
            print(rows[-1], flush=True)
            load.append(os.getloadavg()[0])
    report = {"about": {**machine(), "load": [min(load), max(load)]}, "rows": rows}
    (HERE / "power_speed.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    write_page(HERE)


if __name__ == "__main__":
    main()
