"""The Monte Carlo study of Heisig, Schaeffer & Giesecke (2017), as a study that can be run, and run in part."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from crosslevel.errors import CrosslevelError
from crosslevel.simulation.estimators.estimates import Estimator
from crosslevel.simulation.estimators.mixed import Mixed
from crosslevel.simulation.estimators.ols import OLS
from crosslevel.simulation.estimators.two_step import TwoStep
from crosslevel.simulation.processes.correlations import RandomCorrelation
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.variables import Context, Normal
from crosslevel.simulation.studies.description import plain
from crosslevel.simulation.studies.study import Study

FACTORS = ("variant", "clusters", "slopes", "slope_sd", "between")
VARIANTS = ("dce", "cli")
"""z explains the intercept ("direct context effect") or the slope of x1 ("cross-level interaction")."""

PREDICTORS = ("x1", "x2", "x3", "x4", "x5", "x6")
MAXIMAL = 5
"""Controls, the most of whose slopes can vary."""

TARGET_SD = 0.6
"""Standard deviation of the random effects of the equations that z is in."""

SIZES = {15: (600, 2000), 25: (600, 2000), 50: (70, 130)}
"""Ranges of the clusters' sizes by the number of clusters."""

PREDICTOR_CORRELATION, EFFECT_CORRELATION = 0.3, 0.33
"""Mean absolute correlations of the predictors within clusters and of the random effects."""

ESTIMATORS = ("ME-Invariant", "ME-Correct", "OLS-Cluster", "two-step-FGLS", "two-step-adjusted")
OPTIONAL = ("ME-Maximal",)
MIXED_INTERVALS = ("m-l-1", "satterthwaite", "kenward-roger", "growth-curve")
OLS_INTERVALS = ("CR1S, m-l-1", "CR2, satterthwaite")


def fixed_part(variant: str) -> str:
    """The coefficients of the model."""
    return f"y ~ {' + '.join(PREDICTORS)} + z" + (" + x1:z" if variant == "cli" else "")


def varying(variant: str, slopes: int) -> tuple[str, ...]:
    """Predictors whose slopes vary: that of a cross-level interaction, and the first of the controls."""
    return (("x1",) if variant == "cli" else ()) + PREDICTORS[1 : 1 + slopes]


def formula(variant: str, slopes: int) -> str:
    """The mixed model in which the slopes of this many controls vary."""
    return f"{fixed_part(variant)} + ({' + '.join(['1', *varying(variant, slopes)])} | g)"


def target(variant: str) -> tuple[str, ...]:
    """The coefficient that the study is about."""
    return ("z",) if variant == "dce" else ("x1:z",)


@dataclass(frozen=True, kw_only=True)
class PublishedProcess:
    """The process of each condition.

    Attributes
    ----------
    size : range of the clusters' sizes; by the number of clusters, as published, if None.
    effect_correlation : mean absolute correlation of the random effects.
    sigma : residual standard deviation.
    """

    size: tuple[int, int] | None = None
    effect_correlation: float = EFFECT_CORRELATION
    sigma: float = 1.0

    def __call__(self, variant: str, clusters: int, slopes: int, slope_sd: float, between: float) -> Process:
        """Rows y = b0g + b1g x1 + ... + b6g x6 + e, e ~ N(0, sigma²); b0g (b1g) = 1 + z + v, others 1 or 1 + v."""
        model = formula(variant, slopes)
        named = ("Intercept", *PREDICTORS, "z", *(("x1:z",) if variant == "cli" else ()))
        targets = ("Intercept", "x1") if variant == "cli" else ("Intercept",)
        controls = PREDICTORS[1 : 1 + slopes]
        return Process(
            formula=model,
            effects=dict.fromkeys(named, 1.0),
            sd={**dict.fromkeys(targets, TARGET_SD), **dict.fromkeys(controls, slope_sd)},
            correlation=RandomCorrelation(mean_absolute=self.effect_correlation),
            sigma=self.sigma,
            clusters=clusters,
            size=self.size or SIZES[clusters],
            variables={**{name: Normal(sd=1.0, between=between) for name in PREDICTORS}, "z": Context()},
            predictor_correlation=RandomCorrelation(mean_absolute=PREDICTOR_CORRELATION),
        )


@dataclass(frozen=True, kw_only=True)
class PublishedEstimators:
    """The estimators of each condition.

    FGLS in two steps is for interactions alone, as published. A maximal model that is the correct one is not fitted
    twice.

    Attributes
    ----------
    names : of the estimators.
    """

    names: tuple[str, ...] = ESTIMATORS

    def __call__(self, variant: str, slopes: int) -> list[Estimator]:
        """Those of one condition, in the order of the names."""
        explained = {"x1" if variant == "cli" else "Intercept": "z"}
        first = f"y ~ {' + '.join(PREDICTORS)}"
        known: dict[str, Estimator] = {
            **{
                name: Mixed(name=name, formula=formula(variant, count), intervals=MIXED_INTERVALS)
                for name, count in (("ME-Invariant", 0), ("ME-Correct", slopes), ("ME-Maximal", MAXIMAL))
            },
            "OLS-Cluster": OLS(name="OLS-Cluster", formula=fixed_part(variant), intervals=OLS_INTERVALS),
            "two-step-FGLS": TwoStep(name="two-step-FGLS", first=first, second=explained, method="fgls"),
            "two-step-adjusted": TwoStep(name="two-step-adjusted", first=first, second=explained, method="adjusted"),
        }
        left_out = {"two-step-FGLS"} if variant == "dce" else set()
        left_out |= {"ME-Maximal"} if slopes == MAXIMAL and "ME-Correct" in self.names else set()
        return [known[name] for name in self.names if name not in left_out]


def heisig2017(
    variant: str | Sequence[str] = VARIANTS,
    clusters: int | Sequence[int] = tuple(SIZES),
    slopes: int | Sequence[int] = (0, 1, 3, 5),
    slope_sd: float | Sequence[float] = (0.2, 1.0),
    between: float | Sequence[float] = (0.0, 0.15, 0.5),
    *,
    estimators: Sequence[str] = ESTIMATORS,
    size: tuple[int, int] | None = None,
    effect_correlation: float = EFFECT_CORRELATION,
    sigma: float = 1.0,
) -> Study:
    """Study of Heisig, Schaeffer & Giesecke (2017): 144 conditions, or those that are asked for.

    Six predictors x1 ... x6 with standard deviation 1 within clusters and random correlations, a context variable z,
    all coefficients 1. z explains the intercept ("dce"), or also the slope of x1 ("cli"), whose random effects have a
    standard deviation of .6; the slopes of some controls x2 ... x6 vary, too. Random effects have a correlation matrix
    of their own in each replication (Joe 2006).

    Parameters
    ----------
    variant : "dce", "cli", or both.
    clusters : numbers of clusters; 15 and 25 have 600 to 2,000 rows each, 50 have 70 to 130.
    slopes : numbers of controls whose slopes vary, 0 to 5.
    slope_sd : standard deviations of these slopes; those of 0 slopes differ in their random numbers alone.
    between : shares of the predictors' variance that lie between clusters, by constants added to them.
    estimators : names among "ME-Invariant" (a random intercept, for "cli" also a random slope of x1), "ME-Correct" (the
        slopes vary that do), "ME-Maximal" (of all five controls; left out where that is ME-Correct), "OLS-Cluster",
        "two-step-FGLS" (Lewis & Linzer 2005; "cli" alone), "two-step-adjusted" (other coefficients of the clusters
        beside z in the second step).
    size : range of the clusters' sizes; needed where the number of clusters is not a published one.
    effect_correlation : mean absolute correlation of the random effects; they also tried .2.
    sigma : residual standard deviation, which the article does not give; see docs/published_precision.md.

    Raises
    ------
    CrosslevelError : an argument that is none of these.

    Source
    ------
    Heisig, Schaeffer & Giesecke (2017), Am. Sociol. Rev. 82: 796-827. Joe (2006), J. Multivariate Anal. 97: 2177-2189.

    Examples
    --------
    >>> import crosslevel as cl
    >>> len(cl.lab.heisig2017())
    144
    >>> study = cl.lab.heisig2017("dce", clusters=15, slopes=1, slope_sd=0.2, between=0.15)
    >>> found = study.run(reps=50, seed=1, progress=False)
    >>> sorted(found["measure"].unique())[:3]
    ['bias', 'convergence', 'coverage']
    """
    factors: dict[str, tuple[object, ...]] = {
        "variant": _levels("variant", variant),
        "clusters": _levels("clusters", clusters),
        "slopes": _levels("slopes", slopes),
        "slope_sd": _levels("slope_sd", slope_sd),
        "between": _levels("between", between),
    }
    _check(factors, size)
    names = _known_names(estimators)
    given = {**factors, "estimators": names, "effect_correlation": effect_correlation, "sigma": sigma}
    return Study(
        title="Heisig, Schaeffer & Giesecke (2017)",
        process=PublishedProcess(size=size, effect_correlation=effect_correlation, sigma=sigma),
        estimators=PublishedEstimators(names=names),
        terms=target,
        factors=factors,
        published={"name": "heisig2017", "arguments": plain(given | ({"size": size} if size else {}))},
    )


def _levels(name: str, given: object) -> tuple[object, ...]:
    """Levels of a factor from one of them or several."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    levels = tuple(given) if several else (given,)  # type: ignore[arg-type]
    if not levels or len(set(levels)) < len(levels):
        raise CrosslevelError(f"`{name}` needs one level or several different ones; got {given!r}.")
    return levels


def _known_names(estimators: Sequence[str]) -> tuple[str, ...]:
    """Names of estimators, checked."""
    names = (estimators,) if isinstance(estimators, str) else tuple(estimators)
    unknown = [name for name in names if name not in ESTIMATORS + OPTIONAL]
    if unknown or not names:
        raise CrosslevelError(f"`estimators` has {unknown}; it needs some of {', '.join(ESTIMATORS + OPTIONAL)}.")
    return names


def _check(factors: dict[str, tuple[object, ...]], size: tuple[int, int] | None) -> None:
    """Whether each level is one that the process has."""
    rules: dict[str, tuple[Callable[[Any], bool], str]] = {
        "variant": (
            lambda level: level in VARIANTS,
            '"dce" (direct context effect) or "cli" (cross-level interaction)',
        ),
        "clusters": (lambda level: level in SIZES, "15, 25 or 50; any number with `size=(low, high)`"),
        "slopes": (lambda level: level in range(MAXIMAL + 1), "a whole number from 0 to 5"),
        "slope_sd": (lambda level: _between(level, 0.0, math.inf), "a standard deviation of at least 0"),
        "between": (lambda level: _between(level, 0.0, 1.0), "a share from 0 to less than 1"),
    }
    if size is not None:
        rules["clusters"] = (lambda level: isinstance(level, Integral), "a number of clusters")
    for name, (holds, words) in rules.items():
        for level in factors[name]:
            if not holds(level):
                raise CrosslevelError(f"`{name}` is {words}; got {level!r}.")


def _between(level: object, low: float, high: float) -> bool:
    """Whether it is a number from `low` to less than `high`."""
    return isinstance(level, Real) and low <= float(level) < high
