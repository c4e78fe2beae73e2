"""Changes to a formula, as R's update() writes them: ``~ . + x``, ``. ~ . - x``, ``log(.) ~ .``."""

import re
from collections.abc import Iterable
from dataclasses import replace

from crosslevel.errors import FormulaError
from crosslevel.formula.expressions import Expression, python_expression
from crosslevel.formula.parse import (
    RandomPart,
    find_tilde,
    one_line,
    parse,
    random_parts,
    read_right_side,
    write_random,
)
from crosslevel.formula.syntax import Bar, Dot, Node, Number, Product, Sum
from crosslevel.formula.terms import Terms, expand, random_terms

_DOT = re.compile(r"(?<![\w.)\]])\.(?![\w.])")


def update(old: str, change: str) -> str:
    """Formula that a change makes of an old one.

    On each side of the change a dot stands for what was there: the response; the terms and random terms. Terms are
    added with ``+`` and removed with ``-``, random terms too, as in ``~ . - (1 | g) + (x | g)``. The terms of the
    result are written out, sorted by degree, as R does.

    Parameters
    ----------
    old : the formula.
    change : the change; without a left side, the response stays.

    Returns
    -------
    formula : the new formula.

    Raises
    ------
    FormulaError : one of the three does not parse, or a term is to be removed that is not there.

    Examples
    --------
    >>> update("y ~ a * b + (a | g)", "~ . - a:b + z")
    'y ~ a + b + z + (a | g)'
    >>> update("y ~ a + (1 | g)", "log(.) ~ . - (1 | g) + (a || g)")
    'log(y) ~ a + (a || g)'
    >>> update("y ~ a + (1 | g)", "~ b - 1")
    'y ~ 0 + b'
    """
    before = parse(old)
    text = one_line(change)
    tilde = find_tilde(text)
    tree = read_right_side(text, tilde)
    has_dot = _has_dot(tree)
    slopes = tuple(term for term in before.fixed_terms if term.expressions)
    intercept = not has_dot or len(slopes) < len(before.fixed_terms)

    # fixed part: random terms that are subtracted are no business of the algebra
    kept = replace(tree, parts=tuple(pair for pair in tree.parts if not (pair[0] == "-" and isinstance(pair[1], Bar))))
    _require_present(kept, text, slopes)
    fixed = _written(expand(kept, text, intercept=intercept, dot=slopes))

    # random part
    removed = [part for sign, bar in tree.parts if sign == "-" for part in random_parts_of(bar, text)]
    stay = _remaining(before.random if has_dot else (), removed, text)
    random = _random_texts(stay, before.random) + [text[bar.start : bar.end] for bar in random_terms(kept)]
    formula = f"{_response(before.response, text[:tilde].strip(), text)} ~ {' + '.join([fixed, *random])}"
    return parse(formula).text


def random_parts_of(node: Node, formula: str) -> list[RandomPart]:
    """Random parts of a node that is a random term itself; none for any other."""
    return random_parts(node, formula) if isinstance(node, Bar) else []


def _response(before: Expression, change: str, text: str) -> str:
    """Response after a change: the old one put in the place of each dot."""
    if not change:
        return before.source
    inner = before.source if before.is_column else f"({before.source})"
    return python_expression(_DOT.sub(lambda _: inner, change), 0, text).source


def _has_dot(node: Node) -> bool:
    """Whether a dot stands anywhere in the change, so that the old terms remain."""
    if isinstance(node, Sum):
        return any(_has_dot(part) for _, part in node.parts)
    if isinstance(node, Product):
        return _has_dot(node.left) or _has_dot(node.right)
    return isinstance(node, Dot)


def _require_present(tree: Sum, text: str, dot: Terms) -> None:
    """Raise `FormulaError` if what is subtracted was never there."""
    added = replace(tree, parts=tuple(pair for pair in tree.parts if pair[0] == "+"))
    there = expand(added, text, intercept=False, dot=dot)
    for sign, part in tree.parts:
        if sign == "-" and not isinstance(part, (Number, Bar)):
            whole = replace(tree, parts=(("+", part),))
            if not any(term in there for term in expand(whole, text, intercept=False, dot=dot)):
                listed = ", ".join(term.source for term in there) or "none"
                raise FormulaError.at(text, part.start, f"this is not in the formula. Its terms: {listed}.")


def _written(terms: Terms) -> str:
    """Text of the fixed part; an intercept beside other terms goes without saying."""
    slopes = [term.source for term in terms if term.expressions]
    if len(slopes) < len(terms):
        return " + ".join(slopes) or "1"
    return " + ".join(["0", *slopes])


def _identity(part: RandomPart) -> tuple[object, ...]:
    """What makes two random parts the same, however they are written."""
    blocks = frozenset(frozenset(term.key for term in block) for block in part.blocks)
    return frozenset(part.group), part.membership, part.structure, part.known, blocks


def _remaining(parts: Iterable[RandomPart], removed: list[RandomPart], text: str) -> list[RandomPart]:
    """Random parts without those that are removed, each of which must be there."""
    remaining = list(parts)
    for gone in removed:
        matches = [part for part in remaining if _identity(part) == _identity(gone)]
        if not matches:
            listed = ", ".join(write_random(part) for part in remaining) or "none"
            raise FormulaError.at(
                text, gone.start, f"this random term is not in the formula. Its random terms: {listed}."
            )
        remaining.remove(matches[0])
    return remaining


def _random_texts(parts: list[RandomPart], before: tuple[RandomPart, ...]) -> list[str]:
    """Texts of random parts, as they were written unless only some of the groups of ``a/b`` are left."""
    texts: dict[str, None] = {}
    for part in parts:
        siblings = [other for other in before if other.start == part.start]
        whole = all(sibling in parts for sibling in siblings)
        texts[part.text if whole else write_random(part)] = None
    return list(texts)
