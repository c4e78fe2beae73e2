"""The page of a diagnosis."""

from collections.abc import Iterator

from crosslevel.diagnostics.diagnosis import Diagnosis
from crosslevel.display import Block, Code, Document, Heading, Items, Paragraph, Table
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.report.calls import call_of
from crosslevel.report.sections.appendix import versions
from crosslevel.report.sections.diagnosed import diagnosed, lights


def diagnosis_document(found: Diagnosis, title: str | None) -> Document:
    """Lights and sentences first, then every check with its figure, then how to do it again."""
    return Document(title or f"Diagnosis of {found.fit.formula}", list(_blocks(found)))


def _blocks(found: Diagnosis) -> Iterator[Block]:
    """The blocks of the page."""
    yield Heading("In short")
    worrying = [sentence for _, part in found.ordered() if part.concern != "none" for sentence in part.sentences]
    yield Items(worrying) if worrying else Paragraph("All checks are in order.")
    yield from lights(found)
    yield from diagnosed(found, level=1)
    yield Heading("Appendix")
    if not isinstance(found.fit, OLSFit):
        yield Code(f"fit = {call_of(found.fit).code}\ncl.diagnose(fit)")
    yield Table(["Made with", ""], [[name, value] for name, value in versions().items()])
