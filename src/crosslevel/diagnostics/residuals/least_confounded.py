"""`least_confounded`: combinations of predicted random effects in which residuals have the smallest share."""

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.hat_values import refuse_variances
from crosslevel.inference.rotated_effects import rotated_effects


def least_confounded(fit: MixedFit, group: str | None = None, term: str | None = None) -> pd.DataFrame:
    """Combine the predicted random effects of all levels so that residuals have the smallest share in them.

    Predicted random effects bhat = Psi Z'P y hold a part of the residuals, B of their covariance A. The combinations
    l'bhat that solve B l = lambda A l have variance 1, are uncorrelated, and lambda is the share of their variance that
    comes from residuals: those with a small one say something about the distribution of the random effects themselves.
    They are no longer effects of single levels, and where these are alike in size and predictors all have the same
    lambda: any rotation of them would do. Of rows, residuals in which random effects have no share at all are
    `cl.residuals(fit).rows["least_confounded"]`.

    Parameters
    ----------
    fit : a linear mixed model, with any number of grouping factors.
    group : the grouping factor; the first if None.
    term : the random effect, as in "Intercept" or "Days"; the first if None.

    Returns
    -------
    frame : a row for each combination, the least confounded first, fewer than levels where modes add up to zero: value
        (standard normal where the model is true), confounding (0 to 1).

    Raises
    ------
    CrosslevelError : no such model, factor or effect, sampling weights, more than 1,000 levels, no variance.

    Source
    ------
    Loy & Hofmann (2015), J. Comput. Graph. Stat. 24: 1191-1209; Hilden-Minton (1995), UCLA, chapter 4.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> found = cl.least_confounded(fit, term="Days")
    >>> len(found), found["confounding"].round(2).tolist()[:2]
    (17, [0.12, 0.12])
    """
    if not isinstance(fit, MixedFit):
        raise CrosslevelError(
            f"`least_confounded` is for linear models of cl.mixed with random effects; got {type(fit).__name__}. Other "
            "random effects are compared with simulated ones by cl.envelope(fit, of='random effects')."
        )
    if not fit.design.factors:
        raise CrosslevelError(
            "`least_confounded` combines predicted random effects, and this model has none. Add a random term, or look "
            "at cl.residuals(fit)."
        )
    refuse_variances(fit.design, fit.solution)
    factor = fit.design.factor_named(group)
    effects = fit.design.effects_of(factor)
    if term is not None and term not in effects:
        raise CrosslevelError(f"`term` is one of {', '.join(map(repr, effects))}; got {term!r}.")
    place = 0 if term is None else effects.index(term)
    found = rotated_effects(fit.design, fit.solution, fit.design.factors.index(factor), place)
    index = pd.RangeIndex(1, len(found.values) + 1, name="combination")
    return pd.DataFrame({"value": found.values, "confounding": np.asarray(found.confounding)}, index=index)
