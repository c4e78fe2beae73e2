"""What a fitted two-step regression answers. Every method delegates."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.design.rows import RowCount
from crosslevel.design.two_levels import SeparateDesign
from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.estimators import two_step_rows
from crosslevel.estimators.asked.new_rows import Interval
from crosslevel.estimators.regression import Regression
from crosslevel.estimators.robust_fit import ContrastTest, contrast_test
from crosslevel.estimators.two_step_outcomes import OutcomeStep, check_second, second_steps
from crosslevel.families import Family
from crosslevel.inference.contrasts import Coefficients, Contrasts
from crosslevel.inference.separate import SeparateRegressions
from crosslevel.types import FloatArray, Frame

ESTIMATORS = {
    "fgls": "Two-step, FGLS",
    "ols": "Two-step, OLS",
    "wls": "Two-step, WLS",
    "adjusted": "Two-step, adjusted",
    "adjusted-fgls": "Two-step, adjusted FGLS",
}
"""Names of the second steps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoStepFit(Regression):
    """A fitted two-step regression.

    Coefficients are those of the second step: "z" where one coefficient of the first step is explained, "x1: z" where
    several are.

    Attributes
    ----------
    formula : the formula of the first step.
    data, given : as given to `two_step`: the frame, and all other arguments by name.
    below : the rows of the first step.
    separate : the regressions of the first step, in the clusters that are used.
    outcomes : the second step of each outcome.
    vcov_kind : which covariance the coefficients have.
    """

    formula: str
    data: Frame = field(repr=False)
    given: Mapping[str, Any]
    below: SeparateDesign = field(repr=False)
    separate: SeparateRegressions = field(repr=False)
    outcomes: tuple[OutcomeStep, ...]
    vcov_kind: str

    # -- what was fitted ------------------------------------------------------------------------------------------
    @property
    def method(self) -> str:
        """The second step: "fgls", "ols", "wls", "adjusted" or "adjusted-fgls"."""
        return str(self.given["method"])

    @property
    def estimator(self) -> str:
        """The estimator in a few words."""
        other = f", {self.vcov_kind}" if self.given["vcov"] not in (None, "scaled") else ""
        return ESTIMATORS[self.method] + other + ("" if self.family is None else f" ({self.family.description})")

    @property
    def family(self) -> Family | None:
        """Family of the first step; None for linear regressions."""
        family = self.given.get("family")
        return family if isinstance(family, Family) else None

    @property
    def second(self) -> tuple[str, ...]:
        """Formulas of the second step."""
        return tuple(f"{one.name} ~ {one.right}" for one in self.outcomes)

    @property
    def rows(self) -> RowCount:
        """Rows read, used in the first step, and missing values by variable."""
        return self.below.rows

    @property
    def labels(self) -> Mapping[str, str]:
        """Variable labels of the data."""
        return self.below.columns.labels

    @property
    def nobs(self) -> int:
        """Rows in the clusters that are used, each as often as its frequency says."""
        return round(float(self.separate.n_rows.sum()))

    @property
    def ngroups(self) -> dict[str, int]:
        """Clusters that are used."""
        return {self.below.cluster: len(self.separate.levels)}

    @cached_property
    def first_step(self) -> pd.DataFrame:
        """Coefficients of the first step by cluster; standard errors "se: x1", rows "n", residual SD "sigma" if any."""
        frame = two_step_rows.first_step(self.separate, self.below.cluster)
        return frame if self.family is None else frame.drop(columns="sigma")

    @cached_property
    def left_out(self) -> pd.DataFrame:
        """Clusters that are not used: their rows, and the reason."""
        return two_step_rows.left_out(self.separate, self.below.cluster)

    # -- coefficients ---------------------------------------------------------------------------------------------
    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients: "z" of one outcome, "x1: z" of several."""
        several = len(self.outcomes) > 1
        return tuple(f"{one.name}: {name}" if several else name for one in self.outcomes for name in one.design.names)

    @property
    def mixed_terms(self) -> Mapping[str, str]:
        """The coefficients' names in the mixed model: "x1:z" for z of the slope x1, "x1" for its intercept."""
        return dict(zip(self.terms, two_step_rows.mixed_terms(self.outcomes), strict=True))

    @property
    def coefficients(self) -> Coefficients:
        """Names of the coefficients, and their spellings."""
        return two_step_rows.coefficients(self.outcomes, self.terms)

    @cached_property
    def beta(self) -> FloatArray:
        """(k,) coefficients of the second step, outcome by outcome."""
        return np.concatenate([one.step.beta for one in self.outcomes])

    @cached_property
    def beta_vcov(self) -> FloatArray:
        """(k, k) their covariance."""
        return self.covariance_by(None).matrix

    def tests(self, vcov: str | None = None, *, level: float = 0.95) -> pd.DataFrame:
        """Coefficient table: t tests on clusters - coefficients degrees of freedom.

        Parameters
        ----------
        vcov : as in `two_step`; None for that of the fit.
        level : confidence level.
        """
        return self._tested(self.covariance_by(vcov), level)

    def contrast(self, contrasts: Contrasts, *, level: float = 0.95) -> ContrastTest:
        """Test combinations of coefficients jointly by F; also across outcomes, whose covariance is estimated.

        Parameters
        ----------
        contrasts : as in `contrast` of a linear regression, with names as they are printed: "x1: z - x2: z".
        level : confidence level of the intervals of the single combinations.
        """
        return contrast_test(self.covariance_by(None), self.coefficients, self.beta, contrasts, "F", level)

    def covariance_by(self, vcov: str | None) -> two_step_rows.StepCovariance:
        """Covariance of the coefficients by its name; None for that of the fit."""
        return two_step_rows.covariance_of(self.outcomes, vcov or self.vcov_kind, self.method)

    # -- fit ------------------------------------------------------------------------------------------------------
    @cached_property
    def sigma2(self) -> pd.DataFrame:
        """Variance of each outcome beyond sampling and context: as estimated ("raw"), and floored at zero ("used")."""
        return two_step_rows.sigma2(self.outcomes)

    @cached_property
    def covariates(self) -> pd.DataFrame:
        """What outcomes are adjusted for, by outcome and covariate; empty without adjustment.

        "mean" and "sd" (beyond sampling) of the covariate; "coefficient", the change of the outcome with it: with its
        value in the cluster ("adjusted"), or with its value freed of sampling error ("adjusted-fgls"); and the F test
        that its mean does not depend on the context variables: "statistic", "df_num", "df_den", "p_value".
        """
        return two_step_rows.covariates(self.outcomes)

    @cached_property
    def omega(self) -> pd.DataFrame:
        """Standard errors of the outcomes in the first step, by cluster: the known part of their variation."""
        columns = {one.name: np.sqrt(one.sampling) for one in self.outcomes}
        return pd.DataFrame(columns, index=self.first_step.index)

    @cached_property
    def r_squared(self) -> pd.Series:
        """Share of each outcome's variation that the context variables explain, with the weights of the second step.

        Sampling errors are part of the variation.
        """
        return two_step_rows.r_squared(self.outcomes)

    @cached_property
    def df_residual(self) -> pd.Series:
        """Clusters - coefficients, by outcome."""
        return pd.Series({one.name: float(one.step.df) for one in self.outcomes}, name="df_residual")

    @property
    def deviance(self) -> float:
        """Refused: least squares in two steps maximises no likelihood of the rows.

        Raises
        ------
        CrosslevelError : always; the message says what to use.
        """
        raise CrosslevelError(
            f"{self.estimator} maximises no likelihood of the rows, so that there is no deviance and no information "
            "criterion. Fit the model by cl.mixed(..., method='ml'), which does."
        )

    @property
    def n_params(self) -> int:
        """Refused, as `deviance` is: parameters are counted of a likelihood."""
        return int(self.deviance)

    @property
    def converged(self) -> bool:
        """Always: nothing is searched for."""
        return True

    @property
    def status(self) -> str:
        """How the estimates were found, in a sentence."""
        if self.family is not None:
            return "Converged: the likelihood of each cluster that is used has its maximum there."
        return "Solved: least squares in each cluster and across clusters has one solution, found without a search."

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What deserves a second look, in words, with what to do."""
        from crosslevel.estimators.two_step_notes import notes_on

        return notes_on(self)

    def glance(self) -> pd.DataFrame:
        """The fit, a row for each outcome."""
        return two_step_rows.glance(self)

    # -- rows -----------------------------------------------------------------------------------------------------
    def augment(self) -> pd.DataFrame:
        """A row for each cluster (and outcome, where there are several): outcome, fitted, resid, weight."""
        return two_step_rows.augment(self)

    def predict(
        self, new: Frame | None = None, *, se: bool = False, interval: Interval | None = None, level: float = 0.95
    ) -> pd.Series | pd.DataFrame:
        """Expected coefficients x'gamma of the clusters used or of new ones, which have the context variables.

        Parameters
        ----------
        new : a frame with one row for each cluster, or None for those used. With between(x, g) it has the rows of new
            clusters, or names clusters that are known.
        se : whether to give standard errors, from the covariance of the fit.
        interval : "confidence" for x'gamma; "prediction" for the coefficient of a new cluster, which varies about it
            by sigma2 (known without sampling error).
        level : confidence level.

        Returns
        -------
        Series of predictions, with `se` or `interval` a frame of estimate, std_error, conf_low and conf_high; indexed
        by outcome and row where there are several outcomes. NaN in rows with missing variables.
        """
        return two_step_rows.predicted(self, new, se=se, interval=interval, level=level)

    # -- other models ---------------------------------------------------------------------------------------------
    def update(self, **changes: Any) -> "TwoStepFit":
        """Fit with other arguments of `two_step`.

        With another `method`, `vcov` or `covariates` the first step stays as it is, and no row is read.
        """
        if set(changes) <= {"method", "vcov", "covariates"}:
            given = {**self.given, **changes}
            check_second(given["method"], given["vcov"], given["covariates"])
            designs = {one.name: one.design for one in self.outcomes}
            outcomes = second_steps(designs, self.separate, given["method"], given["covariates"])
            return replace(self, given=given, outcomes=outcomes, vcov_kind=given["vcov"] or "scaled")
        from crosslevel.estimators.two_step import two_step

        given = {"first": self.formula, "data": self.data, **self.given, **changes}
        return two_step(given.pop("first"), given.pop("second"), given.pop("data"), **given)

    # -- words ----------------------------------------------------------------------------------------------------
    def summary(self, *, level: float = 0.95) -> Document:
        """What was fitted and found, to print or to show in a notebook, with intervals of a confidence level."""
        from crosslevel.estimators.two_step_summary import summarise

        return summarise(self, level=level)
