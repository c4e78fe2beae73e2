"""What to write in the paper: a methods and a results paragraph, and the model's equations."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import crosslevel
from crosslevel.analysis.context_analysis import Skipped
from crosslevel.analysis.moderation_words import moderation_sentences
from crosslevel.analysis.phrases import (
    as_percent,
    capital,
    decimals_of,
    interval,
    listed,
    several,
    t_test,
    what_varies,
)
from crosslevel.analysis.sources import REFERENCES
from crosslevel.display import Document, Equations, Paragraph, counted, fixed, percent
from crosslevel.display.as_text import lines_of
from crosslevel.estimators.fitted_mixed import FittedMixed
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.summary import cluster_sizes, equations, parts_of
from crosslevel.report.findings import category_of

if TYPE_CHECKING:
    import pandas as pd

    from crosslevel.analysis.moderation import Moderation
    from crosslevel.analysis.record import Analysis

LARGEST_RATIO = 10.0
"""Standard deviations of slopes are told up to this multiple of their average."""

NOTICED = 0.5
"""Percent by which widths differ that are told."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Paper:
    """What to write.

    Attributes
    ----------
    methods, results : a paragraph each.
    equations : the selected model in letters, level by level.
    latex : the same for LaTeX (amsmath).
    references : what the paragraphs cite.
    """

    methods: str
    results: str
    equations: tuple[Equations, ...]
    latex: str
    references: tuple[str, ...]

    @property
    def results_in_lines(self) -> str:
        """The results paragraph in lines of 80 columns, for the terminal."""
        return str(Document("", [Paragraph(self.results)]))

    @property
    def markdown(self) -> str:
        """All of it as Markdown."""
        letters = "\n".join(line for block in self.equations for line in [*lines_of(block, 100), ""]).rstrip()
        return (
            f"# What to write\n\n## Methods\n\n{self.methods}\n\n## Results\n\n{self.results}\n\n## The selected "
            f"model\n\n```text\n{letters}\n```\n\n```latex\n{self.latex}\n```\n\n## References\n\n"
            + "\n".join(f"- {reference}" for reference in self.references)
            + "\n"
        )


def paper_of(analysis: "Analysis") -> Paper:
    """Write about an analysis."""
    fit = analysis.selected
    cited = ["heisig", "kenward", "pustejovsky"]
    cited += ["lewis"] if not isinstance(analysis.fgls, Skipped) else []
    cited += ["esarey"] if any(_regions(found) for found in analysis.interactions.values()) else []
    return Paper(
        methods=" ".join(methods(analysis)).replace("`", ""),  # names with spaces are quoted in formulas, not in prose
        results=" ".join(results(analysis)).replace("`", ""),
        equations=tuple(block for block in equations(fit, parts_of(fit)) if isinstance(block, Equations)),
        latex=fit.equation(format="latex"),
        references=tuple(REFERENCES[name] for name in sorted(cited)),
    )


# -- methods ------------------------------------------------------------------------------------------------------
def methods(analysis: "Analysis") -> Iterator[str]:
    """Sentences of the methods paragraph."""
    question, fit = analysis.question, analysis.selected
    levels = question.levels
    label = fit.labels.get(fit.spec.response_name)
    quoted = f', "{label}"' if label else ""
    yield (
        f"The data are {several(fit.nobs, 'row')} in {several(question.n_clusters, 'cluster')} ({question.group}; "
        f"{cluster_sizes(fit)})."
    )
    dropped = levels.rows_read - fit.nobs
    if dropped:
        verb = "was" if dropped == 1 else "were"
        yield f"{capital(several(dropped, 'row'))} of {counted(levels.rows_read)} {verb} left out for missing values."
    yield f"The outcome is {fit.spec.response_name}{quoted}."
    yield (
        "Linear mixed-effects models were fitted to these rows by restricted maximum likelihood. "
        f"{predictors(analysis)}"
    )
    yield (
        f"In the invariant model {what_varies(blocks_of(analysis.invariant))}; in the maximal model "
        f"{what_varies(blocks_of(analysis.maximal))}."
    )
    if question.too_many:
        yield (
            f"With {question.n_clusters} clusters there was no room for random slopes of {listed(question.too_many)}, "
            "so that their coefficients are taken to be the same in all clusters."
        )
    yield from search_sentences(analysis)
    yield from inference_sentences(analysis)
    yield (
        f"Each cluster was left out in turn. Computations by crosslevel {crosslevel.__version__} (seed "
        f"{analysis.given['seed']})."
    )


def predictors(analysis: "Analysis") -> str:
    """The fixed effects by level, in two sentences."""
    levels = analysis.question.levels
    crossed = [term.text.replace(":", " × ") for term in levels.cross]
    parts = [
        f"{listed(levels.within)} within clusters" if levels.within else "",
        f"{listed(levels.context)} between clusters" if levels.context else "",
        f"the cross-level {'interaction' if len(crossed) == 1 else 'interactions'} {listed(crossed)}"
        if crossed
        else "",
    ]
    there = [part for part in parts if part]
    # a list of lists needs a comma before its last "and"
    joined = there[0] if len(there) == 1 else f"{', '.join(there[:-1])}, and {there[-1]}"
    number = "predictor is" if len(there) == 1 and listed(levels.fixed) in levels.fixed else "predictors are"
    return f"Their {number} {joined}. The context effects under study are those of {listed(analysis.question.context)}."


def search_sentences(analysis: "Analysis") -> Iterator[str]:
    """How the random effects were selected, and which they are."""
    selection = analysis.selection
    if len(analysis.maximal.design.random_names) == 1:
        yield "No slope can vary between clusters, so that there were no random effects to select."
        return
    kept = [*analysis.question.levels.moderated, *(analysis.given["keep"] or ())]
    spared = f", except {listed(list(dict.fromkeys(kept)))}" if kept else ""
    among = (
        "the correlations of the remaining ones were chosen among all ways to put them into blocks"
        if selection.rules.correlations == "exhaustive"
        else "it was chosen which of the remaining ones are correlated with those that context explains"
    )
    yield (
        f"From the maximal model the random effects were selected by {selection.criterion.title} in two steps (Heisig, "
        "Schaeffer & Giesecke, 2017): random slopes were dropped one at a time with correlations fixed to "
        f"zero{spared}; then {among}."
    )
    yield f"In the selected model {what_varies(blocks_of(analysis.selected))}."


def inference_sentences(analysis: "Analysis") -> Iterator[str]:
    """Where intervals and tests come from, and what stands beside the mixed models."""
    count = len(analysis.bootstraps["Selected"].batch)
    yield (
        f"Context effects were tested by t{rule_of(analysis.selected)}; Kenward-Roger intervals (Kenward & Roger, "
        f"1997) and percentile intervals of a cluster bootstrap with {several(count, 'replicate')} stand beside."
    )
    two_step = "" if isinstance(analysis.fgls, Skipped) else ", and by two-step regressions (Lewis & Linzer, 2005)"
    yield (
        "For comparison the same fixed effects were estimated by pooled regression with CR2 standard errors and "
        f"Satterthwaite degrees of freedom (Pustejovsky & Tipton, 2018){two_step}."
    )


RULES = {
    "growth-curve": " on clusters - predictors - 1 degrees of freedom, less one for each varying coefficient that the "
    "estimate is adjusted for",
    "m-l-1": " on clusters - predictors - 1 degrees of freedom",
}


def rule_of(fit: MixedFit) -> str:
    """How degrees of freedom are counted."""
    return RULES.get(fit.ddf, f" with {fit.ddf} degrees of freedom")


def blocks_of(fit: FittedMixed) -> list[list[str]]:
    """The blocks of random effects."""
    names = fit.design.random_names
    return [[names[k] for k in block] for block in fit.design.structure.columns]


# -- results ------------------------------------------------------------------------------------------------------
def results(analysis: "Analysis") -> Iterator[str]:
    """Sentences of the results paragraph."""
    icc = analysis.null.icc(level=analysis.level)
    yield (
        f"Of the variance of {analysis.null.spec.response_name}, {percent(icc.estimate)} lies between clusters "
        f"(intraclass correlation {fixed(icc.estimate, 3)}, {percent(analysis.level, decimals=0)} CI "
        f"{interval(icc.conf_low, icc.conf_high, 3)})."
    )
    yield from effect_sentences(analysis)
    for found in analysis.interactions.values():
        if not isinstance(found, Skipped):
            yield from moderation_sentences(found)
    yield from heterogeneity_sentences(analysis)
    yield from maximal_sentences(analysis)
    yield from width_sentences(analysis)
    yield from sensitivity_sentences(analysis)
    yield from influence_sentences(analysis)


def effect_sentences(analysis: "Analysis") -> Iterator[str]:
    """What each context effect is, with its test and its three intervals."""
    rows = analysis.effects.T
    for column in analysis.question.columns(analysis.selected):
        row = rows[column.name]
        decimals = decimals_of(row["std_error"])
        ends = [
            f"{words} {interval(row[f'{name}_low'], row[f'{name}_high'], decimals)}"
            for words, name in (("Kenward-Roger", "kenward_roger"), ("bootstrap", "bootstrap"))
        ]
        what = effect_words(analysis, column.factors, row, decimals)
        yield f"{capital(what)} ({t_test(row, analysis.level)}; {'; '.join(ends)})."


def effect_words(analysis: "Analysis", factors: tuple[str, ...], row: "pd.Series[float]", decimals: int) -> str:
    """What a coefficient says, in words."""
    fit, above = analysis.selected, analysis.question.levels.context_columns
    inside = [name for name in factors if name not in above]
    moderators = [name for name in factors if name in above]
    size, signed = fixed(abs(row["estimate"]), decimals), fixed(row["estimate"], decimals)
    more = "higher" if row["estimate"] > 0 else "lower"
    if len(moderators) > 1:
        return f"the coefficient of {' × '.join(factors)} is {signed}"
    category = category_of(fit, moderators[0])
    if not inside:
        where = conditions(analysis, moderators[0])
        if category is None:
            return f"one unit more of {moderators[0]} goes with {size} {more} {fit.spec.response_name}{where}"
        return f"the expected {fit.spec.response_name} is {size} {more} for {category}{where}"
    slope = " × ".join(inside)
    if category is None:
        change = "rises" if row["estimate"] > 0 else "falls"
        return f"the coefficient of {slope} {change} by {size} with each unit of {moderators[0]}"
    return f"the coefficient of {slope} is {size} {more} for {category}"


def conditions(analysis: "Analysis", moderator: str) -> str:
    """Where the effect of a context variable holds that takes part in interactions."""
    fit = analysis.selected
    columns = [fit.spec.columns[j].factors for j in fit.design.x]
    others = dict.fromkeys(
        name
        for factors in columns
        if moderator in factors and len(factors) > 1
        for name in factors
        if name != moderator
    )
    numbers = [name for name in others if category_of(fit, name) is None]
    parts = [f"{listed(numbers)} {'is' if len(numbers) == 1 else 'are'} zero"] if numbers else []
    for variable in dict.fromkeys(name.rpartition("[")[0] for name in others if name not in numbers):
        average = fit.spec.codings[variable].kind == "wec"
        parts.append(f"{variable} {'is at its average' if average else 'has its reference category'}")
    return f" where {listed(parts)}" if parts else ""


def heterogeneity_sentences(analysis: "Analysis") -> Iterator[str]:
    """How much slopes differ between clusters."""
    frame = analysis.heterogeneity.frame.reset_index()
    slopes = frame[(frame["term"] != "Intercept") & frame["ratio"].notna()]
    parts = [f"{_share_of_average(float(row['ratio']))} for {row['term']}" for _, row in slopes.iterrows()]
    if parts:
        yield (
            "In the maximal model the standard deviation of a slope between clusters is, in percent of its average, "
            f"{listed(parts)}" + (", at the mean of the moderators." if analysis.interactions else ".")
        )


def _share_of_average(ratio: float) -> str:
    """A standard deviation in percent of an average, which says nothing more where the average is nearly zero."""
    return as_percent(ratio) if ratio < LARGEST_RATIO else f"over {as_percent(LARGEST_RATIO)}"


def maximal_sentences(analysis: "Analysis") -> Iterator[str]:
    """What the context effects are in the maximal model, where that is another one."""
    if blocks_of(analysis.selected) == blocks_of(analysis.maximal):
        return
    rows = analysis.maximal.tidy(level=analysis.level).T
    parts = []
    for term in analysis.terms:
        row = rows[term]
        decimals = decimals_of(row["std_error"])
        ends = interval(row["conf_low"], row["conf_high"], decimals)
        parts.append(f"{fixed(row['estimate'], decimals)} for {term} {ends}")
    yield f"The maximal model estimates {listed(parts)}."


def width_sentences(analysis: "Analysis") -> Iterator[str]:
    """How wide bootstrap intervals are beside those of the invariant model."""
    if blocks_of(analysis.selected) == blocks_of(analysis.invariant):
        yield "The selected model has the random effects of the invariant one."
        return
    widths = analysis.widths["Selected", "bootstrap"]
    parts = [
        f"{fixed(abs(value), 1)}% {'wider' if value > 0 else 'narrower'} for {term}"
        for term, value in widths.items()
        if abs(value) >= NOTICED
    ]
    same = [str(term) for term, value in widths.items() if abs(value) < NOTICED]
    parts += [f"as wide for {listed(same)}"] if same else []
    yield f"Beside those of the invariant model the bootstrap intervals of the selected model are {listed(parts)}."


CHECKS = {
    "correlated": "where correlations are estimated that the selected model fixes to zero",
    "shifted": "with another origin of the variable of an uncorrelated slope",
}
"""What the sensitivity of the selected model is looked at for."""


def sensitivity_sentences(analysis: "Analysis") -> Iterator[str]:
    """Whether a context effect moves with the correlations that were fixed to zero."""
    frame = analysis.selection.sensitivity
    if not len(frame):
        return
    moved = frame[frame["moves"].astype(bool)]
    if not len(moved):
        yield (
            "No context effect moves by more than half a standard error where correlations are estimated that the "
            "selected model fixes to zero, or with another origin of an uncorrelated slope's variable."
        )
    for check, part in moved.groupby("check", sort=False):
        largest = part["change_in_se"].abs().groupby(part["term"], sort=False).max()
        sizes = listed([f"{term} by up to {fixed(float(size), 1)}" for term, size in largest.items()])
        yield f"{capital(CHECKS[str(check)])}, estimates move: {sizes} standard errors."


def influence_sentences(analysis: "Analysis") -> Iterator[str]:
    """Whether a single cluster decides about a context effect."""
    found = analysis.influence
    if isinstance(found, Skipped):
        return
    from crosslevel.diagnostics.influence_words import sentences

    told = list(sentences(found))
    if told:
        yield from told
    else:
        yield "No context effect changes its sign, or the result of its test, when any one cluster is left out."


def _regions(found: "Moderation | Skipped") -> bool:
    """Whether there are regions of significance."""
    return not isinstance(found, Skipped) and bool(found.regions)
