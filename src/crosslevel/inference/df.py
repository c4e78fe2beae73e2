"""Degrees of freedom of fixed effects.

To add a method: one final class, here or in a file of its own, and its entry in `DF_METHODS`. A method may adjust the
covariance of the coefficients too. It may not fall back on another silently: where it is not defined it says so.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.between_within import between_within
from crosslevel.inference.df_method import DfMethod as DfMethod
from crosslevel.inference.estimates import Estimates, Joint, Single, wald_f
from crosslevel.inference.growth_curve import GrowthCurve, available
from crosslevel.inference.kenward_roger import KenwardRoger
from crosslevel.inference.satterthwaite import Satterthwaite
from crosslevel.types import FloatArray


@dataclass(frozen=True)
class Counted(DfMethod):
    """Degrees of freedom that follow from counting clusters, rows and coefficients; standard errors as they are.

    A combination of coefficients has the fewest degrees of freedom of those that take part in it.

    Attributes
    ----------
    name, description : see `DfMethod`.
    count : of the model, the degrees of freedom (p,) of each coefficient; NaN where none are left.
    """

    name: str
    description: str
    count: Callable[[Estimates], FloatArray]

    def single(self, estimates: Estimates, contrasts: FloatArray) -> Single:
        """Standard errors sqrt(C V C') and counted degrees of freedom."""
        return Single(std_error=estimates.std_error(contrasts), df=self._fewest(estimates, contrasts))

    def joint(self, estimates: Estimates, contrasts: FloatArray) -> Joint:
        """(C beta)'(C V C')^-1 C beta / r."""
        df = float(np.min(self._fewest(estimates, contrasts)))
        return wald_f(contrasts @ estimates.beta, contrasts @ estimates.vcov @ contrasts.T, df)

    def _fewest(self, estimates: Estimates, contrasts: FloatArray) -> FloatArray:
        """Fewest degrees of freedom (m,) among the coefficients in each row of C, NaN if one has none."""
        df = self.count(estimates)
        return np.asarray([np.min(df[row != 0.0], initial=np.inf) for row in contrasts])


def m_l_1(estimates: Estimates) -> FloatArray:
    """J - Q - 1 for the coefficients of a level-2 equation with Q predictors, n - p for the others: (p,).

    Source: Raudenbush & Bryk (2002), Hierarchical Linear Models, 2nd ed., pp. 57-58; Snijders & Bosker (2012), p. 94.
    """
    equations = estimates.equations
    p = len(equations.number)
    out = np.full(p, float(equations.n_rows - p))
    for equation in range(len(equations.names)):
        mine = equations.number == equation
        out[mine] = equations.n_clusters[equation] - equations.predictors(equation) - 1
    out[out < 1.0] = np.nan
    return np.asarray(np.minimum(out, equations.limit))


def residual(estimates: Estimates) -> FloatArray:
    """Rows less coefficients, n - p, for every coefficient: (p,)."""
    p = len(estimates.beta)
    return np.full(p, float(estimates.design.nobs - p))


def infinite(estimates: Estimates) -> FloatArray:
    """Infinitely many: (p,)."""
    return np.full(len(estimates.beta), np.inf)


M_L_1 = Counted(
    name="m-l-1",
    description=(
        "m-l-1: clusters - cluster-level predictors - 1 for the intercept, cluster-level variables, randomly "
        "varying slopes and their cross-level interactions; rows - coefficients for the others"
    ),
    count=m_l_1,
)

DF_METHODS: dict[str, DfMethod] = {
    method.name: method
    for method in (
        M_L_1,
        GrowthCurve(
            name="growth-curve",
            description=(
                "growth-curve: m-l-1 less one for each varying coefficient whose estimated correlation with the "
                "target's makes the estimate more precise, and standard errors enlarged accordingly"
            ),
            counted=M_L_1,
        ),
        Satterthwaite(
            name="satterthwaite",
            description=(
                "satterthwaite: as many as match the uncertainty of each standard error, from the observed "
                "information on the variances"
            ),
        ),
        KenwardRoger(
            name="kenward-roger",
            description="kenward-roger: standard errors and degrees of freedom of Kenward & Roger (1997)",
            nonlinear=False,
        ),
        KenwardRoger(
            name="kenward-roger-2009",
            description="kenward-roger-2009: standard errors and degrees of freedom of Kenward & Roger (2009)",
            nonlinear=True,
        ),
        Counted(
            name="between-within",
            description=(
                "between-within: clusters - coefficients of cluster-level variables; rows - clusters - coefficients of "
                "variables that vary within clusters"
            ),
            count=between_within,
        ),
        Counted(name="residual", description="residual: rows - coefficients", count=residual),
        Counted(
            name="normal",
            description="normal: z statistics, as if there were infinitely many clusters",
            count=infinite,
        ),
    )
}


AUTO = "auto"
"""The name that leaves the choice to `suited_method`."""


def suited_method(estimates: Estimates) -> str:
    """Name of the method that is used if none is asked for.

    growth-curve where a coefficient is adjusted for others that vary together with it; m-l-1, which is the same, where
    none is, and where the inflation that growth-curve builds on is not defined.
    """
    if not adjusts(estimates):
        return M_L_1.name
    try:
        DF_METHODS["growth-curve"].single(estimates, np.eye(len(estimates.beta)))
    except CrosslevelError:
        return M_L_1.name
    return "growth-curve"


def adjusts(estimates: Estimates) -> bool:
    """Whether a coefficient is adjusted for others that vary together with it, so that growth-curve is not m-l-1."""
    everything = np.eye(len(estimates.beta))
    room = available(estimates, everything, M_L_1.single(estimates, everything).df)
    return bool(np.any(room > 0.0))


def check_ddf(name: object) -> None:
    """Refuse what is neither a method's name nor "auto".

    Raises
    ------
    CrosslevelError : no such method.
    """
    if name != AUTO:
        df_method(str(name))


def df_method(name: str) -> DfMethod:
    """Look up a method by its name.

    Raises
    ------
    CrosslevelError : no such method.
    """
    if name not in DF_METHODS:
        raise CrosslevelError(f"`ddf` is {AUTO!r} or one of {', '.join(map(repr, DF_METHODS))}; got {name!r}.")
    return DF_METHODS[name]
