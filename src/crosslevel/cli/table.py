"""The command that writes models side by side as a table for publication."""

import sys
from pathlib import Path
from typing import Annotated, Any, cast

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
    Quadrature,
    Quiet,
    Sheet,
    Trials,
    outcome_named,
)
from crosslevel.errors import CrosslevelError

WRITTEN = ("text", "markdown", "html", "latex")
"""Formats that can be printed."""


def table(
    file: File,
    formulas: Annotated[
        list[str],
        typer.Argument(
            help="Mixed models where there is a random term, else regressions with CR2 standard errors.",
            show_default=False,
        ),
    ],
    family: Family = "gaussian",
    quadrature: Quadrature = "auto",
    trials: Trials = None,
    exposure: Exposure = None,
    cluster: Annotated[
        str | None, typer.Option(help="Clusters of regressions; those of the first mixed model", show_default=False)
    ] = None,
    names: Annotated[
        str | None, typer.Option(help="Headings of the models, separated by commas", show_default=False)
    ] = None,
    show: Annotated[str, typer.Option(help="se, interval, t, p, several separated by commas, or none")] = "se",
    beside: Annotated[bool, typer.Option("--beside", help="Show it beside estimates instead of below.")] = False,
    stars: Annotated[bool, typer.Option("--stars", help="Stars for p < .05, .01 and .001.")] = False,
    reference: Annotated[bool, typer.Option("--reference", help="A line for each reference category.")] = False,
    exponentiate: Annotated[bool, typer.Option("--exponentiate", help="Ratios instead of coefficients.")] = False,
    rename: Annotated[
        list[str] | None,
        typer.Option("--label", help='LABEL of a name: --label "ses=Social status"', show_default=False),
    ] = None,
    digits: Annotated[int | None, typer.Option(help="Decimals of estimates", show_default=False)] = None,
    title: Annotated[str, typer.Option(help="Above the table.")] = "",
    level: Annotated[float, typer.Option(help="Confidence level")] = 0.95,
    format: Annotated[str, typer.Option(help="Printed as text, markdown, html or latex")] = "text",
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to a .docx, .xlsx, .tex, .html, .md or .txt file.")
    ] = None,
    json: Json = False,
    sheet: Sheet = None,
    encoding: Encoding = None,
    missing_codes: MissingCodes = None,
    quiet: Quiet = False,
) -> None:
    """Fit one or several models and write them side by side as a table for publication."""
    from crosslevel.cli.compare import fits_of
    from crosslevel.estimators.export import records
    from crosslevel.report.tables.formats import format_of
    from crosslevel.report.tables.record import PublicationTable
    from crosslevel.report.tables.table import table as publication_table

    if format not in WRITTEN:
        raise CrosslevelError(f"`--format` is one of {', '.join(WRITTEN)}; got {format!r}. Write files by --output.")
    if out is not None:
        format_of(out)
    data = output.read_file(file, sheet=sheet, encoding=encoding, missing_codes=missing_codes, quiet=quiet)
    with output.progress("Fitting", quiet):
        fits = fits_of(formulas, data, cluster, outcome_named(family, quadrature, trials, exposure))
        below = None if show == "none" else cast(Any, _listed(show))
        made = publication_table(
            fits, names=_listed(names), show=below, beside=beside, stars=stars, reference=reference, digits=digits,
            exponentiate=exponentiate, terms=_labels(rename), title=title, level=level,
        )  # fmt: skip
    assert isinstance(made, PublicationTable)
    if out is not None:
        made.save(out)
        print(f"Written to {out}", file=sys.stderr)
    numbers = {"table": records(made.frame), "notes": list(made.notes)}
    print(output.dumped(numbers) if json else made.to(cast(Any, format)))
    if not all(fit.converged for fit in fits):
        raise typer.Exit(NOT_CONVERGED)


def _listed(text: str | None) -> list[str] | None:
    """What commas separate."""
    return None if text is None else [part.strip() for part in text.split(",")]


def _labels(given: list[str] | None) -> dict[str, str] | None:
    """Labels by name, from NAME=LABEL."""
    if not given:
        return None
    parts = [part.partition("=") for part in given]
    wrong = [name for name, mark, _ in parts if not mark]
    if wrong:
        raise CrosslevelError(f"`--label` is written NAME=LABEL, as in 'ses=Social status'; got {wrong[0]!r}.")
    return {name.strip(): label.strip() for name, _, label in parts}
