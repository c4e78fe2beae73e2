"""A Design from rows that are read in batches."""

from collections.abc import Sequence

import numpy as np

from crosslevel.design.build import Design, finish_design
from crosslevel.design.factors import factor_of, refuse_membership
from crosslevel.design.rows import check_missing, count_of
from crosslevel.design.stream import StreamedRows, stream_products
from crosslevel.errors import ColumnNotFoundError, DesignError
from crosslevel.formula import Formula, parse
from crosslevel.table.batches import RowSource
from crosslevel.types import Missing


def build_streamed(
    formula: str,
    source: RowSource,
    *,
    missing: Missing = "drop",
    refused: Sequence[str] = (),
    progress: bool = True,
) -> Design:
    """Learn a formula and sum its cross-products, reading the rows at most twice.

    Parameters
    ----------
    formula : as in "y ~ x + (x | school)", with one grouping factor.
    source : the data.
    missing : "drop" leaves out rows with a missing value in any variable of the formula; "raise" refuses them.
    refused : names of arguments that were given and need all rows at once.
    progress : whether to report how far the reading has come.

    Raises
    ------
    FormulaError, ColumnNotFoundError, DataError, DesignError : see their texts.
    """
    check_missing(missing)
    parsed = parse(formula, source.names)
    absent = [name for name in parsed.variables if name not in source.names]
    if absent:
        raise ColumnNotFoundError.in_argument("formula", absent, source.names)
    group = _one_group(parsed, source, refused)
    found = stream_products(parsed, group, source, progress=progress)
    rows = count_of(found.read, found.used, found.missing, missing)
    stream = StreamedRows(
        source=source, spec=found.spec, known={**found.known, group: found.levels}, group=group, n_used=found.used
    )
    (term,) = found.spec.terms
    return finish_design(
        Design(
            spec=found.spec,
            columns=stream.columns(),
            mask=None,
            rows=rows,
            factors=(factor_of(term, found.levels.levels, stream.codes, rows),),
            products=found.products,
            x=np.arange(found.spec.n_fixed),
            aliased=(),
            constant=-1,
            stream=stream,
        )
    )


def _one_group(parsed: Formula, source: RowSource, refused: Sequence[str]) -> tuple[str, ...]:
    """The columns of the one grouping factor, of whose clusters the likelihood is a sum."""
    refuse_membership(parsed)
    if not parsed.random and not refused:
        raise DesignError(
            f"`formula` has no random term, such as (1 | school): {parsed.text!r}. "
            "Add one that names the clusters of your data."
        )
    groups = {frozenset(part.group): part.group for part in parsed.random}
    if len(groups) == 1 and not refused:
        (group,) = groups.values()
        return group
    listed = " and ".join(":".join(group) for group in groups.values())
    why = f"`{refused[0]}` is given" if refused else f"`formula` has the grouping factors {listed}"
    n_columns = len(parsed.variables)
    size = f"8 bytes for each of {n_columns} columns in every row"
    if source.n_rows is not None:
        size = (
            f"about {_bytes(8.0 * n_columns * source.n_rows)} ({source.n_rows:,} rows x {n_columns} columns x 8 bytes)"
        )
    wanted = ", ".join(repr(name) for name in parsed.variables)
    raise DesignError(
        f"`data` are read in batches, which needs a likelihood that is a sum over the clusters of one grouping factor, "
        f"but {why}. Such a model needs all its rows in memory: {size}. Read its columns into a frame and give that: "
        f"cl.read(path, columns=[{wanted}]), .df() of a DuckDB relation, or .compute() of a Dask frame."
    )


def _bytes(size: float) -> str:
    """A size in words."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
