"""Options and exit statuses that commands share."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crosslevel.errors import CrosslevelError

if TYPE_CHECKING:
    from crosslevel.families import Family as FamilyOfOutcomes

NOT_CONVERGED = 1

File = Annotated[
    Path, typer.Argument(help="csv, tsv, parquet, feather, dta, sav, sas7bdat or xlsx", show_default=False)
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write to a .html, .txt, .csv or .json file.")]
Sheet = Annotated[str | None, typer.Option(help="Sheet of an xlsx file.", show_default=False)]
Ddf = Annotated[
    str,
    typer.Option(
        help="Degrees of freedom: auto, m-l-1, growth-curve, satterthwaite, kenward-roger, kenward-roger-2009, "
        "between-within, residual or normal"
    ),
]
Encoding = Annotated[str | None, typer.Option(help="Encoding of a text file, if not UTF-8.", show_default=False)]
MissingCodes = Annotated[
    list[str] | None,
    typer.Option(
        help="Codes of missing answers that the file does not declare: trust=99 or age=998,999 of one column (again "
        "for another), 99 of all.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print every number as JSON instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress messages.")]
Family = Annotated[
    str,
    typer.Option(
        help="gaussian, binomial, poisson, negbinomial, nbinom1, gamma, beta, betabinomial, ordinal; with a link as in "
        "binomial:probit"
    ),
]
Quadrature = Annotated[
    str, typer.Option(help="Of other families than gaussian: auto, laplace, pql, mql or a number of nodes")
]
Trials = Annotated[
    str | None,
    typer.Option(help="Column of the numbers of trials of proportions or numbers of successes", show_default=False),
]
Exposure = Annotated[
    str | None, typer.Option(help="Column of what counts are relative to, as time", show_default=False)
]


def nodes_of(text: str) -> int | str:
    """Quadrature as given on the command line: a number of nodes where it is one.

    Examples
    --------
    >>> nodes_of("11"), nodes_of("laplace")
    (11, 'laplace')
    """
    return int(text) if text.isdecimal() else text


def family_named(text: str) -> "str | FamilyOfOutcomes":
    """Family as given on the command line: a name, or a name with a link.

    Raises
    ------
    CrosslevelError : a link for a family that has one only.

    Examples
    --------
    >>> family_named("poisson"), family_named("binomial:probit")
    ('poisson', Binomial(link='probit'))
    """
    name, mark, link = text.partition(":")
    if not mark:
        return text
    from crosslevel.families import family_of

    family = family_of(name)
    if not any(field.name == "link" for field in fields(family)):  # type: ignore[arg-type]
        raise CrosslevelError(f"`--family` is {text!r}, but {name} has the link {family.link} only. Write {name}.")
    with_link: type[Any] = type(family)
    chosen: FamilyOfOutcomes = with_link(link=link)
    return chosen


def outcome_named(family: str, quadrature: str, trials: str | None, exposure: str | None) -> dict[str, Any]:
    """What the command line says of the outcome, as arguments of the library.

    Examples
    --------
    >>> outcome_named("poisson", "auto", None, "years")
    {'family': 'poisson', 'quadrature': 'auto', 'trials': None, 'exposure': 'years'}
    """
    return {
        "family": family_named(family), "quadrature": nodes_of(quadrature), "trials": trials, "exposure": exposure,
    }  # fmt: skip
