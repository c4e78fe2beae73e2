"""Lines of equations -> text, unicode or LaTeX."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.written.records import Line, Statement, Sum, Term

Format: TypeAlias = Literal["text", "unicode", "latex"]

PER_LINE = 4
"""Terms in a line of a LaTeX equation; more continue on the next."""

WIDTH = 100
"""Characters of a line of text."""

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "η": "eta", "θ": "theta", "μ": "mu", "π": "pi", "ρ": "rho",
    "σ": "sigma", "τ": "tau", "φ": "phi", "Σ": "Sigma", "ν": "nu",
}  # fmt: skip

LETTERS = {"≤": r"\le ", "×": r"\times ", "·": r"\cdot ", "−": "-", "⟨": r"\lfloor ", "⟩": r"\rfloor "}
ASCII = {"≤": "<=", "×": "*", "·": "*", "−": "-"}
SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "×": r"\ensuremath{\times}", "≤": r"\ensuremath{\le}",
    "≥": r"\ensuremath{\ge}",
}  # fmt: skip
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LOWERED = dict(zip("0123456789ijk", "₀₁₂₃₄₅₆₇₈₉ᵢⱼₖ", strict=True))

OPERATORS = ("logit", "probit", "cloglog", "log", "Bernoulli", "Binomial", "BetaBinomial", "Poisson",
             "NegativeBinomial", "Gamma", "Beta", "Cov", "Var", "SD", "Cor")  # fmt: skip
_OPERATOR = re.compile(rf"\b({'|'.join(sorted(OPERATORS, key=len, reverse=True))})\b(?=\(| )")
_NAME = re.compile(r"⟦(.*?)⟧")
_SUBSCRIPT = re.compile(r"_\{([^{}]*)\}")
_EXPONENT = re.compile(r"(?<=\d)e([+-]\d+)")
_NEGATIVE = re.compile(r"(?<![\w₀-₉])-(?=\d)")
_POWER = re.compile(r"\^\{([^{}]*)\}")


def check_format(format: object) -> Format:
    """The format as given.

    Raises
    ------
    CrosslevelError : there is no such format.
    """
    if format not in get_args(Format):
        raise CrosslevelError(f"`format` is 'text', 'unicode' or 'latex'; got {format!r}.")
    return cast(Format, format)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rendering:
    """How lines become text.

    Attributes
    ----------
    format : "text", "unicode" or "latex".
    numbers : for each coefficient the text of its estimate, to stand for its symbol; None for symbols.
    """

    format: Format
    numbers: Mapping[str, str] | None = None

    def lines(self, lines: Sequence[Line]) -> list[str]:
        """Each line as text."""
        return [self._sum(line) if isinstance(line, Sum) else self._statement(line) for line in lines]

    def _sum(self, line: Sum) -> str:
        """An equation; its right side in several lines where it is long."""
        signed = [self._term(term) for term in line.terms] or [("+", "0")]
        pieces = [f"{sign} {text}" for sign, text in signed]
        first_sign, first = signed[0]
        pieces[0] = first if first_sign == "+" else f"{self._minus}{first}"
        left = self.markup(line.left)
        if self.format == "latex":
            rows = [" ".join(pieces[k : k + PER_LINE]) for k in range(0, len(pieces), PER_LINE)]
            return f"{left} &= " + " \\\\\n&\\quad ".join(rows)
        return _wrapped(f"{left} =", pieces)

    @property
    def _minus(self) -> str:
        return "−" if self.format == "unicode" else "-"

    def _term(self, term: Term) -> tuple[str, str]:
        """Sign and text of a term."""
        variables = f" {'×' if self.format != 'latex' else chr(92) + 'times'} ".join(map(self.markup, term.variables))
        variables = variables.replace("×", "*") if self.format == "text" else variables
        sign, head = "+", self.markup(term.symbol)
        if self.numbers is not None and term.coefficient is not None:
            head = self._number(self.numbers[term.coefficient])
            sign, head = ("-", head[1:]) if head.startswith(("-", "−")) else ("+", head)
        joint = {"latex": r"\,", "text": " * ", "unicode": " "}[self.format]
        sign = self._minus if sign == "-" else sign
        return sign, joint.join(filter(None, [head, variables]))

    def _statement(self, line: Statement) -> str:
        """A distribution or definition."""
        right = self.markup(line.right)
        if line.matrix:
            right = self._normal(line.matrix) if line.relation == "~" else self._matrix(line.matrix)
        if self.format == "latex":
            remark = rf" \quad \text{{{escaped(f'({line.remark})')}}}" if line.remark else ""
            relation = r"\sim" if line.relation == "~" else line.relation
            return f"{self.markup(line.left)} &{relation} {right}{remark}"
        return f"{self.markup(line.left)} {line.relation} {right}" + (f"  ({line.remark})" if line.remark else "")

    def _normal(self, matrix: Sequence[Sequence[str]]) -> str:
        """N(0, a covariance in numbers)."""
        if self.format != "latex":
            return f"N(0, {self._matrix(matrix)})"
        if len(matrix) == 1:
            return rf"\mathcal{{N}}(0, {self._number(matrix[0][0])})"
        return rf"\mathcal{{N}}\left(\mathbf{{0}}, {self._matrix(matrix)}\right)"

    def _matrix(self, matrix: Sequence[Sequence[str]]) -> str:
        """A matrix; a number if it is one."""
        matrix = [list(map(self._number, row)) for row in matrix]
        if len(matrix) == 1:
            return matrix[0][0]
        if self.format == "latex":
            rows = r" \\ ".join(" & ".join(row) for row in matrix)
            return rf"\left(\begin{{array}}{{{'r' * len(matrix)}}} {rows} \end{{array}}\right)"
        return "[" + ", ".join(f"[{', '.join(row)}]" for row in matrix) + "]"

    def _number(self, text: str) -> str:
        """A number, its power of ten and its minus as this format has them."""
        if self.format == "latex":
            return _EXPONENT.sub(lambda found: rf" \times 10^{{{int(found[1])}}}", text)
        if self.format == "unicode":
            text = _EXPONENT.sub(lambda found: f" × 10{str(int(found[1])).translate(RAISED)}", text)
            return _NEGATIVE.sub("−", text)
        return text

    def markup(self, text: str) -> str:
        """Markup in this format."""
        pieces = _NAME.split(text)  # names stand at odd positions
        make = {"latex": _latex, "text": _plain, "unicode": _unicode}[self.format]
        marks = [f"\x00{k}\x00" for k in range(len(pieces) // 2)]
        whole = "".join(piece if k % 2 == 0 else marks[k // 2] for k, piece in enumerate(pieces))
        out = self._number(make(whole))
        for mark, name in zip(marks, pieces[1::2], strict=True):
            shown = rf"\text{{{escaped(name)}}}" if self.format == "latex" else name
            out = out.replace(mark, shown)
        return out


def document(lines: Sequence[str]) -> str:
    """Lines of LaTeX as an environment of amsmath."""
    body = " \\\\\n".join(lines)
    return f"\\begin{{align}}\n{body}\n\\end{{align}}"


def escaped(name: str) -> str:
    """A variable's name as text of LaTeX."""
    return "".join(SPECIAL.get(letter, f"\\{letter}" if letter in "_%&#${}" else letter) for letter in name)


def _latex(text: str) -> str:
    """Markup as LaTeX."""
    text = _OPERATOR.sub(r"\\operatorname{\1}", text)
    text = text.replace("N(0, T", r"\mathcal{N}(\mathbf{0}, \mathbf{T}").replace("N(0,", r"\mathcal{N}(0,")
    for letter, command in GREEK.items():
        text = re.sub(rf"{letter}(?=[A-Za-z])", rf"\\{command} ", text).replace(letter, f"\\{command}")
    for letter, command in LETTERS.items():
        text = text.replace(letter, command)
    return text


def _plain(text: str) -> str:
    """Markup as ASCII."""
    text = _SUBSCRIPT.sub(r"_\1", text)
    text = _POWER.sub(r"^\1", text)
    for letter, word in {**GREEK, **ASCII}.items():
        text = text.replace(letter, word)
    return text


def _unicode(text: str) -> str:
    """Markup with the subscripts that Unicode has."""
    text = _SUBSCRIPT.sub(_lowered, text)
    return _POWER.sub(lambda found: "²" if found[1] == "2" else f"^{found[1]}", text)


def _lowered(found: "re.Match[str]") -> str:
    inner = found[1]
    return "".join(LOWERED[letter] for letter in inner) if all(c in LOWERED for c in inner) else f"_{inner}"


def _wrapped(left: str, pieces: Sequence[str]) -> str:
    """An equation in lines of bounded width, broken before a sign."""
    lines, current = [], left
    for piece in pieces:
        if len(current) + 1 + len(piece) > WIDTH and current.strip() not in ("", left):
            lines.append(current)
            current = "   "
        current = f"{current} {piece}"
    return "\n".join([*lines, current])
