"""Residuals in sentences and tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import chdtrc, ndtr

from crosslevel.display import Block, Column, Document, Items, Note, Table, counted, fixed, number, percent

if TYPE_CHECKING:
    from crosslevel.diagnostics.residuals.record import Residuals

SHOWN = 6
"""Rows or clusters in a table."""

NAMED = 3
"""Rows or clusters in a sentence."""

UNLIKELY = 0.05
"""Chance that one of all values is that large where the model is true."""


def outlying(standardised: pd.Series) -> pd.Series:
    """Values beyond what the largest of as many standard normal ones exceeds once in twenty, the largest first."""
    known = standardised.dropna()
    size = known.abs().to_numpy()
    chance = 2.0 * ndtr(-size) * max(len(known), 1)
    return known[chance < UNLIKELY].iloc[np.argsort(-size[chance < UNLIKELY], kind="stable")]


def distant(clusters: pd.DataFrame) -> pd.Series:
    """Mahalanobis distances beyond what the largest of as many exceeds once in twenty, the largest first."""
    distance, dimensions = clusters["mahalanobis"], clusters["dimensions"].to_numpy()
    able = distance.notna().to_numpy() & (dimensions > 0)
    chance = np.ones(len(clusters))
    chance[able] = chdtrc(dimensions[able], distance.to_numpy()[able]) * max(int(np.count_nonzero(able)), 1)
    return distance[chance < UNLIKELY].sort_values(ascending=False, kind="stable")


def sentences(found: "Residuals") -> tuple[str, ...]:
    """What is furthest off at every level; the last one says what to do."""
    told = [*_of_rows(found)]
    for name in found.outlying_clusters:
        told += _of_clusters(found, name)
    if found.concern == "look":
        told.append(
            "Look at the rows and clusters named: errors of entry are corrected in the data, cl.influence(fit) tells "
            "whether a cluster decides about a result, and cl.envelope(fit) whether the tails are too heavy as a whole."
        )
    return tuple(told)


def _of_rows(found: "Residuals") -> Iterator[str]:
    """Large residuals of rows."""
    values = found.rows["standardized"].dropna()
    if not len(values):
        return
    beyond = float(np.mean(values.abs() > 2.0))
    yield (
        f"{percent(beyond)} of {counted(len(values))} standardised residuals are beyond 2 (normal ones: 4.6%); the "
        f"largest is {fixed(float(values.iloc[int(np.argmax(values.abs().to_numpy()))]), 1)}."
    )
    if len(found.outlying_rows):
        few = [f"{label} ({fixed(float(value), 1)})" for label, value in found.outlying_rows.iloc[:NAMED].items()]
        yield f"{_how_many(len(found.outlying_rows), 'row')} beyond what chance explains: {', '.join(few)}."


def _of_clusters(found: "Residuals", name: str) -> Iterator[str]:
    """Clusters whose random effects are far from zero."""
    far, frame = found.outlying_clusters[name], found.clusters[name]
    if not frame["mahalanobis"].notna().any():
        return
    if not len(far):
        yield f"No cluster of {name} is further from the others than the largest of {counted(len(frame))} is by chance."
        return
    few = [f"{level} (distance {fixed(float(np.sqrt(value)), 1)} SD)" for level, value in far.iloc[:NAMED].items()]
    yield f"{_how_many(len(far), f'cluster of {name}', f'clusters of {name}')} beyond chance: {', '.join(few)}."


def _how_many(n: int, one: str, several: str | None = None) -> str:
    """A count with its noun and verb."""
    return f"1 {one} is" if n == 1 else f"{counted(n)} {several or one + 's'} are"


def write(found: "Residuals") -> Document:
    """The document."""
    blocks: list[Block] = [Items(list(found.sentences))]
    blocks += [Note(note) for note in found.notes]
    blocks.append(_row_table(found))
    blocks += [_cluster_table(name, frame) for name, frame in found.clusters.items() if "mahalanobis" in frame]
    return Document(f"Residuals of {found.outcome}", blocks)


def _row_table(found: "Residuals") -> Table:
    """The rows with the largest standardised residuals."""
    size = found.rows["standardized"].abs()
    chosen = found.rows.loc[size.notna()].iloc[np.argsort(-size.dropna().to_numpy(), kind="stable")[:SHOWN]]
    names = [name for name in ("fitted", "conditional", "standardized", "least_confounded") if name in chosen]
    rows = [
        [str(label), *(_shown(value) for value in own)]
        for label, own in zip(chosen.index, chosen[names].to_numpy().tolist(), strict=True)
    ]
    heads = [Column(name.replace("_", "-").capitalize(), align="decimal") for name in names]
    return Table(["Row", *heads], rows, title="Rows with the largest residuals")


def _cluster_table(name: str, frame: pd.DataFrame) -> Table:
    """The clusters furthest from zero."""
    names = [str(column) for column in frame]
    effects = [column.removesuffix("_standardized") for column in names if column.endswith("_standardized")]
    order = np.argsort(-np.nan_to_num(frame["mahalanobis"].to_numpy()), kind="stable")[:SHOWN]
    rows = []
    for k in order:
        own = frame.iloc[k]
        cells = [_shown(float(own[f"{effect}_standardized"])) for effect in effects]
        rows.append([str(frame.index[k]), int(own["rows"]), *cells, _shown(float(np.sqrt(own["mahalanobis"])))])
    heads = [Column(effect, align="decimal") for effect in effects]
    columns: list[str | Column] = [name, Column("Rows", format="count"), *heads, Column("Distance", align="decimal")]
    note = "Random effects over the standard deviations of their predictions; distance of all of them from zero."
    return Table(columns, rows, title=f"Clusters of {name} furthest from the others", notes=[note])


def _shown(value: float) -> str | None:
    """A number, or nothing."""
    return None if np.isnan(value) else number(value)
