"""Profiled deviance of a model whose residuals have a covariance structure: y ~ N(X beta, sigma^2 (R(phi) + Z Psi Z')).

With R = B B', rows whitened by B^-1 have independent residuals of equal variance, so that

    d(phi, theta) = d_whitened(theta) + log|R|,

the first being the deviance of any number of grouping factors on the cross-products C(phi) of whitened rows. Its
derivative in phi_a is that in the cross-products times dC/dphi_a, exact. Average information, with
h_a = B^-1 dV_a P y and dV_a the derivative of R + Z Psi Z',

    AI_ab = (nu / r^2) (h_a'P h_b - h_a'P y h_b'P y / r^2),

where P y is the whitened residual e = y - X beta - Z b, so that h = (K + K') e for a parameter of R with generator K,
and h = Z dPsi Z'e for one of Psi.

Source: Gilmour, Thompson & Cullis (1995), Biometrics 51: 1440-1450, for average information; Pinheiro & Bates (2000),
Mixed-Effects Models in S and S-PLUS, section 5.1, for whitening.
"""

from dataclasses import dataclass, replace

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.crossing import Crossing
from crosslevel.design.working import WorkingRows, multiply
from crosslevel.likelihood.blocked import BlockedConditional, BlockedDeviance, ProductGradient
from crosslevel.likelihood.whitened import Extra, FixedProducts, Products, RowProducts, StratumProducts, Whitened
from crosslevel.optimise import Derivatives
from crosslevel.residual.bound import BoundResidual
from crosslevel.residual.correlation import Independent
from crosslevel.residual.variance import StratumVariance
from crosslevel.types import FloatArray

LEAST = 0.01
"""Least average information on a parameter of R, as a share of that expected without random effects, for the steps."""

DIFFERENCE = 1e-4
"""Step of the differences of the exact gradient that make the Hessian for standard errors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outside:
    """A point where R or V is numerically singular."""

    deviance: float = np.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualConditional:
    """The conditional optimum at one (phi, theta), in working coordinates: that of whitened rows, and log|R|.

    Attributes
    ----------
    phi : (k,) parameters of R.
    whitened : cross-products at phi.
    engine, inner : the criterion on them, and its state.
    deviance : -2 (restricted) log-likelihood, in the units of the data.
    """

    phi: FloatArray
    whitened: Whitened
    engine: BlockedDeviance
    inner: BlockedConditional
    deviance: float

    @property
    def factors(self) -> tuple[FloatArray, ...]:
        """For each grouping factor (q, q) Lambda."""
        return self.inner.factors

    @property
    def beta(self) -> FloatArray:
        """(p,) coefficients."""
        return self.inner.beta

    @property
    def chol(self) -> FloatArray:
        """(p + 1, p + 1) Cholesky factor of [X y]'V^-1 [X y]."""
        return self.inner.chol

    @property
    def rss(self) -> float:
        """r^2, such that r^2 / nu is the residual variance."""
        known = self.engine.sigma
        return self.inner.rss if known is None else known**2 * self.inner.nu

    @property
    def nu(self) -> float:
        """Degrees of freedom."""
        return self.inner.nu

    @property
    def sigma(self) -> float | None:
        """Residual standard deviation if it is known."""
        return self.engine.sigma

    @property
    def modes(self) -> tuple[FloatArray, ...]:
        """For each factor (J, q) conditional modes."""
        return self.inner.modes

    def conditional_covariances(self) -> tuple[FloatArray, ...]:
        """For each factor (J, q, q), to be multiplied by sigma^2."""
        return self.inner.conditional_covariances()

    @property
    def contrast(self) -> tuple[tuple[FloatArray, ...], FloatArray]:
        """Coefficients of [Z X y] that make the whitened residual: -modes (J, q, 1), and (-beta, 1) as (p + 1, 1)."""
        return tuple(-modes[:, :, None] for modes in self.modes), np.append(-self.beta, 1.0)[:, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualDeviance:
    """The criterion: working parameters (phi, theta) -> deviance and its derivatives.

    Attributes
    ----------
    products : how the cross-products depend on phi.
    residual : the structure.
    engine : the criterion on the cross-products at the first start; its analysis of the pattern serves at all phi.
    held : (k,) phi at which `at_factors` is asked; by default the first start.
    """

    products: Products
    residual: BoundResidual
    engine: BlockedDeviance
    held: FloatArray | None = None

    @classmethod
    def of(cls, rows: WorkingRows, residual: BoundResidual, *, reml: bool) -> "ResidualDeviance":
        """The criterion of rows that stand in the order of `residual`."""
        products: Products = RowProducts(rows=rows, residual=residual)
        if isinstance(residual.variance, StratumVariance) and isinstance(residual.correlation, Independent):
            products = StratumProducts.of(rows, residual.variance)
        elif residual.n_phi == 0:
            products = FixedProducts.of(rows, residual)
        engine = BlockedDeviance.of(products.at(residual.starts()[0]).crossing, reml=reml)
        if residual.known:
            engine = replace(engine, sigma=1.0 / float(rows.empty.coordinates.scale[-1]))
        return cls(products=products, residual=residual, engine=engine)

    @property
    def structures(self) -> tuple[BlockStructure, ...]:
        """For each grouping factor, the blocks that theta parametrises."""
        return self.engine.crossing.structures

    @property
    def bases(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q) T; working random effects are T b."""
        return self.engine.crossing.basis

    @property
    def coordinates(self) -> Coordinates:
        """Those of [X y]."""
        return self.engine.crossing.coordinates

    @property
    def sigma(self) -> float | None:
        """Residual standard deviation in working units if it is known."""
        return self.engine.sigma

    def without_effects(self) -> "ResidualDeviance":
        """The criterion of the model without random effects."""
        products = self.products.without_effects()
        crossing = products.at(self.residual.starts()[0]).crossing
        return replace(
            self, products=products, engine=BlockedDeviance.of(crossing, reml=self.engine.reml, sigma=self.sigma)
        )

    def split(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Phi and theta."""
        return parameters[: self.residual.n_phi], parameters[self.residual.n_phi :]

    def value(self, theta: FloatArray) -> ResidualConditional | Outside:
        """State at `theta`, which holds phi and then the parameters of the random effects."""
        phi, own = self.split(theta)
        found = self._engine_at(phi)
        return Outside() if found is None else self._state(phi, *found, found[1].value(own))

    def at_factors(self, factors: tuple[FloatArray, ...]) -> ResidualConditional | Outside:
        """State at the held phi and any working Lambdas."""
        phi = self.residual.starts()[0] if self.held is None else self.held
        found = self._engine_at(phi)
        return Outside() if found is None else self._state(phi, *found, found[1].at_factors(factors))

    def _engine_at(self, phi: FloatArray) -> tuple[Whitened, BlockedDeviance] | None:
        """Cross-products at phi and the criterion on them; None where R is singular."""
        with np.errstate(all="ignore"):
            try:
                whitened = self.products.at(phi)
            except np.linalg.LinAlgError:
                return None
            crossing = whitened.crossing
            if not np.isfinite(whitened.log_det) or not np.all(np.isfinite(crossing.gram)):
                return None
        return whitened, replace(self.engine, crossing=crossing)

    def _state(
        self, phi: FloatArray, whitened: Whitened, engine: BlockedDeviance, inner: BlockedConditional
    ) -> ResidualConditional:
        """Add log|R|."""
        return ResidualConditional(
            phi=phi, whitened=whitened, engine=engine, inner=inner, deviance=inner.deviance + whitened.log_det
        )

    def derivatives(self, at: ResidualConditional, theta: FloatArray) -> Derivatives:
        """Gradient, exact; average information, with the curvature that Psi has in its parameters."""
        if not len(theta):
            return Derivatives(gradient=np.zeros(0), hessian=np.zeros((0, 0)), expected=lambda: np.zeros((0, 0)))
        _, own = self.split(theta)
        inner = at.engine.derivatives(at.inner, own)
        gradient = np.append(self._phi_gradient(at), inner.gradient)
        average, k = self.average_information(at, own), self.residual.n_phi
        # far from the optimum the data may tell much less than is expected: steps would be without measure
        lacking = np.maximum(LEAST * at.whitened.information - np.diag(average)[:k], 0.0)
        average[np.arange(k), np.arange(k)] += lacking

        def with_theta(block: FloatArray) -> FloatArray:
            out = average.copy()
            out[k:, k:] = block
            return out

        return Derivatives(
            gradient=gradient, hessian=with_theta(inner.hessian), expected=lambda: with_theta(inner.information)
        )

    def _phi_gradient(self, at: ResidualConditional) -> FloatArray:
        """(k,) derivative of the deviance in phi."""
        if not len(at.phi):
            return np.zeros(0)
        weight = at.inner.product_gradient()
        inner = [_inner(weight, at.whitened.change(a)) for a in range(len(at.phi))]
        return np.asarray(at.whitened.log_det_gradient + np.array(inner))

    def gradient(self, parameters: FloatArray) -> FloatArray:
        """Derivative of the deviance in (phi, theta)."""
        at = self.value(parameters)
        assert isinstance(at, ResidualConditional)
        _, theta = self.split(parameters)
        return np.append(self._phi_gradient(at), at.engine.derivatives(at.inner, theta).gradient)

    def _extra(self, at: ResidualConditional, theta: FloatArray) -> Extra:
        """The columns h of all parameters."""
        effects, coefficients = at.contrast
        of_phi = at.whitened.extra(effects, coefficients)
        crossing = at.whitened.crossing
        directions = _directions(at.inner, theta)
        k, width = len(at.phi), len(at.phi) + len(theta)
        image, border = multiply(crossing, directions, np.zeros((crossing.p + 1, len(theta))))
        gram = np.zeros((width, width))
        gram[:k, :k] = of_phi.gram
        pairs = zip(of_phi.image, image, directions, strict=True)
        for one, other, direction in pairs:
            gram[:k, k:] += np.tensordot(one, direction, axes=([0, 1], [0, 1]))
            gram[k:, k:] += np.tensordot(direction, other, axes=([0, 1], [0, 1]))
        gram[k:, :k] = gram[:k, k:].T
        return Extra(
            image=tuple(np.concatenate(both, axis=2) for both in zip(of_phi.image, image, strict=True)),
            border=np.concatenate([of_phi.border, border], axis=1),
            gram=gram,
        )

    def _projected(self, at: ResidualConditional, theta: FloatArray) -> FloatArray:
        """(k + 1, k + 1) inner products a'P b of the columns h and y."""
        extra = self._extra(at, theta)
        return at.inner.projected(extra.image, extra.border[:-1], extra.gram, extra.border[-1])

    def average_information(self, at: ResidualConditional, theta: FloatArray) -> FloatArray:
        """(k, k) in (phi, theta)."""
        products = self._projected(at, theta)
        out = products[:-1, :-1]
        if not self.residual.known:
            out = out - np.outer(products[:-1, -1], products[:-1, -1]) / products[-1, -1]
        return np.asarray(out * (at.nu / at.rss))

    def conditional_covariances(self, at: ResidualConditional) -> tuple[FloatArray, ...]:
        """For each factor (J, q, q) conditional covariances of the random effects, to be multiplied by sigma^2."""
        return at.conditional_covariances()

    def curvature(self, at: ResidualConditional, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hessian (k, k) of the deviance, by differences of the exact gradient, and gradient (k,) of log sigma."""
        rows = []
        for step in DIFFERENCE * np.eye(len(parameters)):
            rows.append((self.gradient(parameters + step) - self.gradient(parameters - step)) / (2.0 * DIFFERENCE))
        hessian = np.array(rows).reshape(len(parameters), len(parameters))
        _, theta = self.split(parameters)
        slope = np.zeros(len(parameters))
        if not self.residual.known:
            products = self._projected(at, theta)
            slope = -0.5 * products[:-1, -1] / products[-1, -1]
        return 0.5 * (hessian + hessian.T), slope

    def escape(
        self, parameters: FloatArray, at: ResidualConditional, *, tolerance: float
    ) -> tuple[FloatArray, ResidualConditional] | None:
        """A lower point off the boundary of Psi at the same phi, if there is one."""
        phi, theta = self.split(parameters)
        found = at.engine.escape(theta, at.inner, tolerance=tolerance)
        if found is None:
            return None
        moved, inner = found
        return np.append(phi, moved), self._state(phi, at.whitened, at.engine, inner)


def _inner(weight: ProductGradient, change: Crossing) -> float:
    """Sum of the products of the deviance's derivative in every cross-product and the cross-product's change."""
    total = float(np.sum(weight.gram * change.gram))
    for one, other in zip(weight.diagonal, change.diagonal, strict=True):
        total += float(np.sum(one * other))
    for one, other in zip(weight.image, change.image, strict=True):
        total += float(np.sum(one * other))
    for key, some in change.pairs.items():
        total += float(np.sum(weight.pairs[key] * some.block))
    return total


def _directions(at: BlockedConditional, theta: FloatArray) -> tuple[FloatArray, ...]:
    """For each factor, (J, q, len(theta)) dPsi_a t with t = Z'P y; zero for the parameters of other factors."""
    out, crossing, contrast = [], at.crossing, np.append(-at.beta, 1.0)
    for structure, part, factor, cross in zip(crossing.structures, crossing.parts, at.factors, at.cross, strict=True):
        half = structure.factor_gradient(theta[part]) @ factor.T
        psi = half + half.transpose(0, 2, 1)
        block = np.zeros((*cross.shape[:2], len(theta)))
        block[:, :, part] = np.einsum("aij,gj->gia", psi, cross @ contrast)
        out.append(block)
    return tuple(out)
