"""What every fitted mixed model answers, whatever the distribution of its outcome."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.design.rows import RowCount
from crosslevel.display import Document
from crosslevel.estimators import random
from crosslevel.estimators.changed_call import changed_call
from crosslevel.estimators.written.asked import equation
from crosslevel.formula import Spec
from crosslevel.inference.equations import Equations
from crosslevel.inference.estimates import Estimates
from crosslevel.inference.varcomp import VarianceComponents
from crosslevel.optimise import Status
from crosslevel.types import FloatArray, Frame


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedMixed(ABC):
    """A fitted mixed model: `MixedFit` of a linear one, `GeneralizedFit` of other families.

    Attributes
    ----------
    formula, data, given : as given to `mixed`: the formula, the frame, and all other arguments by name.
    design : columns and clusters of the model.
    solution : estimates and how the search for them ended.
    """

    formula: str
    data: Frame = field(repr=False)
    given: Mapping[str, Any]
    design: Design = field(repr=False)
    solution: Any = field(repr=False)

    # -- what was fitted ------------------------------------------------------------------------------------------
    @property
    @abstractmethod
    def method(self) -> str:
        """Which likelihood is maximised, "reml" or "ml"."""

    @property
    @abstractmethod
    def estimator(self) -> str:
        """The estimator in a few words, as heading of a column."""

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

    @property
    @abstractmethod
    def estimates(self) -> Estimates:
        """What methods of inference look at."""

    @property
    def equations(self) -> Equations:
        """Which level-2 equation each coefficient belongs to."""
        return self.estimates.equations

    # -- fixed effects --------------------------------------------------------------------------------------------
    @property
    @abstractmethod
    def params(self) -> pd.Series:
        """Coefficients."""

    @abstractmethod
    def tests(self) -> pd.DataFrame:
        """Coefficient table with the degrees of freedom, and the standard errors, of a method."""

    @abstractmethod
    def tidy(self) -> pd.DataFrame:
        """Coefficient table: estimate, std_error, df, statistic, p_value, conf_low, conf_high by term."""

    @property
    def df(self) -> pd.Series:
        """Degrees of freedom of the coefficients' statistics; infinite for z."""
        return self.tests()["df"]

    @property
    def tvalues(self) -> pd.Series:
        """Coefficients divided by their standard errors."""
        return self.tidy()["statistic"]

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p-values of the coefficients."""
        return self.tidy()["p_value"]

    # -- random effects -------------------------------------------------------------------------------------------
    @property
    def theta(self) -> FloatArray:
        """Covariance parameters: lower triangles of Lambda, block by block; none for known covariances."""
        theta: FloatArray = self.solution.theta
        return theta

    @property
    def cov_re(self) -> dict[str, pd.DataFrame]:
        """Covariance matrix of the random effects, by grouping factor."""
        return random.covariances(self.design, self.variance_components)

    @property
    @abstractmethod
    def variance_components(self) -> tuple[VarianceComponents, ...]:
        """Variance components of each grouping factor with their sampling covariance."""

    def ranef(self, se: bool = True) -> dict[str, pd.DataFrame]:
        """Conditional modes of the random effects by level; with `se`, their standard errors as "<term>_se".

        The standard errors are given the estimated variances, and normal approximations at the mode where the outcome
        is not normal.
        """
        return random.modes(self.design, self._modes, se=se)

    def coef(self) -> dict[str, pd.DataFrame]:
        """Coefficients of each level: fixed effects plus conditional modes."""
        return random.coefficients(self.design, self.params, self._modes)

    @property
    def is_singular(self) -> bool:
        """Whether a variance is zero or random effects are perfectly correlated."""
        return bool(self.solution.is_singular)

    # -- fit ------------------------------------------------------------------------------------------------------
    @property
    def deviance(self) -> float:
        """-2 log-likelihood with all its constants, restricted if `method` is "reml"."""
        return float(self.solution.deviance)

    @property
    def loglik(self) -> float:
        """Log-likelihood, restricted if `method` is "reml"."""
        return -0.5 * self.deviance

    @property
    @abstractmethod
    def n_params(self) -> int:
        """How many parameters were estimated."""

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
        return str(self.solution.status.value)

    @property
    def converged(self) -> bool:
        """Whether the gradient vanishes and no variance could usefully be added."""
        return self.solution.status is Status.CONVERGED

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """What deserves a second look, in words, with what to do."""

    # -- other models ---------------------------------------------------------------------------------------------
    def update(self, formula: str | None = None, **changes: Any) -> Any:
        """Fit with a changed formula ("~ . + x") or other arguments of `mixed`."""
        from crosslevel.estimators.mixed import mixed

        text, data, given = changed_call(self.formula, self.data, self.given, formula, changes)
        return mixed(text, data, **given)

    # -- words ----------------------------------------------------------------------------------------------------
    @abstractmethod
    def summary(self, *, level: float = 0.95) -> Document:
        """What was fitted and found, to print or to show in a notebook, with intervals of a confidence level."""

    equation = equation

    def __str__(self) -> str:
        return str(self.summary())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        return self.summary()._repr_html_()

    @cached_property
    @abstractmethod
    def _modes(self) -> tuple[tuple[FloatArray, FloatArray], ...]:
        """Conditional modes and their covariances, by factor, in the units of the data."""
