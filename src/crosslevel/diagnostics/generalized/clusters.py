"""`observed_expected`: each cluster's outcomes beside what its rows let expect."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import ndtri

from crosslevel.diagnostics.diagnostic import Concern, concern_of
from crosslevel.diagnostics.generalized.quantiles import standard_scores, uniform_ranks
from crosslevel.diagnostics.generalized.simulator import Simulator
from crosslevel.diagnostics.generalized.statistics import CLEAR
from crosslevel.display import Column, Document, Note, Paragraph, Table, counted, p_statement, percent
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.inference.seeds import generator_from
from crosslevel.types import FloatArray

SHOWN = 5
"""Clusters listed at each end."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ObservedExpected:
    """Clusters' outcomes beside what their rows let expect in an average over the random effects.

    Attributes
    ----------
    group : the grouping factor.
    what : what is summed, in words.
    frame : by cluster: rows, observed, expected (of these rows in a cluster drawn at random), ratio, at_modes (the sum
        the cluster's random effects stand for), conf_low and conf_high (where `level` of the observed sums lie if the
        model is true), quantile (where the observed sum lies among the simulated ones), outside.
    distance, simulated_distance : how far the quantiles, as normal ones of mean 0 and spread 1, are from normal order,
        in the data and (n,) in outcomes drawn from the model: whether clusters differ as normal random effects do.
    n, level : as asked for.
    """

    group: str
    what: str
    frame: pd.DataFrame = field(repr=False)
    distance: float
    simulated_distance: FloatArray = field(repr=False)
    n: int
    level: float

    @property
    def p_value(self) -> float:
        """Of the distance of the clusters' quantiles from normal order."""
        return float((1.0 + np.count_nonzero(self.simulated_distance >= self.distance)) / (self.n + 1.0))

    @property
    def told(self) -> str:
        """What the test says."""
        if self.p_value < CLEAR:
            return "Clusters differ otherwise than normal random effects do: some may be outlying, or of several kinds."
        return "Clusters differ as the model says."

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer with its numbers."""
        outside, n = int(self.frame["outside"].sum()), len(self.frame)
        return (
            f"{counted(outside)} of {counted(n)} clusters of {self.group} are outside the "
            f"{percent(self.level, decimals=0)} range of simulations ({p_statement(self.p_value)} for all together). "
            f"{self.told}",
        )

    @property
    def concern(self) -> Concern:
        """The light of the test."""
        return concern_of(self.p_value)

    def document(self) -> Document:
        """The clusters at both ends, to print or to show in a notebook."""
        frame = self.frame.sort_values("quantile", kind="stable")
        outside, n = int(self.frame["outside"].sum()), len(frame)
        within = percent(self.level, decimals=0)
        first = (
            f"{self.what} in each of {counted(n)} clusters of {self.group}, beside what their rows let expect in a "
            f"cluster drawn at random. {counted(outside)} are outside the {within} range of {counted(self.n)} "
            f"simulations; about {(1.0 - self.level) * n:.1f} are where the model is true."
        )
        shown = frame if n <= 2 * SHOWN else pd.concat([frame.iloc[:SHOWN], frame.iloc[-SHOWN:]])
        numbers = shown[["observed", "expected", "ratio", "conf_low", "conf_high"]].to_numpy().tolist()
        sizes = shown["rows"].to_numpy().tolist()
        rows = [[str(name), size, *own] for name, size, own in zip(shown.index, sizes, numbers, strict=True)]
        heads = ("Observed", "Expected", "Ratio", "Low", "High")
        columns: list[str | Column] = [self.group, Column("Rows", format="count"), *(Column(head) for head in heads)]
        table = Table(columns, rows, title="Clusters at both ends" if n > 2 * SHOWN else "Clusters")
        words = f"Distribution over clusters: {p_statement(self.p_value)}. {self.told}"
        note = Note(words, kind="warning" if self.p_value < CLEAR else "info")
        return Document("Observed and expected", [Paragraph(first), table, note])

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def observed_expected(
    fit: GeneralizedFit,
    group: str | None = None,
    *,
    n: int = 1000,
    level: float = 0.95,
    seed: int | np.random.Generator | None = None,
) -> ObservedExpected:
    """Compare each cluster's sum of outcomes with what its rows let expect.

    Expected is the sum over the cluster's rows of the mean outcome, averaged over all random effects. The range is that
    of sums drawn from the model with new random effects, so that it holds the differences between clusters: beyond it
    are clusters that differ more than clusters do. Outcomes of ordered categories are their numbers, from 0.

    Parameters
    ----------
    fit : a fitted generalized linear mixed model.
    group : the grouping factor; the first if None.
    n : simulations.
    level : share of simulated sums between conf_low and conf_high.
    seed : of a generator of its own; or a generator to draw from.

    Raises
    ------
    CrosslevelError : no fit of a family, weights of rows that stand for several, no such factor, or one with several
        levels in a row.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("minority ~ ses + (1 | school)", cl.datasets.load("hsb"), family="binomial")
    >>> found = observed_expected(fit, n=200, seed=1)
    >>> found.frame.loc[["1224", "1288"], ["rows", "observed", "expected"]].round(1)
            rows  observed  expected
    school
    1224      47       4.0      15.1
    1288      25       3.0       6.8
    """
    if not 0.0 < level < 1.0:
        raise CrosslevelError(f"`level` is a share between 0 and 1, as 0.95; got {level!r}.")
    model, rng = Simulator.of(fit, what="observed_expected", n=n), generator_from(seed)
    names = [factor.name for factor in fit.design.factors]
    if group is not None and group not in names:
        raise CrosslevelError(f"`group` is one of {', '.join(map(repr, names))}; got {group!r}.")
    k = 0 if group is None else names.index(group)
    factor, term = fit.design.factors[k], model.draws.rows.terms[k]
    if term.members:
        raise CrosslevelError(
            f"`group` {factor.name!r} has several levels in a row, whose outcomes do not add up by level. Name another "
            "factor."
        )

    def by_cluster(values: FloatArray) -> FloatArray:
        return np.bincount(term.codes, weights=values, minlength=term.n_levels).astype(float)

    sums = np.array([by_cluster(model.y), *(by_cluster(y) for y in model.outcomes(rng, n))])
    low, high = np.quantile(sums[1:], [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
    quantiles = uniform_ranks(sums, rng)
    distances = _distances(quantiles)
    expected = by_cluster(model.average_mean())
    frame = pd.DataFrame(
        {
            "rows": np.bincount(term.codes, minlength=term.n_levels),
            "observed": sums[0],
            "expected": expected,
            "ratio": sums[0] / expected,
            "at_modes": by_cluster(model.family.outcome_mean(model.state.eta, model.size, model.shape)),
            "conf_low": low,
            "conf_high": high,
            "quantile": quantiles[0],
            "outside": (sums[0] < low) | (sums[0] > high),
        },
        index=pd.Index(factor.levels, name=factor.name),
    )
    return ObservedExpected(
        group=factor.name, what=_sum_of(fit), frame=frame, distance=float(distances[0]),
        simulated_distance=distances[1:], n=n, level=level,
    )  # fmt: skip


def _distances(quantiles: FloatArray) -> FloatArray:
    """Mean squared distance (s,) of quantiles (s, J), as normal ones of mean 0 and spread 1, from normal order."""
    ordered, n = np.sort(standard_scores(quantiles), axis=1), quantiles.shape[1]
    wanted = ndtri((np.arange(n) + 0.5) / n)
    return np.asarray(np.mean((ordered - wanted) ** 2, axis=1))


def _sum_of(fit: GeneralizedFit) -> str:
    """What a cluster's sum is, in words."""
    name = fit.spec.response_name
    if fit.family.kind == "ordered":
        return f"Sum of the categories' numbers (from 0) of {name}"
    if fit.family.kind == "binary":
        labels = fit.outcome.labels
        return f"Number of {name}{'' if labels is None else f' = {labels[1]}'}"
    return f"Sum of {name}"
