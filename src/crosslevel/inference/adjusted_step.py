"""A second step that takes other varying coefficients as covariates: most of a mixed model's precision, and a t test.

The coefficients of a cluster vary together. Those whose means do not depend on the context variables, C (J, m) with
C_j = mu + u_Cj + e_Cj, tell of the target's random effect, and so of how much of y_j is not the context's doing. With
Omega_j, the known sampling covariance of (y_j, C_j), in parts omega_tt, omega_Ct and Omega_CC, and normal effects,

    E[y_j | C] = w_j'gamma + (psi + omega_Ct,j)'V_j^-1 (C_j - mu),    V_j = Psi + Omega_CC,j,   Psi = Var(u_C),
    Var[y_j | C] = tau^2 + kappa_j,    kappa_j = omega_tt + psi'Psi^-1 psi - (psi + omega_Ct)'V_j^-1 (psi + omega_Ct),

psi = Cov(u_C, u_t), tau^2 = Var(u_t | u_C). Given C this is a regression on the context variables W and r covariates,
with J - k - r degrees of freedom. With all of C, and clusters that are large or of equal Omega_j, t tests are exact.

- With Psi = L L' of rank r, psi = L delta, the covariates are F_j = L'V_j^-1 (C_j - mu), predictions of the effects u_C
  that are shrunk where clusters are small; omega_Ct'V_j^-1 (C_j - mu), what sampling errors share, is known and taken
  out of y. "adjusted-fgls" weighs clusters by 1 / (tau^2 + kappa_j), tau^2 as Lewis & Linzer's sigma^2.
- Psi, mu and r are functions of C only, on which the tests are conditional: covariates are chosen without a look at y.
  Choosing those that explain y best makes intervals too narrow (docs/inference.md).
- Psi by moments: with B'S B = diag(lambda), B'Obar B = I, S the covariance of C and Obar the mean of Omega_CC,
  component i varies by lambda_i - 1 beyond sampling. r counts those with lambda_i > (1 + sqrt(m / (J - 1)))^2, the most
  that sampling alone gives in large samples; no more than half of the degrees of freedom are spent.
- "adjusted" is the same with equal weights and Obar for every Omega_j: OLS of y - C Obar^-1 obar_Ct on W and the kept
  components, or on all of C, which is the growth-curve model's estimator.

For context effects nothing else is needed. The second step's intercept is a mean at C = mu, and mu is estimated: its
error delta_j'(mu^ - mu) is added to the covariance of gamma.

A covariate must not depend on the context variables. If it does, C_j - mu carries their effect on C, and gamma is the
effect on y given C: another quantity. So the intercept is no covariate of a slope whose model has the main effect of
z, unless `second` says that its mean is constant; and adjusting it for z first brings nothing back, because what is
left is orthogonal to W. `dependence` tests the rest.

Source: Rao (1965), Biometrika 52: 447-458; Grizzle & Allen (1969), Biometrics 25: 357-381, for covariates in the
growth-curve model. Lewis & Linzer (2005), Political Analysis 13: 345-364, for the weights. Amemiya (1985), Am. Stat.
39: 112-117, for Psi. Marchenko & Pastur (1967), Math. USSR-Sbornik 1: 457-483, for the largest eigenvalue.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.errors import DesignError
from crosslevel.inference.distributions import f_tail
from crosslevel.inference.estimates import NO_TEST, Joint
from crosslevel.inference.second_step import SecondStep, solve_weighted, variance_beyond_sampling
from crosslevel.types import FloatArray

LEAST = 1e-12
"""Share of a sampling variance below which rounding may take the conditional one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """What an adjusted second step is made from, in J clusters.

    Attributes
    ----------
    y : (J,) the coefficient that is explained.
    context : (J, k) context variables W.
    constant : position of the intercept among them, -1 if there is none.
    covariates : (J, m) coefficients C.
    names : of the covariates.
    sampling : (J, 1 + m, 1 + m) sampling covariances Omega_j of the coefficient and the covariates.
    """

    y: FloatArray = field(repr=False)
    context: FloatArray = field(repr=False)
    constant: int
    covariates: FloatArray = field(repr=False)
    names: tuple[str, ...]
    sampling: FloatArray = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Adjustment:
    """What the target is adjusted for.

    Attributes
    ----------
    names : of the m covariates.
    mean : (m,) mu.
    psi : (m, m) covariance of the covariates beyond sampling, of rank r.
    eigenvalues : (m,) lambda, variances of the components relative to sampling, the largest first.
    edge : the most that sampling alone gives.
    n_components : r.
    delta : (m,) change of the target with each covariate, the others held.
    sigma2_raw : tau^2, the target's variance beyond sampling, context variables and covariates, before the floor.
    dependence : for each covariate the F test that its mean does not depend on the context variables.
    """

    names: tuple[str, ...]
    mean: FloatArray
    psi: FloatArray = field(repr=False)
    eigenvalues: FloatArray
    edge: float
    n_components: int
    delta: FloatArray
    sigma2_raw: float
    dependence: tuple[Joint, ...]

    @property
    def reliability(self) -> FloatArray:
        """(m,) share of each component's variance that is not sampling."""
        return np.asarray(np.maximum(1.0 - 1.0 / self.eigenvalues, 0.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Components:
    """Principal components of the covariates relative to sampling.

    weights : (m, m) B, columns that give a component's scores.
    loadings : (m, m) B^-T = Obar B.
    eigenvalues : (m,) lambda.
    kept : r.
    edge : the most that sampling alone gives.
    """

    weights: FloatArray
    loadings: FloatArray
    eigenvalues: FloatArray
    kept: int
    edge: float

    @property
    def root(self) -> FloatArray:
        """(m, r) L."""
        beyond = np.sqrt(np.maximum(self.eigenvalues[: self.kept] - 1.0, 0.0))
        return np.asarray(self.loadings[:, : self.kept] * beyond)


def adjusted_step(target: Target, *, weighted: bool, chosen: bool) -> tuple[SecondStep, Adjustment]:
    """Explain a coefficient by context variables and covariates.

    Parameters
    ----------
    target : the coefficient, the context variables and the covariates.
    weighted : whether to weigh clusters and to shrink covariates ("adjusted-fgls").
    chosen : whether to keep only components that vary more than sampling alone explains. Else all are, as far as they
        vary beyond sampling where covariates are shrunk.

    Raises
    ------
    DesignError : fewer clusters than covariates + context variables + 2 where all covariates are kept.
    """
    n, k = target.context.shape
    m = len(target.names)
    if not chosen and n < m + k + 2:
        raise DesignError(
            f"`covariates` are {m} coefficients beside {k} of the second step, for which at least {m + k + 2} clusters "
            f"are needed; there are {n}. Name fewer, or leave `covariates` out: components are then chosen."
        )
    components = _components(target, chosen=chosen)
    shrunk, adjustment = _weighted(target, components)
    if weighted:
        return shrunk, adjustment
    step, delta = _unweighted(target, components, everything=not chosen)
    return step, replace(adjustment, delta=delta, n_components=step.regressors.shape[1] - k)


def _components(target: Target, *, chosen: bool) -> _Components:
    """Components of the covariance of C relative to the mean of Omega_CC, and how many of them to keep."""
    n, k = target.context.shape
    m = len(target.names)
    mean_sampling = target.sampling[:, 1:, 1:].mean(axis=0)
    deviations = target.covariates - target.covariates.mean(axis=0)
    size = np.sqrt(np.diag(mean_sampling))
    lower = np.linalg.cholesky(mean_sampling / np.outer(size, size)) * size[:, None]
    whitened = np.linalg.solve(lower, deviations.T)
    values, vectors = np.linalg.eigh(whitened @ whitened.T / (n - 1.0))
    values, vectors = values[::-1], vectors[:, ::-1]
    edge = float((1.0 + np.sqrt(m / (n - 1.0))) ** 2)
    most = min((n - k - 1) // 2, m) if chosen else m
    kept = min(int(np.count_nonzero(values > (edge if chosen else 1.0))), most)
    return _Components(
        weights=np.linalg.solve(lower.T, vectors), loadings=lower @ vectors, eigenvalues=values, kept=max(kept, 0),
        edge=edge,
    )  # fmt: skip


def _weighted(target: Target, components: _Components) -> tuple[SecondStep, Adjustment]:
    """Shrunken covariates, and weights 1 / (tau^2 + kappa_j) from the residuals of OLS on them."""
    k, root = target.context.shape[1], components.root
    shared, within = target.sampling[:, 1:, 0], target.sampling[:, 1:, 1:]
    psi = root @ root.T
    inverse = np.linalg.inv(psi + within)
    total = np.linalg.inv(inverse.sum(axis=0))
    mean = total @ np.einsum("jab,jb->a", inverse, target.covariates)
    turned = np.einsum("jab,jb->ja", inverse, target.covariates - mean)
    y = target.y - np.einsum("ja,ja->j", shared, turned)
    regressors = np.column_stack([target.context, turned @ root])
    # tau^2 and the weights, from OLS
    plain = solve_weighted(y, regressors, k, np.ones(len(y)))
    kappa = _conditional_sampling(target, root, inverse, plain.coefficients[k:])
    raw = variance_beyond_sampling(y, regressors, kappa)
    step = solve_weighted(y, regressors, k, 1.0 / (max(raw, 0.0) + kappa))
    # what the error of mu does to gamma
    slopes = np.einsum("jab,jb->ja", inverse, shared + root @ step.coefficients[k:])
    errors = turned @ total  # each cluster's part in mu^ - mu
    wander = (step.influence @ slopes) @ errors.T
    adjustment = Adjustment(
        names=target.names, mean=mean, psi=psi, eigenvalues=components.eigenvalues, edge=components.edge,
        n_components=components.kept, delta=_coefficients(components, step.coefficients[k:]), sigma2_raw=raw,
        dependence=dependence(target),
    )  # fmt: skip
    return solve_weighted(y, regressors, k, step.weights, wander), adjustment


def _conditional_sampling(target: Target, root: FloatArray, inverse: FloatArray, delta: FloatArray) -> FloatArray:
    """(J,) kappa_j, variances of the target given its covariates that come from sampling errors of either."""
    together = target.sampling[:, 1:, 0] + root @ delta
    known = np.einsum("ja,jab,jb->j", together, inverse, together, optimize=True)
    kappa = target.sampling[:, 0, 0] + delta @ delta - known
    return np.asarray(np.maximum(kappa, target.sampling[:, 0, 0] * LEAST))


def _coefficients(components: _Components, delta: FloatArray) -> FloatArray:
    """(m,) coefficients of the covariates, from those (r,) of the shrunken components."""
    beyond = np.sqrt(np.maximum(components.eigenvalues[: components.kept] - 1.0, 0.0))
    return np.asarray(components.weights[:, : components.kept] @ (delta / beyond))


def _unweighted(target: Target, components: _Components, *, everything: bool) -> tuple[SecondStep, FloatArray]:
    """OLS on the kept components, or on all covariates; and their coefficients (m,)."""
    n, k = target.context.shape
    mean = target.covariates.mean(axis=0)
    deviations = target.covariates - mean
    average = target.sampling.mean(axis=0)
    known: FloatArray = np.zeros(len(mean))
    turn: FloatArray = np.eye(len(mean))
    if not everything:
        known, turn = np.linalg.solve(average[1:, 1:], average[1:, 0]), components.weights[:, : components.kept]
    y = target.y - deviations @ known
    regressors = np.column_stack([target.context, deviations @ turn])
    step = solve_weighted(y, regressors, k, np.ones(n))
    delta = known + turn @ step.coefficients[k:]
    wander = np.outer(step.influence.sum(axis=1), deviations @ delta) / n
    return solve_weighted(y, regressors, k, step.weights, wander), delta


def dependence(target: Target) -> tuple[Joint, ...]:
    """For each covariate the F test that the context variables explain nothing of it, whose mean is free."""
    n, k = target.context.shape
    tested = k - 1 if target.constant >= 0 else k
    if tested == 0:
        return (NO_TEST,) * len(target.names)
    full = target.context if target.constant >= 0 else np.column_stack([np.ones(n), target.context])
    orthogonal, _ = np.linalg.qr(full / np.sqrt(np.sum(full**2, axis=0)))
    deviations = target.covariates - target.covariates.mean(axis=0)
    explained = orthogonal @ (orthogonal.T @ deviations)
    df = float(n - tested - 1)
    gain, rest = np.sum(explained**2, axis=0), np.sum((deviations - explained) ** 2, axis=0)
    statistics = [float(value) for value in gain / tested / (rest / df)]
    return tuple(
        Joint(statistic=value, df_num=float(tested), df_den=df, p_value=f_tail(tested, df, value))
        for value in statistics
    )
