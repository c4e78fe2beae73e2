"""Pages that run: the examples of a Markdown page, executed in one namespace, and the page with what they really gave.

A page is plain Markdown. Its fenced blocks of Python hold examples as in a session, ``>>>`` before each statement and
the expected output below it. Output that differs is a failure, as it is in a doctest.
"""

import doctest
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from tempfile import TemporaryDirectory
from typing import Any

FENCE = re.compile(r"^```python\n(.*?)^```[ ]*$", re.DOTALL | re.MULTILINE)
PICTURE = re.compile(r"^>>> # picture: (.+)$")
DIRECTIVE = re.compile(r"[ ]*# doctest: [+\w, ]+$", re.MULTILINE)

ALWAYS = doctest.NORMALIZE_WHITESPACE
NOTHING = object()


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An example that did not give what the page says.

    Parameters
    ----------
    line : line of the page, from 1.
    message : what was expected, what came.
    """

    line: int
    message: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """One example after its run.

    Parameters
    ----------
    code : the statement with its prompts, as the page shows it.
    output : what was printed.
    value : the value of an expression, or NOTHING.
    description : what a figure shows, in words.
    """

    code: str
    output: str
    value: object
    description: str | None


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page after its run.

    Parameters
    ----------
    parts : text between the blocks of examples, and lists of results where the blocks were, in order.
    failures : examples that did not give what the page says.
    """

    parts: tuple["str | list[Result]", ...]
    failures: tuple[Failure, ...]


def run_page(text: str, name: str) -> Page:
    """Run all examples of a page, in one namespace.

    Parameters
    ----------
    text : the page in Markdown.
    name : what messages call it.
    """
    known: dict[str, Any] = {"__name__": "__main__"}
    parts: list[str | list[Result]] = []
    failures: list[Failure] = []
    end = 0
    with settled():
        for found in FENCE.finditer(text):
            if not found[1].lstrip().startswith(">>>"):
                continue
            parts.append(text[end : found.start()])
            start = text.count("\n", 0, found.start(1))
            parts.append(list(run_block(found[1], start, name, known, failures)))
            end = found.end()
    return Page(parts=(*parts, text[end:]), failures=tuple(failures))


def run_block(block: str, start: int, name: str, known: dict[str, Any], failures: list[Failure]) -> Iterator[Result]:
    """Run the examples of one block, whose first line is line `start` + 1 of the page; failures are appended."""
    lines = block.split("\n")
    for example in doctest.DocTestParser().get_examples(block, name):
        output, value, error = run_example(example, f"{name}, line {start + example.lineno + 1}", known)
        described = PICTURE.match(lines[example.lineno - 1]) if example.lineno else None
        message = complaint(example, output, error)
        if message is None and is_figure(value) and described is None:
            message = "A figure needs words for those who cannot see it: put `>>> # picture: ...` on the line above."
        if message is not None:
            failures.append(Failure(line=start + example.lineno + 1, message=message))
        yield Result(
            code=prompted(example.source), output=output, value=value, description=described[1] if described else None
        )


def run_example(example: doctest.Example, place: str, known: dict[str, Any]) -> tuple[str, object, str | None]:
    """What one example prints, the value of an expression, and the last line of an error, if there was one."""
    values: list[object] = []

    def show(value: object) -> None:
        if value is not None:
            values.append(value)
            print(repr(value))

    printed, error, before = StringIO(), None, sys.displayhook
    sys.displayhook = show
    try:
        with redirect_stdout(printed):
            exec(compile(example.source, place, "single"), known)
    except Exception as raised:
        error = "".join(traceback.format_exception_only(raised))
    finally:
        sys.displayhook = before
    if error is not None:
        return f"{printed.getvalue()}Traceback (most recent call last):\n    ...\n{error}", NOTHING, error
    return printed.getvalue(), values[-1] if values else NOTHING, None


def complaint(example: doctest.Example, output: str, error: str | None) -> str | None:
    """What is wrong with the outcome of an example, or None."""
    flags = ALWAYS
    for flag, on in example.options.items():
        flags = flags | flag if on else flags & ~flag
    checker = doctest.OutputChecker()
    if error is not None and example.exc_msg is None:
        return f"{example.source}raised {error}"
    want, got = (example.exc_msg, error) if error is not None else (example.want, output)
    if checker.check_output(want or "", got or "", flags):
        return None
    return f"{example.source}{checker.output_difference(example, output, flags | doctest.REPORT_NDIFF)}"


def prompted(source: str) -> str:
    """A statement with its prompts, without directives to doctest."""
    first, *rest = DIRECTIVE.sub("", source.rstrip("\n")).split("\n")
    return "\n".join([f">>> {first}", *(f"... {line}".rstrip() for line in rest)])


def is_figure(value: object) -> bool:
    """Whether a value is a figure of matplotlib, without importing it."""
    kind = type(value)
    return kind.__module__ == "matplotlib.figure" and kind.__name__ == "Figure"


def is_document(value: object) -> bool:
    """Whether a value is an object of this package that notebooks show as HTML."""
    return type(value).__module__.partition(".")[0] == "crosslevel" and hasattr(value, "_repr_html_")


def as_markdown(page: Page, save: Callable[[Any], str]) -> str:
    """The page with the output of its run: figures as pictures, documents as HTML.

    Parameters
    ----------
    page : a page after its run.
    save : keeps a figure, and returns the address at which Markdown finds it.
    """
    shown = (part if isinstance(part, str) else block_as_markdown(part, save) for part in page.parts)
    return "".join(shown)


def block_as_markdown(results: list[Result], save: Callable[[Any], str]) -> str:
    """A block of examples with its output; what is not text stands between two blocks of code."""
    pieces: list[str] = []
    lines: list[str] = []
    for result in results:
        lines.append(result.code)
        if is_figure(result.value):
            picture = f"![{result.description or ''}]({save(result.value)})"
        elif is_document(result.value):
            html = result.value._repr_html_()  # type: ignore[attr-defined]
            picture = f'``````{{raw}} html\n<div class="document">{html}</div>\n``````'
        else:
            lines.extend([result.output.rstrip("\n")] if result.output.strip() else [])
            continue
        pieces.extend([fenced(lines), picture])
        lines = []
    if lines:
        pieces.append(fenced(lines))
    return "\n\n".join(pieces)


def fenced(lines: list[str]) -> str:
    """Lines of a session as a block of code."""
    text = "\n".join(lines)
    return f"``````pycon\n{text}\n``````"


@contextmanager
def settled() -> Iterator[None]:
    """The same widths everywhere, figures without windows, and a folder that is thrown away for what a page writes."""
    import matplotlib as mpl

    mpl.use("Agg")
    before = {name: os.environ.get(name) for name in ("COLUMNS", "LINES")}
    os.environ.update(COLUMNS="80", LINES="24")
    try:
        with TemporaryDirectory() as folder, chdir(folder):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def block_lines(block: str, name: str, known: dict[str, Any]) -> str:
    """A block of examples with the output that they give; what agrees with the page stays as it is."""
    lines, position = block.split("\n"), 0
    shown: list[str] = []
    for example in doctest.DocTestParser().get_examples(block, name):
        stop = example.lineno + example.source.count("\n")
        shown.extend(lines[position:stop])
        position = stop + example.want.count("\n")
        output, _, error = run_example(example, name, known)
        if complaint(example, output, error) is None:
            shown.extend(lines[stop:position])
        else:
            kept = output.rstrip("\n").split("\n") if output.strip() else []
            shown.extend(line.rstrip() if line.strip() else "<BLANKLINE>" for line in kept)
    return "\n".join([*shown, *lines[position:]])
