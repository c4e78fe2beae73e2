"""`power`: how large a study must be to find an effect of a two-level model."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.df import AUTO, check_ddf
from crosslevel.inference.wald import check_level
from crosslevel.simulation.power.assumed import assume
from crosslevel.simulation.power.estimated import Estimated
from crosslevel.simulation.power.record import Power
from crosslevel.simulation.power.simulate import Point, Settings, Source, simulate
from crosslevel.simulation.power.targets import Target, target_of
from crosslevel.simulation.processes.correlations import Correlation
from crosslevel.simulation.processes.given import number_of_clusters
from crosslevel.simulation.processes.sizes import Size, Sizes
from crosslevel.simulation.processes.variables import Variable
from crosslevel.simulation.studies.running import check_positive
from crosslevel.simulation.studies.study import check_jobs
from crosslevel.types import Method

Effects: TypeAlias = Mapping[str, float | Sequence[float]]
"""Effects by name; of one of them several values may be tried."""


def power(
    model: str | MixedFit,
    *,
    target: str | Sequence[str] | None = None,
    effects: Effects | None = None,
    clusters: int | Sequence[int] | None = None,
    size: Size | Sequence[Size] | None = None,
    extend: Mapping[str, int | Sequence[int]] | None = None,
    icc: float | None = None,
    sd: Mapping[str, float] | None = None,
    sigma: float | None = None,
    correlation: Correlation = 0.0,
    context: str | Sequence[str] | None = None,
    arms: str | Sequence[str] | Mapping[str, float] | None = None,
    between: float | Mapping[str, float] = 0.0,
    variables: Mapping[str, Variable] | None = None,
    predictor_correlation: Correlation = 0.0,
    cv: float = 0.0,
    method: Method | None = None,
    ddf: str | None = None,
    level: float = 0.95,
    reps: int = 1000,
    seed: int = 1,
    n_jobs: int = 1,
    rows: bool = False,
    progress: bool = True,
) -> Power:
    """Simulate the power of planned studies.

    Data are drawn from a two-level model, y = X beta + Z b + e, and the model is fitted to them and tested, `reps`
    times for every design. Cross-products are drawn in place of rows wherever that is exact, so that large clusters
    cost nothing.

    Parameters
    ----------
    model : a formula such as "y ~ x + z + (1 | country)", with values in the arguments below; or a model fitted by
        `cl.mixed`, whose estimates are the values. From a fit, clusters are repeated as they are, with their sizes,
        context variables and all cross-products of their predictors, whatever their distribution; outcomes are drawn.
        See docs/power.md.
    target : names of coefficients ("z", "x:z"), or of variances, as in "sd(x|country)". Those in `effects` if None; for
        a fit all coefficients but the intercept.
    effects : true coefficients by name; those that are not named are 0, which does not matter for the power of others.
        Several values of one of them are all simulated. Beside a fit, what replaces estimates: smallest effects of
        interest.
    clusters : how many; several numbers make a power curve. Those of the fit if None.
    size : rows in each cluster: a number, (least, most), or cl.lab.Sizes(mean=, cv=); a list of these is tried one by
        one. Beside a fit a number, or None for the sizes of its data.
    extend : beside a fit, the same as `clusters`: {"school": 60}.
    icc : share of the variance, given the fixed part, between clusters. Without `sigma` the two variances add to 1.
    sd : standard deviations of random effects between clusters by name, "Intercept" if there is no `icc`, and slopes.
    sigma : residual standard deviation.
    correlation : among the random effects: a number, a matrix, or cl.lab.RandomCorrelation().
    context : names of the variables that have one value per cluster, normal with mean 0 and standard deviation 1. If
        None, variables with random slopes and x, x1, .. vary within clusters, and z, w, z1, .. are of clusters; other
        names have to be told.
    arms : names of 0/1 variables of clusters, or their shares of ones: {"treated": .5}; the numbers of clusters in each
        arm are fixed.
    between : composition: share of the variance of predictors that lies between clusters, for all or by name. Other
        predictors are normal, with standard deviation 1 within clusters.
    variables : any distribution, by name: cl.lab.Normal(mean=, sd=, between=), Binary, StudentT, Skewed, Context, Arms.
    predictor_correlation : among predictors, within clusters.
    cv : imbalance, the standard deviation of cluster sizes over their mean.
    method : "reml" or "ml"; that of the fit, or "reml".
    ddf : degrees of freedom as of `cl.mixed`; that of the fit, or "auto", the library's default.
    level : of the interval that must not hold zero: 0.95 is a test at 5 %. Variances are tested by likelihood ratio.
    reps : replications of each design: with 1,000 the Monte-Carlo error of power is at most 1.6 percent points.
    seed : of all random numbers; results depend on nothing else.
    n_jobs : worker processes.
    rows : draw rows even where cross-products could be drawn.
    progress : whether to report how far it has come, on the standard error stream.

    Returns
    -------
    Power : prints as a table; `.frame` has the numbers, `.needed(.8)` the smallest number of clusters, `.optimal(...)`
        the cheapest design, `cl.plot.power` draws it.

    Raises
    ------
    CrosslevelError : a wrong argument; the message says what to do.

    Examples
    --------
    >>> import crosslevel as cl
    >>> found = cl.power(
    ...     "y ~ x + z + (1 | country)", effects={"z": 0.2}, icc=0.1, target="z", clusters=[10, 20, 40], size=1500,
    ...     reps=100, seed=1, progress=False,
    ... )
    >>> found.frame["power"].round(1).tolist()
    [0.4, 0.8, 1.0]
    """
    values, varied = _effects(effects)
    _check_run(level, reps, seed, n_jobs)
    if isinstance(model, MixedFit):
        _refuse_beside_fit(
            icc=icc, correlation=_unless_zero(correlation), context=context, arms=arms, between=_unless_zero(between),
            variables=variables, predictor_correlation=_unless_zero(predictor_correlation), cv=_unless_zero(cv),
            rows=rows or None,
        )  # fmt: skip
        source: Source = Estimated.of(model, effects=values, sd=sd or {}, sigma=sigma)
        clusters = _extended(model, clusters, extend)
        method, ddf = method or model.method, ddf or str(model.given["ddf"])
    else:
        _check_formula(model, clusters, size, extend)
        source = assume(
            model, effects=values, icc=icc, sd=sd, sigma=sigma, correlation=correlation,
            predictor_correlation=predictor_correlation, cv=cv, rows=rows, variables=variables or {}, context=context,
            arms=arms, between=between,
        )  # fmt: skip
    settings = Settings(
        method=method or "reml", interval=_interval(ddf or AUTO, source, method or "reml"), level=level, reps=reps,
        seed=int(seed), n_jobs=n_jobs, progress=progress,
    )  # fmt: skip
    targets = _targets(target, source, values, normal=settings.interval == "normal", level=level)
    points = _points(source, _whole_numbers(clusters), _sizes(size), varied)
    frame = simulate(source, targets, points, settings)
    return Power(source=source, targets=targets, settings=settings, points=tuple(points), frame=frame)


def _effects(effects: Effects | None) -> tuple[dict[str, float], dict[str, list[float]]]:
    """One value of each effect, and all values of the one that has several."""
    values: dict[str, float] = {}
    varied: dict[str, list[float]] = {}
    if effects is not None and not isinstance(effects, Mapping):
        raise CrosslevelError(f"`effects` maps names of coefficients to numbers, as in {{'z': .2}}; got {effects!r}.")
    for name, given in (effects or {}).items():
        several: list[Any] = list(given) if isinstance(given, list | tuple | range | np.ndarray) else [given]
        wrong = [
            one for one in several if isinstance(one, bool) or not isinstance(one, Real) or not np.isfinite(float(one))
        ]
        if wrong or not several:
            raise CrosslevelError(f"`effects` of {name!r} is a finite number, or several; got {given!r}.")
        values[name] = float(several[0])
        if len(several) > 1:
            varied[name] = [float(one) for one in several]
    if len(varied) > 1:
        raise CrosslevelError(
            f"`effects` has several values of {' and '.join(map(repr, varied))}; vary one effect at a time."
        )
    return values, varied


def _check_run(level: float, reps: int, seed: object, n_jobs: object) -> None:
    """Whether these are numbers that a simulation can go by."""
    if check_level(level) < 0.5:
        raise CrosslevelError(
            f"`level` is that of the interval that must not hold zero: 0.95 for a test at 5 %; got {level!r}. Write "
            f"level={1.0 - level:g}."
        )
    check_positive("reps", reps)
    check_jobs(n_jobs)
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise CrosslevelError(f"`seed` is a whole number that is not negative; got {seed!r}.")


def _check_formula(model: object, clusters: object, size: object, extend: object) -> None:
    """What a formula needs beside it."""
    if not isinstance(model, str):
        raise CrosslevelError(
            f"`model` is a formula such as 'y ~ x + z + (1 | country)', or a linear model fitted by cl.mixed; "
            f"got {type(model).__name__}."
        )
    if extend is not None:
        raise CrosslevelError("`extend` goes with a fitted model. Beside a formula say `clusters` and `size`.")
    for name, value in (("clusters", clusters), ("size", size)):
        if value is None:
            raise CrosslevelError(f"`{name}` has to be given beside a formula, as in clusters=[10, 20, 30], size=100.")


def _refuse_beside_fit(**given: object) -> None:
    """Refuse values that a fit has itself."""
    said = [name for name, value in given.items() if value is not None]
    if said:
        raise CrosslevelError(
            f"`{said[0]}` goes with a formula; a fitted model has it from its data. What can be changed beside a fit: "
            "effects, sd, sigma, clusters (or extend), size, method, ddf."
        )


def _unless_zero(value: object) -> object:
    """The value; None where it is the default, 0."""
    return None if isinstance(value, int | float) and value == 0 else value


def _extended(
    fit: MixedFit, clusters: int | Sequence[int] | None, extend: Mapping[str, int | Sequence[int]] | None
) -> int | Sequence[int]:
    """Numbers of clusters beside a fit."""
    if extend is None:
        return fit.ngroups[fit.group] if clusters is None else clusters
    if clusters is not None or not isinstance(extend, Mapping) or list(extend) != [fit.group]:
        raise CrosslevelError(
            f"`extend` says how many clusters there will be, as in extend={{{fit.group!r}: 60}}, in place of "
            f"`clusters`; got extend={extend!r}" + (f" and clusters={clusters!r}." if clusters is not None else ".")
        )
    return extend[fit.group]


def _interval(ddf: str, source: Source, method: str) -> str:
    """Name of the way to count degrees of freedom; "auto" as `inference.df.suited_method` has it."""
    if method not in ("reml", "ml"):
        raise CrosslevelError(f"`method` is 'reml' or 'ml'; got {method!r}.")
    check_ddf(ddf)
    if ddf != AUTO:
        return ddf
    return "growth-curve" if method == "reml" and len(source.sd) > 1 else "m-l-1"


def _targets(
    target: str | Sequence[str] | None, source: Source, given: Mapping[str, float], *, normal: bool, level: float
) -> tuple[Target, ...]:
    """What power is asked for."""
    several = [target] if isinstance(target, str) or target is None else target
    if not isinstance(several, Sequence) or not several or not all(isinstance(one, str | None) for one in several):
        raise CrosslevelError(f"`target` is the name of an effect, or a list of names; got {target!r}.")
    names = list(several)
    if names == [None]:
        fitted = isinstance(source, Estimated)
        chosen = [name for name in (source.effects if fitted and not given else given) if name != "Intercept"]
        names = [*chosen] or [None]
    found = [
        target_of(
            name, source.design, effects=source.effects, given=list(given), sd=source.sd, sigma=source.sigma,
            normal=normal, level=level,
        )
        for name in dict.fromkeys(names)
    ]  # fmt: skip
    return tuple(found)


def _whole_numbers(clusters: Any) -> list[int]:
    """Numbers of clusters."""
    several = list(clusters) if isinstance(clusters, Sequence | np.ndarray | range) else [clusters]
    wrong = [one for one in several if isinstance(one, bool) or not isinstance(one, Integral) or one < 2]
    if wrong or not several:
        raise CrosslevelError(f"`clusters` is a whole number of at least 2, or several; got {clusters!r}.")
    for one in several:
        number_of_clusters(int(one))
    return [int(one) for one in dict.fromkeys(several)]


def _sizes(size: Any) -> list[Any]:
    """Sizes that are tried."""
    several = list(size) if isinstance(size, list | range | np.ndarray) else [size]
    if not several:
        raise CrosslevelError("`size` is an empty list. Give the rows of a cluster, or several numbers to try.")
    return several


def _points(source: Source, clusters: list[int], sizes: list[Any], varied: Mapping[str, list[float]]) -> list[Point]:
    """All designs, clusters changing fastest."""
    changes: list[dict[str, float]] = [{name: one} for name, several in varied.items() for one in several] or [{}]
    return [
        Point(clusters=count, size=size, rows=_mean_rows(source, size), effects=change)
        for change in changes
        for size in sizes
        for count in clusters
    ]


def _mean_rows(source: Source, size: Any) -> float:
    """Rows of an average cluster."""
    if size is None:
        assert isinstance(source, Estimated)
        return source.mean_size
    if isinstance(size, Sizes):
        return float(size.mean)
    if isinstance(size, tuple) and len(size) == 2:
        return float(np.mean(size))
    if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
        raise CrosslevelError(
            f"`size` is a number of rows in each cluster, (least, most) or cl.lab.Sizes(mean=, cv=); got {size!r}."
        )
    return float(size)
