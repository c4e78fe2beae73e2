"""Maximum of the conditional likelihood of binary outcomes, given how many rows of each group are one.

What is constant within a group cancels: its effect, whatever it is, and every predictor that does not vary there.
Groups whose rows are all zero or all one say nothing and are left out. The log-likelihood is concave, so that Newton's
method with halved steps finds its only maximum, where it has one.

Source: Chamberlain (1980), Rev. Econ. Stud. 47: 225-238; the likelihood by `kernels.conditional`.
"""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design.reduced import ALIAS_TOLERANCE
from crosslevel.kernels.conditional import conditional_likelihood
from crosslevel.types import BoolArray, CodeArray, FloatArray, IntArray

TOLERANCE = 1e-12
"""Expected gain in log-likelihood of one more step at which the maximum is reached."""

WITHIN = 1e-20
"""Share of a column's sum of squares that lies within groups, below which it is constant within them."""

MAX_STEPS, HALVINGS = 100, 40

FAR = 8.0
"""Distance of a row's linear predictor from its group's mean from which on separation is looked for."""

MARGIN = 1e-7
"""Working units that count as zero."""

CONVERGED = "Converged: the gradient of the conditional log-likelihood is zero."
STALLED = (
    "Not converged: no step raises the conditional log-likelihood although its gradient is not zero. Rescale the "
    "predictors, or drop some."
)
TOO_LONG = (
    "Not converged: the largest number of steps was reached. Coefficients may have no finite estimate: drop predictors "
    "that hardly vary within groups."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ConditionalRows:
    """The rows of the groups in which the outcome varies, group by group.

    Attributes
    ----------
    y : (n,) zeros and ones.
    x : (n, p) columns less their group means, over their standard deviations.
    offset : (n,) known part of the linear predictor.
    start : (J + 1,) where each group's rows start.
    groups : (J,) which of all groups they are.
    place : (n,) which of the rows used each row is.
    kept : (p,) positions of the columns among those that were given.
    absorbed, aliased : positions of the columns that are constant within groups, and of those that others determine.
    scale : (p,) standard deviations within groups.
    n_constant, rows_constant : groups in which the outcome does not vary, and their rows.
    """

    y: FloatArray = field(repr=False)
    x: FloatArray = field(repr=False)
    offset: FloatArray = field(repr=False)
    start: IntArray = field(repr=False)
    groups: IntArray = field(repr=False)
    place: IntArray = field(repr=False)
    kept: IntArray
    absorbed: IntArray
    aliased: IntArray
    scale: FloatArray
    n_constant: int
    rows_constant: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ConditionalSolution:
    """Coefficients at the maximum.

    Attributes
    ----------
    rows : on which they were estimated.
    beta, vcov : (p,) coefficients and the (p, p) inverse of their information, in the units of the data.
    scores : (J, p) derivatives of each group's log-likelihood in the coefficients.
    loglik, loglik_null : conditional log-likelihoods at the maximum, and without predictors.
    status, converged : how the search ended.
    steps : how many it took.
    """

    rows: ConditionalRows = field(repr=False)
    beta: FloatArray
    vcov: FloatArray = field(repr=False)
    scores: FloatArray = field(repr=False)
    loglik: float
    loglik_null: float
    status: str
    converged: bool
    steps: int


def conditional_rows(
    y: FloatArray, columns: FloatArray, offset: FloatArray | None, codes: CodeArray, n_groups: int
) -> ConditionalRows:
    """Sort rows by group and leave out what says nothing.

    Parameters
    ----------
    y : (N,) zeros and ones.
    columns : (N, m) predictors.
    offset : (N,), or None.
    codes : (N,) groups of the rows, 0 to n_groups - 1.
    """
    size = np.bincount(codes, minlength=n_groups)
    ones = np.bincount(codes, weights=y, minlength=n_groups)
    varies: BoolArray = (ones > 0.0) & (ones < size)
    place = np.argsort(codes, kind="stable")
    place = place[varies[codes[place]]]
    groups = np.flatnonzero(varies)
    start = np.append(0, np.cumsum(size[groups]))
    own = np.repeat(np.arange(len(groups)), size[groups])
    raw = columns[place]
    means = np.zeros((len(groups), raw.shape[1]))
    np.add.at(means, own, raw)
    centred = raw - (means / size[groups][:, None])[own]
    within, total = np.sum(centred**2, axis=0), np.sum(raw**2, axis=0)
    absorbed = within <= WITHIN * total
    kept, aliased = _independent(centred, np.flatnonzero(~absorbed))
    scale = np.sqrt(within[kept] / max(len(place), 1))
    return ConditionalRows(
        y=y[place], x=np.ascontiguousarray(centred[:, kept] / scale), start=start, groups=groups, place=place,
        offset=np.zeros(len(place)) if offset is None else offset[place], kept=kept,
        absorbed=np.flatnonzero(absorbed), aliased=aliased, scale=scale,
        n_constant=int(np.count_nonzero(~varies)), rows_constant=len(y) - len(place),
    )  # fmt: skip


def _independent(centred: FloatArray, able: IntArray) -> tuple[IntArray, IntArray]:
    """Columns that earlier ones do not determine, and those they do."""
    gram = centred.T @ centred
    size, kept, dropped = np.diag(gram).copy(), list[int](), list[int]()
    for j in map(int, able):
        if gram[j, j] <= ALIAS_TOLERANCE * size[j]:
            dropped.append(j)
        else:
            kept.append(j)
            gram = gram - np.outer(gram[:, j], gram[j]) / gram[j, j]
    return np.array(kept, dtype=np.int64), np.array(dropped, dtype=np.int64)


def solve_conditional(rows: ConditionalRows) -> ConditionalSolution:
    """Maximise the conditional log-likelihood by Newton's method."""
    p = rows.x.shape[1]
    beta = np.zeros(p)
    loglik, scores, information = _evaluate(rows, beta)
    null, status, steps = loglik, TOO_LONG, 0
    for _ in range(MAX_STEPS):
        gradient = scores.sum(axis=0)
        step = np.linalg.lstsq(information, gradient, rcond=None)[0]
        gain = float(0.5 * gradient @ step)
        if gain <= TOLERANCE:
            status = CONVERGED
            break
        for _halving in range(HALVINGS):
            trial = _evaluate(rows, beta + step)
            if trial[0] > loglik:
                break
            step = 0.5 * step
        else:
            status = CONVERGED if gain <= 1e-8 else STALLED
            break
        beta, steps = beta + step, steps + 1
        loglik, scores, information = trial
    inverse = np.linalg.pinv(information, hermitian=True)
    return ConditionalSolution(
        rows=rows, beta=beta / rows.scale, vcov=inverse / np.outer(rows.scale, rows.scale), scores=scores * rows.scale,
        loglik=loglik, loglik_null=null, status=status, converged=status == CONVERGED, steps=steps,
    )  # fmt: skip


def separating(rows: ConditionalRows, beta: FloatArray) -> IntArray:
    """Positions among the kept columns of those that separate ones from zeros in every group; none as a rule.

    It is looked for where fitted values are extreme: a direction d, |d_a| <= 1, in which all ones of a group lie at or
    above a level t_j of its own and all zeros at or below it, and some not on it. By a linear programme in d and t.

    Parameters
    ----------
    rows : of the model.
    beta : (p,) coefficients in the units of the data.
    """
    if np.max(np.abs(rows.x @ (beta * rows.scale)), initial=0.0) <= FAR:
        return np.zeros(0, dtype=np.int64)
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, hstack

    n, p = rows.x.shape
    sign = np.where(rows.y > 0.5, 1.0, -1.0)
    own = np.repeat(np.arange(len(rows.groups)), np.diff(rows.start))
    levels = csr_array((-sign, (np.arange(n), own)), shape=(n, len(rows.groups)))
    slack = hstack([csr_array(rows.x * sign[:, None]), levels], format="csr")
    bounds = [(-1.0, 1.0)] * p + [(None, None)] * len(rows.groups)
    found = linprog(-np.asarray(slack.sum(axis=0)).ravel(), A_ub=-slack, b_ub=np.zeros(n), bounds=bounds)
    if not found.success or found.fun is None or found.x is None or -found.fun <= MARGIN * n:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.abs(found.x[:p]) > MARGIN)


def _evaluate(rows: ConditionalRows, beta: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Log-likelihood, scores (J, p) and information (p, p) at working coefficients."""
    p = len(beta)
    scores, information = np.zeros((len(rows.groups), p)), np.zeros((p, p))
    eta = rows.offset + rows.x @ beta
    value = conditional_likelihood(rows.y, rows.x, eta, rows.start, scores, information)
    lower = np.tril(information, -1)
    return float(value), scores, np.tril(information) + lower.T
