"""Reports of the runs -> RESULTS.md and results.json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import median
from typing import Any

from generalized import section as generalized_section
from influence import section as influence_section
from lab_tables import lab_section
from power_speed import section as power_section
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
INFERENCE = """# Tests, intervals and bootstraps: {date}

Made by `python benchmarks/inference.py`. {processor}; {system}; {packages}; {peers}. Threads per tool: 1; for the
bootstraps of crosslevel 2. The machine did other work meanwhile (load average {low:.1f} to {high:.1f}), so that times
are longer than on an idle one, wall times more than CPU seconds, and differ from run to run; crosslevel and the peers
took their turns one after the other.

Times are those of the method alone, on a model that has just been fitted and has computed nothing for it yet: medians
over {rounds} rounds after one that is not counted, and in brackets the smallest and the largest.
Peers run three times after one that is not counted, or once where that takes more than 5 CPU s. They are stopped after
{limit} CPU s, their fit included. Targets are those that the methods were written for, in wall time.
The difference is the largest relative one between the results of crosslevel and of the peer; draws are not compared.

In the survey of 28 countries lme4's fit alone takes more than ten minutes: "at the solution", the peer took the model
at crosslevel's solution; for pbkrtest, which works with matrices of 50,000 x 50,000, and for profiles and bootstraps,
which fit again, that does not help.
"""

SELECTION = """# Search for the random-effects structure: {date}

Made by `python benchmarks/selection.py`. {processor}; {system}; {packages}. Threads: 1. The machine did other work
meanwhile (load average {low:.1f} to {high:.1f}), so that times are longer than on an idle one. Times are from data
frame to the record of all candidates, medians over the rounds after one that is not counted, and in brackets the
smallest and the largest. "From the rows": the same candidates, each fitted by `cl.mixed` to the data frame, from the
CPU time of some of them; difference: the largest between the deviances of these and the search's. Target: 5 s for the
survey by BIC.
"""

PANEL = """# Panel estimators: {date}

Made by `python benchmarks/panel.py`: 1,000,000 rows in 100,000 groups of 10, 3 predictors, simulated. {processor};
{system}; {packages}. Threads per tool: 1. Load average {low:.1f} to {high:.1f}: other work on the machine makes times
longer than on an idle one. Each tool and task is a process of its own. Times are from data frame to coefficients,
standard errors and p values, medians over {rounds} rounds after one that is not counted, and in brackets the smallest
and the largest; the ratio is to crosslevel. MB before is the highest of the process until the data were made and the
tool imported, MB peak the highest over its four estimates, both with the data frame of 46 MB; that of pyfixest grows
from estimate to estimate, so that one alone needs less. Tools run as they come: their corrections for finite samples
differ, and with them standard errors; for CR1 crosslevel computes degrees of freedom by Satterthwaite besides.
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
    file.write_text(json.dumps({"runs": runs}, indent=1) + "\n", encoding="utf-8")
    write_page(folder)


def write_page(folder: Path) -> None:
    """RESULTS.md from results.json and, where the other scripts have run, from what they wrote."""
    parts = [HEADER.strip()]
    for run in json.loads((folder / "results.json").read_text(encoding="utf-8"))["runs"]:
        parts.append(MADE.format(**run["about"]).strip())
        parts += _sections(run)
    if (folder / "inference.json").exists():
        parts += inference_sections(json.loads((folder / "inference.json").read_text(encoding="utf-8")))
    if (folder / "selection.json").exists():
        parts.append(selection_section(json.loads((folder / "selection.json").read_text(encoding="utf-8"))))
    if (folder / "panel.json").exists():
        parts.append(panel_section(json.loads((folder / "panel.json").read_text(encoding="utf-8"))))
    if (folder / "lab.json").exists():
        parts.append(lab_section(json.loads((folder / "lab.json").read_text(encoding="utf-8"))))
    if (folder / "power_speed.json").exists():
        parts.append(power_section(json.loads((folder / "power_speed.json").read_text(encoding="utf-8"))))
    if (folder / "generalized.json").exists():
        parts.append(generalized_section(json.loads((folder / "generalized.json").read_text(encoding="utf-8"))))
    if (folder / "influence.json").exists():
        parts.append(influence_section(json.loads((folder / "influence.json").read_text(encoding="utf-8"))))
    (folder / "RESULTS.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _sections(run: dict[str, Any]) -> list[str]:
    """Tables of the workloads of one run."""
    versions, out = run["versions"], []
    for what in TITLES:
        tools = run["reports"].get(what, {})
        summaries = {tool: summarise(tools[tool]) for tool in versions if tools.get(tool)}
        out += [section(what, summaries, versions)] if summaries else []
    return out


def selection_section(report: dict[str, Any]) -> str:
    """What was timed by `selection.py`."""
    about, rows = report["about"], report["rows"]
    low, high = about["load"]
    parts = [SELECTION.format(**about, low=low, high=high).strip()]
    for title in dict.fromkeys(row["title"] for row in rows):
        lines = [
            f"## {title}",
            "| criterion | candidates | wall | CPU | from the rows, CPU | difference | chosen (~: correlated) |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in (one for one in rows if one["title"] == title):
            plain = row["rows"]
            times = [
                f"{seconds(median(row[k]))} ({seconds(min(row[k]))} to {seconds(max(row[k]))})" for k in ("wall", "cpu")
            ]
            rest = [seconds(plain["cpu"]), f"{plain['difference']:.0e}"] if plain else ["", ""]
            lines.append(
                " | ".join([f"| {row['criterion']}", str(row["candidates"]), *times, *rest, f"{row['chosen']} |"])
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def panel_section(report: dict[str, Any]) -> str:
    """What was timed by `panel.py`."""
    about, rows = report["about"], report["rows"]
    low, high = about["load"]
    parts = [PANEL.format(**about, low=low, high=high).strip()]
    for title in dict.fromkeys(row["title"] for row in rows):
        mine = [row for row in rows if row["title"] == title]
        lines = [
            f"## {title}",
            "| tool | wall | CPU | CPU / crosslevel | MB before | MB peak | x1 | its standard error |",
            "|---|---|---|---|---|---|---|---|",
            *(panel_row(row, mine[0]) for row in mine),
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def panel_row(row: dict[str, Any], own: dict[str, Any]) -> str:
    """One line of a table; `own` is crosslevel's."""
    if "failed" in row:
        return f"| {row['tool']} | {row['failed']} | | | | | | |"
    times = [f"{seconds(median(row[k]))} ({seconds(min(row[k]))} to {seconds(max(row[k]))})" for k in ("wall", "cpu")]
    ratio = "" if "failed" in own else f"{median(row['cpu']) / median(own['cpu']):.2f}"
    memory = [f"{row['before']:.0f}", f"{row['peak']:.0f}"]
    reached = [f"{row['coefficient']:.8f}", f"{row['error']:.8f}"]
    return "| " + " | ".join([row["tool"], *times, ratio, *memory, *reached]) + " |"


def inference_sections(report: dict[str, Any]) -> list[str]:
    """What was timed by `inference.py`: the machine, then a table per model."""
    about, rows = report["about"], report["rows"]
    peers = ", ".join(f"{name} {found}" for name, found in about["peers"].items()) or "R is not installed"
    low, high = about["load"]
    rounds = len(rows[0]["crosslevel"]["wall"])
    parts = [INFERENCE.format(**{**about, "peers": peers}, low=low, high=high, rounds=rounds).strip()]
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        lines = [
            f"## {model}",
            f"Results are those of `{mine[0]['coefficient']}`. {_criteria(mine)}",
            "",
            "| method | target | wall | CPU | peer | peer wall | peer CPU | results | difference |",
            "|---|---|---|---|---|---|---|---|---|",
            *map(inference_row, mine),
        ]
        said = [f"- {row['title']}: {text}" for row in mine for text in row["crosslevel"]["warnings"]]
        parts.append("\n".join([*lines, *(["", "Warnings:", *said] if said else [])]))
    return parts


def inference_row(row: dict[str, Any]) -> str:
    """One line of a table: a method, its peer, and how far their results are from each other."""
    own, peer = row["crosslevel"], row["peer"]
    values = {name: value for name, value in own["values"].items() if name != "criterion"}
    cells = [row["title"], "" if row["target"] is None else seconds(row["target"]), *_times(own)]
    if peer is None:
        cells += ["", "", ""]
    else:
        named = row["peer_name"] + (", at the solution" if row["at_solution"] else "")
        cells += [named, *([peer["failed"], ""] if "failed" in peer else _times(peer))]
    cells.append(", ".join(f"{name.replace('_', ' ')} {value:.5g}" for name, value in values.items()))
    common = [] if peer is None else [name for name in values if name in peer["values"]]
    apart = [abs(values[name] / peer["values"][name] - 1.0) for name in common]
    return "| " + " | ".join([*cells, f"{max(apart):.0e}" if apart else ""]) + " |"


def _criteria(rows: list[dict[str, Any]]) -> str:
    """The restricted likelihoods from which the methods started."""
    own = rows[0]["crosslevel"]["values"]["criterion"]
    peers = [row["peer"]["values"].get("criterion") for row in rows if row["peer"] is not None]
    whose = "lme4's there" if any(row["at_solution"] for row in rows) else "of lme4's"
    asked = next((f", {whose} {criterion:.6f}" for criterion in peers if criterion is not None), "")
    return f"Criterion of crosslevel's fit {own:.6f}{asked}."


def _times(report: dict[str, Any]) -> list[str]:
    """Median and range of wall times, median CPU time."""
    wall = report["wall"]
    spread = f" ({seconds(min(wall))} to {seconds(max(wall))})" if len(wall) > 1 else ""
    return [seconds(median(wall)) + spread, seconds(median(report["cpu"]))]
