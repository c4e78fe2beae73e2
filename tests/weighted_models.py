"""Models whose rows and clusters weigh differently, and their dense twins."""

from collections.abc import Callable

import dense
import numpy as np
from dense import LONG
from small_models import Model

from crosslevel.design import CrossProducts
from crosslevel.design.reduced import Reduced, reduce_products


def weighted_products(
    model: Model, weights: np.ndarray | None, *, precision: bool = False, clusters: np.ndarray | None = None
) -> CrossProducts:
    """Cross-products of a small model with row and cluster weights."""
    products = CrossProducts.from_rows(
        np.vstack([model.C.T, model.y]),
        model.codes,
        names=(*(f"c{j}" for j in range(model.C.shape[1])), "y"),
        levels=tuple(range(int(model.codes.max()) + 1)),
        weights=weights,
        precision=precision,
    )
    return products if clusters is None else products.reweight(clusters)


def reduced_of(model: Model, products: CrossProducts) -> Reduced:
    """The model's reduced cross-products."""
    return reduce_products(
        products,
        x=np.array(model.x, dtype=np.int64),
        y=model.C.shape[1],
        z=np.array(model.z, dtype=np.int64),
        structure=model.structure,
        constant=model.constant,
    )


def xy_columns(model: Model) -> np.ndarray:
    """Positions of the fixed columns and the response."""
    return np.append(np.array(model.x, dtype=np.int64), model.C.shape[1])


def precision_deviance(
    model: Model, weights: np.ndarray, psi: np.ndarray, *, reml: bool, sigma: float | None = None
) -> float:
    """-2 log density of y ~ N(X beta, sigma^2 (W^-1 + Z Psi Z')), at the best beta (and sigma, unless it is given)."""
    n, p = model.data.X.shape
    nu = n - p if reml else n
    Z = model.data.Z.astype(LONG)
    V = np.diag(1 / weights.astype(LONG)) + (Z @ psi.astype(LONG) @ Z.T) * model.data.same
    lower = dense.cholesky(V)
    q, r = dense.orthogonal(dense.forward(lower, model.data.X))
    y = dense.forward(lower, model.y)
    y = y - q @ (q.T @ y)
    y = y - q @ (q.T @ y)
    rss = y @ y
    sigma2 = rss / nu if sigma is None else LONG(sigma) ** 2
    out = 2 * np.log(np.diag(lower)).sum() + nu * np.log(2 * LONG(np.pi) * sigma2) + rss / sigma2
    return float(out + 2 * np.log(np.diag(r)).sum() if reml else out)


def cluster_loglik(model: Model, weights: np.ndarray, g: int) -> Callable[[np.ndarray, np.ndarray, float], float]:
    """Pseudo-log-likelihood of one cluster, log of the integral of prod f(y_i | b)^w_i over b ~ N(0, sigma^2 Psi).

    The integrand is normal in y up to a constant: with W^-1 instead of I, and (2 pi sigma^2)^(-sum w / 2).
    """
    mine = model.codes == g
    X, Z, y, w = (part[mine].astype(LONG) for part in (model.data.X, model.data.Z, model.y, weights))

    def loglik(beta: np.ndarray, psi: np.ndarray, log_sigma: float) -> float:
        lower = dense.cholesky(np.diag(1 / w) + Z @ psi.astype(LONG) @ Z.T)
        e = dense.forward(lower, y - X @ beta.astype(LONG))
        log_det = 2 * np.log(np.diag(lower)).sum() + np.log(w).sum()  # of I + Z'WZ Psi
        log_sigma = LONG(log_sigma)
        return -0.5 * (log_det + w.sum() * (np.log(2 * LONG(np.pi)) + 2 * log_sigma) + e @ e * np.exp(-2 * log_sigma))

    return loglik
