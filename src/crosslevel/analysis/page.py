"""The report of an analysis: one HTML file that needs nothing else."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crosslevel.analysis.pictures import Drawing, drawings
from crosslevel.display import Block, Code, Document, Heading, Items, Paragraph, Table
from crosslevel.report.calls import as_code, quoted
from crosslevel.report.figures import theme
from crosslevel.report.page import page_file
from crosslevel.report.pictures import page_of
from crosslevel.report.sections.appendix import versions
from crosslevel.table import write_atomically

if TYPE_CHECKING:
    from crosslevel.analysis.context_analysis import ContextAnalysis


@theme.without_collection()
def write_page(
    analysis: "ContextAnalysis", path: str | os.PathLike[str], title: str | None = None, *, data: bool = False
) -> Path:
    """Write the report; see `ContextAnalysis.report`."""
    file = page_file(path, data=data)
    if file.suffix.lower() == ".zip":
        from crosslevel.analysis.folder import bundled

        return write_atomically(file, bundled(analysis, file.stem, title, data=data))
    return write_atomically(file, page_of(document_with(analysis, list(drawings(analysis)), title)))


def document_with(analysis: "ContextAnalysis", drawn: Sequence[Drawing], title: str | None = None) -> Document:
    """The whole report with its figures."""
    pictures: dict[str, list[Block]] = {}
    for drawing in drawn:
        pictures.setdefault(drawing.section, []).append(drawing.picture)
    return document_of(analysis, pictures, title)


def document_of(
    analysis: "ContextAnalysis", pictures: Mapping[str, Sequence[Block]], title: str | None = None
) -> Document:
    """The whole report as a document."""
    fit = analysis.models["Selected"]
    outcome = fit.labels.get(fit.spec.response_name) or fit.spec.response_name
    named = title or f"Context effects on {outcome} by {analysis.question.group}"
    return Document(named, [*analysis.sections(pictures), *appendix(analysis, pictures)])


def appendix(analysis: "ContextAnalysis", pictures: Mapping[str, Sequence[Block]]) -> Iterator[Block]:
    """The models in full, and what is needed to do it again."""
    yield Heading("Appendix")
    yield from analysis.in_full(pictures)
    yield Heading("To do it again", level=2)
    yield Paragraph("With the same data, the call and the versions below give the same numbers.")
    yield Code(call_of(analysis))
    yield Table(["Made with", ""], [[name, value] for name, value in versions().items()])
    if analysis.warned:
        yield Paragraph("Warnings on the way:")
        yield Items(list(analysis.warned))


def call_of(analysis: "ContextAnalysis") -> str:
    """The call as Python."""
    return f"import crosslevel as cl\n\n{expression_of(analysis)}"


def expression_of(analysis: "ContextAnalysis") -> str:
    """The call without the import."""
    given = dict(analysis.given)
    lines = [f"    {quoted(str(given.pop('formula')))},", "    data,"]
    lines += [f"    {name}={as_code(value)}," for name, value in given.items() if value is not None]
    return "\n".join(["cl.analyze(", *lines, ")"])
