"""The record of an analysis of an outcome with a family: every step as a field, and what follows from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from crosslevel.analysis.context_analysis import ContextAnalysis, Skipped
from crosslevel.analysis.generalized.ladder import GeneralizedLadder
from crosslevel.diagnostics.coding import CodingReport
from crosslevel.display import Block, Document
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.marginal_table import Margins
from crosslevel.estimators.responses.conditional_fit import ConditionalFit
from crosslevel.estimators.responses.glm_fit import GLMFit
from crosslevel.estimators.two_step_fit import TwoStepFit
from crosslevel.inference.bootstrap.record import Bootstrap

if TYPE_CHECKING:
    from crosslevel.analysis.pictures import Drawing


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneralizedAnalysis(ContextAnalysis):
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

    coding: CodingReport | Skipped = field(repr=False)
    null: GeneralizedFit = field(repr=False)
    invariant: GeneralizedFit = field(repr=False)
    pooled: GLMFit = field(repr=False)
    conditional: ConditionalFit | Skipped = field(repr=False)
    two_step: TwoStepFit | Skipped = field(repr=False)
    bootstrap: Bootstrap = field(repr=False)
    average_effects: Mapping[str, Margins | Skipped] = field(repr=False)
    interactions: Mapping[str, Margins | Skipped] = field(repr=False)
    ladder: GeneralizedLadder = field(repr=False)

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

    @property
    def facts(self) -> Mapping[str, Any]:
        """What analysis.json tells of the models beyond formulas and convergence, by name."""
        return {"nodes": {name.lower(): fit.quadrature.nodes for name, fit in self.models.items()}}

    # -- documents ------------------------------------------------------------------------------------------------
    def summary(self) -> Document:
        """The main results, to print or to show in a notebook."""
        from crosslevel.analysis.generalized.sections import in_short
        from crosslevel.analysis.sections import short

        return short(self, in_short(self))

    def sections(self, pictures: Mapping[str, Sequence[Block]]) -> Iterator[Block]:
        """The report without its appendix, with the figures of each section."""
        from crosslevel.analysis.generalized.sections import whole

        return whole(self, pictures)

    def in_full(self, pictures: Mapping[str, Sequence[Block]]) -> Iterator[Block]:
        """What the appendix holds before the call and the versions."""
        from crosslevel.analysis.generalized.sections import in_full

        return in_full(self, pictures)

    def drawings(self) -> Iterator["Drawing"]:
        """The figures, in the order of the report, as they are drawn."""
        from crosslevel.analysis.generalized.pictures import drawn

        return drawn(self)

    def tables(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """All tables by the name of their file."""
        from crosslevel.analysis.generalized.tables import tables

        return tables(self)

    def texts(self) -> Iterator[tuple[str, str]]:
        """None: what to write stands in the report."""
        return iter(())
