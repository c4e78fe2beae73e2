"""New columns from rows that are picked from others, each column from rows of its own."""

from collections.abc import Mapping

import narwhals as nw
import numpy as np

from crosslevel.table.columns import Columns, unwrapped
from crosslevel.types import FloatArray, IntArray


def picked(columns: Columns, rows: Mapping[str, IntArray]) -> Columns:
    """Columns of the same types, in the same library.

    Parameters
    ----------
    columns : the data.
    rows : for each column to be kept the positions (m,) of the rows to take it from.

    Examples
    --------
    >>> import numpy as np
    >>> data = Columns.from_frame({"x": [1.0, 2.0, 3.0], "f": ["a", "b", "c"]})
    >>> found = picked(data, {"x": np.array([2, 0]), "f": np.array([1, 1])})
    >>> found.numeric("x"), found.factor("f").levels
    (array([3., 1.]), ('b',))
    """
    known = nw.from_native(columns.frame, eager_only=True)
    parts = [nw.maybe_reset_index(known[name][place.tolist()]).to_frame() for name, place in rows.items()]
    frame = unwrapped(nw.concat(parts, how="horizontal"))
    labels = {name: text for name, text in columns.labels.items() if name in rows}
    return Columns(names=tuple(rows), n_rows=len(frame), labels=labels, argument=columns.argument, frame=frame)


def with_numbers(columns: Columns, name: str, values: FloatArray) -> Columns:
    """The same columns and one of numbers (n_rows,) more."""
    known = nw.from_native(columns.frame, eager_only=True)
    series = nw.new_series(name, np.ascontiguousarray(values), nw.Float64, backend=known.implementation)
    return Columns(
        names=(*columns.names, name), n_rows=columns.n_rows, labels=columns.labels, argument=columns.argument,
        frame=unwrapped(known.with_columns(series)),
    )  # fmt: skip
