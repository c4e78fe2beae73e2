"""What a profile likelihood answers: intervals, points, and the words for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.display import Column, Document, Row, Table
from crosslevel.errors import CrosslevelError
from crosslevel.inference.distributions import normal_quantile
from crosslevel.inference.profile import Curve, interpolated
from crosslevel.inference.wald import check_level
from crosslevel.types import FloatArray, Method


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """Profile likelihood of parameters of a fit.

    Attributes
    ----------
    curves : the profile of each parameter, by name.
    deviance : minimum of the deviance from which zeta is measured.
    method : whose likelihood it is, "ml" or "reml".
    level : confidence level that the points reach.
    without : parameters that have no profile of their own, with the reason.
    likelihood : what is profiled, in words; "" for the one that `method` names.
    """

    curves: Mapping[str, Curve] = field(repr=False)
    deviance: float
    method: Method
    level: float
    without: Mapping[str, str]
    likelihood: str = ""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, as in "sd(Intercept|school)"."""
        return tuple(self.curves)

    @property
    def frame(self) -> pd.DataFrame:
        """All points: parameter, value, zeta, deviance."""
        records = [
            (name, curve.line.natural(point.place), point.zeta, point.deviance)
            for name, curve in self.curves.items()
            for point in curve.points
        ]
        return pd.DataFrame.from_records(records, columns=["parameter", "value", "zeta", "deviance"])

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Intervals: estimate, conf_low, conf_high by parameter.

        Their ends are the values at which the minimised deviance is above its minimum by the square of the normal
        quantile. Where it does not rise as much, the interval ends where the parameter's range does: at 0, -1 or 1.
        """
        ends = [(curve.line.natural(curve.line.place), *self.interval(name, level)) for name, curve in self._items]
        index = pd.Index(self.parameters, name="parameter")
        return pd.DataFrame(ends, columns=["estimate", "conf_low", "conf_high"], index=index)

    def interval(self, parameter: str, level: float = 0.95) -> tuple[float, float]:
        """Interval of one parameter; see `conf_int`."""
        curve, quantile = self.curve(parameter), normal_quantile(0.5 + check_level(level) / 2.0)
        return float(curve.end(-1.0, quantile)), float(curve.end(1.0, quantile))

    def curve(self, parameter: str) -> Curve:
        """Profile of one parameter.

        Raises
        ------
        CrosslevelError : it has none.
        """
        if parameter not in self.curves:
            more = f" {parameter} has none: {self.without[parameter]}" if parameter in self.without else ""
            raise CrosslevelError(
                f"`parameter` is one of those profiled: {', '.join(self.parameters)}; got {parameter!r}.{more}"
            )
        return self.curves[parameter]

    def smooth(self, parameter: str) -> tuple[FloatArray, FloatArray]:
        """Values (m,) of a parameter and zeta (m,), by cubic interpolation between the points."""
        return interpolated(self.curve(parameter))

    def document(self, *, level: float = 0.95) -> Document:
        """Intervals of a confidence level, to print or to show in a notebook."""
        frame, share = self.conf_int(level), f"{100.0 * level:g}%"
        rows: list[Row] = [[str(name), *(_shown(value) for value in row)] for name, row in _values(frame)]
        columns: list[str | Column] = ["Parameter"]
        columns += [Column(name, align="decimal") for name in ("Estimate", f"{share} low", "high")]
        kind = self.likelihood or ("full likelihood (ML)" if self.method == "ml" else "restricted likelihood (REML)")
        notes = [f"Profile of the {kind}: estimates are its own. Deviance at the minimum {self.deviance:.3f}."]
        notes += [f"{name}: {reason}" for name, reason in self.without.items()]
        poor = [name for name, curve in self._items if not curve.converged]
        if poor:
            notes.append(f"Some points of {', '.join(poor)} are not known to be minima.")
        return Document("Profile likelihood", [Table(columns, rows, notes=notes)])

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the intervals for a notebook."""
        return self.document()._repr_html_()

    @property
    def _items(self) -> list[tuple[str, Curve]]:
        """Names and profiles."""
        return list(self.curves.items())


def _values(frame: pd.DataFrame) -> list[tuple[object, FloatArray]]:
    """Names and rows of a frame of numbers."""
    return list(zip(frame.index, np.asarray(frame, dtype=np.float64), strict=True))


def _shown(value: float) -> float | str:
    """A number for a table; words where it is infinite."""
    return value if np.isfinite(value) else ("∞" if value > 0.0 else "−∞")
