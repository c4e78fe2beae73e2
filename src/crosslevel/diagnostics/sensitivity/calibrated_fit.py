"""A model fitted with the expected values of a predictor in its place, and the standard errors that go with it.

The coefficients b are those of a fit that depends on the parameters a of the predictor's model. The likelihood of the
outcome is one given the observed predictors, so that its score is uncorrelated with that of a, and

    Var(b) = V_b(a) + D Var(a) D',      D = db / da,

V_b the fit's own covariance. D is found by fitting again at a plus and minus a twentieth of its standard errors.

Source: Murphy & Topel (1985), J. Bus. Econ. Stat. 3: 370-379.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosslevel.diagnostics.sensitivity.calibration import Members, PredictorModel, predictor_model
from crosslevel.diagnostics.sensitivity.mismeasured import Mismeasured
from crosslevel.errors import ConvergenceWarning, CrosslevelError
from crosslevel.formula.expressions import quoted
from crosslevel.formula.rewriting import replace_expressions
from crosslevel.types import FloatArray

STEP = 0.05
"""Standard errors of a parameter that derivatives are taken over."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibrated:
    """Regression calibration of a fit.

    Attributes
    ----------
    model : of the predictor given the others, with its reliabilities.
    fit : the model with expected values in the predictor's place; its standard errors take these for known.
    estimate : (p,) its coefficients, in the order of the fit as it was.
    vcov : (p, p) their covariance, with what estimating the predictor's model adds.
    """

    model: PredictorModel = field(repr=False)
    fit: Any = field(repr=False)
    estimate: FloatArray
    vcov: FloatArray = field(repr=False)

    @property
    def std_error(self) -> FloatArray:
        """(p,)."""
        return np.asarray(np.sqrt(np.diag(self.vcov)))


def calibrated(subject: Mismeasured, error: float, members: Members) -> Calibrated:
    """Fit a model with the expected values of a predictor.

    Raises
    ------
    CrosslevelError : the error is larger than what the predictor varies by, or the model cannot be fitted then.
    """
    model = predictor_model(subject, error, members)
    fit = _fitted(model, model.parameters)
    std_error = np.sqrt(np.diag(model.vcov))
    slopes = np.zeros((len(fit.params), len(std_error)))
    for k in np.flatnonzero(std_error > 0.0):
        ends = []
        for side in (1.0, -1.0):
            moved = model.parameters.copy()
            moved[k] += side * STEP * std_error[k]
            moved[-2:] = np.maximum(moved[-2:], 0.0)
            ends.append((moved[k], _fitted(model, moved).params.to_numpy()))
        slopes[:, k] = (ends[0][1] - ends[1][1]) / (ends[0][0] - ends[1][0])
    vcov = fit.vcov.to_numpy() + slopes @ model.vcov @ slopes.T
    return Calibrated(model=model, fit=fit, estimate=fit.params.to_numpy(), vcov=vcov)


def _fitted(model: PredictorModel, parameters: FloatArray) -> Any:
    """The fit at parameters of the predictor's model."""
    subject = model.subject
    replaced = model.replaced(parameters)
    names = {text: _new_name(subject, text) for text in replaced}
    data = subject.with_columns({names[text]: values for text, values in replaced.items()})
    formula = replace_expressions(subject.fit.spec.formula, {text: quoted(name) for text, name in names.items()})
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            fit = subject.fit.update(formula, data=data)
        except ConvergenceWarning as warning:
            raise CrosslevelError(
                f"With expected values of {subject.variable} in its place the fit is not reached: {warning} Simplify "
                "the random effects."
            ) from warning
    if len(fit.params) != len(subject.fit.params):
        raise CrosslevelError(
            f"With expected values of {subject.variable} in its place the coefficients are not identified. The model "
            "may be one of deviations and means both, of a predictor that hardly varies within clusters."
        )
    return fit


def _new_name(subject: Mismeasured, text: str) -> str:
    """A column name that the data do not have, for the expected value of an expression."""
    name = f"E[{text}]".replace("`", "")  # a name in backquotes cannot have any itself
    while name in subject.fit.design.columns.names:
        name = f"E{name}"
    return name
