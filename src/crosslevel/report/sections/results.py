"""The results: models side by side, then the last one in numbers and pictures."""

from collections.abc import Iterator

from crosslevel.display import Block, Heading
from crosslevel.estimators.mixed import MixedFit
from crosslevel.report import figures
from crosslevel.report.comparison import comparison
from crosslevel.report.figures.subject import predictor_of
from crosslevel.report.pictures import picture
from crosslevel.report.sections.models import estimated
from crosslevel.report.sections.subject import Fit, Models, last_of


def results_section(models: Models) -> Iterator[Block]:
    """Tables and figures of the results."""
    yield Heading("Results")
    name, last = last_of(models)
    if len(models) > 1:
        yield Heading("Side by side", level=2)
        yield comparison(models)
        yield Heading(name, level=2)
    yield from estimated(last)
    yield from drawn(last)


def drawn(fit: Fit) -> Iterator[Block]:
    """The figures of one model."""
    if isinstance(fit, MixedFit) and predictor_of(fit) is not None:
        yield picture(figures.fitted_lines(fit))
    for factor in fit.design.factors:
        for term in fit.design.effects_of(factor):
            yield picture(figures.caterpillar(fit, term, group=factor.name))
    if isinstance(fit, MixedFit) and fit.design.is_single:
        yield picture(figures.shrinkage(fit))
