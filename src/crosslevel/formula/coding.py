"""Which terms get full and which reduced coding, so that the columns are structurally of full rank.

The rule is formulaic's (and patsy's): an expression that spans the intercept, such as a categorical column, is coded
with a column less wherever what it would span is spanned by earlier terms.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from crosslevel.formula.expressions import Expression
from crosslevel.formula.terms import Terms

CodedExpression = tuple[Expression, bool]
"""An expression, and whether its coding is reduced."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CodedTerm:
    """A term with the coding of each of its expressions settled."""

    expressions: tuple[CodedExpression, ...]
    scale: float

    @property
    def key(self) -> frozenset[CodedExpression]:
        """What makes two coded terms span the same."""
        return frozenset(self.expressions)


def settle_coding(terms: Terms, spans_intercept: Callable[[Expression], bool]) -> list[CodedTerm]:
    """Coded terms that together span what `terms` span, none of it twice; a term may become several or none.

    Parameters
    ----------
    terms : the terms in order, the intercept (if any) among them.
    spans_intercept : whether the columns of an expression in full coding add up to a constant.
    """
    settled: list[CodedTerm] = []
    spanned: set[frozenset[CodedExpression]] = set()
    for term in terms:
        choices: list[tuple[CodedExpression | None, ...]] = [
            ((expression, True), None) if spans_intercept(expression) else ((expression, False),)
            for expression in term.expressions
        ]
        span = [
            CodedTerm(expressions=tuple(choice for choice in chosen if choice is not None), scale=term.scale)
            for chosen in itertools.product(*choices)
        ]
        fresh = [coded for coded in span if coded.key not in spanned]
        settled.extend(_merge(fresh))
        spanned.update(coded.key for coded in fresh)
    return settled


def _merge(coded_terms: Iterable[CodedTerm]) -> list[CodedTerm]:
    """Fewest coded terms that span the same: (anything):(reduced) + (anything) becomes (anything):(full)."""
    merged: list[CodedTerm] = []
    for coded in sorted(coded_terms, key=lambda term: len(term.expressions)):
        for smaller in merged:
            added = coded.key - smaller.key
            if len(smaller.key) + 1 == len(coded.key) and len(added) == 1 and next(iter(added))[1]:
                (joined,) = added
                whole = tuple((pair[0], False) if pair == joined else pair for pair in coded.expressions)
                rest = [term for term in merged if term is not smaller]
                merged = _merge([*rest, CodedTerm(expressions=whole, scale=coded.scale)])
                break
        else:
            merged.append(coded)
    return merged
