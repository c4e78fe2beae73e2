"""Working coordinates of the fixed columns and the response, and the way back to their own units."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Coordinates:
    """In which coordinates a model's [X y] is worked on.

    Every column has mean 0 (where the model has an intercept to absorb the shift) and standard deviation 1, and what
    ordinary regression explains is taken out of y: where that is nearly all of it, the rest would else be the small
    difference of large sums at every evaluation.

    Attributes
    ----------
    shift, scale : (p + 1,) of [X y]: working columns are (x - shift) / scale.
    removed : (p,) working coefficients whose part is taken out of working y.
    intercept : position of the intercept in X, or -1.
    """

    shift: FloatArray
    scale: FloatArray
    removed: FloatArray
    intercept: int

    @property
    def p(self) -> int:
        """Number of fixed columns."""
        return len(self.removed)

    @cached_property
    def beta_map(self) -> FloatArray:
        """(p, p) A: coefficients in their own units are A (beta_working + removed) + constant."""
        out = np.diag(self.scale[-1] / self.scale[:-1])
        if self.intercept >= 0:
            others = np.arange(self.p) != self.intercept
            out[self.intercept, others] = -(self.shift[:-1] * self.scale[-1] / self.scale[:-1])[others]
        return out

    def coefficients(self, beta: FloatArray) -> FloatArray:
        """Coefficients (p,) in the units of the data, from working ones."""
        out = self.beta_map @ (beta + self.removed)
        if self.intercept >= 0:
            out[self.intercept] += self.shift[-1]
        return np.asarray(out)

    @property
    def log_scale(self) -> tuple[float, float]:
        """Log scale of y, and the sum of the log scales of X: what the deviance has to be moved by."""
        return float(np.log(self.scale[-1])), float(np.log(self.scale[:-1]).sum())
