"""Brute-force twin of generalized models with several grouping factors: Z of all random effects as one dense matrix."""

from dataclasses import dataclass, replace

import numpy as np
from small_models import structure

from crosslevel.design.coordinates import Coordinates
from crosslevel.design.response_rows import ResponseRows, ResponseTerm
from crosslevel.families.base import Family, Terms

SHAPES = {"negative binomial": (0.4,), "gamma": (0.3,), "beta": (1.2,), "beta-binomial": (0.7,)}


def term(
    codes: np.ndarray | list[np.ndarray],
    z: np.ndarray,
    *blocks: tuple[str, list[int]],
    weight: np.ndarray | None = None,
    shares: list[np.ndarray] | None = None,
) -> ResponseTerm:
    """A grouping factor; several codes for multiple membership."""
    several = isinstance(codes, list)
    every = codes if several else [codes]
    n_levels = 1 + max(int(own.max()) for own in every)
    return ResponseTerm(
        structure=structure(*blocks),
        basis=np.eye(z.shape[1]),
        codes=np.asarray(every[0], dtype=np.int32),
        z=np.ascontiguousarray(z),
        n_levels=n_levels,
        weight=np.ones(n_levels) if weight is None else weight,
        members=tuple(zip((own.astype(np.int32) for own in codes), shares, strict=True)) if several else (),
    )


def rows_of(
    family: Family, x: np.ndarray, terms: list[ResponseTerm], *, eta: np.ndarray, shape: np.ndarray, seed: int
) -> ResponseRows:
    """Rows with outcomes drawn at linear predictors eta, with trials, weights and an offset."""
    rng = np.random.default_rng(seed)
    n, p = x.shape
    size = rng.integers(1, 6, n).astype(float) if family.has_trials else np.ones(n)
    if family.name == "gaussian working":
        size = rng.uniform(0.5, 2.0, n)
    y = family.draw(rng, eta, size, shape)
    coordinates = Coordinates(shift=np.zeros(p + 1), scale=np.ones(p + 1), removed=np.zeros(p), intercept=0)
    return ResponseRows(
        family=family, y=y, size=size, weight=rng.uniform(0.5, 2.0, n), offset=rng.normal(size=n) * 0.1, x=x,
        coordinates=coordinates, terms=tuple(terms), order=rng.permutation(n), start=None,
        n_categories=len(shape) + 2 if family.kind == "ordered" else 0,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseSeveral:
    """Laplace's approximation at given Lambdas; columns of Z (n, N) level by level, factor after factor."""

    rows: ResponseRows
    factors: tuple[np.ndarray, ...]
    beta: np.ndarray
    shape: np.ndarray

    @property
    def Z(self) -> np.ndarray:  # noqa: N802
        parts = []
        for some in self.rows.terms:
            members = some.members or ((some.codes, None),)
            share = np.zeros((self.rows.n, some.n_levels))
            for codes, own in members:
                known = np.flatnonzero(codes >= 0)
                np.add.at(share, (known, codes[known]), 1.0 if own is None else own[known])
            parts.append((share[:, :, None] * some.z[:, None, :]).reshape(self.rows.n, -1))
        return np.hstack(parts)

    @property
    def Lambda(self) -> np.ndarray:  # noqa: N802
        blocks = [np.kron(np.eye(t.n_levels), f) for t, f in zip(self.rows.terms, self.factors, strict=True)]
        out = np.zeros((sum(len(b) for b in blocks),) * 2)
        done = 0
        for block in blocks:
            out[done : done + len(block), done : done + len(block)] = block
            done += len(block)
        return out

    @property
    def fixed(self) -> np.ndarray:
        return self.rows.offset + self.rows.x @ self.beta

    def terms(self, eta: np.ndarray) -> Terms:
        return self.rows.family.terms(self.rows.y, self.rows.size, eta, self.shape)

    def modes(self) -> np.ndarray:
        """u (N,) that minimises -l + u'u / 2, by damped Newton steps."""
        m, fixed, weight = self.Z @ self.Lambda, self.fixed, self.rows.weight

        def height(u: np.ndarray) -> float:
            return float(0.5 * u @ u - weight @ self.terms(fixed + m @ u).log_density)

        u = np.zeros(m.shape[1])
        for _ in range(300):
            terms = self.terms(fixed + m @ u)
            curved = np.eye(len(u)) - (m * (weight * terms.second)[:, None]).T @ m
            if np.linalg.eigvalsh(curved)[0] <= 0.0:
                curved = np.eye(len(u)) + (m * np.maximum(-weight * terms.second, 0.0)[:, None]).T @ m
            step = np.linalg.solve(curved, m.T @ (weight * terms.first) - u)
            share, now = 1.0, height(u)
            while height(u + share * step) > now + 1e-12 * (1.0 + abs(now)) and share > 1e-12:
                share *= 0.5
            u = u + share * step
            if np.abs(step).max() < 1e-13:
                break
        return u

    def curvature(self, u: np.ndarray) -> np.ndarray:
        """M (N, N) at u."""
        m = self.Z @ self.Lambda
        second = self.rows.weight * self.terms(self.fixed + m @ u).second
        return np.eye(len(u)) - (m * second[:, None]).T @ m

    def deviance(self) -> float:
        u = self.modes()
        value = self.rows.weight @ self.terms(self.fixed + self.Z @ self.Lambda @ u).log_density
        sign, log_det = np.linalg.slogdet(self.curvature(u))
        assert sign > 0.0
        return float(-2.0 * value + u @ u + log_det)


def at_parameters(rows: ResponseRows, parameters: np.ndarray) -> DenseSeveral:
    """The twin at [theta, beta, shape]."""
    factors, done = [], 0
    for some in rows.terms:
        theta = parameters[done : done + some.structure.n_theta]
        factors.append(some.structure.factor(theta))
        done += len(theta)
    p = rows.x.shape[1]
    return DenseSeveral(
        rows=rows, factors=tuple(factors), beta=parameters[done : done + p],
        shape=rows.family.shape(parameters[done + p :]) if len(parameters) > done + p else np.zeros(0),
    )  # fmt: skip


def at_psis(twin: DenseSeveral, psis: tuple[np.ndarray, ...]) -> DenseSeveral:
    """The same model with covariances Psi, by symmetric roots."""
    roots = []
    for psi in psis:
        values, vectors = np.linalg.eigh(psi)
        roots.append((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
    return replace(twin, factors=tuple(roots))
