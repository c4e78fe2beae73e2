"""Diagnostics where they are hard: skewed outcomes, models without much in them, words that have to stay true."""

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl


def skewed(seed: int, spread: float) -> pd.DataFrame:
    """Log-normal outcomes of 600 rows in 30 clusters."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(30), 20)
    x, b = rng.normal(size=600), rng.normal(size=30) * 0.6
    return pd.DataFrame({"g": g, "x": x, "amount": np.exp(1 + 0.5 * x + b[g] + spread * rng.normal(size=600))})


def test_a_power_of_fitted_values_settles_where_plain_rounds_jump_to_and_fro():
    data = skewed(0, 0.3)
    fit = cl.mixed("amount ~ x + (1|g)", data, residual=cl.residual.Power())
    assert fit.status.startswith("Converged")
    # the end is what it has to be: held at these fitted values, the same model has the same parameters
    held = cl.mixed("amount ~ x + (1|g)", data.assign(v=fit.fitted), residual=cl.residual.Power("v"))
    power = fit.residual_parameters()["estimate"]["power"]
    assert held.residual_parameters()["estimate"]["power"] == pytest.approx(power, abs=1e-6)
    np.testing.assert_allclose(held.fitted, fit.fitted, rtol=1e-6)


def test_a_power_of_fitted_values_that_does_not_settle_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("crosslevel.solve.residual.ROUNDS", 3)
    with pytest.warns(cl.ConvergenceWarning, match="the fitted values, on which the residual variance depends"):
        fit = cl.mixed("amount ~ x + (1|g)", skewed(0, 1.0), residual=cl.residual.Power())
    assert np.isfinite(fit.deviance)
