"""What a reader may be told beside the path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crosslevel.table.missing_codes import MissingCodes


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadOptions:
    """Options of `read`, checked there.

    Parameters
    ----------
    kind : the type of the file, a key of `READERS`.
    sheet : sheet of a workbook, by name or by position from 0; the first if None.
    encoding : encoding of the text in the file; None for what the file says, or UTF-8.
    user_missing : whether values declared missing become missing.
    value_labels : whether labelled values become categories; or the columns in which they do.
    columns : the columns that are needed; all if None. A reader may read more.
    missing_codes : codes to make missing before values become their labels; other files than labelled ones have none.
    """

    kind: str
    sheet: str | int | None = None
    encoding: str | None = None
    user_missing: bool = True
    value_labels: bool | Sequence[str] = True
    columns: Sequence[str] | None = None
    missing_codes: MissingCodes | None = None
