"""Power at the points of a grid of designs, by the engine of Monte Carlo studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any, TypeAlias

import pandas as pd

from crosslevel.simulation.power.assumed import Assumed
from crosslevel.simulation.power.estimated import Estimated
from crosslevel.simulation.power.targets import Target
from crosslevel.simulation.power.tested import PowerTests
from crosslevel.simulation.processes.sizes import Size
from crosslevel.simulation.studies.condition import Condition
from crosslevel.simulation.studies.running import BATCH, Plan, run
from crosslevel.types import Method

Source: TypeAlias = Assumed | Estimated
"""What is assumed: said by a formula and numbers, or estimated."""

COLUMNS = (
    *("target", "clusters", "size", "effect", "power", "mcse", "type_i", "type_i_mcse", "width", "width_mcse"),
    *("reps", "converged", "failed", "singular"),
)
"""Of the frame of simulated points."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """One design.

    Attributes
    ----------
    clusters, size : J, and the rows of each cluster; None for those of the data of a fit.
    rows : mean rows of a cluster.
    effects : coefficients that differ from those of the source.
    """

    clusters: int
    size: Size | None
    rows: float
    effects: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How designs are simulated.

    Attributes
    ----------
    method : "reml" or "ml".
    interval : how degrees of freedom are counted.
    level : confidence level.
    reps, seed, n_jobs, progress : see `power`.
    """

    method: Method
    interval: str
    level: float
    reps: int
    seed: int
    n_jobs: int
    progress: bool


def simulate(
    source: Source, targets: Sequence[Target], points: Sequence[Point], settings: Settings, *, first: int = 0
) -> pd.DataFrame:
    """Simulate designs.

    Parameters
    ----------
    source : what is assumed.
    targets : whose tests are counted.
    points : the designs.
    settings : how.
    first : number of the first design; random numbers depend on it.

    Returns
    -------
    frame : a row per target and design, with `COLUMNS`.
    """
    names = tuple(target.name for target in targets)
    estimator = PowerTests(
        name="mixed", formula=source.formula, method=settings.method, interval=settings.interval,
        components={target.name: target.component for target in targets if target.component is not None},
    )  # fmt: skip
    conditions = [
        Condition(
            number=k, levels={"point": k, "clusters": point.clusters, "size": point.rows},
            process=source.planned(point.clusters, point.size, point.effects),  # type: ignore[arg-type]
            estimators=(estimator,), terms=names, level=settings.level,
            called=f"{point.clusters:,} clusters of {point.rows:,.6g} rows",
        )
        for k, point in enumerate(points, start=first)
    ]  # fmt: skip
    plan = Plan(
        conditions=conditions, reps=settings.reps, entropy=settings.seed, batch=min(BATCH, settings.reps), store=None
    )
    found = run(plan, n_jobs=settings.n_jobs, progress=settings.progress)
    cells = {key: own for key, own in found.groupby(["point", "term"], sort=False)}
    rows = [
        _row(target, point, cells[first + k, target.name], cells[first + k, ""])
        for target in targets
        for k, point in enumerate(points)
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    whole = bool((frame["size"] == frame["size"].round()).all())
    return frame.astype({"size": int}) if whole else frame


def _row(target: Target, point: Point, own: pd.DataFrame, fits: pd.DataFrame) -> dict[str, Any]:
    """One row of the frame from the measures of a target and of the fits."""
    measures = {str(row["measure"]): row for row in own.to_dict("records")}
    whole = {str(row["measure"]): row for row in fits.to_dict("records")}
    reps, converged = (
        int(whole["convergence"]["reps"]),
        int(whole["convergence"]["reps"] - whole["convergence"]["failed"]),
    )
    power, wrong, covered = (_share(measures, name) for name in ("power", "type-I error", "coverage"))
    if target.component is None:
        # an interval that does not hold the truth would, with an effect of zero, not hold zero
        wrong = 1.0 - covered[0], covered[1]
    return {
        "target": target.name, "clusters": point.clusters, "size": point.rows, "effect": measures["coverage"]["truth"],
        "power": power[0], "mcse": power[1], "type_i": wrong[0], "type_i_mcse": wrong[1],
        "width": measures["width"]["value"] if target.component is None else nan,
        "width_mcse": measures["width"]["mcse"],
        "reps": reps, "converged": converged, "failed": int(measures["coverage"]["failed"]),
        "singular": round(whole["singular"]["value"] / 100.0 * converged) if converged else 0,
    }  # fmt: skip


def _share(measures: Mapping[str, Any], name: str) -> tuple[float, float]:
    """A share and its Monte-Carlo error, NaN where it was not measured."""
    if name not in measures:
        return nan, nan
    return measures[name]["value"] / 100.0, measures[name]["mcse"] / 100.0
