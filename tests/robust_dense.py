"""Cluster-robust covariances by matrices of all rows, straight from the definitions."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import linalg


def dense_model(fit: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """X (n, p), residuals (n,), V (n, n) in units of sigma^2, and which of the rows used each row is."""
    design, solution = fit.design, fit.solution
    block = np.hstack([rows for rows, _, _ in design.blocks()])
    x, y, n = block[design.x].T, block[-1], block.shape[1]
    b = np.eye(n)
    if design.residual is not None:
        order = design.residual.order
        whiten = solution.criterion.residual.at(solution.phi).whiten(np.eye(n)).T
        b[np.ix_(order, order)] = np.linalg.inv(whiten)
    weights = None if design.weights is None else design.weights.total
    if weights is not None and design.weights.is_precision:
        b = np.diag(1.0 / np.sqrt(weights))
    v = np.zeros((n, n))
    for factor, lam in zip(design.factors, solution.factors, strict=True):
        f = np.zeros((n, factor.n_levels, len(factor.z)))
        for codes, share in design.used_members(factor):
            known = codes >= 0
            times = 1.0 if share is None else share[:, None]
            f[np.flatnonzero(known), codes[known]] += ((block[factor.z].T @ lam) * times)[known]
        f = f.reshape(n, -1)
        v += f @ f.T
    place = np.arange(n)
    white = np.linalg.inv(b)
    x, e, v = white @ x, white @ (y - x @ solution.beta), white @ v @ white.T
    if weights is not None and design.weights.is_frequency:
        place = np.repeat(place, weights.astype(int))
    return x[place], e[place], v[np.ix_(place, place)] + np.eye(len(place)), place


def power(matrix: np.ndarray, exponent: float, zero: float = 1e-9) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    powers = np.array([value**exponent if value > zero else 0.0 for value in values])
    return (vectors * powers) @ vectors.T


class Dense:
    """All that follows from X, e, V and one clustering (codes of the rows)."""

    def __init__(self, x: np.ndarray, e: np.ndarray, v: np.ndarray, codes: np.ndarray, kind: str) -> None:
        n, p = x.shape
        w = np.linalg.solve(v, x)
        m = np.linalg.inv(x.T @ w)
        groups = [np.flatnonzero(codes == g) for g in np.unique(codes)]
        hat = x @ m @ w.T
        weights = []  # M W_g'A_g, in the columns of the cluster
        for rows in groups:
            adjusted = self.adjustment(v, hat, m, x, rows, kind, (len(groups), n, p))
            full = np.zeros((p, n))
            full[:, rows] = m @ w[rows].T @ adjusted
            weights.append(full)
        self.change = np.array([each @ e for each in weights])
        self.vcov = self.change.T @ self.change
        # contribution g is weights_g (I - H) e
        maker = np.eye(n) - hat
        self.contributions = [each @ maker for each in weights]
        self.v = v

    @staticmethod
    def adjustment(v, hat, m, x, rows, kind, sizes) -> Any:
        n_clusters, n, p = sizes
        if kind == "CR0":
            return np.eye(len(rows))
        if kind == "CR1":
            return np.eye(len(rows)) * np.sqrt(n_clusters / (n_clusters - 1))
        if kind == "CR1S":
            return np.eye(len(rows)) * np.sqrt(n_clusters * (n - 1) / ((n_clusters - 1) * (n - p)))
        own = np.ix_(rows, rows)
        if kind == "CR3":
            return np.linalg.inv((np.eye(n) - hat)[own])
        d = np.linalg.cholesky(v[own]).T
        g = d @ (v[own] - x[rows] @ m @ x[rows].T) @ d.T
        return d.T @ power(g, -0.5) @ d

    def covariances(self, c: np.ndarray) -> np.ndarray:
        """P (J, J, m, m)."""
        parts = np.array([c @ each for each in self.contributions])
        return np.einsum("gan,nk,hbk->ghab", parts, self.v, parts, optimize=True)

    def df(self, c: np.ndarray) -> float:
        """Of one contrast by Satterthwaite, of several by the total variance."""
        p = self.covariances(np.atleast_2d(c))
        omega = np.einsum("ggab->ab", p)
        root = linalg.inv(linalg.sqrtm(omega).real)
        b = np.einsum("ab,ghbc,cd->ghad", root, p, root)
        m = len(omega)
        total = sum(
            np.sum(b[:, :, s, t] * b[:, :, t, s]) + np.sum(b[:, :, s, s] * b[:, :, t, t])
            for s in range(m)
            for t in range(m)
        )
        return m * (m + 1) / total


def several(
    x: np.ndarray, e: np.ndarray, v: np.ndarray, codes: Sequence[np.ndarray], kind: str, model: np.ndarray
) -> np.ndarray:
    """Sum over the intersections with alternating signs, negative eigenvalues relative to `model` set to zero."""
    total = np.zeros_like(model)
    for m in range(1, len(codes) + 1):
        for some in combinations(codes, m):
            cells = np.unique(np.column_stack(some), axis=0, return_inverse=True)[1].ravel()
            total += (-1) ** (m - 1) * Dense(x, e, v, cells, kind).vcov
    values, vectors = linalg.eigh(total, model)
    back = model @ vectors
    return (back * np.maximum(values, 0.0)) @ back.T
