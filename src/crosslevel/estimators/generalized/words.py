"""A generalized model in words: its outcome, its equation, and how the random effects were integrated out."""

from typing import TYPE_CHECKING

import numpy as np

from crosslevel.display import counted, fixed, number, percent
from crosslevel.kernels import responses
from crosslevel.solve.generalized.quadrature import MOST_EFFECTS, STABLE
from crosslevel.solve.generalized.solution import Quadrature
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit

SMALL = 0.01
"""Difference of coefficients, in standard errors, below which nobody need care how small it is."""

QUASI = {"pql": "penalised quasi-likelihood (PQL)", "mql": "marginal quasi-likelihood (MQL)"}

UNITS = {
    "logit": "log odds",
    "probit": "standard deviations of the latent variable",
    "cloglog": "logarithms of the hazard (complementary log-log)",
    "log": "logarithms of the mean",
}
"""What a linear predictor is measured in, by link."""


MEANINGS = {
    responses.NEGATIVE_BINOMIAL_2: (
        "the variance is mean + mean^2 / {0}: the larger, the nearer to a Poisson distribution. R calls it theta, and "
        "Stata its inverse alpha"
    ),
    responses.NEGATIVE_BINOMIAL_1: "the variance is mean x (1 + {0}): zero would be a Poisson distribution",
    responses.GAMMA: "the variance is mean^2 / {0}: coefficient of variation {1}",
    responses.BETA: "the variance is mean x (1 - mean) / (1 + {0})",
    responses.BETA_BINOMIAL: (
        "answers of one row are correlated by 1 / (1 + {0}) = {1}: the larger, the nearer to a binomial distribution"
    ),
}
"""What the shape parameter means, by family."""


def shape_meaning(fit: "GeneralizedFit") -> list[str]:
    """What the shape parameter of the family means."""
    (name,), value = fit.estimands.shapes, float(fit.solution.shape[0])
    derived = 1.0 / (1.0 + value) if fit.family.code == responses.BETA_BINOMIAL else value**-0.5
    told = MEANINGS[fit.family.code].format(name, number(derived))
    return [f"{name[0].upper()}{name[1:]}: {told}."]


def modelled(fit: "GeneralizedFit") -> str:
    """What the model is about: which category, how many trials, what counts, with how often it occurs."""
    outcome, kind, n = fit.outcome, fit.family.kind, fit.nobs
    weights = fit.design.weights
    times: FloatArray = np.ones(outcome.n)
    if weights is not None and weights.is_frequency and weights.rows is not None:
        times = weights.rows
    if kind == "ordered":
        sizes = np.bincount(outcome.y.astype(np.int64), times, minlength=len(outcome.categories or ()))
        listed = ", ".join(
            f"{name} ({counted(int(size))})" for name, size in zip(outcome.categories or (), sizes, strict=True)
        )
        return f"{len(sizes)} ordered categories, with their rows: {listed}; positive coefficients mean higher ones"
    if kind == "binary" and outcome.has_trials:
        successes, trials = float(times @ outcome.y), float(times @ outcome.size)
        return (
            f"probability of success: {counted(round(successes))} of {counted(round(trials))} trials "
            f"({percent(successes / trials)})"
        )
    if kind == "binary":
        one, zero = (1, 0) if outcome.labels is None else (outcome.labels[1], outcome.labels[0])
        beside = "" if outcome.labels is None else f"; {zero} counts as 0"
        return (
            f"probability that {outcome.name} is {one}, as it is in {counted(round(float(times @ outcome.y)))} of "
            f"{counted(n)} rows ({percent(float(np.average(outcome.y, weights=times)))}){beside}"
        )
    average = float(times @ outcome.y / (times @ outcome.size))
    subject = f"{outcome.name} itself has the mean" if per_exposure(fit) else "its mean is"
    mean = f"expected {outcome.name}{per_exposure(fit)}; {subject} {number(average)}"
    if kind == "count":
        largest, zeros = float(outcome.share.max()), float(np.average(outcome.y == 0.0, weights=times))
        shown = number(largest) if outcome.is_mean else counted(int(largest))
        return f"{mean}, its largest value {shown}, and {percent(zeros)} of the rows are zero"
    return mean


def per_exposure(fit: "GeneralizedFit") -> str:
    """What counts are relative to."""
    asked = fit.design.asked
    if asked is None or asked.exposure is None:
        return ""
    return f" per unit of {asked.exposure_column or 'the exposure given'}"


def left_side(fit: "GeneralizedFit") -> str:
    """What the linear predictor is, as the left side of an equation."""
    index = "_{ij}" if fit.design.is_single else ""
    name, link = f"{fit.outcome.name}{index}", fit.family.link
    if fit.family.kind == "ordered":
        return f"η{index}"
    if fit.family.kind == "binary":
        if fit.outcome.has_trials:
            return f"{link} P(success{index})"
        one = "1" if fit.outcome.labels is None else str(fit.outcome.labels[1])
        return f"{link} P({name} = {one})"
    asked = fit.design.asked
    below = asked.exposure_column if asked is not None else None
    return f"{link} E({name}{f' / {below}{index}' if below else ''})"


def ordered_equation(fit: "GeneralizedFit") -> str:
    """How thresholds and the linear predictor make the probabilities of ordered categories."""
    index = "_{ij}" if fit.design.is_single else ""
    return f"{fit.family.link} P({fit.outcome.name}{index} ≤ c) = θ_{{c}} - η{index}"


def integration(fit: "GeneralizedFit") -> str:
    """How the random effects were integrated out, and by how much the Laplace approximation differs."""
    used = fit.quadrature
    if not any(np.any(factor) for factor in fit.solution.factors):
        return "none is left, because the random effects have no variance"
    if used.kind in QUASI:
        return (
            f"{QUASI[used.kind]}: no likelihood is maximised; the log-likelihood told is Laplace's at these estimates"
        )
    if used.kind == "laplace":
        return f"Laplace approximation{_laplace_beside(fit, used)}"
    several = "" if max(len(factor.z) for factor in fit.design.factors) == 1 else " for each random effect"
    enough = f", as many as keep the log-likelihood stable to {STABLE:g}" if used.chosen else ""
    return f"adaptive Gauss-Hermite quadrature, {used.nodes} nodes{several}{enough}. {_laplace_differs(used)}"


def _laplace_beside(fit: "GeneralizedFit", used: Quadrature) -> str:
    """What is known of how good the Laplace approximation is."""
    if used.stable:
        return f": with more nodes the log-likelihood changes by less than {STABLE:g}"
    if used.stable is False:
        return f": with more nodes the log-likelihood changes by {used.change:.2g}"
    if not fit.design.is_single:
        return "; quadrature is for one grouping factor"
    if len(fit.design.factors[0].z) > MOST_EFFECTS:
        return f"; quadrature is for up to {MOST_EFFECTS} random effects"
    return " (one node), as asked for; quadrature='auto' tells how far it is off"


def _laplace_differs(used: Quadrature) -> str:
    """By how much the Laplace approximation differs from quadrature."""
    way = "higher" if used.difference > 0.0 else "lower"
    told = f"The Laplace approximation's log-likelihood is {number(abs(used.difference))} {way} at these estimates"
    if not np.isfinite(used.laplace_shift):
        return f"{told}."
    shift = f"up to {fixed(used.laplace_shift, 2)}" if used.laplace_shift >= SMALL else f"less than {SMALL}"
    return f"{told}, and its own coefficients differ by {shift} standard errors."


def units(fit: "GeneralizedFit") -> str:
    """What coefficients are measured in, and of whom they speak."""
    unit = UNITS.get(fit.family.link, f"units of the {fit.family.link} link")
    unit += " of a higher category" if fit.family.kind == "ordered" and fit.family.link == "logit" else ""
    if not fit.design.factors:
        return f"Coefficients are in {unit}."
    if fit.family.link == "log":
        return f"Coefficients are in {unit}, between rows whose random effects are the same."
    return (
        f"Coefficients are in {unit}, between rows whose random effects are the same; differences between averages "
        "over clusters are smaller (cl.slopes)."
    )


def short_description(fit: "GeneralizedFit") -> str:
    """The family in words, without its variance."""
    name, variance, _ = fit.family.description.partition(" (variance")
    return f"{name}, {fit.family.link} link" if variance else name


def heading(fit: "GeneralizedFit") -> str:
    """The family in two words, as part of a heading."""
    if fit.family.kind == "binary" and fit.family.code != responses.BETA_BINOMIAL:
        return fit.family.link
    if fit.family.kind == "ordered":
        return f"ordinal {fit.family.link}"
    return short_description(fit).partition(",")[0]
