"""What a fitted conditional logit answers. Every method delegates."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.display import Document
from crosslevel.estimators.changed_call import changed_call
from crosslevel.estimators.design_regression import DesignRegression
from crosslevel.estimators.responses import conditional_rows
from crosslevel.estimators.robust_fit import ContrastTest, contrast_test
from crosslevel.families import Binomial, Family
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.conditional_covariance import check_conditional, conditional_covariance
from crosslevel.inference.contrasts import Contrasts
from crosslevel.inference.generalized.ratios import exponentiated
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.solve.conditional_logit import ConditionalSolution
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ConditionalFit(DesignRegression):
    """A fitted conditional logit.

    Attributes
    ----------
    formula, data, given : as given to `conditional_logit`: the formula, the frame, and all other arguments by name.
    design : columns of the model and its outcome.
    groups : the groups whose effects are conditioned away.
    solved : estimates.
    covariance : covariance of the coefficients.
    """

    groups: Clustering = field(repr=False)
    solved: ConditionalSolution = field(repr=False)
    covariance: OrdinaryCovariance = field(repr=False)

    # -- what was fitted ------------------------------------------------------------------------------------------
    @property
    def family(self) -> Family:
        """Binomial with the logit link."""
        return Binomial()

    @property
    def nobs(self) -> int:
        """Rows of the groups in which the outcome varies; `rows` counts those of the other groups as used, too."""
        return len(self.solved.rows.y)

    @property
    def ngroups(self) -> dict[str, int]:
        """Groups in which the outcome varies."""
        return {self.groups.name: len(self.solved.rows.groups)}

    @cached_property
    def group_sizes(self) -> pd.Series:
        """Rows of each group in which the outcome varies."""
        return conditional_rows.group_sizes(self)

    # -- coefficients ---------------------------------------------------------------------------------------------
    @property
    def columns(self) -> IntArray:
        """(p,) positions among the design columns of those that have coefficients."""
        own = self.design.x[self.design.x != self.design.constant]
        return np.asarray(own[self.solved.rows.kept])

    @property
    def estimator(self) -> str:
        """The estimator in a few words."""
        name, cluster = self.covariance.name, self.given["cluster"]
        clustered = "" if name == "iid" else f", {name} by {cluster or self.groups.name}"
        return f"Conditional logit (within {self.groups.name}){clustered}"

    @property
    def absorbed(self) -> tuple[str, ...]:
        """Predictors that do not vary within groups."""
        own = self.design.x[self.design.x != self.design.constant]
        return tuple(self.design.products.names[j] for j in own[self.solved.rows.absorbed])

    @property
    def beta(self) -> FloatArray:
        """(p,) coefficients."""
        return self.solved.beta

    def tests(self, vcov: str | None = None, *, cluster: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """Coefficient table with the standard errors of another covariance, or other clusters.

        Parameters
        ----------
        vcov : as in `conditional_logit`; None for that of the fit, or "CR1" if other clusters are given.
        cluster : as in `conditional_logit`; None for those of the fit, or the groups.
        level : confidence level.
        """
        return self._tested(self.covariance_by(vcov, cluster), level)

    def contrast(self, contrasts: Contrasts, *, level: float = 0.95) -> ContrastTest:
        """Test combinations of coefficients jointly; see `contrast` of a linear regression (`cl.ols`)."""
        return contrast_test(self.covariance, self.coefficients, self.beta, contrasts, "F", level)

    def ratios(self, *, level: float = 0.95) -> pd.DataFrame:
        """Odds ratios of two rows of the same group. Tests are those of zero coefficients."""
        return exponentiated(self.tidy(level=level))

    def covariance_by(self, vcov: str | None = None, cluster: str | None = None) -> OrdinaryCovariance:
        """Another covariance of the same coefficients; see `tests`."""
        if vcov is None and cluster is None:
            return self.covariance
        chosen = cluster or self.given["cluster"]
        kind = check_conditional(vcov, clustered=True)
        return conditional_covariance(self.design, self.groups, self.solved, kind, chosen)

    # -- fit ------------------------------------------------------------------------------------------------------
    @property
    def deviance(self) -> float:
        """-2 conditional log-likelihood: comparable between conditional logits of the same rows and groups only."""
        return -2.0 * self.solved.loglik

    @property
    def n_params(self) -> int:
        """Coefficients."""
        return len(self.beta)

    @property
    def pseudo_r_squared(self) -> float:
        """1 - conditional log-likelihood / that without predictors (McFadden 1974)."""
        return 1.0 - self.solved.loglik / self.solved.loglik_null

    @cached_property
    def separation(self) -> str:
        """Which predictors separate the outcomes in every group, so that there is no maximum, in words; "" if none."""
        return conditional_rows.separation(self)

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
        return conditional_rows.notes_on(self)

    def glance(self) -> pd.DataFrame:
        """The fit in one row."""
        return conditional_rows.glance(self)

    # -- rows -----------------------------------------------------------------------------------------------------
    def augment(self) -> pd.DataFrame:
        """The rows of the groups in which the outcome varies: outcome, group, fitted, resid.

        Fitted values are probabilities given how many rows of the group are one.
        """
        return conditional_rows.augment(self)

    # -- other models ---------------------------------------------------------------------------------------------
    def update(self, formula: str | None = None, **changes: Any) -> "ConditionalFit":
        """Fit with a changed formula ("~ . + x") or other arguments of `conditional_logit`."""
        from crosslevel.estimators.responses.conditional_logit import conditional_logit

        text, data, given = changed_call(self.formula, self.data, self.given, formula, changes)
        return conditional_logit(text, data, **given)

    # -- words ----------------------------------------------------------------------------------------------------
    def summary(self, *, level: float = 0.95) -> Document:
        """What was fitted and found, to print or to show in a notebook, with intervals of a confidence level."""
        from crosslevel.estimators.responses.conditional_summary import summarise

        return summarise(self, level=level)
