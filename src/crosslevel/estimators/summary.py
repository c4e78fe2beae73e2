"""The summary of a mixed model as a document: what was fitted, to what, and what came out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from crosslevel.display import (
    Block,
    Column,
    Document,
    Equations,
    Note,
    Paragraph,
    Row,
    Section,
    Table,
    counted,
    decimals_for,
    fixed,
    number,
    p_value,
    percent,
)
from crosslevel.estimators.equations import Part, by_level, coefficients, equation_of, in_one

if TYPE_CHECKING:
    from crosslevel.estimators.mixed import MixedFit

METHODS = {"reml": "restricted maximum likelihood (REML)", "ml": "maximum likelihood (ML)"}


def summarise(fit: "MixedFit") -> Document:
    """Write the summary of a fitted mixed model.

    Parameters
    ----------
    fit : a fitted mixed model.

    Returns
    -------
    document : prints as text of 80 columns, and as HTML in a notebook.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("reaction ~ days + (days | subject)", cl.datasets.load("sleepstudy"))
    >>> print(str(summarise(fit)).splitlines()[0])
    Multilevel model of reaction
    """
    blocks: list[Block] = [facts(fit), *warnings(fit), *equations(fit), fixed_effects(fit)]
    blocks += [variance_components(fit), *between_clusters(fit), fit_statistics(fit), *remarks(fit)]
    return Document(f"Multilevel model of {fit.spec.response_name}", blocks)


def facts(fit: "MixedFit") -> Table:
    """What was fitted to what."""
    rows: list[Row] = [["Formula", fit.formula]]
    label = fit.labels.get(fit.spec.response_name)
    rows += [["Outcome", f"{fit.spec.response_name}: {label}"]] if label else []
    rows += [["Method", METHODS.get(fit.method, fit.method)], ["Rows", rows_used(fit)]]
    for group, count in fit.ngroups.items():
        rows.append(["Clusters", f"{counted(count)} ({group}){cluster_sizes(fit)}"])
    rows.append(["Status", fit.status])
    return Table(["", ""], rows)


def rows_used(fit: "MixedFit") -> str:
    """Rows read, used and dropped, and why."""
    read, used = fit.rows.read, fit.rows.used
    if read == used:
        return f"{counted(read)} read, all used"
    causes = ", ".join(f"{name} ({counted(count)})" for name, count in fit.rows.dropped.items() if count)
    return f"{counted(read)} read, {counted(used)} used; {counted(read - used)} dropped for missing values in {causes}"


def cluster_sizes(fit: "MixedFit") -> str:
    """Smallest, mean and largest cluster."""
    if len(fit.ngroups) > 1:
        return ""
    sizes = fit.group_sizes
    low, high = counted(sizes.min()), counted(sizes.max())
    if low == high:
        return f", {low} rows in each"
    return f", {low} to {high} rows in each, mean {fixed(sizes.mean(), 1)}"


def warnings(fit: "MixedFit") -> Iterator[Block]:
    """What must be read before the numbers."""
    if not fit.converged:
        yield Note(fit.status, kind="warning")
    for note in fit.notes:
        yield Note(note, kind="warning")


def parts_of(fit: "MixedFit") -> list[Part]:
    """The predictors of the model, as its equations need them."""
    spec = fit.spec
    random = {k for term in spec.terms for block in term.blocks for k in block.columns}
    level = dict(zip(fit.design.names, fit.design.level, strict=True))
    return [
        Part(
            name=column.name,
            factors=column.factors,
            fixed=column.name in fit.params.index and k < spec.n_fixed,
            cluster_level=level.get(column.name) == "cluster",
            random=k in random,
        )
        for k, column in enumerate(spec.columns)
        if k in random or column.name in fit.params.index
    ]


def equations(fit: "MixedFit") -> Iterator[Block]:
    """The model by level, and in one equation; j counts clusters, i the rows in a cluster."""
    parts, response = parts_of(fit), fit.spec.response_name
    if len(fit.ngroups) == 1:
        (group,) = fit.ngroups
        level_1, level_2 = by_level(response, parts)
        yield Equations(level_1, title="Level 1 (rows i)")
        yield Equations(level_2, title=f"Level 2 ({group} j)")
        yield Equations([in_one(response, parts)], title="In one equation")
        yield Paragraph(distributions(fit, parts))


def distributions(fit: "MixedFit", parts: list[Part]) -> str:
    """What is assumed of the random effects."""
    random = [k for k, coefficient in enumerate(coefficients(parts)) if coefficient.random]
    blocks = [block for term in fit.spec.terms for block in term.blocks]
    names = ", ".join(f"u{k}j" for k in random)
    if len(random) == 1:
        return f"{names} and r_ij are normal and independent of each other."
    if len(blocks) == 1:
        return f"{names} are normal and may be correlated; r_ij is normal and independent of them."
    if len(blocks) == len(random):
        return f"{names} and r_ij are normal and independent of each other."
    sets = "; ".join(block.text for block in blocks)
    return f"{names} are normal, correlated within each of {sets}, and otherwise independent; r_ij is normal."


def fixed_effects(fit: "MixedFit") -> Table:
    """The coefficients, under the level-1 coefficient that each explains where there are several."""
    tidy = fit.tidy()
    places, parts = equation_of(parts_of(fit)), coefficients(parts_of(fit))
    order = sorted(tidy.index, key=lambda name: places[name]) if len(fit.ngroups) == 1 else list(tidy.index)
    several = len({places[name][0] for name in order}) > 1 and any(len(places[name]) > 1 for name in order)
    rows: list[Row] = []
    for position, name in enumerate(order):
        k = places[name][0]
        if several and (position == 0 or places[order[position - 1]][0] != k):
            what = " × ".join(parts[k].factors)
            rows.append(Section(f"Slope of {what}" if what else "Intercept"))
        rows.append(coefficient_row(name, tidy.loc[name]))
    columns = [
        "Term",
        *(Column(name, align="decimal") for name in ("Estimate", "SE", "df", "t", "p", "95% low", "high")),
    ]
    return Table(columns, rows, title="Fixed effects", notes=[f"Degrees of freedom {df_rule(fit)}.", *references(fit)])


def coefficient_row(name: str, row: "pd.Series[Any]") -> Row:
    """One coefficient; its standard error decides how many decimals are shown."""
    decimals = shown_decimals(row["std_error"], row["estimate"])
    df = row["df"]
    return [
        name,
        fixed(row["estimate"], decimals),
        fixed(row["std_error"], decimals),
        fixed(df, 0 if df == round(df) or df > 1000 else 1),
        fixed(row["statistic"], 2),
        p_value(row["p_value"]),
        fixed(row["conf_low"], decimals),
        fixed(row["conf_high"], decimals),
    ]


def shown_decimals(std_error: float, estimate: float) -> int:
    """Decimals that show three digits of the standard error; three where numbers are of ordinary size."""
    needed = decimals_for(std_error, significant=3, least=0)
    return 3 if needed < 3 and abs(estimate) < 1000 and std_error < 100 else needed


def df_rule(fit: "MixedFit") -> str:
    """How degrees of freedom were counted."""
    return str(fit.df_method.description)


def references(fit: "MixedFit") -> Iterator[str]:
    """The category that each set of dummies is compared with."""
    for text, coding in fit.spec.codings.items():
        used = any(factor.startswith(f"{text}[") for column in fit.spec.columns for factor in column.factors)
        if used and coding.reference is not None and coding.kind == "treatment":
            yield f"{text}: compared with {coding.reference}."
        elif used and coding.kind == "wec":
            yield (
                f"{text}: deviations from the mean of the sample (weighted effect coding); "
                f"{coding.reference} is left out."
            )
        elif used:
            yield f"{text}: {coding.kind} coding."


def variance_components(fit: "MixedFit") -> Table:
    """Variances with standard deviations, and correlations."""
    frame = fit.varcomp()
    rows: list[Row] = []
    for group in fit.ngroups:
        mine = frame[frame["group"] == group]
        rows.append(Section(f"Between clusters ({group}): variances"))
        rows += [component_row(str(row["term1"]), row) for _, row in mine[mine["kind"] == "variance"].iterrows()]
        pairs = mine[mine["kind"] == "covariance"]
        if len(pairs):
            rows.append(Section(f"Between clusters ({group}): covariances, with correlations"))
            rows += [component_row(f"{row['term1']}, {row['term2']}", row) for _, row in pairs.iterrows()]
    rows.append(Section("Within clusters: variance"))
    rows += [component_row("Residual", row) for _, row in frame[frame["kind"] == "residual"].iterrows()]
    names = ("Estimate", "SE", "95% low", "high", "SD or corr.")
    columns = ["Component", *(Column(name, align="decimal") for name in names)]
    return Table(columns, rows, title="Variance components")


def component_row(name: str, row: "pd.Series[Any]") -> Row:
    """One variance or covariance; its standard error decides how many decimals are shown."""
    values = [row["estimate"], row["std_error"], row["conf_low"], row["conf_high"]]
    beside = number(row["std_dev"])
    if pd.isna(row["std_error"]):
        return [name, *(number(value) for value in values), beside]
    decimals = shown_decimals(row["std_error"], row["estimate"])
    return [name, *(fixed(value, decimals) for value in values), beside]


def between_clusters(fit: "MixedFit") -> Iterator[Block]:
    """How much the clusters matter: intraclass correlation, test of the random effects, reliabilities."""
    (group, *_) = fit.ngroups
    icc = fit.icc()
    yield Paragraph(
        f"Intraclass correlation: {fixed(icc.estimate, 3)} (SE {fixed(icc.std_error, 3)}, 95% interval "
        f"{fixed(icc.conf_low, 3)} to {fixed(icc.conf_high, 3)}). Of the variance that the fixed effects leave, "
        f"{percent(icc.estimate)} lies between clusters of {group}{where_slopes_are_zero(fit)}."
    )
    test = fit.test_random()
    yield Paragraph(
        f"Likelihood-ratio test against the model without random effects: chi-square {fixed(test.statistic, 2)} with "
        f"{test.df} covariance {'parameter' if test.df == 1 else 'parameters'}, p {as_statement(test.p_value)} "
        "(mixture distribution for the boundary)."
    )
    average = fit.reliability().average
    shown = ", ".join(f"{name} {fixed(value, 3)}" for name, value in average.items())
    yield Paragraph(f"Reliability of the clusters' own coefficients, on average: {shown}.")


def where_slopes_are_zero(fit: "MixedFit") -> str:
    """With random slopes the variance between clusters depends on the predictors."""
    slopes = [name for frame in fit.cov_re.values() for name in frame.index if name != "Intercept"]
    return f", where {' and '.join(slopes)} {'is' if len(slopes) == 1 else 'are'} zero" if slopes else ""


def as_statement(p: float) -> str:
    """A p value with its sign of comparison."""
    shown = p_value(p)
    return shown if shown.startswith(("<", ">")) else f"= {shown}"


def fit_statistics(fit: "MixedFit") -> Table:
    """Log-likelihood and its kin, side by side."""
    kind = "REML log-likelihood" if fit.method == "reml" else "Log-likelihood"
    values = [fit.loglik, fit.deviance, fit.aic, fit.bic]
    heads = [kind, "Deviance", "AIC", "BIC"]
    columns = [Column(name, format="fixed", decimals=2) for name in heads]
    return Table([*columns, Column("Rows", format="count")], [[*values, fit.nobs]], title="Fit")


def remarks(fit: "MixedFit") -> Iterator[Block]:
    """What to know when these numbers are used further."""
    if fit.method == "reml":
        yield Note(
            "Models with different fixed effects are not compared by REML likelihoods, AIC or BIC: "
            'fit them with method="ml".'
        )
