"""`envelope`: whether residuals or random effects are distributed as the fitted model says, judged by simulation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from scipy.special import ndtri

from crosslevel.diagnostics.diagnostic import AnyFit, Concern
from crosslevel.diagnostics.residuals import envelope_words as words
from crosslevel.diagnostics.residuals.standardised import (
    GeneralizedSource,
    LinearSource,
    OrdinarySource,
    Source,
    Values,
)
from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.generalized.likelihoods import require_likelihood
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.estimators.random import level_index
from crosslevel.estimators.rows import row_index
from crosslevel.estimators.simulation import refuse_weights
from crosslevel.inference.bootstrap.run import Reporter
from crosslevel.inference.hat_values import refuse_variances
from crosslevel.inference.multiplicity import holm
from crosslevel.inference.normal_order import anderson_darling, excess_kurtosis, skewness
from crosslevel.inference.seeds import generator_from
from crosslevel.types import FloatArray, IntArray

Of: TypeAlias = Literal["residuals", "random effects"]

FEWEST = 20
"""Simulations below which there is no envelope to speak of."""

TAIL, MIDDLE = 150, 400
"""Order statistics that are kept: so many at each end, and so many of those between."""

STATISTICS = {"distance": anderson_darling, "skewness": skewness, "excess_kurtosis": excess_kurtosis}


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One kind of values: the residuals, or one random effect.

    Attributes
    ----------
    name : as "residuals" or "Intercept of school".
    quantiles : by order statistic: label (of the row or level), theoretical (normal quantile), observed, and low and
        high, between which 95 % of those of outcomes drawn from the model lie, point by point. Of many rows some.
    n_values : how many values there are.
    observed : distance (Anderson-Darling), skewness and excess_kurtosis of the data.
    simulated : (n, 3) the same in outcomes drawn from the model.
    """

    name: str
    quantiles: pd.DataFrame = field(repr=False)
    n_values: int
    observed: FloatArray
    simulated: FloatArray = field(repr=False)

    @property
    def p_value(self) -> float:
        """Share of the outcomes drawn from the model that are as far from normal order, the data included."""
        drawn = self.simulated[:, 0]
        known = drawn[np.isfinite(drawn)]
        if np.isnan(self.observed[0]):
            return np.nan
        return float((1.0 + np.count_nonzero(known >= self.observed[0])) / (len(known) + 1.0))

    @property
    def outside(self) -> int:
        """Order statistics, among those kept, that are outside of the envelope."""
        table = self.quantiles
        return int(((table["observed"] < table["low"]) | (table["observed"] > table["high"])).sum())

    def range_of(self, statistic: str) -> tuple[float, float]:
        """Where 95 % of a statistic lie in outcomes drawn from the model."""
        drawn = self.simulated[:, list(STATISTICS).index(statistic)]
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        return float(low), float(high)

    def value(self, statistic: str) -> float:
        """A statistic of the data."""
        return float(self.observed[list(STATISTICS).index(statistic)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Envelope:
    """Quantiles of standardised values within what the fitted model lets expect; figure `cl.plot.envelope`.

    Attributes
    ----------
    of : "residuals" or "random effects".
    outcome : name of the outcome.
    parts : one for the residuals, or one for each random effect that varies.
    same : effects without a part of their own, being perfectly correlated with one that has, by name.
    n : outcomes drawn from the model.
    refitted : whether variances were estimated from each of them.
    normal : whether residuals are those of a linear model.
    """

    of: Of
    outcome: str
    parts: tuple[Part, ...]
    same: Mapping[str, str]
    n: int
    refitted: bool
    normal: bool = True

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Tests by part.

        Columns values, distance, simulated_mean (of the distance), p_value, p_adjusted (Holm), skewness,
        excess_kurtosis.
        """
        parts = self.parts
        p_values = np.array([part.p_value for part in parts])
        columns = {
            "values": [part.n_values for part in parts],
            "distance": [part.value("distance") for part in parts],
            "simulated_mean": [float(np.nanmean(part.simulated[:, 0])) for part in parts],
            "p_value": p_values,
            "p_adjusted": holm(p_values),
            "skewness": [part.value("skewness") for part in parts],
            "excess_kurtosis": [part.value("excess_kurtosis") for part in parts],
        }
        return pd.DataFrame(columns, index=pd.Index([part.name for part in parts], name="part"))

    @property
    def sentences(self) -> tuple[str, ...]:
        """How the values are distributed, and what to do if not as the model says."""
        return words.sentences(self)

    @property
    def concern(self) -> Concern:
        """The light: "look" where p < .05 (by Holm), "act" where the shape is also far from normal."""
        return words.concern(self)

    def document(self) -> Document:
        """The sentences and the tests."""
        return words.write(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def envelope(
    fit: AnyFit,
    of: Of = "residuals",
    *,
    group: str | None = None,
    n: int = 200,
    refit: bool = False,
    seed: int | np.random.Generator | None = None,
    progress: bool = True,
) -> Envelope:
    """Compare residuals, or predicted random effects, with those of outcomes drawn from the fitted model.

    Predicted random effects are shrunken mixtures of effects and errors, those of small clusters most, and residuals
    hold a part of the random effects: their quantile plots are bent or straight for reasons that have nothing to do
    with normality. Here each of n outcomes y* = X betahat + Z b* + e* goes through the same machine as y: coefficients
    and random effects are predicted from it, values are standardised in the same way. The distance from normal order
    is Anderson and Darling's A^2 with the values' own mean and spread, and

        p = (1 + #{A^2 of y* >= A^2 of y}) / (n + 1),

    a test that holds its level whatever the sizes of the clusters are (but for variances that are estimated, which
    matters little: `refit` accounts for them).

    Parameters
    ----------
    fit : of `mixed` (any number of factors, any family) or of `ols`.
    of : "residuals" of rows (of other families normal scores of quantile residuals), or "random effects".
    group : the grouping factor whose effects are looked at; all if None.
    n : outcomes drawn from the model, at least 20.
    refit : whether variances are estimated anew from each outcome, which takes n fits, or kept as estimated.
    seed : of a generator of its own; or a generator to draw from.
    progress : whether to report on the standard error stream how far refits have come.

    Returns
    -------
    Envelope : `.parts` with `quantiles`, `.frame` with the tests, `.sentences`; figure `cl.plot.envelope`.

    Raises
    ------
    CrosslevelError : weights under which a row is not one draw; no random effect that varies; a wrong argument.

    Source
    ------
    Atkinson (1985), Plots, Transformations and Regression, Oxford, section 4.2, for envelopes; Lange & Ryan (1989),
    Ann. Stat. 17: 624-642; Loy, Follett & Hofmann (2016), Am. Stat. 70: 202-214.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> found = cl.envelope(fit, of="random effects", seed=1)
    >>> (found.frame["p_value"] > 0.05).to_dict()
    {'Intercept of Subject': True, 'Days of Subject': True}
    >>> cl.envelope(fit, seed=1).frame.loc["residuals", ["p_value", "excess_kurtosis"]].round(3).to_dict()
    {'p_value': 0.005, 'excess_kurtosis': 7.573}
    """
    rng = generator_from(seed)
    source = _source(fit, of, n, refit, rng, "`envelope`")
    observed, same = _distinct(_chosen(source.observed(), fit, of, group))
    shown = progress and refit
    simulated: dict[str, list[FloatArray]] = {name: [] for name in observed}
    statistics: dict[str, list[list[float]]] = {name: [] for name in observed}
    places = {name: order_statistics(len(values[np.isfinite(values)])) for name, values in observed.items()}
    reporter = Reporter(n=n, shown=shown, what="envelope")
    for drawn in source.drawn(rng, n):
        for name in observed:
            values = np.sort(drawn[name][np.isfinite(drawn[name])])
            simulated[name].append(at_places(values, places[name], int(np.isfinite(observed[name]).sum())))
            statistics[name].append([of_values(values) for of_values in STATISTICS.values()])
        reporter.add(1)
        reporter.show()
    reporter.end()
    parts = tuple(
        _part(name, values, _labels(fit, of, name), places[name], np.array(simulated[name]), np.array(statistics[name]))
        for name, values in observed.items()
    )
    return Envelope(
        of=of,
        outcome=fit.spec.response_name,
        parts=parts,
        same=same,
        n=n,
        refitted=refit,
        normal=not isinstance(fit, GeneralizedFit),
    )


def _source(fit: AnyFit, of: Of, n: int, refit: bool, rng: np.random.Generator, what: str) -> Source:
    """What gives values of any outcome of the model, for the check named `what`.

    Raises
    ------
    CrosslevelError : arguments or models for which there is none.
    """
    if of not in ("residuals", "random effects"):
        raise CrosslevelError(f"`of` is 'residuals' or 'random effects'; got {of!r}.")
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < FEWEST:
        raise CrosslevelError(f"`n` is the number of simulations, at least {FEWEST}; got {n!r}. 200 are usual.")
    if not isinstance(fit, AnyFit):
        raise CrosslevelError(
            f"{what} is for fits of cl.mixed and cl.ols; got {type(fit).__name__}. Fit the model by one of them."
        )
    refuse_weights(fit.design)
    effects = of == "random effects"
    if effects and (isinstance(fit, OLSFit) or not fit.design.factors):
        raise CrosslevelError("`of` is 'random effects', and the model has none. Use of='residuals'.")
    if isinstance(fit, OLSFit):
        return OrdinarySource(fit=fit)
    if isinstance(fit, GeneralizedFit):
        require_likelihood(fit, what)
        return GeneralizedSource(fit=fit, effects=effects, refit=refit, rng=rng)
    refuse_variances(fit.design, fit.solution)
    return LinearSource(fit=fit, effects=effects, refit=refit)


def residual_source(fit: AnyFit, n: int, rng: np.random.Generator, what: str) -> Source:
    """Standardised residuals of the rows used, in their order, of the data and of outcomes from the model, for `what`.

    Raises
    ------
    CrosslevelError : arguments or models for which there are none.
    """
    return _source(fit, "residuals", n, False, rng, what)


def _chosen(values: Values, fit: AnyFit, of: Of, group: str | None) -> Values:
    """The values that are looked at: of one factor if asked for, and only where there are at least three."""
    if group is not None:
        if of != "random effects" or isinstance(fit, OLSFit):
            raise CrosslevelError(f"`group` is for of='random effects'; got {group!r} with of={of!r}. Leave it out.")
        wanted = fit.design.factor_named(group)
        values = {f"{name} of {group}": values[f"{name} of {group}"] for name in fit.design.effects_of(wanted)}
    able = {name: own for name, own in values.items() if np.count_nonzero(np.isfinite(own)) >= 3}
    if not able:
        listed = ", ".join(values)
        raise CrosslevelError(
            f"`envelope` needs at least three values that vary, and there are not as many ({listed}): the variances "
            "may be estimated as zero. Look at fit.varcomp(), or use of='residuals'."
        )
    return able


def _distinct(values: Values) -> tuple[Values, dict[str, str]]:
    """The values that do not repeat earlier ones, but for their sign, and what the others repeat."""
    kept: Values = {}
    same: dict[str, str] = {}
    for name, own in values.items():
        for other, earlier in kept.items():
            if own.shape == earlier.shape and _repeats(own, earlier):
                same[name] = other
                break
        else:
            kept[name] = own
    return kept, same


def _repeats(one: FloatArray, other: FloatArray) -> bool:
    """Whether values are the same up to their sign."""
    return any(np.allclose(one, sign * other, rtol=0.0, atol=1e-6, equal_nan=True) for sign in (1.0, -1.0))


def order_statistics(n: int) -> IntArray:
    """Places (m,) of the order statistics that are kept: all of few values, of many the tails and some between."""
    if n <= 2 * TAIL + MIDDLE:
        return np.arange(n)
    middle = np.linspace(TAIL, n - TAIL - 1, MIDDLE).astype(np.int64)
    return np.unique(np.concatenate([np.arange(TAIL), middle, np.arange(n - TAIL, n)]))


def at_places(ordered: FloatArray, places: IntArray, n: int) -> FloatArray:
    """Order statistics (m,) of ordered values, as those of n; NaN where there are fewer than three."""
    if len(ordered) == n:
        return ordered[places]
    if len(ordered) < 3:
        return np.full(len(places), np.nan)
    own = (np.arange(len(ordered)) + 0.5) / len(ordered)
    return np.interp((places + 0.5) / n, own, ordered)


def _part(
    name: str, values: FloatArray, labels: pd.Index, places: IntArray, simulated: FloatArray, statistics: FloatArray
) -> Part:
    """The quantiles of one kind of values, with their envelope."""
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    low, high = np.nanquantile(simulated, [0.025, 0.975], axis=0)
    quantiles = pd.DataFrame(
        {
            "label": labels.take(order[places]).astype(str), "theoretical": ndtri((places + 0.5) / len(order)),
            "observed": values[order][places], "low": low, "high": high,
        }
    )  # fmt: skip
    own = np.array([of_values(values[known]) for of_values in STATISTICS.values()])
    return Part(name=name, quantiles=quantiles, n_values=len(order), observed=own, simulated=statistics)


def _labels(fit: AnyFit, of: Of, name: str) -> pd.Index:
    """Names of the rows, or of the levels of the factor whose effect a part is."""
    if of == "residuals" or isinstance(fit, OLSFit):
        return row_index(fit.design)
    for factor in fit.design.factors:
        if name in {f"{effect} of {factor.name}" for effect in fit.design.effects_of(factor)}:
            return level_index(factor)
    raise AssertionError(name)
