"""The tables of an analysis, each a file of its folder."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from crosslevel.analysis.context_analysis import Skipped

if TYPE_CHECKING:
    from crosslevel.analysis.record import Analysis


def tables(analysis: "Analysis") -> Iterator[tuple[str, pd.DataFrame]]:
    """All tables by the name of their file."""
    fit, level = analysis.selected, analysis.level
    yield "description", analysis.description.frame
    yield "context_effects", analysis.effects
    yield "estimators", analysis.comparison.frame
    yield "estimators_bootstrap", analysis.drawn.frame
    yield "interval_widths", analysis.widths
    yield "coefficients", fit.tidy(level=level)
    yield "variance_components", fit.varcomp(level=level)
    yield "selection", analysis.selection.candidates
    yield "sensitivity", analysis.selection.sensitivity
    yield "heterogeneity", analysis.heterogeneity.frame
    for k, found in enumerate(analysis.interactions.values(), start=1):
        if not isinstance(found, Skipped):
            yield f"slopes_{k}", found.slopes.frame
            for m, region in enumerate(found.regions, start=1):
                suffix = f"{k}" if len(found.regions) == 1 else f"{k}_{m}"
                yield f"regions_{suffix}", region.regions
                yield f"regions_{suffix}_curve", region.frame
    if not isinstance(analysis.influence, Skipped):
        yield "influence", analysis.influence.frame
    for name, steps in (("two_step", analysis.fgls), ("two_step_adjusted", analysis.adjusted)):
        if not isinstance(steps, Skipped):
            yield name, steps.tidy(level=level)
            yield f"{name}_clusters", steps.first_step
    yield "ladder", analysis.ladder.frame
    yield "ladder_explained", analysis.ladder.explained
    yield "ladder_reliability", analysis.ladder.reliability
