"""Fits of models with fewer random effects or covariances than a design has, from the larger model's cross-products."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from crosslevel.design import Design
from crosslevel.design.submodel import (
    Kept,
    Part,
    among_all,
    parts_of,
    sub_crossing,
    sub_reduced,
    with_effects,
    with_parts,
    without_random_effects,
)
from crosslevel.optimise import MAX_STEPS
from crosslevel.solve.one_factor import solve
from crosslevel.solve.solution import Solution
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Submodel:
    """A model with some of the random effects of a larger one, and its fit.

    Attributes
    ----------
    kept : for each grouping factor of the larger model, the effects that stay.
    design : what it is; see `design.submodel.with_effects`.
    solution : its fit.
    """

    kept: Kept
    design: Design = field(repr=False)
    solution: Solution = field(repr=False)

    def factors(self, larger: Solution) -> tuple[FloatArray, ...]:
        """For each factor of the larger model (q, q) Lambda in the units of the data, zero for what is gone."""
        return among_all(self.solution.factors, self.kept, larger.factors)


def solve_submodel(
    design: Design, kept: Kept, *, reml: bool, iterative: bool = False, max_steps: int = MAX_STEPS
) -> Submodel:
    """Fit the model of a design with some of its random effects.

    With one grouping factor, its cross-products are reduced to the effects that stay; with several, the blocks between
    levels are. Models with a residual structure look at their rows.

    Parameters
    ----------
    design : the larger model.
    kept : for each of its grouping factors the effects that stay.
    reml : restricted rather than full likelihood.
    iterative : whether to solve by iterative algebra, as the larger model was.
    max_steps : see `optimise.minimise`.
    """
    parts = parts_of([factor.structure for factor in design.factors], kept)
    solution = solve_parts(design, parts, reml=reml, iterative=iterative, max_steps=max_steps)
    return Submodel(kept=kept, design=with_effects(design, kept), solution=solution)


def solve_parts(
    design: Design, parts: Sequence[Part], *, reml: bool, iterative: bool = False, max_steps: int = MAX_STEPS
) -> Solution:
    """Fit the model with some of the random effects of a design, in the blocks that its parts say.

    Parameters
    ----------
    design, reml, iterative, max_steps : see `solve_submodel`.
    parts : for each grouping factor of which something stays, its effects and their blocks.
    """
    parts = tuple(parts)
    if design.residual is not None:
        from crosslevel.design.residual import working_rows
        from crosslevel.solve.residual import solve_residual

        rows = working_rows(with_parts(design, parts), design.residual)
        return solve_residual(rows, design.residual, reml=reml, max_steps=max_steps)
    known = any(part.structure.fixed.any() for part in parts)
    if design.is_single and parts and not known:
        return solve(sub_reduced(design, parts[0]), reml=reml, max_steps=max_steps)
    crossing = (
        without_random_effects(design.reduced)
        if design.is_single and not parts
        else sub_crossing(design.crossing, parts)
    )
    if known:
        from crosslevel.solve.fixed_scale import solve_fixed_scale

        return solve_fixed_scale(crossing, reml=reml, max_steps=max_steps)
    if iterative and len(parts) > 1:
        from crosslevel.solve.large import solve_large

        return solve_large(crossing, reml=reml, max_steps=max_steps)
    from crosslevel.solve.several import solve_crossing

    return solve_crossing(crossing, reml=reml, max_steps=max_steps)
