"""Predictions of a fitted model, with their standard errors and intervals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.target_rows import NewRows, TargetRows, UsedRows, new_rows
from crosslevel.inference.distributions import normal_quantile
from crosslevel.inference.prediction import PredictionError, effects_of, new_level_variance
from crosslevel.inference.wald import check_level
from crosslevel.residual import ResidualStructure
from crosslevel.solve import Solution
from crosslevel.table import group_codes
from crosslevel.types import CodeArray, FloatArray, Frame

Interval: TypeAlias = Literal["confidence", "prediction"]
NewLevels: TypeAlias = Literal["zero", "raise"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """What is predicted: the fixed part, with the random effects of some grouping factors.

    Attributes
    ----------
    design, solution : the fitted model.
    chosen : positions of the factors that are predicted with.
    """

    design: Design = field(repr=False)
    solution: Solution = field(repr=False)
    chosen: tuple[int, ...]

    def estimates(self, rows: TargetRows) -> FloatArray:
        """Predictions (n,) without offset."""
        effects = self._effects()
        out = np.empty(rows.n_rows)
        for block, levels, place in rows.blocks():
            out[place] = self._estimate(effects, block, levels)
        return out

    def with_variances(self, rows: TargetRows) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Predictions (n,), variances of their errors, and those that the other factors' levels, unknown, would add."""
        effects, error = self._effects(), PredictionError.of(self.solution, self.chosen)
        estimates, variance, others = np.empty(rows.n_rows), np.empty(rows.n_rows), np.zeros(rows.n_rows)
        for block, levels, place in rows.blocks():
            estimates[place] = self._estimate(effects, block, levels)
            z = [block[self.design.factors[k].z] for k in self.chosen]
            variance[place] = error.variance(block[self.design.x], z, [[(codes, None)] for codes in levels])
            for k, factor in enumerate(self.design.factors):
                if k not in self.chosen:
                    others[place] += new_level_variance(self.solution, k, block[factor.z], [None])
        return estimates, variance, others

    def _effects(self) -> list[FloatArray]:
        """Conditional modes (J + 1, q) of the chosen factors; those of an unknown level, zeros, last."""
        effects = [effects_of(self.solution, k) for k in self.chosen]
        return [np.vstack([own, np.zeros(own.shape[1])]) for own in effects]

    def _estimate(self, effects: Sequence[FloatArray], block: FloatArray, levels: Sequence[CodeArray]) -> FloatArray:
        """Predictions of the rows of a block (m, L)."""
        out = self.solution.beta @ block[self.design.x]
        for k, own, codes in zip(self.chosen, effects, levels, strict=True):
            out = out + np.einsum("lq,ql->l", own[codes], block[self.design.factors[k].z])
        return np.asarray(out)


def predict(
    design: Design,
    solution: Solution,
    structure: ResidualStructure | None,
    new: Frame | None,
    *,
    random_effects: bool | Sequence[str],
    se: bool,
    interval: Interval | None,
    level: float,
    new_levels: NewLevels,
) -> pd.Series | pd.DataFrame:
    """Predictions of rows; see `MixedFit.predict`.

    Levels that are unknown or missing have random effects of zero, and sigma^2 z'Psi z is added to the variance of the
    prediction error. A prediction interval adds the residual variance of the row (by its weight, its stratum, its
    covariate) and sigma^2 z'Psi z of the factors that are not predicted with: a new row's residual is independent of
    those of the fit, and a new cluster's effects are. With sampling weights the covariance of beta is the sandwich.

    Returns
    -------
    Series of predictions; or frame of estimate, std_error (of the prediction of x'beta + z'b, whatever the interval),
    conf_low, conf_high, by default of the confidence interval. NaN in rows with missing predictors.

    Raises
    ------
    CrosslevelError : a wrong argument.
    """
    if interval not in (None, "confidence", "prediction"):
        raise CrosslevelError(f"`interval` is 'confidence', 'prediction' or None; got {interval!r}.")
    if new_levels not in ("zero", "raise"):
        raise CrosslevelError(f"`new_levels` is 'zero' or 'raise'; got {new_levels!r}.")
    check_level(level)
    chosen = chosen_factors(design, random_effects)
    rows = rows_of(design, structure, new, chosen)
    if new_levels == "raise" and isinstance(rows, NewRows):
        _refuse_new_levels(rows, chosen)
    predictor = Predictor(design=design, solution=solution, chosen=chosen)
    offset = rows.offset
    if not se and interval is None:
        return pd.Series(rows.spread(predictor.estimates(rows) + offset), index=rows.index, name="prediction")
    estimates, variance, others = predictor.with_variances(rows)
    wide = variance
    if interval == "prediction":
        wide = variance + others + solution.sigma**2 * rows.residual_variances(solution, estimates)
    half = normal_quantile(0.5 + level / 2.0) * np.sqrt(wide)
    estimates = estimates + offset
    columns = {
        "estimate": estimates, "std_error": np.sqrt(variance), "conf_low": estimates - half,
        "conf_high": estimates + half,
    }  # fmt: skip
    return pd.DataFrame({name: rows.spread(values) for name, values in columns.items()}, index=rows.index)


def chosen_factors(design: Design, random_effects: bool | Sequence[str]) -> tuple[int, ...]:
    """Positions of the grouping factors that are predicted with.

    Raises
    ------
    CrosslevelError : a name that is no grouping factor.
    """
    if isinstance(random_effects, bool | np.bool_):
        return tuple(range(len(design.factors))) if random_effects else ()
    names = [factor.name for factor in design.factors]
    if isinstance(random_effects, str) or not isinstance(random_effects, Iterable):
        raise CrosslevelError(
            f"`random_effects` is True, False or a list of grouping factors such as {names[:1]}; "
            f"got {random_effects!r}."
        )
    wanted = list(random_effects)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise CrosslevelError(
            f"`random_effects` names {', '.join(map(repr, unknown))}; the grouping factors of the model are "
            f"{', '.join(map(repr, names))}."
        )
    return tuple(k for k, name in enumerate(names) if name in wanted)


def rows_of(
    design: Design, structure: ResidualStructure | None, new: Frame | None, chosen: tuple[int, ...]
) -> TargetRows:
    """The rows of the fit, or of a new frame."""
    factors = tuple(design.factors[k] for k in chosen)
    return UsedRows(design=design, factors=factors) if new is None else new_rows(design, structure, factors, new)


def _refuse_new_levels(rows: NewRows, chosen: tuple[int, ...]) -> None:
    """Refuse levels that were not in the fit, in rows that are predicted; and missing ones."""
    for k, codes in zip(chosen, rows.codes, strict=True):
        factor = rows.design.factors[k]
        unknown = codes < 0 if rows.mask is None else (codes < 0) & rows.mask
        n_unknown = int(np.count_nonzero(unknown))
        if n_unknown:
            found = group_codes(rows.columns, factor.group)
            levels = [found.levels[code] for code in np.unique(found.codes[unknown]) if code >= 0]
            shown = ", ".join(repr(level) for level in levels[:5]) + (", ..." if len(levels) > 5 else "")
            raise CrosslevelError(
                f"`new` has {n_unknown} rows whose {factor.name} was not in the fit ({shown or 'missing'}). Leave "
                "them out, or write new_levels='zero' to predict them with random effects of zero."
            )
