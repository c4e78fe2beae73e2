"""The search for the modes of all random effects at once, where levels of several grouping factors share rows.

With l(eta) the log density of the outcome and u ~ N(0, I), h(u) = -l + u'u / 2 is least at the modes. Newton steps
M step = Lambda'Z'l' - u, M = I + Lambda'Z'WZ Lambda, W = -l'', are shortened until h falls.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.kernels.responses import GAUSSIAN, LOGIT, POISSON
from crosslevel.likelihood.factorised import Factorised, factorise
from crosslevel.likelihood.response_pattern import ResponsePattern, WeightedBlocks
from crosslevel.types import FloatArray

FINISHED = 1e-10
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
    each : (N, 1) how often the level of each random effect counts; None if all count once.
    fixed : (n,) linear predictor without random effects.
    factors : for each factor (q, q) Lambda.
    shape : (m,) natural shape parameters.
    """

    rows: ResponseRows = field(repr=False)
    pattern: ResponsePattern = field(repr=False)
    counted: FloatArray = field(repr=False)
    each: FloatArray | None = field(repr=False)
    fixed: FloatArray = field(repr=False)
    factors: tuple[FloatArray, ...]
    shape: FloatArray

    def effects(self, u: FloatArray) -> tuple[FloatArray, ...]:
        """For each factor (J, q) b = Lambda u, for u (N, 1)."""
        parts = zip(self.pattern.plan.by_factor(u), self.factors, strict=True)
        return tuple(np.ascontiguousarray(part[:, :, 0] @ factor.T) for part, factor in parts)

    def gathered(self, value: FloatArray) -> FloatArray:
        """Lambda'Z'v (N, 1), of rows' values (n,) that count all copies."""
        return self.pattern.plan.scaled(self.pattern.images(value), self.factors, 1)


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
    """The minimum of h, with Z'WZ and the factor of M there; `factorised` is None where M has none."""

    blocks: WeightedBlocks | None = field(repr=False)
    factorised: Factorised | None = field(repr=False)


class Nearby(Protocol):
    """A state whose modes may start the search: those of `Setting` and `Mode`."""

    @property
    def setting(self) -> Setting: ...  # noqa: D102

    @property
    def mode(self) -> Mode: ...  # noqa: D102


def point(setting: Setting, u: FloatArray) -> Point:
    """Rows' terms and h at u (N, 1)."""
    from crosslevel.kernels.responses import fill_terms

    rows = setting.rows
    eta = setting.pattern.predictor(setting.effects(u), setting.fixed)
    terms = np.empty((4 if rows.family.code in CHEAP_THIRD else 3, rows.n))
    fill_terms(rows.family.code, rows.y, rows.size, setting.counted, eta, setting.shape, terms)
    return Point(u=u, eta=eta, terms=terms, h=float(0.5 * counted_square(setting, u) - terms[0].sum()))


def counted_square(setting: Setting, u: FloatArray) -> float:
    """u'u, all copies of a level counted."""
    return float(np.vdot(u, u if setting.each is None else setting.each * u))


def search_modes(setting: Setting, near: Nearby | None) -> Mode:
    """The minimum of h, from what a state nearby lets expect, or from u = 0."""
    found = _start(setting, near)
    before = np.inf
    for _ in range(MOST_STEPS):
        blocks = setting.pattern.blocks(-found.terms[2])
        factorised = factorise(blocks, setting.pattern.plan, setting.pattern.weights, setting.factors)
        indefinite = not np.isfinite(factorised.log_det)
        if indefinite:  # a step needs some M that has a factor
            positive = setting.pattern.blocks(np.maximum(-found.terms[2], 0.0))
            factorised = factorise(positive, setting.pattern.plan, setting.pattern.weights, setting.factors)
        downhill = setting.gathered(found.terms[1]) - found.u
        step = factorised.backward(factorised.forward(downhill.copy()))
        length = float(np.abs(step).max(initial=0.0)) / max(1.0, float(np.abs(found.u).max(initial=0.0)))
        if not np.isfinite(length):
            break
        if length <= FINISHED or before <= length <= ROUNDED:
            return _mode(found, None if indefinite else (blocks, factorised))
        lower = _shortened(setting, found, step)
        if lower is None:
            return _mode(found, None if indefinite or length > ROUNDED else (blocks, factorised))
        found, before = lower, length
    return _mode(found, None)


def _mode(found: Point, arrived: tuple[WeightedBlocks, Factorised] | None) -> Mode:
    """The end of the search, without a factor where it has not arrived at a minimum."""
    blocks, factorised = (None, None) if arrived is None else arrived
    return Mode(u=found.u, eta=found.eta, terms=found.terms, h=found.h, blocks=blocks, factorised=factorised)


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
    n_columns = setting.pattern.plan.n_columns
    if near is None or len(near.mode.u) != n_columns:
        return point(setting, np.zeros((n_columns, 1)))
    expected = _expected(setting, near)
    if expected is not None and expected.h <= near.mode.h + SUSPICIOUS:
        return expected
    kept = point(setting, near.mode.u)
    return expected if expected is not None and expected.h < kept.h else kept


def _expected(setting: Setting, near: Nearby) -> Point | None:
    """The modes as they follow from a state nearby whose l' and l'' are taken to be linear and constant in eta.

    M u = Lambda'Z'(W (eta_near - fixed) + l'), to the first order exact in all parameters but shape.
    """
    mode, same = near.mode, near.setting
    if mode.blocks is None or mode.factorised is None or same.rows is not setting.rows:
        return None
    unchanged = all(np.array_equal(a, b) for a, b in zip(same.factors, setting.factors, strict=True))
    factorised = mode.factorised
    if not unchanged:
        factorised = factorise(mode.blocks, setting.pattern.plan, setting.pattern.weights, setting.factors)
    sides = setting.gathered(mode.terms[1] - mode.terms[2] * (mode.eta - setting.fixed))
    u = factorised.backward(factorised.forward(sides))
    return point(setting, u) if np.all(np.isfinite(u)) else None


def at_factors(mode: Mode, setting: Setting, factors: tuple[FloatArray, ...]) -> tuple[Setting, Factorised]:
    """The factor of M at other Lambdas, the rows' weights W left as they are."""
    assert mode.blocks is not None  # states without a factor have no derivatives
    changed = replace(setting, factors=factors)
    return changed, factorise(mode.blocks, setting.pattern.plan, setting.pattern.weights, factors)
