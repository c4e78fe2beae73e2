"""Instrumental-variable estimators that take their instruments from the panel: Hausman-Taylor and its relatives."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.display import Block, Column, Row, Table
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.panel.error_components import components_frame, components_table, taken_off
from crosslevel.estimators.panel.fit import PanelDetails, PanelFit
from crosslevel.estimators.panel.roles import (
    METHODS,
    Instruments,
    check_method,
    check_order,
    check_residual,
    of_kind,
    roles_of,
    unidentified,
)
from crosslevel.estimators.panel.rows import Levels, frame_of, predicted
from crosslevel.estimators.panel.uncertainty import Uncertainty
from crosslevel.inference.distributions import chi_square_tail
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.panel.covariance import RowMaker, TransformedRows, check_covariance, panel_covariance
from crosslevel.inference.panel.estimates import PanelEstimates
from crosslevel.inference.panel.instruments import (
    GroupMoments,
    Instrumented,
    Roles,
    instrumented,
    period_values,
    variance_components,
)
from crosslevel.inference.panel.panel import Panel, build_panel
from crosslevel.inference.panel.periods import values_by_period
from crosslevel.types import FloatArray, Frame, Missing

KINDS = {
    (True, False): "Varying, exogenous", (True, True): "Varying, endogenous",
    (False, False): "Constant, exogenous", (False, True): "Constant, endogenous",
}  # fmt: skip
"""What predictors are, by whether they vary within groups and whether they are endogenous."""

SMALL_P = "A small p speaks against some predictors being exogenous."
"""What the test of the instruments tells."""


@dataclass(frozen=True, kw_only=True, eq=False)
class InstrumentedRows(RowMaker):
    """Rows of what the instruments make of X*, and of outcomes whose residuals from them are those of the model.

    Attributes
    ----------
    panel, roles, solved : the rows, the kinds of its columns, and the estimates.
    """

    panel: Panel
    roles: Roles
    solved: Instrumented

    def rows(self) -> TransformedRows:
        """Deviations from group means plus the means that the instruments see; fitted value plus residual."""
        codes = self.panel.groups.codes
        deviations, _ = split_rows(self.panel, self.roles)
        x = deviations[:-1] + self.solved.seen.T[:, codes]
        inside, average = residuals(self.panel, self.roles, self.solved)
        residual = inside + ((1.0 - self.solved.components.theta) * average)[codes]
        return TransformedRows(x=x, y=self.solved.regression.beta @ x + residual, codes=codes)


@dataclass(frozen=True, kw_only=True, eq=False)
class InstrumentDetails(PanelDetails):
    """What belongs to Hausman-Taylor and its relatives.

    Attributes
    ----------
    panel : the rows.
    roles : which columns vary within groups, and which are endogenous.
    instruments : "ht", "am" or "bms".
    solved : the estimates with the variances of the errors and the test of the instruments.
    """

    panel: Panel = field(repr=False)
    roles: Roles = field(repr=False)
    instruments: Instruments
    solved: Instrumented = field(repr=False)

    @property
    def estimator(self) -> str:
        """Whose instruments."""
        return f"{METHODS[self.instruments]} ({self.panel.groups.name})"

    @property
    def method(self) -> str:
        """The same in one word."""
        return {"ht": "hausman-taylor", "am": "amemiya-macurdy", "bms": "breusch-mizon-schmidt"}[self.instruments]

    @property
    def title(self) -> str:
        """Heading of the summary."""
        return f"{METHODS[self.instruments]} regression"

    @property
    def regressed(self) -> str:
        """What the regression that was solved has as rows."""
        return (
            "rows less theta times the means of their groups, by two-stage least squares; R² is the squared "
            "correlation of their outcome and what is fitted to it"
        )

    @property
    def theta(self) -> pd.Series:
        """Share of its mean that is taken off the rows of each group."""
        return pd.Series(self.solved.components.theta, index=self._levels, name="theta")

    @property
    def _levels(self) -> pd.Index:
        """The groups."""
        return pd.Index(self.panel.groups.levels, name=self.panel.groups.name)

    @property
    def predictors(self) -> dict[str, tuple[str, ...]]:
        """The predictors of each kind."""
        return {
            words: of_kind(self.panel, self.roles, varying=varying, endogenous=endogenous)
            for (varying, endogenous), words in KINDS.items()
        }

    @property
    def overidentification(self) -> pd.Series:
        """Sargan's test of the instruments: statistic (chi-square), df, p_value; NaN where none is left to test.

        With the variance of the errors estimated otherwise it is the Hausman test of these estimates against those of
        fixed effects, which need no such instruments (Hausman & Taylor 1981, section 3).
        """
        found = self.solved.overidentification
        statistic = found.statistic if found.df > 0 else np.nan
        p_value = float(chi_square_tail(found.df, statistic)) if found.df > 0 else np.nan
        return pd.Series({"statistic": statistic, "df": float(found.df), "p_value": p_value}, name="Sargan")

    def covariance(self, vcov: str | None) -> OrdinaryCovariance:
        """A covariance of the coefficients by name; that of the model has normal tests."""
        maker = InstrumentedRows(panel=self.panel, roles=self.roles, solved=self.solved)
        return panel_covariance(self.solved.regression, self.panel.groups, maker, vcov, normal=True)

    @property
    def weights(self) -> FloatArray:
        """(J,) share of a group's mean residual that its predicted effect is."""
        found, n = self.solved.components, self.panel.products.count
        return np.asarray(n * found.group / (found.idiosyncratic + n * found.group))

    @property
    def effects(self) -> FloatArray:
        """(J,) predicted effects u_i."""
        return np.asarray(self.weights * residuals(self.panel, self.roles, self.solved)[1])

    def augment(self, panel: Panel) -> pd.DataFrame:
        """The rows used: outcome, group, fitted values with the effect, residuals, effect, transformed residuals.

        The latter, "resid_transformed", are those of the rows less theta times their group's mean.
        """
        inside, means = residuals(panel, self.roles, self.solved)
        codes, theta, effects = panel.groups.codes, self.solved.components.theta, self.weights * means
        outcome = panel.rows(np.array([panel.response]))[0]
        resid = inside + (means - effects)[codes]
        columns = {
            "fitted": outcome - resid, "resid": resid, "effect": effects[codes],
            "resid_transformed": inside + ((1.0 - theta) * means)[codes],
        }  # fmt: skip
        return frame_of(panel, outcome, columns)

    def predict(self, panel: Panel, new: Frame | None) -> pd.Series:
        """Predict x'beta with the effects, zero for a group that is not known."""
        levels = (Levels(clusters=panel.groups, effects=self.effects, unknown=0.0),)
        return predicted(panel, self.roles.columns, self.solved.regression.beta, levels, 0.0, new)

    def predict_average(self, panel: Panel, new: Frame | None) -> pd.Series:
        """Predict x'beta."""
        return predicted(panel, self.roles.columns, self.solved.regression.beta, (), 0.0, new)

    def uncertainty(self, *, effects: bool) -> Uncertainty:
        """That of the coefficients."""
        if effects:
            raise CrosslevelError(
                "`se` and `interval` are not known for predicted effects of instrumented regressions. Use "
                "effects=False, for predictions without them."
            )
        found = self.solved.components
        return Uncertainty.of_coefficients(self.roles.columns, found.group + found.idiosyncratic)

    def group_effects(self, panel: Panel) -> pd.DataFrame:
        """Predicted effects, with the standard errors of their prediction given the coefficients."""
        errors = np.sqrt(self.solved.components.group * (1.0 - self.weights))
        record = {"estimate": self.effects, "std_error": errors, "theta": self.theta, "rows": panel.sizes}
        return pd.DataFrame(record, index=self._levels)

    def error_components(self) -> pd.DataFrame:
        """Variances of groups and rows, with standard deviations and shares."""
        found = self.solved.components
        return components_frame(self.panel.groups.name, found.group, found.idiosyncratic)

    def facts(self, panel: Panel) -> list[Row]:
        """Shares of the means that are taken off."""
        return [taken_off(self.solved.components.theta)]

    def blocks(self, panel: Panel) -> list[Block]:
        """The predictors by kind, the test of the instruments, and the variances of the errors."""
        kinds: list[Row] = [[words, ", ".join(names) or "none"] for words, names in self.predictors.items()]
        title = f"Predictors, varying or constant within {panel.groups.name}"
        tables: list[Block] = [Table(["", ""], kinds, title=title)]
        test = self.overidentification
        if test["df"] > 0:
            columns: list[str | Column] = [
                "", Column("Chi-square", format="fixed", decimals=2), Column("df", format="count"),
                Column("p", format="p"),
            ]  # fmt: skip
            row: Row = ["Sargan", float(test["statistic"]), int(test["df"]), float(test["p_value"])]
            tables.append(Table(columns, [row], title="Test of the instruments", notes=[SMALL_P]))
        return [*tables, components_table(self.error_components())]

    def notes(self, panel: Panel) -> list[str]:
        """A variance of zero; instruments that cannot be tested."""
        notes = []
        if self.solved.components.floored:
            notes.append(
                "The estimated variance of the group effects was negative and is taken as zero: the rows are not "
                "quasi-demeaned. Endogeneity by group effects is then hardly a concern; compare with cl.ols."
            )
        if self.solved.overidentification.df == 0 and self.predictors["Constant, endogenous"]:
            notes.append(
                "There are just as many instruments as coefficients, so that no test can speak for or against them."
            )
        return notes


def hausman_taylor(
    formula: str,
    data: Frame,
    *,
    group: str,
    endogenous: Sequence[str],
    time: str | None = None,
    method: Instruments = "ht",
    vcov: str | None = None,
    missing: Missing = "drop",
) -> PanelFit:
    """Fit a panel regression of which some predictors are correlated with the effects of the groups.

    y_it = x_it'beta + z_i'gamma + u_i + e_it. Unlike fixed effects it has coefficients of z, which is constant within
    groups; unlike random effects it lets predictors that are named be correlated with u_i. Instruments come from the
    panel itself: deviations from group means of all that varies within groups, and the group means of what is exogenous
    and varies. Nothing is correlated with e_it.

    Parameters
    ----------
    formula : as in "y ~ x + z", without random terms. Which predictors vary within groups is found from the data.
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    group : the column of the groups.
    endogenous : the predictors that are correlated with the group effects: names of coefficients, or of variables, and
        then of all that is made of them (dummies, powers, interactions).
    time : the column of the periods; needed for "am" and "bms".
    method : "ht" (Hausman & Taylor 1981); "am" (Amemiya & MaCurdy 1986), which takes the values of the exogenous
        predictors in each period instead of their means: more precise, if they are uncorrelated with u_i in each
        period; "bms" (Breusch, Mizon & Schmidt 1989), which adds the deviations of the endogenous predictors in each
        period: if they are correlated with u_i by a part that is constant in time. The last two need balanced panels.
    vcov : "iid" (the default; normal tests), "CR0" .. "CR3" (t tests), "arellano-HC0", ...; see `PanelFit.tests`.
    missing : "drop" the rows with missing values in the model's variables, the group or the time, and count them; or
        "raise".

    Returns
    -------
    PanelFit : its `details.overidentification` is Sargan's test of the instruments, but for the estimate of the
        variance the Hausman test against fixed effects; `details.predictors` are the predictors by kind.

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data; too few instruments; the message says what to do.

    Examples
    --------
    >>> import numpy as np
    >>> import crosslevel as cl
    >>> rng = np.random.default_rng(1)
    >>> person = np.repeat(np.arange(200), 5)
    >>> ability, health = rng.normal(size=(2, 200))
    >>> school = ability + health + rng.normal(size=200)
    >>> hours = health[person] + rng.normal(size=1000)
    >>> wage = 2 * school[person] + hours + 3 * ability[person] + rng.normal(size=1000)
    >>> data = {"person": person, "school": school[person], "hours": hours, "wage": wage}
    >>> fit = cl.hausman_taylor("wage ~ school + hours", data, group="person", endogenous=["school"])
    >>> fit.tidy()[["estimate", "std_error", "p_value"]].round(3)
               estimate  std_error  p_value
    term
    Intercept    -0.143      0.182    0.432
    school        2.336      0.259    0.000
    hours         0.976      0.033    0.000
    """
    given = {
        "group": group, "endogenous": endogenous, "time": time, "method": method, "vcov": vcov, "missing": missing,
    }  # fmt: skip
    check_covariance(vcov)
    chosen = check_method(method)
    panel = build_panel(formula, data, group=group, time=time, missing=missing)
    roles = roles_of(panel, endogenous)
    by_period = period_instruments(panel, roles, chosen)
    check_order(panel, roles, chosen)
    moments = GroupMoments.of(panel.products, np.append(roles.columns, panel.response), panel.design.constant)
    components = variance_components(moments, roles)
    check_residual(panel, components.idiosyncratic)
    solved = instrumented(moments, roles, components, by_period)
    if solved is None:
        raise unidentified(panel, roles)
    details = InstrumentDetails(panel=panel, roles=roles, instruments=chosen, solved=solved)
    return PanelFit(
        formula=formula, data=data, given=given, panel=panel, estimates=estimates_of(panel, roles, solved),
        covariance=details.covariance(vcov), details=details,
    )  # fmt: skip


def estimates_of(panel: Panel, roles: Roles, solved: Instrumented) -> PanelEstimates:
    """Coefficients and fit."""
    found = solved.regression
    total = panel.n_rows - (1.0 if panel.has_intercept else 0.0)
    return PanelEstimates(
        names=panel.names(roles.columns), beta=found.beta, sigma=found.sigma2**0.5, n_rows=panel.n_rows,
        df_residual=found.df_residual, rss=found.rss, r_squared=solved.r_squared,
        adj_r_squared=1.0 - (1.0 - solved.r_squared) * total / found.df_residual,
    )  # fmt: skip


def period_instruments(panel: Panel, roles: Roles, method: Instruments) -> FloatArray | None:
    """Instruments (J, k) by period; None for Hausman and Taylor's."""
    if method == "ht":
        return None
    exogenous = values_by_period(panel, roles.columns[roles.varying & ~roles.endogenous])
    if method == "am":
        return period_values(exogenous, None)
    values = values_by_period(panel, roles.columns[roles.varying & roles.endogenous])
    return period_values(exogenous, values - values.mean(axis=1, keepdims=True))


def split_rows(panel: Panel, roles: Roles) -> tuple[FloatArray, FloatArray]:
    """Deviations from group means (p + 1, n), and means (p + 1, J), of the columns and the outcome."""
    columns, products = np.append(roles.columns, panel.response), panel.products
    means = (products.mean[:, columns] + products.origin[columns]).T
    return panel.rows(columns) - means[:, panel.groups.codes], means


def residuals(panel: Panel, roles: Roles, solved: Instrumented) -> tuple[FloatArray, FloatArray]:
    """Residuals y - x'beta less their group means (n,), and those means (J,)."""
    deviations, means = split_rows(panel, roles)
    contrast = np.append(-solved.regression.beta, 1.0)
    return contrast @ deviations, contrast @ means
