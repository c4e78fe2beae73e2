"""Small generalized models made of simulated rows, as the solver takes them."""

import numpy as np
import pandas as pd

from crosslevel.design import Design, build_design
from crosslevel.design.outcome import AskedOutcome
from crosslevel.design.response_rows import ResponseRows, response_rows
from crosslevel.families import Family, family_of


def rows_of(formula: str, data: pd.DataFrame, family: "str | Family") -> tuple[Design, ResponseRows]:
    """The design of a formula, and its rows."""
    chosen = family_of(family)
    design = build_design(formula, data, outcome=AskedOutcome(family=chosen))
    assert design.outcome is not None
    return design, response_rows(design, chosen, design.outcome)


def simulated(seed: int, *, clusters: int = 25, size: int = 8, sd: float = 1.0, slope_sd: float = 0.0) -> pd.DataFrame:
    """Rows with a binary `y`, a count and an ordered outcome that share one linear predictor, and six levels of `h`."""
    rng = np.random.default_rng(seed)
    n = clusters * size
    group = np.repeat(np.arange(clusters), size)
    x, z = rng.normal(size=n), rng.normal(size=n)
    crossed = rng.integers(0, 6, size=n)
    eta = -0.3 + 0.8 * x + np.array([-0.9, 0.6, 0.0, 0.7, -0.8, 0.4])[crossed] * sd
    eta += (sd * rng.normal(size=clusters))[group] + (slope_sd * rng.normal(size=clusters))[group] * x
    latent = eta + rng.logistic(size=n)
    return pd.DataFrame({
        "g": group, "h": crossed, "x": x, "z": z, "y": (latent > 0.0).astype(int),
        "count": rng.poisson(np.exp(0.5 * eta)), "rank": np.digitize(latent, [-1.0, 0.5, 2.0]),
    })  # fmt: skip
