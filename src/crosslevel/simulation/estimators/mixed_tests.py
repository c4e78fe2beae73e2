"""What tests of single coefficients need, for a batch of fits of a model with one grouping factor at once.

They are `inference.satterthwaite`, `inference.kenward_roger` (1997) and `inference.growth_curve`, for random effects
whose Lambda has free elements. With Phi = (X'V^-1 X)^-1 = W W', C = Z'V^-1 X and a coefficient c'beta, all that is
needed of it in a cluster is f = C W u, u = W'c / |W'c|: a change D of Psi changes log c'Phi c by sum f'D f. Clusters
enter by sums of products of P = Z'V^-1 Z with itself, with C W W'C' and with f f', of (q q, q q) numbers.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.inference.bootstrap.setting import Places
from crosslevel.inference.kenward_roger import DROWNED, FLAT
from crosslevel.inference.psi_parameters import LEAST
from crosslevel.solve.solution import NEGLIGIBLE
from crosslevel.types import BoolArray, FloatArray, IntArray

DOUBTFUL = 1e-6
"""Square of a pivot of a standardised matrix from which on its smallest eigenvalue is looked at."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ends:
    """Where the searches of R replications ended, in working coordinates along the principal axes of Lambda Lambda'.

    Attributes
    ----------
    places : of the k elements of Lambda.
    n_rows, nu : (R,) n, and the degrees of freedom of r^2.
    factor : (R, q, q) Lambda.
    precision, cross : (R, J, q, q), (R, J, q, p + 1) Z'V^-1 [Z X y].
    chol : (R, p + 1, p + 1) lower Cholesky factor of [X y]'V^-1 [X y].
    contrast : (R, p + 1) (-beta, 1).
    hessian : (R, k, k) of the deviance in the elements of Lambda.
    basis : (R, q, q) T; working random effects are T b.
    beta_map : (R, p, p) A; coefficients in their own units are A times working ones, and a constant.
    """

    places: Places
    n_rows: FloatArray
    nu: FloatArray
    factor: FloatArray
    precision: FloatArray
    cross: FloatArray
    chol: FloatArray
    contrast: FloatArray
    hessian: FloatArray
    basis: FloatArray
    beta_map: FloatArray

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return int(self.contrast.shape[1]) - 1

    @cached_property
    def sigma(self) -> FloatArray:
        """(R,) working residual standard deviation."""
        return np.asarray(self.chol[:, -1, -1] / np.sqrt(self.nu))

    @cached_property
    def singular(self) -> BoolArray:
        """(R,) whether some combination of the random effects has no variance."""
        least = np.linalg.svd(self.factor, compute_uv=False).min(axis=1, initial=np.inf)
        return np.asarray(least**2 < NEGLIGIBLE**2)

    @cached_property
    def whitened(self) -> FloatArray:
        """(R, p, p) W."""
        return np.linalg.inv(np.tril(self.chol[:, :-1, :-1])).transpose(0, 2, 1)

    @cached_property
    def turned(self) -> FloatArray:
        """(R, p, p) A W: rows W'c of single coefficients."""
        return np.asarray(self.beta_map @ self.whitened)

    @cached_property
    def length(self) -> FloatArray:
        """(R, p) |W'c| of single coefficients: standard errors over sigma."""
        return np.asarray(np.sqrt(np.einsum("rij,rij->ri", self.turned, self.turned)))

    @cached_property
    def p_sum(self) -> FloatArray:
        """(R, q, q) sum of P over clusters."""
        return np.asarray(self.precision.sum(axis=1))

    def directions(self, terms: IntArray) -> FloatArray:
        """(R, T, p) u of some coefficients."""
        return np.asarray(self.turned[:, terms] / self.length[:, terms, None])

    def images(self, terms: IntArray) -> FloatArray:
        """(R, T, J, q) f of some coefficients."""
        through = self.directions(terms) @ self.whitened.transpose(0, 2, 1)
        return np.asarray((self.cross[..., :-1] @ through.transpose(0, 2, 1)[:, None]).transpose(0, 3, 1, 2))


def satterthwaite_df(ends: Ends, terms: IntArray) -> FloatArray:
    """Satterthwaite's degrees of freedom (R, T), 2 v^2 / Var(v); NaN where the deviance has no curvature.

    With s the derivative of log v in Lambda at constant sigma and h that of log sigma^2 = log(r^2 / nu),
    Var(log v) = (s + h)' 2 H^-1 (s + h) + 2 / nu. Where Psi is singular, its rank is held: s, h and H^-1 are those in
    the directions of Lambda that change Psi to first order.
    """
    places, images = ends.places, ends.images(terms)
    residual = (ends.cross @ ends.contrast[:, None, :, None])[..., 0] / ends.chol[:, -1, -1][:, None, None]
    inner = images.transpose(0, 1, 3, 2) @ images - (residual.transpose(0, 2, 1) @ residual)[:, None]
    slope = 2.0 * (inner @ ends.factor[:, None])[:, :, places.rows, places.columns]
    hessian = ends.hessian.copy()
    held = np.flatnonzero(ends.singular)
    if len(held):
        kept, moving = moving_directions(ends.factor[held], places)
        idle = np.eye(kept.shape[1]) * ~moving[:, None, :]
        hessian[held] = kept.transpose(0, 2, 1) @ hessian[held] @ kept + idle
        slope[held] = slope[held] @ kept
    defined, solved = inverses(hessian, least=0.0)
    spread = 2.0 * np.einsum("rta,rab,rtb->rt", slope, solved, slope, optimize=True) + 2.0 / ends.nu[:, None]
    return np.where(defined[:, None], 2.0 / spread, np.nan)


def moving_directions(factor: FloatArray, places: Places) -> tuple[FloatArray, BoolArray]:
    """Directions of Lambda's elements that change Psi to first order.

    Returns
    -------
    directions : (R, k, k) orthonormal columns; zero for the others.
    moving : (R, k) which columns are directions.
    """
    n, q, _ = factor.shape
    k = len(places.rows)
    half = np.zeros((n, k, q, q))
    half[:, np.arange(k), places.rows] = factor[:, :, places.columns].transpose(0, 2, 1)
    changes = (half + half.transpose(0, 1, 3, 2)).reshape(n, k, q * q)
    squares, vectors = np.linalg.eigh(changes @ changes.transpose(0, 2, 1))
    moving = squares > NEGLIGIBLE**2
    return vectors * moving[:, None, :], moving


@dataclass(frozen=True, kw_only=True, eq=False)
class KenwardRoger:
    """What Kenward and Roger's method (1997) knows of R fits, V being linear in k + 1 parameters.

    The first k are elements of Psi along the axes of the sum of P, the last is the residual variance, which changes V
    by V - Z Psi Z'.

    Attributes
    ----------
    ends : the fits.
    changes : (R, k + 1, q q) derivatives of Psi in the parameters.
    slopes : (R, k + 1, p, p) A: those of Phi, where that is the identity.
    defined : (R,) whether there is information on all parameters.
    weights : (R, k + 1, k + 1) W: the inverse of REML's expected information.
    """

    ends: Ends = field(repr=False)
    changes: FloatArray
    slopes: FloatArray
    defined: BoolArray
    weights: FloatArray

    @classmethod
    def of(cls, ends: Ends) -> "KenwardRoger":
        """See `inference.kenward_roger.adjustment`."""
        n, q, p = len(ends.nu), ends.factor.shape[1], ends.p
        psi = ends.factor @ ends.factor.transpose(0, 2, 1)
        changes = np.concatenate([psi_directions(ends), -psi[:, None]], axis=1).reshape(n, -1, q * q)
        fixed = ends.cross[..., :-1] @ ends.whitened[:, None]  # F = C W

        # A_a = sum F'D_a F, then traces of A_a, of A_a A_b, of V^-1 V_a V^-1 V_b and of Q_ab
        flat = fixed.reshape(n, -1, q * p)
        outer = (flat.transpose(0, 2, 1) @ flat).reshape(n, q, p, q, p).transpose(0, 1, 3, 2, 4)
        slopes = changes @ outer.reshape(n, q * q, p * p)
        inner = slopes[..., :: p + 1].sum(axis=2)
        slopes[:, -1, :: p + 1] += 1.0
        tau = (changes @ ends.p_sum.reshape(n, q * q, 1))[..., 0]
        traces = paired(changes, ends.precision, ends.precision)
        products = paired(changes, ends.precision, fixed @ fixed.transpose(0, 1, 3, 2))
        with_residual(traces, tau, ends.n_rows)
        with_residual(products, inner, np.full(n, float(p)))
        information = 0.5 * (traces + slopes @ slopes.transpose(0, 2, 1)) - products
        able = information[:, -1, -1] > DROWNED * ends.n_rows
        defined, weights = inverses(information, least=FLAT)
        shape = (n, -1, p, p)
        return cls(ends=ends, changes=changes, slopes=slopes.reshape(shape), defined=able & defined, weights=weights)

    def tests(self, terms: IntArray) -> tuple[FloatArray, FloatArray]:
        """Lambda (R, T), half of the relative inflation of each variance, and degrees of freedom (R, T)."""
        images, directions = self.ends.images(terms), self.ends.directions(terms)
        excess, df = np.full(directions.shape[:2], np.nan), np.full(directions.shape[:2], np.nan)
        for t in range(len(terms)):
            image, direction = images[:, t], directions[:, t]
            moved = (self.slopes @ direction[:, None, :, None])[..., 0]  # A_a u
            slope = (moved @ direction[:, :, None])[..., 0]
            products = paired(self.changes, self.ends.precision, image[..., :, None] * image[..., None, :])
            own = slope.copy()
            own[:, -1] -= 1.0  # what Psi alone contributes
            with_residual(products, own, np.ones(len(own)))
            products -= moved @ moved.transpose(0, 2, 1)
            excess[:, t] = np.einsum("rab,rab->r", self.weights, products)
            df[:, t] = 2.0 / np.einsum("ra,rab,rb->r", slope, self.weights, slope, optimize=True)
        excess[~self.defined], df[~self.defined] = np.nan, np.nan
        return excess, df


def paired(changes: FloatArray, precision: FloatArray, other: FloatArray) -> FloatArray:
    """Sums over clusters of tr(D_a P D_b Q), (R, m, m).

    Parameters
    ----------
    changes : (R, m, q q) symmetric D.
    precision, other : (R, J, q, q) P and Q.
    """
    n, n_clusters, q, _ = precision.shape
    flat = precision.reshape(n, n_clusters, q * q).transpose(0, 2, 1) @ other.reshape(n, n_clusters, q * q)
    middle = flat.reshape(n, q, q, q, q).transpose(0, 4, 1, 2, 3).reshape(n, q * q, q * q)
    return np.asarray(changes @ middle @ changes.transpose(0, 2, 1))


def with_residual(pairs: FloatArray, single: FloatArray, both: FloatArray) -> None:
    """Turn pairs (R, m, m) of changes of Psi into those of V, of which the last is V itself and a change of Psi.

    `single` (R, m) are the traces with V in place of one of the two, `both` (R,) is that with V in place of both.
    """
    pairs[:, :, -1] += single
    pairs[:, -1, :] += single
    pairs[:, -1, -1] += both


def psi_directions(ends: Ends) -> FloatArray:
    """(R, k, q, q) changes of Psi along the axes of the sum of P within blocks, in its units.

    Their information is far from singular, whatever the sizes of the variances; see `inference.psi_parameters`.
    """
    axes, block = np.zeros_like(ends.p_sum), ends.places.block
    for number in np.unique(block):
        mine = np.flatnonzero(block == number)
        where = np.ix_(np.arange(len(axes)), mine, mine)
        values, vectors = np.linalg.eigh(ends.p_sum[where])
        least = LEAST * np.maximum(values[:, -1:], 1e-300)
        axes[where] = vectors / np.sqrt(np.maximum(values, least))[:, None, :]
    half = axes.transpose(0, 2, 1)[:, ends.places.rows, :, None] * axes.transpose(0, 2, 1)[:, ends.places.columns, None]
    return np.asarray(0.5 * (half + half.transpose(0, 1, 3, 2)))


def reliabilities(ends: Ends, effects: IntArray) -> FloatArray:
    """(R, e) reliabilities of the principal components of e effects; see `growth_curve.component_reliabilities`."""
    mean = ends.basis.transpose(0, 2, 1) @ (ends.p_sum / ends.precision.shape[1]) @ ends.basis
    defined, total = inverses(mean, least=0.0)
    able, solved = inverses(total[:, effects[:, None], effects], least=0.0)
    own = np.linalg.solve(ends.basis, ends.factor)[:, effects]
    # eigenvalues of L' S^-1 L are those of S^-1 L L'
    values = np.linalg.eigvalsh(own.transpose(0, 2, 1) @ solved @ own)[:, -len(effects) :]
    return np.where((defined & able)[:, None], np.clip(values, 0.0, 1.0), np.nan)


def inverses(matrices: FloatArray, *, least: float) -> tuple[BoolArray, FloatArray]:
    """Which of R symmetric matrices (R, m, m) are positive definite, and their inverses; zeros where they are not.

    The smallest eigenvalue of a matrix, scaled to a diagonal of ones, has to exceed `least`.
    """
    n, m, _ = matrices.shape
    diagonal = np.einsum("rii->ri", matrices)
    able = np.all(diagonal > 0.0, axis=1)
    size = np.sqrt(np.where(able[:, None], diagonal, 1.0))
    scaled = np.where(able[:, None, None], matrices, np.eye(m)) / (size[:, :, None] * size[:, None, :])
    try:
        pivots = np.einsum("rii->ri", np.linalg.cholesky(scaled)) ** 2
        doubtful = pivots.min(axis=1, initial=1.0) < DOUBTFUL
    except np.linalg.LinAlgError:
        doubtful = np.ones(n, dtype=np.bool_)
    if np.any(doubtful):
        able[doubtful] &= np.linalg.eigvalsh(scaled[doubtful])[:, 0] > least
        scaled[~able] = np.eye(m)
    out = np.linalg.inv(scaled) / (size[:, :, None] * size[:, None, :])
    return able, np.where(able[:, None, None], out, 0.0)
