"""The public names: functions and classes that are listed, and the records that they return, with their methods."""

from __future__ import annotations

import ast
import inspect
import sys
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType, UnionType
from typing import Any

import crosslevel as cl

PARTS = ("plot", "lab", "families", "residual", "prior", "datasets", "errors")
"""Modules of the package that are public as modules."""

MACHINERY = ("families.GaussianWorking", "families.Terms", "families.family_of", "prior.check_prior", "residual.Levels")
"""Names that a public module has for the package itself."""

RESULTS = ("analysis", "diagnostics", "estimators", "inference", "report", "selection", "simulation")
"""Subpackages whose records are results; those of lower layers are the machinery's own."""


@dataclass(frozen=True, kw_only=True)
class Name:
    """A public function or class.

    Parameters
    ----------
    path : what a user writes after `cl.`, such as "plot.caterpillar"; of a record that is only returned, its name.
    value : the function or class.
    listed : whether it is a public name itself, and not only returned by one.
    """

    path: str
    value: Any
    listed: bool

    @property
    def part(self) -> str:
        """The module that lists it, or the subpackage in which it is defined."""
        return self.path.partition(".")[0] if "." in self.path else str(self.value.__module__).split(".")[1]

    @property
    def is_class(self) -> bool:
        """Whether it is a class."""
        return inspect.isclass(self.value)


@cache
def public_names() -> tuple[Name, ...]:
    """All public names, each once; records that are returned come after the functions that return them."""
    found: dict[int, Name] = {}
    for path, value in listed_values():
        found.setdefault(id(value), Name(path=path, value=value, listed=True))
    functions = [name.value for name in found.values() if not name.is_class]
    queue = [record for function in functions for record in returned_by(function)]
    while queue:
        record = queue.pop(0)
        if id(record) not in found:
            found[id(record)] = Name(path=record.__name__, value=record, listed=False)
            queue += [other for other in returned_by(record) if shows_itself(other)]
    return tuple(found.values())


def listed_values() -> Iterator[tuple[str, Any]]:
    """Functions and classes that the package and its public modules list."""
    for name in cl.__all__:
        value = getattr(cl, name)
        if callable(value):
            yield name, value
    for part in PARTS:
        module = getattr(cl, part)
        for name in listed_in(module):
            value = getattr(module, name)
            known = inspect.isfunction(value) or inspect.isclass(value)
            if known and f"{part}.{name}" not in MACHINERY:
                yield f"{part}.{name}", value


def listed_in(module: ModuleType) -> list[str]:
    """Names that a module lists: in `__all__`, or what is its own or imported under its own name."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    names = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ImportFrom):
            names += [alias.asname for alias in node.names if alias.asname == alias.name]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
    return [name for name in names if name and not name.startswith("_")]


def methods(value: type) -> list[tuple[str, Any]]:
    """Public methods and properties of a class, in the order of the alphabet; those of errors are Python's."""
    if issubclass(value, BaseException) or is_argument(value):
        return []
    found = []
    for name, member in inspect.getmembers_static(value):
        plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        documented = inspect.isfunction(plain) or isinstance(plain, property) or hasattr(plain, "attrname")
        if not name.startswith("_") and documented and home_of(plain).startswith("crosslevel"):
            found.append((name, plain))
    return found


def is_argument(value: type) -> bool:
    """Whether a class is made to be handed over, so that its methods are not for users: families, structures."""
    part = value.__module__.split(".")[1:2]
    return part in (["families"], ["residual"], ["prior"]) and not inspect.isabstract(value)


def home_of(member: Any) -> str:
    """The module in which a method or property is defined."""
    function = getattr(member, "fget", None) or getattr(member, "func", None) or member
    return str(getattr(function, "__module__", ""))


def returned_by(value: Any) -> Iterator[type]:
    """Classes of the package that a function, or a method of a class, says to return."""
    functions = [value] if inspect.isfunction(value) else [member for _, member in methods(value)]
    for function in functions:
        function = getattr(function, "fget", None) or getattr(function, "func", None) or function
        annotation = function.__annotations__.get("return")
        for kind in classes_in(resolved(annotation, function)):
            if is_result(kind):
                yield kind


def shows_itself(kind: type) -> bool:
    """Whether a class is meant for reading: what a result keeps for its own work is not."""
    return kind.__str__ is not object.__str__ or any(hasattr(kind, name) for name in ("frame", "document", "summary"))


def is_result(kind: type) -> bool:
    """Whether a class is a record of results."""
    if kind.__name__ == "Document":
        return True
    package, _, rest = kind.__module__.partition(".")
    private = kind.__name__.startswith("_") or issubclass(kind, tuple) or typing.is_typeddict(kind)
    return package == "crosslevel" and rest.split(".")[0] in RESULTS and not private


def classes_in(annotation: Any) -> Iterator[type]:
    """Classes that an annotation names, within unions and containers too."""
    if isinstance(annotation, str):
        return
    if inspect.isclass(annotation) and not typing.get_args(annotation):
        yield annotation
    elif isinstance(annotation, UnionType) or typing.get_args(annotation):
        for part in typing.get_args(annotation):
            yield from classes_in(part)


def resolved(annotation: Any, function: Any) -> Any:
    """What an annotation stands for, with the names that are imported only for types."""
    if not isinstance(annotation, str):
        return (
            annotation
            if not isinstance(annotation, typing.ForwardRef)
            else resolved(annotation.__forward_arg__, function)
        )
    try:
        return eval(annotation, names_for_types(function.__module__))
    except (NameError, TypeError, AttributeError):
        return annotation


@cache
def names_for_types(module_name: str) -> dict[str, Any]:
    """Names of a module, with those that it imports only where types are checked."""
    module = sys.modules[module_name]
    names = dict(vars(module))
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for statement in node.body:
                imported = ast.Module([statement], type_ignores=[])
                exec(compile(imported, module_name, "exec"), names)
    return names
