"""Weakly informative priors: `prior=` for coefficients that separation sends to infinity, and for singular fits."""

from dataclasses import dataclass

import numpy as np

from crosslevel.errors import CrosslevelError


@dataclass(frozen=True, kw_only=True)
class Weak:
    """A prior that keeps estimates finite and covariance matrices away from singular ones, and says little else.

    The estimates become the mode of the posterior (penalised maximum likelihood):

    - coefficients but the intercept ~ N(0, `coefficients`^2) and the intercept ~ N(0, `intercept`^2), in units of the
      linear predictor per standard deviation of the column (the intercept at the columns' means);
    - p(Psi) proportional to |Psi|^((covariances - 1) / 2) for the covariance Psi of the random effects. With
      `covariances` = 2 this is the limit of a gamma(2, 0) density on the standard deviation of a single effect, and of
      a Wishart density with q + 2 degrees of freedom on q correlated effects.

    Linear models have a prior on the relative covariances only: their coefficients exist whatever the data.

    Parameters
    ----------
    coefficients : standard deviation; None for no prior.
    intercept : standard deviation; None for no prior.
    covariances : the gamma density's shape, at least 1; None or 1 for no prior.

    Source
    ------
    Gelman, Jakulin, Pittau & Su (2008), Annals of Applied Statistics 2: 1360-1383, for coefficients on a common scale;
    Chung, Rabe-Hesketh, Dorie, Gelman & Liu (2013), Psychometrika 78: 685-709, and Chung, Gelman, Rabe-Hesketh, Liu &
    Dorie (2015), Journal of Educational and Behavioral Statistics 40: 136-157, for covariances.

    Examples
    --------
    >>> from crosslevel.prior import Weak
    >>> Weak(covariances=None)
    Weak(coefficients=2.5, intercept=10.0, covariances=None)
    """

    coefficients: float | None = 2.5
    intercept: float | None = 10.0
    covariances: float | None = 2.0

    def __post_init__(self) -> None:
        for name in ("coefficients", "intercept"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0.0):
                raise CrosslevelError(
                    f"`{name}` of a prior is a standard deviation above 0, or None for no prior; got {value!r}."
                )
        if self.covariances is not None and not (np.isfinite(self.covariances) and self.covariances >= 1.0):
            raise CrosslevelError(
                "`covariances` of a prior is the shape of a gamma density, at least 1 (2 is usual), or None for no "
                f"prior; got {self.covariances!r}."
            )

    @property
    def holds_covariances(self) -> bool:
        """Whether it keeps covariances away from singular ones."""
        return self.covariances is not None and self.covariances > 1.0

    @property
    def covariance_words(self) -> str:
        """The prior of the covariances as a part of a sentence."""
        return (
            f"a gamma({self.covariances:g}) prior on the random effects' standard deviations (Wishart where they are "
            "correlated)"
        )

    @property
    def words(self) -> str:
        """The prior as a part of a sentence."""
        parts = []
        if self.coefficients is not None:
            parts.append(f"normal priors with standard deviation {self.coefficients:g} on standardised coefficients")
        if self.holds_covariances:
            parts.append(self.covariance_words)
        return " and ".join(parts) if parts else "no prior"


def check_prior(prior: object) -> Weak | None:
    """The prior, if it is one or None.

    Raises
    ------
    CrosslevelError : it is not.
    """
    if prior is None or isinstance(prior, Weak):
        return prior
    raise CrosslevelError(f"`prior` is cl.prior.Weak(...) or None; got {prior!r}.")
