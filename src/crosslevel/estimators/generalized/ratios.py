"""Odds ratios, rate ratios and hazard ratios of a fitted generalized model, and ratios between clusters."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.design.factors import GroupingFactor
from crosslevel.errors import CrosslevelError
from crosslevel.inference.generalized import ratios as numbers
from crosslevel.inference.generalized.predictive import predictive
from crosslevel.inference.wald import check_level

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit

RATIOS = {"logit": "odds", "log": "rate", "cloglog": "hazard"}
"""Whose ratios exponentials of coefficients are, by link."""


def ratios(fit: "GeneralizedFit", ddf: str | None = None, *, level: float = 0.95) -> pd.DataFrame:
    """Exponentials of the coefficients: odds ratios (logit), ratios of rates or means (log), hazard ratios (cloglog).

    They compare rows of the same cluster, or of clusters with the same random effects; ratios of population averages
    are nearer to one. That of the intercept is no ratio: the odds, mean or hazard where all predictors are zero. With
    ordered categories they are ratios of the odds of a higher category.

    Parameters
    ----------
    fit : the fitted model.
    ddf : see `tests`.
    level : confidence level.

    Returns
    -------
    frame by term: estimate, std_error (delta method), df, statistic and p_value (of the coefficient), conf_low,
    conf_high (exponentials of the coefficient's interval).

    Raises
    ------
    CrosslevelError : a probit link, whose coefficients are no logarithms of ratios.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> data["able"] = data["mathach"] > 13
    >>> fit = cl.mixed("able ~ ses + sector + (1 | school)", data, family="binomial")
    >>> fit.odds_ratios()[["estimate", "conf_low", "conf_high"]].round(2).loc["ses"].tolist()
    [2.0, 1.86, 2.16]
    """
    _kind(fit)
    return numbers.exponentiated(fit.tests(ddf, level=level))


def odds_ratios(fit: "GeneralizedFit", ddf: str | None = None, *, level: float = 0.95) -> pd.DataFrame:
    """Odds ratios, of models with a logit link; see `ratios`."""
    _require(fit, "odds_ratios", "odds")
    return ratios(fit, ddf, level=level)


def rate_ratios(fit: "GeneralizedFit", ddf: str | None = None, *, level: float = 0.95) -> pd.DataFrame:
    """Incidence-rate ratios, or ratios of means, of models with a log link; see `ratios`."""
    _require(fit, "rate_ratios", "rate")
    return ratios(fit, ddf, level=level)


def median_ratio(
    fit: "GeneralizedFit", group: str | None = None, *, at: Mapping[str, float] | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Median odds (rate, hazard) ratio: that of the higher to the lower of two clusters that are drawn at random.

    exp(sqrt(2 v) z_.75), v being the variance between clusters of the linear predictor: the variation between clusters
    in the unit of an odds ratio, 1 where there is none (Larsen & Merlo 2005).

    Parameters
    ----------
    fit : the fitted model.
    group : the grouping factor; all of them if None.
    at : values of the variables whose slopes vary, by the name of the random effect; zero if not named.
    level : confidence level.

    Returns
    -------
    frame by group: variance, estimate, std_error, conf_low, conf_high.

    Raises
    ------
    CrosslevelError : a probit link; no random effects; `at` names none of them.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> data["able"] = data["mathach"] > 13
    >>> fit = cl.mixed("able ~ ses + sector + (1 | school)", data, family="binomial")
    >>> fit.median_odds_ratio().loc["school", ["estimate", "conf_low", "conf_high"]].round(2).tolist()
    [1.7, 1.57, 1.88]
    """
    _kind(fit)
    records = {}
    for factor in _factors(fit, group, at):
        variance, error = _variance(fit, factor, at)
        records[factor.name] = (variance, *numbers.median_ratio(variance, error, level=check_level(level)))
    columns = ["variance", "estimate", "std_error", "conf_low", "conf_high"]
    return pd.DataFrame.from_dict(records, orient="index", columns=columns).rename_axis("group")


def median_odds_ratio(
    fit: "GeneralizedFit", group: str | None = None, *, at: Mapping[str, float] | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Median odds ratio, of models with a logit link; see `median_ratio`."""
    _require(fit, "median_odds_ratio", "odds")
    return median_ratio(fit, group, at=at, level=level)


def interval_ratios(
    fit: "GeneralizedFit",
    group: str | None = None,
    *,
    share: float = 0.8,
    at: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Interval odds (rate, hazard) ratios of variables of clusters: what their effects are beside other differences.

    Of two random clusters, one of which has one unit more of x, the ratio lies between `conf_low` and `conf_high` in
    `share` of the pairs. An interval that holds one says that x matters less than what else distinguishes clusters; it
    is no confidence interval. `opposite` is the share of pairs whose ratio is on the other side of one.

    Parameters
    ----------
    fit : the fitted model.
    group : the grouping factor; the first if None.
    share : of the pairs that intervals hold.
    at : see `median_ratio`.

    Returns
    -------
    frame by term, of the coefficients of variables that are constant within clusters: estimate (the ratio between
    clusters with the same random effects), low, high, opposite.

    Raises
    ------
    CrosslevelError : a probit link; no such variables.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> data["able"] = data["mathach"] > 13
    >>> fit = cl.mixed("able ~ ses + sector + (1 | school)", data, family="binomial")
    >>> fit.interval_odds_ratios().round(2).loc["sector[Catholic]"].to_dict()
    {'estimate': 1.8, 'low': 0.65, 'high': 4.97, 'opposite': 0.23}
    """
    _kind(fit)
    check_level(share)
    (factor,) = _factors(fit, fit.design.factor_named(group).name, at)
    place, design = fit.design.factors.index(factor), fit.design
    constant = design.constant_within[place][design.x]
    chosen = [j for j in fit.terms if constant[j] and j != _intercept(fit)]
    if not chosen:
        raise CrosslevelError(
            f"`interval_ratios` are of variables that are constant within {factor.name}; the fixed part has none. "
            "`median_ratio` needs none."
        )
    beta = fit.solution.beta[chosen]
    low, high, opposite = numbers.interval_ratios(beta, _variance(fit, factor, at)[0], share=share)
    with np.errstate(over="ignore"):
        columns = {"estimate": np.exp(beta), "low": low, "high": high, "opposite": opposite}
    return pd.DataFrame(columns, index=pd.Index([design.fixed_names[j] for j in chosen], name="term"))


def interval_odds_ratios(
    fit: "GeneralizedFit",
    group: str | None = None,
    *,
    share: float = 0.8,
    at: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Interval odds ratios, of models with a logit link; see `interval_ratios`."""
    _require(fit, "interval_odds_ratios", "odds")
    return interval_ratios(fit, group, share=share, at=at)


def _kind(fit: "GeneralizedFit") -> str:
    """Whose ratios exponentials of the coefficients are."""
    if fit.family.link not in RATIOS:
        raise CrosslevelError(
            f"Exponentials of coefficients are ratios with the links {', '.join(map(repr, RATIOS))}; this model has "
            f"the {fit.family.link} link. Use cl.slopes(fit) for effects on the probability."
        )
    return RATIOS[fit.family.link]


def _require(fit: "GeneralizedFit", name: str, kind: str) -> None:
    """Refuse a model whose ratios are of another kind."""
    found = _kind(fit)
    if found != kind:
        raise CrosslevelError(
            f"`{name}` needs a model of {_several(kind)}; with the {fit.family.link} link exponentials of coefficients "
            f"are ratios of {_several(found)}. `ratios`, `median_ratio` and `interval_ratios` are of those a model has."
        )


def _several(kind: str) -> str:
    """The plural."""
    return kind if kind.endswith("s") else f"{kind}s"


def _factors(fit: "GeneralizedFit", group: str | None, at: Mapping[str, float] | None) -> list[GroupingFactor]:
    """The grouping factors that are asked for."""
    design = fit.design
    if not design.factors:
        raise CrosslevelError("Ratios between clusters need random effects; this model has none. Add (1 | school).")
    chosen = list(design.factors) if group is None else [design.factor_named(group)]
    known = {name for factor in chosen for name in design.effects_of(factor)} - {"Intercept"}
    unknown = [name for name in at or {} if name not in known]
    if unknown:
        raise CrosslevelError(
            f"`at` names {', '.join(map(repr, unknown))}, but the slopes that vary between clusters are "
            f"{', '.join(map(repr, sorted(known))) or 'none'}. Leave out the others."
        )
    return chosen


def _variance(fit: "GeneralizedFit", factor: GroupingFactor, at: Mapping[str, float] | None) -> tuple[float, float]:
    """Variance z'Psi z of the linear predictor between clusters, and its standard error."""
    estimates, place = predictive(fit.solution), fit.design.factors.index(factor)
    values = {"Intercept": 1.0, **(at or {})}
    z = np.array([float(values.get(name, 0.0)) for name in fit.design.effects_of(factor)])
    variance = float(z @ estimates.psi[place] @ z)
    by_psi = [np.outer(z, z) if k == place else np.zeros_like(psi) for k, psi in enumerate(estimates.psi)]
    gradient = estimates.gradient(np.zeros(len(estimates.beta)), by_psi)
    return variance, float(np.sqrt(estimates.variance_of(gradient)))


def _intercept(fit: "GeneralizedFit") -> int:
    """Position of the intercept among the coefficients, -1 if there is none."""
    return fit.design.fixed_names.index("Intercept") if "Intercept" in fit.design.fixed_names else -1
