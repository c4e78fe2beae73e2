"""Inverse link functions with their first two derivatives, exact in both tails."""

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
    slope, curvature : derivatives of F.
    quantile : eta of a mean: the link itself.
    latent_variance : variance of a variable with the distribution function F, None if F is none.
    """

    mean: Callable[[FloatArray], FloatArray]
    slope: Callable[[FloatArray], FloatArray]
    curvature: Callable[[FloatArray], FloatArray]
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


def _logistic_curvature(eta: FloatArray) -> FloatArray:
    return np.asarray(-_logistic_slope(eta) * np.tanh(0.5 * eta))


def _logit(mu: FloatArray) -> FloatArray:
    return np.asarray(special.logit(mu))


def _normal(eta: FloatArray) -> FloatArray:
    return np.asarray(special.ndtr(eta))


def _normal_slope(eta: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-0.5 * np.minimum(np.abs(eta), 50.0) ** 2) / SQRT_2PI)


def _normal_curvature(eta: FloatArray) -> FloatArray:
    return -eta * _normal_slope(eta)


def _normal_quantile(mu: FloatArray) -> FloatArray:
    return np.asarray(special.ndtri(mu))


def _gumbel(eta: FloatArray) -> FloatArray:
    return np.asarray(-np.expm1(-growth(eta)))


def _gumbel_slope(eta: FloatArray) -> FloatArray:
    return np.asarray(np.exp(eta - growth(eta)))


def _gumbel_curvature(eta: FloatArray) -> FloatArray:
    return -_gumbel_slope(eta) * np.expm1(np.minimum(eta, LARGEST_EXPONENT))


def _gumbel_quantile(mu: FloatArray) -> FloatArray:
    return np.asarray(np.log(-np.log1p(-mu)))


LINKS = {
    "logit": Link(mean=_logistic, slope=_logistic_slope, curvature=_logistic_curvature, quantile=_logit,
                  latent_variance=np.pi**2 / 3.0),
    "probit": Link(mean=_normal, slope=_normal_slope, curvature=_normal_curvature, quantile=_normal_quantile,
                   latent_variance=1.0),
    "cloglog": Link(mean=_gumbel, slope=_gumbel_slope, curvature=_gumbel_curvature, quantile=_gumbel_quantile,
                    latent_variance=np.pi**2 / 6.0),
    "log": Link(mean=growth, slope=growth, curvature=growth, quantile=np.log),
    "identity": Link(mean=np.asarray, slope=np.ones_like, curvature=np.zeros_like, quantile=np.asarray),
}  # fmt: skip
