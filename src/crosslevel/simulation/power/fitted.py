"""A process that repeats the clusters of fitted data: their predictors as they are, outcomes drawn from the model.

Given the moments of its predictors, those of a cluster's outcome are drawn exactly. With n rows, mean m and centred
scatter S of the design columns, coefficients c = beta + b with b ~ N(0, Psi), S = L L' of rank k and independent
standard normal e0 and u (k,),

    mean(y) = m'c + sigma e0 / sqrt(n),       S_xy = S c + sigma L u,
    S_yy = c'S c + 2 sigma c'L u + sigma^2 (u'u + chi2(n - 1 - k)),

because the residuals' mean, their projections on the centred columns and the length of the rest are independent.

J clusters are floor(J / J0) copies of each of the J0 clusters of the data, and J mod J0 of them without replacement,
chosen anew in each replication: with J = J0 the design is that of the data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.design import CrossProducts, Design
from crosslevel.errors import CrosslevelError
from crosslevel.simulation.power.planned import Planned
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.model import Model
from crosslevel.simulation.processes.sampling import Sampler
from crosslevel.types import FloatArray, IntArray, Method

NOTHING = 1e-11
"""Eigenvalue of the columns' correlations in a cluster that counts as zero."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """The clusters of some data, as they are repeated.

    Attributes
    ----------
    names : of the m design columns.
    count : (J0,) rows.
    mean : (J0, m) means of the columns.
    scatter : (J0, m, m) sums of squares and products about the means.
    """

    names: tuple[str, ...]
    count: FloatArray = field(repr=False)
    mean: FloatArray = field(repr=False)
    scatter: FloatArray = field(repr=False)

    @classmethod
    def of(cls, products: CrossProducts) -> "Clusters":
        """Those of cross-products whose last column is the outcome."""
        m = len(products.names) - 1
        return cls(
            names=products.names[:-1],
            count=products.count,
            mean=(products.origin + products.mean)[:, :m],
            scatter=np.ascontiguousarray(products.scatter[:, :m, :m]),
        )

    def __len__(self) -> int:
        return len(self.count)

    @cached_property
    def root(self) -> FloatArray:
        """(J0, m, m) L with L L' = S; its columns beyond the rank are zero."""
        scale = np.sqrt(np.einsum("gii->gi", self.scatter))
        scale = np.where(scale > 0.0, scale, 1.0)
        value, vector = np.linalg.eigh(self.scatter / (scale[:, :, None] * scale[:, None, :]))
        return np.asarray(scale[:, :, None] * vector * np.sqrt(np.where(value > NOTHING, value, 0.0))[:, None, :])

    @cached_property
    def rank(self) -> IntArray:
        """(J0,) rank of S."""
        return np.asarray(np.count_nonzero(np.any(self.root != 0.0, axis=1), axis=1))

    def resized(self, size: int) -> "Clusters":
        """The same clusters with another number of rows: means and variances within clusters stay.

        Raises
        ------
        CrosslevelError : fewer rows than that need.
        """
        if size - 1 < self.rank.max():
            raise CrosslevelError(
                f"`size` is {size}, but clusters whose predictors have the variances of the data need at least "
                f"{int(self.rank.max()) + 1} rows. Take larger clusters."
            )
        factor = (size - 1.0) / np.maximum(self.count - 1.0, 1.0)
        return replace(self, count=np.full(len(self), float(size)), scatter=self.scatter * factor[:, None, None])


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedProcess(Planned):
    """New outcomes, and more or fewer clusters, of the data of a fitted model.

    Attributes
    ----------
    data : the clusters.
    response : name of the outcome.
    coefficients : (m,) fixed coefficient of each design column.
    z : (q,) positions of the columns with random effects.
    root : (q, r) C with C C' their covariance.
    sigma : residual standard deviation.
    effects : true values of coefficients and components, by name.
    clusters : J.
    size : rows of each; None for those of the data.
    formula, design, given : of the fit; the design has no rows.
    """

    data: Clusters = field(repr=False)
    response: str
    coefficients: FloatArray = field(repr=False)
    z: IntArray = field(repr=False)
    root: FloatArray = field(repr=False)
    sigma: float
    effects: Mapping[str, float]
    clusters: int
    size: int | None
    formula: str
    design: Design = field(repr=False)
    given: Mapping[str, Any] = field(repr=False)

    def effect(self, term: str) -> float:
        """True value of a coefficient, or of a component."""
        return float(self.effects[term])

    @cached_property
    def planned(self) -> Clusters:
        """The clusters with the size that is planned."""
        return self.data if self.size is None else self.data.resized(self.size)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, the outcome last."""
        return (*self.data.names, self.response)

    def sampler(self) -> Sampler:
        """What draws its data."""
        return ClustersAgain(process=self, columns=self.data.names)

    def model(self, method: Method) -> Model:
        """The model of the fit, with this many clusters."""
        one = self.draw([np.random.SeedSequence(0)]).products(0)
        n = round(one.n_rows)
        factor = replace(self.design.factors[0], levels=one.levels)
        template = replace(self.design, products=one, factors=(factor,), rows=replace(self.design.rows, read=n, used=n))
        given = {**self.given, "method": method}
        return Model(formula=self.formula, group=factor.name, template=template, frame=pd.DataFrame(), given=given)

    def draw(self, seeds: Sequence[np.random.SeedSequence]) -> Drawn:
        """Draw one replication per seed."""
        numbers = [self._numbers(np.random.default_rng(seed)) for seed in seeds]
        place, effects, mean_error, u, rest = (np.stack(each) for each in zip(*numbers, strict=True))
        return self._drawn(place, effects, mean_error, u, rest)

    def _numbers(self, rng: np.random.Generator) -> tuple[IntArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        """Random numbers of one replication: clusters (J,), effects (J, r), e0 (J,), u (J, m), chi-squares (J,)."""
        planned, n = self.planned, len(self.data)
        copies, more = divmod(self.clusters, n)
        place = np.tile(np.arange(n), copies)
        if more:
            place = np.concatenate([place, np.sort(rng.choice(n, more, replace=False))])
        normal = rng.standard_normal((self.clusters, self.root.shape[1] + 1 + len(planned.names)))
        rest = planned.count[place] - 1.0 - planned.rank[place]
        square = np.where(rest > 0.0, rng.chisquare(np.maximum(rest, 1.0)), 0.0)
        r = self.root.shape[1]
        return place, normal[:, :r], normal[:, r], normal[:, r + 1 :], square

    def _drawn(
        self, place: IntArray, effects: FloatArray, mean_error: FloatArray, u: FloatArray, rest: FloatArray
    ) -> Drawn:
        """Moments of the columns and the outcome, from random numbers of R replications."""
        planned, sigma = self.planned, self.sigma
        count, mean, scatter = planned.count[place], planned.mean[place], planned.scatter[place]
        root = planned.root[place]
        coefficients = np.broadcast_to(self.coefficients, mean.shape).copy()
        deviations = effects @ self.root.T
        for k, column in enumerate(self.z):  # which may have several random effects, in blocks of their own
            coefficients[..., column] += deviations[..., k]

        noise = np.einsum("rgik,rgk->rgi", root, u)
        noise_square = np.einsum("rgk,rgk->rg", u, np.any(root != 0.0, axis=2) * u) + rest
        explained = np.einsum("rgik,rgk->rgi", scatter, coefficients)
        m = mean.shape[2]
        out_mean = np.empty((*count.shape, m + 1))
        out_mean[..., :m] = mean
        out_mean[..., m] = np.einsum("rgi,rgi->rg", mean, coefficients) + sigma * mean_error / np.sqrt(count)
        out = np.empty((*count.shape, m + 1, m + 1))
        out[..., :m, :m] = scatter
        out[..., m, :m] = out[..., :m, m] = explained + sigma * noise
        out[..., m, m] = (
            np.einsum("rgi,rgi->rg", coefficients, explained + 2.0 * sigma * noise) + sigma**2 * noise_square
        )
        return Drawn(names=self.names, count=count, mean=out_mean, scatter=out)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClustersAgain(Sampler):
    """Draws the data of a `FittedProcess`."""

    process: FittedProcess = field(repr=False)

    @property
    def description(self) -> str:
        """How data are drawn, and why so."""
        return "The clusters of the fit are repeated, and outcomes are drawn given the moments of their predictors."

    def draw(self, seeds: Sequence[np.random.SeedSequence]) -> Drawn:
        """Draw one replication per seed."""
        return self.process.draw(seeds)
