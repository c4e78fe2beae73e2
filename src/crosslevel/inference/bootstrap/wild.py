"""Random weights of the wild bootstrap, and residuals freed of their clusters' leverage.

The residuals v_g = y_g - X_g beta of a cluster are smaller than its errors, since the cluster has its share in beta. In
the metric of V, with A_g = X_g'V_g^-1 X_g, A their sum and s_g = X_g'V_g^-1 v_g, these are freed of it:

    "cr3" : y_g - X_g beta_(g) = v_g + X_g k_g,   k_g = (A - A_g)^-1 s_g, beta_(g) being estimated without the cluster;
    "cr2" : the root of that, which has covariance V_g if V is right: with A = L L' and L^-1 A_g L'^-1 = U diag(h) U',
            k_g = L'^-1 U diag(((1 - h)^-1/2 - 1) / h) U' L^-1 s_g;
    "none" : v_g.

Where a cluster alone decides on a combination of coefficients (h = 1), its residuals have nothing of it, and k_g adds
nothing to them.

Source: Modugno & Giannerini (2015), Comm. Statist. Theory Methods 44: 4812-4825, for the bootstrap; Webb (2023),
Canad. J. Econ. 56: 839-858, for the six-point weights; Bell & McCaffrey (2002), Survey Methodology 28: 169-181, for the
leverage of clusters; MacKinnon, Nielsen & Webb (2023), J. Appl. Econometrics 38: 671-694, for its use in the wild
bootstrap.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.inference.bootstrap.setting import Setting

ALONE = 1e-9
"""1 - h below which a cluster decides alone."""


def webb(rng: np.random.Generator, n: int) -> FloatArray:
    """Weights (n,) that take -sqrt(3/2), -1, -sqrt(1/2) and their opposites with probability 1/6 each."""
    return np.asarray(np.sqrt(0.5 * rng.integers(1, 4, n)) * rng.choice([-1.0, 1.0], n))


def rademacher(rng: np.random.Generator, n: int) -> FloatArray:
    """Weights (n,) -1 and 1 with probability 1/2 each."""
    return np.asarray(rng.choice([-1.0, 1.0], n))


AUXILIARY: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {"webb": webb, "rademacher": rademacher}
"""Distributions of the weights."""

LEVERAGE = ("cr2", "cr3", "none")
"""How residuals are freed of leverage."""


def leverage_shifts(setting: "Setting", leverage: str) -> FloatArray:
    """(J, p) k_g of a fitted model's clusters, in working coordinates."""
    p = setting.reduced.p
    if leverage == "none":
        return np.zeros((setting.n_clusters, p))
    root, image = setting.reduced.root @ setting.factor, setting.reduced.image
    q = len(setting.factor)
    # [X y]'V^-1 [X y] = remainder + c'(I + R Psi R')^-1 c
    inner = np.linalg.solve(np.eye(q) + root @ root.transpose(0, 2, 1), image)
    gram = setting.remainders + image.transpose(0, 2, 1) @ inner
    score = gram[:, :-1] @ np.append(-setting.beta, 1.0)
    return shifts(gram[:, :-1, :-1], score, leverage)


def shifts(information: FloatArray, score: FloatArray, leverage: str) -> FloatArray:
    """(J, p) k_g from the clusters' A_g (J, p, p) and s_g (J, p).

    Examples
    --------
    >>> import numpy as np
    >>> shifts(np.ones((4, 1, 1)), np.array([[3.0], [-1.0], [-1.0], [-1.0]]), "cr3").ravel().round(6).tolist()
    [1.0, -0.333333, -0.333333, -0.333333]
    """
    chol = np.linalg.cholesky(information.sum(axis=0))
    inverse = np.linalg.inv(chol)
    h, vectors = np.linalg.eigh(inverse @ information @ inverse.T)
    left = np.where(1.0 - h > ALONE, 1.0 - h, np.inf)
    if leverage == "cr3":
        factor = 1.0 / left
    else:
        root = 1.0 / np.sqrt(left)
        # (1 / sqrt(1 - h) - 1) / h, without cancellation
        factor = root * root / (1.0 + root)
    turned = np.einsum("gab,ga->gb", vectors, score @ inverse.T)
    return np.asarray(np.einsum("gab,gb->ga", vectors, factor * turned) @ inverse)
