"""Whether two fits are of the same rows and outcome, and whether the fixed part of one lies in that of the other."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.memory import require_memory
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.nesting import AnyFit

SAME = 1e-9
"""Difference, relative to the size of a column, that is rounding."""

INSIDE = 1e-7
"""Length of what the larger model's columns leave of a column, relative to the column's, that is rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedParts:
    """How the fixed part of one model lies in that of another.

    Attributes
    ----------
    n_more : coefficients that the larger one has more.
    same_span : whether they span the same space.
    log_basis : log|X'X| of the smaller one's columns less that of the larger's, if they do.
    """

    n_more: int
    same_span: bool
    log_basis: float


def compare_rows(small: "AnyFit", large: "AnyFit") -> FixedParts:
    """Compare rows, outcome, weights and fixed parts of two fits.

    Fits to one frame with the same rows are compared by the names of their columns; otherwise, and where names differ,
    the columns are read.

    Raises
    ------
    CrosslevelError : rows, outcomes, weights or offsets differ, or the fixed part of the first is no part of the other.
    """
    one, other = small.design, large.design
    if one.rows.used != other.rows.used:
        raise CrosslevelError(
            f"`lrtest` compares likelihoods of the same rows; these fits have {one.rows.used:,} and "
            f"{other.rows.used:,}. Fit both to the rows that are complete in all variables of the larger model."
        )
    _require_same_weights(one, other)
    mine, theirs = set(one.fixed_names), set(other.fixed_names)
    if _reads_alike(small, large) and mine <= theirs:
        return FixedParts(n_more=len(theirs - mine), same_span=mine == theirs, log_basis=0.0)
    return _by_columns(one, other)


def _require_same_weights(one: Design, other: Design) -> None:
    """Refuse different weights or offsets."""
    for what, mine, theirs in (
        ("weights", _row_weights(one), _row_weights(other)),
        ("offsets", one.offset, other.offset),
    ):
        same = (mine is None) == (theirs is None) and (mine is None or np.array_equal(mine, theirs))  # type: ignore[arg-type]
        if not same or (what == "weights" and _reading(one) != _reading(other)):
            raise CrosslevelError(f"`lrtest` compares likelihoods of the same rows; these fits have different {what}.")


def _row_weights(design: Design) -> FloatArray | None:
    """What the rows weigh."""
    return None if design.weights is None else design.weights.rows


def _reading(design: Design) -> type | None:
    """How the weights are read."""
    return None if design.weights is None else type(design.weights.given)


def _reads_alike(small: "AnyFit", large: "AnyFit") -> bool:
    """Whether both fits are known to be of the same rows of one frame, with the same outcome."""
    one, other = small.design, large.design
    masks = (one.mask is None) == (other.mask is None) and (
        one.mask is None or np.array_equal(one.mask, other.mask)  # type: ignore[arg-type]
    )
    responses = one.response is other.response and one.spec.response_name == other.spec.response_name
    return small.data is large.data and masks and responses


def _by_columns(one: Design, other: Design) -> FixedParts:
    """Compare outcomes row by row, and project the columns of one model on those of the other."""
    n, width = one.rows.used, len(one.x) + len(other.x) + 2
    require_memory(
        16.0 * n * width,
        f"`lrtest` compares {width} columns of {n:,} rows, since the models' columns have different names,",
        "Give the columns of both models the same names.",
    )
    mine, y = _columns(one)
    theirs, their_y = _columns(other)
    if np.abs(y - their_y).max() > SAME * max(float(np.abs(y).max()), 1e-300):
        raise CrosslevelError(
            "`lrtest` compares likelihoods of the same outcome in the same rows; the outcomes of these fits differ. "
            "Fit both to the same frame."
        )
    mine, theirs = (columns / np.linalg.norm(columns, axis=0) for columns in (mine, theirs))
    left = mine - theirs @ np.linalg.lstsq(theirs, mine, rcond=None)[0] if theirs.shape[1] else mine
    outside = [name for name, part in zip(one.fixed_names, left.T, strict=True) if np.linalg.norm(part) > INSIDE]
    if outside:
        raise CrosslevelError(
            "`lrtest` needs a first model that is a special case of the second, and the second lacks the fixed effects "
            f"of {', '.join(outside)}. Models that are not nested can be compared by AIC or BIC (`fit.aic`, "
            "`fit.bic`), fitted with method='ml'."
        )
    n_more = len(other.x) - len(one.x)
    log_basis = 0.0
    if not n_more:
        log_basis = _log_gram(_columns(one)[0], one) - _log_gram(_columns(other)[0], other)
    return FixedParts(n_more=n_more, same_span=not n_more, log_basis=log_basis)


def _log_gram(columns: FloatArray, design: Design) -> float:
    """log|X'X|, rows weighted as in the likelihood."""
    weights = _row_weights(design)
    weighted = columns if weights is None else columns * np.sqrt(weights)[:, None]
    return 2.0 * float(np.log(np.abs(np.diag(np.linalg.qr(weighted, mode="r")))).sum())


def _columns(design: Design) -> tuple[FloatArray, FloatArray]:
    """Fixed columns (n, p) and outcome (n,) of the rows used."""
    blocks = [block[np.append(design.x, -1)] for block, _, _ in design.blocks()]
    whole = np.concatenate(blocks, axis=1)
    return whole[:-1].T, whole[-1]
