"""The report: models, their data and their checks as one HTML file that needs nothing else."""

import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from crosslevel.diagnostics.diagnosis import Diagnosis
from crosslevel.display import Block, Document
from crosslevel.errors import CrosslevelError, FileError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed import MixedFit
from crosslevel.report.bundle import bundle_of, check_data, zipped
from crosslevel.report.diagnosis_page import diagnosis_document
from crosslevel.report.figures import theme
from crosslevel.report.pictures import page_of
from crosslevel.report.reportable import Reportable
from crosslevel.report.sections.appendix import appendix
from crosslevel.report.sections.checks import Thoroughness, check_thoroughness, checks_section
from crosslevel.report.sections.data import data_section
from crosslevel.report.sections.models import models_section
from crosslevel.report.sections.opening import in_short
from crosslevel.report.sections.results import results_section
from crosslevel.report.sections.subject import Fit, Models, last_of, outcome_of
from crosslevel.table import write_atomically


@theme.without_collection()
def report(
    obj: "Fit | Mapping[str, Fit] | Sequence[Fit] | Diagnosis | Reportable",
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    date: datetime.date | None = None,
    seed: int | None = None,
    data: bool = False,
    checks: Thoroughness = "all",
) -> Path:
    """Write a report: one HTML file with all pictures inside, or a zip file with all it was made of.

    A report on models says in words what was found, then shows the data, the models, their results, checks of the last
    one, and what is needed to do it again. A diagnosis and an analysis have pages of their own.

    Parameters
    ----------
    obj : a fit, or several: by name, or in a list; a diagnosis (`cl.diagnose`); or an analysis (`cl.analyze`).
    path : where to write; a file of that name is replaced. Ending in .html, the page. Ending in .zip, a bundle: the
        page, code that fits the models again, tables, figures, versions and seed.
    title : of the page; the outcome and its clusters if None.
    date : shown in the appendix; today if None.
    seed : shown in the appendix, when random numbers were used to get here.
    data : whether a bundle holds the columns that the models use. Data about people may not be given away like this.
    checks : of the last model: "all" of `cl.diagnose`, which takes some seconds, or the "lights" of `cl.check`.

    Returns
    -------
    path : where it was written.

    Raises
    ------
    CrosslevelError : `obj` is something else, or empty; `data` without a bundle, or of data read in batches.
    FileError : the folder does not exist, the name does not end in .html or .zip, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cl.report(fit, f"{folder}/sleep.html").name
    'sleep.html'
    """
    if isinstance(obj, Reportable):
        _refuse_for_models(obj, date, seed, data=False)
        return obj.report(path, title=title, data=data)
    if isinstance(obj, Diagnosis):
        _refuse_for_models(obj, date, seed, data)
        return write_atomically(html_file(path), page_of(diagnosis_document(obj, title)))
    models = named_models(obj)
    check_thoroughness(checks)
    file = page_file(path, data=data)
    if data:
        check_data(models)
    day = date or datetime.date.today()
    blocks = list(sections(models, day, seed, checks))
    source = page_of(Document(title or title_of(models), blocks))
    if file.suffix.lower() != ".zip":
        return write_atomically(file, source)
    return write_atomically(file, zipped(bundle_of(models, blocks, source, data=data, date=day, seed=seed), file.stem))


def sections(models: Models, date: datetime.date, seed: int | None, checks: Thoroughness = "all") -> Iterator[Block]:
    """The page of models: summary, data, models, results, checks, appendix."""
    yield from in_short(models)
    yield from data_section(models)
    yield from models_section(models)
    yield from results_section(models)
    yield from checks_section(models, checks)
    yield from appendix(models, date, seed)


def title_of(models: Models) -> str:
    """The outcome and its clusters."""
    _, last = last_of(models)
    by = f" by {last.labels.get(last.group) or last.group}" if last.design.factors else ""
    return f"{outcome_of(last)}{by}"


def _refuse_for_models(obj: object, date: object, seed: object, data: bool) -> None:
    """Refuse arguments that belong to reports on models.

    Raises
    ------
    CrosslevelError : one of them is given.
    """
    for name, value in (("date", date), ("seed", seed), ("data", data or None)):
        if value is not None:
            raise CrosslevelError(
                f"`{name}` belongs to reports on models, and this one is on a {type(obj).__name__}, which has its own. "
                "Leave it out."
            )


def named_models(obj: object) -> dict[str, Fit]:
    """The models to report by name; anything else is refused."""
    if isinstance(obj, MixedFit | GeneralizedFit):
        return {"Model": obj}
    found: dict[str, object] = {}
    if isinstance(obj, Mapping):
        found = {str(name): fit for name, fit in obj.items()}
    elif isinstance(obj, Sequence) and not isinstance(obj, str | bytes):
        found = {f"Model {k}": fit for k, fit in enumerate(obj, start=1)}
    else:
        raise CrosslevelError(
            "`report` writes about a fitted model, a list of them, a dict of them by name, or an analysis; "
            f"got {type(obj).__name__}. Fit one with crosslevel.mixed(formula, data)."
        )
    models: dict[str, Fit] = {name: fit for name, fit in found.items() if isinstance(fit, MixedFit | GeneralizedFit)}
    for name, fit in found.items():
        if name not in models:
            raise CrosslevelError(f"`report` writes about fitted models; {name!r} is of type {type(fit).__name__}.")
    if not models:
        raise CrosslevelError("`report` got no model to write about.")
    return models


def page_file(path: str | os.PathLike[str], *, data: bool) -> Path:
    """The path of a page or a bundle in a folder that exists: looked at before the work, not after it."""
    file = Path(path).expanduser()
    if file.suffix.lower() != ".zip":
        if data:
            raise CrosslevelError(
                f"`data` is true, but {str(file)!r} is a page, which holds no data. Name a bundle: {file.stem}.zip."
            )
        return html_file(file)
    return in_folder(file)


def html_file(path: str | os.PathLike[str]) -> Path:
    """The path of a page in a folder that exists: looked at before the work, not after it."""
    file = Path(path).expanduser()
    if file.suffix.lower() not in (".html", ".htm"):
        raise FileError(
            f"`path` must end in .html, because a report is a page for a browser (or in .zip, for a page with all it "
            f"was made of); got {str(file)!r}."
        )
    return in_folder(file)


def in_folder(file: Path) -> Path:
    """The path of a file whose folder exists."""
    if not file.parent.is_dir():
        raise FileError(f"`path` names the folder {str(file.parent)!r}, which does not exist. Make it first.")
    return file
