"""A model fitted again without each cluster, from cross-products in which the cluster counts zero times.

With one grouping factor the likelihood is a sum over clusters, and a refit needs the cross-products of the others. The
levels of the outermost of several factors leave the blocks of the others' levels as they are. Rows that are no whole
levels of these are read again.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.design import Design
from crosslevel.design.checks import check_identified
from crosslevel.design.products import CrossProducts
from crosslevel.design.rows import sum_products
from crosslevel.design.without import crossing_of, kept_levels, pooled, without_rows
from crosslevel.errors import CrosslevelError, MemoryShortageError
from crosslevel.inference.bootstrap.batch import names_of, values_of
from crosslevel.inference.bootstrap.nested import NestedClusters, is_chain, outermost
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.df import Counted
from crosslevel.inference.df_method import DfMethod
from crosslevel.inference.estimates import Estimates, Single
from crosslevel.inference.left_out_many import CompiledRefits
from crosslevel.inference.ordinary import covariance_of
from crosslevel.likelihood.profiled import ProfiledDeviance
from crosslevel.optimise import TOLERANCE, Status
from crosslevel.solve import Solution
from crosslevel.solve.least_squares import least_squares
from crosslevel.solve.one_factor import solve, starting_thetas
from crosslevel.solve.search import lowest, nearest
from crosslevel.solve.several import solve_crossing
from crosslevel.solve.solution import in_data_units, polish
from crosslevel.types import CodeArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Refit:
    """Estimates without some rows.

    Attributes
    ----------
    values : (m,) all estimates, coefficients first; NaN where there is none.
    vcov : (p, p) covariance of the coefficients; NaN beside coefficients that cannot be estimated.
    std_error, df : (p,) of their tests.
    lost : names of the coefficients that cannot be estimated.
    problem : why there is no refit, or what is wrong with it; "" if nothing.
    """

    values: FloatArray
    vcov: FloatArray
    std_error: FloatArray
    df: FloatArray
    lost: tuple[str, ...] = ()
    problem: str = ""


def no_refit(m: int, p: int, problem: str) -> Refit:
    """A refit that was not possible, of m estimates with p coefficients."""
    nothing = np.full(p, np.nan)
    return Refit(
        values=np.full(m, np.nan), vcov=np.full((p, p), np.nan), std_error=nothing, df=nothing, problem=problem
    )


class Refits(ABC):
    """A fitted model that can be fitted again without some of its clusters."""

    design: Design
    clusters: Clustering

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the m estimates, coefficients first."""

    @property
    @abstractmethod
    def values(self) -> FloatArray:
        """(m,) estimates from all rows."""

    @property
    def n_coefficients(self) -> int:
        """p: the first of the estimates."""
        return len(self.design.x)

    @abstractmethod
    def fit(self, place: int) -> Refit:
        """Fit without one cluster."""

    def without(self, place: int) -> Refit:
        """Fit without one cluster; where that is not possible the result says why."""
        try:
            return self.fit(place)
        except MemoryShortageError:
            raise
        except CrosslevelError as error:
            return no_refit(len(self.names), self.n_coefficients, str(error))
        except np.linalg.LinAlgError:
            problem = "The coefficients are not identified without this cluster."
            return no_refit(len(self.names), self.n_coefficients, problem)

    def each(self, begin: int, end: int) -> list[Refit]:
        """Fits without the clusters begin .. end - 1, each by itself."""
        return [self.without(place) for place in range(begin, end)]

    @cached_property
    def by_cluster(self) -> CrossProducts:
        """Cross-products by cluster: those of the model, or summed from the rows."""
        return products_by_cluster(self.design, self.clusters)


def products_by_cluster(design: Design, clusters: Clustering) -> CrossProducts:
    """Cross-products by cluster: those of the model, or summed from the rows."""
    if design.is_single and _is_same(design, clusters):
        return design.products
    weights = design.weights
    codes = np.zeros(design.columns.n_rows, dtype=np.int32)
    codes[slice(None) if design.mask is None else design.mask] = clusters.codes
    return sum_products(
        design.spec, design.columns, design.mask, codes, clusters.levels, design.response, design.offset,
        None if weights is None else weights.total, precision=weights is not None and weights.is_precision,
    )  # fmt: skip


def _is_same(design: Design, clusters: Clustering) -> bool:
    """Whether clusters are the levels of the one grouping factor."""
    factor = design.factors[0]
    return clusters.levels == factor.levels and bool(np.array_equal(clusters.codes, design.used_codes(factor)))


@dataclass(frozen=True, kw_only=True, eq=False)
class OrdinaryRefits(Refits):
    """Refits of a linear regression.

    Attributes
    ----------
    design : of the regression.
    clusters : what is left out.
    estimates : (p + 1,) coefficients and sigma.
    vcov : name of the covariance.
    groups : clusterings of the covariance.
    """

    design: Design = field(repr=False)
    clusters: Clustering = field(repr=False)
    estimates: FloatArray
    vcov: str
    groups: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Coefficients and sigma."""
        return (*self.design.fixed_names, "sigma")

    @property
    def values(self) -> FloatArray:
        """(p + 1,)."""
        return self.estimates

    def fit(self, place: int) -> Refit:
        """Least squares from the other clusters' cross-products, and the same kind of covariance."""
        keep = np.arange(self.clusters.n_clusters) != place
        products = pooled(kept_levels(self.by_cluster, keep))
        design = without_rows(self.design, self.clusters.codes == place, products)
        check_identified(design)
        solved = least_squares(crossing_of(products, design.x, design.constant))
        found = covariance_of(design, solved, self.vcov, self.groups)
        each = np.eye(len(solved.beta))
        tests = Single(std_error=found.std_error(each), df=found.df(each))
        return _refit(self, design, solved.beta, found.matrix, np.array([solved.sigma]), tests)


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedRefits(Refits):
    """Refits of a mixed model.

    Attributes
    ----------
    design, solution : the fitted model.
    clusters : what is left out.
    reml : whether the restricted likelihood is maximised.
    method : of the tests of coefficients.
    max_steps : of the search.
    """

    design: Design = field(repr=False)
    solution: Solution = field(repr=False)
    clusters: Clustering = field(repr=False)
    reml: bool
    method: DfMethod
    max_steps: int

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All that is estimated."""
        return names_of(self.design, self.solution)

    @cached_property
    def values(self) -> FloatArray:
        """(m,)."""
        return values_of(self.design, self.solution)

    def each(self, begin: int, end: int) -> list[Refit]:
        """Fits without the clusters begin .. end - 1: those that a compiled search finishes, and the others."""
        if self._compiled is None:
            return super().each(begin, end)
        found = self._compiled.fit(begin, end)
        out = []
        for k in range(end - begin):
            if not found.found[k]:
                out.append(self.without(begin + k))
                continue
            key = (float(found.n_clusters[k]), float(found.n_rows[k])) if found.alike[k] else None
            df = self._counted(begin + k, key)
            if df is None:
                self._near[begin + k] = found.factor[k]
                out.append(self.without(begin + k))
            else:
                errors = np.sqrt(np.diag(found.vcov[k]))
                out.append(Refit(values=found.values[k], vcov=found.vcov[k], std_error=errors, df=df))
        return out

    @cached_property
    def _compiled(self) -> CompiledRefits | None:
        """What fits the model again in compiled code; None for several grouping factors, and other structures."""
        if not self.design.is_single:
            return None
        return CompiledRefits.of(self.design, self.solution, self.clusters, reml=self.reml)

    @cached_property
    def _near(self) -> dict[int, FloatArray]:
        """Lambda (q, q) of refits that a compiled search has finished, in working coordinates of the whole model."""
        return {}

    @cached_property
    def _known_df(self) -> dict[tuple[float, float], FloatArray]:
        """Degrees of freedom (p,) that follow from counting, by clusters and rows."""
        return {}

    def _counted(self, place: int, key: tuple[float, float] | None) -> FloatArray | None:
        """Degrees of freedom (p,) without a cluster if they are counted; None if they have to be estimated.

        Where the columns are of the levels that they are of in all rows, they depend on `key`, what is left, alone.
        """
        if not isinstance(self.method, Counted):
            return None
        if key in self._known_df:
            return self._known_df[key]
        design = without_rows(self.design, self.clusters.codes == place, self._products(place))
        if len(design.x) < len(self.design.x):
            return None
        try:
            df = self.method.count(Estimates(design=design, solution=self.solution, reml=self.reml))
        except CrosslevelError:
            return None
        if key is not None:
            self._known_df[key] = df
        return df

    def fit(self, place: int) -> Refit:
        """Maximise the likelihood of the other clusters, and test with the method of the fit."""
        left_out = self.clusters.codes == place
        design = without_rows(self.design, left_out, self._products(place))
        if any(factor.n_levels < 2 for factor in design.factors):
            raise CrosslevelError("There is one cluster left, of which no variance can be estimated.")
        solution = self._one(design, place) if design.is_single else self._several(design, place)
        if solution.status is not Status.CONVERGED:
            raise CrosslevelError(solution.status.value)
        parameters = values_of(design, solution)[len(solution.beta) :]
        estimates = Estimates(design=design, solution=solution, reml=self.reml)
        try:
            tests = self.method.single(estimates, np.eye(len(solution.beta)))
        except CrosslevelError as error:
            nothing = np.full(len(solution.beta), np.nan)
            tests = Single(std_error=nothing, df=nothing)
            return _refit(self, design, solution.beta, solution.vcov, parameters, tests, f"No tests: {error}")
        return _refit(self, design, solution.beta, solution.vcov, parameters, tests)

    @cached_property
    def _parents(self) -> CodeArray | None:
        """(J,) cluster that each level of the only grouping factor lies in; None where some lie in several."""
        factor = self.design.factors[0]
        used = self.design.used_codes(factor)
        if not self.clusters.holds(used, factor.n_levels):
            return None
        parents = np.zeros(factor.n_levels, dtype=np.int32)
        parents[used] = self.clusters.codes
        return parents

    @cached_property
    def _nested(self) -> NestedClusters | None:
        """The clusters as levels of the outermost of nested factors; None if they are something else."""
        design, used = self.design, self.clusters.codes
        own = [factor for factor in design.factors if np.array_equal(design.used_codes(factor), used)]
        if not own or outermost(design) is not own[0] or not is_chain(design):
            return None
        return NestedClusters.of(design, self.solution, reml=self.reml, factor=own[0], max_steps=self.max_steps)

    def _products(self, place: int) -> CrossProducts:
        """Cross-products without one cluster: by level of the only grouping factor, or of all rows."""
        design = self.design
        if not design.is_single:
            return pooled(kept_levels(self.by_cluster, np.arange(self.clusters.n_clusters) != place))
        if self._parents is not None:
            return kept_levels(design.products, self._parents != place)
        factor, weights = design.factors[0], design.weights
        mask = np.ones(design.columns.n_rows, dtype=bool) if design.mask is None else design.mask.copy()
        kept = self.clusters.codes != place
        mask[mask] = kept
        part: list[FloatArray | None] = [
            None if values is None else values[kept]
            for values in (design.response, design.offset, None if weights is None else weights.rows)
        ]
        products = sum_products(
            design.spec, design.columns, mask, factor.codes, factor.levels, *part,
            precision=weights is not None and weights.is_precision,
        )  # fmt: skip
        return kept_levels(products, products.count > 0.0)

    def _one(self, design: Design, place: int) -> Solution:
        """Solve a model with one grouping factor, from the estimate of all rows on, or from what was found before."""
        check_identified(design)
        criterion = ProfiledDeviance(reduced=design.reduced, reml=self.reml)
        (basis,), (working,) = self.solution.criterion.bases, self.solution.at.factors
        if place in self._near:
            basis, working = self.design.reduced.basis, self._near[place]
        near = nearest(criterion, (design.reduced.basis @ np.linalg.solve(basis, working),))
        others = () if place in self._near else starting_thetas(criterion)
        starts = (near, *others) if len(others) > 1 else (near,)
        criterion, minimum = lowest(criterion, starts, tolerance=TOLERANCE, max_steps=self.max_steps)
        if minimum.status is not Status.CONVERGED:
            return solve(design.reduced, reml=self.reml, max_steps=self.max_steps)
        return in_data_units(criterion, polish(criterion, minimum))

    def _several(self, design: Design, place: int) -> Solution:
        """Solve a model with several grouping factors: without levels of the outermost, or from the rows."""
        if self._nested is None or len(design.x) < len(self.design.x):
            check_identified(design)
            return solve_crossing(design.crossing, reml=self.reml, max_steps=self.max_steps)
        times = np.where(np.arange(self.clusters.n_clusters) == place, 0.0, 1.0)
        crossing, copies = self._nested.counted(times)
        ends = [
            solve_crossing(crossing, reml=self.reml, copies=copies, start=start, max_steps=self.max_steps)
            for start in self._nested.starts(crossing, copies)
        ]
        return min(ends, key=lambda solution: solution.deviance)


def _refit(
    refits: Refits, design: Design, beta: FloatArray, vcov: FloatArray, parameters: FloatArray, tests: Single,
    problem: str = "",
) -> Refit:  # fmt: skip
    """A refit's numbers in the places of the whole model's."""
    p = len(refits.design.x)
    there = np.isin(refits.design.x, design.x)
    whole = np.full((p, p), np.nan)
    whole[np.ix_(there, there)] = vcov
    placed = []
    for values in (beta, tests.std_error, tests.df):
        out = np.full(p, np.nan)
        out[there] = values
        placed.append(out)
    lost = tuple(name for name, kept in zip(refits.design.fixed_names, there, strict=True) if not kept)
    return Refit(
        values=np.concatenate([placed[0], parameters]), vcov=whole, std_error=placed[1], df=placed[2], lost=lost,
        problem=problem,
    )  # fmt: skip
