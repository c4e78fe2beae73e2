"""Simon & Lesage's data of NIST's Statistical Reference Datasets (SmLs01 to SmLs09), fitted as a random-effects model.

Nine treatments of n replicates. Treatment i has the middle value offset + .4, .3 or .5; its first replicate is the
middle value and the others alternate .1 below and .1 above. The design is balanced, so the estimates have a closed form
in the mean squares of the analysis of variance, computed here in exact rational arithmetic from the binary numbers that
are fitted.

Simon, S. D. & Lesage, J. P. (1989). Assessing the accuracy of ANOVA calculations in statistical software. Computational
Statistics & Data Analysis 8, 325-332.
"""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl

MIDDLE = [4, 3, 5, 3, 5, 3, 5, 3, 5]  # tenths above the offset, treatments 1 to 9
SIZES = [21, 201, 2001]
OFFSETS = [1, 10**6, 10**12]
DIGITS = 10


def tenths(offset: int, n: int) -> list[list[int]]:
    """The data in tenths, exactly: one list per treatment."""
    return [[10 * offset + m + ((-1) ** j if j else 0) for j in range(n)] for m in MIDDLE]


def mean_squares(values: list[list[Fraction]]) -> tuple[Fraction, Fraction, Fraction]:
    """Mean squares between and within treatments, and the grand mean, of a balanced design."""
    k, n = len(values), len(values[0])
    means = [sum(group) / n for group in values]
    grand = sum(means) / k
    between = n * sum((mean - grand) ** 2 for mean in means) / (k - 1)
    within = sum((y - mean) ** 2 for group, mean in zip(values, means, strict=True) for y in group) / (k * (n - 1))
    return between, within, grand


def digits(value: float, exact: Fraction) -> float:
    """Number of correct digits: minus the log of the relative error."""
    error = abs((Fraction(value) - exact) / exact)
    return math.inf if error == 0 else -math.log10(error)


@pytest.mark.parametrize("n", SIZES)
def test_rule_makes_the_certified_mean_squares(n: int) -> None:
    """NIST certifies 0.01 within and 0.21, 2.01 or 20.01 between, whatever the offset."""
    for offset in OFFSETS:
        exact = [[Fraction(value, 10) for value in group] for group in tenths(offset, n)]
        between, within, _ = mean_squares(exact)
        assert within == Fraction(1, 100)
        assert between == Fraction(n, 100)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("n", SIZES)
def test_variances_have_ten_digits(n: int, offset: int, method: str) -> None:
    values = np.array(tenths(offset, n)) / 10.0
    treatment = np.repeat([f"t{i}" for i in range(1, 10)], n)
    fit = cl.mixed(
        "y ~ 1 + (1 | treatment)", pd.DataFrame({"y": values.ravel(), "treatment": treatment}), method=method
    )

    between, within, grand = mean_squares([[Fraction(y) for y in group] for group in values.tolist()])
    k = len(MIDDLE)
    shrunk = between if method == "reml" else between * Fraction(k - 1, k)  # maximum likelihood divides by k
    tau2 = (shrunk - within) / n
    assert tau2 > 0

    assert fit.converged
    assert digits(fit.sigma**2, within) >= DIGITS
    assert digits(fit.cov_re["treatment"].iloc[0, 0], tau2) >= DIGITS
    assert digits(fit.params["Intercept"], grand) >= 15  # all that a double has
    assert digits(fit.bse["Intercept"] ** 2, shrunk / (k * n)) >= DIGITS
