"""Estimators that fit each replication by itself, and ask the fit as a user would: slow, but good for anything.

Nothing is drawn row by row: a fit knows its cross-products alone, and answers what can be answered from those.
"""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.errors import ConvergenceWarning, CrosslevelError
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.df import df_method
from crosslevel.inference.distributions import t_quantile
from crosslevel.inference.estimates import Estimates as Solved
from crosslevel.simulation.estimators.estimates import Estimates, FormulaEstimator, Prepared
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.model import Model
from crosslevel.types import FloatArray, Method

if TYPE_CHECKING:
    from crosslevel.simulation.processes.process import Process

Interval: TypeAlias = tuple[FloatArray, FloatArray]
"""Both ends (T,) of the intervals of T coefficients."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What an estimator makes of one replication: T coefficients, I kinds of intervals.

    Attributes
    ----------
    estimate, std_error : (T,).
    low, high : (T, I); NaN where an interval is not defined.
    singular : whether some combination of the random effects has no variance.
    """

    estimate: FloatArray
    std_error: FloatArray
    low: FloatArray
    high: FloatArray
    singular: bool

    @classmethod
    def of(cls, fit: MixedFit, places: Sequence[int], intervals: Sequence[Interval]) -> "Answer":
        """The estimates of a fit at these places, with intervals."""
        low, high = ends(intervals, len(places))
        return cls(
            estimate=fit.solution.beta[list(places)],
            std_error=np.sqrt(np.diag(fit.solution.vcov))[list(places)],
            low=low, high=high, singular=fit.is_singular,
        )  # fmt: skip


def ends(intervals: Sequence[Interval], t: int) -> tuple[FloatArray, FloatArray]:
    """Low and high ends (T, I) from I pairs of them (T,)."""
    if not intervals:
        return np.zeros((t, 0)), np.zeros((t, 0))
    return np.stack([low for low, _ in intervals], axis=1), np.stack([high for _, high in intervals], axis=1)


class OneByOne(Prepared):
    """An estimator that takes one replication after another.

    Attributes
    ----------
    model : whose columns it needs.
    terms : names of the coefficients.
    interval_names : names of the kinds of intervals.
    level : of the intervals.
    """

    def __init__(self, *, model: Model, terms: Sequence[str], interval_names: Sequence[str], level: float) -> None:
        self.model, self.terms, self.level = model, tuple(terms), level
        self.interval_names = tuple(interval_names)
        self.places = places_of(model, terms)

    @abstractmethod
    def answer(self, drawn: Drawn, r: int, seed: np.random.SeedSequence) -> Answer:
        """Estimates of one replication.

        Raises
        ------
        CrosslevelError, LinAlgError : the model cannot be fitted to these data.
        ConvergenceWarning : a search did not converge.
        """

    def estimate(self, drawn: Drawn, seeds: Sequence[np.random.SeedSequence]) -> Estimates:
        """See `Prepared`: what cannot be fitted is refused, what did not converge is no estimate either."""
        out = Estimates.none(len(drawn), len(self.terms), self.interval_names)
        for r, seed in enumerate(seeds):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", ConvergenceWarning)
                    found = self.answer(drawn, r, seed)
            except ConvergenceWarning:
                out.outcome[r] = Outcome.UNCONVERGED
                continue
            except (CrosslevelError, np.linalg.LinAlgError):
                out.outcome[r] = Outcome.REFUSED
                continue
            out.outcome[r], out.singular[r] = Outcome.FITTED, found.singular
            out.estimate[r], out.std_error[r] = found.estimate, found.std_error
            out.low[r], out.high[r] = found.low, found.high
        return out


def places_of(model: Model, terms: Sequence[str]) -> list[int]:
    """Positions of coefficients among those of a model.

    Raises
    ------
    CrosslevelError : it has no such coefficient.
    """
    absent = [term for term in terms if term not in model.fixed_names]
    if absent:
        raise CrosslevelError(
            f"`terms` has {absent}, which {model.formula!r} does not estimate. Its coefficients: "
            f"{', '.join(map(repr, model.fixed_names))}."
        )
    return [model.fixed_names.index(term) for term in terms]


def t_intervals(solved: Solved, names: Sequence[str], places: Sequence[int], level: float) -> list[Interval]:
    """Intervals by t of some coefficients by each method of counting degrees of freedom.

    A method that is not defined for these estimates gives NaN.
    """
    contrasts, beta = np.eye(len(solved.beta))[list(places)], solved.beta[list(places)]
    out: list[Interval] = []
    for name in names:
        try:
            single = df_method(name).single(solved, contrasts)
            half = t_quantile(0.5 + 0.5 * level, single.df) * single.std_error
        except CrosslevelError:
            half = np.full(len(places), np.nan)
        out.append((beta - half, beta + half))
    return out


def check_kinds(names: Sequence[str], known: Collection[str]) -> None:
    """Whether these are names of kinds of intervals.

    Raises
    ------
    CrosslevelError : they are not.
    """
    if isinstance(names, str) or not set(names) <= set(known):
        raise CrosslevelError(f"`intervals` has some of {', '.join(map(repr, known))}; got {names!r}.")


Found: TypeAlias = "pd.DataFrame | Mapping[str, pd.DataFrame]"
"""A frame by term, or several by name of the kind of interval."""


@dataclass(frozen=True, kw_only=True)
class Custom(FormulaEstimator):
    """A mixed model, and a function of its fit that gives estimates and intervals.

    Attributes
    ----------
    name : see `Estimator`.
    formula : of the model, for `mixed`.
    function : of a `MixedFit` and a level: a frame indexed by term with conf_low and conf_high, such as
        `fit.tests(...)` gives, or a mapping of such frames by the names of `intervals`. Columns estimate and std_error,
        if the (first) frame has them, are taken in place of the fit's own. Where it raises a `CrosslevelError`, the
        replication counts as failed. Studies with several workers need a function that other processes can import.
    intervals : names of the kinds of intervals that it gives.
    method : "reml" or "ml".

    Examples
    --------
    >>> import crosslevel as cl
    >>> def robust(fit, level):
    ...     return fit.tests(vcov="CR2", level=level)
    >>> cl.lab.Custom(name="CR2", formula="y ~ z + (1 | g)", function=robust, intervals=("CR2",)).interval_names
    ('CR2',)
    """

    function: Callable[[MixedFit, float], Found] = field(repr=False)
    intervals: tuple[str, ...] = ("its own",)
    method: Method = "reml"

    @property
    def interval_names(self) -> tuple[str, ...]:
        """See `Estimator`."""
        return tuple(self.intervals)

    def prepare(self, process: "Process", terms: Sequence[str], level: float) -> "PreparedCustom":
        """See `Estimator`."""
        if not callable(self.function):
            raise CrosslevelError(f"`function` is a function of a fit and a level; got {self.function!r}.")
        return PreparedCustom(
            model=Model.of(process, self.formula, method=self.method), terms=terms, interval_names=self.intervals,
            level=level, function=self.function,
        )  # fmt: skip


class PreparedCustom(OneByOne):
    """A user's function of each fit.

    Attributes
    ----------
    function : see `Custom`.
    """

    def __init__(
        self, *, model: Model, terms: Sequence[str], interval_names: Sequence[str], level: float,
        function: Callable[[MixedFit, float], Found],
    ) -> None:  # fmt: skip
        super().__init__(model=model, terms=terms, interval_names=interval_names, level=level)
        self.function = function

    def answer(self, drawn: Drawn, r: int, seed: np.random.SeedSequence) -> Answer:
        """See `OneByOne`."""
        fit = self.model.fit(drawn, r)
        found = self.function(fit, self.level)
        frames = {self.interval_names[0]: found} if isinstance(found, pd.DataFrame) else dict(found)
        own = [self._rows(frames, name) for name in self.interval_names]
        low, high = ends([(self._column(f, "conf_low"), self._column(f, "conf_high")) for f in own], len(self.terms))
        plain = Answer.of(fit, self.places, ())
        return Answer(
            estimate=self._column(own[0], "estimate") if "estimate" in own[0] else plain.estimate,
            std_error=self._column(own[0], "std_error") if "std_error" in own[0] else plain.std_error,
            low=low, high=high, singular=plain.singular,
        )  # fmt: skip

    def _rows(self, frames: Mapping[str, pd.DataFrame], name: str) -> pd.DataFrame:
        """One frame, at the terms.

        Raises
        ------
        TypeError : the function does not keep its promise, which is no failure of a fit.
        """
        if name not in frames:
            raise TypeError(f"`function` gives no frame for the interval {name!r}; it gives {', '.join(frames)}.")
        frame = frames[name]
        lacking = [column for column in ("conf_low", "conf_high") if column not in frame]
        absent = [term for term in self.terms if term not in frame.index]
        if lacking or absent:
            raise TypeError(
                f"`function` gives a frame with the columns {', '.join(map(str, frame.columns))}, indexed by "
                f"{', '.join(map(str, frame.index))}. It needs conf_low and conf_high, indexed by "
                f"{', '.join(self.terms)}."
            )
        return frame.loc[list(self.terms)]

    @staticmethod
    def _column(frame: pd.DataFrame, name: str) -> FloatArray:
        """One column as an array."""
        return frame[name].to_numpy(dtype=np.float64)
