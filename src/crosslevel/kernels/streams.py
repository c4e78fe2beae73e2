"""Random numbers inside compiled loops: one stream for each replication, whose state is a row of an array.

Bits come from xoshiro256++ (Blackman & Vigna 2021, ACM Trans. Math. Softw. 47(4): 36), seeded by 256 bits of a
`SeedSequence`. With a state in an array a whole batch of replications is one compiled call; numpy's generators can be
passed to compiled code one by one only.
"""

from typing import TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from crosslevel.types import FloatArray

STREAM: TypeAlias = NDArray[np.uint64]
"""(4,) state, updated by every draw; not all zero."""

TO_UNIT = 1.0 / 9007199254740992.0
"""2^-53: 53 bits make a number from 0 to less than 1."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def bits(state: STREAM) -> np.uint64:
    """64 random bits."""
    total = state[0] + state[3]
    result: np.uint64 = ((total << np.uint64(23)) | (total >> np.uint64(41))) + state[0]
    shifted = state[1] << np.uint64(17)
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= shifted
    state[3] = (state[3] << np.uint64(45)) | (state[3] >> np.uint64(19))
    return result


@numba.njit(cache=True, nogil=True, error_model="numpy")
def uniform(state: STREAM) -> float:
    """A number from 0 to less than 1."""
    return np.float64(bits(state) >> np.uint64(11)) * TO_UNIT


@numba.njit(cache=True, nogil=True, error_model="numpy")
def integer(state: STREAM, low: int, high: int) -> int:
    """A whole number from `low` to `high`, both included."""
    return low + int(uniform(state) * (high - low + 1))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fill_normal(state: STREAM, out: FloatArray) -> None:
    """Standard normal numbers (L,), two at a time (Marsaglia & Bray 1964, SIAM Review 6: 260-264)."""
    for i in range(0, out.shape[0], 2):
        u, v, s = 0.0, 0.0, 0.0
        while s >= 1.0 or s == 0.0:
            u, v = 2.0 * uniform(state) - 1.0, 2.0 * uniform(state) - 1.0
            s = u * u + v * v
        factor = np.sqrt(-2.0 * np.log(s) / s)
        out[i] = u * factor
        if i + 1 < out.shape[0]:
            out[i + 1] = v * factor


@numba.njit(cache=True, nogil=True, error_model="numpy")
def gamma(state: STREAM, shape: float) -> float:
    """A gamma variable of scale 1 (Marsaglia & Tsang 2000, ACM Trans. Math. Softw. 26: 363-372)."""
    boost = 1.0
    if shape < 1.0:
        boost = (1.0 - uniform(state)) ** (1.0 / shape)
        shape += 1.0
    pair = np.empty(1)
    d = shape - 1.0 / 3.0
    c = 1.0 / np.sqrt(9.0 * d)
    while True:
        fill_normal(state, pair)
        x = pair[0]
        v = (1.0 + c * x) ** 3
        if v > 0.0 and np.log(1.0 - uniform(state)) < 0.5 * x * x + d - d * v + d * np.log(v):
            return float(boost * d * v)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def shuffle(state: STREAM, values_out: FloatArray) -> None:
    """Put values (L,) in a random order (Durstenfeld 1964, Comm. ACM 7: 420)."""
    for i in range(values_out.shape[0] - 1, 0, -1):
        k = integer(state, 0, i)
        values_out[i], values_out[k] = values_out[k], values_out[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def random_root(state: STREAM, b: float, out: FloatArray) -> None:
    """Lower Cholesky factor (K, K) of a random correlation matrix whose elements are 2 Beta(b, b) - 1.

    Partial correlations p of order k are 2 Beta(b - k/2, b - k/2) - 1; element (i, k) of the factor is p_ki times the
    root of the product of 1 - p_mi^2 over m < k, and the diagonal is the root of that over m < i (Joe 2006, J.
    Multivariate Anal. 97: 2177-2189; Lewandowski, Kurowicka & Joe 2009, ibid. 100: 1989-2001).
    """
    for i in range(out.shape[0]):
        left = 1.0
        for k in range(i):
            one, other = gamma(state, b - 0.5 * k), gamma(state, b - 0.5 * k)
            if one + other == 0.0:  # both too small for a number: the beta variable is 0 or 1
                one = 1.0 if uniform(state) < 0.5 else 0.0
                other = 1.0 - one
            out[i, k] = (one - other) / (one + other) * np.sqrt(left)
            left *= 4.0 * one * other / (one + other) ** 2
        out[i, i] = np.sqrt(left)
        for k in range(i + 1, out.shape[0]):
            out[i, k] = 0.0
