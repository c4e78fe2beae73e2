"""`transport`: how well a model predicts clusters that it was not fitted to."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from crosslevel.diagnostics.diagnostic import AnyFit, Concern
from crosslevel.diagnostics.sensitivity.held_out import (
    clusters_named,
    folds_of,
    held_out,
    outcomes,
    refuse_unfit,
    weighted_slope,
)
from crosslevel.display import Document
from crosslevel.errors import ConvergenceWarning, CrosslevelError, MemoryShortageError
from crosslevel.estimators.asked.robust import default_clusters
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.inference.bootstrap.run import Reporter
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.types import CodeArray, FloatArray

SHRUNK, WIDE, LEAST = 0.8, 1.25, 10
"""Calibration slopes beyond which predictions are called too extreme, or too timid, and clusters that tell it."""

FAR = 3.0
"""Expected standard deviations from which on a cluster is one that the model does not carry over to."""

TOLD, ROUNDING = 0.25, 1e-9
"""Size of predicted cluster means, over that of observed ones, from which predictors tell them apart, and size of
differences, over the outcome's spread, below which these are rounding's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Transport:
    """Predictions of clusters by fits to other clusters.

    Attributes
    ----------
    group, outcome : the clusters, the outcome.
    rows : by row: cluster, fold, observed, predicted (NaN where a fit failed), null (the mean of the fit's clusters).
    clusters : by cluster that was predicted: rows, fold, log_density, mean_sd (of the error of its mean, as expected).
    problems : by fold, why there is no fit, or what is wrong with it.
    n_folds : fits.
    whole : error_sd between and within of the fit to all clusters, at its own rows.
    """

    group: str
    outcome: str
    rows: pd.DataFrame = field(repr=False)
    clusters: pd.DataFrame = field(repr=False)
    problems: dict[int, str] = field(repr=False)
    n_folds: int
    whole: dict[str, float] = field(repr=False)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each cluster that was predicted.

        Columns rows; fold; observed, predicted: means; error: their difference; mean_sd, z: what the model expects it
        to be like, and the error over that; rmse: of its rows; rmse_within: of its rows about their own mean; slope: of
        observed on predicted within the cluster; log_score: log density per row, of all its rows together.
        """
        rows = self.rows.assign(error=self.rows["observed"] - self.rows["predicted"])
        by = rows.groupby("cluster", sort=False)
        means = by[["observed", "predicted", "error"]].mean()
        inside = rows["error"] - by["error"].transform("mean")
        # a missing prediction makes the whole cluster's numbers missing
        size = by.size()
        rmse = np.sqrt((rows["error"] ** 2).groupby(rows["cluster"], sort=False).sum(min_count=1) / size)
        within = np.sqrt((inside**2).groupby(rows["cluster"], sort=False).sum(min_count=1) / size)
        slopes = by.apply(lambda part: weighted_slope(part["observed"].to_numpy(), part["predicted"].to_numpy()))
        frame = self.clusters.join(means)
        return frame.assign(
            z=frame["error"] / frame["mean_sd"], rmse=rmse, rmse_within=within, slope=slopes,
            log_score=frame["log_density"] / frame["rows"],
        )[
            ["rows", "fold", "observed", "predicted", "error", "mean_sd", "z", "rmse", "rmse_within", "slope",
             "log_score"]
        ]  # fmt: skip

    @cached_property
    def summary(self) -> pd.Series:
        """Over all clusters that were predicted.

        rmse: of rows; rmse_within: of rows about the mean error of their cluster; rmse_between: root mean square error
        of cluster means; bias: mean error of these; in_sample_between, in_sample_within: the same of the fit to all
        clusters, without their random effects; r2, r2_within, r2_between: share of the squared errors that predicting
        the mean of the other clusters (within: the cluster's own mean) makes and the model does not; slope_within,
        slope_between: of observed on predicted, 1 if predictions are neither too extreme (below 1) nor too timid;
        told_between: size of the predictions of means, less the mean of the others, over that of the means themselves;
        log_score: log density per row; mean_z2: mean squared z, 1 if clusters differ as much as the model expects. What
        compares with observed or predicted values that are all alike is NaN.
        """
        rows, frame = self.rows[self.rows["predicted"].notna()], self.frame[self.frame["predicted"].notna()]
        observed, predicted = (rows[name].to_numpy(dtype=np.float64) for name in ("observed", "predicted"))
        mean_y, mean_x = (rows.groupby("cluster")[n].transform("mean").to_numpy() for n in ("observed", "predicted"))
        error, inside = observed - predicted, (observed - mean_y) - (predicted - mean_x)
        null = rows.groupby("cluster", sort=False)["null"].first().reindex(frame.index).to_numpy()
        means, z, size = (frame[name].to_numpy(dtype=np.float64) for name in ("observed", "z", "rows"))
        forecast = frame["predicted"].to_numpy(dtype=np.float64)
        spread = float(np.std(observed)) if len(observed) else 0.0
        between, score = (frame[name].to_numpy(dtype=np.float64) for name in ("error", "log_score"))
        numbers: dict[str, float] = {
            "rmse": _rms(error), "rmse_within": _rms(inside), "rmse_between": _rms(between),
            "bias": float(between.mean()) if len(between) else np.nan,
            "in_sample_within": self.whole["within"], "in_sample_between": self.whole["between"],
            "r2": _gain(error, observed - rows["null"].to_numpy(), spread),
            "r2_within": _gain(inside, observed - mean_y, spread), "r2_between": _gain(between, means - null, spread),
            "slope_within": _slope(observed - mean_y, predicted - mean_x, spread),
            "slope_between": _slope(means, forecast, spread), "told_between": _told(means - null, forecast - null),
            "log_score": float(score @ size / size.sum()) if len(size) else np.nan,
            "mean_z2": float(np.nanmean(z**2)) if np.isfinite(z).any() else np.nan,
        }  # fmt: skip
        return pd.Series(list(numbers.values()), index=list(numbers), name=self.outcome)

    @property
    def missed(self) -> tuple[str, ...]:
        """Clusters that no fit predicts, as the fit to the others is not possible."""
        return tuple(str(name) for name in self.frame.index[self.frame["predicted"].isna()])

    @property
    def far(self) -> tuple[str, ...]:
        """Clusters whose mean is further from its prediction than three expected standard deviations."""
        z = self.frame["z"].abs()
        order = z[z > FAR].sort_values(ascending=False, kind="stable")
        return tuple(str(name) for name in order.index)

    @property
    def tells_means(self) -> bool:
        """Whether predictors tell clusters' means apart; where not, what is left out shifts all predictions alike."""
        return bool(self.summary["told_between"] >= TOLD)

    @property
    def miscalibrated(self) -> dict[str, float]:
        """The calibration slopes, "within" and "between", that are far from 1; of few clusters none is told."""
        if len(self.clusters) < LEAST:
            return {}
        parts = ("within", "between") if self.tells_means else ("within",)
        slopes = {part: float(self.summary[f"slope_{part}"]) for part in parts}
        return {part: s for part, s in slopes.items() if np.isfinite(s) and not SHRUNK <= s <= WIDE}

    @property
    def concern(self) -> Concern:
        """The light: "act" where the model predicts worse than a mean, "look" where it is too sure, or far off."""
        found = self.summary
        if found["r2_within"] < 0.0 or (found["r2_between"] < 0.0 and self.tells_means):
            return "act"
        off = self.far or self.problems or self.miscalibrated or found["mean_z2"] > 2.0
        return "look" if off else "none"

    @property
    def sentences(self) -> tuple[str, ...]:
        """How well the model carries over, in words with numbers."""
        from crosslevel.diagnostics.sensitivity.transport_words import sentences

        return tuple(sentences(self))

    def document(self) -> Document:
        """Sentences, and the clusters that are predicted worst."""
        from crosslevel.diagnostics.sensitivity.transport_words import write

        return write(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def transport(
    fit: AnyFit,
    *,
    folds: int | None = None,
    leave: str | None = None,
    to: Sequence[object] | None = None,
    group: str | None = None,
    seed: int = 1,
    progress: bool = True,
) -> Transport:
    """Fit a model to some clusters, and predict the others: whether its results carry over.

    Clusters that are left out are new: their random effects are not known, and the prediction is that of the fixed part
    (for other families averaged over the random effects). Each fit is exact, from the rows of the other clusters, whose
    means and codings alone are learnt. Errors are told apart between clusters (of their means) and within.

    Parameters
    ----------
    fit : of `mixed` or `ols`.
    folds : in how many parts clusters are divided, at random, each predicted by a fit to the others; 10, or as many as
        there are clusters, if nothing is said.
    leave : "cluster" leaves one cluster out at a time.
    to : clusters to predict, all together, from a fit to the others.
    group : the clusters; the outermost of the model if None.
    seed : of the folds.
    progress : whether to report, on the standard error stream, how far a long run has come.

    Returns
    -------
    Transport : prints as sentences and a table; `.summary`, `.frame` by cluster, `.rows`; figure `cl.plot.transport`.

    Raises
    ------
    CrosslevelError : arguments that contradict each other, or fits that cannot be fitted to a part of their data.

    Source
    ------
    Roberts et al. (2017), Ecography 40: 913-929, for validation by blocks; Steyerberg et al. (2010), Epidemiology 21:
    128-138, for calibration slopes; Afshartous & de Leeuw (2005), J. Educ. Behav. Stat. 30: 109-139, for multilevel
    predictions.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses + sector + (ses | school)", cl.datasets.load("hsb"))
    >>> found = cl.transport(fit, folds=5, progress=False)
    >>> found.summary[["rmse", "r2_within", "r2_between", "slope_between"]].round(2).to_dict()
    {'rmse': 6.37, 'r2_within': 0.05, 'r2_between': 0.51, 'slope_between': 1.21}
    """
    if not isinstance(fit, AnyFit):
        raise CrosslevelError(f"`transport` takes a fit of cl.mixed or cl.ols; got {type(fit).__name__}.")
    refuse_unfit(fit, "transport")
    clusters = clustering_named(fit.design, _group(fit, group))
    parts = _parts(clusters, folds, leave, to, seed)
    columns, y = fit.design.columns, outcomes(fit)
    frame = columns.to_pandas(columns.names, mask=fit.design.mask)
    n, n_clusters = len(y), clusters.n_clusters
    predicted, null, fold = np.full(n, np.nan), np.full(n, np.nan), np.full(n_clusters, -1)
    density, spread, problems = np.full(n_clusters, np.nan), np.full(n_clusters, np.nan), dict[int, str]()
    reporter = Reporter(n=len(parts), shown=progress, what="transport")
    for k, part in enumerate(parts):
        fold[part] = k
        out = np.isin(clusters.codes, part)
        null[out] = y[~out].mean()
        again, problems_here = _refitted(fit, frame[~out])
        if again is not None:
            codes = np.searchsorted(part, clusters.codes[out]).astype(np.int32)
            try:
                found = held_out(again, frame[out].reset_index(drop=True), y[out], codes, len(part))
            except MemoryShortageError:
                raise
            except CrosslevelError as error:
                problems_here = str(error)
            else:
                predicted[out], density[part], spread[part] = found.predicted, found.log_density, found.mean_sd
        if problems_here:
            problems[k] = problems_here
        reporter.add(1)
        reporter.show()
    reporter.end()
    if not np.isfinite(predicted).any():
        raise CrosslevelError(
            f"`transport` has no fit that predicts other clusters. {next(iter(problems.values()), '')}"
        )
    return _record(fit, clusters, y, predicted, null, fold, density, spread, problems, len(parts))


def _record(
    fit: AnyFit, clusters: Clustering, y: FloatArray, predicted: FloatArray, null: FloatArray, fold: np.ndarray,
    density: FloatArray, spread: FloatArray, problems: dict[int, str], n_folds: int,
) -> Transport:  # fmt: skip
    """What was found, by row and by cluster that was predicted."""
    names = np.array([str(level) for level in clusters.levels], dtype=object)
    there = fold[clusters.codes] >= 0
    rows = pd.DataFrame(
        {"cluster": names[clusters.codes], "fold": fold[clusters.codes], "observed": y, "predicted": predicted,
         "null": null}
    )[there].reset_index(drop=True)  # fmt: skip
    size = np.bincount(clusters.codes, minlength=clusters.n_clusters)
    shown = (fold >= 0) & (size > 0)
    table = pd.DataFrame(
        {"rows": size, "fold": fold, "log_density": density, "mean_sd": spread},
        index=pd.Index(names, name="cluster"),
    )[shown]  # fmt: skip
    return Transport(
        group=clusters.name, outcome=fit.spec.response_name, rows=rows, clusters=table, problems=problems,
        n_folds=n_folds, whole=_in_sample(fit, y, clusters.codes, clusters.n_clusters, shown),
    )  # fmt: skip


def _in_sample(fit: AnyFit, y: FloatArray, codes: CodeArray, n_clusters: int, shown: np.ndarray) -> dict[str, float]:
    """Errors of the fit to all clusters at the rows of those that are predicted, without random effects."""
    if isinstance(fit, GeneralizedFit):
        expected = fit.predict(random_effects="average").to_numpy(dtype=np.float64)
    elif isinstance(fit, MixedFit):
        expected = fit.predict(random_effects=False).to_numpy(dtype=np.float64)
    else:
        expected = fit.fitted.to_numpy(dtype=np.float64)
    error = y - expected
    mean = np.bincount(codes, error, n_clusters) / np.maximum(np.bincount(codes, minlength=n_clusters), 1)
    inside = (error - mean[codes])[shown[codes]]
    return {"between": _rms(mean[shown]), "within": _rms(inside)}


def _refitted(fit: AnyFit, frame: pd.DataFrame) -> tuple[AnyFit | None, str]:
    """The fit to other clusters, and what is wrong with it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            again: AnyFit = fit.update(data=frame.reset_index(drop=True))
        except MemoryShortageError:
            raise
        except (CrosslevelError, np.linalg.LinAlgError) as error:
            return None, str(error)
    words = [str(each.message) for each in caught if issubclass(each.category, ConvergenceWarning)]
    return again, " ".join(words)


def _group(fit: AnyFit, group: str | None) -> str:
    """The clusters that are left out.

    Raises
    ------
    CrosslevelError : none are named, and the model has none.
    """
    if group is not None:
        if not isinstance(group, str):
            raise CrosslevelError(f"`group` is the name of a grouping factor or column; got {group!r}.")
        return group
    if not isinstance(fit, OLSFit):
        return default_clusters(fit)[0]
    if not fit.clusters:
        raise CrosslevelError("`group` is needed: the regression knows of no clusters. Name their column.")
    return fit.clusters[0]


def _parts(
    clusters: Clustering, folds: int | None, leave: str | None, to: Sequence[object] | None, seed: int
) -> list[list[int]]:
    """Clusters that are left out together, by fit.

    Raises
    ------
    CrosslevelError : arguments that contradict each other, or too few clusters.
    """
    if sum(each is not None for each in (folds, leave, to)) > 1:
        raise CrosslevelError("`folds`, `leave` and `to` are three ways to leave clusters out; give one of them.")
    n = clusters.n_clusters
    if n < 3:
        raise CrosslevelError(f"`transport` needs three clusters at least, and {clusters.name} has {n}.")
    if to is not None:
        part = clusters_named(
            list(to) if isinstance(to, Iterable) and not isinstance(to, str) else [to], clusters.levels, clusters.name
        )
        if len(part) > n - 2:
            raise CrosslevelError(f"`to` names {len(part)} of {n} clusters; a fit needs two others at least.")
        return [part]
    if leave is not None:
        if leave != "cluster":
            raise CrosslevelError(f"`leave` is 'cluster'; got {leave!r}.")
        return [[k] for k in range(n)]
    count = min(10, n) if folds is None else folds
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 2 <= count <= n:
        raise CrosslevelError(f"`folds` is a number from 2 to the number of clusters, {n}; got {folds!r}.")
    return folds_of(n, int(count), seed)


def _rms(values: FloatArray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(values**2))) if len(values) else np.nan


def _gain(error: FloatArray, null: FloatArray, spread: float) -> float:
    """1 - sum of squared errors over that of the null; NaN where the null makes none but rounding's."""
    return 1.0 - float(error @ error) / float(null @ null) if _rms(null) > ROUNDING * spread else np.nan


def _slope(observed: FloatArray, predicted: FloatArray, spread: float) -> float:
    """Slope of observed on predicted; NaN where predictions are alike but for rounding."""
    return weighted_slope(observed, predicted) if len(predicted) and np.std(predicted) > ROUNDING * spread else np.nan


def _told(means: FloatArray, predicted: FloatArray) -> float:
    """Size of what is predicted of cluster means over that of these, both less the mean of the others."""
    size = _rms(means)
    return _rms(predicted) / size if size > 0.0 else np.nan
