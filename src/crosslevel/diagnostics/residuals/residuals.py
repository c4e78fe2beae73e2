"""`residuals`: the residuals of every level."""

import numpy as np

from crosslevel.diagnostics.diagnostic import AnyFit
from crosslevel.diagnostics.residuals.generalized import of_generalized
from crosslevel.diagnostics.residuals.linear import of_mixed, of_ordinary
from crosslevel.diagnostics.residuals.record import Residuals
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.inference.seeds import generator_from


def residuals(fit: AnyFit, *, seed: int | np.random.Generator | None = 1) -> Residuals:
    """Residuals of rows, and predicted random effects of clusters, in every useful standardisation.

    With y = X beta + Z b + e, the conditional residual is y - X betahat - Z bhat and the marginal one y - X betahat.
    They vary less than e and than Z b + e, and not alike in all rows: over their own standard deviations, the roots of
    sigma^2 (R - [X Z] C^-1 [X Z]')_ii (the hat matrix H = dyhat / dy makes that sigma^2 (1 - h) for independent errors)
    and of (V - X Var(betahat) X')_ii, they can be compared. Least-confounded residuals are those of the regression with
    every cluster's coefficients, of which random effects are no part. Predicted random effects are divided by the
    roots of their variances Psi - Var(b | data), less what estimating beta takes away: being shrunken, they vary less
    than random effects do.

    Parameters
    ----------
    fit : of `mixed` (any number of factors, any family) or of `ols`.
    seed : for other families, of the lots that break ties of quantile residuals.

    Returns
    -------
    Residuals : `.rows` by row, `.clusters[group]` by level, `.outlying_rows`, `.outlying_clusters`, `.sentences`.

    Raises
    ------
    CrosslevelError : no such fit, or one without a likelihood of its rows.

    Source
    ------
    Nobre & Singer (2007), Biom. J. 49: 863-875; Loy & Hofmann (2014), J. Stat. Softw. 56(5); Hilden-Minton (1995),
    UCLA; Dunn & Smyth (1996), J. Comput. Graph. Stat. 5: 236-244, for quantile residuals.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> found = cl.residuals(fit)
    >>> found.rows[["conditional", "marginal", "standardized"]].head(2).round(2)
       conditional  marginal  standardized
    0        -4.10     -1.85         -0.18
    1       -14.63     -3.17         -0.63
    >>> found.clusters["Subject"].loc[["308"], ["Intercept", "Intercept_standardized", "Days_standardized"]].round(2)
             Intercept  Intercept_standardized  Days_standardized
    Subject
    308           2.26                    0.11               1.74
    """
    if isinstance(fit, MixedFit):
        return of_mixed(fit)
    if isinstance(fit, OLSFit):
        return of_ordinary(fit)
    if isinstance(fit, GeneralizedFit):
        return of_generalized(fit, generator_from(seed))
    raise CrosslevelError(
        f"`residuals` is for fits of cl.mixed and cl.ols; got {type(fit).__name__}. Fit the model by one of them."
    )
