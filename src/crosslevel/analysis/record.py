"""The record of an analysis: every step as a field, and what follows from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from crosslevel.analysis.context_analysis import ContextAnalysis, Skipped
from crosslevel.analysis.ladder import Ladder
from crosslevel.analysis.moderation import Moderation
from crosslevel.diagnostics.coding import CodingReport
from crosslevel.display import Block, Document
from crosslevel.estimators.compare import Comparison
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.estimators.two_step_fit import TwoStepFit
from crosslevel.inference.bootstrap.record import Bootstrap
from crosslevel.inference.heterogeneity import Heterogeneity

if TYPE_CHECKING:
    from crosslevel.analysis.paper import Paper
    from crosslevel.analysis.pictures import Drawing


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis(ContextAnalysis):
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

    coding: CodingReport = field(repr=False)
    null: MixedFit = field(repr=False)
    invariant: MixedFit = field(repr=False)
    pooled: OLSFit = field(repr=False)
    fgls: TwoStepFit | Skipped = field(repr=False)
    adjusted: TwoStepFit | Skipped = field(repr=False)
    bootstraps: Mapping[str, Bootstrap] = field(repr=False)
    drawn: Comparison = field(repr=False)
    heterogeneity: Heterogeneity = field(repr=False)
    interactions: Mapping[str, Moderation | Skipped] = field(repr=False)
    ladder: Ladder = field(repr=False)

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
    def models(self) -> dict[str, MixedFit]:
        """The mixed models by name."""
        return {
            "Null": self.null, "Invariant": self.invariant, "Maximal": self.maximal, "Selected": self.selected,
        }  # fmt: skip

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

    @property
    def skipped(self) -> dict[str, Skipped]:
        """The steps that could not be done."""
        steps: dict[str, object] = {
            "two-step regression, FGLS": self.fgls,
            "two-step regression, adjusted": self.adjusted,
            "influence of each cluster": self.influence,
            **{f"slopes of {text}": found for text, found in self.interactions.items()},
        }
        return {name: found for name, found in steps.items() if isinstance(found, Skipped)}

    @property
    def facts(self) -> Mapping[str, Any]:
        """What analysis.json tells of the models beyond formulas and convergence, by name."""
        return {}

    # -- documents ------------------------------------------------------------------------------------------------
    def summary(self) -> Document:
        """The main results, to print or to show in a notebook."""
        from crosslevel.analysis.sections import in_short, short

        return short(self, in_short(self))

    def sections(self, pictures: Mapping[str, Sequence[Block]]) -> Iterator[Block]:
        """The report without its appendix, with the figures of each section."""
        from crosslevel.analysis.sections import whole

        return whole(self, pictures)

    def in_full(self, pictures: Mapping[str, Sequence[Block]]) -> Iterator[Block]:
        """What the appendix holds before the call and the versions."""
        from crosslevel.analysis.sections import in_full

        return in_full(self, pictures)

    def drawings(self) -> Iterator["Drawing"]:
        """The figures, in the order of the report, as they are drawn."""
        from crosslevel.analysis.pictures import drawn

        return drawn(self)

    def tables(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """All tables by the name of their file."""
        from crosslevel.analysis.tables import tables

        return tables(self)

    def texts(self) -> Iterator[tuple[str, str]]:
        """What to write, as paper.md."""
        yield "paper.md", self.paper.markdown
