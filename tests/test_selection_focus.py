"""Context-focused selection: its numbers against whole n x n matrices, its choices, averages, and wrong input."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.inference.focus import Components, FocusedError, gls_covariance
from crosslevel.inference.growth_curve import inflation, spent
from crosslevel.selection.asked import build_search
from crosslevel.selection.focus import Focus, FocusJudge, focused_errors, whole_factor
from crosslevel.selection.record import Selection
from crosslevel.selection.search import Search

FORMULA = "y ~ x1 + x2 + z + x1:z + (x1 + x2 | g)"


def frame(seed: int = 1, *, n_clusters: int = 18) -> pd.DataFrame:
    """Rows of clusters of unlike sizes, whose predictors are far from zero."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_clusters), rng.integers(5, 16, n_clusters))
    root = np.array([[0.8, 0.0, 0.0], [0.3, 0.5, 0.0], [-0.4, 0.2, 0.4]])
    effects = rng.standard_normal((n_clusters, 3)) @ root.T
    x = rng.standard_normal((len(codes), 2)) + rng.standard_normal((n_clusters, 2))[codes] + 3.0
    z = rng.standard_normal(n_clusters)
    y = effects[codes, 0] + np.sum((1.0 + effects[codes, 1:]) * x, axis=1) + z[codes] * (1.0 + 0.5 * x[:, 0])
    y = y + 0.7 * rng.standard_normal(len(codes))
    return pd.DataFrame({"y": y, "x1": x[:, 0], "x2": x[:, 1], "z": z[codes], "g": codes})


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return frame()


@pytest.fixture(scope="module")
def search(data: pd.DataFrame) -> Search:
    maximal = cl.mixed(FORMULA, data)
    return build_search(maximal, keep=None, context=None, group=None, seed=None)


@pytest.fixture(scope="module")
def found(data: pd.DataFrame) -> Selection:
    return cl.select(FORMULA, data, criterion="focus", progress=False)


@dataclass(frozen=True)
class Dense:
    """X, Z and clusters as rows."""

    X: np.ndarray
    Z: np.ndarray
    codes: np.ndarray

    def covariance(self, components: Components) -> np.ndarray:
        """V, n x n."""
        psi = components.factor @ components.factor.T
        within = self.codes[:, None] == self.codes[None, :]
        return components.sigma**2 * (np.eye(len(self.Z)) + within * (self.Z @ psi @ self.Z.T))

    def sandwich(self, used: Components, truth: Components) -> np.ndarray:
        weights = np.linalg.inv(self.covariance(used)) @ self.X
        bread = np.linalg.inv(self.X.T @ weights)
        return np.asarray(bread @ weights.T @ self.covariance(truth) @ weights @ bread)


@pytest.fixture(scope="module")
def dense(data: pd.DataFrame) -> Dense:
    one, x1, x2, z = np.ones(len(data)), *(data[name].to_numpy() for name in ("x1", "x2", "z"))
    return Dense(
        X=np.column_stack([one, x1, x2, z, x1 * z]), Z=np.column_stack([one, x1, x2]), codes=data["g"].to_numpy()
    )


def components(search: Search, *blocks: tuple[str, ...]) -> tuple[Components, object]:
    """Covariance of a candidate, and the candidate."""
    by_effect = {unit.effects[0]: unit for unit in search.units}
    candidate = search.candidate(search.structure([[by_effect[name] for name in block] for block in blocks]))
    return Components(factor=whole_factor(search, candidate), sigma=candidate.solution.sigma), candidate


@pytest.mark.parametrize(
    "blocks",
    [
        (("Intercept", "x1", "x2"),),
        (("Intercept", "x2"), ("x1",)),
        (("Intercept",), ("x1", "x2")),
        (("Intercept", "x1"),),
        (("x1",),),
    ],
)
def test_the_variance_under_another_covariance(
    search: Search, dense: Dense, blocks: tuple[tuple[str, ...], ...]
) -> None:
    truth, _ = components(search, ("Intercept", "x1", "x2"))
    used, candidate = components(search, *blocks)
    reduced = search.design.reduced
    assert search.design.fixed_names == ("Intercept", "x1", "x2", "z", "x1:z")
    np.testing.assert_allclose(gls_covariance(reduced, used, truth), dense.sandwich(used, truth), rtol=1e-9, atol=1e-12)
    # and if it is the true one, it is the model's own
    np.testing.assert_allclose(gls_covariance(reduced, used, used), candidate.solution.vcov, rtol=1e-9, atol=1e-12)
