"""Fit linear regressions with standard errors that know of clusters."""

from collections.abc import Mapping, Sequence
from typing import Any

from crosslevel.design import Design, build_design
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.robust import cluster_names
from crosslevel.estimators.ols_fit import OLSFit as OLSFit
from crosslevel.inference.ordinary import check_vcov, covariance_of
from crosslevel.solve.least_squares import least_squares
from crosslevel.table import open_source
from crosslevel.types import Frame, Missing
from crosslevel.weights import Sampling, Weights, check_weights


def ols(
    formula: str,
    data: Frame,
    *,
    cluster: str | Sequence[str] | None = None,
    vcov: str | None = None,
    weights: Weights | None = None,
    offset: object = None,
    missing: Missing = "drop",
) -> OLSFit:
    """Fit a linear regression by ordinary least squares.

    y = X beta + e. Coefficients come from the cross-products of the rows, cluster-robust standard errors from those of
    each cluster: cost and memory do not depend on how many rows a cluster has.

    Parameters
    ----------
    formula : as in "y ~ x * z", without random terms. Besides everything formulaic has: within(x, g), between(x, g),
        center(x), scale(x), wec(f).
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    cluster : the column of the clusters, or columns as in "a:b"; several names for several clusterings at once.
    vcov : "iid", "HC0" .. "HC3" (each row a variance of its own), "CR0", "CR1", "CR1S", "CR2" or "CR3" (clusters;
        degrees of freedom by Satterthwaite). By default "CR2" with a cluster, else "iid".
    weights : cl.Precision("w") or cl.Frequency("w").
    offset : a part of the outcome that is known: the name of a column, or one number per row.
    missing : "drop" the rows with missing values in the model's variables or the clusters, and count them; or "raise".

    Returns
    -------
    OLSFit

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data; the message says what to do.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.ols("mathach ~ ses * sector", cl.datasets.load("hsb"), cluster="school")
    >>> fit.tidy()[["estimate", "std_error", "df"]].round(3)
                          estimate  std_error       df
    term
    Intercept               11.868      0.196   81.627
    ses                      3.460      0.153   75.768
    sector[Catholic]         1.950      0.323  140.445
    ses:sector[Catholic]    -1.105      0.247  126.317
    """
    if not isinstance(formula, str):
        raise CrosslevelError(f"`formula` is text such as 'y ~ x * z'; got {type(formula).__name__}.")
    names = () if cluster is None else cluster_names(cluster)
    kind = check_vcov(vcov, clustered=bool(names))
    reading = check_weights(weights)
    if isinstance(reading, Sampling):
        raise CrosslevelError(
            "`weights` are sampling weights, which `ols` does not take: write cl.Precision('w') or cl.Frequency('w') "
            "if that is what they are, or fit the pseudo-likelihood with cl.mixed(..., method='ml')."
        )
    if open_source(data) is not None:
        raise CrosslevelError(
            "`data` is read in batches, which `ols` does not do: it looks at rows in memory. Read them first, with "
            "cl.read(path) or the library's own reader."
        )
    design = build_design(formula, data, missing=missing, weights=reading, offset=offset, clusters=names)
    if not len(design.x):
        raise CrosslevelError(f"`formula` has no coefficients: {formula!r}. Add predictors, or leave the intercept in.")
    given = {"cluster": cluster, "vcov": vcov, "weights": reading, "offset": offset, "missing": missing}
    return fit_ordinary(formula, data, given, design, names, kind)


def fit_ordinary(
    formula: str, data: Frame, given: Mapping[str, Any], design: Design, clusters: tuple[str, ...], vcov: str
) -> OLSFit:
    """Solve, and work out the covariance of the coefficients."""
    solved = least_squares(design.crossing)
    return OLSFit(
        formula=formula, data=data, given=given, design=design, solved=solved, clusters=clusters,
        covariance=covariance_of(design, solved, vcov, clusters),
    )  # fmt: skip
