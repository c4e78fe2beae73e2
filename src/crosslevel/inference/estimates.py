"""What methods of inference on fixed effects see of a fit, and what they answer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np

from crosslevel.design import Design
from crosslevel.inference.distributions import f_tail
from crosslevel.inference.equations import Equations, equations_of
from crosslevel.solve import Solution
from crosslevel.types import FloatArray

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """A solved model, as far as methods of inference look at it.

    Attributes
    ----------
    design, solution : the model and its estimates.
    reml : whether the restricted likelihood was maximised.
    """

    design: Design
    solution: Solution
    reml: bool

    @cached_property
    def equations(self) -> Equations:
        """Which equation of a higher level each coefficient belongs to."""
        return equations_of(self.design)

    @property
    def beta(self) -> FloatArray:
        """(p,) coefficients."""
        return self.solution.beta

    @property
    def vcov(self) -> FloatArray:
        """(p, p) their covariance, given the variances."""
        return self.solution.vcov

    def once(self, compute: Callable[["Estimates"], T]) -> T:
        """Compute(self), kept: what a method needs for each of its answers is computed once for a fit."""
        if compute not in self._kept:
            self._kept[compute] = compute(self)
        return cast(T, self._kept[compute])

    @cached_property
    def _kept(self) -> dict[Callable[["Estimates"], Any], Any]:
        """What was computed before."""
        return {}

    def std_error(self, contrasts: FloatArray) -> FloatArray:
        """Standard errors (m,) of C beta, given the variances."""
        return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", contrasts, self.vcov, contrasts)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Single:
    """Tests of single combinations.

    Attributes
    ----------
    std_error, df : (m,) of each; df NaN where none are left, infinite for z statistics.
    """

    std_error: FloatArray
    df: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Joint:
    """An F test of several combinations at once.

    Attributes
    ----------
    statistic : F, scaled where the method scales it.
    df_num, df_den : its degrees of freedom; infinite df_den for chi-square over df_num.
    p_value : tail probability.
    """

    statistic: float
    df_num: float
    df_den: float
    p_value: float


NO_TEST = Joint(statistic=np.nan, df_num=0.0, df_den=np.nan, p_value=np.nan)
"""Of no combinations at all."""


def wald_f(estimate: FloatArray, vcov: FloatArray, df: float, *, scale: float = 1.0) -> Joint:
    """F = scale e'V^-1 e / r of r combinations, on r and df degrees of freedom.

    Parameters
    ----------
    estimate, vcov : (r,) and (r, r).
    df : denominator degrees of freedom, NaN for none.
    scale : factor on F.
    """
    r = len(estimate)
    statistic = float(scale * estimate @ np.linalg.solve(vcov, estimate) / r)
    return Joint(statistic=statistic, df_num=float(r), df_den=df, p_value=f_tail(r, df, statistic))
