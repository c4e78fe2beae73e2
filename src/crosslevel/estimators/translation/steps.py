"""Variables that have to be made before a package can fit the model, whatever its language."""

import ast
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class ClusterMean:
    """`new` is the mean of `of` over the rows of each cluster."""

    new: str
    of: str
    group: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`new` is `of` minus `mean`, another variable."""

    new: str
    of: str
    mean: str


@dataclass(frozen=True, kw_only=True)
class Centred:
    """`new` is `of` minus its mean over all rows; over its standard deviation if it is scaled."""

    new: str
    of: str
    scaled: bool = False


@dataclass(frozen=True, kw_only=True)
class Computed:
    """`new` is an expression of columns."""

    new: str
    tree: ast.expr
    variables: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Indicator:
    """`new` is 1 where a column has a level, else 0."""

    new: str
    variable: str
    level: object


@dataclass(frozen=True, kw_only=True)
class WeightedEffect:
    """`new` is 1 at `level`, -(rows at `level`) / (rows at `omitted`) at `omitted`, else 0."""

    new: str
    variable: str
    level: object
    omitted: object


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """`new` numbers the levels of a column 1, 2, ... in their order."""

    new: str
    variable: str
    levels: tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """`new` numbers the combinations of some columns."""

    new: str
    columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Multiplied:
    """`new` is the product of variables."""

    new: str
    factors: tuple[str, ...]


Step: TypeAlias = (
    ClusterMean | Difference | Centred | Computed | Indicator | WeightedEffect | Numbered | Crossing | Multiplied
)
