"""What solved generalized estimating equations answer. Every method delegates."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from crosslevel.design.outcome import Outcome
from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.changed_call import changed_call
from crosslevel.estimators.design_regression import DesignRegression
from crosslevel.estimators.responses import gee_rows
from crosslevel.estimators.responses.gee_solve import ERRORS, GEESolution
from crosslevel.estimators.robust_fit import ContrastTest, contrast_test
from crosslevel.families import Family
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.contrasts import Contrasts
from crosslevel.inference.generalized.ratios import exponentiated
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.types import FloatArray, Frame, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class GEEFit(DesignRegression):
    """Solved generalized estimating equations.

    Attributes
    ----------
    formula, data, given : as given to `gee`: the formula, the frame, and all other arguments by name.
    design : columns of the model and its outcome.
    groups : the groups within which rows are correlated.
    solved : estimates.
    uneven : whether times of some group are not equally spaced.
    eta : (n,) linear predictor.
    """

    groups: Clustering = field(repr=False)
    solved: GEESolution = field(repr=False)
    uneven: bool
    eta: FloatArray = field(repr=False)

    # -- what was fitted ------------------------------------------------------------------------------------------
    @property
    def family(self) -> Family:
        """Distribution and link of the outcome; of the distribution only how the variance follows the mean."""
        family: Family = self.given["family"]
        return family

    @property
    def outcome(self) -> Outcome:
        """The outcome as the family reads it."""
        assert self.design.outcome is not None
        return self.design.outcome

    @property
    def nobs(self) -> int:
        """Rows used."""
        return self.design.nobs

    @property
    def ngroups(self) -> dict[str, int]:
        """Groups."""
        return {self.groups.name: self.groups.n_clusters}

    # -- coefficients ---------------------------------------------------------------------------------------------
    @property
    def columns(self) -> IntArray:
        """(p,) positions among the design's columns of those that have coefficients."""
        return self.design.x

    @property
    def estimator(self) -> str:
        """The estimator in a few words."""
        other = "" if self.given["vcov"] == "robust" else f", {self.given['vcov']} SE"
        return f"GEE ({self.family.description}), {self.given['correlation']} within {self.groups.name}{other}"

    @property
    def beta(self) -> FloatArray:
        """(p,) coefficients."""
        return self.solved.beta

    def tests(self, vcov: str | None = None, *, level: float = 0.95) -> pd.DataFrame:
        """Coefficient table; t tests on groups - coefficients degrees of freedom (Li & Redden 2015).

        Parameters
        ----------
        vcov : as in `gee`; None for that of the fit.
        level : confidence level.
        """
        return self._tested(self.covariance_by(vcov), level)

    def contrast(self, contrasts: Contrasts, *, level: float = 0.95) -> ContrastTest:
        """Test combinations of coefficients jointly; see `contrast` of a linear regression (`cl.ols`)."""
        return contrast_test(self.covariance_by(), self.coefficients, self.beta, contrasts, "F", level)

    def ratios(self, *, level: float = 0.95) -> pd.DataFrame:
        """Exponentials of the coefficients: odds ratios of a logit, ratios of means with a log link."""
        return exponentiated(self.tidy(level=level))

    def covariance_by(self, vcov: str | None = None) -> OrdinaryCovariance:
        """Covariance of the coefficients by its name; None for that of the fit.

        Raises
        ------
        CrosslevelError : no such covariance.
        """
        name = self.given["vcov"] if vcov is None else vcov
        if name not in ERRORS:
            raise CrosslevelError(f"`vcov` is one of {', '.join(map(repr, ERRORS))}; got {name!r}.")
        df = float(self.groups.n_clusters - len(self.beta))
        known = self.solved.covariances
        matrix = known[name] if name in known else self.update(vcov=name).solved.covariances[name]
        return OrdinaryCovariance(name=name, description=ERRORS[name], matrix=matrix, df_residual=df)

    # -- fit ------------------------------------------------------------------------------------------------------
    @property
    def correlation(self) -> float:
        """The working correlation of two rows of a group, or of two that follow each other (AR1)."""
        return self.solved.correlation

    @property
    def dispersion(self) -> float:
        """Pearson's chi-square over rows - coefficients."""
        return gee_rows.dispersion(self)

    @property
    def qic(self) -> float:
        """Quasi-likelihood information criterion (Pan 2001): less is better, between correlations and predictors."""
        return self.solved.qic

    @property
    def deviance(self) -> float:
        """Refused: estimating equations maximise no likelihood.

        Raises
        ------
        CrosslevelError : always; the message says what to use.
        """
        raise CrosslevelError(
            "GEE solves estimating equations and maximises no likelihood, so that there is no deviance and no AIC. "
            "Compare by fit.qic, or fit cl.mixed(..., family=), which has a likelihood."
        )

    @property
    def n_params(self) -> int:
        """Refused, as `deviance` is: parameters are counted of a likelihood."""
        return int(self.deviance)

    @property
    def converged(self) -> bool:
        """Whether the equations are solved."""
        return self.solved.converged

    @property
    def status(self) -> str:
        """How the estimates were found, in a sentence."""
        if self.converged:
            return "Converged: the estimating equations are solved."
        return "Not converged: the largest number of steps was reached. Use correlation='independence', or cl.mixed."

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What deserves a second look, in words, with what to do."""
        return gee_rows.notes_on(self)

    def glance(self) -> pd.DataFrame:
        """The fit in one row."""
        return gee_rows.glance(self)

    # -- rows -----------------------------------------------------------------------------------------------------
    def augment(self) -> pd.DataFrame:
        """The rows used: outcome, group, fitted values, residuals."""
        return gee_rows.augment(self)

    def predict(
        self, new: Frame | None = None, *, scale: str = "response", se: bool = False, level: float = 0.95
    ) -> pd.Series | pd.DataFrame:
        """Predicted means or linear predictors of the rows used or of new data.

        Parameters
        ----------
        new : any frame with the predictors; None for the rows used.
        scale : "response" or "link".
        se : whether to give standard errors and intervals, made on the link's scale and carried over.
        level : confidence level.
        """
        return gee_rows.predicted(self, new, scale=scale, se=se, level=level)

    # -- other models ---------------------------------------------------------------------------------------------
    def update(self, formula: str | None = None, **changes: Any) -> "GEEFit":
        """Fit with a changed formula ("~ . + x") or other arguments of `gee`."""
        from crosslevel.estimators.responses.gee import gee

        text, data, given = changed_call(self.formula, self.data, self.given, formula, changes)
        return gee(text, data, **given)

    # -- words ----------------------------------------------------------------------------------------------------
    def summary(self, *, level: float = 0.95) -> Document:
        """What was fitted and found, to print or to show in a notebook, with intervals of a confidence level."""
        from crosslevel.estimators.responses.gee_summary import summarise

        return summarise(self, level=level)
