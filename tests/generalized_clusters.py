"""Small data of yes-or-no answers in schools, with weights of every kind."""

import numpy as np
import pandas as pd


def answers(seed: int = 1, n_clusters: int = 25, least: int = 6, most: int = 14) -> pd.DataFrame:
    """Answers y to x (rows) and z (schools) with a random intercept; weights f, w of rows and w2, f2 of schools."""
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(n_clusters), rng.integers(least, most + 1, n_clusters))
    n = len(school)
    x, z, u = rng.normal(size=n), rng.normal(size=n_clusters), rng.normal(size=n_clusters)
    eta = -0.3 + 0.7 * x + 0.5 * z[school] + 0.9 * u[school]
    return pd.DataFrame(
        {
            "y": (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(int),
            "x": x,
            "z": z[school],
            "school": school,
            "w": rng.lognormal(0.0, 0.5, n),
            "w2": rng.lognormal(0.0, 0.5, n_clusters)[school],
            "f": rng.integers(1, 4, n),
            "f2": rng.integers(1, 4, n_clusters)[school],
            "region": school // 5,
        }
    )
