"""What commands read and print."""

import json as json_text
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from crosslevel.display import Document, page, text
from crosslevel.errors import CrosslevelError, FileError
from crosslevel.estimators.export import plain, records
from crosslevel.table import read, write_atomically
from crosslevel.table.missing_codes import MissingCodes

if TYPE_CHECKING:
    from crosslevel.diagnostics.describe import Description
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed import MixedFit


class Told(SystemExit):
    """An end whose reason has been said already."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """One result in the forms a command can deliver.

    Attributes
    ----------
    document : for people.
    frame : its main table, for csv files.
    record : every number, for JSON.
    """

    document: Callable[[], Document]
    frame: Callable[[], pd.DataFrame]
    record: Callable[[], dict[str, Any]]


def fit(result: "MixedFit | GeneralizedFit", *, level: float) -> Result:
    """A fit to deliver."""
    return Result(
        document=lambda: result.summary(level=level),
        frame=lambda: result.tidy(level=level),
        record=lambda: result.to_dict(level=level),
    )


def description(found: "Description") -> Result:
    """A description to deliver."""

    def record() -> dict[str, Any]:
        return {
            "group": found.group,
            "rows": found.n_rows,
            "rows_without_group": found.n_without_group,
            "sizes": [{"cluster": plain(level), "rows": int(size)} for level, size in found.sizes.items()],
            "size_summary": {key: plain(value) for key, value in found.size_summary.items()},
            "variables": records(found.frame),
        }

    return Result(document=found.document, frame=lambda: found.frame, record=record)


FORMATS: dict[str, Callable[[Result], str]] = {
    ".html": lambda result: page(result.document()),
    ".txt": lambda result: text(result.document()) + "\n",
    ".csv": lambda result: result.frame().to_csv(),
    ".json": lambda result: dumped(result.record()),
}


def deliver(result: Result, *, json: bool, path: Path | None) -> None:
    """Print a result, and write it to `path` in the format of its ending."""
    if path is not None:
        if path.suffix.lower() not in FORMATS:
            raise FileError(f"`--output` ends in {', '.join(FORMATS)}; got {str(path)!r}.")
        write_atomically(path, FORMATS[path.suffix.lower()](result), argument="--output")
    print(dumped(result.record()) if json else text(result.document()))
    if path is not None:
        said(path)


def said(path: Path) -> None:
    """Say where a file was written, beside what was printed."""
    print(f"Written to {path}", file=sys.stderr)


def written(path: Path, numbers: list[dict[str, Any]], *, json: bool) -> None:
    """Say where a report is; with `json`, print the models' numbers too."""
    if json:
        print(dumped({"report": str(path), "models": numbers}))
    else:
        print(f"The report is in {path.resolve()}")


def dumped(record: dict[str, Any]) -> str:
    """A record as JSON text, refusing what JSON has no word for."""
    return json_text.dumps(record, indent=1, allow_nan=False, ensure_ascii=False)


def read_file(
    file: Path, *, sheet: str | None, encoding: str | None, missing_codes: list[str] | None, quiet: bool
) -> pd.DataFrame:
    """Read a data file, with a message meanwhile."""
    with progress(f"Reading {file.name}", quiet):
        return read(file, sheet=sheet, encoding=encoding, missing_codes=codes_of(missing_codes))


def codes_of(given: list[str] | None) -> MissingCodes | None:
    """Codes of missing answers as the library takes them, from those of the command line.

    Raises
    ------
    CrosslevelError : codes of all columns beside codes of one.

    Examples
    --------
    >>> codes_of(["trust=99", "age=998,999"]), codes_of(["98,99"]), codes_of(None)
    ({'trust': ['99'], 'age': ['998', '999']}, ['98', '99'], None)
    """
    if not given:
        return None
    parts = [text.rpartition("=") for text in given]
    by_column = {name: codes.split(",") for name, mark, codes in parts if mark}
    if not by_column:
        return [code for _, _, codes in parts for code in codes.split(",")]
    if len(by_column) < len(parts):
        raise CrosslevelError(
            f"`--missing-codes` is given for all columns or by column, each column once; got {', '.join(given)}."
        )
    return dict(by_column)


@contextmanager
def progress(message: str, quiet: bool = False) -> Iterator[None]:
    """Show on a terminal that work is going on; nothing elsewhere, so that logs and pipes stay clean."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{message} ..."):
        yield
