"""Expected outcomes of generalized models as `cl.margins` and `cl.slopes` ask for them: averages, with derivatives.

What a table of linear combinations has as rows of weights C is here a row [gradient, gradient in given effects, value]:
with the coefficients (0, ..., 0, 1) it estimates the value, and its variance is that of the delta method. Differences
of such rows estimate differences, so that contrasts, families of tests and figures need to know nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.combining import Combiner
from crosslevel.estimators.generalized.robust import working_covariance
from crosslevel.inference.estimates import Single
from crosslevel.inference.generalized.given_effects import GivenEffects, given_effects
from crosslevel.inference.generalized.predictive import (
    Answer,
    Predictive,
    category_answer,
    mean_answer,
    predictive,
    predictive_at,
)
from crosslevel.inference.generalized.tangents import Effect, Places, expected, tangent
from crosslevel.inference.marginal_rows import MarginalRows
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.inference.bootstrap.record import Bootstrap

RandomEffects: TypeAlias = "Literal['average', 'zero'] | Mapping[str, object]"
"""What predictions do with random effects: average over them, set them to zero, or take those of given levels."""

AVERAGES = {
    "average": "Averaged over the random effects: of the population of clusters, not of one cluster.",
    "zero": "Random effects are zero: of a typical cluster, not of the population.",
}
"""What is done with the random effects, in words."""

SCALES = {"logit": "log odds", "log": "logs", "probit": "probits", "cloglog": "log hazards"}
"""Scales of linear predictors, by link."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Expectations:
    """One expected outcome as a function of the inputs: a mean, or the probability of a category.

    Attributes
    ----------
    design : the model's columns.
    estimates : parameters with their covariance.
    answer : what is expected.
    labels : what tells this outcome from others in a table: the category.
    effects : the random effects of each grouping factor.
    given : those of given levels; None without.
    linear : how combinations of coefficients are tested, whose degrees of freedom are used.
    weights : (rows used,) what the rows count.
    replicates : estimates in bootstrap replicates, with what is expected there.
    words : what is done with the random effects.
    response : what is expected, in words.
    """

    design: Design = field(repr=False)
    estimates: Predictive = field(repr=False)
    answer: Answer = field(repr=False)
    labels: Mapping[str, Any]
    effects: tuple[Effect, ...] = field(repr=False)
    given: GivenEffects | None = field(repr=False)
    linear: Combiner = field(repr=False)
    weights: FloatArray | None = field(repr=False)
    replicates: tuple[tuple[Predictive, Answer], ...] = field(repr=False)
    words: str
    response: str

    @property
    def curvature(self) -> str:
        """That interactions on the scale of the outcome are not those of the linear predictor."""
        scale = SCALES.get(self.answer.curve.link, "the linear predictor")
        return (
            f"Differences between these effects are interactions on the scale of {self.response}, not coefficients of "
            f"products, which are on the scale of {scale}: sizes, tests and even signs can differ."
        )

    @property
    def vcov(self) -> FloatArray:
        """Covariance of what rows have derivatives in."""
        return self.estimates.vcov if self.given is None else self.given.vcov(self.estimates.vcov)

    @property
    def combiner(self) -> Combiner:
        """How rows are tested."""
        vcov, estimates = self.vcov, self.estimates
        place = slice(estimates.k, estimates.k + len(estimates.beta))
        unit, draws = np.zeros(len(vcov) + 1 + len(self.replicates)), len(self.replicates)
        unit[len(vcov)] = 1.0
        words = "; standard errors by the delta method, in all parameters"
        return Combiner(
            design=self.design,
            beta=unit,
            single=partial(_delta, vcov, self.linear, place),
            method=self.linear.method,
            description=self.linear.description + ("" if draws else words),
            replicates=np.eye(len(unit))[-draws:] if draws else None,
        )

    def rows_at(self, rows: MarginalRows, settings: Mapping[str, Any], along: Sequence[str]) -> FloatArray:
        """Rows (P, K + given effects + 1 + B) of average predictions, or of average effects of what moves along.

        Parameters
        ----------
        rows : the columns as functions of inputs.
        settings, along : see `MarginalRows.averages`.
        """
        total, out = 0.0, None
        for place, columns, slopes, weights in rows.at_rows(settings, along):
            own = np.ones(columns.shape[2]) if weights is None else weights
            effects = [_at_rows(effect, place) for effect in self.effects]
            places = Places(x=self.design.x, columns=columns, slopes=slopes, offset=self._offset(place), weights=own)
            found = tangent(self.estimates, self.answer, effects, places)
            drawn = [expected(estimates, answer, effects, places) for estimates, answer in self.replicates]
            chosen = [
                part for part, effect in zip(found.by_given, self.effects, strict=True) if effect.given is not None
            ]
            block = np.column_stack([found.gradient, *chosen, found.value, *drawn])
            out, total = block if out is None else out + block, total + float(own.sum())
        assert out is not None
        if len(self.design.x) < self.design.spec.n_fixed:
            # what the data do not determine in the linear predictor they do not determine here
            out[np.isnan(self.linear.estimable(rows.averages(settings)[:, : self.design.spec.n_fixed])).any(axis=1)] = (
                np.nan
            )
        return out / total

    def bounded(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predictions whose intervals are made on a scale on which they have no bounds: log odds, or logs.

        That a probability or a mean is zero is no hypothesis: there are no tests.
        """
        value, half = frame["estimate"], frame["conf_high"] - frame["estimate"]
        out = frame.copy()
        out[["statistic", "p_value"]] = np.nan
        if "p_unadjusted" in out:
            out["p_unadjusted"] = np.nan
        if self.replicates:  # percentiles stay where the replicates are
            return out
        log = self.answer.curve.support is None
        out["conf_low"], out["conf_high"] = bounded_limits(value.to_numpy(), half.to_numpy(), log=log)
        return out

    def _offset(self, place: slice | None) -> FloatArray:
        """Offset of some rows; None for its mean."""
        offset = self.design.offset
        if offset is None:
            return np.zeros(1)
        return np.average(offset, weights=self.weights, keepdims=True) if place is None else np.asarray(offset[place])


def bounded_limits(value: FloatArray, half: FloatArray, *, log: bool) -> tuple[FloatArray, FloatArray]:
    """Ends of intervals of the half-width `half`, made on the log scale or on that of log odds: within the range.

    Examples
    --------
    >>> import numpy as np
    >>> [end.round(3).tolist() for end in bounded_limits(np.array([0.1]), np.array([0.15]), log=False)]
    [[0.021], [0.37]]
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if log:
            spread = np.exp(half / value)
            return value / spread, value * spread
        spread, odds = np.exp(half / (value * (1.0 - value))), value / (1.0 - value)
        return odds / (odds + spread), odds / (odds + 1.0 / spread)


def _at_rows(effect: Effect, place: slice | None) -> Effect:
    """Random effects with the shares of some rows; None for their mean."""
    if effect.share is None:
        return effect
    return replace(effect, share=np.mean(effect.share, keepdims=True) if place is None else effect.share[place])


def _delta(vcov: FloatArray, linear: Combiner, place: slice, rows: FloatArray) -> Single:
    """Standard errors of rows [gradient, value]; degrees of freedom of their gradients in the coefficients."""
    gradient = rows[:, : len(vcov)]
    variance = np.einsum("ia,ab,ib->i", gradient, vcov, gradient)
    by_beta = gradient[:, place]
    moving = np.any(by_beta != 0.0, axis=1)
    df = np.full(len(rows), np.inf)
    if np.any(moving):
        df[moving] = linear.single(by_beta[moving]).df
    return Single(std_error=np.sqrt(np.maximum(variance, 0.0)), df=df)


def outcomes_of(
    fit: Any,
    linear: Combiner,
    weights: FloatArray | None,
    scale: str,
    random_effects: RandomEffects,
    vcov: str | None,
    bootstrap: "Bootstrap | None" = None,
) -> tuple[Expectations, ...]:
    """The expected outcome of a generalized fit, or the probabilities of its categories; nothing of other models.

    Parameters
    ----------
    fit : a fitted model.
    linear : how combinations of its coefficients are tested.
    weights : (rows used,) what the rows count.
    scale, random_effects, vcov, bootstrap : see `crosslevel.slopes`.

    Raises
    ------
    CrosslevelError : no such scale; `random_effects` is none of its words, names levels that are not in the fit, or
        makes no difference.
    """
    _check_asked(fit, scale, random_effects)
    if getattr(fit, "family", None) is None or scale == "link":
        return ()
    estimates = estimates_by(fit, vcov)
    effects, given, words = _effects(fit, random_effects)
    if given is not None and bootstrap is not None:
        raise CrosslevelError(
            "`bootstrap` has replicates of the parameters, not of the effects of given levels. Leave it out, or "
            "average over the random effects."
        )
    drawn = () if bootstrap is None else replicated(fit, estimates, bootstrap)
    names = (None,) if fit.family.kind != "ordered" else fit.outcome.categories

    def answer(found: Predictive, place: int) -> Answer:
        return mean_answer(found) if fit.family.kind != "ordered" else category_answer(found, place)

    return tuple(
        Expectations(
            design=fit.design, estimates=estimates, answer=answer(estimates, j),
            labels={} if name is None else {"category": name}, effects=effects, given=given, linear=linear,
            weights=weights, replicates=tuple((found, answer(found, j)) for found in drawn), words=words,
            response=_response(fit),
        )
        for j, name in enumerate(names)
    )  # fmt: skip


def _check_asked(fit: Any, scale: str, random_effects: RandomEffects) -> None:
    """Refuse what is no scale, and random effects where they make no difference."""
    if scale not in ("response", "link"):
        raise CrosslevelError(f"`scale` is 'response' or 'link'; got {scale!r}.")
    linear = getattr(fit, "family", None) is None
    if (linear or scale == "link") and not (isinstance(random_effects, str) and random_effects in AVERAGES):
        why = "of a linear model" if linear else "on the scale of the linear predictor"
        raise CrosslevelError(
            f"`random_effects` is {random_effects!r}, but averages {why} are those of the fixed part. Use fit.predict "
            "for the rows of one cluster."
        )


def replicated(fit: Any, estimates: Predictive, bootstrap: "Bootstrap") -> tuple[Predictive, ...]:
    """Estimates in the replicates of a bootstrap: coefficients, covariances of the random effects, shape parameters."""
    names = [name for name in fit.estimands.names if name not in bootstrap.names]
    if names:
        raise CrosslevelError(f"`bootstrap` is the result of fit.bootstrap() of this very fit; it lacks {names}.")
    values = bootstrap.batch.values[bootstrap.used]
    return tuple(predictive_at(fit.estimands, own, estimates) for own in values)


def estimates_by(fit: Any, vcov: str | None) -> Predictive:
    """Estimates of a fit with the joint covariance of all parameters, or a cluster-robust one.

    Raises
    ------
    CrosslevelError : a covariance that is known for the coefficients only, where other parameters matter too.
    """
    if not hasattr(fit, "whole_by"):
        return predictive(fit.solution, None if vcov is None else working_covariance(fit, vcov))
    covariance, shape = fit.whole_by(vcov), fit.solved.shape
    if fit.family.kind == "ordered":
        if covariance.name != "iid":
            raise CrosslevelError(
                f"Probabilities of categories depend on all thresholds, and {covariance.name} is known for the "
                "coefficients only. Use vcov='iid', or a mixed model, cl.mixed(...), with vcov='CR1'."
            )
        turn = fit.solved.turn
        vcov_of_all = turn @ np.linalg.solve(fit.solved.information, turn.T)
    else:  # means do not depend on shape parameters
        vcov_of_all, shape = covariance.matrix, np.zeros(0)
    return Predictive(family=fit.family, beta=fit.solved.beta, shape=shape, psi=(), psi_slopes=(), vcov=vcov_of_all)


def _response(fit: Any) -> str:
    """What is expected, in words."""
    name = fit.spec.response_name
    if fit.family.kind == "ordered":
        return f"P({name} = category)"
    if fit.family.kind != "binary":
        return f"the mean of {name}"
    if fit.outcome.labels is not None:
        return f"P({name} = {fit.outcome.labels[1]})"
    return f"P({name} = 1)" if not fit.outcome.has_trials else f"P(success) in {name}"


def _effects(fit: Any, asked: RandomEffects) -> tuple[tuple[Effect, ...], GivenEffects | None, str]:
    """The random effects as they are asked for, those that are given, and words."""
    design = fit.design
    if not isinstance(asked, Mapping):
        if asked not in AVERAGES:
            raise CrosslevelError(
                "`random_effects` is 'average', 'zero', or a level of some grouping factors such as "
                f"{{{fit.group!r}: ...}}; got {asked!r}."
            )
        left_out = asked == "zero"
        effects = tuple(
            Effect(z=factor.z, share=squared_shares(design, factor), left_out=left_out) for factor in design.factors
        )
        return effects, None, AVERAGES[asked] if effects else "The model has no random effects."
    places = {factor.name: k for k, factor in enumerate(design.factors)}
    unknown = [name for name in asked if name not in places]
    if unknown or not asked:
        raise CrosslevelError(
            f"`random_effects` names {unknown}; the grouping factors of the model are {', '.join(map(repr, places))}."
        )
    chosen = sorted(places[name] for name in asked)
    levels = [_level(design.factors[k], asked[design.factors[k].name]) for k in chosen]
    given = given_effects(fit.solution, chosen, levels)
    modes = dict(zip(chosen, given.modes, strict=True))
    effects = tuple(
        Effect(z=factor.z, share=squared_shares(design, factor), given=modes.get(k))
        for k, factor in enumerate(design.factors)
    )
    listed = " and ".join(f"{name} = {level}" for name, level in asked.items())
    rest = "" if len(chosen) == len(design.factors) else ", averaged over the other random effects"
    return effects, given, f"At the random effects of {listed}{rest}."


def _level(factor: Any, asked: object) -> int:
    """Position of a level among those of a factor."""
    found = {str(level): k for k, level in enumerate(factor.levels)}
    if str(asked) not in found:
        shown = ", ".join(repr(level) for level in factor.levels[:8])
        raise CrosslevelError(
            f"`random_effects` asks for {factor.name} = {asked!r}, which was not in the fit. Its levels are {shown}"
            f"{', ...' if len(factor.levels) > 8 else ''}. For a new one leave it out: predictions are averaged then."
        )
    return found[str(asked)]


def squared_shares(design: Design, factor: Any) -> FloatArray | None:
    """(rows used,) sum of squared shares of the levels that rows belong to; None where each has one."""
    if not factor.members:
        return None
    from crosslevel.inference.prediction import repeated

    return repeated(design.used_members(factor), unknown=False)
