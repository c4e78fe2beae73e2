"""Formulas with the cluster means of their predictors: Mundlak and within-between models.

A term is a product of expressions, of which some vary within clusters (their product is v) and others do not (c). The
mean of c v in a cluster is c times the mean of v, so that the term c:v gets the companion c:between(v, g), and in
within-between models becomes c:within(v, g). The product of two varying predictors is one v: its own mean is taken,
not the product of their means. A categorical predictor stands for the indicators of its categories.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crosslevel.errors import FormulaError
from crosslevel.formula.coding import CodedTerm, settle_coding
from crosslevel.formula.contextual import Context, Piece
from crosslevel.formula.expressions import Expression
from crosslevel.formula.parse import RandomPart, write_random
from crosslevel.formula.terms import Term, Terms


@dataclass(frozen=True, kw_only=True, eq=False)
class Companion:
    """Terms that one varying column leads to; "" where there is none.

    Attributes
    ----------
    within : deviations from cluster means.
    between : cluster means.
    """

    within: str
    between: str


def write_context(context: Context, random: Iterable[str]) -> str:
    """The formula with cluster means: the outcome, the terms with their companions, and some random terms."""
    formula = context.formula
    found: dict[str, None] = {}
    for place, term in enumerate(formula.fixed_terms):
        if term.expressions:
            found.update(dict.fromkeys(_written(context, formula.fixed_terms, place)))
    intercept = len([term for term in formula.fixed_terms if term.expressions]) < len(formula.fixed_terms)
    if not intercept and "1" not in found:
        found = {"0": None, **found}
    return f"{formula.response.source} ~ {' + '.join([*found, *random])}"


def random_texts(context: Context) -> list[str]:
    """Random terms; in within-between models those of the same clusters have slopes of deviations from their means."""
    parts = [(part, _rewritten(part, context)) for part in context.formula.random]
    changed = {part.start for part, own in parts if own is not part}
    texts = [write_random(own) if part.start in changed else part.text for part, own in parts]
    return list(dict.fromkeys(texts))


def slopes_text(context: Context, slopes: Sequence[str], group: str) -> str:
    """A random term with an intercept and the slopes of some predictors, as ``(1 + within(x, g) | g)``.

    Raises
    ------
    FormulaError : no such predictor, or it does not vary within clusters.
    """
    single = {term.expressions[0]: term for term in context.formula.fixed_terms if len(term.expressions) == 1}
    written = ["1"]
    for name in slopes:
        found = [expression for expression in single if name in (expression.text, expression.source)]
        if not found:
            listed = ", ".join(expression.source for expression in single)
            raise FormulaError(
                f"`slopes` names {name!r}, which is no predictor of `formula`. Its predictors: {listed}."
            )
        predictor = context.predictors[found[0]]
        if not predictor.varies:
            raise FormulaError(
                f"`slopes` names {name!r}, which does not vary within {context.clusters.text}, so that it has no slope "
                "there. Name predictors that vary."
            )
        if context.kind == "mundlak" or not context.changes(single[found[0]]):
            written.append(found[0].factor)
        else:
            written += [_within(context, piece) for piece in predictor.chosen(reduced=True)]
    return f"({' + '.join(dict.fromkeys(written))} | {group})"


def _rewritten(part: RandomPart, context: Context) -> RandomPart:
    """A random term with deviations from cluster means as slopes, if it is one of these clusters; else itself."""
    if context.kind == "mundlak" or part not in context.own:
        return part
    if not any(context.changes(term) for terms in part.blocks for term in terms):
        return part
    rhs = []
    for terms in part.blocks:
        texts = ["1"] if any(not term.expressions for term in terms) else []
        for place, term in enumerate(terms):
            if term.expressions and not context.changes(term):
                texts.append(_term_text(term))
            elif term.expressions:
                texts += _constant_part(context, terms, place)
                texts += [companion.within for companion in _companions(context, terms, place) if companion.within]
        rhs.append(" + ".join(dict.fromkeys(texts if "1" in texts else ["0", *texts])))
    return replace(part, rhs=tuple(rhs))


def _written(context: Context, terms: Terms, place: int) -> list[str]:
    """One of the terms with its companions."""
    term = terms[place]
    if not context.changes(term):
        return [_term_text(term)]
    found = _companions(context, terms, place)
    if context.kind == "mundlak":
        return [_term_text(term), *(companion.between for companion in found if companion.between)]
    texts = [text for companion in found for text in (companion.within, companion.between) if text]
    return [*_constant_part(context, terms, place), *texts]


def _constant_part(context: Context, terms: Terms, place: int) -> list[str]:
    """What one of the terms spans that deviations and means leave out: all categories, together, do not vary."""
    if not any(_spans_constant(context, coded) for coded in _coded(context, terms, place)):
        return []
    return [":".join(e.factor for e in terms[place].expressions if not context.predictors[e].varies) or "1"]


def _spans_constant(context: Context, coded: CodedTerm) -> bool:
    """Whether a coded term spans columns that do not vary, beside or instead of those that do."""
    return _is_full(context, coded) or not any(context.predictors[e].varies for e, _ in coded.expressions)


def _companions(context: Context, terms: Terms, place: int) -> list[Companion]:
    """Deviations and means of each column of one of the terms."""
    sources = {_term_text(term) for term in context.formula.fixed_terms}
    out = []
    for coded in _coded(context, terms, place):
        outer = [e.factor for e, _ in coded.expressions if not context.predictors[e].varies]
        inner = [(context.predictors[e], reduced) for e, reduced in coded.expressions if context.predictors[e].varies]
        if not inner:
            continue
        full = _is_full(context, coded)
        scale = [] if coded.scale == 1.0 else [f"{coded.scale:g}"]
        for pieces in itertools.product(*(predictor.chosen(reduced=reduced or full) for predictor, reduced in inner)):
            piece = _product(pieces)
            # means that are the same in all clusters are a multiple of the rest of the term, mostly a term itself
            differs = context.clusters.varies_between(piece.values) or (":".join(outer) or "1") not in sources
            within = _within(context, piece) if context.clusters.varies_within(piece.values) else ""
            between = f"between({piece.alone}, {context.clusters.text})" if differs else ""
            texts = [":".join([*scale, text, *outer]) if text else "" for text in (within, between)]
            out.append(Companion(within=texts[0], between=texts[1]))
    return out


def _coded(context: Context, terms: Terms, place: int) -> list[CodedTerm]:
    """Coding of one of the terms, given those before it."""

    def spans(expression: Expression) -> bool:
        return context.predictors[expression].is_categorical

    return settle_coding(terms[: place + 1], spans)[len(settle_coding(terms[:place], spans)) :]


def _is_full(context: Context, coded: CodedTerm) -> bool:
    """Whether all that varies in a coded term are categories, none of them left out."""
    inner = [(context.predictors[e], reduced) for e, reduced in coded.expressions if context.predictors[e].varies]
    return bool(inner) and all(predictor.is_categorical and not reduced for predictor, reduced in inner)


def _product(pieces: tuple[Piece, ...]) -> Piece:
    """Product of some columns as one."""
    if len(pieces) == 1:
        return pieces[0]
    factor = " * ".join(piece.factor for piece in pieces)
    product = np.prod([piece.values for piece in pieces], axis=0)
    return Piece(alone=f"I({factor})", factor=f"({factor})", is_deviation=False, values=product)


def _within(context: Context, piece: Piece) -> str:
    """Text of deviations from cluster means."""
    return piece.alone if piece.is_deviation else f"within({piece.alone}, {context.clusters.text})"


def _term_text(term: Term) -> str:
    """Text of a term."""
    scale = [] if term.scale == 1.0 and term.expressions else [f"{term.scale:g}"]
    return ":".join([*scale, *(expression.factor for expression in term.expressions)])
