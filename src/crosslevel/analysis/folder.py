"""An analysis as a folder: tables, figures, log, text and report, written whole or not at all."""

import json
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslevel.analysis.page import call_of, document_with, expression_of
from crosslevel.analysis.pictures import drawings
from crosslevel.display import text
from crosslevel.errors import FileError
from crosslevel.estimators.export import plain
from crosslevel.families import Family
from crosslevel.report.bundle import DATA, frame_files, requirements, zipped
from crosslevel.report.figures import theme
from crosslevel.report.pictures import page_of
from crosslevel.report.sections.appendix import versions
from crosslevel.table import write_atomically

if TYPE_CHECKING:
    from crosslevel.analysis.context_analysis import ContextAnalysis

RECORD = "analysis.json"
"""The file that tells a folder of an analysis from others, and lists what was written."""


def check_folder(folder: str | os.PathLike[str], *, overwrite: bool, argument: str = "folder") -> Path:
    """The folder, if an analysis can be written there: looked at before the work, not after it.

    Parameters
    ----------
    folder : where to write.
    overwrite : whether an earlier analysis may be replaced.
    argument : name of the argument it came in, for messages.

    Raises
    ------
    FileError : its parent does not exist, it is a file, or it holds something that must stay.
    """
    target = Path(folder).expanduser()
    if not target.parent.is_dir():
        raise FileError(f"`{argument}` is to be made in {str(target.parent)!r}, which does not exist. Make it first.")
    if target.exists() and not target.is_dir():
        raise FileError(f"`{argument}` is {str(target)!r}, which is a file. Give the name of a folder.")
    if not os.access(target.parent, os.W_OK):
        raise FileError(f"`{argument}` is to be made in {str(target.parent)!r}, where you may not write. Name another.")
    if not target.is_dir() or not any(target.iterdir()):
        return target
    if not overwrite:
        again = "overwrite=True" if argument == "folder" else "--overwrite"
        count = len(list(target.iterdir()))
        held = f"{count} {'entry' if count == 1 else 'entries'}"
        raise FileError(
            f"`{argument}` is {str(target)!r}, which holds {held} already. Name another one, or "
            f"replace an earlier analysis with {again}."
        )
    own = {RECORD, *_listed(target / RECORD)}
    others = sorted(str(file.relative_to(target)) for file in target.rglob("*") if file.is_file())
    strange = [name for name in others if name not in own]
    if strange:
        raise FileError(
            f"`{argument}` is {str(target)!r}, which holds files that no analysis wrote, such as {strange[0]!r}: they "
            "would be lost. Move them, or name another folder."
        )
    return target


def write_folder(analysis: "ContextAnalysis", folder: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Write everything into a folder, which has its name only when all files are there; see `ContextAnalysis.save`."""
    target = check_folder(folder, overwrite=overwrite)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        temporary.mkdir()
        _fill(temporary, analysis)
        _take_place(temporary, target)
    except OSError as error:
        raise FileError(
            f"`folder`: cannot write {str(target)!r}: {error.strerror or error}. Free some room, or choose another "
            "place."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def bundled(analysis: "ContextAnalysis", name: str, title: str | None, *, data: bool) -> bytes:
    """Everything as a zip archive, with code that does it again, versions, and the data if they are asked for."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _fill(folder, analysis, title)
        files: dict[str, str | bytes] = {
            file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
        }
    files |= dict(frame_files(analysis.question.frame)) if data else {}
    files["analysis.py"] = script(analysis, data=data)
    files["requirements.txt"] = requirements()
    return zipped(files, name)


def script(analysis: "ContextAnalysis", *, data: bool) -> str:
    """Python that does the analysis again and prints it."""
    line = (
        f'data = cl.read(Path(__file__).parent / "{DATA}")'
        if data
        else "data = ...  # cl.read of the file that was analysed"
    )
    head = "from pathlib import Path\n\n" if data else ""
    return f"{head}import crosslevel as cl\n\n{line}\nfound = {expression_of(analysis)}\nprint(found)\n"


@theme.without_collection()
def _fill(folder: Path, analysis: "ContextAnalysis", title: str | None = None) -> None:
    """Write all files into a new folder."""
    drawn = list(drawings(analysis))
    for part in ("tables", "figures"):
        (folder / part).mkdir()
    for name, frame in analysis.tables():
        write_atomically(folder / "tables" / f"{name}.csv", frame.to_csv(), argument="folder")
    for drawing in drawn:
        write_atomically(folder / "figures" / f"{drawing.name}.svg", drawing.svg, argument="folder")
        write_atomically(folder / "figures" / f"{drawing.name}.png", drawing.png, argument="folder")
    document = document_with(analysis, drawn, title)
    write_atomically(folder / "report.html", page_of(document), argument="folder")
    write_atomically(folder / "log.txt", text(document) + "\n", argument="folder")
    for name, words in analysis.texts():
        write_atomically(folder / name, words, argument="folder")
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    record = json.dumps(record_of(analysis, files), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / RECORD, record + "\n", argument="folder")


def _take_place(temporary: Path, target: Path) -> None:
    """Give a folder its name; what was there is removed only when the new one stands."""
    if not target.exists():
        temporary.rename(target)
        return
    old = target.with_name(f"{temporary.name}-old")
    target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _listed(record: Path) -> list[str]:
    """The files that an earlier analysis wrote; none if the record cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return [str(name) for name in json.loads(record.read_text(encoding="utf-8"))["files"]]
    return []


def record_of(analysis: "ContextAnalysis", files: list[str]) -> dict[str, Any]:
    """What is needed to do it again: call, seed, formulas, versions; and what was written."""
    return {
        "call": call_of(analysis),
        "given": {
            name: value.description if isinstance(value, Family) else value for name, value in analysis.given.items()
        },
        "rows_read": analysis.question.levels.rows_read,
        "rows": analysis.models["Selected"].nobs,
        "clusters": analysis.question.n_clusters,
        "formulas": {name.lower(): fit.formula for name, fit in analysis.models.items()},
        "converged": {name.lower(): fit.converged for name, fit in analysis.models.items()},
        **analysis.facts,
        "context_effects": [
            {"term": str(term), **{str(name): plain(value) for name, value in row.items()}}
            for term, row in analysis.effects.iterrows()
        ],
        "warnings": list(analysis.warned),
        "versions": versions(),
        "files": files,
    }
