"""The command that writes a report on models."""

from pathlib import Path
from typing import Annotated, Any

import typer

from crosslevel.cli import output
from crosslevel.cli.options import (
    NOT_CONVERGED,
    Ddf,
    Encoding,
    Exposure,
    Family,
    File,
    Json,
    MissingCodes,
    Quadrature,
    Quiet,
    Sheet,
    Trials,
    outcome_named,
)


def report(
    file: File,
    formulas: Annotated[list[str], typer.Argument(help="One or several formulas", show_default=False)],
    out: Annotated[
        Path, typer.Option("--output", "-o", help="HTML file to write, or .zip: page, code, tables, figures, versions.")
    ] = Path("report.html"),
    data_too: Annotated[
        bool, typer.Option("--with-data", help="Put the columns that the models use into the .zip.")
    ] = False,
    family: Family = "gaussian",
    quadrature: Quadrature = "auto",
    trials: Trials = None,
    exposure: Exposure = None,
    method: Annotated[
        str | None, typer.Option(help="reml (default) or ml; other families than gaussian: ml", show_default=False)
    ] = None,
    ddf: Ddf = "auto",
    missing: Annotated[str, typer.Option(help="Rows with missing values: drop or raise")] = "drop",
    title: Annotated[str | None, typer.Option(help="Title of the page.", show_default=False)] = None,
    json: Json = False,
    sheet: Sheet = None,
    encoding: Encoding = None,
    missing_codes: MissingCodes = None,
    quiet: Quiet = False,
) -> None:
    """Fit one or several models and write one self-contained HTML report."""
    from crosslevel.estimators.mixed import mixed
    from crosslevel.report.page import report as write_report

    outcome = outcome_named(family, quadrature, trials, exposure)
    arguments: dict[str, Any] = {"method": method, "ddf": ddf, "missing": missing, **outcome}
    data = output.read_file(file, sheet=sheet, encoding=encoding, missing_codes=missing_codes, quiet=quiet)
    fits = []
    for formula in formulas:
        with output.progress(f"Fitting {formula}", quiet):
            fits.append(mixed(formula, data, **arguments))
    with output.progress("Drawing the report", quiet):
        written = write_report(fits, out, title=title, data=data_too)
    output.written(written, [result.to_dict() for result in fits], json=json)
    if not all(result.converged for result in fits):
        raise typer.Exit(NOT_CONVERGED)
