"""From the arguments of `mixed` to a fitted generalized model."""

import warnings
from collections.abc import Mapping
from typing import Any

from crosslevel.design import Design, build_design
from crosslevel.design.outcome import AskedOutcome
from crosslevel.design.response_rows import response_rows
from crosslevel.errors import ConvergenceWarning, CrosslevelError, DataWarning
from crosslevel.estimators.generalized.coefficients import method_name
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.families import Family
from crosslevel.kernels.first_use import announce_compilation
from crosslevel.optimise import Status
from crosslevel.prior import check_prior
from crosslevel.solve.generalized.search import MAX_STEPS
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.solve.generalized.solve import solve_generalized
from crosslevel.table import open_source
from crosslevel.types import Frame


def fit_family(formula: str, data: Frame, family: Family, given: Mapping[str, Any]) -> GeneralizedFit:
    """Fit a model of another family than the normal one.

    Parameters
    ----------
    formula, data : as given to `mixed`.
    family : distribution and link.
    given : all other arguments of `mixed` by name, `method` resolved.

    Raises
    ------
    CrosslevelError : arguments that belong to linear models, or that do not fit the outcome.
    """
    _refuse_linear(family, given)
    method_name(given["ddf"])
    given = {**given, "max_steps": MAX_STEPS if given["max_steps"] is None else given["max_steps"]}
    if open_source(data) is not None:
        raise CrosslevelError(
            f"`data` are read in batches, and family={family.name!r} needs the rows themselves at every step: only "
            "linear models are estimated from sums over rows. Read the data into memory, data = cl.read(path), or a "
            "sample of them."
        )
    asked = AskedOutcome(family=family, trials=given["trials"], exposure=given["exposure"])
    design = build_design(
        formula, data, missing=given["missing"], weights=given["weights"], offset=given["offset"],
        known=given["known"], outcome=asked,
    )  # fmt: skip
    if family.kind == "ordered" and not design.spec.has_intercept:
        raise CrosslevelError(
            "`formula` leaves the intercept out; with ordered categories thresholds stand in its place, and one of "
            "them would have to be zero. Leave the 0 out of the formula."
        )
    if design.weights is not None and design.weights.concern is not None:
        warnings.warn(design.weights.concern, DataWarning, stacklevel=3)
    return fit_generalized(formula, data, given, design, stacklevel=4)


def fit_generalized(
    formula: str, data: Frame, given: Mapping[str, Any], design: Design, *, stacklevel: int = 3
) -> GeneralizedFit:
    """Solve, and warn once if the optimum was not reached, at the line that many calls above."""
    solution = solve_outcome(design, given)
    if solution.status is not Status.CONVERGED:
        warnings.warn(solution.status.value, ConvergenceWarning, stacklevel=stacklevel)
    return GeneralizedFit(formula=formula, data=data, given=given, design=design, solution=solution)


def solve_outcome(design: Design, given: Mapping[str, Any]) -> GeneralizedSolution:
    """Maximise the likelihood of a design with an outcome, with the arguments of `mixed`."""
    assert design.outcome is not None
    assert design.asked is not None
    announce_compilation("responses" if design.is_single else "crossed responses")
    rows = response_rows(design, design.asked.family, design.outcome)
    solution = solve_generalized(
        rows, quadrature=given["quadrature"], prior=check_prior(given["prior"]), max_steps=given["max_steps"]
    )
    if design.is_sampled:
        from crosslevel.inference.generalized.sandwich import with_sandwich

        solution = with_sandwich(solution, design)
    return solution


def _refuse_linear(family: Family, given: Mapping[str, Any]) -> None:
    """Refuse arguments that only linear models have."""
    name = f"family={family.name!r}"
    if given["method"] == "reml":
        raise CrosslevelError(
            f"`method` is 'reml', and {name} has no restricted likelihood: that integrates the coefficients out of a "
            "normal likelihood. Leave `method` out, or write method='ml'."
        )
    if given["residual"] is not None:
        raise CrosslevelError(
            f"`residual` is a covariance structure of normal residuals, and {name} has none. For correlations over "
            "time use a random term such as ar1(0 + C(wave) | id); for scatter beyond the family's, a random effect of "
            "every row, or a family with a dispersion."
        )
    if given["algebra"] == "iterative":
        raise CrosslevelError(f"`algebra` is 'iterative', which is for linear models; {name} has exact algebra only.")
