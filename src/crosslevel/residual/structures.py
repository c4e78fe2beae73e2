"""Covariance structures of the residuals, as a user names them: `mixed(..., residual=By("sector"))`.

Each names the columns it needs and binds to their values. To add one: a final class here and its entry in `RESIDUALS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crosslevel.errors import DesignError
from crosslevel.residual.autoregressive import ContinuousLags, IntegerLags
from crosslevel.residual.bound import BoundResidual
from crosslevel.residual.correlation import Correlation, Independent
from crosslevel.residual.exchangeable import EqualCorrelation
from crosslevel.residual.occasions import FreeCorrelation
from crosslevel.residual.units import (
    Levels,
    lags,
    patterns_of,
    refuse_single_rows,
    refuse_ties,
    require_pairs,
    starts_of,
)
from crosslevel.residual.variance import EqualVariance, KnownVariance, PowerVariance, StratumVariance, VarianceFunction
from crosslevel.types import FloatArray, IntArray


class ResidualStructure(ABC):
    """One residual structure, before it has seen data."""

    @property
    @abstractmethod
    def numbers(self) -> tuple[str, ...]:
        """The columns it needs as numbers."""

    @property
    @abstractmethod
    def factors(self) -> tuple[str, ...]:
        """The columns it needs as levels; "a:b" means their combinations."""

    @abstractmethod
    def bind(self, numbers: Mapping[str, FloatArray], factors: Mapping[str, Levels], n: int) -> BoundResidual:
        """Bind to the n rows used.

        Raises
        ------
        DesignError : values that the structure cannot have; the message says which.
        """


@dataclass(frozen=True)
class By(ResidualStructure):
    """An own residual variance in each stratum (nlme: varIdent).

    Parameters
    ----------
    by : column of the strata; "a:b" for combinations of two.

    Examples
    --------
    >>> import crosslevel as cl
    >>> cl.residual.By("sector")
    By(by='sector')
    """

    by: str

    @property
    def numbers(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def factors(self) -> tuple[str, ...]:
        """The strata."""
        return (self.by,)

    def bind(self, numbers: Mapping[str, FloatArray], factors: Mapping[str, Levels], n: int) -> BoundResidual:
        """Strata of the rows."""
        strata = factors[self.by]
        return BoundResidual(
            order=np.arange(n), unit=None, within="", correlation=Independent(), known=False, of_fitted=False,
            variance=_strata(strata, self.by, np.arange(n)),
            words=f"own variance in each of the {len(strata.levels)} strata of {self.by}",
        )  # fmt: skip


@dataclass(frozen=True)
class Power(ResidualStructure):
    """Residual SD in proportion to a power of a covariate, or of the fitted values (nlme: varPower).

    sd_i = sigma |v_i / g|^delta, g the geometric mean of |v|, so that sigma is the residual SD at a typical v. With
    fitted values (random effects included, as in nlme), v is held while the likelihood is maximised, computed anew from
    the result, and so on until it no longer changes.

    Parameters
    ----------
    covariate : column of v, without zeros; None for the fitted values.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy")
    >>> fit = cl.mixed("Reaction ~ Days + (1 | Subject)", data, residual=cl.residual.Power())
    >>> fit.residual_parameters()["estimate"].round(2).to_dict()
    {'power': 1.7, 'sigma[293.8]': 30.15, 'sigma[1]': 0.0}
    """

    covariate: str | None = None

    @property
    def numbers(self) -> tuple[str, ...]:
        """The covariate."""
        return () if self.covariate is None else (self.covariate,)

    @property
    def factors(self) -> tuple[str, ...]:
        """None."""
        return ()

    def bind(self, numbers: Mapping[str, FloatArray], factors: Mapping[str, Levels], n: int) -> BoundResidual:
        """Log sizes of the covariate; of ones, to begin with, for fitted values."""
        values = np.ones(n) if self.covariate is None else numbers[self.covariate]
        n_zero = int(np.count_nonzero(values == 0.0))
        if n_zero:
            raise DesignError(
                f"`residual` makes the residual SD a power of {self.covariate!r}, which is zero in {n_zero} rows: they "
                "would have no residual variance. Choose a covariate without zeros, or shift this one."
            )
        log_size = np.log(np.abs(values))
        if self.covariate is not None and float(np.ptp(log_size)) == 0.0:
            raise DesignError(
                f"`residual` makes the residual SD a power of {self.covariate!r}, whose size is the same in all rows, "
                "so that the power cannot be estimated. Choose a covariate that varies."
            )
        what = "the fitted values" if self.covariate is None else self.covariate
        return BoundResidual(
            order=np.arange(n), unit=None, within="", correlation=Independent(), known=False,
            of_fitted=self.covariate is None, variance=PowerVariance(log_size=log_size),
            words=f"standard deviation in proportion to a power of {what}",
        )  # fmt: skip


@dataclass(frozen=True)
class AR1(ResidualStructure):
    """First-order autoregression within units: correlation rho^lag at whole-numbered distances in time (nlme: corAR1).

    Gaps count as longer lags. The largest common divisor of all distances is one step: with times 8, 10, 12, rho is
    the correlation 2 apart.

    Parameters
    ----------
    time : column of the times, whole numbers, different within a unit.
    within : column of the units.
    by : column of strata with their own variances; none if the variance is one.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy")
    >>> fit = cl.mixed("Reaction ~ Days + (1 | Subject)", data, residual=cl.residual.AR1("Days", within="Subject"))
    >>> fit.residual_parameters()["estimate"].round(2).to_dict()
    {'rho': 0.65}
    """

    time: str
    within: str
    by: str | None = None

    @property
    def numbers(self) -> tuple[str, ...]:
        """The time."""
        return (self.time,)

    @property
    def factors(self) -> tuple[str, ...]:
        """Units and strata."""
        return _named(self.within, self.by)

    def bind(self, numbers: Mapping[str, FloatArray], factors: Mapping[str, Levels], n: int) -> BoundResidual:
        """Lags in whole steps."""
        order, lag = lags(numbers[self.time], factors[self.within], self.time, self.within)
        whole = np.round(lag)
        if np.any(np.abs(lag - whole) > 1e-9 * np.maximum(whole, 1.0)):
            raise DesignError(
                f"`residual` AR1 needs whole-numbered times; {self.time!r} has rows "
                f"{lag[np.abs(lag - whole) > 1e-9][0]:g} apart. Number the occasions, or use CAR1 for continuous time."
            )
        step = int(np.gcd.reduce(whole.astype(np.int64)))
        apart = f", one step being {step} of {self.time}" if step != 1 else ""
        return _within(
            self.within, self.by, factors, order, IntegerLags(lag=whole / step, step=float(step)),
            f"first-order autoregression in {self.time} within {self.within}{apart}",
        )  # fmt: skip


@dataclass(frozen=True)
class CAR1(ResidualStructure):
    """Continuous-time autoregression within units: correlation rho^(time between), 0 < rho < 1 (nlme: corCAR1).

    Parameters
    ----------
    time : column of the times, different within a unit.
    within : column of the units.
    by : column of strata with their own variances; none if the variance is one.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy")
    >>> fit = cl.mixed("Reaction ~ Days + (1 | Subject)", data, residual=cl.residual.CAR1("Days", within="Subject"))
    >>> fit.residual_parameters()["estimate"].round(2).to_dict()
    {'rho': 0.65}
    """

    time: str
    within: str
    by: str | None = None

    @property
    def numbers(self) -> tuple[str, ...]:
        """The time."""
        return (self.time,)

    @property
    def factors(self) -> tuple[str, ...]:
        """Units and strata."""
        return _named(self.within, self.by)

    def bind(self, numbers: Mapping[str, FloatArray], factors: Mapping[str, Levels], n: int) -> BoundResidual:
        """Times since the row before."""
        order, lag = lags(numbers[self.time], factors[self.within], self.time, self.within)
        return _within(
            self.within, self.by, factors, order, ContinuousLags(lag=lag, unit=float(np.median(lag[lag > 0.0]))),
            f"continuous-time autoregression in {self.time} within {self.within}",
        )  # fmt: skip


@dataclass(frozen=True)
class CompoundSymmetry(ResidualStructure):
    """The same correlation, perhaps negative, between any two residuals of a unit (nlme: corCompSymm).

    Parameters
    ----------
    within : column of the units.
    by : column of strata with their own variances; none if the variance is one.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy")
    >>> fit = cl.mixed("Reaction ~ Days", data, residual=cl.residual.CompoundSymmetry(within="Subject"))
    >>> fit.residual_parameters()["estimate"].round(2).to_dict()
    {'rho': 0.59}
    """

    within: str
    by: str | None = None

    @property
    def numbers(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def factors(self) -> tuple[str, ...]:
        """Units and strata."""
        return _named(self.within, self.by)

    def bind(self, numbers: Mapping[str, FloatArray], factors: Mapping[str, Levels], n: int) -> BoundResidual:
        """Sizes of the units."""
        codes = factors[self.within].codes
        order = np.argsort(codes, kind="stable")
        start = starts_of(codes[order])
        size = np.diff(np.append(start, n))
        refuse_single_rows(int(size.max()), self.within)
        return _within(
            self.within, self.by, factors, order, EqualCorrelation(start=start, size=size),
            f"equal correlation within {self.within}",
        )  # fmt: skip


@dataclass(frozen=True)
class Unstructured(ResidualStructure):
    """Own variance on every occasion and any correlations between them (nlme: corSymm with varIdent).

    Parameters
    ----------
    occasion : column of the occasions, different within a unit.
    within : column of the units.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy").query("Days < 3")
    >>> fit = cl.mixed("Reaction ~ Days", data, residual=cl.residual.Unstructured("Days", within="Subject"))
    >>> fit.residual_parameters()["estimate"].round(2).to_dict()
    {'sigma[0]': 32.13, 'sigma[1]': 33.37, 'sigma[2]': 29.47, 'rho[0, 1]': 0.74, 'rho[0, 2]': 0.47, 'rho[1, 2]': 0.77}
    """

    occasion: str
    within: str

    @property
    def numbers(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def factors(self) -> tuple[str, ...]:
        """Units and occasions."""
        return (self.within, self.occasion)

    def bind(self, numbers: Mapping[str, FloatArray], factors: Mapping[str, Levels], n: int) -> BoundResidual:
        """Units by the occasions they have."""
        occasion, unit = factors[self.occasion], factors[self.within]
        order = np.lexsort((occasion.codes, unit.codes))
        codes, times = unit.codes[order], occasion.codes[order]
        same = (codes[1:] == codes[:-1]) & (times[1:] == times[:-1])
        refuse_ties(same, codes, unit, self.occasion, self.within)
        start = starts_of(codes)
        size = np.diff(np.append(start, n))
        refuse_single_rows(int(size.max()), self.within)
        patterns = patterns_of(times, start, size)
        require_pairs(patterns, occasion, self.occasion, self.within)
        correlation = FreeCorrelation(levels=occasion.levels, patterns=patterns)
        return _within(
            self.within, self.occasion, factors, order, correlation,
            f"own variance on each of the {len(occasion.levels)} occasions of {self.occasion} and free correlations "
            f"within {self.within}", strata_in_words=False,
        )  # fmt: skip


@dataclass(frozen=True)
class Known(ResidualStructure):
    """Known standard errors of the outcome, as in a meta-analysis: sigma is 1.

    Parameters
    ----------
    se : column of the standard errors, all positive.

    Examples
    --------
    >>> import crosslevel as cl, pandas as pd
    >>> studies = pd.DataFrame({"effect": [0.1, 0.3, 0.8, 0.2], "se": [0.1, 0.2, 0.1, 0.2], "study": [1, 2, 3, 4]})
    >>> fit = cl.mixed("effect ~ 1 + (1 | study)", studies, residual=cl.residual.Known("se"))
    >>> round(float(fit.params["Intercept"]), 3)
    0.362
    """

    se: str

    @property
    def numbers(self) -> tuple[str, ...]:
        """The standard errors."""
        return (self.se,)

    @property
    def factors(self) -> tuple[str, ...]:
        """None."""
        return ()

    def bind(self, numbers: Mapping[str, FloatArray], factors: Mapping[str, Levels], n: int) -> BoundResidual:
        """Logs of the standard errors."""
        values = numbers[self.se]
        n_bad = int(np.count_nonzero(~(values > 0.0)))
        if n_bad:
            raise DesignError(
                f"`residual` takes {self.se!r} as standard errors, but {n_bad} of {n} rows are not positive. "
                "Give standard errors (not variances or weights), all above zero."
            )
        return BoundResidual(
            order=np.arange(n), unit=None, within="", correlation=Independent(), known=True, of_fitted=False,
            variance=KnownVariance(log_known=np.log(values)), words=f"known standard errors {self.se}",
        )  # fmt: skip


RESIDUALS: dict[str, type[ResidualStructure]] = {
    "by": By,
    "power": Power,
    "ar1": AR1,
    "car1": CAR1,
    "cs": CompoundSymmetry,
    "us": Unstructured,
    "known": Known,
}


def _named(within: str, by: str | None) -> tuple[str, ...]:
    """Columns needed as levels."""
    return (within,) if by is None else (within, by)


def _strata(strata: Levels, name: str, order: IntArray) -> StratumVariance:
    """A variance function of strata; each needs rows of its own."""
    if len(strata.levels) < 2:
        raise DesignError(
            f"`residual` wants own variances by {name!r}, which has one value in the rows used. "
            "Leave `residual` out, or name a column with two strata at least."
        )
    sizes = np.bincount(strata.codes, minlength=len(strata.levels))
    if sizes.min() < 2:
        level = strata.levels[int(sizes.argmin())]
        raise DesignError(
            f"`residual` wants own variances by {name!r}, but its stratum {level!r} has one row, from which no "
            "variance can be estimated. Merge small strata."
        )
    return StratumVariance(codes=strata.codes[order], levels=strata.levels)


def _within(
    within: str,
    by: str | None,
    factors: Mapping[str, Levels],
    order: IntArray,
    correlation: Correlation,
    words: str,
    *,
    strata_in_words: bool = True,
) -> BoundResidual:
    """A correlation within units, with one variance or own variances by stratum."""
    variance: VarianceFunction = EqualVariance(n=len(order))
    if by is not None:
        variance = _strata(factors[by], by, order)
        if strata_in_words:
            words += f", with own variance in each of the {len(factors[by].levels)} strata of {by}"
    return BoundResidual(
        order=order, unit=factors[within].codes[order], within=within, variance=variance, correlation=correlation,
        known=False, of_fitted=False, words=words,
    )  # fmt: skip
