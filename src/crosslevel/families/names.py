"""Families by the names users give them."""

from collections.abc import Callable
from difflib import get_close_matches

from crosslevel.errors import CrosslevelError
from crosslevel.families.base import Family
from crosslevel.families.binomial import Binomial
from crosslevel.families.counts import Poisson

FAMILIES: dict[str, Callable[[], Family]] = {
    "binomial": Binomial,
    "bernoulli": Binomial,
    "poisson": Poisson,
}
"""Names in `family=`, and what they mean."""


def family_of(family: str | Family) -> Family:
    """Return the family of a name, or the object itself.

    Raises
    ------
    CrosslevelError : there is no such family.

    Examples
    --------
    >>> from crosslevel.families import family_of
    >>> family_of("binomial")
    Binomial(link='logit')
    """
    if isinstance(family, Family):
        return family
    if isinstance(family, str) and family.lower() in FAMILIES:
        return FAMILIES[family.lower()]()
    close = get_close_matches(str(family).lower(), FAMILIES, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise CrosslevelError(
        f"`family` has to be a name or an object of crosslevel.families, not {family!r}.{hint} "
        f"Names: {', '.join(FAMILIES)}. Objects allow other links: families.Binomial(link='probit')."
    )
