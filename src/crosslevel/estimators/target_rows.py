"""The rows that are predicted or simulated: those of the fit, or those of a new frame."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.design.factors import GroupingFactor, codes_among, new_members
from crosslevel.design.members import join_members
from crosslevel.errors import CrosslevelError, DataError
from crosslevel.estimators.rows import row_index
from crosslevel.formula.evaluate import Evaluator
from crosslevel.inference.prediction import Members
from crosslevel.residual import ResidualStructure
from crosslevel.residual.variance import KnownVariance, PowerVariance, StratumVariance
from crosslevel.solve import Solution
from crosslevel.table import Columns, group_codes
from crosslevel.types import BoolArray, FloatArray, Frame, IntArray
from crosslevel.weights import Precision

CHUNK = 1 << 16
"""Rows looked at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Some of the rows.

    Attributes
    ----------
    columns : (m, L) design columns.
    members : for each wanted factor, the levels of the rows and how much they have of them.
    place : where they stand among all rows that are predicted.
    """

    columns: FloatArray = field(repr=False)
    members: tuple[Members, ...] = field(repr=False)
    place: slice


class TargetRows(ABC):
    """Rows for which everything that a prediction needs is known; the others get no prediction.

    Attributes
    ----------
    factors : the grouping factors whose levels are wanted.
    """

    factors: tuple[GroupingFactor, ...]

    @property
    @abstractmethod
    def index(self) -> pd.Index:
        """Labels of all rows, those without prediction included."""

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Number of the rows that are predicted, n."""

    @property
    @abstractmethod
    def offset(self) -> FloatArray | float:
        """Offset of these rows, (n,)."""

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """The rows in order, some at a time."""

    @abstractmethod
    def residual_variances(self, solution: Solution | None, fitted: FloatArray) -> FloatArray:
        """Residual variances (n,) relative to sigma^2; NaN where they cannot be known.

        Parameters
        ----------
        solution : the fitted model; needed where it has a residual structure.
        fitted : (n,) predictions without offset, of which the residual variance may be a function.
        """

    @abstractmethod
    def spread(self, values: FloatArray) -> FloatArray:
        """Values of the rows that are predicted put back among all rows, NaN elsewhere."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UsedRows(TargetRows):
    """The rows of the fit.

    Attributes
    ----------
    design : the model.
    factors : the grouping factors whose levels are wanted.
    """

    design: Design = field(repr=False)
    factors: tuple[GroupingFactor, ...]

    @property
    def index(self) -> pd.Index:
        """Labels of the rows used."""
        return row_index(self.design)

    @property
    def n_rows(self) -> int:
        """Rows used."""
        return self.design.rows.used

    @property
    def offset(self) -> FloatArray | float:
        """Offset of the fit."""
        return 0.0 if self.design.offset is None else self.design.offset

    def blocks(self) -> Iterator[Block]:
        """The rows used, as they are read."""
        single, done = self.design.is_single, 0
        members = () if single else tuple(self.design.used_members(factor) for factor in self.factors)
        for block, block_codes, _ in self.design.blocks():
            place = slice(done, done + block.shape[1])
            done = place.stop
            own = (((block_codes, None),),) * len(self.factors) if single else tuple(_at(m, place) for m in members)
            yield Block(columns=block[:-1], members=own, place=place)

    def residual_variances(self, solution: Solution | None, fitted: FloatArray) -> FloatArray:
        """Those of the fit."""
        weights = self.design.weights
        if weights is not None and weights.is_precision and weights.rows is not None:
            return 1.0 / weights.rows
        out = np.ones(self.n_rows)
        if self.design.residual is not None and solution is not None:
            residual = solution.criterion.residual
            out[residual.order] = np.exp(2.0 * residual.at(solution.phi).log_sd)
        return out

    def spread(self, values: FloatArray) -> FloatArray:
        """All rows used are predicted."""
        return values


@dataclass(frozen=True, kw_only=True, eq=False)
class NewRows(TargetRows):
    """The rows of a new frame.

    Attributes
    ----------
    design : the model.
    structure : covariance structure of the residuals as it was asked for, None without one.
    columns : the frame.
    mask : (rows,) which have no missing predictor; None if all have none.
    factors : the grouping factors whose levels are wanted.
    members : for each of them levels (rows,), negative where unknown, and how much rows have of them.
    """

    design: Design = field(repr=False)
    structure: ResidualStructure | None
    columns: Columns = field(repr=False)
    mask: BoolArray | None = field(repr=False)
    factors: tuple[GroupingFactor, ...]
    members: tuple[Members, ...] = field(repr=False)
    evaluator: Evaluator = field(repr=False)

    @property
    def index(self) -> pd.Index:
        """Labels of the frame's rows."""
        return self.columns.index(None)

    @property
    def n_rows(self) -> int:
        """Rows without missing predictors."""
        return self.columns.n_rows if self.mask is None else int(np.count_nonzero(self.mask))

    @property
    def offset(self) -> FloatArray | float:
        """Offset from the column that the fit had it from."""
        if self.design.offset is None:
            return 0.0
        asked = self.design.asked
        if asked is not None and asked.exposure is not None:
            return self._with_exposure(asked.exposure_column)
        if self.design.offset_column is None:
            raise CrosslevelError(
                "`offset` was given as numbers for the rows of the fit, so that it is not known for new rows. "
                "Fit with the name of a column, which `new` has too."
            )
        return self._numeric(self.design.offset_column)

    def _with_exposure(self, column: str | None) -> FloatArray:
        """Logarithms of exposures, with the offset from its column where there is one."""
        if column is None:
            raise CrosslevelError(
                "`exposure` was given as numbers for the rows of the fit, so that it is not known for new rows. "
                "Fit with the name of a column, which `new` has too."
            )
        values = self._numeric(column)
        if not np.all(values > 0.0):
            raise DataError(f"`new` has exposures in {column!r} that are not positive. Correct them.")
        return np.log(values) + (0.0 if self.design.offset_column is None else self._numeric(self.design.offset_column))

    def blocks(self) -> Iterator[Block]:
        """The rows in order."""
        done = 0
        for start in range(0, self.columns.n_rows, CHUNK):
            rows = slice(start, min(start + CHUNK, self.columns.n_rows))
            keep = rows if self.mask is None else rows.start + np.flatnonzero(self.mask[rows])
            columns = self.evaluator.evaluate(rows)
            place = slice(done, done + columns.shape[1])
            done = place.stop
            yield Block(columns=columns, members=tuple(_at(own, keep) for own in self.members), place=place)

    def residual_variances(self, solution: Solution | None, fitted: FloatArray) -> FloatArray:
        """From the columns that the fit had them from."""
        weights = None if self.design.weights is None else self.design.weights.given
        if isinstance(weights, Precision):
            values = self._numeric(weights.column)
            if np.any(values <= 0.0):
                raise DataError(f"`new` has precisions in {weights.column!r} that are not positive. Correct them.")
            return 1.0 / values
        if self.structure is None or solution is None:
            return np.ones(self.n_rows)
        variance, phi = solution.criterion.residual.variance, solution.phi
        if isinstance(variance, StratumVariance):
            return self._of_strata(variance, phi)
        if isinstance(variance, PowerVariance):
            size = self._numeric(self.structure.numbers[0]) if self.structure.numbers else fitted
            with np.errstate(divide="ignore"):
                return np.asarray(np.exp(2.0 * phi[0] * (np.log(np.abs(size)) - variance.centre)))
        if isinstance(variance, KnownVariance):
            return self._numeric(self.structure.numbers[0]) ** 2
        return np.ones(self.n_rows)

    def _of_strata(self, variance: StratumVariance, phi: FloatArray) -> FloatArray:
        """Variance of each row's stratum."""
        assert self.structure is not None
        name = self.structure.factors[-1]
        names = tuple(name.split(":"))
        self.columns.require(names, "new")
        codes = codes_among(variance.levels, self.columns, names)
        known = codes >= 0
        if self.mask is not None:
            codes, known = codes[self.mask], known[self.mask]
        logs = np.append(np.append(0.0, phi[: variance.n_phi]), np.nan)
        if not np.all(known):
            given = group_codes(self.columns, names).levels
            strange = [str(level) for level in given if str(level) not in set(map(str, variance.levels))]
            if strange:
                raise DataError(
                    f"`new` has {', '.join(map(repr, strange[:5]))} in {name!r}, whose residual variance the fit does "
                    f"not know. It knows {', '.join(repr(level) for level in variance.levels[:20])}."
                )
        return np.asarray(np.exp(2.0 * logs[codes]))

    def spread(self, values: FloatArray) -> FloatArray:
        """NaN where a predictor is missing."""
        if self.mask is None:
            return values
        out = np.full(self.columns.n_rows, np.nan)
        out[self.mask] = values
        return out

    def _numeric(self, name: str) -> FloatArray:
        """A column of numbers, at the rows that are predicted."""
        self.columns.require([name], "new")
        values = self.columns.numeric(name)
        return values if self.mask is None else np.asarray(values[self.mask])


def new_rows(
    design: Design, structure: ResidualStructure | None, factors: Sequence[GroupingFactor], new: Frame
) -> NewRows:
    """Match a new frame with a model.

    Parameters
    ----------
    design, structure : the model, and the residual structure it was asked to have.
    factors : grouping factors whose levels are wanted.
    new : any frame.

    Raises
    ------
    ColumnNotFoundError, DataError : columns are absent, or have categories the model does not know.
    """
    columns = Columns.from_frame(new, "new")
    predictors = predictors_of(design)
    groups = sorted({name for factor in factors for name in group_columns(factor)})
    columns.require([*predictors, *groups], "new")
    mask, _ = columns.complete(predictors)
    return NewRows(
        design=design,
        structure=structure,
        columns=columns,
        mask=mask,
        factors=tuple(factors),
        members=tuple(_new_members(factor, columns, mask) for factor in factors),
        evaluator=design.spec.bind(columns, mask, response=False),
    )


def _new_members(factor: GroupingFactor, columns: Columns, mask: BoolArray | None) -> Members:
    """Levels of new rows; where a row may have several, those that are unknown have numbers of their own."""
    members = new_members(factor, columns)
    if factor.membership is None:
        return members
    _, named = join_members(factor.membership, columns, mask)
    return tuple(
        (np.where((codes < 0) & (own >= 0), -2 - own, codes), share)
        for (codes, share), (own, _) in zip(members, named, strict=True)
    )


def group_columns(factor: GroupingFactor) -> tuple[str, ...]:
    """The data columns that say to which levels a row belongs."""
    return factor.group if factor.membership is None else factor.membership.variables


def predictors_of(design: Design) -> list[str]:
    """The variables that predictions need, clusters apart."""
    outcome = set(design.spec.response_component.variables)
    fixed_only = {name for j in design.x for name in design.spec.columns[j].variables}
    needed = [name for name in design.spec.variables if name in fixed_only or name not in outcome]
    groups = {name for factor in design.factors for name in group_columns(factor)}
    return [name for name in needed if name not in groups or name in fixed_only]


def _at(members: Members, rows: slice | IntArray) -> Members:
    """Levels of some of the rows, and how much they have of them."""
    return tuple((codes[rows], None if share is None else share[rows]) for codes, share in members)
