"""Batches of replications: drawn and estimated wherever there is a worker."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.simulation.estimators.estimates import Estimates, Estimator, Prepared
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.sampler import Sampler, sampler_of
from crosslevel.simulation.studies.condition import Condition
from crosslevel.simulation.studies.seeds import Seeds, stream_of

KEPT = 2
"""Conditions that a worker keeps ready: batches come in the order of conditions, so that older ones are not needed."""

AT_ONCE = 4_000_000
"""Numbers in the moments that are drawn together, 32 MB."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Replications of one condition that are finished.

    Attributes
    ----------
    condition : its number.
    start : the first replication, from 0.
    estimates : by estimator, in the order of the condition.
    """

    condition: int
    start: int
    estimates: tuple[Estimates, ...]

    def __len__(self) -> int:
        return len(self.estimates[0])

    @property
    def stop(self) -> int:
        """The replication after the last."""
        return self.start + len(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ready:
    """A condition whose replications can be drawn and estimated."""

    condition: Condition
    sampler: Sampler
    prepared: tuple[Prepared, ...]

    @classmethod
    def of(cls, condition: Condition) -> "Ready":
        """Do what is the same in all replications.

        Raises
        ------
        CrosslevelError : the process cannot be drawn, or an estimator does not fit it; the condition is named.
        """
        sampler = _named(lambda: sampler_of(condition.process, condition.formulas), condition.words)
        prepared = [
            _named(
                lambda one=one: one.prepare(condition.process, condition.terms, condition.level),  # type: ignore[misc]
                f"{condition.words}, estimator {one.name!r}",
            )
            for one in condition.estimators
        ]
        return cls(condition=condition, sampler=sampler, prepared=tuple(prepared))

    def batch(self, start: int, stop: int, entropy: int) -> Batch:
        """Draw and estimate the replications `start` to `stop` - 1.

        Raises
        ------
        CrosslevelError : drawing or an estimator failed in a way it does not foresee; the replication is named.
        """
        number = self.condition.number
        spans = [(at, min(at + self.at_once, stop)) for at in range(start, stop, self.at_once)]
        parts = [self._part(Seeds(entropy=entropy, condition=number, start=first, stop=last)) for first, last in spans]
        found = parts[0] if len(parts) == 1 else tuple(joined(own) for own in zip(*parts, strict=True))
        return Batch(condition=number, start=start, estimates=found)

    @property
    def at_once(self) -> int:
        """Replications whose moments are in memory together: fewer of them where there are many clusters."""
        m = len(self.sampler.names)
        return max(1, AT_ONCE // (self.sampler.process.clusters * m * m))

    def _part(self, seeds: Seeds) -> tuple[Estimates, ...]:
        """Draw and estimate some replications."""
        try:
            drawn = self.sampler.draw(seeds)
            return tuple(self._estimated(k, drawn, seeds) for k in range(len(self.prepared)))
        except Exception as error:
            raise self._located(error, seeds) from error

    def _estimated(self, k: int, drawn: Drawn, seeds: Seeds) -> Estimates:
        """What one estimator makes of the data."""
        estimator = self.condition.estimators[k]
        own = Seeds(
            entropy=seeds.entropy, condition=seeds.condition, start=seeds.start, stop=seeds.stop,
            stream=stream_of(estimator.name),
        )  # fmt: skip
        found = self.prepared[k].estimate(drawn, own)
        _check_shapes(found, estimator, len(seeds), len(self.condition.terms))
        return found

    def _located(self, error: Exception, seeds: Seeds) -> CrosslevelError:
        """The error with the first replication that has it, found by taking one at a time."""
        where = f"replications {seeds.start} to {seeds.stop - 1}"
        for r in range(seeds.start, seeds.stop):
            one = Seeds(entropy=seeds.entropy, condition=seeds.condition, start=r, stop=r + 1)
            at = f"replication {r}"
            try:
                drawn = self.sampler.draw(one)
                for k, estimator in enumerate(self.condition.estimators):
                    at = f"replication {r}, estimator {estimator.name!r}"
                    self._estimated(k, drawn, one)
            except Exception as again:
                error, where = again, at
                break
        kind = "" if isinstance(error, CrosslevelError) else f"{type(error).__name__}: "
        return CrosslevelError(f"`run` stopped at {self.condition.words}, {where}. {kind}{error}")


def _check_shapes(found: Estimates, estimator: Estimator, r: int, t: int) -> None:
    """Whether an estimator gives what it says."""
    wanted = (r, t, len(estimator.interval_names))
    shapes = {
        "outcome": (found.outcome.shape, wanted[:1]), "singular": (found.singular.shape, wanted[:1]),
        "estimate": (found.estimate.shape, wanted[:2]), "std_error": (found.std_error.shape, wanted[:2]),
        "low": (found.low.shape, wanted), "high": (found.high.shape, wanted),
    }  # fmt: skip
    for name, (shape, needed) in shapes.items():
        if shape != needed:
            raise CrosslevelError(
                f"`{name}` has shape {shape} where {needed} is needed: replications, terms, intervals. "
                "`Prepared.estimate` must give one entry for each."
            )


T = TypeVar("T")


def _named(work: Callable[[], T], where: str) -> T:
    """The result of some work; an error of the library says where it was."""
    try:
        return work()
    except CrosslevelError as error:
        raise CrosslevelError(f"{where}: {error}") from error


_ready: "OrderedDict[tuple[str, int], Ready]" = OrderedDict()
"""What this process keeps ready, by the run and the number of the condition."""


def computed(run: str, condition: Condition, span: tuple[int, int], entropy: int) -> Batch:
    """A batch, computed in this process.

    Parameters
    ----------
    run : names the run: nothing is shared between two of them.
    condition : made ready once in each process.
    span : the first replication, and that after the last.
    entropy : of the seeds.
    """
    key = (run, condition.number)
    ready = _ready.get(key)
    if ready is None:
        ready = _ready[key] = Ready.of(condition)
        while len(_ready) > KEPT:
            _ready.popitem(last=False)
    return ready.batch(*span, entropy)


def joined(parts: Sequence[Estimates]) -> Estimates:
    """Replications one after another, all arrays in C order: the order of memory decides how their sums round."""
    return Estimates(
        intervals=parts[0].intervals,
        **{name: np.ascontiguousarray(np.concatenate([getattr(part, name) for part in parts])) for name in ARRAYS},
    )


def section(found: Estimates, start: int, stop: int) -> Estimates:
    """Some of the replications."""
    return Estimates(intervals=found.intervals, **{name: getattr(found, name)[start:stop] for name in ARRAYS})


ARRAYS = ("outcome", "singular", "estimate", "std_error", "low", "high")
