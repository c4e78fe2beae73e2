"""Generalized models with some of the random effects of a larger one, in other blocks, from starts near its optimum.

The rows are cut out of the larger model's, and the search begins at another model's estimates: coefficients and shape
as they are, Psi restricted to the effects and the correlations that are there. Variances that are zero there are given
a little, so that the search sees whether they are zero here.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crosslevel.design import Design
from crosslevel.design.reduced import random_basis
from crosslevel.design.response_rows import ResponseRows, ResponseTerm
from crosslevel.design.submodel import Part
from crosslevel.solve.generalized.search import MAX_STEPS
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.solve.generalized.solve import solve_generalized
from crosslevel.types import FloatArray

LITTLE = 0.1
"""Standard deviation of a standardised random effect, in units of the linear predictor, that a start has at least."""


def rows_of_parts(rows: ResponseRows, design: Design, parts: Sequence[Part]) -> ResponseRows:
    """The rows of a model with some of the random effects of a design, in the blocks that its parts say.

    Working effects are T b. Of the columns Z T^-1 of the larger model, those of the smaller one are (Z T^-1) T[:, r]
    T_r^-1: no row of the data is read.

    Parameters
    ----------
    rows, design : the larger model.
    parts : for each grouping factor of which something stays, its effects and their blocks; one for each factor.
    """
    terms = []
    for part in parts:
        own = rows.terms[part.place]
        z = design.factors[part.place].z[part.effects]
        _, basis = random_basis(design.products, z, part.structure, design.constant)
        turn = own.basis[:, part.effects] @ np.linalg.inv(basis)
        terms.append(
            ResponseTerm(
                structure=part.structure, basis=basis, codes=own.codes, z=np.ascontiguousarray(own.z @ turn),
                n_levels=own.n_levels, weight=own.weight, members=own.members,
            )
        )  # fmt: skip
    return replace(rows, terms=tuple(terms))


def start_near(
    rows: ResponseRows, parts: Sequence[Part], near: GeneralizedSolution, psi: Sequence[FloatArray]
) -> FloatArray:
    """Working parameters (K,) at which the search for a model with fewer or more effects starts.

    Parameters
    ----------
    rows : of the model that is to be fitted.
    parts : what it has of the maximal model's effects.
    near : a fit of another model with the same fixed columns.
    psi : for each factor of the maximal model (q, q) the covariance of its effects by that fit, in the units of the
        data; zero for effects that it lacks.
    """
    thetas = []
    for term, part in zip(rows.terms, parts, strict=True):
        inside = term.basis @ (psi[part.place][np.ix_(part.effects, part.effects)] * part.structure.mask) @ term.basis.T
        values, vectors = np.linalg.eigh(0.5 * (inside + inside.T) * part.structure.mask)
        factor = vectors * np.sqrt(np.maximum(values, LITTLE**2))
        thetas.append(part.structure.nearest(factor))
    layout = near.criterion.layout
    return np.concatenate([*thetas, near.parameters[layout.beta], near.parameters[layout.shape]])


def solve_generalized_parts(
    design: Design,
    parts: Sequence[Part],
    whole: GeneralizedSolution,
    near: GeneralizedSolution,
    psi: Sequence[FloatArray],
    *,
    max_steps: int = MAX_STEPS,
) -> GeneralizedSolution:
    """Fit the model with some of the random effects of a design, with as many quadrature nodes as the whole model.

    Parameters
    ----------
    design, whole : the larger model and its fit.
    parts : for each of its grouping factors the effects that stay, and their blocks.
    near, psi : where the search starts; see `start_near`.
    max_steps : largest number of steps of the search.
    """
    rows = rows_of_parts(whole.criterion.rows, design, parts)
    start = start_near(rows, parts, near, psi)
    return solve_generalized(
        rows, quadrature=whole.quadrature.nodes, prior=whole.prior, start=start, max_steps=max_steps
    )
