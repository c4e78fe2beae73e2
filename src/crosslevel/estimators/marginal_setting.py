"""What averages and slopes of a model are taken at: inputs by the names people give them, settings, rows of weights."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from crosslevel.display import counted
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.combining import Clusters, Combiner, clusters_of, combiner_of, row_weights
from crosslevel.estimators.representative import Sampled, centre, chosen_levels, chosen_values, sample
from crosslevel.formula.components import ClusterMeans, Column, LevelTable, parts
from crosslevel.inference.marginal_rows import MarginalRows
from crosslevel.types import FloatArray

By: TypeAlias = "str | Sequence[str] | Mapping[str, object] | None"
"""Variables at whose values something is asked for: names, or names with values."""

At: TypeAlias = "Literal['observed', 'mean', 'balanced'] | Mapping[str, object]"
"""Where the other variables are."""

TAKEN = (
    "term", "contrast", "estimate", "std_error", "df", "statistic", "p_value", "p_unadjusted", "conf_low", "conf_high",
    "corrected_low", "corrected_high",
)  # fmt: skip
"""Names of columns of the tables."""

PLACES = {
    "observed": "averaged over the {rows} as they are",
    "mean": "numbers at their mean over the {rows}, categories at the commonest",
    "balanced": "numbers at their mean over the {rows}, categories averaged with equal weights",
}
"""Where the other variables are, in words."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Focal:
    """The variable whose effect is asked for.

    Attributes
    ----------
    name : as it is called in tables.
    along : the inputs that move together with it; one if it is a category.
    levels : its categories, None for numbers.
    note : what moving it means, if that is not plain.
    """

    name: str
    along: tuple[str, ...]
    levels: tuple[Any, ...] | None
    note: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """A model, the data it is averaged over, and how combinations of its coefficients are tested.

    Attributes
    ----------
    fit : the fitted model.
    rows : its fixed part as a function of inputs.
    combiner : estimates of combinations.
    at : where variables are that are not set.
    over : the units over which representative values are worked out.
    units : sizes of inputs that were worked out already.
    """

    fit: Any = field(repr=False)
    rows: MarginalRows = field(repr=False)
    combiner: Combiner
    at: At
    over: str
    units: dict[str, float] = field(default_factory=dict, repr=False)

    @cached_property
    def clusters(self) -> Mapping[str, Clusters]:
        """Clusters by grouping factor."""
        return clusters_of(self.fit)

    @property
    def place(self) -> str:
        """Where the other variables are, in words."""
        rows = f"{counted(self.fit.design.rows.used)} rows used" + (
            ", weighted" if self.rows.weights is not None else ""
        )
        if isinstance(self.at, str):
            return PLACES[self.at].format(rows=rows)
        set_to = ", ".join(f"{name} at {written(value)}" for name, value in self.at.items())
        return f"{set_to}; the rest averaged over the {rows}"

    def name_of(self, name: object, argument: str) -> str:
        """An input by the name that someone gives it.

        Raises
        ------
        CrosslevelError : the fixed part has no such input.
        """
        found = known_as(self.rows, name)
        if found is None:
            raise CrosslevelError(self._unknown(name, argument))
        return found

    def sampled(self, name: str) -> Sampled:
        """Values of an input of numbers over the units that it belongs to."""
        return sample(name, self.rows.observed(name), self.rows.weights, self.clusters, self.over)

    def by_values(self, by: By) -> tuple[dict[str, list[Any]], tuple[str, ...]]:
        """Values of each variable in `by`, and what they are in words."""
        values = by if isinstance(by, Mapping) else {}
        asked = {name: values.get(name) for name in listed(by, "by")}
        out: dict[str, list[Any]] = {}
        notes: list[str] = []
        for given, value in asked.items():
            name = self.name_of(given, "by")
            refuse_taken(name, "by")
            levels = self.rows.inputs[name].levels
            if levels is not None:
                out[name] = chosen_levels(value, name, levels)
                continue
            found = self.sampled(name)
            out[name] = chosen_values(value, found)
            notes += _value_notes(value, found, out[name])
        return out, tuple(notes)

    def weights_at(self, grid: Mapping[str, Sequence[Any]], along: Sequence[str] = ()) -> FloatArray:
        """Rows C (P, p): averages, or derivatives, at settings of the grid, the others where `at` says.

        Parameters
        ----------
        grid : values (P,) of the inputs that are set.
        along : inputs that move together.
        """
        count = len(next(iter(grid.values()))) if grid else 1
        fixed = {name: value for name, value in self._elsewhere.items() if name not in grid}
        cells = list(itertools.product(*fixed.values()))
        settings = {name: np.repeat(np.asarray(values), len(cells)) for name, values in grid.items()}
        for k, name in enumerate(fixed):
            settings[name] = np.tile(np.asarray([cell[k] for cell in cells]), count)
        full = self.rows.averages(settings, along)
        rows = full.reshape(count, len(cells), -1).mean(axis=1)
        return self.combiner.estimable(rows, self._unit(along[0]) if along else 1.0)

    def _unit(self, name: str) -> float:
        """Root mean square of an input of numbers, 1 if it is zero everywhere."""
        if name not in self.units:
            self.units[name] = float(np.sqrt(np.mean(self.rows.observed(name) ** 2))) or 1.0
        return self.units[name]

    @cached_property
    def _elsewhere(self) -> dict[str, list[Any]]:
        """Values of the inputs that `at` sets."""
        inputs = self.rows.inputs
        if isinstance(self.at, Mapping):
            return {
                self.name_of(name, "at"): self._one(self.name_of(name, "at"), value) for name, value in self.at.items()
            }
        if self.at == "observed":
            return {}
        balanced = {name: list(found.levels or ()) for name, found in inputs.items() if self.at == "balanced"}
        return {name: balanced.get(name) or [centre(self.rows.observed(name), self.rows.weights)] for name in inputs}

    def _one(self, name: str, value: object) -> list[Any]:
        """The one value that `at` gives an input."""
        levels = self.rows.inputs[name].levels
        found = chosen_levels(value, name, levels) if levels else chosen_values(value, self.sampled(name))
        if len(found) != 1:
            raise CrosslevelError(
                f"`at` needs one value for each variable; {name!r} has {found}. Use `by` for several."
            )
        return found

    def _unknown(self, name: object, argument: str) -> str:
        """What to say of a name that is no input."""
        here = [other for other in self.rows.inputs if name in _variables(self.rows, other)]
        if here:
            return (
                f"`{argument}` names {name!r}, which enters the model as {' and '.join(here)}. Name one of these: they "
                "can be set, and mean different things."
            )
        return (
            f"`{argument}` names {name!r}, which is not in the fixed part. It has "
            f"{', '.join(map(repr, self.rows.inputs)) or 'no predictors'}."
        )


def setting_of(
    fit: Any, names: Iterable[object], *, at: At, over: str, ddf: str | None = None, vcov: str | None = None
) -> Setting:
    """Prepare a model for questions about some variables.

    Parameters
    ----------
    fit : a fitted mixed model or linear regression.
    names : all names that the question uses, some of which may be expressions such as "log(income)".
    at, over, ddf, vcov : see `crosslevel.slopes`.
    """
    combiner = combiner_of(fit, ddf, vcov)
    if not isinstance(at, Mapping) and (not isinstance(at, str) or at not in PLACES):
        raise CrosslevelError(
            f"`at` is one of {', '.join(map(repr, PLACES))}, or values by variable such as {{'x': 0}}; got {at!r}."
        )
    design = fit.design
    plain = MarginalRows(spec=design.spec, columns=design.columns, mask=design.mask, weights=row_weights(design))
    known = ("auto", "rows", "clusters", *clusters_of(fit))
    if over not in known:
        raise CrosslevelError(f"`over` is one of {', '.join(map(repr, known))}; got {over!r}.")
    asked = [*names, *(at if isinstance(at, Mapping) else ())]
    held = tuple(dict.fromkeys(text for name in asked if (text := _held(plain, name)) is not None))
    rows = plain if not held else MarginalRows(
        spec=plain.spec, columns=plain.columns, mask=plain.mask, weights=plain.weights, held=held
    )  # fmt: skip
    for text in held:
        _refuse_shared(rows, text)
    return Setting(fit=fit, rows=rows, combiner=combiner, at=at, over=over)


def focal_of(setting: Setting, x: object) -> Focal:
    """The variable whose effect is asked for, and what moves with it.

    A data column moves itself and its deviations from cluster means, so that its effect is that of a row's own value,
    the means of the clusters held; a term such as "within(x, g)" or "between(x, g)" moves alone.

    Raises
    ------
    CrosslevelError : no such variable, or one whose value other terms hold too.
    """
    rows = setting.rows
    name = known_as(rows, x)
    column = str(x) if name is None else name
    own = [text for text, found in rows.inputs.items() if _is_deviation(found.component, column)]
    if name is None and not own:
        raise CrosslevelError(setting._unknown(x, "x"))
    moving = ([] if name is None else [name]) + own
    if name is not None and rows.inputs[name].levels is not None:
        return Focal(name=name, along=(name,), levels=rows.inputs[name].levels)
    stuck = [other for other in rows.inputs if other not in moving and _moves_too(rows, moving[0], other)]
    if stuck:
        raise CrosslevelError(
            f"`x` is {x!r}, but {stuck[0]} is made of the same values, so that it cannot stay where it is. Write "
            "powers and products outside, as in I(within(x, g) ** 2), and name the term."
        )
    note = None
    if own:
        note = f"{column}: a row's own value, through {' and '.join(moving)}; means of clusters are held."
    return Focal(name=column, along=tuple(moving), levels=None, note=note)


def listed(names: object, argument: str) -> list[str]:
    """The names in an argument that takes one, several, or (as keys) names with values.

    Raises
    ------
    CrosslevelError : they are no text.
    """
    several = isinstance(names, Iterable) and not isinstance(names, str)
    found: list[Any] = [] if names is None else list(names) if several else [names]  # type: ignore[call-overload]
    strange = [name for name in found if not isinstance(name, str)]
    if strange:
        raise CrosslevelError(
            f"`{argument}` names variables by text, as in 'ses' or 'within(ses, school)'; got "
            f"{type(strange[0]).__name__}."
        )
    return found


def refuse_taken(name: str, argument: str) -> None:
    """Refuse to set a variable that has the name of a column of the tables.

    Raises
    ------
    CrosslevelError : it has.
    """
    if name in TAKEN:
        raise CrosslevelError(
            f"`{argument}` names the column {name!r}, which tables of effects have too. Rename it in the data."
        )


def known_as(rows: MarginalRows, name: object) -> str | None:
    """The input of some name, blanks apart; None if there is none."""
    short = {_bare(text): text for text in rows.inputs}
    for number in rows.used:
        component = rows.spec.components[number]
        if isinstance(component.origin, LevelTable) and component.origin.variable in rows.inputs:
            short.setdefault(_bare(component.text), component.origin.variable)
    return short.get(_bare(str(name)))


def written(value: object) -> str:
    """A value in words: numbers with four digits."""
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return str(value)


def _value_notes(asked: object, found: Sampled, values: Sequence[float]) -> list[str]:
    """What representative values are, and which lie outside the data."""
    words = asked if isinstance(asked, str) else "sd" if asked is None and len(values) == 3 else None
    notes = []
    if words == "sd" and np.ptp(values) > 0.0 and not set(values) <= set(found.values.tolist()):
        notes.append(f"{found.name}: mean - SD, mean, mean + SD of {found.words}.")
    elif words == "quartiles":
        notes.append(f"{found.name}: quartiles of {found.words}.")
    outside = [written(value) for value in values if not found.low <= value <= found.high]
    if outside:
        notes.append(
            f"{found.name} ranges from {written(found.low)} to {written(found.high)} in the data; {', '.join(outside)} "
            f"{'is' if len(outside) == 1 else 'are'} beyond, where the model is extrapolated."
        )
    return notes


def _held(rows: MarginalRows, name: object) -> str | None:
    """The text of an expression of one numeric column that a name stands for, if it is no input by itself."""
    if known_as(rows, name) is not None:
        return None
    for number in rows.used:
        for part in parts(rows.spec.components[number]):
            is_number = (
                part.coding is None and len(part.names) == 1 and not isinstance(part.origin, Column | LevelTable)
            )
            if is_number and _bare(part.text) == _bare(str(name)):
                return part.text
    return None


def _refuse_shared(rows: MarginalRows, text: str) -> None:
    """Refuse to set an expression whose columns the model uses elsewhere too."""
    shared = [other for other in rows.inputs if other != text and _overlap(rows, text, other)]
    if text not in rows.inputs or shared:
        elsewhere = f" by {' and '.join(shared)}" if shared else " inside another term"
        raise CrosslevelError(
            f"{text!r} cannot be moved or set by itself: its values are used{elsewhere} too. Name the data column, or "
            "the term with the cluster means."
        )


def _variables(rows: MarginalRows, name: str) -> frozenset[str]:
    """The data columns behind an input, those that name clusters apart."""
    component = rows.inputs[name].component
    if component is None:
        return frozenset([name])
    if isinstance(component.origin, ClusterMeans):
        return frozenset(component.origin.argument.variables)
    return frozenset(component.variables)


def _overlap(rows: MarginalRows, one: str, other: str) -> bool:
    """Whether two inputs are made of the same data columns."""
    return bool(_variables(rows, one) & _variables(rows, other))


def _moves_too(rows: MarginalRows, moved: str, other: str) -> bool:
    """Whether another input cannot stay where it is when one moves: cluster means held, deviations are functions of it.

    Means and deviations by the same clusters of x and of I(x ** 2) move together, and nobody knows how.
    """
    component, mover = rows.inputs[other].component, rows.inputs[moved].component
    if component is None or not isinstance(component.origin, ClusterMeans) or not _overlap(rows, moved, other):
        return False
    if mover is None or not isinstance(mover.origin, ClusterMeans):
        return component.origin.kind == "within"
    return (component.origin.kind, component.origin.group) == (mover.origin.kind, mover.origin.group)


def _is_deviation(component: Any, column: str) -> bool:
    """Whether an input is the deviation of a data column from its cluster mean."""
    origin = getattr(component, "origin", None)
    return (
        isinstance(origin, ClusterMeans)
        and origin.kind == "within"
        and isinstance(origin.argument.origin, Column)
        and origin.argument.origin.variable == column
    )


def _bare(text: str) -> str:
    """A text without blanks."""
    return "".join(text.split())
