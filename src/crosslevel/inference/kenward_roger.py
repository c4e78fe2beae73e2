"""Kenward and Roger's adjusted covariance of the fixed coefficients, and their approximate F tests.

V is linear in parameters s_a (variances and covariances) with derivatives V_a, Phi = (X'V^-1 X)^-1, and in coordinates
in which Phi is the identity

    A_a = X'V^-1 V_a V^-1 X = -P_a,    Q_ab = X'V^-1 V_a V^-1 V_b V^-1 X,    R_ab = X'V^-1 V_ab V^-1 X,
    2 I_ab = tr(V^-1 V_a V^-1 V_b) - 2 tr(Q_ab) + tr(A_a A_b),    W = I^-1,

I being the expected information of REML. The adjusted covariance is

    Phi_A = Phi + 2 sum W_ab (Q_ab - A_a A_b) - sum W_ab R_ab / 2 - sum_a b_a A_a,
    b_a = -1/4 sum_b W_ab sum_cd W_cd tr(P V_cd P V_b),    P = V^-1 - V^-1 X Phi X'V^-1,

of which the last two terms are zero in linear parameters: they are what the 2009 paper is about, b being the bias of
the estimated parameters. Together they do not depend on how a structure is parametrised; the first alone, the method of
1997, does, and so is refused where a structure has no linear parameters.

V itself is a linear combination of the V_a. Taking it for the residual variance's direction (V_0 = I = V - Z Psi Z')
spares all products but those with Z: see `marginal_sums`. Precision weights w change nothing: V_0 = diag(1 / w).

For r combinations C beta, with Theta = C'(C Phi C')^-1 C,

    A1 = sum W_ab tr(Theta Phi P_a Phi) tr(Theta Phi P_b Phi),    A2 = sum W_ab tr(Theta Phi P_a Phi Theta Phi P_b Phi)

give the mean and variance of F = (C beta)'(C Phi_A C')^-1 (C beta) / r, to which those of F(r, m) / lambda are matched.

Source: Kenward & Roger (1997), Biometrics 53: 983-997; Kenward & Roger (2009), Comput. Stat. Data Anal. 53: 2583-2595.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.df_method import DfMethod
from crosslevel.inference.estimates import Estimates, Joint, Single, wald_f
from crosslevel.inference.marginal_sums import ClusterSums, LevelSums, MarginalSums
from crosslevel.inference.psi_parameters import PsiParameters, psi_parameters
from crosslevel.inference.sensitivity import Sensitivity, engine_state, sensitivity
from crosslevel.likelihood.profiled import Conditional
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.solve import Solution

FLAT = 1e-10
"""Least eigenvalue of the standardised information that counts as none."""

DROWNED = 1e-8
"""Information on the residual variance, per row and relative to it, that is lost in rounding errors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Adjustment:
    """What Kenward and Roger's method knows of a fit.

    Attributes
    ----------
    vcov : (p, p) adjusted covariance of the coefficients.
    turn : (p, p) T with T T' = Phi; a combination c'beta is T'c in the coordinates of `slopes`.
    slopes : (m, p, p) A_a.
    weights : (m, m) W.
    linear : whether V is linear in the parameters.
    """

    vcov: FloatArray
    turn: FloatArray
    slopes: FloatArray
    weights: FloatArray
    linear: bool

    def moments(self, contrasts: FloatArray) -> tuple[float, float]:
        """A1 and A2 of the rows of C (r, p)."""
        axes = np.linalg.qr((contrasts @ self.turn).T)[0]
        inner = axes.T @ self.slopes @ axes
        traces = np.einsum("aii->a", inner)
        flat = inner.reshape(len(inner), len(contrasts) ** 2)
        return float(traces @ self.weights @ traces), float(np.sum(self.weights * (flat @ flat.T)))

    def single_df(self, contrasts: FloatArray) -> FloatArray:
        """2 / A1 of each row of C (m, p): Kenward and Roger's degrees of freedom of one combination.

        Infinite where the variance is known.
        """
        whitened = contrasts @ self.turn
        size = np.einsum("ip,ip->i", whitened, whitened)
        slope = np.einsum("ip,apq,iq->ia", whitened, self.slopes, whitened) / size[:, None]
        spread = np.einsum("ia,ab,ib->i", slope, self.weights, slope)
        return np.asarray(np.divide(2.0, spread, out=np.full_like(spread, np.inf), where=spread > 0.0))


@dataclass(frozen=True)
class KenwardRoger(DfMethod):
    """Kenward and Roger's method.

    Attributes
    ----------
    name, description : see `DfMethod`.
    nonlinear : whether covariance structures without linear parameters are allowed, as in the version of 2009.
    """

    name: str
    description: str
    nonlinear: bool

    def single(self, estimates: Estimates, contrasts: FloatArray) -> Single:
        """Adjusted standard errors, and 2 / A1."""
        found = self._adjustment(estimates)
        variance = np.einsum("ij,jk,ik->i", contrasts, found.vcov, contrasts)
        return Single(std_error=np.sqrt(variance), df=found.single_df(contrasts))

    def joint(self, estimates: Estimates, contrasts: FloatArray) -> Joint:
        """F with the adjusted covariance, scaled."""
        found = self._adjustment(estimates)
        df, scale = f_approximation(len(contrasts), *found.moments(contrasts))
        return wald_f(contrasts @ estimates.beta, contrasts @ found.vcov @ contrasts.T, df, scale=scale)

    def _adjustment(self, estimates: Estimates) -> Adjustment:
        """The fit's adjustment, if it is this method's."""
        found = estimates.once(adjustment)
        if not found.linear and not self.nonlinear:
            raise CrosslevelError(
                f"{self.name} depends on how the covariance structure of the random effects is parametrised, since no "
                'parameters make it linear. Write ddf="kenward-roger-2009", which does not depend on it.'
            )
        return found


def f_approximation(r: int, a1: float, a2: float) -> tuple[float, float]:
    """Denominator degrees of freedom m and scale lambda of F, from r and the moments A1 and A2.

    NaN degrees of freedom, and a scale of 1, where the approximate moments are those of no F distribution.
    """
    if not a1 > 0.0:  # the variances are known
        return np.inf, 1.0
    if r == 1:
        return 2.0 / a1, 1.0
    b = (a1 + 6.0 * a2) / (2.0 * r)
    g = ((r + 1.0) * a1 - (r + 4.0) * a2) / ((r + 2.0) * a2)
    c1, c2, c3 = np.array([g, r - g, r + 2.0 - g]) / (3.0 * r + 2.0 * (1.0 - g))
    mean = 1.0 / (1.0 - a2 / r)
    variance = (2.0 / r) * (1.0 + c1 * b) / ((1.0 - c2 * b) ** 2 * (1.0 - c3 * b))
    rho = variance / (2.0 * mean**2)
    if not (mean > 0.0 and variance > 0.0 and r * rho > 1.0):
        return np.nan, 1.0
    m = 4.0 + (r + 2.0) / (r * rho - 1.0)
    return float(m), float(m / (mean * (m - 2.0)))


def adjustment(estimates: Estimates) -> Adjustment:
    """Adjusted covariance and what the degrees of freedom need.

    Raises
    ------
    CrosslevelError : the method is not defined for this model, or its matrices would be too large.
    """
    check_defined(estimates)
    solution, p = estimates.solution, len(estimates.beta)
    known = sensitivity(solution)
    if not p or (solution.criterion.sigma is not None and not len(solution.theta)):  # nothing is estimated
        return Adjustment(
            vcov=estimates.vcov, turn=known.turn, slopes=np.zeros((0, p, p)), weights=np.zeros((0, 0)), linear=True
        )
    sums = _marginal_sums(solution, known)
    parameters = _psi_parameters(solution, sums)
    terms = _terms(parameters, solution)
    n_rows = engine_state(solution).nu + p
    information, slopes, products = _information(terms, known, sums, n_rows=n_rows)
    if solution.criterion.sigma is None and not information[-1, -1] > DROWNED * n_rows:
        raise CrosslevelError(
            "Kenward-Roger needs information on the residual variance, which is estimated as (nearly) zero beside the "
            'known covariances. Leave it out by residual=cl.residual.Known(...), or write ddf="satterthwaite".'
        )
    weights = _inverse(information)
    whitened = np.eye(p) + 2.0 * np.tensordot(weights, products - np.einsum("aij,bjk->abik", slopes, slopes), axes=2)
    if parameters.second is not None:
        whitened += _curvature(parameters, terms, weights, slopes, known, sums)
    whitened = 0.5 * (whitened + whitened.T)
    if not np.linalg.eigvalsh(whitened)[0] > 0.0 or (parameters.second is not None and solution.is_singular):
        raise CrosslevelError(
            "Kenward-Roger's expansion does not hold at these estimates: parameters of a covariance structure that is "
            "not linear in them are on or near the end of their range. Choose a simpler structure, or write "
            'ddf="satterthwaite".'
        )
    vcov = known.turn @ whitened @ known.turn.T
    return Adjustment(vcov=vcov, turn=known.turn, slopes=slopes, weights=weights, linear=parameters.second is None)


def _information(
    terms: "_Terms", known: Sensitivity, sums: MarginalSums, *, n_rows: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Information I (m, m), A (m, p, p) and Q (m, m, p, p), from those of changes of Psi alone."""
    of_v, p = terms.of_v, len(known.turn)
    tau, trace_pairs = sums.traces(terms.changes)
    inner = known.slopes(terms.changes)
    both, mixed = np.outer(of_v, of_v), of_v[:, None, None, None] * inner[None]
    products = sums.products(terms.changes) + both[:, :, None, None] * np.eye(p) + mixed + mixed.transpose(1, 0, 2, 3)
    traces = trace_pairs + both * n_rows + np.outer(of_v, tau) + np.outer(tau, of_v)
    slopes = of_v[:, None, None] * np.eye(p) + inner
    flat = slopes.reshape(len(slopes), p * p)
    return 0.5 * (traces - 2.0 * np.einsum("abii->ab", products) + flat @ flat.T), slopes, products


def check_defined(estimates: Estimates) -> None:
    """Refuse a model for which the method is not defined, or not worked out.

    Raises
    ------
    CrosslevelError : with the reason.
    """
    solution, design = estimates.solution, estimates.design
    if design.is_sampled:
        raise CrosslevelError(
            "Kenward-Roger is not defined with sampling weights: the pseudo-likelihood has no information matrix, and "
            'standard errors come from the sandwich. Write ddf="m-l-1".'
        )
    if not estimates.reml:
        raise CrosslevelError(
            'Kenward-Roger is a method for REML, and this model was fitted by method="ml". Refit it with '
            'fit.update(method="reml"), or write ddf="satterthwaite".'
        )
    if solution.iterative is not None:
        raise CrosslevelError(
            "Kenward-Roger needs exact elimination, and this model was fitted by iterative solutions. With so many "
            'levels, Satterthwaite\'s degrees of freedom differ little: write ddf="satterthwaite".'
        )
    if len(solution.phi):
        raise CrosslevelError(
            "Kenward-Roger is not worked out for residual structures with parameters, whose second derivatives it "
            'needs. Write ddf="satterthwaite", which takes their uncertainty into account to first order.'
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Terms:
    """Derivatives V_a = c_a V + Z D_a Z' in all parameters: c `of_v` (m,), D `changes` (m, q, q) for each factor."""

    of_v: FloatArray
    changes: tuple[FloatArray, ...]


def _terms(parameters: PsiParameters, solution: "Solution") -> _Terms:
    """Those of Psi, and of the residual variance (last) if it is estimated."""
    if solution.criterion.sigma is not None:
        return _Terms(of_v=np.zeros(len(parameters)), changes=parameters.first)
    factors = engine_state(solution).factors
    changes = [
        np.concatenate([first, -(factor @ factor.T)[None]])
        for first, factor in zip(parameters.first, factors, strict=True)
    ]
    return _Terms(of_v=np.append(np.zeros(len(parameters)), 1.0), changes=tuple(changes))


def _psi_parameters(solution: "Solution", sums: MarginalSums) -> PsiParameters:
    """Parameters of all factors at the working estimates."""
    structures, thetas, start = solution.criterion.structures, [], 0
    for structure in structures:
        thetas.append(solution.minimum.theta[start : start + structure.n_theta])
        start += structure.n_theta
    return psi_parameters(structures, tuple(thetas), sums.totals())


def _marginal_sums(solution: "Solution", known: Sensitivity) -> MarginalSums:
    """Sums over clusters, or over levels of several factors."""
    at = engine_state(solution)
    if isinstance(at, Conditional):
        return ClusterSums(precision=at.precision, fixed=known.fixed[0])
    return LevelSums(crossing=at.crossing, factors=at.factors, fixed=known.fixed)


def _inverse(information: FloatArray) -> FloatArray:
    """W, the inverse of the information (m, m).

    Raises
    ------
    CrosslevelError : there is none on some combination of the parameters.
    """
    size = np.sqrt(np.maximum(np.diag(information), 0.0))
    if np.all(size > 0.0):
        values, vectors = np.linalg.eigh(information / np.outer(size, size))
        if values[0] > FLAT:
            half = vectors / np.sqrt(values) / size[:, None]
            return np.asarray(half @ half.T)
    raise CrosslevelError(
        "Kenward-Roger needs information on all variances and covariances of the random effects, and these data have "
        "none on some of them (fixed effects explain all differences between clusters, or correlations belong to "
        "effects that do not vary). Drop a random term, or choose a simpler covariance structure."
    )


def _curvature(
    parameters: PsiParameters,
    terms: _Terms,
    weights: FloatArray,
    slopes: FloatArray,
    known: Sensitivity,
    sums: MarginalSums,
) -> FloatArray:
    """What second derivatives of V add to the adjusted covariance: -sum W R / 2 - sum b A, (p, p)."""
    assert parameters.second is not None
    m, p = len(parameters), len(known.turn)
    bend = tuple(np.tensordot(weights[:m, :m], second, axes=2)[None] for second in parameters.second)  # sum W D_ab
    bent = known.slopes(bend)[0]
    changes = tuple(np.concatenate(both) for both in zip(terms.changes, bend, strict=True))
    tau, pairs = sums.traces(changes)
    products = sums.products(changes)
    # tr(P V_cd P V_b), V_b = c_b V + Z D_b Z'
    of_v = terms.of_v
    traces = of_v * tau[-1] + pairs[:-1, -1]
    inner = of_v * np.trace(bent) + np.einsum("aii->a", products[:-1, -1])
    outer = slopes.reshape(len(slopes), p * p) @ bent.ravel()
    bias = -0.25 * weights @ (traces - 2.0 * inner + outer)
    return np.asarray(-0.5 * bent - np.tensordot(bias, slopes, axes=1))
