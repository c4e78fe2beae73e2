"""The Monte Carlo study of 2017, run anew: summary, figures and tables of docs/lab.md, and what it took.

    python benchmarks/lab.py run --folder FOLDER [--reps 4000] [--jobs 2]     all conditions, from where they were left
    python benchmarks/lab.py tables [--folder FOLDER]     figures and tables from the summary, or first that anew
    python benchmarks/lab.py noise --folder FOLDER [--reps 1000]              some of them with a residual SD of 4
    python benchmarks/lab.py speed [--reps 400] [--rounds 3]                  CPU time of each part of a replication

Replications are kept in the folder, which belongs outside of the repository; what is committed is their summary,
docs/lab/heisig2017.csv. Results do not depend on the number of jobs, nor on how often it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lab_tables import (
    clusters_table,
    failures_table,
    intervals_tables,
    noise_table,
    precision_table,
    published_table,
    speed_table,
)
from results import write_page
from run import HERE, machine

import crosslevel as cl
from crosslevel.report.figures import theme
from crosslevel.simulation.published.heisig2017 import ESTIMATORS, MAXIMAL, OPTIONAL, heisig2017
from crosslevel.simulation.published.numbers import FACTORS, published

DOCS = HERE.parent / "docs"
SUMMARY, PAGE, REPORT = DOCS / "lab" / "heisig2017.csv", DOCS / "lab.md", HERE / "lab.json"
BOOTSTRAPS = DOCS / "lab" / "open_intervals.csv"
NOISE, SIGMA = DOCS / "lab" / "noise.csv", 4.0
SEED = 2017
MEASURES = ("bias", "rmse", "coverage", "width", "median width", "convergence", "singular")
PUBLISHED_INTERVALS = {"OLS-Cluster": "CR1S, m-l-1", "two-step-FGLS": "t"}
LABELS = {
    "slopes": "controls whose slopes vary", "clusters": "{} clusters", "slope_sd": "SD {}",
    "between": "{} between",
}  # fmt: skip


def run(folder: Path, reps: int, jobs: int) -> None:
    """Run what is lacking, write the summary and what it took."""
    study = heisig2017(estimators=(*ESTIMATORS, *OPTIONAL))
    start, cpu = time.perf_counter(), spent()
    results = study.run(reps=reps, seed=SEED, n_jobs=jobs, folder=folder, resume=folder.exists())
    write_summary(results)
    report = load()
    took = {"wall": time.perf_counter() - start, "cpu": spent() - cpu, "load": os.getloadavg()[1]}
    report.setdefault("runs", []).append({**machine(), "reps": reps, "jobs": jobs, **took})
    REPORT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def run_noise(folder: Path, reps: int, jobs: int) -> None:
    """Conditions with more residual variance, as the published results suggest."""
    study = heisig2017(
        clusters=[15, 50], slopes=[1, 3, 5], between=0.15, estimators=("ME-Correct", "ME-Maximal"), sigma=SIGMA
    )
    results = study.run(reps=reps, seed=SEED, n_jobs=jobs, folder=folder, resume=folder.exists())
    write_summary(results.assign(sigma=SIGMA), NOISE)


def spent() -> float:
    """CPU seconds of this process and of the workers that have ended."""
    return float(sum(os.times()[:4]))


def write_summary(results: pd.DataFrame, path: Path = SUMMARY) -> None:
    """The measures that the page is made of, with five digits."""
    kept = results[results["measure"].isin(MEASURES)]
    own = [*FACTORS, *(["sigma"] if "sigma" in results else [])]
    columns = [*own, "estimator", "measure", "interval", "value", "mcse", "reps", "failed", "unit"]
    path.parent.mkdir(exist_ok=True)
    kept[columns].to_csv(path, index=False, float_format="%.5g")


def summary(path: Path = SUMMARY) -> pd.DataFrame:
    """What was committed; where all five slopes vary, the maximal model is the correct one."""
    frame = pd.read_csv(path, keep_default_na=False, na_values={"value": [""], "mcse": [""]})
    same = frame[(frame["slopes"] == MAXIMAL) & (frame["estimator"] == "ME-Correct")]
    return pd.concat([frame, same.assign(estimator="ME-Maximal")], ignore_index=True)


def others() -> pd.DataFrame:
    """The grid and, where lab_open.py has run, bootstraps and searches in one of its conditions."""
    frames = [summary(), *(summary(path) for path in (BOOTSTRAPS,) if path.exists())]
    return pd.concat(frames, ignore_index=True).drop_duplicates([*FACTORS, "estimator", "measure", "interval"])


def load() -> dict[str, Any]:
    """What was timed before."""
    return json.loads(REPORT.read_text(encoding="utf-8")) if REPORT.exists() else {}


def as_published(frame: pd.DataFrame) -> pd.DataFrame:
    """The published estimators, with one interval each."""
    estimators = [name for name in ESTIMATORS if name != "two-step-adjusted"]
    wanted = frame["estimator"].map(PUBLISHED_INTERVALS).fillna("m-l-1")
    return frame[frame["estimator"].isin(estimators) & frame["interval"].isin(["", *set(wanted)])].loc[
        lambda rows: (rows["interval"] == "") | (rows["interval"] == wanted[rows.index])
    ]


def figures() -> None:
    """The five figures of the paper."""
    ours, theirs = summary(), published()
    plain = as_published(ours)
    dce, middle = plain["variant"] == "dce", plain["between"] == 0.15
    correct = ours[(ours["variant"] == "dce") & (ours["between"] == 0.15) & (ours["estimator"] == "ME-Correct")]
    options: dict[str, Any] = {"x": "slopes", "rows": "slope_sd", "published": theirs, "labels": LABELS}
    drawn = {
        "figure1": cl.plot.study(
            plain[dce & (plain["clusters"] == 25)], columns="between", **options,
            title="Direct context effects: precision with 25 clusters",
        ),
        "figure2": cl.plot.study(
            plain[dce & middle], columns="clusters", **options,
            title="Direct context effects: precision by the number of clusters",
        ),
        "figure3": cl.plot.study(
            plain[dce & middle], "coverage", columns="clusters", **options,
            title="Direct context effects: coverage of 95 % intervals",
        ),
        "figure4": cl.plot.study(
            plain[~dce & middle], columns="clusters", **options,
            title="Cross-level interactions: precision by the number of clusters",
        ),
        "figure5": bars(),
        "intervals": cl.plot.study(
            correct, "coverage", x="slopes", rows="slope_sd", columns="clusters", labels=LABELS,
            title="Direct context effects: coverage of ME-Correct's 95 % intervals",
        ),
        "conditions": strips(ours),
    }  # fmt: skip
    for name, figure in drawn.items():
        (SUMMARY.parent / f"{name}.png").write_bytes(theme.png(figure, dpi=120))


def bars() -> Any:
    """Coverage in the condition that the paper bootstraps."""
    frame = others()
    here = (frame["variant"] == "dce") & (frame["clusters"] == 15) & (frame["between"] == 0.15)
    one = frame[here & (frame["slopes"] == 3) & (frame["slope_sd"] == 1.0)]
    one = one[~one["estimator"].isin(["ME-Invariant", "ME-Maximal", "OLS-Cluster", "two-step-adjusted"])]
    return cl.plot.study(
        one, "coverage", published=published(), title="Coverage with 15 clusters and three varying slopes"
    )


def strips(ours: pd.DataFrame) -> Any:
    """Coverage in each condition, a point for each, by estimator and interval."""
    frame = ours[ours["measure"] == "coverage"]
    kinds = [
        (estimator, interval)
        for estimator in ("ME-Correct", "ME-Maximal", "ME-Invariant", *ESTIMATORS[2:])
        for interval in dict.fromkeys(frame.loc[frame["estimator"] == estimator, "interval"])
        if (estimator, interval) != ("ME-Invariant", "satterthwaite")
    ]
    sizes = dict(zip((15, 25, 50), (-0.22, 0.0, 0.22), strict=True))
    rng = np.random.default_rng(1)
    with theme.drawing(None, height=0.6 + 0.34 * len(kinds)) as panels:
        panel = panels[0]
        panel.axvspan(94.0, 96.0, color=theme.PALE, alpha=0.4, linewidth=0)
        for clusters, colour, marker in zip(sizes, (theme.ORANGE, theme.GREEN, theme.BLUE), "o^s", strict=True):
            for k, (estimator, interval) in enumerate(kinds):
                mine = frame[(frame["estimator"] == estimator) & (frame["interval"] == interval)]
                mine = mine[mine["clusters"] == clusters]
                y = len(kinds) - 1 - k - sizes[clusters] + rng.uniform(-0.08, 0.08, len(mine))
                label = f"{clusters} clusters" if k == 0 else None
                panel.scatter(
                    mine["value"], y, s=9, marker=marker, color=colour, alpha=0.6, linewidths=0, label=label
                )  # fmt: skip
        panel.set_yticks(range(len(kinds)), [f"{a}: {b}" for a, b in reversed(kinds)])
        panel.set_ylim(-0.6, len(kinds) - 0.4)
        panel.set_xlabel("Coverage (percent)")
        panel.grid(visible=False, axis="y")
        panel.legend(loc="lower left", markerscale=2.0)
        words = f"A point for each condition, {int(frame['reps'].min()):,} replications. The band is 94 to 96 percent."
        return theme.entitle(panels, "Coverage of 95 % intervals in all conditions", words, own=True)


def speed(reps: int, rounds: int) -> None:
    """CPU milliseconds per replication of each part, in three conditions."""
    from crosslevel.simulation.studies.batches import Ready
    from crosslevel.simulation.studies.seeds import Seeds

    rows = []
    for variant, clusters in (("cli", 15), ("cli", 25), ("cli", 50), ("dce", 25)):
        study = heisig2017(variant, clusters, 5, 1.0, 0.15, estimators=(*ESTIMATORS, *OPTIONAL))
        ready = Ready.of(study.conditions[0])
        ready.batch(0, 20, SEED)  # compiled before it is timed
        for k in range(rounds):
            seeds = Seeds(entropy=SEED, condition=0, start=20 + k * reps, stop=20 + (k + 1) * reps)
            start = time.process_time()
            drawn = ready.sampler.draw(seeds)
            parts = {"drawing": time.process_time() - start}
            for one, prepared in zip(ready.condition.estimators, ready.prepared, strict=True):
                start = time.process_time()
                prepared.estimate(drawn, seeds)
                parts[one.name] = time.process_time() - start
            rows.append({"variant": variant, "clusters": clusters, "reps": reps, **parts})
            print(rows[-1], flush=True)
    load_now = os.getloadavg()[0]
    report = {**load(), "lme4": peers(), "speed": {"about": {**machine(), "load": load_now}, "rows": rows}}
    REPORT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def peers() -> dict[str, Any]:
    """Times of lme4, as published_precision.py measured them."""
    found = json.loads((HERE / "published_precision.json").read_text(encoding="utf-8"))
    words = {"A, default, rows": "slopes' SD .2", "B, default, rows": "slopes' SD 1, 50 % between"}
    fits = [
        {"what": what, "seconds": found["lme4"][key]["seconds"], "fits": found["lme4"][key]["sets"]}
        for key, what in words.items()
        if key in found["lme4"]
    ]
    return {"version": found["versions"]["lme4"], "fits": fits}


def write_tables() -> None:
    """Put the tables into docs/lab.md, and the times into RESULTS.md."""
    ours, page = summary(), PAGE.read_text(encoding="utf-8")
    parts = {
        "published": published_table(others(), published()),
        "intervals": intervals_tables(ours),
        "precision": precision_table(ours),
        "noise": noise_table(summary(NOISE)) if NOISE.exists() else "",
        "clusters": clusters_table(ours),
        "failed": failures_table(ours),
        "speed": speed_table(load()),
    }
    for name, text in parts.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, rest = page.split(begin)
        page = before + begin + "\n" + text.strip() + "\n" + end + rest.split(end)[1]
    PAGE.write_text(page, encoding="utf-8")
    write_page(HERE)


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("run", "noise", "tables", "speed"))
    parser.add_argument("--folder", type=Path, help="where replications are kept")
    parser.add_argument("--reps", type=int, default=4000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if asked.what in ("run", "noise"):
        if asked.folder is None:
            parser.error(f"{asked.what} needs --folder, outside of the repository")
        (run if asked.what == "run" else run_noise)(asked.folder, asked.reps, asked.jobs)
    if asked.what == "tables" and asked.folder is not None:
        write_summary(cl.lab.summarise(asked.folder))
    if asked.what == "speed":
        speed(asked.reps, asked.rounds)
    figures()
    write_tables()


if __name__ == "__main__":
    main()
