"""What a fitted panel estimator answers. Every method delegates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from crosslevel.design.rows import RowCount
from crosslevel.display import Document
from crosslevel.estimators.asked.new_rows import Interval
from crosslevel.estimators.notes import notes_on_rows
from crosslevel.estimators.panel.details import PanelDetails as PanelDetails
from crosslevel.estimators.panel.uncertainty import with_errors
from crosslevel.estimators.regression import Regression
from crosslevel.estimators.robust_fit import FEW_CLUSTERS, ContrastTest, concerns, contrast_test
from crosslevel.formula import Spec
from crosslevel.inference.contrasts import Coefficients, Contrasts
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.panel.estimates import PanelEstimates
from crosslevel.inference.panel.panel import Panel
from crosslevel.inference.panel.serial import SerialTest
from crosslevel.types import FloatArray, Frame


@dataclass(frozen=True, kw_only=True, eq=False)
class PanelFit(Regression):
    """A fitted panel estimator.

    Attributes
    ----------
    formula, data, given : as given: the formula, the frame, and all other arguments by name.
    panel : the rows, groups and times.
    estimates : coefficients, residual variance, and how well the regression fits.
    covariance : covariance of the coefficients, with what tests need.
    details : what belongs to the estimator: effects of the groups, variances of the errors, instruments.
    """

    formula: str
    data: Frame = field(repr=False)
    given: Mapping[str, Any]
    panel: Panel = field(repr=False)
    estimates: PanelEstimates
    covariance: OrdinaryCovariance = field(repr=False)
    details: PanelDetails = field(repr=False)

    # -- what was fitted ------------------------------------------------------------------------------------------
    @property
    def estimator(self) -> str:
        """The estimator in a few words."""
        name = self.covariance.name
        return self.details.estimator if name == "iid" else f"{self.details.estimator}, {name}"

    @property
    def spec(self) -> Spec:
        """The formula with what it remembers of the data."""
        return self.panel.design.spec

    @property
    def group(self) -> str:
        """Name of the groups."""
        return self.panel.groups.name

    @property
    def rows(self) -> RowCount:
        """Rows read, used, and missing values by variable."""
        return self.panel.design.rows

    @property
    def labels(self) -> Mapping[str, str]:
        """Variable labels of the data."""
        return self.panel.design.columns.labels

    @property
    def nobs(self) -> int:
        """Rows of the regression that was solved: observations, groups (between) or differences."""
        return self.estimates.n_rows

    @property
    def ngroups(self) -> dict[str, int]:
        """Groups, and times where they were named."""
        times = self.panel.times
        return {self.group: self.panel.n_groups} | ({} if times is None else {times.name: times.n_clusters})

    @cached_property
    def group_sizes(self) -> pd.Series:
        """Rows of each group."""
        return pd.Series(self.panel.sizes, index=pd.Index(self.panel.groups.levels, name=self.group), name="rows")

    # -- coefficients ---------------------------------------------------------------------------------------------
    @property
    def coefficients(self) -> Coefficients:
        """Names of the coefficients, and their spellings."""
        factors = {column.name: column.factors for column in self.spec.columns}
        return Coefficients.of(self.terms, [factors.get(name, (name,)) for name in self.terms])

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return self.estimates.names

    @property
    def beta(self) -> FloatArray:
        """(p,) coefficients."""
        return self.estimates.beta

    @property
    def beta_vcov(self) -> FloatArray:
        """(p, p) their covariance."""
        return self.covariance.matrix

    def tests(self, vcov: str | None = None, *, level: float = 0.95) -> pd.DataFrame:
        """Coefficient table with the standard errors of another covariance.

        Parameters
        ----------
        vcov : as in the call that fitted it; None for that of the fit.
        level : confidence level.
        """
        return self._tested(self.covariance_by(vcov), level)

    def covariance_by(self, vcov: str | None = None) -> OrdinaryCovariance:
        """Another covariance of the same coefficients, by name."""
        return self.covariance if vcov is None else self.details.covariance(vcov)

    def contrast(self, contrasts: Contrasts, test: str | None = None, *, level: float = 0.95) -> ContrastTest:
        """Test combinations of coefficients jointly; as `contrast` of a linear regression."""
        chosen = self.covariance.default_test if test is None else test
        return contrast_test(self.covariance, self.coefficients, self.beta, contrasts, chosen, level)

    # -- fit ------------------------------------------------------------------------------------------------------
    @property
    def sigma(self) -> float:
        """Standard deviation of the errors of the regression that was solved."""
        return self.estimates.sigma

    @property
    def df_residual(self) -> float:
        """Rows of the regression that was solved - coefficients - effects taken out (fixed effects)."""
        return self.estimates.df_residual

    @property
    def rss(self) -> float:
        """Residual sum of squares of the regression that was solved."""
        return self.estimates.rss

    @property
    def r_squared(self) -> float:
        """Share of the transformed outcome's sum of squares that is explained."""
        return self.estimates.r_squared

    @property
    def adj_r_squared(self) -> float:
        """The same of variances, each with its degrees of freedom."""
        return self.estimates.adj_r_squared

    @property
    def deviance(self) -> float:
        """-2 log-likelihood; see `nobs` for its rows."""
        return -2.0 * self.details.likelihood[0]

    @property
    def n_params(self) -> int:
        """Coefficients, effects and the residual variance."""
        return self.details.likelihood[1]

    @property
    def converged(self) -> bool:
        """Always: nothing is searched for."""
        return True

    @property
    def status(self) -> str:
        """How the estimates were found, in a sentence."""
        return "Solved: the estimates have a closed form, found without a search."

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What deserves a second look, in words, with what to do."""
        from crosslevel.estimators.panel.dependence import dependence_notes

        robust = self.covariance.robust
        worries = [] if robust is None else concerns(robust, self.df)
        if self.covariance.name.startswith("arellano") and self.panel.n_groups < FEW_CLUSTERS:
            worries.append(
                f"Only {self.panel.n_groups} groups: Arellano's standard errors are estimated from as many values, and "
                'are too small on average. vcov="CR2" corrects for it, with fewer degrees of freedom.'
            )
        own = self.details.notes(self.panel)
        return (*notes_on_rows(self.panel.design), *own, *worries, *dependence_notes(self))

    def glance(self) -> pd.DataFrame:
        """The fit in one row."""
        record = {
            "nobs": self.nobs, "n_groups": self.panel.n_groups, "group": self.group, "method": self.details.method,
            "vcov": self.covariance.name, "r_squared": self.r_squared, "adj_r_squared": self.adj_r_squared,
            "sigma": self.sigma, "n_coefficients": len(self.beta), "df_residual": self.df_residual,
            "converged": self.converged,
        }  # fmt: skip
        return pd.DataFrame([record])

    # -- rows -----------------------------------------------------------------------------------------------------
    def augment(self) -> pd.DataFrame:
        """The rows used, or the groups or differences that were regressed: outcome, group, fitted values, residuals."""
        return self.details.augment(self.panel)

    def predict(
        self,
        new: Frame | None = None,
        *,
        effects: bool = True,
        se: bool = False,
        interval: Interval | None = None,
        level: float = 0.95,
    ) -> pd.Series | pd.DataFrame:
        """Predicted outcomes of the rows used, or of new data, with standard errors and intervals if wanted.

        Parameters
        ----------
        new : any frame with the predictors, and the group if effects are wanted; None for the rows used.
        effects : whether with the effect of a row's group where the estimator has such (fixed effects: NaN for a group
            that is not known; random effects: their prediction, zero for such a group); else with the mean effect.
        se : whether to give standard errors: those of the coefficients, and of the effects given iid errors. Of random
            effects they are those of the prediction error given the variances, as in `cl.mixed`.
        interval : "confidence" for the expected outcome; "prediction" for the outcome of a new row (of a new group, if
            without random effects), or of what else was regressed.
        level : confidence level.

        Returns
        -------
        Series of predictions; with `se` or `interval` a frame of estimate, std_error, conf_low and conf_high.
        """
        if se or interval is not None:
            return with_errors(self, new, effects=effects, interval=interval, level=level)
        return self.details.predict(self.panel, new) if effects else self.details.predict_average(self.panel, new)

    # -- groups ---------------------------------------------------------------------------------------------------
    def group_effects(self) -> pd.DataFrame:
        """Effects of the groups, by group.

        Fixed effects: estimate alpha_i = ybar_i - xbar_i'beta, its deviation from the mean over rows, standard error
        given iid errors, rows; of a two-way regression with effects of times that sum to zero. Random effects: the
        best linear prediction u_i, its standard error given the variances, rows.
        """
        return self.details.group_effects(self.panel)

    def error_components(self) -> pd.DataFrame:
        """Variances of random effects and of rows: component, variance, sd, share."""
        return self.details.error_components()

    def test_effects(self) -> pd.DataFrame:
        """Test whether groups differ beyond their predictors: F, Breusch-Pagan and Honda, by test.

        All compare with pooled least squares of the same formula. F takes the effects as fixed; the Lagrange
        multiplier tests by Breusch & Pagan and by Honda take them as random, Honda's being one-sided as a variance is
        not negative. A two-way regression adds F tests of the effects of times.

        Returns
        -------
        frame by test: distribution, statistic, df_num, df_den, p_value.
        """
        from crosslevel.estimators.panel.effects import effect_tests

        return effect_tests(self)

    def test_serial(self) -> SerialTest:
        """Test whether errors of a group's rows are correlated over time, by Wooldridge.

        From the residuals of a within or a first-difference regression; `time` has to be named in the call.
        """
        from crosslevel.estimators.panel.effects import serial_correlation

        return serial_correlation(self)

    # -- words ----------------------------------------------------------------------------------------------------
    def summary(self, *, level: float = 0.95) -> Document:
        """What was fitted and found, to print or to show in a notebook, with intervals of a confidence level."""
        from crosslevel.estimators.panel.summary import summarise

        return summarise(self, level=level)
