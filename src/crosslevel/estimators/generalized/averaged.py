"""Predictions of single rows, averaged over the random effects: those of clusters of which nothing is known."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.estimators.generalized.expectations import bounded_limits
from crosslevel.estimators.target_rows import TargetRows
from crosslevel.inference.distributions import normal_quantile
from crosslevel.inference.generalized.predictive import Answer, category_answer, mean_answer, predictive
from crosslevel.inference.generalized.tangents import Effect, Places, Tangent, tangent
from crosslevel.inference.prediction import repeated
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit


def averaged_predictions(
    fit: "GeneralizedFit", rows: TargetRows, *, errors: bool, level: float
) -> "pd.Series | pd.DataFrame":
    """Expected outcomes of rows of unknown clusters, the population's; with `errors` standard errors and intervals.

    Parameters
    ----------
    fit : the fitted model.
    rows : the rows, with their levels in factors of multiple membership.
    errors : whether to give them, by the delta method in all parameters.
    level : confidence level.

    Returns
    -------
    Series; with `errors` a frame of estimate, std_error, conf_low, conf_high; of ordered categories a frame of
    probabilities, or with `errors` of these columns by row and category.
    """
    estimates = predictive(fit.solution)
    if fit.family.kind != "ordered":
        values, spread = _at(fit, rows, mean_answer(estimates), errors=errors)
        if not errors:
            return pd.Series(rows.spread(values), index=rows.index, name="prediction")
        return _table(rows, values, spread, log=fit.family.link == "log", level=level)
    names = fit.outcome.categories or ()
    found = [_at(fit, rows, category_answer(estimates, j), errors=errors) for j in range(len(names))]
    if not errors:
        columns = pd.Index(names, name=fit.spec.response_name)
        return pd.DataFrame(np.column_stack([rows.spread(own) for own, _ in found]), index=rows.index, columns=columns)
    tables = [_table(rows, own, spread, log=False, level=level) for own, spread in found]
    return pd.concat(tables, keys=list(names), names=["category"]).swaplevel().sort_index(sort_remaining=False)


def _at(fit: "GeneralizedFit", rows: TargetRows, answer: Answer, *, errors: bool) -> tuple[FloatArray, FloatArray]:
    """Averages (n,) and their standard errors (n,), zero unless `errors`."""
    estimates, values, spread = predictive(fit.solution), np.empty(rows.n_rows), np.zeros(rows.n_rows)
    offset = np.broadcast_to(rows.offset, rows.n_rows)
    for block in rows.blocks():
        members = dict(zip(rows.factors, block.members, strict=True))
        effects = [
            Effect(z=factor.z, share=repeated(members[factor], unknown=False)[:, None] if factor in members else None)
            for factor in fit.design.factors
        ]
        # every row is a setting of its own
        places = Places(
            x=fit.design.x, columns=block.columns.T[:, :, None], slopes=None, offset=offset[block.place, None],
            weights=np.ones(1),
        )  # fmt: skip
        found: Tangent = tangent(estimates, answer, effects, places)
        values[block.place] = found.value
        if errors:
            spread[block.place] = np.sqrt(estimates.variance_of(found.gradient))
    return values, spread


def _table(rows: TargetRows, values: FloatArray, spread: FloatArray, *, log: bool, level: float) -> pd.DataFrame:
    """Predictions with intervals that stay in the possible range."""
    low, high = bounded_limits(values, normal_quantile(0.5 + level / 2.0) * spread, log=log)
    columns = {"estimate": values, "std_error": spread, "conf_low": low, "conf_high": high}
    return pd.DataFrame({name: rows.spread(own) for name, own in columns.items()}, index=rows.index)
