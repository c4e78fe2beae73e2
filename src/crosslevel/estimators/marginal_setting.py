"""What averages and slopes of a model are taken at: inputs by the names people give them, settings, rows of weights."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from crosslevel.display import counted
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.combining import Clusters, Combiner, clusters_of, combiner_of, counts_of, with_replicates
from crosslevel.estimators.marginal_inputs import (
    held_text,
    is_deviation,
    known_as,
    moves_too,
    refuse_shared,
    variables_behind,
)
from crosslevel.estimators.representative import Sampled, centre, chosen_levels, chosen_values, sample
from crosslevel.inference.marginal_rows import MarginalRows
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.expectations import Expectations, RandomEffects
    from crosslevel.inference.bootstrap.record import Bootstrap

By: TypeAlias = "str | Sequence[str] | Mapping[str, object] | None"
"""Variables at whose values something is asked for: names, or names with values."""

At: TypeAlias = "Literal['observed', 'mean', 'balanced'] | Mapping[str, object]"
"""Where the other variables are."""

Scale: TypeAlias = Literal["response", "link"]
"""That of the outcome, or of the linear predictor; the same in linear models."""

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
    outcomes : what generalized models expect, on the scale of the outcome; empty on that of the linear predictor.
    outcome : the one of them that is asked for.
    """

    fit: Any = field(repr=False)
    rows: MarginalRows = field(repr=False)
    combiner: Combiner
    at: At
    over: str
    units: dict[str, float] = field(default_factory=dict, repr=False)
    outcomes: "tuple[Expectations, ...]" = field(default=(), repr=False)
    outcome: "Expectations | None" = field(default=None, repr=False)

    def each(self) -> "Iterator[tuple[dict[str, Any], Setting]]":
        """The same setting for every outcome that is expected, with what tells it from others."""
        if not self.outcomes:
            yield {}, self
        for outcome in self.outcomes:
            yield dict(outcome.labels), replace(self, outcome=outcome, combiner=outcome.combiner)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of what tells outcomes apart."""
        return tuple(self.outcomes[0].labels) if self.outcomes else ()

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

    @property
    def response(self) -> str:
        """What is predicted."""
        return self.outcomes[0].response if self.outcomes else str(self.fit.spec.response_name)

    @property
    def averages(self) -> str:
        """What predictions do with the random effects."""
        return self.outcomes[0].words if self.outcomes else "Random effects are zero."

    @property
    def offset(self) -> tuple[float, tuple[str, ...]]:
        """What is added to all predictions, and the words for it."""
        offset = self.fit.design.offset
        if offset is None:
            return 0.0, ()
        if self.outcomes:
            return 0.0, ("Offsets are as in the rows, or at their mean where no row is looked at.",)
        shift = float(np.average(offset, weights=self.rows.weights))
        return shift, (f"The offset is at its mean, {written(shift)}.",)

    def curvature(self, moderators: Iterable[str]) -> tuple[str, ...]:
        """That effects on the scale of the outcome have interactions that no coefficient shows."""
        return (self.outcomes[0].curvature,) if self.outcomes and list(moderators) else ()

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
            refuse_taken(name, "by", self.labels)
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
        if self.outcome is not None:
            found = self.outcome.rows_at(self.rows, settings, along)
            return np.asarray(found.reshape(count, len(cells), -1).mean(axis=1))
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
        here = [other for other in self.rows.inputs if name in variables_behind(self.rows, other)]
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
    fit: Any,
    names: Iterable[object],
    *,
    at: At,
    over: str,
    ddf: str | None = None,
    vcov: str | None = None,
    scale: Scale = "response",
    random_effects: "RandomEffects" = "average",
    bootstrap: "Bootstrap | None" = None,
) -> Setting:
    """Prepare a model for questions about some variables.

    Parameters
    ----------
    fit : a fitted model.
    names : all names that the question uses, some of which may be expressions such as "log(income)".
    at, over, ddf, vcov, scale, random_effects, bootstrap : see `crosslevel.slopes`.
    """
    from crosslevel.estimators.generalized.expectations import outcomes_of

    combiner = with_replicates(combiner_of(fit, ddf, vcov), fit, bootstrap)
    if not isinstance(at, Mapping) and (not isinstance(at, str) or at not in PLACES):
        raise CrosslevelError(
            f"`at` is one of {', '.join(map(repr, PLACES))}, or values by variable such as {{'x': 0}}; got {at!r}."
        )
    weights = counts_of(fit)
    outcomes = outcomes_of(fit, combiner, weights, scale, random_effects, vcov, bootstrap)
    plain = MarginalRows(
        spec=fit.design.spec, columns=fit.design.columns, mask=fit.design.mask, weights=weights, every=bool(outcomes)
    )
    known = ("auto", "rows", "clusters", *clusters_of(fit))
    if over not in known:
        raise CrosslevelError(f"`over` is one of {', '.join(map(repr, known))}; got {over!r}.")
    asked = [*names, *(at if isinstance(at, Mapping) else ())]
    held = tuple(dict.fromkeys(text for name in asked if (text := held_text(plain, name)) is not None))
    rows = replace(plain, held=held, known={}) if held else plain
    for text in held:
        refuse_shared(rows, text)
    return Setting(
        fit=fit, rows=rows, combiner=outcomes[0].combiner if outcomes else combiner, at=at, over=over, outcomes=outcomes
    )


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
    own = [text for text, found in rows.inputs.items() if is_deviation(found.component, column)]
    if name is None and not own:
        raise CrosslevelError(setting._unknown(x, "x"))
    moving = ([] if name is None else [name]) + own
    if name is not None and rows.inputs[name].levels is not None:
        return Focal(name=name, along=(name,), levels=rows.inputs[name].levels)
    stuck = [other for other in rows.inputs if other not in moving and moves_too(rows, moving[0], other)]
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


def refuse_taken(name: str, argument: str, labels: Sequence[str] = ()) -> None:
    """Refuse to set a variable that has the name of a column of the tables, or one of `labels`.

    Raises
    ------
    CrosslevelError : it has.
    """
    if name in TAKEN or name in labels:
        raise CrosslevelError(
            f"`{argument}` names the column {name!r}, which tables of effects have too. Rename it in the data."
        )


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
