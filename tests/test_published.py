"""Published tables, at the digits that were printed.

High School & Beyond: Raudenbush, S. W. & Bryk, A. S. (2002). Hierarchical Linear Models, 2nd ed., chapter 4, fitted by
REML. The book's MEAN SES has three decimals and is the mean of the school's sampled pupils plus .006, which shifts the
intercept and the SES slope; it is made in that way here. Pupils' SES is centred at the mean of the school's pupils.
"""

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_data

import crosslevel as cl
from crosslevel.inference.icc import intraclass_correlation, reliability


@pytest.fixture(scope="module")
def hsb() -> pd.DataFrame:
    data = load_data("Hsb82").copy()
    data["mean_ses"] = (data["meanses"] + 0.006).round(3)
    return data


@pytest.fixture(scope="module")
def null(hsb):
    return cl.mixed("mAch ~ 1 + (1 | school)", hsb)


@pytest.fixture(scope="module")
def random_coefficient(hsb):
    return cl.mixed("mAch ~ cses + (cses | school)", hsb)


@pytest.fixture(scope="module")
def slopes_as_outcomes(hsb):
    return cl.mixed("mAch ~ mean_ses + sector + cses * mean_ses + cses * sector + (cses | school)", hsb)


def printed(values: pd.Series, decimals: int = 2) -> dict[str, float]:
    """Coefficients as a table with this many decimals prints them."""
    return {str(name): round(float(value), decimals) for name, value in values.items()}


def variances(fit) -> tuple[np.ndarray, float]:
    """Covariance matrix between schools, and variance within."""
    return fit.cov_re["school"].to_numpy(), fit.sigma**2


def test_one_way_anova(null) -> None:
    """Table 4.2, with the intraclass correlation and the reliability that the text derives from it."""
    tau, sigma2 = variances(null)
    assert (printed(null.params), printed(null.bse)) == ({"Intercept": 12.64}, {"Intercept": 0.24})
    assert round(tau[0, 0], 2) == 8.61
    assert round(sigma2, 2) == 39.15
    assert round(null.icc().estimate, 2) == 0.18
    sizes = null.group_sizes.to_numpy()
    assert round(reliability(tau[0], sigma2 / sizes[:, None]).mean(), 2) == 0.90


def test_means_as_outcomes(hsb) -> None:
    """Table 4.3."""
    fit = cl.mixed("mAch ~ mean_ses + (1 | school)", hsb)
    tau, sigma2 = variances(fit)
    assert printed(fit.params) == {"Intercept": 12.65, "mean_ses": 5.86}
    assert printed(fit.bse) == {"Intercept": 0.15, "mean_ses": 0.36}
    assert round(tau[0, 0], 2) == 2.64
    assert round(sigma2, 2) == 39.16


def test_random_coefficient(random_coefficient) -> None:
    """Table 4.4.

    The book prints .68 for the variance of the slopes; the REML criterion is lower at .69, where it has its minimum
    (lme4 agrees).
    """
    tau, sigma2 = variances(random_coefficient)
    assert printed(random_coefficient.params) == {"Intercept": 12.64, "cses": 2.19}
    assert printed(random_coefficient.bse) == {"Intercept": 0.24, "cses": 0.13}
    assert round(tau[0, 0], 2) == 8.68
    assert round(tau[0, 1], 2) == 0.05
    assert round(sigma2, 2) == 36.70
    assert round(tau[1, 1], 2) == 0.69
    book = np.linalg.cholesky(np.array([[8.68, 0.05], [0.05, 0.68]]) / 36.70)
    assert random_coefficient.criterion_at(book[np.triu_indices(2)[::-1]]) > -2 * random_coefficient.loglik + 1e-3


def test_slopes_as_outcomes(slopes_as_outcomes) -> None:
    """Table 4.5.

    The book prints .15 for the variance of the slopes, where the REML criterion is .05 above its minimum at .10. Its
    1.03 for the interaction of MEAN SES with SES is the estimate at .15; at the minimum it is 1.04.
    """
    fit = slopes_as_outcomes
    tau, _ = variances(fit)
    params, bse = printed(fit.params), printed(fit.bse)
    interaction = next(name for name in params if set(name.split(":")) == {"cses", "mean_ses"})
    assert params.pop(interaction) == 1.04
    assert bse.pop(interaction) == 0.30
    by_sector = next(name for name in params if set(name.split(":")) == {"cses", "sector[Catholic]"})
    assert (params.pop(by_sector), bse.pop(by_sector)) == (-1.64, 0.24)
    assert params == {"Intercept": 12.10, "mean_ses": 5.33, "sector[Catholic]": 1.23, "cses": 2.94}
    assert bse == {"Intercept": 0.20, "mean_ses": 0.37, "sector[Catholic]": 0.31, "cses": 0.16}
    assert round(tau[0, 0], 2) == 2.38


def test_reliability_of_the_intercepts(random_coefficient) -> None:
    """Section 4: average reliability .91 of the intercepts.

    For the slopes the book prints .23; the mean of lambda_j = tau / (tau + sigma^2 / sum (x - mean)^2) over the 160
    schools is .26 at its estimates too.
    """
    tau, sigma2 = variances(random_coefficient)
    schools = load_data("Hsb82").groupby("school", observed=True)["cses"]
    information = np.column_stack([schools.size(), schools.agg(lambda x: (x**2).sum())])
    expected = (np.diag(tau) / (np.diag(tau) + sigma2 / information)).mean(axis=0)
    assert round(expected[0], 2) == 0.91
    assert round(expected[1], 2) == 0.26
    assert random_coefficient.reliability().average.to_numpy() == pytest.approx(expected, rel=1e-8)


SIZES = [1829, 1027, 1007, 992, 1091, 992, 2058, 1487, 1274, 1106, 1035, 1568, 1099, 1585, 1221, 1031, 1388]


def test_reliability_of_seventeen_countries() -> None:
    """A published example of 17 countries: reliabilities from the variance components and the sizes."""
    lambdas = reliability(np.array([0.1390369]), 0.8132404 / np.array(SIZES, dtype=float)[:, None])[:, 0]
    assert round(lambdas[0], 4) == 0.9968
    assert round(lambdas[-1], 4) == 0.9958
    assert round(lambdas.sum(), 3) == 16.919
    assert round(lambdas.mean(), 3) == 0.995


def test_intraclass_correlation_of_seventeen_countries() -> None:
    """The same example: .146 with standard error .043, which leaves out the covariance of the two components."""
    icc = intraclass_correlation(0.1390369, 0.8132404, tau_se=0.0479464, sigma2_se=0.0077943)
    assert round(icc.estimate, 3) == 0.146
    assert round(icc.std_error, 3) == 0.043
    assert 0.0 < icc.conf_low < icc.estimate < icc.conf_high < 1.0
