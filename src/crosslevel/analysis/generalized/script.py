"""The analysis of context effects on an outcome with a family, each step a call of what any user can call."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from crosslevel.analysis.context_analysis import Skipped
from crosslevel.analysis.generalized.ladder import generalized_ladder, given_of
from crosslevel.analysis.generalized.record import GeneralizedAnalysis
from crosslevel.analysis.levels import CrossLevelTerm
from crosslevel.analysis.moderation import bare
from crosslevel.analysis.progress import Steps
from crosslevel.analysis.question import Question, ask
from crosslevel.analysis.second import second_of
from crosslevel.analysis.tried import tried
from crosslevel.design.outcome import AskedOutcome
from crosslevel.diagnostics.coding import CodingReport, check_coding
from crosslevel.diagnostics.describe import describe
from crosslevel.diagnostics.influence import influence
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.compare import Comparison, compare
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.marginal_table import Margins
from crosslevel.estimators.mixed import mixed
from crosslevel.estimators.responses.conditional_fit import ConditionalFit
from crosslevel.estimators.responses.conditional_logit import conditional_logit
from crosslevel.estimators.responses.glm import glm
from crosslevel.estimators.slopes import slopes
from crosslevel.estimators.two_step import two_step
from crosslevel.estimators.two_step_fit import TwoStepFit
from crosslevel.selection.record import Selection
from crosslevel.selection.select import select
from crosslevel.types import Frame

STEPS = 10
"""Steps of the analysis."""


def analyze_generalized(
    data: Frame, given: Mapping[str, Any], outcome: AskedOutcome, n_jobs: int | None, step: Steps
) -> GeneralizedAnalysis:
    """The analysis, step by step; see `analyze`.

    Parameters
    ----------
    data : the frame.
    given : arguments of `analyze`.
    outcome : how the family reads the outcome.
    n_jobs : threads of the bootstrap.
    step : told what is being done.
    """
    level = given["level"]
    question = ask(
        given["formula"], data, given["context"], group=given["group"], missing=given["missing"], outcome=outcome
    )
    rows, group = question.frame, question.group
    step("structure of the data")
    description = describe(rows, group, [name for name in rows.columns if name != group])
    null, invariant, selection, coding = searched(question, given, outcome, step)
    selected, maximal = selection.fit, selection.maximal
    assert isinstance(selected, GeneralizedFit)
    assert isinstance(maximal, GeneralizedFit)

    step("model of all rows with cluster-robust errors, conditional logit, two-step regression")
    pooled = glm(
        question.fixed, rows, family=outcome.family, cluster=group, trials=outcome.trials, exposure=outcome.exposure
    )
    conditional = tried(partial(within_clusters, question, outcome))
    steps = tried(partial(two_steps, question, invariant, outcome))
    step(f"cluster bootstrap of the selected model, {given['n_boot']:,} replicates")
    boot = selected.bootstrap(given["n_boot"], "cluster", seed=given["seed"], n_jobs=n_jobs, progress=step.shown)
    if boot.interrupted:
        raise KeyboardInterrupt
    step("estimators side by side")
    fits = {"Invariant": invariant, "Maximal": maximal, "Selected": selected, "Selected, bootstrap": boot}
    others = {f"GLM, {pooled.whole.name}": pooled, "Conditional logit, CR1": conditional, "Two-step, FGLS": steps}
    comparison = side_by_side(fits, others, question.effects(invariant), level)
    step("effects on the expected outcome, averaged over the random effects")
    averages = {name: tried(partial(slopes, selected, bare(name), level=level)) for name in question.context}
    moderated = {
        term.text: tried(partial(at_moderators, selected, term, level=level)) for term in question.levels.cross
    }
    step("influence of each cluster")
    influences = tried(partial(influence, selected, level=level, progress=step.shown))
    step("the ladder of the textbooks")
    ladder = generalized_ladder(
        selection.formula, rows, outcome, group=None, missing="raise", quadrature=given["quadrature"]
    )
    return GeneralizedAnalysis(
        question=question, description=description, coding=coding, null=null, invariant=invariant, selection=selection,
        pooled=pooled, conditional=conditional, two_step=steps, bootstrap=boot, comparison=comparison,
        average_effects=averages, interactions=moderated, influence=influences, ladder=ladder, given=given, warned=(),
    )  # fmt: skip


def searched(
    question: Question, given: Mapping[str, Any], outcome: AskedOutcome, step: Steps
) -> tuple[GeneralizedFit, GeneralizedFit, Selection, CodingReport | Skipped]:
    """Fit the null and the invariant model, look at the coding, and search from the maximal model."""
    rows, models = question.frame, given_of(outcome, given["quadrature"])
    step("null model, invariant model")
    null, invariant = (mixed(formula, rows, **models) for formula in (question.null, question.invariant))
    step("coding and centring")
    coding = tried(partial(coding_of, question, invariant))
    step(f"search for the random effects, from the maximal model by {given['criterion']}")
    selection = select(
        question.maximal, rows, given["keep"], given["criterion"], context=question.effects(invariant),
        components="curable", seed=given["seed"], progress=step.shown, **models,
    )  # fmt: skip
    return null, invariant, selection, coding


def coding_of(question: Question, fit: GeneralizedFit) -> CodingReport:
    """What there is to say of the predictors; what it says of outcomes is for linear models, and left out.

    An outcome that is no column of numbers is stood in for by its share of ones, or the number of its category.
    """
    rows, formula = question.frame, question.maximal
    response = question.levels.response
    if response not in rows.columns or not pd.api.types.is_numeric_dtype(rows[response]):
        name = next(name for name in ("outcome", "the_outcome", "outcome_of_the_model") if name not in rows.columns)
        rows = rows.assign(**{name: fit.outcome.share})
        formula = f"{name} ~ {formula.partition('~')[2].strip()}"
    found = check_coding(formula, rows)
    own, stood_in = question.maximal.partition("~")[0].strip(), formula.partition("~")[0].strip()

    def as_asked(text: str) -> str:
        left, tilde, right = text.partition("~")
        return f"{own} ~{right}" if tilde and left.strip() == stood_in else text

    findings = tuple(replace(each, fix=as_asked(each.fix)) for each in found.findings if each.kind != "outcome")
    return replace(found, formula=as_asked(found.formula), fixed=as_asked(found.fixed), findings=findings)


def within_clusters(question: Question, outcome: AskedOutcome) -> ConditionalFit:
    """The conditional logit: of context effects those that are interactions with predictors within clusters.

    Raises
    ------
    CrosslevelError : another family or link, answers with trials, or nothing that varies within clusters.
    """
    family = outcome.family
    if family.name != "binomial" or family.link != "logit":
        raise CrosslevelError(f"A conditional logit is of binary answers with a logit link, not {family.description}.")
    if outcome.trials is not None:
        raise CrosslevelError("A conditional logit needs single answers, 0 or 1, one in each row.")
    if not question.levels.cross:
        raise CrosslevelError(
            "A conditional logit conditions away all that clusters have in common, and the formula has no cross-level "
            "interaction: no context effect is left."
        )
    return conditional_logit(question.fixed, question.frame, group=question.group, vcov="CR1")


def two_steps(question: Question, fit: GeneralizedFit, outcome: AskedOutcome) -> TwoStepFit:
    """Regress the clusters' own intercepts and slopes on context.

    Raises
    ------
    CrosslevelError : trials or exposures that are arguments, or a family that single clusters cannot tell.
    """
    if outcome.trials is not None or outcome.exposure is not None:
        raise CrosslevelError("Two-step regressions take no `trials` and no `exposure`.")
    first, second = second_of(question, fit)
    return two_step(first, second, question.frame, cluster=question.group, family=outcome.family)


def at_moderators(fit: GeneralizedFit, term: CrossLevelTerm, *, level: float) -> Margins:
    """The effect of a predictor within clusters on the expected outcome, at values of what moderates it.

    Raises
    ------
    CrosslevelError : the predictor or the moderator is itself a product of variables.
    """
    if ":" in term.slope or ":" in term.moderator:
        raise CrosslevelError(
            f"{term.text} is an interaction of more than two variables. Ask for its effects by "
            "cl.slopes(analysis.selected, x, by=[...])."
        )
    return slopes(fit, bare(term.slope), by=[bare(term.moderator)], level=level)


def side_by_side(
    fits: Mapping[str, Any], others: Mapping[str, Any], effects: tuple[str, ...], level: float
) -> Comparison:
    """The context effects by every estimator, relative to the invariant model."""
    done = {name: fit for name, fit in others.items() if not isinstance(fit, Skipped)}
    return compare({**fits, **done}, level=level, terms=effects)
