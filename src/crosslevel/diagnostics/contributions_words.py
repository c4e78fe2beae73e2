"""What clusters contribute, in sentences and tables."""

from typing import TYPE_CHECKING, Any

import numpy as np

from crosslevel.diagnostics.diagnostic import Concern, worst
from crosslevel.display import Block, Column, Document, Note, Paragraph, Row, Table, counted, fixed, percent

if TYPE_CHECKING:
    from crosslevel.diagnostics.contributions import Contributions

SHOWN = 8
"""Clusters in a table."""

MANY_TERMS = 8
"""Coefficients of which sentences tell."""

MOST, MUCH, FEW = 0.5, 0.25, 8.0
"""Share of one cluster from which it carries a coefficient alone, and from which it is looked at; and how many clusters
are few."""


def described(found: "Contributions") -> tuple[str, ...]:
    """The coefficients that sentences are about: the context effects; all but the intercept if there are none."""
    return found.context or tuple(term for term in found.terms if term != "Intercept") or found.terms


def _numbers(found: "Contributions", term: str) -> dict[str, Any]:
    """A coefficient's row of `Contributions.coefficients`."""
    return {str(name): value for name, value in found.coefficients.loc[term].items()}


def concern_of(found: "Contributions", term: str) -> Concern:
    """The light of one coefficient."""
    row = _numbers(found, term)
    if float(row["largest_share"]) >= MOST:
        return "act"
    few = float(row["effective_clusters"]) < min(FEW, 0.5 * len(found.levels))
    return "look" if few or float(row["largest_share"]) >= MUCH else "none"


def concern(found: "Contributions") -> Concern:
    """The light."""
    return worst([concern_of(found, term) for term in described(found)])


def sentences(found: "Contributions") -> tuple[str, ...]:
    """By how many clusters coefficients are carried, and what to do about those carried by few."""
    told = [_effective(found)]
    for term in described(found)[:MANY_TERMS]:
        row = _numbers(found, term)
        told.append(
            f"{term} is carried by the equivalent of {fixed(float(row['effective_clusters']), 1)} equal clusters out "
            f"of {counted(len(found.levels))}: {row['largest']} holds {percent(float(row['largest_share']))} of the "
            f"information, and {counted(int(row['half']))} {'cluster holds' if row['half'] == 1 else 'clusters hold'} "
            "half."
        )
    few = [term for term in described(found) if concern_of(found, term) != "none"]
    if few:
        told.append(
            f"{', '.join(few)}: so few clusters decide that they have to be known by name. Look at them "
            "(cl.plot.contributions, `.carriers(term)`), at the result without them (cl.influence), and use tests for "
            'small samples (ddf="satterthwaite").'
        )
    return tuple(told)


def write(found: "Contributions") -> Document:
    """The document of an analysis of contributions."""
    told = sentences(found)
    few = concern(found) != "none"
    blocks: list[Block] = [Paragraph(sentence) for sentence in (told[:-1] if few else told)[:1]]
    if few:
        blocks.append(Note(told[-1], kind="warning"))
    blocks += [_terms(found), _clusters(found)]
    if found.crossed:
        blocks.append(Note("Random effects cross these clusters: shares are by row, and may be negative."))
    return Document(f"What clusters of {found.by} contribute to {found.outcome}", blocks)


def _effective(found: "Contributions") -> str:
    """How many independent rows there are in all."""
    rows, effective = float(found.sizes.sum()), float(found.effective_rows.sum())
    if abs(effective - rows) < 1e-9 * rows:
        return (
            f"The model takes the {counted(rows)} rows in {counted(len(found.levels))} clusters of {found.by} as "
            "independent: no variance lies between them in it."
        )
    return (
        f"About a mean, the {counted(rows)} rows in {counted(len(found.levels))} clusters of {found.by} tell as much "
        f"as {counted(round(effective))} independent ones would."
    )


def _terms(found: "Contributions") -> Table:
    """Each coefficient, context effects first."""
    context = set(found.context)
    order = [*found.context, *(term for term in found.terms if term not in context)]
    rows: list[Row] = []
    for term in order:
        row = _numbers(found, term)
        rows.append(
            [
                term, fixed(float(row["effective_clusters"]), 1), str(row["largest"]),
                percent(float(row["largest_share"])), int(row["half"]),
            ]
        )  # fmt: skip
    columns: list[str | Column] = [
        "Term", Column("Effective clusters", align="decimal"), "Largest", Column("Its share", align="decimal"),
        Column("Half in", format="count"),
    ]  # fmt: skip
    note = "Effective clusters: as many equal ones would tell as much. Half in: the fewest with half of it."
    return Table(columns, rows, title="Clusters that carry each coefficient", notes=[note])


def _clusters(found: "Contributions") -> Table:
    """The clusters that weigh most, with the coefficient that they tell most about."""
    order = np.argsort(-found.weight, kind="stable")[:SHOWN]
    effects = list(found.reliability.columns)
    rows: list[Row] = []
    for k in order:
        shares = found.shares.iloc[k]
        own = [fixed(float(value), 2) for value in found.reliability.iloc[k]]
        rows.append(
            [
                str(found.levels[k]), int(found.sizes[k]), fixed(float(found.effective_rows[k]), 1), *own,
                percent(float(found.weight[k])), f"{shares.idxmax()} ({percent(float(shares.max()))})",
            ]
        )  # fmt: skip
    columns: list[str | Column] = [
        found.by, Column("Rows", format="count"), Column("Effective", align="decimal"),
        *(Column(f"Reliability {name}", align="decimal") for name in effects), Column("Weight", align="decimal"),
        "Largest share",
    ]  # fmt: skip
    return Table(columns, rows, title="Clusters that weigh most in all coefficients together")
