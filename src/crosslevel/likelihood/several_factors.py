"""Laplace approximation of generalized linear mixed models with any number of grouping factors, crossed or nested."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.errors import DesignError
from crosslevel.likelihood.generalized import Layout, gradients_in_turn
from crosslevel.likelihood.response_modes import Setting, search_modes
from crosslevel.likelihood.response_pattern import LEAST_COPY, ResponsePattern
from crosslevel.likelihood.several_factors_psi import group_scores, information, psi_scores
from crosslevel.likelihood.several_factors_state import SeveralFactorState
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class SeveralFactorLaplace:
    """-2 log-likelihood by the Laplace approximation, over the random effects of all grouping factors at once.

    D = -2 l + u'u + log|M| at the modes of u, M = I + Lambda'Z'WZ Lambda, W = -l'' as observed. Levels are eliminated
    from M one by one, as in the linear model (`likelihood.elimination`).

    Attributes
    ----------
    rows : the data.
    layout : where the parameters stand.
    pattern : which levels share rows; `SeveralFactorLaplace.of` finds it.
    """

    rows: ResponseRows = field(repr=False)
    layout: Layout
    pattern: ResponsePattern = field(repr=False)

    @classmethod
    def of(cls, rows: ResponseRows) -> "SeveralFactorLaplace":
        """Analyse which levels share rows and make the criterion.

        Raises
        ------
        DesignError : levels that count several times in factors that are not nested.
        MemoryShortageError : the pairs of levels, or the dense part, do not fit into memory.
        """
        return cls(rows=rows, layout=Layout.of(rows), pattern=ResponsePattern.of(rows))

    @property
    def nodes(self) -> int:
        """1: no quadrature beyond the Laplace approximation."""
        return 1

    @cached_property
    def _counted(self) -> FloatArray:
        """(n,) what each row counts in all; like `ResponseRows.counted`, but never zero where its weight is not."""
        if self.pattern.copies is None:
            return self.rows.weight
        out = self.rows.weight.copy()
        for term in self.rows.terms:
            if not term.members:
                out *= np.maximum(term.weight, LEAST_COPY)[term.codes]
        return out

    def _setting(self, parameters: FloatArray) -> Setting:
        """What the modes are searched at."""
        rows, layout = self.rows, self.layout
        theta = parameters[layout.theta]
        return Setting(
            rows=rows,
            pattern=self.pattern,
            counted=self._counted,
            fixed=rows.offset + rows.x @ parameters[layout.beta],
            factors=tuple(
                np.ascontiguousarray(structure.factor(theta[part]))
                for structure, part in zip(rows.structures, layout.parts, strict=True)
            ),
            shape=rows.family.shape(parameters[layout.shape]) if layout.m else np.zeros(0),
        )

    def value(self, parameters: FloatArray, near: SeveralFactorState | None = None) -> SeveralFactorState:
        """State at `parameters` (K,); the search for the modes starts at those of `near`."""
        parameters = np.array(parameters, dtype=np.float64)
        setting = self._setting(parameters)
        mode = search_modes(setting, near if isinstance(near, SeveralFactorState) else None)
        deviance = np.inf
        if mode.factorised is not None:
            deviance = -2.0 * (float(mode.terms[0].sum()) + self.rows.constant) + setting.square(mode.u)
            deviance += mode.factorised.log_det
        if not np.isfinite(deviance):
            deviance = np.inf
        return SeveralFactorState(parameters=parameters, setting=setting, mode=mode, deviance=deviance)

    def gradient(self, at: SeveralFactorState) -> FloatArray:
        """Derivative (K,) of the deviance in the parameters, exact."""
        layout, theta = self.layout, at.parameters[self.layout.theta]
        out = np.empty(layout.size)
        for structure, part, by_factor in zip(self.rows.structures, layout.parts, at.by_factor, strict=True):
            out[part] = np.tensordot(structure.factor_gradient(theta[part]), by_factor, axes=2)
        out[layout.beta] = self.rows.x.T @ at.slope
        if layout.m:
            jacobian = self.rows.family.shape_jacobian(at.parameters[layout.shape])
            out[layout.shape] = at.shape_slope.sum(axis=0) @ jacobian
        return out

    def gradients(self, parameters: FloatArray, near: SeveralFactorState) -> FloatArray:
        """Derivatives (B, K) of the deviance at parameters (B, K) near a state; NaN where it is infinite."""
        return gradients_in_turn(self, parameters, near)

    def information(self, at: SeveralFactorState) -> FloatArray:
        """Positive semi-definite approximation (K, K) of the deviance's Hessian: that of the linear model at W."""
        return information(at, self.layout)

    def psi_scores(self, at: SeveralFactorState) -> tuple[FloatArray, ...]:
        """For each factor (q, q) the derivative of the deviance in Psi, also where Psi is singular."""
        return psi_scores(at)

    def scores(self, at: SeveralFactorState, codes: IntArray, n_groups: int) -> FloatArray:
        """Derivatives (n_groups, K) of the log-likelihood, by independent groups of rows.

        `codes` (n,) are the rows' groups in the order of the data; random effects do not cross groups.

        Raises
        ------
        DesignError : some level has rows in several groups.
        """
        return group_scores(at, self.layout, codes, n_groups)

    def modes(self, at: SeveralFactorState) -> tuple[FloatArray, ...]:
        """For each factor (J, q) working random effects b = Lambda u at the modes."""
        return at.modes()

    def conditional_covariances(self, at: SeveralFactorState) -> tuple[FloatArray, ...]:
        """For each factor (J, q, q) conditional covariances of the working random effects b."""
        return at.conditional_covariances()

    def with_nodes(self, nodes: int) -> "SeveralFactorLaplace":
        """The same model; quadrature needs one grouping factor.

        Raises
        ------
        DesignError : more than one node.
        """
        if nodes != 1:
            raise DesignError(
                f"`quadrature` with {nodes} nodes needs clusters that are independent of each other, one grouping "
                f"factor; the model has {len(self.rows.terms)} or rows in several levels. Use quadrature='laplace'."
            )
        return self

    def with_rows(self, rows: ResponseRows) -> "SeveralFactorLaplace":
        """The same approximation for other rows, or other weights of these."""
        same = len(rows.terms) == len(self.rows.terms) and all(
            one.codes is other.codes and one.z is other.z and one.members is other.members
            for one, other in zip(self.rows.terms, rows.terms, strict=True)
        )
        pattern = self.pattern.reweighted(rows.terms) if same else ResponsePattern.of(rows)
        return replace(self, rows=rows, layout=Layout.of(rows), pattern=pattern)
