"""What a fitted generalized linear model answers. Every method delegates."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from crosslevel.design.outcome import Outcome
from crosslevel.display import Document
from crosslevel.estimators import ordinary_rows
from crosslevel.estimators.asked.robust import cluster_names
from crosslevel.estimators.changed_call import changed_call
from crosslevel.estimators.design_regression import DesignRegression
from crosslevel.estimators.responses import glm_rows
from crosslevel.estimators.responses.glm_notes import notes_on, separation
from crosslevel.estimators.robust_fit import ContrastTest, contrast_test
from crosslevel.families import Family
from crosslevel.inference.contrasts import Contrasts
from crosslevel.inference.generalized.ratios import exponentiated
from crosslevel.inference.ordinary import OrdinaryCovariance, check_vcov
from crosslevel.inference.response_covariance import response_covariance
from crosslevel.solve.response_regression import ResponseRegression
from crosslevel.types import FloatArray, Frame, IntArray

Scale = Literal["response", "link"]
"""Of predictions: the outcome's mean, or the linear predictor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GLMFit(DesignRegression):
    """A fitted generalized linear model.

    Attributes
    ----------
    formula, data, given : as given to `glm`: the formula, the frame, and all other arguments by name.
    design : columns of the model and its outcome.
    solved : estimates.
    clusters : names of the clusterings.
    whole : covariance of all coefficients, an ordered outcome's intercept included, which is minus its first threshold.
    """

    solved: ResponseRegression = field(repr=False)
    clusters: tuple[str, ...]
    whole: OrdinaryCovariance = field(repr=False)

    # -- what was fitted ------------------------------------------------------------------------------------------
    @property
    def family(self) -> Family:
        """Distribution and link of the outcome."""
        return self.solved.rows.family

    @property
    def outcome(self) -> Outcome:
        """The outcome as the family reads it."""
        assert self.design.outcome is not None
        return self.design.outcome

    @property
    def nobs(self) -> int:
        """Rows used, each as often as its frequency says."""
        return self.design.nobs

    @cached_property
    def ngroups(self) -> dict[str, int]:
        """Clusters of each clustering; empty without."""
        return {name: len(sizes) for name, sizes in self.cluster_sizes.items()}

    @cached_property
    def cluster_sizes(self) -> dict[str, pd.Series]:
        """Rows of each cluster, by clustering."""
        return ordinary_rows.cluster_sizes(self.design, self.clusters)

    # -- coefficients ---------------------------------------------------------------------------------------------
    @cached_property
    def shown(self) -> IntArray:
        """Positions of the coefficients: of an ordered outcome all but the intercept, which is a threshold there."""
        own = self.design.x
        return np.flatnonzero(own != self.design.constant) if self.family.kind == "ordered" else np.arange(len(own))

    @property
    def columns(self) -> IntArray:
        """(p,) positions among the design's columns of those that have coefficients."""
        return self.design.x[self.shown]

    @property
    def estimator(self) -> str:
        """The estimator in a few words."""
        words = [f"GLM ({self.family.description}),", self.whole.name]
        return " ".join([*words, *(["by", " and ".join(self.clusters)] if self.clusters else [])])

    @property
    def beta(self) -> FloatArray:
        """(p,) coefficients."""
        return self.solved.beta[self.shown]

    @property
    def covariance(self) -> OrdinaryCovariance:
        """Covariance of the coefficients, with what tests need."""
        return self.covariance_by()

    def tests(
        self, vcov: str | None = None, *, cluster: str | Sequence[str] | None = None, level: float = 0.95
    ) -> pd.DataFrame:
        """Coefficient table with the standard errors of another covariance, or other clusters.

        Parameters
        ----------
        vcov : as in `glm`; None for that of the fit, or the default if other clusters are given.
        cluster : as in `glm`; None for those of the fit.
        level : confidence level.
        """
        return self._tested(self.covariance_by(vcov, cluster), level)

    def contrast(self, contrasts: Contrasts, test: str | None = None, *, level: float = 0.95) -> ContrastTest:
        """Test combinations of coefficients jointly; see `contrast` of a linear regression (`cl.ols`)."""
        covariance = self.covariance
        chosen = covariance.default_test if test is None else test
        return contrast_test(covariance, self.coefficients, self.beta, contrasts, chosen, level)

    def ratios(self, *, level: float = 0.95) -> pd.DataFrame:
        """Exponentials of the coefficients: odds ratios of a logit, ratios of means with a log link."""
        return exponentiated(self.tidy(level=level))

    def covariance_by(self, vcov: str | None = None, cluster: str | Sequence[str] | None = None) -> OrdinaryCovariance:
        """Another covariance of the same coefficients; see `tests`."""
        found = self.whole_by(vcov, cluster)
        if len(self.shown) == len(found.matrix):
            return found
        return replace(found, matrix=found.matrix[np.ix_(self.shown, self.shown)])

    def whole_by(self, vcov: str | None = None, cluster: str | Sequence[str] | None = None) -> OrdinaryCovariance:
        """The same of all coefficients, an ordered outcome's intercept included."""
        if vcov is None and cluster is None:
            return self.whole
        from crosslevel.estimators.responses.glm import default_vcov

        names = self.clusters if cluster is None else cluster_names(cluster)
        check_vcov(vcov, clustered=bool(names))
        name = vcov or default_vcov(self.design, self.solved, names)
        return response_covariance(self.design, self.solved, name, names)

    def thresholds(self, *, level: float = 0.95) -> pd.DataFrame:
        """Thresholds between the categories of an ordered outcome: estimate, std_error, conf_low, conf_high."""
        return glm_rows.thresholds(self, level=level)

    @cached_property
    def shape(self) -> pd.Series:
        """Shape parameters of the family, such as the dispersion of a negative binomial; empty where it has none."""
        return glm_rows.shape_parameters(self)

    # -- fit ------------------------------------------------------------------------------------------------------
    @property
    def deviance(self) -> float:
        """-2 log-likelihood."""
        return self.solved.deviance

    @property
    def n_params(self) -> int:
        """Coefficients and shape parameters."""
        return len(self.solved.joint)

    @property
    def df_residual(self) -> float:
        """Rows - parameters."""
        return float(self.nobs - self.n_params)

    @cached_property
    def null_deviance(self) -> float:
        """-2 log-likelihood of the model with an intercept only (and the offset)."""
        return glm_rows.null_deviance(self.solved)

    @property
    def pseudo_r_squared(self) -> float:
        """1 - log-likelihood / that without predictors (McFadden 1974); NaN where outcomes have densities."""
        discrete = self.family.kind in ("binary", "count", "ordered")
        return 1.0 - self.deviance / self.null_deviance if discrete else np.nan

    @cached_property
    def dispersion(self) -> float:
        """Sum of squared Pearson residuals over rows - parameters; NaN for ordered outcomes."""
        return glm_rows.dispersion(self)

    @cached_property
    def separation(self) -> str:
        """Which predictors separate the outcomes, so that there is no maximum, in words; "" if none do."""
        return separation(self)

    @property
    def converged(self) -> bool:
        """Whether the search ended at a maximum."""
        return self.solved.converged and not self.separation

    @property
    def status(self) -> str:
        """How the estimates were found, in a sentence."""
        return "Not converged: there is no finite maximum." if self.separation else self.solved.status

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What deserves a second look, in words, with what to do."""
        return notes_on(self)

    def glance(self) -> pd.DataFrame:
        """The fit in one row."""
        return glm_rows.glance(self)

    # -- rows -----------------------------------------------------------------------------------------------------
    def augment(self) -> pd.DataFrame:
        """The rows used: outcome (a share where there are trials), clusters, fitted values, residuals."""
        return glm_rows.augment(self)

    def predict(
        self, new: Frame | None = None, *, scale: Scale = "response", se: bool = False, level: float = 0.95
    ) -> pd.Series | pd.DataFrame:
        """Predicted means (probabilities, counts) or linear predictors of the rows used or of new data.

        Parameters
        ----------
        new : any frame with the predictors; None for the rows used.
        scale : "response" or "link"; of an ordered outcome "response" is a frame of the categories' probabilities.
        se : whether to give standard errors and intervals, made on the link's scale and carried over.
        level : confidence level.

        Returns
        -------
        Series of predictions; with `se` a frame of estimate, std_error, conf_low and conf_high. All are NaN in rows
        with missing predictors.
        """
        return glm_rows.predicted(self, new, scale=scale, se=se, level=level)

    # -- other models ---------------------------------------------------------------------------------------------
    def refit(self, y: FloatArray | pd.Series) -> "GLMFit":
        """Fit the same model to another outcome, one value for each row used."""
        from crosslevel.estimators.responses.glm import fit_glm

        design = self.design.with_response(np.asarray(y))
        return fit_glm(self.formula, self.data, self.given, design, self.clusters, self.whole.name)

    def update(self, formula: str | None = None, **changes: Any) -> "GLMFit":
        """Fit with a changed formula ("~ . + x") or other arguments of `glm`."""
        from crosslevel.estimators.responses.glm import glm

        text, data, given = changed_call(self.formula, self.data, self.given, formula, changes)
        return glm(text, data, **given)

    # -- words ----------------------------------------------------------------------------------------------------
    def summary(self, *, level: float = 0.95) -> Document:
        """What was fitted and found, to print or to show in a notebook, with intervals of a confidence level."""
        from crosslevel.estimators.responses.glm_summary import summarise

        return summarise(self, level=level)
