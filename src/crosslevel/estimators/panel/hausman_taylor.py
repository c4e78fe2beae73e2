"""Instrumental-variable estimators that take their instruments from the panel: Hausman-Taylor and its relatives."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.display import Block, Column, Row, Table, fixed, number
from crosslevel.estimators.panel.fit import PanelDetails, PanelFit
from crosslevel.estimators.panel.roles import (
    METHODS,
    Instruments,
    check_method,
    check_order,
    of_kind,
    roles_of,
    unidentified,
)
from crosslevel.estimators.rows import row_index
from crosslevel.estimators.target_rows import new_rows
from crosslevel.inference.distributions import chi_square_tail
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.panel.covariance import RowMaker, TransformedRows, check_covariance, panel_covariance
from crosslevel.inference.panel.estimates import PanelEstimates
from crosslevel.inference.panel.instruments import GroupMoments, Instrumented, Roles, instrumented, period_values
from crosslevel.inference.panel.panel import Panel, build_panel
from crosslevel.inference.panel.periods import values_by_period
from crosslevel.types import FloatArray, Frame, Missing

KINDS = {
    (True, False): "Varying, exogenous", (True, True): "Varying, endogenous",
    (False, False): "Constant, exogenous", (False, True): "Constant, endogenous",
}  # fmt: skip
"""What predictors are, by whether they vary within groups and whether they are endogenous."""


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
        residual = residuals(self.panel, self.roles, self.solved)[1]
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
    def sigma2(self) -> dict[str, float]:
        """Variances of the errors: "idiosyncratic" and, by its name, of the groups."""
        found = self.solved.components
        return {"idiosyncratic": found.idiosyncratic, self.panel.groups.name: found.group}

    @property
    def theta(self) -> pd.Series:
        """Share of its mean that is taken off the rows of each group."""
        levels = pd.Index(self.panel.groups.levels, name=self.panel.groups.name)
        return pd.Series(self.solved.components.theta, index=levels, name="theta")

    @property
    def predictors(self) -> dict[str, tuple[str, ...]]:
        """The predictors of each kind."""
        return {
            words: of_kind(self.panel, self.roles, varying=varying, endogenous=endogenous)
            for (varying, endogenous), words in KINDS.items()
        }

    @property
    def overidentification(self) -> pd.Series:
        """Sargan's test of the instruments: statistic (chi-square), df, p_value; NaN where none is left to test."""
        found = self.solved.overidentification
        statistic = found.statistic if found.df > 0 else np.nan
        p_value = float(chi_square_tail(found.df, statistic)) if found.df > 0 else np.nan
        return pd.Series({"statistic": statistic, "df": float(found.df), "p_value": p_value}, name="Sargan")

    def covariance(self, vcov: str | None) -> OrdinaryCovariance:
        """A covariance of the coefficients by name; that of the model has normal tests."""
        maker = InstrumentedRows(panel=self.panel, roles=self.roles, solved=self.solved)
        return panel_covariance(self.solved.regression, self.panel.groups, maker, vcov, normal=True)

    def augment(self, panel: Panel) -> pd.DataFrame:
        """The rows used: outcome, group, x'beta, residuals y - x'beta, and those of the quasi-demeaned rows."""
        resid, transformed = residuals(panel, self.roles, self.solved)
        outcome = panel.rows(np.array([panel.response]))[0]
        levels = pd.Index(panel.groups.levels).take(panel.groups.codes)
        return pd.DataFrame(
            {
                panel.design.spec.response_name: outcome, panel.groups.name: levels, "fitted": outcome - resid,
                "resid": resid, "resid_transformed": transformed,
            },
            index=row_index(panel.design),
        )  # fmt: skip

    def predict(self, panel: Panel, new: Frame | None) -> pd.Series:
        """Predict x'beta."""
        if new is None:
            return self.augment(panel)["fitted"].rename("prediction")
        rows = new_rows(panel.design, None, (), new)
        estimates = np.empty(rows.n_rows)
        for block in rows.blocks():
            estimates[block.place] = self.solved.regression.beta @ block.columns[panel.design.x]
        return pd.Series(rows.spread(estimates), index=rows.index, name="prediction")

    def facts(self, panel: Panel) -> list[Row]:
        """Variances of the errors, and what they make of the rows."""
        found = self.solved.components
        low, high = found.theta.min(), found.theta.max()
        taken = fixed(low, 3) if low == high else f"{fixed(low, 3)} to {fixed(high, 3)}"
        return [
            ["SD of the group effects", number(found.group**0.5)],
            ["SD within groups", number(found.idiosyncratic**0.5)],
            ["Quasi-demeaning", f"theta = {taken}"],
        ]

    def blocks(self, panel: Panel) -> list[Block]:
        """The predictors by kind, and the test of the instruments."""
        rows: list[Row] = [[words, ", ".join(names) or "none"] for words, names in self.predictors.items()]
        tables: list[Block] = [
            Table(["", ""], rows, title=f"Predictors, varying or constant within {panel.groups.name}")
        ]
        test = self.overidentification
        if test["df"] > 0:
            columns = ["", Column("Chi-square", format="fixed", decimals=2), Column("df", format="count")]
            tables.append(
                Table(
                    [*columns, Column("p", format="p")],
                    [["Sargan", float(test["statistic"]), int(test["df"]), float(test["p_value"])]],
                    title="Test of the instruments",
                    notes=["A small p speaks against some predictors being exogenous."],
                )
            )
        return tables

    def notes(self, panel: Panel) -> list[str]:
        """A variance of zero, instruments that cannot be tested or are too many."""
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
    PanelFit : with `details.overidentification`, Sargan's test of the instruments; `details.sigma2`, `details.theta`
        and `details.predictors`.

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
    solved = instrumented(moments, roles, by_period)
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
    """Residuals y - x'beta (n,), and those of the quasi-demeaned rows."""
    codes, contrast = panel.groups.codes, np.append(-solved.regression.beta, 1.0)
    deviations, means = split_rows(panel, roles)
    inside, between = contrast @ deviations, contrast @ means
    return inside + between[codes], inside + ((1.0 - solved.components.theta) * between)[codes]
