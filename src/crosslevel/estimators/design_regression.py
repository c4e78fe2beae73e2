"""What every regression answers whose coefficients belong to columns of one design."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crosslevel.design import Design
from crosslevel.design.rows import RowCount
from crosslevel.estimators.regression import Regression
from crosslevel.formula import Spec
from crosslevel.inference.contrasts import Coefficients
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.types import FloatArray, Frame, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class DesignRegression(Regression):
    """A fitted regression of one outcome on columns of a design, linear or of another family.

    A final class gives the abstract members; nothing else is overridden.

    Attributes
    ----------
    formula, data, given : as given to the estimator: the formula, the frame, and all other arguments by name.
    design : columns of the model and its outcome.
    """

    formula: str
    data: Frame = field(repr=False)
    given: Mapping[str, Any]
    design: Design = field(repr=False)

    # -- what a final class gives ---------------------------------------------------------------------------------
    @property
    @abstractmethod
    def columns(self) -> IntArray:
        """(p,) positions among the design's columns of those that have coefficients."""

    @abstractmethod
    def covariance_by(self, vcov: str | None = None) -> OrdinaryCovariance:
        """Covariance of the coefficients by its name; None for that of the fit."""

    # -- what was fitted ------------------------------------------------------------------------------------------
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

    # -- coefficients ---------------------------------------------------------------------------------------------
    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return tuple(self.design.products.names[j] for j in self.columns)

    @property
    def coefficients(self) -> Coefficients:
        """Names of the coefficients, and their spellings."""
        return Coefficients.of(self.terms, [self.spec.columns[j].factors for j in self.columns])

    @property
    def beta_vcov(self) -> FloatArray:
        """(p, p) covariance of the coefficients."""
        return self.covariance_by().matrix
