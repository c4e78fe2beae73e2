"""A generalized linear mixed model with several grouping factors at one parameter vector, as its derivatives need it.

With g = Z'l', c_i = z_i'Lambda M^-1 Lambda'z_i, a_i = -l'''_i c_i, r = M^-1 Lambda'Z'a and e_i = z_i'Lambda r, the
deviance D = -2 l + u'u + log|M| at the modes changes by

    d D / d eta_i    = -2 l'_i + a_i - W_i e_i,  which carries all of beta,
    d D / d Lambda_k = sum over rows of z_i (d D / d eta_i u_j + l'_i r_j + 2 W_i f_i)',  f_i = [M^-1 Lambda'z_i]_j,
    d D / d shape    = sum over rows of -2 dl + c_i dW + e_i dl'.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.likelihood.factorised import Factorised, PatternInverse
from crosslevel.likelihood.response_modes import Mode, Setting
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class SeveralFactorState:
    """A model's Laplace approximation at one parameter vector; see `GeneralizedState`.

    Attributes
    ----------
    parameters : (K,) [theta, beta, shape].
    setting : the rows and all that the parameters make of them.
    mode : the modes, and M there.
    deviance : -2 log-likelihood; infinite where there is no mode.
    """

    parameters: FloatArray
    setting: Setting = field(repr=False)
    mode: Mode = field(repr=False)
    deviance: float

    @property
    def factors(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q) Lambda."""
        return self.setting.factors

    @property
    def shape(self) -> FloatArray:
        """(m,) natural shape parameters."""
        return self.setting.shape

    @property
    def eta(self) -> FloatArray:
        """(n,) linear predictor at the modes."""
        return self.mode.eta

    @cached_property
    def u(self) -> tuple[FloatArray, ...]:
        """For each factor (J, q) the modes of u."""
        return self.setting.pattern.by_factor(self.mode.u)

    @property
    def factorised(self) -> Factorised:
        """The factor of M; only states with a finite deviance have one."""
        assert self.mode.factorised is not None
        return self.mode.factorised

    @cached_property
    def inverse(self) -> PatternInverse:
        """M^-1 on the factor's pattern."""
        return self.factorised.inverse()

    @property
    def first(self) -> FloatArray:
        """(n,) l', times what each row counts."""
        return np.asarray(self.mode.terms[1])

    @property
    def curvature(self) -> FloatArray:
        """(n,) W = -l'', times what each row counts."""
        return np.asarray(-self.mode.terms[2])

    @cached_property
    def third(self) -> FloatArray:
        """(n,) l''', times what each row counts."""
        from crosslevel.kernels.responses import fill_terms

        if len(self.mode.terms) == 4:
            return np.asarray(self.mode.terms[3])
        rows, terms = self.setting.rows, np.empty((4, self.setting.rows.n))
        fill_terms(rows.family.code, rows.y, rows.size, self.setting.counted, self.eta, self.shape, terms)
        return np.asarray(terms[3])

    @cached_property
    def by_shape(self) -> FloatArray:
        """(n, 3, m) derivatives of l, l' and l'' in the natural shape parameters, times what each row counts."""
        from crosslevel.kernels.responses import fill_by_shape

        rows, out = self.setting.rows, np.empty((self.setting.rows.n, 3, len(self.shape)))
        fill_by_shape(rows.family.code, rows.y, rows.size, self.setting.counted, self.eta, self.shape, out)
        return out

    @cached_property
    def reach(self) -> tuple[FloatArray, ...]:
        """For each slot (q, n) f_i."""
        return self.setting.pattern.reach(self.inverse, self.setting.scaled)

    @cached_property
    def leverage(self) -> FloatArray:
        """(n,) c_i: the conditional variance of eta_i."""
        out = np.zeros(self.setting.rows.n)
        for z, f in zip(self.setting.scaled, self.reach, strict=True):
            out += np.einsum("ai,ai->i", z, f)
        return out

    @cached_property
    def pull(self) -> FloatArray:
        """(n,) a_i: how log|M| changes with eta_i."""
        return -self.third * self.leverage

    @cached_property
    def answer(self) -> FloatArray:
        """(N, 1) r: how the modes answer to that."""
        return self.solve(self.setting.gathered(self.pull))

    @cached_property
    def echo(self) -> FloatArray:
        """(n,) e_i."""
        setting, pattern = self.setting, self.setting.pattern
        return pattern.predictor(setting.scaled, pattern.by_factor(self.answer), np.zeros(setting.rows.n))

    @cached_property
    def slope(self) -> FloatArray:
        """(n,) d D / d eta_i."""
        return -2.0 * self.first + self.pull - self.curvature * self.echo

    @cached_property
    def by_factor(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q) d D / d Lambda."""
        pattern = self.setting.pattern
        slopes, firsts = self.images(self.slope), self.images(self.first)
        answers, out = pattern.by_factor(self.answer), []
        for k, weight in enumerate(pattern.weights):
            each = weight[:, None]
            rest = (each * slopes[k]).T @ self.u[k] + (each * firsts[k]).T @ answers[k]
            out.append(2.0 * self.spreads[k] + rest)
        return tuple(out)

    def images(self, value: FloatArray) -> tuple[FloatArray, ...]:
        """For each factor (J, q) Z'v of one copy of each level, of rows' values (n,) that count all copies."""
        pattern = self.setting.pattern
        return pattern.by_factor(pattern.gathered(pattern.columns(), value))

    @cached_property
    def spreads(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q) the sum over levels of [Z'WZ Lambda M^-1]_jj."""
        return self.spread_of(self.reach)

    def spread_of(self, reach: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
        """For each factor (q, q) the sum over rows of W_i z_i f_i', for each slot's f (q, n)."""
        pattern = self.setting.pattern
        out = [np.zeros((q, q)) for q in pattern.plan.sizes]
        for slot, f in zip(pattern.slots, reach, strict=True):
            out[slot.factor] += (slot.z * self.curvature) @ f.T
        return tuple(out)

    @cached_property
    def shape_slope(self) -> FloatArray:
        """(n, m) what each row adds to d D / d shape, natural parameters."""
        value, first, second = (self.by_shape[:, a] for a in range(3))
        return -2.0 * value - second * self.leverage[:, None] + first * self.echo[:, None]

    def modes(self) -> tuple[FloatArray, ...]:
        """For each factor (J, q) b = Lambda u."""
        return tuple(np.ascontiguousarray(u @ factor.T) for u, factor in zip(self.u, self.factors, strict=True))

    def solve(self, sides: FloatArray) -> FloatArray:
        """M^-1 times sides (N, r), which are overwritten."""
        return self.factorised.backward(self.factorised.forward(sides))

    def conditional_covariances(self) -> tuple[FloatArray, ...]:
        """For each factor (J, q, q) Lambda [M^-1]_jj Lambda'."""
        return tuple(factor @ self.inverse.blocks(k) @ factor.T for k, factor in enumerate(self.factors))
