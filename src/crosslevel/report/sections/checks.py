"""The checks of the last model."""

from collections.abc import Iterator

from crosslevel.diagnostics.generalized.calibrated import calibration
from crosslevel.diagnostics.generalized.quantiles import quantile_residuals
from crosslevel.display import Block, Heading, Paragraph
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.report import figures
from crosslevel.report.pictures import picture
from crosslevel.report.sections.subject import Models, last_of

CHECK_SEED = 1
"""Of the outcomes that are drawn from a model to check it."""


def checks_section(models: Models) -> Iterator[Block]:
    """Residuals of the last model."""
    name, last = last_of(models)
    yield Heading("Checks")
    if len(models) > 1:
        yield Paragraph(f"Residuals of {name}.")
    if isinstance(last, GeneralizedFit):
        yield picture(figures.quantile_residuals(quantile_residuals(last, seed=CHECK_SEED)))
        yield picture(figures.calibration(calibration(last, seed=CHECK_SEED)))
        return
    yield picture(figures.residual_qq(last))
    yield picture(figures.residual_fitted(last))
