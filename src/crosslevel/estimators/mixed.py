"""Fit linear and generalized linear mixed models."""

import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

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
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.families import Family
    from crosslevel.prior import Weak
    from crosslevel.residual import ResidualStructure
    from crosslevel.solve.generalized.solve import Integration

GAUSSIAN = "gaussian"
"""The family of linear models."""


@overload
def mixed(
    formula: str, data: Frame, *, family: Literal["gaussian"] = ..., method: Method | None = ...,
    missing: Missing = ..., weights: Weights | None = ..., offset: object = ...,
    residual: "ResidualStructure | None" = ..., known: Mapping[str, object] | None = ...,
    quadrature: "Integration" = ..., prior: "Weak | None" = ..., trials: object = ..., exposure: object = ...,
    ddf: str = ..., max_steps: int | None = ..., algebra: Algebra = ..., progress: bool = ...,
) -> MixedFit: ...  # fmt: skip
@overload
def mixed(
    formula: str, data: Frame, *, family: "str | Family", method: Method | None = ..., missing: Missing = ...,
    weights: Weights | None = ..., offset: object = ..., residual: "ResidualStructure | None" = ...,
    known: Mapping[str, object] | None = ..., quadrature: "Integration" = ..., prior: "Weak | None" = ...,
    trials: object = ..., exposure: object = ..., ddf: str = ..., max_steps: int | None = ..., algebra: Algebra = ...,
    progress: bool = ...,
) -> "GeneralizedFit": ...  # fmt: skip
def mixed(
    formula: str,
    data: Frame,
    *,
    family: "str | Family" = "gaussian",
    method: Method | None = None,
    missing: Missing = "drop",
    weights: Weights | None = None,
    offset: object = None,
    residual: "ResidualStructure | None" = None,
    known: Mapping[str, object] | None = None,
    quadrature: "Integration" = "auto",
    prior: "Weak | None" = None,
    trials: object = None,
    exposure: object = None,
    ddf: str = "auto",
    max_steps: int | None = None,
    algebra: Algebra = "auto",
    progress: bool = True,
) -> "MixedFit | GeneralizedFit":
    """Fit linear and generalized linear mixed models.

    Linear: y = X beta + Z b + e, with b ~ N(0, sigma^2 Lambda Lambda') for each level of each grouping factor, and
    e ~ N(0, sigma^2 I). Factors may be nested in each other, crossed, or both. The rows are read to sum cross-products;
    the likelihood is maximised on those by Newton and scoring steps with exact derivatives, and the optimum is checked,
    the boundary included.

    With another `family` the mean of y given b is a function of X beta + Z b, the linear predictor, and b ~ N(0, Lambda
    Lambda') is integrated out by adaptive Gauss-Hermite quadrature or Laplace's approximation; see `quadrature`.

    Parameters
    ----------
    formula : as in lme4, for example "y ~ x * z + (x | country)". Besides everything formulaic has:
        within(x, g), between(x, g), center(x), scale(x), wec(f). With family "binomial" the outcome may be 0 and 1,
        true and false, two labels (the second counts as 1), or cbind(successes, failures).
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports; or, for linear models with one
        grouping factor, data that are read in batches, so that they need not fit in memory: the path of a file
        (parquet, feather, csv), of a folder of such files or a pattern such as "waves/*.parquet", a DuckDB relation, or
        a Dask DataFrame, which is worked through on its cluster. The rows are read once, or twice if the formula has to
        remember something, such as means or categories; what needs rows again (`augment`, `resid`) reads them again.
    family : "gaussian", "binomial", "poisson", "negbinomial", "gamma", "beta", "betabinomial", "ordinal" and others of
        cl.families.FAMILIES; or an object such as cl.families.Binomial(link="probit").
    method : "reml" (restricted likelihood: nearly unbiased variances), by default in linear models, or "ml" (to compare
        fixed parts), the only one of other families.
    missing : "drop" the rows with missing values in the model's variables, and count them; or "raise".
    weights : cl.Precision("w"), cl.Frequency("w") or cl.Sampling("w", clusters={"school": "w2"}): what a weight means
        is never guessed. Sampling weights need method "ml"; their standard errors come from the sandwich. With a
        precision the outcome of a "binomial", "poisson" or "gamma" row is the mean of w independent answers.
    offset : a part of the outcome, or of another family's linear predictor, that is known: the name of a column, or one
        number per row. Fitted values and predictions contain it.
    residual : covariance structure of the residuals, Var(e) = sigma^2 R, such as cl.residual.By("sector"),
        cl.residual.Power("x"), cl.residual.AR1("time", within="id") or cl.residual.Known("se"); by default R = I. With
        one, the formula needs no random term. Linear models only.
    known : matrices for the random terms propto(0 + f | g, V), a covariance up to a factor, and equalto(0 + f | g, V),
        a covariance in the squared units of the outcome, such as that of sampling errors; by the name they have there:
        arrays, or frames whose rows and columns name the random effects. One matrix for all rows has a constant group.
    quadrature : for other families than "gaussian": a number of nodes per random effect, of which 1 is Laplace's
        approximation; "laplace"; "auto", which raises the nodes until the log-likelihood is stable to 1e-4 where there
        is one grouping factor with up to three random effects, and is Laplace elsewhere; or, for comparison, "pql" and
        "mql", penalised and marginal quasi-likelihood. The result says what was used and by how much Laplace differs.
    prior : cl.prior.Weak(), where separation sends coefficients to infinity or a fit is singular; None for none.
    trials : for proportions or numbers of successes, the number of trials of each row: a column, or numbers.
    exposure : for counts, what they are relative to, such as time or population: a column, or numbers. Its logarithm is
        added to the linear predictor.
    ddf : degrees of freedom of the t tests: "m-l-1", "growth-curve", "satterthwaite", "kenward-roger",
        "kenward-roger-2009", "between-within", "residual" or "normal". "auto" is "growth-curve", which is "m-l-1" less
        what it costs to adjust a coefficient for others that vary together with it, or "m-l-1" where there is nothing
        to adjust for or that cost is not defined; the result says which. Its intervals hold with 15 clusters. Of other
        families "auto" is "normal", and only methods that count are defined.
    max_steps : largest number of steps of the search.
    algebra : for several grouping factors, "exact" elimination, or "iterative" solutions with a log-determinant that is
        estimated from fixed random vectors, for crossed factors with tens of thousands of levels; "auto" takes what is
        expected to be quicker and fits into memory. The result says which, and how large its Monte-Carlo error is.
    progress : whether to report, on the standard error stream, how far a long reading in batches has come.

    Returns
    -------
    MixedFit, or GeneralizedFit with another family

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
    >>> slow = cl.mixed("I(Reaction > 300) ~ Days + (1 | Subject)", data, family="binomial")
    >>> slow.params.round(2).to_dict()
    {'Intercept': -3.2, 'Days': 0.58}
    """
    linear = _check_arguments(formula, family, method, algebra)
    check_ddf(ddf)
    given = {
        "family": family, "method": method or ("reml" if linear else "ml"), "missing": missing,
        "weights": check_weights(weights), "offset": offset, "residual": residual, "known": known,
        "quadrature": quadrature, "prior": prior, "trials": trials, "exposure": exposure, "ddf": ddf,
        "max_steps": max_steps, "progress": progress, "algebra": algebra,
    }  # fmt: skip
    if linear:
        return fit_linear(formula, data, given)
    from crosslevel.estimators.generalized.fitting import fit_family  # what these need is slow to load

    return fit_family(formula, data, other_family(family), given)


def _check_arguments(formula: object, family: object, method: object, algebra: object) -> bool:
    """Whether a linear model is asked for; refuses arguments that are none.

    Raises
    ------
    CrosslevelError : see above.
    """
    if method not in ("reml", "ml", None):
        raise CrosslevelError(f"`method` is 'reml' or 'ml'; got {method!r}.")
    if not isinstance(formula, str):
        raise CrosslevelError(f"`formula` is text such as 'y ~ x + (1 | g)'; got {type(formula).__name__}.")
    if algebra not in get_args(Algebra):
        raise CrosslevelError(f"`algebra` is one of {', '.join(map(repr, get_args(Algebra)))}; got {algebra!r}.")
    return isinstance(family, str) and family.lower() == GAUSSIAN


def other_family(family: "str | Family") -> "Family":
    """A family that is not the normal one, by name or as it is.

    Raises
    ------
    CrosslevelError : no such family.
    """
    from crosslevel.families import FAMILIES, family_of

    try:
        return family_of(family)
    except CrosslevelError as error:
        names = (GAUSSIAN, *FAMILIES)
        close = get_close_matches(str(family).lower(), names, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise CrosslevelError(
            f"`family` is one of {', '.join(map(repr, names))}, or an object such as cl.families.Binomial("
            f"link='probit'); got {family!r}.{hint}"
        ) from error


def fit_linear(formula: str, data: Frame, given: dict[str, Any]) -> MixedFit:
    """Fit a linear mixed model with the arguments of `mixed`."""
    _refuse_generalized(given)
    reading: Weights | None = given["weights"]
    if isinstance(reading, Sampling) and given["method"] == "reml":
        raise CrosslevelError(
            "`method` is 'reml', but sampling weights need method='ml': they weigh the likelihood of each row and "
            "cluster, and the restricted likelihood is no sum over these. Write method='ml'."
        )
    announce_compilation()
    residual = check_residual(given["residual"], reading)
    given = {**given, "max_steps": MAX_STEPS if given["max_steps"] is None else given["max_steps"]}
    source, missing = open_source(data), given["missing"]
    known_parts = {"weights": reading, "offset": given["offset"], "residual": residual, "known": given["known"]}
    if source is None:
        design = build_design(formula, data, missing=missing, **known_parts)
    else:
        from crosslevel.design.streamed import build_streamed  # what it needs is slow to load

        refused = [name for name, value in known_parts.items() if value is not None]
        design = build_streamed(formula, source, missing=missing, refused=refused, progress=given["progress"])
    if design.weights is not None and design.weights.concern is not None:
        warnings.warn(design.weights.concern, DataWarning, stacklevel=3)
    return fit_design(formula, data, given, design, stacklevel=4)


def _refuse_generalized(given: Mapping[str, Any]) -> None:
    """Refuse arguments that linear models do not have.

    Raises
    ------
    CrosslevelError : see above.
    """
    if given["quadrature"] != "auto":
        raise CrosslevelError(
            f"`quadrature` is {given['quadrature']!r}, but the likelihood of family='gaussian' is exact without any. "
            "Leave it out, or name the family of your outcome."
        )
    for name in ("trials", "exposure"):
        if given[name] is not None:
            raise CrosslevelError(
                f"`{name}` is given, but family='gaussian' has none. Name the family: family='binomial' for trials, "
                "'poisson' or 'negbinomial' for counts with an exposure."
            )


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


def fit_design(formula: str, data: Frame, given: Mapping[str, Any], design: Design, *, stacklevel: int = 3) -> MixedFit:
    """Solve, and warn once if the optimum was not reached, at the line that many calls above."""
    solution = solve_design(design, given)
    if solution.status is not Status.CONVERGED:
        warnings.warn(solution.status.value, ConvergenceWarning, stacklevel=stacklevel)
    return MixedFit(formula=formula, data=data, given=given, design=design, solution=solution)


def solve_design(design: Design, given: Mapping[str, Any]) -> Solution:
    """Maximise the likelihood of a design with the arguments of `mixed`."""
    reml, max_steps = given["method"] == "reml", given["max_steps"]
    prior = linear_prior(design, given)
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
        solution = solve(design.reduced, reml=reml, prior=prior, tolerance=tolerance, max_steps=max_steps)
    else:
        solution = _solve_several(design.crossing, given, prior, copies=copies, tolerance=tolerance)
    if design.is_sampled:
        from crosslevel.inference.sandwich import with_sandwich

        solution = with_sandwich(solution, design)
    return solution


def linear_prior(design: Design, given: Mapping[str, Any]) -> "Weak | None":
    """The prior of a linear model, None if there is none.

    Raises
    ------
    CrosslevelError : it is no prior, or the model is one of those that know none.
    """
    if given.get("prior") is None:
        return None
    from crosslevel.prior import check_prior

    prior = check_prior(given["prior"])
    what = (
        "a residual structure"
        if design.residual is not None
        else "known covariances"
        if any(factor.structure.fixed.any() for factor in design.factors)
        else "sampling weights"
        if design.is_sampled
        else "algebra='iterative'"
        if given["algebra"] == "iterative"
        else None
    )
    if what is not None:
        raise CrosslevelError(
            f"`prior` is for linear models whose random effects are searched for alone; this one has {what}. "
            "Leave `prior` out, or simplify the model."
        )
    return prior


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
    crossing: Crossing,
    given: Mapping[str, Any],
    prior: "Weak | None",
    *,
    copies: tuple[FloatArray, ...] | None,
    tolerance: float,
) -> Solution:
    """Solve a model with several grouping factors, by the algebra that was asked for or that suits its size."""
    from crosslevel.solve.algebra import choose_algebra  # what these need is slow to load
    from crosslevel.solve.large import solve_large
    from crosslevel.solve.several import solve_crossing

    reml, max_steps = given["method"] == "reml", given["max_steps"]
    if copies is None and prior is None and choose_algebra(crossing, given["algebra"]) == "iterative":
        announce_compilation("iterative")
        return solve_large(crossing, reml=reml, max_steps=max_steps)
    announce_compilation("several")
    return solve_crossing(crossing, reml=reml, copies=copies, prior=prior, tolerance=tolerance, max_steps=max_steps)
