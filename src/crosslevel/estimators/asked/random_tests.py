"""Tests of random effects, and how many of them the data support."""

from typing import TYPE_CHECKING, Literal

import pandas as pd

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit
    from crosslevel.estimators.random_rank import RandomRank


def random_effects_test(
    fit: "MixedFit",
    *,
    test: Literal["mixture", "exact", "bootstrap", "hlm"] = "mixture",
    n: int | None = None,
    seed: int | None = None,
) -> pd.DataFrame:
    """Test the random effects: each slope with its covariances, each random term that is one effect, all together.

    Each row is a likelihood-ratio test against the model without these effects, refitted to the same cross-products. A
    slope that is part of an interaction in its term, and an intercept beside slopes, are not tested: their variance
    depends on where the variables have their zero. Structures that tie their effects are tested as a whole, and so is
    everything in the last row, "all".

    Parameters
    ----------
    fit : the fitted model.
    test : "mixture": a variance on its boundary makes the statistic a mixture of chi-squares (Self & Liang 1987; Stram
        & Lee 1994). For one variance with r covariances it is 0.5 chi2(r) + 0.5 chi2(r + 1); for more its weights
        follow from the information at the fit without them where "reference" says "estimated information", and are
        those of equally informative clusters where it says "equal information".
        "exact": finite-sample distribution of the statistic for one variance without covariances, by simulation
        (Crainiceanu & Ruppert 2004). Beside other random effects it is an approximation, which takes them as known.
        "bootstrap": outcomes drawn from the model without the effects, both models refitted.
        "hlm": instead, the chi-square test of every random effect from the clusters' own least-squares estimates
        (Raudenbush & Bryk 2002, equation 3.103).
    n : number of simulations; by default 10,000 for "exact" and 1,000 for "bootstrap".
    seed : of the simulations.

    Returns
    -------
    frame indexed by term: group, statistic, df, p_value, naive_p_value (chi-square with `df` degrees of freedom: too
    large), reference; p_error (Monte-Carlo standard error) and draws if simulated; and beside each single effect the
    test "hlm" as chi_square, chi_square_df, chi_square_p_value, and clusters_used, those with estimates of their own
    (NaN where it is not defined). With "hlm" it is indexed by random effect: statistic, df, p_value, clusters_used,
    clusters.

    Raises
    ------
    CrosslevelError : there are no random effects to test; sampling weights, with which a ratio of pseudo-likelihoods
        has no chi-square distribution; a test that is not defined for the model.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> fit.test_random()[["statistic", "df", "naive_p_value"]].round(3)
                            statistic  df  naive_p_value
    term
    Days in (Days | Subject)    42.837   2            0.0
    all                        150.035   3            0.0
    """
    from crosslevel.estimators.priors import refuse_prior
    from crosslevel.estimators.random_tests import by_term

    refuse_prior(fit, "test_random")
    return by_term(fit, test, n, seed)


def rank_re(fit: "MixedFit", *, share: float = 0.999) -> "RandomRank":
    """Principal components of the covariance of the random effects, and how many of them the data support.

    The components are those of Lambda Lambda', relative to the residual variance, in the units of the data (lme4:
    rePCA) and for effects measured by what they add to the outcome's variance, since the first depend on the units of
    the slopes' variables.

    Parameters
    ----------
    fit : the fitted model.
    share : components are counted until they make up this share of the variance.

    Raises
    ------
    CrosslevelError : no random effects whose covariance is estimated; a share that is not between 0 and 1.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> rank = fit.rank_re()
    >>> rank.components["sdev"].round(4).tolist()
    [0.9669, 0.2309]
    >>> rank.supported[["effects", "nonzero", "rank"]].to_dict("list")
    {'effects': [2], 'nonzero': [2], 'rank': [2]}
    """
    from crosslevel.estimators.random_rank import random_rank

    return random_rank(fit, share)
