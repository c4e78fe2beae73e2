"""Panel estimators row by row, with dummies and dense covariance matrices: slow and plain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, kw_only=True, eq=False)
class Ordinary:
    """Least squares on rows: coefficients, covariance, residuals, and what robust covariances need."""

    x: np.ndarray
    y: np.ndarray
    absorbed: int = 0

    @property
    def bread(self) -> np.ndarray:
        return np.linalg.inv(self.x.T @ self.x)

    @property
    def beta(self) -> np.ndarray:
        return np.linalg.lstsq(self.x, self.y, rcond=None)[0]

    @property
    def residual(self) -> np.ndarray:
        return self.y - self.x @ self.beta

    @property
    def df(self) -> int:
        return len(self.y) - self.x.shape[1] - self.absorbed

    @property
    def rss(self) -> float:
        return float(self.residual @ self.residual)

    @property
    def vcov(self) -> np.ndarray:
        return self.bread * self.rss / self.df

    def robust(self, name: str, codes: np.ndarray) -> np.ndarray:
        """Covariance "meat-HCk" from the rows."""
        meat, kind = name.split("-")
        n, p = self.x.shape
        leverage = np.einsum("ij,jk,ik->i", self.x, self.bread, self.x)
        e = self.residual / (1.0 - leverage) ** {"HC2": 0.5, "HC3": 1.0}.get(kind, 0.0)
        middle = np.zeros((n, n))
        for level in np.unique(codes):
            own = np.flatnonzero(codes == level)
            block = {
                "arellano": np.outer(e[own], e[own]),
                "white1": np.diag(e[own] ** 2),
                "white2": np.eye(len(own)) * np.mean(e[own] ** 2),
            }[meat]
            middle[np.ix_(own, own)] = block
        factor = n / (n - p) if kind == "HC1" else 1.0
        return factor * self.bread @ self.x.T @ middle @ self.x @ self.bread


def dummies(codes: np.ndarray) -> np.ndarray:
    return (codes[:, None] == np.unique(codes)[None, :]).astype(float)


def averaging(codes: np.ndarray) -> np.ndarray:
    """(n, n) B, group means."""
    z = dummies(codes)
    return z @ np.diag(1.0 / z.sum(axis=0)) @ z.T


def within(x: np.ndarray, y: np.ndarray, codes: np.ndarray) -> Ordinary:
    m = np.eye(len(y)) - averaging(codes)
    return Ordinary(x=m @ x, y=m @ y, absorbed=len(np.unique(codes)))


def shares(x: np.ndarray, y: np.ndarray, codes: np.ndarray, theta: np.ndarray) -> Ordinary:
    """Rows less theta (n,) of their group's mean."""
    m = np.eye(len(y)) - theta[:, None] * averaging(codes)
    return Ordinary(x=m @ x, y=m @ y)


def covariance(codes: np.ndarray, sigma2_e: float, sigma2_u: float) -> np.ndarray:
    z = dummies(codes)
    return sigma2_e * np.eye(len(codes)) + sigma2_u * z @ z.T


def components(x: np.ndarray, y: np.ndarray, codes: np.ndarray, method: str) -> tuple[float, float]:
    """sigma2_e and sigma2_u; x has the intercept first, all others vary within groups.

    But for Nerlove's, two quadratic forms of residuals L y are equated with their expectations, by their traces.
    """
    n, b, z = len(y), averaging(codes), dummies(codes)
    j, w = z.shape[1], np.eye(n) - b
    inside = within(x[:, 1:], y, codes)
    if method == "nerlove":
        effects = b @ (y - x[:, 1:] @ inside.beta)
        weighted = np.mean((effects - effects.mean()) ** 2)
        return inside.rss / n, float(weighted * j / (j - 1))
    pooled = np.eye(n) - x @ np.linalg.inv(x.T @ x) @ x.T
    from_within = np.eye(n) - x[:, 1:] @ np.linalg.inv(inside.x.T @ inside.x) @ inside.x.T
    centred = (np.eye(n) - np.ones((n, n)) / n) @ from_within
    outside = np.eye(n) - b @ x @ np.linalg.inv(x.T @ b @ x) @ x.T @ b
    first, second = {
        "swar": (from_within, outside @ b), "walhus": (pooled, pooled), "amemiya": (centred, centred)
    }[method]  # fmt: skip
    forms = [first.T @ w @ first, second.T @ b @ second]
    expected = np.array([[np.trace(form), np.trace(form @ z @ z.T)] for form in forms])
    sigma2 = np.linalg.solve(expected, [y @ form @ y for form in forms])
    return float(sigma2[0]), float(sigma2[1])


def differences(frame: pd.DataFrame, columns: list[str], group: str, time: str) -> pd.DataFrame:
    """Differences between rows whose times follow each other among all times of the frame."""
    place = {value: k for k, value in enumerate(sorted(frame[time].unique()))}
    rows = []
    for level, part in frame.groupby(group):
        part = part.sort_values(time)
        for (_, a), (_, b) in zip(part.iloc[:-1].iterrows(), part.iloc[1:].iterrows(), strict=True):
            if place[b[time]] - place[a[time]] == 1:
                rows.append({"group": level, **{name: b[name] - a[name] for name in columns}})
    return pd.DataFrame(rows)
