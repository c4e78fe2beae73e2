"""The Laplace approximation with dense matrices over all rows and random effects: small models only."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.kernels.responses import fill_terms
from crosslevel.likelihood.generalized import Layout
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseState:
    parameters: FloatArray
    factors: tuple[FloatArray, ...]
    deviance: float
    u: tuple[FloatArray, ...]
    eta: FloatArray
    shape: FloatArray
    terms: FloatArray
    inverse: FloatArray
    lam: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseLaplace:
    rows: ResponseRows
    nodes: int = 1

    @property
    def layout(self) -> Layout:
        return Layout.of(self.rows)

    def z(self) -> FloatArray:
        parts = []
        for term in self.rows.terms:
            block = np.zeros((self.rows.n, term.n_levels * term.q))
            for i in range(self.rows.n):
                block[i, term.codes[i] * term.q : (term.codes[i] + 1) * term.q] = term.z[i]
            parts.append(block)
        return np.hstack(parts)

    def terms(self, eta: FloatArray, shape: FloatArray) -> FloatArray:
        out = np.empty((4, self.rows.n))
        fill_terms(self.rows.family.code, self.rows.y, self.rows.size, self.rows.weight, eta, shape, out)
        return out

    def value(self, parameters: FloatArray, near: Any = None) -> DenseState:
        rows, layout = self.rows, self.layout
        factors = tuple(
            term.structure.factor(parameters[part]) for term, part in zip(rows.terms, layout.parts, strict=True)
        )
        lam = np.zeros((0, 0))
        for term, factor in zip(rows.terms, factors, strict=True):
            block = np.kron(np.eye(term.n_levels), factor)
            lam = np.block([[lam, np.zeros((len(lam), len(block)))], [np.zeros((len(block), len(lam))), block]])
        m = self.z() @ lam
        shape = rows.family.shape(parameters[layout.shape])
        fixed = rows.offset + rows.x @ parameters[layout.beta]
        u = np.zeros(m.shape[1]) if near is None else np.concatenate([part.ravel() for part in near.u])

        def height(u: FloatArray) -> float:
            return float(-self.terms(fixed + m @ u, shape)[0].sum() + 0.5 * u @ u)

        for _ in range(200):
            terms = self.terms(fixed + m @ u, shape)
            hessian = np.eye(len(u)) + (m * np.maximum(-terms[2], 0.0)[:, None]).T @ m
            step = -np.linalg.solve(hessian, u - m.T @ terms[1])
            share, now = 1.0, height(u)
            while height(u + share * step) > now + 1e-12 * abs(now) and share > 1e-10:
                share *= 0.5
            u = u + share * step
            if np.abs(step).max() < 1e-12:
                break
        eta = fixed + m @ u
        terms = self.terms(eta, shape)
        hessian = np.eye(len(u)) + (m * -terms[2][:, None]).T @ m
        deviance = -2.0 * (terms[0].sum() + rows.constant) + u @ u + np.linalg.slogdet(hessian)[1]
        split, done = [], 0
        for term in rows.terms:
            split.append(u[done : done + term.n_levels * term.q].reshape(term.n_levels, term.q))
            done += term.n_levels * term.q
        return DenseState(
            parameters=parameters, factors=factors, deviance=float(deviance), u=tuple(split), eta=eta, shape=shape,
            terms=terms, inverse=np.linalg.inv(hessian), lam=lam,
        )  # fmt: skip

    def gradient(self, at: DenseState) -> FloatArray:
        """By central differences: slow, and independent of every formula."""
        out = np.empty(self.layout.size)
        for j in range(len(out)):
            ends = []
            for step in (2e-4, 1e-4, -1e-4, -2e-4):
                moved = at.parameters.copy()
                moved[j] += step
                ends.append(self.value(moved, at).deviance)
            out[j] = (8.0 * (ends[1] - ends[2]) - (ends[0] - ends[3])) / 12e-4
        return out
