"""The summary of a generalized linear model as a document: what was fitted, to what, and what came out."""

from typing import TYPE_CHECKING, Any

from crosslevel.design.precision import words_of_weights
from crosslevel.display import Block, Column, Document, Note, Row, Table, counted
from crosslevel.estimators.responses.coefficient_words import coefficient_words
from crosslevel.estimators.responses.ratio_words import ratios
from crosslevel.estimators.robust_fit import robust_notes
from crosslevel.estimators.summary import references, rows_in_each, rows_used

if TYPE_CHECKING:
    from crosslevel.estimators.responses.glm_fit import GLMFit

ABOUT = "Of the population as a whole, averaged over clusters; ratios within a cluster are farther from 1."
"""What the ratios of a logit without random effects are about."""


def summarise(fit: "GLMFit", *, level: float = 0.95) -> Document:
    """Write the summary of a generalized linear model.

    Parameters
    ----------
    fit : a fitted model.
    level : confidence level of the intervals.

    Returns
    -------
    document : prints as text of 80 columns, and as HTML in a notebook.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb").assign(high=lambda d: 1 * (d["mathach"] > 18))
    >>> fit = cl.glm("high ~ ses", data, cluster="school")
    >>> print(str(summarise(fit)).splitlines()[0])
    Generalized linear model of high
    """
    notes = [Note(note, kind="warning") for note in fit.notes]
    about = ABOUT if fit.clusters and fit.family.link != "log" else "exp of the coefficients and of their intervals."
    tidy = fit.tidy(level=level)
    blocks: list[Block] = [facts(fit), *notes, _coefficients(fit, level)]
    blocks += [*ratios(tidy, fit.family.link, level, about=about), *_parameters(fit), _statistics(fit)]
    return Document(f"Generalized linear model of {fit.outcome.name}", blocks)


def facts(fit: "GLMFit") -> Table:
    """What was fitted to what."""
    described: Any = fit  # the rows and the formula are all that is asked of it
    rows: list[Row] = [["Formula", fit.formula]]
    label = fit.labels.get(fit.outcome.name)
    rows += [["Outcome", f"{fit.outcome.name}: {label}"]] if label else []
    if fit.outcome.labels is not None:
        rows.append(["Modelled", f"the probability of {fit.outcome.labels[1]!r} (against {fit.outcome.labels[0]!r})"])
    rows += [["Family", fit.family.description], ["Method", "maximum likelihood"], ["Rows", rows_used(described)]]
    if fit.outcome.trials is not None:
        rows.append(["Trials", f"{counted(fit.outcome.size.sum())} ({fit.outcome.trials})"])
    if fit.design.weights is not None:
        rows.append(["Weights", words_of_weights(fit.design.weights, fit.outcome)])
    if fit.given["exposure"] is not None:
        rows.append(["Exposure", fit.given["exposure"] if isinstance(fit.given["exposure"], str) else "numbers given"])
    if fit.given["offset"] is not None:
        rows.append(["Offset", fit.design.offset_column or "numbers given"])
    for name, sizes in fit.cluster_sizes.items():
        rows.append(["Clusters", f"{counted(len(sizes))} ({name}), {rows_in_each(sizes)}"])
    return Table(["", ""], [*rows, ["Status", fit.status]])


def _coefficients(fit: "GLMFit", level: float) -> Table:
    """The coefficients, and how their standard errors were made."""
    described: Any = fit
    if fit.whole.robust is not None:
        notes = robust_notes(fit.whole.robust, "rows that are independent, as the family has them")
    else:
        notes = [f"Standard errors: {fit.whole.description}."]
        notes += ["Degrees of freedom: clusters - 1."] if fit.whole.name.startswith("CR") else []
    notes += list(references(described))
    return coefficient_words(fit.tidy(level=level), level, title="Coefficients", notes=notes)


def _parameters(fit: "GLMFit") -> list[Table]:
    """Thresholds or shape parameters, where there are any."""
    out = []
    if fit.family.kind == "ordered":
        columns: list[str | Column] = ["Between", Column("Estimate", format="number"), Column("SE", format="number")]
        frame = fit.thresholds()[["estimate", "std_error"]]
        rows: list[Row] = [[str(name), *map(float, row)] for name, row in frame.iterrows()]
        note = "P(outcome up to a category) = F(threshold - linear predictor)."
        out.append(Table(columns, rows, title="Thresholds", notes=[note]))
    if len(fit.shape):
        rows = [[str(name), float(value)] for name, value in fit.shape.items()]
        out.append(Table(["Parameter", Column("Estimate", format="number")], rows, title="Shape of the distribution"))
    return out


def _statistics(fit: "GLMFit") -> Table:
    """Share explained, dispersion, log-likelihood and its kin, side by side."""
    columns: list[str | Column] = [
        *(Column(name, format="fixed", decimals=3) for name in ("Pseudo-R²", "Dispersion")),
        *(Column(name, format="fixed", decimals=2) for name in ("Log-likelihood", "AIC", "BIC")),
    ]
    row: Row = [fit.pseudo_r_squared, fit.dispersion, fit.loglik, fit.aic, fit.bic]
    note = "The log-likelihood, AIC and BIC take rows to be independent; clusters are in the standard errors only."
    return Table(columns, [row], title="Fit", notes=[note] if fit.clusters else [])
