"""Names of rows: which coefficients, in which order, and what they are called."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeAlias

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.compared import parts_of, term_key

Terms: TypeAlias = "str | Sequence[str] | Mapping[str, str | None] | None"

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Characters that no format can hold."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """What terms are called.

    Attributes
    ----------
    given : labels by term, variable, category or grouping factor.
    factors : what terms are products of, as far as models know it.
    """

    given: Mapping[str, str]
    factors: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __call__(self, term: str) -> str:
        """The label of a term: its own, or one made of those of its parts.

        Examples
        --------
        >>> labels = Labels(given={"ses": "Social status", "sector": "School sector"})
        >>> labels("ses:sector[Catholic]"), labels("minority")
        ('Social status × School sector: Catholic', 'minority')
        """
        if term in self.given:
            return clean(self.given[term])
        parts = list(self.factors.get(term) or parts_of(term, self.given))
        made = [self._part(part) for part in parts]
        return clean(term if made == parts else " × ".join(made))

    def _part(self, part: str) -> str:
        """The label of one part of an interaction."""
        if part in self.given:
            return self.given[part]
        variable = next((name for name in variables_of(part) if name in self.given), None)
        return part if variable is None else f"{self.given[variable]}: {part[len(variable) + 1 : -1]}"


def variables_of(part: str) -> list[str]:
    """What may be the variable of a category such as sector[Catholic], the longest first; names may have brackets.

    Examples
    --------
    >>> variables_of("sex [code][a [b]"), variables_of("ses")
    (['sex [code][a ', 'sex [code]', 'sex '], [])
    """
    return [part[:k] for k in range(len(part) - 1, 0, -1) if part[k] == "["] if part.endswith("]") else []


def clean(text: object) -> str:
    r"""A text without the control characters that files cannot hold, on one line.

    Examples
    --------
    >>> clean("a\x00b\nc")
    'a b c'
    """
    return re.sub(r"\s*\n\s*", " ", CONTROL.sub(" ", str(text)))


def arranged(
    known: Sequence[str], terms: Terms, others: Iterable[str] = (), factors: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[str], Labels]:
    """The coefficients that are shown, in order, and their labels.

    Parameters
    ----------
    known : all coefficients.
    terms : names: these, in this order; or labels by name, None leaving one out. Those named change places among
        themselves as their order says, the others stay where they are.
    others : what may have a label too: variables, random effects, grouping factors.
    factors : what terms are products of, as far as models know it.

    Raises
    ------
    CrosslevelError : a name that is nowhere.

    Examples
    --------
    >>> arranged(["Intercept", "x", "z"], {"z": "Context", "x": "Own", "Intercept": None})[0]
    ['z', 'x']
    >>> arranged(["Intercept", "x", "z"], ["x"])[0]
    ['x']
    """
    factors = factors or {}
    if terms is None:
        return list(known), Labels(given={}, factors=factors)
    places = {term_key(term): term for term in known}
    if not isinstance(terms, Mapping):
        wanted = [terms] if isinstance(terms, str) else list(terms)
        return [_found(str(term), places, ()) for term in dict.fromkeys(wanted)], Labels(given={}, factors=factors)
    allowed = {*others, *(part for term in known for part in _parts(term, factors))}
    named = {_found(str(term), places, allowed): label for term, label in terms.items()}
    mine = iter([term for term in named if term in set(known)])
    order = [next(mine) if term in named else term for term in known]
    given = {term: str(label) for term, label in named.items() if label is not None}
    shown = [term for term in order if term not in named or named[term] is not None]
    return shown, Labels(given=given, factors=factors)


def _parts(term: str, factors: Mapping[str, Sequence[str]]) -> Iterable[str]:
    """Parts of an interaction, and the variables of those that are categories."""
    for part in factors.get(term) or parts_of(term):
        yield part
        yield from variables_of(part)


def _found(term: str, places: Mapping[frozenset[str], str], others: Iterable[str]) -> str:
    """A term by its name in the table."""
    if term_key(term) in places:
        return places[term_key(term)]
    if term in others:
        return term
    names = list(places.values())
    close = get_close_matches(term, [*names, *others], n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise CrosslevelError(
        f"`terms` has {term!r}, which is nowhere in the models.{hint} Coefficients: {', '.join(names)}."
    )


def grouped(order: Sequence[str], groups: Mapping[str, Sequence[str]] | None) -> list[tuple[str, list[str]]]:
    """The coefficients by heading, those of no group first, under "".

    Raises
    ------
    CrosslevelError : a group has a name that is no coefficient shown, or one that another group has too.
    """
    if not groups:
        return [("", list(order))]
    places = {term_key(term): term for term in order}
    found: list[tuple[str, list[str]]] = []
    taken: dict[str, str] = {}
    for heading, members in groups.items():
        mine = []
        for member in [members] if isinstance(members, str) else members:
            if term_key(member) not in places:
                raise CrosslevelError(
                    f"`groups` has {member!r} in {heading!r}; the coefficients shown are {', '.join(order)}."
                )
            term = places[term_key(member)]
            if term in taken:
                raise CrosslevelError(f"`groups` has {term!r} in {taken[term]!r} and in {heading!r}.")
            taken[term] = heading
            mine.append(term)
        found.append((clean(heading), mine))
    rest = [term for term in order if term not in taken]
    return [("", rest), *found] if rest else found
