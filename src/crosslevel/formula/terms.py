"""Syntax tree -> terms: the algebra of Wilkinson and Rogers, with the rules of formulaic.

A formula is an ordered set of terms, a term a product of expressions. Terms are sorted by their number of expressions,
and otherwise stay in the order in which they are written.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

from crosslevel.errors import FormulaError
from crosslevel.formula.expressions import Expression
from crosslevel.formula.syntax import Bar, Leaf, Node, Number, Product, Sum


@dataclass(frozen=True, eq=False)
class Term:
    """A product of expressions times a number; without expressions, the intercept.

    Two terms are equal if they hold the same expressions, in any order, and the same number.
    """

    expressions: tuple[Expression, ...]
    scale: float
    start: int

    @property
    def key(self) -> frozenset[Expression]:
        """What makes two terms the same but for their scale."""
        return frozenset(self.expressions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and (self.key, self.scale) == (other.key, other.scale)

    def __hash__(self) -> int:
        return hash((self.key, self.scale))

    @property
    def source(self) -> str:
        """The text that gives this term in a formula."""
        scale = [] if self.scale == 1 and self.expressions else [f"{self.scale:g}"]
        return ":".join([*scale, *(expression.factor for expression in self.expressions)])


Terms = tuple[Term, ...]
INTERCEPT = Term((), 1.0, 0)


def expand(node: Node, formula: str, *, intercept: bool, dot: Terms | None = None) -> Terms:
    """Terms of a syntax tree, sorted by degree.

    Parameters
    ----------
    node : the right-hand side; random terms in it are left out.
    formula : the whole text, for errors.
    intercept : whether there is an intercept unless it is removed.
    dot : terms that a dot stands for; None refuses dots.

    Raises
    ------
    FormulaError : a number that scales nothing, the same term with two scales, a dot that stands for nothing known, a
        random term inside an interaction.
    """
    found = _sum(node, formula, (INTERCEPT,) if intercept else (), dot) if isinstance(node, Sum) else ()
    scales: dict[frozenset[Expression], float] = {}
    for term in found:
        if not term.expressions and term.scale != 1:
            problem = "a number alone is no term (only 0 and 1 are); to scale a column write 2:x or I(2 * x)."
            raise FormulaError.at(formula, term.start, problem)
        if scales.setdefault(term.key, term.scale) != term.scale:
            raise FormulaError.at(formula, term.start, "this term is there already, scaled by another number.")
    return tuple(sorted(found, key=lambda term: len(term.expressions)))


def random_terms(node: Node) -> tuple[Bar, ...]:
    """Random terms of a right-hand side, in order."""
    if isinstance(node, Bar):
        return (node,)
    if isinstance(node, Sum):
        return tuple(bar for _, part in node.parts for bar in random_terms(part))
    return ()


def interaction(terms: Iterable[Term]) -> Term:
    """Product of some terms; an expression that occurs twice counts once."""
    return reduce(_times, terms)


def _times(left: Term, right: Term) -> Term:
    expressions = tuple(dict.fromkeys((*left.expressions, *right.expressions)))
    return Term(expressions, left.scale * right.scale, min(left.start, right.start))


def _union(*sets: Iterable[Term]) -> Terms:
    return tuple(dict.fromkeys(term for terms in sets for term in terms))


def _products(left: Terms, right: Terms) -> Terms:
    return _union(_times(a, b) for a in left for b in right)


def _sum(node: Sum, formula: str, start: Terms, dot: Terms | None) -> Terms:
    """Terms of parts joined by signs, beginning with those in `start`; 0 removes the intercept."""
    found = start
    for sign, part in node.parts:
        if sign == "-" and (bars := random_terms(part)):
            raise FormulaError.at(formula, bars[0].start, "a random term cannot be subtracted; leave it out.")
        if isinstance(part, Bar):
            continue
        is_zero = isinstance(part, Number) and float(part.text) == 0
        adds = (sign == "+") != is_zero
        terms = (INTERCEPT,) if is_zero else _node(part, formula, dot)
        found = _union(found, terms) if adds else tuple(term for term in found if term not in terms)
    return found


def _node(node: Node, formula: str, dot: Terms | None) -> Terms:
    """Terms of one part of a formula."""
    if isinstance(node, Leaf):
        return (Term((node.expression,), 1.0, node.start),)
    if isinstance(node, Number):
        if float(node.text) == 0:
            raise FormulaError.at(formula, node.start, "0 removes the intercept, and may only follow + or -.")
        return (Term((), float(node.text), node.start),)
    if isinstance(node, Sum):
        return _sum(node, formula, (), dot)
    if isinstance(node, Product):
        return _product(node, formula, dot)
    if dot is None or isinstance(node, Bar):
        raise FormulaError.at(formula, node.start, "a dot cannot stand here; name the columns.")
    return tuple(replace(term, start=node.start) for term in dot)


def _product(node: Product, formula: str, dot: Terms | None) -> Terms:
    """Terms of two parts joined by ``* / %in% : ^``."""
    if bars := (*random_terms(node.left), *random_terms(node.right)):
        problem = "a random term can only be added to a formula, not multiplied or nested."
        raise FormulaError.at(formula, bars[0].start, problem)
    left = _node(node.left, formula, dot)
    if node.operator == "^":
        return _power(left, int(node.right.text)) if isinstance(node.right, Number) else left
    right = _node(node.right, formula, dot)
    if node.operator == "*":
        return _union(left, right, _products(left, right))
    if node.operator == ":":
        return _products(left, right)
    parents, nested = (left, right) if node.operator == "/" else (right, left)
    if not parents:
        raise FormulaError.at(formula, node.start, f"there is no term for {node.operator} to nest in.")
    return _union(parents, _products((interaction(parents),), nested))


def _power(terms: Terms, exponent: int) -> Terms:
    """All products of `exponent` of the terms; they stop to grow when each has met each."""
    found = terms
    for _ in range(exponent - 1):
        smaller, found = found, _products(found, terms)
        if smaller == found:
            break
    return found
