"""The equations of a multilevel model in LaTeX."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.equations import Coefficient, coefficients
from crosslevel.estimators.summary import distributions, parts_of

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit

PER_LINE = 4
"""Terms in a line of an equation; more continue on the next."""

LETTERS = {"γ": r"\gamma", "β": r"\beta", "τ": r"\tau", "σ²": r"\sigma^2", " ~ N(": r" &\sim \mathcal{N}(",
           "(0, T": r"(\mathbf{0}, \mathbf{T}"}  # fmt: skip
SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def latex(fit: "MixedFit") -> str:
    r"""Write the equations of a model with one grouping factor as LaTeX (amsmath), level by level.

    Parameters
    ----------
    fit : a fit of `mixed`.

    Raises
    ------
    CrosslevelError : no grouping factor, or several.

    Examples
    --------
    >>> import crosslevel as cl
    >>> print(latex(cl.mixed("Reaction ~ Days + (1 | Subject)", cl.datasets.load("sleepstudy"))))
    \begin{align}
    \text{Reaction}_{ij} &= \beta_{0j} + \beta_{1}\,\text{Days}_{ij} + r_{ij} \\
    \beta_{0j} &= \gamma_{00} + u_{0j} \\
    \beta_{1} &= \gamma_{10} \\
    u_{0j} &\sim \mathcal{N}(0, \tau_{00}) \\
    r_{ij} &\sim \mathcal{N}(0, \sigma^2)
    \end{align}
    """
    if not fit.design.is_single:
        raise CrosslevelError(
            f"`latex` writes models with one grouping factor, level by level; this one has {len(fit.design.factors)}."
        )
    parts = parts_of(fit)
    known = [
        (k, coefficient)
        for k, coefficient in enumerate(coefficients(parts))
        if coefficient.own or coefficient.moderators or coefficient.random
    ]
    terms = [r"\,".join([coefficient.name % k, *_product(coefficient.factors, "ij")]) for k, coefficient in known]
    lines = [_equation(rf"{_named(fit.spec.response_name)}_{{ij}}", [*terms, "r_{ij}"])]
    lines += [_equation(coefficient.name % k, list(_right(k, coefficient))) for k, coefficient in known]
    lines += list(distributions(fit, parts))
    body = " \\\\\n".join(_lettered(line) for line in lines)
    return f"\\begin{{align}}\n{body}\n\\end{{align}}"


def _right(k: int, coefficient: Coefficient) -> Iterator[str]:
    """The terms of a level-2 equation."""
    if coefficient.own:
        yield f"γ_{{{k}0}}"
    for m, moderators in enumerate(coefficient.moderators, start=1):
        yield r"\,".join([f"γ_{{{k}{m}}}", *_product(moderators, "j")])
    if coefficient.random:
        yield f"u_{{{k}j}}"


def _equation(left: str, terms: Sequence[str]) -> str:
    """An equation, its right side in lines of a few terms."""
    lines = [" + ".join(terms[k : k + PER_LINE]) for k in range(0, len(terms), PER_LINE)]
    return f"{left} &= " + " \\\\\n&\\quad + ".join(lines)


def _product(factors: Sequence[str], index: str) -> list[str]:
    """Variables with their subscripts, multiplied; nothing for none."""
    return [r" \times ".join(f"{_named(name)}_{{{index}}}" for name in factors)] if factors else []


def _named(name: str) -> str:
    """A variable's name as text."""
    return rf"\text{{{''.join(SPECIAL.get(letter, _escaped(letter)) for letter in name)}}}"


def _escaped(letter: str) -> str:
    """A character that is no command."""
    return f"\\{letter}" if letter in "_%&#${}" else letter


def _lettered(line: str) -> str:
    """Greek letters and signs as commands."""
    for plain, command in LETTERS.items():
        line = line.replace(plain, command)
    return line
