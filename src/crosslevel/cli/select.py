"""The command that searches for a random-effects structure."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslevel.cli import output
from crosslevel.estimators.export import records

if TYPE_CHECKING:
    from crosslevel.selection.record import Selection


def run_select(
    file: Path,
    formula: str,
    *,
    json: bool,
    path: Path | None,
    sheet: str | None,
    encoding: str | None,
    missing_codes: list[str] | None,
    quiet: bool,
    **given: Any,
) -> bool:
    """Search, print what was found, and write it; whether the chosen model converged.

    Parameters
    ----------
    file, sheet, encoding, missing_codes : the data.
    formula : the maximal model.
    json, path : how the result is printed, and where it is written.
    quiet : no messages meanwhile.
    **given : other arguments of `select`.
    """
    from crosslevel.selection.select import select

    data = output.read_file(file, sheet=sheet, encoding=encoding, missing_codes=missing_codes, quiet=quiet)
    found = select(formula, data, progress=not quiet, **given)
    output.deliver(delivered(found), json=json, path=path)
    return found.fit.converged


def delivered(found: "Selection") -> output.Result:
    """A search to deliver."""
    return output.Result(document=found.document, frame=lambda: found.candidates, record=lambda: recorded(found))


def recorded(found: "Selection") -> dict[str, Any]:
    """Every number of a search as plain values."""
    return {
        "formula": found.formula,
        "maximal": found.maximal.formula,
        "structure": [list(block) for block in found.structure.blocks],
        "criterion": found.criterion.name,
        "log": found.log,
        "notes": list(found.notes),
        "candidates": records(found.candidates),
        "sensitivity": records(found.sensitivity),
        "fit": found.fit.to_dict(),
    }


def names_in(text: str | None) -> list[str] | None:
    """Names separated by commas; None if there are none."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
