"""A search to print or to show in a notebook."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from crosslevel.display import Block, Column, Document, Note, Paragraph, Row, Section, Table, fixed
from crosslevel.selection.averaging import average_table
from crosslevel.selection.log import shown
from crosslevel.selection.routine import Round
from crosslevel.selection.search import Candidate

if TYPE_CHECKING:
    from crosslevel.selection.record import Selection

MOST_ROWS = 8
"""Candidates of a round that are shown, the best first; the frame has all."""


def summarise(selection: "Selection") -> Document:
    """What `Selection.document` shows; see there."""
    name = selection.maximal.design.factors[selection.search.place].name
    return Document(f"Random-effects structure of {name}", list(_blocks(selection)))


def _blocks(selection: "Selection") -> Iterator[Block]:
    """Notes, the chosen model, the candidates, the context effects along the path, the words."""
    yield Table(
        ["", ""],
        [
            ["Maximal model", selection.maximal.formula],
            ["Chosen model", selection.formula],
            ["Criterion", _criteria(selection)],
        ],
    )  # fmt: skip
    for note in selection.notes:
        yield Note(note, kind="warning")
    yield _candidates(selection)
    if selection.context:
        yield _context(selection)
    if selection.average:
        yield average_table(selection)
    notes = set(selection.notes)
    for text in selection.log.split("\n\n"):
        if text not in notes:
            yield Paragraph(text)


def _criteria(selection: "Selection") -> str:
    """The criteria of both steps."""
    first, second = selection.criterion_in(1), selection.criterion_in(2)
    return first.title if first is second else f"{first.title} for slopes, {second.title} for correlations"


def _candidates(selection: "Selection") -> Table:
    """Baselines and their best candidates, round by round."""
    rows: list[Row] = []
    for found in selection.rounds:
        of = f"Step {found.step}: {'slopes' if found.step == 1 else 'correlations'}, round {found.number}"
        rows.append(Section(of))
        rows.append(_candidate(selection, found, found.baseline, "baseline"))
        judge = selection.judge_in(found.step)
        order = sorted(found.candidates, key=lambda pair: _sort_key(judge.value(pair[0], found.baseline), pair[0]))
        if selection.criterion_in(found.step).name == "lrt":
            order = order[::-1]
        first = [pair for pair in found.candidates if pair[0] is found.best]
        listed = (first + [pair for pair in order if pair[0] is not found.best])[:MOST_ROWS]
        for candidate, dropped in listed:
            rows.append(_candidate(selection, found, candidate, f"without {dropped}" if dropped else ""))
    columns: list[str | Column] = [
        "Random effects", "", Column("Par.", format="integer"), Column("Deviance", align="decimal"),
        Column("Criterion", align="decimal"), Column("Change", align="decimal"),
    ]  # fmt: skip
    notes = [
        "~: correlated. *: chosen, the next baseline. Change: of the criterion from the baseline's.",
        f"Of a round with more candidates the best {MOST_ROWS} are shown.",
    ]
    return Table(columns, rows, title="Candidates", notes=notes)


def _sort_key(value: float, candidate: Candidate) -> tuple[float, int]:
    """NaN last, then the simplest."""
    return (float("inf") if value != value else value, candidate.structure.n_parameters)


def _candidate(selection: "Selection", found: Round, candidate: Candidate, role: str) -> Row:
    """One row of the table of candidates."""
    judge = selection.judge_in(found.step)
    value, delta = judge.value(candidate, found.baseline), judge.delta(candidate, found.baseline)
    return [
        f"{candidate.structure.words}{' *' if candidate is found.chosen else ''}", role, candidate.n_params,
        fixed(candidate.deviance, 1), shown(value), "" if candidate is found.baseline else fixed(delta, 2),
    ]  # fmt: skip


def _context(selection: "Selection") -> Table:
    """Context effects of the baselines."""
    rows: list[Row] = []
    for term in selection.context:
        rows.append(Section(term))
        for _, row in selection.path.iterrows():
            low, high = row[f"{term} conf_low"], row[f"{term} conf_high"]
            rows.append(
                [row["structure"], *(float(row[f"{term} {what}"]) for what in ("estimate", "std_error")), low, high]
            )
    columns: list[str | Column] = ["Random effects", "Estimate", "SE", "95% low", "high"]
    how = "given the variances" if selection.search.is_linear else "from the observed information"
    note = (
        f"From the maximal model to the chosen one. Standard errors {how}, m-l-1 degrees of freedom; the chosen "
        "model's own tests are in its summary."
    )
    return Table(columns, rows, title="Context effects along the path", notes=[note])
