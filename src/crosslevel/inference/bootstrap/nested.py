"""Draws of whole clusters of the outermost of several nested factors, on the cross-products of the model.

A cluster that is drawn m times counts m times in the likelihood: log|V| and [X y]'V^-1 [X y] are sums over the
outermost clusters. The engine for nested factors counts levels so for sampling weights; clusters that are not drawn
leave it altogether.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.design import Design
from crosslevel.design.crossing import Crossing, Pairs
from crosslevel.design.factors import GroupingFactor
from crosslevel.design.rows import sum_products
from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.batch import Batch, Outcome, failed, names_of
from crosslevel.likelihood.blocked import BlockedDeviance
from crosslevel.optimise import MAX_STEPS
from crosslevel.solve import Solution
from crosslevel.solve.search import nearest
from crosslevel.solve.several import solve_crossing
from crosslevel.solve.starts import START, equal_variances
from crosslevel.types import BoolArray, CodeArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class NestedClusters:
    """The clusters of the outermost factor of a model.

    Attributes
    ----------
    design, solution : the fitted model.
    reml : whether the restricted likelihood is maximised.
    outermost : position of the factor.
    parents : for each factor (J_k,) the cluster that each level lies in.
    gram : (J, p + 1, p + 1) [X y]'[X y] by cluster, in working coordinates.
    rows, log_weights : (J,) rows of each cluster in the likelihood's n, and sums of log w if weights are precisions.
    max_steps : of the search.
    """

    design: Design
    solution: Solution
    reml: bool
    outermost: int
    parents: tuple[CodeArray, ...] = field(repr=False)
    gram: FloatArray = field(repr=False)
    rows: FloatArray = field(repr=False)
    log_weights: FloatArray = field(repr=False)
    max_steps: int = MAX_STEPS

    @classmethod
    def of(
        cls, design: Design, solution: Solution, *, reml: bool, factor: GroupingFactor, max_steps: int = MAX_STEPS
    ) -> "NestedClusters":
        """Sum the cross-products of the fixed columns and the outcome by cluster of a factor, from the rows."""
        weights = design.weights
        products = sum_products(
            design.spec, design.columns, design.mask, factor.codes, factor.levels, design.response, design.offset,
            None if weights is None else weights.total, precision=weights is not None and weights.is_precision,
        )  # fmt: skip
        coordinates, columns = design.crossing.coordinates, np.append(design.x, len(products.names) - 1)
        mean = products.mean[:, columns] + products.origin[columns] - coordinates.shift
        gram = products.scatter[:, columns[:, None], columns]
        gram = gram + products.count[:, None, None] * mean[:, :, None] * mean[:, None, :]
        change = np.eye(len(columns))
        change[:-1, -1] = -coordinates.removed
        gram = change.T @ (gram / np.outer(coordinates.scale, coordinates.scale)) @ change
        tally = products.precision
        return cls(
            design=design, solution=solution, reml=reml, outermost=design.factors.index(factor),
            parents=parents_of(design, factor), gram=gram,
            rows=products.count if tally is None else tally.rows,
            log_weights=np.zeros_like(products.count) if tally is None else tally.log_weight, max_steps=max_steps,
        )  # fmt: skip

    @property
    def n_clusters(self) -> int:
        """J."""
        return len(self.rows)

    def refit(self, times: FloatArray) -> Batch:
        """Fit the model with each cluster counted `times` (J,)."""
        m, p = len(names_of(self.design, self.solution)), len(self.solution.beta)
        crossing, copies = self.counted(times)
        from crosslevel.kernels.refit import identified

        # X'X in the form the check knows: all of it outside of Z
        nothing = np.zeros((0, 0, p + 1))
        if not identified(nothing, np.zeros(0), crossing.gram, crossing.coordinates.intercept):
            return failed(Outcome.UNIDENTIFIED, m, p)
        try:
            ends = [
                solve_crossing(crossing, reml=self.reml, copies=copies, start=start, max_steps=self.max_steps)
                for start in self.starts(crossing, copies)
            ]
        except (CrosslevelError, np.linalg.LinAlgError, ValueError):
            return failed(Outcome.REFUSED, m, p)
        return Batch.of(self.design, min(ends, key=lambda solution: solution.deviance))

    def starts(self, crossing: Crossing, copies: tuple[FloatArray, ...]) -> tuple[FloatArray, FloatArray]:
        """Working thetas to start from: the estimate, and equal variances."""
        engine = BlockedDeviance.of(crossing, reml=self.reml, copies=copies)
        back = zip(self.solution.criterion.bases, self.solution.at.factors, crossing.basis, strict=True)
        factors = [own @ np.linalg.solve(basis, factor) for basis, factor, own in back]
        return nearest(engine, factors), equal_variances(crossing.structures, START)

    def counted(self, times: FloatArray) -> tuple[Crossing, tuple[FloatArray, ...]]:
        """Cross-products with each cluster counted `times` (J,), and how often each level counts within its parent."""
        whole = self.design.crossing
        keep = tuple(times[parent] > 0.0 for parent in self.parents)
        copies = tuple(
            times[times > 0.0] if k == self.outermost else np.ones(np.count_nonzero(kept))
            for k, kept in enumerate(keep)
        )
        drawn = replace(
            whole,
            diagonal=tuple(block[kept] for block, kept in zip(whole.diagonal, keep, strict=True)),
            image=tuple(block[kept] for block, kept in zip(whole.image, keep, strict=True)),
            pairs={(k, m): kept_pairs(pairs, keep[k], keep[m]) for (k, m), pairs in whole.pairs.items()},
            gram=np.tensordot(times, self.gram, axes=1),
            n_rows=float(times @ self.rows),
            log_weight=float(times @ self.log_weights),
        )
        return drawn, copies


def parents_of(design: Design, outer: GroupingFactor) -> tuple[CodeArray, ...]:
    """For each factor (J_k,) the level of `outer` that each of its levels lies in."""
    out = []
    for factor in design.factors:
        parent = np.zeros(factor.n_levels, dtype=np.int32)
        parent[design.used_codes(factor)] = design.used_codes(outer)
        out.append(parent)
    return tuple(out)


def outermost(design: Design) -> GroupingFactor | None:
    """The factor in whose levels those of all others lie; None if there is none."""
    if any(factor.members for factor in design.factors):
        return None
    for factor in sorted(design.factors, key=lambda each: each.n_levels):
        codes = design.used_codes(factor)
        parents = parents_of(design, factor)
        each = zip(parents, design.factors, strict=True)
        if all(np.array_equal(parent[design.used_codes(other)], codes) for parent, other in each):
            return factor
    return None


def is_chain(design: Design) -> bool:
    """Whether the factors are nested in each other, one in the next."""
    order = sorted(design.factors, key=lambda each: each.n_levels)
    for k, factor in enumerate(order[:-1]):
        inner, outer = design.used_codes(order[k + 1]), design.used_codes(factor)
        parent = np.zeros(order[k + 1].n_levels, dtype=np.int32)
        parent[inner] = outer
        if not np.array_equal(parent[inner], outer):
            return False
    return True


def kept_pairs(pairs: Pairs, first: BoolArray, second: BoolArray) -> Pairs:
    """The pairs of levels that are both kept, numbered among those."""
    row = np.repeat(np.arange(len(first)), np.diff(pairs.start))
    both = first[row] & second[pairs.level]
    place = np.cumsum(first) - 1, np.cumsum(second) - 1
    count = np.bincount(place[0][row[both]], minlength=int(np.count_nonzero(first)))
    return Pairs(
        start=np.concatenate([[0], np.cumsum(count)]).astype(pairs.start.dtype),
        level=place[1][pairs.level[both]].astype(np.int32),
        block=pairs.block[both],
    )
