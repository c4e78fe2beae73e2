"""What every regression answers in the same way: coefficients, standard errors, t tests, intervals, words."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import pandas as pd

from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.robust_fit import ContrastCovariance
from crosslevel.inference.wald import coefficient_table
from crosslevel.types import FloatArray


class Regression(ABC):
    """Coefficients beta (p,) with a covariance matrix and t tests.

    A final class gives the abstract members; nothing else is overridden.
    """

    formula: str

    # -- what a final class gives ---------------------------------------------------------------------------------
    @property
    @abstractmethod
    def estimator(self) -> str:
        """The estimator in a few words, as heading of a column: "OLS, CR2 by school"."""

    @property
    @abstractmethod
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients."""

    @property
    @abstractmethod
    def beta(self) -> FloatArray:
        """(p,) coefficients."""

    @property
    @abstractmethod
    def beta_vcov(self) -> FloatArray:
        """(p, p) their covariance."""

    @property
    @abstractmethod
    def nobs(self) -> int:
        """Rows used."""

    @property
    @abstractmethod
    def ngroups(self) -> dict[str, int]:
        """Clusters by name of the grouping; empty without."""

    @property
    @abstractmethod
    def deviance(self) -> float:
        """-2 log-likelihood, or an error that says why there is none."""

    @property
    @abstractmethod
    def n_params(self) -> int:
        """Parameters of the likelihood."""

    @property
    @abstractmethod
    def converged(self) -> bool:
        """Whether a search ended at an optimum; always, where nothing is searched for."""

    @abstractmethod
    def tests(self, vcov: str | None = None, *, level: float = 0.95) -> pd.DataFrame:
        """Coefficient table: estimate, std_error, df, statistic, p_value, conf_low, conf_high by term."""

    @abstractmethod
    def summary(self, *, level: float = 0.95) -> Document:
        """What was fitted and found, to print or to show in a notebook."""

    @abstractmethod
    def augment(self) -> pd.DataFrame:
        """The rows used, with the columns "fitted" and "resid"."""

    # -- what follows ---------------------------------------------------------------------------------------------
    @property
    def params(self) -> pd.Series:
        """Coefficients."""
        return self._by_term({"estimate": self.beta})["estimate"]

    @property
    def bse(self) -> pd.Series:
        """Standard errors of the coefficients."""
        return self.tests()["std_error"]

    @property
    def df(self) -> pd.Series:
        """Degrees of freedom of the coefficients' t statistics."""
        return self.tests()["df"]

    @property
    def tvalues(self) -> pd.Series:
        """Coefficients divided by their standard errors."""
        return self.tests()["statistic"]

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p-values of the coefficients."""
        return self.tests()["p_value"]

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the coefficients."""
        names = pd.Index(self.terms, name="term")
        return pd.DataFrame(self.beta_vcov, index=names, columns=names)

    def tidy(self, *, level: float = 0.95) -> pd.DataFrame:
        """Coefficient table: estimate, std_error, df, statistic, p_value, conf_low, conf_high by term."""
        return self.tests(level=level)

    def conf_int(self, level: float = 0.95, method: str | None = None) -> pd.DataFrame:
        """Confidence intervals of the coefficients; `method` names the covariance.

        Raises
        ------
        CrosslevelError : no covariance of that name.
        """
        try:
            table = self.tests(method, level=level)
        except CrosslevelError as error:  # `tests` calls it `vcov`
            raise type(error)(str(error).replace("`vcov`", "`method`")) from None
        return table[["conf_low", "conf_high"]]

    @property
    def loglik(self) -> float:
        """Log-likelihood at its maximum."""
        return -0.5 * self.deviance

    @property
    def aic(self) -> float:
        """Deviance + 2 parameters."""
        return self.deviance + 2.0 * self.n_params

    @property
    def bic(self) -> float:
        """Deviance + log(rows) parameters."""
        return self.deviance + math.log(self.nobs) * self.n_params

    @property
    def fitted(self) -> pd.Series:
        """Fitted values."""
        return self.augment()["fitted"]

    @property
    def resid(self) -> pd.Series:
        """Outcome minus fitted values."""
        return self.augment()["resid"]

    def __str__(self) -> str:
        return str(self.summary())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        return self.summary()._repr_html_()

    def _tested(self, covariance: ContrastCovariance, level: float) -> pd.DataFrame:
        """The coefficient table by a covariance: its standard errors and degrees of freedom."""
        each = np.eye(len(self.beta))
        return coefficient_table(self.terms, self.beta, covariance.std_error(each), covariance.df(each), level=level)

    def _by_term(self, columns: Mapping[str, FloatArray]) -> pd.DataFrame:
        """A frame by coefficient."""
        return pd.DataFrame(dict(columns), index=pd.Index(self.terms, name="term"))
