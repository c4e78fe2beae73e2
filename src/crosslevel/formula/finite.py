"""What to say of infinite and undefined values."""

import numpy as np

from crosslevel.errors import DataError
from crosslevel.formula.components import Component, values
from crosslevel.formula.rows import Source


def refuse_undefined(components: list[Component], source: Source) -> None:
    """Raise `DataError` about the components of a column with infinite or undefined values."""
    for component in components:
        for name in component.variables:
            _refuse_column(name, source)
    for component in components:
        for index, name in enumerate(component.names):
            bad, total = _undefined(component, index, source)
            if bad:
                raise DataError(
                    f"`formula` uses `{name}`, which is infinite or undefined in {bad} of {total} "
                    f"{source.rows_in_words} although "
                    f"{', '.join(component.variables)} is finite there (a logarithm of 0, a division by 0?). "
                    "Change the expression, or leave those rows out."
                )
    names = " and ".join(f"`{component.text}`" for component in components)
    raise DataError(f"the product of {names} is too large for a number. Rescale these columns.")


def _refuse_column(name: str, source: Source) -> None:
    """Raise `DataError` if a data column has infinite or missing values in the used rows."""
    infinite = missing = total = 0
    is_numeric = source.columns.is_numeric(name)
    for rows in source.chunks():
        infinite += int(np.count_nonzero(np.isinf(rows.numeric(name)))) if is_numeric else 0
        missing += rows.n_missing(name)
        total += rows.size
    what = f"{infinite} infinite" if infinite else f"{missing} missing" if missing else ""
    plural = "" if (infinite or missing) == 1 else "s"
    if what:
        raise DataError(
            f"`{source.columns.argument}` has {what} value{plural} in column {name!r} (of {total} "
            f"{source.rows_in_words}), which `formula` uses. Set them to missing or leave those rows out."
        )


def _undefined(component: Component, index: int, source: Source) -> tuple[int, int]:
    """Number of used rows in which a component column is infinite or undefined, and number of used rows."""
    bad = total = 0
    with np.errstate(all="ignore"):
        for rows in source.chunks():
            bad += int(np.count_nonzero(~np.isfinite(values(component, (index,), rows)[0])))
            total += rows.size
    return bad, total
