"""What a search for the random-effects structure works with: the maximal model, what may go, and fitted candidates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.covariance import COVARIANCES, BlockStructure
from crosslevel.design import Design
from crosslevel.design.submodel import Part, with_parts
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.df import m_l_1
from crosslevel.inference.estimates import Estimates
from crosslevel.optimise import Status
from crosslevel.selection.structures import RandomStructure
from crosslevel.solve import NEGLIGIBLE, Solution
from crosslevel.solve.submodel import solve_parts
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Unit:
    """What is dropped, or grouped, as one: an effect, or all those of a categorical variable.

    Attributes
    ----------
    name : of the term, as in "x", or "Intercept".
    effects : names of its random effects.
    factors : the names its term is the product of; none for the intercept.
    kept : why it is never dropped, in words; "" if it may be.
    """

    name: str
    effects: tuple[str, ...]
    factors: tuple[str, ...]
    kept: str = ""

    def may_go(self, left: "Sequence[Unit]") -> bool:
        """Whether it may be dropped while these are left: not before the interactions it is part of."""
        return not self.kept and len(left) > 1 and not any(set(self.factors) < set(other.factors) for other in left)


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A model with some of the random effects of the maximal one, and its fit.

    Attributes
    ----------
    structure : what varies, and what of it together.
    part : the same as positions among the maximal model's effects, in blocks.
    search : what it is a candidate of.
    """

    structure: RandomStructure
    part: Part = field(repr=False)
    search: "Search" = field(repr=False)

    @cached_property
    def solution(self) -> Solution:
        """Its estimates."""
        return self.search.solve(self.part)

    @cached_property
    def design(self) -> Design:
        """Its design; its cross-products are the maximal model's."""
        return with_parts(self.search.design, self.search.parts(self.part))

    @cached_property
    def estimates(self) -> Estimates:
        """What methods of inference look at."""
        return Estimates(design=self.design, solution=self.solution, reml=self.search.reml)

    @property
    def beta(self) -> FloatArray:
        """(p,) coefficients."""
        return self.solution.beta

    @property
    def vcov(self) -> FloatArray:
        """(p, p) their covariance, given the variances."""
        return self.solution.vcov

    @property
    def deviance(self) -> float:
        """-2 log-likelihood, restricted if the search's is."""
        return self.solution.deviance

    @property
    def converged(self) -> bool:
        """Whether the optimum was reached."""
        return self.solution.status is Status.CONVERGED

    @property
    def n_params(self) -> int:
        """Coefficients, covariance parameters of all random effects and residuals, and sigma unless it is known."""
        gone = self.search.maximal.design.factors[self.search.place].structure.n_theta
        return self.search.maximal.n_params - gone + self.structure.n_parameters

    @cached_property
    def sdev(self) -> FloatArray:
        """(q,) standard deviations of the principal components of its standardised random effects, largest first.

        Relative to the residual's. Effects are measured by what they add to the outcome's variance, so that the units
        of their variables do not matter.
        """
        values = self.solution.eigenvalues[self.place]
        return np.sort(np.sqrt(np.maximum(values, 0.0)))[::-1]

    @property
    def rank(self) -> int:
        """Number of principal components with any variance."""
        return int(np.count_nonzero(self.sdev >= NEGLIGIBLE))

    @property
    def place(self) -> int:
        """Position of its grouping factor."""
        return self.search.place


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """The maximal model and all that was fitted of it; nothing is fitted twice.

    Attributes
    ----------
    maximal : the maximal model.
    place : position of the grouping factor whose random effects are searched.
    units : its terms, in the order of the formula.
    context : positions of the context effects among the coefficients.
    fitted : candidates by structure, in the order in which they were asked for.
    """

    maximal: MixedFit
    place: int
    units: tuple[Unit, ...]
    context: tuple[int, ...]
    seed: int | None = None
    fitted: dict[RandomStructure, Candidate] = field(default_factory=dict, repr=False)

    @property
    def design(self) -> Design:
        """The maximal model's design."""
        return self.maximal.design

    @property
    def reml(self) -> bool:
        """Whether the restricted likelihood is maximised."""
        return self.maximal.method == "reml"

    @cached_property
    def effects(self) -> tuple[str, ...]:
        """Names of the maximal model's random effects."""
        return self.design.effects_of(self.design.factors[self.place])

    @cached_property
    def maximal_structure(self) -> RandomStructure:
        """The maximal model's own structure."""
        columns = self.design.factors[self.place].structure.columns
        return RandomStructure(blocks=tuple(tuple(self.effects[e] for e in own) for own in columns))

    def structure(self, groups: Sequence[Sequence[Unit]]) -> RandomStructure:
        """The structure with these units in blocks; an order of its own makes equal structures equal."""
        order = {name: k for k, name in enumerate(self.effects)}
        blocks = [sorted((name for unit in group for name in unit.effects), key=order.__getitem__) for group in groups]
        return RandomStructure(blocks=tuple(tuple(block) for block in sorted(blocks, key=lambda b: order[b[0]])))

    def candidate(self, structure: RandomStructure) -> Candidate:
        """The candidate with this structure, fitted once."""
        if structure not in self.fitted:
            self.fitted[structure] = Candidate(structure=structure, part=self.part(structure), search=self)
        return self.fitted[structure]

    def candidates(
        self, structures: Sequence[RandomStructure], report: Callable[[str, int, int], None]
    ) -> list[Candidate]:
        """The candidates with these structures, fitted together."""
        out = []
        for done, structure in enumerate(structures):
            out.append(self.candidate(structure))
            report("searching correlations", done, len(structures))
        return out

    def part(self, structure: RandomStructure) -> Part:
        """Positions of a structure's effects among the maximal model's, block by block."""
        effects = np.array([self.effects.index(name) for name in structure.effects], dtype=np.int64)
        ends = np.cumsum([len(block) for block in structure.blocks])
        columns = tuple(np.arange(end - len(block), end) for block, end in zip(structure.blocks, ends, strict=True))
        blocks = BlockStructure(kinds=(COVARIANCES["us"],) * len(columns), columns=columns, q=len(effects))
        return Part(place=self.place, effects=effects, structure=blocks)

    def parts(self, part: Part) -> tuple[Part, ...]:
        """The same with all effects of the other grouping factors."""
        others = [
            Part(place=k, effects=np.arange(factor.structure.q), structure=factor.structure)
            for k, factor in enumerate(self.design.factors)
        ]
        others[self.place] = part
        return tuple(others)

    def solve(self, part: Part) -> Solution:
        """Fit a candidate to parts of the maximal model's cross-products."""
        return solve_parts(
            self.design, self.parts(part), reml=self.reml, iterative=self.maximal.solution.iterative is not None,
            max_steps=self.maximal.given["max_steps"],
        )  # fmt: skip

    @cached_property
    def df(self) -> FloatArray:
        """(m,) degrees of freedom of the context effects, by m-l-1: the same in all candidates."""
        return m_l_1(self.maximal.estimates)[list(self.context)]
