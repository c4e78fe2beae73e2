"""Docstrings of this house: read into their sections, and written as Markdown."""

import inspect
import re
from dataclasses import dataclass
from typing import Any

from building.formulas import as_mathml

SECTIONS = (
    "Parameters",
    "Attributes",
    "Returns",
    "Yields",
    "Raises",
    "Warns",
    "Notes",
    "Source",
    "Sources",
    "Examples",
)
LISTS = ("Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns")

HEADING = re.compile(rf"^({'|'.join(SECTIONS)})\n-{{3,}}[ ]*$", re.MULTILINE)
ITEM = re.compile(r"^(\S[^:\n]*?)\s+:\s+(.*)$")
CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
SPECIAL = re.compile(r"([\\*_<>\[\]#$|{}~^])")


@dataclass(frozen=True, kw_only=True)
class Docstring:
    """A docstring in its parts.

    Parameters
    ----------
    text : what stands before the first section.
    sections : text of each section by its name.
    """

    text: str
    sections: dict[str, str]

    @property
    def first_sentence(self) -> str:
        """The first sentence, on one line."""
        paragraph = " ".join(self.text.split("\n\n")[0].split())
        return re.split(r"(?<=[^.\s]{2}\.)\s(?=[A-Z`])", paragraph)[0].removesuffix(".")

    def items(self, section: str) -> list[tuple[str, str]]:
        """Names and descriptions of a section such as Parameters; of one without names, its text."""
        found: list[tuple[str, list[str]]] = []
        for line in self.sections.get(section, "").split("\n"):
            start = None if line.startswith(" ") else ITEM.match(line)
            if start:
                found.append((start[1], [start[2]]))
            elif found:
                found[-1][1].append(line.strip())
            elif line.strip():
                found.append(("", [line]))
        return [(name, "\n".join(lines).strip()) for name, lines in found]


def docstring_of(value: Any) -> Docstring:
    """The docstring of a function, class, method or property."""
    function = getattr(value, "fget", None) or getattr(value, "func", None) or value
    return read(inspect.cleandoc(function.__doc__ or ""))


def read(text: str) -> Docstring:
    """A docstring, without its indentation, in its parts."""
    pieces = HEADING.split(text)
    sections = {name: body.strip("\n") for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}
    return Docstring(text=pieces[0].strip(), sections=sections)


def as_markdown(docstring: Docstring, types: dict[str, str]) -> str:
    """A docstring as Markdown.

    Parameters
    ----------
    docstring : the docstring.
    types : what each parameter may be, by its name.
    """
    parts = [prose(docstring.text)]
    for name, body in docstring.sections.items():
        if not body.strip():
            continue
        parts.append(f"```{{rubric}} {'Source' if name == 'Sources' else name}\n```")
        if name == "Examples":
            parts.append(examples(body))
        elif name in LISTS:
            parts.append(listed(docstring.items(name), types if name in ("Parameters", "Attributes") else {}))
        else:
            parts.append(prose(body))
    return "\n\n".join(parts)


def listed(items: list[tuple[str, str]], types: dict[str, str]) -> str:
    """Names with their descriptions, as a list of definitions."""
    lines = []
    for name, description in items:
        text = prose(description)
        if not name:
            lines.append(text)
            continue
        names = ", ".join(f"`{part.strip()}`" for part in name.split(","))
        kind = f' <span class="type">{as_html(types[name])}</span>' if types.get(name) else ""
        lines.append(f"{names}{kind}\n: {indented(text, 2)}")
    return "\n\n".join(lines)


def as_html(text: str) -> str:
    """Text for HTML within Markdown, where nothing has a meaning."""
    return "".join(f"&#{ord(sign)};" if not (sign.isalnum() or sign in " .,") else sign for sign in text)


def examples(body: str) -> str:
    """Sessions as blocks of code, with the words between them."""
    parts = []
    for paragraph in re.split(r"\n{2,}", body.strip("\n")):
        session = paragraph.startswith(">>>")
        shown = re.sub(r"^\s*<BLANKLINE>$", "", re.sub(r"[ ]*# doctest: .*$", "", paragraph, flags=re.M), flags=re.M)
        parts.append(f"``````pycon\n{shown}\n``````" if session else prose(paragraph))
    return "\n\n".join(parts)


def prose(text: str) -> str:
    """Paragraphs, lists and indented formulas of a docstring as Markdown."""
    parts: list[str] = []
    code_follows = False
    for paragraph in re.split(r"\n{2,}", text.strip("\n")):
        lines = paragraph.split("\n")
        if code_follows:
            parts.append("``````python\n" + inspect.cleandoc("\n" + paragraph) + "\n``````")
        elif all(line.startswith("    ") for line in lines if line):
            parts.append(f"``````{{raw}} html\n{as_mathml(paragraph)}\n``````")
        elif paragraph.startswith(">>>"):
            parts.append(f"``````pycon\n{paragraph}\n``````")
        else:
            parts.append(plain(inspect.cleandoc(paragraph)))
        code_follows = paragraph.rstrip().endswith("::")
    return "\n\n".join(parts).replace("::\n\n``````python", ":\n\n``````python")


def plain(text: str) -> str:
    """Text in which nothing but backticks and the bullets of lists have a meaning."""
    pieces, end = [], 0
    for found in CODE.finditer(text):
        pieces.extend([SPECIAL.sub(r"\\\1", text[end : found.start()]), f"`{found[2]}`"])
        end = found.end()
    shown = "".join([*pieces, SPECIAL.sub(r"\\\1", text[end:])])
    shown = re.sub(r"^(\s*)\\\* ", r"\1- ", shown, flags=re.MULTILINE)
    return re.sub(r"^([+=:]|-(?! ))", r"\\\1", shown, flags=re.MULTILINE)


def indented(text: str, by: int) -> str:
    """Text whose lines after the first are indented."""
    return text.replace("\n", "\n" + " " * by)
