"""`measurement_error`: what coefficients would be if a predictor were measured without error."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.diagnostics.diagnostic import AnyFit, Concern
from crosslevel.diagnostics.sensitivity.calibrated_fit import Calibrated, calibrated
from crosslevel.diagnostics.sensitivity.calibration import Members
from crosslevel.diagnostics.sensitivity.mismeasured import Mismeasured, error_variance
from crosslevel.diagnostics.sensitivity.simex import GRID, SimulatedPath, simulated_path
from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed import mixed
from crosslevel.inference.wald import check_level, coefficient_table
from crosslevel.types import FloatArray, Frame

Way: TypeAlias = Literal["simex", "calibration"]


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasurementError:
    """Coefficients corrected for the measurement error of a predictor.

    Attributes
    ----------
    variable, group, outcome : the predictor, the clusters ("" for none), the outcome.
    method : "simex" or "calibration".
    error_sd, reliability : standard deviation of the error, and share of the predictor's variance that is none (over
        rows, or over clusters for a predictor of these).
    naive, table : coefficient tables as fitted, and corrected.
    involved : the coefficients of terms that have the predictor.
    path : of SIMEX, estimates with added error; None of calibration.
    calibrated : of calibration, the fit with expected values in the predictor's place and the reliabilities; else None.
    level : confidence level.
    """

    variable: str
    group: str
    outcome: str
    method: Way
    error_sd: float
    reliability: float
    naive: pd.DataFrame = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    involved: tuple[str, ...]
    path: SimulatedPath | None = field(repr=False)
    calibrated: Calibrated | None = field(repr=False)
    level: float

    @property
    def frame(self) -> pd.DataFrame:
        """The corrected coefficient table, with columns naive, naive_std_error and mcse (of SIMEX, else 0)."""
        error = 0.0 if self.path is None else self.path.mcse
        return self.table.assign(naive=self.naive["estimate"], naive_std_error=self.naive["std_error"], mcse=error)

    @property
    def reliability_within(self) -> float:
        """Of a row's deviation from its cluster, given the other predictors; NaN unless by calibration."""
        return np.nan if self.calibrated is None else self.calibrated.model.reliability_within

    @property
    def reliability_means(self) -> pd.Series | None:
        """Of each cluster's observed mean, given the other predictors; None unless by calibration in clusters."""
        if self.calibrated is None or not self.group:
            return None
        model = self.calibrated.model
        levels = pd.Index(model.subject.levels, name=self.group)
        return pd.Series(model.reliability_means, index=levels, name="reliability")

    @property
    def concern(self) -> Concern:
        """The light: "act" where a sign or the result of a test changes, "look" where a coefficient moves by an SE."""
        small = 1.0 - self.level
        old, new = self.naive, self.table
        other = ((old["p_value"] < small) != (new["p_value"] < small)) | (old["estimate"] * new["estimate"] < 0.0)
        slopes = [term for term in new.index if term != "Intercept"]
        moved = (new["estimate"] - old["estimate"]).abs() > old["std_error"]
        return "act" if bool(other[slopes].any()) else "look" if bool(moved[slopes].any()) else "none"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the error does to the coefficients, in words with numbers."""
        from crosslevel.diagnostics.sensitivity.measurement_words import error_sentences

        return error_sentences(self)

    def document(self) -> Document:
        """Sentences, and coefficients as fitted and corrected side by side."""
        from crosslevel.diagnostics.sensitivity.measurement_words import error_document

        return error_document(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def measurement_error(
    model: "AnyFit | str",
    variable: str,
    *,
    data: Frame | None = None,
    reliability: float | None = None,
    error_sd: float | None = None,
    group: str | None = None,
    method: Way = "calibration",
    members: Members = "all",
    level: float = 0.95,
    n: int = 50,
    added: Sequence[float] = GRID,
    seed: int = 1,
    progress: bool = True,
) -> MeasurementError:
    """Correct the coefficients of a model for the measurement error of one predictor, whose size is known.

    The observed x is x* + m with m ~ N(0, s²), independent of everything. Of a predictor of rows each row has an error
    of its own, of one that is constant within clusters each cluster. In the mean of a cluster's n rows the error is
    s² / n: it is small where clusters are large, and the coefficient of between(x, g) is then hardly attenuated while
    that of within(x, g) is, by more than the reliability over all rows suggests.

    "calibration" (regression calibration): x, within(x, g) and between(x, g) are replaced by what x*, its deviation and
    its mean are expected to be given x and the other predictors, from a random-intercept model of x, with the
    reliability of deviations and of each cluster's mean. Exact for linear models, with any random effects; approximate
    for other families. Standard errors contain what estimating the model of x adds.

    "simex" (simulation and extrapolation): error of variance lambda s² is added, the model is fitted again `n` times
    for each lambda, and a parabola in lambda through the mean estimates is extrapolated to lambda = -1. For any
    formula, I(x**2) too; a little of the bias stays where there is much error (reliability below .7). Variances are
    those of Stefanski & Cook: mean model variance less the variance between replicates, extrapolated likewise.

    Parameters
    ----------
    model : a fit of `mixed` (of any family) or `ols`; or a formula of `mixed`, with `data`.
    variable : the data column of the predictor, a number.
    data : a frame, with a formula.
    reliability : share of the predictor's variance that is not error, over rows (over clusters for a predictor of
        clusters), such as Cronbach's alpha; or
    error_sd : standard deviation of the error, in units of the predictor. Calibration takes 0 for no error but that of
        sampled means, with members="sample".
    group : the clusters of the cluster means; by default those of between(x, g), or the model's only ones.
    method : "calibration" or "simex".
    members : of calibration, what a cluster's mean is that of: "all", the rows in the data, or "sample", a larger
        cluster they are sampled from (a latent mean, see `cl.latent_mean`).
    level : confidence level.
    n, added : of SIMEX, fits for each lambda, and the lambdas, above 0.
    seed : of SIMEX.
    progress : whether SIMEX reports how far it has come.

    Returns
    -------
    MeasurementError : prints as sentences and a table; `.frame`; figure `cl.plot.simex`.

    Raises
    ------
    CrosslevelError : a wrong argument, more error than the predictor varies by, or a form of the predictor in the
        formula that calibration does not know.

    Source
    ------
    Carroll, Ruppert, Stefanski & Crainiceanu (2006), Measurement Error in Nonlinear Models, chapters 4 and 5; Stefanski
    & Cook (1995), J. Am. Stat. Assoc. 90: 1247-1256; Lüdtke et al. (2008), Psychol. Methods 13: 203-229.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.mixed("mathach ~ within(ses, school) + between(ses, school) + (1 | school)", data)
    >>> cl.measurement_error(fit, "ses", reliability=0.8).frame[["naive", "estimate", "std_error"]].round(3)
                           naive  estimate  std_error
    term
    Intercept             12.683    12.683      0.150
    within(ses, school)    2.191     3.011      0.151
    between(ses, school)   5.866     5.962      0.368
    """
    check_level(level)
    fit = _fit_of(model, data)
    if method not in ("simex", "calibration"):
        raise CrosslevelError(f"`method` is 'calibration' or 'simex'; got {method!r}.")
    if members not in ("sample", "all"):
        raise CrosslevelError(
            "`members` is 'all' (the cluster's mean is that of its rows) or 'sample' (of a cluster that they are drawn "
            f"from); got {members!r}."
        )
    if method == "calibration" and fit.design.is_sampled:
        raise CrosslevelError(
            "method='calibration' models the predictor without weights, and this model has sampling weights. Use "
            "method='simex'."
        )
    subject = Mismeasured.of(
        fit, variable, group, "cl.measurement_error(..., method='calibration')", any_form=method == "simex"
    )
    error = error_variance(subject.units, reliability, error_sd)
    naive = fit.tidy(level=level)
    involved = tuple(fit.spec.columns[j].name for j in fit.design.x if variable in fit.spec.columns[j].variables)
    whole = float(np.var(subject.units))
    path, found = None, None
    if method == "simex":
        path = simulated_path(subject, error, added=_lambdas(added), n=_count(n), seed=seed, progress=progress)
        table = _table(naive, path.extrapolated, path.std_error, level)
    else:
        found = calibrated(subject, error, members)
        table = _table(naive, found.estimate, found.std_error, level)
    return MeasurementError(
        variable=variable, group=subject.group, outcome=fit.spec.response_name, method=method,
        error_sd=float(np.sqrt(error)), reliability=1.0 - error / whole, naive=naive, table=table, involved=involved,
        path=path, calibrated=found, level=level,
    )  # fmt: skip


def _fit_of(model: "AnyFit | str", data: Frame | None) -> AnyFit:
    """The fit, made from a formula if that was given.

    Raises
    ------
    CrosslevelError : neither, or a fit without a likelihood of rows in memory.
    """
    if isinstance(model, str) and data is not None:
        model = mixed(model, data, progress=False)
    if not isinstance(model, AnyFit):
        raise CrosslevelError(
            "`measurement_error` takes a fit of cl.mixed or cl.ols, or a formula of cl.mixed with data=; got "
            f"{type(model).__name__}{' without data' if isinstance(model, str) else ''}."
        )
    if model.design.stream is not None:
        raise CrosslevelError(
            "`measurement_error` reads rows again and again, and this model was fitted to data read in batches. Fit it "
            "to a sample of the clusters in memory."
        )
    weights = model.design.weights
    if weights is not None and weights.is_frequency:
        raise CrosslevelError(
            "`measurement_error` gives each row an error of its own, and with cl.Frequency a row stands for several. "
            "Repeat the rows instead, as in data.loc[data.index.repeat(data['w'])]."
        )
    if model.design.response is not None:
        raise CrosslevelError(
            "`measurement_error` fits the model to its data again, and this fit has another outcome, given to "
            "`refit`. Put the outcome into the data, and fit that."
        )
    return model


def _table(naive: pd.DataFrame, estimate: FloatArray, std_error: FloatArray, level: float) -> pd.DataFrame:
    """The corrected coefficient table, with the degrees of freedom of the fit."""
    names = tuple(str(term) for term in naive.index)
    return coefficient_table(names, estimate, std_error, naive["df"].to_numpy(dtype=np.float64), level=level)


def _lambdas(added: Sequence[float]) -> tuple[float, ...]:
    """Amounts of added error.

    Raises
    ------
    CrosslevelError : too few for a parabola, or none that are amounts.
    """
    found = sorted({float(value) for value in added})
    if len(found) < 2 or found[0] <= 0.0 or not np.isfinite(found[-1]):
        raise CrosslevelError(
            f"`added` are at least two amounts of added error above 0, such as {list(GRID)}; got {list(added)!r}."
        )
    return tuple(found)


def _count(n: object) -> int:
    """Fits for each amount.

    Raises
    ------
    CrosslevelError : fewer than tell their variance.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 10:
        raise CrosslevelError(f"`n` is a number of fits for each amount of added error, at least 10; got {n!r}.")
    return int(n)
