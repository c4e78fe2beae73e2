"""Random effects of given levels: their modes, how these follow from the parameters, and what stays unknown of them.

With b(psi) the modes at parameters psi, and B the covariance of the effects given data and parameters, the error of
an estimated mode is G (psihat - psi) - e with G = db/dpsi and e ~ N(0, B), independent of the parameters' estimates:
a quantity with derivatives g in psi and h in b has the variance (g + G'h)'V(g + G'h) + h'B h.

Source: Booth & Hobert (1998), J. Am. Stat. Assoc. 93: 262-272, for the two parts; Kass & Steffey (1989), 84: 717-726.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.types import FloatArray

STEP = 1e-3
"""Step of differences of the modes, in standard errors of the parameter."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenEffects:
    """Effects of one level in each of some grouping factors.

    Attributes
    ----------
    modes : for each of these factors (q,) in the units of the data.
    slopes : (sum of q, K) their derivatives in [theta, beta, shape], beta in the units of the data, shape natural.
    spread : (sum of q, sum of q) their covariance given data and parameters; levels of different factors are taken as
        independent given the data.
    """

    modes: tuple[FloatArray, ...]
    slopes: FloatArray = field(repr=False)
    spread: FloatArray = field(repr=False)

    def vcov(self, parameters: FloatArray) -> FloatArray:
        """Covariance (K + sum of q) of the parameters' estimates and of the modes' errors."""
        cross = parameters @ self.slopes.T
        return np.block([[parameters, cross], [cross.T, self.slopes @ cross + self.spread]])


def given_effects(solution: GeneralizedSolution, factors: Sequence[int], levels: Sequence[int]) -> GivenEffects:
    """Modes of a level of each of some factors.

    Parameters
    ----------
    solution : the fitted model.
    factors, levels : positions of the factors, and of a level in each.
    """
    criterion, state = solution.criterion, solution.state
    layout, rows = criterion.layout, criterion.rows
    back = [np.linalg.inv(basis) for basis in rows.bases]

    def modes_at(parameters: FloatArray) -> list[FloatArray]:
        found = criterion.modes(state if parameters is solution.parameters else criterion.value(parameters, state))
        return [back[k] @ found[k][level] for k, level in zip(factors, levels, strict=True)]

    error = np.sqrt(np.diag(solution.working_vcov))
    step = STEP * np.where(error > 0.0, error, 1.0)
    slopes = np.empty((sum(rows.terms[k].q for k in factors), layout.size))
    for j in range(layout.size):
        unit = np.zeros(layout.size)
        unit[j] = step[j]
        high, low = (np.concatenate(modes_at(solution.parameters + move)) for move in (unit, -unit))
        slopes[:, j] = (high - low) / (2.0 * step[j])
    change = np.eye(layout.size)
    change[layout.beta, layout.beta] = rows.coordinates.beta_map
    change[layout.shape, layout.shape] = rows.family.shape_jacobian(solution.parameters[layout.shape])
    modes = modes_at(solution.parameters)
    spread, start = np.zeros((len(slopes), len(slopes))), 0
    covariances = criterion.conditional_covariances(state)
    for k, level in zip(factors, levels, strict=True):
        part = slice(start, start + rows.terms[k].q)
        spread[part, part] = back[k] @ covariances[k][level] @ back[k].T
        start = part.stop
    return GivenEffects(modes=tuple(modes), slopes=np.linalg.solve(change.T, slopes.T).T, spread=spread)
