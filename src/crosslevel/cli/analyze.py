"""The command that analyses context effects from data to text."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslevel.cli import output
from crosslevel.display import text

if TYPE_CHECKING:
    from crosslevel.analysis.generalized.record import GeneralizedAnalysis
    from crosslevel.analysis.record import Analysis


def run_analyze(
    file: Path,
    formula: str,
    *,
    json: bool,
    folder: Path | None,
    overwrite: bool,
    sheet: str | None,
    encoding: str | None,
    missing_codes: list[str] | None,
    quiet: bool,
    **given: Any,
) -> bool:
    """Analyse, print the main results, and write everything into a folder; whether every model converged.

    Parameters
    ----------
    file, sheet, encoding, missing_codes : the data.
    formula : all predictors; see `crosslevel.analyze`.
    json : print every number as JSON instead.
    folder, overwrite : where everything is written, and whether an earlier analysis there may be replaced.
    quiet : no messages meanwhile.
    **given : other arguments of `analyze`.
    """
    from crosslevel.analysis.folder import check_folder
    from crosslevel.analysis.script import analyze

    if folder is not None:
        check_folder(folder, overwrite=overwrite, argument="--output")
    data = output.read_file(file, sheet=sheet, encoding=encoding, missing_codes=missing_codes, quiet=quiet)
    found: Analysis | GeneralizedAnalysis = analyze(formula, data, progress=not quiet, **given)
    if folder is not None:
        with output.progress("Drawing the report", quiet):
            found.save(folder, overwrite=overwrite)
    deliver(found, json=json, place=None if folder is None else folder)
    return found.converged


def deliver(found: "Analysis | GeneralizedAnalysis", *, json: bool, place: Path | None) -> None:
    """Print the main results, or every number, and where the rest is."""
    if json:
        from crosslevel.analysis.folder import record_of

        print(output.dumped(record_of(found, [])))
        return
    print(text(found.summary()))
    if place is not None:
        where = "paper.md has what to write" if (place / "paper.md").exists() else "it ends with what to write"
        print(f"\nThe analysis is in {place.resolve()} (open report.html; {where}).")
