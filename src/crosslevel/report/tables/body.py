"""What a table of models shows, before it is written: all quantities with their numbers and labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.report.tables import rows
from crosslevel.report.tables.cells import words_cell
from crosslevel.report.tables.labels import Labels, Terms, arranged, clean, grouped
from crosslevel.report.tables.lines import Manner, reference_lines, section
from crosslevel.report.tables.models import Model, is_mixed
from crosslevel.report.tables.notes import notes_of, outcome_of, outcomes_of
from crosslevel.report.tables.record import Heading, Line
from crosslevel.report.tables.rows import Components, Quantity
from crosslevel.report.tables.statistics import Asked, Told, statistics_rows

COLUMNS = ("part", "term", "label", "model", "estimate", "std_error", "df", "statistic", "p_value", "conf_low",
           "conf_high")  # fmt: skip
"""Of the numbers behind a table."""

LIKELIHOODS = ("loglik", "deviance", "aic", "bic")
HEADINGS = {"variance": "Variance components", "sd": "Standard deviations", "covariance": "Variance components"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Body:
    """All quantities of a table of models.

    Attributes
    ----------
    models : the columns.
    labels : what names are written as.
    coefficients, thresholds, shapes, variances : rows of numbers.
    components : how variances are told.
    statistics : of whole models.
    """

    models: tuple[Model, ...] = field(repr=False)
    labels: Labels
    coefficients: tuple[Quantity, ...]
    thresholds: tuple[Quantity, ...]
    shapes: tuple[Quantity, ...]
    variances: tuple[Quantity, ...]
    components: Components | None
    statistics: tuple[Told, ...]

    @property
    def order(self) -> list[str]:
        """The coefficients shown."""
        return [row.term for row in self.coefficients]

    def lines(
        self, manner: Manner, groups: Mapping[str, Sequence[str]] | None, *, reference: bool
    ) -> Iterator[Line | Heading]:
        """The lines of the table.

        Parameters
        ----------
        manner : how cells are written.
        groups : coefficients by heading.
        reference : whether reference categories have a line.
        """
        if len(outcomes_of(self.models)) > 1:
            outcomes = [outcome_of(model) for model in self.models]
            cells = tuple(None if name is None else words_cell(self.labels(name)) for name in outcomes)
            yield Line(label="Outcome", cells=cells)
        extra = reference_lines(self.models, self.order, self.labels) if reference else {}
        rows_by_term = {row.term: row for row in self.coefficients}
        usual = "Fixed effects" if any(map(is_mixed, self.models)) else "Coefficients"
        for heading, members in grouped(self.order, groups):
            yield from section(heading or usual, [rows_by_term[term] for term in members], manner, extra)
        yield from section("Thresholds", self.thresholds, manner)
        yield from section(HEADINGS[self.components or "variance"], self.variances, manner)
        yield from section("Other parameters", self.shapes, manner)
        if self.statistics:
            yield Heading("Model")
            yield from (Line(label=told.label, cells=told.cells) for told in self.statistics)

    def notes(self, manner: Manner, level: float) -> Iterator[str]:
        """What the table says of itself."""
        likelihoods = not {told.term for told in self.statistics}.isdisjoint(LIKELIHOODS)
        return notes_of(
            self.models, manner.shown, level, manner.stars, self.order, self.labels, likelihoods=likelihoods
        )

    def frame(self) -> pd.DataFrame:
        """The numbers behind the cells, a row for each label and model."""
        return pd.DataFrame.from_records(list(self._records()), columns=list(COLUMNS))

    def _records(self) -> Iterator[dict[str, object]]:
        """The rows of `frame`."""
        for row in (*self.coefficients, *self.thresholds, *self.variances, *self.shapes):
            for model, numbers in zip(self.models, row.numbers, strict=True):
                if numbers is not None:
                    yield {"part": row.part, "term": row.term, "label": row.label, "model": model.name, **numbers}
        for told in self.statistics:
            for model, value in zip(self.models, told.values, strict=True):
                if value is not None:
                    names = {"part": "statistic", "term": told.term, "label": told.label, "model": model.name}
                    yield {**names, "estimate": float(value)}


def read_body(
    models: Sequence[Model], terms: Terms, statistics: Asked, *, level: float, random: Components | None
) -> Body:
    """The quantities of some models.

    Parameters
    ----------
    models : the columns.
    terms : which coefficients, in which order, and labels; see `table`.
    statistics : of whole models, or "auto".
    level : confidence level.
    random : how variances are told; None for not at all.
    """
    known = list(dict.fromkeys(term for model in models for term in model.coefficients.index))
    order, labels = arranged(known, terms, _others(models), _factors(models))
    body = Body(
        models=tuple(models), labels=labels,
        coefficients=tuple(rows.coefficients(models, order, labels)),
        thresholds=tuple(rows.thresholds(models, level)), shapes=tuple(rows.shapes(models, level)),
        variances=() if random is None else tuple(rows.variances(models, level, random, labels)),
        components=random, statistics=tuple(statistics_rows(models, statistics, labels)),
    )  # fmt: skip
    if not (body.coefficients or body.thresholds or body.variances or body.statistics):
        raise CrosslevelError("`models` have nothing to show: no coefficients are chosen, and no other rows.")
    return body


def _factors(models: Sequence[Model]) -> dict[str, tuple[str, ...]]:
    """What coefficients are products of, as far as the models know it."""
    columns = (column for model in models for column in getattr(getattr(model.source, "spec", None), "columns", ()))
    return {column.name: tuple(column.factors) for column in columns}


def _others(models: Sequence[Model]) -> Iterator[str]:
    """What may have a label though it is no coefficient: grouping factors, random effects, outcomes, "Residual"."""
    yield "Residual"
    for model in models:
        yield from model.entry.ngroups
        outcome = outcome_of(model)
        if outcome is not None:
            yield clean(outcome)
        if is_mixed(model):
            for factor in model.source.design.factors:
                yield from model.source.design.effects_of(factor)
