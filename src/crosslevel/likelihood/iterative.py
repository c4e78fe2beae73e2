"""Profiled deviance of a crossed model too large for exact elimination, with a stochastic log-determinant.

With the largest factor eliminated (see `likelihood.schur`) and H = L^-1 S L^-T,

    log|V| = log|M_11| + log|L L'| + tr log H,
    tr log H is estimated by  sum over a of q_a' f(H) q_a + (1 / s) sum over k of z_k' f(H) z_k,

where the q_a are a few directions in which H is far from 1, and the z_k random signs in the space that is left (see
`likelihood.traces`). Both are fixed when the criterion is made: it is one smooth function of theta, repeats to the last
digit, and its derivatives are exactly its own. [X y]'V^-1[X y] and the determinant that REML adds are not stochastic.

Sources: Kuendig & Sigrist (2025), arXiv 2505.09552, for stochastic Lanczos quadrature in crossed models; Meyer, Musco,
Musco & Woodruff (2021), SOSA 142-155, for taking a few directions out; Johnson & Thompson (1995), J. Dairy Sci. 78:
449-456, for average information.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.effects import solve_effects, whole_product
from crosslevel.likelihood.schur import COLUMNS, Elimination, Schur
from crosslevel.likelihood.traces import Trace, estimate_trace, far_directions
from crosslevel.optimise import Derivatives
from crosslevel.types import FloatArray

PROBES = 16
"""Random vectors where their number is not given."""

FLOOR = 1e-5
"""Least singular value of a Lambda at which d deviance / d Psi is taken from d deviance / d Lambda."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IterativeConditional:
    """The model's conditional optimum at one Lambda of each factor, in working coordinates.

    Attributes
    ----------
    schur : the Schur complement.
    reml : whether the likelihood is restricted.
    sigma : residual standard deviation in working units if it is known; None if it is estimated.
    deviance : estimate of -2 (restricted) log-likelihood, in the units of the data.
    standard_error : Monte-Carlo standard error of `deviance`.
    chol : (p + 1, p + 1) lower Cholesky factor of [X y]'V^-1[X y].
    beta : (p,) coefficients.
    rss : r^2 = (y - X beta)'V^-1(y - X beta).
    nu : n - p (REML) or n (ML).
    modes : for each factor, (J_k, q_k) conditional modes.
    images : for each factor, (J_k, q_k, p + 1) Z'V^-1[X y].
    scores : for each factor, (q_k, q_k) G; the derivative of `deviance` in a direction D of Lambda_k is 2 <D, G>.
    score_draws : the random part of `scores`, (s, q_k, q_k): its mean is what enters.
    """

    schur: Schur
    reml: bool
    sigma: float | None
    deviance: float
    standard_error: float
    chol: FloatArray
    beta: FloatArray
    rss: float
    nu: float
    modes: tuple[FloatArray, ...]
    images: tuple[FloatArray, ...]
    scores: tuple[FloatArray, ...]
    score_draws: tuple[FloatArray, ...]

    @property
    def crossing(self) -> Crossing:
        """Cross-products of the model."""
        return self.schur.plan.crossing

    @property
    def factors(self) -> tuple[FloatArray, ...]:
        """Lambda of each factor."""
        return self.schur.factors

    @property
    def precision(self) -> float:
        """1 / sigma^2: nu / r^2 where it is estimated."""
        return self.nu / self.rss if self.sigma is None else 1.0 / self.sigma**2

    @property
    def contrast(self) -> FloatArray:
        """(p + 1,) what makes y - X beta of [X y]."""
        return np.append(-self.beta, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class IterativeDeviance:
    """The criterion of a large crossed model: theta of all factors -> deviance and its derivatives.

    Attributes
    ----------
    plan : the elimination.
    reml : whether the likelihood is restricted.
    vectors : (N, r + s) Q and z_k.
    n_exact : r.
    sigma : residual standard deviation in working units if it is known; None if it is estimated.
    """

    plan: Elimination
    reml: bool
    vectors: FloatArray
    n_exact: int
    sigma: float | None = None

    @classmethod
    def of(
        cls,
        crossing: Crossing | Elimination,
        factors: tuple[FloatArray, ...],
        *,
        reml: bool,
        probes: int = PROBES,
        seed: int = 1,
        sigma: float | None = None,
    ) -> "IterativeDeviance":
        """The criterion with at least `probes` random vectors, and Q chosen at `factors`."""
        plan = crossing if isinstance(crossing, Elimination) else Elimination.of(crossing)
        rng = np.random.default_rng(seed)
        basis = far_directions(Schur.at(plan, factors), rng)
        probes += -(basis.shape[1] + probes) % COLUMNS
        signs = 2.0 * rng.integers(0, 2, (plan.n_columns, probes)) - 1.0
        signs -= basis @ (basis.T @ signs)
        left = plan.n_columns - basis.shape[1]
        signs *= np.sqrt(left / np.maximum(np.einsum("ns,ns->s", signs, signs), 1e-300))
        return cls(plan=plan, reml=reml, vectors=np.hstack([basis, signs]), n_exact=basis.shape[1], sigma=sigma)

    @property
    def crossing(self) -> Crossing:
        """Cross-products of the model."""
        return self.plan.crossing

    @property
    def nu(self) -> float:
        """Degrees of freedom of r^2: n - p (REML) or n (ML)."""
        return self.crossing.n_rows - (self.crossing.p if self.reml else 0)

    @property
    def weights(self) -> FloatArray:
        """(r + s,) weights of the vectors: 1 for those of Q, 1 / s for the random ones."""
        n_random = self.vectors.shape[1] - self.n_exact
        return np.repeat([1.0, 1.0 / max(n_random, 1)], [self.n_exact, n_random])

    def value(self, theta: FloatArray) -> IterativeConditional:
        """Deviance at working `theta` of all factors; infinite where [X y]'V^-1[X y] is numerically singular."""
        return self.at_factors(factors_of(self.crossing, theta))

    def at_factors(self, factors: tuple[FloatArray, ...]) -> IterativeConditional:
        """Deviance at any Lambda_k (q_k, q_k) in working coordinates."""
        schur = Schur.at(self.plan, factors)
        crossing = self.crossing
        effects, images, explained = solve_effects(schur, crossing.image)
        try:
            chol = np.linalg.cholesky(crossing.gram - explained)
        except np.linalg.LinAlgError:
            chol = np.full(crossing.gram.shape, np.nan)
        rss, beta = float(chol[-1, -1] ** 2), np.linalg.solve(chol[:-1, :-1].T, chol[-1, :-1])
        trace = estimate_trace(schur, self.vectors)
        log_det = schur.log_det + float(self.weights @ trace.forms)
        draws = trace.forms[self.n_exact :]
        contrast = np.append(-beta, 1.0)
        return IterativeConditional(
            schur=schur, reml=self.reml, sigma=self.sigma, deviance=self._deviance(log_det, chol, rss),
            standard_error=float(draws.std(ddof=1) / np.sqrt(len(draws))) if len(draws) > 1 else 0.0,
            chol=chol, beta=beta, rss=rss, nu=self.nu, modes=tuple(effect @ contrast for effect in effects),
            images=images, scores=self._scores(schur, trace, images, chol, contrast),
            score_draws=self._score_draws(schur, trace),
        )  # fmt: skip

    def _deviance(self, log_det: float, chol: FloatArray, rss: float) -> float:
        """-2 log-likelihood in the units of the data."""
        if not rss > 0.0:
            return np.inf
        log_y, log_x = self.crossing.coordinates.log_scale
        if self.sigma is None:
            out = log_det + self.nu * (1.0 + np.log(2.0 * np.pi * rss / self.nu) + 2.0 * log_y)
        else:
            out = log_det + self.nu * (np.log(2.0 * np.pi * self.sigma**2) + 2.0 * log_y) + rss / self.sigma**2
        out -= self.crossing.log_weight
        if self.reml:
            out += 2.0 * (float(np.log(np.diag(chol)[:-1]).sum()) + log_x)
        return float(out)

    def _scores(
        self, schur: Schur, trace: Trace, images: tuple[FloatArray, ...], chol: FloatArray, contrast: FloatArray
    ) -> tuple[FloatArray, ...]:
        """G of every factor."""
        plan = self.plan
        whitened = np.linalg.inv(chol[:-1, :-1]).T
        precision_y = self.nu / chol[-1, -1] ** 2 if self.sigma is None else 1.0 / self.sigma**2
        out = []
        for k, (factor, image) in enumerate(zip(schur.factors, images, strict=True)):
            t = image @ contrast
            fitted = precision_y * t.T @ t
            if self.reml:
                f = image[:, :, :-1] @ whitened
                fitted = fitted + np.einsum("jap,jbp->ab", f, f)
            if k == plan.leading:
                precision = np.einsum("jab,jbc->ac", schur.residual, plan.crossing.diagonal[k])
                precision = precision - schur.sandwich(tuple(_squares(reach)[..., None] for reach in schur.reach))[0]
                score = (precision + np.tensordot(self.weights, trace.psi, axes=1) - fitted) @ factor
            else:
                at = plan.rest.index(k)
                core, root = schur.core[at], schur.root[at]
                score = np.einsum("jab,bc,jcd->ad", core, factor, _squares(root.transpose(0, 2, 1)), optimize=True)
                score = score + np.tensordot(self.weights, trace.scores[at], axes=1) - fitted @ factor
            out.append(score)
        return tuple(out)

    def _score_draws(self, schur: Schur, trace: Trace) -> tuple[FloatArray, ...]:
        """What each random vector says of G, for every factor."""
        plan, n_exact = self.plan, self.n_exact
        return tuple(
            trace.psi[n_exact:] @ factor if k == plan.leading else trace.scores[plan.rest.index(k)][n_exact:]
            for k, factor in enumerate(schur.factors)
        )

    def derivatives(self, at: IterativeConditional, theta: FloatArray) -> Derivatives:
        """Gradient at working `theta`, and average information with the curvature that Psi has in theta."""
        crossing = self.crossing
        gradients = [
            s.factor_gradient(theta[part]) for s, part in zip(crossing.structures, crossing.parts, strict=True)
        ]
        directions, curvature = [], np.zeros((len(theta), len(theta)))
        positive = np.zeros_like(curvature)
        psi_scores = self.psi_scores(at)
        for k, (gradient, part) in enumerate(zip(gradients, crossing.parts, strict=True)):
            half = gradient @ at.factors[k].T
            directions += [(k, direction) for direction in half + half.transpose(0, 2, 1)]
            score = psi_scores[k] * crossing.structures[k].mask
            curvature[part, part] = _curvature(gradient, score)
            positive[part, part] = _curvature(gradient, positive_part(score))
        information = average_information(at, directions)
        slope = [
            2.0 * np.tensordot(g, score, axes=([1, 2], [0, 1])) for g, score in zip(gradients, at.scores, strict=True)
        ]
        return Derivatives(
            gradient=np.concatenate(slope), hessian=information + curvature, expected=lambda: information + positive
        )

    def psi_scores(self, at: IterativeConditional) -> tuple[FloatArray, ...]:
        """(q_k, q_k) derivative of the criterion in the relative covariance Psi_k of every factor."""
        sizes = [np.linalg.svd(factor) for factor in at.factors]
        if min(float(size.min()) for _, size, _ in sizes) < FLOOR:
            raised = tuple((left * np.maximum(size, FLOOR)) @ right for left, size, right in sizes)
            at = self.at_factors(raised)
        out = [np.linalg.solve(factor.T, score.T).T for factor, score in zip(at.factors, at.scores, strict=True)]
        return tuple(0.5 * (score + score.T) for score in out)

    def escape(
        self, theta: FloatArray, at: IterativeConditional, *, tolerance: float
    ) -> tuple[FloatArray, IterativeConditional] | None:
        """A lower point reached by adding variance in a direction where the criterion falls with it, if there is one.

        See `solve.descend_from_boundary`; here for each factor in turn.
        """
        for k, structure in enumerate(self.crossing.structures):
            score = self.psi_scores(at)[k] * structure.mask
            values, vectors = np.linalg.eigh(score)
            for value, direction in zip(values, vectors.T, strict=True):
                if value >= 0.0:
                    break
                curvature = average_information(at, [(k, np.outer(direction, direction))])[0, 0]
                if not value * value > 2.0 * curvature * tolerance:
                    continue
                amount = -value / max(curvature, 1e-300)
                for _ in range(20):
                    moved = theta.copy()
                    wide = np.column_stack([at.factors[k], np.sqrt(amount) * direction])
                    moved[self.crossing.parts[k]] = structure.nearest(wide)
                    trial = self.value(moved)
                    if trial.deviance < at.deviance - 0.1 * tolerance:
                        return moved, trial
                    amount *= 0.25
        return None


def average_information(at: IterativeConditional, directions: list[tuple[int, FloatArray]]) -> FloatArray:
    """Average information, sigma profiled out, in symmetric directions (factor k, D (q_k, q_k)) of Psi.

    With g = D t of each level, t = Z'V^-1(y - X beta), and h = Z g:
    (nu / r^2) [h_a'P h_b - (h_a'P y)(h_b'P y) / r^2], without the last term where sigma is known.
    """
    plan = at.schur.plan
    n = len(directions)
    shifts = [np.zeros((*image.shape[:2], n)) for image in at.images]
    for i, (k, direction) in enumerate(directions):
        shifts[k][:, :, i] = at.images[k] @ at.contrast @ direction
    products = whole_product(plan, shifts)
    projected = solve_effects(at.schur, products)[1]
    whitened = np.linalg.inv(at.chol[:-1, :-1]).T
    quadratic, fixed, response = np.zeros((n, n)), np.zeros((n, at.crossing.p)), np.zeros(n)
    for shift, image, left in zip(shifts, at.images, projected, strict=True):
        quadratic += np.einsum("jas,jar->sr", shift, left)
        fixed += np.einsum("jas,jap->sp", shift, image[:, :, :-1]) @ whitened
        response += np.einsum("jas,ja->s", shift, image @ at.contrast)
    quadratic = 0.5 * (quadratic + quadratic.T)
    quadratic -= fixed @ fixed.T
    if at.sigma is None:
        quadratic -= np.outer(response, response) / at.rss
    return np.asarray(at.precision * quadratic)


def _curvature(gradient: FloatArray, score: FloatArray) -> FloatArray:
    """2 tr(L_a' S L_b) for derivatives (n, q, q) of Lambda."""
    return np.asarray(2.0 * np.einsum("aij,ik,bkj->ab", gradient, score, gradient, optimize=True))


def positive_part(score: FloatArray) -> FloatArray:
    """The positive semi-definite part of a symmetric matrix."""
    values, vectors = np.linalg.eigh(score)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def factors_of(crossing: Crossing, theta: FloatArray) -> tuple[FloatArray, ...]:
    """Lambda of each factor at working `theta` of all."""
    return tuple(s.factor(theta[part]) for s, part in zip(crossing.structures, crossing.parts, strict=True))


def _squares(roots: FloatArray) -> FloatArray:
    """R R' of each of (J, q, q)."""
    return np.asarray(roots @ roots.transpose(0, 2, 1))
