"""The commands about simulated studies: `crosslevel simulate | power`."""

from pathlib import Path
from typing import Annotated

import typer

from crosslevel.cli.options import NOT_CONVERGED, Json, Quiet


def simulate(
    file: Annotated[Path, typer.Argument(help="The study, a TOML file", show_default=False)],
    reps: Annotated[int, typer.Option(help="Replications of each condition")] = 1000,
    seed: Annotated[int, typer.Option(help="Of all random numbers")] = 1,
    jobs: Annotated[int, typer.Option(help="Worker processes; -1 for one on each core")] = 1,
    folder: Annotated[
        Path | None, typer.Option(help="Folder for finished batches, from which it can be resumed", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in the folder.")] = False,
    batch: Annotated[int | None, typer.Option(help="Replications in a batch", show_default=False)] = None,
    measures: Annotated[
        str | None, typer.Option(help="To print, separated by commas; all if not given", show_default=False)
    ] = None,
    json: Json = False,
    out: Annotated[
        Path | None,
        typer.Option("--output", "--out", "-o", help="Write to a .csv, .parquet, .html, .txt or .json file."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Simulate data of a process many times, apply estimators, and measure how they do."""
    from crosslevel.cli.select import names_in
    from crosslevel.cli.simulate import run_simulate

    fitted = run_simulate(
        file, reps=reps, seed=seed, n_jobs=jobs, folder=folder, resume=resume, batch=batch, measures=names_in(measures),
        json=json, path=out, quiet=quiet,
    )  # fmt: skip
    if not fitted:
        raise typer.Exit(NOT_CONVERGED)


def power(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Data to fit the formula to, to assume its estimates; or the options as a .toml or .json file",
            show_default=False,
        ),
    ] = None,
    formula: Annotated[str | None, typer.Option("--formula", "-f", help="The model", show_default=False)] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Coefficients, or variances as in sd(x|country), separated by commas; those in --effects if not given",
            show_default=False,
        ),
    ] = None,
    effects: Annotated[
        str | None, typer.Option(help="Coefficients, as in z=.2,x:z=.1; several values: z=.1/.2/.3", show_default=False)
    ] = None,
    clusters: Annotated[str | None, typer.Option(help="How many, as in 10,20,30", show_default=False)] = None,
    size: Annotated[
        str | None, typer.Option(help="Rows in each cluster: 100, or 50,100,200, or 600-2000", show_default=False)
    ] = None,
    icc: Annotated[float | None, typer.Option(help="Intraclass correlation, given the fixed part")] = None,
    sd: Annotated[
        str | None, typer.Option(help="Standard deviations of random effects, as in x=.2", show_default=False)
    ] = None,
    sigma: Annotated[float | None, typer.Option(help="Residual standard deviation")] = None,
    correlation: Annotated[float | None, typer.Option(help="Among the random effects")] = None,
    context: Annotated[
        str | None, typer.Option(help="Variables of clusters, separated by commas", show_default=False)
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="0/1 variables of clusters: treated, or treated=.3", show_default=False)
    ] = None,
    between: Annotated[
        str | None,
        typer.Option(help="Share of predictors' variance between clusters: .15, or x=.15", show_default=False),
    ] = None,
    cv: Annotated[float | None, typer.Option(help="Coefficient of variation of the sizes")] = None,
    method: Annotated[str | None, typer.Option(help="reml or ml")] = None,
    ddf: Annotated[str | None, typer.Option(help="Degrees of freedom, as of crosslevel fit")] = None,
    level: Annotated[float | None, typer.Option(help="Confidence level: 0.95 is a test at 5 %")] = None,
    reps: Annotated[int | None, typer.Option(help="Replications of each design; 1000 if not given")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all random numbers; 1 if not given")] = None,
    jobs: Annotated[int | None, typer.Option(help="Worker processes; -1 for one on each core")] = None,
    wanted: Annotated[float, typer.Option("--power", help="Power that is wanted")] = 0.8,
    by: Annotated[str, typer.Option(help="What is looked for: clusters, size or effect")] = "clusters",
    cost_cluster: Annotated[float | None, typer.Option(help="Of a cluster, for the best design")] = None,
    cost_person: Annotated[float | None, typer.Option(help="Of a row in a cluster")] = None,
    budget: Annotated[float | None, typer.Option(help="The most power for it; else --power at the lowest cost")] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw the power curve into a .png, .svg or .pdf file.", show_default=False)
    ] = None,
    json: Json = False,
    out: Annotated[
        Path | None, typer.Option("--output", "--out", "-o", help="Write to a .html, .txt, .csv or .json file.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Simulate the power of planned studies of a two-level model."""
    from crosslevel.cli import power as plan
    from crosslevel.cli.select import names_in

    tested = plan.run_power(
        file, model=formula, target=names_in(target), effects=plan.numbers_in(effects, "--effects"),
        clusters=plan.counts_in(clusters, "--clusters"), size=plan.sizes_in(size), icc=icc,
        sd=plan.numbers_in(sd, "--sd"), sigma=sigma, correlation=correlation, context=names_in(context),
        arms=plan.arms_in(arms), between=plan.named_or_number(between, "--between"), cv=cv, method=method, ddf=ddf,
        level=level, reps=reps, seed=seed, n_jobs=jobs, wanted=wanted, by=by,
        costs={"cluster": cost_cluster, "person": cost_person, "budget": budget}, json=json, path=out, figure=figure,
        quiet=quiet,
    )  # fmt: skip
    if not tested:
        raise typer.Exit(NOT_CONVERGED)
