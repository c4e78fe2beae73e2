"""Tests of whether groups differ beyond their predictors.

    F               ((rss_pooled - rss_within) / (df_pooled - df_within)) / (rss_within / df_within)
    Breusch-Pagan   LM = n^2 / (2 (n2 - n)) A^2 ~ chi-square(1),  A = sum_i (sum_t e_it)^2 / sum e_it^2 - 1
    Honda           sqrt(n^2 / (2 (n2 - n))) A ~ N(0, 1), one-sided, as a variance is not negative

e of the pooled regression, n rows, n2 = sum n_i^2; balanced panels of T rows have n^2 / (n2 - n) = n / (T - 1).

Source: Breusch & Pagan (1980), Rev. Econ. Stud. 47: 239-253; Honda (1985), Rev. Econ. Stud. 52: 681-690; Baltagi & Li
(1990), Econom. Theory 6: 283-285.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.errors import DesignError
from crosslevel.inference.distributions import chi_square_tail, f_tail
from crosslevel.inference.panel.panel import Panel
from crosslevel.inference.panel.quasi import group_residuals, pooled_regression
from crosslevel.inference.panel.regression import PanelRegression


@dataclass(frozen=True, kw_only=True, eq=False)
class EffectTest:
    """One test.

    Attributes
    ----------
    name : whose test it is, of what.
    distribution : "F", "chi-square" or "normal (one-sided)".
    statistic, df_num, df_den : its value and degrees of freedom; NaN where it has none.
    p_value : tail probability if there are no effects.
    """

    name: str
    distribution: str
    statistic: float
    df_num: float
    df_den: float
    p_value: float


def f_test(name: str, small: PanelRegression | tuple[float, float], large: PanelRegression) -> EffectTest:
    """Whether a regression with more effects fits better; the smaller one, or its rss and degrees of freedom."""
    rss, df = (small.rss, small.df_residual) if isinstance(small, PanelRegression) else small
    more = df - large.df_residual
    statistic = (rss - large.rss) / more / large.sigma2
    return EffectTest(
        name=name, distribution="F", statistic=statistic, df_num=more, df_den=large.df_residual,
        p_value=f_tail(more, large.df_residual, statistic),
    )  # fmt: skip


def multiplier_tests(panel: Panel) -> tuple[EffectTest, EffectTest]:
    """Lagrange multiplier tests of the variance between groups: Breusch & Pagan's and Honda's.

    Raises
    ------
    DesignError : groups of one row each.
    """
    n, squares = float(panel.n_rows), float(np.sum(panel.products.count**2))
    if squares <= n:
        raise DesignError(
            f"`group` names {panel.groups.name!r}, of which each value occurs in one row, so that differences between "
            "groups cannot be told from differences between rows. Name the column of what was observed repeatedly."
        )
    pooled = pooled_regression(panel)
    sums = panel.products.count * group_residuals(panel, pooled)
    excess = float(sums @ sums) / pooled.rss - 1.0
    honda = float(np.sqrt(n**2 / (2.0 * (squares - n)))) * excess
    return (
        EffectTest(
            name="Breusch-Pagan", distribution="chi-square", statistic=honda**2, df_num=1.0, df_den=np.nan,
            p_value=float(chi_square_tail(1.0, honda**2)),
        ),
        EffectTest(
            name="Honda", distribution="normal (one-sided)", statistic=honda, df_num=np.nan, df_den=np.nan,
            p_value=upper_tail(honda),
        ),
    )  # fmt: skip


def upper_tail(statistic: float) -> float:
    """P(Z >= statistic) of a standard normal Z."""
    from scipy.special import ndtr

    return float(ndtr(-statistic))
