"""Profiled deviance of a linear mixed model with any number of grouping factors, from their cross-products.

With A = Z'Z over the random effects of all factors, Lambda block-diagonal, M = I + Lambda'A Lambda and
V = I + Z Lambda Lambda'Z',

    d(theta) = log|M| + nu (1 + log(2 pi r^2 / nu)) + [log|X'V^-1 X|],   nu = n - p and [] for REML, n for ML,
    [X y]'V^-1 [X y] = [X y]'[X y] - (Lambda'Z'[X y])' M^-1 (Lambda'Z'[X y]),

with nu log(2 pi sigma^2) + r^2 / sigma^2 in place of the second term where sigma is known.

Source: Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), equations 34-42.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.blocked_state import BlockedConditional, ProductGradient
from crosslevel.likelihood.blocked_theta import curvature, derivatives, psi_slopes
from crosslevel.likelihood.boundary import PsiSlopes, leave_boundary
from crosslevel.likelihood.elimination import EliminationPlan
from crosslevel.likelihood.factorised import factorise
from crosslevel.likelihood.twofold import column_sizes, factorise_twofold, needs_twofold
from crosslevel.optimise import Derivatives
from crosslevel.types import FloatArray

__all__ = ["BlockedConditional", "BlockedDeviance", "ProductGradient"]


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockedDeviance:
    """The criterion of a linear mixed model with any number of grouping factors.

    Attributes
    ----------
    crossing : cross-products of the model.
    reml : whether the likelihood is restricted.
    plan : the symbolic analysis of the pairs; `BlockedDeviance.of` makes it.
    sigma : residual standard deviation in working units if it is known; None if it is estimated.
    copies : for each factor (J_k,) how often each level counts within its parent, for nested factors with sampling
        weights; None if all count once. The cross-products of a level are those of one copy of it, with all copies of
        the levels inside it; `gram` and n count all copies.
    """

    crossing: Crossing
    reml: bool
    plan: EliminationPlan
    sigma: float | None = None
    copies: tuple[FloatArray, ...] | None = None

    @staticmethod
    def of(
        crossing: Crossing, *, reml: bool, sigma: float | None = None, copies: tuple[FloatArray, ...] | None = None
    ) -> "BlockedDeviance":
        """Analyse the pattern of the pairs and make the criterion."""
        counts = tuple(len(block) for block in crossing.diagonal)
        sizes = tuple(block.shape[1] for block in crossing.diagonal)
        plan = EliminationPlan.of(crossing.pairs, counts, sizes)
        return BlockedDeviance(crossing=crossing, reml=reml, plan=plan, sigma=sigma, copies=copies)

    @cached_property
    def weights(self) -> tuple[FloatArray, ...]:
        """For each factor (J_k,) how often each level counts in all."""
        return self.plan.weights(self.copies)

    @cached_property
    def sizes(self) -> tuple[FloatArray, ...]:
        """For each factor (q, 1) the root mean square of the columns of Z."""
        return column_sizes(self.crossing, self.weights)

    @property
    def structures(self) -> tuple[BlockStructure, ...]:
        """For each factor, the blocks that theta parametrises."""
        return self.crossing.structures

    @property
    def bases(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q) T: working random effects are T b."""
        return self.crossing.basis

    @property
    def coordinates(self) -> Coordinates:
        """In which coordinates [X y] is worked on."""
        return self.crossing.coordinates

    @property
    def nu(self) -> float:
        """Degrees of freedom of r^2: n - p (REML) or n (ML)."""
        return self.crossing.n_rows - (self.crossing.p if self.reml else 0)

    def value(self, theta: FloatArray) -> BlockedConditional:
        """Deviance at working `theta`; infinite where it cannot be computed."""
        parts = zip(self.structures, self.crossing.parts, strict=True)
        return self.at_factors(tuple(structure.factor(theta[part]) for structure, part in parts))

    def at_factors(self, factors: tuple[FloatArray, ...]) -> BlockedConditional:
        """Deviance at any Lambda_k (q_k, q_k), in working coordinates."""
        crossing = self.crossing
        factors = tuple(np.array(factor, dtype=np.float64, order="C") for factor in factors)
        if needs_twofold(self.plan, self.sizes, factors):
            factorised, half, remainder = factorise_twofold(crossing, self.plan, self.weights, factors)
        else:
            factorised = factorise(crossing, self.plan, self.weights, factors)
            half = factorised.forward(self.plan.scaled(crossing.image, factors, crossing.p + 1))
            remainder = crossing.gram - factorised.inner(half, half)
        try:
            chol = np.linalg.cholesky(remainder)
        except np.linalg.LinAlgError:
            chol = np.full_like(crossing.gram, np.nan)
        return BlockedConditional(
            crossing=crossing, reml=self.reml, sigma=self.sigma, factors=factors, chol=chol,
            deviance=self._deviance(factorised.log_det, chol),
            beta=np.linalg.solve(chol[:-1, :-1].T, chol[-1, :-1]), rss=float(chol[-1, -1] ** 2),
            factorised=factorised, half=half,
        )  # fmt: skip

    def _deviance(self, log_det: float, chol: FloatArray) -> float:
        """-2 log-likelihood in the units of the data, from log|M| and the factor (p + 1, p + 1) of [X y]'V^-1 [X y]."""
        rss = float(chol[-1, -1] ** 2)
        if not np.isfinite(log_det) or not rss > 0.0:
            return np.inf
        log_y, log_x = self.coordinates.log_scale
        if self.sigma is None:
            out = log_det + self.nu * (1.0 + np.log(2.0 * np.pi * rss / self.nu) + 2.0 * log_y)
        else:
            out = log_det + self.nu * (np.log(2.0 * np.pi * self.sigma**2) + 2.0 * log_y) + rss / self.sigma**2
        out -= self.crossing.log_weight
        if self.reml:
            out += 2.0 * (float(np.log(np.diag(chol)[:-1]).sum()) + log_x)
        return float(out)

    def derivatives(self, at: BlockedConditional, theta: FloatArray) -> Derivatives:
        """Gradient, Hessian and information of the deviance in working `theta`.

        The Hessian is the average information (Gilmour, Thompson & Cullis 1995) and the exact curvature of
        Psi = Lambda Lambda'; the information has only the positive part of the latter.
        """
        return derivatives(at, theta, self.at_factors)

    def escape(
        self, theta: FloatArray, at: BlockedConditional, *, tolerance: float
    ) -> tuple[FloatArray, BlockedConditional] | None:
        """A lower point off the boundary, or None; see `boundary.leave_boundary`."""
        return leave_boundary(self, theta, at, tolerance=tolerance)

    def psi_slopes(self, at: BlockedConditional) -> PsiSlopes:
        """Slopes of the deviance in the Psi of each factor."""
        return psi_slopes(at, self.at_factors)

    def rotated(self, factors: tuple[FloatArray, ...]) -> tuple["BlockedDeviance", tuple[FloatArray, ...]]:
        """The same criterion along the principal axes of these covariance factors, and the factors there."""
        crossing, turned = self.crossing.rotated(factors)
        return replace(self, crossing=crossing), turned

    def conditional_covariances(self, at: BlockedConditional) -> tuple[FloatArray, ...]:
        """For each factor (J, q, q) conditional covariances of the random effects, to be multiplied by sigma^2."""
        return at.conditional_covariances()

    def curvature(self, at: BlockedConditional, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hessian (k, k) of the deviance in working `theta`, and the gradient (k,) of log sigma: zero if it is known.

        The Hessian is that of differences of the gradient, which is exact.
        """
        return curvature(at, theta, self.value)
