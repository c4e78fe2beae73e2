"""What is known of a linear mixed model with several grouping factors at one Lambda, in working coordinates."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.elimination import times
from crosslevel.likelihood.factorised import Factorised, PatternInverse
from crosslevel.types import FloatArray

REGULAR = 1e-4
"""Least singular value of Lambda, relative to 1 or its largest, whose inverse is accurate enough for Z'V^-1."""

WIDE = 12
"""Random effects of a level beyond which products are made level by level, rather than with arrays of their number to
the fourth."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProductGradient:
    """Derivative of the deviance in every element of the cross-products, shaped as those of a `Crossing`.

    The deviance changes by the sum over all arrays of <derivative, change>; `pairs` holds the blocks (m, q_k, q_l).
    """

    diagonal: tuple[FloatArray, ...]
    image: tuple[FloatArray, ...]
    pairs: Mapping[tuple[int, int], FloatArray]
    gram: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockedConditional:
    """The model's conditional optimum at one Lambda, in working coordinates.

    Attributes
    ----------
    crossing, reml, sigma : the model; sigma is None where it is estimated.
    factors : for each grouping factor (q, q) Lambda.
    deviance : -2 (restricted) log-likelihood, in the units of the data.
    chol : (p + 1, p + 1) lower Cholesky factor of [X y]'V^-1 [X y].
    beta : (p,) coefficients.
    rss : r^2 = (y - X beta)'V^-1 (y - X beta).
    factorised : L with L L' = M.
    half : (N, p + 1) L^-1 Lambda'Z'[X y].
    """

    crossing: Crossing
    reml: bool
    sigma: float | None
    factors: tuple[FloatArray, ...]
    deviance: float
    chol: FloatArray
    beta: FloatArray
    rss: float
    factorised: Factorised
    half: FloatArray

    @property
    def nu(self) -> float:
        """Degrees of freedom of r^2: n - p (REML) or n (ML)."""
        return self.crossing.n_rows - (self.crossing.p if self.reml else 0)

    @property
    def scale(self) -> float:
        """1 / sigma^2: nu / r^2 where it is estimated."""
        return self.nu / self.rss if self.sigma is None else float(1.0 / self.sigma**2)

    @cached_property
    def contrasts(self) -> FloatArray:
        """(p + 1, r) C with C C' = d deviance / d [X y]'V^-1 [X y]: of the residual, and for REML those of X."""
        residual = np.sqrt(self.scale) * np.append(-self.beta, 1.0)
        if not self.reml:
            return np.asarray(residual[:, None])
        whitened = np.vstack([np.linalg.inv(self.chol[:-1, :-1]).T, np.zeros(len(self.beta))])
        return np.column_stack([residual, whitened])

    @cached_property
    def solved(self) -> FloatArray:
        """(N, p + 1) U = M^-1 Lambda'Z'[X y]."""
        return self.factorised.backward(self.half.copy())

    @cached_property
    def modes(self) -> tuple[FloatArray, ...]:
        """For each factor (J, q) conditional modes b = Lambda u, u = U (-beta, 1)."""
        u = self.solved @ np.append(-self.beta, 1.0)[:, None]
        return tuple(
            part[:, :, 0] @ factor.T
            for part, factor in zip(self.factorised.plan.by_factor(u), self.factors, strict=True)
        )

    @cached_property
    def cross(self) -> tuple[FloatArray, ...]:
        """For each factor (J, q, p + 1) Z'V^-1 [X y] = Z'[X y] - A Lambda U.

        In the range of Lambda_k that is Lambda_k'^+ U_k, since Lambda'A Lambda U = (M - I) U = Lambda'Z'[X y] - U:
        there the difference, which loses digits where random effects are large, is not needed.
        """
        solved = self.factorised.plan.by_factor(self.solved)
        inverses = [_inverse_in_range(factor) for factor in self.factors]
        out = [times(u, inverse) for u, (inverse, _) in zip(solved, inverses, strict=True)]
        if any(rest is not None for _, rest in inverses):
            product = self.product(tuple(times(u, factor.T) for u, factor in zip(solved, self.factors, strict=True)))
            for k, (_, rest) in enumerate(inverses):
                if rest is not None:
                    out[k] = out[k] + times(self.crossing.image[k] - product[k], rest)
        return tuple(out)

    def product(self, x: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
        """A x for x given by factor, (J_k, q_k, r)."""
        from crosslevel.kernels.crossed import multiply_pairs

        crossing, weights = self.crossing, self.factorised.weights
        x = tuple(np.ascontiguousarray(part) for part in x)
        out = tuple(np.ascontiguousarray(block @ part) for block, part in zip(crossing.diagonal, x, strict=True))
        for (k, m), where in self.factorised.plan.pair_places.items():
            some = crossing.pairs[k, m]
            multiply_pairs(
                some.start, some.level, some.block, weights[k], weights[m], where.swapped, x[k], x[m], out[k], out[m]
            )
        return out

    @cached_property
    def inverse(self) -> PatternInverse:
        """M^-1 on the factor's pattern."""
        return self.factorised.inverse()

    @cached_property
    def inverse_blocks(self) -> tuple[FloatArray, ...]:
        """For each factor (J, q, q) [M^-1]_jj."""
        return tuple(self.inverse.blocks(k) for k in range(len(self.factors)))

    def conditional_covariances(self) -> tuple[FloatArray, ...]:
        """For each factor (J, q, q) Lambda [M^-1]_jj Lambda', to be multiplied by sigma^2."""
        return tuple(
            factor @ block @ factor.T
            if len(factor) > WIDE
            else (block.reshape(len(block), -1) @ np.kron(factor, factor).T).reshape(block.shape)
            for block, factor in zip(self.inverse_blocks, self.factors, strict=True)
        )

    @cached_property
    def explained(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q) the sum over levels of Q = (nu / r^2) t t' + [F F']."""
        out = []
        for cross, weight in zip(self.cross, self.factorised.weights, strict=True):
            part = (cross.reshape(-1, cross.shape[2]) @ self.contrasts).reshape(*cross.shape[:2], -1)
            out.append(np.tensordot(part * weight[:, None, None], part, axes=([0, 2], [0, 2])))
        return tuple(out)

    @cached_property
    def scores(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q) G = S Lambda, S = d deviance / d Psi = sum over levels of Z'V^-1 Z - Q."""
        from crosslevel.kernels.crossed import pair_scores

        crossing, weights, inverse = self.crossing, self.factorised.weights, self.inverse
        out = []
        for k, factor in enumerate(self.factors):
            q, n_levels = len(factor), len(crossing.diagonal[k])
            weighted = self.inverse_blocks[k] * weights[k][:, None, None]
            if q > WIDE:
                half = (crossing.diagonal[k].reshape(-1, q) @ factor).reshape(n_levels, q, q)
                out.append(np.tensordot(half, weighted, axes=([0, 2], [0, 1])) - self.explained[k] @ factor)
                continue
            sums = crossing.diagonal[k].reshape(n_levels, -1).T @ weighted.reshape(n_levels, -1)
            # sum of A_jj Lambda [M^-1]_jj
            out.append(np.einsum("iklm,kl->im", sums.reshape(q, q, q, q), factor) - self.explained[k] @ factor)
        for (k, m), where in self.factorised.plan.pair_places.items():
            some = crossing.pairs[k, m]
            pair_scores(
                some.start, some.level, some.block, weights[k], weights[m], where.swapped, where.place,
                where.step_k, where.step_l, inverse.buffer(dense=where.dense), self.factors[k], self.factors[m],
                out[k], out[m],
            )  # fmt: skip
        return tuple(out)

    def product_gradient(self) -> ProductGradient:
        """Derivative of the deviance in every element of the cross-products.

        With B = Lambda U C and C C' as in `contrasts`: Lambda M^-1 Lambda' + B B' in A, -2 B C' in Z'[X y], C C' in
        [X y]'[X y]; times how often a level counts.
        """
        from crosslevel.kernels.crossed import pair_gradients

        plan, inverse, weights = self.factorised.plan, self.inverse, self.factorised.weights
        solved = plan.by_factor(self.solved @ self.contrasts)
        modes = tuple(np.ascontiguousarray(times(u, f.T)) for u, f in zip(solved, self.factors, strict=True))
        pairs = {}
        for (k, m), where in plan.pair_places.items():
            some = self.crossing.pairs[k, m]
            pairs[k, m] = np.empty_like(some.block)
            pair_gradients(
                some.start, some.level, weights[k], weights[m], where.swapped, where.place, where.step_k, where.step_l,
                inverse.buffer(dense=where.dense), self.factors[k], self.factors[m], modes[k], modes[m], pairs[k, m],
            )  # fmt: skip
        each = [weight[:, None, None] for weight in weights]
        covariances = self.conditional_covariances()
        return ProductGradient(
            diagonal=tuple(
                w * (c + b @ b.transpose(0, 2, 1)) for w, c, b in zip(each, covariances, modes, strict=True)
            ),
            image=tuple(-2.0 * w * (b @ self.contrasts.T) for w, b in zip(each, modes, strict=True)),
            pairs=pairs,
            gram=self.contrasts @ self.contrasts.T,
        )

    def projected(
        self, image: tuple[FloatArray, ...], border: FloatArray, gram: FloatArray, with_y: FloatArray
    ) -> FloatArray:
        """Inner products a'P b of extra columns and y, P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1.

        Parameters
        ----------
        image : for each factor (J, q, r) Z'a of the extra columns, in working coordinates.
        border, gram, with_y : (p, r) X'a, (r, r) a'a, (r,) y'a.

        Returns
        -------
        (r + 1, r + 1), y last.
        """
        factorised, r = self.factorised, len(gram)
        x = factorised.forward(factorised.plan.scaled(image, self.factors, r))
        fixed = np.vstack([border, with_y]) - factorised.inner(self.half, x)
        whitened = np.linalg.solve(self.chol, fixed)
        out = np.empty((r + 1, r + 1))
        out[:r, :r] = gram - factorised.inner(x, x) - whitened[:-1].T @ whitened[:-1]
        out[:r, r] = out[r, :r] = whitened[-1] * self.chol[-1, -1]
        out[r, r] = self.rss
        return out


def _inverse_in_range(factor: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """Lambda^+ (q, q), applied without losing more than a few digits, and the projection off its range, if any."""
    left, sizes, right = np.linalg.svd(factor)
    regular = sizes > REGULAR * max(1.0, float(sizes[0]))
    if regular.all():
        return np.linalg.inv(factor), None
    rest = left[:, ~regular]
    return (right[regular].T / sizes[regular]) @ left[:, regular].T, rest @ rest.T
