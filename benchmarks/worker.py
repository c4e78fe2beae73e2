"""One tool, one model, one process: prints a line of JSON with the times, the memory and the criterion reached.

python worker.py TOOL WORKLOAD FOLDER    fits after loading the data; every tool first fits sleepstudy to warm up
python worker.py TOOL start FOLDER       reads sleepstudy.csv and fits it once: the parent times the whole process
"""

from __future__ import annotations

import json
import re
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from workloads import WORKLOADS, Workload, load, rated
from workloads import sleepstudy as sleepstudy_data

Run = Callable[[], float]
Prepare = Callable[[Workload, Any], Run]


def crosslevel_fit(workload: Workload, frame: pd.DataFrame) -> Run:
    """From the data frame; standard errors and p values are computed too."""
    import crosslevel as cl

    def run() -> float:
        fit = cl.mixed(workload.formula, frame, method=workload.method, progress=False)
        assert fit.params.size == fit.bse.size == fit.pvalues.size
        return -2.0 * fit.loglik

    return run


def crosslevel_refit(workload: Workload, frame: pd.DataFrame) -> Run:
    """From the cross-products, as every later fit of the same data can start."""
    from crosslevel.design.build import build_design
    from crosslevel.solve import solve

    design = build_design(workload.formula, frame)

    def run() -> float:
        return float(solve(replace(design).reduced, reml=True).minimum.state.deviance)

    return run


def glmm_fit(workload: Workload, frame: pd.DataFrame) -> Run:
    """As it comes: with Satterthwaite's degrees of freedom."""
    import glmm

    return lambda: -2.0 * glmm.fit(frame, workload.formula).loglik


def glmm_fit_without_df(workload: Workload, frame: pd.DataFrame) -> Run:
    """Without degrees of freedom."""
    import glmm

    return lambda: -2.0 * glmm.fit(frame, workload.formula, satterthwaite=False).loglik


def mixedlm_fit(workload: Workload, frame: pd.DataFrame) -> Run:
    """The port of lme4."""
    import mixedlm

    return lambda: -2.0 * float(mixedlm.lmer(workload.formula, frame).logLik().value)


def statsmodels_fit(workload: Workload, frame: pd.DataFrame) -> Run:
    """MixedLM from formulas."""
    from statsmodels.formula.api import mixedlm

    ((varying, group),) = workload.terms
    formula, random = f"{workload.response} ~ {workload.fixed}", f"~ {varying}"
    return lambda: -2.0 * float(mixedlm(formula, frame, groups=group, re_formula=random).fit().llf)


def gpboost_fit(workload: Workload, frame: pd.DataFrame) -> Run:
    """Maximum likelihood, random intercepts only, as it comes: with several factors its likelihood is stochastic."""
    import gpboost
    import numpy as np

    groups = frame[[group for _, group in workload.terms]].to_numpy()
    x = np.column_stack([np.ones(len(frame)), *(frame[name] for name in workload.fixed.split(" + "))])
    y = frame[workload.response].to_numpy()

    def run() -> float:
        model = gpboost.GPModel(group_data=groups, likelihood="gaussian")
        model.fit(y=y, X=x)
        return 2.0 * float(model.get_current_neg_log_likelihood())

    return run


REFIT = "crosslevel from cross-products"
GPBOOST = "gpboost"
TOOLS: dict[str, tuple[str, Prepare]] = {
    "crosslevel": ("crosslevel", crosslevel_fit),
    REFIT: ("crosslevel", crosslevel_refit),
    "glmm": ("glmm", glmm_fit),
    "glmm without df": ("glmm", glmm_fit_without_df),
    "mixedlm": ("mixedlm", mixedlm_fit),
    "statsmodels": ("statsmodels", statsmodels_fit),
    GPBOOST: ("gpboost", gpboost_fit),
}


def memory(field: str) -> float:
    """VmRSS or VmHWM of this process in MB, as Linux counts them; NaN elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text())
    return int(found.group(1)) / 1024 if found else float("nan")


def forget_peak() -> None:
    """Let the peak memory start anew, so that it is that of the fits."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def time_fits(prepare: Prepare, workload: Workload, folder: Path) -> dict[str, Any]:
    """Times and memory of the fits of one process."""
    sleepstudy = WORKLOADS["sleepstudy"]
    if not workload.tools or workload.write is not None:
        prepare(sleepstudy, sleepstudy_data())()
    else:
        small = rated(2_000, 100, 30, power=0.0, seed=1)
        prepare(replace(WORKLOADS["crossed"], method=workload.method), small)()
    frame = load(folder) if workload.write is None else str(folder / "data.parquet")
    run = prepare(workload, frame)
    if workload.fits > 1:
        run()
    before = memory("VmRSS")
    forget_peak()
    wall, cpu, criterion = [], [], float("nan")
    for _ in range(workload.fits):
        started, used = time.perf_counter(), time.process_time()
        criterion = run()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    return {
        "wall": wall,
        "cpu": cpu,
        "criterion": criterion,
        "before": before,
        "peak": memory("VmHWM"),
        "frame": 0.0 if isinstance(frame, str) else float(frame.memory_usage(deep=True).sum()) / 2**20,
    }


def main() -> None:
    """Run what the command line asks for."""
    tool, what, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    _, prepare = TOOLS[tool]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if what == "start":
            frame = pd.read_csv(folder / "sleepstudy.csv", dtype={"Subject": str})
            result = {"criterion": prepare(WORKLOADS["sleepstudy"], frame)()}
        else:
            result = time_fits(prepare, WORKLOADS[what], folder)
    said = sorted(
        {
            f"{w.category.__name__}: {str(w.message).splitlines()[0]}"
            for w in caught
            if w.category is not DeprecationWarning
        }
    )
    print(json.dumps({**result, "warnings": said}))


if __name__ == "__main__":
    main()
