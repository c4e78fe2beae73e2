"""The summary of a linear regression as a document: what was fitted, to what, and what came out."""

from typing import TYPE_CHECKING, Any

from crosslevel.display import Block, Column, Document, Note, Row, Table, counted
from crosslevel.estimators.robust_fit import robust_notes, robust_row
from crosslevel.estimators.summary import percent_of, references, rows_in_each, rows_used

if TYPE_CHECKING:
    from crosslevel.estimators.ols_fit import OLSFit


def summarise(fit: "OLSFit", *, level: float = 0.95) -> Document:
    """Write the summary of a linear regression.

    Parameters
    ----------
    fit : a fitted regression.
    level : confidence level of the intervals.

    Returns
    -------
    document : prints as text of 80 columns, and as HTML in a notebook.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.ols("mathach ~ ses", cl.datasets.load("hsb"), cluster="school")
    >>> print(str(summarise(fit)).splitlines()[0])
    Linear regression of mathach
    """
    notes = [Note(note, kind="warning") for note in fit.notes]
    blocks: list[Block] = [facts(fit), *notes, coefficients(fit, level), fit_statistics(fit)]
    return Document(f"Linear regression of {fit.spec.response_name}", blocks)


def facts(fit: "OLSFit") -> Table:
    """What was fitted to what."""
    described: Any = fit  # the rows and the formula are all that is asked of it
    rows: list[Row] = [["Formula", fit.formula]]
    label = fit.labels.get(fit.spec.response_name)
    rows += [["Outcome", f"{fit.spec.response_name}: {label}"]] if label else []
    weights = fit.design.weights
    weighted = weights is not None and weights.is_precision
    rows += [["Method", f"{'weighted' if weighted else 'ordinary'} least squares"], ["Rows", rows_used(described)]]
    if weights is not None:
        rows.append(["Weights", weights.given.words])
    if fit.design.offset is not None:
        rows.append(["Offset", fit.design.offset_column or "numbers given"])
    for name, sizes in fit.cluster_sizes.items():
        rows.append(["Clusters", f"{counted(len(sizes))} ({name}), {rows_in_each(sizes)}"])
    return Table(["", ""], rows)


def coefficients(fit: "OLSFit", level: float) -> Table:
    """The coefficients, and how their standard errors were made."""
    described: Any = fit
    rows: list[Row] = [robust_row(str(name), row) for name, row in fit.tidy(level=level).iterrows()]
    heads = ("Estimate", "SE", "df", "t", "p", f"{percent_of(level)} low", "high")
    columns: list[str | Column] = ["Term", *(Column(name, align="decimal") for name in heads)]
    if fit.covariance.robust is not None:
        notes = robust_notes(fit.covariance.robust, "rows that are independent and alike")
    else:
        notes = [f"Standard errors: {fit.covariance.description}.", "Degrees of freedom: rows - coefficients."]
    return Table(columns, rows, title="Coefficients", notes=[*notes, *references(described)])


def fit_statistics(fit: "OLSFit") -> Table:
    """Share explained, residual standard deviation, log-likelihood and its kin, side by side."""
    names = ("R²", "Adjusted R²", "Residual SD")
    columns = [
        *(Column(name, format="fixed", decimals=3) for name in names),
        *(Column(name, format="fixed", decimals=2) for name in ("Log-likelihood", "AIC", "BIC")),
    ]
    row = [fit.r_squared, fit.adj_r_squared, fit.sigma, fit.loglik, fit.aic, fit.bic]
    note = "The log-likelihood, AIC and BIC take rows to be independent; clusters are in the standard errors only."
    return Table(columns, [row], title="Fit", notes=[note] if fit.clusters else [])
