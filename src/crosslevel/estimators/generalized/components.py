"""Variances of the random effects of generalized models, their modes, and reliabilities."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.estimators import random
from crosslevel.estimators.tables import VARIANCE_COLUMNS, Reliability, factor_rows, reliability_tables
from crosslevel.inference.psi_parameters import psi_gradient
from crosslevel.inference.varcomp import VarianceComponents
from crosslevel.inference.wald import check_level
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.random_rank import RandomRank


def variance_components(solution: GeneralizedSolution) -> tuple[VarianceComponents, ...]:
    """Covariance Psi of each factor's random effects, with the sampling covariance of theta by observed information.

    A factor whose variance is on its boundary has no standard errors.
    """
    layout, rows = solution.criterion.layout, solution.criterion.rows
    vcov = solution.joint_vcov[layout.theta, layout.theta].copy()
    for part, singular in zip(layout.parts, solution.singular, strict=True):
        if singular:
            vcov[part] = vcov[:, part] = np.nan
    out = []
    for structure, part, factor in zip(rows.structures, layout.parts, solution.factors, strict=True):
        at = structure.at_sigma(1.0)
        jacobian = psi_gradient(at, solution.theta[part]).transpose(1, 2, 0)
        known, covariance = structure.fixed[:, None] | structure.fixed, factor @ factor.T
        own = vcov[part, part]
        out.append(VarianceComponents(covariance=covariance, sigma2=1.0, known=known, jacobian=jacobian, vcov=own))
    return tuple(out)


def conditional_modes(solution: GeneralizedSolution) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """For each factor, conditional modes (J, q) and covariances (J, q, q), in the units of the data."""
    criterion, state = solution.criterion, solution.state
    out = []
    found = zip(criterion.rows.bases, criterion.modes(state), criterion.conditional_covariances(state), strict=True)
    for basis, modes, covariances in found:
        back = np.linalg.inv(basis)
        out.append((modes @ back.T, back @ covariances @ back.T))
    return tuple(out)


def varcomp(fit: "GeneralizedFit", *, level: float = 0.95) -> pd.DataFrame:
    """Variances and covariances of the random effects, in squared units of the linear predictor.

    Parameters
    ----------
    fit : the fitted model.
    level : confidence level.

    Returns
    -------
    frame: group, term1, term2, kind, estimate, std_dev, std_error, conf_low, conf_high, std_dev_low, std_dev_high;
    `std_dev` of a covariance is the correlation. There is no residual variance.
    """
    check_level(level)
    records: list[tuple[object, ...]] = []
    for factor, part in zip(fit.design.factors, fit.variance_components, strict=True):
        records += factor_rows(part, factor.name, fit.design.effects_of(factor), factor.structure, level)
    return pd.DataFrame.from_records(records, columns=list(VARIANCE_COLUMNS))


def reliability(fit: "GeneralizedFit", group: str | None = None) -> Reliability:
    """Reliability of the conditional modes of the levels of a factor, 1 - Var(b | y) / tau, at the estimates."""
    factor = fit.design.factor_named(group)
    place = fit.design.factors.index(factor)
    tau = np.diag(fit.variance_components[place].covariance)
    spread = np.einsum("jii->ji", fit._modes[place][1])
    values = np.full(spread.shape, np.nan)
    np.divide(tau - spread, tau, out=values, where=np.broadcast_to(tau > 0.0, spread.shape))
    return reliability_tables(values, random.level_index(factor), fit.design.effects_of(factor))


def rank_re(fit: "GeneralizedFit", *, share: float = 0.999) -> "RandomRank":
    """Principal components of the covariance of the random effects, and how many of them the data support.

    Parameters
    ----------
    fit : the fitted model.
    share : components are counted until they make up this share of the variance.
    """
    from crosslevel.estimators.random_rank import random_rank

    return random_rank(fit, share)
