"""The figures of an analysis, each drawn once: for the report and for the folder."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from crosslevel.analysis.context_analysis import Skipped
from crosslevel.display import Picture
from crosslevel.estimators.marginal_table import SLOPE
from crosslevel.report import figures
from crosslevel.report.figures import theme
from crosslevel.report.pictures import picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crosslevel.analysis.context_analysis import ContextAnalysis
    from crosslevel.analysis.record import Analysis


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """A figure with its place and its words.

    Attributes
    ----------
    name : of its files.
    section : of the report where it stands.
    figure : what was drawn.
    caption : what to see in it.
    """

    name: str
    section: str
    figure: "Figure" = field(repr=False)
    caption: str

    @cached_property
    def svg(self) -> bytes:
        """The figure as an SVG file."""
        return theme.svg(self.figure)

    @cached_property
    def png(self) -> bytes:
        """The figure as a PNG file."""
        return theme.png(self.figure)

    @cached_property
    def picture(self) -> Picture:
        """The figure for the page."""
        return picture(self.figure, self.caption)


def drawings(analysis: "ContextAnalysis") -> Iterator[Drawing]:
    """Draw all figures of an analysis, in the order of the report."""
    for drawing in analysis.drawings():
        theme.settled(drawing.figure)
        yield drawing


def drawn(analysis: "Analysis") -> Iterator[Drawing]:
    """The figures as they are made."""
    fit, group = analysis.selected, analysis.question.group
    yield Drawing(
        name="cluster_sizes", section="data", figure=figures.cluster_sizes(analysis.description),
        caption="Rows in each cluster, of those that are complete.",
    )  # fmt: skip
    yield Drawing(
        name="selection", section="search", figure=figures.selection(analysis.selection),
        caption="The path of the search, from the maximal to the selected model.",
    )  # fmt: skip
    yield Drawing(
        name="context_effects", section="effects",
        figure=figures.estimators(analysis.comparison, analysis.drawn, terms=analysis.terms),
        caption="Each context effect by every estimator. Intervals are those of t tests unless the name says "
        "otherwise; grey ones include zero.",
    )  # fmt: skip
    yield Drawing(
        name="heterogeneity", section="heterogeneity", figure=figures.heterogeneity(analysis.maximal),
        caption="How coefficients differ between clusters, in the maximal model.",
    )  # fmt: skip
    yield from interaction_drawings(analysis)
    if not isinstance(analysis.influence, Skipped):
        yield Drawing(
            name="influence", section="influence", figure=figures.influence(analysis.influence, list(analysis.terms)),
            caption="What each context effect is without each cluster.",
        )  # fmt: skip
    for k, effect in enumerate(fit.design.random_names):
        yield Drawing(
            name="clusters" if k == 0 else f"clusters_{k + 1}", section="selected",
            figure=figures.caterpillar(fit, effect),
            caption=f"Random effects of the selected model by cluster of {group}: {effect}.",
        )  # fmt: skip
    yield Drawing(
        name="residuals_normal", section="checks", figure=figures.residual_qq(fit),
        caption="Whether the residuals are normal.",
    )  # fmt: skip
    yield Drawing(
        name="residuals_fitted", section="checks", figure=figures.residual_fitted(fit),
        caption="Whether the residuals are alike at all fitted values.",
    )  # fmt: skip


def interaction_drawings(analysis: "Analysis") -> Iterator[Drawing]:
    """Slopes and regions of each cross-level interaction."""
    for k, (text, found) in enumerate(analysis.interactions.items(), start=1):
        if isinstance(found, Skipped):
            continue
        x, z = found.term.slope, found.term.moderator
        if not found.regions:
            yield Drawing(
                name=f"slopes_{k}", section=text,
                figure=figures.slopes(analysis.selected, x, [z], level=analysis.level),
                caption=f"The effect of {x} by {z}, with {100 * analysis.level:g}% intervals; random effects are zero.",
            )  # fmt: skip
        for m, region in enumerate(found.regions, start=1):
            by_name = region.contrast == SLOPE
            yield Drawing(
                name=f"regions_{k}" if len(found.regions) == 1 else f"regions_{k}_{m}", section=text,
                figure=figures.johnson_neyman(analysis.selected, x, z, level=analysis.level)
                if by_name else figures.johnson_neyman(region),
                caption=f"The effect of {x}{'' if by_name else f' ({region.contrast})'} along {z}, and where it "
                "differs from zero (Johnson-Neyman).",
            )  # fmt: skip
