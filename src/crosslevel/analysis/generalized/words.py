"""Sentences of an analysis of an outcome with a family: what was done, and what was found."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.analysis.context_analysis import Skipped
from crosslevel.analysis.paper import blocks_of
from crosslevel.analysis.phrases import decimals_of, interval, listed, several, what_varies
from crosslevel.display import fixed, p_statement, percent
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.marginal_table import SLOPE

if TYPE_CHECKING:
    from crosslevel.analysis.generalized.record import GeneralizedAnalysis
    from crosslevel.estimators.generalized.fit import GeneralizedFit

RATIO_NAMES = {"logit": "odds ratio", "log": "ratio of means", "cloglog": "hazard ratio"}
"""What exponentials of coefficients are, by link."""


def ratio_name(fit: "GeneralizedFit") -> str:
    """What exponentials of a fit's coefficients are."""
    return "rate ratio" if fit.family.kind == "count" else RATIO_NAMES[fit.family.link]


def variation_words(fit: "GeneralizedFit") -> str:
    """How much clusters differ."""
    parts = []
    of = (
        "latent variance" if fit.family.latent_variance is not None else "variance on the scale of the linear predictor"
    )
    try:
        parts.append(f"{percent(fit.icc().estimate)} of the {of} lies between clusters of {fit.group}")
    except CrosslevelError:
        parts.append(f"Clusters of {fit.group} differ")
    if fit.family.link in RATIO_NAMES:
        median = float(fit.median_ratio()["estimate"].loc[fit.group])
        parts.append(f"the median {ratio_name(fit)} between two clusters drawn at random is {fixed(median, 2)}")
    return "; ".join(parts) + "."


STANDARD = ("estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high", "contrast")
"""Columns of a table of effects that say nothing of what they are effects on."""


def outcome_words(fit: "GeneralizedFit") -> str:
    """What effects on the outcome are effects on."""
    words = {"binary": "probability", "ordered": "probability of each category"}
    return words.get(fit.family.kind, "expected outcome")


def effect_label(row: "pd.Series[Any]") -> str:
    """What is compared, and for ordered outcomes the category whose probability changes."""
    labels = [] if row["contrast"] == SLOPE else [str(row["contrast"])]
    labels += [f"{name} {value}" for name, value in row.items() if name not in STANDARD]
    return f" ({'; '.join(labels)})" if labels else ""


def integrated(fit: "GeneralizedFit") -> str:
    """How the random effects were integrated out."""
    nodes = fit.quadrature.nodes
    if nodes == 1:
        return "the Laplace approximation"
    return f"adaptive Gauss-Hermite quadrature with {nodes} nodes"


def methods(analysis: "GeneralizedAnalysis") -> Iterator[str]:
    """What was done."""
    fit, group = analysis.selected, analysis.question.group
    yield (
        f"We analysed {several(fit.nobs, 'row')} in {several(fit.ngroups[fit.group], 'cluster')} of {group} by "
        f"multilevel models ({fit.family.description}), fitted by maximum likelihood, the random effects being "
        f"integrated out by {integrated(fit)}."
    )
    yield (
        "The random effects were searched with the two-step routine of Heisig, Schaeffer and Giesecke (2017) by "
        f"{analysis.selection.criterion.description}, starting from a maximal model in which "
        f"{what_varies(blocks_of(analysis.maximal))}; in the selected model {what_varies(blocks_of(fit))}."
    )
    yield (
        f"Standard errors come from the observed information; beside them stand percentile intervals of "
        f"{several(len(analysis.bootstrap.batch), 'cluster bootstrap draw')} (seed {analysis.given['seed']})."
    )
    others = ["a generalized linear model with cluster-robust standard errors"]
    others += [] if isinstance(analysis.conditional, Skipped) else ["a conditional logit"]
    others += [] if isinstance(analysis.two_step, Skipped) else ["a two-step regression"]
    yield f"For comparison we fitted {listed(others)}."
    yield (
        "Coefficients of the multilevel models compare rows with the same random effects; average effects are "
        "averaged over rows and over the distribution of the random effects."
    )


def results(analysis: "GeneralizedAnalysis") -> Iterator[str]:
    """What was found."""
    yield variation_words(analysis.null)
    level = percent(analysis.level, decimals=0)
    for term, row in analysis.effects.T.items():
        yield effect_words(str(term), row, level, analysis)
    what = outcome_words(analysis.selected)
    for name, made in analysis.average_effects.items():
        if isinstance(made, Skipped):
            continue
        for _, row in pd.DataFrame(made).iterrows():
            decimals = decimals_of(float(row["std_error"])) + 1
            yield (
                f"Averaged over rows and random effects, {name}{effect_label(row)} goes with a change of "
                f"{fixed(float(row['estimate']), decimals)} in the {what} ({level} CI "
                f"{interval(float(row['conf_low']), float(row['conf_high']), decimals)})."
            )


def effect_words(term: str, row: "pd.Series[float]", level: str, analysis: "GeneralizedAnalysis") -> str:
    """One context effect."""
    decimals = decimals_of(row["std_error"])
    test = "z" if np.isinf(row["df"]) else f"t({row['df']:.0f})"
    words = (
        f"{term}: b = {fixed(row['estimate'], decimals)}, {test} = {fixed(row['statistic'], 2)}, "
        f"{p_statement(row['p_value'])}, {level} CI {interval(row['conf_low'], row['conf_high'], decimals)}"
    )
    if "ratio" in row.index:
        ends = interval(row["ratio_low"], row["ratio_high"], 2)
        words += f"; {ratio_name(analysis.selected)} {fixed(row['ratio'], 2)} {ends}"
    ends = interval(row["bootstrap_low"], row["bootstrap_high"], decimals)
    return f"{words}; bootstrap interval {ends}."
