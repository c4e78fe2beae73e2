"""Predictions of a fitted model, with their standard errors and intervals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.design.factors import GroupingFactor
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.new_rows import Interval, NewLevels
from crosslevel.estimators.target_rows import Block, NewRows, TargetRows, UsedRows, new_rows
from crosslevel.inference.distributions import normal_quantile
from crosslevel.inference.prediction import PredictionError, contribution, effects_of, new_level_variance
from crosslevel.inference.wald import check_level
from crosslevel.solve import Solution
from crosslevel.table import group_codes
from crosslevel.types import FloatArray, Frame

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit


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
        for block in rows.blocks():
            out[block.place] = self._estimate(effects, block)
        return out

    def with_variances(self, rows: TargetRows) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Predictions (n,), variances of their errors, and those that the other factors' levels, unknown, would add."""
        effects = self._effects()
        error = PredictionError.of(self.solution, self.chosen, joint=any(self._factor(k).members for k in self.chosen))
        estimates, variance, others = np.empty(rows.n_rows), np.empty(rows.n_rows), np.zeros(rows.n_rows)
        for block in rows.blocks():
            estimates[block.place] = self._estimate(effects, block)
            z = [block.columns[self._factor(k).z] for k in self.chosen]
            read = dict(zip(rows.factors, block.members, strict=True))
            members = [read[self._factor(k)] for k in self.chosen]
            variance[block.place] = error.variance(block.columns[self.design.x], z, members)
            for k, factor in enumerate(self.design.factors):
                if k not in self.chosen:
                    columns = block.columns[factor.z]
                    own = read.get(factor, [(np.full(columns.shape[1], -1, dtype=np.int32), None)])
                    others[block.place] += new_level_variance(self.solution, k, columns, own)
        return estimates, variance, others

    def _factor(self, k: int) -> GroupingFactor:
        """The grouping factor at a position."""
        return self.design.factors[k]

    def _effects(self) -> list[FloatArray]:
        """Conditional modes (J, q) of the chosen factors."""
        return [effects_of(self.solution, k) for k in self.chosen]

    def _estimate(self, effects: Sequence[FloatArray], block: Block) -> FloatArray:
        """Predictions of the rows of a block."""
        out = self.solution.beta @ block.columns[self.design.x]
        for k, own, members in zip(self.chosen, effects, block.members[: len(effects)], strict=True):
            out = out + contribution(own, block.columns[self._factor(k).z], members)
        return np.asarray(out)


def predicted(
    fit: "MixedFit",
    new: Frame | None = None,
    *,
    random_effects: bool | Sequence[str] = True,
    se: bool = False,
    interval: Interval | None = None,
    level: float = 0.95,
    new_levels: NewLevels = "zero",
) -> pd.Series | pd.DataFrame:
    """What `MixedFit.predict` answers; see there."""
    design, solution = fit.design, fit.solution
    if interval not in (None, "confidence", "prediction"):
        raise CrosslevelError(f"`interval` is 'confidence', 'prediction' or None; got {interval!r}.")
    if new_levels not in ("zero", "raise"):
        raise CrosslevelError(f"`new_levels` is 'zero' or 'raise'; got {new_levels!r}.")
    check_level(level)
    chosen = chosen_factors(design, random_effects)
    rows = rows_of(fit, new, _wanted(design, chosen, interval))
    if new_levels == "raise" and isinstance(rows, NewRows):
        refuse_new_levels(rows, chosen)
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


def _wanted(design: Design, chosen: tuple[int, ...], interval: Interval | None) -> tuple[int, ...]:
    """The factors whose levels have to be read: those chosen, then those of whose levels rows have unequal shares."""
    several = [k for k, factor in enumerate(design.factors) if factor.membership is not None and k not in chosen]
    return (*chosen, *several) if interval == "prediction" else chosen


def rows_of(fit: "MixedFit", new: Frame | None, wanted: tuple[int, ...]) -> TargetRows:
    """The rows of the fit, or of a new frame, with their levels in the factors at the wanted positions."""
    factors = tuple(fit.design.factors[k] for k in wanted)
    if new is None:
        return UsedRows(design=fit.design, factors=factors)
    return new_rows(fit.design, fit.given["residual"], factors, new)


def refuse_new_levels(rows: NewRows, chosen: tuple[int, ...]) -> None:
    """Refuse levels that were not in the fit, in rows that are predicted; and missing ones."""
    for factor, members in zip(rows.factors[: len(chosen)], rows.members, strict=False):
        names = (factor.group,) if factor.membership is None else ((name,) for name in factor.membership.members)
        for columns, (codes, share) in zip(names, members, strict=True):
            unknown = codes < 0 if share is None else (codes < 0) & (share > 0.0)
            unknown = unknown if rows.mask is None else unknown & rows.mask
            n_unknown = int(np.count_nonzero(unknown))
            if n_unknown:
                found = group_codes(rows.columns, columns)
                levels = [found.levels[code] for code in np.unique(found.codes[unknown]) if code >= 0]
                shown = ", ".join(repr(level) for level in levels[:5]) + (", ..." if len(levels) > 5 else "")
                raise CrosslevelError(
                    f"`new` has {n_unknown} rows whose {':'.join(columns)} was not in the fit ({shown or 'missing'}). "
                    "Leave them out, or write new_levels='zero' to predict them with random effects of zero."
                )
