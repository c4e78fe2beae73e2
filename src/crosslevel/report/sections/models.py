"""The models: what was assumed, and how it was estimated."""

from collections.abc import Iterator, Sequence

from crosslevel.display import Block, Heading, Note
from crosslevel.estimators import summary as of_linear
from crosslevel.estimators.generalized import summary as of_generalized
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.report.sections.subject import Fit, Models


def models_section(models: Models) -> Iterator[Block]:
    """Each model's formula, method and equations."""
    yield Heading("Model" if len(models) == 1 else "Models")
    for name, fit in models.items():
        if len(models) > 1:
            yield Heading(name, level=2)
        yield from stated(fit)
    yield from comparability(list(models.values()))


def stated(fit: Fit) -> list[Block]:
    """What was fitted to what, warnings, and the equations."""
    return of_generalized.stated(fit) if isinstance(fit, GeneralizedFit) else of_linear.stated(fit)


def estimated(fit: Fit) -> list[Block]:
    """The results as the summary has them."""
    return of_generalized.estimated(fit) if isinstance(fit, GeneralizedFit) else of_linear.estimated(fit)


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
