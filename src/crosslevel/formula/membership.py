"""Multiple membership: rows that belong to several groups at once, as in ``(1 | mm(teacher1, teacher2))``."""

import ast
import keyword
from dataclasses import dataclass

from crosslevel.errors import FormulaError
from crosslevel.formula.expressions import Code, compile_expression

MARK = "mm("
"""How a grouping by multiple membership begins."""


@dataclass(frozen=True, kw_only=True)
class Membership:
    """The groups a row belongs to, and how much to each.

    members : the columns that name the groups; all draw on the same levels. Missing means one group less.
    weights : for each member the column of its weight; empty where all groups of a row count the same.
    """

    members: tuple[str, ...]
    weights: tuple[str, ...]

    @property
    def name(self) -> str:
        """The members, as in "mm(teacher1, teacher2)"."""
        return f"{MARK}{_listed(self.members)})"

    @property
    def text(self) -> str:
        """Formula text, weights included."""
        weights = f", weights=[{_listed(self.weights)}]" if self.weights else ""
        return f"{MARK}{_listed(self.members)}{weights})"

    @property
    def variables(self) -> tuple[str, ...]:
        """Members and weights."""
        return (*self.members, *self.weights)


def read_membership(text: str, start: int, formula: str) -> Membership:
    """Membership that a call such as ``mm(t1, t2, weights=[w1, w2])`` at `start` describes.

    Raises
    ------
    FormulaError : it is no such call.
    """
    try:
        code = compile_expression(text)
    except SyntaxError:
        raise _error(formula, start, "this cannot be read; put unusual column names in backquotes.") from None
    call = code.tree
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        raise _error(formula, start, "nothing may follow the closing parenthesis.")
    members = _columns(call.args, code, start, formula, "the members")
    weights: tuple[str, ...] = ()
    for argument in call.keywords:
        if argument.arg != "weights":
            raise _error(formula, start, f"there is no argument {argument.arg!r}; there is weights=[...].")
        weights = _columns(_elements(argument.value, start, formula), code, start, formula, "the weights")
    if len(members) < 2:
        raise _error(formula, start, "at least two columns name the groups of a row; for one, write (1 | group).")
    if weights and len(weights) != len(members):
        raise _error(formula, start, f"there are {len(members)} members but {len(weights)} weights; name one for each.")
    repeated = [name for k, name in enumerate(members) if name in members[:k]]
    if repeated:
        raise _error(formula, start, f"the member {repeated[0]!r} stands here twice.")
    return Membership(members=members, weights=weights)


def _elements(value: ast.expr, start: int, formula: str) -> list[ast.expr]:
    """Elements of ``[a, b]``, ``(a, b)`` or ``c(a, b)``."""
    match value:
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return elements
        case ast.Call(func=ast.Name(id="c"), args=elements, keywords=[]):
            return elements
    raise _error(formula, start, "the weights are a list of columns, weights=[w1, w2].")


def _columns(nodes: list[ast.expr], code: Code, start: int, formula: str, what: str) -> tuple[str, ...]:
    """Names of columns; refuses anything else."""
    for node in nodes:
        if not isinstance(node, ast.Name):
            shown = code.text(node)
            problem = f"{what} must be columns, not `{shown}`; make the column first, or put its name in backquotes."
            raise _error(formula, start, problem)
    return tuple(code.column(node.id) for node in nodes if isinstance(node, ast.Name))


def _error(formula: str, start: int, problem: str) -> FormulaError:
    return FormulaError.at(formula, start, f"mm(...) lists the groups a row belongs to, mm(t1, t2): {problem}")


def _listed(names: tuple[str, ...]) -> str:
    """Column names as Python code, in backquotes where they are no identifiers."""
    plain = (name.isidentifier() and not keyword.iskeyword(name) for name in names)
    return ", ".join(name if fine else f"`{name}`" for name, fine in zip(names, plain, strict=True))
