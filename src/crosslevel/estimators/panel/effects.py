"""Tests of the effects of groups, and of serial correlation, of a fitted panel estimator."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError, DesignError
from crosslevel.inference.panel.differences import steps_between
from crosslevel.inference.panel.effect_tests import EffectTest, f_test, multiplier_tests
from crosslevel.inference.panel.panel import Panel
from crosslevel.inference.panel.quasi import pooled_regression
from crosslevel.inference.panel.serial import SerialTest, expected_within, serial_test
from crosslevel.inference.panel.within import varying_regression
from crosslevel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.estimators.panel.first_difference import DifferenceDetails
    from crosslevel.estimators.panel.fit import PanelFit


ENOUGH = 3
"""Pairs of residuals that follow each other, below which their correlation is not tested."""


def effect_tests(fit: "PanelFit") -> pd.DataFrame:
    """Tests of the effects of groups (and times); see `PanelFit.test_effects`."""
    tests = [*f_tests(fit), *multiplier_tests(fit.panel)]
    columns = ("distribution", "statistic", "df_num", "df_den", "p_value")
    rows = [[getattr(test, name) for name in columns] for test in tests]
    return pd.DataFrame(rows, columns=list(columns), index=pd.Index([test.name for test in tests], name="test"))


def f_tests(fit: "PanelFit") -> list[EffectTest]:
    """F tests of the effects of groups; of times too for a two-way regression."""
    from crosslevel.estimators.panel.fixed_effects import WithinDetails

    panel, details = fit.panel, fit.details
    within, pooled = varying_regression(panel), pooled_regression(panel)
    tests = [f_test(f"F, {panel.groups.name}", pooled, within)]
    if isinstance(details, WithinDetails) and details.is_two_way and panel.times is not None:
        groups, times, large = panel.groups.name, panel.times.name, details.regression
        tests.append(f_test(f"F, {times} given {groups}", within, large))
        tests.append(f_test(f"F, {groups} and {times}", pooled, large))
    return tests


def serial_correlation(fit: "PanelFit") -> SerialTest:
    """Wooldridge's test of serial correlation; see `PanelFit.test_serial`.

    Raises
    ------
    CrosslevelError : another estimator, or times that were not named.
    """
    from crosslevel.estimators.panel.first_difference import DifferenceDetails
    from crosslevel.estimators.panel.fixed_effects import WithinDetails

    details, panel = fit.details, fit.panel
    if isinstance(details, DifferenceDetails):
        return correlation_of_differences(details, expected=-0.5)
    if not isinstance(details, WithinDetails):
        raise CrosslevelError(
            f"{details.estimator} has residuals that effects of groups correlate over time, whatever the errors of "
            "rows do. Test those of cl.fixed_effects or cl.first_difference."
        )
    return _of_rows(panel, fit.augment()["resid"].to_numpy())


def _of_rows(panel: Panel, residual: FloatArray) -> SerialTest:
    """The test of within residuals."""
    if panel.times is None:
        raise CrosslevelError(
            "`time` was not named, so that it is not known which row follows which. Fit with the column of the times, "
            "as in time='year'."
        )
    steps = steps_between(panel, panel.times, over_gaps=False)
    pairs = np.bincount(panel.groups.codes[steps.later], minlength=panel.n_groups)
    expected = expected_within(panel.sizes, pairs)
    return serial_test(residual, panel.groups.codes, steps.later, steps.earlier, expected)


def correlation_of_differences(details: "DifferenceDetails", *, expected: float) -> SerialTest:
    """The test of residuals of differences: those are paired that share a row.

    Parameters
    ----------
    details : the regression of differences.
    expected : -1/2 if errors of rows are independent; 0 if their differences are.
    """
    kept = details.solved.maker.rows()
    residual = kept.y - details.solved.regression.beta @ kept.x
    later = _pairs_of(details)
    return serial_test(residual, kept.codes, later, later - 1, expected)


def _pairs_of(details: "DifferenceDetails") -> IntArray:
    """Differences that start where the one before ends."""
    steps = details.solved.steps
    return np.asarray(1 + np.flatnonzero(steps.earlier[1:] == steps.later[:-1]))


def can_be_tested(fit: "PanelFit") -> bool:
    """Whether times are known and enough rows follow each other: three pairs, in groups of more than two rows."""
    from crosslevel.estimators.panel.first_difference import DifferenceDetails

    if fit.panel.times is None or int(fit.panel.sizes.max()) < 3:
        return False
    if isinstance(fit.details, DifferenceDetails):
        return len(_pairs_of(fit.details)) >= ENOUGH
    try:
        return len(steps_between(fit.panel, fit.panel.times, over_gaps=False).later) >= ENOUGH
    except DesignError:  # which row follows which is not known: said when the test is asked for
        return False
