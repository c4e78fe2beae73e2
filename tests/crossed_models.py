"""Small models with several grouping factors that are hard to fit: their cross-products, made without the formula."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from small_models import structure

from crosslevel.design import CrossProducts
from crosslevel.design.crossed import cross_factors
from crosslevel.design.crossing import Crossing
from crosslevel.design.factors import GroupingFactor

Blocks = tuple[tuple[str, list[int]], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Grouping:
    """One grouping factor: levels of the rows (several for multiple membership, shares equal), columns, and blocks."""

    codes: tuple[np.ndarray, ...]
    z: list[int]
    blocks: Blocks

    @property
    def n_levels(self) -> int:
        return 1 + max(int(codes.max()) for codes in self.codes)

    @property
    def indicator(self) -> np.ndarray:
        """(n, J) how much of each level a row has."""
        return sum(np.eye(self.n_levels)[codes] for codes in self.codes) / len(self.codes)


@dataclass(frozen=True, kw_only=True, eq=False)
class SeveralModel:
    """Columns C (n, m), of which the first is the intercept, the response, fixed columns, grouping factors."""

    C: np.ndarray
    y: np.ndarray
    x: list[int]
    groupings: Sequence[Grouping]

    @property
    def crossing(self) -> Crossing:
        rows = np.vstack([self.C.T, self.y])
        names = (*(f"c{j}" for j in range(self.C.shape[1])), "y")
        products = CrossProducts.from_rows(rows, np.zeros(len(self.y), dtype=np.int32), names=names, levels=(0,))
        factors = [
            GroupingFactor(
                name=f"g{k}", group=(f"g{k}",), levels=tuple(range(one.n_levels)), given=one.codes[0],
                z=np.array(one.z, dtype=np.int64), structure=structure(*one.blocks),
            )
            for k, one in enumerate(self.groupings)
        ]  # fmt: skip
        share = [None if len(one.codes) == 1 else np.full(len(self.y), 1.0 / len(one.codes)) for one in self.groupings]
        members = [[(codes, share[k]) for codes in one.codes] for k, one in enumerate(self.groupings)]
        return cross_factors([rows], products, factors, members, x=np.array(self.x, dtype=np.int64), constant=0)

    @property
    def leaves_residual(self) -> bool:
        """Whether fixed and random effects together do not reproduce any outcome."""
        scaled = self.C / np.sqrt(np.mean(self.C**2, axis=0))
        columns = [scaled[:, self.x]]
        columns += [
            (one.indicator[:, :, None] * scaled[:, None, one.z]).reshape(len(self.y), -1) for one in self.groupings
        ]
        return bool(np.linalg.matrix_rank(np.hstack(columns)) < len(self.y))


DESIGNS = ("crossed", "nested", "nested and crossed", "three crossed", "memberships")


def levels(rng: np.random.Generator, n: int) -> np.ndarray:
    """Levels of rows, 4 to 30 of them, equally frequent or a few with most of the rows; all occur."""
    count = int(rng.choice([4, 6, 10, 20, 30]))
    share = rng.dirichlet(np.full(count, rng.choice([0.3, 2.0, 100.0])))
    return np.unique(rng.choice(count, n, p=share), return_inverse=True)[1].astype(np.int32)


def grouping_codes(rng: np.random.Generator, design: str, n: int) -> list[tuple[np.ndarray, ...]]:
    """Levels of the rows in each factor of one of the `DESIGNS`."""
    first, second = levels(rng, n), levels(rng, n)
    if design in ("nested", "nested and crossed"):
        inner = np.unique(first * 4 + rng.integers(0, 4, n), return_inverse=True)[1].astype(np.int32)
        return [(first,), (inner,)] if design == "nested" else [(first,), (inner,), (second,)]
    if design == "three crossed":
        return [(first,), (second,), (levels(rng, n),)]
    if design == "memberships":
        other = (second + 1 + rng.integers(0, max(second.max(), 1), n)) % (second.max() + 1)
        return [(first,), (second, other.astype(np.int32))]
    return [(first,), (second,)]


def hard_several(seed: int, *, kinds: tuple[str, ...] = ("us", "us", "diag", "single")) -> SeveralModel | None:
    """Few levels and few or many rows; any number of effects do not vary; None where nothing is left as a residual.

    Some slopes are nearly the same, predictors are shifted or in other units, an effect is not fixed.
    """
    rng = np.random.default_rng(seed)
    n, m = int(rng.choice([25, 40, 80, 200, 500])), int(rng.integers(1, 5))
    C = rng.normal(size=(n, m)) + rng.choice([0.0, 0.0, 5.0, 1e4], m)
    C[:, 0] = 1.0
    if m > 2 and rng.random() < 0.3:
        C[:, 2] = C[:, 1] + 1e-2 * C[:, 1].std() * rng.normal(size=n)
    C[:, 1:] *= 10.0 ** rng.choice([0.0, 0.0, 6.0, -3.0], m - 1)
    codes = grouping_codes(rng, str(rng.choice(DESIGNS)), n)
    if min(int(own[0].max()) for own in codes) < 2:
        return None

    groupings, y = [], rng.normal(size=n) * rng.choice([1.0, 1.0, 0.2])
    standardised = np.column_stack([np.ones(n), (C[:, 1:] - C[:, 1:].mean(axis=0)) / C[:, 1:].std(axis=0)])
    if "cs" in kinds:  # tied effects need variables in one unit
        C[:, 1:] = standardised[:, 1:] + 1.0

    for own in codes:
        kind = str(rng.choice(kinds))
        slopes = rng.permutation(np.arange(1, m))[: rng.integers(0, m)].tolist() if rng.random() < 0.6 else []
        z = [0, *sorted(slopes)]
        q = len(z)
        blocks = tuple(("us", [k]) for k in range(q)) if kind == "single" else ((kind, list(range(q))),)
        groupings.append(Grouping(codes=own, z=z, blocks=blocks))
        varying = np.flatnonzero(rng.random(q) < 0.5)
        factor = np.zeros((q, q))
        factor[np.ix_(varying, varying)] = rng.normal(size=(len(varying), len(varying))) * rng.choice([0.05, 0.3, 1.5])
        b = rng.normal(size=(groupings[-1].n_levels, q)) @ factor.T
        y = y + ((groupings[-1].indicator @ b) * standardised[:, z]).sum(axis=1)
    x = list(range(m)) if rng.random() < 0.85 else [0]
    model = SeveralModel(C=C, y=y, x=x, groupings=groupings)
    return model if model.leaves_residual else None
