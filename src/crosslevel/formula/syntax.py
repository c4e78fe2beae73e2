"""Tokens -> syntax tree: the grammar of formulas, random terms included.

Operators bind as in R, from loose to tight: ``+ -``, then ``* / %in%``, then ``:``, then ``^ **``.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from crosslevel.errors import FormulaError
from crosslevel.formula.expressions import Expression, column_expression, python_expression
from crosslevel.formula.membership import MARK, Membership, read_membership
from crosslevel.formula.tokens import STRUCTURES, WITH_MATRIX, Token


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaf:
    """A column or an expression of columns."""

    expression: Expression
    start: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Number:
    """A literal number: 0 and 1 speak of the intercept, others scale a term."""

    text: str
    start: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Dot:
    """A dot: all other columns, or (in a change to a formula) what stood there before."""

    start: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Sum:
    """Parts with their signs, in order; also what stands in parentheses."""

    parts: "tuple[tuple[Literal['+', '-'], Node], ...]"
    start: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """Two parts joined by one of ``* / %in% : ^``."""

    operator: str
    left: "Node"
    right: "Node"
    start: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Bar:
    """A random term: `structure` is "" where none is named; `groups` holds one tuple of columns per level of ``/``.

    `membership` says that rows belong to several groups, and `known` names the matrix of a structure that takes one.
    """

    structure: str
    parts: "tuple[Sum, ...]"
    double: bool
    groups: tuple[tuple[str, ...], ...]
    membership: Membership | None
    known: str | None
    start: int
    end: int


Node: TypeAlias = Leaf | Number | Dot | Sum | Product | Bar


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """What remains to be read of a formula."""

    formula: str
    queue: deque[Token]

    def next_is(self, kind: str, *texts: str) -> bool:
        """Whether the next token is of this kind, and one of the texts where some are given."""
        return self.queue[0].kind == kind and (not texts or self.queue[0].text in texts)

    def take(self) -> Token:
        """Next token, taken away; the last one ("end") stays."""
        return self.queue[0] if self.queue[0].kind == "end" else self.queue.popleft()

    def error(self, problem: str, token: Token | None = None) -> FormulaError:
        """Error at a token, by default the next one."""
        return FormulaError.at(self.formula, (token or self.queue[0]).start, problem)


def read_sum(tokens: Tokens) -> Sum:
    """Read parts joined by ``+`` and ``-``; a row of signs counts as one."""
    start = tokens.queue[0].start
    parts: list[tuple[Literal["+", "-"], Node]] = []
    sign = _signs(tokens)
    parts.append((sign or "+", _read_crossed(tokens)))
    while sign := _signs(tokens):
        parts.append((sign, _read_crossed(tokens)))
    return Sum(parts=tuple(parts), start=start)


def read_all(tokens: Tokens) -> Sum:
    """Read a whole right-hand side.

    Raises
    ------
    FormulaError : something is left over, or nothing is there.
    """
    node = read_sum(tokens)
    if tokens.next_is("end"):
        return node
    token = tokens.queue[0]
    if token.kind == "operator" and token.text in ("|", "||"):
        raise tokens.error("a random term stands in parentheses, as in (x | group).")
    if token.kind == "close":
        raise tokens.error("this ')' closes nothing that is open.")
    if token.kind == "comma":
        raise tokens.error("a comma has no meaning here; terms are joined by +.")
    raise tokens.error(f"there is no operator before {token.text!r}; terms are joined by +, * or :.")


def _signs(tokens: Tokens) -> Literal["+", "-"] | None:
    """Read a row of signs: minus if their number of minuses is odd; None if there is no sign."""
    if not tokens.next_is("operator", "+", "-"):
        return None
    minuses = 0
    while tokens.next_is("operator", "+", "-"):
        minuses += tokens.take().text == "-"
    return "-" if minuses % 2 else "+"


def _read_chain(tokens: Tokens, operators: tuple[str, ...], read_operand: Callable[[Tokens], Node]) -> Node:
    """Read operands joined by operators that group from the left."""
    node = read_operand(tokens)
    while tokens.next_is("operator", *operators):
        operator = tokens.take()
        right = read_operand(tokens)
        node = Product(operator=operator.text, left=node, right=right, start=operator.start)
    return node


def _read_crossed(tokens: Tokens) -> Node:
    return _read_chain(tokens, ("*", "/", "%in%"), _read_interaction)


def _read_interaction(tokens: Tokens) -> Node:
    return _read_chain(tokens, (":",), _read_power)


def _read_power(tokens: Tokens) -> Node:
    node = _read_operand(tokens)
    while tokens.next_is("operator", "^", "**"):
        operator = tokens.take()
        exponent = tokens.take()
        if exponent.kind != "number" or not exponent.text.isdigit() or int(exponent.text) < 1:
            problem = "an exponent must be a positive whole number; for a power of a column write I(x^2)."
            raise tokens.error(problem, exponent)
        right = Number(text=exponent.text, start=exponent.start)
        node = Product(operator="^", left=node, right=right, start=operator.start)
    return node


def _read_operand(tokens: Tokens) -> Node:
    """Read a column, an expression, a number, a dot, or what stands in parentheses."""
    token = tokens.take()
    if token.kind == "name":
        return Leaf(expression=column_expression(token.text, token.start), start=token.start)
    if token.kind == "python":
        offset = 1 if tokens.formula[token.start] == "{" else 0
        expression = python_expression(token.text, token.start + offset, tokens.formula)
        return Leaf(expression=expression, start=token.start)
    if token.kind == "number":
        return Number(text=token.text, start=token.start)
    if token.kind == "dot":
        return Dot(start=token.start)
    if token.kind in ("open", "structure"):
        return _read_parentheses(tokens, token)
    if token.kind == "end":
        raise tokens.error("the formula ends where a term is expected.", token)
    raise tokens.error(f"a term is expected here, not {token.text!r}.", token)


def _read_parentheses(tokens: Tokens, opening: Token) -> Node:
    """Read what stands in parentheses: a sum, or a random term if there is a bar."""
    parenthesis = tokens.take() if opening.kind == "structure" else opening
    if tokens.next_is("operator", "|", "||"):
        raise tokens.error("nothing stands before the bar; write (1 | group) for a random intercept.")
    parts = [read_sum(tokens)]
    while opening.kind == "structure" and tokens.next_is("comma"):
        tokens.take()
        parts.append(read_sum(tokens))
    if tokens.next_is("operator", "|", "||"):
        return _read_bar(tokens, opening, tuple(parts))
    _close(tokens, parenthesis)
    return parts[0]


def _read_bar(tokens: Tokens, opening: Token, parts: tuple[Sum, ...]) -> Bar:
    """Read the bar, the grouping columns and the closing parenthesis of a random term."""
    bar = tokens.take()
    structure = opening.text if opening.kind == "structure" else ""
    if structure and bar.text == "||":
        raise tokens.error(f"{structure}(...) takes a single bar; (x || g) is short for separate terms.", bar)
    if len(parts) > 1 and structure != "blocks":
        raise tokens.error(f"{structure}(...) takes one part before the bar; blocks(...) takes several.", opening)
    membership = _read_membership(tokens)
    groups = _read_groups(tokens) if membership is None else ((membership.name,),)
    known = _read_known(tokens, structure) if structure in WITH_MATRIX else None
    end = _close(tokens, opening).end
    return Bar(
        structure=structure, parts=parts, double=bar.text == "||", groups=groups, membership=membership, known=known,
        start=opening.start, end=end,
    )  # fmt: skip


def _read_membership(tokens: Tokens) -> Membership | None:
    """Read ``mm(a, b)`` if it comes next; it stands alone."""
    token = tokens.queue[0]
    if not (token.kind == "python" and token.text.startswith(MARK)):
        return None
    tokens.take()
    if tokens.next_is("operator", ":", "/"):
        raise tokens.error("mm(...) cannot be combined with other groups; give those a random term of their own.")
    return read_membership(token.text, token.start, tokens.formula)


def _read_known(tokens: Tokens, structure: str) -> str:
    """Read the comma and the name of a known matrix."""
    if not tokens.next_is("comma"):
        raise tokens.error(f"{structure}(...) names its matrix after the group, as in {structure}(0 + f | g, V).")
    tokens.take()
    token = tokens.take()
    if token.kind != "name":
        raise tokens.error("the name of a known matrix is expected here.", token)
    return token.text


def _read_groups(tokens: Tokens) -> tuple[tuple[str, ...], ...]:
    """Read ``a``, ``a:b`` or ``a/b``: the columns of each grouping factor, ``a/b`` being ``a`` and ``a:b``."""
    levels: list[tuple[str, ...]] = [()]
    while True:
        token = tokens.take()
        if token.kind == "python" and token.text.startswith(MARK):
            raise tokens.error("mm(...) cannot be combined with other groups; give it a random term of its own.", token)
        if token.kind == "python":
            raise tokens.error("a group must be a column; make the column first, then name it here.", token)
        if token.kind != "name":
            shown = "nothing" if token.kind in ("close", "end") else repr(token.text)
            raise tokens.error(f"a grouping column is expected after the bar, not {shown}.", token)
        if token.text in levels[-1]:
            raise tokens.error(f"the grouping column {token.text!r} stands here twice.", token)
        levels[-1] = (*levels[-1], token.text)
        if tokens.next_is("operator", "/"):
            levels.append(levels[-1])
        elif not tokens.next_is("operator", ":"):
            break
        tokens.take()
    if tokens.next_is("operator"):
        problem = "a term has one grouping factor: write a, a:b or a/b, and join several terms by +."
        raise tokens.error(problem)
    return tuple(levels)


def _close(tokens: Tokens, opening: Token) -> Token:
    """Take the closing parenthesis that belongs to `opening`."""
    if tokens.next_is("close"):
        return tokens.take()
    if tokens.next_is("end"):
        raise tokens.error("this '(' is never closed.", opening)
    if tokens.next_is("comma"):
        names = ", ".join(STRUCTURES)
        raise tokens.error(f"a comma may only stand inside a function or a named random term ({names}).")
    raise tokens.error(f"there is no operator before {tokens.queue[0].text!r}; terms are joined by +, * or :.")
