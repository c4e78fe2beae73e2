"""Inverse link functions with their derivatives, exact in both tails."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from crosslevel.kernels.responses import LARGEST_EXPONENT
from crosslevel.types import FloatArray

SQRT_2PI = np.sqrt(2.0 * np.pi)
LARGEST_ROOT = 1e145


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """One link function.

    Parameters
    ----------
    mean : F(eta).
    slope : derivative of F.
    quantile : eta of a mean: the link itself.
    latent_variance : variance of a variable with the distribution function F, None if F is none.
    """

    mean: Callable[[FloatArray], FloatArray]
    slope: Callable[[FloatArray], FloatArray]
    quantile: Callable[[FloatArray], FloatArray]
    latent_variance: float | None = None


def growth(eta: FloatArray) -> FloatArray:
    """e^eta, held where it would overflow."""
    return np.asarray(np.exp(np.minimum(eta, LARGEST_EXPONENT)))


def squared(mu: FloatArray) -> FloatArray:
    """mu^2, held where it would overflow."""
    return np.asarray(np.minimum(mu, LARGEST_ROOT) ** 2)


def _logistic(eta: FloatArray) -> FloatArray:
    return np.asarray(special.expit(eta))


def _logistic_slope(eta: FloatArray) -> FloatArray:
    return np.asarray(special.expit(eta) * special.expit(-eta))


def _logit(mu: FloatArray) -> FloatArray:
    return np.asarray(special.logit(mu))


def _normal(eta: FloatArray) -> FloatArray:
    return np.asarray(special.ndtr(eta))


def _normal_slope(eta: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-0.5 * np.minimum(np.abs(eta), 50.0) ** 2) / SQRT_2PI)


def _normal_quantile(mu: FloatArray) -> FloatArray:
    return np.asarray(special.ndtri(mu))


def _gumbel(eta: FloatArray) -> FloatArray:
    return np.asarray(-np.expm1(-growth(eta)))


def _gumbel_slope(eta: FloatArray) -> FloatArray:
    return np.asarray(np.exp(eta - growth(eta)))


def _gumbel_quantile(mu: FloatArray) -> FloatArray:
    return np.asarray(np.log(-np.log1p(-mu)))


LINKS = {
    "logit": Link(mean=_logistic, slope=_logistic_slope, quantile=_logit,
                  latent_variance=np.pi**2 / 3.0),
    "probit": Link(mean=_normal, slope=_normal_slope, quantile=_normal_quantile,
                   latent_variance=1.0),
    "cloglog": Link(mean=_gumbel, slope=_gumbel_slope, quantile=_gumbel_quantile,
                    latent_variance=np.pi**2 / 6.0),
    "log": Link(mean=growth, slope=growth, quantile=np.log),
    "identity": Link(mean=np.asarray, slope=np.ones_like, quantile=np.asarray),
}  # fmt: skip
