"""What a user should know of a two-step regression beyond its numbers: in words, each with what to do."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.display import number, p_statement, percent
from crosslevel.estimators.two_step_rows import reliability
from crosslevel.inference.adjusted_step import Adjustment
from crosslevel.inference.multiplicity import holm

if TYPE_CHECKING:
    from crosslevel.estimators.two_step_fit import TwoStepFit
    from crosslevel.estimators.two_step_outcomes import OutcomeStep

NOISY = 0.5
"""Reliability of an outcome below which sampling is the larger part of its variation."""

DEPENDENT = 0.05
"""Holm's p-value of a covariate's dependence on the context variables below which a note tells of it."""

ROWS_PER_COEFFICIENT = 20.0
"""Rows of a cluster for each coefficient below which covariates that are not shrunk cost precision in simulations."""

FEW_DEGREES = 10
"""Degrees of freedom of a cluster's residual variance below which its weight is largely chance."""

SHOWN = 5
"""Clusters that a note names."""


def notes_on(fit: "TwoStepFit") -> tuple[str, ...]:
    """Notes on rows and clusters left out, columns left out, floored variances, and noisy outcomes."""
    notes = [*_rows(fit), *_left_out(fit)]
    for one in fit.outcomes:
        notes += [*_columns(one), *_variances(fit, one)]
        if one.adjustment is not None:
            notes += [*_dependent(one, one.adjustment), *_components(fit, one, one.adjustment)]
    notes += [*_few_rows(fit), *_unsure_variances(fit), *_biased(fit)]
    return tuple(notes)


def _rows(fit: "TwoStepFit") -> Iterator[str]:
    """Rows dropped for missing values."""
    if fit.rows.dropped:
        listed = ", ".join(f"{name} ({count})" for name, count in fit.rows.missing.items())
        share = percent(fit.rows.dropped / fit.rows.read)
        yield (
            f"{fit.rows.dropped} of {fit.rows.read} rows ({share}) were dropped for missing values: {listed}. "
            "If they are not missing at random, impute first."
        )


def _left_out(fit: "TwoStepFit") -> Iterator[str]:
    """Clusters that are not used, by reason."""
    gone = fit.separate.left_out
    if gone:
        total = len(gone) + len(fit.separate.levels)
        reasons = "; ".join(
            f"{reason} ({count})" for reason, count in Counter(one.reason for one in gone).most_common(3)
        )
        more = "" if len({one.reason for one in gone}) <= 3 else "; and other reasons"
        shown = ", ".join(str(one.level) for one in gone[:SHOWN]) + (", ..." if len(gone) > SHOWN else "")
        yield (
            f"{len(gone)} of {total} clusters of {fit.below.cluster} are left out ({shown}): {reasons}{more}. They are "
            "listed in fit.left_out. If they differ from the others, compare with cl.mixed, which uses every row."
        )


def _dependent(one: "OutcomeStep", adjustment: Adjustment) -> Iterator[str]:
    """Covariates that seem to depend on the context variables, by Holm's method."""
    p = np.array([test.p_value for test in adjustment.dependence])
    held = holm(np.nan_to_num(p, nan=1.0))
    found = [k for k in np.argsort(p, kind="stable") if held[k] < DEPENDENT]
    if found:
        listed = ", ".join(f"{adjustment.names[k]} ({p_statement(p[k])})" for k in found)
        yield (
            f"Covariates of {one.name} depend on the context variables, as it seems: {listed}. Adjusted for them, an "
            "effect is one at given values of these coefficients, another quantity than the whole effect. Name "
            "`covariates` without them, or explain them in `second`, too."
        )


def _components(fit: "TwoStepFit", one: "OutcomeStep", adjustment: Adjustment) -> Iterator[str]:
    """Nothing to adjust for, or a variance floored at zero."""
    if adjustment.n_components == 0:
        yield (
            f"No coefficient beside {one.name} varies between clusters more than sampling explains, so that nothing "
            "but shared sampling errors was adjusted for."
        )
    if fit.method == "adjusted-fgls" and adjustment.sigma2_raw < 0.0:
        yield (
            f"The variance of {one.name} beyond sampling and covariates is estimated as negative "
            f"({number(adjustment.sigma2_raw)}) and set to zero."
        )


def _few_rows(fit: "TwoStepFit") -> Iterator[str]:
    """Clusters that are small for separate regressions."""
    typical = float(np.mean(fit.separate.n_rows)) / len(fit.separate.names)
    if fit.method == "adjusted" and typical < ROWS_PER_COEFFICIENT:
        yield (
            f"Clusters have {number(typical, decimals=1)} rows for each coefficient of the first step. Where clusters "
            "are this small, method='adjusted-fgls' and mixed models (cl.mixed) are more precise; see "
            "docs/inference.md."
        )


def _unsure_variances(fit: "TwoStepFit") -> Iterator[str]:
    """Weights from residual variances that are hardly known."""
    if fit.family is not None or fit.given["first_variance"] == "pooled" or fit.method in ("ols", "adjusted"):
        return
    few = int(np.count_nonzero(fit.separate.n_rows - len(fit.separate.names) < FEW_DEGREES))
    if few:
        yield (
            f"In {few} of {len(fit.separate.levels)} clusters the residual variance of the first step, which is in the "
            f"weights, is estimated with fewer than {FEW_DEGREES} degrees of freedom. Where clusters may share one, "
            "first_variance='pooled' gives weights that do not depend on chance."
        )


def _biased(fit: "TwoStepFit") -> Iterator[str]:
    """Maximum likelihood in small clusters, which goes too far."""
    if fit.family is None:
        return
    few = int(np.count_nonzero(fit.separate.n_rows < ROWS_PER_COEFFICIENT * len(fit.separate.names)))
    if few:
        yield (
            f"{few} of {len(fit.separate.levels)} clusters have fewer than {ROWS_PER_COEFFICIENT:g} rows for each "
            "coefficient of the first step. There maximum likelihood estimates are too far from zero, and clusters "
            "whose outcomes are all alike or separated drop out: cl.mixed(..., family=) uses them and has no such bias."
        )


def _columns(one: "OutcomeStep") -> Iterator[str]:
    """Context columns that earlier ones determine."""
    if one.design.aliased:
        yield (
            f"Left out of the equation of {one.name} because earlier terms determine them: "
            f"{', '.join(one.design.aliased)}. Drop them from `second` or recode."
        )


def _variances(fit: "TwoStepFit", one: "OutcomeStep") -> Iterator[str]:
    """Variances floored at zero, and outcomes that are mostly noise."""
    if one.sigma2_raw < 0.0:
        weights = "" if fit.method != "fgls" else ", so that FGLS is WLS with the weights 1 / omega_j\u00b2"
        yield (
            f"The variance of {one.name} beyond sampling is estimated as negative ({number(one.sigma2_raw)}) and set "
            f"to zero{weights}. Clusters may not differ in it beyond what the context variables explain."
        )
    elif reliability(one) < NOISY:
        yield (
            f"Sampling errors are the larger part of the differences in {one.name} (reliability "
            f"{number(reliability(one), decimals=2)}): clusters are small for separate regressions. A mixed model, "
            "cl.mixed, is more precise here."
        )
