"""Residuals of models of other families than the normal one."""

import numpy as np
import pandas as pd
from scipy.special import ndtri

from crosslevel.diagnostics.generalized.simulator import Simulator
from crosslevel.diagnostics.residuals.record import Residuals
from crosslevel.diagnostics.residuals.tables import cluster_frame, with_residual_means
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.generalized.likelihoods import require_likelihood
from crosslevel.estimators.generalized.rows import linear_predictor
from crosslevel.estimators.random import level_index
from crosslevel.estimators.rows import row_index
from crosslevel.types import FloatArray

EDGE = 1e-12
"""Quantile residuals are kept from 0 and 1 by this, where normal scores are infinite."""

FEWEST = 20
"""Simulations that a `Simulator` asks for; none are drawn here."""


def of_generalized(fit: GeneralizedFit, rng: np.random.Generator) -> Residuals:
    """Residuals of a generalized linear mixed model; `rng` breaks ties of quantile residuals."""
    require_likelihood(fit, "`residuals`")
    model, family, outcome = Simulator.of(fit, what="residuals", n=FEWEST), fit.family, fit.outcome
    eta, size, shape = linear_predictor(fit), outcome.size, fit.solution.shape
    y = np.asarray(outcome.y, dtype=np.float64)
    below, at_most = family.cdf(y, eta, size, shape)
    quantile = np.clip(below + rng.random(len(y)) * (at_most - below), EDGE, 1.0 - EDGE)
    fitted = family.outcome_mean(eta, size, shape)
    spread = np.sqrt(family.outcome_variance(eta, size, shape))
    average = _average(fit, model)
    rows = pd.DataFrame(
        {
            "fitted": fitted / size, "fitted_marginal": average / size, "conditional": (y - fitted) / size,
            "marginal": (y - average) / size, "standardized": ndtri(quantile), "quantile": quantile,
            "pearson": np.divide(y - fitted, spread, out=np.full(len(y), np.nan), where=spread > 0.0),
        },
        index=row_index(fit.design),
    )  # fmt: skip
    clusters = {}
    for k, factor in enumerate(fit.design.factors):
        modes, given = fit._modes[k]
        psi = fit.variance_components[k].covariance
        frame = cluster_frame(level_index(factor), fit.design.effects_of(factor), modes, psi - given, np.diag(psi))
        clusters[factor.name] = with_residual_means(frame, rows, fit.design.used_members(factor))
    notes: tuple[str, ...] = (
        "Standardised residuals are normal scores of randomised quantile residuals given the random effects. Those of "
        "random effects take their distribution for a normal one: cl.envelope(fit, of='random effects') does not.",
    )
    if family.kind == "ordered":
        notes += ("Fitted values and residuals are of the numbers of the categories, from 0.",)
    return Residuals(outcome=fit.spec.response_name, kind="generalized", rows=rows, clusters=clusters, notes=notes)


def _average(fit: GeneralizedFit, model: Simulator) -> FloatArray:
    """(n,) mean outcome averaged over the random effects, of the rows used in their order."""
    return fit.solution.criterion.rows.in_data_order(model.average_mean())
