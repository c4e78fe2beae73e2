"""Correlation matrices of one parameter, as square roots C(angle) with C C' = R(correlation).

The angle runs over the whole line and reaches both ends of the correlation's range, where the derivative of R in it is
zero: nothing has to be bounded, and a correlation of 1 is a stationary point like any other.
"""

import numpy as np

from crosslevel.types import FloatArray


class Exchangeable:
    """All correlations equal r, from -1 / (q - 1) to 1: C = cos(a) A + sin(a) B.

    With J = 11' and I the identity, A = J / sqrt(q) and B = sqrt(q / (q - 1)) (I - J / q), so that A A' = J,
    A B = 0, B B' = q / (q - 1) (I - J / q), the diagonal of C C' is one, and r = (q cos(a)^2 - 1) / (q - 1).
    """

    def parts(self, q: int) -> FloatArray:
        """A and B, (2, q, q); for one effect A = 1 alone."""
        ones = np.ones((q, q))
        if q == 1:
            return ones[None]
        return np.stack([ones / np.sqrt(q), np.sqrt(q / (q - 1)) * (np.eye(q) - ones / q)])

    def roots(self, angle: float, q: int) -> FloatArray:
        """C and its first and second derivative in the angle, (3, q, q)."""
        first, second = self.parts(q)
        cos, sin = np.cos(angle), np.sin(angle)
        value = cos * first + sin * second
        return np.stack([value, cos * second - sin * first, -value])

    def angle(self, rows: FloatArray) -> float:
        """Angle in [0, pi / 2] of the mean correlation; `rows` (q, r) have length one, or zero where nothing varies."""
        q = len(rows)
        varying = rows[np.einsum("ij,ij->i", rows, rows) > 0.5]
        m = len(varying)
        if m < 2:
            return float(np.arccos(1.0 / np.sqrt(q)))
        # 1 - r and 1 + (q - 1) r, each without cancellation where it is small
        less = float(np.sum((varying - varying.mean(axis=0)) ** 2)) / (m - 1)
        more = float(np.sum(varying.sum(axis=0) ** 2)) / q if m == q else max(q - (q - 1) * less, 0.0)
        return float(np.arctan2(np.sqrt((q - 1) * less), np.sqrt(more)))

    def correlation(self, angle: float, q: int) -> float:
        """Return the correlation of an angle."""
        return float((q * np.cos(angle) ** 2 - 1.0) / (q - 1))

    def angles(self, q: int, m: int) -> FloatArray:
        """Angles (m,) all over the range, its ends included."""
        return np.linspace(0.0, 0.5 * np.pi, m)


class Neighbouring:
    """Correlations r^|i - j| of effects in order, r from -1 to 1: C lower triangular, r = sin(a).

    C[i, 0] = r^i and C[i, j] = cos(a) r^(i - j) for 0 < j <= i.
    """

    def roots(self, angle: float, q: int) -> FloatArray:
        """C and its first and second derivative in the angle, (3, q, q)."""
        cos, sin = np.cos(angle), np.sin(angle)
        k = np.arange(q)
        power = sin**k
        lower = np.concatenate([[0.0], k[1:] * sin ** (k[1:] - 1)])  # k r^(k - 1)
        lowest = np.concatenate([[0.0, 0.0], (k * (k - 1))[2:] * sin ** (k[2:] - 2)])[:q]  # k (k - 1) r^(k - 2)
        first = np.stack([power, lower * cos, lowest * cos**2 - k * power])
        others = np.stack(
            [cos * power, lower * cos**2 - sin * power, lowest * cos**3 - (3 * k + 1) * cos * power]
        )  # fmt: skip
        lag = k[:, None] - k
        out = np.where(lag >= 0, others[:, np.maximum(lag, 0)], 0.0)
        out[:, :, 0] = first
        return np.asarray(out)

    def angle(self, rows: FloatArray) -> float:
        """Angle in [-pi / 2, pi / 2] of the mean correlation of neighbours, (q, r) `rows`, zero where nothing varies.

        Where no two neighbours vary, the nearest pairs that do tell the size, those at odd distances the sign.
        """
        varying = np.flatnonzero(np.einsum("ij,ij->i", rows, rows) > 0.0)
        if len(varying) < 2:
            return 0.0
        lag = int(np.diff(varying).min())
        first = varying[np.isin(varying + lag, varying)]
        # 1 + r and 1 - r, each without cancellation where it is small
        more = float(np.sum((rows[first] + rows[first + lag]) ** 2))
        less = float(np.sum((rows[first] - rows[first + lag]) ** 2))
        if lag == 1:
            return float(2.0 * np.arctan2(np.sqrt(more), np.sqrt(less)) - 0.5 * np.pi)
        r = (more - less) / (more + less)
        size = (abs(r) if lag % 2 or r > 0.0 else 0.0) ** (1.0 / lag)
        i, j = np.nonzero(np.tri(len(rows), k=-1))
        odd = (i - j) % 2 == 1
        sign = -1.0 if float(np.sum(rows[i[odd]] * rows[j[odd]])) < 0.0 else 1.0
        return float(np.arcsin(min(size, 1.0)) * sign)

    def correlation(self, angle: float, q: int) -> float:
        """Return the correlation of an angle."""
        return float(np.sin(angle))

    def angles(self, q: int, m: int) -> FloatArray:
        """Angles (m,) all over the range, its ends included."""
        return np.linspace(-0.5 * np.pi, 0.5 * np.pi, m)
