"""The summary of a two-step regression as a document: what was fitted, to what, and what came out."""

from typing import TYPE_CHECKING, Any

import numpy as np

from crosslevel.display import Block, Column, Document, Note, Row, Section, Table, counted, number
from crosslevel.estimators.robust_fit import robust_row
from crosslevel.estimators.summary import percent_of, references, rows_in_each
from crosslevel.estimators.two_step_rows import reliability

if TYPE_CHECKING:
    from crosslevel.estimators.two_step_fit import TwoStepFit
    from crosslevel.estimators.two_step_outcomes import OutcomeStep

SECOND_STEPS = {
    "fgls": "FGLS, weights 1 / (omega\u00b2 + sigma\u00b2)",
    "ols": "OLS, clusters weighted equally",
    "wls": "WLS, weights 1 / omega\u00b2",
    "adjusted": "OLS, adjusted for other varying coefficients",
    "adjusted-fgls": "FGLS, adjusted for other varying coefficients",
}
"""Second steps in words."""


def summarise(fit: "TwoStepFit", *, level: float = 0.95) -> Document:
    """Write the summary of a two-step regression.

    Parameters
    ----------
    fit : a fitted two-step regression.
    level : confidence level of the intervals.

    Returns
    -------
    document : prints as text of 80 columns, and as HTML in a notebook.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.two_step("mathach ~ ses", "ses ~ sector", cl.datasets.load("hsb"), cluster="school")
    >>> print(str(summarise(fit)).splitlines()[0])
    Two-step regression of mathach by school
    """
    notes = [Note(note, kind="warning") for note in fit.notes]
    title = f"Two-step regression of {fit.below.spec.response_name} by {fit.below.cluster}"
    blocks: list[Block] = [facts(fit), *notes, first_step(fit), coefficients(fit, level)]
    blocks += [covariates(one) for one in fit.outcomes if one.adjustment is not None]
    blocks.append(variances(fit))
    return Document(title, blocks)


def facts(fit: "TwoStepFit") -> Table:
    """What was fitted to what."""
    sizes = fit.separate.n_rows
    gone = len(fit.separate.left_out)
    used, total = counted(len(sizes)), counted(len(sizes) + gone)
    law = "" if fit.family is None else f" ({fit.family.description})"
    rows: list[Row] = [["First step", f"{fit.formula}, in each cluster{law}"]]
    rows += [["Second step" if k == 0 else "", formula] for k, formula in enumerate(fit.second)]
    name = fit.below.spec.response_name
    rows += [["Outcome", f"{name}: {fit.labels[name]}"]] if fit.labels.get(name) else []
    rows += [["Method", SECOND_STEPS[fit.method]], ["Rows", _rows_used(fit)]]
    count = total if not gone else f"{used} of {total}"
    rows.append(["Clusters", f"{count} ({fit.below.cluster}), {rows_in_each(sizes)}"])
    if fit.below.weights is not None:
        rows.append(["Weights", fit.below.weights.words])
    return Table(["", ""], rows)


def _rows_used(fit: "TwoStepFit") -> str:
    """Rows read, with all values, and in the clusters that are used."""
    rows, parts = fit.rows, [f"{counted(fit.rows.read)} read"]
    if rows.dropped:
        causes = ", ".join(f"{name} ({counted(count)})" for name, count in rows.missing.items() if count)
        parts.append(f"{counted(rows.dropped)} dropped for missing values in {causes}")
    if rows.weightless:
        parts.append(f"{counted(rows.weightless)} left out for a weight of zero")
    if fit.nobs == rows.read:
        return f"{parts[0]}, all used"
    return "; ".join([*parts, f"{counted(fit.nobs)} in the clusters used"])


def first_step(fit: "TwoStepFit") -> Table:
    """How the coefficients of the first step vary."""
    separate, rows = fit.separate, list[Row]()
    for k, name in enumerate(separate.names):
        values = separate.beta[:, k]
        noise = float(np.sqrt(np.mean(separate.std_error[:, k] ** 2)))
        shown = (values.mean(), values.std(ddof=1), noise, values.min(), np.median(values), values.max())
        rows.append([name, *(float(value) for value in shown)])
    columns: list[str | Column] = [
        "Coefficient",
        *(Column(name, format="number") for name in ("Mean", "SD", "Mean SE", "Least", "Median", "Most")),
    ]
    note = "Mean SE is the root of the mean sampling variance: the SD that sampling alone would give."
    return Table(columns, rows, title="First step: coefficients of the clusters", notes=[note])


def coefficients(fit: "TwoStepFit", level: float) -> Table:
    """The coefficients of the second step, and how their standard errors were made."""
    table, rows, start = fit.tidy(level=level), list[Row](), 0
    for one in fit.outcomes:
        if len(fit.outcomes) > 1:
            rows.append(Section(one.name))
        for k, name in enumerate(one.design.names):
            rows.append(robust_row(name, table.iloc[start + k]))
        start += len(one.design.names)
    heads = ("Estimate", "SE", "df", "t", "p", f"{percent_of(level)} low", "high")
    columns: list[str | Column] = ["Term", *(Column(name, align="decimal") for name in heads)]
    single = fit.outcomes[0].name if len(fit.outcomes) == 1 else ""
    what = "intercept" if single == "Intercept" else f"coefficient of {single}" if single else "coefficients"
    notes = [f"Standard errors: {fit.covariance_by(None).description}.", "Degrees of freedom: clusters - regressors."]
    designs: list[Any] = [fit.below, *(one.design for one in fit.outcomes)]  # both have a formula with its codings
    notes += dict.fromkeys(note for design in designs for note in references(design))
    return Table(columns, rows, title=f"Second step: effects on the {what}", notes=notes)


def covariates(one: "OutcomeStep") -> Table:
    """What an outcome was adjusted for."""
    adjustment = one.adjustment
    assert adjustment is not None
    spread, rows = np.sqrt(np.diag(adjustment.psi)), list[Row]()
    for k, name in enumerate(adjustment.names):
        test = adjustment.dependence[k]
        shown = (adjustment.mean[k], spread[k], adjustment.delta[k], test.statistic)
        rows.append([name, *(float(value) for value in shown), float(test.p_value)])
    columns = [Column(name, format="number") for name in ("Mean", "SD", "Slope", "F")]
    n, m = adjustment.n_components, len(adjustment.names)
    notes = [
        f"{n} of {m} principal components are used, each at the cost of one degree of freedom. Beyond sampling, the "
        f"variance of {one.name} is {number(max(one.sigma2_raw, 0.0))}, given them "
        f"{number(max(adjustment.sigma2_raw, 0.0))}.",
        "SD: between clusters, beyond sampling. Slope: change of the outcome with the covariate.",
        "F, p: test that the covariate's mean does not depend on the context variables, which the adjustment assumes.",
    ]
    title = f"{one.name} is adjusted for the coefficients of"
    return Table(["Coefficient", *columns, Column("p", format="p")], rows, title=title, notes=notes)


def variances(fit: "TwoStepFit") -> Table:
    """What of the outcomes is sampling, and what is explained."""
    columns: list[str | Column] = [
        "Coefficient",
        *(Column(name, format="number") for name in ("Sigma\u00b2", "Mean omega\u00b2", "Reliability", "R\u00b2")),
    ]
    rows: list[Row] = [_variance_row(fit, one) for one in fit.outcomes]
    notes = [
        "Sigma\u00b2: variance between clusters beyond sampling and context variables. Omega\u00b2: sampling variance "
        "of the first step. R\u00b2: with the weights of the second step, sampling errors being part of the variation.",
    ]
    return Table(columns, rows, title="Variation of the coefficients", notes=notes)


def _variance_row(fit: "TwoStepFit", one: "OutcomeStep") -> Row:
    """Variances of one outcome."""
    shown = number(max(one.sigma2_raw, 0.0)) + (f" (raw {number(one.sigma2_raw)})" if one.sigma2_raw < 0.0 else "")
    return [one.name, shown, float(np.mean(one.sampling)), reliability(one), float(fit.r_squared[one.name])]
