"""Text files with one row per line: csv and tsv, plain or compressed by gzip."""

from __future__ import annotations

import csv
import gzip
import io
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import pandas as pd

from crosslevel.errors import FileError
from crosslevel.table.columns import refuse_duplicates
from crosslevel.table.options import ReadOptions

GZIP = b"\x1f\x8b"
MISSING = ["."]
"""Read as missing beside what pandas reads so (empty, NA, NaN, NULL, ...): the sign of Stata and SAS."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dialect:
    """How the lines of a file are written: what separates the fields, the sign in 0.5, and the encoding."""

    separator: str
    decimal: str
    encoding: str
    compressed: bool


def read_delimited(file: Path, options: ReadOptions) -> pd.DataFrame:
    """A csv or tsv file; separator and decimal sign are recognised, and ids such as 01 stay text."""
    dialect, sample = recognised(file, options)
    _check_header(file, dialect, sample)
    _refuse_short_last_line(file, dialect, sample)
    frame = parsed(file, dialect)
    if frame.empty or not has_leading_zero(file, dialect):
        return frame
    return _restored_ids(frame, file, dialect)


def parsed(file: Path, dialect: Dialect, **keywords: Any) -> pd.DataFrame:
    """What pandas makes of the file."""
    frame = pd.read_csv(
        file,
        sep=dialect.separator,
        decimal=dialect.decimal,
        encoding=dialect.encoding,
        compression="gzip" if dialect.compressed else None,
        na_values=MISSING,
        index_col=False,
        skipinitialspace=True,
        low_memory=False,
        **keywords,
    )
    return cast(pd.DataFrame, frame)


def _opened(file: Path, compressed: bool) -> BinaryIO:
    return cast(BinaryIO, gzip.open(file, "rb")) if compressed else file.open("rb")


def recognised(file: Path, options: ReadOptions) -> tuple[Dialect, list[str]]:
    """The dialect, and the first lines."""
    with file.open("rb") as stream:
        compressed = stream.read(2) == GZIP
    with _opened(file, compressed) as stream:
        head = stream.read(1 << 16)
    encoding = options.encoding or "utf-8-sig"
    if b"\0" in head and not encoding.lower().replace("-", "").startswith(("utf16", "utf32")):
        raise FileError(f"`path`: {str(file)!r} holds binary data, not text. Name its type with format=.")
    sample = _first_lines(file, compressed, encoding)
    if not sample:
        raise FileError(f"`path`: {str(file)!r} has no line of text. Copy or download it again.")
    separator = "\t" if options.kind == "tsv" else _separator(sample[0])
    decimal = _decimal(sample[1:], separator)
    return Dialect(separator=separator, decimal=decimal, encoding=encoding, compressed=compressed), sample


def _first_lines(file: Path, compressed: bool, encoding: str) -> list[str]:
    """The first thousand lines that are not blank."""
    try:
        with _opened(file, compressed) as stream, io.TextIOWrapper(stream, encoding=encoding) as text:
            return list(islice((line for line in text if line.strip()), 1000))
    except UnicodeDecodeError as error:
        raise FileError(_undecodable(file, encoding)) from error
    except LookupError as error:
        raise FileError(f"`encoding`: {encoding!r} is not the name of an encoding, such as 'cp1252'.") from error


def _undecodable(file: Path, encoding: str) -> str:
    name = "UTF-8" if encoding == "utf-8-sig" else encoding
    return (
        f"`path`: the text in {str(file)!r} is not in the encoding {name}. Name its own with encoding= (--encoding "
        "on the command line): 'cp1252' for Western European Windows, 'latin-1' for older Unix files, 'utf-16' for "
        "Excel's Unicode text."
    )


def _separator(header: str) -> str:
    """The sign that separates the names in the first line, quoted parts aside."""
    outside = re.sub(r'"[^"]*"', "", header)
    return max(",;\t|", key=outside.count)


def _decimal(lines: list[str], separator: str) -> str:
    """A comma where it cannot separate fields and numbers are written with it; else a point."""
    if separator == ",":
        return "."
    fields = [field.strip(' "') for line in lines for field in line.strip().split(separator)]
    with_comma = sum(re.fullmatch(r"[-+]?\d+,\d+", field) is not None for field in fields)
    with_point = sum(re.fullmatch(r"[-+]?\d+\.\d+", field) is not None for field in fields)
    return "," if with_comma > with_point else "."


def _check_header(file: Path, dialect: Dialect, sample: list[str]) -> None:
    """Names occur once, and the first row has as many fields as there are names."""
    rows = list(islice(csv.reader(sample, delimiter=dialect.separator, skipinitialspace=True), 2))
    refuse_duplicates([name for name in rows[0] if name], "path")
    if len(rows) == 2 and len(rows[1]) > len(rows[0]):
        raise FileError(
            f"`path`: the first line of {str(file)!r} has {len(rows[0])} names, the next has {len(rows[1])} values. "
            "Give every column a name (in R: write.csv instead of write.table)."
        )


def _refuse_short_last_line(file: Path, dialect: Dialect, sample: list[str]) -> None:
    """A last line with fewer fields than the first is the trace of a file cut short; gzip tells by itself."""
    if dialect.compressed or len(sample) < 2:
        return
    with file.open("rb") as stream:
        stream.seek(-min(1 << 16, file.stat().st_size), 2)
        tail = stream.read().decode(dialect.encoding, errors="replace")
    last = [line for line in tail.splitlines() if line.strip()][-1]
    if '"' in last:
        return
    names, values = sample[0].count(dialect.separator) + 1, last.count(dialect.separator) + 1
    if '"' not in sample[0] and values < names:
        raise FileError(
            f"`path`: the last line of {str(file)!r} has {values} values where the first has {names} names: "
            "the file looks truncated. Copy or download it again, or complete or delete that line."
        )


def has_leading_zero(file: Path, dialect: Dialect) -> bool:
    """Whether any field begins like 01: only then is a second look at the text worth its time."""
    pattern = re.compile(rb'(?:^|[\r\n"' + re.escape(dialect.separator).encode() + rb"]) *0\d")
    with _opened(file, dialect.compressed) as stream:
        carried = b""
        while block := stream.read(1 << 20):
            if pattern.search(carried + block):
                return True
            carried = block[-8:]
    return False


def _restored_ids(frame: pd.DataFrame, file: Path, dialect: Dialect) -> pd.DataFrame:
    """Ids that were read as numbers get their text back."""
    suspects = frame.select_dtypes("number").columns.tolist()
    texts = parsed(file, dialect, usecols=suspects, dtype=str) if suspects else frame[[]]
    for name in suspects:
        if are_ids(texts[name].dropna()):
            frame[name] = texts[name]
    return frame


def are_ids(present: pd.Series[Any]) -> bool:
    """Whether text consists of digits and sometimes begins with a zero that a number would lose: ids, postcodes."""
    return bool(present.str.fullmatch(r"\d+").all() and present.str.match(r"0\d").any())
