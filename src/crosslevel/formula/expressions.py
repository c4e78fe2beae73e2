"""Python expressions inside a formula: one spelling for each, and the columns it uses."""

import ast
import keyword
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from crosslevel.errors import FormulaError
from crosslevel.formula.tokens import find_top_level, skip_bracketed, skip_quoted

NAMESPACES = frozenset({"np", "contr"})
"""Names that are never columns when a dot follows them, as in ``np.sqrt(x)`` and ``contr.sum``."""

CONTRASTS = frozenset({"Treatment", "Sum", "Helmert", "Diff", "Poly"})
"""Names that formulaic knows as codings when they stand in a call, as in ``C(f, Sum)``."""

_PLAIN = re.compile(r"(?!\d+\.?\d*$|\.\d*$)[\w.]+$")
_GROUPED = re.compile(r"(?<![\w.])(?:within|between)\s*\(")


@dataclass(frozen=True)
class Expression:
    """A column, or an expression of columns, as it is named in results.

    Two expressions are equal if they have the same name; `start` is the place in the formula.
    """

    text: str
    is_column: bool
    variables: tuple[str, ...]
    start: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and (self.text, self.is_column) == (other.text, other.is_column)

    def __hash__(self) -> int:
        return hash((self.text, self.is_column))

    @property
    def source(self) -> str:
        """The text that gives this expression when it is written in a formula."""
        return quoted(self.text) if self.is_column else self.text

    @property
    def factor(self) -> str:
        """The text that gives it as a factor of a term: in braces where it is a bare calculation."""
        plain = self.is_column or isinstance(
            compile_expression(self.text).tree, (ast.Call, ast.Subscript, ast.Attribute)
        )
        return self.source if plain else f"{{{self.text}}}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Code:
    """An expression as Python code in which every name is an identifier.

    `aliases` maps the identifiers that stand for something else: for a column whose name is none (to that name),
    or for the interaction of grouping columns in ``within(x, a:b)`` (to the tuple of their names).
    """

    tree: ast.expr
    aliases: dict[str, str | tuple[str, ...]]

    def column(self, identifier: str) -> str:
        """Name of the column that an identifier stands for."""
        alias = self.aliases.get(identifier, identifier)
        return alias if isinstance(alias, str) else ":".join(alias)

    def group(self, identifier: str) -> tuple[str, ...]:
        """Names of the grouping columns that an identifier stands for."""
        alias = self.aliases.get(identifier, identifier)
        return alias if isinstance(alias, tuple) else (alias,)

    @cached_property
    def whole(self) -> str:
        """Canonical text of all of the expression; see `text`."""
        return self._written(self.tree)

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Columns it uses, each once, in order of first use."""
        return used_columns(self)

    def text(self, tree: ast.expr | None = None) -> str:
        """Canonical text of a part of the expression (all of it by default), backquotes restored."""
        return self.whole if tree is None or tree is self.tree else self._written(tree)

    def part(self, tree: ast.expr) -> "Code":
        """A part of the expression by itself."""
        return self if tree is self.tree else Code(tree=tree, aliases=self.aliases)

    def _written(self, tree: ast.expr) -> str:
        """Text of a part."""
        text = ast.unparse(tree).replace("\n", " ")
        for identifier, alias in self.aliases.items():
            shown = f"`{alias}`" if isinstance(alias, str) else ":".join(_identified(name) for name in alias)
            text = re.sub(rf"\b{identifier}\b", shown.replace("\\", r"\\"), text)
        return text


def quoted(name: str) -> str:
    """Column name as it must be written in a formula: in backquotes where it is no plain word.

    Examples
    --------
    >>> quoted("ses"), quoted("math score"), quoted("2019")
    ('ses', '`math score`', '`2019`')
    """
    return name if _PLAIN.match(name) else f"`{name}`"


def column_expression(name: str, start: int) -> Expression:
    """Expression for a bare column name."""
    return Expression(name, True, (name,), start)


def python_expression(text: str, start: int, formula: str) -> Expression:
    """Expression for Python text that stands at `start` in `formula`.

    Raises
    ------
    FormulaError : the text is no Python expression.
    """
    try:
        code = compile_expression(text)
    except SyntaxError as error:
        offset = min(max((error.offset or 1) - 1, 0), max(len(text) - 1, 0))
        message = f"`{text}` is not a valid expression ({error.msg})."
        raise FormulaError.at(formula, start + offset, message) from None
    if isinstance(code.tree, ast.Name):
        return column_expression(code.column(code.tree.id), start)
    return Expression(code.text(), False, code.variables, start)


@lru_cache(maxsize=512)
def compile_expression(text: str) -> Code:
    """Python text -> syntax tree, with backquoted names and interactions of groups replaced by identifiers.

    ``^`` is a power, as everywhere in a formula (in Python it would be the bitwise exclusive or).
    """
    aliases: dict[str, str | tuple[str, ...]] = {}
    plain = _name_groups(_name_backquotes(text, aliases), aliases)
    tree = ast.parse(plain.strip(), mode="eval").body
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            node.op = ast.Pow()
    return Code(tree=tree, aliases=aliases)


def used_columns(code: Code) -> tuple[str, ...]:
    """Columns an expression uses, each once, in order of first use."""
    nodes = sorted(ast.walk(code.tree), key=lambda node: getattr(node, "col_offset", -1))
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    namespaces = {
        id(node.value)
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in NAMESPACES
    }
    never = CONTRASTS | {node.arg for node in nodes if isinstance(node, ast.arg)}
    names: dict[str, None] = {}
    for node in nodes:
        if isinstance(node, ast.Name) and id(node) not in functions | namespaces and node.id not in never:
            names.update(dict.fromkeys(code.group(node.id)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Q":
            names.update({str(arg.value): None for arg in node.args if isinstance(arg, ast.Constant)})
    return tuple(names)


def called_names(tree: ast.expr) -> tuple[str, ...]:
    """Names of the functions an expression calls, without those that are reached through a dot."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return tuple(dict.fromkeys(function.id for function in calls if isinstance(function, ast.Name)))


def _identified(name: str) -> str:
    """Column name as it must be written in Python code: in backquotes where it is no identifier."""
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"`{name}`"


def _name_backquotes(text: str, aliases: dict[str, str | tuple[str, ...]]) -> str:
    """Replace each backquoted name by an identifier, recorded in `aliases` where it had to be invented."""
    pieces: list[str] = []
    position = 0
    while position < len(text):
        if text[position] not in "'\"`":
            pieces.append(text[position])
            position += 1
            continue
        end = skip_quoted(text, position)
        name = text[position + 1 : end - 1]
        if text[position] != "`":
            pieces.append(text[position:end])
        else:
            pieces.append(f" {_alias(name, text, aliases) if '`' in _identified(name) else name} ")
        position = end
    return "".join(pieces)


def _name_groups(text: str, aliases: dict[str, str | tuple[str, ...]]) -> str:
    """Replace `a:b` as the second argument of within() and between() by an identifier."""
    for call in reversed(list(_GROUPED.finditer(text))):
        end = skip_bracketed(text, call.end() - 1) - 1
        commas = find_top_level(text, call.end(), end, ",")
        group = text[commas[-1] + 1 : end] if commas else ""
        names = tuple(name.strip() for name in group.split(":"))
        if len(names) > 1 and all(name.isidentifier() for name in names):
            columns = tuple(_aliased_column(name, aliases) for name in names)
            text = f"{text[: commas[-1] + 1]} {_alias(columns, text, aliases)}{text[end:]}"
    return text


def _aliased_column(identifier: str, aliases: dict[str, str | tuple[str, ...]]) -> str:
    """Column name behind an identifier."""
    alias = aliases.get(identifier, identifier)
    return alias if isinstance(alias, str) else ":".join(alias)


def _alias(value: str | tuple[str, ...], text: str, aliases: dict[str, str | tuple[str, ...]]) -> str:
    """Identifier for `value` that does not occur in `text`; the same one for the same value."""
    for identifier, known in aliases.items():
        if known == value:
            return identifier
    number = len(aliases)
    while f"_column_{number}" in text or f"_column_{number}" in aliases:
        number += 1
    aliases[f"_column_{number}"] = value
    return f"_column_{number}"
