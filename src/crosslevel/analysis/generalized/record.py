"""The record of an analysis of an outcome with a family: every step as a field, and what follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from crosslevel.analysis.generalized.ladder import GeneralizedLadder
from crosslevel.analysis.question import Question
from crosslevel.analysis.record import Skipped
from crosslevel.diagnostics.coding import CodingReport
from crosslevel.diagnostics.describe import Description
from crosslevel.diagnostics.influence import Influence
from crosslevel.display import Document
from crosslevel.estimators.compare import Comparison
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.marginal_table import Margins
from crosslevel.estimators.responses.conditional_fit import ConditionalFit
from crosslevel.estimators.responses.glm_fit import GLMFit
from crosslevel.estimators.two_step_fit import TwoStepFit
from crosslevel.inference.bootstrap.record import Bootstrap
from crosslevel.selection.record import Selection


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneralizedAnalysis:
    """An analysis of context effects on an outcome with a family. A step that could not be done is a `Skipped`.

    Attributes
    ----------
    question : formulas, context variables, and the rows that all models are fitted to.
    description, coding : clusters and variables; what there is to say of coding and centring.
    null, invariant : the model without predictors; and the one whose slopes vary only in cross-level interactions.
    selection : the search, with the maximal model and the chosen one.
    pooled : the generalized linear model of all rows with cluster-robust standard errors.
    conditional : the conditional logit, for single binary answers.
    two_step : the two-step regression.
    bootstrap : of clusters, of the selected model.
    comparison : the context effects by all estimators.
    average_effects : by context variable, its average effect on the expected outcome, averaged over random effects.
    interactions : by cross-level interaction, the effect of its inner part on the expected outcome at values of its
        moderator.
    influence : of each cluster, on the selected model.
    ladder : the step-up building of the textbooks, up to the selected model.
    given : the arguments.
    warned : warnings of all steps, each once.
    """

    question: Question
    description: Description = field(repr=False)
    coding: CodingReport | Skipped = field(repr=False)
    null: GeneralizedFit = field(repr=False)
    invariant: GeneralizedFit = field(repr=False)
    selection: Selection = field(repr=False)
    pooled: GLMFit = field(repr=False)
    conditional: ConditionalFit | Skipped = field(repr=False)
    two_step: TwoStepFit | Skipped = field(repr=False)
    bootstrap: Bootstrap = field(repr=False)
    comparison: Comparison = field(repr=False)
    average_effects: Mapping[str, Margins | Skipped] = field(repr=False)
    interactions: Mapping[str, Margins | Skipped] = field(repr=False)
    influence: Influence | Skipped = field(repr=False)
    ladder: GeneralizedLadder = field(repr=False)
    given: Mapping[str, Any]
    warned: tuple[str, ...]

    # -- what was found -------------------------------------------------------------------------------------------
    @property
    def maximal(self) -> GeneralizedFit:
        """The model in which every slope varies that may."""
        fit = self.selection.maximal
        assert isinstance(fit, GeneralizedFit)
        return fit

    @property
    def selected(self) -> GeneralizedFit:
        """The chosen model."""
        fit = self.selection.fit
        assert isinstance(fit, GeneralizedFit)
        return fit

    @property
    def models(self) -> dict[str, GeneralizedFit]:
        """The mixed models by name."""
        return {
            "Null": self.null, "Invariant": self.invariant, "Maximal": self.maximal, "Selected": self.selected,
        }  # fmt: skip

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
        return self.question.effects(self.selected)

    @cached_property
    def effects(self) -> pd.DataFrame:
        """The context effects in the selected model, by term.

        estimate, std_error, df, statistic, p_value, conf_low, conf_high on the scale of the linear predictor;
        bootstrap_std_error, _low, _high (percentiles of the cluster bootstrap); and, where the link has ratios, ratio,
        ratio_low, ratio_high: odds, rate or hazard ratios given the random effects.
        """
        terms = list(self.terms)
        own = self.selected.tidy(level=self.level).loc[terms]
        ends = self.bootstrap.conf_int(self.level, terms=terms)
        own = own.assign(
            bootstrap_std_error=self.bootstrap.std_error[terms], bootstrap_low=ends["conf_low"],
            bootstrap_high=ends["conf_high"],
        )  # fmt: skip
        if self.selected.family.link not in ("logit", "log", "cloglog"):
            return own
        ratios = self.selected.ratios(level=self.level).loc[terms]
        return own.assign(
            ratio=ratios["estimate"], ratio_low=ratios["conf_low"], ratio_high=ratios["conf_high"]
        )  # fmt: skip

    @property
    def skipped(self) -> dict[str, Skipped]:
        """The steps that could not be done."""
        steps: dict[str, object] = {
            "coding and centring": self.coding,
            "conditional logit": self.conditional,
            "two-step regression": self.two_step,
            "influence of each cluster": self.influence,
            **{f"average effect of {name}": found for name, found in self.average_effects.items()},
            **{f"effects by {text}": found for text, found in self.interactions.items()},
        }
        return {name: found for name, found in steps.items() if isinstance(found, Skipped)}

    # -- documents ------------------------------------------------------------------------------------------------
    def summary(self) -> Document:
        """The main results, to print or to show in a notebook."""
        from crosslevel.analysis.generalized.sections import short

        return short(self)

    def report(self, path: str | PathLike[str]) -> Path:
        """Write one HTML file with everything: words, tables and figures; nothing is loaded from anywhere.

        Parameters
        ----------
        path : where to write, ending in .html.
        """
        from crosslevel.analysis.generalized.page import write_page

        return write_page(self, path)

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write everything into a folder, whole or not at all.

        report.html; tables/*.csv; figures/*.svg and *.png; log.txt, the analysis as text; analysis.json, the call, the
        seed, versions and every file.

        Parameters
        ----------
        folder : where; one that holds something is refused unless `overwrite` is true.
        overwrite : whether an earlier analysis may be replaced.

        Raises
        ------
        FileError : the folder cannot be written, or holds something.
        """
        from crosslevel.analysis.generalized.page import write_folder

        return write_folder(self, folder, overwrite=overwrite)

    def __str__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        return self.summary()._repr_html_()
