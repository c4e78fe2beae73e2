"""Maximum likelihood of a generalized linear model: coefficients and shape parameters, without random effects.

With l_i the log density of answer i at eta_i = offset_i + x_i'beta, and s the unconstrained shape parameters,

    D(beta, s) = -2 sum_i w_i l_i,   dD/dbeta = -2 X'(w l'),   dD/ds = -2 sum_i w_i dl_i/ds,
    d2D/dbeta2 = -2 X'diag(w l'')X,  d2D/dbeta ds = -2 X'(w dl'/ds),

all exact but the second derivatives in s alone, which are central differences of the exact first ones.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.kernels.responses import fill_by_shape, fill_terms
from crosslevel.optimise import Derivatives, Minimum, Status, minimise
from crosslevel.types import FloatArray

DIFFERENCE = 1e-5
"""Step of a central difference in an unconstrained shape parameter, whose scale is near 1."""

POLISHING = 4
"""Newton steps at most after the search, which ends where the deviance shows no difference any more."""

STATUS = {
    Status.CONVERGED: "Converged: the gradient of the log-likelihood is zero.",
    Status.STALLED: (
        "Not converged: no step raises the log-likelihood although its gradient is not zero. Rescale the predictors, "
        "or drop some."
    ),
    Status.MAX_STEPS: (
        "Not converged: the largest number of steps was reached. Coefficients may have no finite estimate: drop "
        "predictors, or join categories with few rows."
    ),
}
"""How a search ended, for the user."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RegressionState:
    """The likelihood at one point.

    Attributes
    ----------
    parameters : (p + m,) working coefficients, then unconstrained shape parameters.
    deviance : -2 log-likelihood.
    eta : (n,) linear predictor.
    terms : (3, n) w l, w l' and w l''.
    """

    parameters: FloatArray
    deviance: float
    eta: FloatArray = field(repr=False)
    terms: FloatArray = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class RegressionCriterion:
    """D as a function of the p working coefficients and the m unconstrained shape parameters.

    Attributes
    ----------
    rows : of the model; it has no grouping factors.
    """

    rows: ResponseRows

    @property
    def p(self) -> int:
        """Coefficients."""
        return int(self.rows.x.shape[1])

    def shape(self, parameters: FloatArray) -> FloatArray:
        """(m,) natural shape parameters."""
        return self.rows.family.shape(parameters[self.p :])

    def value(self, parameters: FloatArray) -> RegressionState:
        """The likelihood at a point."""
        rows, terms = self.rows, np.empty((3, self.rows.n))
        eta = rows.offset + rows.x @ parameters[: self.p]
        fill_terms(rows.family.code, rows.y, rows.size, rows.counted, eta, self.shape(parameters), terms)
        deviance = -2.0 * (float(np.sum(terms[0])) + rows.constant)
        return RegressionState(
            parameters=parameters, deviance=deviance if np.isfinite(deviance) else np.inf, eta=eta, terms=terms
        )

    def by_shape(self, state: RegressionState) -> FloatArray:
        """(n, 3, m) derivatives of w l, w l', w l'' in the unconstrained shape parameters."""
        rows, working = self.rows, state.parameters[self.p :]
        out = np.empty((rows.n, 3, len(working)))
        shape = rows.family.shape(working)
        fill_by_shape(rows.family.code, rows.y, rows.size, rows.counted, state.eta, shape, out)
        return np.asarray(out @ rows.family.shape_jacobian(working))

    def derivatives(self, at: RegressionState, theta: FloatArray) -> Derivatives:
        """Gradient and Hessian of D."""
        x, p = self.rows.x, self.p
        by_shape = self.by_shape(at)
        gradient = -2.0 * np.concatenate([x.T @ at.terms[1], by_shape[:, 0].sum(axis=0)])
        hessian = np.empty((len(theta), len(theta)))
        hessian[:p, :p] = -2.0 * (x * at.terms[2][:, None]).T @ x
        hessian[:p, p:] = -2.0 * x.T @ by_shape[:, 1]
        hessian[p:, :p] = hessian[:p, p:].T
        hessian[p:, p:] = self._shape_curvature(at)
        return Derivatives(gradient=gradient, hessian=hessian, expected=lambda: self._bounded(at, hessian))

    def _shape_curvature(self, at: RegressionState) -> FloatArray:
        """(m, m) second derivatives of D in the shape parameters, by differences of the first."""
        m = len(at.parameters) - self.p
        out = np.empty((m, m))
        for k in range(m):
            ends = []
            for sign in (1.0, -1.0):
                moved = at.parameters.copy()
                moved[self.p + k] += sign * DIFFERENCE
                there = RegressionState(parameters=moved, deviance=at.deviance, eta=at.eta, terms=at.terms)
                ends.append(-2.0 * self.by_shape(there)[:, 0].sum(axis=0))
            out[k] = (ends[0] - ends[1]) / (2.0 * DIFFERENCE)
        return 0.5 * (out + out.T)

    def _bounded(self, at: RegressionState, hessian: FloatArray) -> FloatArray:
        """Positive semi-definite curvature: rows of negative curvature are left out, negative directions turned."""
        x, p, out = self.rows.x, self.p, np.zeros_like(hessian)
        out[:p, :p] = 2.0 * (x * np.maximum(-at.terms[2], 0.0)[:, None]).T @ x
        values, vectors = np.linalg.eigh(hessian[p:, p:])
        out[p:, p:] = (vectors * np.maximum(np.abs(values), 1e-8)) @ vectors.T
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class ResponseRegression:
    """A solved generalized linear model.

    Attributes
    ----------
    rows : of the model.
    beta : (p,) coefficients in the units of the data.
    shape : (m,) natural shape parameters.
    deviance : -2 log-likelihood, with all constants.
    eta : (n,) linear predictor.
    score, curvature : (n,) w l' and -w l''.
    joint : (p + m,) working coefficients and unconstrained shape parameters.
    turn : (p + m, p + m) coefficients in the units of the data, and shape parameters, of `joint`.
    information : (p + m, p + m) observed information of `joint`.
    minimum : how the search went.
    """

    rows: ResponseRows = field(repr=False)
    beta: FloatArray
    shape: FloatArray
    deviance: float
    eta: FloatArray = field(repr=False)
    score: FloatArray = field(repr=False)
    curvature: FloatArray = field(repr=False)
    joint: FloatArray = field(repr=False)
    turn: FloatArray = field(repr=False)
    information: FloatArray = field(repr=False)
    minimum: Minimum[RegressionState] = field(repr=False)

    @property
    def converged(self) -> bool:
        """Whether the search ended at a stationary point."""
        return self.minimum.status is Status.CONVERGED

    @property
    def status(self) -> str:
        """How the search ended, in a sentence."""
        return STATUS[self.minimum.status]

    @property
    def scores(self) -> FloatArray:
        """(n, p + m) derivatives of each row's weighted log-likelihood in `joint`."""
        criterion = RegressionCriterion(rows=self.rows)
        by_shape = criterion.by_shape(self.minimum.state)[:, 0]
        return np.hstack([self.rows.x * self.score[:, None], by_shape])


def regress_responses(rows: ResponseRows, *, max_steps: int = 200) -> ResponseRegression:
    """Maximise the likelihood of a generalized linear model.

    Parameters
    ----------
    rows : of a model without grouping factors, whose columns are independent.
    max_steps : of the search.
    """
    criterion = RegressionCriterion(rows=rows)
    minimum = minimise(
        criterion, _start(rows), deviance=lambda state: state.deviance, escape=lambda _theta, _state: None,
        max_steps=max_steps,
    )  # fmt: skip
    minimum = _polished(criterion, minimum)
    state, p = minimum.state, criterion.p
    turn = np.eye(len(minimum.theta))
    turn[:p, :p] = rows.coordinates.beta_map
    return ResponseRegression(
        rows=rows, beta=rows.coordinates.coefficients(minimum.theta[:p]), shape=criterion.shape(minimum.theta),
        deviance=state.deviance, eta=state.eta, score=state.terms[1], curvature=-state.terms[2], joint=minimum.theta,
        turn=turn, information=0.5 * minimum.derivatives.hessian, minimum=minimum,
    )  # fmt: skip


def _polished(criterion: RegressionCriterion, minimum: Minimum[RegressionState]) -> Minimum[RegressionState]:
    """The same minimum after Newton's last steps, which promise less than the rounding errors of the deviance."""
    for _ in range(POLISHING):
        newton = minimum.derivatives.newton_step()
        if newton is None or minimum.status is not Status.CONVERGED:
            break
        theta = minimum.theta + newton[0]
        state = criterion.value(theta)
        derivatives = criterion.derivatives(state, theta)
        after = derivatives.newton_step()
        if after is None or after[1] >= newton[1]:
            break
        minimum = replace(minimum, theta=theta, state=state, derivatives=derivatives, decrement=after[1])
    return minimum


def _start(rows: ResponseRows) -> FloatArray:
    """Regress a linear predictor near each outcome on the columns."""
    eta, shape = rows.family.start(rows.y, rows.size, rows.counted)
    root = np.sqrt(rows.counted)
    beta = np.linalg.lstsq(rows.x * root[:, None], (eta - rows.offset) * root, rcond=None)[0]
    start = np.concatenate([beta, shape])
    if np.isfinite(RegressionCriterion(rows=rows).value(start).deviance):
        return start
    return np.concatenate([np.zeros(len(beta)), shape])
