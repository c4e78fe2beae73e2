"""P-values and intervals of several tests that are read together."""

from functools import cache

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.distributions import t_quantile, two_sided_p
from crosslevel.types import BoolArray, FloatArray, IntArray

ADJUSTMENTS = {
    "none": "p-values and intervals are those of each row by itself",
    "holm": "p-values by Holm's step-down procedure, intervals by Bonferroni's",
    "bonferroni": "p-values and intervals by Bonferroni's inequality",
    "tukey": "p-values and intervals by Tukey and Kramer's studentised range",
}
"""Ways to adjust, in words."""

NODES = 160
"""Of each quadrature."""


def check_adjust(adjust: object) -> str:
    """The name of an adjustment.

    Raises
    ------
    CrosslevelError : no such adjustment.
    """
    if adjust not in ADJUSTMENTS:
        raise CrosslevelError(f"`adjust` is one of {', '.join(map(repr, ADJUSTMENTS))}; got {adjust!r}.")
    return str(adjust)


def adjusted(
    statistic: FloatArray, df: FloatArray, families: IntArray, means: IntArray, adjust: str, *, level: float
) -> tuple[FloatArray, FloatArray]:
    """P-values that hold for all tests of a family together, and how many standard errors its intervals reach.

    Holm: p_(i) is the largest of (m - j + 1) p_(j), j <= i; Bonferroni: m p; Tukey: P(Q > sqrt(2) |t|) with the
    studentised range Q of k means. Tests without p-value do not count.

    Parameters
    ----------
    statistic, df : (m,) t statistics and their degrees of freedom.
    families : (m,) number of the family of each.
    means : (m,) number k of means that are compared in pairs in the family; 0 if it is no such family.
    adjust : a name in `ADJUSTMENTS`.
    level : confidence level.

    Returns
    -------
    p_value, critical : (m,).

    Raises
    ------
    CrosslevelError : Tukey's range of what are not all pairs of some means.

    Source
    ------
    Holm (1979), Scand. J. Statist. 6: 65-70; Kramer (1956), Biometrics 12: 307-310.

    Examples
    --------
    >>> import numpy as np
    >>> t, df = np.array([2.0, 3.0, 2.5]), np.full(3, 20.0)
    >>> adjusted(t, df, np.zeros(3, int), np.full(3, 3), "holm", level=0.95)[0].round(3).tolist()
    [0.059, 0.021, 0.042]
    """
    if adjust == "tukey" and np.any(means < 2):
        raise CrosslevelError(
            "`adjust` is 'tukey', which is made for all pairs of some means; these are others. Use 'holm', or ask for "
            "contrasts='pairwise'."
        )
    p_value, critical = np.full(len(statistic), np.nan), np.full(len(statistic), np.nan)
    tested = np.isfinite(statistic) & ~np.isnan(df)
    raw = two_sided_p(statistic, df)
    for family in np.unique(families):
        mine = (families == family) & tested
        if not np.any(mine):
            continue
        m = int(np.count_nonzero(mine)) if adjust in ("holm", "bonferroni") else 1
        if adjust == "tukey":
            p_value[mine], critical[mine] = _tukey(statistic[mine], df[mine], int(means[mine][0]), level)
            continue
        p_value[mine] = holm(raw[mine]) if adjust == "holm" else np.minimum(m * raw[mine], 1.0)
        critical[mine] = t_quantile(1.0 - (1.0 - level) / (2.0 * m), df[mine])
    return p_value, critical


def holm(p_value: FloatArray) -> FloatArray:
    """Holm's adjusted p-values (m,); NaN is no test, and stays."""
    out, known = np.full(len(p_value), np.nan), np.flatnonzero(~np.isnan(p_value))
    order = known[np.argsort(p_value[known], kind="stable")]
    out[order] = np.minimum(np.maximum.accumulate(np.arange(len(order), 0, -1) * p_value[order]), 1.0)
    return out


def discoveries(p_value: FloatArray, q: float) -> tuple[int, float]:
    """Benjamini and Hochberg's step-up procedure.

    The k tests with p <= q k / m are discoveries, k the largest number for which there are k such tests.

    Parameters
    ----------
    p_value : (m,); NaN for what is not tested.
    q : the false discovery rate that is to hold.

    Returns
    -------
    k : the number of discoveries.
    cut : the p-value q k / m up to which a test is one; 0 without any.

    Source
    ------
    Benjamini & Hochberg (1995), JRSS B 57: 289-300.

    Examples
    --------
    >>> import numpy as np
    >>> discoveries(np.array([0.012, 0.030, 0.020, 0.9]), 0.05)
    (3, 0.037500000000000006)
    """
    ordered = np.sort(p_value[~np.isnan(p_value)])
    below: BoolArray = ordered <= q * np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    k = int(np.max(np.flatnonzero(below), initial=-1)) + 1
    return k, q * k / max(len(ordered), 1)


def _tukey(statistic: FloatArray, df: FloatArray, means: int, level: float) -> tuple[FloatArray, FloatArray]:
    """P-values and critical values of all pairs of means."""
    from scipy.optimize import brentq

    found, place = np.unique(df, return_inverse=True)
    quantiles = np.empty(len(found))
    for i, value in enumerate(found):
        least = float(t_quantile(0.5 + level / 2.0, np.array([value]))[0]) * np.sqrt(2.0)
        most = 2.0 * least
        while studentised_range_tail(most, means, value) > 1.0 - level:
            most *= 2.0
        quantiles[i] = brentq(_above, 0.99 * least, most, args=(means, value, 1.0 - level))
    pairs = zip(np.abs(statistic), df, strict=True)
    p_value = np.array([studentised_range_tail(np.sqrt(2.0) * t, means, value) for t, value in pairs])
    return p_value, quantiles[place.ravel()] / np.sqrt(2.0)


def studentised_range_tail(q: float, means: int, df: float) -> float:
    """P(Q >= q), Q the range of k standard normal values over an independent root mean square with df.

        P(Q < q) = E[ k int phi(z) (Phi(z) - Phi(z - q s))^(k-1) dz ],   df s^2 chi-square with df

    by Gauss-Legendre quadrature in z and in log s; exact to about 1e-13.

    Examples
    --------
    >>> round(studentised_range_tail(3.773, 3, 12.0), 3)  # the tabled 5 % point
    0.05
    """
    from scipy.special import chdtri, gammaln, ndtr

    nodes, weights = _nodes()
    z = 9.0 * nodes
    density = 9.0 * weights * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    if np.isinf(df):
        s, mass = np.ones(1), np.ones(1)
    else:
        ends = 0.5 * np.log(chdtri(df, np.array([1.0 - 1e-14, 1e-15])) / df)
        log_s = ends.mean() + 0.5 * np.ptp(ends) * nodes
        s = np.exp(log_s)
        constant = 0.5 * df * np.log(0.5 * df) - gammaln(0.5 * df) + np.log(2.0)
        mass = 0.5 * np.ptp(ends) * weights * np.exp(constant + df * log_s - 0.5 * df * s**2)
    within = (ndtr(z) - ndtr(z - q * s[:, None])) ** (means - 1)
    below = float(mass @ (means * (within @ density)))
    return float(np.clip(1.0 - below, 0.0, 1.0))


def _above(q: float, means: int, df: float, tail: float) -> float:
    """How much more probable than `tail` a studentised range of at least q is."""
    return studentised_range_tail(q, means, df) - tail


@cache
def _nodes() -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of Gauss-Legendre quadrature on [-1, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return nodes, weights
