"""The documents of an analysis of an outcome with a family: short for the terminal, whole for the page."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.analysis.context_analysis import Skipped
from crosslevel.analysis.generalized.ladder_words import ladder_blocks
from crosslevel.analysis.generalized.words import (
    effect_label,
    methods,
    outcome_words,
    ratio_name,
    results,
    variation_words,
)
from crosslevel.analysis.phrases import decimals_of, several
from crosslevel.analysis.sections import Pictures, concerns, freedom, heads_of, part, varying
from crosslevel.diagnostics.checks.check import check
from crosslevel.display import (
    Block,
    Column,
    Equations,
    Fold,
    Heading,
    Items,
    Paragraph,
    Row,
    Section,
    Table,
    below,
    fixed,
    p_value,
)
from crosslevel.report.findings import data_sentence

if TYPE_CHECKING:
    from crosslevel.analysis.generalized.record import GeneralizedAnalysis


def in_short(analysis: "GeneralizedAnalysis") -> Iterator[Block]:
    """Data, models and context effects in a few lines."""
    fit = analysis.selected
    yield Paragraph(f"{data_sentence(fit)} Family: {fit.family.description}. {variation_words(analysis.null)}")
    yield varying(analysis)
    yield effects_table(analysis)
    yield from outcome_tables(analysis)


def effects_table(analysis: "GeneralizedAnalysis") -> Table:
    """The context effects of the selected model: coefficients, bootstrap intervals, ratios."""
    rows: list[Row] = []
    for term, row in analysis.effects.T.items():
        decimals = decimals_of(row["std_error"]) + 1
        rows.append(Section(str(term)))
        test = "z" if np.isinf(row["df"]) else f"t, {freedom(row['df'])} df"
        own = [fixed(row[name], decimals) for name in ("estimate", "std_error", "conf_low", "conf_high")]
        rows.append([f"Coefficient, {test}", *own, p_value(row["p_value"])])
        drawn = [fixed(row[f"bootstrap_{name}"], decimals) for name in ("std_error", "low", "high")]
        rows.append(["Cluster bootstrap", None, *drawn, None])
        if "ratio" in row.index:
            shown = [fixed(row[name], 3) for name in ("ratio", "ratio_low", "ratio_high")]
            rows.append([ratio_name(analysis.selected).capitalize(), shown[0], None, *shown[1:], None])
    count = len(analysis.bootstrap.batch)
    smaller = "" if analysis.selected.family.link == "log" else "; population averages are smaller"
    notes = [
        f"Of the selected model, between rows with the same random effects{smaller}. Bootstrap: percentiles of "
        f"{several(count, 'draw')} of whole clusters, seed {analysis.given['seed']}."
    ]
    return Table(heads_of("Context effect", analysis.level), rows, title="Context effects", notes=notes)


def outcome_tables(analysis: "GeneralizedAnalysis") -> Iterator[Block]:
    """Effects on the expected outcome, averaged over the random effects."""
    found = {name: made for name, made in analysis.average_effects.items() if not isinstance(made, Skipped)}
    if not found:
        return
    rows: list[Row] = []
    for name, made in found.items():
        for _, row in pd.DataFrame(made).iterrows():
            decimals = decimals_of(float(row["std_error"])) + 1
            shown = f"{name}{effect_label(row)}"
            cells = [
                fixed(float(row[column]), decimals) for column in ("estimate", "std_error", "conf_low", "conf_high")
            ]
            rows.append([shown, *cells, p_value(float(row["p_value"]))])
    what = outcome_words(analysis.selected)
    notes = [
        f"Change of the {what} with a unit more, or from one category to the other, averaged over rows and over the "
        "random effects."
    ]
    yield Table(heads_of("Average effect", analysis.level), rows, title=f"On the {what}", notes=notes)


# -- the whole report ---------------------------------------------------------------------------------------------
def whole(analysis: "GeneralizedAnalysis", pictures: Pictures) -> Iterator[Block]:
    """All sections but the appendix."""
    yield Heading("In short")
    yield from in_short(analysis)
    yield from concerns(analysis)
    yield Heading("Data")
    yield from below(analysis.description.document())
    yield from pictures.get("data", ())
    yield Heading("Coding and centring", level=2)
    yield from part(analysis.coding, level=3)
    yield Heading("Models")
    yield Items([f"{name}: {fit.formula}" for name, fit in analysis.models.items()])
    yield models_table(analysis)
    yield Heading("Search for the random effects", level=2)
    yield from below(analysis.selection.document(), level=3)
    yield from pictures.get("search", ())
    yield Heading("Results")
    yield Heading("Context effects by other estimators", level=2)
    yield from pictures.get("effects", ())
    yield from below(analysis.comparison.document(), level=3)
    yield Heading("Cross-level interactions", level=2)
    yield from interactions(analysis, pictures)
    yield Heading("Checks")
    yield from below(check(analysis.selected).document())
    yield Heading("Influence of single clusters", level=2)
    yield from part(analysis.influence, level=3)
    yield from pictures.get("influence", ())
    yield Heading("What to write")
    yield Heading("Methods", level=2)
    yield Paragraph(" ".join(methods(analysis)))
    yield Heading("Results", level=2)
    yield Paragraph(" ".join(results(analysis)))


def in_full(analysis: "GeneralizedAnalysis", pictures: Pictures) -> Iterator[Block]:
    """What the appendix holds: the steps of the textbooks, and the selected model."""
    yield Fold("Step by step", list(ladder_blocks(analysis.ladder)))
    summary = analysis.selected.summary(level=analysis.level).blocks
    own = [block for block in summary if not isinstance(block, Equations)]
    yield Fold("The selected model in full", [*own, *pictures.get("selected", ())])


def models_table(analysis: "GeneralizedAnalysis") -> Table:
    """How well the models fit."""
    rows: list[Row] = [
        [name, fit.n_params, fit.quadrature.nodes, fit.loglik, fit.aic, fit.bic]
        for name, fit in analysis.models.items()
    ]
    columns: list[str | Column] = [
        "Model",
        *(Column(name, format="integer") for name in ("Parameters", "Nodes")),
        *(Column(name, format="fixed", decimals=2) for name in ("Log-likelihood", "AIC", "BIC")),
    ]
    notes = ["Nodes of quadrature; 1 is Laplace's approximation. Maximum likelihood."]
    if len({fit.quadrature.nodes for fit in analysis.models.values()}) > 1:
        notes.append(
            "Log-likelihoods by different numbers of nodes are different approximations: AIC and BIC of models with "
            "the same number can be compared, as those of the search."
        )
    return Table(columns, rows, title="Fit", notes=notes)


def interactions(analysis: "GeneralizedAnalysis", pictures: Pictures) -> Iterator[Block]:
    """Effects on the expected outcome by values of the moderators."""
    if not analysis.interactions:
        yield Paragraph("The model has no cross-level interaction: no coefficient within clusters depends on context.")
        return
    why = (
        "because they are shares of what is expected: where more is expected, every effect is larger"
        if analysis.selected.family.link == "log"
        else "because a probability or share has ends: where it is near one, every effect is small"
    )
    yield Paragraph(
        "The coefficient of an interaction says how an effect on the linear predictor changes with context. Effects on "
        f"the outcome itself also change {why}. The tables below are of effects on the "
        f"{outcome_words(analysis.selected)}, averaged over the random effects; the two may differ in size and even in "
        "sign."
    )
    for text, found in analysis.interactions.items():
        yield Heading(text.replace(":", " × ").replace("`", ""), level=3)
        if isinstance(found, Skipped):
            yield from part(found)
            continue
        yield from below(found.document(), level=3)
        yield from pictures.get(text, ())
