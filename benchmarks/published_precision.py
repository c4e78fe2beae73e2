"""Why estimates of a published Monte Carlo study are less precise than those of the same study here.

    python benchmarks/published_precision.py --write FOLDER [--sets 50]    data sets for published_precision.R
    python benchmarks/published_precision.py --lme4 FOLDER                 its fits beside those of `cl.mixed`
    python benchmarks/published_precision.py --run [--reps 2000] [--only TEXT ...]    other readings of the text
    python benchmarks/published_precision.py --table

Heisig, Schaeffer & Giesecke (2017) report root mean squared errors (RMSE) and coverages of three estimators. Their text
leaves open the residual standard deviation and the law of the random correlations. Here both vary, with data drawn
exactly as cross-products; and the same rows are fitted by lme4 with several optimisers. Results are kept in
published_precision.json; docs/published_precision.md has the tables.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import crosslevel as cl
from crosslevel.simulation.estimators.estimates import Estimates, Estimator
from crosslevel.simulation.estimators.mixed import Mixed
from crosslevel.simulation.estimators.ols import OLS
from crosslevel.simulation.estimators.two_step import TwoStep
from crosslevel.simulation.processes.correlations import RandomCorrelation, mean_absolute
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.sampler import sampler_of
from crosslevel.simulation.processes.variables import Context, Normal
from crosslevel.simulation.studies.seeds import Seeds

HERE = Path(__file__).parent
STORE, PAGE = HERE / "published_precision.json", HERE.parent / "docs" / "published_precision.md"
LME4, READINGS, WORDS = "lme4", "readings", "words"
SIZES = {15: (600, 2000), 25: (600, 2000), 50: (70, 130)}
PREDICTORS = tuple(f"x{k}" for k in range(1, 7))
TARGET_SD, BATCH = 0.6, 250

SETS = {
    "A": ("25-dce-5x0.2-5-b0", 0.2, 0.0, 1.0), "B": ("25-dce-5x1-5-b0.5", 1.0, 0.5, 1.0),
    "A4": ("25-dce-5x0.2-5-b0", 0.2, 0.0, 4.0), "B4": ("25-dce-5x1-5-b0.5", 1.0, 0.5, 4.0),
}  # fmt: skip
"""Conditions whose rows lme4 fits: words for the seed, SD of the slopes, share between clusters, residual SD."""

COLUMNS = [*PREDICTORS, "z", "g", "y"]
"""Columns of their files, one after another as 8-byte floats."""


@dataclass(frozen=True)
class Cell:
    """A condition of the published study, and what its text says.

    clusters, target, varying, sd, between : as in interval_coverage.py.
    published : RMSE in % of ME-Correct, ME-Invariant and OLS, and coverage in % of ME-Correct, where given.
    """

    clusters: int
    target: str
    varying: int
    sd: float
    between: float
    published: dict[str, float]

    @property
    def title(self) -> str:
        """A name for tables."""
        what = "z" if self.target == "dce" else "z x1"
        return f"{self.clusters}, {what}, {self.varying} x SD {self.sd:g}, {100 * self.between:g} %"


CELLS = (
    Cell(25, "dce", 5, 0.2, 0.0, {"ME-Correct": 11.2, "ME-Invariant": 12.9, "OLS": 13.4}),
    Cell(25, "dce", 5, 1.0, 0.5, {"ME-Correct": 13.5, "ME-Invariant": 48.7, "OLS": 51.7}),
    Cell(15, "cli", 5, 1.0, 0.15, {"ME-Correct": 16.4, "ME-Invariant": 32.0}),
    Cell(15, "dce", 1, 0.2, 0.15, {"coverage": 92.5}),
    Cell(15, "dce", 5, 0.2, 0.15, {"coverage": 81.8}),
    Cell(15, "dce", 3, 1.0, 0.15, {"coverage": 85.67}),
)


# Laws of the random correlations --------------------------------------------------------------------------------------
def of_mean(value: float) -> Callable[[int], float]:
    """E|r| is the same for any number of variables."""
    return lambda size: RandomCorrelation(mean_absolute=value).b


def of_alpha(alpha: float) -> Callable[[int], float]:
    """The last partial correlation is 2 Beta(alpha, alpha) - 1: alpha 1 is uniform over all correlation matrices."""
    return lambda size: alpha + 0.5 * (size - 2)


LAWS: dict[str, tuple[Callable[[int], float], Callable[[int], float]]] = {
    "means .33 and .30": (of_mean(0.33), of_mean(0.30)),
    "means .33 and .32": (of_mean(0.33), of_mean(0.32)),
    "means .20 and .32": (of_mean(0.20), of_mean(0.32)),
    "uniform": (of_alpha(1.0), of_alpha(1.0)),
    "uniform, collinear predictors": (of_alpha(1.0), of_alpha(0.1)),
    "weaker effects": (of_alpha(2.1), of_alpha(1.0)),
}
"""Parameter b of the effects' and of the predictors' correlations 2 Beta(b, b) - 1, by their number."""

SETTINGS = (
    ("means .33 and .30", 1.0), ("means .33 and .30", 3.0), ("means .33 and .30", 4.0), ("means .33 and .30", 5.0),
    ("means .33 and .32", 1.0), ("means .33 and .32", 4.0), ("means .33 and .32", 4.5),
    ("uniform", 1.0), ("uniform", 2.0), ("uniform", 3.0), ("uniform", 4.0),
    ("weaker effects", 1.0), ("uniform, collinear predictors", 1.0),
)  # fmt: skip
"""Laws and residual standard deviations that are compared."""

WORDED = (
    *(("means .33 and .32", sigma, Cell(clusters, "cli", varying, sd, 0.15, {}))
      for sigma in (1.0, 4.0) for clusters, varying, sd in ((15, 0, 0.2), (15, 5, 0.2), (15, 1, 1.0), (15, 3, 1.0),
                                                            (15, 5, 1.0), (50, 0, 0.2), (50, 5, 1.0))),
    *(("means .20 and .32", sigma, Cell(25, "dce", varying, 0.2, 0.0, {}))
      for sigma in (1.0, 4.0) for varying in (0, 1, 3, 5)),
)  # fmt: skip
"""Conditions of which the text tells something in words."""


def random_correlation(b: float) -> RandomCorrelation:
    """The law of correlation matrices whose elements are 2 Beta(b, b) - 1."""
    return RandomCorrelation(mean_absolute=mean_absolute(b))


def formula_of(cell: Cell, slopes: int) -> str:
    """The mixed model with this many varying controls."""
    interaction = cell.target == "cli"
    varying = ["1", *(["x1"] if interaction else []), *PREDICTORS[1 : 1 + slopes]]
    return f"y ~ {' + '.join(PREDICTORS)} + z" + " + x1:z" * interaction + f" + ({' + '.join(varying)} | g)"


def process_of(cell: Cell, law: str, sigma: float) -> Process:
    """Where data of a condition come from under a reading of the text."""
    effects, predictors = LAWS[law]
    interaction = cell.target == "cli"
    targets, controls = ["Intercept", *(["x1"] if interaction else [])], PREDICTORS[1 : 1 + cell.varying]
    fixed = ["Intercept", *PREDICTORS, "z", *(["x1:z"] if interaction else [])]
    return Process(
        formula=formula_of(cell, cell.varying),
        effects=dict.fromkeys(fixed, 1.0),
        sd={**dict.fromkeys(targets, TARGET_SD), **dict.fromkeys(controls, cell.sd)},
        correlation=random_correlation(effects(len(targets) + len(controls))),
        sigma=sigma,
        clusters=cell.clusters,
        size=SIZES[cell.clusters],
        variables={**{name: Normal(sd=1.0, between=cell.between) for name in PREDICTORS}, "z": Context()},
        predictor_correlation=random_correlation(predictors(len(PREDICTORS))),
    )


# Other readings -------------------------------------------------------------------------------------------------------
def replicated(cell: Cell, law: str, sigma: float, reps: int) -> dict[str, dict[str, float]]:
    """RMSE and coverage of the three estimators."""
    process = process_of(cell, law, sigma)
    term = "z" if cell.target == "dce" else "x1:z"
    estimators: list[Estimator] = [
        Mixed(name="ME-Correct", formula=formula_of(cell, cell.varying), intervals=("m-l-1",)),
        Mixed(name="ME-Invariant", formula=formula_of(cell, 0), intervals=("m-l-1",)),
        OLS(name="OLS", formula=formula_of(cell, 0).split(" + (")[0], intervals=("CR1S, m-l-1",)),
    ]
    if cell.target == "cli":
        first = f"y ~ {' + '.join(PREDICTORS)}"
        estimators.append(TwoStep(name="two-step-FGLS", first=first, second={"x1": "z"}, method="fgls"))
    prepared = [one.prepare(process, [term], level=0.95) for one in estimators]
    sampler = sampler_of(process, [text for one in estimators for text in one.formulas])
    found: list[list[Estimates]] = [[] for _ in estimators]
    for start in range(0, reps, BATCH):
        seeds = Seeds(entropy=1, condition=0, start=start, stop=min(start + BATCH, reps))
        drawn = sampler.draw(seeds)
        for each, one in zip(found, prepared, strict=True):
            each.append(one.estimate(drawn, seeds))
    return {one.name: measured(each) for one, each in zip(estimators, found, strict=True)}


def measured(parts: list[Estimates]) -> dict[str, float]:
    """RMSE in % with its Monte Carlo standard error, and coverage in %; the true effect is 1."""
    fitted = np.concatenate([part.fitted for part in parts])
    estimate, low, high = (
        np.concatenate(values)[fitted]
        for values in zip(
            *((part.estimate[:, 0], part.low[:, 0, 0], part.high[:, 0, 0]) for part in parts), strict=True
        )
    )
    return {**rmse_of(estimate), "coverage": 100 * float(np.mean((low <= 1.0) & (high >= 1.0))), "reps": len(fitted),
            "failed": int(np.count_nonzero(~fitted))}  # fmt: skip


def rmse_of(estimate: np.ndarray) -> dict[str, float]:
    """RMSE in % of the true effect 1, and its Monte Carlo standard error by the delta method."""
    square = (estimate - 1.0) ** 2
    rmse = float(np.sqrt(np.mean(square)))
    return {"rmse": 100 * rmse, "mcse": 100 * float(np.std(square)) / (2 * rmse * np.sqrt(len(square)))}


def run(reps: int, only: list[str]) -> None:
    """Every reading and condition whose name contains one of the texts asked for."""
    asked = [(READINGS, law, sigma, cell) for law, sigma in SETTINGS for cell in CELLS]
    asked += [(WORDS, *each) for each in WORDED]
    for part, law, sigma, cell in asked:
        name = named(law, sigma, cell)
        if only and not any(text in name for text in only):
            continue
        started = time.process_time()
        found = replicated(cell, law, sigma, reps)
        keep(part, {name: found})
        words = ", ".join(f"{who} {one['rmse']:.2f} ({one['coverage']:.1f})" for who, one in found.items())
        print(f"{name}: {words}; {1000 * (time.process_time() - started) / reps:.1f} ms", flush=True)


def named(law: str, sigma: float, cell: Cell) -> str:
    """A condition under a reading of the text."""
    return f"{law}, residual SD {sigma:g}: {cell.title}"


# lme4 -----------------------------------------------------------------------------------------------------------------
def correlations(size: int, b: float, rng: np.random.Generator) -> np.ndarray:
    """Random correlation matrix of elements 2 Beta(b, b) - 1 (Joe 2006), a little regular where it is singular."""
    root = np.eye(size)
    left = np.ones(size)
    for k in range(size):
        root[k, k] = np.sqrt(left[k])
        if k + 1 < size:
            partial = 2.0 * rng.beta(b - 0.5 * k, b - 0.5 * k, size - k - 1) - 1.0
            root[k + 1 :, k] = partial * np.sqrt(left[k + 1 :])
            left[k + 1 :] *= 1.0 - partial**2
    order = rng.permutation(size)
    return (root @ root.T)[np.ix_(order, order)] + 1e-9 * np.eye(size)


def rows_of(words: str, sd: float, between: float, sigma: float, number: int) -> pd.DataFrame:
    """One data set: 25 clusters, z explains the intercept, the slopes of five controls vary."""
    rng = np.random.default_rng([number, *words.encode()])
    codes = np.repeat(np.arange(25), rng.integers(600, 2001, 25))
    spread = np.r_[TARGET_SD, [sd] * 5]
    root = np.linalg.cholesky(correlations(6, 2.6, rng)) * spread[:, None]
    effects = rng.standard_normal((25, 6)) @ root.T
    z = rng.standard_normal(25)
    centres = rng.standard_normal((25, 6)) * np.sqrt(between / (1.0 - between))
    x = rng.standard_normal((len(codes), 6)) @ np.linalg.cholesky(correlations(6, 3.2, rng)).T + centres[codes]
    own = np.ones((25, 7))
    own[:, 0] += effects[:, 0] + z
    own[:, 2:] += effects[:, 1:]
    y = own[codes, 0] + np.sum(own[codes, 1:] * x, axis=1) + sigma * rng.standard_normal(len(codes))
    return pd.DataFrame(x, columns=list(PREDICTORS)).assign(z=z[codes], g=codes, y=y)


def write(folder: Path, sets: int) -> None:
    """Rows of both conditions, FOLDER/A/000.bin and so on, and our own fits of them."""
    for letter, condition in SETS.items():
        own = folder / letter
        own.mkdir(parents=True, exist_ok=True)
        fits = []
        for number in range(sets):
            frame = rows_of(*condition, number)
            (own / f"{number:03d}.bin").write_bytes(frame[COLUMNS].to_numpy(np.float64).T.tobytes())
            started = time.perf_counter()
            fit = cl.mixed("y ~ x1 + x2 + x3 + x4 + x5 + x6 + z + (x2 + x3 + x4 + x5 + x6 | g)", frame, progress=False)
            fits.append(
                {"number": number, "deviance": fit.deviance, "z": float(fit.params["z"]), "se": float(fit.bse["z"]),
                 "singular": bool(fit.is_singular), "seconds": time.perf_counter() - started}
            )  # fmt: skip
        pd.DataFrame(fits).to_csv(own / "crosslevel.csv", index=False, float_format="%.17g")


def compared(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each way of fitting with lme4 found, beside our optimum, in the same data sets."""
    for letter in SETS:
        ours = pd.read_csv(folder / letter / "crosslevel.csv").set_index("number").add_suffix("_ours")
        fits = pd.concat([pd.read_csv(path) for path in sorted((folder / letter).glob("lme4-*.csv"))])
        for (data, optimizer), group in fits.groupby(["data", "optimizer"]):
            both = group.set_index("number").join(ours)
            above, apart = both["deviance"] - both["deviance_ours"], (both["z"] - both["z_ours"]).abs()
            yield f"{letter}, {optimizer}, {data}", {
                "sets": len(both), "rmse": rmse_of(both["z"].to_numpy())["rmse"],
                "rmse of cl.mixed": rmse_of(both["z_ours"].to_numpy())["rmse"],
                "deviance above, median": float(above.median()), "deviance above, largest": float(above.max()),
                "deviance above, least": float(above.min()), "above .01": int((above > 0.01).sum()),
                "apart, median": float(apart.median()), "apart, largest": float(apart.max()),
                "se ratio, median": float((both["se"] / both["se_ours"]).median()),
                "warned": int(both["warned"].sum()), "singular": int(both["singular"].sum()),
                "seconds": float(both["seconds"].median()), "seconds of cl.mixed": float(both["seconds_ours"].median()),
            }  # fmt: skip


def versions_of(folder: Path) -> dict[str, str]:
    """Versions of R and its packages, as published_precision.R wrote them down."""
    lines = (folder / "versions.txt").read_text(encoding="utf-8").splitlines()
    return {"R": lines[0].split()[2], **dict(line.split() for line in lines[1:])}


def keep(part: str, found: dict[str, Any]) -> None:
    """Add results to the store."""
    store = load()
    store.setdefault(part, {}).update(found)
    store["versions"] = {**store.get("versions", {}), "python": platform.python_version(), "numpy": np.__version__}
    STORE.write_text(json.dumps(store, indent=1) + "\n", encoding="utf-8")


def load() -> dict[str, Any]:
    """What was computed before."""
    return json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}


# Tables ---------------------------------------------------------------------------------------------------------------
def row(cells: list[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def lme4_table(store: dict[str, Any]) -> list[str]:
    """lme4 beside `cl.mixed`."""
    heads = ["Condition, optimiser, data", "data sets", "RMSE, lme4", "RMSE, cl.mixed", "deviance above ours: median",
             "largest", "estimates apart: median", "largest", "warned", "s per fit"]  # fmt: skip
    out = [row(heads), "|---" * len(heads) + "|"]
    for name, one in store.get(LME4, {}).items():
        out.append(
            row([name, str(one["sets"]), f"{one['rmse']:.2f}", f"{one['rmse of cl.mixed']:.2f}",
                 f"{one['deviance above, median']:.5f}", f"{one['deviance above, largest']:.4f}",
                 f"{one['apart, median']:.5f}", f"{one['apart, largest']:.4f}", str(one["warned"]),
                 f"{one['seconds']:.1f}"])
        )  # fmt: skip
    return [*out, ""]


def readings_table(store: dict[str, Any]) -> list[str]:
    """RMSE and coverage under each reading, beside what is published."""
    heads = ["Reading", *(cell.title for cell in CELLS), "ME-Correct's RMSE off by"]
    out = [row(heads), "|---" * len(heads) + "|"]
    published = [" / ".join(f"{value:g}" for value in cell.published.values()) for cell in CELLS]
    out.append(row(["**published**", *(f"**{text}**" for text in published), ""]))
    for law, sigma in SETTINGS:
        found = [store.get(READINGS, {}).get(named(law, sigma, cell)) for cell in CELLS]
        if any(found):
            cells = [shown(cell, one) for cell, one in zip(CELLS, found, strict=True)]
            out.append(row([f"{law}, residual SD {sigma:g}", *cells, off_by(found)]))
    return [*out, ""]


def off_by(found: list[dict[str, dict[str, float]] | None]) -> str:
    """Root mean square of the relative distances of ME-Correct's RMSE from the published ones."""
    pairs = [(cell.published.get("ME-Correct"), one) for cell, one in zip(CELLS, found, strict=True)]
    logs = [np.log(one["ME-Correct"]["rmse"] / value) for value, one in pairs if value and one]
    return f"{100 * np.sqrt(np.mean(np.square(logs))):.0f} %"


def shown(cell: Cell, found: dict[str, dict[str, float]] | None) -> str:
    """Our numbers in the order of the published ones."""
    if found is None:
        return ""
    return " / ".join(
        f"{found['ME-Correct']['coverage']:.1f}" if name == "coverage" else f"{found[name]['rmse']:.1f}"
        for name in cell.published
    )


def words_table(store: dict[str, Any]) -> list[str]:
    """RMSE of every estimator where the text says something in words."""
    names = ["ME-Correct", "ME-Invariant", "OLS", "two-step-FGLS"]
    out = [row(["Law, residual SD: condition", *names]), "|---" * 5 + "|"]
    for law, sigma, cell in WORDED:
        found = store.get(WORDS, {}).get(named(law, sigma, cell))
        if found:
            cells = [f"{found[name]['rmse']:.1f}" if name in found else "" for name in names]
            out.append(row([named(law, sigma, cell), *cells]))
    return [*out, ""]


def versions_line(store: dict[str, Any]) -> list[str]:
    """What the numbers were made with."""
    return ["; ".join(f"{name} {value}" for name, value in sorted(store.get("versions", {}).items())) + ".", ""]


def write_tables() -> None:
    """Put the tables into docs/published_precision.md."""
    page, store = PAGE.read_text(encoding="utf-8"), load()
    tables = {LME4: lme4_table, READINGS: readings_table, WORDS: words_table, "versions": versions_line}
    for name, table in tables.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, rest = page.split(begin)
        page = before + begin + "\n" + "\n".join(table(store)) + end + rest.split(end)[1]
    PAGE.write_text(page, encoding="utf-8")


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FOLDER")
    parser.add_argument("--sets", type=int, default=50)
    parser.add_argument("--lme4", type=Path, metavar="FOLDER")
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--reps", type=int, default=2000)
    parser.add_argument("--only", nargs="+", default=[], help="parts of names of readings and conditions")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if asked.write:
        write(asked.write, asked.sets)
    if asked.lme4:
        keep(LME4, dict(compared(asked.lme4)))
        keep("versions", versions_of(asked.lme4))
    if asked.run:
        run(asked.reps, asked.only)
    if asked.table:
        write_tables()


if __name__ == "__main__":
    main()
