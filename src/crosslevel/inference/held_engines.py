"""Engines with something changed: the residual variance known, other columns of X, other parameters of Psi.

A constrained likelihood is the likelihood of a changed model, so that every engine can maximise it as it is: a
coefficient held at v is the model of y - x v without x; a covariance parameter that is held is a coordinate of other
parameters of the same structure.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.blocked import BlockedConditional, BlockedDeviance
from crosslevel.likelihood.profiled import Conditional, ProfiledDeviance
from crosslevel.likelihood.residual import ResidualConditional, ResidualDeviance
from crosslevel.likelihood.whitened import Extra, Products, Whitened
from crosslevel.types import FloatArray

AnyDeviance: TypeAlias = ProfiledDeviance | BlockedDeviance | ResidualDeviance
"""An engine whose algebra is exact."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """What is changed in the cross-products of [Z X y].

    Attributes
    ----------
    columns : (p + 1, r) C; the columns become [X y] C. None leaves them.
    structures : for each factor, the blocks that theta parametrises. None leaves them.
    """

    columns: FloatArray | None = None
    structures: tuple[BlockStructure, ...] | None = None

    def of(self, crossing: Crossing) -> Crossing:
        """The changed cross-products."""
        if self.columns is not None:
            image = tuple(np.ascontiguousarray(part @ self.columns) for part in crossing.image)
            crossing = replace(crossing, image=image, gram=self.columns.T @ crossing.gram @ self.columns)
        return crossing if self.structures is None else replace(crossing, structures=self.structures)


def changed(engine: AnyDeviance, change: Change) -> AnyDeviance:
    """The same criterion of changed cross-products."""
    if isinstance(engine, BlockedDeviance):
        return replace(engine, crossing=change.of(engine.crossing))
    if isinstance(engine, ResidualDeviance):
        inner = replace(engine.engine, crossing=change.of(engine.engine.crossing))
        return replace(engine, engine=inner, products=ChangedProducts(products=engine.products, change=change))
    reduced, columns = engine.reduced, change.columns
    if columns is not None:
        image = np.ascontiguousarray(reduced.image @ columns)
        reduced = replace(reduced, image=image, remainder=columns.T @ reduced.remainder @ columns)
    if change.structures is not None:
        reduced = replace(reduced, structure=change.structures[0])
    return replace(engine, reduced=reduced)


def with_sigma(engine: AnyDeviance, sigma: float | None) -> AnyDeviance:
    """The same criterion with a residual standard deviation that is known, in working units; None to estimate it."""
    if isinstance(engine, ResidualDeviance):
        residual = replace(engine.residual, known=sigma is not None)
        return replace(engine, residual=residual, engine=replace(engine.engine, sigma=sigma))
    return replace(engine, sigma=sigma)


def by_full_likelihood(engine: AnyDeviance) -> AnyDeviance:
    """The same model with the full instead of the restricted likelihood."""
    if isinstance(engine, ResidualDeviance):
        return replace(engine, engine=replace(engine.engine, reml=False))
    return replace(engine, reml=False)


def is_restricted(engine: AnyDeviance) -> bool:
    """Whether the likelihood is restricted."""
    return engine.engine.reml if isinstance(engine, ResidualDeviance) else engine.reml


def sum_of_squares(at: Any) -> float:
    """r^2 = (y - X beta)'V^-1 (y - X beta), whether or not sigma is known."""
    return float(at.inner.rss if isinstance(at, ResidualConditional) else at.rss)


def sum_of_squares_slope(engine: AnyDeviance, at: Any, theta: FloatArray) -> FloatArray:
    """Derivative (k,) of r^2 in the engine's parameters; sigma is known.

    In Psi it is -sum of t t' with t = Z'V^-1 (y - X beta); in phi it is -h'P y with the columns h = dR P y.
    """
    if isinstance(engine, ProfiledDeviance):
        assert isinstance(at, Conditional)
        moments = at.psi_derivatives.tt / at.scale
        return _along(engine.structures, (moments,), at.factors, theta)
    if isinstance(engine, BlockedDeviance):
        assert isinstance(at, BlockedConditional)
        contrast, sums = np.append(-at.beta, 1.0), []
        for cross, weight in zip(at.cross, at.factorised.weights, strict=True):
            t = cross @ contrast
            sums.append(t.T @ (t * weight[:, None]))
        return _along(engine.structures, tuple(sums), at.factors, theta)
    assert isinstance(at, ResidualConditional)
    columns = at.whitened.extra(*at.contrast)
    products = at.inner.projected(columns.image, columns.border[:-1], columns.gram, columns.border[-1])
    return np.append(-products[:-1, -1], sum_of_squares_slope(at.engine, at.inner, theta[len(at.phi) :]))


def _along(
    structures: tuple[BlockStructure, ...],
    moments: tuple[FloatArray, ...],
    factors: tuple[FloatArray, ...],
    theta: FloatArray,
) -> FloatArray:
    """-tr(moments dPsi) for each parameter (k,), from the sums (q, q) of each factor."""
    out, start = [np.zeros(0)], 0
    for structure, moment, factor in zip(structures, moments, factors, strict=True):
        part = theta[start : start + structure.n_theta]
        start += structure.n_theta
        out.append(-2.0 * np.tensordot(structure.factor_gradient(part), moment @ factor, axes=2))
    return np.concatenate(out)


@dataclass(frozen=True, kw_only=True, eq=False)
class ChangedProducts(Products):
    """Products of whitened rows, changed after they are made."""

    products: Products
    change: Change

    def at(self, phi: FloatArray) -> Whitened:
        """At one phi."""
        return ChangedWhitened(whitened=self.products.at(phi), how=self.change)

    def without_effects(self) -> Products:
        """Those of the model without random effects."""
        return replace(self, products=self.products.without_effects(), change=replace(self.change, structures=()))


@dataclass(frozen=True, kw_only=True, eq=False)
class ChangedWhitened(Whitened):
    """Whitened cross-products, changed."""

    whitened: Whitened
    how: Change

    @property
    def crossing(self) -> Crossing:
        """Changed."""
        return self.how.of(self.whitened.crossing)

    @property
    def log_det(self) -> float:
        """log|R|."""
        return self.whitened.log_det

    @property
    def log_det_gradient(self) -> FloatArray:
        """Its derivative."""
        return self.whitened.log_det_gradient

    @property
    def information(self) -> FloatArray:
        """That of the rows."""
        return self.whitened.information

    def change(self, a: int) -> Crossing:
        """Derivative of the changed cross-products."""
        return self.how.of(self.whitened.change(a))

    def extra(self, effects: tuple[FloatArray, ...], coefficients: FloatArray) -> Extra:
        """Columns that a combination of the changed ones makes."""
        columns = self.how.columns
        if columns is None:
            return self.whitened.extra(effects, coefficients)
        extra = self.whitened.extra(effects, columns @ coefficients)
        return replace(extra, border=columns.T @ extra.border)
