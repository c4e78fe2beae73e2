"""Times crosslevel against other software, and writes RESULTS.md and results.json.

    python benchmarks/run.py [--workloads sleepstudy hsb ...] [--tools crosslevel glmm ...] [--repeats 5] [--threads 1]

Every run is a process of its own; within a round the tools take turns, and each round starts with another tool, so that
what else the machine does meets all of them. Times are those from data frame to result. A tool that took long is not
run again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from results import write_results
from worker import GPBOOST, REFIT, TOOLS
from workloads import REFERENCE, WORKLOADS, Workload, store

HERE = Path(__file__).parent
DATA = HERE / ".data"
START = "start"
FIRST = "first"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--workloads", nargs="+", default=[*WORKLOADS, START, FIRST], choices=[*WORKLOADS, START, FIRST]
    )
    parser.add_argument("--tools", nargs="+", default=[*TOOLS, "lme4"], choices=[*TOOLS, "lme4"])
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="threads each tool may use (default 1)")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds until a run is stopped (default 900)")
    parser.add_argument(
        "--patience", type=float, default=30.0, help="seconds after which a tool is not run again (default 30)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the results of workloads that are not run now")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of RESULTS.md and results.json")
    return parser.parse_args()


def versions(tools: list[str]) -> dict[str, str]:
    """Version of every tool that is installed; the others are named and left out."""
    found = {}
    for tool in tools:
        if tool == "lme4":
            code = 'cat(as.character(packageVersion("lme4")), " (R ", as.character(getRversion()), ")", sep = "")'
            done = (
                subprocess.run(["Rscript", "-e", code], capture_output=True, text=True)
                if shutil.which("Rscript")
                else None
            )
            if done is not None and done.returncode == 0:
                found[tool] = done.stdout.strip()
            else:
                print("lme4 is left out: no Rscript with lme4 (Debian: apt-get install r-cran-lme4)")
        else:
            found[tool] = version(TOOLS[tool][0])
    return found


def command(tool: str, what: str) -> list[str]:
    """What to run for one tool and one workload."""
    if tool != "lme4":
        return [
            sys.executable,
            str(HERE / "worker.py"),
            tool,
            START if what in (START, FIRST) else what,
            str(folder_of(what)),
        ]
    if what == START:
        return [
            "Rscript",
            str(HERE / "lme4.R"),
            WORKLOADS["sleepstudy"].formula,
            START,
            str(REFERENCE / "sleepstudy.csv"),
        ]
    workload = WORKLOADS[what]
    return ["Rscript", str(HERE / "lme4.R"), workload.formula, str(workload.fits), str(folder_of(what))]


def folder_of(what: str) -> Path:
    """Where the data of a workload are."""
    return REFERENCE if what in (START, FIRST) else DATA / what


def run(tool: str, what: str, *, threads: int, timeout: float) -> dict[str, Any]:
    """One process; its own report, or what went wrong. For `start` and `first` the process itself is timed."""
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    with tempfile.TemporaryDirectory() as empty:
        if what == FIRST:
            environment["NUMBA_CACHE_DIR"] = empty
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        try:
            done = subprocess.run(command(tool, what), capture_output=True, text=True, timeout=timeout, env=environment)
        except subprocess.TimeoutExpired:
            return {"failed": f"stopped after {timeout:.0f} s"}
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:200]}
    report = lme4_report(done.stdout) if tool == "lme4" else json.loads(done.stdout.splitlines()[-1])
    if what in (START, FIRST):
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        report |= {"wall": [wall], "cpu": [cpu]}
    return report


def lme4_report(printed: str) -> dict[str, Any]:
    """What `lme4.R` printed, as the Python tools say it."""
    criterion, *rest = map(float, printed.split())
    if not rest:
        return {"criterion": criterion}
    before, peak, *times = rest
    return {"criterion": criterion, "before": before, "peak": peak, "wall": times[::2], "cpu": times[1::2]}


def able_to(tool: str, what: str) -> bool:
    """Whether a workload makes sense for a tool: only crosslevel compiles, and a refit has had its start."""
    if what in (START, FIRST):
        return tool == "crosslevel" if what == FIRST else tool not in (REFIT, GPBOOST)
    only = WORKLOADS[what].tools
    return tool in only if only else tool != GPBOOST


def make_data(workload: Workload) -> None:
    """Make and store the data of a workload, unless they are there."""
    folder = DATA / workload.name
    if (folder / "columns.tsv").exists() or (folder / "written").exists():
        return
    print(f"making the data of {workload.name} ...", flush=True)
    if workload.make is not None:
        store(workload.make(), folder)
    elif workload.write is not None:
        folder.mkdir(parents=True, exist_ok=True)
        workload.write(folder)
        (folder / "written").touch()


def run_all(tools: list[str], arguments: argparse.Namespace) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Reports of all runs: workload -> tool -> one report per round."""
    reports: dict[str, dict[str, list[dict[str, Any]]]] = {what: {} for what in arguments.workloads}
    for turn in range(arguments.repeats):
        for what in arguments.workloads:
            able = [tool for tool in tools if able_to(tool, what)]
            for k in range(len(able)):
                tool = able[(k + turn) % len(able)]
                earlier = reports[what].setdefault(tool, [])
                if any("failed" in one or sum(one["wall"]) > arguments.patience for one in earlier):
                    continue
                earlier.append(run(tool, what, threads=arguments.threads, timeout=arguments.timeout))
                last = earlier[-1]
                print(f"{turn + 1} {what} {tool}: {last.get('failed') or min(last['wall'])}", flush=True)
    return reports


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    model, memory = platform.processor() or platform.machine(), ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    packages = ("numpy", "scipy", "numba", "pandas", "formulaic")
    return {
        "processor": f"{model}, {os.cpu_count()} cores{memory}",
        "system": f"{platform.system()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
        "date": date.today().isoformat(),
    }


def main() -> None:
    """Make the data, run everything, write the results."""
    arguments = parse()
    for what in arguments.workloads:
        if what in WORKLOADS:
            make_data(WORKLOADS[what])
    found = versions(arguments.tools)
    reports = run_all(list(found), arguments)
    about = {**machine(), "threads": str(arguments.threads), "rounds": str(arguments.repeats)}
    write_results(reports, versions=found, about=about, folder=arguments.output, keep=arguments.keep)
    print(f"written: {arguments.output / 'RESULTS.md'}")


if __name__ == "__main__":
    main()
