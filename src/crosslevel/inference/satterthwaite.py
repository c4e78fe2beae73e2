"""Satterthwaite's degrees of freedom: of a t distribution whose squared denominator has the variance of c'Vc.

For a combination c'beta with variance v = c'V c, V depending on the variance parameters t = (theta, log sigma),

    df = 2 v^2 / (g' Cov(t) g),   g = dv / dt,

both exact: g from cross-products, Cov(t) = 2 H^-1 from the observed information, H being the Hessian of the deviance.

F tests of several combinations turn to the eigenvectors of C V C', along which the estimates are uncorrelated: F is the
mean of their squared t statistics, and its denominator degrees of freedom those that give it the expectation of the
mean of t^2 with the df_i of each, E = sum df_i / (df_i - 2): 2 E / (E - r), which goes to 2 as one of them does.

On the boundary, where some combination of the random effects has no variance, the rank of their covariance matrix is
held at what it is: only changes of theta that change the matrix to first order count. What is zero is thus taken for
known, and the rest as estimated (within the rank, the optimum is an interior one, and the curvature there is regular).

Source: Fai & Cornelius (1996), J. Stat. Comput. Simul. 54: 363-378; Giesbrecht & Burns (1985), Biometrics 41: 477-486.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.df_method import DfMethod
from crosslevel.inference.distributions import f_tail
from crosslevel.inference.estimates import Estimates, Joint, Single
from crosslevel.inference.psi_parameters import known_part, psi_gradient
from crosslevel.inference.sensitivity import Sensitivity, engine_state, sensitivity
from crosslevel.likelihood.fixed_scale import FixedScaleDeviance
from crosslevel.solve import NEGLIGIBLE
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.likelihood.residual import ResidualConditional
    from crosslevel.solve import Solution

ALIKE = 1e-8
"""Relative difference of degrees of freedom that counts as none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Uncertainty:
    """How the covariance of the coefficients moves with the variance parameters, and how uncertain these are.

    Attributes
    ----------
    turn : (p, p) T with T T' = V; a combination c'beta is T'c in the coordinates of `slopes`.
    slopes : (k, p, p) derivatives of V in (phi, theta, log sigma), V being the identity.
    vcov : (k, k) sampling covariance of (phi, theta, log sigma); zero for what is held.
    """

    turn: FloatArray
    slopes: FloatArray
    vcov: FloatArray

    def df(self, contrasts: FloatArray) -> FloatArray:
        """Degrees of freedom of each row of C (m, p); infinite where nothing is uncertain."""
        whitened = contrasts @ self.turn
        size = np.einsum("ip,ip->i", whitened, whitened)
        slope = np.einsum("ip,apq,iq->ia", whitened, self.slopes, whitened)
        spread = np.einsum("ia,ab,ib->i", slope, self.vcov, slope)
        return np.asarray(np.divide(2.0 * size**2, spread, out=np.full_like(size, np.inf), where=spread > 0.0))


@dataclass(frozen=True)
class Satterthwaite(DfMethod):
    """Satterthwaite's degrees of freedom; standard errors as they are."""

    name: str
    description: str

    def single(self, estimates: Estimates, contrasts: FloatArray) -> Single:
        """Standard errors sqrt(C V C'), and 2 v^2 / Var(v)."""
        return Single(std_error=estimates.std_error(contrasts), df=estimates.once(uncertainty).df(contrasts))

    def joint(self, estimates: Estimates, contrasts: FloatArray) -> Joint:
        """Mean of the squared t statistics along the eigenvectors of C V C'."""
        variances, vectors = np.linalg.eigh(contrasts @ estimates.vcov @ contrasts.T)
        axes = vectors.T @ contrasts
        statistic = float(np.mean((axes @ estimates.beta) ** 2 / variances))
        r, df = len(contrasts), combined_df(estimates.once(uncertainty).df(axes))
        return Joint(statistic=statistic, df_num=float(r), df_den=df, p_value=f_tail(r, df, statistic))


def combined_df(df: FloatArray) -> float:
    """Denominator degrees of freedom of the mean of squared t statistics with `df` (r,): 2 E / (E - r)."""
    least, r = float(df.min()), len(df)
    if r == 1 or np.isinf(least) or float(df.max()) - least <= ALIKE * least:
        return float(df.mean())
    if least <= 2.0:  # E is infinite
        return 2.0
    excess = float(np.sum(2.0 / (df - 2.0)))  # E - r
    return 2.0 * (excess + r) / excess


def uncertainty(estimates: Estimates) -> Uncertainty:
    """How the covariance of the coefficients moves with the variance parameters, and how uncertain these are.

    Raises
    ------
    CrosslevelError : the method is not defined for this model.
    """
    if estimates.design.is_sampled:
        raise CrosslevelError(
            "Satterthwaite is not worked out for sampling weights, whose standard errors come from the sandwich and "
            'not from the model\'s variances. Write ddf="m-l-1", which counts clusters.'
        )
    solution = estimates.solution
    known = sensitivity(solution)
    gradients = _psi_gradients(solution)
    vcov = _parameter_covariance(solution, gradients)
    return Uncertainty(turn=known.turn, slopes=_slopes(solution, known, gradients), vcov=vcov)


def _psi_gradients(solution: "Solution") -> tuple[FloatArray, ...]:
    """For each factor (k, q, q) the derivative of its Psi in the k parameters theta of all factors."""
    structures, start = solution.criterion.structures, len(solution.phi)
    n_theta, theta = sum(structure.n_theta for structure in structures), solution.minimum.theta
    out = []
    for structure in structures:
        part = slice(start, start + structure.n_theta)
        block = np.zeros((n_theta, structure.q, structure.q))
        block[start - len(solution.phi) : part.stop - len(solution.phi)] = psi_gradient(structure, theta[part])
        out.append(block)
        start = part.stop
    return tuple(out)


def _slopes(solution: "Solution", known: Sensitivity, gradients: tuple[FloatArray, ...]) -> FloatArray:
    """Derivatives (k, p, p) of V in (phi, theta, log sigma); what is known does not grow with sigma."""
    criterion, p = solution.criterion, len(solution.beta)
    state = engine_state(solution)
    fixed = tuple(
        -2.0 * known_part(structure, factor)[None]
        for structure, factor in zip(criterion.structures, state.factors, strict=True)
    )
    of_sigma = 2.0 * np.eye(p)[None] + known.slopes(fixed)
    of_theta = known.slopes(gradients)
    of_phi = _residual_slopes(solution.minimum.state) if len(solution.phi) else np.zeros((0, p, p))
    return np.concatenate([of_phi, of_theta, of_sigma])


def _residual_slopes(state: "ResidualConditional") -> FloatArray:
    """Derivatives (m, p, p) of V in phi, V being the identity.

    X'V^-1 X is the least sum of squares of X + Z B, penalised by B's size; so that its derivative is that of the
    whitened rows' cross-products at the best B alone.
    """
    from crosslevel.design.working import multiply
    from crosslevel.likelihood.elimination import times

    at, p = state.inner, len(state.beta)
    whitened = np.linalg.inv(at.chol[:-1, :-1]).T
    coefficients = np.vstack([whitened, np.zeros(p)])
    solved = at.factorised.plan.by_factor(at.solved[:, :p] @ whitened)
    effects = tuple(-times(part, factor.T) for part, factor in zip(solved, at.factors, strict=True))
    out = []
    for a in range(len(state.phi)):
        images, border = multiply(state.whitened.change(a), effects, coefficients)
        change = coefficients.T @ border
        for effect, image in zip(effects, images, strict=True):
            change += np.tensordot(effect, image, axes=([0, 1], [0, 1]))
        out.append(-change)
    return np.array(out)


def _parameter_covariance(solution: "Solution", gradients: tuple[FloatArray, ...]) -> FloatArray:
    """Sampling covariance (k + 1, k + 1) of (phi, theta, log sigma), the rank of each Psi held where it is."""
    criterion, at, theta = solution.criterion, solution.minimum.state, solution.minimum.theta
    n_phi, k = len(solution.phi), len(theta)
    moving = np.zeros((k, k))
    moving[:n_phi, :n_phi] = np.eye(n_phi)
    moving[n_phi:, n_phi:] = _moving(gradients)
    kept = moving[np.any(moving != 0.0, axis=1)]  # (r, k) orthonormal
    if isinstance(criterion, FixedScaleDeviance):
        axes = np.pad(kept, ((0, 1), (0, 1)))
        axes[-1, -1] = 0.0 if criterion.is_least(at) else 1.0
        axes = axes[np.any(axes != 0.0, axis=1)]
        return axes.T @ (2.0 * _inverse(axes @ criterion.joint_hessian(at, theta) @ axes.T)) @ axes
    out = np.zeros((k + 1, k + 1))
    slope = np.zeros(k)
    if len(kept):
        hessian, slope = criterion.curvature(at, theta)
        out[:k, :k] = kept.T @ (2.0 * _inverse(kept @ hessian @ kept.T)) @ kept
    if criterion.sigma is None:
        out[:k, k] = out[k, :k] = out[:k, :k] @ slope
        out[k, k] = 1.0 / (2.0 * solution.at.nu) + slope @ out[:k, :k] @ slope
    return out


def _moving(gradients: tuple[FloatArray, ...]) -> FloatArray:
    """Directions (k, k) of theta that change some Psi to first order, orthonormal rows; zero rows for the others."""
    k = len(gradients[0]) if gradients else 0
    jacobian = np.concatenate([np.zeros((k, 0)), *(part.reshape(k, part.shape[1] ** 2) for part in gradients)], axis=1)
    directions, sizes, _ = np.linalg.svd(jacobian)
    out = directions.T.copy()
    out[np.count_nonzero(sizes > NEGLIGIBLE) :] = 0.0
    return out


def _inverse(hessian: FloatArray) -> FloatArray:
    """Inverse of a positive definite Hessian.

    Raises
    ------
    CrosslevelError : it is not positive definite.
    """
    try:
        half = np.linalg.inv(np.linalg.cholesky(hessian))
    except np.linalg.LinAlgError:
        raise CrosslevelError(
            "Satterthwaite needs the curvature of the deviance at the estimates, and there is none in some direction "
            "of the variance parameters: the optimum was not reached (see fit.status), or the data do not tell some "
            'parameters apart. Simplify the random terms, or write ddf="m-l-1".'
        ) from None
    return np.asarray(half.T @ half)
