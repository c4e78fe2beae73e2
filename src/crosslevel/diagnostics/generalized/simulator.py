"""Outcomes drawn from a fitted generalized model, and the random effects that would be found in each of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.simulation import refuse_weights
from crosslevel.families import Family, Ordinal
from crosslevel.inference.generalized.curves import CURVES
from crosslevel.inference.generalized.integrals import averaged
from crosslevel.inference.generalized.outcomes import OutcomeDraws
from crosslevel.likelihood.generalized import GeneralizedCriterion, GeneralizedState
from crosslevel.types import FloatArray

FEWEST = 20
"""Simulations below which no check says anything."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulator:
    """A model at its estimates; all arrays are in the order in which the likelihood holds the rows.

    Attributes
    ----------
    criterion : the Laplace approximation, whose modes are those of the fit.
    state : at the estimates.
    draws : makes outcomes with random effects drawn anew.
    """

    criterion: GeneralizedCriterion = field(repr=False)
    state: GeneralizedState = field(repr=False)
    draws: OutcomeDraws = field(repr=False)

    @classmethod
    def of(cls, fit: object, *, what: str, n: int) -> "Simulator":
        """Of a fit, for the check named `what` with n simulations.

        Raises
        ------
        CrosslevelError : no fit of a family, weights of rows that stand for several, too few simulations.
        """
        if not isinstance(fit, GeneralizedFit):
            raise CrosslevelError(
                f"`{what}` is for fits of cl.mixed with a family of counts, amounts, shares or categories; got "
                f"{type(fit).__name__}. Residuals of linear models are drawn by cl.plot.residual_qq(fit) and "
                "cl.plot.residual_fitted(fit)."
            )
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < FEWEST:
            raise CrosslevelError(f"`n` is the number of simulations, at least {FEWEST}; got {n!r}. 250 are usual.")
        refuse_weights(fit.design)
        criterion = fit.solution.criterion.with_nodes(1)
        parameters = fit.solution.parameters
        state = criterion.value(parameters)
        beta = parameters[criterion.layout.beta]
        draws = OutcomeDraws.of(criterion.rows, beta, tuple(state.factors), fit.solution.shape)
        return cls(criterion=criterion, state=state, draws=draws)

    @property
    def family(self) -> Family:
        """Distribution and link of the outcome."""
        return self.draws.rows.family

    @property
    def y(self) -> FloatArray:
        """Outcome (n,) of the data."""
        return self.draws.rows.y

    @property
    def size(self) -> FloatArray:
        """Trials (n,) of binomial outcomes, else 1."""
        return self.draws.rows.size

    @property
    def shape(self) -> FloatArray:
        """Natural shape parameters (m,)."""
        return self.draws.shape

    @property
    def is_single_trial(self) -> bool:
        """Whether each outcome is one answer of two."""
        return self.family.kind == "binary" and bool(np.all(self.size == 1.0))

    def outcomes(self, rng: np.random.Generator, n: int, *, conditional: bool = False) -> Iterator[FloatArray]:
        """Yield n outcomes (n rows,), with new random effects or at the modes of the data."""
        for _ in range(n):
            if conditional:
                yield self.family.draw(rng, self.state.eta, self.size, self.shape)
            else:
                yield self.draws.draw(rng)

    def predictor_of(self, y: FloatArray) -> FloatArray:
        """Linear predictor (n,) at the modes that belong to an outcome (n,), all parameters held."""
        again = self.criterion.with_rows(self.draws.rows.with_response(self._in_data_order(y)))
        return again.value(self.state.parameters, near=self.state).eta

    def _in_data_order(self, y: FloatArray) -> FloatArray:
        return self.draws.rows.in_data_order(y)

    def average_mean(self) -> FloatArray:
        """Mean outcome (n,) averaged over new random effects; of ordered categories the mean number."""
        return np.asarray(self.size * self.average_parts().sum(axis=0))

    def average_parts(self) -> FloatArray:
        """Mean outcome of one trial (1, n) averaged over new random effects.

        Of ordered categories (C - 1, n) the probabilities of an outcome above each but the last.
        """
        variance = self.predictor_variance()
        shifts = np.concatenate([[0.0], self.shape]) if isinstance(self.family, Ordinal) else np.zeros(1)
        curve = CURVES[self.family.link]
        return np.array([averaged(curve, self.draws.fixed - shift, variance, 1)[0] for shift in shifts])

    def predictor_variance(self) -> FloatArray:
        """Variance (n,) of the linear predictor over new random effects."""
        out = np.zeros(len(self.y))
        for term, factor in zip(self.draws.rows.terms, self.draws.factors, strict=True):
            own = np.sum((term.z @ factor) ** 2, axis=1)
            if term.members:
                own = own * sum(np.where(codes >= 0, 1.0 if share is None else share**2, 0.0)
                                for codes, share in term.members)  # fmt: skip
            out += own
        return out


def chance(observed: float, simulated: FloatArray) -> float:
    """Two-sided p-value of a statistic among its simulated values (n,): twice the smaller tail, itself included."""
    n = len(simulated) + 1.0
    above = (1.0 + np.count_nonzero(simulated >= observed)) / n
    below = (1.0 + np.count_nonzero(simulated <= observed)) / n
    return float(min(1.0, 2.0 * min(above, below)))
