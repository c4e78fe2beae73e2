"""Known covariance matrices of random effects, as the user gives them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from crosslevel.covariance import KNOWN, Covariance
from crosslevel.errors import DesignError
from crosslevel.formula import Block, Formula
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownMatrices:
    """The matrices of a model, and what their rows are.

    Attributes
    ----------
    matrices : by the name they have in the formula, an array (q, q) in the order of the random effects, or a frame
        whose index and columns name them.
    names : names of the design columns.
    """

    matrices: Mapping[str, object]
    names: tuple[str, ...]

    def structure(self, block: Block) -> Covariance:
        """Covariance structure of a block that has a known matrix.

        Raises
        ------
        DesignError : no such matrix, or it does not fit the block, or is no covariance matrix.
        """
        given = ", ".join(repr(name) for name in self.matrices) or "none"
        if block.known is None or block.known not in self.matrices:
            raise DesignError(
                f"`formula` has {block.structure}(...) with the matrix {block.known!r}, and `known` gives {given}. "
                f"Give it: known={{{block.known!r}: matrix}}."
            )
        effects = tuple(self.names[j] for j in block.columns)
        where = f"`known[{block.known!r}]`"
        matrix = self.matrices[block.known]
        labelled = hasattr(matrix, "index") and hasattr(matrix, "columns")
        values = _aligned(matrix, effects, where) if labelled else _numbers(matrix, where)
        if values.shape != (len(effects), len(effects)):
            raise DesignError(
                f"{where} needs a row and a column for each of the {len(effects)} random effects "
                f"({', '.join(effects)}); got shape {values.shape}."
            )
        try:
            return KNOWN[block.structure](values)
        except ValueError as error:
            raise DesignError(f"{where} cannot be used: {error}.") from None


def _numbers(matrix: object, where: str) -> FloatArray:
    """A matrix as numbers."""
    try:
        return np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        raise DesignError(f"{where} must be a matrix of numbers; got {type(matrix).__name__}.") from None


def _aligned(matrix: Any, effects: tuple[str, ...], where: str) -> FloatArray:
    """A labelled matrix in the order of the effects, named in full, as in "f[a]", or by their levels, as in "a"."""
    rows, columns = ([str(label) for label in labels] for labels in (matrix.index, matrix.columns))
    levels = tuple(name[name.index("[") + 1 : -1] if name.endswith("]") else name for name in effects)
    for wanted in (effects, levels):
        if sorted(rows) == sorted(wanted) and sorted(columns) == sorted(wanted):
            order = [rows.index(name) for name in wanted]
            return _numbers(matrix, where)[np.ix_(order, [columns.index(name) for name in wanted])]
    raise DesignError(
        f"{where} must name the random effects in its index and in its columns: {', '.join(effects)}, or "
        f"{', '.join(levels)}; its index has {', '.join(rows)}, its columns {', '.join(columns)}."
    )


def check_known(formula: Formula, known: Mapping[str, object] | None) -> None:
    """Refuse known matrices that the formula does not name."""
    unused = [name for name in known or {} if name not in formula.known]
    if unused:
        raise DesignError(
            f"`known` gives {', '.join(map(repr, unused))}, which no random term of `formula` names. "
            "Write propto(0 + f | g, V) or equalto(0 + f | g, V) with the name of the matrix after the comma."
        )
