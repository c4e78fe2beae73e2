"""`crosslevel`, with the commands that its help lists: what the library does, from files.

Exit status: 0 done; 1 a fit did not converge; 2 wrong input, with one message on standard error.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from crosslevel.cli import output
from crosslevel.cli.check import check, diagnose
from crosslevel.cli.demo import run_demo
from crosslevel.cli.options import (
    NOT_CONVERGED,
    Ddf,
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
from crosslevel.cli.report import report
from crosslevel.cli.studies import power, simulate
from crosslevel.cli.table import table
from crosslevel.cli.translate import translate
from crosslevel.errors import CrosslevelError

WRONG_INPUT = 2
INTERRUPTED = 130

app = typer.Typer(
    name="crosslevel",
    help="Multilevel models for survey data: describe the clusters, fit, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@contextmanager
def messages() -> Iterator[None]:
    """Show warnings of the library as one line each."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print(f"Warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        from crosslevel import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Multilevel models for survey data: describe the clusters, fit, report."""


@app.command(
    epilog="Example: crosslevel describe survey.sav --group country --variables income,trust",
    short_help="Clusters and variables: sizes, variance within and between, ICC, missing values.",
)
def describe(
    file: File,
    group: Annotated[str, typer.Option("--group", "-g", help="Column that identifies the clusters.")],
    variables: Annotated[str | None, typer.Option(help="Columns, separated by commas; all if not given.")] = None,
    json: Json = False,
    out: Output = None,
    sheet: Sheet = None,
    encoding: Encoding = None,
    missing_codes: MissingCodes = None,
    quiet: Quiet = False,
) -> None:
    """Describe the clusters and, by variable, what varies within and between them."""
    from crosslevel.diagnostics.describe import describe as describe_frame

    names = None if variables is None else [name.strip() for name in variables.split(",")]
    data = output.read_file(file, sheet=sheet, encoding=encoding, missing_codes=missing_codes, quiet=quiet)
    found = describe_frame(data, group, names)
    output.deliver(output.description(found), json=json, path=out)


@app.command(
    epilog='Example: crosslevel fit survey.sav "trust ~ income * gdp + (income | country)" --output trust.html',
    short_help="Fit a linear or generalized linear mixed model and print its summary.",
)
def fit(
    file: File,
    formula: Annotated[str, typer.Argument(help='As in lme4: "y ~ x + (x | group)"', show_default=False)],
    family: Family = "gaussian",
    quadrature: Quadrature = "auto",
    method: Annotated[
        str | None, typer.Option(help="reml (default) or ml; other families than gaussian: ml", show_default=False)
    ] = None,
    ddf: Ddf = "auto",
    missing: Annotated[str, typer.Option(help="Rows with missing values: drop or raise")] = "drop",
    weights: Annotated[
        str | None, typer.Option(help="precision:COLUMN, frequency:COLUMN or sampling:COLUMN", show_default=False)
    ] = None,
    cluster_weights: Annotated[
        list[str] | None, typer.Option(help="GROUP:COLUMN, with sampling weights.", show_default=False)
    ] = None,
    scaling: Annotated[
        str | None, typer.Option(help="Of sampling weights in clusters: size, effective or none", show_default=False)
    ] = None,
    offset: Annotated[
        str | None, typer.Option(help="Column of a known part of the outcome or linear predictor", show_default=False)
    ] = None,
    trials: Trials = None,
    exposure: Exposure = None,
    in_batches: Annotated[
        bool, typer.Option("--in-batches", help="Read a parquet or csv file in batches: larger than memory.")
    ] = False,
    level: Annotated[float, typer.Option(help="Confidence level")] = 0.95,
    json: Json = False,
    out: Output = None,
    sheet: Sheet = None,
    encoding: Encoding = None,
    missing_codes: MissingCodes = None,
    quiet: Quiet = False,
) -> None:
    """Fit a linear or generalized linear mixed model."""
    from crosslevel.cli.weights import weights_of
    from crosslevel.estimators.mixed import mixed

    arguments: dict[str, Any] = {
        "method": method, "ddf": ddf, "missing": missing, "offset": offset,
        "weights": weights_of(weights, cluster_weights or (), scaling),
        **outcome_named(family, quadrature, trials, exposure),
    }  # fmt: skip
    if in_batches and missing_codes:
        raise CrosslevelError("`--missing-codes` is not for `--in-batches`: make the codes missing in the file first.")
    data = (
        file
        if in_batches
        else output.read_file(file, sheet=sheet, encoding=encoding, missing_codes=missing_codes, quiet=quiet)
    )
    with output.progress("Fitting", quiet):
        result = mixed(formula, data, **arguments)
    output.deliver(output.fit(result, level=level), json=json, path=out)
    if not result.converged:
        raise typer.Exit(NOT_CONVERGED)


app.command(
    epilog='Example: crosslevel check survey.sav "trust ~ income * gdp + (income | country)"',
    short_help="Traffic lights in words: convergence, clusters, slopes, collinearity, and what to do.",
)(check)

app.command(
    epilog='Example: crosslevel diagnose survey.sav "trust ~ income * gdp + (income | country)" -o checks.html',
    short_help="Every check of a model: residuals, random effects, influence, contributions of clusters.",
)(diagnose)

app.command(
    epilog='Example: crosslevel report survey.sav "y ~ 1 + (1 | country)" "y ~ x + (x | country)" -o trust.html',
    short_help="Fit one or several models and write one HTML report, or a bundle with everything in it.",
)(report)


@app.command(
    epilog='Example: crosslevel select survey.sav "trust ~ income * gdp + age + (income + age | country)"',
    short_help="Search for the random-effects structure that the data support.",
)
def select(
    file: File,
    formula: Annotated[str, typer.Argument(help="The maximal model, as in lme4", show_default=False)],
    keep: Annotated[
        str | None, typer.Option(help="Slopes that are never dropped, separated by commas", show_default=False)
    ] = None,
    criterion: Annotated[
        str, typer.Option(help="bic, bic-clusters, aic, caic, lrt, cv, focus or focus-bootstrap")
    ] = "bic",
    context: Annotated[
        str | None, typer.Option(help="Context effects, separated by commas; all if not given", show_default=False)
    ] = None,
    correlations: Annotated[
        str | None, typer.Option(help="exhaustive, stepwise, target, full or none", show_default=False)
    ] = None,
    family: Family = "gaussian",
    quadrature: Quadrature = "auto",
    trials: Trials = None,
    exposure: Exposure = None,
    method: Annotated[str | None, typer.Option(help="reml (linear models) or ml", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Of criteria that draw random numbers", show_default=False)] = None,
    json: Json = False,
    out: Output = None,
    sheet: Sheet = None,
    encoding: Encoding = None,
    missing_codes: MissingCodes = None,
    quiet: Quiet = False,
) -> None:
    """Drop random slopes, then correlations, as the criterion says; print the path and the chosen model's formula."""
    from crosslevel.cli.select import names_in, run_select

    converged = run_select(
        file, formula, keep=names_in(keep), criterion=criterion, context=names_in(context), correlations=correlations,
        method=method, seed=seed, json=json, path=out, sheet=sheet, encoding=encoding, missing_codes=missing_codes,
        quiet=quiet, **outcome_named(family, quadrature, trials, exposure),
    )  # fmt: skip
    if not converged:
        raise typer.Exit(NOT_CONVERGED)


@app.command(
    epilog='Example: crosslevel compare survey.sav "trust ~ income + gdp + (income | country)" --ddf auto,normal',
    short_help="Estimators side by side, with the widths of their intervals.",
)
def compare(
    file: File,
    formulas: Annotated[
        list[str],
        typer.Argument(
            help="Mixed models where there is a random term, else regressions with CR2 standard errors. Beside a "
            "single mixed model stands the regression of its fixed part.",
            show_default=False,
        ),
    ],
    family: Family = "gaussian",
    quadrature: Quadrature = "auto",
    trials: Trials = None,
    exposure: Exposure = None,
    ddf: Annotated[str, typer.Option(help="Degrees of freedom of mixed models, separated by commas")] = "auto",
    cluster: Annotated[
        str | None, typer.Option(help="Clusters of regressions; those of the first mixed model", show_default=False)
    ] = None,
    baseline: Annotated[int, typer.Option(help="Widths are relative to this estimator, counted from 1")] = 1,
    terms: Annotated[
        str | None, typer.Option(help="Coefficients, separated by commas; all if not given", show_default=False)
    ] = None,
    level: Annotated[float, typer.Option(help="Confidence level")] = 0.95,
    json: Json = False,
    out: Output = None,
    sheet: Sheet = None,
    encoding: Encoding = None,
    missing_codes: MissingCodes = None,
    quiet: Quiet = False,
) -> None:
    """Fit several models, or one by several methods, and compare coefficients, standard errors and intervals."""
    from crosslevel.cli.compare import run_compare
    from crosslevel.cli.select import names_in

    converged = run_compare(
        file, formulas, ddf=names_in(ddf) or ["auto"], cluster=cluster, baseline=baseline, terms=names_in(terms),
        level=level, outcome=outcome_named(family, quadrature, trials, exposure), json=json, path=out, sheet=sheet,
        encoding=encoding, missing_codes=missing_codes, quiet=quiet,
    )  # fmt: skip
    if not converged:
        raise typer.Exit(NOT_CONVERGED)


@app.command(
    epilog='Example: crosslevel analyze survey.sav "trust ~ income * gdp + age" --context gdp --group country -o trust',
    short_help="Context effects from data to text: models, intervals, checks, and a folder with a report.",
)
def analyze(
    file: File,
    formula: Annotated[str, typer.Argument(help='All predictors, as in "y ~ x * z + w"', show_default=False)],
    context: Annotated[
        str, typer.Option("--context", "-c", help="Cluster-level variables under study, separated by commas")
    ],
    group: Annotated[
        str | None,
        typer.Option(
            "--group", "-g", help="Column of the clusters, if the formula has no (x | group)", show_default=False
        ),
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="Random slopes that are never dropped, separated by commas", show_default=False)
    ] = None,
    criterion: Annotated[str, typer.Option(help="Of the search; see crosslevel select")] = "bic",
    family: Family = "gaussian",
    quadrature: Quadrature = "auto",
    trials: Trials = None,
    exposure: Exposure = None,
    boot: Annotated[int, typer.Option(help="Replicates of the cluster bootstrap of each model")] = 2000,
    seed: Annotated[int, typer.Option(help="Of all random numbers")] = 1,
    level: Annotated[float, typer.Option(help="Confidence level")] = 0.95,
    missing: Annotated[str, typer.Option(help="Rows with missing values: drop or raise")] = "drop",
    json: Json = False,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write everything into.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier analysis in that folder.")] = False,
    sheet: Sheet = None,
    encoding: Encoding = None,
    missing_codes: MissingCodes = None,
    quiet: Quiet = False,
) -> None:
    """Analyse context effects: describe, check, select a model, compare estimators, and say what to write."""
    from crosslevel.cli.analyze import run_analyze
    from crosslevel.cli.select import names_in

    converged = run_analyze(
        file, formula, context=names_in(context) or [], group=group, keep=names_in(keep), criterion=criterion,
        n_boot=boot, seed=seed, level=level, missing=missing, json=json, folder=out, overwrite=overwrite, sheet=sheet,
        encoding=encoding, missing_codes=missing_codes, quiet=quiet,
        **outcome_named(family, quadrature, trials, exposure),
    )  # fmt: skip
    if not converged:
        raise typer.Exit(NOT_CONVERGED)


app.command(
    epilog='Example: crosslevel table survey.sav "trust ~ income + (1 | country)" "trust ~ income" -o trust.docx',
    short_help="Models side by side as a table for publication: Word, Excel, LaTeX, HTML, Markdown, text.",
)(table)

app.command(
    epilog='Example: crosslevel translate survey.sav "trust ~ income + (income | country)" --to stata',
    short_help="The same model in the syntax of R, Stata, SPSS, SAS, HLM, Mplus or statsmodels.",
)(translate)

app.command(
    epilog="Example: crosslevel simulate study.toml --reps 1000 --jobs 2 --folder study --resume --out results.csv",
    short_help="Run a Monte Carlo study: bias, precision, coverage and power of estimators.",
)(simulate)

app.command(
    epilog='Example: crosslevel power --formula "y ~ x + z + (1 | country)" --effects z=.2 --icc .1 --target z '
    "--clusters 10,15,20,30,40 --size 1500",
    short_help="Plan a study: power, the smallest number of clusters, the cheapest design.",
)(power)


@app.command(
    epilog="Example: crosslevel demo --output hsb.html",
    short_help="The whole analysis of the High School & Beyond data, and its report.",
)
def demo(
    out: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("crosslevel-demo.html"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Analyse what school sector and intake do to mathematics (High School & Beyond, bundled), and write a report."""
    if not run_demo(out, json=json, quiet=quiet):
        raise typer.Exit(NOT_CONVERGED)


def main() -> None:
    """Run the command; an error of the library becomes one message and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # Greek letters and rules, also where a redirect has another encoding
    with messages():
        try:
            app()
        except CrosslevelError as error:
            print(f"Error: {error}", file=sys.stderr)
            raise SystemExit(WRONG_INPUT) from None
        except SystemExit as end:
            if end.code == INTERRUPTED and not isinstance(end, output.Told):
                print("Interrupted; nothing was written.", file=sys.stderr)
            raise
        except BrokenPipeError:
            sys.stderr.close()
            raise SystemExit(0) from None
