"""`linearity`: whether predictors act along straight lines."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.diagnostics.diagnostic import AnyFit, Concern
from crosslevel.diagnostics.residuals import linearity_words as words
from crosslevel.diagnostics.residuals.homogeneity import bands_of, fitted_of
from crosslevel.diagnostics.residuals.predictors import Predictor, predictors_of
from crosslevel.display import Document
from crosslevel.errors import ConvergenceWarning, CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.inference.curves import curve_columns, knots_of
from crosslevel.inference.multiplicity import holm
from crosslevel.inference.wald import check_level
from crosslevel.types import FloatArray

POINTS = 101
"""Values of a predictor at which its curve is told."""

STEP = 1e-4
"""Step of the linear predictor for the derivative of the mean outcome."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """The course of the outcome along one predictor, other predictors and random effects held.

    Attributes
    ----------
    name : of the coefficient.
    within : the clusters within which the predictor varies and is compared; "" for a predictor of clusters or rows.
    df_num, df_den, statistic, p_value : F test that the columns a curve adds are not needed.
    bend : largest distance of the curve from its own straight line between the 5th and 95th percentile of the
        predictor, over the residual standard deviation (of other families, on the scale of the linear predictor).
    rows : by row used: value, partial (residual of the fit with the curve, plus the curve; none for other families).
    bins : bands of equally many rows: value, partial (mean), rows.
    curve : value, line (of the fit), curve, and conf_low and conf_high of the curve, all about their means.
    """

    name: str
    within: str
    df_num: float
    df_den: float
    statistic: float
    p_value: float
    bend: float
    rows: pd.DataFrame = field(repr=False)
    bins: pd.DataFrame = field(repr=False)
    curve: pd.DataFrame = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Linearity:
    """Tests of straight lines against curves; figure `cl.plot.linearity`.

    Attributes
    ----------
    outcome : name of the outcome.
    courses : one for each predictor.
    level : confidence level of the curves.
    unit : what bends are measured in, in words.
    """

    outcome: str
    courses: tuple[Course, ...]
    level: float
    unit: str

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Tests by predictor: within, df_num, df_den, statistic (F), p_value, p_adjusted (Holm), bend."""
        names = ("within", "df_num", "df_den", "statistic", "p_value")
        columns: dict[str, Any] = {name: [getattr(course, name) for course in self.courses] for name in names}
        columns["p_adjusted"] = holm(np.array(columns["p_value"]))
        columns["bend"] = [course.bend for course in self.courses]
        return pd.DataFrame(columns, index=pd.Index([course.name for course in self.courses], name="term"))

    @property
    def sentences(self) -> tuple[str, ...]:
        """Which predictors act along curves, how strongly, and what to do."""
        return words.sentences(self)

    @property
    def concern(self) -> Concern:
        """The light: "look" where p < .05 (by Holm), "act" where the curve also bends by a fifth of sigma."""
        return words.concern(self)

    def document(self) -> Document:
        """The sentences and the tests."""
        return words.write(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def linearity(fit: AnyFit, x: str | Sequence[str] | None = None, *, level: float = 0.95) -> Linearity:
    """Ask of each numeric predictor whether it acts along a straight line, by a refit with a curve added.

    The model is fitted again with two more columns, those of a restricted cubic spline beside the line (a parabola
    where a predictor has fewer than six values), and the F test that both coefficients are zero is the fit's own:
    its variances are estimated anew, its degrees of freedom counted as in the fit. Of a predictor that varies within
    clusters the columns are centred at the clusters' means,

        y = ... + beta x_ij + gamma' (s(x_ij) - mean_j s) + ...,

    so that a curve within clusters is not mistaken for a context effect, nor the other way round. Partial residuals are
    conditional residuals of the richer fit plus the curve: those of the straight fit hide a part of a curve in the
    random effects.

    Parameters
    ----------
    fit : of `mixed` (any number of factors, any family) or of `ols`.
    x : coefficients such as "within(ses, school)", or data columns; None for all numeric predictors of the fixed part
        with more than two values. Interactions are left as they are: the line of a predictor is its mean slope.
    level : confidence level of the curves' bands.

    Returns
    -------
    Linearity : `.frame` with the tests, `.courses` with partial residuals and curves, `.sentences`.

    Raises
    ------
    CrosslevelError : no such predictor, or data that were read in batches.

    Source
    ------
    Harrell (2015), Regression Modeling Strategies, 2nd ed., section 2.4; Snijders & Berkhof (2008), in Handbook of
    Multilevel Analysis, section 3.3; Mallows (1986), Technometrics 28: 313-319, for augmented partial residuals.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses + meanses + (ses | school)", cl.datasets.load("hsb"))
    >>> cl.linearity(fit).frame[["within", "df_num", "statistic", "p_value", "bend"]].round(3)
             within  df_num  statistic  p_value   bend
    term
    ses      school     2.0      0.163    0.849  0.009
    meanses             2.0      1.623    0.201  0.063
    """
    if not isinstance(fit, AnyFit):
        raise CrosslevelError(
            f"`linearity` is for fits of cl.mixed and cl.ols; got {type(fit).__name__}. Fit the model by one of them."
        )
    if fit.design.stream is not None:
        raise CrosslevelError(
            "`linearity` fits the model to more columns, and these data were read in batches. Read a part of them into "
            "memory and fit the model to it."
        )
    check_level(level)
    if not (x is None or isinstance(x, str) or (isinstance(x, Sequence) and x and all(isinstance(n, str) for n in x))):
        raise CrosslevelError(f"`x` is the name of a predictor, a list of names, or None for all; got {x!r}.")
    wanted = [None] if x is None else [x] if isinstance(x, str) else list(x)
    found = [one for name in wanted for one in predictors_of(fit, name)]
    distinct = {one.name: one for one in found}
    courses = tuple(_course(fit, one, level) for one in distinct.values())
    unit = "units of the linear predictor" if isinstance(fit, GeneralizedFit) else "residual standard deviations"
    return Linearity(outcome=fit.spec.response_name, courses=courses, level=level, unit=unit)


def _course(fit: AnyFit, predictor: Predictor, level: float) -> Course:
    """Fit the model with a curve added, and tell what it looks like."""
    x = predictor.values
    knots, centre, unit = knots_of(x), float(x.mean()), float(x.std())
    added = predictor.centred(curve_columns(x, knots, centre, unit))
    names = _new_names(fit, len(added))
    richer = _refitted(fit, dict(zip(names, added, strict=True)))
    test, terms = _joint_test(richer, names)
    if not terms:
        raise CrosslevelError(
            f"The curve of {predictor.name!r} cannot be told from the other columns of the model, which may hold its "
            "powers already. Name other predictors in `x`."
        )
    grid = np.linspace(float(x.min()), float(x.max()), POINTS)
    kept = [names.index(name) for name in terms]
    columns = curve_columns(np.concatenate([x, grid]), knots, centre, unit)[kept]
    beta, vcov = _own_part(richer, [*predictor.weights, *terms])
    slopes = np.outer(list(predictor.weights.values()), np.concatenate([x, grid]))
    design = np.vstack([slopes, columns])
    design = design - design[:, : len(x)].mean(axis=1, keepdims=True)
    height = beta @ design
    half = _quantile(richer, test[1], level) * np.sqrt(np.maximum(np.einsum("an,ab,bn->n", design, vcov, design), 0.0))
    partial, bins = _partial(richer, x, height[: len(x)])
    curve = pd.DataFrame(
        {
            "value": grid, "line": predictor.slope * (grid - centre), "curve": height[len(x) :],
            "conf_low": (height - half)[len(x) :], "conf_high": (height + half)[len(x) :],
        }
    )  # fmt: skip
    scale = 1.0 if isinstance(fit, GeneralizedFit) else float(fit.sigma)
    return Course(
        name=predictor.name, within=predictor.within, df_num=test[0], df_den=test[1], statistic=test[2],
        p_value=test[3], bend=_bend(x, height[: len(x)]) / scale, rows=partial, bins=bins, curve=curve,
    )  # fmt: skip


def _new_names(fit: AnyFit, count: int) -> list[str]:
    """Names for columns that the data do not have."""
    taken, out, k = set(fit.design.columns.names), list[str](), 1
    while len(out) < count:
        if f"curve_{k}" not in taken:
            out.append(f"curve_{k}")
        k += 1
    return out


def _refitted(fit: AnyFit, added: dict[str, FloatArray]) -> Any:
    """The model with more columns, of values at the rows used."""
    design = fit.design
    frame = design.columns.to_pandas(design.columns.names).copy(deep=False)
    for name, values in added.items():
        whole = np.zeros(len(frame))
        whole[slice(None) if design.mask is None else design.mask] = values
        frame[name] = whole
    with warnings.catch_warnings(record=True):
        # a fit that is not reached says so in its numbers: the search of the richer model starts afresh
        warnings.simplefilter("always", ConvergenceWarning)
        return fit.update(f"~ . + {' + '.join(added)}", data=frame)


def _joint_test(richer: Any, names: list[str]) -> tuple[tuple[float, float, float, float], list[str]]:
    """F test (df_num, df_den, statistic, p_value) of the added coefficients, and which of them are identified."""
    terms = [name for name in names if name in richer.params.index]
    if not terms:
        return (0.0, np.nan, np.nan, np.nan), terms
    if isinstance(richer, OLSFit):
        found = richer.contrast(terms)
        return (float(found.df_num), float(found.df_den), float(found.statistic), float(found.p_value)), terms
    row = richer.contrast(terms, joint=True).iloc[0]
    return (float(row["df_num"]), float(row["df_den"]), float(row["statistic"]), float(row["p_value"])), terms


def _own_part(richer: Any, names: list[str]) -> tuple[FloatArray, FloatArray]:
    """Coefficients of the line and of the curve, and their covariance."""
    return richer.params.loc[names].to_numpy(), richer.vcov.loc[names, names].to_numpy()


def _quantile(richer: Any, df: float, level: float) -> float:
    """Of the t distribution with the test's degrees of freedom, or of the normal one."""
    from crosslevel.inference.distributions import normal_quantile, t_quantile

    p = 0.5 + level / 2.0
    return float(t_quantile(p, np.array([df]))[0]) if np.isfinite(df) else float(normal_quantile(p))


def _partial(richer: Any, x: FloatArray, height: FloatArray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Residuals of the richer fit plus its curve (n,), by row and by band of x; of other families by band only."""
    bands = bands_of(x)
    count = np.bincount(bands)
    if isinstance(richer, GeneralizedFit):
        # one weighted step of Newton's method in each band: residuals of single answers are too coarse to be drawn
        eta, size, shape = fitted_of(richer), richer.outcome.size, richer.solution.shape
        above, mean, below = (richer.family.outcome_mean(eta + step, size, shape) for step in (STEP, 0.0, -STEP))
        slope = np.bincount(bands, above - below) / (2.0 * STEP)
        heights = np.bincount(bands, height) / count + np.bincount(bands, richer.outcome.y - mean) / slope
        rows = pd.DataFrame({"value": x})
    else:
        partial = richer.augment()["resid"].to_numpy() + height
        heights = np.bincount(bands, partial) / count
        rows = pd.DataFrame({"value": x, "partial": partial})
    return rows, pd.DataFrame({"value": np.bincount(bands, x) / count, "partial": heights, "rows": count})


def _bend(x: FloatArray, height: FloatArray) -> float:
    """Largest distance of a curve from the straight line that fits it best, in the middle 90 % of the values."""
    line = np.polynomial.Polynomial.fit(x, height, 1)
    low, high = np.quantile(x, [0.05, 0.95])
    inside = (x >= low) & (x <= high)
    return float(np.max(np.abs(height - line(x))[inside]))
