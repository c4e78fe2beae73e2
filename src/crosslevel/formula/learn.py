"""Formula + data -> Spec: what the columns are, and what has to be remembered to make them again."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from crosslevel.errors import DataError
from crosslevel.formula import external
from crosslevel.formula.coding import CodedTerm, settle_coding
from crosslevel.formula.components import Component, Product
from crosslevel.formula.expressions import Expression
from crosslevel.formula.memory import FromRows, Memory
from crosslevel.formula.parse import Formula, RandomPart
from crosslevel.formula.rows import Source
from crosslevel.formula.spec import Block, DesignColumn, RandomTerm, Spec
from crosslevel.formula.terms import Terms
from crosslevel.formula.transforms import Learning, learn_component
from crosslevel.table.columns import Columns
from crosslevel.types import BoolArray


@dataclass(frozen=True, kw_only=True, eq=False)
class _Catalogue:
    """The columns found so far; a column that is met again keeps its position.

    `positions` maps what makes a column (its scale and its component columns, in any order) to its position.
    """

    learning: Learning
    components: list[Component] = field(default_factory=list)
    columns: list[DesignColumn] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    positions: dict[tuple[float, frozenset[tuple[int, int]]], int] = field(default_factory=dict)

    def component(self, expression: Expression) -> int:
        """Position of an expression's component."""
        component = learn_component(expression, self.learning)
        if component not in self.components:
            self.components.append(component)
        return self.components.index(component)

    def add(self, terms: Terms) -> tuple[int, ...]:
        """Positions of the columns of some terms, in order."""
        coded = settle_coding(terms, lambda expression: self._component(expression).reduced is not None)
        return tuple(position for term in coded for position in self._columns_of(term))

    def _component(self, expression: Expression) -> Component:
        return self.components[self.component(expression)]

    def _columns_of(self, term: CodedTerm) -> list[int]:
        """Positions of the columns of one term: the last expression varies slowest."""
        choices: list[tuple[tuple[int, int], ...]] = [()]
        single: list[int] = []
        for expression, reduced in term.expressions:
            number = self.component(expression)
            component = self.components[number]
            indices = component.reduced if reduced and component.reduced is not None else component.full
            if len(indices) == 1:
                single.append(number)
            choices = [(*chosen, (number, index)) for index in indices for chosen in choices]
        return [self._column(atoms, term.scale, single) for atoms in choices]

    def _column(self, atoms: tuple[tuple[int, int], ...], scale: float, single: list[int]) -> int:
        """Position of the column that is the product of `atoms`, those of `single` components multiplied first."""
        key = (scale, frozenset(atoms))
        if key not in self.positions:
            self.positions[key] = len(self.columns)
            names = tuple(self.components[number].names[index] for number, index in atoms)
            used = [name for number, _ in atoms for name in self.components[number].variables]
            column = DesignColumn(
                name=":".join(names) or "Intercept",
                factors=names,
                variables=tuple(dict.fromkeys(used)),
                kind=self._kind(atoms),
            )
            ordered = sorted(atoms, key=lambda atom: atom[0] not in single)
            self.columns.append(column)
            self.products.append(Product(scale=scale, atoms=tuple(ordered)))
        return self.positions[key]

    def _kind(self, atoms: tuple[tuple[int, int], ...]) -> str:
        if len(atoms) != 1:
            return "interaction" if atoms else "intercept"
        return "numeric" if self.components[atoms[0][0]].coding is None else "categorical"


def learn(
    formula: Formula,
    columns: Columns,
    mask: BoolArray | None = None,
    *,
    memory: Memory | None = None,
    response: Component | None = None,
) -> Spec:
    """Learn from the used rows all that a formula has to remember: means, categories, codings, bases.

    Parameters
    ----------
    formula : the parsed formula.
    columns : the data.
    mask : (n_rows,) true where a row is used, with no missing value in `formula.required`; None if all are.
    memory : what is to be remembered, where `columns` are only a part of the data; None to learn it from them.
    response : what stands in for an outcome that need not be a column of numbers; None to learn it from the formula.

    Returns
    -------
    spec : the design columns and random terms, ready to be evaluated on these or other data.

    Raises
    ------
    ColumnNotFoundError : the formula names a column the data lack.
    FormulaError : a function is unknown, or called in a way it does not know.
    DataError : the response is not numeric, a category has a single value, no row is used, ...

    Examples
    --------
    >>> from crosslevel.formula.parse import parse
    >>> data = Columns.from_frame({"y": [1.0, 2.0, 4.0], "x": [0.0, 1.0, 5.0], "f": ["a", "b", "a"], "g": [1, 1, 2]})
    >>> spec = learn(parse("y ~ within(x, g) * f + (within(x, g) | g)"), data)
    >>> [column.name for column in spec.columns]
    ['Intercept', 'within(x, g)', 'f[b]', 'within(x, g):f[b]']
    >>> [(term.group, [block.columns for block in term.blocks]) for term in spec.terms]
    [(('g',), [(0, 1)])]
    """
    columns.require(formula.variables, "formula")
    source = Source(columns=columns, mask=mask)
    if mask is not None and not mask.any():
        raise DataError("no row is left: every row misses a value in one of " + ", ".join(formula.required) + ".")
    learning = Learning(formula=formula.text, source=source, memory=memory or FromRows(source=source))
    response = _response(formula.response, learning) if response is None else response
    catalogue = _Catalogue(learning=learning)
    with np.errstate(all="ignore"):
        n_fixed = len(catalogue.add(formula.fixed_terms))
        terms = _random_terms(formula.random, catalogue)
    return Spec(
        formula=formula,
        response_name=formula.response.text,
        columns=tuple(catalogue.columns),
        n_fixed=n_fixed,
        terms=terms,
        variables=formula.variables,
        response_component=response,
        components=tuple(catalogue.components),
        products=tuple(catalogue.products),
    )


def _response(expression: Expression, learning: Learning) -> Component:
    """Component of the response; refuses what is no single column of numbers."""
    if expression.is_column and not external.holds_numbers(learning.source, expression.text):
        levels = learning.memory.levels(expression.text)
        shown = ", ".join(repr(level) for level in levels[:5]) + (", ..." if len(levels) > 5 else "")
        advice = "Turn it into numbers first."
        if len(levels) == 2:
            advice = (
                "A model of its probability has family='binomial'; a linear model needs 0 and 1: write "
                f"I({expression.source} == {levels[1]!r}) ~ ... instead."
            )
        message = f"`formula` has the outcome `{expression.text}`, which must be numeric; it holds {shown}. {advice}"
        raise DataError(message)
    component = learn_component(expression, learning)
    if component.coding is not None or len(component.names) != 1:
        what = "categories" if component.coding is not None else f"{len(component.names)} columns"
        raise DataError(
            f"`formula` has the outcome `{component.text}`, which must be one numeric column; it has {what}."
        )
    return component


def _random_terms(parts: Iterable[RandomPart], catalogue: _Catalogue) -> tuple[RandomTerm, ...]:
    """Random terms, parts with the same groups merged; the blocks stay in the order in which they are written."""
    first: dict[frozenset[str], RandomPart] = {}
    blocks: dict[frozenset[str], list[Block]] = {}
    for part in parts:
        key = frozenset(part.group)
        first.setdefault(key, part)
        blocks.setdefault(key, []).extend(_blocks(part, catalogue))
    return tuple(
        RandomTerm(group=part.group, blocks=tuple(blocks[key]), membership=part.membership)
        for key, part in first.items()
    )


def _blocks(part: RandomPart, catalogue: _Catalogue) -> list[Block]:
    """Blocks of one part; "diag" becomes one block for each column."""
    found: list[Block] = []
    for text, terms in zip(part.rhs, part.blocks, strict=True):
        positions = catalogue.add(terms)
        if part.structure == "diag":
            found.extend(
                Block(structure="us", columns=(position,), text=catalogue.columns[position].name)
                for position in positions
            )
        else:
            found.append(Block(structure=part.structure, columns=positions, text=text, known=part.known))
    return found
