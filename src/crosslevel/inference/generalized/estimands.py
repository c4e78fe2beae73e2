"""All that a generalized linear mixed model estimates, by name and in the units of the data."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.design import Design
from crosslevel.design.response_rows import ResponseRows
from crosslevel.inference.bootstrap.batch import estimated_effects, estimated_pairs, spreads
from crosslevel.likelihood.generalized import Layout
from crosslevel.types import BoolArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimands:
    """The quantities that a generalized model estimates, as functions of its working parameters (K,).

    First what stands in the linear predictor: the p coefficients; of an ordered outcome the p - 1 coefficients besides
    the intercept, then the C - 1 thresholds, minus the intercept plus 0, c_1, c_2, ... Then standard deviations and
    correlations of the random effects, then shape parameters.

    Attributes
    ----------
    rows, layout : the model.
    fixed : names of its p columns of fixed effects.
    groups, effects : for each grouping factor its name, and the names of its random effects.
    categories : of an ordered outcome, else empty.
    """

    rows: ResponseRows = field(repr=False)
    layout: Layout
    fixed: tuple[str, ...]
    groups: tuple[str, ...]
    effects: tuple[tuple[str, ...], ...]
    categories: tuple[str, ...] = ()

    @classmethod
    def of(cls, design: Design, rows: ResponseRows, categories: tuple[str, ...] = ()) -> "Estimands":
        """Those of a design and its rows."""
        return cls(
            rows=rows,
            layout=Layout.of(rows),
            fixed=design.fixed_names,
            groups=tuple(factor.name for factor in design.factors),
            effects=tuple(design.effects_of(factor) for factor in design.factors),
            categories=categories,
        )

    # -- names ----------------------------------------------------------------------------------------------------
    @property
    def is_ordered(self) -> bool:
        """Whether thresholds stand for the intercept."""
        return self.rows.family.kind == "ordered"

    @cached_property
    def slopes(self) -> BoolArray:
        """(p,) which coefficients are told: all but the intercept of an ordered outcome."""
        out = np.ones(self.layout.p, dtype=np.bool_)
        if self.is_ordered:
            out[self.rows.coordinates.intercept] = False
        return out

    @cached_property
    def thresholds(self) -> tuple[str, ...]:
        """Names of the thresholds of an ordered outcome, as in "low|high"; of others none."""
        if not self.is_ordered:
            return ()
        return tuple(f"{low}|{high}" for low, high in zip(self.categories[:-1], self.categories[1:], strict=True))

    @cached_property
    def predictor(self) -> tuple[str, ...]:
        """Names of the coefficients, then of the thresholds."""
        return (*(name for name, told in zip(self.fixed, self.slopes, strict=True) if told), *self.thresholds)

    @cached_property
    def shapes(self) -> tuple[str, ...]:
        """Names of the shape parameters that are no thresholds."""
        return () if self.is_ordered else self.rows.family.shape_names(self.categories or None)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of everything: coefficients, thresholds, standard deviations, correlations, shape parameters."""
        out = list(self.predictor)
        for group, effects, structure in zip(self.groups, self.effects, self.rows.structures, strict=True):
            out += [f"sd({effects[i]}|{group})" for i in estimated_effects(structure)]
            out += [f"cor({effects[i]},{effects[j]}|{group})" for i, j in estimated_pairs(structure)]
        return (*out, *self.shapes)

    # -- values ---------------------------------------------------------------------------------------------------
    def natural_shape(self, parameters: FloatArray) -> FloatArray:
        """Natural shape parameters (m,)."""
        return self.rows.family.shape(parameters[self.layout.shape])

    def predictor_values(self, parameters: FloatArray) -> FloatArray:
        """Coefficients, then thresholds."""
        beta = self.rows.coordinates.coefficients(parameters[self.layout.beta])
        if not self.is_ordered:
            return beta
        above = np.append(0.0, self.natural_shape(parameters))
        return np.append(beta[self.slopes], above - beta[self.rows.coordinates.intercept])

    def predictor_jacobian(self, parameters: FloatArray) -> FloatArray:
        """Derivatives (r, K) of coefficients and thresholds in the working parameters."""
        layout, turn = self.layout, self.rows.coordinates.beta_map
        out = np.zeros((len(self.predictor), layout.size))
        n_slopes = int(np.count_nonzero(self.slopes))
        out[:n_slopes, layout.beta] = turn[self.slopes]
        if self.is_ordered:
            out[n_slopes:, layout.beta] = -turn[self.rows.coordinates.intercept]
            out[n_slopes + 1 :, layout.shape] = self.rows.family.shape_jacobian(parameters[layout.shape])
        return out

    def values(self, parameters: FloatArray) -> FloatArray:
        """All estimates (r,), in the order of `names`; a correlation beside no variance is NaN."""
        parts = [self.predictor_values(parameters)]
        for covariance, structure in zip(self.covariances(parameters), self.rows.structures, strict=True):
            parts.append(spreads(covariance[None], structure)[0])
        if not self.is_ordered:
            parts.append(self.natural_shape(parameters))
        return np.concatenate(parts)

    def working_factors(self, parameters: FloatArray) -> tuple[FloatArray, ...]:
        """For each grouping factor (q, q) Lambda of the working random effects."""
        return tuple(
            structure.at_sigma(1.0).factor(parameters[part])
            for structure, part in zip(self.rows.structures, self.layout.parts, strict=True)
        )

    def covariances(self, parameters: FloatArray) -> tuple[FloatArray, ...]:
        """For each grouping factor (q, q) the covariance of its random effects, in the units of the data."""
        halves = (
            np.linalg.solve(basis, factor)
            for basis, factor in zip(self.rows.bases, self.working_factors(parameters), strict=True)
        )
        return tuple(half @ half.T for half in halves)

    def least_deviation(self, parameters: FloatArray) -> float:
        """Smallest standard deviation of a combination of standardised random effects; infinite without any."""
        values = [
            float(np.linalg.svd(factor[~structure.fixed], compute_uv=False)[-1])
            for structure, factor in zip(self.rows.structures, self.working_factors(parameters), strict=True)
            if not structure.fixed.all()
        ]
        return min(values, default=np.inf)
