"""Generalized models with fewer random effects, fitted by the same approximation of the likelihood."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crosslevel.design import Design
from crosslevel.design.response_rows import response_rows
from crosslevel.design.submodel import Kept, among_all, with_effects
from crosslevel.inference.generalized.estimands import Estimands
from crosslevel.inference.generalized.refits import Refitter
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.solve.generalized.solve import solve_generalized
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneralizedSubmodel:
    """A generalized model with some of the random effects of a larger one, and its fit.

    Attributes
    ----------
    kept : for each grouping factor of the larger model the effects that stay.
    design : what it is.
    solution : its fit.
    """

    kept: Kept
    design: Design = field(repr=False)
    solution: GeneralizedSolution = field(repr=False)

    def factors(self, larger: GeneralizedSolution) -> tuple[FloatArray, ...]:
        """For each factor of the larger model (q, q) Lambda in the units of the data, zero for what is gone."""
        return among_all(self.solution.factors, self.kept, larger.factors)

    def refitter(self, larger: Refitter) -> Refitter:
        """What fits it again."""
        estimands = Estimands.of(self.design, self.solution.criterion.rows, larger.estimands.categories)
        return Refitter(solution=self.solution, estimands=estimands, max_steps=larger.max_steps)


def submodel(fit: "GeneralizedFit", kept: Kept) -> GeneralizedSubmodel:
    """Fit the model with some of a fit's random effects, with as many quadrature nodes.

    Where nothing is left to integrate the likelihood is exact, as is that of the larger model at no variance.
    """
    design = with_effects(fit.design, kept)
    rows = response_rows(design, fit.family, fit.outcome)
    solution = solve_generalized(
        rows, quadrature=fit.quadrature.nodes if design.factors else 1, prior=fit.solution.prior,
        max_steps=int(fit.given["max_steps"]),
    )  # fmt: skip
    return GeneralizedSubmodel(kept=kept, design=design, solution=solution)
