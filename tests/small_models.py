"""Small models for tests: the engine's record and the dense twin's of the same rows."""

from dataclasses import dataclass

import dense
import numpy as np

from crosslevel.covariance import COVARIANCES, BlockStructure
from crosslevel.design import CrossProducts
from crosslevel.design.reduced import Reduced, reduce_products
from crosslevel.likelihood.profiled import ProfiledDeviance


def structure(*blocks: tuple[str, list[int]]) -> BlockStructure:
    """Blocks by the name of their covariance structure and the positions of their effects."""
    return BlockStructure(
        kinds=tuple(COVARIANCES[name] for name, _ in blocks),
        columns=tuple(np.array(columns) for _, columns in blocks),
        q=sum(len(columns) for _, columns in blocks),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """Columns C (n, m), the response, clusters, and which columns are fixed and which vary between clusters.

    constant : position of the intercept among the columns, -1 if none is.
    """

    C: np.ndarray
    y: np.ndarray
    codes: np.ndarray
    x: list[int]
    z: list[int]
    blocks: tuple[tuple[str, list[int]], ...]
    constant: int = 0

    @property
    def structure(self) -> BlockStructure:
        return structure(*self.blocks)

    @property
    def data(self) -> dense.Data:
        """What the dense twin sees."""
        return dense.Data(y=self.y, X=self.C[:, self.x], Z=self.C[:, self.z], codes=self.codes)

    @property
    def products(self) -> CrossProducts:
        n_clusters = int(self.codes.max()) + 1
        names = (*(f"c{j}" for j in range(self.C.shape[1])), "y")
        rows = np.vstack([self.C.T, self.y])
        return CrossProducts.from_rows(rows, self.codes, names=names, levels=tuple(range(n_clusters)))

    @property
    def reduced(self) -> Reduced:
        return self.reduced_with(self.structure)

    def reduced_with(self, structure: BlockStructure) -> Reduced:
        """The same rows with another covariance structure."""
        return reduce_products(
            self.products,
            x=np.array(self.x, dtype=np.int64),
            y=self.C.shape[1],
            z=np.array(self.z, dtype=np.int64),
            structure=structure,
            constant=self.constant,
        )

    def criterion(self, *, reml: bool) -> ProfiledDeviance:
        return ProfiledDeviance(reduced=self.reduced, reml=reml)


def unbalanced(rng: np.random.Generator, n_clusters: int, largest: int, *, singles: int = 0) -> np.ndarray:
    """Codes of clusters of 1 .. `largest` rows, of which the first `singles` have one; rows in random order."""
    sizes = rng.integers(1, largest + 1, n_clusters)
    sizes[:singles] = 1
    return rng.permutation(np.repeat(np.arange(n_clusters), sizes)).astype(np.int32)


def random_model(
    seed: int,
    *,
    n_clusters: int = 6,
    largest: int = 9,
    singles: int = 2,
    blocks: tuple[tuple[str, list[int]], ...] = (("us", [0, 1, 2]),),
    extra: int = 1,
    intercept: str = "both",
) -> Model:
    """An unbalanced model with an intercept, a slope for each further effect, `extra` fixed columns, one of clusters.

    intercept : where the intercept stands: "both", "fixed", "random" or "neither".
    """
    rng = np.random.default_rng(seed)
    q = sum(len(columns) for _, columns in blocks)
    codes = unbalanced(rng, n_clusters, largest, singles=singles)
    n, m = len(codes), q + extra + 1
    C = rng.normal(size=(n, m)) + rng.normal(size=m)
    C[:, 0] = 1.0
    C[:, -1] = rng.normal(size=n_clusters)[codes]
    varying = list(range(q)) if intercept in ("both", "random") else list(range(1, q + 1))
    fixed = list(range(m)) if intercept in ("both", "fixed") else list(range(1, m))
    b = rng.normal(size=(n_clusters, q)) * rng.choice([0.1, 0.5, 2.0], q)
    y = C[:, fixed] @ rng.normal(size=len(fixed)) + (C[:, varying] * b[codes]).sum(axis=1) + rng.normal(size=n)
    return Model(C=C, y=y, codes=codes, x=fixed, z=varying, blocks=blocks)
