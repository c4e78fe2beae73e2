"""The cheapest design for a power, and the most powerful one for a budget."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.simulation.power.closed_forms import cheapest_size
from crosslevel.simulation.power.surface import Surface
from crosslevel.types import FloatArray

LARGEST = 100_000
"""Rows in a cluster that are looked at."""

LADDER = (0.5, 0.7, 1.0, 1.4, 2.0)
"""Sizes beside the cheapest, as multiples of it, that are simulated."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Costs:
    """What a design costs: J (c_J + c_n n).

    Attributes
    ----------
    cluster, person : of a cluster, and of a row in it.
    budget : what may be spent; None to reach a power at the lowest cost.
    power : to reach; None to spend the budget.
    """

    cluster: float
    person: float
    budget: float | None
    power: float | None

    def __post_init__(self) -> None:
        if not (self.cluster >= 0.0 and self.person > 0.0 and np.isfinite(self.cluster + self.person)):
            raise CrosslevelError(
                "`cost_cluster` is at least 0 and `cost_person` above 0, in the same currency; "
                f"got {self.cluster!r} and {self.person!r}."
            )
        if (self.budget is None) == (self.power is None):
            raise CrosslevelError("Give either `budget`, to get the most power for it, or `power`, to get it cheaply.")
        if self.power is not None and not 0.0 < self.power < 1.0:
            raise CrosslevelError(f"`power` is a probability between 0 and 1, such as .8; got {self.power!r}.")

    def of(self, clusters: FloatArray | float, size: FloatArray | float) -> FloatArray:
        """Cost of designs."""
        return np.asarray(np.asarray(clusters) * (self.cluster + self.person * np.asarray(size)))

    def clusters(self, surface: Surface, size: FloatArray, effect: float) -> FloatArray:
        """(K,) clusters of each size: as many as the budget pays for, or as few as reach the power; NaN for none."""
        fewest = float(surface.shape.fewest_clusters)
        if self.budget is not None:
            paid = np.floor(self.budget / (self.cluster + self.person * size) + 1e-9)
            return np.where(paid >= fewest, paid, np.nan)
        assert self.power is not None
        low, high = np.full(size.shape, fewest - 1.0), np.full(size.shape, 2.0**22)
        while np.any(high - low > 1.0):
            middle, open_still = np.floor((low + high) / 2.0), high - low > 1.0
            reached = surface.power(middle, size, np.full(size.shape, effect)) >= self.power
            high = np.where(reached & open_still, middle, high)
            low = np.where(~reached & open_still, middle, low)
        return np.where(high < 2.0**22, high, np.nan)


@dataclass(frozen=True, kw_only=True, eq=False)
class Best:
    """A design and those around it.

    Attributes
    ----------
    clusters, size : the best design.
    cost, power : of it, by the curve through simulated points.
    start : size with which the closed form says that a balanced design is cheapest.
    """

    clusters: int
    size: int
    cost: float
    power: float
    start: float


def best_design(surface: Surface, costs: Costs, effect: float, least: int = 1) -> Best:
    """The best of all designs with whole numbers of clusters and rows, by the curve.

    Parameters
    ----------
    surface : power.
    costs : of clusters and rows.
    effect : its size.
    least : fewest rows in a cluster.

    Raises
    ------
    CrosslevelError : nothing that is affordable, or nothing that reaches the power.
    """
    size = sizes(least)
    clusters = costs.clusters(surface, size, effect)
    there = np.isfinite(clusters)
    if not there.any():
        wanted = f"`budget` of {costs.budget:g} pays for no design" if costs.budget else "No design reaches `power`"
        raise CrosslevelError(
            f"{wanted} with at least {surface.shape.fewest_clusters} clusters, which the test needs. Raise the budget, "
            "or plan for a larger effect."
        )
    safe = np.where(there, clusters, surface.shape.fewest_clusters)
    power = surface.power(safe, size, np.full(size.shape, effect))
    cost = costs.of(safe, size)
    worth = np.where(there, power if costs.budget is not None else -cost, -np.inf)
    best = int(np.argmax(worth))
    return Best(
        clusters=int(safe[best]), size=int(size[best]), cost=float(cost[best]), power=float(power[best]),
        start=cheapest_size(costs.cluster, costs.person, surface.shape.share),
    )  # fmt: skip


def sizes(least: int) -> FloatArray:
    """Whole numbers of rows that are looked at."""
    return np.unique(np.concatenate([np.arange(least, 2001), np.geomspace(2001, LARGEST, 2000).round()])).astype(float)


def around(surface: Surface, costs: Costs, best: Best, effect: float, least: int = 1) -> pd.DataFrame:
    """Designs of smaller and larger clusters than the best, each with the clusters that the costs say."""
    size = np.unique(np.maximum(np.round(best.size * np.array(LADDER)), least))
    clusters = costs.clusters(surface, size, effect)
    frame = pd.DataFrame({"clusters": clusters, "size": size}).dropna().astype(int)
    return frame.assign(cost=costs.of(frame["clusters"].to_numpy(), frame["size"].to_numpy()))
