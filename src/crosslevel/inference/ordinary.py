"""Covariances of the coefficients of a linear regression, by name."""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.inference.cluster_robust import ROBUST
from crosslevel.inference.distributions import f_tail
from crosslevel.inference.estimates import Joint
from crosslevel.inference.heteroskedastic import ROW_ROBUST, row_robust
from crosslevel.inference.robust import OrdinarySource, RobustCovariance, robust_covariance
from crosslevel.inference.robust_rows import Working
from crosslevel.inference.robust_tests import joint_test, wald
from crosslevel.solve.least_squares import LeastSquares
from crosslevel.types import FloatArray

NAMES = ("iid", *ROW_ROBUST, *ROBUST)
"""Covariances that a regression has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OrdinaryCovariance:
    """A covariance of p coefficients with the degrees of freedom of their tests.

    Attributes
    ----------
    name : one of `NAMES`.
    description : what it is, for the line under a table.
    matrix : (p, p).
    df_residual : rows - coefficients.
    robust : contributions of the clusters, if it is cluster-robust.
    """

    name: str
    description: str
    matrix: FloatArray = field(repr=False)
    df_residual: float
    robust: RobustCovariance | None = None

    def df(self, contrasts: FloatArray) -> FloatArray:
        """Degrees of freedom of each row of C (m, p): Satterthwaite's with clusters, else rows - coefficients."""
        return np.full(len(contrasts), self.df_residual) if self.robust is None else self.robust.df(contrasts)

    def std_error(self, contrasts: FloatArray) -> FloatArray:
        """Standard errors (m,) of C beta; NaN where the clusters contribute nothing to it."""
        if self.robust is not None:
            return self.robust.std_error(contrasts)
        return np.asarray(np.sqrt(np.einsum("ma,ab,mb->m", contrasts, self.matrix, contrasts, optimize=True)))

    @property
    def default_test(self) -> str:
        """The joint test that is made where none is named."""
        return "F" if self.robust is None else "HTZ"

    def joint(self, contrasts: FloatArray, estimate: FloatArray, test: str) -> Joint:
        """Joint test that C beta (m,) is zero: "HTZ", "EDF" or "naive-F" with clusters, "F" without.

        Raises
        ------
        CrosslevelError : no such test, or more combinations than can be told apart.
        """
        if self.robust is not None:
            return self.robust.joint(contrasts, estimate, test)
        if test != "F":
            joint_test(test)
            raise CrosslevelError(
                f"`test` is {test!r}, which needs a cluster-robust covariance; this one is {self.name!r}. Use "
                "test='F', or name clusters and a vcov such as 'CR2'."
            )
        statistic = wald(estimate, contrasts @ self.matrix @ contrasts.T) / len(estimate)
        return Joint(
            statistic=statistic, df_num=float(len(estimate)), df_den=self.df_residual,
            p_value=f_tail(len(estimate), self.df_residual, statistic),
        )  # fmt: skip


def check_vcov(vcov: object, *, clustered: bool) -> str:
    """The name of a covariance: "CR2" with clusters and "iid" without them where none is given.

    Raises
    ------
    CrosslevelError : no such covariance, or a cluster-robust one without clusters.
    """
    if vcov is None:
        return "CR2" if clustered else "iid"
    if not isinstance(vcov, str) or vcov not in NAMES:
        raise CrosslevelError(f"`vcov` is one of {', '.join(map(repr, NAMES))}; got {vcov!r}.")
    if vcov in ROBUST and not clustered:
        raise CrosslevelError(f"`vcov` is {vcov!r}, which needs clusters. Name their column: cluster='school'.")
    return vcov


def covariance_of(design: Design, solved: LeastSquares, name: str, clusters: tuple[str, ...]) -> OrdinaryCovariance:
    """Work out a covariance of `NAMES`."""
    df = solved.n_rows - len(solved.beta)
    if name == "iid":
        words = "independent rows of equal variance (iid)"
        return OrdinaryCovariance(name=name, description=words, matrix=solved.vcov, df_residual=df)
    if name in ROW_ROBUST:
        kind = ROW_ROBUST[name]
        matrix = row_robust(design, solved, kind)
        matrix.setflags(write=False)
        return OrdinaryCovariance(name=name, description=kind.description, matrix=matrix, df_residual=df)
    working = Working(coordinates=solved.coordinates, beta=solved.working_beta, bread=solved.working_unscaled)
    source = OrdinarySource(design=design, working=working)
    robust = robust_covariance(source, design, ROBUST[name], clusters, solved.vcov)
    return OrdinaryCovariance(
        name=name, description=robust.kind.description, matrix=robust.vcov, df_residual=df, robust=robust
    )
