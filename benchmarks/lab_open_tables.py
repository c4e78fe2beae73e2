"""Summaries of what `lab_open.py` simulated, and the tables of docs/lab_open.md made from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from lab_tables import FACTORS, condition, markdown, with_error

import crosslevel as cl
from crosslevel.errors import CrosslevelError

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "lab_open.md"
PUBLISHED, NOISE, SELECTION, EVERYWHERE = (
    DOCS / "lab" / f"open_{name}.csv" for name in ("intervals", "noise", "selection", "everywhere")
)
WHOLE = DOCS / "lab" / "heisig2017.csv"
COLUMNS = [*FACTORS, "estimator", "measure", "interval", "value", "mcse", "reps", "failed", "unit"]
BASE, KNOWN = "BIC routine", "ME-Correct"
FEW = 1
"""Conditions with at most so many slopes that vary are those where there is little to gain."""

BOOTSTRAP = "cluster bootstrap"
THEIRS = {
    ("ME-Correct", "m-l-1"): "85.67",
    ("ME-Correct", "cluster bootstrap"): "95.62",
    ("BIC and PCA", "m-l-1"): "92.00",
}


# -- summaries --------------------------------------------------------------------------------------------------------
def write_published(folder: Path) -> None:
    """Coverage and width of bootstraps and after searches in the published condition."""
    parts = []
    for name in ("bootstrap", "search"):
        if not (folder / name).exists():
            continue
        found = cl.lab.summarise(folder / name)
        found = found[found["measure"].isin(["coverage", "width", "rmse", "bias"])].copy()
        if name != "search":
            # estimates are those of the model itself
            found = found[found["interval"] != ""]
            found["interval"] = [called(own) for own in found["interval"]]
        else:
            # ME-Correct is in the summary of the whole study
            found = found[found["estimator"] != KNOWN]
        parts.append(found)
    if parts:
        pd.concat(parts)[COLUMNS].to_csv(PUBLISHED, index=False, float_format="%.5g")


def called(interval: str) -> str:
    """Name of a bootstrap interval; the percentile one has that of the bootstrap."""
    return BOOTSTRAP if interval == "percentile" else f"{BOOTSTRAP}, {interval}"


def write_noise(folder: Path) -> None:
    """Coverage in the same condition with larger residuals."""
    parts = []
    for name in ("noisy-bootstrap", "noisy"):
        if (folder / name).exists():
            found = cl.lab.summarise(folder / name)
            found = found[found["measure"] == "coverage"].copy()
            if name == "noisy-bootstrap":
                found["interval"] = [called(own) for own in found["interval"]]
            parts.append(found[["estimator", "interval", "value", "mcse", "reps", "failed"]])
    if parts:
        pd.concat(parts).to_csv(NOISE, index=False, float_format="%.5g")


def write_selection(folder: Path) -> None:
    """Precision and coverage of each choice in each condition, with errors of paired comparisons."""
    frames = []
    for name in ("selection", "slow"):
        try:
            frames.append(cl.lab.replications(folder / name))
        except CrosslevelError:
            print(f"{name}: nothing yet")
    if not frames:
        return
    found = pd.concat(frames, ignore_index=True)
    rows = [row for _, own in found.groupby("condition") for row in one_condition(own)]
    pd.DataFrame(rows).to_csv(SELECTION, index=False, float_format="%.5g")


def write_everywhere(folder: Path) -> None:
    """Precision and coverage of the quickest searches in all conditions."""
    if not (folder / "everywhere").exists():
        return
    found = cl.lab.replications(folder / "everywhere")
    rows = [row for _, own in found.groupby("condition") for row in one_condition(own)]
    pd.DataFrame(rows).dropna(axis=1, how="all").to_csv(EVERYWHERE, index=False, float_format="%.5g")


def one_condition(found: pd.DataFrame) -> list[dict[str, object]]:
    """All choices in one condition: replications that each of two methods has are compared."""
    once = found.drop_duplicates(["estimator", "replication"])
    error = once.pivot(index="replication", columns="estimator", values="estimate") - 1.0
    levels = {name: found[name].iloc[0] for name in FACTORS}
    out: list[dict[str, object]] = []
    for name in dict.fromkeys(found["estimator"]):
        own = found[found["estimator"] == name]
        squared = error[name].dropna() ** 2
        shared = {
            **levels, "estimator": name, "reps": int(own["replication"].nunique()),
            "failed": int(own["replication"].nunique()) - len(squared),
            "bias": 100 * error[name].mean(), "bias_mcse": 100 * error[name].std() / np.sqrt(len(squared)),
            "rmse": 100 * np.sqrt(squared.mean()),
            "rmse_mcse": 50 * squared.std() / np.sqrt(len(squared) * squared.mean()),
            "singular": 100 * own.drop_duplicates("replication")["singular"].mean(),
            **ratio(error, name, KNOWN, "to_correct"), **ratio(error, name, BASE, "to_bic"),
        }  # fmt: skip
        for interval, kind in own.groupby("interval", sort=False):
            inside = ((kind["low"] <= 1.0) & (kind["high"] >= 1.0))[kind["low"].notna()]
            width = (kind["high"] - kind["low"]).dropna()
            out.append(
                {
                    **shared, "interval": interval, "undefined": int(shared["reps"] - len(inside)),  # type: ignore[operator]
                    "coverage": 100 * inside.mean(), "width": width.mean(), "covered": int(inside.sum()),
                }
            )  # fmt: skip
    return out


def ratio(error: pd.DataFrame, name: str, base: str, what: str) -> dict[str, float]:
    """Logarithm of a ratio of root mean squared errors, with its Monte Carlo error by the delta method.

    log(ratio) = log(mean of e^2 / mean of f^2) / 2, with the variance of the mean of (e^2 / E e^2 - f^2 / E f^2) / 2.
    """
    if base not in error or name not in error:
        return {what: np.nan, f"{what}_mcse": np.nan}
    both = (
        error[[name, base]].dropna() ** 2 if name != base else pd.DataFrame({0: error[name] ** 2, 1: error[name] ** 2})
    )
    first, second = both.iloc[:, 0], both.iloc[:, 1]
    apart = first / first.mean() - second / second.mean()
    error_of_mean = float(apart.std() / np.sqrt(len(both)))
    return {what: 0.5 * float(np.log(first.mean() / second.mean())), f"{what}_mcse": 0.5 * error_of_mean}


# -- tables -----------------------------------------------------------------------------------------------------------
def percent_less(rows: pd.DataFrame, what: str) -> str:
    """Mean over conditions of log ratios, in percent, with its error."""
    if rows.empty or rows[what].isna().all():
        return ""
    mean, error = rows[what].mean(), np.sqrt((rows[f"{what}_mcse"] ** 2).sum()) / len(rows)
    return with_error(100.0 * np.expm1(mean), 100.0 * np.exp(mean) * error)


def pooled_coverage(rows: pd.DataFrame) -> str:
    """Coverage over conditions, its error, and the lowest and highest."""
    if rows.empty:
        return ""
    n = (rows["reps"] - rows["undefined"]).sum()
    share = rows["covered"].sum() / n
    mean = with_error(100 * share, 100 * np.sqrt(share * (1 - share) / n))
    return f"{mean}, {rows['coverage'].min():.0f} to {rows['coverage'].max():.0f}"


def precision_table(found: pd.DataFrame) -> str:
    """Each choice beside the correct model and beside the published routine."""
    once = found.drop_duplicates([*FACTORS, "estimator"])
    head = [
        "", "against ME-Correct", "at most one slope varies", "three or five vary", "against the BIC routine",
        "singular", "failed",
    ]  # fmt: skip
    rows = []
    for name, own in once.groupby("estimator", sort=False):
        little, much = own[own["slopes"] <= FEW], own[own["slopes"] > FEW]
        cells = [percent_less(part, "to_correct") for part in (own, little, much)]
        counts = [f"{own['singular'].mean():.0f}", str(own["failed"].sum())]
        rows.append([str(name), *cells, percent_less(own, "to_bic"), *counts])
    return markdown(head, rows)


def interval_table(found: pd.DataFrame) -> str:
    """Coverage of each choice by each kind of interval, and the width."""
    kinds = list(dict.fromkeys(found["interval"]))
    head = ["", *kinds, *(f"width, {kind}" for kind in kinds)]
    base = found[(found["estimator"] == KNOWN) & (found["interval"] == kinds[0])].set_index(FACTORS)["width"]
    rows = []
    for name, own in found.groupby("estimator", sort=False):
        parts = [own[own["interval"] == kind] for kind in kinds]
        widths = [f"{np.exp(np.log(part.set_index(FACTORS)['width'] / base).mean()):.2f}" for part in parts]
        rows.append([str(name), *(pooled_coverage(part) for part in parts), *widths])
    return markdown(head, rows)


def everywhere_table(found: pd.DataFrame) -> str:
    """Coverage after each search by clusters and varying slopes, over the other factors: m-l-1, then growth-curve."""
    names = list(dict.fromkeys(found["estimator"]))
    groups = [*found.groupby(["clusters", "slopes"]), (("all", "all"), found)]
    rows = []
    for (clusters, slopes), own in groups:
        cells = []
        for name in names:
            part = own[own["estimator"] == name]
            both = [pooled_coverage(part[part["interval"] == kind]) for kind in ("m-l-1", "growth-curve")]
            cells += [both[0].split(",")[0], both[1].split(",")[0]]
        count = own[own["estimator"] == names[0]].drop_duplicates(FACTORS)["reps"].sum()
        rows.append([str(clusters), str(slopes), f"{count:,}", *cells])
    kinds = [f"{name}, {kind}" for name in names for kind in ("m-l-1", "growth-curve")]
    return markdown(["clusters", "varying slopes", "replications", *kinds], rows)


def everywhere_precision(found: pd.DataFrame) -> str:
    """Errors of the lighter penalties against the published routine by clusters and varying slopes, in per cent."""
    once = found.drop_duplicates([*FACTORS, "estimator"])
    names = [name for name in dict.fromkeys(once["estimator"]) if name != BASE]
    groups = [*once.groupby(["clusters", "slopes"]), (("all", "all"), once)]
    rows = [
        [str(clusters), str(slopes), *(percent_less(own[own["estimator"] == name], "to_bic") for name in names)]
        for (clusters, slopes), own in groups
    ]
    return markdown(["clusters", "varying slopes", *names], rows)


def condition_table(found: pd.DataFrame, cell: Callable[[pd.Series], str]) -> str:
    """One row for each condition, one column for each choice."""
    names = list(dict.fromkeys(found["estimator"]))
    rows = []
    for _, own in found.groupby(FACTORS, sort=False):
        by_name = own.set_index("estimator")
        first = own.iloc[0].to_dict()
        cells = [cell(by_name.loc[name]) if name in by_name.index else "" for name in names]
        rows.append([condition(first), str(first["reps"]), *cells])
    return markdown(["condition", "replications", *names], rows)


def published_table(found: pd.DataFrame, noise: pd.DataFrame) -> str:
    """Intervals in the published condition, and the same with larger residuals."""
    larger = noise.set_index(["estimator", "interval"])
    whole = read(WHOLE).merge(found[FACTORS].drop_duplicates(), on=FACTORS)
    known = whole[(whole["estimator"] == KNOWN) & whole["interval"].isin(["m-l-1", "kenward-roger", "growth-curve"])]
    found = pd.concat([known[known["measure"].isin(["coverage", "width"])], found])
    base = found[(found["estimator"] == KNOWN) & (found["interval"] == "m-l-1") & (found["measure"] == "width")][
        "value"
    ]
    rows = []
    for (name, interval), own in found[found["interval"] != ""].groupby(["estimator", "interval"], sort=False):
        values, both = own.set_index("measure"), (name, interval)
        wide = f"{values.loc['width', 'value'] / base.iloc[0]:.2f}" if len(base) else ""
        cover = values.loc["coverage"]
        rows.append(
            [
                str(name), str(interval), with_error(cover["value"], cover["mcse"]), THEIRS.get(both, ""),
                wide, f"{int(cover['reps']):,}", str(int(cover["failed"])),
                with_error(*larger.loc[both, ["value", "mcse"]]) if both in larger.index else "",
            ]
        )  # fmt: skip
    head = ["model", "interval", "coverage", "published", "width", "replications", "failed", "coverage, residual SD 4"]
    return markdown(head, rows)


def put(page: str, name: str, text: str) -> str:
    """A page with new text between the marks of a name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = page.split(begin)
    return before + begin + "\n" + text + "\n" + end + rest.split(end)[1]


def write_page() -> None:
    """Put the tables into docs/lab_open.md."""
    page = PAGE.read_text(encoding="utf-8")
    page = put(page, "intervals", published_table(read(PUBLISHED), read(NOISE)))
    found = read(SELECTION)
    grid = found[~found["estimator"].isin(slow(found))]
    page = put(page, "precision", precision_table(grid))
    page = put(page, "coverage", interval_table(grid))
    once = grid[grid["interval"] == "growth-curve"]
    page = put(page, "conditions", condition_table(once, lambda row: f"{row['rmse']:.1f} ({row['coverage']:.0f})"))
    if EVERYWHERE.exists():
        all_of_them = read(EVERYWHERE)
        page = put(page, "everywhere", everywhere_table(all_of_them) + "\n\n" + everywhere_precision(all_of_them))
    narrow = found.merge(found[found["estimator"].isin(slow(found))][FACTORS].drop_duplicates(), on=FACTORS)
    if len(narrow):
        page = put(page, "slow", precision_table(narrow) + "\n\n" + interval_table(narrow))
    PAGE.write_text(page, encoding="utf-8")


def slow(found: pd.DataFrame) -> Sequence[str]:
    """Choices that are in some conditions only."""
    counts = found.drop_duplicates([*FACTORS, "estimator"])["estimator"].value_counts()
    return [str(name) for name, count in counts.items() if count < counts.max()]


def read(path: Path) -> pd.DataFrame:
    """A summary as it was committed."""
    frame = pd.read_csv(path, keep_default_na=False, na_values={"value": [""], "mcse": [""]})
    return frame.astype({name: float for name in ("slope_sd", "between") if name in frame})
