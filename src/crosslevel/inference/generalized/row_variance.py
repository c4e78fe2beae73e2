"""Variance of one answer given its linear predictor, on the scale of the outcome and on that of the linear predictor.

On the scale of the outcome Var(y | mu) = a mu + b mu^2 in every family, a and b functions of its shape parameter:

    binomial, beta-binomial (one trial)  mu (1 - mu)         gamma  mu^2 / shape
    Poisson                              mu                  beta   mu (1 - mu) / (1 + precision)
    negative binomial, nb2               mu + mu^2 / precision
    negative binomial, nb1               mu (1 + dispersion)

On the scale of the linear predictor it is known where an answer is a latent variable cut at thresholds (pi^2 / 3, 1,
pi^2 / 6), and approximated elsewhere, at the mean outcome lambda: with c = Var(y | lambda) / (d mu / d eta)^2,

    "lognormal"  log(1 + c)     "delta"  c     "trigamma"  psi'(1 / c)     (logarithmic links)

A beta share has the logarithmic odds' variance psi'(lambda phi) + psi'((1 - lambda) phi), which is exact; a
beta-binomial answer has it beside that of the latent variable.

Source: Nakagawa, Johnson & Schielzeth (2017), J. R. Soc. Interface 14: 20170213, table 1 and supplement 1.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.families import Family
from crosslevel.kernels import responses
from crosslevel.types import FloatArray

Approximation: TypeAlias = Literal["theoretical", "lognormal", "delta", "trigamma"]


@dataclass(frozen=True, kw_only=True, eq=False)
class QuadraticVariance:
    """Var(y | mu) = a mu + b mu^2 of one trial.

    Attributes
    ----------
    linear, square : a and b.
    linear_slope, square_slope : their derivatives in the shape parameter; zero where there is none.
    """

    linear: float
    square: float
    linear_slope: float = 0.0
    square_slope: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentVariance:
    """Variance of one answer on the scale of the linear predictor.

    Attributes
    ----------
    value : of it.
    by_mean, by_shape : its derivatives in the mean outcome and in the shape parameter.
    words : what it is.
    """

    value: float
    by_mean: float = 0.0
    by_shape: float = 0.0
    words: str


def quadratic_variance(family: Family, shape: FloatArray) -> QuadraticVariance:
    """Variance of one trial's outcome as a function of its mean.

    Parameters
    ----------
    family, shape : of the model, with its natural shape parameters.

    Raises
    ------
    CrosslevelError : ordered categories, which are no numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.families import Poisson
    >>> found = quadratic_variance(Poisson(), np.zeros(0))
    >>> found.linear, found.square
    (1.0, 0.0)
    """
    code = family.code
    if family.kind == "ordered":
        raise CrosslevelError(
            "`scale` is 'response', but ordered categories are no numbers that have a variance. Use scale='latent': "
            "shares in the variance of the latent variable that is cut at the thresholds."
        )
    if code == responses.NEGATIVE_BINOMIAL_2:
        return QuadraticVariance(linear=1.0, square=1.0 / shape[0], square_slope=-1.0 / shape[0] ** 2)
    if code == responses.NEGATIVE_BINOMIAL_1:
        return QuadraticVariance(linear=1.0 + shape[0], square=0.0, linear_slope=1.0)
    if code == responses.GAMMA:
        return QuadraticVariance(linear=0.0, square=1.0 / shape[0], square_slope=-1.0 / shape[0] ** 2)
    if code == responses.BETA:
        share = 1.0 / (1.0 + shape[0])
        return QuadraticVariance(linear=share, square=-share, linear_slope=-(share**2), square_slope=share**2)
    return QuadraticVariance(linear=1.0, square=0.0 if code == responses.POISSON else -1.0)


def latent_variance(
    family: Family, shape: FloatArray, mean: float, approximation: Approximation | None = None
) -> LatentVariance:
    """Variance of one answer on the scale of the linear predictor.

    Parameters
    ----------
    family, shape : of the model.
    mean : lambda, the mean outcome of one trial, at which approximations are made.
    approximation : None for "theoretical" where the answer is a latent variable cut at thresholds or a share, else
        "lognormal".

    Raises
    ------
    CrosslevelError : an approximation that this family has not.

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.families import Binomial, Poisson
    >>> none = np.zeros(0)
    >>> round(latent_variance(Binomial(), none, 0.2).value, 4)
    3.2899
    >>> [round(latent_variance(Poisson(), none, 2.0, name).value, 4) for name in ("lognormal", "delta", "trigamma")]
    [0.4055, 0.5, 0.6449]
    """
    known = _approximations(family)
    chosen = known[0] if approximation is None else approximation
    if chosen not in known:
        raise CrosslevelError(
            f"`approximation` for family={family.name!r} with the {family.link} link is one of "
            f"{', '.join(map(repr, known))}; got {approximation!r}."
        )
    if chosen == "theoretical":
        return _theoretical(family, shape, mean)
    variance = quadratic_variance(family, shape)
    if family.link == "log":
        c = variance.linear / mean + variance.square
        by_mean = -variance.linear / mean**2
        by_shape = variance.linear_slope / mean + variance.square_slope
        value, slope = _of_logarithm(c, chosen)
        return LatentVariance(value=value, by_mean=slope * by_mean, by_shape=slope * by_shape, words=WORDS[chosen])
    # shares and trials with logit link: V / (mu (1 - mu))^2 with V a multiple of mu (1 - mu)
    value, spread = variance.linear / (mean * (1.0 - mean)), mean * (1.0 - mean)
    return LatentVariance(
        value=value,
        by_mean=-value * (1.0 - 2.0 * mean) / spread,
        by_shape=variance.linear_slope / spread,
        words=WORDS[chosen],
    )


WORDS = {
    "lognormal": "log(1 + Var / mean^2) at the mean outcome",
    "delta": "by the delta method at the mean outcome",
    "trigamma": "trigamma function of mean^2 / Var at the mean outcome",
}
"""Approximations in words."""


def _approximations(family: Family) -> tuple[str, ...]:
    """What a family has, the default first."""
    if family.link == "log":
        return ("lognormal", "delta", "trigamma")
    return ("theoretical", "delta") if family.link == "logit" and family.kind != "ordered" else ("theoretical",)


def _theoretical(family: Family, shape: FloatArray, mean: float) -> LatentVariance:
    """Variance of the latent variable's error, and that of a beta share's log odds."""
    known = family.latent_variance
    latent = 0.0 if known is None else known
    words = f"that of the latent variable's error, {latent:.4g}"
    if family.code not in (responses.BETA, responses.BETA_BINOMIAL):
        return LatentVariance(value=latent, words=words)
    from scipy.special import polygamma

    phi, other = float(shape[0]), 1.0 - mean
    own, bend = polygamma(1, [mean * phi, other * phi]), polygamma(2, [mean * phi, other * phi])
    share = "that of the log odds of a beta share with the mean outcome"
    trials = family.code == responses.BETA_BINOMIAL
    latent = np.pi**2 / 3.0 if trials else 0.0
    return LatentVariance(
        value=latent + float(own.sum()),
        by_mean=phi * float(bend[0] - bend[1]),
        by_shape=float(mean * bend[0] + other * bend[1]),
        words=f"{latent:.4g} of the latent variable's error, and {share}" if trials else share,
    )


def _of_logarithm(c: float, approximation: str) -> tuple[float, float]:
    """Variance of the logarithm of an answer with squared coefficient of variation c, and its derivative in c."""
    if approximation == "delta":
        return c, 1.0
    if approximation == "lognormal":
        return float(np.log1p(c)), 1.0 / (1.0 + c)
    from scipy.special import polygamma

    return float(polygamma(1, 1.0 / c)), -float(polygamma(2, 1.0 / c)) / c**2
