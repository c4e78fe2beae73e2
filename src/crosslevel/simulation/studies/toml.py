"""Studies as TOML files: what a person writes and reads, and back."""

import inspect
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from crosslevel.errors import CrosslevelError, FileError
from crosslevel.simulation.estimators.estimates import Estimator
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.studies.description import KIND, fields_of, plain
from crosslevel.table import write_atomically

if TYPE_CHECKING:
    from crosslevel.simulation.studies.study import Study

Kinds: TypeAlias = Mapping[str, type[Any]]

HEAD = ("title", "level", "terms")
KEYS = (*HEAD, "factors", "where", "process", "estimators")
PUBLISHED_KEYS = ("published", "arguments", "title", "level", "where")


def read(path: str | os.PathLike[str]) -> "Study":
    """A study from a file.

    Raises
    ------
    FileError : the file cannot be read, or is no TOML.
    CrosslevelError : something in it does not fit; the message says what.
    """
    if not isinstance(path, str | os.PathLike):
        raise CrosslevelError(f"`path` is the name of a file; got {path!r}.")
    file = Path(path).expanduser()
    try:
        text = file.read_text(encoding="utf-8")
        given = tomllib.loads(text)
    except OSError as error:
        raise FileError(f"`path`: {str(file)!r} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise FileError(f"`path`: {str(file)!r} is no TOML file: {error}.") from error
    return built(given)


def built(given: Mapping[str, Any]) -> "Study":
    """A study from the contents of a file."""
    from crosslevel.simulation.studies.study import Study

    if "published" in given:
        return _published(given)
    _check_keys(given, KEYS, "the file")
    lacking = [name for name in ("process", "estimators", "terms") if name not in given]
    if lacking:
        raise CrosslevelError(f"A study needs {', '.join(lacking)}, which the file lacks.")
    kinds = _kinds()
    parts = {name: tupled(given[name]) for name in HEAD if name in given}
    parts |= {name: _records(given[name], kinds, name) for name in ("factors", "where") if name in given}
    estimators = given["estimators"]
    if not isinstance(estimators, list):
        raise CrosslevelError("`estimators` is a list of tables. Begin each with [[estimators]].")
    return Study(
        process=_record(given["process"], kinds, "process", kind="Process"),
        estimators=[_record(one, kinds, "estimators", base=Estimator) for one in estimators],
        **parts,
    )


def _published(given: Mapping[str, Any]) -> "Study":
    """A published study, or part of it."""
    from crosslevel.simulation.published.heisig2017 import heisig2017

    known: dict[str, Callable[..., Study]] = {"heisig2017": heisig2017}
    _check_keys(given, PUBLISHED_KEYS, "a published study")
    if not isinstance(given["published"], str) or given["published"] not in known:
        raise CrosslevelError(f"`published` is one of {', '.join(known)}; got {given['published']!r}.")
    arguments, study_of = tupled(given.get("arguments", {})), known[given["published"]]
    if not isinstance(arguments, Mapping):
        raise CrosslevelError(f"`arguments` is a table; got {given['arguments']!r}.")
    _check_keys(arguments, list(inspect.signature(study_of).parameters), f"`arguments` of {given['published']}")
    study = study_of(**arguments)
    changes = {name: tupled(given[name]) for name in ("title", "level", "where") if name in given}
    return replace(study, published={"name": given["published"], "arguments": plain(arguments)}, **changes)


def _kinds() -> Kinds:
    """The records that a file can name."""
    from crosslevel.simulation import lab

    public = {name: getattr(lab, name) for name in lab.__all__}
    return {name: value for name, value in public.items() if isinstance(value, type) and is_dataclass(value)}


def _records(value: Any, kinds: Kinds, where: str) -> Any:
    """A value in which tables with a `kind` are records, and arrays are tuples."""
    if isinstance(value, Mapping):
        if KIND in value:
            return _record(value, kinds, where)
        return {key: _records(item, kinds, f"{where}.{key}") for key, item in value.items()}
    return tuple(_records(item, kinds, where) for item in value) if isinstance(value, list) else value


def _record(value: Any, kinds: Kinds, where: str, *, kind: str | None = None, base: type[Any] = object) -> Any:
    """A record from a table."""
    if not isinstance(value, Mapping):
        raise CrosslevelError(f"`{where}` is a table; got {value!r}.")
    name = value.get(KIND, kind)
    known = [one for one, cls in kinds.items() if issubclass(cls, base) and not getattr(cls, "__abstractmethods__", ())]
    if name not in known:
        got = "none" if name is None else repr(name)
        raise CrosslevelError(f"`{where}` needs a `kind` among {', '.join(known)}; got {got}.")
    takes = [field for field in fields(kinds[name]) if field.init]
    _check_keys(
        {key: item for key, item in value.items() if key != KIND}, [field.name for field in takes],
        f"{name} in `{where}`",
    )  # fmt: skip
    lacking = [
        field.name for field in takes
        if field.name not in value and field.default is MISSING and field.default_factory is MISSING
    ]  # fmt: skip
    if lacking:
        raise CrosslevelError(f"{name} in `{where}` needs {', '.join(map(repr, lacking))}, which the file lacks.")
    parts = {key: _records(item, kinds, f"{where}.{key}") for key, item in value.items() if key != KIND}
    try:
        return kinds[name](**parts)
    except TypeError as error:
        raise CrosslevelError(f"`{where}` does not make a {name}: {error}.") from error


def _check_keys(given: Mapping[str, Any], known: tuple[str, ...] | list[str], where: str) -> None:
    """Whether all keys mean something."""
    unknown = [name for name in given if name not in known]
    if unknown:
        close = get_close_matches(unknown[0], known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise CrosslevelError(
            f"{where[0].upper()}{where[1:]} has {', '.join(map(repr, unknown))}, which it cannot have{hint}. It can "
            f"have {', '.join(known)}."
        )


def tupled(value: Any) -> Any:
    """A value whose lists are tuples."""
    if isinstance(value, Mapping):
        return {key: tupled(item) for key, item in value.items()}
    return tuple(tupled(item) for item in value) if isinstance(value, list) else value


def write(study: "Study", path: str | os.PathLike[str] | None) -> str:
    """The text of a file, written if there is a path; see `Study.to_toml`."""
    functions = [name for name in ("process", "estimators", "terms", "where") if _is_function(getattr(study, name))]
    functions = [name for name in functions if name == "where" or not study.published]
    if functions:
        raise CrosslevelError(
            f"A study with functions as {', '.join(functions)} cannot be written as TOML. Give a Process, lists, and "
            "factors that name its fields; or keep the study as Python."
        )
    text = "\n".join(_lines(contents(study))).lstrip()
    again = built(tomllib.loads(text))  # an estimator that is not in `cl.lab` has no name there
    if plain(contents(again)) != plain(contents(study)):
        raise CrosslevelError("The study holds values that TOML cannot keep as they are. Keep the study as Python.")
    if path is not None:
        write_atomically(path, text + "\n")
    return text + "\n"


def written(study: "Study") -> str | None:
    """The text of a file; None if the study cannot be written."""
    try:
        return write(study, None)
    except CrosslevelError:
        return None


def contents(study: "Study") -> dict[str, Any]:
    """A study as plain values, without what is at its default."""
    own = fields_of(study)
    if study.published:
        arguments = own.pop("published")["arguments"]
        kept = {name: value for name, value in own.items() if name in PUBLISHED_KEYS}
        return {"published": study.published["name"], **kept, "arguments": arguments}
    own["process"].pop(KIND)
    return {name: own[name] for name in KEYS if name in own}


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, Process)


def _lines(given: Mapping[str, Any]) -> list[str]:
    """Lines of a file: its own values, then its tables, then its arrays of tables."""
    tables = {key: value for key, value in given.items() if isinstance(value, Mapping)}
    arrays = {key: value for key, value in given.items() if _is_array_of_tables(value)}
    lines = _pairs({key: value for key, value in given.items() if key not in tables and key not in arrays})
    for key, table in tables.items():
        lines += _section((key,), table)
    for key, array in arrays.items():
        for table in array:
            lines += ["", f"[[{_key(key)}]]", *_pairs(table)]
    return lines


def _section(path: tuple[str, ...], table: Mapping[str, Any]) -> list[str]:
    """Lines of a table; what is nested twice, and records, stay on one line."""
    nested = {key: value for key, value in table.items() if isinstance(value, Mapping) and KIND not in value}
    nested = nested if len(path) == 1 else {}
    lines = ["", f"[{'.'.join(map(_key, path))}]"]
    lines += _pairs({key: value for key, value in table.items() if key not in nested})
    for key, inside in nested.items():
        lines += _section((*path, key), inside)
    return lines


def _pairs(table: Mapping[str, Any]) -> list[str]:
    """Keys and values, a line each; TOML has no word for None."""
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items() if value is not None]


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _key(name: str) -> str:
    """A key, in quotes where it needs them."""
    bare = name and all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in name)
    return name if bare else _text(name)


def _text(value: str) -> str:
    """A text in quotes: JSON's are those of TOML."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    return repr(value)
