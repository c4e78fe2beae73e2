"""Row-wise twin of the panel instruments: matrices of all rows, least squares on them, no cross-products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """y (n,), X (n, p) with the intercept first, codes (n,) of the groups, period (n,), kinds of the columns (p,)."""

    y: np.ndarray
    X: np.ndarray
    codes: np.ndarray
    period: np.ndarray
    varying: np.ndarray
    endogenous: np.ndarray

    @property
    def same(self) -> np.ndarray:
        return (self.codes[:, None] == self.codes).astype(float)

    @property
    def size(self) -> np.ndarray:
        """(n,) rows of the group of each row."""
        return self.same.sum(axis=1)

    @property
    def P(self) -> np.ndarray:  # noqa: N802
        """(n, n) means of groups."""
        return self.same / self.size[:, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Twin:
    """What two-stage least squares on all rows gives."""

    beta: np.ndarray
    vcov: np.ndarray
    clustered: np.ndarray
    rss: float
    idiosyncratic: float
    group: float
    theta: np.ndarray
    r_squared: float
    sargan: float
    n_extra: int


def project(on: np.ndarray, what: np.ndarray) -> np.ndarray:
    """Projection of columns on the space of others, which may determine each other."""
    length = np.linalg.norm(on, axis=0)
    left, values, _ = np.linalg.svd(on[:, length > 0] / length[length > 0], full_matrices=False)
    basis = left[:, values > 1e-7 * values[0]]
    return basis @ (basis.T @ what)


def rank(of: np.ndarray) -> int:
    length = np.linalg.norm(of, axis=0)
    return int(np.linalg.matrix_rank(of[:, length > 0] / length[length > 0], tol=1e-7))


def components(rows: Rows) -> tuple[float, float]:
    """sigma_e^2 and sigma_u^2 by the method of moments."""
    n, n_groups = len(rows.y), len(np.unique(rows.codes))
    Q = np.eye(n) - rows.P
    inside = Q @ rows.X[:, rows.varying]
    slopes = np.linalg.lstsq(inside, Q @ rows.y, rcond=None)[0]
    idiosyncratic = np.sum((Q @ rows.y - inside @ slopes) ** 2) / (n - n_groups)
    d = rows.P @ (rows.y - rows.X[:, rows.varying] @ slopes)
    Z = rows.X[:, ~rows.varying]
    gamma = np.linalg.lstsq(project(rows.X[:, ~rows.endogenous], Z), d, rcond=None)[0]
    return idiosyncratic, (np.sum((d - Z @ gamma) ** 2) - n_groups * idiosyncratic) / n


def by_period(rows: Rows, values: np.ndarray) -> np.ndarray:
    """(n, T k) value of each column in each period, the same in all rows of a group."""
    out = []
    for period in np.unique(rows.period):
        chosen = rows.same * (rows.period == period)
        out.append(chosen @ values)
    return np.hstack(out)


def two_stage(rows: Rows, method: str) -> Twin:
    """Hausman-Taylor ("ht"), Amemiya-MaCurdy ("am"), Breusch-Mizon-Schmidt ("bms")."""
    n, p = rows.X.shape
    Q = np.eye(n) - rows.P
    idiosyncratic, group = components(rows)
    theta = 1.0 - np.sqrt(idiosyncratic / (idiosyncratic + rows.size * max(group, 0.0)))
    starred = np.eye(n) - theta[:, None] * rows.P
    y, X = starred @ rows.y, starred @ rows.X

    first, second = (rows.X[:, rows.varying & which] for which in (~rows.endogenous, rows.endogenous))
    constant = [rows.X[:, ~rows.varying & ~rows.endogenous], rows.P @ first]
    if method != "ht":
        constant.append(by_period(rows, first))
    if method == "bms":
        constant.append(by_period(rows, Q @ second))
    instruments = np.hstack([Q @ first, Q @ second, (1.0 - theta)[:, None] * np.hstack(constant)])

    seen = project(instruments, X)
    bread = np.linalg.inv(seen.T @ seen)
    beta = bread @ seen.T @ y
    residual = y - X @ beta
    scores = np.array([(seen * residual[:, None])[rows.codes == j].sum(axis=0) for j in np.unique(rows.codes)])
    explained = project(instruments, residual)
    return Twin(
        beta=beta,
        vcov=bread * (residual @ residual) / (n - p),
        clustered=bread @ scores.T @ scores @ bread,
        rss=residual @ residual,
        idiosyncratic=idiosyncratic,
        group=group,
        theta=theta,
        r_squared=np.corrcoef(y, X @ beta)[0, 1] ** 2,
        sargan=n * (explained @ explained) / (residual @ residual),
        n_extra=rank(instruments) - p,
    )
