"""The spread of residuals in sentences and tables."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.diagnostics.diagnostic import Concern, sentence_blocks
from crosslevel.display import Column, Document, Row, Table, counted, fixed, number, p_statement

if TYPE_CHECKING:
    from crosslevel.diagnostics.residuals.homogeneity import Homogeneity

CLEAR = 0.01
"""P-value below which a difference may be large enough to act upon."""

MANY = 0.2
"""Share of clusters outside of their 95 % ranges from which on something has to be done."""

LARGE = 1.5
"""Ratio of the largest and the least spread along the fitted values from which on something has to be done."""

SLIGHT = 0.03
"""Correlation of the size of residuals with fitted values below which there is no direction to speak of."""

SHOWN = 3
"""Clusters at each end."""


def concern(found: "Homogeneity") -> Concern:
    """The light."""
    p_values = found.frame["p_value"].to_numpy()
    if not np.any(p_values < 0.05):
        return "none"
    many = [float(table["outside"].mean()) >= MANY for table in found.clusters.values()]
    along = float(found.along["spread"].max()) > LARGE * float(found.along["spread"].min())
    return "act" if np.any((p_values < CLEAR) & np.array([*many, along])) else "look"


def sentences(found: "Homogeneity") -> tuple[str, ...]:
    """What each comparison says, and what to do."""
    told, tables = [], [*found.clusters.values(), found.along]
    for name, row, table in zip(found.frame.index, found.frame.to_dict("records"), tables, strict=True):
        if not np.isfinite(row["p_value"]):
            told.append(f"There is nothing to compare across {name}: they are one group.")
            continue
        wrong = row["p_value"] < 0.05
        how = "differs more than chance explains" if wrong else "is as alike as the model lets expect"
        text = (
            f"The spread of the residuals across {name} {how} (F = {fixed(row['statistic'], 2)}, simulated "
            f"{fixed(row['simulated_mean'], 2)} on average, {p_statement(row['p_value'])}): "
            f"{fixed(row['lowest'], 2)} to {fixed(row['highest'], 2)} times that of the model"
        )
        if name != "fitted values":
            out = int(table["outside"].sum())
            text += f"; {counted(out)} of {counted(len(table))} are outside their 95 % range"
        elif wrong:
            text += f", {_course(found.trend)}"
        told.append(f"{text}.")
    if found.concern == "none":
        return tuple(told)
    if not found.normal:
        told.append(
            "The family's variance is not that of the data, and standard errors may be wrong. Compare a family with a "
            "dispersion of its own (of counts negbinomial, of shares betabinomial), see whether a predictor or a "
            "random slope is missing, look at cl.dispersion(fit), and check by fit.robust()."
        )
        return tuple(told)
    told.append(
        "Coefficients stay unbiased; their standard errors and the variances of random slopes may be wrong. Let the "
        "residual variance differ by groups (residual=cl.residual.By('column')) or grow with the fitted values "
        "(residual=cl.residual.Power()), transform the outcome, or check by fit.robust()."
    )
    return tuple(told)


def _course(trend: float) -> str:
    """How the spread moves with the fitted values."""
    if abs(trend) < SLIGHT:
        return "up and down along them"
    return f"{'growing' if trend > 0.0 else 'falling'} with them (r = {fixed(trend, 2)})"


def write(found: "Homogeneity") -> Document:
    """The document."""
    tables = [_cluster_table(name, table) for name, table in found.clusters.items()]
    return Document(f"Spread of the residuals of {found.outcome}", [*sentence_blocks(found), *tables])


def _cluster_table(name: str, table: pd.DataFrame) -> Table:
    """Clusters with the least and the largest spread, relative to their ranges."""
    standing = (table["spread"] - 1.0) / (table["high"] - table["low"]).replace(0.0, np.nan)
    order = standing.dropna().sort_values(kind="stable").index
    chosen = order if len(order) <= 2 * SHOWN else order[:SHOWN].append(order[-SHOWN:])
    rows: list[Row] = [
        [str(level), int(row["rows"]), number(row["spread"]), f"{number(row['low'])} to {number(row['high'])}"]
        for level, row in zip(chosen, table.loc[chosen].to_dict("records"), strict=True)
    ]
    columns: list[str | Column] = [
        name,
        Column("Rows", format="count"),
        Column("Spread", align="decimal"),
        "95 % of the model's",
    ]
    return Table(columns, rows, title=f"Clusters of {name} with the least and the largest spread")
