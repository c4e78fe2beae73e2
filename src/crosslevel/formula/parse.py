"""Formula text -> `Formula`: the response, the fixed terms, and the random terms of lme4."""

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from crosslevel.errors import FormulaError
from crosslevel.formula.expressions import Expression, column_expression, python_expression, quoted
from crosslevel.formula.membership import Membership
from crosslevel.formula.syntax import Bar, Node, Number, Sum, Tokens, read_all
from crosslevel.formula.terms import Term, Terms, expand, random_terms
from crosslevel.formula.tokens import find_top_level, tokenize

_RANDOM = re.compile(r"(?<![\w.])\([^()]*\|[^()]*\)\s*$")
"""Parentheses with a bar that are no call: a random term, where the outcome should stand."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomPart:
    """One random term as written, for one grouping factor.

    text : the term, as in "(1 + x | g)".
    group : the grouping columns: ("g",), or ("a", "b") for the interaction `a:b`.
        For multiple membership its name, as in ("mm(teacher1, teacher2)",), which is no column.
    structure : how the coefficients of a block vary together: "us" (freely), "diag", "cs", "ar1", "hcs", "har1" or
        "propto".
    rhs : for each block the text of its design, intercept spelt out.
    blocks : for each block its terms.
    start : the place of the term in the formula.
    membership : the groups of a row where they are several.
    known : the name of the known matrix of "propto" and "equalto".
    """

    text: str
    group: tuple[str, ...]
    structure: str
    rhs: tuple[str, ...]
    blocks: tuple[Terms, ...]
    start: int
    membership: Membership | None = None
    known: str | None = None

    @property
    def group_text(self) -> str:
        """What stands after the bar, the matrix excepted."""
        return self.membership.text if self.membership else ":".join(quoted(name) for name in self.group)


@dataclass(frozen=True, kw_only=True, eq=False)
class Formula:
    """A formula, read but not yet tied to data.

    text : the formula, on one line.
    response : the outcome, a column or an expression of columns.
    fixed : the text of the fixed part, intercept spelt out.
    fixed_terms : its terms, sorted by degree.
    random : the random terms, in the order in which they are written.
    """

    text: str
    response: Expression
    fixed: str
    fixed_terms: Terms
    random: tuple[RandomPart, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """All columns of the data that the formula uses, each once: response, fixed part, random terms, groups."""
        several = (name for part in self.random if part.membership for name in part.membership.variables)
        return tuple(dict.fromkeys([*self.required, *several]))

    @property
    def required(self) -> tuple[str, ...]:
        """The columns in which a row may have no missing value: all but members of ``mm(...)`` and their weights."""
        slopes = (term for part in self.random for block in part.blocks for term in block)
        expressions = [self.response, *_expressions(self.fixed_terms), *_expressions(slopes)]
        names = [name for expression in expressions for name in expression.variables]
        groups = (name for part in self.random if part.membership is None for name in part.group)
        return tuple(dict.fromkeys([*names, *groups]))

    @property
    def known(self) -> tuple[str, ...]:
        """Names of the known matrices, each once."""
        return tuple(dict.fromkeys(part.known for part in self.random if part.known))


def parse(text: str, names: Iterable[str] = ()) -> Formula:
    """Read a formula: ``response ~ fixed terms + (random terms | group)``.

    The fixed part has the operators of R and formulaic (``+ - * / : ^ %in%``, parentheses, ``0`` and ``1`` for the
    intercept, ``2:x`` to scale) on columns, on backquoted columns, and on Python expressions of columns inside a
    function, ``I(...)`` or ``{...}``. ``^`` is a power everywhere. Random terms are those of lme4:

    ==========================  =====================================================================
    ``(x | g)``                 intercept and slope of `x` vary over `g`, correlated
    ``(0 + x | g)``             the slope alone; also ``(-1 + x | g)``
    ``(x || g)``                as ``blocks(1, 0 + x | g)``: uncorrelated; a factor keeps one block
    ``(1 | a:b)``               the groups are the combinations of `a` and `b`
    ``(1 | a/b)``               as ``(1 | a) + (1 | a:b)``
    ``blocks(1 + a, 0 + b | g)``  several uncorrelated blocks; an intercept only where a 1 is written
    ``diag(1 + x | g)``         all columns uncorrelated, those of a factor too; ``cs ar1 hcs har1 us`` likewise
    ``propto(0 + f | g, V)``    covariance known up to a factor: the matrix named `V`
    ``equalto(0 + f | g, V)``   covariance known: the matrix named `V`, in squared units of the outcome
    ``(1 | mm(a, b))``          rows belong to the groups in `a` and in `b`, equally or ``weights=[v, w]``
    ==========================  =====================================================================

    Parameters
    ----------
    text : the formula.
    names : the columns a dot stands for, without those of the response and the groups.

    Returns
    -------
    formula : the parsed formula; `random` is empty if there are no random terms.

    Raises
    ------
    FormulaError : the text is no formula; the message marks the place.

    Examples
    --------
    >>> formula = parse("mathach ~ ses * sector + (ses | school)")
    >>> formula.response.text, formula.fixed
    ('mathach', '1 + ses + sector + ses:sector')
    >>> [(part.structure, part.rhs, part.group) for part in formula.random]
    [('us', ('1 + ses',), ('school',))]
    >>> parse("y ~ x + (1 | )")
    Traceback (most recent call last):
    ...
    crosslevel.errors.FormulaError: `formula` cannot be read: a grouping column is expected after the bar, not nothing.
        y ~ x + (1 | )
                     ^
    """
    return _parsed(one_line(text), tuple(names))


@lru_cache(maxsize=128)
def _parsed(formula: str, names: tuple[str, ...]) -> Formula:
    """The formula on one line, read once for the same columns; see `parse`."""
    tilde = find_tilde(formula)
    response = read_response(formula, tilde)
    tree = read_right_side(formula, tilde)
    random = tuple(part for bar in random_terms(tree) for part in random_parts(bar, formula))
    refuse_repeated(random, formula)
    groups = {name for part in random for name in (part.membership.variables if part.membership else part.group)}
    others = [name for name in names if name not in groups and name not in response.variables]
    dot = tuple(Term((column_expression(name, 0),), 1.0, 0) for name in others) if names else None
    terms = expand(tree, formula, intercept=True, dot=dot)
    return Formula(text=formula, response=response, fixed=write_terms(terms), fixed_terms=terms, random=random)


def one_line(text: object) -> str:
    """Formula on one line, every character in its place from the first that is no space.

    Raises
    ------
    FormulaError : it is no text, or there is nothing in it.
    """
    if not isinstance(text, str):
        example = '"y ~ x + (x | group)"'
        raise FormulaError(f"`formula` must be text such as {example}; got {type(text).__name__}.")
    formula = "".join(" " if character.isspace() else character for character in text.strip())
    if not formula:
        raise FormulaError('`formula` is empty; write something like "y ~ x + (x | group)".')
    return formula


def find_tilde(formula: str) -> int:
    """Position of the one ``~``.

    Raises
    ------
    FormulaError : there is none, or more than one.
    """
    tildes = find_top_level(formula, 0, len(formula), "~")
    if not tildes:
        raise FormulaError.at(formula, len(formula), "there is no ~; write outcome ~ predictors.")
    if len(tildes) > 1:
        raise FormulaError.at(formula, tildes[1], "a formula has one ~, and this is the second.")
    return tildes[0]


def read_response(formula: str, tilde: int) -> Expression:
    """Response of a formula: the expression before the tilde."""
    text = formula[:tilde].strip()
    if not text:
        raise FormulaError.at(formula, 0, "nothing stands before ~; the outcome goes there.")
    if _RANDOM.search(text):
        raise FormulaError.at(formula, 0, "a random term goes after ~, the outcome before it.")
    response = python_expression(text, formula.find(text), formula)
    if not response.variables:
        raise FormulaError.at(formula, 0, f"the outcome `{text}` names no column.")
    return response


def read_right_side(formula: str, tilde: int) -> Sum:
    """Syntax tree of what stands after the tilde."""
    if not formula[tilde + 1 :].strip():
        raise FormulaError.at(formula, len(formula), "nothing stands after ~; write 1 for an intercept alone.")
    return read_all(Tokens(formula=formula, queue=deque(tokenize(formula, tilde + 1))))


def write_terms(terms: Terms) -> str:
    """Formula text of some terms, with an explicit 1 or 0 for the intercept."""
    rest = [term.source for term in terms if term.expressions]
    if len(rest) < len(terms):
        return " + ".join(["1", *rest])
    return " + ".join(["0", *rest])


def write_random(part: RandomPart) -> str:
    """Formula text of one random part.

    Examples
    --------
    >>> [write_random(part) for part in parse("y ~ 1 + (x || a/b)").random]
    ['blocks(1, 0 + x | a)', 'blocks(1, 0 + x | a:b)']
    """
    name = "blocks" if len(part.rhs) > 1 else "" if part.structure == "us" else part.structure
    known = f", {quoted(part.known)}" if part.known else ""
    return f"{name}({', '.join(part.rhs)} | {part.group_text}{known})"


def _expressions(terms: Iterable[Term]) -> list[Expression]:
    return [expression for term in terms for expression in term.expressions]


def random_parts(bar: Bar, formula: str) -> list[RandomPart]:
    """Random parts of one bar: one for each level of ``/``."""
    blocks = _blocks(bar, formula)
    for nested in (inner for part in bar.parts for inner in random_terms(part)):
        raise FormulaError.at(formula, nested.start, "a random term cannot stand inside another random term.")
    for index, terms in enumerate(blocks):
        if not terms:
            place = bar.parts[min(index, len(bar.parts) - 1)].start
            problem = "nothing varies in this term: its intercept is removed and there is no slope."
            raise FormulaError.at(formula, place, problem)
    return [
        RandomPart(
            text=formula[bar.start : bar.end],
            group=group,
            structure=bar.structure if bar.structure not in ("", "blocks") else "us",
            rhs=tuple(write_terms(terms) for terms in blocks),
            blocks=blocks,
            start=bar.start,
            membership=bar.membership,
            known=bar.known,
        )
        for group in bar.groups
    ]


def _blocks(bar: Bar, formula: str) -> tuple[Terms, ...]:
    """Terms of each block of a random term."""
    if bar.structure == "blocks":
        if not any(_speaks_of_intercept(part) for part in bar.parts):
            problem = "say where the intercept goes: blocks(1 + a, b | g), or blocks(0 + a, b | g) for none."
            raise FormulaError.at(formula, bar.start, problem)
        return tuple(expand(part, formula, intercept=False) for part in bar.parts)
    terms = expand(bar.parts[0], formula, intercept=True)
    if bar.double:
        return tuple((term,) for term in terms) or ((),)
    return (terms,)


def _speaks_of_intercept(node: Node) -> bool:
    """Whether a literal 0 or 1 stands in a sum."""
    return isinstance(node, Number) or (
        isinstance(node, Sum) and any(_speaks_of_intercept(part) for _, part in node.parts)
    )


def refuse_repeated(parts: tuple[RandomPart, ...], formula: str) -> None:
    """Raise `FormulaError` if a coefficient varies twice over the same groups, or members have several weights."""
    seen: set[tuple[frozenset[str], frozenset[Expression]]] = set()
    weights: dict[tuple[str, ...], Membership | None] = {}
    for part in parts:
        if weights.setdefault(part.group, part.membership) != part.membership:
            problem = f"{part.group[0]} has other weights in an earlier term; terms of the same groups share theirs."
            raise FormulaError.at(formula, part.start, problem)
        for term in (term for block in part.blocks for term in block):
            slope = (frozenset(part.group), term.key)
            if slope in seen:
                what = f"the slope of {term.source}" if term.expressions else "the intercept"
                group = ":".join(part.group)
                raise FormulaError.at(
                    formula,
                    part.start,
                    f"{what} varies over {group} in an earlier term already, and two variances of the same effect "
                    f"cannot be told apart. Keep it in one term; (0 + x | {group}) has no intercept.",
                )
            seen.add(slope)
