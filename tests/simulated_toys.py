"""Estimators whose bias, precision, coverage and power are known in closed form, for tests of studies."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

import crosslevel as cl
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.simulation.processes.drawn import Drawn

TRUTH, SD, SIGMA, SIZE = 0.3, 0.5, 1.0, 20


@dataclass(frozen=True, kw_only=True)
class ClusterMean(cl.lab.Estimator):
    """Mean of the clusters' means, with its t interval, exact in balanced data, and one of twice the width.

    Attributes
    ----------
    trouble : what happens in the replication `at`: an error, an interrupt, a death of the process, a wrong shape.
    at : a replication.
    once : a file that is made when the trouble happens, and that keeps it from happening again.
    seconds : that a batch takes longer.
    """

    trouble: str = ""
    at: int = 137
    once: str = ""
    seconds: float = 0.0

    @property
    def formulas(self) -> tuple[str, ...]:
        return ("y ~ 1",)

    @property
    def interval_names(self) -> tuple[str, ...]:
        return ("t", "double")

    def prepare(self, process: object, terms: Sequence[str], level: float) -> "PreparedMean":
        del process
        return PreparedMean(self, len(terms), level)


class PreparedMean(cl.lab.Prepared):
    def __init__(self, estimator: ClusterMean, terms: int, level: float) -> None:
        self.estimator, self.terms, self.level = estimator, terms, level

    def estimate(self, drawn: Drawn, seeds: Sequence[np.random.SeedSequence]) -> cl.lab.Estimates:
        own = self.estimator
        time.sleep(own.seconds)
        here = own.trouble and any(seed.spawn_key[1] == own.at for seed in seeds)
        if here and not (own.once and Path(own.once).exists()):
            if own.once:
                Path(own.once).touch()
            cause_trouble(own.trouble)
        found = intervals_of(drawn.mean[:, :, drawn.places(["y"])[0]], self.level)
        return replace(found, estimate=found.estimate[:0]) if own.trouble == "shape" else found


def cause_trouble(kind: str) -> None:
    if kind == "error":
        raise ZeroDivisionError("division by zero")
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "death":
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, kw_only=True)
class Fallible(ClusterMean):
    """As `ClusterMean`, but some fits fail, and some are singular, as its own random numbers say."""

    def prepare(self, process: object, terms: Sequence[str], level: float) -> "PreparedFallible":
        del process
        return PreparedFallible(self, len(terms), level)


class PreparedFallible(PreparedMean):
    def estimate(self, drawn: Drawn, seeds: Sequence[np.random.SeedSequence]) -> cl.lab.Estimates:
        found = super().estimate(drawn, seeds)
        chance = np.array([np.random.default_rng(seed).random() for seed in seeds])
        outcome = np.select([chance < 0.1, chance < 0.15], [Outcome.UNCONVERGED, Outcome.REFUSED], Outcome.FITTED)
        failed = outcome != Outcome.FITTED
        out = {name: np.array(getattr(found, name)) for name in ("estimate", "std_error", "low", "high")}
        for array in out.values():
            array[failed] = np.nan
        return replace(found, outcome=outcome.astype(np.int64), singular=chance > 0.8, **out)


def intervals_of(means: np.ndarray, level: float = 0.95) -> cl.lab.Estimates:
    """Estimates from means (R, J) of clusters."""
    r, j = means.shape
    estimate = means.mean(axis=1)[:, None]
    error = means.std(axis=1, ddof=1)[:, None] / np.sqrt(j)
    half = stdtrit(j - 1, 0.5 + level / 2.0) * np.stack([error, 2.0 * error], axis=2)
    return cl.lab.Estimates(
        outcome=np.zeros(r, np.int64), singular=np.zeros(r, np.bool_), estimate=estimate, std_error=error,
        intervals=("t", "double"), low=estimate[:, :, None] - half, high=estimate[:, :, None] + half,
    )  # fmt: skip


def process() -> cl.lab.Process:
    return cl.lab.Process(
        formula="y ~ 1 + (1 | g)",
        effects={"Intercept": TRUTH},
        sd={"Intercept": SD},
        sigma=SIGMA,
        clusters=8,
        size=SIZE,
    )


def toy(**changes: object) -> cl.lab.Study:
    """A small study with four conditions."""
    given = {
        "process": process(), "estimators": [ClusterMean(name="mean")], "terms": ["Intercept"],
        "factors": {"clusters": [8, 12], "effects.Intercept": [TRUTH, 0.0]},
    }  # fmt: skip
    return cl.lab.Study(**{**given, **changes})
