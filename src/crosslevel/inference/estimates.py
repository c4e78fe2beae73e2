"""What methods of inference on fixed effects see of a fit, and what they answer."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.design import Design
from crosslevel.inference.distributions import f_tail
from crosslevel.inference.equations import Equations, equations_of
from crosslevel.solve import Solution
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.inference.kenward_roger import Adjustment
    from crosslevel.inference.satterthwaite import Uncertainty


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

    @cached_property
    def kenward_roger(self) -> "Adjustment":
        """Kenward and Roger's adjusted covariance, and what their degrees of freedom need."""
        from crosslevel.inference.kenward_roger import adjustment  # it needs this module

        return adjustment(self)

    @cached_property
    def satterthwaite(self) -> "Uncertainty":
        """How the covariance moves with the variance parameters, and how uncertain these are."""
        from crosslevel.inference.satterthwaite import uncertainty  # it needs this module

        return uncertainty(self)

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
