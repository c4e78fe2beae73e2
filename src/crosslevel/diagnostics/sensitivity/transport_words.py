"""How well a model carries over to other clusters, in sentences and tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.diagnostics.sensitivity.missing_words import listed
from crosslevel.display import Block, Column, Document, Note, Paragraph, Row, Table, counted, fixed, number, percent

if TYPE_CHECKING:
    from crosslevel.diagnostics.sensitivity.transport import Transport

SHOWN = 8
"""Clusters that are shown."""


def sentences(found: "Transport") -> Iterator[str]:
    """How well the model carries over, and what to do."""
    summary, missed = found.summary, found.missed
    n = len(found.clusters) - len(missed)
    times = "one fit" if found.n_folds == 1 else f"{counted(found.n_folds)} fits"
    clusters = "cluster" if n == 1 else "clusters"
    yield f"{counted(n)} {clusters} of {found.group} {_was(n)} predicted by {times} to others."
    if missed:
        yield f"{found.group} {listed(missed)} {_was(len(missed))} not, as there is no such fit to the others."
    within, between = (percent(float(summary[name]), decimals=0) for name in ("r2_within", "r2_between"))
    yield (
        f"The root mean square error is {number(float(summary['rmse']))}. Within clusters the predictors take away "
        f"{within or 'nothing'} of the squared error, of cluster means {between or 'nothing'} of that of predicting "
        "the others' mean."
    )
    yield (
        f"Means of new clusters are missed by {number(float(summary['rmse_between']))} (of those that the model was "
        f"fitted to, {number(float(summary['in_sample_between']))})."
    )
    yield from _calibration(found)
    if not found.tells_means:
        yield "Predictors hardly tell the means of clusters apart: how effects between clusters carry over is not seen."
    if np.isfinite(summary["mean_z2"]):
        yield (
            "The squared errors of cluster means are "
            f"{fixed(float(summary['mean_z2']), 2)} times what the model's variances expect."
        )
    if found.far:
        clusters = "cluster" if len(found.far) == 1 else "clusters"
        yield f"The model does not carry over to {clusters} {listed(found.far)}."
    if found.problems:
        yield f"{counted(len(found.problems))} of the fits had problems, told below."
    yield _advice(found)


def _was(n: int) -> str:
    """The verb for that many clusters."""
    return "was" if n == 1 else "were"


def write(found: "Transport") -> Document:
    """Sentences and the clusters that are predicted worst."""
    blocks: list[Block] = [Paragraph(" ".join(found.sentences)), _worst(found)]
    blocks += [Note(text, kind="warning") for text in list(dict.fromkeys(found.problems.values()))[:3]]
    return Document(f"Predictions of {found.outcome} in other clusters", blocks)


def _calibration(found: "Transport") -> Iterator[str]:
    """Slopes of observed on predicted."""
    for part, slope in found.miscalibrated.items():
        how = "too extreme" if slope < 1.0 else "too timid"
        yield f"Predictions {part} clusters are {how}: observed on predicted has a slope of {fixed(slope, 2)}."


def _advice(found: "Transport") -> str:
    """What to do."""
    if found.concern == "act":
        return (
            "The model predicts other clusters worse than a mean would: its effects are those of these clusters. Leave "
            "predictors out that tell these clusters apart, or say that their effects are not to be generalised."
        )
    if found.miscalibrated.get("between", 0.0) > 1.0:
        return (
            "Cluster means differ by more than the model says: effects between clusters may be others than within. "
            "Compare the model with the cluster means of its predictors, as cl.mundlak writes it."
        )
    if found.concern == "look":
        return "Look at the clusters that are missed: what they share may be a predictor that the model lacks."
    return "The model carries over to clusters like these."


def _worst(found: "Transport") -> Table:
    """The clusters that are predicted worst."""
    frame = found.frame
    size = frame["z"].abs() if frame["z"].notna().any() else frame["error"].abs()
    rows: list[Row] = []
    for name, row in frame.loc[size.sort_values(ascending=False, kind="stable").index[:SHOWN]].iterrows():
        numbers = [number(float(row[c])) for c in ("observed", "predicted", "error")]
        rows.append(
            [str(name), int(row["rows"]), *numbers, fixed(float(row["z"]), 1), number(float(row["rmse_within"]))]
        )
    columns: list[str | Column] = [
        found.group, Column("Rows", format="count"), Column("Mean", align="decimal"),
        Column("Predicted", align="decimal"), Column("Error", align="decimal"), Column("z", align="decimal"),
        Column("RMSE within", align="decimal"),
    ]  # fmt: skip
    note = "z: error of the mean in standard deviations that the model expects."
    return Table(columns, rows, title="Clusters that are predicted worst", notes=[note])
