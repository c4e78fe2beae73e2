"""`quantile_residuals`: where each outcome stands among outcomes drawn from the model."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from crosslevel.diagnostics.diagnostic import Concern, concern_of
from crosslevel.diagnostics.generalized.simulator import Simulator
from crosslevel.diagnostics.generalized.statistics import CLEAR
from crosslevel.display import Document, Note, Paragraph, Row, Table, counted, number, p_statement, percent
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.rows import row_index
from crosslevel.inference.seeds import generator_from
from crosslevel.types import FloatArray, IntArray

Drawn: TypeAlias = Literal["new", "conditional"]

TESTED = 4000
"""Rows that tests look at, at most: tests need all simulations of a row at once."""

BANDS = 20
"""Bands of the linear predictor in which residuals are compared."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantileResiduals:
    """Randomised quantile residuals: uniform between 0 and 1 where the model is true.

    Attributes
    ----------
    values : residuals of the rows used, by row.
    predictor : linear predictor without random effects, by row.
    n : simulations.
    random_effects : "new" or "conditional", as asked for.
    outside : rows whose outcome is beyond every simulated one.
    distance, curve : how far the distribution of the residuals, as normal quantiles, is from a normal one with their
        mean and spread (Kolmogorov-Smirnov), and how far their means in bands of the linear predictor are from the
        mean of all (sum of squares over its expectation for rows without clusters), in the data.
    simulated_distance, simulated_curve : (n,) the same in outcomes drawn from the model.
    tested : rows that these four look at.
    distribution : sorted residuals at 101 places: theoretical, observed, and low and high, between which 95 % of those
        of outcomes drawn from the model lie.
    along : the bands of the linear predictor: linear_predictor, rows, mean of the residuals, and low and high likewise.
    """

    values: pd.Series = field(repr=False)
    predictor: pd.Series = field(repr=False)
    n: int
    random_effects: Drawn
    outside: int
    distance: float
    curve: float
    simulated_distance: FloatArray = field(repr=False)
    simulated_curve: FloatArray = field(repr=False)
    tested: int
    distribution: pd.DataFrame = field(repr=False)
    along: pd.DataFrame = field(repr=False)

    @cached_property
    def normal(self) -> pd.Series:
        """The residuals as standard normal quantiles."""
        return pd.Series(ndtri(self.values.to_numpy()), index=self.values.index, name="normal_residual")

    @property
    def frame(self) -> pd.DataFrame:
        """The tests: statistic, its simulated mean, p_value."""
        rows = [(self.distance, self.simulated_distance), (self.curve, self.simulated_curve)]
        return pd.DataFrame(
            {
                "statistic": [value for value, _ in rows],
                "simulated_mean": [float(drawn.mean()) for _, drawn in rows],
                # only too far is wrong: too near a uniform distribution is what a fit to the data brings about
                "p_value": [(1.0 + np.count_nonzero(drawn >= value)) / (len(drawn) + 1.0) for value, drawn in rows],
            },
            index=pd.Index(["distribution", "linear predictor"], name="test"),
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """The tests with their p-values, and what to do."""
        shape, flat = (p_statement(p) for p in self.frame["p_value"])
        return (
            f"Quantile residuals: shape of the distribution {shape}, flat along the linear predictor {flat}. "
            f"{self._advice().text}",
        )

    @property
    def concern(self) -> Concern:
        """The light of the smaller p-value, which counts twice because there are two."""
        return concern_of(min(1.0, 2.0 * float(self.frame["p_value"].min())))

    def document(self) -> Document:
        """The tests in words, to print or to show in a notebook."""
        n, frame = len(self.values), self.frame
        effects = "with new random effects" if self.random_effects == "new" else "at the modes of the random effects"
        first = (
            f"Each of {counted(n)} outcomes has its rank among {counted(self.n)} drawn from the model {effects}; ties "
            f"are broken by lot. {counted(self.outside)} rows ({percent(self.outside / n)}) are beyond all of these; "
            f"about {percent(2.0 / (self.n + 1.0))} are where the model is true, fewer where outcomes have few values."
        )
        names = ["Shape of the distribution (distance)", "Flat along the linear predictor (ratio)"]
        rows: list[Row] = [
            [name, number(statistic), number(mean), p_statement(p)]
            for name, (statistic, mean, p) in zip(names, frame.to_numpy().tolist(), strict=True)
        ]
        some = "" if self.tested == n else f" of {counted(self.tested)} rows drawn by lot"
        note = f"Reference: the same statistics{some} in every outcome drawn from the model."
        table = Table(["Residuals", "Data", "Model", "p"], rows, notes=[note])
        return Document("Quantile residuals", [Paragraph(first), table, self._advice()])

    def _advice(self) -> Note:
        small = self.frame["p_value"] < CLEAR
        if not small.any():
            return Note("The data are as the model says.")
        told = []
        if small["linear predictor"]:
            told.append("Residuals change along the linear predictor: a predictor may act along a curve, or one that "
                        "interacts with it is missing.")  # fmt: skip
        if small["distribution"]:
            told.append("The outcome is distributed otherwise than the family says: look at cl.dispersion(fit) and at "
                        "the figure.")  # fmt: skip
        return Note(" ".join(told), kind="warning")

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def quantile_residuals(
    fit: GeneralizedFit,
    *,
    n: int = 250,
    random_effects: Drawn = "new",
    seed: int | np.random.Generator | None = None,
) -> QuantileResiduals:
    """Randomised quantile residuals by simulation, with tests that know of the clusters.

    The residual of a row is (less + U (equal + 1)) / (n + 1): of n outcomes drawn for it so many are less than the
    observed one and so many equal to it, and U is uniform. Rows of a cluster share random effects, so that their
    residuals depend on each other and textbook tests of uniformity do not hold; here the same statistics are computed
    for each outcome drawn from the model, as if it were the data.

    Parameters
    ----------
    fit : a fitted generalized linear mixed model.
    n : simulations.
    random_effects : "new" draws the effects of all clusters anew; "conditional" keeps their modes, which follow the
        data, so that residuals look a little too good.
    seed : of a generator of its own; or a generator to draw from.

    Raises
    ------
    CrosslevelError : no fit of a family, weights of rows that stand for several, a wrong argument.

    Source
    ------
    Dunn & Smyth (1996), J. Comput. Graph. Statist. 5: 236-244; by simulation as in the R package DHARMa (Hartig).

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("minority ~ ses + (1 | school)", cl.datasets.load("hsb"), family="binomial")
    >>> found = quantile_residuals(fit, n=50, seed=1)
    >>> found.frame.loc["distribution", "p_value"] > 0.05
    np.True_
    """
    if random_effects not in ("new", "conditional"):
        raise CrosslevelError(f"`random_effects` is 'new' or 'conditional'; got {random_effects!r}.")
    model, rng = Simulator.of(fit, what="quantile_residuals", n=n), generator_from(seed)
    n_rows = len(model.y)
    chosen = np.sort(rng.permutation(n_rows)[:TESTED])
    less, equal, drawn = np.zeros(n_rows), np.zeros(n_rows), np.empty((n + 1, len(chosen)))
    for k, y in enumerate(model.outcomes(rng, n, conditional=random_effects == "conditional")):
        less += y < model.y
        equal += y == model.y
        drawn[k + 1] = y[chosen]
    residual = (less + (1.0 - rng.random(n_rows)) * (equal + 1.0)) / (n + 1.0)
    residual = np.clip(residual, 0.5 / (n + 1.0) * 1e-6, 1.0 - 0.5 / (n + 1.0) * 1e-6)
    drawn[0] = model.y[chosen]
    ranks = uniform_ranks(drawn, rng)
    ranks[0] = residual[chosen]
    bands = _bands(model.draws.fixed[chosen])
    distances, curves = _distances(ranks), _curves(ranks, bands)
    in_order, index = model.draws.rows.in_data_order, row_index(fit.design)
    return QuantileResiduals(
        values=pd.Series(in_order(residual), index=index, name="quantile_residual"),
        predictor=pd.Series(in_order(model.draws.fixed), index=index, name="linear_predictor"),
        n=n, random_effects=random_effects, outside=int(np.count_nonzero((equal == 0) & ((less == 0) | (less == n)))),
        distance=float(distances[0]), curve=float(curves[0]), simulated_distance=distances[1:],
        simulated_curve=curves[1:], tested=len(chosen), distribution=_distribution(ranks),
        along=_along(ranks, bands, model.draws.fixed[chosen]),
    )  # fmt: skip


def uniform_ranks(values: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Place (s, n) of each value within its column, uniform between 0 and 1; ties are broken by lot."""
    order = np.lexsort((rng.random(values.shape), values), axis=0)
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, np.arange(len(values), dtype=float)[:, None], axis=0)
    return (ranks + rng.random(values.shape)) / len(values)


def standard_scores(residuals: FloatArray) -> FloatArray:
    """Normal quantiles of residuals (s, n), with mean 0 and standard deviation 1 in each row."""
    scores = np.asarray(ndtri(residuals))
    scores = scores - scores.mean(axis=1, keepdims=True)
    spread = scores.std(axis=1, keepdims=True)
    return np.asarray(scores / np.where(spread > 0.0, spread, 1.0))


def _bands(predictor: FloatArray) -> IntArray:
    """Band (n,) of each row: equally many rows each, rows with the same predictor together."""
    _, place = np.unique(predictor, return_inverse=True)
    counts = np.bincount(place)
    middle = np.cumsum(counts) - 0.5 * counts
    wanted = min(BANDS, max(len(predictor) // 25, 1))
    band = np.minimum((middle / len(predictor) * wanted).astype(np.intp), wanted - 1)
    return np.asarray(np.unique(band[place], return_inverse=True)[1])


def _distances(residuals: FloatArray) -> FloatArray:
    """Kolmogorov-Smirnov distance (s,) of residuals (s, n) from the normal distribution with their mean and spread.

    Estimates bring mean and spread of the data's residuals near those of the model; outcomes drawn from it are not
    fitted again, and would differ more.
    """
    ordered, n = np.sort(ndtr(standard_scores(residuals)), axis=1), residuals.shape[1]
    steps = np.arange(n + 1.0) / n
    return np.asarray(np.maximum(np.max(steps[1:] - ordered, axis=1), np.max(ordered - steps[:-1], axis=1)))


def _curves(residuals: FloatArray, bands: IntArray) -> FloatArray:
    """Sum (s,) of squared deviations of the bands' means from the mean of all, over its expectation for free rows."""
    counts = np.bincount(bands).astype(float)
    means = _band_means(residuals, bands)
    centred = means - (means @ counts / counts.sum())[:, None]
    return np.asarray(12.0 * np.sum(counts * centred**2, axis=1) / max(len(counts) - 1, 1))


def _band_means(residuals: FloatArray, bands: IntArray) -> FloatArray:
    """Mean residual (s, b) of each band."""
    return np.stack([np.bincount(bands, weights=row) for row in residuals]) / np.bincount(bands)


def _distribution(residuals: FloatArray) -> pd.DataFrame:
    """Sorted residuals of the data (first row) between those of the simulations (s, n)."""
    places = np.linspace(0.005, 0.995, 101)
    ordered = np.quantile(residuals, places, axis=1).T
    low, high = np.quantile(ordered[1:], [0.025, 0.975], axis=0)
    return pd.DataFrame({"theoretical": places, "observed": ordered[0], "low": low, "high": high})


def _along(residuals: FloatArray, bands: IntArray, predictor: FloatArray) -> pd.DataFrame:
    """Mean residuals of the data (first row) between those of the simulations (s, n), by band."""
    counts, means = np.bincount(bands), _band_means(residuals, bands)
    low, high = np.quantile(means[1:], [0.025, 0.975], axis=0)
    middle = np.bincount(bands, weights=predictor) / counts
    return pd.DataFrame({"linear_predictor": middle, "rows": counts, "mean": means[0], "low": low, "high": high})
