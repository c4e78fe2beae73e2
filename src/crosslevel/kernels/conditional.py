"""The exact conditional likelihood of binary outcomes, given how many of each group are one.

In a group of n rows with s ones the likelihood of which rows they are is exp(sum of eta over the ones) / B(n, s), where
B(n, s) sums exp(sum of eta) over all choices of s rows. Row by row,

    B(i, k) = B(i - 1, k) + exp(eta_i) B(i - 1, k - 1),   share = exp(eta_i) B(i - 1, k - 1) / B(i, k),

and the mean m(i, k) and covariance C(i, k) of the sum of x over the ones, given that there are k of them in the first i
rows, are those of a mixture, with d = m(i - 1, k - 1) + x_i - m(i - 1, k):

    m(i, k) = m(i - 1, k) + share d
    C(i, k) = (1 - share) C(i - 1, k) + share C(i - 1, k - 1) + share (1 - share) d d'.

No term is ever subtracted, so that no digits are lost, whatever n and s. The recursion of B is that of Gail, Lubin &
Rubinstein (1981), Biometrika 68: 703-707; the score is what was observed less m(n, s), the information C(n, s).
"""

import numba
import numpy as np

from crosslevel.types import FloatArray, IntArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _let_in(
    eta: float, x: FloatArray, k: int, d: FloatArray, log_sum: FloatArray, mean: FloatArray, covariance: FloatArray
) -> None:
    """Let one more row in, where k rows are one; what is known of k - 1 is that of rows before. d is overwritten."""
    p = len(x)
    taken = log_sum[k - 1] + eta
    gap = taken - log_sum[k]
    if gap > 0.0:
        other = np.exp(-gap)
        log_sum[k] = taken + np.log1p(other)
        share, rest = 1.0 / (1.0 + other), other / (1.0 + other)
    else:
        other = np.exp(gap)
        log_sum[k] += np.log1p(other)
        share, rest = other / (1.0 + other), 1.0 / (1.0 + other)
    for a in range(p):
        d[a] = mean[k - 1, a] + x[a] - mean[k, a]
    for a in range(p):
        both = share * rest * d[a]
        for b in range(a + 1):
            covariance[k, a, b] = rest * covariance[k, a, b] + share * covariance[k - 1, a, b] + both * d[b]
        mean[k, a] += share * d[a]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _let_all_be_one(
    eta: float, x: FloatArray, k: int, log_sum: FloatArray, mean: FloatArray, covariance: FloatArray
) -> None:
    """Let row k in, where all k rows are one: there is one choice."""
    log_sum[k] = log_sum[k - 1] + eta
    for a in range(len(x)):
        mean[k, a] = mean[k - 1, a] + x[a]
        for b in range(a + 1):
            covariance[k, a, b] = covariance[k - 1, a, b]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _group(y: FloatArray, x: FloatArray, eta: FloatArray, score_out: FloatArray, information_out: FloatArray) -> float:
    """Log-likelihood of one group; writes its score (p,) and adds its information to the lower triangle (p, p)."""
    n, p = x.shape
    ones = 0
    for i in range(n):
        ones += 1 if y[i] > 0.5 else 0
    # whichever are fewer are counted: with signs changed, the zeros are the ones
    sign, counted, which = 1.0, ones, 1.0
    if 2 * ones > n:
        sign, counted, which = -1.0, n - ones, 0.0
    for a in range(p):
        score_out[a] = 0.0
    if counted == 0:
        return 0.0
    log_sum, mean = np.zeros(counted + 1), np.zeros((counted + 1, p))
    covariance, row, d, value = np.zeros((counted + 1, p, p)), np.empty(p), np.empty(p), 0.0
    for i in range(n):
        for a in range(p):
            row[a] = sign * x[i, a]
        if y[i] == which:
            value += sign * eta[i]
            for a in range(p):
                score_out[a] += row[a]
        least = max(1, counted - (n - 1 - i))  # fewer cannot become `counted` any more
        if i + 1 <= counted:
            _let_all_be_one(sign * eta[i], row, i + 1, log_sum, mean, covariance)
        for k in range(min(i, counted), least - 1, -1):
            _let_in(sign * eta[i], row, k, d, log_sum, mean, covariance)
    for a in range(p):
        score_out[a] -= mean[counted, a]
        for b in range(a + 1):
            information_out[a, b] += covariance[counted, a, b]
    return float(value - log_sum[counted])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def conditional_likelihood(
    y: FloatArray, x: FloatArray, eta: FloatArray, start: IntArray, scores_out: FloatArray, information_out: FloatArray
) -> float:
    """Conditional log-likelihood of all groups.

    Parameters
    ----------
    y : (n,) zeros and ones, group by group.
    x, eta : (n, p) and (n,).
    start : (J + 1,) first row of each group, and n.
    scores_out : (J, p) derivatives of each group's log-likelihood in the coefficients.
    information_out : (p, p) zeros; minus the second derivatives of all are written to its lower triangle.
    """
    total = 0.0
    for j in range(len(start) - 1):
        rows = slice(start[j], start[j + 1])
        total += _group(y[rows], x[rows], eta[rows], scores_out[j], information_out)
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def conditional_means(y: FloatArray, eta: FloatArray, start: IntArray, means_out: FloatArray) -> None:
    """Probability that each row is one, given how many of its group are: the slopes of log B(n, s) in eta.

    By the recursion from both ends: log B of the rows before and of those after a row, over all splits of the other
    ones between them.

    Parameters
    ----------
    y, eta : (n,) group by group.
    start : (J + 1,) first row of each group, and n.
    means_out : (n,).
    """
    for j in range(len(start) - 1):
        first, n = start[j], start[j + 1] - start[j]
        ones = 0
        for i in range(n):
            ones += 1 if y[first + i] > 0.5 else 0
        if ones == 0:
            means_out[first : first + n] = 0.0
            continue
        before, after = np.full((n + 1, ones + 1), -np.inf), np.full((n + 1, ones + 1), -np.inf)
        before[0, 0], after[n, 0] = 0.0, 0.0
        for i in range(n):
            _extend(before[i], eta[first + i], before[i + 1])
            _extend(after[n - i], eta[first + n - 1 - i], after[n - 1 - i])
        for i in range(n):
            total = 0.0
            for k in range(ones):
                total += np.exp(before[i, k] + after[i + 1, ones - 1 - k] + eta[first + i] - before[n, ones])
            means_out[first + i] = total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _extend(log_sum: FloatArray, eta: float, out: FloatArray) -> None:
    """Write log B of one more row: of log_sum[k] and log_sum[k - 1] + eta the logarithm of the summed exponentials."""
    out[0] = log_sum[0]
    for k in range(1, len(out)):
        stay, taken = log_sum[k], log_sum[k - 1] + eta
        high = max(stay, taken)
        out[k] = high if high == -np.inf else high + np.log1p(np.exp(min(stay, taken) - high))
