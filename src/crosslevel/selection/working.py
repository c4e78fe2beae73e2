"""A candidate in the working coordinates of its cross-products, for criteria that need more than its estimates."""

import numpy as np

from crosslevel.design.reduced import Reduced
from crosslevel.design.submodel import part_of_reduced
from crosslevel.errors import CrosslevelError
from crosslevel.inference.structure_fits import StructureFit
from crosslevel.selection.search import Candidate, Search
from crosslevel.solve import Solution
from crosslevel.types import FloatArray


def in_working_coordinates(candidate: Candidate) -> tuple[Reduced, FloatArray]:
    """Reduced cross-products of a candidate, and (q, q) its Lambda."""
    found, search = candidate.found, candidate.search
    if isinstance(found, StructureFit):
        return found.reduced, found.factor
    assert isinstance(found, Solution)
    reduced = part_of_reduced(search.design.reduced, candidate.part)
    return reduced, np.asarray(reduced.basis @ found.factors[search.place])


def check_plain(search: Search, criterion: str) -> None:
    """Refuse models whose candidates have no working coordinates of their own.

    Raises
    ------
    CrosslevelError : several grouping factors, a residual structure, or another family.
    """
    if not search.is_plain:
        why = "several grouping factors" if not search.design.is_single else "a residual structure"
        if not search.is_linear:
            why = "another family than the normal one"
        raise CrosslevelError(
            f"`criterion` is {criterion!r}, which is worked out for linear models with one grouping factor and "
            f"independent residuals, and this model has {why}. Use 'bic' or 'aic'."
        )
