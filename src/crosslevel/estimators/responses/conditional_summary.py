"""The summary of a conditional logit as a document."""

from typing import TYPE_CHECKING

from crosslevel.display import Block, Column, Document, Note, Row, Table, counted
from crosslevel.estimators.codings import references
from crosslevel.estimators.responses.coefficient_words import coefficient_words
from crosslevel.estimators.responses.ratio_words import ratios
from crosslevel.estimators.summary import rows_in_each

if TYPE_CHECKING:
    from crosslevel.estimators.responses.conditional_fit import ConditionalFit


def summarise(fit: "ConditionalFit", *, level: float = 0.95) -> Document:
    """Write the summary of a conditional logit.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb").assign(high=lambda d: 1 * (d["mathach"] > 18))
    >>> fit = cl.conditional_logit("high ~ ses", data, group="school")
    >>> print(str(summarise(fit)).splitlines()[0])
    Conditional logit of high within school
    """
    notes = [Note(note, kind="warning") for note in fit.notes]
    tidy, about = fit.tidy(level=level), f"Of two rows of the same {fit.groups.name}."
    under = [f"Standard errors: {fit.covariance.description}."]
    under += ["Degrees of freedom: clusters - 1."] if fit.covariance.name != "iid" else []
    under += list(references(fit, fit.terms))
    blocks: list[Block] = [facts(fit), *notes, coefficient_words(tidy, level, title="Coefficients", notes=under)]
    blocks += [*ratios(tidy, "logit", level, about=about), _statistics(fit)]
    return Document(f"Conditional logit of {fit.spec.response_name} within {fit.groups.name}", blocks)


def facts(fit: "ConditionalFit") -> Table:
    """What was fitted to what."""
    outcome, used = fit.design.outcome, fit.solved.rows
    assert outcome is not None
    rows: list[Row] = [["Formula", fit.formula]]
    if outcome.labels is not None:
        rows.append(["Modelled", f"the odds of {outcome.labels[1]!r} (against {outcome.labels[0]!r})"])
    rows += [["Method", "exact conditional maximum likelihood"], ["Rows", _rows(fit)]]
    sizes = fit.group_sizes
    which = f"{counted(len(sizes))} of {counted(fit.groups.n_clusters)}" if used.n_constant else counted(len(sizes))
    rows.append(["Groups", f"{which} ({fit.groups.name}) with variation, {rows_in_each(sizes)}"])
    return Table(["", ""], [*rows, ["Status", fit.status]])


def _rows(fit: "ConditionalFit") -> str:
    """Rows read, without missing values, and in groups that say something."""
    read, complete, used = fit.rows.read, fit.rows.used, fit.nobs
    parts = [f"{counted(read)} read"]
    if complete < read:
        causes = ", ".join(f"{name} ({counted(count)})" for name, count in fit.rows.missing.items() if count)
        parts.append(f"{counted(read - complete)} dropped for missing values in {causes}")
    if used < complete:
        parts.append(f"{counted(complete - used)} in groups without variation")
    return ", ".join([*parts, "all used" if used == read else f"{counted(used)} used"])


def _statistics(fit: "ConditionalFit") -> Table:
    """Conditional log-likelihood and its kin."""
    columns: list[str | Column] = [
        Column("Pseudo-R²", format="fixed", decimals=3),
        *(Column(name, format="fixed", decimals=2) for name in ("Log-likelihood", "AIC", "BIC")),
    ]
    row: Row = [fit.pseudo_r_squared, fit.loglik, fit.aic, fit.bic]
    note = "Given how many rows of each group are one: not comparable with likelihoods of other estimators."
    return Table(columns, [row], title="Fit", notes=[note])
