"""The command that runs a Monte Carlo study."""

import os
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from crosslevel.cli import output
from crosslevel.errors import CrosslevelError, FileError
from crosslevel.estimators.export import records
from crosslevel.table import write_atomically

if TYPE_CHECKING:
    from crosslevel.simulation.studies.study import Study

INTERRUPTED = 130


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


FRAMES: dict[str, Callable[[pd.DataFrame], str | bytes]] = {
    ".csv": lambda frame: frame.to_csv(index=False),
    ".parquet": _parquet,
}
"""Files that hold the frame of results; other endings are those of every command."""


def run_simulate(
    file: Path, *, measures: Sequence[str] | None, json: bool, path: Path | None, quiet: bool, **given: Any
) -> bool:
    """Run a study, print its measures, and write them; whether each estimator fitted something in each condition.

    Parameters
    ----------
    file : the study.
    measures : to print; all if None.
    json, path : how the results are printed, and where they are written.
    quiet : no messages meanwhile.
    **given : other arguments of `Study.run`.
    """
    from crosslevel.simulation.studies.study import Study

    endings = {**FRAMES, **output.FORMATS}
    if path is not None and path.suffix.lower() not in endings:
        raise FileError(f"`--output` ends in {', '.join(endings)}; got {str(path)!r}.")
    check_measures(measures)
    check_place(path, "--output")
    study = Study.from_toml(file)
    try:
        found = study.run(progress=not quiet, **given)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise output.Told(INTERRUPTED) from None
    result = delivered(study, found, measures)
    if path is None or path.suffix.lower() not in FRAMES:
        output.deliver(result, json=json, path=path)
    else:
        write_atomically(path, FRAMES[path.suffix.lower()](found), argument="--output")
        output.deliver(result, json=json, path=None)
        print(f"Written to {path}", file=sys.stderr)
    whole = found[found["measure"] == "convergence"]
    return bool((whole["failed"] < whole["reps"]).all())


def check_place(path: Path | None, option: str) -> None:
    """Whether the folder of a file is there, before an hour is spent on what goes into it.

    Raises
    ------
    FileError : it is not.
    """
    folder = None if path is None else path.expanduser().parent
    if folder is not None and not (folder.is_dir() and os.access(folder, os.W_OK)):
        why = "there is no such folder" if not folder.exists() else "that folder cannot be written to"
        raise FileError(f"`{option}`: cannot write {str(path)!r}: {why}. Make the folder, or choose another place.")


def check_measures(measures: Sequence[str] | None) -> None:
    """Whether there are such measures.

    Raises
    ------
    CrosslevelError : there are not.
    """
    from crosslevel.simulation.studies.measures import MEASURES

    unknown = [name for name in measures or () if name not in MEASURES]
    if unknown:
        raise CrosslevelError(f"`--measures` has {', '.join(map(repr, unknown))}. There are: {', '.join(MEASURES)}.")


def delivered(study: "Study", found: pd.DataFrame, measures: Sequence[str] | None) -> output.Result:
    """Results to deliver."""
    from crosslevel.simulation.studies.documents import failures, results_document

    recorded = study.record(found.attrs["seed"])
    return output.Result(
        document=lambda: results_document(found, study.title or "Monte Carlo study", measures),
        frame=lambda: found,
        record=lambda: {
            "seed": found.attrs["seed"],
            "reps": found.attrs["reps"],
            **{name: recorded[name] for name in ("title", "study", "versions")},
            "results": records(found),
            "failures": records(failures(found)),
        },
    )
