"""The fixed-effects (within) estimator."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from crosslevel.display import Row, fixed
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.panel.fit import PanelDetails, PanelFit
from crosslevel.estimators.rows import row_index
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.panel.covariance import check_covariance, panel_covariance
from crosslevel.inference.panel.estimates import PanelEstimates
from crosslevel.inference.panel.panel import Panel, build_panel
from crosslevel.inference.panel.regression import PanelRegression
from crosslevel.inference.panel.within import WithinRows, group_effects, within_regression
from crosslevel.types import FloatArray, Frame, Missing


@dataclass(frozen=True, kw_only=True, eq=False)
class WithinDetails(PanelDetails):
    """Effects of the groups.

    Attributes
    ----------
    panel, regression : the rows, and the regression of rows less group means.
    effects : (J,) alpha of the groups.
    aliased : columns that are linear combinations of others within groups.
    """

    panel: Panel = field(repr=False)
    regression: PanelRegression = field(repr=False)
    effects: FloatArray = field(repr=False)
    aliased: tuple[str, ...]

    @property
    def estimator(self) -> str:
        """Fixed effects, of what."""
        return f"Fixed effects (within {self.panel.groups.name})"

    @property
    def method(self) -> str:
        """Within."""
        return "within"

    @property
    def title(self) -> str:
        """Heading of the summary."""
        return "Fixed-effects regression"

    def covariance(self, vcov: str | None) -> OrdinaryCovariance:
        """A covariance of the slopes by name."""
        maker = WithinRows(panel=self.panel, columns=self.regression.products.columns)
        return panel_covariance(self.regression, self.panel.groups, maker, vcov)

    @property
    def intercept(self) -> float:
        """The effects' mean over rows."""
        return float(self.panel.sizes @ self.effects / self.panel.n_rows)

    def augment(self, panel: Panel) -> pd.DataFrame:
        """The rows used: outcome, group, fitted values with the group's effect, residuals, and the effect."""
        columns = np.append(self.regression.products.columns, panel.response)
        rows, effect = panel.rows(columns), self.effects[panel.groups.codes]
        fitted = self.regression.beta @ rows[:-1] + effect
        levels = pd.Index(panel.groups.levels).take(panel.groups.codes)
        return pd.DataFrame(
            {
                panel.design.spec.response_name: rows[-1], panel.groups.name: levels, "fitted": fitted,
                "resid": rows[-1] - fitted, "effect": effect,
            },
            index=row_index(panel.design),
        )  # fmt: skip

    def predict(self, panel: Panel, new: Frame | None) -> pd.Series:
        """Predict x'beta with the effect of the group."""
        if new is not None:
            raise CrosslevelError("`new` is not taken yet.")
        return self.augment(panel)["fitted"].rename("prediction")

    def facts(self, panel: Panel) -> list[Row]:
        """The mean effect."""
        return [["Overall intercept", f"{fixed(self.intercept, 3)}, the mean of the effects over rows"]]


def fixed_effects(
    formula: str,
    data: Frame,
    *,
    group: str,
    time: str | None = None,
    effect: Literal["individual", "twoways"] = "individual",
    vcov: str | None = None,
    missing: Missing = "drop",
) -> PanelFit:
    """Fit a regression with an effect of its own for each group, by comparing rows within groups.

    y_it = alpha_i + x_it' beta + e_it. Whatever is constant within a group, observed or not, is held constant.

    Parameters
    ----------
    formula : as in "y ~ x + z", without random terms; the effects absorb its intercept.
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    group : the column of the groups.
    time : the column of the times; needed for effect="twoways".
    effect : "individual", effects of groups; or "twoways", effects of groups and of times.
    vcov : "iid" (the default), "CR0" .. "CR3", "arellano-HC0" .. "arellano-HC3", ...; see `PanelFit.tests`.
    missing : "drop" the rows with missing values in the model's variables, the group or the time, and count them; or
        "raise".

    Returns
    -------
    PanelFit

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data; the message says what to do.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.fixed_effects("mathach ~ ses", cl.datasets.load("hsb"), group="school")
    >>> fit.tidy()[["estimate", "std_error", "df"]].round(3)
          estimate  std_error      df
    term
    ses      2.191      0.109  7024.0
    """
    given = {"group": group, "time": time, "effect": effect, "vcov": vcov, "missing": missing}
    check_covariance(vcov)
    panel = build_panel(formula, data, group=group, time=time, missing=missing)
    regression, aliased = within_regression(panel)
    details = WithinDetails(
        panel=panel, regression=regression, effects=group_effects(panel, regression), aliased=aliased
    )
    names = panel.names(regression.products.columns)
    return PanelFit(
        formula=formula, data=data, given=given, panel=panel, estimates=PanelEstimates.of(regression, names),
        covariance=details.covariance(vcov), details=details,
    )  # fmt: skip
