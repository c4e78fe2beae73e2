"""What a model explains: shares of variance, design effects, and how coefficients differ between clusters."""

from typing import TYPE_CHECKING, Literal, TypeAlias

import pandas as pd

from crosslevel.errors import CrosslevelError

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit
    from crosslevel.inference.explained import ExplainedVariance
    from crosslevel.inference.heterogeneity import Heterogeneity

Moderated: TypeAlias = Literal["mean", "own"]


def r2(fit: "MixedFit", *, null: "MixedFit | Literal['auto'] | None" = "auto") -> "ExplainedVariance":
    """Explained variance: marginal and conditional, by level, of each variance, and within and between clusters.

    Everything comes from cross-products. What two fits are needed for (the proportional reductions) compares with
    models that are fitted here: of intercepts only, and, where slopes vary and predictors of clusters explain them, the
    unconditional random-coefficient model. (With several grouping factors the rows are read once more for each.)

    Parameters
    ----------
    fit : the fitted model.
    null : a fit to compare with instead, of the same outcome, rows and method; "auto" fits those above; None leaves
        the reductions out, which saves the time of the fits.

    Returns
    -------
    record : `marginal` and `conditional` (Nakagawa & Schielzeth 2013; Johnson 2014), `shares` by grouping factor,
        `prediction_error` (Snijders & Bosker 1994), `reduction` (Raudenbush & Bryk 2002), `decomposition` (Rights &
        Sterba 2019), and all of them in `frame`. What has no value for a model raises its reason, also in `undefined`.

    Raises
    ------
    CrosslevelError : `null` is another kind of object, or is no fit of the same outcome.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> found = fit.r2()
    >>> round(found.marginal, 3), round(found.conditional, 3)
    (0.279, 0.799)
    >>> found.reduction["r2"].round(3).to_dict()
    {('Residual', '', 'intercept only'): 0.666, ('Subject', 'Intercept', 'intercept only'): 0.521}
    """
    from crosslevel.estimators.explained import explained_variance

    return explained_variance(fit, null)


def design_effect(fit: "MixedFit", *, level: float = 0.95) -> pd.DataFrame:
    """Design effect of each grouping factor: how much clustering inflates the variance of a mean.

    1 + (b - 1) rho, with rho the share of the factor's intercepts in the variance, and b = sum n_j^2 / n the size that
    stands for unequal clusters (Kish 1965); with sampling weights w of the rows times n sum w^2 / (sum w)^2, and b =
    sum W_j^2 / sum w^2 (Gabler, Haeder & Lahiri 1999). It is that of the mean of what the fixed part leaves: for the
    outcome itself, ask a model without predictors.

    Parameters
    ----------
    fit : the fitted model.
    level : confidence level.

    Returns
    -------
    frame by group, with several factors "all" for all of them together: clusters, rows, mean_size, size (b), icc
    (rho), weighting, design_effect, conf_low, conf_high, effective_rows.

    Raises
    ------
    CrosslevelError : no random intercept, residuals that are correlated or differ in variance, precision weights, or
        rows in several levels of a factor.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ 1 + (1 | school)", cl.datasets.load("hsb"))
    >>> fit.design_effect().loc["school", ["size", "icc", "design_effect", "effective_rows"]].round(2).tolist()
    [48.02, 0.18, 9.48, 757.95]
    """
    from crosslevel.estimators.design_effect import design_effects

    return design_effects(fit, level=level)


def heterogeneity(fit: "MixedFit", group: str | None = None, *, moderators: Moderated = "mean") -> "Heterogeneity":
    """Varying coefficients: average, standard deviation between clusters, their ratio, range, and opposite signs.

    Parameters
    ----------
    fit : the fitted model.
    group : the grouping factor whose coefficients are wanted; all if None.
    moderators : where cross-level interactions explain a coefficient, its average is at the mean of their moderators
        over clusters. "mean": the clusters' own coefficients are at that mean too, so that the standard deviation is
        that of the random slope. "own": they are as the clusters are, with what the moderators explain, which then is
        in the standard deviation also.

    Returns
    -------
    record : `frame` by group and term, `own` coefficients by group; prints as tables; `cl.plot.heterogeneity` draws it.

    Raises
    ------
    CrosslevelError : no random effects, no such group, or another word for `moderators`.

    Source
    ------
    Heisig, Schaeffer & Giesecke (2017), Am. Sociol. Rev. 82: 796-827, figure 6.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> frame = fit.heterogeneity().frame
    >>> frame.loc[("Subject", "Days"), ["mean", "sd", "ratio", "low", "high", "opposite"]].round(3).to_dict()
    {'mean': 10.467, 'sd': 5.922, 'ratio': 0.566, 'low': 0.726, 'high': 20.208, 'opposite': 0.039}
    """
    from crosslevel.estimators.heterogeneity import varying_coefficients

    if moderators not in ("mean", "own"):
        raise CrosslevelError(f"`moderators` is 'mean' or 'own'; got {moderators!r}.")
    return varying_coefficients(fit, group, moderators)
