"""Means and central moments of many columns, merged piece by piece."""

from dataclasses import dataclass

import numpy as np

from crosslevel.types import BoolArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Number, mean and sums of powers of deviations from the mean, of values in columns of any shape S.

    Attributes
    ----------
    n : (S) numbers of values.
    mean : (S) means; 0 where there is none.
    second, third, fourth : (S) sums of (x - mean)^k, k = 2, 3, 4.
    """

    n: FloatArray
    mean: FloatArray
    second: FloatArray
    third: FloatArray
    fourth: FloatArray

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> "Moments":
        """Of no values at all."""
        return cls(**{name: np.zeros(shape) for name in ("n", "mean", "second", "third", "fourth")})

    @classmethod
    def of(cls, values: FloatArray, counted: BoolArray) -> "Moments":
        """Those of values (R, *S), of which only the counted ones are values."""
        n = counted.sum(axis=0).astype(np.float64)
        kept = np.where(counted, values, 0.0)
        mean = kept.sum(axis=0) / np.maximum(n, 1.0)
        deviation = np.where(counted, kept - mean, 0.0)
        square = deviation**2
        return cls(
            n=n,
            mean=mean,
            second=square.sum(axis=0),
            third=(square * deviation).sum(axis=0),
            fourth=(square**2).sum(axis=0),
        )

    def merged(self, other: "Moments") -> "Moments":
        """Those of the values of both.

        With d = mean_2 - mean_1, a = n_1 / n and b = n_2 / n, the sums of powers about the common mean follow from
        those about the own means by the binomial theorem.

        Source
        ------
        Pébay (2008), Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical
        moments, Sandia report SAND2008-6212, eqs. 2.1 to 2.9.
        """
        n = self.n + other.n
        whole = np.maximum(n, 1.0)
        a, b, d = self.n / whole, other.n / whole, other.mean - self.mean
        pair = self.n * b
        return Moments(
            n=n,
            mean=self.mean + d * b,
            second=self.second + other.second + d**2 * pair,
            third=self.third + other.third + d**3 * pair * (a - b) + 3.0 * d * (a * other.second - b * self.second),
            fourth=self.fourth
            + other.fourth
            + d**4 * pair * (a**2 - a * b + b**2)
            + 6.0 * d**2 * (a**2 * other.second + b**2 * self.second)
            + 4.0 * d * (a * other.third - b * self.third),
        )

    @property
    def variance(self) -> FloatArray:
        """(S) sample variances with n - 1; NaN where there are fewer than two values."""
        return _ratio(self.second, self.n - 1.0)

    @property
    def mean_square(self) -> FloatArray:
        """(S) means of x²; NaN where there is no value."""
        return _ratio(self.second + self.n * self.mean**2, self.n)

    @property
    def variance_of_square(self) -> FloatArray:
        """(S) sample variances of x², from the fourth powers.

        With m_k the mean of (x - mean)^k and c the mean of x:
        var(x²) = m_4 + 4 c m_3 + 4 c² m_2 - m_2², times n / (n - 1).
        """
        whole = np.maximum(self.n, 1.0)
        m2, m3, m4, c = self.second / whole, self.third / whole, self.fourth / whole, self.mean
        spread = np.maximum(m4 + 4.0 * c * m3 + 4.0 * c**2 * m2 - m2**2, 0.0)
        return _ratio(self.n * spread, self.n - 1.0)

    @property
    def variance_of_variance(self) -> FloatArray:
        """(S) estimated sampling variances of `variance`, for values of any distribution.

        var(s²) = (m_4 - s^4 (n - 3) / (n - 1)) / n.
        """
        whole = np.maximum(self.n, 1.0)
        spread = self.fourth / whole - self.variance**2 * _ratio(self.n - 3.0, self.n - 1.0)
        return np.maximum(spread, 0.0) / whole


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """A quotient, NaN where the denominator is not positive."""
    out = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=out, where=below > 0.0)
    return out
