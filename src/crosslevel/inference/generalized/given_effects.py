"""Random effects of given levels: their modes, how these follow from the parameters, and what stays unknown of them.

With b(psi) the modes at parameters psi, and B the covariance of the effects given data and parameters, the error of
an estimated mode is G (psihat - psi) - e with G = db/dpsi and e ~ N(0, B), independent of the parameters' estimates:
a quantity with derivatives g in psi and h in b has the variance (g + G'h)'V(g + G'h) + h'B h.

Source: Booth & Hobert (1998), J. Am. Stat. Assoc. 93: 262-272, for the two parts; Kass & Steffey (1989), 84: 717-726.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from crosslevel.inference.generalized.predictor_error import mode_slopes
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.types import FloatArray


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

    found = mode_slopes(solution)
    slopes = np.concatenate([found[k][level] for k, level in zip(factors, levels, strict=True)])
    change = np.eye(layout.size)
    change[layout.beta, layout.beta] = rows.coordinates.beta_map
    change[layout.shape, layout.shape] = rows.family.shape_jacobian(solution.parameters[layout.shape])
    modes = [back[k] @ criterion.modes(state)[k][level] for k, level in zip(factors, levels, strict=True)]
    spread, start = np.zeros((len(slopes), len(slopes))), 0
    covariances = criterion.conditional_covariances(state)
    for k, level in zip(factors, levels, strict=True):
        part = slice(start, start + rows.terms[k].q)
        spread[part, part] = back[k] @ covariances[k][level] @ back[k].T
        start = part.stop
    return GivenEffects(modes=tuple(modes), slopes=np.linalg.solve(change.T, slopes.T).T, spread=spread)
