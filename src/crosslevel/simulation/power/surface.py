"""A smooth curve through simulated power, and what it says between the points and beyond them.

With signal m (effect over standard error by the closed form, see `shape`), critical value t and k = sqrt(1 +
t^2 / 2df), the power of a t test is close to Phi((m - t) / k). The closed form is right for balanced designs with known
variances; for others its factor and its origin are left open:

    power(J, n) = Phi((a + b m(J, n) - t) / k).

With clusters m is proportional to sqrt(J), with rows to the root of the effective size n / (1 + (n - 1) r), so that
this is a probit in a square root. a and b maximise the binomial likelihood of the simulated rejections, with
a ~ N(0, 1), b >= 0; the likelihood is log-concave. Where the points lie further from the curve than Monte-Carlo error
explains, the covariance of (a, b) is multiplied by the ratio.

Source of the approximation: Johnson, Kotz & Balakrishnan (1995), Continuous Univariate Distributions 2, sec. 31.5.
"""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.distributions import normal_quantile
from crosslevel.simulation.power.shape import Shape
from crosslevel.types import FloatArray

STEPS, SMALL = 200, 1e-10
"""Most Newton steps, and the relative change of the coefficients that ends them."""


class NoCurveError(CrosslevelError):
    """The simulated points do not say how power depends on the design."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """Power as a smooth function of the design.

    Attributes
    ----------
    shape : how the signal grows.
    coefficients : (2,) a and b.
    covariance : (2, 2) of them.
    spread : factor on the covariance, at least 1, by which the points scatter more than Monte-Carlo error explains.
    """

    shape: Shape
    coefficients: FloatArray = field(repr=False)
    covariance: FloatArray = field(repr=False)
    spread: float

    @classmethod
    def of(
        cls,
        shape: Shape,
        clusters: FloatArray,
        size: FloatArray,
        effect: FloatArray,
        power: FloatArray,
        reps: FloatArray,
    ) -> "Surface":
        """Fit it to simulated points.

        Parameters
        ----------
        shape : how the signal grows.
        clusters, size, effect : (K,) designs.
        power, reps : (K,) share of rejections, and of how many fits; points without any are left out.

        Raises
        ------
        NoCurveError : power is 0 or 1 at all points, or does not rise.
        """
        use = (reps > 0) & np.isfinite(power)
        found, total = power[use] * reps[use], reps[use]
        if not len(found) or np.all((found < 0.5) | (found > total - 0.5)):
            said = "was not simulated" if not len(found) else f"is {power[use].min():.0%} to {power[use].max():.0%}"
            raise NoCurveError(
                f"Power {said} at every point, so that there is no curve to read off. Choose designs (or an effect) "
                "with a power between 0 and 1."
            )
        x, offset = _linear(shape, clusters[use], size[use], effect[use])
        theta, information = _fitted(x, offset, found, total)
        if not theta[1] > 0.0:
            raise NoCurveError(
                "Power does not rise along the points that were simulated: the effect is (nearly) zero, or `reps` are "
                "too few. Take a larger effect, a wider range of designs, or more replications."
            )
        mean = _phi(x @ theta + offset)
        misfit = float(np.sum((found - total * mean) ** 2 / np.maximum(total * mean * (1.0 - mean), SMALL)))
        spread = max(1.0, misfit / (len(found) - 2)) if len(found) > 3 else 1.0
        return cls(shape=shape, coefficients=theta, covariance=np.linalg.inv(information) * spread, spread=spread)

    def index(self, clusters: FloatArray, size: FloatArray, effect: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Probit of power, and its standard error."""
        x, offset = _linear(self.shape, clusters, size, effect)
        variance = np.einsum("...i,ij,...j->...", x, self.covariance, x)
        return x @ self.coefficients + offset, np.sqrt(variance)

    def power(self, clusters: FloatArray, size: FloatArray, effect: FloatArray) -> FloatArray:
        """Power on the curve."""
        return _phi(self.index(clusters, size, effect)[0])

    def band(
        self, clusters: FloatArray, size: FloatArray, effect: FloatArray, level: float = 0.95
    ) -> tuple[FloatArray, FloatArray]:
        """Ends of the pointwise interval of power for Monte-Carlo error."""
        middle, error = self.index(clusters, size, effect)
        reach = normal_quantile(0.5 + level / 2.0) * error
        return _phi(middle - reach), _phi(middle + reach)


def _phi(value: FloatArray) -> FloatArray:
    """Standard normal distribution function."""
    from scipy.special import ndtr

    return np.asarray(ndtr(value))


def _linear(
    shape: Shape, clusters: FloatArray | float, size: FloatArray | float, effect: FloatArray | float
) -> tuple[FloatArray, FloatArray]:
    """Regressors (.., 2) of the probit and its known part."""
    signal = shape.signal(clusters, size, effect)
    critical, blunt = shape.critical(*np.broadcast_arrays(clusters, size))
    critical, blunt, signal = np.broadcast_arrays(critical, blunt, signal)
    return np.stack([1.0 / blunt, signal / blunt], axis=-1), -critical / blunt


def _fitted(x: FloatArray, offset: FloatArray, found: FloatArray, total: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mode (2,) of a and b, and the information (2, 2) there, by Newton's method with halved steps."""
    theta = np.array([0.0, 1.0])
    value, gradient, information = _objective(theta, x, offset, found, total)
    for _ in range(STEPS):
        step = np.linalg.solve(information, gradient)
        size = 1.0
        while size > SMALL:
            trial = theta + size * step
            trial[1] = max(trial[1], 0.0)
            new = _objective(trial, x, offset, found, total)
            if new[0] >= value:
                break
            size /= 2.0
        change = float(np.max(np.abs(trial - theta) / (np.abs(theta) + 1.0)))
        theta, (value, gradient, information) = trial, new
        if change < SMALL:
            break
    return theta, information


def _objective(
    theta: FloatArray, x: FloatArray, offset: FloatArray, found: FloatArray, total: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """Log posterior up to a constant, its gradient (2,) and minus its Hessian (2, 2)."""
    from scipy.special import log_ndtr

    index = x @ theta + offset
    density = -0.5 * index**2 - 0.5 * np.log(2.0 * np.pi)
    yes, no = log_ndtr(index), log_ndtr(-index)
    up, down = np.exp(density - yes), np.exp(density - no)  # derivatives of the two logarithms
    value = float(found @ yes + (total - found) @ no) - 0.5 * theta[0] ** 2
    gradient = x.T @ (found * up - (total - found) * down)
    bend = found * up * (up + index) + (total - found) * down * (down - index)
    information = (x * bend[:, None]).T @ x
    gradient[0] -= theta[0]
    information[0, 0] += 1.0
    return value, np.asarray(gradient), np.asarray(information)
