"""The fixed-effects (within) estimator."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from crosslevel.display import Row, fixed, number
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.panel.fit import PanelDetails, PanelFit
from crosslevel.estimators.panel.rows import Levels, frame_of, predicted
from crosslevel.estimators.panel.uncertainty import Uncertainty
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.panel.covariance import RowMaker, check_covariance, panel_covariance
from crosslevel.inference.panel.estimates import PanelEstimates
from crosslevel.inference.panel.panel import Panel, build_panel
from crosslevel.inference.panel.regression import PanelRegression
from crosslevel.inference.panel.twoways import two_way_regression
from crosslevel.inference.panel.within import WithinRows, group_effects, within_regression
from crosslevel.types import FloatArray, Frame, Missing

Effect = Literal["individual", "twoways"]
"""Whether there are effects of groups, or of groups and of times."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WithinDetails(PanelDetails):
    """Effects of the groups, and of the times of a two-way regression.

    Attributes
    ----------
    panel, regression : the rows, and the regression of transformed rows.
    maker : makes the transformed rows.
    effects : (J,) alpha of the groups.
    time_effects : (T,) of the times, which sum to zero; None if there are none.
    n_sets : sets of groups and times that no row connects; 1 as a rule.
    aliased : columns that effects and other columns determine.
    """

    panel: Panel = field(repr=False)
    regression: PanelRegression = field(repr=False)
    maker: RowMaker = field(repr=False)
    effects: FloatArray = field(repr=False)
    time_effects: FloatArray | None = field(repr=False, default=None)
    n_sets: int = 1
    aliased: tuple[str, ...] = ()

    @property
    def is_two_way(self) -> bool:
        """Whether times have effects too."""
        return self.time_effects is not None

    @property
    def estimator(self) -> str:
        """Fixed effects, of what."""
        assert self.panel.times is not None or not self.is_two_way
        times = f" and {self.panel.times.name}" if self.panel.times is not None and self.is_two_way else ""
        return f"Fixed effects (within {self.panel.groups.name}{times})"

    @property
    def method(self) -> str:
        """Within, of one or two ways."""
        return "within twoways" if self.is_two_way else "within"

    @property
    def title(self) -> str:
        """Heading of the summary."""
        return "Fixed-effects regression"

    @property
    def regressed(self) -> str:
        """What the regression that was solved has as rows."""
        return "rows less effects of groups and times" if self.is_two_way else "rows less the means of their groups"

    @property
    def degrees(self) -> str:
        """How residual degrees of freedom are counted."""
        return f"rows - coefficients - effects of {'groups and times' if self.is_two_way else 'groups'}"

    def covariance(self, vcov: str | None) -> OrdinaryCovariance:
        """A covariance of the slopes by name."""
        return panel_covariance(self.regression, self.panel.groups, self.maker, vcov)

    @property
    def intercept(self) -> float:
        """The effects' mean over rows, ybar - xbar'beta."""
        return self.panel.overall_level(self.regression.products.columns, self.regression.beta)

    @property
    def levels(self) -> tuple[Levels, ...]:
        """Effects of groups, and of times if there are any."""
        own = Levels(clusters=self.panel.groups, effects=self.effects, unknown=np.nan)
        if self.time_effects is None or self.panel.times is None:
            return (own,)
        return own, Levels(clusters=self.panel.times, effects=self.time_effects, unknown=np.nan)

    @property
    def likelihood(self) -> tuple[float, int]:
        """Log-likelihood of the regression with dummies for the effects, and its parameters."""
        return self.regression.loglik, self.regression.n_params

    def augment(self, panel: Panel) -> pd.DataFrame:
        """The rows used: outcome, group, fitted values with the effects, residuals, and the group's effect."""
        rows = panel.rows(np.append(self.regression.products.columns, panel.response))
        fitted = self.regression.beta @ rows[:-1] + sum(level.of_rows for level in self.levels)
        columns = {"fitted": fitted, "resid": rows[-1] - fitted, "effect": self.levels[0].of_rows}
        return frame_of(panel, rows[-1], columns)

    def predict(self, panel: Panel, new: Frame | None) -> pd.Series:
        """Predict x'beta with the effects, NaN where those of a group or time are not known."""
        return predicted(panel, self.regression.products.columns, self.regression.beta, self.levels, 0.0, new)

    def predict_average(self, panel: Panel, new: Frame | None) -> pd.Series:
        """Predict x'beta with the mean effect."""
        return predicted(panel, self.regression.products.columns, self.regression.beta, (), self.intercept, new)

    def uncertainty(self, *, effects: bool) -> Uncertainty:
        """That of the slopes and of the effects, or of their mean over rows as it is in these groups."""
        if self.is_two_way:
            raise CrosslevelError(
                "`se` and `interval` are not known for two-way effects. Fit one-way effects with dummies of the times."
            )
        columns, products = self.regression.products.columns, self.panel.products
        if not effects:
            centre = (products.origin + products.grand_mean)[columns]
            own = np.array([self.regression.sigma2 / self.panel.n_rows])
            return Uncertainty(columns=columns, shift=centre[None], variance=own, residual=np.nan, model_based=True)
        means = (products.origin + products.mean)[:, columns]
        return Uncertainty(
            columns=columns, shift=np.vstack([means, np.full(len(columns), np.nan)]), model_based=True,
            variance=np.append(self.regression.sigma2 / products.count, np.nan), residual=self.regression.sigma2,
        )  # fmt: skip

    def group_effects(self, panel: Panel) -> pd.DataFrame:
        """Effects of the groups with their deviations from the mean and standard errors."""
        columns, products = self.regression.products.columns, panel.products
        out = pd.DataFrame({"estimate": self.effects}, index=pd.Index(panel.groups.levels, name=panel.groups.name))
        out["deviation"] = self.effects - self.effects @ panel.sizes / panel.n_rows
        if not self.is_two_way:
            means = (products.origin + products.mean)[:, columns]
            spread = np.einsum("ja,ab,jb->j", means, self.regression.vcov, means, optimize=True)
            out["std_error"] = np.sqrt(self.regression.sigma2 / products.count + spread)
        out["rows"] = panel.sizes
        return out

    def facts(self, panel: Panel) -> list[Row]:
        """The mean effect, and what explains no more than the effects do."""
        slopes = np.asarray(self.regression.products.columns)
        index = panel.products.mean[:, slopes] @ self.regression.beta
        spread = f"SD {number(float(np.std(self.effects, ddof=1)))}"
        if np.ptp(index) > 0.0 and np.ptp(self.effects) > 0.0:
            spread += f"; correlation with the groups' mean x'beta {fixed(np.corrcoef(index, self.effects)[0, 1], 2)}"
        return [
            ["Overall intercept", f"{number(self.intercept)}, mean of the effects over rows"],
            ["Effects", spread],
        ]

    def notes(self, panel: Panel) -> list[str]:
        """Groups that tell nothing, and columns left out."""
        out = singleton_notes(panel)
        if self.aliased:
            what = "effects and earlier predictors" if self.is_two_way else "earlier predictors"
            out.append(
                f"Left out because {what} determine them within {panel.groups.name}: {', '.join(self.aliased)}. Their "
                "coefficients cannot be estimated; drop them from the formula or recode."
            )
        if self.n_sets > 1:
            out.append(
                f"The rows fall into {self.n_sets} sets that share neither groups nor times. Effects are comparable "
                "within a set only."
            )
        return out


def singleton_notes(panel: Panel) -> list[str]:
    """A note on groups of one row, if there are any."""
    count = panel.n_singletons
    if not count:
        return []
    share = f"{count} of the {panel.n_groups} groups of {panel.groups.name}"
    return [
        f"{share} {'has' if count == 1 else 'have'} one row: {'it adds' if count == 1 else 'they add'} nothing to the "
        "comparison within groups, which rests on the others."
    ]


def fixed_effects(
    formula: str,
    data: Frame,
    *,
    group: str,
    time: str | None = None,
    effect: Effect = "individual",
    vcov: str | None = None,
    missing: Missing = "drop",
) -> PanelFit:
    """Fit a regression with an effect of its own for each group, by comparing rows within groups.

    y_it = alpha_i + x_it' beta + e_it. Whatever is constant within a group, observed or not, is held constant; its own
    coefficient cannot be estimated. The effects are not estimated as dummies but taken out with the group means, from
    the scatters of the groups: 100,000 groups take no longer than ten.

    Parameters
    ----------
    formula : as in "y ~ x + z", without random terms; the effects absorb its intercept.
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    group : the column of the groups.
    time : the column of the times; needed for effect="twoways" and for `fit.test_serial()`.
    effect : "individual", effects of groups; or "twoways", effects of groups and of times,
        y_it = alpha_i + lambda_t + x_it' beta + e_it, exact for unbalanced panels.
    vcov : covariance of the coefficients. "iid" (the default); "CR0" .. "CR3", robust to anything within groups, with
        Satterthwaite's degrees of freedom, of which "CR2" is good with few groups; "arellano-HC0" (the same as
        "CR0"), "-HC1" (times n / (n - p)), "-HC3" (residuals over 1 - leverage) with groups - 1 degrees of freedom, as
        plm in R; "white1-HC0" .. and "white2-HC0" .., variances that differ between rows or groups, no correlation.
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
    >>> fit = cl.fixed_effects("mathach ~ ses", cl.datasets.load("hsb"), group="school", vcov="CR2")
    >>> fit.tidy()[["estimate", "std_error", "df"]].round(3)
          estimate  std_error       df
    term
    ses      2.191       0.13  140.826
    """
    given = {"group": group, "time": time, "effect": effect, "vcov": vcov, "missing": missing}
    check_covariance(vcov)
    if effect not in ("individual", "twoways"):
        raise CrosslevelError(f"`effect` is 'individual' or 'twoways'; got {effect!r}.")
    if effect == "twoways" and time is None:
        raise CrosslevelError("`effect` is 'twoways', which needs the times: name their column, as in time='year'.")
    panel = build_panel(formula, data, group=group, time=time, missing=missing)
    details = two_way_details(panel) if effect == "twoways" else within_details(panel)
    return PanelFit(
        formula=formula, data=data, given=given, panel=panel, covariance=details.covariance(vcov), details=details,
        estimates=PanelEstimates.of(details.regression, panel.names(details.regression.products.columns)),
    )  # fmt: skip


def within_details(panel: Panel) -> WithinDetails:
    """Solve for the coefficients and the effects of groups."""
    regression, aliased = within_regression(panel)
    return WithinDetails(
        panel=panel, regression=regression, maker=WithinRows(panel=panel, columns=regression.products.columns),
        effects=group_effects(panel, regression), aliased=aliased,
    )  # fmt: skip


def two_way_details(panel: Panel) -> WithinDetails:
    """Solve for the coefficients and the effects of groups and of times."""
    assert panel.times is not None
    found = two_way_regression(panel, panel.times)
    return WithinDetails(
        panel=panel, regression=found.regression, maker=found.maker, effects=found.group_effects,
        time_effects=found.time_effects, n_sets=found.n_sets, aliased=found.aliased,
    )  # fmt: skip
