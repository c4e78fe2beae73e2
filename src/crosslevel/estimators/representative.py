"""Representative values of a predictor: what "sd", "quartiles" and "unique" mean, and over which units."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.display import counted
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.combining import Clusters
from crosslevel.types import FloatArray

WAYS = ("sd", "quartiles", "unique", "levels")
"""Names of representative values."""

FEW = 5
"""A variable of numbers with at most so many values is represented by all of them."""

MANY = 200
"""More values than this are not taken one by one."""

CONSTANT = 1e-12
"""Range within clusters, relative to the range of all rows, below which a variable is constant in them."""


ROUNDING = 1e-14
"""Mean, relative to the largest value, that is rounding error."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """Values of a variable of numbers over the units that it is a property of.

    Attributes
    ----------
    name : of the variable.
    values, weights : (units,) values, and what each counts (None: alike).
    units : what the units are, as in "schools" or "rows".
    words : the same with their number.
    low, high : range over all rows.
    """

    name: str
    values: FloatArray
    weights: FloatArray | None
    units: str
    words: str

    @property
    def low(self) -> float:
        """Least value."""
        return float(self.values.min())

    @property
    def high(self) -> float:
        """Greatest value."""
        return float(self.values.max())

    @property
    def mean(self) -> float:
        """Weighted mean; zero where it is only the rounding error of values that were centred."""
        mean = float(np.average(self.values, weights=self.weights))
        return 0.0 if abs(mean) <= ROUNDING * float(np.abs(self.values).max()) else mean

    @property
    def sd(self) -> float:
        """Standard deviation: over n - 1 units, or by weights over their sum."""
        if self.weights is None:
            return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0
        return float(np.sqrt(np.average((self.values - self.mean) ** 2, weights=self.weights)))

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """Quantiles: linear between order statistics, or with weights the least value that reaches each share."""
        if self.weights is None:
            return [float(value) for value in np.quantile(self.values, shares)]
        order = np.argsort(self.values, kind="stable")
        reached = np.cumsum(self.weights[order]) / self.weights.sum()
        places = np.searchsorted(reached, np.asarray(shares) - 1e-12)
        return [float(self.values[order][place]) for place in places]

    def share_between(self, low: float, high: float) -> float:
        """Share of the units with values in a range, its upper end excluded unless it is the greatest value."""
        inside = (self.values >= low) & ((self.values < high) | (self.values == self.high) & (high >= self.high))
        return float(np.average(inside, weights=self.weights))


def sample(
    name: str, values: FloatArray, weights: FloatArray | None, clusters: Mapping[str, Clusters], over: str
) -> Sampled:
    """Values of a variable over rows, or over the clusters that it is a property of.

    Parameters
    ----------
    name, values, weights : of the variable, its values (n,) in the rows used, and what these count.
    clusters : by grouping factor, those of the fewest first.
    over : "auto" (clusters if the variable is constant in them: those of the outermost factor), "rows", "clusters", or
        the name of a grouping factor.

    Raises
    ------
    CrosslevelError : the variable varies within the clusters that are asked for.
    """
    asked = [over] if over in clusters else [] if over == "rows" else list(clusters)
    for group in asked:
        if _is_constant(values, clusters[group]):
            first = clusters[group].first
            own = clusters[group].weights
            return Sampled(
                name=name, values=values[first], weights=None if own is None else own[clusters[group].codes[first]],
                units=group, words=f"{counted(len(first))} clusters of {group}",
            )  # fmt: skip
    if over not in ("auto", "rows"):
        raise CrosslevelError(
            f"`over` is {over!r}, but {name} varies within clusters of {', '.join(asked) or 'none'}. "
            "Write over='rows', or leave it out."
        )
    return Sampled(name=name, values=values, weights=weights, units="rows", words=f"{counted(len(values))} rows")


def chosen_values(asked: object, found: Sampled) -> list[float]:
    """Values of a variable of numbers: those asked for, or the ones that a word stands for.

    Raises
    ------
    CrosslevelError : a word that is none, values that are no numbers, or too many to take one by one.
    """
    if asked is None:
        asked = "unique" if len(np.unique(found.values)) <= FEW else "sd"
    if isinstance(asked, str):
        if asked == "sd":
            return [found.mean - found.sd, found.mean, found.mean + found.sd]
        if asked == "quartiles":
            return found.quantiles((0.25, 0.5, 0.75))
        if asked not in WAYS:
            raise CrosslevelError(
                f"`by` has {asked!r} for {found.name!r}, which is a number. Give values, or one of "
                f"{', '.join(map(repr, WAYS))}."
            )
        distinct = np.unique(found.values)
        if len(distinct) > MANY:
            raise CrosslevelError(
                f"`by` asks for all values of {found.name!r}, which has {counted(len(distinct))} of them; at most "
                f"{MANY} are taken one by one. Write 'sd' or 'quartiles', or name some."
            )
        return [float(value) for value in distinct]
    numbers: list[Any] = [asked] if np.isscalar(asked) else list(_listed(asked, found.name))
    try:
        values = [float(value) for value in numbers]
    except (TypeError, ValueError) as error:
        raise CrosslevelError(f"`by` has {numbers!r} for {found.name!r}, which needs numbers.") from error
    if not values or not np.all(np.isfinite(values)):
        raise CrosslevelError(f"`by` needs at least one finite value of {found.name!r}; got {values}.")
    return values


def chosen_levels(asked: object, name: str, levels: tuple[Any, ...]) -> list[Any]:
    """Categories: those asked for, or all.

    Raises
    ------
    CrosslevelError : one that the variable does not have.
    """
    if asked is None or (isinstance(asked, str) and asked in ("levels", "unique") and asked not in levels):
        return list(levels)
    wanted = [asked] if isinstance(asked, str) or np.isscalar(asked) else list(_listed(asked, name))
    known = {str(level): level for level in levels}
    strange = [value for value in wanted if value not in levels and str(value) not in known]
    if strange or not wanted:
        what = ", ".join(map(repr, strange)) or "no category"
        raise CrosslevelError(f"`by` has {what} for {name!r}, whose categories are {', '.join(map(repr, levels))}.")
    return [value if value in levels else known[str(value)] for value in wanted]


def centre(values: Any, weights: FloatArray | None) -> Any:
    """Mean of numbers, or the commonest of categories (the first of several)."""
    if isinstance(values, pd.Categorical):
        counts = np.bincount(values.codes[values.codes >= 0], None if weights is None else weights[values.codes >= 0])
        return values.categories[int(np.argmax(counts))]
    return float(np.average(values, weights=weights))


def _is_constant(values: FloatArray, clusters: Clusters) -> bool:
    """Whether a variable has one value in each cluster."""
    least, most = np.full(clusters.n_levels, np.inf), np.full(clusters.n_levels, -np.inf)
    np.minimum.at(least, clusters.codes, values)
    np.maximum.at(most, clusters.codes, values)
    known = np.isfinite(least)
    size = max(float(np.ptp(values)), 1e-3 * float(np.abs(values).max()))
    return bool(np.all(most[known] - least[known] <= CONSTANT * size))


def _listed(asked: object, name: str) -> Iterable[Any]:
    """The members of a list, an array or a Series."""
    if isinstance(asked, Mapping) or not isinstance(asked, Iterable):
        raise CrosslevelError(f"`by` has {asked!r} for {name!r}; give a value, a list of values, or a word.")
    return asked
