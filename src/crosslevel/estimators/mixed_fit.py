"""What a fitted linear mixed model answers. Every method delegates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.design import Design, slopes_explained
from crosslevel.design.factors import GroupingFactor
from crosslevel.design.rows import RowCount
from crosslevel.display import Document
from crosslevel.estimators import random, tables
from crosslevel.estimators import rows as by_row
from crosslevel.estimators.asked import explained, fixed, new_rows, random_tests, variances
from crosslevel.estimators.asked.bootstrap import bootstrap
from crosslevel.estimators.asked.profile import profile
from crosslevel.estimators.asked.robust import robust
from crosslevel.estimators.export import as_record
from crosslevel.estimators.normalised import normalised
from crosslevel.estimators.notes import notes_on
from crosslevel.formula import Spec, update
from crosslevel.inference.df import AUTO, suited_method
from crosslevel.inference.equations import Equations
from crosslevel.inference.estimates import Estimates
from crosslevel.inference.varcomp import VarianceComponents, variance_components
from crosslevel.optimise import Status
from crosslevel.solve import Solution, conditional_modes, deviance_at
from crosslevel.types import FloatArray, Frame, Method


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedFit:
    """A fitted linear mixed model.

    Attributes
    ----------
    formula, data, given : as given to `mixed`: the formula, the frame, and all other arguments by name.
    design : columns, clusters and cross-products of the model.
    solution : estimates and how the search for them ended.
    """

    formula: str
    data: Frame = field(repr=False)
    given: Mapping[str, Any]
    design: Design = field(repr=False)
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

    @property
    def spec(self) -> Spec:
        """The formula with what it remembers of the data."""
        return self.design.spec

    @property
    def rows(self) -> RowCount:
        """Rows read, used, and missing values by variable."""
        return self.design.rows

    @property
    def labels(self) -> Mapping[str, str]:
        """Variable labels of the data."""
        return self.design.columns.labels

    @property
    def group(self) -> str:
        """Name of the grouping factor, the first if there are several."""
        return self.design.group

    @property
    def nobs(self) -> int:
        """Rows used, each as often as its frequency says."""
        return self.design.nobs

    @property
    def ngroups(self) -> dict[str, int]:
        """Levels of each grouping factor."""
        return {factor.name: factor.n_levels for factor in self.design.factors}

    @property
    def group_sizes(self) -> pd.Series:
        """Rows of each level of the (first) grouping factor."""
        return self.sizes_of(self.group)

    def sizes_of(self, group: str | None = None) -> pd.Series:
        """Rows of each level of a grouping factor."""
        return random.sizes(self.design, self.design.factor_named(group))

    @cached_property
    def estimates(self) -> Estimates:
        """What methods of inference look at."""
        return Estimates(design=self.design, solution=self.solution, reml=self.method == "reml")

    @property
    def equations(self) -> Equations:
        """Which level-2 equation each coefficient belongs to."""
        return self.estimates.equations

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
    def df(self) -> pd.Series:
        """Degrees of freedom of the coefficients' t statistics."""
        return self.tests()["df"]

    @property
    def tvalues(self) -> pd.Series:
        """Coefficients divided by their standard errors."""
        return self.tidy()["statistic"]

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p-values of the coefficients."""
        return self.tidy()["p_value"]

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
    def theta(self) -> FloatArray:
        """Relative covariance parameters: lower triangles of Lambda, block by block; none for known covariances."""
        return self.solution.theta

    @property
    def sigma(self) -> float:
        """Residual standard deviation."""
        return self.solution.sigma

    @property
    def cov_re(self) -> dict[str, pd.DataFrame]:
        """Covariance matrix of the random effects, by grouping factor."""
        return random.covariances(self.design, self.variance_components)

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

    def ranef(self, se: bool = True) -> dict[str, pd.DataFrame]:
        """Conditional modes of the random effects by level; with `se`, their standard errors as "<term>_se"."""
        return random.modes(self.design, self._modes, se=se)

    def coef(self) -> dict[str, pd.DataFrame]:
        """Coefficients of each level: fixed effects plus conditional modes."""
        return random.coefficients(self.design, self.params, self._modes)

    @property
    def is_singular(self) -> bool:
        """Whether a variance is zero or random effects are perfectly correlated."""
        return self.solution.is_singular

    # -- fit ------------------------------------------------------------------------------------------------------
    @property
    def deviance(self) -> float:
        """-2 log-likelihood, restricted if method is "reml"."""
        return self.solution.deviance

    @property
    def loglik(self) -> float:
        """Log-likelihood, restricted if method is "reml"."""
        return -0.5 * self.solution.deviance

    @property
    def n_params(self) -> int:
        """Coefficients, covariance parameters, those of the residual structure, and sigma unless it is known."""
        estimated = self.solution.criterion.sigma is None
        return len(self.solution.beta) + len(self.theta) + len(self.solution.phi) + estimated

    @property
    def aic(self) -> float:
        """Deviance + 2 parameters."""
        return self.deviance + 2.0 * self.n_params

    @property
    def bic(self) -> float:
        """Deviance + log(rows) parameters."""
        return self.deviance + float(np.log(self.nobs)) * self.n_params

    @property
    def status(self) -> str:
        """How the search for the optimum ended, in a sentence."""
        return self.solution.status.value

    @property
    def converged(self) -> bool:
        """Whether the gradient vanishes and no variance could usefully be added."""
        return self.solution.status is Status.CONVERGED

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

    def update(self, formula: str | None = None, **changes: Any) -> "MixedFit":
        """Fit with a changed formula ("~ . + x") or other arguments of `mixed`; another family gives another result."""
        from crosslevel.estimators.mixed import mixed

        given = {**self.given, "data": self.data, **changes}
        text = self.formula if formula is None else update(self.formula, formula)
        fit: MixedFit = mixed(text, given.pop("data"), **given)
        return fit

    # -- words ----------------------------------------------------------------------------------------------------
    def summary(self, *, level: float = 0.95) -> Document:
        """What was fitted and found, to print or to show in a notebook, with intervals of a confidence level."""
        from crosslevel.estimators.summary import summarise

        return summarise(self, level=level)

    def __str__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        return self.summary()._repr_html_()

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
