"""Times tests, intervals and bootstraps beside R's packages; writes inference.json and its section of RESULTS.md.

    python benchmarks/inference.py [--rounds 5] [--limit 60]

crosslevel runs in one process. Each round fits the model anew, which is not counted, so that nothing a fit remembers
helps; then the method is timed. The first round, which may compile, is not counted. Each peer's method is a process of
its own, stopped after `--limit` CPU seconds, its fit included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from results import write_page
from run import HERE, THREADS, machine
from workloads import WORKLOADS, ess, hsb

DRAWS = 2_000
PEER_DRAWS = 40
MEMORY = 8 * 2**30
PACKAGES = ("lme4", "pbkrtest", "lmerTest", "clubSandwich")
CONTEXT = "ess context"
Values = dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A model that methods are asked of.

    title : of its table.
    formula : of the model.
    make : makes the data.
    coefficient, in_r : the coefficient whose results are compared, as crosslevel and R name it.
    """

    title: str
    formula: str
    make: Callable[[], pd.DataFrame]
    coefficient: str
    in_r: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One method on one model.

    model, method, title : what is timed.
    run : (fit, coefficient) -> named results; those that the peer has too are compared with its.
    target : seconds it may take, or None.
    peer : "package function" in R, or "" for none.
    scale : how many times the peer's work crosslevel does: the peer's times are multiplied by it.
    at_solution : the peer takes the model at crosslevel's solution, because its own fit takes longer than the limit.
    """

    model: str
    method: str
    title: str
    run: Callable[[Any, str], Values]
    target: float | None = None
    peer: str = ""
    scale: int = 1
    at_solution: bool = False


def with_context() -> pd.DataFrame:
    """The survey of 28 countries with the countries' means of x1 as context variable z."""
    frame = ess()
    return frame.assign(z=frame.groupby("country", observed=True)["x1"].transform("mean"))


MODELS = {
    "hsb": Model(
        title=WORKLOADS["hsb"].title,
        formula=WORKLOADS["hsb"].formula,
        make=hsb,
        coefficient="sector[Catholic]",
        in_r="sectorCatholic",
    ),
    "ess": Model(title=WORKLOADS["ess"].title, formula=WORKLOADS["ess"].formula, make=ess, coefficient="x1", in_r="x1"),
    CONTEXT: Model(
        title="The same with the countries' mean of x1 and its cross-level interaction with x1",
        formula=WORKLOADS["ess"].formula.replace("~ x1 ", "~ x1 * z ", 1),
        make=with_context,
        coefficient="x1:z",
        in_r="x1:z",
    ),
}


def table(ddf: str) -> Callable[[Any, str], Values]:
    """The table of coefficients with these degrees of freedom."""
    return lambda fit, coefficient: fit.tests(ddf).loc[coefficient, ["std_error", "df"]].to_dict()


def cluster_robust(fit: Any, coefficient: str) -> Values:
    """CR2 with Satterthwaite degrees of freedom of every coefficient."""
    return dict(fit.robust("CR2").tidy().loc[coefficient, ["std_error", "df"]])


def profiled(fit: Any, coefficient: str) -> Values:
    """Profiles of all parameters, and the 95 % intervals of all of them."""
    (cluster,) = (term.split("|")[1].strip(" )") for term in fit.formula.split("(")[1:])
    interval = fit.profile(progress=False).conf_int()
    low, high = interval.loc[coefficient, ["conf_low", "conf_high"]]
    sd_low, sd_high = interval.loc[f"sd(Intercept|{cluster})", ["conf_low", "conf_high"]]
    return {"low": low, "high": high, "sd_low": sd_low, "sd_high": sd_high}


def bootstrapped(kind: str) -> Callable[[Any, str], Values]:
    """2,000 refits on two threads."""

    def run(fit: Any, coefficient: str) -> Values:
        boot = fit.bootstrap(DRAWS, kind, seed=1, n_jobs=2, progress=False)
        counts = boot.counts
        error = float(boot.std_error[coefficient])
        return {"bootstrap_std_error": error, "done": float(counts["done"]), "failed": float(counts["failed"])}

    return run


def tested(fit: Any, coefficient: str) -> Values:
    """The tests of all random effects; the statistic of the first slope."""
    del coefficient
    return {"statistic": float(fit.test_random()["statistic"].iloc[0])}


KR, SATTERTHWAITE, GROWTH = "kenward-roger", "satterthwaite", "growth-curve"
KR_SUMMARY = "kenward-roger summary"  # the same method, asked of R in the way in which most people do
TITLES = {
    KR: "Kenward-Roger, all coefficients",
    KR_SUMMARY: "Kenward-Roger, all coefficients",
    SATTERTHWAITE: "Satterthwaite, all coefficients",
    GROWTH: "growth-curve, all coefficients",
    "cr2": "CR2 with Satterthwaite df, all coefficients",
    "profile": "profile of all parameters, 95 % intervals",
    "cluster": "2,000 refits to resampled clusters",
    "parametric": "2,000 refits to simulated outcomes",
    "test_random": "`fit.test_random()`",
}


def task(model: str, method: str, run: Callable[[Any, str], Values], **more: Any) -> Task:
    """A task with the title of its method."""
    return Task(model=model, method=method, title=TITLES[method], run=run, **more)


TASKS = (
    task("hsb", KR, table(KR), peer="pbkrtest vcovAdj, Lb_ddf"),
    task("hsb", KR_SUMMARY, table(KR), peer="lmerTest summary, by pbkrtest"),
    task("hsb", SATTERTHWAITE, table(SATTERTHWAITE), peer="lmerTest summary"),
    task("hsb", GROWTH, table(GROWTH)),
    task("hsb", "cr2", cluster_robust, peer="clubSandwich coef_test"),
    task("hsb", "profile", profiled, target=0.3, peer="lme4 profile, confint"),
    task("hsb", "cluster", bootstrapped("cluster"), target=1.0),
    task(
        "hsb",
        "parametric",
        bootstrapped("parametric"),
        peer=f"lme4 bootMer, {PEER_DRAWS} draws scaled to {DRAWS:,}",
        scale=DRAWS // PEER_DRAWS,
    ),
    task("hsb", "test_random", tested, peer="lmerTest ranova"),
    task("ess", KR, table(KR), target=0.1),
    task("ess", SATTERTHWAITE, table(SATTERTHWAITE), peer="lmerTest summary", at_solution=True),
    task("ess", GROWTH, table(GROWTH)),
    task("ess", "cr2", cluster_robust, peer="clubSandwich coef_test", at_solution=True),
    task("ess", "cluster", bootstrapped("cluster"), target=10.0),
    task("ess", "test_random", tested),
    task(CONTEXT, KR, table(KR), target=0.1),
    task(CONTEXT, GROWTH, table(GROWTH)),
)


def time_crosslevel(one: Task, frame: pd.DataFrame, rounds: int) -> dict[str, Any]:
    """Wall and CPU seconds of the counted rounds, the results, and the solution for the peers that start there."""
    import crosslevel as cl

    model, wall, cpu = MODELS[one.model], [], []
    for _ in range(1 + rounds):
        fit = cl.mixed(model.formula, frame, progress=False)
        started, used = time.perf_counter(), time.process_time()
        values = one.run(fit, model.coefficient)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    values = {name: float(value) for name, value in values.items()}
    return {
        "wall": wall[1:],
        "cpu": cpu[1:],
        "values": {"criterion": -2.0 * fit.loglik, **values},
        "theta": fit.solution.theta.tolist(),
    }


def measure(rounds: int) -> None:
    """All tasks in this process: a line of JSON per task."""
    frames = {name: model.make() for name, model in MODELS.items()}
    for one in TASKS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            report = time_crosslevel(one, frames[one.model], rounds)
        said = sorted({f"{w.category.__name__}: {str(w.message).splitlines()[0]}" for w in caught})
        print(json.dumps({**report, "warnings": said}), flush=True)


def crosslevel_reports(rounds: int) -> list[dict[str, Any]]:
    """One report per task, from a process with one thread for linear algebra."""
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, str(HERE / "inference.py"), "--measure", "--rounds", str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return [json.loads(line) for line in done.stdout.splitlines()]


def peer_versions() -> dict[str, str]:
    """Versions of R and of its packages that are installed."""
    if not shutil.which("Rscript"):
        print("R is left out: no Rscript (Debian: apt-get install r-cran-lme4 r-cran-pbkrtest ...)")
        return {}
    names = ", ".join(f'"{name}"' for name in PACKAGES)
    code = (
        f'cat("R", as.character(getRversion()), "\\n"); for (p in c({names})) if (requireNamespace(p, quietly = TRUE)) '
        'cat(p, as.character(packageVersion(p)), "\\n")'
    )
    done = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


def ask_r(one: Task, file: Path, theta: list[float], limit: int) -> dict[str, Any]:
    """What R took and found for a task, or what went wrong."""
    model = MODELS[one.model]
    command = ["Rscript", str(HERE / "inference.R"), one.method, model.formula, str(file), model.in_r, str(PEER_DRAWS)]
    command += [repr(value) for value in theta] if one.at_solution else []

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, preexec_fn=limited)
    lines = [line.split() for line in done.stdout.splitlines()]
    values = {parts[1]: float(parts[2]) for parts in lines if parts[0] == "value"}
    if done.returncode == -signal.SIGXCPU:
        return {"failed": f"stopped after {limit} CPU s", "values": values}
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:100]
        memory = "cannot allocate" in done.stderr or "bad_alloc" in done.stderr
        return {"failed": f"needs more than {MEMORY // 2**30} GiB" if memory else reason, "values": values}
    wall, cpu = zip(*((float(parts[1]), float(parts[2])) for parts in lines if parts[0] == "time"), strict=True)
    return {"wall": [t * one.scale for t in wall], "cpu": [t * one.scale for t in cpu], "values": values}


def peer_reports(reports: list[dict[str, Any]], installed: dict[str, str], limit: int) -> list[dict[str, Any] | None]:
    """One report per task, None where there is no peer."""
    out: list[dict[str, Any] | None] = []
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.csv" for name in {one.model for one in TASKS if one.peer}}
        for name, file in files.items():
            MODELS[name].make().to_csv(file, index=False)
        for one, report in zip(TASKS, reports, strict=True):
            if not one.peer or not installed:
                out.append(None)
            elif one.peer.split()[0] not in installed:
                out.append({"failed": "not installed", "values": {}})
            else:
                out.append(ask_r(one, files[one.model], report["theta"], limit))
                print(f"{one.model} {one.peer}: {out[-1]}", flush=True)
    return out


def main() -> None:
    """Run everything, write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    parser.add_argument("--limit", type=int, default=60, help="CPU seconds until a peer is stopped (default 60)")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        return measure(arguments.rounds)
    load = [os.getloadavg()[0]]
    reports = crosslevel_reports(arguments.rounds)
    load.append(os.getloadavg()[0])
    installed = peer_versions()
    peers = peer_reports(reports, installed, arguments.limit)
    load.append(os.getloadavg()[0])
    rows = [
        {"model": MODELS[one.model].title, "coefficient": MODELS[one.model].coefficient, "title": one.title}
        | {"target": one.target, "peer_name": one.peer, "at_solution": one.at_solution}
        | {"crosslevel": {**report, "theta": None}, "peer": peer}
        for one, report, peer in zip(TASKS, reports, peers, strict=True)
    ]
    about = {**machine(), "load": [min(load), max(load)], "limit": arguments.limit, "peers": installed}
    written = json.dumps({"about": about, "rows": rows}, indent=1) + "\n"
    (HERE / "inference.json").write_text(written, encoding="utf-8")
    write_page(HERE)


if __name__ == "__main__":
    main()
