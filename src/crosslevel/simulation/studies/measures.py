"""What is measured of estimators, each with its Monte Carlo standard error."""

from collections.abc import Iterator, Sequence
from math import nan, sqrt
from typing import Any, TypeAlias

import pandas as pd

from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.simulation.studies.description import shown
from crosslevel.simulation.studies.fold import Outline
from crosslevel.simulation.studies.tally import Tally

COLUMNS = ("estimator", "measure", "interval", "value", "mcse", "reps", "failed", "term", "truth", "unit")
"""Columns of results, after those of the factors."""

MEASURES = {
    "bias": "mean error",
    "rmse": "root mean squared error",
    "sd": "standard deviation of the estimates",
    "standard error": "root mean squared standard error, to compare with `sd`",
    "coverage": "intervals that hold the truth",
    "power": "intervals that do not hold 0, where the truth is another value",
    "type-I error": "intervals that do not hold 0, where the truth is 0",
    "width": "mean length of intervals",
    "median width": "median length of intervals",
    "convergence": "replications with a fit",
    "unidentified": "replications in which coefficients are not identified",
    "unconverged": "replications whose search did not converge",
    "refused": "replications to which the model cannot be fitted",
    "singular": "fits with random effects that have no variance in some direction",
}
"""What is measured, in words."""

OF_TRUTH, PERCENT, EFFECT = "percent of truth", "percent", "effect"
"""Units: of the true effect, of replications, and that of the effect itself."""

FAILURES = {
    "unidentified": Outcome.UNIDENTIFIED,
    "unconverged": Outcome.UNCONVERGED,
    "refused": Outcome.REFUSED,
}
"""Measures of how many fits failed, by how they ended."""

Measured: TypeAlias = tuple[str, str, float, float, int, str]
"""Measure, interval, value, Monte Carlo standard error, replications that did not fail, unit."""


def measured(outline: Outline, tallies: Sequence[Tally]) -> pd.DataFrame:
    """All measures of all estimators of a condition, a row each."""
    levels = {name: shown(level) for name, level in outline.levels.items()}
    rows: list[dict[str, Any]] = []
    for (estimator, intervals), tally in zip(outline.intervals.items(), tallies, strict=True):
        found = [(term, truth, one) for term, truth, one in _of_terms(outline, intervals, tally)]
        found += [("", nan, one) for one in of_fits(tally)]
        for term, truth, (measure, interval, value, mcse, n, unit) in found:
            own = (estimator, measure, interval, value, mcse, tally.reps, tally.reps - n, term, truth, unit)
            rows.append({**levels, **dict(zip(COLUMNS, own, strict=True))})
    return pd.DataFrame(rows, columns=[*levels, *COLUMNS])


def _of_terms(outline: Outline, intervals: Sequence[str], tally: Tally) -> Iterator[tuple[str, float, Measured]]:
    """Measures of one estimator, by term."""
    for t, (term, truth) in enumerate(outline.truth.items()):
        for one in of_estimates(tally, t, truth):
            yield term, truth, one
        for i, name in enumerate(intervals):
            for one in of_intervals(tally, t, i, name, truth):
                yield term, truth, one


def of_estimates(tally: Tally, t: int, truth: float) -> Iterator[Measured]:
    """Bias, root mean squared error, standard deviation and mean standard error of one term's estimates.

    With e = estimate - truth in n replications, s² its variance and m_4 the mean of (e - mean(e))^4:

        bias  mean(e)                    mcse  s / sqrt(n)
        rmse  sqrt(mean(e²))                   sqrt(var(e²) / n) / (2 rmse)
        sd    s                                sqrt((m_4 - s^4 (n - 3) / (n - 1)) / n) / (2 s)
        standard error  sqrt(mean(se²))        sqrt(var(se²) / n) / (2 value)

    Bias and rmse are in percent of the truth, unless that is 0; the others are in units of the effect. All but the
    first standard error follow by the delta method, whatever the distribution of the estimates.

    Source
    ------
    Morris, White & Crowther (2019), Stat. Med. 38: 2074-2102, table 6, without their assumption of normal estimates.
    """
    error, n = tally.error, int(tally.error.n[t])
    scale, unit = (100.0 / truth, OF_TRUTH) if truth != 0.0 else (1.0, EFFECT)
    if n == 0:
        units = {"bias": unit, "rmse": unit, "sd": EFFECT, "standard error": EFFECT}
        yield from ((measure, "", nan, nan, 0, one) for measure, one in units.items())
        return
    mean, spread, rmse = float(error.mean[t]), sqrt(error.variance[t]), sqrt(error.mean_square[t])
    of_rmse = _of_root(float(error.variance_of_square[t]) / n, rmse)
    yield "bias", "", scale * mean, abs(scale) * spread / sqrt(n), n, unit
    yield "rmse", "", abs(scale) * rmse, abs(scale) * of_rmse, n, unit
    yield "sd", "", spread, _of_root(float(error.variance_of_variance[t]), spread), n, EFFECT
    claimed, m = tally.variance, int(tally.variance.n[t])
    value = sqrt(claimed.mean[t]) if m else nan
    yield "standard error", "", value, _of_root(float(claimed.variance[t]) / max(m, 1), value), m, EFFECT


def of_intervals(tally: Tally, t: int, i: int, name: str, truth: float) -> Iterator[Measured]:
    """Coverage, power or type-I error, and widths of one kind of intervals of one term.

    A share p of n intervals has the Monte Carlo standard error sqrt(p (1 - p) / n); that of the median is half the
    distance of the quantiles at 1/2 ± 1 / (2 sqrt(n)). An interval rejects if it does not hold 0: power if the truth
    is another value, type-I error if it is 0.
    """
    n = int(tally.defined[t, i])
    rejection = "power" if truth != 0.0 else "type-I error"
    for measure, count in (("coverage", tally.covered[t, i]), (rejection, tally.rejected[t, i])):
        yield (measure, name, *share(int(count), n), n, PERCENT)
    width, endless = tally.width, bool(tally.boundless[t, i])
    mean = float(width.mean[t, i]) if n and not endless else (float("inf") if endless else nan)
    mcse = nan if endless or n < 2 else sqrt(width.variance[t, i] / n)
    yield "width", name, mean, mcse, n, EFFECT
    column = t * tally.width.n.shape[1] + i
    half = 0.5 / sqrt(n) if n else nan
    low, median, high = (tally.widths.quantile(column, share) for share in (0.5 - half, 0.5, 0.5 + half))
    yield "median width", name, median, (high - low) / 2.0 if n > 1 and high < float("inf") else nan, n, EFFECT


def of_fits(tally: Tally) -> Iterator[Measured]:
    """How fits ended, in percent of all replications; and how many of the fitted ones are singular."""
    yield ("convergence", "", *share(tally.fitted, tally.reps), tally.fitted, PERCENT)
    for name, outcome in FAILURES.items():
        yield (name, "", *share(int(tally.outcomes[outcome]), tally.reps), tally.fitted, PERCENT)
    yield ("singular", "", *share(tally.singular, tally.fitted), tally.fitted, PERCENT)


def share(count: int, n: int) -> tuple[float, float]:
    """A share in percent, and its Monte Carlo standard error."""
    if n == 0:
        return nan, nan
    p = count / n
    return 100.0 * p, 100.0 * sqrt(p * (1.0 - p) / n)


def _of_root(variance: float, root: float) -> float:
    """Standard error of a square root whose square has this sampling variance; 0 if nothing varies."""
    return sqrt(variance) / (2.0 * root) if root > 0.0 else (0.0 if root == 0.0 else nan)
