"""Calculations in the syntax of other languages."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from crosslevel.estimators.translation.preparing import unknown_expression

BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARED = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


@dataclass(frozen=True, kw_only=True)
class Language:
    """How a language writes calculations.

    Attributes
    ----------
    power : the sign between base and exponent.
    compared : signs of comparison that differ from ==, !=, <, <=, >, >=.
    functions : names of functions that differ, "log2(x)" as a pattern with {0} for the argument.
    both, either, negated : logical signs.
    quote : around text.
    """

    power: str
    functions: Mapping[str, str]
    compared: Mapping[str, str]
    both: str = "&"
    either: str = "|"
    negated: str = "!"
    quote: str = '"'

    def write(self, tree: ast.expr) -> str:
        """An expression; parentheses wherever they may be needed."""
        match tree:
            case ast.Name(id=name):
                return name
            case ast.Constant(value=str(text)):
                return f"{self.quote}{text}{self.quote}"
            case ast.Constant(value=bool(value)):
                return str(int(value))
            case ast.Constant(value=int() | float() as value):
                return repr(value)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return f"{self._inner(left)}{self.power}{self._inner(right)}"
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as op, right=right):
                sign = self.both if isinstance(op, ast.BitAnd) else self.either
                return f"{self._inner(left)} {sign} {self._inner(right)}"
            case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
                return f"{self._inner(left)} {BINARY[type(op)]} {self._inner(right)}"
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"-{self._inner(operand)}"
            case ast.UnaryOp(op=ast.Invert() | ast.Not(), operand=operand):
                return f"{self.negated}{self._inner(operand)}"
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARED:
                sign = COMPARED[type(op)]
                return f"{self._inner(left)} {self.compared.get(sign, sign)} {self._inner(right)}"
            case ast.Call(func=ast.Name(id=name), args=[argument]):
                return self.functions.get(name, f"{name}({{0}})").format(self.write(argument))
        raise unknown_expression(ast.unparse(tree))

    def _inner(self, tree: ast.expr) -> str:
        """An operand, in parentheses unless it is simple."""
        text = self.write(tree)
        return text if isinstance(tree, ast.Name | ast.Call | ast.Constant) else f"({text})"


R = Language(power="^", functions={}, compared={})
STATA = Language(
    power="^", compared={},
    functions={"log2": "ln({0})/ln(2)", "log1p": "ln(1 + {0})", "log": "ln({0})"},
)  # fmt: skip
SPSS = Language(
    power=" ** ", compared={"==": "=", "!=": "<>"}, both="AND", either="OR", negated="NOT ", quote="'",
    functions={"log": "LN({0})", "log10": "LG10({0})", "log2": "LN({0}) / LN(2)", "log1p": "LN(1 + {0})",
               "exp": "EXP({0})", "sqrt": "SQRT({0})", "abs": "ABS({0})", "round": "RND({0})", "floor": "TRUNC({0})"},
)  # fmt: skip
SAS = Language(
    power=" ** ", compared={"==": "=", "!=": "ne"}, both="and", either="or", negated="not ",
    functions={"log1p": "log(1 + {0})"},
)  # fmt: skip
MPLUS = Language(
    power="**", compared={"!=": "/="}, both="AND", either="OR", negated="NOT ",
    functions={"log1p": "LOG(1 + {0})", "log": "LOG({0})", "exp": "EXP({0})", "sqrt": "SQRT({0})",
               "abs": "ABS({0})", "log10": "LOG10({0})", "log2": "LOG({0}) / LOG(2)"},
)  # fmt: skip
PYTHON = Language(
    power=" ** ", compared={}, negated="~",
    functions={name: f"np.{name}({{0}})" for name in ("log", "exp", "sqrt", "abs", "log2", "log10", "log1p", "floor")},
)  # fmt: skip
