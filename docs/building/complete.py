"""What a docstring lacks: parameters that it does not name, what is returned, what is raised, an example."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from building.arguments import COMMON
from building.docstrings import Docstring, docstring_of
from building.public_names import Name, classes_in, methods, public_names, resolved

RETURNS_NOTHING = (None, "None", inspect.Parameter.empty)


def gaps() -> Iterator[tuple[str, str]]:
    """What is lacking, over all public names and the methods of their results: the name, and the words."""
    for name in public_names():
        for words in of_class(name) if name.is_class else of_function(name.value, example=name.listed):
            yield name.path, words
        for method, member in methods(name.value) if name.is_class else ():
            for words in of_method(member):
                yield f"{name.path}.{method}", words


def of_class(name: Name) -> Iterator[str]:
    """What the docstring of a class lacks."""
    found = docstring_of(name.value)
    if not found.text:
        yield "no docstring"
        return
    if issubclass(name.value, BaseException) or inspect.isabstract(name.value):
        return
    fields = [field.name for field in dataclasses.fields(name.value)] if dataclasses.is_dataclass(name.value) else []
    yield from unnamed(found, [field for field in fields if not field.startswith("_")])
    made_by_users = "Attributes" not in found.sections
    if name.listed and made_by_users and ">>>" not in found.sections.get("Examples", ""):
        yield "no example"


def of_function(function: Any, *, example: bool, method: bool = False) -> Iterator[str]:
    """What the docstring of a function lacks; the first argument of a method is its own object."""
    found = docstring_of(function)
    if not found.text:
        yield "no docstring"
        return
    if re.search(r"\b[Ss]ee `", found.text):  # what is said there holds here
        return
    parameters = list(inspect.signature(function).parameters)[int(not example and method) :]
    yield from unnamed(found, [name for name in parameters if example or name not in COMMON])
    if example and not says_what_it_returns(function, found):
        yield "not said what it returns"
    if raises(function) and "Raises" not in found.sections:
        yield "not said what it raises"
    if example and ">>>" not in found.sections.get("Examples", ""):
        yield "no example"


def says_what_it_returns(function: Any, found: Docstring) -> bool:
    """Whether a reader learns it: in a section, in the first sentence, or from the page of what is returned."""
    returned = function.__annotations__.get("return")
    if returned in RETURNS_NOTHING or "Figure" in str(returned):
        return True
    documented = {name.value for name in public_names() if name.is_class}
    record = documented & set(classes_in(resolved(returned, function)))
    return bool(record) or "Returns" in found.sections or found.text.startswith("Return ")


def of_method(member: Any) -> Iterator[str]:
    """What the docstring of a method or property lacks; a property has its words and nothing else."""
    if inspect.isfunction(member):
        static = next(iter(inspect.signature(member).parameters), "") not in ("self", "cls", "fit")
        yield from of_function(member, example=False, method=not static)
    elif not docstring_of(member).text:
        yield "no docstring"


def unnamed(found: Docstring, names: list[str]) -> Iterator[str]:
    """Parameters that a docstring does not describe."""
    described = {part.strip().lstrip("*") for name, _ in found.items("Parameters") for part in name.split(",")}
    described |= {part.strip() for name, _ in found.items("Attributes") for part in name.split(",")}
    described |= set(re.findall(r"`(\w+)`", found.text))  # a word in the first paragraphs is enough
    lacking = [name for name in names if name not in described and name.strip("_")]
    if lacking:
        yield f"not described: {', '.join(lacking)}"


def raises(function: Any) -> bool:
    """Whether a function itself raises an error of this package."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    return any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(tree))
