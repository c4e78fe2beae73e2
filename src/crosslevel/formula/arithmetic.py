"""Expressions that treat each row by itself: arithmetic, comparisons and elementwise functions of numpy.

They need no memory and no formulaic; the values are the same.
"""

import ast
import copy
from collections.abc import Mapping
from functools import lru_cache
from types import CodeType
from typing import Any

import numpy as np

from crosslevel.types import FloatArray


def _itself(values: Any) -> Any:
    """``I(...)`` protects arithmetic from being read as a formula, and changes nothing."""
    return values


def _power_of_ten(values: Any) -> Any:
    """10 to the power of `values`; formulaic 1.2 has the 10th power under this name."""
    return np.power(10.0, values)


FUNCTIONS: dict[str, Any] = {
    "I": _itself,
    "abs": np.abs,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "exp": np.exp,
    "exp2": np.exp2,
    "exp10": _power_of_ten,
}
"""Functions known by a bare name."""


def is_elementwise(tree: ast.AST) -> bool:
    """Whether an expression of numeric columns gives each row a value that depends on this row alone."""
    match tree:
        case ast.Name():
            return True
        case ast.Constant(value=value):
            return isinstance(value, int | float)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Invert(), operand=operand):
            return is_elementwise(operand)
        case ast.BinOp(left=left, op=operator, right=right):
            return not isinstance(operator, ast.MatMult) and is_elementwise(left) and is_elementwise(right)
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            ordered = not isinstance(operator, ast.In | ast.NotIn | ast.Is | ast.IsNot)
            return ordered and is_elementwise(left) and is_elementwise(right)
        case ast.Call(func=function, args=arguments, keywords=[]):
            return _is_known(function, len(arguments)) and all(is_elementwise(argument) for argument in arguments)
    return False


def leaves(tree: ast.AST) -> list[ast.Name]:
    """Names in an elementwise expression that stand for columns, not for functions."""
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    functions |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return [node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in functions]


@lru_cache(maxsize=512)
def neutral(tree: ast.AST, kept: frozenset[str]) -> tuple[str, dict[str, str]]:
    """Text of an elementwise expression with other names for columns, one of which may have the name of a function.

    Returns
    -------
    text : the expression; names in `kept` are as they were.
    names : what the new names stand for.
    """
    own, names = copy.deepcopy(tree), dict[str, str]()
    for node in leaves(own):
        if node.id not in kept:
            name = f"_value_{len(kept) + len(names)}"
            names[name], node.id = node.id, name
    return ast.unparse(own), names


def compute(text: str, columns: Mapping[str, Any], size: int) -> FloatArray:
    """Values of an elementwise expression, (size,).

    Parameters
    ----------
    text : the expression, each name an identifier.
    columns : the values of each name.
    size : number of rows.
    """
    found = eval(_compiled(text), {"__builtins__": {}, "np": np, **FUNCTIONS, **columns})
    return np.broadcast_to(np.asarray(found, dtype=np.float64), (size,))


@lru_cache(maxsize=512)
def _compiled(text: str) -> CodeType:
    return compile(text, "<formula>", "eval")


def _is_known(function: ast.expr, n_arguments: int) -> bool:
    """Whether a function is one of ours, or an elementwise function of numpy with this number of arguments."""
    match function:
        case ast.Name(id=name):
            return name in FUNCTIONS and n_arguments == 1
        case ast.Attribute(value=ast.Name(id="np"), attr=name):
            known = getattr(np, name, None)
            if isinstance(known, np.ufunc):
                return known.nin == n_arguments and known.nout == 1 and known.signature is None
            return (name, n_arguments) in {("where", 3), ("clip", 3)}
    return False
