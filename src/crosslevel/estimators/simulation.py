"""Outcomes drawn from a fitted model: parametric simulation at the estimates."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.design.factors import GroupingFactor
from crosslevel.design.members import join_members
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.new_rows import Drawn
from crosslevel.estimators.predictor import Predictor, rows_of
from crosslevel.estimators.target_rows import NewRows, TargetRows
from crosslevel.inference.prediction import Members, contribution
from crosslevel.residual.correlation import CorrelationRoot, Independent
from crosslevel.solve import Solution
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.table import group_codes
from crosslevel.types import CodeArray, FloatArray, Frame, IntArray

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnEffects:
    """Random effects of one factor that are drawn.

    Attributes
    ----------
    n_levels : J, numbered as in `members`.
    half : (q, q) C with C C' their covariance.
    z : (q, n) their columns.
    members : levels of the rows, -1 where nothing is drawn, and how much rows have of them.
    """

    n_levels: int
    half: FloatArray
    z: FloatArray = field(repr=False)
    members: Members = field(repr=False)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """What they add to the rows, (n,)."""
        effects = rng.standard_normal((self.n_levels, len(self.half))) @ self.half.T
        return contribution(effects, self.z, self.members)


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnResiduals:
    """Residuals e = D L epsilon.

    Attributes
    ----------
    sd : (n,) standard deviations.
    correlation : L; its rows are those of the data in `order` (n,).
    """

    sd: FloatArray = field(repr=False)
    correlation: CorrelationRoot = field(repr=False)
    order: IntArray = field(repr=False)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Residuals (n,)."""
        out = np.empty(len(self.sd))
        out[self.order] = self.correlation.colour(rng.standard_normal((1, len(self.sd))))[0]
        return out * self.sd


def simulated(
    fit: "MixedFit",
    seed: int | np.random.Generator | None = None,
    n: int | None = None,
    *,
    random_effects: Drawn = "new",
    new: Frame | None = None,
) -> pd.Series | pd.DataFrame:
    """What `MixedFit.simulate` answers; see there."""
    design, solution = fit.design, fit.solution
    if random_effects not in ("new", "conditional"):
        raise CrosslevelError(f"`random_effects` is 'new' or 'conditional'; got {random_effects!r}.")
    if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1):
        raise CrosslevelError(f"`n` is a number of simulations, at least 1, or None for one Series; got {n!r}.")
    refuse_weights(design)
    known = random_effects == "conditional"
    everything = tuple(range(len(design.factors)))
    rows = rows_of(fit, new, everything)
    mean = Predictor(design=design, solution=solution, chosen=everything if known else ()).estimates(rows)
    residuals = _residuals(design, solution, rows, mean)
    effects = [] if known and new is None else drawn_effects(solution, rows, known=known)
    mean = mean + rows.offset
    rng = np.random.default_rng(seed)

    def draw() -> FloatArray:
        out = mean.copy()
        for part in effects:
            out += part.draw(rng)
        return rows.spread(out + residuals.draw(rng))

    name = design.spec.response_name
    if n is None:
        return pd.Series(draw(), index=rows.index, name=name)
    return pd.DataFrame({f"sim_{i + 1}": draw() for i in range(n)}, index=rows.index)


def refuse_weights(design: Design) -> None:
    """Refuse weights with which a row is not one draw."""
    weights = design.weights
    if weights is not None and weights.is_sampling:
        raise CrosslevelError(
            "`simulate` draws rows of a population, and with sampling weights the rows are a sample of it with unequal "
            "probabilities, of which the model says nothing. Fit without weights to simulate these rows."
        )
    if weights is not None and weights.is_frequency:
        raise CrosslevelError(
            "`simulate` draws one outcome for each row, and with frequency weights a row stands for several, whose "
            "outcomes would differ. Repeat the rows and fit without weights."
        )


def _residuals(design: Design, solution: Solution, rows: TargetRows, mean: FloatArray) -> DrawnResiduals:
    """Residuals of the rows, with the covariance of the fit."""
    sd = solution.sigma * np.sqrt(rows.residual_variances(solution, mean))
    if design.residual is None:
        return DrawnResiduals(sd=sd, correlation=Independent(), order=np.arange(rows.n_rows))
    residual, phi = solution.criterion.residual, solution.phi
    correlation: CorrelationRoot = residual.at(phi).correlation
    if not isinstance(rows, NewRows):
        return DrawnResiduals(sd=sd, correlation=correlation, order=residual.order)
    if not isinstance(correlation, Independent):
        raise CrosslevelError(
            f"`new` cannot be simulated: residuals are correlated within {residual.within} ({residual.words}), and the "
            "fit knows the units and times of its own rows only. Simulate those, without `new`."
        )
    return DrawnResiduals(sd=sd, correlation=Independent(), order=np.arange(rows.n_rows))


def drawn_effects(solution: "Solution | GeneralizedSolution", rows: TargetRows, *, known: bool) -> list[DrawnEffects]:
    """The random effects to draw: of all levels, or of those that were not in the fit if the others are known."""
    factors = rows.factors
    z = [np.empty((len(factor.z), rows.n_rows)) for factor in factors]
    found: list[list[Members]] = [[] for _ in factors]
    for block in rows.blocks():
        for own, parts, factor, members in zip(z, found, factors, block.members, strict=True):
            own[:, block.place] = block.columns[factor.z]
            parts.append(members)
    out = []
    for k, factor in enumerate(factors):
        members = _joined(found[k])
        n_levels = factor.n_levels
        if isinstance(rows, NewRows):
            own_codes, n_levels = _own_levels(factor, rows)
            members = [
                (np.where(codes >= 0, np.int32(-1), own) if known else own, share)
                for own, (codes, share) in zip(own_codes, members, strict=True)
            ]
        half = solution.sigma * solution.factors[k]
        out.append(DrawnEffects(n_levels=n_levels, half=half, z=z[k], members=members))
    return out


def _joined(parts: Sequence[Members]) -> Members:
    """Levels of all rows from those of blocks."""
    out = []
    for pieces in zip(*parts, strict=True):
        shares = [share for _, share in pieces if share is not None]
        out.append((np.concatenate([codes for codes, _ in pieces]), np.concatenate(shares) if shares else None))
    return out


def _own_levels(factor: GroupingFactor, rows: NewRows) -> tuple[list[CodeArray], int]:
    """Levels of new rows, numbered among themselves, and how many; where it is missing, a row has one of its own."""
    if factor.membership is not None:
        levels, members = join_members(factor.membership, rows.columns, rows.mask)
        codes = [codes for codes, _ in members]
        return [own if rows.mask is None else own[rows.mask] for own in codes], len(levels)
    found = group_codes(rows.columns, factor.group)
    own = found.codes if rows.mask is None else found.codes[rows.mask]
    missing = own < 0
    n_levels = found.n_levels + int(np.count_nonzero(missing))
    own = own.copy()
    own[missing] = np.arange(found.n_levels, n_levels, dtype=np.int32)
    return [own], n_levels
