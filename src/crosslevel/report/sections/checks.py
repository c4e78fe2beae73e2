"""The checks of the last model."""

from collections.abc import Iterator

from crosslevel.diagnostics.checks.check import check
from crosslevel.diagnostics.diagnosis import diagnose
from crosslevel.display import Block, Heading, Note, Paragraph, below, counted
from crosslevel.estimators.mixed import MixedFit
from crosslevel.report import figures
from crosslevel.report.pictures import picture
from crosslevel.report.sections.diagnosed import diagnosed, lights
from crosslevel.report.sections.subject import Fit, Models, last_of

CHECK_SEED = 1
"""Of the outcomes that are drawn from a model to check it."""

MOST_ROWS = 200_000
"""More rows than this are not drawn anew hundreds of times for a report that was asked for in passing."""


def checks_section(models: Models) -> Iterator[Block]:
    """The diagnosis of the last model."""
    name, last = last_of(models)
    yield Heading("Checks")
    if len(models) > 1:
        yield Paragraph(f"Of {name}.")
    if last.nobs > MOST_ROWS or last.design.stream is not None:
        yield from quick(last)
        return
    found = diagnose(last, seed=CHECK_SEED, progress=False)
    yield from lights(found)
    yield from diagnosed(found)
    if isinstance(last, MixedFit):
        yield picture(figures.residual_fitted(last))


def quick(fit: Fit) -> Iterator[Block]:
    """What can be said of a large model without drawing outcomes or fitting it again."""
    yield from below(check(fit).document())
    yield Note(
        f"With {counted(fit.nobs)} rows the checks that draw outcomes from the model or refit it are left out here: "
        'cl.report(cl.diagnose(fit), "checks.html") does all of them.'
    )
