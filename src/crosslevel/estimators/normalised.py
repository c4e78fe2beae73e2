"""Residuals freed of the residual structure: what should look like independent draws of one normal distribution."""

import numpy as np

from crosslevel.design import Design
from crosslevel.solve import Solution
from crosslevel.types import FloatArray


def normalised(design: Design, solution: Solution, resid: FloatArray) -> FloatArray:
    """B^-1 e / sigma of residuals e (rows used,), with sigma^2 B B' their covariance in the model.

    B is triangular in the order of each unit's times, so that an autoregressive residual is freed of the one before it
    (nlme's "normalized" residuals); with compound symmetry it is the symmetric root.
    """
    if design.residual is not None:
        residual = solution.criterion.residual
        out = np.empty(len(resid))
        out[residual.order] = residual.at(solution.phi).whiten(resid[residual.order][None, :])[0]
        return out / solution.sigma
    if design.weights is not None and design.weights.is_precision and design.weights.total is not None:
        return np.asarray(resid * np.sqrt(design.weights.total) / solution.sigma)
    return resid / solution.sigma
