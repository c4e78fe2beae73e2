"""Bootstrap intervals of a mixed model in each replication of a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.bootstrap import Kind, Leverage, Weights
from crosslevel.inference.bootstrap.intervals import METHODS
from crosslevel.inference.bootstrap.record import Bootstrap as Replicates
from crosslevel.inference.bootstrap.record import IntervalMethod
from crosslevel.simulation.estimators.estimates import FormulaEstimator
from crosslevel.simulation.estimators.ordinary import Answer, Interval, OneByOne
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.model import Model
from crosslevel.types import Method

if TYPE_CHECKING:
    from crosslevel.simulation.processes.process import Process


@dataclass(frozen=True, kw_only=True)
class Bootstrap(FormulaEstimator):
    """A mixed model with bootstrap intervals.

    Attributes
    ----------
    name : see `Estimator`.
    formula : of the model.
    resampling : what is drawn, the `kind` of `MixedFit.bootstrap`: "cluster", "parametric" or "wild"; "residual" needs
        rows.
    n : refits of each replication.
    methods : kinds of intervals, all from the same refits: "percentile", "basic", "normal", "studentised", "bca".
    weights, leverage : of "wild".
    most_failed : share of refits that may fail; a replication with more of them counts as failed. Those that failed are
        left out of its intervals otherwise, as `MixedFit.bootstrap` does.
    method : "reml" or "ml".

    Notes
    -----
    Refits are compiled, in one thread: studies use their workers for replications. Estimates and standard errors are
    those of the fit itself.

    Examples
    --------
    >>> import crosslevel as cl
    >>> boot = cl.lab.Bootstrap(name="clusters", formula="y ~ x + z + (x | g)", methods=("percentile", "studentised"))
    >>> boot.n, boot.interval_names
    (999, ('percentile', 'studentised'))
    """

    resampling: Kind = "cluster"
    n: int = 999
    methods: tuple[IntervalMethod, ...] = METHODS  # type: ignore[assignment]
    weights: Weights = "webb"
    leverage: Leverage = "cr2"
    most_failed: float = 0.1
    method: Method = "reml"

    @property
    def interval_names(self) -> tuple[str, ...]:
        """See `Estimator`."""
        return tuple(self.methods)

    def prepare(self, process: "Process", terms: Sequence[str], level: float) -> "PreparedBootstrap":
        """See `Estimator`.

        Raises
        ------
        CrosslevelError : no such kind or method.
        """
        if self.resampling == "residual" or self.resampling not in get_args(Kind):
            raise CrosslevelError(
                f"`resampling` is 'cluster', 'parametric' or 'wild'; got {self.resampling!r}. Residuals need rows, and "
                "simulated data have none."
            )
        methods: object = self.methods
        if isinstance(methods, str) or not set(self.methods) <= set(METHODS):
            raise CrosslevelError(f"`methods` has some of {', '.join(map(repr, METHODS))}; got {self.methods!r}.")
        if isinstance(self.n, bool) or not isinstance(self.n, int | np.integer) or self.n < 1:
            raise CrosslevelError(f"`n` is a number of refits, at least 1; got {self.n!r}.")
        if not 0.0 <= self.most_failed <= 1.0:
            raise CrosslevelError(f"`most_failed` is a share, from 0 to 1; got {self.most_failed!r}.")
        return PreparedBootstrap(
            asked=self, model=Model.of(process, self.formula, method=self.method), terms=terms, level=level
        )


class PreparedBootstrap(OneByOne):
    """Refits of each replication.

    Attributes
    ----------
    asked : what is drawn.
    """

    def __init__(self, *, asked: Bootstrap, model: Model, terms: Sequence[str], level: float) -> None:
        super().__init__(model=model, terms=terms, interval_names=asked.interval_names, level=level)
        self.asked = asked

    def answer(self, drawn: Drawn, r: int, seed: np.random.SeedSequence) -> Answer:
        """See `OneByOne`."""
        fit, asked = self.model.fit(drawn, r), self.asked
        found = fit.bootstrap(
            asked.n, asked.resampling, seed=entropy(seed), n_jobs=1, weights=asked.weights, leverage=asked.leverage,
            progress=False,
        )  # fmt: skip
        failed = 1.0 - float(np.mean(found.used))
        if failed > asked.most_failed:
            raise CrosslevelError(f"{failed:.0%} of the refits failed.")
        return Answer.of(fit, self.places, [self._interval(found, method) for method in asked.methods])

    def _interval(self, found: Replicates, method: IntervalMethod) -> Interval:
        """Ends of one kind of interval."""
        frame = found.conf_int(self.level, method, terms=self.terms)
        return frame["conf_low"].to_numpy(dtype=np.float64), frame["conf_high"].to_numpy(dtype=np.float64)


def entropy(seed: np.random.SeedSequence) -> int:
    """A whole number that stands for a seed."""
    return int(seed.generate_state(1, np.uint64)[0])
