"""Wooldridge's test of serial correlation, from residuals of a within or a first-difference regression.

Residuals are regressed on those of the time before, r_it = c + rho r_i,t-1, with Arellano's covariance by group. If
errors of rows are not correlated, the slope is -1 / (T - 1) in a balanced panel of T rows, and in general

    within              rho = -[sum_i m_i / n_i] / [sum_i m_i (1 - 1 / n_i)], m_i pairs in group i of n_i rows
    first differences   rho = -1/2

and (rho - rho_0)^2 / Var(rho) has an F distribution with 1 and pairs - 2 degrees of freedom.

Source: Wooldridge (2010), Econometric Analysis of Cross Section and Panel Data, 2nd ed., sections 10.5.4 and 10.6.3;
Drukker (2003), Stata Journal 3: 168-177.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.display import p_statement
from crosslevel.errors import DesignError
from crosslevel.inference.distributions import f_tail
from crosslevel.types import CodeArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class SerialTest:
    """The test.

    Attributes
    ----------
    rho, expected, std_error : the slope, what it is without serial correlation, and its standard error.
    statistic, df_num, df_den, p_value : the F test.
    pairs : pairs of residuals.
    """

    rho: float
    expected: float
    std_error: float
    statistic: float
    df_num: float
    df_den: float
    p_value: float
    pairs: int

    def __str__(self) -> str:
        return (
            f"Wooldridge's test that errors are not correlated over time: rho = {self.rho:.4f} where "
            f"{self.expected:.4f} is expected, F = {self.statistic:.3f} with 1 and {self.df_den:.0f} df, "
            f"{p_statement(self.p_value)}"
        )


def serial_test(
    residual: FloatArray, groups: CodeArray, later: IntArray, earlier: IntArray, expected: float
) -> SerialTest:
    """Regress residuals on those before.

    Parameters
    ----------
    residual, groups : (n,) residuals and the group of each.
    later, earlier : (m,) which residuals are paired.
    expected : rho without serial correlation.

    Raises
    ------
    DesignError : fewer than three pairs.
    """
    m = len(later)
    if m < 3:
        raise DesignError(
            f"`data` has {m} pairs of residuals that follow each other, and the test of serial correlation needs at "
            "least three, in practice groups with three or more times."
        )
    y, x = residual[later], residual[earlier]
    x = x - x.mean()
    rho = float(x @ y / (x @ x))
    rest = y - y.mean() - rho * x
    scores = np.bincount(groups[later], x * rest)
    error = float(np.sqrt(scores @ scores) / (x @ x))
    statistic = ((rho - expected) / error) ** 2
    return SerialTest(
        rho=rho, expected=expected, std_error=error, statistic=statistic, df_num=1.0, df_den=float(m - 2),
        p_value=f_tail(1.0, m - 2.0, statistic), pairs=m,
    )  # fmt: skip


def expected_within(sizes: IntArray, pairs: IntArray) -> float:
    """Slope of within residuals on those before without serial correlation, from rows and pairs (J,) of the groups."""
    some = sizes[pairs > 0], pairs[pairs > 0]
    return float(-np.sum(some[1] / some[0]) / np.sum(some[1] * (1.0 - 1.0 / some[0])))
