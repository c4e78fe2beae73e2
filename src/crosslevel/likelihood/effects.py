"""Solutions of the mixed model's equations: the largest factor is eliminated, the rest solved by iteration."""

import numpy as np

from crosslevel.likelihood.lanczos import Lanczos
from crosslevel.likelihood.schur import Elimination, Schur, aligned
from crosslevel.types import FloatArray


def solve_effects(
    schur: Schur, image: tuple[FloatArray, ...]
) -> tuple[tuple[FloatArray, ...], tuple[FloatArray, ...], FloatArray]:
    """Solve the mixed model's equations for s right-hand sides Z'a, given for each factor as (J_k, q_k, s).

    Returns
    -------
    effects : for each factor, (J_k, q_k, s) b = Lambda M^-1 Lambda'Z'a.
    images : for each factor, (J_k, q_k, s) Z'V^-1 a = Z'a - A b.
    explained : (s, s) a'Z b.
    """
    plan = schur.plan
    s = image[0].shape[2]
    other = aligned((plan.n_columns, s))
    for k, span in zip(plan.rest, plan.spans, strict=True):
        other[span] = image[k].reshape(-1, s)
    leading = image[plan.leading] if plan.leading >= 0 else np.zeros((0, 1, s))
    first = schur.middle @ leading
    half = schur.blockwise(schur.reach, other - plan.up(first), transpose=True)
    solved = Lanczos.run(schur.apply, half).solution()
    b = schur.blockwise(schur.reach, solved)
    left = leading - plan.down(b)
    b_leading = schur.middle @ left
    rest = other - plan.up(b_leading)
    plan.add_across(-b, rest)
    explained = half.T @ solved + np.einsum("jas,jar->sr", leading, first)
    effects: list[FloatArray] = []
    images: list[FloatArray] = []
    for k, block in enumerate(plan.crossing.diagonal):
        if k == plan.leading:
            effects.append(b_leading)
            images.append(schur.residual @ left)
        else:
            span = plan.spans[plan.rest.index(k)]
            effects.append(b[span].reshape(*block.shape[:2], s))
            images.append(rest[span].reshape(*block.shape[:2], s) - block @ effects[-1])
    return tuple(effects), tuple(images), 0.5 * (explained + explained.T)


def whole_product(plan: Elimination, effects: list[FloatArray]) -> tuple[FloatArray, ...]:
    """A times vectors given for each factor as (J_k, q_k, s)."""
    s = effects[0].shape[2]
    other = aligned((plan.n_columns, s))
    for k, span in zip(plan.rest, plan.spans, strict=True):
        other[span] = effects[k].reshape(-1, s)
    leading = effects[plan.leading] if plan.leading >= 0 else np.zeros((0, 1, s))
    out = plan.up(leading)
    plan.add_across(other, out)
    products = []
    for k, block in enumerate(plan.crossing.diagonal):
        if k == plan.leading:
            products.append(block @ leading + plan.down(other))
        else:
            products.append(block @ effects[k] + out[plan.spans[plan.rest.index(k)]].reshape(effects[k].shape))
    return tuple(products)
