"""What a table of models shows, as rows of numbers: coefficients, thresholds, variances, residual parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.report.tables.cells import Numbers
from crosslevel.report.tables.labels import Labels
from crosslevel.report.tables.models import Model, is_mixed

Components: TypeAlias = Literal["variance", "sd", "covariance"]

KINDS = {"variance": "variance", "known variance": "variance", "covariance": "covariance",
         "known covariance": "covariance", "residual": "residual"}  # fmt: skip
"""Kinds of variance components that have a place in a table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantity:
    """One row of numbers.

    Attributes
    ----------
    part : what it belongs to: "coefficient", "threshold", "shape" or "variance".
    term : its name.
    label : how that is written.
    numbers : of each model; None where it has none.
    """

    part: str
    term: str
    label: str
    numbers: tuple[Numbers | None, ...]


def coefficients(models: Sequence[Model], terms: Sequence[str], labels: Labels) -> list[Quantity]:
    """A row for each coefficient."""
    frames = [model.coefficients for model in models]
    return [
        Quantity(part="coefficient", term=term, label=labels(term), numbers=tuple(_at(frame, term) for frame in frames))
        for term in terms
    ]


def thresholds(models: Sequence[Model], level: float) -> list[Quantity]:
    """A row for each threshold of ordered outcomes."""
    return _tabled("threshold", [_thresholds(model, level) for model in models], str)


def _thresholds(model: Model, level: float) -> pd.DataFrame | None:
    """Thresholds of a model of ordered categories."""
    family = getattr(model.source, "family", None)
    if getattr(family, "kind", None) != "ordered" or not hasattr(model.source, "thresholds"):
        return None
    found: pd.DataFrame = model.source.thresholds(level=level)
    return found


def shapes(models: Sequence[Model], level: float) -> list[Quantity]:
    """A row for each shape parameter, such as a dispersion, and each parameter of a residual structure."""
    found = []
    for model in models:
        frames = [
            getattr(model.source, name)(level=level)
            for name in ("shape_parameters", "residual_parameters")
            if is_mixed(model) and hasattr(type(model.source), name) and not _refuses(model, name)
        ]
        shape = getattr(model.source, "shape", None) if not is_mixed(model) else None
        if isinstance(shape, pd.Series) and len(shape):
            frames.append(shape.to_frame("estimate"))
        frames = [frame for frame in frames if len(frame)]
        found.append(pd.concat(frames) if frames else None)
    return _tabled("shape", found, str)


def _refuses(model: Model, name: str) -> bool:
    """Whether a model of another family than the normal one has residuals without parameters."""
    return name == "residual_parameters" and hasattr(model.source, "family")


def variances(models: Sequence[Model], level: float, kind: Components, labels: Labels) -> list[Quantity]:
    """A row for each variance (or standard deviation) and correlation (or covariance) of random effects.

    The residual's comes last, as it is that of the rows.
    """
    named: dict[str, tuple[tuple[str, ...], str]] = {}
    frames = [_components(model, level, kind, named) for model in models]
    rows = _tabled("variance", frames, lambda name: _component_label(*named[name], kind, labels))
    return [row for row in rows if row.term != "Residual"] + [row for row in rows if row.term == "Residual"]


def _components(
    model: Model, level: float, kind: Components, named: dict[str, tuple[tuple[str, ...], str]]
) -> pd.DataFrame | None:
    """Variance components of a mixed model by name: "ses | school", "Intercept, ses | school", "Residual".

    What the names are made of, random effects (none: the residual) and grouping factor, is added to `named`: the name
    of an effect may have a comma of its own, as within(ses, school).
    """
    if not is_mixed(model) or not model.source.design.factors:
        return None
    frame = model.source.varcomp(level=level)
    names, records = [], []
    for _, row in frame.iterrows():
        pair = KINDS[row["kind"]] == "covariance"
        if pair and row["kind"].startswith("known"):
            continue
        residual = row["kind"] == "residual"
        ends = () if residual else (row["term1"], row["term2"]) if pair else (row["term1"],)
        names.append("Residual" if residual else f"{', '.join(ends)} | {row['group']}")
        named[names[-1]] = (ends, str(row["group"]))
        rescaled = kind == "sd" or (pair and kind == "variance")
        records.append(_rescaled(row) if rescaled else _as_is(row))
    return pd.DataFrame(records, index=names)


def _as_is(row: pd.Series) -> dict[str, float]:
    """A variance or a covariance."""
    return {name: float(row[name]) for name in ("estimate", "std_error", "conf_low", "conf_high")}


def _rescaled(row: pd.Series) -> dict[str, float]:
    """A standard deviation or a correlation, with its interval."""
    names = {"estimate": "std_dev", "conf_low": "std_dev_low", "conf_high": "std_dev_high"}
    return {"std_error": np.nan, **{name: float(row[source]) for name, source in names.items()}}


def _component_label(ends: tuple[str, ...], group: str, kind: Components, labels: Labels) -> str:
    """How a variance component is written."""
    if not ends:
        return labels("Residual")
    word = ("Correlation: " if kind != "covariance" else "Covariance: ") if len(ends) > 1 else ""
    return f"{word}{', '.join(labels(end) for end in ends)} ({labels(group)})"


def _tabled(part: str, frames: Sequence[pd.DataFrame | None], written: Callable[[str], str]) -> list[Quantity]:
    """Rows of the frames of several models."""
    names = dict.fromkeys(str(name) for frame in frames if frame is not None for name in frame.index)
    return [
        Quantity(part=part, term=name, label=written(name), numbers=tuple(_at(frame, name) for frame in frames))
        for name in names
    ]


def _at(frame: pd.DataFrame | None, name: str) -> Numbers | None:
    """The numbers of a row, or None."""
    if frame is None or name not in frame.index:
        return None
    place = list(frame.index).index(name)
    return {str(column): float(frame[column].iloc[place]) for column in frame.columns}
