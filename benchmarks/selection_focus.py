"""Precision of a context effect by how the random-effects structure was chosen: overall fit, focus, average, none.

    python benchmarks/selection_focus.py [--reps 250] [--bootstrap-reps 60] [--jobs 1] [--only NAME ...] [--table]

Data as in the Monte Carlo study of Heisig, Schaeffer & Giesecke (2017), see interval_coverage.py, but with the share of
the predictors' variance between clusters as a condition, and only their cross-products are drawn: for normal rows a
cluster's means are normal and its scatter is Wishart, so that this is exact. Six predictors, the slopes of five
controls vary in the maximal model; the true effect of z is 1. Every method sees the same replications, each with a seed
of its own. Results are kept in selection_focus.json; docs/selection.md has the tables.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from interval_coverage import PREDICTORS, TARGET_SD, correlations

import crosslevel as cl
from crosslevel.design import Design
from crosslevel.estimators.mixed import fit_design
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.averaging import smoothed_weights
from crosslevel.selection.asked import build_search
from crosslevel.selection.averaging import average_candidates, focus_values
from crosslevel.selection.criteria import AIC, BIC, BIC_CLUSTERS, Criterion
from crosslevel.selection.focus import Focus, FocusJudge
from crosslevel.selection.focus_bootstrap import FocusBootstrap
from crosslevel.selection.routine import Rules, drop_slopes
from crosslevel.selection.routine import run as routine
from crosslevel.selection.search import Candidate, Search, Unit
from crosslevel.selection.structures import partitions

HERE = Path(__file__).parent
STORE, PAGE = HERE / "selection_focus.json", HERE.parent / "docs" / "selection.md"
BEGIN, END = "<!-- focus: begin -->", "<!-- focus: end -->"
BOOTSTRAP = " bootstrap"
SLOPES, LEVEL = 5, 0.95
SIZES = {15: (600, 2000), 25: (600, 2000), 50: (70, 130)}
"""Rows of a cluster, least and most, by the number of clusters."""


@dataclass(frozen=True)
class Condition:
    """How data are drawn.

    clusters : their number; see `SIZES` for how large they are.
    target : "dce" (z explains the intercept) or "cli" (z explains the slope of x1).
    varying, sd : slopes of controls that vary, and their standard deviation (that of the target is .6).
    between : share of the predictors' variance that is between clusters.
    """

    clusters: int
    target: str
    varying: int
    sd: float
    between: float

    @property
    def name(self) -> str:
        """A name for tables and for the seed."""
        return f"{self.clusters}-{self.target}-{self.varying}x{self.sd:g}-{self.between:g}"


CONDITIONS = tuple(
    Condition(*each)
    for each in (
        (15, "dce", 0, 0.2, 0.15), (15, "dce", 1, 0.2, 0.15), (15, "dce", 3, 0.2, 0.15), (15, "dce", 5, 0.2, 0.15),
        (15, "dce", 3, 0.2, 0.5), (15, "dce", 3, 1.0, 0.0), (15, "cli", 3, 0.2, 0.15), (25, "dce", 3, 0.2, 0.15),
        (25, "dce", 5, 1.0, 0.5), (25, "cli", 3, 0.2, 0.15), (50, "dce", 3, 0.2, 0.15),
    )
)  # fmt: skip

ESTIMATE = tuple[float, float, float]
"""Estimate and ends of its interval."""


@cache
def template(clusters: int, target: str) -> MixedFit:
    """The maximal model of a few rows: everything about it but the data."""
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(clusters), 30)
    frame = pd.DataFrame(
        rng.standard_normal((len(codes), PREDICTORS)), columns=[f"x{k + 1}" for k in range(PREDICTORS)]
    )
    frame = frame.assign(g=codes, z=rng.standard_normal(clusters)[codes], y=rng.standard_normal(len(codes)))
    varying = " + ".join((["x1"] if target == "cli" else []) + [f"x{k}" for k in range(2, 2 + SLOPES)])
    fixed = "y ~ x1 + x2 + x3 + x4 + x5 + x6 + z" + (" + x1:z" if target == "cli" else "")
    return cl.mixed(f"{fixed} + ({varying} | g)", frame, progress=False)


def draw(condition: Condition, rng: np.random.Generator) -> Design:
    """The maximal model with the cross-products of new data."""
    design = template(condition.clusters, condition.target).design
    low, high = SIZES[condition.clusters]
    count = rng.integers(low, high + 1, condition.clusters).astype(float)
    interaction = condition.target == "cli"
    spread = np.r_[[TARGET_SD] * (1 + interaction), [condition.sd] * condition.varying]
    root = np.linalg.cholesky(correlations(len(spread), 2.6, rng)) * spread[:, None]
    effects = rng.standard_normal((condition.clusters, len(spread))) @ root.T
    z = rng.standard_normal(condition.clusters)
    own = np.ones((condition.clusters, 1 + PREDICTORS))
    own[:, 0] += effects[:, 0] + z
    if interaction:
        own[:, 1] += effects[:, 1] + z
    own[:, 2 : 2 + condition.varying] += effects[:, 1 + interaction :]
    means, scatters = rows_of(condition, count, rng)

    # [1 x z x1:z y] = constants + turn [x e], cluster by cluster
    names = design.products.names
    turn, constants = (
        np.zeros((condition.clusters, len(names), PREDICTORS + 1)),
        np.zeros((condition.clusters, len(names))),
    )
    constants[:, names.index("Intercept")], constants[:, names.index("z")], constants[:, -1] = 1.0, z, own[:, 0]
    for k in range(PREDICTORS):
        turn[:, names.index(f"x{k + 1}"), k] = 1.0
    if interaction:
        turn[:, names.index("x1:z"), 0] = z
    turn[:, -1, :-1], turn[:, -1, -1] = own[:, 1:], 1.0
    products = replace(
        design.products, origin=np.zeros(len(names)), count=count,
        mean=constants + np.einsum("jab,jb->ja", turn, means), scatter=turn @ scatters @ turn.transpose(0, 2, 1),
    )  # fmt: skip
    return replace(design, products=products, rows=replace(design.rows, used=int(count.sum()), read=int(count.sum())))


def rows_of(condition: Condition, count: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Means (J, 7) and scatters (J, 7, 7) of the predictors and the residual in each cluster (Bartlett 1933)."""
    size = PREDICTORS + 1
    within = np.eye(size)
    within[:-1, :-1] = correlations(PREDICTORS, 3.2, rng)
    root = np.linalg.cholesky(within)
    means = rng.standard_normal((len(count), size)) @ root.T / np.sqrt(count)[:, None]
    centres = rng.standard_normal((len(count), PREDICTORS))
    means[:, :-1] += centres * np.sqrt(condition.between / (1.0 - condition.between))
    lower = np.zeros((len(count), size, size))
    i, k = np.tril_indices(size, -1)
    lower[:, i, k] = rng.standard_normal((len(count), len(i)))
    lower[:, range(size), range(size)] = np.sqrt(rng.chisquare(count[:, None] - 1.0 - np.arange(size)))
    half = root @ lower
    return means, half @ half.transpose(0, 2, 1)


def search_of(condition: Condition, rng: np.random.Generator) -> Search:
    """A search among the structures of new data."""
    known = template(condition.clusters, condition.target)
    maximal = fit_design(known.formula, known.data, known.given, draw(condition, rng))
    term = "z" if condition.target == "dce" else "x1:z"
    return build_search(maximal, keep=None, context=[term], group=None, seed=None)


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""


def slopes_left(search: Search, criterion: Criterion) -> tuple[Unit, ...]:
    """The terms that step 1 leaves."""
    return drop_slopes(search, criterion.judge(search), Rules(), quiet)[1]


def published(search: Search, criterion: Criterion) -> Candidate:
    """What both steps choose by a criterion of fit, the second among all structures.

    Structures that could not be the best even with the deviance of the full one are not fitted: the choice is the same.
    """
    left, judge = slopes_left(search, criterion), criterion.judge(search)
    structures = [search.structure([[left[i] for i in group] for group in each]) for each in partitions(len(left))]
    full = search.candidate(structures[0])
    best, penalty = full, (judge.value(full, full) - full.deviance) / full.n_params
    for structure in sorted(structures[1:], key=lambda each: each.n_parameters):
        candidate = search.candidate(structure)
        if full.deviance + penalty * candidate.n_params <= judge.value(best, best) and judge.prefers(candidate, best):
            best = candidate
    return best


def estimate_of(search: Search, candidate: Candidate) -> ESTIMATE:
    """Estimate and interval of the context effect, by the default method."""
    return average(search, [candidate], np.ones(1))


def average(search: Search, candidates: list[Candidate], weights: np.ndarray) -> ESTIMATE:
    """Averaged estimate and interval."""
    found = average_candidates(search, candidates, weights[None], LEVEL)[0]
    return found.estimate, found.low, found.high


def focused(search: Search, criterion: Criterion) -> tuple[FocusJudge, Candidate, list[Candidate]]:
    """The judge of a search by focus, what it chooses, and all candidates of step 2."""
    judge = criterion.judge(search)
    assert isinstance(judge, FocusJudge)
    rounds = routine(search, judge, Rules(correlations="target"), quiet)
    found = rounds[-1]
    return judge, found.chosen, [found.baseline, *(candidate for candidate, _ in found.candidates)]


def by_focus(search: Search) -> Iterator[tuple[str, ESTIMATE]]:
    """Chosen by focus, and averages over the same candidates."""
    judge, chosen, candidates = focused(search, Focus())
    yield "focus", estimate_of(search, chosen)
    yield "average by focus", average(search, candidates, smoothed_weights(focus_values(judge, candidates)[:, 0]))
    for fit in (BIC, BIC_CLUSTERS):
        scores = fit.judge(search)
        values = np.array([scores.value(candidate, candidate) for candidate in candidates])
        yield f"average by {fit.title}", average(search, candidates, smoothed_weights(values))


def estimates(condition: Condition, search: Search) -> Iterator[tuple[str, ESTIMATE]]:
    """Every method's estimate and interval."""
    units = search.units
    first = 1 + (condition.target == "cli")  # the intercept, and the slope of a cross-level interaction
    for name, varying in (
        ("invariant", units[:first]), ("correct", units[: first + condition.varying]), ("maximal", units),
    ):  # fmt: skip
        yield name, estimate_of(search, search.candidate(search.structure([varying])))
    for criterion in (BIC, BIC_CLUSTERS, AIC):
        yield criterion.title, estimate_of(search, published(search, criterion))
    yield from by_focus(search)


def replicate(task: tuple[Condition, int]) -> dict[str, ESTIMATE]:
    """All estimates of one replication."""
    condition, number = task
    rng = np.random.default_rng([number, *condition.name.encode()])
    return dict(estimates(condition, search_of(condition, rng)))


def resample(task: tuple[Condition, int]) -> dict[str, ESTIMATE]:
    """Estimates of one replication, the same as that of `replicate`, with the bootstrap's choice among them."""
    condition, number = task
    search = search_of(condition, np.random.default_rng([number, *condition.name.encode()]))
    out = {"BIC": estimate_of(search, published(search, BIC)), **dict(by_focus(search))}
    judge, chosen, candidates = focused(search, FocusBootstrap())
    out["focus-bootstrap"] = estimate_of(search, chosen)
    weights = smoothed_weights(focus_values(judge, candidates)[:, 0])
    return out | {"average by focus-bootstrap": average(search, candidates, weights)}


def summary(results: list[dict[str, ESTIMATE]]) -> dict[str, dict[str, float]]:
    """Bias, root mean squared error, coverage and mean width of each method."""
    out = {}
    for name in results[0]:
        found = np.array([result[name] for result in results])
        good = np.all(np.isfinite(found), axis=1)
        error = found[:, 0] - 1.0
        out[name] = {
            "bias": float(np.mean(error)),
            "rmse": float(np.sqrt(np.mean(error**2))),
            "coverage": float(np.mean((found[good, 1] <= 1.0) & (found[good, 2] >= 1.0))),
            "width": float(np.mean(found[good, 2] - found[good, 1])),
            "reps": len(found),
            "failed": int(np.count_nonzero(~good)),
        }
    return out


def run(
    condition: Condition, reps: int, jobs: int, work: Callable[..., dict[str, ESTIMATE]]
) -> list[dict[str, ESTIMATE]]:
    """All replications of a condition."""
    tasks = [(condition, number) for number in range(reps)]
    if jobs == 1:
        return [work(task) for task in tasks]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(work, tasks, chunksize=5))


def load() -> dict[str, dict[str, dict[str, float]]]:
    """What was computed before."""
    return json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}


def title(condition: Condition) -> str:
    """A condition in the words of the table."""
    what = "intercept" if condition.target == "dce" else "slope of x1"
    varying = f"{condition.varying} of {SLOPES} slopes vary" + f" (SD {condition.sd:g})" * (condition.varying > 0)
    return f"{condition.clusters}, {what}, {varying}, {100 * condition.between:g} % between"


def tables(store: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: root mean squared errors and coverages with widths relative to BIC, of every method by condition."""
    out = ["Chosen by fit or by focus, or averaged:", "", *table_pair(store, "")]
    if any(name.endswith(BOOTSTRAP) for name in store):
        out += ["With the cluster bootstrap, on fewer replications:", "", *table_pair(store, BOOTSTRAP)]
    return "\n".join(out)


def table_pair(store: dict[str, dict[str, dict[str, float]]], kind: str) -> list[str]:
    """Both tables of one kind of runs."""
    rows = [(condition, store[key]) for condition in CONDITIONS if (key := condition.name + kind) in store]
    names = list(dict.fromkeys(name for _, found in rows for name in found))

    def table(heading: str, cell: Callable[[dict[str, dict[str, float]], str], str]) -> list[str]:
        lines = [f"#### {heading}", "", "| Clusters, effect on, truth | " + " | ".join(names) + " |"]
        lines += ["|---" * (len(names) + 1) + "|"]
        for condition, found in rows:
            cells = [cell(found, name) if name in found else "" for name in names]
            lines.append(f"| {title(condition)} | " + " | ".join(cells) + " |")
        return [*lines, ""]

    out = table("Root mean squared error, per cent of the effect", lambda found, n: f"{100 * found[n]['rmse']:.1f}")
    out += table(
        "Coverage of 95 % intervals in per cent (mean width relative to BIC)",
        lambda found, n: f"{100 * found[n]['coverage']:.1f} ({found[n]['width'] / found['BIC']['width']:.2f})",
    )
    reps = sorted({int(one["reps"]) for _, found in rows for one in found.values()})
    worst = max(abs(one["bias"]) for _, found in rows for one in found.values())
    failed = sum(int(one["failed"]) for _, found in rows for one in found.values())
    out += [
        f"{' to '.join(map(str, {reps[0]: 0, reps[-1]: 0}))} replications each; no method is biased by more than "
        f"{100 * worst:.1f} %; {failed} intervals failed.",
        "",
    ]
    return out


def write_tables() -> None:
    """Put the tables into docs/selection.md."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + tables(load()) + END + rest.split(END)[1], encoding="utf-8")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reps", type=int, default=250)
    parser.add_argument("--bootstrap-reps", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[c.name for c in CONDITIONS], help="names of conditions")
    parser.add_argument("--table", action="store_true", help="only write the tables anew")
    asked = parser.parse_args()
    for condition in () if asked.table else CONDITIONS:
        if condition.name not in asked.only:
            continue
        for kind, reps, work in (("", asked.reps, replicate), (BOOTSTRAP, asked.bootstrap_reps, resample)):
            if reps == 0:
                continue
            found = summary(run(condition, reps, asked.jobs, work))
            STORE.write_text(json.dumps({**load(), condition.name + kind: found}, indent=1) + "\n")
            print(title(condition) + kind, flush=True)
            print(pd.DataFrame(found).T.round(3).to_string(), flush=True)
    if asked.table:
        write_tables()


if __name__ == "__main__":
    main()
