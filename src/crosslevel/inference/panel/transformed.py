"""Transformed rows, for what their cross-products cannot tell."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from crosslevel.types import CodeArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class TransformedRows:
    """The transformed rows themselves, in the units of the data.

    Attributes
    ----------
    x : (p, n) columns of X~.
    y : (n,) outcome.
    codes : (n,) group of each.
    """

    x: FloatArray = field(repr=False)
    y: FloatArray = field(repr=False)
    codes: CodeArray = field(repr=False)


class RowMaker(ABC):
    """Makes the transformed rows when they are needed."""

    @abstractmethod
    def rows(self) -> TransformedRows:
        """The transformed rows."""
