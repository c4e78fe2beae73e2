"""Running a study: batches to workers, finished ones into the folder and into the tallies."""

import secrets
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.simulation.studies.batches import Batch, computed
from crosslevel.simulation.studies.condition import Condition
from crosslevel.simulation.studies.fold import Fold, Found, Outline, spans
from crosslevel.simulation.studies.measures import measured
from crosslevel.simulation.studies.progress import Progress
from crosslevel.simulation.studies.store import Store

ROUND = 32
"""Batches that each worker is given before all are waited for."""

BATCH = 100
"""Replications in a batch, unless told otherwise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What is to be done.

    Attributes
    ----------
    conditions : in order.
    reps : replications of each.
    entropy : of the seeds.
    batch : replications in a batch.
    store : where finished batches are and go; None to keep none.
    """

    conditions: Sequence[Condition]
    reps: int
    entropy: int
    batch: int
    store: Store | None
    run: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One condition: what is there already, and what is lacking.

    Attributes
    ----------
    condition : it.
    outline : what its results are labelled with.
    stored : files of finished batches by their first replication.
    lacking : spans of replications to compute.
    """

    condition: Condition
    outline: Outline
    stored: Mapping[int, Path]
    lacking: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, condition: Condition, plan: Plan) -> "Cell":
        """Look what is there."""
        files = [] if plan.store is None else plan.store.files(condition.number)
        lacking, used = spans(plan.reps, plan.batch, [(start, stop) for start, stop, _ in files])
        stored = {files[k][0]: files[k][2] for k in used}
        return cls(condition=condition, outline=Outline.of(condition), stored=stored, lacking=lacking)

    def fold(self, plan: Plan) -> Fold:
        """What is there, summed up as far as it follows without a gap."""
        fold = Fold(self.outline, plan.reps)
        if plan.store is not None:
            for start, path in self.stored.items():
                fold.add(start, partial(plan.store.read, path, self.outline))
        return fold


def run(plan: Plan, *, n_jobs: int, progress: bool) -> pd.DataFrame:
    """Measures of all conditions; finished batches are written as they come.

    Parameters
    ----------
    plan : what is to be done.
    n_jobs : workers.
    progress : whether to say on the standard error stream how far it has come.

    Raises
    ------
    CrosslevelError : a process or an estimator failed in a way it does not foresee.
    KeyboardInterrupt : it was interrupted; what is finished is in the folder.
    """
    cells = {condition.number: Cell.of(condition, plan) for condition in plan.conditions}
    done = {number: _measured(cell.fold(plan)) for number, cell in cells.items() if not cell.lacking}
    total = sum(stop - start for cell in cells.values() for start, stop in cell.lacking)
    report = Progress(total=total, shown=progress)
    folds: dict[int, Fold] = {}  # of the conditions that are being worked on
    try:
        with closing(_batches(plan, [cell for cell in cells.values() if cell.lacking], n_jobs)) as batches:
            for batch in batches:
                number, cell = batch.condition, cells[batch.condition]
                if plan.store is not None:
                    plan.store.write(batch, cell.outline)
                if number not in folds:
                    folds[number] = cell.fold(plan)
                fold = folds[number]
                fold.add(batch.start, partial(_of, batch))
                report.add(len(batch))
                if fold.complete:
                    done[number] = _measured(folds.pop(number))
    except BaseException:
        report.stopped(_what_is_left(plan))
        raise
    found = pd.concat([done[condition.number] for condition in plan.conditions], ignore_index=True)
    report.end(failures_in_words(found))
    return found


def _of(batch: Batch) -> Found:
    return batch.estimates


def _measured(fold: Fold) -> pd.DataFrame:
    return measured(fold.outline, fold.tallies)


def _tasks(plan: Plan, cells: Sequence[Cell]) -> Iterator[tuple[Any, ...]]:
    """Arguments of `computed` for all that is lacking, in order."""
    for cell in cells:
        for span in cell.lacking:
            yield plan.run, cell.condition, span, plan.entropy


def _batches(plan: Plan, cells: Sequence[Cell], n_jobs: int) -> Generator[Batch, None, None]:
    """Finished batches, as they come.

    One job without another backend than joblib's own stays in this process. Workers of joblib's own use one thread
    each, for there is nothing in a replication that would gain by more. Tasks are given out in rounds, because joblib
    would go on while finished batches pile up here, if they come faster than they can be written.
    """
    from joblib import Parallel, delayed, effective_n_jobs, parallel_config
    from joblib.parallel import get_active_backend

    name = type(get_active_backend()[0]).__name__
    if n_jobs == 1 and name in ("LokyBackend", "SequentialBackend"):
        for task in _tasks(plan, cells):
            yield computed(*task)
        return
    own = parallel_config(backend="loky", inner_max_num_threads=1) if name == "LokyBackend" else parallel_config()
    tasks = _tasks(plan, cells)
    with own, warnings.catch_warnings():
        # what joblib says of batches that nobody waits for any more after an error or an interrupt
        warnings.filterwarnings("ignore", message=r"\d+ tasks ", category=UserWarning)
        while calls := [delayed(computed)(*task) for task in islice(tasks, ROUND * effective_n_jobs(n_jobs))]:
            with closing(Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)(calls)) as found:
                yield from found


def _what_is_left(plan: Plan) -> str:
    """What can be done after an end before the end."""
    if plan.store is None:
        return "Nothing was kept; give `folder` to keep finished batches and resume."
    return f"Finished batches are in {str(plan.store.folder)!r}; resume to go on from there."


def failures_in_words(found: pd.DataFrame) -> str:
    """How many fits failed, by estimator; nothing if none did."""
    rows = found[(found["measure"] == "convergence") & (found["failed"] > 0)]
    counts = rows.groupby("estimator", sort=False)["failed"].sum()
    if counts.empty:
        return ""
    return "fits failed, and are not in the measures: " + ", ".join(f"{name} {n:,}" for name, n in counts.items())


def check_positive(name: str, value: object) -> int:
    """A whole number of at least 1.

    Raises
    ------
    CrosslevelError : something else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise CrosslevelError(f"`{name}` is a whole number of at least 1; got {value!r}.")
    return int(value)
