"""Fit linear mixed models."""

import warnings
from collections.abc import Mapping
from typing import Any

from crosslevel.design import Design, build_design
from crosslevel.errors import ConvergenceWarning, CrosslevelError, DataWarning
from crosslevel.estimators.mixed_fit import MixedFit as MixedFit
from crosslevel.inference.df import df_method
from crosslevel.inference.sandwich import with_sandwich
from crosslevel.kernels.first_use import announce_compilation
from crosslevel.optimise import MAX_STEPS, Status
from crosslevel.solve import solve
from crosslevel.types import Frame, Method, Missing
from crosslevel.weights import Sampling, Weights, check_weights


def mixed(
    formula: str,
    data: Frame,
    *,
    family: str = "gaussian",
    method: Method = "reml",
    missing: Missing = "drop",
    weights: Weights | None = None,
    offset: object = None,
    ddf: str = "m-l-1",
    max_steps: int = MAX_STEPS,
) -> MixedFit:
    """Fit a linear mixed model.

    y = X beta + Z b + e, with b ~ N(0, sigma^2 Lambda Lambda') for each level of each grouping factor, and
    e ~ N(0, sigma^2 I). Factors may be nested in each other, crossed, or both. The rows are read to sum cross-products;
    the likelihood is maximised on those by Newton and scoring steps with exact derivatives, and the optimum is checked,
    the boundary included.

    Parameters
    ----------
    formula : as in lme4, for example "y ~ x * z + (x | country)". Besides everything formulaic has:
        within(x, g), between(x, g), center(x), scale(x), wec(f).
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    family : "gaussian".
    method : "reml" (restricted likelihood: nearly unbiased variances) or "ml" (to compare fixed parts).
    missing : "drop" the rows with missing values in the model's variables, and count them; or "raise".
    weights : cl.Precision("w"), cl.Frequency("w") or cl.Sampling("w", clusters={"school": "w2"}): what a weight means
        is never guessed. Sampling weights need method "ml"; their standard errors come from the sandwich.
    offset : a part of the outcome that is known: the name of a column, or one number per row. Fitted values and
        predictions contain it.
    ddf : degrees of freedom of the t tests: "m-l-1", "residual" or "normal".
    max_steps : largest number of steps of the search.

    Returns
    -------
    MixedFit

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data; the message says what to do.

    Warns
    -----
    ConvergenceWarning : the optimum was not reached; the result's `status` says why.
    DataWarning : sampling weights of rows whose scaling matters in clusters as small as these.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy")
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", data)
    >>> fit.params.round(3).to_dict()
    {'Intercept': 251.405, 'Days': 10.467}
    >>> round(fit.deviance, 4)
    1743.6283
    """
    if family != "gaussian":
        raise CrosslevelError(f"`family` is 'gaussian' in this version; got {family!r}.")
    if method not in ("reml", "ml"):
        raise CrosslevelError(f"`method` is 'reml' or 'ml'; got {method!r}.")
    if not isinstance(formula, str):
        raise CrosslevelError(f"`formula` is text such as 'y ~ x + (1 | g)'; got {type(formula).__name__}.")
    df_method(ddf)
    reading = check_weights(weights)
    if isinstance(reading, Sampling) and method == "reml":
        raise CrosslevelError(
            "`method` is 'reml', but sampling weights need method='ml': they weigh the likelihood of each row and "
            "cluster, and the restricted likelihood is no sum over these. Write method='ml'."
        )
    announce_compilation()
    given = {
        "family": family, "method": method, "missing": missing, "weights": reading, "offset": offset, "ddf": ddf,
        "max_steps": max_steps,
    }  # fmt: skip
    design = build_design(formula, data, missing=missing, weights=reading, offset=offset)
    if design.weights is not None and design.weights.concern is not None:
        warnings.warn(design.weights.concern, DataWarning, stacklevel=2)
    return fit_design(formula, data, given, design)


def fit_design(formula: str, data: Frame, given: Mapping[str, Any], design: Design) -> MixedFit:
    """Solve, and warn once if the optimum was not reached."""
    reml, max_steps = given["method"] == "reml", given["max_steps"]
    copies = None if design.weights is None else design.weights.copies
    if design.is_single:
        solution = solve(design.reduced, reml=reml, max_steps=max_steps)
    else:
        from crosslevel.solve.several import solve_crossing  # what it needs is slow to load

        solution = solve_crossing(design.crossing, reml=reml, copies=copies, max_steps=max_steps)
    if design.is_sampled:
        solution = with_sandwich(solution, design)
    if solution.status is not Status.CONVERGED:
        warnings.warn(solution.status.value, ConvergenceWarning, stacklevel=3)
    return MixedFit(formula=formula, data=data, given=given, design=design, solution=solution)
