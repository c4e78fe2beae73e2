"""Structures with one correlation for all pairs of effects, or one for all neighbours.

Source of the structures: Pinheiro & Bates (2000), Mixed-Effects Models in S and S-PLUS, sections 4.2.2 and 5.3.
"""

import numpy as np

from crosslevel.covariance.base import Covariance
from crosslevel.covariance.correlations import Exchangeable, Neighbouring
from crosslevel.types import FloatArray

STARTS, DEPARTURES = 7, 25
"""Correlations from one end of the range to the other, both left out, to start from; and to leave no variance by."""


class CompoundSymmetry(Covariance):
    """Equal variances s^2 and equal correlations r >= -1 / (q - 1): theta = s (cos(a), sin(a)).

    Lambda = theta_1 A + theta_2 B with the matrices of `Exchangeable`, linear in theta: the squares of the parameters
    are proportional to the two eigenvalues of Psi, the variance of the effects' mean and that of their differences.
    """

    free = False
    scalable = False
    linear = True
    additive = False
    _shape = Exchangeable()

    def n_theta(self, q: int) -> int:
        """Return 2, or 1 for a single effect."""
        return min(q, 2)

    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """Lambda, symmetric."""
        return np.tensordot(theta, self._shape.parts(q), axes=1)

    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """A and B."""
        return self._shape.parts(q)

    def nearest(self, factor: FloatArray) -> FloatArray:
        """Member with the same variance of the mean, and the same mean variance: the nearest in least squares."""
        q = len(factor)
        mean = factor.mean(axis=0)
        sizes = np.array([np.sum(mean**2), np.sum((factor - mean) ** 2) / q])
        return np.asarray(np.sqrt(sizes[: self.n_theta(q)]))

    def members(self, q: int) -> FloatArray:
        """Correlations all over the range."""
        if q == 1:
            return np.ones((1, 1, 1))
        return np.stack([self._shape.roots(angle, q)[0] for angle in self._shape.angles(q, STARTS + 2)[1:-1]])

    def departures(self, score: FloatArray) -> FloatArray:
        """A and B: all members are sums of the two."""
        return self._shape.parts(len(score))

    def cone(self, q: int) -> tuple[int, bool]:
        """Two variances: of the effects' mean and of their differences."""
        return min(q, 2), False

    def names(self, effects: tuple[str, ...]) -> tuple[str, ...]:
        """One standard deviation and one correlation."""
        return ("sd", "correlation")[: len(effects)]

    def natural(self, theta: FloatArray, q: int) -> FloatArray:
        """Relative standard deviation and correlation, NaN where nothing varies."""
        size = float(np.sqrt(np.sum(theta**2)))
        if q == 1:
            return np.array([size])
        angle = float(np.arctan2(abs(theta[1]), abs(theta[0])))
        return np.array([size, self._shape.correlation(angle, q) if size > 0.0 else np.nan])


class Autoregressive(Covariance):
    """Equal variances s^2, correlations r^|i - j| of effects in order: theta = (s, a) with r = sin(a)."""

    free = False
    scalable = False
    linear = False
    additive = False
    _shape = Neighbouring()

    def n_theta(self, q: int) -> int:
        """Return 2, or 1 for a single effect."""
        return min(q, 2)

    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """Lambda = s C(a), lower triangular."""
        return np.asarray(theta[0] * self._shape.roots(_angle(theta, q), q)[0])

    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """C and s C'."""
        value, first, _ = self._shape.roots(_angle(theta, q), q)
        return np.stack([value, theta[0] * first])[: self.n_theta(q)]

    def factor_hessian(self, theta: FloatArray, q: int) -> FloatArray:
        """0, C' and s C''."""
        if q == 1:
            return np.zeros((1, 1, 1, 1))
        _, first, second = self._shape.roots(theta[1], q)
        return np.stack([[np.zeros((q, q)), first], [first, theta[0] * second]])

    def nearest(self, factor: FloatArray) -> FloatArray:
        """Member with the same mean variance and the same mean correlation of neighbours."""
        q = len(factor)
        size = np.sqrt(np.sum(factor**2) / q)
        return np.array([size, self._shape.angle(factor)])[: self.n_theta(q)]

    def members(self, q: int) -> FloatArray:
        """Correlations all over the range."""
        return np.stack([self._shape.roots(angle, q)[0] for angle in self._shape.angles(q, STARTS + 2)[1:-1]])

    def departures(self, score: FloatArray) -> FloatArray:
        """Correlations all over the range, its ends included."""
        q = len(score)
        return np.stack([self._shape.roots(angle, q)[0] for angle in self._shape.angles(q, DEPARTURES)])

    def cone(self, q: int) -> tuple[int, bool]:
        """All covariance matrices of q effects; the structure's own are no convex cone."""
        return q, q > 1

    def names(self, effects: tuple[str, ...]) -> tuple[str, ...]:
        """One standard deviation and one correlation."""
        return ("sd", "correlation")[: len(effects)]

    def natural(self, theta: FloatArray, q: int) -> FloatArray:
        """Relative standard deviation and correlation of neighbours, NaN where nothing varies."""
        size = abs(float(theta[0]))
        return np.array([size, np.sin(_angle(theta, q)) if size > 0.0 else np.nan])[: self.n_theta(q)]


class Heterogeneous(Covariance):
    """Variances of their own, and correlations of one parameter: theta = (x_1, .., x_q, a), Lambda = diag(x^2) C(a).

    The standard deviations are squares, since a change of sign of some of them would lead out of the structure.
    """

    free = False
    scalable = True
    linear = False
    additive = False
    _shape: Exchangeable | Neighbouring

    def n_theta(self, q: int) -> int:
        """Return q + 1, or 1 for a single effect."""
        return q + 1 if q > 1 else 1

    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """Lambda = diag(x^2) C(a)."""
        return np.asarray(theta[:q, None] ** 2 * self._roots(theta, q)[0])

    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """Row i of C times 2 x_i for each effect, and diag(x^2) C'."""
        value, first, _ = self._roots(theta, q)
        rows = np.eye(q)[:, :, None] * (2.0 * theta[:q, None] * value)
        return np.concatenate([rows, (theta[:q, None] ** 2 * first)[None]])[: self.n_theta(q)]

    def factor_hessian(self, theta: FloatArray, q: int) -> FloatArray:
        """Twice row i of C, row i of C' times 2 x_i, and diag(x^2) C''."""
        value, first, second = self._roots(theta, q)
        each, k = np.arange(q), self.n_theta(q)
        out = np.zeros((k, k, q, q))
        out[each, each, each] = 2.0 * value
        if q > 1:
            out[each, q, each] = out[q, each, each] = 2.0 * theta[:q, None] * first
            out[q, q] = theta[:q, None] ** 2 * second
        return out

    def nearest(self, factor: FloatArray) -> FloatArray:
        """Member with the same variances and the same mean correlation, of all pairs or of neighbours."""
        q = len(factor)
        size = np.sqrt(np.einsum("ij,ij->i", factor, factor))
        rows = factor / np.where(size > 0.0, size, 1.0)[:, None]
        angle = [self._shape.angle(rows)] if q > 1 else []
        return np.concatenate([np.sqrt(size), angle])

    def members(self, q: int) -> FloatArray:
        """Equal variances, and correlations all over the range."""
        if q == 1:
            return np.ones((1, 1, 1))
        return np.stack([self._shape.roots(angle, q)[0] for angle in self._shape.angles(q, STARTS + 2)[1:-1]])

    def departures(self, score: FloatArray) -> FloatArray:
        """For correlations all over the range the standard deviations along which the deviance falls fastest.

        With s for the standard deviations the change is s' (score * R) s: of the first eigenvector the positive part,
        the negative part, and each effect alone.
        """
        q = len(score)
        alone = np.eye(q)[:, :, None] * np.eye(q)[:, None, :]
        if q == 1:
            return alone
        out = list(alone)
        for angle in self._shape.angles(q, DEPARTURES):
            root = self._shape.roots(angle, q)[0]
            vector = np.linalg.eigh(score * (root @ root.T))[1][:, 0]
            out.extend(np.maximum(sign * vector, 0.0)[:, None] * root for sign in (1.0, -1.0))
        return np.stack(out)

    def detours(self, theta: FloatArray, q: int, *, negligible: float) -> FloatArray:
        """Other correlations, where only one effect varies and the covariance does not depend on them."""
        varying = theta[:q] ** 2 >= negligible
        if q == 1 or np.count_nonzero(varying) != 1:
            return np.zeros((0, self.n_theta(q)))
        angles = self._shape.angles(q, STARTS + 2)[1:-1]
        return np.column_stack([np.tile(np.where(varying, theta[:q], 0.0), (STARTS, 1)), angles])

    def cone(self, q: int) -> tuple[int, bool]:
        """All covariance matrices of q effects; the structure's own are no convex cone."""
        return q, q > 1

    def names(self, effects: tuple[str, ...]) -> tuple[str, ...]:
        """A standard deviation for each effect and one correlation."""
        return (*(f"sd {effect}" for effect in effects), "correlation")[: self.n_theta(len(effects))]

    def natural(self, theta: FloatArray, q: int) -> FloatArray:
        """Relative standard deviations and the correlation."""
        size = theta[:q] ** 2
        return np.append(size, self._shape.correlation(theta[q], q)) if q > 1 else size

    def _roots(self, theta: FloatArray, q: int) -> FloatArray:
        """C and its derivatives."""
        return self._shape.roots(theta[q], q) if q > 1 else np.array([1.0, 0.0, 0.0])[:, None, None]


class HeterogeneousCS(Heterogeneous):
    """Variances of their own and equal correlations, from -1 / (q - 1) to 1."""

    _shape = Exchangeable()


class HeterogeneousAR1(Heterogeneous):
    """Variances of their own and correlations r^|i - j| of effects in order."""

    _shape = Neighbouring()


def _angle(theta: FloatArray, q: int) -> float:
    """Second parameter; a single effect has none."""
    return float(theta[1]) if q > 1 else 0.0
