"""The conditions of a study: the levels of its factors, and what they make of the process and the estimators."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.simulation.estimators.estimates import Estimator
from crosslevel.simulation.studies.description import name_of, plain, shown
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.simulation.processes.process import Process


@dataclass(frozen=True, kw_only=True, eq=False)
class Condition:
    """One cell of a study's grid.

    Attributes
    ----------
    number : its place in the whole grid, from 0; its random numbers depend on it.
    levels : level of each factor.
    process : that the data come from.
    estimators : what is applied to them.
    terms : names of the coefficients that are measured.
    level : of the intervals.
    called : what messages call it; its number and levels if empty.
    """

    number: int
    levels: Mapping[str, Any]
    process: "Process"
    estimators: tuple[Estimator, ...]
    terms: tuple[str, ...]
    level: float
    called: str = ""

    def __str__(self) -> str:
        return self.words

    @property
    def words(self) -> str:
        """Number and levels, for messages."""
        if self.called:
            return self.called
        listed = ", ".join(f"{name} = {shown(level)}" for name, level in self.levels.items())
        return f"condition {self.number}" + (f" ({listed})" if listed else "")

    @property
    def truth(self) -> FloatArray:
        """(T,) true values of the terms."""
        return np.array([self.process.effect(term) for term in self.terms], dtype=np.float64)

    @property
    def formulas(self) -> tuple[str, ...]:
        """All formulas of the estimators, each once."""
        return tuple(dict.fromkeys(formula for one in self.estimators for formula in one.formulas))

    def described(self) -> dict[str, Any]:
        """What tells it from other conditions, as plain values."""
        return {
            "levels": plain(self.levels),
            "process": plain(self.process),
            "estimators": plain(self.estimators),
            "terms": list(self.terms),
            "level": self.level,
        }


def grid(factors: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """All combinations of levels, the last factor's changing fastest."""
    for levels in product(*factors.values()):
        yield dict(zip(factors, levels, strict=True))


def called(function: Callable[..., Any], levels: Mapping[str, Any]) -> Any:
    """A function of levels, given those of its arguments that are factors.

    Raises
    ------
    CrosslevelError : it has other arguments, or fails.
    """
    arguments = inspect.signature(function).parameters
    everything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in arguments.values())
    needed = [
        name for name, one in arguments.items()
        if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL) and name not in levels
    ]  # fmt: skip
    if needed:
        raise CrosslevelError(
            f"{name_of(function)} has {', '.join(map(repr, needed))} as arguments, which are no factors. Factors: "
            f"{', '.join(levels) or 'none'}. Name its arguments as factors, or give them defaults."
        )
    try:
        return function(**{name: level for name, level in levels.items() if everything or name in arguments})
    except CrosslevelError:
        raise
    except Exception as error:
        raise CrosslevelError(f"{name_of(function)} failed: {type(error).__name__}: {error}") from error


def process_with(process: "Process", levels: Mapping[str, Any]) -> "Process":
    """A process with fields, or entries of fields, replaced.

    Parameters
    ----------
    process : where all else stays as it is.
    levels : values by path: "clusters", "sd.x2", "variables.x1.between".

    Raises
    ------
    CrosslevelError : there is no such field or entry, or the process does not allow the value.
    """
    new: dict[str, Any] = {}
    for path, value in levels.items():
        name, _, rest = path.partition(".")
        _check_known(name, [field.name for field in fields(process)], type(process).__name__, path)
        # variables that are not listed have a distribution too, which can be changed
        old = process.all_variables if name == "variables" and rest else getattr(process, name)
        new[name] = changed(new.get(name, old), rest, value, path) if rest else value
    return replace(process, **new)


def changed(part: Any, path: str, value: Any, factor: str) -> Any:
    """A mapping or a record with one entry replaced.

    Parameters
    ----------
    part : what a field of the process holds.
    path : of the entry: "x2", "x1.between".
    value : what is put there.
    factor : the whole path, for messages.
    """
    if isinstance(part, Mapping):
        key = path if path in part else path.partition(".")[0]
        rest = "" if key == path else path.partition(".")[2]
        _check_known(key, [str(name) for name in part], f"`{factor.partition('.')[0]}`", factor)
        return {**part, key: changed(part[key], rest, value, factor) if rest else value}
    key, _, rest = path.partition(".")
    known = [field.name for field in fields(part)] if is_dataclass(part) and not isinstance(part, type) else []
    _check_known(key, known, type(part).__name__, factor)
    return replace(part, **{key: changed(getattr(part, key), rest, value, factor) if rest else value})


def _check_known(key: str, known: Sequence[str], where: str, factor: str) -> None:
    """Whether a field or an entry is there."""
    if key not in known:
        listed = f"It has: {', '.join(known)}. " if known else ""
        raise CrosslevelError(
            f"`factors` has {factor!r}, but {where} has no {key!r}. {listed}Name a field of the process, or an entry "
            "of one that is listed, as in 'sd.x', or give `process` as a function of the levels."
        )
