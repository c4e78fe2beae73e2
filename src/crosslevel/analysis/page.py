"""The report of an analysis: one HTML file that needs nothing else."""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import crosslevel
from crosslevel.analysis.pictures import Drawing, drawings
from crosslevel.display import Block, Code, Document, Heading, Items, Paragraph, Table, page
from crosslevel.families import Family
from crosslevel.report.figures import theme
from crosslevel.report.page import PACKAGES, html_file
from crosslevel.table import write_atomically

if TYPE_CHECKING:
    from crosslevel.analysis.context_analysis import ContextAnalysis


@theme.without_collection()
def write_page(analysis: "ContextAnalysis", path: str | os.PathLike[str]) -> Path:
    """Write the report; see `ContextAnalysis.report`."""
    file = html_file(path)
    return write_atomically(file, page(document_with(analysis, list(drawings(analysis))), contents=True))


def document_with(analysis: "ContextAnalysis", drawn: Sequence[Drawing]) -> Document:
    """The whole report with its figures."""
    pictures: dict[str, list[Block]] = {}
    for drawing in drawn:
        pictures.setdefault(drawing.section, []).append(drawing.picture)
    return document_of(analysis, pictures)


def document_of(analysis: "ContextAnalysis", pictures: Mapping[str, Sequence[Block]]) -> Document:
    """The whole report as a document."""
    fit = analysis.models["Selected"]
    outcome = fit.labels.get(fit.spec.response_name) or fit.spec.response_name
    title = f"Context effects on {outcome} by {analysis.question.group}"
    return Document(title, [*analysis.sections(pictures), *appendix(analysis)])


def appendix(analysis: "ContextAnalysis") -> Iterator[Block]:
    """What is needed to do it again."""
    yield Heading("To do it again")
    yield Paragraph("With the same data, the call and the versions below give the same numbers.")
    yield Code(call_of(analysis))
    yield Table(["Made with", ""], [[name, value] for name, value in versions().items()])
    if analysis.warned:
        yield Paragraph("Warnings on the way:")
        yield Items(list(analysis.warned))


def call_of(analysis: "ContextAnalysis") -> str:
    """The call as Python."""
    given = dict(analysis.given)
    lines = [f"    {json.dumps(given.pop('formula'), ensure_ascii=False)},", "    data,"]
    lines += [f"    {name}={_as_code(value)}," for name, value in given.items() if value is not None]
    return "\n".join(["import crosslevel as cl", "", "cl.analyze(", *lines, ")"])


def _as_code(value: object) -> str:
    """A value as Python that has imported this library as `cl`."""
    return f"cl.families.{value!r}" if isinstance(value, Family) else repr(value)


def versions() -> dict[str, str]:
    """Versions of what computed."""
    return {
        "crosslevel": crosslevel.__version__,
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }
