"""Families by the names users give them."""

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial

from crosslevel.errors import CrosslevelError
from crosslevel.families.amounts import Gamma
from crosslevel.families.base import Family
from crosslevel.families.binomial import Binomial
from crosslevel.families.counts import NegativeBinomial, Poisson
from crosslevel.families.ordinal import Ordinal
from crosslevel.families.shares import Beta, BetaBinomial

FAMILIES: dict[str, Callable[[], Family]] = {
    "binomial": Binomial,
    "bernoulli": Binomial,
    "poisson": Poisson,
    "negbinomial": NegativeBinomial,
    "nbinom2": NegativeBinomial,
    "nbinom1": partial(NegativeBinomial, variant="nb1"),
    "gamma": Gamma,
    "beta": Beta,
    "betabinomial": BetaBinomial,
    "ordinal": Ordinal,
    "cumulative": Ordinal,
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
    asked = family.lower().replace("_", "").replace("-", "").replace(" ", "") if isinstance(family, str) else ""
    if asked in FAMILIES:
        return FAMILIES[asked]()
    close = get_close_matches(asked, FAMILIES, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise CrosslevelError(
        f"`family` has to be a name or an object of crosslevel.families, not {family!r}.{hint} "
        f"Names: {', '.join(FAMILIES)}. Objects allow other links: families.Binomial(link='probit')."
    )
