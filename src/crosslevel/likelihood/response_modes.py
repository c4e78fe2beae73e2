"""The search for the modes of all random effects at once, where levels of several grouping factors share rows.

With l(eta) the log density of the outcome and u ~ N(0, I), h(u) = -l + u'u / 2 is least at the modes. Newton steps
M step = Lambda'Z'l' - u, M = I + Lambda'Z'WZ Lambda, W = -l'', are shortened until h falls.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.kernels.responses import GAUSSIAN, LOGIT, POISSON
from crosslevel.likelihood.factorised import Factorised
from crosslevel.likelihood.response_pattern import ResponsePattern
from crosslevel.types import FloatArray

FINISHED = 1e-11
"""Largest change of an element of u, relative to 1 or the largest, that is a sign of having arrived."""

ROUNDED = 1e-7
"""The same where steps have stopped becoming smaller: what is left is rounding."""

MOST_STEPS, MOST_HALVINGS = 200, 60

SLACK = 1e-11
"""Increase of h, relative to 1 + |h|, that is rounding."""

SUSPICIOUS = 2.0
"""Increase of h, over that of the state nearby, beyond which its modes are tried as they are."""

CHEAP_THIRD = (LOGIT, POISSON, GAUSSIAN)
"""Families whose third derivative comes with the second."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """What the modes are searched at: the rows, and all parameters.

    Attributes
    ----------
    rows, pattern : the data.
    counted : (n,) what each row counts in all.
    fixed : (n,) linear predictor without random effects.
    factors : for each factor (q, q) Lambda.
    shape : (m,) natural shape parameters.
    """

    rows: ResponseRows = field(repr=False)
    pattern: ResponsePattern = field(repr=False)
    counted: FloatArray = field(repr=False)
    fixed: FloatArray = field(repr=False)
    factors: tuple[FloatArray, ...]
    shape: FloatArray

    @cached_property
    def scaled(self) -> tuple[FloatArray, ...]:
        """For each slot (q, n) Lambda'z_i."""
        return self.pattern.scaled(self.factors)

    def gathered(self, value: FloatArray) -> FloatArray:
        """Lambda'Z'v (N, 1), of rows' values (n,) that count all copies."""
        return self.pattern.gathered(self.scaled, value)

    def square(self, u: FloatArray) -> float:
        """Sum of squares of u (N, 1), all copies of a level counted."""
        copies = self.pattern.copies
        return float(np.vdot(u, u if copies is None else copies.each * u))

    def factorised(self, weight: FloatArray) -> Factorised:
        """The factor of M at weights W (n,)."""
        return self.pattern.factorised(self.scaled, weight)


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """Random effects u (N, 1), what follows for the rows, and h.

    `terms` (r, n) has l, l', l'' and, where it costs nothing, l''', times what each row counts.
    """

    u: FloatArray = field(repr=False)
    eta: FloatArray = field(repr=False)
    terms: FloatArray = field(repr=False)
    h: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Mode(Point):
    """The minimum of h, with the factor of M there; `factorised` is None where M has none."""

    factorised: Factorised | None = field(repr=False)


class Nearby(Protocol):
    """A state whose modes may start the search: those of `Setting` and `Mode`."""

    @property
    def setting(self) -> Setting: ...  # noqa: D102

    @property
    def mode(self) -> Mode: ...  # noqa: D102

    @property
    def by_shape(self) -> FloatArray: ...  # noqa: D102


def point(setting: Setting, u: FloatArray) -> Point:
    """Rows' terms and h at u (N, 1)."""
    from crosslevel.kernels.modes import row_terms
    from crosslevel.kernels.responses import fill_terms

    rows, pattern, code = setting.rows, setting.pattern, setting.rows.family.code
    eta = pattern.predictor(setting.scaled, pattern.by_factor(u), setting.fixed)
    if code in CHEAP_THIRD:
        terms = np.empty((4, rows.n))
        row_terms(code, setting.shape, rows.y, rows.size, setting.counted, eta, *terms)
    else:
        terms = np.empty((3, rows.n))
        fill_terms(code, rows.y, rows.size, setting.counted, eta, setting.shape, terms)
    return Point(u=u, eta=eta, terms=terms, h=0.5 * setting.square(u) - float(terms[0].sum()))


def search_modes(setting: Setting, near: Nearby | None) -> Mode:
    """The minimum of h, from what a state nearby lets expect, or from u = 0."""
    found = _start(setting, near)
    before = np.inf
    for _ in range(MOST_STEPS):
        factorised = setting.factorised(-found.terms[2])
        minimum: Factorised | None = factorised
        if not np.isfinite(factorised.log_det):  # a step needs some M that has a factor
            minimum, factorised = None, setting.factorised(np.maximum(-found.terms[2], 0.0))
        step = factorised.backward(factorised.forward(setting.gathered(found.terms[1]) - found.u))
        length = float(np.abs(step).max(initial=0.0)) / max(1.0, float(np.abs(found.u).max(initial=0.0)))
        if not np.isfinite(length):
            break
        if length <= FINISHED or before <= length <= ROUNDED:
            return _mode(found, minimum)
        lower = _shortened(setting, found, step)
        if lower is None:
            return _mode(found, minimum if length <= ROUNDED else None)
        found, before = lower, length
    return _mode(found, None)


def _mode(found: Point, factorised: Factorised | None) -> Mode:
    """The end of the search, without a factor where it has not arrived at a minimum."""
    return Mode(u=found.u, eta=found.eta, terms=found.terms, h=found.h, factorised=factorised)


def _shortened(setting: Setting, found: Point, step: FloatArray) -> Point | None:
    """The first of shorter and shorter steps after which h is not larger; None if it is after all of them."""
    highest = found.h + SLACK * (1.0 + abs(found.h))
    for halving in range(MOST_HALVINGS):
        trial = point(setting, found.u + 0.5**halving * step)
        if trial.h <= highest:
            return trial
    return None


def _start(setting: Setting, near: Nearby | None) -> Point:
    """Where the search starts."""
    nothing = np.zeros((setting.pattern.plan.n_columns, 1))
    if near is None or len(near.mode.u) != len(nothing):
        return point(setting, nothing)
    expected = _expected(setting, near)
    if expected is not None and expected.h <= near.mode.h + SUSPICIOUS:
        return expected
    found = [point(setting, near.mode.u), *([] if expected is None else [expected])]
    finite = [some for some in found if np.isfinite(some.h)]
    return min(finite, key=lambda some: some.h) if finite else point(setting, nothing)


def _expected(setting: Setting, near: Nearby) -> Point | None:
    """The modes as they follow from a state nearby whose l' is taken to be linear in eta and in shape.

    M u = Lambda'Z'(W (eta_near - fixed) + l' + dl'), to the first order exact in all parameters.
    """
    mode, same = near.mode, near.setting
    if mode.factorised is None or same.rows is not setting.rows:
        return None
    unchanged = all(np.array_equal(a, b) for a, b in zip(same.factors, setting.factors, strict=True))
    factorised = mode.factorised if unchanged else setting.factorised(-mode.terms[2])
    first = mode.terms[1] - mode.terms[2] * (mode.eta - setting.fixed)
    if not np.array_equal(same.shape, setting.shape):
        first += near.by_shape[:, 1] @ (setting.shape - same.shape)
    sides = setting.gathered(first)
    u = factorised.backward(factorised.forward(sides))
    return point(setting, u) if np.all(np.isfinite(u)) else None
