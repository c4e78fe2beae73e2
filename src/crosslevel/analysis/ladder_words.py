"""The ladder as a document: its tables, and what they say."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.analysis.phrases import capital, listed
from crosslevel.display import (
    Block,
    Column,
    Document,
    Heading,
    Items,
    Note,
    Paragraph,
    Row,
    Section,
    Table,
    counted,
    fixed,
    number,
    p_statement,
    p_value,
    percent,
)

if TYPE_CHECKING:
    from crosslevel.analysis.ladder import Ladder
    from crosslevel.analysis.step_up import StepUp
    from crosslevel.estimators.comparison import LikelihoodRatioTest

SLOPE = "random slope of "
"""How the names of steps begin that let one slope vary."""

CLEAR = 0.05
"""A p-value below it is called clear."""

NOTICED = 0.005
"""A negative reduction that is larger is explained."""

WORST = -10.0
"""A reduction below it is told as no more than that: the variances are of different quantities."""


def ladder_document(ladder: "Ladder") -> Document:
    """All tables of a ladder with their words."""
    return Document(f"Step by step: {ladder.levels.response} by {ladder.levels.group}", list(ladder_blocks(ladder)))


def ladder_blocks(ladder: "Ladder", level: int = 1) -> Iterator[Block]:
    """The parts of the document; `level` is that of its headings."""
    yield Paragraph(rows_words(ladder))
    yield steps_table(ladder)
    yield tests_table(ladder)
    yield Items(list(found_words(ladder)))
    yield Heading("Variance explained", level=level)
    yield from explained_blocks(ladder)
    yield Heading("Reliability", level=level)
    yield reliability_table(ladder)
    yield Heading("How many cluster-level predictors?", level=level)
    yield from borne_blocks(ladder)


def rows_words(ladder: "Ladder") -> str:
    """Rows and clusters that all steps use."""
    final, levels = ladder.final, ladder.levels
    dropped = levels.rows_read - final.nobs
    left = f" ({counted(dropped)} of {counted(levels.rows_read)} left out for missing values)" if dropped else ""
    clusters = final.ngroups[final.group]
    return (
        f"All models are fitted to the same {counted(final.nobs)} rows{left} in {counted(clusters)} clusters of "
        f"{levels.group}."
    )


def titled(ladder: "StepUp", name: str) -> str:
    """A step with its number."""
    return f"{ladder.numbers[name]} {capital(name)}"


def steps_table(ladder: "Ladder") -> Table:
    """What was fitted, and how well it fits."""
    rows: list[Row] = [
        [titled(ladder, rung.name), rung.fit.n_params, rung.deviance_ml, rung.fit.deviance] for rung in ladder.rungs
    ]
    columns: list[str | Column] = [
        "Step",
        Column("Parameters", format="integer"),
        Column("Deviance, ML", format="fixed", decimals=2),
        Column("Deviance, REML", format="fixed", decimals=2),
    ]
    notes = [f"{ladder.numbers[rung.name]}: {rung.fit.formula}" for rung in ladder.rungs]
    return Table(columns, rows, title="Models", notes=notes)


def tests_table(ladder: "Ladder") -> Table:
    """Deviance tests between the steps."""
    place, rows = ladder.numbers, list[Row]()
    for rung in ladder.rungs:
        if rung.test is not None:
            test = rung.test
            statistic, p = fixed(test.statistic, 2), p_value(test.p_value)
            rows.append([titled(ladder, rung.name), place[rung.against], test.method.upper(), statistic, test.df, p])
    columns: list[str | Column] = [
        "Step",
        "Against",
        "By",
        Column("Chi-square", align="decimal"),
        Column("df", format="integer"),
        Column("p", align="decimal"),
    ]
    notes = [
        "By REML where only random effects differ, by ML where fixed effects do. p of variances allows for their "
        "boundary at zero (mixtures of chi-squares)."
    ]
    return Table(columns, rows, title="Deviance tests", notes=notes)


def found_words(ladder: "Ladder") -> Iterator[str]:
    """What the steps say, a sentence for each."""
    first = ladder.rungs[0].fit
    found = first.test_random().T["all"]
    yield (
        f"Null model: {percent(first.icc().estimate)} of the variance lies between clusters of {ladder.levels.group} "
        f"(chi-square {fixed(found['statistic'], 2)}, {p_statement(found['p_value'])})."
    )
    vary, still = single_slopes(ladder)
    told = [f"Tested one at a time, {slopes_vary(vary)} between clusters (p < .05)."] if vary else []
    if still and vary:
        told.append(f"For {listed(still)} there is no clear evidence of it.")
    elif still:
        told.append(f"There is no clear evidence that {slopes_vary(still)} between clusters.")
    if told:
        yield " ".join(told)
    yield from context_words(ladder)
    yield from remaining_words(ladder)


def single_slopes(ladder: "StepUp") -> tuple[list[str], list[str]]:
    """Slopes that were tested one at a time: those that clearly vary, and the others."""
    names = [name for name in ladder.steps if name.startswith(SLOPE)]
    vary = [name for name in names if clear(ladder.tests.get(name))]
    still = [name for name in names if name not in vary]
    return [name.removeprefix(SLOPE) for name in vary], [name.removeprefix(SLOPE) for name in still]


def context_words(ladder: "StepUp") -> Iterator[str]:
    """Whether context improves the model."""
    for name, test in ladder.tests.items():
        if name.startswith("context"):
            verb = "improves the model" if clear(test) else "does not clearly improve the model"
            words = f"(chi-square {fixed(test.statistic, 2)}, {test.df} df, {p_statement(test.p_value)})"
            yield f"{capital(name)} {verb} {words}."


def remaining_words(ladder: "Ladder") -> Iterator[str]:
    """What still varies in the final model."""
    if not ladder.levels.slopes or not ladder.levels.cross:
        return
    frame = ladder.remaining
    for name, p in frame["p_value"].items():
        term, _, rest = str(name).partition(" in (")
        if rest and np.isfinite(p):
            word = "still varies" if p < CLEAR else "does not clearly vary any more"
            yield f"In the final model the slope of {term} {word} between clusters ({p_statement(float(p))})."


def explained_blocks(ladder: "Ladder") -> Iterator[Block]:
    """Variances by step with their reductions, the errors of prediction, and how to read them."""
    frame = ladder.explained
    rows: list[Row] = []
    for rung in ladder.rungs:
        own = frame.loc[rung.name]
        rows.append(Section(titled(ladder, rung.name)))
        for component in own.index.drop(["rows", "clusters"], errors="ignore"):
            row = own.loc[component]
            rows.append([str(component), number(row["variance"]), *_reductions(row)])
    columns: list[str | Column] = [
        "Component",
        *(Column(name, align="decimal") for name in ("Variance", "Against null", "Against previous")),
    ]
    yield Table(
        columns,
        rows,
        title="Proportional reduction of each variance",
        notes=["Previous: the step that the model is tested against. Raudenbush & Bryk (2002)."],
    )
    yield _prediction_table(ladder)
    if (frame[["vs_null", "vs_previous"]] < -NOTICED).any().any():
        yield Note(
            "A negative reduction is no mistake. The components are estimated one beside the other: a predictor that "
            "takes variance within clusters away, and whose means differ between clusters, can leave more variance "
            "between them than was there before; and with random slopes the intercept's variance is the one where the "
            "slopes' variables are zero, another quantity than in the null model. Read the reduction of the residual "
            "variance for predictors within clusters, that of the intercept's for context, and that of a slope's for "
            "cross-level interactions."
        )


def _prediction_table(ladder: "Ladder") -> Table:
    """Snijders & Bosker's reductions."""
    frame, rows = ladder.explained, list[Row]()
    for rung in ladder.rungs:
        own = frame.loc[rung.name]
        if "rows" in own.index:
            cells = [
                cell
                for name in ("rows", "clusters")
                for cell in (number(own["variance"][name]), _share(own["vs_null"][name]))
            ]
            rows.append([titled(ladder, rung.name), *cells])
    columns: list[str | Column] = [
        "Step",
        *(Column(name, align="decimal") for name in ("Error, rows", "R²", "Error, means", "R²")),
    ]
    notes = [
        "Variance of the error of predicting a row, and a cluster's mean, in models whose intercepts alone vary. "
        "Snijders & Bosker (1994)."
    ]
    return Table(columns, rows, title="Reduction of the error of prediction", notes=notes)


def reliability_table(ladder: "Ladder") -> Table:
    """Intraclass correlations and reliabilities by step."""
    icc, reliability = ladder.icc, ladder.reliability
    rows: list[Row] = []
    for rung in ladder.rungs:
        own = reliability.loc[rung.name]
        slopes = "; ".join(f"{name} {fixed(own['reliability'][name], 3)}" for name in own.index.drop("Intercept"))
        rows.append([titled(ladder, rung.name), icc[rung.name], own["reliability"]["Intercept"], slopes or None])
    columns: list[str | Column] = [
        "Step",
        Column("ICC", format="fixed", decimals=3),
        Column("Intercept", format="fixed", decimals=3),
        "Slopes",
    ]
    few = int(reliability["clusters"].min())
    notes = [
        "ICC: share of the intercepts in the variance that the step leaves. Reliability: of the clusters' own "
        "coefficients, on average; a slope below about .05 is hard to tell from none that varies (Raudenbush & Bryk "
        "2002, ch. 5)."
    ]
    if few < ladder.final.ngroups[ladder.final.group]:
        notes.append(f"Not every cluster can tell every coefficient of its own: the fewest are {counted(few)}.")
    return Table(columns, rows, title="Intraclass correlation and reliability", notes=notes)


def borne_blocks(ladder: "Ladder") -> Iterator[Block]:
    """How many cluster-level predictors the clusters bear."""
    frame = ladder.equations
    clusters = ladder.final.ngroups[ladder.final.group]
    rows: list[Row] = [
        [str(name), int(row["predictors"]), int(row["rule_of_thumb"]), int(row["df"])] for name, row in frame.iterrows()
    ]
    columns: list[str | Column] = [
        "Explained coefficient",
        *(Column(name, format="integer") for name in ("Has", "Rule of thumb", "df")),
    ]
    yield Table(columns, rows, notes=["df: clusters - predictors - 1."])
    allowed = clusters // 10
    yield Paragraph(
        f"A rule of thumb of regression asks for ten units for each predictor. The units of an equation for the "
        f"intercept or a slope are the clusters: {counted(clusters)} of them bear about "
        f"{_predictors(allowed)} in each equation, fewer where equations share the same predictors "
        "(Raudenbush & Bryk 2002, ch. 9)."
    )
    over = [str(name) for name, row in frame.iterrows() if row["predictors"] > row["rule_of_thumb"]]
    if over:
        yield Note(
            f"The model has more than that for {listed(over)}. What is estimated is not wrong for it, but it is not "
            "precise, and hard to tell from what single clusters do: look at the influence of each cluster "
            "(cl.influence), and prefer to enter context variables one at a time.",
            kind="warning",
        )


def _predictors(count: int) -> str:
    """Number of predictors in words."""
    return "not even one predictor" if count == 0 else "one predictor" if count == 1 else f"{count} predictors"


def _reductions(row: "object") -> list[str | None]:
    """Reductions of a row of `explained`."""
    return [_share(row[name]) for name in ("vs_null", "vs_previous")]  # type: ignore[index]


def _share(value: float) -> str | None:
    """A reduction as a percentage, empty where there is none; of far more variance than before it says only that."""
    if np.isnan(value):
        return None
    return f"< {percent(WORST, decimals=0)}" if value < WORST else percent(value)


def clear(test: "LikelihoodRatioTest | None") -> bool:
    """Whether a test is clear; none is not."""
    return test is not None and test.p_value < CLEAR


def slopes_vary(names: list[str]) -> str:
    """Slopes as the subject of a sentence, with the verb."""
    return f"the slope of {names[0]} varies" if len(names) == 1 else f"the slopes of {listed(names)} vary"
