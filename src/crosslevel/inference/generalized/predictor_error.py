"""Errors of predicted linear predictors, for any rows: of the parameters, of the modes of levels, of new levels.

With g the derivatives of x'beta in the parameters, G_j = db_j/dpsi those of the modes of level j, and B_j the
covariance of its effects given data and parameters, the predicted linear predictor x'beta + z'b_j has the error
variance

    (g + G_j'z)'V (g + G_j'z) + z'B_j z,

V being the covariance of the parameters; an unknown level has modes of zero and adds z'Psi z. Levels of different
factors are taken as independent given the data.

Source: Booth & Hobert (1998), J. Am. Stat. Assoc. 93: 262-272; Kass & Steffey (1989), 84: 717-726.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from crosslevel.inference.prediction import Members, repeated, with_unknown
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.types import FloatArray

STEP = 1e-3
"""Step of differences of the modes, in standard errors of the parameter."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictorError:
    """What the variance of a predicted linear predictor is made of.

    Attributes
    ----------
    beta_map : (p, K) coefficients by working parameters.
    vcov : (K, K) covariance of the working parameters.
    slopes : for each chosen factor (J, q, K) derivatives of the modes in the working parameters.
    spread : for each chosen factor (J, q, q) covariances of the effects given data and parameters.
    psi : for each chosen factor (q, q) their covariance.
    """

    beta_map: FloatArray = field(repr=False)
    vcov: FloatArray = field(repr=False)
    slopes: tuple[FloatArray, ...] = field(repr=False)
    spread: tuple[FloatArray, ...] = field(repr=False)
    psi: tuple[FloatArray, ...] = field(repr=False)

    @classmethod
    def of(
        cls, solution: GeneralizedSolution, chosen: Sequence[int], modes: Sequence[tuple[FloatArray, FloatArray]]
    ) -> "PredictorError":
        """That of a solution, predicting with the factors at the `chosen` positions.

        Parameters
        ----------
        solution : the fitted model.
        chosen : positions of the factors.
        modes : for each factor of the model its modes (J, q) and their covariances (J, q, q), in the units of the data.
        """
        layout, coordinates = solution.criterion.layout, solution.criterion.rows.coordinates
        beta_map = np.zeros((layout.p, layout.size))
        beta_map[:, layout.beta] = coordinates.beta_map
        slopes = mode_slopes(solution) if len(chosen) else ()
        return cls(
            beta_map=beta_map,
            vcov=solution.working_vcov,
            slopes=tuple(slopes[k] for k in chosen),
            spread=tuple(modes[k][1] for k in chosen),
            psi=tuple(solution.factors[k] @ solution.factors[k].T for k in chosen),
        )

    def variance(self, x: FloatArray, z: Sequence[FloatArray], members: Sequence[Members]) -> FloatArray:
        """Variances (L,) of the errors of x'beta + z'b.

        Parameters
        ----------
        x : (p, L) fixed columns.
        z, members : for each chosen factor (q, L) columns of the random effects, and the levels of the rows.
        """
        gradient = x.T @ self.beta_map
        out = np.zeros(x.shape[1])
        for slopes, spread, psi, own, levels in zip(self.slopes, self.spread, self.psi, z, members, strict=True):
            n_levels, q, size = slopes.shape
            table = with_unknown(slopes.reshape(n_levels, q * size)).reshape(n_levels + 1, q, size)
            covariances = with_unknown(spread.reshape(n_levels, q * q)).reshape(n_levels + 1, q, q)
            for codes, share in levels:
                part = own if share is None else own * share
                known = np.maximum(codes, -1)
                gradient += np.einsum("ql,lqk->lk", part, table[known])
                out += np.einsum("al,lab,bl->l", part, covariances[known], part)
            out += np.einsum("al,ab,bl->l", own, psi, own) * repeated(levels, unknown=True)
        return np.asarray(out + np.einsum("lk,km,lm->l", gradient, self.vcov, gradient))


def mode_slopes(solution: GeneralizedSolution) -> tuple[FloatArray, ...]:
    """For each factor (J, q, K) derivatives of the modes in the working parameters, by central differences."""
    criterion, state, parameters = solution.criterion, solution.state, solution.parameters
    back = [np.linalg.inv(basis) for basis in criterion.rows.bases]
    error = np.sqrt(np.diag(solution.working_vcov))
    step = np.where(error > 0.0, STEP * error, 0.0)
    terms, size = criterion.rows.terms, criterion.layout.size
    out = tuple(np.zeros((term.n_levels, term.q, size)) for term in terms)
    for k in np.flatnonzero(step > 0.0):
        ends = []
        for sign in (1.0, -1.0):
            moved = parameters.copy()
            moved[k] += sign * step[k]
            ends.append(criterion.modes(criterion.value(moved, state)))
        for own, to_data, high, low in zip(out, back, *ends, strict=True):
            own[:, :, k] = (high - low) @ to_data.T / (2.0 * step[k])
    return out
