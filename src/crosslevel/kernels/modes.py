"""Conditional modes of the random effects of clusters, by damped Newton steps in runs of neighbouring clusters.

For a cluster with l = sum of its rows' log densities, h(u) = -l(eta0 + Z Lambda u) + u'u / 2 is least at the mode;
its gradient is u - Lambda'Z'l', its Hessian H = I + Lambda'A Lambda with A = Z'WZ and W = -l''.
"""

import numpy as np

from crosslevel.kernels.exponential import logit_density, logit_terms, poisson_density, poisson_terms
from crosslevel.kernels.leaf import leaf
from crosslevel.kernels.responses import LOGIT, POISSON, density, third
from crosslevel.kernels.small import cholesky, solve_lower, solve_upper
from crosslevel.types import FloatArray, IntArray

RUN = 256
"""Rows of neighbouring clusters that are worked on together, so that loops over rows are long."""

STEPS, TOLERANCE = 500, 1e-11
"""Newton steps at most, halved ones among them: far up an exponential each gains 1 in eta; the largest element of the
last step, relative to 1 + |u|."""

ROUNDING = 1e-13
"""Relative rise of h that counts as rounding."""


@leaf()
def row_terms(
    code: int, shape: FloatArray, y: FloatArray, size: FloatArray, weight: FloatArray, eta: FloatArray,
    value: FloatArray, first: FloatArray, second: FloatArray, third_out: FloatArray,
) -> None:  # fmt: skip
    """Weight times l, l', l'' and l''' of rows (n,)."""
    if code == LOGIT:
        logit_terms(y, size, weight, eta, value, first, second, third_out)
    elif code == POISSON:
        poisson_terms(y, size, weight, eta, value, first, second, third_out)
    else:
        for i in range(len(eta)):
            w = weight[i]
            a, b, c, d = third(code, y[i], size[i], eta[i], shape)
            value[i], first[i], second[i], third_out[i] = w * a, w * b, w * c, w * d


@leaf()
def row_densities(
    code: int, shape: FloatArray, y: FloatArray, size: FloatArray, weight: FloatArray, eta: FloatArray,
    value: FloatArray, first: FloatArray,
) -> None:  # fmt: skip
    """Weight times l and l' of rows (n,)."""
    if code == LOGIT:
        logit_density(y, size, weight, eta, value, first)
    elif code == POISSON:
        poisson_density(y, size, weight, eta, value, first)
    else:
        for i in range(len(eta)):
            a, b = density(code, y[i], size[i], eta[i], shape)
            value[i], first[i] = weight[i] * a, weight[i] * b


@leaf(fastmath={"contract", "reassoc"})
def total(a: FloatArray) -> float:
    """Sum of a (n,)."""
    out = 0.0
    for i in range(len(a)):
        out += a[i]
    return out


@leaf(fastmath={"contract", "reassoc"})
def dot(a: FloatArray, b: FloatArray) -> float:
    """Sum of a b (n,)."""
    out = 0.0
    for i in range(len(a)):
        out += a[i] * b[i]
    return out


@leaf(fastmath={"contract", "reassoc"})
def dot_three(a: FloatArray, b: FloatArray, c: FloatArray) -> float:
    """Sum of a b c (n,)."""
    out = 0.0
    for i in range(len(a)):
        out += a[i] * b[i] * c[i]
    return out


@leaf()
def linear_predictor(
    eta0: FloatArray, z: FloatArray, factor: FloatArray, u: FloatArray, low: int, high: int, eta: FloatArray, at: int
) -> None:
    """Write eta0 + Z Lambda u of rows low to high to `eta`, from place `at` on; z is (q, n), u (q,)."""
    q = len(u)
    n = high - low
    out, base = eta[at : at + n], eta0[low:high]
    for i in range(n):
        out[i] = base[i]
    for j in range(q):
        b = 0.0
        for k in range(q):
            b += factor[j, k] * u[k]
        if b != 0.0:
            column = z[j][low:high]
            for i in range(n):
                out[i] += column[i] * b


@leaf()
def cluster_sums(
    z: FloatArray, first: FloatArray, second: FloatArray, low: int, high: int, gradient: FloatArray, square: FloatArray
) -> None:
    """Z'l' (q,) and Z'WZ (q, q) of rows low to high."""
    q = len(gradient)
    d1, d2 = first[low:high], second[low:high]
    for j in range(q):
        column = z[j][low:high]
        gradient[j] = dot(column, d1)
        for k in range(j + 1):
            square[j, k] = square[k, j] = -dot_three(column, z[k][low:high], d2)


@leaf()
def positive_square(z: FloatArray, second: FloatArray, low: int, high: int, square: FloatArray) -> None:
    """Z'WZ (q, q) of the rows low to high whose W is positive: a convex stand-in far from the mode."""
    q = square.shape[0]
    for j in range(q):
        for k in range(j + 1):
            out = 0.0
            for i in range(low, high):
                out -= z[j, i] * z[k, i] * min(second[i], 0.0)
            square[j, k] = square[k, j] = out


@leaf()
def curvature_factor(factor: FloatArray, square: FloatArray, chol: FloatArray, half: FloatArray) -> bool:
    """Cholesky factor of H = I + Lambda'A Lambda (q, q); false if it is not positive definite. `half` is scratch."""
    q = factor.shape[0]
    for i in range(q):
        for j in range(q):
            value = 0.0
            for k in range(q):
                value += square[i, k] * factor[k, j]
            half[i, j] = value
    for i in range(q):
        for j in range(i + 1):
            value = 1.0 if i == j else 0.0
            for k in range(q):
                value += factor[k, i] * half[k, j]
            chol[i, j] = value
            chol[j, i] = 0.0
            if i == j:
                chol[i, i] = value
    return cholesky(chol)


@leaf()
def newton_step(
    factor: FloatArray, u: FloatArray, gradient: FloatArray, chol: FloatArray, step: FloatArray
) -> tuple[float, float]:
    """Write -H^-1 (u - Lambda'Z'l') to `step` (q,); return its largest element and the slope along it."""
    q = len(u)
    for j in range(q):
        value = -u[j]
        for k in range(q):
            value += factor[k, j] * gradient[k]
        step[j] = value
    solve_lower(chol, step, q)
    fall, largest = 0.0, 0.0
    for j in range(q):
        fall += step[j] * step[j]
    solve_upper(chol, step, q)
    for j in range(q):
        largest = max(largest, abs(step[j]))
    return largest, -fall


@leaf()
def settle(
    code: int, shape: FloatArray, y: FloatArray, size: FloatArray, weight: FloatArray, eta0: FloatArray, z: FloatArray,
    start: IntArray, low: int, high: int, factor: FloatArray, u: FloatArray, eta: FloatArray,
    value: FloatArray, first: FloatArray, second: FloatArray, third_out: FloatArray,
    gradient: FloatArray, square: FloatArray, chol: FloatArray, minimum: FloatArray, count: FloatArray,
    half: FloatArray, step: FloatArray, progress: FloatArray,
) -> None:  # fmt: skip
    """Find the modes of clusters low to high, whose rows are evaluated together.

    Parameters
    ----------
    code, shape, y, size, weight : the outcome; see `responses`.
    eta0 : (n,) linear predictor without random effects.
    z : (q, n) columns of the random effects.
    start : (J + 1,) where each cluster's rows start.
    factor : (q, q) Lambda.
    u : (J, q) where to start; the modes on return.
    eta, value, first, second, third_out : (n,) linear predictor, l and its derivatives at the modes, written.
    gradient, square, chol : (J, q) Z'l', (J, q, q) A, (J, q, q) Cholesky factor of H at the modes, written.
    minimum : (J,) h at the modes, written; infinite where none was found.
    count : (J,) how often each cluster counts; those that do not are left as they are.
    half, step, progress : (q, q), (RUN, q) and (4, RUN) scratch.
    """
    q = factor.shape[0]
    before, share, slope, done = progress[0], progress[1], progress[2], progress[3]
    for g in range(low, high):
        minimum[g] = before[g - low] = np.inf
        done[g - low] = 1.0 if count[g] == 0.0 else 0.0
    bottom, top = low, high
    for _ in range(STEPS):
        while bottom < top and done[bottom - low] > 0.0:
            bottom += 1
        while top > bottom and done[top - 1 - low] > 0.0:
            top -= 1
        if bottom == top:
            return
        for g in range(bottom, top):
            if done[g - low] == 0.0:
                linear_predictor(eta0, z, factor, u[g], start[g], start[g + 1], eta, start[g])
        a, b = start[bottom], start[top]
        row_terms(
            code, shape, y[a:b], size[a:b], weight[a:b], eta[a:b], value[a:b], first[a:b], second[a:b], third_out[a:b]
        )
        for g in range(bottom, top):
            c = g - low
            if done[c] > 0.0:
                continue
            h = -total(value[start[g] : start[g + 1]])
            for j in range(q):
                h += 0.5 * u[g, j] * u[g, j]
            # too long a step is shortened; the first point may be any
            if not h <= before[c] + 1e-4 * share[c] * slope[c] + ROUNDING * (1.0 + abs(h)) and before[c] < np.inf:
                for j in range(q):
                    u[g, j] -= 0.5 * step[c, j]
                    step[c, j] *= 0.5
                share[c] *= 0.5
                continue
            cluster_sums(z, first, second, start[g], start[g + 1], gradient[g], square[g])
            convex = curvature_factor(factor, square[g], chol[g], half)
            if not convex:
                positive_square(z, second, start[g], start[g + 1], square[g])
                if not curvature_factor(factor, square[g], chol[g], half):
                    done[c] = 1.0  # beyond the range of numbers
                    continue
            largest, slope[c] = newton_step(factor, u[g], gradient[g], chol[g], step[c])
            size_of_u = 1.0
            for j in range(q):
                size_of_u = max(size_of_u, abs(u[g, j]))
            if largest <= TOLERANCE * size_of_u:
                done[c] = 1.0
                minimum[g] = h if convex else np.inf
                continue
            before[c], share[c] = h, 1.0
            for j in range(q):
                u[g, j] += step[c, j]


@leaf()
def step_linearly(
    eta0: FloatArray, z: FloatArray, start: IntArray, low: int, high: int, factor: FloatArray, u: FloatArray,
    eta: FloatArray, first: FloatArray, second: FloatArray, reach: float,
    squares: FloatArray, vectors: FloatArray, shift: FloatArray,
) -> None:  # fmt: skip
    """Move modes of clusters low to high to where they are if l' is linear in eta, after other parameters have changed.

    Parameters
    ----------
    eta0, z, start, factor : the new linear predictor without random effects, and Lambda; see `settle`.
    u : (J, q) modes at the old parameters; moved.
    eta, first, second : (n,) linear predictor, l' and l'' there.
    reach : largest change of a row's linear predictor at which this is trusted.
    squares, vectors, shift : (3, q, q), (2, q) and scratch as long as the longest cluster.
    """
    q = factor.shape[0]
    gradient, step = vectors[0], vectors[1]
    square, chol, half = squares[0], squares[1], squares[2]
    for g in range(low, high):
        a, b = start[g], start[g + 1]
        change = shift[: b - a]
        linear_predictor(eta0, z, factor, u[g], a, b, shift, 0)
        far = less(eta[a:b], change)
        if not far <= reach:
            continue
        cluster_sums(z, first, second, a, b, gradient, square)
        for j in range(q):
            gradient[j] += dot_three(z[j][a:b], second[a:b], change)
        if curvature_factor(factor, square, chol, half):
            newton_step(factor, u[g], gradient, chol, step)
            for j in range(q):
                u[g, j] += step[j]


@leaf()
def less(base: FloatArray, values: FloatArray) -> float:
    """Subtract base (n,) from `values`; return the largest absolute difference."""
    out = 0.0
    for i in range(len(values)):
        values[i] -= base[i]
        out = max(out, abs(values[i]))
    return out
