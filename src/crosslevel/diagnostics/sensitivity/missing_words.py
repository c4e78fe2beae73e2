"""What is missing where, in sentences and tables."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from crosslevel.display import (
    Block,
    Column,
    Document,
    Items,
    Paragraph,
    Row,
    Table,
    counted,
    fixed,
    p_statement,
    percent,
)

if TYPE_CHECKING:
    from crosslevel.diagnostics.sensitivity.missing_patterns import MissingPatterns

NAMED = 6
"""Clusters that are named."""

SHOWN = 10
"""Patterns and clusters that a table has."""


def sentences(found: "MissingPatterns") -> Iterator[str]:
    """What is missing where, and what to do."""
    share = float(found.complete.mean())
    of = "one variable" if len(found.names) == 1 else f"all of {counted(len(found.names))} variables"
    yield f"{percent(share)} of {counted(found.n_rows)} rows have values in {of}."
    if found.n_without_group:
        yield f"{counted(found.n_without_group)} rows have no cluster of {found.group}."
    n, n_lost = len(found.levels), len(found.lost)
    if n_lost:
        has = "has no complete row and is" if n_lost == 1 else "have no complete row and are"
        yield f"{counted(n_lost)} of {counted(n)} clusters of {found.group} {has} lost: {listed(found.lost)}."
    yield from _variables(found)
    for _, row in found.telling.head(2).iterrows():
        more = "larger" if row["within"] > 0.0 else "smaller"
        yield (
            f"Where {row['variable']} is missing, {row['other']} is {more} by {fixed(abs(float(row['within'])), 2)} "
            f"standard deviations within clusters ({p_statement(float(row['p_within']))})."
        )
    yield _advice(found)


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {counted(len(names) - NAMED)} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def write(found: "MissingPatterns") -> Document:
    """Sentences and tables."""
    words = list(sentences(found))
    blocks: list[Block] = [Paragraph(words[0])]
    blocks += [Items(words[1:])] if len(words) > 1 else []
    blocks.append(_by_variable(found))
    if len(found.patterns) > 1:
        blocks += [_by_pattern(found), _by_cluster(found)]
    return Document(f"Missing values by {found.group}", blocks)


def _variables(found: "MissingPatterns") -> Iterator[str]:
    """Variables that whole clusters lack, and the one that lies most between clusters."""
    frame = found.frame
    for name in frame.index[frame["clusters_without"] > 0]:
        shares = found.clusters[name]
        which = [str(level) for level in shares.index[shares == 1.0]]
        where = "these clusters" if tuple(which) == found.lost else listed(which)
        yield f"{name} is missing in all rows of {where}: it may not have been asked there."
    telling = frame[(frame["clusters_without"] == 0) & (frame["icc"] > 0.1)]["icc"]
    if len(telling):
        place = int(telling.to_numpy().argmax())
        yield (
            f"Whether {telling.index[place]} is missing differs most between clusters (intraclass correlation "
            f"{fixed(float(telling.to_numpy()[place]), 2)})."
        )


def _advice(found: "MissingPatterns") -> str:
    """What to do."""
    if found.concern == "none":
        return "Hardly anything is lost where rows with missing values are left out."
    if found.lost:
        return (
            "Say which clusters a model leaves out, or leave out the variables that they lack; compare the clusters "
            "that stay with those that go before results are said to hold for all."
        )
    return (
        "Leaving rows out is right if what is missing depends on the model's predictors alone: put the variables that "
        "go with it into the model, or impute by a model that knows of the clusters, and report both."
    )


def _by_variable(found: "MissingPatterns") -> Table:
    """Missing values by variable."""
    rows: list[Row] = [
        [str(name), int(row["missing"]), percent(float(row["share"])), fixed(float(row["icc"]), 2),
         int(row["clusters_without"]), int(row["clusters_whole"])]
        for name, row in found.frame.iterrows()
    ]  # fmt: skip
    columns: list[str | Column] = [
        "Variable", Column("Missing", format="count"), Column("Share", align="decimal"),
        Column("ICC", align="decimal"), Column("Clusters without any", format="count"),
        Column("with all", format="count"),
    ]  # fmt: skip
    note = "ICC: share of the variance of being missing that lies between clusters."
    return Table(columns, rows, title="By variable", notes=[note])


def _by_pattern(found: "MissingPatterns") -> Table:
    """The commonest patterns."""
    rows: list[Row] = []
    for _, row in found.patterns.head(SHOWN).iterrows():
        gone = [name for name in found.names if row[name]]
        rows.append([", ".join(gone) or "none", int(row["rows"]), percent(float(row["share"])), int(row["clusters"])])
    columns: list[str | Column] = [
        "Missing", Column("Rows", format="count"), Column("Share", align="decimal"), Column("Clusters", format="count")
    ]  # fmt: skip
    more = len(found.patterns) - SHOWN
    return Table(columns, rows, title="By pattern", notes=[f"{counted(more)} rarer patterns."] if more > 0 else [])


def _by_cluster(found: "MissingPatterns") -> Table:
    """The clusters that lose most."""
    frame = found.clusters.sort_values("complete_share", kind="stable").head(SHOWN)
    rows: list[Row] = [
        [str(level), int(row["rows"]), int(row["complete"]), percent(float(row["complete_share"]))]
        for level, row in frame.iterrows()
    ]
    columns: list[str | Column] = [
        found.group, Column("Rows", format="count"), Column("Complete", format="count"),
        Column("Share", align="decimal"),
    ]  # fmt: skip
    return Table(columns, rows, title="Clusters that lose most")
