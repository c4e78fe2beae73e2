"""Fit generalized linear models with standard errors that know of clusters."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crosslevel.design import Design, build_design
from crosslevel.design.outcome import AskedOutcome
from crosslevel.design.response_rows import response_rows
from crosslevel.errors import ConvergenceWarning, CrosslevelError
from crosslevel.estimators.asked.robust import cluster_names
from crosslevel.estimators.responses.glm_fit import GLMFit as GLMFit
from crosslevel.families import Family, family_of
from crosslevel.inference.ordinary import check_vcov
from crosslevel.inference.response_covariance import SCORED, ResponseSource, response_covariance
from crosslevel.solve.response_regression import regress_responses
from crosslevel.table import open_source
from crosslevel.types import Frame, Missing
from crosslevel.weights import Sampling, Weights, check_weights

if TYPE_CHECKING:
    from crosslevel.solve.response_regression import ResponseRegression


def glm(
    formula: str,
    data: Frame,
    *,
    family: str | Family = "binomial",
    cluster: str | Sequence[str] | None = None,
    vcov: str | None = None,
    weights: Weights | None = None,
    offset: object = None,
    exposure: object = None,
    trials: object = None,
    missing: Missing = "drop",
) -> GLMFit:
    """Fit a generalized linear model by maximum likelihood, with cluster-robust standard errors if wanted.

    The coefficients are those of the population as a whole: of a logit they are closer to zero than those of
    `cl.mixed(..., family=)` and `cl.conditional_logit`, which are about one cluster at a time.

    Parameters
    ----------
    formula : as in "y ~ x * z", without random terms. The outcome is 0 or 1, two labels, cbind(successes, failures),
        a count, ordered categories: what the family takes.
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    family : "binomial", "poisson", "nbinom2", "gamma", "beta", "ordinal", ...; or an object such as
        cl.families.Binomial(link="probit").
    cluster : the column of the clusters, or columns as in "a:b"; several names for several clusterings at once.
    vcov : "iid", "HC0" .. "HC3" (each row for itself), "CR0", "CR1", "CR1S", "CR2" or "CR3" (clusters). By default
        with a cluster "CR2" (with degrees of freedom by Satterthwaite), or "CR1" for families whose shape parameters
        the coefficients depend on; else "iid".
    weights : cl.Precision("w"), with which the outcome of a row is the mean of w independent answers: the share of
        successes in w trials, a mean count, a mean amount. Coefficients and robust standard errors need not have whole
        totals; log-likelihoods of other families are multiplied by w. Or cl.Frequency("w").
    offset : a known part of the linear predictor: the name of a column, or one number per row.
    exposure : what counts are relative to: a column, or numbers.
    trials : the number of trials of proportions or successes: a column, numbers, or one number.
    missing : "drop" the rows with missing values in the model's variables or the clusters, and count them; or "raise".

    Returns
    -------
    GLMFit

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data; the message says what to do.

    Warns
    -----
    ConvergenceWarning : there is no maximum, because predictors separate the outcomes, or it was not reached.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb").assign(high=lambda d: 1 * (d["mathach"] > 18))
    >>> fit = cl.glm("high ~ ses * sector", data, family="binomial", cluster="school")
    >>> fit.tidy()[["estimate", "std_error", "df"]].round(3)
                          estimate  std_error       df
    term
    Intercept               -1.325      0.061   82.379
    ses                      1.000      0.063   78.747
    sector[Catholic]         0.454      0.102  142.372
    ses:sector[Catholic]    -0.425      0.098  137.861
    """
    if not isinstance(formula, str):
        raise CrosslevelError(f"`formula` is text such as 'y ~ x * z'; got {type(formula).__name__}.")
    names, law = () if cluster is None else cluster_names(cluster), family_of(family)
    check_vcov(vcov, clustered=bool(names))
    reading = check_reading(weights, data, "glm")
    design = build_design(
        formula, data, missing=missing, weights=reading, offset=offset, clusters=names,
        outcome=AskedOutcome(family=law, trials=trials, exposure=exposure, is_quasi=True),
    )  # fmt: skip
    if not len(design.x):
        raise CrosslevelError(f"`formula` has no coefficients: {formula!r}. Add predictors, or leave the intercept in.")
    given = {
        "family": law, "cluster": cluster, "vcov": vcov, "weights": reading, "offset": offset, "exposure": exposure,
        "trials": trials, "missing": missing,
    }  # fmt: skip
    return fit_glm(formula, data, given, design, names, vcov)


def check_reading(weights: object, data: Frame, function: str) -> Weights | None:
    """Weights as they are to be read; refuses sampling weights, and data that come in batches.

    Raises
    ------
    CrosslevelError : see above.
    """
    reading = check_weights(weights)
    if isinstance(reading, Sampling):
        raise CrosslevelError(
            f"`weights` are sampling weights, which `{function}` does not take: write cl.Precision('w') or "
            "cl.Frequency('w') if that is what they are, or fit the pseudo-likelihood with cl.mixed(..., family=)."
        )
    if open_source(data) is not None:
        raise CrosslevelError(
            f"`data` is read in batches, which `{function}` does not do: it looks at rows in memory. Read them first, "
            "with cl.read(path) or the library's own reader."
        )
    return reading


def fit_glm(
    formula: str, data: Frame, given: Mapping[str, Any], design: Design, clusters: tuple[str, ...], vcov: str | None
) -> GLMFit:
    """Maximise the likelihood, and work out the covariance of the coefficients."""
    assert design.outcome is not None
    solved = regress_responses(response_rows(design, given["family"], design.outcome))
    name = vcov or default_vcov(design, solved, clusters)
    fit = GLMFit(
        formula=formula, data=data, given=given, design=design, solved=solved, clusters=clusters,
        whole=response_covariance(design, solved, name, clusters),
    )  # fmt: skip
    if not fit.converged:
        warnings.warn(fit.separation or fit.status, ConvergenceWarning, stacklevel=3)
    return fit


def default_vcov(design: Design, solved: "ResponseRegression", clusters: tuple[str, ...]) -> str:
    """The covariance where none is named: CR2 of clusters where there are leverages, else CR1; iid without clusters."""
    if not clusters:
        return "iid"
    return "CR2" if ResponseSource(design=design, solved=solved).is_weighted_regression else SCORED[3]
