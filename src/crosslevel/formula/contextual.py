"""What the data say of a formula's predictors: which vary within clusters, and whose cluster means differ."""

import ast
import keyword
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from crosslevel.errors import FormulaError
from crosslevel.formula.components import ClusterMeans, Component, values
from crosslevel.formula.expressions import Expression, compile_expression, quoted
from crosslevel.formula.finite import refuse_undefined
from crosslevel.formula.parse import Formula, RandomPart
from crosslevel.formula.rows import Source
from crosslevel.formula.spec import Spec
from crosslevel.formula.terms import Term
from crosslevel.table.columns import Columns
from crosslevel.types import BoolArray, CodeArray, FloatArray

Kind: TypeAlias = Literal["mundlak", "within-between"]

CONSTANT = 1e-20
"""Share of a sum of squares that lies within (or between) clusters, below which it is taken for rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """One numeric column: a predictor, or the indicator of a category.

    Attributes
    ----------
    alone : as the argument of a function: "x", "I(f == 'a')".
    factor : as a factor of a product: "x", "(f == 'a')".
    is_deviation : whether it is a deviation from cluster means already, of the same clusters or of some inside them.
    values : (n,) at the used rows.
    """

    alone: str
    factor: str
    is_deviation: bool
    values: FloatArray = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """An expression of a formula, and what the data say of it.

    Attributes
    ----------
    pieces : its columns; of a categorical one the indicators of all its categories.
    reference : position of the category without a column in the reduced coding; None if it is numeric.
    varies : whether it varies within clusters.
    """

    pieces: tuple[Piece, ...]
    reference: int | None
    varies: bool

    @property
    def is_categorical(self) -> bool:
        """Whether it has categories."""
        return self.reference is not None

    def chosen(self, *, reduced: bool) -> tuple[Piece, ...]:
        """Columns of one coding."""
        if not (self.is_categorical and reduced):
            return self.pieces
        return tuple(piece for i, piece in enumerate(self.pieces) if i != self.reference)


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """The clusters of the used rows.

    Attributes
    ----------
    names : the columns they are made of.
    codes : (n,) cluster of each row.
    counts : (J,) rows of each.
    """

    names: tuple[str, ...]
    codes: CodeArray = field(repr=False)
    counts: FloatArray = field(repr=False)

    @property
    def text(self) -> str:
        """As they are named inside ``within(x, g)``."""
        return ":".join(identifier(name) for name in self.names)

    def varies_within(self, column: FloatArray) -> bool:
        """Whether a column (n,) differs between rows of a cluster."""
        centred, means = self._split(column)
        return float(np.sum((centred - means[self.codes]) ** 2)) > CONSTANT * float(np.sum(centred**2))

    def varies_between(self, column: FloatArray) -> bool:
        """Whether the means of clusters differ."""
        centred, means = self._split(column)
        return float(self.counts @ means**2) > CONSTANT * float(np.sum(centred**2))

    def _split(self, column: FloatArray) -> tuple[FloatArray, FloatArray]:
        """A column less its mean (n,), and the means of that (J,)."""
        centred = column - column.mean()
        return centred, np.bincount(self.codes, centred, len(self.counts)) / np.maximum(self.counts, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What is needed to write cluster means into a formula.

    Attributes
    ----------
    formula : the formula.
    clusters : whose means.
    kind : "mundlak", x + between(x, g); or "within-between", within(x, g) + between(x, g).
    predictors : every expression of the formula's terms.
    kept : expressions whose terms stay as they are.
    own : the random terms over these clusters, however they are named.
    """

    formula: Formula
    clusters: Clusters
    kind: Kind
    predictors: dict[Expression, Predictor] = field(repr=False)
    kept: frozenset[Expression]
    own: tuple[RandomPart, ...]

    def changes(self, term: Term) -> bool:
        """Whether a term varies within clusters, and does not stay as it is."""
        return not self.kept.intersection(term.expressions) and any(
            self.predictors[expression].varies for expression in term.expressions
        )


def learn_context(
    spec: Spec, columns: Columns, mask: BoolArray | None, *, group: tuple[str, ...], kind: Kind, keep: Sequence[str]
) -> Context:
    """Look at the data: which predictors vary within clusters.

    Parameters
    ----------
    spec : the formula, learnt from the data.
    columns, mask : the data, and the rows used (None: all).
    group : the columns that clusters are made of.
    kind : see `Context`.
    keep : predictors, as they stand in the formula, or variables: terms with them stay as they are.

    Raises
    ------
    FormulaError : a predictor of several columns, or with categories that cannot be written; a name in `keep` that is
        not in the formula.
    """
    formula = spec.formula
    source = spec.bind(columns, mask, response=False).source
    codes = source.rows(slice(None)).codes(group)
    clusters = Clusters(names=group, codes=codes, counts=np.bincount(codes).astype(np.float64))
    own = tuple(part for part in formula.random if _groups_alike(part, source, clusters))
    slopes = [term for part in own for block in part.blocks for term in block]
    expressions = dict.fromkeys(e for term in (*formula.fixed_terms, *slopes) for e in term.expressions)
    kept = kept_expressions(keep, tuple(expressions))
    by_text = {component.text: component for component in spec.components}
    predictors = {}
    for expression in expressions:
        make = _numeric if by_text[expression.text].coding is None else _categorical
        predictors[expression] = make(by_text[expression.text], expression, source, clusters, kind, expression in kept)
    return Context(formula=formula, clusters=clusters, kind=kind, predictors=predictors, kept=kept, own=own)


def _groups_alike(part: RandomPart, source: Source, clusters: Clusters) -> bool:
    """Whether a random term is over the same clusters: the same columns, or others that group the rows alike."""
    if part.membership is not None:
        return False
    codes = source.rows(slice(None)).codes(part.group).astype(np.int64)
    size = int(codes.max()) + 1
    return len(np.unique(clusters.codes * size + codes)) == len(np.unique(codes)) == len(clusters.counts)


def kept_expressions(keep: Sequence[str], expressions: tuple[Expression, ...]) -> frozenset[Expression]:
    """The expressions that `keep` names."""
    found: set[Expression] = set()
    for name in keep:
        matches = [e for e in expressions if name in (e.text, e.source) or name in e.variables]
        if not matches:
            raise FormulaError(
                f"`keep` names {name!r}, which is not in the formula. Its predictors: "
                f"{', '.join(e.source for e in expressions)}."
            )
        found.update(matches)
    return frozenset(found)


def _numeric(
    component: Component, expression: Expression, source: Source, clusters: Clusters, kind: Kind, stays: bool
) -> Predictor:
    """What the data say of numbers."""
    with np.errstate(all="ignore"):
        columns = values(component, tuple(range(len(component.names))), source.rows(slice(None)))
    if not all(np.isfinite(column).all() for column in columns):
        refuse_undefined([component], source)
    varies = any(clusters.varies_within(column) for column in columns)
    if varies and len(columns) > 1 and not stays:
        raise FormulaError(
            f"`formula` has {expression.text}, which makes {len(columns)} columns at once, and cluster means are taken "
            "of one. Write the columns out, as in x + I(x ** 2) for a polynomial; or make them before."
        )
    origin = component.origin
    deviation = isinstance(origin, ClusterMeans) and origin.kind == "within" and not clusters.varies_between(columns[0])
    alone = identifier(expression.text) if expression.is_column else expression.text
    pieces = tuple(
        Piece(alone=alone, factor=_factor(alone), is_deviation=deviation, values=np.asarray(column, dtype=np.float64))
        for column in columns
    )
    return Predictor(pieces=pieces, reference=None, varies=varies)


def _categorical(
    component: Component, expression: Expression, source: Source, clusters: Clusters, kind: Kind, stays: bool
) -> Predictor:
    """What the data say of categories: an indicator for each."""
    coding, variable = component.coding, component.variables[0]
    assert coding is not None
    factor, codes = source.factor((variable,)), source.rows(slice(None)).codes((variable,))
    varies = clusters.varies_within(codes.astype(np.float64))
    if varies and not stays:
        if len(component.variables) > 1 or not set(coding.levels) <= set(factor.levels):
            raise FormulaError(
                f"`formula` has the categories {expression.text}, which are not those of one column, so that the "
                "cluster means of their indicators cannot be written. Make a column of them first."
            )
        if kind == "within-between" and coding.kind != "treatment":
            raise FormulaError(
                f"`formula` codes {expression.text} by {coding.kind}, and deviations from cluster means are taken of "
                f"indicators. Write {quoted(variable)} alone, or use kind='mundlak', which leaves the coding as it is."
            )
        strange = [level for level in coding.levels if not isinstance(level, str | int | float)]
        if strange:
            raise FormulaError(
                f"`formula` has the categories {expression.text} such as {strange[0]!r}, which cannot be written in a "
                "formula. Turn them into text first."
            )
    places = {level: place for place, level in enumerate(factor.levels)}
    pieces = tuple(
        Piece(
            alone=f"I({identifier(variable)} == {level!r})", factor=f"({identifier(variable)} == {level!r})",
            is_deviation=False, values=(codes == places.get(level, -2)).astype(np.float64),
        )
        for level in coding.levels
    )  # fmt: skip
    reference = coding.levels.index(coding.reference) if coding.reference in coding.levels else 0
    return Predictor(pieces=pieces, reference=reference, varies=varies)


def identifier(name: str) -> str:
    """Column name as it must be written inside a function: in backquotes where it is no identifier.

    Examples
    --------
    >>> identifier("ses"), identifier("school.id"), identifier("class")
    ('ses', '`school.id`', '`class`')
    """
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"`{name}`"


def _factor(text: str) -> str:
    """An expression as a factor of a product: bare if it is a name or a call, what is inside I(...) in parentheses."""
    code = compile_expression(text)
    tree = code.tree
    match tree:
        case ast.Call(func=ast.Name(id="I"), args=[inner], keywords=[]):
            tree = inner
    return code.text(tree) if isinstance(tree, ast.Name | ast.Call) else f"({code.text(tree)})"
