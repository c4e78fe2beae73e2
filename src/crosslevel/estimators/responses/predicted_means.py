"""Predicted means of models without random effects: the linear predictor, carried over by the link."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.target_rows import TargetRows, UsedRows, new_rows
from crosslevel.families import Family
from crosslevel.inference.distributions import t_quantile
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.wald import check_level
from crosslevel.types import FloatArray, Frame


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanModel:
    """What predictions need.

    Attributes
    ----------
    design, family : the model.
    beta : (p,) all coefficients, in the units of the data.
    covariance : of these.
    """

    design: Design
    family: Family
    beta: FloatArray
    covariance: OrdinaryCovariance


def check_scale(scale: object, level: float) -> None:
    """Refuse arguments that mean nothing."""
    if scale not in ("response", "link"):
        raise CrosslevelError(f"`scale` is 'response' or 'link'; got {scale!r}.")
    check_level(level)


def target_rows(design: Design, new: Frame | None) -> TargetRows:
    """The rows used, or those of a new frame."""
    return UsedRows(design=design, factors=()) if new is None else new_rows(design, None, (), new)


def linear_predictor(
    model: MeanModel, rows: TargetRows, *, se: bool = False
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Linear predictors (n,), and if wanted their standard errors and degrees of freedom."""
    eta, errors, df = np.empty(rows.n_rows), np.full(rows.n_rows, np.nan), np.full(rows.n_rows, np.inf)
    for block in rows.blocks():
        x = block.columns[model.design.x].T
        eta[block.place] = x @ model.beta
        if se:
            errors[block.place] = model.covariance.std_error(x)
            df[block.place] = model.covariance.df(x)
    return eta + rows.offset, errors, df


def predicted_means(
    model: MeanModel, new: Frame | None, *, scale: str, se: bool, level: float
) -> pd.Series | pd.DataFrame:
    """Predictions on the scale of the response or of the link, with intervals that are made on the link's."""
    check_scale(scale, level)
    rows, family = target_rows(model.design, new), model.family
    eta, errors, df = linear_predictor(model, rows, se=se)
    estimates = eta if scale == "link" else family.mean(eta)
    if not se:
        return pd.Series(rows.spread(estimates), index=rows.index, name="prediction")
    half = t_quantile(0.5 + level / 2.0, df) * errors
    limits = np.array([eta - half, eta + half])
    if scale == "response":
        errors, limits = np.abs(family.mean_slope(eta)) * errors, family.mean(limits)
    columns = {"estimate": estimates, "std_error": errors, "conf_low": limits[0], "conf_high": limits[1]}
    return pd.DataFrame({name: rows.spread(values) for name, values in columns.items()}, index=rows.index)
