"""The summary of generalized estimating equations as a document."""

from typing import TYPE_CHECKING, Any

import numpy as np

from crosslevel.display import Block, Column, Document, Note, Row, Table, counted
from crosslevel.estimators.codings import references
from crosslevel.estimators.responses.coefficient_words import coefficient_words
from crosslevel.estimators.responses.gee_solve import CORRELATIONS
from crosslevel.estimators.responses.ratio_words import ratios
from crosslevel.estimators.summary import rows_in_each, rows_used

if TYPE_CHECKING:
    from crosslevel.estimators.responses.gee_fit import GEEFit


def summarise(fit: "GEEFit", *, level: float = 0.95) -> Document:
    """Write the summary of generalized estimating equations."""
    notes = [Note(note, kind="warning") for note in fit.notes]
    tidy, found = fit.tidy(level=level), fit.covariance_by()
    about = "Of the population as a whole, averaged over groups."
    under = [f"Standard errors: {found.description}.", "Degrees of freedom: groups - coefficients (Li & Redden 2015)."]
    table = coefficient_words(tidy, level, title="Coefficients", notes=[*under, *references(fit)])
    blocks: list[Block] = [facts(fit), *notes, table, *ratios(tidy, fit.family.link, level, about=about)]
    return Document(f"Generalized estimating equations of {fit.outcome.name}", [*blocks, _statistics(fit)])


def facts(fit: "GEEFit") -> Table:
    """What was fitted to what."""
    described: Any = fit  # the rows are all that is asked of it
    rows: list[Row] = [["Formula", fit.formula]]
    if fit.outcome.labels is not None:
        rows.append(["Modelled", f"the probability of {fit.outcome.labels[1]!r} (against {fit.outcome.labels[0]!r})"])
    rows += [
        ["Family", fit.family.description],
        ["Correlation", f"within {fit.groups.name}: {CORRELATIONS[fit.given['correlation']]}"],
        ["Method", "generalized estimating equations, by statsmodels"],
        ["Rows", rows_used(described)],
    ]
    sizes = np.bincount(fit.groups.codes)
    rows.append(["Groups", f"{counted(len(sizes))} ({fit.groups.name}), {rows_in_each(sizes)}"])
    return Table(["", ""], [*rows, ["Status", fit.status]])


def _statistics(fit: "GEEFit") -> Table:
    """Working correlation, dispersion and QIC."""
    columns: list[str | Column] = [
        *(Column(name, format="fixed", decimals=3) for name in ("Working correlation", "Dispersion")),
        Column("QIC", format="fixed", decimals=2),
    ]
    return Table(columns, [[fit.correlation, fit.dispersion, fit.qic]], title="Fit")
