"""What a covariance structure has to say."""

from abc import ABC, abstractmethod

import numpy as np

from crosslevel.types import FloatArray


class Covariance(ABC):
    """One covariance structure; it knows nothing of data or estimates."""

    free: bool
    """Whether the structure holds after any linear map of the effects (moving a slope's origin, rotating)."""
    scalable: bool
    """Whether the structure holds after measuring a slope's variable in other units."""
    linear: bool
    """Whether Lambda is linear in theta, so that its second derivative is zero."""
    additive: bool
    """Whether variance may be added in any direction v that the structure knows: Psi + v v' is a member again."""
    fixed: bool = False
    """Whether the covariance itself is known, in the units of the data, so that nothing of it is estimated."""

    @abstractmethod
    def n_theta(self, q: int) -> int:
        """Return the number of parameters of a block of q effects."""

    @abstractmethod
    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """Lambda (q, q), any square root of Psi = Lambda Lambda'."""

    @abstractmethod
    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """Derivative of Lambda in theta, (n_theta, q, q)."""

    def factor_hessian(self, theta: FloatArray, q: int) -> FloatArray:
        """Second derivative of Lambda in theta, (n_theta, n_theta, q, q); zero where the structure is `linear`."""
        k = self.n_theta(q)
        return np.zeros((k, k, q, q))

    @abstractmethod
    def nearest(self, factor: FloatArray) -> FloatArray:
        """Parameters (n_theta,) of the structure's member nearest to the covariance factor factor', factor (q, r)."""

    def members(self, q: int) -> FloatArray:
        """Factors (m, q, q) of members with equal variances 1 and correlations all over the structure's range."""
        return np.eye(q)[None]

    def departures(self, score: FloatArray) -> FloatArray:
        """Factors (m, q, q) of the members that are most likely to lower the deviance if added to no variance at all.

        For structures that are not additive; `score` (q, q) is the derivative of the deviance in Psi.
        """
        return self.members(len(score))

    def detours(self, theta: FloatArray, q: int, *, negligible: float) -> FloatArray:
        """Other parameters (m, n_theta) of the same covariance, where the deviance may fall in other directions.

        Standard deviations below `negligible` count as zero.
        """
        return np.zeros((0, self.n_theta(q)))

    def at_sigma(self, sigma: float) -> "Covariance":
        """Return the structure relative to a residual standard deviation, in whose unit Lambda is measured.

        What is estimated is relative to it anyway; a covariance that is known in the units of the data is not.
        """
        return self

    def cone(self, q: int) -> tuple[int, bool]:
        """Smallest simple cone around the structure's covariances, for the test that none of the effects vary.

        A number m of effects, and whether the cone is that of all their covariance matrices rather than of m variances
        each in a direction of its own. Where the structure is less than its cone the test is conservative.
        """
        return q, self.free

    def names(self, effects: tuple[str, ...]) -> tuple[str, ...]:
        """Names of what `natural` tells of a block of these effects; empty where variances and covariances say all."""
        return ()

    def natural(self, theta: FloatArray, q: int) -> FloatArray:
        """Values of `names`: relative standard deviations, then the correlation."""
        return np.zeros(0)
