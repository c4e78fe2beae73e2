"""Residuals of rows that no random effect is part of: those of a regression on X and on every level's own Z.

A conditional residual e = P y of a mixed model is a sum over rows of errors and of random effects. The linear
functions of it in which errors have the largest share are those in which they have all of it: residuals of the
regression of y on [X Z] with the random effects as fixed ones, whatever theta is,

    e_w = (I - H_w) y,     Var(e_w) = sigma^2 (I - H_w),     H_w the projection on [X Z].

They say least about rows of small clusters: with as many columns in Z as rows nothing is left, 1 - h = 0.

Source: Hilden-Minton (1995), Multilevel Diagnostics for Mixed and Hierarchical Linear Models, UCLA, chapter 4; Loy &
Hofmann (2015), J. Comput. Graph. Stat. 24: 1191-1209; Loy & Hofmann (2014), J. Stat. Softw. 56(5), section 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.rows import ModelRows
from crosslevel.inference.prediction import Members
from crosslevel.types import CodeArray, FloatArray

RANK = 1e-10
"""Share of a column's square that is left outside of others below which it is rounding error."""

MOST_COLUMNS = 1_500
"""Columns beside one factor's own that are eliminated together, at most."""

MOST_WORK = 3e10
"""Multiplications that leverages of rows may take."""

CHUNK = 1 << 12
"""Rows looked at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WithinResiduals:
    """Residuals of the regression on [X Z].

    Attributes
    ----------
    values : (n,) in the units of y.
    left : (n,) 1 - h, the share of sigma^2 R_ii that is their variance; 0 where nothing can be seen of a row.
    """

    values: FloatArray = field(repr=False)
    left: FloatArray = field(repr=False)


def within_residuals(rows: ModelRows, n_levels: Sequence[int], weights: FloatArray | None = None) -> WithinResiduals:
    """Regress y on [X Z], all levels' effects being fixed.

    Parameters
    ----------
    rows : of the model.
    n_levels : for each factor the number of its levels.
    weights : (n,) 1 / R_ii; None if all are alike.

    Raises
    ------
    CrosslevelError : crossed factors with too many levels.
    """
    root = np.ones(len(rows.y)) if weights is None else np.sqrt(weights)
    first = _absorbed(rows, n_levels)
    own: FloatArray = np.zeros((0, len(rows.y)))
    codes: CodeArray = np.zeros(len(rows.y), dtype=np.int32)
    n_own = 1
    if first >= 0:
        codes, n_own = rows.members[first][0][0], n_levels[first]
        own = orthonormal_within(rows.z[first] * root, codes, n_own)
    others = [k for k in range(len(n_levels)) if k != first]
    columns = _Columns(rows=rows, root=root, others=others, n_levels=tuple(n_levels), own=own, codes=codes, n_own=n_own)
    columns.check()
    half = columns.half
    y = rows.y * root
    y = y - _projected(y, own, codes, n_own)
    score = sum((columns.rest(place) @ y[place] for place in columns.places), np.zeros(columns.width))
    values, left = y.copy(), 1.0 - np.sum(own**2, axis=0)
    for place in columns.places:
        turned = half.T @ columns.rest(place)
        values[place] -= (half.T @ score) @ turned
        left[place] -= np.sum(turned**2, axis=0)
    left = np.where(left > RANK * 10.0, left, 0.0)
    return WithinResiduals(values=np.where(left > 0.0, values, 0.0) / root, left=left)


def orthonormal_within(z: FloatArray, codes: CodeArray, n_levels: int) -> FloatArray:
    """Columns (q, n) that span within each level what z (q, n) spans, and are orthonormal there; zero where redundant.

    Gram and Schmidt's method on the rows, twice, columns that are the same in all rows first.
    """
    order = np.argsort([float(np.ptp(row)) for row in z], kind="stable")
    out = np.zeros_like(z)
    for done, k in enumerate(order):
        column = z[k]
        before = np.bincount(codes, column**2, n_levels)
        for _ in range(2):
            column = column - _projected(column, out[:done], codes, n_levels)
        size = np.bincount(codes, column**2, n_levels)
        able = size > RANK * before
        scale = np.divide(1.0, np.sqrt(size), out=np.zeros(n_levels), where=able)
        out[done] = column * scale[codes]
    return out


def _projected(column: FloatArray, own: FloatArray, codes: CodeArray, n_levels: int) -> FloatArray:
    """The part (n,) of a column in the span of orthonormal columns (q, n) of each level."""
    out = np.zeros_like(column)
    for basis in own:
        out += basis * np.bincount(codes, basis * column, n_levels)[codes]
    return out


def _absorbed(rows: ModelRows, n_levels: Sequence[int]) -> int:
    """The factor that is eliminated level by level: the one with most effects; -1 if there is none."""
    sizes = [
        count * len(z) if len(members) == 1 and members[0][1] is None else 0
        for count, z, members in zip(n_levels, rows.z, rows.members, strict=True)
    ]
    return int(np.argmax(sizes)) if any(sizes) else -1


@dataclass(frozen=True, kw_only=True, eq=False)
class _Columns:
    """X and the effects of all factors but one, freed of that one's.

    Attributes
    ----------
    rows, root : the model, and the square roots of the weights.
    others : positions of the factors that were not eliminated.
    own, codes, n_own : of the one that was: orthonormal columns, levels of the rows, and how many.
    """

    rows: ModelRows
    root: FloatArray
    others: list[int]
    n_levels: tuple[int, ...]
    own: FloatArray
    codes: CodeArray
    n_own: int

    @property
    def places(self) -> list[slice]:
        """The rows, some at a time."""
        n = len(self.root)
        return [slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]

    @property
    def width(self) -> int:
        """Number of columns, m."""
        return len(self.rows.x) + sum(self.n_levels[k] * len(self.rows.z[k]) for k in self.others)

    def check(self) -> None:
        """Refuse more columns than can be eliminated together."""
        if self.width > MOST_COLUMNS or float(len(self.root)) * self.width**2 > MOST_WORK:
            raise CrosslevelError(
                f"Least-confounded residuals are those of a regression with every level's effects, and "
                f"{self.width:,} of these are crossed with the others: up to {MOST_COLUMNS:,} are eliminated. Use "
                "standardised conditional residuals, or a part of the data."
            )

    def raw(self, place: slice) -> FloatArray:
        """The columns (m, L) as they are, weighted."""
        n, root = place.stop - place.start, self.root[place]
        parts = [self.rows.x[:, place]]
        for k in self.others:
            z, out = self.rows.z[k][:, place], np.zeros((self.n_levels[k], len(self.rows.z[k]), n))
            for codes, share in _at(self.rows.members[k], place):
                known = np.flatnonzero(codes >= 0)
                amount = z if share is None else z * share
                out[codes[known], :, known] += amount[:, known].T
            parts.append(out.reshape(-1, n))
        return np.concatenate(parts) * root

    @cached_property
    def images(self) -> list[FloatArray]:
        """For each orthonormal column (J, m) its products with these columns, by level."""
        out: list[FloatArray] = [np.zeros((self.n_own, self.width)) for _ in self.own]
        for place in self.places:
            raw = self.raw(place)
            for image, basis in zip(out, self.own, strict=True):
                np.add.at(image, self.codes[place], (raw * basis[place]).T)
        return out

    def rest(self, place: slice) -> FloatArray:
        """The columns (m, L) freed of the eliminated factor."""
        out = self.raw(place)
        for image, basis in zip(self.images, self.own, strict=True):
            out -= image[self.codes[place]].T * basis[place]
        return out

    @property
    def half(self) -> FloatArray:
        """(m, r) C with C C' the inverse of the products of what is left of these columns."""
        total, gram = np.zeros(self.width), np.zeros((self.width, self.width))
        for place in self.places:
            total += np.sum(self.raw(place) ** 2, axis=1)
            rest = self.rest(place)
            gram += rest @ rest.T
        unit = np.sqrt(np.where(total > 0.0, total, 1.0))
        values, vectors = np.linalg.eigh(gram / np.outer(unit, unit))
        kept = values > RANK
        return np.asarray(vectors[:, kept] / np.sqrt(values[kept]) / unit[:, None])


def _at(members: Members, place: slice) -> Members:
    """Levels of some of the rows."""
    return tuple((codes[place], None if share is None else share[place]) for codes, share in members)
