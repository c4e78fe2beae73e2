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
from pathlib import Path
from typing import Any

import pandas as pd
from workloads import WORKLOADS, Workload, load

Fit = Callable[[Workload, pd.DataFrame], float]


def fit_crosslevel(workload: Workload, frame: pd.DataFrame) -> float:
    """Coefficients, standard errors and p values are computed too."""
    import crosslevel as cl

    fit = cl.mixed(workload.formula, frame)
    assert fit.params.size == fit.bse.size == fit.pvalues.size
    return -2.0 * fit.loglik


def fit_glmm(workload: Workload, frame: pd.DataFrame) -> float:
    """As it comes: with Satterthwaite's degrees of freedom."""
    import glmm

    return -2.0 * glmm.fit(frame, workload.formula).loglik


def fit_glmm_plain(workload: Workload, frame: pd.DataFrame) -> float:
    """Without degrees of freedom."""
    import glmm

    return -2.0 * glmm.fit(frame, workload.formula, satterthwaite=False).loglik


def fit_mixedlm(workload: Workload, frame: pd.DataFrame) -> float:
    """The port of lme4."""
    import mixedlm

    return -2.0 * float(mixedlm.lmer(workload.formula, frame).logLik().value)


def fit_statsmodels(workload: Workload, frame: pd.DataFrame) -> float:
    """MixedLM from formulas."""
    from statsmodels.formula.api import mixedlm

    formula = f"{workload.response} ~ {workload.fixed}"
    model = mixedlm(formula, frame, groups=workload.group, re_formula=f"~ {workload.random}")
    return -2.0 * float(model.fit().llf)


TOOLS: dict[str, tuple[str, Fit]] = {
    "crosslevel": ("crosslevel", fit_crosslevel),
    "glmm": ("glmm", fit_glmm),
    "glmm without df": ("glmm", fit_glmm_plain),
    "mixedlm": ("mixedlm", fit_mixedlm),
    "statsmodels": ("statsmodels", fit_statsmodels),
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


def time_fits(fit: Fit, workload: Workload, folder: Path) -> dict[str, Any]:
    """Times and memory of the fits of one process."""
    sleepstudy = WORKLOADS["sleepstudy"]
    fit(sleepstudy, sleepstudy.make())
    frame = load(folder)
    if workload.fits > 1:
        fit(workload, frame)
    before = memory("VmRSS")
    forget_peak()
    wall, cpu, criterion = [], [], float("nan")
    for _ in range(workload.fits):
        started, used = time.perf_counter(), time.process_time()
        criterion = fit(workload, frame)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    return {
        "wall": wall,
        "cpu": cpu,
        "criterion": criterion,
        "before": before,
        "peak": memory("VmHWM"),
        "frame": float(frame.memory_usage(deep=True).sum()) / 2**20,
    }


def main() -> None:
    """Run what the command line asks for."""
    tool, what, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    _, fit = TOOLS[tool]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if what == "start":
            frame = pd.read_csv(folder / "sleepstudy.csv", dtype={"Subject": str})
            result = {"criterion": fit(WORKLOADS["sleepstudy"], frame)}
        else:
            result = time_fits(fit, WORKLOADS[what], folder)
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
