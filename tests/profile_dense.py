"""Brute-force twin of the profile likelihood: the dense covariance of all rows, scipy, and one parameter held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

import crosslevel as cl

WORST = 1e10


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Random effects of one grouping factor: columns Z (n, q), their names, and how they covary."""

    group: str
    codes: np.ndarray
    Z: np.ndarray
    names: tuple[str, ...]
    kind: str = "us"

    @cached_property
    def same(self) -> np.ndarray:
        """(n, n) whether two rows share a level."""
        return self.codes[:, None] == self.codes

    @property
    def q(self) -> int:
        return len(self.names)

    @property
    def n_free(self) -> int:
        return {"us": self.q * (self.q + 1) // 2, "diag": self.q, "cs": 2, "ar1": 2}.get(self.kind, self.q + 1)

    @property
    def parameters(self) -> list[str]:
        joined = f"({','.join(self.names)}|{self.group})"
        if self.kind in ("cs", "ar1"):
            return [f"sd{joined}", f"cor{joined}"]
        sds = [f"sd({name}|{self.group})" for name in self.names]
        if self.kind == "diag":
            return sds
        if self.kind in ("hcs", "har1"):
            return [*sds, f"cor{joined}"]
        pairs = [(a, b) for i, a in enumerate(self.names) for b in self.names[i + 1 :]]
        return [*sds, *(f"cor({a},{b}|{self.group})" for a, b in pairs)]

    def psi(self, free: np.ndarray, held: str | None, value: float) -> np.ndarray:
        """Covariance matrix (q, q) of the effects, from numbers without bounds and the parameter that is held."""
        if self.kind != "us":
            return self._tied(free, held, value)
        q, order = self.q, list(range(self.q))
        inside = held in self.parameters
        if inside and held is not None:
            named = held[held.index("(") + 1 : held.index("|")].split(",")
            first = [self.names.index(name) for name in named]
            order = first + [k for k in order if k not in first]
        root = np.zeros((q, q))
        root[np.tril_indices(q)] = free
        if inside and held is not None and held.startswith("sd"):
            root[0, 0] = value
        elif inside:
            root[1, :2] = abs(root[1, 1]) * np.array([value, np.sqrt(1.0 - value**2)])
            root[0, 0] = abs(root[0, 0])
        out = np.empty((q, q))
        out[np.ix_(order, order)] = root @ root.T
        return out

    def _tied(self, free: np.ndarray, held: str | None, value: float) -> np.ndarray:
        q, parameters = self.q, self.parameters
        low = -1.0 / (q - 1) if self.kind in ("cs", "hcs") else -1.0
        sizes = np.array(free, dtype=float)
        if self.kind != "diag":
            sizes[-1] = low + (1.0 - low) * np.sin(0.5 * free[-1]) ** 2
        if self.kind in ("hcs", "har1"):
            sizes[:q] = sizes[:q] ** 2  # smooth where one of them is zero
        if held in parameters:
            sizes[parameters.index(held)] = value
        correlation = np.eye(q)
        if self.kind in ("cs", "hcs"):
            correlation = np.full((q, q), sizes[-1]) + (1.0 - sizes[-1]) * np.eye(q)
        elif self.kind in ("ar1", "har1"):
            correlation = sizes[-1] ** np.abs(np.subtract.outer(np.arange(q), np.arange(q)))
        sd = np.full(q, sizes[0]) if self.kind in ("cs", "ar1") else np.abs(sizes[:q])
        return correlation * np.outer(sd, sd)


def one_sd(residual: np.ndarray, held: str | None, value: float, n: int) -> np.ndarray:
    """Independent residuals of equal variance; `residual` holds sigma."""
    return np.eye(n) * (value if held == "sigma" else residual[0]) ** 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Twin:
    """A model: y (n,), X (n, p) with names, blocks of random effects, and the covariance of the residuals.

    residual : of its free numbers, the parameter held, its value and n, the covariance (n, n).
    residual_names : its parameters.
    residual_start : its free numbers to start from.
    """

    y: np.ndarray
    X: np.ndarray
    names: tuple[str, ...]
    blocks: tuple[Block, ...]
    residual: Callable[[np.ndarray, str | None, float, int], np.ndarray] = one_sd
    residual_names: tuple[str, ...] = ("sigma",)
    reml: bool = False
    residual_start: tuple[float, ...] = (1.0,)

    @property
    def parameters(self) -> list[str]:
        own = [name for block in self.blocks for name in block.parameters]
        return [*self.names, *own, *self.residual_names]

    def covariance(self, free: np.ndarray, held: str | None, value: float) -> np.ndarray:
        n, start = len(self.y), 0
        out = np.zeros((n, n))
        for block in self.blocks:
            psi = block.psi(free[start : start + block.n_free], held, value)
            start += block.n_free
            out += (block.Z @ psi @ block.Z.T) * block.same
        return out + self.residual(free[start:], held, value, n)

    def deviance(self, free: np.ndarray, held: str | None, value: float) -> float:
        """-2 log-likelihood, the coefficients at their best."""
        y, X = self.y, self.X
        if held in self.names:
            j = self.names.index(held)
            y, X = y - value * X[:, j], np.delete(X, j, axis=1)
        try:
            root = np.linalg.cholesky(self.covariance(free, held, value))
        except np.linalg.LinAlgError:
            return WORST
        white = solve_triangular(root, np.column_stack([X, y]), lower=True)
        beta = np.linalg.lstsq(white[:, :-1], white[:, -1], rcond=None)[0]
        error = white[:, -1] - white[:, :-1] @ beta
        nu = len(y) - (X.shape[1] if self.reml else 0)
        out = 2.0 * np.log(np.diag(root)).sum() + error @ error + nu * np.log(2.0 * np.pi)
        return float(out + (np.linalg.slogdet(white[:, :-1].T @ white[:, :-1])[1] if self.reml else 0.0))

    def least(self, held: str | None, value: float, starts: Sequence[np.ndarray]) -> float:
        """Smallest deviance with a parameter held, from several starts."""
        rough = [minimize(self.deviance, start, args=(held, value), method="BFGS") for start in starts]
        best = min(rough, key=lambda found: found.fun)
        options = {"gtol": 1e-7}
        fine = minimize(self.deviance, best.x, args=(held, value), method="BFGS", jac="3-point", options=options)
        return float(min(best.fun, fine.fun))

    def starts(self, spread: float) -> list[np.ndarray]:
        """Two starts: unequal sizes, without and with correlations."""
        plain, related = [], []
        for block in self.blocks:
            for k, start in enumerate((plain, related)):
                if block.kind == "us":
                    root = np.diag(np.linspace(1.0, 0.5, block.q)) + np.tril(np.full((block.q, block.q), 0.3 * k), -1)
                    start.append(spread * root[np.tril_indices(block.q)])
                else:
                    sizes = np.full(block.n_free, spread)
                    start.append(sizes if block.kind == "diag" else np.append(sizes[1:], 1.2 + 0.5 * k))
        return [np.concatenate([*start, self.residual_start]) for start in (plain, related)]


@cache
def small_frame():
    """72 rows in 12 groups, crossed with 6 others."""
    rng = np.random.default_rng(11)
    n = 72
    g, h = rng.permutation(np.arange(n) % 12), rng.integers(0, 6, n)
    x, z = rng.normal(size=n), rng.normal(size=n)
    effects = rng.normal(size=(12, 3)) @ np.array([[1.0, 0.4, -0.3], [0.0, 0.7, 0.3], [0.0, 0.0, 0.6]])
    s = np.where(rng.random(n) < 0.5, "a", "b")
    sd = np.where(s == "a", 0.8, 1.2)
    y = 1.0 + 0.5 * x + effects[g, 0] + effects[g, 1] * x + effects[g, 2] * z + 0.8 * rng.normal(size=6)[h]
    y += sd * rng.normal(size=n)
    frame = pd.DataFrame({"y": y, "x": x, "z": z, "g": g.astype(str), "h": h.astype(str), "s": s})
    frame["w"] = rng.uniform(0.5, 2.0, n)
    frame["t"] = frame.groupby("g").cumcount()
    return frame


def block(group, names, kind="us"):
    frame = small_frame()
    columns = {"Intercept": np.ones(len(frame)), "x": frame["x"], "z": frame["z"]}
    codes = pd.Categorical(frame[group]).codes
    return Block(group=group, codes=codes, Z=np.column_stack([columns[k] for k in names]), names=names, kind=kind)


def by_stratum(free, held, value, n):
    sizes = {"sigma[a]": free[0], "sigma[b]": free[1]}
    if held in sizes:
        sizes[held] = value
    return np.diag(np.where(small_frame()["s"] == "a", sizes["sigma[a]"], sizes["sigma[b]"]) ** 2)


def autoregressive(free, held, value, n):
    frame = small_frame()
    sigma, rho = value if held == "sigma" else free[0], value if held == "rho" else np.tanh(free[1])
    apart = np.abs(np.subtract.outer(frame["t"].to_numpy(), frame["t"].to_numpy()))
    same = frame["g"].to_numpy()[:, None] == frame["g"].to_numpy()
    return np.where(same, rho**apart, 0.0) * sigma**2


def weighted(free, held, value, n):
    return np.diag((value if held == "sigma" else free[0]) ** 2 / small_frame()["w"].to_numpy())


def given(free, held, value, n):
    return np.diag(small_frame()["w"].to_numpy() ** 2)


ONE, IX, XZ, ALL = ("Intercept",), ("Intercept", "x"), ("x", "z"), ("Intercept", "x", "z")

TWINS = {
    "one effect": ("y ~ x + (1 | g)", {}, [("g", ONE)], {}),
    "two effects": ("y ~ x + (x | g)", {}, [("g", IX)], {}),
    "three effects": ("y ~ x + (x + z | g)", {}, [("g", ALL)], {}),
    "uncorrelated": ("y ~ x + (x || g)", {}, [("g", IX, "diag")], {}),
    "equal": ("y ~ x + cs(0 + x + z | g)", {}, [("g", XZ, "cs")], {}),
    "unequal": ("y ~ x + hcs(x + z | g)", {}, [("g", ALL, "hcs")], {}),
    "in order": ("y ~ x + ar1(x + z | g)", {}, [("g", ALL, "ar1")], {}),
    "unequal in order": ("y ~ x + har1(x + z | g)", {}, [("g", ALL, "har1")], {}),
    "crossed": ("y ~ x + (x | g) + (1 | h)", {}, [("g", IX), ("h", ONE)], {}),
    "strata": (
        "y ~ x + (x | g)", {"residual": cl.residual.By("s")}, [("g", IX)],
        {"residual": by_stratum, "residual_names": ("sigma[a]", "sigma[b]"), "residual_start": (1.0, 1.0)},
    ),
    "occasions": (
        "y ~ x + (x | g)", {"residual": cl.residual.AR1("t", within="g")}, [("g", IX)],
        {"residual": autoregressive, "residual_names": ("rho", "sigma"), "residual_start": (1.0, 0.1)},
    ),
    "weighted": ("y ~ x + (x | g)", {"weights": cl.Precision("w")}, [("g", IX)], {"residual": weighted}),
    "known": (
        "y ~ x + (x | g)", {"residual": cl.residual.Known("w")}, [("g", IX)],
        {"residual": given, "residual_names": (), "residual_start": ()},
    ),
}  # fmt: skip


def twin_of(key, *, reml=False):
    _, _, blocks, more = TWINS[key]
    frame = small_frame()
    X = np.column_stack([np.ones(len(frame)), frame["x"]])
    return Twin(
        y=frame["y"].to_numpy(), X=X, names=IX, blocks=tuple(block(*each) for each in blocks), reml=reml, **more
    )  # fmt: skip


@cache
def small_fit(key, method="reml"):
    formula, arguments, _, _ = TWINS[key]
    return cl.mixed(formula, small_frame(), method=method, **arguments)
