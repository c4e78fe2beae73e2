"""Deviance of a model in which the covariance of some random effects is known in the units of the data.

The engines measure all covariances relative to sigma. A block whose covariance V = L L' is known then has
Lambda = tau L with tau = 1 / sigma, which is no parameter but moves with sigma. At a known sigma the deviance is

    D(theta, tau, sigma) = log|M| + 2 nu log sigma + nu log(2 pi) + r^2 / sigma^2 + [log|X'V^-1 X|],

and with s = log sigma, tau = exp(-s), the criterion is d(theta) = min over s of D. No formula gives that minimum. By
the chain rule along s, where d tau / ds = -tau,

    D_s = 2 nu - 2 r^2 / sigma^2 - tau D_tau,
    D_theta,s = -tau D_theta,tau - 2 (r^2)_theta / sigma^2,
    D_ss = tau^2 D_tau,tau + tau D_tau + 4 r^2 / sigma^2 + 4 tau (r^2)_tau / sigma^2,

and D_theta is the gradient of d, D_theta,theta - D_theta,s D_s,theta / D_ss its Hessian.

Source: Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), equations 34-42 for D; the rest is the implicit
function theorem.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.covariance.known import Fixed, Proportional
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.blocked import BlockedConditional, BlockedDeviance
from crosslevel.likelihood.boundary import PsiSlopes, leave_boundary
from crosslevel.optimise import Derivatives
from crosslevel.types import FloatArray, IntArray

LEAST = 1e-4
"""Residual standard deviation that counts as none, relative to what the known covariances add to a row: the deviance
is then that of none to some 1e-8 per row, and smaller ones would lose as much to rounding."""

SHARE = 0.5
"""Where the search for sigma starts: its square as a share of the outcome's mean square."""

TOO_LARGE = 10.0
"""Log sigma above where its search starts that is beyond all sense."""

FARTHEST, NEAR_ENOUGH, MOST_STEPS = 2.0, 1e-10, 60
"""Longest step of log sigma, step that ends the search for it, and the most steps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedScaleDeviance:
    """The criterion: theta of the covariances that are estimated -> deviance at the best sigma, and its derivatives.

    A state is that of the engine at that sigma, which it names.

    Attributes
    ----------
    engine : the criterion in which the known blocks have a free scale tau each.
    structures : for each grouping factor, its blocks, the known ones without parameters.
    start, least : log sigma, in working units, from which its best value is searched for, and its least value.
    """

    engine: BlockedDeviance
    structures: tuple[BlockStructure, ...]
    start: float
    least: float

    @classmethod
    def of(cls, crossing: Crossing, *, reml: bool) -> "FixedScaleDeviance":
        """The criterion of a model's cross-products."""
        structures = crossing.structures
        unit = float(crossing.coordinates.scale[-1])  # with it tau is 1 / sigma in working units, a number near 1
        scaled = tuple(_with_scale(structure, unit) for structure in structures)
        engine = BlockedDeviance.of(replace(crossing, structures=scaled), reml=reml)
        known = _known_variance(crossing) / unit**2
        return cls(
            engine=engine,
            structures=structures,
            start=0.5 * float(np.log(SHARE * crossing.gram[-1, -1] / crossing.n_rows)),
            least=0.5 * float(np.log(known)) + float(np.log(LEAST)),
        )

    @cached_property
    def crossing(self) -> Crossing:
        """Cross-products of the model."""
        return replace(self.engine.crossing, structures=self.structures)

    @property
    def sigma(self) -> None:
        """It is estimated."""

    @property
    def bases(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q) T: working random effects are T b."""
        return self.engine.bases

    @property
    def coordinates(self) -> Coordinates:
        """In which coordinates [X y] is worked on."""
        return self.engine.coordinates

    @cached_property
    def scales(self) -> IntArray:
        """Positions of the known blocks' tau among the engine's parameters."""
        kinds = [kind for structure in self.engine.structures for kind in structure.kinds]
        outer = [kind for structure in self.structures for kind in structure.kinds]
        columns = [some for structure in self.structures for some in structure.columns]
        ends = np.cumsum([kind.n_theta(len(some)) for kind, some in zip(kinds, columns, strict=True)])
        return np.array([end - 1 for end, kind in zip(ends, outer, strict=True) if kind.fixed], dtype=np.int64)

    @cached_property
    def free(self) -> IntArray:
        """Positions of theta among the engine's parameters."""
        return np.setdiff1d(np.arange(sum(s.n_theta for s in self.engine.structures)), self.scales)

    def value(self, theta: FloatArray) -> BlockedConditional:
        """Deviance at working `theta` and the best sigma; infinite where it cannot be computed."""
        return self.at_factors(self.factors(theta))

    def factors(self, theta: FloatArray) -> tuple[FloatArray, ...]:
        """Lambdas at working `theta`, without the known blocks."""
        full = self.full(theta, 0.0)
        parts = zip(self.engine.structures, self.engine.crossing.parts, strict=True)
        return tuple(structure.factor(full[part]) for structure, part in parts)

    def at_factors(self, factors: tuple[FloatArray, ...]) -> BlockedConditional:
        """Deviance at any Lambda_k (q_k, q_k) and the best sigma; the known blocks are what they are at that sigma."""
        return self._best(lambda log_sigma: self.at_sigma(factors, log_sigma))

    def at_sigma(self, factors: tuple[FloatArray, ...], log_sigma: float) -> BlockedConditional:
        """Deviance at any Lambda_k (q_k, q_k) and log sigma; the known blocks are what they are at that sigma."""
        sigma = float(np.exp(log_sigma))
        return replace(self.engine, sigma=sigma).at_factors(self._with_known(factors, sigma))

    def full(self, theta: FloatArray, tau: float) -> FloatArray:
        """The engine's parameters: theta, and tau for every known block."""
        out = np.full(len(self.free) + len(self.scales), tau)
        out[self.free] = theta
        return out

    def _with_known(self, factors: tuple[FloatArray, ...], sigma: float) -> tuple[FloatArray, ...]:
        """Lambdas with L / sigma, sigma in working units, in place of what they have for the known blocks."""
        out, tau = [], 1.0 / (sigma * float(self.coordinates.scale[-1]))
        for structure, factor in zip(self.structures, factors, strict=True):
            changed = np.array(factor, dtype=np.float64)
            for kind, columns in zip(structure.kinds, structure.columns, strict=True):
                if isinstance(kind, Fixed):
                    changed[columns] = 0.0
                    changed[np.ix_(columns, columns)] = tau * kind.root
            out.append(changed)
        return tuple(out)

    def _best(self, evaluate: Callable[[float], BlockedConditional]) -> BlockedConditional:
        """The state at the best log sigma: a root of D_s, by secants within a bracket, or the least sigma."""
        here, low, high = self.start, self.least, np.inf
        at = evaluate(here)
        if not np.isfinite(at.deviance):
            return at
        slope, curvature, low_is_below = self.slope(at), 0.0, False
        for _ in range(MOST_STEPS):
            if slope >= 0.0:
                high = here
                if here <= self.least:
                    break
            else:
                low, low_is_below = here, True
            curvature = curvature if curvature > 0.0 else 2.0 * at.nu + 2.0 * at.rss * at.scale
            target = here + float(np.clip(-slope / curvature, -FARTHEST, FARTHEST))
            if target <= low:
                target = 0.5 * (low + here) if low_is_below else self.least
            elif target >= high:
                target = 0.5 * (here + high)
            if abs(target - here) <= NEAR_ENOUGH:
                break
            there = evaluate(target)
            if not np.isfinite(there.deviance):  # it is too small to work with
                low, low_is_below, curvature = target, True, 0.0
                continue
            following = self.slope(there)
            curvature = (following - slope) / (target - here)
            here, at, slope = target, there, following
        return at

    def slope(self, at: BlockedConditional) -> float:
        """D_s, the derivative of the deviance in log sigma while theta stays.

        With K the elements of u that belong to known blocks, tau D_tau = 2 sum over K of 1 - [M^-1]_kk - |(U C)_k|^2,
        where C C' is the derivative in [X y]'V^-1 [X y] and U = M^-1 Lambda'Z'[X y].
        """
        out = 2.0 * at.nu - 2.0 * at.rss * at.scale
        explained = at.factorised.plan.by_factor(at.solved @ at.contrasts)
        parts = zip(self.structures, at.inverse_blocks, explained, at.factorised.weights, strict=True)
        for structure, inverse, part, weight in parts:
            fixed = structure.fixed
            left = np.einsum("jkk->jk", inverse)[:, fixed] + np.sum(part[:, fixed] ** 2, axis=2)
            out -= 2.0 * float(weight @ np.sum(1.0 - left, axis=1))
        return out

    def is_least(self, at: BlockedConditional) -> bool:
        """Whether sigma is at its least value, where it is estimated as zero."""
        return at.sigma is not None and at.sigma <= np.exp(self.least) * (1.0 + 1e-9)

    def derivatives(self, at: BlockedConditional, theta: FloatArray) -> Derivatives:
        """Gradient, exact; Hessian and information of the deviance in working `theta`, as the engine's."""
        inner = self.engine_derivatives(at, theta)

        def information() -> FloatArray:
            expected = self.joint(at, theta, np.zeros_like(inner.gradient), inner.information)
            return _positive_part(self._profiled(at, expected)[0])

        joint = self.joint(at, theta, inner.gradient, inner.hessian)
        return Derivatives(
            gradient=inner.gradient[self.free], hessian=self._profiled(at, joint)[0], expected=information
        )

    def engine_derivatives(self, at: BlockedConditional, theta: FloatArray) -> Derivatives:
        """Those in the engine's parameters at the sigma of a state."""
        return self._engine_at(at).derivatives(at, self._full_at(at, theta))

    def curvature(self, at: BlockedConditional, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hessian (k, k) of the deviance in working `theta` and gradient (k,) of log sigma, zero where sigma is."""
        return self._profiled(at, self.joint_hessian(at, theta))

    def joint_hessian(self, at: BlockedConditional, theta: FloatArray) -> FloatArray:
        """Hessian (k + 1, k + 1) of the deviance in working theta and log sigma."""
        full, engine = self._full_at(at, theta), self._engine_at(at)
        hessian, _ = engine.curvature(at, full)
        return self.joint(at, theta, engine.derivatives(at, full).gradient, hessian)

    def conditional_covariances(self, at: BlockedConditional) -> tuple[FloatArray, ...]:
        """For each factor (J, q, q) conditional covariances of the random effects, to be multiplied by sigma^2."""
        return at.conditional_covariances()

    def escape(
        self, theta: FloatArray, at: BlockedConditional, *, tolerance: float
    ) -> tuple[FloatArray, BlockedConditional] | None:
        """A lower point off the boundary, or None; see `boundary.leave_boundary`."""
        return leave_boundary(self, theta, at, tolerance=tolerance) if len(theta) else None

    def psi_slopes(self, at: BlockedConditional) -> PsiSlopes:
        """Slopes of the deviance in Psi: those at the best sigma while it stays."""
        return self._engine_at(at).psi_slopes(at)

    def rotated(self, factors: tuple[FloatArray, ...]) -> tuple["FixedScaleDeviance", tuple[FloatArray, ...]]:
        """The same criterion along the principal axes of these covariance factors, and the factors there."""
        engine, turned = self.engine.rotated(factors)
        return replace(self, engine=engine), turned

    def _engine_at(self, at: BlockedConditional) -> BlockedDeviance:
        """The engine at the sigma of a state."""
        return replace(self.engine, sigma=at.sigma)

    def _full_at(self, at: BlockedConditional, theta: FloatArray) -> FloatArray:
        """The engine's parameters at the sigma of a state."""
        return self.full(theta, float(np.sqrt(at.scale)))

    def joint(self, at: BlockedConditional, theta: FloatArray, gradient: FloatArray, hessian: FloatArray) -> FloatArray:
        """Second derivatives (k + 1, k + 1) in (theta, log sigma), from the engine's at its sigma.

        With average information in place of the second derivatives, and no gradient, the average information.
        """
        full, free, scales = self._full_at(at, theta), self.free, self.scales
        slope, tau = at.scale * rss_gradient(at, full), full[scales]
        out = np.empty((len(free) + 1, len(free) + 1))
        out[:-1, :-1] = hessian[np.ix_(free, free)]
        out[-1, :-1] = out[:-1, -1] = -hessian[np.ix_(free, scales)] @ tau - 2.0 * slope[free]
        out[-1, -1] = tau @ hessian[np.ix_(scales, scales)] @ tau + tau @ (gradient + 4.0 * slope)[scales]
        out[-1, -1] += 4.0 * at.rss * at.scale
        return out

    def _profiled(self, at: BlockedConditional, joint: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hessian (k, k) with log sigma at its best, and the gradient (k,) of that."""
        own, cross, size = joint[:-1, :-1], joint[:-1, -1], float(joint[-1, -1])
        if self.is_least(at) or not size > 0.0:
            return own, np.zeros(len(own))
        return own - np.outer(cross, cross) / size, -cross / size


@dataclass(frozen=True, kw_only=True, eq=False)
class JointDeviance:
    """The deviance as a function of theta and log sigma, which takes one evaluation of the engine: to get near.

    Attributes
    ----------
    profile : the criterion in theta.
    """

    profile: FixedScaleDeviance

    def value(self, parameters: FloatArray) -> BlockedConditional:
        """Deviance at (theta, log sigma), log sigma held between its least value and one that is far too large."""
        profile = self.profile
        log_sigma = min(max(float(parameters[-1]), profile.least), profile.start + TOO_LARGE)
        return profile.at_sigma(profile.factors(parameters[:-1]), log_sigma)

    def derivatives(self, at: BlockedConditional, parameters: FloatArray) -> Derivatives:
        """Gradient, Hessian and information; at the least sigma, those of theta, with nothing to be gained by sigma."""
        profile, theta = self.profile, parameters[:-1]
        inner, slope = profile.engine_derivatives(at, theta), profile.slope(at)
        held = profile.is_least(at) and slope > 0.0

        def joint(gradient: FloatArray, hessian: FloatArray) -> FloatArray:
            out = profile.joint(at, theta, gradient, hessian)
            if held:
                out[-1] = out[:, -1] = 0.0
                out[-1, -1] = 1.0
            return out

        return Derivatives(
            gradient=np.append(inner.gradient[profile.free], 0.0 if held else slope),
            hessian=joint(inner.gradient, inner.hessian),
            expected=lambda: _positive_part(joint(np.zeros_like(inner.gradient), inner.information)),
        )


def rss_gradient(at: BlockedConditional, theta: FloatArray) -> FloatArray:
    """Derivative (k,) of r^2 in the engine's working theta: -2 <d Lambda, T Lambda>, T the levels' sum of t t'."""
    crossing, contrast, out = at.crossing, np.append(-at.beta, 1.0), np.zeros(len(theta))
    for k, (structure, part) in enumerate(zip(crossing.structures, crossing.parts, strict=True)):
        t = at.cross[k] @ contrast
        product = (t.T @ (t * at.factorised.weights[k][:, None])) @ at.factors[k]
        out[part] = -2.0 * np.tensordot(structure.factor_gradient(theta[part]), product, axes=2)
    return out


def _positive_part(matrix: FloatArray) -> FloatArray:
    """The positive semi-definite part of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def _with_scale(structure: BlockStructure, unit: float) -> BlockStructure:
    """The same blocks, the known ones with a free scale, and measured in a unit."""
    kinds = tuple(Proportional(kind.matrix / unit**2) if isinstance(kind, Fixed) else kind for kind in structure.kinds)
    return replace(structure, kinds=kinds)


def _known_variance(crossing: Crossing) -> float:
    """What the known covariances add to the variance of a row on average, in the squared units of the data."""
    total = 0.0
    for structure, diagonal in zip(crossing.structures, crossing.diagonal, strict=True):
        gram = diagonal.sum(axis=0)
        for kind, columns in zip(structure.kinds, structure.columns, strict=True):
            if isinstance(kind, Fixed):
                total += float(np.sum(kind.matrix * gram[np.ix_(columns, columns)]))
    return total / crossing.n_rows
