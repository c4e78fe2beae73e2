"""What stays the same in all refits of a model with one grouping factor."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.covariance.independent import Diagonal, Unstructured
from crosslevel.design import Design
from crosslevel.design.reduced import Reduced, WorkingPlace
from crosslevel.likelihood.profiled import ProfiledDeviance
from crosslevel.memory import require_memory
from crosslevel.optimise import MAX_STEPS, TOLERANCE
from crosslevel.solve import Solution
from crosslevel.solve.one_factor import starting_thetas
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Where the parameters of Lambda stand, where each is an element of it.

    Attributes
    ----------
    rows, columns : (k,) of each parameter, in the order of theta.
    block : (q,) number of the independent block that each effect belongs to.
    """

    rows: IntArray
    columns: IntArray
    block: IntArray

    @classmethod
    def of(cls, structure: BlockStructure) -> "Places | None":
        """The places; None for structures whose parameters are no elements of a lower triangular Lambda."""
        rows: list[IntArray] = [np.zeros(0, np.int64)]
        columns: list[IntArray] = [np.zeros(0, np.int64)]
        block = np.zeros(structure.q, np.int64)
        count = 0
        for kind, own in zip(structure.kinds, structure.columns, strict=True):
            if not isinstance(kind, Unstructured | Diagonal) or np.any(np.diff(own) <= 0):
                return None
            low = np.tril_indices(len(own)) if isinstance(kind, Unstructured) else (np.arange(len(own)),) * 2
            order = np.lexsort(low)
            rows.append(own[low[0][order]])
            columns.append(own[low[1][order]])
            each = np.arange(len(own)) if isinstance(kind, Diagonal) else np.zeros(len(own), np.int64)
            block[own] = count + each
            count += int(each[-1]) + 1
        return cls(rows=np.concatenate(rows), columns=np.concatenate(columns), block=block)


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """A fitted model with one grouping factor, as its refits see it: everything in its own working coordinates.

    Attributes
    ----------
    design : the model.
    solution : its estimates.
    reml : whether the restricted likelihood is maximised.
    rows, log_weights : (J,) rows of each cluster in the likelihood's n, and sums of log w if weights are precisions.
    factor : (q, q) Lambda.
    places : of its parameters; None where they are no elements of Lambda.
    tolerance, max_steps : of the search.
    """

    design: Design = field(repr=False)
    solution: Solution = field(repr=False)
    reml: bool
    rows: FloatArray = field(repr=False)
    log_weights: FloatArray = field(repr=False)
    factor: FloatArray
    places: Places | None
    tolerance: float = TOLERANCE
    max_steps: int = MAX_STEPS

    @classmethod
    def of(
        cls, design: Design, solution: Solution, *, reml: bool, tolerance: float = TOLERANCE, max_steps: int = MAX_STEPS
    ) -> "Setting":
        """The setting of a solved design."""
        reduced, products = design.reduced, design.products
        (basis,), (working,) = solution.criterion.bases, solution.at.factors
        # the search may have turned the effects to principal axes
        factor = reduced.structure.factor(reduced.structure.nearest(reduced.basis @ np.linalg.solve(basis, working)))
        tally = products.precision
        return cls(
            design=design, solution=solution, reml=reml,
            rows=products.count if tally is None else tally.rows,
            log_weights=np.zeros_like(products.count) if tally is None else tally.log_weight,
            factor=factor, places=Places.of(reduced.structure), tolerance=tolerance, max_steps=max_steps,
        )  # fmt: skip

    @property
    def reduced(self) -> Reduced:
        """Its cross-products, unturned."""
        return self.design.reduced

    @property
    def n_clusters(self) -> int:
        """J."""
        return len(self.rows)

    @property
    def beta(self) -> FloatArray:
        """(p,) working coefficients."""
        return self.solution.at.beta

    @property
    def sigma(self) -> float:
        """Working residual standard deviation."""
        at = self.solution.at
        return float(np.sqrt(at.rss / at.nu))

    @cached_property
    def remainders(self) -> FloatArray:
        """(J, p + 1, p + 1) part of [X y]'[X y] outside the span of Z, by cluster."""
        p1 = self.reduced.p + 1
        require_memory(
            24.0 * self.n_clusters * p1**2,
            f"`bootstrap` of {self.n_clusters:,} clusters with {p1 - 1} coefficients",
            "Use kind='parametric', which needs their sums only.",
        )
        return cluster_remainders(self.design)

    @property
    def flat_remainders(self) -> FloatArray:
        """(J, (p + 1)^2) the same as rows."""
        return self.remainders.reshape(self.n_clusters, -1)

    @cached_property
    def starts(self) -> FloatArray:
        """(S, q, q) Lambdas that refits start from: the estimate, and those of an ordinary fit where it has several."""
        structure = self.reduced.structure
        others = starting_thetas(ProfiledDeviance(reduced=self.reduced, reml=self.reml))
        more = [structure.factor(theta) for theta in others[1:]]
        return np.stack([self.factor, *([structure.factor(others[0]), *more] if more else [])])


def cluster_remainders(design: Design) -> FloatArray:
    """(J, p + 1, p + 1) what Z does not explain of [X y]'[X y] in each cluster, in working coordinates."""
    return working_place(design).remainders(design.products, design.reduced.image)


def working_place(design: Design) -> WorkingPlace:
    """The coordinates of a design's reduced cross-products."""
    columns = np.append(design.x, len(design.products.names) - 1)
    return WorkingPlace.of(
        design.products, design.reduced.coordinates, columns=columns, z=design.z, structure=design.structure,
        constant=design.constant,
    )  # fmt: skip
