"""The random-effects estimator by feasible generalised least squares."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from crosslevel.display import Block, Row, number
from crosslevel.estimators.panel.error_components import components_frame, components_table, taken_off
from crosslevel.estimators.panel.fit import PanelDetails, PanelFit
from crosslevel.estimators.panel.rows import Levels, frame_of, predicted
from crosslevel.estimators.panel.uncertainty import Uncertainty
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.panel.components import AUTHORS, ErrorComponents, check_method, error_components
from crosslevel.inference.panel.covariance import check_covariance, panel_covariance
from crosslevel.inference.panel.estimates import PanelEstimates
from crosslevel.inference.panel.panel import Panel, build_panel
from crosslevel.inference.panel.quasi import QuasiRows, group_residuals, quasi_regression
from crosslevel.inference.panel.regression import PanelRegression
from crosslevel.types import FloatArray, Frame, Missing

Method = Literal["swar", "amemiya", "walhus", "nerlove"]
"""How the variances are estimated."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomDetails(PanelDetails):
    """Variances of the errors, and what they make of the rows.

    Attributes
    ----------
    panel, regression : the rows, and the regression of rows less shares of their group means.
    components : variances of the errors, and the shares.
    """

    panel: Panel = field(repr=False)
    regression: PanelRegression = field(repr=False)
    components: ErrorComponents

    @property
    def estimator(self) -> str:
        """Random effects, by whom."""
        return f"Random effects ({AUTHORS[self.components.method]}, {self.panel.groups.name})"

    @property
    def method(self) -> str:
        """Random, and how the variances were estimated."""
        return f"random {self.components.method}"

    @property
    def title(self) -> str:
        """Heading of the summary."""
        return "Random-effects regression"

    @property
    def regressed(self) -> str:
        """What the regression that was solved has as rows."""
        return "rows less theta times the means of their groups"

    @property
    def theta(self) -> pd.Series:
        """Share of its mean that is taken off the rows of each group."""
        return pd.Series(self.components.theta, index=self._levels, name="theta")

    @property
    def _levels(self) -> pd.Index:
        """The groups."""
        return pd.Index(self.panel.groups.levels, name=self.panel.groups.name)

    def covariance(self, vcov: str | None) -> OrdinaryCovariance:
        """A covariance of the coefficients by name; "iid" has normal tests."""
        maker = QuasiRows(panel=self.panel, columns=self.regression.products.columns, theta=self.components.theta)
        return panel_covariance(self.regression, self.panel.groups, maker, vcov, normal=True)

    @property
    def weights(self) -> FloatArray:
        """(J,) share of a group's mean residual that its predicted effect is."""
        found, n = self.components, self.panel.products.count
        return np.asarray(n * found.sigma2_u / (found.sigma2_e + n * found.sigma2_u))

    @property
    def effects(self) -> FloatArray:
        """(J,) predicted effects u_i."""
        return self.weights * group_residuals(self.panel, self.regression)

    def augment(self, panel: Panel) -> pd.DataFrame:
        """The rows used: outcome, group, fitted values with the effect, residuals, effect, transformed residuals.

        The latter, "resid_transformed", are those of the rows less theta times their group's mean.
        """
        beta, codes = self.regression.beta, panel.groups.codes
        rows = panel.rows(np.append(self.regression.products.columns, panel.response))
        whole = rows[-1] - beta @ rows[:-1]
        effect = self.effects[codes]
        columns = {
            "fitted": rows[-1] - whole + effect, "resid": whole - effect, "effect": effect,
            "resid_transformed": whole - (self.components.theta * group_residuals(panel, self.regression))[codes],
        }  # fmt: skip
        return frame_of(panel, rows[-1], columns)

    def predict(self, panel: Panel, new: Frame | None) -> pd.Series:
        """Predict x'beta with the effects, zero for a group that is not known."""
        levels = (Levels(clusters=panel.groups, effects=self.effects, unknown=0.0),)
        return predicted(panel, self.regression.products.columns, self.regression.beta, levels, 0.0, new)

    def predict_average(self, panel: Panel, new: Frame | None) -> pd.Series:
        """Predict x'beta."""
        return predicted(panel, self.regression.products.columns, self.regression.beta, (), 0.0, new)

    def uncertainty(self, *, effects: bool) -> Uncertainty:
        """That of the coefficients, and of the predicted effects given the variances; unknown ones are zero."""
        columns, products, found = self.regression.products.columns, self.panel.products, self.components
        if not effects:
            return Uncertainty.of_coefficients(columns, found.sigma2_u + found.sigma2_e)
        means = (products.origin + products.mean)[:, columns] * self.weights[:, None]
        return Uncertainty(
            columns=columns, shift=np.vstack([means, np.zeros(len(columns))]), model_based=True,
            variance=found.sigma2_u * np.append(1.0 - self.weights, 1.0), residual=found.sigma2_e,
        )  # fmt: skip

    def group_effects(self, panel: Panel) -> pd.DataFrame:
        """Predicted effects with the standard errors of their prediction."""
        columns, products, found = self.regression.products.columns, panel.products, self.components
        means = (products.origin + products.mean)[:, columns]
        spread = np.einsum("ja,ab,jb->j", means, self.regression.vcov, means, optimize=True)
        errors = np.sqrt(found.sigma2_u * (1.0 - self.weights) + self.weights**2 * spread)
        record = {"estimate": self.effects, "std_error": errors, "theta": found.theta, "rows": panel.sizes}
        return pd.DataFrame(record, index=self._levels)

    def error_components(self) -> pd.DataFrame:
        """Variances of groups and rows, with standard deviations and shares."""
        return components_frame(self.panel.groups.name, self.components.sigma2_u, self.components.sigma2_e)

    def facts(self, panel: Panel) -> list[Row]:
        """Shares of the means that are taken off."""
        return [taken_off(self.components.theta)]

    def blocks(self, panel: Panel) -> list[Block]:
        """The variances of the errors."""
        author = AUTHORS[self.components.method]
        return [components_table(self.error_components(), [f"Estimated by {author}'s method."])]

    def notes(self, panel: Panel) -> list[str]:
        """A variance that would be negative."""
        if self.components.raw_sigma2_u >= 0.0:
            return []
        return [
            f"The variance between {panel.groups.name} was estimated as {number(self.components.raw_sigma2_u)} and set "
            "to zero: group means differ less than rows do by chance, and the coefficients are those of pooled least "
            "squares. Another method, or cl.mixed, may find some variance."
        ]


def random_effects(
    formula: str,
    data: Frame,
    *,
    group: str,
    time: str | None = None,
    method: Method = "swar",
    vcov: str | None = None,
    missing: Missing = "drop",
) -> PanelFit:
    """Fit a regression whose errors have a part that rows of a group share, by feasible generalised least squares.

    y_it = x_it' beta + u_i + e_it. It assumes that u_i has nothing to do with the predictors, which `cl.hausman` tests;
    where it holds, it is more precise than fixed effects, and has coefficients of predictors that do not vary within
    groups. It is the random-intercept model of `cl.mixed` with variances from moments instead of the likelihood, exact
    for groups of different sizes.

    Parameters
    ----------
    formula : as in "y ~ x + z", without random terms.
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    group : the column of the groups.
    time : the column of the times, if they are to be named in tables.
    method : how the variances are estimated: "swar" (Swamy & Arora 1972, the default), "amemiya" (1971), "walhus"
        (Wallace & Hussain 1969) or "nerlove" (1971).
    vcov : covariance of the coefficients, as in `cl.fixed_effects`. "iid" (the default) has normal tests.
    missing : "drop" the rows with missing values in the model's variables or the group, and count them; or "raise".

    Returns
    -------
    PanelFit

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data; the message says what to do.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.random_effects("mathach ~ ses + sector", cl.datasets.load("hsb"), group="school")
    >>> fit.tidy()[["estimate", "std_error"]].round(3)
                      estimate  std_error
    term
    Intercept           11.729      0.193
    ses                  2.445      0.105
    sector[Catholic]     2.078      0.287
    >>> fit.error_components().round(3)
                   variance     sd  share
    component
    school            2.326  1.525  0.059
    idiosyncratic    37.004  6.083  0.941
    """
    given = {"group": group, "time": time, "method": method, "vcov": vcov, "missing": missing}
    check_covariance(vcov)
    check_method(method)
    panel = build_panel(formula, data, group=group, time=time, missing=missing)
    components = error_components(panel, method)
    regression = quasi_regression(panel, components.theta)
    details = RandomDetails(panel=panel, regression=regression, components=components)
    return PanelFit(
        formula=formula, data=data, given=given, panel=panel, covariance=details.covariance(vcov), details=details,
        estimates=PanelEstimates.of(regression, panel.names(regression.products.columns)),
    )  # fmt: skip
