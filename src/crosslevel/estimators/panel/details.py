"""What one panel estimator knows beyond its coefficients."""

from abc import ABC, abstractmethod

import pandas as pd

from crosslevel.display import Block, Row
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.panel.uncertainty import Uncertainty
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.panel.panel import Panel
from crosslevel.types import Frame


class PanelDetails(ABC):
    """What one panel estimator knows beyond its coefficients.

    A final class for each estimator gives the abstract members, as a frozen record of its own numbers.
    """

    @property
    @abstractmethod
    def estimator(self) -> str:
        """The estimator in a few words: "Fixed effects (within id)"."""

    @property
    @abstractmethod
    def method(self) -> str:
        """The same in one word, for `glance`: "within"."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Heading of the summary, without the outcome: "Fixed-effects regression"."""

    @property
    def regressed(self) -> str:
        """What the regression that was solved has as rows."""
        return "transformed rows"

    @property
    def degrees(self) -> str:
        """How residual degrees of freedom are counted."""
        return "rows - coefficients"

    @abstractmethod
    def covariance(self, vcov: str | None) -> OrdinaryCovariance:
        """A covariance of the coefficients by name, the default if None.

        Raises
        ------
        CrosslevelError : no such covariance of this estimator; the message lists those there are.
        """

    @abstractmethod
    def augment(self, panel: Panel) -> pd.DataFrame:
        """The rows used (or groups, or differences) with the columns "fitted" and "resid"."""

    @abstractmethod
    def predict(self, panel: Panel, new: Frame | None) -> pd.Series:
        """Predicted outcomes of the rows used or of new data."""

    def predict_average(self, panel: Panel, new: Frame | None) -> pd.Series:
        """Predicted outcomes of a group with the mean effect.

        Raises
        ------
        CrosslevelError : the estimator has no effects.
        """
        raise CrosslevelError(f"`effects` is False, but {self.estimator} predicts without effects of groups anyway.")

    def uncertainty(self, *, effects: bool) -> Uncertainty:
        """What predictions with or without effects of groups are uncertain by.

        Raises
        ------
        CrosslevelError : it is not known for this estimator, or for its covariance.
        """
        raise CrosslevelError(
            f"`se` and `interval` are not known for predictions of {self.estimator}. Leave them out, or fit cl.mixed."
        )

    def group_effects(self, panel: Panel) -> pd.DataFrame:
        """Effects of the groups by group.

        Raises
        ------
        CrosslevelError : the estimator has none.
        """
        raise CrosslevelError(
            f"{self.estimator} has no effects of groups. Fit cl.fixed_effects, cl.random_effects or cl.mixed."
        )

    def error_components(self) -> pd.DataFrame:
        """Variances of the errors by component.

        Raises
        ------
        CrosslevelError : the estimator has one variance only.
        """
        raise CrosslevelError(
            f"{self.estimator} does not split the variance of the errors. Fit cl.random_effects or cl.mixed."
        )

    @property
    def likelihood(self) -> tuple[float, int]:
        """The log-likelihood at its maximum, and the parameters it has.

        Raises
        ------
        CrosslevelError : the estimator does not maximise one.
        """
        raise CrosslevelError(
            f"{self.estimator} maximises no likelihood, so that there is no deviance and no information criterion. Fit "
            "the model by cl.mixed(..., method='ml'), which does."
        )

    def facts(self, panel: Panel) -> list[Row]:
        """Lines of the summary's first table, beyond those that all estimators have."""
        return []

    def blocks(self, panel: Panel) -> list[Block]:
        """Tables of the summary beyond those that all estimators have."""
        return []

    def notes(self, panel: Panel) -> list[str]:
        """What deserves a second look, in words, with what to do."""
        return []
