"""Inverse link functions of probabilities, with their first two derivatives, exact in both tails."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from crosslevel.types import FloatArray

SQRT_2PI = np.sqrt(2.0 * np.pi)


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """One link function of a probability.

    Parameters
    ----------
    mean, complement : probability F(eta) and 1 - F(eta), each without cancellation.
    slope, curvature : derivatives of F.
    quantile : eta of a probability.
    latent_variance : variance of a variable with the distribution function F.
    """

    mean: Callable[[FloatArray], FloatArray]
    complement: Callable[[FloatArray], FloatArray]
    slope: Callable[[FloatArray], FloatArray]
    curvature: Callable[[FloatArray], FloatArray]
    quantile: Callable[[FloatArray], FloatArray]
    latent_variance: float


def _logistic_slope(eta: FloatArray) -> FloatArray:
    return special.expit(eta) * special.expit(-eta)


def _logistic_curvature(eta: FloatArray) -> FloatArray:
    return -_logistic_slope(eta) * np.tanh(0.5 * eta)


def _normal_slope(eta: FloatArray) -> FloatArray:
    return np.exp(-0.5 * np.minimum(np.abs(eta), 50.0) ** 2) / SQRT_2PI


def _normal_curvature(eta: FloatArray) -> FloatArray:
    return -eta * _normal_slope(eta)


def _growth(eta: FloatArray) -> FloatArray:
    """e^eta, held where it would overflow."""
    return np.exp(np.minimum(eta, 700.0))


def _gumbel_mean(eta: FloatArray) -> FloatArray:
    return -np.expm1(-_growth(eta))


def _gumbel_complement(eta: FloatArray) -> FloatArray:
    return np.exp(-_growth(eta))


def _gumbel_slope(eta: FloatArray) -> FloatArray:
    return np.exp(eta - _growth(eta))


def _gumbel_curvature(eta: FloatArray) -> FloatArray:
    return _gumbel_slope(eta) * -np.expm1(np.minimum(eta, 700.0))


def _gumbel_quantile(p: FloatArray) -> FloatArray:
    return np.log(-np.log1p(-p))


LINKS = {
    "logit": Link(mean=special.expit, complement=lambda eta: special.expit(-eta), slope=_logistic_slope,
                  curvature=_logistic_curvature, quantile=special.logit, latent_variance=np.pi**2 / 3.0),
    "probit": Link(mean=special.ndtr, complement=lambda eta: special.ndtr(-eta), slope=_normal_slope,
                   curvature=_normal_curvature, quantile=special.ndtri, latent_variance=1.0),
    "cloglog": Link(mean=_gumbel_mean, complement=_gumbel_complement, slope=_gumbel_slope,
                    curvature=_gumbel_curvature, quantile=_gumbel_quantile, latent_variance=np.pi**2 / 6.0),
}  # fmt: skip
