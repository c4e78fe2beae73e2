"""Leverage in sentences and tables."""

from typing import TYPE_CHECKING

import numpy as np

from crosslevel.diagnostics.diagnostic import Concern
from crosslevel.display import Block, Column, Document, Note, Paragraph, Row, Table, counted, fixed, percent

if TYPE_CHECKING:
    from crosslevel.diagnostics.leverage import Leverage

SHOWN = 6
"""Rows or clusters in a table."""

HIGH, OWN = 3.0, 0.5
"""Times the average from which a leverage is called high, and a row's leverage from which it decides its own fit."""

HALF = 0.5
"""Share in all coefficients from which a cluster outweighs the others together."""


def concern(found: "Leverage") -> Concern:
    """The light."""
    return "look" if _deciding(found) or _outweighing(found) else "none"


def sentences(found: "Leverage") -> tuple[str, ...]:
    """The effective number of parameters, the highest leverages, and what to do about them."""
    told = [_total(found)]
    values = found.rows["leverage"].to_numpy()
    top, high = int(np.nanargmax(values)), int(np.count_nonzero(values > HIGH * np.nanmean(values)))
    told.append(
        f"The highest leverage of a row is {fixed(float(values[top]), 3)} (row {found.rows.index[top]}); "
        f"{counted(high)} of {counted(len(values))} rows have more than {HIGH:g} times the average "
        f"{fixed(float(np.nanmean(values)), 3)}."
    )
    for name, frame in found.clusters.items():
        share = frame["share"]
        told.append(
            f"Among the {counted(len(frame))} clusters of {name}, {share.idxmax()} weighs most in the coefficients: "
            f"{percent(float(share.max()))}, where equal clusters have {percent(1.0 / len(frame))}."
        )
    deciding, outweighing = _deciding(found), _outweighing(found)
    if deciding:
        told.append(
            f'{_of_deciding(deciding)} in the data; cl.influence(fit, by="rows") tells what '
            f"{'it changes' if deciding == 1 else 'they change'}."
        )
    if outweighing:
        told.append(
            f"{' and '.join(outweighing)} {'outweighs' if len(outweighing) == 1 else 'outweigh'} all other clusters in "
            "the coefficients: cl.influence(fit) tells what is left without."
        )
    return tuple(told)


def write(found: "Leverage") -> Document:
    """The document of a leverage analysis."""
    blocks: list[Block] = [Paragraph(sentence) for sentence in sentences(found)[:2]]
    rest = sentences(found)[2:]
    worrying = concern(found) != "none"
    blocks += [
        Note(sentence, kind="warning" if worrying and place == len(rest) - 1 else "info")
        for place, sentence in enumerate(rest)
    ]
    blocks.append(_row_table(found))
    blocks += [_cluster_table(found, name) for name in found.clusters]
    return Document(f"Leverage on {found.outcome}", blocks)


def _total(found: "Leverage") -> str:
    """The effective number of parameters."""
    total = found.total
    if total - found.n_coefficients < 1e-8 * total:
        if found.n_coefficients == 1:
            return "The fitted values take 1 parameter, the coefficient."
        return f"The fitted values take {found.n_coefficients} parameters, one for each coefficient."
    return (
        f"The fitted values take {fixed(total, 1)} parameters: {found.n_coefficients} "
        f"{'coefficient' if found.n_coefficients == 1 else 'coefficients'}, and random effects worth "
        f"{fixed(total - found.n_coefficients, 1)}."
    )


def _of_deciding(count: int) -> str:
    """Rows that decide their own fitted values, and what to check."""
    if count == 1:
        return (
            f"1 row has a leverage above {OWN:g}: its fitted value follows its own outcome more than all others. Check "
            "this outcome"
        )
    return (
        f"{counted(count)} rows have a leverage above {OWN:g}: their fitted values follow their own outcomes more than "
        "all others. Check these outcomes"
    )


def _deciding(found: "Leverage") -> int:
    """Rows that decide their own fitted values."""
    return int(np.count_nonzero(found.rows["leverage"].to_numpy() > OWN))


def _outweighing(found: "Leverage") -> list[str]:
    """Clusters with half of all coefficients."""
    return [
        f"{level} of {name}"
        for name, frame in found.clusters.items()
        for level in frame.index[(frame["share"] > HALF).to_numpy()]
    ]


def _row_table(found: "Leverage") -> Table:
    """The rows with the highest leverage."""
    frame = found.rows.iloc[np.argsort(-found.rows["leverage"].to_numpy(), kind="stable")[:SHOWN]]
    rows: list[Row] = [
        [str(label), *(fixed(float(value), 3) for value in values)]
        for label, values in zip(frame.index, frame.to_numpy(), strict=True)
    ]
    columns: list[str | Column] = ["Row", *(Column(head, align="decimal") for head in ("Leverage", "Fixed", "Random"))]
    return Table(columns, rows, title="Rows with the highest leverage")


def _cluster_table(found: "Leverage", name: str) -> Table:
    """The clusters with the highest weight in the coefficients."""
    frame = found.clusters[name]
    frame = frame.iloc[np.argsort(-frame["share"].to_numpy(), kind="stable")[:SHOWN]]
    rows: list[Row] = [
        [
            str(label), int(row["rows"]), percent(float(row["share"])), fixed(float(row["fixed"]), 3),
            fixed(float(row["random"]), 2), fixed(float(row["mean"]), 3),
        ]
        for label, row in frame.iterrows()
    ]  # fmt: skip
    heads = ("Weight", "Fixed", "Random", "Mean of rows")
    columns: list[str | Column] = [
        name, Column("Rows", format="count"), *(Column(head, align="decimal") for head in heads)
    ]  # fmt: skip
    note = "Weight: the sum of the rows' fixed parts over the number of coefficients; over all clusters 100%."
    return Table(columns, rows, title=f"Clusters of {name} with the highest weight", notes=[note])
