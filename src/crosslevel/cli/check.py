"""The commands that check a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crosslevel.cli import output
from crosslevel.cli.options import (
    NOT_CONVERGED,
    Encoding,
    Exposure,
    Family,
    File,
    Json,
    MissingCodes,
    Output,
    Quadrature,
    Quiet,
    Sheet,
    Trials,
    outcome_named,
)
from crosslevel.estimators.export import records

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed_fit import MixedFit

Formula = Annotated[str, typer.Argument(help='As in lme4: "y ~ x + (x | group)"', show_default=False)]
Method = Annotated[str | None, typer.Option(help="reml (linear models) or ml", show_default=False)]


def check(
    file: File,
    formula: Formula,
    family: Family = "gaussian",
    quadrature: Quadrature = "auto",
    trials: Trials = None,
    exposure: Exposure = None,
    method: Method = None,
    json: Json = False,
    out: Output = None,
    sheet: Sheet = None,
    encoding: Encoding = None,
    missing_codes: MissingCodes = None,
    quiet: Quiet = False,
) -> None:
    """Fit a model and check it for what goes wrong most often, in words, with what to do."""
    from crosslevel.diagnostics.checks.check import check as check_fit

    outcome = outcome_named(family, quadrature, trials, exposure)
    fit = fitted(
        file,
        formula,
        method=method,
        sheet=sheet,
        encoding=encoding,
        missing_codes=missing_codes,
        quiet=quiet,
        **outcome,
    )
    found = check_fit(fit)
    result = output.Result(
        document=found.document, frame=lambda: found.frame, record=lambda: {"lights": records(found.frame)}
    )
    output.deliver(result, json=json, path=out)
    if not fit.converged:
        raise typer.Exit(NOT_CONVERGED)


def diagnose(
    file: File,
    formula: Formula,
    family: Family = "gaussian",
    quadrature: Quadrature = "auto",
    trials: Trials = None,
    exposure: Exposure = None,
    method: Method = None,
    draws: Annotated[int, typer.Option(help="Outcomes drawn from the model for each check that needs them")] = 200,
    seed: Annotated[int, typer.Option(help="Of these draws")] = 1,
    json: Json = False,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file with every check and its figure.")
    ] = None,
    sheet: Sheet = None,
    encoding: Encoding = None,
    missing_codes: MissingCodes = None,
    quiet: Quiet = False,
) -> None:
    """Fit a model and check it in every way: residuals, random effects, influence, contributions of clusters."""
    from crosslevel.diagnostics.diagnosis import diagnose as diagnose_fit
    from crosslevel.report.page import html_file, report

    if out is not None:
        html_file(out)
    outcome = outcome_named(family, quadrature, trials, exposure)
    fit = fitted(
        file,
        formula,
        method=method,
        sheet=sheet,
        encoding=encoding,
        missing_codes=missing_codes,
        quiet=quiet,
        **outcome,
    )
    found = diagnose_fit(fit, n=draws, seed=seed, progress=not quiet)
    result = output.Result(
        document=found.document, frame=lambda: found.frame, record=lambda: {"checks": records(found.frame)}
    )
    output.deliver(result, json=json, path=None)
    if out is not None:
        with output.progress("Drawing the report", quiet):
            written = report(found, out)
        output.said(written)
    if not fit.converged:
        raise typer.Exit(NOT_CONVERGED)


def fitted(
    file: Path,
    formula: str,
    *,
    sheet: str | None,
    encoding: str | None,
    missing_codes: list[str] | None,
    quiet: bool,
    **arguments: Any,
) -> "MixedFit | GeneralizedFit":
    """Read the data and fit the model, with messages meanwhile."""
    from crosslevel.estimators.mixed import mixed

    data = output.read_file(file, sheet=sheet, encoding=encoding, missing_codes=missing_codes, quiet=quiet)
    with output.progress("Fitting", quiet):
        fit: MixedFit | GeneralizedFit = mixed(formula, data, **arguments)
        return fit
