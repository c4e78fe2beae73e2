"""The ladder of an outcome with a family as a document: its tables, and what they say."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.analysis.ladder_words import CLEAR, context_words, single_slopes, slopes_vary, titled
from crosslevel.display import (
    Block,
    Column,
    Document,
    Items,
    Note,
    Paragraph,
    Row,
    Table,
    counted,
    fixed,
    p_statement,
    p_value,
    percent,
)

if TYPE_CHECKING:
    from crosslevel.analysis.generalized.ladder import GeneralizedLadder


def ladder_document(ladder: "GeneralizedLadder") -> Document:
    """All tables of a ladder with their words."""
    return Document(f"Step by step: {ladder.levels.response} by {ladder.levels.group}", list(ladder_blocks(ladder)))


def ladder_blocks(ladder: "GeneralizedLadder") -> Iterator[Block]:
    """The parts of the document."""
    final = ladder.final
    yield Paragraph(
        f"All models are fitted to the same {counted(final.nobs)} rows in {counted(final.ngroups[final.group])} "
        f"clusters of {ladder.levels.group} by maximum likelihood ({final.family.description})."
    )
    yield steps_table(ladder)
    yield tests_table(ladder)
    yield Items(list(found_words(ladder)))
    yield explained_table(ladder)
    if final.family.latent_variance is not None:
        yield Note(
            "Variances of different steps are in different units, as the variance of one answer is fixed on the scale "
            "of the linear predictor: that between clusters may grow with predictors within clusters. Compare shares."
        )


def steps_table(ladder: "GeneralizedLadder") -> Table:
    """What was fitted, and how well it fits."""
    rows: list[Row] = [
        [titled(ladder, rung.name), rung.fit.n_params, rung.fit.deviance, rung.fit.quadrature.nodes]
        for rung in ladder.rungs
    ]
    columns: list[str | Column] = [
        "Step",
        Column("Parameters", format="integer"),
        Column("Deviance", format="fixed", decimals=2),
        Column("Nodes", format="integer"),
    ]
    notes = [f"{ladder.numbers[rung.name]}: {rung.fit.formula}" for rung in ladder.rungs]
    return Table(columns, rows, title="Models", notes=["Nodes of quadrature; 1 is Laplace's approximation.", *notes])


def tests_table(ladder: "GeneralizedLadder") -> Table:
    """Likelihood-ratio tests between the steps."""
    rows: list[Row] = []
    for rung in ladder.rungs:
        if rung.test is not None:
            against, test = ladder.numbers[rung.against], rung.test
            statistic, p = fixed(test.statistic, 2), p_value(test.p_value)
            rows.append([titled(ladder, rung.name), against, statistic, test.df, p])
    columns: list[str | Column] = [
        "Step", "Against", Column("Chi-square", align="decimal"), Column("df", format="integer"),
        Column("p", align="decimal"),
    ]  # fmt: skip
    notes = ["p of variances allows for their boundary at zero (mixtures of chi-squares)."]
    if len({rung.fit.quadrature.nodes for rung in ladder.rungs}) > 1:
        notes.append(
            "Steps with different numbers of nodes are compared by one approximation, so that a chi-square may differ "
            "from the difference of the deviances above."
        )
    return Table(columns, rows, title="Likelihood-ratio tests", notes=notes)


def explained_table(ladder: "GeneralizedLadder") -> Table:
    """Variances and shares by step."""
    frame = ladder.explained
    rows: list[Row] = [
        [titled(ladder, str(name)), *(None if np.isnan(value) else float(value) for value in row)]
        for name, row in frame.iterrows()
    ]
    heads = {"marginal_r2": "R², fixed", "conditional_r2": "R², and random", "icc": "ICC"}
    columns: list[str | Column] = [
        "Step",
        *(Column(heads.get(name, name), format="fixed", decimals=3) for name in map(str, frame.columns)),
    ]
    notes = ["Shares on the scale of the linear predictor (Nakagawa, Johnson & Schielzeth 2017)."]
    return Table(columns, rows, title="Variances and shares", notes=notes)


def found_words(ladder: "GeneralizedLadder") -> Iterator[str]:
    """What the steps say, a sentence for each."""
    null = ladder.rungs[0].fit
    share = ladder.explained["icc"].iloc[0]
    tested = null.test_random().T["all"]
    of = (
        "latent variance"
        if null.family.latent_variance is not None
        else "variance on the scale of the linear predictor"
    )
    lies = "" if np.isnan(share) else f"{percent(float(share))} of the {of} lies between clusters; "
    group, p = ladder.levels.group, float(tested["p_value"])
    differ = f"clusters of {group} differ" if p < CLEAR else f"it is not clear that clusters of {group} differ"
    yield f"Null model: {lies}{differ} (chi-square {fixed(tested['statistic'], 2)}, {p_statement(p)})."
    vary, still = single_slopes(ladder)
    if vary:
        yield f"Tested one at a time, {slopes_vary(vary)} between clusters (p < .05)."
    if still:
        yield f"There is no clear evidence that {slopes_vary(still)} between clusters."
    yield from context_words(ladder)
