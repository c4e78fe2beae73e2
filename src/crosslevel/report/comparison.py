"""Several models side by side."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import Column, Row, Section, Table, counted, decimals_for, fixed, number
from crosslevel.estimators.summary import shown_decimals

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed import MixedFit


def comparison(models: "Mapping[str, MixedFit | GeneralizedFit]") -> Table:
    """Write models side by side: coefficients with standard errors, variances, and how well each fits.

    Parameters
    ----------
    models : fits by name, in the order of the columns.

    Examples
    --------
    >>> import crosslevel as cl
    >>> sleep = cl.datasets.load("sleepstudy")
    >>> models = {"Null": cl.mixed("Reaction ~ 1 + (1 | Subject)", sleep)}
    >>> table = comparison(models)
    >>> [row[1] for row in table.rows if not isinstance(row, Section)][:3]
    ['298.508 (9.050)', '1278.3', '1958.9']
    """
    fits = list(models.values())
    rows: list[Row] = [Section("Fixed effects: estimate (standard error)")]
    tables = [fit.tidy() for fit in fits]
    for term in dict.fromkeys(term for table in tables for term in table.index):
        rows.append([term, *(estimate_cell(table, term) for table in tables)])
    rows.append(Section("Variances"))
    variances = [variance_cells(fit) for fit in fits]
    names = dict.fromkeys(name for cells in variances for name in cells if name != "Residual")
    residual = ["Residual"] if any("Residual" in cells for cells in variances) else []
    rows += [[name, *(cells.get(name) for cells in variances)] for name in [*names, *residual]]
    rows += [Section("Fit"), *fit_rows(fits)]
    within = "; residual: within clusters" if residual else ", in units of the linear predictor"
    notes = [f"Variances of random effects between clusters{within}."]
    return Table(["", *(Column(name, align="decimal") for name in models)], rows, notes=notes)


def estimate_cell(table: pd.DataFrame, term: str) -> str | None:
    """Estimate and standard error, or nothing where the model lacks the term."""
    if term not in table.index:
        return None
    estimate, error = table["estimate"][term], table["std_error"][term]
    decimals = shown_decimals(error, estimate) if np.isfinite(error) else decimals_for(estimate)
    return (
        f"{fixed(estimate, decimals)} ({fixed(error, decimals) or 'unknown'})"  # too few clusters for a standard error
    )


def variance_cells(fit: "MixedFit | GeneralizedFit") -> dict[str, str]:
    """Variances by the name of the random effect."""
    frame = fit.varcomp()
    kept = frame[~frame["kind"].isin(["covariance", "known covariance"])]
    return {
        "Residual" if row["kind"] == "residual" else f"{row['term1']} ({row['group']})": number(row["estimate"])
        for _, row in kept.iterrows()
    }


def fit_rows(fits: "list[MixedFit | GeneralizedFit]") -> list[Row]:
    """Size of the data, and likelihood statistics."""
    return [
        ["Rows", *(counted(fit.nobs) for fit in fits)],
        ["Clusters", *(", ".join(map(counted, fit.ngroups.values())) for fit in fits)],
        ["Method", *(fit.method.upper() for fit in fits)],
        ["Log-likelihood", *(fixed(fit.loglik, 2) for fit in fits)],
        ["Parameters", *(counted(fit.n_params) for fit in fits)],
        ["AIC", *(fixed(fit.aic, 2) for fit in fits)],
        ["BIC", *(fixed(fit.bic, 2) for fit in fits)],
    ]
