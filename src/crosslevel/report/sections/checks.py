"""The checks of the last model."""

from collections.abc import Iterator
from typing import Literal, TypeAlias, get_args

from crosslevel.diagnostics.checks.check import check
from crosslevel.diagnostics.diagnosis import diagnose
from crosslevel.display import Block, Heading, Note, Paragraph, below, counted
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed import MixedFit
from crosslevel.report import figures
from crosslevel.report.pictures import picture
from crosslevel.report.sections.diagnosed import diagnosed, lights
from crosslevel.report.sections.subject import Fit, Models, last_of

Thoroughness: TypeAlias = Literal["all", "lights"]
"""Which checks a report has."""

CHECK_SEED = 1
"""Of the outcomes that are drawn from a model to check it."""

MOST_ROWS = 200_000
"""More rows than this are not drawn anew hundreds of times for a report that was asked for in passing."""


def check_thoroughness(checks: object) -> None:
    """Refuse what names no set of checks.

    Raises
    ------
    CrosslevelError : see above.
    """
    if checks not in get_args(Thoroughness):
        raise CrosslevelError(f"`checks` is one of {', '.join(map(repr, get_args(Thoroughness)))}; got {checks!r}.")


def checks_section(models: Models, checks: Thoroughness = "all") -> Iterator[Block]:
    """The diagnosis of the last model."""
    name, last = last_of(models)
    yield Heading("Checks")
    if len(models) > 1:
        yield Paragraph(f"Of {name}.")
    large = last.nobs > MOST_ROWS or last.design.stream is not None
    if checks == "lights" or large:
        yield from below(check(last).document())
        yield Note(left_out(last, large=large))
        if isinstance(last, MixedFit):
            yield picture(figures.residual_qq(last))
    else:
        found = diagnose(last, seed=CHECK_SEED, progress=False)
        yield from lights(found)
        yield from diagnosed(found)
    if isinstance(last, MixedFit):
        yield picture(figures.residual_fitted(last))


def left_out(fit: Fit, *, large: bool) -> str:
    """What is not said here, and how to get it."""
    why = f"With {counted(fit.nobs)} rows the" if large else "The"
    return (
        f"{why} checks that draw outcomes from the model or fit it again are left out here: "
        'cl.report(cl.diagnose(fit), "checks.html") does all of them.'
    )
