"""What a figure is about: the columns, labels and rows of a fit that it shows."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.table.columns import Columns

if TYPE_CHECKING:
    from crosslevel.estimators.mixed import MixedFit


def chosen(argument: str, value: str | None, options: Sequence[str], *, default: str | None = None) -> str:
    """The option named by an argument, or the default; anything else is refused."""
    if value is None:
        return options[0] if default is None else default
    if value not in options:
        raise CrosslevelError(f"`{argument}` must be one of {', '.join(map(repr, options))}; got {value!r}.")
    return value


def group_of(fit: "MixedFit", group: str | None) -> str:
    """The name of the grouping factor to show."""
    return chosen("group", group, list(fit.ngroups))


def named(name: str, labels: "pd.Series[str] | dict[str, str] | object") -> str:
    """A variable's label with its name, or its name alone."""
    label = dict(labels).get(name, "") if labels else ""  # type: ignore[call-overload]
    return f"{label} ({name})" if label and label != name else name


def used_frame(fit: "MixedFit", names: Iterable[str]) -> pd.DataFrame:
    """The columns of the data, only the rows that the fit used."""
    columns = Columns.from_frame(fit.data)
    mask, _ = columns.complete(fit.spec.variables)
    return columns.to_pandas(tuple(dict.fromkeys(names)), slice(0, columns.n_rows), mask).reset_index(drop=True)


def predictor_of(fit: "MixedFit", group: str, x: str | None) -> str | None:
    """The numeric variable on the horizontal axis: the one asked for, that of the first random slope, or the first."""
    columns = fit.spec.columns
    slopes = [k for term in fit.spec.terms for block in term.blocks for k in block.columns]
    order = [*slopes, *range(len(columns))]
    cluster_level = [fit.design.level[k] == "cluster" if k < fit.spec.n_fixed else False for k in range(len(columns))]
    groups = set(group.split(":"))
    found = [name for k in order if not cluster_level[k] for name in columns[k].variables if name not in groups]
    if x is not None:
        return x
    frame = used_frame(fit, found) if found else pd.DataFrame()
    return next((name for name in found if pd.api.types.is_numeric_dtype(frame[name])), None)


def group_values(frame: pd.DataFrame, group: str) -> "pd.Series[str]":
    """The cluster of each row: one column, or several joined as in `a:b`."""
    parts = [frame[name].astype(str) for name in group.split(":")]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + ":" + part
    return joined


def evenly(count: int, wanted: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """At most `wanted` positions spread evenly over `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))
