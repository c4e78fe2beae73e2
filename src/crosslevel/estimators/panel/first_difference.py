"""The first-difference estimator."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.display import Row, counted
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.panel.fit import PanelDetails, PanelFit
from crosslevel.estimators.panel.uncertainty import Uncertainty
from crosslevel.estimators.rows import row_index
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.panel.covariance import check_covariance, panel_covariance
from crosslevel.inference.panel.differences import FirstDifferences, difference_regression
from crosslevel.inference.panel.estimates import PanelEstimates
from crosslevel.inference.panel.panel import Panel, build_panel
from crosslevel.types import Frame, Missing


@dataclass(frozen=True, kw_only=True, eq=False)
class DifferenceDetails(PanelDetails):
    """The regression of differences.

    Attributes
    ----------
    panel, times : the rows, and their times.
    solved : the regression, and which rows were compared.
    over_gaps : whether differences over gaps are among them.
    """

    panel: Panel = field(repr=False)
    times: Clustering = field(repr=False)
    solved: FirstDifferences = field(repr=False)
    over_gaps: bool

    @property
    def estimator(self) -> str:
        """First differences, of what."""
        return f"First differences ({self.panel.groups.name} by {self.times.name})"

    @property
    def method(self) -> str:
        """First difference."""
        return "first difference"

    @property
    def title(self) -> str:
        """Heading of the summary."""
        return "First-difference regression"

    @property
    def regressed(self) -> str:
        """What the regression that was solved has as rows."""
        return "differences"

    @property
    def degrees(self) -> str:
        """How residual degrees of freedom are counted."""
        return "differences - coefficients"

    def covariance(self, vcov: str | None) -> OrdinaryCovariance:
        """A covariance of the coefficients by name."""
        return panel_covariance(self.solved.regression, self.panel.groups, self.solved.maker, vcov)

    @property
    def likelihood(self) -> tuple[float, int]:
        """Log-likelihood of the differences, taken as independent, and its parameters."""
        return self.solved.regression.loglik, self.solved.regression.n_params

    def augment(self, panel: Panel) -> pd.DataFrame:
        """The differences by group and time: of the outcome, group, the later time, fitted values, residuals."""
        kept, later = self.solved.maker.rows(), self.solved.steps.later
        fitted = self.solved.regression.beta @ kept.x
        return pd.DataFrame(
            {
                panel.design.spec.response_name: kept.y,
                panel.groups.name: pd.Index(panel.groups.levels).take(kept.codes),
                self.times.name: pd.Index(self.times.levels).take(self.times.codes[later]),
                "fitted": fitted, "resid": kept.y - fitted,
            },
            index=row_index(panel.design)[later],
        )  # fmt: skip

    def predict(self, panel: Panel, new: Frame | None) -> pd.Series:
        """Predict differences of the outcome."""
        if new is not None:
            raise CrosslevelError(
                "`new` has levels, and first differences tell changes: the level of a new row is not known. Use the "
                "predictions of cl.fixed_effects, or multiply changes of predictors by fit.params."
            )
        return self.augment(panel)["fitted"].rename("prediction")

    def uncertainty(self, *, effects: bool) -> Uncertainty:
        """That of the coefficients; outcomes are differences."""
        regression = self.solved.regression
        own = self.solved.maker.rows().x.T
        return Uncertainty.of_coefficients(np.asarray(regression.products.columns), regression.sigma2, own)

    def facts(self, panel: Panel) -> list[Row]:
        """How many differences there are, and over what."""
        count = len(self.solved.steps.later)
        over = f", {counted(self.solved.steps.n_gaps)} of them over gaps" if self.over_gaps else ""
        return [["Differences", f"{counted(count)} between neighbouring times{over}"]]

    def notes(self, panel: Panel) -> list[str]:
        """Gaps, groups without differences, uneven times, and columns left out."""
        out = []
        if self.solved.steps.n_gaps and not self.over_gaps:
            out.append(
                f"{self.solved.steps.n_gaps} differences over gaps were left out, where a group misses a value of "
                f"{self.times.name} that others have. over_gaps=True takes them as they are."
            )
        silent = panel.n_groups - len(np.unique(panel.groups.codes[self.solved.steps.later]))
        if silent:
            out.append(
                f"{silent} of the {panel.n_groups} groups of {panel.groups.name} have no rows at neighbouring times "
                "and add nothing."
            )
        if isinstance(self.times.levels[0], str) and not panel.design.columns.categories(self.times.name):
            first = ", ".join(map(str, self.times.levels[:4]))
            out.append(
                f"{self.times.name} is text and was put into alphabetical order: {first}, ... Check that it is "
                "the order of time."
            )
        if is_uneven(self.times.levels):
            out.append(
                f"The values of {self.times.name} are not equally spaced, so that differences span times of different "
                "length; the intercept is the change per step, not per unit of time."
            )
        if self.solved.aliased:
            out.append(
                f"Left out because earlier terms determine their differences: {', '.join(self.solved.aliased)} (the "
                "intercept is a common change per step). Their coefficients cannot be estimated; drop them, or write "
                "'~ 0 + ...' to leave the intercept out."
            )
        return out


def is_uneven(levels: tuple[object, ...]) -> bool:
    """Whether times are numbers that are not equally spaced."""
    if len(levels) < 3 or not all(isinstance(level, int | float) for level in levels):
        return False
    steps = np.diff(np.array(levels, dtype=np.float64))
    return bool(np.ptp(steps) > 1e-6 * np.abs(steps).max())


def first_difference(
    formula: str,
    data: Frame,
    *,
    group: str,
    time: str,
    over_gaps: bool = False,
    vcov: str | None = None,
    missing: Missing = "drop",
) -> PanelFit:
    """Fit a regression of changes on changes: each row less the row of its group at the time before.

    y_it - y_i,t-1 = delta + (x_it - x_i,t-1)' beta + error. As fixed effects, it holds constant whatever does not
    change within a group, and is the better of the two where errors are a random walk (see `fit.test_serial()`). The
    intercept delta is a change common to all groups; "~ 0 + x" leaves it out.

    Parameters
    ----------
    formula : as in "y ~ x + z", without random terms.
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports; in any order of rows.
    group : the column of the groups.
    time : the column of the times, numbers, dates or ordered categories. Neighbouring times are those that follow each
        other among all that occur in the data.
    over_gaps : whether to take differences over gaps too, where a group misses a time that others have.
    vcov : covariance of the coefficients, as in `cl.fixed_effects`. Differences of errors that are independent are
        correlated (-1/2 with their neighbours): "CR2" or "arellano-HC1" allow for it, "iid" (the default) does not.
    missing : "drop" the rows with missing values in the model's variables, the group or the time, and count them; or
        "raise".

    Returns
    -------
    PanelFit, whose rows are the differences.

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data; the message says what to do.

    Examples
    --------
    >>> import crosslevel as cl
    >>> sleep = cl.datasets.load("sleepstudy")
    >>> fit = cl.first_difference("Reaction ~ I(Days**2)", sleep, group="Subject", time="Days", vcov="CR2")
    >>> fit.tidy()[["estimate", "std_error", "df"]].round(3)
              estimate  std_error    df
    term
    Intercept        6.534      4.032  17.0
    I(Days ** 2)     0.437      0.449  17.0
    """
    given = {"group": group, "time": time, "over_gaps": over_gaps, "vcov": vcov, "missing": missing}
    check_covariance(vcov)
    if time is None:
        raise CrosslevelError("`time` is the column of the times, such as time='year'; got None.")
    panel = build_panel(formula, data, group=group, time=time, missing=missing)
    assert panel.times is not None
    solved = difference_regression(panel, panel.times, over_gaps=over_gaps)
    details = DifferenceDetails(panel=panel, times=panel.times, solved=solved, over_gaps=over_gaps)
    return PanelFit(
        formula=formula, data=data, given=given, panel=panel, covariance=details.covariance(vcov), details=details,
        estimates=PanelEstimates.of(solved.regression, panel.names(solved.regression.products.columns)),
    )  # fmt: skip
