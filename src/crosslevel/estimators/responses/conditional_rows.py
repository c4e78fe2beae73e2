"""Frames and notes of conditional logits."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import counted
from crosslevel.estimators.notes import notes_on_rows
from crosslevel.estimators.rows import row_index
from crosslevel.kernels.conditional import conditional_means
from crosslevel.solve.conditional_logit import separating

if TYPE_CHECKING:
    from crosslevel.estimators.responses.conditional_fit import ConditionalFit

FEW_GROUPS = 10
"""Groups with variation below which the information is doubted."""


def group_sizes(fit: "ConditionalFit") -> pd.Series:
    """Rows of each group in which the outcome varies."""
    rows = fit.solved.rows
    index = pd.Index([fit.groups.levels[j] for j in rows.groups], name=fit.groups.name)
    return pd.Series(np.diff(rows.start), index=index, name="rows")


def augment(fit: "ConditionalFit") -> pd.DataFrame:
    """Outcome, group, fitted and resid, in the order of the data."""
    rows = fit.solved.rows
    fitted, eta = np.empty(len(rows.y)), rows.offset + rows.x @ (fit.beta * rows.scale)
    conditional_means(rows.y, eta, rows.start, fitted)
    order = np.argsort(rows.place)
    columns = {
        fit.spec.response_name: rows.y,
        fit.groups.name: pd.Index(fit.groups.levels).take(fit.groups.codes[rows.place]),
        "fitted": fitted,
        "resid": rows.y - fitted,
    }
    return pd.DataFrame(columns, index=row_index(fit.design)[rows.place]).iloc[order]


def separation(fit: "ConditionalFit") -> str:
    """Words on predictors that tell ones from zeros in every group."""
    found = [fit.terms[j] for j in separating(fit.solved.rows, fit.beta)]
    if not found:
        return ""
    together = " together" if len(found) > 1 else ""
    return (
        f"Separation: within the groups of {fit.groups.name}, {', '.join(found)}{together} tell rows with "
        f"{fit.spec.response_name} from those without, as far as they differ. Coefficients grow without end; the "
        "values shown are where the search ended. Merge categories, or leave the predictor out."
    )


def notes_on(fit: "ConditionalFit") -> tuple[str, ...]:
    """Notes on rows and groups that say nothing, on predictors without coefficients, on the search."""
    rows, name = fit.solved.rows, fit.groups.name
    notes = notes_on_rows(fit.design)
    if rows.n_constant:
        total, outcome = fit.groups.n_clusters, fit.spec.response_name
        notes.append(
            f"{counted(rows.n_constant)} of {counted(total)} groups of {name} ({counted(rows.rows_constant)} rows) say "
            f"nothing, as {outcome} is the same in all their rows. If they differ from the others, compare with "
            "cl.mixed(..., family='binomial'), which uses every row."
        )
    if fit.absorbed:
        notes.append(
            f"No coefficient of {', '.join(fit.absorbed)}: constant within {name}, and so part of what is conditioned "
            "away. Interactions with predictors that vary there can be estimated."
        )
    if len(rows.aliased):
        own = fit.design.x[fit.design.x != fit.design.constant]
        listed = ", ".join(fit.design.products.names[j] for j in own[rows.aliased])
        notes.append(f"Left out because earlier terms determine them within {name}: {listed}.")
    if not fit.converged:
        notes.append(fit.separation or fit.status)
    if len(rows.groups) < FEW_GROUPS:
        notes.append(
            f"Only {len(rows.groups)} groups of {name} have an outcome that varies: standard errors are rough."
        )
    return tuple(notes)


def glance(fit: "ConditionalFit") -> pd.DataFrame:
    """A fit in one row."""
    rows = fit.solved.rows
    record = {
        "nobs": fit.nobs,
        "n_groups": len(rows.groups),
        "group": fit.groups.name,
        "n_constant": rows.n_constant,
        "rows_constant": rows.rows_constant,
        "method": "conditional logit",
        "vcov": fit.covariance.name,
        "loglik": fit.loglik,
        "deviance": fit.deviance,
        "pseudo_r_squared": fit.pseudo_r_squared,
        "aic": fit.aic,
        "bic": fit.bic,
        "n_params": fit.n_params,
        "converged": fit.converged,
    }
    return pd.DataFrame([record])
