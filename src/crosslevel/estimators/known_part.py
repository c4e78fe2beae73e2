"""What a summary says of covariances that were given rather than estimated."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.covariance import KNOWN
from crosslevel.covariance.known import Fixed
from crosslevel.display import Row, Section, counted, number
from crosslevel.formula import Block

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed_fit import MixedFit

SHOWN = 12
"""Known variances of a grouping factor up to which each has a row."""

FIXED = tuple(name for name, kind in KNOWN.items() if kind is Fixed)
"""Structures of random terms whose covariance is known."""


def matrix_of(block: Block) -> str | None:
    """Name of the matrix that is the covariance of a block's effects, None where it is estimated."""
    return block.known if block.structure in FIXED else None


def known_facts(fit: "MixedFit | GeneralizedFit") -> list[Row]:
    """For each known covariance what it belongs to, and the name of the matrix."""
    rows: list[Row] = []
    for term, factor in zip(fit.spec.terms, fit.design.factors, strict=True):
        for block in term.blocks:
            if matrix_of(block) is not None:
                size = len(block.columns)
                what = f"{counted(size)} random effects" if size > 1 else "the random effect"
                rows.append(["Known", f"Covariance of {what} of each {factor.name}: {block.known}, as given"])
    return rows


def known_rows(group: str, variances: pd.DataFrame) -> list[Row]:
    """Rows of the known variances of a grouping factor: each of a few, the range of many."""
    if not len(variances):
        return []
    rows: list[Row] = [Section(f"Between clusters ({group}): known variances, not estimated")]
    if len(variances) <= SHOWN:
        for _, row in variances.iterrows():
            rows.append([str(row["term1"]), number(row["estimate"]), None, None, None, number(row["std_dev"])])
        return rows
    ordered = variances.sort_values("estimate")
    for name, row in (("smallest", ordered.iloc[0]), ("largest", ordered.iloc[-1])):
        label = f"{row['term1']} ({name} of {counted(len(variances))})"
        rows.append([label, number(row["estimate"]), None, None, None, number(row["std_dev"])])
    return rows


def has_many_known(fit: "MixedFit | GeneralizedFit") -> bool:
    """Whether random effects of known covariance are too many to write an equation with all of them."""
    return any(np.count_nonzero(factor.structure.fixed) > SHOWN for factor in fit.design.factors)


def in_general(fit: "MixedFit") -> list[str]:
    """The model in matrices: v are the random effects of known covariance, u the others."""
    others = estimates_effects(fit)
    return [
        f"{fit.spec.response_name} = X γ + {'Z u + ' if others else ''}W v + r",
        "v ~ N(0, V), V known",
        *(["u ~ N(0, T)"] if others else []),
    ]


def estimates_effects(fit: "MixedFit | GeneralizedFit") -> bool:
    """Whether any covariance of random effects is estimated."""
    return any(not factor.structure.fixed.all() for factor in fit.design.factors)


def tested_against(fit: "MixedFit | GeneralizedFit") -> str:
    """What a test of the random effects compares the model with."""
    if any(factor.structure.fixed.any() for factor in fit.design.factors):
        return "the model with the known covariances only"
    return "the model without random effects"
