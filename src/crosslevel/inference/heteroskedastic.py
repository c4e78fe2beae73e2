"""Covariances of least-squares coefficients that allow each row a variance of its own.

With M = (X'W X)^-1, residuals e and leverages h_i = w_i x_i'M x_i of rows that precision weights w multiply by sqrt(w),

    V = M (sum_i w_i^2 a_i^2 e_i^2 x_i x_i') M,

HC0: a = 1. HC1: a^2 = n / (n - p). HC2: a^2 = 1 / (1 - h). HC3: a = 1 / (1 - h), the jackknife.

Source: MacKinnon & White (1985), J. Econometrics 29: 305-325; Long & Ervin (2000), Am. Stat. 54: 217-224.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.solve.least_squares import LeastSquares
from crosslevel.types import FloatArray

LEVERAGE_ONE = 1e-10
"""Share of a row's variance that its residual keeps, below which it keeps none."""


@dataclass(frozen=True)
class RowRobust:
    """One way of adjusting residuals row by row.

    Attributes
    ----------
    name, description : its name in arguments, and what it is, for the line under a table.
    power : residuals are divided by (1 - h)^power.
    counted : whether the covariance is multiplied by n / (n - p).
    """

    name: str
    description: str
    power: float
    counted: bool = False


ROW_ROBUST: dict[str, RowRobust] = {
    kind.name: kind
    for kind in (
        RowRobust("HC0", "robust to unequal variances, without a correction (HC0)", 0.0),
        RowRobust("HC1", "robust to unequal variances, times n / (n - p) (HC1)", 0.0, counted=True),
        RowRobust("HC2", "robust to unequal variances, residuals over the root of 1 - leverage (HC2)", 0.5),
        RowRobust("HC3", "robust to unequal variances, residuals over 1 - leverage (HC3)", 1.0),
    )
}


def row_robust(design: Design, solved: LeastSquares, kind: RowRobust) -> FloatArray:
    """Covariance (p, p) of the coefficients, by a pass over the rows.

    A row with a frequency is as many rows.

    Raises
    ------
    CrosslevelError : HC3 with a row that alone determines a coefficient.
    """
    coordinates, p = solved.coordinates, len(solved.beta)
    columns = np.append(design.x, len(design.products.names) - 1)
    contrast = np.append(-solved.working_beta - coordinates.removed, 1.0)
    weights = None if design.weights is None else design.weights.total
    meat, done, alone = np.zeros((p, p)), 0, 0
    for block, _, _ in design.blocks():
        place = slice(done, done + block.shape[1])
        done = place.stop
        rows = (block[columns] - coordinates.shift[:, None]) / coordinates.scale[:, None]
        times = np.ones(rows.shape[1])
        if weights is not None and design.weights is not None:
            if design.weights.is_frequency:
                times = weights[place]
            else:
                rows = rows * np.sqrt(weights[place])
        x, e = rows[:-1], contrast @ rows
        kept = 1.0 - np.einsum("in,ij,jn->n", x, solved.working_unscaled, x, optimize=True)
        able = kept > LEVERAGE_ONE
        alone += int(np.count_nonzero(~able))
        share = np.where(able, np.where(able, kept, 1.0) ** -kind.power, 1.0 if kind.power == 0.0 else 0.0)
        meat += x * (times * (share * e) ** 2) @ x.T
    if alone and kind.power == 1.0:
        raise CrosslevelError(
            f"`vcov` is {kind.name!r}, which leaves out one row at a time, but {alone} rows alone determine a "
            "coefficient. Use 'HC2', or drop the predictor that is theirs."
        )
    half = coordinates.beta_map @ solved.working_unscaled
    factor = solved.n_rows / (solved.n_rows - p) if kind.counted else 1.0
    return np.asarray(half @ meat @ half.T * factor)
