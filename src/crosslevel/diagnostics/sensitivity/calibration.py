"""What a predictor measured with error is expected to be without it, given all that was observed.

With observed x_ij = x*_ij + m_ij, error m ~ N(0, s²), and the model of the predictor given the other ones

    x_ij = gamma'w_ij + U_j + R_ij,     U_j ~ N(0, tau²),     R_ij ~ N(0, sigma²)   (sigma² includes s²),

where w has deviations from cluster means beside these means, so that gamma'w_ij = f_W,ij + f_B,j, and r_ij is what is
left of x_ij without it,

    lambda_B,j = tau² / (tau² + sigma² / n_j)            reliability of the cluster mean, given w
    lambda_W   = (sigma² - s²) / sigma²                   reliability of a deviation from it, given w
    E[U_j | x] = lambda_B,j r_j
    latent mean:  mu_j  = f_B,j + E[U_j | x],             x*_ij = mu_j + f_W,ij + lambda_W (r_ij - E[U_j | x])
    mean of the rows themselves:  mu_j + lambda_W (r_j - E[U_j | x]).

A model that is linear in x* has, with these in its place, coefficients that are consistent.

Source: Carroll, Ruppert, Stefanski & Crainiceanu (2006), Measurement Error in Nonlinear Models, chapter 4; for means of
sampled rows Lüdtke et al. (2008), Psychol. Methods 13: 203-229; Grilli & Rampichini (2011), Int. J. Biostat. 7(1).
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from crosslevel.diagnostics.sensitivity.mismeasured import Mismeasured
from crosslevel.errors import CrosslevelError
from crosslevel.inference.two_level_normal import two_level_normal
from crosslevel.types import FloatArray

Members: TypeAlias = Literal["sample", "all"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictorModel:
    """The model of the observed predictor given the others.

    Attributes
    ----------
    subject : the predictor.
    parameters, vcov : (k + 2,) gamma, tau², sigma², and their covariance. Without clusters tau² is 0; of a predictor of
        clusters sigma² is, and tau² includes the error.
    error : s².
    members : "sample" where the rows are drawn from a cluster, whose mean is latent; "all" where they are all of it.
    """

    subject: Mismeasured = field(repr=False)
    parameters: FloatArray
    vcov: FloatArray = field(repr=False)
    error: float
    members: Members

    @property
    def reliability_within(self) -> float:
        """lambda_W: of a row, given its cluster and the other predictors; NaN for a predictor of clusters."""
        sigma2 = self.parameters[-1]
        return float(1.0 - self.error / sigma2) if sigma2 > 0.0 else np.nan

    @property
    def reliability_means(self) -> FloatArray:
        """(J,) share of the variance of each observed cluster mean, given the others, that is not error."""
        tau2, sigma2 = self.parameters[-2:]
        if self.subject.is_context:
            return np.full(len(self.subject.levels), 1.0 - self.error / tau2)
        observed = tau2 + sigma2 / self.subject.sizes
        true = tau2 if self.members == "sample" else tau2 + (sigma2 - self.error) / self.subject.sizes
        return np.asarray(true / observed)

    def expected(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """E[x* | observed] of rows (n,), and of their cluster's mean (n,), at parameters (k + 2,)."""
        subject, (tau2, sigma2) = self.subject, parameters[-2:]
        parts = subject.w * parameters[:-2]
        fixed = parts.sum(axis=1)
        residual = subject.x - fixed
        if subject.is_context or not subject.group:
            row = fixed + (1.0 - self.error / max(tau2, sigma2)) * residual
            return row, row
        means = subject.means(residual)
        latent = tau2 / (tau2 + sigma2 / subject.sizes) * means
        kept = 1.0 - self.error / sigma2
        mean = parts[:, subject.above].sum(axis=1) + latent[subject.codes]
        row = mean + parts[:, ~subject.above].sum(axis=1) + kept * (residual - latent[subject.codes])
        if self.members == "all":
            mean = mean + (kept * (means - latent))[subject.codes]
        return row, mean

    def replaced(self, parameters: FloatArray) -> dict[str, FloatArray]:
        """What stands for each of the formula's expressions of the predictor, (n,) each."""
        row, mean = self.expected(parameters)
        forms = {"raw": row, "centred": row - row.mean(), "within": row - mean, "between": mean}
        return {text: forms[kind] for text, kind in self.subject.kinds.items()}


def predictor_model(subject: Mismeasured, error: float, members: Members) -> PredictorModel:
    """Estimate the model of the predictor by restricted maximum likelihood.

    Raises
    ------
    CrosslevelError : the error is said to be larger than what the predictor varies by.
    """
    if subject.group and not subject.is_context:
        parameters, vcov = _two_levels(subject)
        own, what = float(parameters[-1]), f"within clusters of {subject.group}"
    else:
        parameters, vcov = _one_level(subject)
        own, what = float(parameters[-2:].max()), "beside the other predictors"
    if error >= own:
        raise CrosslevelError(
            f"`error_sd` (or `reliability`) says that {subject.variable} has an error variance of {error:.4g}, but it "
            f"varies by no more than {own:.4g} {what}. So much error cannot be: check the number (a reliability is "
            "that of single rows over the whole sample), or the scale's units."
        )
    return PredictorModel(subject=subject, parameters=parameters, vcov=vcov, error=error, members=members)


def _two_levels(subject: Mismeasured) -> tuple[FloatArray, FloatArray]:
    """gamma, tau², sigma² and their covariance of a predictor that varies within clusters."""
    found = two_level_normal(subject.x[:, None], subject.w, subject.codes, reml=True)
    k = subject.w.shape[1]
    vcov = np.zeros((k + 2, k + 2))
    vcov[:k, :k] = found.coefficients_vcov
    vcov[k:, k:] = found.covariances_vcov[::-1, ::-1]
    return np.concatenate([found.coefficients[:, 0], found.between[0], found.within[0]]), vcov


def _one_level(subject: Mismeasured) -> tuple[FloatArray, FloatArray]:
    """The same without clusters, or of a predictor that is constant within them: by least squares."""
    w, x = subject.w, subject.x
    if subject.is_context:
        _, first = np.unique(subject.codes, return_index=True)
        w, x = w[first], x[first]
    gamma, *_ = np.linalg.lstsq(w, x, rcond=None)
    n, k = w.shape
    if n <= k:
        raise CrosslevelError(
            f"`variable` {subject.variable} has {n} values for {k} other predictors, so that its own variance cannot "
            "be told. Leave predictors out of the model."
        )
    variance = float(np.sum((x - w @ gamma) ** 2) / (n - k))
    vcov = np.zeros((k + 2, k + 2))
    vcov[:k, :k] = variance * np.linalg.inv(w.T @ w)
    place = k if subject.is_context else k + 1
    vcov[place, place] = 2.0 * variance**2 / (n - k)
    ends = [variance, 0.0] if subject.is_context else [0.0, variance]
    return np.append(gamma, ends), vcov
