"""The models: what was assumed, and how it was estimated."""

from collections.abc import Iterator, Sequence

from crosslevel.display import Block, Equations, Heading, Note, Table
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.report.sections.subject import Fit, Models

FIXED = "Fixed effects"
"""The first table of a summary that holds results."""


def models_section(models: Models) -> Iterator[Block]:
    """Each model's formula, method and equations."""
    yield Heading("Model" if len(models) == 1 else "Models")
    for name, fit in models.items():
        if len(models) > 1:
            yield Heading(name, level=2)
        yield from stated(fit)
    yield from comparability(list(models.values()))


def stated(fit: Fit) -> Iterator[Block]:
    """The blocks of a summary before its results."""
    for block in fit.summary().blocks:
        if isinstance(block, Table) and block.title.startswith(FIXED):
            return
        yield block


def estimated(fit: Fit, *, equations: bool = False) -> Iterator[Block]:
    """The blocks of a summary from its results on."""
    begun = False
    for block in fit.summary().blocks:
        begun = begun or (isinstance(block, Table) and block.title.startswith(FIXED))
        if begun and (equations or not isinstance(block, Equations)):
            yield block


def comparability(fits: Sequence[Fit]) -> Iterator[Block]:
    """What stands in the way of comparing likelihoods."""
    if len(fits) < 2:
        return
    if len({fit.nobs for fit in fits}) > 1:
        yield Note(
            "The models use different rows, because of missing values: their likelihoods cannot be compared. Fit all "
            "of them to the rows that have every variable.",
            kind="warning",
        )
    if any(isinstance(fit, GeneralizedFit) for fit in fits):
        if len({(family_of(fit), fit.spec.response_name) for fit in fits}) > 1:
            yield Note(
                "The models have different families, links or outcomes: the sizes of their coefficients cannot be "
                "compared.",
                kind="warning",
            )
        return
    if len({fit.method for fit in fits}) > 1:
        yield Note("Likelihoods by REML and by ML cannot be compared with each other.", kind="warning")
    elif fits[0].method == "reml" and len({fit.design.fixed_names for fit in fits}) > 1:
        yield Note(
            "The fixed effects differ, so log-likelihood, AIC and BIC by REML cannot be compared between these "
            'models; fit them with method="ml" for that.'
        )


def family_of(fit: Fit) -> str:
    """Family and link of a model."""
    return fit.family.description if isinstance(fit, GeneralizedFit) else "normal, identity link"
