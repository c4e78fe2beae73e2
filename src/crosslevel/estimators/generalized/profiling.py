"""Profile likelihood of a fitted generalized model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.likelihoods import refuse_sampled, require_likelihood

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.profile import Profile
    from crosslevel.inference.generalized.profile_lines import GeneralizedBase
    from crosslevel.inference.profile_lines import Named

KINDS = {"coefficients": "coefficient", "thresholds": "threshold", "sd": "sd", "cor": "cor", "shape": "shape"}
"""What `which` may name besides single parameters."""


def profile(
    fit: "GeneralizedFit",
    which: str | Sequence[str] | None = None,
    *,
    level: float = 0.99,
    progress: bool = True,
) -> "Profile":
    """Profile likelihood of coefficients, thresholds, standard deviations, correlations and shape parameters.

    zeta(v) = sign(v - estimate) sqrt(min { deviance : parameter = v } - min deviance) is nearly standard normal at the
    true v, so that an interval is where |zeta| is below a normal quantile. Intervals may be lopsided, and reach 0, -1
    or 1. The deviance is that of the fit: Laplace, or quadrature with its nodes; with a prior, the prior's part is in.

    Parameters
    ----------
    fit : the fitted model.
    which : names of parameters, as in "age", "low|high", "sd(Intercept|school)", "cor(Intercept,ses|school)" or
        "dispersion"; or of kinds: "coefficients", "thresholds", "sd", "cor", "shape". All if None.
    level : confidence level that the points reach; intervals of higher levels take some more.
    progress : whether to report, on the standard error stream, how far a long profile has come.

    Returns
    -------
    profile : `conf_int(level)`, `interval(parameter, level)`, and all points in `frame`; `cl.plot.zeta` draws it.

    Raises
    ------
    CrosslevelError : `which` names something else; sampling weights, PQL or MQL, which have no likelihood.

    Warns
    -----
    ConvergenceWarning : a lower deviance was found than the fit's.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.mixed("I(mathach > 13) ~ ses + (1 | school)", data, family="binomial", quadrature=1)
    >>> fit.profile("sd(Intercept|school)").parameters
    ('sd(Intercept|school)',)
    """
    from crosslevel.estimators.asked.profile import chosen_parameters, quantile_of, reporter, warn_if_lower
    from crosslevel.estimators.profile import Profile
    from crosslevel.inference.profile import profiles
    from crosslevel.inference.wald import check_level

    base = _base(fit)
    quantile = quantile_of(check_level(level))
    chosen = chosen_parameters([(name, kind) for name, kind, _ in _parameters(fit, base)], which, {}, KINDS)

    def wanted(base: "GeneralizedBase") -> list["Named"]:
        return [each for each in _parameters(fit, base) if each[0] in chosen]

    start = base.deviance
    base, curves = profiles(base, wanted, quantile, report=reporter(progress))
    warn_if_lower(base.deviance, start)
    return Profile(
        curves=curves, deviance=base.deviance, method="ml", level=level, without={}, likelihood=_in_words(fit)
    )


def _base(fit: "GeneralizedFit") -> "GeneralizedBase":
    """The minimum that profiles start from.

    Raises
    ------
    CrosslevelError : there is no likelihood.
    """
    from crosslevel.inference.generalized.profile_lines import GeneralizedBase

    require_likelihood(fit, "`profile`")
    refuse_sampled(fit, "`profile`", "Take the sandwich's intervals, fit.conf_int().")
    if not fit.converged:
        raise CrosslevelError(f"`profile` starts from the maximum of the likelihood. {fit.status}")
    return GeneralizedBase.of(fit.solution)


def _parameters(fit: "GeneralizedFit", base: "GeneralizedBase") -> list["Named"]:
    """All parameters of the model."""
    from crosslevel.inference.generalized.profile_lines import predictor_lines, shape_lines, threshold_lines
    from crosslevel.inference.profile_effects import random_effects

    estimands = fit.estimands
    return [
        *predictor_lines(base, estimands),
        *threshold_lines(base, estimands),
        *random_effects(base, estimands.groups, estimands.effects),
        *shape_lines(base, estimands),
    ]


def _in_words(fit: "GeneralizedFit") -> str:
    """What is profiled."""
    used = fit.quadrature
    how = "Laplace approximation" if used.nodes == 1 else f"{used.nodes} quadrature nodes per random effect"
    prior = "" if fit.solution.prior is None else " with the prior"
    return f"likelihood ({how}){prior}"
