"""Options and exit statuses that commands share."""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crosslevel.errors import CrosslevelError

if TYPE_CHECKING:
    from crosslevel.families import Family

NOT_CONVERGED = 1

Json = Annotated[bool, typer.Option("--json", help="Print every number as JSON instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress messages.")]


def nodes_of(text: str) -> int | str:
    """Quadrature as given on the command line: a number of nodes where it is one.

    Examples
    --------
    >>> nodes_of("11"), nodes_of("laplace")
    (11, 'laplace')
    """
    return int(text) if text.isdecimal() else text


def family_named(text: str) -> "str | Family":
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
    chosen: Family = with_link(link=link)
    return chosen
