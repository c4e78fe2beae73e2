"""Array types shared by every layer."""

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
"""Double precision throughout; typed as wide as numpy types what it returns."""
IntArray: TypeAlias = NDArray[np.integer[Any]]
CodeArray: TypeAlias = NDArray[np.int32]
BoolArray: TypeAlias = NDArray[np.bool_]
Frame: TypeAlias = Any
"""Any data frame that narwhals supports; only `table` looks inside."""

Method: TypeAlias = Literal["reml", "ml"]
Missing: TypeAlias = Literal["drop", "raise"]
Algebra: TypeAlias = Literal["auto", "exact", "iterative"]
