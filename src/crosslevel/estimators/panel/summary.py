"""The summary of a panel estimator as a document: what was fitted, to what, and what came out."""

from typing import TYPE_CHECKING, Any

import numpy as np

from crosslevel.display import Block, Column, Document, Note, Row, Table, counted
from crosslevel.estimators.panel.dependence import independence_note
from crosslevel.estimators.robust_fit import robust_notes, robust_row
from crosslevel.estimators.summary import percent_of, references, rows_in_each

if TYPE_CHECKING:
    from crosslevel.estimators.panel.fit import PanelFit


def summarise(fit: "PanelFit", *, level: float = 0.95) -> Document:
    """Write the summary of a panel estimator.

    Parameters
    ----------
    fit : a fitted panel estimator.
    level : confidence level of the intervals.

    Returns
    -------
    document : prints as text of 80 columns, and as HTML in a notebook.
    """
    notes = [Note(note, kind="warning") for note in fit.notes]
    own = fit.details.blocks(fit.panel)
    blocks: list[Block] = [facts(fit), *notes, coefficients(fit, level), *own, fit_statistics(fit)]
    return Document(f"{fit.details.title} of {fit.spec.response_name}", blocks)


def facts(fit: "PanelFit") -> Table:
    """What was fitted to what."""
    rows: list[Row] = [["Formula", fit.formula]]
    label = fit.labels.get(fit.spec.response_name)
    rows += [["Outcome", f"{fit.spec.response_name}: {label}"]] if label else []
    rows += [["Estimator", fit.details.estimator], ["Rows", rows_used(fit)]]
    rows.append(["Groups", f"{counted(fit.panel.n_groups)} ({fit.group}), {rows_in_each(fit.panel.sizes)}"])
    if fit.panel.times is not None:
        rows.append(["Times", f"{counted(fit.panel.times.n_clusters)} ({fit.panel.times.name})"])
    return Table(["", ""], [*rows, *fit.details.facts(fit.panel)])


def rows_used(fit: "PanelFit") -> str:
    """Rows read, used and dropped, and why."""
    count = fit.rows
    if count.read == count.used:
        return f"{counted(count.read)} read, all used"
    causes = ", ".join(f"{name} ({counted(number)})" for name, number in count.missing.items() if number)
    left = f"{counted(count.dropped)} dropped for missing values in {causes}"
    return f"{counted(count.read)} read, {counted(count.used)} used; {left}"


def coefficients(fit: "PanelFit", level: float) -> Table:
    """The coefficients, and how their standard errors were made."""
    described: Any = fit
    tidy = fit.tidy(level=level)
    normal = bool(np.all(np.isinf(tidy["df"])))
    rows: list[Row] = [robust_row(str(name), row) for name, row in tidy.iterrows()]
    heads = ["Estimate", "SE", "df", "t", "p", f"{percent_of(level)} low", "high"]
    if normal:  # a column of infinities tells nothing
        rows = [[*row[:3], *row[4:]] for row in rows if isinstance(row, list)]
        heads = ["Estimate", "SE", "z", *heads[4:]]
    columns: list[str | Column] = ["Term", *(Column(name, align="decimal") for name in heads)]
    if fit.covariance.robust is not None:
        notes = robust_notes(fit.covariance.robust, "errors that are independent and alike")
    else:
        notes = [f"Standard errors: {fit.covariance.description}.", *independence_note(fit)]
        notes.append(degrees_in_words(fit, normal=normal))
    return Table(columns, rows, title="Coefficients", notes=[*notes, *references(described, fit.terms)])


def degrees_in_words(fit: "PanelFit", *, normal: bool) -> str:
    """What coefficients over standard errors are compared with."""
    if normal:
        return "Tests and intervals: standard normal distribution."
    if fit.covariance.name.startswith("arellano"):
        return "Degrees of freedom: groups - 1."
    return f"Degrees of freedom: {fit.details.degrees}."


def fit_statistics(fit: "PanelFit") -> Table:
    """Share explained and residual standard deviation, of the regression that was solved."""
    names = ("R²", "Adjusted R²", "Residual SD", "Residual sum of squares")
    columns = [
        *(Column(name, format="fixed", decimals=3) for name in names[:3]),
        Column(names[3], format="number"), Column("Residual df", format="integer"),
    ]  # fmt: skip
    row = [fit.r_squared, fit.adj_r_squared, fit.sigma, fit.rss, int(fit.df_residual)]
    return Table(columns, [row], title="Fit", notes=[f"Of the regression on {fit.details.regressed}."])
