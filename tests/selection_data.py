"""Data with a known random-effects structure, for tests of its search."""

from __future__ import annotations

import numpy as np
import pandas as pd


def simulated(
    *, seed: int, clusters: int = 24, rows: int = 60, sds: tuple[float, ...] = (0.5, 0.4, 0.0, 0.3),
    correlation: float = 0.0, centre: tuple[float, ...] = (), noise: float = 1.0,
) -> pd.DataFrame:  # fmt: skip
    """y on x1, x2, .. and the cluster-level z, which acts on the intercept and on the slope of x1.

    Parameters
    ----------
    sds : standard deviations of the intercept and of the slopes.
    correlation : of the intercept with the first slope.
    centre : means of the predictors, 0 where there are none.
    """
    rng = np.random.default_rng(seed)
    k, g = len(sds) - 1, np.repeat(np.arange(clusters), rows)
    x = rng.standard_normal((len(g), k)) + np.array([*centre, *([0.0] * (k - len(centre)))])
    z = rng.standard_normal(clusters)
    effects = rng.standard_normal((clusters, k + 1))
    effects[:, 1] = correlation * effects[:, 0] + np.sqrt(1.0 - correlation**2) * effects[:, 1]
    effects *= np.array(sds)
    slopes = 0.3 + effects[:, 1:]
    slopes[:, 0] += 0.1 * z
    y = effects[g, 0] + 0.2 * z[g] + np.sum(x * slopes[g], axis=1) + noise * rng.standard_normal(len(g))
    frame = pd.DataFrame(x, columns=[f"x{j + 1}" for j in range(k)])
    return frame.assign(y=y, z=z[g], g=g)
