"""Fit linear mixed models."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from crosslevel.design import Design, build_design
from crosslevel.design.crossing import Crossing
from crosslevel.errors import ConvergenceWarning, CrosslevelError, DataWarning
from crosslevel.estimators.mixed_fit import MixedFit as MixedFit
from crosslevel.inference.df import check_ddf
from crosslevel.kernels.first_use import announce_compilation
from crosslevel.optimise import MAX_STEPS, TOLERANCE, Status
from crosslevel.solve import Solution, solve
from crosslevel.table import open_source
from crosslevel.types import Algebra, FloatArray, Frame, Method, Missing
from crosslevel.weights import Sampling, Weights, check_weights

if TYPE_CHECKING:
    from crosslevel.residual import ResidualStructure


def mixed(
    formula: str,
    data: Frame,
    *,
    family: str = "gaussian",
    method: Method = "reml",
    missing: Missing = "drop",
    weights: Weights | None = None,
    offset: object = None,
    residual: "ResidualStructure | None" = None,
    known: Mapping[str, object] | None = None,
    ddf: str = "auto",
    max_steps: int = MAX_STEPS,
    algebra: Algebra = "auto",
    progress: bool = True,
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
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports; or data that are read in batches,
        so that they need not fit in memory: the path of a file (parquet, feather, csv), of a folder of such files or a
        pattern such as "waves/*.parquet", a DuckDB relation, or a Dask DataFrame, which is worked through on its
        cluster. That is possible with one grouping factor. The rows are read once, or twice if the formula has to
        remember something, such as means or categories; what needs rows again (`augment`, `resid`) reads them again.
    family : "gaussian".
    method : "reml" (restricted likelihood: nearly unbiased variances) or "ml" (to compare fixed parts).
    missing : "drop" the rows with missing values in the model's variables, and count them; or "raise".
    weights : cl.Precision("w"), cl.Frequency("w") or cl.Sampling("w", clusters={"school": "w2"}): what a weight means
        is never guessed. Sampling weights need method "ml"; their standard errors come from the sandwich.
    offset : a part of the outcome that is known: the name of a column, or one number per row. Fitted values and
        predictions contain it.
    residual : covariance structure of the residuals, Var(e) = sigma^2 R, such as cl.residual.By("sector"),
        cl.residual.Power("x"), cl.residual.AR1("time", within="id") or cl.residual.Known("se"); by default R = I. With
        one, the formula needs no random term.
    known : matrices for the random terms propto(0 + f | g, V), a covariance up to a factor, and equalto(0 + f | g, V),
        a covariance in the squared units of the outcome, such as that of sampling errors; by the name they have there:
        arrays, or frames whose rows and columns name the random effects. One matrix for all rows has a constant group.
    ddf : degrees of freedom of the t tests: "m-l-1", "growth-curve", "satterthwaite", "kenward-roger",
        "kenward-roger-2009", "between-within", "residual" or "normal". "auto" is "growth-curve", which is "m-l-1" less
        what it costs to adjust a coefficient for others that vary together with it, or "m-l-1" where there is nothing
        to adjust for or that cost is not defined; the result says which. Its intervals hold with 15 clusters.
    max_steps : largest number of steps of the search.
    algebra : for several grouping factors, "exact" elimination, or "iterative" solutions with a log-determinant that is
        estimated from fixed random vectors, for crossed factors with tens of thousands of levels; "auto" takes what is
        expected to be quicker and fits into memory. The result says which, and how large its Monte-Carlo error is.
    progress : whether to report, on the standard error stream, how far a long reading in batches has come.

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
    if algebra not in get_args(Algebra):
        raise CrosslevelError(f"`algebra` is one of {', '.join(map(repr, get_args(Algebra)))}; got {algebra!r}.")
    check_ddf(ddf)
    reading = check_weights(weights)
    if isinstance(reading, Sampling) and method == "reml":
        raise CrosslevelError(
            "`method` is 'reml', but sampling weights need method='ml': they weigh the likelihood of each row and "
            "cluster, and the restricted likelihood is no sum over these. Write method='ml'."
        )
    announce_compilation()
    given = {
        "family": family, "method": method, "missing": missing, "weights": reading, "offset": offset,
        "residual": check_residual(residual, reading), "known": known, "ddf": ddf, "max_steps": max_steps,
        "progress": progress, "algebra": algebra,
    }  # fmt: skip
    source = open_source(data)
    if source is None:
        design = build_design(
            formula, data, missing=missing, weights=reading, offset=offset, residual=residual, known=known
        )
    else:
        from crosslevel.design.streamed import build_streamed  # what it needs is slow to load

        extra = {"weights": reading, "offset": offset, "residual": residual, "known": known}
        refused = [name for name, value in extra.items() if value is not None]
        design = build_streamed(formula, source, missing=missing, refused=refused, progress=progress)
    if design.weights is not None and design.weights.concern is not None:
        warnings.warn(design.weights.concern, DataWarning, stacklevel=2)
    return fit_design(formula, data, given, design)


def check_residual(residual: object, weights: Weights | None) -> "ResidualStructure | None":
    """The residual structure, if it is one and can be used together with the weights.

    Raises
    ------
    CrosslevelError : it is not, or cannot.
    """
    if residual is None:
        return None
    from crosslevel.residual import ResidualStructure

    if not isinstance(residual, ResidualStructure):
        raise CrosslevelError(
            "`residual` is a structure such as cl.residual.By('sector') or cl.residual.AR1('time', within='id'); "
            f"got {residual!r}."
        )
    if weights is not None:
        raise CrosslevelError(
            "`weights` and `residual` cannot be given together: both say how precise a row is. Leave one of them out."
        )
    return residual


def fit_design(formula: str, data: Frame, given: Mapping[str, Any], design: Design) -> MixedFit:
    """Solve, and warn once if the optimum was not reached."""
    solution = solve_design(design, given)
    if solution.status is not Status.CONVERGED:
        warnings.warn(solution.status.value, ConvergenceWarning, stacklevel=3)
    return MixedFit(formula=formula, data=data, given=given, design=design, solution=solution)


def solve_design(design: Design, given: Mapping[str, Any]) -> Solution:
    """Maximise the likelihood of a design with the arguments of `mixed`."""
    reml, max_steps = given["method"] == "reml", given["max_steps"]
    copies = None if design.weights is None else design.weights.copies
    # sampling weights that sum to a population make the deviance, and its rounding errors, as many times larger
    tolerance = TOLERANCE * (design.products.weight / design.nobs if design.is_sampled else 1.0)
    if design.residual is not None:
        _refuse_known_beside(design)
        from crosslevel.design.residual import working_rows
        from crosslevel.solve.residual import solve_residual

        rows = working_rows(design, design.residual)
        solution = solve_residual(rows, design.residual, reml=reml, max_steps=max_steps)
    elif any(factor.structure.fixed.any() for factor in design.factors):
        solution = _solve_fixed_scale(design, given)
    elif design.is_single:
        solution = solve(design.reduced, reml=reml, tolerance=tolerance, max_steps=max_steps)
    else:
        solution = _solve_several(design.crossing, given, copies=copies, tolerance=tolerance)
    if design.is_sampled:
        from crosslevel.inference.sandwich import with_sandwich

        solution = with_sandwich(solution, design)
    return solution


def _refuse_known_beside(design: Design) -> None:
    """Refuse known covariances beside a residual structure that is estimated."""
    assert design.residual is not None
    if not design.residual.known and any(factor.structure.fixed.any() for factor in design.factors):
        raise CrosslevelError(
            f"`residual` is estimated ({design.residual.words}) and `formula` has equalto(...): this version searches "
            "for the residual variance beside known covariances with independent residuals only. Leave `residual` out, "
            "give cl.residual.Known('se'), or use propto(...)."
        )


def _solve_fixed_scale(design: Design, given: Mapping[str, Any]) -> Solution:
    """Solve a model in which the covariances of some random effects are known, and sigma is not.

    Raises
    ------
    CrosslevelError : sampling weights, or the iterative algebra.
    """
    from crosslevel.solve.fixed_scale import solve_fixed_scale  # what this needs is slow to load

    if design.is_sampled:
        raise CrosslevelError(
            "`weights` are sampling weights and `formula` has equalto(...): the sandwich needs the scores of clusters "
            "relative to sigma, of which a known covariance is no multiple. Use propto(...), or leave the weights out."
        )
    if given["algebra"] == "iterative":
        raise CrosslevelError(
            "`algebra` is 'iterative' and `formula` has equalto(...): its residual variance has to be searched for, "
            "and the log-determinant that this algebra estimates is too rough for that. Use algebra='exact'."
        )
    announce_compilation("several")
    return solve_fixed_scale(design.crossing, reml=given["method"] == "reml", max_steps=given["max_steps"])


def _solve_several(
    crossing: Crossing, given: Mapping[str, Any], *, copies: tuple[FloatArray, ...] | None, tolerance: float
) -> Solution:
    """Solve a model with several grouping factors, by the algebra that was asked for or that suits its size."""
    from crosslevel.solve.algebra import choose_algebra  # what these need is slow to load
    from crosslevel.solve.large import solve_large
    from crosslevel.solve.several import solve_crossing

    reml, max_steps = given["method"] == "reml", given["max_steps"]
    if copies is None and choose_algebra(crossing, given["algebra"]) == "iterative":
        announce_compilation("iterative")
        return solve_large(crossing, reml=reml, max_steps=max_steps)
    announce_compilation("several")
    return solve_crossing(crossing, reml=reml, copies=copies, tolerance=tolerance, max_steps=max_steps)
