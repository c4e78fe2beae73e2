"""The report of an analysis of an outcome with a family, and its folder."""

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from crosslevel.analysis.folder import RECORD, fill_folder
from crosslevel.analysis.generalized.sections import whole
from crosslevel.analysis.moderation import bare
from crosslevel.analysis.page import appendix, call_of, versions
from crosslevel.analysis.pictures import Drawing
from crosslevel.analysis.record import Skipped
from crosslevel.display import Block, Document, page, text
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.export import plain
from crosslevel.families import Family
from crosslevel.report import figures
from crosslevel.report.figures import theme
from crosslevel.report.page import html_file
from crosslevel.table import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crosslevel.analysis.generalized.record import GeneralizedAnalysis


@theme.without_collection()
def write_page(analysis: "GeneralizedAnalysis", path: str | os.PathLike[str]) -> Path:
    """Write the report; see `GeneralizedAnalysis.report`."""
    file = html_file(path)
    return write_atomically(file, page(document_with(analysis, list(drawings(analysis))), contents=True))


def document_with(analysis: "GeneralizedAnalysis", drawn: list[Drawing]) -> Document:
    """The whole report with its figures."""
    pictures: dict[str, list[Block]] = {}
    for drawing in drawn:
        pictures.setdefault(drawing.section, []).append(drawing.picture)
    fit = analysis.selected
    outcome = fit.labels.get(fit.spec.response_name) or fit.spec.response_name
    title = f"Context effects on {outcome} by {analysis.question.group}"
    return Document(title, [*whole(analysis, pictures), *appendix(analysis)])  # type: ignore[arg-type]


def drawings(analysis: "GeneralizedAnalysis") -> Iterator[Drawing]:
    """Draw the figures of an analysis, in the order of the report; those that a model has not are left out."""
    for name, section, draw, caption in _planned(analysis):
        try:
            figure = draw()
        except CrosslevelError:
            continue
        theme.settled(figure)
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


# -- the folder -----------------------------------------------------------------------------------------------------
def write_folder(analysis: "GeneralizedAnalysis", folder: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Write everything; see `GeneralizedAnalysis.save`."""
    return fill_folder(lambda place: _fill(place, analysis), folder, overwrite=overwrite)


@theme.without_collection()
def _fill(folder: Path, analysis: "GeneralizedAnalysis") -> None:
    """Write all files into a new folder."""
    drawn = list(drawings(analysis))
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    for name, frame in tables(analysis):
        write_atomically(folder / "tables" / f"{name}.csv", frame.to_csv(), argument="folder")
    for drawing in drawn:
        write_atomically(folder / "figures" / f"{drawing.name}.svg", drawing.svg, argument="folder")
        write_atomically(folder / "figures" / f"{drawing.name}.png", drawing.png, argument="folder")
    document = document_with(analysis, drawn)
    write_atomically(folder / "report.html", page(document, contents=True), argument="folder")
    write_atomically(folder / "log.txt", text(document) + "\n", argument="folder")
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    record = json.dumps(record_of(analysis, files), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / RECORD, record + "\n", argument="folder")


def record_of(analysis: "GeneralizedAnalysis", files: list[str]) -> dict[str, Any]:
    """What is needed to do it again: call, seed, formulas, versions; and what was written."""
    given = {
        name: value.description if isinstance(value, Family) else value for name, value in analysis.given.items()
    }  # fmt: skip
    return {
        "call": call_of(analysis),  # type: ignore[arg-type]
        "given": given,
        "rows_read": analysis.question.levels.rows_read,
        "rows": analysis.selected.nobs,
        "clusters": analysis.question.n_clusters,
        "formulas": {name.lower(): fit.formula for name, fit in analysis.models.items()},
        "converged": {name.lower(): fit.converged for name, fit in analysis.models.items()},
        "nodes": {name.lower(): fit.quadrature.nodes for name, fit in analysis.models.items()},
        "context_effects": [
            {"term": str(term), **{str(name): plain(value) for name, value in row.items()}}
            for term, row in analysis.effects.iterrows()
        ],
        "warnings": list(analysis.warned),
        "versions": versions(),
        "files": files,
    }


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
