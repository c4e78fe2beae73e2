"""`homogeneity`: whether residuals are spread alike in all clusters and along the fitted values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.diagnostics.diagnostic import AnyFit, Concern
from crosslevel.diagnostics.residuals import homogeneity_words as words
from crosslevel.diagnostics.residuals.envelope import residual_source
from crosslevel.diagnostics.residuals.standardised import RESIDUALS
from crosslevel.display import Document
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.inference.seeds import generator_from
from crosslevel.types import CodeArray, FloatArray, IntArray

BANDS = 20
"""Bands of fitted values of equally many rows."""

LEAST = 10
"""Rows of a band, at least."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Homogeneity:
    """Spread of standardised residuals by cluster and along the fitted values; figure `cl.plot.homogeneity`.

    A spread is the root of the mean square of standardised residuals, 1 where the model is true.

    Attributes
    ----------
    outcome : name of the outcome.
    clusters : for each grouping factor, by level: rows, spread, and low and high, between which 95 % of the spreads of
        outcomes drawn from the model lie; outside.
    along : the same by band of fitted values, with `fitted`, the middle of the band.
    observed : statistics of the data: for each factor, and for the fitted values, the ratio F of the mean squares of
        |residual| between and within groups (Levene's).
    simulated : (n, parts) the same in outcomes drawn from the model.
    trend : correlation of |residual| with the fitted value.
    n : outcomes drawn from the model.
    normal : whether residuals are those of a linear model.
    """

    outcome: str
    clusters: Mapping[str, pd.DataFrame] = field(repr=False)
    along: pd.DataFrame = field(repr=False)
    observed: FloatArray
    simulated: FloatArray = field(repr=False)
    trend: float
    n: int
    normal: bool = True

    @property
    def frame(self) -> pd.DataFrame:
        """Tests: statistic (F), its simulated_mean, p_value, lowest and highest spread of a group."""
        tables = [*self.clusters.values(), self.along]
        names = [f"clusters of {name}" for name in self.clusters] + ["fitted values"]
        p_values = np.array(
            [_chance(value, drawn) for value, drawn in zip(self.observed, self.simulated.T, strict=True)]
        )
        columns = {
            "statistic": self.observed,
            "simulated_mean": [_mean(drawn) for drawn in self.simulated.T],
            "p_value": p_values,
            "lowest": [float(table["spread"].min()) for table in tables],
            "highest": [float(table["spread"].max()) for table in tables],
        }
        return pd.DataFrame(columns, index=pd.Index(names, name="across"))

    @property
    def sentences(self) -> tuple[str, ...]:
        """Where residuals are spread more and less, and what to do."""
        return words.sentences(self)

    @property
    def concern(self) -> Concern:
        """The light: "look" where p < .05; "act" where many clusters are outside or spreads differ much."""
        return words.concern(self)

    def document(self) -> Document:
        """The sentences, the tests, and the clusters with the least and the largest spread."""
        return words.write(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def homogeneity(fit: AnyFit, *, n: int = 200, seed: int | np.random.Generator | None = None) -> Homogeneity:
    """Ask whether residuals are spread alike in all clusters, and along the fitted values.

    The residuals r are standardised, so that their spread does not depend on leverage. The statistic is Levene's,

        F = [sum_g n_g (a_g - a)^2 / (G - 1)] / [sum_g sum_i (|r_gi| - a_g)^2 / (n - G)],   a_g the means of |r_gi|,

    for the clusters of each grouping factor and for 20 bands of fitted values. Residuals of a cluster depend on each
    other, the more the smaller it is, and the F distribution does not hold: statistics of outcomes drawn from the
    fitted model take its place. `fit.test_residual_homogeneity` has the tests of normal theory.

    Parameters
    ----------
    fit : of `mixed` (any number of factors, any family: normal scores of quantile residuals), or of `ols` (clusters are
        those of the fit).
    n : outcomes drawn from the model, at least 20.
    seed : of a generator of its own; or a generator to draw from.

    Returns
    -------
    Homogeneity : `.clusters[group]` and `.along` with spreads and their ranges, `.frame` with the tests, `.sentences`.

    Raises
    ------
    CrosslevelError : weights under which a row is not one draw; a wrong argument.

    Source
    ------
    Levene (1960), in Contributions to Probability and Statistics, Stanford, 278-292; Snijders & Bosker (2012),
    Multilevel Analysis, 2nd ed., section 10.4.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses + (ses | school)", cl.datasets.load("hsb"))
    >>> found = cl.homogeneity(fit, n=100, seed=1)
    >>> found.frame[["p_value", "lowest", "highest"]].round(2)
                       p_value  lowest  highest
    across
    clusters of school    0.01    0.64     1.31
    fitted values         0.01    0.76     1.10
    """
    rng = generator_from(seed)
    source = residual_source(fit, n, rng, "`homogeneity`")
    groups, fitted = groups_of(fit), fitted_of(fit)
    parts: list[tuple[CodeArray | IntArray, int]] = [(group.codes, group.n_clusters) for group in groups]
    bands = bands_of(fitted)
    parts.append((bands, int(bands.max()) + 1))
    observed = source.observed()[RESIDUALS]
    able = np.isfinite(observed)
    spreads: list[list[FloatArray]] = [[] for _ in parts]
    statistics = []
    for drawn in source.drawn(rng, n):
        values = np.where(able, drawn[RESIDUALS], np.nan)
        statistics.append([levene(values, *part) for part in parts])
        for found, part in zip(spreads, parts, strict=True):
            found.append(spread_of(values, *part))
    tables = [
        _table(observed, *part, np.array(found), _index(groups, k))
        for k, (part, found) in enumerate(zip(parts, spreads, strict=True))
    ]
    middle = np.bincount(bands, fitted) / np.bincount(bands)
    tables[-1].insert(0, "fitted", middle)
    return Homogeneity(
        outcome=fit.spec.response_name,
        clusters={group.name: table for group, table in zip(groups, tables[:-1], strict=True)}, along=tables[-1],
        observed=np.array([levene(observed, *part) for part in parts]), simulated=np.array(statistics),
        trend=float(np.corrcoef(np.abs(observed[able]), fitted[able])[0, 1]) if np.ptp(fitted[able]) > 0.0 else 0.0,
        n=n, normal=not isinstance(fit, GeneralizedFit),
    )  # fmt: skip


def levene(values: FloatArray, codes: "CodeArray | IntArray", n_groups: int) -> float:
    """Levene's F of values (n,) in groups; NaN for fewer than two groups or nothing within them."""
    known = np.isfinite(values)
    size, own = np.abs(values[known]), codes[known]
    count = np.bincount(own, minlength=n_groups).astype(float)
    used = count > 0
    mean = np.divide(np.bincount(own, size, n_groups), count, out=np.zeros(n_groups), where=used)
    between = float(count @ (mean - size.mean()) ** 2) if len(size) else 0.0
    within = float(np.sum((size - mean[own]) ** 2))
    df1, df2 = int(used.sum()) - 1, len(size) - int(used.sum())
    return between / df1 / (within / df2) if df1 > 0 and df2 > 0 and within > 0.0 else np.nan


def spread_of(values: FloatArray, codes: "CodeArray | IntArray", n_groups: int) -> FloatArray:
    """Root mean square (G,) of the values of each group; NaN for a group without values."""
    known = np.isfinite(values)
    count = np.bincount(codes[known], minlength=n_groups).astype(float)
    squares = np.bincount(codes[known], values[known] ** 2, n_groups)
    return np.asarray(np.sqrt(np.divide(squares, count, out=np.full(n_groups, np.nan), where=count > 0)))


def bands_of(fitted: FloatArray) -> IntArray:
    """Band (n,) of values of equally many rows, those with the same value together; of few values one for each."""
    values, place = np.unique(fitted, return_inverse=True)
    if len(values) <= BANDS:
        return np.asarray(place)
    wanted = max(min(BANDS, len(fitted) // LEAST), 2)
    edges = np.unique(np.quantile(fitted, np.linspace(0.0, 1.0, wanted + 1)[1:-1]))
    return np.asarray(np.unique(np.searchsorted(edges, fitted, side="left"), return_inverse=True)[1])


def groups_of(fit: AnyFit) -> list[Clustering]:
    """The clusters that are compared: of every grouping factor whose levels are single, or those of a regression.

    Raises
    ------
    CrosslevelError : a grouping factor is no set of columns.
    """
    if isinstance(fit, OLSFit):
        return [clustering_named(fit.design, name) for name in fit.clusters]
    return [
        Clustering(name=factor.name, levels=tuple(factor.levels), codes=fit.design.used_codes(factor))
        for factor in fit.design.factors
        # a level for each row has no spread of its own
        if not factor.members and factor.n_levels < fit.design.rows.used
    ]


def fitted_of(fit: AnyFit) -> FloatArray:
    """(n,) fitted values of the rows used, on the scale of the linear predictor."""
    if isinstance(fit, GeneralizedFit):
        return np.asarray(fit.solution.criterion.rows.in_data_order(fit.solution.state.eta))
    return np.asarray(fit.augment()["fitted"].to_numpy())


def _index(groups: list[Clustering], k: int) -> pd.Index:
    """Names of groups."""
    if k < len(groups):
        return pd.Index(groups[k].levels, name=groups[k].name)
    return pd.Index([], name="band")


def _table(
    observed: FloatArray, codes: "CodeArray | IntArray", n_groups: int, drawn: FloatArray, index: pd.Index
) -> pd.DataFrame:
    """Spreads of groups between those of outcomes from the model (s, G)."""
    able = np.isfinite(drawn).all(axis=0)
    low, high = np.full((2, n_groups), np.nan)
    if np.any(able):
        low[able], high[able] = np.quantile(drawn[:, able], [0.025, 0.975], axis=0)
    spread = spread_of(observed, codes, n_groups)
    table = pd.DataFrame(
        {
            "rows": np.bincount(codes, minlength=n_groups), "spread": spread, "low": low, "high": high,
            "outside": (spread < low) | (spread > high),
        }
    )  # fmt: skip
    return table.set_axis(index) if len(index) == n_groups else table.rename_axis("band")


def _mean(drawn: FloatArray) -> float:
    """Mean of what is known; NaN if nothing is."""
    known = drawn[np.isfinite(drawn)]
    return float(known.mean()) if len(known) else np.nan


def _chance(value: float, drawn: FloatArray) -> float:
    """Share of the outcomes from the model with as large a statistic, the data included."""
    known = drawn[np.isfinite(drawn)]
    return float((1.0 + np.count_nonzero(known >= value)) / (len(known) + 1.0)) if np.isfinite(value) else np.nan
