"""What a design needs to know of a residual structure; the code for it is loaded when one is asked for."""

from typing import TYPE_CHECKING

from crosslevel.design.rows import RowCount
from crosslevel.table import Columns
from crosslevel.types import BoolArray

if TYPE_CHECKING:
    from crosslevel.residual import ResidualStructure
    from crosslevel.residual.bound import BoundResidual


def residual_needs(residual: "ResidualStructure | None", columns: Columns) -> tuple[str, ...]:
    """Data columns that a residual structure needs."""
    if residual is None:
        return ()
    from crosslevel.design.residual import residual_columns

    return tuple(residual_columns(residual, columns))


def knows_errors(residual: "ResidualStructure | None") -> bool:
    """Whether the standard errors of the outcome are known, so that a level may have one row."""
    if residual is None:
        return False
    from crosslevel.residual import Known

    return isinstance(residual, Known)


def bound_residual(
    residual: "ResidualStructure | None", columns: Columns, mask: BoolArray | None, rows: RowCount
) -> "BoundResidual | None":
    """A residual structure bound to the rows used."""
    if residual is None:
        return None
    from crosslevel.design.residual import bind_residual

    return bind_residual(residual, columns, mask, rows.used)
