"""How far results depend on choices, in sentences and tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.diagnostics.sensitivity.table_rows import row_of
from crosslevel.display import Block, Column, Document, Items, Note, Paragraph, Row, Table, counted, fixed, percent
from crosslevel.estimators.summary import shown_decimals

if TYPE_CHECKING:
    from crosslevel.diagnostics.sensitivity.multiverse import Multiverse

TELLING = 0.1
"""Share of the variance of estimates from which on a choice is named as what they depend on."""

NAMED = 3
"""Problems that are told."""


def sentences(found: "Multiverse") -> Iterator[str]:
    """What becomes of each term, and what to do."""
    n, failed = len(found.specifications), sum(each.table is None for each in found.specifications)
    fitted = counted(n) if not failed else f"{counted(n - failed)} of {counted(n)}"
    were = "was" if n - failed == 1 else "were"
    among = "" if found.specifications[0].table is None else ", the model as given among them"
    yield f"{fitted} specifications {were} fitted{among}."
    if n - failed < 2:
        yield "That is too few to compare: see the problems, and mend the alternatives."
        return
    for term in found.terms:
        yield from _about(found, term)
    if failed:
        yield f"{counted(failed)} {'specification' if failed == 1 else 'specifications'} could not be fitted."
    if found.concern == "none":
        yield "The conclusions do not depend on these choices."
    else:
        yield (
            "Report the range beside the model as given, and argue for the choices that the results depend on; a "
            "figure is cl.plot.specification_curve."
        )


def write(found: "Multiverse") -> Document:
    """Sentences and tables."""
    words = list(sentences(found))
    blocks: list[Block] = [Paragraph(words[0]), Items(words[1:]), _terms(found), _choices(found)]
    problems = {each.problem: each for each in found.specifications if each.problem}
    blocks += [Note(f"{each.formula}: {text}", kind="warning") for text, each in list(problems.items())[:NAMED]]
    return Document(f"Specifications of {found.outcome}", blocks)


def _about(found: "Multiverse", term: str) -> Iterator[str]:
    """The sentence of one term."""
    row = row_of(found.summary, term)
    if not row["specifications"]:
        yield f"{term} has no estimate in any of them."
        return
    decimals = _decimals(found, term)
    given, median, low, high = (fixed(row[k], decimals) for k in ("as_given", "median", "lowest", "highest"))
    small = f"p < {1.0 - found.level:.2g}".replace("0.", ".")
    text = (
        f"{term} is {given} as given, and lies between {low} and {high} (median {median}); it is positive in "
        f"{percent(float(row['positive']), decimals=0)} and has {small} in "
        f"{percent(float(row['significant']), decimals=0)}; {percent(float(row['agree']), decimals=0)} agree with the "
        "model as given in sign and test."
    )
    shares = row_of(found.influence, term)
    most = max(shares, key=lambda name: shares[name], default="")
    if most and shares[most] > TELLING:
        text += f" It depends most on {most} ({percent(shares[most], decimals=0)} of the variance)."
    yield text


def _terms(found: "Multiverse") -> Table:
    """The summary by term."""
    rows: list[Row] = []
    for term in found.terms:
        row, decimals = row_of(found.summary, term), _decimals(found, term)
        numbers = [fixed(row[k], decimals) for k in ("as_given", "lowest", "median", "highest")]
        shares = [percent(row[k], decimals=0) for k in ("positive", "significant", "agree")]
        rows.append([term, int(row["specifications"]), *numbers, *shares])
    heads = ("As given", "Lowest", "Median", "Highest", "Positive", "Significant", "Agree")
    columns: list[str | Column] = [
        "Term", Column("Models", format="count"), *(Column(head, align="decimal") for head in heads)
    ]  # fmt: skip
    note = "Agree: with the sign of the model as given, and the same result of the test."
    return Table(columns, rows, title="Coefficients over specifications", notes=[note])


def _choices(found: "Multiverse") -> Table:
    """What the estimates depend on."""
    rows: list[Row] = []
    for choice in found.choices:
        shares = [percent(float(row_of(found.influence, term)[choice.name]), decimals=0) for term in found.terms]
        rows.append([choice.name, "; ".join(choice.options), *shares])
    columns: list[str | Column] = ["Choice", "Options", *(Column(term, align="decimal") for term in found.terms)]
    note = "Shares of the variance of estimates over specifications; the rest is due to combinations of choices."
    return Table(columns, rows, title="What the estimates depend on", notes=[note])


def _decimals(found: "Multiverse", term: str) -> int:
    """Decimals that a coefficient is shown with."""
    rows = found.of(term)
    if not len(rows):
        return 3
    return shown_decimals(float(np.nanmedian(rows["std_error"])), float(rows["estimate"].abs().median()))
