"""The smallest number of clusters, cluster size or effect for a wanted power."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.inference.distributions import normal_quantile
from crosslevel.simulation.power.surface import Surface
from crosslevel.types import FloatArray

By = Literal["clusters", "size", "effect"]

MOST = 1_000_000
"""Clusters, or rows in a cluster, that are looked at."""

FINE, REACH = 4000, 100.0
"""Effects that are looked at, and how many times the largest simulated one they go up to."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """The designs along which the smallest is looked for, others fixed.

    Attributes
    ----------
    by : what changes.
    values : (K,) it, ascending.
    clusters, size, effect : of each, numbers or (K,).
    """

    by: By
    values: FloatArray = field(repr=False)
    clusters: FloatArray | float
    size: FloatArray | float
    effect: FloatArray | float

    @classmethod
    def of(cls, by: By, surface: Surface, clusters: float, size: float, effect: float, largest: float) -> "Axis":
        """The axis through one design.

        Parameters
        ----------
        by : what changes.
        surface : power.
        clusters, size, effect : the design; what changes is not looked at.
        largest : of the simulated values of what changes.
        """
        if by == "clusters":
            values = _whole(surface.shape.fewest_clusters)
            return cls(by=by, values=values, clusters=values, size=size, effect=effect)
        if by == "size":
            values = _whole(1)
            return cls(by=by, values=values, clusters=clusters, size=values, effect=effect)
        values = np.geomspace(largest / REACH / 10.0, largest * REACH, FINE)
        return cls(by=by, values=values, clusters=clusters, size=size, effect=values)

    def first(self, surface: Surface, power: float, shift: float) -> float:
        """The first value at which the probit of power, moved by some standard errors, reaches that of `power`."""
        middle, error = surface.index(*np.broadcast_arrays(self.clusters, self.size, self.effect))
        reached = middle + shift * error >= normal_quantile(power)
        return float(self.values[np.argmax(reached)]) if reached.any() else np.inf


def _whole(least: int) -> FloatArray:
    """Whole numbers, all of them up to some thousands, then in steps of a tenth of a percent."""
    small = np.arange(least, 5001)
    return np.asarray(np.concatenate([small, np.unique(np.geomspace(5001, MOST, 6000).round())]), dtype=np.float64)


def needed_frame(
    surfaces: dict[str, Surface], frame: pd.DataFrame, power: float, by: str, level: float
) -> pd.DataFrame:
    """For each target and each value of the other two dimensions, what is needed.

    Raises
    ------
    CrosslevelError : no such power or dimension.
    """
    if by not in get_args(By):
        raise CrosslevelError(f"`by` is 'clusters', 'size' or 'effect'; got {by!r}.")
    if not 0.0 < power < 1.0:
        raise CrosslevelError(f"`power` is a probability between 0 and 1, such as .8; got {power!r}.")
    reach = normal_quantile(0.5 + level / 2.0)
    rows = []
    for target, surface in surfaces.items():
        own = frame[frame["target"] == target]
        simulated = own[by].abs()
        for fixed in _others(own, by):
            at = {"clusters": np.nan, "size": np.nan, "effect": np.nan, **fixed}
            axis = Axis.of(by, surface, **at, largest=float(simulated.max()))  # type: ignore[arg-type]
            value, low, high = (axis.first(surface, power, shift) for shift in (0.0, reach, -reach))
            beyond = not float(simulated.min()) <= value <= float(simulated.max())
            rows.append(
                {"target": target, **fixed, "power": power, by: value, "conf_low": low, "conf_high": high,
                 "extrapolated": beyond}
            )  # fmt: skip
    return pd.DataFrame(rows)


def _others(own: pd.DataFrame, by: str) -> Iterator[dict[str, float]]:
    """Values of the dimensions that stay fixed."""
    names = [name for name in ("clusters", "size", "effect") if name != by]
    for _, row in own[names].drop_duplicates().iterrows():
        yield {name: float(row[name]) for name in names}
