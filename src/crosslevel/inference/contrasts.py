"""Contrasts of the fixed coefficients, as people write them: numbers, or expressions in the coefficients' names.

An expression is a sum of coefficients with numbers: ``ses:sector[Catholic] - ses``, ``0.5 * a + 0.5 * b``,
``(a + b) / 2``. A name is taken as it is printed, whatever signs it holds (``I(x ** 2)``, ``within(ses, school)``): the
longest that fits counts, and the order of an interaction's parts does not. A name in backquotes is taken as it stands.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.types import FloatArray

Contrasts: TypeAlias = "str | Mapping[str, object] | Sequence[object] | FloatArray | pd.DataFrame | pd.Series[float]"
"""What `contrast_matrix` reads."""

NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

MOST_PARTS = 5
"""Parts of an interaction up to which every order of them is known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Coefficients:
    """The names that expressions may use.

    Attributes
    ----------
    names : of the p coefficients.
    position : of every spelling of a name.
    """

    names: tuple[str, ...]
    position: Mapping[str, int]

    @classmethod
    def of(cls, names: Sequence[str], parts: Sequence[Sequence[str]]) -> "Coefficients":
        """Names, and the parts of interactions."""
        position: dict[str, int] = {}
        for i, some in enumerate(parts):
            orders = itertools.permutations(some) if 1 < len(some) <= MOST_PARTS else ()
            position.update((":".join(order), i) for order in orders)
        position.update((name, i) for i, name in enumerate(names))
        return cls(names=tuple(names), position=position)

    def place(self, name: str) -> int:
        """Position of a coefficient.

        Raises
        ------
        CrosslevelError : there is none of this name.
        """
        if name not in self.position:
            close = get_close_matches(name, self.names, n=1, cutoff=0.4)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise CrosslevelError(
                f"`contrasts` uses {name!r}, which is no coefficient.{hint} Coefficients: {', '.join(self.names)}."
            )
        return self.position[name]

    def unit(self, name: str) -> FloatArray:
        """(p,) weights of one coefficient."""
        return np.asarray(np.eye(len(self.names))[self.place(name)])


def contrast_matrix(contrasts: Contrasts, coefficients: Coefficients) -> tuple[tuple[str, ...], FloatArray]:
    """Names and rows C (m, p) of contrasts.

    Parameters
    ----------
    contrasts : an expression, or several; weights by coefficient such as {"a": 1, "b": -1}; several contrasts by name,
        {"name": expression or weights}; a frame with a row for each and columns named by coefficients; or numbers (p,)
        or (m, p).
    coefficients : their names.

    Raises
    ------
    CrosslevelError : they cannot be read; the message says what is wrong.
    """
    if isinstance(contrasts, Mapping) and not contrasts:
        contrasts = []
    if isinstance(contrasts, pd.DataFrame):
        rows = [_weights(row, coefficients) for _, row in contrasts.iterrows()]
        names = [str(name) for name in contrasts.index]
    elif isinstance(contrasts, str):
        names, rows = [contrasts], [parse_contrast(contrasts, coefficients)]
    elif isinstance(contrasts, Mapping) and not all(isinstance(value, (int, float)) for value in contrasts.values()):
        names, rows = [str(name) for name in contrasts], [_weights(some, coefficients) for some in contrasts.values()]
    elif isinstance(contrasts, (Mapping, pd.Series)):
        rows = [_weights(contrasts, coefficients)]
        names = [written(rows[0], coefficients)]
    else:
        rows = [_weights(some, coefficients) for some in _each(contrasts)]
        given = [some if isinstance(some, str) else None for some in _each(contrasts)]
        names = [written(row, coefficients) if name is None else name for name, row in zip(given, rows, strict=True)]
    if not rows:
        raise CrosslevelError("`contrasts` is empty. Give an expression such as 'a - b', or weights of coefficients.")
    matrix = np.array(rows, dtype=np.float64)
    nothing = [name for name, row in zip(names, matrix, strict=True) if not np.any(row)]
    if nothing:
        raise CrosslevelError(f"`contrasts` holds {nothing[0]!r}, in which every coefficient has the weight zero.")
    return tuple(names), matrix


def parse_contrast(text: str, coefficients: Coefficients) -> FloatArray:
    """Weights (p,) of the coefficients in an expression.

    Raises
    ------
    CrosslevelError : it is no linear combination of coefficients.

    Examples
    --------
    >>> known = Coefficients.of(["Intercept", "ses", "ses:f[b]"], [[], ["ses"], ["ses", "f[b]"]])
    >>> parse_contrast("2 * f[b]:ses - (ses + Intercept) / 2", known)
    array([-0.5, -0.5,  2. ])
    """
    reader = _Reader(text=text, coefficients=coefficients, spellings=sorted(coefficients.position, key=len)[::-1])
    value, at = reader.total(0)
    if at < len(text):
        raise reader.error(at, "something is left over")
    if value[-1] != 0.0:
        raise reader.error(0, "a number stands alone; a contrast is a combination of coefficients")
    return value[:-1]


def written(weights: FloatArray, coefficients: Coefficients) -> str:
    """Weights (p,) as an expression."""
    out = ""
    for weight, name in zip(weights, coefficients.names, strict=True):
        if weight == 0.0:
            continue
        size = "" if abs(weight) == 1.0 else f"{abs(weight):.4g} * "
        sign = ("-" if weight < 0.0 else "") if not out else (" - " if weight < 0.0 else " + ")
        out += f"{sign}{size}{name}"
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class _Reader:
    """Recursive descent: each rule returns a value (p + 1,), the weights and a number last, and where it ends."""

    text: str
    coefficients: Coefficients
    spellings: Sequence[str]

    def total(self, at: int) -> tuple[FloatArray, int]:
        """Sum of products with signs."""
        value, at = self.product(at)
        while (sign := self._next(at)) in ("+", "-"):
            other, at = self.product(self._skip(at) + 1)
            value = value + other if sign == "+" else value - other
        return value, at

    def product(self, at: int) -> tuple[FloatArray, int]:
        """Factors, all but one of which are numbers."""
        value, at = self.factor(at)
        while (sign := self._next(at)) in ("*", "/"):
            start = self._skip(at) + 1
            other, at = self.factor(start)
            if sign == "/" and (np.any(other[:-1]) or other[-1] == 0.0):
                raise self.error(start, "only numbers other than zero may divide")
            if sign == "*" and np.any(value[:-1]) and np.any(other[:-1]):
                raise self.error(start, "coefficients cannot be multiplied by each other")
            if sign == "/":
                value = value / other[-1]
            else:
                value = value * other[-1] if np.any(value[:-1]) or not np.any(other[:-1]) else other * value[-1]
        return value, at

    def factor(self, at: int) -> tuple[FloatArray, int]:
        """A coefficient, a number, a sum in brackets, or one of them with a sign."""
        at = self._skip(at)
        for name in self.spellings:
            if self.text.startswith(name, at) and self._ends(at + len(name), name):
                return np.append(self.coefficients.unit(name), 0.0), at + len(name)
        sign = self._next(at)
        if sign in ("+", "-"):
            value, end = self.factor(at + 1)
            return (value if sign == "+" else -value), end
        if sign == "(":
            value, end = self.total(at + 1)
            if self._next(end) != ")":
                raise self.error(end, "a bracket is not closed")
            return value, self._skip(end) + 1
        if sign == "`":
            end = self.text.find("`", at + 1)
            if end < 0:
                raise self.error(at, "a backquote is not closed")
            return np.append(self.coefficients.unit(self.text[at + 1 : end]), 0.0), end + 1
        if found := NUMBER.match(self.text, at):
            out = np.zeros(len(self.coefficients.names) + 1)
            out[-1] = float(found.group())
            return out, found.end()
        raise self._unknown(at)

    def error(self, at: int, problem: str) -> CrosslevelError:
        """Show the expression with a caret under the place of the problem."""
        return CrosslevelError(f"`contrasts` cannot be read: {problem}.\n    {self.text}\n    {' ' * at}^")

    def _unknown(self, at: int) -> CrosslevelError:
        """A word that is no coefficient, or nothing where something should be."""
        word = re.split(r"\s[-+*/]\s|\s*$", self.text[at:], maxsplit=1)[0]
        if not word or word[0] in "+-*/)":
            return self.error(at, "a coefficient or a number is missing")
        try:
            self.coefficients.place(word)
        except CrosslevelError as error:
            return error
        return self.error(at, "a coefficient or a number is missing")

    def _ends(self, at: int, name: str) -> bool:
        """Whether a name may end here: what follows does not belong to a longer one."""
        following = self.text[at : at + 1]
        return not (re.match(r"[\w\[(:.]", following) and re.match(r"[\w\])]", name[-1]))

    def _skip(self, at: int) -> int:
        """Past blanks."""
        while at < len(self.text) and self.text[at].isspace():
            at += 1
        return at

    def _next(self, at: int) -> str:
        """The next sign that is no blank; "" at the end."""
        at = self._skip(at)
        return self.text[at : at + 1]


def _each(contrasts: object) -> list[object]:
    """Rows of numbers, or the members of a list."""
    if isinstance(contrasts, (list, tuple)) and any(isinstance(some, (str, Mapping, pd.Series)) for some in contrasts):
        return list(contrasts)
    try:
        array = np.array(contrasts, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CrosslevelError(
            "`contrasts` is an expression such as 'a - b', weights by coefficient such as {'a': 1, 'b': -1}, contrasts "
            f"by name, a frame, or numbers; got {type(contrasts).__name__}."
        ) from error
    if array.size == 0:
        return []
    return list(np.atleast_2d(array))


def _weights(contrast: object, coefficients: Coefficients) -> FloatArray:
    """Weights (p,) of one contrast: an expression, weights by coefficient, or numbers."""
    p = len(coefficients.names)
    if isinstance(contrast, str):
        return parse_contrast(contrast, coefficients)
    if isinstance(contrast, (Mapping, pd.Series)):
        out = np.zeros(p)
        for name, weight in contrast.items():
            out[coefficients.place(str(name))] += float(weight)
    else:
        try:
            out = np.array(contrast, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise CrosslevelError(f"`contrasts` holds {contrast!r}, which is no expression and no weights.") from error
    if out.shape != (p,) or not np.all(np.isfinite(out)):
        raise CrosslevelError(
            f"`contrasts` needs {p} finite weights in each row, one for each of {', '.join(coefficients.names)}; "
            f"got shape {out.shape}."
        )
    return out
