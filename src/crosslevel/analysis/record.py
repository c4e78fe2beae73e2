"""The record of an analysis: every step as a field, and what follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from crosslevel.analysis.ladder import Ladder
from crosslevel.analysis.moderation import Moderation
from crosslevel.analysis.question import Question
from crosslevel.diagnostics.coding import CodingReport
from crosslevel.diagnostics.describe import Description
from crosslevel.diagnostics.influence import Influence
from crosslevel.display import Document
from crosslevel.estimators.compare import Comparison
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.estimators.two_step_fit import TwoStepFit
from crosslevel.inference.bootstrap.record import Bootstrap
from crosslevel.inference.heterogeneity import Heterogeneity
from crosslevel.selection.record import Selection

if TYPE_CHECKING:
    from crosslevel.analysis.paper import Paper


@dataclass(frozen=True, kw_only=True, eq=False)
class Skipped:
    """A step that could not be done for this model or these data.

    Attributes
    ----------
    reason : why, and what to do.
    """

    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """An analysis of context effects. A step that could not be done is a `Skipped` with its reason.

    Attributes
    ----------
    question : formulas, context variables, and the rows that all models are fitted to.
    description : clusters and variables.
    coding : what there is to say of coding and centring.
    null, invariant : the model without predictors; and the one whose slopes vary only in cross-level interactions.
    selection : the search, with the maximal model and the chosen one.
    pooled : the regression of all rows with CR2 standard errors.
    fgls, adjusted : the two-step regressions.
    bootstraps : of clusters, by model: "Invariant", "Maximal", "Selected".
    comparison : the context effects by all estimators, with the widths of their intervals relative to the invariant
        model's.
    drawn : the same with bootstrap intervals.
    heterogeneity : how much coefficients differ between clusters, in the maximal model.
    interactions : simple slopes and regions of significance, by cross-level interaction.
    influence : of each cluster, on the selected model.
    ladder : the step-up building of the textbooks, up to the selected model.
    given : the arguments.
    warned : warnings of all steps, each once.
    """

    question: Question
    description: Description = field(repr=False)
    coding: CodingReport = field(repr=False)
    null: MixedFit = field(repr=False)
    invariant: MixedFit = field(repr=False)
    selection: Selection = field(repr=False)
    pooled: OLSFit = field(repr=False)
    fgls: TwoStepFit | Skipped = field(repr=False)
    adjusted: TwoStepFit | Skipped = field(repr=False)
    bootstraps: Mapping[str, Bootstrap] = field(repr=False)
    comparison: Comparison = field(repr=False)
    drawn: Comparison = field(repr=False)
    heterogeneity: Heterogeneity = field(repr=False)
    interactions: Mapping[str, Moderation | Skipped] = field(repr=False)
    influence: Influence | Skipped = field(repr=False)
    ladder: Ladder = field(repr=False)
    given: Mapping[str, Any]
    warned: tuple[str, ...]

    # -- what was found -------------------------------------------------------------------------------------------
    @property
    def maximal(self) -> MixedFit:
        """The model in which every slope varies that may."""
        fit = self.selection.maximal
        assert isinstance(fit, MixedFit)
        return fit

    @property
    def selected(self) -> MixedFit:
        """The chosen model."""
        fit = self.selection.fit
        assert isinstance(fit, MixedFit)
        return fit

    @property
    def level(self) -> float:
        """Confidence level of all intervals."""
        return float(self.given["level"])

    @property
    def converged(self) -> bool:
        """Whether every model reached its optimum."""
        return all(fit.converged for fit in (self.null, self.invariant, self.maximal, self.selected))

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """Names of the context effects."""
        return self.question.effects(self.selected)

    @cached_property
    def effects(self) -> pd.DataFrame:
        """The context effects in the selected model, by term.

        estimate, std_error, df, statistic, p_value, conf_low, conf_high, by the t tests of the fit (`selected.ddf`);
        kenward_roger_std_error, _df, _p_value, _low, _high; bootstrap_std_error, _low, _high (percentiles of the
        cluster bootstrap).
        """
        terms = list(self.terms)
        own = self.selected.tidy(level=self.level).loc[terms]
        corrected = self.selected.tests("kenward-roger", level=self.level).loc[terms]
        boot = self.bootstraps["Selected"]
        ends = boot.conf_int(self.level, terms=terms)
        return own.assign(
            kenward_roger_std_error=corrected["std_error"], kenward_roger_df=corrected["df"],
            kenward_roger_p_value=corrected["p_value"], kenward_roger_low=corrected["conf_low"],
            kenward_roger_high=corrected["conf_high"], bootstrap_std_error=boot.std_error[terms],
            bootstrap_low=ends["conf_low"], bootstrap_high=ends["conf_high"],
        )  # fmt: skip

    @cached_property
    def widths(self) -> pd.DataFrame:
        """Widths of the context effects' intervals in % more than the invariant model's, by term.

        Columns are (estimator, "t" or "bootstrap"): t intervals against the invariant model's t interval, bootstrap
        intervals against its bootstrap interval. Negative is narrower.
        """
        by_t, by_draws = self.comparison.wide(), self.drawn.wide()
        parts = {(name, "t"): by_t[name] for name in by_t.columns[1:]}
        parts |= {(name.removesuffix(", bootstrap"), "bootstrap"): by_draws[name] for name in by_draws.columns[1:]}
        frame = pd.DataFrame(parts)
        frame.columns = pd.MultiIndex.from_tuples(list(parts), names=["estimator", "interval"])
        return frame[[key for name in by_t.columns[1:] for key in parts if key[0] == name]]

    @cached_property
    def paper(self) -> "Paper":
        """What to write: a methods and a results paragraph, and the model's equations in text and LaTeX."""
        from crosslevel.analysis.paper import paper_of

        return paper_of(self)

    # -- documents ------------------------------------------------------------------------------------------------
    def summary(self) -> Document:
        """The main results, to print or to show in a notebook."""
        from crosslevel.analysis.sections import short

        return short(self)

    def report(self, path: str | PathLike[str]) -> Path:
        """Write one HTML file with everything: words, tables and figures; nothing is loaded from anywhere.

        Parameters
        ----------
        path : where to write, ending in .html.

        Returns
        -------
        path : where it was written.
        """
        from crosslevel.analysis.page import write_page

        return write_page(self, path)

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write everything into a folder: whole or not at all.

        report.html; tables/*.csv; figures/*.svg and *.png; log.txt, the analysis as text; paper.md, what to write;
        analysis.json, the call, the seed, versions and every file.

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

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        return self.summary()._repr_html_()
