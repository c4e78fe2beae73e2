"""`latent_mean`: contextual effects of cluster means that are themselves estimated from the rows of a sample."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from crosslevel.diagnostics.diagnostic import Concern
from crosslevel.diagnostics.sensitivity.mismeasured import Mismeasured, error_variance
from crosslevel.diagnostics.sensitivity.table_rows import row_of
from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed import mixed
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.two_level_normal import TwoLevelNormal, two_level_normal
from crosslevel.inference.wald import check_level, coefficient_table
from crosslevel.types import FloatArray, Frame

PARTS = ("within", "between", "contextual")
"""Effects of the predictor: of deviations from cluster means, of the means, and the second less the first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentMean:
    """Effects of a predictor within and between clusters, whose means are latent.

    Attributes
    ----------
    outcome, variable, group : what the model is about.
    table : coefficient table with latent means: effects of the predictor first, then the other predictors.
    manifest : the same with the observed means in their place.
    within_variance, between_variance : of the predictor given the others, sigma² (error included) and tau².
    error : variance of the measurement error of rows, as it was told; 0 for none.
    sizes : rows used, by cluster.
    level : confidence level.
    """

    outcome: str
    variable: str
    group: str
    table: pd.DataFrame = field(repr=False)
    manifest: pd.DataFrame = field(repr=False)
    within_variance: float
    between_variance: float
    error: float
    sizes: pd.Series = field(repr=False)
    level: float

    @property
    def names(self) -> tuple[str, str, str]:
        """Names of the predictor's effects within, between, and of the contextual effect."""
        within, between, contextual = (f"{part}({self.variable}, {self.group})" for part in PARTS)
        return within, between, contextual

    @property
    def icc(self) -> float:
        """tau² / (tau² + sigma²) of the predictor given the others."""
        return self.between_variance / (self.between_variance + self.within_variance)

    @cached_property
    def reliability(self) -> pd.Series:
        """Of each cluster's observed mean, n ICC / (1 + (n - 1) ICC), given the other predictors."""
        n = self.sizes.to_numpy(dtype=np.float64)
        return pd.Series(n * self.icc / (1.0 + (n - 1.0) * self.icc), index=self.sizes.index, name="reliability")

    @property
    def frame(self) -> pd.DataFrame:
        """The coefficient table, with columns manifest and manifest_std_error from observed means."""
        same = self.manifest.loc[self.table.index]
        return self.table.assign(manifest=same["estimate"], manifest_std_error=same["std_error"])

    @property
    def concern(self) -> Concern:
        """The light: "act" where the interval of the contextual effect leaves out its estimate from observed means."""
        row = row_of(self.table, self.names[2])
        manifest = row_of(self.manifest, self.names[2])["estimate"]
        if not row["conf_low"] <= manifest <= row["conf_high"]:
            return "act"
        return "look" if float(self.reliability.mean()) < 0.8 else "none"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the means' error does to the effects, in words with numbers."""
        from crosslevel.diagnostics.sensitivity.measurement_words import latent_sentences

        return latent_sentences(self)

    def document(self) -> Document:
        """Sentences, and the effects with latent and with observed means side by side."""
        from crosslevel.diagnostics.sensitivity.measurement_words import latent_document

        return latent_document(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def latent_mean(
    model: "MixedFit | str",
    data: Frame | None = None,
    *,
    variable: str,
    group: str | None = None,
    reliability: float | None = None,
    error_sd: float | None = None,
    level: float = 0.95,
) -> LatentMean:
    """Effects of a predictor within and between clusters, where the rows are a sample of each cluster.

    The mean of a few sampled rows is the cluster's mean with an error, which pulls the coefficient of between(x, g)
    towards that of within(x, g): with n rows in each cluster its expectation is

        beta_W + (beta_B - beta_W) n ICC / (1 + (n - 1) ICC).

    Here the mean is a latent variable: x and y are modelled together,

        x_ij = gamma'w_ij + U_j + R_ij,    y_ij = delta'w_ij + beta_B U_j + beta_W R_ij + u_j + e_ij,

    with the exact likelihood of clusters of any sizes. The contextual effect is beta_B - beta_W. Use it where the rows
    are a sample of people who could be exchanged for others; where they are all of a cluster (a class whose pupils were
    all asked), the observed mean has no such error. Other predictors that vary in clusters stand in both equations as
    deviations from their cluster means, and these means, as observed.

    Parameters
    ----------
    model : a fit of `mixed` with random intercepts of the clusters, or its formula.
    data : a frame, with a formula.
    variable : the data column of the predictor, x.
    group : the clusters; by default the grouping factor of the model.
    reliability, error_sd : where rows are measured with error, too: share of the variance of x over rows that is not
        error, or the error's standard deviation; beta_W is then that of x without error.
    level : confidence level.

    Returns
    -------
    LatentMean : prints as sentences and a table; `.frame`, `.reliability` by cluster.

    Raises
    ------
    CrosslevelError : another kind of model, a predictor without variance between clusters, or impossible errors.

    Source
    ------
    Lüdtke, Marsh, Robitzsch, Trautwein, Asparouhov & Muthén (2008), Psychol. Methods 13: 203-229; Marsh et al. (2009),
    Multivar. Behav. Res. 44: 764-802, with measurement error. Degrees of freedom: clusters less predictors of them less
    one, and rows less clusters less predictors of rows.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> found = cl.latent_mean("mathach ~ within(ses, school) + between(ses, school) + (1 | school)", data,
    ...                        variable="ses")
    >>> found.frame[["estimate", "std_error", "manifest", "manifest_std_error"]].round(2)
                             estimate  std_error  manifest  manifest_std_error
    term
    within(ses, school)          2.19       0.11      2.19                0.11
    between(ses, school)         6.10       0.38      5.87                0.36
    contextual(ses, school)      3.90       0.40      3.67                0.38
    Intercept                   12.69       0.15     12.68                0.15
    """
    check_level(level)
    fit = _fit_of(model, data)
    subject = Mismeasured.of(fit, variable, group, "cl.latent_mean")
    _refuse(fit, subject)
    error = error_variance(subject.x, reliability, error_sd, none=True)
    y = fit.design.spec.response(fit.design.columns, mask=fit.design.mask)
    if fit.design.response is not None:
        y = fit.design.response
    joint = two_level_normal(np.column_stack([subject.x, y]), subject.w, subject.codes)
    _refuse_variances(subject, joint, error)
    return LatentMean(
        outcome=fit.spec.response_name, variable=variable, group=subject.group,
        table=_table(subject, *_effects(subject, joint, error), level),
        manifest=_table(subject, *_manifest(subject, y), level),
        within_variance=float(joint.within[0, 0]), between_variance=float(joint.between[0, 0]), error=error,
        sizes=subject.rows_by_cluster,
        level=level,
    )  # fmt: skip


def _fit_of(model: "MixedFit | str", data: Frame | None) -> MixedFit:
    """The fit, made from a formula if that was given.

    Raises
    ------
    CrosslevelError : neither.
    """
    if isinstance(model, MixedFit):
        return model
    if not isinstance(model, str) or data is None:
        raise CrosslevelError(
            "`latent_mean` takes a fit of cl.mixed, or a formula and data: cl.latent_mean('y ~ x + (1 | g)', data, "
            f"variable='x'); got {type(model).__name__}{' without data' if data is None else ''}. For outcomes of "
            "other families use cl.measurement_error(fit, 'x', error_sd=0, members='sample')."
        )
    return mixed(model, data, method="ml", progress=False)


def _refuse(fit: MixedFit, subject: Mismeasured) -> None:
    """Refuse models that are not a random intercept of the clusters, and predictors that are none of rows.

    Raises
    ------
    CrosslevelError : see above.
    """
    design = fit.design
    instead = (
        f"Use cl.measurement_error(fit, {subject.variable!r}, error_sd=0, members='sample'), which puts the "
        "expected means in their place."
    )
    products = [
        name.name for name in (fit.spec.columns[j] for j in design.x)
        if len(name.factors) > 1 and subject.variable in name.variables
    ]  # fmt: skip
    reasons = {
        f"has {', '.join(products)}, and the joint model is linear in {subject.variable}": bool(products),
        f"has other random effects than intercepts of {subject.group}": (
            len(design.factors) != 1 or design.factors[0].name != subject.group or design.structure.q != 1
            or bool(design.factors[0].members)
        ),
        "has weights": design.weights is not None,
        "has an offset": design.offset is not None,
        "has a residual structure": design.residual is not None,
        "has a prior": fit.solution.prior is not None,
    }  # fmt: skip
    for reason, holds in reasons.items():
        if holds:
            raise CrosslevelError(
                f"`latent_mean` is for linear models with random intercepts; this one {reason}. {instead}"
            )
    if subject.is_context:
        raise CrosslevelError(
            f"`variable` {subject.variable} is constant within clusters of {subject.group}, so that it is no mean of "
            "rows. For its measurement error use cl.measurement_error."
        )


def _refuse_variances(subject: Mismeasured, joint: TwoLevelNormal, error: float) -> None:
    """Refuse predictors whose variance is zero between clusters, or nothing but error within.

    Raises
    ------
    CrosslevelError : see above.
    """
    within, between = float(joint.within[0, 0]), float(joint.between[0, 0])
    if between <= 1e-8 * within:
        raise CrosslevelError(
            f"`variable` {subject.variable} does not vary between clusters of {subject.group} beyond what sampling of "
            "rows brings about, so that there is no effect of its mean to be estimated. Leave the mean out."
        )
    if error >= within:
        raise CrosslevelError(
            f"`error_sd` (or `reliability`) says that {subject.variable} has an error variance of {error:.4g}, but it "
            f"varies by no more than {within:.4g} within clusters of {subject.group}. Check the number."
        )


def _effects(subject: Mismeasured, joint: TwoLevelNormal, error: float) -> tuple[FloatArray, FloatArray]:
    """Effects (3 + k,) of the predictor within, between and contextual, and of the others; their covariance.

    beta_W = Sigma_W,xy / (Sigma_W,xx - s²), beta_B = Sigma_B,xy / Sigma_B,xx, and the others' direct effects are those
    in the equation of y less beta_B or beta_W times those in the equation of x. Covariance by the delta method.
    """
    k = len(subject.names)
    in_x, in_y = joint.coefficients[:, 0], joint.coefficients[:, 1]
    inner, outer = joint.within[0, 0] - error, joint.between[0, 0]
    slope_within, slope_between = joint.within[1, 0] / inner, joint.between[1, 0] / outer
    own = np.where(subject.above, slope_between, slope_within)

    # derivatives in the coefficients (x, y of each regressor), then xx, xy, yy within and between
    jacobian = np.zeros((3 + k, 2 * k + 6))
    jacobian[0, 2 * k : 2 * k + 2] = [-slope_within / inner, 1.0 / inner]
    jacobian[1, 2 * k + 3 : 2 * k + 5] = [-slope_between / outer, 1.0 / outer]
    jacobian[2] = jacobian[1] - jacobian[0]
    for j in range(k):
        jacobian[3 + j] = -in_x[j] * jacobian[1 if subject.above[j] else 0]
        jacobian[3 + j, 2 * j : 2 * j + 2] = [-own[j], 1.0]
    vcov = np.zeros((2 * k + 6, 2 * k + 6))
    vcov[: 2 * k, : 2 * k], vcov[2 * k :, 2 * k :] = joint.coefficients_vcov, joint.covariances_vcov
    effects = np.concatenate([[slope_within, slope_between, slope_between - slope_within], in_y - own * in_x])
    return effects, jacobian @ vcov @ jacobian.T


def _manifest(subject: Mismeasured, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The same effects with the observed means."""
    mean = subject.means(subject.x)[subject.codes]
    w = np.column_stack([subject.x - mean, mean, subject.w])
    found = two_level_normal(y[:, None], w, subject.codes)
    change = np.eye(w.shape[1])
    change = np.insert(change, 2, change[1] - change[0], axis=0)
    return change @ found.coefficients[:, 0], change @ found.coefficients_vcov @ change.T


def _table(subject: Mismeasured, effects: FloatArray, vcov: FloatArray, level: float) -> pd.DataFrame:
    """Coefficient table, with degrees of freedom of clusters or rows."""
    names = (*(f"{part}({subject.variable}, {subject.group})" for part in PARTS), *subject.names)
    n, n_clusters, above = len(subject.x), len(subject.levels), int(np.count_nonzero(subject.above))
    between = n_clusters - above - 1.0  # the intercept is one of them, the latent mean one more
    within = n - n_clusters - (len(subject.names) - above) - 1.0
    is_above = np.concatenate([[False, True, True], subject.above])
    df = np.maximum(np.where(is_above, between, within), 1.0)
    return coefficient_table(names, effects, np.sqrt(np.diag(vcov)), df, level=level)
