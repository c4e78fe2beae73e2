"""`check`: traffic lights in words for what goes wrong most often with a multilevel model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pandas as pd

from crosslevel.diagnostics.checks import clusters, codes, context, estimation, predictors
from crosslevel.diagnostics.checks.light import Light
from crosslevel.diagnostics.checks.subject import Subject
from crosslevel.diagnostics.diagnostic import CONCERNS, AnyFit, Concern, worst
from crosslevel.display import Block, Document, Paragraph, Row, Section, Table, counted
from crosslevel.errors import CrosslevelError

QUESTIONS: tuple[Callable[[Subject], Iterator[Light]], ...] = (
    estimation.convergence,
    estimation.singularity,
    estimation.rows,
    codes.missing_codes,
    clusters.number_of_clusters,
    clusters.predictors_of_clusters,
    clusters.size_of_clusters,
    context.unmodelled_slopes,
    context.outlying_clusters,
    predictors.scale,
    predictors.zero_outside,
    predictors.collinearity,
    estimation.notes,
)
"""All checks, in the order in which they are done."""

WORDS: dict[Concern, str] = {"act": "Do something about", "look": "Look at", "none": "In order"}
"""Headings of the lights, red, amber and green."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Check:
    """The lights of a model.

    Attributes
    ----------
    formula : of the model.
    lights : one for each finding, the most worrying first.
    """

    formula: str
    lights: tuple[Light, ...] = field(repr=False)

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each light: check, concern ("none", "look", "act"), finding, advice."""
        rows = [(light.name, light.concern, light.finding, light.advice) for light in self.lights]
        return pd.DataFrame(rows, columns=["check", "concern", "finding", "advice"])

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is off, and what to do; one sentence where nothing is."""
        found = tuple(f"{light.finding} {light.advice}".strip() for light in self.lights if light.concern != "none")
        checks = "The only check is" if len(self.lights) == 1 else f"All {len(self.lights)} checks are"
        return found or (f"{checks} in order.",)

    @property
    def concern(self) -> Concern:
        """The most worrying light."""
        return worst([light.concern for light in self.lights])

    def of(self, concern: Concern) -> tuple[Light, ...]:
        """The lights of one colour."""
        return tuple(light for light in self.lights if light.concern == concern)

    def document(self) -> Document:
        """The lights as a table, the most worrying first."""
        return Document(f"Checks of {self.formula}", list(_blocks(self)))

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def check(fit: AnyFit) -> Check:
    """Check a model for what goes wrong most often, and say what to do about it.

    Convergence; singular fits; missing rows; few clusters, also for the cluster-level predictors, and small ones;
    cross-level interactions without the random slope they explain; context variables with one outlying cluster; scale
    and zero of predictors; collinearity over all rows, within and between clusters (generalized variance inflation);
    and what the fit itself remarks.

    Parameters
    ----------
    fit : of `mixed` or `ols`.

    Returns
    -------
    Check : prints as lights in words; `.lights`, `.frame`, `.sentences`, `.concern` ("none", "look" or "act").

    Raises
    ------
    CrosslevelError : something else is given.

    Source
    ------
    Snijders & Bosker (2012), Multilevel Analysis, chapter 10; Heisig & Schaeffer (2019), European Sociological Review
    35: 258-279, on random slopes of cross-level interactions; Fox & Monette (1992), JASA 87: 178-183.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses * sector + (1 | school)", cl.datasets.load("hsb"))
    >>> found = cl.check(fit)
    >>> found.concern
    'act'
    >>> found.lights[0].advice
    'Add a random slope: (ses | school).'
    """
    if not isinstance(fit, AnyFit):
        raise CrosslevelError(
            f"`check` is for fits of cl.mixed and cl.ols; got {type(fit).__name__}. Fit the model by one of them."
        )
    subject = Subject(fit=fit)
    found = [light for question in QUESTIONS for light in question(subject)]
    ordered = sorted(found, key=lambda light: -CONCERNS.index(light.concern))
    return Check(formula=fit.formula, lights=tuple(ordered))


def _blocks(found: Check) -> Iterator[Block]:
    """How many of each colour, and all of them."""
    counts = {concern: len(found.of(concern)) for concern in CONCERNS}
    yield Paragraph(
        f"{counted(counts['act'])} to act on, {counted(counts['look'])} to look at, {counted(counts['none'])} in order."
    )
    rows: list[Row] = []
    for concern in reversed(CONCERNS):
        lights = found.of(concern)
        if lights:
            rows.append(Section(WORDS[concern]))
            rows += [[light.name, f"{light.finding} {light.advice}".strip()] for light in lights]
    yield Table(["Check", "Finding, and what to do"], rows)
