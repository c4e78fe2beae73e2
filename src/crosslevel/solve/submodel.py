"""Fits of models with fewer random effects than a design has, from the cross-products of the larger model."""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design import Design
from crosslevel.design.submodel import (
    Kept,
    parts_of,
    sub_crossing,
    sub_reduced,
    with_effects,
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
        out = [np.zeros_like(factor) for factor in larger.factors]
        mine = iter(self.solution.factors)
        for whole, effects in zip(out, self.kept, strict=True):
            if effects:
                whole[np.ix_(effects, effects)] = next(mine)
        return tuple(out)


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
    smaller = with_effects(design, kept)
    parts = parts_of([factor.structure for factor in design.factors], kept)
    if design.residual is not None:
        from crosslevel.design.residual import working_rows
        from crosslevel.solve.residual import solve_residual

        rows = working_rows(smaller, design.residual)
        solution = solve_residual(rows, design.residual, reml=reml, max_steps=max_steps)
        return Submodel(kept=kept, design=smaller, solution=solution)
    known = any(part.structure.fixed.any() for part in parts)
    if design.is_single and parts and not known:
        solution = solve(sub_reduced(design, parts[0]), reml=reml, max_steps=max_steps)
        return Submodel(kept=kept, design=smaller, solution=solution)
    if design.is_single and not parts:
        crossing = without_random_effects(design.reduced)
    else:
        crossing = sub_crossing(design.crossing, parts)
    if known:
        from crosslevel.solve.fixed_scale import solve_fixed_scale

        solution = solve_fixed_scale(crossing, reml=reml, max_steps=max_steps)
    elif iterative and len(parts) > 1:
        from crosslevel.solve.large import solve_large

        solution = solve_large(crossing, reml=reml, max_steps=max_steps)
    else:
        from crosslevel.solve.several import solve_crossing

        solution = solve_crossing(crossing, reml=reml, max_steps=max_steps)
    return Submodel(kept=kept, design=smaller, solution=solution)
