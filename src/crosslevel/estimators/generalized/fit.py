"""What a fitted generalized linear mixed model answers. Every method delegates."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.design.outcome import Outcome
from crosslevel.display import Document
from crosslevel.estimators.fitted_mixed import FittedMixed
from crosslevel.estimators.generalized import (
    coefficients,
    components,
    explained,
    predictions,
    refused,
    rows,
    tables,
)
from crosslevel.estimators.generalized import ratios as ratio_tables
from crosslevel.estimators.generalized.export import as_record
from crosslevel.estimators.generalized.notes import notes_on
from crosslevel.estimators.generalized.profiling import profile
from crosslevel.estimators.generalized.random_tests import random_effects_test
from crosslevel.estimators.generalized.resampling import bootstrap
from crosslevel.estimators.generalized.robust import robust
from crosslevel.estimators.generalized.words import heading
from crosslevel.families import Family
from crosslevel.inference.estimates import Estimates
from crosslevel.inference.generalized.estimands import Estimands
from crosslevel.inference.varcomp import VarianceComponents
from crosslevel.solve.generalized.solution import GeneralizedSolution, Quadrature
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneralizedFit(FittedMixed):
    """A fitted generalized linear mixed model.

    Attributes
    ----------
    formula, data, given : as given to `mixed`: the formula, the frame, and all other arguments by name.
    design : columns, clusters and outcome of the model.
    solution : estimates and how the search for them ended.
    """

    solution: GeneralizedSolution = field(repr=False)

    # -- what was fitted ------------------------------------------------------------------------------------------
    @property
    def family(self) -> Family:
        """Distribution and link of the outcome."""
        return self.solution.criterion.rows.family

    @property
    def outcome(self) -> Outcome:
        """The outcome as the family reads it."""
        assert self.design.outcome is not None
        return self.design.outcome

    @property
    def method(self) -> str:
        """Maximum likelihood, "ml": there is no restricted likelihood."""
        return "ml"

    @property
    def quadrature(self) -> Quadrature:
        """How the random effects were integrated out, and how far the Laplace approximation is from that."""
        return self.solution.quadrature

    @property
    def estimator(self) -> str:
        """The estimator in a few words, as heading of a column."""
        return f"Mixed model, {heading(self)}"

    @property
    def ddf(self) -> str:
        """How degrees of freedom are counted: as asked for; "auto" is "normal"."""
        return coefficients.method_name(str(self.given["ddf"]))

    @cached_property
    def estimates(self) -> Estimates:
        """What methods of inference look at: all coefficients, an intercept that thresholds stand for included."""
        return coefficients.estimates_of(self.design, self.solution)

    @cached_property
    def estimands(self) -> Estimands:
        """All that is estimated, as functions of the working parameters."""
        categories = tuple(map(str, self.outcome.categories or ()))
        return Estimands.of(self.design, self.solution.criterion.rows, categories)

    # -- fixed effects --------------------------------------------------------------------------------------------
    @cached_property
    def terms(self) -> IntArray:
        """Positions of the coefficients that are told: all, or all but the intercept that thresholds stand for."""
        out = np.flatnonzero(self.estimands.slopes)
        out.setflags(write=False)
        return out

    @cached_property
    def term_names(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        names = self.design.fixed_names
        return tuple(names[j] for j in self.terms)

    @cached_property
    def _term_index(self) -> pd.Index:
        """The same as index: pandas makes one slowly."""
        return pd.Index(self.term_names, name="term")

    @property
    def params(self) -> pd.Series:
        """Coefficients, in units of the linear predictor."""
        return self._by_term(self.solution.beta[self.terms], "estimate")

    @property
    def bse(self) -> pd.Series:
        """Standard errors of the coefficients, from the observed information on all parameters."""
        return self._by_term(np.sqrt(np.diag(self.solution.vcov)[self.terms]), "std_error")

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the coefficients."""
        names = self._term_index.view()
        return pd.DataFrame(self.solution.vcov[np.ix_(self.terms, self.terms)], index=names, columns=names)

    tests = coefficients.coefficient_tests
    tidy = coefficients.tidy
    conf_int = coefficients.conf_int
    anova = coefficients.anova
    contrast = coefficients.contrast
    ratios = ratio_tables.ratios
    odds_ratios = ratio_tables.odds_ratios
    rate_ratios = ratio_tables.rate_ratios
    thresholds = coefficients.thresholds
    shape_parameters = coefficients.shape_parameters

    robust = robust

    @property
    def shape(self) -> pd.Series:
        """Shape parameters that are no thresholds, such as a dispersion, by name."""
        return self.shape_parameters()["estimate"]

    # -- random effects -------------------------------------------------------------------------------------------
    @cached_property
    def variance_components(self) -> tuple[VarianceComponents, ...]:
        """Variance components of each grouping factor with their sampling covariance."""
        return components.variance_components(self.solution)

    varcomp = components.varcomp
    reliability = components.reliability
    rank_re = components.rank_re
    test_random = random_effects_test
    profile = profile

    icc = explained.icc
    r2 = explained.r2
    median_ratio = ratio_tables.median_ratio
    median_odds_ratio = ratio_tables.median_odds_ratio
    interval_ratios = ratio_tables.interval_ratios
    interval_odds_ratios = ratio_tables.interval_odds_ratios

    # -- fit ------------------------------------------------------------------------------------------------------
    @property
    def n_params(self) -> int:
        """Coefficients, covariance parameters, and shape parameters or thresholds."""
        return len(self.solution.joint)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What deserves a second look, in words, with what to do."""
        return notes_on(self.design, self.solution)

    def glance(self) -> pd.DataFrame:
        """The fit in one row."""
        return tables.glance(self)

    def to_dict(self, *, level: float = 0.95) -> dict[str, Any]:
        """Every number of the fit as plain values, ready for JSON; what has no value is None."""
        return as_record(self, level=level)

    # -- rows -----------------------------------------------------------------------------------------------------
    @property
    def fitted(self) -> "pd.Series | pd.DataFrame":
        """Expected outcomes at the conditional modes: probabilities, means; of ordered categories a frame."""
        return rows.fitted(self)

    @property
    def resid(self) -> pd.Series:
        """Outcome (the share of successes, where there are trials) minus fitted values."""
        return rows.residuals(self)

    def augment(self) -> pd.DataFrame:
        """The rows used: outcome, clusters, linear predictor, fitted values, and residuals where they are defined."""
        return rows.augment(self)

    predict = predictions.predict
    simulate = predictions.simulate
    bootstrap = bootstrap

    # -- other models ---------------------------------------------------------------------------------------------
    def refit(self, y: "FloatArray | pd.Series") -> "GeneralizedFit":
        """Fit the same model to another outcome, one value for each row used: of trials the number of successes."""
        from crosslevel.estimators.generalized.fitting import fit_generalized

        design = self.design.with_response(rows.numbered(self, y))
        return fit_generalized(self.formula, self.data, self.given, design)

    # -- what belongs to linear models ----------------------------------------------------------------------------
    sigma = refused.sigma
    resid_normalised = refused.resid_normalised
    residual_parameters = refused.residual_parameters
    test_residual_homogeneity = refused.test_residual_homogeneity
    heterogeneity = refused.heterogeneity
    design_effect = refused.design_effect
    variance_shares = refused.variance_shares

    # -- words ----------------------------------------------------------------------------------------------------
    def summary(self, *, level: float = 0.95) -> Document:
        """What was fitted and found, to print or to show in a notebook, with intervals of a confidence level."""
        from crosslevel.estimators.generalized.summary import summarise

        return summarise(self, level=level)

    @cached_property
    def _modes(self) -> tuple[tuple[FloatArray, FloatArray], ...]:
        """Conditional modes and their covariances, by factor, in the units of the data."""
        return components.conditional_modes(self.solution)

    def _by_term(self, values: FloatArray, name: str) -> pd.Series:
        """A Series by coefficient."""
        # a view, so that nobody who renames the index renames that of others
        return pd.Series(values, index=self._term_index.view(), name=name)
