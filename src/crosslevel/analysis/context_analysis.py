"""What analyses of context effects have in common, whatever the distribution of the outcome."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from crosslevel.analysis.question import Question
from crosslevel.diagnostics.describe import Description
from crosslevel.diagnostics.influence import Influence
from crosslevel.display import Block, Document
from crosslevel.estimators.compare import Comparison
from crosslevel.estimators.fitted_mixed import FittedMixed
from crosslevel.report.reportable import Reportable
from crosslevel.selection.record import Selection

if TYPE_CHECKING:
    from crosslevel.analysis.pictures import Drawing


@dataclass(frozen=True, kw_only=True, eq=False)
class Skipped:
    """A step that could not be done for this model or these data.

    Attributes
    ----------
    reason : why, and what to do.
    """

    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ContextAnalysis(Reportable):
    """An analysis of context effects: `Analysis` of a linear outcome, `GeneralizedAnalysis` of other families.

    A final class gives the abstract members; nothing else is overridden.

    Attributes
    ----------
    question : formulas, context variables, and the rows that all models are fitted to.
    description : clusters and variables.
    selection : the search, with the maximal model and the chosen one.
    comparison : the context effects by all estimators.
    influence : of each cluster, on the selected model.
    given : the arguments.
    warned : warnings of all steps, each once.
    """

    question: Question
    description: Description = field(repr=False)
    selection: Selection = field(repr=False)
    comparison: Comparison = field(repr=False)
    influence: Influence | Skipped = field(repr=False)
    given: Mapping[str, Any]
    warned: tuple[str, ...]

    # -- what a final class gives ---------------------------------------------------------------------------------
    @property
    @abstractmethod
    def models(self) -> Mapping[str, FittedMixed]:
        """The mixed models by name: "Null", "Invariant", "Maximal", "Selected"."""

    @property
    @abstractmethod
    def effects(self) -> pd.DataFrame:
        """The context effects in the selected model, by term."""

    @property
    @abstractmethod
    def skipped(self) -> Mapping[str, Skipped]:
        """The steps that could not be done."""

    @property
    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """What analysis.json tells of the models beyond formulas and convergence, by name."""

    @abstractmethod
    def summary(self) -> Document:
        """The main results, to print or to show in a notebook."""

    @abstractmethod
    def sections(self, pictures: Mapping[str, Sequence[Block]]) -> Iterator[Block]:
        """The report without its appendix, with the figures of each section."""

    @abstractmethod
    def in_full(self, pictures: Mapping[str, Sequence[Block]]) -> Iterator[Block]:
        """What the appendix holds before the call and the versions."""

    @abstractmethod
    def drawings(self) -> Iterator["Drawing"]:
        """The figures, in the order of the report, as they are drawn."""

    @abstractmethod
    def tables(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """All tables by the name of their file."""

    @abstractmethod
    def texts(self) -> Iterator[tuple[str, str]]:
        """Files of words beside report and log, each with its name."""

    # -- what was found -------------------------------------------------------------------------------------------
    @property
    def level(self) -> float:
        """Confidence level of all intervals."""
        return float(self.given["level"])

    @property
    def converged(self) -> bool:
        """Whether every model reached its optimum."""
        return all(fit.converged for fit in self.models.values())

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """Names of the context effects."""
        return self.question.effects(self.models["Selected"])

    # -- documents ------------------------------------------------------------------------------------------------
    def report(self, path: str | PathLike[str], *, title: str | None = None, data: bool = False) -> Path:
        """Write one HTML file with everything: words, tables and figures; nothing is loaded from anywhere.

        Parameters
        ----------
        path : where to write. Ending in .html, the page; ending in .zip, what `save` writes, with code and versions.
        title : of the page; the outcome and the clusters if None.
        data : whether a bundle holds the rows and columns that were used.

        Returns
        -------
        path : where it was written.
        """
        from crosslevel.analysis.page import write_page

        return write_page(self, path, title, data=data)

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write everything into a folder: whole or not at all.

        report.html; tables/*.csv; figures/*.svg and *.png; log.txt, the analysis as text; of a linear outcome paper.md,
        what to write; analysis.json, the call, the seed, versions and every file.

        Parameters
        ----------
        folder : made by this; one that holds something is refused unless `overwrite` is true, and even then if it holds
            files that no analysis wrote.
        overwrite : whether an earlier analysis may be replaced.

        Returns
        -------
        folder : where it was written.

        Raises
        ------
        FileError : the folder cannot be written, or holds something.
        """
        from crosslevel.analysis.folder import write_folder

        return write_folder(self, folder, overwrite=overwrite)

    def __str__(self) -> str:
        return str(self.summary())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        return self.summary()._repr_html_()
