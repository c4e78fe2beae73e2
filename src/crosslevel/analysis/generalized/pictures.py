"""The figures of an analysis of an outcome with a family."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from crosslevel.analysis.context_analysis import Skipped
from crosslevel.analysis.moderation import bare
from crosslevel.analysis.pictures import Drawing
from crosslevel.errors import CrosslevelError
from crosslevel.report import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crosslevel.analysis.generalized.record import GeneralizedAnalysis


def drawn(analysis: "GeneralizedAnalysis") -> Iterator[Drawing]:
    """The figures as they are made; those that a model has not are left out."""
    for name, section, draw, caption in _planned(analysis):
        try:
            figure = draw()
        except CrosslevelError:
            continue
        yield Drawing(name=name, section=section, figure=figure, caption=caption)


def _planned(analysis: "GeneralizedAnalysis") -> Iterator[tuple[str, str, Callable[[], "Figure"], str]]:
    """Name, section, how it is drawn, and caption of each figure."""
    fit = analysis.selected
    yield (
        "cluster_sizes", "data", lambda: figures.cluster_sizes(analysis.description),
        "Rows in each cluster, of those that are complete.",
    )  # fmt: skip
    yield (
        "selection", "search", lambda: figures.selection(analysis.selection),
        "The path of the search, from the maximal to the selected model.",
    )  # fmt: skip
    yield (
        "context_effects", "effects", lambda: figures.estimators(analysis.comparison, terms=analysis.terms),
        "Each context effect by every estimator, on the scale of the linear predictor. Effects of the population as a "
        "whole (GLM) are closer to zero than those within clusters.",
    )  # fmt: skip
    for k, (term, found) in enumerate(zip(analysis.question.levels.cross, analysis.interactions.values(), strict=True)):
        if not isinstance(found, Skipped):
            x, z = bare(term.slope), bare(term.moderator)
            yield (
                f"slopes_{k + 1}", term.text, partial(figures.slopes, fit, x, [z], level=analysis.level),
                f"The effect of {x} on the expected outcome by {z}, averaged over the random effects.",
            )  # fmt: skip
    if not isinstance(analysis.influence, Skipped):
        found_influence = analysis.influence
        yield (
            "influence", "influence", lambda: figures.influence(found_influence, list(analysis.terms)),
            "What each context effect is without each cluster.",
        )  # fmt: skip
    for k, effect in enumerate(fit.design.random_names):
        yield (
            f"clusters_{k + 1}", "selected", partial(figures.caterpillar, fit, effect),
            f"Random effects of the selected model by cluster of {analysis.question.group}: {effect}.",
        )  # fmt: skip
