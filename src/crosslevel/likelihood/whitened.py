"""Cross-products of rows whitened by a residual structure, as a function of its parameters phi."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from crosslevel.design.crossing import Crossing
from crosslevel.design.working import WorkingRows, combine, multiply, without_effects
from crosslevel.residual.bound import BoundResidual, ResidualRoot
from crosslevel.residual.variance import StratumVariance
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Extra:
    """Extra columns h (r, n) beside whitened [Z X y], by their products alone.

    Attributes
    ----------
    image : for each factor, (J, q, r) Z'h.
    border : (p + 1, r) [X y]'h.
    gram : (r, r) h'h.
    """

    image: tuple[FloatArray, ...]
    border: FloatArray
    gram: FloatArray


class Whitened(ABC):
    """The cross-products of whitened rows at one phi."""

    @property
    @abstractmethod
    def crossing(self) -> Crossing:
        """Cross-products of whitened rows."""

    @property
    @abstractmethod
    def log_det(self) -> float:
        """log|R|."""

    @property
    @abstractmethod
    def log_det_gradient(self) -> FloatArray:
        """(k,) its derivative in phi."""

    @property
    @abstractmethod
    def information(self) -> FloatArray:
        """(k,) expected second derivatives of the deviance in phi, were there no random effects."""

    @abstractmethod
    def change(self, a: int) -> Crossing:
        """Derivative of the cross-products in phi_a."""

    @abstractmethod
    def extra(self, effects: tuple[FloatArray, ...], coefficients: FloatArray) -> Extra:
        """Columns (K_a + K_a') e, e = [Z X y] times effects (J, q, 1) of each factor and coefficients (p + 1, 1)."""


class Products(ABC):
    """How the cross-products depend on phi."""

    @abstractmethod
    def at(self, phi: FloatArray) -> Whitened:
        """At one phi (k,)."""

    @abstractmethod
    def without_effects(self) -> "Products":
        """Those of the model without random effects."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RowProducts(Products):
    """By whitening all rows anew at every phi.

    Attributes
    ----------
    rows : columns of all rows, in the order of `residual`.
    residual : the structure bound to them.
    """

    rows: WorkingRows
    residual: BoundResidual

    def at(self, phi: FloatArray) -> Whitened:
        """Whiten and sum."""
        root = self.residual.at(phi)
        return WhitenedRows(rows=self.rows, root=root, columns=root.whiten(self.rows.columns))

    def without_effects(self) -> Products:
        """Those of [X y]."""
        return RowProducts(rows=self.rows.without_effects(), residual=self.residual)


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedProducts(Products):
    """Cross-products that do not depend on any parameter: residual variances that are known.

    Attributes
    ----------
    whitened : what they are.
    rows, residual : what they come from.
    """

    whitened: Whitened
    rows: WorkingRows
    residual: BoundResidual

    @classmethod
    def of(cls, rows: WorkingRows, residual: BoundResidual) -> "FixedProducts":
        """Whiten once."""
        whitened = RowProducts(rows=rows, residual=residual).at(np.zeros(0))
        return cls(whitened=whitened, rows=rows, residual=residual)

    def at(self, phi: FloatArray) -> Whitened:
        """Always the same."""
        return self.whitened

    def without_effects(self) -> Products:
        """Those of [X y]."""
        return FixedProducts.of(self.rows.without_effects(), self.residual)


@dataclass(frozen=True, kw_only=True, eq=False)
class WhitenedRows(Whitened):
    """Whitened rows themselves.

    Attributes
    ----------
    rows : the rows as they were.
    root : B.
    columns : (sum q + p + 1, n) B^-1 [Z X y].
    """

    rows: WorkingRows
    root: ResidualRoot
    columns: FloatArray

    @cached_property
    def crossing(self) -> Crossing:
        """Sums over rows."""
        return self.rows.products(self.columns, self.columns)

    @property
    def log_det(self) -> float:
        """log|R|."""
        return self.root.log_det

    @property
    def log_det_gradient(self) -> FloatArray:
        """(k,) its derivative."""
        return self.root.log_det_gradient

    @property
    def information(self) -> FloatArray:
        """(k,) that of the root."""
        return self.root.information

    def change(self, a: int) -> Crossing:
        """Sums over rows and their derivatives."""
        return self.rows.change(self.columns, self.root.derivative(a, self.columns))

    def extra(self, effects: tuple[FloatArray, ...], coefficients: FloatArray) -> Extra:
        """Row by row."""
        error = coefficients[:, 0] @ self.columns[self.rows.xy]
        for part, codes, effect in zip(self.rows.parts, self.rows.codes, effects, strict=True):
            error += np.einsum("qn,nq->n", self.columns[part], effect[codes, :, 0])
        e, root = error[None, :], self.root
        each = [-root.derivative(a, e) - root.derivative_adjoint(a, e) for a in range(len(self.log_det_gradient))]
        h = np.concatenate(each) if each else np.zeros((0, e.shape[1]))
        image, border = self.rows.against(self.columns, h)
        return Extra(image=image, border=border, gram=h @ h.T)


@dataclass(frozen=True, kw_only=True, eq=False)
class StratumProducts(Products):
    """By weighting the cross-products of each stratum: no row is looked at again.

    Attributes
    ----------
    crossings : cross-products of each stratum's rows, over the same levels and pairs.
    sizes : (S,) rows of each.
    """

    crossings: tuple[Crossing, ...] = field(repr=False)
    sizes: FloatArray

    @classmethod
    def of(cls, rows: WorkingRows, strata: StratumVariance) -> "StratumProducts":
        """Sum each stratum's rows."""
        parts = []
        for s in range(len(strata.levels)):
            mine = np.where(strata.codes == s, rows.columns, 0.0)
            parts.append(rows.products(mine, mine))
        sizes = np.bincount(strata.codes, minlength=len(strata.levels)).astype(np.float64)
        return cls(crossings=tuple(parts), sizes=sizes)

    def at(self, phi: FloatArray) -> Whitened:
        """Weight by exp(-2 phi)."""
        return WeightedStrata(products=self, phi=phi)

    def without_effects(self) -> Products:
        """Those of [X y]."""
        return StratumProducts(crossings=tuple(without_effects(some) for some in self.crossings), sizes=self.sizes)


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightedStrata(Whitened):
    """Strata weighted by the inverse of their relative variances."""

    products: StratumProducts
    phi: FloatArray

    @property
    def _weights(self) -> FloatArray:
        """(S,) inverse relative variances."""
        return np.exp(-2.0 * np.append(0.0, self.phi))

    @cached_property
    def crossing(self) -> Crossing:
        """Weighted sum."""
        total = combine(self.products.crossings, self._weights)
        return replace(total, n_rows=self.products.crossings[0].n_rows)

    @property
    def log_det(self) -> float:
        """log|R|."""
        return 2.0 * float(self.products.sizes[1:] @ self.phi)

    @property
    def log_det_gradient(self) -> FloatArray:
        """(S - 1,) twice the rows of each stratum."""
        return 2.0 * self.products.sizes[1:]

    @property
    def information(self) -> FloatArray:
        """(S - 1,) from the rows of each stratum."""
        sizes = self.products.sizes
        return np.asarray(4.0 * sizes[1:] * (1.0 - sizes[1:] / sizes.sum()))

    def change(self, a: int) -> Crossing:
        """The stratum's weighted part times -2."""
        return combine((self.products.crossings[a + 1],), (-2.0 * float(self._weights[a + 1]),))

    def extra(self, effects: tuple[FloatArray, ...], coefficients: FloatArray) -> Extra:
        """Twice the residuals of each stratum, zero elsewhere."""
        images, borders, sizes = [], [], []
        for crossing, weight in zip(self.products.crossings[1:], self._weights[1:], strict=True):
            image, border = multiply(crossing, effects, coefficients)
            square = np.sum(border * coefficients) + sum(
                np.sum(part * effect) for part, effect in zip(image, effects, strict=True)
            )
            images.append([2.0 * weight * part for part in image])
            borders.append(2.0 * weight * border)
            sizes.append(4.0 * weight * float(square))
        return Extra(
            image=tuple(np.concatenate(parts, axis=2) for parts in zip(*images, strict=True)),
            border=np.concatenate(borders, axis=1),
            gram=np.diag(sizes),
        )
