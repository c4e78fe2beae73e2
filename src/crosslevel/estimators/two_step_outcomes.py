"""The second step of each coefficient that is explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from crosslevel.design.two_levels import ClusterDesign
from crosslevel.errors import CrosslevelError
from crosslevel.inference.adjusted_step import Adjustment, Target, adjusted_step
from crosslevel.inference.second_step import (
    CLUSTER_ERRORS,
    SecondStep,
    cluster_weights,
    solve_weighted,
    variance_beyond_sampling,
)
from crosslevel.inference.separate import SeparateRegressions
from crosslevel.types import FloatArray

StepMethod: TypeAlias = Literal["fgls", "ols", "wls", "adjusted", "adjusted-fgls"]
"""Second steps."""

CovariateNames: TypeAlias = Sequence[str] | Literal["all"] | None
"""What outcomes are adjusted for; see `two_step`."""

METHODS = ("fgls", "ols", "wls", "adjusted", "adjusted-fgls")

ADJUSTED = ("adjusted", "adjusted-fgls")
"""Second steps with covariates."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OutcomeStep:
    """The second step of one coefficient.

    Attributes
    ----------
    name : the coefficient of the first step that is explained.
    right : the right side of its formula, intercept spelt out.
    design : context variables, one row for each cluster.
    observed : (J,) the coefficient in each cluster.
    step : the regression, whose outcome is the coefficient, less what an adjustment takes out of it.
    sampling : (J,) sampling variances omega_j^2 of the outcome.
    sigma2_raw : variance of the outcome beyond sampling and context, before it is floored at zero.
    adjustment : what the outcome is adjusted for, if it is.
    """

    name: str
    right: str
    design: ClusterDesign = field(repr=False)
    observed: FloatArray = field(repr=False)
    step: SecondStep = field(repr=False)
    sampling: FloatArray = field(repr=False)
    sigma2_raw: float
    adjustment: Adjustment | None


def second_steps(
    designs: Mapping[str, ClusterDesign], used: SeparateRegressions, method: str, covariates: CovariateNames
) -> tuple[OutcomeStep, ...]:
    """Explain coefficients by the context variables of their designs, outcome by outcome.

    Raises
    ------
    CrosslevelError : a wrong covariate, or too few clusters for all of them.
    """
    return tuple(
        _explained(name, design, used, method, _covariates(name, designs, used, covariates, method))
        for name, design in designs.items()
    )


def _explained(
    name: str, design: ClusterDesign, used: SeparateRegressions, method: str, covariates: tuple[Sequence[str], bool]
) -> OutcomeStep:
    """The second step of one outcome; `covariates` are their names, and whether components are chosen of them."""
    place = used.names.index(name)
    y, sampling = used.beta[:, place], used.sampling[:, place, place]
    raw = variance_beyond_sampling(y, design.x, sampling)
    adjustment = None
    if covariates[0]:
        chosen = [used.names.index(other) for other in covariates[0]]
        both = np.array([place, *chosen])
        target = Target(
            y=y, context=design.x, constant=design.constant, covariates=used.beta[:, chosen],
            names=tuple(covariates[0]), sampling=used.sampling[:, both[:, None], both],
        )  # fmt: skip
        step, adjustment = adjusted_step(target, weighted=method == "adjusted-fgls", chosen=covariates[1])
    else:
        step = solve_weighted(y, design.x, design.x.shape[1], cluster_weights(method, sampling, max(raw, 0.0)))
    return OutcomeStep(
        name=name, right=design.spec.formula.fixed, design=design, observed=y, step=step, sampling=sampling,
        sigma2_raw=raw, adjustment=adjustment,
    )  # fmt: skip


def _covariates(
    name: str,
    designs: Mapping[str, ClusterDesign],
    used: SeparateRegressions,
    asked: CovariateNames,
    method: str,
) -> tuple[Sequence[str], bool]:
    """Coefficients that one outcome is adjusted for, and whether components are to be chosen of them.

    By default these are all whose equations have no context variable, the intercept only where it is said to have
    none ("Intercept ~ 1"). An outcome without context variables is not adjusted.

    Raises
    ------
    CrosslevelError : a covariate that is none, or none at all.
    """
    explained = {other for other, design in designs.items() if any(term != "Intercept" for term in design.names)}
    if method not in ADJUSTED or name not in explained:  # of a mean nothing is gained
        return (), False
    if asked is None or asked == "all":
        barred = explained | {name} | (set() if "Intercept" in designs else {"Intercept"})
        found = [other for other in used.names if other not in barred]
    else:
        found = list(asked)
        _check_covariates(found, name, explained, used.names)
    if not found:
        raise CrosslevelError(
            f"`method` is {method!r}, but {name} has no other coefficient to be adjusted for: it takes coefficients of "
            "the first step whose equations have no context variable. Use method='fgls', or name `covariates`."
        )
    return found, asked is None


def _check_covariates(found: Sequence[str], name: str, explained: set[str], known: Sequence[str]) -> None:
    """Refuse covariates that are no coefficients, or that context variables explain."""
    unknown = [other for other in found if other not in known]
    if unknown or len(set(found)) < len(found):
        raise CrosslevelError(
            f"`covariates` are different coefficients of the first step, {', '.join(known)}; got {list(found)!r}."
        )
    wrong = [other for other in found if other == name or other in explained]
    if wrong:
        raise CrosslevelError(
            f"`covariates` has {wrong[0]!r}, which `second` explains by context variables: adjusted for it, the "
            f"effects on {name} would be other quantities. Covariates are coefficients whose means do not depend on "
            "the context."
        )


def check_second(method: object, vcov: object, covariates: object) -> None:
    """Refuse arguments of the second step that mean nothing."""
    if method not in METHODS:
        raise CrosslevelError(f"`method` is one of {', '.join(map(repr, METHODS))}; got {method!r}.")
    if vcov is not None:
        check_kind(vcov, str(method))
    names = isinstance(covariates, Sequence) and all(isinstance(name, str) for name in covariates)
    if covariates is not None and covariates != "all" and (isinstance(covariates, str) or not names):
        raise CrosslevelError(
            f"`covariates` is a list of coefficients of the first step, 'all', or None to have components chosen; got "
            f"{covariates!r}."
        )
    if covariates is not None and method not in ADJUSTED:
        raise CrosslevelError(
            f"`covariates` are those of method='adjusted' and 'adjusted-fgls'; method={method!r} has none. Leave them "
            "out."
        )


def check_kind(vcov: object, method: str) -> None:
    """Refuse a covariance that is not known, or that the method does not have."""
    if not isinstance(vcov, str) or vcov not in CLUSTER_ERRORS:
        raise CrosslevelError(f"`vcov` is one of {', '.join(map(repr, CLUSTER_ERRORS))}; got {vcov!r}.")
    if vcov == "unscaled" and method in ("ols", "adjusted"):
        raise CrosslevelError(
            f"`vcov` is 'unscaled', which takes weights at their word, but method={method!r} has none. Use 'scaled', "
            "or method='fgls'."
        )
