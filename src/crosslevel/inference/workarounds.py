"""What single clusters can tell of the coefficients of a multilevel model, and the means of their coefficients."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from crosslevel.design import CrossProducts
from crosslevel.design.build import CONSTANT
from crosslevel.design.reduced import ALIAS_TOLERANCE
from crosslevel.inference.separate import SeparateRegressions
from crosslevel.types import FloatArray

Role: TypeAlias = Literal["within", "context", "determined"]


def roles_within(products: CrossProducts, x: Sequence[int], constant: int) -> tuple[Role, ...]:
    """What each of the columns x is inside the clusters.

    "within": in some cluster it varies beyond what earlier columns determine, so that it can have a coefficient there
    (the intercept counts among these). "context": it does not vary within clusters. "determined": it varies, but in
    every cluster earlier columns determine it, as they do a cross-level interaction.

    Parameters
    ----------
    products : cross-products by cluster.
    x : positions of the columns.
    constant : position of the intercept, -1 if there is none; without one nothing is taken out of the columns first.
    """
    columns = np.array(x, dtype=np.int64)
    gram = products.scatter[:, columns[:, None], columns]
    if constant not in x:
        mean = (products.origin + products.mean)[:, columns]
        gram = gram + products.count[:, None, None] * mean[:, :, None] * mean[:, None, :]
    total = np.diag(products.total)[columns] / products.weight
    size = np.einsum("jaa->ja", gram)
    flat = size <= CONSTANT * total * products.count[:, None]
    varies = np.diag(products.within)[columns] > CONSTANT * np.diag(products.total)[columns]
    unit = np.sqrt(np.where(flat, 1.0, size))
    rest = np.where(flat[:, :, None] | flat[:, None, :], 0.0, gram / unit[:, :, None] / unit[:, None, :])
    roles: list[Role] = []
    for k, position in enumerate(columns):
        pivot = rest[:, k, k]
        something = pivot > ALIAS_TOLERANCE
        own = bool(np.any(something)) or position == constant
        roles.append("within" if own else ("determined" if varies[k] else "context"))
        share = rest[:, k] / np.where(something, pivot, np.inf)[:, None]
        rest = rest - rest[:, :, k, None] * share[:, None, :]
    return tuple(roles)


def means_of(separate: SeparateRegressions) -> tuple[FloatArray, FloatArray]:
    """Means (p,) of the clusters' coefficients, and their standard errors SD / sqrt(J) as a sample of clusters."""
    return separate.beta.mean(axis=0), spread_of(separate)[0] / np.sqrt(len(separate.beta))


def means_of_fixed(separate: SeparateRegressions) -> tuple[FloatArray, FloatArray]:
    """The same means, with their standard errors as fixed numbers of these clusters: sqrt(sum of variances) / J."""
    return separate.beta.mean(axis=0), np.sqrt(np.sum(separate.std_error**2, axis=0)) / len(separate.beta)


def spread_of(separate: SeparateRegressions) -> tuple[FloatArray, FloatArray]:
    """Standard deviations (p,) of the clusters' coefficients, and what their sampling errors alone would make."""
    n = len(separate.beta)
    sd = np.std(separate.beta, axis=0, ddof=1) if n > 1 else np.full(separate.beta.shape[1], np.nan)
    return np.asarray(sd), np.sqrt(np.mean(separate.std_error**2, axis=0))
