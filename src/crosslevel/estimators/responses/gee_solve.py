"""Generalized estimating equations as statsmodels solves them: the only module that knows it."""

import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.errors import CrosslevelError
from crosslevel.families import Family
from crosslevel.types import CodeArray, FloatArray, IntArray

CORRELATIONS: dict[str, str] = {
    "exchangeable": "the same between any two rows of a group (exchangeable)",
    "independence": "none (independence)",
    "ar1": "falling with the distance in the order of rows (AR1)",
}
"""Working correlations in words."""

ERRORS: dict[str, str] = {
    "robust": "robust to other correlations than the working one (sandwich, Liang & Zeger 1986)",
    "bias-reduced": "robust to other correlations, corrected for few groups (Mancl & DeRouen 2001)",
    "model": "as if the working correlation were true",
}
"""Covariances in words."""

LINKS = {"logit": "Logit", "probit": "Probit", "cloglog": "CLogLog", "log": "Log"}
"""Names of links in statsmodels."""

LAWS = {"binomial": "Binomial", "poisson": "Poisson", "gamma": "Gamma"}
"""Names of families in statsmodels."""

MAX_STEPS, TOLERANCE = 200, 1e-10


@dataclass(frozen=True, kw_only=True, eq=False)
class GEESolution:
    """Solved estimating equations.

    Attributes
    ----------
    working, beta : (p,) coefficients in working coordinates, and in the units of the data.
    covariances : by name, (p, p) in the units of the data; the bias-reduced one if it was asked for.
    correlation : the working correlation's parameter; 0 for independence.
    qic : quasi-likelihood information criterion (Pan 2001).
    converged : whether the equations are solved.
    said : what statsmodels warned of.
    """

    working: FloatArray
    beta: FloatArray
    covariances: dict[str, FloatArray] = field(repr=False)
    correlation: float
    qic: float
    converged: bool
    said: tuple[str, ...]


def solve_gee(rows: ResponseRows, codes: CodeArray, order: IntArray, correlation: str, *, reduced: bool) -> GEESolution:
    """Solve the estimating equations of a model without grouping factors.

    Parameters
    ----------
    rows : of the model, in the order of the data.
    codes : (n,) groups of the rows.
    order : (n,) of the rows by group and time.
    correlation : of `CORRELATIONS`.
    reduced : whether the bias-reduced covariance is wanted, which takes the cube of the groups' sizes.

    Raises
    ------
    CrosslevelError : statsmodels is not installed, or it does not have the family.
    """
    if find_spec("statsmodels") is None:
        raise CrosslevelError(
            "`gee` is solved by statsmodels, which is not installed. Install it: pip install 'crosslevel[gee]'; or use "
            "cl.glm(..., cluster=), which has the same coefficients as GEE with correlation='independence'."
        )
    from statsmodels.genmod.generalized_estimating_equations import GEE

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = GEE(
            rows.y[order], rows.x[order], groups=codes[order], family=_law(rows.family),
            cov_struct=_structure(correlation), offset=rows.offset[order],
        )  # fmt: skip
        found = model.fit(maxiter=MAX_STEPS, ctol=TOLERANCE, cov_type="bias_reduced" if reduced else "robust")
    turn, working = rows.coordinates.beta_map, np.asarray(found.params, dtype=np.float64)
    matrices = {"robust": found.cov_robust, "model": found.cov_naive}
    matrices |= {"bias-reduced": found.cov_robust_bc} if reduced else {}
    return GEESolution(
        working=working, beta=rows.coordinates.coefficients(working),
        covariances={name: np.asarray(turn @ matrix @ turn.T) for name, matrix in matrices.items()},
        correlation=float(np.ravel(model.cov_struct.dep_params)[0]) if correlation != "independence" else 0.0,
        qic=float(found.qic(scale=1.0)[0]), converged=bool(found.converged),
        said=tuple(dict.fromkeys(str(one.message) for one in caught)),
    )  # fmt: skip


def _law(family: Family) -> Any:
    """The family of statsmodels.

    Raises
    ------
    CrosslevelError : it has none.
    """
    from statsmodels.genmod import families

    if family.name not in LAWS or family.link not in LINKS:
        raise CrosslevelError(
            f"`family` is {family.description}, which `gee` does not have; it has {', '.join(map(repr, LAWS))}. Use "
            "cl.glm(..., family=, cluster=), whose standard errors hold with correlated rows too."
        )
    return getattr(families, LAWS[family.name])(link=getattr(families.links, LINKS[family.link])())


def _structure(correlation: str) -> Any:
    """The working correlation of statsmodels."""
    from statsmodels.genmod import cov_struct

    if correlation == "ar1":
        return cov_struct.Autoregressive(grid=True)
    return cov_struct.Exchangeable() if correlation == "exchangeable" else cov_struct.Independence()
