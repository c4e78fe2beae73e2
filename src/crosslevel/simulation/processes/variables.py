"""Variables of a simulated process: how the predictors of rows and of clusters are distributed."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from crosslevel.errors import CrosslevelError
from crosslevel.simulation.processes.amounts import is_number
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True)
class Variable(ABC):
    """A predictor of a simulated process."""

    is_context: ClassVar[bool] = False
    """Whether it has one value per cluster."""

    @property
    @abstractmethod
    def expected(self) -> float:
        """Its mean."""

    @abstractmethod
    def draw(self, latent: FloatArray, centres: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Values from standard normal numbers.

        Parameters
        ----------
        latent : (n,) one per row; (J,) one per cluster for variables of clusters. Those of rows may be correlated with
            those of other variables.
        centres : (n,) one per cluster, repeated for its rows; unused for variables of clusters.
        rng : for what else has to be drawn.
        """


@dataclass(frozen=True, kw_only=True)
class Normal(Variable):
    """Normal within clusters, about cluster means that are normal too.

    x = mean + c_g + r with Var(r) = sd^2 and Var(c_g) = sd^2 between / (1 - between).

    Attributes
    ----------
    mean : over all clusters.
    sd : standard deviation within clusters.
    between : share of the whole variance that lies between clusters, from 0 to less than 1.

    Examples
    --------
    >>> Normal(between=0.5)
    Normal(mean=0.0, sd=1.0, between=0.5)
    """

    mean: float = 0.0
    sd: float = 1.0
    between: float = 0.0

    def __post_init__(self) -> None:
        _check_moments(self, self.mean, self.sd)
        _check_between(self, self.between)

    @property
    def expected(self) -> float:
        """Its mean."""
        return self.mean

    @property
    def sd_between(self) -> float:
        """Standard deviation of the cluster constants."""
        return spread_between(self.sd, self.between)

    def draw(self, latent: FloatArray, centres: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Values of rows."""
        return self.mean + self.sd * latent + self.sd_between * centres


@dataclass(frozen=True, kw_only=True)
class StudentT(Variable):
    """Heavy tails within clusters: Student's t, scaled to a standard deviation; cluster constants are normal.

    Attributes
    ----------
    df : degrees of freedom, more than 2.
    mean, sd, between : as of `Normal`.

    Examples
    --------
    >>> StudentT(df=5)
    StudentT(df=5, mean=0.0, sd=1.0, between=0.0)
    """

    df: float
    mean: float = 0.0
    sd: float = 1.0
    between: float = 0.0

    def __post_init__(self) -> None:
        _check_moments(self, self.mean, self.sd)
        _check_between(self, self.between)
        if not (is_number(self.df) and self.df > 2.0):
            raise CrosslevelError(
                f"`df` of {self!r} is {self.df!r}; it must be more than 2, or the variable has no variance."
            )

    @property
    def expected(self) -> float:
        """Its mean."""
        return self.mean

    def draw(self, latent: FloatArray, centres: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Values of rows: a normal number over the root of a chi-square of its own."""
        t = latent * np.sqrt((self.df - 2.0) / rng.chisquare(self.df, len(latent)))
        return np.asarray(self.mean + self.sd * t + spread_between(self.sd, self.between) * centres)


@dataclass(frozen=True, kw_only=True)
class Skewed(Variable):
    """Skewed within clusters: a lognormal variable, standardised; cluster constants are normal.

    With w = exp(s^2), the skewness is (w + 2) sqrt(w - 1), from which s follows.

    Attributes
    ----------
    skewness : of the variable within clusters, more than 0: the long tail is to the right.
    mean, sd, between : as of `Normal`.

    Examples
    --------
    >>> Skewed(skewness=2)
    Skewed(skewness=2, mean=0.0, sd=1.0, between=0.0)
    """

    skewness: float = 2.0
    mean: float = 0.0
    sd: float = 1.0
    between: float = 0.0

    def __post_init__(self) -> None:
        _check_moments(self, self.mean, self.sd)
        _check_between(self, self.between)
        if not (is_number(self.skewness) and 0.0 < self.skewness <= 100.0):
            raise CrosslevelError(f"`skewness` of {self!r} is {self.skewness!r}; it must be more than 0, at most 100.")

    @property
    def expected(self) -> float:
        """Its mean."""
        return self.mean

    def draw(self, latent: FloatArray, centres: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Values of rows: the exponential of normal numbers."""
        w = float(brentq(lambda w: (w + 2.0) * np.sqrt(w - 1.0) - self.skewness, 1.0, 1.0 + self.skewness**2))
        s = np.sqrt(np.log(w))
        standard = (np.exp(s * latent - 0.5 * s * s) - 1.0) / np.sqrt(w - 1.0)
        return np.asarray(self.mean + self.sd * standard + spread_between(self.sd, self.between) * centres)


@dataclass(frozen=True, kw_only=True)
class Binary(Variable):
    """0 or 1, row by row: whether a normal variable exceeds a point.

    x = 1 if sqrt(between) c_g + sqrt(1 - between) r > -Phi^-1(share), with standard normal c_g and r: `between` is a
    share of the variance of the normal variable behind x, and correlations with other predictors are those of r.

    Attributes
    ----------
    share : of ones, over all clusters.
    between : share of the latent variance that lies between clusters, from 0 to less than 1.

    Examples
    --------
    >>> Binary(share=0.3)
    Binary(share=0.3, between=0.0)
    """

    share: float = 0.5
    between: float = 0.0

    def __post_init__(self) -> None:
        _check_between(self, self.between)
        _check_share(self, self.share)

    @property
    def expected(self) -> float:
        """Its mean, the share of ones."""
        return self.share

    def draw(self, latent: FloatArray, centres: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Values of rows."""
        both = np.sqrt(self.between) * centres + np.sqrt(1.0 - self.between) * latent
        return np.asarray(both > -ndtri(self.share), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Context(Variable):
    """One normal value per cluster.

    Attributes
    ----------
    mean, sd : over clusters.

    Examples
    --------
    >>> Context()
    Context(mean=0.0, sd=1.0)
    """

    mean: float = 0.0
    sd: float = 1.0
    is_context: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_moments(self, self.mean, self.sd)

    @property
    def expected(self) -> float:
        """Its mean."""
        return self.mean

    def draw(self, latent: FloatArray, centres: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Values of clusters."""
        return self.mean + self.sd * latent


@dataclass(frozen=True, kw_only=True)
class Arms(Variable):
    """0 or 1, cluster by cluster, in exactly the planned numbers: the arms of a cluster-randomised trial.

    Attributes
    ----------
    share : of clusters with a 1; of J clusters, round(share J) have one, and chance decides which.

    Examples
    --------
    >>> Arms().ones(25)
    12
    """

    share: float = 0.5
    is_context: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_share(self, self.share)

    @property
    def expected(self) -> float:
        """Its mean, up to the rounding to whole clusters."""
        return self.share

    def ones(self, clusters: int) -> int:
        """How many of the clusters have a 1."""
        return round(self.share * clusters)

    def draw(self, latent: FloatArray, centres: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Values of clusters; those with the smallest normal numbers have a 1."""
        out = np.zeros(len(latent))
        out[np.argsort(latent)[: self.ones(len(latent))]] = 1.0
        return out


def spread_between(sd: float, between: float) -> float:
    """Standard deviation of cluster constants that make up the share `between` of the whole variance."""
    return float(sd * np.sqrt(between / (1.0 - between)))


def changed_variable(variable: Variable, name: str, key: str, value: object) -> Variable:
    """A variable with another value of one of its attributes.

    Raises
    ------
    CrosslevelError : it has no such attribute.
    """
    known = [field.name for field in fields(variable)]
    if key not in known:
        raise CrosslevelError(
            f"`variables.{name}.{key}` is no setting: {name} is {variable!r}, which has {', '.join(known)}."
        )
    return type(variable)(**{**{each: getattr(variable, each) for each in known}, key: value})


def _check_moments(variable: Variable, mean: float, sd: float) -> None:
    if not (is_number(mean) and is_number(sd) and sd > 0.0):
        raise CrosslevelError(
            f"{type(variable).__name__} needs a finite `mean` and an `sd` above 0; got mean={mean!r}, sd={sd!r}."
        )


def _check_between(variable: Variable, between: float) -> None:
    if not (is_number(between) and 0.0 <= between < 1.0):
        raise CrosslevelError(
            f"`between` of {type(variable).__name__} is {between!r}; it is the share of the variance that lies between "
            "clusters, from 0 to less than 1."
        )


def _check_share(variable: Variable, share: float) -> None:
    if not (is_number(share) and 0.0 < share < 1.0):
        raise CrosslevelError(
            f"`share` of {type(variable).__name__} is {share!r}; it is the share of ones, more than 0 and less than 1."
        )
