"""Which draws and which refits answer `MixedFit.bootstrap` for a model."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from crosslevel.errors import CrosslevelError, MemoryShortageError
from crosslevel.estimators.asked.bootstrap import Failed, Kind, Leverage, Singular, Weights
from crosslevel.inference.bootstrap.batch import Batch, Outcome, failed, names_of, values_of
from crosslevel.inference.bootstrap.draws import Clusters, Draw, Parametric, Wild, counted
from crosslevel.inference.bootstrap.jackknife import accelerations
from crosslevel.inference.bootstrap.nested import NestedClusters, is_chain, outermost
from crosslevel.inference.bootstrap.record import Bootstrap
from crosslevel.inference.bootstrap.refits import refit
from crosslevel.inference.bootstrap.rows import ModelRows, Reflated, Responses, WildRows
from crosslevel.inference.bootstrap.run import Work, run
from crosslevel.inference.bootstrap.setting import Setting
from crosslevel.kernels.first_use import announce_compilation
from crosslevel.optimise import TOLERANCE
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit

Stop = Callable[[], bool]
Outcomes = Callable[[np.random.Generator], FloatArray]
"""Draws one outcome (n,), less the offset."""


def entropy_of(seed: object) -> int:
    """What all random numbers come from: a seed as given, drawn from a generator, or new.

    Raises
    ------
    CrosslevelError : it is none of these.
    """
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(0, 2**63))
    if seed is None:
        found = np.random.SeedSequence().entropy
        assert isinstance(found, int)
        return found
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise CrosslevelError(f"`seed` is a whole number, not negative, or a generator; got {seed!r}.")
    return int(seed)


def check_choices(**given: tuple[object, Any]) -> None:
    """Refuse values that are none of a Literal's, by argument: (value, Literal).

    Raises
    ------
    CrosslevelError : one is not.
    """
    for name, (value, choices) in given.items():
        if value not in get_args(choices):
            options = ", ".join(map(repr, get_args(choices)))
            raise CrosslevelError(f"`{name}` is one of {options}; got {value!r}.")


def check_counts(**given: object) -> None:
    """Refuse what is neither None nor a whole number from 1, by argument.

    Raises
    ------
    CrosslevelError : one is not.
    """
    for name, value in given.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
            raise CrosslevelError(f"`{name}` is a whole number, at least 1; got {value!r}.")


def threads_of(n_jobs: int | None) -> int:
    """How many threads compute: as many as there are processors for None."""
    if n_jobs is not None:
        return int(n_jobs)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """The arguments of `MixedFit.bootstrap`; see there."""

    n: int
    kind: Kind
    seed: int | np.random.Generator | None
    n_jobs: int | None
    weights: Weights
    leverage: Leverage
    failed: Failed
    singular: Singular
    progress: bool

    def check(self) -> None:
        """Refuse values that no argument has."""
        check_choices(
            kind=(self.kind, Kind), weights=(self.weights, Weights), leverage=(self.leverage, Leverage),
            failed=(self.failed, Failed), singular=(self.singular, Singular),
        )  # fmt: skip
        check_counts(n=self.n, n_jobs=self.n_jobs)

    @property
    def entropy(self) -> int:
        """What all seeds come from."""
        return entropy_of(self.seed)

    @property
    def threads(self) -> int:
        """How many threads compute."""
        return threads_of(self.n_jobs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How replicates are made.

    Attributes
    ----------
    work : draws and refits.
    about : what is drawn, in words.
    jackknife : computes the accelerations of BCa intervals; None without independent clusters.
    """

    work: Work
    about: str
    jackknife: Callable[[], FloatArray] | None


def bootstrapped(fit: "MixedFit", asked: Request) -> Bootstrap:
    """What `MixedFit.bootstrap` answers; see there."""
    asked.check()
    entropy = asked.entropy
    plan = planned(fit, asked)
    announce_compilation("refits" if _is_lean(fit) else "one")
    done = run(
        plan.work, n=asked.n, entropy=entropy, n_jobs=asked.threads, failed=asked.failed, progress=asked.progress
    )
    design, solution = fit.design, fit.solution
    return Bootstrap(
        kind=asked.kind,
        about=plan.about,
        names=names_of(design, solution),
        estimate=values_of(design, solution),
        std_errors=np.sqrt(np.diag(solution.vcov)),
        batch=done.batch,
        number=done.number,
        asked=asked.n,
        seed=entropy,
        singular=asked.singular,
        interrupted=done.interrupted,
        accelerations=plan.jackknife,
        no_spread=WILD_SPREAD if asked.kind == "wild" else "",
        no_errors=SAMPLED_ERRORS if design.is_sampled else "",
    )


WILD_SPREAD = (
    "a wild bootstrap keeps the size of each cluster's residuals, and tells how uncertain coefficients are, not "
    "variances. Use kind='cluster' or 'parametric' for those."
)

SAMPLED_ERRORS = (
    "with sampling weights standard errors come from the sandwich, which the refits do not compute. Use 'percentile', "
    "'basic', 'normal' or 'bca'."
)


def planned(fit: "MixedFit", asked: Request) -> Plan:
    """Choose the draws and the refits.

    Raises
    ------
    CrosslevelError : the kind is not defined for this model.
    """
    refuse(fit, asked.kind)
    if _is_lean(fit):
        return _one_factor(fit, asked)
    return _clusters_of_several(fit) if asked.kind == "cluster" else _outcomes_of_several(fit, asked)


def refuse(fit: "MixedFit", kind: str) -> None:
    """Refuse kinds that are not defined for a model."""
    design = fit.design
    weights = design.weights
    if weights is not None and weights.is_sampling and (kind != "cluster" or not design.is_single):
        raise CrosslevelError(
            f"`kind` is {kind!r}, and with sampling weights the rows are a sample with unequal probabilities, of which "
            "the model says nothing: only whole clusters can be drawn again, of one grouping factor. "
            + ("Use kind='cluster'." if design.is_single else "Use the standard errors of the fit.")
        )
    if design.residual is not None and kind != "parametric":
        raise CrosslevelError(
            f"`kind` is {kind!r}, which takes rows apart from each other or counts clusters anew; residuals with a "
            f"structure ({design.residual.words}) are drawn by kind='parametric' only. Use that."
        )
    rows_needed = kind == "residual" or not design.is_single
    if rows_needed and weights is not None and weights.is_frequency and kind != "cluster":
        raise CrosslevelError(
            f"`kind` is {kind!r}, which draws an outcome for each row here, and with frequency weights a row stands "
            "for several. Repeat the rows and fit without weights."
        )
    if kind == "residual" and design.stream is not None:
        raise CrosslevelError(
            "`kind` is 'residual', which draws the residuals of all rows anew each time; these data were read in "
            "batches. Use 'cluster', 'parametric' or 'wild', which need cross-products only."
        )
    if kind != "parametric" and any(factor.structure.fixed.any() for factor in design.factors):
        raise CrosslevelError(
            f"`kind` is {kind!r}, and random effects of known covariance (equalto) belong to these very rows and "
            "clusters: they cannot be exchanged. Use kind='parametric'."
        )


def _is_lean(fit: "MixedFit") -> bool:
    """Whether the likelihood is a sum over the clusters of one factor, made of reduced cross-products."""
    design = fit.design
    return design.is_single and design.residual is None and not design.structure.fixed.any()


# -- one grouping factor ------------------------------------------------------------------------------------------
def _one_factor(fit: "MixedFit", asked: Request) -> Plan:
    """Draws of the cross-products of a model with one grouping factor."""
    design, reml = fit.design, fit.method == "reml"
    tolerance = TOLERANCE * (design.products.weight / design.nobs if design.is_sampled else 1.0)
    setting = Setting.of(design, fit.solution, reml=reml, tolerance=tolerance, max_steps=int(fit.given["max_steps"]))
    group = design.group
    if asked.kind == "cluster":
        draw: Callable[[np.random.Generator], Draw] = Clusters(setting=setting).draw
        about = f"{setting.n_clusters} clusters of {group}, with replacement"
    elif asked.kind == "parametric":
        draw, about = Parametric.of(setting).draw, f"random effects of {group} and residuals, from the fitted model"
    elif asked.kind == "wild":
        draw = Wild.of(setting, weights=asked.weights, leverage=asked.leverage).draw
        about = f"marginal residuals by {group}, with {asked.weights} weights, leverage {asked.leverage}"
    else:
        rows = ModelRows.of(design)
        source, turn = Reflated.of(rows, fit.solution), Responses(setting=setting, rows=rows, design=design)
        draw, about = partial(_resampled, source, turn), f"reflated random effects of {group} and residuals"
    return Plan(
        work=partial(_draw_and_refit, setting, design, draw),
        about=about,
        jackknife=partial(accelerations, setting.n_clusters, partial(_counted, setting, design)),
    )


def _draw_and_refit(
    setting: Setting, design: Any, draw: Callable[[np.random.Generator], Draw], rng: np.random.Generator, n: int,
    stopped: Stop,
) -> Batch:  # fmt: skip
    """Draw and refit n replicates of cross-products."""
    return refit(setting, design, [draw(rng) for _ in range(n)])


def _counted(setting: Setting, design: Any, times: FloatArray) -> Batch:
    """Refit with clusters counted so many times."""
    return refit(setting, design, [counted(setting, times)])


def _resampled(source: Reflated, turn: Responses, rng: np.random.Generator) -> Draw:
    """Cross-products of resampled random effects and residuals."""
    return turn.draw(source.resampled(rng))


# -- several grouping factors, residual structures ----------------------------------------------------------------
def _clusters_of_several(fit: "MixedFit") -> Plan:
    """Draws of the clusters of the outermost of several nested factors."""
    nested = _nested(fit)
    if nested is None:
        names = ", ".join(factor.name for factor in fit.design.factors)
        raise CrosslevelError(
            f"`kind` is 'cluster', and the grouping factors ({names}) are not nested in each other: levels share rows "
            "crosswise, so that no clusters are independent and can be drawn. Use kind='parametric', 'residual' or "
            "'wild'."
        )
    name = fit.design.factors[nested.outermost].name
    return Plan(
        work=partial(_draw_clusters, nested),
        about=f"{nested.n_clusters} clusters of {name} with all in them, with replacement",
        jackknife=partial(accelerations, nested.n_clusters, nested.refit),
    )


def _nested(fit: "MixedFit") -> NestedClusters | None:
    """The clusters of the outermost factor, if all factors are nested in each other."""
    design, plain = fit.design, fit.design.residual is None
    factor = outermost(design) if design.factors and plain and not design.is_sampled else None
    known = any(factor.structure.fixed.any() for factor in design.factors)
    if factor is None or known or design.is_single or not is_chain(design):
        return None
    max_steps = int(fit.given["max_steps"])
    return NestedClusters.of(design, fit.solution, reml=fit.method == "reml", factor=factor, max_steps=max_steps)


def _draw_clusters(nested: NestedClusters, rng: np.random.Generator, n: int, stopped: Stop) -> Batch:
    """Draw and refit n replicates of whole clusters."""
    parts: list[Batch] = []
    for _ in range(n):
        times = np.bincount(rng.integers(0, nested.n_clusters, nested.n_clusters), minlength=nested.n_clusters)
        parts.append(nested.refit(times.astype(np.float64)))
        if stopped():
            break
    return Batch.joined(parts)


def _outcomes_of_several(fit: "MixedFit", asked: Request) -> Plan:
    """Outcomes drawn row by row, and ordinary fits to them."""
    design = fit.design
    groups = ", ".join(factor.name for factor in design.factors)
    if asked.kind == "parametric":
        draw: Outcomes = partial(_simulated, fit)
        about = f"random effects of {groups} and residuals, from the fitted model" if groups else "residuals"
    else:
        draw, about = _from_rows(fit, asked, groups)
    nested = _nested(fit)
    return Plan(
        work=partial(_draw_outcomes, fit, draw),
        about=about,
        jackknife=None if nested is None else partial(accelerations, nested.n_clusters, nested.refit),
    )


def _from_rows(fit: "MixedFit", asked: Request, groups: str) -> tuple[Outcomes, str]:
    """Draws of outcomes from the residuals of the rows, and what they are called."""
    design, rows, factor = fit.design, ModelRows.of(fit.design), outermost(fit.design)
    if asked.kind == "wild" and factor is not None:
        wild = WildRows.of(
            rows, fit.solution, design.used_codes(factor), factor.n_levels, weights=asked.weights,
            leverage=asked.leverage,
        )  # fmt: skip
        return (
            wild.draw,
            f"marginal residuals by {factor.name}, with {asked.weights} weights, leverage {asked.leverage}",
        )
    source = Reflated.of(rows, fit.solution)
    if asked.kind == "residual":
        return source.resampled, f"reflated random effects of {groups} and residuals"
    about = f"reflated random effects of {groups} and residuals, each with {asked.weights} weights of its own"
    return partial(source.weighted, weights=asked.weights), about


def _simulated(fit: "MixedFit", rng: np.random.Generator) -> FloatArray:
    """An outcome from the fitted model, less the offset."""
    from crosslevel.estimators.simulation import simulated

    out = simulated(fit, rng).to_numpy()
    return out if fit.design.offset is None else out - fit.design.offset


def _draw_outcomes(fit: "MixedFit", draw: Outcomes, rng: np.random.Generator, n: int, stopped: Stop) -> Batch:
    """Draw and refit n outcomes."""
    parts: list[Batch] = []
    for _ in range(n):
        parts.append(_refit_outcome(fit, draw(rng)))
        if stopped():
            break
    return Batch.joined(parts)


def _refit_outcome(fit: "MixedFit", y: FloatArray) -> Batch:
    """An ordinary fit to an outcome (n,) less the offset."""
    from crosslevel.estimators.mixed import solve_design

    design = fit.design
    m, p = len(names_of(design, fit.solution)), len(design.x)
    try:
        drawn = design.with_response(y if design.offset is None else y + design.offset)
        solution = solve_design(drawn, fit.given)
    except MemoryShortageError:
        raise
    except (CrosslevelError, np.linalg.LinAlgError, ValueError):
        return failed(Outcome.REFUSED, m, p)
    return Batch.of(drawn, solution)
