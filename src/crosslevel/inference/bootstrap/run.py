"""Replicates in blocks of fixed size, each with its own seed, so that results do not depend on who computes them."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.batch import REASONS, Batch, Outcome

BLOCK = 25
"""Replicates that share a seed: the first blocks are the same however many follow."""

PATIENCE = 1.0
"""Seconds between two reports of progress; what takes less says nothing."""

Work = Callable[[np.random.Generator, int, Callable[[], bool]], Batch]
"""Draws and refits so many replicates, fewer once it is told to stop."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Replicates:
    """What a run has done.

    Attributes
    ----------
    batch : the refits, in order.
    number : (B,) of each replicate, from 1; an interrupted run may lack some.
    interrupted : whether it was stopped before the end.
    """

    batch: Batch
    number: np.ndarray[tuple[int], np.dtype[np.int64]]
    interrupted: bool


def run(work: Work, *, n: int, entropy: int, n_jobs: int, failed: str, progress: bool) -> Replicates:
    """Compute n replicates with `n_jobs` threads; an interrupt keeps what is done.

    Parameters
    ----------
    work : draws and refits.
    n : replicates.
    entropy : of the seed sequence.
    n_jobs : threads.
    failed : "report" goes on when a refit fails, "raise" stops.
    progress : whether to report, on the standard error stream, how far a long run has come.

    Raises
    ------
    CrosslevelError : a refit failed and `failed` is "raise".
    KeyboardInterrupt : nothing was done yet.
    """
    sizes = [min(BLOCK, n - start) for start in range(0, n, BLOCK)]
    seeds = np.random.SeedSequence(entropy).spawn(len(sizes))
    stop, done, interrupted = Event(), dict[int, Batch](), False
    reporter = Reporter(n=n, shown=progress)
    pool = ThreadPoolExecutor(max_workers=n_jobs, thread_name_prefix="bootstrap")
    try:
        waiting = {
            pool.submit(work, np.random.default_rng(seed), size, stop.is_set): block
            for block, (seed, size) in enumerate(zip(seeds, sizes, strict=True))
        }
        try:
            _collect(dict(waiting), done, reporter, failed)
        except KeyboardInterrupt:
            interrupted = True
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            for future, block in waiting.items():
                if not future.cancelled() and future.exception() is None and len(future.result()):
                    done[block] = future.result()
            if not done:
                raise
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        reporter.end()
    blocks = sorted(done)
    number = np.concatenate([1 + BLOCK * block + np.arange(len(done[block])) for block in blocks])
    return Replicates(batch=Batch.joined([done[block] for block in blocks]), number=number, interrupted=interrupted)


def _collect(waiting: dict[Future[Batch], int], done: dict[int, Batch], reporter: "Reporter", failed: str) -> None:
    """Take blocks as they are finished."""
    while waiting:
        finished, _ = wait(waiting, timeout=PATIENCE, return_when=FIRST_COMPLETED)
        for future in finished:
            block = waiting.pop(future)
            batch = future.result()
            done[block] = batch
            reporter.add(len(batch))
            bad = np.flatnonzero(batch.outcome != Outcome.FITTED)
            if len(bad) and failed == "raise":
                why = REASONS[Outcome(int(batch.outcome[bad[0]]))]
                raise CrosslevelError(
                    f"`bootstrap` could not refit replicate {1 + BLOCK * block + int(bad[0])}: {why}. "
                    "Use failed='report' to go on and count such replicates."
                )
        reporter.show()


class Reporter:
    """Counts replicates, and writes how many there are to the standard error stream, now and then."""

    def __init__(self, *, n: int, shown: bool, what: str = "bootstrap") -> None:
        self.n, self.shown, self.what, self.done = n, shown, what, 0
        self.last, self.written = time.monotonic(), False

    def add(self, count: int) -> None:
        """So many more."""
        self.done += count

    def show(self) -> None:
        """Write a line if the last one is old enough."""
        now = time.monotonic()
        if self.shown and self.done and now - self.last >= PATIENCE:
            sys.stderr.write(f"\rcrosslevel: {self.what}: {self.done:,} of {self.n:,} refits")
            sys.stderr.flush()
            self.last, self.written = now, True

    def end(self) -> None:
        """End the line."""
        if self.written:
            sys.stderr.write(f"\rcrosslevel: {self.what}: {self.done:,} of {self.n:,} refits\n")
            sys.stderr.flush()
