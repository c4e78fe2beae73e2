"""The columns that each term of the fixed part stands for, whatever the coding of its categories.

A term that multiplies categories has one indicator column for each combination of their levels, times its numeric
columns; together these make a matrix of less than full rank. The model's own columns span the same space: with X those
that are estimated, the indicators are X S. All is worked out from the codings, without a look at any row: columns and
indicators are both expanded into products of each coding's reduced columns.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.design.reduced import working_coordinates
from crosslevel.errors import CrosslevelError
from crosslevel.formula.components import Component, LevelTable, Product
from crosslevel.formula.evaluate import bind
from crosslevel.table import Columns
from crosslevel.types import FloatArray, IntArray

ROUNDING = 1e-10
"""Coefficient that counts as zero."""

Atom = frozenset[tuple[int, int]]
"""A product of component columns: each (component, column), for categories one of the reduced coding."""

Expansion = dict[Atom, float]
"""A linear combination of atoms."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TermSpace:
    """One term of the fixed part.

    Attributes
    ----------
    name : as in "ses:sector".
    numeric, categories : numbers of its components of each kind.
    spans : (p, m) S: its m indicator columns are X S.
    order : (m,) of these columns: first those of no first level, which are the columns of treatment coding.
    """

    name: str
    numeric: frozenset[int]
    categories: frozenset[int]
    spans: FloatArray
    order: IntArray

    def contains(self, other: "TermSpace") -> bool:
        """Whether another term is contained in this: the same numeric factors, and fewer of its categories."""
        return self.numeric == other.numeric and other.categories < self.categories


def term_spaces(design: Design) -> tuple[TermSpace, ...]:
    """The terms of the fixed part in order; the intercept, if there is one, is the first, named "Intercept".

    Raises
    ------
    CrosslevelError : the categories of a term cannot be told from its formula.
    """
    spec = design.spec
    codings = {
        number: CategoryCoding.of(number, component)
        for number, component in enumerate(spec.components)
        if component.coding is not None
    }
    columns = [_column(product, codings) for product in spec.products[: spec.n_fixed]]
    atoms = {atom: k for k, atom in enumerate(dict.fromkeys(atom for column in columns for atom in column))}
    back = np.linalg.pinv(_matrix(columns, atoms)) @ estimated_columns(design)
    place = {component.text: number for number, component in enumerate(spec.components)}
    out = []
    for term in spec.formula.fixed_terms:
        numbers = [place[expression.text] for expression in term.expressions]
        choices = [
            codings[number].indicators if number in codings else _numeric(number, spec.components[number])
            for number in numbers
        ]
        name = ":".join(expression.text for expression in term.expressions) or "Intercept"
        indicators = [_multiplied(chosen) for chosen in itertools.product(*choices)]
        _check_spanned(indicators, atoms, name)
        out.append(
            TermSpace(
                name=name,
                numeric=frozenset(number for number in numbers if number not in codings),
                categories=frozenset(number for number in numbers if number in codings),
                spans=(_matrix(indicators, atoms) @ back).T,
                order=_treatment_first([len(choice) for choice in choices], [number in codings for number in numbers]),
            )
        )
    return tuple(out)


def _treatment_first(sizes: Sequence[int], categorical: Sequence[bool]) -> IntArray:
    """Order of all combinations of columns, the last varying fastest: those of no first level, then the others."""
    chosen = list(itertools.product(*(range(size) for size in sizes)))
    first = [any(k == 0 and is_level for k, is_level in zip(some, categorical, strict=True)) for some in chosen]
    return np.array(sorted(range(len(chosen)), key=lambda i: (first[i], chosen[i][::-1])), dtype=np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class CategoryCoding:
    """How a component's categories are coded, in terms of the columns R of its reduced coding.

    Attributes
    ----------
    number : of the component.
    reduced : (L - 1,) its columns in the reduced coding.
    table : (L, columns) values of all its columns in each of its L categories.
    """

    number: int
    reduced: tuple[int, ...]
    table: FloatArray

    @classmethod
    def of(cls, number: int, component: Component) -> "CategoryCoding":
        """That of a categorical component."""
        table = coding_table(component)
        # codings that leave out a category by themselves, as weighted effect coding, know no reduced one
        reduced = component.reduced if component.reduced is not None else component.full[-(len(table) - 1) :]
        return cls(number=number, reduced=reduced, table=table)

    @cached_property
    def inverse(self) -> FloatArray:
        """(L, L) the inverse of [1 R]."""
        return np.asarray(np.linalg.inv(np.column_stack([np.ones(len(self.table)), self.table[:, self.reduced]])))

    def expansion(self, values: FloatArray) -> Expansion:
        """A function of the categories, by its values (L,), as a constant plus reduced columns."""
        atoms: list[Atom] = [frozenset(), *(frozenset([(self.number, column)]) for column in self.reduced)]
        return {atom: float(u) for atom, u in zip(atoms, self.inverse @ values, strict=True) if abs(u) > ROUNDING}

    @cached_property
    def indicators(self) -> list[Expansion]:
        """Of each category."""
        return [self.expansion(row) for row in np.eye(len(self.table))]


def coding_table(component: Component) -> FloatArray:
    """Values (L, columns) of a categorical component's columns in each of its L categories.

    Raises
    ------
    CrosslevelError : they depend on more than one column of the data.
    """
    coding, origin = component.coding, component.origin
    assert coding is not None
    if isinstance(origin, LevelTable):
        return np.asarray(origin.table[:, :-1].T)
    if len(component.variables) != 1:
        raise CrosslevelError(
            f"types II and III need the categories of `{component.text}`, which is computed from "
            f"{', '.join(component.variables)}. Make it a column of the data first."
        )
    levels = Columns.from_frame(pd.DataFrame({component.variables[0]: list(coding.levels)}))
    evaluator = bind((component,), (), None, levels, None)
    return np.column_stack([evaluator.component(name) for name in component.names])


def estimated_columns(design: Design) -> FloatArray:
    """(n_fixed, p) D' with X_all = X D: columns that were left out are combinations of those that are estimated."""
    kept = np.zeros(design.spec.n_fixed, dtype=np.bool_)
    kept[design.x] = True
    out = np.zeros((design.spec.n_fixed, len(design.x)))
    out[design.x, np.arange(len(design.x))] = 1.0
    left_out = np.flatnonzero(~kept)
    if len(left_out):
        half = column_roots(design, np.concatenate([design.x, left_out]))
        p = len(design.x)
        out[left_out] = np.linalg.lstsq(half[:, :p], half[:, p:], rcond=None)[0].T
        out[np.abs(out) < ROUNDING] = 0.0
    return out


def column_roots(design: Design, columns: IntArray) -> FloatArray:
    """H (m, m) with H'H = X'X of some fixed columns (m,), worked out about their means."""
    products, y = design.products, len(design.products.names) - 1
    coordinates = working_coordinates(products, np.append(columns, y), design.constant)
    scale = coordinates.scale[:-1]
    mean = (products.grand_mean + products.origin)[columns] - coordinates.shift[:-1]
    gram = products.total[np.ix_(columns, columns)] + products.weight * np.outer(mean, mean)
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    half = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    back = np.diag(scale)
    if coordinates.intercept >= 0:
        back[coordinates.intercept] += np.where(
            np.arange(len(columns)) == coordinates.intercept, 0.0, coordinates.shift[:-1]
        )
    return np.asarray(half @ back)


def _column(product: Product, codings: Mapping[int, CategoryCoding]) -> Expansion:
    """A design column in atoms."""
    factors: list[Expansion] = [{frozenset(): product.scale}]
    for number, index in product.atoms:
        coding = codings.get(number)
        factors.append(
            {frozenset([(number, index)]): 1.0} if coding is None else coding.expansion(coding.table[:, index])
        )
    return _multiplied(factors)


def _numeric(number: int, component: Component) -> list[Expansion]:
    """The columns of a component that is not categorical."""
    return [{frozenset([(number, index)]): 1.0} for index in component.full]


def _multiplied(factors: Iterable[Expansion]) -> Expansion:
    """Product of linear combinations of atoms of different components."""
    out: Expansion = {frozenset(): 1.0}
    for factor in factors:
        out = {a | b: u * v for a, u in out.items() for b, v in factor.items()}
    return out


def _matrix(expansions: Sequence[Expansion], atoms: Mapping[Atom, int]) -> FloatArray:
    """Coefficients (m, atoms)."""
    out = np.zeros((len(expansions), len(atoms)))
    for i, expansion in enumerate(expansions):
        for atom, u in expansion.items():
            out[i, atoms[atom]] = u
    return out


def _check_spanned(indicators: Sequence[Expansion], atoms: Mapping[Atom, int], name: str) -> None:
    """Refuse a term whose indicators the model's columns do not span."""
    if any(atom not in atoms for indicator in indicators for atom in indicator):
        raise CrosslevelError(
            f"types II and III of `{name}` cannot be told from the formula, whose columns do not span its categories. "
            "Test its coefficients by fit.contrast(..., joint=True)."
        )
