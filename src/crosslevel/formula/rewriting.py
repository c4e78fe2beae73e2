"""Formulas written anew with some of their expressions in another form, or with another random slope."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from crosslevel.formula.expressions import quoted
from crosslevel.formula.parse import Formula, RandomPart, write_random
from crosslevel.formula.terms import Term, Terms


def replace_expressions(formula: Formula, texts: Mapping[str, str]) -> str:
    """The formula with some expressions in another form, wherever they stand right of the outcome.

    Parameters
    ----------
    formula : the formula.
    texts : for expressions, by their text as they are named in results, what to write.

    Examples
    --------
    >>> from crosslevel.formula.parse import parse
    >>> replace_expressions(parse("y ~ x * z + (1 + x | g)"), {"x": "center(x)"})
    'y ~ center(x) + z + center(x):z + (1 + center(x) | g)'
    """
    return composed(formula, formula.fixed_terms, [_part(part, texts) for part in formula.random], texts)


def add_slope(formula: Formula, group: Sequence[str], slope: str) -> str:
    """The formula with one more slope that varies over a group, correlated with what varies there if all of that is.

    Parameters
    ----------
    formula : the formula.
    group : the grouping columns.
    slope : text of the predictor.

    Examples
    --------
    >>> from crosslevel.formula.parse import parse
    >>> add_slope(parse("y ~ x * z + (1 | g)"), ["g"], "x")
    'y ~ x + z + x:z + (1 + x | g)'
    >>> add_slope(parse("y ~ x * z + w + (w || g)"), ["g"], "x")
    'y ~ x + z + w + x:z + (w || g) + (0 + x | g)'
    """
    own = [part for part in formula.random if frozenset(part.group) == frozenset(group)]
    host = own[0] if len(own) == 1 and own[0].structure == "us" and len(own[0].rhs) == 1 else None
    texts = []
    for part in formula.random:
        if host is None or part.start != host.start:
            texts.append(part.text)
        else:  # of terms made of a/b only that of this group changes
            texts.append(write_random(replace(part, rhs=(f"{part.rhs[0]} + {slope}",)) if part is host else part))
    if host is None:
        texts.append(f"({0 if own else 1} + {slope} | {':'.join(quoted(name) for name in group)})")
    return composed(formula, formula.fixed_terms, texts, {})


def composed(formula: Formula, terms: Terms, random: Sequence[str], texts: Mapping[str, str]) -> str:
    """A formula of the same outcome with some fixed terms, some random terms, and expressions in another form."""
    slopes = [_term(term, texts) for term in terms if term.expressions]
    if len(slopes) == len(terms):
        slopes = ["0", *slopes]
    return f"{formula.response.source} ~ {' + '.join([*(slopes or ['1']), *dict.fromkeys(random)])}"


def _part(part: RandomPart, texts: Mapping[str, str]) -> str:
    """A random term; as it was written where nothing in it changes."""
    changes = any(e.text in texts for terms in part.blocks for term in terms for e in term.expressions)
    if not changes:
        return part.text
    rhs = tuple(
        " + ".join(
            [
                "1" if any(not term.expressions for term in terms) else "0",
                *(_term(term, texts) for term in terms if term.expressions),
            ]
        )
        for terms in part.blocks
    )
    return write_random(replace(part, rhs=rhs))


def _term(term: Term, texts: Mapping[str, str]) -> str:
    """Text of a term."""
    scale = [] if term.scale == 1.0 else [f"{term.scale:g}"]
    return ":".join([*scale, *(texts.get(e.text, e.source) for e in term.expressions)])
