"""What envelopes look at: standardised residuals or random effects, of the data and of outcomes from the model.

Every source gives the same named values for any outcome: of the data and of outcomes drawn from the model at its
estimates, so that whatever shrinkage, leverage and unequal cluster sizes do to them is in both.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri

from crosslevel.diagnostics.generalized.simulator import FEWEST, Simulator
from crosslevel.diagnostics.residuals.linear import NOTHING
from crosslevel.errors import ConvergenceWarning
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.inference.at_estimates import AtEstimates, Refitted
from crosslevel.inference.bootstrap.rows import ModelRows
from crosslevel.inference.effect_spread import mode_covariances, standardised_modes
from crosslevel.inference.hat_values import fitted_variances, residual_variances
from crosslevel.types import FloatArray

EDGE = 1e-12
"""Quantile residuals are kept from 0 and 1 by this, where normal scores are infinite."""

BATCH = 20
"""Outcomes drawn at a time."""

RESIDUALS = "residuals"
"""Name of the residuals of rows among the values."""

Values = dict[str, FloatArray]
"""Standardised values by what they are of; NaN where one is not defined."""


class Source(ABC):
    """Standardised values of any outcome of a model."""

    @abstractmethod
    def observed(self) -> Values:
        """Of the data."""

    @abstractmethod
    def drawn(self, rng: np.random.Generator, n: int) -> Iterator[Values]:
        """Of n outcomes drawn from the model."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scale:
    """What values of a linear mixed model are divided by.

    Attributes
    ----------
    residual : (n,) standard deviations of whitened residuals over sigma; NaN where they are fitted exactly.
    covariances : for each factor (J, q, q) of its modes.
    variances : for each factor (q,) of its random effects.
    """

    residual: FloatArray = field(repr=False)
    covariances: tuple[FloatArray, ...] = field(repr=False)
    variances: tuple[FloatArray, ...]

    @classmethod
    def of(cls, fit: MixedFit) -> "Scale":
        """From the equations of the model."""
        design, solution = fit.design, fit.solution
        total = fit.sigma**2 * residual_variances(design, solution)
        left = 1.0 - fitted_variances(design, solution) / total
        return cls(
            residual=np.sqrt(np.where(left > NOTHING, left, np.nan)),
            covariances=mode_covariances(design, solution),
            variances=tuple(np.diag(part.covariance) for part in fit.variance_components),
        )

    def values(self, fit: MixedFit, found: Refitted, *, effects: bool) -> Values:
        """Standardised residuals, or random effects by their names."""
        if not effects:
            return {RESIDUALS: found.residuals / self.residual}
        out: Values = {}
        parts = zip(fit.design.factors, found.modes, self.covariances, self.variances, strict=True)
        for factor, modes, covariances, variances in parts:
            standard = standardised_modes(modes, covariances, variances)
            out |= {f"{name} of {factor.name}": standard[:, k] for k, name in enumerate(fit.design.effects_of(factor))}
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearSource(Source):
    """A linear mixed model.

    Attributes
    ----------
    fit : the model.
    effects : whether random effects are looked at, or residuals.
    refit : whether variances are estimated anew from each outcome that is drawn.
    """

    fit: MixedFit
    effects: bool
    refit: bool

    def observed(self) -> Values:
        """Of the data."""
        outcome = self.fit.augment().iloc[:, 0].to_numpy()
        found = AtEstimates.of(self.fit.design, self.fit.solution).refitted(outcome - self._offset)
        return Scale.of(self.fit).values(self.fit, found, effects=self.effects)

    def drawn(self, rng: np.random.Generator, n: int) -> Iterator[Values]:
        """Of outcomes from the model, at its estimates or refitted."""
        model, scale = AtEstimates.of(self.fit.design, self.fit.solution), Scale.of(self.fit)
        for start in range(0, n, BATCH):
            outcomes = self.fit.simulate(seed=rng, n=min(BATCH, n - start)).to_numpy()
            for y in outcomes.T:
                if self.refit:
                    again = refitted(self.fit, y)
                    assert isinstance(again, MixedFit)
                    yield LinearSource(fit=again, effects=self.effects, refit=False).observed()
                else:
                    yield scale.values(self.fit, model.refitted(y - self._offset), effects=self.effects)

    @property
    def _offset(self) -> FloatArray | float:
        """What is subtracted from outcomes."""
        return 0.0 if self.fit.design.offset is None else self.fit.design.offset


@dataclass(frozen=True, kw_only=True, eq=False)
class OrdinarySource(Source):
    """A linear regression, whose standardised residuals do not depend on its coefficients nor on sigma."""

    fit: OLSFit

    def observed(self) -> Values:
        """Of the data."""
        return {RESIDUALS: self._standardised(self.fit.augment()["resid"].to_numpy() / self.fit.sigma * self._root)}

    def drawn(self, rng: np.random.Generator, n: int) -> Iterator[Values]:
        """Of outcomes from the model."""
        basis = self._basis
        for _ in range(n):
            errors = rng.standard_normal(len(basis))
            yield {RESIDUALS: self._standardised(errors - basis @ (basis.T @ errors))}

    def _standardised(self, whitened: FloatArray) -> FloatArray:
        """Whitened residuals over their standard deviations."""
        left = 1.0 - np.sum(self._basis**2, axis=1)
        return whitened / np.sqrt(np.where(left > NOTHING, left, np.nan))

    @property
    def _root(self) -> FloatArray | float:
        """Square roots of precision weights."""
        weights = self.fit.design.weights
        return 1.0 if weights is None or weights.rows is None else np.sqrt(weights.rows)

    @property
    def _basis(self) -> FloatArray:
        """(n, p) orthonormal columns that span X."""
        return np.linalg.qr((ModelRows.of(self.fit.design).x * self._root).T)[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneralizedSource(Source):
    """A model of another family: quantile residuals at the modes, and modes over what their spread is in the data.

    Attributes
    ----------
    fit, effects, refit : as of a linear model.
    rng : breaks ties of the data.
    """

    fit: GeneralizedFit
    effects: bool
    refit: bool
    rng: np.random.Generator

    def observed(self) -> Values:
        """Of the data."""
        model = self._model
        return self._values(model, model.state, model.y, self.rng)

    def drawn(self, rng: np.random.Generator, n: int) -> Iterator[Values]:
        """Of outcomes from the model, the modes being found for each."""
        model = self._model
        for y in model.outcomes(rng, n):
            in_order = model.draws.rows.in_data_order(y)
            if self.refit:
                again = refitted(self.fit, in_order)
                assert isinstance(again, GeneralizedFit)
                yield GeneralizedSource(fit=again, effects=self.effects, refit=False, rng=rng).observed()
            else:
                criterion = model.criterion.with_rows(model.draws.rows.with_response(in_order))
                yield self._values(model, criterion.value(model.state.parameters, near=model.state), y, rng)

    @property
    def _model(self) -> Simulator:
        return Simulator.of(self.fit, what="envelope", n=FEWEST)

    def _values(self, model: Simulator, state: object, y: FloatArray, rng: np.random.Generator) -> Values:
        """Standardised values at a state of the likelihood."""
        eta: FloatArray = state.eta  # type: ignore[attr-defined]
        if not self.effects:
            below, at_most = model.family.cdf(y, eta, model.size, model.shape)
            quantile = below + rng.random(len(y)) * (at_most - below)
            scores = np.asarray(ndtri(np.clip(quantile, EDGE, 1.0 - EDGE)))
            return {RESIDUALS: model.draws.rows.in_data_order(scores)}
        out: Values = {}
        found = zip(self.fit.design.factors, model.criterion.modes(state), model.draws.rows.bases, strict=True)
        for k, (factor, modes, basis) in enumerate(found):
            psi, given = self.fit.variance_components[k].covariance, self.fit._modes[k][1]
            standard = standardised_modes(modes @ np.linalg.inv(basis).T, psi - given, np.diag(psi))
            out |= {
                f"{name} of {factor.name}": standard[:, a] for a, name in enumerate(self.fit.design.effects_of(factor))
            }
        return out


def refitted(fit: "MixedFit | GeneralizedFit", y: FloatArray) -> "MixedFit | GeneralizedFit":
    """The model fitted to another outcome; that a search ended early shows in its values, not in a warning each."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always", ConvergenceWarning)
        return fit.refit(y)
