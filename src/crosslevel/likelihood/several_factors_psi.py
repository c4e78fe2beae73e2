"""Derivatives in Psi, information and scores of groups, of models with several grouping factors."""

import numpy as np

from crosslevel.errors import DesignError
from crosslevel.likelihood.generalized import Layout
from crosslevel.likelihood.several_factors_state import SeveralFactorState
from crosslevel.types import CodeArray, FloatArray, IntArray

FLOOR = 1e-5
"""Least singular value of Lambda for [Z'WZ - Z'WZ Lambda M^-1 Lambda'Z'WZ]_jj: smaller ones are raised to it."""

AT_ONCE = 2**15
"""Rows that are worked on together."""

POSITIVE = 1e-14
"""Least weight W of a row for what one shape parameter does to it to count as a shift of its eta."""


def psi_scores(at: SeveralFactorState) -> tuple[FloatArray, ...]:
    """For each factor (q, q) S = d deviance / d Psi, also where Psi is singular.

    S = sum over levels of [P - g g' + (t g' + g t') / 2]_jj, with P = A - A Lambda M^-1 Lambda'A, A = Z'WZ, g = Z'l'
    and t = Z'(a - W e). The gradient in Lambda is 2 S Lambda.
    """
    if all(len(factor) == 1 and abs(factor[0, 0]) > FLOOR for factor in at.factors):
        return tuple(0.5 * change / factor for change, factor in zip(at.by_factor, at.factors, strict=True))
    images = at.images(at.first), at.images(at.pull - at.curvature * at.echo)
    out = []
    for g, t, weight, total in zip(*images, at.setting.pattern.weights, _residual_spreads(at), strict=True):
        both = (g * weight[:, None]).T @ (0.5 * t - 0.5 * g)
        out.append(0.5 * (total + total.T) + both + both.T)
    return tuple(out)


def _residual_spreads(at: SeveralFactorState) -> tuple[FloatArray, ...]:
    """For each factor (q, q) the sum over levels of P_jj = [A Lambda M^-1]_jj Lambda^-1.

    Where a Lambda is singular, its small singular values are raised: P changes by their squares.
    """
    factors, singular = [], False
    for factor in at.factors:
        left, sizes, right = np.linalg.svd(factor)
        if sizes.min() < FLOOR:
            singular = True
            factors.append(np.ascontiguousarray((left * np.maximum(sizes, FLOOR)) @ right))
        else:
            factors.append(factor)
    spreads = at.spreads
    if singular:
        pattern = at.setting.pattern
        scaled = pattern.scaled(tuple(factors))
        spreads = at.spread_of(pattern.reach(pattern.factorised(scaled, at.curvature).inverse(), scaled))
    return tuple(np.linalg.solve(factor.T, spread.T).T for factor, spread in zip(factors, spreads, strict=True))


def information(at: SeveralFactorState, layout: Layout) -> FloatArray:
    """Positive semi-definite approximation (K, K) of the deviance's Hessian.

    That of the linear mixed model with the weights W and the residuals of the modes: with V^-1 = W - WZBZ'W and
    h_a = Z dPsi_a g, average information h'V^-1 h in theta, 2 X'V^-1 X in beta, 2 h'V^-1 X between them, and
    h'V^-1 X (X'V^-1 X)^-1 X'V^-1 h more in theta, so that what is left of theta after beta is h'P h; and the positive
    part of S for the curvature of Psi in Lambda. In shape parameters, the sum of squares of the rows' scores; those
    that shift the linear predictor, as thresholds do, are columns like X.
    """
    shifts, squares = _shape_columns(at, layout)
    inner = _inner_products(at, layout, shifts)
    k, out = layout.k, 2.0 * inner
    cross = inner[:k, k:]
    out[:k, :k] = inner[:k, :k] + cross @ np.linalg.pinv(inner[k:, k:], hermitian=True) @ cross.T
    out[layout.shape, layout.shape] += squares
    theta = at.parameters[layout.theta]
    for structure, part, score in zip(at.setting.rows.structures, layout.parts, psi_scores(at), strict=True):
        slopes = structure.factor_gradient(theta[part])
        shape = len(slopes), structure.q**2
        positive = positive_part(score * structure.mask)
        out[part, part] += 2.0 * (positive @ slopes).reshape(shape) @ slopes.reshape(shape).T
    return np.asarray(0.5 * (out + out.T))


def positive_part(matrix: FloatArray) -> FloatArray:
    """The symmetric matrix (q, q) without its negative eigenvalues."""
    if len(matrix) == 1:
        return np.maximum(matrix, 0.0)
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def _inner_products(at: SeveralFactorState, layout: Layout, shifts: FloatArray) -> FloatArray:
    """C'V^-1 C (K, K) of the columns C = [h, X, shifts], some rows at a time."""
    setting, pattern, plan = at.setting, at.setting.pattern, at.setting.pattern.plan
    effects, weight, size = _theta_effects(at, layout), np.maximum(at.curvature, 0.0), layout.size
    sides = np.zeros((plan.n_columns, size))
    parts = [sides[plan.rows(f)].reshape(plan.counts[f], plan.sizes[f], size) for f in range(len(plan.counts))]
    inner = np.zeros((size, size))
    for begin in range(0, setting.rows.n, AT_ONCE):
        place = slice(begin, min(begin + AT_ONCE, setting.rows.n))
        moved = pattern.effect_columns(effects, begin, place.stop - begin)
        columns = np.concatenate([*moved, setting.rows.x[place], shifts[place]], axis=1)
        weighted = weight[place, None] * columns
        inner += columns.T @ weighted
        pattern.add_columns(setting.scaled, begin, weighted, parts)
    if pattern.copies is not None:
        sides /= pattern.copies.each
    half = at.factorised.forward(sides)
    return np.asarray(inner - at.factorised.inner(half, half))


def _theta_effects(at: SeveralFactorState, layout: Layout) -> tuple[FloatArray, ...]:
    """For each factor (J, q, k) dPsi_a g of its parameters: what changes of Psi do to the random effects."""
    out, theta = [], at.parameters[layout.theta]
    structures = at.setting.rows.structures
    for image, structure, part, factor in zip(at.images(at.first), structures, layout.parts, at.factors, strict=True):
        half = structure.factor_gradient(theta[part]) @ factor.T
        changes = half + half.transpose(0, 2, 1)
        moved = image @ changes.transpose(1, 2, 0).reshape(structure.q, -1)
        out.append(np.ascontiguousarray(moved.reshape(len(image), structure.q, len(changes))))
    return tuple(out)


def _shape_columns(at: SeveralFactorState, layout: Layout) -> tuple[FloatArray, FloatArray]:
    """Shifts of eta (n, m) that working shape parameters amount to, and what is left of their information (m, m)."""
    rows = at.setting.rows
    if not layout.m:
        return np.zeros((rows.n, 0)), np.zeros((0, 0))
    jacobian = rows.family.shape_jacobian(at.parameters[layout.shape])
    counted = at.setting.counted[:, None]
    value, first = (at.by_shape[:, a] @ jacobian for a in range(2))
    squares = value.T @ (value / counted)
    shifts = np.zeros((rows.n, layout.m))
    if rows.family.kind == "ordered":
        usable = at.curvature > POSITIVE * counted[:, 0]
        shifts[usable] = first[usable] / at.curvature[usable, None]
        squares = squares - shifts.T @ (at.curvature[:, None] * shifts)
    return shifts, 2.0 * positive_part(squares)


def group_scores(at: SeveralFactorState, layout: Layout, codes: IntArray, n_groups: int) -> FloatArray:
    """Derivatives (n_groups, K) of the log-likelihood, by groups of rows that share no levels.

    Raises
    ------
    DesignError : some level has rows in several groups.
    """
    from crosslevel.kernels.pairs import add_blocks

    rows, pattern = at.setting.rows, at.setting.pattern
    group = np.ascontiguousarray(codes[rows.order], dtype=np.int32)
    _check_apart(at, group)
    out = np.zeros((n_groups, layout.size))
    u, answer = [part.T for part in at.u], [part.T for part in pattern.by_factor(at.answer)]
    by_factor = [np.zeros((n_groups, q, q)) for q in pattern.plan.sizes]
    for slot, f in zip(pattern.slots, at.reach, strict=True):
        known = slot.codes >= 0
        right = np.where(known, at.slope * u[slot.factor][:, slot.codes], 0.0)
        right += np.where(known, at.first * answer[slot.factor][:, slot.codes], 0.0)
        add_blocks(slot.z, np.ascontiguousarray(right + 2.0 * at.curvature * f), group, by_factor[slot.factor])
    theta = at.parameters[layout.theta]
    for structure, part, some in zip(rows.structures, layout.parts, by_factor, strict=True):
        out[:, part] = np.tensordot(some, structure.factor_gradient(theta[part]), axes=([1, 2], [1, 2]))
    columns = [rows.x * at.slope[:, None]]
    if layout.m:
        columns.append(at.shape_slope @ rows.family.shape_jacobian(at.parameters[layout.shape]))
    for place, column in zip(range(layout.k, layout.size), np.hstack(columns).T, strict=True):
        out[:, place] = np.bincount(group, column, n_groups)
    return -0.5 * out


def _check_apart(at: SeveralFactorState, group: CodeArray) -> None:
    """Refuse groups (n,) of rows between which a level is shared."""
    for slot in at.setting.pattern.slots:
        known = slot.codes >= 0
        of_level = np.full(at.setting.pattern.plan.counts[slot.factor], -1, dtype=np.int32)
        of_level[slot.codes[known]] = group[known]
        if np.any(of_level[slot.codes[known]] != group[known]):
            raise DesignError(
                "Scores by cluster need clusters that share no random effects, but levels of a grouping factor have "
                "rows in several clusters: the factors are crossed. Name the outermost of nested factors as the "
                "cluster."
            )
