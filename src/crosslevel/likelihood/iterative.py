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

from dataclasses import dataclass, replace

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.effects import solve_effects, whole_product
from crosslevel.likelihood.lanczos import UnsolvedError
from crosslevel.likelihood.schur import COLUMNS, Elimination, Schur
from crosslevel.likelihood.spread import conditional_covariances
from crosslevel.likelihood.traces import Trace, estimate_trace, far_directions
from crosslevel.optimise import Derivatives
from crosslevel.types import FloatArray

PROBES = 16
"""Random vectors where their number is not given."""

NEAR_SINGULAR, TRIALS = 1e-2, 20
"""Least singular value of Lambda below which a way off the boundary is looked for; steps tried in one direction."""

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
    cross : for each factor, (J_k, q_k, p + 1) Z'V^-1[X y].
    explained : for each factor, (q_k, q_k) sum over levels of t t' / sigma^2 [+ F F'], see `likelihood.profiled`.
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
    cross: tuple[FloatArray, ...]
    explained: tuple[FloatArray, ...]
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
        more: bool = True,
    ) -> "IterativeDeviance":
        """The criterion with at least `probes` random vectors, and Q chosen at `factors`: see `far_directions`."""
        plan = crossing if isinstance(crossing, Elimination) else Elimination.of(crossing)
        rng = np.random.default_rng(seed)
        basis = far_directions(Schur.at(plan, factors), rng, more=more)
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

    @property
    def weights(self) -> FloatArray:
        """(r + s,) weights of the vectors: 1 for those of Q, 1 / s for the random ones."""
        n_random = self.vectors.shape[1] - self.n_exact
        return np.repeat([1.0, 1.0 / max(n_random, 1)], [self.n_exact, n_random])

    def value(self, theta: FloatArray) -> IterativeConditional:
        """Deviance at working `theta` of all factors; infinite where [X y]'V^-1[X y] is numerically singular."""
        return self.at_factors(factors_of(self.crossing, theta))

    def attempt(self, theta: FloatArray, otherwise: IterativeConditional) -> IterativeConditional:
        """As `value`, or `otherwise` with an infinite deviance where the model's equations are not solved."""
        try:
            return self.value(theta)
        except UnsolvedError:
            return replace(otherwise, deviance=np.inf)

    def at_factors(self, factors: tuple[FloatArray, ...]) -> IterativeConditional:
        """Deviance at any Lambda_k (q_k, q_k) in working coordinates."""
        schur = Schur.at(self.plan, factors)
        crossing = self.crossing
        effects, cross, taken = solve_effects(schur, crossing.image)
        try:
            chol = np.linalg.cholesky(crossing.gram - taken)
        except np.linalg.LinAlgError:
            chol = np.full(crossing.gram.shape, np.nan)
        rss, beta = float(chol[-1, -1] ** 2), np.linalg.solve(chol[:-1, :-1].T, chol[-1, :-1])
        trace = estimate_trace(schur, self.vectors)
        log_det = schur.log_det + float(self.weights @ trace.forms)
        draws = trace.forms[self.n_exact :]
        contrast = np.append(-beta, 1.0)
        explained = self._explained(cross, chol, contrast)
        return IterativeConditional(
            schur=schur, reml=self.reml, sigma=self.sigma, deviance=self._deviance(log_det, chol, rss),
            standard_error=float(draws.std(ddof=1) / np.sqrt(len(draws))) if len(draws) > 1 else 0.0,
            chol=chol, beta=beta, rss=rss, nu=self.nu, modes=tuple(effect @ contrast for effect in effects),
            cross=cross, explained=explained, scores=self._scores(schur, trace, explained),
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

    def _explained(
        self, cross: tuple[FloatArray, ...], chol: FloatArray, contrast: FloatArray
    ) -> tuple[FloatArray, ...]:
        """Sums over levels of t t' / sigma^2, and of F F' for REML."""
        whitened = np.linalg.inv(chol[:-1, :-1]).T
        precision = self.nu / chol[-1, -1] ** 2 if self.sigma is None else 1.0 / self.sigma**2
        out = []
        for image in cross:
            t = image @ contrast
            total = precision * (t.T @ t)
            if self.reml:
                f = image[:, :, :-1] @ whitened
                total = total + np.einsum("jap,jbp->ab", f, f)
            out.append(total)
        return tuple(out)

    def _scores(self, schur: Schur, trace: Trace, explained: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
        """G of every factor."""
        plan = self.plan
        out = []
        for k, factor in enumerate(schur.factors):
            if k == plan.leading:
                total = np.einsum("jab,jbc->ac", schur.residual, plan.crossing.diagonal[k])
                total = total - schur.sandwich(tuple(_squares(reach)[..., None] for reach in schur.reach))[0]
                score = (total + np.tensordot(self.weights, trace.psi, axes=1)) @ factor
            else:
                at = plan.rest.index(k)
                inverse = _squares(schur.root[at].transpose(0, 2, 1))
                score = np.einsum("jab,bc,jcd->ad", schur.core[at], factor, inverse, optimize=True)
                score = score + np.tensordot(self.weights, trace.scores[at], axes=1)
            out.append(score - explained[k] @ factor)
        return tuple(out)

    def _score_draws(self, schur: Schur, trace: Trace) -> tuple[FloatArray, ...]:
        """What each random vector says of G, for every factor."""
        plan, n_exact = self.plan, self.n_exact
        return tuple(
            trace.psi[n_exact:] @ factor if k == plan.leading else trace.scores[plan.rest.index(k)][n_exact:]
            for k, factor in enumerate(schur.factors)
        )

    def derivatives(self, at: IterativeConditional, theta: FloatArray) -> Derivatives:
        """Gradient at working `theta`, and average information with the exact curvature of Psi in theta."""
        crossing = self.crossing
        slopes, directions = _slopes(crossing, theta), _directions(at, theta)
        curvature, positive = np.zeros((2, len(theta), len(theta)))
        gradient = np.zeros(len(theta))
        psi_scores, _ = self.psi_scores(at)
        for k, (structure, part) in enumerate(zip(crossing.structures, crossing.parts, strict=True)):
            score = psi_scores[k] * structure.mask
            gradient[part] = 2.0 * np.tensordot(slopes[k], at.scores[k], axes=2)
            curvature[part, part] = _curvature(slopes[k], score)
            positive[part, part] = _curvature(slopes[k], _positive_part(score))
            if not structure.linear:
                curvature[part, part] += 2.0 * np.tensordot(structure.factor_hessian(theta[part]), at.scores[k], axes=2)
        information = average_information(at, directions)
        return Derivatives(gradient=gradient, hessian=information + curvature, expected=lambda: information + positive)

    def curvature(self, at: IterativeConditional, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hessian (k, k) in working `theta` by average information, and the gradient (k,) of log sigma."""
        hessian = self.derivatives(at, theta).hessian
        if at.sigma is not None:
            return hessian, np.zeros(len(theta))
        t = [cross @ at.contrast for cross in at.cross]
        slopes = [-np.sum((t[k].T @ t[k]) * direction) / (2.0 * at.rss) for k, direction in _directions(at, theta)]
        return hessian, np.array(slopes)

    def psi_scores(self, at: IterativeConditional) -> tuple[tuple[FloatArray, ...], IterativeConditional]:
        """S = d criterion / d Psi (q_k, q_k) of every factor, and the state of that: Lambda is raised to `FLOOR`."""
        sizes = [np.linalg.svd(factor) for factor in at.factors]
        if min(float(size.min()) for _, size, _ in sizes) < FLOOR:
            at = self.at_factors(tuple((left * np.maximum(size, FLOOR)) @ right for left, size, right in sizes))
        out = [np.linalg.solve(factor.T, score.T).T for factor, score in zip(at.factors, at.scores, strict=True)]
        return tuple(0.5 * (score + score.T) for score in out), at

    def conditional_covariances(self, at: IterativeConditional) -> tuple[FloatArray, ...]:
        """Estimate of Lambda [M^-1]_jj Lambda' (J_k, q_k, q_k) of every factor, to be multiplied by sigma^2."""
        return conditional_covariances(at.schur, self.vectors, self.n_exact)

    def escape(
        self, theta: FloatArray, at: IterativeConditional, *, tolerance: float
    ) -> tuple[FloatArray, IterativeConditional] | None:
        """A lower point reached by adding variance to one factor in a direction where the criterion falls, or None.

        At a stationary point that is possible only where Lambda is singular, or nearly.
        """
        inner = all(np.linalg.svd(factor, compute_uv=False).min() > NEAR_SINGULAR for factor in at.factors)
        for gain, k, direction, amount in [] if inner else sorted(self._ways_down(at), key=lambda way: -way[0]):
            if gain <= tolerance:
                break
            structure, part = self.crossing.structures[k], self.crossing.parts[k]
            for trial_amount in amount * 0.25 ** np.arange(TRIALS):
                moved = theta.copy()
                moved[part] = structure.nearest(np.column_stack([at.factors[k], np.sqrt(trial_amount) * direction]))
                trial = self.attempt(moved, at)
                if trial.deviance < at.deviance - 0.1 * tolerance:
                    return moved, trial
        return None

    def _ways_down(self, at: IterativeConditional) -> list[tuple[float, int, FloatArray, float]]:
        """Directions v (q,) with v'Sv < 0 by factor: the gain to be expected of Psi + t v v', factor, v and t."""
        out = []
        scores, floored = self.psi_scores(at)
        for k, structure in enumerate(self.crossing.structures):
            score, total = scores[k] * structure.mask, scores[k] + floored.explained[k]
            size = np.sqrt(np.maximum(np.diag(total), 1e-300))
            values, vectors = np.linalg.eigh(score / np.outer(size, size))
            for scaled in vectors.T[values < 0.0]:
                direction = scaled / size
                slope = float(direction @ score @ direction)
                information = average_information(floored, [(k, np.outer(direction, direction))])[0, 0]
                # where t is small the average information is too; the sum over levels of (v'P v)^2 is at least this
                least = float(direction @ total @ direction) ** 2 / len(self.crossing.diagonal[k])
                information = max(float(information), least)
                out.append((slope * slope / (2.0 * information), k, direction, -slope / information))
        return out


def _slopes(crossing: Crossing, theta: FloatArray) -> list[FloatArray]:
    """Derivatives (n, q_k, q_k) of every factor's Lambda in its own theta."""
    return [s.factor_gradient(theta[part]) for s, part in zip(crossing.structures, crossing.parts, strict=True)]


def _directions(at: IterativeConditional, theta: FloatArray) -> list[tuple[int, FloatArray]]:
    """Factor and derivative of its Psi, for every element of theta."""
    halves = [slope @ at.factors[k].T for k, slope in enumerate(_slopes(at.crossing, theta))]
    return [(k, direction) for k, half in enumerate(halves) for direction in half + half.transpose(0, 2, 1)]


def average_information(at: IterativeConditional, directions: list[tuple[int, FloatArray]]) -> FloatArray:
    """Average information, sigma profiled out, in symmetric directions (factor k, D (q_k, q_k)) of Psi.

    With g = D t of each level, t = Z'V^-1(y - X beta), and h = Z g:
    (nu / r^2) [h_a'P h_b - (h_a'P y)(h_b'P y) / r^2], without the last term where sigma is known.
    """
    plan = at.schur.plan
    n = len(directions)
    shifts = [np.zeros((*image.shape[:2], n)) for image in at.cross]
    for i, (k, direction) in enumerate(directions):
        shifts[k][:, :, i] = at.cross[k] @ at.contrast @ direction
    products = whole_product(plan, shifts)
    projected = solve_effects(at.schur, products)[1]
    whitened = np.linalg.inv(at.chol[:-1, :-1]).T
    quadratic, fixed, response = np.zeros((n, n)), np.zeros((n, at.crossing.p)), np.zeros(n)
    for shift, image, left in zip(shifts, at.cross, projected, strict=True):
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


def _positive_part(score: FloatArray) -> FloatArray:
    """The positive semi-definite part of a symmetric matrix."""
    values, vectors = np.linalg.eigh(score)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def factors_of(crossing: Crossing, theta: FloatArray) -> tuple[FloatArray, ...]:
    """Lambda of each factor at working `theta` of all."""
    return tuple(s.factor(theta[part]) for s, part in zip(crossing.structures, crossing.parts, strict=True))


def _squares(roots: FloatArray) -> FloatArray:
    """R R' of each of (J, q, q)."""
    return np.asarray(roots @ roots.transpose(0, 2, 1))
