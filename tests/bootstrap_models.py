"""Fits that the tests of the bootstrap share, made once."""

from functools import cache

import numpy as np
import pandas as pd
from reference_cases import load_data

import crosslevel as cl
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.bootstrap.setting import Setting


def clustered(*, clusters: int = 14, seed: int = 5, slope: float = 0.5, rows: int = 9) -> pd.DataFrame:
    """Unequal clusters with a slope that varies, a predictor of clusters, strata, and weights."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(rows - 4, rows + 5, clusters)
    g = np.repeat(np.arange(clusters), sizes)
    x, w = rng.normal(2.0, 1.0, len(g)), rng.normal(size=clusters)[g]
    u, b = rng.normal(0, 1.0, clusters)[g], rng.normal(0, slope, clusters)[g]
    frame = pd.DataFrame(
        {"g": [f"c{k}" for k in g], "x": x, "w": w, "half": np.where(np.arange(len(g)) % 2 == 0, "a", "b")}
    )
    frame["y"] = 1.0 + 0.5 * x + 0.3 * w + u + b * x + rng.normal(size=len(g))
    frame["precision"] = rng.uniform(0.5, 2.0, len(g))
    frame["times"] = rng.integers(1, 4, len(g)).astype(float)
    frame["sampled"] = rng.uniform(1.0, 2.0, clusters)[g]
    return frame


FORMULAS = {
    "one effect": ("y ~ x + w + (1 | g)", {}),
    "two effects": ("y ~ x + w + (x | g)", {}),
    "two blocks": ("y ~ x * w + (x || g)", {}),
    "three effects": ("y ~ x + (x + precision | g)", {}),
    "blocks of both kinds": ("y ~ x + (x | g) + (0 + precision | g)", {}),
    "no intercept": ("y ~ 0 + x + (0 + x | g)", {}),
    "not anchored": ("y ~ 1 + (0 + x | g)", {}),
    "ml": ("y ~ x + w + (x | g)", {"method": "ml"}),
    "precisions": ("y ~ x + w + (x | g)", {"weights": cl.Precision("precision")}),
    "frequencies": ("y ~ x + w + (x | g)", {"weights": cl.Frequency("times")}),
    "tied": ("y ~ x + w + cs(0 + half | g)", {}),
}
"""Models of `clustered`, by name, with what else is given."""


@cache
def fitted(name: str) -> MixedFit:
    """One of the models above."""
    formula, given = FORMULAS[name]
    return cl.mixed(formula, clustered(), **given)


@cache
def of_file(formula: str, name: str, **given: str) -> MixedFit:
    """A fit to one of the reference data sets."""
    return cl.mixed(formula, load_data(name), **given)


def setting_of(fit: MixedFit) -> Setting:
    """What stays the same in all refits of a model with one grouping factor."""
    return Setting.of(fit.design, fit.solution, reml=fit.method == "reml")


def repeated(
    frame: pd.DataFrame, group: str, times: np.ndarray, levels: list[str], inner: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Rows of each level as often as `times` says, every copy a level of its own; likewise of the factors inside."""
    key, parts = frame[group].astype(str).to_numpy(), []
    for level, count in zip(levels, times, strict=True):
        for copy in range(int(count)):
            part = frame[key == str(level)].copy()
            for column in (group, *inner):
                part[column] = part[column].astype(str) + f"#{copy}"
            parts.append(part)
    return pd.concat(parts, ignore_index=True)
