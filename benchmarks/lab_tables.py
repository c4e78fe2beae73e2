"""Tables of docs/lab.md from the summary of the Monte Carlo study, in markdown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

FACTORS = ["variant", "clusters", "slopes", "slope_sd", "between"]
KEYS = [*FACTORS, "estimator", "measure", "interval"]
LOW, HIGH = 94.0, 96.0
NORMAL = 1.96
MIXED = ("ME-Correct", "ME-Maximal", "ME-Invariant")
ELSEWHERE = {
    ("ME-Correct", "cluster bootstrap"): "ME-Correct, cluster bootstrap",
    ("BIC and PCA", "m-l-1"): "BIC and PCA",
}


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def condition(row: Any) -> str:
    """A condition in a few words."""
    several, sd = int(row["slopes"]), f"{row['slope_sd']:g}"
    slopes = "no slope varies" if not several else f"{several} slope{'s' * int(several > 1)} of SD {sd}"
    return f"{row['variant']}, {row['clusters']} clusters, {100 * row['between']:g} % between, {slopes}"


def with_error(value: float, error: float, digits: int = 1) -> str:
    """A value with its Monte Carlo error."""
    return f"{value:.{digits}f} ({error:.{2 if error < 1.0 else 1}f})"


def published_table(ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """Published numbers, ours, and the difference in standard errors."""
    both = theirs.merge(ours, on=KEYS, how="left", suffixes=("", "_here"))
    rows = []
    for row in both.to_dict("records"):
        digits = 2 if row["measure"] == "coverage" and round(row["value"], 1) != row["value"] else 1
        here = ["", "", ""]
        if np.isfinite(row["value_here"]):
            apart = (row["value_here"] - row["value"]) / np.hypot(row["mcse"], row["mcse_here"])
            here = [with_error(row["value_here"], row["mcse_here"]), f"{int(row['reps_here']):,}", f"{apart:+.1f}"]
        what = {"rmse": "RMSE", "coverage": "coverage"}[row["measure"]]
        what += f", {row['interval']}" if row["interval"] else ""
        value = with_error(row["value"], row["mcse"], digits)
        rows.append([condition(row), row["estimator"], what, value, *here, row["place"]])
    head = ["condition", "estimator", "measure", "published", "here", "replications here", "difference / SE", "where"]
    return markdown(head, rows)


def coverage_and_width(ours: pd.DataFrame, estimator: str) -> pd.DataFrame:
    """Coverage, its error, and the median width relative to m-l-1, by condition and interval."""
    mine = ours[(ours["estimator"] == estimator) & (ours["interval"] != "")]
    coverage, width = (mine[mine["measure"] == name] for name in ("coverage", "median width"))
    out = coverage.merge(width[[*FACTORS, "interval", "value"]], on=[*FACTORS, "interval"], suffixes=("", "_width"))
    plain = out.loc[out["interval"] == "m-l-1", [*FACTORS, "value_width"]]
    if not len(plain):
        return out.assign(width=np.nan)
    out = out.merge(plain, on=FACTORS, suffixes=("", "_plain"))
    return out.assign(width=out["value_width"] / out["value_width_plain"])


def intervals_tables(ours: pd.DataFrame) -> str:
    """Each interval over all conditions, and by clusters and slopes."""
    rows = []
    for estimator in dict.fromkeys([*MIXED, *ours["estimator"]]):
        found = coverage_and_width(ours, estimator)
        for interval in dict.fromkeys(found["interval"]):
            one = found[found["interval"] == interval]
            low, high = one.loc[one["value"].idxmin()], one.loc[one["value"].idxmax()]
            inside = ((one["value"] >= LOW) & (one["value"] <= HIGH)).sum()
            clear = (one["value"] + NORMAL * one["mcse"] < LOW) | (one["value"] - NORMAL * one["mcse"] > HIGH)
            relative = np.exp(np.log(one["width"]).mean()) if estimator in MIXED else np.nan
            rows.append([
                estimator, interval, f"{one['value'].mean():.1f}", f"{low['value']:.1f} ({condition(low)})",
                f"{high['value']:.1f} ({condition(high)})", f"{inside} of {len(one)}", f"{clear.sum()}",
                f"{relative:.2f}" if np.isfinite(relative) else "",
            ])  # fmt: skip
    head = [
        "estimator", "interval", "mean", "lowest", "highest", f"within {LOW:g} to {HIGH:g}",
        "outside beyond Monte Carlo error", "median width / m-l-1",
    ]  # fmt: skip
    parts = [markdown(head, rows)]
    for estimator in ("ME-Correct", "ME-Maximal"):
        if (ours["estimator"] == estimator).any():
            parts += [f"**{estimator}**, coverage (median width relative to m-l-1), by clusters and varying slopes:",
                      by_size(coverage_and_width(ours, estimator))]  # fmt: skip
    return "\n\n".join(parts)


def noise_table(found: pd.DataFrame) -> str:
    """Intervals of mixed models where residuals vary more: a row for each number of clusters and slopes."""
    parts = []
    for estimator in ("ME-Correct", "ME-Maximal"):
        parts += [f"**{estimator}**:", by_size(coverage_and_width(found, estimator))]
    return "\n\n".join(parts)


def by_size(found: pd.DataFrame) -> str:
    """Mean coverage and width over the other factors: a row for each number of clusters and slopes."""
    names, rows = list(dict.fromkeys(found["interval"])), []
    for (clusters, slopes), inside in found.groupby(["clusters", "slopes"]):
        cells = []
        for name in names:
            one = inside[inside["interval"] == name]
            cells.append(f"{one['value'].mean():.1f} ({np.exp(np.log(one['width']).mean()):.2f})")
        rows.append([str(clusters), str(slopes), *cells])
    return markdown(["clusters", "varying slopes", *names], rows)


def precision_table(ours: pd.DataFrame) -> str:
    """Root mean squared errors relative to ME-Correct's: geometric means, and ranges over conditions."""
    errors = ours[ours["measure"] == "rmse"].set_index([*FACTORS, "estimator"])["value"].unstack()
    names = [name for name in dict.fromkeys(ours["estimator"]) if name != "ME-Correct"]
    ratios = errors[names].div(errors["ME-Correct"], axis=0)
    rows = []
    for (clusters, slopes), inside in ratios.groupby(level=["clusters", "slopes"]):
        cells = []
        for name in names:
            one = inside[name].dropna()
            cells.append(f"{np.exp(np.log(one).mean()):.2f} ({one.min():.2f} to {one.max():.2f})")
        rows.append([str(clusters), str(slopes), *cells])
    return markdown(["clusters", "varying slopes", *names], rows)


def clusters_table(ours: pd.DataFrame) -> str:
    """Clusters with which ME-Invariant would be as precise as ME-Correct is: 3 + (G - 3) (RMSE ratio)^2."""
    errors = ours[ours["measure"] == "rmse"].set_index([*FACTORS, "estimator"])["value"].unstack()
    ratio = (errors["ME-Invariant"] / errors["ME-Correct"]) ** 2
    # a normal context variable explains J clusters with variance ... / (J - 3), the mean of 1 / sum (z - mean)^2
    needed = (3.0 + ratio * (ratio.index.get_level_values("clusters") - 3.0)).rename("needed").reset_index()
    needed = needed[needed["slopes"] > 0]
    wide = needed.pivot_table(
        index=["variant", "slope_sd", "between"], columns=["clusters", "slopes"], values="needed", sort=True
    ).sort_index(ascending=[False, True, True])
    head = ["effect", "SD of slopes", "between", *(f"{g}: {s} slope{'s' * int(s != 1)}" for g, s in wide.columns)]
    rows = [
        [str(variant), f"{sd:g}", f"{100 * between:g} %", *(f"{value:.0f}" for value in row)]
        for (variant, sd, between), row in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return markdown(head, rows)


def failures_table(ours: pd.DataFrame) -> str:
    """Replications without an estimate, and singular fits, by estimator."""
    rows = []
    for estimator in dict.fromkeys(ours["estimator"]):
        mine = ours[ours["estimator"] == estimator]
        fits, singular = (mine[mine["measure"] == name] for name in ("convergence", "singular"))
        lacking = round(float(((100.0 - fits["value"]) * fits["reps"] / 100.0).sum()))
        cells = [estimator, f"{int(fits['reps'].sum()):,}", f"{lacking:,}"]
        intervals = mine[mine["measure"] == "coverage"].groupby("interval")["failed"].sum() - lacking
        none = ", ".join(f"{name} {count:,.0f}" for name, count in intervals.items() if count > 0)
        worst = singular.loc[singular["value"].idxmax()] if singular["value"].notna().any() else None
        if worst is not None and worst["value"] > 0:
            cells += [f"{singular['value'].mean():.1f}", f"{worst['value']:.1f} ({condition(worst)})"]
        else:
            cells += ["", ""]
        rows.append([*cells, none])
    head = ["estimator", "replications", "without an estimate", "singular, mean %", "singular, most %",
            "fitted, but without this interval"]  # fmt: skip
    return markdown(head, rows)


ABOUT = """# Monte Carlo lab: {date}

Made by `python benchmarks/lab.py speed`: replications of the study of Heisig, Schaeffer & Giesecke (2017) with five
varying slopes of SD 1 and 15 % of the predictors' variance between clusters; clusters of 600 to 2,000 rows, 50 clusters
of 70 to 130. {processor}; {system}; {packages}. Threads: 1. Load average {load:.1f}: other work on the machine makes
times longer than on an idle one. CPU milliseconds per replication, medians over {rounds} rounds of {reps}, compiled
before they are timed; data are drawn once for all estimators. Mixed models are fitted by REML and have four kinds of
intervals: m-l-1, Satterthwaite, Kenward-Roger and growth-curve; OLS has CR1S errors, and CR2 with Satterthwaite's
degrees of freedom. "Published four" is drawing, ME-Invariant, ME-Correct, OLS-Cluster and two-step-FGLS. Target: 6 ms
with 25 clusters.
"""
BEYOND = ("two-step-adjusted", "ME-Maximal")
"""Estimators that the published study does not have."""


def times(found: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of CPU milliseconds."""
    about = ("variant", "clusters", "reps")
    parts = list(dict.fromkeys(name for row in found for name in row if name not in about))
    rows = []
    for variant, clusters in dict.fromkeys((row["variant"], row["clusters"]) for row in found):
        same = [row for row in found if (row["variant"], row["clusters"]) == (variant, clusters)]
        mine = {name: 1000.0 * median(row[name] / row["reps"] for row in same) for name in parts if name in same[0]}
        four = sum(value for name, value in mine.items() if name not in BEYOND)
        shown = [f"{mine[name]:.2f}" if name in mine else "" for name in parts]
        rows.append([f"{variant}, {clusters} clusters", *shown, f"{four:.2f}"])
    return ["", *parts, "published four"], rows


def runs_of(report: dict[str, Any]) -> list[str]:
    """What the whole grid took, a line for each time that it was run or went on."""
    out = []
    for run in report.get("runs", []):
        out.append(
            f"- to {run['reps']:,} replications, {run['jobs']} jobs, load average {run['load']:.1f}: "
            f"{run['wall'] / 60:.0f} minutes, {run['cpu'] / 60:.0f} CPU minutes"
        )
    return ["The grid of 144 conditions with six estimators, each line going on where the one before ended:", *out]


def lab_section(report: dict[str, Any]) -> str:
    """Section of RESULTS.md: what was timed by `lab.py`."""
    about, found = report["speed"]["about"], report["speed"]["rows"]
    first = [row for row in found if (row["variant"], row["clusters"]) == (found[0]["variant"], found[0]["clusters"])]
    parts = [ABOUT.format(**about, rounds=len(first), reps=found[0]["reps"]).strip(), markdown(*times(found))]
    if report.get("runs"):
        parts.append("\n".join(runs_of(report)))
    if report.get("lme4"):
        peer = report["lme4"]
        took = "; ".join(f"{one['what']}: {one['seconds']:.3g} s ({one['fits']} fits)" for one in peer["fits"])
        parts.append(
            f"One fit by lme4 {peer['version']}, `lmer()` on the rows with its defaults, ME-Correct, 25 clusters and\n"
            f"five varying slopes, elapsed on a busy machine. {took}."
        )
    return "\n\n".join(parts)


def speed_table(report: dict[str, Any]) -> str:
    """CPU time per replication of each part, and of the whole grid."""
    if "speed" not in report:
        return ""
    about = report["speed"]["about"]
    lines = [
        "CPU milliseconds per replication on one core: five slopes of SD 1, 15 % between.",
        "",
        markdown(*times(report["speed"]["rows"])),
        "",
        f"{about['processor']}; {about['system']}; {about['packages']}; load average {about['load']:.1f}.",
    ]
    return "\n".join([*lines, "", *runs_of(report)] if report.get("runs") else lines)
