"""The summary of a generalized mixed model as a document: what was fitted, to what, and what came out."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.design.precision import words_of_weights
from crosslevel.display import (
    Block,
    Column,
    Document,
    Equations,
    Paragraph,
    Row,
    Table,
    counted,
    fixed,
    p_statement,
    p_value,
)
from crosslevel.estimators import known_part
from crosslevel.estimators.codings import references
from crosslevel.estimators.equations import Part, by_level, in_one, with_factors
from crosslevel.estimators.generalized.words import (
    QUASI,
    integration,
    left_side,
    modelled,
    ordered_equation,
    shape_meaning,
    short_description,
    units,
)
from crosslevel.estimators.random import intercepts
from crosslevel.estimators.summary import (
    by_slope,
    cluster_sizes,
    distributions_of_effects,
    effect_rows,
    fit_statistics,
    parts_of,
    percent_of,
    rows_used,
    shown_decimals,
    warnings,
)
from crosslevel.estimators.summary_phrases import precision, where_slopes_are_zero
from crosslevel.inference.df import df_method

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.inference.lrt import BoundaryTest

RATIOS = {"logit": "odds ratio", "log": "ratio of means", "cloglog": "hazard ratio"}
"""What exponentials of coefficients are, by link; of counts they are rate ratios."""


def summarise(fit: "GeneralizedFit", *, level: float = 0.95) -> Document:
    """Write the summary of a fitted generalized mixed model.

    Parameters
    ----------
    fit : a fitted generalized mixed model.
    level : confidence level of the intervals.

    Returns
    -------
    document : prints as text of 80 columns, and as HTML in a notebook.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy")
    >>> fit = cl.mixed("I(Reaction > 300) ~ Days + (1 | Subject)", data, family="binomial")
    >>> print(str(summarise(fit)).splitlines()[0])
    Multilevel model of I(Reaction > 300): binomial, logit link
    """
    title = f"Multilevel model of {fit.spec.response_name}: {short_description(fit)}"
    return Document(title, [*stated(fit), *estimated(fit, level)])


def stated(fit: "GeneralizedFit") -> list[Block]:
    """What was fitted to what, warnings, and the equations."""
    return [facts(fit), *warnings(fit), *equations(fit, told_parts(fit))]


def estimated(fit: "GeneralizedFit", level: float = 0.95) -> list[Block]:
    """The results: fixed effects, thresholds, variance components, what follows from them, how well the model fits."""
    return [
        fixed_effects(fit, told_parts(fit), level), *thresholds(fit, level), *variance_components(fit, level),
        *shape_parameters(fit, level), *between_clusters(fit, level), fit_statistics(fit),
    ]  # fmt: skip


def facts(fit: "GeneralizedFit") -> Table:
    """What was fitted to what."""
    design, asked = fit.design, fit.design.asked
    rows: list[Row] = [["Formula", fit.formula]]
    label = fit.labels.get(fit.spec.response_name)
    rows += [["Outcome", f"{fit.spec.response_name}: {label}"]] if label else []
    rows += [["Family", fit.family.description], ["Modelled", modelled(fit)]]
    method = QUASI.get(fit.quadrature.kind, "maximum likelihood (ML)")
    method = method if fit.solution.prior is None else "mode of the posterior: likelihood and prior"
    rows.append(["Method", "pseudo-maximum likelihood (ML)" if design.is_sampled else method])
    rows += [["Integration", integration(fit)]] if design.factors else []
    rows += [["Prior", fit.solution.prior.words]] if fit.solution.prior is not None else []
    rows.append(["Rows", rows_used(fit)])
    if asked is not None and asked.trials is not None:
        rows.append(["Trials", fit.outcome.trials])
    if design.weights is not None:
        rows.append(["Weights", words_of_weights(design.weights, fit.outcome)])
    if asked is not None and asked.exposure is not None:
        rows.append(["Exposure", f"{asked.exposure_column or 'numbers given'}; its logarithm is added"])
    if design.offset_column is not None or (fit.given["offset"] is not None):
        rows.append(["Offset", design.offset_column or "numbers given"])
    for factor in design.factors:
        rows.append(["Clusters", f"{counted(factor.n_levels)} ({factor.name}), {cluster_sizes(fit, factor.name)}"])
    rows += known_part.known_facts(fit)
    rows.append(["Status", fit.status])
    return Table(["", ""], rows)


def told_parts(fit: "GeneralizedFit") -> list[Part]:
    """The predictors of the model, without an intercept that thresholds stand for."""
    told = set(fit.term_names)
    return [replace(part, fixed=part.fixed and part.name in told) for part in parts_of(fit)]


def equations(fit: "GeneralizedFit", parts: list[Part]) -> Iterator[Block]:
    """The model by level, and in one equation; j counts clusters, i the rows in a cluster."""
    left, response = left_side(fit), fit.spec.response_name
    first = [ordered_equation(fit)] if fit.family.kind == "ordered" else []
    if known_part.has_many_known(fit) or not fit.design.is_single:
        effects = {factor.name: fit.design.effects_of(factor) for factor in fit.design.factors}
        yield Equations([*first, *with_factors(response, parts, effects, left)], title="Model")
        return
    level_1, level_2 = by_level(response, parts, left)
    yield Equations([*first, *level_1], title="Level 1 (rows i)")
    yield Equations([*level_2, *distributions_of_effects(fit, parts)], title=f"Level 2 ({fit.group} j)")
    yield Equations([in_one(response, parts, left)], title="In one equation")


def fixed_effects(fit: "GeneralizedFit", parts: list[Part], level: float) -> Table:
    """The coefficients, under the level-1 coefficient that each explains where there are several."""
    told = [(str(name), coefficient_row(fit, str(name), row)) for name, row in fit.tidy(level=level).iterrows()]
    numbers = ("Estimate", "SE", "z", "p") if fit.ddf == "normal" else ("Estimate", "SE", "df", "t", "p")
    columns: list[str | Column] = [
        "Term",
        *(Column(name, align="decimal") for name in numbers),
        *(Column(name, align="decimal") for name in (f"{percent_of(level)} low", "high")),
    ]
    rule = [] if fit.ddf == "normal" else [f"Degrees of freedom {df_method(fit.ddf).description}."]
    notes = [units(fit), *rule, *references(fit)]
    return Table(columns, by_slope(fit.design, parts, told), title="Fixed effects", notes=notes)


def coefficient_row(fit: "GeneralizedFit", name: str, row: "pd.Series[Any]") -> Row:
    """One coefficient; its standard error decides how many decimals are shown."""
    decimals, df = shown_decimals(row["std_error"], row["estimate"]), row["df"]
    return [
        name,
        fixed(row["estimate"], decimals),
        fixed(row["std_error"], decimals),
        *([] if fit.ddf == "normal" else [fixed(df, 0 if df == round(df) or df > 1000 else 1)]),
        fixed(row["statistic"], 2),
        p_value(row["p_value"]),
        fixed(row["conf_low"], decimals),
        fixed(row["conf_high"], decimals),
    ]


def thresholds(fit: "GeneralizedFit", level: float) -> Iterator[Table]:
    """Thresholds of ordered categories."""
    if fit.family.kind == "ordered":
        yield _estimates(fit.thresholds(level=level), level, "Threshold", title="Thresholds θ between categories")


def variance_components(fit: "GeneralizedFit", level: float) -> Iterator[Table]:
    """Variances with standard deviations, and correlations."""
    if not fit.design.factors:
        return
    columns: list[str | Column] = [
        "Component",
        *(Column(name, align="decimal") for name in ("Estimate", "SE", f"{percent_of(level)} low", "high", "SD")),
    ]
    yield Table(columns, effect_rows(fit.design, fit.varcomp(level=level)), title="Variance components")


def shape_parameters(fit: "GeneralizedFit", level: float) -> Iterator[Table]:
    """A dispersion and its like, with what it means."""
    frame = fit.shape_parameters(level=level)
    if len(frame):
        yield _estimates(frame, level, "Parameter", title="Dispersion", notes=shape_meaning(fit))


def between_clusters(fit: "GeneralizedFit", level: float) -> Iterator[Block]:
    """How much the clusters matter: intraclass correlation, median ratios, test of the random effects."""
    is_estimated = not len(fit.params) or np.isfinite(fit.bse).any()  # not if all outcomes are separated
    if not is_estimated or not any(place >= 0 for place in intercepts(fit.design)):
        return
    zero = where_slopes_are_zero(fit)
    if fit.family.latent_variance is not None and not fit.is_singular:
        icc = fit.icc(level=level)
        itself = "" if fit.outcome.categories else ' That of the outcome itself is smaller: fit.icc(scale="response").'
        yield Paragraph(
            f"Intraclass correlation of the latent variable: {fixed(icc.estimate, 3)}{precision(icc)}{zero}.{itself}"
        )
    if fit.family.link in RATIOS:
        frame = fit.median_ratio(level=level)
        listed = ", ".join(f"{fixed(row['estimate'], 2)} ({group})" for group, row in frame.iterrows())
        name = "rate ratio" if fit.family.kind == "count" else RATIOS[fit.family.link]
        yield Paragraph(
            f"Median {name}: {listed}, between rows that are alike, of the higher and the "
            f"lower of two clusters drawn at random{zero}."
        )
    test = overall_test(fit)
    if test is not None:
        yield Paragraph(
            f"Likelihood-ratio test against {known_part.tested_against(fit)}: chi-square {fixed(test.statistic, 2)} "
            f"with {test.df} covariance {'parameter' if test.df == 1 else 'parameters'}, {p_statement(test.p_value)} "
            "(mixture distribution for the boundary)."
        )


def overall_test(fit: "GeneralizedFit") -> "BoundaryTest | None":
    """Test of all random effects whose covariance is estimated, None where there is no likelihood ratio."""
    design, solution = fit.design, fit.solution
    no_ratio = design.is_sampled or solution.prior is not None or solution.quadrature.kind in QUASI
    if no_ratio or not known_part.estimates_effects(fit):
        return None
    from crosslevel.estimators.generalized.random_tests import mixture_test
    from crosslevel.estimators.generalized.submodels import submodel
    from crosslevel.estimators.random_tests import known_only

    return mixture_test(fit, submodel(fit, known_only(design)))


def _estimates(frame: pd.DataFrame, level: float, heading: str, *, title: str, notes: list[str] | None = None) -> Table:
    """A table of estimates with standard errors and intervals."""
    rows: list[Row] = []
    for name, row in frame.iterrows():
        decimals = shown_decimals(row["std_error"], row["estimate"])
        rows.append([str(name), *(fixed(row[column], decimals) for column in frame.columns)])
    columns: list[str | Column] = [
        heading,
        *(Column(name, align="decimal") for name in ("Estimate", "SE", f"{percent_of(level)} low", "high")),
    ]
    return Table(columns, rows, title=title, notes=notes or [])
