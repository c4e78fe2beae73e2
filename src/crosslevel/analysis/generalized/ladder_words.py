"""The ladder of an outcome with a family as a document: its tables, and what they say."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.analysis.ladder_words import CLEAR
from crosslevel.analysis.phrases import listed
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
    from crosslevel.analysis.generalized.ladder import GeneralizedLadder, GeneralizedRung

SLOPE = "random slope of "


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


def titled(ladder: "GeneralizedLadder", name: str) -> str:
    """A step with its number."""
    return f"{1 + list(ladder.steps).index(name)} {name[0].upper()}{name[1:]}"


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
    notes = [f"{titled(ladder, rung.name).split()[0]}: {rung.fit.formula}" for rung in ladder.rungs]
    return Table(columns, rows, title="Models", notes=["Nodes of quadrature; 1 is Laplace's approximation.", *notes])


def tests_table(ladder: "GeneralizedLadder") -> Table:
    """Likelihood-ratio tests between the steps."""
    rows: list[Row] = []
    for rung in ladder.rungs:
        if rung.test is not None:
            against = titled(ladder, rung.against).split()[0]
            test = rung.test
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
    slopes = [rung for rung in ladder.rungs if rung.name.startswith(SLOPE)]
    vary = [rung.name.removeprefix(SLOPE) for rung in slopes if _clear(rung)]
    still = [rung.name.removeprefix(SLOPE) for rung in slopes if not _clear(rung)]
    if vary:
        yield f"Tested one at a time, {_slopes(vary)} between clusters (p < .05)."
    if still:
        yield f"There is no clear evidence that {_slopes(still)} between clusters."
    for rung in ladder.rungs:
        if rung.test is not None and rung.name.startswith("context"):
            verb = "improves the model" if _clear(rung) else "does not clearly improve the model"
            yield (
                f"{rung.name[0].upper()}{rung.name[1:]} {verb} (chi-square {fixed(rung.test.statistic, 2)}, "
                f"{rung.test.df} df, {p_statement(rung.test.p_value)})."
            )


def _slopes(names: list[str]) -> str:
    """Slopes as the subject of a sentence, with the verb."""
    return f"the slope of {names[0]} varies" if len(names) == 1 else f"the slopes of {listed(names)} vary"


def _clear(rung: "GeneralizedRung") -> bool:
    """Whether a step's test is clear."""
    return rung.test is not None and rung.test.p_value < CLEAR
