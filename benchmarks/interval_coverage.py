"""Coverage and width of intervals for a context effect, by the number of clusters and by method.

    python benchmarks/interval_coverage.py [--reps 1000] [--bootstrap-reps 200] [--jobs 2] [--only NAME ...] [--table]

Data are drawn as in the Monte Carlo study of Heisig, Schaeffer & Giesecke (2017): six predictors with random
correlations, 15 % of their variance between clusters, coefficients with random correlations, and a context variable z
that explains the intercept (dce) or the slope of x1 (cli), all effects 1. Every replication is fitted by `cl.mixed`,
and each method gives a 95 % interval for the effect of z. Replications have a seed of their own, so that results do not
depend on the number of jobs. Results are kept in interval_coverage.json, condition by condition; docs/inference.md has
the tables.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import crosslevel as cl
from crosslevel.design.submodel import with_effects
from crosslevel.estimators.mixed import fit_design
from crosslevel.estimators.mixed_fit import MixedFit

HERE = Path(__file__).parent
STORE, PAGE = HERE / "interval_coverage.json", HERE.parent / "docs" / "inference.md"
BEGIN, END = "<!-- coverage: begin -->", "<!-- coverage: end -->"

BETWEEN, TARGET_SD, PREDICTORS = 0.15, 0.6, 6
REGULAR = 1e-9
"""Added to the diagonal of random correlation matrices, of which some are singular up to rounding."""

DRAWS = 199
"""Bootstrap refits: (draws + 1) * .025 is a whole number."""


@dataclass(frozen=True)
class Condition:
    """How data are drawn and modelled.

    clusters, low, high : number of clusters, and the range of their sizes.
    target : "dce" (z explains the intercept) or "cli" (z explains the slope of x1).
    varying, sd : slopes of controls that vary, and their standard deviation (that of the target is .6).
    modelled : slopes of controls that the model lets vary; "selected" lets BIC choose among five.
    between : share of the predictors' variance that lies between clusters.
    """

    clusters: int
    low: int
    high: int
    target: str
    varying: int
    sd: float
    modelled: int | str
    between: float = BETWEEN

    @property
    def name(self) -> str:
        """A name for tables and for the seed."""
        share = "" if self.between == BETWEEN else f"-b{self.between:g}"
        return f"{self.clusters}-{self.target}-{self.varying}x{self.sd:g}-{self.modelled}{share}"


SIZES = ((15, 600, 2000), (25, 600, 2000), (50, 70, 130))
MODELS = (
    ("dce", 1, 0.2, 1), ("dce", 3, 0.2, 3), ("dce", 5, 0.2, 5), ("dce", 5, 1.0, 5), ("dce", 0, 0.2, 5),
    ("dce", 1, 0.2, 5), ("dce", 3, 0.2, "selected"), ("cli", 1, 0.2, 1), ("cli", 5, 0.2, 5), ("cli", 0, 0.2, 5),
    ("cli", 3, 0.2, "selected"),
)  # fmt: skip
CONDITIONS = tuple(
    Condition(clusters, low, high, target, varying, sd, modelled)
    for clusters, low, high in SIZES
    for target, varying, sd, modelled in MODELS
)
BOOTSTRAPPED = {(target, varying, sd) for target, varying, sd in (("dce", 1, 0.2), ("dce", 5, 0.2), ("cli", 5, 0.2))}
"""Models whose context effects are also bootstrapped, in their correct form."""

DF = ("normal", "m-l-1", "satterthwaite", "kenward-roger", "growth-curve")


def correlations(size: int, b: float, rng: np.random.Generator) -> np.ndarray:
    """Random correlation matrix whose elements are 2 Beta(b, b) - 1 (Joe 2006, J. Multivariate Anal. 97: 2177-2189)."""
    out, partial, shape = np.eye(size), np.zeros((size, size)), b + 0.5
    for k in range(size - 1):
        shape -= 0.5
        for i in range(k + 1, size):
            partial[k, i] = value = 2.0 * rng.beta(shape, shape) - 1.0
            for m in range(k - 1, -1, -1):
                value = value * np.sqrt((1 - partial[m, i] ** 2) * (1 - partial[m, k] ** 2))
                value += partial[m, i] * partial[m, k]
            out[k, i] = out[i, k] = value
    order = rng.permutation(size)
    return out[np.ix_(order, order)] + REGULAR * np.eye(size)


def draw(condition: Condition, rng: np.random.Generator) -> pd.DataFrame:
    """One data set."""
    interaction = condition.target == "cli"
    sizes = rng.integers(condition.low, condition.high + 1, condition.clusters)
    codes = np.repeat(np.arange(condition.clusters), sizes)
    spread = np.r_[[TARGET_SD] * (1 + interaction), [condition.sd] * condition.varying]
    root = np.linalg.cholesky(correlations(len(spread), 2.6, rng)) * spread[:, None]
    effects = rng.standard_normal((condition.clusters, len(spread))) @ root.T
    z = rng.standard_normal(condition.clusters)
    centres = rng.standard_normal((condition.clusters, PREDICTORS)) * np.sqrt(
        condition.between / (1.0 - condition.between)
    )
    x = rng.standard_normal((len(codes), PREDICTORS)) @ np.linalg.cholesky(correlations(PREDICTORS, 3.2, rng)).T
    x += centres[codes]
    own = np.ones((condition.clusters, 1 + PREDICTORS))
    own[:, 0] += effects[:, 0] + z
    if interaction:
        own[:, 1] += effects[:, 1] + z
    own[:, 2 : 2 + condition.varying] += effects[:, 1 + interaction :]
    y = own[codes, 0] + np.sum(own[codes, 1:] * x, axis=1) + rng.standard_normal(len(codes))
    frame = pd.DataFrame(x, columns=[f"x{k}" for k in range(1, PREDICTORS + 1)])
    return frame.assign(z=z[codes], g=codes, y=y)


def formula(condition: Condition, slopes: Iterable[int], bar: str = "|") -> str:
    """The model with varying slopes of these controls."""
    interaction = condition.target == "cli"
    varying = " + ".join(["1", *(["x1"] if interaction else []), *(f"x{k}" for k in slopes)])
    fixed = "y ~ x1 + x2 + x3 + x4 + x5 + x6 + z" + (" + x1:z" if interaction else "")
    return f"{fixed} + ({varying} {bar} g)"


def fitted(condition: Condition, frame: pd.DataFrame) -> MixedFit:
    """The model of one data set; slopes chosen by BIC, one after another and without correlations, if so asked."""
    if condition.modelled != "selected":
        return cl.mixed(formula(condition, range(2, 2 + int(condition.modelled))), frame)
    return cl.mixed(formula(condition, chosen_by_bic(condition, frame)), frame)


def chosen_by_bic(condition: Condition, frame: pd.DataFrame) -> list[int]:
    """Controls whose slopes stay when the one that BIC misses least is dropped, again and again; no correlations."""
    fit = cl.mixed(formula(condition, range(2, 7), "||"), frame)
    first = 1 + (condition.target == "cli")  # effects that are never dropped
    kept, best = list(range(first, first + 5)), fit.bic

    def bic(effects: list[int]) -> float:
        design = with_effects(fit.design, (tuple([*range(first), *effects]),))
        return fit_design(fit.formula, frame, fit.given, design).bic

    while kept:
        trials = {k: bic([m for m in kept if m != k]) for k in kept}
        weakest = min(trials, key=lambda k: trials[k])
        if trials[weakest] >= best:
            break
        kept.remove(weakest)
        best = trials[weakest]
    return [2 + k - first for k in kept]


def intervals(
    condition: Condition, fit: MixedFit, frame: pd.DataFrame, term: str
) -> dict[str, Callable[[], pd.DataFrame]]:
    """Methods by name, each giving a frame with conf_low and conf_high by term."""
    fixed = formula(condition, []).split(" + (")[0]
    return {
        **{name: lambda name=name: fit.tests(ddf=name) for name in DF},
        "CR2": lambda: fit.tests(vcov="CR2"),
        "OLS, CR2": lambda: cl.ols(fixed, frame, cluster="g", vcov="CR2").tidy(),
        "profile (ML)": lambda: fit.profile(which=[term], progress=False).conf_int(),
    }


def bootstraps(fit: MixedFit, seed: int) -> dict[str, Callable[[], pd.DataFrame]]:
    """Bootstrap methods by name."""

    def drawn(kind: str, method: str) -> Callable[[], pd.DataFrame]:
        def run() -> pd.DataFrame:
            return fit.bootstrap(DRAWS, kind, seed=seed, n_jobs=1, progress=False).conf_int(method=method)

        return run

    return {
        "cluster bootstrap, percentile": drawn("cluster", "percentile"),
        "cluster bootstrap, studentised": drawn("cluster", "studentised"),
        "parametric bootstrap, studentised": drawn("parametric", "studentised"),
        "wild bootstrap, studentised": drawn("wild", "studentised"),
    }


def replicate(task: tuple[Condition, int, bool]) -> dict[str, tuple[float, float] | str]:
    """Intervals of one replication by method; what failed is a word."""
    condition, number, resampled = task
    rng = np.random.default_rng([number, *condition.name.encode()])
    frame = draw(condition, rng)
    term = "z" if condition.target == "dce" else "x1:z"
    out: dict[str, tuple[float, float] | str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", cl.ConvergenceWarning)
        fit = fitted(condition, frame)
        methods = bootstraps(fit, number) if resampled else intervals(condition, fit, frame, term)
        for name, method in methods.items():
            try:
                row = method().loc[term]
                out[name] = (float(row["conf_low"]), float(row["conf_high"]))
            except (cl.CrosslevelError, cl.ConvergenceWarning) as error:
                out[name] = type(error).__name__
    return out


def summary(results: list[dict[str, tuple[float, float] | str]]) -> dict[str, dict[str, float]]:
    """Coverage, median width and failures of each method."""
    out = {}
    for name in results[0]:
        found = [result[name] for result in results]
        good = np.array([pair for pair in found if not isinstance(pair, str) and np.all(np.isfinite(pair))])
        covered = (good[:, 0] <= 1.0) & (good[:, 1] >= 1.0) if len(good) else np.zeros(0)
        out[name] = {
            "coverage": float(np.mean(covered)) if len(good) else np.nan,
            "width": float(np.median(good[:, 1] - good[:, 0])) if len(good) else np.nan,
            "reps": len(found),
            "failed": len(found) - len(good),
        }
    return out


def run(condition: Condition, reps: int, jobs: int, *, resampled: bool) -> dict[str, dict[str, float]]:
    """All replications of a condition."""
    tasks = [(condition, number, resampled) for number in range(reps)]
    if jobs == 1:
        return summary([replicate(task) for task in tasks])
    with ProcessPoolExecutor(jobs) as pool:
        return summary(list(pool.map(replicate, tasks, chunksize=5)))


def load() -> dict[str, dict[str, dict[str, float]]]:
    """What was computed before."""
    return json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}


def title(condition: Condition) -> str:
    """A condition in the words of the table."""
    what = "intercept" if condition.target == "dce" else "slope of x1"
    if condition.modelled == "selected":
        return (
            f"{condition.clusters}, {what}, {condition.varying} of 5 slopes vary (SD {condition.sd:g}), chosen by BIC"
        )
    if condition.modelled != condition.varying:
        return f"{condition.clusters}, {what}, {condition.varying} of {condition.modelled} modelled slopes vary"
    plural = "slope" if condition.varying == 1 else "slopes"
    return f"{condition.clusters}, {what}, {condition.varying} varying {plural} (SD {condition.sd:g})"


def tables(store: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: coverage in per cent with the width relative to m-l-1, of every method by condition."""
    out = []
    for heading, own in (("t tests and their kin", False), ("Bootstrap", True)):
        rows = [(c, store[key]) for c in CONDITIONS if (key := c.name + (" bootstrap" if own else "")) in store]
        if not rows:
            continue
        names = list(rows[0][1])
        out += [f"### {heading}", "", "| Clusters, effect on, model | " + " | ".join(names) + " |"]
        out += ["|---" * (len(names) + 1) + "|"]
        for condition, found in rows:
            base = store[condition.name]["m-l-1"]["width"] if condition.name in store else np.nan
            cells = [f"{100 * found[n]['coverage']:.1f} ({found[n]['width'] / base:.2f})" for n in names]
            out.append(f"| {title(condition)} | " + " | ".join(cells) + " |")
        reps = sorted({int(found[n]["reps"]) for _, found in rows for n in names})
        failed = sum(int(found[n]["failed"]) for _, found in rows for n in names)
        out += [
            "",
            f"{' to '.join(map(str, {reps[0]: 0, reps[-1]: 0}))} replications each; {failed} intervals failed.",
            "",
        ]
    return "\n".join(out)


def write_tables() -> None:
    """Put the tables into docs/inference.md."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + tables(load()) + END + rest.split(END)[1], encoding="utf-8")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reps", type=int, default=1000)
    parser.add_argument("--bootstrap-reps", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[c.name for c in CONDITIONS], help="names of conditions")
    parser.add_argument("--table", action="store_true", help="only write the tables anew")
    asked = parser.parse_args()
    for condition in () if asked.table else CONDITIONS:
        if condition.name not in asked.only:
            continue
        kinds = [(False, asked.reps)]
        if (
            condition.target,
            condition.varying,
            condition.sd,
        ) in BOOTSTRAPPED and condition.modelled == condition.varying:
            kinds.append((True, asked.bootstrap_reps))
        for resampled, reps in kinds:
            if reps == 0:
                continue
            found = run(condition, reps, asked.jobs, resampled=resampled)
            STORE.write_text(json.dumps({**load(), condition.name + " bootstrap" * resampled: found}, indent=1) + "\n")
            print(title(condition), flush=True)
            print(pd.DataFrame(found).T.round(3).to_string(), flush=True)
    write_tables()


if __name__ == "__main__":
    main()
