"""The between estimator."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from crosslevel.display import Row
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.panel.fit import PanelDetails, PanelFit
from crosslevel.estimators.panel.rows import predicted
from crosslevel.estimators.panel.uncertainty import Uncertainty
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.panel.between import BetweenRows, between_regression
from crosslevel.inference.panel.covariance import ADJUSTMENTS, panel_covariance
from crosslevel.inference.panel.estimates import PanelEstimates
from crosslevel.inference.panel.panel import Panel, build_panel
from crosslevel.inference.panel.refusals import refuse_same_between
from crosslevel.inference.panel.regression import PanelRegression
from crosslevel.types import Frame, Missing

NAMES = ("iid", *ADJUSTMENTS)
"""Covariances that a regression of group means has: the groups are its rows, and independent."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BetweenDetails(PanelDetails):
    """The regression of group means.

    Attributes
    ----------
    panel, regression : the rows, and the regression of their group means.
    weighted : whether a group counts as often as it has rows.
    aliased : columns whose means other columns' means determine.
    """

    panel: Panel = field(repr=False)
    regression: PanelRegression = field(repr=False)
    weighted: bool
    aliased: tuple[str, ...]

    @property
    def estimator(self) -> str:
        """Between, of what."""
        return f"Between ({self.panel.groups.name}{', weighted by rows' if self.weighted else ''})"

    @property
    def method(self) -> str:
        """Between."""
        return "between"

    @property
    def title(self) -> str:
        """Heading of the summary."""
        return "Between regression"

    @property
    def regressed(self) -> str:
        """What the regression that was solved has as rows."""
        return "group means"

    @property
    def degrees(self) -> str:
        """How residual degrees of freedom are counted."""
        return "groups - coefficients"

    @property
    def maker(self) -> BetweenRows:
        """Makes the group means."""
        return BetweenRows(panel=self.panel, columns=self.regression.products.columns, weighted=self.weighted)

    def covariance(self, vcov: str | None) -> OrdinaryCovariance:
        """A covariance of the coefficients by name: "iid", or "HC0" to "HC3"."""
        name = check_between(vcov)
        if name == "iid":
            return panel_covariance(self.regression, self.panel.groups, self.maker, None)
        found = panel_covariance(self.regression, self.panel.groups, self.maker, f"white1-{name}")
        words = f"robust to variances that differ between groups ({name})"
        return replace(found, name=name, description=words)

    @property
    def likelihood(self) -> tuple[float, int]:
        """Log-likelihood of the group means, with their rows as precisions if weighted, and its parameters."""
        precision = 0.5 * float(np.sum(np.log(self.panel.products.count))) if self.weighted else 0.0
        return self.regression.loglik + precision, self.regression.n_params

    def augment(self, panel: Panel) -> pd.DataFrame:
        """The groups: means of the outcome, fitted values, residuals, rows."""
        means = self.maker.means()
        fitted = self.regression.beta @ means[:-1]
        return pd.DataFrame(
            {
                panel.design.spec.response_name: means[-1], "fitted": fitted, "resid": means[-1] - fitted,
                "rows": panel.sizes,
            },
            index=pd.Index(panel.groups.levels, name=panel.groups.name),
        )  # fmt: skip

    def predict(self, panel: Panel, new: Frame | None) -> pd.Series:
        """Predict x'beta of the groups, or of the rows of a new frame."""
        if new is None:
            return self.augment(panel)["fitted"].rename("prediction")
        return predicted(panel, self.regression.products.columns, self.regression.beta, (), 0.0, new)

    def uncertainty(self, *, effects: bool) -> Uncertainty:
        """That of the coefficients; outcomes are means of groups, whose variance depends on their rows if weighted."""
        residual = np.nan if self.weighted else self.regression.sigma2
        columns = np.asarray(self.regression.products.columns)
        return Uncertainty.of_coefficients(columns, residual, self.maker.means()[:-1].T)

    def facts(self, panel: Panel) -> list[Row]:
        """What counts as a row."""
        how = "times their rows" if self.weighted else "each once"
        return [["Regressed", f"means of {panel.n_groups} groups, {how}"]]

    def notes(self, panel: Panel) -> list[str]:
        """Columns left out, and group means of different precision."""
        out = []
        if self.aliased:
            out.append(
                f"Left out because the group means of earlier predictors determine theirs: {', '.join(self.aliased)}. "
                "Their coefficients cannot be estimated; drop them from the formula or recode."
            )
        if not panel.is_balanced and not self.weighted:
            out.append(
                f"Groups have {panel.sizes.min()} to {panel.sizes.max()} rows, so that their means are not equally "
                'precise: standard errors that allow for it are those of vcov="HC3"; weighted=True counts rows.'
            )
        return out


def check_between(vcov: object) -> str:
    """The name of a covariance, "iid" where none is given.

    Raises
    ------
    CrosslevelError : no such covariance.
    """
    if vcov is None:
        return "iid"
    if not isinstance(vcov, str) or vcov not in NAMES:
        raise CrosslevelError(
            f"`vcov` of a regression of group means is one of {', '.join(map(repr, NAMES))}, its rows being the "
            f"groups; got {vcov!r}."
        )
    return vcov


def between(
    formula: str,
    data: Frame,
    *,
    group: str,
    weighted: bool = False,
    vcov: str | None = None,
    missing: Missing = "drop",
) -> PanelFit:
    """Fit a regression of group means: ybar_i = xbar_i' beta + error.

    It compares groups only, and shares all that groups differ in beyond the predictors: its slopes are not effects
    within groups.

    Parameters
    ----------
    formula : as in "y ~ x + z", without random terms.
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    group : the column of the groups.
    weighted : whether a group counts as often as it has rows; by default each counts once.
    vcov : "iid" (the default), or "HC0" .. "HC3", robust to group means of unequal variance.
    missing : "drop" the rows with missing values in the model's variables or the group, and count them; or "raise".

    Returns
    -------
    PanelFit, whose rows are the groups.

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data; the message says what to do.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.between("mathach ~ ses + sector", cl.datasets.load("hsb"), group="school")
    >>> fit.tidy()[["estimate", "std_error", "df"]].round(3)
                      estimate  std_error     df
    term
    Intercept           12.119      0.203  157.0
    ses                  5.387      0.381  157.0
    sector[Catholic]     1.222      0.317  157.0
    """
    given = {"group": group, "weighted": weighted, "vcov": vcov, "missing": missing}
    check_between(vcov)
    panel = build_panel(formula, data, group=group, time=None, missing=missing)
    refuse_same_between(panel, panel.design.x)
    regression, aliased = between_regression(panel, weighted=weighted)
    details = BetweenDetails(panel=panel, regression=regression, weighted=weighted, aliased=aliased)
    return PanelFit(
        formula=formula, data=data, given=given, panel=panel, covariance=details.covariance(vcov), details=details,
        estimates=PanelEstimates.of(regression, panel.names(np.asarray(regression.products.columns))),
    )  # fmt: skip
