"""What a design is asked to have: random terms or none, clusters, a residual structure, whose code is loaded then."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crosslevel.design.rows import RowCount
from crosslevel.errors import DesignError
from crosslevel.formula import Formula
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


def check_random(formula: Formula, *, alone: bool, ordinary: bool) -> None:
    """Refuse a formula without random terms, or with some for an ordinary regression.

    Parameters
    ----------
    formula : the formula.
    alone : whether a residual structure can do without random terms.
    ordinary : whether an ordinary regression is wanted.

    Raises
    ------
    DesignError : see above.
    """
    if ordinary and formula.random:
        group = formula.random[0].group_text
        raise DesignError(
            f"`formula` has a random term over {group}, which an ordinary regression does not have. Use cl.mixed; or "
            f"drop the term and name the clusters: cluster={group!r}."
        )
    if not ordinary and not formula.random and not alone:
        raise DesignError(
            f"`formula` has no random term, such as (1 | school): {formula.text!r}. "
            "Add one that names the clusters of your data, or fit an ordinary regression with cl.ols (with cl.glm for "
            "another family)."
        )


def cluster_columns(clusters: Sequence[str] | None, columns: Columns) -> tuple[str, ...]:
    """The data columns that clusters are made of, "a:b" of two.

    Raises
    ------
    ColumnNotFoundError : one of them is not in the data.
    """
    split = ((name,) if name in columns.names else name.split(":") for name in clusters or ())
    names = tuple(part for parts in split for part in parts)
    columns.require(names, "cluster")
    return names
