"""The tables of an analysis of an outcome with a family, each a file of its folder."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from crosslevel.analysis.context_analysis import Skipped

if TYPE_CHECKING:
    from crosslevel.analysis.generalized.record import GeneralizedAnalysis


def tables(analysis: "GeneralizedAnalysis") -> Iterator[tuple[str, pd.DataFrame]]:
    """All tables by the name of their file."""
    fit, level = analysis.selected, analysis.level
    yield "description", analysis.description.frame
    yield "context_effects", analysis.effects
    yield "estimators", analysis.comparison.frame
    yield "coefficients", fit.tidy(level=level)
    yield "variance_components", fit.varcomp(level=level)
    yield "selection", analysis.selection.candidates
    for k, made in enumerate(analysis.average_effects.values(), start=1):
        if not isinstance(made, Skipped):
            yield f"average_effects_{k}", pd.DataFrame(made)
    for k, found in enumerate(analysis.interactions.values(), start=1):
        if not isinstance(found, Skipped):
            yield f"slopes_{k}", pd.DataFrame(found)
    if not isinstance(analysis.influence, Skipped):
        yield "influence", analysis.influence.frame
    if not isinstance(analysis.conditional, Skipped):
        yield "conditional_logit", analysis.conditional.tidy(level=level)
    if not isinstance(analysis.two_step, Skipped):
        yield "two_step", analysis.two_step.tidy(level=level)
        yield "two_step_clusters", analysis.two_step.first_step
    yield "ladder", analysis.ladder.frame
    yield "ladder_explained", analysis.ladder.explained
