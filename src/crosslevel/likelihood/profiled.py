"""Profiled deviance of a linear mixed model with one grouping factor, from its reduced cross-products.

With V = I + Z Psi Z', Psi = Lambda Lambda', and beta and sigma at their conditional optima,

    d(Psi) = sum log|V| + nu (1 + log(2 pi r^2 / nu)) + [log|X'V^-1 X|],   nu = n - p and [] for REML, n for ML,
    S = d d / d Psi = sum (P - Q),  P = Z'V^-1 Z,  Q = (nu / r^2) t t' + [F F'],  t = Z'V^-1 (y - X beta),
    F F' = Z'V^-1 X (X'V^-1 X)^-1 X'V^-1 Z.

Where sigma is known, nu log(2 pi sigma^2) + r^2 / sigma^2 stands in place of nu (1 + log(2 pi r^2 / nu)), and
1 / sigma^2 in that of nu / r^2. Row weights w make V = W^-1 + Z Psi Z', with every product X'X a weighted one: as
precisions they take sum log w off the deviance, otherwise n is their sum.

Source: Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), equations 34-42 for the deviance; derivatives as
in Harville (1977), JASA 72: 320-338, written for the profile.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.reduced import Reduced
from crosslevel.likelihood.boundary import PsiSlopes, leave_boundary
from crosslevel.optimise import Derivatives
from crosslevel.types import FloatArray, IntArray

EXACT_LIMIT = 50_000_000
"""Products up to which REML's global Hessian term is summed: beyond, clusters are so many that it is negligible."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditional:
    """The model's conditional optimum at one Lambda, in working coordinates.

    Attributes
    ----------
    reduced, reml : the model.
    factor : (q, q) Lambda.
    deviance : -2 (restricted) log-likelihood, in the units of the data.
    precision, cross : (J, q, q) Z'V^-1 Z and (J, q, p + 1) Z'V^-1 [X y].
    chol : (p + 1, p + 1) lower Cholesky factor of [X y]'V^-1 [X y].
    beta : (p,) coefficients.
    rss : r^2 = (y - X beta)'V^-1 (y - X beta).
    sigma : residual standard deviation in working units, if it is known.
    """

    reduced: Reduced
    reml: bool
    factor: FloatArray
    deviance: float
    precision: FloatArray
    cross: FloatArray
    chol: FloatArray
    beta: FloatArray
    rss: float
    sigma: float | None = None

    @property
    def nu(self) -> float:
        """Degrees of freedom of r^2: n - p (REML) or n (ML)."""
        return self.reduced.n_rows - (self.reduced.p if self.reml else 0)

    @property
    def scale(self) -> float:
        """1 / sigma^2: nu / r^2 where it is estimated."""
        return self.nu / self.rss if self.sigma is None else 1.0 / self.sigma**2

    @property
    def factors(self) -> tuple[FloatArray]:
        """Lambda of the one grouping factor."""
        return (self.factor,)

    @property
    def modes(self) -> tuple[FloatArray]:
        """(J, q) conditional modes Psi Z'V^-1 (y - X beta)."""
        t = self.cross @ np.append(-self.beta, 1.0)
        return (t @ self.factor @ self.factor.T,)

    def conditional_covariances(self) -> tuple[FloatArray]:
        """(J, q, q) Lambda (I + Lambda'Z'Z Lambda)^-1 Lambda', to be multiplied by sigma^2."""
        scaled = self.reduced.root @ self.factor
        chol = np.linalg.cholesky(np.eye(self.factor.shape[1]) + scaled.transpose(0, 2, 1) @ scaled)
        spread = np.linalg.solve(chol, np.broadcast_to(self.factor.T, chol.shape))
        return (np.asarray(spread.transpose(0, 2, 1) @ spread),)

    @cached_property
    def psi_derivatives(self) -> "PsiDerivatives":
        """Derivatives of the deviance in the relative covariance Psi."""
        from crosslevel.kernels.marginal import derivative_sums

        n_clusters, q, p1 = self.cross.shape
        p = p1 - 1
        with_cc = self.reml and n_clusters * q * q * p * p <= EXACT_LIMIT
        score, p_sum, tt = np.zeros((3, q, q))
        pp, pq = np.zeros((2, q, q, q, q))
        tc, cc = np.zeros((q, q, p)), np.zeros((q, q, p, p) if with_cc else (0, 0, 0, 0))
        whitened = np.ascontiguousarray(np.linalg.inv(self.chol[:-1, :-1]).T)
        derivative_sums(
            self.precision, self.cross, self.reduced.multiplicity, np.append(-self.beta, 1.0), whitened,
            self.scale, self.reml, score, p_sum, tt, pp, pq, tc, cc,
        )  # fmt: skip
        if with_cc:
            low, high = _below_diagonal(q)
            cc[high, low] = cc[low, high].transpose(0, 2, 1)
        return PsiDerivatives(
            score=_mirrored(score), p_sum=_mirrored(p_sum), tt=_mirrored(tt), pp=_mirrored_pairs(pp),
            pq=_mirrored_pairs(pq), tc=tc, cc=cc, scale=self.scale, nu=self.nu, n_rows=self.reduced.n_rows,
            sigma_known=self.sigma is not None,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class ProfiledDeviance:
    """The criterion of a linear mixed model with one grouping factor: theta -> deviance and its derivatives.

    Attributes
    ----------
    reduced : cross-products of the model.
    reml : whether the likelihood is restricted.
    sigma : residual standard deviation in working units if it is known; None if it is estimated.
    """

    reduced: Reduced
    reml: bool
    sigma: float | None = None

    @property
    def structure(self) -> BlockStructure:
        """The blocks that theta parametrises."""
        return self.reduced.structure

    @property
    def structures(self) -> tuple[BlockStructure]:
        """The blocks of the one grouping factor."""
        return (self.reduced.structure,)

    @property
    def bases(self) -> tuple[FloatArray]:
        """(q, q) T: working random effects are T b."""
        return (self.reduced.basis,)

    @property
    def coordinates(self) -> Coordinates:
        """In which coordinates [X y] is worked on."""
        return self.reduced.coordinates

    @property
    def nu(self) -> float:
        """Degrees of freedom of r^2: n - p (REML) or n (ML)."""
        return self.reduced.n_rows - (self.reduced.p if self.reml else 0)

    def value(self, theta: FloatArray) -> Conditional:
        """Deviance at working `theta`; infinite where [X y]'V^-1 [X y] is numerically singular."""
        return self.at_factor(self.structure.factor(theta))

    def at_factors(self, factors: tuple[FloatArray, ...]) -> Conditional:
        """Deviance at any Lambda of the one grouping factor, in working coordinates."""
        (factor,) = factors
        return self.at_factor(factor)

    def at_factor(self, factor: FloatArray) -> Conditional:
        """Deviance at any Lambda (q, q) in working coordinates."""
        from crosslevel.kernels.marginal import whiten_groups

        reduced = self.reduced
        n_clusters, q, p1 = reduced.image.shape
        precision, cross, total = np.empty((n_clusters, q, q)), np.empty((n_clusters, q, p1)), np.zeros((p1, p1))
        factor = np.ascontiguousarray(factor)
        log_det = whiten_groups(reduced.root, reduced.image, factor, reduced.multiplicity, precision, cross, total)
        try:
            chol = np.linalg.cholesky(reduced.remainder + total)  # reads the lower triangle
        except np.linalg.LinAlgError:
            chol = np.full((p1, p1), np.nan)
        rss = float(chol[-1, -1] ** 2)
        deviance = self._deviance(log_det, chol, rss)
        beta = np.linalg.solve(chol[:-1, :-1].T, chol[-1, :-1])
        return Conditional(
            reduced=reduced, reml=self.reml, factor=factor, deviance=deviance, precision=precision, cross=cross,
            chol=chol, beta=beta, rss=rss, sigma=self.sigma,
        )  # fmt: skip

    def _deviance(self, log_det: float, chol: FloatArray, rss: float) -> float:
        """-2 log-likelihood in the units of the data."""
        if not np.isfinite(log_det) or not rss > 0.0:
            return np.inf
        log_y, log_x = self.reduced.coordinates.log_scale
        if self.sigma is None:
            out = log_det + self.nu * (1.0 + np.log(2.0 * np.pi * rss / self.nu) + 2.0 * log_y)
        else:
            out = log_det + self.nu * (np.log(2.0 * np.pi * self.sigma**2) + 2.0 * log_y) + rss / self.sigma**2
        out -= self.reduced.log_weight
        if self.reml:
            out += 2.0 * (float(np.log(np.diag(chol)[:-1]).sum()) + log_x)
        return float(out)

    def derivatives(self, at: Conditional, theta: FloatArray) -> Derivatives:
        """Gradient, expected information and Hessian of the deviance in working `theta`.

        The expected information carries the positive part of S as the curvature that Psi = Lambda Lambda' adds, which
        is what makes scoring work at the boundary.
        """
        structure = self.structure
        gradient = structure.factor_gradient(theta)
        second = None if structure.linear else structure.factor_hessian(theta)
        return at.psi_derivatives.in_theta(gradient, at.factor, structure.mask, second)

    def escape(self, theta: FloatArray, at: Conditional, *, tolerance: float) -> tuple[FloatArray, Conditional] | None:
        """A lower point off the boundary, or None; see `boundary.leave_boundary`."""
        return leave_boundary(self, theta, at, tolerance=tolerance)

    def psi_slopes(self, at: Conditional) -> PsiSlopes:
        """Slopes of the deviance in Psi; the information is the expected one."""
        sums = at.psi_derivatives
        return PsiSlopes(
            scores=(sums.score,),
            sums=(sums.p_sum,),
            information=lambda _, changes: np.diag(sums.information(changes)),
        )

    def rotated(self, factors: tuple[FloatArray, ...]) -> tuple["ProfiledDeviance", tuple[FloatArray, ...]]:
        """The same criterion along the principal axes of this covariance factor, and the factor there."""
        reduced, factor = self.reduced.rotated(*factors)
        return replace(self, reduced=reduced), (factor,)

    def conditional_covariances(self, at: Conditional) -> tuple[FloatArray, ...]:
        """For each factor (J, q, q) conditional covariances of the random effects, to be multiplied by sigma^2."""
        return at.conditional_covariances()

    def curvature(self, at: Conditional, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hessian (k, k) of the deviance and gradient (k,) of log sigma = log(r^2 / nu) / 2 (0 if known) in `theta`."""
        gradient = self.structure.factor_gradient(theta)
        half = gradient @ at.factor.T
        directions = half + half.transpose(0, 2, 1)
        log_sigma = -np.tensordot(directions, at.psi_derivatives.tt, axes=([1, 2], [0, 1])) / (2.0 * at.nu)
        if self.sigma is not None:
            log_sigma = np.zeros(len(directions))
        return self.derivatives(at, theta).hessian, np.asarray(log_sigma)


@dataclass(frozen=True, kw_only=True, eq=False)
class PsiDerivatives:
    """Sums over clusters that make the derivatives in Psi; see `kernels.marginal.derivative_sums`.

    Attributes
    ----------
    score : (q, q) S = sum of P - Q, the derivative of the deviance in Psi.
    p_sum, tt : (q, q) sums of P and of (nu / r^2) t t'.
    pp, pq : (q, q, q, q) sums of P (x) P and P (x) Q.
    tc, cc : (q, q, p) sum of t (x) F; (q, q, p, p) sum of F (x) F, empty where not wanted.
    scale : 1 / sigma^2, nu / r^2 where it is estimated.
    nu, n_rows : n - p or n; n.
    sigma_known : whether sigma is known, so that nothing is profiled out.
    """

    score: FloatArray
    p_sum: FloatArray
    tt: FloatArray
    pp: FloatArray
    pq: FloatArray
    tc: FloatArray
    cc: FloatArray
    scale: float
    nu: float
    n_rows: float
    sigma_known: bool = False

    def information(self, directions: FloatArray) -> FloatArray:
        """Expected (ML) information in symmetric directions (k, q, q) of Psi, sigma profiled out if unknown: (k, k)."""
        flat = _flat(directions)
        out = flat @ _middle(self.pp) @ flat.T
        if not self.sigma_known:
            trace = flat @ self.p_sum.ravel()
            out -= np.outer(trace, trace) / self.n_rows
        return np.asarray(out)

    def hessian(self, directions: FloatArray) -> FloatArray:
        """Hessian of the deviance in symmetric directions (k, q, q) of Psi: (k, k)."""
        flat = _flat(directions)
        q, p = self.tc.shape[0], self.tc.shape[2]
        u = flat @ self.tt.ravel()
        w = flat @ self.tc.reshape(q * q, p)
        out = flat @ _middle(2.0 * self.pq - self.pp) @ flat.T
        profiled = 2.0 * self.scale * (w @ w.T)
        if not self.sigma_known:
            profiled += np.outer(u, u) / self.nu
        out -= profiled
        if self.cc.size:
            k = (flat @ self.cc.reshape(q * q, p * p)).reshape(-1, p, p)
            out -= _flat(k) @ _flat(k.transpose(0, 2, 1)).T
        return np.asarray(out)

    def in_theta(
        self, gradient: FloatArray, factor: FloatArray, mask: FloatArray, second: FloatArray | None = None
    ) -> Derivatives:
        """Carry the derivatives through Psi = Lambda Lambda', with d Lambda / d theta = `gradient` (k, q, q).

        Beside J'HJ, the second derivative of Psi adds 2 tr(L_a' S L_b): exact in the Hessian, with the positive
        semi-definite part of S in the information. Without it scoring crawls where Lambda is singular. The `second`
        derivative of Lambda (k, k, q, q), where it is not zero, adds 2 tr(L_ab' S Lambda) to the Hessian.
        """
        half = gradient @ factor.T
        directions = half + half.transpose(0, 2, 1)
        score = self.score * mask
        hessian = self.hessian(directions) + 2.0 * _flat(score @ gradient) @ _flat(gradient).T
        if second is not None:
            hessian += 2.0 * np.tensordot(second, score @ factor, axes=2)
        return Derivatives(
            gradient=_flat(directions) @ score.ravel(),
            hessian=hessian,
            expected=partial(self._expected, gradient, directions, score),
        )

    def _expected(self, gradient: FloatArray, directions: FloatArray, score: FloatArray) -> FloatArray:
        """Information in theta, with the positive semi-definite part of S (q, q) for the curvature of Psi: (k, k)."""
        values, vectors = np.linalg.eigh(score)
        positive = (vectors * np.maximum(values, 0.0)) @ vectors.T
        return self.information(directions) + 2.0 * _flat(positive @ gradient) @ _flat(gradient).T


def _flat(matrices: FloatArray) -> FloatArray:
    """Matrices (k, a, b) as rows (k, a b)."""
    return matrices.reshape(len(matrices), -1)


def _middle(tensor: FloatArray) -> FloatArray:
    """(q q, q q) matrix M with vec(A)' M vec(B) = sum over groups of tr(P A Q B), from the sums of P[i, j] Q[k, l]."""
    q = tensor.shape[0]
    return tensor.transpose(1, 2, 0, 3).reshape(q * q, q * q)


def _mirrored(lower: FloatArray) -> FloatArray:
    """Symmetric matrix (q, q) from its lower triangle."""
    high, low = _triangle(lower.shape[0])
    return lower[high, low]


def _mirrored_pairs(lower: FloatArray) -> FloatArray:
    """Tensor (q, q, q, q) that is symmetric in its first and in its last two axes, from the lower triangles of both."""
    high, low = _triangle(lower.shape[0])
    return lower[high[:, :, None, None], low[:, :, None, None], high, low]


@cache
def _triangle(q: int) -> tuple[IntArray, IntArray]:
    """For each element of a (q, q) matrix, the larger and the smaller of its indices."""
    i, j = np.indices((q, q))
    return np.maximum(i, j), np.minimum(i, j)


@cache
def _below_diagonal(q: int) -> tuple[IntArray, IntArray]:
    """Rows and columns of the elements below the diagonal of a (q, q) matrix."""
    return np.tril_indices(q, -1)
