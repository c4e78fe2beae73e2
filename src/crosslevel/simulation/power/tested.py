"""The tests whose power is simulated: t tests of coefficients, likelihood-ratio tests of variances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosslevel.simulation.estimators.estimates import Estimates, Estimator, Prepared
from crosslevel.simulation.estimators.mixed import Mixed, MixedPrepared
from crosslevel.simulation.power.components import ComponentTest
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.types import Method

TINY = float(np.finfo(np.float64).tiny)
"""Lower end of an interval whose only news is that it does not hold zero."""


@dataclass(frozen=True, kw_only=True)
class PowerTests(Estimator):
    """Tests of some coefficients and components of a mixed model.

    Attributes
    ----------
    formula : of the model.
    method : "reml" or "ml".
    interval : how degrees of freedom are counted.
    components : random effect whose variance is tested, by the name of the target; others are coefficients.
    """

    formula: str
    method: Method
    interval: str
    components: Mapping[str, str] = field(default_factory=dict)

    @property
    def formulas(self) -> tuple[str, ...]:
        """See `Estimator`."""
        return (self.formula,)

    @property
    def interval_names(self) -> tuple[str, ...]:
        """See `Estimator`."""
        return (self.interval,)

    def prepare(self, process: Any, terms: Sequence[str], level: float) -> Prepared:
        """See `Estimator`; `process` is a `Planned`."""
        model, reml = process.model(self.method), self.method == "reml"
        # what the intervals of mixed models refuse is refused here too
        Mixed(name=self.name, formula=self.formula, method=self.method, intervals=self.interval_names)
        coefficients = tuple(term for term in terms if term not in self.components)
        return PreparedTests(
            terms=tuple(terms),
            mixed=MixedPrepared(model=model, terms=coefficients, intervals=self.interval_names, level=level, reml=reml),
            tests={term: ComponentTest.of(model, effect, level=level) for term, effect in self.components.items()},
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedTests(Prepared):
    """Tests that are ready.

    Attributes
    ----------
    terms : names of the T targets.
    mixed : the model, with the t tests of the coefficients among them.
    tests : of the components.
    """

    terms: tuple[str, ...]
    mixed: MixedPrepared = field(repr=False)
    tests: Mapping[str, ComponentTest] = field(repr=False)

    def estimate(self, drawn: Drawn, seeds: Sequence[np.random.SeedSequence]) -> Estimates:
        """See `Prepared`.

        A component has no interval of two ends, but a test: its "interval" begins at zero, or just above if the test
        finds that there is variance, and has no end.
        """
        found = self.mixed.estimate(drawn, seeds)
        if not self.tests:
            return found
        batch = self.mixed.batch(drawn)
        own = [self.mixed.terms.index(term) if term in self.mixed.terms else -1 for term in self.terms]
        arrays = {
            name: np.stack([getattr(found, name)[:, max(k, 0)] if k >= 0 else np.full(shape, np.nan) for k in own], 1)
            for name, shape in _shapes(found).items()
        }
        effects = list(self.mixed.model.random_names)
        for t, term in enumerate(self.terms):
            if term not in self.tests:
                continue
            test = self.tests[term]
            rejected, tested = test.rejected(drawn, batch, self.mixed)
            arrays["estimate"][:, t] = batch.sd[:, effects.index(test.effect)]
            arrays["low"][:, t, 0] = np.where(tested, np.where(rejected, TINY, 0.0), np.nan)
            arrays["high"][:, t, 0] = np.where(tested, np.inf, np.nan)
        return Estimates(outcome=found.outcome, singular=found.singular, intervals=found.intervals, **arrays)


def _shapes(found: Estimates) -> dict[str, tuple[int, ...]]:
    """Shape of what one term has."""
    r, kinds = len(found), len(found.intervals)
    return {"estimate": (r,), "std_error": (r,), "low": (r, kinds), "high": (r, kinds)}
