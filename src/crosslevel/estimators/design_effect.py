"""Design effects of a fitted mixed model."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.design.factors import GroupingFactor
from crosslevel.errors import CrosslevelError
from crosslevel.estimators import random
from crosslevel.inference.design_effect import ClusterSize, cluster_size, joint_effect

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit

COLUMNS = (
    "clusters", "rows", "mean_size", "size", "icc", "weighting", "design_effect", "conf_low", "conf_high",
    "effective_rows",
)  # fmt: skip
"""Columns of the frame."""


def design_effects(fit: "MixedFit", *, level: float) -> pd.DataFrame:
    """Design effects by grouping factor; see `asked.explained.design_effect`."""
    design = fit.design
    _require_equal_rows(design)
    places = random.intercepts(design)
    records, sizes = [], []
    for factor, place in zip(design.factors, places, strict=True):
        if place < 0:
            continue
        size = _size(design, factor)
        sizes.append(size)
        rho = fit.icc(factor.name, level=level)
        # 1 + (b - 1) rho rises with rho (b is at least 1), so that its ends are those of rho's interval
        ends = (rho.estimate, rho.conf_low, rho.conf_high)
        effects = [size.weighting * (1.0 + (size.effective - 1.0) * share) for share in ends]
        records.append((factor.name, *_record(size, rho.estimate, effects)))
    if len(records) > 1:
        records.append(("all", *_joint(fit, places, sizes, level)))
    return pd.DataFrame.from_records(records, columns=["group", *COLUMNS]).set_index("group")


def _record(size: ClusterSize, icc: float, effects: list[float]) -> tuple[float, ...]:
    """A row of the frame."""
    return (
        size.clusters, size.rows, size.mean, size.effective, icc, size.weighting, *effects, size.rows / effects[0]
    )  # fmt: skip


def _joint(fit: "MixedFit", places: tuple[int, ...], sizes: list[ClusterSize], level: float) -> tuple[float, ...]:
    """The row of all factors together, whose clusters have no one number or size."""
    components = fit.variance_components
    chosen = [(part, k) for part, k in zip(components, places, strict=True) if k >= 0]
    vcov = components[0].vcov
    residual = np.zeros(len(vcov))
    residual[-1] = 2.0 * components[0].sigma2
    effect = joint_effect(
        np.array([float(part.covariance[k, k]) for part, k in chosen]),
        components[0].sigma2,
        np.array([size.effective for size in sizes]),
        np.array([*(part.jacobian[k, k] for part, k in chosen), residual]),
        vcov,
        level,
    )
    weighting, rows = sizes[0].weighting, sizes[0].rows
    effects = [weighting * value for value in effect]
    return np.nan, rows, np.nan, np.nan, fit.icc().estimate, weighting, *effects, rows / effects[0]


def _size(design: Design, factor: GroupingFactor) -> ClusterSize:
    """Representative size of a factor's clusters."""
    weights = design.weights
    if weights is None or weights.is_frequency or weights.total is None:
        counts = design.sizes[design.factors.index(factor)]
        return cluster_size(counts.astype(np.float64), rows=design.nobs)
    sums = np.asarray(np.bincount(design.used_codes(factor), weights.total, factor.n_levels), dtype=np.float64)
    return cluster_size(sums, rows=design.nobs, squares=float(np.sum(weights.total**2)))


def _require_equal_rows(design: Design) -> None:
    """Refuse rows that differ in variance or are correlated in other ways than through their clusters."""
    if not any(place >= 0 for place in random.intercepts(design)):
        names = [name for factor in design.factors for name in design.effects_of(factor)]
        raise CrosslevelError(
            f"`design_effect` needs a random intercept; the random effects are {', '.join(names) or 'none'}. "
            "Add a term such as (1 | school)."
        )
    if design.residual is not None:
        raise CrosslevelError(
            "`design_effect` needs independent residuals with one variance; this model has "
            f"{design.residual.words}. Fit it without `residual`."
        )
    if design.weights is not None and design.weights.is_precision:
        raise CrosslevelError(
            "`design_effect` compares with independent rows of one variance; with precision weights rows differ. "
            "Fit the model without weights."
        )
    shared = [factor.name for factor in design.factors if factor.members]
    if shared:
        raise CrosslevelError(
            f"`design_effect` needs rows in one cluster each; here they lie in several levels of {shared[0]}. "
            "Choose one level for each row."
        )
