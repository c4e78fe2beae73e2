"""The command that writes a model in the syntax of another package."""

from pathlib import Path
from typing import Annotated

import typer

from crosslevel.cli import output
from crosslevel.cli.options import Encoding, Exposure, Family, File, Json, MissingCodes, Quiet, Sheet, Trials
from crosslevel.table import write_atomically


def translate(
    file: File,
    formula: Annotated[
        str, typer.Argument(help='"y ~ x + (x | group)", or a regression without random term', show_default=False)
    ],
    to: Annotated[
        str,
        typer.Option("--to", help="lme4, nlme, glmmtmb (R), stata, spss, sas, hlm, mplus or statsmodels"),
    ],
    family: Family = "gaussian",
    trials: Trials = None,
    exposure: Exposure = None,
    method: Annotated[str | None, typer.Option(help="reml (linear models) or ml", show_default=False)] = None,
    weights: Annotated[
        str | None, typer.Option(help="precision:COLUMN, frequency:COLUMN or sampling:COLUMN", show_default=False)
    ] = None,
    cluster_weights: Annotated[
        list[str] | None, typer.Option(help="GROUP:COLUMN, with sampling weights.", show_default=False)
    ] = None,
    json: Json = False,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file, as a do-file.")] = None,
    sheet: Sheet = None,
    encoding: Encoding = None,
    missing_codes: MissingCodes = None,
    quiet: Quiet = False,
) -> None:
    """Write a model in the syntax of another package; the file says which columns are categories."""
    from crosslevel.cli.options import family_named
    from crosslevel.cli.weights import weights_of
    from crosslevel.estimators.translation.translate import translate as translated

    data = output.read_file(file, sheet=sheet, encoding=encoding, missing_codes=missing_codes, quiet=quiet)
    given = {
        "family": None if family == "gaussian" else family_named(family), "trials": trials, "exposure": exposure,
        "method": method, "weights": weights_of(weights, cluster_weights or (), None),
    }  # fmt: skip
    commands = translated(formula, to, data=data, **{name: value for name, value in given.items() if value is not None})
    if out is not None:
        write_atomically(out, commands + "\n", argument="--output")
    print(output.dumped({"to": to.lower(), "commands": commands.splitlines()}) if json else commands)
    if out is not None:
        output.said(out)
