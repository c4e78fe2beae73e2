"""`read`: a survey file of any usual type as a pandas frame with its labels."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from zipfile import BadZipFile

import pandas as pd

from crosslevel.errors import ColumnNotFoundError, CrosslevelError, DataError, FileError
from crosslevel.table import arrow, delimited, excel, labelled
from crosslevel.table.columns import refuse_duplicates
from crosslevel.table.files import existing_file
from crosslevel.table.missing_codes import MissingCodes, without_codes
from crosslevel.table.options import ReadOptions

READERS: dict[str, Callable[[Path, ReadOptions], pd.DataFrame]] = {
    "csv": delimited.read_delimited,
    "tsv": delimited.read_delimited,
    "parquet": arrow.read_parquet,
    "feather": arrow.read_feather,
    "dta": labelled.read_dta,
    "sav": labelled.read_sav,
    "sas7bdat": labelled.read_sas7bdat,
    "xlsx": excel.read_xlsx,
}
"""One function per type of file."""

LABELLED = frozenset({"dta", "sav", "sas7bdat"})
"""Types whose readers take missing codes away themselves, before labels replace them."""

ENDINGS = {"txt": "csv", "tab": "tsv", "arrow": "feather", "zsav": "sav", "xlsm": "xlsx"}
"""Further endings of file names, and the type they mean."""

SIGNATURES = {
    b"$FL": "sav",
    b"<stata_dta>": "dta",
    b"PAR1": "parquet",
    b"ARROW1": "feather",
    b"PK\x03\x04": "xlsx",
    b"\xd0\xcf\x11\xe0": "xls (an old Excel workbook: save it as xlsx)",
    b"\x1f\x8b": "gz (compressed: only csv and tsv can be read so)",
    b"<!DOCTYPE": "html (a web page, perhaps a log-in page)",
    b"<html": "html (a web page, perhaps a log-in page)",
}
"""First bytes that give away the type of a file."""

UNREADABLE = (
    *(OSError, EOFError, ValueError, LookupError, ArithmeticError, RuntimeError, MemoryError),
    *(zlib.error, BadZipFile),
)
"""What the readers raise on a damaged file (a wrong length asks for more memory than there is)."""


def read(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    sheet: str | int | None = None,
    encoding: str | None = None,
    user_missing: bool = True,
    value_labels: bool | Sequence[str] = True,
    columns: Sequence[str] | None = None,
    missing_codes: MissingCodes | None = None,
) -> pd.DataFrame:
    """Read a data file, with its labels, into a pandas frame.

    Parameters
    ----------
    path : the file. Its ending tells its type: csv, tsv (tab), both also with .gz; parquet, feather (arrow), dta,
        sav (zsav), sas7bdat, xlsx.
    format : the type, where the ending does not tell it.
    sheet : sheet of an xlsx workbook, by name or by position from 0; the first by default.
    encoding : encoding of the text, where the file does not declare it (csv, tsv: UTF-8 by default) or declares it
        wrongly (dta, sav, sas7bdat).
    user_missing : whether values that an SPSS file declares missing ("refused", "don't know") become missing. The
        missing values of Stata (`.a` to `.z`) and SAS (`.A` to `.Z`) have no other value and always do.
    value_labels : true: a column becomes a category where every value that occurs has a label; where some have none,
        or are labelled by their own number only (a scale from 0 to 10 with labelled ends), it remains a number.
        False: all remain numbers. A list of columns: just these become categories.
    columns : the columns to keep, in this order; all by default. Of a parquet file only these are read.
    missing_codes : numbers or texts that stand for a missing answer and are not declared so in the file: one or several
        for all columns (``[98, 99]``), or by column (``{"trust": 99, "age": [998, 999]}``), since 99 may be an age.

    Returns
    -------
    data : one row per row of the file. Categories are in the order of their values in the file; those that do not
        occur are left out. ``data.attrs["labels"]`` has the labels of variables by column,
        ``data.attrs["value_labels"]`` those of the values of columns that remained numbers.

    Raises
    ------
    FileError : no such file (the nearest name is suggested), an unknown type, a truncated or damaged file.
    DataError : no rows, or two columns of the same name; codes that are neither numbers nor text.
    ColumnNotFoundError : `columns` or `missing_codes` name one that is not in the file.

    Notes
    -----
    In csv and tsv files the separator (comma, semicolon, tab, bar) and a decimal comma are recognised; ids with leading
    zeros stay text; empty fields, ``.``, NA, NaN and NULL are missing. A country code NA (Namibia) is one of these:
    read such a file with pandas and ``keep_default_na=False``.
    Empty text in dta, sav and sas7bdat is missing, as it is in the programs that write them. A SAS file holds no value
    labels: they are in a separate catalog, which is not read.

    Examples
    --------
    >>> from crosslevel.datasets import path
    >>> data = read(path("hsb"))
    >>> data.shape
    (7185, 7)
    >>> data.attrs["labels"]["mathach"]
    'Mathematics achievement (score)'
    >>> list(data["sector"].cat.categories)
    ['Public', 'Catholic']
    """
    file = existing_file(path)
    kind = _known_format(format) if format is not None else _format_of(file)
    keep = None if columns is None else _checked_names(columns)
    options = ReadOptions(
        kind=kind,
        sheet=sheet,
        encoding=encoding,
        user_missing=user_missing,
        value_labels=value_labels,
        columns=keep,
        missing_codes=missing_codes if kind in LABELLED else None,
    )
    _refuse_pointless(options)
    try:
        frame = READERS[kind](file, options)
    except CrosslevelError:
        raise
    except UNREADABLE as error:
        raise FileError(
            f"`path`: {str(file)!r} cannot be read as {kind}: {_first_line(error)}.{_given_away(file, kind)} "
            "The file is truncated, damaged or of another type: copy or download it again, or name its type with "
            "format=."
        ) from error
    frame.columns = [str(name) for name in frame.columns]
    refuse_duplicates(frame.columns, "path")
    if keep is not None:
        frame = _kept(frame, keep, file)
    if missing_codes is not None and kind not in LABELLED:
        frame = without_codes(frame, missing_codes)
    if frame.empty:
        raise DataError(f"`path`: {str(file)!r} has {len(frame)} rows and {len(frame.columns)} columns, so no data.")
    frame.attrs.setdefault("labels", {})
    return frame


def _checked_names(columns: Sequence[str]) -> list[str]:
    """The names of some columns, each once."""
    if isinstance(columns, str) or not all(isinstance(name, str) for name in columns) or not len(columns):
        raise DataError(f"`columns` is a list of names such as ['y', 'x']; got {columns!r}.")
    return list(dict.fromkeys(columns))


def _kept(frame: pd.DataFrame, names: list[str], file: Path) -> pd.DataFrame:
    """Some columns with their labels."""
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise ColumnNotFoundError.in_argument("columns", absent, _all_names(frame, file))
    kept = frame[names]
    for what in ("labels", "value_labels"):
        if what in frame.attrs:
            kept.attrs[what] = {name: label for name, label in frame.attrs[what].items() if name in names}
    return kept


def _all_names(frame: pd.DataFrame, file: Path) -> list[str]:
    """Names of all columns of a file of which only some may have been read."""
    with file.open("rb") as stream:
        is_parquet = stream.read(4) == b"PAR1"
    return arrow.parquet_names(file) if is_parquet else [str(name) for name in frame.columns]


def _known_format(name: str) -> str:
    """The type of file that the user names."""
    known = [*READERS, *ENDINGS]
    kind = str(name).lower().lstrip(".").removesuffix(".gz")
    if kind not in known:
        close = get_close_matches(kind, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise FileError(f"`format` must be one of {', '.join(READERS)}; got {name!r}.{hint}")
    return ENDINGS.get(kind, kind)


def _format_of(file: Path) -> str:
    """The type of file that its ending tells."""
    *_, inner, ending = ["", "", *(suffix.lower().lstrip(".") for suffix in file.suffixes)]
    kind = inner if ending == "gz" else ending
    kind = ENDINGS.get(kind, kind)
    if kind in READERS and (ending != "gz" or kind in {"csv", "tsv"}):
        return kind
    problem = (
        f"{str(file)!r} is compressed, which only csv and tsv may be; unpack it first"
        if kind in READERS
        else f"{str(file)!r} is of no known type"
    )
    raise FileError(
        f"`path`: {problem}. Types that can be read, by ending: {', '.join(READERS)}, csv.gz, tsv.gz "
        f"(also {', '.join(ENDINGS)}).{_given_away(file, kind)} "
        "Name the type with format= where the ending does not tell it."
    )


def _refuse_pointless(options: ReadOptions) -> None:
    """Options that the type of file has no use for are a misunderstanding."""
    if options.sheet is not None and options.kind != "xlsx":
        raise DataError(f"`sheet` is for xlsx files, and this is read as {options.kind}. Leave it out.")
    if options.encoding is not None and options.kind in {"parquet", "feather", "xlsx"}:
        raise DataError(f"`encoding` is not for {options.kind} files, whose text is Unicode. Leave it out.")


def _given_away(file: Path, kind: str) -> str:
    """A hint if the first bytes are those of another type."""
    with file.open("rb") as stream:
        head = stream.read(16)
    found = next((name for signature, name in SIGNATURES.items() if head.startswith(signature)), kind)
    return "" if found == kind else f" Its first bytes are those of {found}."


def _first_line(error: BaseException) -> str:
    """The reason in one line, without the full stop at its end."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ")
