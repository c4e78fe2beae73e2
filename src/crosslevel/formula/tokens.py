"""Formula text -> tokens that know their place in the text."""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from crosslevel.errors import FormulaError

Kind: TypeAlias = Literal["name", "number", "python", "operator", "structure", "open", "close", "comma", "dot", "end"]

WITH_MATRIX = ("propto", "equalto")
"""Names of random terms that take a known matrix, as in ``propto(0 + f | g, V)``."""

STRUCTURES = ("us", "diag", "cs", "ar1", "hcs", "har1", "blocks", *WITH_MATRIX)
"""Names that may stand before a random term, as in ``diag(1 + x | g)``."""

CLOSERS = {"(": ")", "[": "]", "{": "}"}
_OPERATOR = re.compile(r"\|\||\*\*|%in%|[-+*/:^|]")
_WORD = re.compile(r"[\w.]+")
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)$")


@dataclass(frozen=True, kw_only=True, eq=False)
class Token:
    """A piece of a formula, with the place where it starts and ends (exclusive)."""

    kind: Kind
    text: str
    start: int
    end: int


def tokenize(formula: str, start: int) -> list[Token]:
    """Tokens of `formula` from the position `start` on, the last one of kind "end"."""
    tokens: list[Token] = []
    position = start
    while position < len(formula):
        if formula[position].isspace():
            position += 1
            continue
        token = _token_at(formula, position)
        tokens.append(token)
        position = token.end
    end = len(formula.rstrip())
    tokens.append(Token(kind="end", text="", start=end, end=end))
    return tokens


def skip_quoted(formula: str, start: int) -> int:
    """Position just after the quotation that opens at `start`, be it with single, double or back quotes."""
    quote = formula[start]
    position = start + 1
    while position < len(formula):
        if formula[position] == "\\" and quote != "`":
            position += 1
        elif formula[position] == quote:
            return position + 1
        position += 1
    raise FormulaError.at(formula, start, f"the quotation that opens here has no closing {quote}.")


def skip_bracketed(formula: str, start: int) -> int:
    """Position just after the bracket that closes the one at `start`."""
    expected: list[str] = []
    position = start
    while position < len(formula):
        character = formula[position]
        if character in "'\"`":
            position = skip_quoted(formula, position)
            continue
        if character in CLOSERS:
            expected.append(CLOSERS[character])
        elif character in CLOSERS.values():
            if character != expected.pop():
                raise FormulaError.at(formula, position, f"this {character!r} closes nothing that is open.")
            if not expected:
                return position + 1
        position += 1
    raise FormulaError.at(formula, start, f"this {formula[start]!r} is never closed.")


def find_top_level(formula: str, start: int, end: int, wanted: str) -> list[int]:
    """Positions of the characters in `wanted` between `start` and `end`, outside quotations and brackets."""
    places: list[int] = []
    position = start
    while position < end:
        character = formula[position]
        if character in "'\"`":
            position = skip_quoted(formula, position)
            continue
        if character in wanted:
            places.append(position)
        position = skip_bracketed(formula, position) if character in CLOSERS else position + 1
    return places


def _token_at(formula: str, start: int) -> Token:
    """Token that begins at `start`, where there is no space."""
    character = formula[start]
    if character == "`":
        end = skip_quoted(formula, start)
        if end - start <= 2:
            raise FormulaError.at(formula, start, "there is no column name between these backquotes.")
        return Token(kind="name", text=formula[start + 1 : end - 1], start=start, end=end)
    if character == "{":
        end = skip_bracketed(formula, start)
        return Token(kind="python", text=formula[start + 1 : end - 1].strip(), start=start, end=end)
    if character in "(),":
        kind: Kind = "open" if character == "(" else "close" if character == ")" else "comma"
        return Token(kind=kind, text=character, start=start, end=start + 1)
    if word := _WORD.match(formula, start):
        return _word(formula, start, word.end())
    if operator := _OPERATOR.match(formula, start):
        return Token(kind="operator", text=operator.group(), start=start, end=operator.end())
    if character in "'\"":
        raise FormulaError.at(formula, start, "text in quotes is not a term; put column names in backquotes, or bare.")
    raise FormulaError.at(formula, start, f"{character!r} has no meaning here.{_advice(formula, start)}")


def _word(formula: str, start: int, end: int) -> Token:
    """Name, number, dot, structure of a random term, or function call: what begins with a word."""
    text = formula[start:end]
    if end < len(formula) and formula[end] in "([" and not _NUMBER.match(text) and text != ".":
        close = skip_bracketed(formula, end)
        has_bar = bool(find_top_level(formula, end + 1, close - 1, "|"))
        if has_bar and text in STRUCTURES:
            return Token(kind="structure", text=text, start=start, end=end)
        while close < len(formula) and formula[close] in "([.":
            method = _WORD.match(formula, close)
            close = method.end() if method else skip_bracketed(formula, close)
        return Token(kind="python", text=formula[start:close], start=start, end=close)
    if text == ".":
        return Token(kind="dot", text=text, start=start, end=end)
    kind: Kind = "number" if _NUMBER.match(text) else "name"
    return Token(kind=kind, text=text, start=start, end=end)


def _advice(formula: str, position: int) -> str:
    """What to write instead of a character that formulas do not know."""
    if formula[position] in "<>=!&%":
        return " Put comparisons and arithmetic inside I(...), as in I(x > 0)."
    if formula[position] in "])}":
        return " It closes nothing that is open."
    return ""
