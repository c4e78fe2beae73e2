"""Standard errors that hold without the model's own covariance of the rows within clusters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crosslevel.errors import CrosslevelError

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed_fit import MixedFit
    from crosslevel.estimators.robust_fit import RobustFit


def robust(fit: "MixedFit", vcov: str = "CR2", cluster: str | Sequence[str] | None = None) -> "RobustFit":
    """Coefficients with a cluster-robust covariance and Satterthwaite degrees of freedom.

    They hold if clusters are independent, whatever the covariance of rows within clusters; the model's covariance is
    the working one, from which CR2 takes its adjustment and all take their degrees of freedom.

    Parameters
    ----------
    fit : the fitted model.
    vcov : "CR0", "CR1", "CR1S" (Stata's), "CR2" (unbiased under the working model) or "CR3" (jackknife).
    cluster : a grouping factor, a column of the data, or columns as in "a:b"; several names for several clusterings at
        once (Cameron, Gelbach & Miller 2011). None: the outermost grouping factor; all that are not nested in others,
        where several are crossed.

    Returns
    -------
    RobustFit : `tests()`, `conf_int()`, `contrast()`, `vcov`; prints as a table.

    Raises
    ------
    CrosslevelError : sampling weights, which have a sandwich of their own; iterative algebra; clusters that are
        missing in some rows, or one only; CR3 where a coefficient is estimated from one cluster alone; CR2 for large
        clusters that random effects cross.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> fit.robust("CR2").tidy()[["estimate", "std_error", "df"]].round(3)
               estimate  std_error    df
    term
    Intercept   251.405      6.825  17.0
    Days         10.467      1.546  17.0
    """
    from crosslevel.estimators.robust_fit import RobustFit
    from crosslevel.inference.cluster_robust import robust_kind
    from crosslevel.inference.contrasts import Coefficients
    from crosslevel.inference.robust import MixedSource, robust_covariance
    from crosslevel.inference.robust_rows import Working
    from crosslevel.likelihood.profiled import ProfiledDeviance

    kind = robust_kind(vcov)
    _refuse(fit)
    design, solution = fit.design, fit.solution
    names = cluster_names(cluster) if cluster is not None else default_clusters(fit)
    profiled = isinstance(solution.criterion, ProfiledDeviance)
    source = MixedSource(
        design=design,
        working=Working.of(solution, design),
        reduced=solution.criterion.reduced if profiled else None,
    )
    return RobustFit(
        response=fit.spec.response_name,
        formula=fit.formula,
        coefficients=Coefficients.of(design.fixed_names, [design.spec.columns[j].factors for j in design.x]),
        beta=solution.beta,
        covariance=robust_covariance(source, design, kind, names, solution.vcov),
    )


def _refuse(fit: "MixedFit") -> None:
    """Refuse fits that have no coefficients, or no working covariance."""
    if not len(fit.design.x):
        raise CrosslevelError("`robust` is about fixed coefficients, and this model has none. Add predictors.")
    if fit.design.is_sampled:
        raise CrosslevelError(
            "`robust` is for fits without sampling weights: with them, standard errors are from a sandwich over the "
            "outermost clusters already. Use `fit.tests()`."
        )
    if fit.solution.iterative is not None:
        raise CrosslevelError(
            "`robust` needs V^-1 X at every row, which the iterative algebra does not keep. Fit with "
            "algebra='exact', if it fits into memory."
        )


def cluster_names(cluster: object) -> tuple[str, ...]:
    """Names of clusterings, each once.

    Raises
    ------
    CrosslevelError : no names.
    """
    names = (cluster,) if isinstance(cluster, str) else tuple(cluster) if isinstance(cluster, list | tuple) else ()
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise CrosslevelError(
            "`cluster` is the name of a column such as 'school', or a list of different names for several clusterings "
            f"at once; got {cluster!r}."
        )
    return names


def default_clusters(fit: "MixedFit | GeneralizedFit") -> tuple[str, ...]:
    """The outermost grouping factors, or the units of a residual structure where there are none.

    Raises
    ------
    CrosslevelError : there are neither.
    """
    from crosslevel.inference.clusterings import outermost

    names = outermost(fit.design)
    if names:
        return names
    if fit.design.residual is not None and fit.design.residual.within:
        return (fit.design.residual.within,)
    raise CrosslevelError(
        "`cluster` is needed: the model has no grouping factor that puts each row into one cluster. Name the column "
        "of the clusters, as in cluster='school'."
    )
