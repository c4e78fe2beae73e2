"""Reports of the runs -> RESULTS.md and results.json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import median
from typing import Any

from workloads import WORKLOADS

TITLES = {
    **{name: workload.title for name, workload in WORKLOADS.items()},
    "start": "From the start of the process to the fitted sleepstudy model",
    "first": "The same on a new machine: with an empty cache of compiled code",
}
HEADER = """# Benchmarks

Made by `make bench`. Times are medians over the rounds of a run, and in brackets the smallest and the largest.

Times are from data frame to result (coefficients, standard errors, variance components), by REML where the title says
nothing else. Each run is a process of its own and starts with a small fit that is not counted, so that imports are not
counted either. CPU is user and system time; the ratio is to `glmm`. MB before is the process with the data loaded, MB
peak the highest during the fits, and the title gives the size of the data frame. The criterion is -2 times the
(restricted) log-likelihood: 0 is the lowest of all, and what is above it stopped short of the optimum. `glmm` computes
Satterthwaite's degrees of freedom as it comes; the row "without df" leaves them out. "From cross-products" is a refit
to the same data without the rows. `gpboost` and, in the largest models, crosslevel estimate the likelihood of crossed
factors from random vectors, so that their criteria differ from the exact one in both directions.
"""
MADE = """# Run of {date}

{processor}; {system}; {packages}. Threads per tool: {threads}. Rounds: {rounds}.
"""


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the runs of one tool: times of a run are medians over its fits."""
    good = [run for run in runs if "failed" not in run]
    if not good:
        return {"failed": runs[0]["failed"]}
    wall, cpu = ([median(run[key]) for run in good] for key in ("wall", "cpu"))
    summary = {
        "wall": median(wall),
        "wall_range": [min(wall), max(wall)],
        "cpu": median(cpu),
        "criterion": good[-1]["criterion"],
        "runs": len(good),
        "warnings": good[-1].get("warnings", []),
    }
    for key in ("before", "peak", "frame"):
        if key in good[-1]:
            summary[key] = median(run[key] for run in good)
    return summary


def seconds(value: float) -> str:
    """Three digits, in milliseconds below one second."""
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def row(tool: str, version: str, summary: dict[str, Any], *, best: float, peer: float) -> str:
    """One line of a table."""
    if "failed" in summary:
        return f"| {tool} {version} | {summary['failed']} | | | | | |"
    low, high = summary["wall_range"]
    memory = f"{summary['before']:.0f} | {summary['peak']:.0f}" if "peak" in summary else " | "
    wall = f"{seconds(summary['wall'])} ({seconds(low)} to {seconds(high)})"
    ratio = "" if math.isnan(peer) else f"{summary['cpu'] / peer:.2f}"
    cpu = f"{seconds(summary['cpu'])} | {ratio}"
    return f"| {tool} {version} | {wall} | {cpu} | {memory} | {summary['criterion'] - best:.1e} |"


def section(what: str, summaries: dict[str, dict[str, Any]], versions: dict[str, str]) -> str:
    """The table of one workload."""
    good = [summary for summary in summaries.values() if "failed" not in summary]
    if not good:
        return f"## {TITLES[what]}\nNo tool finished."
    best = min(summary["criterion"] for summary in good)
    peer = summaries.get("glmm", {}).get("cpu", math.nan)
    frame = next((f"; data frame {summary['frame']:.0f} MB" for summary in good if summary.get("frame", 0) > 1), "")
    lines = [
        f"## {TITLES[what]}{frame}",
        f"Lowest criterion: {best:.6f}",
        "",
        "| tool | wall | CPU | CPU / glmm | MB before | MB peak | criterion above the lowest |",
        "|---|---|---|---|---|---|---|",
        *(row(tool, versions[tool], summary, best=best, peer=peer) for tool, summary in summaries.items()),
    ]
    said = [f"- {tool}: {text}" for tool, summary in summaries.items() for text in summary.get("warnings", [])]
    return "\n".join([*lines, *(["", "Warnings:", *said] if said else [])])


def write_results(
    reports: dict[str, dict[str, list[dict[str, Any]]]],
    *,
    versions: dict[str, str],
    about: dict[str, str],
    folder: Path,
    keep: bool = False,
) -> None:
    """Write both files; with `keep`, workloads that were not run now stay as they were, with what they were run on."""
    runs = [{"about": about, "versions": versions, "reports": reports}]
    file = folder / "results.json"
    if keep and file.exists():
        earlier = json.loads(file.read_text(encoding="utf-8"))
        for run in earlier["runs"]:
            left = {what: tools for what, tools in run["reports"].items() if what not in reports}
            runs += [{**run, "reports": left}] if left else []
    parts = [HEADER.strip()]
    for run in runs:
        parts.append(MADE.format(**run["about"]).strip())
        parts += _sections(run)
    (folder / "RESULTS.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    file.write_text(json.dumps({"runs": runs}, indent=1) + "\n", encoding="utf-8")


def _sections(run: dict[str, Any]) -> list[str]:
    """Tables of the workloads of one run."""
    versions, out = run["versions"], []
    for what in TITLES:
        tools = run["reports"].get(what, {})
        summaries = {tool: summarise(tools[tool]) for tool in versions if tools.get(tool)}
        out += [section(what, summaries, versions)] if summaries else []
    return out
