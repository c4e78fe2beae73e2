"""The summary of a mixed model as a document: what was fitted, to what, and what came out."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from crosslevel.design import Design
from crosslevel.design.levels import constant_components
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
    p_statement,
    p_value,
    percent,
)
from crosslevel.estimators import known_part
from crosslevel.estimators.codings import references as references
from crosslevel.estimators.equations import Part, by_level, coefficients, equation_of, in_one, of_effects, with_factors
from crosslevel.estimators.random import has_shares, overall_test
from crosslevel.estimators.summary_phrases import percent_of as percent_of
from crosslevel.estimators.summary_phrases import precision, reliabilities, where_slopes_are_zero
from crosslevel.inference.df import adjusts, df_method

if TYPE_CHECKING:
    from crosslevel.estimators.fitted_mixed import FittedMixed
    from crosslevel.estimators.mixed import MixedFit

METHODS = {"reml": "restricted maximum likelihood (REML)", "ml": "maximum likelihood (ML)"}


def summarise(fit: "MixedFit", *, level: float = 0.95) -> Document:
    """Write the summary of a fitted mixed model.

    Parameters
    ----------
    fit : a fitted mixed model.
    level : confidence level of the intervals.

    Returns
    -------
    document : prints as text of 80 columns, and as HTML in a notebook.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> print(str(summarise(fit)).splitlines()[0])
    Multilevel model of Reaction
    """
    kind = "Multilevel" if fit.design.factors else "Linear"
    return Document(f"{kind} model of {fit.spec.response_name}", [*stated(fit), *estimated(fit, level)])


def stated(fit: "MixedFit") -> list[Block]:
    """What was fitted to what, warnings, and the equations."""
    return [facts(fit), *warnings(fit), *equations(fit, parts_of(fit))]


def estimated(fit: "MixedFit", level: float = 0.95) -> list[Block]:
    """The results: fixed effects, variance components, what follows from them, and how well the model fits."""
    return [
        fixed_effects(fit, parts_of(fit), level), variance_components(fit, level), *residual_structure(fit, level),
        *between_clusters(fit, level), fit_statistics(fit),
    ]  # fmt: skip


def facts(fit: "MixedFit") -> Table:
    """What was fitted to what."""
    rows: list[Row] = [["Formula", fit.formula]]
    label = fit.labels.get(fit.spec.response_name)
    rows += [["Outcome", f"{fit.spec.response_name}: {label}"]] if label else []
    method = "pseudo-maximum likelihood (ML)" if fit.design.is_sampled else METHODS.get(fit.method, fit.method)
    rows += [["Method", method], ["Rows", rows_used(fit)]]
    iterative = fit.solution.iterative
    if iterative is not None:
        words = (
            f"iterative, with {iterative.vectors} random vectors: Monte-Carlo error of the deviance "
            f"{number(iterative.deviance_error)}, of the variance parameters at most "
            f"{number(100.0 * iterative.theta_error)}% of their standard errors"
        )
        rows.append(["Algebra", words])
    if fit.design.weights is not None:
        rows.append(["Weights", fit.design.weights.given.words])
    if fit.design.offset is not None:
        rows.append(["Offset", fit.design.offset_column or "numbers given"])
    for factor in fit.design.factors:
        sizes = cluster_sizes(fit, factor.name)
        rows.append(["Clusters", f"{counted(factor.n_levels)} ({factor.name}), {sizes}"])
    rows += known_part.known_facts(fit)
    if fit.design.residual is not None:
        words = fit.design.residual.words
        rows.append(["Residuals", words[0].upper() + words[1:]])
    rows.append(["Status", fit.status])
    return Table(["", ""], rows)


def rows_used(fit: "FittedMixed") -> str:
    """Rows read, used and dropped, and why."""
    read, used = fit.rows.read, fit.rows.used
    stand = f", which stand for {counted(fit.nobs)}" if fit.nobs != used else ""
    if read == used:
        return f"{counted(read)} read, all used{stand}"
    parts = [f"{counted(read)} read, {counted(used)} used{stand}"]
    if fit.rows.dropped:
        causes = ", ".join(f"{name} ({counted(count)})" for name, count in fit.rows.missing.items() if count)
        parts.append(f"{counted(fit.rows.dropped)} dropped for missing values in {causes}")
    if fit.rows.weightless:
        parts.append(f"{counted(fit.rows.weightless)} left out for a weight of zero")
    return "; ".join(parts)


def cluster_sizes(fit: "FittedMixed", group: str | None = None) -> str:
    """Smallest, mean and largest cluster."""
    return rows_in_each(fit.sizes_of(group))


def rows_in_each(sizes: Any) -> str:
    """How many rows clusters of these sizes have: "1 row in each", "3 to 7 rows in each, mean 4.2"."""
    low, high = counted(sizes.min()), counted(sizes.max())
    if low == high:
        return f"{low} {'row' if low == '1' else 'rows'} in each"
    return f"{low} to {high} rows in each, mean {fixed(sizes.mean(), 1)}"


def warnings(fit: "FittedMixed") -> Iterator[Block]:
    """What must be read before the numbers."""
    if not fit.converged:
        yield Note(fit.status, kind="warning")
    yield from (Note(note, kind="warning") for note in fit.notes)


def parts_of(fit: "FittedMixed") -> list[Part]:
    """The predictors of the model, as its equations need them."""
    design = fit.design
    constant = constant_components(design) if design.is_single else {}
    fixed, random = set(design.x.tolist()), {int(j) for factor in design.factors for j in factor.z}
    return [
        Part(
            name=column.name,
            factors=column.factors,
            above=tuple(name for name in column.factors if constant.get(name, False)),
            fixed=j in fixed,
            random=j in random,
        )
        for j, column in enumerate(design.spec.columns)
        if j in fixed | random
    ]


def equations(fit: "MixedFit", parts: list[Part]) -> Iterator[Block]:
    """The model by level, and in one equation; j counts clusters, i the rows in a cluster."""
    response = fit.spec.response_name
    if known_part.has_many_known(fit):
        yield Equations([*known_part.in_general(fit), of_residuals(fit, "r")], title="Model")
        return
    if not fit.design.is_single:
        effects = {factor.name: fit.design.effects_of(factor) for factor in fit.design.factors}
        yield Equations([*with_factors(response, parts, effects), of_residuals(fit, "r")], title="Model")
        return
    level_1, level_2 = by_level(response, parts)
    yield Equations(level_1, title="Level 1 (rows i)")
    yield Equations([*level_2, *distributions(fit, parts)], title=f"Level 2 ({fit.group} j)")
    yield Equations([in_one(response, parts)], title="In one equation")


def distributions(fit: "MixedFit", parts: list[Part]) -> Iterator[str]:
    """What is assumed of the random effects and of the residuals."""
    yield from distributions_of_effects(fit, parts)
    yield of_residuals(fit, "r_{ij}")


def distributions_of_effects(fit: "FittedMixed", parts: list[Part]) -> Iterator[str]:
    """What is assumed of the random effects, block by block."""
    place = {coefficient.factors: k for k, coefficient in enumerate(coefficients(parts))}
    blocks = [block for term in fit.spec.terms for block in term.blocks]
    members = [[place[fit.spec.columns[j].factors] for j in block.columns] for block in blocks]
    yield from of_effects(members, [known_part.matrix_of(block) for block in blocks])


def of_residuals(fit: "MixedFit", symbol: str) -> str:
    """What is assumed of the residuals."""
    if fit.design.residual is None:
        weights = fit.design.weights
        divided = f" / {weights.given.columns[0]}" if weights is not None and weights.is_precision else ""
        return f"{symbol} ~ N(0, σ²{divided})"
    return "r ~ N(0, R)" if fit.design.residual.known else "r ~ N(0, σ² R)"


def fixed_effects(fit: "MixedFit", parts: list[Part], level: float) -> Table:
    """The coefficients, under the level-1 coefficient that each explains where there are several."""
    tidy = fit.tidy(level=level)
    rows = by_slope(fit.design, parts, [(str(name), coefficient_row(str(name), row)) for name, row in tidy.iterrows()])
    columns: list[str | Column] = [
        "Term",
        *(Column(name, align="decimal") for name in ("Estimate", "SE", "df", "t", "p")),
        *(Column(name, align="decimal") for name in (f"{percent_of(level)} low", "high")),
    ]
    return Table(columns, rows, title="Fixed effects", notes=[f"Degrees of freedom {df_rule(fit)}.", *references(fit)])


def by_slope(design: Design, parts: list[Part], told: Sequence[tuple[str, Row]]) -> list[Row]:
    """Rows of coefficients, given with their names, under the level-1 coefficient that each explains."""
    places, slopes = equation_of(parts), coefficients(parts)
    order = sorted(told, key=lambda pair: places[pair[0]]) if design.is_single else list(told)
    several = (
        design.is_single
        and len({places[name][0] for name, _ in order}) > 1
        and any(len(places[name]) > 1 for name, _ in order)
    )
    rows: list[Row] = []
    for position, (name, row) in enumerate(order):
        k = places[name][0]
        if several and (position == 0 or places[order[position - 1][0]][0] != k):
            what = " × ".join(slopes[k].factors)
            rows.append(Section(f"Slope of {what}" if what else "Intercept"))
        rows.append(row)
    return rows


def coefficient_row(name: str, row: "pd.Series[Any]") -> Row:
    """One coefficient; its standard error decides how many decimals are shown."""
    decimals = shown_decimals(row["std_error"], row["estimate"])
    df = row["df"]
    return [
        name,
        fixed(row["estimate"], decimals),
        fixed(row["std_error"], decimals),
        fixed(df, 0 if df > 1000 or df == round(df) else 1),
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
    """How degrees of freedom were counted, and what that leaves out."""
    rule, limit = df_method(fit.ddf).description, fit.equations.limit
    if fit.ddf == "m-l-1" and math.isfinite(limit):
        rule += f"; with sampling weights no more than outermost clusters - 1, {limit:.0f}"
    if fit.ddf == "m-l-1" != fit.given["ddf"] and adjusts(fit.estimates):
        rule += (
            "; nothing is charged for adjusting to the other varying coefficients, which makes intervals too narrow "
            "where clusters are few (growth-curve, which charges for it, is not defined for this fit)"
        )
    return rule


def variance_components(fit: "MixedFit", level: float) -> Table:
    """Variances with standard deviations, and correlations."""
    frame = fit.varcomp(level=level)
    rows = effect_rows(fit.design, frame)
    rows.append(Section("Within clusters: variance" if fit.design.factors else "Variance"))
    rows += [variance_row("Residual", row) for _, row in frame[frame["kind"] == "residual"].iterrows()]
    columns: list[str | Column] = [
        "Component",
        *(Column(name, align="decimal") for name in ("Estimate", "SE", f"{percent_of(level)} low", "high", "SD")),
    ]
    return Table(columns, rows, title="Variance components")


def effect_rows(design: Design, frame: pd.DataFrame) -> list[Row]:
    """Variances and correlations of the random effects, from a table of variance components."""
    rows: list[Row] = []
    for factor in design.factors:
        mine = frame[frame["group"] == factor.name]
        variances, pairs = mine[mine["kind"] == "variance"], mine[mine["kind"] == "covariance"]
        rows += [Section(f"Between clusters ({factor.name}): variances")] if len(variances) else []
        rows += [variance_row(str(row["term1"]), row) for _, row in variances.iterrows()]
        if len(pairs):
            rows.append(Section(f"Between clusters ({factor.name}): correlations"))
        for _, row in pairs.iterrows():
            correlation = [fixed(row[name], 3) for name in ("std_dev", "std_dev_low", "std_dev_high")]
            rows.append([f"{row['term1']}, {row['term2']}", correlation[0], None, *correlation[1:], None])
        rows += known_part.known_rows(factor.name, mine[mine["kind"] == "known variance"])
    return rows


def residual_structure(fit: "MixedFit", level: float) -> Iterator[Table]:
    """Parameters of the residual structure."""
    frame = fit.residual_parameters(level=level)
    if not len(frame):
        return
    rows: list[Row] = []
    for name, row in frame.iterrows():
        decimals = shown_decimals(row["std_error"], row["estimate"])
        rows.append([str(name), *(fixed(row[column], decimals) for column in frame.columns)])
    columns: list[str | Column] = [
        "Parameter",
        *(Column(name, align="decimal") for name in ("Estimate", "SE", f"{percent_of(level)} low", "high")),
    ]
    assert fit.design.residual is not None
    yield Table(columns, rows, title=f"Residual structure: {fit.design.residual.words}")


def variance_row(name: str, row: "pd.Series[Any]") -> Row:
    """One variance; its standard error decides how many decimals are shown."""
    values = [row["estimate"], row["std_error"], row["conf_low"], row["conf_high"]]
    if pd.isna(row["std_error"]):
        return [name, *(number(value) for value in values), number(row["std_dev"])]
    decimals = shown_decimals(row["std_error"], row["estimate"])
    return [name, *(fixed(value, decimals) for value in values), number(row["std_dev"])]


def between_clusters(fit: "MixedFit", level: float) -> Iterator[Block]:
    """How much the clusters matter: intraclass correlation, test of the random effects, reliabilities."""
    if not fit.design.factors:
        return
    if not has_shares(fit.design):
        pass
    elif not fit.design.is_single:
        yield from shares(fit, level)
    else:
        icc = fit.icc(level=level)
        yield Paragraph(
            f"Intraclass correlation: {fixed(icc.estimate, 3)}{precision(icc)}. Of the variance that the fixed effects "
            f"leave, {percent(icc.estimate)} lies between clusters of {fit.group}{where_slopes_are_zero(fit)}."
        )
    if not fit.design.is_sampled and known_part.estimates_effects(fit):
        test = overall_test(fit)
        yield Paragraph(
            f"Likelihood-ratio test against {known_part.tested_against(fit)}: chi-square "
            f"{fixed(test.statistic, 2)} with {test.df} covariance {'parameter' if test.df == 1 else 'parameters'}, "
            f"{p_statement(test.p_value)} (mixture distribution for the boundary)."
        )
    if fit.design.is_single and fit.design.residual is None and known_part.estimates_effects(fit):
        yield Paragraph(reliabilities(fit))


def shares(fit: "MixedFit", level: float) -> Iterator[Block]:
    """How much of the variance lies at each level, where grouping factors are several."""
    frame = fit.variance_shares(level=level)
    if len(frame) == 1:
        return
    rows: list[Row] = [
        [str(group), *(fixed(row[name], 3) for name in ("share", "std_error", "conf_low", "conf_high", "icc"))]
        for group, row in frame.iterrows()
    ]
    columns: list[str | Column] = [
        "Level",
        *(Column(name, align="decimal") for name in ("Share", "SE", f"{percent_of(level)} low", "high", "ICC")),
    ]
    note = (
        "Share of the variance that the fixed effects leave; ICC: correlation of two rows that share a level of the "
        f"factor, and of those that it is nested in{where_slopes_are_zero(fit)}."
    )
    yield Table(columns, rows, title="Variance by level", notes=[note])


def fit_statistics(fit: "FittedMixed") -> Table:
    """Log-likelihood and its kin, side by side."""
    reml = fit.method == "reml"
    names = ("REML log-likelihood" if reml else "Log-likelihood", "Deviance", "AIC", "BIC")
    columns = [Column(name, format="fixed", decimals=2) for name in names]
    more = [Column("Parameters", format="count"), Column("Rows", format="count")]
    row = [fit.loglik, fit.deviance, fit.aic, fit.bic, fit.n_params, fit.nobs]
    note = 'Compare these between models with the same fixed effects only; for others, fit with method="ml".'
    return Table([*columns, *more], [row], title="Fit", notes=[note] if reml else [])
