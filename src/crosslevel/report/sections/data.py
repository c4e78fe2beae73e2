"""The data: variables by level, clusters, raw lines."""

from collections.abc import Iterator

from crosslevel.diagnostics.describe import describe
from crosslevel.display import Block, Heading, Note, below
from crosslevel.estimators.mixed import MixedFit
from crosslevel.report import figures
from crosslevel.report.figures.subject import predictor_of
from crosslevel.report.pictures import picture
from crosslevel.report.sections.subject import Models, last_of


def data_section(models: Models) -> Iterator[Block]:
    """Variables, clusters and raw data of the last model."""
    yield Heading("Data")
    _, last = last_of(models)
    if last.design.stream is not None:
        yield Note("The data were read in batches and are not described here: cl.describe reads them into memory.")
        return
    groups = [name for factor in last.design.factors for name in factor.group]
    variables = [name for name in last.spec.variables if name not in groups]
    if last.design.factors and variables:
        yield from below(describe(last.data, list(last.design.factors[0].group), variables).document())
    if last.design.factors:
        yield picture(figures.cluster_sizes(last))
    linear = [fit for fit in models.values() if isinstance(fit, MixedFit)]
    source = next((fit for fit in reversed(linear) if predictor_of(fit) is not None), None)
    if source is not None:
        yield picture(figures.raw(source))
