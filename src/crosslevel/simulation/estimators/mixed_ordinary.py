"""What the solver of single fits adds to compiled ones: replications they leave to it, and intervals they lack."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from crosslevel.errors import ConvergenceWarning, CrosslevelError
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.df import DF_METHODS
from crosslevel.inference.estimates import Single
from crosslevel.inference.growth_curve import component_reliabilities
from crosslevel.simulation.estimators.mixed_batch import MixedBatch, Wanted
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.model import Model
from crosslevel.types import FloatArray


def fit_one(model: Model, drawn: Drawn, r: int) -> tuple[Outcome, MixedFit | None]:
    """One replication by the ordinary solver, or why there is no fit."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            fit = model.fit(drawn, r)
    except ConvergenceWarning:
        return Outcome.UNCONVERGED, None
    except (CrosslevelError, np.linalg.LinAlgError):
        return Outcome.REFUSED, None
    if fit.design.aliased:
        return Outcome.UNIDENTIFIED, None
    return Outcome.FITTED, fit


def batch_of(fit: MixedFit, wanted: Wanted) -> MixedBatch:
    """One fit as a batch."""
    solution, terms, q = fit.solution, wanted.terms, len(fit.design.z)
    contrasts = np.eye(len(solution.beta))[terms]
    out = MixedBatch.none(1, len(solution.beta), q, len(terms))
    out.outcome[0], out.ordinary[0], out.singular[0] = int(Outcome.FITTED), True, solution.is_singular
    out.n_rows[0], out.deviance[0], out.sigma[0] = fit.nobs, solution.deviance, solution.sigma
    out.beta[0], out.std_error[0], out.factor[0] = solution.beta, np.sqrt(np.diag(solution.vcov)), solution.factors[0]
    for t, effects in enumerate(wanted.others):
        if wanted.satterthwaite:
            found = _single(fit, "satterthwaite", contrasts[t])
            out.satterthwaite[0, t] = np.nan if found is None else found.df[0]
        if wanted.kenward_roger or (wanted.growth_curve and len(effects)):
            found = _single(fit, "kenward-roger", contrasts[t])
            if found is not None:
                ratio = found.std_error[0] / out.std_error[0, terms[t]]
                out.excess[0, t], out.kenward_roger[0, t] = 0.5 * (ratio**2 - 1.0), found.df[0]
        if wanted.growth_curve:
            out.reliability[0, t] = 0.0
            if len(effects):
                out.reliability[0, t, : len(effects)] = component_reliabilities(fit.estimates, 0, effects)
    return out


def _single(fit: MixedFit, name: str, contrast: FloatArray) -> Single | None:
    """Standard error and degrees of freedom of a combination (p,); None where the method is not defined."""
    try:
        return DF_METHODS[name].single(fit.estimates, contrast[None])
    except CrosslevelError:
        return None


def slow_intervals(
    fit: MixedFit, names: Sequence[str], terms: Sequence[str], level: float
) -> tuple[FloatArray, FloatArray]:
    """Both ends (T, I) of I kinds of intervals of a fit, NaN where a kind is not defined."""
    low, high = np.full((2, len(terms), len(names)), np.nan)
    for i, name in enumerate(names):
        try:
            frame: Any = fit.conf_int(level, method=name)
        except CrosslevelError:
            continue
        low[:, i], high[:, i] = frame.loc[list(terms)].to_numpy(dtype=np.float64).T
    return low, high
