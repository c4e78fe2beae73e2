"""The analysis of context effects from data to text, each step a call of what any user can call."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from crosslevel.analysis.context_analysis import Skipped
from crosslevel.analysis.ladder import ladder
from crosslevel.analysis.moderation import moderation
from crosslevel.analysis.progress import Steps, recorded
from crosslevel.analysis.question import Question, ask
from crosslevel.analysis.record import Analysis
from crosslevel.analysis.second import second_of
from crosslevel.analysis.tried import tried
from crosslevel.design.outcome import AskedOutcome
from crosslevel.diagnostics.coding import check_coding
from crosslevel.diagnostics.describe import describe
from crosslevel.diagnostics.influence import influence
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.compare import Comparison, compare
from crosslevel.estimators.mixed import mixed, other_family
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols import ols
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.estimators.two_step import StepMethod, two_step
from crosslevel.estimators.two_step_fit import TwoStepFit
from crosslevel.inference.bootstrap.record import Bootstrap
from crosslevel.inference.wald import check_level
from crosslevel.selection.record import Selection
from crosslevel.selection.select import select
from crosslevel.types import Frame, Missing

if TYPE_CHECKING:
    from crosslevel.analysis.generalized.record import GeneralizedAnalysis
    from crosslevel.families import Family
    from crosslevel.solve.generalized.solve import Integration

STEPS: tuple[StepMethod, ...] = ("fgls", "adjusted-fgls")
"""Second steps of the two-step regressions."""

LEAST_DRAWS = 100
"""Replicates without which the ends of a 95 % interval are guesses."""


@overload
def analyze(
    formula: str, data: Frame, context: Sequence[str] | str, *, group: str | None = ...,
    keep: Sequence[str] | None = ..., criterion: str = ..., n_boot: int = ..., seed: int = ..., level: float = ...,
    missing: Missing = ..., family: Literal["gaussian"] = ..., trials: str | None = ..., exposure: str | None = ...,
    quadrature: "Integration" = ..., folder: str | PathLike[str] | None = ..., overwrite: bool = ...,
    n_jobs: int | None = ..., progress: bool = ...,
) -> Analysis: ...  # fmt: skip
@overload
def analyze(
    formula: str, data: Frame, context: Sequence[str] | str, *, group: str | None = ...,
    keep: Sequence[str] | None = ..., criterion: str = ..., n_boot: int = ..., seed: int = ..., level: float = ...,
    missing: Missing = ..., family: "str | Family", trials: str | None = ..., exposure: str | None = ...,
    quadrature: "Integration" = ..., folder: str | PathLike[str] | None = ..., overwrite: bool = ...,
    n_jobs: int | None = ..., progress: bool = ...,
) -> "Analysis | GeneralizedAnalysis": ...  # fmt: skip
def analyze(
    formula: str,
    data: Frame,
    context: Sequence[str] | str,
    *,
    group: str | None = None,
    keep: Sequence[str] | None = None,
    criterion: str = "bic",
    n_boot: int = 2000,
    seed: int = 1,
    level: float = 0.95,
    missing: Missing = "drop",
    family: "str | Family" = "gaussian",
    trials: str | None = None,
    exposure: str | None = None,
    quadrature: "Integration" = "auto",
    folder: str | PathLike[str] | None = None,
    overwrite: bool = False,
    n_jobs: int | None = None,
    progress: bool = True,
) -> "Analysis | GeneralizedAnalysis":
    """Analyse context effects as a careful analyst would, and say what to write about them.

    The workflow of Heisig, Schaeffer & Giesecke (2017), with what has been learnt since: describe the clusters; check
    coding and centring; how much of the outcome lies between clusters; an invariant, a maximal and a selected model;
    other estimators beside them; three kinds of intervals for every context effect; how much coefficients differ
    between clusters; what cross-level interactions mean; which clusters the results depend on.

    Parameters
    ----------
    formula : outcome and all predictors, as in "trust ~ income * gdp + age". Its random part is the maximal model's; if
        it has no slopes, the maximal model lets all predictors within clusters vary (or, where there are fewer than two
        clusters for each random effect, those of cross-level interactions and the first others, and says so).
    data : a frame with its rows in memory.
    context : the cluster-level variables whose effects are studied, such as ["gdp"]: columns, or as the formula has
        them, "between(income, country)".
    group : the clusters, where the formula has no random part.
    keep : random slopes that the search never drops, beside those of cross-level interactions.
    criterion : of the search, see `cl.select`.
    n_boot : replicates of the cluster bootstrap of each model.
    seed : of all random numbers; the same seed gives the same results.
    level : confidence level of all intervals.
    missing : "drop" rows with a missing value in any variable, or "raise". All models are fitted to the same rows.
    family, trials, exposure, quadrature : as in `mixed`; trials and exposures are columns. With another family than
        "gaussian" the other estimators are a generalized linear model with cluster-robust standard errors, a
        conditional logit and a two-step regression; effects are also told on the scale of the outcome, averaged over
        the random effects; and only the selected model is bootstrapped.
    folder : where to save everything; see `Analysis.save`.
    overwrite : whether an analysis that is in `folder` already may be replaced.
    n_jobs : threads of the bootstrap.
    progress : whether to name each step on the standard error stream.

    Returns
    -------
    Analysis, or GeneralizedAnalysis with another family : every step as a field; `effects`, `summary()`,
    `report(path)`, `save(folder)`.

    Raises
    ------
    CrosslevelError : a wrong formula, context variables that vary within clusters, fewer clusters than context
        variables, or what any of the steps refuses.

    Examples
    --------
    >>> import crosslevel as cl
    >>> found = cl.analyze("mathach ~ ses * sector", cl.datasets.load("hsb"), context="sector", group="school",
    ...                    n_boot=100, progress=False)
    >>> found.effects[["estimate", "conf_low", "conf_high"]].round(2)
                          estimate  conf_low  conf_high
    term
    sector[Catholic]          2.14      1.46       2.81
    ses:sector[Catholic]     -1.31     -1.73      -0.89
    """
    _check(n_boot, seed, level)
    if folder is not None:
        from crosslevel.analysis.folder import check_folder

        check_folder(folder, overwrite=overwrite)
    given = {
        "formula": formula, "context": _names(context, "context"), "group": group,
        "keep": None if keep is None else _names(keep, "keep"), "criterion": criterion, "n_boot": n_boot, "seed": seed,
        "level": level, "missing": missing,
    }  # fmt: skip
    outcome = _outcome(family, trials, exposure, quadrature)
    found: Analysis | GeneralizedAnalysis
    with recorded() as warned:
        if outcome is None:
            found = _analyzed(data, given, n_jobs, Steps(total=11, shown=progress))
        else:
            found = _analyzed_outcome(data, {**given, "quadrature": quadrature}, outcome, n_jobs, shown=progress)
    found = replace(found, warned=tuple(warned))
    if folder is not None:
        found.save(folder, overwrite=overwrite)
    return found


def _outcome(family: "str | Family", trials: object, exposure: object, quadrature: object) -> AskedOutcome | None:
    """How a family reads the outcome; None for a linear model.

    Raises
    ------
    CrosslevelError : arguments of families in a linear model, or PQL and MQL, which maximise no likelihood.
    """
    linear = isinstance(family, str) and family.lower() == "gaussian"
    for name, value in (("trials", trials), ("exposure", exposure)):
        if value is not None and (linear or not isinstance(value, str)):
            raise CrosslevelError(f"`{name}` is a column, for another family than 'gaussian'; got {value!r}.")
    if linear:
        return None
    if quadrature in ("pql", "mql"):
        raise CrosslevelError(
            f"`quadrature` is {quadrature!r}, which maximises no likelihood, so that models cannot be compared. Use "
            "'auto', 'laplace' or a number of nodes."
        )
    return AskedOutcome(family=other_family(family), trials=trials, exposure=exposure)


def _analyzed_outcome(
    data: Frame, given: Mapping[str, Any], outcome: AskedOutcome, n_jobs: int | None, *, shown: bool
) -> "GeneralizedAnalysis":
    """The analysis of an outcome with a family."""
    from crosslevel.analysis.generalized.script import STEPS as TOTAL
    from crosslevel.analysis.generalized.script import analyze_generalized

    given = {**given, "family": outcome.family, "trials": outcome.trials, "exposure": outcome.exposure}
    return analyze_generalized(data, given, outcome, n_jobs, Steps(total=TOTAL, shown=shown))


def _analyzed(data: Frame, given: Mapping[str, Any], n_jobs: int | None, step: Steps) -> Analysis:
    """The analysis, step by step."""
    level, seed, n_boot = given["level"], given["seed"], given["n_boot"]
    question = ask(given["formula"], data, given["context"], group=given["group"], missing=given["missing"])
    rows, group = question.frame, question.group

    step("structure of the data")
    description = describe(rows, group, [name for name in rows.columns if name != group])
    step("coding and centring")
    coding = check_coding(question.maximal, rows)

    null, invariant, selection = fitted(question, given, step)
    mixed_models = models_of(invariant, selection)
    selected = mixed_models["Selected"]

    step("pooled regression with cluster-robust errors, two-step regressions")
    pooled = ols(question.fixed, rows, cluster=group, vcov="CR2")
    fgls, adjusted = (tried(partial(two_steps, question, invariant, method)) for method in STEPS)
    step(f"cluster bootstrap of each model, {n_boot:,} replicates")
    bootstraps = drawn(mixed_models, n_boot=n_boot, seed=seed, n_jobs=n_jobs, progress=step.shown)
    step("estimators side by side")
    others = {"OLS, CR2": pooled, "Two-step, FGLS": fgls, "Two-step, adjusted": adjusted}
    by_model, by_draws = side_by_side(mixed_models, others, bootstraps, question.effects(invariant), level)

    step("heterogeneity of the coefficients")
    heterogeneity = mixed_models["Maximal"].heterogeneity()
    step("cross-level interactions")
    moderations = {term.text: tried(partial(moderation, selected, term, level=level)) for term in question.levels.cross}
    step("influence of each cluster")
    influences = tried(partial(influence, selected, level=level, progress=step.shown))
    step("the ladder of the textbooks")
    steps = ladder(selection.formula, rows)
    return Analysis(
        question=question, description=description, coding=coding, null=null, invariant=invariant, selection=selection,
        pooled=pooled, fgls=fgls, adjusted=adjusted, bootstraps=bootstraps, comparison=by_model, drawn=by_draws,
        heterogeneity=heterogeneity, interactions=moderations, influence=influences, ladder=steps, given=given,
        warned=(),
    )  # fmt: skip


def fitted(question: Question, given: Mapping[str, Any], step: Steps) -> tuple[MixedFit, MixedFit, Selection]:
    """Fit the null and the invariant model, and search from the maximal model for the random effects."""
    rows = question.frame
    step("null model, invariant model")
    null = mixed(question.null, rows)
    invariant = mixed(question.invariant, rows)
    step(f"search for the random effects, from the maximal model by {given['criterion']}")
    selection = select(
        question.maximal, rows, given["keep"], given["criterion"], context=question.effects(invariant),
        components="curable", seed=given["seed"], progress=step.shown,
    )  # fmt: skip
    return null, invariant, selection


def models_of(invariant: MixedFit, selection: Selection) -> dict[str, MixedFit]:
    """The mixed models by name."""
    maximal, selected = selection.maximal, selection.fit
    assert isinstance(maximal, MixedFit)
    assert isinstance(selected, MixedFit)
    return {"Invariant": invariant, "Maximal": maximal, "Selected": selected}


def side_by_side(
    models: Mapping[str, MixedFit],
    others: Mapping[str, OLSFit | TwoStepFit | Skipped],
    bootstraps: Mapping[str, Bootstrap],
    effects: Sequence[str],
    level: float,
) -> tuple[Comparison, Comparison]:
    """The context effects by every estimator, and by the bootstraps, each relative to the invariant model."""
    done = {name: fit for name, fit in others.items() if not isinstance(fit, Skipped)}
    corrected = {"Selected, Kenward-Roger": (models["Selected"], "kenward-roger")}
    draws = {f"{name}, bootstrap": boot for name, boot in bootstraps.items()}
    return (
        compare({**models, **corrected, **done}, level=level, terms=effects),
        compare(draws, level=level, terms=effects),
    )


def two_steps(question: Question, fit: MixedFit, method: StepMethod) -> TwoStepFit:
    """Regress the clusters' own intercepts and slopes on context; see `second_of`.

    Parameters
    ----------
    question : which terms are of which level.
    fit : a mixed model of the same fixed effects, whose columns name the slopes.
    method : of the second step.
    """
    first, second = second_of(question, fit)
    return two_step(first, second, question.frame, cluster=question.group, method=method)


def drawn(
    models: Mapping[str, MixedFit], *, n_boot: int, seed: int, n_jobs: int | None, progress: bool
) -> dict[str, Bootstrap]:
    """Bootstrap each model with the same draws of clusters; models of one structure are one model.

    Raises
    ------
    KeyboardInterrupt : it was interrupted: intervals of a part of the replicates are not what was asked for.
    """
    found: dict[str, Bootstrap] = {}
    by_structure: dict[object, Bootstrap] = {}
    for name, fit in models.items():
        key = structure_of(fit)
        if key not in by_structure:
            by_structure[key] = fit.bootstrap(n_boot, "cluster", seed=seed, n_jobs=n_jobs, progress=progress)
            if by_structure[key].interrupted:
                raise KeyboardInterrupt
        found[name] = by_structure[key]
    return found


def structure_of(fit: MixedFit) -> frozenset[frozenset[str]]:
    """The blocks of random effects that vary together."""
    names = fit.design.random_names
    return frozenset(frozenset(names[k] for k in block) for block in fit.design.structure.columns)


def _names(given: object, argument: str) -> list[str]:
    """Names as a list; one name may stand for itself.

    Raises
    ------
    CrosslevelError : something else than names.
    """
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [None]
    if not all(isinstance(name, str) for name in names):
        raise CrosslevelError(f"`{argument}` is a list of names, such as ['gdp', 'inequality']; got {given!r}.")
    return [str(name) for name in names]


def _check(n_boot: object, seed: object, level: float) -> None:
    """Refuse arguments that mean nothing, before any work is done."""
    if isinstance(n_boot, bool) or not isinstance(n_boot, int | np.integer) or n_boot < LEAST_DRAWS:
        raise CrosslevelError(
            f"`n_boot` is a number of replicates, at least {LEAST_DRAWS}: fewer do not tell the ends of an interval; "
            f"got {n_boot!r}."
        )
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise CrosslevelError(
            f"`seed` is a whole number, 0 or more, so that the analysis can be repeated; got {seed!r}."
        )
    check_level(level)
