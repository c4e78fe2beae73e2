"""Logit models with a random intercept by sums over a fine grid: marginal likelihoods, scores, maxima, sandwiches.

Plain numpy; nothing of the library's quadrature is used. With u on an even grid far into the tails, the trapezoidal sum
of exp(sum_i w_i l_i(x_i'beta + s u)) phi(u) is exact to rounding.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

GRID = np.linspace(-9.0, 9.0, 361)
LOG_WEIGHT = -0.5 * GRID**2 - 0.5 * np.log(2.0 * np.pi) + np.log(GRID[1] - GRID[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class GridModel:
    """y (n,), x (n, p), clusters (n,) 0 .. J - 1, weights of rows (n,) within clusters and of clusters (J,)."""

    y: np.ndarray
    x: np.ndarray
    codes: np.ndarray
    rows: np.ndarray
    clusters: np.ndarray

    @classmethod
    def of(cls, y, x, codes, rows=None, clusters=None):
        _, codes = np.unique(codes, return_inverse=True)
        n_clusters = codes.max() + 1
        return cls(
            y=np.asarray(y, dtype=float),
            x=np.asarray(x, dtype=float),
            codes=codes,
            rows=np.ones(len(y)) if rows is None else np.asarray(rows, dtype=float),
            clusters=np.ones(n_clusters) if clusters is None else np.asarray(clusters, dtype=float),
        )

    def by_cluster(self, parameters):
        """Log-likelihood (J,) of each cluster counted once, at (beta, s)."""
        eta = (self.x @ parameters[:-1])[:, None] + parameters[-1] * GRID
        terms = self.rows[:, None] * (self.y[:, None] * eta - np.logaddexp(0.0, eta))
        inside = np.zeros((len(self.clusters), len(GRID)))
        np.add.at(inside, self.codes, terms)
        inside += LOG_WEIGHT
        top = inside.max(axis=1)
        return top + np.log(np.exp(inside - top[:, None]).sum(axis=1))

    def deviance(self, parameters):
        return -2.0 * float(self.clusters @ self.by_cluster(parameters))

    def with_gradient(self, parameters):
        """Deviance and its derivative (p + 1,), as expectations given the data."""
        eta = (self.x @ parameters[:-1])[:, None] + parameters[-1] * GRID
        terms = self.rows[:, None] * (self.y[:, None] * eta - np.logaddexp(0.0, eta))
        inside = np.zeros((len(self.clusters), len(GRID)))
        np.add.at(inside, self.codes, terms)
        inside += LOG_WEIGHT
        top = inside.max(axis=1, keepdims=True)
        share = np.exp(inside - top)
        total = share.sum(axis=1, keepdims=True)
        log_likelihood = self.clusters @ (top + np.log(total))[:, 0]
        share *= self.clusters[:, None] / total
        slopes = self.rows[:, None] * (self.y[:, None] - 1.0 / (1.0 + np.exp(-eta))) * share[self.codes]
        return -2.0 * float(log_likelihood), -2.0 * np.append(slopes.sum(axis=1) @ self.x, (slopes @ GRID).sum())

    def scores(self, parameters, step=1e-4):
        """(J, p + 1) derivatives of the clusters' log-likelihoods, weights included, by five-point differences."""
        out = np.empty((len(self.clusters), len(parameters)))
        for k in range(len(parameters)):
            ends = []
            for some in (2.0, 1.0, -1.0, -2.0):
                moved = parameters.copy()
                moved[k] += some * step
                ends.append(self.by_cluster(moved))
            out[:, k] = self.clusters * (8.0 * (ends[1] - ends[2]) - (ends[0] - ends[3])) / (12.0 * step)
        return out

    def informations(self, parameters, step=1e-4):
        """(J, p + 1, p + 1) minus the second derivatives of the clusters' log-likelihoods."""
        out = np.empty((len(self.clusters), len(parameters), len(parameters)))
        for k in range(len(parameters)):
            moved = [parameters.copy(), parameters.copy()]
            moved[0][k] += step
            moved[1][k] -= step
            out[:, k] = (self.scores(moved[1]) - self.scores(moved[0])) / (2.0 * step)
        return 0.5 * (out + out.transpose(0, 2, 1))

    def information(self, parameters):
        """(p + 1, p + 1) minus the second derivative of the log-likelihood."""
        return self.informations(parameters).sum(axis=0)

    def maximum(self, start, *, held=None, bounds=None):
        """Maximum (p + 1,) of the likelihood; `held` = (index, value) keeps one parameter where it is."""
        free = np.ones(len(start), dtype=bool)
        full = np.array(start, dtype=float)
        if held is not None:
            free[held[0]], full[held[0]] = False, held[1]

        def objective(z):
            now = full.copy()
            now[free] = z
            value, slope = self.with_gradient(now)
            return value, slope[free]

        found = optimize.minimize(objective, full[free], jac=True, method="BFGS", options={"gtol": 1e-7})
        full[free] = found.x
        return full, float(found.fun)
