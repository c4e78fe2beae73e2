"""Equations before they are text: lines of terms, in a markup that every format renders.

The markup: names of variables stand between ⟦ and ⟧ and are left as they are; `_{ij}` is a subscript, `^{2}` a power;
Greek letters, ~, ≤ and × stand for themselves.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, eq=False)
class Term:
    """One term of a sum: a coefficient or an error, times variables.

    Attributes
    ----------
    symbol : the coefficient or error in markup; "" for a variable alone.
    coefficient : the name, in the fit's `params`, of the number the symbol stands for; None if it stands for none.
    variables : markup of the variables it is multiplied by.
    """

    symbol: str
    coefficient: str | None = None
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Sum:
    """left = the sum of some terms."""

    left: str
    terms: tuple[Term, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Statement:
    """left = right, or left ~ right, with a remark in words.

    Attributes
    ----------
    left, right : markup.
    relation : "=" or "~".
    matrix : numbers, row by row, of the covariance in a right side that is N(0, ·); empty where `right` says it all.
    remark : words behind it.
    """

    left: str
    right: str
    relation: str = "="
    matrix: tuple[tuple[str, ...], ...] = ()
    remark: str = ""


Line = Sum | Statement


SIMILAR = str.maketrans("⟦⟧\x00\n", "[]  ")


def name(text: str) -> str:
    """A variable's name in markup; brackets of the markup that it has itself are replaced by similar ones."""
    return f"⟦{text.translate(SIMILAR)}⟧"


def indexed(text: str, index: str) -> str:
    """A variable with its subscript in markup."""
    return f"{name(text)}_{{{index}}}" if index else name(text)
