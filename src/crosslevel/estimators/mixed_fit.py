"""What a fitted linear mixed model answers. Every method delegates."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.design import slopes_explained
from crosslevel.design.factors import GroupingFactor
from crosslevel.display import Document
from crosslevel.estimators import rows as by_row
from crosslevel.estimators import tables
from crosslevel.estimators.asked import explained, fixed, new_rows, random_tests, variances
from crosslevel.estimators.asked.bootstrap import bootstrap
from crosslevel.estimators.asked.profile import profile
from crosslevel.estimators.asked.robust import robust
from crosslevel.estimators.export import as_record
from crosslevel.estimators.fitted_mixed import FittedMixed
from crosslevel.estimators.normalised import normalised
from crosslevel.estimators.notes import notes_on
from crosslevel.inference.df import AUTO, suited_method
from crosslevel.inference.estimates import Estimates
from crosslevel.inference.varcomp import VarianceComponents, variance_components
from crosslevel.solve import Solution, conditional_modes, deviance_at
from crosslevel.types import FloatArray, Method


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedFit(FittedMixed):
    """A fitted linear mixed model.

    Attributes
    ----------
    formula, data, given : as given to `mixed`: the formula, the frame, and all other arguments by name.
    design : columns, clusters and cross-products of the model.
    solution : estimates and how the search for them ended.
    """

    solution: Solution = field(repr=False)

    # -- what was fitted ------------------------------------------------------------------------------------------
    @property
    def method(self) -> Method:
        """Which likelihood is maximised, "reml" or "ml"."""
        method: Method = self.given["method"]
        return method

    @property
    def estimator(self) -> str:
        """The estimator in a few words, as heading of a column."""
        return f"Mixed model, {self.method.upper()}"

    @cached_property
    def ddf(self) -> str:
        """How degrees of freedom are counted: as asked for, or as suits the model."""
        asked = str(self.given["ddf"])
        return suited_method(self.estimates) if asked == AUTO else asked

    @cached_property
    def estimates(self) -> Estimates:
        """What methods of inference look at."""
        return Estimates(design=self.design, solution=self.solution, reml=self.method == "reml")

    @cached_property
    def slope_of(self) -> tuple[int, ...]:
        """For each coefficient the random effect (by position) that it explains as a cross-level interaction, or -1."""
        found = slopes_explained(self.design) if self.design.factors else [-1] * len(self.design.x)
        return tuple(int(k) for k in found)

    # -- fixed effects --------------------------------------------------------------------------------------------
    @property
    def params(self) -> pd.Series:
        """Coefficients."""
        return self._by_term(self.solution.beta, "estimate")

    @property
    def bse(self) -> pd.Series:
        """Standard errors of the coefficients."""
        return self._by_term(np.sqrt(np.diag(self.solution.vcov)), "std_error")

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the coefficients."""
        names = pd.Index(self.design.fixed_names, name="term")
        return pd.DataFrame(self.solution.vcov, index=names, columns=names)

    tests = fixed.coefficient_tests
    tidy = fixed.tidy
    conf_int = fixed.conf_int
    anova = fixed.anova
    contrast = fixed.contrast

    robust = robust

    # -- random effects -------------------------------------------------------------------------------------------
    @property
    def sigma(self) -> float:
        """Residual standard deviation."""
        return self.solution.sigma

    @cached_property
    def variance_components(self) -> tuple[VarianceComponents, ...]:
        """Variance components of each grouping factor with their sampling covariance."""
        return variance_components(self.solution)

    varcomp = variances.varcomp
    residual_parameters = variances.residual_parameters
    reliability = variances.reliability
    icc = variances.icc
    variance_shares = variances.variance_shares
    r2 = explained.r2
    design_effect = explained.design_effect
    heterogeneity = explained.heterogeneity
    test_random = random_tests.random_effects_test
    rank_re = random_tests.rank_re
    test_residual_homogeneity = variances.residual_homogeneity_test
    profile = profile

    # -- fit ------------------------------------------------------------------------------------------------------
    @property
    def n_params(self) -> int:
        """Coefficients, covariance parameters, those of the residual structure, and sigma unless it is known."""
        estimated = self.solution.criterion.sigma is None
        return len(self.solution.beta) + len(self.theta) + len(self.solution.phi) + estimated

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What deserves a second look, in words, with what to do."""
        return notes_on(self.design, self.solution)

    def criterion_at(self, theta: FloatArray) -> float:
        """Deviance (restricted if method is "reml") at any relative covariance parameters, in the order of `theta`.

        Coefficients and sigma are the best for these.
        """
        return deviance_at(self.solution, np.asarray(theta, dtype=np.float64))

    def glance(self) -> pd.DataFrame:
        """The fit in one row."""
        return tables.glance(self)

    def to_dict(self, *, level: float = 0.95) -> dict[str, Any]:
        """Every number of the fit as plain values, ready for JSON; what has no value is None."""
        return as_record(self, level=level)

    # -- rows -----------------------------------------------------------------------------------------------------
    @property
    def fitted(self) -> pd.Series:
        """Fitted values, random effects included."""
        return self.augment()["fitted"]

    @property
    def resid(self) -> pd.Series:
        """Outcome minus fitted values."""
        return self.augment()["resid"]

    @property
    def resid_normalised(self) -> pd.Series:
        """Residuals over their standard deviation, freed of their correlations: nearly independent N(0, 1)."""
        values = normalised(self.design, self.solution, self.resid.to_numpy())
        return pd.Series(values, index=self.resid.index, name="resid_normalised")

    def augment(self) -> pd.DataFrame:
        """The rows used: outcome, cluster, fitted values, residuals, and the fixed part's prediction."""
        return by_row.augment(self.design, self.solution.beta, self._effects)

    predict = new_rows.predict
    simulate = new_rows.simulate
    bootstrap = bootstrap

    # -- other models ---------------------------------------------------------------------------------------------
    def refit(self, y: FloatArray | pd.Series) -> "MixedFit":
        """Fit the same model to another outcome, one value for each row used."""
        from crosslevel.estimators.mixed import fit_design

        return fit_design(self.formula, self.data, self.given, self.design.with_response(np.asarray(y)))

    # -- words ----------------------------------------------------------------------------------------------------
    def summary(self, *, level: float = 0.95) -> Document:
        """What was fitted and found, to print or to show in a notebook, with intervals of a confidence level."""
        from crosslevel.estimators.summary import summarise

        return summarise(self, level=level)

    @cached_property
    def _modes(self) -> tuple[tuple[FloatArray, FloatArray], ...]:
        """Conditional modes and their covariances, by factor."""
        return conditional_modes(self.solution)

    @property
    def _effects(self) -> tuple[tuple[GroupingFactor, FloatArray], ...]:
        """The grouping factors with their conditional modes."""
        return tuple((factor, modes) for factor, (modes, _) in zip(self.design.factors, self._modes, strict=True))

    def _by_term(self, values: FloatArray, name: str) -> pd.Series:
        """A Series by coefficient."""
        return pd.Series(values, index=pd.Index(self.design.fixed_names, name="term"), name=name)
