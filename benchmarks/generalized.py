"""Times of generalized linear mixed models: crosslevel beside glmm, mixedlm, lme4 and glmmTMB.

    python benchmarks/generalized.py [--tasks contraception slope ...] [--tools crosslevel glmm ...] [--repeats 3]

Every run is a process of its own that fits once before it is timed, unless a fit takes long. Times are those from data
frame to coefficients, standard errors and variances. Writes generalized.json and the section of RESULTS.md.
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
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "tests" / "reference" / "data"
TOOLS = ("crosslevel", "glmm", "mixedlm", "lme4", "glmmTMB")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
QUICK, PATIENCE = 2.0, 20.0
"""Seconds below which a fit is repeated in its process; beyond which a tool is run once only."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One model on one data set.

    make : makes the data.
    nodes : quadrature nodes; 1 for Laplace's approximation.
    tools : those that can fit it in reasonable time.
    refits : cluster bootstrap refits that are timed in place of a fit; 0 for a fit.
    """

    title: str
    formula: str
    make: Callable[[], pd.DataFrame]
    nodes: int = 1
    tools: tuple[str, ...] = TOOLS
    refits: int = 0


def contraception() -> pd.DataFrame:
    """Use of contraception by 1,934 women in 60 districts of Bangladesh."""
    frame = pd.read_csv(REFERENCE / "Contraception.csv", keep_default_na=False)
    frame["y"] = (frame["use"] == "Y").astype(float)
    for name in ("urban", "livch", "district"):
        frame[name] = pd.Categorical(frame[name].astype(str))
    return frame


def verbagg() -> pd.DataFrame:
    """24 answers of 316 people about verbal aggression."""
    frame = pd.read_csv(REFERENCE / "VerbAgg.csv", keep_default_na=False)
    frame["y"] = (frame["r2"] == "Y").astype(float)
    for name in ("Gender", "btype", "situ", "mode", "id", "item"):
        frame[name] = pd.Categorical(frame[name].astype(str))
    return frame


def simulated(rows: int, clusters: int, predictors: int, *, slope: float, seed: int) -> pd.DataFrame:
    """Binary outcomes in clusters, with a random slope of the first predictor where `slope` is its SD."""
    rng = np.random.default_rng(seed)
    code = np.sort(rng.integers(0, clusters, rows))
    x = rng.standard_normal((predictors, rows))
    eta = -0.3 + 0.25 * x.sum(axis=0) + rng.normal(0.0, 0.8, clusters)[code]
    eta += rng.normal(0.0, slope, clusters)[code] * x[0]
    y = (rng.random(rows) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    names = [f"x{j + 1}" for j in range(predictors)]
    return pd.DataFrame({"y": y, **dict(zip(names, x, strict=True)), "g": code.astype(np.int32)})


def slopes() -> pd.DataFrame:
    """100,000 rows in 1,000 clusters."""
    return simulated(100_000, 1_000, 5, slope=0.5, seed=1)


def million() -> pd.DataFrame:
    """1,000,000 rows in 50,000 clusters."""
    return simulated(1_000_000, 50_000, 1, slope=0.0, seed=2)


WOMEN = "y ~ age + I(age**2) + urban + livch + (1 | district)"
FIVE = "y ~ x1 + x2 + x3 + x4 + x5 + (x1 | g)"
TASKS = {
    "contraception": Task(
        title="Contraception, logit, Laplace: 1,934 rows, 60 clusters", formula=WOMEN, make=contraception
    ),
    "contraception_11": Task(
        title="The same, 11 nodes", formula=WOMEN, make=contraception, nodes=11, tools=TOOLS[:4]
    ),
    "verbagg": Task(
        title="VerbAgg, crossed logit, Laplace: 7,584 rows, 316 people x 24 items",
        formula="y ~ Anger + Gender + btype + situ + mode + (1 | id) + (1 | item)",
        make=verbagg,
    ),
    "slope": Task(
        title="Logit, Laplace: 100,000 rows, 1,000 clusters, 5 predictors, random slope", formula=FIVE, make=slopes
    ),
    "slope_7": Task(title="The same, 7 x 7 nodes", formula=FIVE, make=slopes, nodes=7, tools=TOOLS[:2]),
    "million_7": Task(
        title="Logit, 7 nodes: 1,000,000 rows, 50,000 clusters, random intercept",
        formula="y ~ x1 + (1 | g)",
        make=million,
        nodes=7,
        tools=TOOLS[:2],
    ),
    "bootstrap": Task(
        title="Cluster bootstrap of Contraception, Laplace, 1,000 refits",
        formula=WOMEN,
        make=contraception,
        tools=("crosslevel",),
        refits=1000,
    ),
}  # fmt: skip


def by_crosslevel(task: Task, frame: pd.DataFrame) -> float:
    """A fit, or a bootstrap of one."""
    import crosslevel as cl

    fit = cl.mixed(task.formula, frame, family="binomial", quadrature=task.nodes)
    assert fit.params.size == fit.bse.size
    return -2.0 * float(fit.loglik)


def by_glmm(task: Task, frame: pd.DataFrame) -> float:
    """As it comes: standard errors from the Hessian."""
    import glmm

    return -2.0 * float(glmm.fit(frame, task.formula.replace("**", "^"), "binomial", nagq=task.nodes).loglik)


def by_mixedlm(task: Task, frame: pd.DataFrame) -> float:
    """The port of lme4."""
    import mixedlm

    formula = task.formula.replace("I(age**2)", "age2")
    return -2.0 * float(mixedlm.glmer(formula, frame, nAGQ=task.nodes).logLik().value)


PYTHON = {"crosslevel": by_crosslevel, "glmm": by_glmm, "mixedlm": by_mixedlm}
R = """
suppressMessages(library({tool}))
given <- commandArgs(TRUE)
data <- read.csv(given[1], stringsAsFactors = TRUE); data$g <- factor(data$g)
fit_once <- function() suppressMessages(suppressWarnings({call}))
if ({warm}) fit_once()
start <- proc.time(); fit <- fit_once(); took <- proc.time() - start
peak <- grep("^VmHWM:", readLines("/proc/self/status"), value = TRUE)
cat("\nfound:", as.character(packageVersion("{tool}")), took[3], sum(took[1:2]))
cat("", sprintf("%.9f", -2 * as.numeric(logLik(fit))), as.numeric(gsub("[^0-9]", "", peak)) / 1024)
"""
CALLS = {
    "lme4": "glmer(as.formula(given[2]), data, family = binomial, nAGQ = {nodes})",
    "glmmTMB": "glmmTMB(as.formula(given[2]), data, family = binomial)",
}


def by_r(tool: str, task: Task, frame: pd.DataFrame) -> dict[str, Any]:
    """One fit in R, after another one that is not counted where they are quick."""
    group = "district" if "district" in frame else "g" if "g" in frame else "id"
    with tempfile.TemporaryDirectory() as folder:
        data, script = Path(folder) / "data.csv", Path(folder) / "run.R"
        text = frame.assign(g=frame[group])
        for name in text.select_dtypes("category"):
            text[name] = "k" + text[name].astype(str)
        text.to_csv(data, index=False)
        warm = "TRUE" if len(frame) < 50_000 else "FALSE"
        script.write_text(R.format(tool=tool, call=CALLS[tool].format(nodes=task.nodes), warm=warm), encoding="utf-8")
        command = ["Rscript", str(script), str(data), task.formula.replace("**", "^")]
        words = (
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.partition("found:")[2].split()
        )
    return {
        "version": words[0], "wall": [float(words[1])], "cpu": [float(words[2])], "criterion": float(words[3]),
        "megabytes": float(words[4]),
    }  # fmt: skip


def worker(tool: str, name: str) -> dict[str, Any]:
    """Time one tool at one task in this process."""
    task = TASKS[name]
    frame = task.make()
    if tool in CALLS:
        return by_r(tool, task, frame)
    if tool == "mixedlm" and "age" in frame:
        frame["age2"] = frame["age"] ** 2
    wall, cpu, criterion = [], [], float("nan")
    warnings.simplefilter("ignore" if tool != "crosslevel" else "default")
    small = simulated(2_000, 50, 5, slope=0.5, seed=3)
    warming = Task(title="", formula=FIVE, make=slopes, nodes=1 if tool == "mixedlm" else task.nodes)
    PYTHON[tool](warming, small)
    run: Callable[[], float] = lambda: PYTHON[tool](task, frame)  # noqa: E731
    if len(frame) < 50_000:
        run()
    if task.refits:
        import crosslevel as cl

        fit = cl.mixed(task.formula, frame, family="binomial", quadrature=1)
        fit.bootstrap(n=20, kind="cluster", seed=1, progress=False)

        def run() -> float:
            fit.bootstrap(n=task.refits, kind="cluster", seed=1, n_jobs=2, progress=False)
            return -2.0 * float(fit.loglik)

    for _ in range(5):
        before, used = time.perf_counter(), time.process_time()
        criterion = run()
        wall.append(time.perf_counter() - before)
        cpu.append(time.process_time() - used)
        if wall[-1] > QUICK:
            break
    return {
        "version": version(tool), "wall": wall, "cpu": cpu, "criterion": criterion,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def section(report: dict[str, Any]) -> str:
    """Section of RESULTS.md."""
    from lab_tables import markdown

    about = report["about"]
    words = f"""# Generalized linear mixed models: {about["date"]}

Made by `python benchmarks/generalized.py`. {about["processor"]}; {about["system"]}; {about["packages"]}. Load average
{about["load"][0]:.1f} to {about["load"][1]:.1f}. One thread for every tool but crosslevel, which spreads clusters
over both cores: compare CPU seconds. Medians over rounds, from data frame to standard errors; "above" is -2
log-likelihood above the lowest. The first fit of a process is not counted where fits are quick. Tools that took more
than 20 s ran once, those that took more than 110 s were stopped; the bootstrap has two threads.
"""
    parts = [words]
    for name, tools in report["tasks"].items():
        task = TASKS[name]
        lowest = min(min(run["criterion"] for run in runs) for runs in tools.values() if runs)
        base = median(t for run in tools.get("glmm", []) for t in run["cpu"]) if tools.get("glmm") else None
        rows = []
        for tool, runs in tools.items():
            if not runs:
                rows.append([tool, "stopped", "", "", "", ""])
                continue
            wall = median(t for run in runs for t in run["wall"])
            cpu = median(t for run in runs for t in run["cpu"])
            rows.append([
                f"{tool} {runs[0]['version']}", f"{wall:.3g} s", f"{cpu:.3g} s", f"{cpu / base:.2f}" if base else "",
                f"{runs[0]['megabytes']:.0f}", f"{runs[0]['criterion'] - lowest:.1e}",
            ])  # fmt: skip
        parts.append(f"## {task.title}\nLowest -2 log-likelihood: {lowest:.6f}\n")
        parts.append(markdown(["tool", "wall", "CPU", "CPU / glmm", "MB peak", "above"], rows))
    return "\n\n".join(part.strip() for part in parts)


def one_run(tool: str, name: str, timeout: float) -> dict[str, Any] | None:
    """A process of its own; None if it fails or takes too long."""
    threads = "2" if TASKS[name].refits else "1"
    command = [sys.executable, __file__, "--tool", tool, "--task", name]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **dict.fromkeys(THREADS, threads)},
        )
    except subprocess.TimeoutExpired:
        print(f"{name} {tool}: stopped after {timeout:.0f} s", flush=True)
        return None
    if done.returncode:
        print(f"{name} {tool}: {(done.stderr.strip().splitlines() or ['failed'])[-1][:300]}", flush=True)
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{name} {tool}: {min(found['wall']):.4g} s wall, {min(found['cpu']):.4g} CPU, {found['criterion']:.6f}",
        flush=True,
    )
    return found


def main() -> None:
    """Time every tool, and write the results."""
    from results import write_page
    from run import machine

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), choices=TOOLS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=300.0)
    parser.add_argument("--tool", choices=TOOLS, help="time this tool in this process")
    parser.add_argument("--task", choices=TASKS, help="at this task")
    asked = parser.parse_args()
    if asked.tool and asked.task:
        print(json.dumps(worker(asked.tool, asked.task)))
        return
    store = HERE / "generalized.json"
    kept = json.loads(store.read_text(encoding="utf-8"))["tasks"] if store.exists() else {}
    tasks: dict[str, dict[str, list[dict[str, Any]]]] = {}
    load = [os.getloadavg()[0]]
    for turn in range(asked.repeats):
        for name in asked.tasks:
            for tool in asked.tools:
                if tool not in TASKS[name].tools:
                    continue
                runs = tasks.setdefault(name, {}).setdefault(tool, [])
                if turn and (len(runs) < turn or max(runs[-1]["wall"]) > PATIENCE):
                    continue
                found = one_run(tool, name, asked.timeout)
                runs += [found] if found else []
                load.append(os.getloadavg()[0])
    merged = {name: {**kept.get(name, {}), **tasks.get(name, {})} for name in TASKS if name in kept or name in tasks}
    report = {"about": {**machine(), "load": [min(load), max(load)]}, "tasks": merged}
    store.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    write_page(HERE)


if __name__ == "__main__":
    main()
