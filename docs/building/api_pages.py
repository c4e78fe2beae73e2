"""The reference: a page for every public function and class, from its docstring."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from building.arguments import COMMON
from building.complete import unnamed
from building.docstrings import Docstring, as_markdown, docstring_of, plain
from building.public_names import Name, methods, public_names

SUBJECTS = {
    "Data": ("table", "datasets", "weights"),
    "Models": ("estimators", "families", "residual", "prior"),
    "Tests and comparisons": ("inference", "selection"),
    "Diagnostics": ("diagnostics",),
    "Figures": ("plot",),
    "Tables, reports, whole analyses": ("report", "analysis", "display"),
    "Planning and simulation": ("simulation", "lab"),
    "Errors and warnings": ("errors",),
}
"""Headings of the reference, and the parts of the package that stand below each."""


def write(folder: Path) -> None:
    """Write all pages of the reference into a folder, and remove those of names that are no more."""
    pages = {"index": index()} | {address(name): page(name) for name in public_names()}
    (folder / "results").mkdir(parents=True, exist_ok=True)
    for file in folder.rglob("*.md"):
        if file.relative_to(folder).with_suffix("").as_posix() not in pages:
            file.unlink()
    for place, text in pages.items():
        file = folder / f"{place}.md"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def address(name: Name) -> str:
    """Where the page of a name is; records that are only returned have a folder, as `power` returns a `Power`."""
    return name.path if name.listed else f"results/{name.path}"


def index() -> str:
    """The first page of the reference: all names by subject, each with its first sentence."""
    parts = [
        "# Reference",
        "`import crosslevel as cl`; every name below is `cl.` and the name, unless it is what another one returns.",
    ]
    left = list(public_names())
    for subject, places in [*SUBJECTS.items(), ("More", None)]:
        below = [name for name in left if places is None or name.part in places]
        left = [name for name in left if name not in below]
        for listed, title in ((True, subject), (False, f"{subject}: what they return")):
            names = sorted((name for name in below if name.listed == listed), key=lambda name: name.path.lower())
            if names:
                parts.append(f"{'##' if listed else '###'} {title}\n\n{table(names)}")
    return "\n\n".join(parts) + "\n"


def table(names: list[Name]) -> str:
    """Names with their first sentences."""
    shown = [name for name in names if not name.path.endswith("_data")]
    rows = [
        f"| [`{name.path}`]({address(name)}.md) | {plain(docstring_of(name.value).first_sentence)} |" for name in shown
    ]
    return "| | |\n|---|---|\n" + "\n".join(rows)


def page(name: Name) -> str:
    """The page of one name."""
    shown = f"cl.{name.path}" if name.listed else name.path
    # hundreds of entries are too many for the list at the side: the first page of the reference leads here
    parts = [f"---\norphan: true\n---\n\n# {shown}", f"[Reference]({'../' * address(name).count('/')}index.md)"]
    if name.is_class:
        members = "\n\n".join(member_block(*member) for member in methods(name.value))
        body = body_of(name.value, typed(name.value))
        parts.append(directive("class", signature_line(shown, name.value), f"{body}\n\n{members}"))
    else:
        parts.append(directive("function", signature_line(shown, name.value), body_of(name.value, typed(name.value))))
        data = f"{name.path}_data"
        if data in {other.path for other in public_names()}:
            parts.append(f"The numbers behind the figure: [`cl.{data}`]({data}.md).")
    return "\n\n".join(parts) + "\n"


def member_block(name: str, member: Any) -> str:
    """A method or property of a class."""
    if inspect.isfunction(member):
        body = as_markdown(with_common_arguments(docstring_of(member), member), typed(member))
        return directive("method", signature_line(name, member, method=True), body, marks=5)
    return directive("property", name, body_of(member, {}), marks=5)


def with_common_arguments(found: Docstring, member: Any) -> Docstring:
    """A method's docstring, with what arguments are that mean the same everywhere."""
    found = without_own_object(found)
    parameters = [name for name in inspect.signature(member).parameters if name in COMMON]
    lacking = set(next(iter(unnamed(found, parameters)), "").removeprefix("not described: ").split(", "))
    said = "\n".join(f"{name} : {COMMON[name]}" for name in parameters if name in lacking)
    if not said:
        return found
    present = found.sections.get("Parameters", "")
    return replace(found, sections={"Parameters": f"{present}\n{said}".strip("\n"), **without(found.sections)})


def without_own_object(found: Docstring) -> Docstring:
    """A method that is a function of a fit elsewhere describes that fit; its user has it before the dot."""
    described = re.sub(r"^fit : .*\n?(?: +.*\n?)*", "", found.sections.get("Parameters", ""))
    kept = {name: body for name, body in found.sections.items() if name != "Parameters"}
    return replace(found, sections={"Parameters": described, **kept} if described.strip() else kept)


def without(sections: dict[str, str]) -> dict[str, str]:
    """Sections but the parameters."""
    return {name: body for name, body in sections.items() if name != "Parameters"}


def directive(kind: str, head: str, body: str, marks: int = 9) -> str:
    """A directive of Sphinx's Python domain."""
    fence = ":" * marks
    return f"{fence}{{py:{kind}}} {head}\n\n{body}\n{fence}"


def body_of(value: Any, types: dict[str, str]) -> str:
    """The docstring of a function, class or member."""
    return as_markdown(docstring_of(value), types)


def signature_line(shown: str, value: Any, *, method: bool = False) -> str:
    """Name, arguments with their defaults, and what is returned; types stand with the parameters."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return shown
    if inspect.isclass(value) and issubclass(value, BaseException):
        return shown
    parameters = [
        parameter.replace(annotation=parameter.empty, default=default_of(parameter))
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls") and not (method and parameter.name == "fit")
    ]
    returned = "" if inspect.isclass(value) else spelled(signature.return_annotation)
    arguments = str(inspect.Signature(parameters))
    return f"{shown}{arguments}" + (f" -> {returned}" if returned else "")


class Spelled:
    """A default as it is written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def default_of(parameter: inspect.Parameter) -> Any:
    """The default of a parameter, as text that can be read; objects without a short form are left as dots."""
    default = parameter.default
    if default is inspect.Parameter.empty:
        return default
    text = default.__name__ if inspect.isfunction(default) or inspect.isclass(default) else repr(default)
    readable = "\n" not in text and "<" not in text and len(text) < 60
    return Spelled(text if readable else "...")


def typed(value: Any) -> dict[str, str]:
    """What each parameter may be, by its name."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {parameter.name: spelled(parameter.annotation) for parameter in parameters}


def spelled(annotation: Any) -> str:
    """An annotation as a reader needs it: without the modules of names."""
    if annotation in (inspect.Parameter.empty, None, type(None)):
        return ""
    text = annotation if isinstance(annotation, str) else annotation_text(annotation)
    text = re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])", "", text).replace('"', "'").replace("NoneType", "None")
    text = re.sub(r"Literal\[([^\[\]]*)\]", lambda found: found[1].replace(", ", " | "), text)
    text = re.sub(r"^Optional\[(.*)\]$", r"\1 | None", text)
    text = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", text)
    return re.sub(r"^'([^']*)'$", r"\1", text).replace("ndarray[tuple[Any, ...], dtype[float64]]", "FloatArray")


def annotation_text(annotation: Any) -> str:
    """An annotation that is an object, as text."""
    return (
        annotation.__name__ if inspect.isclass(annotation) and not hasattr(annotation, "__args__") else str(annotation)
    )
