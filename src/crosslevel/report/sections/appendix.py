"""The appendix: the other models in full, and what is needed to do it again."""

import datetime
import platform
from collections.abc import Iterator
from importlib.metadata import version
from textwrap import indent

import crosslevel
from crosslevel.display import Block, Code, Fold, Heading, Paragraph, Table
from crosslevel.report.calls import call_of, quoted
from crosslevel.report.sections.models import estimated
from crosslevel.report.sections.results import drawn
from crosslevel.report.sections.subject import Models

PACKAGES = ("numpy", "scipy", "numba", "pandas", "formulaic", "narwhals", "matplotlib")
"""What computes, besides this library."""


def appendix(models: Models, date: datetime.date, seed: int | None) -> Iterator[Block]:
    """Other models, calls and versions."""
    yield Heading("Appendix")
    for name, fit in list(models.items())[:-1]:
        yield Fold(f"{name} in full", [*estimated(fit), *drawn(fit)])
    yield Heading("To do it again", level=2)
    yield Paragraph("With the same data, these calls and versions give the same numbers.")
    yield Code(code_of(models))
    rows: list[list[str]] = [[name, f"{fit.formula}   [{fit.method}]"] for name, fit in models.items()]
    yield Table(["Model", "Formula"], rows)
    facts = [["Date", date.isoformat()], *([["Seed", str(seed)]] if seed is not None else [])]
    yield Table(["Made with", ""], [*facts, *([name, value] for name, value in versions().items())])


def code_of(models: Models, *, data: str = 'data = ...  # cl.read("your file")') -> str:
    """Python that fits the models by name.

    Parameters
    ----------
    models : by name.
    data : the line that makes the data.
    """
    lines = ["import crosslevel as cl", "", data, "models = {"]
    for name, fit in models.items():
        call = call_of(fit)
        lines += [f"    # {argument} is not written here: give what was given" for argument in call.unwritten]
        lines.append(indent(f"{quoted(name)}: {call.code},", "    "))
    return "\n".join([*lines, "}"])


def versions() -> dict[str, str]:
    """Versions of what computed."""
    return {
        "crosslevel": crosslevel.__version__,
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }
