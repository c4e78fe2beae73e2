"""Brute-force twin of generalized models with several grouping factors: Z of all random effects as one dense matrix."""

from dataclasses import dataclass, replace

import numpy as np
from small_models import structure

from crosslevel.design.coordinates import Coordinates
from crosslevel.design.response_rows import ResponseRows, ResponseTerm
from crosslevel.families import FAMILIES, Binomial, Ordinal
from crosslevel.families.base import Family, Terms
from crosslevel.families.gaussian import GaussianWorking

DESIGNS = ("crossed", "nested", "nested and crossed", "memberships", "one row each")

OTHERS = (Binomial(link="probit"), Binomial(link="cloglog"), Ordinal(link="probit"), GaussianWorking())
OBJECTS = {repr(one): one for one in (*(make() for make in FAMILIES.values()), *OTHERS)}
"""Every family and link once."""


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


def levels(rng: np.random.Generator, n: int, count: int) -> np.ndarray:
    return np.concatenate([np.arange(count), rng.integers(0, count, n - count)]).astype(np.int32)


def design_terms(rng: np.random.Generator, design: str, x: np.ndarray) -> list:
    """Grouping factors of a design, with slopes in some."""
    n, one = len(x), np.ones((len(x), 1))
    slope, three = x[:, :2], x[:, :3]
    first, second = levels(rng, n, 6), levels(rng, n, 5)
    if design == "crossed":
        return [term(first, slope, ("us", [0, 1])), term(second, slope, ("diag", [0, 1]))]
    if design == "nested":
        inner = (first * 3 + rng.integers(0, 3, n)).astype(np.int32)
        inner = np.unique(inner, return_inverse=True)[1].astype(np.int32)
        return [term(first, one, ("us", [0])), term(inner, slope, ("us", [0, 1]))]
    if design == "nested and crossed":
        inner = np.unique(first * 3 + rng.integers(0, 3, n), return_inverse=True)[1].astype(np.int32)
        return [
            term(second, three, ("cs", [0, 1, 2])), term(inner, one, ("us", [0])), term(first, slope, ("us", [0, 1])),
        ]  # fmt: skip
    if design == "memberships":
        other, third = levels(rng, n, 6)[::-1].copy(), rng.integers(-1, 6, n).astype(np.int32)
        shares = [np.full(n, 0.5), rng.uniform(0.1, 0.5, n), np.where(third >= 0, 0.2, 0.0)]
        return [term([first, other, third], slope, ("us", [0, 1]), shares=shares), term(second, one, ("us", [0]))]
    return [term(np.arange(n, dtype=np.int32), one, ("us", [0])), term(second, slope, ("us", [0, 1]))]


def model(design: str, family: Family, *, n: int = 45, seed: int = 1) -> tuple[ResponseRows, np.ndarray]:
    """Rows of a design, and parameters."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    terms = design_terms(rng, design, x)
    m = family.n_shape(5 if family.kind == "ordered" else None)
    working = rng.normal(size=m) * 0.3
    shape = family.shape(working) if m else np.zeros(0)
    theta = np.concatenate([0.6 * some.structure.nearest(np.eye(some.q)) for some in terms])
    theta = theta + 0.2 * rng.normal(size=len(theta))
    beta = np.array([0.3, -0.4, 0.2])
    eta = x @ beta + 0.7 * rng.normal(size=n)
    rows = rows_of(family, x, terms, eta=eta, shape=shape, seed=seed)
    return rows, np.concatenate([theta, beta, working])


def differences(value, parameters: np.ndarray, *, step: float = 2e-4) -> np.ndarray:
    """Gradient by differences of fourth order."""
    out = np.empty(len(parameters))
    for j in range(len(parameters)):
        move = np.zeros(len(parameters))
        move[j] = step
        ends = [value(parameters + m * move) for m in (-2.0, -1.0, 1.0, 2.0)]
        out[j] = (ends[0] - 8.0 * ends[1] + 8.0 * ends[2] - ends[3]) / (12.0 * step)
    return out


def free(q: int):
    """An unstructured block of q effects."""
    return structure(("us", list(range(q))))


def repeated(rows: ResponseRows, times: np.ndarray) -> ResponseRows:
    """Every row as often as `times` (n,) says, one by one."""
    index = np.repeat(np.arange(rows.n), times)
    terms = tuple(replace(some, codes=some.codes[index], z=some.z[index]) for some in rows.terms)
    return replace(
        rows, y=rows.y[index], size=rows.size[index], weight=rows.weight[index], offset=rows.offset[index],
        x=rows.x[index], terms=terms, order=np.arange(len(index)),
    )  # fmt: skip
