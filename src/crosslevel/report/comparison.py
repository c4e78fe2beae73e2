"""Several models side by side, as a block of a report."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from crosslevel.display import Table
from crosslevel.report.tables.as_text import plain_block
from crosslevel.report.tables.record import PublicationTable
from crosslevel.report.tables.table import table

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed import MixedFit

STATISTICS = ("nobs", "clusters", "loglik", "n_params", "aic", "bic")


def comparison(models: "Mapping[str, MixedFit | GeneralizedFit]") -> Table:
    """Write models side by side: coefficients with standard errors, variances, and how well each fits.

    Parameters
    ----------
    models : fits by name, in the order of the columns.

    Examples
    --------
    >>> import crosslevel as cl
    >>> sleep = cl.datasets.load("sleepstudy")
    >>> found = comparison({"Null": cl.mixed("Reaction ~ 1 + (1 | Subject)", sleep)})
    >>> found.rows[1], found.rows[3]
    (['Intercept', '298.508 (9.050)'], ['Intercept (Subject)', '1278 (506)'])
    """
    made = table(dict(models), beside=True, statistics=STATISTICS)
    assert isinstance(made, PublicationTable)
    return plain_block(made)
