"""Profile likelihood: of all parameters, and as a method for the intervals of coefficients."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.types import FloatArray, Method

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit
    from crosslevel.estimators.profile import Profile
    from crosslevel.inference.profile_lines import Base, Named

KINDS = {"coefficients": "coefficient", "sd": "sd", "cor": "cor", "residual": "residual"}
"""What `which` may name besides single parameters."""


def profile(
    fit: "MixedFit",
    which: str | Sequence[str] | None = None,
    *,
    level: float = 0.99,
    method: Method = "ml",
    progress: bool = True,
) -> "Profile":
    """Profile likelihood of coefficients, standard deviations, correlations and residual parameters.

    zeta(v) = sign(v - estimate) sqrt(min { deviance : parameter = v } - min deviance) is nearly standard normal at the
    true v, so that an interval is where |zeta| is below a normal quantile. Nothing is assumed of how the estimate is
    distributed: intervals may be lopsided, and reach 0, -1 or 1. Everything is computed from cross-products.

    Parameters
    ----------
    fit : the fitted model.
    which : names of parameters, as in "ses", "sd(Intercept|school)", "cor(Intercept,ses|school)" or "sigma"; or of
        kinds: "coefficients", "sd", "cor", "residual". All if None.
    level : confidence level that the points reach; intervals of higher levels take some more.
    method : "ml" profiles the full likelihood, also where the fit is by REML (then estimates differ a little from the
        fit's); "reml" the restricted one of a fit by REML, for standard deviations, correlations and residual
        parameters: restricted likelihoods of models with different coefficients cannot be compared.
    progress : whether to report, on the standard error stream, how far a long profile has come.

    Returns
    -------
    profile : `conf_int(level)`, `interval(parameter, level)`, and all points in `frame`; `cl.plot.zeta` draws it.

    Raises
    ------
    CrosslevelError : `which` names something else, or the model has no profile likelihood: with sampling weights, by
        iterative algebra, with residual variances that depend on fitted values, or with covariances that are known
        while the residual variance is not.

    Warns
    -----
    ConvergenceWarning : a lower deviance was found than the fit's.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> fit.profile(["Days", "cor(Intercept,Days|Subject)"]).conf_int().round(3)
                                 estimate  conf_low  conf_high
    parameter
    Days                           10.467     7.359     13.576
    cor(Intercept,Days|Subject)     0.081    -0.481      0.685
    """
    from crosslevel.estimators.profile import Profile
    from crosslevel.inference.profile import full_minimum, profiles
    from crosslevel.inference.profile_lines import residual
    from crosslevel.inference.wald import check_level

    _refuse(fit)
    quantile = quantile_of(check_level(level))
    if method not in ("ml", "reml"):
        raise CrosslevelError(f"`method` is 'ml' or 'reml'; got {method!r}.")
    if method == "reml" and fit.method != "reml":
        raise CrosslevelError(
            "`method` is 'reml', but the fit is by maximum likelihood. Fit with method='reml', or profile with 'ml'."
        )
    base = full_minimum(fit.solution, reml=method == "reml")
    without = {name: "it is a function of several parameters at once." for name in residual(base)[1]}
    named = [(name, kind) for name, kind, _ in _parameters(fit, base)]
    chosen = chosen_parameters(named, which, without, KINDS, fixed=method == "ml")
    base, curves = profiles(
        base, lambda base: _only(_parameters(fit, base), chosen), quantile, report=reporter(progress)
    )
    if method == fit.method:
        warn_if_lower(base.deviance, fit.deviance)
    return Profile(
        curves=curves, deviance=base.deviance, method=method, level=level, without={} if which is not None else without
    )


def profile_intervals(fit: "MixedFit", level: float) -> FloatArray:
    """Intervals (p, 2) of the coefficients by profile likelihood; see `profile`."""
    from crosslevel.inference.profile import full_minimum, profiles
    from crosslevel.inference.profile_lines import coefficients
    from crosslevel.inference.wald import check_level

    _refuse(fit)
    quantile, names = quantile_of(check_level(level)), fit.design.fixed_names
    base = full_minimum(fit.solution, reml=False)
    base, curves = profiles(base, lambda base: list(coefficients(base, names)), quantile, pace=2)
    if fit.method == "ml":
        warn_if_lower(base.deviance, fit.deviance)
    return np.array([[curve.end(side, quantile) for side in (-1.0, 1.0)] for curve in curves.values()])


def _parameters(fit: "MixedFit", base: "Base") -> list["Named"]:
    """All parameters of the model that have a profile."""
    from crosslevel.inference.profile_effects import random_effects
    from crosslevel.inference.profile_lines import coefficients, residual

    design = fit.design
    effects = [design.effects_of(factor) for factor in design.factors]
    return [
        *coefficients(base, design.fixed_names),
        *random_effects(base, [factor.name for factor in design.factors], effects),
        *residual(base)[0],
    ]


def _only(parameters: list["Named"], chosen: Sequence[str]) -> list["Named"]:
    """Those that are wanted."""
    return [parameter for parameter in parameters if parameter[0] in chosen]


def chosen_parameters(
    parameters: list[tuple[str, str]],
    which: str | Sequence[str] | None,
    without: Mapping[str, str],
    kinds: Mapping[str, str],
    *,
    fixed: bool = True,
) -> list[str]:
    """Names of the parameters to profile.

    Parameters
    ----------
    parameters : names and kinds of those that have a profile.
    which : names of parameters or of kinds; None for all.
    without : names of parameters that have none, and why.
    kinds : what `which` may name besides single parameters.
    fixed : whether coefficients have a profile.

    Raises
    ------
    CrosslevelError : something else is named.
    """
    coefficients = [name for name, kind in parameters if kind == "coefficient"]
    if which is None:
        return [name for name, _ in parameters if fixed or name not in coefficients]
    asked, names = [which] if isinstance(which, str) else list(which), []
    for name in asked:
        own = [each for each, kind in parameters if name == each or kind == kinds.get(name)]
        if not own and name not in kinds:
            reason = f" {name} has no profile: {without[name]}" if name in without else ""
            raise CrosslevelError(
                f"`which` names parameters ({', '.join(each for each, _ in parameters)}) "
                f"or kinds ({', '.join(kinds)}); got {name!r}.{reason}"
            )
        names += own
    if not fixed and set(names) & set(coefficients):
        raise CrosslevelError(
            "`method` is 'reml', which has no profile of coefficients: restricted likelihoods of models with different "
            "coefficients cannot be compared. Take method='ml', or name other parameters in `which`."
        )
    return names


def _refuse(fit: "MixedFit") -> None:
    """Refuse models without a likelihood that can be profiled."""
    from crosslevel.estimators.priors import refuse_prior
    from crosslevel.inference.held_engines import AnyDeviance

    refuse_prior(fit, "profile")
    solution = fit.solution
    if fit.design.is_sampled:
        raise CrosslevelError(
            "`profile` needs a likelihood; with sampling weights there is a pseudo-likelihood, whose rise has no "
            "chi-square distribution. Take the sandwich's intervals, fit.conf_int()."
        )
    if solution.iterative is not None:
        raise CrosslevelError(
            "`profile` needs the exact deviance; this fit is by iterative algebra, whose deviance has a Monte-Carlo "
            "error. Fit with algebra='exact' if it fits into memory, or take fit.conf_int() and fit.varcomp()."
        )
    known = any(kind.fixed for factor in fit.design.factors for kind in factor.structure.kinds)
    if not isinstance(solution.criterion, AnyDeviance) or (known and solution.criterion.sigma is None):
        raise CrosslevelError(
            "`profile` holds one parameter relative to the residual variance, which equalto() does not allow: its "
            "covariance is known in the units of the data. Take fit.conf_int() and fit.varcomp()."
        )
    if fit.design.residual is not None and fit.design.residual.of_fitted:
        raise CrosslevelError(
            "`profile` needs one likelihood; here the residual variance depends on the fitted values, and so does the "
            "likelihood. Name a covariate in the residual structure instead, as in Power('x')."
        )


def warn_if_lower(found: float, deviance: float) -> None:
    """Warn where a profile found a lower deviance than that of the fit, which then was not the minimum."""
    import warnings

    from crosslevel.errors import ConvergenceWarning
    from crosslevel.inference.profile import LOWER

    if found < deviance - LOWER:
        warnings.warn(
            f"The profile found a deviance of {found:.6f}, lower than the fit's {deviance:.6f}: the fit ended in "
            "another minimum. The profile starts from the lower one; simplify the random effects before you trust "
            "either.",
            ConvergenceWarning,
            stacklevel=3,
        )


def quantile_of(level: float) -> float:
    """Largest |zeta| inside of an interval."""
    from crosslevel.inference.distributions import normal_quantile

    return float(normal_quantile(0.5 + level / 2.0))


def reporter(shown: bool) -> Callable[[int, int], None]:
    """Say how far the profile has come, once a second."""
    import time

    from crosslevel.table.progress import PATIENCE, Progress

    progress, said = Progress(what="profile", shown=shown), time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= PATIENCE:
            progress.say(f"{done} of {total} parameters")
            said = time.monotonic()

    return report
