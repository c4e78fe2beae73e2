"""How the covariance of the fixed coefficients depends on the covariance of the random effects.

With V = I + Z Psi Z' and Phi = (X'V^-1 X)^-1, relative to sigma^2, a change D of Psi changes

    Phi by Phi (sum over levels of C'D C) Phi,   C = Z'V^-1 X.

With Phi = W W' and F = C W that is W S W', S = sum F'D F: in the coordinates of W, Phi is the identity.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from crosslevel.solve import Solution
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Sensitivity:
    """What the covariance of the coefficients depends on, in the coordinates in which it is the identity.

    Attributes
    ----------
    turn : (p, p) T with T T' = the covariance of the coefficients; a combination c'beta is T'c there.
    fixed : for each grouping factor (J, q, p) F, in working coordinates of the random effects.
    """

    turn: FloatArray
    fixed: tuple[FloatArray, ...]

    @cached_property
    def sums(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q, p, p) the sum over levels of F (x) F."""
        out = []
        for part in self.fixed:
            n_levels, q, p = part.shape
            flat = part.reshape(n_levels, q * p)
            out.append((flat.T @ flat).reshape(q, p, q, p).transpose(0, 2, 1, 3))
        return tuple(out)

    def slopes(self, directions: tuple[FloatArray, ...]) -> FloatArray:
        """S (m, p, p) for m changes of Psi, given for each factor as (m, q, q)."""
        m, p = len(directions[0]) if directions else 0, len(self.turn)
        out = np.zeros((m, p, p))
        for change, pairs in zip(directions, self.sums, strict=True):
            out += np.tensordot(change, pairs, axes=2)
        return out


def engine_state(solution: Solution) -> Any:
    """The state of the engine at the estimates: on whitened rows where residuals have a structure."""
    state: Any = solution.minimum.state
    return getattr(state, "inner", state)


def sensitivity(solution: Solution) -> Sensitivity:
    """What the covariance of the coefficients depends on, at the estimates."""
    at, p = engine_state(solution), len(solution.beta)
    whitened = np.linalg.inv(at.chol[:-1, :-1]).T
    crosses = at.cross if isinstance(at.cross, tuple) else (at.cross,)
    unit = solution.sigma / float(solution.criterion.coordinates.scale[-1])
    return Sensitivity(
        turn=solution.criterion.coordinates.beta_map @ whitened * unit,
        fixed=tuple(np.ascontiguousarray(cross[:, :, :p] @ whitened) for cross in crosses),
    )
