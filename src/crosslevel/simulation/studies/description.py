"""A study and its parts as plain values: what can be written to a file, compared, and told from another."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import partial
from typing import Any

import numpy as np

KIND = "kind"
"""The key that names the class of a record."""


def plain(value: Any) -> Any:
    """A value as text, numbers, lists and dictionaries.

    A record becomes a dictionary of the fields that are not at their defaults, `kind` naming its class; a function
    becomes the name of its module and its own; what has no value is None.

    Examples
    --------
    >>> plain({"size": (600, 2000), "sd": {"x": np.float64(0.2)}})
    {'size': [600, 2000], 'sd': {'x': 0.2}}
    """
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        return {KIND: type(value).__name__, **fields_of(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | range):
        return [plain(item) for item in value]
    if isinstance(value, partial):
        return {"function": name_of(value.func), "arguments": [plain(list(value.args)), plain(value.keywords)]}
    return name_of(value) if callable(value) else repr(value)


def fields_of(record: Any) -> dict[str, Any]:
    """Plain values of the fields of a record that are not at their defaults."""
    out = {}
    for field in fields(record):
        value = plain(getattr(record, field.name))
        if field.init and value != _default(field):
            out[field.name] = value
    return out


def _default(field: "Field[Any]") -> Any:
    """The plain default of a field; a value that nothing equals where it has none."""
    if field.default is not MISSING:
        return plain(field.default)
    return plain(field.default_factory()) if field.default_factory is not MISSING else MISSING


def name_of(function: Callable[..., Any]) -> str:
    """Where a function is, as "module.name"."""
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits that tell plain values apart."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def shown(level: Any) -> str | int | float | bool:
    """A level of a factor as one cell of a table."""
    value = plain(level)
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        inside = ", ".join(f"{key}={shown(item)}" for key, item in value.items() if key != KIND)
        return f"{value[KIND]}({inside})" if KIND in value else inside
    return ", ".join(str(shown(item)) for item in value) if isinstance(value, list) else str(value)
