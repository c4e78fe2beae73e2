"""The call that fitted a model, as Python that can be run again."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from crosslevel.estimators.mixed import mixed
from crosslevel.families import Family
from crosslevel.prior import Weak
from crosslevel.residual import ResidualStructure
from crosslevel.weights import Weights

if TYPE_CHECKING:
    from crosslevel.estimators.fitted_mixed import FittedMixed

HOMES: tuple[tuple[type, str], ...] = (
    (Weights, "cl."),
    (Family, "cl.families."),
    (ResidualStructure, "cl.residual."),
    (Weak, "cl.prior."),
)
"""Where the classes of arguments are found."""

LINE = 88
"""A longer call is written an argument a line."""

SILENT = ("progress", "max_steps")
"""Arguments that change nothing about the result."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """A call as Python.

    Attributes
    ----------
    code : the expression.
    columns : the data columns it needs.
    unwritten : arguments whose values cannot be written down, such as arrays; `code` has their names instead.
    """

    code: str
    columns: tuple[str, ...]
    unwritten: tuple[str, ...]


def call_of(fit: "FittedMixed", *, data: str = "data", formula: str | None = None) -> Call:
    """The call of `cl.mixed` that fitted a model: its formula, and every argument that is not the default.

    Parameters
    ----------
    fit : of `mixed`.
    data : the name of the frame in the code.
    formula : the formula, if it is to be another one than the fit's.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (1 | Subject)", cl.datasets.load("sleepstudy"), method="ml")
    >>> print(call_of(fit).code)
    cl.mixed("Reaction ~ Days + (1 | Subject)", data, method="ml")
    """
    defaults = {name: part.default for name, part in inspect.signature(mixed).parameters.items()}
    # the method that is meant if none is named
    defaults["method"] = "reml" if fit.given["family"] == "gaussian" else "ml"
    told = {name: value for name, value in fit.given.items() if name not in SILENT and differs(value, defaults[name])}
    written = {name: as_code(value) for name, value in told.items()}
    arguments = [f"{name}={name if text is None else text}" for name, text in written.items()]
    code = written_call("cl.mixed", [quoted(formula or fit.formula), data, *arguments])
    named = [text for value in told.values() for text in texts_in(value)]
    columns = dict.fromkeys([*fit.spec.variables, *(name for name in named if name in fit.design.columns.names)])
    return Call(
        code=code, columns=tuple(columns), unwritten=tuple(name for name, text in written.items() if text is None)
    )


def written_call(function: str, arguments: Sequence[str]) -> str:
    """A call in one line, or an argument a line where that is too long.

    Examples
    --------
    >>> written_call("cl.mixed", ['"y ~ x + (1 | g)"', "data"])
    'cl.mixed("y ~ x + (1 | g)", data)'
    """
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= LINE:
        return line
    return f"{function}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"


def differs(value: object, default: object) -> bool:
    """Whether an argument is not its default; arrays always are."""
    return not (value is default or (isinstance(value, str | int | float) and value == default))


def as_code(value: object) -> str | None:
    """A value as Python that has imported this library as `cl`; None if it cannot be written down."""
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return _as_display([(as_code(key), as_code(item)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        items = [as_code(item) for item in value]
        return None if None in items else f"[{', '.join(filter(None, items))}]"
    home = next((home for kind, home in HOMES if isinstance(value, kind)), None)
    if home is None or not is_dataclass(value):
        return None
    parts = {part.name: as_code(getattr(value, part.name)) for part in fields(value) if part.init and told(part, value)}
    if None in parts.values():
        return None
    return f"{home}{type(value).__name__}({', '.join(f'{name}={text}' for name, text in parts.items())})"


def _as_display(items: list[tuple[str | None, str | None]]) -> str | None:
    """A dictionary as Python; None if something in it cannot be written down."""
    if any(key is None or item is None for key, item in items):
        return None
    return f"{{{', '.join(f'{key}: {item}' for key, item in items)}}}"


def told(part: "Field[Any]", value: object) -> bool:
    """Whether a field of a record is written: not what is left to its default of nothing."""
    return not (part.default is None and getattr(value, part.name) is None)


def quoted(text: str) -> str:
    """Text in double quotes, as code has it."""
    plain = repr(text)
    return plain if '"' in text or "\\" in text else f'"{plain[1:-1]}"'


def texts_in(value: object) -> list[str]:
    """All text inside an argument: names of columns among it."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for pair in value.items() for item in pair for text in texts_in(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in texts_in(item)]
    if is_dataclass(value):
        return [text for part in fields(value) for text in texts_in(getattr(value, part.name))]
    return []
