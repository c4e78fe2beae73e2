"""What the Monte Carlo study of 2017 left open: bootstraps, and which choice of random effects is best.

    python benchmarks/lab_open.py bootstrap --folder FOLDER [--reps 1000]    cluster bootstrap of one condition
    python benchmarks/lab_open.py search --folder FOLDER [--reps 2000]       the published search in that condition
    python benchmarks/lab_open.py noisy --folder FOLDER [--reps 1000]        the same with larger residuals, and
    python benchmarks/lab_open.py noisy-bootstrap --folder FOLDER [--reps 600]
    python benchmarks/lab_open.py selection --folder FOLDER [--reps 100]     many searches in many conditions
    python benchmarks/lab_open.py slow --folder FOLDER [--reps 40]           searches that take longer in a few
    python benchmarks/lab_open.py everywhere --folder FOLDER [--reps 60]     the quickest searches in all conditions
    python benchmarks/lab_open.py tables --folder FOLDER                     summaries, and docs/lab_open.md from them

The conditions and their data are those of `cl.lab.heisig2017`: the same seed gives the same data in each of these
studies, so that methods are compared on the same replications. Replications are kept in the folder, which belongs
outside of the repository; what is committed are their summaries in docs/lab. Run again, a study goes on from where it
was; with more replications, it adds to them. `tables` without replications leaves the summaries as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lab_open_tables import write_everywhere, write_noise, write_page, write_published, write_selection

import crosslevel as cl
from crosslevel.simulation.published.heisig2017 import PublishedProcess, formula, heisig2017, target

SEED = 2017
SLOPES = 5
INTERVALS = ("m-l-1", "growth-curve", "kenward-roger")
PUBLISHED = {"variant": "dce", "clusters": 15, "slopes": 3, "slope_sd": 1.0, "between": 0.15}
"""The condition of their bootstrap and of their search."""

BETWEEN = 0.15
NOISE = 4.0
"""A residual standard deviation with which the published errors come out; see docs/published_precision.md."""

STEP = 20
"""Replications by which all conditions of a grid grow together."""


def correct(variant: str, slopes: int) -> str:
    """Formula of the model in which those slopes vary that do."""
    return formula(variant, slopes)


def bootstrapped(*, variant: str, slopes: int, **others: object) -> list[cl.lab.Estimator]:
    """The correct model, with intervals from a bootstrap of whole clusters."""
    del others
    return [cl.lab.Bootstrap(name="ME-Correct", formula=correct(variant, slopes), resampling="cluster", n=999)]


def searched(*, variant: str, slopes: int, **others: object) -> list[cl.lab.Estimator]:
    """Searches that begin with the correct model, as the published one did, beside that model itself."""
    del others
    model = correct(variant, slopes)
    return [
        cl.lab.Mixed(name="ME-Correct", formula=model, intervals=INTERVALS),
        cl.lab.Selected(name="BIC and PCA", formula=model, criterion="bic", intervals=INTERVALS),
        cl.lab.Selected(name="AIC and PCA", formula=model, criterion="aic", intervals=INTERVALS),
    ]


def noisy_study(estimators: list[cl.lab.Estimator]) -> cl.lab.Study:
    """The same condition with larger residuals."""
    process = PublishedProcess(sigma=NOISE)(**PUBLISHED)  # type: ignore[arg-type]
    return cl.lab.Study(title="Larger residuals", process=process, terms=["z"], estimators=estimators)


def chosen(*, variant: str, slopes: int, **others: object) -> list[cl.lab.Estimator]:
    """Models with known slopes, searches that begin with the maximal model, and averages."""
    del others
    model = formula(variant, SLOPES)

    def search(name: str, criterion: str, **more: object) -> cl.lab.Estimator:
        return cl.lab.Selected(name=name, formula=model, criterion=criterion, intervals=INTERVALS, **more)  # type: ignore[arg-type]

    known = {"ME-Invariant": 0, "ME-Correct": slopes, "ME-Maximal": SLOPES}
    return [
        *(cl.lab.Mixed(name=name, formula=formula(variant, k), intervals=INTERVALS) for name, k in known.items()),
        search("BIC routine", "bic"),
        search("AIC routine", "aic"),
        search("focus", "focus"),
        search("average by focus", "focus", average="focus"),
        search("average by BIC (clusters)", "focus", average="bic-clusters"),
        search("BIC, all structures", "bic", exhaustive=True),
        search("BIC (clusters), all structures", "bic-clusters", exhaustive=True),
        search("AIC, all structures", "aic", exhaustive=True),
    ]


def validated(*, variant: str, slopes: int, **others: object) -> list[cl.lab.Estimator]:
    """Criteria that take longer, among structures that differ in what the target's effect is correlated with."""
    del slopes, others
    model = formula(variant, SLOPES)
    return [
        cl.lab.Selected(name=name, formula=model, criterion=criterion, correlations="target", intervals=INTERVALS)
        for name, criterion in (("cross-validation", "cv"), ("cAIC", "caic"), ("likelihood-ratio tests", "lrt"))
    ]


def routines(*, variant: str, slopes: int, **others: object) -> list[cl.lab.Estimator]:
    """The published steps, from the maximal model on, with three penalties."""
    del slopes, others
    return [
        cl.lab.Selected(name=name, formula=formula(variant, SLOPES), criterion=criterion, intervals=INTERVALS)
        for name, criterion in (
            ("BIC routine", "bic"), ("BIC (clusters) routine", "bic-clusters"), ("AIC routine", "aic")
        )
    ]  # fmt: skip


def study(estimators: object, **where: object) -> cl.lab.Study:
    """Some conditions of the published study, with other estimators."""
    grid = heisig2017()
    return cl.lab.Study(
        title="What the study of 2017 left open", process=PublishedProcess(), estimators=estimators, terms=target,  # type: ignore[arg-type]
        factors=grid.factors, where=where,
    )  # fmt: skip


FEW_CLUSTERS = {(0, 0.2), (1, 0.2), (3, 0.2), (3, 1.0), (5, 0.2), (5, 1.0)}
MORE_CLUSTERS = {(0, 0.2), (3, 0.2), (5, 1.0)}
INTERACTIONS = {(15, 3, 0.2), (25, 5, 1.0)}
"""Numbers of slopes that vary and their standard deviations; the last with the number of clusters."""


def wide(*, variant: str, clusters: int, slopes: int, slope_sd: float, between: float) -> bool:
    """Conditions with the middle share of compositional differences, most of them with 15 clusters."""
    if variant == "cli":
        return between == BETWEEN and (clusters, slopes, slope_sd) in INTERACTIONS
    return between == BETWEEN and (slopes, slope_sd) in (FEW_CLUSTERS if clusters == 15 else MORE_CLUSTERS)


def narrow(*, variant: str, clusters: int, slopes: int, slope_sd: float, between: float) -> bool:
    """Conditions of the criteria that take longer."""
    return (
        variant == "dce"
        and clusters == 15
        and between == BETWEEN
        and (slopes, slope_sd) in {(1, 0.2), (3, 0.2), (5, 1.0)}
    )


def selection_study(estimators: object, where: object) -> cl.lab.Study:
    """Part of the grid, with searches."""
    grid = heisig2017()
    return cl.lab.Study(
        title="Which choice of random effects", process=PublishedProcess(), estimators=estimators, terms=target,  # type: ignore[arg-type]
        factors=grid.factors, where=where,  # type: ignore[arg-type]
    )  # fmt: skip


def run(part: cl.lab.Study, folder: Path, reps: int, *, step: int | None = None, jobs: int = 1) -> None:
    """Run what is lacking; with a step, all conditions by so many replications, again and again."""
    for upto in range(step, reps + step, step) if step else (reps,):
        part.run(
            reps=min(upto, reps), seed=SEED, n_jobs=jobs, folder=folder, resume=folder.exists(), batch=step or STEP
        )
        print(f"{folder.name}: {min(upto, reps)} replications", flush=True)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "part", choices=["bootstrap", "search", "noisy", "noisy-bootstrap", "selection", "slow", "everywhere", "tables"]
    )
    parser.add_argument("--folder", type=Path, required=True, help="where replications are kept")
    parser.add_argument("--reps", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1, help="worker processes of `everywhere`")
    asked = parser.parse_args()
    own = asked.folder / asked.part
    if asked.part == "bootstrap":
        run(study(bootstrapped, **PUBLISHED), own, asked.reps)
    elif asked.part == "search":
        run(study(searched, **PUBLISHED), own, asked.reps)
    elif asked.part == "noisy":
        run(noisy_study(searched(variant="dce", slopes=3)), own, asked.reps)
    elif asked.part == "noisy-bootstrap":
        boot = cl.lab.Bootstrap(name="ME-Correct", formula=correct("dce", 3), n=499)
        run(noisy_study([boot]), own, asked.reps)
    elif asked.part == "selection":
        run(selection_study(chosen, wide), own, asked.reps, step=STEP)
    elif asked.part == "everywhere":
        run(study(routines), own, asked.reps, step=STEP, jobs=asked.jobs)
    elif asked.part == "slow":
        run(selection_study(validated, narrow), own, asked.reps, step=STEP)
    else:
        write_published(asked.folder)
        write_noise(asked.folder)
        write_selection(asked.folder)
        write_everywhere(asked.folder)
        write_page()


if __name__ == "__main__":
    main()
