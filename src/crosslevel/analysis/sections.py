"""The documents of an analysis: short for the terminal, whole for the page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from crosslevel.analysis.context_analysis import Skipped
from crosslevel.analysis.ladder_words import ladder_blocks
from crosslevel.analysis.paper import blocks_of
from crosslevel.analysis.phrases import decimals_of, interval, listed, several, what_varies
from crosslevel.diagnostics.checks.check import check
from crosslevel.display import (
    Block,
    Code,
    Column,
    Document,
    Equations,
    Fold,
    Heading,
    Items,
    Note,
    Paragraph,
    Row,
    Section,
    Table,
    below,
    counted,
    fixed,
    p_statement,
    p_value,
    percent,
)
from crosslevel.estimators.compare import signed_percent
from crosslevel.report.comparison import comparison
from crosslevel.report.findings import data_sentence, variation_sentence

if TYPE_CHECKING:
    from crosslevel.analysis.context_analysis import ContextAnalysis
    from crosslevel.analysis.record import Analysis

Pictures = Mapping[str, Sequence[Block]]
"""The figures of each section."""


def short(analysis: "ContextAnalysis", found: Iterable[Block]) -> Document:
    """What was found, with what must be read before the numbers."""
    title = f"Context effects on {analysis.models['Selected'].spec.response_name} by {analysis.question.group}"
    return Document(title, [*found, *concerns(analysis)])


def in_short(analysis: "Analysis") -> Iterator[Block]:
    """Data, models and context effects in a few lines."""
    yield Paragraph(f"{data_sentence(analysis.selected)} {variation_sentence(analysis.null)}")
    yield varying(analysis)
    yield effects_table(analysis)


def varying(analysis: "ContextAnalysis") -> Items:
    """Which slopes vary in each model."""
    words = {name: what_varies(blocks_of(fit)) for name, fit in analysis.models.items() if name != "Null"}
    return Items(
        [
            f"Invariant model: {words['Invariant']}.",
            f"Maximal model: {words['Maximal']}.",
            f"Selected by {analysis.selection.criterion.title}: {words['Selected']}.",
        ]
    )


def effects_table(analysis: "Analysis") -> Table:
    """The context effects of the selected model with three intervals."""
    rows: list[Row] = []
    for term, row in analysis.effects.T.items():
        decimals = decimals_of(row["std_error"]) + 1
        rows.append(Section(str(term)))
        for name, estimate, columns in (
            (f"t, {freedom(row['df'])} df", row["estimate"], ("std_error", "conf_low", "conf_high", "p_value")),
            (
                f"Kenward-Roger, {freedom(row['kenward_roger_df'])} df",
                None,
                tuple(f"kenward_roger_{name}" for name in ("std_error", "low", "high", "p_value")),
            ),
            ("Cluster bootstrap", None, tuple(f"bootstrap_{name}" for name in ("std_error", "low", "high"))),
        ):
            cells = [fixed(row[column], decimals) for column in columns[:3]]
            p = p_value(row[columns[3]]) if len(columns) > 3 else None
            rows.append([name, fixed(estimate, decimals) or None, *cells, p])
    count = len(analysis.bootstraps["Selected"].batch)
    notes = [
        f"Of the selected model. Degrees of freedom of t: {analysis.selected.ddf}. Bootstrap: percentiles of "
        f"{several(count, 'draw')} of whole clusters, seed {analysis.given['seed']}."
    ]
    return Table(heads_of("Context effect", analysis.level), rows, title="Context effects", notes=notes)


def heads_of(first: str, level: float) -> list[str | Column]:
    """Heads of a table of estimates with intervals of a confidence level and p-values."""
    limits = (f"{percent(level, decimals=0)} low", "high")
    return [first, *(Column(name, align="decimal") for name in ("Estimate", "SE", *limits, "p"))]


def freedom(df: float) -> str:
    """Degrees of freedom."""
    return fixed(df, 0 if df > 1000 or df == round(df) else 1)


def estimators_table(analysis: "Analysis") -> Table:
    """Each context effect by every estimator, with the width of its interval relative to the invariant model's."""
    frame = pd.concat([analysis.comparison.frame, analysis.drawn.frame])
    rows: list[Row] = []
    for term in analysis.terms:
        rows.append(Section(term))
        for _, row in frame[frame.index == term].iterrows():
            decimals = decimals_of(float(row["std_error"])) + 1
            cells = [fixed(float(row[name]), decimals) for name in ("estimate", "std_error", "conf_low", "conf_high")]
            first = row["estimator"] in (analysis.comparison.names[0], analysis.drawn.names[0])
            width = None if first else signed_percent(float(row["relative_width_percent"]))
            rows.append([str(row["estimator"]), *cells, width])
    level = percent(analysis.level, decimals=0)
    heads: list[str | Column] = [
        "Estimator",
        *(Column(name, align="decimal") for name in ("Estimate", "SE", f"{level} low", "high", "Width, %")),
    ]
    notes = [
        "Width: of the interval, in percent more than that of the invariant model by the same kind of interval (t or "
        "bootstrap); negative is narrower. Bootstrap: percentiles, and standard deviations of the draws."
    ]
    return Table(heads, rows, title="Context effects by every estimator", notes=notes)


def concerns(analysis: "ContextAnalysis") -> Iterator[Block]:
    """What must be read before the numbers."""
    question = analysis.question
    if question.too_many:
        yield Note(
            f"{question.n_clusters} clusters are too few to let all slopes vary: "
            f"{listed(question.too_many).replace('`', '')} "
            f"{'has' if len(question.too_many) == 1 else 'have'} no random slope in any model (at least two clusters "
            "for each random effect are kept).",
            kind="warning",
        )
    for name in ("Null", "Invariant"):
        if not analysis.models[name].converged:
            yield Note(f"{name} model: {analysis.models[name].status}", kind="warning")
    for note in analysis.models["Selected"].notes:
        yield Note(f"Selected model: {note}", kind="warning")
    for note in analysis.selection.notes:
        yield Note(f"Search: {note}", kind="warning")
    for name, found in analysis.skipped.items():
        yield Note(f"Not done: {name}. {found.reason}")


# -- the whole report ---------------------------------------------------------------------------------------------
def whole(analysis: "Analysis", pictures: Pictures) -> Iterator[Block]:
    """All sections but the appendix."""
    yield Heading("In short")
    yield from in_short(analysis)
    yield from concerns(analysis)
    yield Heading("Data")
    yield from below(analysis.description.document())
    yield from pictures.get("data", ())
    yield Heading("Coding and centring", level=2)
    yield from below(analysis.coding.document(), level=3)
    yield from models(analysis)
    yield Heading("Search for the random effects", level=2)
    yield from below(analysis.selection.document(), level=3)
    yield from pictures.get("search", ())
    yield from results(analysis, pictures)
    yield Heading("Checks")
    yield from below(check(analysis.selected).document())
    yield Heading("Influence of single clusters", level=2)
    yield from part(analysis.influence, level=3)
    yield from pictures.get("influence", ())
    yield Heading("Residuals of the selected model", level=2)
    yield from pictures.get("checks", ())
    yield from paper(analysis)


def results(analysis: "Analysis", pictures: Pictures) -> Iterator[Block]:
    """Context effects by every estimator, differences between clusters, interactions."""
    yield Heading("Results")
    yield Heading("Context effects by other estimators", level=2)
    yield from pictures.get("effects", ())
    yield estimators_table(analysis)
    yield from (Note(note) for note in analysis.comparison.notes)
    yield from two_steps(analysis)
    yield Heading("Differences between clusters", level=2)
    yield Paragraph("Of the maximal model, in which every slope varies that may.")
    yield from below(analysis.heterogeneity.document(), level=3)
    yield from pictures.get("heterogeneity", ())
    yield from interactions(analysis, pictures)


def in_full(analysis: "Analysis", pictures: Pictures) -> Iterator[Block]:
    """What the appendix holds: the steps of the textbooks, and the selected model."""
    steps = [
        Paragraph("The same model as textbooks build it, one question at a time."),
        *ladder_blocks(analysis.ladder, level=3),
    ]
    yield Fold("Step by step", steps)
    summary = analysis.selected.summary(level=analysis.level).blocks
    own = [block for block in summary if not isinstance(block, Equations)]
    yield Fold("The selected model in full", [*own, *pictures.get("selected", ())])


def models(analysis: "Analysis") -> Iterator[Block]:
    """Null, invariant, maximal and selected model."""
    yield Heading("Models")
    yield Paragraph(
        "The null model tells how much of the outcome lies between clusters. The invariant model takes the "
        "coefficients of predictors within clusters to be the same everywhere, but for those that context explains; "
        "the maximal model lets all of them vary; the selected model is what the data support between these two."
    )
    yield Paragraph(null_words(analysis))
    fits = analysis.models
    yield Items([f"{name}: {fit.formula}" for name, fit in fits.items()])
    yield comparison({name: fit for name, fit in fits.items() if name != "Null"})
    yield Paragraph("Log-likelihood, AIC and BIC are by REML, which compares models with the same fixed effects.")
    for name, fit in fits.items():
        yield from (Note(f"{name} model: {note}") for note in fit.notes)


def null_words(analysis: "Analysis") -> str:
    """How much of the outcome lies between clusters."""
    fit = analysis.null
    icc, test = fit.icc(level=analysis.level), fit.test_random().T["all"]
    effect = fit.design_effect().T[fit.group]
    return (
        f"Null model: {percent(icc.estimate)} of the variance of {fit.spec.response_name} lies between clusters "
        f"(intraclass correlation {fixed(icc.estimate, 3)}, {percent(analysis.level, decimals=0)} interval "
        f"{interval(icc.conf_low, icc.conf_high, 3)}; chi-square {fixed(test['statistic'], 2)}, "
        f"{p_statement(test['p_value'])}). The clusters' means have an average reliability of "
        f"{fixed(fit.reliability().average['Intercept'], 3)}. A mean of all rows is as precise as one of "
        f"{counted(float(effect['effective_rows']))} independent rows (design effect "
        f"{fixed(float(effect['design_effect']), 2)})."
    )


def two_steps(analysis: "Analysis") -> Iterator[Block]:
    """What the two-step regressions leave out."""
    found = analysis.fgls
    if not isinstance(found, Skipped):
        yield Paragraph(
            f"Two-step regressions: {'; '.join([found.formula, *found.second])}. Predictors that context does not "
            "moderate are centred, so that intercepts are those of the average row."
        )
        yield from (Note(f"Two-step: {note}") for note in found.notes)


def interactions(analysis: "Analysis", pictures: Pictures) -> Iterator[Block]:
    """Simple slopes and regions of each cross-level interaction."""
    yield Heading("Cross-level interactions", level=2)
    if not analysis.interactions:
        yield Paragraph("The model has no cross-level interaction: no coefficient within clusters depends on context.")
    for text, found in analysis.interactions.items():
        yield Heading(text.replace(":", " × ").replace("`", ""), level=3)
        if isinstance(found, Skipped):
            yield from part(found)
            continue
        yield from below(found.slopes.document(), title="Simple slopes", level=3)
        for region in found.regions:
            yield from below(region.document(), title="Regions of significance", level=3)
        if found.no_regions:
            yield Paragraph(f"No regions of significance: {found.no_regions}")
        yield from pictures.get(text, ())


def paper(analysis: "Analysis") -> Iterator[Block]:
    """What to write."""
    found = analysis.paper
    yield Heading("What to write")
    yield Heading("Methods", level=2)
    yield Paragraph(found.methods)
    yield Heading("Results", level=2)
    yield Paragraph(found.results)
    yield Heading("Equations", level=2)
    yield from found.equations
    yield Code(found.latex)
    yield Heading("References", level=2)
    yield Items(list(found.references))


def part(found: object, level: int = 2) -> Iterator[Block]:
    """The blocks of a step, or why it was not done; `level` is that of its headings."""
    if isinstance(found, Skipped):
        yield Note(found.reason, kind="warning")
    else:
        yield from below(found.document(), level=level)  # type: ignore[attr-defined]
