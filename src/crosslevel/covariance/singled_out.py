"""Other parameters of the same structures: one standard deviation or one correlation is a coordinate of its own.

Whoever holds a standard deviation or a correlation fixed, as a profile likelihood does, holds that coordinate. These
structures are not for formulas: they describe one block at a time, in the coordinates that its engine works in.
"""

import numpy as np

from crosslevel.covariance.base import Covariance
from crosslevel.covariance.correlations import Exchangeable
from crosslevel.covariance.independent import lower_triangle, unit_matrices
from crosslevel.types import FloatArray


class FirstDeviation(Covariance):
    """Any covariances: Lambda = A L(theta), L lower triangular, so that theta_1 is the first effect's deviation.

    Parameters
    ----------
    turn : (q, q) A, from the effects in the order of L to working effects.
    """

    free = True
    scalable = True
    linear = True
    additive = True

    def __init__(self, turn: FloatArray) -> None:
        self.turn = turn
        self.gradient = turn @ unit_matrices(len(turn), diagonal=False)

    def n_theta(self, q: int) -> int:
        """Return q (q + 1) / 2."""
        return q * (q + 1) // 2

    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """A L with theta in the lower triangle of L, column by column."""
        out = np.zeros((q, q))
        out[lower_triangle(q)] = theta
        return np.asarray(self.turn @ out)

    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """A times one unit matrix per element."""
        return np.asarray(self.gradient)

    def nearest(self, factor: FloatArray) -> FloatArray:
        """Lower triangle of the triangular root, with a non-negative diagonal."""
        return np.asarray(_triangle(self.turn, factor)[lower_triangle(len(factor))])


class WithoutFirst(Covariance):
    """Any covariances of all effects but one, which does not vary: Lambda = A[:, 1:] L, L (q - 1, q - 1).

    Parameters
    ----------
    turn : (q, q) A, from the effects, the one that does not vary first, to working effects.
    """

    free = False
    scalable = True
    linear = True
    additive = False

    def __init__(self, turn: FloatArray) -> None:
        q = len(turn)
        self.turn = turn
        self.gradient = np.zeros((q * (q - 1) // 2, q, q))
        self.gradient[:, :, : q - 1] = turn[:, 1:] @ unit_matrices(q - 1, diagonal=False)

    def n_theta(self, q: int) -> int:
        """Return q (q - 1) / 2."""
        return len(self.gradient)

    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """A[:, 1:] L with theta in the lower triangle of L, column by column."""
        return np.tensordot(theta, self.gradient, axes=1)

    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """A[:, 1:] times one unit matrix per element."""
        return np.asarray(self.gradient)

    def nearest(self, factor: FloatArray) -> FloatArray:
        """Lower triangle of the triangular root of the other effects' covariance."""
        others = np.linalg.solve(self.turn, factor)[1:]
        return np.asarray(_triangle(np.eye(len(others)), others)[lower_triangle(len(others))])


class FirstCorrelation(Covariance):
    """Any covariances: Lambda = A L, in which L[1, :2] = b (sin(a), cos(a)): sin(a) is the first two's correlation.

    theta holds L[0, 0] and b, the rest of the lower triangle column by column, and the angle a last. Where the product
    of the first two is negative the correlation is -sin(a).

    Parameters
    ----------
    turn : (q, q) A, from the effects in the order of L to working effects.
    """

    free = True
    scalable = True
    linear = False
    additive = True

    def __init__(self, turn: FloatArray) -> None:
        q = len(turn)
        self.turn = turn
        rows, columns = lower_triangle(q)
        self.rows, self.columns = rows[rows > 1], columns[rows > 1]
        self.rest = turn @ unit_matrices(q, diagonal=False)[rows > 1]

    def n_theta(self, q: int) -> int:
        """Return q (q + 1) / 2."""
        return q * (q + 1) // 2

    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """A L."""
        out = np.zeros((q, q))
        out[0, 0] = theta[0]
        out[1, 0], out[1, 1] = theta[1] * np.sin(theta[-1]), theta[1] * np.cos(theta[-1])
        out[self.rows, self.columns] = theta[2:-1]
        return np.asarray(self.turn @ out)

    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """A times the derivatives of L."""
        out = np.zeros((self.n_theta(q), q, q))
        sin, cos = np.sin(theta[-1]), np.cos(theta[-1])
        out[0, :, 0] = self.turn[:, 0]
        out[1, :, 0], out[1, :, 1] = sin * self.turn[:, 1], cos * self.turn[:, 1]
        out[2:-1] = self.rest
        out[-1, :, 0], out[-1, :, 1] = theta[1] * cos * self.turn[:, 1], -theta[1] * sin * self.turn[:, 1]
        return out

    def factor_hessian(self, theta: FloatArray, q: int) -> FloatArray:
        """A times the second derivatives of L: in (b, a) and (a, a)."""
        k = self.n_theta(q)
        out = np.zeros((k, k, q, q))
        sin, cos, second = np.sin(theta[-1]), np.cos(theta[-1]), self.turn[:, 1]
        out[1, -1, :, 0] = out[-1, 1, :, 0] = cos * second
        out[1, -1, :, 1] = out[-1, 1, :, 1] = -sin * second
        out[-1, -1, :, 0], out[-1, -1, :, 1] = -theta[1] * sin * second, -theta[1] * cos * second
        return out

    def nearest(self, factor: FloatArray) -> FloatArray:
        """From the triangular root; the angle is zero where the second effect does not vary."""
        lower = _triangle(self.turn, factor)
        size, angle = float(np.hypot(*lower[1, :2])), float(np.arctan2(lower[1, 0], lower[1, 1]))
        return np.concatenate([[lower[0, 0], size], lower[self.rows, self.columns], [angle]])


class PolarSymmetry(Covariance):
    """Compound symmetry by its standard deviation and an angle: Lambda = s C(a), theta = (s, a); see `Exchangeable`."""

    free = False
    scalable = False
    linear = False
    additive = False
    _shape = Exchangeable()

    def n_theta(self, q: int) -> int:
        """Return 2: a single effect has no angle, and needs no other parameters than it has."""
        return 2

    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """Lambda = s C(a)."""
        return np.asarray(theta[0] * self._shape.roots(theta[1], q)[0])

    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """C and s C'."""
        value, first, _ = self._shape.roots(theta[1], q)
        return np.stack([value, theta[0] * first])

    def factor_hessian(self, theta: FloatArray, q: int) -> FloatArray:
        """0, C' and s C''."""
        _, first, second = self._shape.roots(theta[1], q)
        return np.stack([[np.zeros((q, q)), first], [first, theta[0] * second]])

    def nearest(self, factor: FloatArray) -> FloatArray:
        """Member with the same variance of the mean, and the same mean variance."""
        q = len(factor)
        mean = factor.mean(axis=0)
        both, own = float(np.sqrt(np.sum(mean**2))), float(np.sqrt(np.sum((factor - mean) ** 2) / q))
        return np.array([np.hypot(both, own), np.arctan2(own, both)])


def _triangle(turn: FloatArray, factor: FloatArray) -> FloatArray:
    """L (q, q), lower triangular with a non-negative diagonal, such that A L L'A' = factor factor'."""
    q = len(turn)
    lower = np.asarray(np.linalg.qr(np.linalg.solve(turn, factor).T, mode="r")).T
    out = np.zeros((q, q))
    out[:, : lower.shape[1]] = lower
    return out * np.where(np.diag(out) < 0.0, -1.0, 1.0)
