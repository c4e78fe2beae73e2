"""Simulation and extrapolation: coefficients with more and more error, followed back to none.

For lambda in a grid, x + sqrt(lambda) s z with z ~ N(0, 1) has the error variance (1 + lambda) s². The mean estimate of
n replicates is a curve in lambda; its parabola by least squares, with lambda = 0 the fit as it is, has at lambda = -1
the value theta(-1) = sum_k c_k theta(lambda_k), c = A (A'A)^-1 (1, -1, 1). The variance of the extrapolated estimate is
extrapolated in the same way from

    v(lambda) = mean of the model variances - variance between the replicates of lambda       (v(0): the model's).

Source: Cook & Stefanski (1994), J. Am. Stat. Assoc. 89: 1314-1328; Stefanski & Cook (1995), 90: 1247-1256.
"""

import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.diagnostics.sensitivity.mismeasured import Mismeasured
from crosslevel.errors import ConvergenceWarning, CrosslevelError
from crosslevel.inference.bootstrap.run import Reporter
from crosslevel.inference.seeds import generator_from
from crosslevel.types import FloatArray

GRID = (0.5, 1.0, 1.5, 2.0)
"""Amounts of added error."""

FAILED = 0.2
"""Share of failed fits of one amount from which on there is no result."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedPath:
    """Estimates with added error.

    Attributes
    ----------
    terms : names of the p coefficients.
    added : (L,) lambda, 0 first.
    means : (L, p) mean estimates.
    between : (L, p, p) covariance of the estimates of single replicates.
    model : (L, p, p) mean model covariance.
    noise : (L, p) Monte-Carlo variances of the mean estimates.
    failed : fits that did not succeed; they are left out.
    n : replicates of each lambda but 0.
    """

    terms: tuple[str, ...]
    added: FloatArray
    means: FloatArray
    between: FloatArray = field(repr=False)
    model: FloatArray = field(repr=False)
    noise: FloatArray = field(repr=False)
    failed: int
    n: int

    @property
    def weights(self) -> FloatArray:
        """(L,) c."""
        return extrapolation_weights(self.added)

    @property
    def extrapolated(self) -> FloatArray:
        """(p,) coefficients at lambda = -1."""
        return np.asarray(self.weights @ self.means)

    @property
    def vcov(self) -> FloatArray:
        """(p, p) covariance of these."""
        return np.asarray(np.einsum("l,lab->ab", self.weights, self.model - self.between))

    @property
    def std_error(self) -> FloatArray:
        """(p,) standard errors; NaN where the extrapolated variance is not positive."""
        variance = np.diag(self.vcov)
        return np.sqrt(np.where(variance > 0.0, variance, np.nan))

    @property
    def mcse(self) -> FloatArray:
        """(p,) Monte-Carlo standard errors of the extrapolated coefficients."""
        return np.asarray(np.sqrt(self.weights**2 @ self.noise))

    @property
    def frame(self) -> pd.DataFrame:
        """Columns term, added, estimate, mcse; the last row of each term is the extrapolation, at -1."""
        rows = []
        for k, term in enumerate(self.terms):
            spread = np.sqrt(self.noise[:, k])
            rows += [(term, float(a), float(m), float(e)) for a, m, e in
                     zip(self.added, self.means[:, k], spread, strict=True)]  # fmt: skip
            rows.append((term, -1.0, float(self.extrapolated[k]), float(self.mcse[k])))
        return pd.DataFrame(rows, columns=["term", "added", "estimate", "mcse"])

    def curve(self, term: str, at: FloatArray) -> FloatArray:
        """The parabola of one coefficient at some lambda."""
        values = self.means[:, self.terms.index(term)]
        return np.asarray(np.polyval(np.polyfit(self.added, values, 2), at))


def extrapolation_weights(added: FloatArray) -> FloatArray:
    """Weights (L,) of values at some lambda in the least-squares parabola's value at -1.

    Examples
    --------
    >>> extrapolation_weights(np.array([0.0, 1.0, 2.0])).round(6).tolist()
    [3.0, -3.0, 1.0]
    """
    powers = np.vander(added, 3, increasing=True)
    return np.asarray(np.linalg.pinv(powers).T @ np.array([1.0, -1.0, 1.0]))


def simulated_path(
    subject: Mismeasured, error: float, *, added: tuple[float, ...], n: int, seed: int, progress: bool
) -> SimulatedPath:
    """Fit the model with more and more error in a predictor.

    The same z serve every lambda, so that the curves are smooth, and each is followed by -z, which cancels the larger
    part of the Monte-Carlo error of their mean.

    Raises
    ------
    CrosslevelError : too many of the fits fail.
    """
    fit, units = subject.fit, len(subject.levels) if subject.is_context else len(subject.x)
    half = generator_from(seed).standard_normal((-(-n // 2), units))
    reporter = Reporter(n=2 * len(half) * len(added), shown=progress, what="simex")
    p, vcov = len(fit.params), fit.vcov.to_numpy()
    amounts = [_Amount(mean=fit.params.to_numpy(), between=np.zeros((p, p)), model=vcov, noise=np.zeros(p), failed=0)]
    for amount in added:
        amounts.append(_at(subject, np.sqrt(amount * error) * half, reporter))
        if amounts[-1].failed > FAILED * len(half):
            raise CrosslevelError(
                f"SIMEX: {amounts[-1].failed} of {len(half)} pairs of fits with {amount:g} times the error of "
                f"{subject.variable} added did not succeed. Simplify the random effects, or use method='calibration'."
            )
    reporter.end()
    return SimulatedPath(
        terms=tuple(str(term) for term in fit.params.index), added=np.array([0.0, *added]),
        means=np.array([each.mean for each in amounts]), between=np.array([each.between for each in amounts]),
        model=np.array([each.model for each in amounts]), noise=np.array([each.noise for each in amounts]),
        failed=sum(each.failed for each in amounts), n=2 * len(half),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class _Amount:
    """What the fits with one amount of added error say; pairs in which one failed are left out and counted."""

    mean: FloatArray
    between: FloatArray
    model: FloatArray
    noise: FloatArray
    failed: int


def _at(subject: Mismeasured, errors: FloatArray, reporter: Reporter) -> _Amount:
    """Fit with added errors (n / 2, units), and with the same of the other sign."""
    estimates, covariances = list[FloatArray](), list[FloatArray]()
    for row in errors:
        each = row[subject.codes] if subject.is_context else row
        pair = [_refitted(subject, subject.x + sign * each) for sign in (1.0, -1.0)]
        done = [again for again in pair if again is not None]
        if len(done) == 2:
            estimates += [coefficients for coefficients, _ in done]
            covariances += [covariance for _, covariance in done]
        reporter.add(2)
        reporter.show()
    if len(estimates) < 4:
        p = len(subject.fit.params)
        nothing = np.full((p, p), np.nan)
        return _Amount(mean=nothing[0], between=nothing, model=nothing, noise=nothing[0], failed=len(errors))
    found = np.array(estimates)
    pairs = (found[0::2] + found[1::2]) / 2.0
    return _Amount(
        mean=found.mean(axis=0), between=np.atleast_2d(np.cov(found, rowvar=False)),
        model=np.mean(covariances, axis=0), noise=pairs.var(axis=0, ddof=1) / len(pairs),
        failed=len(errors) - len(pairs),
    )  # fmt: skip


def _refitted(subject: Mismeasured, x: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Coefficients and their covariance with other values (n,) of the predictor; None if the fit does not succeed."""
    data = subject.with_columns({subject.variable: x})
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            fit = subject.fit.update(data=data)
        except (CrosslevelError, ConvergenceWarning):
            return None
    if len(fit.params) != len(subject.fit.params):
        return None
    return fit.params.to_numpy(), fit.vcov.to_numpy()
