"""What a search for the random-effects structure works with: the maximal model, what may go, and fitted candidates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np

from crosslevel.covariance import COVARIANCES, BlockStructure
from crosslevel.design import Design
from crosslevel.design.submodel import Part, with_parts
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.df import m_l_1
from crosslevel.inference.distributions import t_quantile
from crosslevel.inference.estimates import Estimates
from crosslevel.inference.structure_fits import StructureFit, fit_structure
from crosslevel.optimise import Status
from crosslevel.selection.structures import RandomStructure
from crosslevel.solve import NEGLIGIBLE, Solution
from crosslevel.solve.generalized.parts import solve_generalized_parts
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.solve.submodel import solve_parts
from crosslevel.types import FloatArray

MISSED = 1e-6
"""A candidate whose deviance exceeds that of one it contains by more than this missed a lower minimum."""

LEVEL = 0.95
"""Of the intervals of context effects."""

Searchable: TypeAlias = MixedFit | GeneralizedFit
"""What has random effects whose structure can be searched."""

Found: TypeAlias = StructureFit | Solution | GeneralizedSolution
"""Estimates of a candidate."""

Report: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


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
        """Whether it may be dropped while these are left: a slope not before the interactions it is part of."""
        part_of_others = self.factors and any(set(self.factors) < set(other.factors) for other in left)
        return not self.kept and len(left) > 1 and not part_of_others


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
    def solution(self) -> Solution | GeneralizedSolution:
        """Its estimates, to the last digits, with all that methods of inference ask for."""
        return self.search.solve(self)

    @cached_property
    def design(self) -> Design:
        """Its design; its cross-products are the maximal model's."""
        return with_parts(self.search.design, self.search.parts(self.part))

    @cached_property
    def estimates(self) -> Estimates:
        """What methods of inference look at, in a linear model."""
        assert isinstance(self.solution, Solution)
        return Estimates(design=self.design, solution=self.solution, reml=self.search.reml)

    @property
    def found(self) -> Found:
        """What the search found: its estimates with as many digits as their comparison needs."""
        return self.search.found[self.structure]

    @property
    def beta(self) -> FloatArray:
        """(p,) coefficients."""
        return self.found.beta

    @property
    def vcov(self) -> FloatArray:
        """(p, p) their covariance, given the variances."""
        return self.found.vcov

    @property
    def sigma(self) -> float:
        """Residual standard deviation."""
        return self.found.sigma

    @property
    def deviance(self) -> float:
        """-2 log-likelihood, restricted if the search's is."""
        return self.found.deviance

    @property
    def converged(self) -> bool:
        """Whether the optimum was reached."""
        return isinstance(self.found, StructureFit) or self.found.status is Status.CONVERGED

    @property
    def n_params(self) -> int:
        """Coefficients, covariance parameters of all random effects and residuals, and sigma unless it is known."""
        gone = self.search.maximal.design.factors[self.search.place].structure.n_theta
        return self.search.maximal.n_params - gone + self.structure.n_parameters

    @cached_property
    def sdev(self) -> FloatArray:
        """(q,) standard deviations of the principal components of its standardised random effects, largest first.

        Relative to the residual's; of other families on the scale of the linear predictor. Effects are measured by what
        they add to the outcome's variance, so that the units of their variables do not matter.
        """
        found = self.found
        values = found.eigenvalues if isinstance(found, StructureFit) else found.eigenvalues[self.search.place]
        return np.sort(np.sqrt(np.maximum(values, 0.0)))[::-1]

    @property
    def rank(self) -> int:
        """Number of principal components with any variance."""
        return int(np.count_nonzero(self.sdev >= NEGLIGIBLE))


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """The maximal model and all that was fitted of it; nothing is fitted twice.

    Attributes
    ----------
    maximal : the maximal model.
    place : position of the grouping factor whose random effects are searched.
    units : its terms, in the order of the formula.
    context : positions of the context effects among the coefficients.
    seed : of criteria that draw random numbers.
    alpha : level of tests.
    folds : into how many parts clusters are divided for cross-validation; None for the usual number.
    fitted : candidates by structure, in the order in which they were asked for.
    found : their estimates.
    """

    maximal: Searchable
    place: int
    units: tuple[Unit, ...]
    context: tuple[int, ...]
    seed: int | None = None
    alpha: float = 0.05
    folds: int | None = None
    fitted: dict[RandomStructure, Candidate] = field(default_factory=dict, repr=False)
    found: dict[RandomStructure, Found] = field(default_factory=dict, repr=False)

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
            candidate = Candidate(structure=structure, part=self.part(structure), search=self)
            self.found[structure] = self._fit(candidate.part, self.maximal.solution)
            self.fitted[structure] = candidate
        return self.fitted[structure]

    def candidates(self, structures: Sequence[RandomStructure], report: Report, what: str) -> list[Candidate]:
        """The candidates with these structures."""
        out = []
        for done, structure in enumerate(structures):
            report(what, done, len(structures))
            out.append(self.candidate(structure))
        return out

    def settle(self, larger: Candidate, smaller: Candidate) -> None:
        """Fit a candidate again from one that it contains, if that one's deviance is lower: a minimum was missed."""
        if larger.deviance <= smaller.deviance + MISSED:
            return
        again = self._fit(larger.part, smaller.found, smaller.part)
        if again.deviance < larger.deviance:
            self.found[larger.structure] = again

    def _fit(self, part: Part, near: Found, near_part: Part | None = None) -> Found:
        """Fit a candidate from the estimates of the maximal model, or of a candidate with the effects `near_part`."""
        if isinstance(near, GeneralizedSolution):
            return self._fit_generalized(part, near, near_part)
        if self.is_plain:
            factor = near.data_factor if isinstance(near, StructureFit) else near.factors[self.place]
            start = np.zeros((len(self.effects),) * 2)
            start[slice(None) if near_part is None else near_part.effects, : len(factor)] = factor
            fit = fit_structure(self.design.reduced, part, start, reml=self.reml)
            if fit is not None:
                return fit
        return self._solve(part)

    def _fit_generalized(self, part: Part, near: GeneralizedSolution, near_part: Part | None) -> GeneralizedSolution:
        """The same of a model with another family than the normal one."""
        whole = self.maximal.solution
        assert isinstance(whole, GeneralizedSolution)
        psi = [factor @ factor.T for factor in near.factors]
        if near_part is not None:
            own, effects = np.zeros((len(self.effects),) * 2), near_part.effects
            own[np.ix_(effects, effects)] = psi[self.place]
            psi[self.place] = own
        return solve_generalized_parts(
            self.design, self.parts(part), whole, near, psi, max_steps=int(self.maximal.given["max_steps"])
        )

    @cached_property
    def is_plain(self) -> bool:
        """Whether candidates are fitted by the compiled search: a linear model, one factor, independent residuals."""
        return self.is_linear and self.design.is_single and self.design.residual is None

    @property
    def is_linear(self) -> bool:
        """Whether it is a linear model; else one of another family."""
        return self.design.outcome is None

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

    def solve(self, candidate: Candidate) -> Solution | GeneralizedSolution:
        """The solution of a candidate."""
        found = self.found[candidate.structure]
        return found.solve(max_steps=self.maximal.given["max_steps"]) if isinstance(found, StructureFit) else found

    def _solve(self, part: Part) -> Solution:
        """Fit a candidate by the ordinary solver of linear models."""
        assert isinstance(self.maximal.solution, Solution)
        return solve_parts(
            self.design, self.parts(part), reml=self.reml, iterative=self.maximal.solution.iterative is not None,
            max_steps=self.maximal.given["max_steps"],
        )  # fmt: skip

    def variance(self, candidate: Candidate, effect: str) -> float:
        """Variance of a random effect relative to the residual's, in working coordinates where there are some."""
        found = candidate.found
        factor = found.factor if isinstance(found, StructureFit) else found.factors[self.place]
        row = factor[candidate.structure.effects.index(effect)]
        return float(row @ row)

    @cached_property
    def df(self) -> FloatArray:
        """(m,) degrees of freedom of the context effects, by m-l-1: the same in all candidates."""
        return m_l_1(self.maximal.estimates)[list(self.context)]

    @cached_property
    def quantiles(self) -> FloatArray:
        """(m,) half widths of the context effects' 95 % intervals, in standard errors."""
        return t_quantile(0.5 + 0.5 * LEVEL, self.df)
